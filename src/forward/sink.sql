-- forward/sink.sql: where the audit log is forwarded to. The operator sets sinks for all accounts, an owner for their
-- own.

-- Those of the operator have an account_id of zeros, which no account has.
CREATE TABLE keypup.audit_sinks (
  account_id uuid NOT NULL,
  sink_id bigint NOT NULL DEFAULT keypup.new_id(),
  name text NOT NULL CHECK (name ~ '^[^[:cntrl:]]{1,63}$'),
  kind text NOT NULL CHECK (kind IN ('otlp', 'google', 'log')),
  url text CHECK ((url IS NULL) = (kind = 'log')),
  log_name text CHECK ((log_name IS NOT NULL) = (kind = 'google')),
  client_email text,
  token_url text,
  origin text NOT NULL DEFAULT keypup.this_database(),
  batch_size integer NOT NULL DEFAULT 500 CHECK (batch_size > 0),
  forwarded_seals bigint,
  lease_id bigint,
  claimed_at timestamptz,
  is_slow boolean NOT NULL DEFAULT false,
  next_attempt_at timestamptz NOT NULL DEFAULT now(),
  failures bigint NOT NULL DEFAULT 0,
  last_error text,
  last_error_hint text,
  last_error_at timestamptz,
  last_sent_at timestamptz,
  sent_records bigint NOT NULL DEFAULT 0,
  rejected_records bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (account_id, sink_id),
  UNIQUE (account_id, name)
);
COMMENT ON TABLE keypup.audit_sinks IS 'Where the audit log is forwarded to. Granted to nobody; read audit_forwarding.';
COMMENT ON COLUMN keypup.audit_sinks.account_id IS 'The account whose records it gets; zeros: those of all.';
COMMENT ON COLUMN keypup.audit_sinks.sink_id IS 'Identifies the sink.';
COMMENT ON COLUMN keypup.audit_sinks.name IS 'Name by which functions address it.';
COMMENT ON COLUMN keypup.audit_sinks.kind IS 'otlp, google, or log for the server''s own log.';
COMMENT ON COLUMN keypup.audit_sinks.url IS 'Where records are sent to; of a Collector, without /v1/logs.';
COMMENT ON COLUMN keypup.audit_sinks.log_name IS 'Of Google Cloud Logging, the log: projects/PROJECT/logs/NAME.';
COMMENT ON COLUMN keypup.audit_sinks.client_email IS 'The service account that writes there.';
COMMENT ON COLUMN keypup.audit_sinks.token_url IS 'Where it gets its access tokens.';
COMMENT ON COLUMN keypup.audit_sinks.origin IS
  'The database in which it was set, as in connections: a copy forwards nothing before it is set there.';
COMMENT ON COLUMN keypup.audit_sinks.batch_size IS
  'How many records a request has at most; fewer after one was too large.';
COMMENT ON COLUMN keypup.audit_sinks.forwarded_seals IS
  'The audit_clock.seals at which the operator''s sink had everything; NULL: never.';
COMMENT ON COLUMN keypup.audit_sinks.lease_id IS 'The worker whose request is under way.';
COMMENT ON COLUMN keypup.audit_sinks.claimed_at IS 'When the last request began.';
COMMENT ON COLUMN keypup.audit_sinks.is_slow IS 'Whether the last answer took long: those that are share a few places.';
COMMENT ON COLUMN keypup.audit_sinks.next_attempt_at IS 'Before then nothing is sent.';
COMMENT ON COLUMN keypup.audit_sinks.failures IS 'How many requests have failed since the last that did not.';
COMMENT ON COLUMN keypup.audit_sinks.last_error IS 'Why the last one failed; NULL once one has not.';
COMMENT ON COLUMN keypup.audit_sinks.last_error_hint IS 'What to do about it.';
COMMENT ON COLUMN keypup.audit_sinks.last_error_at IS 'When that was.';
COMMENT ON COLUMN keypup.audit_sinks.last_sent_at IS 'When it last took records.';
COMMENT ON COLUMN keypup.audit_sinks.sent_records IS 'How many it has taken.';
COMMENT ON COLUMN keypup.audit_sinks.rejected_records IS 'How many it has refused for good.';
SELECT keypup.close_table('keypup.audit_sinks');

