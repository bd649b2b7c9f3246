-- provider/github/again.sql: asking again for what was not answered, smaller, and in the end alone; and what becomes of that
-- which is not answered, or cannot be stored, even so.

-- Half of a job twice, or a page half as long.
CREATE FUNCTION keypup.github_halve(account uuid, job bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_job keypup.sync_jobs;
  member text;
BEGIN
  SELECT * INTO STRICT the_job FROM keypup.sync_jobs j WHERE j.account_id = account AND j.job_id = job;
  member := CASE the_job.kind WHEN 'poll' THEN 'projects' ELSE (keypup.github_itemized(the_job.kind)).member END;
  IF member IS NULL THEN
    -- A page of a list is asked for anew, half as long.
    UPDATE keypup.sync_jobs j
    SET arguments = j.arguments || jsonb_build_object('first', coalesce((j.arguments ->> 'first')::integer, 100) / 2),
        lease_id = NULL, due_at = now() + interval '1 second'
    WHERE j.account_id = account AND j.job_id = job AND coalesce((j.arguments ->> 'first')::integer, 100) > 10;
    RETURN FOUND;
  ELSIF jsonb_array_length(the_job.arguments -> member) < 2 THEN
    RETURN false;
  END IF;
  PERFORM keypup.github_split(the_job, member, the_job.arguments -> member, interval '1 second');
  DELETE FROM keypup.sync_jobs j WHERE j.account_id = account AND j.job_id = job;
  RETURN true;
END
$$;
-- In the place of a job, and of its run, jobs for some of what it asks for, or for all of it, in two halves.
CREATE FUNCTION keypup.github_split(the_job keypup.sync_jobs, member text, list jsonb, after interval) RETURNS void
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
  WITH half AS (
    INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, in_run, queued_at, due_at, arguments)
    SELECT the_job.account_id, the_job.connection_id, the_job.project_id, the_job.kind, the_job.in_run, the_job.queued_at, now() + after,
      the_job.arguments - 'is_open' || jsonb_build_object(member, jsonb_agg(e.item ORDER BY e.position))
    FROM jsonb_array_elements(list) WITH ORDINALITY AS e (item, position)
    GROUP BY e.position <= jsonb_array_length(list) / 2
    RETURNING job_id, kind, arguments
  ), free AS (
    -- One that somebody holds is polled again.
    SELECT s.project_id FROM keypup.sync_state s
    WHERE (the_job).kind = 'poll' AND s.account_id = (the_job).account_id
      AND s.project_id = ANY (ARRAY(SELECT p::bigint FROM jsonb_array_elements((the_job).arguments -> 'projects') AS p))
    FOR NO KEY UPDATE SKIP LOCKED
  )
  UPDATE keypup.sync_state s SET poll_job_id = half.job_id
  FROM free, half, jsonb_array_elements(half.arguments -> 'projects') AS p (project_id)
  WHERE half.kind = 'poll' AND s.account_id = (the_job).account_id AND s.project_id = free.project_id
    AND free.project_id = p.project_id::bigint
$$;
REVOKE ALL ON FUNCTION keypup.github_halve(uuid, bigint), keypup.github_split(keypup.sync_jobs, text, jsonb, interval) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_halve(uuid, bigint) IS 'Splits a job in two, or has it ask for a shorter page; false when it asks for one item only.';
COMMENT ON FUNCTION keypup.github_split(keypup.sync_jobs, text, jsonb, interval) IS 'Puts two jobs, each for half of a list, in the place of one.';

-- Nothing is left to ask but this: a short while later, three times in all.
CREATE FUNCTION keypup.github_put_off(account uuid, job bigint) RETURNS boolean
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
  WITH put_off AS (
    UPDATE keypup.sync_jobs j SET attempts = j.attempts + 1, lease_id = NULL, due_at = now() + interval '1 second' * 2 ^ j.attempts
    WHERE j.account_id = account AND j.job_id = job AND j.attempts < 2
    RETURNING 1
  )
  SELECT EXISTS (SELECT FROM put_off)
