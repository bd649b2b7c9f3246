-- sync/again.sql: what becomes of a job that was not answered, or not in full: it is asked again, smaller, and in the
-- end alone. What a job asks for stands in the items of its arguments; one without asks for one thing, or for as many
-- elements of a list as first says.

-- In the place of a job, and of its run, jobs for some of what it asks for, or for all of it, in two halves.
CREATE FUNCTION keypup.split_job(the_job keypup.sync_jobs, items jsonb, after interval) RETURNS void
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
  WITH half AS (
    INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, in_run, queued_at, due_at, batch_size,
      arguments)
    SELECT the_job.account_id, the_job.connection_id, the_job.project_id, the_job.kind, the_job.in_run,
      the_job.queued_at, now() + after, greatest(1, the_job.batch_size / 2), the_job.arguments - 'is_open'
        || jsonb_build_object('items', jsonb_agg(e.item ORDER BY e.position))
    FROM jsonb_array_elements(items) WITH ORDINALITY AS e (item, position)
    GROUP BY e.position <= jsonb_array_length(items) / 2
    RETURNING job_id, kind, arguments
  ), free AS (
    -- One that somebody holds is polled again.
    SELECT s.project_id FROM keypup.sync_state s
    WHERE (the_job).kind = 'poll' AND s.account_id = (the_job).account_id
      AND s.project_id = ANY (ARRAY(SELECT p::bigint FROM jsonb_array_elements((the_job).arguments -> 'items') AS p))
    FOR NO KEY UPDATE SKIP LOCKED
  )
  UPDATE keypup.sync_state s SET poll_job_id = half.job_id
  FROM free, half, jsonb_array_elements(half.arguments -> 'items') AS p (project_id)
  WHERE half.kind = 'poll' AND s.account_id = (the_job).account_id AND s.project_id = free.project_id
    AND free.project_id = p.project_id::bigint
