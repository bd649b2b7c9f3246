-- insight/pull_request.sql: pull requests, those in work, and who reviews what. doc/metrics.md has the definitions.

CREATE VIEW keypup.pull_request_reviews WITH (security_invoker = true, security_barrier = true) AS
-- Each review looks up by key what it needs of others, and no window spans them: a time range reaches the index of
-- reviews.
SELECT r.account_id, r.project_id, j.name AS project, r.pull_request_number AS number, r.external_id, p.author,
  p.author_is_bot,
  w.person_id AS author_person_id,
  coalesce(w.person, p.author) AS author_person,
  r.author AS login, r.author_is_bot AS is_bot, l.person_id, coalesce(l.person, r.author) AS person, r.state,
  coalesce(r.dismissed_state, r.state) AS verdict, r.submitted_at, r.dismissed_at,
    coalesce(NOT r.author_is_bot AND r.submitted_at >= p.ready_at
    AND (p.merged_at IS NULL OR r.submitted_at <= p.merged_at), false) AS counts,
  f.is_first, q.asked_at,
  CASE WHEN isfinite(q.asked_at) AND q.asked_at <= r.submitted_at
    THEN r.submitted_at - q.asked_at END AS response_time,
  CASE WHEN isfinite(q.asked_at) AND q.asked_at <= r.submitted_at THEN (
    SELECT keypup.time_at_work(coalesce(u.working_minutes, a.working_minutes), coalesce(u.holidays, a.holidays),
      coalesce(u.time_zone, a.time_zone), q.asked_at, r.submitted_at)
    FROM keypup.accounts a
    LEFT JOIN keypup.people u ON u.account_id = a.account_id AND u.person_id = l.person_id
    WHERE a.account_id = r.account_id) END AS working_response_time
FROM keypup.reviews r
JOIN keypup.pull_requests p ON p.account_id = r.account_id AND p.project_id = r.project_id
  AND p.number = r.pull_request_number
-- LIMIT, so that the planner cannot begin with the projects and read all their reviews.
CROSS JOIN LATERAL (SELECT c.connection_id, c.name FROM keypup.projects c WHERE c.account_id = r.account_id
  AND c.project_id = r.project_id LIMIT 1) AS j
LEFT JOIN LATERAL (
  SELECT i.person_id,
    (SELECT u.name FROM keypup.people u WHERE u.account_id = i.account_id AND u.person_id = i.person_id) AS person
  FROM keypup.identities i
  WHERE i.account_id = r.account_id AND i.connection_id = j.connection_id AND i.login = r.author
  ORDER BY i.person_id IS NULL, i.external_id LIMIT 1) AS l ON true
-- An aggregate is one row, so that the planner leaves it out where the author's person is not asked for.
LEFT JOIN LATERAL (
  SELECT (array_agg(o.person_id))[1] AS person_id, (array_agg(o.person))[1] AS person
  FROM (
    SELECT i.person_id,
      (SELECT u.name FROM keypup.people u WHERE u.account_id = i.account_id AND u.person_id = i.person_id) AS person
    FROM keypup.identities i
    WHERE i.account_id = r.account_id AND i.connection_id = j.connection_id AND i.login = p.author
    ORDER BY i.person_id IS NULL, i.external_id LIMIT 1) AS o) AS w ON true
LEFT JOIN LATERAL (
  -- Earlier ones of the same login or, by another login, of the same person.
  SELECT count(*) = 0 AS is_first, max(e.submitted_at) AS reviewed_at
  FROM keypup.reviews e
  WHERE e.account_id = r.account_id AND e.project_id = r.project_id AND e.pull_request_number = r.pull_request_number
    AND (e.submitted_at, e.external_id COLLATE "C") < (r.submitted_at, r.external_id COLLATE "C")
    AND e.state <> 'pending' AND isfinite(e.submitted_at) AND e.author IS DISTINCT FROM p.author
      AND e.author_is_bot = r.author_is_bot
    AND (e.author IS NOT DISTINCT FROM r.author OR l.person_id = (
      SELECT i.person_id FROM keypup.identities i
      WHERE i.account_id = r.account_id AND i.connection_id = j.connection_id AND i.login = e.author
      ORDER BY i.person_id IS NULL, i.external_id LIMIT 1))) AS f ON true
