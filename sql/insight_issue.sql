-- A small history with the answers beside it. Times are of January 2025, in UTC: the 6th and the 13th are Mondays.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO';
\pset null '-'
\set SHOW_CONTEXT never
CREATE EXTENSION IF NOT EXISTS keypup;
SELECT keypup.create_account('flow') AS account \gset
SELECT keypup.create_account('one') AS one \gset
SELECT keypup.create_account('empty') AS empty \gset
INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by)
SELECT account_id, 'github', 'c', 'https://api.github.com', 'me' FROM keypup.accounts;
INSERT INTO keypup.projects (account_id, connection_id, name, tracked_by)
SELECT account_id, connection_id, 'a/b', 'me' FROM keypup.connections;
SELECT project_id FROM keypup.projects WHERE account_id = :'account' \gset
CREATE FUNCTION pg_temp.at(day_and_time text) RETURNS timestamptz LANGUAGE sql AS $$ SELECT ('2025-01-' || day_and_time)::timestamptz $$;
CREATE FUNCTION pg_temp.hours(span interval) RETURNS numeric LANGUAGE sql AS $$ SELECT round(extract(epoch FROM span) / 3600, 2) $$;
CREATE VIEW pg_temp.metrics AS SELECT m.* FROM keypup.issue_metrics m JOIN keypup.accounts a USING (account_id) WHERE a.name = 'flow';

INSERT INTO keypup.issues (account_id, project_id, number, external_id, key, title, state, author, created_at, updated_at, closed_at, milestone)
SELECT :'account', :'project_id', n, n, n, title, state, author, pg_temp.at(created), pg_temp.at(updated), pg_temp.at(closed), milestone
FROM (VALUES
  (1, 'closed after 48 hours; bob answers after 3', 'closed', 'ann', '06 10:00', '08 10:00', '08 10:00', 'M'),
  (2, 'closed, reopened, closed after 7 days; assigned after 2 hours', 'closed', 'ann', '06 12:00', '13 12:00', '13 12:00', 'M'),
  (3, 'open, without change for years: stale', 'open', 'ann', '07 00:30', '07 00:30', NULL, 'N'),
  (4, 'author deleted: bob answers after 2 hours, a deleted one after 1 does not count', 'open', NULL, '08 23:30', '09 23:30', NULL, NULL),
  (6, 'closed before it was opened: no lead time, closed when opened', 'closed', 'ann', '11 00:00', '11 00:00', '10 00:00', NULL),
  (7, 'deleted: nowhere', 'open', 'ann', '06 00:00', '06 00:00', NULL, 'M'),
  (8, 'closed twice in a row: the second changes nothing', 'closed', 'ann', '09 00:00', '10 06:00', '10 00:00', NULL),
  (9, 'closed without an event: closed_at says when', 'closed', 'ann', '14 00:00', '15 00:00', '15 00:00', 'L'),
  (10, 'reopened without an event: updated_at says when', 'open', 'ann', '14 00:00', '16 00:00', NULL, 'L')
) AS v(n, title, state, author, created, updated, closed, milestone);
UPDATE keypup.issues SET deleted_at = now() WHERE number = 7;
-- 5 opens tomorrow.
INSERT INTO keypup.issues (account_id, project_id, number, external_id, key, title, state, created_at, updated_at)
VALUES (:'account', :'project_id', 5, 5, 5, 'of the future: age 0, not yet in any flow', 'open', now() + interval '1 day', now() + interval '1 day');
INSERT INTO keypup.timeline_events (account_id, project_id, item_kind, item_number, external_id, event, actor, occurred_at)
SELECT :'account', :'project_id', kind, n, id, event, 'bob', pg_temp.at(happened)
FROM (VALUES
  ('issue', 1, 'a', 'closed', '08 10:00'),
  ('issue', 2, 'a', 'closed', '07 12:00'), ('issue', 2, 'b', 'reopened', '09 12:00'), ('issue', 2, 'c', 'closed', '13 12:00'),
  ('issue', 2, 'd', 'assigned', '06 14:00'), ('issue', 2, 'e', 'assigned', '06 15:00'),
  ('issue', 6, 'a', 'closed', '10 00:00'), ('issue', 7, 'a', 'closed', '07 00:00'),
  ('issue', 8, 'a', 'closed', '10 00:00'), ('issue', 8, 'b', 'closed', '10 06:00'),
  ('issue', 10, 'a', 'closed', '15 12:00'),
  ('pull_request', 3, 'x', 'closed', '08 00:00')
) AS v(kind, n, id, event, happened);
INSERT INTO keypup.comments (account_id, project_id, item_kind, item_number, external_id, author, author_is_bot, created_at)
SELECT :'account', :'project_id', 'issue', n, id, author, bot, pg_temp.at(written)
FROM (VALUES
  (1, 'a', 'ann', false, '06 11:00'), (1, 'b', 'ci', true, '06 11:30'), (1, 'c', 'bob', false, '06 13:00'), (1, 'd', 'eve', false, '06 14:00'),
  (4, 'a', NULL, false, '09 00:30'), (4, 'b', 'bob', false, '09 01:30')
) AS v(n, id, author, bot, written);
INSERT INTO keypup.pull_requests (account_id, project_id, number, external_id, key, title, state, is_draft, author, created_at, updated_at, closed_at, merged_at,
  first_commit_at, ready_at, additions, deletions, closes_issues, head_branch, milestone)
