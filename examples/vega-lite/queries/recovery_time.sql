-- Failed deployment recovery time: hours from a deployment to the closing of an incident that is put down to it, by week of
-- the deployment. Open incidents are left out.
SELECT date_trunc('week', i.deployed_at AT TIME ZONE keypup.known_time_zone(a.time_zone))::date AS week_start,
  count(*) AS incidents,
  round(extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY i.recovery_time)) / 3600, 1) AS p50,
  round(extract(epoch FROM max(i.recovery_time)) / 3600, 1) AS longest
FROM keypup.incidents i
JOIN keypup.accounts a ON a.account_id = i.account_id
WHERE i.account_id = nullif(:'account', '')::uuid
  AND (:'project' = '' OR i.project_id = nullif(:'project', '')::bigint)
  AND (i.deployed_at AT TIME ZONE keypup.known_time_zone(a.time_zone))::date BETWEEN :'from'::date AND :'to'::date
  AND i.recovery_time IS NOT NULL
GROUP BY 1
ORDER BY 1 DESC;
