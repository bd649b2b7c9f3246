-- audit/audit.sql: who did what, and who was refused what.

CREATE TABLE keypup.audit_log (
  account_id uuid,
  record_id bigint NOT NULL DEFAULT keypup.new_id(),
  occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  times bigint NOT NULL DEFAULT 1 CHECK (times > 0),
  action text NOT NULL,
  outcome text NOT NULL CHECK (outcome IN ('done', 'refused')),
  actor text,
  actor_kind text CHECK (actor_kind IN ('database_role', 'person', 'api_key')),
  claimed text,
  database_role text NOT NULL,
  client_address text,
  detail text,
  UNIQUE NULLS NOT DISTINCT (account_id, record_id)
);
CREATE INDEX audit_log_time ON keypup.audit_log (account_id, occurred_at);
CREATE INDEX audit_log_noted ON keypup.audit_log (account_id, occurred_at)
WHERE outcome = 'refused' OR action = 'support.read';
-- Its key may be NULL: where somebody publishes all tables, PostgreSQL would refuse to count what was refused again.
ALTER TABLE keypup.audit_log REPLICA IDENTITY FULL;
COMMENT ON TABLE keypup.audit_log IS
  'Who did what in an account, and who was refused what. What was done is recorded with it, or not at all; what was '
  'refused in spite of the rollback, and so are sign-ins and uses of tokens that were rolled back.';
COMMENT ON COLUMN keypup.audit_log.account_id IS
  'The account; NULL when it is none that exists, which only superusers see.';
COMMENT ON COLUMN keypup.audit_log.record_id IS
  'Identifies the record; later ones have higher numbers, which count nothing.';
COMMENT ON COLUMN keypup.audit_log.occurred_at IS 'When; of several times, the first.';
COMMENT ON COLUMN keypup.audit_log.last_at IS 'Of several times, the last.';
COMMENT ON COLUMN keypup.audit_log.times IS 'How often: what is refused again within the hour is counted.';
COMMENT ON COLUMN keypup.audit_log.action IS 'What, as subject.action.';
COMMENT ON COLUMN keypup.audit_log.outcome IS 'done or refused.';
COMMENT ON COLUMN keypup.audit_log.actor IS
  'The person, API key or database role that asked, and had proven to be it; NULL when nobody knows who it was.';
COMMENT ON COLUMN keypup.audit_log.actor_kind IS
  'database_role, person or api_key: two of them may have the same name.';
COMMENT ON COLUMN keypup.audit_log.claimed IS 'Who somebody said to be who was refused; not proven.';
COMMENT ON COLUMN keypup.audit_log.database_role IS 'The database role that was logged in.';
COMMENT ON COLUMN keypup.audit_log.client_address IS
  'From where; NULL for a local socket; several: from too many places to tell them apart.';
COMMENT ON COLUMN keypup.audit_log.detail IS 'To whom or what it was done, or why it was refused. Never a secret.';
SELECT keypup.protect_table('keypup.audit_log', 'audit.read');
REVOKE ALL ON keypup.audit_log FROM keypup_worker;

-- Not in SQL, which would plan it anew for each sign-in.
CREATE FUNCTION keypup.record_action(account_id uuid, action text, detail text, actor_kind text, actor text)
  RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO keypup.audit_log (account_id, action, outcome, actor_kind, actor, database_role, client_address, detail)
  VALUES (record_action.account_id, record_action.action, 'done', record_action.actor_kind, record_action.actor,
    session_user, host(inet_client_addr()), left(record_action.detail, 1000));