LEFT JOIN LATERAL (
  -- greatest passes over NULL: without a request the clock of a first review starts at ready, and no other has one.
  SELECT CASE WHEN p.ready_at IS NOT NULL AND (f.is_first OR min(e.occurred_at) IS NOT NULL)
    THEN greatest(p.ready_at, min(e.occurred_at)) END AS asked_at
  FROM keypup.timeline_events e
  WHERE e.account_id = r.account_id AND e.project_id = r.project_id AND e.item_kind = 'pull_request'
    AND e.item_number = r.pull_request_number
    AND e.event = 'review_requested' AND e.subject = r.author AND e.occurred_at <= r.submitted_at
    AND (f.is_first OR e.occurred_at > f.reviewed_at)) AS q ON true
WHERE p.deleted_at IS NULL AND r.state <> 'pending' AND isfinite(r.submitted_at) AND r.author IS DISTINCT FROM p.author
  AND NOT r.is_by_author;
REVOKE ALL ON keypup.pull_request_reviews FROM PUBLIC;
GRANT SELECT ON keypup.pull_request_reviews TO keypup_member;
COMMENT ON VIEW keypup.pull_request_reviews IS
  'One row a submitted review of a pull request that is not deleted, but for its author''s own, by whatever login.';
COMMENT ON COLUMN keypup.pull_request_reviews.account_id IS 'The account.';
COMMENT ON COLUMN keypup.pull_request_reviews.project_id IS 'The project.';
COMMENT ON COLUMN keypup.pull_request_reviews.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.pull_request_reviews.number IS 'The pull request reviewed.';
COMMENT ON COLUMN keypup.pull_request_reviews.external_id IS 'The provider''s id of the review.';
COMMENT ON COLUMN keypup.pull_request_reviews.author IS
  'Login of the pull request''s author; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.pull_request_reviews.author_is_bot IS 'Whether a bot opened the pull request.';
COMMENT ON COLUMN keypup.pull_request_reviews.author_person_id IS
  'The person of the author, after all merges; NULL where there is none.';
COMMENT ON COLUMN keypup.pull_request_reviews.author_person IS 'Name of that person; the login where there is none.';
COMMENT ON COLUMN keypup.pull_request_reviews.login IS 'Login of the reviewer; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.pull_request_reviews.is_bot IS 'Whether a bot reviewed.';
COMMENT ON COLUMN keypup.pull_request_reviews.person_id IS
  'The person of the reviewer, after all merges; NULL where there is none.';
COMMENT ON COLUMN keypup.pull_request_reviews.person IS 'Name of that person; the login where there is none.';
COMMENT ON COLUMN keypup.pull_request_reviews.state IS
  'approved, changes_requested, commented or dismissed, as it is now.';
COMMENT ON COLUMN keypup.pull_request_reviews.verdict IS
  'What it said when it was submitted: approved, changes_requested or commented; dismissed where it was dismissed and '
  'what it said is not known.';
COMMENT ON COLUMN keypup.pull_request_reviews.submitted_at IS 'When it was submitted.';
COMMENT ON COLUMN keypup.pull_request_reviews.dismissed_at IS
  'When it was dismissed; NULL where it was not, or that is not known.';
COMMENT ON COLUMN keypup.pull_request_reviews.counts IS
  'Whether it counts for the stages: by a person, submitted between ready and merge.';
COMMENT ON COLUMN keypup.pull_request_reviews.is_first IS 'Whether it is the reviewer''s first of this pull request.';
COMMENT ON COLUMN keypup.pull_request_reviews.asked_at IS
  'When the clock of the reviewer started: of a first review, the first time that the login was asked before it, or '
  'ready where that is later or nobody asked; of a later one, the first time that the login was asked since the '
  'reviewer''s review before. NULL where nobody asked again, and while it was never ready.';
COMMENT ON COLUMN keypup.pull_request_reviews.response_time IS
  'asked_at to this review; NULL where there is no asked_at, or it is later.';
COMMENT ON COLUMN keypup.pull_request_reviews.working_response_time IS
  'Working time of the same, of the reviewer''s hours (set_person_working_time), where there are any, else the '
  'account''s.';

