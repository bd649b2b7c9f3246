-- rotation/rotation.sql: the life of data keys. A key is active, then decrypt_only while the worker seals its
-- records again under the next one, then destroyed.

CREATE FUNCTION keypup.rewrap_data_key(key_id integer, old_kek_id integer, old_wrapped bytea, old_check_value bytea,
  OUT kek_id integer, OUT wrapped bytea, OUT check_value bytea)
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'keypup_rewrap_data_key';
REVOKE ALL ON FUNCTION keypup.rewrap_data_key(integer, integer, bytea, bytea) FROM PUBLIC;
COMMENT ON FUNCTION keypup.rewrap_data_key(integer, integer, bytea, bytea) IS
  'The same data key, wrapped by the newest key of the key file.';

CREATE FUNCTION keypup.newest_wrapping_key() RETURNS integer
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'keypup_newest_wrapping_key';
REVOKE ALL ON FUNCTION keypup.newest_wrapping_key() FROM PUBLIC;
COMMENT ON FUNCTION keypup.newest_wrapping_key() IS
  'Number of the key in the key file that wraps new data keys: the highest.';

CREATE FUNCTION keypup.count_unopenable_keys(records bytea, OUT unopenable integer, OUT first_key integer)
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'keypup_count_unopenable_keys';
REVOKE ALL ON FUNCTION keypup.count_unopenable_keys(bytea) FROM PUBLIC;
COMMENT ON FUNCTION keypup.count_unopenable_keys(bytea) IS
  'How many data keys do not open with the keys of the key file, and the first of them. records: for each its key_id '
  'and kek_id, as int4send has them, wrapped and check_value.';

CREATE FUNCTION keypup.lock_data_key(key_id integer) RETURNS void
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'keypup_lock_data_key';
REVOKE ALL ON FUNCTION keypup.lock_data_key(integer) FROM PUBLIC;
COMMENT ON FUNCTION keypup.lock_data_key(integer) IS
  'Waits for the transactions that seal with a data key, and holds new ones off until this one ends.';

CREATE FUNCTION keypup.rotate_keys() RETURNS bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT keypup.guard_writes();
  SELECT keypup.wake_launcher();
  WITH rotated AS MATERIALIZED (
    SELECT k.account_id, keypup.start_data_key(k.account_id, k.key_id) AS key_id FROM keypup.data_keys k
    WHERE k.state = 'active'
  ), recorded AS MATERIALIZED (
    SELECT r.account_id, keypup.record_action(r.account_id, 'key.rotate', format('key %s is active', r.key_id))
    FROM rotated r
  )
  SELECT count(*) FROM recorded r WHERE r.account_id IS DISTINCT FROM keypup.audit_key_account()
$$;
REVOKE ALL ON FUNCTION keypup.rotate_keys() FROM PUBLIC;
COMMENT ON FUNCTION keypup.rotate_keys() IS
  'Starts a new data key for every account that has one, and for callers'' own tables; the worker seals every token '
  'again; and one for the audit log. Returns how many others. For operators: granted to nobody.';

CREATE FUNCTION keypup.rotate_keys(account text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'tokens.rotate');
BEGIN
  PERFORM keypup.start_data_key(the_account, (
    SELECT k.key_id FROM keypup.data_keys k
    WHERE k.account_id = the_account AND k.state = 'active'));
  PERFORM keypup.record_action(the_account, 'key.rotate', NULL::text);
  PERFORM keypup.wake_launcher();
  RETURN 1;
