-- insight/issue.sql: how long issues take, and which pull requests resolve them. doc/issue-metrics.md has the
-- definitions.

CREATE VIEW keypup.issue_pull_request_links WITH (security_invoker = true, security_barrier = true) AS
-- Project by project: only those that are asked for are read.
SELECT j.account_id, j.project_id, j.name AS project, l.issue_number, l.pull_request_number, l.sources
FROM keypup.projects j
CROSS JOIN LATERAL (
  WITH pull_request AS (
    SELECT p.number, p.closes_issues, p.title_numbers, p.branch_number
    FROM keypup.pull_requests p WHERE p.account_id = j.account_id AND p.project_id = j.project_id
      AND p.deleted_at IS NULL
  ), named AS (
    SELECT p.number, c.issue_number, 'closing_reference' AS source
    FROM pull_request p CROSS JOIN LATERAL (SELECT DISTINCT unnest(p.closes_issues)) AS c(issue_number)
    WHERE p.closes_issues <> '{}'
    UNION ALL
    SELECT p.number, t.issue_number, 'title'
    FROM pull_request p CROSS JOIN LATERAL unnest(p.title_numbers) AS t(issue_number) WHERE p.title_numbers <> '{}'
    UNION ALL
    SELECT p.number, p.branch_number, 'branch' FROM pull_request p WHERE p.branch_number IS NOT NULL
  )
  SELECT n.issue_number, n.number AS pull_request_number, array_agg(n.source ORDER BY n.source) AS sources
  FROM named n
  -- LIMIT, so that each is looked up by its key.
  CROSS JOIN LATERAL (
    SELECT FROM keypup.issues i WHERE i.account_id = j.account_id AND i.project_id = j.project_id
      AND i.number = n.issue_number AND i.deleted_at IS NULL LIMIT 1) AS i
  GROUP BY n.issue_number, n.number
) AS l;
REVOKE ALL ON keypup.issue_pull_request_links FROM PUBLIC;
GRANT SELECT ON keypup.issue_pull_request_links TO keypup_member;
COMMENT ON VIEW keypup.issue_pull_request_links IS
  'One row an issue and a pull request of the same project that names it: by a closing reference, in its title, or in '
  'its branch.';
COMMENT ON COLUMN keypup.issue_pull_request_links.account_id IS 'The account.';
COMMENT ON COLUMN keypup.issue_pull_request_links.project_id IS 'The project.';
COMMENT ON COLUMN keypup.issue_pull_request_links.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.issue_pull_request_links.issue_number IS 'Number of the issue.';
COMMENT ON COLUMN keypup.issue_pull_request_links.pull_request_number IS 'Number of the pull request.';
COMMENT ON COLUMN keypup.issue_pull_request_links.sources IS
  'How it is named, sorted: branch (a guess), closing_reference (the provider says so), title.';

CREATE VIEW keypup.issue_transitions WITH (security_invoker = true, security_barrier = true) AS
SELECT t.account_id, t.project_id, p.name AS project, t.number, t.event, t.occurred_at,
  -- An event has no reason: what was opened again after it may have been closed for another one.
  CASE WHEN t.event = 'closed' AND t.end_at IS NULL THEN CASE WHEN t.state_reason IN ('not_planned', 'duplicate')
    THEN t.state_reason ELSE 'completed' END END AS close_reason,
  t.place, t.end_at, t.labels, t.type, t.author_is_bot
FROM (
  -- What most were is opened and closed, as the row says; what others were stands in transition_times.
  SELECT i.account_id, i.project_id, i.number, 'opened' AS event, i.created_at AS occurred_at, i.state_reason,
    1::bigint AS place, CASE WHEN i.transition_times IS NOT NULL THEN i.transition_times[2] WHEN i.state = 'closed'
      THEN greatest(coalesce(i.closed_at, i.updated_at), i.created_at) END AS end_at, i.labels, i.type, i.author_is_bot
  FROM keypup.issues i WHERE i.deleted_at IS NULL
  UNION ALL
  SELECT i.account_id, i.project_id, i.number, 'closed',
    greatest(coalesce(i.closed_at, i.updated_at), i.created_at), i.state_reason, 2, NULL, i.labels,
    i.type, i.author_is_bot
  FROM keypup.issues i WHERE i.state = 'closed' AND i.transition_times IS NULL AND i.deleted_at IS NULL
  UNION ALL
  SELECT i.account_id, i.project_id, i.number, CASE n.place % 2 WHEN 0 THEN 'closed' ELSE 'reopened' END,
    n.occurred_at, i.state_reason, n.place, i.transition_times[n.place + 1], i.labels, i.type,
    i.author_is_bot
  FROM keypup.issues i CROSS JOIN LATERAL unnest(i.transition_times) WITH ORDINALITY AS n(occurred_at, place)
  WHERE i.transition_times IS NOT NULL AND n.place > 1 AND i.deleted_at IS NULL
) AS t
-- LEFT, so that whoever does not read the name does not join.
LEFT JOIN keypup.projects p ON p.account_id = t.account_id AND p.project_id = t.project_id;
REVOKE ALL ON keypup.issue_transitions FROM PUBLIC;
GRANT SELECT ON keypup.issue_transitions TO keypup_member;
COMMENT ON VIEW keypup.issue_transitions IS
  'When each issue was opened, closed and reopened: each row changes its state, and the last one leaves it as it is '
  'now.';
