-- model/check.sql: how a pull request stands that is open, or was when it was last read: the checks of its newest
-- commit, whether it can be merged, and what its base branch asks for. None of it changes the time of its last change.

CREATE TABLE keypup.pull_request_merge_states (
  account_id uuid NOT NULL,
  project_id bigint NOT NULL,
  pull_request_number bigint NOT NULL,
  external_id text NOT NULL,
  updated_at timestamptz NOT NULL,
  head_commit text,
  has_conflicts boolean,
  is_behind boolean,
  check_state text CHECK (check_state IN ('pending', 'failure', 'success')),
  review_decision text CHECK (review_decision IN ('approved', 'changes_requested', 'review_required')),
  required_approvals bigint CHECK (required_approvals >= 0),
  next_read_at timestamptz,
  PRIMARY KEY (account_id, project_id, pull_request_number),
  FOREIGN KEY (account_id, project_id, pull_request_number) REFERENCES keypup.pull_requests ON DELETE CASCADE,
  -- PostgreSQL has times without end, and years of six digits; no provider's clock has.
  CHECK (updated_at >= '0001-01-01 00:00:00+00' AND updated_at < '10000-01-01 00:00:00+00')
) WITH (fillfactor = 50);
CREATE INDEX pull_request_merge_states_due ON keypup.pull_request_merge_states (account_id, project_id)
  WHERE next_read_at IS NOT NULL;
COMMENT ON TABLE keypup.pull_request_merge_states IS
  'What stands between a pull request and its merge, as it was when it was last read. Those that were closed before '
  'they were first read have no row.';
COMMENT ON COLUMN keypup.pull_request_merge_states.project_id IS 'The project.';
COMMENT ON COLUMN keypup.pull_request_merge_states.pull_request_number IS 'The pull request.';
COMMENT ON COLUMN keypup.pull_request_merge_states.external_id IS
  'The id by which the provider''s API asks for the pull request.';
COMMENT ON COLUMN keypup.pull_request_merge_states.updated_at IS
  'The provider''s time of last change of the pull request, when this was read.';
COMMENT ON COLUMN keypup.pull_request_merge_states.head_commit IS
  'Id of its newest commit, by which its checks name it; NULL where it has none.';
COMMENT ON COLUMN keypup.pull_request_merge_states.has_conflicts IS
  'Whether it conflicts with its base branch; NULL while the provider does not know.';
COMMENT ON COLUMN keypup.pull_request_merge_states.is_behind IS
  'Whether its base branch has moved on, and has to be merged into it first; NULL while the provider does not know.';
COMMENT ON COLUMN keypup.pull_request_merge_states.check_state IS
  'The checks of its newest commit together: failure (one at least failed), pending (one at least has not ended), or '
  'success. NULL without checks, and where the token may not read them.';
COMMENT ON COLUMN keypup.pull_request_merge_states.review_decision IS
  'What the provider makes of its reviews by the rules of the base branch: approved, changes_requested or '
  'review_required; NULL where no rule asks for a review.';
COMMENT ON COLUMN keypup.pull_request_merge_states.required_approvals IS
  'Approvals that the rules of its base branch ask for; NULL where the token may not read all of them.';
COMMENT ON COLUMN keypup.pull_request_merge_states.next_read_at IS
  'From when on the next run, or poll, asks again how it stands; NULL: once the pull request is read again.';
SELECT keypup.protect_table('keypup.pull_request_merge_states', 'data.read');

CREATE TABLE keypup.pull_request_checks (
  account_id uuid NOT NULL,
  project_id bigint NOT NULL,
  pull_request_number bigint NOT NULL,
  external_id text NOT NULL,
  head_commit text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('check_run', 'commit_status')),
  workflow text,
  name text NOT NULL,
  status text NOT NULL CHECK (status IN ('queued', 'in_progress', 'completed')),
  conclusion text,
  started_at timestamptz,
  completed_at timestamptz,
  PRIMARY KEY (account_id, project_id, pull_request_number, external_id),
  FOREIGN KEY (account_id, project_id, pull_request_number) REFERENCES keypup.pull_requests ON DELETE CASCADE,
  CHECK (status = 'completed' OR conclusion IS NULL AND completed_at IS NULL),
  -- PostgreSQL has times without end, and years of six digits; no provider's clock has.
  CHECK (least(started_at, completed_at) >= '0001-01-01 00:00:00+00'
    AND greatest(started_at, completed_at) < '10000-01-01 00:00:00+00')
) WITH (fillfactor = 80);
COMMENT ON TABLE keypup.pull_request_checks IS
  'Runs of checks on the newest commits of pull requests: what ran, when, and how it ended. No logs, no output. What '
  'has ended stays when another commit is pushed, or the check is run again.';
COMMENT ON COLUMN keypup.pull_request_checks.project_id IS 'The project.';
COMMENT ON COLUMN keypup.pull_request_checks.pull_request_number IS 'The pull request.';
COMMENT ON COLUMN keypup.pull_request_checks.external_id IS 'The provider''s id.';
COMMENT ON COLUMN keypup.pull_request_checks.head_commit IS 'Id of the commit, which was the newest when it was read.';
COMMENT ON COLUMN keypup.pull_request_checks.kind IS
  'check_run, or commit_status: of these only the end is told, not when it began.';
COMMENT ON COLUMN keypup.pull_request_checks.workflow IS
  'Name of the workflow that it is a part of: two may have checks of one name. NULL where it is part of none, and '
  'where the token may not read it.';
COMMENT ON COLUMN keypup.pull_request_checks.name IS 'Name of the check; of a commit status, its context.';
COMMENT ON COLUMN keypup.pull_request_checks.status IS 'queued, in_progress or completed.';
COMMENT ON COLUMN keypup.pull_request_checks.conclusion IS
  'How it ended: success, neutral or skipped, which passed; failure, timed_out or startup_failure, which failed; '
  'cancelled, action_required, stale, or another word of the provider, which did neither. NULL until then.';
COMMENT ON COLUMN keypup.pull_request_checks.started_at IS 'When it began; NULL where the provider does not say it.';
COMMENT ON COLUMN keypup.pull_request_checks.completed_at IS 'When it ended; NULL until then.';
SELECT keypup.protect_table('keypup.pull_request_checks', 'data.read');
