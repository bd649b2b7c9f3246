-- sync/sync.sql: what is due. A project has a run: a set of jobs that ends when none is left.
-- A job is one request; the page that answers it, what it leads to and its own end are one transaction.
-- Projects that were read once are asked a hundred at a time whether they changed (a poll); a run follows where one did.

CREATE TABLE keypup.sync_state (
  account_id uuid NOT NULL,
  project_id bigint NOT NULL,
  phase text NOT NULL DEFAULT 'backfill' CHECK (phase IN ('backfill', 'incremental', 'idle')),
  next_run_at timestamptz NOT NULL DEFAULT now(),
  last_run_started_at timestamptz,
  last_run_finished_at timestamptz,
  watermarks jsonb NOT NULL DEFAULT '{}',
  next_watermarks jsonb NOT NULL DEFAULT '{}',
  last_error text,
  last_error_hint text,
  last_error_at timestamptz,
  failures bigint NOT NULL DEFAULT 0,
  requests bigint NOT NULL DEFAULT 0,
  points bigint NOT NULL DEFAULT 0,
  poll_job_id bigint,
  next_recheck_at timestamptz,
  next_sweep_at timestamptz,
  reread_to bigint NOT NULL DEFAULT 0,
  refused_fields text[] NOT NULL DEFAULT '{}',
  refused_at timestamptz,
  PRIMARY KEY (account_id, project_id),
  FOREIGN KEY (account_id, project_id) REFERENCES keypup.projects ON DELETE CASCADE
);
COMMENT ON TABLE keypup.sync_state IS 'How far each project''s sync is; read sync_status.';
COMMENT ON COLUMN keypup.sync_state.account_id IS 'The account.';
COMMENT ON COLUMN keypup.sync_state.project_id IS 'The project.';
COMMENT ON COLUMN keypup.sync_state.phase IS 'backfill until the first run has finished, then incremental while a run goes on and idle between runs.';
COMMENT ON COLUMN keypup.sync_state.next_run_at IS 'When the next run starts.';
COMMENT ON COLUMN keypup.sync_state.last_run_started_at IS 'When the last run started.';
COMMENT ON COLUMN keypup.sync_state.last_run_finished_at IS 'When a run last finished; NULL before the first did.';
COMMENT ON COLUMN keypup.sync_state.watermarks IS 'For each kind of item the provider''s time up to which a finished run has read all changes.';
COMMENT ON COLUMN keypup.sync_state.next_watermarks IS 'The watermarks that hold once the run that goes on has finished.';
COMMENT ON COLUMN keypup.sync_state.last_error IS 'What went wrong last; NULL when the last run went well.';
COMMENT ON COLUMN keypup.sync_state.last_error_hint IS 'What to do about it.';
COMMENT ON COLUMN keypup.sync_state.last_error_at IS 'When it went wrong.';
COMMENT ON COLUMN keypup.sync_state.failures IS 'Failures since the last success.';
COMMENT ON COLUMN keypup.sync_state.requests IS 'Requests answered for the project, in all.';
COMMENT ON COLUMN keypup.sync_state.points IS 'Rate-limit points spent for the project, in all.';
COMMENT ON COLUMN keypup.sync_state.poll_job_id IS 'The job that asks whether it changed, together with others; NULL, or one that has ended.';
COMMENT ON COLUMN keypup.sync_state.next_recheck_at IS 'When open and just closed items are next read again, changed or not (keypup.recheck_interval).';
COMMENT ON COLUMN keypup.sync_state.next_sweep_at IS 'When all items are next compared with the provider''s, which finds what was deleted (keypup.sweep_interval).';
COMMENT ON COLUMN keypup.sync_state.reread_to IS 'Up to which number the last sweep had all items read again, changed or not (keypup.full_reread_interval).';
COMMENT ON COLUMN keypup.sync_state.refused_fields IS 'What the token may not read of the project, as the provider names it (Type.field). It is left out for a day, and then asked for again.';
COMMENT ON COLUMN keypup.sync_state.refused_at IS 'When it was refused last; NULL: it is asked for with the next run.';
SELECT keypup.protect_table('keypup.sync_state', 'data.read');