COMMENT ON COLUMN keypup.issue_transitions.account_id IS 'The account.';
COMMENT ON COLUMN keypup.issue_transitions.project_id IS 'The project.';
COMMENT ON COLUMN keypup.issue_transitions.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.issue_transitions.number IS 'Number of the issue.';
COMMENT ON COLUMN keypup.issue_transitions.event IS 'opened, closed or reopened.';
COMMENT ON COLUMN keypup.issue_transitions.occurred_at IS
  'When; never before the opening. From closed_at or updated_at where the event is missing.';
COMMENT ON COLUMN keypup.issue_transitions.close_reason IS
  'Why, of the closing after which it was not opened again: completed (also where the provider gives no reason), '
  'not_planned or duplicate. NULL for the others: events have no reason of their own.';
COMMENT ON COLUMN keypup.issue_transitions.place IS 'Counts those of the issue from 1: an even one is a closing.';
COMMENT ON COLUMN keypup.issue_transitions.end_at IS 'When the next one occurred; NULL in the last.';
COMMENT ON COLUMN keypup.issue_transitions.labels IS 'The labels that the issue has now.';
COMMENT ON COLUMN keypup.issue_transitions.type IS 'The type that the issue has now; NULL without one.';
COMMENT ON COLUMN keypup.issue_transitions.author_is_bot IS 'Whether a bot opened the issue.';

CREATE VIEW keypup.issue_metrics WITH (security_invoker = true, security_barrier = true) AS
-- Each issue looks its own rows up by key, so that a time range reaches the index of issues. What resolves it stands at
-- the pull requests: these are gathered once a project, by the number of the issue.
SELECT i.account_id, i.project_id, p.name AS project, i.number, i.title, i.author, i.author_is_bot, i.state,
  i.state_reason, CASE WHEN i.state = 'closed' THEN CASE WHEN i.state_reason IN ('not_planned', 'duplicate')
    THEN i.state_reason ELSE 'completed' END END AS close_reason,
  i.labels, i.type, i.milestone, i.created_at, i.updated_at, i.closed_at,
  CASE WHEN i.state = 'closed' AND i.closed_at >= i.created_at THEN i.closed_at - i.created_at END AS lead_time,
  CASE WHEN i.first_response_at >= i.created_at THEN i.first_response_at - i.created_at END AS first_response_time,
  e.assigned_at - i.created_at AS queue_time,
  coalesce((i.transitions - 1) / 2, 0)::bigint AS times_reopened,
  CASE WHEN i.state = 'open' THEN greatest(now() - i.created_at, interval '0') END AS age,
  i.state = 'open' AND now() - greatest(i.created_at, i.updated_at) >= (SELECT a.stale_after FROM keypup.accounts a
    WHERE a.account_id = i.account_id) AS is_stale,
  coalesce((i.resolving ->> 'pull_requests')::bigint[], '{}') AS resolving_pull_requests,
  (i.resolving ->> 'first_merged_at')::timestamptz AS resolving_first_merged_at,
  (i.resolving ->> 'last_merged_at')::timestamptz AS resolving_last_merged_at,
    (i.resolving ->> 'lines_changed')::bigint AS lines_changed, i.key
