-- The first week, and the last week in which anything happened: where a chosen period ends.
WITH counted AS (
  SELECT account_id, project_id, week_start, pull_requests_merged + issues_opened + issues_closed + issues_reopened AS events FROM keypup.throughput_weekly
  UNION ALL
  SELECT account_id, project_id, week_start, deployments + failed_deployments FROM keypup.delivery_weekly
)
SELECT min(week_start) AS first_week, max(week_start) FILTER (WHERE events > 0) AS last_week
FROM counted
WHERE account_id = nullif(:'account', '')::uuid
  AND (:'project' = '' OR project_id = nullif(:'project', '')::bigint);
