-- webhook/webhook.sql: a provider tells that something changed, instead of being asked every few minutes. Webhooks
-- arrive by a gateway (PostgREST or any other), whose role can call one function.

CREATE TABLE keypup.webhook_deliveries (
  account_id uuid NOT NULL,
  connection_id uuid NOT NULL,
  delivery_id text NOT NULL,
  event text NOT NULL,
  received_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (account_id, connection_id, delivery_id),
  FOREIGN KEY (account_id, connection_id) REFERENCES keypup.connections ON DELETE CASCADE
);
CREATE INDEX webhook_deliveries_time ON keypup.webhook_deliveries (account_id, connection_id, received_at);
COMMENT ON TABLE keypup.webhook_deliveries IS
  'Webhooks that were taken in the last seven days, so that each is taken once. Nothing of what they said.';
COMMENT ON COLUMN keypup.webhook_deliveries.connection_id IS 'The connection that the webhook is for.';
COMMENT ON COLUMN keypup.webhook_deliveries.delivery_id IS 'The provider''s id of the delivery.';
COMMENT ON COLUMN keypup.webhook_deliveries.event IS 'What kind of event; the provider''s own word.';
COMMENT ON COLUMN keypup.webhook_deliveries.received_at IS 'When it arrived.';
SELECT keypup.protect_table('keypup.webhook_deliveries', 'settings.read');

CREATE FUNCTION keypup.webhook_is_signed(scheme text, signature text, body bytea, envelope bytea, context text)
  RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_webhook_is_signed';
