-- model/commit.sql: who worked on pull requests, and when: their commits, each by its id, its author and its time, and
-- nothing of what is in it.

CREATE TABLE keypup.pull_request_commits (
  account_id uuid NOT NULL,
  project_id bigint NOT NULL,
  pull_request_number bigint NOT NULL,
  external_id text NOT NULL,
  commit_id text NOT NULL,
  author text,
  author_is_bot boolean NOT NULL DEFAULT false,
  authored_at timestamptz NOT NULL CHECK (isfinite(authored_at)),
  PRIMARY KEY (account_id, project_id, pull_request_number, external_id),
  FOREIGN KEY (account_id, project_id, pull_request_number) REFERENCES keypup.pull_requests ON DELETE CASCADE
);
CREATE INDEX pull_request_commits_authored ON keypup.pull_request_commits (account_id, authored_at);
COMMENT ON TABLE keypup.pull_request_commits IS
  'Commits of pull requests: who wrote them and when, not what. Those that a push replaced are gone.';
COMMENT ON COLUMN keypup.pull_request_commits.project_id IS 'The project.';
COMMENT ON COLUMN keypup.pull_request_commits.pull_request_number IS 'The pull request.';
COMMENT ON COLUMN keypup.pull_request_commits.external_id IS 'The provider''s id of the commit in this pull request.';
COMMENT ON COLUMN keypup.pull_request_commits.commit_id IS
  'Id of the commit, which is the same in all pull requests that have it.';
COMMENT ON COLUMN keypup.pull_request_commits.author IS
  'Login of its author; NULL where the provider knows nobody of the author''s address.';
COMMENT ON COLUMN keypup.pull_request_commits.author_is_bot IS 'Whether a bot wrote it.';
COMMENT ON COLUMN keypup.pull_request_commits.authored_at IS
  'When it was written, by the author''s own clock: years off at times. A rebase keeps it.';
SELECT keypup.protect_table('keypup.pull_request_commits', 'data.read');