CREATE VIEW keypup.pull_request_metrics WITH (security_invoker = true, security_barrier = true) AS
-- Each pull request looks its own rows up by key: no estimate can turn this into a join of whole histories.
SELECT c.account_id, c.project_id, j.name AS project,
  c.number, c.title, c.author, c.author_is_bot, c.state, c.first_commit_at, c.created_at, c.ready_at,
  c.review_requested_at, c.first_response_at, c.first_review_at, c.first_approval_at, c.merged_at, c.coding_time,
  c.pickup_time, c.review_time, c.merge_time, c.unreviewed_time, c.draft_time, c.cycle_time, c.idle_time,
  l.person_id, coalesce(l.person, c.author) AS person,
  CASE WHEN c.state = 'open' AND c.is_draft THEN 'draft' ELSE c.state END AS state_now,
  CASE WHEN s.changes_requested_at IS NOT NULL
      AND (c.merged_at IS NULL OR s.approved_at IS NULL OR s.approved_at <= s.changes_requested_at)
        THEN 'CHANGES_REQUESTED'
       WHEN s.approved_at IS NOT NULL THEN 'APPROVED'
       WHEN cardinality(c.requested_reviewers) > 0 THEN 'PENDING'
       WHEN s.reviewed THEN 'PENDING'
       ELSE 'NONE' END AS review_state,
  c.additions + c.deletions AS lines_changed,
  CASE WHEN c.additions + c.deletions < 10 THEN 'XS' WHEN c.additions + c.deletions < 50 THEN 'S'
    WHEN c.additions + c.deletions < 250 THEN 'M'
       WHEN c.additions + c.deletions < 1000 THEN 'L' WHEN c.additions + c.deletions IS NOT NULL
         THEN 'XL' END AS size_class,
  CASE WHEN c.first_review_at >= c.created_at THEN c.first_review_at - c.created_at END AS time_to_first_review,
  c.first_response_at - c.created_at AS time_to_first_response,
  s.review_rounds, s.reviewer_count,
  CASE WHEN c.merged_at IS NOT NULL THEN c.first_review_at IS NULL END AS merged_without_review,
  CASE WHEN c.merged_at IS NOT NULL THEN c.merged_by = c.author OR coalesce(l.person_id = (
    SELECT i.person_id FROM keypup.identities i
    WHERE i.account_id = j.account_id AND i.connection_id = j.connection_id AND i.login = c.merged_by
    ORDER BY i.person_id IS NULL, i.external_id LIMIT 1), false) END AS self_merged,
  o.times_reopened,
  keypup.reverted_title(c.title) IS NOT NULL AS is_revert, c.is_first_commit_old, c.updated_at, c.key
FROM keypup.pull_request_cycle c
JOIN keypup.projects j ON j.account_id = c.account_id AND j.project_id = c.project_id
LEFT JOIN LATERAL (
  SELECT i.person_id,
    (SELECT u.name FROM keypup.people u WHERE u.account_id = i.account_id AND u.person_id = i.person_id) AS person
  FROM keypup.identities i
  WHERE i.account_id = j.account_id AND i.connection_id = j.connection_id AND i.login = c.author
  ORDER BY i.person_id IS NULL, i.external_id LIMIT 1) AS l ON true
-- Outer joins of one row each, which the planner leaves out where nothing of them is asked for.
LEFT JOIN LATERAL (
  SELECT count(DISTINCT v.who) FILTER (WHERE v.counts) AS reviewer_count, count(*) > 0 AS reviewed,
    -- Between two approvals, by whomever: change requests of who had asked before, and the approval that answers some.
    count(*) FILTER (WHERE v.counts AND v.said = 'changes_requested')
      - count(DISTINCT v.approvals_before || v.who) FILTER (WHERE v.counts AND v.said = 'changes_requested')
      + count(*) FILTER (WHERE v.counts AND v.said = 'approved' AND v.said_before = 'changes_requested')
      AS review_rounds,
    max(v.submitted_at) FILTER (WHERE v.is_last AND v.stands = 'changes_requested') AS changes_requested_at,
    max(v.submitted_at) FILTER (WHERE v.is_last AND v.stands = 'approved') AS approved_at
  FROM (
    SELECT w.who, w.counts, w.said, w.stands, w.submitted_at, lag(w.said) OVER k AS said_before,
      count(*) FILTER (WHERE w.said = 'approved') OVER (k ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) || ' '
        AS approvals_before,
      w.is_verdict AND row_number() OVER (PARTITION BY w.who, w.is_verdict ORDER BY w.submitted_at DESC,
        w.external_id COLLATE "C" DESC) = 1 AS is_last
    FROM (
      -- What each person said until the merge, the draft's time included, and what of it stands: a review that was
      -- dismissed before the merge takes back what was said.
      SELECT coalesce(x.person_id::text, r.author, '') AS who, coalesce(r.submitted_at >= c.ready_at, false) AS counts,
        t.said, t.stands, r.submitted_at, r.external_id,
        t.stands IN ('approved', 'changes_requested', 'dismissed') AS is_verdict
      FROM keypup.reviews r
      CROSS JOIN LATERAL (
        SELECT coalesce(r.dismissed_state, r.state) AS said,
          CASE WHEN r.dismissed_state = 'commented' OR r.dismissed_at > c.merged_at THEN r.dismissed_state
            ELSE r.state END AS stands
      ) AS t
      LEFT JOIN LATERAL (
        SELECT i.person_id FROM keypup.identities i
        WHERE i.account_id = j.account_id AND i.connection_id = j.connection_id AND i.login = r.author
        ORDER BY i.person_id IS NULL, i.external_id LIMIT 1) AS x ON true
      WHERE r.account_id = c.account_id AND r.project_id = c.project_id AND r.pull_request_number = c.number
        AND NOT r.author_is_bot AND r.author IS DISTINCT FROM c.author AND NOT r.is_by_author
        AND r.state <> 'pending' AND isfinite(r.submitted_at)
        AND (c.merged_at IS NULL OR r.submitted_at <= c.merged_at)
    ) AS w
    WINDOW k AS (PARTITION BY w.counts, w.said IN ('approved', 'changes_requested') ORDER BY w.submitted_at,
      w.external_id COLLATE "C")
  ) AS v
) AS s ON true
LEFT JOIN LATERAL (
  SELECT count(*) AS times_reopened FROM keypup.timeline_events e
  WHERE e.account_id = c.account_id AND e.project_id = c.project_id AND e.item_kind = 'pull_request'
    AND e.item_number = c.number AND e.event = 'reopened'
) AS o ON true;
REVOKE ALL ON keypup.pull_request_metrics FROM PUBLIC;
GRANT SELECT ON keypup.pull_request_metrics TO keypup_member;
COMMENT ON VIEW keypup.pull_request_metrics IS
  'One row a pull request that is not deleted: its stages and what else is measured of it.';
