-- board/store.sql: what a page becomes in the tables, and what is asked next.

-- An issue's key in the tables is a number. A card has none: it gets the next of its project with its first reading,
-- and keeps it. The page holds its project, so that two do not get the same.
CREATE FUNCTION keypup.board_store_cards(account uuid, project bigint, nodes jsonb) RETURNS SETOF text
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  WITH card AS (
    SELECT n.*, i.number AS known
    FROM keypup.json_rows(nodes, '', '{id,title,done,author,owners,tags,created,updated,doneAt}'::text[])
      AS n (id text, title text, done boolean, author text, owners text[], tags text[],
        created timestamptz, updated timestamptz, done_at timestamptz)
    LEFT JOIN keypup.issues i ON i.account_id = account AND i.project_id = project AND i.external_id = n.id
  ), numbered AS (
    SELECT c.*, coalesce(c.known,
      (SELECT coalesce(max(i.number), 0) FROM keypup.issues i WHERE i.account_id = account AND i.project_id = project)
      + row_number() OVER (PARTITION BY c.known IS NULL ORDER BY c.created, c.id)) AS number
    FROM card c
  )
  SELECT keypup.store_issues(account, project, ARRAY(
    SELECT ROW(n.number, '#' || n.number, n.id, NULL, NULL, n.title, CASE WHEN n.done THEN 'closed'
      ELSE 'open' END, NULL,
      NULL, NULL, NULL, NULL, NULL, NULL, NULL, n.author, false, n.created, n.updated, n.done_at, n.tags, n.owners,
      NULL, '{}', '{}', false)::keypup.provided_issues
    FROM numbered n))
$$;

CREATE FUNCTION keypup.board_page(account uuid, job bigint, headers jsonb, reply jsonb, milliseconds integer,
  interval_seconds integer) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_job keypup.sync_jobs;
  seen jsonb;
BEGIN
  SELECT j.* INTO STRICT the_job FROM keypup.sync_jobs j WHERE j.account_id = account AND j.job_id = job;
  IF the_job.kind = 'project' THEN
    UPDATE keypup.projects p
    SET external_id = b.id, name = b.name, url = b.url, is_archived = b.archived,
      visibility = CASE WHEN b.private THEN 'private' ELSE 'public' END,
      has_issues = true, issue_total = b.total, pull_request_total = 0
    FROM jsonb_to_record(reply -> 'board')
      AS b (id text, name text, url text, archived boolean, private boolean, total bigint)
    WHERE p.account_id = account AND p.project_id = the_job.project_id;
    PERFORM keypup.store_labels(account, the_job.project_id, ARRAY(
      SELECT ROW(t.id, t.name, NULL, NULL, NULL)::keypup.provided_labels
      FROM jsonb_to_recordset(reply #> '{board,tags}') AS t (id text, name text)));
    -- Pages that were set aside are asked for again.
    PERFORM keypup.queue_job(account, the_job.project_id, 'cards', f.arguments, true, now(), false)
    FROM keypup.take_failures(account, the_job.project_id) AS f;
    PERFORM keypup.queue_job(account, the_job.project_id, 'cards', '{"seen": []}'::jsonb, true, now(), false);
    RETURN true;
  END IF;
  PERFORM keypup.board_store_cards(account, the_job.project_id, reply -> 'cards');
  seen := (the_job.arguments -> 'seen') || jsonb_path_query_array(reply, '$.cards[*].id');
  IF reply ->> 'cursor' IS NOT NULL THEN
    PERFORM keypup.queue_job(account, the_job.project_id, 'cards',
      the_job.arguments || jsonb_build_object('after', reply -> 'cursor', 'seen', seen), NULL::boolean, now(), false);
  ELSE
    -- Of a list that was read from its beginning to its end.
    UPDATE keypup.issues i SET deleted_at = now()
    WHERE i.account_id = account AND i.project_id = the_job.project_id AND i.deleted_at IS NULL AND NOT seen
      ? i.external_id;
  END IF;
  RETURN true;
END
$$;

-- A page of cards that is asked for in vain is asked for again by the next run, with what comes after it.
CREATE FUNCTION keypup.board_failures(account uuid, project bigint, kind text, arguments jsonb, failures jsonb)
  RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT jsonb_agg(jsonb_build_object('kind', kind, 'item_id', coalesce(arguments ->> 'after', ''), 'reason',
    f ->> 'why',
    'arguments', arguments - 'first'))
  FROM jsonb_array_elements(failures) AS f
$$;

SELECT keypup.check_provider('board');
REVOKE ALL ON FUNCTION keypup.board_post(text, text, jsonb), keypup.board_shapes(),
  keypup.board_store_cards(uuid, bigint, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.board_post(text, text, jsonb), keypup.board_shapes(),
  keypup.board_store_cards(uuid, bigint, jsonb) TO keypup_worker;
