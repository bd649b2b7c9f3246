-- A small history with the answers beside it. All times are hours from 2024-01-01 (a Monday) 0:00 UTC.
SET client_min_messages = warning;
\set SHOW_CONTEXT never
SET timezone = 'UTC';
\pset null '-'
SELECT keypup.create_account('insight') AS account \gset
SELECT keypup.create_account('empty') AS empty \gset
INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by) VALUES (:'account', 'github', 'c', 'https://api.github.com', 'me') RETURNING connection_id \gset
INSERT INTO keypup.projects (account_id, connection_id, name, tracked_by) VALUES (:'account', :'connection_id', 'a/b', 'me') RETURNING project_id \gset
CREATE FUNCTION pg_temp.at(hours double precision) RETURNS timestamptz LANGUAGE sql AS $$ SELECT timestamptz '2024-01-01' + hours * interval '1 hour' $$;
INSERT INTO keypup.people (account_id, person_id, name) SELECT :'account', ('00000000-0000-0000-0000-00000000000' || n)::uuid, name
FROM (VALUES (1, 'Ann'), (2, 'Bob'), (3, 'Eve'), (4, 'Bob at home')) AS v(n, name);
INSERT INTO keypup.identities (account_id, connection_id, external_id, login, name, kind, person_id)
SELECT :'account', :'connection_id', login, login, NULL, kind, ('00000000-0000-0000-0000-00000000000' || n)::uuid
FROM (VALUES ('ann', 'user', 1), ('bob', 'user', 2), ('eve', 'user', 3), ('bob2', 'user', 4), ('ci', 'bot', NULL)) AS v(login, kind, n);
INSERT INTO keypup.pull_requests (account_id, project_id, number, external_id, key, title, state, is_draft, author, author_is_bot, created_at, updated_at, merged_at, merged_by, first_commit_at, additions, deletions, requested_reviewers)
SELECT :'account', :'project_id', n, n, n, title, state, draft, author, coalesce(author = 'ci', false), pg_temp.at(created), pg_temp.at(coalesce(merged, created)), pg_temp.at(merged), merged_by, pg_temp.at(commit), additions, deletions, asked::text[]
FROM (VALUES
  (1, 'two rounds of bob, one reviewer more', 'merged', false, 'ann', 0, 20, 'bob', 0, 6, 3, '{}'),
  (2, 'Revert "one"', 'merged', false, 'ann', 0, 5, 'ann', 0, 10, 0, '{}'),
  (3, 'draft until 6, approved as a draft', 'merged', false, 'bob', 0, 30, 'eve', 0, 40, 10, '{}'),
  (4, 'reversed: merged before it was opened', 'merged', false, 'ann', 10, 8, 'bob', 12, 249, 1, '{}'),
  (5, 'author deleted', 'merged', false, NULL, 0, 4, 'bob', 0, 999, 1, '{}'),
  (6, 'bots only', 'merged', false, 'ci', 0, 4, 'ci', NULL, NULL, NULL, '{}'),
  (7, 'open: nobody', 'open', false, 'ann', 0, NULL, NULL, 0, 0, 0, '{}'),
  (8, 'open: asked', 'open', false, 'ann', 24, NULL, NULL, 0, 49, 0, '{eve}'),
  (9, 'open: two verdicts, one of them against', 'open', false, 'ann', 48, NULL, NULL, 0, 250, 0, '{}'),
  (10, 'open: the request was dismissed, eve approves', 'open', false, 'ann', 72, NULL, NULL, 0, 9, 1, '{}'),
  (11, 'draft, only commented', 'open', true, 'ann', 96, NULL, NULL, 0, 1, 1, '{}'),
  (12, 'Revert this, by hand', 'closed', true, 'bob2', 0, NULL, NULL, 0, 1, 1, '{}'),
  (13, 'gone', 'merged', false, 'ann', 0, 5, 'bob', 0, 1, 1, '{}')
) AS v(n, title, state, draft, author, created, merged, merged_by, commit, additions, deletions, asked);
-- From the future.
INSERT INTO keypup.pull_requests (account_id, project_id, number, external_id, key, title, state, is_draft, author, created_at, updated_at)
VALUES (:'account', :'project_id', 14, 14, 14, 'from the future', 'open', false, 'ann', now() + interval '1 year', now() + interval '2 years');
UPDATE keypup.pull_requests SET deleted_at = now() WHERE account_id = :'account' AND number = 13;
INSERT INTO keypup.reviews (account_id, project_id, pull_request_number, external_id, author, author_is_bot, state, submitted_at)
SELECT :'account', :'project_id', n, id, author, coalesce(author = 'ci', false), state, pg_temp.at(hours)
FROM (VALUES
  -- bob asks (4), comments, asks again (8): round 1; approves (12): round 2. eve asks once (6), never answers: no round.
  (1, 'a', 'bob', 'changes_requested', 4), (1, 'b', 'bob', 'commented', 5), (1, 'c', 'bob', 'changes_requested', 8), (1, 'd', 'bob', 'approved', 12),
  (1, 'e', 'eve', 'changes_requested', 6), (1, 'f', 'ci', 'commented', 1), (1, 'g', 'ann', 'commented', 7), (1, 'h', 'eve', 'approved', 25),
  (3, 'a', 'eve', 'approved', 5),
  (5, 'a', NULL, 'commented', 1), (5, 'b', 'bob', 'approved', 2),
  (6, 'a', 'ci', 'approved', 1), (6, 'b', 'ci2', 'pending', NULL),
  (9, 'a', 'bob', 'approved', 50), (9, 'b', 'eve', 'approved', 51), (9, 'c', 'eve', 'changes_requested', 60), (9, 'd', 'eve', 'commented', 61),
  (10, 'a', 'bob', 'dismissed', 80), (10, 'b', 'eve', 'approved', 250),
  (11, 'a', 'bob', 'commented', 100),
  (13, 'a', 'bob', 'approved', 1)
) AS v(n, id, author, state, hours);
UPDATE keypup.reviews SET author_is_bot = true WHERE account_id = :'account' AND author = 'ci2';
INSERT INTO keypup.timeline_events (account_id, project_id, item_kind, item_number, external_id, event, actor, subject, occurred_at)
SELECT :'account', :'project_id', 'pull_request', n, id, event, 'ann', subject, pg_temp.at(hours)
FROM (VALUES (1, 'a', 'review_requested', 'bob', 3), (1, 'b', 'review_requested', 'bob', 5), (1, 'c', 'reopened', NULL, 2), (1, 'd', 'reopened', NULL, 3),
  (3, 'a', 'ready_for_review', NULL, 6), (9, 'a', 'review_requested', 'eve', 49), (10, 'a', 'review_requested', 'bob', 90)) AS v(n, id, event, subject, hours);
