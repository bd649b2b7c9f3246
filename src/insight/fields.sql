-- insight/fields.sql: pull requests and issues under the names that the fields have in the Keypup service.
-- doc/fields.md has the definitions.

CREATE VIEW keypup.pull_request_fields WITH (security_invoker = true, security_barrier = true) AS
-- Each looks up by key what belongs to it, so that a time range reads no more. The aggregates are one row each, which
-- the planner leaves out where nothing of them is asked for.
SELECT p.account_id, p.project_id, j.name AS project, p.number, p.url, p.title, p.author AS author_username,
  p.author_is_bot,
  CASE WHEN p.state = 'open' AND p.is_draft THEN 'draft' ELSE p.state END AS state,
  CASE WHEN v.review_state IS NOT NULL THEN v.review_state WHEN cardinality(p.requested_reviewers) > 0 THEN 'PENDING'
    ELSE 'NONE' END AS review_state,
  p.created_at, p.updated_at, p.closed_at, p.merged_at, d.due_on,
  e.assigned_at, e.last_assigned_at, p.review_requested_at, v.review_approved_at, v.review_last_approved_at,
  p.additions, p.deletions, p.additions + p.deletions AS lines_changed,
  p.labels, p.milestone, p.assignees AS assignee_usernames, p.requested_reviewers AS requested_reviewer_usernames,
  coalesce(n.recommended_action, 'NONE') AS recommended_action,
  coalesce(n.recommended_actor_usernames, '{}') AS recommended_actor_usernames,
  coalesce(n.suggested_merger_usernames, '{}') AS suggested_merger_usernames,
  coalesce(f.numbers, '{}') AS resolved_issue_numbers, f.first_created_at AS resolved_issue_first_created_at,
  f.first_closed_at AS resolved_issue_first_closed_at, f.last_closed_at AS resolved_issue_last_closed_at,
    coalesce(f.authors, '{}') AS resolved_issue_author_usernames,
    coalesce(f.types, '{}') AS resolved_issue_sub_types, p.key
FROM keypup.pull_requests p
JOIN keypup.projects j ON j.account_id = p.account_id AND j.project_id = p.project_id
LEFT JOIN LATERAL (
  SELECT v.review_state, v.review_approved_at, v.review_last_approved_at FROM keypup.pull_request_verdicts v
  WHERE v.account_id = p.account_id AND v.project_id = p.project_id AND v.number = p.number LIMIT 1) AS v ON true
LEFT JOIN LATERAL (
  SELECT n.recommended_action, n.recommended_actor_usernames, n.suggested_merger_usernames
  FROM keypup.pull_request_next_steps n
  WHERE p.state = 'open' AND n.account_id = p.account_id AND n.project_id = p.project_id AND n.number = p.number
  LIMIT 1) AS n ON true
LEFT JOIN LATERAL (
  -- The provider keeps a day as a time of that day in UTC.
  SELECT (min(m.due_on) AT TIME ZONE 'UTC')::date AS due_on FROM keypup.milestones m
  WHERE m.account_id = p.account_id AND m.project_id = p.project_id AND m.external_id = ANY (p.milestone_ids)) AS d
    ON true
LEFT JOIN LATERAL (
  SELECT min(e.occurred_at) AS assigned_at, max(e.occurred_at) AS last_assigned_at FROM keypup.timeline_events e
  WHERE e.account_id = p.account_id AND e.project_id = p.project_id AND e.item_kind = 'pull_request'
    AND e.item_number = p.number AND e.event = 'assigned') AS e ON true
LEFT JOIN LATERAL (
  SELECT array_agg(i.number ORDER BY i.number) AS numbers, min(i.created_at) AS first_created_at,
    min(i.closed_at) AS first_closed_at, max(i.closed_at) AS last_closed_at,
      array_agg(DISTINCT i.author) FILTER (WHERE i.author IS NOT NULL) AS authors,
      array_agg(DISTINCT i.type) FILTER (WHERE i.type IS NOT NULL) AS types
  FROM (SELECT DISTINCT unnest(p.closes_issues) AS number) AS c
  -- LIMIT, so that each is looked up by its key.
  CROSS JOIN LATERAL (
    SELECT i.number, i.created_at, i.closed_at, i.author, i.type FROM keypup.issues i
    WHERE i.account_id = p.account_id AND i.project_id = p.project_id AND i.number = c.number AND i.deleted_at IS NULL
    LIMIT 1) AS i
  WHERE p.state <> 'closed') AS f ON true
WHERE p.deleted_at IS NULL;
REVOKE ALL ON keypup.pull_request_fields FROM PUBLIC;
GRANT SELECT ON keypup.pull_request_fields TO keypup_member;
COMMENT ON VIEW keypup.pull_request_fields IS
  'One row a pull request that is not deleted, under the names that its fields have in the Keypup service.';
