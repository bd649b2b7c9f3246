-- insight/cycle_time.sql: where the time of a pull request goes. doc/cycle-time.md has the definitions.

CREATE VIEW keypup.pull_request_cycle WITH (security_invoker = true, security_barrier = true) AS
WITH milestone AS (
  SELECT p.account_id, p.project_id, p.number, p.title, p.author, p.author_is_bot, p.state,
    p.first_commit_at, p.created_at, p.ready_at, p.review_requested_at, r.first_review_at, r.first_approval_at,
    p.merged_at, p.is_draft, p.merged_by, p.additions, p.deletions, p.requested_reviewers, p.updated_at, p.key,
    -- Coding starts with the first commit, unless a rebase has dated it after the opening.
    least(p.first_commit_at, p.created_at, p.ready_at, p.merged_at) AS coding_started_at
  FROM keypup.pull_requests p
  -- A review counts from the time the pull request was ready until it was merged. Each looks its own up: a join with
  -- all of them is a bad plan wherever the planner has no figures yet.
  LEFT JOIN LATERAL (
    SELECT min(v.submitted_at) AS first_review_at,
      min(v.submitted_at) FILTER (WHERE v.state = 'approved') AS first_approval_at
    FROM keypup.reviews v
    WHERE v.account_id = p.account_id AND v.project_id = p.project_id AND v.pull_request_number = p.number
      AND NOT v.author_is_bot AND v.author IS DISTINCT FROM p.author AND NOT v.is_by_author
      AND v.state <> 'pending' AND v.submitted_at >= p.ready_at
        AND (p.merged_at IS NULL OR v.submitted_at <= p.merged_at)
  ) AS r ON true
  WHERE p.deleted_at IS NULL
)
SELECT m.account_id, m.project_id, m.number, m.title, m.author, m.author_is_bot, m.state,
  m.first_commit_at, m.created_at, m.ready_at, m.review_requested_at, m.first_review_at, m.first_approval_at,
  m.merged_at, least(m.ready_at, m.merged_at) - m.coding_started_at AS coding_time,
  m.first_review_at - m.ready_at AS pickup_time,
  coalesce(m.first_approval_at, m.merged_at) - m.first_review_at AS review_time,
  m.merged_at - m.first_approval_at AS merge_time,
  CASE WHEN m.first_review_at IS NULL AND m.ready_at <= m.merged_at
    THEN m.merged_at - m.ready_at END AS unreviewed_time,
  m.merged_at - m.coding_started_at AS cycle_time,
  CASE WHEN m.first_review_at >= m.review_requested_at THEN m.first_review_at - m.review_requested_at END AS idle_time,
  m.is_draft, m.merged_by, m.additions, m.deletions, m.requested_reviewers, m.updated_at, m.key
FROM milestone m;
REVOKE ALL ON keypup.pull_request_cycle FROM PUBLIC;
GRANT SELECT ON keypup.pull_request_cycle TO keypup_member;
COMMENT ON VIEW keypup.pull_request_cycle IS
  'One row a pull request: when it passed each stage, and how long each took. The stages of a merged one sum to '
  'cycle_time.';
COMMENT ON COLUMN keypup.pull_request_cycle.account_id IS 'The account.';
COMMENT ON COLUMN keypup.pull_request_cycle.project_id IS 'The project.';
COMMENT ON COLUMN keypup.pull_request_cycle.key IS 'As people write it: #12 or !12.';
COMMENT ON COLUMN keypup.pull_request_cycle.number IS 'Number within the project.';
COMMENT ON COLUMN keypup.pull_request_cycle.title IS 'Title.';
COMMENT ON COLUMN keypup.pull_request_cycle.author IS 'Login; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.pull_request_cycle.author_is_bot IS 'Whether a bot opened it.';
COMMENT ON COLUMN keypup.pull_request_cycle.state IS 'open, closed or merged.';
COMMENT ON COLUMN keypup.pull_request_cycle.first_commit_at IS
  'When the first commit was authored, as the provider gives it.';
COMMENT ON COLUMN keypup.pull_request_cycle.created_at IS 'When it was opened.';
COMMENT ON COLUMN keypup.pull_request_cycle.ready_at IS
  'When it was last marked ready for review, or opened if never a draft; NULL while a draft.';
COMMENT ON COLUMN keypup.pull_request_cycle.review_requested_at IS 'First time that a review was requested.';
COMMENT ON COLUMN keypup.pull_request_cycle.first_review_at IS
  'First review between ready and merge by a person who is not the author; NULL while there is none.';
COMMENT ON COLUMN keypup.pull_request_cycle.first_approval_at IS
  'First such review that approves; NULL while there is none.';
COMMENT ON COLUMN keypup.pull_request_cycle.merged_at IS 'When it was merged; NULL if not.';
COMMENT ON COLUMN keypup.pull_request_cycle.coding_time IS 'First commit (or opening, if earlier) to ready.';
COMMENT ON COLUMN keypup.pull_request_cycle.pickup_time IS 'Ready to the first review; NULL without one.';
COMMENT ON COLUMN keypup.pull_request_cycle.review_time IS
  'First review to first approval, or to the merge where nobody approved.';
COMMENT ON COLUMN keypup.pull_request_cycle.merge_time IS 'First approval to merge; NULL without an approval.';
COMMENT ON COLUMN keypup.pull_request_cycle.unreviewed_time IS 'Ready to merge where nobody reviewed; NULL otherwise.';
COMMENT ON COLUMN keypup.pull_request_cycle.cycle_time IS
  'Start of coding to merge: the sum of the stages; NULL until merged.';
COMMENT ON COLUMN keypup.pull_request_cycle.idle_time IS
  'First review request to the first review; stands beside the stages and is no part of the sum.';
COMMENT ON COLUMN keypup.pull_request_cycle.is_draft IS 'Whether it is a draft now, or was when it was closed.';
COMMENT ON COLUMN keypup.pull_request_cycle.merged_by IS
  'Login of who merged it; NULL if it was not merged, or the user was deleted.';
COMMENT ON COLUMN keypup.pull_request_cycle.additions IS 'Lines added.';
COMMENT ON COLUMN keypup.pull_request_cycle.deletions IS 'Lines deleted.';
COMMENT ON COLUMN keypup.pull_request_cycle.requested_reviewers IS 'Logins of who is asked for a review now.';
COMMENT ON COLUMN keypup.pull_request_cycle.updated_at IS 'The provider''s time of last change.';
