-- Deployment frequency: deployments to production (or releases, in a project without deployments) by week.
-- Days with a deployment are those of each project, added up.
SELECT week_start,
  sum(deployments)::bigint AS deployments,
  sum(failed_deployments)::bigint AS failed_deployments,
  sum(deployment_days)::bigint AS deployment_days
FROM keypup.delivery_weekly
WHERE account_id = nullif(:'account', '')::uuid
  AND (:'project' = '' OR project_id = nullif(:'project', '')::bigint)
  AND week_start BETWEEN :'from'::date AND :'to'::date
GROUP BY week_start
ORDER BY week_start DESC;
