-- Activity, verdicts, next steps, fields, breakdowns: a small history with the answers beside it. Times are hours from 2024-01-01 (a Monday) 0:00 UTC.
SET client_min_messages = warning;
\set SHOW_CONTEXT never
SET timezone = 'UTC';
SET datestyle = 'ISO';
\pset null '-'
CREATE EXTENSION IF NOT EXISTS keypup;
SELECT keypup.create_account('words') AS account \gset
SELECT keypup.create_account('moving') AS moving \gset
SELECT keypup.create_account('empty') AS empty \gset
INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by) SELECT account_id, 'github', 'c', 'https://api.github.com', 'me' FROM keypup.accounts;
INSERT INTO keypup.projects (account_id, connection_id, name, tracked_by) SELECT account_id, connection_id, 'a/b', 'me' FROM keypup.connections;
SELECT project_id, connection_id FROM keypup.projects WHERE account_id = :'account' \gset
SELECT project_id AS moving_id FROM keypup.projects WHERE account_id = :'moving' \gset
CREATE FUNCTION pg_temp.at(hours double precision) RETURNS timestamptz LANGUAGE sql AS $$ SELECT timestamptz '2024-01-01' + hours * interval '1 hour' $$;
CREATE FUNCTION pg_temp.hour(moment timestamptz) RETURNS numeric LANGUAGE sql AS $$ SELECT round(extract(epoch FROM moment - timestamptz '2024-01-01') / 3600, 2) $$;
CREATE FUNCTION pg_temp.hours(span interval) RETURNS numeric LANGUAGE sql AS $$ SELECT round(extract(epoch FROM span) / 3600, 2) $$;
INSERT INTO keypup.people (account_id, person_id, name) SELECT :'account', ('00000000-0000-0000-0000-00000000000' || n)::uuid, name
FROM (VALUES (1, 'Ann'), (2, 'Bob'), (3, 'Eve'), (4, 'Bob at home'), (5, 'Zoe')) AS v(n, name);
INSERT INTO keypup.identities (account_id, connection_id, external_id, login, name, kind, person_id)
SELECT :'account', :'connection_id', login, login, NULL, kind, ('00000000-0000-0000-0000-00000000000' || n)::uuid
FROM (VALUES ('ann', 'user', 1), ('bob', 'user', 2), ('eve', 'user', 3), ('bob2', 'user', 4), ('zoe', 'user', 5), ('ci', 'bot', NULL)) AS v(login, kind, n);
INSERT INTO keypup.milestones (account_id, project_id, external_id, number, title, state, due_on) VALUES (:'account', :'project_id', 'm', 1, 'M', 'open', pg_temp.at(500));

INSERT INTO keypup.pull_requests (account_id, project_id, number, external_id, key, title, state, is_draft, author, author_is_bot, created_at, updated_at, closed_at, merged_at, merged_by,
  additions, deletions, closes_issues, requested_reviewers, assignees, milestone)
SELECT :'account', :'project_id', n, n, n, title, state, draft, author, coalesce(author = 'ci', false), pg_temp.at(created), pg_temp.at(coalesce(ended, created)), pg_temp.at(ended),
  CASE WHEN state = 'merged' THEN pg_temp.at(ended) END, merged_by, n, 1, closes::bigint[], asked::text[], assigned::text[], CASE WHEN n = 1 THEN 'M' END
