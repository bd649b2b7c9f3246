-- insight/fields.sql: pull requests and issues under the names that the fields have in the Keypup service. doc/fields.md has the definitions.

CREATE VIEW keypup.pull_request_fields WITH (security_invoker = true, security_barrier = true) AS
-- Project by project; each pull request looks up by key what belongs to it, so that a time range reaches an index. The next steps, which
-- ask who merges in the project, are gathered once a project, by number.
SELECT p.account_id, p.project_id, j.name AS project, p.number, p.url, p.title, p.author AS author_username, p.author_is_bot,
  CASE WHEN p.state = 'open' AND p.is_draft THEN 'DRAFT' ELSE upper(p.state) END AS state,
  CASE WHEN v.review_state IS NOT NULL THEN v.review_state WHEN cardinality(p.requested_reviewers) > 0 THEN 'PENDING' ELSE 'NONE' END AS review_state,
  p.created_at, p.updated_at, p.closed_at, p.merged_at, m.due_on,
  e.assigned_at, e.last_assigned_at, p.review_requested_at, v.review_approved_at, v.review_last_approved_at,
  p.additions, p.deletions, p.additions + p.deletions AS lines_changed,
  p.labels, p.milestone, p.assignees AS assignee_usernames, p.requested_reviewers AS requested_reviewer_usernames,
  coalesce(p.next_step ->> 'action', 'NONE') AS recommended_action, coalesce((p.next_step ->> 'actors')::text[], '{}') AS recommended_actor_usernames,
  coalesce((p.next_step ->> 'mergers')::text[], '{}') AS suggested_merger_usernames,
  coalesce(f.numbers, '{}') AS resolved_issue_numbers, f.first_created_at AS resolved_issue_first_created_at,
  f.first_closed_at AS resolved_issue_first_closed_at, f.last_closed_at AS resolved_issue_last_closed_at,
  coalesce(f.authors, '{}') AS resolved_issue_author_usernames, coalesce(f.types, '{}') AS resolved_issue_sub_types
FROM keypup.projects j
CROSS JOIN LATERAL (
  WITH next_step AS MATERIALIZED (
    SELECT jsonb_object_agg(n.number, jsonb_build_object('action', n.recommended_action, 'actors', n.recommended_actor_usernames::text, 'mergers', n.suggested_merger_usernames::text)) AS by_number
    FROM keypup.pull_request_next_steps n WHERE n.account_id = j.account_id AND n.project_id = j.project_id
  )
  SELECT p.account_id, p.project_id, p.number, p.url, p.title, p.author, p.author_is_bot, p.state, p.is_draft, p.created_at, p.updated_at, p.closed_at, p.merged_at, p.review_requested_at,
    p.additions, p.deletions, p.labels, p.milestone, p.assignees, p.requested_reviewers, p.closes_issues,
    CASE p.state WHEN 'open' THEN (SELECT n.by_number FROM next_step n) -> p.number::text END AS next_step
  FROM keypup.pull_requests p
  WHERE p.account_id = j.account_id AND p.project_id = j.project_id AND p.deleted_at IS NULL
) AS p
LEFT JOIN LATERAL (
  SELECT v.review_state, v.review_approved_at, v.review_last_approved_at FROM keypup.pull_request_verdicts v
  WHERE v.account_id = p.account_id AND v.project_id = p.project_id AND v.number = p.number LIMIT 1) AS v ON true
LEFT JOIN LATERAL (
  SELECT min(m.due_on) AS due_on FROM keypup.milestones m
  WHERE m.account_id = p.account_id AND m.project_id = p.project_id AND m.title = p.milestone) AS m ON true
LEFT JOIN LATERAL (
  SELECT min(e.occurred_at) AS assigned_at, max(e.occurred_at) AS last_assigned_at FROM keypup.timeline_events e
  WHERE e.account_id = p.account_id AND e.project_id = p.project_id AND e.item_number = p.number AND e.item_kind = 'pull_request' AND e.event = 'assigned') AS e ON true
