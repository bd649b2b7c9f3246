-- grant/connect_app.sql: connections as an app. These functions run as their owner, and plan without looking at the
-- key, as connect does.

CREATE FUNCTION keypup.connect_app(account text, provider text, app_id text, installation_id bigint, private_key text,
  base_url text DEFAULT NULL, name text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'tokens.create');
  the_provider keypup.providers := keypup.find_provider(provider);
  made keypup.connections;
BEGIN
  IF the_provider.grant_kind <> 'app' THEN
    RAISE EXCEPTION '% has no apps', the_provider.title
      USING ERRCODE = 'feature_not_supported', HINT = 'Connect with a token, by keypup.connect.';
  END IF;
  IF app_id IS NULL OR app_id !~ '^[A-Za-z0-9._-]{1,100}$' OR installation_id IS NULL OR installation_id <= 0 THEN
    RAISE EXCEPTION 'an app''s id and an installation''s are needed' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'The app''s page at the provider shows its id or client id; the address of its installation''s page ends '
        'with the installation''s.';
  END IF;
  IF private_key IS NULL THEN
    RAISE EXCEPTION 'a private key is needed' USING ERRCODE = 'null_value_not_allowed',
      HINT = 'Generate one on the app''s page at the provider, and pass the whole file.';
  END IF;
  made := keypup.make_connection(the_account, the_provider, base_url, name,
    'key of this one with keypup.replace_app_key');
  INSERT INTO keypup.app_installations (account_id, connection_id, app_id, installation_id)
  VALUES (the_account, made.connection_id, connect_app.app_id, connect_app.installation_id);
  INSERT INTO keypup.connection_tokens (account_id, connection_id, purpose, revision, envelope)
  VALUES (the_account, made.connection_id, 'app_key', 1,
    keypup.seal_app_key(private_key, keypup.token_context(the_account, made.connection_id, 1::bigint, 'app_key')));
  PERFORM keypup.record_action(the_account, 'connection.create',
    format('"%s": installation %s of app %s, %s at %s', made.name, installation_id, app_id, provider, made.base_url));
  RETURN made.connection_id;
END
$$;
REVOKE ALL ON FUNCTION keypup.connect_app(text, text, text, bigint, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.connect_app(text, text, text, bigint, text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.connect_app(text, text, text, bigint, text, text, text) IS
  'Connects a provider as an installation of an app, whose tokens the worker gets itself. Pass the private key, in '
  'PEM, as a bind parameter, so that it stands in no log.';

CREATE FUNCTION keypup.replace_app_key(account text, connection text, private_key text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'tokens.rotate');
  the_connection uuid := keypup.find_connection(the_account, connection);
  new_revision bigint;
BEGIN
  PERFORM keypup.hold_connection(the_account, the_connection);
  PERFORM FROM keypup.app_installations i WHERE i.account_id = the_account AND i.connection_id = the_connection
    FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the connection is none of an app' USING ERRCODE = 'object_not_in_prerequisite_state',
      HINT = 'Change its token with keypup.replace_token.';
  END IF;
  IF private_key IS NOT NULL THEN
    SELECT t.revision + 1 INTO new_revision FROM keypup.connection_tokens t
    WHERE t.account_id = the_account AND t.connection_id = the_connection AND t.purpose = 'app_key' FOR UPDATE;
    UPDATE keypup.connection_tokens t
    SET revision = new_revision, reseal_failed_at = NULL,
        envelope = keypup.seal_app_key(private_key,
          keypup.token_context(the_account, the_connection, new_revision, 'app_key'))
    WHERE t.account_id = the_account AND t.connection_id = the_connection AND t.purpose = 'app_key';
  END IF;
  -- The token that the old key got goes with it.
  UPDATE keypup.connection_tokens t SET expires_at = now()
  WHERE t.account_id = the_account AND t.connection_id = the_connection AND t.purpose = 'access_token';
  UPDATE keypup.app_installations i SET ask_at = now(), failures = 0, is_renewed = false, deployments_refused_at = NULL,
    checks_refused_at = NULL
  WHERE i.account_id = the_account AND i.connection_id = the_connection;
  PERFORM keypup.admit_connection(the_account, the_connection, private_key IS NOT NULL);
  PERFORM keypup.record_action(the_account,
    CASE WHEN private_key IS NULL THEN 'app_key.retry' ELSE 'app_key.replace' END, connection);
  PERFORM keypup.wake_launcher();
END
$$;
REVOKE ALL ON FUNCTION keypup.replace_app_key(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.replace_app_key(text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.replace_app_key(text, text, text) IS
  'Gives a connection another key of its app; NULL: the key that is there is tried again.';
