-- provider/github/nested.sql: the nested lists of pull requests and issues: reviews, threads, comments and events,
-- which are rows of their own, and short lists, which stand in columns of their item: sorted names, or numbers.
--
-- An answer holds a page of each list of an item. A further page of one, wherever it was read, is written as an item
-- that has this list only: {item, number, node, connection, after, seen, LIST: page}. seen holds the ids, or names, of
-- its earlier pages, so that the last page can tell which stored rows are gone. A further page of the comments of a
-- thread has item "thread", and the thread as node.

-- What closes an issue names its repository, too: a number alone is one of the own.
CREATE FUNCTION keypup.github_closing_names(issues jsonb, repository text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT coalesce(array_agg(CASE WHEN e #>> '{repository,id}' = repository THEN e ->> 'number'
    ELSE (e #>> '{repository,id}') || ' ' || (e ->> 'number') END), '{}')
  FROM jsonb_array_elements(issues) AS e
$$;
CREATE FUNCTION keypup.github_closing_split(names text[], OUT here bigint[], OUT elsewhere text[])
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT coalesce(array_agg(DISTINCT n::bigint ORDER BY n::bigint) FILTER (WHERE strpos(n, ' ') = 0), '{}'),
    coalesce(array_agg(DISTINCT n COLLATE "C" ORDER BY n COLLATE "C") FILTER (WHERE strpos(n, ' ') > 0), '{}')
  FROM unnest(names) AS n
$$;
-- For all items of a page: most close nothing, and have no row.
CREATE FUNCTION keypup.github_closing(items jsonb, repository text, OUT number bigint, OUT here bigint[],
  OUT elsewhere text[])
RETURNS SETOF record
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 10 SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN QUERY
  SELECT n.item, array_agg(DISTINCT n.closes ORDER BY n.closes) FILTER (WHERE n.place = repository),
    array_agg(DISTINCT n.name COLLATE "C" ORDER BY n.name COLLATE "C") FILTER (WHERE n.place <> repository)
  FROM (
    SELECT r.item, r.closes, r.place, r.place || ' ' || r.closes AS name
    FROM keypup.json_rows(items, 'closingIssuesReferences.nodes', '{../number,number,repository.id}'::text[])
      AS r (item bigint, closes bigint, place text)
  ) AS n
  GROUP BY n.item;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_closing_names(jsonb, text), keypup.github_closing_split(text[]),
  keypup.github_closing(jsonb, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_closing_names(jsonb, text), keypup.github_closing_split(text[]),
  keypup.github_closing(jsonb, text) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_closing_names(jsonb, text) IS
  'Closing references: the number of an issue of this repository, id of the repository and number of one of another.';
COMMENT ON FUNCTION keypup.github_closing_split(text[]) IS
  'Names of closing references as the columns closes_issues and closes_elsewhere have them.';
COMMENT ON FUNCTION keypup.github_closing(jsonb, text) IS
  'What the pull requests of a page close, as the columns closes_issues and closes_elsewhere have it; NULL: nothing.';

CREATE FUNCTION keypup.github_short_list(connection text, page jsonb, repository text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (
    SELECT CASE connection WHEN 'labels' THEN l.labels WHEN 'assignees' THEN l.assignees
      WHEN 'reviewRequests' THEN l.reviewers
    ELSE keypup.github_closing_names(page -> 'nodes', repository) END
  FROM keypup.json_rows(jsonb_build_array(page), '',
    '{nodes.name,nodes.login,nodes.requestedReviewer.login|combinedSlug}'::text[])
    AS l (labels text[], assignees text[], reviewers text[]));
END
$$;
CREATE FUNCTION keypup.github_whole_short_lists(pages jsonb, repository text, OUT item text, OUT number bigint,
  OUT connection text, OUT names text[])
RETURNS SETOF record
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 1 SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN QUERY
  SELECT s.item, s.number, s.connection, ARRAY(
    SELECT n.name FROM (
      SELECT jsonb_array_elements_text(s.seen) UNION SELECT unnest(keypup.github_short_list(s.connection, p.page,
        repository))) AS n (name)
    ORDER BY n.name COLLATE "C")
  FROM jsonb_array_elements(pages) AS e (page)
  CROSS JOIN LATERAL jsonb_to_record(e.page) AS s(item text, number bigint, connection text, after text, seen jsonb)
  CROSS JOIN LATERAL (SELECT e.page -> s.connection) AS p (page)
  WHERE s.after IS NOT NULL AND NOT (p.page #>> '{pageInfo,hasNextPage}')::boolean
    AND s.connection IN ('labels', 'assignees', 'reviewRequests', 'closingIssuesReferences');
END
$$;
-- A name that changes while a short list is read: in the pages that wait, and in those that are about to be stored.
CREATE FUNCTION keypup.github_rename_seen(pages jsonb, lists text[], renamed jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT jsonb_agg(CASE WHEN p.page ->> 'connection' = ANY (lists)
      AND renamed ?| ARRAY(SELECT jsonb_array_elements_text(p.page -> 'seen'))
      THEN p.page || jsonb_build_object('seen', (
        SELECT jsonb_agg(keypup.new_name(s.name, renamed) ORDER BY s.position)
        FROM jsonb_array_elements_text(p.page -> 'seen') WITH ORDINALITY AS s (name, position)))
      ELSE p.page END ORDER BY p.position)
  FROM jsonb_array_elements(pages) WITH ORDINALITY AS p (page, position)
$$;
CREATE FUNCTION keypup.github_follow_seen(account uuid, projects bigint[], lists text[], old_names text[],
  new_names text[], rows jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  renamed jsonb := jsonb_object(old_names, new_names);
BEGIN
  IF old_names IS NULL THEN
    RETURN rows;
  END IF;
  UPDATE keypup.sync_jobs j
  SET arguments = j.arguments
    || jsonb_build_object('items', keypup.github_rename_seen(j.arguments -> 'items', lists, renamed))
  WHERE j.account_id = account AND j.project_id = ANY (projects) AND j.kind = 'nested_pages'
    AND EXISTS (SELECT FROM jsonb_array_elements(j.arguments -> 'items') AS p (page)
                WHERE p.page ->> 'connection' = ANY (lists)
                  AND renamed ?| ARRAY(SELECT jsonb_array_elements_text(p.page -> 'seen')));
  RETURN keypup.github_rename_seen(rows, lists, renamed);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_rename_seen(jsonb, text[], jsonb),
  keypup.github_follow_seen(uuid, bigint[], text[], text[], text[], jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_rename_seen(jsonb, text[], jsonb),
  keypup.github_follow_seen(uuid, bigint[], text[], text[], text[], jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_rename_seen(jsonb, text[], jsonb) IS
  'Pages of nested lists, with new names in what those before them told.';
COMMENT ON FUNCTION keypup.github_follow_seen(uuid, bigint[], text[], text[], text[], jsonb) IS
  'Carries new names through the pages of short lists that wait; returns rows that are being stored with them.';
CREATE FUNCTION keypup.github_keep(names text[], stored text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT ARRAY(SELECT DISTINCT n.name COLLATE "C" FROM unnest(names || stored) AS n (name) ORDER BY 1) $$;
REVOKE ALL ON FUNCTION keypup.github_short_list(text, jsonb, text), keypup.github_whole_short_lists(jsonb, text),
  keypup.github_keep(text[], text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_short_list(text, jsonb, text), keypup.github_whole_short_lists(jsonb, text),
  keypup.github_keep(text[], text[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_short_list(text, jsonb, text) IS
  'What stands in an item of a page of labels, assignees, review requests or closing references: sorted logins, '
  'organization/name of teams, names or numbers. Deleted users, and teams that the token may not read, have none.';
COMMENT ON FUNCTION keypup.github_whole_short_lists(jsonb, text) IS
  'The short lists of which pages hold the last page, whole.';
COMMENT ON FUNCTION keypup.github_keep(text[], text[]) IS 'The names of a first page, and those that are stored.';

-- A short list with further pages stands in its item once all of it is known: seen has what the pages before the last
-- one held.
CREATE FUNCTION keypup.github_store_short_lists(account uuid, project bigint, repository text, pages jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE keypup.pull_requests p
  SET labels = g.labels, assignees = g.assignees, requested_reviewers = g.reviewers, closes_issues = g.closes_issues,
    closes_elsewhere = g.closes_elsewhere
  FROM (
    SELECT w.number, coalesce(w.labels, w.o_labels) AS labels, coalesce(w.assignees, w.o_assignees) AS assignees,
      coalesce(w.reviewers, w.requested_reviewers) AS reviewers,
      CASE WHEN w.closes IS NULL THEN w.closes_issues ELSE c.here END AS closes_issues,
      CASE WHEN w.closes IS NULL THEN w.closes_elsewhere ELSE c.elsewhere END AS closes_elsewhere
    FROM (
      SELECT o.number, o.labels AS o_labels, o.assignees AS o_assignees, o.requested_reviewers, o.closes_issues,
        o.closes_elsewhere, max(l.names) FILTER (WHERE l.connection = 'labels') AS labels,
        max(l.names) FILTER (WHERE l.connection = 'assignees') AS assignees,
        max(l.names) FILTER (WHERE l.connection = 'reviewRequests') AS reviewers,
        max(l.names) FILTER (WHERE l.connection = 'closingIssuesReferences') AS closes
      FROM keypup.github_whole_short_lists(pages, repository) l
      JOIN keypup.pull_requests o ON l.item = 'pull_request' AND o.account_id = account AND o.project_id = project
        AND o.number = l.number
      GROUP BY o.account_id, o.project_id, o.number
    ) AS w
    CROSS JOIN LATERAL keypup.github_closing_split(w.closes) AS c
  ) AS g
  WHERE p.account_id = account AND p.project_id = project AND p.number = g.number
    AND (p.labels, p.assignees, p.requested_reviewers, p.closes_issues, p.closes_elsewhere)
      IS DISTINCT FROM (g.labels, g.assignees, g.reviewers, g.closes_issues, g.closes_elsewhere);

  UPDATE keypup.issues i
  SET labels = g.labels, assignees = g.assignees
  FROM (
    SELECT o.number, coalesce(max(l.names) FILTER (WHERE l.connection = 'labels'), o.labels) AS labels,
      coalesce(max(l.names) FILTER (WHERE l.connection = 'assignees'), o.assignees) AS assignees
    FROM keypup.github_whole_short_lists(pages, repository) l
    JOIN keypup.issues o ON l.item = 'issue' AND o.account_id = account AND o.project_id = project
      AND o.number = l.number
    GROUP BY o.number, o.labels, o.assignees
  ) AS g
  WHERE i.account_id = account AND i.project_id = project AND i.number = g.number
    AND (i.labels, i.assignees) IS DISTINCT FROM (g.labels, g.assignees);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_short_lists(uuid, bigint, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_store_short_lists(uuid, bigint, text, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_store_short_lists(uuid, bigint, text, jsonb) IS
  'Stores the short lists of which pages hold the last page.';

-- kind, here and below: issue or pull_request, of which items are; or NULL for further pages, of which each says it.
-- The last page of a list: stored rows that no page of it named are gone.
CREATE FUNCTION keypup.github_forget_nested(account uuid, project bigint, kind text, items jsonb, numbers bigint[])
  RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  events boolean := kind IS NOT NULL OR items @? '$[*].timelineItems';
  reviews boolean := kind = 'pull_request' OR items @? '$[*].reviews';
  commits boolean := kind = 'pull_request' OR items @? '$[*].commits';
  comments text[] := CASE WHEN kind IS NOT NULL THEN ARRAY[kind] WHEN events THEN '{issue,pull_request,review}'
    ELSE '{review}' END;
BEGIN
  -- Most are new: nothing is stored of their lists.
  IF NOT EXISTS (SELECT FROM keypup.comments c
                 WHERE c.account_id = account AND c.project_id = project AND c.item_number = ANY (numbers)
                   AND c.item_kind = ANY (comments))
     AND NOT (events AND EXISTS (SELECT FROM keypup.timeline_events t
                                 WHERE t.account_id = account AND t.project_id = project
                                   AND t.item_number = ANY (numbers)))
     AND NOT (reviews AND EXISTS (SELECT FROM keypup.reviews r
                                  WHERE r.account_id = account AND r.project_id = project
                                    AND r.pull_request_number = ANY (numbers)))
     AND NOT (commits AND EXISTS (SELECT FROM keypup.pull_request_commits m
                                  WHERE m.account_id = account AND m.project_id = project
                                    AND m.pull_request_number = ANY (numbers))) THEN
    RETURN;
  END IF;
  WITH item AS MATERIALIZED (
    SELECT n.number, coalesce(kind, n.item) AS item, n.node, CASE WHEN kind IS NULL THEN n.seen ELSE '{}' END AS seen,
      n.reviews, n.reviews_go_on, n.commits, n.commits_go_on, n.events, n.events_go_on, n.threads, CASE
        WHEN kind IS NULL THEN n.threads_go_on END AS threads_go_on, n.comments, CASE
        WHEN kind IS NULL THEN n.comments_go_on END AS comments_go_on
    FROM keypup.json_rows(items, '', ('{number,item,node,seen,reviews.nodes.fullDatabaseId|id,'
      'reviews.pageInfo.hasNextPage,commits.nodes.id,commits.pageInfo.hasNextPage,'
        'timelineItems.nodes.fullDatabaseId|id,timelineItems.pageInfo.hasNextPage,reviewThreads.nodes.id,'
        'reviewThreads.pageInfo.hasNextPage,'
        'comments.nodes.fullDatabaseId|id,comments.pageInfo.hasNextPage}')::text[])
      AS n (number bigint, item text, node text, seen text[], reviews text[], reviews_go_on boolean, commits text[],
        commits_go_on boolean, events text[], events_go_on boolean, threads text[], threads_go_on boolean,
        comments text[], comments_go_on boolean)
  ), whole (number, item, connection, node, ids) AS MATERIALIZED (
    SELECT i.number, i.item, 'reviews', NULL, i.seen || i.reviews FROM item i WHERE NOT i.reviews_go_on
    UNION ALL
    SELECT i.number, i.item, 'commits', NULL, i.seen || i.commits FROM item i WHERE NOT i.commits_go_on
    UNION ALL
    SELECT i.number, i.item, 'timelineItems', NULL, i.seen || i.events FROM item i WHERE NOT i.events_go_on
    UNION ALL
    SELECT i.number, i.item, 'reviewThreads', NULL, i.seen || i.threads FROM item i WHERE NOT i.threads_go_on
    UNION ALL
    SELECT i.number, i.item, 'comments', i.node, i.seen || i.comments FROM item i WHERE NOT i.comments_go_on
    UNION ALL
    SELECT t.number, 'thread', 'comments', t.node, t.comments
    FROM keypup.json_rows(items, 'reviewThreads.nodes', '{../number,id,comments.nodes.fullDatabaseId|id,'
      'comments.pageInfo.hasNextPage}'::text[])
      AS t (number bigint, node text, comments text[], go_on boolean)
    WHERE kind IS NULL AND NOT t.go_on
  ), gone_reviews AS (
    DELETE FROM keypup.reviews r USING whole w
    WHERE r.account_id = account AND r.project_id = project AND r.pull_request_number = ANY (numbers)
      AND r.pull_request_number = w.number
      AND w.connection = 'reviews' AND r.external_id <> ALL (w.ids)
  ), gone_commits AS (
    DELETE FROM keypup.pull_request_commits m USING whole w
    WHERE m.account_id = account AND m.project_id = project AND m.pull_request_number = ANY (numbers)
      AND m.pull_request_number = w.number
      AND w.connection = 'commits' AND m.external_id <> ALL (w.ids)
  ), gone_events AS (
    DELETE FROM keypup.timeline_events t USING whole w
    WHERE t.account_id = account AND t.project_id = project AND t.item_number = ANY (numbers)
      AND t.item_number = w.number AND t.item_kind = w.item
      AND w.connection = 'timelineItems' AND t.external_id <> ALL (w.ids)
  )
  DELETE FROM keypup.comments c USING whole w
  WHERE c.account_id = account AND c.project_id = project AND c.item_number = ANY (numbers) AND c.item_number = w.number
    AND ((w.connection = 'timelineItems' AND c.item_kind = w.item AND c.external_id <> ALL (w.ids))
      OR (w.connection = 'comments' AND c.item_kind = 'review' AND c.thread_id = w.node
        AND c.external_id <> ALL (w.ids))
      OR (w.connection = 'reviewThreads' AND c.item_kind = 'review' AND c.thread_id <> ALL (w.ids)));
END
$$;
REVOKE ALL ON FUNCTION keypup.github_forget_nested(uuid, bigint, text, jsonb, bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_forget_nested(uuid, bigint, text, jsonb, bigint[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_forget_nested(uuid, bigint, text, jsonb, bigint[]) IS
  'Deletes the reviews, commits, comments and events that whole lists of items lack.';

-- A list that never ends: its next page begins where this one did, or this one told nothing that those before had not.
-- Of some lists a page may tell nothing that is kept, or nothing by which it could be known again: of these it is too
-- many pages. What the pages told is carried along, and must not fill the memory.
CREATE FUNCTION keypup.github_is_stuck(connection text, after text, next_after text, seen jsonb, ids jsonb, nth bigint)
  RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT coalesce(after IS NOT NULL AND (after = next_after
    OR CASE WHEN connection IN ('reviewRequests', 'closingIssuesReferences', 'statuses') THEN nth >= 50
            ELSE seen @> ids OR nth >= 1000 END
    OR octet_length(seen::text) > 1024 * 1024), false)
$$;
-- Sets what is stuck aside; the other pages are asked for.
CREATE FUNCTION keypup.github_going_on(account uuid, project bigint, pages jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF (pages @? '$[*] ? (@.is_stuck == true)') IS NOT TRUE THEN
    RETURN pages;
  END IF;
  PERFORM keypup.set_aside(account, project, keypup.github_failures(account, project, 'nested_pages', '{}'::jsonb, (
    SELECT jsonb_agg(jsonb_build_object('asked', p.page, 'why',
      'GitHub''s list does not go on: ' || CASE WHEN octet_length(p.page ->> 'seen') > 1024 * 1024
        THEN 'what it has is too much to be remembered' ELSE 'its next page is one that was read before' END))
    FROM jsonb_array_elements(pages) AS p (page) WHERE p.page @> '{"is_stuck": true}')));
  RETURN nullif(jsonb_path_query_array(pages, '$[*] ? (!(@.is_stuck == true))'), '[]');
END
$$;
REVOKE ALL ON FUNCTION keypup.github_is_stuck(text, text, text, jsonb, jsonb, bigint),
  keypup.github_going_on(uuid, bigint, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_is_stuck(text, text, text, jsonb, jsonb, bigint),
  keypup.github_going_on(uuid, bigint, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_is_stuck(text, text, text, jsonb, jsonb, bigint) IS
  'Whether a page of a nested list, its nth, leads nowhere. seen: the ids, or names, of the pages before; ids: its '
  'own.';
COMMENT ON FUNCTION keypup.github_going_on(uuid, bigint, jsonb) IS
  'The pages but for those of lists that never end, which are set aside; NULL: none.';

-- What is asked for next: the further pages of lists that go on, as described at the top.
CREATE FUNCTION keypup.github_further_pages(kind text, items jsonb, repository text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  -- Nearly all end with their first page.
  IF NOT EXISTS (
    SELECT FROM keypup.json_rows(items, '', ('{labels.pageInfo.hasNextPage,assignees.pageInfo.hasNextPage,'
      'reviewRequests.pageInfo.hasNextPage,'
        'reviews.pageInfo.hasNextPage,commits.pageInfo.hasNextPage,'
        'timelineItems.pageInfo.hasNextPage,closingIssuesReferences.pageInfo.hasNextPage,'
        'reviewThreads.pageInfo.hasNextPage,comments.pageInfo.hasNextPage}')::text[])
      AS n (labels boolean, assignees boolean, requests boolean, reviews boolean, commits boolean, events boolean,
        issues boolean, threads boolean, comments boolean)
    WHERE n.labels OR n.assignees OR n.requests OR n.reviews OR n.commits OR n.events OR n.issues OR n.threads
      OR n.comments)
    AND NOT EXISTS (SELECT
      FROM keypup.json_rows(items, 'reviewThreads.nodes',
      '{comments.pageInfo.hasNextPage}'::text[]) AS n (go_on boolean) WHERE n.go_on) THEN
    RETURN NULL;
  END IF;
  RETURN (
    WITH list AS (
      SELECT coalesce(kind, e.item ->> 'item') AS item, e.item -> 'number' AS number,
        e.item -> CASE WHEN kind IS NULL THEN 'node' ELSE 'id' END AS node,
        c.connection, e.item -> c.connection AS page,
        CASE WHEN kind IS NULL THEN e.item -> 'seen' ELSE '[]' END AS seen,
        CASE WHEN kind IS NULL THEN e.item ->> 'after' END AS after,
        CASE WHEN kind IS NULL THEN (e.item ->> 'nth')::bigint END AS nth
      FROM jsonb_array_elements(items) AS e (item)
      CROSS JOIN LATERAL unnest(CASE kind WHEN 'issue' THEN '{labels,assignees,timelineItems}'::text[]
        WHEN 'pull_request'
          THEN '{labels,assignees,reviewRequests,reviews,commits,timelineItems,closingIssuesReferences}'
        ELSE ARRAY[e.item ->> 'connection'] END) AS c (connection)
      UNION ALL
      SELECT 'thread', e.item -> 'number', t -> 'id', 'comments', t -> 'comments', '[]', NULL, NULL
      FROM jsonb_array_elements(items) AS e (item), jsonb_array_elements(e.item #> '{reviewThreads,nodes}') AS t
      WHERE kind IS NULL
    )
    SELECT jsonb_agg(jsonb_build_object('item', l.item, 'number', l.number, 'node', l.node, 'connection', l.connection,
      'after', l.page #> '{pageInfo,endCursor}',
      'seen', l.seen || i.ids, 'nth', coalesce(l.nth, 1) + 1,
      'is_stuck', keypup.github_is_stuck(l.connection, l.after, l.page #>> '{pageInfo,endCursor}', l.seen, i.ids,
        l.nth)) ORDER BY l.number)
    FROM list l
    CROSS JOIN LATERAL (
      SELECT CASE WHEN l.connection IN ('labels', 'assignees', 'reviewRequests', 'closingIssuesReferences')
        THEN to_jsonb(keypup.github_short_list(l.connection, l.page, repository))
        ELSE (SELECT coalesce(jsonb_agg(coalesce(n -> 'fullDatabaseId', n -> 'id')), '[]')
          FROM jsonb_array_elements(l.page -> 'nodes') n) END AS ids
    ) AS i
    WHERE (l.page #>> '{pageInfo,hasNextPage}')::boolean);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_further_pages(text, jsonb, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_further_pages(text, jsonb, text) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_further_pages(text, jsonb, text) IS
  'The pages of nested lists of items that come next; NULL: none.';

-- Returns what is asked for next.
CREATE FUNCTION keypup.github_store_nested(account uuid, project bigint, repository text, kind text, items jsonb)
  RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  -- Before others come, since in a first reading there are none.
  PERFORM keypup.github_forget_nested(account, project, kind, items,
    ARRAY(SELECT DISTINCT n.number FROM keypup.json_rows(items, '', '{number}'::text[]) AS n (number bigint)));

  PERFORM keypup.store_reviews(account, project, ARRAY(
    SELECT ROW(n.number, n.id, n.author, coalesce(n.author_type = 'Bot', false), lower(n.state COLLATE "C"),
      n.submitted_at, n.updated_at, n.url)::keypup.provided_reviews
    FROM keypup.json_rows(items, 'reviews.nodes', '{../number,fullDatabaseId,author.login,author.__typename,state,'
      'submittedAt,updatedAt,url}'::text[])
      AS n (number bigint, id text, author text, author_type text, state text, submitted_at timestamptz,
        updated_at timestamptz, url text)
    WHERE n.state <> 'PENDING'));

  PERFORM keypup.store_pull_request_commits(account, project, ARRAY(
    SELECT ROW(n.number, n.id, n.commit_id, n.author, coalesce(n.author_type = 'Bot' OR n.author LIKE '%[bot]', false),
      n.authored_at)::keypup.provided_pull_request_commits
    FROM keypup.json_rows(items, 'commits.nodes', '{../number,id,commit.oid,commit.author.user.login,'
      'commit.author.user.__typename,commit.authoredDate}'::text[])
      AS n (number bigint, id text, commit_id text, author text, author_type text, authored_at timestamptz)));

  PERFORM keypup.store_comments(account, project, ARRAY(
    SELECT ROW(n.item, n.number, n.id, n.author, coalesce(n.author_type = 'Bot', false), n.created_at, n.updated_at,
      n.url, n.review, n.thread)::keypup.provided_comments
    FROM (
      SELECT t.number, coalesce(kind, t.item) AS item, t.id, t.author, t.author_type, t.created_at, t.updated_at, t.url,
        NULL AS review, NULL AS thread
      FROM keypup.json_rows(items, 'timelineItems.nodes',
          ('{__typename,../number,../item,fullDatabaseId,author.login,author.__typename,'
            'createdAt,updatedAt,url}')::text[])
        AS t (type text, number bigint, item text, id text, author text, author_type text, created_at timestamptz,
          updated_at timestamptz, url text)
      WHERE t.type = 'IssueComment'
      UNION ALL
      SELECT t.number, 'review', t.id, t.author, t.author_type, t.created_at, t.updated_at, t.url, t.review, t.thread
      FROM keypup.json_rows(items, 'reviewThreads.nodes.comments.nodes',
          '{../../number,../id,fullDatabaseId,author.login,author.__typename,createdAt,updatedAt,url,'
          'pullRequestReview.fullDatabaseId}'::text[])
        AS t (number bigint, thread text, id text, author text, author_type text, created_at timestamptz,
          updated_at timestamptz, url text, review text)
      WHERE kind IS NULL
      UNION ALL
      SELECT t.number, 'review', t.id, t.author, t.author_type, t.created_at, t.updated_at, t.url, t.review, t.thread
      FROM keypup.json_rows(items, 'comments.nodes',
          '{../number,../node,fullDatabaseId,author.login,author.__typename,createdAt,updatedAt,url,'
          'pullRequestReview.fullDatabaseId}'::text[])
        AS t (number bigint, thread text, id text, author text, author_type text, created_at timestamptz,
          updated_at timestamptz, url text, review text)
      WHERE kind IS NULL
    ) AS n));

  PERFORM keypup.store_timeline_events(account, project, ARRAY(
    SELECT ROW(coalesce(kind, n.item), n.number, n.id,
      CASE n.type WHEN 'ReadyForReviewEvent' THEN 'ready_for_review' WHEN 'ConvertToDraftEvent' THEN 'convert_to_draft'
        WHEN 'ReviewRequestedEvent' THEN 'review_requested' WHEN 'ReviewRequestRemovedEvent'
          THEN 'review_request_removed'
        WHEN 'ReviewDismissedEvent' THEN 'review_dismissed'
        WHEN 'LabeledEvent' THEN 'labeled' WHEN 'UnlabeledEvent' THEN 'unlabeled'
        WHEN 'AssignedEvent' THEN 'assigned' WHEN 'UnassignedEvent' THEN 'unassigned' WHEN 'MergedEvent' THEN 'merged'
        WHEN 'ClosedEvent' THEN 'closed' WHEN 'ReopenedEvent' THEN 'reopened' END,
      n.actor, coalesce(n.reviewer, n.assignee, n.dismissed),
      coalesce(n.label, lower(n.state COLLATE "C")), coalesce(n.label_name, n.review), NULL,
      n.at)::keypup.provided_timeline_events
    FROM keypup.json_rows(items, 'timelineItems.nodes',
        ('{__typename,../number,../item,id,actor.login,requestedReviewer.login|combinedSlug,assignee.login,'
          'review.author.login,previousReviewState,review.fullDatabaseId,label.id,label.name,createdAt}')::text[])
      AS n (type text, number bigint, item text, id text, actor text, reviewer text, assignee text, dismissed text,
        state text, review text, label text, label_name text, at timestamptz)
    WHERE n.type <> 'IssueComment'));

  IF kind IS NULL THEN
    PERFORM keypup.github_store_short_lists(account, project, repository, items);
  END IF;
  RETURN keypup.github_further_pages(kind, items, repository);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_nested(uuid, bigint, text, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_store_nested(uuid, bigint, text, text, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_store_nested(uuid, bigint, text, text, jsonb) IS
  'Stores reviews, commits, comments and events of items, and further pages of their lists. Returns the pages that '
  'come next; NULL: none.';
