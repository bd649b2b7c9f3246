-- provider/github/store.sql: what pull requests, issues and their nested lists become in the tables, and what is to be asked next.

-- A pull request or an issue has nested lists. Each page of one, wherever it was read, is written
-- {item, number, node, connection, page, seen}: seen holds the ids of its earlier pages, so that the
-- last page can tell which stored rows are gone.

-- Most of these lists are empty, and there are thousands of them.
CREATE FUNCTION keypup.github_logins(users jsonb) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF users = '[]' THEN
    RETURN '{}';
  END IF;
  RETURN (
    SELECT coalesce(array_agg(DISTINCT u.login COLLATE "C" ORDER BY u.login COLLATE "C"), '{}')
    FROM (SELECT coalesce(e ->> 'login', e ->> 'combinedSlug') FROM jsonb_array_elements(users) e WHERE jsonb_typeof(e) = 'object') AS u(login)
    WHERE u.login IS NOT NULL);
END
$$;
CREATE FUNCTION keypup.github_label_names(labels jsonb) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF labels = '[]' THEN
    RETURN '{}';
  END IF;
  RETURN (
    SELECT coalesce(array_agg(DISTINCT (e ->> 'name') COLLATE "C" ORDER BY (e ->> 'name') COLLATE "C"), '{}')
    FROM jsonb_array_elements(labels) e WHERE jsonb_typeof(e) = 'object');
END
$$;
CREATE FUNCTION keypup.github_reviewers(requests jsonb) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF requests = '[]' THEN
    RETURN '{}';
  END IF;
  RETURN keypup.github_logins(jsonb_path_query_array(requests, '$[*].requestedReviewer'));