COMMENT ON COLUMN keypup.pull_request_metrics.account_id IS 'The account.';
COMMENT ON COLUMN keypup.pull_request_metrics.project_id IS 'The project.';
COMMENT ON COLUMN keypup.pull_request_metrics.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.pull_request_metrics.key IS 'As people write it: #12 or !12.';
COMMENT ON COLUMN keypup.pull_request_metrics.number IS 'Number within the project.';
COMMENT ON COLUMN keypup.pull_request_metrics.title IS 'Title.';
COMMENT ON COLUMN keypup.pull_request_metrics.author IS 'Login; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.pull_request_metrics.author_is_bot IS 'Whether a bot opened it.';
COMMENT ON COLUMN keypup.pull_request_metrics.state IS 'open, closed or merged.';
COMMENT ON COLUMN keypup.pull_request_metrics.first_commit_at IS
  'When the first commit was authored, as the provider gives it.';
COMMENT ON COLUMN keypup.pull_request_metrics.created_at IS 'When it was opened.';
COMMENT ON COLUMN keypup.pull_request_metrics.ready_at IS
  'First time that it was ready for review: the opening, if it was not opened as a draft; NULL while it never was.';
COMMENT ON COLUMN keypup.pull_request_metrics.review_requested_at IS 'First time that a review was requested.';
COMMENT ON COLUMN keypup.pull_request_metrics.first_response_at IS
  'First review or comment between opening and merge by a person who is not the author; NULL while there is none.';
COMMENT ON COLUMN keypup.pull_request_metrics.first_review_at IS
  'First review between ready and merge by a person who is not the author; NULL while there is none.';
COMMENT ON COLUMN keypup.pull_request_metrics.first_approval_at IS
  'First such review that approved, also where it was dismissed later; NULL while there is none.';
COMMENT ON COLUMN keypup.pull_request_metrics.merged_at IS 'When it was merged; NULL if not.';
COMMENT ON COLUMN keypup.pull_request_metrics.coding_time IS 'First commit (or opening, if earlier) to ready.';
COMMENT ON COLUMN keypup.pull_request_metrics.pickup_time IS 'Ready to the first review; NULL without one.';
COMMENT ON COLUMN keypup.pull_request_metrics.review_time IS
  'First review to first approval, or to the merge where nobody approved.';
COMMENT ON COLUMN keypup.pull_request_metrics.merge_time IS 'First approval to merge; NULL without an approval.';
COMMENT ON COLUMN keypup.pull_request_metrics.unreviewed_time IS
  'Ready to merge where nobody reviewed; NULL otherwise.';
COMMENT ON COLUMN keypup.pull_request_metrics.draft_time IS
  'Time between ready and merge in which it was a draft again, and which no stage counts; NULL where it never was, and '
  'until merged.';
COMMENT ON COLUMN keypup.pull_request_metrics.cycle_time IS
  'Start of coding to merge: the sum of the stages and draft_time; NULL until merged.';
COMMENT ON COLUMN keypup.pull_request_metrics.idle_time IS
  'First review request to the first review; stands beside the stages and is no part of the sum.';
