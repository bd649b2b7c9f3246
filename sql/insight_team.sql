-- What teams merge and deliver, pull requests by label, first contributions: a small history with the answers beside it.
SET client_min_messages = warning;
\set SHOW_CONTEXT never
SET timezone = 'UTC';
SET datestyle = 'ISO';
\pset null '-'
CREATE EXTENSION IF NOT EXISTS keypup;
SELECT keypup.create_account('team') AS account \gset
INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by) VALUES (:'account', 'github', 'c', 'https://api.github.com', 'me') RETURNING connection_id \gset
INSERT INTO keypup.projects (account_id, connection_id, name, tracked_by) VALUES (:'account', :'connection_id', 'a/b', 'me') RETURNING project_id \gset
INSERT INTO keypup.people (account_id, person_id, name) SELECT :'account', ('00000000-0000-0000-0000-00000000000' || n)::uuid, name FROM (VALUES (1, 'Ann'), (2, 'Bob'), (3, 'Zoe')) AS v(n, name);
-- Ann has two logins, and both are in core.
INSERT INTO keypup.identities (account_id, connection_id, external_id, login, kind, person_id)
SELECT :'account', :'connection_id', login, login, kind, ('00000000-0000-0000-0000-00000000000' || n)::uuid
FROM (VALUES ('ann', 'user', 1), ('ann-home', 'user', 1), ('bob', 'user', 2), ('zoe', 'user', 3), ('ci', 'bot', NULL)) AS v(login, kind, n);
SELECT keypup.set_team('team', 'core', '{ann,ann-home,bob}'), keypup.set_team('team', 'night', '{bob}'), keypup.set_team('team', 'idle', '{}');
UPDATE keypup.team_members SET joined_at = '2024-01-01' WHERE account_id = :'account';
CREATE FUNCTION pg_temp.merge(n bigint, who text, began timestamptz, ended timestamptz, labels text[] DEFAULT '{}') RETURNS void LANGUAGE sql AS $$
  INSERT INTO keypup.pull_requests (account_id, project_id, number, external_id, key, title, state, is_draft, author, author_is_bot, created_at, updated_at, closed_at, merged_at, ready_at, base_branch, labels)
  SELECT account_id, project_id, n, n, '#' || n, 'change', 'merged', false, who, who = 'ci', began, ended, ended, ended, began, 'main', merge.labels
  FROM keypup.projects JOIN keypup.accounts a USING (account_id) WHERE a.name = 'team' $$;

-- By week. Before the first of January nobody was in a team. Bob is in two.
SELECT pg_temp.merge(1, 'ann', '2023-12-30', '2023-12-31'), pg_temp.merge(2, 'ann', '2024-01-02', '2024-01-03', '{bug,ui}'), pg_temp.merge(3, 'bob', '2024-01-02', '2024-01-04', '{bug}'),
  pg_temp.merge(4, 'ann-home', '2024-01-16', '2024-01-17'), pg_temp.merge(5, 'zoe', '2024-01-16', '2024-01-17'), pg_temp.merge(6, 'ci', '2024-01-16', '2024-01-17');
SELECT team, week_start, is_complete, pull_requests_merged, cycle_time_p50, cycle_time_p90 FROM keypup.team_throughput_weekly
WHERE account_id = :'account' AND week_start < '2024-01-22' ORDER BY team, week_start;
SELECT team, count(*) = (date_trunc('week', now())::date - min(week_start)) / 7 + 1 AS has_all_weeks, count(*) FILTER (WHERE NOT is_complete) AS unfinished
FROM keypup.team_throughput_weekly WHERE account_id = :'account' GROUP BY 1 ORDER BY 1;

-- DORA of the last 13 weeks: ann's came with the delivery 19 days ago, bob's with the one 9 days ago, of which an incident came that was closed two days later, and which mended something; zoe's with that 4 days ago.
-- What was merged in January was delivered in February. In one transaction, in which the time stands still.
BEGIN;
SELECT pg_temp.merge(n, who, now() - began * interval '1 day', now() - ended * interval '1 day', labels)
FROM (VALUES (21, 'ann', 22, 20, '{}'::text[]), (22, 'bob', 12, 10, '{Hotfix}'), (23, 'zoe', 6, 5, '{}'), (24, 'ann', 2, 1, '{}')) AS v(n, who, began, ended, labels);
INSERT INTO keypup.deployments (account_id, project_id, external_id, environment, state, ref, created_at, updated_at, commit_at, succeeded_at)
SELECT :'account'::uuid, :'project_id'::bigint, 'd' || n, 'production', 'active', 'main', t, t, t, t FROM unnest('{19,9,4}'::int[]) n CROSS JOIN LATERAL (SELECT now() - n * interval '1 day') AS x(t)
UNION ALL SELECT :'account', :'project_id', 'old', 'production', 'inactive', 'main', f, f, f, f FROM (SELECT timestamptz '2024-02-01') AS x(f);
INSERT INTO keypup.issues (account_id, project_id, number, external_id, key, title, state, state_reason, labels, author, created_at, updated_at, closed_at)
VALUES (:'account', :'project_id', 50, 50, '#50', 'down', 'closed', 'completed', '{incident}', 'zoe', now() - interval '8 days', now() - interval '7 days', now() - interval '7 days');
SELECT team, deployments, failed_changes, deployment_frequency, lead_time_for_changes, change_failure_rate, failed_deployment_recovery_time, rework_deployments, rework_rate FROM keypup.team_dora_metrics
WHERE account_id = :'account' ORDER BY team;
COMMIT;

