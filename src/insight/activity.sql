-- insight/activity.sql: who did what to issues and pull requests, and when. doc/activity.md has the definitions.

CREATE VIEW keypup.activity_events WITH (security_invoker = true, security_barrier = true) AS
-- Account by account, and each looks up by key what it needs of others: a time range reaches the index of each, and no
-- estimate makes this a join of whole histories. What changes nothing is no row: a second closing in a row, or a
-- reopening of what is open.
SELECT h.account_id, h.project_id, j.name AS project, h.item_kind, h.item_number, h.action, h.occurred_at, h.actor,
  h.subject, coalesce(h.is_bot, l.is_bot, false) AS is_bot,
  -- CASE, so that a condition on the person leaves the join an outer one: else all is computed again for each login.
  CASE WHEN h.actor IS NOT NULL THEN l.person_id END AS person_id, coalesce(l.person, h.actor) AS person
FROM keypup.accounts a
CROSS JOIN LATERAL (
  SELECT i.account_id, i.project_id, 'issue' AS item_kind, i.number AS item_number, 'CREATED' AS action,
    i.created_at AS occurred_at, i.author AS actor, NULL::text AS subject, i.author_is_bot AS is_bot
  FROM keypup.issues i WHERE i.account_id = a.account_id AND i.deleted_at IS NULL
  UNION ALL
  SELECT p.account_id, p.project_id, 'pull_request', p.number, 'CREATED', p.created_at, p.author, NULL, p.author_is_bot
  FROM keypup.pull_requests p WHERE p.account_id = a.account_id AND p.deleted_at IS NULL
  UNION ALL
  -- The item's own state has the last word: an event may be missing.
  SELECT s.account_id, s.project_id, s.item_kind, s.item_number, s.action, s.occurred_at, s.actor, NULL, NULL
  FROM (
    SELECT i.account_id, i.project_id, 'issue' AS item_kind, i.number AS item_number, CASE i.state
      WHEN 'closed' THEN 'CLOSED' ELSE 'REOPENED' END AS action,
      CASE i.state WHEN 'closed' THEN coalesce(i.closed_at, i.updated_at) ELSE i.updated_at END AS occurred_at,
        CASE i.state WHEN 'closed' THEN i.closed_by END AS actor
    FROM keypup.issues i WHERE i.account_id = a.account_id AND i.deleted_at IS NULL
    UNION ALL
    SELECT p.account_id, p.project_id, 'pull_request', p.number, CASE p.state WHEN 'merged' THEN 'MERGED'
      WHEN 'closed' THEN 'CLOSED' ELSE 'REOPENED' END,
      CASE p.state WHEN 'merged' THEN coalesce(p.merged_at, p.closed_at, p.updated_at)
        WHEN 'closed' THEN coalesce(p.closed_at, p.updated_at) ELSE p.updated_at END,
      CASE p.state WHEN 'merged' THEN p.merged_by END
    FROM keypup.pull_requests p WHERE p.account_id = a.account_id AND p.deleted_at IS NULL
  ) AS s
  WHERE CASE s.action WHEN 'MERGED' THEN true
    ELSE (s.action = 'CLOSED') = (coalesce((SELECT b.event FROM keypup.timeline_events b
        WHERE b.account_id = s.account_id AND b.project_id = s.project_id AND b.item_number = s.item_number
          AND b.item_kind = s.item_kind AND b.event IN ('closed', 'reopened')
        ORDER BY b.occurred_at DESC, b.event DESC, b.external_id COLLATE "C" DESC LIMIT 1), '') <> 'closed') END
  UNION ALL
  -- The closing that goes with a merge is the merge.
  SELECT e.account_id, e.project_id, e.item_kind, e.item_number, upper(e.event COLLATE "C"), e.occurred_at, e.actor,
    NULL, NULL
  FROM keypup.timeline_events e
  CROSS JOIN LATERAL (
    SELECT NULL::timestamptz AS merged_at FROM keypup.issues i
    WHERE e.item_kind = 'issue' AND i.account_id = e.account_id AND i.project_id = e.project_id
      AND i.number = e.item_number AND i.deleted_at IS NULL
    UNION ALL
    SELECT CASE p.state WHEN 'merged' THEN coalesce(p.merged_at, p.closed_at, p.updated_at) END
    FROM keypup.pull_requests p
    WHERE e.item_kind = 'pull_request' AND p.account_id = e.account_id AND p.project_id = e.project_id
      AND p.number = e.item_number AND p.deleted_at IS NULL LIMIT 1) AS m
  WHERE e.account_id = a.account_id AND e.event IN ('closed', 'reopened')
    AND (m.merged_at IS NULL OR e.occurred_at < m.merged_at)
    AND (e.event = 'closed') = (coalesce((SELECT b.event FROM keypup.timeline_events b
        WHERE b.account_id = e.account_id AND b.project_id = e.project_id AND b.item_number = e.item_number
          AND b.item_kind = e.item_kind AND b.event IN ('closed', 'reopened')
          AND (b.occurred_at, b.event, b.external_id COLLATE "C") < (e.occurred_at, e.event, e.external_id COLLATE "C")
        ORDER BY b.occurred_at DESC, b.event DESC, b.external_id COLLATE "C" DESC LIMIT 1), '') <> 'closed')
  UNION ALL
  SELECT d.account_id, d.project_id, d.item_kind, d.item_number, d.action, d.occurred_at, d.actor,
    coalesce(d.subject, m.author), d.is_bot
  FROM (
    SELECT e.account_id, e.project_id, e.item_kind, e.item_number,
      CASE e.event WHEN 'review_requested' THEN 'REVIEWER_ASSIGNED' WHEN 'review_request_removed'
        THEN 'REVIEWER_UNASSIGNED' WHEN 'assigned' THEN 'USER_ASSIGNED' ELSE 'USER_UNASSIGNED' END AS action,
      e.occurred_at, e.actor, e.subject, NULL::boolean AS is_bot
    FROM keypup.timeline_events e
    WHERE e.account_id = a.account_id
      AND (e.event IN ('assigned', 'unassigned') OR e.event IN ('review_requested', 'review_request_removed')
      AND e.item_kind = 'pull_request')
    UNION ALL
    SELECT r.account_id, r.project_id, 'pull_request', r.pull_request_number, 'REVIEWED', r.submitted_at, r.author,
      NULL, r.author_is_bot
    FROM keypup.reviews r WHERE r.account_id = a.account_id AND r.state <> 'pending' AND r.submitted_at IS NOT NULL
    UNION ALL
    -- A comment of a review is part of it.
    SELECT c.account_id, c.project_id, CASE c.item_kind WHEN 'issue' THEN 'issue' ELSE 'pull_request' END,
      c.item_number, 'COMMENTED', c.created_at, c.author, NULL, c.author_is_bot
    FROM keypup.comments c WHERE c.account_id = a.account_id AND (c.item_kind = 'issue' OR c.review_external_id IS NULL)
  ) AS d
  CROSS JOIN LATERAL (
    SELECT NULL::text AS author FROM keypup.issues i
    WHERE d.item_kind = 'issue' AND i.account_id = d.account_id AND i.project_id = d.project_id
      AND i.number = d.item_number AND i.deleted_at IS NULL
    UNION ALL
    SELECT CASE d.action WHEN 'REVIEWED' THEN p.author END FROM keypup.pull_requests p
    WHERE d.item_kind = 'pull_request' AND p.account_id = d.account_id AND p.project_id = d.project_id
      AND p.number = d.item_number AND p.deleted_at IS NULL LIMIT 1) AS m
) AS h
-- Each has its project; an outer join, since planners think that an inner one leaves next to nothing.
LEFT JOIN keypup.projects j ON j.account_id = h.account_id AND j.project_id = h.project_id
LEFT JOIN keypup.person_logins l ON l.account_id = h.account_id AND l.connection_id = j.connection_id
  AND l.login = h.actor;
