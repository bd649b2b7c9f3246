-- insight/verdict.sql: what the reviewers of a pull request have said, and when it stood approved. doc/fields.md has
-- the definitions.

CREATE VIEW keypup.pull_request_verdicts WITH (security_invoker = true, security_barrier = true) AS
-- Every window is led by the pull request and its times, so that a range of these is read and no more.
WITH said AS (
  -- What each person said until the merge, the draft's time included, as for review_state: a comment leaves a verdict
  -- as it is. A dismissed review says what it said until it is dismissed, and nothing from then on, unless the person
  -- had given another verdict meanwhile; where it is not known what it said, it takes back what was said before.
  SELECT p.account_id, p.project_id, p.number, p.state AS item_state, p.created_at, p.merged_at,
    coalesce(l.person_id::text, r.author, '') AS who, r.author AS login, t.state, t.state
      IN ('approved', 'changes_requested', 'dismissed') AS is_verdict, t.said_at,
      r.external_id COLLATE "C" AS external_id, t.part
  FROM keypup.reviews r
  JOIN keypup.pull_requests p ON p.account_id = r.account_id AND p.project_id = r.project_id
    AND p.number = r.pull_request_number
  LEFT JOIN LATERAL (
    SELECT i.person_id FROM keypup.projects j JOIN keypup.identities i ON i.account_id = j.account_id
      AND i.connection_id = j.connection_id AND i.login = r.author
    WHERE j.account_id = r.account_id AND j.project_id = r.project_id
    ORDER BY i.person_id IS NULL, i.external_id LIMIT 1) AS l ON true
  CROSS JOIN LATERAL (
    SELECT coalesce(r.dismissed_state, r.state) AS state, r.submitted_at AS said_at, 1 AS part
    UNION ALL
    SELECT 'dismissed', r.dismissed_at, 2
    -- CASE, so that nothing is looked up for those that were not dismissed.
    WHERE CASE WHEN r.dismissed_state <> 'commented' AND (p.merged_at IS NULL OR r.dismissed_at <= p.merged_at)
      THEN NOT EXISTS (
        SELECT FROM keypup.reviews n
        WHERE n.account_id = r.account_id AND n.project_id = r.project_id
          AND n.pull_request_number = r.pull_request_number
          AND (n.author IS NOT DISTINCT FROM r.author OR l.person_id = (
            SELECT i.person_id FROM keypup.projects j JOIN keypup.identities i ON i.account_id = j.account_id
              AND i.connection_id = j.connection_id AND i.login = n.author
            WHERE j.account_id = n.account_id AND j.project_id = n.project_id
            ORDER BY i.person_id IS NULL, i.external_id LIMIT 1))
          AND n.state IN ('approved', 'changes_requested', 'dismissed') AND n.submitted_at <= r.dismissed_at
          AND (n.submitted_at, n.external_id COLLATE "C") > (r.submitted_at, r.external_id COLLATE "C")) END
  ) AS t
  WHERE p.deleted_at IS NULL AND NOT r.author_is_bot AND r.author IS DISTINCT FROM p.author AND NOT r.is_by_author
    AND r.state <> 'pending' AND r.submitted_at IS NOT NULL
    AND (p.merged_at IS NULL OR r.submitted_at <= p.merged_at)
), followed AS (
  SELECT s.*, s.is_verdict AND lead(s.state) OVER w IS NULL AS is_last, CASE WHEN s.is_verdict THEN lag(s.state)
    OVER w END AS state_before
  FROM said s
  WINDOW w AS (PARTITION BY s.account_id, s.project_id, s.number, s.item_state, s.created_at, s.merged_at, s.who,
    s.is_verdict ORDER BY s.said_at, s.external_id, s.part)
), counted AS (
  -- After each review: how many persons ask for changes, and how many approve.
  SELECT f.*, bool_or(f.is_last AND f.state <> 'dismissed') OVER (PARTITION BY f.account_id, f.project_id, f.number,
    f.item_state, f.created_at, f.merged_at, f.who) AS has_verdict,
    sum((f.state = 'changes_requested')::integer - coalesce((f.state_before = 'changes_requested')::integer, 0))
      FILTER (WHERE f.is_verdict) OVER w AS against,
    sum((f.state = 'approved')::integer - coalesce((f.state_before = 'approved')::integer, 0))
      FILTER (WHERE f.is_verdict) OVER w AS in_favour
  FROM followed f
  WINDOW w AS (PARTITION BY f.account_id, f.project_id, f.number, f.item_state, f.created_at, f.merged_at
    ORDER BY f.said_at, f.external_id, f.part ROWS UNBOUNDED PRECEDING)
), approved AS (
  SELECT c.*, c.against = 0 AND c.in_favour > 0
    AND NOT coalesce(lag(c.against = 0 AND c.in_favour > 0) OVER (PARTITION BY c.account_id, c.project_id, c.number,
      c.item_state, c.created_at, c.merged_at ORDER BY c.said_at, c.external_id, c.part), false) AS becomes_approved
  FROM counted c
), summed AS (
  SELECT a.account_id, a.project_id, a.number, a.item_state, a.created_at, a.merged_at,
    max(a.said_at) FILTER (WHERE a.is_last AND a.state = 'changes_requested') AS requested_at,
    max(a.said_at) FILTER (WHERE a.is_last AND a.state = 'approved') AS approved_at,
    min(a.said_at) FILTER (WHERE a.becomes_approved) AS first_approved_at,
    max(a.said_at) FILTER (WHERE a.becomes_approved) AS last_approved_at,
    coalesce(array_agg(a.login ORDER BY a.login) FILTER (WHERE a.is_last AND a.state = 'approved'
      AND a.login IS NOT NULL), '{}') AS approver_usernames,
    coalesce(array_agg(a.login ORDER BY a.login) FILTER (WHERE a.is_last AND a.state = 'changes_requested'
      AND a.login IS NOT NULL), '{}') AS change_requester_usernames,
    coalesce(array_agg(DISTINCT a.login) FILTER (WHERE NOT a.has_verdict AND a.login IS NOT NULL),
      '{}') AS undecided_usernames
  FROM approved a
  GROUP BY a.account_id, a.project_id, a.number, a.item_state, a.created_at, a.merged_at
)
SELECT s.account_id, s.project_id, (
    SELECT j.name FROM keypup.projects j
    WHERE j.account_id = s.account_id AND j.project_id = s.project_id) AS project,
  s.number, s.item_state, s.created_at, s.merged_at,
  CASE WHEN s.requested_at IS NOT NULL AND o.approved_at IS NULL THEN 'CHANGES_REQUESTED'
    WHEN s.approved_at IS NOT NULL THEN 'APPROVED' ELSE 'PENDING' END AS review_state,
  coalesce(s.first_approved_at, o.approved_at) AS review_approved_at,
  greatest(s.last_approved_at, o.approved_at) AS review_last_approved_at,
  s.approver_usernames, s.change_requester_usernames, s.undecided_usernames