COMMENT ON COLUMN keypup.pull_request_metrics.person_id IS
  'The person of the author, after all merges; NULL where there is none.';
COMMENT ON COLUMN keypup.pull_request_metrics.person IS 'Name of that person; the login where there is none.';
COMMENT ON COLUMN keypup.pull_request_metrics.state_now IS
  'draft, open, closed (without a merge) or merged. Only an open one is a draft.';
COMMENT ON COLUMN keypup.pull_request_metrics.review_state IS
  'NONE: nobody is asked and nobody has reviewed. CHANGES_REQUESTED: the last verdict of some reviewer asks for '
  'changes, and, of a merged one, nobody approved after that. APPROVED: otherwise, where at least one approves. '
  'PENDING: otherwise. Of a merged one as it stood at the merge.';
COMMENT ON COLUMN keypup.pull_request_metrics.lines_changed IS
  'Lines added and deleted; NULL where the provider gives none.';
COMMENT ON COLUMN keypup.pull_request_metrics.size_class IS
  'XS below 10 lines changed, S below 50, M below 250, L below 1000, else XL; NULL without lines_changed.';
COMMENT ON COLUMN keypup.pull_request_metrics.time_to_first_review IS
  'Opening to the first review, draft time included; NULL without one, and where the clocks disagree.';
COMMENT ON COLUMN keypup.pull_request_metrics.time_to_first_response IS
  'Opening to first_response_at; NULL without one.';
COMMENT ON COLUMN keypup.pull_request_metrics.review_rounds IS
  'Verdicts (approvals and change requests) that answer a change request: an approval, by whomever, that follows one; '
  'and a change request by who asked for changes before and nobody has approved since. Comments are no verdicts; a '
  'dismissed review is what it said, where that is known.';
COMMENT ON COLUMN keypup.pull_request_metrics.reviewer_count IS 'Persons whose reviews count, each once.';
COMMENT ON COLUMN keypup.pull_request_metrics.merged_without_review IS
  'Whether it was merged and no review counts; NULL until merged.';
COMMENT ON COLUMN keypup.pull_request_metrics.self_merged IS
  'Whether its author, by login or person, merged it; NULL until merged, and where one of them is deleted.';
COMMENT ON COLUMN keypup.pull_request_metrics.times_reopened IS 'How often it was reopened.';
COMMENT ON COLUMN keypup.pull_request_metrics.is_revert IS
  'Whether the title is that of a revert: Revert "title", Reapply "title" or revert: title.';
COMMENT ON COLUMN keypup.pull_request_metrics.is_first_commit_old IS
  'Whether the first commit was authored more than 90 days before the opening, as one that was picked from elsewhere: '
  'its coding_time says little.';
COMMENT ON COLUMN keypup.pull_request_metrics.updated_at IS 'The provider''s time of last change.';

CREATE VIEW keypup.pull_request_work_in_progress WITH (security_invoker = true, security_barrier = true) AS
WITH work AS (
  SELECT p.account_id, p.project_id, p.number, p.title, p.author, p.author_is_bot, p.created_at,
    greatest(least(p.created_at, now()), timestamptz '1970-01-01 00:00:00+00') AS began_at,
    greatest(least(greatest(p.created_at, p.updated_at), now()), timestamptz '1970-01-01 00:00:00+00') AS idle_since
  FROM keypup.pull_requests p
  WHERE p.state = 'open' AND p.deleted_at IS NULL
), ranked AS (
  SELECT w.*, 100 * cume_dist() OVER (PARTITION BY w.account_id, w.project_id
    ORDER BY w.began_at DESC) AS age_percentile FROM work w
)
SELECT w.account_id, w.project_id, m.project, w.number, w.title, w.author, w.author_is_bot, m.person_id, m.person,
  m.state_now, m.review_state, m.size_class, w.created_at, now() - w.began_at AS age,
  floor(extract(epoch FROM now() - w.began_at) / 86400)::bigint AS age_days, w.idle_since,
    floor(extract(epoch FROM now() - w.idle_since) / 86400)::bigint AS idle_days,
  now() - w.idle_since >= (SELECT a.stale_after FROM keypup.accounts a WHERE a.account_id = w.account_id) AS is_stale,
  w.age_percentile
FROM ranked w
-- LIMIT, so that those that are asked for are looked up by their keys.
CROSS JOIN LATERAL (
  SELECT m.project, m.person_id, m.person, m.state_now, m.review_state, m.size_class FROM keypup.pull_request_metrics m
  WHERE m.account_id = w.account_id AND m.project_id = w.project_id AND m.number = w.number LIMIT 1) AS m;
