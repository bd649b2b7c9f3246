-- The first week, and the last week in which anything happened: where a chosen period ends.
SELECT min(week_start) AS first_week,
  max(week_start) FILTER (WHERE pull_requests_merged + issues_opened + issues_closed + issues_reopened > 0) AS last_week
FROM keypup.throughput_weekly
WHERE account_id = nullif(:'account', '')::uuid
  AND (:'project' = '' OR project_id = nullif(:'project', '')::bigint);
