-- provider/github/sweep.sql: what a run does not see. Polls tell which repositories changed at all; open and just
-- closed items are read again on a schedule, since not everything bumps updatedAt; a sweep compares all items with the
-- provider's, oldest first, and marks those as deleted that a whole sweep did not find and that are gone twice.

-- The elements of one of the three lists of a poll that are whole. Refusals of what is left out of a repository are
-- none here.
CREATE FUNCTION keypup.github_whole_of_poll(account uuid, reply jsonb, list text, shape text, OUT nodes jsonb,
  OUT all_answered boolean)
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  all_nodes jsonb := CASE WHEN jsonb_typeof(reply #> ARRAY['data', list]) = 'array' THEN reply #> ARRAY['data', list]
    ELSE '[]' END;
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
          AND NOT coalesce(e.type IN ('FORBIDDEN', 'INSUFFICIENT_SCOPES') AND e.keys[3] = 'latestRelease'
            AND 'Repository.releases' = ANY (
            SELECT unnest(s.refused_fields) FROM keypup.sync_state s
            JOIN keypup.projects p USING (account_id, project_id)
            WHERE p.account_id = account AND p.external_id = n.node ->> 'id'), false)) AS is_whole,
      EXISTS (
        SELECT FROM error e
        WHERE e.type = 'NOT_FOUND' AND e.position = n.position - 1 AND cardinality(e.keys) = 2) AS is_gone
    FROM jsonb_array_elements(all_nodes) WITH ORDINALITY AS n (node, position)
  )
  SELECT coalesce(jsonb_agg(n.node ORDER BY n.position) FILTER (WHERE n.is_whole), '[]'),
    coalesce(bool_and(n.is_whole OR n.is_gone), NOT EXISTS (SELECT FROM error))
  INTO nodes, all_answered
  FROM node n;