REVOKE ALL ON keypup.pull_request_work_in_progress FROM PUBLIC;
GRANT SELECT ON keypup.pull_request_work_in_progress TO keypup_member;
COMMENT ON VIEW keypup.pull_request_work_in_progress IS
  'One row an open pull request: how old it is, and for how long nothing has happened.';
COMMENT ON COLUMN keypup.pull_request_work_in_progress.account_id IS 'The account.';
COMMENT ON COLUMN keypup.pull_request_work_in_progress.project_id IS 'The project.';
COMMENT ON COLUMN keypup.pull_request_work_in_progress.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.pull_request_work_in_progress.number IS 'Number within the project.';
COMMENT ON COLUMN keypup.pull_request_work_in_progress.title IS 'Title.';
COMMENT ON COLUMN keypup.pull_request_work_in_progress.author IS 'Login; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.pull_request_work_in_progress.author_is_bot IS 'Whether a bot opened it.';
COMMENT ON COLUMN keypup.pull_request_work_in_progress.person_id IS
  'The person of the author, after all merges; NULL where there is none.';
COMMENT ON COLUMN keypup.pull_request_work_in_progress.person IS 'Name of that person; the login where there is none.';
COMMENT ON COLUMN keypup.pull_request_work_in_progress.state_now IS 'draft or open.';
COMMENT ON COLUMN keypup.pull_request_work_in_progress.review_state IS
  'NONE, PENDING, CHANGES_REQUESTED or APPROVED, as in pull_request_metrics.';
COMMENT ON COLUMN keypup.pull_request_work_in_progress.size_class IS
  'XS to XL, as in pull_request_metrics; NULL without lines_changed.';
COMMENT ON COLUMN keypup.pull_request_work_in_progress.created_at IS 'When it was opened.';
COMMENT ON COLUMN keypup.pull_request_work_in_progress.age IS 'Opening to now; 0 where the opening lies in the future.';
COMMENT ON COLUMN keypup.pull_request_work_in_progress.age_days IS 'Whole days of age.';
COMMENT ON COLUMN keypup.pull_request_work_in_progress.idle_since IS
  'Last change that the provider names, a bot''s too; never before the opening, nor after now.';
COMMENT ON COLUMN keypup.pull_request_work_in_progress.idle_days IS 'Whole days from idle_since to now.';
COMMENT ON COLUMN keypup.pull_request_work_in_progress.is_stale IS
  'Whether nothing has changed for accounts.stale_after, 30 days by default, or longer.';
COMMENT ON COLUMN keypup.pull_request_work_in_progress.age_percentile IS
  'Percentage of the project''s open pull requests, drafts among them, that are as old or younger: 100 for the oldest.';

CREATE VIEW keypup.review_weeks WITH (security_invoker = true, security_barrier = true) AS
SELECT a.account_id, w.week_start, t.ends_at <= now() AS is_complete, t.starts_at, t.ends_at
FROM keypup.accounts a
CROSS JOIN LATERAL (
  SELECT k.zone, (date_trunc('week', now() AT TIME ZONE k.zone) + interval '7 days') AT TIME ZONE k.zone AS next_week_at
  FROM (SELECT keypup.known_time_zone(a.time_zone) AS zone OFFSET 0) AS k OFFSET 0) AS z
CROSS JOIN LATERAL (SELECT min(v.submitted_at) AS first_at FROM keypup.reviews v WHERE v.account_id = a.account_id) AS s
CROSS JOIN LATERAL (
  SELECT g.week::date AS week_start
  FROM keypup.period_starts(date_trunc('week', s.first_at AT TIME ZONE z.zone), now() AT TIME ZONE z.zone,
    interval '7 days') AS g (week)
  UNION ALL
  -- Where clocks disagree, weeks to come.
  SELECT f.week::date
  FROM (SELECT DISTINCT date_trunc('week', v.submitted_at AT TIME ZONE z.zone) AS week FROM keypup.reviews v
        WHERE v.account_id = a.account_id AND v.submitted_at >= z.next_week_at
          -- All are: with two ends the planner takes the range for a small one.
          AND v.submitted_at < timestamptz '10000-01-01 00:00:00+00') AS f
) AS w
CROSS JOIN LATERAL (
  SELECT w.week_start::timestamp AT TIME ZONE z.zone AS starts_at,
    (w.week_start + 7)::timestamp AT TIME ZONE z.zone AS ends_at
) AS t;
REVOKE ALL ON keypup.review_weeks FROM PUBLIC;
GRANT SELECT ON keypup.review_weeks TO keypup_member;
COMMENT ON VIEW keypup.review_weeks IS
  'One row an account and ISO week, from its first review to now, and those to come that already have one. Weeks are '
  'those of the account''s time zone.';
