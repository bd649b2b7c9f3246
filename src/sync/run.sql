-- sync/run.sql: a project's run: how it is started, how its jobs end, and what its end, or a failure, leaves in
-- sync_state.

-- Sees all accounts, and so runs as the owner: it only starts what each project has asked for.
CREATE FUNCTION keypup.start_due_runs(only_account uuid, only_project bigint, now_at_once boolean,
  of_an_account integer) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  -- A connection that is being removed is not waited for.
  WITH held AS (
    SELECT c.account_id, c.connection_id FROM keypup.connections c
    WHERE now_at_once AND (only_account IS NULL OR c.account_id = only_account) FOR KEY SHARE SKIP LOCKED
  ), put_off AS (
    SELECT j.account_id, j.job_id
    FROM keypup.sync_jobs j JOIN held USING (account_id, connection_id)
    WHERE j.due_at > now() AND j.in_run AND (only_project IS NULL OR j.project_id = only_project)
    FOR UPDATE OF j SKIP LOCKED
  )
  UPDATE keypup.sync_jobs j SET due_at = now()
  FROM put_off o WHERE j.account_id = o.account_id AND j.job_id = o.job_id;

  -- Somebody waits: what was set aside is tried, too.
  WITH put_off AS (
    SELECT f.* FROM keypup.sync_failures f
    WHERE now_at_once AND f.next_try_at > now()
      AND (only_account IS NULL OR f.account_id = only_account)
        AND (only_project IS NULL OR f.project_id = only_project)
    FOR UPDATE SKIP LOCKED
  )
  UPDATE keypup.sync_failures f SET next_try_at = now()
  FROM put_off o
  WHERE f.account_id = o.account_id AND f.project_id = o.project_id AND f.kind = o.kind AND f.item_id = o.item_id
    AND f.part = o.part;

  -- Of an account that has very many, the rest comes with the next look: others are not to wait for it.
  WITH candidate AS (
    -- By one look into an index for each, whatever is known of how many there are.
    SELECT s.account_id, s.project_id,
      row_number() OVER (PARTITION BY s.account_id ORDER BY s.next_run_at, s.project_id) AS turn
    FROM keypup.sync_state s
    CROSS JOIN LATERAL (
      SELECT p.connection_id FROM keypup.projects p WHERE p.account_id = s.account_id AND p.project_id = s.project_id
      LIMIT 1
    ) AS p
    CROSS JOIN LATERAL (
      SELECT FROM keypup.connections c
      WHERE c.account_id = s.account_id AND c.connection_id = p.connection_id
        AND (c.state <> 'token_refused' OR coalesce(c.retry_at <= now(), true))
          AND c.origin = (SELECT keypup.this_database()) LIMIT 1
    ) AS c
    WHERE (only_account IS NULL OR s.account_id = only_account)
      AND (only_project IS NULL OR s.project_id = only_project)
      -- What has finished in the future was ordered by a clock that was wrong.
      AND (now_at_once OR s.next_run_at <= now() OR s.last_run_finished_at > now() + interval '1 minute')
      AND (
        SELECT true FROM keypup.sync_jobs j
        WHERE j.account_id = s.account_id AND j.project_id = s.project_id AND j.in_run LIMIT 1) IS NULL
      AND (now_at_once OR s.poll_job_id IS NULL
           OR (SELECT true FROM keypup.sync_jobs j
               WHERE j.account_id = s.account_id AND j.job_id = s.poll_job_id LIMIT 1) IS NULL)
  ), due AS MATERIALIZED (
    SELECT s.account_id, s.project_id, p.connection_id, v.first_kind, v.poll_size,
      -- Something of it was read, and nothing is wrong: whether it changed can be asked together with others.
      NOT now_at_once AND v.poll_size > 0 AND s.last_run_finished_at IS NOT NULL AND p.external_id IS NOT NULL
        AND s.last_error IS NULL AS can_be_polled
    FROM (SELECT n.* FROM candidate n WHERE now_at_once OR n.turn <= of_an_account) AS n
    JOIN keypup.sync_state s USING (account_id, project_id)
    JOIN keypup.projects p USING (account_id, project_id)
    JOIN keypup.connections c USING (account_id, connection_id)
    JOIN keypup.providers v USING (provider)
    -- Whoever was quicker has begun its run.
    WHERE (SELECT true FROM keypup.sync_jobs j
           WHERE j.account_id = s.account_id AND j.project_id = s.project_id AND j.in_run LIMIT 1) IS NULL
      AND (now_at_once OR s.next_run_at <= now() OR s.last_run_finished_at > now() + interval '1 minute')
    FOR KEY SHARE OF c SKIP LOCKED FOR UPDATE OF s SKIP LOCKED
  ), numbered AS (
    SELECT d.*,
      (row_number() OVER (PARTITION BY d.account_id, d.connection_id, d.can_be_polled ORDER BY d.project_id) - 1)
        / greatest(1, d.poll_size) AS part
    FROM due d
  ), grouped AS MATERIALIZED (
    SELECT n.*,
      n.can_be_polled
        AND count(*) OVER (PARTITION BY n.account_id, n.connection_id, n.can_be_polled, n.part) > 1 AS is_polled
    FROM numbered n
  ), poll AS (
    INSERT INTO keypup.sync_jobs (account_id, connection_id, kind, arguments, in_run)
    SELECT g.account_id, g.connection_id, 'poll', jsonb_build_object('items', jsonb_agg(g.project_id)), false
    FROM grouped g WHERE g.is_polled GROUP BY g.account_id, g.connection_id, g.part
    RETURNING account_id, job_id, arguments
  ), polled AS (
    UPDATE keypup.sync_state s SET poll_job_id = poll.job_id
    FROM poll, jsonb_array_elements(poll.arguments -> 'items') AS p (project_id)
    WHERE s.account_id = poll.account_id AND s.project_id = p.project_id::bigint
    RETURNING 1
  ), started AS (
    -- As start_run does for one.
    UPDATE keypup.sync_state s
    SET last_run_started_at = now(),
      phase = CASE WHEN s.last_run_finished_at IS NULL THEN 'backfill' ELSE 'incremental' END
    FROM grouped g WHERE NOT g.is_polled AND s.account_id = g.account_id AND s.project_id = g.project_id
    RETURNING s.account_id, s.project_id, g.connection_id, g.first_kind
  ), queued AS (
    INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, queued_at)
    SELECT t.account_id, t.connection_id, t.project_id, t.first_kind, greatest(now(), interval '1 second'
      + (SELECT max(j.queued_at) FROM keypup.sync_jobs j
         WHERE j.account_id = t.account_id AND j.project_id = t.project_id))
    FROM started t
  )
  SELECT (SELECT count(*) FROM (
      SELECT keypup.record_sync('sync.start', t.account_id, t.project_id) FROM started t) AS recorded)
    + (SELECT count(*) FROM polled)
