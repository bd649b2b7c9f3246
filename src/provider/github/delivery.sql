-- provider/github/delivery.sql: releases and deployments. Both lists are read newest first by the time of creation,
-- which never changes: what is new is at the front, and each page is all that there is between its ends. What changes
-- in place is asked for by id: deployments that are not finished, those that a later one may have taken the place of,
-- and what a webhook names.

CREATE FUNCTION keypup.github_refused_fields(account uuid, project bigint) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN coalesce((SELECT s.refused_fields FROM keypup.sync_state s
                   WHERE s.account_id = account AND s.project_id = project
                     AND s.refused_at > now() - interval '1 day'), '{}');
END
$$;
-- Neither list may be null, so that GitHub answers null for all of the repository where it refuses one of them.
CREATE FUNCTION keypup.github_learn_refused(account uuid, project bigint, reply jsonb) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  refused text[];
BEGIN
  -- A query that is refused as a whole has no path; its message names the field.
  SELECT array_agg(DISTINCT keypup.github_refusable(coalesce(to_jsonb(e.keys),
    jsonb_build_array(substring(e.message FROM 'The ''(\w+)'' field requires')))))
  INTO refused
  FROM keypup.github_errors(reply, '{}'::text[]) e
  WHERE e.type IN ('FORBIDDEN', 'INSUFFICIENT_SCOPES');
  refused := array_remove(refused, NULL);
  UPDATE keypup.sync_state s SET refused_at = now(),
    refused_fields = ARRAY(SELECT DISTINCT u FROM unnest(keypup.github_refused_fields(account, project) || refused) u
      ORDER BY u)
  WHERE s.account_id = account AND s.project_id = project
    AND NOT refused <@ keypup.github_refused_fields(account, project);
  RETURN FOUND;
END
$$;
CREATE FUNCTION keypup.github_delivery_fragments(without text[]) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (
    SELECT array_agg(f.fragment)
    FROM (VALUES ('Repository.releases', 'release_page'), ('Repository.releases', 'release_fields'),
      ('Repository.deployments', 'deployment_page'), ('Repository.deployments', 'deployment_fields'),
      ('Repository.deployments', 'deployment_status_page'),
        (CASE WHEN 'Repository.releases' = ANY (without) THEN 'Repository.deployments' END,
        'actor_fields')) AS f (field, fragment)
    WHERE f.field IS NULL OR f.field <> ALL (without));
