-- right/session.sql: those who are no database roles. A session stands for a person who signed in, or for an
-- API key; its handle is shown once, and only its digest is stored. use_session names it for one transaction.

CREATE TABLE keypup.api_keys (
  account_id uuid NOT NULL REFERENCES keypup.accounts ON DELETE CASCADE,
  prefix text NOT NULL,
  name text NOT NULL CHECK (name ~ '^[^[:cntrl:]]{1,100}$'),
  role text NOT NULL,
  digest bytea NOT NULL CHECK (octet_length(digest) = 32),
  created_at timestamptz NOT NULL DEFAULT now(),
  created_by text NOT NULL,
  expires_at timestamptz NOT NULL,
  last_used_at timestamptz,
  revoked_at timestamptz,
  made_by keypup.maker,
  PRIMARY KEY (account_id, prefix)
);
CREATE INDEX api_keys_prefix ON keypup.api_keys (prefix);
COMMENT ON TABLE keypup.api_keys IS 'Keys for BI tools and scripts. The key itself was shown once and is not stored.';
COMMENT ON COLUMN keypup.api_keys.prefix IS 'The beginning of the key, by which people recognise it.';
COMMENT ON COLUMN keypup.api_keys.name IS 'What it is for.';
COMMENT ON COLUMN keypup.api_keys.role IS 'What it may do: see roles.';
COMMENT ON COLUMN keypup.api_keys.digest IS 'SHA-256 of the key.';
COMMENT ON COLUMN keypup.api_keys.created_at IS 'When it was made.';
COMMENT ON COLUMN keypup.api_keys.created_by IS 'Who made it.';
COMMENT ON COLUMN keypup.api_keys.expires_at IS 'It does not serve from then on.';
COMMENT ON COLUMN keypup.api_keys.last_used_at IS
  'When a session was last started with it, as the worker notes within a minute.';
COMMENT ON COLUMN keypup.api_keys.revoked_at IS 'When it was revoked; NULL while it was not.';
COMMENT ON COLUMN keypup.api_keys.made_by IS
  'The same as created_by, to the very role: the key serves while they could make it.';
SELECT keypup.protect_table('keypup.api_keys', 'users.read');
REVOKE ALL ON keypup.api_keys FROM keypup_member, keypup_worker;
GRANT SELECT (account_id, prefix, name, role, created_at, created_by, expires_at, last_used_at, revoked_at)
  ON keypup.api_keys TO keypup_member;

CREATE TABLE keypup.sessions (
  account_id uuid NOT NULL REFERENCES keypup.accounts ON DELETE CASCADE,
  handle_digest bytea NOT NULL CHECK (octet_length(handle_digest) = 32),
  kind text NOT NULL CHECK (kind IN ('person', 'api_key')),
  holder text NOT NULL,
  issuer text,
  started_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  member_sign_in_id bigint,
  issuer_sign_in_id bigint,
  PRIMARY KEY (account_id, handle_digest)
);
CREATE INDEX sessions_expiry ON keypup.sessions (account_id, expires_at);
COMMENT ON TABLE keypup.sessions IS 'Who is signed in. The handle itself is not stored.';
COMMENT ON COLUMN keypup.sessions.handle_digest IS 'SHA-256 of the handle.';
COMMENT ON COLUMN keypup.sessions.kind IS 'person or api_key.';
COMMENT ON COLUMN keypup.sessions.holder IS 'The member, or the prefix of the API key.';
COMMENT ON COLUMN keypup.sessions.issuer IS
  'Who vouched for the person: an identity provider of the account; NULL for a password or an API key.';
COMMENT ON COLUMN keypup.sessions.started_at IS 'When it was started.';
COMMENT ON COLUMN keypup.sessions.expires_at IS 'It ends then.';
COMMENT ON COLUMN keypup.sessions.member_sign_in_id IS
  'Of a person: under which sign_in_id of the member it was started.';
COMMENT ON COLUMN keypup.sessions.issuer_sign_in_id IS
  'The same of the identity provider, where one vouched for the person.';