-- By label: one that has two stands under both, one that has none under none.
SELECT label, count(*), sum(cycle_time) FROM keypup.pull_request_labels WHERE account_id = :'account' AND number < 20 GROUP BY 1 ORDER BY 1;

-- First contributions: of the person, whatever the login.
INSERT INTO keypup.reviews (account_id, project_id, pull_request_number, external_id, author, author_is_bot, state, submitted_at)
VALUES (:'account', :'project_id', 2, 'r1', 'bob', false, 'approved', '2024-01-02 12:00'), (:'account', :'project_id', 3, 'r2', 'ann-home', false, 'approved', '2024-01-03');
SELECT person, is_bot, first_at, first_issue_at IS NOT NULL AS has_issue, first_pull_request_at, first_review_submitted_at, first_comment_at FROM keypup.first_contributions
WHERE account_id = :'account' ORDER BY person;
-- A review of one's own is none.
INSERT INTO keypup.reviews (account_id, project_id, pull_request_number, external_id, author, author_is_bot, state, submitted_at)
VALUES (:'account', :'project_id', 5, 'r3', 'zoe', false, 'commented', '2024-01-16 12:00');
SELECT keypup.derive_pull_requests(:'account', :'project_id', '{2,3,5}');
SELECT person, first_review_submitted_at FROM keypup.first_contributions WHERE account_id = :'account' AND person = 'Zoe';

-- A team that delivered each day of the last five weeks, in a project that began then.
INSERT INTO keypup.projects (account_id, connection_id, name, tracked_by) VALUES (:'account', :'connection_id', 'a/young', 'me') RETURNING project_id AS young \gset
SELECT keypup.set_team('team', 'daily', '{zoe}');
UPDATE keypup.team_members SET joined_at = '2024-06-01' WHERE account_id = :'account' AND team = 'daily';
UPDATE keypup.deployments SET deleted_at = now() WHERE account_id = :'account';
BEGIN;
INSERT INTO keypup.pull_requests (account_id, project_id, number, external_id, key, title, state, is_draft, author, created_at, updated_at, closed_at, merged_at, ready_at, base_branch)
SELECT :'account'::uuid, :'young'::bigint, n, n, '#' || n, 'daily', 'merged', false, 'zoe', t, t, t, t, t, 'main' FROM generate_series(0, 34) n CROSS JOIN LATERAL (SELECT now() - n * interval '1 day' - interval '2 minutes') AS x(t);
INSERT INTO keypup.deployments (account_id, project_id, external_id, environment, state, ref, created_at, updated_at, commit_at, succeeded_at)
SELECT :'account'::uuid, :'young'::bigint, 'y' || n, 'production', 'active', 'main', t, t, t, t FROM generate_series(0, 34) n CROSS JOIN LATERAL (SELECT now() - n * interval '1 day' - interval '1 minute') AS x(t);
SELECT t.team, t.weeks_counted, t.deployments, t.deployment_frequency, d.weeks_counted AS weeks_of_project, d.deployment_frequency AS frequency_of_project
FROM keypup.team_dora_metrics t JOIN keypup.dora_metrics d USING (account_id) WHERE t.account_id = :'account' AND t.team = 'daily' AND d.project = 'a/young';
COMMIT;

