-- account/account.sql: accounts, their members, what each role may do, and the one shape of policy
-- that guards every tenant table.

-- What people write has characters of all the world; other encodings would lose some of it, page by page.
DO $$
BEGIN
  IF pg_catalog.getdatabaseencoding() <> 'UTF8' THEN
    RAISE EXCEPTION 'keypup needs a database in encoding UTF8, not %', pg_catalog.getdatabaseencoding()
      USING ERRCODE = 'feature_not_supported',
            HINT = 'CREATE DATABASE name ENCODING ''UTF8'' LOCALE ''C.UTF-8'' TEMPLATE template0.';
  END IF;
END
$$;

-- Two group roles of the cluster. Neither can log in and neither sees a row by itself:
-- keypup_member may ask (row-level security answers), keypup_worker stores what a provider sent. One that is there
-- already, as in a cluster with another database that has the extension, is taken as it is, and so it must be as it
-- would be made.
DO $$
DECLARE
  wanted pg_catalog.name;
  wrong record;
BEGIN
  FOREACH wanted IN ARRAY ARRAY['keypup_member', 'keypup_worker']::pg_catalog.name[] LOOP
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = wanted) THEN
      EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN NOINHERIT', wanted);
    ELSIF EXISTS (
      SELECT FROM pg_catalog.pg_roles r
      WHERE r.rolname = wanted
        AND (r.rolcanlogin OR r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication)
    ) THEN
      RAISE EXCEPTION 'role "%" exists already with rights that keypup does not give it', wanted
        USING ERRCODE = 'duplicate_object',
              HINT = pg_catalog.format('Drop the role, or: ALTER ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE '
                'NOCREATEDB NOREPLICATION;', wanted);
    END IF;
  END LOOP;
  -- Whoever is in keypup_worker would store as it; what either is in, its members would have; who administers one puts
  -- in whom they like.
  SELECT pg_catalog.pg_get_userbyid(m.member) AS member, pg_catalog.pg_get_userbyid(m.roleid) AS role,
    CASE WHEN m.admin_option THEN 'administers' ELSE 'is a member of' END AS holds INTO wrong
  FROM pg_catalog.pg_auth_members m
  WHERE m.roleid = 'keypup_worker'::pg_catalog.regrole
     OR m.member IN ('keypup_worker'::pg_catalog.regrole, 'keypup_member'::pg_catalog.regrole)
     OR m.roleid = 'keypup_member'::pg_catalog.regrole AND m.admin_option
  ORDER BY 1, 2 LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'role "%" % "%"', wrong.member, wrong.holds, wrong.role
      USING ERRCODE = 'duplicate_object',
            DETAIL = 'Only the background worker may act as keypup_worker, keypup_member gives nothing else, and '
              'nobody administers them.',
            HINT = pg_catalog.format('REVOKE %I FROM %I; before CREATE EXTENSION.', wrong.role, wrong.member);
  END IF;
END
$$;

-- Made here, and so the extension's own: DROP EXTENSION drops it, and one that somebody else has made before is not
-- taken over, with whatever may be in it. (A schema that the control file names would be taken over, and would stay.)
CREATE SCHEMA keypup;
REVOKE ALL ON SCHEMA keypup FROM PUBLIC;
GRANT USAGE ON SCHEMA keypup TO keypup_member, keypup_worker;

CREATE FUNCTION keypup.this_database() RETURNS text
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'keypup_this_database';
REVOKE ALL ON FUNCTION keypup.this_database() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.this_database() TO keypup_member, keypup_worker;
COMMENT ON FUNCTION keypup.this_database() IS
  'System identifier of the server and oid of the database: the same on its standbys, another wherever a dump is '
  'restored.';

CREATE FUNCTION keypup.new_id() RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_new_id';
REVOKE ALL ON FUNCTION keypup.new_id() FROM PUBLIC;
COMMENT ON FUNCTION keypup.new_id() IS
  'A number for a row that an account sees: higher than those before, and counting nothing, as a sequence would count '
  'what others do.';