LEFT JOIN LATERAL (
  SELECT array_agg(i.number ORDER BY i.number) AS numbers, min(i.created_at) AS first_created_at, min(i.closed_at) AS first_closed_at, max(i.closed_at) AS last_closed_at,
    array_agg(DISTINCT i.author) FILTER (WHERE i.author IS NOT NULL) AS authors, array_agg(DISTINCT i.type) FILTER (WHERE i.type IS NOT NULL) AS types
  FROM (SELECT DISTINCT c.number FROM unnest(p.closes_issues) AS c(number)) AS c
  -- LIMIT, so that each is looked up by its key.
  CROSS JOIN LATERAL (
    SELECT i.number, i.created_at, i.closed_at, i.author, i.type FROM keypup.issues i
    WHERE i.account_id = p.account_id AND i.project_id = p.project_id AND i.number = c.number AND i.deleted_at IS NULL LIMIT 1) AS i
  WHERE p.state <> 'closed') AS f ON true;
REVOKE ALL ON keypup.pull_request_fields FROM PUBLIC;
GRANT SELECT ON keypup.pull_request_fields TO keypup_member;
COMMENT ON VIEW keypup.pull_request_fields IS 'One row a pull request that is not deleted, under the names that its fields have in the Keypup service.';
COMMENT ON COLUMN keypup.pull_request_fields.account_id IS 'The account.';
COMMENT ON COLUMN keypup.pull_request_fields.project_id IS 'The project.';
COMMENT ON COLUMN keypup.pull_request_fields.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.pull_request_fields.number IS 'Number within the project.';
COMMENT ON COLUMN keypup.pull_request_fields.url IS 'Where a person reads it.';
COMMENT ON COLUMN keypup.pull_request_fields.title IS 'Title.';
COMMENT ON COLUMN keypup.pull_request_fields.author_username IS 'Login; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.pull_request_fields.author_is_bot IS 'Whether a bot opened it.';
COMMENT ON COLUMN keypup.pull_request_fields.state IS 'OPEN, DRAFT (open, and a draft), CLOSED (without a merge) or MERGED.';
COMMENT ON COLUMN keypup.pull_request_fields.review_state IS 'NONE, PENDING, CHANGES_REQUESTED or APPROVED, as in pull_request_metrics.';
COMMENT ON COLUMN keypup.pull_request_fields.created_at IS 'When it was opened.';
COMMENT ON COLUMN keypup.pull_request_fields.updated_at IS 'When it last changed.';
COMMENT ON COLUMN keypup.pull_request_fields.closed_at IS 'When it was closed or merged; NULL while open.';
COMMENT ON COLUMN keypup.pull_request_fields.merged_at IS 'When it was merged; NULL if not.';
COMMENT ON COLUMN keypup.pull_request_fields.due_on IS 'When its milestone is due; NULL without one.';
COMMENT ON COLUMN keypup.pull_request_fields.assigned_at IS 'When somebody was first assigned; NULL where nobody was, or it was not read.';
COMMENT ON COLUMN keypup.pull_request_fields.last_assigned_at IS 'When somebody was last assigned.';
COMMENT ON COLUMN keypup.pull_request_fields.review_requested_at IS 'First time that a review was requested.';
COMMENT ON COLUMN keypup.pull_request_fields.review_approved_at IS 'First time that it came to stand approved, see pull_request_verdicts; NULL where it never did.';
COMMENT ON COLUMN keypup.pull_request_fields.review_last_approved_at IS 'Last time that it came to stand approved.';
COMMENT ON COLUMN keypup.pull_request_fields.additions IS 'Lines added.';
COMMENT ON COLUMN keypup.pull_request_fields.deletions IS 'Lines deleted.';
COMMENT ON COLUMN keypup.pull_request_fields.lines_changed IS 'Both together; NULL where the provider gives none.';
COMMENT ON COLUMN keypup.pull_request_fields.labels IS 'Names of its labels, sorted.';
COMMENT ON COLUMN keypup.pull_request_fields.milestone IS 'Title of its milestone.';
COMMENT ON COLUMN keypup.pull_request_fields.assignee_usernames IS 'Logins of who is assigned.';
COMMENT ON COLUMN keypup.pull_request_fields.requested_reviewer_usernames IS 'Logins of who is asked for a review now.';
COMMENT ON COLUMN keypup.pull_request_fields.recommended_action IS 'As in pull_request_next_steps; NONE unless open.';
COMMENT ON COLUMN keypup.pull_request_fields.recommended_actor_usernames IS 'As in pull_request_next_steps.';
COMMENT ON COLUMN keypup.pull_request_fields.suggested_merger_usernames IS 'As in pull_request_next_steps; empty unless open.';
COMMENT ON COLUMN keypup.pull_request_fields.resolved_issue_numbers IS 'Issues of the project that it closes by a closing reference, sorted; empty when it was closed without a merge.';
COMMENT ON COLUMN keypup.pull_request_fields.resolved_issue_first_created_at IS 'When the first of them was opened.';
COMMENT ON COLUMN keypup.pull_request_fields.resolved_issue_first_closed_at IS 'When the first of the closed ones was last closed; NULL while none is closed.';
COMMENT ON COLUMN keypup.pull_request_fields.resolved_issue_last_closed_at IS 'When the last of the closed ones was last closed.';
COMMENT ON COLUMN keypup.pull_request_fields.resolved_issue_author_usernames IS 'Logins of their authors, sorted, each once.';
COMMENT ON COLUMN keypup.pull_request_fields.resolved_issue_sub_types IS 'The provider''s types of them, sorted, each once.';