COMMENT ON COLUMN keypup.review_weeks.account_id IS 'The account.';
COMMENT ON COLUMN keypup.review_weeks.week_start IS 'Monday of the ISO week.';
COMMENT ON COLUMN keypup.review_weeks.is_complete IS 'Whether the week has ended in the account''s time zone.';
COMMENT ON COLUMN keypup.review_weeks.starts_at IS 'Monday 0:00 in the account''s time zone.';
COMMENT ON COLUMN keypup.review_weeks.ends_at IS 'Monday 0:00 of the week after.';

CREATE VIEW keypup.review_load WITH (security_invoker = true, security_barrier = true) AS
-- Account by account, who reviewed from when to when, in arrays: they are gathered once. Then week by week: a time
-- range leaves out weeks, and only the reviews of the others are looked up.
SELECT w.account_id, r.person_id, r.reviewer, r.is_bot, w.week_start, w.is_complete,
  to_char(w.week_start, 'IYYY-"W"IW') AS iso_week, r.reviews, r.pull_requests, r.first_reviews, r.responses,
    justify_hours(r.response_times[1]) AS median_response_time, justify_hours(r.response_times[2]) AS p90_response_time
FROM keypup.accounts a
CROSS JOIN LATERAL (
  SELECT array_agg(g.person_id) AS person_ids, array_agg(g.reviewer) AS reviewers,
    array_agg(g.is_bot) AS are_bots, array_agg(g.first_at) AS first_ats, array_agg(g.last_at) AS last_ats
  FROM (
    SELECT i.person_id, coalesce(i.person, l.author) AS reviewer, l.is_bot, min(l.first_at) AS first_at,
      max(l.last_at) AS last_at
    FROM (
      SELECT j.connection_id, v.author, v.author_is_bot AS is_bot, min(v.submitted_at) AS first_at,
        max(v.submitted_at) AS last_at
      FROM keypup.reviews v
      JOIN keypup.projects j ON j.account_id = v.account_id AND j.project_id = v.project_id
      WHERE v.account_id = a.account_id AND v.state <> 'pending' AND NOT v.is_by_author
        AND NOT EXISTS (SELECT FROM keypup.pull_requests p
          WHERE p.account_id = v.account_id AND p.project_id = v.project_id AND p.number = v.pull_request_number
            AND p.deleted_at IS NOT NULL)
      GROUP BY j.connection_id, v.author, v.author_is_bot
    ) AS l
    LEFT JOIN LATERAL (
      SELECT i.person_id, (SELECT u.name FROM keypup.people u
        WHERE u.account_id = i.account_id AND u.person_id = i.person_id) AS person
      FROM keypup.identities i
      WHERE i.account_id = a.account_id AND i.connection_id = l.connection_id AND i.login = l.author
      ORDER BY i.person_id IS NULL, i.external_id LIMIT 1) AS i ON true
    GROUP BY i.person_id, coalesce(i.person, l.author), l.is_bot
  ) AS g
) AS k
JOIN keypup.review_weeks w ON w.account_id = a.account_id
CROSS JOIN LATERAL (
  SELECT u.person_id, u.reviewer, u.is_bot, count(u.external_id) AS reviews,
    count(DISTINCT (u.project_id, u.number)) FILTER (WHERE u.external_id IS NOT NULL) AS pull_requests,
    count(u.response_time) FILTER (WHERE u.is_first) AS first_reviews, count(u.response_time) AS responses,
      percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY u.response_time) AS response_times
  FROM (
    SELECT v.person_id, v.person AS reviewer, v.is_bot, v.project_id, v.number, v.external_id, v.is_first,
      v.response_time
    FROM keypup.pull_request_reviews v
    WHERE v.account_id = w.account_id AND v.submitted_at >= w.starts_at AND v.submitted_at < w.ends_at
    UNION ALL
    SELECT n.person_id, n.reviewer, n.is_bot, NULL, NULL, NULL, NULL, NULL
    FROM unnest(k.person_ids, k.reviewers, k.are_bots, k.first_ats, k.last_ats)
      AS n (person_id, reviewer, is_bot, first_at, last_at)
    WHERE n.first_at < w.ends_at AND n.last_at >= w.starts_at AND w.starts_at <= now()
  ) AS u
  GROUP BY u.person_id, u.reviewer, u.is_bot
) AS r;
REVOKE ALL ON keypup.review_load FROM PUBLIC;
GRANT SELECT ON keypup.review_load TO keypup_member;
COMMENT ON VIEW keypup.review_load IS
  'One row an account, reviewer and ISO week, from the week of the reviewer''s first review to that of the last, those '
  'with nothing included. Weeks are those of the account''s time zone.';
