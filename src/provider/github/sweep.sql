-- provider/github/sweep.sql: what a run does not see. Polls tell which repositories changed at all; open and just closed
-- items are read again on a schedule, since not everything bumps updatedAt; a sweep compares all items with the
-- provider's, oldest first, and marks those as deleted that a whole sweep did not find and that are gone twice.

CREATE FUNCTION keypup.github_take_poll(account uuid, connection uuid, asked_at timestamptz, projects jsonb, answer jsonb, interval_seconds integer) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  polled record;
  moved bigint[] := keypup.github_deployments_moved(account, answer -> 'unfinished');
BEGIN
  FOR polled IN
    SELECT s.project_id,
      n.node IS NOT NULL AND (s.next_recheck_at IS NULL OR s.next_recheck_at > now()) AND (s.next_sweep_at IS NULL OR s.next_sweep_at > now())
      AND (p.name, p.is_archived, p.has_issues, lower(p.visibility)) IS NOT DISTINCT FROM
        (n.node ->> 'nameWithOwner', (n.node ->> 'isArchived')::boolean, (n.node ->> 'hasIssuesEnabled')::boolean, lower(coalesce(n.node ->> 'visibility', p.visibility)))
      AND (p.pull_request_total, p.issue_total) IS NOT DISTINCT FROM ((n.node #>> '{pullRequests,totalCount}')::bigint, (n.node #>> '{issues,totalCount}')::bigint)
      AND ((s.watermarks ->> 'pull_requests')::timestamptz, (s.watermarks ->> 'issues')::timestamptz) IS NOT DISTINCT FROM
        ((n.node #>> '{pullRequests,nodes,0,updatedAt}')::timestamptz, (n.node #>> '{issues,nodes,0,updatedAt}')::timestamptz)
      AND s.watermarks -> 'milestones' IS NOT DISTINCT FROM keypup.github_milestone_mark(n.node) -> 'milestones'
      -- Null, where it is refused, tells nothing.
      AND ('Repository.releases' = ANY (s.refused_fields) OR NOT n.node ? 'latestRelease'
           OR s.watermarks -> 'latest_release' IS NOT DISTINCT FROM keypup.github_release_mark(n.node) -> 'latest_release')
      AND (d.node IS NULL OR s.watermarks -> 'newest_deployment' IS NOT DISTINCT FROM keypup.github_deployment_mark(d.node) -> 'newest_deployment')
      AND s.project_id <> ALL (coalesce(moved, '{}')) AS is_unchanged
    FROM jsonb_array_elements(projects) AS j (project_id)
    JOIN keypup.sync_state s ON s.account_id = account AND s.project_id = j.project_id::bigint
    JOIN keypup.projects p ON p.account_id = account AND p.project_id = s.project_id AND p.connection_id = connection
    LEFT JOIN jsonb_array_elements(answer -> 'nodes') AS n (node) ON n.node ->> 'id' = p.external_id
    LEFT JOIN jsonb_array_elements(CASE jsonb_typeof(answer -> 'delivering') WHEN 'array' THEN answer -> 'delivering' ELSE '[]' END) AS d (node)
      ON d.node ->> 'id' = p.external_id AND jsonb_typeof(d.node -> 'deployments') = 'object'
    WHERE NOT EXISTS (SELECT FROM keypup.sync_jobs r WHERE r.account_id = account AND r.project_id = s.project_id AND r.in_run)
    ORDER BY s.project_id
    FOR UPDATE OF s
  LOOP
    IF polled.is_unchanged THEN
      PERFORM keypup.project_is_unchanged(account, polled.project_id, asked_at, interval_seconds);
    ELSE
      PERFORM keypup.start_run(account, polled.project_id);
    END IF;
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_take_poll(uuid, uuid, timestamptz, jsonb, jsonb, integer) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_take_poll(uuid, uuid, timestamptz, jsonb, jsonb, integer) IS 'Starts a run of each polled repository that changed, or that is due for more than a look.';

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
      WHERE p.account_id = account AND p.project_id = project AND p.deleted_at IS NULL AND (p.state = 'open' OR p.closed_at > now() - interval '7 days')));
    PERFORM keypup.github_queue_items(account, project, 'issues', (
      SELECT coalesce(jsonb_agg(i.node_id ORDER BY i.number), '[]') FROM keypup.issues i
      WHERE i.account_id = account AND i.project_id = project AND i.deleted_at IS NULL AND (i.state = 'open' OR i.closed_at > now() - interval '7 days')));
  END IF;
  IF due.sweep THEN
    PERFORM keypup.queue_job(account, project, 'pull_request_sweep', '{"seen": "{}"}');
    PERFORM keypup.queue_job(account, project, 'issue_sweep', '{"seen": "{}"}');
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
COMMENT ON FUNCTION keypup.github_queue_rechecks(uuid, bigint) IS 'Queues what is due beside what changed: open items, those closed within a week, and the sweep.';

-- The numbers that were seen are carried as ranges: they are dense, so that few say them all.
CREATE FUNCTION keypup.github_take_sweep(account uuid, project bigint, kind text, page jsonb, seen_before text) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  items text := CASE kind WHEN 'pull_request_sweep' THEN 'pull_requests' ELSE 'issues' END;
  seen int8multirange;
  missing jsonb;
BEGIN
  SELECT seen_before::int8multirange + coalesce(range_agg(int8range((n ->> 'number')::bigint, (n ->> 'number')::bigint, '[]')), '{}') INTO seen
  FROM jsonb_array_elements(page -> 'nodes') n WHERE n ->> 'number' IS NOT NULL;
  IF (page #>> '{pageInfo,hasNextPage}')::boolean THEN
    PERFORM keypup.queue_job(account, project, kind, jsonb_build_object('after', page #> '{pageInfo,endCursor}', 'seen', seen::text));
  END IF;
  -- What changed without a trace in updatedAt's order, and what a run has missed.
  PERFORM keypup.github_queue_items(account, project, items, keypup.github_changed_items(account, project, items, page -> 'nodes', NULL));
  IF (page #>> '{pageInfo,hasNextPage}')::boolean THEN
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
REVOKE ALL ON FUNCTION keypup.github_take_sweep(uuid, bigint, text, jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_take_sweep(uuid, bigint, text, jsonb, text) IS 'Takes a page of a sweep; after the last one, asks for those that no page had.';

CREATE FUNCTION keypup.github_queue_existence(account uuid, project bigint, items text, missing jsonb, is_second boolean) RETURNS void
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
  SELECT keypup.queue_job(account, project, 'existence', jsonb_build_object('of', items, 'items', w.list, 'is_second', is_second), false,
    now() + CASE WHEN is_second THEN current_setting('keypup.deletion_delay')::interval ELSE interval '0' END)
  FROM (SELECT jsonb_agg(e.item ORDER BY e.position) AS list
        FROM jsonb_array_elements(missing) WITH ORDINALITY AS e (item, position) GROUP BY (e.position - 1) / 100) AS w
$$;
REVOKE ALL ON FUNCTION keypup.github_queue_existence(uuid, bigint, text, jsonb, boolean) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_queue_existence(uuid, bigint, text, jsonb, boolean) IS 'Asks whether items are still there; a second time some time later.';

CREATE FUNCTION keypup.github_take_existence(account uuid, project bigint, repository text, arguments jsonb, reply jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  gone jsonb;
  there jsonb;
BEGIN
  -- Gone is what GitHub says is not found, or is another's now; a node that is null for another reason tells nothing.
  SELECT jsonb_agg(e.item) FILTER (WHERE e.is_gone), jsonb_agg(e.item -> 'id') FILTER (WHERE e.is_there) INTO gone, there
  FROM (
    SELECT i.item,
      CASE WHEN jsonb_typeof(n.node) = 'object' THEN n.node #>> '{repository,id}' IS DISTINCT FROM repository
           ELSE EXISTS (SELECT FROM jsonb_array_elements(reply -> 'errors') AS error
                        WHERE error ->> 'type' = 'NOT_FOUND' AND error -> 'path' = jsonb_build_array('nodes', i.position - 1)) END AS is_gone,
      jsonb_typeof(n.node) = 'object' AND n.node #>> '{repository,id}' = repository AS is_there
    FROM jsonb_array_elements(arguments -> 'items') WITH ORDINALITY AS i (item, position)
    JOIN jsonb_array_elements(reply #> '{data,nodes}') WITH ORDINALITY AS n (node, position) USING (position)
  ) AS e;
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
REVOKE ALL ON FUNCTION keypup.github_take_existence(uuid, bigint, text, jsonb, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_take_existence(uuid, bigint, text, jsonb, jsonb) IS 'Marks items as deleted that are gone for the second time; reads those again that are there after all.';