SELECT keypup.protect_table('keypup.sessions', 'users.read');
REVOKE ALL ON keypup.sessions FROM keypup_member, keypup_worker;
GRANT SELECT (account_id, kind, holder, issuer, started_at, expires_at) ON keypup.sessions TO keypup_member;

CREATE FUNCTION keypup.new_handle(account_id uuid, OUT handle text, OUT digest bytea)
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'keypup_new_handle';
REVOKE ALL ON FUNCTION keypup.new_handle(uuid) FROM PUBLIC;
COMMENT ON FUNCTION keypup.new_handle(uuid) IS 'A random handle for a session in the account, and its digest.';

CREATE FUNCTION keypup.use_session(handle text) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_use_session';
REVOKE ALL ON FUNCTION keypup.use_session(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.use_session(text) TO keypup_member;
COMMENT ON FUNCTION keypup.use_session(text) IS
  'Until this transaction ends, the person or API key of the session asks, and nobody else. For pooled connections: '
  'BEGIN; SELECT keypup.use_session($1); …; COMMIT.';

CREATE FUNCTION keypup.guard_snapshot(account_id uuid) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_guard_snapshot';
REVOKE ALL ON FUNCTION keypup.guard_snapshot(uuid) FROM PUBLIC;
COMMENT ON FUNCTION keypup.guard_snapshot(uuid) IS
  'A serialization failure where the transaction does not see the newest change of the account''s members and roles.';

-- They serve no more already (serving_sessions): a row that somebody holds is not waited for.
CREATE FUNCTION keypup.drop_sessions(account_id uuid, person text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
  -- By the index of ends: each sign-in comes by here, and an account may have very many.
  DELETE FROM keypup.sessions s
  WHERE s.account_id = drop_sessions.account_id
    AND s.handle_digest IN (SELECT e.handle_digest FROM keypup.sessions e
                            WHERE e.account_id = drop_sessions.account_id AND e.expires_at <= now()
                              FOR UPDATE SKIP LOCKED);
  IF person IS NOT NULL THEN
    DELETE FROM keypup.sessions s
    WHERE s.account_id = drop_sessions.account_id
      AND s.handle_digest IN (SELECT e.handle_digest FROM keypup.sessions e
                              WHERE e.account_id = drop_sessions.account_id AND e.kind = 'person'
                                AND e.holder = person FOR UPDATE SKIP LOCKED);
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.drop_sessions(uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.drop_sessions(uuid, text) IS
  'Forgets sessions that serve no more: those that are over, and all of a person who was signed out (NULL: of nobody).';

CREATE FUNCTION keypup.sign_out_everywhere(account_id uuid, person text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE keypup.members m SET sign_in_id = keypup.new_id()
  WHERE m.account_id = sign_out_everywhere.account_id AND m.member = person;
  SELECT keypup.drop_sessions(account_id, person)
$$;
REVOKE ALL ON FUNCTION keypup.sign_out_everywhere(uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.sign_out_everywhere(uuid, text) IS
  'Ends all sessions of a person, also those whose sign-in is not committed yet.';

CREATE FUNCTION keypup.start_session(account_id uuid, kind text, holder text, shown text, lasts interval, issuer text,
  token_digest bytea, seen_id bigint) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  made record;
BEGIN
  -- Somebody was recognised by members, groups and keys as this transaction sees them.
  PERFORM keypup.guard_snapshot(account_id);
  PERFORM keypup.drop_sessions(account_id, NULL::text);
  SELECT h.handle, h.digest INTO made FROM keypup.new_handle(account_id) h;
  INSERT INTO keypup.sessions (account_id, handle_digest, kind, holder, expires_at, issuer, issuer_sign_in_id,
    member_sign_in_id)
  VALUES (start_session.account_id, made.digest, start_session.kind, start_session.holder, now() + lasts,
    start_session.issuer,
    CASE WHEN issuer IS NOT NULL THEN seen_id END,
    CASE WHEN kind = 'person' AND issuer IS NULL THEN seen_id
         WHEN kind = 'person' THEN (SELECT m.sign_in_id FROM keypup.members m
           WHERE m.account_id = start_session.account_id AND m.member = holder) END);
  PERFORM keypup.record_durably(account_id, 'session.start', shown, kind, holder, false, token_digest);
  RETURN made.handle;
END
$$;
REVOKE ALL ON FUNCTION keypup.start_session(uuid, text, text, text, interval, text, bytea, bigint) FROM PUBLIC;
COMMENT ON FUNCTION keypup.start_session(uuid, text, text, text, interval, text, bytea, bigint) IS
  'Starts a session for whoever was recognised already, by what they have shown, which may have a digest that was '
  'marked as used. seen_id: the sign_in_id of the issuer, or, for a password, of the member, read before anything was '
  'believed. Returns its handle, which serves from the commit on.';

CREATE FUNCTION keypup.sign_out(handle text) RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  ended record;
BEGIN
  PERFORM keypup.guard_writes();
  -- The account's id leads the handle, as it leads the key of the table.
  DELETE FROM keypup.sessions s
  WHERE s.account_id = CASE WHEN handle ~ '^[0-9a-f]{96}$' THEN left(handle, 32)::uuid END
    AND s.handle_digest = keypup.digest_secret(handle)
  RETURNING s.account_id, s.kind, s.holder INTO ended;
  IF ended.account_id IS NOT NULL THEN
    PERFORM keypup.record_action(ended.account_id, 'session.end', NULL::text, ended.kind, ended.holder);
  END IF;
  RETURN ended.account_id IS NOT NULL;
END
$$;
REVOKE ALL ON FUNCTION keypup.sign_out(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.sign_out(text) TO keypup_member;
COMMENT ON FUNCTION keypup.sign_out(text) IS
  'Ends a session at once, wherever it is used. Returns whether there was one.';

CREATE FUNCTION keypup.name_maker() RETURNS keypup.maker
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT ROW(a.kind, keypup.current_user_name(), CASE WHEN a.kind = 'database_role' THEN a.role_id END,
    keypup.this_database())::keypup.maker
  FROM keypup.current_user_info() a
$$;
REVOKE ALL ON FUNCTION keypup.name_maker() FROM PUBLIC;
COMMENT ON FUNCTION keypup.name_maker() IS 'Who asks, for what ends with their right to make it.';

CREATE FUNCTION keypup.create_api_key(account text, name text, role text, valid_for interval DEFAULT '90 days')
  RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize_rights(account, 'users.manage');
  made record;
  made_by keypup.maker := keypup.name_maker();
  ends_at timestamptz := keypup.end_after(valid_for, '366 days'::interval);
BEGIN
  PERFORM keypup.guard_role(the_account, role);
  IF name IS NULL OR name !~ '^[^[:cntrl:]]{1,100}$' THEN
    RAISE EXCEPTION 'an API key''s name has 1 to 100 characters, none of them a control character'
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF ends_at IS NULL THEN
    RAISE EXCEPTION 'an API key is valid for at most 366 days' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'Make another when it ends.';
  END IF;
  IF made_by.kind = 'api_key' THEN
    IF NOT keypup.still_may(the_account, made_by, ARRAY['users.manage']) THEN
      RAISE EXCEPTION 'eight API keys have made one another already' USING ERRCODE = 'program_limit_exceeded',
        HINT = 'Let a member make it.';
    END IF;
    ends_at := least(ends_at, (
      SELECT k.expires_at FROM keypup.api_keys k
      WHERE k.account_id = the_account AND k.prefix = made_by.name));
  END IF;
  SELECT k.api_key, k.prefix, k.digest INTO made FROM keypup.new_api_key() k;
  INSERT INTO keypup.api_keys (account_id, prefix, name, role, digest, created_by, expires_at, made_by)
  VALUES (the_account, made.prefix, create_api_key.name, create_api_key.role, made.digest, made_by.name, ends_at,
    made_by);
  PERFORM keypup.record_action(the_account, 'api_key.create',
    format('%s for "%s", role "%s"', made.prefix, name, role));
  RETURN made.api_key;
END
$$;
REVOKE ALL ON FUNCTION keypup.create_api_key(text, text, text, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.create_api_key(text, text, text, interval) TO keypup_member;
COMMENT ON FUNCTION keypup.create_api_key(text, text, text, interval) IS
  'Makes an API key with a role of the account, and shows it, once. It serves while who made it could make it; one '
  'that another key has made ends with that.';

CREATE FUNCTION keypup.revoke_api_key(account text, prefix text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize_rights(account, 'users.manage');
  its_role text := (SELECT k.role FROM keypup.api_keys k
    WHERE k.account_id = the_account AND k.prefix = revoke_api_key.prefix AND k.revoked_at IS NULL);
BEGIN
  IF its_role IS NULL THEN
    RAISE EXCEPTION 'API key "%" does not exist', left(prefix, 15) USING ERRCODE = 'undefined_object',
      HINT = 'SELECT prefix, name FROM keypup.api_keys shows them.';
  END IF;
  PERFORM keypup.guard_role(the_account, its_role);
  UPDATE keypup.api_keys k SET revoked_at = now() WHERE k.account_id = the_account AND k.prefix = revoke_api_key.prefix;
  PERFORM keypup.record_action(the_account, 'api_key.revoke', prefix);
END
$$;
REVOKE ALL ON FUNCTION keypup.revoke_api_key(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.revoke_api_key(text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.revoke_api_key(text, text) IS
  'Ends an API key and its sessions, from their next statement on.';

CREATE FUNCTION keypup.sign_in_with_api_key(api_key text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  found_key record;
BEGIN
  PERFORM keypup.guard_writes();
  SELECT k.account_id, k.prefix, k.expires_at INTO found_key
  FROM keypup.api_keys k
  WHERE k.prefix = left(api_key, 15) AND keypup.secret_matches(api_key, k.digest) AND k.revoked_at IS NULL
    AND k.expires_at > now()
    AND keypup.still_may(k.account_id, k.made_by, ARRAY['users.manage']);
  IF found_key.account_id IS NULL THEN
    PERFORM keypup.note_refusal((SELECT k.account_id FROM keypup.api_keys k WHERE k.prefix = left(api_key, 15) LIMIT 1),
      'session.start',
      -- Of what may be another secret nothing is repeated.
      substring(api_key FROM '^keypup_[0-9a-f]{8}'), 'an API key');
    RAISE EXCEPTION 'API key is not valid' USING ERRCODE = 'invalid_authorization_specification',
      HINT = 'It may have ended or been revoked; an admin of the account makes another.';
  END IF;
  RETURN keypup.start_session(found_key.account_id, 'api_key', found_key.prefix, 'an API key',
    least(interval '12 hours', found_key.expires_at - now()), NULL::text, NULL::bytea, NULL::bigint);
END
$$;
REVOKE ALL ON FUNCTION keypup.sign_in_with_api_key(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.sign_in_with_api_key(text) TO keypup_member;
COMMENT ON FUNCTION keypup.sign_in_with_api_key(text) IS
  'Starts a session for an API key; pass the handle to use_session, in a later transaction.';

-- Not by the sign-in itself: whoever left that open would hold the key, and with it whoever revokes it.
CREATE FUNCTION keypup.note_key_uses() RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  WITH used AS (
    SELECT s.account_id, s.holder, max(s.started_at) AS at FROM keypup.sessions s WHERE s.kind = 'api_key'
    GROUP BY s.account_id, s.holder
  ), free AS (
    SELECT k.account_id, k.prefix, u.at, coalesce(k.last_used_at::date < u.at::date, true) AS is_first
    FROM keypup.api_keys k
    JOIN used u ON u.account_id = k.account_id AND u.holder = k.prefix
    WHERE coalesce(k.last_used_at < u.at, true)
    FOR UPDATE OF k SKIP LOCKED
  ), noted AS (
    UPDATE keypup.api_keys k SET last_used_at = f.at FROM free f
    WHERE k.account_id = f.account_id AND k.prefix = f.prefix
  )
  SELECT count(keypup.record_action(f.account_id, 'api_key.use', NULL::text, 'api_key', f.prefix))
  FROM free f WHERE f.is_first
$$;
REVOKE ALL ON FUNCTION keypup.note_key_uses() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.note_key_uses() TO keypup_worker;
COMMENT ON FUNCTION keypup.note_key_uses() IS
  'Writes down when API keys were last used, and records the first time of a day. For the worker. Returns how many of '
  'these there were.';