CREATE FUNCTION keypup.refuse_webhook(account_id uuid, why text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_refuse_webhook';
CREATE FUNCTION keypup.check_webhook_secret(secret text) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_check_webhook_secret';
REVOKE ALL ON FUNCTION keypup.webhook_is_signed(text, text, bytea, bytea, text), keypup.refuse_webhook(uuid, text),
  keypup.check_webhook_secret(text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.webhook_is_signed(text, text, bytea, bytea, text) IS
  'Whether the signature is what the sealed secret makes of the body, in the way of providers.webhook_signature; '
  'false when one is missing, after the same work.';
COMMENT ON FUNCTION keypup.refuse_webhook(uuid, text) IS
  'Ends in the one error of webhooks, and has the audit log say why.';
COMMENT ON FUNCTION keypup.check_webhook_secret(text) IS 'Refuses a secret that is short, long or not ASCII.';

CREATE FUNCTION keypup.webhook_is_signed_safely(scheme text, signature text, body bytea, envelope bytea, context text)
  RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN keypup.webhook_is_signed(scheme, signature, body, envelope, context);
EXCEPTION
  -- A secret that does not open is nobody's business outside.
  WHEN data_exception OR config_file_error THEN
    RETURN keypup.webhook_is_signed(scheme, signature, body, NULL::bytea, NULL::text);
END
$$;
REVOKE ALL ON FUNCTION keypup.webhook_is_signed_safely(text, text, bytea, bytea, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.webhook_is_signed_safely(text, text, bytea, bytea, text) IS
  'webhook_is_signed; false when the secret does not open.';

CREATE FUNCTION keypup.set_webhook_secret(account text, connection text, secret text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'tokens.create');
  the_connection uuid := keypup.find_connection(the_account, connection);
  -- Rises even when the last one was taken back, so that no older envelope opens again.
  new_revision bigint := extract(epoch FROM clock_timestamp()) * 1000000;
  old record;
  sealed bytea;
BEGIN
  PERFORM keypup.hold_connection(the_account, the_connection);
  IF secret IS NULL THEN
    DELETE FROM keypup.connection_tokens t
    WHERE t.account_id = the_account AND t.connection_id = the_connection
      AND t.purpose IN ('webhook_secret', 'webhook_secret_before');
    PERFORM keypup.record_action(the_account, 'webhook.remove', the_connection::text);
    RETURN;
  END IF;
  PERFORM keypup.guard_offer(the_account, the_connection, 'webhook');
  PERFORM keypup.check_webhook_secret(secret);
  SELECT t.revision, t.envelope, t.made_by INTO old FROM keypup.connection_tokens t
  WHERE t.account_id = the_account AND t.connection_id = the_connection AND t.purpose = 'webhook_secret' FOR UPDATE;
  new_revision := greatest(new_revision, old.revision + 1);
  IF old.envelope IS NOT NULL THEN
    sealed := keypup.reseal_token(old.envelope,
      keypup.token_context(the_account, the_connection, old.revision, 'webhook_secret'),
      keypup.token_context(the_account, the_connection, new_revision, 'webhook_secret_before'));
    DELETE FROM keypup.connection_tokens t
    WHERE t.account_id = the_account AND t.connection_id = the_connection AND t.purpose = 'webhook_secret_before';
    INSERT INTO keypup.connection_tokens (account_id, connection_id, purpose, revision, envelope, expires_at, made_by)
    SELECT the_account, the_connection, 'webhook_secret_before', new_revision, sealed, now() + interval '24 hours',
      old.made_by WHERE sealed IS NOT NULL;
  END IF;
  sealed := keypup.encrypt_token(secret,
    keypup.token_context(the_account, the_connection, new_revision, 'webhook_secret'));
  -- Of two who set the first one at once, the one who is later.
  INSERT INTO keypup.connection_tokens AS t (account_id, connection_id, purpose, revision, envelope, made_by)
  VALUES (the_account, the_connection, 'webhook_secret', new_revision, sealed, keypup.name_maker())
  ON CONFLICT ON CONSTRAINT connection_tokens_pkey DO UPDATE
    SET revision = excluded.revision, envelope = excluded.envelope, made_by = excluded.made_by, reseal_failed_at = NULL;
  PERFORM keypup.record_action(the_account, 'webhook.set', the_connection::text);
END
$$;
REVOKE ALL ON FUNCTION keypup.set_webhook_secret(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.set_webhook_secret(text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.set_webhook_secret(text, text, text) IS
  'Sets the secret that a connection''s webhooks are signed with; the one before holds for 24 hours more. Each ends '
  'when who set it could set none any more. NULL: none is taken any more. Pass it as a bind parameter.';

-- Whoever sends it is nobody: what it may do follows from the signature alone.
CREATE FUNCTION keypup.receive_webhook(connection uuid, headers jsonb, body bytea) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  head record;
  known record;
  too_large boolean := coalesce(octet_length(body) > 8 * 1024 * 1024, false);
  signed boolean;
  signed_before boolean;
  payload jsonb;
  answer text;
BEGIN
  PERFORM keypup.guard_writes();
  SELECT c.account_id, p.provider, p.webhook_signature AS scheme,
    keypup.still_may(t.account_id, t.made_by, ARRAY['tokens.create']) AS holds,
         t.envelope, keypup.token_context(c.account_id, c.connection_id, t.revision, t.purpose) AS context,
         b.envelope AS envelope_before,
         keypup.token_context(c.account_id, c.connection_id, b.revision, b.purpose) AS context_before
  INTO known
  FROM keypup.connections c
  JOIN keypup.providers p USING (provider)
  LEFT JOIN keypup.connection_tokens t ON t.account_id = c.account_id AND t.connection_id = c.connection_id
    AND t.purpose = 'webhook_secret'
  LEFT JOIN keypup.connection_tokens b ON b.account_id = c.account_id AND b.connection_id = c.connection_id
    AND b.purpose = 'webhook_secret_before' AND b.expires_at > now()
    AND keypup.still_may(b.account_id, b.made_by, ARRAY['tokens.create'])
  WHERE c.connection_id = receive_webhook.connection;
  -- Of a connection that is not there, or whose provider sends none, as of one that takes them.
  head := keypup.provider_webhook_head(CASE WHEN known.scheme IS NOT NULL THEN known.provider ELSE (
      SELECT p.provider FROM keypup.providers p WHERE p.webhook_signature IS NOT NULL ORDER BY p.provider LIMIT 1) END,
        coalesce(headers, '{}'));
  IF NOT too_large THEN
    -- Both, always: how long it takes does not tell which secret was right, nor whether there is one.
    signed := keypup.webhook_is_signed_safely(known.scheme, head.signature, body, CASE
      WHEN known.holds THEN known.envelope END, known.context);
    signed_before := keypup.webhook_is_signed_safely(known.scheme, head.signature, body, known.envelope_before,
      known.context_before);
  END IF;
  IF too_large OR NOT (signed OR signed_before) THEN
    PERFORM keypup.refuse_webhook(known.account_id, CASE
      WHEN too_large THEN 'larger than 8 MiB' WHEN known.account_id IS NULL THEN 'there is no such connection'
      WHEN known.envelope IS NULL THEN 'no secret is set'
      WHEN NOT known.holds THEN 'who set the secret could set none any more'
      WHEN head.signature IS NULL THEN 'there is no signature, or more than one' ELSE 'the signature is wrong' END);
  END IF;

  IF head.delivery IS NULL OR head.delivery !~ '^[A-Za-z0-9-]{1,64}$' OR head.event IS NULL
    OR head.event !~ '^[a-z0-9_]{1,64}$' THEN
    RAISE EXCEPTION 'webhook has no id, or does not say what happened' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'Pass all headers of the request on.';
  END IF;
  IF head.content_type LIKE 'application/x-www-form-urlencoded%' THEN
    RAISE EXCEPTION 'webhook is a form, not JSON' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'Choose the content type application/json in the webhook''s settings.';
  END IF;
  BEGIN
    payload := keypup.clean_json(body);
  EXCEPTION
    WHEN data_exception THEN payload := NULL;
    WHEN program_limit_exceeded THEN
      RAISE EXCEPTION 'webhook is too large' USING ERRCODE = 'program_limit_exceeded',
        DETAIL = format('The %s.', regexp_replace(SQLERRM, '^the ', '')),
        HINT = 'Nothing is lost: what changed is read with the next sync.';
  END;
  IF jsonb_typeof(payload) IS DISTINCT FROM 'object' THEN
    RAISE EXCEPTION 'webhook is not a JSON object' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'Choose the content type application/json in the webhook''s settings.';
  END IF;

  IF keypup.hold_connection(known.account_id, connection) IS NULL THEN
    RETURN 'ignored';  -- it was removed just now
  END IF;
  DELETE FROM keypup.webhook_deliveries d WHERE d.ctid = ANY (ARRAY(
    SELECT o.ctid FROM keypup.webhook_deliveries o
    WHERE o.account_id = known.account_id AND o.connection_id = receive_webhook.connection
      AND o.received_at < now() - interval '7 days'
    LIMIT 100 FOR UPDATE SKIP LOCKED));
  DELETE FROM keypup.connection_tokens t
  WHERE t.account_id = known.account_id AND t.connection_id = receive_webhook.connection
    AND t.purpose = 'webhook_secret_before' AND t.expires_at <= now();
  INSERT INTO keypup.webhook_deliveries (account_id, connection_id, delivery_id, event)
  VALUES (known.account_id, receive_webhook.connection, head.delivery, head.event) ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RETURN 'duplicate';
  END IF;
  answer := keypup.provider_take_webhook(known.provider, known.account_id, connection, head.event, payload);
  IF answer IN ('queued', 'run') THEN
    PERFORM keypup.wake_launcher();
  END IF;
  RETURN answer;
END
$$;
REVOKE ALL ON FUNCTION keypup.receive_webhook(uuid, jsonb, bytea) FROM PUBLIC;
COMMENT ON FUNCTION keypup.receive_webhook(uuid, jsonb, bytea) IS
  'Takes a signed webhook: has what changed be read at once. For the role of a gateway: granted to nobody. Pass the '
  'body as a bind parameter, byte for byte.';
