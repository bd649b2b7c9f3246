-- operation/worker_status.sql: what the background workers are at, for operators.

CREATE FUNCTION keypup.list_workers(OUT pid integer, OUT database_id oid, OUT number integer,
  OUT started_at timestamptz, OUT state text, OUT requests_in_flight integer, OUT requests_sent bigint,
  OUT pages_stored bigint, OUT last_reply_at timestamptz, OUT last_error text)
RETURNS SETOF record
LANGUAGE c VOLATILE ROWS 10 AS 'MODULE_PATHNAME', 'keypup_list_workers';
REVOKE ALL ON FUNCTION keypup.list_workers() FROM PUBLIC;
COMMENT ON FUNCTION keypup.list_workers() IS 'The launcher and the workers of all databases; read worker_status.';

CREATE VIEW keypup.worker_status WITH (security_invoker = true, security_barrier = true) AS
SELECT w.pid, d.datname AS database, w.number, w.started_at, w.state, w.requests_in_flight, w.requests_sent,
  w.pages_stored, w.last_reply_at, w.last_error
FROM keypup.list_workers() w
LEFT JOIN pg_catalog.pg_database d ON d.oid = w.database_id;
REVOKE ALL ON keypup.worker_status FROM PUBLIC;
COMMENT ON VIEW keypup.worker_status IS
  'The launcher and the workers of all databases of this server, and what each is at. For operators: pg_monitor reads '
  'it. Empty when keypup is not preloaded.';
COMMENT ON COLUMN keypup.worker_status.pid IS 'The process, as in pg_stat_activity.';
COMMENT ON COLUMN keypup.worker_status.database IS 'The database it works in; NULL for the launcher.';
COMMENT ON COLUMN keypup.worker_status.number IS
  '0 for the first worker of a database, up to keypup.workers less one; NULL for the launcher.';
COMMENT ON COLUMN keypup.worker_status.started_at IS 'When it started.';
COMMENT ON COLUMN keypup.worker_status.state IS
  'starting, idle, looking what is due, syncing, waiting for replies or storing a reply; the launcher: looking for '
  'databases, or idle.';
COMMENT ON COLUMN keypup.worker_status.requests_in_flight IS 'Requests that it waits for.';
COMMENT ON COLUMN keypup.worker_status.requests_sent IS
  'Requests that it has sent since it started, those for sign-ins among them.';
COMMENT ON COLUMN keypup.worker_status.pages_stored IS
  'Replies with status 200 to the sync''s requests that it has put into the tables, or found to be errors, since it '
  'started.';
COMMENT ON COLUMN keypup.worker_status.last_reply_at IS
  'When a request of it last ended, well or not; NULL before the first.';
COMMENT ON COLUMN keypup.worker_status.last_error IS
  'What was wrong with its last request, in words of keypup''s; NULL when nothing was. sync_status says more.';

GRANT USAGE ON SCHEMA keypup TO pg_monitor;
GRANT EXECUTE ON FUNCTION keypup.list_workers() TO pg_monitor;
GRANT SELECT ON keypup.worker_status TO pg_monitor;
