-- sync/sync.sql: what is due. A project has a run: a set of jobs that ends when none is left.
-- A job is one request; the page that answers it, what it leads to and its own end are one transaction.

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
SELECT keypup.protect_table('keypup.sync_state', 'data.read');

CREATE TABLE keypup.sync_jobs (
  account_id uuid NOT NULL,
  job_id bigint GENERATED ALWAYS AS IDENTITY,
  project_id bigint NOT NULL,
  kind text NOT NULL,
  arguments jsonb NOT NULL DEFAULT '{}',
  due_at timestamptz NOT NULL DEFAULT now(),
  attempts bigint NOT NULL DEFAULT 0,
  lease_id bigint,
  PRIMARY KEY (account_id, job_id),
  FOREIGN KEY (account_id, project_id) REFERENCES keypup.projects ON DELETE CASCADE
);
CREATE INDEX sync_jobs_due ON keypup.sync_jobs (due_at);
CREATE INDEX sync_jobs_project ON keypup.sync_jobs (account_id, project_id);
COMMENT ON TABLE keypup.sync_jobs IS 'Requests still to be made. Empty when all projects are up to date.';
COMMENT ON COLUMN keypup.sync_jobs.account_id IS 'The account.';
COMMENT ON COLUMN keypup.sync_jobs.job_id IS 'Identifies the job.';
COMMENT ON COLUMN keypup.sync_jobs.project_id IS 'The project.';
COMMENT ON COLUMN keypup.sync_jobs.kind IS 'Which query is asked; the provider''s own word.';
COMMENT ON COLUMN keypup.sync_jobs.arguments IS 'What the query is asked for.';
COMMENT ON COLUMN keypup.sync_jobs.due_at IS 'Not before then.';
COMMENT ON COLUMN keypup.sync_jobs.attempts IS 'How often it failed.';
COMMENT ON COLUMN keypup.sync_jobs.lease_id IS 'Which session is at it: one that holds the lock of this number. Ends with that session, however it ends.';
SELECT keypup.protect_table('keypup.sync_jobs', 'settings.read');

CREATE SEQUENCE keypup.sync_leases AS integer CYCLE;
REVOKE ALL ON SEQUENCE keypup.sync_leases FROM PUBLIC;
GRANT USAGE ON SEQUENCE keypup.sync_leases TO keypup_worker;

-- Sees all accounts, and so runs as the owner: it only starts what each project has asked for.
CREATE FUNCTION keypup.start_due_runs(only_account uuid, only_project bigint, now_at_once boolean) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE keypup.sync_jobs j SET due_at = now()
  WHERE now_at_once AND j.due_at > now()
    AND (only_account IS NULL OR j.account_id = only_account) AND (only_project IS NULL OR j.project_id = only_project);

  WITH due AS (
    SELECT s.account_id, s.project_id
    FROM keypup.sync_state s
    JOIN keypup.projects p USING (account_id, project_id)
    JOIN keypup.connections c USING (account_id, connection_id)
    WHERE (only_account IS NULL OR s.account_id = only_account)
      AND (only_project IS NULL OR s.project_id = only_project)
      AND (now_at_once OR s.next_run_at <= now())
      AND c.state <> 'token_refused'
      AND NOT EXISTS (SELECT FROM keypup.sync_jobs j WHERE j.account_id = s.account_id AND j.project_id = s.project_id)
    FOR UPDATE OF s SKIP LOCKED
  ), started AS (
    UPDATE keypup.sync_state s
    SET last_run_started_at = now(), phase = CASE WHEN s.last_run_finished_at IS NULL THEN 'backfill' ELSE 'incremental' END
    FROM due WHERE s.account_id = due.account_id AND s.project_id = due.project_id
    RETURNING s.account_id, s.project_id
  ), job AS (
    INSERT INTO keypup.sync_jobs (account_id, project_id, kind)
    SELECT account_id, project_id, 'repository' FROM started
    RETURNING 1
  )
  SELECT count(*) FROM job
