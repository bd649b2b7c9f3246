-- audit/chain.sql: proof that no record was changed. The worker seals what is committed, in a chain for each account;
-- seal.c has what is in one. No other place writes it.

-- Whose data key it is that the key of seals is derived from; as zeros are for the credentials of the proxy.
CREATE FUNCTION keypup.audit_key_account() RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT '00000000-0000-0000-0000-000000000001'::uuid $$;
REVOKE ALL ON FUNCTION keypup.audit_key_account() FROM PUBLIC;
COMMENT ON FUNCTION keypup.audit_key_account() IS 'The account_id of data keys that seal the audit log.';

CREATE TABLE keypup.audit_heads (
  account_id uuid NOT NULL PRIMARY KEY,
  sequence bigint NOT NULL,
  seal bytea NOT NULL CHECK (octet_length(seal) = 32),
  proof bytea NOT NULL CHECK (octet_length(proof) = 32),
  key_id integer NOT NULL
);
COMMENT ON TABLE keypup.audit_heads IS 'Where the chain of each account''s audit log ends. Granted to nobody.';
COMMENT ON COLUMN keypup.audit_heads.account_id IS 'The account.';
COMMENT ON COLUMN keypup.audit_heads.sequence IS 'Number of its last sealed record.';
COMMENT ON COLUMN keypup.audit_heads.seal IS 'Seal of that record.';
COMMENT ON COLUMN keypup.audit_heads.proof IS 'HMAC over the three, which only who has the key can compute.';
COMMENT ON COLUMN keypup.audit_heads.key_id IS 'The data key that it was computed with.';
SELECT keypup.close_table('keypup.audit_heads');

CREATE TABLE keypup.audit_boundaries (
  LIKE keypup.audit_heads INCLUDING CONSTRAINTS INCLUDING COMMENTS,
  PRIMARY KEY (account_id, sequence)
);
COMMENT ON TABLE keypup.audit_boundaries IS
  'Where records have expired: the last seal before one that is kept, from which the rest verifies. Granted to nobody.';
COMMENT ON COLUMN keypup.audit_boundaries.sequence IS 'Number of the record that has expired.';
COMMENT ON COLUMN keypup.audit_boundaries.seal IS 'Its seal.';
SELECT keypup.close_table('keypup.audit_boundaries');

CREATE FUNCTION keypup.seal_audit_records(key integer, how_many integer) RETURNS bigint
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'keypup_seal_audit_records';
CREATE FUNCTION keypup.check_audit_chain(account_id uuid, OUT records bigint, OUT sequence bigint,
  OUT record_id bigint, OUT problem text)
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'keypup_check_audit_chain';
CREATE FUNCTION keypup.audit_proof(purpose text, key integer, account_id uuid, sequence bigint, seal bytea)
  RETURNS bytea
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'keypup_audit_proof';
REVOKE ALL ON FUNCTION keypup.seal_audit_records(integer, integer), keypup.check_audit_chain(uuid),
  keypup.audit_proof(text, integer, uuid, bigint, bytea) FROM PUBLIC;
COMMENT ON FUNCTION keypup.seal_audit_records(integer, integer) IS
  'Seals so many records that are not counted on any more, with the key. Returns how many.';
COMMENT ON FUNCTION keypup.check_audit_chain(uuid) IS
  'Follows the chain of an account: how many records are as they were sealed, and of the first that is not its number, '
  'its record_id where it is there, and what is wrong; otherwise the last number.';
COMMENT ON FUNCTION keypup.audit_proof(text, integer, uuid, bigint, bytea) IS
  'HMAC over where a chain stands: for heads and boundaries.';

CREATE FUNCTION keypup.active_audit_key() RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  found_id integer;
BEGIN
  FOR attempt IN 1 .. 2 LOOP
    SELECT k.key_id INTO found_id FROM keypup.data_keys k
    WHERE k.account_id = keypup.audit_key_account() AND k.state = 'active';
    -- Where a dump is being restored, the key comes after the heads.
    EXIT WHEN FOUND OR EXISTS (SELECT FROM keypup.audit_heads);
    PERFORM keypup.start_data_key(keypup.audit_key_account(), NULL::integer);
  END LOOP;
  RETURN found_id;
END
$$;
REVOKE ALL ON FUNCTION keypup.active_audit_key() FROM PUBLIC;
COMMENT ON FUNCTION keypup.active_audit_key() IS 'The data key to seal records with, which is made at the first.';

CREATE FUNCTION keypup.seal_audit_log() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
AS $$
DECLARE
  how_many bigint;
BEGIN
  IF NOT EXISTS (
    SELECT FROM keypup.audit_log l
    WHERE l.sequence IS NULL AND (l.counts_until IS NULL OR l.counts_until <= clock_timestamp())) THEN
    RETURN 0;
  END IF;
  -- One worker at a time: the chain has one end.
  PERFORM FROM keypup.audit_clock c FOR NO KEY UPDATE SKIP LOCKED;
  IF NOT FOUND THEN
    INSERT INTO keypup.audit_clock (steady_since, seen_at) VALUES (clock_timestamp(), clock_timestamp())
    ON CONFLICT DO NOTHING;
    RETURN 0;
  END IF;
  how_many := coalesce(keypup.seal_audit_records(keypup.active_audit_key(), 1000), 0);
  UPDATE keypup.audit_clock SET seals = seals + 1 WHERE how_many > 0;
  RETURN how_many;
EXCEPTION
  -- Somebody holds the log, or counts on; or there is no key yet, which verify_audit tells.
  WHEN lock_not_available OR serialization_failure OR config_file_error THEN RETURN 0;
END
$$;
REVOKE ALL ON FUNCTION keypup.seal_audit_log() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.seal_audit_log() TO keypup_worker;
COMMENT ON FUNCTION keypup.seal_audit_log() IS
  'Seals up to a thousand records, in the order in which they were committed. For the worker, each second. Returns how '
  'many.';

CREATE FUNCTION keypup.keep_audit_boundaries(partition regclass, kept_accounts uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  EXECUTE format('INSERT INTO keypup.audit_boundaries (account_id, sequence, seal, key_id, proof) '
    'SELECT l.account_id, l.sequence, l.seal, l.seal_key, keypup.audit_proof($1, l.seal_key, l.account_id, l.sequence, '
    'l.seal) FROM %1$s l WHERE l.sequence IS NOT NULL '
    'AND l.account_id <> ALL ($2) '
    'AND NOT EXISTS (SELECT FROM %1$s n WHERE n.account_id = l.account_id '
    'AND n.sequence = l.sequence + 1) ON CONFLICT DO NOTHING', partition)
    USING 'keypup audit boundary v1', kept_accounts;
  -- Those that led to what goes now.
  EXECUTE format('DELETE FROM keypup.audit_boundaries b USING %s l '
    'WHERE b.account_id = l.account_id '
    'AND l.sequence = b.sequence + 1 '
    'AND l.account_id <> ALL ($1)', partition) USING kept_accounts;
END
$$;
REVOKE ALL ON FUNCTION keypup.keep_audit_boundaries(regclass, uuid[]) FROM PUBLIC;
COMMENT ON FUNCTION keypup.keep_audit_boundaries(regclass, uuid[]) IS
  'Keeps of the records of a day that are about to be dropped the seals that others follow on; but for these '
  'accounts, whose stay.';
