-- operation/status.sql: how the sync is doing, for whoever may read the data.

CREATE FUNCTION keypup.find_switch(shows_files boolean) RETURNS text
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  -- Whose value holds, the first before the others. Workers run as the superuser that initialized the cluster.
  WITH given (place, value, remedy) AS (
    SELECT 4 - 2 * (s.setrole <> 0)::integer - (s.setdatabase <> 0)::integer, split_part(c.setting, '=', 2),
      concat_ws(' ', 'ALTER',
        CASE WHEN s.setrole <> 0 THEN format('ROLE %I', pg_get_userbyid(s.setrole))
             WHEN s.setdatabase = 0 THEN 'ROLE ALL' END,
        CASE WHEN s.setdatabase <> 0 AND s.setrole <> 0 THEN 'IN' END,
        CASE WHEN s.setdatabase <> 0 THEN format('DATABASE %I', current_database()) END,
        'RESET keypup.workers;')
    FROM pg_db_role_setting s
    CROSS JOIN unnest(s.setconfig) AS c (setting)
    WHERE s.setrole IN (0, 10)
      AND s.setdatabase IN (0, (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
      AND c.setting COLLATE "C" ILIKE 'keypup.workers=%'
    UNION ALL
    (SELECT 5, f.setting,
       CASE WHEN f.sourcefile LIKE '%/postgresql.auto.conf' THEN 'ALTER SYSTEM RESET keypup.workers; SELECT '
         'pg_reload_conf();'
            WHEN shows_files THEN format('Change line %s of %s, and reload; or, for this database: '
                'ALTER DATABASE %I SET keypup.workers = 1;', f.sourceline, f.sourcefile, current_database()) END
     FROM pg_file_settings f WHERE f.name COLLATE "C" ILIKE 'keypup.workers'
     -- Of several lines the last one counts; ALTER SYSTEM's stand behind the others.
     ORDER BY f.seqno DESC LIMIT 1)
  ), ranked AS (
    SELECT g.*, bool_and(g.value !~ '[1-9]') OVER (ORDER BY g.place) AS is_off FROM given g
  )
  SELECT coalesce(string_agg(r.remedy, ' ' ORDER BY r.place),
    format('ALTER DATABASE %I SET keypup.workers = 1;', current_database()))
  FROM ranked r WHERE r.is_off
$$;
REVOKE ALL ON FUNCTION keypup.find_switch(boolean) FROM PUBLIC;
COMMENT ON FUNCTION keypup.find_switch(boolean) IS
  'What to do about keypup.workers = 0, as it applies to workers of this database: the statements, or the line of a '
  'configuration file, if those may be shown.';

CREATE FUNCTION keypup.diagnose_launcher(OUT ok boolean, OUT detail text, OUT remedy text)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'keypup_diagnose_launcher';
REVOKE ALL ON FUNCTION keypup.diagnose_launcher() FROM PUBLIC;
COMMENT ON FUNCTION keypup.diagnose_launcher() IS
  'Whether the launcher of the server''s background workers runs, or why not, and what to do about it. ok is NULL '
  'where it is about to start, and where there is none, as on a standby.';

CREATE FUNCTION keypup.diagnose_workers(OUT ok boolean, OUT detail text, OUT remedy text)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'keypup_diagnose_workers';
REVOKE ALL ON FUNCTION keypup.diagnose_workers() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.diagnose_workers() TO keypup_member;
COMMENT ON FUNCTION keypup.diagnose_workers() IS
  'Whether background workers work in this database, or why not, and what to do about it. ok is NULL where one is '
  'about to start, and on a standby.';

CREATE VIEW keypup.sync_status WITH (security_invoker = true, security_barrier = true) AS
WITH held AS (
  SELECT p.account_id, p.project_id,
    (SELECT count(*) FROM keypup.pull_requests r
     WHERE r.account_id = p.account_id AND r.project_id = p.project_id AND r.deleted_at IS NULL)
    + (SELECT count(*) FROM keypup.issues i
       WHERE i.account_id = p.account_id AND i.project_id = p.project_id AND i.deleted_at IS NULL) AS items_done,
    p.pull_request_total + p.issue_total AS items_total
  FROM keypup.projects p
), halted AS (
  SELECT h.account_id, h.connection_id, h.phase, h.reason, h.hint, h.since, h.tried_again_at
  FROM keypup.halted_connections h
  UNION ALL
  SELECT c.account_id, c.connection_id, 'paused', c.blocked_reason, c.blocked_hint, c.refused_at,
    coalesce(c.retry_at, now())
  FROM keypup.connections c WHERE c.state = 'token_doubted' AND c.origin = (SELECT keypup.this_database())
)
SELECT s.account_id, a.name AS account, s.project_id, p.name AS project,
  coalesce(t.phase, CASE WHEN c.blocked_until > now() THEN 'paused' END, s.phase) AS phase,
  h.items_done, h.items_total,
  CASE WHEN h.items_total > 0 THEN least(100, h.items_done * 100 / h.items_total)
       WHEN s.last_run_finished_at IS NOT NULL THEN 100 ELSE 0 END AS percent,
  -- What halts the connection is said on each of its projects, whichever was asked for.
  coalesce(t.reason, s.last_error) AS last_error,
  CASE WHEN t.reason IS NULL THEN s.last_error_hint ELSE t.hint END AS last_error_hint,
  CASE WHEN t.reason IS NULL THEN s.last_error_at ELSE t.since END AS last_error_at,
  CASE WHEN t.phase IS NULL THEN greatest(s.next_run_at, c.blocked_until) ELSE t.tried_again_at END AS next_run_at,
  s.last_run_started_at, s.last_run_finished_at, s.requests, s.points,
  -- The first reading goes on as it went so far; what would take a century is not known.
  CASE WHEN s.phase = 'backfill' AND t.phase IS NULL AND h.items_done > 0 AND h.items_total > h.items_done
         AND extract(epoch FROM now() - s.last_run_started_at)
           * (h.items_total - h.items_done) / h.items_done < 3155760000
       THEN greatest(now(), c.blocked_until) + (now() - s.last_run_started_at)
         * ((h.items_total - h.items_done)::double precision / h.items_done) END AS finishes_at,
  nullif(concat_ws('; ',
    (SELECT concat(d.detail, ' (' || rtrim(d.remedy, '.;') || ')') FROM keypup.diagnose_workers() d WHERE NOT d.ok),
    CASE WHEN t.phase = 'restored' THEN format('nothing is read until resume_connections is called: %s', t.reason) END,
    CASE WHEN c.can_write THEN format('the token can change things at the provider (%s): one that only reads would do',
      c.scopes) END,
    CASE WHEN c.token_expires_at < now() THEN format('the token has expired at %s', c.token_expires_at)
         WHEN c.token_expires_at < now() + interval '14 days'
           THEN format('the token expires at %s', c.token_expires_at) END,
    CASE WHEN s.refused_fields <> '{}' THEN format('the token may not read %s: they are left out', (
      SELECT string_agg(coalesce(r.entry ->> 1, f.field), ' and ' ORDER BY r.position, f.field)
      FROM unnest(s.refused_fields) AS f (field)
      LEFT JOIN jsonb_array_elements(v.refusable) WITH ORDINALITY AS r (entry, position)
        ON r.entry ->> 0 = f.field)) END,
    CASE WHEN c.hidden_organizations IS NOT NULL THEN format('the provider leaves organizations out that want single '
      'sign-on for the token (%s)', c.hidden_organizations) END,
    CASE WHEN s.phase = 'idle' AND h.items_done < h.items_total
         THEN format('%s of %s issues and pull requests that the provider counts are not here',
           h.items_total - h.items_done, h.items_total) END,
    (SELECT format('%s things could not be read or stored, and are tried again: see keypup.sync_failures', count(*))
     FROM keypup.sync_failures f WHERE f.account_id = s.account_id AND f.project_id = s.project_id
     HAVING count(*) > 0)), '') AS warning
FROM keypup.sync_state s
JOIN keypup.projects p ON p.account_id = s.account_id AND p.project_id = s.project_id
JOIN keypup.accounts a ON a.account_id = s.account_id
JOIN held h ON h.account_id = s.account_id AND h.project_id = s.project_id
LEFT JOIN keypup.connections c ON c.account_id = p.account_id AND c.connection_id = p.connection_id
LEFT JOIN keypup.providers v ON v.provider = c.provider
LEFT JOIN halted t ON t.account_id = p.account_id AND t.connection_id = p.connection_id;
REVOKE ALL ON keypup.sync_status FROM PUBLIC;
GRANT SELECT ON keypup.sync_status TO keypup_member;
COMMENT ON VIEW keypup.sync_status IS
  'One row a project: how far its sync is, what went wrong last, and when it runs next.';
COMMENT ON COLUMN keypup.sync_status.account_id IS 'The account.';
COMMENT ON COLUMN keypup.sync_status.account IS 'Name of the account.';
COMMENT ON COLUMN keypup.sync_status.project_id IS 'The project.';
COMMENT ON COLUMN keypup.sync_status.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.sync_status.phase IS
  'backfill (first reading), incremental, idle, paused (the provider asked for it, or refused the token once and is '
  'asked a second time), stopped (the token was refused: last_error says by whom and why) or restored (this is a copy '
  'of the database that reads).';
COMMENT ON COLUMN keypup.sync_status.items_done IS 'Issues and pull requests in the tables.';
COMMENT ON COLUMN keypup.sync_status.items_total IS
  'Issues and pull requests that the provider counts; NULL before its first answer.';
COMMENT ON COLUMN keypup.sync_status.percent IS 'items_done of items_total, 0 to 100.';
COMMENT ON COLUMN keypup.sync_status.last_error IS
  'What went wrong; NULL when the last run went well. Where the connection is halted, why.';
COMMENT ON COLUMN keypup.sync_status.last_error_hint IS 'What to do about it.';
COMMENT ON COLUMN keypup.sync_status.last_error_at IS 'When it went wrong.';
COMMENT ON COLUMN keypup.sync_status.next_run_at IS
  'When the next run starts; while stopped, when the token is tried again, and NULL where only a person can help.';
COMMENT ON COLUMN keypup.sync_status.last_run_started_at IS 'When the last run started.';
COMMENT ON COLUMN keypup.sync_status.last_run_finished_at IS 'When a run last finished.';
COMMENT ON COLUMN keypup.sync_status.requests IS 'Requests answered for the project, in all.';
COMMENT ON COLUMN keypup.sync_status.points IS 'Rate-limit points spent for the project, in all.';
COMMENT ON COLUMN keypup.sync_status.finishes_at IS
  'When the first reading will be done, if it goes on as it went so far; NULL where that is not within a century.';
COMMENT ON COLUMN keypup.sync_status.warning IS
  'What is wrong beside errors. No background worker works in this database, and why. Nothing is read, as this is a '
  'copy of the database that reads. The connection''s token can write, ends within 14 days, or does not see '
  'everything, for example the project''s deployments. Items that the provider counts are not here after a run, or '
  'things could not be read or stored (sync_failures).';

CREATE VIEW keypup.rate_budget WITH (security_invoker = true, security_barrier = true) AS
SELECT c.account_id, a.name AS account, c.connection_id, c.name AS connection, c.state, c.rate_limit,
  CASE WHEN c.rate_reset_at > now() THEN c.rate_remaining ELSE c.rate_limit END AS rate_remaining,
  c.rate_limit * coalesce(current_setting('keypup.rate_reserve', true), '5')::bigint / 100 AS rate_reserve,
  c.rate_reset_at, c.blocked_until, c.blocked_reason,
  least(floor(c.concurrency)::bigint, current_setting('keypup.max_requests', true)::bigint) AS concurrency,
  c.slowed_at, c.batch_size::bigint AS batch_size,
  (SELECT count(*) FROM keypup.sync_jobs j
   WHERE j.account_id = c.account_id AND j.connection_id = c.connection_id) AS jobs
FROM keypup.connections c
JOIN keypup.accounts a ON a.account_id = c.account_id;
REVOKE ALL ON keypup.rate_budget FROM PUBLIC;
GRANT SELECT ON keypup.rate_budget TO keypup_member;
COMMENT ON VIEW keypup.rate_budget IS
  'One row a connection: what is left of its token''s rate limit, and how much is asked at once.';
COMMENT ON COLUMN keypup.rate_budget.account_id IS 'The account.';
COMMENT ON COLUMN keypup.rate_budget.account IS 'Name of the account.';
COMMENT ON COLUMN keypup.rate_budget.connection_id IS 'The connection.';
COMMENT ON COLUMN keypup.rate_budget.connection IS 'Name of the connection.';
COMMENT ON COLUMN keypup.rate_budget.state IS 'new, ok, token_doubted or token_refused.';
COMMENT ON COLUMN keypup.rate_budget.rate_limit IS 'Points an hour that the provider allows.';
COMMENT ON COLUMN keypup.rate_budget.rate_remaining IS 'Points that are left of them.';
COMMENT ON COLUMN keypup.rate_budget.rate_reserve IS 'Points that are left for people: keypup.rate_reserve.';
COMMENT ON COLUMN keypup.rate_budget.rate_reset_at IS 'When the points are full again.';
COMMENT ON COLUMN keypup.rate_budget.blocked_until IS 'No request is sent before then.';
COMMENT ON COLUMN keypup.rate_budget.blocked_reason IS 'Why.';
COMMENT ON COLUMN keypup.rate_budget.concurrency IS 'Requests that may be in flight now.';
COMMENT ON COLUMN keypup.rate_budget.slowed_at IS 'When the provider last asked for less; NULL when it never did.';
COMMENT ON COLUMN keypup.rate_budget.batch_size IS 'Pull requests that one request asks for.';
COMMENT ON COLUMN keypup.rate_budget.jobs IS 'Requests still to be made.';
