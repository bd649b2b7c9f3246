-- insight/abandoned.sql: pull requests that nobody went on with. doc/metrics.md has the definition, and whose it is.

CREATE VIEW keypup.abandoned_pull_requests WITH (security_invoker = true, security_barrier = true) AS
-- Each pull request looks its own rows up by key.
SELECT p.account_id, p.project_id, (
    SELECT j.name FROM keypup.projects j
    WHERE j.account_id = p.account_id AND j.project_id = p.project_id) AS project,
  p.number, p.key, p.title, p.author, p.author_is_bot, p.state, p.created_at, e.closed_at, l.last_activity_at,
  e.ended_at - l.last_activity_at AS abandoned_time
FROM keypup.pull_requests p
CROSS JOIN LATERAL (
  SELECT c.closed_at, coalesce(c.closed_at, now()) AS ended_at, c.closed_at - interval '1 hour' AS before
  FROM (SELECT CASE p.state WHEN 'closed' THEN coalesce(p.closed_at, p.updated_at) END AS closed_at) AS c
) AS e
CROSS JOIN LATERAL (
  -- Of an open one the provider's time of last change; of a closed one that is its closing, or later, and what people
  -- did before is looked for.
  SELECT CASE WHEN p.state = 'open'
      THEN greatest(least(greatest(p.created_at, p.updated_at), now()), timestamptz '1970-01-01 00:00:00+00')
    ELSE greatest(p.created_at,
      (SELECT max(r.submitted_at) FROM keypup.reviews r
       WHERE r.account_id = p.account_id AND r.project_id = p.project_id AND r.pull_request_number = p.number
         AND NOT r.author_is_bot AND r.state <> 'pending' AND r.submitted_at <= e.before),
      (SELECT max(c.created_at) FROM keypup.comments c
       WHERE c.account_id = p.account_id AND c.project_id = p.project_id AND c.item_number = p.number
         AND c.item_kind IN ('pull_request', 'review') AND NOT c.author_is_bot AND c.created_at <= e.before),
      (SELECT max(v.occurred_at) FROM keypup.timeline_events v
       WHERE v.account_id = p.account_id AND v.project_id = p.project_id AND v.item_number = p.number
         AND v.item_kind = 'pull_request' AND v.event NOT IN ('labeled', 'unlabeled') AND v.occurred_at <= e.before))
    END AS last_activity_at
) AS l
WHERE p.deleted_at IS NULL AND p.state <> 'merged'
  AND e.ended_at - l.last_activity_at >= (SELECT a.stale_after FROM keypup.accounts a
    WHERE a.account_id = p.account_id);
REVOKE ALL ON keypup.abandoned_pull_requests FROM PUBLIC;
GRANT SELECT ON keypup.abandoned_pull_requests TO keypup_member;
COMMENT ON VIEW keypup.abandoned_pull_requests IS
  'One row a pull request that is not deleted and was abandoned: open, and without a change for accounts.stale_after '
  'or longer; or closed without a merge, after people had done nothing about it for as long.';
COMMENT ON COLUMN keypup.abandoned_pull_requests.account_id IS 'The account.';
COMMENT ON COLUMN keypup.abandoned_pull_requests.project_id IS 'The project.';
COMMENT ON COLUMN keypup.abandoned_pull_requests.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.abandoned_pull_requests.number IS 'Number within the project.';
COMMENT ON COLUMN keypup.abandoned_pull_requests.key IS 'As people write it: #12 or !12.';
COMMENT ON COLUMN keypup.abandoned_pull_requests.title IS 'Title.';
COMMENT ON COLUMN keypup.abandoned_pull_requests.author IS 'Login; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.abandoned_pull_requests.author_is_bot IS 'Whether a bot opened it.';
COMMENT ON COLUMN keypup.abandoned_pull_requests.state IS 'open or closed.';
COMMENT ON COLUMN keypup.abandoned_pull_requests.created_at IS 'When it was opened.';
COMMENT ON COLUMN keypup.abandoned_pull_requests.closed_at IS 'When it was closed; NULL while open.';
COMMENT ON COLUMN keypup.abandoned_pull_requests.last_activity_at IS
  'Of an open one its last change, a bot''s too. Of a closed one the last review or comment by a person, or event but '
  'for labels, earlier than an hour before the closing; the opening where there is none.';
COMMENT ON COLUMN keypup.abandoned_pull_requests.abandoned_time IS 'last_activity_at to the closing, or to now.';
