-- provider/github/queue.sql: what is asked for in one request, and in a first reading which numbers are.

-- What kinds of jobs may find more for a request that is not full.
CREATE FUNCTION keypup.github_sources(kind text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN CASE WHEN kind IN ('pull_requests', 'issues')
    THEN '{repository,numbers,pull_request_stubs,issue_stubs}'::text[]
    WHEN kind IN ('nested_pages', 'merge_states')
    THEN '{repository,numbers,pull_request_stubs,issue_stubs,pull_requests,issues}'
    ELSE '{}' END;
END
$$;
-- A request asks for up to 544 lists, which GitHub counts as five points; for up to 744 (seven) where its answers are
-- quick, and for fewer where they are slow: a pull request has eight, and three more that tell how it stands; an issue
-- three; a page of threads one for each; a long page of one list counts as twelve.
-- Jobs of a kind for things. What does not fill a request joins what waits of the same kind, and waits for more, or
-- until none can come: a second, since further pages wait on it; these, and how pull requests stand, ten.
CREATE FUNCTION keypup.github_queue_parts(account uuid, project bigint, kind text, things jsonb, in_run boolean)
  RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  room bigint;
  joins boolean := in_run AND kind IN ('pull_requests', 'issues', 'nested_pages', 'merge_states');
  waiting jsonb;
  thing jsonb;
  weight bigint;
  used bigint := 0;
  part jsonb[] := '{}';
BEGIN
  IF things = '[]' THEN
    RETURN;
  END IF;
  SELECT 8 * c.batch_size INTO STRICT room
  FROM keypup.projects p
  JOIN keypup.connections c USING (account_id, connection_id)
  WHERE p.account_id = account AND p.project_id = project;
  IF joins THEN
    WITH taken AS (
      -- What somebody else is at is left alone.
      DELETE FROM keypup.sync_jobs j
      WHERE j.account_id = account AND j.job_id = ANY (ARRAY(
        SELECT o.job_id FROM keypup.sync_jobs o
        WHERE o.account_id = account AND o.project_id = project AND o.is_open AND o.kind = github_queue_parts.kind
          AND o.lease_id IS NULL AND o.attempts = 0
        ORDER BY o.job_id FOR UPDATE SKIP LOCKED))
      RETURNING j.arguments -> 'items' AS things
    )
    SELECT jsonb_agg(e.thing) INTO waiting FROM taken t, jsonb_array_elements(t.things) AS e (thing);
    IF waiting IS NOT NULL THEN
      SELECT waiting || coalesce(jsonb_agg(e.thing ORDER BY e.position), '[]') INTO things
      FROM jsonb_array_elements(things) WITH ORDINALITY AS e (thing, position)
      WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(waiting) AS w (thing) WHERE w.thing = e.thing);
    END IF;
  END IF;
  FOR thing, weight IN
    SELECT e,
      CASE kind WHEN 'pull_requests' THEN 8 WHEN 'issues' THEN 3 WHEN 'merge_states' THEN 3
        WHEN 'nested_pages' THEN CASE e ->> 'connection'
          WHEN 'reviewThreads' THEN 1 + least(50, greatest(1, coalesce((e ->> 'count')::bigint, 40))) ELSE 12 END
        ELSE 4 END
    FROM jsonb_array_elements(things) AS e
  LOOP
    IF used > 0 AND (used + weight > room OR cardinality(part) = 100) THEN
      PERFORM keypup.queue_job(account, project, kind, jsonb_build_object('items', to_jsonb(part)), in_run, now(),
        false);
      used := 0;
      part := '{}';
    END IF;
    part := array_append(part, thing);
    used := used + weight;
  END LOOP;
  IF used > 0 THEN
    PERFORM keypup.queue_job(account, project, kind, jsonb_build_object('items', to_jsonb(part)), in_run,
      now() + CASE WHEN NOT joins OR NOT keypup.github_finds_more(account, project, kind) THEN interval '0'
        WHEN kind IN ('nested_pages', 'merge_states') THEN interval '10 seconds' ELSE interval '1 second' END, joins);
  END IF;
END
$$;
CREATE FUNCTION keypup.github_finds_more(account uuid, project bigint, kind text) RETURNS boolean
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN EXISTS (
    SELECT FROM keypup.sync_jobs j
    WHERE j.account_id = account AND j.project_id = project AND j.in_run
      AND j.kind = ANY (keypup.github_sources(github_finds_more.kind)));
