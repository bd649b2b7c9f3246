-- dev/definitions.sql: doc/definitions.md, out of the COMMENTs of an installed extension: each view that a member may read, and each
-- of its columns. Run by dev/definitions, which writes the page, and by test/t/215_definitions.pl, which compares it.
\set QUIET on
\pset tuples_only on
\pset format unaligned
SET client_encoding = 'UTF8';
WITH view AS (
  SELECT c.oid, c.relname AS name, coalesce(obj_description(c.oid, 'pg_class'), 'MISSING') AS definition
  FROM pg_catalog.pg_class c
  WHERE c.relnamespace = 'keypup'::regnamespace AND c.relkind = 'v' AND has_table_privilege('keypup_member', c.oid, 'SELECT')
    -- Those in hours are the same otherwise.
    AND c.relname !~ '_hours$'
), line AS (
  SELECT v.name, 0 AS place, E'\n## ' || v.name || E'\n\n' || v.definition || E'\n\n| column | type | definition |\n|---|---|---|' AS text FROM view v
  UNION ALL
  SELECT v.name, a.attnum, format('| `%s` | %s | %s |', a.attname, format_type(a.atttypid, a.atttypmod), replace(coalesce(col_description(a.attrelid, a.attnum), 'MISSING'), '|', '\|'))
  FROM view v JOIN pg_catalog.pg_attribute a ON a.attrelid = v.oid AND a.attnum > 0 AND NOT a.attisdropped
)
SELECT '# What does each column of the views mean?

The words are those of the COMMENTs in the database (`\d+ keypup.pull_request_metrics` shows them too): `dev/definitions` writes this page,
and a test compares it. Formulas, edge cases and worked examples: [pull requests and people](metrics.md), [cycle time](cycle-time.md),
[issues, flow and milestones](issue-metrics.md), [working time](working-time.md), [activity](activity.md), [fields and next steps](fields.md), [delivery](delivery.md); the [sync](sync.md) and [access](access.md) have pages of their own. Each view with an interval
stands there once more, with `_hours` behind its name and behind those of its durations, which are numbers of hours ([BI tools](bi-tools.md)).
' || string_agg(l.text, E'\n' ORDER BY l.name COLLATE "C", l.place) FROM line l;
