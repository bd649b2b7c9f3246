-- insight/team_flow.sql: what teams merge and deliver: throughput, cycle time and DORA's metrics by the author's team.
-- doc/metrics.md has the definitions.

CREATE VIEW keypup.team_throughput_weekly WITH (security_invoker = true, security_barrier = true) AS
WITH zone AS MATERIALIZED (
  SELECT a.account_id, keypup.known_time_zone(a.time_zone) AS time_zone FROM keypup.accounts a
), member AS MATERIALIZED (
  SELECT m.account_id, m.team, m.person_id, m.joined_at, m.left_at FROM keypup.team_memberships m
), merged AS (
  -- Once a team, though two logins of one person may both be in it.
  SELECT DISTINCT p.account_id, m.team, z.time_zone, p.project_id, p.number, p.cycle_time, p.pickup_time,
    date_trunc('week', p.merged_at AT TIME ZONE z.time_zone) AS week
  FROM keypup.pull_request_metrics p
  JOIN zone z ON z.account_id = p.account_id
  LEFT JOIN member m ON m.account_id = p.account_id AND m.person_id = p.person_id AND p.merged_at >= m.joined_at
    AND (m.left_at IS NULL OR p.merged_at < m.left_at)
  WHERE p.merged_at <= now() AND (keypup.counts_bots() OR NOT p.author_is_bot)
), counted AS (
  SELECT m.account_id, m.team, m.time_zone, m.week, count(*) AS pull_requests_merged,
    percentile_cont(ARRAY[0.5, 0.75, 0.9]) WITHIN GROUP (ORDER BY m.cycle_time) AS cycle_times,
    percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY m.pickup_time) AS pickup_times
  FROM merged m
  GROUP BY m.account_id, m.team, m.time_zone, m.week
), spaced AS (
  SELECT c.*, lead(c.week) OVER (PARTITION BY c.account_id, c.team ORDER BY c.week) AS next_week FROM counted c
)
-- Each is followed by the empty ones up to the next, or up to now.
SELECT s.account_id, s.team, d.week::date AS week_start,
  d.week + interval '1 week' <= now() AT TIME ZONE s.time_zone AS is_complete,
  coalesce(c.pull_requests_merged, 0) AS pull_requests_merged,
  justify_hours(c.cycle_times[1]) AS cycle_time_p50,
  justify_hours(c.cycle_times[2]) AS cycle_time_p75,
  justify_hours(c.cycle_times[3]) AS cycle_time_p90,
  justify_hours(c.pickup_times[1]) AS pickup_time_p50, justify_hours(c.pickup_times[2]) AS pickup_time_p90
FROM spaced s
CROSS JOIN LATERAL keypup.period_starts(s.week,
  coalesce(s.next_week - interval '1 week', now() AT TIME ZONE s.time_zone), interval '1 week') AS d(week)
LEFT JOIN LATERAL (
  SELECT s.pull_requests_merged, s.cycle_times, s.pickup_times WHERE d.week = s.week
) AS c ON true;
REVOKE ALL ON keypup.team_throughput_weekly FROM PUBLIC;
GRANT SELECT ON keypup.team_throughput_weekly TO keypup_member;
COMMENT ON VIEW keypup.team_throughput_weekly IS
  'One row an account, team and week, from the team''s first merge to now: pull requests of persons who were in the '
  'team when these were merged. One without a team for those who were in none. In the account''s time zone. '
  'What bots opened counts unless keypup.count_bots is off.';
COMMENT ON COLUMN keypup.team_throughput_weekly.account_id IS 'The account.';
COMMENT ON COLUMN keypup.team_throughput_weekly.team IS
  'The team; NULL for authors who were in none. What somebody in two teams merges is in the rows of both.';
COMMENT ON COLUMN keypup.team_throughput_weekly.week_start IS 'Monday of the week.';
COMMENT ON COLUMN keypup.team_throughput_weekly.is_complete IS
  'Whether the week is over, in the account''s time zone.';
COMMENT ON COLUMN keypup.team_throughput_weekly.pull_requests_merged IS 'Pull requests merged.';
COMMENT ON COLUMN keypup.team_throughput_weekly.cycle_time_p50 IS
  'Median cycle time of these, as in pull_request_cycle, interpolated; NULL without one.';
