-- insight/devlake.sql: pull requests measured as Apache DevLake does, for those who migrate. doc/delivery.md has the definitions.

-- Of numbers, not of times: a commit may be dated so that the span is longer than an interval.
CREATE FUNCTION keypup.devlake_minutes(begun timestamptz, ended timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE WHEN m.minutes >= 0 THEN m.minutes END FROM (SELECT ceil((extract(epoch FROM ended) - extract(epoch FROM begun)) / 60)::bigint AS minutes) AS m $$;
REVOKE ALL ON FUNCTION keypup.devlake_minutes(timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.devlake_minutes(timestamptz, timestamptz) TO keypup_member;
COMMENT ON FUNCTION keypup.devlake_minutes(timestamptz, timestamptz) IS 'A span as DevLake counts it: whole minutes, rounded up; NULL where that is negative.';

CREATE VIEW keypup.dora_devlake_compat WITH (security_invoker = true, security_barrier = true) AS
SELECT p.account_id, p.project_id, p.project, p.number, p.created_at, p.merged_at, r.first_at AS first_review_at, p.deployment_id,
  keypup.devlake_minutes(p.first_commit_at, p.created_at) AS pr_coding_time,
  keypup.devlake_minutes(p.created_at, r.first_at) AS pr_pickup_time,
  keypup.devlake_minutes(r.first_at, p.merged_at) AS pr_review_time,
  d.minutes AS pr_deploy_time,
  coalesce(keypup.devlake_minutes(p.first_commit_at, p.created_at), 0) + coalesce(keypup.devlake_minutes(p.created_at, p.merged_at), 0)
    + coalesce(d.minutes, 0) AS pr_cycle_time
FROM keypup.pull_request_delivery p
-- Anything that anybody else wrote, bots included, before the opening and after the merge too; of an unknown author's, anybody.
CROSS JOIN LATERAL (
  SELECT min(w.at) AS first_at
  FROM (
    SELECT c.author, c.created_at AS at FROM keypup.comments c
    WHERE c.account_id = p.account_id AND c.project_id = p.project_id AND c.item_number = p.number AND c.item_kind IN ('pull_request', 'review')
    UNION ALL
    SELECT v.author, v.submitted_at FROM keypup.reviews v
    WHERE v.account_id = p.account_id AND v.project_id = p.project_id AND v.pull_request_number = p.number AND v.state <> 'pending'
  ) AS w
  WHERE p.author IS NULL OR w.author IS DISTINCT FROM p.author
) AS r
-- What came with the very first delivery of a project has none: DevLake compares each with the one before.
CROSS JOIN LATERAL (SELECT CASE WHEN p.deployment_number > 1 THEN keypup.devlake_minutes(p.merged_at, p.deployed_at) END AS minutes) AS d;
REVOKE ALL ON keypup.dora_devlake_compat FROM PUBLIC;
GRANT SELECT ON keypup.dora_devlake_compat TO keypup_member;
COMMENT ON VIEW keypup.dora_devlake_compat IS 'One row a merged pull request, measured as Apache DevLake does (its table project_pr_metrics), with the edge cases that come with it. pull_request_metrics and pull_request_delivery measure better.';
COMMENT ON COLUMN keypup.dora_devlake_compat.account_id IS 'The account.';
COMMENT ON COLUMN keypup.dora_devlake_compat.project_id IS 'The project.';
COMMENT ON COLUMN keypup.dora_devlake_compat.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.dora_devlake_compat.number IS 'Number within the project.';
COMMENT ON COLUMN keypup.dora_devlake_compat.created_at IS 'When it was opened.';
COMMENT ON COLUMN keypup.dora_devlake_compat.merged_at IS 'When it was merged.';
COMMENT ON COLUMN keypup.dora_devlake_compat.first_review_at IS 'Earliest comment or review of any kind by another login, bots included, before the opening and after the merge too; by anybody where the author is unknown.';
COMMENT ON COLUMN keypup.dora_devlake_compat.deployment_id IS 'The delivery that brought it to production, as in pull_request_delivery: DevLake compares commits, which are source.';
COMMENT ON COLUMN keypup.dora_devlake_compat.pr_coding_time IS 'Minutes from the first commit to the opening; NULL where the commit is later.';
COMMENT ON COLUMN keypup.dora_devlake_compat.pr_pickup_time IS 'Minutes from the opening to first_review_at; NULL where that is earlier.';
COMMENT ON COLUMN keypup.dora_devlake_compat.pr_review_time IS 'Minutes from first_review_at to the merge; NULL where that is later.';
COMMENT ON COLUMN keypup.dora_devlake_compat.pr_deploy_time IS 'Minutes from the merge to the delivery; NULL without one, and for what came with the first delivery of its project.';
COMMENT ON COLUMN keypup.dora_devlake_compat.pr_cycle_time IS 'Coding, opening to merge, and deploy together, NULL as 0. Pickup and review do not sum to it.';