FROM (VALUES
  (1, 'One', 'merged', false, 'ann', 0, 20, 'bob', '{1,2}', '{}', '{bob}'),
  (2, 'Revert "One"', 'merged', false, 'bob', 30, 31, 'bob', '{}', '{}', '{}'),
  (3, 'Revert "Revert "One""', 'open', false, 'ann', 40, NULL, NULL, '{}', '{}', '{}'),
  (4, 'draft', 'open', true, 'ann', 150, NULL, NULL, '{}', '{eve}', '{}'),
  (5, 'eve is asked', 'open', false, 'ann', 150, NULL, NULL, '{3,99}', '{eve}', '{}'),
  (6, 'commented only, and nobody is asked', 'open', false, 'ann', 150, NULL, NULL, '{}', '{}', '{}'),
  (7, 'a bot''s, changes are wanted', 'open', false, 'ci', 150, NULL, NULL, '{}', '{}', '{ann}'),
  (8, 'approved by one who merges', 'open', false, 'ann', 150, NULL, NULL, '{}', '{}', '{}'),
  (9, 'approved by one who does not; the author merges', 'open', false, 'ann', 150, NULL, NULL, '{}', '{}', '{}'),
  (10, 'approved; neither merges', 'open', false, 'zoe', 150, NULL, NULL, '{}', '{}', '{}'),
  (11, 'approved and assigned', 'open', false, 'ann', 150, NULL, NULL, '{}', '{}', '{eve}'),
  (16, 'changes were wanted, and eve is asked again', 'open', false, 'ann', 150, NULL, NULL, '{}', '{eve}', '{}'),
  (19, 'closed without an event', 'closed', false, 'ann', 45, 50, NULL, '{1}', '{}', '{}'),
  (20, 'deleted', 'merged', false, 'ann', 0, 1, 'bob', '{1}', '{}', '{}'),
  (21, 'reopened without an event', 'open', true, 'ann', 55, 61, NULL, '{}', '{}', '{}'),
  (22, 'Revert "Two"', 'closed', false, 'ann', 50, 51, NULL, '{}', '{}', '{}'),
  (23, 'Two', 'merged', false, 'ann', 5, 10, 'ann', '{1}', '{}', '{}'),
  (24, 'Two', 'merged', false, 'ann', 15, 20, 'ann', '{8}', '{}', '{}'),
  (25, 'Two', 'merged', false, 'ann', 45, 100, 'ann', '{}', '{}', '{}'),
  (26, 'Revert ""', 'closed', false, 'ann', 150, 160, NULL, '{}', '{}', '{}'),
  (27, 'Revert "One', 'closed', false, 'ann', 150, 160, NULL, '{}', '{}', '{}')
) AS v(n, title, state, draft, author, created, ended, merged_by, closes, asked, assigned);
UPDATE keypup.pull_requests SET deleted_at = now() WHERE account_id = :'account' AND number = 20;
UPDATE keypup.pull_requests SET closed_at = NULL WHERE account_id = :'account' AND number = 21;
-- Of late: ann merged two, bob one, a bot three, eve one more than 90 days ago. 17 is 71 hours old, and 18 is 73.
INSERT INTO keypup.pull_requests (account_id, project_id, number, external_id, key, title, state, is_draft, author, created_at, updated_at, closed_at, merged_at, merged_by)
SELECT :'account', :'project_id', n, n, n, 'of late', CASE WHEN merged_by IS NULL THEN 'open' ELSE 'merged' END, false, CASE WHEN n <> 18 THEN 'zoe' END, t, t, CASE WHEN merged_by IS NOT NULL THEN t END, CASE WHEN merged_by IS NOT NULL THEN t END, merged_by
FROM (VALUES (12, 'bob', 24), (13, 'ann', 24), (14, 'ann', 48), (15, 'eve', 2161), (17, NULL, 71), (18, NULL, 73), (31, 'ci', 1), (32, 'ci', 1), (33, 'ci', 1)) AS v(n, merged_by, hours)
CROSS JOIN LATERAL (SELECT now() - hours * interval '1 hour' AS t) AS x;
INSERT INTO keypup.reviews (account_id, project_id, pull_request_number, external_id, author, author_is_bot, state, submitted_at)
SELECT :'account', :'project_id', n, id, author, author = 'ci', state, pg_temp.at(hours)
FROM (VALUES
  (1, 'a', 'bob', 'changes_requested', 4), (1, 'b', 'eve', 'approved', 7), (1, 'c', 'bob', 'approved', 8), (1, 'd', 'eve', 'changes_requested', 9), (1, 'e', 'bob', 'commented', 10),
  (1, 'f', 'eve', 'approved', 12), (1, 'g', 'bob', 'approved', 13), (1, 'h', 'eve', 'changes_requested', 25), (1, 'i', 'ci', 'approved', 1), (1, 'j', 'ann', 'commented', 2), (1, 'k', 'eve', 'pending', NULL),
  (6, 'a', 'bob', 'commented', 200), (6, 'b', 'zoe', 'dismissed', 207), (7, 'a', 'eve', 'changes_requested', 201), (8, 'a', 'bob', 'approved', 202), (9, 'a', 'eve', 'approved', 203),
  (10, 'a', 'eve', 'approved', 204), (11, 'a', 'bob', 'approved', 205), (16, 'a', 'eve', 'changes_requested', 206), (20, 'a', 'bob', 'approved', 1)
) AS v(n, id, author, state, hours);
INSERT INTO keypup.issues (account_id, project_id, number, external_id, key, title, state, type, author, created_at, updated_at, closed_at, labels, assignees, milestone)
SELECT :'account', :'project_id', n, n, n, title, state, type, author, pg_temp.at(created), pg_temp.at(coalesce(closed, created)), pg_temp.at(closed), labels::text[], assigned::text[], CASE WHEN n = 1 THEN 'M' END
FROM (VALUES
  (1, 'closed after 21 hours', 'closed', 'Bug', 'ann', 0, 21, '{bug,ui}', '{bob}'),
  (2, 'reopened', 'open', NULL, 'eve', 2, NULL, '{bug}', '{}'),
  (3, '5 will resolve it', 'open', NULL, 'eve', 3, NULL, '{}', '{bob}'),
  (4, 'nothing resolves it', 'open', NULL, 'eve', 4, NULL, '{}', '{bob}'),
  (5, 'deleted', 'open', 'Bug', 'eve', 4, NULL, '{bug}', '{bob}'),
  (6, 'closed without an event, in the week after', 'closed', NULL, 'ann', 1, 200, '{}', '{}'),
  (7, 'closed twice in a row', 'closed', NULL, NULL, 5, 24, '{}', '{}'),
  (8, 'resolved, and never closed', 'open', NULL, 'eve', 6, NULL, '{}', '{}')
) AS v(n, title, state, type, author, created, closed, labels, assigned);
UPDATE keypup.issues SET deleted_at = now() WHERE account_id = :'account' AND number = 5;
UPDATE keypup.issues i SET milestone_ids = ARRAY(SELECT m.external_id FROM keypup.milestones m WHERE m.account_id = i.account_id AND m.project_id = i.project_id AND m.title = i.milestone) WHERE i.project_id = :'project_id';
UPDATE keypup.pull_requests i SET milestone_ids = ARRAY(SELECT m.external_id FROM keypup.milestones m WHERE m.account_id = i.account_id AND m.project_id = i.project_id AND m.title = i.milestone) WHERE i.project_id = :'project_id';
INSERT INTO keypup.timeline_events (account_id, project_id, item_kind, item_number, external_id, event, actor, subject, occurred_at)
SELECT :'account', :'project_id', kind, n, id, event, actor, subject, pg_temp.at(hours)
FROM (VALUES
  ('pull_request', 1, 'a', 'review_requested', 'ann', 'bob', 1), ('pull_request', 1, 'b', 'review_request_removed', 'ann', 'bob', 2), ('pull_request', 1, 'c', 'review_requested', 'ann', 'bob', 3),
  ('pull_request', 1, 'd', 'assigned', 'ann', 'ann', 1), ('pull_request', 1, 'e', 'unassigned', 'ann', 'ann', 2), ('pull_request', 1, 'f', 'assigned', 'ann', 'bob', 3),
  ('pull_request', 1, 'g', 'closed', 'ann', NULL, 5), ('pull_request', 1, 'h', 'reopened', 'ann', NULL, 6),
  ('pull_request', 1, 'i', 'merged', 'bob', NULL, 20), ('pull_request', 1, 'j', 'closed', 'bob', NULL, 20),
  ('pull_request', 20, 'a', 'review_requested', 'ann', 'bob', 0), ('pull_request', 20, 'b', 'closed', 'bob', NULL, 1), ('pull_request', 21, 'a', 'closed', 'ci', NULL, 60),
  ('issue', 1, 'a', 'assigned', 'bob', 'ann', 5), ('issue', 1, 'b', 'assigned', 'bob', 'bob', 6), ('issue', 1, 'c', 'closed', 'bob', NULL, 21),
  ('issue', 2, 'a', 'closed', 'bob', NULL, 21), ('issue', 2, 'b', 'reopened', 'eve', NULL, 30),
  ('issue', 5, 'a', 'closed', 'bob', NULL, 21), ('issue', 5, 'b', 'assigned', 'bob', 'bob', 21),
  ('issue', 7, 'a', 'closed', 'bob', NULL, 24), ('issue', 7, 'b', 'closed', 'bob', NULL, 26)
) AS v(kind, n, id, event, actor, subject, hours);
INSERT INTO keypup.comments (account_id, project_id, item_kind, item_number, external_id, author, author_is_bot, created_at, review_external_id)
SELECT :'account', :'project_id', kind, n, id, author, coalesce(author = 'ci', false), pg_temp.at(hours), review
FROM (VALUES ('issue', 1, 'a', 'bob2', 3, NULL), ('issue', 1, 'b', NULL, 4, NULL), ('issue', 5, 'c', 'bob', 4, NULL), ('pull_request', 1, 'd', 'ci', 2, NULL),
  ('review', 1, 'e', 'bob', 4, 'a'), ('review', 1, 'f', 'bob', 4, NULL)) AS v(kind, n, id, author, hours, review);
