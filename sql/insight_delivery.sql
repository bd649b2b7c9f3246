-- Deliveries on a small history, with the answers beside it. All times are hours from 2024-01-01 (a Monday) 0:00 UTC.
SET client_min_messages = warning;
\set SHOW_CONTEXT never
SET timezone = 'UTC';
\pset null '-'
SELECT keypup.create_account('delivery') AS account \gset
SELECT keypup.create_account('nothing') AS nothing \gset
INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by) VALUES (:'account', 'github', 'c', 'https://api.github.com', 'me') RETURNING connection_id \gset
INSERT INTO keypup.projects (account_id, connection_id, name, default_branch, tracked_by)
SELECT :'account', :'connection_id', n, 'main', 'me' FROM unnest('{a/deploys,a/releases,a/devlake,a/daily,a/weekly,a/rare}'::text[]) n;
CREATE FUNCTION pg_temp.at(hours double precision) RETURNS timestamptz LANGUAGE sql AS $$ SELECT timestamptz '2024-01-01' + hours * interval '1 hour' $$;
CREATE FUNCTION pg_temp.hours(span interval) RETURNS numeric LANGUAGE sql AS $$ SELECT round(extract(epoch FROM span) / 3600, 2) $$;
CREATE FUNCTION pg_temp.project(name text) RETURNS bigint LANGUAGE sql AS $$ SELECT p.project_id FROM keypup.projects p WHERE p.name = $1 $$;

CREATE FUNCTION pg_temp.add_pull_requests(project text, number bigint, first_commit double precision, created double precision, merged double precision, base text DEFAULT 'main') RETURNS void LANGUAGE sql AS $$
  INSERT INTO keypup.pull_requests (account_id, project_id, number, external_id, key, title, state, is_draft, author, created_at, updated_at, first_commit_at, merged_at, base_branch)
  SELECT account_id, project_id, $2, $2, $2, 'p' || $2, CASE WHEN $5 IS NULL THEN 'open' ELSE 'merged' END, false, 'ann', pg_temp.at($4), pg_temp.at($4), pg_temp.at($3), pg_temp.at($5), $6
  FROM keypup.projects WHERE name = $1;
  SELECT keypup.derive_pull_requests(account_id, project_id, ARRAY[$2]) FROM keypup.projects WHERE name = $1