SELECT :'account', :'project_id', n, n, n, title, state, false, 'bob', pg_temp.at(created), pg_temp.at('20'), pg_temp.at(closed), pg_temp.at(merged),
  pg_temp.at(created), pg_temp.at(created), plus, minus, closes, branch, milestone
FROM (VALUES
  (101, 'Mend #1, as other/name#2 did', 'merged', '07 10:00', '08 10:00', '08 10:00', 10, 5, '{1}'::bigint[], 'issue-1', 'M'),
  (102, 'Mend both', 'merged', '12 00:00', '14 00:00', '14 00:00', 1, 1, '{1,2}', '2-second', NULL),
  (103, '(#3) #99 #7 #101 &#4; x#4 #4a ##4', 'closed', '08 00:00', '09 00:00', NULL, 100, 100, '{2}', 'bob/fix/3-more', NULL),
  (104, 'Nothing', 'open', '08 00:00', NULL, NULL, NULL, NULL, '{2,7}', '2025-01-01-notes', NULL),
  (105, 'Nothing', 'open', '08 00:00', NULL, NULL, 1, 1, '{}', 'release-4', NULL)
) AS v(n, title, state, created, closed, merged, plus, minus, closes, branch, milestone);
INSERT INTO keypup.milestones (account_id, project_id, external_id, number, title, state, due_on, closed_at)
SELECT :'account', :'project_id', title, n, title, state, due, closed
FROM (VALUES
  (1, 'M', 'closed', pg_temp.at('10'), pg_temp.at('13 12:00')), (2, 'N', 'open', NULL, NULL), (3, 'empty', 'open', now() + interval '9 days', NULL),
  (4, 'L', 'open', ((now() AT TIME ZONE 'UTC')::date - 5)::timestamp AT TIME ZONE 'UTC', NULL)
) AS v(n, title, state, due, closed);
UPDATE keypup.issues i SET milestone_ids = ARRAY(SELECT m.external_id FROM keypup.milestones m WHERE m.account_id = i.account_id AND m.project_id = i.project_id AND m.title = i.milestone) WHERE i.project_id = :'project_id';
UPDATE keypup.pull_requests i SET milestone_ids = ARRAY(SELECT m.external_id FROM keypup.milestones m WHERE m.account_id = i.account_id AND m.project_id = i.project_id AND m.title = i.milestone) WHERE i.project_id = :'project_id';
SELECT keypup.derive_issues(:'account', :'project_id', ARRAY(SELECT generate_series(1, 10)::bigint));

