-- What BI tools need beside the metrics: a calendar to join with, and durations in hours.
SET client_min_messages = warning;
\set SHOW_CONTEXT never
SET timezone = 'UTC';
SET datestyle = 'ISO';
\pset null '-'
CREATE EXTENSION IF NOT EXISTS keypup;
SELECT count(keypup.create_account('bi ' || a)) FROM unnest('{paris,apia,none}'::text[]) a;
INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by)
SELECT account_id, 'github', 'c', 'https://api.github.com', 'me' FROM keypup.accounts WHERE name LIKE 'bi %';
INSERT INTO keypup.projects (account_id, connection_id, name, tracked_by)
SELECT p.account_id, p.connection_id, 'a/b', 'me' FROM keypup.connections p JOIN keypup.accounts a USING (account_id) WHERE a.name LIKE 'bi %';
SELECT keypup.set_time_zone('bi paris', 'Europe/Paris'), keypup.set_time_zone('bi apia', 'Pacific/Apia');
-- 23:30 in UTC is the next day in Paris, which goes over to summer time that Sunday. Apia had no December 30, 2011.
INSERT INTO keypup.issues (account_id, project_id, number, external_id, key, title, state, created_at, updated_at)
SELECT account_id, project_id, 1, 1, '#1', 'one', 'open', t, t FROM keypup.projects JOIN keypup.accounts a USING (account_id)
JOIN (VALUES ('bi paris', timestamptz '2024-03-28 23:30+00'), ('bi apia', '2011-12-29 12:00+00')) AS v(name, t) ON v.name = a.name;
INSERT INTO keypup.releases (account_id, project_id, external_id, tag_name, is_draft, is_prerelease, created_at, updated_at)
SELECT account_id, project_id, 'r', 'v1', false, false, '2024-03-29', '2024-03-29' FROM keypup.projects JOIN keypup.accounts a USING (account_id) WHERE a.name = 'bi paris';

-- From the Monday before the first item.
SELECT day, week_start, iso_week, month_start, quarter_start, day_of_week, starts_at, ends_at, ends_at - starts_at AS long, is_complete, is_week_complete, is_month_complete
FROM keypup.calendar WHERE account = 'bi paris' AND day <= '2024-04-02' ORDER BY day;
SELECT day, starts_at, ends_at FROM keypup.calendar WHERE account = 'bi apia' AND day <= '2012-01-01' ORDER BY day;
SELECT count(*) FROM keypup.calendar WHERE account = 'bi none';
-- Up to today, which has not ended; nor have its week and its month.
SELECT a.name, max(c.day) = (now() AT TIME ZONE a.time_zone)::date AS ends_today, count(*) FILTER (WHERE NOT c.is_complete) AS days,
  bool_and(c.is_week_complete = (c.week_start < date_trunc('week', now() AT TIME ZONE a.time_zone))) AS weeks,
  bool_and(c.is_month_complete = (c.month_start < date_trunc('month', now() AT TIME ZONE a.time_zone))) AS months,
  count(*) = max(c.day) - min(c.day) + 1 AS has_no_gap
FROM keypup.calendar c JOIN keypup.accounts a USING (account_id) WHERE a.name LIKE 'bi %' GROUP BY 1, a.time_zone ORDER BY 1;
-- Every issue is of one day.
SELECT c.account, c.day, i.number FROM keypup.issues i JOIN keypup.calendar c ON c.account_id = i.account_id AND i.created_at >= c.starts_at AND i.created_at < c.ends_at
WHERE c.account LIKE 'bi %' ORDER BY 1;

-- In the Azores clocks go back at midnight, which is there twice: the day begins with the first. What was deleted is of no day.
SELECT keypup.set_time_zone('bi none', 'Atlantic/Azores');
INSERT INTO keypup.issues (account_id, project_id, number, external_id, key, title, state, created_at, updated_at, deleted_at)
SELECT account_id, project_id, n, n, '#' || n, 'one', 'open', t, t, CASE WHEN n = 2 THEN now() END FROM keypup.projects JOIN keypup.accounts a USING (account_id)
CROSS JOIN (VALUES (1, timestamptz '2025-10-26 00:30+00'), (2, '2010-01-01')) AS v(n, t) WHERE a.name = 'bi none';
SELECT c.day, c.starts_at, c.ends_at, i.number FROM keypup.calendar c
LEFT JOIN keypup.issues i ON c.account_id = i.account_id AND i.created_at >= c.starts_at AND i.created_at < c.ends_at
WHERE c.account = 'bi none' AND c.day < '2025-10-28' ORDER BY c.day DESC LIMIT 3;