END
$$;
CREATE FUNCTION keypup.github_end_waiting(account uuid, project bigint, source text) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF source = ANY (keypup.github_sources('nested_pages')) THEN
    UPDATE keypup.sync_jobs j SET due_at = now()
    WHERE j.account_id = account AND j.job_id = ANY (ARRAY(
      SELECT o.job_id FROM keypup.sync_jobs o
      WHERE o.account_id = account AND o.project_id = project AND o.is_open AND o.lease_id IS NULL AND o.attempts = 0
        AND o.due_at > now()
        AND NOT keypup.github_finds_more(account, project, o.kind)
      ORDER BY o.job_id FOR UPDATE SKIP LOCKED));
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_sources(text), keypup.github_queue_parts(uuid, bigint, text, jsonb, boolean),
  keypup.github_finds_more(uuid, bigint, text), keypup.github_end_waiting(uuid, bigint, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_sources(text), keypup.github_queue_parts(uuid, bigint, text, jsonb, boolean),
  keypup.github_finds_more(uuid, bigint, text), keypup.github_end_waiting(uuid, bigint, text) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_sources(text) IS 'What kinds of jobs lead to jobs of a kind.';
COMMENT ON FUNCTION keypup.github_queue_parts(uuid, bigint, text, jsonb, boolean) IS
  'Queues jobs for things, as many in a job as GitHub answers quickly.';
COMMENT ON FUNCTION keypup.github_finds_more(uuid, bigint, text) IS
  'Whether the run of a project may lead to more jobs of a kind.';
COMMENT ON FUNCTION keypup.github_end_waiting(uuid, bigint, text) IS
  'After a job of a kind: what waits for more that cannot come is due.';

-- Items to be read.
CREATE FUNCTION keypup.github_queue_items(account uuid, project bigint, kind text, ids jsonb, in_run boolean)
  RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM keypup.github_queue_parts(account, project, kind, ids, in_run);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_queue_items(uuid, bigint, text, jsonb, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_queue_items(uuid, bigint, text, jsonb, boolean) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_queue_items(uuid, bigint, text, jsonb, boolean) IS
  'Queues the reading of pull requests or issues by their ids.';
-- Pages of nested lists, in the run that goes on, if one does.
CREATE FUNCTION keypup.github_queue_pages(account uuid, project bigint, pages jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  pages := keypup.github_going_on(account, project, pages);
  IF pages IS NOT NULL THEN
    PERFORM keypup.github_queue_parts(account, project, 'nested_pages', pages,
      EXISTS (SELECT FROM keypup.sync_jobs j WHERE j.account_id = account AND j.project_id = project AND j.in_run));
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_queue_pages(uuid, bigint, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_queue_pages(uuid, bigint, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_queue_pages(uuid, bigint, jsonb) IS
  'Queues the reading of pages of nested lists of pull requests and issues, or of threads.';

-- In a first reading items need not be found page after page: all numbers from the newest on are asked for at once,
-- four hundred for a point. A number that nothing has is answered with NOT_FOUND. Where most of them have nothing, the
-- lists are read to their ends.
CREATE FUNCTION keypup.github_queue_numbers(account uuid, project bigint, repository jsonb) RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  highest bigint := greatest((repository #>> '{newestPullRequest,nodes,0,number}')::bigint,
    (repository #>> '{newestIssue,nodes,0,number}')::bigint);
  listed bigint[] := ARRAY(
    SELECT n::bigint FROM jsonb_path_query(repository, '$.pullRequests.nodes[*].number') AS n
    UNION ALL
    SELECT n::bigint FROM jsonb_path_query(repository, '$.issues.nodes[*].number') AS n);
BEGIN
  IF NOT (repository #>> '{pullRequests,pageInfo,hasNextPage}')::boolean
       AND NOT (repository #>> '{issues,pageInfo,hasNextPage}')::boolean
     OR highest IS NULL OR highest > 1000000
     OR highest / 4 > greatest((repository #>> '{pullRequests,totalCount}')::bigint,
       (repository #>> '{issues,totalCount}')::bigint)
     OR keypup.github_horizon(account, project, 'pull_requests', '{}'::jsonb) IS NOT NULL
     OR keypup.github_horizon(account, project, 'issues', '{}'::jsonb) IS NOT NULL THEN
    RETURN false;
  END IF;
  PERFORM keypup.queue_job(account, project, 'numbers', q.arguments, true, now(), false)
  FROM (
    SELECT jsonb_build_object('items', jsonb_agg(n.number ORDER BY n.number DESC)) AS arguments
    FROM (SELECT g.number, (row_number() OVER (ORDER BY g.number DESC) - 1) / 400 AS part
          FROM generate_series(1, highest) AS g (number) WHERE g.number <> ALL (listed)) AS n
    GROUP BY n.part ORDER BY n.part) AS q;
  RETURN true;
END
$$;
CREATE FUNCTION keypup.github_take_numbers(account uuid, project bigint, repository text, numbers jsonb, nodes jsonb)
  RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM keypup.github_queue_items(account, project, k.kind, k.ids, true)
  FROM (
    SELECT CASE n.node ->> '__typename' WHEN 'PullRequest' THEN 'pull_requests' ELSE 'issues' END AS kind,
      jsonb_agg(n.node -> 'id' ORDER BY n.position) AS ids
    FROM jsonb_array_elements(nodes) WITH ORDINALITY AS n (node, position)
    JOIN jsonb_array_elements(numbers) WITH ORDINALITY AS a (number, position) USING (position)
    -- What is another repository's now is not this one's.
    WHERE n.node -> 'number' = a.number AND n.node #>> '{repository,id}' = repository
    GROUP BY 1) AS k;
END
$$;
-- Numbers may not tell of all, if they were not given in the order of creation, for example by an import: then the list
-- does.
CREATE FUNCTION keypup.github_end_numbers(account uuid, project bigint, job bigint) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF EXISTS (
    SELECT FROM keypup.sync_jobs j
    WHERE j.account_id = account AND j.project_id = project AND j.kind = 'numbers' AND j.job_id <> job
  ) THEN
    RETURN;
  END IF;
  PERFORM keypup.queue_job(account, project,
    CASE k.kind WHEN 'pull_requests' THEN 'pull_request_stubs' ELSE 'issue_stubs' END,
    '{"after": null}'::jsonb, true, now(), false)
  FROM keypup.projects p
  CROSS JOIN LATERAL (
    VALUES ('pull_requests', p.pull_request_total,
            (SELECT count(*) FROM keypup.pull_requests i
             WHERE i.account_id = account AND i.project_id = project AND i.deleted_at IS NULL)),
           ('issues', p.issue_total,
             (SELECT count(*) FROM keypup.issues i
              WHERE i.account_id = account AND i.project_id = project AND i.deleted_at IS NULL)))
    AS k (kind, total, stored)
  WHERE p.account_id = account AND p.project_id = project
    AND k.total > k.stored
      + (SELECT coalesce(sum(jsonb_array_length(j.arguments -> 'items')), 0) FROM keypup.sync_jobs j
        WHERE j.account_id = account AND j.project_id = project AND j.kind = k.kind)
      + (SELECT count(*) FROM keypup.sync_failures f
        WHERE f.account_id = account AND f.project_id = project AND f.kind IN (k.kind, 'numbers') AND f.part = '');
END
$$;
REVOKE ALL ON FUNCTION keypup.github_end_numbers(uuid, bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_end_numbers(uuid, bigint, bigint) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_end_numbers(uuid, bigint, bigint) IS
  'After the last job for numbers: a kind of which fewer items were found than there are is read by its list.';
REVOKE ALL ON FUNCTION keypup.github_queue_numbers(uuid, bigint, jsonb),
  keypup.github_take_numbers(uuid, bigint, text, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_queue_numbers(uuid, bigint, jsonb),
  keypup.github_take_numbers(uuid, bigint, text, jsonb, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_queue_numbers(uuid, bigint, jsonb) IS
  'In a first reading, asks for the items of all numbers that the first pages of the lists do not have; false where '
  'the lists are to be read on.';
COMMENT ON FUNCTION keypup.github_take_numbers(uuid, bigint, text, jsonb, jsonb) IS
  'Turns what numbers stand for into jobs that read it.';
