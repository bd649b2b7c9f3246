-- forward/batch.sql: what is sent next, and to which sink. A sink has one request under way: so records of an account
-- arrive in their order.

-- What is older than the first record that is kept is no longer there to be sent. An account's sink is looked up by its
-- account; the operator's have those of all.
CREATE VIEW keypup.audit_backlog WITH (security_invoker = true) AS
SELECT b.account_id, b.sink_id, b.of_account, p.sent_at, b.sealed,
  coalesce(p.sequence, (SELECT min(k.sequence) FROM keypup.audit_boundaries k WHERE k.account_id = b.of_account), 0)
    AS sent
FROM (
  SELECT s.account_id, s.sink_id, h.account_id AS of_account, h.sequence AS sealed
  FROM keypup.audit_sinks s
  JOIN keypup.audit_heads h ON h.account_id = s.account_id
  WHERE s.account_id <> '00000000-0000-0000-0000-000000000000' AND s.origin = keypup.this_database()
  UNION ALL
  SELECT s.account_id, s.sink_id, h.account_id, h.sequence
  FROM keypup.audit_sinks s
  CROSS JOIN keypup.audit_heads h
  WHERE s.account_id = '00000000-0000-0000-0000-000000000000' AND s.origin = keypup.this_database()
) AS b
LEFT JOIN keypup.audit_sink_positions p
  ON p.account_id = b.account_id AND p.sink_id = b.sink_id AND p.of_account = b.of_account
WHERE b.sealed > coalesce(p.sequence, 0);
REVOKE ALL ON keypup.audit_backlog FROM PUBLIC;
COMMENT ON VIEW keypup.audit_backlog IS
  'Which sink has not taken all sealed records of which account. Granted to nobody.';
COMMENT ON COLUMN keypup.audit_backlog.account_id IS 'Whose sink it is.';
COMMENT ON COLUMN keypup.audit_backlog.sink_id IS 'The sink.';
COMMENT ON COLUMN keypup.audit_backlog.of_account IS 'Whose records they are.';
COMMENT ON COLUMN keypup.audit_backlog.sent_at IS 'When it last took some of these; NULL: never.';
COMMENT ON COLUMN keypup.audit_backlog.sealed IS 'Number of the last sealed record.';
COMMENT ON COLUMN keypup.audit_backlog.sent IS 'Number of the last that was sent, or has expired.';

CREATE FUNCTION keypup.advance_audit_sink(account_id uuid, sink_id bigint, progress jsonb) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  INSERT INTO keypup.audit_sink_positions AS p (account_id, sink_id, of_account, sequence, sent_at)
  SELECT s.account_id, s.sink_id, j.key::uuid, j.value::bigint, clock_timestamp()
  FROM keypup.audit_sinks s CROSS JOIN jsonb_each_text(progress) j
  WHERE s.account_id = advance_audit_sink.account_id AND s.sink_id = advance_audit_sink.sink_id
  ORDER BY j.key
  ON CONFLICT ON CONSTRAINT audit_sink_positions_pkey DO UPDATE
    SET sequence = greatest(p.sequence, excluded.sequence), sent_at = excluded.sent_at
