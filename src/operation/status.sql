-- operation/status.sql: how the sync is doing, for whoever may read the data.

CREATE VIEW keypup.sync_status WITH (security_invoker = true, security_barrier = true) AS
WITH held AS (
  SELECT p.account_id, p.project_id,
    (SELECT count(*) FROM keypup.pull_requests r WHERE r.account_id = p.account_id AND r.project_id = p.project_id AND r.deleted_at IS NULL)
    + (SELECT count(*) FROM keypup.issues i WHERE i.account_id = p.account_id AND i.project_id = p.project_id AND i.deleted_at IS NULL) AS items_done,
    p.pull_request_total + p.issue_total AS items_total
  FROM keypup.projects p
)
SELECT s.account_id, a.name AS account, s.project_id, p.name AS project,
  CASE WHEN c.state = 'token_refused' THEN 'stopped' WHEN c.blocked_until > now() THEN 'paused' ELSE s.phase END AS phase,
  h.items_done, h.items_total,
  CASE WHEN h.items_total > 0 THEN least(100, h.items_done * 100 / h.items_total)
       WHEN s.last_run_finished_at IS NOT NULL THEN 100 ELSE 0 END AS percent,
  s.last_error, s.last_error_hint, s.last_error_at,
  CASE WHEN c.state <> 'token_refused' THEN greatest(s.next_run_at, c.blocked_until) END AS next_run_at,
  s.last_run_started_at, s.last_run_finished_at, s.requests, s.points,
  nullif(concat_ws('; ',
    CASE WHEN c.can_write THEN format('the token can change things at the provider (%s): one that only reads would do', c.scopes) END,
    CASE WHEN c.token_expires_at < now() THEN format('the token has expired at %s', c.token_expires_at)
         WHEN c.token_expires_at < now() + interval '14 days' THEN format('the token expires at %s', c.token_expires_at) END,
    CASE WHEN c.hidden_organizations IS NOT NULL THEN format('the provider leaves organizations out that want single sign-on for the token (%s)', c.hidden_organizations) END), '') AS warning
FROM keypup.sync_state s
JOIN keypup.projects p ON p.account_id = s.account_id AND p.project_id = s.project_id
JOIN keypup.accounts a ON a.account_id = s.account_id
JOIN held h ON h.account_id = s.account_id AND h.project_id = s.project_id
LEFT JOIN keypup.connections c ON c.account_id = p.account_id AND c.connection_id = p.connection_id;
REVOKE ALL ON keypup.sync_status FROM PUBLIC;
GRANT SELECT ON keypup.sync_status TO keypup_member;
COMMENT ON VIEW keypup.sync_status IS 'One row a project: how far its sync is, what went wrong last, and when it runs next.';
COMMENT ON COLUMN keypup.sync_status.account_id IS 'The account.';
COMMENT ON COLUMN keypup.sync_status.account IS 'Name of the account.';
COMMENT ON COLUMN keypup.sync_status.project_id IS 'The project.';
COMMENT ON COLUMN keypup.sync_status.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.sync_status.phase IS 'backfill (first reading), incremental, idle, paused (the provider asked for it) or stopped (the token was refused).';
COMMENT ON COLUMN keypup.sync_status.items_done IS 'Issues and pull requests in the tables.';
COMMENT ON COLUMN keypup.sync_status.items_total IS 'Issues and pull requests that the provider counts; NULL before its first answer.';
COMMENT ON COLUMN keypup.sync_status.percent IS 'items_done of items_total, 0 to 100.';
COMMENT ON COLUMN keypup.sync_status.last_error IS 'What went wrong; NULL when the last run went well.';
COMMENT ON COLUMN keypup.sync_status.last_error_hint IS 'What to do about it.';
COMMENT ON COLUMN keypup.sync_status.last_error_at IS 'When it went wrong.';
COMMENT ON COLUMN keypup.sync_status.next_run_at IS 'When the next run starts; NULL while stopped.';
COMMENT ON COLUMN keypup.sync_status.last_run_started_at IS 'When the last run started.';
COMMENT ON COLUMN keypup.sync_status.last_run_finished_at IS 'When a run last finished.';
COMMENT ON COLUMN keypup.sync_status.requests IS 'Requests answered for the project, in all.';
COMMENT ON COLUMN keypup.sync_status.points IS 'Rate-limit points spent for the project, in all.';
COMMENT ON COLUMN keypup.sync_status.warning IS 'What is wrong with the connection''s token though it still reads: it can write, ends within 14 days, or does not see everything.';
