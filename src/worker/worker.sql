-- worker/worker.sql: what sessions tell the background processes.

CREATE FUNCTION keypup.wake_launcher() RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'keypup_wake_launcher';
REVOKE ALL ON FUNCTION keypup.wake_launcher() FROM PUBLIC;
COMMENT ON FUNCTION keypup.wake_launcher() IS
  'Has the launcher look at once, after the transaction, for databases that need a worker.';
