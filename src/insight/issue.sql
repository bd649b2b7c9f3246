-- insight/issue.sql: how long issues take, and which pull requests resolve them. doc/issue-metrics.md has the definitions.

CREATE VIEW keypup.issue_pull_request_links WITH (security_invoker = true, security_barrier = true) AS
WITH pull_request AS (
  SELECT p.account_id, p.project_id, p.number, p.title, p.head_branch, p.closes_issues FROM keypup.pull_requests p WHERE p.deleted_at IS NULL
), named AS (
  SELECT p.account_id, p.project_id, p.number, c.issue_number, 'closing_reference' AS source
  FROM pull_request p CROSS JOIN LATERAL unnest(p.closes_issues) AS c(issue_number)
  UNION
  -- #12, but neither other/repository#12 nor &#12; nor #12a.
  SELECT p.account_id, p.project_id, p.number, m.groups[1]::bigint, 'title'
  FROM pull_request p CROSS JOIN LATERAL regexp_matches(p.title, '(?<![[:alnum:]_.&/#-])#([0-9]{1,9})(?![[:alnum:]_])', 'g') AS m(groups)
  UNION
  SELECT p.account_id, p.project_id, p.number, m.groups[1]::bigint, 'branch'
  FROM pull_request p
  CROSS JOIN LATERAL regexp_match(p.head_branch, '(?:^|/)(?:issues?[-_/]?|fix(?:es)?[-_/]|(?=[0-9]+[-_][[:alpha:]]))([0-9]{1,9})(?:$|[-_/])', 'i') AS m(groups)
  WHERE m.groups IS NOT NULL
)
SELECT n.account_id, n.project_id, n.issue_number, n.number AS pull_request_number, array_agg(n.source ORDER BY n.source) AS sources
FROM named n
JOIN keypup.issues i ON i.account_id = n.account_id AND i.project_id = n.project_id AND i.number = n.issue_number AND i.deleted_at IS NULL
GROUP BY n.account_id, n.project_id, n.issue_number, n.number;
REVOKE ALL ON keypup.issue_pull_request_links FROM PUBLIC;
GRANT SELECT ON keypup.issue_pull_request_links TO keypup_member;
COMMENT ON VIEW keypup.issue_pull_request_links IS 'One row an issue and a pull request of the same project that names it: by a closing reference, in its title, or in its branch.';
COMMENT ON COLUMN keypup.issue_pull_request_links.account_id IS 'The account.';
COMMENT ON COLUMN keypup.issue_pull_request_links.project_id IS 'The project.';
COMMENT ON COLUMN keypup.issue_pull_request_links.issue_number IS 'Number of the issue.';
COMMENT ON COLUMN keypup.issue_pull_request_links.pull_request_number IS 'Number of the pull request.';
COMMENT ON COLUMN keypup.issue_pull_request_links.sources IS 'How it is named, sorted: branch (a guess), closing_reference (the provider says so), title.';

