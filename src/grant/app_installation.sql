-- grant/app_installation.sql: connections that sign in as an app. The key is sealed in keypup.connection_tokens, as is
-- the token that it gets.

CREATE TABLE keypup.app_installations (
  account_id uuid NOT NULL,
  connection_id uuid NOT NULL,
  app_id text NOT NULL CHECK (app_id ~ '^[A-Za-z0-9._-]{1,100}$'),
  installation_id bigint NOT NULL CHECK (installation_id > 0),
  ask_at timestamptz NOT NULL DEFAULT now(),
  failures bigint NOT NULL DEFAULT 0,
  is_renewed boolean NOT NULL DEFAULT false,
  clock_ahead interval NOT NULL DEFAULT '0',
  wanted_until timestamptz,
  deployments_refused_at timestamptz,
  checks_refused_at timestamptz,
  doubt timestamptz,
  PRIMARY KEY (account_id, connection_id),
  FOREIGN KEY (account_id, connection_id) REFERENCES keypup.connections ON DELETE CASCADE
);
COMMENT ON TABLE keypup.app_installations IS
  'Which installation of which app a connection reads as. Other connections have a token that a person gave.';
COMMENT ON COLUMN keypup.app_installations.connection_id IS 'The connection.';
COMMENT ON COLUMN keypup.app_installations.app_id IS 'Id of the app at the provider, or its client id.';
COMMENT ON COLUMN keypup.app_installations.installation_id IS 'Id of the installation at the provider.';
COMMENT ON COLUMN keypup.app_installations.ask_at IS
  'When the next token is asked for, if jobs wait or wanted_until has not come.';
COMMENT ON COLUMN keypup.app_installations.failures IS 'How often none was to be had since the last.';
COMMENT ON COLUMN keypup.app_installations.is_renewed IS
  'Whether the token was asked for because the provider refused the one before, and has not read anything yet.';
COMMENT ON COLUMN keypup.app_installations.clock_ahead IS
  'How far the provider''s clock is ahead of this server''s, where a web token was refused for it.';
COMMENT ON COLUMN keypup.app_installations.wanted_until IS
  'Until then a token is asked for though no job waits: somebody wants to know what could be tracked.';
COMMENT ON COLUMN keypup.app_installations.deployments_refused_at IS
  'When the provider last gave no token that may read deployments: for a day one is asked for that may not.';
COMMENT ON COLUMN keypup.app_installations.checks_refused_at IS
  'The same for checks, which are left out first.';
COMMENT ON COLUMN keypup.app_installations.doubt IS
  'The refused_at of the connection when its token was asked for last, as in sync_jobs.';
SELECT keypup.protect_table('keypup.app_installations', 'settings.read');