-- 1: 06 10:00 to 08 10:00 = 48; 13:00 - 10:00 = 3. 2: 06 12:00 to 13 12:00 = 168; 14:00 - 12:00 = 2. 4: 01:30 - 23:30 = 2. 8 and 9: a day.
SELECT number, pg_temp.hours(lead_time) AS lead, pg_temp.hours(first_response_time) AS response, pg_temp.hours(queue_time) AS queue,
  times_reopened AS reopened, is_stale, age >= '0' AS aged
FROM pg_temp.metrics ORDER BY number;
SELECT number, age FROM pg_temp.metrics WHERE number = 5;
-- 101 (15 lines) and 102 (2) close 1; 102, and the open 104 of unknown size, close 2; 103 is closed unmerged, and resolves nothing.
SELECT number, resolving_pull_requests, resolving_first_merged_at, resolving_last_merged_at, lines_changed FROM pg_temp.metrics ORDER BY number;
-- 101 names 1 in three ways: one row. 99 is no issue, 7 is deleted, 101 is a pull request; 4 is named in no way that counts.
SELECT project, issue_number, pull_request_number, sources FROM keypup.issue_pull_request_links WHERE account_id = :'account' ORDER BY 2, 3;

-- 06: 1, 2 open. 07: 3 opens, 2 closes. 08: 4 opens, 1 closes. 09: 8 opens, 2 reopens. 10: 8 closes. 11: 6 opens and closes. 13: 2 closes.
-- 14: 9, 10 open. 15: 9, 10 close. 16: 10 reopens. That leaves 3, 4 and 10.
SELECT day, opened, closed, reopened, open_at_end_of_day FROM keypup.issue_flow_daily WHERE account_id = :'account' AND day < '2025-01-18' ORDER BY day;
SELECT max(day) = (now() AT TIME ZONE 'UTC')::date AS until_today, count(*) = max(day) - min(day) + 1 AS no_gap, min(open_at_end_of_day) AS least,
  (array_agg(open_at_end_of_day ORDER BY day DESC))[1] AS open_now FROM keypup.issue_flow_daily WHERE account_id = :'account';
-- First week: 6 open, 4 close (1, 2, 6, 8), 1 reopens: 6 - 4 + 1 = 3. Lead times of 8 and 1: 24 and 48: 24 + 24 * (0.5, 0.75, 0.9) = 36, 42, 45.6.
-- Second: 2 open, 3 close (2, 9, 10), 1 reopens: 0. Lead times of 9 and 2: 24 and 168: 24 + 144 * (0.5, 0.75, 0.9) = 96, 132, 153.6. Then nothing.
SELECT week_start, pull_requests_merged AS merged, issues_opened AS opened, issues_closed AS closed, issues_reopened AS reopened, backlog_growth AS growth,
  pg_temp.hours(lead_time_p50) AS lead_50, pg_temp.hours(lead_time_p75) AS lead_75, pg_temp.hours(lead_time_p90) AS lead_90,
  pg_temp.hours(cycle_time_p50) AS cycle_50, pg_temp.hours(cycle_time_p75) AS cycle_75, pg_temp.hours(cycle_time_p90) AS cycle_90
FROM keypup.throughput_weekly WHERE account_id = :'account' AND week_start < '2025-01-25' ORDER BY 1;
SELECT week_start, previous_pull_requests_merged AS merged, previous_issues_opened AS opened, previous_issues_closed AS closed,
  previous_issues_reopened AS reopened, previous_backlog_growth AS growth,
  pg_temp.hours(previous_lead_time_p50) AS lead_50, pg_temp.hours(previous_lead_time_p75) AS lead_75, pg_temp.hours(previous_lead_time_p90) AS lead_90,
  pg_temp.hours(previous_cycle_time_p50) AS cycle_50, pg_temp.hours(previous_cycle_time_p75) AS cycle_75, pg_temp.hours(previous_cycle_time_p90) AS cycle_90