SELECT keypup.derive_pull_requests(:'account', :'project_id', ARRAY(SELECT generate_series(1, 40)::bigint)), keypup.derive_issues(:'account', :'project_id', ARRAY(SELECT generate_series(1, 8)::bigint));

-- 1: the closing at 20 is the merge; the bot's, ann's own and eve's late review are activity, the pending one is not; of the comments of
-- reviews only the one without a review is a row. Of two closings in a row (issue 7) the first counts; 2 is reopened.
SELECT item_number AS number, pg_temp.hour(occurred_at) AS hour, action, actor, subject, is_bot, person FROM keypup.activity_events
WHERE account_id = :'account' AND item_kind = 'pull_request' AND item_number IN (1, 19, 20, 21) ORDER BY 1, 2, 3, 4, 5;
SELECT item_number AS number, pg_temp.hour(occurred_at) AS hour, action, actor, subject, is_bot, person FROM keypup.activity_events
WHERE account_id = :'account' AND item_kind = 'issue' ORDER BY 1, 2, 3, 4, 5;

-- 1: bob asks for changes (4), eve approves (7), bob approves: approved (8); eve asks for changes (9), eve approves: approved again (12); bob once more (13): no
-- change; what eve says after the merge does not count. 6: a comment and a dismissed review are no verdicts.
SELECT number, item_state, review_state, pg_temp.hour(review_approved_at) AS approved, pg_temp.hour(review_last_approved_at) AS last_approved, approver_usernames AS approvers,
  change_requester_usernames AS requesters, undecided_usernames AS undecided FROM keypup.pull_request_verdicts WHERE account_id = :'account' ORDER BY number;