COMMENT ON COLUMN keypup.pull_request_fields.account_id IS 'The account.';
COMMENT ON COLUMN keypup.pull_request_fields.project_id IS 'The project.';
COMMENT ON COLUMN keypup.pull_request_fields.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.pull_request_fields.key IS 'As people write it: #12 or !12.';
COMMENT ON COLUMN keypup.pull_request_fields.number IS 'Number within the project.';
COMMENT ON COLUMN keypup.pull_request_fields.url IS 'Where a person reads it.';
COMMENT ON COLUMN keypup.pull_request_fields.title IS 'Title.';
COMMENT ON COLUMN keypup.pull_request_fields.author_username IS 'Login; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.pull_request_fields.author_is_bot IS 'Whether a bot opened it.';
COMMENT ON COLUMN keypup.pull_request_fields.state IS
  'open, draft (open, and a draft), closed (without a merge) or merged.';
COMMENT ON COLUMN keypup.pull_request_fields.review_state IS
  'NONE, PENDING, CHANGES_REQUESTED or APPROVED, as in pull_request_metrics.';
COMMENT ON COLUMN keypup.pull_request_fields.created_at IS 'When it was opened.';
COMMENT ON COLUMN keypup.pull_request_fields.updated_at IS 'When it last changed.';
COMMENT ON COLUMN keypup.pull_request_fields.closed_at IS 'When it was closed or merged; NULL while open.';
COMMENT ON COLUMN keypup.pull_request_fields.merged_at IS 'When it was merged; NULL if not.';
COMMENT ON COLUMN keypup.pull_request_fields.due_on IS 'The day its milestone is due; NULL without one.';
COMMENT ON COLUMN keypup.pull_request_fields.assigned_at IS
  'When somebody was first assigned; NULL where nobody was, or it was not read.';
COMMENT ON COLUMN keypup.pull_request_fields.last_assigned_at IS 'When somebody was last assigned.';
COMMENT ON COLUMN keypup.pull_request_fields.review_requested_at IS 'First time that a review was requested.';
COMMENT ON COLUMN keypup.pull_request_fields.review_approved_at IS
  'First time that it came to stand approved, see pull_request_verdicts; NULL where it never did.';
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
COMMENT ON COLUMN keypup.pull_request_fields.suggested_merger_usernames IS
  'As in pull_request_next_steps; empty unless open.';
COMMENT ON COLUMN keypup.pull_request_fields.resolved_issue_numbers IS
  'Issues of the project that it closes by a closing reference, sorted; empty when it was closed without a merge.';
COMMENT ON COLUMN keypup.pull_request_fields.resolved_issue_first_created_at IS 'When the first of them was opened.';
COMMENT ON COLUMN keypup.pull_request_fields.resolved_issue_first_closed_at IS
  'When the first of the closed ones was last closed; NULL while none is closed.';
COMMENT ON COLUMN keypup.pull_request_fields.resolved_issue_last_closed_at IS
  'When the last of the closed ones was last closed.';
COMMENT ON COLUMN keypup.pull_request_fields.resolved_issue_author_usernames IS
  'Logins of their authors, sorted, each once.';
COMMENT ON COLUMN keypup.pull_request_fields.resolved_issue_sub_types IS
  'The provider''s types of them, sorted, each once.';

CREATE VIEW keypup.issue_status_spans WITH (security_invoker = true, security_barrier = true) AS
SELECT t.account_id, t.project_id, t.project, t.number, t.place,
  CASE t.event WHEN 'closed' THEN 'closed' ELSE 'open' END AS name, t.occurred_at AS start_at, t.end_at
FROM keypup.issue_transitions t;
REVOKE ALL ON keypup.issue_status_spans FROM PUBLIC;
GRANT SELECT ON keypup.issue_status_spans TO keypup_member;
COMMENT ON VIEW keypup.issue_status_spans IS
  'One row an issue and time in which it was open, or closed: they follow one another without a gap.';
COMMENT ON COLUMN keypup.issue_status_spans.account_id IS 'The account.';
COMMENT ON COLUMN keypup.issue_status_spans.project_id IS 'The project.';
COMMENT ON COLUMN keypup.issue_status_spans.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.issue_status_spans.number IS 'Number of the issue.';
COMMENT ON COLUMN keypup.issue_status_spans.place IS 'Counts from 1.';
COMMENT ON COLUMN keypup.issue_status_spans.name IS
  'open or closed, where the provider tells of no other status (provider_capabilities).';
COMMENT ON COLUMN keypup.issue_status_spans.start_at IS 'When it began.';
COMMENT ON COLUMN keypup.issue_status_spans.end_at IS 'When the next began; NULL in the last.';