FROM keypup.throughput_weekly WHERE account_id = :'account' AND week_start < '2025-01-25' ORDER BY 1;
-- The month: 24, 24, 48, 168: the middle is 36; 48 + 0.25 * 120 = 78; 48 + 0.7 * 120 = 132. Cycle times 24 and 48: 36, 42, 45.6.
SELECT month_start, pull_requests_merged AS merged, issues_opened AS opened, issues_closed AS closed, issues_reopened AS reopened, backlog_growth AS growth,
  pg_temp.hours(lead_time_p50) AS lead_50, pg_temp.hours(lead_time_p75) AS lead_75, pg_temp.hours(lead_time_p90) AS lead_90,
  pg_temp.hours(cycle_time_p50) AS cycle_50, pg_temp.hours(cycle_time_p75) AS cycle_75, pg_temp.hours(cycle_time_p90) AS cycle_90, previous_issues_opened AS before
FROM keypup.throughput_monthly WHERE account_id = :'account' AND month_start < '2025-03-01' ORDER BY 1;

-- Not planned is not done: 1 and 9 are completed (of 9 no reason is known), 2 is a duplicate, whose first closing was taken back, 8 and 6 were not planned; 10 and 3 are open, whatever they say.
-- Lead times are of 1 in the first week, of 9 in the second: 48 and 24.
BEGIN;
UPDATE keypup.issues SET state_reason = CASE WHEN number = 1 THEN 'completed' WHEN number IN (2, 10) THEN 'duplicate' WHEN number IN (3, 6, 8) THEN 'not_planned' END WHERE account_id = :'account';
SELECT project, number, event, occurred_at, close_reason FROM keypup.issue_transitions WHERE account_id = :'account' AND event <> 'opened' ORDER BY 2, 4, 3;
SELECT number, state, state_reason, close_reason, pg_temp.hours(lead_time) AS lead FROM pg_temp.metrics ORDER BY 1;
SELECT day, closed, completed, not_planned, reopened, open_at_end_of_day FROM keypup.issue_flow_daily WHERE account_id = :'account' AND day < '2025-01-18' AND closed + reopened > 0 ORDER BY 1;
SELECT week_start, issues_closed AS closed, issues_completed AS completed, issues_not_planned AS not_planned, pg_temp.hours(lead_time_p50) AS lead_50, pg_temp.hours(lead_time_p90) AS lead_90,
  previous_issues_completed AS before, previous_issues_not_planned AS not_planned_before FROM keypup.throughput_weekly WHERE account_id = :'account' AND week_start < '2025-01-22' ORDER BY 1;
SELECT type, week_start, issues_closed AS closed, issues_completed AS completed, issues_not_planned AS not_planned, pg_temp.hours(lead_time_p50) AS lead_50 FROM keypup.issue_throughput_by_type WHERE account_id = :'account' AND week_start < '2025-01-22' ORDER BY 1, 2;
SELECT week_start, samples, pg_temp.hours(p50) AS p50 FROM keypup.moving_percentiles WHERE account_id = :'account' AND metric = 'lead_time' AND week_start < '2025-01-22' ORDER BY 1;
ROLLBACK;