-- 8: bob approved and merges. 9: eve approved and does not merge, ann does. 10: neither does: ann with 2 merges, bob with 1, no bot. 11: eve is assigned. 17: 71 hours idle; 18: 73,
-- and its author is deleted.
SELECT number, review_state, recommended_action AS action, recommended_actor_usernames AS actors, suggested_merger_usernames AS mergers
FROM keypup.pull_request_next_steps WHERE account_id = :'account' ORDER BY number;
-- 2: reopened at 30, after the merge of 1 at 20; nobody is assigned. 3: 5 is open. 4: bob is assigned. 8: 24 is merged; nobody is assigned: eve, who opened it.
SELECT number, recommended_action AS action, recommended_actor_usernames AS actors FROM keypup.issue_next_steps WHERE account_id = :'account' ORDER BY number;

-- 1: issues 1 and 2, opened at 0 and 2, of which 1 is closed, at 21. 5: issue 99 is none. 19 was closed unmerged, and resolves nothing.
SELECT number, state, review_state, pg_temp.hour(assigned_at) AS assigned, pg_temp.hour(last_assigned_at) AS last, pg_temp.hour(review_requested_at) AS requested, pg_temp.hour(review_approved_at) AS approved,
  pg_temp.hour(review_last_approved_at) AS last_approved, pg_temp.hour(due_on) AS due, lines_changed AS lines, recommended_action AS action, recommended_actor_usernames AS actors