COMMENT ON COLUMN keypup.team_throughput_weekly.cycle_time_p75 IS '75th percentile of the same.';
COMMENT ON COLUMN keypup.team_throughput_weekly.cycle_time_p90 IS '90th percentile of the same.';
COMMENT ON COLUMN keypup.team_throughput_weekly.pickup_time_p50 IS
  'Median pickup time of those that were reviewed, interpolated; NULL without one.';
COMMENT ON COLUMN keypup.team_throughput_weekly.pickup_time_p90 IS '90th percentile of the same.';

CREATE VIEW keypup.team_dora_metrics WITH (security_invoker = true, security_barrier = true) AS
WITH zone AS MATERIALIZED (
  SELECT a.account_id, z.time_zone, (now() AT TIME ZONE z.time_zone)::date AS today
  FROM keypup.accounts a
  CROSS JOIN LATERAL (SELECT keypup.known_time_zone(a.time_zone) AS time_zone OFFSET 0) AS z
), member AS MATERIALIZED (
  SELECT m.account_id, m.team, m.person_id, m.joined_at, m.left_at FROM keypup.team_memberships m
), brought AS MATERIALIZED (
  SELECT d.account_id, d.project_id, d.number, d.deployment_id, d.deployed_at, d.merged_at, d.change_lead_time,
    l.person_id
  FROM keypup.pull_request_delivery d
  -- LIMIT, so that the planner cannot begin with the logins and compare each with all that was delivered.
  CROSS JOIN LATERAL (
    SELECT i.person_id
    FROM keypup.projects j JOIN keypup.identities i ON i.account_id = j.account_id
      AND i.connection_id = j.connection_id AND i.login = d.author
    WHERE j.account_id = d.account_id AND j.project_id = d.project_id
    ORDER BY i.person_id IS NULL, i.external_id LIMIT 1) AS l
  WHERE d.deployed_at <= now() AND (keypup.counts_bots() OR NOT d.author_is_bot)
), carried AS MATERIALIZED (
  -- All that there is: the first says from when on is counted. Once a team, though two logins of one person may both
  -- be in it.
  SELECT DISTINCT d.account_id, m.team, d.project_id, d.number, d.deployment_id, d.change_lead_time,
    (z.today - (d.deployed_at AT TIME ZONE z.time_zone)::date)::bigint AS days_ago
  FROM brought d
  JOIN zone z ON z.account_id = d.account_id
  JOIN member m ON m.account_id = d.account_id AND m.person_id = d.person_id AND d.merged_at >= m.joined_at
    AND (m.left_at IS NULL OR d.merged_at < m.left_at)
), delivered AS MATERIALIZED (
  SELECT DISTINCT c.account_id, c.team, c.project_id, c.deployment_id, c.days_ago FROM carried c WHERE c.days_ago < 91
), rework AS MATERIALIZED (
  -- By all that a delivery carries, whosesoever: as deployment_metrics.is_rework.
  SELECT d.account_id, d.project_id, d.deployment_id
  FROM keypup.pull_request_delivery d
  WHERE d.deployed_at > now() - interval '92 days' AND d.deployed_at <= now()
  GROUP BY d.account_id, d.project_id, d.deployment_id
  HAVING bool_or(d.rework_reason IS NOT NULL) AND bool_and(d.rework_reason IS NOT NULL OR d.author_is_bot)
), incident AS MATERIALIZED (
  SELECT d.account_id, d.team, d.project_id, d.deployment_id, i.recovery_time
  FROM delivered d
  JOIN keypup.incidents i ON i.account_id = d.account_id AND i.project_id = d.project_id
    AND i.deployment_id = d.deployment_id
  WHERE i.deployed_at > now() - interval '92 days' AND i.deployed_at <= now()
), begun AS MATERIALIZED (
  SELECT c.account_id, c.team, keypup.days_counted(max(c.days_ago)) / 7 AS weeks_counted
  FROM carried c
  GROUP BY c.account_id, c.team
), fact AS (
  SELECT d.account_id, d.team, d.days_ago, r.deployment_id IS NOT NULL AS is_rework, NULL::text AS failed_change,
    NULL::interval AS lead_time, NULL::interval AS recovery_time
  FROM delivered d
  LEFT JOIN rework r ON r.account_id = d.account_id AND r.project_id = d.project_id
    AND r.deployment_id = d.deployment_id
  UNION ALL
  SELECT c.account_id, c.team, NULL, NULL, NULL, c.change_lead_time, NULL FROM carried c WHERE c.days_ago < 91
  UNION ALL
  SELECT i.account_id, i.team, NULL, NULL, i.project_id || ' ' || i.deployment_id, NULL, i.recovery_time FROM incident i
), counted AS (
  SELECT f.account_id, f.team, count(f.days_ago) AS deployments, count(DISTINCT f.failed_change) AS failed_changes,
    count(*) FILTER (WHERE f.is_rework) AS rework_deployments,
    justify_hours(percentile_cont(0.5) WITHIN GROUP (ORDER BY f.lead_time)) AS lead_time_p50,
    justify_hours(percentile_cont(0.5) WITHIN GROUP (ORDER BY f.recovery_time)) AS recovery_time_p50,
    array_agg(DISTINCT f.days_ago) AS days_ago
  FROM fact f
  GROUP BY f.account_id, f.team
)
SELECT t.account_id, t.team, coalesce(b.weeks_counted, 0) AS weeks_counted, coalesce(c.deployments, 0) AS deployments,
  coalesce(c.failed_changes, 0) AS failed_changes,
  coalesce(keypup.days_per_week_p50(c.days_ago, b.weeks_counted), 0) AS deployment_frequency,
  c.lead_time_p50 AS lead_time_for_changes,
  c.failed_changes / nullif(c.deployments, 0)::double precision AS change_failure_rate,
  c.recovery_time_p50 AS failed_deployment_recovery_time, coalesce(c.rework_deployments, 0) AS rework_deployments,
  c.rework_deployments / nullif(c.deployments, 0)::double precision AS rework_rate