-- The n-th closing ends the n-th open spell, whatever times are alike.
CREATE VIEW keypup.issue_spells WITH (security_invoker = true, security_barrier = true) AS
WITH placed AS (
  SELECT t.account_id, t.project_id, t.number, t.event, t.occurred_at,
    CASE t.event WHEN 'opened' THEN 1 WHEN 'closed' THEN 2 * row_number() OVER w ELSE 2 * row_number() OVER w + 1 END AS place
  FROM keypup.issue_transitions t
  WINDOW w AS (PARTITION BY t.account_id, t.project_id, t.number, t.event ORDER BY t.occurred_at)
)
SELECT p.account_id, p.project_id, p.number, p.place, CASE p.event WHEN 'closed' THEN 'CLOSED' ELSE 'OPEN' END AS name, p.occurred_at AS start_at,
  lead(p.occurred_at) OVER (PARTITION BY p.account_id, p.project_id, p.number ORDER BY p.place) AS end_at
FROM placed p;
REVOKE ALL ON keypup.issue_spells FROM PUBLIC;
GRANT SELECT ON keypup.issue_spells TO keypup_member;
COMMENT ON VIEW keypup.issue_spells IS 'One row an issue and time in which it was open, or closed: they follow one another without a gap.';
COMMENT ON COLUMN keypup.issue_spells.account_id IS 'The account.';
COMMENT ON COLUMN keypup.issue_spells.project_id IS 'The project.';
COMMENT ON COLUMN keypup.issue_spells.number IS 'Number of the issue.';
COMMENT ON COLUMN keypup.issue_spells.place IS 'Counts from 1.';
COMMENT ON COLUMN keypup.issue_spells.name IS 'OPEN or CLOSED. GitHub has no other status history.';
COMMENT ON COLUMN keypup.issue_spells.start_at IS 'When it began.';
COMMENT ON COLUMN keypup.issue_spells.end_at IS 'When the next began; NULL in the last.';

CREATE VIEW keypup.issue_fields WITH (security_invoker = true, security_barrier = true) AS
-- As pull_request_fields. What resolves an issue stands at the pull requests: these are gathered once a project, by the number of the issue.
SELECT i.account_id, i.project_id, j.name AS project, i.number, i.url, i.title, i.author AS author_username, i.author_is_bot,
  upper(i.state) AS state, i.type AS sub_type, i.created_at, i.updated_at, i.closed_at, m.due_on, e.assigned_at, e.last_assigned_at,
  i.labels, i.milestone, i.assignees AS assignee_usernames,
  a.approved[1] AS review_approved_at, a.approved[2] AS review_last_approved_at,
  coalesce(i.next_step ->> 'action', 'NONE') AS recommended_action, coalesce((i.next_step ->> 'actors')::text[], '{}') AS recommended_actor_usernames,
  coalesce((i.resolving ->> 'numbers')::bigint[], '{}') AS resolving_pull_request_numbers,
  (i.resolving ->> 'first_merged_at')::timestamptz AS resolving_pr_first_merged_at, (i.resolving ->> 'last_merged_at')::timestamptz AS resolving_pr_last_merged_at,
  (i.resolving ->> 'first_closed_at')::timestamptz AS resolving_pr_first_closed_at, (i.resolving ->> 'last_created_at')::timestamptz AS resolving_pr_last_created_at,
  coalesce((i.resolving ->> 'authors')::text[], '{}') AS resolving_pr_author_usernames,
  (i.resolving ->> 'additions')::bigint AS additions, (i.resolving ->> 'deletions')::bigint AS deletions, (i.resolving ->> 'lines_changed')::bigint AS lines_changed,
  upper(i.state) AS workflow_status, a.timeline AS workflow_timeline, NULL::interval AS cycle_time
