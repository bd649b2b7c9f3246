-- insight/next_step.sql: what is to be done next, and by whom. doc/fields.md has the definitions.

CREATE VIEW keypup.pull_request_next_steps WITH (security_invoker = true, security_barrier = true) AS
-- Each looks up by key what was said of it; who merges is gathered once a project.
WITH known AS (
  SELECT j.account_id, j.project_id, j.name AS project, p.number, p.title, p.author, p.author_is_bot, p.is_draft,
    p.assignees, array_remove(p.requested_reviewers, p.author) AS asked,
      greatest(p.created_at, p.updated_at) AS idle_since,
    CASE WHEN v.review_state IS NOT NULL THEN v.review_state WHEN cardinality(p.requested_reviewers) > 0 THEN 'PENDING'
      ELSE 'NONE' END AS review_state,
    coalesce(v.approver_usernames, '{}') AS approvers, coalesce(v.undecided_usernames, '{}') AS undecided,
    coalesce(v.change_requester_usernames, '{}') AS change_requesters, m.logins AS mergers,
    s.has_conflicts, s.is_behind, s.check_state, s.review_decision, s.required_approvals
  FROM keypup.projects j
  CROSS JOIN LATERAL (
    -- The persons who merged in the project within the last 90 days, those who merged most first.
    SELECT j.account_id, j.project_id, coalesce(array_agg(g.login ORDER BY g.merges DESC, g.login), '{}') AS logins
    FROM (
      SELECT r.merged_by AS login, count(*) AS merges FROM keypup.pull_requests r
      WHERE r.account_id = j.account_id AND r.project_id = j.project_id AND r.merged_at >= now() - interval '2160 hours'
        AND r.merged_by IS NOT NULL
      GROUP BY r.merged_by) AS g
    WHERE (
      SELECT i.kind = 'bot' OR i.is_marked_bot FROM keypup.identities i
      WHERE i.account_id = j.account_id AND i.connection_id = j.connection_id
        AND i.login = g.login
      ORDER BY i.person_id IS NULL, i.external_id LIMIT 1) IS NOT TRUE
  ) AS m
  -- By the keys of what is gathered, so that it is gathered first, and once.
  JOIN keypup.pull_requests p ON p.account_id = m.account_id AND p.project_id = m.project_id
  LEFT JOIN LATERAL (
    SELECT v.review_state, v.approver_usernames, v.undecided_usernames, v.change_requester_usernames
    FROM keypup.pull_request_verdicts v
    WHERE v.account_id = p.account_id AND v.project_id = p.project_id AND v.number = p.number LIMIT 1) AS v ON true
  LEFT JOIN keypup.pull_request_merge_states s ON s.account_id = p.account_id AND s.project_id = p.project_id
    AND s.pull_request_number = p.number
  WHERE p.state = 'open' AND p.deleted_at IS NULL
), counted AS (
  -- A team has as many members as are needed. Where the provider wants another approval than there are, somebody's
  -- counts for nothing: one who may not write, or is no code owner.
  SELECT k.*,
    CASE WHEN l.lacking > 0 AND NOT EXISTS (SELECT FROM unnest(k.asked) AS a(name) WHERE strpos(a.name, '/') > 0)
      THEN greatest(0, l.lacking - (
        SELECT count(DISTINCT w.login) FROM unnest(k.asked || k.undecided || k.change_requesters) AS w(login)
        WHERE w.login <> ALL (k.approvers)))
      ELSE 0 END AS missing_reviewers,
    l.lacking > 0 AS lacks_approvals
  FROM known k
  CROSS JOIN LATERAL (
    SELECT greatest(coalesce(k.required_approvals, 0) - cardinality(k.approvers),
      CASE WHEN k.review_decision = 'review_required' AND cardinality(k.approvers) > 0 THEN 1 ELSE 0 END) AS lacking
  ) AS l
), decided AS (
  SELECT k.*,
    CASE WHEN k.is_draft THEN 'NONE'
      WHEN k.has_conflicts OR k.is_behind THEN 'REBASE'
      WHEN k.check_state = 'failure' THEN 'FIX_BUILD'
      WHEN k.missing_reviewers > 0 THEN 'ASSIGN_MISSING_REVIEWERS'
      WHEN k.review_state = 'PENDING' OR k.review_state = 'CHANGES_REQUESTED' AND cardinality(k.asked) > 0 THEN 'REVIEW'
      WHEN k.review_state = 'CHANGES_REQUESTED' THEN 'FIX_CODE'
      WHEN k.review_state = 'APPROVED' AND k.lacks_approvals THEN 'REVIEW'
      WHEN k.review_state = 'APPROVED' AND k.check_state IS DISTINCT FROM 'pending' THEN 'MERGE'
      WHEN k.review_state = 'APPROVED' THEN 'NONE'
      WHEN k.idle_since <= now() - interval '72 hours' THEN 'ASSIGN_REVIEWER'
      ELSE 'NONE' END AS recommended_action,
    CASE WHEN k.author IS NOT NULL AND NOT k.author_is_bot THEN ARRAY[k.author] ELSE k.assignees END AS owners,
    CASE WHEN k.is_draft THEN '{}'
      WHEN cardinality(k.assignees) > 0 THEN k.assignees
      WHEN k.approvers && k.mergers THEN ARRAY(SELECT a.login FROM unnest(k.approvers) AS a(login)
        WHERE a.login = ANY (k.mergers) ORDER BY 1)
      WHEN k.author = ANY (k.mergers) THEN ARRAY[k.author]
      ELSE k.mergers[1:3] END AS suggested_mergers
  FROM counted k
)
SELECT d.account_id, d.project_id, d.project, d.number, d.title, d.author, d.is_draft, d.review_state, d.idle_since,
  d.recommended_action,
  CASE d.recommended_action
    WHEN 'REVIEW' THEN CASE WHEN cardinality(d.asked) > 0 THEN d.asked ELSE d.undecided END
    WHEN 'FIX_CODE' THEN d.owners WHEN 'ASSIGN_REVIEWER' THEN d.owners WHEN 'REBASE' THEN d.owners
    WHEN 'FIX_BUILD' THEN d.owners WHEN 'ASSIGN_MISSING_REVIEWERS' THEN d.owners
    WHEN 'MERGE' THEN d.suggested_mergers ELSE '{}' END AS recommended_actor_usernames,
  d.suggested_mergers AS suggested_merger_usernames, d.has_conflicts, d.is_behind, d.check_state,
  d.required_approvals, d.missing_reviewers
