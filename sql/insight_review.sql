-- Small histories of reviews, with the right answers beside them. All times are hours from 2024-10-07 (a Monday) 0:00 UTC.
SET client_min_messages = warning;
\set SHOW_CONTEXT never
SET timezone = 'UTC';
\pset null '-'
CREATE EXTENSION IF NOT EXISTS keypup;
SELECT keypup.create_account('hand') AS account \gset
INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by) VALUES (:'account', 'github', 'h', 'https://api.github.com', 'me') RETURNING connection_id \gset
INSERT INTO keypup.projects (account_id, connection_id, name, tracked_by) VALUES (:'account', :'connection_id', 'h/pr', 'me') RETURNING project_id \gset
CREATE FUNCTION pg_temp.at(hours double precision) RETURNS timestamptz LANGUAGE sql AS $$ SELECT timestamptz '2024-10-07' + hours * interval '1 hour' $$;
CREATE FUNCTION pg_temp.hour(moment timestamptz) RETURNS numeric LANGUAGE sql AS $$ SELECT round(extract(epoch FROM moment - pg_temp.at(0)) / 3600, 2) $$;
INSERT INTO keypup.people (account_id, person_id, name) SELECT :'account', ('00000000-0000-0000-0000-00000000000' || n)::uuid, name
FROM (VALUES (1, 'Ann'), (2, 'Bob'), (3, 'Eve'), (4, 'Ann at home'), (5, 'A robot')) AS v(n, name);
INSERT INTO keypup.identities (account_id, connection_id, external_id, login, kind, person_id)
SELECT :'account', :'connection_id', 'U' || n, login, 'user', ('00000000-0000-0000-0000-00000000000' || n)::uuid
FROM (VALUES ('ann', 1), ('bob', 2), ('eve', 3), ('ann-home', 4), ('acme-ci-robot', 5)) AS v(login, n);
CREATE FUNCTION pg_temp.pull(n bigint, title text, author text, created double precision, merged double precision, first_commit double precision DEFAULT NULL, closed double precision DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
  INSERT INTO keypup.pull_requests (account_id, project_id, number, external_id, key, title, state, is_draft, author, created_at, updated_at, closed_at, merged_at, merged_by, first_commit_at, base_branch, additions, deletions)
  SELECT account_id, project_id, n, n, '#' || n, title, CASE WHEN merged IS NOT NULL THEN 'merged' WHEN closed IS NOT NULL THEN 'closed' ELSE 'open' END, false, author, pg_temp.at(created), pg_temp.at(coalesce(merged, closed, created)),
    pg_temp.at(coalesce(merged, closed)), pg_temp.at(merged), CASE WHEN merged IS NOT NULL THEN 'bob' END, pg_temp.at(first_commit), 'main', 5, 5 FROM keypup.projects WHERE name = 'h/pr' $$;
CREATE FUNCTION pg_temp.review(n bigint, id text, author text, state text, hours double precision) RETURNS void LANGUAGE sql AS $$
  INSERT INTO keypup.reviews (account_id, project_id, pull_request_number, external_id, author, state, submitted_at)
  SELECT account_id, project_id, n, id, author, state, pg_temp.at(hours) FROM keypup.projects WHERE name = 'h/pr' $$;
CREATE FUNCTION pg_temp.comment(n bigint, id text, author text, hours double precision) RETURNS void LANGUAGE sql AS $$
  INSERT INTO keypup.comments (account_id, project_id, item_kind, item_number, external_id, author, created_at)
  SELECT account_id, project_id, 'pull_request', n, id, author, pg_temp.at(hours) FROM keypup.projects WHERE name = 'h/pr' $$;
CREATE FUNCTION pg_temp.event(n bigint, id text, event text, hours double precision, subject text DEFAULT NULL, from_value text DEFAULT NULL, to_value text DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
  INSERT INTO keypup.timeline_events (account_id, project_id, item_kind, item_number, external_id, event, actor, subject, from_value, to_value, occurred_at)
  SELECT account_id, project_id, 'pull_request', n, id, event, 'ann', subject, from_value, to_value, pg_temp.at(hours) FROM keypup.projects WHERE name = 'h/pr' $$;

-- A machine user approves soon; the issue came from another project, with a comment that is older than it; the second login of the author's person approves.
SELECT pg_temp.pull(4, 'self approval by a second login', 'ann', 0, 9), pg_temp.review(4, 'r1', 'ann-home', 'approved', 1);
SELECT pg_temp.pull(5, 'only a machine user approved', 'ann', 0, 9), pg_temp.review(5, 'r1', 'acme-ci-robot', 'approved', 0.25), pg_temp.comment(5, 'c1', 'acme-ci-robot', 0.5);
SELECT pg_temp.pull(8, 'by the machine user', 'acme-ci-robot', 0, 5), pg_temp.review(8, 'r1', 'bob', 'approved', 2);
INSERT INTO keypup.issues (account_id, project_id, number, external_id, key, title, state, author, created_at, updated_at) VALUES (:'account', :'project_id', 500, 500, '#500', 'i', 'open', 'ann', pg_temp.at(0), pg_temp.at(0));
INSERT INTO keypup.comments (account_id, project_id, item_kind, item_number, external_id, author, created_at)
SELECT :'account', :'project_id', 'issue', 500, 'i' || n, author, pg_temp.at(n) FROM (VALUES (-100, 'bob'), (1, 'acme-ci-robot'), (5, 'bob')) AS v(n, author);
SELECT keypup.derive_pull_requests(:'account', :'project_id', '{4,5,8}'), keypup.derive_issues(:'account', :'project_id', '{500}');
CREATE VIEW pg_temp.seen AS
SELECT m.number, m.author_is_bot, m.pickup_time, m.review_time, m.merge_time, m.unreviewed_time, m.merged_without_review AS unreviewed, m.reviewer_count AS reviewers, m.review_state,
  pg_temp.hour(p.first_review_at) AS table_review, pg_temp.hour(p.first_approval_at) AS table_approval, v.approver_usernames
FROM keypup.pull_request_metrics m JOIN keypup.pull_requests p USING (account_id, project_id, number) LEFT JOIN keypup.pull_request_verdicts v USING (account_id, project_id, number) WHERE m.account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'hand');
SELECT * FROM pg_temp.seen ORDER BY number;
-- 4: once ann-home is ann, ann approved her own: merged without review. 5: once the robot is marked, nobody picked it up.
SELECT keypup.merge_people('hand', 'ann-home', 'ann'), keypup.mark_bot('hand', 'h/Acme-CI-Robot');
SELECT * FROM pg_temp.seen ORDER BY number;
SELECT number, login, is_bot FROM keypup.pull_request_reviews WHERE account_id = :'account' ORDER BY number;
SELECT reviewer, is_bot, reviews FROM keypup.review_load WHERE account_id = :'account' ORDER BY reviewer;
SELECT author, author_is_bot, reviewer, is_bot, reviews FROM keypup.reviewer_pairs WHERE account_id = :'account' ORDER BY author, reviewer;
SELECT item_kind, item_number AS number, action, actor, is_bot FROM keypup.activity_events WHERE account_id = :'account' AND actor = 'acme-ci-robot' ORDER BY 1, 2, 3;
SELECT login, person, is_bot FROM keypup.person_logins WHERE account_id = :'account' ORDER BY login;
SELECT pg_temp.hour(first_response_at) AS first_response FROM keypup.issues WHERE account_id = :'account';
-- What is stored later is a bot's, too: whatever the provider says.
SELECT keypup.store_comments(:'account', :'project_id', ARRAY[ROW('issue', 500, 'i2', 'acme-ci-robot', false, pg_temp.at(2), NULL, NULL, NULL, NULL)::keypup.provided_comments,
  ROW('issue', 500, 'i3', 'eve', false, pg_temp.at(3), NULL, NULL, NULL, NULL)::keypup.provided_comments, ROW('issue', 500, 'i4', NULL, false, pg_temp.at(4), NULL, NULL, NULL, NULL)::keypup.provided_comments]);
SELECT external_id, author, author_is_bot FROM keypup.comments WHERE account_id = :'account' AND item_kind = 'issue' ORDER BY external_id;
-- Twice is once too often; nobody, a team's name, and somebody known through two connections.
SELECT keypup.mark_bot('hand', 'acme-ci-robot');
SELECT keypup.unmark_bot('hand', 'bob');
SELECT keypup.mark_bot('hand', 'nobody');
SELECT keypup.mark_bot('hand', NULL);
INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by) VALUES (:'account', 'github', 'g', 'https://git.example', 'me') RETURNING connection_id AS other \gset
INSERT INTO keypup.identities (account_id, connection_id, external_id, login, kind) VALUES (:'account', :'other', 'U2', 'bob', 'mannequin'), (:'account', :'other', 'U9', 'ci', 'bot');
SELECT keypup.mark_bot('hand', 'bob');
SELECT keypup.mark_bot('hand', 'ci');
SELECT keypup.mark_bot('hand', 'g/bob');
SELECT c.name, i.login, i.is_marked_bot FROM keypup.identities i JOIN keypup.connections c USING (account_id, connection_id) WHERE i.is_marked_bot AND i.account_id = :'account' ORDER BY 1;
-- Back again.
SELECT keypup.split_person('hand', 'ann-home'), keypup.unmark_bot('hand', 'acme-ci-robot');
SELECT * FROM pg_temp.seen ORDER BY number;
SELECT action, detail FROM keypup.audit_log WHERE account_id = :'account' AND action ~ '^bot' ORDER BY record_id;

