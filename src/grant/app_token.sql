-- grant/app_token.sql: when a connection that reads as an app gets its next token, and what happens without one.

-- Sees all accounts, and so runs as the owner. A request that nobody answers, as its worker is gone, is made again
-- after 45 seconds.
CREATE FUNCTION keypup.claim_app_tokens(only_account uuid, accounts_set_aside uuid[],
  OUT account_id uuid, OUT connection_id uuid, OUT provider text, OUT base_url text, OUT context text,
  OUT envelope bytea)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  WITH due AS (
    SELECT i.account_id, i.connection_id, c.refused_at
    FROM keypup.app_installations i
    JOIN keypup.connections c USING (account_id, connection_id)
    WHERE i.ask_at <= now()
      AND (only_account IS NULL OR i.account_id = only_account) AND i.account_id <> ALL (accounts_set_aside)
      AND c.origin = (SELECT keypup.this_database())
      AND (c.blocked_until IS NULL OR c.blocked_until <= now())
      AND (c.retry_at IS NULL OR c.retry_at <= now())
      AND (i.wanted_until > now() OR EXISTS (
        SELECT FROM keypup.sync_jobs j
        WHERE j.account_id = i.account_id AND j.connection_id = i.connection_id AND j.due_at <= now()))
    ORDER BY i.ask_at
    LIMIT 10
    FOR KEY SHARE OF c SKIP LOCKED FOR UPDATE OF i SKIP LOCKED
  ), admitted AS MATERIALIZED (
    -- Whoever has a key tried again and again asks the provider no more often than others.
    SELECT d.* FROM due d WHERE keypup.admit_question('app_token', d.account_id)
  ), claimed AS (
    UPDATE keypup.app_installations i SET ask_at = now() + interval '45 seconds', doubt = due.refused_at
    FROM admitted due WHERE i.account_id = due.account_id AND i.connection_id = due.connection_id
    RETURNING i.account_id, i.connection_id
  )
  SELECT k.account_id, k.connection_id, c.provider, c.base_url,
    keypup.token_context(t.account_id, t.connection_id, t.revision, t.purpose), t.envelope
  FROM claimed k
  JOIN keypup.connections c ON c.account_id = k.account_id AND c.connection_id = k.connection_id
  JOIN keypup.connection_tokens t ON t.account_id = k.account_id AND t.connection_id = k.connection_id
    AND t.purpose = 'app_key';