-- Its cost has it asked last, of the few rows of one name.
CREATE FUNCTION keypup.is_role(role_id oid, role_name text, origin text) RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'keypup_is_role';
CREATE FUNCTION keypup.is_of_this_server(origin text) RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'keypup_is_of_this_server';
REVOKE ALL ON FUNCTION keypup.is_role(oid, text, text), keypup.is_of_this_server(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.is_role(oid, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.is_role(oid, text, text) IS
  'Whether the database role of that oid still has that name; where the row comes from another server (origin, as '
  'this_database has it), whether there is one of that name.';
COMMENT ON FUNCTION keypup.is_of_this_server(text) IS
  'Whether the oids of roles in a row of that origin are those of here.';

CREATE FUNCTION keypup.my_accounts(permission text) RETURNS SETOF uuid
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED ROWS 10 AS 'MODULE_PATHNAME', 'keypup_my_accounts';
REVOKE ALL ON FUNCTION keypup.my_accounts(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.my_accounts(text) TO keypup_member;
COMMENT ON FUNCTION keypup.my_accounts(text) IS
  'The accounts in which the current user has the permission, for example ''data.read''.';

CREATE FUNCTION keypup.my_projects(permission text) RETURNS SETOF bigint
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED ROWS 10 AS 'MODULE_PATHNAME', 'keypup_my_projects';
REVOKE ALL ON FUNCTION keypup.my_projects(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.my_projects(text) TO keypup_member;
COMMENT ON FUNCTION keypup.my_projects(text) IS 'The projects in which the current user has the permission.';

CREATE FUNCTION keypup.my_logins(permission text, OUT account_id uuid, OUT connection_id uuid, OUT login text)
  RETURNS SETOF record
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED ROWS 100 AS 'MODULE_PATHNAME', 'keypup_my_logins';
REVOKE ALL ON FUNCTION keypup.my_logins(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.my_logins(text) TO keypup_member;
COMMENT ON FUNCTION keypup.my_logins(text) IS
  'The logins that stand in rows of the projects in which the current user has the permission, each with the '
  'connection of the project.';

CREATE FUNCTION keypup.sees_all_projects(permission text) RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_sees_all_projects';
REVOKE ALL ON FUNCTION keypup.sees_all_projects(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.sees_all_projects(text) TO keypup_member;
COMMENT ON FUNCTION keypup.sees_all_projects(text) IS
  'Whether the current user is limited to some projects in none of those accounts.';

CREATE FUNCTION keypup.has_permission(account_id uuid, permission text) RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_has_permission';
REVOKE ALL ON FUNCTION keypup.has_permission(uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.has_permission(uuid, text) IS
  'Whether the current user has the permission in the account. Superusers have all, unless they use a session.';

CREATE FUNCTION keypup.has_permission_now(account_id uuid, permission text) RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_has_permission_now';
REVOKE ALL ON FUNCTION keypup.has_permission_now(uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.has_permission_now(uuid, text) IS
  'has_permission, as it is at this moment, also where the transaction still sees what was before: for who changes '
  'something. What it says is asked again when the function ends that was called, as it may have waited for somebody '
  'who has taken the permission away: then it ends in an error. What that function itself has changed does not count.';

CREATE FUNCTION keypup.current_user_name() RETURNS text
LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_current_user_name';
REVOKE ALL ON FUNCTION keypup.current_user_name() FROM PUBLIC;
COMMENT ON FUNCTION keypup.current_user_name() IS
  'Who called a keypup function: the person or API key of the session that is used, or else the database role.';

CREATE FUNCTION keypup.current_user_info(OUT kind text, OUT role_id oid)
LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_current_user_info';
REVOKE ALL ON FUNCTION keypup.current_user_info() FROM PUBLIC;
COMMENT ON FUNCTION keypup.current_user_info() IS
  'What current_user_name is the name of: database_role, person or api_key (NULL: nobody); and the database role that '
  'called.';

CREATE FUNCTION keypup.whoami() RETURNS text
LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_whoami';
REVOKE ALL ON FUNCTION keypup.whoami() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.whoami() TO keypup_member;
COMMENT ON FUNCTION keypup.whoami() IS
  'As whom the current user reads: a person, an API key or a database role; NULL when no account knows them.';

CREATE FUNCTION keypup.job_account() RETURNS uuid
LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_job_account';
REVOKE ALL ON FUNCTION keypup.job_account() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.job_account() TO keypup_worker;
COMMENT ON FUNCTION keypup.job_account() IS 'The account whose page the worker is storing; NULL in any other session.';

-- Intervals compare with months of 30 days, and are added with real ones.
CREATE FUNCTION keypup.end_after(lasts interval, at_most interval) RETURNS timestamptz
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT n.at + lasts FROM (SELECT clock_timestamp() AS at) AS n
  WHERE lasts <= at_most AND n.at + lasts > n.at AND n.at + lasts <= n.at + at_most
$$;
REVOKE ALL ON FUNCTION keypup.end_after(interval, interval) FROM PUBLIC;
COMMENT ON FUNCTION keypup.end_after(interval, interval) IS
  'When that ends which begins now and lasts so long; NULL where it would not last at all, or longer than at_most.';

-- Row-level security without a policy keeps out also whoever may read or write all tables.
CREATE FUNCTION keypup.close_table(relation regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  EXECUTE format('REVOKE ALL ON %s FROM PUBLIC', relation);
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', relation);
  EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', relation);
END
$$;
REVOKE ALL ON FUNCTION keypup.close_table(regclass) FROM PUBLIC;
COMMENT ON FUNCTION keypup.close_table(regclass) IS
  'Closes a table to everybody but superusers; policies and grants then open of it what they say.';

CREATE FUNCTION keypup.protect_table(relation regclass, permission text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  guard text := format('account_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keypup.my_accounts(%L)))', permission);
BEGIN
  IF EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = 'project_id') THEN
    guard := guard || format(' AND ((SELECT keypup.sees_all_projects(%1$L)) OR project_id OPERATOR(pg_catalog.=) ANY '
      '(ARRAY(SELECT keypup.my_projects(%1$L))))', permission);
  END IF;
  IF col_description(relation,
    (SELECT a.attnum FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = 'account_id')) IS NULL THEN
    EXECUTE format('COMMENT ON COLUMN %s.account_id IS %L', relation, 'The account.');
  END IF;
  PERFORM keypup.close_table(relation);
  EXECUTE format('GRANT SELECT ON %s TO keypup_member', relation);
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO keypup_worker', relation);
  EXECUTE format('CREATE POLICY member_reads ON %s FOR SELECT TO keypup_member USING (%s)', relation, guard);
  -- By itself, and not as (SELECT …), which would be a plan to set up for each table of each statement.
  EXECUTE format('CREATE POLICY worker_stores ON %s TO keypup_worker '
                 'USING (account_id OPERATOR(pg_catalog.=) keypup.job_account()) '
                 'WITH CHECK (account_id OPERATOR(pg_catalog.=) keypup.job_account())', relation);
END
$$;
REVOKE ALL ON FUNCTION keypup.protect_table(regclass, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.protect_table(regclass, text) IS
  'Gives a tenant table the comment of its first column, and the one shape of policy: members with the permission '
  'read, those who are limited to some projects the rows of these; the worker stores for the account of its job.';

CREATE TABLE keypup.accounts (
  account_id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
  name text NOT NULL UNIQUE CHECK (name ~ '^[^[:cntrl:]]{1,100}$'),
  created_at timestamptz NOT NULL DEFAULT now(),
  members_changed_at timestamptz NOT NULL DEFAULT now(),
  requires_second_factor boolean NOT NULL DEFAULT false,
  time_zone text NOT NULL DEFAULT 'UTC' CHECK (time_zone ~ '^[^[:cntrl:]]{1,100}$'),
  -- A pattern that ends in a backslash would make views fail.
  production_environments text[] NOT NULL DEFAULT '{production%,prod,live}'
    CHECK (strpos(array_to_string(production_environments, ''), '\') = 0),
  incident_labels text[] NOT NULL DEFAULT '{incident,outage}' CHECK (strpos(array_to_string(incident_labels, ''),
    '\') = 0),
  deployment_window interval NOT NULL DEFAULT '1 hour' CHECK (deployment_window BETWEEN '0' AND '7 days'),
  rework_labels text[] NOT NULL DEFAULT '{hotfix,hot-fix,"hot fix"}' CHECK (strpos(array_to_string(rework_labels, ''),
    '\') = 0),
  blocked_labels text[] NOT NULL DEFAULT '{blocked%,"on hold",on-hold}' CHECK (strpos(array_to_string(blocked_labels,
    ''), '\') = 0),
  stale_after interval NOT NULL DEFAULT '30 days' CHECK (stale_after BETWEEN '1 day' AND '3650 days'),
  working_hours text[] NOT NULL DEFAULT '{Mo-Fr 09:00-17:00}',
  working_minutes integer[] NOT NULL DEFAULT '{540,1020,1980,2460,3420,3900,4860,5340,6300,6780}',
  holidays date[] NOT NULL DEFAULT '{}',
  has_person_working_times boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE keypup.accounts IS 'The customers (tenants). Every other tenant table leads its keys with account_id.';
COMMENT ON COLUMN keypup.accounts.account_id IS 'Identifies the account everywhere.';
COMMENT ON COLUMN keypup.accounts.name IS 'Name by which functions address the account.';
COMMENT ON COLUMN keypup.accounts.created_at IS 'When create_account made it.';
COMMENT ON COLUMN keypup.accounts.members_changed_at IS
  'When its members or roles last changed; changes wait for each other here.';
COMMENT ON COLUMN keypup.accounts.requires_second_factor IS
  'Whether people who sign in with a password show a code, too. Set by require_second_factor.';
COMMENT ON COLUMN keypup.accounts.time_zone IS
  'Where its days, weeks and months begin: a name like Europe/Paris. Set by set_time_zone.';
COMMENT ON COLUMN keypup.accounts.production_environments IS
  'Names of the environments that are production, in lower case, % standing for anything. Set by '
  'set_production_environments.';
COMMENT ON COLUMN keypup.accounts.incident_labels IS
  'Labels and types of the issues that are incidents, in lower case, % standing for anything. Set by '
  'set_incident_labels.';
COMMENT ON COLUMN keypup.accounts.deployment_window IS
  'How long after the first deployment of a commit to production, or a try that failed, another of the same commit is '
  'the same change: another region, or a second try. 0: each deployment is a change. Set by set_deployment_window.';
COMMENT ON COLUMN keypup.accounts.rework_labels IS
  'Labels of the pull requests that mend what is in production, in lower case, % standing for anything; those of '
  'incidents say so, too. Set by set_rework_labels.';
COMMENT ON COLUMN keypup.accounts.blocked_labels IS
  'Labels of issues and pull requests that are blocked, in lower case, % standing for anything. Set by '
  'set_blocked_labels.';
COMMENT ON COLUMN keypup.accounts.stale_after IS
  'How long an open issue or pull request goes without a change until it is stale. Set by set_stale_after.';
COMMENT ON COLUMN keypup.accounts.working_hours IS
  'In which hours of the week people work, by clocks in time_zone. Set by set_working_hours.';
COMMENT ON COLUMN keypup.accounts.working_minutes IS
  'The same: begin and end of each span, in minutes from Monday 0:00 on.';
COMMENT ON COLUMN keypup.accounts.holidays IS 'Days on which nobody works, sorted. Set by set_holidays.';
COMMENT ON COLUMN keypup.accounts.has_person_working_times IS
  'Whether a person has other hours or holidays than these, as of the last set_person_working_time: where nobody has, '
  'views look nobody up.';
SELECT keypup.protect_table('keypup.accounts', 'data.read');