-- Of each series the last period is under way, wherever the day ends; the others are complete.
SELECT keypup.set_time_zone('flow', 'Pacific/Kiritimati');
CREATE VIEW pg_temp.series AS
SELECT a.name, x.series, count(*) > 1 AS several, bool_and(x.is_complete = (x.next_start <= (now() AT TIME ZONE a.time_zone)::date)) AS right, count(*) FILTER (WHERE NOT x.is_complete) AS under_way
FROM keypup.accounts a
JOIN (
  SELECT account_id, 'issue_flow_daily' AS series, day + 1 AS next_start, is_complete FROM keypup.issue_flow_daily
  UNION ALL SELECT account_id, 'throughput ' || period, (period_start + ('1 ' || period)::interval)::date, is_complete FROM keypup.throughput
  UNION ALL SELECT account_id, 'throughput_weekly', week_start + 7, is_complete FROM keypup.throughput_weekly
  UNION ALL SELECT account_id, 'throughput_monthly', (month_start + interval '1 month')::date, is_complete FROM keypup.throughput_monthly
  UNION ALL SELECT account_id, 'issue_reopen_rate ' || period, (period_start + ('1 ' || period)::interval)::date, is_complete FROM keypup.issue_reopen_rate
  UNION ALL SELECT account_id, 'issue_throughput_by_type', week_start + 7, is_complete FROM keypup.issue_throughput_by_type
  UNION ALL SELECT account_id, 'moving_percentiles ' || metric, week_start + 7, is_complete FROM keypup.moving_percentiles
  UNION ALL SELECT account_id, 'milestone_burnup ' || title, day + 1, is_complete FROM keypup.milestone_burnup
) AS x ON x.account_id = a.account_id
GROUP BY a.name, x.series;
SELECT * FROM pg_temp.series WHERE name = 'flow' ORDER BY 2;
SELECT keypup.set_time_zone('flow', 'Etc/GMT+12');
SELECT bool_and("right") AS right, sum(under_way) AS under_way FROM pg_temp.series WHERE name = 'flow';
SELECT keypup.set_time_zone('flow', 'UTC');
DROP VIEW pg_temp.series;

-- M: 1, 2 and 101, all done; due on the 10th, closed on the 13th. L: 9 of 9 and 10 is done; due five days ago.
SELECT project, milestone_id, milestone_number AS number, title, state, scope, done, percent, slip_days FROM keypup.milestone_progress WHERE account_id = :'account' ORDER BY 3;
SELECT project, milestone_id, milestone_number, kind, number, done_at FROM keypup.milestone_items WHERE account_id = :'account' ORDER BY 3, 4, 5;
-- 1 and 2 open on the 6th, 101 on the 7th; 1 and 101 are done on the 8th, 2 for good on the 13th, when M closes.
SELECT day, scope, done FROM keypup.milestone_burnup WHERE account_id = :'account' AND title = 'M' ORDER BY day;

-- Each item once: of issue 2 only the last closing, of 6 the day of its opening, of 10 (open again) none; 1, 2 and 9 are done, 8 and 6 were not planned. Of the pull requests 103 was closed unmerged.
BEGIN;
UPDATE keypup.issues SET state_reason = 'not_planned' WHERE account_id = :'account' AND number IN (6, 8);
SELECT project, kind, day, is_complete, items_opened AS opened, items_closed AS closed, items_done AS done FROM keypup.items_daily WHERE account_id = :'account' AND day < '2025-01-18' AND items_opened + items_closed > 0 ORDER BY 2, 3;
ROLLBACK;
SELECT kind, count(*) = max(day) - min(day) + 1 AS no_gap, max(day) = (now() AT TIME ZONE 'UTC')::date AS until_today, count(*) FILTER (WHERE NOT is_complete) AS under_way, sum(items_opened) - sum(items_closed) AS open_now FROM keypup.items_daily WHERE account_id = :'account' GROUP BY 1 ORDER BY 1;

