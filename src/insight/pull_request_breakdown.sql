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
-- First by login, so that who it is is looked up once a login and not once a comment.
WITH item AS MATERIALIZED (
  SELECT i.account_id, i.project_id, 'issue' AS kind, i.number, i.author, i.author_is_bot, i.created_at
  FROM keypup.issues i WHERE i.deleted_at IS NULL
  UNION ALL
  SELECT p.account_id, p.project_id, 'pull_request', p.number, p.author, p.author_is_bot, p.created_at
  FROM keypup.pull_requests p WHERE p.deleted_at IS NULL
), contribution AS (
  SELECT i.account_id, i.project_id, i.author AS login, i.author_is_bot AS is_bot, i.kind, min(i.created_at) AS first_at
  FROM item i
  GROUP BY i.account_id, i.project_id, i.author, i.author_is_bot, i.kind
  UNION ALL
  -- As activity_events has them: a comment of a review is part of it.
  SELECT c.account_id, c.project_id, c.author, c.author_is_bot, 'comment', min(c.created_at)
  FROM keypup.comments c
  JOIN item i ON i.account_id = c.account_id AND i.project_id = c.project_id AND i.number = c.item_number
    AND i.kind = CASE c.item_kind WHEN 'issue' THEN 'issue' ELSE 'pull_request' END
  WHERE c.item_kind = 'issue' OR c.review_external_id IS NULL
  GROUP BY c.account_id, c.project_id, c.author, c.author_is_bot
  UNION ALL
  -- Without those of one's own pull requests.
  SELECT r.account_id, r.project_id, r.login, r.is_bot, 'review', min(r.submitted_at)
  FROM keypup.pull_request_reviews r
  GROUP BY r.account_id, r.project_id, r.login, r.is_bot
)
SELECT c.account_id, l.person_id, coalesce(l.person, c.login) AS person, c.is_bot, min(c.first_at) AS first_at,
  min(c.first_at) FILTER (WHERE c.kind = 'issue') AS first_issue_at,
  min(c.first_at) FILTER (WHERE c.kind = 'pull_request') AS first_pull_request_at,
  min(c.first_at) FILTER (WHERE c.kind = 'review') AS first_review_submitted_at,
  min(c.first_at) FILTER (WHERE c.kind = 'comment') AS first_comment_at
FROM (
  SELECT o.account_id, j.connection_id, o.login, o.is_bot, o.kind, min(o.first_at) AS first_at
  FROM contribution o
  JOIN keypup.projects j ON j.account_id = o.account_id AND j.project_id = o.project_id
  WHERE o.login IS NOT NULL
  GROUP BY o.account_id, j.connection_id, o.login, o.is_bot, o.kind
) AS c
LEFT JOIN LATERAL (
  SELECT i.person_id,
    (SELECT u.name FROM keypup.people u WHERE u.account_id = i.account_id AND u.person_id = i.person_id) AS person
  FROM keypup.identities i
  WHERE i.account_id = c.account_id AND i.connection_id = c.connection_id AND i.login = c.login
  ORDER BY i.person_id IS NULL, i.external_id LIMIT 1) AS l ON true
GROUP BY c.account_id, l.person_id, coalesce(l.person, c.login), c.is_bot;
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