END
$$;
CREATE FUNCTION keypup.record_action(account_id uuid, action text, detail text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$ SELECT keypup.record_action(account_id, action, detail, a.kind, keypup.current_user_name())
FROM keypup.current_user_info() a $$;
REVOKE ALL ON FUNCTION keypup.record_action(uuid, text, text, text, text), keypup.record_action(uuid, text, text)
FROM PUBLIC;
COMMENT ON FUNCTION keypup.record_action(uuid, text, text, text, text) IS
  'Records what somebody does, in the transaction that does it.';
COMMENT ON FUNCTION keypup.record_action(uuid, text, text) IS
  'Records what who asks does, in the transaction that does it.';

CREATE FUNCTION keypup.note_refusal(account_id uuid, action text, detail text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_note_refusal';
CREATE FUNCTION keypup.note_refusal(account_id uuid, action text, claimed text, detail text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_note_refused_claim';
REVOKE ALL ON FUNCTION keypup.note_refusal(uuid, text, text), keypup.note_refusal(uuid, text, text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.note_refusal(uuid, text, text) IS
  'Has the worker record what is refused to who asks: before the error that rolls the transaction back.';
COMMENT ON FUNCTION keypup.note_refusal(uuid, text, text, text) IS
  'The same of somebody who has not proven to be who they say (claimed; NULL: they say nothing), as at a sign-in.';

CREATE FUNCTION keypup.note_if_undone(account_id uuid, action text, actor_kind text, actor text, detail text,
  was_done boolean, token_digest bytea) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_note_if_undone';
CREATE FUNCTION keypup.token_is_left(token_digest bytea) RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_token_is_left';
REVOKE ALL ON FUNCTION keypup.note_if_undone(uuid, text, text, text, text, boolean, bytea), keypup.token_is_left(bytea)
FROM PUBLIC;
COMMENT ON FUNCTION keypup.note_if_undone(uuid, text, text, text, text, boolean, bytea) IS
  'Has the worker record what this transaction does, should it be rolled back: as done, or as refused where it has no '
  'effect then. A token that was shown for it stays used.';
COMMENT ON FUNCTION keypup.token_is_left(bytea) IS
  'Whether the token was shown in a transaction that was rolled back, which the worker is to record.';

CREATE FUNCTION keypup.record_durably(account_id uuid, action text, detail text, actor_kind text, actor text,
  was_done boolean, token_digest bytea) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM keypup.record_action(record_durably.account_id, record_durably.action, record_durably.detail,
    record_durably.actor_kind, record_durably.actor);
  PERFORM keypup.note_if_undone(record_durably.account_id, record_durably.action, record_durably.actor_kind,
    record_durably.actor, record_durably.detail || ', rolled back', record_durably.was_done,
    record_durably.token_digest);
END
$$;
REVOKE ALL ON FUNCTION keypup.record_durably(uuid, text, text, text, text, boolean, bytea) FROM PUBLIC;
COMMENT ON FUNCTION keypup.record_durably(uuid, text, text, text, text, boolean, bytea) IS
  'Records what is done in this transaction, also if it is rolled back: see note_if_undone.';

-- What is noted again within the hour by the same, from the same place, is counted, and not written anew: somebody who
-- tries for long must not fill an account's log, nor hide in it what others did.
CREATE FUNCTION keypup.record_note(account_id uuid, first_at timestamptz, last_at timestamptz, times bigint,
  action text, outcome text, actor_kind text, actor text, claimed text, database_role text, client_address text,
  detail text, token_digest bytea) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
AS $$
DECLARE
  known record;
  counted bigint;
BEGIN
  FOR attempt IN 1 .. 2 LOOP
    SELECT count(*) AS records, count(*) FILTER (WHERE n.is_alike) AS alike,
      max(n.record_id) FILTER (WHERE n.is_alike AND n.is_same) AS same_id,
      max(n.record_id) FILTER (WHERE n.is_alike) AS alike_id
    INTO known
    FROM (
      SELECT l.record_id,
        (l.action, l.outcome, l.actor_kind, l.actor, l.database_role, l.client_address)
          IS NOT DISTINCT FROM (record_note.action, record_note.outcome, record_note.actor_kind, record_note.actor,
            record_note.database_role, record_note.client_address) AS is_alike,
        (l.claimed, l.detail) IS NOT DISTINCT FROM (record_note.claimed, record_note.detail) AS is_same
      FROM keypup.audit_log l
      WHERE (l.account_id = record_note.account_id OR record_note.account_id IS NULL AND l.account_id IS NULL)
        AND l.occurred_at > first_at - interval '1 hour' AND (l.outcome = 'refused' OR l.action = 'support.read')
    ) n;
    counted := coalesce(known.same_id, CASE WHEN known.alike >= 10 THEN known.alike_id END);
    EXIT WHEN counted IS NOT NULL OR known.records < 500;
    -- From too many places to have a record each.
    actor_kind := NULL;
    actor := NULL;
    claimed := NULL;
    client_address := 'several';
    detail := 'too many to tell them apart';
  END LOOP;
  IF counted IS NULL THEN
    INSERT INTO keypup.audit_log (account_id, occurred_at, last_at, times, action, outcome, actor_kind, actor, claimed,
      database_role, client_address, detail)
    VALUES (record_note.account_id, first_at, record_note.last_at, record_note.times, record_note.action,
      record_note.outcome, record_note.actor_kind, record_note.actor, record_note.claimed, record_note.database_role,
      record_note.client_address, record_note.detail);
  ELSE
    UPDATE keypup.audit_log l SET times = l.times + record_note.times,
      last_at = greatest(l.last_at, record_note.last_at)
    WHERE (l.account_id = record_note.account_id OR record_note.account_id IS NULL AND l.account_id IS NULL)
      AND l.record_id = counted;
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
  text, text, bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.record_note(uuid, timestamptz, timestamptz, bigint, text, text, text, text, text, text,
  text, text, bytea) TO keypup_worker;
COMMENT ON FUNCTION keypup.record_note(uuid, timestamptz, timestamptz, bigint, text, text, text, text, text, text, text,
  text, bytea) IS
  'Records what was noted, or counts it where the same was recorded within the hour, and marks the token that was '
  'shown as used; for the worker.';
