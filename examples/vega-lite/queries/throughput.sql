-- Throughput: pull requests merged, issues opened and issues closed, by week.
SELECT week_start,
  sum(pull_requests_merged)::bigint AS pull_requests_merged,
  sum(issues_opened)::bigint AS issues_opened,
  sum(issues_closed)::bigint AS issues_closed
FROM keypup.throughput_weekly
WHERE account_id = nullif(:'account', '')::uuid
  AND (:'project' = '' OR project_id = nullif(:'project', '')::bigint)
  AND week_start BETWEEN :'from'::date AND :'to'::date
GROUP BY week_start
ORDER BY week_start DESC;