$$;
REVOKE ALL ON FUNCTION keypup.advance_audit_sink(uuid, bigint, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION keypup.advance_audit_sink(uuid, bigint, jsonb) IS
  'Keeps that a sink has the records up to these: for each account the number of the last.';

-- Accounts that waited longest come first. Of one, or of many, so many records as a request may have.
CREATE FUNCTION keypup.make_audit_batch(sink keypup.audit_sinks, OUT body text, OUT records integer,
  OUT progress jsonb)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  -- A request has up to a megabyte.
  bytes_left bigint := 1000000;
  parts text[] := '{}';
  behind record;
  part record;
  next bigint;
BEGIN
  records := 0;
  progress := '{}';
  FOR behind IN
    SELECT b.of_account, b.sent, b.sealed, a.name FROM keypup.audit_backlog b
    LEFT JOIN keypup.accounts a ON a.account_id = b.of_account
    WHERE b.account_id = sink.account_id AND b.sink_id = sink.sink_id
    ORDER BY b.sent_at NULLS FIRST, b.of_account LIMIT 100
  LOOP
    SELECT string_agg(f.entry, CASE sink.kind WHEN 'log' THEN E'\n' ELSE ',' END ORDER BY f.sequence) AS entries,
      max(f.sequence) AS last, count(*) AS found, sum(octet_length(f.entry)) AS bytes INTO part
    FROM (
      SELECT e.*, sum(octet_length(e.entry)) OVER (ORDER BY e.sequence) AS bytes
      FROM (
        SELECT l.sequence, CASE sink.kind WHEN 'otlp' THEN keypup.audit_record_otlp(l)
          WHEN 'google' THEN keypup.audit_record_google(l, behind.name)
          ELSE keypup.audit_record_json(l, behind.name) END AS entry
        FROM keypup.audit_log l
        WHERE l.account_id = behind.of_account AND l.sequence > behind.sent
          AND l.sequence <= behind.sent + sink.batch_size - records
      ) e
    ) f
    WHERE f.bytes <= bytes_left;
    IF part.found > 0 THEN
      records := records + part.found;
      bytes_left := bytes_left - part.bytes;
      parts := parts || CASE sink.kind
        WHEN 'otlp' THEN keypup.audit_records_otlp(behind.of_account, behind.name, part.entries)
        ELSE part.entries END;
      progress := progress || jsonb_build_object(behind.of_account::text, part.last);
    ELSE
      SELECT min(k.sequence) INTO next FROM keypup.audit_log k
      WHERE k.account_id = behind.of_account AND k.sequence > behind.sent;
      -- Those up to the next have expired, or verify_audit tells.
      IF next IS DISTINCT FROM behind.sent + 1 THEN
        PERFORM keypup.advance_audit_sink(sink.account_id, sink.sink_id,
          jsonb_build_object(behind.of_account::text, coalesce(next - 1, behind.sealed)));
      END IF;
    END IF;
    EXIT WHEN records >= sink.batch_size OR bytes_left < 10000;
  END LOOP;
  body := CASE sink.kind
    WHEN 'otlp' THEN '{"resourceLogs":[' || array_to_string(parts, ',') || ']}'
    WHEN 'google' THEN concat('{"logName":', to_json(sink.log_name)::text,
      ',"resource":{"type":"global","labels":{"project_id":', to_json(split_part(sink.log_name, '/', 2))::text,
      '}},"labels":{"database":', to_json(current_database()::text)::text,
      '},"partialSuccess":true,"entries":[', array_to_string(parts, ','), ']}')
    ELSE array_to_string(parts, E'\n') END;
END
$$;
REVOKE ALL ON FUNCTION keypup.make_audit_batch(keypup.audit_sinks) FROM PUBLIC;
COMMENT ON FUNCTION keypup.make_audit_batch(keypup.audit_sinks) IS
  'The next records for a sink, as a request has them, and for each account the number of the last.';

-- Sees all accounts, and so runs as the owner. A request that nobody answers, as its worker is gone, is made again.
CREATE FUNCTION keypup.claim_audit_batches(lease bigint, accounts_set_aside uuid[], OUT account_id uuid,
  OUT sink_id bigint, OUT kind text, OUT url text, OUT body text, OUT records integer, OUT progress jsonb,
  OUT envelope bytea, OUT context text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SECURITY DEFINER ROWS 4 SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  busy record;
  leases bigint[];
  sink keypup.audit_sinks;
  shown record;
  now_at timestamptz := clock_timestamp();
  sealed_times bigint;
BEGIN
  IF NOT EXISTS (SELECT FROM keypup.audit_sinks) THEN
    RETURN;
  END IF;
  -- To ask whether there is anything for a sink of all accounts costs as much as there are accounts: it is asked once
  -- after records were sealed. Read before, so that what is sealed meanwhile is asked about the next time.
  SELECT c.seals INTO sealed_times FROM keypup.audit_clock c;
  UPDATE keypup.audit_sinks s SET forwarded_seals = sealed_times
  FROM (
    SELECT o.sink_id FROM keypup.audit_sinks o
    WHERE o.account_id = '00000000-0000-0000-0000-000000000000' AND o.forwarded_seals IS DISTINCT FROM sealed_times
      AND NOT EXISTS (SELECT FROM keypup.audit_backlog b WHERE b.account_id = o.account_id AND b.sink_id = o.sink_id)
    FOR UPDATE SKIP LOCKED
  ) w
  WHERE s.account_id = '00000000-0000-0000-0000-000000000000' AND s.sink_id = w.sink_id;
  leases := ARRAY(SELECT keypup.live_leases());
  SELECT count(*) AS sinks, count(*) FILTER (WHERE s.is_slow) AS slow INTO busy FROM keypup.audit_sinks s
  WHERE s.lease_id = ANY (leases) AND s.claimed_at > now_at - interval '1 minute';
  FOR sink IN
    SELECT s.* FROM keypup.audit_sinks s
    WHERE s.next_attempt_at <= now_at AND s.account_id <> ALL (accounts_set_aside)
      AND (s.lease_id IS NULL OR s.lease_id <> ALL (leases) OR s.claimed_at < now_at - interval '1 minute')
      AND (busy.slow < 8 OR NOT s.is_slow)
      AND (s.account_id <> '00000000-0000-0000-0000-000000000000' OR s.forwarded_seals IS DISTINCT FROM sealed_times)
      AND EXISTS (SELECT FROM keypup.audit_backlog b WHERE b.account_id = s.account_id AND b.sink_id = s.sink_id)
    ORDER BY s.claimed_at NULLS FIRST
    -- Workers that claim at once may have gone beyond.
    LIMIT greatest(0, least(4, 32 - busy.sinks))
    FOR UPDATE OF s SKIP LOCKED
  LOOP
    SELECT x.envelope, keypup.audit_sink_context(x.account_id, x.sink_id, x.revision, x.purpose) AS context INTO shown
    FROM keypup.audit_sink_secrets x
    WHERE x.account_id = sink.account_id AND x.sink_id = sink.sink_id
      AND (x.expires_at IS NULL OR x.expires_at > now_at + interval '1 minute')
    -- Of two, an access token.
    ORDER BY x.purpose LIMIT 1;
    IF sink.kind = 'google' AND shown.context LIKE '%/service_account_key' THEN
      -- https://developers.google.com/identity/protocols/oauth2/service-account#httprest
      kind := 'token';
      url := sink.token_url;
      body := jsonb_build_object('iss', sink.client_email, 'aud', sink.token_url,
        'scope', 'https://www.googleapis.com/auth/logging.write', 'iat', extract(epoch FROM now_at)::bigint,
        'exp', extract(epoch FROM now_at)::bigint + 3600)::text;
      records := 0;
      progress := '{}';
    ELSE
      kind := sink.kind;
      url := sink.url || CASE kind WHEN 'otlp' THEN '/v1/logs' ELSE '/v2/entries:write' END;
      SELECT b.body, b.records, b.progress INTO body, records, progress FROM keypup.make_audit_batch(sink) b;
    END IF;
    CONTINUE WHEN records = 0 AND kind <> 'token';
    UPDATE keypup.audit_sinks s SET lease_id = lease, claimed_at = now_at
    WHERE s.account_id = sink.account_id AND s.sink_id = sink.sink_id;
    account_id := sink.account_id;
    sink_id := sink.sink_id;
    envelope := shown.envelope;
    context := shown.context;
    RETURN NEXT;
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION keypup.claim_audit_batches(bigint, uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.claim_audit_batches(bigint, uuid[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.claim_audit_batches(bigint, uuid[]) IS
  'What is to be sent now to which sinks, with what each is shown, sealed; for the worker.';
