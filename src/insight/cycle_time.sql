-- insight/cycle_time.sql: where the time of a pull request goes. doc/cycle-time.md has the definitions.

CREATE FUNCTION keypup.time_in_spans(spans tstzrange[], from_at timestamptz, until_at timestamptz) RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT coalesce(sum(greatest(least(upper(s.span), until_at) - greatest(lower(s.span), from_at), interval '0')),
    interval '0')
  FROM unnest(spans) AS s (span)
$$;
REVOKE ALL ON FUNCTION keypup.time_in_spans(tstzrange[], timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.time_in_spans(tstzrange[], timestamptz, timestamptz) TO keypup_member;
COMMENT ON FUNCTION keypup.time_in_spans(tstzrange[], timestamptz, timestamptz) IS
  'How much of the time between two moments lies in spans that do not overlap.';

CREATE VIEW keypup.pull_request_cycle WITH (security_invoker = true, security_barrier = true) AS
WITH milestone AS (
  -- When each was passed is derived as rows are stored (model/derive.sql), and so is as a draft again: seldom ever.
  SELECT p.*,
    -- Coding starts with the first commit, unless a rebase has dated it after the opening.
    least(p.first_commit_at, p.created_at, p.ready_at, p.merged_at) AS coding_started_at,
    CASE WHEN p.draft_spans IS NOT NULL THEN keypup.time_in_spans(p.draft_spans, p.ready_at,
      coalesce(p.first_review_at, p.merged_at)) ELSE '0' END AS draft_until_review,
    CASE WHEN p.draft_spans IS NOT NULL THEN keypup.time_in_spans(p.draft_spans, p.first_review_at,
      coalesce(p.first_approval_at, p.merged_at)) ELSE '0' END AS draft_until_approval,
    CASE WHEN p.draft_spans IS NOT NULL THEN keypup.time_in_spans(p.draft_spans, p.first_approval_at,
      p.merged_at) ELSE '0' END AS draft_until_merge
  FROM keypup.pull_requests p
  WHERE p.deleted_at IS NULL
)
SELECT m.account_id, m.project_id, (
    SELECT j.name FROM keypup.projects j
    WHERE j.account_id = m.account_id AND j.project_id = m.project_id) AS project,
  m.number, m.title, m.author, m.author_is_bot, m.state,
  m.first_commit_at, m.created_at, m.ready_at, m.review_requested_at, m.first_response_at, m.first_review_at,
  m.first_approval_at, m.merged_at, least(m.ready_at, m.merged_at) - m.coding_started_at AS coding_time,
  m.first_review_at - m.ready_at - m.draft_until_review AS pickup_time,
  coalesce(m.first_approval_at, m.merged_at) - m.first_review_at - m.draft_until_approval AS review_time,
  m.merged_at - m.first_approval_at - m.draft_until_merge AS merge_time,
  CASE WHEN m.first_review_at IS NULL AND m.ready_at <= m.merged_at
    THEN m.merged_at - m.ready_at - m.draft_until_review END AS unreviewed_time,
  CASE WHEN m.draft_spans IS NOT NULL AND m.ready_at <= m.merged_at
    THEN keypup.time_in_spans(m.draft_spans, m.ready_at, m.merged_at) END AS draft_time,
  m.merged_at - m.coding_started_at AS cycle_time,
  CASE WHEN m.first_review_at >= m.review_requested_at THEN m.first_review_at - m.review_requested_at END AS idle_time,
  coalesce(m.first_commit_at < m.created_at - interval '90 days', false) AS is_first_commit_old,
  m.is_draft, m.merged_by, m.additions, m.deletions, m.requested_reviewers, m.updated_at, m.key
FROM milestone m;
REVOKE ALL ON keypup.pull_request_cycle FROM PUBLIC;
GRANT SELECT ON keypup.pull_request_cycle TO keypup_member;
COMMENT ON VIEW keypup.pull_request_cycle IS
  'One row a pull request: when it passed each stage, and how long each took. The stages of a merged one and its '
  'draft_time sum to cycle_time.';
COMMENT ON COLUMN keypup.pull_request_cycle.account_id IS 'The account.';
COMMENT ON COLUMN keypup.pull_request_cycle.project_id IS 'The project.';
COMMENT ON COLUMN keypup.pull_request_cycle.project IS 'Name of the project.';
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
  'First time that it was ready for review: the opening, if it was not opened as a draft; NULL while it never was.';
COMMENT ON COLUMN keypup.pull_request_cycle.review_requested_at IS 'First time that a review was requested.';
COMMENT ON COLUMN keypup.pull_request_cycle.first_response_at IS
  'First review or comment between opening and merge by a person who is not the author; NULL while there is none.';
COMMENT ON COLUMN keypup.pull_request_cycle.first_review_at IS
  'First review between ready and merge by a person who is not the author; NULL while there is none.';
COMMENT ON COLUMN keypup.pull_request_cycle.first_approval_at IS
  'First such review that approved, also where it was dismissed later; NULL while there is none.';
COMMENT ON COLUMN keypup.pull_request_cycle.merged_at IS 'When it was merged; NULL if not.';
COMMENT ON COLUMN keypup.pull_request_cycle.coding_time IS 'First commit (or opening, if earlier) to ready.';
COMMENT ON COLUMN keypup.pull_request_cycle.pickup_time IS 'Ready to the first review; NULL without one.';
COMMENT ON COLUMN keypup.pull_request_cycle.review_time IS
  'First review to first approval, or to the merge where nobody approved.';
COMMENT ON COLUMN keypup.pull_request_cycle.merge_time IS 'First approval to merge; NULL without an approval.';
COMMENT ON COLUMN keypup.pull_request_cycle.unreviewed_time IS 'Ready to merge where nobody reviewed; NULL otherwise.';
COMMENT ON COLUMN keypup.pull_request_cycle.draft_time IS
  'Time between ready and merge in which it was a draft again, and which no stage counts; NULL where it never was, and '
  'until merged.';
COMMENT ON COLUMN keypup.pull_request_cycle.cycle_time IS
  'Start of coding to merge: the sum of the stages and draft_time; NULL until merged.';
COMMENT ON COLUMN keypup.pull_request_cycle.idle_time IS
  'First review request to the first review; stands beside the stages and is no part of the sum.';
COMMENT ON COLUMN keypup.pull_request_cycle.is_first_commit_old IS
  'Whether the first commit was authored more than 90 days before the opening, as one that was picked from elsewhere: '
  'its coding_time says little.';
COMMENT ON COLUMN keypup.pull_request_cycle.is_draft IS 'Whether it is a draft now, or was when it was closed.';
COMMENT ON COLUMN keypup.pull_request_cycle.merged_by IS
  'Login of who merged it; NULL if it was not merged, or the user was deleted.';
COMMENT ON COLUMN keypup.pull_request_cycle.additions IS 'Lines added.';
COMMENT ON COLUMN keypup.pull_request_cycle.deletions IS 'Lines deleted.';
COMMENT ON COLUMN keypup.pull_request_cycle.requested_reviewers IS 'Logins of who is asked for a review now.';
COMMENT ON COLUMN keypup.pull_request_cycle.updated_at IS 'The provider''s time of last change.';
