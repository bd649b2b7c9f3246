-- model/store.sql: how rows get into the tables of the model, one way for each table and all providers: a provider
-- makes rows of type provided_TABLE, and store_TABLE writes what is new or has changed. The type has the columns of the
-- table in their order, but for the account and the project, for what is derived from other rows, and for deleted_at.
-- Both are made from the table: it alone says what its columns are. What nobody could store without guessing is an
-- error: a list with a NULL in it, and two things of a page that have one number.

CREATE FUNCTION keypup.define_store(stored regclass, derived text[] DEFAULT '{}') RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  name text := (SELECT c.relname FROM pg_class c WHERE c.oid = stored);
  keys text[];
  provided text[];
  may_be_deleted boolean;
  has_times boolean;
  columns text;
  lists text;
  checks text;
BEGIN
  SELECT array_agg(a.attname ORDER BY array_position(i.indkey::smallint[], a.attnum)) INTO keys
  FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
  WHERE i.indrelid = stored AND i.indisprimary AND a.attname NOT IN ('account_id', 'project_id');
  SELECT array_agg(a.attname ORDER BY a.attnum) FILTER (WHERE a.attname <> 'deleted_at'),
    bool_or(a.attname = 'deleted_at'), bool_or(a.attname = 'updated_at')
  INTO provided, may_be_deleted, has_times
  FROM pg_attribute a
  WHERE a.attrelid = stored AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    AND a.attname NOT IN ('account_id', 'project_id') AND a.attname <> ALL (derived);
  EXECUTE format('CREATE TYPE keypup.provided_%s AS (%s)', name, (
    SELECT string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum)
    FROM pg_attribute a WHERE a.attrelid = stored AND a.attname = ANY (provided)));
  columns := (SELECT string_agg(quote_ident(p), ', ' ORDER BY n) FROM unnest(provided) WITH ORDINALITY AS u (p, n));

  lists := (
    SELECT string_agg(format('CASE WHEN array_position(r.%1$I, NULL) IS NOT NULL THEN %1$L END', a.attname), ', '
      ORDER BY a.attnum)
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = stored AND a.attname = ANY (provided) AND t.typcategory = 'A');
  checks := CASE WHEN lists IS NULL THEN '' ELSE format($check$
      SELECT r.external_id, l.name INTO wrong
      FROM unnest(rows) AS r CROSS JOIN LATERAL (SELECT coalesce(%2$s)) AS l (name) WHERE l.name IS NOT NULL LIMIT 1;
      IF FOUND THEN
        RAISE EXCEPTION '%% of "%%" in a page of %1$s has a NULL', wrong.name, wrong.external_id
          USING ERRCODE = 'null_value_not_allowed';
      END IF;$check$, name, lists) END
    || CASE WHEN keys <> '{number}' THEN '' ELSE format($check$
      SELECT r.number, min(r.external_id COLLATE "C") AS one, max(r.external_id COLLATE "C") AS another INTO wrong
      FROM unnest(rows) AS r GROUP BY r.number HAVING count(DISTINCT r.external_id COLLATE "C") > 1 LIMIT 1;
      IF FOUND THEN
        RAISE EXCEPTION '"%%" and "%%" in a page of %1$s have the same number %%', wrong.one, wrong.another,
          wrong.number USING ERRCODE = 'cardinality_violation';
      END IF;$check$, name) END;
  EXECUTE format($definition$
    CREATE FUNCTION keypup.store_%1$s(account uuid, project bigint, rows keypup.provided_%1$s[]) RETURNS SETOF text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $body$
    DECLARE
      wrong record;
    BEGIN
      %15$s
      RETURN QUERY
      INSERT INTO %2$s AS o (account_id, project_id, %3$s)
      SELECT DISTINCT ON (%4$s) account, project, %5$s FROM unnest(rows) AS r ORDER BY %4$s%6$s
      ON CONFLICT (account_id, project_id, %7$s) DO UPDATE
      SET (%3$s%8$s) = ROW(%9$s%10$s)
      WHERE %11$s(%12$s%13$s) IS DISTINCT FROM (%9$s%14$s)
      RETURNING o.external_id;
    END
    $body$ $definition$,
    name, stored, columns,
    (SELECT string_agg(format('r.%I', k) || CASE WHEN format_type(a.atttypid, NULL) = 'text' THEN ' COLLATE "C"'
      ELSE '' END, ', ' ORDER BY n)
     FROM unnest(keys) WITH ORDINALITY AS u (k, n) JOIN pg_attribute a ON a.attrelid = stored AND a.attname = k),
    (SELECT string_agg(format('r.%I', p), ', ' ORDER BY n) FROM unnest(provided) WITH ORDINALITY AS u (p, n)),
    -- Of what a page has twice, the newer.
    CASE WHEN has_times THEN ', r.updated_at DESC NULLS LAST' ELSE '' END,
    (SELECT string_agg(quote_ident(k), ', ' ORDER BY n) FROM unnest(keys) WITH ORDINALITY AS u (k, n)),
    CASE WHEN may_be_deleted THEN ', deleted_at' ELSE '' END,
    (SELECT string_agg(format('excluded.%I', p), ', ' ORDER BY n) FROM unnest(provided) WITH ORDINALITY AS u (p, n)),
    CASE WHEN may_be_deleted THEN ', NULL' ELSE '' END,
    -- Who has no time is taken as it comes. A time of the future would keep all others out until then, and one of
    -- another thing that had the number before says nothing.
    CASE WHEN has_times THEN 'NOT coalesce(excluded.updated_at < o.updated_at AND o.updated_at <= now() + interval ''1 '
      'day'''
      || ' AND o.external_id = excluded.external_id, false) AND ' ELSE '' END,
    (SELECT string_agg(format('o.%I', p), ', ' ORDER BY n) FROM unnest(provided) WITH ORDINALITY AS u (p, n)),
    CASE WHEN may_be_deleted THEN ', o.deleted_at' ELSE '' END,
    CASE WHEN may_be_deleted THEN ', NULL::timestamptz' ELSE '' END,
    checks);

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
REVOKE ALL ON FUNCTION keypup.define_store(regclass, text[]) FROM PUBLIC;
COMMENT ON FUNCTION keypup.define_store(regclass, text[]) IS
  'Makes type provided_TABLE and function store_TABLE of a table of the model; derived: columns that no provider '
  'gives.';

