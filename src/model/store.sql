-- model/store.sql: how rows get into the tables of the model, one way for each table and all providers: a provider
-- makes rows of type provided_TABLE, and store_TABLE writes what is new or has changed. The type has the columns of the
-- table in their order, but for the account and the project, for what is derived from other rows, and for deleted_at.
-- Both are made from the table: it alone says what its columns are. What nobody could store without guessing is an
-- error: a list with a NULL in it, and two things of a page that have one number.

-- o.number, o.key: names of columns, of a table of that alias.
CREATE FUNCTION keypup.column_list(names text[], alias text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT string_agg(concat(alias || '.', quote_ident(u.name)), ', ' ORDER BY u.position)
  FROM unnest(names) WITH ORDINALITY AS u (name, position)
$$;
REVOKE ALL ON FUNCTION keypup.column_list(text[], text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.column_list(text[], text) IS 'Names of columns, quoted, with commas between.';

-- The statements of a store function that refuse what is no page: lists: its columns of lists.
CREATE FUNCTION keypup.page_checks(name text, lists text[], goes_by_number boolean) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT concat(
    format($check$
      SELECT r.external_id, l.name INTO wrong
      FROM unnest(rows) AS r CROSS JOIN LATERAL (SELECT coalesce(%2$s)) AS l (name) WHERE l.name IS NOT NULL LIMIT 1;
      IF FOUND THEN
        RAISE EXCEPTION '%% of "%%" in a page of %1$s has a NULL', wrong.name, wrong.external_id
          USING ERRCODE = 'null_value_not_allowed';
      END IF;$check$, name,
      (SELECT string_agg(format('CASE WHEN array_position(r.%1$I, NULL) IS NOT NULL THEN %1$L END', u.list), ', ')
       FROM unnest(lists) AS u (list))),
    CASE WHEN goes_by_number THEN format($check$
      SELECT r.number, min(r.external_id COLLATE "C") AS one, max(r.external_id COLLATE "C") AS another INTO wrong
      FROM unnest(rows) AS r GROUP BY r.number HAVING count(DISTINCT r.external_id COLLATE "C") > 1 LIMIT 1;
      IF FOUND THEN
        RAISE EXCEPTION '"%%" and "%%" in a page of %1$s have the same number %%', wrong.one, wrong.another,
          wrong.number USING ERRCODE = 'cardinality_violation';
      END IF;$check$, name) END)
$$;
REVOKE ALL ON FUNCTION keypup.page_checks(text, text[], boolean) FROM PUBLIC;
COMMENT ON FUNCTION keypup.page_checks(text, text[], boolean) IS 'What a store function does first.';

-- derivation: a call that gives the derived columns of a row r, where they follow from rows that were stored before it;
-- otherwise whoever stores these fills the columns.
CREATE FUNCTION keypup.define_store(stored regclass, derived text[] DEFAULT '{}', derivation text DEFAULT NULL)
  RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  name text := (SELECT c.relname FROM pg_class c WHERE c.oid = stored);
  keys text[];
  keys_in_order text;
  provided text[];
  written text[];
  lists text[];
  deleted_at text[];
  has_times boolean;
  values_of_rows text;
BEGIN
  SELECT array_agg(a.attname ORDER BY p.position),
    string_agg(format('r.%I', a.attname) || CASE a.atttypid WHEN 'text'::regtype THEN ' COLLATE "C"' ELSE '' END, ', '
      ORDER BY p.position)
  INTO keys, keys_in_order
  FROM pg_index i
  CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS p (attnum, position)
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = p.attnum
  WHERE i.indrelid = stored AND i.indisprimary AND a.attname NOT IN ('account_id', 'project_id');
  SELECT array_agg(a.attname ORDER BY a.attnum) FILTER (WHERE a.attname <> 'deleted_at'),
    array_agg(a.attname ORDER BY a.attnum) FILTER (WHERE t.typcategory = 'A'),
    coalesce(array_agg(a.attname) FILTER (WHERE a.attname = 'deleted_at'), '{}'), bool_or(a.attname = 'updated_at')
  INTO provided, lists, deleted_at, has_times
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
  WHERE a.attrelid = stored AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    AND a.attname NOT IN ('account_id', 'project_id') AND a.attname <> ALL (derived);
  -- author_is_bot says of author what the provider does, or somebody with mark_bot.
  SELECT string_agg(CASE WHEN u.name ~ '_is_bot$'
      THEN format('r.%I OR coalesce(r.%I = ANY (marked), false)', u.name, regexp_replace(u.name, '_is_bot$', ''))
      ELSE format('r.%I', u.name) END, ', ' ORDER BY u.position)
  INTO values_of_rows
  FROM unnest(provided) WITH ORDINALITY AS u (name, position);
  written := provided;
  IF derivation IS NOT NULL THEN
    written := provided || derived;
    values_of_rows := values_of_rows || ', ' || keypup.column_list(derived, 'd');
  END IF;

  EXECUTE format('CREATE TYPE keypup.provided_%s AS (%s)', name, (
    SELECT string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum)
    FROM pg_attribute a WHERE a.attrelid = stored AND a.attname = ANY (provided)));
  EXECUTE format($definition$
    CREATE FUNCTION keypup.store_%1$s(account uuid, project bigint, rows keypup.provided_%1$s[]) RETURNS SETOF text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $body$
    DECLARE
      wrong record;
      marked text[];
    BEGIN
      -- Most items have no reviews, say.
      IF coalesce(cardinality(rows), 0) = 0 THEN
        RETURN;
      END IF;%2$s%12$s
      RETURN QUERY
      INSERT INTO keypup.%1$s AS o (account_id, project_id, %3$s)
      SELECT DISTINCT ON (%4$s) account, project, %5$s FROM unnest(rows) AS r%13$s ORDER BY %4$s%6$s
      ON CONFLICT (account_id, project_id, %7$s) DO UPDATE
      SET (%8$s) = ROW(%9$s)
      WHERE %10$s(%11$s) IS DISTINCT FROM (%9$s)
      RETURNING o.external_id;
    END
    $body$ $definition$,
    name, CASE WHEN lists IS NOT NULL THEN keypup.page_checks(name, lists, keys = '{number}') ELSE '' END,
    keypup.column_list(written, NULL), keys_in_order, values_of_rows,
    -- Of what a page has twice, the newer.
    CASE WHEN has_times THEN ', r.updated_at DESC NULLS LAST' ELSE '' END,
    keypup.column_list(keys, NULL),
    -- What is stored again is there.
    keypup.column_list(written || deleted_at, NULL),
    keypup.column_list(written, 'excluded') || CASE WHEN deleted_at <> '{}' THEN ', NULL::timestamptz' ELSE '' END,
    -- Who has no time is taken as it comes. A time of the future would keep all others out until then, and one of
    -- another thing that had the number before says nothing.
    CASE WHEN has_times THEN $guard$NOT coalesce(excluded.updated_at < o.updated_at AND o.external_id
        = excluded.external_id AND o.updated_at <= now() + interval '1 day', false) AND $guard$ ELSE '' END,
    keypup.column_list(written || deleted_at, 'o'),
    CASE WHEN values_of_rows LIKE '%(marked)%' THEN $marks$
      marked := keypup.marked_bots(account, project);$marks$ ELSE '' END,
    coalesce(' CROSS JOIN LATERAL ' || derivation || ' AS d', ''));

  EXECUTE format('REVOKE ALL ON TYPE keypup.provided_%s FROM PUBLIC', name);
  EXECUTE format('REVOKE ALL ON FUNCTION keypup.store_%1$s(uuid, bigint, keypup.provided_%1$s[]) FROM PUBLIC', name);
  EXECUTE format('GRANT USAGE ON TYPE keypup.provided_%s TO keypup_worker', name);
  EXECUTE format(
    'GRANT EXECUTE ON FUNCTION keypup.store_%1$s(uuid, bigint, keypup.provided_%1$s[]) TO keypup_worker', name);
  EXECUTE format('COMMENT ON TYPE keypup.provided_%1$s IS %2$L', name,
    format('What a provider gives of a row of keypup.%s.', name));
  EXECUTE format('COMMENT ON FUNCTION keypup.store_%1$s(uuid, bigint, keypup.provided_%1$s[]) IS %2$L', name,
    format('Stores rows of keypup.%s, of a project, unless newer ones are there. Returns external_id of those that are '
      'new or were changed.', name));
END
$$;
REVOKE ALL ON FUNCTION keypup.define_store(regclass, text[], text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.define_store(regclass, text[], text) IS
  'Makes type provided_TABLE and function store_TABLE of a table of the model; derived: columns that no provider '
  'gives, derivation: what gives them.';

-- An answer that was overtaken by a later one tells nothing of an item's lists, either: the rule is that of the store
-- function.
CREATE FUNCTION keypup.overtaken_items(account uuid, project bigint, kind text, numbers bigint[], ids text[],
  times timestamptz[]) RETURNS bigint[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN ARRAY(
    SELECT n.number
    FROM unnest(numbers, ids, times) AS n (number, external_id, updated_at)
    CROSS JOIN LATERAL (
      SELECT p.external_id, p.updated_at FROM keypup.pull_requests p
      WHERE kind = 'pull_requests' AND p.account_id = account AND p.project_id = project AND p.number = n.number
      UNION ALL
      SELECT i.external_id, i.updated_at FROM keypup.issues i
      WHERE kind = 'issues' AND i.account_id = account AND i.project_id = project AND i.number = n.number
      LIMIT 1
    ) AS o
    WHERE o.updated_at > n.updated_at AND o.external_id = n.external_id
      AND o.updated_at <= now() + interval '1 day');
END
$$;
REVOKE ALL ON FUNCTION keypup.overtaken_items(uuid, bigint, text, bigint[], text[], timestamptz[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.overtaken_items(uuid, bigint, text, bigint[], text[], timestamptz[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.overtaken_items(uuid, bigint, text, bigint[], text[], timestamptz[]) IS
  'The numbers of those pull_requests or issues of which something newer is stored than was read at these times. ids: '
  'their external_id.';

SELECT keypup.define_store('keypup.labels', '{named_at}');
SELECT keypup.define_store('keypup.milestones', '{open_items,closed_items,named_at}');
SELECT keypup.define_store('keypup.sprints');
SELECT keypup.define_store('keypup.pull_requests',
  '{ready_at,draft_spans,review_requested_at,first_review_at,first_approval_at,first_response_at,review_count,'
  'comment_count}');
SELECT keypup.define_store('keypup.issues', '{closed_by,first_response_at,transition_times,comment_count}',
  'keypup.derived_issue(account, project, r.number, r.author, r.state, r.created_at, r.updated_at, r.closed_at)');
SELECT keypup.define_store('keypup.reviews', '{comment_count,is_by_author,dismissed_state,dismissed_at}');
SELECT keypup.define_store('keypup.comments');
SELECT keypup.define_store('keypup.timeline_events');
SELECT keypup.define_store('keypup.releases');
SELECT keypup.define_store('keypup.deployments', '{succeeded_at,failed_at}');
SELECT keypup.define_store('keypup.pull_request_commits');
SELECT keypup.define_store('keypup.pull_request_merge_states', '{next_read_at}');
SELECT keypup.define_store('keypup.pull_request_checks');
