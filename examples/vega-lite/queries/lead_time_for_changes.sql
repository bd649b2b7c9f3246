-- Lead time for changes: hours from the first commit to production, by week of the deployment. Over all chosen projects
-- at once, since percentiles cannot be averaged.
SELECT date_trunc('week', d.deployed_at AT TIME ZONE keypup.known_time_zone(a.time_zone))::date AS week_start,
  count(*) AS pull_requests,
  round(extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY d.change_lead_time)) / 3600, 1) AS p50,
  round(extract(epoch FROM percentile_cont(0.75) WITHIN GROUP (ORDER BY d.change_lead_time)) / 3600, 1) AS p75,
  round(extract(epoch FROM percentile_cont(0.9) WITHIN GROUP (ORDER BY d.change_lead_time)) / 3600, 1) AS p90
FROM keypup.pull_request_delivery d
JOIN keypup.accounts a ON a.account_id = d.account_id
WHERE d.account_id = nullif(:'account', '')::uuid
  AND (:'project' = '' OR d.project_id = nullif(:'project', '')::bigint)
  AND (d.deployed_at AT TIME ZONE keypup.known_time_zone(a.time_zone))::date BETWEEN :'from'::date AND :'to'::date
  AND (keypup.counts_bots() OR NOT d.author_is_bot)
GROUP BY 1
ORDER BY 1 DESC;