END
$$;
REVOKE ALL ON FUNCTION keypup.github_refused_fields(uuid, bigint), keypup.github_learn_refused(uuid, bigint, jsonb),
  keypup.github_delivery_fragments(text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_refused_fields(uuid, bigint), keypup.github_learn_refused(uuid, bigint, jsonb),
  keypup.github_delivery_fragments(text[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_refused_fields(uuid, bigint) IS
  'What is not asked for of a project, since the token may not read it.';
COMMENT ON FUNCTION keypup.github_learn_refused(uuid, bigint, jsonb) IS
  'Learns from an answer that the token may not read releases or deployments of a project. Whether that is new.';
COMMENT ON FUNCTION keypup.github_delivery_fragments(text[]) IS
  'The fragments of releases and deployments in what is asked of a repository.';

-- What polls compare. The mark of deployments is that of the newest one: others are asked for by id while they are
-- unfinished.
CREATE FUNCTION keypup.github_release_mark(repository jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN jsonb_build_object('latest_release',
    jsonb_build_array(repository #> '{latestRelease,id}', repository #> '{latestRelease,updatedAt}'));
END
$$;
CREATE FUNCTION keypup.github_deployment_mark(repository jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN jsonb_build_object('newest_deployment',
    jsonb_build_array(repository #> '{deployments,totalCount}', repository #> '{deployments,nodes,0,id}',
    repository #> '{deployments,nodes,0,state}', repository #> '{deployments,nodes,0,updatedAt}'));
END
$$;
REVOKE ALL ON FUNCTION keypup.github_release_mark(jsonb), keypup.github_deployment_mark(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_release_mark(jsonb), keypup.github_deployment_mark(jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_release_mark(jsonb) IS 'Which release is the latest, and when it changed.';
COMMENT ON FUNCTION keypup.github_deployment_mark(jsonb) IS
  'How many deployments there are, which is the newest, and how it is.';

-- The newest hundred that may still change: what began longer than a week ago is left to rechecks.
CREATE FUNCTION keypup.github_unfinished(account uuid, projects bigint[]) RETURNS jsonb
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (
    SELECT coalesce(jsonb_agg(u.external_id), '[]')
    FROM (SELECT d.external_id, d.created_at FROM unnest(projects) AS p (project_id) CROSS JOIN LATERAL (
            SELECT d.external_id, d.created_at FROM keypup.deployments d
            WHERE d.account_id = account AND d.project_id = p.project_id AND d.deleted_at IS NULL
              AND d.state IN ('in_progress', 'pending', 'queued', 'waiting')
              AND d.created_at > now() - interval '7 days'
            ORDER BY d.created_at DESC LIMIT 100) AS d
          ORDER BY d.created_at DESC, d.external_id LIMIT 100) AS u);
END
$$;
-- A poll of n repositories costs as many points with some lists more as without: GitHub rounds to a hundred. What is
-- rounded away is spent on repositories that had no deployment yet, in turns.
CREATE FUNCTION keypup.github_poll_variables(account uuid, job bigint, projects jsonb, without text[]) RETURNS jsonb
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
  WITH polled AS MATERIALIZED (
    SELECT p.project_id, p.external_id, 'Repository.deployments' <> ALL (without || s.refused_fields) AS can_deliver,
      EXISTS (
        SELECT FROM keypup.deployments d
        WHERE d.account_id = p.account_id AND d.project_id = p.project_id AND d.deleted_at IS NULL
      ) AS delivers
    FROM keypup.projects p JOIN keypup.sync_state s USING (account_id, project_id)
    WHERE p.account_id = account AND projects @> to_jsonb(p.project_id) AND p.external_id IS NOT NULL
  ), counted AS (
    -- Three lists of each repository, and three of nodes.
    SELECT count(*) FILTER (WHERE delivers AND can_deliver) AS delivering, 3 * count(*) + 3 AS lists FROM polled
  ), chosen AS (
    SELECT q.external_id
    FROM (SELECT p.external_id, row_number() OVER (ORDER BY p.delivers DESC, hashint8extended(p.project_id, job),
      p.project_id) AS position FROM polled p WHERE p.can_deliver) AS q,
      counted c
    WHERE q.position <= greatest(c.delivering, 100 * greatest(1, (c.lists + c.delivering + 50) / 100) + 49 - c.lists)
  ), asked AS (
    SELECT coalesce((SELECT jsonb_agg(p.external_id ORDER BY p.project_id) FROM polled p), '[]') AS ids,
      coalesce((SELECT jsonb_agg(c.external_id) FROM chosen c), '[]') AS delivering,
      keypup.github_unfinished(account,
        ARRAY(SELECT p.project_id FROM polled p WHERE p.delivers AND p.can_deliver)) AS unfinished
  )
  SELECT jsonb_build_object('ids', a.ids, 'delivering', a.delivering, 'asksDelivering', a.delivering <> '[]',
    'unfinished', a.unfinished, 'asksUnfinished', a.unfinished <> '[]') FROM asked a
$$;
CREATE FUNCTION keypup.github_deployments_moved(account uuid, unfinished jsonb) RETURNS bigint[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT array_agg(DISTINCT d.project_id)
  FROM jsonb_to_recordset(CASE jsonb_typeof(unfinished)
    WHEN 'array' THEN jsonb_path_query_array(unfinished, '$[*] ? (exists (@.state))') ELSE '[]' END)
    AS n (id text, state text, "updatedAt" timestamptz)
  JOIN keypup.deployments d ON d.account_id = account AND d.external_id = n.id
  WHERE d.state IN ('in_progress', 'pending', 'queued', 'waiting')
    AND (d.state, d.updated_at) IS DISTINCT FROM (lower(n.state COLLATE "C"), n."updatedAt")
    AND d.updated_at <= n."updatedAt"
$$;
REVOKE ALL ON FUNCTION keypup.github_unfinished(uuid, bigint[]),
  keypup.github_poll_variables(uuid, bigint, jsonb, text[]), keypup.github_deployments_moved(uuid, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_unfinished(uuid, bigint[]),
  keypup.github_poll_variables(uuid, bigint, jsonb, text[]), keypup.github_deployments_moved(uuid, jsonb)
    TO keypup_worker;
COMMENT ON FUNCTION keypup.github_unfinished(uuid, bigint[]) IS
  'Ids of the newest deployments of projects whose end is not known.';
COMMENT ON FUNCTION keypup.github_poll_variables(uuid, bigint, jsonb, text[]) IS
  'What a poll asks for: repositories, those whose newest deployment is asked for, and unfinished deployments.';
COMMENT ON FUNCTION keypup.github_deployments_moved(uuid, jsonb) IS
  'The projects of deployments that are not as they are stored.';

CREATE FUNCTION keypup.github_store_releases(account uuid, project bigint, nodes jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM keypup.store_releases(account, project, ARRAY(
    SELECT ROW(n.id, n."tagName", nullif(n.name, ''), n.url, n.author ->> 'login',
      coalesce(n.author ->> '__typename' = 'Bot' OR n.author ->> 'login' LIKE '%[bot]', false), n."isDraft",
      n."isPrerelease", n."createdAt", n."publishedAt", n."updatedAt",
      coalesce((n."tagCommit" ->> 'committedDate')::timestamptz, (
        SELECT o.commit_at FROM keypup.releases o
        WHERE o.account_id = account AND o.project_id = project AND o.external_id = n.id)))::keypup.provided_releases
    FROM jsonb_to_recordset(nodes) AS n (id text, "tagName" text, name text, url text, author jsonb, "isDraft" boolean,
      "isPrerelease" boolean, "createdAt" timestamptz, "publishedAt" timestamptz, "updatedAt" timestamptz,
      "tagCommit" jsonb)
    WHERE n."tagName" IS NOT NULL));
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_releases(uuid, bigint, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_store_releases(uuid, bigint, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_store_releases(uuid, bigint, jsonb) IS
  'Stores releases. The time of a commit that is not shown any more is kept.';

-- In what order statuses come is not documented, and does not matter: the first success is the earliest that any page
-- shows. A success that a later deployment makes inactive stays a status, and what is known of it is never taken back.
CREATE FUNCTION keypup.github_store_statuses(account uuid, project bigint, pages jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE keypup.deployments d
  SET succeeded_at = least(d.succeeded_at, t.succeeded_at), failed_at = least(d.failed_at, t.failed_at)
  FROM (
    SELECT n.node, min(n.created_at) FILTER (WHERE n.state = 'SUCCESS') AS succeeded_at,
      min(n.created_at) FILTER (WHERE n.state IN ('FAILURE', 'ERROR')) AS failed_at
    FROM keypup.json_rows(pages, 'statuses.nodes', '{../node,state,createdAt}'::text[]) AS n (node text, state text,
      created_at timestamptz)
    GROUP BY n.node
  ) AS t
  WHERE d.account_id = account AND d.project_id = project AND d.external_id = t.node
    AND (d.succeeded_at, d.failed_at)
      IS DISTINCT FROM (least(d.succeeded_at, t.succeeded_at), least(d.failed_at, t.failed_at));

  PERFORM keypup.queue_job(account, project, 'nested_pages', q.arguments, NULL::boolean, now(), false) FROM (
    SELECT jsonb_build_object('items', jsonb_agg(w.page)) AS arguments
    FROM (
      SELECT p.page, (row_number() OVER (ORDER BY p.page ->> 'node') - 1) / 20 AS part
      FROM jsonb_array_elements(keypup.github_going_on(account, project, (
        SELECT jsonb_agg(jsonb_build_object('item', 'deployment', 'node', g.node, 'connection', 'statuses', 'after',
          g.next_after, 'nth', coalesce(g.nth, 1) + 1,
          'is_stuck', keypup.github_is_stuck('statuses', g.after, g.next_after, NULL::jsonb, NULL::jsonb, g.nth)))
        FROM keypup.json_rows(pages, '',
          '{node,after,nth,statuses.pageInfo.hasNextPage,statuses.pageInfo.endCursor}'::text[])
          AS g (node text, after text, nth bigint, goes_on boolean, next_after text)
        WHERE g.goes_on))) AS p (page)
    ) AS w
    GROUP BY w.part) AS q;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_statuses(uuid, bigint, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_store_statuses(uuid, bigint, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_store_statuses(uuid, bigint, jsonb) IS
  'Takes pages of statuses: when each deployment first succeeded and failed, and what is to be read on.';

CREATE FUNCTION keypup.github_store_deployments(account uuid, project bigint, nodes jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  written text[];
  in_run boolean := EXISTS (
    SELECT FROM keypup.sync_jobs j
    WHERE j.account_id = account AND j.project_id = project AND j.in_run);
  tells_refs boolean := nodes @? '$[*].ref';
BEGIN
  written := ARRAY(SELECT keypup.store_deployments(account, project, ARRAY(
    SELECT ROW(n.id, coalesce(n.environment, 'production'), coalesce(lower(n.state COLLATE "C"), 'pending'),
      CASE WHEN tells_refs THEN n.ref ->> 'name' ELSE o.ref END, n.creator ->> 'login',
      coalesce(n.creator ->> '__typename' = 'Bot', false), n."createdAt", n."updatedAt",
      coalesce((n.commit ->> 'committedDate')::timestamptz, o.commit_at))::keypup.provided_deployments
    FROM jsonb_to_recordset(nodes) AS n (id text, environment text, state text, ref jsonb, creator jsonb,
      "createdAt" timestamptz, "updatedAt" timestamptz, commit jsonb)
    LEFT JOIN LATERAL (
      SELECT o.ref, o.commit_at FROM keypup.deployments o
      WHERE o.account_id = account AND o.project_id = project AND o.external_id = n.id LIMIT 1
    ) AS o ON true
    WHERE n."createdAt" IS NOT NULL)));

  -- Whoever has not changed has no status that is not known.
  PERFORM keypup.github_store_statuses(account, project, (
    SELECT coalesce(jsonb_agg(jsonb_build_object('node', n -> 'id', 'statuses', n -> 'statuses')), '[]')
    FROM jsonb_array_elements(nodes) n
    WHERE jsonb_typeof(n -> 'statuses') = 'object' AND n ->> 'id' = ANY (written)));

  -- A later one may have taken the place of what was active in its environment.
  PERFORM keypup.github_queue_items(account, project, 'deployments', coalesce((
    SELECT jsonb_agg(r.external_id) FROM (
      SELECT d.external_id
      FROM keypup.deployments c
      JOIN keypup.deployments d ON d.account_id = account AND d.project_id = project AND d.environment = c.environment
        AND d.created_at < c.created_at
      WHERE c.account_id = account AND c.project_id = project AND c.external_id = ANY (written)
        AND d.deleted_at IS NULL AND d.state IN ('active', 'success')
        AND NOT jsonb_path_query_array(nodes, '$[*].id') ? d.external_id
      GROUP BY d.external_id, d.created_at ORDER BY d.created_at DESC LIMIT 100) AS r), '[]'), in_run);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_deployments(uuid, bigint, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_store_deployments(uuid, bigint, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_store_deployments(uuid, bigint, jsonb) IS
  'Stores deployments with the first pages of their statuses, and asks for those whose place they may have taken.';

-- A page of either list. Of its arguments, before is the time at which the page before it ended. A run reads on until
-- it comes to what the last finished run had seen, and ten minutes more; a whole reading (is_whole) reads all.
CREATE FUNCTION keypup.github_take_deliveries(account uuid, project bigint, kind text, page jsonb, broken jsonb,
  arguments jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  has_next boolean := (page #>> '{pageInfo,hasNextPage}')::boolean;
  last_at timestamptz := page #>> '{nodes,-1,createdAt}';
  ids jsonb := coalesce(page -> 'all_ids', jsonb_path_query_array(page, '$.nodes[*].id'));
  from_at timestamptz := CASE WHEN has_next THEN last_at ELSE '-infinity' END;
  to_at timestamptz := coalesce((arguments ->> 'before')::timestamptz, 'infinity');
  horizon timestamptz := keypup.github_horizon(account, project, kind, arguments);
  pages text := CASE kind WHEN 'releases' THEN 'release_pages' ELSE 'deployment_pages' END;
  missing jsonb;
BEGIN
  IF arguments ? 'is_first' THEN
    UPDATE keypup.sync_state s
    SET next_watermarks = s.next_watermarks
      || jsonb_build_object(kind, coalesce(keypup.github_newest(page, 'createdAt'), s.watermarks -> kind))
      || CASE kind WHEN 'releases' THEN jsonb_build_object('release_total', page -> 'totalCount') ELSE '{}' END
    WHERE s.account_id = account AND s.project_id = project;
  END IF;
  IF NOT arguments ? 'only'
    AND ((arguments ->> 'is_whole')::boolean OR horizon IS NULL OR coalesce(last_at >= horizon, true))
     AND keypup.github_goes_on(account, project, pages, page, arguments) THEN
    PERFORM keypup.queue_job(account, project, pages,
      keypup.github_next_page(page, arguments) || jsonb_build_object('before', coalesce(last_at, to_at)), NULL::boolean,
      now(), false);
  END IF;

  -- What stands between the ends of a page, and is not on it, is asked for by id: what is gone is gone twice
  -- (sweep.sql).
  SELECT jsonb_agg(jsonb_build_object('id', m.external_id) ORDER BY m.external_id) INTO missing
  FROM (
    SELECT r.external_id FROM keypup.releases r
    WHERE kind = 'releases' AND r.account_id = account AND r.project_id = project AND r.created_at > from_at
      AND r.created_at < to_at AND r.deleted_at IS NULL
    UNION ALL
    SELECT d.external_id FROM keypup.deployments d
    WHERE kind = 'deployments' AND d.account_id = account AND d.project_id = project AND d.created_at > from_at
      AND d.created_at < to_at AND d.deleted_at IS NULL
  ) AS m
  WHERE NOT ids ? m.external_id
    AND NOT EXISTS (
      SELECT FROM keypup.sync_jobs j
      WHERE j.account_id = account AND j.project_id = project AND j.kind = 'existence'
        AND j.arguments -> 'items' @> jsonb_build_array(jsonb_build_object('id', m.external_id)));
  PERFORM keypup.queue_existence(account, project, kind, missing, false);

  PERFORM keypup.github_store_rows(account, project, kind, page -> 'nodes', 'infinity'::timestamptz);
  -- What is not whole on the page is asked for by itself.
  PERFORM keypup.github_queue_items(account, project, kind,
    jsonb_path_query_array(broken, '$[*].id ? (@ != null)'), true);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_take_deliveries(uuid, bigint, text, jsonb, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_take_deliveries(uuid, bigint, text, jsonb, jsonb, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_take_deliveries(uuid, bigint, text, jsonb, jsonb, jsonb) IS
  'Stores a page of releases or deployments, asks for the next while it tells news, and for what it lacks.';

CREATE FUNCTION keypup.github_take_newest_deliveries(account uuid, project bigint, repository jsonb, broken text[])
  RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  state record;
  answered text[] := ARRAY(SELECT k FROM unnest(ARRAY['releases', 'deployments']) k WHERE repository ? k);
  arguments jsonb;
  marks jsonb := '{}';
BEGIN
  SELECT s.watermarks, s.next_recheck_at <= now() AS recheck, s.next_sweep_at <= now() AS sweep INTO state
  FROM keypup.sync_state s WHERE s.account_id = account AND s.project_id = project;
  arguments := jsonb_build_object('after', NULL, 'before', NULL, 'first', 100, 'is_first', true, 'is_whole',
    coalesce(state.sweep, false));
  PERFORM keypup.queue_job(account, project, CASE k WHEN 'releases' THEN 'release_pages' ELSE 'deployment_pages' END,
      arguments || '{"first": 50}', true, now(), false)
  FROM unnest(answered) k WHERE k = ANY (broken);
  IF 'releases' = ANY (answered) AND 'releases' <> ALL (broken) THEN
    -- Fewer than there were: the list tells which are gone.
    PERFORM keypup.github_take_deliveries(account, project, 'releases', repository -> 'releases', '[]'::jsonb, arguments
      || jsonb_build_object('is_whole',
      coalesce(state.sweep, false)
        OR coalesce((repository #>> '{releases,totalCount}')::bigint < (state.watermarks ->> 'release_total')::bigint,
        false)));
  END IF;
  IF 'releases' = ANY (answered) AND 'latestRelease' <> ALL (broken) THEN
    marks := keypup.github_release_mark(repository);
  END IF;
  IF 'deployments' = ANY (answered) AND 'deployments' <> ALL (broken) THEN
    marks := marks || keypup.github_deployment_mark(repository);
    PERFORM keypup.github_take_deliveries(account, project, 'deployments', repository -> 'deployments', '[]'::jsonb,
      arguments);
  END IF;
  IF 'deployments' = ANY (answered) THEN
    PERFORM keypup.github_queue_items(account, project, 'deployments', (
      SELECT coalesce(jsonb_agg(u.id), '[]')
      FROM (SELECT e.id FROM jsonb_array_elements_text(keypup.github_unfinished(account, ARRAY[project])) AS e (id)
            UNION
            SELECT d.external_id FROM keypup.deployments d
            WHERE state.recheck AND d.account_id = account AND d.project_id = project AND d.deleted_at IS NULL
              AND d.state IN ('active', 'success', 'in_progress', 'pending', 'queued', 'waiting')
              AND d.created_at > now() - interval '30 days') AS u
      WHERE NOT jsonb_path_query_array(repository, '$.deployments.nodes[*].id') ? u.id), true);
  END IF;
  UPDATE keypup.sync_state s
  SET next_watermarks = s.next_watermarks || marks,
      -- What was refused, and is asked for again after a day, is refused anew or not.
      refused_fields = CASE WHEN s.refused_at > now() - interval '1 day'
        THEN ARRAY(SELECT unnest(s.refused_fields) EXCEPT SELECT 'Repository.' || k FROM unnest(answered) k)
        ELSE '{}' END
  WHERE s.account_id = account AND s.project_id = project;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_take_newest_deliveries(uuid, bigint, jsonb, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_take_newest_deliveries(uuid, bigint, jsonb, text[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_take_newest_deliveries(uuid, bigint, jsonb, text[]) IS
  'Takes what a repository says of its newest releases and deployments, and asks for those that may have changed '
  'since they were read.';