REVOKE ALL ON keypup.activity_events FROM PUBLIC;
GRANT SELECT ON keypup.activity_events TO keypup_member;
COMMENT ON VIEW keypup.activity_events IS
  'One row each time that somebody did something to an issue or a pull request that is not deleted.';
COMMENT ON COLUMN keypup.activity_events.account_id IS 'The account.';
COMMENT ON COLUMN keypup.activity_events.project_id IS 'The project.';
COMMENT ON COLUMN keypup.activity_events.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.activity_events.item_kind IS 'issue or pull_request.';
COMMENT ON COLUMN keypup.activity_events.item_number IS 'Number of the issue or pull request.';
COMMENT ON COLUMN keypup.activity_events.action IS
  'CREATED, CLOSED (without a merge), REOPENED, MERGED, REVIEWER_ASSIGNED, REVIEWER_UNASSIGNED, USER_ASSIGNED, '
  'USER_UNASSIGNED, REVIEWED or COMMENTED.';
COMMENT ON COLUMN keypup.activity_events.occurred_at IS
  'When, as the provider dates it. From closed_at or updated_at where the event of a closing or reopening is missing.';
COMMENT ON COLUMN keypup.activity_events.actor IS
  'Login of who did it; NULL when the user was deleted, or is not known.';
COMMENT ON COLUMN keypup.activity_events.subject IS
  'Whom it concerns: who is asked, assigned or let go (a login, or organization/name of a team), or whose pull request '
  'is reviewed; NULL otherwise.';
COMMENT ON COLUMN keypup.activity_events.is_bot IS 'Whether a bot did it.';
COMMENT ON COLUMN keypup.activity_events.person_id IS
  'The person of the actor, after all merges; NULL where there is none.';
COMMENT ON COLUMN keypup.activity_events.person IS 'Name of that person; the login where there is none.';
