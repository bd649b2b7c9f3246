-- Small histories of reviews, with the right answers beside them. All times are hours from 2026-10-05 (a Monday) 0:00 UTC.
SET client_min_messages = warning;
\set SHOW_CONTEXT never
SET timezone = 'UTC';
\pset null '-'
CREATE EXTENSION IF NOT EXISTS keypup;
SELECT keypup.create_account('hand') AS account \gset
INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by) VALUES (:'account', 'github', 'h', 'https://api.github.com', 'me') RETURNING connection_id \gset
INSERT INTO keypup.projects (account_id, connection_id, name, tracked_by) VALUES (:'account', :'connection_id', 'h/pr', 'me') RETURNING project_id \gset
CREATE FUNCTION pg_temp.at(hours double precision) RETURNS timestamptz LANGUAGE sql AS $$ SELECT timestamptz '2026-10-05' + hours * interval '1 hour' $$;
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

-- A machine user approves after a minute; the second login of the author's person approves.
SELECT pg_temp.pull(4, 'self approval by a second login', 'ann', 0, 9), pg_temp.review(4, 'r1', 'ann-home', 'approved', 1);
SELECT pg_temp.pull(5, 'only a machine user approved', 'ann', 0, 9), pg_temp.review(5, 'r1', 'acme-ci-robot', 'approved', 0.25), pg_temp.comment(5, 'c1', 'acme-ci-robot', 0.5);
SELECT pg_temp.pull(8, 'by the machine user', 'acme-ci-robot', 0, 5), pg_temp.review(8, 'r1', 'bob', 'approved', 2);
INSERT INTO keypup.issues (account_id, project_id, number, external_id, key, title, state, author, created_at, updated_at) VALUES (:'account', :'project_id', 500, 500, '#500', 'i', 'open', 'ann', pg_temp.at(0), pg_temp.at(0));
INSERT INTO keypup.comments (account_id, project_id, item_kind, item_number, external_id, author, created_at)
SELECT :'account', :'project_id', 'issue', 500, 'i' || n, author, pg_temp.at(n) FROM (VALUES (1, 'acme-ci-robot'), (5, 'bob')) AS v(n, author);
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

DROP VIEW pg_temp.seen;
DELETE FROM keypup.accounts;
DROP EXTENSION keypup CASCADE;
