-- insight/activity.sql: who did what to issues and pull requests, and when. doc/activity.md has the definitions.

CREATE VIEW keypup.work_items WITH (security_invoker = true, security_barrier = true) AS
SELECT i.account_id, i.project_id, 'issue' AS item_kind, i.number AS item_number, i.state, i.author, i.author_is_bot, i.created_at, i.updated_at,
  i.closed_at, NULL::timestamptz AS merged_at, i.closed_by AS ended_by
FROM keypup.issues i WHERE i.deleted_at IS NULL
UNION ALL
SELECT p.account_id, p.project_id, 'pull_request', p.number, p.state, p.author, p.author_is_bot, p.created_at, p.updated_at,
  p.closed_at, p.merged_at, CASE p.state WHEN 'merged' THEN p.merged_by END
FROM keypup.pull_requests p WHERE p.deleted_at IS NULL;
REVOKE ALL ON keypup.work_items FROM PUBLIC;
GRANT SELECT ON keypup.work_items TO keypup_member;
COMMENT ON VIEW keypup.work_items IS 'One row an issue or pull request that is not deleted: what both have.';
COMMENT ON COLUMN keypup.work_items.account_id IS 'The account.';
COMMENT ON COLUMN keypup.work_items.project_id IS 'The project.';
COMMENT ON COLUMN keypup.work_items.item_kind IS 'issue or pull_request.';
COMMENT ON COLUMN keypup.work_items.item_number IS 'Number of the issue or pull request.';
COMMENT ON COLUMN keypup.work_items.state IS 'open, closed or merged.';
COMMENT ON COLUMN keypup.work_items.author IS 'Login; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.work_items.author_is_bot IS 'Whether a bot opened it.';
COMMENT ON COLUMN keypup.work_items.created_at IS 'When it was opened.';
COMMENT ON COLUMN keypup.work_items.updated_at IS 'When it last changed.';
COMMENT ON COLUMN keypup.work_items.closed_at IS 'When it was last closed; NULL while open.';
COMMENT ON COLUMN keypup.work_items.merged_at IS 'When it was merged; NULL if not, and for issues.';
COMMENT ON COLUMN keypup.work_items.ended_by IS 'Login of who closed the issue or merged the pull request; NULL where it is open, or that is not known.';

