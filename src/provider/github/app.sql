-- provider/github/app.sql: how an installation of a GitHub App gets its token, and what the answer means.

-- A minute is taken off for clocks that differ; GitHub takes ten minutes at most.
CREATE FUNCTION keypup.github_app_request(account uuid, connection uuid, 
  OUT method text, OUT url text, OUT headers text[], OUT body text, OUT claims text)
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
  SELECT 'POST', format('%s/app/installations/%s/access_tokens', c.base_url, i.installation_id),
    '{Accept: application/vnd.github+json}'::text[],
    -- Releases would need contents, and with it the source code; protections of branches, administration; workflows,
    -- actions, and with it logs: these are not asked for.
    jsonb_build_object('permissions', '{"issues": "read", "pull_requests": "read", "metadata": "read"}'::jsonb
      || CASE WHEN i.deployments_refused_at > now() - interval '1 day' THEN '{}'
        ELSE '{"deployments": "read"}' END::jsonb
      || CASE WHEN i.checks_refused_at > now() - interval '1 day' THEN '{}'
        ELSE '{"checks": "read", "statuses": "read"}' END::jsonb)::text,
    json_build_object('iat', e.epoch - 60, 'exp', e.epoch + 540, 'iss', i.app_id)::text
  FROM keypup.app_installations i
  JOIN keypup.connections c USING (account_id, connection_id)
  CROSS JOIN LATERAL (SELECT floor(extract(epoch FROM now() + i.clock_ahead))::bigint AS epoch) AS e
  WHERE i.account_id = account AND i.connection_id = connection
$$;
REVOKE ALL ON FUNCTION keypup.github_app_request(uuid, uuid) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_app_request(uuid, uuid) IS
  'The request for an installation''s token, that may read what is kept and nothing else.';

CREATE FUNCTION keypup.github_app_answer(account uuid, connection uuid, status integer, headers jsonb, reply jsonb,
  failure text, revision bigint, envelope bytea) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v record;
  message text := left(regexp_replace(coalesce(reply ->> 'message', 'no reason given'), '[[:cntrl:]]', ' ', 'g'), 300);
  its_clock timestamptz := coalesce(keypup.github_time(headers ->> 'date'), now());
  ahead interval := date_trunc('second', its_clock - clock_timestamp());
  -- By GitHub's clock, since it is GitHub's time.
  ends_at timestamptz := keypup.github_time(reply ->> 'expires_at');
  lives interval := CASE WHEN ends_at > its_clock THEN least(interval '1 hour', ends_at - its_clock) END;
  known_ahead interval;