FROM keypup.projects p
CROSS JOIN LATERAL (
  WITH resolving AS MATERIALIZED (
    SELECT jsonb_object_agg(c.issue_number,
      jsonb_build_object('pull_requests', c.pull_requests::text, 'first_merged_at', c.first_merged_at,
      'last_merged_at', c.last_merged_at, 'lines_changed', c.lines_changed)) AS by_issue
    FROM (
      SELECT n.issue_number, array_agg(r.number ORDER BY r.number) AS pull_requests,
        min(r.merged_at) AS first_merged_at, max(r.merged_at) AS last_merged_at,
          sum(r.additions + r.deletions) AS lines_changed
      FROM keypup.pull_requests r CROSS JOIN LATERAL (SELECT DISTINCT unnest(r.closes_issues)) AS n(issue_number)
      WHERE r.account_id = p.account_id AND r.project_id = p.project_id AND r.deleted_at IS NULL AND r.state <> 'closed'
        AND r.closes_issues <> '{}' AND n.issue_number IS NOT NULL
      GROUP BY n.issue_number
    ) AS c
  )
  SELECT s.account_id, s.project_id, s.number, s.key, s.title, s.author, s.author_is_bot, s.state, s.state_reason,
    s.labels, s.type, s.milestone, s.created_at, s.updated_at, s.closed_at, s.first_response_at,
    cardinality(s.transition_times) AS transitions, (SELECT r.by_issue FROM resolving r) -> s.number::text AS resolving
  FROM keypup.issues s
  WHERE s.account_id = p.account_id AND s.project_id = p.project_id AND s.deleted_at IS NULL
) AS i
LEFT JOIN LATERAL (
  SELECT min(e.occurred_at) AS assigned_at FROM keypup.timeline_events e
  WHERE e.account_id = i.account_id AND e.project_id = i.project_id AND e.item_number = i.number
    AND e.item_kind = 'issue'
    AND e.event = 'assigned' AND e.occurred_at >= i.created_at) AS e ON true;
REVOKE ALL ON keypup.issue_metrics FROM PUBLIC;
GRANT SELECT ON keypup.issue_metrics TO keypup_member;
COMMENT ON VIEW keypup.issue_metrics IS
  'One row an issue that is not deleted: how long it waited and took, and what resolves it.';
COMMENT ON COLUMN keypup.issue_metrics.account_id IS 'The account.';
COMMENT ON COLUMN keypup.issue_metrics.project_id IS 'The project.';
COMMENT ON COLUMN keypup.issue_metrics.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.issue_metrics.key IS 'As people write it: #12 or PROJ-12.';
COMMENT ON COLUMN keypup.issue_metrics.number IS 'Number within the project.';
COMMENT ON COLUMN keypup.issue_metrics.title IS 'Title.';
COMMENT ON COLUMN keypup.issue_metrics.author IS 'Login; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.issue_metrics.author_is_bot IS 'Whether a bot opened it.';
COMMENT ON COLUMN keypup.issue_metrics.state IS 'open or closed.';
COMMENT ON COLUMN keypup.issue_metrics.state_reason IS 'Why it is closed or open again, as the provider says.';
COMMENT ON COLUMN keypup.issue_metrics.close_reason IS
  'Why it is closed: completed (also where the provider gives no reason), not_planned or duplicate; NULL while open.';
COMMENT ON COLUMN keypup.issue_metrics.labels IS 'Names of its labels, sorted.';
COMMENT ON COLUMN keypup.issue_metrics.type IS
  'The type that the provider gives it; NULL without one. Never guessed from labels.';
COMMENT ON COLUMN keypup.issue_metrics.milestone IS 'Title of its milestone.';
COMMENT ON COLUMN keypup.issue_metrics.created_at IS 'When it was opened.';
COMMENT ON COLUMN keypup.issue_metrics.updated_at IS 'When it last changed.';
COMMENT ON COLUMN keypup.issue_metrics.closed_at IS 'When it was last closed; NULL while open.';
COMMENT ON COLUMN keypup.issue_metrics.lead_time IS
  'Opening to the last closing, whatever its reason, reopenings included; NULL while open, or when the closing is '
  'dated before the opening.';
COMMENT ON COLUMN keypup.issue_metrics.first_response_time IS
  'Opening to the first comment by a person who is not the author; NULL without one, or when it is dated before the '
  'opening.';
COMMENT ON COLUMN keypup.issue_metrics.queue_time IS
  'Opening to the first assignment; NULL when it never was assigned, or its assignments were not read.';
COMMENT ON COLUMN keypup.issue_metrics.times_reopened IS 'How often it was opened again after a closing.';
COMMENT ON COLUMN keypup.issue_metrics.age IS 'Opening to now, 0 when the opening is in the future; NULL when closed.';
COMMENT ON COLUMN keypup.issue_metrics.is_stale IS
  'Whether it is open and has not changed for accounts.stale_after, 30 days by default, or longer.';
COMMENT ON COLUMN keypup.issue_metrics.resolving_pull_requests IS
  'Numbers of the open and merged pull requests that close it by a closing reference, sorted.';
COMMENT ON COLUMN keypup.issue_metrics.resolving_first_merged_at IS
  'When the first of them was merged; NULL while none is.';
COMMENT ON COLUMN keypup.issue_metrics.resolving_last_merged_at IS
  'When the last of the merged ones was merged; NULL while none is.';
COMMENT ON COLUMN keypup.issue_metrics.lines_changed IS
  'Additions and deletions of the resolving pull requests together; NULL without one whose size is known.';
