-- installation/wanted_rights.sql: what the two roles of the cluster may do here, written down, so that one that was
-- dropped can be made anew. DROP OWNED takes its grants and policies away, and the tables keep their rows.

CREATE FUNCTION keypup.given_rights(OUT grantee oid, OUT privilege text, OUT kind text, OUT object text)
  RETURNS SETOF record
LANGUAGE sql STABLE ROWS 1000 SET search_path = pg_catalog, pg_temp
AS $$
  SELECT a.grantee, a.privilege_type, 'SCHEMA', quote_ident(n.nspname)
  FROM pg_namespace n, aclexplode(n.nspacl) a
  WHERE n.nspname = 'keypup' AND a.grantee <> n.nspowner
  UNION ALL
  SELECT a.grantee, a.privilege_type, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass::text
  FROM pg_class c, aclexplode(c.relacl) a
  WHERE c.relnamespace = 'keypup'::regnamespace AND a.grantee <> c.relowner
  UNION ALL
  SELECT a.grantee, format('%s (%I)', a.privilege_type, t.attname), 'TABLE', c.oid::regclass::text
  FROM pg_class c
  JOIN pg_attribute t ON t.attrelid = c.oid
  CROSS JOIN aclexplode(t.attacl) a
  WHERE c.relnamespace = 'keypup'::regnamespace AND a.grantee <> c.relowner
  UNION ALL
  SELECT a.grantee, a.privilege_type, 'ROUTINE', p.oid::regprocedure::text
  FROM pg_proc p, aclexplode(p.proacl) a
  WHERE p.pronamespace = 'keypup'::regnamespace AND a.grantee <> p.proowner
$$;
REVOKE ALL ON FUNCTION keypup.given_rights() FROM PUBLIC;
COMMENT ON FUNCTION keypup.given_rights() IS
  'The rights that any role but the owner has to the schema and what is in it; 0 is PUBLIC.';

CREATE FUNCTION keypup.stray_rights(granted_by_operators boolean, OUT grantee text, OUT statement text)
  RETURNS SETOF record
LANGUAGE sql STABLE ROWS 10 SET search_path = pg_catalog, pg_temp
AS $$
  SELECT coalesce(r.rolname, 'PUBLIC'),
    format('REVOKE %s ON %s %s FROM %s;', g.privilege, g.kind, g.object, coalesce(quote_ident(r.rolname), 'PUBLIC'))
  FROM keypup.given_rights() g
  LEFT JOIN pg_roles r ON r.oid = g.grantee
  WHERE r.rolname IS NULL
     OR r.rolname NOT IN ('keypup_member', 'keypup_worker', 'pg_monitor')
        AND (granted_by_operators
             OR NOT (g.kind = 'SCHEMA' AND g.privilege = 'USAGE'
                     OR g.kind = 'ROUTINE' AND g.object
                       ~ '^keypup\.(receive_webhook|request_break_glass|approve_break_glass)\('))
$$;
REVOKE ALL ON FUNCTION keypup.stray_rights(boolean) FROM PUBLIC;
COMMENT ON FUNCTION keypup.stray_rights(boolean) IS
  'Rights of anybody but the owner, keypup_member, keypup_worker and pg_monitor, each with the statement that takes '
  'it back; or only those that operators have no reason to grant: they do USAGE on the schema, and the functions for '
  'webhooks and break-glass.';

CREATE FUNCTION keypup.held_rights(OUT role_name name, OUT statement text) RETURNS SETOF record
LANGUAGE sql STABLE ROWS 500 SET search_path = pg_catalog, pg_temp
AS $$
  SELECT r.rolname, format('GRANT %s ON %s %s TO %I;', g.privilege, g.kind, g.object, r.rolname)
  FROM keypup.given_rights() g
  JOIN pg_roles r ON r.oid = g.grantee
  WHERE r.rolname IN ('keypup_member', 'keypup_worker')
  UNION ALL
  -- Of several roles, DROP OWNED takes one out and leaves the policy.
  SELECT n.name, format('DROP POLICY IF EXISTS %1$I ON keypup.%2$I; CREATE POLICY %1$I ON keypup.%2$I AS %3$s FOR %4$s '
    'TO %5$s',
    p.policyname, p.tablename, p.permissive, p.cmd,
    (SELECT string_agg(quote_ident(o.name), ', ' ORDER BY o.name) FROM unnest(p.roles) AS o (name)))
    || coalesce(' USING (' || p.qual || ')', '') || coalesce(' WITH CHECK (' || p.with_check || ')', '') || ';'
  FROM pg_policies p
  CROSS JOIN unnest(p.roles) AS n (name)
  WHERE p.schemaname = 'keypup' AND n.name IN ('keypup_member', 'keypup_worker')