FROM keypup.pull_request_fields WHERE account_id = :'account' AND (number < 12 OR number IN (19, 20)) ORDER BY number;
SELECT number, resolved_issue_numbers AS resolved, pg_temp.hour(resolved_issue_first_created_at) AS created, pg_temp.hour(resolved_issue_first_closed_at) AS closed, pg_temp.hour(resolved_issue_last_closed_at) AS last_closed,
  resolved_issue_author_usernames AS authors, resolved_issue_sub_types AS types FROM keypup.pull_request_fields WHERE account_id = :'account' AND number IN (1, 2, 5, 19, 23) ORDER BY number;
-- 1: by 1 (0 to 20, 1 + 1 lines) and 23 (5 to 10, 23 + 1 lines); 19 and 20 do not count. 2: by 1 alone. 8: by 24.
SELECT number, state, sub_type, pg_temp.hour(due_on) AS due, pg_temp.hour(assigned_at) AS assigned, pg_temp.hour(last_assigned_at) AS last, pg_temp.hour(review_approved_at) AS approved,
  pg_temp.hour(review_last_approved_at) AS last_approved, recommended_action AS action, recommended_actor_usernames AS actors, workflow_status, cycle_time
FROM keypup.issue_fields WHERE account_id = :'account' ORDER BY number;
SELECT number, resolving_pull_request_numbers AS resolving, pg_temp.hour(resolving_pr_first_merged_at) AS merged, pg_temp.hour(resolving_pr_last_merged_at) AS last_merged, pg_temp.hour(resolving_pr_first_closed_at) AS closed,
  pg_temp.hour(resolving_pr_last_created_at) AS last_created, resolving_pr_author_usernames AS authors, additions AS plus, deletions AS minus, lines_changed AS lines
FROM keypup.issue_fields WHERE account_id = :'account' ORDER BY number;
SELECT number, workflow_timeline FROM keypup.issue_fields WHERE account_id = :'account' AND number IN (2, 4, 7) ORDER BY number;
SELECT number, place, name, pg_temp.hour(start_at) AS start, pg_temp.hour(end_at) AS end FROM keypup.issue_status_spans WHERE account_id = :'account' ORDER BY 1, 2;

SELECT number, label, type, pg_temp.hours(lead_time) AS lead FROM keypup.issue_labels WHERE account_id = :'account' ORDER BY 1, 2;
-- bug: 1 and 2 open and close, 2 reopens: 1/2; 1 took 21 hours. None: 3, 4, 6, 7, 8 open, 7 closes after 19; in week 2 closes 6 after 199. The month has them all; week 3 has nothing, and is there.
SELECT dimension, value, period, period_start, issues_opened AS opened, issues_closed AS closed, issues_reopened AS reopened, reopen_rate, pg_temp.hours(lead_time_p50) AS lead_50,
  pg_temp.hours(lead_time_p75) AS lead_75, pg_temp.hours(lead_time_p90) AS lead_90
FROM keypup.issue_throughput_by WHERE account_id = :'account' AND period_start < '2024-01-20' ORDER BY 1, 2, 3, 4;
SELECT label, week_start, issues_opened AS opened, issues_closed AS closed, issues_reopened AS reopened, reopen_rate, pg_temp.hours(lead_time_p50) AS lead_50 FROM keypup.issue_throughput_by_label WHERE account_id = :'account' AND week_start < '2024-01-20' ORDER BY 1, 2;
SELECT type, week_start, issues_opened AS opened, issues_closed AS closed, issues_reopened AS reopened, reopen_rate, pg_temp.hours(lead_time_p50) AS lead_50 FROM keypup.issue_throughput_by_type WHERE account_id = :'account' AND week_start < '2024-01-20' ORDER BY 1, 2;
-- Each label and type from its first week to this one, which is under way.
SELECT dimension, value, period, min(period_start) AS since, max(period_start) = date_trunc(period, now() AT TIME ZONE 'UTC')::date AS until_now, bool_and(is_complete = (period_start < date_trunc(period, now() AT TIME ZONE 'UTC')::date)) AS complete_but_the_last,
  count(DISTINCT period_start) = count(*) AS each_once, CASE period WHEN 'week' THEN count(*) = (max(period_start) - min(period_start)) / 7 + 1 ELSE count(*) = 12 * extract(year FROM age(max(period_start), min(period_start))) + extract(month FROM age(max(period_start), min(period_start))) + 1 END AS no_gap
