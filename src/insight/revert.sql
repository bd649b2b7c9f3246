-- insight/revert.sql: which pull request took which one back. doc/metrics.md has the definitions.

CREATE VIEW keypup.pull_request_reverts WITH (security_invoker = true, security_barrier = true) AS
-- What is merged under its title and what reverts under the title that it names, in one list in the order of time: no
-- join.
WITH listed AS (
  SELECT p.account_id, p.project_id, x.title COLLATE "C" AS title, x.happened_at, x.merged_number, x.revert_number,
    p.state AS revert_state, p.author AS revert_author, p.merged_at AS revert_merged_at
  FROM keypup.pull_requests p
  CROSS JOIN LATERAL (
    SELECT p.title, p.merged_at AS happened_at, p.number AS merged_number, NULL::bigint AS revert_number
    WHERE p.merged_at IS NOT NULL
    UNION ALL
    -- Of no length for titles that are too short: a filter on the title may look at them before the next one does.
    SELECT substr(p.title, 9, greatest(length(p.title) - 9, 0)), p.created_at, NULL, p.number
    WHERE p.title LIKE 'Revert "_%"'
  ) AS x
  WHERE p.deleted_at IS NULL
), named AS (
  SELECT l.account_id, l.project_id, l.title, l.happened_at, l.revert_number, l.revert_state, l.revert_author,
    l.revert_merged_at, max(l.merged_number) OVER w AS number
  FROM listed l
  WINDOW w AS (PARTITION BY l.account_id, l.project_id, l.title ORDER BY l.happened_at,
    l.revert_number NULLS FIRST ROWS UNBOUNDED PRECEDING)
)
SELECT n.account_id, n.project_id, j.name AS project, n.number, n.title COLLATE "default" AS title,
  n.revert_number AS reverted_by, n.revert_author AS reverted_by_author, n.revert_state AS revert_state,
    n.happened_at AS revert_created_at, n.revert_merged_at AS reverted_at
FROM named n
JOIN keypup.projects j ON j.account_id = n.account_id AND j.project_id = n.project_id
WHERE n.revert_number IS NOT NULL AND n.number IS NOT NULL;
REVOKE ALL ON keypup.pull_request_reverts FROM PUBLIC;
GRANT SELECT ON keypup.pull_request_reverts TO keypup_member;
COMMENT ON VIEW keypup.pull_request_reverts IS
  'One row a pull request that reverts another of the project, by its title: Revert, and the other''s title in '
  'quotation marks, as the provider''s button writes it.';
COMMENT ON COLUMN keypup.pull_request_reverts.account_id IS 'The account.';
COMMENT ON COLUMN keypup.pull_request_reverts.project_id IS 'The project.';
COMMENT ON COLUMN keypup.pull_request_reverts.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.pull_request_reverts.number IS
  'The pull request that is reverted: of those with the title that were merged before the revert was opened, the one '
  'with the highest number.';
COMMENT ON COLUMN keypup.pull_request_reverts.title IS 'Its title.';
COMMENT ON COLUMN keypup.pull_request_reverts.reverted_by IS 'The pull request that reverts it.';
COMMENT ON COLUMN keypup.pull_request_reverts.reverted_by_author IS
  'Login of who opened that; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.pull_request_reverts.revert_state IS 'open, closed (it was not reverted) or merged.';
COMMENT ON COLUMN keypup.pull_request_reverts.revert_created_at IS 'When the revert was opened.';
COMMENT ON COLUMN keypup.pull_request_reverts.reverted_at IS 'When the revert was merged; NULL if not.';
