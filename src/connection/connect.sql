-- connection/connect.sql: what a customer's admin connects and tracks. These functions run as their owner; each asks
-- keypup.authorize first.

CREATE FUNCTION keypup.find_connection(account_id uuid, connection text) RETURNS uuid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  ids uuid[];
BEGIN
  SELECT array_agg(c.connection_id) INTO ids
  FROM keypup.connections c
  WHERE c.account_id = find_connection.account_id
    AND (connection IS NULL OR c.name = connection OR c.connection_id::text = connection);
  IF ids IS NULL AND NOT EXISTS (SELECT FROM keypup.connections c WHERE c.account_id = find_connection.account_id) THEN
    RAISE EXCEPTION 'the account has no connection'
      USING ERRCODE = 'undefined_object', HINT = 'Connect a provider with keypup.connect first.';
  ELSIF ids IS NULL THEN
    RAISE EXCEPTION 'connection "%" does not exist', regexp_replace(left(connection, 100), '[[:cntrl:]]', '?', 'g')
      USING ERRCODE = 'undefined_object',
            HINT = 'SELECT name FROM keypup.connections shows the account''s connections.';
  ELSIF cardinality(ids) > 1 THEN
    RAISE EXCEPTION 'the account has % connections', cardinality(ids) USING ERRCODE = 'ambiguous_parameter',
      HINT = 'Name one of them.';
  END IF;
  RETURN ids[1];