$$;
CREATE FUNCTION pg_temp.add_deployment(project text, id text, environment text, created double precision, commit double precision, succeeded double precision, failed double precision DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
  INSERT INTO keypup.deployments (account_id, project_id, external_id, environment, state, ref, creator, created_at, updated_at, commit_at, succeeded_at, failed_at)
  SELECT account_id, project_id, $2, $3, 'inactive', 'main', 'ann', pg_temp.at($4), pg_temp.at($4), pg_temp.at($5), pg_temp.at($6), pg_temp.at($7) FROM keypup.projects WHERE name = $1
$$;
CREATE FUNCTION pg_temp.add_incident(project text, number bigint, labels text[], type text, created double precision, closed double precision) RETURNS void LANGUAGE sql AS $$
  INSERT INTO keypup.issues (account_id, project_id, number, external_id, key, title, state, labels, type, created_at, updated_at, closed_at)
  SELECT account_id, project_id, $2, $2, $2, 'i' || $2, CASE WHEN $6 IS NULL THEN 'open' ELSE 'closed' END, $3, $4, pg_temp.at($5), pg_temp.at($5), pg_temp.at($6) FROM keypup.projects WHERE name = $1
$$;

-- 2 failed, 3 takes an old commit back into production, 5 is no production, 6 has not ended, 7 failed and then succeeded.
DO $$ BEGIN
  PERFORM pg_temp.add_deployment('a/deploys', '1', 'production', 10, 9, 11), pg_temp.add_deployment('a/deploys', '2', 'production', 20, 19.5, NULL, 20.5),
    pg_temp.add_deployment('a/deploys', '3', 'Production – web', 30, 12, 30.5), pg_temp.add_deployment('a/deploys', '4', 'PROD', 40, 39, 41),
    pg_temp.add_deployment('a/deploys', '5', 'staging', 15, 14, 16), pg_temp.add_deployment('a/deploys', '6', 'production', 200, 199, NULL),
    pg_temp.add_deployment('a/deploys', '7', 'production', 210, 209, 212, 211), pg_temp.add_deployment('a/deploys', '8', 'production', 8, 8, 9);
  UPDATE keypup.deployments SET deleted_at = now() WHERE external_id = '8';
  -- 3 is merged half a minute after the commit of deployment 1, 4 half an hour after that of 4; 5 goes to another branch; 8 is gone.
  PERFORM pg_temp.add_pull_requests('a/deploys', 1, 0, 2, 8), pg_temp.add_pull_requests('a/deploys', 2, 12, 13, 19), pg_temp.add_pull_requests('a/deploys', 3, 8, 8, 9 + 1 / 120.0),
    pg_temp.add_pull_requests('a/deploys', 4, 39, 39, 39.5), pg_temp.add_pull_requests('a/deploys', 5, 0, 1, 5, 'release-1'), pg_temp.add_pull_requests('a/deploys', 6, 290, 290, 300),
    pg_temp.add_pull_requests('a/deploys', 7, 0, 1, NULL), pg_temp.add_pull_requests('a/deploys', 8, 0, 1, 5);
  UPDATE keypup.pull_requests SET deleted_at = now() WHERE number = 8;
  -- 3 is still open, 4 came before any deployment, 5 is none, 6 is closed before it was opened.
  PERFORM pg_temp.add_incident('a/deploys', 101, '{Incident,web}', NULL, 12, 14), pg_temp.add_incident('a/deploys', 102, '{}', 'Outage', 42, 50), pg_temp.add_incident('a/deploys', 103, '{incident}', NULL, 43, NULL),
    pg_temp.add_incident('a/deploys', 104, '{incident}', NULL, 1, 2), pg_temp.add_incident('a/deploys', 105, '{bug}', 'Bug', 12, 13), pg_temp.add_incident('a/deploys', 106, '{incident}', NULL, 13, 5);
END $$;
SELECT external_id AS id, source, environment, name, creator, pg_temp.hours(started_at - pg_temp.at(0)) AS started, pg_temp.hours(deployed_at - pg_temp.at(0)) AS deployed, succeeded
FROM keypup.production_deployments WHERE account_id = :'account' ORDER BY started_at;
-- 1: coding from 0, in production at 11; 2: neither 2, which failed, nor 3, whose commit is older, but 4: 41 - 19; 3: 11 - 8; 4: 212 - 39.
SELECT number, deployment_id AS id, pg_temp.hours(deployed_at - pg_temp.at(0)) AS deployed, pg_temp.hours(deploy_time) AS deploy, pg_temp.hours(change_lead_time) AS lead
FROM keypup.pull_request_delivery WHERE account_id = :'account' ORDER BY number;
SELECT number, state, deployment_id AS id, pg_temp.hours(time_to_restore) AS restore, pg_temp.hours(recovery_time) AS recovery
FROM keypup.incidents WHERE account_id = :'account' ORDER BY number;
-- 1 carried 1 and 3 (11 and 3 h: 7), and 101 and 106 came after it: whole again at 14. 4 waits for 103.
SELECT external_id AS id, succeeded, pull_requests AS carried, pg_temp.hours(change_lead_time_p50) AS lead, incidents, is_failed_change AS failed_change, pg_temp.hours(recovered_at - pg_temp.at(0)) AS recovered, pg_temp.hours(recovered_after) AS recovery
FROM keypup.deployment_metrics WHERE account_id = :'account' ORDER BY started_at;
-- Week 1: 1, 3 and 4 on two days, 2 failed, 1 and 4 broke something: 2 of 3. Lead times 3, 11, 29: p75 is 20, p90 11 + 0.8 * 18 = 25.4.
-- Recoveries of 101 (3 h) and 102 (9 h): 6. Week 2: 7, with 4.
SELECT week_start, deployments AS n, deployment_days AS days, failed_deployments AS failed, failed_changes, round(change_failure_rate::numeric, 4) AS rate, pull_requests_deployed AS carried,
  pg_temp.hours(change_lead_time_p50) AS p50, pg_temp.hours(change_lead_time_p75) AS p75, pg_temp.hours(change_lead_time_p90) AS p90, pg_temp.hours(recovery_time_p50) AS recovery,
  previous_deployments AS n_before, pg_temp.hours(previous_change_lead_time_p50) AS p50_before
FROM keypup.delivery_weekly WHERE account_id = :'account' AND week_start < '2024-01-22' ORDER BY week_start;
SELECT month_start, deployments AS n, deployment_days AS days, failed_deployments AS failed, round(change_failure_rate::numeric, 4) AS rate, pull_requests_deployed AS carried, pg_temp.hours(change_lead_time_p50) AS p50
FROM keypup.delivery_monthly WHERE account_id = :'account' AND month_start < '2024-03-01' ORDER BY month_start;
SELECT v.period, bool_and(v.is_complete = (v.period_start + ('1 ' || v.period)::interval <= date_trunc('day', now() AT TIME ZONE 'UTC'))) AS complete_when_over, bool_and(v.period_start < date_trunc(v.period, now() AT TIME ZONE 'UTC')) AS none_is_of_now
FROM keypup.delivery v WHERE v.account_id = :'account' AND is_complete GROUP BY 1 ORDER BY 1;
SELECT (SELECT count(*) FROM keypup.delivery_weekly WHERE account_id = :'account' AND NOT is_complete) AS weeks_under_way, (SELECT count(*) FROM keypup.delivery_monthly WHERE account_id = :'account' AND NOT is_complete) AS months_under_way,
  (SELECT count(DISTINCT project_id) FROM keypup.production_deployments WHERE account_id = :'account') AS series;
SELECT bool_and(w.n = d.n) AS each_is_in_a_week, count(*) AS series
FROM (SELECT project_id, sum(deployments + failed_deployments) AS n FROM keypup.delivery_weekly WHERE account_id = :'account' GROUP BY project_id) w
JOIN (SELECT project_id, count(*) AS n FROM keypup.production_deployments WHERE account_id = :'account' GROUP BY project_id) d USING (project_id);
-- In Tokyo the 41st hour is 2 o'clock of the third day: three days.
SELECT keypup.set_time_zone('delivery', 'Asia/Tokyo');
SELECT week_start, deployments AS n, deployment_days AS days FROM keypup.delivery_weekly WHERE account_id = :'account' AND week_start < '2024-01-15' ORDER BY week_start;
SELECT keypup.set_time_zone('delivery', 'UTC');

-- What is production, and what is an incident, is for the account to say.
SELECT keypup.set_production_environments('delivery', '{Staging}'), keypup.set_incident_labels('delivery', '{bu_}');
SELECT production_environments, incident_labels FROM keypup.accounts WHERE name = 'delivery';
SELECT external_id, environment, incidents FROM keypup.deployment_metrics WHERE account_id = :'account';
SELECT number, deployment_id, pg_temp.hours(time_to_restore) AS restore FROM keypup.incidents WHERE account_id = :'account';
SELECT keypup.set_production_environments('delivery', '{"a\\"}');
SELECT keypup.set_production_environments('delivery', '{""}');
SELECT keypup.set_production_environments('delivery', NULL);
SELECT keypup.set_incident_labels('delivery', ARRAY[NULL]);
SELECT keypup.set_incident_labels('nowhere', '{incident}');
\set VERBOSITY terse
UPDATE keypup.accounts SET incident_labels = '{"a\\"}' WHERE name = 'delivery';
\set VERBOSITY default
SELECT keypup.set_production_environments('delivery', '{production%,prod,live}'), keypup.set_incident_labels('delivery', '{incident,outage}');
SELECT action, detail FROM keypup.audit_log WHERE account_id = :'account' AND action ~ '^account[.](prod|inc)' AND outcome = 'done' ORDER BY occurred_at, detail;

-- Without a deployment to production the releases count: v1 carries 1, v2 2; neither the candidate nor the draft.
DO $$ BEGIN
  PERFORM pg_temp.add_deployment('a/releases', '1', 'preview', 1, 1, 1);
  INSERT INTO keypup.releases (account_id, project_id, external_id, tag_name, author, is_draft, is_prerelease, created_at, published_at, updated_at, commit_at, deleted_at)
  SELECT p.account_id, p.project_id, v.tag, v.tag, 'ann', v.draft, v.pre, pg_temp.at(v.published), CASE WHEN NOT v.draft THEN pg_temp.at(v.published) END, pg_temp.at(v.published), pg_temp.at(v.commit), CASE WHEN v.gone THEN now() END
  FROM keypup.projects p, (VALUES ('v1', false, false, 24, 23, false), ('v2-rc', false, true, 30, 29, false), ('v1.1', true, false, 31, 30, false), ('v1.2', false, false, 32, 31, true), ('v2', false, false, 48, NULL, false))
    AS v(tag, draft, pre, published, commit, gone) WHERE p.name = 'a/releases';
  PERFORM pg_temp.add_pull_requests('a/releases', 1, 10, 15, 20), pg_temp.add_pull_requests('a/releases', 2, 20, 21, 25), pg_temp.add_pull_requests('a/releases', 3, 23, 23, 23.5);
END $$;
SELECT external_id, source, environment, name, succeeded FROM keypup.production_deployments WHERE project_id = pg_temp.project('a/releases') ORDER BY started_at;
SELECT number, deployment_id, pg_temp.hours(deploy_time) AS deploy, pg_temp.hours(change_lead_time) AS lead FROM keypup.pull_request_delivery WHERE project_id = pg_temp.project('a/releases') ORDER BY number;

-- The six rows of DevLake's own test, in its minutes (coding, pickup, review, deploy, cycle):
--   1440,-,-,-,44640  1440,5,55,2978,4478  -,1,60,1538,1598  5883,-,5760,-,10203  11704,1500,-,-,11764  13144,-,313068,-,13204
-- The first came with the first deployment; of the third the review began after half a minute; of the fourth a day before it was
-- opened; of the fifth a day after the merge; the last three were not deployed.
DO $$ BEGIN
  PERFORM pg_temp.add_deployment('a/devlake', 'd0', 'production', 721, 720.5, 721), pg_temp.add_deployment('a/devlake', 'd1', 'production', 1001 + 2977 / 60.0, 1002, 1001 + 2978 / 60.0),
    pg_temp.add_deployment('a/devlake', 'd2', 'production', 2001 + 1537 / 60.0, 2002, 2001 + 1538 / 60.0);
  PERFORM pg_temp.add_pull_requests('a/devlake', 0, -24, 0, 720), pg_temp.add_pull_requests('a/devlake', 1, 1000 - 24, 1000, 1001), pg_temp.add_pull_requests('a/devlake', 2, 2000.5, 2000, 2001),
    pg_temp.add_pull_requests('a/devlake', 3, 5000 - 5883 / 60.0, 5000, 5072), pg_temp.add_pull_requests('a/devlake', 4, 6000 - 11704 / 60.0, 6000, 6001), pg_temp.add_pull_requests('a/devlake', 5, 9000 - 13144 / 60.0, 9000, 9001);
  INSERT INTO keypup.comments (account_id, project_id, item_kind, item_number, external_id, author, author_is_bot, created_at)
  SELECT p.account_id, p.project_id, v.kind, v.n, v.n || v.author, v.author, v.author = 'ci', pg_temp.at(v.at)
  FROM keypup.projects p, (VALUES ('pull_request', 1, 'ann', 1000.01), ('pull_request', 1, 'ci', 1000 + 5 / 60.0), ('review', 2, 'bob', 2000 + 0.5 / 60), ('pull_request', 3, 'bob', 5000 - 24), ('pull_request', 4, 'bob', 6025), ('issue', 5, 'bob', 100))
    AS v(kind, n, author, at) WHERE p.name = 'a/devlake';
  INSERT INTO keypup.reviews (account_id, project_id, pull_request_number, external_id, author, state, submitted_at)
  SELECT p.account_id, p.project_id, v.n, 'r' || v.n, 'bob', v.state, pg_temp.at(v.at) FROM keypup.projects p, (VALUES (1, 'approved', 1000.5), (0, 'pending', NULL), (5, 'commented', 9001 - 313068 / 60.0)) AS v(n, state, at) WHERE p.name = 'a/devlake';
END $$;
SELECT number, pr_coding_time AS coding, pr_pickup_time AS pickup, pr_review_time AS review, pr_deploy_time AS deploy, pr_cycle_time AS cycle, deployment_id
FROM keypup.dora_devlake_compat WHERE project_id = pg_temp.project('a/devlake') ORDER BY number;
-- Where the author is unknown, anybody's comment counts: ann's too.
UPDATE keypup.pull_requests SET author = NULL WHERE project_id = pg_temp.project('a/devlake') AND number = 1;
SELECT pr_pickup_time FROM keypup.dora_devlake_compat WHERE project_id = pg_temp.project('a/devlake') AND number = 1;
-- Rounded up to whole minutes: of -60, -59, 0, 1, 60 and 61 seconds.
UPDATE keypup.pull_requests SET first_commit_at = created_at - ('{-60,-59,0,1,60,61}'::int[])[number + 1] * interval '1 second' WHERE project_id = pg_temp.project('a/devlake');
SELECT pr_coding_time FROM keypup.dora_devlake_compat WHERE project_id = pg_temp.project('a/devlake') ORDER BY number;

-- DORA's levels: a deployment each day, one each week, and two in all.
INSERT INTO keypup.deployments (account_id, project_id, external_id, environment, state, created_at, updated_at, succeeded_at)
SELECT :'account', pg_temp.project(v.name), d, 'production', 'active', t, t, t
FROM (VALUES ('a/daily', 1), ('a/weekly', 7), ('a/rare', 60)) v(name, every) CROSS JOIN LATERAL generate_series(0, 89, v.every) d CROSS JOIN LATERAL (SELECT now() - d * interval '24 hours' - interval '1 hour' AS t) t;
INSERT INTO keypup.pull_requests (account_id, project_id, number, external_id, key, title, state, is_draft, created_at, updated_at, first_commit_at, merged_at, ready_at, base_branch)
SELECT :'account', pg_temp.project(v.name), n, n, n, n, 'merged', false, m - '1 hour'::interval, m, m - '2 hours'::interval, m, m - '1 hour'::interval, 'main'
FROM (VALUES ('a/daily'), ('a/weekly')) v(name), generate_series(1, 80) n CROSS JOIN LATERAL (SELECT now() - n * interval '24 hours' AS m) m;
INSERT INTO keypup.issues (account_id, project_id, number, external_id, key, title, state, labels, created_at, updated_at, closed_at)
SELECT :'account', pg_temp.project('a/daily'), 1000 + n, n, n, n, 'closed', '{incident}', m, m, m + interval '10 minutes' FROM generate_series(1, 10) n CROSS JOIN LATERAL (SELECT now() - n * interval '24 hours' AS m) m;
SELECT project, deployments AS n, failed_changes AS failed, levels_report AS report, deployment_frequency AS days, deployment_frequency_level AS level, pg_temp.hours(lead_time_for_changes) AS lead, lead_time_for_changes_level AS level,
  round(change_failure_rate::numeric, 4) AS rate, change_failure_rate_level AS level, pg_temp.hours(failed_deployment_recovery_time) AS recovery, failed_deployment_recovery_time_level AS level
FROM keypup.dora_metrics WHERE account_id = :'account' ORDER BY project;
-- By the reports: whatever the value, one level; of each metric three bounds.
SELECT report, metric, string_agg(format('%s %s %s', level, bound, unit), ', ' ORDER BY place) AS bounds FROM keypup.dora_levels WHERE account_id = :'account' GROUP BY 1, 2 ORDER BY 1, 2;
SELECT v.rate, (SELECT string_agg(r.report || ' ' || coalesce((SELECT l.level FROM keypup.dora_levels l WHERE l.account_id = :'account' AND l.report = r.report AND l.metric = 'change_failure_rate' AND v.rate <= l.bound ORDER BY l.place LIMIT 1), 'low'), ', ' ORDER BY r.report)
  FROM unnest('{2021,2023,2024}'::int[]) AS r(report)) AS levels FROM unnest('{0,0.05,0.08,0.12,0.2,0.4}'::double precision[]) AS v(rate) ORDER BY 1;

-- Histories of days and commits. h/twice: two deployments a day for 91 days until yesterday, of which the first is too long ago: never more than 7 days a week.
-- h/young: each of the last 35 days, and nothing before: 5 weeks. h/week: yesterday alone. h/gone: 35 days that ended 120 days ago. h/vain: never succeeded.
SELECT keypup.create_account('hand') AS hand \gset
INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by) VALUES (:'hand', 'github', 'h', 'https://api.github.com', 'me') RETURNING connection_id AS hand_connection \gset
INSERT INTO keypup.projects (account_id, connection_id, name, default_branch, tracked_by)
SELECT :'hand', :'hand_connection', n, 'main', 'me' FROM unnest('{h/twice,h/young,h/week,h/gone,h/vain,h/multi,h/again}'::text[]) n;
CREATE FUNCTION pg_temp.deploy(project text, id text, environment text, created timestamptz, commit timestamptz, succeeds boolean DEFAULT true, ref text DEFAULT 'main') RETURNS void LANGUAGE sql AS $$
  INSERT INTO keypup.deployments (account_id, project_id, external_id, environment, state, ref, creator, created_at, updated_at, commit_at, succeeded_at, failed_at)
  SELECT account_id, project_id, $2, $3, 'inactive', $7, 'ann', $4, $4, $5, CASE WHEN $6 THEN $4 + interval '1 minute' END, CASE WHEN NOT $6 THEN $4 + interval '1 minute' END FROM keypup.projects WHERE name = $1