-- 1: approved at 4 h, a draft from 47 h to 48 h: the review stays, and an hour is no stage's. 2: approved, then changes requested, which
-- is dismissed at 5 h: until then it stood. 3: the approval is dismissed at 8 h, by a push: it was approved once, and merge_time is 8 h.
-- 9: opened as a draft, ready at 5 h; a review of the draft (2 h) is none, one of the draft that it is again (9 h) is.
-- 16: a draft again without an end. 17: a dismissal of which nothing is known, as before. 18: dismissed after the merge: it stood then.
SELECT pg_temp.pull(1, 'toggled', 'ann', 0, 50, -1), pg_temp.review(1, 'r1', 'bob', 'approved', 4), pg_temp.event(1, 'e1', 'convert_to_draft', 47), pg_temp.event(1, 'e2', 'ready_for_review', 48);
SELECT pg_temp.pull(2, 'approve, request, dismissed', 'ann', 0, NULL), pg_temp.review(2, 'r1', 'bob', 'approved', 1), pg_temp.review(2, 'r2', 'bob', 'dismissed', 2), pg_temp.event(2, 'e1', 'review_dismissed', 5, 'bob', 'changes_requested', 'r2');
SELECT pg_temp.pull(3, 'approved, dismissed by a push', 'ann', 0, 9), pg_temp.review(3, 'r1', 'bob', 'dismissed', 1), pg_temp.event(3, 'e1', 'review_dismissed', 8, 'bob', 'approved', 'r1');
SELECT pg_temp.pull(9, 'a draft twice', 'ann', 0, 20, -2), pg_temp.review(9, 'r1', 'bob', 'commented', 2), pg_temp.review(9, 'r2', 'bob', 'commented', 9), pg_temp.review(9, 'r3', 'bob', 'approved', 15),
  pg_temp.event(9, 'e1', 'ready_for_review', 5), pg_temp.event(9, 'e2', 'convert_to_draft', 8), pg_temp.event(9, 'e3', 'ready_for_review', 10), pg_temp.event(9, 'e4', 'convert_to_draft', 16), pg_temp.event(9, 'e5', 'ready_for_review', 17);
