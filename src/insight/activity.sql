-- insight/activity.sql: who did what to issues and pull requests, and when. doc/activity.md has the definitions.

CREATE VIEW keypup.activity_events WITH (security_invoker = true, security_barrier = true) AS
-- The item and the events that change its state in one list, and no join: the planner would compare every item with every event.
WITH listed AS (
  SELECT i.account_id, i.project_id, 'issue' AS item_kind, i.number AS item_number, 0 AS part, 'CREATED' AS action, i.created_at AS occurred_at, '' AS external_id,
    i.author AS actor, i.author_is_bot AS is_bot, NULL::timestamptz AS merged_at
  FROM keypup.issues i WHERE i.deleted_at IS NULL
  UNION ALL
  SELECT p.account_id, p.project_id, 'pull_request', p.number, 0, 'CREATED', p.created_at, '', p.author, p.author_is_bot,
    CASE p.state WHEN 'merged' THEN coalesce(p.merged_at, p.closed_at, p.updated_at) END
  FROM keypup.pull_requests p WHERE p.deleted_at IS NULL
  UNION ALL
  SELECT e.account_id, e.project_id, e.item_kind, e.item_number, 1, upper(e.event), e.occurred_at, e.external_id COLLATE "C", e.actor, NULL, NULL
  FROM keypup.timeline_events e WHERE e.event IN ('closed', 'reopened')
  UNION ALL
  -- The item's own state has the last word: an event may be missing.
  SELECT i.account_id, i.project_id, 'issue', i.number, 2, CASE i.state WHEN 'closed' THEN 'CLOSED' ELSE 'REOPENED' END,
    CASE i.state WHEN 'closed' THEN coalesce(i.closed_at, i.updated_at) ELSE i.updated_at END, '', CASE i.state WHEN 'closed' THEN i.closed_by END, NULL, NULL
  FROM keypup.issues i WHERE i.deleted_at IS NULL
  UNION ALL
  SELECT p.account_id, p.project_id, 'pull_request', p.number, 2, CASE p.state WHEN 'merged' THEN 'MERGED' WHEN 'closed' THEN 'CLOSED' ELSE 'REOPENED' END,
    CASE p.state WHEN 'merged' THEN coalesce(p.merged_at, p.closed_at, p.updated_at) WHEN 'closed' THEN coalesce(p.closed_at, p.updated_at) ELSE p.updated_at END,
    '', CASE p.state WHEN 'merged' THEN p.merged_by END, NULL, NULL
  FROM keypup.pull_requests p WHERE p.deleted_at IS NULL
), ordered AS (
  SELECT l.*, first_value(l.part) OVER w = 0 AS is_there, first_value(l.merged_at) OVER w AS item_merged_at, lag(l.action) OVER w AS action_before
  FROM listed l
  WINDOW w AS (PARTITION BY l.account_id, l.project_id, l.item_kind, l.item_number ORDER BY l.part, l.occurred_at, l.action, l.external_id)
), happened AS (
  -- What changes nothing is no row: a second closing in a row, or a reopening of what is open. The closing that goes with a merge is the merge.
  SELECT o.account_id, o.project_id, o.item_kind, o.item_number, o.action, o.occurred_at, o.actor, NULL::text AS subject, o.is_bot
  FROM ordered o
  WHERE o.is_there AND CASE o.action WHEN 'CLOSED' THEN o.action_before <> 'CLOSED' WHEN 'REOPENED' THEN o.action_before = 'CLOSED' ELSE true END
    AND (o.part <> 1 OR o.item_merged_at IS NULL OR o.occurred_at < o.item_merged_at)
  UNION ALL
  SELECT e.account_id, e.project_id, e.item_kind, e.item_number,
    CASE e.event WHEN 'review_requested' THEN 'REVIEWER_ASSIGNED' WHEN 'review_request_removed' THEN 'REVIEWER_UNASSIGNED' WHEN 'assigned' THEN 'USER_ASSIGNED' ELSE 'USER_UNASSIGNED' END,
    e.occurred_at, e.actor, e.subject, NULL
  FROM keypup.timeline_events e
  JOIN keypup.pull_requests p ON p.account_id = e.account_id AND p.project_id = e.project_id AND p.number = e.item_number
  WHERE e.item_kind = 'pull_request' AND e.event IN ('review_requested', 'review_request_removed', 'assigned', 'unassigned') AND p.deleted_at IS NULL
  UNION ALL
  SELECT e.account_id, e.project_id, e.item_kind, e.item_number, CASE e.event WHEN 'assigned' THEN 'USER_ASSIGNED' ELSE 'USER_UNASSIGNED' END, e.occurred_at, e.actor, e.subject, NULL
  FROM keypup.timeline_events e
  JOIN keypup.issues i ON i.account_id = e.account_id AND i.project_id = e.project_id AND i.number = e.item_number
  WHERE e.item_kind = 'issue' AND e.event IN ('assigned', 'unassigned') AND i.deleted_at IS NULL
  UNION ALL
  SELECT r.account_id, r.project_id, 'pull_request', r.pull_request_number, 'REVIEWED', r.submitted_at, r.author, p.author, r.author_is_bot
  FROM keypup.reviews r
  JOIN keypup.pull_requests p ON p.account_id = r.account_id AND p.project_id = r.project_id AND p.number = r.pull_request_number
  WHERE r.state <> 'pending' AND r.submitted_at IS NOT NULL AND p.deleted_at IS NULL
  UNION ALL
  -- A comment of a review is part of it.
  SELECT c.account_id, c.project_id, 'pull_request', c.item_number, 'COMMENTED', c.created_at, c.author, NULL, c.author_is_bot
  FROM keypup.comments c
  JOIN keypup.pull_requests p ON p.account_id = c.account_id AND p.project_id = c.project_id AND p.number = c.item_number
  WHERE c.item_kind <> 'issue' AND c.review_external_id IS NULL AND p.deleted_at IS NULL
  UNION ALL
  SELECT c.account_id, c.project_id, 'issue', c.item_number, 'COMMENTED', c.created_at, c.author, NULL, c.author_is_bot
  FROM keypup.comments c
  JOIN keypup.issues i ON i.account_id = c.account_id AND i.project_id = c.project_id AND i.number = c.item_number
  WHERE c.item_kind = 'issue' AND i.deleted_at IS NULL
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