$$;
DO $$ DECLARE midnight timestamptz := date_trunc('day', now()); BEGIN
  PERFORM pg_temp.deploy('h/twice', 'a' || g, 'production', midnight - g * interval '1 day' + interval '1 hour', midnight - (g + 1) * interval '1 day'),
    pg_temp.deploy('h/twice', 'b' || g, 'production', midnight - g * interval '1 day' + interval '22 hours', midnight - (g + 1) * interval '1 day') FROM generate_series(1, 91) g;
  PERFORM pg_temp.deploy('h/young', g::text, 'production', midnight - g * interval '1 day', midnight - g * interval '1 day' - interval '1 hour') FROM generate_series(1, 35) g;
  PERFORM pg_temp.deploy('h/gone', g::text, 'production', midnight - (120 + g) * interval '1 day', midnight - (120 + g) * interval '1 day' - interval '1 hour') FROM generate_series(1, 35) g;
  PERFORM pg_temp.deploy('h/week', '1', 'production', midnight - interval '1 day', midnight - interval '1 day'), pg_temp.deploy('h/vain', '1', 'production', midnight - interval '1 day', midnight - interval '1 day', false);
END $$;
SELECT project, weeks_counted AS weeks, deployments AS n, failed_deployments AS failed, deployment_frequency AS days, deployment_frequency_level AS level, round(change_failure_rate::numeric, 4) AS rate, change_failure_rate_level AS level,
  lead_time_for_changes_level AS level FROM keypup.dora_metrics WHERE account_id = :'hand' ORDER BY project;