SELECT pg_temp.pull(16, 'a draft now', 'ann', 0, NULL), pg_temp.event(16, 'e1', 'convert_to_draft', 3), pg_temp.review(16, 'r1', 'bob', 'commented', 4);
UPDATE keypup.pull_requests SET is_draft = true WHERE account_id = :'account' AND number = 16;
SELECT pg_temp.pull(17, 'dismissed, nobody knows what', 'ann', 0, 9), pg_temp.review(17, 'r1', 'bob', 'dismissed', 1), pg_temp.event(17, 'e1', 'review_dismissed', 8, 'bob', NULL, 'r9');
SELECT pg_temp.pull(18, 'dismissed after the merge', 'ann', 0, 9), pg_temp.review(18, 'r1', 'bob', 'dismissed', 1), pg_temp.event(18, 'e1', 'review_dismissed', 10, 'bob', 'approved', 'r1');
-- 19: the change request that bob answered himself by an approval is dismissed later: the approval stands.
SELECT pg_temp.pull(19, 'an answered request is dismissed', 'ann', 0, NULL), pg_temp.review(19, 'r1', 'bob', 'dismissed', 1), pg_temp.review(19, 'r2', 'bob', 'approved', 3), pg_temp.event(19, 'e1', 'review_dismissed', 5, 'bob', 'changes_requested', 'r1');
-- 20: bob asks for changes, eve approves: one round, and approved as merged. 21: bob asks, and comments: no round, and it was merged against bob. 22: bob asks, is
-- dismissed, approves: one round. 23: bob and eve ask, bob again, eve approves: two rounds.
SELECT pg_temp.pull(20, 'rework seen by another', 'ann', 0, 30), pg_temp.review(20, 'r1', 'bob', 'changes_requested', 2), pg_temp.review(20, 'r2', 'eve', 'approved', 20);
SELECT pg_temp.pull(21, 'rework, then a comment', 'ann', 0, 30), pg_temp.review(21, 'r1', 'bob', 'changes_requested', 2), pg_temp.review(21, 'r2', 'bob', 'commented', 20);
SELECT pg_temp.pull(22, 'request dismissed, then approved', 'ann', 0, 30), pg_temp.review(22, 'r1', 'bob', 'dismissed', 2), pg_temp.review(22, 'r2', 'bob', 'approved', 20), pg_temp.event(22, 'e1', 'review_dismissed', 10, 'bob', 'changes_requested', 'r1');
SELECT pg_temp.pull(23, 'two ask, one of them twice', 'ann', 0, 30), pg_temp.review(23, 'r1', 'bob', 'changes_requested', 2), pg_temp.review(23, 'r2', 'eve', 'changes_requested', 3), pg_temp.review(23, 'r3', 'bob', 'changes_requested', 4), pg_temp.review(23, 'r4', 'eve', 'approved', 20);
-- 24: as 20, and open: bob's request stands.
SELECT pg_temp.pull(24, 'as 20, open', 'ann', 0, NULL), pg_temp.review(24, 'r1', 'bob', 'changes_requested', 2), pg_temp.review(24, 'r2', 'eve', 'approved', 20);
-- 40: asked, answered after 1 h, asked again, answered after 20 h; the third review nobody asked for. A comment is a response, but for the author's and a bot's.
SELECT pg_temp.pull(40, 'asked again', 'ann', 0, 200), pg_temp.review(40, 'r1', 'bob', 'commented', 1), pg_temp.review(40, 'r2', 'bob', 'approved', 120), pg_temp.review(40, 'r3', 'bob', 'commented', 150),
  pg_temp.event(40, 'q1', 'review_requested', 0, 'bob'), pg_temp.event(40, 'q2', 'review_requested', 100, 'bob'), pg_temp.event(40, 'q3', 'review_requested', 110, 'bob'), pg_temp.event(40, 'q4', 'review_requested', 130, 'eve');