END
$$;
REVOKE ALL ON FUNCTION keypup.find_connection(uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.find_connection(uuid, text) IS 'The connection of that name, or the only one.';

-- What connect and connect_app have in common.
CREATE FUNCTION keypup.find_provider(provider text) RETURNS keypup.providers
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  found keypup.providers;
  known text;
BEGIN
  SELECT p.* INTO found FROM keypup.providers p WHERE p.provider = find_provider.provider;
  IF found.provider IS NULL THEN
    SELECT CASE count(*) WHEN 1 THEN 'The provider is ' ELSE 'Providers are ' END
      || string_agg(p.provider, ', ' ORDER BY p.provider) || '.'
    INTO known FROM keypup.providers p;
    -- Only what may be a provider's name is repeated: it could be a token in the wrong place.
    RAISE EXCEPTION 'provider "%" is unknown',
      CASE WHEN provider COLLATE "C" ~ '^[a-z]{1,15}$' THEN provider ELSE '…' END
      USING ERRCODE = 'invalid_parameter_value', HINT = known;
  END IF;
  RETURN found;
END
$$;
-- What only some providers have is refused before one that has not is asked.
CREATE FUNCTION keypup.guard_offer(account_id uuid, connection uuid, offer text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  its keypup.providers := keypup.provider_of(guard_offer.account_id, guard_offer.connection);
BEGIN
  IF offer = 'webhook' AND its.webhook_signature IS NULL THEN
    RAISE EXCEPTION '% sends no signed webhooks', its.title USING ERRCODE = 'feature_not_supported';
  ELSIF offer = 'discover' AND NOT 'discover' = ANY (its.offers) THEN
    RAISE EXCEPTION '% does not list what could be tracked', its.title
      USING ERRCODE = 'feature_not_supported', HINT = 'Track a project by its name. ' || its.project_hint;
  ELSIF offer = 'sign_in' AND NOT 'sign_in' = ANY (its.offers) THEN
    RAISE EXCEPTION 'people cannot sign in with tokens of %', its.title USING ERRCODE = 'feature_not_supported';
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.guard_offer(uuid, uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.guard_offer(uuid, uuid, text) IS
  'Refuses what the provider of a connection does not have: discover, sign_in or webhook.';

CREATE FUNCTION keypup.make_connection(account_id uuid, provider keypup.providers, base_url text, name text,
  replaced_by text)
RETURNS keypup.connections
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  url text;
  made keypup.connections;
BEGIN
  IF base_url IS NULL AND provider.default_url IS NULL THEN
    RAISE EXCEPTION 'a base URL is needed'
      USING ERRCODE = 'null_value_not_allowed', HINT = format('Say where the API of your %s is.', provider.title);
  END IF;
  url := keypup.check_base_url(coalesce(base_url, provider.default_url));
  name := coalesce(name, provider.provider);
  -- What an account connects and gives up comes one after the other.
  PERFORM FROM keypup.accounts a WHERE a.account_id = make_connection.account_id FOR NO KEY UPDATE;
  IF EXISTS (
    SELECT FROM keypup.connections c WHERE c.account_id = make_connection.account_id AND c.name = make_connection.name
  ) THEN
    RAISE EXCEPTION 'connection "%" exists already', name USING ERRCODE = 'duplicate_object',
      HINT = format('Give another name, or change the %s.', replaced_by);
  END IF;
  INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by)
  VALUES (make_connection.account_id, provider.provider, make_connection.name, url, keypup.current_user_name())
  RETURNING * INTO made;
  RETURN made;
END
$$;
REVOKE ALL ON FUNCTION keypup.find_provider(text), keypup.make_connection(uuid, keypup.providers, text, text, text)
FROM PUBLIC;
COMMENT ON FUNCTION keypup.find_provider(text) IS 'The provider of that name.';
COMMENT ON FUNCTION keypup.make_connection(uuid, keypup.providers, text, text, text) IS
  'A connection without its secret yet. replaced_by: what changes the secret of one that has the name already.';

-- The token is looked at in a plain expression only: no statement has it as a parameter, and so no log.
CREATE FUNCTION keypup.check_token_form(provider keypup.providers, token text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF provider.authorizes_by IN ('basic', 'oauth') AND strpos(token, ':') = 0 THEN
    RAISE EXCEPTION 'the token has only one part' USING ERRCODE = 'invalid_parameter_value', HINT = provider.token_hint;
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.check_token_form(keypup.providers, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.check_token_form(keypup.providers, text) IS
  'Refuses a token that is not written as the provider''s are.';

-- Functions that take a token plan without looking at it: a plan may be logged.
CREATE FUNCTION keypup.connect(account text, provider text, token text, base_url text DEFAULT NULL,
  name text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'tokens.create');
  the_provider keypup.providers := keypup.find_provider(provider);
  made keypup.connections;
BEGIN
  IF token IS NULL THEN
    RAISE EXCEPTION 'a token is needed' USING ERRCODE = 'null_value_not_allowed', HINT = the_provider.token_hint;
  END IF;
  PERFORM keypup.check_token(token);
  PERFORM keypup.check_token_form(the_provider, token);
  made := keypup.make_connection(the_account, the_provider, base_url, name,
    'token of this one with keypup.replace_token');
  INSERT INTO keypup.connection_tokens (account_id, connection_id, purpose, revision, envelope)
  VALUES (the_account, made.connection_id, 'access_token', 1,
    keypup.encrypt_token(token, keypup.token_context(the_account, made.connection_id, 1::bigint, 'access_token')));
  PERFORM keypup.record_action(the_account, 'connection.create',
    format('"%s": %s at %s', made.name, provider, made.base_url));
  PERFORM keypup.wake_launcher();
  RETURN made.connection_id;
END
$$;
REVOKE ALL ON FUNCTION keypup.connect(text, text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.connect(text, text, text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.connect(text, text, text, text, text) IS
  'Connects a provider. Pass the token as a bind parameter, so that it stands in no log.';

CREATE FUNCTION keypup.replace_token(account text, connection text, token text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'tokens.rotate');
  the_connection uuid := keypup.find_connection(the_account, connection);
  the_provider keypup.providers := keypup.provider_of(the_account, the_connection);
  new_revision bigint;
BEGIN
  IF token IS NULL THEN
    RAISE EXCEPTION 'a token is needed' USING ERRCODE = 'null_value_not_allowed';
  END IF;
  PERFORM keypup.check_token(token);
  PERFORM keypup.check_token_form(the_provider, token);
  IF EXISTS (
    SELECT FROM keypup.app_installations i WHERE i.account_id = the_account AND i.connection_id = the_connection
  ) THEN
    RAISE EXCEPTION 'the connection is an app''s' USING ERRCODE = 'object_not_in_prerequisite_state',
      HINT = 'It gets its tokens itself; change its key with keypup.replace_app_key.';
  END IF;
  PERFORM keypup.hold_connection(the_account, the_connection);
  SELECT t.revision + 1 INTO new_revision FROM keypup.connection_tokens t
  WHERE t.account_id = the_account AND t.connection_id = the_connection AND t.purpose = 'access_token' FOR UPDATE;
  UPDATE keypup.connection_tokens t
  SET revision = new_revision, reseal_failed_at = NULL,
      envelope = keypup.encrypt_token(token,
        keypup.token_context(the_account, the_connection, new_revision, 'access_token'))
  WHERE t.account_id = the_account AND t.connection_id = the_connection AND t.purpose = 'access_token';
  PERFORM keypup.admit_connection(the_account, the_connection, true);
  PERFORM keypup.record_action(the_account, 'token.replace', connection);
  PERFORM keypup.wake_launcher();
END
$$;
REVOKE ALL ON FUNCTION keypup.replace_token(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.replace_token(text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.replace_token(text, text, text) IS
  'Gives a connection another token; the old one no longer opens.';

CREATE FUNCTION keypup.track(account text, project text, connection text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'settings.write');
  the_connection uuid := keypup.find_connection(the_account, connection);
  the_provider keypup.providers := keypup.provider_of(the_account, the_connection);
  new_id bigint;
BEGIN
  IF project IS NULL OR project COLLATE "C" !~ the_provider.project_pattern THEN
    RAISE EXCEPTION 'project name "%" is malformed', regexp_replace(left(project, 150), '[[:cntrl:]]', '?', 'g')
      USING ERRCODE = 'invalid_parameter_value', HINT = the_provider.project_hint;
  END IF;
  -- Where people sign in through the repositories, whoever names one says who they are.
  PERFORM keypup.guard_role(the_account, r.role)
  FROM (SELECT DISTINCT g.role
        FROM keypup.identity_providers p
        JOIN keypup.identity_groups g ON g.account_id = p.account_id AND g.issuer = p.issuer
        WHERE p.account_id = the_account AND p.kind = 'repositories' AND p.client_ids = ARRAY[the_connection::text]) r;
  INSERT INTO keypup.projects (account_id, connection_id, name, tracked_by)
  VALUES (the_account, the_connection, project, keypup.current_user_name()) ON CONFLICT DO NOTHING RETURNING project_id
    INTO new_id;
  IF new_id IS NULL THEN
    RAISE EXCEPTION 'project "%" is tracked already', project USING ERRCODE = 'duplicate_object',
      HINT = 'SELECT * FROM keypup.sync_status shows how far it is.';
  END IF;
  INSERT INTO keypup.sync_state (account_id, project_id) VALUES (the_account, new_id);
  PERFORM keypup.record_action(the_account, 'project.track', project);
  PERFORM keypup.wake_launcher();
END
$$;
REVOKE ALL ON FUNCTION keypup.track(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.track(text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.track(text, text, text) IS
  'Starts keeping a project in tables; the background worker reads it, or CALL keypup.sync.';

CREATE FUNCTION keypup.ask_for_projects(account_id uuid, connection uuid, goes_on_at text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  answer jsonb;
BEGIN
  LOOP
    BEGIN
      answer := keypup.ask_worker('projects', ask_for_projects.account_id, uuid_send(connection)
        || convert_to(goes_on_at, 'UTF8'));
      IF answer IS NULL OR NOT answer ? 'later' THEN
        RETURN answer;
      -- An app has no token while nothing is read: the worker gets one first.
      ELSIF clock_timestamp() > now() + interval '1 minute' THEN
        RETURN '{"failed": "the app got no token", "hint": "SELECT state, blocked_reason FROM keypup.connections says '
          'more."}';
      END IF;
    EXCEPTION
      WHEN configuration_limit_exceeded OR too_many_connections THEN
        -- A list that has begun goes on as soon as it may.
        IF goes_on_at = '' THEN
          PERFORM keypup.note_refusal(ask_for_projects.account_id, 'connection.discover', SQLERRM);
          RAISE;
        END IF;
    END;
    PERFORM pg_sleep(0.3);
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION keypup.ask_for_projects(uuid, uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.ask_for_projects(uuid, uuid, text) IS
  'A page of what the connection could track, from the worker; the first where goes_on_at is empty.';

CREATE FUNCTION keypup.discover(account text, connection text DEFAULT NULL,
  OUT project text, OUT visibility text, OUT is_archived boolean, OUT is_fork boolean, OUT is_tracked boolean)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'settings.write');
  asked uuid := keypup.find_connection(the_account, connection);
  the_connection record;
  answer jsonb;
  goes_on_at text := '';
BEGIN
  PERFORM keypup.guard_offer(the_account, asked, 'discover');
  PERFORM keypup.guard_origin(the_account, asked);
  SELECT c.name, c.blocked_until INTO the_connection FROM keypup.connections c
  WHERE c.account_id = the_account AND c.connection_id = asked;
  IF the_connection.blocked_until > now() THEN
    RAISE EXCEPTION 'the provider has asked for a pause until %', the_connection.blocked_until
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Try again then.';
  END IF;
  PERFORM keypup.record_durably(the_account, 'connection.discover', the_connection.name, a.kind,
    keypup.current_user_name(), true, NULL::bytea) FROM keypup.current_user_info() a;
  -- A page after the other; a provider that never ends shall not keep the session for ever.
  FOR page IN 1 .. 400 LOOP
    answer := keypup.ask_for_projects(the_account, asked, goes_on_at);
    IF answer IS NULL OR answer ? 'failed' THEN
      RAISE EXCEPTION 'the provider could not be asked: %', coalesce(answer ->> 'failed', 'no answer')
        USING ERRCODE = 'connection_exception',
          HINT = coalesce(answer ->> 'hint', 'Try again in a moment; the server''s log says more.');
    END IF;
    RETURN QUERY
      SELECT p.found ->> 0, p.found ->> 1, (p.found ->> 2)::boolean, (p.found ->> 3)::boolean,
        EXISTS (SELECT FROM keypup.projects t
                WHERE t.account_id = the_account AND t.connection_id = asked
                  AND lower(t.name COLLATE "C") = lower((p.found ->> 0) COLLATE "C"))
      FROM jsonb_array_elements(answer -> 'projects') AS p (found);
    goes_on_at := answer ->> 'after';
    EXIT WHEN goes_on_at IS NULL;
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION keypup.discover(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.discover(text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.discover(text, text) IS
  'The projects that the connection could track, as the provider lists them now to its token, and whether it does. '
  'The worker asks; the account''s only connection where none is named.';

-- Its foreign keys plan as in remove.sql.
CREATE FUNCTION keypup.untrack(account text, project text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'settings.write');
  the_project bigint := keypup.find_project(the_account, project);
BEGIN
  -- In the order of connection/connection.sql, before its rows go by the foreign keys in any order.
  PERFORM keypup.hold_connection(p.account_id, p.connection_id)
  FROM keypup.projects p WHERE p.account_id = the_account AND p.project_id = the_project;
  PERFORM FROM keypup.sync_state s WHERE s.account_id = the_account AND s.project_id = the_project FOR UPDATE;
  PERFORM FROM keypup.projects p WHERE p.account_id = the_account AND p.project_id = the_project FOR UPDATE;
  DELETE FROM keypup.sync_jobs j WHERE j.account_id = the_account AND j.project_id = the_project;
  DELETE FROM keypup.projects p WHERE p.account_id = the_account AND p.project_id = the_project;
  PERFORM keypup.record_action(the_account, 'project.untrack', project);
END
$$;
REVOKE ALL ON FUNCTION keypup.untrack(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.untrack(text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.untrack(text, text) IS
  'Stops keeping a project, and forgets it: its rows go. Written connection/owner/name where several connections '
  'track it.';