CREATE TABLE keypup.sync_jobs (
  account_id uuid NOT NULL,
  job_id bigint GENERATED ALWAYS AS IDENTITY,
  connection_id uuid NOT NULL,
  project_id bigint,
  kind text NOT NULL,
  arguments jsonb NOT NULL DEFAULT '{}',
  in_run boolean NOT NULL DEFAULT true,
  due_at timestamptz NOT NULL DEFAULT now(),
  queued_at timestamptz NOT NULL DEFAULT now(),
  attempts bigint NOT NULL DEFAULT 0,
  may_pass boolean NOT NULL DEFAULT true,
  lease_id bigint,
  doubt timestamptz,
  is_open boolean NOT NULL DEFAULT false,
  PRIMARY KEY (account_id, job_id),
  FOREIGN KEY (account_id, connection_id) REFERENCES keypup.connections ON DELETE CASCADE,
  FOREIGN KEY (account_id, project_id) REFERENCES keypup.projects ON DELETE CASCADE
);
CREATE INDEX sync_jobs_queue ON keypup.sync_jobs (account_id, connection_id, queued_at, job_id);
CREATE INDEX sync_jobs_leased ON keypup.sync_jobs (account_id, connection_id) WHERE lease_id IS NOT NULL;
CREATE INDEX sync_jobs_project ON keypup.sync_jobs (account_id, project_id, queued_at);
CREATE INDEX sync_jobs_open ON keypup.sync_jobs (account_id, project_id) WHERE is_open;
COMMENT ON TABLE keypup.sync_jobs IS 'Requests still to be made. Empty when all projects are up to date.';
COMMENT ON COLUMN keypup.sync_jobs.account_id IS 'The account.';
COMMENT ON COLUMN keypup.sync_jobs.job_id IS 'Identifies the job.';
COMMENT ON COLUMN keypup.sync_jobs.connection_id IS 'The connection that asks.';
COMMENT ON COLUMN keypup.sync_jobs.project_id IS 'The project; NULL for a job of several.';
COMMENT ON COLUMN keypup.sync_jobs.in_run IS 'Whether the project''s run ends only when the job has.';
COMMENT ON COLUMN keypup.sync_jobs.queued_at IS 'Its place in the queue of the connection: a second later for each job of the same project that waits already, so that projects take turns.';
COMMENT ON COLUMN keypup.sync_jobs.kind IS 'Which query is asked; the provider''s own word.';
COMMENT ON COLUMN keypup.sync_jobs.arguments IS 'What the query is asked for.';
COMMENT ON COLUMN keypup.sync_jobs.due_at IS 'Not before then.';
COMMENT ON COLUMN keypup.sync_jobs.attempts IS 'How often it failed.';
COMMENT ON COLUMN keypup.sync_jobs.may_pass IS 'Whether what it was put off for may pass by itself, so that CALL keypup.sync waits for it.';
COMMENT ON COLUMN keypup.sync_jobs.lease_id IS 'Which session is at it: one that holds the lock of this number. Ends with that session, however it ends.';
COMMENT ON COLUMN keypup.sync_jobs.doubt IS
  'The refused_at of the connection when it was asked last: only the answer to what was asked since then confirms a refusal.';
COMMENT ON COLUMN keypup.sync_jobs.is_open IS 'Whether more may be added to it while it waits: what it asks for does not fill a request.';
SELECT keypup.protect_table('keypup.sync_jobs', 'settings.read');
-- The numbers of jobs and leases count those of all accounts.
REVOKE SELECT ON keypup.sync_jobs FROM keypup_member;
GRANT SELECT (account_id, connection_id, project_id, kind, arguments, in_run, due_at, queued_at, attempts, may_pass, doubt, is_open)
  ON keypup.sync_jobs TO keypup_member;

CREATE SEQUENCE keypup.sync_leases AS integer CYCLE;
REVOKE ALL ON SEQUENCE keypup.sync_leases FROM PUBLIC;
GRANT USAGE ON SEQUENCE keypup.sync_leases TO keypup_worker;

CREATE FUNCTION keypup.queue_job(account uuid, project bigint, kind text, arguments jsonb, in_run boolean, due_at timestamptz,
  is_open boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, arguments, in_run, due_at, is_open, queued_at)
  SELECT account, p.connection_id, p.project_id, queue_job.kind, queue_job.arguments,
    coalesce(queue_job.in_run, EXISTS (SELECT FROM keypup.sync_jobs j WHERE j.account_id = account AND j.project_id = project AND j.in_run)), queue_job.due_at, queue_job.is_open,
    greatest(queue_job.due_at, (SELECT max(j.queued_at) FROM keypup.sync_jobs j WHERE j.account_id = account AND j.project_id = project) + interval '1 second')
  FROM keypup.projects p WHERE p.account_id = account AND p.project_id = project;