$$;
REVOKE ALL ON FUNCTION keypup.github_put_off(uuid, bigint) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_put_off(uuid, bigint) IS 'Has a job asked once more; false when that was done twice.';

-- failures: [{asked, why, number}], asked as the job has it in its arguments.
CREATE FUNCTION keypup.github_set_aside(account uuid, project bigint, kind text, arguments jsonb, failures jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF kind = 'nested_pages' THEN
    -- Such a page is read again with its item, from the start: what is before it may have changed since.
    PERFORM keypup.set_aside(account, project, jsonb_agg(jsonb_build_object('kind', n.kind, 'item_id', coalesce(n.node, p.node_id),
      'part', n.part, 'item_number', n.number, 'reason', f.why)))
    FROM jsonb_to_recordset(failures) AS f (asked jsonb, why text)
    CROSS JOIN LATERAL (
      SELECT CASE f.asked ->> 'item' WHEN 'issue' THEN 'issues' WHEN 'deployment' THEN 'deployments' ELSE 'pull_requests' END AS kind,
        CASE WHEN f.asked ->> 'item' <> 'thread' THEN f.asked ->> 'node' END AS node,
        CASE f.asked ->> 'item' WHEN 'thread' THEN 'reviewThreads' ELSE f.asked ->> 'connection' END AS part,
        (f.asked ->> 'number')::bigint AS number
    ) AS n
    LEFT JOIN keypup.pull_requests p ON n.node IS NULL AND p.account_id = account AND p.project_id = project AND p.number = n.number;
  ELSIF kind = 'numbers' THEN
    PERFORM keypup.set_aside(account, project, jsonb_agg(jsonb_build_object('kind', kind, 'item_id', f.asked, 'item_number', f.asked,
      'reason', f.why, 'arguments', jsonb_build_object('numbers', jsonb_build_array(f.asked)))))
    FROM jsonb_to_recordset(failures) AS f (asked jsonb, why text);
  ELSIF kind = 'existence' THEN
    PERFORM keypup.set_aside(account, project, jsonb_agg(jsonb_build_object('kind', kind, 'item_id', f.asked ->> 'id',
      'item_number', f.asked -> 'number', 'reason', f.why, 'arguments', arguments || jsonb_build_object('items', jsonb_build_array(f.asked)))))
    FROM jsonb_to_recordset(failures) AS f (asked jsonb, why text);
  ELSE
    PERFORM keypup.set_aside(account, project, jsonb_agg(jsonb_build_object('kind', kind, 'item_id', f.asked #>> '{}',
      'item_number', coalesce(f.number, p.number, i.number), 'reason', f.why)))
    FROM jsonb_to_recordset(failures) AS f (asked jsonb, why text, number bigint)
    LEFT JOIN keypup.pull_requests p
      ON kind = 'pull_requests' AND p.account_id = account AND p.project_id = project AND p.node_id = f.asked #>> '{}'
    LEFT JOIN keypup.issues i ON kind = 'issues' AND i.account_id = account AND i.project_id = project AND i.node_id = f.asked #>> '{}';
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_set_aside(uuid, bigint, text, jsonb, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_set_aside(uuid, bigint, text, jsonb, jsonb) IS 'Sets aside what a job of a kind and with these arguments could not read or store.';

CREATE FUNCTION keypup.github_ask_again(account uuid, job bigint, again jsonb) RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_job keypup.sync_jobs;
  member text;
BEGIN
  SELECT * INTO STRICT the_job FROM keypup.sync_jobs j WHERE j.account_id = account AND j.job_id = job;
  member := (keypup.github_itemized(the_job.kind)).member;
  IF again = '[]' THEN
    RETURN true;
  ELSIF jsonb_array_length(the_job.arguments -> member) > 1 THEN
    PERFORM keypup.github_split(the_job, member, jsonb_path_query_array(again, '$[*].asked'), interval '0');
    RETURN true;
  ELSIF keypup.github_put_off(account, job) THEN
    RETURN false;
  END IF;
  PERFORM keypup.github_set_aside(account, the_job.project_id, the_job.kind, the_job.arguments, again);
  RETURN true;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_ask_again(uuid, bigint, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_ask_again(uuid, bigint, jsonb) IS 'Asks again for what was not answered of a job, in halves; what was asked for alone a few times is set aside. Whether the job has ended.';

-- A page of a list is asked for again, shorter. When a few elements of it are broken in the end, the list goes on behind it, and
-- the page alone is set aside; otherwise the rest of the list is.
CREATE FUNCTION keypup.github_ask_list_again(account uuid, job bigint, is_framed boolean, cursor_is_invalid boolean) RETURNS boolean
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
  WITH again AS (
    UPDATE keypup.sync_jobs j
    SET attempts = j.attempts + 1, lease_id = NULL,
        due_at = now() + CASE WHEN j.attempts = 0 THEN interval '0' ELSE interval '1 second' * 2 ^ (j.attempts - 1) END,
        arguments = j.arguments || jsonb_build_object('first', greatest(5, coalesce((j.arguments ->> 'first')::integer, 100) / 2))
          || CASE WHEN cursor_is_invalid THEN '{"after": null}'::jsonb ELSE '{}' END
    WHERE j.account_id = account AND j.job_id = job AND j.attempts < CASE WHEN is_framed THEN 2 ELSE 4 END
    RETURNING 1
  )
  SELECT EXISTS (SELECT FROM again)
$$;
-- What is read with every run is not asked for apart. A list that is read newest first is read to where its run would have.
CREATE FUNCTION keypup.github_set_list_aside(account uuid, project bigint, kind text, arguments jsonb, why text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT keypup.set_aside(account, project, jsonb_build_array(jsonb_build_object('kind', kind, 'reason', why,
    'item_id', coalesce(arguments ->> 'after', ''),
    'arguments', CASE
      WHEN kind IN ('pull_request_sweep', 'issue_sweep') THEN arguments - 'first' - 'told'
      WHEN kind IN ('pull_request_stubs', 'issue_stubs', 'release_pages', 'deployment_pages') THEN arguments - 'first' - 'told' - 'is_first'
        || CASE WHEN kind LIKE '%pages' THEN '{"first": 100}'::jsonb ELSE '{}' END
        || jsonb_build_object('horizon', keypup.github_horizon(account, project, CASE kind WHEN 'pull_request_stubs' THEN 'pull_requests'
             WHEN 'issue_stubs' THEN 'issues' WHEN 'release_pages' THEN 'releases' ELSE 'deployments' END, arguments)) END)))
$$;
REVOKE ALL ON FUNCTION keypup.github_ask_list_again(uuid, bigint, boolean, boolean),
  keypup.github_set_list_aside(uuid, bigint, text, jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_ask_list_again(uuid, bigint, boolean, boolean) IS 'Asks again for a page of a list that was not whole; false when that was done often enough.';
COMMENT ON FUNCTION keypup.github_set_list_aside(uuid, bigint, text, jsonb, text) IS 'Sets a page of a list aside, with what is asked again for it.';

-- One thing alone was not answered for at all.
CREATE FUNCTION keypup.github_give_up(account uuid, job bigint, why text, patience integer) RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_job keypup.sync_jobs;
  member text;
BEGIN
  SELECT * INTO STRICT the_job FROM keypup.sync_jobs j WHERE j.account_id = account AND j.job_id = job;
  member := (keypup.github_itemized(the_job.kind)).member;
  IF the_job.kind = 'poll' THEN
    -- Its run asks for the repository by itself.
    PERFORM keypup.start_run(account, o.project_id)
    FROM (SELECT s.project_id FROM keypup.sync_state s
          WHERE s.account_id = account
            AND s.project_id = ANY (ARRAY(SELECT p::bigint FROM jsonb_array_elements(the_job.arguments -> 'projects') AS p))
          FOR NO KEY UPDATE SKIP LOCKED) AS o;
    RETURN true;
  ELSIF the_job.kind = 'repository' OR the_job.attempts < patience THEN
    RETURN false;
  ELSIF member IS NULL THEN
    PERFORM keypup.github_set_list_aside(account, the_job.project_id, the_job.kind, the_job.arguments, why);
  ELSE
    PERFORM keypup.github_set_aside(account, the_job.project_id, the_job.kind, the_job.arguments,
      (SELECT jsonb_agg(jsonb_build_object('asked', e.item, 'why', why)) FROM jsonb_array_elements(the_job.arguments -> member) AS e (item)));
  END IF;
  RETURN true;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_give_up(uuid, bigint, text, integer) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_give_up(uuid, bigint, text, integer) IS 'Sets aside what a job asks for, when that was tried often enough. Whether it was.';

-- What was set aside, and whose time has come, is asked for in the run that goes on.
CREATE FUNCTION keypup.github_queue_failures(account uuid, project bigint) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  failures keypup.sync_failures[] := ARRAY(SELECT f FROM keypup.take_failures(account, project) AS f);
BEGIN
  PERFORM keypup.github_queue_items(account, project, f.kind, jsonb_agg(DISTINCT f.item_id), true)
  FROM unnest(failures) AS f
  WHERE f.kind IN ('pull_requests', 'issues', 'releases', 'deployments') AND f.arguments IS NULL GROUP BY f.kind;
  PERFORM keypup.queue_job(account, project, f.kind, f.arguments, true, now(), false)
  FROM unnest(failures) AS f WHERE f.arguments IS NOT NULL;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_queue_failures(uuid, bigint) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_queue_failures(uuid, bigint) IS 'Asks again for what was set aside in a project.';

-- One item by its number, or all that is stored of a project.
CREATE FUNCTION keypup.github_reread(account uuid, project bigint, item bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  known boolean := item IS NULL;
  of_kind record;
BEGIN
  -- If it fails again, it is set aside anew.
  UPDATE keypup.sync_failures f SET is_tried = true
  WHERE f.account_id = account AND f.project_id = project AND f.item_number = item AND f.kind IN ('pull_requests', 'issues');
  FOR of_kind IN
    SELECT k.kind, jsonb_agg(DISTINCT k.id) AS ids
    FROM (
      SELECT 'pull_requests' AS kind, p.node_id AS id FROM keypup.pull_requests p
      WHERE p.account_id = account AND p.project_id = project AND (p.number = item OR item IS NULL)
      UNION ALL
      SELECT 'issues', i.node_id FROM keypup.issues i
      WHERE i.account_id = account AND i.project_id = project AND (i.number = item OR item IS NULL)
      UNION ALL
      SELECT f.kind, f.item_id FROM keypup.sync_failures f
      WHERE f.account_id = account AND f.project_id = project AND f.item_number = item AND f.kind IN ('pull_requests', 'issues')
      UNION ALL
      SELECT 'releases', r.external_id FROM keypup.releases r
      WHERE r.account_id = account AND r.project_id = project AND item IS NULL
      UNION ALL
      SELECT 'deployments', d.external_id FROM keypup.deployments d
      WHERE d.account_id = account AND d.project_id = project AND item IS NULL
    ) AS k
    GROUP BY k.kind
  LOOP
    PERFORM keypup.github_queue_items(account, project, of_kind.kind, of_kind.ids, true);
    known := true;
  END LOOP;
  RETURN known;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_reread(uuid, bigint, bigint) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_reread(uuid, bigint, bigint) IS 'Queues the reading of an item, or of all that is stored of a project, in the run that goes on; false when there is no such item.';