SELECT pg_temp.pull(41, 'a comment first', 'ann', 0, 9), pg_temp.comment(41, 'p1', 'ann', 1), pg_temp.comment(41, 'p2', 'bob', -5), pg_temp.comment(41, 'p3', 'eve', 3), pg_temp.review(41, 'r1', 'bob', 'approved', 6), pg_temp.comment(41, 'p4', 'bob', 12);
SELECT pg_temp.pull(42, 'a comment after the merge', 'ann', 0, 9), pg_temp.comment(42, 'p5', 'bob', 12);
SELECT keypup.derive_pull_requests(:'account', :'project_id', ARRAY(SELECT generate_series(1, 60)::bigint));
SELECT number, pg_temp.hour(ready_at) AS ready, coding_time, pickup_time, review_time, merge_time, unreviewed_time, draft_time, cycle_time FROM keypup.pull_request_cycle
WHERE account_id = :'account' AND number IN (1, 3, 9, 16, 17, 18) ORDER BY number;
SELECT m.number, m.review_state, v.review_state AS of_verdicts, pg_temp.hour(v.review_approved_at) AS approved, pg_temp.hour(v.review_last_approved_at) AS last_approved, v.approver_usernames AS approvers, v.change_requester_usernames AS requesters,
  v.undecided_usernames AS undecided, m.review_rounds AS rounds, m.reviewer_count AS reviewers
