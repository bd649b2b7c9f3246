-- provider/github/merge_state.sql: how open pull requests stand. Checks and conflicts come and go without a trace in
-- the time of a pull request's last change: they are asked for whenever the pull request was read, and from then on
-- with the next run or poll whose time has come, for as long as they may soon be otherwise.

-- pages: [{number, head, node, after, seen, nth, contexts}]. A run that has ended says something for good; one that has
-- not is there, or it never ends.
CREATE FUNCTION keypup.github_store_checks(account uuid, project bigint, pages jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  DELETE FROM keypup.pull_request_checks c
  USING keypup.json_rows(pages, '', '{number,seen,contexts.nodes.id,contexts.pageInfo.hasNextPage}'::text[])
    AS w (number bigint, seen text[], ids text[], goes_on boolean)
  WHERE c.account_id = account AND c.project_id = project AND c.pull_request_number = w.number
    AND NOT w.goes_on AND c.status <> 'completed' AND c.external_id <> ALL (coalesce(w.seen, '{}') || w.ids);

  PERFORM keypup.store_pull_request_checks(account, project, ARRAY(
    SELECT ROW(n.number, n.id, n.head, CASE n.type WHEN 'CheckRun' THEN 'check_run' ELSE 'commit_status' END,
      n.workflow, n.name,
      s.status, CASE WHEN s.status = 'completed' THEN s.conclusion END, n.started_at,
      CASE WHEN s.status = 'completed' THEN coalesce(n.completed_at, n.created_at) END
      )::keypup.provided_pull_request_checks
    FROM keypup.json_rows(pages, 'contexts.nodes', ('{../number,../head,__typename,id,'
        'checkSuite.workflowRun.workflow.name,name|context,status,conclusion,'
        'state,startedAt,completedAt,createdAt}')::text[])
      AS n (number bigint, head text, type text, id text, workflow text, name text, status text, conclusion text,
        state text, started_at timestamptz, completed_at timestamptz, created_at timestamptz)
    CROSS JOIN LATERAL (
      SELECT CASE WHEN n.status = 'COMPLETED' OR n.state IN ('SUCCESS', 'FAILURE', 'ERROR') THEN 'completed'
          WHEN n.status = 'IN_PROGRESS' OR n.state = 'PENDING' THEN 'in_progress' ELSE 'queued' END AS status,
        CASE n.state WHEN 'SUCCESS' THEN 'success' WHEN 'FAILURE' THEN 'failure' WHEN 'ERROR' THEN 'failure'
          ELSE lower(n.conclusion COLLATE "C") END AS conclusion
    ) AS s));

  PERFORM keypup.queue_job(account, project, 'nested_pages', q.arguments, NULL::boolean, now(), false) FROM (
    SELECT jsonb_build_object('items', jsonb_agg(w.page)) AS arguments
    FROM (
      SELECT p.page, (row_number() OVER (ORDER BY (p.page ->> 'number')::bigint) - 1) / 20 AS part
      FROM jsonb_array_elements(keypup.github_going_on(account, project, (
        SELECT jsonb_agg(jsonb_build_object('item', 'status_check_rollup', 'number', g.number, 'head', g.head,
          'node', g.node, 'connection', 'contexts', 'after', g.next_after, 'nth', coalesce(g.nth, 1) + 1,
          'seen', to_jsonb(coalesce(g.seen, '{}') || g.ids),
          'is_stuck', keypup.github_is_stuck('contexts', g.after, g.next_after, to_jsonb(coalesce(g.seen, '{}')),
            to_jsonb(g.ids), g.nth)))
        FROM keypup.json_rows(pages, '', ('{number,head,node,after,nth,seen,contexts.nodes.id,'
            'contexts.pageInfo.hasNextPage,contexts.pageInfo.endCursor}')::text[])
          AS g (number bigint, head text, node text, after text, nth bigint, seen text[], ids text[], goes_on boolean,
            next_after text)
        WHERE g.goes_on))) AS p (page)
    ) AS w
    GROUP BY w.part) AS q;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_checks(uuid, bigint, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_store_checks(uuid, bigint, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_store_checks(uuid, bigint, jsonb) IS
  'Stores pages of the checks of newest commits, and asks for the pages that come next.';

-- GitHub computes whether there are conflicts once it is asked, and says UNKNOWN until then; a check that goes on ends;
-- one that failed is run again; where there are none, some may come soon. A pull request that changed long ago waits
-- longer each time, half of the time that it has been quiet, and in the end for its recheck.
CREATE FUNCTION keypup.github_follow_merge_states(account uuid, project bigint, numbers bigint[],
  became_unknown bigint[]) RETURNS void
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE keypup.pull_request_merge_states m SET next_read_at = f.next_read_at
  FROM (
    SELECT p.number, CASE
        WHEN p.state <> 'open' THEN NULL
        WHEN p.number = ANY (became_unknown) THEN now() + current_setting('keypup.sync_interval')::interval
        WHEN (s.has_conflicts IS NULL OR s.check_state IN ('pending', 'failure'))
            AND p.updated_at > now() - current_setting('keypup.recheck_interval')::interval
          OR s.check_state IS NULL AND p.updated_at > now() - interval '30 minutes'
            AND 'Commit.statusCheckRollup' <> ALL (keypup.github_refused_fields(account, project))
        THEN now() + greatest(current_setting('keypup.sync_interval')::interval, (now() - p.updated_at) / 2)
      END AS next_read_at
    FROM keypup.pull_requests p
    JOIN keypup.pull_request_merge_states s ON s.account_id = p.account_id AND s.project_id = p.project_id
      AND s.pull_request_number = p.number
    WHERE p.account_id = account AND p.project_id = project AND p.number = ANY (numbers)
  ) AS f
  WHERE m.account_id = account AND m.project_id = project AND m.pull_request_number = f.number
    AND m.next_read_at IS DISTINCT FROM f.next_read_at
$$;
CREATE FUNCTION keypup.github_queue_due_merge_states(account uuid, project bigint, in_run boolean) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  due text[];
BEGIN
  WITH due AS (
    -- Once: the answer says when next.
    UPDATE keypup.pull_request_merge_states m SET next_read_at = NULL
    WHERE m.account_id = account AND m.project_id = project AND m.next_read_at <= now()
    RETURNING m.pull_request_number, m.external_id
  )
  SELECT array_agg(d.external_id ORDER BY d.pull_request_number) INTO due FROM due d;
  IF due IS NOT NULL THEN
    PERFORM keypup.github_queue_parts(account, project, 'merge_states', to_jsonb(due), in_run);
  END IF;
END
$$;
-- Open ones; and those that were just closed, once: that is how they stood.
CREATE FUNCTION keypup.github_queue_merge_states(account uuid, project bigint, numbers bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  ids jsonb := (
    SELECT jsonb_agg(p.global_id ORDER BY p.number) FROM keypup.pull_requests p
    WHERE p.account_id = account AND p.project_id = project AND p.number = ANY (numbers) AND p.deleted_at IS NULL
      AND (p.state = 'open' OR p.closed_at > now() - interval '7 days' AND NOT EXISTS (
        SELECT FROM keypup.pull_request_merge_states m
        WHERE m.account_id = account AND m.project_id = project AND m.pull_request_number = p.number
          AND m.updated_at >= p.updated_at)));
BEGIN
  IF ids IS NOT NULL THEN
    PERFORM keypup.github_queue_parts(account, project, 'merge_states', ids,
      EXISTS (SELECT FROM keypup.sync_jobs j WHERE j.account_id = account AND j.project_id = project AND j.in_run));
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_follow_merge_states(uuid, bigint, bigint[], bigint[]),
  keypup.github_queue_due_merge_states(uuid, bigint, boolean),
  keypup.github_queue_merge_states(uuid, bigint, bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_follow_merge_states(uuid, bigint, bigint[], bigint[]),
  keypup.github_queue_due_merge_states(uuid, bigint, boolean),
  keypup.github_queue_merge_states(uuid, bigint, bigint[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_follow_merge_states(uuid, bigint, bigint[], bigint[]) IS
  'Says when it is asked again how those pull requests stand, of these that were read, that may soon stand otherwise. '
  'became_unknown: of which GitHub did not know yet whether they can be merged.';
COMMENT ON FUNCTION keypup.github_queue_due_merge_states(uuid, bigint, boolean) IS
  'Has it asked how those pull requests of a project stand whose time has come.';
COMMENT ON FUNCTION keypup.github_queue_merge_states(uuid, bigint, bigint[]) IS
  'Has it asked how pull requests stand that were read, by their numbers: those that are open, or were just closed.';

CREATE FUNCTION keypup.github_store_merge_states(account uuid, project bigint, nodes jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  became_unknown bigint[] := ARRAY(
    SELECT n.number FROM keypup.json_rows(nodes, '', '{id,number,mergeable}'::text[]) AS n (id text, number bigint,
      mergeable text)
    LEFT JOIN keypup.pull_request_merge_states m ON m.account_id = account AND m.project_id = project
      AND m.pull_request_number = n.number
    WHERE n.mergeable = 'UNKNOWN' AND (m.external_id IS NULL OR m.has_conflicts IS NOT NULL));
  -- Who is not told of all rules does not know that there is none.
  tells_rules boolean := (
    SELECT NOT c.missing_fields || keypup.github_refused_fields(account, project)
      && '{Ref.branchProtectionRule,Ref.rules}'
    FROM keypup.projects p JOIN keypup.connections c USING (account_id, connection_id)
    WHERE p.account_id = account AND p.project_id = project);
BEGIN
  PERFORM keypup.store_pull_request_merge_states(account, project, ARRAY(
    SELECT ROW(n.number, n.id, n.updated_at, n.head,
      CASE n.mergeable WHEN 'CONFLICTING' THEN true WHEN 'MERGEABLE' THEN false END,
      CASE WHEN n.merge_state <> 'UNKNOWN' THEN n.merge_state = 'BEHIND' END,
      CASE WHEN n.check_state = 'SUCCESS' THEN 'success' WHEN n.check_state IN ('FAILURE', 'ERROR') THEN 'failure'
        WHEN n.check_state IS NOT NULL THEN 'pending' END,
      lower(n.decision COLLATE "C"),
      greatest(n.protection, n.enforced, (SELECT max(r.count::bigint) FROM unnest(n.rulesets) AS r (count)),
        CASE WHEN tells_rules AND n.base IS NOT NULL THEN 0 END))::keypup.provided_pull_request_merge_states
    FROM keypup.json_rows(nodes, '', ('{number,id,updatedAt,mergeable,mergeStateStatus,reviewDecision,baseRef.id,'
        'baseRef.branchProtectionRule.requiredApprovingReviewCount,baseRef.refUpdateRule.requiredApprovingReviewCount,'
        'baseRef.rules.nodes.parameters.requiredApprovingReviewCount,commits.nodes.0.commit.oid,'
        'commits.nodes.0.commit.statusCheckRollup.state}')::text[])
      AS n (number bigint, id text, updated_at timestamptz, mergeable text, merge_state text, decision text, base text,
        protection bigint, enforced bigint, rulesets text[], head text, check_state text)
    -- What is not there any more, or has another's number now, does not stand anyhow.
    JOIN keypup.pull_requests p ON p.account_id = account AND p.project_id = project AND p.number = n.number
      AND p.global_id = n.id));
  PERFORM keypup.github_store_checks(account, project, (
    SELECT coalesce(jsonb_agg(jsonb_build_object('number', n.number, 'head', n.head, 'node', n.rollup,
      'contexts', coalesce(n.contexts, '{"nodes": [], "pageInfo": {"hasNextPage": false}}'))), '[]')
    FROM keypup.json_rows(nodes, '', ('{number,id,commits.nodes.0.commit.oid,'
        'commits.nodes.0.commit.statusCheckRollup.id,commits.nodes.0.commit.statusCheckRollup.contexts}')::text[])
      AS n (number bigint, id text, head text, rollup text, contexts jsonb)
    JOIN keypup.pull_requests p ON p.account_id = account AND p.project_id = project AND p.number = n.number
      AND p.global_id = n.id));
  PERFORM keypup.github_follow_merge_states(account, project,
    ARRAY(SELECT n.number FROM keypup.json_rows(nodes, '', '{number}'::text[]) AS n (number bigint)), became_unknown);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_merge_states(uuid, bigint, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_store_merge_states(uuid, bigint, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_store_merge_states(uuid, bigint, jsonb) IS
  'Stores how pull requests stand, with the first pages of their checks.';
