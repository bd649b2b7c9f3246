-- forward/status.sql: how far each sink is, and what is kept for it.

CREATE FUNCTION keypup.list_audit_sinks(OUT account_id uuid, OUT account text, OUT sink text, OUT kind text,
  OUT url text, OUT log_name text, OUT last_sent_at timestamptz, OUT sent_records bigint, OUT rejected_records bigint,
  OUT lag_records bigint, OUT lag_seconds bigint, OUT failures bigint, OUT last_error text, OUT last_error_hint text,
  OUT last_error_at timestamptz, OUT next_attempt_at timestamptz)
RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, pg_temp
AS $$
  WITH asked AS MATERIALIZED (
    -- Of an account that is not there, only superusers have the permission.
    SELECT keypup.has_permission('00000000-0000-0000-0000-000000000000'::uuid, 'audit.read') AS for_all,
           ARRAY(SELECT keypup.my_accounts('audit.read')) AS accounts
  )
  SELECT s.account_id, a.name, s.name, s.kind, s.url, s.log_name, s.last_sent_at, s.sent_records, s.rejected_records,
    CASE WHEN o.is_here THEN coalesce(b.records, 0) END,
    CASE WHEN o.is_here
      THEN coalesce(greatest(extract(epoch FROM clock_timestamp() - b.first_at), 0), 0)::bigint END,
    s.failures,
    CASE WHEN o.is_here THEN s.last_error ELSE 'this is a copy of the database in which it was set' END,
    CASE WHEN o.is_here THEN s.last_error_hint
      ELSE 'To forward from here, set it again with keypup.set_audit_sink.' END,
    s.last_error_at, CASE WHEN o.is_here AND b.records > 0 THEN s.next_attempt_at END
  FROM asked
  JOIN keypup.audit_sinks s ON asked.for_all OR s.account_id = ANY (asked.accounts)
  CROSS JOIN LATERAL (SELECT s.origin = keypup.this_database() AS is_here) o
  LEFT JOIN keypup.accounts a ON a.account_id = s.account_id
  CROSS JOIN LATERAL (
    SELECT sum(l.sealed - l.sent)::bigint AS records, min((
      SELECT r.occurred_at FROM keypup.audit_log r WHERE r.account_id = l.of_account AND r.sequence > l.sent
      ORDER BY r.sequence LIMIT 1)) AS first_at
    FROM keypup.audit_backlog l WHERE l.account_id = s.account_id AND l.sink_id = s.sink_id
  ) b
$$;
REVOKE ALL ON FUNCTION keypup.list_audit_sinks() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.list_audit_sinks() TO keypup_member;
COMMENT ON FUNCTION keypup.list_audit_sinks() IS
  'The sinks of the accounts in which the current user may read the audit log, and how far each is; all for '
  'superusers.';

CREATE VIEW keypup.audit_forwarding WITH (security_invoker = true, security_barrier = true) AS
SELECT s.account_id, s.account, s.sink, s.kind, s.url, s.log_name, s.last_sent_at, s.sent_records, s.rejected_records,
  s.lag_records, s.lag_seconds, s.failures, s.last_error, s.last_error_hint, s.last_error_at, s.next_attempt_at
FROM keypup.list_audit_sinks() s;
REVOKE ALL ON keypup.audit_forwarding FROM PUBLIC;
GRANT SELECT ON keypup.audit_forwarding TO keypup_member;
COMMENT ON VIEW keypup.audit_forwarding IS 'One row a sink of the audit log: how far it is, and what is in its way.';
COMMENT ON COLUMN keypup.audit_forwarding.account_id IS 'The account whose log it gets; zeros: those of all.';
COMMENT ON COLUMN keypup.audit_forwarding.account IS 'Name of the account.';
COMMENT ON COLUMN keypup.audit_forwarding.sink IS 'Name of the sink.';
COMMENT ON COLUMN keypup.audit_forwarding.kind IS 'otlp, google, or log for the server''s own log.';
COMMENT ON COLUMN keypup.audit_forwarding.url IS 'Where records are sent to; of a Collector, without /v1/logs.';
COMMENT ON COLUMN keypup.audit_forwarding.log_name IS 'Of Google Cloud Logging, the log.';
COMMENT ON COLUMN keypup.audit_forwarding.last_sent_at IS 'When it last took records.';
COMMENT ON COLUMN keypup.audit_forwarding.sent_records IS 'How many it has taken; what arrived twice counts twice.';
COMMENT ON COLUMN keypup.audit_forwarding.rejected_records IS
  'How many it has refused for good: the server''s log says among which they are.';
COMMENT ON COLUMN keypup.audit_forwarding.lag_records IS 'How many sealed records it has not taken yet.';
COMMENT ON COLUMN keypup.audit_forwarding.lag_seconds IS
  'How long ago the oldest of them happened; 0 when there is none.';
COMMENT ON COLUMN keypup.audit_forwarding.failures IS 'How many requests have failed since the last that did not.';
COMMENT ON COLUMN keypup.audit_forwarding.last_error IS 'Why the last one failed; NULL once one has not.';
COMMENT ON COLUMN keypup.audit_forwarding.last_error_hint IS 'What to do about it.';
COMMENT ON COLUMN keypup.audit_forwarding.last_error_at IS 'When that was.';
COMMENT ON COLUMN keypup.audit_forwarding.next_attempt_at IS
  'Before then nothing is sent; NULL when there is nothing to send.';

CREATE FUNCTION keypup.unforwarded_accounts(partition regclass) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM keypup.audit_sinks s WHERE s.origin = keypup.this_database()) THEN
    RETURN;
  END IF;
  RETURN QUERY EXECUTE format('SELECT b.of_account FROM keypup.audit_backlog b WHERE EXISTS ('
    'SELECT FROM %1$s l WHERE l.account_id = b.of_account AND l.sequence > b.sent) '
    'UNION SELECT l.account_id FROM %1$s l JOIN keypup.audit_sinks s '
    'ON s.account_id IN (l.account_id, $1) AND s.origin = keypup.this_database() WHERE l.sequence IS NULL', partition)
    USING '00000000-0000-0000-0000-000000000000'::uuid;
END
$$;
REVOKE ALL ON FUNCTION keypup.unforwarded_accounts(regclass) FROM PUBLIC;
COMMENT ON FUNCTION keypup.unforwarded_accounts(regclass) IS
  'The accounts of whose records of a day a sink has not taken all.';

CREATE FUNCTION keypup.kept_accounts(partition regclass) RETURNS uuid[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT ARRAY(SELECT h.account_id FROM keypup.audit_holds h UNION SELECT keypup.unforwarded_accounts(partition))
$$;
REVOKE ALL ON FUNCTION keypup.kept_accounts(regclass) FROM PUBLIC;
COMMENT ON FUNCTION keypup.kept_accounts(regclass) IS
  'The accounts whose records of a day are kept after keypup.audit_retention: held, or not yet forwarded.';
