-- provider/github/repository.sql: what a repository says of itself, and its own lists: labels, milestones, and the
-- stubs of pull requests and issues, newest change first, from which follows what is to be read. Releases and
-- deployments: delivery.sql.

CREATE FUNCTION keypup.github_store_labels(account uuid, project bigint, nodes jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM keypup.store_labels(account, project, ARRAY(
    SELECT ROW(n.id, n.name, n.color, n."createdAt", n."updatedAt")::keypup.provided_labels
    FROM jsonb_to_recordset(nodes) AS n (id text, name text, color text, "createdAt" timestamptz,
      "updatedAt" timestamptz)));
END
$$;
CREATE FUNCTION keypup.github_store_milestones(account uuid, project bigint, nodes jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM keypup.store_milestones(account, project, ARRAY(
    SELECT ROW(n.id, n.number, n.title, lower(n.state COLLATE "C"), n.url, n."createdAt", n."updatedAt", n."dueOn",
      n."closedAt")::keypup.provided_milestones
    FROM jsonb_to_recordset(nodes) AS n (id text, number bigint, title text, state text, url text,
      "createdAt" timestamptz, "updatedAt" timestamptz, "dueOn" timestamptz, "closedAt" timestamptz)));
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_labels(uuid, bigint, jsonb),
  keypup.github_store_milestones(uuid, bigint, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_store_labels(uuid, bigint, jsonb),
  keypup.github_store_milestones(uuid, bigint, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_store_labels(uuid, bigint, jsonb) IS 'Stores a page of labels.';
COMMENT ON FUNCTION keypup.github_store_milestones(uuid, bigint, jsonb) IS 'Stores a page of milestones.';

-- A list of labels or milestones is short: it is read whole in every run that finds more than one
-- page, and rows that the whole list lacks are gone. seen carries the ids of the pages before; NULL when one was not
-- whole. asked_at is when the first was asked for, of a list that goes on.
CREATE FUNCTION keypup.github_take_list(account uuid, project bigint, kind text, page jsonb, arguments jsonb)
  RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  ids jsonb := jsonb_path_query_array(page, '$.nodes[*].id');
  known jsonb := CASE WHEN NOT page ? 'all_ids' AND arguments -> 'seen' <> 'null' THEN (arguments -> 'seen') || ids END;
BEGIN
  PERFORM keypup.github_store_rows(account, project, kind, page -> 'nodes', 'infinity'::timestamptz);
  IF keypup.github_goes_on(account, project, kind, page, arguments) THEN
    PERFORM keypup.queue_job(account, project, kind,
      jsonb_build_object('asked_at', keypup.answer_asked_at(account, project))
        || keypup.github_next_page(page, arguments) || jsonb_build_object('seen', known),
      NULL::boolean, now(), false);
  ELSIF (
    SELECT count(DISTINCT k) FROM jsonb_array_elements(known) AS k
  ) IS NOT DISTINCT FROM (page ->> 'totalCount')::bigint THEN
    PERFORM keypup.take_whole_list(account, project, kind, known, (arguments ->> 'asked_at')::timestamptz);
  END IF;
  -- Otherwise something moved while the list was read, or it is not whole. The next run reads it again.
END
$$;
-- A page that comes after itself, or that has nothing which was not there before, is no way to the end of a list. Nor
-- is one after which more was told than there is, and a thousand that may have come meanwhile.
CREATE FUNCTION keypup.github_goes_on(account uuid, project bigint, kind text, page jsonb, arguments jsonb)
  RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  why text;
BEGIN
  IF NOT (page #>> '{pageInfo,hasNextPage}')::boolean THEN
    RETURN false;
  ELSIF page #> '{pageInfo,endCursor}' IS NOT DISTINCT FROM arguments -> 'after'
        OR coalesce(jsonb_typeof(arguments -> 'seen') = 'array' AND arguments -> 'seen' <> '[]'
                    AND arguments -> 'seen' @> jsonb_path_query_array(page, '$.nodes[*].id') AND NOT page ? 'all_ids',
                    false) THEN
    why := 'its next page is one that was read before';
  ELSIF jsonb_typeof(arguments -> 'seen') = 'array' AND octet_length(arguments ->> 'seen') > 1024 * 1024 THEN
    why := 'what it has is too much to be remembered';
  ELSIF keypup.github_told(page, arguments) > least((page ->> 'totalCount')::bigint, 1000000) + 1000 THEN
    why := 'it has more than it counts';
  ELSE
    RETURN true;
  END IF;
  PERFORM keypup.set_aside(account, project,
    keypup.github_list_failure(account, project, kind, arguments, 'GitHub''s list does not go on: ' || why));
  RETURN false;
END
$$;
-- An empty page counts, too.
CREATE FUNCTION keypup.github_told(page jsonb, arguments jsonb) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN coalesce((arguments ->> 'told')::bigint, 0) + coalesce(nullif(jsonb_array_length(page -> 'nodes'), 0), 100);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_goes_on(uuid, bigint, text, jsonb, jsonb), keypup.github_told(jsonb, jsonb)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_goes_on(uuid, bigint, text, jsonb, jsonb), keypup.github_told(jsonb, jsonb)
  TO keypup_worker;
COMMENT ON FUNCTION keypup.github_told(jsonb, jsonb) IS 'How many elements the pages of a list had, up to this one.';
COMMENT ON FUNCTION keypup.github_goes_on(uuid, bigint, text, jsonb, jsonb) IS
  'Whether a list has another page; one that never ends is set aside.';

-- As long as this one, since GitHub is as slow for it as it was for this one.
CREATE FUNCTION keypup.github_next_page(page jsonb, arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN arguments - 'is_first'
    || jsonb_build_object('after', page #> '{pageInfo,endCursor}', 'told', keypup.github_told(page, arguments));
END
$$;
REVOKE ALL ON FUNCTION keypup.github_take_list(uuid, bigint, text, jsonb, jsonb), keypup.github_next_page(jsonb, jsonb)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_take_list(uuid, bigint, text, jsonb, jsonb),
  keypup.github_next_page(jsonb, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_take_list(uuid, bigint, text, jsonb, jsonb) IS
  'Stores a page of labels or milestones, asks for the next, and at the end of a list that is whole forgets what is '
  'gone.';
COMMENT ON FUNCTION keypup.github_next_page(jsonb, jsonb) IS
  'The arguments of the job for the page after a page, from those of its own.';

-- Ten minutes are read again: what bumps updatedAt, and when it becomes visible, is not documented. A page that was set
-- aside keeps the horizon of its run.
CREATE FUNCTION keypup.github_horizon(account uuid, project bigint, kind text, arguments jsonb) RETURNS timestamptz
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (
    SELECT CASE WHEN arguments ? 'horizon' THEN (arguments ->> 'horizon')::timestamptz
                ELSE (s.watermarks ->> kind)::timestamptz - interval '10 minutes' END
    FROM keypup.sync_state s WHERE s.account_id = account AND s.project_id = project);
END
$$;
-- A watermark from the future would hide all changes until then.
CREATE FUNCTION keypup.github_newest(page jsonb, field text) RETURNS jsonb
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN CASE WHEN page -> 'nodes' <> '[]'
    THEN to_jsonb(least((page #>> ARRAY['nodes', '0', field])::timestamptz, now())) END;
END
$$;
CREATE FUNCTION keypup.github_take_stubs(account uuid, project bigint, kind text, page jsonb, arguments jsonb)
  RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  horizon timestamptz := keypup.github_horizon(account, project, kind, arguments);
  stubs text := CASE kind WHEN 'pull_requests' THEN 'pull_request_stubs' ELSE 'issue_stubs' END;
BEGIN
  -- Of a page that is not whole, the newest that is there.
  IF arguments ? 'is_first' AND (page -> 'nodes' <> '[]' OR NOT page ? 'all_ids') THEN
    UPDATE keypup.sync_state s
    SET next_watermarks = s.next_watermarks || jsonb_build_object(kind, keypup.github_newest(page, 'updatedAt'))
    WHERE s.account_id = account AND s.project_id = project;
  END IF;

  -- The next page first: while it is fetched, what this one names is read beside.
  IF NOT arguments ? 'only'
     AND (horizon IS NULL OR (page #>> '{nodes,-1,updatedAt}')::timestamptz >= horizon OR page -> 'nodes' = '[]')
     AND keypup.github_goes_on(account, project, stubs, page, arguments) THEN
    PERFORM keypup.queue_job(account, project, stubs, keypup.github_next_page(page, arguments), NULL::boolean, now(),
      false);
  END IF;
  PERFORM keypup.github_queue_items(account, project, kind,
    keypup.github_changed_items(account, project, kind, page -> 'nodes', horizon), true);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_horizon(uuid, bigint, text, jsonb), keypup.github_newest(jsonb, text),
  keypup.github_take_stubs(uuid, bigint, text, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_horizon(uuid, bigint, text, jsonb), keypup.github_newest(jsonb, text),
  keypup.github_take_stubs(uuid, bigint, text, jsonb, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_horizon(uuid, bigint, text, jsonb) IS
  'Until when a run reads a list, newest first; NULL: all of it.';
COMMENT ON FUNCTION keypup.github_newest(jsonb, text) IS
  'The time of the first element of a page that is newest first, but never one of the future; NULL when it has none.';
COMMENT ON FUNCTION keypup.github_take_stubs(uuid, bigint, text, jsonb, jsonb) IS
  'Turns a page of stubs, newest change first, into jobs that read what changed.';

CREATE FUNCTION keypup.github_changed_items(account uuid, project bigint, kind text, stubs jsonb, horizon timestamptz)
  RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (
    SELECT coalesce(jsonb_agg(n.id ORDER BY n.position), '[]')
    FROM ROWS FROM (jsonb_to_recordset(stubs) AS (id text, number bigint, "updatedAt" timestamptz))
      WITH ORDINALITY AS n(id, number, updated_at, position)
    WHERE n.id IS NOT NULL
      AND (horizon IS NULL OR n.updated_at >= horizon)
      AND NOT EXISTS (
        SELECT FROM keypup.pull_requests p
        WHERE kind = 'pull_requests' AND p.account_id = account AND p.project_id = project AND p.number = n.number
          AND p.updated_at = n.updated_at AND p.deleted_at IS NULL)
      AND NOT EXISTS (
        SELECT FROM keypup.issues i
        WHERE kind = 'issues' AND i.account_id = account AND i.project_id = project AND i.number = n.number
          AND i.updated_at = n.updated_at AND i.deleted_at IS NULL));
END
$$;
REVOKE ALL ON FUNCTION keypup.github_changed_items(uuid, bigint, text, jsonb, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_changed_items(uuid, bigint, text, jsonb, timestamptz) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_changed_items(uuid, bigint, text, jsonb, timestamptz) IS
  'The ids of stubs that are newer than what is stored, and changed since the horizon.';

-- What a poll compares: a milestone's change bumps nothing else.
CREATE FUNCTION keypup.github_milestone_mark(repository jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN jsonb_build_object('milestones',
    jsonb_build_array(repository #> '{milestones,totalCount}', repository #> '{milestones,nodes,0,updatedAt}'));
END
$$;
REVOKE ALL ON FUNCTION keypup.github_milestone_mark(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_milestone_mark(jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_milestone_mark(jsonb) IS 'How many milestones there are, and when one last changed.';

-- What a repository is called. Its id is what it is: a name that another project has here is old there, and that one is
-- called NAME (ID) until its own run tells how it is called now. So chains and cycles of renames settle, and a name can
-- be used again.
CREATE FUNCTION keypup.github_take_name(account uuid, project bigint, its_id text, its_name text) RETURNS text
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  me record;
  is_renamed boolean;
  twin record;
  its_projects bigint[];
BEGIN
  SELECT p.connection_id, p.name INTO STRICT me FROM keypup.projects p
  WHERE p.account_id = account AND p.project_id = project;
  is_renamed := lower(me.name COLLATE "C") <> lower(its_name COLLATE "C");
  -- Who takes a name holds all that may have it, or take it; in one order, since the run of another project may do the
  -- same.
  its_projects := ARRAY(SELECT p.project_id FROM keypup.projects p
    WHERE p.account_id = account AND p.connection_id = me.connection_id
      AND (is_renamed OR p.project_id = project OR p.external_id = its_id));
  PERFORM FROM keypup.projects p WHERE p.account_id = account AND p.project_id = ANY (its_projects)
  ORDER BY p.project_id FOR NO KEY UPDATE;
  SELECT p.connection_id, p.name INTO STRICT me FROM keypup.projects p
  WHERE p.account_id = account AND p.project_id = project;
  IF NOT is_renamed AND lower(me.name COLLATE "C") <> lower(its_name COLLATE "C") THEN
    RAISE EXCEPTION 'the repository''s name was given to another meanwhile' USING ERRCODE = 'lock_not_available';
  END IF;
  SELECT p.name INTO twin FROM keypup.projects p
  WHERE p.account_id = account AND p.connection_id = me.connection_id AND p.project_id <> project
    AND p.external_id = its_id;
  IF FOUND THEN
    RAISE EXCEPTION 'repository "%" is tracked already, as "%"', its_name, twin.name
      USING ERRCODE = 'unique_violation', HINT = 'Call keypup.untrack for one of the two names.';
  END IF;
  SELECT p.project_id, p.external_id INTO twin FROM keypup.projects p
  WHERE p.account_id = account AND p.connection_id = me.connection_id AND p.project_id <> project
    AND lower(p.name COLLATE "C") = lower(its_name COLLATE "C");
  IF FOUND AND twin.external_id IS NULL THEN
    -- It was tracked by this name, and has not been read: it is this repository, and its own run will say so.
    RETURN me.name;
  ELSIF FOUND THEN
    UPDATE keypup.projects p SET name = format('%s (%s)', p.name, p.external_id)
    WHERE p.account_id = account AND p.project_id = twin.project_id;
  END IF;
  IF is_renamed THEN
    BEGIN
      UPDATE keypup.projects p SET name = its_name WHERE p.account_id = account AND p.project_id = project;
    EXCEPTION WHEN unique_violation THEN
      RAISE EXCEPTION 'somebody has just tracked the repository by its new name' USING ERRCODE = 'lock_not_available';
    END;
  END IF;
  RETURN its_name;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_take_name(uuid, bigint, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_take_name(uuid, bigint, text, text) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_take_name(uuid, bigint, text, text) IS
  'The name that a repository has from now on, for which another makes room.';

-- broken: which of its lists, or of its own fields, are not whole. They are asked for by themselves, or kept as they
-- are.
CREATE FUNCTION keypup.github_store_repository(account uuid, project bigint, repository jsonb, broken text[])
  RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  its_name text;
  first jsonb := '{"is_first": true}';
BEGIN
  its_name := keypup.github_take_name(account, project, repository ->> 'id', repository ->> 'nameWithOwner');

  UPDATE keypup.projects p
  SET external_id = n.id, name = n.name, url = n.url, visibility = n.visibility, is_archived = n.is_archived,
    has_issues = n.has_issues,
    default_branch = n.default_branch, created_at = n.created_at, updated_at = n.updated_at,
    pull_request_total = n.pull_request_total, issue_total = n.issue_total
  FROM (
    SELECT me.account_id, me.project_id, r.id, its_name AS name, r.url, lower(r.visibility COLLATE "C") AS visibility,
      r."isArchived" AS is_archived, r."hasIssuesEnabled" AS has_issues, r."createdAt" AS created_at,
      r."updatedAt" AS updated_at,
      -- A token may not be told of the branch.
      CASE WHEN repository ? 'defaultBranchRef' THEN r."defaultBranchRef" ->> 'name'
        ELSE me.default_branch END AS default_branch,
      CASE WHEN 'pullRequests' = ANY (broken) THEN me.pull_request_total
        ELSE (r."pullRequests" ->> 'totalCount')::bigint END AS pull_request_total,
      CASE WHEN 'issues' = ANY (broken) THEN me.issue_total ELSE (r.issues ->> 'totalCount')::bigint END AS issue_total
    FROM keypup.projects me,
      jsonb_to_record(repository) AS r(id text, url text, visibility text, "isArchived" boolean,
        "hasIssuesEnabled" boolean, "defaultBranchRef" jsonb, "createdAt" timestamptz, "updatedAt" timestamptz,
        "pullRequests" jsonb, issues jsonb)
    WHERE me.account_id = account AND me.project_id = project
  ) AS n
  WHERE 'repository' <> ALL (broken) AND p.account_id = n.account_id AND p.project_id = n.project_id
    AND (p.external_id, p.name, p.url, p.visibility, p.is_archived, p.has_issues, p.default_branch,
        p.created_at, p.updated_at, p.pull_request_total, p.issue_total)
      IS DISTINCT FROM (n.id, n.name, n.url, n.visibility, n.is_archived, n.has_issues, n.default_branch,
        n.created_at, n.updated_at, n.pull_request_total, n.issue_total);
  -- What it is called is known, and suffices to read the rest.
  UPDATE keypup.projects p SET external_id = repository ->> 'id', name = its_name
  WHERE 'repository' = ANY (broken) AND p.account_id = account AND p.project_id = project AND p.external_id IS NULL;

  PERFORM keypup.queue_job(account, project, k.kind, '{"after": null, "first": 50}' || k.arguments, true, now(), false)
  FROM (VALUES ('labels', 'labels', '{"seen": []}'::jsonb),
               ('milestones', 'milestones', '{"seen": []}'),
               ('pullRequests', 'pull_request_stubs', '{"is_first": true}'),
               ('issues', 'issue_stubs', '{"is_first": true}')) AS k (member, kind, arguments)
  WHERE k.member = ANY (broken);
  IF 'labels' <> ALL (broken) THEN
    PERFORM keypup.github_take_list(account, project, 'labels', repository -> 'labels', '{"seen": []}'::jsonb);
  END IF;
  IF 'milestones' <> ALL (broken) THEN
    PERFORM keypup.github_take_list(account, project, 'milestones', repository -> 'milestones', '{"seen": []}'::jsonb);
    UPDATE keypup.sync_state s SET next_watermarks = s.next_watermarks || keypup.github_milestone_mark(repository)
    WHERE s.account_id = account AND s.project_id = project;
  END IF;
  IF broken = '{}' AND keypup.github_queue_numbers(account, project, repository) THEN
    -- The lists are read no further.
    first := first || '{"only": true}';
  END IF;
  IF 'pullRequests' <> ALL (broken) THEN
    PERFORM keypup.github_take_stubs(account, project, 'pull_requests', repository -> 'pullRequests', first);
  END IF;
  IF 'issues' <> ALL (broken) THEN
    PERFORM keypup.github_take_stubs(account, project, 'issues', repository -> 'issues', first);
  END IF;
  PERFORM keypup.github_take_newest_deliveries(account, project, repository, broken);
  PERFORM keypup.github_queue_items(account, project, k.kind, k.ids, true)
  FROM keypup.items_read_early(account, project) AS k ORDER BY k.kind DESC;
  PERFORM keypup.github_queue_due_merge_states(account, project, true);
  PERFORM keypup.github_queue_rechecks(account, project);
  PERFORM keypup.github_queue_failures(account, project);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_repository(uuid, bigint, jsonb, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_store_repository(uuid, bigint, jsonb, text[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_store_repository(uuid, bigint, jsonb, text[]) IS
  'Stores what a repository says of itself, and starts reading what changed in it.';

-- GitHub says what it is that keeps the token from the repository: not there, or not for this token.
CREATE FUNCTION keypup.github_repository_refusal(account uuid, project bigint, reply jsonb, OUT reason text,
  OUT hint text)
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_project record;
  place text;
  error record;
  refusal record;
BEGIN
  SELECT p.name, p.external_id INTO STRICT the_project FROM keypup.projects p
  WHERE p.account_id = account AND p.project_id = project;
  place := CASE WHEN the_project.external_id IS NULL THEN 'repository' ELSE 'node' END;
  IF jsonb_typeof(reply #> ARRAY['data', place]) = 'object' THEN
    RETURN;
  END IF;
  SELECT e.type, keypup.github_words(e.message) AS words, keypup.github_why(e.message, e.type) AS why, e.is_saml
    INTO error
  FROM keypup.github_errors(reply, '{}'::text[]) e
  WHERE e.type IN ('NOT_FOUND', 'FORBIDDEN', 'INSUFFICIENT_SCOPES') AND e.keys = ARRAY[place]
  ORDER BY e.type LIMIT 1;
  IF error.type = 'NOT_FOUND' THEN
    reason := format('repository "%s" does not exist, or the token may not read it', the_project.name);
    hint := 'Check the name, and that the token has read access to the repository. Rows read before are kept.'
      -- It is asked for by its id.
      || CASE place WHEN 'node' THEN ' If it was deleted and made anew, that is another: call keypup.untrack and '
        'keypup.track to read it.' ELSE '' END;
  ELSIF error.type IS NOT NULL THEN
    SELECT * INTO refusal FROM keypup.github_refusal(error.words, error.is_saml);
    reason := format('repository "%s" may not be read: %s', the_project.name, coalesce(refusal.reason, error.why));
    hint := coalesce(refusal.hint, 'Give the token read access to the repository. Rows read before are kept.');
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_repository_refusal(uuid, bigint, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_repository_refusal(uuid, bigint, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_repository_refusal(uuid, bigint, jsonb) IS
  'Why GitHub does not show a repository, and what to do; NULL when it shows it, or says nothing of it.';

-- The answer to the question for a repository: one that is whole, and nearly all are, is stored as it is.
CREATE FUNCTION keypup.github_take_repository(account uuid, job bigint, reply jsonb) RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_job record;
  place text;
  repository jsonb;
  refused text[];
  broken text[];
  why text;
BEGIN
  SELECT j.project_id, p.name, p.external_id INTO STRICT the_job
  FROM keypup.sync_jobs j JOIN keypup.projects p ON p.account_id = j.account_id AND p.project_id = j.project_id
  WHERE j.account_id = account AND j.job_id = job;
  place := CASE WHEN the_job.external_id IS NULL THEN 'repository' ELSE 'node' END;
  repository := coalesce(reply #> ARRAY['data', place], 'null');
  IF keypup.github_is_another(to_jsonb(the_job.external_id), repository -> 'id') THEN
    repository := 'null';
    why := 'the answer is about another';
  END IF;
  IF NOT keypup.github_has_errors(reply)
    AND keypup.misfits(jsonb_build_array(repository), 'WholeRepository', keypup.github_shapes()) IS NULL THEN
    PERFORM keypup.github_store_repository(account, the_job.project_id, repository, '{}'::text[]);
    RETURN true;
  END IF;

  refused := keypup.github_refused_fields(account, the_job.project_id);
  IF jsonb_typeof(repository) <> 'object' THEN
    IF keypup.halve_job(account, job) THEN
      RETURN false;
    END IF;
    RAISE EXCEPTION 'GitHub did not answer for repository "%": %', the_job.name,
        coalesce((SELECT min(keypup.github_why(e.message, e.type)) FROM keypup.github_errors(reply, refused) e), why,
          'the answer has none, and no error')
      USING ERRCODE = 'no_data_found', HINT = 'Nothing is lost: it is asked for again.';
  END IF;

  SELECT coalesce(array_agg(l.member), '{}') INTO broken
  FROM (VALUES
    ('labels', 'LabelList', 'Label'), ('milestones', 'MilestoneList', 'Milestone'),
    ('pullRequests', 'StubList', 'Stub'), ('issues', 'StubList', 'Stub'),
    ('releases', 'ReleaseList', 'Release'), ('deployments', 'DeploymentList', 'Deployment')
  ) AS l (member, shape, element)
  -- Releases and deployments may not have been asked for.
  WHERE (l.member NOT IN ('releases', 'deployments') OR repository ? l.member)
    AND NOT (keypup.github_list(reply, ARRAY[place, l.member], l.shape, l.element, refused)).is_whole;
  IF (jsonb_typeof(repository -> 'latestRelease') <> 'null'
      AND keypup.misfits(jsonb_build_array(repository -> 'latestRelease'), 'Updated',
        keypup.github_shapes()) IS NOT NULL)
     OR EXISTS (SELECT FROM keypup.github_errors(reply, refused) e
       WHERE e.keys[1:2] = ARRAY[place, 'latestRelease']) THEN
    broken := broken || 'latestRelease'::text;
  END IF;
  SELECT min(keypup.github_why(e.message, e.type)) INTO why
  FROM keypup.github_errors(reply, refused) e
  WHERE coalesce(e.keys[1] <> place OR e.keys[2] NOT IN (
    'labels', 'milestones', 'pullRequests', 'issues', 'newestPullRequest', 'newestIssue', 'releases', 'deployments',
      'latestRelease'), true);
  why := coalesce(why, 'GitHub''s answer is incomplete: '
    || (keypup.misfits(jsonb_build_array(repository), 'Repository', keypup.github_shapes()))[1]);
  IF why IS NOT NULL THEN
    IF keypup.put_off_job(account, job) THEN
      RETURN false;
    ELSIF keypup.misfits(jsonb_build_array(repository), 'KnownRepository', keypup.github_shapes()) IS NOT NULL THEN
      RAISE EXCEPTION 'GitHub did not tell all of repository "%": %', the_job.name, why
        USING ERRCODE = 'no_data_found', HINT = 'Nothing is lost: it is asked for again.';
    END IF;
    PERFORM keypup.set_aside(account, the_job.project_id,
      keypup.github_list_failure(account, the_job.project_id, 'repository', '{}'::jsonb, why));
    broken := broken || 'repository'::text;
  END IF;
  PERFORM keypup.github_store_repository(account, the_job.project_id, repository, broken);
  RETURN true;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_take_repository(uuid, bigint, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_take_repository(uuid, bigint, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_take_repository(uuid, bigint, jsonb) IS
  'Takes the answer to the question for a repository. Whether the job has ended.';
