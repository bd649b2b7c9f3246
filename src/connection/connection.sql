-- connection/connection.sql: the ways in to providers, and their sealed tokens.

CREATE TABLE keypup.connections (
  account_id uuid NOT NULL REFERENCES keypup.accounts ON DELETE CASCADE,
  connection_id uuid NOT NULL DEFAULT gen_random_uuid(),
  provider text NOT NULL REFERENCES keypup.providers,
  name text NOT NULL CHECK (name ~ '^[^[:cntrl:]]{1,100}$'),
  base_url text NOT NULL,
  state text NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'ok', 'token_doubted', 'token_refused')),
  created_at timestamptz NOT NULL DEFAULT now(),
  created_by text NOT NULL,
  origin text NOT NULL DEFAULT keypup.this_database(),
  blocked_until timestamptz,
  blocked_reason text,
  blocked_hint text,
  refused_at timestamptz,
  retry_at timestamptz,
  rate_limit bigint,
  rate_remaining bigint,
  rate_reset_at timestamptz,
  concurrency double precision NOT NULL DEFAULT 64 CHECK (concurrency >= 1),
  slowed_at timestamptz,
  batch_size integer NOT NULL DEFAULT 68 CHECK (batch_size BETWEEN 1 AND 93),
  missing_fields text[] NOT NULL DEFAULT '{}',
  scopes text,
  can_write boolean,
  token_expires_at timestamptz,
  hidden_organizations text,
  PRIMARY KEY (account_id, connection_id),
  UNIQUE (account_id, name)
);
-- A webhook names its connection, and no account.
CREATE UNIQUE INDEX connections_id ON keypup.connections (connection_id);
COMMENT ON TABLE keypup.connections IS
  'A way in to a provider: where it is, and how it answered last. Its token is kept apart, sealed.';
COMMENT ON COLUMN keypup.connections.account_id IS 'The account that connected.';
COMMENT ON COLUMN keypup.connections.connection_id IS 'Identifies the connection.';
COMMENT ON COLUMN keypup.connections.provider IS 'One of providers.';
COMMENT ON COLUMN keypup.connections.name IS 'Name by which functions address the connection.';
COMMENT ON COLUMN keypup.connections.base_url IS 'Where the provider''s API is; https only.';
COMMENT ON COLUMN keypup.connections.state IS
  'new, ok, token_doubted (the provider refused the token once, and is asked a second time) or token_refused (twice).';
COMMENT ON COLUMN keypup.connections.created_at IS 'When connect made it.';
COMMENT ON COLUMN keypup.connections.created_by IS 'Database role that connected.';
COMMENT ON COLUMN keypup.connections.origin IS
  'The database (this_database) in which it was made, resumed, or given its token. In any other, a copy, nothing is '
  'asked.';
COMMENT ON COLUMN keypup.connections.blocked_until IS 'No request is sent before then: the provider asked for a pause.';
COMMENT ON COLUMN keypup.connections.blocked_reason IS
  'Why: what the provider asked for a pause for, or why the token serves no more.';
COMMENT ON COLUMN keypup.connections.blocked_hint IS 'What to do about a token that serves no more.';
COMMENT ON COLUMN keypup.connections.refused_at IS 'When the token was first refused; NULL since it was last accepted.';
COMMENT ON COLUMN keypup.connections.retry_at IS
  'No request is sent before then, and from then on one at a time: the token was refused. infinity: it cannot be '
  'opened any more. NULL while it is not refused, and where it is to be tried at once.';
COMMENT ON COLUMN keypup.connections.rate_limit IS 'Points an hour that the provider allows this token.';
COMMENT ON COLUMN keypup.connections.rate_remaining IS 'Points left when the provider answered last.';
COMMENT ON COLUMN keypup.connections.rate_reset_at IS 'When the points are full again.';
COMMENT ON COLUMN keypup.connections.concurrency IS
  'Requests that may be in flight, where keypup.max_requests is not less: at first as many as that can be, half as '
  'many when the provider asks for less, and more again with each answer.';
COMMENT ON COLUMN keypup.connections.slowed_at IS 'When it was last halved; NULL when it never was.';
COMMENT ON COLUMN keypup.connections.batch_size IS
  'Pull requests that one request asks for: grows with quick answers, shrinks with slow ones, once for all that were '
  'asked for with it.';
COMMENT ON COLUMN keypup.connections.missing_fields IS
  'What this server''s API lacks, as Type.field: an older GitHub Enterprise Server. It is not asked for.';