FROM keypup.pull_request_metrics m LEFT JOIN keypup.pull_request_verdicts v USING (account_id, project_id, number) WHERE m.account_id = :'account' AND m.number NOT IN (4, 5, 8) ORDER BY m.number;
SELECT number, external_id, state, verdict, pg_temp.hour(dismissed_at) AS dismissed, is_first, pg_temp.hour(asked_at) AS asked, response_time FROM keypup.pull_request_reviews
WHERE account_id = :'account' AND (number = 40 OR state = 'dismissed') ORDER BY number, external_id;
SELECT reviewer, iso_week, reviews, first_reviews, responses, median_response_time AS median FROM keypup.review_load WHERE account_id = :'account' AND reviewer = 'Bob' ORDER BY iso_week;
SELECT number, pg_temp.hour(first_response_at) AS response, time_to_first_response, time_to_first_review FROM keypup.pull_request_metrics WHERE account_id = :'account' AND number IN (4, 5, 9, 40, 41, 42) ORDER BY number;
-- The stages and draft_time sum to the whole; the table and the view mean the same.
SELECT number FROM keypup.pull_request_cycle WHERE cycle_time <> coding_time + coalesce(pickup_time + review_time, unreviewed_time, '0') + coalesce(merge_time, '0') + coalesce(draft_time, '0');
SELECT c.number FROM keypup.pull_request_cycle c JOIN keypup.pull_requests p USING (account_id, project_id, number)
WHERE (c.first_review_at, c.first_approval_at, c.ready_at, c.first_response_at) IS DISTINCT FROM (p.first_review_at, p.first_approval_at, p.ready_at, p.first_response_at);

-- Whose turn it is. 50: bob comments (2), ann answers (4), eve asks for changes (6), bob, too (7), ann asks again (10), bob approves (12), ann's thanks (13) change nothing, merged (15).
SELECT pg_temp.pull(50, 'turns', 'ann', 0, 15), pg_temp.event(50, 'q1', 'review_requested', 0, 'bob'), pg_temp.review(50, 'r1', 'bob', 'commented', 2), pg_temp.comment(50, 'w1', 'ann', 4), pg_temp.review(50, 'r2', 'eve', 'changes_requested', 6),
  pg_temp.review(50, 'r3', 'bob', 'changes_requested', 7), pg_temp.event(50, 'q2', 'review_requested', 10, 'bob'), pg_temp.review(50, 'r4', 'bob', 'approved', 12), pg_temp.comment(50, 'w2', 'ann', 13), pg_temp.review(50, 'r5', 'eve', 'commented', 20);