FROM summed s
-- What was merged had its request for changes answered where somebody approved after it.
CROSS JOIN LATERAL (
  SELECT CASE WHEN s.merged_at IS NOT NULL AND s.approved_at > s.requested_at THEN s.approved_at END AS approved_at
) AS o;
REVOKE ALL ON keypup.pull_request_verdicts FROM PUBLIC;
GRANT SELECT ON keypup.pull_request_verdicts TO keypup_member;
COMMENT ON VIEW keypup.pull_request_verdicts IS
  'One row a pull request that persons other than its author have reviewed until its merge: what they say now, or said '
  'at the merge, and when it stood approved.';
COMMENT ON COLUMN keypup.pull_request_verdicts.account_id IS 'The account.';
COMMENT ON COLUMN keypup.pull_request_verdicts.project_id IS 'The project.';
COMMENT ON COLUMN keypup.pull_request_verdicts.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.pull_request_verdicts.number IS 'Number within the project.';
COMMENT ON COLUMN keypup.pull_request_verdicts.item_state IS 'open, closed or merged.';
COMMENT ON COLUMN keypup.pull_request_verdicts.created_at IS 'When the pull request was opened.';
COMMENT ON COLUMN keypup.pull_request_verdicts.merged_at IS 'When it was merged; NULL if not.';
COMMENT ON COLUMN keypup.pull_request_verdicts.review_state IS
  'CHANGES_REQUESTED where the last verdict of some person asks for changes, and, of a merged one, nobody approved '
  'after that; else APPROVED where one approves; else PENDING.';
COMMENT ON COLUMN keypup.pull_request_verdicts.review_approved_at IS
  'First time that it came to stand approved: somebody approves, and nobody asks for changes; else, of a merged one, '
  'the last approval after the last request for changes; NULL where it never did.';
COMMENT ON COLUMN keypup.pull_request_verdicts.review_last_approved_at IS
  'Last time that it came to stand approved; a second approval of what stands approved changes nothing.';
COMMENT ON COLUMN keypup.pull_request_verdicts.approver_usernames IS
  'Logins of the persons whose last verdict approves, sorted.';
COMMENT ON COLUMN keypup.pull_request_verdicts.change_requester_usernames IS
  'Logins of the persons whose last verdict asks for changes, sorted.';
COMMENT ON COLUMN keypup.pull_request_verdicts.undecided_usernames IS
  'Logins of the persons who reviewed and have no verdict: comments only, or a dismissed review; sorted.';
