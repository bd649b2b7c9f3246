-- provider/github/store.sql: what a page of an answer becomes in the tables, and what is to be asked next.

-- A pull request or an issue has nested lists. Each page of one, wherever it was read, is written
-- {item, number, node, connection, page, seen}: seen holds the ids of its earlier pages, so that the
-- last page can tell which stored rows are gone.

CREATE FUNCTION keypup.github_logins(users jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT coalesce(array_agg(DISTINCT u.login COLLATE "C" ORDER BY u.login COLLATE "C"), '{}')
  FROM (SELECT coalesce(e ->> 'login', e ->> 'combinedSlug') FROM jsonb_array_elements(users) e WHERE jsonb_typeof(e) = 'object') AS u(login)
  WHERE u.login IS NOT NULL
$$;
CREATE FUNCTION keypup.github_label_names(labels jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT coalesce(array_agg(DISTINCT (e ->> 'name') COLLATE "C" ORDER BY (e ->> 'name') COLLATE "C"), '{}')
  FROM jsonb_array_elements(labels) e WHERE jsonb_typeof(e) = 'object'
$$;
CREATE FUNCTION keypup.github_reviewers(requests jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT keypup.github_logins(jsonb_path_query_array(requests, '$[*].requestedReviewer')) $$;
CREATE FUNCTION keypup.github_closing_numbers(issues jsonb, repository text) RETURNS bigint[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT coalesce(array_agg(DISTINCT (e ->> 'number')::bigint ORDER BY (e ->> 'number')::bigint), '{}')
  FROM jsonb_array_elements(issues) e WHERE e #>> '{repository,id}' = repository
$$;
REVOKE ALL ON FUNCTION keypup.github_logins(jsonb), keypup.github_label_names(jsonb), keypup.github_reviewers(jsonb), keypup.github_closing_numbers(jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_logins(jsonb) IS 'Sorted logins of a list of users, and organization/name of teams.';
COMMENT ON FUNCTION keypup.github_label_names(jsonb) IS 'Sorted names of a list of labels.';
COMMENT ON FUNCTION keypup.github_reviewers(jsonb) IS 'Sorted logins of a list of review requests, and organization/name of teams; deleted users, and teams that the token may not read, have none.';
COMMENT ON FUNCTION keypup.github_closing_numbers(jsonb, text) IS 'Sorted numbers of the issues of the repository in a list of closing references.';

CREATE FUNCTION keypup.github_store_people(account uuid, connection uuid, page jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  WITH seen AS MATERIALIZED (
    SELECT DISTINCT ON (1) coalesce(a ->> 'id', 'login:' || (a ->> 'login')) AS external_id, a ->> 'login' AS login, a ->> 'name' AS name,
      CASE a ->> '__typename' WHEN 'User' THEN 'user' WHEN 'Bot' THEN 'bot' WHEN 'Mannequin' THEN 'mannequin'
        WHEN 'Organization' THEN 'organization' WHEN 'EnterpriseUserAccount' THEN 'enterprise_user' ELSE 'unknown' END AS kind
    FROM jsonb_path_query(page, 'strict $.** ? (exists (@.login))') AS a
    WHERE a ->> 'login' IS NOT NULL
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
COMMENT ON FUNCTION keypup.github_store_people(uuid, uuid, jsonb) IS 'Stores every login that a page names.';

CREATE FUNCTION keypup.github_store_labels(account uuid, project bigint, nodes jsonb) RETURNS void
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
  INSERT INTO keypup.labels AS l (account_id, project_id, external_id, name, color, created_at, updated_at)
  SELECT account, project, n.id, n.name, n.color, n."createdAt", n."updatedAt"
  FROM jsonb_to_recordset(nodes) AS n(id text, name text, color text, "createdAt" timestamptz, "updatedAt" timestamptz)
  ON CONFLICT (account_id, project_id, external_id) DO UPDATE
  SET name = excluded.name, color = excluded.color, created_at = excluded.created_at, updated_at = excluded.updated_at
  WHERE (l.name, l.color, l.created_at, l.updated_at) IS DISTINCT FROM (excluded.name, excluded.color, excluded.created_at, excluded.updated_at)
$$;
CREATE FUNCTION keypup.github_store_milestones(account uuid, project bigint, nodes jsonb) RETURNS void
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
  INSERT INTO keypup.milestones AS m (account_id, project_id, external_id, number, title, state, url, created_at, updated_at, due_on, closed_at)
  SELECT account, project, n.id, n.number, n.title, lower(n.state), n.url, n."createdAt", n."updatedAt", n."dueOn", n."closedAt"
  FROM jsonb_to_recordset(nodes) AS n(id text, number bigint, title text, state text, url text,
    "createdAt" timestamptz, "updatedAt" timestamptz, "dueOn" timestamptz, "closedAt" timestamptz)
  ON CONFLICT (account_id, project_id, external_id) DO UPDATE
  SET number = excluded.number, title = excluded.title, state = excluded.state, url = excluded.url, created_at = excluded.created_at,
      updated_at = excluded.updated_at, due_on = excluded.due_on, closed_at = excluded.closed_at
  WHERE (m.number, m.title, m.state, m.url, m.created_at, m.updated_at, m.due_on, m.closed_at)
        IS DISTINCT FROM (excluded.number, excluded.title, excluded.state, excluded.url, excluded.created_at, excluded.updated_at, excluded.due_on, excluded.closed_at)
$$;
REVOKE ALL ON FUNCTION keypup.github_store_labels(uuid, bigint, jsonb), keypup.github_store_milestones(uuid, bigint, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_store_labels(uuid, bigint, jsonb) IS 'Stores a page of labels.';
COMMENT ON FUNCTION keypup.github_store_milestones(uuid, bigint, jsonb) IS 'Stores a page of milestones.';

-- A list of labels or milestones is short: it is read whole in every run that finds more than one
-- page, and rows that the whole list lacks are gone. seen carries the ids of the pages before.
CREATE FUNCTION keypup.github_store_list(account uuid, project bigint, kind text, page jsonb, seen jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  known jsonb := seen || jsonb_path_query_array(page, '$.nodes[*].id');
BEGIN
  IF kind = 'labels' THEN
    PERFORM keypup.github_store_labels(account, project, page -> 'nodes');
  ELSE
    PERFORM keypup.github_store_milestones(account, project, page -> 'nodes');
  END IF;
  IF (page #>> '{pageInfo,hasNextPage}')::boolean THEN
    PERFORM keypup.queue_job(account, project, kind, jsonb_build_object('after', page #> '{pageInfo,endCursor}', 'seen', known));
  ELSIF kind = 'labels' THEN
    DELETE FROM keypup.labels l WHERE l.account_id = account AND l.project_id = project AND NOT known ? l.external_id;
  ELSE
    DELETE FROM keypup.milestones m WHERE m.account_id = account AND m.project_id = project AND NOT known ? m.external_id;
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_list(uuid, bigint, text, jsonb, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_store_list(uuid, bigint, text, jsonb, jsonb) IS 'Stores a page of labels or milestones, asks for the next, and at the end forgets what is gone.';

-- Items to be read, as many in a job as the connection's answers have shown to be quick.
CREATE FUNCTION keypup.github_queue_items(account uuid, project bigint, kind text, ids jsonb, in_run boolean DEFAULT true) RETURNS void
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
  SELECT keypup.queue_job(account, project, kind, jsonb_build_object('ids', w.ids), in_run)
  FROM (
    SELECT jsonb_agg(n.id ORDER BY n.position) AS ids
    FROM (SELECT e.id, e.position, (e.position - 1) / (CASE kind WHEN 'pull_requests' THEN c.batch_size ELSE 2 * c.batch_size END) AS part
          FROM jsonb_array_elements(ids) WITH ORDINALITY AS e (id, position),
            keypup.projects p JOIN keypup.connections c USING (account_id, connection_id)
          WHERE p.account_id = account AND p.project_id = project) AS n
    GROUP BY n.part ORDER BY n.part
  ) AS w
$$;
REVOKE ALL ON FUNCTION keypup.github_queue_items(uuid, bigint, text, jsonb, boolean) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_queue_items(uuid, bigint, text, jsonb, boolean) IS 'Queues the reading of pull requests or issues by their ids.';

-- Ten minutes are read again: what bumps updatedAt, and when it becomes visible, is not documented.
CREATE FUNCTION keypup.github_take_stubs(account uuid, project bigint, kind text, page jsonb, is_first boolean) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  horizon timestamptz;
BEGIN
  SELECT (s.watermarks ->> kind)::timestamptz - interval '10 minutes' INTO horizon
  FROM keypup.sync_state s WHERE s.account_id = account AND s.project_id = project;

  IF is_first THEN
    UPDATE keypup.sync_state s
    SET next_watermarks = s.next_watermarks || jsonb_build_object(kind, page #> '{nodes,0,updatedAt}')
    WHERE s.account_id = account AND s.project_id = project;
  END IF;

  -- The next page first: while it is fetched, what this one names is read beside.
  IF (page #>> '{pageInfo,hasNextPage}')::boolean
     AND (horizon IS NULL OR (page #>> '{nodes,-1,updatedAt}')::timestamptz >= horizon) THEN
    PERFORM keypup.queue_job(account, project, CASE kind WHEN 'pull_requests' THEN 'pull_request_stubs' ELSE 'issue_stubs' END,
            jsonb_build_object('after', page #> '{pageInfo,endCursor}'));
  END IF;
  PERFORM keypup.github_queue_items(account, project, kind, keypup.github_changed_items(account, project, kind, page -> 'nodes', horizon));
END
$$;
REVOKE ALL ON FUNCTION keypup.github_take_stubs(uuid, bigint, text, jsonb, boolean) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_take_stubs(uuid, bigint, text, jsonb, boolean) IS 'Turns a page of stubs, newest change first, into jobs that read what changed.';

CREATE FUNCTION keypup.github_changed_items(account uuid, project bigint, kind text, stubs jsonb, horizon timestamptz) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT coalesce(jsonb_agg(n.id ORDER BY n.position), '[]')
  FROM ROWS FROM (jsonb_to_recordset(stubs) AS (id text, number bigint, "updatedAt" timestamptz)) WITH ORDINALITY AS n(id, number, updated_at, position)
  WHERE n.id IS NOT NULL
    AND (horizon IS NULL OR n.updated_at >= horizon)
    AND NOT EXISTS (SELECT FROM keypup.pull_requests p WHERE kind = 'pull_requests' AND p.account_id = account
                    AND p.project_id = project AND p.number = n.number AND p.updated_at = n.updated_at AND p.deleted_at IS NULL)
    AND NOT EXISTS (SELECT FROM keypup.issues i WHERE kind = 'issues' AND i.account_id = account
                    AND i.project_id = project AND i.number = n.number AND i.updated_at = n.updated_at AND i.deleted_at IS NULL)
$$;
REVOKE ALL ON FUNCTION keypup.github_changed_items(uuid, bigint, text, jsonb, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_changed_items(uuid, bigint, text, jsonb, timestamptz) IS 'The ids of stubs that are newer than what is stored, and changed since the horizon.';

-- What a poll compares: a milestone's change bumps nothing else.
CREATE FUNCTION keypup.github_milestone_mark(repository jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT jsonb_build_object('milestones', jsonb_build_array(repository #> '{milestones,totalCount}', repository #> '{milestones,nodes,0,updatedAt}'))
$$;
REVOKE ALL ON FUNCTION keypup.github_milestone_mark(jsonb) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_milestone_mark(jsonb) IS 'How many milestones there are, and when one last changed.';

CREATE FUNCTION keypup.github_store_repository(account uuid, project bigint, repository jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  twin text;
BEGIN
  SELECT p.name INTO twin
  FROM keypup.projects p JOIN keypup.projects me USING (account_id, connection_id)
  WHERE me.account_id = account AND me.project_id = project AND p.project_id <> project
    AND (p.external_id = repository ->> 'id' OR lower(p.name) = lower(repository ->> 'nameWithOwner'));
  IF twin IS NOT NULL THEN
    RAISE EXCEPTION 'repository "%" is tracked already, as "%"', repository ->> 'nameWithOwner', twin
      USING ERRCODE = 'unique_violation', HINT = 'Call keypup.untrack for one of the two names.';
  END IF;

  UPDATE keypup.projects p
  SET external_id = n.id, name = n."nameWithOwner", url = n.url, visibility = lower(n.visibility), is_archived = n."isArchived",
      has_issues = n."hasIssuesEnabled", default_branch = n."defaultBranchRef" ->> 'name', created_at = n."createdAt", updated_at = n."updatedAt",
      pull_request_total = (n."pullRequests" ->> 'totalCount')::bigint, issue_total = (n.issues ->> 'totalCount')::bigint
  FROM jsonb_to_record(repository) AS n(id text, "nameWithOwner" text, url text, visibility text, "isArchived" boolean, "hasIssuesEnabled" boolean,
    "defaultBranchRef" jsonb, "createdAt" timestamptz, "updatedAt" timestamptz, "pullRequests" jsonb, issues jsonb)
  WHERE p.account_id = account AND p.project_id = project
    AND (p.external_id, p.name, p.url, p.visibility, p.is_archived, p.has_issues, p.default_branch, p.created_at, p.updated_at, p.pull_request_total, p.issue_total)
        IS DISTINCT FROM (n.id, n."nameWithOwner", n.url, lower(n.visibility), n."isArchived", n."hasIssuesEnabled", n."defaultBranchRef" ->> 'name',
          n."createdAt", n."updatedAt", (n."pullRequests" ->> 'totalCount')::bigint, (n.issues ->> 'totalCount')::bigint);

  IF jsonb_typeof(repository -> 'labels') = 'object' THEN
    PERFORM keypup.github_store_list(account, project, 'labels', repository -> 'labels', '[]');
  END IF;
  IF jsonb_typeof(repository -> 'milestones') = 'object' THEN
    PERFORM keypup.github_store_list(account, project, 'milestones', repository -> 'milestones', '[]');
  END IF;
  PERFORM keypup.github_take_stubs(account, project, 'pull_requests', repository -> 'pullRequests', true);
  PERFORM keypup.github_take_stubs(account, project, 'issues', repository -> 'issues', true);
  UPDATE keypup.sync_state s SET next_watermarks = s.next_watermarks || keypup.github_milestone_mark(repository)
  WHERE s.account_id = account AND s.project_id = project;
  PERFORM keypup.github_take_newest_deliveries(account, project, repository);
  PERFORM keypup.github_queue_rechecks(account, project);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_repository(uuid, bigint, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_store_repository(uuid, bigint, jsonb) IS 'Stores what a repository says of itself, and starts reading what changed in it.';

-- Pages of nested lists, as described at the top: rows in, rows that are gone out, next pages as jobs.
CREATE FUNCTION keypup.github_store_nested(account uuid, project bigint, repository text, pages jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  all_pages jsonb;
BEGIN
  -- A page of threads holds a page of comments for each thread.
  SELECT jsonb_agg(q.page) INTO all_pages
  FROM (
    SELECT e AS page FROM jsonb_array_elements(pages) e
    UNION ALL
    SELECT jsonb_build_object('item', 'thread', 'number', e -> 'number', 'node', t -> 'id', 'connection', 'comments', 'page', t -> 'comments', 'seen', '[]'::jsonb)
    FROM jsonb_array_elements(pages) e, jsonb_array_elements(e #> '{page,nodes}') t
    WHERE e ->> 'connection' = 'reviewThreads'
  ) AS q;

  INSERT INTO keypup.reviews AS r (account_id, project_id, pull_request_number, external_id, author, author_is_bot, state, submitted_at, updated_at, url)
  SELECT DISTINCT ON (g.number, n."fullDatabaseId") account, project, g.number, n."fullDatabaseId", n.author ->> 'login',
    coalesce(n.author ->> '__typename' = 'Bot', false), lower(n.state), n."submittedAt", n."updatedAt", n.url
  FROM jsonb_to_recordset(all_pages) AS g(number bigint, connection text, page jsonb),
    jsonb_to_recordset(g.page -> 'nodes') AS n("fullDatabaseId" text, author jsonb, state text, "submittedAt" timestamptz, "updatedAt" timestamptz, url text)
  WHERE g.connection = 'reviews' AND n.state <> 'PENDING'
  ON CONFLICT (account_id, project_id, pull_request_number, external_id) DO UPDATE
  SET author = excluded.author, author_is_bot = excluded.author_is_bot, state = excluded.state,
      submitted_at = excluded.submitted_at, updated_at = excluded.updated_at, url = excluded.url
  WHERE r.updated_at <= excluded.updated_at
    AND (r.author, r.author_is_bot, r.state, r.submitted_at, r.updated_at, r.url)
        IS DISTINCT FROM (excluded.author, excluded.author_is_bot, excluded.state, excluded.submitted_at, excluded.updated_at, excluded.url);

  INSERT INTO keypup.comments AS c (account_id, project_id, item_kind, item_number, external_id, author, author_is_bot, created_at, updated_at, url, review_external_id, thread_id)
  SELECT DISTINCT ON (g.number, g.item, n."fullDatabaseId") account, project, CASE g.item WHEN 'thread' THEN 'review' ELSE g.item END, g.number, n."fullDatabaseId",
    n.author ->> 'login', coalesce(n.author ->> '__typename' = 'Bot', false), n."createdAt", n."updatedAt", n.url,
    n."pullRequestReview" ->> 'fullDatabaseId', CASE g.item WHEN 'thread' THEN g.node END
  FROM jsonb_to_recordset(all_pages) AS g(item text, number bigint, node text, connection text, page jsonb),
    jsonb_to_recordset(g.page -> 'nodes') AS n(__typename text, "fullDatabaseId" text, author jsonb, "createdAt" timestamptz, "updatedAt" timestamptz, url text, "pullRequestReview" jsonb)
  WHERE g.connection = 'comments' OR (g.connection = 'timelineItems' AND n.__typename = 'IssueComment')
  ON CONFLICT (account_id, project_id, item_number, item_kind, external_id) DO UPDATE
  SET author = excluded.author, author_is_bot = excluded.author_is_bot, created_at = excluded.created_at, updated_at = excluded.updated_at,
      url = excluded.url, review_external_id = excluded.review_external_id, thread_id = excluded.thread_id
  WHERE c.updated_at <= excluded.updated_at
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

  -- Further pages of the short lists add to what the first page said.
  UPDATE keypup.pull_requests p
  SET labels = ARRAY(SELECT DISTINCT unnest(p.labels || g.labels) COLLATE "C" ORDER BY 1),
      assignees = ARRAY(SELECT DISTINCT unnest(p.assignees || g.assignees) COLLATE "C" ORDER BY 1),
      requested_reviewers = ARRAY(SELECT DISTINCT unnest(p.requested_reviewers || g.reviewers) COLLATE "C" ORDER BY 1),
      closes_issues = ARRAY(SELECT DISTINCT unnest(p.closes_issues || g.closes) ORDER BY 1)
  FROM (
    SELECT s.number,
      CASE WHEN s.connection = 'labels' THEN keypup.github_label_names(s.page -> 'nodes') END AS labels,
      CASE WHEN s.connection = 'assignees' THEN keypup.github_logins(s.page -> 'nodes') END AS assignees,
      CASE WHEN s.connection = 'reviewRequests' THEN keypup.github_reviewers(s.page -> 'nodes') END AS reviewers,
      CASE WHEN s.connection = 'closingIssuesReferences' THEN keypup.github_closing_numbers(s.page -> 'nodes', repository) END AS closes
    FROM jsonb_to_recordset(all_pages) AS s(item text, number bigint, connection text, page jsonb, after text)
    WHERE s.item = 'pull_request' AND s.after IS NOT NULL AND s.connection IN ('labels', 'assignees', 'reviewRequests', 'closingIssuesReferences')
  ) AS g
  WHERE p.account_id = account AND p.project_id = project AND p.number = g.number;

  UPDATE keypup.issues i
  SET labels = ARRAY(SELECT DISTINCT unnest(i.labels || g.labels) COLLATE "C" ORDER BY 1),
      assignees = ARRAY(SELECT DISTINCT unnest(i.assignees || g.assignees) COLLATE "C" ORDER BY 1)
  FROM (
    SELECT s.number,
      CASE WHEN s.connection = 'labels' THEN keypup.github_label_names(s.page -> 'nodes') END AS labels,
      CASE WHEN s.connection = 'assignees' THEN keypup.github_logins(s.page -> 'nodes') END AS assignees
    FROM jsonb_to_recordset(all_pages) AS s(item text, number bigint, connection text, page jsonb, after text)
    WHERE s.item = 'issue' AND s.after IS NOT NULL AND s.connection IN ('labels', 'assignees')
  ) AS g
  WHERE i.account_id = account AND i.project_id = project AND i.number = g.number;

  -- The last page of a list: stored rows that no page of it named are gone.
  WITH whole AS MATERIALIZED (
    SELECT g.item, g.number, g.node, g.connection,
      ARRAY(SELECT jsonb_array_elements_text(g.seen)) || ARRAY(SELECT coalesce(n ->> 'fullDatabaseId', n ->> 'id') FROM jsonb_array_elements(g.page -> 'nodes') n) AS ids
    FROM jsonb_to_recordset(all_pages) AS g(item text, number bigint, node text, connection text, page jsonb, seen jsonb)
    WHERE NOT (g.page #>> '{pageInfo,hasNextPage}')::boolean AND g.connection IN ('reviews', 'timelineItems', 'reviewThreads', 'comments')
  ), gone_reviews AS (
    DELETE FROM keypup.reviews r USING whole w
    WHERE r.account_id = account AND r.project_id = project AND r.pull_request_number = w.number
      AND w.connection = 'reviews' AND r.external_id <> ALL (w.ids)
  ), gone_events AS (
    DELETE FROM keypup.timeline_events t USING whole w
    WHERE t.account_id = account AND t.project_id = project AND t.item_number = w.number AND t.item_kind = w.item
      AND w.connection = 'timelineItems' AND t.external_id <> ALL (w.ids)
  )
  DELETE FROM keypup.comments c USING whole w
  WHERE c.account_id = account AND c.project_id = project AND c.item_number = w.number
    AND ((w.connection = 'timelineItems' AND c.item_kind = w.item AND c.external_id <> ALL (w.ids))
      OR (w.connection = 'comments' AND c.item_kind = 'review' AND c.thread_id = w.node AND c.external_id <> ALL (w.ids))
      OR (w.connection = 'reviewThreads' AND c.item_kind = 'review' AND c.thread_id <> ALL (w.ids)));

  PERFORM keypup.queue_job(account, project, 'nested_pages', q.arguments) FROM (
  SELECT jsonb_build_object('pages', jsonb_agg(w.page)) AS arguments
  FROM (
    SELECT jsonb_build_object('item', g.item, 'number', g.number, 'node', g.node, 'connection', g.connection, 'after', g.page #> '{pageInfo,endCursor}',
        'seen', g.seen || (SELECT coalesce(jsonb_agg(coalesce(n -> 'fullDatabaseId', n -> 'id')), '[]') FROM jsonb_array_elements(g.page -> 'nodes') n)) AS page,
      (row_number() OVER (ORDER BY g.number) - 1) / 20 AS part
    FROM jsonb_to_recordset(all_pages) AS g(item text, number bigint, node text, connection text, page jsonb, seen jsonb)
    WHERE (g.page #>> '{pageInfo,hasNextPage}')::boolean
  ) AS w
  GROUP BY w.part) AS q;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_nested(uuid, bigint, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_store_nested(uuid, bigint, text, jsonb) IS 'Stores pages of reviews, threads, comments, events and short lists.';

CREATE FUNCTION keypup.github_first_pages(item text, nodes jsonb, connections text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT coalesce(jsonb_agg(jsonb_build_object('item', item, 'number', n -> 'number', 'node', n -> 'id', 'connection', c, 'page', n -> c, 'seen', '[]'::jsonb)), '[]')
  FROM jsonb_array_elements(nodes) n, unnest(connections) c
  WHERE jsonb_typeof(n -> c) = 'object'
$$;
REVOKE ALL ON FUNCTION keypup.github_first_pages(text, jsonb, text[]) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_first_pages(text, jsonb, text[]) IS 'The nested lists of items, as github_store_nested takes them.';

CREATE FUNCTION keypup.github_store_pull_requests(account uuid, project bigint, repository text, nodes jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO keypup.pull_requests AS p (account_id, project_id, number, external_id, node_id, url, title, state, is_draft, author, author_is_bot,
    created_at, updated_at, closed_at, merged_at, merged_by, base_branch, head_branch, additions, deletions, changed_files, commit_count, first_commit_at,
    labels, assignees, requested_reviewers, milestone, closes_issues)
  SELECT DISTINCT ON (n.number) account, project, n.number, n."fullDatabaseId", n.id, n.url, n.title, lower(n.state), n."isDraft", n.author ->> 'login',
    coalesce(n.author ->> '__typename' = 'Bot', false), n."createdAt", n."updatedAt", n."closedAt", n."mergedAt", n."mergedBy" ->> 'login',
    n."baseRefName", n."headRefName", n.additions, n.deletions, n."changedFiles", (n.commits ->> 'totalCount')::bigint,
    (n.commits #>> '{nodes,0,commit,authoredDate}')::timestamptz, keypup.github_label_names(n.labels -> 'nodes'), keypup.github_logins(n.assignees -> 'nodes'),
    keypup.github_reviewers(n."reviewRequests" -> 'nodes'), n.milestone ->> 'title', keypup.github_closing_numbers(n."closingIssuesReferences" -> 'nodes', repository)
  FROM jsonb_to_recordset(nodes) AS n(number bigint, "fullDatabaseId" text, id text, url text, title text, state text, "isDraft" boolean, author jsonb,
    "createdAt" timestamptz, "updatedAt" timestamptz, "closedAt" timestamptz, "mergedAt" timestamptz, "mergedBy" jsonb, "baseRefName" text, "headRefName" text,
    additions bigint, deletions bigint, "changedFiles" bigint, commits jsonb, labels jsonb, assignees jsonb, "reviewRequests" jsonb, milestone jsonb, "closingIssuesReferences" jsonb)
  ON CONFLICT (account_id, project_id, number) DO UPDATE
  SET external_id = excluded.external_id, node_id = excluded.node_id, url = excluded.url, title = excluded.title, state = excluded.state, is_draft = excluded.is_draft,
    author = excluded.author, author_is_bot = excluded.author_is_bot, created_at = excluded.created_at, updated_at = excluded.updated_at,
    closed_at = excluded.closed_at, merged_at = excluded.merged_at, merged_by = excluded.merged_by, base_branch = excluded.base_branch, head_branch = excluded.head_branch,
    additions = excluded.additions, deletions = excluded.deletions, changed_files = excluded.changed_files, commit_count = excluded.commit_count,
    first_commit_at = excluded.first_commit_at, labels = excluded.labels, assignees = excluded.assignees, requested_reviewers = excluded.requested_reviewers,
    milestone = excluded.milestone, closes_issues = excluded.closes_issues, deleted_at = NULL
  WHERE p.updated_at <= excluded.updated_at
    AND (p.external_id, p.node_id, p.url, p.title, p.state, p.is_draft, p.author, p.author_is_bot, p.created_at, p.updated_at, p.closed_at, p.merged_at, p.merged_by,
      p.base_branch, p.head_branch, p.additions, p.deletions, p.changed_files, p.commit_count, p.first_commit_at, p.labels, p.assignees, p.requested_reviewers,
      p.milestone, p.closes_issues, p.deleted_at)
      IS DISTINCT FROM (excluded.external_id, excluded.node_id, excluded.url, excluded.title, excluded.state, excluded.is_draft, excluded.author,
      excluded.author_is_bot, excluded.created_at, excluded.updated_at, excluded.closed_at, excluded.merged_at, excluded.merged_by, excluded.base_branch,
      excluded.head_branch, excluded.additions, excluded.deletions, excluded.changed_files, excluded.commit_count, excluded.first_commit_at, excluded.labels,
      excluded.assignees, excluded.requested_reviewers, excluded.milestone, excluded.closes_issues, NULL::timestamptz);

  PERFORM keypup.github_store_nested(account, project, repository, keypup.github_first_pages('pull_request', nodes,
    '{labels,assignees,reviewRequests,reviews,timelineItems,closingIssuesReferences}'));

  -- Threads are read where there are any, or were; about 150 of them in a request.
  PERFORM keypup.queue_job(account, project, 'nested_pages', q.arguments) FROM (
    SELECT jsonb_build_object('pages', jsonb_agg(w.page)) AS arguments
    FROM (
      SELECT jsonb_build_object('item', 'pull_request', 'number', n.number, 'node', n.id, 'connection', 'reviewThreads', 'after', NULL,
          'count', n."reviewThreads" -> 'totalCount', 'seen', '[]'::jsonb) AS page,
        sum(least(50, (n."reviewThreads" ->> 'totalCount')::bigint + 1)) OVER (ORDER BY n.number) / 150 AS part
      FROM jsonb_to_recordset(nodes) AS n(number bigint, id text, "reviewThreads" jsonb)
      WHERE (n."reviewThreads" ->> 'totalCount')::bigint > 0
         OR EXISTS (SELECT FROM keypup.comments c WHERE c.account_id = account AND c.project_id = project AND c.item_number = n.number AND c.item_kind = 'review')
    ) AS w
    GROUP BY floor(w.part)) AS q;
  PERFORM keypup.derive_pull_requests(account, project, ARRAY(SELECT (n ->> 'number')::bigint FROM jsonb_array_elements(nodes) n));
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_pull_requests(uuid, bigint, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_store_pull_requests(uuid, bigint, text, jsonb) IS 'Stores a page of pull requests with the first pages of their lists.';

CREATE FUNCTION keypup.github_store_issues(account uuid, project bigint, repository text, nodes jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO keypup.issues AS i (account_id, project_id, number, external_id, node_id, url, title, state, state_reason, author, author_is_bot,
    created_at, updated_at, closed_at, labels, assignees, milestone)
  SELECT DISTINCT ON (n.number) account, project, n.number, n."fullDatabaseId", n.id, n.url, n.title, lower(n.state), lower(n."stateReason"), n.author ->> 'login',
    coalesce(n.author ->> '__typename' = 'Bot', false), n."createdAt", n."updatedAt", n."closedAt",
    keypup.github_label_names(n.labels -> 'nodes'), keypup.github_logins(n.assignees -> 'nodes'), n.milestone ->> 'title'
  FROM jsonb_to_recordset(nodes) AS n(number bigint, "fullDatabaseId" text, id text, url text, title text, state text, "stateReason" text, author jsonb,
    "createdAt" timestamptz, "updatedAt" timestamptz, "closedAt" timestamptz, labels jsonb, assignees jsonb, milestone jsonb)
  ON CONFLICT (account_id, project_id, number) DO UPDATE
  SET external_id = excluded.external_id, node_id = excluded.node_id, url = excluded.url, title = excluded.title, state = excluded.state,
    state_reason = excluded.state_reason, author = excluded.author, author_is_bot = excluded.author_is_bot, created_at = excluded.created_at,
    updated_at = excluded.updated_at, closed_at = excluded.closed_at, labels = excluded.labels, assignees = excluded.assignees,
    milestone = excluded.milestone, deleted_at = NULL
  WHERE i.updated_at <= excluded.updated_at
    AND (i.external_id, i.node_id, i.url, i.title, i.state, i.state_reason, i.author, i.author_is_bot, i.created_at, i.updated_at, i.closed_at, i.labels,
      i.assignees, i.milestone, i.deleted_at)
      IS DISTINCT FROM (excluded.external_id, excluded.node_id, excluded.url, excluded.title, excluded.state, excluded.state_reason, excluded.author,
      excluded.author_is_bot, excluded.created_at, excluded.updated_at, excluded.closed_at, excluded.labels, excluded.assignees, excluded.milestone, NULL::timestamptz);

  PERFORM keypup.github_store_nested(account, project, repository, keypup.github_first_pages('issue', nodes, '{labels,assignees,timelineItems}'));
  PERFORM keypup.derive_issues(account, project, ARRAY(SELECT (n ->> 'number')::bigint FROM jsonb_array_elements(nodes) n));
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_issues(uuid, bigint, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_store_issues(uuid, bigint, text, jsonb) IS 'Stores a page of issues with the first pages of their lists.';