-- An answer that was overtaken by a later one tells nothing of an item's lists, either.
CREATE FUNCTION keypup.overtaken_items(account uuid, project bigint, kind text, numbers bigint[], times timestamptz[])
  RETURNS bigint[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN ARRAY(
    SELECT n.number
    FROM unnest(numbers, times) AS n (number, updated_at)
    CROSS JOIN LATERAL (
      SELECT p.updated_at FROM keypup.pull_requests p
      WHERE kind = 'pull_requests' AND p.account_id = account AND p.project_id = project AND p.number = n.number
      UNION ALL
      SELECT i.updated_at FROM keypup.issues i
      WHERE kind = 'issues' AND i.account_id = account AND i.project_id = project AND i.number = n.number
      LIMIT 1
    ) AS o
    WHERE o.updated_at > n.updated_at);
END
$$;
REVOKE ALL ON FUNCTION keypup.overtaken_items(uuid, bigint, text, bigint[], timestamptz[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.overtaken_items(uuid, bigint, text, bigint[], timestamptz[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.overtaken_items(uuid, bigint, text, bigint[], timestamptz[]) IS
  'The numbers of those pull_requests or issues of which something newer is stored than was read at these times.';

SELECT keypup.define_store('keypup.labels', '{named_at}');
SELECT keypup.define_store('keypup.milestones', '{open_items,closed_items,named_at}');
SELECT keypup.define_store('keypup.sprints');
SELECT keypup.define_store('keypup.pull_requests',
  '{ready_at,review_requested_at,first_review_at,first_approval_at,review_count,comment_count}');
SELECT keypup.define_store('keypup.issues', '{closed_by,first_response_at,comment_count}');
SELECT keypup.define_store('keypup.reviews', '{comment_count}');
SELECT keypup.define_store('keypup.comments');
SELECT keypup.define_store('keypup.timeline_events');
SELECT keypup.define_store('keypup.releases');
SELECT keypup.define_store('keypup.deployments', '{succeeded_at,failed_at}');
