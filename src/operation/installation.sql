-- operation/installation.sql: everything that may be wrong with an installation, in one place.

CREATE FUNCTION keypup.library(OUT version text, OUT preloaded boolean)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'keypup_library';
CREATE FUNCTION keypup.check_ca_file(OUT ok boolean, OUT detail text, OUT remedy text)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'keypup_check_ca_file';
CREATE FUNCTION keypup.list_databases(OUT database_id oid, OUT workers_wanted integer, OUT no_slot_since timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE ROWS 10 AS 'MODULE_PATHNAME', 'keypup_list_databases';
REVOKE ALL ON FUNCTION keypup.library(), keypup.check_ca_file(), keypup.list_databases() FROM PUBLIC;
COMMENT ON FUNCTION keypup.library() IS
  'The library that this server runs: its version, and whether it was loaded when the server started.';
COMMENT ON FUNCTION keypup.check_ca_file() IS
  'Whether there are certificate authorities to check providers'' certificates against.';
COMMENT ON FUNCTION keypup.list_databases() IS
  'What the launcher knows of the databases of this server: how many workers each wants (NULL: none, or not known), '
  'and since when max_worker_processes has had no room for them.';

CREATE FUNCTION keypup.check_installation(OUT check_name text, OUT ok boolean, OUT detail text, OUT remedy text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SECURITY DEFINER ROWS 14 SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $function$
DECLARE
  the_check record;
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
      FROM keypup.library() l, keypup.diagnose_workers() d $$),

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
        coalesce(string_agg(format('%s line %s: %s', f.sourcefile, f.sourceline, concat_ws(': ', f.name,
            CASE WHEN f.name <> '' AND s.name IS NULL THEN 'there is no such setting' ELSE f.error END)),
            '; ' ORDER BY f.seqno),
          'the configuration files have no error in a line of keypup''s'),
        'Correct it, and reload.'
      FROM pg_file_settings f
      LEFT JOIN pg_settings s ON lower(s.name COLLATE "C") = lower(f.name COLLATE "C")
      WHERE f.name IS NULL OR f.name COLLATE "C" ILIKE 'keypup.%' AND (f.error IS NOT NULL OR s.name IS NULL) $$),

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
        coalesce(string_agg(p.problem, '; '), 'keypup_member and keypup_worker are as they should be'),
        string_agg(p.remedy, ' ')
      FROM unnest(ARRAY['keypup_member', 'keypup_worker']) AS n (name)
      LEFT JOIN pg_roles r ON r.rolname = n.name
      CROSS JOIN LATERAL (VALUES
        (r.oid IS NULL, format('role %s is missing', n.name),
          'Restore the roles of the cluster, as pg_dumpall --globals-only has them.'),
        (r.rolcanlogin OR r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolreplication,
          format('role %s has rights that keypup does not give it', n.name),
          format('ALTER ROLE %s NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOREPLICATION.', n.name)),
        (n.name = 'keypup_worker' AND EXISTS (SELECT FROM pg_auth_members m WHERE m.roleid = r.oid),
          'role keypup_worker has members', 'Revoke keypup_worker from them.')) AS p (is_wrong, problem, remedy)
      WHERE p.is_wrong $$),

    ('launcher', $$
      SELECT CASE WHEN l.preloaded AND pg_is_in_recovery() THEN NULL ELSE p.pid IS NOT NULL END,
        CASE WHEN NOT l.preloaded THEN 'keypup is not preloaded'
             WHEN p.pid IS NOT NULL THEN format('it is running, as process %s', p.pid)
             WHEN pg_is_in_recovery() THEN 'the server is a standby: it starts when that is promoted'
             ELSE 'it is not running' END,
        CASE WHEN NOT l.preloaded THEN 'See the check of preload.'
             ELSE format('The server''s log says why; max_worker_processes (%s) must have room for it.',
               current_setting('max_worker_processes')) END
      FROM keypup.library() l LEFT JOIN keypup.list_workers() p ON p.database_id IS NULL $$),

    ('workers', 'SELECT d.ok, d.detail, d.remedy FROM keypup.diagnose_workers() d'),

    ('worker_processes', $$
      SELECT CASE WHEN l.preloaded AND NOT pg_is_in_recovery() THEN s.missing = 0 END,
        format('max_worker_processes is %s, of which keypup uses %s', current_setting('max_worker_processes'),
            (SELECT count(*) FROM keypup.list_workers()))
          || CASE WHEN s.missing > 0
                  THEN format('; none was left for %s workers of %s since %s', s.missing, s.names, s.since) ELSE '' END,
        format('Set max_worker_processes = %s or more in postgresql.conf, and restart the server.',
          current_setting('max_worker_processes')::bigint + s.missing)
      FROM keypup.library() l
      CROSS JOIN (
        SELECT coalesce(sum(greatest(1, d.workers_wanted - w.workers)), 0) AS missing,
          string_agg(quote_ident(p.datname), ', ' ORDER BY p.datname) AS names, min(d.no_slot_since) AS since
        FROM keypup.list_databases() d
        JOIN pg_database p ON p.oid = d.database_id
        CROSS JOIN LATERAL (
          SELECT count(*) AS workers FROM keypup.list_workers() x WHERE x.database_id = d.database_id
        ) w
        WHERE d.no_slot_since IS NOT NULL
      ) s $$),

    ('commit', $$
      SELECT NOT c.waits,
        CASE WHEN c.waits
             THEN format('no standby that synchronous_standby_names (%s) names is connected: every commit waits',
               current_setting('synchronous_standby_names'))
             ELSE 'commits wait for nobody who is not there' END,
        'Start the standby, or change synchronous_standby_names, and reload.'
      FROM (
        SELECT NOT pg_is_in_recovery() AND current_setting('synchronous_standby_names') <> ''
          AND current_setting('synchronous_commit') NOT IN ('off', 'local')
          AND NOT EXISTS (SELECT FROM pg_stat_get_wal_senders() s WHERE s.sync_state IN ('sync', 'quorum')) AS waits
      ) c $$),

    ('autovacuum', $$
      SELECT a.works,
        CASE WHEN a.works THEN 'autovacuum is on'
             ELSE 'autovacuum or track_counts is off: tables that the sync changes grow, and are read ever slower' END,
        'Set autovacuum = on and track_counts = on, and reload.'
      FROM (
        SELECT current_setting('autovacuum')::boolean AND current_setting('track_counts')::boolean AS works
      ) a $$)
  ) AS c (name, query)
  LOOP
    check_name := the_check.name;
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