FROM decided d;
REVOKE ALL ON keypup.pull_request_next_steps FROM PUBLIC;
GRANT SELECT ON keypup.pull_request_next_steps TO keypup_member;
COMMENT ON VIEW keypup.pull_request_next_steps IS
  'One row an open pull request: what is to be done next, and who could. What the provider does not tell of conflicts, '
  'checks and branch rules (provider_capabilities, sync_status.warning) leads to no step.';
COMMENT ON COLUMN keypup.pull_request_next_steps.account_id IS 'The account.';
COMMENT ON COLUMN keypup.pull_request_next_steps.project_id IS 'The project.';
COMMENT ON COLUMN keypup.pull_request_next_steps.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.pull_request_next_steps.number IS 'Number within the project.';
COMMENT ON COLUMN keypup.pull_request_next_steps.title IS 'Title.';
COMMENT ON COLUMN keypup.pull_request_next_steps.author IS 'Login; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.pull_request_next_steps.is_draft IS 'Whether it is a draft.';
COMMENT ON COLUMN keypup.pull_request_next_steps.review_state IS
  'CHANGES_REQUESTED, APPROVED, PENDING or NONE, as in pull_request_metrics.';
COMMENT ON COLUMN keypup.pull_request_next_steps.idle_since IS
  'Last change that the provider names, never before the opening.';
COMMENT ON COLUMN keypup.pull_request_next_steps.recommended_action IS
  'The first that applies of REBASE (it conflicts with its base branch, or has to follow it), FIX_BUILD (a check '
  'failed), ASSIGN_MISSING_REVIEWERS (fewer approved it or were asked than its base branch asks for), REVIEW, '
  'FIX_CODE, MERGE, ASSIGN_REVIEWER (nobody asked, no review, and idle for 3 days), or NONE: a draft, too new, or '
  'approved while its checks go on.';
COMMENT ON COLUMN keypup.pull_request_next_steps.recommended_actor_usernames IS
  'Logins of who could do it; empty for NONE, and where nobody is known.';
COMMENT ON COLUMN keypup.pull_request_next_steps.suggested_merger_usernames IS
  'Assignees; else the approvers who merged in the project within 90 days; else the author who did; else the three who '
  'merged most. Empty for drafts.';