COMMENT ON COLUMN keypup.review_load.account_id IS 'The account.';
COMMENT ON COLUMN keypup.review_load.person_id IS
  'The reviewer; NULL for bots, deleted users and other logins that are no person.';
COMMENT ON COLUMN keypup.review_load.reviewer IS
  'Name of the person; the login where there is none; NULL for deleted users, all in one row.';
COMMENT ON COLUMN keypup.review_load.is_bot IS 'Whether the reviewer is a bot.';
COMMENT ON COLUMN keypup.review_load.week_start IS 'Monday of the ISO week.';
COMMENT ON COLUMN keypup.review_load.is_complete IS 'Whether the week has ended in the account''s time zone.';
COMMENT ON COLUMN keypup.review_load.iso_week IS 'The week as ISO 8601 writes it.';
COMMENT ON COLUMN keypup.review_load.reviews IS
  'Reviews submitted in the week, but for the author''s own; also of drafts, and after the merge.';
COMMENT ON COLUMN keypup.review_load.pull_requests IS 'Pull requests with such a review.';
COMMENT ON COLUMN keypup.review_load.first_reviews IS
  'Those that the reviewer reviewed for the first time, with a response time.';
COMMENT ON COLUMN keypup.review_load.responses IS
  'Reviews with a response time: first ones, and those that answer another request.';
COMMENT ON COLUMN keypup.review_load.median_response_time IS
  'Median response time of these; the mean of the middle two where their number is even; NULL without any.';
COMMENT ON COLUMN keypup.review_load.p90_response_time IS
  'Response time that 9 of 10 of these do not exceed, interpolated; NULL without any.';

CREATE VIEW keypup.reviewer_pairs WITH (security_invoker = true, security_barrier = true) AS
-- Pull request by pull request first: these are counted, and not sorted to be told apart.
SELECT r.account_id, r.author_person_id, r.author_person AS author, r.author_is_bot, r.person_id AS reviewer_person_id,
  r.person AS reviewer, r.is_bot, count(*) AS pull_requests, sum(r.reviews)::bigint AS reviews,
    sum(r.approvals)::bigint AS approvals
FROM (
  SELECT v.account_id, v.author_person_id, v.author_person, v.author_is_bot, v.person_id, v.person, v.is_bot,
    count(*) AS reviews, count(*) FILTER (WHERE v.verdict = 'approved') AS approvals
  FROM keypup.pull_request_reviews v
  GROUP BY v.account_id, v.project_id, v.number, v.author_person_id, v.author_person, v.author_is_bot, v.person_id,
    v.person, v.is_bot
) AS r
GROUP BY r.account_id, r.author_person_id, r.author_person, r.author_is_bot, r.person_id, r.person, r.is_bot;
REVOKE ALL ON keypup.reviewer_pairs FROM PUBLIC;
GRANT SELECT ON keypup.reviewer_pairs TO keypup_member;
COMMENT ON VIEW keypup.reviewer_pairs IS 'One row an author and a reviewer: how much one reviews of the other.';
COMMENT ON COLUMN keypup.reviewer_pairs.account_id IS 'The account.';
COMMENT ON COLUMN keypup.reviewer_pairs.author_person_id IS
  'The author; NULL for bots, deleted users and other logins that are no person.';
COMMENT ON COLUMN keypup.reviewer_pairs.author IS
  'Name of the person; the login where there is none; NULL for deleted users.';
COMMENT ON COLUMN keypup.reviewer_pairs.author_is_bot IS 'Whether the author is a bot.';
COMMENT ON COLUMN keypup.reviewer_pairs.reviewer_person_id IS 'The reviewer; NULL as for the author.';
COMMENT ON COLUMN keypup.reviewer_pairs.reviewer IS
  'Name of the person; the login where there is none; NULL for deleted users.';
COMMENT ON COLUMN keypup.reviewer_pairs.is_bot IS 'Whether the reviewer is a bot.';
COMMENT ON COLUMN keypup.reviewer_pairs.pull_requests IS 'Pull requests of the author that the reviewer reviewed.';
COMMENT ON COLUMN keypup.reviewer_pairs.reviews IS
  'Reviews of these by the reviewer, also of drafts, and after the merge.';
COMMENT ON COLUMN keypup.reviewer_pairs.approvals IS
  'How many of the reviews approved, also where they were dismissed later.';