FROM keypup.projects j
CROSS JOIN LATERAL (
  WITH next_step AS MATERIALIZED (
    SELECT jsonb_object_agg(n.number, jsonb_build_object('action', n.recommended_action, 'actors', n.recommended_actor_usernames::text)) AS by_number
    FROM keypup.issue_next_steps n WHERE n.account_id = j.account_id AND n.project_id = j.project_id
  ), resolving AS MATERIALIZED (
    SELECT jsonb_object_agg(c.issue_number, jsonb_build_object('numbers', c.numbers::text, 'first_merged_at', c.first_merged_at, 'last_merged_at', c.last_merged_at,
      'first_closed_at', c.first_closed_at, 'last_created_at', c.last_created_at, 'authors', c.authors::text,
      'additions', c.additions, 'deletions', c.deletions, 'lines_changed', c.lines_changed)) AS by_issue
    FROM (
      SELECT n.issue_number, array_agg(p.number ORDER BY p.number) AS numbers, min(p.merged_at) AS first_merged_at, max(p.merged_at) AS last_merged_at,
        min(p.closed_at) AS first_closed_at, max(p.created_at) AS last_created_at, array_agg(DISTINCT p.author) FILTER (WHERE p.author IS NOT NULL) AS authors,
        sum(p.additions) AS additions, sum(p.deletions) AS deletions, sum(p.additions + p.deletions) AS lines_changed
      FROM keypup.pull_requests p CROSS JOIN LATERAL (SELECT DISTINCT unnest(p.closes_issues)) AS n(issue_number)
      WHERE p.account_id = j.account_id AND p.project_id = j.project_id AND p.deleted_at IS NULL AND p.state <> 'closed' AND p.closes_issues <> '{}' AND n.issue_number IS NOT NULL
      GROUP BY n.issue_number
    ) AS c
  )
  SELECT i.account_id, i.project_id, i.number, i.url, i.title, i.author, i.author_is_bot, i.state, i.type, i.created_at, i.updated_at, i.closed_at, i.labels, i.milestone, i.assignees,
    CASE i.state WHEN 'open' THEN (SELECT n.by_number FROM next_step n) -> i.number::text END AS next_step, (SELECT r.by_issue FROM resolving r) -> i.number::text AS resolving
  FROM keypup.issues i
  WHERE i.account_id = j.account_id AND i.project_id = j.project_id AND i.deleted_at IS NULL
) AS i
LEFT JOIN LATERAL (
  SELECT min(m.due_on) AS due_on FROM keypup.milestones m
  WHERE m.account_id = i.account_id AND m.project_id = i.project_id AND m.title = i.milestone) AS m ON true
LEFT JOIN LATERAL (
  SELECT min(e.occurred_at) AS assigned_at, max(e.occurred_at) AS last_assigned_at FROM keypup.timeline_events e
  WHERE e.account_id = i.account_id AND e.project_id = i.project_id AND e.item_number = i.number AND e.item_kind = 'issue' AND e.event = 'assigned') AS e ON true
-- As values, so that the one that is not asked for is not reckoned.
CROSS JOIN LATERAL (
  SELECT (
    SELECT ARRAY[min(v.review_approved_at), max(v.review_last_approved_at)]
    FROM unnest((i.resolving ->> 'numbers')::bigint[]) AS n(number)
    CROSS JOIN LATERAL (
      SELECT v.review_approved_at, v.review_last_approved_at FROM keypup.pull_request_verdicts v
      WHERE v.account_id = i.account_id AND v.project_id = i.project_id AND v.number = n.number LIMIT 1) AS v) AS approved, (
    SELECT jsonb_agg(jsonb_build_object('name', s.name, 'start_at', s.start_at, 'end_at', s.end_at) ORDER BY s.place)
    FROM keypup.issue_spells s WHERE s.account_id = i.account_id AND s.project_id = i.project_id AND s.number = i.number) AS timeline
  OFFSET 0) AS a;
