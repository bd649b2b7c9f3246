-- sync/halt.sql: connections by which nothing is asked for a while, or until somebody acts: refused tokens, used-up
-- budgets, copies of a database; and how they go on.

CREATE FUNCTION keypup.refuse_connection(account uuid, connection uuid, reason text, hint text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE keypup.connections c
  SET state = 'token_refused', blocked_until = NULL, blocked_reason = reason, blocked_hint = hint, refused_at = now(),
    retry_at = 'infinity'
  WHERE c.account_id = account AND c.connection_id = connection
$$;
-- One refusal may be an error of the provider. The second must answer what was asked after the first was known; what
-- was in flight with it tells of the same error.
CREATE FUNCTION keypup.doubt_connection(account uuid, connection uuid, reason text, hint text, doubt timestamptz)
  RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE keypup.connections c
  SET state = CASE WHEN c.refused_at = doubt THEN 'token_refused'
                   WHEN c.refused_at IS NULL THEN 'token_doubted' ELSE c.state END,
      retry_at = CASE WHEN c.refused_at = doubt THEN now() + interval '1 hour'
                      WHEN c.refused_at IS NULL THEN now() + interval '5 seconds' ELSE c.retry_at END,
      refused_at = coalesce(c.refused_at, now()), blocked_reason = reason,
      blocked_hint = CASE WHEN c.refused_at = doubt OR c.state = 'token_refused' THEN hint
                          ELSE 'Nothing yet: the provider is asked a second time, at the time in next_run_at.' END
  WHERE c.account_id = account AND c.connection_id = connection
  RETURNING c.state = 'token_refused'
$$;
REVOKE ALL ON FUNCTION keypup.refuse_connection(uuid, uuid, text, text),
  keypup.doubt_connection(uuid, uuid, text, text, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.refuse_connection(uuid, uuid, text, text),
  keypup.doubt_connection(uuid, uuid, text, text, timestamptz) TO keypup_worker;
COMMENT ON FUNCTION keypup.refuse_connection(uuid, uuid, text, text) IS
  'Stops a connection whose token cannot serve any more, until it is admitted again.';
COMMENT ON FUNCTION keypup.doubt_connection(uuid, uuid, text, text, timestamptz) IS
  'Takes a refusal of a connection''s token: the first is confirmed by a second one, seconds later, and then the '
  'token is tried once an hour. doubt: the refused_at of the connection when the provider was asked. Whether it is '
  'confirmed.';

CREATE FUNCTION keypup.admit_connection(account uuid, connection uuid, was_replaced boolean) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  -- What the token before could not read is asked for with the next runs.
  WITH refused AS (
    SELECT s.account_id, s.project_id
    FROM keypup.projects p JOIN keypup.sync_state s USING (account_id, project_id)
    WHERE p.account_id = account AND p.connection_id = connection AND s.refused_at IS NOT NULL
    ORDER BY s.project_id FOR NO KEY UPDATE OF s
  )
  UPDATE keypup.sync_state s SET refused_at = NULL
  FROM refused r WHERE s.account_id = r.account_id AND s.project_id = r.project_id;
  UPDATE keypup.connections c
  SET state = 'new', blocked_until = NULL, blocked_reason = NULL, blocked_hint = NULL, refused_at = NULL,
    retry_at = NULL,
      origin = CASE WHEN was_replaced THEN keypup.this_database() ELSE c.origin END
  WHERE c.account_id = account AND c.connection_id = connection;
$$;
REVOKE ALL ON FUNCTION keypup.admit_connection(uuid, uuid, boolean) FROM PUBLIC;
COMMENT ON FUNCTION keypup.admit_connection(uuid, uuid, boolean) IS
  'Has a connection go on with another token, or try once more with the one that it has.';

CREATE FUNCTION keypup.wait_for_budget(account uuid, job bigint, blocked_until timestamptz) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT keypup.hold_connection(j.account_id, j.connection_id)
  FROM keypup.sync_jobs j WHERE j.account_id = account AND j.job_id = job;
  SELECT keypup.release_job(account, job);
  UPDATE keypup.connections c
  SET blocked_until = wait_for_budget.blocked_until,
      blocked_reason = CASE WHEN c.refused_at IS NULL THEN 'the token''s budget is used up elsewhere'
        ELSE c.blocked_reason END,
      state = CASE WHEN c.refused_at IS NULL THEN 'ok' ELSE c.state END
  FROM keypup.sync_jobs j
  WHERE j.account_id = account AND j.job_id = job AND c.account_id = account AND c.connection_id = j.connection_id;
$$;
REVOKE ALL ON FUNCTION keypup.wait_for_budget(uuid, bigint, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.wait_for_budget(uuid, bigint, timestamptz) TO keypup_worker;
COMMENT ON FUNCTION keypup.wait_for_budget(uuid, bigint, timestamptz) IS
  'Gives a claimed job back, and stops the requests of its connection: another that uses the token was told to wait.';


CREATE FUNCTION keypup.forget_paces() RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'keypup_forget_paces';
CREATE FUNCTION keypup.resume_connections(account text DEFAULT NULL, connection text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid;
  the_connection uuid;
  resumed record;
  how_many bigint := 0;
BEGIN
  PERFORM keypup.guard_writes();
  IF account IS NULL AND connection IS NOT NULL THEN
    RAISE EXCEPTION 'an account is needed'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'Name the account of the connection, too.';
  ELSIF account IS NOT NULL THEN
    SELECT a.account_id INTO the_account FROM keypup.accounts a WHERE a.name = account;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'account "%" does not exist', account
        USING ERRCODE = 'undefined_object', HINT = 'SELECT name FROM keypup.accounts shows the accounts.';
    END IF;
  END IF;
  IF connection IS NOT NULL THEN
    the_connection := keypup.find_connection(the_account, connection);
  END IF;
  PERFORM keypup.forget_paces();
  FOR resumed IN
    WITH halted AS (
      SELECT c.account_id, c.connection_id, c.origin <> keypup.this_database() AS is_restored
      FROM keypup.connections c
      WHERE (the_account IS NULL OR c.account_id = the_account)
        AND (the_connection IS NULL OR c.connection_id = the_connection)
        AND (c.blocked_until IS NOT NULL OR isfinite(c.retry_at) OR c.origin <> keypup.this_database())
      ORDER BY c.account_id, c.connection_id
      FOR NO KEY UPDATE
    )
    UPDATE keypup.connections c
    SET origin = keypup.this_database(), blocked_until = NULL,
        retry_at = CASE WHEN NOT isfinite(c.retry_at) THEN c.retry_at END,
        blocked_reason = CASE WHEN c.refused_at IS NOT NULL THEN c.blocked_reason END
    FROM halted h WHERE c.account_id = h.account_id AND c.connection_id = h.connection_id
    RETURNING c.account_id, c.name, h.is_restored
  LOOP
    how_many := how_many + 1;
    IF resumed.is_restored THEN
      PERFORM keypup.record_action(resumed.account_id, 'connection.resume', format('"%s"', resumed.name));
    END IF;
  END LOOP;
  UPDATE keypup.identity_providers p SET origin = keypup.this_database()
  WHERE (the_account IS NULL OR p.account_id = the_account) AND the_connection IS NULL
    AND p.origin <> keypup.this_database();
  PERFORM keypup.wake_launcher();
  RETURN how_many;
END
$$;
REVOKE ALL ON FUNCTION keypup.forget_paces(), keypup.resume_connections(text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.forget_paces() IS 'Forgets what providers told of tokens'' budgets, in the whole server.';
COMMENT ON FUNCTION keypup.resume_connections(text, text) IS
  'Has this database read by connections that were made in another one, of which it is a copy; all, or those of an '
  'account, or one of them. Ends the pauses that providers asked for, where they were asked in error or are over '
  'already; the next answers tell anew. Tokens that providers refused are tried at once. Returns how many connections '
  'were resumed. For operators: granted to nobody.';