-- Who is limited to one project sees the teams of those who are in it, whatever logins were merged since, and no other team.
INSERT INTO keypup.people (account_id, person_id, name) VALUES (:'account', '00000000-0000-0000-0000-000000000009', 'Eve');
INSERT INTO keypup.identities (account_id, connection_id, external_id, login, kind, person_id) VALUES (:'account', :'connection_id', 'zoe2', 'zoe2', 'user', '00000000-0000-0000-0000-000000000009');
SELECT keypup.set_team('team', 'merged', '{zoe2}');
UPDATE keypup.team_members SET joined_at = '2024-01-01' WHERE account_id = :'account' AND team = 'merged';
SELECT keypup.merge_people('team', 'zoe2', 'zoe');
UPDATE keypup.pull_requests SET author = 'zoe2' WHERE account_id = :'account' AND project_id = :young AND number = 3;
CREATE ROLE team_limited; GRANT keypup_member TO team_limited; GRANT USAGE ON SCHEMA keypup TO team_limited;
SELECT keypup.add_member('team', 'team_limited', 'viewer'), keypup.limit_member('team', 'team_limited', '{a/young}');
SET ROLE team_limited;
SELECT team FROM keypup.teams ORDER BY 1;
SELECT team, deployments FROM keypup.team_dora_metrics ORDER BY 1;
SELECT team, sum(pull_requests_merged) FROM keypup.team_throughput_weekly GROUP BY 1 ORDER BY 1;
SELECT login, team, merged_by_rule FROM keypup.person_logins ORDER BY 1;
RESET ROLE;

-- And that is asked once while it must be the same, and no longer: in one transaction others come, are taken back, and the limit changes.
INSERT INTO keypup.identities (account_id, connection_id, external_id, login, kind) SELECT :'account', :'connection_id', n, n, 'user' FROM unnest('{new1,new2,other}'::text[]) n;
UPDATE keypup.pull_requests SET merged_by = 'other' WHERE account_id = :'account' AND project_id <> :young;
CREATE FUNCTION pg_temp.logins_seen() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  seen text;
BEGIN
  SET LOCAL ROLE team_limited;
  SELECT string_agg(login, ' ' ORDER BY login) INTO seen FROM keypup.identities;
  RESET ROLE;
  RETURN seen;
END
$$;
BEGIN;
SELECT pg_temp.logins_seen();
UPDATE keypup.pull_requests SET merged_by = 'new1' WHERE account_id = :'account' AND project_id = :young AND number = 4;
SELECT pg_temp.logins_seen();
SAVEPOINT s;
UPDATE keypup.pull_requests SET merged_by = 'new2' WHERE account_id = :'account' AND project_id = :young AND number = 5;
SELECT pg_temp.logins_seen();
ROLLBACK TO s;
SELECT pg_temp.logins_seen();
SELECT keypup.limit_member('team', 'team_limited', ARRAY(SELECT name FROM keypup.projects WHERE account_id = :'account' AND project_id <> :young));
SELECT pg_temp.logins_seen() LIKE '%other%' AS others;
SELECT keypup.limit_member('team', 'team_limited', '{}');
SELECT pg_temp.logins_seen();
ROLLBACK;
SELECT pg_temp.logins_seen();
UPDATE keypup.pull_requests SET merged_by = 'new2' WHERE account_id = :'account' AND project_id = :young AND number = 5;
SELECT pg_temp.logins_seen();
UPDATE keypup.pull_requests SET merged_by = NULL WHERE account_id = :'account' AND merged_by IN ('new1', 'new2', 'other');
-- Also where all statements of a transaction have one snapshot, and what they changed is undone.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SAVEPOINT s;
UPDATE keypup.pull_requests SET merged_by = 'new1' WHERE account_id = :'account' AND project_id = :young AND number = 4;
SELECT pg_temp.logins_seen();
ROLLBACK TO s;
SELECT pg_temp.logins_seen();
SELECT keypup.remove_member('team', 'team_limited');
SELECT pg_temp.logins_seen();
ROLLBACK TO s;
SELECT pg_temp.logins_seen();
DO $$
BEGIN
  UPDATE keypup.pull_requests SET merged_by = 'new2' WHERE number = 5;
  RAISE EXCEPTION 'seen: %', pg_temp.logins_seen();
EXCEPTION WHEN raise_exception THEN
  RAISE WARNING '%, then %', SQLERRM, pg_temp.logins_seen();
END
$$;
COMMIT;

-- Who is named while logins are one person is in the team under that login, also when the merge is taken back: later has Eve then, and merged both.
SELECT keypup.set_team('team', 'later', '{zoe2}'), keypup.set_team('team', 'merged', '{zoe}');
SELECT team, string_agg(p.name, ', ' ORDER BY p.name) AS members FROM keypup.team_people t JOIN keypup.people p USING (account_id, person_id) WHERE account_id = :'account' AND team IN ('daily', 'later', 'merged') GROUP BY 1 ORDER BY 1;
SELECT keypup.split_person('team', 'zoe2');
SELECT team, string_agg(p.name, ', ' ORDER BY p.name) AS members FROM keypup.team_people t JOIN keypup.people p USING (account_id, person_id) WHERE account_id = :'account' AND team IN ('daily', 'later', 'merged') GROUP BY 1 ORDER BY 1;
DELETE FROM keypup.accounts;
DROP EXTENSION keypup CASCADE;
DROP ROLE team_limited;
