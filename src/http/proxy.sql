-- http/proxy.sql: the user and password that the proxy of keypup.proxy asks for, sealed.

-- One row at most. It stays when they are taken away: an older envelope must not open in its place.
CREATE TABLE keypup.proxy_credentials (
  is_only_row boolean NOT NULL DEFAULT true PRIMARY KEY CHECK (is_only_row),
  revision bigint NOT NULL,
  envelope bytea CHECK (octet_length(envelope) BETWEEN 37 AND 8228 AND substr(envelope, 1, 4) = '\x4b500101'),
  key_id integer GENERATED ALWAYS AS (keypup.token_key_id(envelope)) STORED,
  reseal_failed_at timestamptz,
  changed_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE keypup.proxy_credentials
  ALTER COLUMN envelope SET STORAGE EXTERNAL, ALTER COLUMN envelope SET STATISTICS 0;
SELECT keypup.close_table('keypup.proxy_credentials');
COMMENT ON TABLE keypup.proxy_credentials IS
  'User and password for the proxy, sealed. Granted to nobody; the worker opens them for one request.';
COMMENT ON COLUMN keypup.proxy_credentials.is_only_row IS 'There is one row at most.';
COMMENT ON COLUMN keypup.proxy_credentials.revision IS
  'Rises when they are replaced, taken away or sealed again; bound into the envelope.';
COMMENT ON COLUMN keypup.proxy_credentials.envelope IS
  'AES-256-GCM envelope version 1 of user:password; NULL when there are none.';
COMMENT ON COLUMN keypup.proxy_credentials.key_id IS 'The data key that it is sealed with, as the envelope says.';
COMMENT ON COLUMN keypup.proxy_credentials.reseal_failed_at IS
  'When it last could not be opened to be sealed again; NULL when all is well.';
COMMENT ON COLUMN keypup.proxy_credentials.changed_at IS 'When they were set or taken away.';

-- An account that nobody has: what is the server''s own is sealed with a data key of its own.
CREATE FUNCTION keypup.proxy_context(revision bigint) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT format('account:00000000-0000-0000-0000-000000000000/proxy/rev:%s/credentials', revision) $$;
REVOKE ALL ON FUNCTION keypup.proxy_context(bigint) FROM PUBLIC;
COMMENT ON FUNCTION keypup.proxy_context(bigint) IS
  'What the credentials for the proxy belong to; sealed into their envelope.';

CREATE FUNCTION keypup.sealed_proxy_credentials(OUT envelope bytea, OUT context text) RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT p.envelope, keypup.proxy_context(p.revision) FROM keypup.proxy_credentials p WHERE p.envelope IS NOT NULL
$$;
REVOKE ALL ON FUNCTION keypup.sealed_proxy_credentials() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.sealed_proxy_credentials() TO keypup_worker;
COMMENT ON FUNCTION keypup.sealed_proxy_credentials() IS
  'The sealed credentials for the proxy, if there are any; for the worker.';

-- It plans without looking at the password: a plan may be logged.
CREATE FUNCTION keypup.set_proxy_credentials(username text, password text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  new_revision bigint;
BEGIN
  PERFORM keypup.guard_writes();
  IF (username IS NULL) <> (password IS NULL) THEN
    RAISE EXCEPTION 'a user and a password are needed'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'NULL for both takes them away.';
  ELSIF username = '' OR username ~ '[[:cntrl:]:]' OR password ~ '[[:cntrl:]]'
        OR octet_length(username) + octet_length(password) > 4096 THEN
    RAISE EXCEPTION 'user or password is malformed'
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'The user is not empty and has no colon, neither has a control character, and both have 4096 bytes '
              'at most.';
  END IF;
  INSERT INTO keypup.proxy_credentials (revision) VALUES (0) ON CONFLICT (is_only_row) DO NOTHING;
  SELECT p.revision + 1 INTO new_revision FROM keypup.proxy_credentials p FOR UPDATE;
  UPDATE keypup.proxy_credentials p
  SET revision = new_revision, reseal_failed_at = NULL, changed_at = now(),
      envelope = keypup.encrypt_token(username || ':' || password, keypup.proxy_context(new_revision));
  PERFORM keypup.record_action(NULL::uuid, 'proxy.credentials',
    CASE WHEN username IS NULL THEN 'taken away' ELSE 'set' END);
  PERFORM keypup.wake_launcher();
END
$$;
REVOKE ALL ON FUNCTION keypup.set_proxy_credentials(text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.set_proxy_credentials(text, text) IS
  'The user and password for keypup.proxy; NULL, NULL: none any more. Pass them as bind parameters, so that they '
  'stand in no log. For superusers: granted to nobody.';
