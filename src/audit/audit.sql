-- audit/audit.sql: who did what, and who was refused what.

CREATE TABLE keypup.audit_log (
  account_id uuid,
  record_id bigint GENERATED ALWAYS AS IDENTITY,
  occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  action text NOT NULL,
  outcome text NOT NULL CHECK (outcome IN ('done', 'refused')),
  actor text,
  database_role text NOT NULL,
  client_address text,
  detail text,
  UNIQUE NULLS NOT DISTINCT (account_id, record_id)
);
CREATE INDEX audit_log_time ON keypup.audit_log (account_id, occurred_at);
COMMENT ON TABLE keypup.audit_log IS 'Who did what in an account, and who was refused what. What was done is recorded with it, or not at all; what was refused in spite of the rollback.';
COMMENT ON COLUMN keypup.audit_log.account_id IS 'The account; NULL when it is none that exists, which only superusers see.';
COMMENT ON COLUMN keypup.audit_log.record_id IS 'Identifies the record.';
COMMENT ON COLUMN keypup.audit_log.occurred_at IS 'When.';
COMMENT ON COLUMN keypup.audit_log.action IS 'What, as subject.action.';
COMMENT ON COLUMN keypup.audit_log.outcome IS 'done or refused.';
COMMENT ON COLUMN keypup.audit_log.actor IS 'The person, API key or database role that asked; NULL when nobody knows who it was.';
COMMENT ON COLUMN keypup.audit_log.database_role IS 'The database role that was logged in.';
COMMENT ON COLUMN keypup.audit_log.client_address IS 'From where; NULL for a local socket.';
COMMENT ON COLUMN keypup.audit_log.detail IS 'To whom or what it was done, or why it was refused. Never a secret.';
SELECT keypup.protect_table('keypup.audit_log', 'audit.read');
REVOKE ALL ON keypup.audit_log FROM keypup_worker;

CREATE FUNCTION keypup.record_action(account_id uuid, action text, detail text DEFAULT NULL, actor text DEFAULT keypup.asking_role()) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  INSERT INTO keypup.audit_log (account_id, action, outcome, actor, database_role, client_address, detail)
  VALUES (record_action.account_id, record_action.action, 'done', record_action.actor, session_user, host(inet_client_addr()), left(record_action.detail, 1000))
$$;
REVOKE ALL ON FUNCTION keypup.record_action(uuid, text, text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.record_action(uuid, text, text, text) IS 'Records what is done, in the transaction that does it.';

CREATE FUNCTION keypup.note_refusal(account_id uuid, action text, actor text, detail text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_note_refusal';
REVOKE ALL ON FUNCTION keypup.note_refusal(uuid, text, text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.note_refusal(uuid, text, text, text) IS 'Has the worker record a refusal: before the error that rolls the transaction back.';

CREATE FUNCTION keypup.record_refusal(account_id uuid, occurred_at timestamptz, action text, actor text, database_role text, client_address text, detail text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  INSERT INTO keypup.audit_log (account_id, occurred_at, action, outcome, actor, database_role, client_address, detail)
  VALUES (record_refusal.account_id, record_refusal.occurred_at, record_refusal.action, 'refused', nullif(record_refusal.actor, ''), record_refusal.database_role,
    nullif(record_refusal.client_address, ''), nullif(record_refusal.detail, ''))
$$;
REVOKE ALL ON FUNCTION keypup.record_refusal(uuid, timestamptz, text, text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.record_refusal(uuid, timestamptz, text, text, text, text, text) TO keypup_worker;
COMMENT ON FUNCTION keypup.record_refusal(uuid, timestamptz, text, text, text, text, text) IS 'Records a refusal that was noted; for the worker.';