-- Hours: a view beside each that has an interval, the same otherwise, and no interval is left in it.
UPDATE keypup.issues i SET state = 'closed', closed_at = i.created_at + interval '1 day 90 minutes', updated_at = i.created_at + interval '2 days'
FROM keypup.accounts a WHERE a.account_id = i.account_id AND a.name = 'bi paris';
SELECT m.lead_time, h.lead_time_hours, pg_typeof(h.lead_time_hours), h.title, h.age_hours IS NULL AS is_closed
FROM keypup.issue_metrics m JOIN keypup.issue_metrics_hours h USING (account_id, project_id, number) JOIN keypup.accounts a USING (account_id) WHERE a.name = 'bi paris';
-- What is interpolated is written in days and hours: 25.5 + 0.9 * (72 - 25.5) hours are 2 days 19:21, not 1 day 43:21.
INSERT INTO keypup.issues (account_id, project_id, number, external_id, key, title, state, state_reason, created_at, updated_at, closed_at)
SELECT account_id, project_id, 2, 2, '#2', 'two', 'closed', 'completed', '2024-03-27', '2024-03-30', '2024-03-30' FROM keypup.projects JOIN keypup.accounts a USING (account_id) WHERE a.name = 'bi paris';
SELECT w.lead_time_p90, h.lead_time_p90_hours FROM keypup.throughput_weekly w JOIN keypup.throughput_weekly_hours h USING (account_id, project_id, week_start)
JOIN keypup.accounts a USING (account_id) WHERE a.name = 'bi paris' AND w.lead_time_p90 IS NOT NULL;
WITH viewed AS (
  SELECT c.oid, c.relname, bool_or(a.atttypid = 'interval'::regtype) AS has_interval,
    string_agg(CASE WHEN a.atttypid = 'interval'::regtype THEN a.attname || '_hours' ELSE a.attname END, ' ' ORDER BY a.attnum) AS columns
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
  WHERE c.relnamespace = 'keypup'::regnamespace AND c.relkind = 'v' AND has_table_privilege('keypup_member', c.oid, 'SELECT')
  GROUP BY c.oid, c.relname
)
SELECT count(*) > 15 AS many, count(*) FILTER (WHERE h.columns IS DISTINCT FROM v.columns) AS other_columns, count(*) FILTER (WHERE h.has_interval) AS intervals,
  count(*) FILTER (WHERE obj_description(h.oid, 'pg_class') NOT LIKE '% Durations in hours.') AS undescribed,
  (SELECT count(*) FROM pg_attribute a WHERE a.attrelid IN (SELECT oid FROM viewed) AND a.attnum > 0 AND col_description(a.attrelid, a.attnum) IS NULL) AS columns_undescribed
FROM viewed v LEFT JOIN viewed h ON h.relname = v.relname || '_hours' WHERE v.has_interval;
-- One name, one type; project wherever a row is of a project; a flag wherever it is of a day, week or month: what does not keep to it.
CREATE VIEW pg_temp.viewed AS
SELECT c.relname AS view, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'keypup'::regnamespace AND c.relkind = 'v' AND c.relname !~ '_hours$' AND has_table_privilege('keypup_member', c.oid, 'SELECT');
SELECT count(DISTINCT view) > 50 AS many FROM pg_temp.viewed;
SELECT name, string_agg(DISTINCT type, ', ' ORDER BY type) AS types FROM pg_temp.viewed GROUP BY name HAVING count(DISTINCT type) > 1;
SELECT view FROM pg_temp.viewed GROUP BY view HAVING bool_or(name = 'project_id') AND NOT bool_or(name = 'project') ORDER BY view;
SELECT view FROM pg_temp.viewed GROUP BY view HAVING bool_or(name IN ('day', 'week_start', 'month_start', 'period_start')) AND NOT bool_or(name = 'is_complete') ORDER BY view;

-- A condition on the person leaves the join with persons an outer one: as an inner one it would be the first, and all the rest be computed again for each login.
CREATE FUNCTION pg_temp.plan(query text) RETURNS text LANGUAGE plpgsql AS $$ DECLARE line text; plan text := ''; BEGIN FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP plan := plan || line || chr(10); END LOOP; RETURN plan; END $$;
SELECT v, pg_temp.plan(format('SELECT count(*) FROM keypup.%I WHERE person_id IS NOT NULL', v)) ~ '(Left|Right) Join' AS is_outer FROM unnest('{activity_events,commits_daily}'::text[]) v;
DROP FUNCTION pg_temp.plan(text);