$$;
REVOKE ALL ON FUNCTION keypup.start_due_runs(uuid, bigint, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.start_due_runs(uuid, bigint, boolean) TO keypup_worker;
COMMENT ON FUNCTION keypup.start_due_runs(uuid, bigint, boolean) IS 'Starts a run for each project whose time has come and that has none.';

-- Sees all accounts, and so runs as the owner. A lease is live while its lock is held (runner.c).
CREATE FUNCTION keypup.claim_jobs(lease integer, how_many integer, only_account uuid, only_project bigint,
  OUT account_id uuid, OUT job_id bigint, OUT project_id bigint, OUT connection_id uuid,
  OUT provider text, OUT base_url text, OUT revision bigint, OUT envelope bytea)
RETURNS SETOF record
LANGUAGE sql VOLATILE SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, pg_temp
AS $$
  WITH live AS MATERIALIZED (
    SELECT l.objid::bigint AS lease_id
    FROM pg_locks l
    WHERE l.locktype = 'object' AND l.granted AND l.classid = 'keypup.sync_jobs'::regclass AND l.objsubid = 0
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
  ), free AS (
    SELECT j.account_id, j.job_id
    FROM keypup.sync_jobs j
    JOIN keypup.projects p USING (account_id, project_id)
    JOIN keypup.connections c USING (account_id, connection_id)
    WHERE j.due_at <= now()
      AND (j.lease_id IS NULL OR j.lease_id NOT IN (SELECT live.lease_id FROM live))
      AND (only_account IS NULL OR j.account_id = only_account)
      AND (only_project IS NULL OR j.project_id = only_project)
      AND c.state <> 'token_refused'
      AND (c.blocked_until IS NULL OR c.blocked_until <= now())
      -- An app's connection waits for its token.
      AND NOT EXISTS (SELECT FROM keypup.app_installations i
                      LEFT JOIN keypup.connection_tokens t ON t.account_id = i.account_id AND t.connection_id = i.connection_id AND t.purpose = 'access_token'
                      WHERE i.account_id = c.account_id AND i.connection_id = c.connection_id AND coalesce(t.expires_at <= now(), true))
    ORDER BY j.due_at, j.job_id
    LIMIT how_many
    FOR UPDATE OF j SKIP LOCKED
  ), claimed AS (
    UPDATE keypup.sync_jobs j SET lease_id = lease
    FROM free WHERE j.account_id = free.account_id AND j.job_id = free.job_id
    RETURNING j.account_id, j.job_id, j.project_id
  )
  SELECT k.account_id, k.job_id, k.project_id, c.connection_id, c.provider, c.base_url, t.revision, t.envelope
  FROM claimed k
  JOIN keypup.projects p ON p.account_id = k.account_id AND p.project_id = k.project_id
  JOIN keypup.connections c ON c.account_id = p.account_id AND c.connection_id = p.connection_id
  LEFT JOIN keypup.connection_tokens t ON t.account_id = c.account_id AND t.connection_id = c.connection_id AND t.purpose = 'access_token'
  ORDER BY k.job_id
$$;
REVOKE ALL ON FUNCTION keypup.claim_jobs(integer, integer, uuid, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.claim_jobs(integer, integer, uuid, bigint) TO keypup_worker;
COMMENT ON FUNCTION keypup.claim_jobs(integer, integer, uuid, bigint) IS 'Takes due jobs for the session that holds the lease.';

CREATE FUNCTION keypup.jobs_left(only_account uuid, only_project bigint,
  OUT jobs bigint, OUT ready_in_milliseconds bigint, OUT items_done bigint, OUT items_total bigint, OUT last_error text)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  WITH scope AS (
    SELECT p.account_id, p.project_id, p.connection_id, p.issue_total, p.pull_request_total
    FROM keypup.projects p
    WHERE (only_account IS NULL OR p.account_id = only_account) AND (only_project IS NULL OR p.project_id = only_project)
  ), waiting AS (
    SELECT greatest(j.due_at, c.blocked_until) AS ready_at
    FROM keypup.sync_jobs j JOIN scope USING (account_id, project_id) JOIN keypup.connections c USING (account_id, connection_id)
    WHERE c.state <> 'token_refused'
  )
  SELECT (SELECT count(*) FROM waiting),
         (SELECT greatest(0, extract(epoch FROM min(ready_at) - now()) * 1000)::bigint FROM waiting),
         (SELECT count(*) FROM scope JOIN keypup.pull_requests USING (account_id, project_id) WHERE deleted_at IS NULL)
         + (SELECT count(*) FROM scope JOIN keypup.issues USING (account_id, project_id) WHERE deleted_at IS NULL),
         (SELECT sum(issue_total + pull_request_total)::bigint FROM scope),
         (SELECT s.last_error FROM scope JOIN keypup.sync_state s USING (account_id, project_id)
          WHERE s.last_error IS NOT NULL ORDER BY s.last_error_at DESC LIMIT 1)
$$;
REVOKE ALL ON FUNCTION keypup.jobs_left(uuid, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.jobs_left(uuid, bigint) TO keypup_worker;
COMMENT ON FUNCTION keypup.jobs_left(uuid, bigint) IS 'What is still to be done, and when the next of it may start.';

-- The three ends of a job. Each runs in the page's transaction, for the account of the job.

CREATE FUNCTION keypup.job_done(account uuid, job bigint, interval_seconds integer) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  project bigint;
BEGIN
  DELETE FROM keypup.sync_jobs j WHERE j.account_id = account AND j.job_id = job RETURNING j.project_id INTO project;
  IF project IS NULL OR EXISTS (SELECT FROM keypup.sync_jobs j WHERE j.account_id = account AND j.project_id = project) THEN
    RETURN;
  END IF;
  PERFORM keypup.derive_milestones(account, project);
  UPDATE keypup.sync_state s
  SET phase = 'idle', last_run_finished_at = now(), next_run_at = now() + make_interval(secs => interval_seconds),
      watermarks = s.watermarks || s.next_watermarks, next_watermarks = '{}',
      last_error = NULL, last_error_hint = NULL, last_error_at = NULL, failures = 0
  WHERE s.account_id = account AND s.project_id = project;
END
$$;
REVOKE ALL ON FUNCTION keypup.job_done(uuid, bigint, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.job_done(uuid, bigint, integer) TO keypup_worker;
COMMENT ON FUNCTION keypup.job_done(uuid, bigint, integer) IS 'Ends a job whose page is stored; the last one ends the run.';

CREATE FUNCTION keypup.job_failed(account uuid, job bigint, error text, hint text, retry_at timestamptz DEFAULT NULL) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  WITH failed AS (
    UPDATE keypup.sync_jobs j
    SET attempts = j.attempts + 1, lease_id = NULL,
        due_at = coalesce(retry_at, now() + least(interval '1 hour', interval '5 seconds' * 2 ^ least(j.attempts, 20)))
    WHERE j.account_id = account AND j.job_id = job
    RETURNING j.project_id
  )
  UPDATE keypup.sync_state s
  SET last_error = error, last_error_hint = hint, last_error_at = now(), failures = s.failures + 1
  FROM failed WHERE s.account_id = account AND s.project_id = failed.project_id
$$;
REVOKE ALL ON FUNCTION keypup.job_failed(uuid, bigint, text, text, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.job_failed(uuid, bigint, text, text, timestamptz) TO keypup_worker;
COMMENT ON FUNCTION keypup.job_failed(uuid, bigint, text, text, timestamptz) IS 'Puts a job off: five seconds, doubling to an hour, or until the provider said.';

CREATE FUNCTION keypup.connection_blocked(account uuid, job bigint, reason text, blocked_until timestamptz, new_state text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE keypup.connections c
  SET blocked_until = connection_blocked.blocked_until, blocked_reason = reason, state = new_state
  FROM keypup.sync_jobs j JOIN keypup.projects p ON p.account_id = j.account_id AND p.project_id = j.project_id
  WHERE j.account_id = account AND j.job_id = job AND c.account_id = account AND c.connection_id = p.connection_id
$$;
REVOKE ALL ON FUNCTION keypup.connection_blocked(uuid, bigint, text, timestamptz, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.connection_blocked(uuid, bigint, text, timestamptz, text) TO keypup_worker;
COMMENT ON FUNCTION keypup.connection_blocked(uuid, bigint, text, timestamptz, text) IS 'Stops all requests of a connection for a while, or until its token is replaced.';

CREATE PROCEDURE keypup.sync(account text, project text DEFAULT NULL)
LANGUAGE c AS 'MODULE_PATHNAME', 'keypup_sync';
REVOKE ALL ON PROCEDURE keypup.sync(text, text) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE keypup.sync(text, text) TO keypup_member;
COMMENT ON PROCEDURE keypup.sync(text, text) IS 'Syncs now, in this session, with progress; returns when what is due is done.';

CREATE FUNCTION keypup.wake_launcher() RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'keypup_wake_launcher';
REVOKE ALL ON FUNCTION keypup.wake_launcher() FROM PUBLIC;
COMMENT ON FUNCTION keypup.wake_launcher() IS 'Has the launcher look at once, after the transaction, for databases that need a worker.';
