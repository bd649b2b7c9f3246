-- provider/provider.sql: what a provider is: one row of this table, and SQL functions with fixed names (contract.sql),
-- in a folder of its own. All that differs between providers and is not in one of those functions stands here.

CREATE TABLE keypup.providers (
  -- keypup.provider_page and keypup.default_settle are nobody's.
  provider text PRIMARY KEY
    CHECK (provider COLLATE "C" ~ '^[a-z][a-z0-9]{0,14}$' AND provider NOT IN ('provider', 'default')),
  title text NOT NULL,
  default_url text,
  project_pattern text NOT NULL,
  project_hint text NOT NULL,
  token_hint text NOT NULL,
  authorizes_by text NOT NULL CHECK (authorizes_by IN ('bearer', 'basic', 'raw', 'oauth')),
  token_header text NOT NULL DEFAULT 'Authorization' CHECK (token_header COLLATE "C" ~ '^[A-Za-z][A-Za-z0-9-]{0,39}$'),
  reply_headers text[] NOT NULL DEFAULT '{}' CHECK (array_to_string(reply_headers, ' ') COLLATE "C" ~ '^[a-z0-9 -]*$'),
  webhook_signature text CHECK (
    webhook_signature IN ('hmac-sha256-hex', 'hmac-sha256-base64', 'hmac-sha1-base64', 'secret')),
  grant_kind text NOT NULL DEFAULT 'none' CHECK (grant_kind IN ('none', 'app')),
  first_kind text NOT NULL DEFAULT 'project' CHECK (first_kind <> 'poll'),
  poll_size integer NOT NULL DEFAULT 0 CHECK (poll_size BETWEEN 0 AND 100),
  offers text[] NOT NULL DEFAULT '{}' CHECK (offers <@ '{discover,sign_in}'),
  reads text[] NOT NULL CHECK (reads <@ '{pull_requests,reviews,issues,comments,labels,milestones,timeline_events,'
    'releases,deployments,status_history,sprints,commits,merge_states,checks}'),
  batched_kinds text[] NOT NULL DEFAULT '{}',
  refusable jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(refusable) = 'array')
);
COMMENT ON TABLE keypup.providers IS 'The providers that this version knows.';
COMMENT ON COLUMN keypup.providers.provider IS
  'Name by which connect addresses the provider, and with which its functions begin.';
COMMENT ON COLUMN keypup.providers.title IS 'What people call it.';
COMMENT ON COLUMN keypup.providers.default_url IS
  'Where its API is, where connect is given no other; NULL: connect must be told.';
COMMENT ON COLUMN keypup.providers.project_pattern IS 'A regular expression that the name of a project fits.';
COMMENT ON COLUMN keypup.providers.project_hint IS 'How the name of a project is written.';
COMMENT ON COLUMN keypup.providers.token_hint IS 'Where a token comes from, and how it is written.';
COMMENT ON COLUMN keypup.providers.authorizes_by IS
  'How a request shows the token: bearer (RFC 6750); basic (RFC 7617), a token of the form user:secret; raw, the '
  'token and nothing else; oauth, a token of the form key:token, as OAuth oauth_consumer_key="key", '
  'oauth_token="token".';
COMMENT ON COLUMN keypup.providers.token_header IS 'The header that shows it.';
COMMENT ON COLUMN keypup.providers.reply_headers IS
  'Headers of an answer, in lower case, that the provider''s functions are told beside those that they always are.';
COMMENT ON COLUMN keypup.providers.webhook_signature IS
  'How a webhook is signed; NULL: the provider sends none that can be believed.';
COMMENT ON COLUMN keypup.providers.grant_kind IS 'Whether a connection can be an app, that gets its tokens itself.';
COMMENT ON COLUMN keypup.providers.first_kind IS
  'The kind of the job that a run begins with; the provider''s own word.';
COMMENT ON COLUMN keypup.providers.poll_size IS
  'Of how many projects one request, a job of kind poll, can ask whether they changed; 0 or 1: each has a run.';
COMMENT ON COLUMN keypup.providers.offers IS
  'discover: it lists what a connection could track. sign_in: people can sign in with a token of their own.';
COMMENT ON COLUMN keypup.providers.reads IS 'What is read of it; provider_capabilities says it for each.';
COMMENT ON COLUMN keypup.providers.batched_kinds IS
  'Kinds of jobs that ask for several things, as many as connections.batch_size says: it follows how quickly these '
  'are answered.';
COMMENT ON COLUMN keypup.providers.refusable IS
  'What a token may be refused though it may read the project, as [[name in sync_state.refused_fields, what people '
  'call it], …].';
GRANT SELECT ON keypup.providers TO keypup_member, keypup_worker;
-- The same for all who may read it; nobody may write.
SELECT keypup.close_table('keypup.providers');
CREATE POLICY all_read ON keypup.providers FOR SELECT TO keypup_member, keypup_worker USING (true);

CREATE VIEW keypup.provider_capabilities WITH (security_invoker = true, security_barrier = true) AS
SELECT a.account_id, p.provider, p.title, c.capability, c.capability = ANY (p.reads) AS is_read, c.relation
FROM keypup.accounts a
CROSS JOIN keypup.providers p
CROSS JOIN (VALUES
  ('pull_requests', 'pull_requests'), ('reviews', 'reviews'), ('issues', 'issues'), ('comments', 'comments'),
  ('labels', 'labels'), ('milestones', 'milestones'), ('timeline_events', 'timeline_events'),
  ('releases', 'releases'), ('deployments', 'deployments'), ('status_history', 'timeline_events'),
  ('sprints', 'sprints'), ('commits', 'pull_request_commits'),
  ('merge_states', 'pull_request_merge_states'), ('checks', 'pull_request_checks'))
  AS c (capability, relation);
REVOKE ALL ON keypup.provider_capabilities FROM PUBLIC;
GRANT SELECT ON keypup.provider_capabilities TO keypup_member;
COMMENT ON VIEW keypup.provider_capabilities IS
  'What is read of each provider and what is not, so that a relation without rows, or a NULL, says which of the two '
  'it means.';
COMMENT ON COLUMN keypup.provider_capabilities.account_id IS 'The account.';
COMMENT ON COLUMN keypup.provider_capabilities.provider IS 'The provider, as in connections.';
COMMENT ON COLUMN keypup.provider_capabilities.title IS 'What people call it.';
COMMENT ON COLUMN keypup.provider_capabilities.capability IS 'What may be read.';
COMMENT ON COLUMN keypup.provider_capabilities.is_read IS 'Whether it is.';
COMMENT ON COLUMN keypup.provider_capabilities.relation IS 'Where it stands then.';
