-- What CREATE EXTENSION leaves behind: nothing for PUBLIC, a comment on everything, row-level security everywhere.
SET client_min_messages = warning;
\set SHOW_CONTEXT never
-- A schema that somebody else has made is not taken over; the extension's own goes with it.
CREATE SCHEMA keypup;
CREATE EXTENSION keypup;
DROP SCHEMA keypup;
CREATE EXTENSION keypup;
DROP EXTENSION keypup;
SELECT count(*) FROM pg_namespace WHERE nspname = 'keypup';
CREATE EXTENSION keypup;

-- Relations and columns without a comment: none.
SELECT c.relname, a.attname
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'keypup'::regnamespace AND c.relkind IN ('r', 'v', 'p') AND NOT c.relispartition
  AND (obj_description(c.oid, 'pg_class') IS NULL OR col_description(c.oid, a.attnum) IS NULL)
ORDER BY 1, 2;

-- Functions without a comment, or with an open search path: none. What is written BEGIN ATOMIC looked its names up when it
-- was created.
SELECT p.oid::regprocedure
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.pronamespace = 'keypup'::regnamespace
  AND (obj_description(p.oid, 'pg_proc') IS NULL
       OR (l.lanname NOT IN ('c', 'internal') AND p.prosqlbody IS NULL AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false)));

-- What PUBLIC may do: nothing.
SELECT p.oid::regprocedure FROM pg_proc p
WHERE p.pronamespace = 'keypup'::regnamespace AND has_function_privilege('public', p.oid, 'execute');
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = 'keypup'::regnamespace AND c.relkind IN ('r', 'v', 'S')
  AND EXISTS (SELECT FROM aclexplode(c.relacl) x WHERE x.grantee = 0);

-- Tenant tables whose key is not led by the account, or without forced row-level security: none.
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = 'keypup'::regnamespace AND c.relkind = 'r'
  AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'account_id')
  AND (NOT c.relrowsecurity OR NOT c.relforcerowsecurity
       OR (c.relname <> 'data_keys' AND NOT EXISTS (
             SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
             WHERE i.indrelid = c.oid AND i.indisunique AND a.attname = 'account_id')));

-- Views that would see more than who asks: none.
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = 'keypup'::regnamespace AND c.relkind = 'v'
  AND NOT coalesce('security_invoker=true' = ANY (c.reloptions), false);

-- Functions of the vault that the planner could run early and show in a plan: none.
SELECT p.proname FROM pg_proc p
WHERE p.pronamespace = 'keypup'::regnamespace AND p.provolatile = 'i' AND p.proname ~ 'crypt|token$|asking|session';

-- In a process that works for a parallel query nobody is the caller, and a table would be empty: what reads one is not run there.
SELECT p.oid::regprocedure FROM pg_proc p
WHERE p.pronamespace = 'keypup'::regnamespace AND p.proparallel = 's' AND p.prosrc ~* '(from|join) +keypup\.[a-z_]+[^a-z_(]';

-- Columns on which BI filters are of types whose operators are leakproof.
SELECT c.relname, a.attname, a.atttypid::regtype FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'keypup'::regnamespace AND c.relkind = 'r'
  AND (a.atttypid = 'numeric'::regtype OR EXISTS (SELECT FROM pg_type t WHERE t.oid = a.atttypid AND t.typtype = 'e'));

-- Foreign keys without an index that begins with their columns, led by the account's: none, but that to the providers, which do
-- not go. By them rows go.
SELECT c.conrelid::regclass, c.conname
FROM pg_constraint c
WHERE c.connamespace = 'keypup'::regnamespace AND c.contype = 'f' AND c.confrelid <> 'keypup.providers'::regclass
  AND NOT EXISTS (
    SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = c.conrelid AND i.indpred IS NULL AND a.attname = 'account_id'
      AND c.conkey <@ (i.indkey::smallint[])[0:cardinality(c.conkey) - 1])
ORDER BY 1, 2;

-- Tables in which rows could not change where somebody publishes all tables: none.
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = 'keypup'::regnamespace AND c.relkind = 'r' AND c.relreplident <> 'f'
  AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary);