END
$$;
REVOKE ALL ON FUNCTION keypup.rotate_keys(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.rotate_keys(text) TO keypup_member;
COMMENT ON FUNCTION keypup.rotate_keys(text) IS
  'Starts a new data key for the account; the worker seals its tokens again. key_status shows how far it is.';

CREATE FUNCTION keypup.reseal_token(envelope bytea, context text, new_context text) RETURNS bytea
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN keypup.reencrypt_token(envelope, context, new_context);
EXCEPTION
  -- One damaged record, or one key that is missing, does not hold up the others.
  WHEN data_exception OR config_file_error THEN RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION keypup.reseal_token(bytea, text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.reseal_token(bytea, text, text) IS
  'The token sealed again under the active key for a new context; NULL when it does not open.';

CREATE FUNCTION keypup.reseal_record(old_envelope bytea, old_revision bigint, context text, new_context text,
  OUT envelope bytea, OUT revision bigint, OUT failed_at timestamptz)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  sealed bytea := keypup.reseal_token(old_envelope, context, new_context);
BEGIN
  envelope := coalesce(sealed, old_envelope);
  revision := old_revision + CASE WHEN sealed IS NULL THEN 0 ELSE 1 END;
  failed_at := CASE WHEN sealed IS NULL THEN now() END;
END
$$;
REVOKE ALL ON FUNCTION keypup.reseal_record(bytea, bigint, text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.reseal_record(bytea, bigint, text, text) IS
  'A record sealed again for the context of its next revision; one that does not open as it was, and when that was '
  'tried.';

CREATE FUNCTION keypup.reseal_proxy_credentials() RETURNS bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  WITH old AS MATERIALIZED (
    SELECT p.is_only_row
    FROM keypup.proxy_credentials p JOIN keypup.data_keys k ON k.key_id = p.key_id
    WHERE k.state = 'decrypt_only' AND coalesce(p.reseal_failed_at < now() - interval '1 minute', true)
    FOR UPDATE OF p SKIP LOCKED
  ), stored AS (
    UPDATE keypup.proxy_credentials p
    SET (envelope, revision, reseal_failed_at) = (
      SELECT r.envelope, r.revision, r.failed_at
      FROM keypup.reseal_record(p.envelope, p.revision, keypup.proxy_context(p.revision),
        keypup.proxy_context(p.revision + 1)) r)
    FROM old o
    RETURNING 1
  )
  SELECT count(*) FROM stored
$$;
REVOKE ALL ON FUNCTION keypup.reseal_proxy_credentials() FROM PUBLIC;
COMMENT ON FUNCTION keypup.reseal_proxy_credentials() IS
  'Seals the credentials for the proxy again if they are under a key which is active no more. Returns how many were '
  'tried: 0 or 1.';

CREATE FUNCTION keypup.reseal_totp_seeds(how_many integer) RETURNS bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  WITH old AS MATERIALIZED (
    SELECT s.account_id, s.enrollment_id
    FROM keypup.totp_seeds s JOIN keypup.data_keys k ON k.key_id = s.key_id
    WHERE k.state = 'decrypt_only' AND coalesce(s.reseal_failed_at < now() - interval '1 minute', true)
    LIMIT how_many
    FOR UPDATE OF s SKIP LOCKED
  ), stored AS (
    UPDATE keypup.totp_seeds s
    SET (envelope, revision, reseal_failed_at) = (
      SELECT r.envelope, r.revision, r.failed_at
      FROM keypup.reseal_record(s.envelope, s.revision,
        keypup.totp_context(s.account_id, s.enrollment_id, s.member, s.revision),
        keypup.totp_context(s.account_id, s.enrollment_id, s.member, s.revision + 1)) r)
    FROM old o WHERE s.account_id = o.account_id AND s.enrollment_id = o.enrollment_id
    RETURNING 1
  )
  SELECT count(*) FROM stored
$$;
REVOKE ALL ON FUNCTION keypup.reseal_totp_seeds(integer) FROM PUBLIC;
COMMENT ON FUNCTION keypup.reseal_totp_seeds(integer) IS
  'Seals so many seeds of one-time codes again that are under a key which is active no more. Returns how many were '
  'tried.';

CREATE FUNCTION keypup.reseal_sink_secrets(how_many integer) RETURNS bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  WITH old AS MATERIALIZED (
    SELECT s.account_id, s.sink_id, s.purpose
    FROM keypup.audit_sink_secrets s JOIN keypup.data_keys k ON k.key_id = s.key_id
    WHERE k.state = 'decrypt_only' AND coalesce(s.reseal_failed_at < now() - interval '1 minute', true)
    LIMIT how_many
    FOR UPDATE OF s SKIP LOCKED
  ), stored AS (
    UPDATE keypup.audit_sink_secrets s
    SET (envelope, revision, reseal_failed_at) = (
      SELECT r.envelope, r.revision, r.failed_at
      FROM keypup.reseal_record(s.envelope, s.revision,
        keypup.audit_sink_context(s.account_id, s.sink_id, s.revision, s.purpose),
        keypup.audit_sink_context(s.account_id, s.sink_id, s.revision + 1, s.purpose)) r)
    FROM old o WHERE s.account_id = o.account_id AND s.sink_id = o.sink_id AND s.purpose = o.purpose
    RETURNING 1
  )
  SELECT count(*) FROM stored
$$;
REVOKE ALL ON FUNCTION keypup.reseal_sink_secrets(integer) FROM PUBLIC;
COMMENT ON FUNCTION keypup.reseal_sink_secrets(integer) IS
  'Seals so many secrets of sinks again that are under a key which is active no more. Returns how many were tried.';

CREATE FUNCTION keypup.reseal_tokens(how_many integer) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  WITH old AS MATERIALIZED (
    SELECT t.account_id, t.connection_id, t.purpose
    FROM keypup.connection_tokens t JOIN keypup.data_keys k ON k.key_id = t.key_id
    WHERE k.state = 'decrypt_only' AND coalesce(t.reseal_failed_at < now() - interval '1 minute', true)
    LIMIT how_many
    FOR UPDATE OF t SKIP LOCKED
  ), stored AS (
    UPDATE keypup.connection_tokens t
    SET (envelope, revision, reseal_failed_at) = (
      SELECT r.envelope, r.revision, r.failed_at
      FROM keypup.reseal_record(t.envelope, t.revision,
        keypup.token_context(t.account_id, t.connection_id, t.revision, t.purpose),
        keypup.token_context(t.account_id, t.connection_id, t.revision + 1, t.purpose)) r)
    FROM old o WHERE t.account_id = o.account_id AND t.connection_id = o.connection_id AND t.purpose = o.purpose
    RETURNING 1
  )
  SELECT (SELECT count(*) FROM stored) + keypup.reseal_proxy_credentials() + keypup.reseal_totp_seeds(how_many)
    + keypup.reseal_sink_secrets(how_many)
$$;
REVOKE ALL ON FUNCTION keypup.reseal_tokens(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.reseal_tokens(integer) TO keypup_worker;
COMMENT ON FUNCTION keypup.reseal_tokens(integer) IS
  'Seals so many tokens again that are under a key which is active no more. Returns how many were tried: 0 when there '
  'is nothing to do.';

CREATE FUNCTION keypup.rewrap_data_keys(how_many integer) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  WITH newest AS MATERIALIZED (
    SELECT keypup.newest_wrapping_key() AS kek_id
  ), old AS MATERIALIZED (
    SELECT k.key_id, k.kek_id, k.wrapped, k.check_value
    FROM keypup.data_keys k
    WHERE k.state <> 'destroyed' AND k.kek_id <> (SELECT n.kek_id FROM newest n)
    LIMIT how_many
    FOR NO KEY UPDATE SKIP LOCKED
  ), rewrapped AS (
    UPDATE keypup.data_keys k SET kek_id = r.kek_id, wrapped = r.wrapped, check_value = r.check_value
    FROM old o, LATERAL keypup.rewrap_data_key(o.key_id, o.kek_id, o.wrapped, o.check_value) r
    WHERE k.key_id = o.key_id
    RETURNING 1
  )
  SELECT count(*) FROM rewrapped
$$;
REVOKE ALL ON FUNCTION keypup.rewrap_data_keys(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.rewrap_data_keys(integer) TO keypup_worker;
COMMENT ON FUNCTION keypup.rewrap_data_keys(integer) IS
  'Wraps so many data keys with the newest key of the key file that are wrapped with another. No token is touched. '
  'The worker calls it when the configuration is reloaded.';

CREATE FUNCTION keypup.destroy_key(key integer, callers_records_are_gone boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  found_key record;
  records bigint;
BEGIN
  PERFORM keypup.guard_writes();
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'a data key cannot be destroyed in a transaction of this isolation level'
      USING ERRCODE = 'invalid_transaction_state', HINT = 'Use READ COMMITTED, which sees what others have committed.';
  END IF;
  PERFORM keypup.lock_data_key(key);
  SELECT k.state, k.account_id INTO found_key FROM keypup.data_keys k WHERE k.key_id = key;
  SELECT (SELECT count(*) FROM keypup.connection_tokens t WHERE t.key_id = key)
    + (SELECT count(*) FROM keypup.totp_seeds s WHERE s.key_id = key)
    + (SELECT count(*) FROM keypup.audit_sink_secrets s WHERE s.key_id = key)
    + (SELECT count(*) FROM keypup.proxy_credentials p WHERE p.key_id = key) INTO records;
  IF found_key.state IS NULL OR found_key.state = 'destroyed' THEN
    RAISE EXCEPTION 'data key % does not exist', key USING ERRCODE = 'undefined_object',
      HINT = 'SELECT * FROM keypup.key_status shows the keys.';
  ELSIF found_key.state = 'active' THEN
    RAISE EXCEPTION 'data key % is active', key USING ERRCODE = 'object_in_use',
      HINT = 'Start a new one with keypup.rotate_keys first.';
  ELSIF records > 0 THEN
    RAISE EXCEPTION '% tokens are sealed with data key %', records, key
      USING ERRCODE = 'object_in_use', HINT = 'The worker seals them again under the active key; key_status shows how '
        'many remain.';
  ELSIF found_key.account_id = keypup.audit_key_account()
    AND (EXISTS (SELECT FROM keypup.audit_log l WHERE l.seal_key = key)
      OR EXISTS (SELECT FROM keypup.audit_heads h WHERE h.key_id = key)
      OR EXISTS (SELECT FROM keypup.audit_boundaries b WHERE b.key_id = key)
      OR EXISTS (SELECT FROM keypup.audit_checkpoints c WHERE c.key_id = key)) THEN
    RAISE EXCEPTION 'data key % proves records of the audit log', key USING ERRCODE = 'object_in_use',
      HINT = 'It can be destroyed when they have expired.';
  ELSIF found_key.account_id IS NULL AND NOT callers_records_are_gone THEN
    RAISE EXCEPTION 'data key % seals records of tables that keypup does not know', key
      USING ERRCODE = 'object_in_use',
            HINT = 'Seal them again with keypup.reencrypt_token where keypup.token_key_id names this key, then pass '
              'callers_records_are_gone => true.';
  END IF;
  UPDATE keypup.data_keys k SET state = 'destroyed', wrapped = NULL, check_value = NULL WHERE k.key_id = key;
  PERFORM keypup.record_action(found_key.account_id, 'key.destroy', format('key %s', key));
END
$$;
REVOKE ALL ON FUNCTION keypup.destroy_key(integer, boolean) FROM PUBLIC;
COMMENT ON FUNCTION keypup.destroy_key(integer, boolean) IS
  'Destroys a data key that seals nothing any more. For operators: granted to nobody.';

CREATE FUNCTION keypup.destroy_account_keys(account_id uuid) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  in_round bigint;
  destroyed bigint := 0;
BEGIN
  -- Whoever seals a token again holds the token first, and then its key. No answer to a request that is under way with
  -- one of them counts any more.
  UPDATE keypup.connection_tokens t SET revision = t.revision + 1 WHERE t.account_id = destroy_account_keys.account_id;
  UPDATE keypup.audit_sink_secrets s SET revision = s.revision + 1
  WHERE s.account_id = destroy_account_keys.account_id;
  LOOP
    -- A token that is being sealed goes with the others: its transaction is waited for.
    -- The older first, as those come to hold them who seal while keys are rotated.
    PERFORM keypup.lock_data_key(k.key_id)
    FROM (SELECT d.key_id FROM keypup.data_keys d
          WHERE d.account_id = destroy_account_keys.account_id AND d.state <> 'destroyed'
          ORDER BY d.encryptions_before) k;
    UPDATE keypup.data_keys k SET state = 'destroyed', wrapped = NULL, check_value = NULL
    WHERE k.account_id = destroy_account_keys.account_id AND k.state <> 'destroyed';
    GET DIAGNOSTICS in_round = ROW_COUNT;
    -- A rotation that was waited for has left a key behind.
    EXIT WHEN in_round = 0;
    destroyed := destroyed + in_round;
  END LOOP;
  RETURN destroyed;
END
$$;
REVOKE ALL ON FUNCTION keypup.destroy_account_keys(uuid) FROM PUBLIC;
COMMENT ON FUNCTION keypup.destroy_account_keys(uuid) IS
  'Destroys all data keys of an account, with whatever is sealed with them. Returns how many.';

CREATE FUNCTION keypup.shred_account(account text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'account.delete');
  destroyed bigint;
BEGIN
  PERFORM FROM keypup.accounts a WHERE a.account_id = the_account FOR NO KEY UPDATE;
  PERFORM keypup.hold_connection(c.account_id, c.connection_id)
  FROM keypup.connections c WHERE c.account_id = the_account;
  destroyed := keypup.destroy_account_keys(the_account);
  PERFORM keypup.refuse_connection(c.account_id, c.connection_id, 'the keys of the account were destroyed',
    'What was sealed with them opens never again. Give the connection a new token with keypup.replace_token, or an'
    ' app''s key with keypup.replace_app_key.')
  FROM keypup.connections c WHERE c.account_id = the_account;
  PERFORM keypup.record_action(the_account, 'account.shred', destroyed || ' keys');
  RETURN destroyed;
END
$$;
REVOKE ALL ON FUNCTION keypup.shred_account(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.shred_account(text) TO keypup_member;
COMMENT ON FUNCTION keypup.shred_account(text) IS
  'Destroys the account''s data keys: its tokens open never again. Returns how many keys. Backups made before hold '
  'them still, wrapped. All else stays: drop_account removes it.';

CREATE FUNCTION keypup.list_keys(OUT key_id integer, OUT account_id uuid, OUT account text, OUT state text,
  OUT kek_id integer, OUT created_at timestamptz, OUT records bigint, OUT damaged_records bigint,
  OUT encryptions_at_most bigint)
RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  WITH asked AS MATERIALIZED (
    -- Of an account that is not there, only superusers have the permission.
    SELECT keypup.has_permission('00000000-0000-0000-0000-000000000000'::uuid, 'tokens.rotate') AS for_all,
           ARRAY(SELECT keypup.my_accounts('tokens.rotate')) AS accounts
  ), sealed AS (
    SELECT t.key_id, count(*) AS records, count(t.reseal_failed_at) AS damaged
    FROM (SELECT c.key_id, c.reseal_failed_at FROM keypup.connection_tokens c
          UNION ALL
          SELECT d.key_id, d.reseal_failed_at FROM keypup.totp_seeds d
          UNION ALL
          SELECT x.key_id, x.reseal_failed_at FROM keypup.audit_sink_secrets x) t
    GROUP BY t.key_id
    UNION ALL
    SELECT p.key_id, 1, count(p.reseal_failed_at) FROM keypup.proxy_credentials p WHERE p.envelope IS NOT NULL
    GROUP BY p.key_id
  )
  SELECT k.key_id, k.account_id, a.name, k.state, k.kek_id, k.created_at,
    CASE WHEN k.account_id IS NOT NULL THEN coalesce(s.records, 0) END, CASE WHEN k.account_id IS NOT NULL
      THEN coalesce(s.damaged, 0) END,
    -- It counts what is sealed for all accounts.
    CASE WHEN k.state = 'active' AND asked.for_all THEN e.last_value - k.encryptions_before END
  FROM asked
  JOIN keypup.data_keys k ON asked.for_all OR k.account_id = ANY (asked.accounts)
  CROSS JOIN keypup.encryptions e
  LEFT JOIN keypup.accounts a ON a.account_id = k.account_id
  LEFT JOIN sealed s ON s.key_id = k.key_id
$$;
REVOKE ALL ON FUNCTION keypup.list_keys() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.list_keys() TO keypup_member;
COMMENT ON FUNCTION keypup.list_keys() IS
  'The data keys, without what is secret, of the accounts in which the current user may rotate tokens; all for '
  'superusers.';

CREATE VIEW keypup.key_status WITH (security_invoker = true, security_barrier = true) AS
SELECT k.key_id, k.account_id, k.account, k.state, k.kek_id, k.created_at, k.records, k.damaged_records,
  k.encryptions_at_most
FROM keypup.list_keys() k;
REVOKE ALL ON keypup.key_status FROM PUBLIC;
GRANT SELECT ON keypup.key_status TO keypup_member;
COMMENT ON VIEW keypup.key_status IS 'One row a data key: its state, and how many records are still sealed with it.';
COMMENT ON COLUMN keypup.key_status.key_id IS
  'The number that stands in the envelopes sealed with it; drawn at random.';
COMMENT ON COLUMN keypup.key_status.account_id IS
  'Whose secrets it seals; NULL for callers'' own tables, zeros for the credentials of the proxy, zeros and a one for '
  'the audit log.';
COMMENT ON COLUMN keypup.key_status.account IS 'Name of the account.';
COMMENT ON COLUMN keypup.key_status.state IS 'active, decrypt_only (its records are being sealed again) or destroyed.';
COMMENT ON COLUMN keypup.key_status.kek_id IS 'Number of the key in the key file that wraps it.';
COMMENT ON COLUMN keypup.key_status.created_at IS 'When it was made.';
COMMENT ON COLUMN keypup.key_status.records IS
  'Tokens, seeds of one-time codes and secrets of sinks sealed with it; NULL for callers'' own tables, which keypup '
  'does not know.';
COMMENT ON COLUMN keypup.key_status.damaged_records IS
  'Those that could not be opened to be sealed again; they are tried every minute.';
COMMENT ON COLUMN keypup.key_status.encryptions_at_most IS
  'Upper bound of what the active key has sealed; it is renewed at 2^31. For superusers: it counts what was sealed '
  'for all accounts.';
