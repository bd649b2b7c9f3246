-- audit/note.sql: what is refused, or used, again and again is counted. Somebody who tries for long must not fill an
-- account's log, nor hide in it what others did.

-- By it the planner finds the partitions of a time.
CREATE FUNCTION keypup.record_id_at(at timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT (extract(epoch FROM at - '2000-01-01 00:00:00+00'::timestamptz) * 1000000)::bigint $$;
REVOKE ALL ON FUNCTION keypup.record_id_at(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.record_id_at(timestamptz) TO keypup_member;
COMMENT ON FUNCTION keypup.record_id_at(timestamptz) IS
  'The lowest record_id of the audit log that may have been given at that time: a query that asks for record_ids from '
  'there on reads the partitions of those days only.';

CREATE FUNCTION keypup.record_note(account_id uuid, first_at timestamptz, last_at timestamptz, times bigint,
  action text, outcome text, actor_kind text, actor text, claimed text, database_role text, client_address text,
  application_name text, detail text, token_digest bytea) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
AS $$
DECLARE
  the_account uuid := coalesce(account_id, '00000000-0000-0000-0000-000000000000');
  since bigint := keypup.record_id_at(first_at - interval '1 hour');
  -- A token is used for each connection, and all of them are to be seen.
  is_use boolean := action = 'token.use';
  known record;
  counted bigint;
BEGIN
  FOR attempt IN 1 .. 2 LOOP
    -- Nobody is unknown who did something since others were refused very often.
    SELECT count(*) FILTER (WHERE n.action <> 'token.use' AND n.outcome = record_note.outcome) AS records,
      count(*) FILTER (WHERE n.is_alike) AS alike,
      max(n.record_id) FILTER (WHERE n.is_alike AND n.is_same AND n.counts) AS same_id,
      max(n.record_id) FILTER (WHERE n.is_alike AND n.counts) AS alike_id
    INTO known
    FROM (
      SELECT l.record_id, l.action, l.outcome, l.sequence IS NULL AND l.counts_until > clock_timestamp() AS counts,
        (l.action, l.outcome, l.actor_kind, l.actor, l.database_role, l.client_address)
          IS NOT DISTINCT FROM (record_note.action, record_note.outcome, record_note.actor_kind, record_note.actor,
            record_note.database_role, record_note.client_address) AS is_alike,
        (l.claimed, l.detail) IS NOT DISTINCT FROM (record_note.claimed, record_note.detail) AS is_same
      FROM keypup.audit_log l
      WHERE l.account_id = the_account AND l.record_id >= since AND l.occurred_at > first_at - interval '1 hour'
        AND l.counts_until IS NOT NULL
    ) n;
    counted := coalesce(known.same_id, CASE WHEN known.alike >= 10 AND NOT is_use THEN known.alike_id END);
    EXIT WHEN counted IS NOT NULL OR known.records < 500 OR is_use;
    -- From too many places to have a record each.
    actor_kind := NULL;
    actor := NULL;
    claimed := NULL;
    client_address := 'several';
    application_name := NULL;
    detail := 'too many to tell them apart';
  END LOOP;
  IF counted IS NOT NULL THEN
    UPDATE keypup.audit_log l SET times = l.times + record_note.times,
      last_at = greatest(l.last_at, record_note.last_at)
    WHERE l.account_id = the_account AND l.record_id = counted AND l.sequence IS NULL;
  END IF;
  -- Unless it was sealed just now.
  IF counted IS NULL OR NOT FOUND THEN
    INSERT INTO keypup.audit_log (account_id, occurred_at, last_at, times, action, outcome, actor_kind, actor, claimed,
      database_role, client_address, application_name, detail, counts_until)
    VALUES (the_account, first_at, record_note.last_at, record_note.times, record_note.action, record_note.outcome,
      record_note.actor_kind, record_note.actor, record_note.claimed, record_note.database_role,
      record_note.client_address, record_note.application_name, record_note.detail, first_at + CASE
        WHEN outcome = 'done' THEN interval '1 hour'
        ELSE current_setting('keypup.audit_count_interval')::interval END);
  END IF;
  IF token_digest IS NOT NULL THEN
    BEGIN
      -- No token is accepted for longer than a day, but for codes of recovery.
      INSERT INTO keypup.used_tokens (account_id, token_digest, expires_at)
      SELECT a.account_id, record_note.token_digest,
        CASE WHEN EXISTS (
          SELECT FROM keypup.recovery_codes c
          WHERE c.account_id = a.account_id AND c.code_digest = record_note.token_digest
        ) THEN 'infinity' ELSE now() + interval '1 day' END
      FROM keypup.accounts a WHERE a.account_id = record_note.account_id ON CONFLICT DO NOTHING;
    EXCEPTION
      -- Whoever shows the same token just now marks it, or is noted in turn; or the account is being dropped.
      WHEN lock_not_available THEN NULL;
    END;
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.record_note(uuid, timestamptz, timestamptz, bigint, text, text, text, text, text, text,
  text, text, text, bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.record_note(uuid, timestamptz, timestamptz, bigint, text, text, text, text, text, text,
  text, text, text, bytea) TO keypup_worker;
COMMENT ON FUNCTION keypup.record_note(uuid, timestamptz, timestamptz, bigint, text, text, text, text, text, text, text,
  text, text, bytea) IS
  'Records what was noted, or counts it where the same was recorded just before, and marks the token that was shown as '
  'used; for the worker.';

CREATE FUNCTION keypup.record_token_use(account_id uuid, connection_id uuid, first_at timestamptz,
  last_at timestamptz, times bigint, outcome text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT keypup.record_note(c.account_id, first_at, last_at, times, 'token.use', outcome, 'worker', 'worker',
    NULL::text, session_user::text, NULL::text, nullif(current_setting('application_name'), ''), format('"%s"', c.name),
    NULL::bytea)
  FROM keypup.connections c
  WHERE c.account_id = record_token_use.account_id AND c.connection_id = record_token_use.connection_id
$$;
REVOKE ALL ON FUNCTION keypup.record_token_use(uuid, uuid, timestamptz, timestamptz, bigint, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.record_token_use(uuid, uuid, timestamptz, timestamptz, bigint, text)
  TO keypup_worker;
COMMENT ON FUNCTION keypup.record_token_use(uuid, uuid, timestamptz, timestamptz, bigint, text) IS
  'Records that the worker has shown a connection''s token to its provider, so many times: counted for an hour; or '
  'that the provider refuses it.';

CREATE TABLE keypup.audit_settings (
  name text NOT NULL PRIMARY KEY,
  digest bytea NOT NULL
);
COMMENT ON TABLE keypup.audit_settings IS 'The settings as the worker last saw them. Granted to nobody.';
COMMENT ON COLUMN keypup.audit_settings.name IS 'Name of the setting.';
COMMENT ON COLUMN keypup.audit_settings.digest IS 'SHA-256 of its value.';
SELECT keypup.close_table('keypup.audit_settings');

CREATE FUNCTION keypup.record_settings() RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  WITH changed AS (
    INSERT INTO keypup.audit_settings AS a (name, digest)
    SELECT s.name, sha256(convert_to(s.setting, 'UTF8')) FROM pg_settings s WHERE s.name ~ '^keypup[.]'
    ORDER BY s.name
    ON CONFLICT (name) DO UPDATE SET digest = EXCLUDED.digest WHERE a.digest <> EXCLUDED.digest
    RETURNING a.name, a.xmax <> 0 AS was_there
  )
  -- A command may have a secret in it.
  SELECT keypup.record_work(NULL::uuid, 'setting.change',
    c.name || CASE WHEN c.name = 'keypup.key_command' THEN '' ELSE ' = ' || current_setting(c.name) END)
  FROM changed c WHERE c.was_there
$$;
REVOKE ALL ON FUNCTION keypup.record_settings() FROM PUBLIC;
COMMENT ON FUNCTION keypup.record_settings() IS
  'Records which of keypup''s settings are others than when it was called last.';