CREATE VIEW keypup.activity_events WITH (security_invoker = true, security_barrier = true) AS
-- Each part is dated by one column, so that a time range reaches its index; what else must be known is looked up by key.
WITH happened AS (
  SELECT i.account_id, i.project_id, i.item_kind, i.item_number, 'CREATED' AS action, i.created_at AS occurred_at, i.author AS actor, NULL::text AS subject, i.author_is_bot AS is_bot
  FROM keypup.work_items i
  UNION ALL
  SELECT i.account_id, i.project_id, i.item_kind, i.item_number, 'MERGED', i.merged_at, i.ended_by, NULL, NULL
  FROM keypup.work_items i WHERE i.state = 'merged' AND i.merged_at IS NOT NULL
  UNION ALL
  -- What changes nothing is no row: a second closing in a row, or a reopening of what is open. The closing that goes with a merge is the merge.
  SELECT e.account_id, e.project_id, e.item_kind, e.item_number, upper(e.event), e.occurred_at, e.actor, NULL, NULL
  FROM keypup.timeline_events e
  CROSS JOIN LATERAL (
    SELECT CASE i.state WHEN 'merged' THEN coalesce(i.merged_at, i.closed_at, i.updated_at) END AS merged_at FROM keypup.work_items i
    WHERE i.account_id = e.account_id AND i.project_id = e.project_id AND i.item_kind = e.item_kind AND i.item_number = e.item_number LIMIT 1) AS i
  LEFT JOIN LATERAL (
    SELECT b.event FROM keypup.timeline_events b
    WHERE b.account_id = e.account_id AND b.project_id = e.project_id AND b.item_kind = e.item_kind AND b.item_number = e.item_number AND b.event IN ('closed', 'reopened')
      AND (b.occurred_at, b.event, b.external_id COLLATE "C") < (e.occurred_at, e.event, e.external_id COLLATE "C")
    ORDER BY b.occurred_at DESC, b.event DESC, b.external_id COLLATE "C" DESC LIMIT 1) AS b ON true
  WHERE e.event IN ('closed', 'reopened') AND (e.event = 'closed') = (b.event IS DISTINCT FROM 'closed') AND (i.merged_at IS NULL OR e.occurred_at < i.merged_at)
  UNION ALL
  -- The item's own state has the last word: an event may be missing.
  SELECT i.account_id, i.project_id, i.item_kind, i.item_number, 'CLOSED', i.closed_at, i.ended_by, NULL, NULL
  FROM keypup.work_items i
  WHERE i.state = 'closed' AND i.closed_at IS NOT NULL AND (
    SELECT e.event FROM keypup.timeline_events e
    WHERE e.account_id = i.account_id AND e.project_id = i.project_id AND e.item_kind = i.item_kind AND e.item_number = i.item_number AND e.event IN ('closed', 'reopened')
    ORDER BY e.occurred_at DESC, e.event DESC, e.external_id COLLATE "C" DESC LIMIT 1) IS DISTINCT FROM 'closed'
  UNION ALL
  SELECT i.account_id, i.project_id, i.item_kind, i.item_number, CASE i.state WHEN 'open' THEN 'REOPENED' ELSE upper(i.state) END,
    CASE i.state WHEN 'merged' THEN coalesce(i.closed_at, i.updated_at) ELSE i.updated_at END, i.ended_by, NULL, NULL
  FROM keypup.work_items i
  WHERE (i.state = 'open' OR i.state = 'closed' AND i.closed_at IS NULL OR i.state = 'merged' AND i.merged_at IS NULL)
    AND (i.state = 'merged' OR (i.state = 'closed') = ((
    SELECT e.event FROM keypup.timeline_events e
    WHERE e.account_id = i.account_id AND e.project_id = i.project_id AND e.item_kind = i.item_kind AND e.item_number = i.item_number AND e.event IN ('closed', 'reopened')
    ORDER BY e.occurred_at DESC, e.event DESC, e.external_id COLLATE "C" DESC LIMIT 1) IS DISTINCT FROM 'closed'))
  UNION ALL
  SELECT e.account_id, e.project_id, e.item_kind, e.item_number,
    CASE e.event WHEN 'review_requested' THEN 'REVIEWER_ASSIGNED' WHEN 'review_request_removed' THEN 'REVIEWER_UNASSIGNED' WHEN 'assigned' THEN 'USER_ASSIGNED' ELSE 'USER_UNASSIGNED' END,
    e.occurred_at, e.actor, e.subject, NULL
  FROM keypup.timeline_events e
  CROSS JOIN LATERAL (
    SELECT FROM keypup.work_items i
    WHERE i.account_id = e.account_id AND i.project_id = e.project_id AND i.item_kind = e.item_kind AND i.item_number = e.item_number LIMIT 1) AS i
  WHERE e.event IN ('assigned', 'unassigned') OR e.item_kind = 'pull_request' AND e.event IN ('review_requested', 'review_request_removed')
  UNION ALL
  SELECT r.account_id, r.project_id, 'pull_request', r.pull_request_number, 'REVIEWED', r.submitted_at, r.author, p.author, r.author_is_bot
  FROM keypup.reviews r
  CROSS JOIN LATERAL (
    SELECT p.author FROM keypup.pull_requests p
    WHERE p.account_id = r.account_id AND p.project_id = r.project_id AND p.number = r.pull_request_number AND p.deleted_at IS NULL LIMIT 1) AS p
  WHERE r.state <> 'pending' AND r.submitted_at IS NOT NULL
  UNION ALL
  -- A comment of a review is part of it.
  SELECT c.account_id, c.project_id, i.item_kind, c.item_number, 'COMMENTED', c.created_at, c.author, NULL, c.author_is_bot
  FROM keypup.comments c
  CROSS JOIN LATERAL (
    SELECT i.item_kind FROM keypup.work_items i
    WHERE i.account_id = c.account_id AND i.project_id = c.project_id AND i.item_number = c.item_number
      AND i.item_kind = CASE c.item_kind WHEN 'issue' THEN 'issue' ELSE 'pull_request' END LIMIT 1) AS i
  WHERE c.item_kind = 'issue' OR c.review_external_id IS NULL
)
SELECT h.account_id, h.project_id, j.name AS project, h.item_kind, h.item_number, h.action, h.occurred_at, h.actor, h.subject,
  coalesce(h.is_bot, l.is_bot, false) AS is_bot, l.person_id, coalesce(l.person, h.actor) AS person
FROM happened h
-- Each has its project; an outer join, since planners think that an inner one leaves next to nothing.
LEFT JOIN keypup.projects j ON j.account_id = h.account_id AND j.project_id = h.project_id
LEFT JOIN keypup.person_logins l ON l.account_id = h.account_id AND l.connection_id = j.connection_id AND l.login = h.actor;
REVOKE ALL ON keypup.activity_events FROM PUBLIC;
GRANT SELECT ON keypup.activity_events TO keypup_member;
COMMENT ON VIEW keypup.activity_events IS 'One row each time that somebody did something to an issue or a pull request that is not deleted.';
COMMENT ON COLUMN keypup.activity_events.account_id IS 'The account.';
COMMENT ON COLUMN keypup.activity_events.project_id IS 'The project.';
COMMENT ON COLUMN keypup.activity_events.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.activity_events.item_kind IS 'issue or pull_request.';
COMMENT ON COLUMN keypup.activity_events.item_number IS 'Number of the issue or pull request.';
COMMENT ON COLUMN keypup.activity_events.action IS 'CREATED, CLOSED (without a merge), REOPENED, MERGED, REVIEWER_ASSIGNED, REVIEWER_UNASSIGNED, USER_ASSIGNED, USER_UNASSIGNED, REVIEWED or COMMENTED.';
COMMENT ON COLUMN keypup.activity_events.occurred_at IS 'When, as the provider dates it. From closed_at or updated_at where the event of a closing or reopening is missing.';
COMMENT ON COLUMN keypup.activity_events.actor IS 'Login of who did it; NULL when the user was deleted, or is not known.';
COMMENT ON COLUMN keypup.activity_events.subject IS 'Whom it concerns: who is asked, assigned or let go (a login, or organization/name of a team), or whose pull request is reviewed; NULL otherwise.';
COMMENT ON COLUMN keypup.activity_events.is_bot IS 'Whether a bot did it.';
COMMENT ON COLUMN keypup.activity_events.person_id IS 'The person of the actor, after all merges; NULL where there is none.';
COMMENT ON COLUMN keypup.activity_events.person IS 'Name of that person; the login where there is none.';
