-- DORA's four keys of the period, over all chosen projects.
WITH deployed AS (
  SELECT count(*) AS deployments
  FROM keypup.production_deployments d
  JOIN keypup.accounts a ON a.account_id = d.account_id
  WHERE d.account_id = nullif(:'account', '')::uuid
    AND (:'project' = '' OR d.project_id = nullif(:'project', '')::bigint)
    AND (d.deployed_at AT TIME ZONE keypup.known_time_zone(a.time_zone))::date BETWEEN :'from'::date AND :'to'::date
    AND d.succeeded
), led AS (
  SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY d.change_lead_time) AS lead_time_p50
  FROM keypup.pull_request_delivery d
  JOIN keypup.accounts a ON a.account_id = d.account_id
  WHERE d.account_id = nullif(:'account', '')::uuid
    AND (:'project' = '' OR d.project_id = nullif(:'project', '')::bigint)
    AND (d.deployed_at AT TIME ZONE keypup.known_time_zone(a.time_zone))::date BETWEEN :'from'::date AND :'to'::date
    AND (keypup.counts_bots() OR NOT d.author_is_bot)
), broken AS (
  SELECT count(DISTINCT (i.project_id, i.deployment_id)) AS failed_changes, percentile_cont(0.5) WITHIN GROUP (ORDER BY i.recovery_time) AS recovery_time_p50
  FROM keypup.incidents i
  JOIN keypup.accounts a ON a.account_id = i.account_id
  WHERE i.account_id = nullif(:'account', '')::uuid
    AND (:'project' = '' OR i.project_id = nullif(:'project', '')::bigint)
    AND (i.deployed_at AT TIME ZONE keypup.known_time_zone(a.time_zone))::date BETWEEN :'from'::date AND :'to'::date
)
SELECT d.deployments,
  round(extract(epoch FROM l.lead_time_p50) / 3600, 1) AS lead_time_p50_hours,
  round(100.0 * b.failed_changes / nullif(d.deployments, 0), 1) AS change_failure_percent,
  round(extract(epoch FROM b.recovery_time_p50) / 3600, 1) AS recovery_time_p50_hours
FROM deployed d CROSS JOIN led l CROSS JOIN broken b;
