-- installation/install.sql: the last of the install script.

-- pg_dump leaves the rows of an extension's tables out unless it is told that they are the user's.
-- The built-in permissions, the list of audited actions and the rights of its roles come with the extension itself;
-- what the worker has seen of this server is of no use elsewhere.
DO $$
DECLARE
  relation regclass;
BEGIN
  FOR relation IN SELECT c.oid FROM pg_catalog.pg_class c
                  WHERE c.relnamespace = 'keypup'::pg_catalog.regnamespace AND c.relkind IN ('r', 'S')
                    AND c.relname NOT IN ('role_permissions', 'providers', 'wanted_rights', 'audit_actions',
                      'audit_clock', 'audit_settings', 'audit_gaps', 'audit_losses')
                  ORDER BY c.oid LOOP
    PERFORM pg_catalog.pg_extension_config_dump(relation, '');
  END LOOP;
END
$$;

-- ALTER DEFAULT PRIVILEGES of the database may have opened all of this to others. A script that
-- updates the extension does the same at its end.
DO $$
DECLARE
  stray text;
BEGIN
  FOR stray IN SELECT s.statement FROM keypup.stray_rights(true) s LOOP
    EXECUTE stray;
  END LOOP;
END
$$;

-- The launcher looks for new databases at once.
SELECT keypup.wake_launcher();
