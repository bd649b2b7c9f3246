-- sync/queue.sql: the queue of jobs: how one gets in, how a session that has room takes some of those that are due, and
-- how one gets back that was taken and not asked.

CREATE FUNCTION keypup.queue_job(account uuid, project bigint, kind text, arguments jsonb, in_run boolean,
  due_at timestamptz, is_open boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, arguments, in_run, due_at, is_open,
    batch_size, queued_at)
  SELECT account, p.connection_id, p.project_id, queue_job.kind, queue_job.arguments,
    coalesce(queue_job.in_run,
      EXISTS (SELECT FROM keypup.sync_jobs j WHERE j.account_id = account AND j.project_id = project AND j.in_run)),
    queue_job.due_at, queue_job.is_open, c.batch_size,
    greatest(queue_job.due_at, (
      SELECT max(j.queued_at) FROM keypup.sync_jobs j
      WHERE j.account_id = account AND j.project_id = project) + interval '1 second')
  FROM keypup.projects p
  JOIN keypup.connections c USING (account_id, connection_id)
  WHERE p.account_id = account AND p.project_id = project;
END
$$;
REVOKE ALL ON FUNCTION keypup.queue_job(uuid, bigint, text, jsonb, boolean, timestamptz, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.queue_job(uuid, bigint, text, jsonb, boolean, timestamptz, boolean) TO keypup_worker;
COMMENT ON FUNCTION keypup.queue_job(uuid, bigint, text, jsonb, boolean, timestamptz, boolean) IS
  'Puts a job of a project at the end of its queue; in_run NULL: part of the run if one goes on.';

-- Sees all accounts, and so runs as the owner. A lease is live while its lock is held (runner.c).
CREATE FUNCTION keypup.live_leases() RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN QUERY
  SELECT l.objid::bigint
  FROM pg_locks l
  WHERE l.locktype = 'object' AND l.granted AND l.classid = 'keypup.sync_jobs'::regclass AND l.objsubid = 0
    AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
END
$$;
REVOKE ALL ON FUNCTION keypup.live_leases() FROM PUBLIC;
COMMENT ON FUNCTION keypup.live_leases() IS 'The leases of sessions that are there.';

-- Accounts take turns, in each its connections, and in each of these its jobs in the order of their queue, as many as
-- the connection may have in flight. Those that have work are looked for from the account behind the one at which the
-- last turn ended, and no more of them than there is room for; of one account, up to eight connections from anywhere
-- on: what it costs does not depend on how many wait. An account has no more requests in flight than places are left:
-- alone it gets half of them, and whoever comes next finds room. The last row has the account where this turn ends.
CREATE FUNCTION keypup.claim_jobs(lease integer, how_many integer, only_account uuid, only_project bigint,
  after_account uuid DEFAULT NULL, accounts_set_aside uuid[] DEFAULT '{}', accounts_under_way uuid[] DEFAULT '{}',
  OUT account_id uuid, OUT job_id bigint, OUT project_id bigint, OUT connection_id uuid,
  OUT provider text, OUT base_url text, OUT revision bigint, OUT envelope bytea)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  -- Of an account that has more connections than are looked at in one turn, others in the next.
  anywhere uuid := gen_random_uuid();
  start uuid := coalesce(after_account, '00000000-0000-0000-0000-000000000000');
BEGIN
  RETURN QUERY
  WITH RECURSIVE live AS MATERIALIZED (
    SELECT l.lease_id FROM keypup.live_leases() AS l (lease_id)
  ), waiting (account_id, turn, is_second_round) AS (
    -- The accounts that have jobs, in a circle, by one look into the index for each; only_account alone.
    SELECT coalesce(only_account, start), CASE WHEN only_account IS NULL THEN 0 ELSE 1 END, false
    UNION ALL
    SELECT n.account_id, w.turn + 1, w.is_second_round OR n.account_id <= w.account_id
    FROM waiting w
    CROSS JOIN LATERAL (
      SELECT coalesce(
        (SELECT j.account_id FROM keypup.sync_jobs j WHERE j.account_id > w.account_id ORDER BY j.account_id LIMIT 1),
        CASE WHEN NOT w.is_second_round
             THEN (SELECT j.account_id FROM keypup.sync_jobs j ORDER BY j.account_id LIMIT 1) END
      ) AS account_id OFFSET 0
    ) AS n
    WHERE only_account IS NULL AND (NOT w.is_second_round AND n.account_id > w.account_id OR n.account_id <= start)
  ), ready AS MATERIALIZED (
    -- One after the other, until there are enough.
    SELECT a.account_id, a.turn, a.under_way, l.connection_id, l.position, l.room
    FROM (
      SELECT w.account_id, w.turn, cardinality(array_positions(accounts_under_way, w.account_id)) AS under_way
      FROM waiting w WHERE w.turn > 0 AND w.account_id <> ALL (accounts_set_aside)
    ) AS a
    CROSS JOIN LATERAL (
      WITH RECURSIVE beside (connection_id, position, is_second_round) AS (
        SELECT anywhere, 0, false
        UNION ALL
        SELECT n.connection_id, b.position + 1, b.is_second_round OR n.connection_id <= b.connection_id
        FROM beside b
        CROSS JOIN LATERAL (
          SELECT coalesce(
            (SELECT j.connection_id FROM keypup.sync_jobs j
             WHERE j.account_id = a.account_id AND j.connection_id > b.connection_id ORDER BY j.connection_id LIMIT 1),
            CASE WHEN NOT b.is_second_round THEN (
              SELECT j.connection_id FROM keypup.sync_jobs j
              WHERE j.account_id = a.account_id
              ORDER BY j.connection_id LIMIT 1) END
          ) AS connection_id OFFSET 0
        ) AS n
        WHERE b.position < 64
          AND (NOT b.is_second_round AND n.connection_id > b.connection_id OR n.connection_id <= anywhere)
      )
      SELECT b.connection_id, b.position, r.room
      FROM beside b
      CROSS JOIN LATERAL (
        -- To a token that was refused, one request at a time.
        SELECT least(how_many, CASE WHEN c.refused_at IS NULL
          THEN least(floor(c.concurrency)::bigint, current_setting('keypup.max_requests', true)::bigint) ELSE 1 END - (
            SELECT count(*) FROM keypup.sync_jobs o
            WHERE o.account_id = c.account_id AND o.connection_id = c.connection_id
              AND o.lease_id IN (SELECT live.lease_id FROM live))) AS room
        FROM keypup.connections c
        WHERE c.account_id = a.account_id AND c.connection_id = b.connection_id
          AND c.origin = (SELECT keypup.this_database())
          AND (c.blocked_until IS NULL OR c.blocked_until <= now()) AND (c.retry_at IS NULL OR c.retry_at <= now())
          -- An app's connection waits for its token.
          AND NOT EXISTS (SELECT FROM keypup.app_installations i
                          LEFT JOIN keypup.connection_tokens t ON t.account_id = i.account_id
                            AND t.connection_id = i.connection_id AND t.purpose = 'access_token'
                          WHERE i.account_id = c.account_id AND i.connection_id = c.connection_id
                            AND coalesce(t.expires_at <= now(), true))
          AND EXISTS (SELECT FROM keypup.sync_jobs j
                      WHERE j.account_id = c.account_id AND j.connection_id = c.connection_id AND j.due_at <= now()
                        AND (j.lease_id IS NULL OR j.lease_id NOT IN (SELECT live.lease_id FROM live))
                        AND (only_project IS NULL OR j.project_id = only_project))
        LIMIT 1
      ) AS r
      WHERE b.position > 0 AND r.room > 0
      LIMIT 8
    ) AS l
    WHERE a.under_way < how_many
    LIMIT how_many
  ), candidate AS (
    SELECT r.account_id, r.under_way, f.job_id, f.queued_at, r.turn AS account_turn, r.position,
      row_number() OVER (PARTITION BY r.account_id, r.connection_id ORDER BY f.queued_at, f.job_id) AS turn
    FROM ready r
    CROSS JOIN LATERAL (
      SELECT j.job_id, j.queued_at
      FROM keypup.sync_jobs j
      WHERE j.account_id = r.account_id AND j.connection_id = r.connection_id AND j.due_at <= now()
        AND (j.lease_id IS NULL OR j.lease_id NOT IN (SELECT live.lease_id FROM live))
        AND (only_project IS NULL OR j.project_id = only_project)
      ORDER BY j.queued_at, j.job_id
      -- Twice as many as are wanted, since some may be locked.
      LIMIT least(r.room, 1 + 2 * how_many / (SELECT count(*) FROM ready))
    ) f
  ), in_turn AS (
    SELECT c.*, row_number() OVER (PARTITION BY c.account_id ORDER BY c.turn, c.position, c.queued_at,
      c.job_id) AS of_account FROM candidate c
  ), placed AS (
    SELECT t.*, row_number() OVER (ORDER BY t.of_account, t.account_turn) AS place FROM in_turn t
  ), free AS (
    SELECT j.account_id, j.job_id, p.account_turn, c.refused_at
    FROM (SELECT p.* FROM placed p WHERE p.under_way + p.of_account <= how_many + 1 - p.place) AS p
    JOIN keypup.sync_jobs j USING (account_id, job_id)
    JOIN keypup.connections c USING (account_id, connection_id)
    WHERE j.lease_id IS NULL OR j.lease_id NOT IN (SELECT live.lease_id FROM live)
    ORDER BY p.place
    LIMIT how_many
    FOR KEY SHARE OF c SKIP LOCKED FOR UPDATE OF j SKIP LOCKED
  ), claimed AS (
    UPDATE keypup.sync_jobs j SET lease_id = lease, may_pass = true, asked_at = now(), doubt = free.refused_at
    FROM free WHERE j.account_id = free.account_id AND j.job_id = free.job_id
    RETURNING j.account_id, j.job_id, j.project_id, j.connection_id, j.queued_at, free.account_turn
  )
  SELECT k.account_id, k.job_id, k.project_id, c.connection_id, c.provider, c.base_url, t.revision, t.envelope
  FROM claimed k
  JOIN keypup.connections c ON c.account_id = k.account_id AND c.connection_id = k.connection_id
  LEFT JOIN keypup.connection_tokens t ON t.account_id = c.account_id AND t.connection_id = c.connection_id
    AND t.purpose = 'access_token'
  ORDER BY k.account_turn, k.queued_at, k.job_id;
END
$$;
REVOKE ALL ON FUNCTION keypup.claim_jobs(integer, integer, uuid, bigint, uuid, uuid[], uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.claim_jobs(integer, integer, uuid, bigint, uuid, uuid[], uuid[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.claim_jobs(integer, integer, uuid, bigint, uuid, uuid[], uuid[]) IS
  'Takes due jobs for the session that holds the lease, none of accounts that it has set aside. accounts_under_way: '
  'of each request that the session has under way.';

CREATE FUNCTION keypup.release_job(account uuid, job bigint) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$ UPDATE keypup.sync_jobs j SET lease_id = NULL WHERE j.account_id = account AND j.job_id = job $$;
REVOKE ALL ON FUNCTION keypup.release_job(uuid, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.release_job(uuid, bigint) TO keypup_worker;
COMMENT ON FUNCTION keypup.release_job(uuid, bigint) IS 'Gives a claimed job back that was not asked.';

CREATE FUNCTION keypup.put_back_job(account uuid, job bigint) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  WITH free AS (
    SELECT j.account_id, j.job_id FROM keypup.sync_jobs j
    WHERE j.account_id = account AND j.job_id = job FOR UPDATE SKIP LOCKED
  ), back AS (
    UPDATE keypup.sync_jobs j SET lease_id = NULL, due_at = greatest(j.due_at, now() + interval '1 second')
    FROM free f WHERE j.account_id = f.account_id AND j.job_id = f.job_id
    RETURNING 1
  )
  SELECT EXISTS (SELECT FROM back)
    OR NOT EXISTS (SELECT FROM keypup.sync_jobs j WHERE j.account_id = account AND j.job_id = job)
$$;
REVOKE ALL ON FUNCTION keypup.put_back_job(uuid, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.put_back_job(uuid, bigint) TO keypup_worker;
COMMENT ON FUNCTION keypup.put_back_job(uuid, bigint) IS
  'Gives a claimed job back whose answer cannot be stored, since somebody holds what it belongs to: no failure. False '
  'where somebody holds the job itself.';