END
$$;
CREATE FUNCTION keypup.github_take_poll(account uuid, connection uuid, asked_at timestamptz, projects jsonb,
  reply jsonb, interval_seconds integer) RETURNS void
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
    FROM jsonb_array_elements_text(keypup.github_unfinished(account,
      ARRAY(SELECT jsonb_array_elements(projects)::bigint))) AS u (id)
    JOIN keypup.deployments d ON d.account_id = account AND d.external_id = u.id
    WHERE NOT jsonb_path_query_array(unfinished.nodes, '$[*].id') ? u.id;
  END IF;
  FOR polled IN
    SELECT s.project_id,
      n.node IS NOT NULL
      AND (s.next_recheck_at IS NULL OR s.next_recheck_at > now())
      AND (s.next_sweep_at IS NULL OR s.next_sweep_at > now())
      AND (p.name, p.is_archived, p.has_issues, lower(p.visibility COLLATE "C"))
        IS NOT DISTINCT FROM (n.node ->> 'nameWithOwner', (n.node ->> 'isArchived')::boolean,
          (n.node ->> 'hasIssuesEnabled')::boolean, lower(coalesce(n.node ->> 'visibility', p.visibility) COLLATE "C"))
      AND (p.pull_request_total, p.issue_total)
        IS NOT DISTINCT FROM ((n.node #>> '{pullRequests,totalCount}')::bigint,
          (n.node #>> '{issues,totalCount}')::bigint)
      AND ((s.watermarks ->> 'pull_requests')::timestamptz, (s.watermarks ->> 'issues')::timestamptz)
        IS NOT DISTINCT FROM ((n.node #>> '{pullRequests,nodes,0,updatedAt}')::timestamptz,
          (n.node #>> '{issues,nodes,0,updatedAt}')::timestamptz)
      AND s.watermarks -> 'milestones' IS NOT DISTINCT FROM keypup.github_milestone_mark(n.node) -> 'milestones'
      -- Null, where it is refused, tells nothing.
      AND ('Repository.releases' = ANY (s.refused_fields) OR NOT n.node ? 'latestRelease'
           OR s.watermarks -> 'latest_release'
             IS NOT DISTINCT FROM keypup.github_release_mark(n.node) -> 'latest_release')
      -- Those that have deployments are asked for them in every poll, so that no answer is none.
      AND CASE WHEN d.node IS NULL
               THEN NOT reply -> 'data' ? 'delivering'
                 OR 'Repository.deployments' = ANY (s.refused_fields || c.missing_fields)
                 OR NOT EXISTS (
                   SELECT FROM keypup.deployments t
                   WHERE t.account_id = account AND t.project_id = s.project_id AND t.deleted_at IS NULL)
               ELSE s.watermarks -> 'newest_deployment'
                 IS NOT DISTINCT FROM keypup.github_deployment_mark(d.node) -> 'newest_deployment' END
      AND s.project_id <> ALL (coalesce(moved, '{}'))
      AND NOT EXISTS (
        SELECT FROM keypup.sync_failures f
        WHERE f.account_id = account AND f.project_id = s.project_id AND f.next_try_at <= now()
      ) AS is_unchanged
    FROM jsonb_array_elements(projects) AS j (project_id)
    JOIN keypup.sync_state s ON s.account_id = account AND s.project_id = j.project_id::bigint
    JOIN keypup.projects p ON p.account_id = account AND p.project_id = s.project_id AND p.connection_id = connection
    JOIN keypup.connections c ON c.account_id = account AND c.connection_id = p.connection_id
    LEFT JOIN jsonb_array_elements(nodes) AS n (node) ON n.node ->> 'id' = p.external_id
    LEFT JOIN jsonb_array_elements(delivering) AS d (node) ON d.node ->> 'id' = p.external_id
    WHERE NOT EXISTS (
      SELECT FROM keypup.sync_jobs r WHERE r.account_id = account AND r.project_id = s.project_id AND r.in_run)
    ORDER BY s.project_id
    -- One that somebody holds is polled again.
    FOR UPDATE OF s SKIP LOCKED
  LOOP
    IF polled.is_unchanged THEN
      PERFORM keypup.github_queue_items(account, polled.project_id, k.kind, k.ids, false)
      FROM keypup.items_read_early(account, polled.project_id) AS k ORDER BY k.kind DESC;
      PERFORM keypup.github_queue_due_merge_states(account, polled.project_id, false);
      PERFORM keypup.project_is_unchanged(account, polled.project_id, asked_at, interval_seconds);
    ELSE
      PERFORM keypup.start_run(account, polled.project_id);
    END IF;
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_whole_of_poll(uuid, jsonb, text, text),
  keypup.github_take_poll(uuid, uuid, timestamptz, jsonb, jsonb, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_whole_of_poll(uuid, jsonb, text, text),
  keypup.github_take_poll(uuid, uuid, timestamptz, jsonb, jsonb, integer) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_whole_of_poll(uuid, jsonb, text, text) IS
  'What of a list of a poll is whole, and whether all of it is, or is gone.';
COMMENT ON FUNCTION keypup.github_take_poll(uuid, uuid, timestamptz, jsonb, jsonb, integer) IS
  'Starts a run of each polled repository that changed, that was not answered for in full, or that is due for more '
  'than a look.';

CREATE FUNCTION keypup.github_queue_rechecks(account uuid, project bigint) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  due record := keypup.due_rechecks(account, project);
BEGIN
  IF due.recheck THEN
    PERFORM keypup.github_queue_items(account, project, k.kind, k.ids, true)
    FROM keypup.items_to_recheck(account, project) AS k ORDER BY k.kind DESC;
  END IF;
  IF due.sweep THEN
    PERFORM keypup.queue_job(account, project, 'pull_request_sweep', '{"seen": "{}"}'::jsonb, NULL::boolean, now(),
      false);
    PERFORM keypup.queue_job(account, project, 'issue_sweep', '{"seen": "{}"}'::jsonb, NULL::boolean, now(), false);
    PERFORM keypup.github_queue_items(account, project, k.kind, k.ids, true)
    FROM keypup.next_slice(account, project) AS k ORDER BY k.kind DESC;
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_queue_rechecks(uuid, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_queue_rechecks(uuid, bigint) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_queue_rechecks(uuid, bigint) IS
  'Queues what is due beside what changed: open items, those closed within a week, and the sweep.';

-- Not all of it is compared, only what costs little to ask; so a slice of all items is read again with each sweep, too.
CREATE FUNCTION keypup.github_differing_items(account uuid, project bigint, kind text, nodes jsonb) RETURNS jsonb
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
  SELECT coalesce(jsonb_agg(n.node -> 'id' ORDER BY n.position), '[]')
  FROM jsonb_array_elements(nodes) WITH ORDINALITY AS n (node, position)
  CROSS JOIN LATERAL (
    SELECT n.node ->> 'id' AS id, (n.node ->> 'number')::bigint AS number,
      (n.node ->> 'updatedAt')::timestamptz AS updated_at, n.node ->> 'title' AS title,
      lower(n.node ->> 'state' COLLATE "C") AS state, n.node #>> '{milestone,title}' AS milestone,
      n.node #>> '{milestone,id}' AS milestone_id, (n.node #>> '{comments,totalCount}')::bigint AS comments,
      (n.node #>> '{reviews,totalCount}')::bigint AS reviews, (n.node #>> '{labels,totalCount}')::integer AS labels,
      (n.node #>> '{assignees,totalCount}')::integer AS assignees
  ) AS s
  LEFT JOIN LATERAL (
    SELECT p.updated_at, p.title, p.state, p.milestone, p.milestone_ids[1] AS milestone_id,
      (SELECT count(*) FROM keypup.comments c
       WHERE c.account_id = account AND c.project_id = project AND c.item_number = p.number
         AND c.item_kind = 'pull_request') AS comments,
      (SELECT count(*) FROM keypup.reviews r
       WHERE r.account_id = account AND r.project_id = project AND r.pull_request_number = p.number) AS reviews,
      cardinality(p.labels) AS labels, cardinality(p.assignees) AS assignees
    FROM keypup.pull_requests p
    WHERE kind = 'pull_requests' AND p.account_id = account AND p.project_id = project AND p.number = s.number
      AND p.deleted_at IS NULL
    UNION ALL
    SELECT i.updated_at, i.title, i.state, i.milestone, i.milestone_ids[1],
      (SELECT count(*) FROM keypup.comments c
       WHERE c.account_id = account AND c.project_id = project AND c.item_number = i.number AND c.item_kind = 'issue'),
      NULL, cardinality(i.labels), cardinality(i.assignees)
    FROM keypup.issues i
    WHERE kind = 'issues' AND i.account_id = account AND i.project_id = project AND i.number = s.number
      AND i.deleted_at IS NULL
  ) AS o ON true
  WHERE (s.updated_at, s.title, s.state, s.milestone, s.milestone_id, s.comments, s.reviews, s.labels, s.assignees)
    IS DISTINCT FROM (o.updated_at, o.title, o.state, o.milestone, o.milestone_id, o.comments, o.reviews, o.labels,
      o.assignees)
$$;
REVOKE ALL ON FUNCTION keypup.github_differing_items(uuid, bigint, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_differing_items(uuid, bigint, text, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_differing_items(uuid, bigint, text, jsonb) IS
  'The ids of those items of a page of a sweep that are not here, or not as they are there.';

-- The numbers that were seen are carried as ranges: they are dense, so that few say them all.
CREATE FUNCTION keypup.github_take_sweep(account uuid, project bigint, kind text, page jsonb, arguments jsonb)
  RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  items text := CASE kind WHEN 'pull_request_sweep' THEN 'pull_requests' ELSE 'issues' END;
  seen int8multirange;
BEGIN
  SELECT (arguments ->> 'seen')::int8multirange + coalesce(range_agg(int8range((n ->> 'number')::bigint,
    (n ->> 'number')::bigint, '[]')), '{}') INTO seen
  FROM jsonb_array_elements(page -> 'nodes') n;
  -- What changed without a trace in updatedAt, or in its order, and what a run has missed.
  PERFORM keypup.github_queue_items(account, project, items,
    keypup.github_differing_items(account, project, items, page -> 'nodes'), true);
  IF arguments ? 'only' THEN
    RETURN;
  ELSIF (page #>> '{pageInfo,hasNextPage}')::boolean THEN
    IF keypup.github_goes_on(account, project, kind, page, arguments) THEN
      PERFORM keypup.queue_job(account, project, kind, keypup.github_next_page(page, arguments)
        || jsonb_build_object('seen', seen::text), NULL::boolean, now(), false);
    END IF;
    RETURN;
  END IF;
  PERFORM keypup.queue_existence(account, project, items, keypup.missing_items(account, project, items, seen), false);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_take_sweep(uuid, bigint, text, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_take_sweep(uuid, bigint, text, jsonb, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_take_sweep(uuid, bigint, text, jsonb, jsonb) IS
  'Takes a page of a sweep; after the last one, asks for those that no page had.';

-- asked and whole, beside: those that are there; gone: how those were asked for that are not.
CREATE FUNCTION keypup.github_take_existence(account uuid, project bigint, repository text, arguments jsonb,
  asked jsonb, whole jsonb, gone jsonb) RETURNS void
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
  PERFORM keypup.take_gone(account, project, arguments, gone);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_take_existence(uuid, bigint, text, jsonb, jsonb, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_take_existence(uuid, bigint, text, jsonb, jsonb, jsonb, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_take_existence(uuid, bigint, text, jsonb, jsonb, jsonb, jsonb) IS
  'Marks items as deleted that are gone for the second time; reads those again that are there after all.';