-- a/pace had 1 to 12 items done in the last twelve weeks, half of them pull requests, and 5 a week that were not planned or closed unmerged beside: the median is 11.5, the 15th percentile 7 + 0.65 * 1. 13 open items take 91 / 11.5 = 7.9
-- and 91 / 7.65 = 11.9 days: 8 and 12. a/slow has one in each second week: 0.5 and 0: 2 items take 28 days, 3,000 take 6,000 weeks, which nobody waits for, and for the other percentile nothing can be said. a/idle did nothing; a/new began
-- this week; of the milestones of a/pace one is closed, and one is empty.
SELECT keypup.create_account('pace') AS pace \gset
INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by) VALUES (:'pace', 'github', 'c', 'https://api.github.com', 'me') RETURNING connection_id AS pace_connection \gset
INSERT INTO keypup.projects (account_id, connection_id, name, tracked_by) SELECT :'pace', :'pace_connection', n, 'me' FROM unnest('{a/pace,a/slow,a/idle,a/new}'::text[]) n;
INSERT INTO keypup.milestones (account_id, project_id, external_id, number, title, state, due_on)
SELECT p.account_id, p.project_id, m.title, m.n, m.title, CASE m.title WHEN 'done' THEN 'closed' ELSE 'open' END, CASE m.title WHEN 'next' THEN '2030-01-31 00:00:00+00'::timestamptz END
FROM keypup.projects p, (VALUES (1, 'next'), (2, 'done'), (3, 'empty'), (4, 'great')) m(n, title) WHERE p.account_id = :'pace' AND (m.n = 1 OR p.name = CASE m.title WHEN 'great' THEN 'a/slow' ELSE 'a/pace' END);
CREATE FUNCTION pg_temp.add_items(project text, first bigint, times bigint, milestone text, ended timestamptz, kind text DEFAULT 'issue', outcome text DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  IF kind = 'issue' THEN
    INSERT INTO keypup.issues (account_id, project_id, number, external_id, key, title, state, state_reason, created_at, updated_at, closed_at, milestone_ids)
    SELECT p.account_id, p.project_id, first + n, first + n, first + n, 'i', CASE WHEN ended IS NULL THEN 'open' ELSE 'closed' END, outcome, now() - interval '100 days', now(), ended, array_remove(ARRAY[milestone], NULL) FROM keypup.projects p, generate_series(1, times) n WHERE p.name = project AND p.account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'pace');
  ELSE
    INSERT INTO keypup.pull_requests (account_id, project_id, number, external_id, key, title, state, is_draft, created_at, updated_at, closed_at, merged_at, milestone_ids)
    SELECT p.account_id, p.project_id, first + n, first + n, first + n, 'p', coalesce(outcome, 'merged'), false, now() - interval '100 days', now(), ended, CASE WHEN outcome IS NULL THEN ended END, array_remove(ARRAY[milestone], NULL) FROM keypup.projects p, generate_series(1, times) n WHERE p.name = project AND p.account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'pace');
  END IF;
END $$;
DO $$ DECLARE week timestamptz := date_trunc('week', now()); BEGIN
  FOR k IN 1 .. 12 LOOP
    PERFORM pg_temp.add_items('a/pace', k * 100, (14 - k) / 2, NULL, week - k * interval '7 days'), pg_temp.add_items('a/pace', k * 100 + 50, (13 - k) / 2, NULL, week - k * interval '7 days' + interval '6 days 23 hours', 'pull_request'),
      pg_temp.add_items('a/pace', k * 100 + 20, 3, NULL, week - k * interval '7 days', 'issue', 'duplicate'), pg_temp.add_items('a/pace', k * 100 + 80, 2, NULL, week - k * interval '7 days', 'pull_request', 'closed'),
      pg_temp.add_items('a/slow', k * 100, k % 2, NULL, week - k * interval '7 days');
  END LOOP;
  -- Neither this week's nor those of thirteen weeks ago count.
  PERFORM pg_temp.add_items('a/pace', 5000, 50, 'done', now()), pg_temp.add_items('a/pace', 5100, 50, 'next', week - interval '91 days' + interval '6 days'),
    pg_temp.add_items('a/pace', 6000, 13, 'next', NULL), pg_temp.add_items('a/slow', 10000, 3000, 'great', NULL), pg_temp.add_items('a/slow', 6000, 2, 'next', NULL), pg_temp.add_items('a/idle', 6000, 2, 'next', NULL);
  PERFORM pg_temp.add_items('a/new', 1, 3, 'next', NULL), pg_temp.add_items('a/new', 10, 3, NULL, now());
  UPDATE keypup.issues SET created_at = now() WHERE project_id IN (SELECT project_id FROM keypup.projects WHERE name = 'a/new');