END
$$;
REVOKE ALL ON FUNCTION keypup.claim_app_tokens(uuid, uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.claim_app_tokens(uuid, uuid[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.claim_app_tokens(uuid, uuid[]) IS
  'The connections whose token is to be asked for now, with the sealed keys of their apps.';

CREATE FUNCTION keypup.want_app_token(account uuid, connection uuid) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE keypup.app_installations i SET wanted_until = now() + interval '1 minute'
  WHERE i.account_id = account AND i.connection_id = connection
  RETURNING true
$$;
REVOKE ALL ON FUNCTION keypup.want_app_token(uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.want_app_token(uuid, uuid) TO keypup_worker;
COMMENT ON FUNCTION keypup.want_app_token(uuid, uuid) IS
  'Has a token asked for though no job waits; NULL where the connection is no app''s.';

-- Writes a table that the worker may only read, for the account of its job.
CREATE FUNCTION keypup.next_app_token(account uuid, connection uuid, OUT revision bigint, OUT context text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM keypup.hold_connection(account, connection);
  PERFORM FROM keypup.app_installations i
  WHERE i.account_id = account AND i.account_id = keypup.job_account() AND i.connection_id = connection FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the connection is gone' USING ERRCODE = 'undefined_object';
  END IF;
  SELECT t.revision INTO revision FROM keypup.connection_tokens t
  WHERE t.account_id = account AND t.connection_id = connection AND t.purpose = 'access_token' FOR UPDATE;
  revision := coalesce(revision, 0) + 1;
  context := keypup.token_context(account, connection, revision, 'access_token');
END
$$;
REVOKE ALL ON FUNCTION keypup.next_app_token(uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.next_app_token(uuid, uuid) TO keypup_worker;
COMMENT ON FUNCTION keypup.next_app_token(uuid, uuid) IS
  'What the next token of the connection is to be sealed for; holds the connection until it is stored.';

CREATE FUNCTION keypup.store_app_token(account uuid, connection uuid, new_revision bigint, new_envelope bytea,
  lives interval) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  ends_at timestamptz := now() + lives;
BEGIN
  IF account IS DISTINCT FROM keypup.job_account() THEN
    RAISE EXCEPTION 'the account is not the job''s' USING ERRCODE = 'insufficient_privilege';
  END IF;
  INSERT INTO keypup.connection_tokens AS t (account_id, connection_id, purpose, revision, envelope, expires_at)
  VALUES (account, connection, 'access_token', new_revision, new_envelope, ends_at)
  ON CONFLICT ON CONSTRAINT connection_tokens_pkey DO UPDATE
    SET revision = excluded.revision, envelope = excluded.envelope, expires_at = excluded.expires_at,
      reseal_failed_at = NULL;
  -- Ten minutes are left then, or half of what a shorter one has.
  UPDATE keypup.app_installations i SET ask_at = ends_at - least(interval '10 minutes', lives / 2), failures = 0
  WHERE i.account_id = account AND i.connection_id = connection;
  UPDATE keypup.connections c SET blocked_until = NULL, blocked_reason = NULL
  WHERE c.account_id = account AND c.connection_id = connection AND c.blocked_until <= now();
END
$$;
REVOKE ALL ON FUNCTION keypup.store_app_token(uuid, uuid, bigint, bytea, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.store_app_token(uuid, uuid, bigint, bytea, interval) TO keypup_worker;
COMMENT ON FUNCTION keypup.store_app_token(uuid, uuid, bigint, bytea, interval) IS
  'Keeps a token that an app was given, and says when the next is asked for.';

CREATE FUNCTION keypup.app_token_failed(account uuid, connection uuid, reason text, hint text, retry_at timestamptz,
  is_final boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  again_at timestamptz;
  doubt timestamptz;
BEGIN
  PERFORM keypup.hold_connection(account, connection);
  UPDATE keypup.app_installations i
  SET failures = i.failures + 1,
      ask_at = CASE WHEN is_final THEN now()
        ELSE coalesce(retry_at, now() + least(interval '1 hour', interval '5 seconds' * 2 ^ least(i.failures, 20))) END
  WHERE i.account_id = account AND i.connection_id = connection
  RETURNING i.ask_at, i.doubt INTO again_at, doubt;
  -- With a token that is still good the sync goes on meanwhile.
  IF NOT is_final AND EXISTS (SELECT FROM keypup.connection_tokens t
    WHERE t.account_id = account AND t.connection_id = connection AND t.purpose = 'access_token'
      AND t.expires_at > now()) THEN
    RETURN;
  END IF;
  IF is_final THEN
    PERFORM keypup.doubt_connection(account, connection, reason, hint, doubt);
    RETURN;
  END IF;
  WITH held AS (
    SELECT s.account_id, s.project_id
    FROM keypup.projects p JOIN keypup.sync_state s USING (account_id, project_id)
    WHERE p.account_id = account AND p.connection_id = connection
    ORDER BY s.project_id FOR NO KEY UPDATE OF s
  )
  UPDATE keypup.sync_state s
  SET last_error = reason, last_error_hint = hint, last_error_at = now(), failures = s.failures + 1
  FROM held h WHERE s.account_id = h.account_id AND s.project_id = h.project_id;
  UPDATE keypup.connections c SET blocked_until = again_at, blocked_reason = reason
  WHERE c.account_id = account AND c.connection_id = connection;
END
$$;
REVOKE ALL ON FUNCTION keypup.app_token_failed(uuid, uuid, text, text, timestamptz, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.app_token_failed(uuid, uuid, text, text, timestamptz, boolean) TO keypup_worker;
COMMENT ON FUNCTION keypup.app_token_failed(uuid, uuid, text, text, timestamptz, boolean) IS
  'No token was to be had: the connection waits, five seconds, doubling to an hour. is_final: the provider refuses '
  'the app, which is taken as a refused token is.';

-- A token that an app was given may be taken back before its time: one more is asked for, and when that is refused,
-- too, it is over.
CREATE FUNCTION keypup.renew_refused_token(account uuid, connection uuid, job bigint, refused_revision bigint)
  RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  was_renewed boolean;
  is_current boolean;
BEGIN
  IF NOT EXISTS (SELECT FROM keypup.app_installations i
                 WHERE i.account_id = account AND i.account_id = keypup.job_account()
                   AND i.connection_id = connection) THEN
    RETURN false;
  END IF;
  -- Against the order of locks, and so only if it is free. Whoever has it gets another token, or gives another key.
  SELECT i.is_renewed INTO was_renewed FROM keypup.app_installations i
  WHERE i.account_id = account AND i.connection_id = connection FOR UPDATE SKIP LOCKED;
  IF FOUND THEN
    SELECT t.revision = refused_revision AND t.expires_at > now() INTO is_current FROM keypup.connection_tokens t
    WHERE t.account_id = account AND t.connection_id = connection AND t.purpose = 'access_token' FOR UPDATE SKIP LOCKED;
  END IF;
  IF is_current AND was_renewed THEN
    RETURN false;
  ELSIF is_current THEN
    UPDATE keypup.connection_tokens t SET expires_at = now()
    WHERE t.account_id = account AND t.connection_id = connection AND t.purpose = 'access_token';
    UPDATE keypup.app_installations i SET is_renewed = true, ask_at = now()
    WHERE i.account_id = account AND i.connection_id = connection;
  END IF;
  UPDATE keypup.sync_jobs j SET lease_id = NULL, due_at = now() + CASE WHEN is_current IS NULL THEN interval '1 second'
    ELSE interval '0' END
  WHERE j.account_id = account AND j.job_id = job;
  RETURN true;
END
$$;
REVOKE ALL ON FUNCTION keypup.renew_refused_token(uuid, uuid, bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.renew_refused_token(uuid, uuid, bigint, bigint) TO keypup_worker;
COMMENT ON FUNCTION keypup.renew_refused_token(uuid, uuid, bigint, bigint) IS
  'Whether the job is asked again with another token, of an app; false when the refusal stands.';