CREATE VIEW keypup.issue_transitions WITH (security_invoker = true, security_barrier = true) AS
WITH happened AS (
  SELECT i.account_id, i.project_id, i.number, 0 AS part, 'opened' AS event, i.created_at AS occurred_at
  FROM keypup.issues i WHERE i.deleted_at IS NULL
  UNION ALL
  SELECT i.account_id, i.project_id, i.number, 1, e.event, e.occurred_at
  FROM keypup.issues i
  JOIN keypup.timeline_events e ON e.account_id = i.account_id AND e.project_id = i.project_id AND e.item_number = i.number AND e.item_kind = 'issue'
  WHERE i.deleted_at IS NULL AND e.event IN ('closed', 'reopened')
  UNION ALL
  -- The issue's own state has the last word: an event may be missing.
  SELECT i.account_id, i.project_id, i.number, 2, CASE i.state WHEN 'closed' THEN 'closed' ELSE 'reopened' END,
    CASE i.state WHEN 'closed' THEN coalesce(i.closed_at, i.updated_at) ELSE i.updated_at END
  FROM keypup.issues i WHERE i.deleted_at IS NULL
), ordered AS (
  -- None comes before the opening, or before the one that it follows.
  SELECT h.account_id, h.project_id, h.number, h.event, lag(h.event) OVER w AS event_before, max(h.occurred_at) OVER w AS occurred_at
  FROM happened h
  WINDOW w AS (PARTITION BY h.account_id, h.project_id, h.number ORDER BY h.part, h.occurred_at, h.event)
)
SELECT o.account_id, o.project_id, o.number, o.event, o.occurred_at
FROM ordered o
-- Only what changes the state counts: closing a closed issue again, with another reason, does not.
WHERE o.event = 'opened' OR (o.event = 'closed') = (o.event_before <> 'closed');
REVOKE ALL ON keypup.issue_transitions FROM PUBLIC;
GRANT SELECT ON keypup.issue_transitions TO keypup_member;
COMMENT ON VIEW keypup.issue_transitions IS 'When each issue was opened, closed and reopened: each row changes its state, and the last one leaves it as it is now.';
COMMENT ON COLUMN keypup.issue_transitions.account_id IS 'The account.';
COMMENT ON COLUMN keypup.issue_transitions.project_id IS 'The project.';
COMMENT ON COLUMN keypup.issue_transitions.number IS 'Number of the issue.';
COMMENT ON COLUMN keypup.issue_transitions.event IS 'opened, closed or reopened.';
COMMENT ON COLUMN keypup.issue_transitions.occurred_at IS 'When; never before the opening. From closed_at or updated_at where the event is missing.';

CREATE VIEW keypup.issue_metrics WITH (security_invoker = true, security_barrier = true) AS
-- The issue and all that belongs to it in one list, and no join: the planner would compare every issue of a project with every row.
WITH fact AS (
  SELECT i.account_id, i.project_id, i.number, true AS is_issue, i AS issue, 0 AS reopened, NULL::timestamptz AS assigned_at,
    NULL::bigint AS pull_request, NULL::timestamptz AS merged_at, NULL::bigint AS lines
  FROM keypup.issues i WHERE i.deleted_at IS NULL
  UNION ALL
  SELECT t.account_id, t.project_id, t.number, false, NULL, 1, NULL, NULL, NULL, NULL
  FROM keypup.issue_transitions t WHERE t.event = 'reopened'
  UNION ALL
  SELECT e.account_id, e.project_id, e.item_number, false, NULL, 0, e.occurred_at, NULL, NULL, NULL
  FROM keypup.timeline_events e
  JOIN keypup.issues i ON i.account_id = e.account_id AND i.project_id = e.project_id AND i.number = e.item_number
  WHERE e.item_kind = 'issue' AND e.event = 'assigned' AND e.occurred_at >= i.created_at
  UNION ALL
  SELECT r.account_id, r.project_id, c.issue_number, false, NULL, 0, NULL, r.number, r.merged_at, r.additions + r.deletions
  FROM keypup.pull_requests r CROSS JOIN LATERAL (SELECT DISTINCT unnest(r.closes_issues)) AS c(issue_number)
  WHERE r.deleted_at IS NULL AND r.state <> 'closed'
), gathered AS (
  SELECT f.account_id, f.project_id, f.number, (array_agg(f.issue) FILTER (WHERE f.is_issue))[1] AS issue, sum(f.reopened) AS times_reopened, min(f.assigned_at) AS assigned_at,
    array_agg(f.pull_request ORDER BY f.pull_request) FILTER (WHERE f.pull_request IS NOT NULL) AS pull_requests,
    min(f.merged_at) AS first_merged_at, max(f.merged_at) AS last_merged_at, sum(f.lines)::bigint AS lines_changed
  FROM fact f
  GROUP BY f.account_id, f.project_id, f.number
  HAVING bool_or(f.is_issue)
)
SELECT g.account_id, g.project_id, p.name AS project, g.number, (g.issue).title, (g.issue).author, (g.issue).author_is_bot, (g.issue).state, (g.issue).state_reason, (g.issue).labels, (g.issue).type, (g.issue).milestone,
  (g.issue).created_at, (g.issue).updated_at, (g.issue).closed_at,
  CASE WHEN (g.issue).state = 'closed' AND (g.issue).closed_at >= (g.issue).created_at THEN (g.issue).closed_at - (g.issue).created_at END AS lead_time,
  CASE WHEN (g.issue).first_response_at >= (g.issue).created_at THEN (g.issue).first_response_at - (g.issue).created_at END AS first_response_time,
  g.assigned_at - (g.issue).created_at AS queue_time,
  g.times_reopened AS times_reopened,
  CASE WHEN (g.issue).state = 'open' THEN greatest(now() - (g.issue).created_at, interval '0') END AS age,
  (g.issue).state = 'open' AND (g.issue).updated_at < now() - interval '720 hours' AS is_stale,
  coalesce(g.pull_requests, '{}') AS resolving_pull_requests,
  g.first_merged_at AS resolving_first_merged_at, g.last_merged_at AS resolving_last_merged_at, g.lines_changed
