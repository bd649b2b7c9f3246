-- sync/call.sql: CALL keypup.sync, which does in a session what the background worker does.

CREATE FUNCTION keypup.jobs_left(only_account uuid, only_project bigint,
  OUT jobs bigint, OUT ready_at timestamptz, OUT waits_for text, OUT next_at timestamptz,
  OUT items_done bigint, OUT items_total bigint, OUT last_error text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  WITH scope AS (
    SELECT p.account_id, p.project_id, p.connection_id, p.issue_total, p.pull_request_total
    FROM keypup.projects p
    WHERE (only_account IS NULL OR p.account_id = only_account)
      AND (only_project IS NULL OR p.project_id = only_project)
  ), waiting AS (
    SELECT greatest(j.due_at, c.blocked_until, c.retry_at) AS ready_at, j.may_pass OR j.due_at <= now() AS may_pass,
      CASE WHEN greatest(c.blocked_until, c.retry_at) >= j.due_at THEN c.blocked_reason ELSE s.last_error END AS reason
    FROM keypup.sync_jobs j
    JOIN scope USING (account_id, project_id)
    JOIN keypup.connections c ON c.account_id = j.account_id AND c.connection_id = j.connection_id
    JOIN keypup.sync_state s ON s.account_id = j.account_id AND s.project_id = j.project_id
    WHERE j.in_run AND NOT EXISTS (SELECT FROM keypup.halted_connections h
                                   WHERE h.account_id = j.account_id AND h.connection_id = j.connection_id)
  ), first AS (
    SELECT w.ready_at, w.reason FROM waiting w WHERE w.may_pass ORDER BY w.ready_at, w.reason LIMIT 1
  )
  SELECT (SELECT count(*) FROM waiting),
         (SELECT f.ready_at FROM first f),
         (SELECT f.reason FROM first f),
         (SELECT min(n.at) FROM (
            SELECT w.ready_at AS at FROM waiting w
            UNION ALL
            SELECT h.tried_again_at FROM scope JOIN keypup.halted_connections h USING (account_id, connection_id)) n),
         (SELECT count(*) FROM scope JOIN keypup.pull_requests USING (account_id, project_id) WHERE deleted_at IS NULL)
         + (SELECT count(*) FROM scope JOIN keypup.issues USING (account_id, project_id) WHERE deleted_at IS NULL),
         (SELECT sum(issue_total + pull_request_total)::bigint FROM scope),
         coalesce(
           (SELECT h.reason FROM scope JOIN keypup.halted_connections h USING (account_id, connection_id)
            ORDER BY h.since DESC NULLS LAST LIMIT 1),
           (SELECT s.last_error FROM scope JOIN keypup.sync_state s USING (account_id, project_id)
            WHERE s.last_error IS NOT NULL ORDER BY s.last_error_at DESC LIMIT 1))
  INTO jobs, ready_at, waits_for, next_at, items_done, items_total, last_error;
END
$$;
REVOKE ALL ON FUNCTION keypup.jobs_left(uuid, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.jobs_left(uuid, bigint) TO keypup_worker;
COMMENT ON FUNCTION keypup.jobs_left(uuid, bigint) IS
  'What is still to be done. ready_at: when the next of it may start, of what waiting helps; waits_for: what it waits '
  'for. next_at: when the next of all of it is tried.';

CREATE FUNCTION keypup.find_scope(account text, project text, OUT account_id uuid, OUT project_id bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  halted uuid[];
BEGIN
  account_id := keypup.authorize(account, 'tokens.use');
  IF project IS NOT NULL THEN
    project_id := keypup.find_project(account_id, project);
  END IF;
  -- Where one may ask, the others are warned of.
  SELECT array_agg(DISTINCT p.connection_id) INTO halted
  FROM keypup.projects p JOIN keypup.connections c USING (account_id, connection_id)
  WHERE p.account_id = find_scope.account_id AND (find_scope.project_id IS NULL OR p.project_id = find_scope.project_id)
  HAVING bool_and(c.origin <> keypup.this_database());
  PERFORM keypup.guard_origin(find_scope.account_id, h.connection_id) FROM unnest(halted) AS h (connection_id);
END
$$;
REVOKE ALL ON FUNCTION keypup.find_scope(text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.find_scope(text, text) IS
  'What CALL keypup.sync is to sync, for a caller who may use the account''s tokens.';

CREATE PROCEDURE keypup.sync(account text, project text DEFAULT NULL, patience interval DEFAULT '10 minutes')
LANGUAGE c AS 'MODULE_PATHNAME', 'keypup_sync';
REVOKE ALL ON PROCEDURE keypup.sync(text, text, interval) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE keypup.sync(text, text, interval) TO keypup_member;
COMMENT ON PROCEDURE keypup.sync(text, text, interval) IS
  'Syncs now, in this session, with progress; returns when what is due is done. patience: how long it waits for the '
  'provider while nothing goes on; when the provider asks for more, it ends at once, with a warning.';