CREATE VIEW keypup.issue_fields WITH (security_invoker = true, security_barrier = true) AS
-- Project by project, as what resolves an issue stands at the pull requests; the rest each issue looks up by its key.
SELECT j.account_id, j.project_id, j.name AS project, i.number, i.url, i.title, i.author AS author_username,
  i.author_is_bot, i.state, i.type AS sub_type, i.created_at, i.updated_at, i.closed_at,
  d.due_on, e.assigned_at, e.last_assigned_at, i.labels, i.milestone, i.assignees AS assignee_usernames,
  v.approved_at AS review_approved_at, v.last_approved_at AS review_last_approved_at,
  coalesce(i.recommended_action, 'NONE') AS recommended_action,
  coalesce(i.recommended_actor_usernames, '{}') AS recommended_actor_usernames,
    coalesce(i.numbers, '{}') AS resolving_pull_request_numbers, i.first_merged_at AS resolving_pr_first_merged_at,
  i.last_merged_at AS resolving_pr_last_merged_at, i.first_closed_at AS resolving_pr_first_closed_at,
  i.last_created_at AS resolving_pr_last_created_at, coalesce(i.authors, '{}') AS resolving_pr_author_usernames,
    i.additions, i.deletions, i.lines_changed, i.state AS workflow_status,
    t.timeline AS workflow_timeline, NULL::interval AS cycle_time, i.key
FROM keypup.projects j
CROSS JOIN LATERAL (
  WITH resolving AS MATERIALIZED (
    SELECT c.number, array_agg(p.number ORDER BY p.number) AS numbers,
      min(p.merged_at) AS first_merged_at, max(p.merged_at) AS last_merged_at, min(p.closed_at) AS first_closed_at,
      max(p.created_at) AS last_created_at, sum(p.additions)::bigint AS additions,
      sum(p.deletions)::bigint AS deletions, sum(p.additions + p.deletions)::bigint AS lines_changed,
        array_agg(DISTINCT p.author) FILTER (WHERE p.author IS NOT NULL) AS authors
    FROM keypup.pull_requests p CROSS JOIN LATERAL (SELECT DISTINCT unnest(p.closes_issues)) AS c(number)
    WHERE p.account_id = j.account_id AND p.project_id = j.project_id AND p.deleted_at IS NULL AND p.state <> 'closed'
      AND p.closes_issues <> '{}'
    GROUP BY c.number
  ), step AS MATERIALIZED (
    SELECT n.number, n.recommended_action, n.recommended_actor_usernames FROM keypup.issue_next_steps n
    WHERE n.account_id = j.account_id AND n.project_id = j.project_id
  )
  SELECT i.number, i.key, i.url, i.title, i.author, i.author_is_bot, i.state, i.type, i.created_at, i.updated_at,
    i.closed_at, i.labels, i.milestone, i.milestone_ids, i.assignees, s.recommended_action,
      s.recommended_actor_usernames, r.numbers, r.first_merged_at, r.last_merged_at, r.first_closed_at,
    r.last_created_at, r.additions, r.deletions, r.lines_changed, r.authors
  FROM keypup.issues i
  LEFT JOIN resolving r ON r.number = i.number
  LEFT JOIN step s ON s.number = i.number
  WHERE i.account_id = j.account_id AND i.project_id = j.project_id AND i.deleted_at IS NULL
) AS i
LEFT JOIN LATERAL (
  SELECT min(v.review_approved_at) AS approved_at, max(v.review_last_approved_at) AS last_approved_at
  FROM unnest(i.numbers) AS n(number)
  CROSS JOIN LATERAL (
    SELECT v.review_approved_at, v.review_last_approved_at FROM keypup.pull_request_verdicts v
    WHERE v.account_id = j.account_id AND v.project_id = j.project_id AND v.number = n.number LIMIT 1) AS v) AS v
      ON true
LEFT JOIN LATERAL (
  SELECT jsonb_agg(jsonb_build_object('name', s.name, 'start_at', s.start_at, 'end_at', s.end_at)
    ORDER BY s.place) AS timeline FROM keypup.issue_status_spans s
  WHERE s.account_id = j.account_id AND s.project_id = j.project_id AND s.number = i.number) AS t ON true
LEFT JOIN LATERAL (
  -- The provider keeps a day as a time of that day in UTC.
  SELECT (min(m.due_on) AT TIME ZONE 'UTC')::date AS due_on FROM keypup.milestones m
  WHERE m.account_id = j.account_id AND m.project_id = j.project_id AND m.external_id = ANY (i.milestone_ids)) AS d
    ON true