SELECT keypup.derive_pull_requests(:'account', :'project_id', '{50}');
SELECT number, place, waiting_for, pg_temp.hour(start_at) AS start, pg_temp.hour(end_at) AS end, waiting_time FROM keypup.pull_request_waiting WHERE account_id = :'account' AND number IN (1, 9, 16, 40, 50) ORDER BY number, place;
-- Spans follow one another from ready to the end, and the two take turns.
SELECT number FROM keypup.pull_request_waiting w WHERE place > 1 AND NOT EXISTS (SELECT FROM keypup.pull_request_waiting b WHERE (b.account_id, b.project_id, b.number, b.place) = (w.account_id, w.project_id, w.number, w.place - 1) AND b.end_at = w.start_at AND b.waiting_for <> w.waiting_for);

-- Weeks of New York: what eve reviews at 3 h is on Sunday there. From her first week to her last none is missing. The week of
-- 28 October has an hour more. core is there from the 15th on, reviews or not.
SELECT keypup.set_time_zone('hand', 'America/New_York'), keypup.set_team('hand', 'core', '{eve}'), pg_temp.review(50, 'r6', 'eve', 'commented', 528);
UPDATE keypup.team_members SET joined_at = pg_temp.at(192) WHERE account_id = :'account';
SELECT reviewer, week_start, is_complete, iso_week, reviews, pull_requests, first_reviews, responses, median_response_time AS median FROM keypup.review_load WHERE account_id = :'account' AND reviewer = 'Eve' ORDER BY week_start;
SELECT week_start, is_complete, starts_at, ends_at, ends_at - starts_at AS length FROM keypup.review_weeks WHERE account_id = :'account' AND week_start BETWEEN '2024-10-21' AND '2024-11-04' ORDER BY 1;
SELECT team, is_bot, week_start, is_complete, iso_week, reviewers, reviews, responses FROM keypup.team_review_load WHERE account_id = :'account' AND week_start BETWEEN '2024-10-07' AND '2024-11-04' ORDER BY week_start, team, is_bot;
SELECT count(*) AS wrong FROM keypup.review_weeks WHERE account_id = :'account' AND (is_complete <> (week_start + 7 <= (now() AT TIME ZONE 'America/New_York')::date) OR extract(isodow FROM week_start) <> 1);
SELECT max(week_start) = date_trunc('week', now() AT TIME ZONE 'America/New_York')::date AS until_now FROM keypup.team_review_load WHERE account_id = :'account' AND team = 'core';

-- 10 to 15: all of 11, 12, 14 and 15 take back 10, and 13 takes back 11. 62: the number of 61 is in the quoted title. 63 and 66: what they take back is
-- not known: two titles begin so, and nothing is called so. 7: squashed and closed by a bot, which is no merge. 64: nothing was merged before it. 65 is by hand.
SELECT pg_temp.pull(10, 'Add cache (#9)', 'ann', 0, 1), pg_temp.pull(11, 'Revert "Add cache (#9)"', 'bob', 2, 3), pg_temp.pull(12, 'revert: feat: add cache', 'bob', 2, 3), pg_temp.pull(13, 'Reapply "Add cache (#9)"', 'bob', 5, 6),
  pg_temp.pull(14, 'Revert "Add cache (#9)" (#15)', 'bob', 2, 3), pg_temp.pull(15, 'Revert "Add ca…"', 'bob', 2, 3), pg_temp.pull(61, 'Mend it', 'ann', 0, 1), pg_temp.pull(62, 'Revert "Mend it (#61)"', 'bob', 2, 3),
  pg_temp.pull(63, 'Revert "Add c…"', 'bob', 7, 8), pg_temp.pull(64, 'revert(api)!: fix: what comes later', 'bob', 2, 3), pg_temp.pull(65, 'Revert the cache', 'bob', 2, 3), pg_temp.pull(66, 'Revert "Nothing (#61)"', 'bob', 2, 3),
  pg_temp.pull(67, 'fix: what comes later', 'ann', 4, 5), pg_temp.pull(68, 'Revert "Add cl...', 'bob', 7, 8), pg_temp.pull(69, 'Add clock', 'bob', 6, 6.5), pg_temp.pull(7, '[Merged by Bors] - add x', 'ann', 0, NULL, NULL, 2);
