-- provider/github/again.sql: how what could not be read or stored is named, and asked for again.

-- failures: [{asked, why, number}], asked as the job has it in its items; null: the page of a list that it asked for.
CREATE FUNCTION keypup.github_failures(account uuid, project bigint, kind text, arguments jsonb, failures jsonb)
  RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF failures #> '{0,asked}' = 'null' THEN
    RETURN keypup.github_list_failure(account, project, kind, arguments, failures #>> '{0,why}');
  ELSIF kind = 'nested_pages' THEN
    -- Such a page is read again with its item, from the start: what is before it may have changed since.
    RETURN (SELECT jsonb_agg(jsonb_build_object('kind', n.kind, 'item_id', coalesce(n.node, p.global_id),
      'part', n.part, 'item_number', n.number, 'reason', f.why))
    FROM jsonb_to_recordset(failures) AS f (asked jsonb, why text)
    CROSS JOIN LATERAL (
      SELECT CASE f.asked ->> 'item' WHEN 'issue' THEN 'issues' WHEN 'deployment' THEN 'deployments'
        WHEN 'status_check_rollup' THEN 'merge_states' ELSE 'pull_requests' END AS kind,
        CASE WHEN f.asked ->> 'item' NOT IN ('thread', 'status_check_rollup') THEN f.asked ->> 'node' END AS node,
        CASE f.asked ->> 'item' WHEN 'thread' THEN 'reviewThreads' ELSE f.asked ->> 'connection' END AS part,
        (f.asked ->> 'number')::bigint AS number
    ) AS n
    LEFT JOIN keypup.pull_requests p ON n.node IS NULL AND p.account_id = account AND p.project_id = project
      AND p.number = n.number);
  ELSIF kind = 'numbers' THEN
    RETURN (SELECT jsonb_agg(jsonb_build_object('kind', kind, 'item_id', f.asked, 'item_number', f.asked,
      'reason', f.why, 'arguments', jsonb_build_object('items', jsonb_build_array(f.asked))))
    FROM jsonb_to_recordset(failures) AS f (asked jsonb, why text));
  ELSIF kind = 'existence' THEN
    RETURN (SELECT jsonb_agg(jsonb_build_object('kind', kind, 'item_id', f.asked ->> 'id',
      'item_number', f.asked -> 'number', 'reason', f.why, 'arguments', arguments
        || jsonb_build_object('items', jsonb_build_array(f.asked))))
    FROM jsonb_to_recordset(failures) AS f (asked jsonb, why text));
  ELSE
    RETURN (SELECT jsonb_agg(jsonb_build_object('kind', github_failures.kind, 'item_id', f.asked #>> '{}',
      'item_number', coalesce(f.number, i.number), 'reason', f.why))
    FROM jsonb_to_recordset(failures) AS f (asked jsonb, why text, number bigint)
    LEFT JOIN keypup.stored_items i
      ON i.account_id = account AND i.project_id = project
        AND i.kind = CASE github_failures.kind WHEN 'merge_states' THEN 'pull_requests' ELSE github_failures.kind END
        AND i.id = f.asked #>> '{}');
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_failures(uuid, bigint, text, jsonb, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_failures(uuid, bigint, text, jsonb, jsonb) IS
  'What a job of a kind and with these arguments could not read or store, as keypup.set_aside takes it.';

-- What is read with every run is not asked for apart. A list that is read newest first is read to where its run would
-- have.
CREATE FUNCTION keypup.github_list_failure(account uuid, project bigint, kind text, arguments jsonb, why text)
  RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT jsonb_build_array(jsonb_build_object('kind', kind, 'reason', why,
    'item_id', coalesce(arguments ->> 'after', ''),
    'arguments', CASE
      WHEN kind IN ('pull_request_sweep', 'issue_sweep') THEN arguments - 'first' - 'told'
      WHEN kind IN ('pull_request_stubs', 'issue_stubs', 'release_pages', 'deployment_pages')
        THEN arguments - 'first' - 'told' - 'is_first'
        || CASE WHEN kind LIKE '%pages' THEN '{"first": 100}'::jsonb ELSE '{}' END
        || jsonb_build_object('horizon',
          keypup.github_horizon(account, project,
            CASE kind WHEN 'pull_request_stubs' THEN 'pull_requests' WHEN 'issue_stubs' THEN 'issues'
              WHEN 'release_pages' THEN 'releases' ELSE 'deployments' END, arguments)) END))
$$;
REVOKE ALL ON FUNCTION keypup.github_list_failure(uuid, bigint, text, jsonb, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_list_failure(uuid, bigint, text, jsonb, text) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_list_failure(uuid, bigint, text, jsonb, text) IS
  'A page of a list, as keypup.set_aside takes it, with what is asked again for it.';

-- What was set aside, and whose time has come, is asked for in the run that goes on.
CREATE FUNCTION keypup.github_queue_failures(account uuid, project bigint) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  failures keypup.sync_failures[] := ARRAY(SELECT f FROM keypup.take_failures(account, project) AS f);
BEGIN
  PERFORM keypup.github_queue_items(account, project, f.kind, jsonb_agg(DISTINCT f.item_id), true)
  FROM unnest(failures) AS f
  WHERE f.kind IN ('pull_requests', 'merge_states', 'issues', 'releases', 'deployments') AND f.arguments IS NULL
  GROUP BY f.kind;
  PERFORM keypup.queue_job(account, project, f.kind, f.arguments, true, now(), false)
  FROM unnest(failures) AS f WHERE f.arguments IS NOT NULL;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_queue_failures(uuid, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_queue_failures(uuid, bigint) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_queue_failures(uuid, bigint) IS 'Asks again for what was set aside in a project.';

-- One item by its number, or all that is stored of a project.
CREATE FUNCTION keypup.github_reread(account uuid, project bigint, item bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  known boolean := item IS NULL;
  of_kind record;
BEGIN
  -- If it fails again, it is set aside anew.
  UPDATE keypup.sync_failures f SET is_tried = true
  WHERE f.account_id = account AND f.project_id = project AND f.item_number = item
    AND f.kind IN ('pull_requests', 'issues');
  FOR of_kind IN
    SELECT k.kind, jsonb_agg(DISTINCT k.id) AS ids
    FROM (
      SELECT 'pull_requests' AS kind, p.global_id AS id FROM keypup.pull_requests p
      WHERE p.account_id = account AND p.project_id = project AND (p.number = item OR item IS NULL)
      UNION ALL
      SELECT 'issues', i.global_id FROM keypup.issues i
      WHERE i.account_id = account AND i.project_id = project AND (i.number = item OR item IS NULL)
      UNION ALL
      SELECT f.kind, f.item_id FROM keypup.sync_failures f
      WHERE f.account_id = account AND f.project_id = project AND f.item_number = item
        AND f.kind IN ('pull_requests', 'issues')
      UNION ALL
      SELECT 'releases', r.external_id FROM keypup.releases r
      WHERE r.account_id = account AND r.project_id = project AND item IS NULL
      UNION ALL
      SELECT 'deployments', d.external_id FROM keypup.deployments d
      WHERE d.account_id = account AND d.project_id = project AND item IS NULL
    ) AS k
    GROUP BY k.kind
  LOOP
    PERFORM keypup.github_queue_items(account, project, of_kind.kind, of_kind.ids, true);
    known := true;
  END LOOP;
  RETURN known;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_reread(uuid, bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_reread(uuid, bigint, bigint) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_reread(uuid, bigint, bigint) IS
  'Queues the reading of an item, or of all that is stored of a project, in the run that goes on; false when there is '
  'no such item.';
