-- sync/sync.sql: what is known of each project's sync, and what is due. A project has a run: a set of jobs that ends
-- when none is left. A job is one request; the page that answers it, what it leads to and its own end are one
-- transaction (queue.sql, run.sql). Projects that were read once are asked many at a time whether they changed (a
-- poll), where the provider has a request for that (providers.poll_size); a run follows where one did.

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
  answer_asked_at timestamptz,
  unlisted jsonb NOT NULL DEFAULT '{}',
  PRIMARY KEY (account_id, project_id),
  FOREIGN KEY (account_id, project_id) REFERENCES keypup.projects ON DELETE CASCADE
);
COMMENT ON TABLE keypup.sync_state IS 'How far each project''s sync is; read sync_status.';
COMMENT ON COLUMN keypup.sync_state.project_id IS 'The project.';
COMMENT ON COLUMN keypup.sync_state.phase IS
  'backfill until the first run has finished, then incremental while a run goes on and idle between runs.';
COMMENT ON COLUMN keypup.sync_state.next_run_at IS 'When the next run starts.';
COMMENT ON COLUMN keypup.sync_state.last_run_started_at IS 'When the last run started.';
COMMENT ON COLUMN keypup.sync_state.last_run_finished_at IS 'When a run last finished; NULL before the first did.';
COMMENT ON COLUMN keypup.sync_state.watermarks IS
  'For each kind of item the provider''s time up to which a finished run has read all changes.';
COMMENT ON COLUMN keypup.sync_state.next_watermarks IS
  'The watermarks that hold once the run that goes on has finished.';
COMMENT ON COLUMN keypup.sync_state.last_error IS 'What went wrong last; NULL when the last run went well.';
COMMENT ON COLUMN keypup.sync_state.last_error_hint IS 'What to do about it.';
COMMENT ON COLUMN keypup.sync_state.last_error_at IS 'When it went wrong.';
COMMENT ON COLUMN keypup.sync_state.failures IS 'Failures since the last success.';
COMMENT ON COLUMN keypup.sync_state.requests IS 'Requests answered for the project, in all.';
COMMENT ON COLUMN keypup.sync_state.points IS 'Rate-limit points spent for the project, in all.';
COMMENT ON COLUMN keypup.sync_state.poll_job_id IS
  'The job that asks whether it changed, together with others; NULL, or one that has ended.';
COMMENT ON COLUMN keypup.sync_state.next_recheck_at IS
  'When open and just closed items are next read again, changed or not (keypup.recheck_interval).';
COMMENT ON COLUMN keypup.sync_state.next_sweep_at IS
  'When all items are next compared with the provider''s, which finds what was deleted (keypup.sweep_interval).';
COMMENT ON COLUMN keypup.sync_state.reread_to IS
  'Up to which number the last sweep had all items read again, changed or not (keypup.full_reread_interval).';
COMMENT ON COLUMN keypup.sync_state.refused_fields IS
  'What the token may not read of the project, as the provider names it (Type.field). It is left out for a day, and '
  'then asked for again.';
COMMENT ON COLUMN keypup.sync_state.refused_at IS 'When it was refused last; NULL: it is asked for with the next run.';
COMMENT ON COLUMN keypup.sync_state.answer_asked_at IS 'When the answer that was taken last had been asked for.';
COMMENT ON COLUMN keypup.sync_state.unlisted IS
  'When an item last named what the list of its kind did not have (labels, milestones): new, or deleted.';
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
  asked_at timestamptz,
  doubt timestamptz,
  is_open boolean NOT NULL DEFAULT false,
  batch_size integer,
  PRIMARY KEY (account_id, job_id),
  FOREIGN KEY (account_id, connection_id) REFERENCES keypup.connections ON DELETE CASCADE,
  FOREIGN KEY (account_id, project_id) REFERENCES keypup.projects ON DELETE CASCADE
);
CREATE INDEX sync_jobs_queue ON keypup.sync_jobs (account_id, connection_id, queued_at, job_id);
CREATE INDEX sync_jobs_leased ON keypup.sync_jobs (account_id, connection_id) WHERE lease_id IS NOT NULL;
CREATE INDEX sync_jobs_project ON keypup.sync_jobs (account_id, project_id, queued_at);
CREATE INDEX sync_jobs_open ON keypup.sync_jobs (account_id, project_id) WHERE is_open;
COMMENT ON TABLE keypup.sync_jobs IS 'Requests still to be made. Empty when all projects are up to date.';
COMMENT ON COLUMN keypup.sync_jobs.job_id IS 'Identifies the job.';
COMMENT ON COLUMN keypup.sync_jobs.connection_id IS 'The connection that asks.';
COMMENT ON COLUMN keypup.sync_jobs.project_id IS 'The project; NULL for a job of several.';
COMMENT ON COLUMN keypup.sync_jobs.in_run IS 'Whether the project''s run ends only when the job has.';
COMMENT ON COLUMN keypup.sync_jobs.queued_at IS
  'Its place in the queue of the connection: a second later for each job of the same project that waits already, so '
  'that projects take turns.';
COMMENT ON COLUMN keypup.sync_jobs.kind IS 'Which query is asked; the provider''s own word.';
COMMENT ON COLUMN keypup.sync_jobs.arguments IS 'What the query is asked for.';
COMMENT ON COLUMN keypup.sync_jobs.due_at IS 'Not before then.';
COMMENT ON COLUMN keypup.sync_jobs.attempts IS 'How often it failed.';
COMMENT ON COLUMN keypup.sync_jobs.may_pass IS
  'Whether what it was put off for may pass by itself, so that CALL keypup.sync waits for it.';
COMMENT ON COLUMN keypup.sync_jobs.lease_id IS
  'Which session is at it: one that holds the lock of this number. Ends with that session, however it ends.';
COMMENT ON COLUMN keypup.sync_jobs.asked_at IS 'When a session took it last, to ask it.';
COMMENT ON COLUMN keypup.sync_jobs.doubt IS
  'The refused_at of the connection when it was asked last: only the answer to what was asked since then confirms a '
  'refusal.';
COMMENT ON COLUMN keypup.sync_jobs.is_open IS
  'Whether more may be added to it while it waits: what it asks for does not fill a request.';
COMMENT ON COLUMN keypup.sync_jobs.batch_size IS
  'The connection''s batch_size when it was queued, halved with the job: how quickly it is answered tells whether that '
  'is the right one. NULL: it was not made to that size.';
SELECT keypup.protect_table('keypup.sync_jobs', 'settings.read');
-- The numbers of jobs and leases count those of all accounts.
REVOKE SELECT ON keypup.sync_jobs FROM keypup_member;
GRANT SELECT (account_id, connection_id, project_id, kind, arguments, in_run, due_at, queued_at, attempts, may_pass,
  asked_at, doubt, is_open, batch_size)
  ON keypup.sync_jobs TO keypup_member;

CREATE SEQUENCE keypup.sync_leases AS integer CYCLE;
REVOKE ALL ON SEQUENCE keypup.sync_leases FROM PUBLIC;
GRANT USAGE ON SEQUENCE keypup.sync_leases TO keypup_worker;

-- A plan that was made for an empty table is used until something says that it is none any more. Autovacuum does, a
-- minute later; a first sync has stored most of its rows by then, each page slower than the one before. A small sample
-- is enough until then.
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
COMMENT ON FUNCTION keypup.analyze_grown_tables() IS
  'Tells the planner of tables that have grown several times since it last looked. For the worker.';