SELECT keypup.derive_pull_requests(:'account', :'project_id', ARRAY(SELECT generate_series(1, 14)::bigint));

-- 1: first review 4 h after the opening, 2 rounds, bob and eve, whose request bob's approval came after; 2: ann merged it herself, unreviewed; 3: eve's approval came
-- before ready (6): it does not count, so unreviewed, but it stands as a verdict; 4: nothing negative; 5: bob is one, and the
-- deleted reviewer may be the deleted author; 6: bots do not count. Sizes: 9 XS, 10 S, 50 M, 250 L, 1000 XL.
SELECT number, state_now, review_state, lines_changed, size_class, time_to_first_review AS first, review_rounds AS rounds, reviewer_count AS reviewers,
  merged_without_review AS unreviewed, self_merged, times_reopened AS reopened, is_revert
FROM keypup.pull_request_metrics WHERE account_id = :'account' ORDER BY number;
SELECT number, project, person, person_id, coding_time, pickup_time, review_time, merge_time, unreviewed_time, cycle_time FROM keypup.pull_request_metrics WHERE account_id = :'account' AND number < 7 ORDER BY number;

-- Open, oldest first: 7 (0 h), 8, 9, 10, 11, and 14 from the future; of six, so 100, 83, 67, 50, 33 and 17 percent.
SELECT number, state_now, round(age_percentile) AS percentile, is_stale, age = now() - created_at AS aged, idle_since, age_days > 0 AS old
FROM keypup.pull_request_work_in_progress WHERE account_id = :'account' AND number < 14 ORDER BY number;
SELECT number, round(age_percentile) AS percentile, is_stale, age, age_days, idle_days FROM keypup.pull_request_work_in_progress WHERE account_id = :'account' AND number = 14;
-- Stale after 30 days, or what the account says: from 14 days on, to the microsecond.
SELECT keypup.set_stale_after('insight', '14 days');
BEGIN;
UPDATE keypup.pull_requests SET created_at = now() - interval '20 days', updated_at = now() - interval '14 days' WHERE account_id = :'account' AND number = 7;
UPDATE keypup.pull_requests SET created_at = now() - interval '20 days', updated_at = now() - interval '14 days' + interval '1 microsecond' WHERE account_id = :'account' AND number = 8;
SELECT number, is_stale, age, age_days, idle_days FROM keypup.pull_request_work_in_progress WHERE account_id = :'account' AND number IN (7, 8) ORDER BY number;
ROLLBACK;

