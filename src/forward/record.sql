-- forward/record.sql: a record of the audit log as each kind of sink takes it. Not in SQL, which would plan it anew.

CREATE FUNCTION keypup.audit_record_time(at timestamptz) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
END
$$;
REVOKE ALL ON FUNCTION keypup.audit_record_time(timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION keypup.audit_record_time(timestamptz) IS 'A time in UTC, to the microsecond, as RFC 3339 has it.';

-- Whoever changes what is in it raises schema.
CREATE FUNCTION keypup.audit_record_json(l keypup.audit_log, account text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN json_build_object('schema', 'keypup.audit/1', 'account_id', l.account_id, 'account', account,
    'sequence', l.sequence, 'record_id', l.record_id, 'occurred_at', keypup.audit_record_time(l.occurred_at),
    'last_at', keypup.audit_record_time(l.last_at), 'times', l.times, 'action', l.action, 'outcome', l.outcome,
    'actor', l.actor, 'actor_kind', l.actor_kind, 'claimed', l.claimed, 'database_role', l.database_role,
    'client_address', l.client_address, 'application_name', l.application_name, 'detail', l.detail,
    'seal', encode(l.seal, 'hex'), 'seal_key', l.seal_key)::text;
END
$$;
REVOKE ALL ON FUNCTION keypup.audit_record_json(keypup.audit_log, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.audit_record_json(keypup.audit_log, text) IS
  'A record as one line of JSON, with all its members whether they have a value or not; schema says which they are.';

-- https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry. Entries of one insertId and one time are one,
-- and those of one time are in the order of their insertIds.
CREATE FUNCTION keypup.audit_record_google(l keypup.audit_log, account text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN concat('{"insertId":"', l.account_id, '-', lpad(l.sequence::text, 19, '0'), '-', l.record_id,
    '","timestamp":"', keypup.audit_record_time(l.occurred_at), '","severity":"',
    CASE l.outcome WHEN 'done' THEN 'NOTICE' ELSE 'WARNING' END, '","labels":{"account_id":"', l.account_id, '"},',
    '"jsonPayload":', keypup.audit_record_json(l, account), '}');
END
$$;
REVOKE ALL ON FUNCTION keypup.audit_record_google(keypup.audit_log, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.audit_record_google(keypup.audit_log, text) IS
  'A record as a LogEntry of Google Cloud Logging.';

CREATE FUNCTION keypup.audit_attribute(key text, value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN '{"key":"' || key || '","value":{"stringValue":' || to_json(value)::text || '}}';
END
$$;
REVOKE ALL ON FUNCTION keypup.audit_attribute(text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.audit_attribute(text, text) IS 'An attribute, as OTLP''s JSON has it; NULL without a value.';

-- https://opentelemetry.io/docs/specs/otel/logs/data-model/: severities 9 and 13 are INFO and WARN; log.record.uid
-- tells records that arrive twice. Whole numbers of 64 bits are text in the JSON of OTLP; what has no value is left
-- out. In one expression, without a function for an attribute, which would cost as much as all the rest.
CREATE FUNCTION keypup.audit_record_otlp(l keypup.audit_log) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN concat('{"timeUnixNano":"', (extract(epoch FROM l.occurred_at) * 1000000)::bigint, '000",',
    '"observedTimeUnixNano":"', (extract(epoch FROM l.last_at) * 1000000)::bigint, '000",',
    CASE l.outcome WHEN 'done' THEN '"severityNumber":9,"severityText":"INFO"'
      ELSE '"severityNumber":13,"severityText":"WARN"' END,
    ',"eventName":"keypup.audit","body":{"stringValue":',
    to_json(concat_ws(' ', l.action, l.outcome || ':', l.detail))::text, '},"attributes":[', concat_ws(',',
      '{"key":"log.record.uid","value":{"stringValue":"' || l.account_id || '-' || l.sequence || '-' || l.record_id
        || '"}}',
      '{"key":"keypup.audit.sequence","value":{"intValue":"' || l.sequence || '"}}',
      '{"key":"keypup.audit.record_id","value":{"intValue":"' || l.record_id || '"}}',
      '{"key":"keypup.audit.times","value":{"intValue":"' || l.times || '"}}',
      '{"key":"keypup.audit.outcome","value":{"stringValue":"' || l.outcome || '"}}',
      '{"key":"keypup.audit.seal","value":{"stringValue":"' || encode(l.seal, 'hex') || '"}}',
      '{"key":"keypup.audit.seal_key","value":{"intValue":"' || l.seal_key || '"}}',
      '{"key":"keypup.audit.action","value":{"stringValue":' || to_json(l.action)::text || '}}',
      '{"key":"keypup.audit.last_at","value":{"stringValue":"' || keypup.audit_record_time(l.last_at) || '"}}',
      '{"key":"keypup.audit.actor","value":{"stringValue":' || to_json(l.actor)::text || '}}',
      '{"key":"keypup.audit.actor_kind","value":{"stringValue":' || to_json(l.actor_kind)::text || '}}',
      '{"key":"keypup.audit.claimed","value":{"stringValue":' || to_json(l.claimed)::text || '}}',
      '{"key":"keypup.audit.database_role","value":{"stringValue":' || to_json(l.database_role)::text || '}}',
      '{"key":"client.address","value":{"stringValue":' || to_json(l.client_address)::text || '}}',
      '{"key":"keypup.audit.application_name","value":{"stringValue":' || to_json(l.application_name)::text || '}}',
      '{"key":"keypup.audit.detail","value":{"stringValue":' || to_json(l.detail)::text || '}}'), ']}');
END
$$;
REVOKE ALL ON FUNCTION keypup.audit_record_otlp(keypup.audit_log) FROM PUBLIC;
COMMENT ON FUNCTION keypup.audit_record_otlp(keypup.audit_log) IS 'A record as a LogRecord of OTLP.';

CREATE FUNCTION keypup.audit_records_otlp(account_id uuid, account text, records text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN concat('{"resource":{"attributes":[', concat_ws(',',
      keypup.audit_attribute('service.name', 'keypup'),
      keypup.audit_attribute('service.version', (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'keypup')),
      keypup.audit_attribute('service.instance.id', keypup.this_database()),
      keypup.audit_attribute('db.namespace', current_database()::text),
      keypup.audit_attribute('keypup.account.id', account_id::text),
      keypup.audit_attribute('keypup.account.name', account)),
    ']},"scopeLogs":[{"scope":{"name":"keypup.audit_log","version":"1"},"logRecords":[', records, ']}]}');
END
$$;
REVOKE ALL ON FUNCTION keypup.audit_records_otlp(uuid, text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.audit_records_otlp(uuid, text, text) IS
  'Records of an account as ResourceLogs of OTLP: the resource is the account in this database.';