SELECT number, title, reverted_by, revert_state FROM keypup.pull_request_reverts WHERE account_id = :'account' ORDER BY reverted_by;
SELECT number, title FROM keypup.pull_request_metrics WHERE account_id = :'account' AND is_revert ORDER BY number;
SELECT number, state, merged_at, cycle_time FROM keypup.pull_request_metrics WHERE account_id = :'account' AND number = 7;
-- 6: its first commit was authored two years before, which coding_time does not hide.
SELECT pg_temp.pull(6, 'backport of a two-year-old commit', 'ann', 0, 2, -730 * 24), pg_temp.pull(60, '90 days', 'ann', 0, 2, -90 * 24);
SELECT keypup.derive_pull_requests(:'account', :'project_id', '{6,60}');
SELECT number, coding_time, is_first_commit_old FROM keypup.pull_request_metrics WHERE account_id = :'account' AND number IN (1, 6, 42, 60) ORDER BY number;
SELECT count(*) AS flagged FROM keypup.pull_request_cycle WHERE account_id = :'account' AND is_first_commit_old;

-- Bob's other login approves what he asked for, and the request is dismissed later: he approves. A comment by ann's other login is her answer.
-- Who is asked for a review of a draft has no turn until it is ready.
UPDATE keypup.identities i SET person_id = o.person_id FROM keypup.identities o
WHERE i.account_id = :'account' AND i.connection_id = :'connection_id' AND o.account_id = i.account_id AND o.connection_id = i.connection_id AND (i.login, o.login) IN (('eve', 'bob'), ('ann-home', 'ann'));
SELECT pg_temp.pull(80, 'by another login', 'ann', 0, NULL), pg_temp.review(80, 'r1', 'bob', 'dismissed', 2), pg_temp.event(80, 'e1', 'review_dismissed', 5, 'bob', 'changes_requested', 'r1'), pg_temp.review(80, 'r2', 'eve', 'approved', 3),
  pg_temp.pull(81, 'answered by another login', 'ann', 0, NULL), pg_temp.review(81, 'r1', 'bob', 'changes_requested', 2), pg_temp.comment(81, 'w1', 'ann-home', 4),
  pg_temp.pull(82, 'asked while a draft', 'ann', 0, 10), pg_temp.event(82, 'e1', 'convert_to_draft', 2), pg_temp.event(82, 'e2', 'review_requested', 3, 'bob'), pg_temp.event(82, 'e3', 'ready_for_review', 8);
SELECT keypup.derive_pull_requests(:'account', :'project_id', '{80,81,82}');
SELECT m.review_state, v.review_state, n.recommended_action FROM keypup.pull_request_metrics m JOIN keypup.pull_request_verdicts v USING (account_id, project_id, number)
JOIN keypup.pull_request_next_steps n USING (account_id, project_id, number) WHERE account_id = :'account' AND number = 80;
SELECT number, place, waiting_for, pg_temp.hour(start_at) AS start, pg_temp.hour(end_at) AS end FROM keypup.pull_request_waiting WHERE account_id = :'account' AND number IN (81, 82) ORDER BY number, place;

DROP VIEW pg_temp.seen;
DELETE FROM keypup.accounts;
DROP EXTENSION keypup CASCADE;