COMMENT ON COLUMN keypup.connections.scopes IS
  'What the token may do, in the provider''s words; NULL when it does not say.';
COMMENT ON COLUMN keypup.connections.can_write IS
  'Whether one of the scopes lets the token change things; NULL when the provider does not say.';
COMMENT ON COLUMN keypup.connections.token_expires_at IS 'When the token ends, where the provider says.';
COMMENT ON COLUMN keypup.connections.hidden_organizations IS
  'Ids of organizations that the provider leaves out, as the token lacks their single sign-on.';
SELECT keypup.protect_table('keypup.connections', 'settings.read');

-- Every transaction takes locks in this order, and leaves out what it does not need:
--
--   1. accounts            by whoever changes members, connections or keys of an account
--   2. connections         held (hold_connection) by whoever changes something that belongs to one; locked by whoever
--                          removes it. Whoever comes after that finds nothing of it.
--   3. app_installations, then connection_tokens
-- 4. sync_state by whoever changes something of a project, in the order of the projects' ids: the worker with
--                          each page, start_run, reread, untrack; all of a connection (hold_projects) by the page that
--                          has a person's new login carried through their rows
--   5. projects            in the order of their ids; all of a connection by a repository that was renamed
--   6. sync_jobs
--   7. sync_failures, and the rows that the project has
--   8. connections         what one says of itself: UPDATEs of it come last, since holding it does not block them
--
-- What would be against the order is taken only if it is free (SKIP LOCKED); so is whatever is looked for among the
-- rows of many accounts. A customer may break the order in a transaction of several calls, and may leave it open for as
-- long as they like: the worker waits for a moment, puts the job back, and leaves the account alone for a while
-- (outside/set_aside.c).
CREATE FUNCTION keypup.hold_connection(account uuid, connection uuid) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT true FROM keypup.connections c WHERE c.account_id = account AND c.connection_id = connection FOR KEY SHARE
$$;
REVOKE ALL ON FUNCTION keypup.hold_connection(uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.hold_connection(uuid, uuid) TO keypup_worker;
COMMENT ON FUNCTION keypup.hold_connection(uuid, uuid) IS
  'Keeps a connection from being removed until the transaction ends. NULL when it is gone.';

CREATE FUNCTION keypup.provider_of(account uuid, connection uuid) RETURNS keypup.providers
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT p.* FROM keypup.connections c JOIN keypup.providers p USING (provider)
  WHERE c.account_id = account AND c.connection_id = connection
$$;
REVOKE ALL ON FUNCTION keypup.provider_of(uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.provider_of(uuid, uuid) TO keypup_worker;
COMMENT ON FUNCTION keypup.provider_of(uuid, uuid) IS 'The provider that a connection is a way in to.';

CREATE VIEW keypup.halted_connections WITH (security_invoker = true, security_barrier = true) AS
SELECT c.account_id, c.connection_id, c.name AS connection, 'stopped' AS phase,
  coalesce(c.blocked_reason, 'the token was refused') AS reason, c.blocked_hint AS hint, c.refused_at AS since,
  CASE WHEN c.origin = (SELECT keypup.this_database()) AND isfinite(c.retry_at) THEN c.retry_at END AS tried_again_at
FROM keypup.connections c
WHERE c.state = 'token_refused'
UNION ALL
SELECT c.account_id, c.connection_id, c.name, 'restored',
  'the connection was made in another database, of which this is a copy',
  'Where this one is to read in its place, an operator calls keypup.resume_connections.', NULL, NULL
FROM keypup.connections c
WHERE c.state <> 'token_refused' AND c.origin <> (SELECT keypup.this_database());
REVOKE ALL ON keypup.halted_connections FROM PUBLIC;
GRANT SELECT ON keypup.halted_connections TO keypup_member;
COMMENT ON VIEW keypup.halted_connections IS
  'One row a connection through which nothing is asked until somebody acts, or the provider accepts its token again.';
COMMENT ON COLUMN keypup.halted_connections.account_id IS 'The account.';
COMMENT ON COLUMN keypup.halted_connections.connection_id IS 'The connection.';
COMMENT ON COLUMN keypup.halted_connections.connection IS 'Name of the connection.';
COMMENT ON COLUMN keypup.halted_connections.phase IS
  'stopped: the token was refused, or cannot be opened any more. restored: this is a copy of the database in which it '
  'was made. As in sync_status, where each of its projects shows it.';
COMMENT ON COLUMN keypup.halted_connections.reason IS 'Why nothing is asked.';
COMMENT ON COLUMN keypup.halted_connections.hint IS 'What to do about it.';
COMMENT ON COLUMN keypup.halted_connections.since IS 'Since when; NULL where that is not known.';
COMMENT ON COLUMN keypup.halted_connections.tried_again_at IS
  'When the provider is next asked whether it accepts the token again, once an hour; NULL where only a person can '
  'help.';

CREATE FUNCTION keypup.guard_origin(account_id uuid, connection_id uuid) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  halt record;
BEGIN
  SELECT h.reason, h.hint INTO halt FROM keypup.halted_connections h
  WHERE h.account_id = guard_origin.account_id AND h.connection_id = guard_origin.connection_id
    AND h.phase = 'restored';
  IF FOUND THEN
    RAISE EXCEPTION '%', halt.reason USING ERRCODE = 'object_not_in_prerequisite_state', HINT = halt.hint;
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.guard_origin(uuid, uuid) FROM PUBLIC;
COMMENT ON FUNCTION keypup.guard_origin(uuid, uuid) IS
  'Refuses to ask by a connection that was made in another database.';

CREATE TABLE keypup.connection_tokens (
  account_id uuid NOT NULL,
  connection_id uuid NOT NULL,
  purpose text NOT NULL CHECK (purpose IN ('access_token', 'refresh_token', 'webhook_secret', 'webhook_secret_before',
    'app_key')),
  revision bigint NOT NULL DEFAULT 1,
  envelope bytea NOT NULL CHECK (octet_length(envelope) BETWEEN 37 AND 8228 AND substr(envelope, 1, 4) = '\x4b500101'),
  key_id integer GENERATED ALWAYS AS (keypup.token_key_id(envelope)) STORED,
  reseal_failed_at timestamptz,
  expires_at timestamptz,
  made_by keypup.maker,
  PRIMARY KEY (account_id, connection_id, purpose),
  FOREIGN KEY (account_id, connection_id) REFERENCES keypup.connections ON DELETE CASCADE
);
CREATE INDEX connection_tokens_key ON keypup.connection_tokens (key_id);
ALTER TABLE keypup.connection_tokens ALTER COLUMN envelope SET STORAGE EXTERNAL, ALTER COLUMN envelope SET STATISTICS 0;
COMMENT ON TABLE keypup.connection_tokens IS
  'Sealed tokens. No member may read this table; the worker opens one for one request.';
COMMENT ON COLUMN keypup.connection_tokens.connection_id IS 'The connection that the token is for.';
COMMENT ON COLUMN keypup.connection_tokens.purpose IS 'What the secret is for; bound into the envelope.';
COMMENT ON COLUMN keypup.connection_tokens.revision IS
  'Rises when the token is replaced or sealed again; bound into the envelope, so that an older one no longer opens.';
COMMENT ON COLUMN keypup.connection_tokens.envelope IS 'AES-256-GCM envelope version 1.';
COMMENT ON COLUMN keypup.connection_tokens.key_id IS 'The data key that it is sealed with, as the envelope says.';
COMMENT ON COLUMN keypup.connection_tokens.reseal_failed_at IS
  'When it last could not be opened to be sealed again; NULL when all is well.';
COMMENT ON COLUMN keypup.connection_tokens.expires_at IS
  'Not used from then on: a token that an app was given, or a webhook secret that was replaced; NULL for what a '
  'person gave.';
COMMENT ON COLUMN keypup.connection_tokens.made_by IS
  'Of a webhook''s secret, who set it: it holds while they could set one. NULL for others.';
SELECT keypup.protect_table('keypup.connection_tokens', 'tokens.read');
REVOKE ALL ON keypup.connection_tokens FROM keypup_member, keypup_worker;
GRANT SELECT ON keypup.connection_tokens TO keypup_worker;
DROP POLICY member_reads ON keypup.connection_tokens;

CREATE FUNCTION keypup.token_context(account_id uuid, connection_id uuid, revision bigint, purpose text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT format('account:%s/connection:%s/rev:%s/%s', account_id, connection_id, revision, purpose) $$;
REVOKE ALL ON FUNCTION keypup.token_context(uuid, uuid, bigint, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.token_context(uuid, uuid, bigint, text) TO keypup_worker;
COMMENT ON FUNCTION keypup.token_context(uuid, uuid, bigint, text) IS
  'What a connection''s secret belongs to; sealed into its envelope.';
