-- audit/audit.sql: who did what, and who was refused what.

-- Records of no account that exists belong to the one of zeros, which nobody is a member of.
CREATE TABLE keypup.audit_log (
  account_id uuid NOT NULL,
  record_id bigint NOT NULL DEFAULT keypup.new_id(),
  occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  times bigint NOT NULL DEFAULT 1 CHECK (times > 0),
  action text NOT NULL,
  outcome text NOT NULL CHECK (outcome IN ('done', 'refused')),
  actor text,
  actor_kind text CHECK (actor_kind IN ('database_role', 'person', 'api_key', 'worker')),
  claimed text,
  database_role text NOT NULL,
  client_address text,
  application_name text,
  detail text,
  counts_until timestamptz,
  sequence bigint,
  seal bytea,
  seal_key integer
) PARTITION BY RANGE (record_id);
COMMENT ON TABLE keypup.audit_log IS
  'Who did what in an account, and who was refused what. What was done is recorded with it, or not at all; what was '
  'refused in spite of the rollback, and so are sign-ins and uses of tokens that were rolled back. audit_actions has '
  'what each action is. A partition a day.';
COMMENT ON COLUMN keypup.audit_log.account_id IS
  'The account; zeros when it is none that exists: only superusers see these.';
COMMENT ON COLUMN keypup.audit_log.record_id IS
  'Identifies the record; later ones have higher numbers, which count nothing: microseconds since 2000.';
COMMENT ON COLUMN keypup.audit_log.occurred_at IS 'When; of several times, the first.';
COMMENT ON COLUMN keypup.audit_log.last_at IS 'Of several times, the last.';
COMMENT ON COLUMN keypup.audit_log.times IS 'How often: what is refused or used again soon is counted.';
COMMENT ON COLUMN keypup.audit_log.action IS 'What, as subject.action: see audit_actions.';
COMMENT ON COLUMN keypup.audit_log.outcome IS 'done or refused.';
COMMENT ON COLUMN keypup.audit_log.actor IS
  'The person, API key or database role that asked, and had proven to be it, or the worker; NULL when nobody knows who '
  'it was.';
COMMENT ON COLUMN keypup.audit_log.actor_kind IS
  'database_role, person, api_key or worker: two of them may have the same name.';
COMMENT ON COLUMN keypup.audit_log.claimed IS 'Who somebody said to be who was refused; not proven.';
COMMENT ON COLUMN keypup.audit_log.database_role IS 'The database role that was logged in.';
COMMENT ON COLUMN keypup.audit_log.client_address IS
  'From where; NULL for a local socket; several: from too many places to tell them apart.';
COMMENT ON COLUMN keypup.audit_log.application_name IS
  'What the session said to be, as in pg_stat_activity; of several times, the first.';
COMMENT ON COLUMN keypup.audit_log.detail IS 'To whom or what it was done, or why it was refused. Never a secret.';
COMMENT ON COLUMN keypup.audit_log.counts_until IS
  'Until then the same is counted in this record; NULL where it has one each time.';
COMMENT ON COLUMN keypup.audit_log.sequence IS
  'Number of the sealed record in the account, in the order in which they were sealed; NULL while it is not.';
COMMENT ON COLUMN keypup.audit_log.seal IS
  'HMAC-SHA-256 of the record and of the seal before, under a key that is not in the tables: see verify_audit.';
COMMENT ON COLUMN keypup.audit_log.seal_key IS 'The data key that the key of the seal is derived from.';
SELECT keypup.protect_table('keypup.audit_log', 'audit.read');
REVOKE ALL ON keypup.audit_log FROM keypup_worker;

-- What no day has a partition for. Keys and indexes are the partitions' own: pg_dump makes a partition before its keys,
-- and so would find those of the whole there already.
CREATE TABLE keypup.audit_log_other PARTITION OF keypup.audit_log (PRIMARY KEY (account_id, record_id)) DEFAULT;
CREATE INDEX audit_log_other_action ON keypup.audit_log_other (account_id, action, record_id);
CREATE INDEX audit_log_other_time ON keypup.audit_log_other (account_id, occurred_at);
CREATE INDEX audit_log_other_noted ON keypup.audit_log_other (account_id, occurred_at) WHERE counts_until IS NOT NULL;
CREATE UNIQUE INDEX audit_log_other_sequence ON keypup.audit_log_other (account_id, sequence);
CREATE INDEX audit_log_other_unsealed ON keypup.audit_log_other (record_id) WHERE sequence IS NULL;
COMMENT ON TABLE keypup.audit_log_other IS
  'Records of days that have no partition yet, as before the worker makes it. Read audit_log.';
SELECT keypup.close_table('keypup.audit_log_other');

-- Not in SQL, which would plan it anew for each sign-in.
CREATE FUNCTION keypup.record_action(account_id uuid, action text, detail text, actor_kind text, actor text)
  RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO keypup.audit_log (account_id, action, outcome, actor_kind, actor, database_role, client_address,
    application_name, detail)
  VALUES (coalesce(nullif(record_action.account_id, keypup.audit_key_account()),
      '00000000-0000-0000-0000-000000000000'::uuid), record_action.action, 'done', record_action.actor_kind,
    record_action.actor, session_user, host(inet_client_addr()), nullif(current_setting('application_name'), ''),
    left(record_action.detail, 1000));
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

CREATE FUNCTION keypup.record_work(account_id uuid, action text, detail text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT keypup.record_action(account_id, action, detail, 'worker', 'worker') $$;
REVOKE ALL ON FUNCTION keypup.record_work(uuid, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.record_work(uuid, text, text) TO keypup_worker;
COMMENT ON FUNCTION keypup.record_work(uuid, text, text) IS
  'Records what the worker does by itself, or CALL keypup.sync in its place.';

CREATE FUNCTION keypup.record_sync(action text, account_id uuid, project_id bigint) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT keypup.record_work(p.account_id, action, p.name)
  FROM keypup.projects p WHERE p.account_id = record_sync.account_id AND p.project_id = record_sync.project_id
$$;
REVOKE ALL ON FUNCTION keypup.record_sync(text, uuid, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.record_sync(text, uuid, bigint) TO keypup_worker;
COMMENT ON FUNCTION keypup.record_sync(text, uuid, bigint) IS 'Records that a run of a project starts or ends.';

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