FROM keypup.teams t
LEFT JOIN begun b ON b.account_id = t.account_id AND b.team = t.team
LEFT JOIN counted c ON c.account_id = t.account_id AND c.team = t.team;
REVOKE ALL ON keypup.team_dora_metrics FROM PUBLIC;
GRANT SELECT ON keypup.team_dora_metrics TO keypup_member;
COMMENT ON VIEW keypup.team_dora_metrics IS
  'One row a team: DORA''s key metrics of the last 13 weeks, of what persons who were in the team at the merge '
  'have brought to production. What several teams brought is in the rows of each. '
  'What bots opened counts unless keypup.count_bots is off.';
COMMENT ON COLUMN keypup.team_dora_metrics.account_id IS 'The account.';
COMMENT ON COLUMN keypup.team_dora_metrics.team IS 'The team.';
COMMENT ON COLUMN keypup.team_dora_metrics.weeks_counted IS
  'How many weeks are counted: 13, or those since the team''s first delivery; 0 without one.';
COMMENT ON COLUMN keypup.team_dora_metrics.deployments IS
  'Successful deliveries that were the first to carry a pull request of the team.';
COMMENT ON COLUMN keypup.team_dora_metrics.failed_changes IS
  'Those of them after which an incident was opened, before the project''s next delivery.';
COMMENT ON COLUMN keypup.team_dora_metrics.deployment_frequency IS
  'Days with such a delivery a week: the median of these weeks of calendar days, the last of which ends today.';
COMMENT ON COLUMN keypup.team_dora_metrics.lead_time_for_changes IS
  'Median start of coding to production of the team''s pull requests that reached it, interpolated; NULL without one.';
COMMENT ON COLUMN keypup.team_dora_metrics.change_failure_rate IS
  'failed_changes per delivery, 0 to 1; NULL without a delivery.';
COMMENT ON COLUMN keypup.team_dora_metrics.failed_deployment_recovery_time IS
  'Median delivery to the closing of an incident that is put down to it, interpolated; NULL without a closed one.';
COMMENT ON COLUMN keypup.team_dora_metrics.rework_deployments IS
  'Those of the deliveries that were made to mend what is in production, as deployment_metrics.is_rework.';
COMMENT ON COLUMN keypup.team_dora_metrics.rework_rate IS
  'rework_deployments per delivery, 0 to 1; NULL without a delivery.';
