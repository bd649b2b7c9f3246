-- sign_in/provider_sign_in.sql: people sign in with their own token of the provider whose repositories are tracked. The
-- worker asks the provider whose token it is; the token is used for that once, and not kept.

CREATE FUNCTION keypup.allow_provider_sign_in(account text, role text, connection text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize_rights(account, 'users.manage');
  the_connection record;
  old keypup.identity_providers;
  new keypup.identity_providers;
BEGIN
  SELECT c.connection_id, c.base_url INTO the_connection
  FROM keypup.connections c
  WHERE c.account_id = the_account AND c.connection_id = keypup.find_connection(the_account, connection);
  IF role IS NULL THEN
    PERFORM keypup.forget_issuer(the_account, p.issuer)
    FROM keypup.identity_providers p
    WHERE p.account_id = the_account AND p.issuer = the_connection.base_url AND p.kind = 'repositories';
    RETURN;
  END IF;
  PERFORM keypup.guard_offer(the_account, the_connection.connection_id, 'sign_in');
  PERFORM keypup.guard_issuer(the_account, the_connection.base_url);
  PERFORM keypup.guard_passwords(the_account);
  SELECT p.* INTO old FROM keypup.identity_providers p
  WHERE p.account_id = the_account AND p.issuer = the_connection.base_url;
  INSERT INTO keypup.identity_providers AS p (account_id, issuer, kind, client_ids, added_by)
  VALUES (the_account, the_connection.base_url, 'repositories', ARRAY[the_connection.connection_id::text],
    keypup.current_user_name())
  ON CONFLICT ON CONSTRAINT identity_providers_pkey DO UPDATE
    SET kind = excluded.kind, client_ids = excluded.client_ids, fetches_keys = false, keys = '[]',
      added_by = excluded.added_by
  RETURNING * INTO new;
  PERFORM keypup.record_action(the_account, 'identity_provider.add',
    keypup.describe_issuer(new) || coalesce('; before: ' || keypup.describe_issuer(old), ''));
  PERFORM keypup.map_group(account, the_connection.base_url, 'everyone', role);
END
$$;
REVOKE ALL ON FUNCTION keypup.allow_provider_sign_in(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.allow_provider_sign_in(text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.allow_provider_sign_in(text, text, text) IS
  'Lets people of the connection''s organizations and repositories sign in with their own token, with this role; '
  'NULL: no longer.';

CREATE FUNCTION keypup.sign_in_with_provider(account text, provider text, user_token text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  began timestamptz := clock_timestamp();
  asked record;
  answer jsonb;
  person text;
  why text := 'a token of the provider';
BEGIN
  PERFORM keypup.guard_writes();
  -- One by its name, or the only one of the provider: no server is shown a token that may be another's.
  SELECT p.account_id, p.issuer, p.sign_in_id, c.connection_id,
    count(*) OVER (PARTITION BY c.name = sign_in_with_provider.provider) AS candidates INTO asked
  FROM keypup.accounts a
  JOIN keypup.identity_providers p ON p.account_id = a.account_id AND p.kind = 'repositories'
  JOIN keypup.connections c ON c.account_id = a.account_id AND c.connection_id::text = p.client_ids[1]
  WHERE a.name = account AND sign_in_with_provider.provider IN (c.name, c.provider)
  ORDER BY c.name = sign_in_with_provider.provider DESC LIMIT 1;
  IF asked.candidates = 1 AND user_token ~ '^[A-Za-z0-9._~+/=:-]+$' AND length(user_token) BETWEEN 8 AND 4096 THEN
    SELECT jsonb_build_object('failed', h.reason, 'hint', h.hint) INTO answer
    FROM keypup.halted_connections h
    WHERE h.account_id = asked.account_id AND h.connection_id = asked.connection_id AND h.phase = 'restored';
    IF NOT FOUND THEN
      BEGIN
        answer := keypup.ask_worker('user_token', asked.account_id, uuid_send(asked.connection_id)
          || keypup.encrypt_token(user_token,
               keypup.token_context(asked.account_id, asked.connection_id, 0::bigint, 'user_token')));
      EXCEPTION
        -- Not told apart, since only an account that has this set up is asked about.
        WHEN configuration_limit_exceeded OR too_many_connections THEN
          answer := '{}';
          why := 'too many sign-ins with tokens of the provider';
      END;
    END IF;
    IF answer IS NULL OR answer ? 'failed' THEN
      PERFORM keypup.note_refusal(asked.account_id, 'session.start', NULL,
        'the provider could not be asked about a token: ' || coalesce(answer ->> 'failed', 'no answer'));
      -- Why not is the account's: it names its server, and whoever asks has proven nothing.
      RAISE EXCEPTION 'the provider could not be asked' USING ERRCODE = 'connection_exception',
        HINT = 'Try again in a moment. The account''s audit log says why.';
    ELSIF answer ? 'sub' THEN
      person := keypup.recognise_person(asked.account_id, asked.issuer, answer);
    END IF;
  END IF;
  IF person IS NULL THEN
    PERFORM keypup.note_refusal(coalesce(asked.account_id,
      (SELECT a.account_id FROM keypup.accounts a WHERE a.name = account)), 'session.start', answer ->> 'login',
      coalesce('a token of the provider: ' || (answer ->> 'refused'), why));
    PERFORM keypup.wait_before_refusal(began, interval '1 second');
    RAISE EXCEPTION 'sign-in is refused' USING ERRCODE = 'invalid_authorization_specification',
      HINT = 'The account must allow it (allow_provider_sign_in), and the token must be of somebody who belongs to its'
        ' organizations or repositories. Where it allows it for several connections, name one instead of the provider.'
        ' Of too many sign-ins within a minute (keypup.questions_per_minute) the rest is refused, too.';
  END IF;
  RETURN keypup.start_session(asked.account_id, 'person', person, 'a token of the provider', interval '12 hours',
    asked.issuer, NULL::bytea, asked.sign_in_id);
END
$$;
REVOKE ALL ON FUNCTION keypup.sign_in_with_provider(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.sign_in_with_provider(text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.sign_in_with_provider(text, text, text) IS
  'Starts a session for whoever has the token at the provider, or at the connection of that name; pass the handle to '
  'use_session. Pass the token as a bind parameter; it is used once.';
