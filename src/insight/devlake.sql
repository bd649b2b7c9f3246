-- insight/devlake.sql: pull requests measured as Apache DevLake does, for those who migrate. doc/delivery.md has the
-- definitions.

CREATE VIEW keypup.dora_devlake_compat WITH (security_invoker = true, security_barrier = true) AS
SELECT p.account_id, p.project_id, p.project, p.number, p.created_at, p.merged_at, r.first_at AS first_comment_at,
  p.deployment_id, m.coding AS pr_coding_time, m.pickup AS pr_pickup_time, m.review AS pr_review_time,
  m.deploy AS pr_deploy_time, coalesce(m.coding, 0) + coalesce(m.until_merge, 0) + coalesce(m.deploy,
    0) AS pr_cycle_time
FROM keypup.pull_request_delivery p
-- Anything that anybody else wrote, bots included, before the opening and after the merge too; of an unknown author's,
-- anybody.
CROSS JOIN LATERAL (
  SELECT min(w.at) AS first_at
  FROM (
    SELECT c.author, c.created_at AS at FROM keypup.comments c
    WHERE c.account_id = p.account_id AND c.project_id = p.project_id AND c.item_number = p.number AND c.item_kind
      IN ('pull_request', 'review')
    UNION ALL
    SELECT v.author, v.submitted_at FROM keypup.reviews v
    WHERE v.account_id = p.account_id AND v.project_id = p.project_id AND v.pull_request_number = p.number
      AND v.state <> 'pending'
  ) AS w
  WHERE p.author IS NULL OR w.author IS DISTINCT FROM p.author
) AS r
-- Whole minutes, rounded up. Of numbers, not of times: a commit may be dated so that the span is longer than an
-- interval.
CROSS JOIN LATERAL (
  SELECT max(s.minutes) FILTER (WHERE s.span = 'coding') AS coding,
    max(s.minutes) FILTER (WHERE s.span = 'pickup') AS pickup,
    max(s.minutes) FILTER (WHERE s.span = 'review') AS review,
      max(s.minutes) FILTER (WHERE s.span = 'until merge') AS until_merge,
      max(s.minutes) FILTER (WHERE s.span = 'deploy') AS deploy
  FROM (
    SELECT x.span, ceil((extract(epoch FROM x.ended) - extract(epoch FROM x.begun)) / 60)::bigint AS minutes
    FROM (VALUES ('coding', p.first_commit_at, p.created_at), ('pickup', p.created_at, r.first_at),
      ('review', r.first_at, p.merged_at), ('until merge', p.created_at, p.merged_at),
      -- What came with the very first delivery of a project has none: DevLake compares each with the one before.
      ('deploy', p.merged_at, CASE WHEN p.deployment_number > 1 THEN p.deployed_at END)) AS x(span, begun, ended)
  ) AS s
  WHERE s.minutes >= 0
) AS m;
REVOKE ALL ON keypup.dora_devlake_compat FROM PUBLIC;
GRANT SELECT ON keypup.dora_devlake_compat TO keypup_member;
COMMENT ON VIEW keypup.dora_devlake_compat IS
  'One row a merged pull request, measured as Apache DevLake does (its table project_pr_metrics), with the edge cases '
  'that come with it. pull_request_metrics and pull_request_delivery measure better.';
COMMENT ON COLUMN keypup.dora_devlake_compat.account_id IS 'The account.';
COMMENT ON COLUMN keypup.dora_devlake_compat.project_id IS 'The project.';
COMMENT ON COLUMN keypup.dora_devlake_compat.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.dora_devlake_compat.number IS 'Number within the project.';
COMMENT ON COLUMN keypup.dora_devlake_compat.created_at IS 'When it was opened.';
COMMENT ON COLUMN keypup.dora_devlake_compat.merged_at IS 'When it was merged.';
COMMENT ON COLUMN keypup.dora_devlake_compat.first_comment_at IS
  'Earliest comment or review of any kind by another login, bots included, before the opening and after the merge too; '
  'by anybody where the author is unknown.';
COMMENT ON COLUMN keypup.dora_devlake_compat.deployment_id IS
  'The delivery that brought it to production, as in pull_request_delivery: DevLake compares commits, which are '
  'source.';
COMMENT ON COLUMN keypup.dora_devlake_compat.pr_coding_time IS
  'Minutes from the first commit to the opening; NULL where the commit is later.';
COMMENT ON COLUMN keypup.dora_devlake_compat.pr_pickup_time IS
  'Minutes from the opening to first_comment_at; NULL where that is earlier.';
COMMENT ON COLUMN keypup.dora_devlake_compat.pr_review_time IS
  'Minutes from first_comment_at to the merge; NULL where that is later.';
COMMENT ON COLUMN keypup.dora_devlake_compat.pr_deploy_time IS
  'Minutes from the merge to the delivery; NULL without one, and for what came with the first delivery of its project.';
COMMENT ON COLUMN keypup.dora_devlake_compat.pr_cycle_time IS
  'Coding, opening to merge, and deploy together, NULL as 0. Pickup and review do not sum to it.';