END
$$;
REVOKE ALL ON FUNCTION keypup.queue_job(uuid, bigint, text, jsonb, boolean, timestamptz, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.queue_job(uuid, bigint, text, jsonb, boolean, timestamptz, boolean) TO keypup_worker;
COMMENT ON FUNCTION keypup.queue_job(uuid, bigint, text, jsonb, boolean, timestamptz, boolean) IS 'Puts a job of a project at the end of its queue; in_run NULL: part of the run if one goes on.';

-- Sees all accounts, and so runs as the owner: it only starts what each project has asked for.
CREATE FUNCTION keypup.start_due_runs(only_account uuid, only_project bigint, now_at_once boolean) RETURNS bigint
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
      AND (only_account IS NULL OR f.account_id = only_account) AND (only_project IS NULL OR f.project_id = only_project)
    FOR UPDATE SKIP LOCKED
  )
  UPDATE keypup.sync_failures f SET next_try_at = now()
  FROM put_off o
  WHERE f.account_id = o.account_id AND f.project_id = o.project_id AND f.kind = o.kind AND f.item_id = o.item_id AND f.part = o.part;

  -- Of an account that has very many, the rest comes with the next look: others are not to wait for it.
  WITH candidate AS (
    -- By one look into an index for each, whatever is known of how many there are.
    SELECT s.account_id, s.project_id, row_number() OVER (PARTITION BY s.account_id ORDER BY s.next_run_at, s.project_id) AS turn
    FROM keypup.sync_state s
    CROSS JOIN LATERAL (
      SELECT p.connection_id FROM keypup.projects p WHERE p.account_id = s.account_id AND p.project_id = s.project_id LIMIT 1
    ) AS p
    CROSS JOIN LATERAL (
      SELECT FROM keypup.connections c
      WHERE c.account_id = s.account_id AND c.connection_id = p.connection_id
        AND (c.state <> 'token_refused' OR coalesce(c.retry_at <= now(), true)) AND c.origin = (SELECT keypup.this_database()) LIMIT 1
    ) AS c
    WHERE (only_account IS NULL OR s.account_id = only_account)
      AND (only_project IS NULL OR s.project_id = only_project)
      -- What has finished in the future was ordered by a clock that was wrong.
      AND (now_at_once OR s.next_run_at <= now() OR s.last_run_finished_at > now() + interval '1 minute')
      AND (SELECT true FROM keypup.sync_jobs j WHERE j.account_id = s.account_id AND j.project_id = s.project_id AND j.in_run LIMIT 1) IS NULL
      AND (now_at_once OR s.poll_job_id IS NULL
           OR (SELECT true FROM keypup.sync_jobs j WHERE j.account_id = s.account_id AND j.job_id = s.poll_job_id LIMIT 1) IS NULL)
  ), due AS MATERIALIZED (
    SELECT s.account_id, s.project_id, p.connection_id,
      -- Something of it was read, and nothing is wrong: whether it changed can be asked together with others.
      NOT now_at_once AND s.last_run_finished_at IS NOT NULL AND p.external_id IS NOT NULL AND s.last_error IS NULL AS can_be_polled
    FROM (SELECT n.* FROM candidate n WHERE now_at_once OR n.turn <= 100) AS n
    JOIN keypup.sync_state s USING (account_id, project_id)
    JOIN keypup.projects p USING (account_id, project_id)
    JOIN keypup.connections c USING (account_id, connection_id)
    -- Whoever was quicker has begun its run.
    WHERE (SELECT true FROM keypup.sync_jobs j WHERE j.account_id = s.account_id AND j.project_id = s.project_id AND j.in_run LIMIT 1) IS NULL
      AND (now_at_once OR s.next_run_at <= now() OR s.last_run_finished_at > now() + interval '1 minute')
    FOR KEY SHARE OF c SKIP LOCKED FOR UPDATE OF s SKIP LOCKED
  ), numbered AS (
    SELECT d.*, (row_number() OVER (PARTITION BY d.account_id, d.connection_id, d.can_be_polled ORDER BY d.project_id) - 1) / 100 AS part FROM due d
  ), grouped AS MATERIALIZED (
    SELECT n.*, n.can_be_polled AND count(*) OVER (PARTITION BY n.account_id, n.connection_id, n.can_be_polled, n.part) > 1 AS is_polled FROM numbered n
  ), poll AS (
    INSERT INTO keypup.sync_jobs (account_id, connection_id, kind, arguments, in_run)
    SELECT g.account_id, g.connection_id, 'poll', jsonb_build_object('projects', jsonb_agg(g.project_id)), false
    FROM grouped g WHERE g.is_polled GROUP BY g.account_id, g.connection_id, g.part
    RETURNING account_id, job_id, arguments
  ), polled AS (
    UPDATE keypup.sync_state s SET poll_job_id = poll.job_id
    FROM poll, jsonb_array_elements(poll.arguments -> 'projects') AS p (project_id)
    WHERE s.account_id = poll.account_id AND s.project_id = p.project_id::bigint
    RETURNING 1
  ), started AS (
    -- As start_run does for one.
    UPDATE keypup.sync_state s
    SET last_run_started_at = now(), phase = CASE WHEN s.last_run_finished_at IS NULL THEN 'backfill' ELSE 'incremental' END
    FROM grouped g WHERE NOT g.is_polled AND s.account_id = g.account_id AND s.project_id = g.project_id
    RETURNING s.account_id, s.project_id, g.connection_id
  ), queued AS (
    INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, queued_at)
    SELECT t.account_id, t.connection_id, t.project_id, 'repository', greatest(now(), interval '1 second'
      + (SELECT max(j.queued_at) FROM keypup.sync_jobs j WHERE j.account_id = t.account_id AND j.project_id = t.project_id))
    FROM started t
    RETURNING 1
  )
  SELECT (SELECT count(*) FROM queued) + (SELECT count(*) FROM polled)
