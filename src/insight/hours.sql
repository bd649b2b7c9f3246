-- insight/hours.sql: each view that has durations, once more with hours, since many BI tools cannot read an interval.
-- The last of the room: it goes by what the views before it are.

DO $$
DECLARE
  viewed record;
  in_hours text;
  columns text;
  described record;
BEGIN
  FOR viewed IN
    SELECT c.oid, c.relname, obj_description(c.oid, 'pg_class') AS description
    FROM pg_catalog.pg_class c
    WHERE c.relnamespace = 'keypup'::regnamespace AND c.relkind = 'v'
      AND has_table_privilege('keypup_member', c.oid, 'SELECT')
      AND EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.atttypid = 'interval'::regtype)
    ORDER BY c.relname
  LOOP
    in_hours := viewed.relname || '_hours';
    SELECT string_agg(CASE WHEN a.atttypid = 'interval'::regtype
        THEN format('(extract(epoch FROM v.%I) / 3600)::double precision AS %I', a.attname, a.attname || '_hours')
        ELSE format('v.%I', a.attname) END, ', ' ORDER BY a.attnum) INTO columns
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = viewed.oid AND a.attnum > 0 AND NOT a.attisdropped;
    EXECUTE format('CREATE VIEW keypup.%I WITH (security_invoker = true, security_barrier = true) AS SELECT %s '
      'FROM keypup.%I v', in_hours, columns, viewed.relname);
    EXECUTE format('REVOKE ALL ON keypup.%I FROM PUBLIC', in_hours);
    EXECUTE format('GRANT SELECT ON keypup.%I TO keypup_member', in_hours);
    EXECUTE format('COMMENT ON VIEW keypup.%I IS %L', in_hours,
      viewed.description || ' Durations in hours.');
    FOR described IN
      SELECT CASE WHEN a.atttypid = 'interval'::regtype THEN a.attname || '_hours' ELSE a.attname END AS name,
        CASE WHEN a.atttypid = 'interval'::regtype THEN 'In hours. ' ELSE '' END
          || col_description(a.attrelid, a.attnum) AS description
      FROM pg_catalog.pg_attribute a WHERE a.attrelid = viewed.oid AND a.attnum > 0 AND NOT a.attisdropped
    LOOP
      EXECUTE format('COMMENT ON COLUMN keypup.%I.%I IS %L', in_hours, described.name,
        described.description);
    END LOOP;
  END LOOP;
END
$$;