END $$;
SELECT project, milestone_id, milestone_number AS number, due_on, open_items AS open, weeks_counted AS weeks, pace_p50, round(pace_p85::numeric, 4) AS pace_p85, done_on_p50 - (now() AT TIME ZONE 'UTC')::date AS days_p50, done_on_p85 - (now() AT TIME ZONE 'UTC')::date AS days_p85
FROM keypup.milestone_forecasts WHERE account_id = :'pace' ORDER BY 1, 3;
-- Issues alone are in sprints: of a/pace 9, 9, 8, 8 … 4, 4 were closed, the median is 6.5, the 15th percentile 4 + 0.65 * 1. Now ends in ten days: 13 open issues take 14 and 91 / 4.65 = 19.6 days, and by then 9.3 and 6.6 are done. Next begins in 14 days:
-- two of its issues are also of now, and count for next alone; they take 14 / 6.5 = 2.2 and 3.01 days from its start. Late should have ended yesterday, endless has no end. a/slow closed one in each second week. In Auckland (13 hours ahead, 12 in winter) noon in UTC is the
-- next day.
BEGIN;
INSERT INTO keypup.sprints (account_id, project_id, external_id, name, state, starts_at, ends_at)
SELECT p.account_id, p.project_id, s.name, s.name, s.state, d.noon + s.starts * interval '1 day', d.noon + s.ends * interval '1 day'
FROM keypup.projects p, (SELECT (date_trunc('day', now() AT TIME ZONE 'UTC') + interval '12 hours') AT TIME ZONE 'UTC' AS noon) AS d,
  (VALUES ('a/pace', 'before', 'closed', -18, -4), ('a/pace', 'now', 'active', -4, 10), ('a/pace', 'next', 'future', 14, 28), ('a/pace', 'late', 'active', -15, -1), ('a/pace', 'endless', 'active', NULL, NULL), ('a/slow', 'now', 'active', -4, 10),
    ('a/slow', 'some day', 'future', NULL, NULL), ('a/new', 'now', 'active', 0, 14), ('a/idle', 'over', 'closed', -18, -4)) AS s(project, name, state, starts, ends)
WHERE p.account_id = :'pace' AND p.name = s.project;
DO $$ BEGIN PERFORM pg_temp.add_items('a/pace', 7000, 2, NULL, NULL), pg_temp.add_items('a/pace', 7100, 1, NULL, NULL), pg_temp.add_items('a/slow', 7000, 1, NULL, NULL), pg_temp.add_items('a/new', 7000, 1, NULL, NULL); END $$;
UPDATE keypup.issues i SET sprint_ids = CASE WHEN i.number > 7100 THEN '{late}'::text[] WHEN i.number > 7000 AND p.name = 'a/pace' THEN '{now,next}' ELSE '{before,now}' END
FROM keypup.projects p WHERE p.project_id = i.project_id AND i.account_id = :'pace' AND (i.number > 7000 OR i.number BETWEEN 6001 AND 6013 AND p.name = 'a/pace') AND i.number < 9000;
CREATE VIEW pg_temp.sprinting AS
SELECT f.project, f.sprint, f.state, f.starts_on - d.today AS starts, f.ends_on - d.today AS ends, f.open_items AS open, f.weeks_counted AS weeks, f.pace_p50, round(f.pace_p85::numeric, 4) AS pace_p85,
  f.done_on_p50 - d.today AS days_p50, f.done_on_p85 - d.today AS days_p85, f.done_by_end_p50 AS by_end_p50, f.done_by_end_p85 AS by_end_p85