-- h/multi: a commit goes to three regions within a minute: one change, and the incident 1 is its failure: 1 of 1. In the week after, another goes to one: duplicates, and what is not planned, are
-- no incidents (2 and 3); 4 was opened again, and is one. h/again, all of one commit but 6 to 8: 1 failed and 2 succeeded within the hour: one change that succeeded. 3 is begun an hour and a minute after
-- 2: another, and 4 of the same; 5 comes three quarters after 4, when the hour of 3 is over: another again. 6 is of another branch; of 7 and 8 no commit is known; 9 has not ended.
DO $$ BEGIN
  PERFORM pg_temp.deploy('h/multi', 'eu', 'production-eu', pg_temp.at(0), pg_temp.at(-1)), pg_temp.deploy('h/multi', 'us', 'production-us', pg_temp.at(1 / 120.0), pg_temp.at(-1)), pg_temp.deploy('h/multi', 'ap', 'production-ap', pg_temp.at(1 / 60.0), pg_temp.at(-1)),
    pg_temp.deploy('h/multi', 'b', 'production-eu', pg_temp.at(240), pg_temp.at(239));
  PERFORM pg_temp.add_incident('h/multi', 1, '{incident}', NULL, 24, 48), pg_temp.add_incident('h/multi', 2, '{incident}', NULL, 264, 288), pg_temp.add_incident('h/multi', 3, '{incident}', NULL, 264, 432), pg_temp.add_incident('h/multi', 4, '{incident}', NULL, 264, NULL);
  UPDATE keypup.issues SET state_reason = CASE number WHEN 1 THEN 'completed' WHEN 2 THEN 'duplicate' WHEN 3 THEN 'not_planned' ELSE 'duplicate' END WHERE project_id = pg_temp.project('h/multi');
  PERFORM pg_temp.deploy('h/again', '1', 'production', pg_temp.at(1), pg_temp.at(0), false), pg_temp.deploy('h/again', '2', 'production', pg_temp.at(2), pg_temp.at(0)), pg_temp.deploy('h/again', '3', 'production', pg_temp.at(3 + 1 / 60.0), pg_temp.at(0)),
    pg_temp.deploy('h/again', '4', 'production', pg_temp.at(3.75), pg_temp.at(0), false), pg_temp.deploy('h/again', '5', 'prod', pg_temp.at(4.5), pg_temp.at(0)), pg_temp.deploy('h/again', '6', 'production', pg_temp.at(1), pg_temp.at(0), true, 'other'),
    pg_temp.deploy('h/again', '7', 'production', pg_temp.at(1), NULL), pg_temp.deploy('h/again', '8', 'production', pg_temp.at(1), NULL), pg_temp.deploy('h/again', '9', 'production', pg_temp.at(200), pg_temp.at(199));
  UPDATE keypup.deployments SET succeeded_at = NULL WHERE project_id = pg_temp.project('h/again') AND external_id = '9';
