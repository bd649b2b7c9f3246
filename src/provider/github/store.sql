-- provider/github/store.sql: what people, pull requests and issues become in the tables; nested.sql has their lists.

CREATE FUNCTION keypup.github_store_people(account uuid, project bigint, connection uuid, page jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  followed record;
BEGIN
  SELECT s.* INTO followed FROM keypup.store_people(account, project, (
    SELECT array_agg(ROW(coalesce(o.id, 'login:' || o.login), o.login, o.name,
      CASE o.type WHEN 'User' THEN 'user' WHEN 'Bot' THEN 'bot' WHEN 'Mannequin' THEN 'mannequin'
        WHEN 'Organization' THEN 'organization' WHEN 'EnterpriseUserAccount' THEN 'enterprise_user' ELSE 'unknown' END,
      o.id IS NULL)::keypup.provided_identity ORDER BY o.id COLLATE "C", o.login COLLATE "C", o.name COLLATE "C")
    FROM (
      -- Each stands on a page dozens of times.
      SELECT o.id, o.login, o.name, o.type
      FROM keypup.json_objects(page, 'login', '{id,login,name,__typename}'::text[]) AS o (id text, login text,
        name text, type text)
      GROUP BY o.id, o.login, o.name, o.type
    ) AS o)) s;
  IF followed.old_names IS NULL THEN
    RETURN page;
  END IF;
  RETURN keypup.github_follow_seen(account,
    ARRAY(SELECT p.project_id FROM keypup.projects p WHERE p.account_id = account AND p.connection_id = connection),
    '{assignees,reviewRequests}'::text[], followed.old_names, followed.new_names, page);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_people(uuid, bigint, uuid, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_store_people(uuid, bigint, uuid, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_store_people(uuid, bigint, uuid, jsonb) IS
  'Stores every login that a page names, and carries new ones through what is stored. Returns the page, with new ones '
  'in seen.';

-- The names of labels and milestones in what is about to be stored. rows: as github_store_rows takes them.
CREATE FUNCTION keypup.github_follow_names(account uuid, project bigint, kind text, rows jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  seen jsonb;
  is_unlisted boolean;
  followed record;
BEGIN
  -- NULL where all are called as they were.
  SELECT jsonb_agg(jsonb_build_object('id', n.id, 'name', n.name)), kind <> 'labels' AND bool_or(l.name IS NULL)
    INTO seen, is_unlisted
  FROM (
    SELECT DISTINCT n.id, n.name
    FROM keypup.json_rows(rows, CASE kind WHEN 'labels' THEN '' ELSE 'labels.nodes' END,
      '{id,name}'::text[]) AS n (id text, name text)
    WHERE kind <> 'milestones'
  ) AS n
  LEFT JOIN keypup.labels l ON l.account_id = account AND l.project_id = project AND l.external_id = n.id
  HAVING bool_or(l.name IS DISTINCT FROM n.name);
  IF seen IS NOT NULL THEN
    SELECT * INTO followed FROM keypup.follow_labels(account, project, seen, keypup.answer_asked_at(account, project));
    rows := keypup.github_follow_seen(account, ARRAY[project], '{labels}'::text[], followed.old_names,
      followed.new_names, rows);
    IF is_unlisted THEN
      PERFORM keypup.note_unlisted(account, project, 'labels');
    END IF;
  END IF;
  SELECT jsonb_agg(jsonb_build_object('id', n.id, 'name', n.title)), kind <> 'milestones' AND bool_or(m.title IS NULL)
    INTO seen, is_unlisted
  FROM (
    SELECT DISTINCT n.id, n.title
    FROM keypup.json_rows(rows, '', CASE kind WHEN 'milestones' THEN '{id,title}'
      ELSE '{milestone.id,milestone.title}' END::text[]) AS n (id text, title text)
    WHERE kind IN ('milestones', 'pull_requests', 'issues') AND n.id IS NOT NULL
  ) AS n
  LEFT JOIN keypup.milestones m ON m.account_id = account AND m.project_id = project AND m.external_id = n.id
  HAVING bool_or(m.title IS DISTINCT FROM n.title);
  IF seen IS NOT NULL THEN
    PERFORM keypup.follow_milestones(account, project, seen, keypup.answer_asked_at(account, project));
    IF is_unlisted THEN
      PERFORM keypup.note_unlisted(account, project, 'milestones');
    END IF;
  END IF;
  RETURN rows;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_follow_names(uuid, bigint, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_follow_names(uuid, bigint, text, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_follow_names(uuid, bigint, text, jsonb) IS
  'Carries new names of labels and milestones through what is stored. Returns the rows, with new ones in seen.';

CREATE FUNCTION keypup.github_overtaken(account uuid, project bigint, kind text, nodes jsonb) RETURNS bigint[]
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (
    SELECT keypup.overtaken_items(account, project, kind, array_agg(n.number), array_agg(n.external_id),
      array_agg(n.updated_at))
    FROM keypup.json_rows(nodes, '', '{number,fullDatabaseId,updatedAt}'::text[])
      AS n (number bigint, external_id text, updated_at timestamptz));
END
$$;
CREATE FUNCTION keypup.github_without(nodes jsonb, overtaken bigint[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT coalesce(jsonb_agg(n), '[]') FROM jsonb_array_elements(nodes) AS n
  WHERE (n ->> 'number')::bigint <> ALL (overtaken)
$$;
REVOKE ALL ON FUNCTION keypup.github_overtaken(uuid, bigint, text, jsonb), keypup.github_without(jsonb, bigint[])
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_overtaken(uuid, bigint, text, jsonb), keypup.github_without(jsonb, bigint[])
  TO keypup_worker;
COMMENT ON FUNCTION keypup.github_overtaken(uuid, bigint, text, jsonb) IS
  'Numbers of the items of a page of which something newer is stored.';
COMMENT ON FUNCTION keypup.github_without(jsonb, bigint[]) IS 'The items of a page but for some.';

CREATE FUNCTION keypup.github_store_pull_requests(account uuid, project bigint, repository text, nodes jsonb,
  as_of timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  overtaken bigint[];
  pages jsonb;
  threads jsonb;
BEGIN
  PERFORM keypup.store_pull_requests(account, project, ARRAY(
    SELECT ROW(n.number, '#' || n.number, n.external_id, n.id, n.url, n.title, lower(n.state COLLATE "C"), n.is_draft,
      n.author, coalesce(n.author_type = 'Bot', false), n.created_at, n.updated_at, n.closed_at, n.merged_at,
      n.merged_by, n.base_branch, n.head_branch, n.additions, n.deletions, n.changed_files, n.commit_count,
      n.first_commit_at,
      -- Until all pages of a list are known, what was stored of it stays beside what the first one holds.
      CASE WHEN n.labels_go_on THEN keypup.github_keep(n.labels, o.labels) ELSE n.labels END,
      CASE WHEN n.assignees_go_on THEN keypup.github_keep(n.assignees, o.assignees) ELSE n.assignees END,
      CASE WHEN n.reviewers_go_on THEN keypup.github_keep(n.reviewers, o.requested_reviewers) ELSE n.reviewers END,
      n.milestone, CASE WHEN n.milestone_id IS NULL THEN '{}' ELSE ARRAY[n.milestone_id] END,
      CASE WHEN n.closes_go_on
        THEN ARRAY(SELECT DISTINCT u FROM unnest(c.here || o.closes_issues) AS u ORDER BY u)
        ELSE coalesce(c.here, '{}') END,
      CASE WHEN n.closes_go_on THEN keypup.github_keep(c.elsewhere, o.closes_elsewhere)
        ELSE coalesce(c.elsewhere, '{}') END,
      n.updated_at >= as_of AND n.updated_at < as_of + interval '1 hour')::keypup.provided_pull_requests
    FROM keypup.json_rows(nodes, '', ('{number,fullDatabaseId,id,url,title,state,isDraft,author.login,'
      'author.__typename,createdAt,updatedAt,closedAt,mergedAt,'
        'mergedBy.login,baseRefName,headRefName,additions,deletions,changedFiles,commits.totalCount,'
        'commits.nodes.0.commit.authoredDate,'
        'labels.nodes.name,labels.pageInfo.hasNextPage,assignees.nodes.login,assignees.pageInfo.hasNextPage,'
        'reviewRequests.nodes.requestedReviewer.login|combinedSlug,reviewRequests.pageInfo.hasNextPage,milestone.title,'
        'milestone.id,'
        'closingIssuesReferences.pageInfo.hasNextPage}')::text[])
      AS n (number bigint, external_id text, id text, url text, title text, state text, is_draft boolean, author text,
        author_type text, created_at timestamptz, updated_at timestamptz, closed_at timestamptz, merged_at timestamptz,
        merged_by text, base_branch text, head_branch text, additions bigint, deletions bigint, changed_files bigint,
        commit_count bigint, first_commit_at timestamptz, labels text[], labels_go_on boolean, assignees text[],
        assignees_go_on boolean, reviewers text[], reviewers_go_on boolean, milestone text, milestone_id text,
        closes_go_on boolean)
    LEFT JOIN keypup.github_closing(nodes, repository) c ON c.number = n.number
    LEFT JOIN LATERAL (
      SELECT o.labels, o.assignees, o.requested_reviewers, o.closes_issues, o.closes_elsewhere
      FROM keypup.pull_requests o
      WHERE o.account_id = account AND o.project_id = project AND o.number = n.number LIMIT 1
    ) AS o ON n.labels_go_on OR n.assignees_go_on OR n.reviewers_go_on OR n.closes_go_on));
  overtaken := keypup.github_overtaken(account, project, 'pull_requests', nodes);
  IF overtaken <> '{}' THEN
    nodes := keypup.github_without(nodes, overtaken);
  END IF;
  pages := keypup.github_store_nested(account, project, repository, 'pull_request', nodes);
  -- Threads are read where there are any, or were.
  SELECT jsonb_agg(jsonb_build_object('item', 'pull_request', 'number', n.number, 'node', n.id, 'connection',
    'reviewThreads', 'after', NULL,
      'count', n.threads, 'seen', '[]'::jsonb) ORDER BY n.number) INTO threads
  FROM keypup.json_rows(nodes, '', '{number,id,reviewThreads.totalCount}'::text[]) AS n (number bigint, id text,
    threads bigint)
  LEFT JOIN LATERAL (
    SELECT true AS is_there FROM keypup.comments c
    WHERE c.account_id = account AND c.project_id = project AND c.item_number = n.number AND c.item_kind = 'review'
    LIMIT 1
  ) AS stored ON n.threads = 0
  WHERE n.threads > 0 OR stored.is_there;
  PERFORM keypup.github_queue_pages(account, project, coalesce(pages || threads, pages, threads));
  PERFORM keypup.derive_pull_requests(account, project,
    ARRAY(SELECT n.number FROM keypup.json_rows(nodes, '', '{number}'::text[]) AS n (number bigint)));
  PERFORM keypup.github_queue_merge_states(account, project,
    ARRAY(SELECT n.number FROM keypup.json_rows(nodes, '', '{number}'::text[]) AS n (number bigint)));
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_pull_requests(uuid, bigint, text, jsonb, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_store_pull_requests(uuid, bigint, text, jsonb, timestamptz) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_store_pull_requests(uuid, bigint, text, jsonb, timestamptz) IS
  'Stores a page of pull requests with the first pages of their lists.';

CREATE FUNCTION keypup.github_store_issues(account uuid, project bigint, repository text, nodes jsonb,
  as_of timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  overtaken bigint[] := keypup.github_overtaken(account, project, 'issues', nodes);
  pages jsonb;
BEGIN
  IF overtaken <> '{}' THEN
    nodes := keypup.github_without(nodes, overtaken);
  END IF;
  -- What follows from comments and events is written with the issue, in one version of its row: so they come first.
  pages := keypup.github_store_nested(account, project, repository, 'issue', nodes);
  PERFORM keypup.store_issues(account, project, ARRAY(
    SELECT ROW(n.number, '#' || n.number, n.external_id, n.id, n.url, n.title, lower(n.state COLLATE "C"),
      lower(n.state_reason COLLATE "C"), NULL, NULL, NULL, NULL, NULL, NULL, NULL,
      n.author, coalesce(n.author_type = 'Bot', false), n.created_at, n.updated_at, n.closed_at,
      CASE WHEN n.labels_go_on THEN keypup.github_keep(n.labels, o.labels) ELSE n.labels END,
      CASE WHEN n.assignees_go_on THEN keypup.github_keep(n.assignees, o.assignees) ELSE n.assignees END,
      n.milestone, CASE WHEN n.milestone_id IS NULL THEN '{}' ELSE ARRAY[n.milestone_id] END, '{}',
      n.updated_at >= as_of AND n.updated_at < as_of + interval '1 hour')::keypup.provided_issues
    FROM keypup.json_rows(nodes, '', ('{number,fullDatabaseId,id,url,title,state,stateReason,author.login,'
      'author.__typename,createdAt,updatedAt,closedAt,'
        'labels.nodes.name,labels.pageInfo.hasNextPage,assignees.nodes.login,assignees.pageInfo.hasNextPage,'
        'milestone.title,milestone.id}')::text[])
      AS n (number bigint, external_id text, id text, url text, title text, state text, state_reason text, author text,
        author_type text, created_at timestamptz, updated_at timestamptz, closed_at timestamptz, labels text[],
        labels_go_on boolean, assignees text[], assignees_go_on boolean, milestone text, milestone_id text)
    LEFT JOIN LATERAL (
      SELECT o.labels, o.assignees FROM keypup.issues o
      WHERE o.account_id = account AND o.project_id = project AND o.number = n.number LIMIT 1
    ) AS o ON n.labels_go_on OR n.assignees_go_on));
  PERFORM keypup.github_queue_pages(account, project, pages);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_issues(uuid, bigint, text, jsonb, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_store_issues(uuid, bigint, text, jsonb, timestamptz) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_store_issues(uuid, bigint, text, jsonb, timestamptz) IS
  'Stores a page of issues with the first pages of their lists.';

-- All rows at once, which is nearly always what happens. When they cannot be stored, in halves, down to the one that
-- cannot. rows: items as GitHub answers them; labels or milestones; or further pages of nested lists (nested.sql).
-- as_of: a time by GitHub's clock at which they surely had not been read yet.
CREATE FUNCTION keypup.github_store_rows(account uuid, project bigint, kind text, rows jsonb, as_of timestamptz)
  RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_connection uuid;
  repository text;
  touched bigint[];
  why text;
  half integer := jsonb_array_length(rows) / 2;
BEGIN
  IF rows = '[]' THEN
    RETURN;
  END IF;
  SELECT p.connection_id, p.external_id INTO STRICT the_connection, repository
  FROM keypup.projects p WHERE p.account_id = account AND p.project_id = project;
  BEGIN
    -- Names first: what is stored already means whoever had them.
    rows := keypup.github_store_people(account, project, the_connection, rows);
    rows := keypup.github_follow_names(account, project, kind, rows);
    CASE kind
      WHEN 'labels' THEN
        PERFORM keypup.github_store_labels(account, project, rows);
      WHEN 'milestones' THEN
        PERFORM keypup.github_store_milestones(account, project, rows);
      WHEN 'pull_requests' THEN
        PERFORM keypup.github_store_pull_requests(account, project, repository, rows, as_of);
      WHEN 'merge_states' THEN
        PERFORM keypup.github_store_merge_states(account, project, rows);
      WHEN 'issues' THEN
        PERFORM keypup.github_store_issues(account, project, repository, rows, as_of);
      WHEN 'releases' THEN
        PERFORM keypup.github_store_releases(account, project, rows);
      WHEN 'deployments' THEN
        PERFORM keypup.github_store_deployments(account, project, rows);
      WHEN 'nested_pages' THEN
        IF rows @> '[{"item": "deployment"}]' THEN
          PERFORM keypup.github_store_statuses(account, project, rows);
        ELSIF rows @> '[{"item": "status_check_rollup"}]' THEN
          PERFORM keypup.github_store_checks(account, project, rows);
        ELSE
          touched := ARRAY(SELECT DISTINCT n.number
            FROM keypup.json_rows(rows, '', '{number}'::text[]) AS n (number bigint));
          PERFORM keypup.github_queue_pages(account, project,
            keypup.github_store_nested(account, project, repository, NULL::text, rows));
          PERFORM keypup.derive_pull_requests(account, project, touched);
          PERFORM keypup.derive_issues(account, project, touched);
        END IF;
    END CASE;
    RETURN;
  EXCEPTION WHEN data_exception OR integrity_constraint_violation OR cardinality_violation
    OR program_limit_exceeded THEN
    GET STACKED DIAGNOSTICS why = MESSAGE_TEXT;
  END;
  IF half > 0 THEN
    PERFORM keypup.github_store_rows(account, project, kind,
      jsonb_path_query_array(rows, '$[0 to $end]', jsonb_build_object('end', half - 1)), as_of);
    PERFORM keypup.github_store_rows(account, project, kind,
      jsonb_path_query_array(rows, '$[$start to last]', jsonb_build_object('start', half)), as_of);
  ELSE
    PERFORM keypup.set_aside(account, project, keypup.github_failures(account, project, kind, '{}'::jsonb,
      jsonb_build_array(jsonb_build_object('why', 'it cannot be stored: ' || why,
        'asked', CASE kind WHEN 'nested_pages' THEN rows -> 0 ELSE rows #> '{0,id}' END,
        'number', CASE WHEN kind IN ('pull_requests', 'issues', 'merge_states') THEN rows #> '{0,number}' END))));
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_rows(uuid, bigint, text, jsonb, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_store_rows(uuid, bigint, text, jsonb, timestamptz) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_store_rows(uuid, bigint, text, jsonb, timestamptz) IS
  'Stores what is whole of an answer, with the people in it; what cannot be stored is set aside, alone.';
