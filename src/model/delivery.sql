-- model/delivery.sql: what was delivered, and when. Metadata only: no asset, no payload, no log, no notes.

CREATE TABLE keypup.releases (
  account_id uuid NOT NULL,
  project_id bigint NOT NULL,
  external_id text NOT NULL,
  tag_name text NOT NULL,
  name text,
  url text,
  author text,
  author_is_bot boolean NOT NULL DEFAULT false,
  is_draft boolean NOT NULL,
  is_prerelease boolean NOT NULL,
  created_at timestamptz NOT NULL,
  published_at timestamptz,
  updated_at timestamptz NOT NULL,
  commit_at timestamptz,
  deleted_at timestamptz,
  PRIMARY KEY (account_id, project_id, external_id),
  FOREIGN KEY (account_id, project_id) REFERENCES keypup.projects ON DELETE CASCADE,
  CHECK (least(created_at, published_at, updated_at) >= '0001-01-01 00:00:00+00'
    AND greatest(created_at, published_at, updated_at) < '10000-01-01 00:00:00+00' AND isfinite(commit_at))
);
CREATE INDEX releases_published_at ON keypup.releases (account_id, project_id, published_at);
COMMENT ON TABLE keypup.releases IS
  'Releases of a project: when each was published, and of which commit. No asset, no notes.';
COMMENT ON COLUMN keypup.releases.project_id IS 'The project.';
COMMENT ON COLUMN keypup.releases.external_id IS 'The provider''s id.';
COMMENT ON COLUMN keypup.releases.tag_name IS 'The tag.';
COMMENT ON COLUMN keypup.releases.name IS 'Its title; NULL without one.';
COMMENT ON COLUMN keypup.releases.url IS 'Where a person reads it.';
COMMENT ON COLUMN keypup.releases.author IS 'Login of who made it; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.releases.author_is_bot IS 'Whether a bot made it.';
COMMENT ON COLUMN keypup.releases.is_draft IS 'Whether it is still a draft.';
COMMENT ON COLUMN keypup.releases.is_prerelease IS 'Whether it is marked as not ready for production.';
COMMENT ON COLUMN keypup.releases.created_at IS 'When it was created.';
COMMENT ON COLUMN keypup.releases.published_at IS 'When it was published; NULL while a draft.';
COMMENT ON COLUMN keypup.releases.updated_at IS 'When it last changed.';
COMMENT ON COLUMN keypup.releases.commit_at IS 'When the commit of the tag was committed; NULL when there is none.';
COMMENT ON COLUMN keypup.releases.deleted_at IS 'When the sync found it gone; NULL while the provider has it.';
SELECT keypup.protect_table('keypup.releases', 'data.read');

CREATE TABLE keypup.deployments (
  account_id uuid NOT NULL,
  project_id bigint NOT NULL,
  external_id text NOT NULL,
  environment text NOT NULL,
  state text NOT NULL,
  ref text,
  creator text,
  creator_is_bot boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  commit_at timestamptz,
  succeeded_at timestamptz,
  failed_at timestamptz,
  deleted_at timestamptz,
  PRIMARY KEY (account_id, project_id, external_id),
  FOREIGN KEY (account_id, project_id) REFERENCES keypup.projects ON DELETE CASCADE,
  CHECK (least(created_at, updated_at, succeeded_at, failed_at) >= '0001-01-01 00:00:00+00'
    AND greatest(created_at, updated_at, succeeded_at, failed_at) < '10000-01-01 00:00:00+00' AND isfinite(commit_at))
);
CREATE INDEX deployments_created_at ON keypup.deployments (account_id, project_id, created_at);
-- What may still change, among many that will not.
CREATE INDEX deployments_unfinished ON keypup.deployments (account_id, project_id, created_at)
  WHERE state IN ('active', 'success', 'in_progress', 'pending', 'queued', 'waiting');
COMMENT ON TABLE keypup.deployments IS 'Deployments of a project: where, when, and how each ended. No payload, no log.';
COMMENT ON COLUMN keypup.deployments.project_id IS 'The project.';
COMMENT ON COLUMN keypup.deployments.external_id IS 'The provider''s id.';
COMMENT ON COLUMN keypup.deployments.environment IS 'Where it was deployed to, as the provider names it.';
COMMENT ON COLUMN keypup.deployments.state IS
  'What the provider says now, in lower case: active, inactive (a later one took its place), failure, in_progress …';
COMMENT ON COLUMN keypup.deployments.ref IS 'Name of the branch or tag deployed; NULL when it is gone.';
COMMENT ON COLUMN keypup.deployments.creator IS 'Login of who deployed; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.deployments.creator_is_bot IS 'Whether a bot deployed.';
COMMENT ON COLUMN keypup.deployments.created_at IS 'When it was begun.';
COMMENT ON COLUMN keypup.deployments.updated_at IS 'When it last changed.';
COMMENT ON COLUMN keypup.deployments.commit_at IS 'When the deployed commit was committed.';
COMMENT ON COLUMN keypup.deployments.succeeded_at IS 'When it first succeeded; NULL while it has not.';
COMMENT ON COLUMN keypup.deployments.failed_at IS 'When it first failed or ended in an error; NULL while it has not.';
COMMENT ON COLUMN keypup.deployments.deleted_at IS 'When the sync found it gone; NULL while the provider has it.';
SELECT keypup.protect_table('keypup.deployments', 'data.read');