END $$;
SELECT project, external_id AS id, environment, environments, name, pg_temp.hours(started_at - pg_temp.at(0)) AS started, pg_temp.hours(deployed_at - pg_temp.at(0)) AS deployed, succeeded
FROM keypup.production_deployments WHERE account_id = :'hand' AND project IN ('h/multi', 'h/again') ORDER BY 1, started_at, 2;
SELECT week_start, deployments AS n, failed_changes, round(change_failure_rate::numeric, 4) AS rate, pg_temp.hours(recovery_time_p50) AS recovery FROM keypup.delivery_weekly WHERE account_id = :'hand' AND project = 'h/multi' AND week_start < '2024-01-22' ORDER BY 1;
SELECT number, deployment_id AS id, pg_temp.hours(recovery_time) AS recovery FROM keypup.incidents WHERE account_id = :'hand' ORDER BY 1;
-- h/edge: a commit fails at 1:00 and 1:50 and succeeds at 2:12, when the hour that began at 1:00 is over: one change, begun at 1:00. At 3:06 it is deployed again, after a success: another one. On branch
-- slow it is begun at 10:00, fails at 11:30, and is tried again half an hour after that: one change. On branch late it is tried again after more than an hour: two changes, of which one failed.
-- h/tag: what was tried failed, but there are releases; h/vain above has no release, and has a row of failures.
INSERT INTO keypup.projects (account_id, connection_id, name, default_branch, tracked_by) SELECT :'hand', :'hand_connection', n, 'main', 'me' FROM unnest('{h/edge,h/tag,h/rework}'::text[]) n;
DO $$ BEGIN
  PERFORM pg_temp.deploy('h/edge', '1', 'production', pg_temp.at(1), pg_temp.at(0), false), pg_temp.deploy('h/edge', '2', 'production', pg_temp.at(1 + 50 / 60.0), pg_temp.at(0), false), pg_temp.deploy('h/edge', '3', 'production', pg_temp.at(2.2), pg_temp.at(0)),
    pg_temp.deploy('h/edge', '4', 'production', pg_temp.at(3.1), pg_temp.at(0)),
    pg_temp.deploy('h/edge', '5', 'production', pg_temp.at(10), pg_temp.at(0), false, 'slow'), pg_temp.deploy('h/edge', '6', 'production', pg_temp.at(12), pg_temp.at(0), true, 'slow'),
    pg_temp.deploy('h/edge', '7', 'production', pg_temp.at(20), pg_temp.at(0), false, 'late'), pg_temp.deploy('h/edge', '8', 'production', pg_temp.at(22), pg_temp.at(0), true, 'late'),
    pg_temp.deploy('h/tag', '1', 'production', pg_temp.at(20), pg_temp.at(0), false);
  UPDATE keypup.deployments SET failed_at = pg_temp.at(11.5) WHERE project_id = pg_temp.project('h/edge') AND external_id = '5';
  INSERT INTO keypup.releases (account_id, project_id, external_id, tag_name, is_draft, is_prerelease, created_at, published_at, updated_at)
  SELECT account_id, project_id, 'v1', 'v1', false, false, pg_temp.at(24), pg_temp.at(24), pg_temp.at(24) FROM keypup.projects WHERE name = 'h/tag';