$$;
REVOKE ALL ON FUNCTION keypup.start_due_runs(uuid, bigint, boolean, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.start_due_runs(uuid, bigint, boolean, integer) TO keypup_worker;
COMMENT ON FUNCTION keypup.start_due_runs(uuid, bigint, boolean, integer) IS
  'Starts a run for each project whose time has come and that has none; those that were read before are first asked '
  'whether they changed; of an account so many at a time, unless somebody waits. Returns for how many projects.';

CREATE FUNCTION keypup.start_run(account uuid, project bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE keypup.sync_state s
  SET last_run_started_at = now(),
    phase = CASE WHEN s.last_run_finished_at IS NULL THEN 'backfill' ELSE 'incremental' END
  WHERE s.account_id = account AND s.project_id = project;
  PERFORM keypup.record_sync('sync.start', account, project);
  -- Whoever started it meanwhile, while we waited for the project, has queued its job.
  PERFORM keypup.queue_job(account, project, (keypup.provider_of(account, p.connection_id)).first_kind, '{}'::jsonb,
    true, now(), false)
  FROM keypup.projects p
  WHERE p.account_id = account AND p.project_id = project
    AND NOT EXISTS (
      SELECT FROM keypup.sync_jobs j WHERE j.account_id = account AND j.project_id = project AND j.in_run);
END
$$;
REVOKE ALL ON FUNCTION keypup.start_run(uuid, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.start_run(uuid, bigint) TO keypup_worker;
COMMENT ON FUNCTION keypup.start_run(uuid, bigint) IS 'Starts a run of a project: what changed is found, and read.';

CREATE FUNCTION keypup.time_to_next_run(account uuid, project bigint, interval_seconds integer) RETURNS interval
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (
    -- Nothing happens in an archived repository until it is unarchived.
    SELECT make_interval(secs => CASE WHEN p.is_archived THEN greatest(interval_seconds, 86400)
      ELSE interval_seconds END)
    FROM keypup.projects p WHERE p.account_id = account AND p.project_id = project);
END
$$;
REVOKE ALL ON FUNCTION keypup.time_to_next_run(uuid, bigint, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.time_to_next_run(uuid, bigint, integer) TO keypup_worker;
COMMENT ON FUNCTION keypup.time_to_next_run(uuid, bigint, integer) IS
  'From the end of a run to the start of the next: a day for an archived repository.';

-- The ends of a job. Each runs in the page's transaction, for the account of the job.

CREATE FUNCTION keypup.job_done(account uuid, job bigint, interval_seconds integer) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  done record;
BEGIN
  DELETE FROM keypup.sync_jobs j WHERE j.account_id = account AND j.job_id = job RETURNING j.project_id, j.in_run
    INTO done;
  IF done.in_run IS NOT TRUE
    OR EXISTS (
      SELECT FROM keypup.sync_jobs j WHERE j.account_id = account AND j.project_id = done.project_id AND j.in_run
    ) THEN
    RETURN;
  END IF;
  PERFORM keypup.derive_milestones(account, done.project_id);
  -- What was asked for again, and did not fail again.
  DELETE FROM keypup.sync_failures f WHERE f.account_id = account AND f.project_id = done.project_id AND f.is_tried;
  UPDATE keypup.sync_state s
  SET phase = 'idle', last_run_finished_at = now(),
      -- A run that was asked for during this one still comes.
      next_run_at = least(CASE WHEN s.next_run_at > s.last_run_started_at THEN s.next_run_at END,
        now() + keypup.time_to_next_run(account, s.project_id, interval_seconds)),
      watermarks = s.watermarks || s.next_watermarks, next_watermarks = '{}',
      next_recheck_at = coalesce(s.next_recheck_at, now() + current_setting('keypup.recheck_interval')::interval),
      next_sweep_at = coalesce(s.next_sweep_at, now() + current_setting('keypup.sweep_interval')::interval),
      last_error = NULL, last_error_hint = NULL, last_error_at = NULL, failures = 0
  WHERE s.account_id = account AND s.project_id = done.project_id;
  PERFORM keypup.record_sync('sync.finish', account, done.project_id);
END
$$;
REVOKE ALL ON FUNCTION keypup.job_done(uuid, bigint, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.job_done(uuid, bigint, integer) TO keypup_worker;
COMMENT ON FUNCTION keypup.job_done(uuid, bigint, integer) IS
  'Ends a job whose page is stored; the last one of a run ends the run.';

CREATE FUNCTION keypup.project_is_unchanged(account uuid, project bigint, asked_at timestamptz,
  interval_seconds integer) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  -- A run that was asked for while the poll was under way still comes.
  UPDATE keypup.sync_state s
  SET last_run_started_at = asked_at, last_run_finished_at = now(), last_error = NULL, last_error_hint = NULL,
    last_error_at = NULL, failures = 0,
    next_run_at = least(CASE WHEN s.next_run_at > asked_at THEN s.next_run_at END,
      now() + keypup.time_to_next_run(account, project, interval_seconds))
  WHERE s.account_id = account AND s.project_id = project
$$;
REVOKE ALL ON FUNCTION keypup.project_is_unchanged(uuid, bigint, timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.project_is_unchanged(uuid, bigint, timestamptz, integer) TO keypup_worker;
COMMENT ON FUNCTION keypup.project_is_unchanged(uuid, bigint, timestamptz, integer) IS
  'Ends the run of a project, of which a poll told that there is nothing to read.';

CREATE FUNCTION keypup.job_failed(account uuid, job bigint, error text, hint text, retry_at timestamptz,
  may_pass boolean) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT keypup.hold_connection(j.account_id, j.connection_id)
  FROM keypup.sync_jobs j WHERE j.account_id = account AND j.job_id = job;
  -- Its project first, in the order of locks.
  SELECT true FROM keypup.sync_jobs j JOIN keypup.sync_state s USING (account_id, project_id)
  WHERE j.account_id = account AND j.job_id = job FOR NO KEY UPDATE OF s;
  WITH failed AS (
    UPDATE keypup.sync_jobs j
    -- A pause that the provider asks for is no failure of the job.
    SET attempts = j.attempts + CASE WHEN retry_at IS NULL THEN 1 ELSE 0 END, lease_id = NULL,
      may_pass = job_failed.may_pass,
        -- Jitter, so that what failed together is not tried together.
        due_at = coalesce(retry_at,
          now() + least(interval '1 hour', interval '5 seconds' * 2 ^ least(j.attempts, 20)) * (0.9 + 0.2 * random()))
    WHERE j.account_id = account AND j.job_id = job
    RETURNING j.project_id, CASE WHEN j.kind = 'poll' THEN j.arguments -> 'items' END AS projects
  ), told AS (
    -- Of a job of several, those that are free.
    SELECT s.project_id FROM failed f JOIN keypup.sync_state s ON s.account_id = account AND s.project_id = f.project_id
    UNION ALL
    SELECT o.project_id
    FROM (SELECT s.project_id FROM keypup.sync_state s
          WHERE s.account_id = account
            AND s.project_id = ANY (ARRAY(SELECT p::bigint FROM failed f, jsonb_array_elements(f.projects) AS p))
          FOR NO KEY UPDATE SKIP LOCKED) AS o
  )
  UPDATE keypup.sync_state s
  SET last_error = error, last_error_hint = hint, last_error_at = now(), failures = s.failures + 1
  FROM told WHERE s.account_id = account AND s.project_id = told.project_id
$$;
REVOKE ALL ON FUNCTION keypup.job_failed(uuid, bigint, text, text, timestamptz, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.job_failed(uuid, bigint, text, text, timestamptz, boolean) TO keypup_worker;
COMMENT ON FUNCTION keypup.job_failed(uuid, bigint, text, text, timestamptz, boolean) IS
  'Puts a job off: five seconds, doubling to an hour, or until the provider said. may_pass: whether waiting helps.';

-- What changes rows of other projects than its own holds them all. They come before its own in the order of locks:
-- where one of them is not free, the step is undone, and done once more with all of them taken first (take_answer,
-- job.c).
CREATE FUNCTION keypup.hold_projects(account uuid, connection uuid, waits boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  its_projects bigint[] := ARRAY(
    SELECT p.project_id FROM keypup.projects p
    WHERE p.account_id = account AND p.connection_id = connection);
  held bigint := 0;
BEGIN
  IF waits THEN
    PERFORM FROM keypup.sync_state s WHERE s.account_id = account AND s.project_id = ANY (its_projects)
    ORDER BY s.project_id FOR NO KEY UPDATE;
    RETURN;
  END IF;
  PERFORM FROM keypup.sync_state s
  WHERE s.account_id = account AND s.project_id = ANY (its_projects) FOR NO KEY UPDATE SKIP LOCKED;
  GET DIAGNOSTICS held = ROW_COUNT;
  IF held < cardinality(its_projects) THEN
    RAISE EXCEPTION 'another page of the connection is being stored' USING ERRCODE = 'object_in_use';
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.hold_projects(uuid, uuid, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.hold_projects(uuid, uuid, boolean) TO keypup_worker;
COMMENT ON FUNCTION keypup.hold_projects(uuid, uuid, boolean) IS
  'Keeps all pages of a connection from being stored until the transaction ends. waits: by who holds none of its '
  'projects yet; otherwise SQLSTATE 55006 where one is not free.';
