-- DORA's four keys of the period, over all chosen projects.
WITH deployed AS (
  SELECT sum(deployments)::bigint AS deployments, round(100.0 * sum(failed_changes) / nullif(sum(deployments), 0), 1) AS change_failure_percent
  FROM keypup.delivery_weekly
  WHERE account_id = nullif(:'account', '')::uuid
    AND (:'project' = '' OR project_id = nullif(:'project', '')::bigint)
    AND week_start BETWEEN :'from'::date AND :'to'::date
), led AS (
  SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY d.lead_time) AS lead_time_p50
  FROM keypup.pull_request_delivery d
  JOIN keypup.accounts a ON a.account_id = d.account_id
  WHERE d.account_id = nullif(:'account', '')::uuid
    AND (:'project' = '' OR d.project_id = nullif(:'project', '')::bigint)
    AND (d.deployed_at AT TIME ZONE keypup.known_time_zone(a.time_zone))::date BETWEEN :'from'::date AND :'to'::date
), recovered AS (
  SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY i.recovery_time) AS recovery_time_p50
  FROM keypup.incidents i
  JOIN keypup.accounts a ON a.account_id = i.account_id
  WHERE i.account_id = nullif(:'account', '')::uuid
    AND (:'project' = '' OR i.project_id = nullif(:'project', '')::bigint)
    AND (i.deployed_at AT TIME ZONE keypup.known_time_zone(a.time_zone))::date BETWEEN :'from'::date AND :'to'::date
)
SELECT coalesce(d.deployments, 0) AS deployments,
  round(extract(epoch FROM l.lead_time_p50) / 3600, 1) AS lead_time_p50_hours,
  d.change_failure_percent,
  round(extract(epoch FROM r.recovery_time_p50) / 3600, 1) AS recovery_time_p50_hours
FROM deployed d CROSS JOIN led l CROSS JOIN recovered r;