LEFT JOIN LATERAL (
  SELECT min(e.occurred_at) AS assigned_at, max(e.occurred_at) AS last_assigned_at FROM keypup.timeline_events e
  WHERE e.account_id = j.account_id AND e.project_id = j.project_id AND e.item_kind = 'issue'
    AND e.item_number = i.number AND e.event = 'assigned') AS e ON true;
REVOKE ALL ON keypup.issue_fields FROM PUBLIC;
GRANT SELECT ON keypup.issue_fields TO keypup_member;
COMMENT ON VIEW keypup.issue_fields IS
  'One row an issue that is not deleted, under the names that its fields have in the Keypup service.';
COMMENT ON COLUMN keypup.issue_fields.account_id IS 'The account.';
COMMENT ON COLUMN keypup.issue_fields.project_id IS 'The project.';
COMMENT ON COLUMN keypup.issue_fields.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.issue_fields.key IS 'As people write it: #12 or PROJ-12.';
COMMENT ON COLUMN keypup.issue_fields.number IS 'Number within the project.';
COMMENT ON COLUMN keypup.issue_fields.url IS 'Where a person reads it.';
COMMENT ON COLUMN keypup.issue_fields.title IS 'Title.';
COMMENT ON COLUMN keypup.issue_fields.author_username IS 'Login; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.issue_fields.author_is_bot IS 'Whether a bot opened it.';
COMMENT ON COLUMN keypup.issue_fields.state IS 'open or closed.';
COMMENT ON COLUMN keypup.issue_fields.sub_type IS 'The type that the provider gives it; NULL without one.';
COMMENT ON COLUMN keypup.issue_fields.created_at IS 'When it was opened.';
COMMENT ON COLUMN keypup.issue_fields.updated_at IS 'When it last changed.';
COMMENT ON COLUMN keypup.issue_fields.closed_at IS 'When it was last closed; NULL while open.';
COMMENT ON COLUMN keypup.issue_fields.due_on IS 'The day its milestone is due; NULL without one.';
COMMENT ON COLUMN keypup.issue_fields.assigned_at IS
  'When somebody was first assigned; NULL where nobody was, or it was not read.';
COMMENT ON COLUMN keypup.issue_fields.last_assigned_at IS 'When somebody was last assigned.';
COMMENT ON COLUMN keypup.issue_fields.labels IS 'Names of its labels, sorted.';
COMMENT ON COLUMN keypup.issue_fields.milestone IS 'Title of its milestone.';
COMMENT ON COLUMN keypup.issue_fields.assignee_usernames IS 'Logins of who is assigned.';
COMMENT ON COLUMN keypup.issue_fields.review_approved_at IS
  'The earliest review_approved_at of the pull requests that resolve it.';
COMMENT ON COLUMN keypup.issue_fields.review_last_approved_at IS
  'The latest review_last_approved_at of the pull requests that resolve it.';
COMMENT ON COLUMN keypup.issue_fields.recommended_action IS 'As in issue_next_steps; NONE when closed.';
COMMENT ON COLUMN keypup.issue_fields.recommended_actor_usernames IS 'As in issue_next_steps; empty when closed.';
COMMENT ON COLUMN keypup.issue_fields.resolving_pull_request_numbers IS
  'Open and merged pull requests of the project that close it by a closing reference, sorted.';
COMMENT ON COLUMN keypup.issue_fields.resolving_pr_first_merged_at IS
  'When the first of them was merged; NULL while none is.';
COMMENT ON COLUMN keypup.issue_fields.resolving_pr_last_merged_at IS 'When the last of the merged ones was merged.';
COMMENT ON COLUMN keypup.issue_fields.resolving_pr_first_closed_at IS
  'When the first of them was closed, which is its merge; NULL while all are open.';
COMMENT ON COLUMN keypup.issue_fields.resolving_pr_last_created_at IS 'When the last of them was opened.';
COMMENT ON COLUMN keypup.issue_fields.resolving_pr_author_usernames IS 'Logins of their authors, sorted, each once.';
COMMENT ON COLUMN keypup.issue_fields.additions IS
  'Lines that they add, together; NULL without one whose size is known.';
COMMENT ON COLUMN keypup.issue_fields.deletions IS 'Lines that they delete, together.';
COMMENT ON COLUMN keypup.issue_fields.lines_changed IS 'Both together.';
COMMENT ON COLUMN keypup.issue_fields.workflow_status IS 'The state, where the provider has no other status.';
COMMENT ON COLUMN keypup.issue_fields.workflow_timeline IS
  'Array of {name, start_at, end_at}: its status spans, as in issue_status_spans; end_at of the last is null.';
COMMENT ON COLUMN keypup.issue_fields.cycle_time IS
  'Time in work. NULL where the provider tells no status history (provider_capabilities).';
