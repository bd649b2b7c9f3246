-- Small histories of checks, conflicts and branch rules, with the right answers beside them. All times are minutes from 2024-10-07 0:00 UTC.
SET client_min_messages = warning;
\set VERBOSITY terse
SET timezone = 'UTC';
\pset null '-'
CREATE EXTENSION IF NOT EXISTS keypup;
SELECT keypup.create_account('built') AS account \gset
INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by) VALUES (:'account', 'github', 'h', 'https://api.github.com', 'me') RETURNING connection_id \gset
INSERT INTO keypup.projects (account_id, connection_id, name, tracked_by) VALUES (:'account', :'connection_id', 'b/pr', 'me') RETURNING project_id \gset
CREATE FUNCTION pg_temp.at(minutes double precision) RETURNS timestamptz LANGUAGE sql AS $$ SELECT timestamptz '2024-10-07' + minutes * interval '1 minute' $$;
CREATE FUNCTION pg_temp.pull(n bigint, asked text[] DEFAULT '{}', draft boolean DEFAULT false) RETURNS void LANGUAGE sql AS $$
  INSERT INTO keypup.pull_requests (account_id, project_id, number, external_id, global_id, key, title, state, is_draft, author, created_at, updated_at, base_branch, requested_reviewers)
  SELECT account_id, project_id, n, n, 'PR_' || n, '#' || n, 'p', 'open', draft, 'ann', pg_temp.at(0), pg_temp.at(0), 'main', asked FROM keypup.projects WHERE name = 'b/pr' $$;
CREATE FUNCTION pg_temp.review(n bigint, author text, state text) RETURNS void LANGUAGE sql AS $$
  INSERT INTO keypup.reviews (account_id, project_id, pull_request_number, external_id, author, state, submitted_at)
  SELECT account_id, project_id, n, author, author, state, pg_temp.at(5) FROM keypup.projects WHERE name = 'b/pr' $$;
