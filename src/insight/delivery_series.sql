-- insight/delivery_series.sql: deliveries by week and month, and DORA's key metrics. doc/delivery.md has the
-- definitions.

-- Of how many days and weeks DORA's metrics are, for projects and for teams.
CREATE FUNCTION keypup.days_counted(days_since_first bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT least(91, greatest(7, days_since_first + 1)) $$;
CREATE FUNCTION keypup.days_per_week_p50(days_ago bigint[], weeks bigint) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY w.days)
  FROM (
    SELECT (SELECT count(DISTINCT d.day) FROM unnest(days_ago) AS d(day) WHERE d.day / 7 = g.week) AS days
    FROM generate_series(0, weeks - 1) AS g(week)) AS w
$$;
REVOKE ALL ON FUNCTION keypup.days_counted(bigint), keypup.days_per_week_p50(bigint[], bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.days_counted(bigint), keypup.days_per_week_p50(bigint[], bigint) TO keypup_member;
COMMENT ON FUNCTION keypup.days_counted(bigint) IS
  'How many days up to today DORA''s metrics are of, where the first delivery was so many days ago: 91, or those since '
  'then, at least 7.';
COMMENT ON FUNCTION keypup.days_per_week_p50(bigint[], bigint) IS
  'Days with a delivery a week, each given by how many days ago it was: the median of so many weeks of calendar days, '
  'the last of which ends today.';

CREATE VIEW keypup.delivery WITH (security_invoker = true, security_barrier = true) AS
WITH zone AS MATERIALIZED (
  SELECT a.account_id, keypup.known_time_zone(a.time_zone) AS time_zone FROM keypup.accounts a
), fact AS (
  -- The time of each is that of its delivery, which is there too, with the names.
  SELECT d.account_id, d.project_id, d.project, d.source, d.deployed_at, d.succeeded, NULL::bigint AS number,
    NULL::interval AS lead_time, NULL::text AS failed_change, NULL::interval AS recovery_time
  FROM keypup.production_deployments d
  UNION ALL
  SELECT p.account_id, p.project_id, NULL, NULL, p.deployed_at, NULL, p.number, p.change_lead_time, NULL, NULL
  FROM keypup.pull_request_delivery p
  WHERE p.deployed_at IS NOT NULL AND (keypup.counts_bots() OR NOT p.author_is_bot)
  UNION ALL
  SELECT i.account_id, i.project_id, NULL, NULL, i.deployed_at, NULL, NULL, NULL, i.deployment_id, i.recovery_time
  FROM keypup.incidents i WHERE i.deployed_at IS NOT NULL
), counted AS (
  SELECT f.account_id, f.project_id, max(f.project) AS project, max(f.source) AS source, z.time_zone, k.period,
    date_trunc(k.period, f.deployed_at AT TIME ZONE z.time_zone)::date AS period_start,
    count(f.number) AS pull_requests_deployed, count(*) FILTER (WHERE f.succeeded) AS deployments,
    count(DISTINCT (f.deployed_at AT TIME ZONE z.time_zone)::date) FILTER (WHERE f.succeeded) AS deployment_days,
    count(*) FILTER (WHERE NOT f.succeeded) AS failed_deployments,
    count(DISTINCT f.failed_change) AS failed_changes,
    percentile_cont(ARRAY[0.5, 0.75, 0.9]) WITHIN GROUP (ORDER BY f.lead_time) AS lead_times,
    justify_hours(percentile_cont(0.5) WITHIN GROUP (ORDER BY f.recovery_time)) AS recovery_time_p50
  FROM fact f
  JOIN zone z ON z.account_id = f.account_id
  CROSS JOIN (VALUES ('week'::text), ('month')) AS k(period)
  WHERE f.deployed_at <= now()
  GROUP BY f.account_id, f.project_id, k.period, date_trunc(k.period, f.deployed_at AT TIME ZONE z.time_zone)::date,
    z.time_zone
), spaced AS (
  SELECT c.*, lead(c.period_start) OVER (PARTITION BY c.account_id, c.project_id, c.period
    ORDER BY c.period_start) AS next_start FROM counted c
), filled AS (
  -- Each is followed by the empty ones up to the next, or up to now.
  SELECT s.account_id, s.project_id, s.project, s.source, s.period, d.start::date AS period_start,
    d.start + e.step <= now() AT TIME ZONE s.time_zone AS is_complete,
    coalesce(c.pull_requests_deployed, 0) AS pull_requests_deployed, coalesce(c.deployments, 0) AS deployments,
    coalesce(c.deployment_days, 0) AS deployment_days, coalesce(c.failed_deployments, 0) AS failed_deployments,
    coalesce(c.failed_changes, 0) AS failed_changes,
    c.failed_changes / nullif(c.deployments, 0)::double precision AS change_failure_rate,
    justify_hours(c.lead_times[1]) AS change_lead_time_p50, justify_hours(c.lead_times[2]) AS change_lead_time_p75,
    justify_hours(c.lead_times[3]) AS change_lead_time_p90, c.recovery_time_p50
  FROM spaced s
  CROSS JOIN LATERAL (SELECT ('1 ' || s.period)::interval AS step) AS e
  CROSS JOIN LATERAL keypup.period_starts(s.period_start::timestamp,
    coalesce(s.next_start - e.step, now() AT TIME ZONE s.time_zone), e.step) AS d(start)
  LEFT JOIN LATERAL (
    SELECT s.pull_requests_deployed, s.deployments, s.deployment_days, s.failed_deployments, s.failed_changes,
      s.lead_times, s.recovery_time_p50 WHERE d.start = s.period_start
  ) AS c ON true
)
SELECT f.account_id, f.project_id, f.project, f.source, f.period, f.period_start, f.is_complete,
  f.pull_requests_deployed, f.deployments, f.deployment_days, f.failed_deployments, f.failed_changes,
  f.change_failure_rate, f.change_lead_time_p50, f.change_lead_time_p75, f.change_lead_time_p90, f.recovery_time_p50,
  lag(f.pull_requests_deployed) OVER w AS previous_pull_requests_deployed,
  lag(f.deployments) OVER w AS previous_deployments, lag(f.deployment_days) OVER w AS previous_deployment_days,
  lag(f.failed_deployments) OVER w AS previous_failed_deployments,
  lag(f.failed_changes) OVER w AS previous_failed_changes,
  lag(f.change_failure_rate) OVER w AS previous_change_failure_rate,
  lag(f.change_lead_time_p50) OVER w AS previous_change_lead_time_p50,
  lag(f.change_lead_time_p75) OVER w AS previous_change_lead_time_p75,
  lag(f.change_lead_time_p90) OVER w AS previous_change_lead_time_p90,
  lag(f.recovery_time_p50) OVER w AS previous_recovery_time_p50
FROM filled f
WINDOW w AS (PARTITION BY f.account_id, f.project_id, f.period ORDER BY f.period_start);
REVOKE ALL ON keypup.delivery FROM PUBLIC;
GRANT SELECT ON keypup.delivery TO keypup_member;
COMMENT ON VIEW keypup.delivery IS
  'One row a project and week, and one a project and month, from its first delivery to now, those with nothing '
  'included. In the account''s time zone. '
  'What bots opened counts unless keypup.count_bots is off.';
COMMENT ON COLUMN keypup.delivery.account_id IS 'The account.';
COMMENT ON COLUMN keypup.delivery.project_id IS 'The project.';
COMMENT ON COLUMN keypup.delivery.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.delivery.source IS 'deployment or release: what counts as a delivery of the project.';
COMMENT ON COLUMN keypup.delivery.period IS 'week or month.';
COMMENT ON COLUMN keypup.delivery.period_start IS 'First day of the period; weeks start on Monday.';
COMMENT ON COLUMN keypup.delivery.is_complete IS 'Whether the period is over, in the account''s time zone.';
COMMENT ON COLUMN keypup.delivery.pull_requests_deployed IS
  'Pull requests that reached production first in the period.';
COMMENT ON COLUMN keypup.delivery.deployments IS 'Successful deliveries.';
COMMENT ON COLUMN keypup.delivery.deployment_days IS 'Days with a successful delivery.';
COMMENT ON COLUMN keypup.delivery.failed_deployments IS 'Changes whose deployments never succeeded.';
COMMENT ON COLUMN keypup.delivery.failed_changes IS
  'Successful deliveries after which an incident was opened, before the next one; counted in the period of the '
  'delivery.';
COMMENT ON COLUMN keypup.delivery.change_failure_rate IS
  'DORA''s change failure rate: failed_changes per successful delivery, 0 to 1; NULL without a delivery.';
COMMENT ON COLUMN keypup.delivery.change_lead_time_p50 IS
  'Median of DORA''s lead time for changes, of the pull requests that reached production in the period, interpolated; '
  'NULL without one.';
COMMENT ON COLUMN keypup.delivery.change_lead_time_p75 IS
  '75th percentile of the lead time for changes, of the pull requests that reached production in the period, '
  'interpolated; NULL without one.';
COMMENT ON COLUMN keypup.delivery.change_lead_time_p90 IS
  '90th percentile of the lead time for changes, of the pull requests that reached production in the period, '
  'interpolated; NULL without one.';
COMMENT ON COLUMN keypup.delivery.recovery_time_p50 IS
  'Median of DORA''s failed deployment recovery time, of the closed incidents of the period''s deliveries, '
  'interpolated; NULL without one.';
COMMENT ON COLUMN keypup.delivery.previous_pull_requests_deployed IS
  'pull_requests_deployed of the period before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery.previous_deployments IS 'deployments of the period before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery.previous_deployment_days IS
  'deployment_days of the period before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery.previous_failed_deployments IS
  'failed_deployments of the period before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery.previous_failed_changes IS 'failed_changes of the period before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery.previous_change_failure_rate IS
  'change_failure_rate of the period before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery.previous_change_lead_time_p50 IS
  'change_lead_time_p50 of the period before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery.previous_change_lead_time_p75 IS
  'change_lead_time_p75 of the period before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery.previous_change_lead_time_p90 IS
  'change_lead_time_p90 of the period before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery.previous_recovery_time_p50 IS
  'recovery_time_p50 of the period before; NULL in the first.';

CREATE VIEW keypup.delivery_weekly WITH (security_invoker = true, security_barrier = true) AS
SELECT d.account_id, d.project_id, d.project, d.source, d.period_start AS week_start, d.is_complete,
  d.pull_requests_deployed, d.deployments, d.deployment_days, d.failed_deployments, d.failed_changes,
  d.change_failure_rate, d.change_lead_time_p50, d.change_lead_time_p75, d.change_lead_time_p90, d.recovery_time_p50,
    d.previous_pull_requests_deployed, d.previous_deployments, d.previous_deployment_days,
    d.previous_failed_deployments, d.previous_failed_changes, d.previous_change_failure_rate,
    d.previous_change_lead_time_p50, d.previous_change_lead_time_p75, d.previous_change_lead_time_p90,
    d.previous_recovery_time_p50
FROM keypup.delivery d WHERE d.period = 'week';
REVOKE ALL ON keypup.delivery_weekly FROM PUBLIC;
GRANT SELECT ON keypup.delivery_weekly TO keypup_member;
COMMENT ON VIEW keypup.delivery_weekly IS
  'One row a project and week, from its first delivery to now, those with nothing included. In the account''s time '
  'zone. '
  'What bots opened counts unless keypup.count_bots is off.';
COMMENT ON COLUMN keypup.delivery_weekly.account_id IS 'The account.';
COMMENT ON COLUMN keypup.delivery_weekly.project_id IS 'The project.';
COMMENT ON COLUMN keypup.delivery_weekly.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.delivery_weekly.source IS 'deployment or release: what counts as a delivery of the project.';
COMMENT ON COLUMN keypup.delivery_weekly.week_start IS 'Monday of the week.';
COMMENT ON COLUMN keypup.delivery_weekly.is_complete IS 'Whether the week is over, in the account''s time zone.';
COMMENT ON COLUMN keypup.delivery_weekly.pull_requests_deployed IS
  'Pull requests that reached production first in the week.';
COMMENT ON COLUMN keypup.delivery_weekly.deployments IS 'Successful deliveries.';
COMMENT ON COLUMN keypup.delivery_weekly.deployment_days IS 'Days with a successful delivery.';
COMMENT ON COLUMN keypup.delivery_weekly.failed_deployments IS 'Changes whose deployments never succeeded.';
COMMENT ON COLUMN keypup.delivery_weekly.failed_changes IS
  'Successful deliveries after which an incident was opened, before the next one; counted in the week of the delivery.';
COMMENT ON COLUMN keypup.delivery_weekly.change_failure_rate IS
  'DORA''s change failure rate: failed_changes per successful delivery, 0 to 1; NULL without a delivery.';
COMMENT ON COLUMN keypup.delivery_weekly.change_lead_time_p50 IS
  'Median of DORA''s lead time for changes, of the pull requests that reached production in the week, interpolated; '
  'NULL without one.';
COMMENT ON COLUMN keypup.delivery_weekly.change_lead_time_p75 IS
  '75th percentile of the lead time for changes, of the pull requests that reached production in the week, '
  'interpolated; NULL without one.';
COMMENT ON COLUMN keypup.delivery_weekly.change_lead_time_p90 IS
  '90th percentile of the lead time for changes, of the pull requests that reached production in the week, '
  'interpolated; NULL without one.';
COMMENT ON COLUMN keypup.delivery_weekly.recovery_time_p50 IS
  'Median of DORA''s failed deployment recovery time, of the closed incidents of the week''s deliveries, interpolated; '
  'NULL without one.';
COMMENT ON COLUMN keypup.delivery_weekly.previous_pull_requests_deployed IS
  'pull_requests_deployed of the week before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery_weekly.previous_deployments IS 'deployments of the week before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery_weekly.previous_deployment_days IS
  'deployment_days of the week before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery_weekly.previous_failed_deployments IS
  'failed_deployments of the week before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery_weekly.previous_failed_changes IS
  'failed_changes of the week before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery_weekly.previous_change_failure_rate IS
  'change_failure_rate of the week before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery_weekly.previous_change_lead_time_p50 IS
  'change_lead_time_p50 of the week before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery_weekly.previous_change_lead_time_p75 IS
  'change_lead_time_p75 of the week before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery_weekly.previous_change_lead_time_p90 IS
  'change_lead_time_p90 of the week before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery_weekly.previous_recovery_time_p50 IS
  'recovery_time_p50 of the week before; NULL in the first.';

CREATE VIEW keypup.delivery_monthly WITH (security_invoker = true, security_barrier = true) AS
SELECT d.account_id, d.project_id, d.project, d.source, d.period_start AS month_start, d.is_complete,
  d.pull_requests_deployed, d.deployments, d.deployment_days, d.failed_deployments, d.failed_changes,
  d.change_failure_rate, d.change_lead_time_p50, d.change_lead_time_p75, d.change_lead_time_p90, d.recovery_time_p50,
    d.previous_pull_requests_deployed, d.previous_deployments, d.previous_deployment_days,
    d.previous_failed_deployments, d.previous_failed_changes, d.previous_change_failure_rate,
    d.previous_change_lead_time_p50, d.previous_change_lead_time_p75, d.previous_change_lead_time_p90,
    d.previous_recovery_time_p50
FROM keypup.delivery d WHERE d.period = 'month';
REVOKE ALL ON keypup.delivery_monthly FROM PUBLIC;
GRANT SELECT ON keypup.delivery_monthly TO keypup_member;
COMMENT ON VIEW keypup.delivery_monthly IS
  'One row a project and month, from its first delivery to now, those with nothing included. In the account''s time '
  'zone. '
  'What bots opened counts unless keypup.count_bots is off.';
COMMENT ON COLUMN keypup.delivery_monthly.account_id IS 'The account.';
COMMENT ON COLUMN keypup.delivery_monthly.project_id IS 'The project.';
COMMENT ON COLUMN keypup.delivery_monthly.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.delivery_monthly.source IS 'deployment or release: what counts as a delivery of the project.';
COMMENT ON COLUMN keypup.delivery_monthly.month_start IS 'First day of the month.';
COMMENT ON COLUMN keypup.delivery_monthly.is_complete IS 'Whether the month is over, in the account''s time zone.';
COMMENT ON COLUMN keypup.delivery_monthly.pull_requests_deployed IS
  'Pull requests that reached production first in the month.';
COMMENT ON COLUMN keypup.delivery_monthly.deployments IS 'Successful deliveries.';
COMMENT ON COLUMN keypup.delivery_monthly.deployment_days IS 'Days with a successful delivery.';
COMMENT ON COLUMN keypup.delivery_monthly.failed_deployments IS 'Changes whose deployments never succeeded.';
COMMENT ON COLUMN keypup.delivery_monthly.failed_changes IS
  'Successful deliveries after which an incident was opened, before the next one; counted in the month of the '
  'delivery.';
COMMENT ON COLUMN keypup.delivery_monthly.change_failure_rate IS
  'DORA''s change failure rate: failed_changes per successful delivery, 0 to 1; NULL without a delivery.';
COMMENT ON COLUMN keypup.delivery_monthly.change_lead_time_p50 IS
  'Median of DORA''s lead time for changes, of the pull requests that reached production in the month, interpolated; '
  'NULL without one.';
COMMENT ON COLUMN keypup.delivery_monthly.change_lead_time_p75 IS
  '75th percentile of the lead time for changes, of the pull requests that reached production in the month, '
  'interpolated; NULL without one.';
COMMENT ON COLUMN keypup.delivery_monthly.change_lead_time_p90 IS
  '90th percentile of the lead time for changes, of the pull requests that reached production in the month, '
  'interpolated; NULL without one.';
COMMENT ON COLUMN keypup.delivery_monthly.recovery_time_p50 IS
  'Median of DORA''s failed deployment recovery time, of the closed incidents of the month''s deliveries, '
  'interpolated; NULL without one.';
COMMENT ON COLUMN keypup.delivery_monthly.previous_pull_requests_deployed IS
  'pull_requests_deployed of the month before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery_monthly.previous_deployments IS 'deployments of the month before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery_monthly.previous_deployment_days IS
  'deployment_days of the month before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery_monthly.previous_failed_deployments IS
  'failed_deployments of the month before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery_monthly.previous_failed_changes IS
  'failed_changes of the month before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery_monthly.previous_change_failure_rate IS
  'change_failure_rate of the month before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery_monthly.previous_change_lead_time_p50 IS
  'change_lead_time_p50 of the month before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery_monthly.previous_change_lead_time_p75 IS
  'change_lead_time_p75 of the month before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery_monthly.previous_change_lead_time_p90 IS
  'change_lead_time_p90 of the month before; NULL in the first.';
COMMENT ON COLUMN keypup.delivery_monthly.previous_recovery_time_p50 IS
  'recovery_time_p50 of the month before; NULL in the first.';

CREATE VIEW keypup.dora_levels WITH (security_invoker = true, security_barrier = true) AS
-- What a report says in words is put into numbers as Apache DevLake does: on demand is 5 days a week, a month is
-- 30 days; of deliveries it is a third of 13 weeks.
-- 2021: Accelerate State of DevOps 2021, as DevLake's dashboard DORA has it. Its time to restore service stands for the
-- recovery time.
-- 2023: Accelerate State of DevOps 2023 (https://dora.dev/research/2023/dora-report/), as DevLake's dashboard has it.
-- 2024: Accelerate State of DevOps 2024 (https://dora.dev/research/2024/dora-report/), page 13, as
-- https://octopus.com/blog/2024-devops-performance-clusters has it.
-- The rework rate is in no cluster of 2024, the first report that asks for it; that of 2025 has no levels of anything
-- any more, but how many answers were in which range
-- (https://www.faros.ai/blog/5th-dora-metric-rework-rate-track-it-now).
SELECT a.account_id, l.report::bigint AS report, l.metric, l.level, l.place::bigint AS place,
  l.bound::double precision AS bound, l.unit
FROM keypup.accounts a
CROSS JOIN (VALUES
  (2021, 'deployment_frequency', 'elite', 1, 5, 'days a week'),
  (2021, 'deployment_frequency', 'high', 2, 3, 'deliveries in 13 weeks'),
  (2021, 'deployment_frequency', 'medium', 3, 0.5, 'deliveries in 13 weeks'),
  (2021, 'lead_time_for_changes', 'elite', 1, 1, 'hours'),
  (2021, 'lead_time_for_changes', 'high', 2, 168, 'hours'),
  (2021, 'lead_time_for_changes', 'medium', 3, 4320, 'hours'),
  (2021, 'change_failure_rate', 'elite', 1, 0.15, 'share'),
  (2021, 'change_failure_rate', 'high', 2, 0.20, 'share'),
  (2021, 'change_failure_rate', 'medium', 3, 0.30, 'share'),
  (2021, 'failed_deployment_recovery_time', 'elite', 1, 1, 'hours'),
  (2021, 'failed_deployment_recovery_time', 'high', 2, 24, 'hours'),
  (2021, 'failed_deployment_recovery_time', 'medium', 3, 168, 'hours'),
  (2023, 'deployment_frequency', 'elite', 1, 5, 'days a week'),
  (2023, 'deployment_frequency', 'high', 2, 1, 'days a week'),
  (2023, 'deployment_frequency', 'medium', 3, 3, 'deliveries in 13 weeks'),
  (2023, 'lead_time_for_changes', 'elite', 1, 24, 'hours'),
  (2023, 'lead_time_for_changes', 'high', 2, 168, 'hours'),
  (2023, 'lead_time_for_changes', 'medium', 3, 720, 'hours'),
  (2023, 'change_failure_rate', 'elite', 1, 0.05, 'share'),
  (2023, 'change_failure_rate', 'high', 2, 0.10, 'share'),
  (2023, 'change_failure_rate', 'medium', 3, 0.15, 'share'),
  (2023, 'failed_deployment_recovery_time', 'elite', 1, 1, 'hours'),
  (2023, 'failed_deployment_recovery_time', 'high', 2, 24, 'hours'),
  (2023, 'failed_deployment_recovery_time', 'medium', 3, 168, 'hours'),
  (2024, 'deployment_frequency', 'elite', 1, 5, 'days a week'),
  (2024, 'deployment_frequency', 'high', 2, 1, 'days a week'),
  (2024, 'deployment_frequency', 'medium', 3, 3, 'deliveries in 13 weeks'),
  (2024, 'lead_time_for_changes', 'elite', 1, 24, 'hours'),
  (2024, 'lead_time_for_changes', 'high', 2, 168, 'hours'),
  (2024, 'lead_time_for_changes', 'medium', 3, 720, 'hours'),
  (2024, 'change_failure_rate', 'elite', 1, 0.05, 'share'),
  (2024, 'change_failure_rate', 'high', 2, 0.20, 'share'),
  (2024, 'change_failure_rate', 'medium', 3, 0.10, 'share'),
  (2024, 'failed_deployment_recovery_time', 'elite', 1, 1, 'hours'),
  (2024, 'failed_deployment_recovery_time', 'high', 2, 24, 'hours'),
  (2024, 'failed_deployment_recovery_time', 'medium', 3, 24, 'hours')
) AS l (report, metric, level, place, bound, unit);
REVOKE ALL ON keypup.dora_levels FROM PUBLIC;
GRANT SELECT ON keypup.dora_levels TO keypup_member;
COMMENT ON VIEW keypup.dora_levels IS
  'One row a report of DORA''s, metric and level but the lowest: the bound within which a value has the level. A value '
  'has the best level whose bound it keeps; low is what keeps none. No report has levels of the rework rate, and that '
  'of 2025 none at all.';
COMMENT ON COLUMN keypup.dora_levels.account_id IS 'The account; the same rows for each.';
COMMENT ON COLUMN keypup.dora_levels.report IS 'Year of the report: 2021, 2023 or 2024.';
COMMENT ON COLUMN keypup.dora_levels.metric IS 'The column of dora_metrics.';
COMMENT ON COLUMN keypup.dora_levels.level IS 'elite, high or medium.';
COMMENT ON COLUMN keypup.dora_levels.place IS '1 for elite, 2 for high, 3 for medium.';
COMMENT ON COLUMN keypup.dora_levels.bound IS
  'A frequency is at least, a time below, a rate at most this. In 2024 the medium cluster failed less often than the '
  'high one: no rate is medium by that report.';
COMMENT ON COLUMN keypup.dora_levels.unit IS
  'Of the bound: hours, share (0 to 1), days a week (deployment_frequency), or deliveries in 13 weeks (deployments; '
  'of a younger project as many as it would have by then).';

CREATE VIEW keypup.dora_metrics WITH (security_invoker = true, security_barrier = true) AS
WITH zone AS MATERIALIZED (
  SELECT a.account_id, z.time_zone, (now() AT TIME ZONE z.time_zone)::date AS today
  FROM keypup.accounts a
  CROSS JOIN LATERAL (SELECT keypup.known_time_zone(a.time_zone) AS time_zone OFFSET 0) AS z
), fact AS (
  -- Every delivery: the first of all says from when on is counted.
  SELECT d.account_id, d.project_id, d.project, d.source, d.deployed_at, d.succeeded, NULL::interval AS lead_time,
    NULL::text AS carried_by, NULL::boolean AS is_rework, NULL::text AS failed_change, NULL::interval AS recovery_time
  FROM keypup.production_deployments d WHERE d.deployed_at <= now()
  UNION ALL
  -- A day more than is counted, whatever the zone.
  SELECT p.account_id, p.project_id, NULL, NULL, p.deployed_at, NULL,
    CASE WHEN keypup.counts_bots() OR NOT p.author_is_bot THEN p.change_lead_time END, p.deployment_id,
    CASE WHEN p.rework_reason IS NOT NULL THEN true WHEN NOT p.author_is_bot THEN false END, NULL, NULL
  FROM keypup.pull_request_delivery p WHERE p.deployed_at > now() - interval '92 days' AND p.deployed_at <= now()
  UNION ALL
  SELECT i.account_id, i.project_id, NULL, NULL, i.deployed_at, NULL, NULL, NULL, NULL, i.deployment_id,
    i.recovery_time
  FROM keypup.incidents i WHERE i.deployed_at > now() - interval '92 days' AND i.deployed_at <= now()
), placed AS (
  SELECT f.*, z.today, x.day, z.today - x.day < 91 AS is_recent
  FROM fact f
  JOIN zone z ON z.account_id = f.account_id
  CROSS JOIN LATERAL (SELECT (f.deployed_at AT TIME ZONE z.time_zone)::date AS day) AS x
), counted AS (
  SELECT f.account_id, f.project_id, max(f.project) AS project, max(f.source) AS source,
    keypup.days_counted(max(f.today) - min(f.day)) AS days_counted,
    count(*) FILTER (WHERE f.succeeded AND f.is_recent) AS deployments,
    count(*) FILTER (WHERE NOT f.succeeded AND f.is_recent) AS failed_deployments,
    count(DISTINCT f.failed_change) FILTER (WHERE f.is_recent) AS failed_changes,
    -- What carried mending or plans, without what carried plans: as deployment_metrics.is_rework.
    count(DISTINCT f.carried_by) FILTER (WHERE f.is_rework IS NOT NULL AND f.is_recent)
      - count(DISTINCT f.carried_by) FILTER (WHERE NOT f.is_rework AND f.is_recent) AS rework_deployments,
    justify_hours(percentile_cont(0.5) WITHIN GROUP (ORDER BY f.lead_time) FILTER (WHERE f.is_recent)) AS lead_time_p50,
    justify_hours(percentile_cont(0.5) WITHIN GROUP (ORDER BY f.recovery_time)
      FILTER (WHERE f.is_recent)) AS recovery_time_p50,
    array_agg(DISTINCT (f.today - f.day)::bigint) FILTER (WHERE f.succeeded AND f.is_recent) AS days_ago
  FROM placed f
  GROUP BY f.account_id, f.project_id
), measured AS (
  SELECT c.*, k.weeks_counted, keypup.days_per_week_p50(c.days_ago, k.weeks_counted) AS days_per_week_p50,
    c.failed_changes / nullif(c.deployments, 0)::double precision AS change_failure_rate, 2023::bigint AS levels_report
  FROM counted c
  CROSS JOIN LATERAL (SELECT c.days_counted / 7 AS weeks_counted) AS k
)
SELECT m.account_id, m.project_id, m.project, m.source, m.weeks_counted, m.deployments, m.failed_deployments,
  m.failed_changes, m.levels_report,
  m.days_per_week_p50 AS deployment_frequency, coalesce(v.frequency, 'low') AS deployment_frequency_level,
  m.lead_time_p50 AS lead_time_for_changes,
  CASE WHEN m.lead_time_p50 IS NOT NULL THEN coalesce(v.lead_time, 'low') END AS lead_time_for_changes_level,
  m.change_failure_rate,
  CASE WHEN m.change_failure_rate IS NOT NULL THEN coalesce(v.failure_rate, 'low') END AS change_failure_rate_level,
  m.recovery_time_p50 AS failed_deployment_recovery_time,
  CASE WHEN m.recovery_time_p50 IS NOT NULL
    THEN coalesce(v.recovery_time, 'low') END AS failed_deployment_recovery_time_level,
  m.rework_deployments, m.rework_deployments / nullif(m.deployments, 0)::double precision AS rework_rate
FROM measured m
-- Of the levels whose bounds are kept, the best: elite.
CROSS JOIN LATERAL (
  SELECT (array_agg(l.level ORDER BY l.place) FILTER (WHERE l.metric = 'deployment_frequency'
      AND CASE l.unit WHEN 'days a week' THEN m.days_per_week_p50
        ELSE m.deployments * 91.0 / m.days_counted END >= l.bound))[1] AS frequency,
    (array_agg(l.level ORDER BY l.place) FILTER (WHERE l.metric = 'lead_time_for_changes'
      AND extract(epoch FROM m.lead_time_p50) < l.bound * 3600))[1] AS lead_time,
    (array_agg(l.level ORDER BY l.place) FILTER (WHERE l.metric = 'change_failure_rate'
      AND m.change_failure_rate <= l.bound))[1] AS failure_rate,
    (array_agg(l.level ORDER BY l.place) FILTER (WHERE l.metric = 'failed_deployment_recovery_time'
      AND extract(epoch FROM m.recovery_time_p50) < l.bound * 3600))[1] AS recovery_time
  FROM keypup.dora_levels l WHERE l.account_id = m.account_id AND l.report = m.levels_report
) AS v;
REVOKE ALL ON keypup.dora_metrics FROM PUBLIC;
GRANT SELECT ON keypup.dora_metrics TO keypup_member;
COMMENT ON VIEW keypup.dora_metrics IS
  'One row a project that ever delivered, or tried to: DORA''s key metrics of the last 91 days (13 weeks), or since '
  'its first delivery or try, and the levels of four of them. Days are those of the account''s time zone, and the last '
  'one is today. '
  'What bots opened counts unless keypup.count_bots is off.';
COMMENT ON COLUMN keypup.dora_metrics.account_id IS 'The account.';
COMMENT ON COLUMN keypup.dora_metrics.project_id IS 'The project.';
COMMENT ON COLUMN keypup.dora_metrics.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.dora_metrics.source IS 'deployment or release: what counts as a delivery of the project.';
COMMENT ON COLUMN keypup.dora_metrics.weeks_counted IS
  'How many weeks deployment_frequency is of: 13, or the whole weeks since the first delivery, or failed try, of a '
  'younger project, at least 1.';
COMMENT ON COLUMN keypup.dora_metrics.deployments IS 'Successful deliveries; 0 where there was none in the 91 days.';
COMMENT ON COLUMN keypup.dora_metrics.failed_deployments IS 'Changes whose deployments never succeeded.';
COMMENT ON COLUMN keypup.dora_metrics.failed_changes IS
  'Successful deliveries after which an incident was opened, before the next one.';
COMMENT ON COLUMN keypup.dora_metrics.levels_report IS
  'Year of DORA''s report whose levels these are; those of other years are in dora_levels.';
COMMENT ON COLUMN keypup.dora_metrics.deployment_frequency IS
  'Days with a successful delivery a week, 0 to 7: the median of weeks_counted weeks of calendar days, the last of '
  'which ends today.';
COMMENT ON COLUMN keypup.dora_metrics.deployment_frequency_level IS
  'elite: 5 days a week or more. high: 1 or more. medium: at least 3 deliveries in 13 weeks, about one a month. low: '
  'fewer, or none.';
COMMENT ON COLUMN keypup.dora_metrics.lead_time_for_changes IS
  'Median start of coding to production, of the pull requests that reached production, interpolated; NULL without one.';
COMMENT ON COLUMN keypup.dora_metrics.lead_time_for_changes_level IS
  'elite: below 24 hours. high: below 7 days. medium: below 30 days. low: longer.';
COMMENT ON COLUMN keypup.dora_metrics.change_failure_rate IS
  'failed_changes per successful delivery, 0 to 1; NULL without a successful one.';
COMMENT ON COLUMN keypup.dora_metrics.change_failure_rate_level IS
  'elite: at most 0.05. high: at most 0.10. medium: at most 0.15. low: higher.';
COMMENT ON COLUMN keypup.dora_metrics.failed_deployment_recovery_time IS
  'Median delivery to the closing of an incident that is put down to it, interpolated; NULL without a closed one.';
COMMENT ON COLUMN keypup.dora_metrics.failed_deployment_recovery_time_level IS
  'elite: below 1 hour. high: below 24 hours. medium: below 7 days. low: longer.';
COMMENT ON COLUMN keypup.dora_metrics.rework_deployments IS
  'Successful deliveries that were made to mend what is in production (deployment_metrics.is_rework).';
COMMENT ON COLUMN keypup.dora_metrics.rework_rate IS
  'DORA''s rework rate: rework_deployments per successful delivery, 0 to 1; NULL without a successful one. No report '
  'has levels of it.';
