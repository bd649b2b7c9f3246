-- Change failure rate: the percentage of a week's deployments after which an incident was opened before the next one.
SELECT week_start,
  sum(deployments)::bigint AS deployments,
  sum(failed_changes)::bigint AS failed_changes,
  round(100.0 * sum(failed_changes) / sum(deployments), 1) AS percent_failed
FROM keypup.delivery_weekly
WHERE account_id = nullif(:'account', '')::uuid
  AND (:'project' = '' OR project_id = nullif(:'project', '')::bigint)
  AND week_start BETWEEN :'from'::date AND :'to'::date
GROUP BY week_start
HAVING sum(deployments) > 0
ORDER BY week_start DESC;