END $$;
SELECT project, source, external_id AS id, name, pg_temp.hours(started_at - pg_temp.at(0)) AS started, pg_temp.hours(deployed_at - pg_temp.at(0)) AS deployed, succeeded
FROM keypup.production_deployments WHERE account_id = :'hand' AND project IN ('h/edge', 'h/tag') ORDER BY 1, started_at;

-- h/rework, by days ago: 10 carries 1, which was planned; 9 carries 2, a hotfix by its label; 8 a revert, and what a bot opened; 7 what closes the incident 900, and something planned; 6 puts the reverted one back;
-- 5 carries nothing; 4 has a label of incidents; 3.5 failed, and 3 carries the hotfix 9; 2 carries what a bot opened. Of nine that succeeded, 9, 8, 4 and 3 were made to mend: 4 of 9.
DO $$ DECLARE midnight timestamptz := date_trunc('day', now()); BEGIN
  PERFORM pg_temp.deploy('h/rework', 'd' || d, 'production', midnight - d * interval '1 day', midnight - d * interval '1 day', d <> 3.5) FROM unnest('{10,9,8,7,6,5,4,3.5,3,2}'::numeric[]) d;
  INSERT INTO keypup.pull_requests (account_id, project_id, number, external_id, key, title, state, is_draft, author, author_is_bot, created_at, updated_at, merged_at, ready_at, base_branch, labels, closes_issues)
  SELECT j.account_id, j.project_id, v.n, v.n, v.n, v.title, 'merged', false, v.author, v.author = 'ci', m.at, m.at, m.at, m.at, 'main', v.labels::text[], v.closes::bigint[]
  FROM keypup.projects j, (VALUES (1, 10, 'one', 'ann', '{}', '{}'), (2, 9, 'two', 'ann', '{x,HotFix}', '{}'), (3, 8, 'Revert "one"', 'ann', '{}', '{}'), (4, 8, 'four', 'ci', '{}', '{}'), (5, 7, 'five', 'bob', '{}', '{900}'),
    (6, 7, 'six', 'ann', '{bug}', '{901}'), (7, 6, 'Reapply "one"', 'ann', '{}', '{}'), (8, 4, 'eight', 'ann', '{Incident}', '{}'), (9, 3.7, 'nine', 'ann', '{hot-fix}', '{}'), (10, 2, 'ten', 'ci', '{}', '{}')) AS v(n, days, title, author, labels, closes)
  CROSS JOIN LATERAL (SELECT midnight - v.days * interval '1 day' - interval '1 hour' AS at) AS m WHERE j.name = 'h/rework';
  INSERT INTO keypup.issues (account_id, project_id, number, external_id, key, title, state, labels, created_at, updated_at, closed_at)
  SELECT account_id, project_id, n, n, n, 'i', 'closed', CASE n WHEN 900 THEN '{incident}' ELSE '{bug}' END::text[], midnight - interval '8 days 12 hours', midnight - interval '7 days', midnight - interval '7 days'
  FROM keypup.projects, unnest('{900,901}'::bigint[]) n WHERE name = 'h/rework';