CREATE TABLE keypup.audit_sink_positions (
  account_id uuid NOT NULL,
  sink_id bigint NOT NULL,
  of_account uuid NOT NULL,
  sequence bigint NOT NULL,
  sent_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (account_id, sink_id, of_account),
  FOREIGN KEY (account_id, sink_id) REFERENCES keypup.audit_sinks ON DELETE CASCADE
);
COMMENT ON TABLE keypup.audit_sink_positions IS 'How far each sink has the log of each account. Granted to nobody.';
COMMENT ON COLUMN keypup.audit_sink_positions.account_id IS 'Whose sink it is.';
COMMENT ON COLUMN keypup.audit_sink_positions.sink_id IS 'The sink.';
COMMENT ON COLUMN keypup.audit_sink_positions.of_account IS 'Whose records they are.';
COMMENT ON COLUMN keypup.audit_sink_positions.sequence IS 'Number of the last record that it has taken.';
COMMENT ON COLUMN keypup.audit_sink_positions.sent_at IS 'When it took that.';
SELECT keypup.close_table('keypup.audit_sink_positions');

CREATE TABLE keypup.audit_sink_secrets (
  account_id uuid NOT NULL,
  sink_id bigint NOT NULL,
  purpose text NOT NULL CHECK (purpose IN ('header', 'service_account_key', 'access_token')),
  revision bigint NOT NULL,
  envelope bytea NOT NULL CHECK (octet_length(envelope) BETWEEN 37 AND 8228 AND substr(envelope, 1, 4) = '\x4b500101'),
  key_id integer NOT NULL GENERATED ALWAYS AS (keypup.token_key_id(envelope)) STORED,
  expires_at timestamptz,
  reseal_failed_at timestamptz,
  PRIMARY KEY (account_id, sink_id, purpose),
  FOREIGN KEY (account_id, sink_id) REFERENCES keypup.audit_sinks ON DELETE CASCADE
);
ALTER TABLE keypup.audit_sink_secrets
  ALTER COLUMN envelope SET STORAGE EXTERNAL, ALTER COLUMN envelope SET STATISTICS 0;
CREATE INDEX audit_sink_secrets_key ON keypup.audit_sink_secrets (key_id);
COMMENT ON TABLE keypup.audit_sink_secrets IS
  'What the worker shows to sinks, sealed. Granted to nobody; opened for one request.';
COMMENT ON COLUMN keypup.audit_sink_secrets.account_id IS 'Whose sink it is.';
COMMENT ON COLUMN keypup.audit_sink_secrets.sink_id IS 'The sink.';
COMMENT ON COLUMN keypup.audit_sink_secrets.purpose IS
  'header: a line that each request has; service_account_key; access_token: what that was exchanged for.';
COMMENT ON COLUMN keypup.audit_sink_secrets.revision IS
  'Rises when it is replaced or sealed again; bound into the envelope.';
COMMENT ON COLUMN keypup.audit_sink_secrets.envelope IS 'AES-256-GCM envelope version 1.';
COMMENT ON COLUMN keypup.audit_sink_secrets.key_id IS 'The data key that it is sealed with, as the envelope says.';
COMMENT ON COLUMN keypup.audit_sink_secrets.expires_at IS 'Until when it is accepted; NULL: until it is replaced.';
COMMENT ON COLUMN keypup.audit_sink_secrets.reseal_failed_at IS
  'When it last could not be opened to be sealed again; NULL when all is well.';
SELECT keypup.close_table('keypup.audit_sink_secrets');