FROM keypup.sprint_forecasts f, (SELECT (now() AT TIME ZONE 'UTC')::date AS today) AS d WHERE f.account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'pace');
SELECT * FROM pg_temp.sprinting ORDER BY 1, 2;
SELECT keypup.set_time_zone('pace', 'Pacific/Auckland');
SELECT f.starts_on - s.starts_at::date AS starts, f.ends_on - s.ends_at::date AS ends FROM keypup.sprint_forecasts f JOIN keypup.sprints s ON s.account_id = f.account_id AND s.project_id = f.project_id AND s.external_id = f.sprint_id WHERE f.project = 'a/pace' AND f.sprint = 'now';
ROLLBACK;
SELECT keypup.days_at_pace(13, 6.5) AS exact, keypup.days_at_pace(13, 0) AS never, keypup.days_at_pace(3000, 0.6) AS long, keypup.days_at_pace(3000, 0.01) AS centuries, keypup.items_at_pace(5, -3, 7) AS late, keypup.items_at_pace(5, 3, 7) AS three, keypup.items_at_pace(5, 9, 7) AS at_most, keypup.items_at_pace(5, NULL, 7) AS no_end;
DELETE FROM keypup.accounts WHERE name = 'pace';

-- In Paris 4 opens on the 9th at 0:30; in New York 3 opens on the 6th.
SELECT keypup.set_time_zone('flow', 'europe/paris');
SELECT time_zone FROM keypup.accounts WHERE name = 'flow';
SELECT day, opened FROM keypup.issue_flow_daily WHERE account_id = :'account' AND day <= '2025-01-09' ORDER BY day;
SELECT keypup.set_time_zone('flow', 'America/New_York');
SELECT day, opened FROM keypup.issue_flow_daily WHERE account_id = :'account' AND day <= '2025-01-09' ORDER BY day;
SELECT keypup.set_time_zone('flow', 'Mars/Base');
SELECT keypup.set_time_zone('flow', 'CET');
SELECT keypup.set_time_zone('flow', NULL);
SELECT keypup.set_time_zone('nowhere', 'UTC');
-- A zone that this server does not know, as after a move: the views count in UTC.
UPDATE keypup.accounts SET time_zone = 'Mars/Base' WHERE name = 'flow';
SELECT day, opened FROM keypup.issue_flow_daily WHERE account_id = :'account' AND day <= '2025-01-09' ORDER BY day;
SELECT keypup.known_time_zone(z) FROM unnest(ARRAY['Asia/Tokyo', '', '../x', repeat('x', 300)]) z;
SELECT action, detail FROM keypup.audit_log WHERE account_id = :'account' AND action = 'account.time_zone' AND outcome = 'done' ORDER BY occurred_at;

-- One issue, opened now; an account without any; a project without items.
INSERT INTO keypup.issues (account_id, project_id, number, external_id, key, title, state, created_at, updated_at)
SELECT account_id, project_id, 1, 1, 1, 'only one', 'open', now(), now() FROM keypup.projects WHERE account_id = :'one';
SELECT number, lead_time, first_response_time, queue_time, times_reopened, age < '1 hour' AS young, is_stale, resolving_pull_requests, lines_changed
FROM keypup.issue_metrics WHERE account_id = :'one';
SELECT opened, closed, reopened, open_at_end_of_day FROM keypup.issue_flow_daily WHERE account_id = :'one';
SELECT issues_opened, issues_closed, backlog_growth, lead_time_p50, previous_issues_opened FROM keypup.throughput WHERE account_id = :'one';
SELECT (SELECT count(*) FROM keypup.issue_metrics WHERE account_id = :'empty') AS metrics, (SELECT count(*) FROM keypup.issue_pull_request_links WHERE account_id = :'empty') AS links,
  (SELECT count(*) FROM keypup.issue_flow_daily WHERE account_id = :'empty') AS daily, (SELECT count(*) FROM keypup.throughput WHERE account_id = :'empty') AS throughput,
  (SELECT count(*) FROM keypup.milestone_progress WHERE account_id = :'empty') AS progress, (SELECT count(*) FROM keypup.milestone_burnup WHERE account_id = :'empty') AS burnup, (SELECT count(*) FROM keypup.items_daily WHERE account_id = :'empty') AS items,
  (SELECT count(*) FROM keypup.milestone_forecasts WHERE account_id = :'empty') AS forecasts;
DROP VIEW pg_temp.metrics;
DELETE FROM keypup.accounts;
DROP EXTENSION keypup CASCADE;