$$;
CREATE FUNCTION keypup.halve_job(account uuid, job bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_job keypup.sync_jobs;
BEGIN
  SELECT * INTO STRICT the_job FROM keypup.sync_jobs j WHERE j.account_id = account AND j.job_id = job;
  IF NOT the_job.arguments ? 'items' THEN
    -- A page of a list is asked for anew, half as long.
    UPDATE keypup.sync_jobs j
    SET arguments = j.arguments || jsonb_build_object('first', coalesce((j.arguments ->> 'first')::integer, 100) / 2),
        lease_id = NULL, due_at = now() + interval '1 second'
    WHERE j.account_id = account AND j.job_id = job AND coalesce((j.arguments ->> 'first')::integer, 100) > 10;
    RETURN FOUND;
  ELSIF jsonb_array_length(the_job.arguments -> 'items') < 2 THEN
    RETURN false;
  END IF;
  PERFORM keypup.split_job(the_job, the_job.arguments -> 'items', interval '1 second');
  DELETE FROM keypup.sync_jobs j WHERE j.account_id = account AND j.job_id = job;
  RETURN true;
END
$$;
-- Nothing is left to ask but this: a short while later, three times in all.
CREATE FUNCTION keypup.put_off_job(account uuid, job bigint) RETURNS boolean
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
  WITH put_off AS (
    UPDATE keypup.sync_jobs j SET attempts = j.attempts + 1, lease_id = NULL,
      due_at = now() + interval '1 second' * 2 ^ j.attempts
    WHERE j.account_id = account AND j.job_id = job AND j.attempts < 2
    RETURNING 1
  )
  SELECT EXISTS (SELECT FROM put_off)
$$;
-- A page of a list is asked for again, shorter. When a few elements of it are broken in the end, the list goes on
-- behind it, and the page alone is set aside; otherwise the rest of the list is.
CREATE FUNCTION keypup.ask_list_again(account uuid, job bigint, is_framed boolean, cursor_is_invalid boolean)
  RETURNS boolean
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
  WITH again AS (
    UPDATE keypup.sync_jobs j
    SET attempts = j.attempts + 1, lease_id = NULL,
        due_at = now() + CASE WHEN j.attempts = 0 THEN interval '0' ELSE interval '1 second' * 2 ^ (j.attempts - 1) END,
        arguments = j.arguments
          || jsonb_build_object('first', greatest(5, coalesce((j.arguments ->> 'first')::integer, 100) / 2))
          || CASE WHEN cursor_is_invalid THEN '{"after": null}'::jsonb ELSE '{}' END
    WHERE j.account_id = account AND j.job_id = job AND j.attempts < CASE WHEN is_framed THEN 2 ELSE 4 END
    RETURNING 1
  )
  SELECT EXISTS (SELECT FROM again)
$$;
REVOKE ALL ON FUNCTION keypup.split_job(keypup.sync_jobs, jsonb, interval), keypup.halve_job(uuid, bigint),
  keypup.put_off_job(uuid, bigint), keypup.ask_list_again(uuid, bigint, boolean, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.split_job(keypup.sync_jobs, jsonb, interval), keypup.halve_job(uuid, bigint),
  keypup.put_off_job(uuid, bigint), keypup.ask_list_again(uuid, bigint, boolean, boolean) TO keypup_worker;
COMMENT ON FUNCTION keypup.split_job(keypup.sync_jobs, jsonb, interval) IS
  'Puts two jobs, each for half of the items, in the place of one.';
COMMENT ON FUNCTION keypup.halve_job(uuid, bigint) IS
  'Splits a job in two, or has it ask for a shorter page; false when it asks for one item only.';
COMMENT ON FUNCTION keypup.put_off_job(uuid, bigint) IS 'Has a job asked once more; false when that was done twice.';
COMMENT ON FUNCTION keypup.ask_list_again(uuid, bigint, boolean, boolean) IS
  'Asks again for a page of a list that was not whole; false when that was done often enough.';

-- failures: [{asked, why, number}], asked as the job has it in its items; an item alone was asked for a few times.
CREATE FUNCTION keypup.set_items_aside(the_job keypup.sync_jobs, failures jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  provider text := (keypup.provider_of(the_job.account_id, the_job.connection_id)).provider;
  named jsonb;
BEGIN
  named := keypup.provider_failures(provider, the_job.account_id, the_job.project_id, the_job.kind, the_job.arguments,
    failures);
  IF jsonb_typeof(named) IS DISTINCT FROM 'array' OR named = '[]' THEN
    -- The job would end, and nobody ask for it again, nor be told.
    RAISE EXCEPTION 'keypup.%_failures returned %, and names nothing of what could not be read', provider,
      coalesce(left(named::text, 200), 'NULL') USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM keypup.set_aside(the_job.account_id, the_job.project_id, named);
END
$$;
CREATE FUNCTION keypup.ask_again(account uuid, job bigint, again jsonb) RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_job keypup.sync_jobs;
BEGIN
  SELECT * INTO STRICT the_job FROM keypup.sync_jobs j WHERE j.account_id = account AND j.job_id = job;
  IF again = '[]' THEN
    RETURN true;
  ELSIF jsonb_array_length(the_job.arguments -> 'items') > 1 THEN
    PERFORM keypup.split_job(the_job, jsonb_path_query_array(again, '$[*].asked'), interval '0');
    RETURN true;
  ELSIF keypup.put_off_job(account, job) THEN
    RETURN false;
  END IF;
  PERFORM keypup.set_items_aside(the_job, again);
  RETURN true;
END
$$;
-- One thing alone was not answered for at all.
CREATE FUNCTION keypup.give_up(account uuid, job bigint, why text, patience integer) RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_job keypup.sync_jobs;
BEGIN
  SELECT * INTO STRICT the_job FROM keypup.sync_jobs j WHERE j.account_id = account AND j.job_id = job;
  IF the_job.kind = 'poll' THEN
    -- Its run asks for the project by itself.
    PERFORM keypup.start_run(account, o.project_id)
    FROM (SELECT s.project_id FROM keypup.sync_state s
          WHERE s.account_id = account
            AND s.project_id = ANY (ARRAY(
              SELECT p::bigint FROM jsonb_array_elements(the_job.arguments -> 'items') AS p))
          FOR NO KEY UPDATE SKIP LOCKED) AS o;
    RETURN true;
  ELSIF the_job.kind = (keypup.provider_of(account, the_job.connection_id)).first_kind
    OR the_job.attempts < patience THEN
    RETURN false;
  END IF;
  PERFORM keypup.set_items_aside(the_job,
    (SELECT jsonb_agg(jsonb_build_object('asked', e.item, 'why', why))
     FROM jsonb_array_elements(coalesce(the_job.arguments -> 'items', '[null]')) AS e (item)));
  RETURN true;
END
$$;
REVOKE ALL ON FUNCTION keypup.set_items_aside(keypup.sync_jobs, jsonb), keypup.ask_again(uuid, bigint, jsonb),
  keypup.give_up(uuid, bigint, text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.set_items_aside(keypup.sync_jobs, jsonb), keypup.ask_again(uuid, bigint, jsonb),
  keypup.give_up(uuid, bigint, text, integer) TO keypup_worker;
COMMENT ON FUNCTION keypup.set_items_aside(keypup.sync_jobs, jsonb) IS
  'Sets aside what a job could not have read, as its provider names it.';
COMMENT ON FUNCTION keypup.ask_again(uuid, bigint, jsonb) IS
  'Asks again for what was not answered of a job, in halves; what was asked for alone a few times is set aside. '
  'Whether the job has ended.';
COMMENT ON FUNCTION keypup.give_up(uuid, bigint, text, integer) IS
  'Sets aside what a job asks for, when that was tried often enough. Whether it was.';