END
$$;
CREATE FUNCTION keypup.github_closing_numbers(issues jsonb, repository text) RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF issues = '[]' THEN
    RETURN '{}';
  END IF;
  RETURN (
    SELECT coalesce(array_agg(DISTINCT (e ->> 'number')::bigint ORDER BY (e ->> 'number')::bigint), '{}')
    FROM jsonb_array_elements(issues) e WHERE e #>> '{repository,id}' = repository);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_logins(jsonb), keypup.github_label_names(jsonb), keypup.github_reviewers(jsonb), keypup.github_closing_numbers(jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_logins(jsonb) IS 'Sorted logins of a list of users, and organization/name of teams.';
COMMENT ON FUNCTION keypup.github_label_names(jsonb) IS 'Sorted names of a list of labels.';
COMMENT ON FUNCTION keypup.github_reviewers(jsonb) IS 'Sorted logins of a list of review requests, and organization/name of teams; deleted users, and teams that the token may not read, have none.';
COMMENT ON FUNCTION keypup.github_closing_numbers(jsonb, text) IS 'Sorted numbers of the issues of the repository in a list of closing references.';

-- Short lists stand in columns of their item: sorted names, or numbers.
CREATE FUNCTION keypup.github_short_list(connection text, nodes jsonb, repository text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE connection WHEN 'labels' THEN keypup.github_label_names(nodes) WHEN 'assignees' THEN keypup.github_logins(nodes)
    WHEN 'reviewRequests' THEN keypup.github_reviewers(nodes) ELSE keypup.github_closing_numbers(nodes, repository)::text[] END
$$;
CREATE FUNCTION keypup.github_whole_short_lists(pages jsonb, repository text, OUT item text, OUT number bigint, OUT connection text, OUT names text[])
RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 1 SET search_path = pg_catalog, pg_temp
AS $$
  SELECT s.item, s.number, s.connection, ARRAY(
    SELECT n.name FROM (
      SELECT jsonb_array_elements_text(s.seen) UNION SELECT unnest(keypup.github_short_list(s.connection, s.page -> 'nodes', repository))) AS n (name)
    ORDER BY CASE WHEN s.connection = 'closingIssuesReferences' THEN n.name::bigint END, n.name COLLATE "C")
  FROM jsonb_to_recordset(pages) AS s(item text, number bigint, connection text, page jsonb, after text, seen jsonb)
  WHERE s.after IS NOT NULL AND NOT (s.page #>> '{pageInfo,hasNextPage}')::boolean
    AND s.connection IN ('labels', 'assignees', 'reviewRequests', 'closingIssuesReferences')
$$;
-- Until all pages of a list are known, what was stored of it stays beside what the first one holds.
CREATE FUNCTION keypup.github_keep(names text[], stored text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT ARRAY(SELECT DISTINCT n.name COLLATE "C" FROM unnest(names || stored) AS n (name) ORDER BY 1) $$;
REVOKE ALL ON FUNCTION keypup.github_short_list(text, jsonb, text), keypup.github_whole_short_lists(jsonb, text), keypup.github_keep(text[], text[]) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_short_list(text, jsonb, text) IS 'What stands in an item of a page of labels, assignees, review requests or closing references.';
COMMENT ON FUNCTION keypup.github_whole_short_lists(jsonb, text) IS 'The short lists of which pages hold the last page, whole.';
COMMENT ON FUNCTION keypup.github_keep(text[], text[]) IS 'The names of a first page, and those that are stored.';

CREATE FUNCTION keypup.github_store_people(account uuid, connection uuid, page jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  -- Each is {external_id, id, name: the login, full_name, kind}.
  actors jsonb := (
    SELECT jsonb_agg(DISTINCT jsonb_build_object('external_id', coalesce(a ->> 'id', 'login:' || (a ->> 'login')), 'id', a -> 'id', 'name', a -> 'login',
      'full_name', a -> 'name', 'kind', CASE a ->> '__typename' WHEN 'User' THEN 'user' WHEN 'Bot' THEN 'bot' WHEN 'Mannequin' THEN 'mannequin'
        WHEN 'Organization' THEN 'organization' WHEN 'EnterpriseUserAccount' THEN 'enterprise_user' ELSE 'unknown' END))
    FROM jsonb_path_query(page, 'strict $.** ? (exists (@.login))') AS a WHERE a ->> 'login' IS NOT NULL);
BEGIN
  IF actors IS NULL THEN
    RETURN;
  END IF;
  PERFORM keypup.follow_people(account, connection, jsonb_path_query_array(actors, '$[*] ? (@.id != null)'));
  WITH seen AS MATERIALIZED (
    SELECT DISTINCT ON (1) a.external_id, a.name AS login, a.full_name AS name, a.kind
    FROM jsonb_to_recordset(actors) AS a (external_id text, name text, full_name text, kind text)
    ORDER BY 1
  ), arrived AS MATERIALIZED (
    SELECT s.*, CASE WHEN s.kind = 'user' THEN gen_random_uuid() END AS person_id
    FROM seen s
    WHERE NOT EXISTS (SELECT FROM keypup.identities i WHERE i.account_id = account AND i.connection_id = connection AND i.external_id = s.external_id)
  ), renamed AS (
    UPDATE keypup.identities i SET login = s.login, name = s.name
    FROM seen s
    WHERE i.account_id = account AND i.connection_id = connection AND i.external_id = s.external_id
      AND (i.login, i.name) IS DISTINCT FROM (s.login, s.name)
  ), stored AS (
    -- Another worker may have met the same people in another page.
    INSERT INTO keypup.identities (account_id, connection_id, external_id, login, name, kind, person_id)
    SELECT account, connection, a.external_id, a.login, a.name, a.kind, a.person_id FROM arrived a
    ON CONFLICT DO NOTHING
    RETURNING person_id, name, login
  )
  INSERT INTO keypup.people (account_id, person_id, name)
  SELECT account, s.person_id, coalesce(s.name, s.login) FROM stored s WHERE s.person_id IS NOT NULL;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_people(uuid, uuid, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_store_people(uuid, uuid, jsonb) IS 'Stores every login that a page names, and carries new ones through what is stored.';

-- The names of labels and milestones in what is about to be stored. rows: as github_store_rows takes them.
CREATE FUNCTION keypup.github_follow_names(account uuid, project bigint, kind text, rows jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM keypup.follow_labels(account, project, l.seen)
  FROM (
    SELECT jsonb_agg(DISTINCT jsonb_build_object('id', n -> 'id', 'name', n -> 'name')) AS seen
    FROM jsonb_path_query(rows, (CASE kind WHEN 'labels' THEN '$[*]' WHEN 'nested_pages' THEN '$[*] ? (@.connection == "labels").page.nodes[*]'
      ELSE '$[*].labels.nodes[*]' END)::jsonpath) AS n
    WHERE kind <> 'milestones'
  ) AS l WHERE l.seen IS NOT NULL;
  PERFORM keypup.follow_milestones(account, project, m.seen)
  FROM (
    SELECT jsonb_agg(DISTINCT jsonb_build_object('id', n -> 'id', 'name', n -> 'title')) AS seen
    FROM jsonb_path_query(rows, (CASE kind WHEN 'milestones' THEN '$[*]' ELSE '$[*].milestone' END)::jsonpath) AS n
    WHERE kind IN ('milestones', 'pull_requests', 'issues') AND n <> 'null'
  ) AS m WHERE m.seen IS NOT NULL;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_follow_names(uuid, bigint, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_follow_names(uuid, bigint, text, jsonb) IS 'Carries new names of labels and milestones through what is stored.';

-- Pages of nested lists, as described at the top: rows in, rows that are gone out, next pages as jobs.
CREATE FUNCTION keypup.github_store_nested(account uuid, project bigint, repository text, pages jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  all_pages jsonb := pages;
  numbers bigint[];
BEGIN
  -- A page of threads holds a page of comments for each thread.
  IF pages @> '[{"connection": "reviewThreads"}]' THEN
    SELECT jsonb_agg(q.page) INTO all_pages
    FROM (
      SELECT e AS page FROM jsonb_array_elements(pages) e
      UNION ALL
      SELECT jsonb_build_object('item', 'thread', 'number', e -> 'number', 'node', t -> 'id', 'connection', 'comments', 'page', t -> 'comments', 'seen', '[]'::jsonb)
      FROM jsonb_array_elements(pages) e, jsonb_array_elements(e #> '{page,nodes}') t
      WHERE e ->> 'connection' = 'reviewThreads'
    ) AS q;
  END IF;
  numbers := ARRAY(SELECT DISTINCT (e ->> 'number')::bigint FROM jsonb_array_elements(pages) e);

  -- The last page of a list: stored rows that no page of it named are gone. Before others come, since in a first reading there are none.
  WITH whole AS MATERIALIZED (
    SELECT g.item, g.number, g.node, g.connection,
      ARRAY(SELECT jsonb_array_elements_text(g.seen)) || ARRAY(SELECT coalesce(n ->> 'fullDatabaseId', n ->> 'id') FROM jsonb_array_elements(g.page -> 'nodes') n) AS ids
    FROM jsonb_to_recordset(all_pages) AS g(item text, number bigint, node text, connection text, page jsonb, seen jsonb)
    WHERE NOT (g.page #>> '{pageInfo,hasNextPage}')::boolean AND g.connection IN ('reviews', 'timelineItems', 'reviewThreads', 'comments')
  ), gone_reviews AS (
    DELETE FROM keypup.reviews r USING whole w
    WHERE r.account_id = account AND r.project_id = project AND r.pull_request_number = ANY (numbers) AND r.pull_request_number = w.number
      AND w.connection = 'reviews' AND r.external_id <> ALL (w.ids)
  ), gone_events AS (
    DELETE FROM keypup.timeline_events t USING whole w
    WHERE t.account_id = account AND t.project_id = project AND t.item_number = ANY (numbers) AND t.item_number = w.number AND t.item_kind = w.item
      AND w.connection = 'timelineItems' AND t.external_id <> ALL (w.ids)
  )
  DELETE FROM keypup.comments c USING whole w
  WHERE c.account_id = account AND c.project_id = project AND c.item_number = ANY (numbers) AND c.item_number = w.number
    AND ((w.connection = 'timelineItems' AND c.item_kind = w.item AND c.external_id <> ALL (w.ids))
      OR (w.connection = 'comments' AND c.item_kind = 'review' AND c.thread_id = w.node AND c.external_id <> ALL (w.ids))
      OR (w.connection = 'reviewThreads' AND c.item_kind = 'review' AND c.thread_id <> ALL (w.ids)));

  INSERT INTO keypup.reviews AS r (account_id, project_id, pull_request_number, external_id, author, author_is_bot, state, submitted_at, updated_at, url)
  SELECT DISTINCT ON (g.number, n."fullDatabaseId") account, project, g.number, n."fullDatabaseId", n.author ->> 'login',
    coalesce(n.author ->> '__typename' = 'Bot', false), lower(n.state COLLATE "C"), n."submittedAt", n."updatedAt", n.url
  FROM jsonb_to_recordset(all_pages) AS g(number bigint, connection text, page jsonb),
    jsonb_to_recordset(g.page -> 'nodes') AS n("fullDatabaseId" text, author jsonb, state text, "submittedAt" timestamptz, "updatedAt" timestamptz, url text)
  WHERE g.connection = 'reviews' AND n.state <> 'PENDING'
  ON CONFLICT (account_id, project_id, pull_request_number, external_id) DO UPDATE
  SET author = excluded.author, author_is_bot = excluded.author_is_bot, state = excluded.state,
      submitted_at = excluded.submitted_at, updated_at = excluded.updated_at, url = excluded.url
  WHERE (r.updated_at <= excluded.updated_at OR r.updated_at > now() + interval '1 day')
    AND (r.author, r.author_is_bot, r.state, r.submitted_at, r.updated_at, r.url)
        IS DISTINCT FROM (excluded.author, excluded.author_is_bot, excluded.state, excluded.submitted_at, excluded.updated_at, excluded.url);

  INSERT INTO keypup.comments AS c (account_id, project_id, item_kind, item_number, external_id, author, author_is_bot, created_at, updated_at, url, review_external_id, thread_id)
  SELECT DISTINCT ON (g.number, g.item, n."fullDatabaseId") account, project, CASE g.item WHEN 'thread' THEN 'review' ELSE g.item END, g.number, n."fullDatabaseId",
    n.author ->> 'login', coalesce(n.author ->> '__typename' = 'Bot', false), n."createdAt", n."updatedAt", n.url,
    n."pullRequestReview" ->> 'fullDatabaseId', CASE g.item WHEN 'thread' THEN g.node END
  FROM jsonb_to_recordset(all_pages) AS g(item text, number bigint, node text, connection text, page jsonb),
    jsonb_to_recordset(g.page -> 'nodes') AS n(__typename text, "fullDatabaseId" text, author jsonb, "createdAt" timestamptz, "updatedAt" timestamptz, url text, "pullRequestReview" jsonb)
  WHERE g.connection IN ('comments', 'timelineItems') AND (g.connection = 'comments' OR n.__typename = 'IssueComment')
  ON CONFLICT (account_id, project_id, item_number, item_kind, external_id) DO UPDATE
  SET author = excluded.author, author_is_bot = excluded.author_is_bot, created_at = excluded.created_at, updated_at = excluded.updated_at,
      url = excluded.url, review_external_id = excluded.review_external_id, thread_id = excluded.thread_id
  WHERE (c.updated_at <= excluded.updated_at OR c.updated_at > now() + interval '1 day')
    AND (c.author, c.author_is_bot, c.created_at, c.updated_at, c.url, c.review_external_id, c.thread_id)
        IS DISTINCT FROM (excluded.author, excluded.author_is_bot, excluded.created_at, excluded.updated_at, excluded.url, excluded.review_external_id, excluded.thread_id);

  INSERT INTO keypup.timeline_events AS t (account_id, project_id, item_kind, item_number, external_id, event, actor, subject, occurred_at)
  SELECT DISTINCT ON (g.number, n.id) account, project, g.item, g.number, n.id,
    CASE n.__typename WHEN 'ReadyForReviewEvent' THEN 'ready_for_review' WHEN 'ConvertToDraftEvent' THEN 'convert_to_draft'
      WHEN 'ReviewRequestedEvent' THEN 'review_requested' WHEN 'ReviewRequestRemovedEvent' THEN 'review_request_removed'
      WHEN 'AssignedEvent' THEN 'assigned' WHEN 'UnassignedEvent' THEN 'unassigned' WHEN 'MergedEvent' THEN 'merged' WHEN 'ClosedEvent' THEN 'closed' WHEN 'ReopenedEvent' THEN 'reopened' END,
    n.actor ->> 'login', coalesce(n."requestedReviewer" ->> 'login', n."requestedReviewer" ->> 'combinedSlug', n.assignee ->> 'login'), n."createdAt"
  FROM jsonb_to_recordset(all_pages) AS g(item text, number bigint, connection text, page jsonb),
    jsonb_to_recordset(g.page -> 'nodes') AS n(__typename text, id text, actor jsonb, assignee jsonb, "requestedReviewer" jsonb, "createdAt" timestamptz)
  WHERE g.connection = 'timelineItems' AND n.__typename <> 'IssueComment'
  ON CONFLICT (account_id, project_id, item_number, item_kind, external_id) DO UPDATE
  SET event = excluded.event, actor = excluded.actor, subject = excluded.subject, occurred_at = excluded.occurred_at
  WHERE (t.event, t.actor, t.subject, t.occurred_at) IS DISTINCT FROM (excluded.event, excluded.actor, excluded.subject, excluded.occurred_at);

  -- A short list with further pages stands in its item once all of it is known: seen has what the pages before the last one held.
  IF EXISTS (SELECT FROM jsonb_array_elements(pages) e WHERE e ->> 'after' IS NOT NULL) THEN
    UPDATE keypup.pull_requests p
    SET labels = g.labels, assignees = g.assignees, requested_reviewers = g.reviewers, closes_issues = g.closes
    FROM (
      SELECT o.number, coalesce(max(l.names) FILTER (WHERE l.connection = 'labels'), o.labels) AS labels,
        coalesce(max(l.names) FILTER (WHERE l.connection = 'assignees'), o.assignees) AS assignees,
        coalesce(max(l.names) FILTER (WHERE l.connection = 'reviewRequests'), o.requested_reviewers) AS reviewers,
        coalesce(max(l.names) FILTER (WHERE l.connection = 'closingIssuesReferences')::bigint[], o.closes_issues) AS closes
      FROM keypup.github_whole_short_lists(all_pages, repository) l
      JOIN keypup.pull_requests o ON l.item = 'pull_request' AND o.account_id = account AND o.project_id = project AND o.number = l.number
      GROUP BY o.number, o.labels, o.assignees, o.requested_reviewers, o.closes_issues
    ) AS g
    WHERE p.account_id = account AND p.project_id = project AND p.number = g.number
      AND (p.labels, p.assignees, p.requested_reviewers, p.closes_issues) IS DISTINCT FROM (g.labels, g.assignees, g.reviewers, g.closes);

    UPDATE keypup.issues i
    SET labels = g.labels, assignees = g.assignees
    FROM (
      SELECT o.number, coalesce(max(l.names) FILTER (WHERE l.connection = 'labels'), o.labels) AS labels,
        coalesce(max(l.names) FILTER (WHERE l.connection = 'assignees'), o.assignees) AS assignees
      FROM keypup.github_whole_short_lists(all_pages, repository) l
      JOIN keypup.issues o ON l.item = 'issue' AND o.account_id = account AND o.project_id = project AND o.number = l.number
      GROUP BY o.number, o.labels, o.assignees
    ) AS g
    WHERE i.account_id = account AND i.project_id = project AND i.number = g.number
      AND (i.labels, i.assignees) IS DISTINCT FROM (g.labels, g.assignees);
  END IF;

  PERFORM keypup.github_queue_pages(account, project, (
    SELECT jsonb_agg(jsonb_build_object('item', g.item, 'number', g.number, 'node', g.node, 'connection', g.connection, 'after', g.page #> '{pageInfo,endCursor}',
      'seen', g.seen || CASE WHEN g.connection IN ('labels', 'assignees', 'reviewRequests', 'closingIssuesReferences')
        THEN to_jsonb(keypup.github_short_list(g.connection, g.page -> 'nodes', repository))
        ELSE (SELECT coalesce(jsonb_agg(coalesce(n -> 'fullDatabaseId', n -> 'id')), '[]') FROM jsonb_array_elements(g.page -> 'nodes') n) END) ORDER BY g.number)
    FROM jsonb_to_recordset(all_pages) AS g(item text, number bigint, node text, connection text, page jsonb, seen jsonb)
    WHERE (g.page #>> '{pageInfo,hasNextPage}')::boolean));
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_nested(uuid, bigint, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_store_nested(uuid, bigint, text, jsonb) IS 'Stores pages of reviews, threads, comments, events and short lists.';

-- A short list stands in its item; its first page is of use only where there are more.
CREATE FUNCTION keypup.github_first_pages(item text, nodes jsonb, connections text[]) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (
    SELECT coalesce(jsonb_agg(jsonb_build_object('item', item, 'number', n -> 'number', 'node', n -> 'id', 'connection', c, 'page', n -> c, 'seen', '[]'::jsonb)), '[]')
    FROM jsonb_array_elements(nodes) n, unnest(connections) c
    WHERE jsonb_typeof(n -> c) = 'object' AND (c IN ('reviews', 'timelineItems') OR (n #>> ARRAY[c, 'pageInfo', 'hasNextPage'])::boolean));
END
$$;
REVOKE ALL ON FUNCTION keypup.github_first_pages(text, jsonb, text[]) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_first_pages(text, jsonb, text[]) IS 'The nested lists of items, as github_store_nested takes them.';

-- An answer that was overtaken by a later one tells nothing of an item's lists, either.
CREATE FUNCTION keypup.github_not_overtaken(account uuid, project bigint, kind text, nodes jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  overtaken bigint[] := ARRAY(
    SELECT n.number FROM jsonb_to_recordset(nodes) AS n (number bigint, "updatedAt" timestamptz)
    WHERE EXISTS (SELECT FROM keypup.pull_requests p
                  WHERE kind = 'pull_requests' AND p.account_id = account AND p.project_id = project AND p.number = n.number AND p.updated_at > n."updatedAt")
       OR EXISTS (SELECT FROM keypup.issues i
                  WHERE kind = 'issues' AND i.account_id = account AND i.project_id = project AND i.number = n.number AND i.updated_at > n."updatedAt"));
BEGIN
  RETURN CASE WHEN overtaken = '{}' THEN nodes
    ELSE (SELECT coalesce(jsonb_agg(n), '[]') FROM jsonb_array_elements(nodes) AS n WHERE (n ->> 'number')::bigint <> ALL (overtaken)) END;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_not_overtaken(uuid, bigint, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_not_overtaken(uuid, bigint, text, jsonb) IS 'The items of a page but for those of which a later state is stored.';

CREATE FUNCTION keypup.github_store_pull_requests(account uuid, project bigint, repository text, nodes jsonb, as_of timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO keypup.pull_requests AS p (account_id, project_id, number, external_id, node_id, url, title, state, is_draft, author, author_is_bot,
    created_at, updated_at, closed_at, merged_at, merged_by, base_branch, head_branch, additions, deletions, changed_files, commit_count, first_commit_at,
    labels, assignees, requested_reviewers, milestone, closes_issues, is_read_early)
  SELECT DISTINCT ON (n.number) account, project, n.number, n."fullDatabaseId", n.id, n.url, n.title, lower(n.state COLLATE "C"), n."isDraft", n.author ->> 'login',
    coalesce(n.author ->> '__typename' = 'Bot', false), n."createdAt", n."updatedAt", n."closedAt", n."mergedAt", n."mergedBy" ->> 'login',
    n."baseRefName", n."headRefName", n.additions, n.deletions, n."changedFiles", (n.commits ->> 'totalCount')::bigint,
    (n.commits #>> '{nodes,0,commit,authoredDate}')::timestamptz,
    CASE WHEN (n.labels #>> '{pageInfo,hasNextPage}')::boolean
      THEN keypup.github_keep(keypup.github_label_names(n.labels -> 'nodes'), (SELECT o.labels FROM keypup.pull_requests o WHERE o.account_id = account AND o.project_id = project AND o.number = n.number))
      ELSE keypup.github_label_names(n.labels -> 'nodes') END,
    CASE WHEN (n.assignees #>> '{pageInfo,hasNextPage}')::boolean
      THEN keypup.github_keep(keypup.github_logins(n.assignees -> 'nodes'), (SELECT o.assignees FROM keypup.pull_requests o WHERE o.account_id = account AND o.project_id = project AND o.number = n.number))
      ELSE keypup.github_logins(n.assignees -> 'nodes') END,
    CASE WHEN (n."reviewRequests" #>> '{pageInfo,hasNextPage}')::boolean
      THEN keypup.github_keep(keypup.github_reviewers(n."reviewRequests" -> 'nodes'), (SELECT o.requested_reviewers FROM keypup.pull_requests o WHERE o.account_id = account AND o.project_id = project AND o.number = n.number))
      ELSE keypup.github_reviewers(n."reviewRequests" -> 'nodes') END,
    n.milestone ->> 'title',
    CASE WHEN (n."closingIssuesReferences" #>> '{pageInfo,hasNextPage}')::boolean
      THEN ARRAY(SELECT DISTINCT c FROM unnest(keypup.github_closing_numbers(n."closingIssuesReferences" -> 'nodes', repository)
        || (SELECT o.closes_issues FROM keypup.pull_requests o WHERE o.account_id = account AND o.project_id = project AND o.number = n.number)) AS c ORDER BY 1)
      ELSE keypup.github_closing_numbers(n."closingIssuesReferences" -> 'nodes', repository) END,
    n."updatedAt" >= as_of AND n."updatedAt" < as_of + interval '1 hour'
  FROM jsonb_to_recordset(nodes) AS n(number bigint, "fullDatabaseId" text, id text, url text, title text, state text, "isDraft" boolean, author jsonb,
    "createdAt" timestamptz, "updatedAt" timestamptz, "closedAt" timestamptz, "mergedAt" timestamptz, "mergedBy" jsonb, "baseRefName" text, "headRefName" text,
    additions bigint, deletions bigint, "changedFiles" bigint, commits jsonb, labels jsonb, assignees jsonb, "reviewRequests" jsonb, milestone jsonb, "closingIssuesReferences" jsonb)
  ON CONFLICT (account_id, project_id, number) DO UPDATE
  SET external_id = excluded.external_id, node_id = excluded.node_id, url = excluded.url, title = excluded.title, state = excluded.state, is_draft = excluded.is_draft,
    author = excluded.author, author_is_bot = excluded.author_is_bot, created_at = excluded.created_at, updated_at = excluded.updated_at,
    closed_at = excluded.closed_at, merged_at = excluded.merged_at, merged_by = excluded.merged_by, base_branch = excluded.base_branch, head_branch = excluded.head_branch,
    additions = excluded.additions, deletions = excluded.deletions, changed_files = excluded.changed_files, commit_count = excluded.commit_count,
    first_commit_at = excluded.first_commit_at, labels = excluded.labels, assignees = excluded.assignees, requested_reviewers = excluded.requested_reviewers,
    milestone = excluded.milestone, closes_issues = excluded.closes_issues, is_read_early = excluded.is_read_early, deleted_at = NULL
  WHERE (p.updated_at <= excluded.updated_at OR p.updated_at > now() + interval '1 day')
    AND (p.external_id, p.node_id, p.url, p.title, p.state, p.is_draft, p.author, p.author_is_bot, p.created_at, p.updated_at, p.closed_at, p.merged_at, p.merged_by,
      p.base_branch, p.head_branch, p.additions, p.deletions, p.changed_files, p.commit_count, p.first_commit_at, p.labels, p.assignees, p.requested_reviewers,
      p.milestone, p.closes_issues, p.is_read_early, p.deleted_at)
      IS DISTINCT FROM (excluded.external_id, excluded.node_id, excluded.url, excluded.title, excluded.state, excluded.is_draft, excluded.author,
      excluded.author_is_bot, excluded.created_at, excluded.updated_at, excluded.closed_at, excluded.merged_at, excluded.merged_by, excluded.base_branch,
      excluded.head_branch, excluded.additions, excluded.deletions, excluded.changed_files, excluded.commit_count, excluded.first_commit_at, excluded.labels,
      excluded.assignees, excluded.requested_reviewers, excluded.milestone, excluded.closes_issues, excluded.is_read_early, NULL::timestamptz);

  nodes := keypup.github_not_overtaken(account, project, 'pull_requests', nodes);
  PERFORM keypup.github_store_nested(account, project, repository, keypup.github_first_pages('pull_request', nodes,
    '{labels,assignees,reviewRequests,reviews,timelineItems,closingIssuesReferences}'::text[]));

  -- Threads are read where there are any, or were.
  PERFORM keypup.github_queue_pages(account, project, (
    SELECT jsonb_agg(jsonb_build_object('item', 'pull_request', 'number', n.number, 'node', n.id, 'connection', 'reviewThreads', 'after', NULL,
      'count', n."reviewThreads" -> 'totalCount', 'seen', '[]'::jsonb) ORDER BY n.number)
    FROM jsonb_to_recordset(nodes) AS n(number bigint, id text, "reviewThreads" jsonb)
    WHERE (n."reviewThreads" ->> 'totalCount')::bigint > 0
       OR EXISTS (SELECT FROM keypup.comments c WHERE c.account_id = account AND c.project_id = project AND c.item_number = n.number AND c.item_kind = 'review')));
  PERFORM keypup.derive_pull_requests(account, project, ARRAY(SELECT (n ->> 'number')::bigint FROM jsonb_array_elements(nodes) n));
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_pull_requests(uuid, bigint, text, jsonb, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_store_pull_requests(uuid, bigint, text, jsonb, timestamptz) IS 'Stores a page of pull requests with the first pages of their lists.';

CREATE FUNCTION keypup.github_store_issues(account uuid, project bigint, repository text, nodes jsonb, as_of timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO keypup.issues AS i (account_id, project_id, number, external_id, node_id, url, title, state, state_reason, author, author_is_bot,
    created_at, updated_at, closed_at, labels, assignees, milestone, is_read_early)
  SELECT DISTINCT ON (n.number) account, project, n.number, n."fullDatabaseId", n.id, n.url, n.title, lower(n.state COLLATE "C"), lower(n."stateReason" COLLATE "C"), n.author ->> 'login',
    coalesce(n.author ->> '__typename' = 'Bot', false), n."createdAt", n."updatedAt", n."closedAt",
    CASE WHEN (n.labels #>> '{pageInfo,hasNextPage}')::boolean
      THEN keypup.github_keep(keypup.github_label_names(n.labels -> 'nodes'), (SELECT o.labels FROM keypup.issues o WHERE o.account_id = account AND o.project_id = project AND o.number = n.number))
      ELSE keypup.github_label_names(n.labels -> 'nodes') END,
    CASE WHEN (n.assignees #>> '{pageInfo,hasNextPage}')::boolean
      THEN keypup.github_keep(keypup.github_logins(n.assignees -> 'nodes'), (SELECT o.assignees FROM keypup.issues o WHERE o.account_id = account AND o.project_id = project AND o.number = n.number))
      ELSE keypup.github_logins(n.assignees -> 'nodes') END,
    n.milestone ->> 'title', n."updatedAt" >= as_of AND n."updatedAt" < as_of + interval '1 hour'
  FROM jsonb_to_recordset(nodes) AS n(number bigint, "fullDatabaseId" text, id text, url text, title text, state text, "stateReason" text, author jsonb,
    "createdAt" timestamptz, "updatedAt" timestamptz, "closedAt" timestamptz, labels jsonb, assignees jsonb, milestone jsonb)
  ON CONFLICT (account_id, project_id, number) DO UPDATE
  SET external_id = excluded.external_id, node_id = excluded.node_id, url = excluded.url, title = excluded.title, state = excluded.state,
    state_reason = excluded.state_reason, author = excluded.author, author_is_bot = excluded.author_is_bot, created_at = excluded.created_at,
    updated_at = excluded.updated_at, closed_at = excluded.closed_at, labels = excluded.labels, assignees = excluded.assignees,
    milestone = excluded.milestone, is_read_early = excluded.is_read_early, deleted_at = NULL
  WHERE (i.updated_at <= excluded.updated_at OR i.updated_at > now() + interval '1 day')
    AND (i.external_id, i.node_id, i.url, i.title, i.state, i.state_reason, i.author, i.author_is_bot, i.created_at, i.updated_at, i.closed_at, i.labels,
      i.assignees, i.milestone, i.is_read_early, i.deleted_at)
      IS DISTINCT FROM (excluded.external_id, excluded.node_id, excluded.url, excluded.title, excluded.state, excluded.state_reason, excluded.author,
      excluded.author_is_bot, excluded.created_at, excluded.updated_at, excluded.closed_at, excluded.labels, excluded.assignees, excluded.milestone, excluded.is_read_early, NULL::timestamptz);

  nodes := keypup.github_not_overtaken(account, project, 'issues', nodes);
  PERFORM keypup.github_store_nested(account, project, repository, keypup.github_first_pages('issue', nodes, '{labels,assignees,timelineItems}'::text[]));
  PERFORM keypup.derive_issues(account, project, ARRAY(SELECT (n ->> 'number')::bigint FROM jsonb_array_elements(nodes) n));
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_issues(uuid, bigint, text, jsonb, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_store_issues(uuid, bigint, text, jsonb, timestamptz) IS 'Stores a page of issues with the first pages of their lists.';

-- All rows at once, which is nearly always what happens. When they cannot be stored, in halves, down to the one that cannot.
-- rows: items as GitHub answers them; labels or milestones; or pages of nested lists, as described at the top. as_of: a time by
-- GitHub's clock at which they surely had not been read yet.
CREATE FUNCTION keypup.github_store_rows(account uuid, project bigint, kind text, rows jsonb, as_of timestamptz) RETURNS void
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
    PERFORM keypup.github_store_people(account, the_connection, rows);
    PERFORM keypup.github_follow_names(account, project, kind, rows);
    CASE kind
      WHEN 'labels' THEN
        PERFORM keypup.github_store_labels(account, project, rows);
      WHEN 'milestones' THEN
        PERFORM keypup.github_store_milestones(account, project, rows);
      WHEN 'pull_requests' THEN
        PERFORM keypup.github_store_pull_requests(account, project, repository, rows, as_of);
      WHEN 'issues' THEN
        PERFORM keypup.github_store_issues(account, project, repository, rows, as_of);
      WHEN 'releases' THEN
        PERFORM keypup.github_store_releases(account, project, rows);
      WHEN 'deployments' THEN
        PERFORM keypup.github_store_deployments(account, project, rows);
      WHEN 'nested_pages' THEN
        IF rows @> '[{"item": "deployment"}]' THEN
          PERFORM keypup.github_store_statuses(account, project, rows);
        ELSE
          SELECT array_agg(DISTINCT (r.page ->> 'number')::bigint) INTO touched FROM jsonb_array_elements(rows) AS r (page);
          PERFORM keypup.github_store_nested(account, project, repository, rows);
          PERFORM keypup.derive_pull_requests(account, project, touched);
          PERFORM keypup.derive_issues(account, project, touched);
        END IF;
    END CASE;
    RETURN;
  EXCEPTION WHEN data_exception OR integrity_constraint_violation OR cardinality_violation OR program_limit_exceeded THEN
    GET STACKED DIAGNOSTICS why = MESSAGE_TEXT;
  END;
  IF half > 0 THEN
    PERFORM keypup.github_store_rows(account, project, kind, jsonb_path_query_array(rows, '$[0 to $end]', jsonb_build_object('end', half - 1)), as_of);
    PERFORM keypup.github_store_rows(account, project, kind, jsonb_path_query_array(rows, '$[$start to last]', jsonb_build_object('start', half)), as_of);
  ELSE
    PERFORM keypup.github_set_aside(account, project, kind, '{}'::jsonb, jsonb_build_array(jsonb_build_object('why', 'it cannot be stored: ' || why,
      'asked', CASE kind WHEN 'nested_pages' THEN rows -> 0 ELSE rows #> '{0,id}' END,
      'number', CASE WHEN kind IN ('pull_requests', 'issues') THEN rows #> '{0,number}' END)));
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_rows(uuid, bigint, text, jsonb, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_store_rows(uuid, bigint, text, jsonb, timestamptz) IS 'Stores what is whole of an answer, with the people in it; what cannot be stored is set aside, alone.';
