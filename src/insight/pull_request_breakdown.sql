-- insight/pull_request_breakdown.sql: pull requests by label, and when each person did something for the first time.
-- doc/metrics.md has the definitions.

CREATE VIEW keypup.pull_request_labels WITH (security_invoker = true, security_barrier = true) AS
SELECT m.account_id, m.project_id, m.project, m.number, m.key, l.label, p.milestone, m.state_now, m.author_is_bot,
  m.created_at, m.merged_at, m.cycle_time, m.time_to_first_review, m.size_class, m.merged_without_review
FROM keypup.pull_request_metrics m
-- LIMIT, so that each is looked up by its key.
CROSS JOIN LATERAL (
  SELECT p.labels, p.milestone FROM keypup.pull_requests p
  WHERE p.account_id = m.account_id AND p.project_id = m.project_id AND p.number = m.number LIMIT 1) AS p
CROSS JOIN LATERAL unnest(CASE WHEN cardinality(p.labels) > 0 THEN p.labels ELSE ARRAY[NULL::text] END) AS l(label);
REVOKE ALL ON keypup.pull_request_labels FROM PUBLIC;
GRANT SELECT ON keypup.pull_request_labels TO keypup_member;
COMMENT ON VIEW keypup.pull_request_labels IS
  'One row a pull request that is not deleted and a label that it has now; one without a label for those without any.';
COMMENT ON COLUMN keypup.pull_request_labels.account_id IS 'The account.';
COMMENT ON COLUMN keypup.pull_request_labels.project_id IS 'The project.';
COMMENT ON COLUMN keypup.pull_request_labels.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.pull_request_labels.number IS 'Number of the pull request.';
COMMENT ON COLUMN keypup.pull_request_labels.key IS 'As people write it: #12 or !12.';
COMMENT ON COLUMN keypup.pull_request_labels.label IS 'Name of the label; NULL where it has none.';
COMMENT ON COLUMN keypup.pull_request_labels.milestone IS 'Title of its milestone; NULL without one.';
COMMENT ON COLUMN keypup.pull_request_labels.state_now IS 'As in pull_request_metrics.';
COMMENT ON COLUMN keypup.pull_request_labels.author_is_bot IS 'Whether a bot opened it.';
COMMENT ON COLUMN keypup.pull_request_labels.created_at IS 'When it was opened.';
COMMENT ON COLUMN keypup.pull_request_labels.merged_at IS 'When it was merged; NULL if not.';
COMMENT ON COLUMN keypup.pull_request_labels.cycle_time IS 'As in pull_request_cycle.';
COMMENT ON COLUMN keypup.pull_request_labels.time_to_first_review IS 'As in pull_request_metrics.';
COMMENT ON COLUMN keypup.pull_request_labels.size_class IS 'As in pull_request_metrics.';
COMMENT ON COLUMN keypup.pull_request_labels.merged_without_review IS 'As in pull_request_metrics.';

CREATE VIEW keypup.first_contributions WITH (security_invoker = true, security_barrier = true) AS
WITH contribution AS (
  SELECT e.account_id, e.person_id, e.person, e.is_bot, e.occurred_at,
    CASE e.action WHEN 'CREATED' THEN e.item_kind ELSE 'comment' END AS kind
  FROM keypup.activity_events e
  WHERE e.actor IS NOT NULL AND e.action IN ('CREATED', 'COMMENTED')
  UNION ALL
  -- Without those of one's own pull requests.
  SELECT r.account_id, r.person_id, r.person, r.is_bot, r.submitted_at, 'review'
  FROM keypup.pull_request_reviews r
  WHERE r.login IS NOT NULL
)
SELECT c.account_id, c.person_id, c.person, c.is_bot, min(c.occurred_at) AS first_at,
  min(c.occurred_at) FILTER (WHERE c.kind = 'issue') AS first_issue_at,
  min(c.occurred_at) FILTER (WHERE c.kind = 'pull_request') AS first_pull_request_at,
  min(c.occurred_at) FILTER (WHERE c.kind = 'review') AS first_review_submitted_at,
  min(c.occurred_at) FILTER (WHERE c.kind = 'comment') AS first_comment_at
FROM contribution c
GROUP BY c.account_id, c.person_id, c.person, c.is_bot;
REVOKE ALL ON keypup.first_contributions FROM PUBLIC;
GRANT SELECT ON keypup.first_contributions TO keypup_member;
COMMENT ON VIEW keypup.first_contributions IS
  'One row an account and person, or login that is no person''s: when each wrote something for the first time, in all '
  'of the account''s projects that are read.';
COMMENT ON COLUMN keypup.first_contributions.account_id IS 'The account.';
COMMENT ON COLUMN keypup.first_contributions.person_id IS 'The person, after all merges; NULL where there is none.';
COMMENT ON COLUMN keypup.first_contributions.person IS 'Name of that person; the login where there is none.';
COMMENT ON COLUMN keypup.first_contributions.is_bot IS 'Whether it is a bot.';
COMMENT ON COLUMN keypup.first_contributions.first_at IS 'The earliest of the four times.';
COMMENT ON COLUMN keypup.first_contributions.first_issue_at IS 'First issue opened; NULL without one.';
COMMENT ON COLUMN keypup.first_contributions.first_pull_request_at IS 'First pull request opened; NULL without one.';
COMMENT ON COLUMN keypup.first_contributions.first_review_submitted_at IS
  'First review of somebody else''s pull request; NULL without one.';
COMMENT ON COLUMN keypup.first_contributions.first_comment_at IS
  'First comment on an issue or a pull request that belongs to no review; NULL without one.';
