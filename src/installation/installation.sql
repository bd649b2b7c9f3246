-- installation/installation.sql: everything that may be wrong with an installation, in one place.

CREATE FUNCTION keypup.library(OUT version text, OUT preloaded boolean, OUT launcher_refused boolean)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'keypup_library';
CREATE FUNCTION keypup.check_ca_file(OUT ok boolean, OUT detail text, OUT remedy text)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'keypup_check_ca_file';
CREATE FUNCTION keypup.list_databases(OUT database_id oid, OUT workers_wanted integer, OUT waits_for_standby boolean,
  OUT no_slot_since timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE ROWS 10 AS 'MODULE_PATHNAME', 'keypup_list_databases';
REVOKE ALL ON FUNCTION keypup.library(), keypup.check_ca_file(), keypup.list_databases() FROM PUBLIC;
COMMENT ON FUNCTION keypup.library() IS
  'The library that this server runs: its version, whether it was loaded when the server started, and whether there '
  'was no room for the launcher then.';
COMMENT ON FUNCTION keypup.check_ca_file() IS
  'Whether there are certificate authorities to check providers'' certificates against.';
COMMENT ON FUNCTION keypup.list_databases() IS
  'What the launcher knows of the databases of this server: how many workers each wants, and whether their commits '
  'wait for standbys (NULL: none, or not known), and since when max_worker_processes has had no room for them.';

CREATE FUNCTION keypup.check_installation(OUT check_name text, OUT ok boolean, OUT detail text, OUT remedy text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SECURITY DEFINER ROWS 15 SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
SET exit_on_error = off
AS $function$
DECLARE
  the_check record;
  -- The current user is this function's owner.
  runs_command boolean := (SELECT r.rolsuper FROM pg_roles r
    WHERE r.rolname = coalesce(nullif(current_setting('role'), 'none'), session_user));
BEGIN
  FOR the_check IN SELECT c.name, c.query FROM (VALUES
    ('preload', $$
      SELECT l.preloaded,
        CASE WHEN l.preloaded THEN 'keypup was loaded when the server started' ELSE d.detail END,
        -- Of several lines the last one counts; ALTER SYSTEM's stand behind the others.
        CASE WHEN (SELECT f.setting ~ '\mkeypup\M' FROM pg_file_settings f
                   WHERE f.name = 'shared_preload_libraries' ORDER BY f.seqno DESC LIMIT 1)
             THEN 'The configuration file has it in shared_preload_libraries: restart the server.'
             ELSE d.remedy END
      FROM keypup.library() l, keypup.diagnose_launcher() d $$),

    ('version', $$
      SELECT l.version = e.extversion,
        format('the library is version %s, the extension in this database %s', l.version, e.extversion),
        'ALTER EXTENSION keypup UPDATE. Where the library was replaced after the server started, restart that first.'
      FROM keypup.library() l, pg_extension e WHERE e.extname = 'keypup' $$),

    ('encoding', $$
      SELECT getdatabaseencoding() = 'UTF8', format('the database is in encoding %s', getdatabaseencoding()),
        'Restore a dump of it into a database with ENCODING ''UTF8''.' $$),

    ('configuration', $$
      SELECT count(*) = 0,
        coalesce(string_agg(format('%s line %s: %s', f.sourcefile, f.sourceline, concat_ws(': ', f.name, f.problem)),
            '; ' ORDER BY f.seqno),
          'the configuration files have no error'),
        'Correct it, and reload: one unknown name, whosesoever it is, keeps all changes from being applied.'
      FROM (
        SELECT f.*, CASE WHEN f.name COLLATE "C" ILIKE 'keypup.%' AND s.name IS NULL THEN 'there is no such setting'
                         ELSE f.error END AS problem
        FROM pg_file_settings f
        LEFT JOIN pg_settings s ON lower(s.name COLLATE "C") = lower(f.name COLLATE "C")
      ) f
      -- What only waits for a restart is reported as an error, too, without a line where it was taken out; reading the
      -- files has marked it.
      WHERE f.problem IS NOT NULL AND f.sourcefile IS NOT NULL
        AND NOT coalesce((SELECT s.pending_restart FROM pg_settings s
          WHERE lower(s.name COLLATE "C") = lower(f.name COLLATE "C")), false) $$),

    ('key', $$
      SELECT true, format('keypup.%s is readable; its newest key is number %s',
        CASE WHEN current_setting('keypup.key_file') <> '' THEN 'key_file' ELSE 'key_command' END,
        keypup.newest_wrapping_key()), NULL $$),

    ('data_keys', $$
      SELECT coalesce(u.unopenable, 0) = 0,
        CASE WHEN k.keys = 0 THEN 'there are none yet'
             WHEN u.unopenable = 0 THEN format('all %s open', k.keys)
             ELSE format('%s of %s do not open, the first is number %s', u.unopenable, k.keys, u.first_key) END,
        format('Have keypup.key_file or keypup.key_command give the keys that wrap them: %s.', k.wrapped_by)
      FROM (
        SELECT count(*) AS keys, string_agg(DISTINCT d.kek_id::text, ', ') AS wrapped_by,
          string_agg(int4send(d.key_id) || int4send(d.kek_id) || d.wrapped || d.check_value, '' ORDER BY d.key_id)
            AS records
        FROM keypup.data_keys d WHERE d.state <> 'destroyed'
      ) k
      LEFT JOIN LATERAL keypup.count_unopenable_keys(k.records) u ON k.keys > 0 $$),

    -- The worker seals within seconds, and says nothing where it cannot. Where none can be, others say that.
    ('audit_seals', $$
      SELECT count(*) = 0 OR pg_is_in_recovery() OR NOT (SELECT b.preloaded FROM keypup.library() b),
        CASE WHEN count(*) = 0
             THEN 'every record of the audit log is sealed; '
               || CASE WHEN EXISTS (SELECT FROM keypup.audit_sinks s
                       WHERE s.account_id = '00000000-0000-0000-0000-000000000000'
                         AND s.origin = keypup.this_database())
                       THEN 'its checkpoints are forwarded'
                       ELSE 'keep a checkpoint elsewhere, as it shows that none was taken away: SELECT note FROM '
                         'keypup.audit_checkpoints ORDER BY tree_size DESC LIMIT 1' END
             ELSE format('%s records of the audit log are not sealed, the first since %s', count(*),
               min(coalesce(c.ends_at, l.last_at))) END,
        'The workers seal them when they run, and have the key: see workers, key and data_keys.'
      FROM keypup.audit_log l
      -- Nothing is counted on for longer: what says so was changed.
      CROSS JOIN LATERAL (
        SELECT CASE WHEN l.counts_until IS NOT NULL
          THEN least(l.counts_until, l.occurred_at + interval '1 hour') END AS ends_at) c
      WHERE l.sequence IS NULL AND l.last_at < now() - interval '1 minute'
        AND coalesce(c.ends_at < now() - interval '1 minute', true) $$),

    -- Days are made three ahead, and dropped within minutes: an hour is a reader that has been forgotten.
    ('audit_days', $$
      SELECT coalesce(c.blocked_since > now() - interval '1 hour', true),
        CASE WHEN c.blocked_since > now() - interval '1 hour' OR c.blocked_since IS NULL
             THEN 'days of the audit log are made and dropped as they should'
             ELSE format('days of the audit log could not be made or dropped since %s%s', c.blocked_since,
               ': the log is read in a transaction of process ' || r.pid) END,
        coalesce('End that transaction, or have it ended: SELECT pg_terminate_backend(' || r.pid || ');',
          'SELECT * FROM pg_prepared_xacts shows transactions that no process has any more.')
      FROM (SELECT max(k.blocked_since) AS blocked_since FROM keypup.audit_clock k) c
      LEFT JOIN LATERAL (
        SELECT l.pid
        FROM pg_locks l
        JOIN pg_class t ON t.oid = l.relation
        LEFT JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE l.granted AND l.pid <> pg_backend_pid() AND t.relnamespace = 'keypup'::regnamespace
          AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
          AND t.relname ~ '^audit_log(_\d{8}|_other)?$'
        ORDER BY a.xact_start, l.pid LIMIT 1
      ) r ON true $$),

    ('ca_file', 'SELECT c.ok, c.detail, c.remedy FROM keypup.check_ca_file() c'),

    ('ssl', $$
      SELECT s.is_on OR s.is_local,
        CASE WHEN s.is_on THEN 'connections may use TLS'
             WHEN s.is_local THEN 'ssl is off, and only this machine can connect'
             ELSE format('ssl is off, and others can connect (listen_addresses is %s): tokens pass in clear',
               s.addresses) END,
        'Set ssl = on, with ssl_cert_file and ssl_key_file, and reload.'
      FROM (
        SELECT current_setting('ssl')::boolean AS is_on, current_setting('listen_addresses') AS addresses,
          NOT EXISTS (SELECT FROM string_to_table(current_setting('listen_addresses'), ',') AS a (address)
                      WHERE btrim(a.address) NOT IN ('', 'localhost', '127.0.0.1', '::1')) AS is_local
      ) s $$),

    ('roles', $$
      SELECT count(*) = 0,
        coalesce(string_agg(p.problem, '; ' ORDER BY n.name, p.problem),
          'keypup_member and keypup_worker are as they should be'),
        string_agg(DISTINCT p.remedy, ' ')
      FROM unnest(ARRAY['keypup_member', 'keypup_worker']) AS n (name)
      LEFT JOIN pg_roles r ON r.rolname = n.name
      CROSS JOIN LATERAL (
        SELECT CASE WHEN x.name IS NULL THEN format('role %s is missing', n.name)
                    ELSE format('role %s was renamed to %I', n.name, x.name) END,
          CASE WHEN x.name IS NULL THEN 'SELECT keypup.restore_roles();'
               ELSE format('ALTER ROLE %I RENAME TO %s;', x.name, n.name) END
        FROM (VALUES (1)) AS one
        -- Whose rights are its own still: most of them, since some may have been revoked.
        LEFT JOIN LATERAL (
          SELECT o.rolname AS name
          FROM keypup.given_rights() g
          JOIN pg_roles o ON o.oid = g.grantee
          JOIN keypup.wanted_rights w ON w.role_name = n.name
            AND w.statement = format('GRANT %s ON %s %s TO %I;', g.privilege, g.kind, g.object, n.name)
          WHERE o.rolname NOT IN ('keypup_member', 'keypup_worker')
          GROUP BY o.rolname
          HAVING count(*) > (SELECT count(*) FROM keypup.wanted_rights w
                             WHERE w.role_name = n.name AND w.statement LIKE 'GRANT %') / 2
          ORDER BY count(*) DESC, o.rolname
          LIMIT 1
        ) AS x ON true
        WHERE r.oid IS NULL
        UNION ALL
        SELECT format('role %s has rights that keypup does not give it', n.name),
          format('ALTER ROLE %s NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION;', n.name)
        WHERE r.rolcanlogin OR r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication
        UNION ALL
        SELECT format('role %s is a member of %I', o.name, i.name),
          format('REVOKE %I FROM %I%s;', i.name, o.name, ' GRANTED BY ' || quote_ident(g.rolname))
        FROM pg_auth_members m
        CROSS JOIN LATERAL (SELECT pg_get_userbyid(m.member) AS name) o
        CROSS JOIN LATERAL (SELECT pg_get_userbyid(m.roleid) AS name) i
        LEFT JOIN pg_roles g ON g.oid = m.grantor AND g.oid <> 10
        WHERE m.member = r.oid OR n.name = 'keypup_worker' AND m.roleid = r.oid
        UNION ALL
        SELECT format('role %s administers %I', o.name, n.name),
          format('REVOKE ADMIN OPTION FOR %I FROM %I%s;', n.name, o.name, ' GRANTED BY ' || quote_ident(g.rolname))
        FROM pg_auth_members m
        CROSS JOIN LATERAL (SELECT pg_get_userbyid(m.member) AS name) o
        LEFT JOIN pg_roles g ON g.oid = m.grantor AND g.oid <> 10
        WHERE n.name = 'keypup_member' AND m.roleid = r.oid AND m.admin_option
        UNION ALL
        SELECT format('role %s lacks %s of its %s rights here', n.name, l.lost, l.given),
          'SELECT keypup.restore_roles();'
        FROM (
          SELECT count(*) AS given, count(*) FILTER (WHERE h.statement IS NULL) AS lost
          FROM keypup.wanted_rights w
          LEFT JOIN keypup.held_rights() h ON h.role_name = w.role_name AND h.statement = w.statement
          WHERE w.role_name = r.rolname
        ) l
        -- Members may be allowed less than keypup allows them.
        WHERE l.lost > 0 AND (n.name = 'keypup_worker' OR l.lost = l.given)
          -- Policies that are for both are others without the name of one.
          AND to_regrole('keypup_member') IS NOT NULL AND to_regrole('keypup_worker') IS NOT NULL
      ) AS p (problem, remedy) $$),

    ('schema', $$
      SELECT count(*) = 0,
        coalesce(string_agg(p.problem, '; ' ORDER BY p.problem),
          'only its owner may create in schema keypup, and nothing in it is anybody else''s'),
        string_agg(p.remedy, ' ' ORDER BY p.problem)
      FROM (
        SELECT format('%s may create in schema keypup', g.name),
          format('REVOKE CREATE ON SCHEMA keypup FROM %s;', g.name)
        FROM pg_namespace n
        CROSS JOIN aclexplode(n.nspacl) a
        CROSS JOIN LATERAL (
          SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS name
        ) g
        WHERE n.nspname = 'keypup' AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner
        UNION ALL
        SELECT format('%s has %s rights in schema keypup that keypup does not give', s.grantee, count(*)),
          string_agg(s.statement, ' ' ORDER BY s.statement)
        FROM keypup.stray_rights(false) s
        WHERE s.statement NOT LIKE 'REVOKE CREATE ON SCHEMA %'
          -- Where a role is missing, what was its own may be somebody's who is it by another name.
          AND to_regrole('keypup_member') IS NOT NULL AND to_regrole('keypup_worker') IS NOT NULL
        GROUP BY s.grantee
        UNION ALL
        SELECT format('%s is not the extension''s', f.oid::regprocedure),
          format('DROP ROUTINE %s;', f.oid::regprocedure)
        FROM pg_proc f
        WHERE f.pronamespace = 'keypup'::regnamespace
          AND NOT EXISTS (
            SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = f.oid AND d.deptype = 'e')
      ) AS p (problem, remedy) $$),

    -- As check_provider left them: a function may have been dropped since, or replaced, or be nobody's to call.
    ('providers', $$
      SELECT count(f.problem) = 0,
        coalesce(string_agg(f.problem, '; ' ORDER BY f.problem),
          format('all functions of %s are there', string_agg(DISTINCT p.provider, ', '))),
        string_agg(DISTINCT f.remedy, ' ')
      FROM keypup.providers p
      CROSS JOIN LATERAL (
        SELECT coalesce(f.fault, CASE WHEN m.may_not THEN format('keypup_worker may not call %s', f.routine) END),
          CASE WHEN f.fault IS NOT NULL THEN f.hint
               WHEN m.may_not THEN format('SELECT keypup.check_provider(%L);', p.provider) END
        FROM keypup.provider_functions(p.provider) f
        -- Where the role is missing, that is what is wrong.
        CROSS JOIN LATERAL (
          SELECT f.is_needed_for IS DISTINCT FROM 'webhook'
            AND NOT has_function_privilege(to_regrole('keypup_worker')::oid, f.routine::oid, 'EXECUTE') AS may_not
        ) AS m
      ) AS f (problem, remedy) $$),

    ('members', $$
      SELECT count(*) = 0,
        CASE WHEN count(*) = 0 THEN 'every member that is a database role is there'
             ELSE format('of %s members the database role was dropped or renamed, first of %I in account %s', count(*),
               min(m.member), quote_literal((array_agg(a.name ORDER BY m.member))[1])) END,
        'SELECT * FROM keypup.orphaned_members; then keypup.remove_member, or keypup.add_member where the role of that '
        'name is meant.'
      FROM keypup.orphaned_members m JOIN keypup.accounts a ON a.account_id = m.account_id $$),

    ('launcher', 'SELECT d.ok, d.detail, d.remedy FROM keypup.diagnose_launcher() d'),

    ('workers', 'SELECT d.ok, d.detail, d.remedy FROM keypup.diagnose_workers() d'),

    ('worker_processes', $$
      SELECT CASE WHEN l.preloaded AND NOT pg_is_in_recovery() THEN s.missing = 0 AND NOT l.launcher_refused END,
        concat_ws('; ',
          format('max_worker_processes is %s, of which keypup uses %s', current_setting('max_worker_processes'),
            (SELECT count(*) FROM keypup.list_workers())),
          CASE WHEN l.launcher_refused THEN 'there was no room for the launcher' END,
          CASE WHEN s.missing > 0
               THEN format('none was left for %s workers of %s since %s', s.missing, s.names, s.since) END),
        format('Set max_worker_processes = %s or more in postgresql.conf, and restart the server.',
          current_setting('max_worker_processes')::bigint
          + CASE WHEN l.launcher_refused THEN 1 + greatest(1, current_setting('keypup.workers')::integer)
                 ELSE s.missing END)
      FROM keypup.library() l
      CROSS JOIN (
        SELECT coalesce(sum(greatest(1, coalesce(d.workers_wanted, current_setting('keypup.workers')::integer)
            - w.workers)), 0) AS missing,
          string_agg(quote_ident(p.datname), ', ' ORDER BY p.datname) AS names, min(d.no_slot_since) AS since
        FROM keypup.list_databases() d
        JOIN pg_database p ON p.oid = d.database_id
        CROSS JOIN LATERAL (
          SELECT count(*) AS workers FROM keypup.list_workers() x WHERE x.database_id = d.database_id
        ) w
        WHERE d.no_slot_since IS NOT NULL
      ) s $$),

    ('copy', $$
      SELECT count(*) = 0,
        CASE WHEN count(*) = 0 THEN 'no connection waits as one of a copy'
             ELSE format('%s connections wait, as this is a copy of the database that reads; if it is to read in its '
               'place, they are resumed', count(*)) END,
        'SELECT keypup.resume_connections();'
      FROM keypup.halted_connections h WHERE h.phase = 'restored' $$),

    ('audit_forwarding', $$
      SELECT b.late = 0,
        CASE WHEN b.sinks = 0 THEN 'the audit log is not forwarded'
             WHEN b.late = 0 THEN format('%s sinks get the audit log', b.sinks)
             ELSE format('%s of %s sinks are an hour behind: %s; the oldest record that is kept for them is %s days '
               'old, keypup.audit_retention is %s', b.late, b.sinks, b.names, extract(day FROM now() - b.first_at),
               current_setting('keypup.audit_retention')) END,
        'SELECT * FROM keypup.audit_forwarding has why. What is not forwarded is kept; keypup.remove_audit_sink ends '
        'that.'
      FROM (
        SELECT count(*) AS sinks, count(*) FILTER (WHERE o.at < now() - interval '1 hour') AS late,
          string_agg(quote_ident(s.name), ', ' ORDER BY s.name) FILTER (WHERE o.at < now() - interval '1 hour')
            AS names,
          min(o.at) AS first_at
        FROM keypup.audit_sinks s
        LEFT JOIN LATERAL (
          SELECT min((
            SELECT r.occurred_at FROM keypup.audit_log r WHERE r.account_id = l.of_account AND r.sequence > l.sent
            ORDER BY r.sequence LIMIT 1)) AS at
          FROM keypup.audit_backlog l WHERE l.account_id = s.account_id AND l.sink_id = s.sink_id
        ) o ON true
        WHERE s.origin = keypup.this_database()
      ) b $$),

    ('commit', $$
      SELECT NOT c.waits,
        CASE WHEN c.waits
             THEN format('no standby that synchronous_standby_names (%s) names is connected: every commit waits',
               current_setting('synchronous_standby_names'))
             ELSE 'commits wait for nobody who is not there' END,
        'Start the standby, or change synchronous_standby_names, and reload.'
      FROM (
        -- As the workers have it; where none has looked yet, as the caller has it.
        SELECT NOT pg_is_in_recovery() AND current_setting('synchronous_standby_names') <> ''
          AND coalesce((SELECT d.waits_for_standby FROM keypup.list_databases() d
                        JOIN pg_database p ON p.oid = d.database_id WHERE p.datname = current_database()),
                       current_setting('synchronous_commit') NOT IN ('off', 'local'))
          AND NOT EXISTS (SELECT FROM pg_stat_get_wal_senders() s WHERE s.sync_state IN ('sync', 'quorum')) AS waits
      ) c $$),

    ('autovacuum', $$
      SELECT a.works AND r.name IS NULL,
        CASE WHEN NOT a.works
             THEN 'autovacuum or track_counts is off: tables that the sync changes grow, and are read ever slower'
             WHEN r.name IS NOT NULL
             THEN format('autovacuum is %I here, who may not vacuum the tables: they grow, and are read ever slower',
               r.name)
             ELSE 'autovacuum is on' END,
        CASE WHEN NOT a.works THEN 'Set autovacuum = on and track_counts = on, and reload.' ELSE r.remedy END
      FROM (
        SELECT current_setting('autovacuum')::boolean AND current_setting('track_counts')::boolean AS works
      ) a
      -- It runs as the superuser that initialized the cluster, and what is set for that one's sessions is set for it.
      LEFT JOIN LATERAL (
        SELECT o.rolname AS name, format(CASE WHEN s.database = 0 THEN 'ALTER ROLE %2$s RESET role;'
                                              WHEN s.role = 0 THEN 'ALTER DATABASE %1$I RESET role;'
                                              ELSE 'ALTER ROLE %2$s IN DATABASE %1$I RESET role;' END,
          current_database(), CASE s.role WHEN 0 THEN 'ALL' ELSE quote_ident(pg_get_userbyid(s.role)) END) AS remedy
        FROM (
          SELECT d.setdatabase AS database, d.setrole AS role, substr(c.setting, length('role=') + 1) AS value
          FROM pg_db_role_setting d
          CROSS JOIN unnest(d.setconfig) AS c (setting)
          WHERE d.setdatabase IN (0, (SELECT p.oid FROM pg_database p WHERE p.datname = current_database()))
            AND d.setrole IN (0, 10) AND c.setting LIKE 'role=%'
          ORDER BY d.setrole = 0, d.setdatabase = 0
          LIMIT 1
        ) s
        JOIN pg_roles o ON o.rolname = s.value AND NOT o.rolsuper
      ) r ON true $$)
  ) AS c (name, query)
  LOOP
    check_name := the_check.name;
    -- Monitoring asks often: it must not start a command of somebody's key service each time.
    IF check_name IN ('key', 'data_keys') AND current_setting('keypup.key_file', true) = ''
       AND current_setting('keypup.key_command', true) <> '' AND NOT runs_command THEN
      ok := NULL;
      detail := 'keypup.key_command is run for superusers only';
      remedy := NULL;
      RETURN NEXT;
      CONTINUE;
    END IF;
    -- Where a check cannot be made, the reason is what is wrong.
    BEGIN
      EXECUTE the_check.query INTO ok, detail, remedy;
    EXCEPTION WHEN OTHERS THEN
      ok := false;
      GET STACKED DIAGNOSTICS detail = MESSAGE_TEXT, remedy = PG_EXCEPTION_HINT;
    END;
    IF ok IS NOT FALSE OR remedy = '' THEN
      remedy := NULL;
    END IF;
    RETURN NEXT;
  END LOOP;
END
$function$;
REVOKE ALL ON FUNCTION keypup.check_installation() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.check_installation() TO pg_monitor;
COMMENT ON FUNCTION keypup.check_installation() IS
  'One row for each thing that must be right for keypup to work in this database: whether it is (NULL: that cannot be '
  'said), what was found, and what to do about it. For operators: superusers and members of pg_monitor.';