FROM keypup.issue_throughput_by WHERE account_id = :'account' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
-- Week 1: 1, 2 and 7 close, 2 reopens: 1/3; week 2: 6 closes: 0; week 3: nothing. The month: 1/4.
SELECT period, period_start, issues_closed AS closed, issues_reopened AS reopened, round(reopen_rate::numeric, 3) AS rate FROM keypup.issue_reopen_rate WHERE account_id = :'account' AND period_start < '2024-01-20' ORDER BY 1, 2;

-- The revert of "One" is 2, the one of that is 3. Of the "Two"s that were merged before 22 was opened (23 and 24) the last is meant.
SELECT number, title, reverted_by, reverted_by_author AS author, revert_state AS state, pg_temp.hour(revert_created_at) AS created, pg_temp.hour(reverted_at) AS reverted FROM keypup.pull_request_reverts WHERE account_id = :'account' ORDER BY 1;
-- A filter on the title meets titles that are too short to be of a revert.
SELECT number, reverted_by FROM keypup.pull_request_reverts WHERE account_id = :'account' AND title = 'One';

-- Bob is in core until 8, in night from 6; eve is in core; zoe is in none.
SELECT keypup.set_team('words', 'core', '{bob,eve}'), keypup.set_team('words', 'night', '{bob}');
UPDATE keypup.team_members SET joined_at = pg_temp.at(CASE team WHEN 'core' THEN 0 ELSE 6 END), left_at = CASE WHEN team = 'core' AND person_id = '00000000-0000-0000-0000-000000000002' THEN pg_temp.at(8) END
WHERE account_id = :'account';
-- Week 1, of 1: core: bob at 4 (asked at 1: 3 h), eve at 7 (7 h), 9, 12 and 25: median 5, p90 3 + 0.9 * 4 = 6.6 h. night: bob at 8 (in both until 8: no more in core), 10 and 13, none a first one.
-- Week 2, of those opened at 150: core: eve at 201, 203, 204, 206: 51, 53, 54, 56 h: 53.5 and 54 + 0.7 * 2 = 55.4. night: bob at 200, 202, 205: 50, 52, 55: 52 and 52 + 0.8 * 3 = 54.4. None: zoe at 207: 57.
SELECT team, iso_week, is_bot, reviewers, reviews, pull_requests, first_reviews, responses, pg_temp.hours(median_response_time) AS median, pg_temp.hours(p90_response_time) AS p90
FROM keypup.team_review_load WHERE account_id = :'account' AND week_start < '2024-01-22' ORDER BY 2, 1, 3;
-- bob2 is Bob, and was in core from the start: Bob's reviews of week 1 are core's, too, each once; night's stay. Week 3 has nothing.
INSERT INTO keypup.team_members (account_id, team, person_id, joined_at) VALUES (:'account', 'core', '00000000-0000-0000-0000-000000000004', pg_temp.at(0));
SELECT keypup.merge_people('words', 'bob2', 'bob');
SELECT team, reviewers, reviews, first_reviews FROM keypup.team_review_load WHERE account_id = :'account' AND iso_week = '2024-W01' AND NOT is_bot ORDER BY 1;