$$;
REVOKE ALL ON FUNCTION keypup.held_rights() FROM PUBLIC;
COMMENT ON FUNCTION keypup.held_rights() IS
  'The rights that keypup_member and keypup_worker have here, each as the statement that gives it.';

CREATE TABLE keypup.wanted_rights (
  role_name name NOT NULL,
  statement text NOT NULL,
  PRIMARY KEY (role_name, statement)
);
COMMENT ON TABLE keypup.wanted_rights IS
  'The rights that CREATE EXTENSION has given to keypup_member and keypup_worker. Written by it, and nobody''s to '
  'read.';
COMMENT ON COLUMN keypup.wanted_rights.role_name IS 'keypup_member or keypup_worker.';
COMMENT ON COLUMN keypup.wanted_rights.statement IS 'The statement that gives the right.';
-- Its statements are run by superusers: row-level security keeps out whoever may write all tables.
SELECT keypup.close_table('keypup.wanted_rights');
-- All other objects are there by now. A script that updates the extension writes this anew at its end.
INSERT INTO keypup.wanted_rights (role_name, statement)
SELECT r.role_name, r.statement FROM keypup.held_rights() r;

CREATE FUNCTION keypup.let_workers_step_aside() RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'keypup_let_workers_step_aside';
REVOKE ALL ON FUNCTION keypup.let_workers_step_aside() FROM PUBLIC;
COMMENT ON FUNCTION keypup.let_workers_step_aside() IS
  'Ends the workers of this database; none starts before the transaction ends. For what locks the tables they use.';

CREATE FUNCTION keypup.restore_roles() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET client_min_messages = error
AS $$
DECLARE
  wanted name;
  lost text[];
  the_statement text;
BEGIN
  PERFORM keypup.guard_writes();
  PERFORM keypup.let_workers_step_aside();
  FOREACH wanted IN ARRAY ARRAY['keypup_member', 'keypup_worker']::name[] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = wanted) THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', wanted);
    END IF;
  END LOOP;
  SELECT array_agg(DISTINCT m.statement) INTO lost
  FROM (SELECT r.role_name, r.statement FROM keypup.wanted_rights r
        EXCEPT
        SELECT h.role_name, h.statement FROM keypup.held_rights() h) m;
  FOREACH the_statement IN ARRAY coalesce(lost, '{}') LOOP
    EXECUTE the_statement;
  END LOOP;
  -- Before version 17 PostgreSQL remembers for pg_dump what the dropped role had: no such dump could be restored.
  WITH remembered AS (
    SELECT p.classoid, p.objoid, p.objsubid, count(*) AS items,
      array_agg(a.item ORDER BY a.place) FILTER (WHERE g.role = 0 OR r.oid IS NOT NULL) AS kept
    FROM pg_init_privs p
    JOIN pg_depend d ON d.classid = p.classoid AND d.objid = p.objoid AND d.deptype = 'e'
      AND d.refclassid = 'pg_extension'::regclass
    JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'keypup'
    CROSS JOIN unnest(p.initprivs) WITH ORDINALITY AS a (item, place)
    CROSS JOIN LATERAL (SELECT DISTINCT x.grantee AS role FROM aclexplode(ARRAY[a.item]) x) g
    LEFT JOIN pg_roles r ON r.oid = g.role
    GROUP BY p.classoid, p.objoid, p.objsubid
  ), forgotten AS (
    DELETE FROM pg_init_privs i USING remembered m
    WHERE i.classoid = m.classoid AND i.objoid = m.objoid AND i.objsubid = m.objsubid AND m.kept IS NULL
  )
  UPDATE pg_init_privs i SET initprivs = m.kept
  FROM remembered m
  WHERE i.classoid = m.classoid AND i.objoid = m.objoid AND i.objsubid = m.objsubid
    AND cardinality(m.kept) < m.items;
  PERFORM keypup.open_schema_to(r.rolname, NULL::xid8)
  FROM pg_roles r
  WHERE EXISTS (
    SELECT FROM keypup.members m
    WHERE m.member = r.rolname::text AND m.kind = 'database_role' AND keypup.is_role(m.role_id, m.member, m.origin))
    OR EXISTS (SELECT FROM keypup.rights s WHERE s.holder = r.rolname::text AND s.kind = 'support');
  RETURN coalesce(cardinality(lost), 0);
END
$$;
REVOKE ALL ON FUNCTION keypup.restore_roles() FROM PUBLIC;
COMMENT ON FUNCTION keypup.restore_roles() IS
  'Makes keypup_member and keypup_worker anew where they were dropped, and gives them, and members, the rights in '
  'this database that they have lost. Returns how many. For superusers; in each database that has the extension.';