BEGIN
  PERFORM keypup.hold_connection(account, connection);
  SELECT * INTO v FROM keypup.github_verdict(status, headers, reply, failure);
  IF status = 201 AND failure IS NULL AND envelope IS NOT NULL AND lives IS NOT NULL THEN
    PERFORM keypup.store_app_token(account, connection, revision, envelope, lives);
    RETURN;
  ELSIF failure IS NOT NULL OR v.verdict IN ('paused', 'smaller') THEN
    PERFORM keypup.app_token_failed(account, connection, 'no token of the app: ' || v.reason, v.hint, v.retry_at,
      false);
    RETURN;
  ELSIF status = 401 THEN
    SELECT i.clock_ahead INTO known_ahead FROM keypup.app_installations i
    WHERE i.account_id = account AND i.connection_id = connection;
    IF greatest(ahead - known_ahead, known_ahead - ahead) > interval '30 seconds' THEN
      UPDATE keypup.app_installations i SET clock_ahead = ahead
      WHERE i.account_id = account AND i.connection_id = connection;
      PERFORM keypup.app_token_failed(account, connection,
        format('GitHub''s clock is %s ahead of this server''s (401)', ahead),
        'It is taken into account from now on; set the server''s clock, for example with NTP.',
        now() + interval '1 second', false);
      RETURN;
    END IF;
    v.reason := 'GitHub refuses the app''s key (401): ' || message;
    v.hint := 'Check the app''s id, and give the connection a key that GitHub lists for the app with '
      'keypup.replace_app_key.';
  ELSIF status = 404 THEN
    v.reason := CASE WHEN message ~ '^Integration' THEN 'GitHub knows no app of this id (404)'
      ELSE 'the app''s installation is not there (404)' END;
    v.hint := 'Check the app''s id, the installation''s id and base_url. Where the app was installed anew, connect '
      'with the new installation''s id.';
  ELSIF status = 403 AND message COLLATE "C" ILIKE '%suspended%' THEN
    v.reason := 'the app''s installation is suspended (403)';
    v.hint := 'Unsuspend it at GitHub, then call keypup.replace_app_key with a NULL key: the one that is there is '
      'tried again.';
  ELSIF status = 403 THEN
    v.reason := 'GitHub refuses the app (403): ' || message;
    v.hint := 'When that is mended at GitHub, call keypup.replace_app_key with a NULL key: the one that is there is '
      'tried again.';
  ELSIF status = 422 THEN
    UPDATE keypup.app_installations i
    SET checks_refused_at = now(), ask_at = now(),
      deployments_refused_at = CASE WHEN i.checks_refused_at > now() - interval '1 day' THEN now()
        ELSE i.deployments_refused_at END
    WHERE i.account_id = account AND i.connection_id = connection
      AND (least(i.checks_refused_at, i.deployments_refused_at) <= now() - interval '1 day'
        OR i.checks_refused_at IS NULL OR i.deployments_refused_at IS NULL);
    IF FOUND THEN
      RETURN;  -- the app may do with less
    END IF;
    v.reason := 'GitHub does not grant what the app asks for (422): ' || message;
    v.hint := 'Give the app read access to metadata, issues, pull requests and deployments, have the installation '
      'accept it, and call keypup.replace_app_key with a NULL key.';
  ELSE
    PERFORM keypup.app_token_failed(account, connection, CASE
      WHEN status = 201 THEN 'GitHub answered without a token that can be used'
      ELSE coalesce(v.reason, 'no reason given') END, v.hint, NULL::timestamptz, false);
    RETURN;
  END IF;
  PERFORM keypup.app_token_failed(account, connection, v.reason, v.hint, NULL::timestamptz, true);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_app_answer(uuid, uuid, integer, jsonb, jsonb, text, bigint, bytea) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_app_answer(uuid, uuid, integer, jsonb, jsonb, text, bigint, bytea) IS
  'Takes the answer to a request for an installation''s token: keeps the token, or says why there is none.';

-- Whatever is not known to read only is taken to write.
CREATE FUNCTION keypup.github_can_write(scopes text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce(bool_or(s.scope !~ '^(read:[a-z_]+|user:email)$'), false)
FROM regexp_split_to_table(scopes, '[, ]+') AS s(scope) WHERE s.scope <> '' $$;
REVOKE ALL ON FUNCTION keypup.github_can_write(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_can_write(text) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_can_write(text) IS
  'Whether one of the scopes of a classic token lets it change things: repo, public_repo, write:…, admin:…, workflow, '
  'user, gist and so on.';

CREATE FUNCTION keypup.github_keep_headers(account uuid, connection uuid, headers jsonb, starts_run boolean)
  RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  told_scopes text := left(headers ->> 'x-oauth-scopes', 500);
  told_end timestamptz := keypup.github_time(headers ->> 'github-authentication-token-expiration');
  hidden text := left(substring(headers ->> 'x-github-sso' FROM '^partial-results; organizations=([0-9,]+)'), 500);
BEGIN
  UPDATE keypup.connections c
  SET scopes = told_scopes, can_write = keypup.github_can_write(told_scopes), token_expires_at = told_end,
      -- An answer that touches none of them says nothing about them.
      hidden_organizations = CASE WHEN starts_run THEN hidden ELSE coalesce(hidden, c.hidden_organizations) END
  WHERE c.account_id = account AND c.connection_id = connection
    AND (c.scopes IS DISTINCT FROM told_scopes OR c.token_expires_at IS DISTINCT FROM told_end
         OR c.hidden_organizations IS DISTINCT FROM CASE WHEN starts_run THEN hidden
           ELSE coalesce(hidden, c.hidden_organizations) END);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_keep_headers(uuid, uuid, jsonb, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_keep_headers(uuid, uuid, jsonb, boolean) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_keep_headers(uuid, uuid, jsonb, boolean) IS
  'Keeps what an answer''s headers say about the token; writes nothing when that is known.';