END $$;
SELECT number, deployment_id AS id, rework_reason FROM keypup.pull_request_delivery WHERE account_id = :'hand' AND project = 'h/rework' ORDER BY number;
SELECT external_id AS id, pull_requests AS carried, rework_pull_requests AS mending, is_rework FROM keypup.deployment_metrics WHERE account_id = :'hand' AND project = 'h/rework' ORDER BY started_at;
SELECT deployments AS n, failed_deployments AS failed, rework_deployments AS rework, round(rework_rate::numeric, 4) AS rate, failed_changes FROM keypup.dora_metrics WHERE account_id = :'hand' AND project = 'h/rework';
-- By other labels: without hotfix 2 and 9 are plans. A project without a success has no rate.
SELECT keypup.set_rework_labels('hand', '{URGENT%}');
SELECT project, rework_deployments AS rework, round(rework_rate::numeric, 4) AS rate FROM keypup.dora_metrics WHERE account_id = :'hand' AND project IN ('h/rework', 'h/vain', 'h/young') ORDER BY 1;
SELECT keypup.set_rework_labels('hand', '{"a\\"}');
SELECT keypup.set_rework_labels('nowhere', '{hotfix}');
SELECT rework_labels FROM keypup.accounts WHERE account_id = :'hand';
SELECT action, detail FROM keypup.audit_log WHERE account_id = :'hand' AND action = 'account.rework_labels' AND outcome = 'done';

