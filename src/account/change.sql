-- account/change.sql: what every function that changes something does first.

CREATE FUNCTION keypup.bound_transaction() RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'keypup_bound_transaction';
REVOKE ALL ON FUNCTION keypup.bound_transaction() FROM PUBLIC;
COMMENT ON FUNCTION keypup.bound_transaction() IS
  'From now on this transaction may stay open for keypup.change_timeout; then its session ends. Not for superusers.';

CREATE FUNCTION keypup.guard_writes() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF pg_is_in_recovery() THEN
    RAISE EXCEPTION 'this cannot run on a standby'
      USING ERRCODE = 'read_only_sql_transaction', DETAIL = 'It changes rows, and a standby is only read.',
            HINT = 'Call it on the primary server.';
  ELSIF current_setting('transaction_read_only')::boolean THEN
    RAISE EXCEPTION 'this cannot run in a read-only transaction'
      USING ERRCODE = 'read_only_sql_transaction', DETAIL = 'It changes rows.',
            HINT = 'Begin the transaction with BEGIN READ WRITE, or SET default_transaction_read_only = off.';
  END IF;
  PERFORM keypup.bound_transaction();
END
$$;
REVOKE ALL ON FUNCTION keypup.guard_writes() FROM PUBLIC;
COMMENT ON FUNCTION keypup.guard_writes() IS
  'Refuses to go on where nothing can be written: on a standby, in a read-only transaction; and bounds the '
  'transaction. Functions that change something call it, most of them through authorize.';
