-- The first week, and the last week in which anything happened: where a chosen period ends.
WITH counted AS (
  SELECT account_id, project_id, week_start, pull_requests_merged + issues_opened + issues_closed + issues_reopened AS events
  FROM keypup.throughput_weekly
  UNION ALL
  SELECT d.account_id, d.project_id, date_trunc('week', d.deployed_at AT TIME ZONE keypup.known_time_zone(a.time_zone))::date, 1
  FROM keypup.production_deployments d
  JOIN keypup.accounts a ON a.account_id = d.account_id
  WHERE d.deployed_at <= now()
)
SELECT min(week_start) AS first_week, max(week_start) FILTER (WHERE events > 0) AS last_week
FROM counted
WHERE account_id = nullif(:'account', '')::uuid
  AND (:'project' = '' OR project_id = nullif(:'project', '')::bigint);