-- The window is the account's: of half a minute, of half an hour, none.
SELECT keypup.set_deployment_window('hand', '30 seconds');
SELECT string_agg(external_id || ' ' || environments, ', ' ORDER BY started_at, external_id) FROM keypup.production_deployments WHERE project_id = pg_temp.project('h/multi');
SELECT keypup.set_deployment_window('hand', '30 minutes');
SELECT string_agg(external_id || ' ' || environments, ', ' ORDER BY started_at, external_id) FROM keypup.production_deployments WHERE project_id = pg_temp.project('h/again');
SELECT keypup.set_deployment_window('hand', '0');
SELECT string_agg(external_id || ' ' || environments, ', ' ORDER BY started_at, external_id) FROM keypup.production_deployments WHERE project_id IN (pg_temp.project('h/multi'), pg_temp.project('h/again'));
SELECT keypup.set_deployment_window('hand', '-1 second');
SELECT keypup.set_deployment_window('hand', '8 days');
SELECT keypup.set_deployment_window('hand', NULL);
SELECT keypup.set_deployment_window('nowhere', '1 hour');
SELECT action, detail FROM keypup.audit_log WHERE account_id = :'hand' AND action = 'account.deployment_window' AND outcome = 'done' ORDER BY occurred_at, detail;

-- Of the views of issues and deliveries each names its project, and a column has one type wherever it is: counts are bigint, shares double precision. None.
CREATE VIEW pg_temp.columns AS SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) AS type FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'keypup'::regnamespace AND c.relkind = 'v' AND c.relname ~ '^(delivery|deployment_metrics|dora_|production_deployments|project_deliveries|incidents|issue_(flow|labels|throughput|reopen|ageing|transitions|metrics|pull_request_links|next_steps)|throughput|milestone_|moving_|items_|pull_request_(delivery|next_steps))';
SELECT c.relname FROM pg_temp.columns c WHERE c.relname <> 'dora_levels' GROUP BY 1 HAVING NOT bool_or(c.attname = 'project') OR NOT bool_or(c.attname = 'project_id');
SELECT c.attname, string_agg(DISTINCT c.type, ', ') FROM pg_temp.columns c GROUP BY 1 HAVING count(DISTINCT c.type) > 1;
SELECT c.relname, c.attname, c.type FROM pg_temp.columns c WHERE c.type IN ('numeric', 'integer', 'smallint', 'real') OR c.attname LIKE '%rate' AND c.type <> 'double precision';
DROP VIEW pg_temp.columns;

-- The main branch was renamed since: what was merged into it is delivered, where it is plain that it was it.
BEGIN;
UPDATE keypup.pull_requests SET base_branch = 'master' WHERE project_id = pg_temp.project('a/deploys') AND number = 2;
SELECT is_into_main, deployment_id FROM keypup.pull_request_delivery WHERE project_id = pg_temp.project('a/deploys') AND number = 2;
UPDATE keypup.projects SET default_branch = 'develop' WHERE project_id = pg_temp.project('a/deploys');
SELECT is_into_main, deployment_id FROM keypup.pull_request_delivery WHERE project_id = pg_temp.project('a/deploys') AND number = 2;
ROLLBACK;

-- An account without rows: none.
SELECT (SELECT count(*) FROM keypup.delivery WHERE account_id = :'nothing') AS delivery, (SELECT count(*) FROM keypup.dora_metrics WHERE account_id = :'nothing') AS dora, (SELECT count(*) FROM keypup.deployment_metrics WHERE account_id = :'nothing') AS metrics,
  (SELECT count(*) FROM keypup.dora_devlake_compat WHERE account_id = :'nothing') AS devlake, (SELECT count(*) FROM keypup.pull_request_delivery WHERE account_id = :'nothing') AS carried, (SELECT count(*) FROM keypup.incidents WHERE account_id = :'nothing') AS incidents;
DELETE FROM keypup.accounts;