FROM gathered g
JOIN keypup.projects p ON p.account_id = g.account_id AND p.project_id = g.project_id;
REVOKE ALL ON keypup.issue_metrics FROM PUBLIC;
GRANT SELECT ON keypup.issue_metrics TO keypup_member;
COMMENT ON VIEW keypup.issue_metrics IS 'One row an issue that is not deleted: how long it waited and took, and what resolves it.';
COMMENT ON COLUMN keypup.issue_metrics.account_id IS 'The account.';
COMMENT ON COLUMN keypup.issue_metrics.project_id IS 'The project.';
COMMENT ON COLUMN keypup.issue_metrics.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.issue_metrics.number IS 'Number within the project.';
COMMENT ON COLUMN keypup.issue_metrics.title IS 'Title.';
COMMENT ON COLUMN keypup.issue_metrics.author IS 'Login; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.issue_metrics.author_is_bot IS 'Whether a bot opened it.';
COMMENT ON COLUMN keypup.issue_metrics.state IS 'open or closed.';
COMMENT ON COLUMN keypup.issue_metrics.state_reason IS 'Why it is closed or open again, as the provider says.';
COMMENT ON COLUMN keypup.issue_metrics.labels IS 'Names of its labels, sorted.';
COMMENT ON COLUMN keypup.issue_metrics.type IS 'The type that the provider gives it; NULL without one. Never guessed from labels.';
COMMENT ON COLUMN keypup.issue_metrics.milestone IS 'Title of its milestone.';
COMMENT ON COLUMN keypup.issue_metrics.created_at IS 'When it was opened.';
COMMENT ON COLUMN keypup.issue_metrics.updated_at IS 'When it last changed.';
COMMENT ON COLUMN keypup.issue_metrics.closed_at IS 'When it was last closed; NULL while open.';
COMMENT ON COLUMN keypup.issue_metrics.lead_time IS 'Opening to the last closing, reopened spells included; NULL while open, or when the closing is dated before the opening.';
COMMENT ON COLUMN keypup.issue_metrics.first_response_time IS 'Opening to the first comment by a person who is not the author; NULL without one, or when it is dated before the opening.';
COMMENT ON COLUMN keypup.issue_metrics.queue_time IS 'Opening to the first assignment; NULL when it never was assigned, or its assignments were not read.';
COMMENT ON COLUMN keypup.issue_metrics.times_reopened IS 'How often it was opened again after a closing.';
COMMENT ON COLUMN keypup.issue_metrics.age IS 'Opening to now, 0 when the opening is in the future; NULL when closed.';
COMMENT ON COLUMN keypup.issue_metrics.is_stale IS 'Whether it is open and has not changed for 30 days of 24 hours.';
COMMENT ON COLUMN keypup.issue_metrics.resolving_pull_requests IS 'Numbers of the open and merged pull requests that close it by a closing reference, sorted.';
COMMENT ON COLUMN keypup.issue_metrics.resolving_first_merged_at IS 'When the first of them was merged; NULL while none is.';
COMMENT ON COLUMN keypup.issue_metrics.resolving_last_merged_at IS 'When the last of the merged ones was merged; NULL while none is.';
COMMENT ON COLUMN keypup.issue_metrics.lines_changed IS 'Additions and deletions of the resolving pull requests together; NULL without one whose size is known.';