-- Lead times: 10 and 20 hours in week 1, 30 in week 2, 100 in week 5. Each counts for four weeks: 15 of 2; 20 of 3 until week 4; 30 and 100 in week 5: 65; 100 until week 8; then none.
INSERT INTO keypup.issues (account_id, project_id, number, external_id, key, title, state, created_at, updated_at, closed_at)
SELECT :'moving', :'moving_id', n, n, n, n, 'closed', pg_temp.at(closed - lead), pg_temp.at(closed), pg_temp.at(closed)
FROM (VALUES (1, 20, 10), (2, 167.99, 20), (3, 168, 30), (4, 672, 100), (5, 673, -1)) AS v(n, closed, lead);
INSERT INTO keypup.pull_requests (account_id, project_id, number, external_id, key, title, state, is_draft, created_at, updated_at, closed_at, merged_at)
VALUES (:'moving', :'moving_id', 11, 11, 11, 'reviewed after 5 hours in week 1, merged in week 2', 'merged', false, pg_temp.at(160), pg_temp.at(184), pg_temp.at(184), pg_temp.at(184));
INSERT INTO keypup.reviews (account_id, project_id, pull_request_number, external_id, author, state, submitted_at) VALUES (:'moving', :'moving_id', 11, 'a', 'bob', 'approved', pg_temp.at(165));
SELECT keypup.derive_pull_requests(:'moving', :'moving_id', '{11}');
SELECT metric, week_start, samples, pg_temp.hours(p50) AS p50, pg_temp.hours(p75) AS p75, pg_temp.hours(p90) AS p90 FROM keypup.moving_percentiles WHERE account_id = :'moving' AND week_start < '2024-03-05' ORDER BY 1, 2;
SELECT metric, max(week_start) = date_trunc('week', now() AT TIME ZONE 'UTC')::date AS until_now, count(*) = (max(week_start) - min(week_start)) / 7 + 1 AS no_gap, max(week_start) FILTER (WHERE is_complete) = max(week_start) - 7 AS last_is_under_way FROM keypup.moving_percentiles WHERE account_id = :'moving' GROUP BY 1 ORDER BY 1;
-- Open for 10, 20, 30 and 40 days: the middle is 25, 30 + 0.25 * 10 = 32.5, 30 + 0.7 * 10 = 37; the two that have not changed for more than 30 days are stale.
BEGIN;
INSERT INTO keypup.issues (account_id, project_id, number, external_id, key, title, state, created_at, updated_at)
SELECT :'moving', :'moving_id', n, n, n, n, 'open', now() - n * interval '24 hours', now() - (n + 0.01) * interval '24 hours' FROM unnest('{10,20,30,40}'::bigint[]) AS n;
SELECT open_issues, stale_issues, pg_temp.hours(age_p50) / 24 AS p50, pg_temp.hours(age_p75) / 24 AS p75, pg_temp.hours(age_p90) / 24 AS p90, pg_temp.hours(oldest_age) / 24 AS oldest FROM keypup.issue_ageing WHERE account_id = :'moving';
ROLLBACK;

-- An account without rows: none.
SELECT (SELECT count(*) FROM keypup.activity_events WHERE account_id = :'empty') + (SELECT count(*) FROM keypup.pull_request_verdicts WHERE account_id = :'empty')
  + (SELECT count(*) FROM keypup.pull_request_next_steps WHERE account_id = :'empty') + (SELECT count(*) FROM keypup.issue_next_steps WHERE account_id = :'empty')
  + (SELECT count(*) FROM keypup.pull_request_fields WHERE account_id = :'empty') + (SELECT count(*) FROM keypup.issue_fields WHERE account_id = :'empty')
  + (SELECT count(*) FROM keypup.issue_status_spans WHERE account_id = :'empty') + (SELECT count(*) FROM keypup.issue_labels WHERE account_id = :'empty')
  + (SELECT count(*) FROM keypup.issue_throughput_by WHERE account_id = :'empty') + (SELECT count(*) FROM keypup.issue_reopen_rate WHERE account_id = :'empty')
  + (SELECT count(*) FROM keypup.issue_ageing WHERE account_id = :'empty') + (SELECT count(*) FROM keypup.moving_percentiles WHERE account_id = :'empty')
  + (SELECT count(*) FROM keypup.team_review_load WHERE account_id = :'empty') + (SELECT count(*) FROM keypup.pull_request_reverts WHERE account_id = :'empty') AS rows_of_empty;
DELETE FROM keypup.accounts;
DROP EXTENSION keypup CASCADE;