-- Week 1 begins at 0 h, week 2 at 168 h.
-- bob, week 1: 1 (4 reviews; asked at 3, first review at 4: 1 h; asked again and commented at 5: 0 h), 5 (ready 0, review 2: 2 h), 9 (ready 48, review 50: 2 h),
--   10 (ready 72, review 80, asked only later: 8 h), 11 (a draft: no clock). 8 reviews of 5, five times 0, 1, 2, 2, 8: median 2 h,
--   p90 at 0.9 * 4 = 3.6, so 2 + 0.6 * 6 = 5.6 h = 5:36.
-- eve, week 1: 1 (ready 0, review 6: 6 h; again at 25), 3 (before ready: none), 9 (asked 49, review 51: 2 h; 3 reviews). 6 reviews of 3: median 4 h, p90 2 + 0.9 * 4 = 5.6 h = 5:36.
-- eve, week 2: 10 (ready 72, review 250: 178 h).
-- ci: 1 (1 h); its own pull request does not count. The deleted reviewer of 5 may be its deleted author: none.
SELECT reviewer, is_bot, iso_week, week_start, is_complete, reviews, pull_requests, first_reviews, responses, median_response_time AS median, p90_response_time AS p90
FROM keypup.review_load WHERE account_id = :'account' ORDER BY is_bot, reviewer, week_start;
SELECT author, author_is_bot, reviewer, is_bot, pull_requests, reviews, approvals FROM keypup.reviewer_pairs WHERE account_id = :'account' ORDER BY author, reviewer;

-- By hand: bob2 is bob. Then 12 is Bob's, and bob2's person is there no more.
SELECT keypup.set_team('insight', 'core', '{ann,bob2}'), keypup.set_team('insight', 'night', '{bob}');
SELECT login, person, is_bot, team, merged_by_rule FROM keypup.person_logins WHERE account_id = :'account' ORDER BY login;
SELECT keypup.merge_people('insight', 'BOB2', 'c/bob');
SELECT login, person, is_bot, team, merged_by_rule FROM keypup.person_logins WHERE account_id = :'account' ORDER BY login;
SELECT number, author, person FROM keypup.pull_request_metrics WHERE account_id = :'account' AND number = 12;
SELECT keypup.merge_people('insight', 'bob', 'bob2');
SELECT keypup.merge_people('insight', 'ci', 'bob');
SELECT keypup.merge_people('insight', 'nobody', 'bob');
SELECT keypup.merge_people('insight', NULL, 'bob');
SELECT keypup.split_person('insight', 'bob');
-- The whole person goes: bob and bob2 to eve. Each goes back to its own person.
SELECT keypup.merge_people('insight', 'bob2', 'eve');
SELECT login, person FROM keypup.person_logins WHERE account_id = :'account' AND person = 'Eve' ORDER BY login;
SELECT keypup.split_person('insight', 'bob2'), keypup.split_person('insight', 'bob');
SELECT login, person, team, merged_by_rule FROM keypup.person_logins WHERE account_id = :'account' AND NOT is_bot ORDER BY login;

-- Who is left out leaves, who is new joins, who stays keeps the time of joining; a second time changes nothing.
SELECT keypup.set_team('insight', 'core', '{ann,eve}'), keypup.set_team('insight', 'core', '{eve,ann,ann}');
SELECT team, name, left_at IS NULL AS is_in FROM keypup.team_members JOIN keypup.people USING (account_id, person_id) WHERE account_id = :'account' ORDER BY team, name;
SELECT keypup.set_team('insight', 'core', NULL), keypup.set_team('insight', 'a,b', '{}');
SELECT keypup.set_team('insight', 'core', '{}');
SELECT login, team FROM keypup.person_logins WHERE account_id = :'account' AND team IS NOT NULL;
SELECT action, detail FROM keypup.audit_log WHERE account_id = :'account' AND action ~ '^(person|team)' ORDER BY occurred_at, action, detail;

-- The same login through two connections is two persons until somebody says otherwise.
INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by) VALUES (:'account', 'github', 'd', 'https://api.github.com', 'me') RETURNING connection_id AS other \gset
INSERT INTO keypup.people VALUES (:'account', '00000000-0000-0000-0000-000000000009', 'Ann elsewhere');
INSERT INTO keypup.identities VALUES (:'account', :'other', 'x', 'ann', NULL, 'user', '00000000-0000-0000-0000-000000000009');
SELECT keypup.merge_people('insight', 'ann', 'eve');
SELECT keypup.merge_people('insight', 'd/ann', 'c/ann');
SELECT login, person FROM keypup.person_logins WHERE account_id = :'account' AND login = 'ann';
SELECT keypup.split_person('insight', 'ann');
SELECT DISTINCT login, person FROM keypup.person_logins WHERE account_id = :'account' AND login = 'ann' ORDER BY person;

-- An account without rows: none.
SELECT (SELECT count(*) FROM keypup.pull_request_metrics WHERE account_id = :'empty') AS metrics, (SELECT count(*) FROM keypup.pull_request_work_in_progress WHERE account_id = :'empty') AS work,
  (SELECT count(*) FROM keypup.review_load WHERE account_id = :'empty') AS load, (SELECT count(*) FROM keypup.reviewer_pairs WHERE account_id = :'empty') AS pairs, (SELECT count(*) FROM keypup.person_logins WHERE account_id = :'empty') AS logins;
DELETE FROM keypup.accounts;