$$;
REVOKE ALL ON FUNCTION keypup.start_due_runs(uuid, bigint, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.start_due_runs(uuid, bigint, boolean) TO keypup_worker;
COMMENT ON FUNCTION keypup.start_due_runs(uuid, bigint, boolean) IS 'Starts a run for each project whose time has come and that has none; those that were read before are first asked whether they changed; of an account a hundred at a time, unless somebody waits. Returns for how many projects.';

-- Sees all accounts, and so runs as the owner. A lease is live while its lock is held (runner.c).
CREATE FUNCTION keypup.live_leases() RETURNS SETOF bigint
LANGUAGE sql VOLATILE SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, pg_temp
AS $$
  SELECT l.objid::bigint
  FROM pg_locks l
  WHERE l.locktype = 'object' AND l.granted AND l.classid = 'keypup.sync_jobs'::regclass AND l.objsubid = 0
    AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
$$;
REVOKE ALL ON FUNCTION keypup.live_leases() FROM PUBLIC;
COMMENT ON FUNCTION keypup.live_leases() IS 'The leases of sessions that are there.';

-- Accounts take turns, in each its connections, and in each of these its jobs in the order of their queue, as many as the
-- connection may have in flight. Those that have work are looked for from the account behind the one at which the last turn
-- ended, and no more of them than there is room for; of one account, up to eight connections from anywhere on: what it costs does
-- not depend on how many wait. An account has no more requests in flight than places are left: alone it gets half of them,
-- and whoever comes next finds room. The last row has the account where this turn ends.
CREATE FUNCTION keypup.claim_jobs(lease integer, how_many integer, only_account uuid, only_project bigint,
  after_account uuid DEFAULT NULL, accounts_set_aside uuid[] DEFAULT '{}',
  OUT account_id uuid, OUT job_id bigint, OUT project_id bigint, OUT connection_id uuid,
  OUT provider text, OUT base_url text, OUT revision bigint, OUT envelope bytea)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  -- Of an account that has more connections than are looked at in one turn, others in the next.
  anywhere uuid := gen_random_uuid();
BEGIN
  RETURN QUERY
  WITH RECURSIVE live AS MATERIALIZED (
    SELECT l.lease_id FROM keypup.live_leases() AS l (lease_id)
  ), under_way AS MATERIALIZED (
    SELECT j.account_id, count(*) AS jobs FROM keypup.sync_jobs j WHERE j.lease_id = lease GROUP BY j.account_id
  ), bounds AS MATERIALIZED (
    -- In a circle; only_account alone.
    SELECT coalesce(only_account, after_account, '00000000-0000-0000-0000-000000000000') AS first_account
  ), waiting (account_id, turn, is_second_round) AS (
    -- The accounts that have jobs, by one look into the index for each.
    SELECT b.first_account, 0, false FROM bounds b WHERE only_account IS NULL
    UNION ALL
    SELECT n.account_id, w.turn + 1, n.is_second_round
    FROM waiting w
    CROSS JOIN LATERAL (
      SELECT k.*
      FROM (
        (SELECT j.account_id, w.is_second_round FROM keypup.sync_jobs j WHERE j.account_id > w.account_id ORDER BY j.account_id LIMIT 1)
        UNION ALL
        (SELECT j.account_id, true FROM keypup.sync_jobs j WHERE NOT w.is_second_round ORDER BY j.account_id LIMIT 1)
      ) AS k (account_id, is_second_round)
      ORDER BY k.is_second_round LIMIT 1
    ) AS n
    CROSS JOIN bounds b
    WHERE NOT n.is_second_round OR n.account_id <= b.first_account
  ), asking AS (
    SELECT w.account_id, w.turn FROM waiting w WHERE w.turn > 0
    UNION ALL
    SELECT only_account, 1 WHERE only_account IS NOT NULL
  ), ready AS MATERIALIZED (
    -- One after the other, until there are enough.
    SELECT a.account_id, a.turn, h.jobs AS under_way, l.connection_id, l.position, l.room
    FROM (SELECT a.* FROM asking a WHERE a.account_id <> ALL (accounts_set_aside)) AS a
    CROSS JOIN LATERAL (
      SELECT coalesce((SELECT u.jobs FROM under_way u WHERE u.account_id = a.account_id), 0) AS jobs
    ) AS h
    CROSS JOIN LATERAL (
      WITH RECURSIVE beside (connection_id, position, is_second_round) AS (
        SELECT anywhere, 0, false
        UNION ALL
        SELECT n.connection_id, b.position + 1, n.is_second_round
        FROM beside b
        CROSS JOIN LATERAL (
          SELECT k.*
          FROM (
            (SELECT j.connection_id, b.is_second_round FROM keypup.sync_jobs j
             WHERE j.account_id = a.account_id AND j.connection_id > b.connection_id ORDER BY j.connection_id LIMIT 1)
            UNION ALL
            (SELECT j.connection_id, true FROM keypup.sync_jobs j
             WHERE NOT b.is_second_round AND j.account_id = a.account_id ORDER BY j.connection_id LIMIT 1)
          ) AS k (connection_id, is_second_round)
          ORDER BY k.is_second_round LIMIT 1
        ) AS n
        WHERE b.position < 64 AND (NOT n.is_second_round OR n.connection_id <= anywhere)
      )
      SELECT b.connection_id, b.position, r.room
      FROM beside b
      CROSS JOIN LATERAL (
        -- To a token that was refused, one request at a time.
        SELECT least(how_many, CASE WHEN c.refused_at IS NULL
          THEN least(floor(c.concurrency)::bigint, current_setting('keypup.max_requests', true)::bigint) ELSE 1 END - (
            SELECT count(*) FROM keypup.sync_jobs o
            WHERE o.account_id = c.account_id AND o.connection_id = c.connection_id AND o.lease_id IN (SELECT live.lease_id FROM live))) AS room
        FROM keypup.connections c
        WHERE c.account_id = a.account_id AND c.connection_id = b.connection_id
          AND c.origin = (SELECT keypup.this_database())
          AND (c.blocked_until IS NULL OR c.blocked_until <= now()) AND (c.retry_at IS NULL OR c.retry_at <= now())
          -- An app's connection waits for its token.
          AND NOT EXISTS (SELECT FROM keypup.app_installations i
                          LEFT JOIN keypup.connection_tokens t ON t.account_id = i.account_id AND t.connection_id = i.connection_id AND t.purpose = 'access_token'
                          WHERE i.account_id = c.account_id AND i.connection_id = c.connection_id AND coalesce(t.expires_at <= now(), true))
          AND EXISTS (SELECT FROM keypup.sync_jobs j
                      WHERE j.account_id = c.account_id AND j.connection_id = c.connection_id AND j.due_at <= now()
                        AND (j.lease_id IS NULL OR j.lease_id NOT IN (SELECT live.lease_id FROM live))
                        AND (only_project IS NULL OR j.project_id = only_project))
        LIMIT 1
      ) AS r
      WHERE b.position > 0 AND r.room > 0
      LIMIT 8
    ) AS l
    WHERE h.jobs < how_many
    LIMIT how_many
  ), candidate AS (
    SELECT r.account_id, r.under_way, f.job_id, f.queued_at, r.turn AS account_turn, r.position,
      row_number() OVER (PARTITION BY r.account_id, r.connection_id ORDER BY f.queued_at, f.job_id) AS turn
    FROM ready r
    CROSS JOIN LATERAL (
      SELECT j.job_id, j.queued_at
      FROM keypup.sync_jobs j
      WHERE j.account_id = r.account_id AND j.connection_id = r.connection_id AND j.due_at <= now()
        AND (j.lease_id IS NULL OR j.lease_id NOT IN (SELECT live.lease_id FROM live))
        AND (only_project IS NULL OR j.project_id = only_project)
      ORDER BY j.queued_at, j.job_id
      -- Twice as many as are wanted, since some may be locked.
      LIMIT least(r.room, 1 + 2 * how_many / (SELECT count(*) FROM ready))
    ) f
  ), in_turn AS (
    SELECT c.*, row_number() OVER (PARTITION BY c.account_id ORDER BY c.turn, c.position, c.queued_at, c.job_id) AS of_account FROM candidate c
  ), placed AS (
    SELECT t.*, row_number() OVER (ORDER BY t.of_account, t.account_turn) AS place FROM in_turn t
  ), free AS (
    SELECT j.account_id, j.job_id, p.account_turn, c.refused_at
    FROM (SELECT p.* FROM placed p WHERE p.under_way + p.of_account <= how_many + 1 - p.place) AS p
    JOIN keypup.sync_jobs j USING (account_id, job_id)
    JOIN keypup.connections c USING (account_id, connection_id)
    WHERE j.lease_id IS NULL OR j.lease_id NOT IN (SELECT live.lease_id FROM live)
    ORDER BY p.place
    LIMIT how_many
    FOR KEY SHARE OF c SKIP LOCKED FOR UPDATE OF j SKIP LOCKED
  ), claimed AS (
    UPDATE keypup.sync_jobs j SET lease_id = lease, may_pass = true, doubt = free.refused_at
    FROM free WHERE j.account_id = free.account_id AND j.job_id = free.job_id
    RETURNING j.account_id, j.job_id, j.project_id, j.connection_id, j.queued_at, free.account_turn
  )
  SELECT k.account_id, k.job_id, k.project_id, c.connection_id, c.provider, c.base_url, t.revision, t.envelope
  FROM claimed k
  JOIN keypup.connections c ON c.account_id = k.account_id AND c.connection_id = k.connection_id
  LEFT JOIN keypup.connection_tokens t ON t.account_id = c.account_id AND t.connection_id = c.connection_id AND t.purpose = 'access_token'
  ORDER BY k.account_turn, k.queued_at, k.job_id;
END
$$;
REVOKE ALL ON FUNCTION keypup.claim_jobs(integer, integer, uuid, bigint, uuid, uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.claim_jobs(integer, integer, uuid, bigint, uuid, uuid[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.claim_jobs(integer, integer, uuid, bigint, uuid, uuid[]) IS
  'Takes due jobs for the session that holds the lease, none of accounts that it has set aside.';

CREATE FUNCTION keypup.start_run(account uuid, project bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE keypup.sync_state s
  SET last_run_started_at = now(), phase = CASE WHEN s.last_run_finished_at IS NULL THEN 'backfill' ELSE 'incremental' END
  WHERE s.account_id = account AND s.project_id = project;
  -- Whoever started it meanwhile, while we waited for the project, has queued its job.
  PERFORM keypup.queue_job(account, project, 'repository', '{}'::jsonb, true, now(), false)
  WHERE NOT EXISTS (SELECT FROM keypup.sync_jobs j WHERE j.account_id = account AND j.project_id = project AND j.in_run);
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
    SELECT make_interval(secs => CASE WHEN p.is_archived THEN greatest(interval_seconds, 86400) ELSE interval_seconds END)
    FROM keypup.projects p WHERE p.account_id = account AND p.project_id = project);
END
$$;
REVOKE ALL ON FUNCTION keypup.time_to_next_run(uuid, bigint, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.time_to_next_run(uuid, bigint, integer) TO keypup_worker;
COMMENT ON FUNCTION keypup.time_to_next_run(uuid, bigint, integer) IS 'From the end of a run to the start of the next: a day for an archived repository.';

-- The ends of a job. Each runs in the page's transaction, for the account of the job.

CREATE FUNCTION keypup.job_done(account uuid, job bigint, interval_seconds integer) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  done record;
BEGIN
  DELETE FROM keypup.sync_jobs j WHERE j.account_id = account AND j.job_id = job RETURNING j.project_id, j.in_run INTO done;
  IF done.in_run IS NOT TRUE OR EXISTS (SELECT FROM keypup.sync_jobs j WHERE j.account_id = account AND j.project_id = done.project_id AND j.in_run) THEN
    RETURN;
  END IF;
  PERFORM keypup.derive_milestones(account, done.project_id);
  -- What was asked for again, and did not fail again.
  DELETE FROM keypup.sync_failures f WHERE f.account_id = account AND f.project_id = done.project_id AND f.is_tried;
  UPDATE keypup.sync_state s
  SET phase = 'idle', last_run_finished_at = now(),
      -- A run that was asked for during this one still comes.
      next_run_at = least(CASE WHEN s.next_run_at > s.last_run_started_at THEN s.next_run_at END, now() + keypup.time_to_next_run(account, s.project_id, interval_seconds)),
      watermarks = s.watermarks || s.next_watermarks, next_watermarks = '{}',
      next_recheck_at = coalesce(s.next_recheck_at, now() + current_setting('keypup.recheck_interval')::interval),
      next_sweep_at = coalesce(s.next_sweep_at, now() + current_setting('keypup.sweep_interval')::interval),
      last_error = NULL, last_error_hint = NULL, last_error_at = NULL, failures = 0
  WHERE s.account_id = account AND s.project_id = done.project_id;
END
$$;
REVOKE ALL ON FUNCTION keypup.job_done(uuid, bigint, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.job_done(uuid, bigint, integer) TO keypup_worker;
COMMENT ON FUNCTION keypup.job_done(uuid, bigint, integer) IS 'Ends a job whose page is stored; the last one of a run ends the run.';

CREATE FUNCTION keypup.project_is_unchanged(account uuid, project bigint, asked_at timestamptz, interval_seconds integer) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  -- A run that was asked for while the poll was under way still comes.
  UPDATE keypup.sync_state s
  SET last_run_started_at = asked_at, last_run_finished_at = now(), last_error = NULL, last_error_hint = NULL, last_error_at = NULL, failures = 0,
      next_run_at = least(CASE WHEN s.next_run_at > asked_at THEN s.next_run_at END, now() + keypup.time_to_next_run(account, project, interval_seconds))
  WHERE s.account_id = account AND s.project_id = project
$$;
REVOKE ALL ON FUNCTION keypup.project_is_unchanged(uuid, bigint, timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.project_is_unchanged(uuid, bigint, timestamptz, integer) TO keypup_worker;
COMMENT ON FUNCTION keypup.project_is_unchanged(uuid, bigint, timestamptz, integer) IS 'Ends the run of a project, of which a poll told that there is nothing to read.';

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
    SET attempts = j.attempts + CASE WHEN retry_at IS NULL THEN 1 ELSE 0 END, lease_id = NULL, may_pass = job_failed.may_pass,
        -- Jitter, so that what failed together is not tried together.
        due_at = coalesce(retry_at, now() + least(interval '1 hour', interval '5 seconds' * 2 ^ least(j.attempts, 20)) * (0.9 + 0.2 * random()))
    WHERE j.account_id = account AND j.job_id = job
    RETURNING j.project_id, j.arguments -> 'projects' AS projects
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

CREATE FUNCTION keypup.refuse_connection(account uuid, connection uuid, reason text, hint text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE keypup.connections c
  SET state = 'token_refused', blocked_until = NULL, blocked_reason = reason, blocked_hint = hint, refused_at = now(), retry_at = 'infinity'
  WHERE c.account_id = account AND c.connection_id = connection
$$;
-- One refusal may be an error of the provider. The second must answer what was asked after the first was known; what was in flight
-- with it tells of the same error.
CREATE FUNCTION keypup.doubt_connection(account uuid, connection uuid, reason text, hint text, doubt timestamptz) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE keypup.connections c
  SET state = CASE WHEN c.refused_at = doubt THEN 'token_refused' WHEN c.refused_at IS NULL THEN 'token_doubted' ELSE c.state END,
      retry_at = CASE WHEN c.refused_at = doubt THEN now() + interval '1 hour'
                      WHEN c.refused_at IS NULL THEN now() + interval '5 seconds' ELSE c.retry_at END,
      refused_at = coalesce(c.refused_at, now()), blocked_reason = reason,
      blocked_hint = CASE WHEN c.refused_at = doubt OR c.state = 'token_refused' THEN hint
                          ELSE 'Nothing yet: the provider is asked a second time, at the time in next_run_at.' END
  WHERE c.account_id = account AND c.connection_id = connection
  RETURNING c.state = 'token_refused'
$$;
REVOKE ALL ON FUNCTION keypup.refuse_connection(uuid, uuid, text, text),
  keypup.doubt_connection(uuid, uuid, text, text, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.refuse_connection(uuid, uuid, text, text),
  keypup.doubt_connection(uuid, uuid, text, text, timestamptz) TO keypup_worker;
COMMENT ON FUNCTION keypup.refuse_connection(uuid, uuid, text, text) IS
  'Stops a connection whose token cannot serve any more, until it is admitted again.';
COMMENT ON FUNCTION keypup.doubt_connection(uuid, uuid, text, text, timestamptz) IS
  'Takes a refusal of a connection''s token: the first is confirmed by a second one, seconds later, and then the token is'
  ' tried once an hour. doubt: the refused_at of the connection when the provider was asked. Whether it is confirmed.';

CREATE FUNCTION keypup.admit_connection(account uuid, connection uuid, was_replaced boolean) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  -- What the token before could not read is asked for with the next runs.
  WITH refused AS (
    SELECT s.account_id, s.project_id
    FROM keypup.projects p JOIN keypup.sync_state s USING (account_id, project_id)
    WHERE p.account_id = account AND p.connection_id = connection AND s.refused_at IS NOT NULL
    ORDER BY s.project_id FOR NO KEY UPDATE OF s
  )
  UPDATE keypup.sync_state s SET refused_at = NULL
  FROM refused r WHERE s.account_id = r.account_id AND s.project_id = r.project_id;
  UPDATE keypup.connections c
  SET state = 'new', blocked_until = NULL, blocked_reason = NULL, blocked_hint = NULL, refused_at = NULL, retry_at = NULL,
      origin = CASE WHEN was_replaced THEN keypup.this_database() ELSE c.origin END
  WHERE c.account_id = account AND c.connection_id = connection;
$$;
REVOKE ALL ON FUNCTION keypup.admit_connection(uuid, uuid, boolean) FROM PUBLIC;
COMMENT ON FUNCTION keypup.admit_connection(uuid, uuid, boolean) IS
  'Has a connection go on with another token, or try once more with the one that it has.';

CREATE FUNCTION keypup.release_job(account uuid, job bigint) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$ UPDATE keypup.sync_jobs j SET lease_id = NULL WHERE j.account_id = account AND j.job_id = job $$;
REVOKE ALL ON FUNCTION keypup.release_job(uuid, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.release_job(uuid, bigint) TO keypup_worker;
COMMENT ON FUNCTION keypup.release_job(uuid, bigint) IS 'Gives a claimed job back that was not asked.';

CREATE FUNCTION keypup.put_back_job(account uuid, job bigint) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  WITH free AS (
    SELECT j.account_id, j.job_id FROM keypup.sync_jobs j
    WHERE j.account_id = account AND j.job_id = job FOR UPDATE SKIP LOCKED
  ), back AS (
    UPDATE keypup.sync_jobs j SET lease_id = NULL, due_at = greatest(j.due_at, now() + interval '1 second')
    FROM free f WHERE j.account_id = f.account_id AND j.job_id = f.job_id
    RETURNING 1
  )
  SELECT EXISTS (SELECT FROM back)
    OR NOT EXISTS (SELECT FROM keypup.sync_jobs j WHERE j.account_id = account AND j.job_id = job)
$$;
REVOKE ALL ON FUNCTION keypup.put_back_job(uuid, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.put_back_job(uuid, bigint) TO keypup_worker;
COMMENT ON FUNCTION keypup.put_back_job(uuid, bigint) IS
  'Gives a claimed job back whose answer cannot be stored, since somebody holds what it belongs to: no failure. False'
  ' where somebody holds the job itself.';

CREATE FUNCTION keypup.wait_for_budget(account uuid, job bigint, blocked_until timestamptz) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT keypup.hold_connection(j.account_id, j.connection_id)
  FROM keypup.sync_jobs j WHERE j.account_id = account AND j.job_id = job;
  SELECT keypup.release_job(account, job);
  UPDATE keypup.connections c
  SET blocked_until = wait_for_budget.blocked_until,
      blocked_reason = CASE WHEN c.refused_at IS NULL THEN 'the token''s budget is used up elsewhere' ELSE c.blocked_reason END,
      state = CASE WHEN c.refused_at IS NULL THEN 'ok' ELSE c.state END
  FROM keypup.sync_jobs j
  WHERE j.account_id = account AND j.job_id = job AND c.account_id = account AND c.connection_id = j.connection_id;
$$;
REVOKE ALL ON FUNCTION keypup.wait_for_budget(uuid, bigint, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.wait_for_budget(uuid, bigint, timestamptz) TO keypup_worker;
COMMENT ON FUNCTION keypup.wait_for_budget(uuid, bigint, timestamptz) IS 'Gives a claimed job back, and stops the requests of its connection: another that uses the token was told to wait.';

CREATE FUNCTION keypup.forget_paces() RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'keypup_forget_paces';
CREATE FUNCTION keypup.resume_connections(account text DEFAULT NULL, connection text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid;
  the_connection uuid;
  resumed record;
  how_many bigint := 0;
BEGIN
  PERFORM keypup.guard_writes();
  IF account IS NULL AND connection IS NOT NULL THEN
    RAISE EXCEPTION 'an account is needed'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'Name the account of the connection, too.';
  ELSIF account IS NOT NULL THEN
    SELECT a.account_id INTO the_account FROM keypup.accounts a WHERE a.name = account;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'account "%" does not exist', account
        USING ERRCODE = 'undefined_object', HINT = 'SELECT name FROM keypup.accounts shows the accounts.';
    END IF;
  END IF;
  IF connection IS NOT NULL THEN
    the_connection := keypup.find_connection(the_account, connection);
  END IF;
  PERFORM keypup.forget_paces();
  FOR resumed IN
    WITH halted AS (
      SELECT c.account_id, c.connection_id, c.origin <> keypup.this_database() AS is_restored
      FROM keypup.connections c
      WHERE (the_account IS NULL OR c.account_id = the_account)
        AND (the_connection IS NULL OR c.connection_id = the_connection)
        AND (c.blocked_until IS NOT NULL OR isfinite(c.retry_at) OR c.origin <> keypup.this_database())
      ORDER BY c.account_id, c.connection_id
      FOR NO KEY UPDATE
    )
    UPDATE keypup.connections c
    SET origin = keypup.this_database(), blocked_until = NULL,
        retry_at = CASE WHEN NOT isfinite(c.retry_at) THEN c.retry_at END,
        blocked_reason = CASE WHEN c.refused_at IS NOT NULL THEN c.blocked_reason END
    FROM halted h WHERE c.account_id = h.account_id AND c.connection_id = h.connection_id
    RETURNING c.account_id, c.name, h.is_restored
  LOOP
    how_many := how_many + 1;
    IF resumed.is_restored THEN
      PERFORM keypup.record_action(resumed.account_id, 'connection.resume', format('"%s"', resumed.name));
    END IF;
  END LOOP;
  UPDATE keypup.identity_providers p SET origin = keypup.this_database()
  WHERE (the_account IS NULL OR p.account_id = the_account) AND the_connection IS NULL
    AND p.origin <> keypup.this_database();
  PERFORM keypup.wake_launcher();
  RETURN how_many;
END
$$;
REVOKE ALL ON FUNCTION keypup.forget_paces(), keypup.resume_connections(text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.forget_paces() IS 'Forgets what providers told of tokens'' budgets, in the whole server.';
COMMENT ON FUNCTION keypup.resume_connections(text, text) IS
  'Has this database read by connections that were made in another one, of which it is a copy; all, or those of an'
  ' account, or one of them. Ends the pauses that providers asked for, where they were asked in error or are over'
  ' already; the next answers tell anew. Tokens that providers refused are tried at once. Returns how many connections'
  ' were resumed. For operators: granted to nobody.';

-- A plan that was made for an empty table is used until something says that it is none any more. Autovacuum does, a minute
-- later; a first sync has stored most of its rows by then, each page slower than the one before. A small sample is enough until then.
CREATE FUNCTION keypup.analyze_grown_tables() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET default_statistics_target = 10
AS $$
DECLARE
  grown regclass;
BEGIN
  FOR grown IN
    SELECT c.oid::regclass FROM pg_class c
    WHERE c.relnamespace = 'keypup'::regnamespace AND c.relkind = 'r'
      -- By its size: what a CALL stores the statistics do not tell before it has ended.
      AND pg_relation_size(c.oid) > (2 + 3 * greatest(c.relpages, 0)) * current_setting('block_size')::bigint
    ORDER BY c.oid
  LOOP
    EXECUTE format('ANALYZE %s', grown);
  END LOOP;
  RETURN 0;
END
$$;
REVOKE ALL ON FUNCTION keypup.analyze_grown_tables() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.analyze_grown_tables() TO keypup_worker;
COMMENT ON FUNCTION keypup.analyze_grown_tables() IS 'Tells the planner of tables that have grown several times since it last looked. For the worker.';