CREATE FUNCTION pg_temp.stands(n bigint, conflicts boolean DEFAULT false, behind boolean DEFAULT false, checks text DEFAULT NULL, decision text DEFAULT NULL, required bigint DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
  SELECT keypup.store_pull_request_merge_states(account_id, project_id, ARRAY[ROW(n, 'PR_' || n, pg_temp.at(0), 'c' || n, conflicts, behind, checks, decision, required)::keypup.provided_pull_request_merge_states])
  FROM keypup.projects WHERE name = 'b/pr' $$;
CREATE FUNCTION pg_temp.run(n bigint, id text, head text, of_name text, conclusion text, started double precision, completed double precision, kind text DEFAULT 'check_run', of_workflow text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
  SELECT keypup.store_pull_request_checks(account_id, project_id, ARRAY[ROW(n, id, head, kind, of_workflow, of_name, CASE WHEN completed IS NULL THEN 'in_progress' ELSE 'completed' END, conclusion, pg_temp.at(started), pg_temp.at(completed))
    ::keypup.provided_pull_request_checks]) FROM keypup.projects WHERE name = 'b/pr' $$;

-- What is to be done next. 1: nothing is known of how it stands: as ever. 2: a draft with conflicts. 3: conflicts, a failed check, nobody asked. 4: behind. 5: a failed check and nobody asked.
SELECT pg_temp.pull(1), pg_temp.pull(2, draft => true), pg_temp.stands(2, conflicts => true), pg_temp.pull(3), pg_temp.stands(3, conflicts => true, checks => 'failure', required => 1),
  pg_temp.pull(4), pg_temp.stands(4, behind => true, checks => 'success'), pg_temp.pull(5), pg_temp.stands(5, checks => 'failure', required => 2);
-- Two approvals are asked for. 6: nobody is asked: 2 missing. 7: bob approved: 1 missing. 8: bob approved and eve is asked: she reviews. 9: both approved. 10: a team is asked, which may have two. 11: bob asked for changes, nobody else is asked: 1 missing.
SELECT pg_temp.pull(6), pg_temp.stands(6, required => 2), pg_temp.pull(7), pg_temp.review(7, 'bob', 'approved'), pg_temp.stands(7, required => 2), pg_temp.pull(8, '{eve}'), pg_temp.review(8, 'bob', 'approved'),
  pg_temp.stands(8, required => 2), pg_temp.pull(9), pg_temp.review(9, 'bob', 'approved'), pg_temp.review(9, 'eve', 'approved'), pg_temp.stands(9, checks => 'success', decision => 'approved', required => 2),
  pg_temp.pull(10, '{b/core}'), pg_temp.stands(10, required => 2), pg_temp.pull(11), pg_temp.review(11, 'bob', 'changes_requested'), pg_temp.stands(11, required => 2);
-- 12: eve commented and bob approved: she has not decided, and reviews. 13: approved, and the checks go on. 14: approved enough, yet the provider wants another's: one is missing. 15: the same, and eve is asked. 16: it is not known whether there are conflicts.
SELECT pg_temp.pull(12), pg_temp.review(12, 'bob', 'approved'), pg_temp.review(12, 'eve', 'commented'), pg_temp.stands(12, required => 2), pg_temp.pull(13), pg_temp.review(13, 'bob', 'approved'),
  pg_temp.stands(13, checks => 'pending', required => 1), pg_temp.pull(14), pg_temp.review(14, 'bob', 'approved'), pg_temp.stands(14, decision => 'review_required', required => 1),
  pg_temp.pull(15, '{eve}'), pg_temp.review(15, 'bob', 'approved'), pg_temp.stands(15, decision => 'review_required', required => 1), pg_temp.pull(16), pg_temp.review(16, 'bob', 'approved'), pg_temp.stands(16, conflicts => NULL, behind => NULL);
SELECT number, review_state, recommended_action AS action, recommended_actor_usernames AS actors, has_conflicts AS conflicts, is_behind AS behind, check_state AS checks, required_approvals AS required, missing_reviewers AS missing
FROM keypup.pull_request_next_steps WHERE account_id = :'account' ORDER BY number;
SELECT number, recommended_action FROM keypup.pull_request_fields WHERE account_id = :'account' AND number IN (3, 5, 6, 9) ORDER BY number;

-- Checks. 1, commit a: all pass within 10 minutes. 1, commit b: test fails, is run again and passes 50 minutes after the start; docs are skipped. 3: lint fails for good. 4: one goes on. 5: one was cancelled. 6: a commit status failed, and another came.
SELECT pg_temp.run(1, '1', 'a', 'build', 'success', 0, 10), pg_temp.run(1, '2', 'a', 'test', 'success', 1, 9),
  pg_temp.run(1, '3', 'b', 'build', 'success', 100, 110), pg_temp.run(1, '4', 'b', 'test', 'failure', 101, 120), pg_temp.run(1, '5', 'b', 'test', 'success', 130, 150), pg_temp.run(1, '6', 'b', 'docs', 'skipped', 100, 100);
SELECT pg_temp.stands(1), pg_temp.run(3, '7', 'c3', 'lint', 'timed_out', 0, 60), pg_temp.run(3, '8', 'c3', 'build', 'success', 0, 5), pg_temp.run(4, '9', 'c4', 'build', NULL, 0, NULL), pg_temp.run(4, '10', 'c4', 'test', 'success', 0, 5),
  pg_temp.run(5, '11', 'c5', 'build', 'cancelled', 0, 1), pg_temp.run(5, '12', 'c5', 'test', 'success', 0, 4), pg_temp.run(6, '13', 'c6', 'ci/x', 'failure', NULL, 3, 'commit_status'), pg_temp.run(6, '14', 'c6', 'ci/x', 'success', NULL, 8, 'commit_status');
-- The same commit is the newest of another pull request; a run that passed first and failed then is not flaky; nor are two checks of one name and two kinds one, or of two workflows.
SELECT pg_temp.run(7, '4', 'b', 'test', 'failure', 101, 120), pg_temp.run(7, '5', 'b', 'test', 'success', 130, 150), pg_temp.run(8, '15', 'c8', 'late', 'success', 0, 4), pg_temp.run(8, '16', 'c8', 'late', 'failure', 5, 9),
  pg_temp.run(9, '17', 'c9', 'both', 'failure', 0, 4), pg_temp.run(9, '18', 'c9', 'both', 'success', NULL, 9, 'commit_status'),
  pg_temp.run(9, '19', 'c9', 'build', 'failure', 0, 4, of_workflow => 'CI'), pg_temp.run(9, '20', 'c9', 'build', 'success', 0, 9, of_workflow => 'Release');
SELECT number, head_commit AS head, is_newest AS newest, checks, runs, passed_checks AS passed, failed_checks AS failed, pending_checks AS pending, build_state AS state, has_failed_once AS failed_once, time_to_green
FROM keypup.pull_request_builds WHERE account_id = :'account' ORDER BY number, head_commit;
SELECT number, head_commit AS head, time_to_green_hours FROM keypup.pull_request_builds_hours WHERE account_id = :'account' AND number = 1 ORDER BY head_commit;
-- test: on commits a, b; failed and passed then on b, once. ci/x on one of one.
SELECT project, kind, workflow, name, commits, failed_commits, flaky_commits, flaky_share, delay, last_flaky_at FROM keypup.flaky_checks WHERE account_id = :'account' ORDER BY name;
-- A run that ends is the same run; one that has not ended has no end.
SELECT pg_temp.run(4, '9', 'c4', 'build', 'success', 0, 30);
SELECT number, build_state, time_to_green FROM keypup.pull_request_builds WHERE account_id = :'account' AND number = 4;
INSERT INTO keypup.pull_request_checks (account_id, project_id, pull_request_number, external_id, head_commit, kind, name, status, conclusion) VALUES (:'account', :'project_id', 4, 'x', 'c4', 'check_run', 'x', 'queued', 'success');
-- Commits. ann has two logins; bob's second commit is in two pull requests; nobody knows who wrote one; a robot wrote one, and is marked only later. 23:30 UTC is the next day in Paris.
INSERT INTO keypup.people (account_id, person_id, name) SELECT :'account', ('00000000-0000-0000-0000-00000000000' || n)::uuid, name FROM (VALUES (1, 'Ann'), (2, 'Bob'), (3, 'Robot')) AS v(n, name);
INSERT INTO keypup.identities (account_id, connection_id, external_id, login, kind, person_id) SELECT :'account', :'connection_id', 'U' || login, login, 'user', ('00000000-0000-0000-0000-00000000000' || n)::uuid
FROM (VALUES ('ann', 1), ('ann-home', 1), ('bob', 2), ('robot', 3)) AS v(login, n);
SELECT count(*) FROM keypup.store_pull_request_commits(:'account', :'project_id', ARRAY(SELECT ROW(n, n || id, id, author, false, pg_temp.at(minutes))::keypup.provided_pull_request_commits
  FROM (VALUES (4, 'k1', 'ann', 0), (4, 'k2', 'ann-home', 10), (4, 'k3', 'bob', 20), (4, 'k4', 'bob', 1410), (5, 'k4', 'bob', 1410), (5, 'k5', NULL, 30), (5, 'k6', 'robot', 40)) AS v(n, id, author, minutes)));
SELECT project, day, person, login, is_bot, commits, pull_requests FROM keypup.commits_daily WHERE account_id = :'account' AND commits > 0 ORDER BY day, person;
-- Each day from the first pull request that is not deleted, not from the first commit, until today has one row without a person and login: nobody knows who wrote k5, which is in it. A clock of long ago makes no days, nor does a project of which no commits are read.
BEGIN;
INSERT INTO keypup.pull_request_commits (account_id, project_id, pull_request_number, external_id, commit_id, author, authored_at) VALUES (:'account', :'project_id', 5, 'old', 'old', 'ann', '4000-01-01 BC');
INSERT INTO keypup.projects (account_id, connection_id, name, tracked_by) VALUES (:'account', :'connection_id', 'a/unread', 'me') RETURNING project_id AS unread \gset
INSERT INTO keypup.pull_requests (account_id, project_id, number, external_id, key, title, state, is_draft, created_at, updated_at) VALUES (:'account', :'unread', 1, 1, 1, 'one', 'open', false, now(), now());
SELECT p.name, count(d.day) = count(DISTINCT d.day) AS each_once, min(d.day) = (SELECT (min(r.created_at) AT TIME ZONE 'UTC')::date FROM keypup.pull_requests r WHERE r.account_id = p.account_id AND r.project_id = p.project_id AND r.deleted_at IS NULL) AS from_first,
  max(d.day) = (now() AT TIME ZONE 'UTC')::date AS until_today, count(*) = max(d.day) - min(d.day) + 1 AS no_gap, sum(d.commits) AS commits, count(*) FILTER (WHERE NOT d.is_complete) AS under_way
FROM keypup.projects p LEFT JOIN keypup.commits_daily d ON d.account_id = p.account_id AND d.project_id = p.project_id AND d.person IS NULL WHERE p.account_id = :'account' GROUP BY p.account_id, p.project_id, p.name ORDER BY p.name;
SELECT day, person, commits FROM keypup.commits_daily WHERE account_id = :'account' AND day < '0001-01-01';
ROLLBACK;
SELECT keypup.set_time_zone('built', 'Europe/Paris'), keypup.mark_bot('built', 'robot');
SELECT day, person, is_bot, commits, pull_requests FROM keypup.commits_daily WHERE account_id = :'account' AND person IN ('Bob', 'Robot') ORDER BY day, person;
-- What is gone is gone with its pull request; a deleted one is in no view.
UPDATE keypup.pull_requests SET deleted_at = now() WHERE account_id = :'account' AND number = 1;
DELETE FROM keypup.pull_requests WHERE account_id = :'account' AND number = 3;
DELETE FROM keypup.pull_requests WHERE account_id = :'account' AND number = 4;
SELECT day, person, commits, pull_requests FROM keypup.commits_daily WHERE account_id = :'account' AND commits > 0 ORDER BY day, person;
SELECT DISTINCT number FROM keypup.pull_request_builds WHERE account_id = :'account' ORDER BY number;
SELECT count(*) FROM keypup.pull_request_merge_states WHERE account_id = :'account' AND pull_request_number = 3;
DELETE FROM keypup.accounts WHERE account_id = :'account';
