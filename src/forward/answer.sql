-- forward/answer.sql: what a sink's answer means. Nothing that it says in words is kept: it might repeat what it was
-- shown.

CREATE FUNCTION keypup.retry_after(header text) RETURNS interval
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET "TimeZone" = 'GMT' SET "DateStyle" = 'ISO, DMY'
AS $$
BEGIN
  IF header ~ '^[0-9]{1,9}$' THEN
    RETURN least(header::bigint, 3600) * interval '1 second';
  ELSIF header ~ '^[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT$' THEN
    RETURN least(greatest(header::timestamptz - clock_timestamp(), interval '0'), interval '1 hour');
  END IF;
  RETURN NULL;
EXCEPTION WHEN data_exception THEN RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION keypup.retry_after(text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.retry_after(text) IS
  'How long a header Retry-After (RFC 9110, 10.2.3) asks to wait, an hour at most; NULL for what is none.';

-- OTLP/HTTP: https://opentelemetry.io/docs/specs/otlp/#otlphttp-response. Google with partialSuccess names the entries
-- that it has not written in the error's details.
CREATE FUNCTION keypup.judge_audit_answer(kind text, records integer, status integer, reply jsonb, failure text,
  failure_hint text, is_empty boolean, OUT rejected bigint, OUT reason text, OUT hint text)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  errors jsonb;
  word text;
BEGIN
  IF failure IS NOT NULL THEN
    reason := failure;
    hint := failure_hint;
  ELSIF status BETWEEN 200 AND 299
    AND (CASE WHEN jsonb_typeof(reply) = 'object' THEN reply - 'partialSuccess' = '{}'
              ELSE kind = 'otlp' AND is_empty END)
  THEN
    word := reply -> 'partialSuccess' ->> 'rejectedLogRecords';
    rejected := CASE WHEN kind = 'otlp' AND word ~ '^[0-9]{1,20}$' THEN least(word::numeric, records) ELSE 0 END;
  ELSIF status BETWEEN 200 AND 299 THEN
    -- Whoever else stands there, as a proxy's page to sign in, has not taken them.
    reason := format('it answers %s, but not as %s has it', status,
      CASE kind WHEN 'otlp' THEN 'OTLP' ELSE 'Google' END);
    hint := CASE kind WHEN 'otlp' THEN 'Check the URL: a receiver of OTLP/HTTP takes logs at /v1/logs below it.'
      ELSE 'Check the URL, and whether something stands in between.' END;
  ELSE
    errors := jsonb_path_query_first(reply, '$.error.details[*].logEntryErrors');
    IF kind = 'google' AND jsonb_typeof(errors) = 'object' THEN
      rejected := least((SELECT count(*) FROM jsonb_object_keys(errors)), records);
      RETURN;
    ELSIF status = 413 AND records = 1 THEN
      rejected := 1;
      RETURN;
    END IF;
    -- Words of the protocol only: PERMISSION_DENIED, invalid_grant.
    word := coalesce(reply -> 'error' ->> 'status', reply ->> 'error');
    reason := format('it answers %s', status) || CASE WHEN word ~ '^[A-Za-z_]{1,40}$' THEN format(' (%s)', word)
      ELSE '' END;
    hint := CASE
      WHEN status = 413 THEN 'It is sent fewer records at once.'
      WHEN status IN (429, 502, 503, 504) THEN 'It has too much to do, or is being restarted.'
      WHEN status BETWEEN 300 AND 399 THEN 'It names another address: set the sink with that.'
      WHEN kind = 'token' THEN 'Check that the key of the service account is one still, and this server''s clock.'
      WHEN status IN (401, 403) AND kind = 'google' THEN
        'The service account needs the role Logs Writer (roles/logging.logWriter), and the project the Logging API.'
      WHEN status IN (401, 403) THEN 'Set the sink again with the header that it asks for.'
      WHEN status IN (404, 405, 415) THEN 'Check the URL.'
      WHEN status = 400 THEN 'It does not take these records; they are kept, and sent again. Its own log says why.'
      END;
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.judge_audit_answer(text, integer, integer, jsonb, text, text, boolean) FROM PUBLIC;
COMMENT ON FUNCTION keypup.judge_audit_answer(text, integer, integer, jsonb, text, text, boolean) IS
  'How many records of a request a sink has rejected for good, the others being taken; or why it has taken none.';

CREATE FUNCTION keypup.audit_sink_failed(account_id uuid, sink_id bigint, reason text, hint text, wait interval)
  RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  failed record;
BEGIN
  UPDATE keypup.audit_sinks s SET lease_id = NULL, failures = s.failures + 1, last_error = reason,
    last_error_hint = audit_sink_failed.hint, last_error_at = clock_timestamp(),
    next_attempt_at = clock_timestamp()
      + coalesce(wait, least(interval '5 minutes', interval '1 second' * 2 ^ least(s.failures, 20)))
  WHERE s.account_id = audit_sink_failed.account_id AND s.sink_id = audit_sink_failed.sink_id
  RETURNING s.name, s.failures INTO failed;
  IF failed.failures = 1 THEN
    RAISE LOG 'keypup cannot forward the audit log to sink "%" of account %: %', failed.name, account_id, reason
      USING HINT = coalesce(audit_sink_failed.hint, 'SELECT * FROM keypup.audit_forwarding shows how far it is.');
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.audit_sink_failed(uuid, bigint, text, text, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.audit_sink_failed(uuid, bigint, text, text, interval) TO keypup_worker;
COMMENT ON FUNCTION keypup.audit_sink_failed(uuid, bigint, text, text, interval) IS
  'A sink has taken nothing: it is tried again after wait; NULL: a second, doubling to five minutes.';

CREATE FUNCTION keypup.take_audit_answer(account_id uuid, sink_id bigint, records integer, progress jsonb,
  status integer, headers text, reply jsonb, failure text, failure_hint text, is_empty boolean, milliseconds integer)
  RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  sink keypup.audit_sinks;
  verdict record;
BEGIN
  SELECT s.* INTO sink FROM keypup.audit_sinks s
  WHERE s.account_id = take_audit_answer.account_id AND s.sink_id = take_audit_answer.sink_id FOR UPDATE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  verdict := keypup.judge_audit_answer(sink.kind, records, status, reply, failure, failure_hint, is_empty);
  UPDATE keypup.audit_sinks s SET is_slow = milliseconds > 3000
  WHERE s.account_id = sink.account_id AND s.sink_id = sink.sink_id AND s.is_slow <> (milliseconds > 3000);
  IF verdict.rejected IS NOT NULL THEN
    PERFORM keypup.advance_audit_sink(sink.account_id, sink.sink_id, progress);
    UPDATE keypup.audit_sinks s SET lease_id = NULL, failures = 0, next_attempt_at = clock_timestamp(),
      last_error = NULL, last_error_hint = NULL, last_error_at = NULL, last_sent_at = clock_timestamp(),
      sent_records = s.sent_records + records - verdict.rejected,
      rejected_records = s.rejected_records + verdict.rejected,
      batch_size = least(500, s.batch_size + 1)
    WHERE s.account_id = sink.account_id AND s.sink_id = sink.sink_id;
    IF verdict.rejected > 0 THEN
      RAISE LOG 'sink "%" of account % has rejected % of % records of the audit log', sink.name, sink.account_id,
        verdict.rejected, records USING DETAIL = format('They are among those up to %s.', progress);
    END IF;
    RETURN;
  END IF;
  IF status = 413 THEN
    UPDATE keypup.audit_sinks s SET batch_size = greatest(1, records / 2)
    WHERE s.account_id = sink.account_id AND s.sink_id = sink.sink_id;
  ELSIF status = 401 THEN
    DELETE FROM keypup.audit_sink_secrets x
    WHERE x.account_id = sink.account_id AND x.sink_id = sink.sink_id AND x.purpose = 'access_token';
  END IF;
  PERFORM keypup.audit_sink_failed(sink.account_id, sink.sink_id, verdict.reason, verdict.hint,
    CASE WHEN status IN (429, 502, 503, 504) THEN keypup.retry_after(headers::jsonb ->> 'retry-after')
      WHEN status = 413 THEN interval '0' END);
END
$$;
REVOKE ALL ON FUNCTION keypup.take_audit_answer(uuid, bigint, integer, jsonb, integer, text, jsonb, text, text, boolean,
  integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.take_audit_answer(uuid, bigint, integer, jsonb, integer, text, jsonb, text, text,
  boolean, integer) TO keypup_worker;
COMMENT ON FUNCTION keypup.take_audit_answer(uuid, bigint, integer, jsonb, integer, text, jsonb, text, text, boolean,
  integer) IS
  'Keeps how far a sink has the log, or why it has taken nothing and when it is tried again; for the worker.';

CREATE FUNCTION keypup.next_sink_token(account_id uuid, sink_id bigint, OUT revision bigint, OUT context text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM FROM keypup.audit_sinks s
  WHERE s.account_id = next_sink_token.account_id AND s.sink_id = next_sink_token.sink_id FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the sink is gone' USING ERRCODE = 'undefined_object';
  END IF;
  revision := keypup.next_sink_revision(account_id, sink_id);
  context := keypup.audit_sink_context(account_id, sink_id, revision, 'access_token');
END
$$;
REVOKE ALL ON FUNCTION keypup.next_sink_token(uuid, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.next_sink_token(uuid, bigint) TO keypup_worker;
COMMENT ON FUNCTION keypup.next_sink_token(uuid, bigint) IS
  'What the next access token of a sink is to be sealed for; holds the sink until it is stored.';

CREATE FUNCTION keypup.take_sink_token(account_id uuid, sink_id bigint, status integer, headers text, reply jsonb,
  failure text, failure_hint text, new_revision bigint, new_envelope bytea) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  lives interval := CASE WHEN reply ->> 'expires_in' ~ '^[0-9]{1,6}$'
    THEN (reply ->> 'expires_in')::integer * interval '1 second' ELSE interval '1 hour' END;
  verdict record;
BEGIN
  IF account_id IS DISTINCT FROM keypup.job_account() THEN
    RAISE EXCEPTION 'the account is not the job''s' USING ERRCODE = 'insufficient_privilege';
  END IF;
  IF status = 200 AND new_envelope IS NOT NULL AND lives > interval '1 minute' THEN
    INSERT INTO keypup.audit_sink_secrets AS x (account_id, sink_id, purpose, revision, envelope, expires_at)
    VALUES (take_sink_token.account_id, take_sink_token.sink_id, 'access_token', new_revision, new_envelope,
      now() + lives)
    ON CONFLICT ON CONSTRAINT audit_sink_secrets_pkey DO UPDATE SET revision = excluded.revision,
      envelope = excluded.envelope, expires_at = excluded.expires_at, reseal_failed_at = NULL;
    UPDATE keypup.audit_sinks s SET lease_id = NULL
    WHERE s.account_id = take_sink_token.account_id AND s.sink_id = take_sink_token.sink_id;
    RETURN;
  END IF;
  verdict := keypup.judge_audit_answer('token', 0, status, reply, failure, failure_hint, false);
  PERFORM keypup.audit_sink_failed(account_id, sink_id,
    'no access token: ' || coalesce(verdict.reason, format('it answers %s without one', status)), verdict.hint,
    keypup.retry_after(headers::jsonb ->> 'retry-after'));
END
$$;
REVOKE ALL ON FUNCTION keypup.take_sink_token(uuid, bigint, integer, text, jsonb, text, text, bigint, bytea)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.take_sink_token(uuid, bigint, integer, text, jsonb, text, text, bigint, bytea)
  TO keypup_worker;
COMMENT ON FUNCTION keypup.take_sink_token(uuid, bigint, integer, text, jsonb, text, text, bigint, bytea) IS
  'Keeps the access token that a sink''s service account was given, sealed, or why there is none; for the worker.';