COMMENT ON COLUMN keypup.pull_request_next_steps.has_conflicts IS
  'Whether it conflicts with its base branch; NULL where that is not known.';
COMMENT ON COLUMN keypup.pull_request_next_steps.is_behind IS
  'Whether its base branch has moved on, and has to be merged into it first; NULL where that is not known.';
COMMENT ON COLUMN keypup.pull_request_next_steps.check_state IS
  'failure, pending or success, as in pull_request_merge_states; NULL without checks.';
COMMENT ON COLUMN keypup.pull_request_next_steps.required_approvals IS
  'Approvals that its base branch asks for; NULL where that is not known.';
COMMENT ON COLUMN keypup.pull_request_next_steps.missing_reviewers IS
  'How many more persons have to be asked for a review, so that it can be approved; 0 where a team is asked.';

CREATE VIEW keypup.issue_next_steps WITH (security_invoker = true, security_barrier = true) AS
WITH listed AS (
  SELECT i.account_id, i.project_id, i.number, true AS is_item, i AS issue, NULL::text AS state,
    NULL::timestamptz AS merged_at, NULL::timestamptz AS reopened_at
  FROM keypup.issues i WHERE i.state = 'open' AND i.deleted_at IS NULL
  UNION ALL
  SELECT p.account_id, p.project_id, c.number, false, NULL, p.state, p.merged_at, NULL
  FROM keypup.pull_requests p CROSS JOIN LATERAL unnest(p.closes_issues) AS c(number)
  WHERE p.state <> 'closed' AND p.deleted_at IS NULL
  UNION ALL
  SELECT e.account_id, e.project_id, e.item_number, false, NULL, NULL, NULL, e.occurred_at
  FROM keypup.timeline_events e WHERE e.item_kind = 'issue' AND e.event = 'reopened'
), gathered AS (
  -- Who opened it again after the merge did not find it resolved.
  SELECT l.account_id, l.project_id, l.number, (array_agg(l.issue) FILTER (WHERE l.is_item))[1] AS issue,
    CASE WHEN bool_or(l.state = 'open') THEN 'WAIT_FOR_IMPLEMENTATION'
      WHEN max(l.merged_at) > max(l.reopened_at) OR bool_or(l.state = 'merged') AND max(l.reopened_at) IS NULL
        THEN 'CLOSE'
      ELSE 'IMPLEMENT' END AS recommended_action
  FROM listed l
  GROUP BY l.account_id, l.project_id, l.number
  HAVING bool_or(l.is_item)
)
SELECT g.account_id, g.project_id, j.name AS project, g.number, (g.issue).title, (g.issue).author, g.recommended_action,
  CASE WHEN g.recommended_action = 'CLOSE' AND cardinality((g.issue).assignees) = 0 AND (g.issue).author IS NOT NULL
    AND NOT (g.issue).author_is_bot THEN ARRAY[(g.issue).author]
    WHEN g.recommended_action = 'WAIT_FOR_IMPLEMENTATION' THEN '{}'
      ELSE (g.issue).assignees END AS recommended_actor_usernames
FROM gathered g
JOIN keypup.projects j ON j.account_id = g.account_id AND j.project_id = g.project_id;
REVOKE ALL ON keypup.issue_next_steps FROM PUBLIC;
GRANT SELECT ON keypup.issue_next_steps TO keypup_member;
COMMENT ON VIEW keypup.issue_next_steps IS 'One row an open issue: what is to be done next, and who could.';
COMMENT ON COLUMN keypup.issue_next_steps.account_id IS 'The account.';
COMMENT ON COLUMN keypup.issue_next_steps.project_id IS 'The project.';
COMMENT ON COLUMN keypup.issue_next_steps.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.issue_next_steps.number IS 'Number within the project.';
COMMENT ON COLUMN keypup.issue_next_steps.title IS 'Title.';
COMMENT ON COLUMN keypup.issue_next_steps.author IS 'Login; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.issue_next_steps.recommended_action IS
  'WAIT_FOR_IMPLEMENTATION: a pull request that resolves it is open. CLOSE: none is, and one was merged since it was '
  'last opened. IMPLEMENT: otherwise.';
COMMENT ON COLUMN keypup.issue_next_steps.recommended_actor_usernames IS
  'Its assignees; for CLOSE its author where nobody is assigned; empty for WAIT_FOR_IMPLEMENTATION.';
