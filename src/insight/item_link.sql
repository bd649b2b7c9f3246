-- insight/item_link.sql: which pull requests and issues belong together, across projects and providers.

CREATE VIEW keypup.item_links WITH (security_invoker = true, security_barrier = true) AS
SELECT l.account_id, l.pull_request_project_id, l.pull_request_number, l.issue_project_id, l.issue_number,
  array_agg(DISTINCT l.source ORDER BY l.source) AS sources
FROM (
  SELECT n.account_id, n.project_id AS pull_request_project_id, n.pull_request_number, n.project_id AS issue_project_id,
    n.issue_number, s.source
  FROM keypup.issue_pull_request_links n CROSS JOIN LATERAL unnest(n.sources) AS s (source)
  UNION ALL
  SELECT p.account_id, p.project_id, p.number, i.project_id, i.number, 'closing_reference'
  FROM keypup.pull_requests p
  JOIN keypup.projects o ON o.account_id = p.account_id AND o.project_id = p.project_id
  CROSS JOIN LATERAL unnest(p.closes_elsewhere) AS e (entry)
  CROSS JOIN LATERAL (SELECT split_part(e.entry, ' ', 1) AS external_id,
    split_part(e.entry, ' ', 2)::bigint AS number) AS c
  -- Another connection may be to another server, where such an id is something else.
  JOIN keypup.projects t ON t.account_id = o.account_id AND t.connection_id = o.connection_id
    AND t.external_id = c.external_id
  JOIN keypup.issues i ON i.account_id = t.account_id AND i.project_id = t.project_id AND i.number = c.number
  WHERE p.closes_elsewhere <> '{}' AND p.deleted_at IS NULL AND i.deleted_at IS NULL
  UNION ALL
  SELECT p.account_id, p.project_id, p.number, i.project_id, i.number, s.source
  FROM keypup.pull_requests p
  CROSS JOIN LATERAL unnest(p.mentioned_keys) AS m (key)
  JOIN keypup.issues i ON i.account_id = p.account_id AND i.key = m.key AND i.key !~ '^[#!]'
  CROSS JOIN LATERAL (
    SELECT 'title' AS source WHERE m.key = ANY (keypup.mentioned_keys(p.title, NULL))
    UNION ALL
    SELECT 'branch' WHERE m.key = ANY (keypup.mentioned_keys('', p.head_branch))
  ) AS s
  WHERE p.mentioned_keys <> '{}' AND p.deleted_at IS NULL AND i.deleted_at IS NULL
) AS l
GROUP BY l.account_id, l.pull_request_project_id, l.pull_request_number, l.issue_project_id, l.issue_number;
REVOKE ALL ON keypup.item_links FROM PUBLIC;
GRANT SELECT ON keypup.item_links TO keypup_member;
COMMENT ON VIEW keypup.item_links IS
  'One row a pull request and an issue that it names, of whatever project and provider: an issue in Jira that a pull '
  'request in GitHub mentions, too.';
COMMENT ON COLUMN keypup.item_links.account_id IS 'The account.';
COMMENT ON COLUMN keypup.item_links.pull_request_project_id IS 'The project of the pull request.';
COMMENT ON COLUMN keypup.item_links.pull_request_number IS 'Number of the pull request.';
COMMENT ON COLUMN keypup.item_links.issue_project_id IS 'The project of the issue.';
COMMENT ON COLUMN keypup.item_links.issue_number IS 'Number of the issue.';
COMMENT ON COLUMN keypup.item_links.sources IS
  'How it is named, sorted: branch (its number or key in the name of the branch), closing_reference (the provider says '
  'that the merge closes it), title.';