REVOKE ALL ON keypup.issue_fields FROM PUBLIC;
GRANT SELECT ON keypup.issue_fields TO keypup_member;
COMMENT ON VIEW keypup.issue_fields IS 'One row an issue that is not deleted, under the names that its fields have in the Keypup service.';
COMMENT ON COLUMN keypup.issue_fields.account_id IS 'The account.';
COMMENT ON COLUMN keypup.issue_fields.project_id IS 'The project.';
COMMENT ON COLUMN keypup.issue_fields.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.issue_fields.number IS 'Number within the project.';
COMMENT ON COLUMN keypup.issue_fields.url IS 'Where a person reads it.';
COMMENT ON COLUMN keypup.issue_fields.title IS 'Title.';
COMMENT ON COLUMN keypup.issue_fields.author_username IS 'Login; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.issue_fields.author_is_bot IS 'Whether a bot opened it.';
COMMENT ON COLUMN keypup.issue_fields.state IS 'OPEN or CLOSED.';
COMMENT ON COLUMN keypup.issue_fields.sub_type IS 'The type that the provider gives it; NULL without one.';
COMMENT ON COLUMN keypup.issue_fields.created_at IS 'When it was opened.';
COMMENT ON COLUMN keypup.issue_fields.updated_at IS 'When it last changed.';
COMMENT ON COLUMN keypup.issue_fields.closed_at IS 'When it was last closed; NULL while open.';
COMMENT ON COLUMN keypup.issue_fields.due_on IS 'When its milestone is due; NULL without one.';
COMMENT ON COLUMN keypup.issue_fields.assigned_at IS 'When somebody was first assigned; NULL where nobody was, or it was not read.';
COMMENT ON COLUMN keypup.issue_fields.last_assigned_at IS 'When somebody was last assigned.';
COMMENT ON COLUMN keypup.issue_fields.labels IS 'Names of its labels, sorted.';
COMMENT ON COLUMN keypup.issue_fields.milestone IS 'Title of its milestone.';
COMMENT ON COLUMN keypup.issue_fields.assignee_usernames IS 'Logins of who is assigned.';
COMMENT ON COLUMN keypup.issue_fields.review_approved_at IS 'The earliest review_approved_at of the pull requests that resolve it.';
COMMENT ON COLUMN keypup.issue_fields.review_last_approved_at IS 'The latest review_last_approved_at of the pull requests that resolve it.';
COMMENT ON COLUMN keypup.issue_fields.recommended_action IS 'As in issue_next_steps; NONE when closed.';
COMMENT ON COLUMN keypup.issue_fields.recommended_actor_usernames IS 'As in issue_next_steps; empty when closed.';
COMMENT ON COLUMN keypup.issue_fields.resolving_pull_request_numbers IS 'Open and merged pull requests of the project that close it by a closing reference, sorted.';
COMMENT ON COLUMN keypup.issue_fields.resolving_pr_first_merged_at IS 'When the first of them was merged; NULL while none is.';
COMMENT ON COLUMN keypup.issue_fields.resolving_pr_last_merged_at IS 'When the last of the merged ones was merged.';
COMMENT ON COLUMN keypup.issue_fields.resolving_pr_first_closed_at IS 'When the first of them was closed, which is its merge; NULL while all are open.';
COMMENT ON COLUMN keypup.issue_fields.resolving_pr_last_created_at IS 'When the last of them was opened.';
COMMENT ON COLUMN keypup.issue_fields.resolving_pr_author_usernames IS 'Logins of their authors, sorted, each once.';
COMMENT ON COLUMN keypup.issue_fields.additions IS 'Lines that they add, together; NULL without one whose size is known.';
COMMENT ON COLUMN keypup.issue_fields.deletions IS 'Lines that they delete, together.';
COMMENT ON COLUMN keypup.issue_fields.lines_changed IS 'Both together.';
COMMENT ON COLUMN keypup.issue_fields.workflow_status IS 'The state: GitHub has no other status.';
COMMENT ON COLUMN keypup.issue_fields.workflow_timeline IS 'Array of {name, start_at, end_at}: its spells, as in issue_spells; end_at of the last is null.';
COMMENT ON COLUMN keypup.issue_fields.cycle_time IS 'Time in work. NULL: it needs a status history, and GitHub has none.';