CREATE FUNCTION keypup.audit_sink_context(account_id uuid, sink_id bigint, revision bigint, purpose text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT format('account:%s/audit_sink:%s/rev:%s/%s', account_id, sink_id, revision, purpose) $$;
REVOKE ALL ON FUNCTION keypup.audit_sink_context(uuid, bigint, bigint, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.audit_sink_context(uuid, bigint, bigint, text) IS
  'What a secret of a sink belongs to; sealed into its envelope.';

CREATE FUNCTION keypup.check_header_line(secret text) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_check_header_line';
REVOKE ALL ON FUNCTION keypup.check_header_line(text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.check_header_line(text) IS 'Refuses what is no line NAME: VALUE of a request''s headers.';

-- Whoever sets the operator's must be one.
CREATE FUNCTION keypup.authorize_sink(account text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF account IS NOT NULL THEN
    RETURN keypup.authorize(account, 'audit.forward');
  END IF;
  PERFORM keypup.guard_writes();
  IF NOT keypup.is_operator() THEN
    PERFORM keypup.note_refusal(NULL::uuid, 'audit.forward', 'of all accounts');
    RAISE EXCEPTION 'only a superuser forwards the audit log of all accounts' USING ERRCODE = 'insufficient_privilege',
      HINT = 'Name your account. SELECT name FROM keypup.accounts shows your accounts.';
  END IF;
  RETURN '00000000-0000-0000-0000-000000000000'::uuid;
END
$$;
REVOKE ALL ON FUNCTION keypup.authorize_sink(text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.authorize_sink(text) IS
  'The id of the account whose log who asks may forward; NULL, for a superuser: zeros, for all accounts.';

-- The parts of a service account's key file (https://developers.google.com/identity/protocols/oauth2/service-account).
-- What is wrong with it is said in one way, which shows nothing of it.
CREATE FUNCTION keypup.read_service_account(secret text, OUT project text, OUT client_email text, OUT token_url text,
  OUT private_key text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  key_file jsonb;
BEGIN
  BEGIN
    -- One has two to three thousand bytes.
    key_file := CASE WHEN octet_length(secret) <= 16384 THEN secret::jsonb END;
  EXCEPTION WHEN OTHERS THEN key_file := NULL;
  END;
  project := key_file ->> 'project_id';
  client_email := key_file ->> 'client_email';
  token_url := coalesce(key_file ->> 'token_uri', 'https://oauth2.googleapis.com/token');
  private_key := key_file ->> 'private_key';
  IF key_file ->> 'type' IS DISTINCT FROM 'service_account' OR private_key IS NULL OR project IS NULL
     OR project !~ '^[a-z0-9:.-]{1,100}$' OR client_email IS NULL OR client_email !~ '^[A-Za-z0-9@._-]{1,200}$' THEN
    RAISE EXCEPTION 'the key of the service account cannot be used' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'Pass the whole JSON file that Google Cloud gives for a new key, as a bind parameter.';
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.read_service_account(text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.read_service_account(text) IS
  'What stands in the key file of a service account. Granted to nobody.';

-- Rises even when the last one was taken away, so that no older envelope opens again.
CREATE FUNCTION keypup.next_sink_revision(account_id uuid, sink_id bigint) RETURNS bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT greatest((extract(epoch FROM clock_timestamp()) * 1000000)::bigint, max(s.revision) + 1)
  FROM keypup.audit_sink_secrets s
  WHERE s.account_id = next_sink_revision.account_id AND s.sink_id = next_sink_revision.sink_id
$$;
REVOKE ALL ON FUNCTION keypup.next_sink_revision(uuid, bigint) FROM PUBLIC;
COMMENT ON FUNCTION keypup.next_sink_revision(uuid, bigint) IS 'The revision of the next secret that a sink gets.';

CREATE FUNCTION keypup.store_sink_secret(account_id uuid, sink_id bigint, purpose text, secret text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  new_revision bigint := keypup.next_sink_revision(account_id, sink_id);
  context text;
  sealed bytea;
BEGIN
  DELETE FROM keypup.audit_sink_secrets s
  WHERE s.account_id = store_sink_secret.account_id AND s.sink_id = store_sink_secret.sink_id;
  IF secret IS NULL THEN
    RETURN;
  END IF;
  context := keypup.audit_sink_context(account_id, sink_id, new_revision, purpose);
  IF purpose = 'header' THEN
    sealed := keypup.encrypt_token(secret, context);
  ELSE
    BEGIN
      sealed := keypup.seal_app_key(secret, context);
    EXCEPTION WHEN invalid_parameter_value THEN
      RAISE EXCEPTION 'the key of the service account cannot be used' USING ERRCODE = 'invalid_parameter_value',
        HINT = 'Its private_key is no RSA key of 2048 to 8192 bits. Pass the whole JSON file that Google Cloud gives '
          'for a new key, as a bind parameter.';
    END;
  END IF;
  INSERT INTO keypup.audit_sink_secrets (account_id, sink_id, purpose, revision, envelope)
  VALUES (store_sink_secret.account_id, store_sink_secret.sink_id, store_sink_secret.purpose, new_revision, sealed);
END
$$;
REVOKE ALL ON FUNCTION keypup.store_sink_secret(uuid, bigint, text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.store_sink_secret(uuid, bigint, text, text) IS
  'Seals what a sink is shown from now on, in place of all that it was; NULL: nothing.';

CREATE FUNCTION keypup.set_audit_sink(account text, name text, kind text, url text DEFAULT NULL,
  secret text DEFAULT NULL, log_name text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  the_account uuid := keypup.authorize_sink(account);
  known keypup.audit_sinks;
  the_url text := url;
  the_log text := log_name;
  email text;
  token_address text;
  shown text := secret;
  project text;
  the_id bigint;
BEGIN
  IF name IS NULL OR name !~ '^[^[:cntrl:]]{1,63}$' THEN
    RAISE EXCEPTION 'a name has 1 to 63 characters, none of them a control character'
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Name the sink after what takes the records, as siem.';
  ELSIF kind IS NULL OR kind NOT IN ('otlp', 'google', 'log') THEN
    RAISE EXCEPTION 'there are no sinks of this kind' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'Kinds are otlp (OpenTelemetry), google (Google Cloud Logging) and log (the server''s own log).';
  ELSIF kind = 'log' AND account IS NOT NULL THEN
    RAISE EXCEPTION 'the server''s log is the operator''s' USING ERRCODE = 'insufficient_privilege',
      HINT = 'An account has sinks of kind otlp and google.';
  ELSIF kind <> 'google' AND log_name IS NOT NULL OR kind = 'log' AND (url IS NOT NULL OR secret IS NOT NULL) THEN
    RAISE EXCEPTION 'this is no setting of a sink of kind %', kind USING ERRCODE = 'invalid_parameter_value',
      HINT = 'otlp has a url and, where it asks for one, a secret; google a secret, and where it is not as Google has '
        'it, a url and a log_name; log has none.';
  ELSIF kind = 'otlp' THEN
    IF url IS NULL THEN
      RAISE EXCEPTION 'a URL is needed' USING ERRCODE = 'null_value_not_allowed',
        HINT = 'Give the address of the OTLP/HTTP receiver, as https://collector.example:4318.';
    END IF;
    the_url := keypup.check_base_url(regexp_replace(url, '/v1/logs/?$', ''));
    PERFORM keypup.check_header_line(secret);
  ELSIF kind = 'google' THEN
    IF secret IS NULL THEN
      RAISE EXCEPTION 'the key of a service account is needed' USING ERRCODE = 'null_value_not_allowed',
        HINT = 'Pass the whole JSON file that Google Cloud gives for a new key, as a bind parameter.';
    END IF;
    the_url := keypup.check_base_url(coalesce(url, 'https://logging.googleapis.com'));
    SELECT r.project, r.client_email, r.token_url, r.private_key INTO project, email, token_address, shown
    FROM keypup.read_service_account(secret) r;
    token_address := keypup.check_base_url(token_address);
    the_log := coalesce(log_name, 'projects/' || project || '/logs/keypup');
    IF the_log !~ '^projects/[a-z0-9:.-]{1,100}/logs/[A-Za-z0-9%._-]{1,200}$' THEN
      RAISE EXCEPTION 'log_name is malformed' USING ERRCODE = 'invalid_parameter_value',
        HINT = 'Write it as projects/PROJECT/logs/NAME.';
    END IF;
  END IF;
  PERFORM FROM keypup.accounts a WHERE a.account_id = the_account FOR KEY SHARE;
  SELECT s.* INTO known FROM keypup.audit_sinks s
  WHERE s.account_id = the_account AND s.name = set_audit_sink.name FOR UPDATE;
  IF known.kind <> kind OR (known.url, known.log_name) IS DISTINCT FROM (the_url, the_log) AND known.sink_id > 0 THEN
    RAISE EXCEPTION 'there is another sink "%" already', name USING ERRCODE = 'duplicate_object',
      HINT = 'Choose another name, or remove that one with keypup.remove_audit_sink. One that is set again as it is '
        'gets another secret.';
  ELSIF known.sink_id IS NULL AND (SELECT count(*) FROM keypup.audit_sinks s WHERE s.account_id = the_account) >= 5 THEN
    RAISE EXCEPTION 'there are 5 sinks already' USING ERRCODE = 'configuration_limit_exceeded',
      HINT = 'Remove one with keypup.remove_audit_sink; a Collector can pass records on to many.';
  END IF;
  INSERT INTO keypup.audit_sinks AS s (account_id, name, kind, url, log_name, client_email, token_url)
  VALUES (the_account, set_audit_sink.name, set_audit_sink.kind, the_url, the_log, email, token_address)
  ON CONFLICT ON CONSTRAINT audit_sinks_account_id_name_key DO UPDATE SET client_email = excluded.client_email,
    token_url = excluded.token_url, origin = excluded.origin, failures = 0, next_attempt_at = now(), last_error = NULL,
    last_error_hint = NULL, last_error_at = NULL, batch_size = excluded.batch_size,
    forwarded_seals = NULL
  RETURNING s.sink_id INTO the_id;
  PERFORM keypup.store_sink_secret(the_account, the_id,
    CASE WHEN kind = 'google' THEN 'service_account_key' ELSE 'header' END, shown);
  PERFORM keypup.record_action(nullif(the_account, '00000000-0000-0000-0000-000000000000'::uuid), 'audit_sink.set',
    concat_ws(' ', format('"%s": %s', name, kind), the_url, the_log, email));
  PERFORM keypup.wake_launcher();
END
$$;
REVOKE ALL ON FUNCTION keypup.set_audit_sink(text, text, text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.set_audit_sink(text, text, text, text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.set_audit_sink(text, text, text, text, text, text) IS
  'Forwards the account''s audit log, from its oldest record on; account NULL, for superusers: of all accounts. kind: '
  'otlp, with the url of a receiver of OTLP/HTTP and as secret, if it asks for one, a header line as Authorization: '
  'Bearer …; google, with the JSON key of a service account as secret; log, the server''s log, for superusers. Pass a '
  'secret as a bind parameter. Set again with the same url, a sink gets another secret.';

CREATE FUNCTION keypup.remove_audit_sink(account text, name text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize_sink(account);
BEGIN
  DELETE FROM keypup.audit_sinks s WHERE s.account_id = the_account AND s.name = remove_audit_sink.name;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no sink "%"', regexp_replace(left(name, 100), '[[:cntrl:]]', '?', 'g')
      USING ERRCODE = 'undefined_object', HINT = 'SELECT sink FROM keypup.audit_forwarding shows them.';
  END IF;
  PERFORM keypup.record_action(nullif(the_account, '00000000-0000-0000-0000-000000000000'::uuid), 'audit_sink.remove',
    format('"%s"', name));
END
$$;
REVOKE ALL ON FUNCTION keypup.remove_audit_sink(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.remove_audit_sink(text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.remove_audit_sink(text, text) IS
  'Forwards the account''s audit log there no more; what is known of how far it was is forgotten. account NULL, for '
  'superusers: of all accounts.';
