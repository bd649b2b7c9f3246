-- insight/item_link.sql: which pull requests and issues belong together, across projects and providers.

CREATE VIEW keypup.item_links WITH (security_invoker = true, security_barrier = true) AS
SELECT l.account_id, l.pull_request_project_id, l.pull_request_number, l.issue_project_id, l.issue_number,
  array_agg(DISTINCT l.source ORDER BY l.source) AS sources
FROM (
  SELECT n.account_id, n.project_id AS pull_request_project_id, n.pull_request_number, n.project_id AS issue_project_id,
    n.issue_number, s.source
  FROM keypup.issue_pull_request_links n CROSS JOIN LATERAL unnest(n.sources) AS s (source)
  UNION ALL
  SELECT p.account_id, p.project_id, p.number, t.project_id, c.number, 'closing_reference'
  FROM keypup.pull_requests p
  CROSS JOIN LATERAL unnest(p.closes_elsewhere) AS e (entry)
  -- What has another form names nothing. OFFSET, and LIMIT, so that each is looked up by its key, however little is
  -- known of the tables.
  CROSS JOIN LATERAL (
    SELECT m.parts[1] AS external_id, m.parts[2]::bigint AS number
    FROM regexp_match(e.entry, '^(.+) ([0-9]{1,18})$') AS m (parts) OFFSET 0) AS c
  CROSS JOIN LATERAL (
    SELECT o.connection_id FROM keypup.projects o WHERE o.account_id = p.account_id AND o.project_id = p.project_id
    LIMIT 1) AS o
  -- Another connection may be to another server, where such an id is something else.
  CROSS JOIN LATERAL (
    SELECT t.project_id FROM keypup.projects t
    WHERE t.account_id = p.account_id AND t.connection_id = o.connection_id AND t.external_id = c.external_id
    LIMIT 1) AS t
  CROSS JOIN LATERAL (
    SELECT FROM keypup.issues i WHERE i.account_id = p.account_id AND i.project_id = t.project_id
      AND i.number = c.number AND i.deleted_at IS NULL
    LIMIT 1) AS i
  WHERE p.closes_elsewhere <> '{}' AND p.deleted_at IS NULL
  UNION ALL
  SELECT p.account_id, p.project_id, p.number, i.project_id, i.number, s.source
  FROM keypup.pull_requests p
  CROSS JOIN LATERAL unnest(p.mentioned_keys) AS m (key)
  -- Several projects may have the key, each at its own server.
  CROSS JOIN LATERAL (
    SELECT i.project_id, i.number FROM keypup.issues i
    WHERE i.account_id = p.account_id AND i.key = m.key AND i.key !~ '^[#!]' AND i.deleted_at IS NULL
    OFFSET 0) AS i
  CROSS JOIN LATERAL (
    SELECT 'title' AS source WHERE m.key = ANY (keypup.mentioned_keys(p.title, NULL))
    UNION ALL
    SELECT 'branch' WHERE m.key = ANY (keypup.mentioned_keys('', p.head_branch))
  ) AS s
  WHERE p.mentioned_keys <> '{}' AND p.deleted_at IS NULL
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
