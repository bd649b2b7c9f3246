-- provider/github/sweep.sql: what a run does not see. Polls tell which repositories changed at all; open and just closed
-- items are read again on a schedule, since not everything bumps updatedAt; a sweep compares all items with the
-- provider's, oldest first, and marks those as deleted that a whole sweep did not find and that are gone twice.

-- The elements of one of the three lists of a poll that are whole. Refusals of what is left out of a repository are none here.
CREATE FUNCTION keypup.github_whole_of_poll(account uuid, reply jsonb, list text, shape text, OUT nodes jsonb, OUT all_answered boolean)
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  all_nodes jsonb := CASE WHEN jsonb_typeof(reply #> ARRAY['data', list]) = 'array' THEN reply #> ARRAY['data', list] ELSE '[]' END;
  wrong text[] := keypup.misfits(all_nodes, shape, keypup.github_shapes());
BEGIN
  IF wrong IS NULL AND NOT keypup.github_has_errors(reply) THEN
    nodes := all_nodes;
    all_answered := true;
    RETURN;
  END IF;
  WITH error AS MATERIALIZED (
    SELECT e.type, e.keys, CASE WHEN e.keys[2] ~ '^[0-9]{1,4}$' THEN e.keys[2]::integer END AS position
    FROM keypup.github_errors(reply, '{}'::text[]) e
    WHERE e.keys IS NULL OR e.keys[1] = list OR e.keys[1] NOT IN ('nodes', 'delivering', 'unfinished')
  ), node AS (
    SELECT n.node, n.position, wrong[n.position] IS NULL AND NOT EXISTS (
        SELECT FROM error e
        WHERE (e.position IS NULL OR e.position = n.position - 1)
          AND NOT coalesce(e.type IN ('FORBIDDEN', 'INSUFFICIENT_SCOPES') AND e.keys[3] = 'latestRelease' AND 'Repository.releases' = ANY (
            SELECT unnest(s.refused_fields) FROM keypup.sync_state s JOIN keypup.projects p USING (account_id, project_id)
            WHERE p.account_id = account AND p.external_id = n.node ->> 'id'), false)) AS is_whole,
      EXISTS (SELECT FROM error e WHERE e.type = 'NOT_FOUND' AND e.position = n.position - 1 AND cardinality(e.keys) = 2) AS is_gone
    FROM jsonb_array_elements(all_nodes) WITH ORDINALITY AS n (node, position)
  )
  SELECT coalesce(jsonb_agg(n.node ORDER BY n.position) FILTER (WHERE n.is_whole), '[]'),
    coalesce(bool_and(n.is_whole OR n.is_gone), NOT EXISTS (SELECT FROM error))
  INTO nodes, all_answered
  FROM node n;
END
$$;
CREATE FUNCTION keypup.github_take_poll(account uuid, connection uuid, asked_at timestamptz, projects jsonb, reply jsonb, interval_seconds integer) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  polled record;
  nodes jsonb := (keypup.github_whole_of_poll(account, reply, 'nodes', 'Polled')).nodes;
  delivering jsonb := (keypup.github_whole_of_poll(account, reply, 'delivering', 'Delivering')).nodes;
  unfinished record := keypup.github_whole_of_poll(account, reply, 'unfinished', 'DeploymentState');
  moved bigint[] := keypup.github_deployments_moved(account, unfinished.nodes);
BEGIN
  IF NOT unfinished.all_answered THEN
    SELECT moved || array_agg(DISTINCT d.project_id) INTO moved
    FROM jsonb_array_elements_text(keypup.github_unfinished(account, ARRAY(SELECT jsonb_array_elements(projects)::bigint))) AS u (id)
    JOIN keypup.deployments d ON d.account_id = account AND d.external_id = u.id
    WHERE NOT jsonb_path_query_array(unfinished.nodes, '$[*].id') ? u.id;
  END IF;
  FOR polled IN
    SELECT s.project_id,
      n.node IS NOT NULL AND (s.next_recheck_at IS NULL OR s.next_recheck_at > now()) AND (s.next_sweep_at IS NULL OR s.next_sweep_at > now())
      AND (p.name, p.is_archived, p.has_issues, lower(p.visibility COLLATE "C")) IS NOT DISTINCT FROM
        (n.node ->> 'nameWithOwner', (n.node ->> 'isArchived')::boolean, (n.node ->> 'hasIssuesEnabled')::boolean, lower(coalesce(n.node ->> 'visibility', p.visibility) COLLATE "C"))
      AND (p.pull_request_total, p.issue_total) IS NOT DISTINCT FROM ((n.node #>> '{pullRequests,totalCount}')::bigint, (n.node #>> '{issues,totalCount}')::bigint)
      AND ((s.watermarks ->> 'pull_requests')::timestamptz, (s.watermarks ->> 'issues')::timestamptz) IS NOT DISTINCT FROM
        ((n.node #>> '{pullRequests,nodes,0,updatedAt}')::timestamptz, (n.node #>> '{issues,nodes,0,updatedAt}')::timestamptz)
      AND s.watermarks -> 'milestones' IS NOT DISTINCT FROM keypup.github_milestone_mark(n.node) -> 'milestones'
      -- Null, where it is refused, tells nothing.
      AND ('Repository.releases' = ANY (s.refused_fields) OR NOT n.node ? 'latestRelease'
           OR s.watermarks -> 'latest_release' IS NOT DISTINCT FROM keypup.github_release_mark(n.node) -> 'latest_release')
      -- Those that have deployments are asked for them in every poll, so that no answer is none.
      AND CASE WHEN d.node IS NULL THEN NOT reply -> 'data' ? 'delivering' OR 'Repository.deployments' = ANY (s.refused_fields || c.missing_fields)
                 OR NOT EXISTS (SELECT FROM keypup.deployments t WHERE t.account_id = account AND t.project_id = s.project_id AND t.deleted_at IS NULL)
               ELSE s.watermarks -> 'newest_deployment' IS NOT DISTINCT FROM keypup.github_deployment_mark(d.node) -> 'newest_deployment' END
      AND s.project_id <> ALL (coalesce(moved, '{}'))
      AND NOT EXISTS (SELECT FROM keypup.sync_failures f WHERE f.account_id = account AND f.project_id = s.project_id AND f.next_try_at <= now()) AS is_unchanged
    FROM jsonb_array_elements(projects) AS j (project_id)
    JOIN keypup.sync_state s ON s.account_id = account AND s.project_id = j.project_id::bigint
    JOIN keypup.projects p ON p.account_id = account AND p.project_id = s.project_id AND p.connection_id = connection
    JOIN keypup.connections c ON c.account_id = account AND c.connection_id = p.connection_id
    LEFT JOIN jsonb_array_elements(nodes) AS n (node) ON n.node ->> 'id' = p.external_id
    LEFT JOIN jsonb_array_elements(delivering) AS d (node) ON d.node ->> 'id' = p.external_id
    WHERE NOT EXISTS (SELECT FROM keypup.sync_jobs r WHERE r.account_id = account AND r.project_id = s.project_id AND r.in_run)
    ORDER BY s.project_id
    -- One that somebody holds is polled again.
    FOR UPDATE OF s SKIP LOCKED
  LOOP
    IF polled.is_unchanged THEN
      PERFORM keypup.github_queue_read_early(account, polled.project_id, false);
      PERFORM keypup.project_is_unchanged(account, polled.project_id, asked_at, interval_seconds);
    ELSE
      PERFORM keypup.start_run(account, polled.project_id);
    END IF;
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_whole_of_poll(uuid, jsonb, text, text), keypup.github_take_poll(uuid, uuid, timestamptz, jsonb, jsonb, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_whole_of_poll(uuid, jsonb, text, text),
  keypup.github_take_poll(uuid, uuid, timestamptz, jsonb, jsonb, integer) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_whole_of_poll(uuid, jsonb, text, text) IS 'What of a list of a poll is whole, and whether all of it is, or is gone.';
COMMENT ON FUNCTION keypup.github_take_poll(uuid, uuid, timestamptz, jsonb, jsonb, integer) IS 'Starts a run of each polled repository that changed, that was not answered for in full, or that is due for more than a look.';

CREATE FUNCTION keypup.github_queue_rechecks(account uuid, project bigint) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  due record;
BEGIN
  SELECT s.next_recheck_at <= now() AS recheck, s.next_sweep_at <= now() AS sweep INTO due
  FROM keypup.sync_state s WHERE s.account_id = account AND s.project_id = project;
  IF due.recheck THEN
    PERFORM keypup.github_queue_items(account, project, 'pull_requests', (
      SELECT coalesce(jsonb_agg(p.node_id ORDER BY p.number), '[]') FROM keypup.pull_requests p
      WHERE p.account_id = account AND p.project_id = project AND p.deleted_at IS NULL AND (p.state = 'open' OR p.closed_at > now() - interval '7 days')), true);
    PERFORM keypup.github_queue_items(account, project, 'issues', (
      SELECT coalesce(jsonb_agg(i.node_id ORDER BY i.number), '[]') FROM keypup.issues i
      WHERE i.account_id = account AND i.project_id = project AND i.deleted_at IS NULL AND (i.state = 'open' OR i.closed_at > now() - interval '7 days')), true);
  END IF;
  IF due.sweep THEN
    PERFORM keypup.queue_job(account, project, 'pull_request_sweep', '{"seen": "{}"}'::jsonb, NULL::boolean, now(), false);
    PERFORM keypup.queue_job(account, project, 'issue_sweep', '{"seen": "{}"}'::jsonb, NULL::boolean, now(), false);
    PERFORM keypup.github_queue_slice(account, project);
  END IF;
  IF due.recheck OR due.sweep THEN
    UPDATE keypup.sync_state s
    SET next_recheck_at = CASE WHEN due.recheck THEN now() + current_setting('keypup.recheck_interval')::interval ELSE s.next_recheck_at END,
        next_sweep_at = CASE WHEN due.sweep THEN now() + current_setting('keypup.sweep_interval')::interval ELSE s.next_sweep_at END
    WHERE s.account_id = account AND s.project_id = project;
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_queue_rechecks(uuid, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_queue_rechecks(uuid, bigint) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_queue_rechecks(uuid, bigint) IS 'Queues what is due beside what changed: open items, those closed within a week, and the sweep.';

-- Not all of it is compared, only what costs little to ask; so a slice of all items is read again with each sweep, too.
CREATE FUNCTION keypup.github_differing_items(account uuid, project bigint, kind text, nodes jsonb) RETURNS jsonb
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
  SELECT coalesce(jsonb_agg(n.node -> 'id' ORDER BY n.position), '[]')
  FROM jsonb_array_elements(nodes) WITH ORDINALITY AS n (node, position)
  CROSS JOIN LATERAL (
    SELECT n.node ->> 'id' AS id, (n.node ->> 'number')::bigint AS number, (n.node ->> 'updatedAt')::timestamptz AS updated_at,
      n.node ->> 'title' AS title, lower(n.node ->> 'state' COLLATE "C") AS state, n.node #>> '{milestone,title}' AS milestone,
      (n.node #>> '{comments,totalCount}')::bigint AS comments, (n.node #>> '{reviews,totalCount}')::bigint AS reviews,
      (n.node #>> '{labels,totalCount}')::integer AS labels, (n.node #>> '{assignees,totalCount}')::integer AS assignees
  ) AS s
  LEFT JOIN LATERAL (
    SELECT p.updated_at, p.title, p.state, p.milestone,
      (SELECT count(*) FROM keypup.comments c WHERE c.account_id = account AND c.project_id = project
         AND c.item_number = p.number AND c.item_kind = 'pull_request') AS comments,
      (SELECT count(*) FROM keypup.reviews r WHERE r.account_id = account AND r.project_id = project AND r.pull_request_number = p.number) AS reviews,
      cardinality(p.labels) AS labels, cardinality(p.assignees) AS assignees
    FROM keypup.pull_requests p
    WHERE kind = 'pull_requests' AND p.account_id = account AND p.project_id = project AND p.number = s.number AND p.deleted_at IS NULL
    UNION ALL
    SELECT i.updated_at, i.title, i.state, i.milestone,
      (SELECT count(*) FROM keypup.comments c WHERE c.account_id = account AND c.project_id = project
         AND c.item_number = i.number AND c.item_kind = 'issue'),
      NULL, cardinality(i.labels), cardinality(i.assignees)
    FROM keypup.issues i
    WHERE kind = 'issues' AND i.account_id = account AND i.project_id = project AND i.number = s.number AND i.deleted_at IS NULL
  ) AS o ON true
  WHERE (s.updated_at, s.title, s.state, s.milestone, s.comments, s.reviews, s.labels, s.assignees)
    IS DISTINCT FROM (o.updated_at, o.title, o.state, o.milestone, o.comments, o.reviews, o.labels, o.assignees)
$$;
-- The next slice of numbers, so long that a round of sweeps within keypup.full_reread_interval reads all items again.
CREATE FUNCTION keypup.github_queue_slice(account uuid, project bigint) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  sweeps bigint := greatest(1, floor(extract(epoch FROM current_setting('keypup.full_reread_interval')::interval)
    / extract(epoch FROM current_setting('keypup.sweep_interval')::interval)));
  newest bigint := greatest(
    (SELECT max(p.number) FROM keypup.pull_requests p WHERE p.account_id = account AND p.project_id = project),
    (SELECT max(i.number) FROM keypup.issues i WHERE i.account_id = account AND i.project_id = project));
  first_number bigint;
  last_number bigint;
BEGIN
  SELECT CASE WHEN s.reread_to >= newest THEN 1 ELSE s.reread_to + 1 END INTO first_number
  FROM keypup.sync_state s WHERE s.account_id = account AND s.project_id = project;
  last_number := first_number + (newest + sweeps - 1) / sweeps - 1;
  PERFORM keypup.github_queue_items(account, project, k.kind, k.ids, true)
  FROM (
    SELECT 'pull_requests' AS kind, jsonb_agg(p.node_id ORDER BY p.number) AS ids FROM keypup.pull_requests p
    WHERE p.account_id = account AND p.project_id = project AND p.number BETWEEN first_number AND last_number AND p.deleted_at IS NULL
    UNION ALL
    SELECT 'issues', jsonb_agg(i.node_id ORDER BY i.number) FROM keypup.issues i
    WHERE i.account_id = account AND i.project_id = project AND i.number BETWEEN first_number AND last_number AND i.deleted_at IS NULL
  ) AS k
  WHERE k.ids IS NOT NULL;
  UPDATE keypup.sync_state s SET reread_to = coalesce(last_number, 0) WHERE s.account_id = account AND s.project_id = project;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_differing_items(uuid, bigint, text, jsonb), keypup.github_queue_slice(uuid, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_differing_items(uuid, bigint, text, jsonb), keypup.github_queue_slice(uuid, bigint) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_differing_items(uuid, bigint, text, jsonb) IS 'The ids of those items of a page of a sweep that are not here, or not as they are there.';
COMMENT ON FUNCTION keypup.github_queue_slice(uuid, bigint) IS 'Queues the reading of the next slice of all items, changed or not.';

-- The numbers that were seen are carried as ranges: they are dense, so that few say them all.
CREATE FUNCTION keypup.github_take_sweep(account uuid, project bigint, kind text, page jsonb, arguments jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  items text := CASE kind WHEN 'pull_request_sweep' THEN 'pull_requests' ELSE 'issues' END;
  seen int8multirange;
  missing jsonb;
BEGIN
  SELECT (arguments ->> 'seen')::int8multirange + coalesce(range_agg(int8range((n ->> 'number')::bigint, (n ->> 'number')::bigint, '[]')), '{}') INTO seen
  FROM jsonb_array_elements(page -> 'nodes') n;
  -- What changed without a trace in updatedAt, or in its order, and what a run has missed.
  PERFORM keypup.github_queue_items(account, project, items, keypup.github_differing_items(account, project, items, page -> 'nodes'), true);
  IF arguments ? 'only' THEN
    RETURN;
  ELSIF (page #>> '{pageInfo,hasNextPage}')::boolean THEN
    IF keypup.github_goes_on(account, project, kind, page, arguments) THEN
      PERFORM keypup.queue_job(account, project, kind, keypup.github_next_page(page, arguments) || jsonb_build_object('seen', seen::text), NULL::boolean, now(), false);
    END IF;
    RETURN;
  END IF;
  SELECT jsonb_agg(jsonb_build_object('number', m.number, 'id', m.node_id) ORDER BY m.number) INTO missing
  FROM (
    SELECT p.number, p.node_id FROM keypup.pull_requests p
    WHERE items = 'pull_requests' AND p.account_id = account AND p.project_id = project AND p.deleted_at IS NULL AND NOT seen @> p.number
    UNION ALL
    SELECT i.number, i.node_id FROM keypup.issues i
    WHERE items = 'issues' AND i.account_id = account AND i.project_id = project AND i.deleted_at IS NULL AND NOT seen @> i.number
  ) AS m;
  PERFORM keypup.github_queue_existence(account, project, items, missing, false);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_take_sweep(uuid, bigint, text, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_take_sweep(uuid, bigint, text, jsonb, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_take_sweep(uuid, bigint, text, jsonb, jsonb) IS 'Takes a page of a sweep; after the last one, asks for those that no page had.';

CREATE FUNCTION keypup.github_queue_existence(account uuid, project bigint, items text, missing jsonb, is_second boolean) RETURNS void
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
  SELECT keypup.queue_job(account, project, 'existence', jsonb_build_object('of', items, 'items', w.list, 'is_second', is_second), false,
    now() + CASE WHEN is_second THEN current_setting('keypup.deletion_delay')::interval ELSE interval '0' END, false)
  FROM (SELECT jsonb_agg(e.item ORDER BY e.position) AS list
        FROM jsonb_array_elements(missing) WITH ORDINALITY AS e (item, position) GROUP BY (e.position - 1) / 100) AS w
$$;
REVOKE ALL ON FUNCTION keypup.github_queue_existence(uuid, bigint, text, jsonb, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_queue_existence(uuid, bigint, text, jsonb, boolean) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_queue_existence(uuid, bigint, text, jsonb, boolean) IS 'Asks whether items are still there; a second time some time later.';

-- Items that are gone at the provider, of which some are stored, and are not being asked for already.
CREATE FUNCTION keypup.github_take_gone(account uuid, project bigint, kind text, gone jsonb) RETURNS void
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
  SELECT keypup.github_queue_existence(account, project, kind, jsonb_agg(jsonb_build_object('id', m.id, 'number', m.number)), true)
  FROM jsonb_array_elements_text(gone) AS g (id)
  CROSS JOIN LATERAL (
    SELECT g.id, p.number FROM keypup.pull_requests p
    WHERE kind = 'pull_requests' AND p.account_id = account AND p.project_id = project AND p.node_id = g.id AND p.deleted_at IS NULL
    UNION ALL
    SELECT g.id, i.number FROM keypup.issues i
    WHERE kind = 'issues' AND i.account_id = account AND i.project_id = project AND i.node_id = g.id AND i.deleted_at IS NULL
    UNION ALL
    SELECT g.id, NULL FROM keypup.releases r
    WHERE kind = 'releases' AND r.account_id = account AND r.project_id = project AND r.external_id = g.id AND r.deleted_at IS NULL
    UNION ALL
    SELECT g.id, NULL FROM keypup.deployments d
    WHERE kind = 'deployments' AND d.account_id = account AND d.project_id = project AND d.external_id = g.id AND d.deleted_at IS NULL
  ) AS m
  WHERE NOT EXISTS (SELECT FROM keypup.sync_jobs j WHERE j.account_id = account AND j.project_id = project AND j.kind = 'existence'
                    AND j.arguments -> 'items' @> jsonb_build_array(jsonb_build_object('id', m.id)))
  HAVING count(*) > 0
$$;
REVOKE ALL ON FUNCTION keypup.github_take_gone(uuid, bigint, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_take_gone(uuid, bigint, text, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_take_gone(uuid, bigint, text, jsonb) IS 'Has it asked a second time whether items are there that an answer says are gone.';

-- asked and whole, beside: those that are there; gone: how those were asked for that are not.
CREATE FUNCTION keypup.github_take_existence(account uuid, project bigint, repository text, arguments jsonb, asked jsonb, whole jsonb, gone jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  there jsonb;
BEGIN
  -- Gone is also what is another repository's now.
  SELECT gone || coalesce(jsonb_agg(i.item) FILTER (WHERE n.node #>> '{repository,id}' <> repository), '[]'),
    coalesce(jsonb_agg(i.item -> 'id') FILTER (WHERE n.node #>> '{repository,id}' = repository), '[]')
  INTO gone, there
  FROM jsonb_array_elements(asked) WITH ORDINALITY AS i (item, position)
  JOIN jsonb_array_elements(whole) WITH ORDINALITY AS n (node, position) USING (position);
  PERFORM keypup.github_queue_items(account, project, arguments ->> 'of', there, false);
  IF NOT (arguments ->> 'is_second')::boolean THEN
    PERFORM keypup.github_queue_existence(account, project, arguments ->> 'of', gone, true);
  ELSIF arguments ->> 'of' = 'releases' THEN
    UPDATE keypup.releases r SET deleted_at = now()
    FROM jsonb_array_elements(gone) g WHERE r.account_id = account AND r.project_id = project AND r.external_id = g ->> 'id' AND r.deleted_at IS NULL;
  ELSIF arguments ->> 'of' = 'deployments' THEN
    UPDATE keypup.deployments d SET deleted_at = now()
    FROM jsonb_array_elements(gone) g WHERE d.account_id = account AND d.project_id = project AND d.external_id = g ->> 'id' AND d.deleted_at IS NULL;
  ELSIF arguments ->> 'of' = 'pull_requests' THEN
    UPDATE keypup.pull_requests p SET deleted_at = now()
    FROM jsonb_array_elements(gone) g WHERE p.account_id = account AND p.project_id = project AND p.number = (g ->> 'number')::bigint AND p.deleted_at IS NULL;
  ELSE
    UPDATE keypup.issues i SET deleted_at = now()
    FROM jsonb_array_elements(gone) g WHERE i.account_id = account AND i.project_id = project AND i.number = (g ->> 'number')::bigint AND i.deleted_at IS NULL;
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_take_existence(uuid, bigint, text, jsonb, jsonb, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_take_existence(uuid, bigint, text, jsonb, jsonb, jsonb, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_take_existence(uuid, bigint, text, jsonb, jsonb, jsonb, jsonb) IS 'Marks items as deleted that are gone for the second time; reads those again that are there after all.';