-- What bots opened: an issue, of two that are open, and a pull request, of two that are merged and deployed.
SELECT account_id AS paris, project_id FROM keypup.projects JOIN keypup.accounts a USING (account_id) WHERE a.name = 'bi paris' \gset
INSERT INTO keypup.milestones (account_id, project_id, external_id, number, title, state, due_on) VALUES (:'paris', :'project_id', 'M', 1, 'M', 'open', '2024-06-30');
INSERT INTO keypup.sprints (account_id, project_id, external_id, name, state) VALUES (:'paris', :'project_id', 'S', 'S', 'active');
INSERT INTO keypup.issues (account_id, project_id, number, external_id, key, title, state, author, author_is_bot, labels, milestone_ids, sprint_ids, created_at, updated_at)
SELECT :'paris', :'project_id', n, n, '#' || n, 'open', 'open', 'ann', n = 4, '{bug}', '{M}', '{S}', '2024-04-02', '2024-04-02' FROM generate_series(3, 4) n;
INSERT INTO keypup.pull_requests (account_id, project_id, number, external_id, key, title, state, is_draft, author, author_is_bot, milestone_ids, created_at, updated_at, ready_at, closed_at, merged_at, first_commit_at)
SELECT :'paris', :'project_id', n, n, '#' || n, 'merged', 'merged', false, 'ann', n = 6, '{M}', '2024-04-02', '2024-04-03', '2024-04-02', '2024-04-03', '2024-04-03', '2024-04-01' FROM generate_series(5, 6) n;
INSERT INTO keypup.deployments (account_id, project_id, external_id, environment, state, created_at, updated_at, succeeded_at) VALUES (:'paris', :'project_id', 'D', 'production', 'active', '2024-04-04', '2024-04-04', '2024-04-04');
CREATE VIEW pg_temp.sums AS
SELECT 'throughput_weekly' AS view, sum(pull_requests_merged) AS pull_requests, sum(issues_opened) AS issues FROM keypup.throughput_weekly WHERE account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'bi paris')
UNION ALL SELECT 'throughput_monthly', sum(pull_requests_merged), sum(issues_opened) FROM keypup.throughput_monthly WHERE account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'bi paris')
UNION ALL SELECT 'items_daily', sum(items_done) FILTER (WHERE kind = 'pull_request'), sum(items_opened) FILTER (WHERE kind = 'issue') FROM keypup.items_daily WHERE account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'bi paris')
UNION ALL SELECT 'issue_flow_daily', NULL, sum(opened) FROM keypup.issue_flow_daily WHERE account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'bi paris')
UNION ALL SELECT 'issue_ageing', NULL, sum(open_issues) FROM keypup.issue_ageing WHERE account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'bi paris')
UNION ALL SELECT 'issue_throughput_by_label', NULL, sum(issues_opened) FROM keypup.issue_throughput_by_label WHERE label = 'bug'
UNION ALL SELECT 'issue_throughput_by_type', NULL, sum(issues_opened) FROM keypup.issue_throughput_by_type WHERE account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'bi paris')
UNION ALL SELECT 'moving_percentiles', max(samples) FILTER (WHERE metric = 'cycle_time'), max(samples) FILTER (WHERE metric = 'lead_time') FROM keypup.moving_percentiles
UNION ALL SELECT 'milestone_progress', done, scope - done FROM keypup.milestone_progress
UNION ALL SELECT 'milestone_burnup', max(done), max(scope) - max(done) FROM keypup.milestone_burnup
UNION ALL SELECT 'milestone_forecasts', NULL, open_items FROM keypup.milestone_forecasts
UNION ALL SELECT 'sprint_forecasts', NULL, open_items FROM keypup.sprint_forecasts
UNION ALL SELECT 'delivery_weekly', sum(pull_requests_deployed), NULL FROM keypup.delivery_weekly
UNION ALL SELECT 'deployment_metrics', pull_requests, NULL FROM keypup.deployment_metrics
UNION ALL SELECT 'team_throughput_weekly', sum(pull_requests_merged), NULL FROM keypup.team_throughput_weekly;
SHOW keypup.count_bots;
SELECT * FROM pg_temp.sums ORDER BY view COLLATE "C";
SET keypup.count_bots = off;
SELECT * FROM pg_temp.sums ORDER BY view COLLATE "C";
RESET keypup.count_bots;
SELECT number, author_is_bot, due_on FROM keypup.issue_fields WHERE due_on IS NOT NULL ORDER BY number;
DROP VIEW pg_temp.sums, pg_temp.viewed;
DELETE FROM keypup.accounts;
DROP EXTENSION keypup CASCADE;
