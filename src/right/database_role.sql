-- right/database_role.sql: which database roles an account may deal with, and what they are granted for it.

CREATE FUNCTION keypup.is_operator() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT coalesce((SELECT r.rolsuper FROM keypup.current_user_info() a JOIN pg_roles r ON r.oid = a.role_id
    WHERE a.kind = 'database_role'), false)
$$;
CREATE FUNCTION keypup.may_act_as(role_id oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT coalesce((SELECT pg_has_role(a.role_id, may_act_as.role_id, 'MEMBER') FROM keypup.current_user_info() a
    WHERE a.kind = 'database_role'), false)
$$;
REVOKE ALL ON FUNCTION keypup.is_operator(), keypup.may_act_as(oid) FROM PUBLIC;
COMMENT ON FUNCTION keypup.is_operator() IS 'Whether a superuser asks, as such.';
COMMENT ON FUNCTION keypup.may_act_as(oid) IS
  'Whether who asks could SET ROLE to the role, so that it is theirs to consent for it.';

CREATE FUNCTION keypup.is_one_person(one_role name, other_role name) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  WITH RECURSIVE holds (holder, held) AS (
    SELECT r.oid, r.oid FROM pg_roles r WHERE r.rolname IN (one_role, other_role)
    UNION
    SELECT h.holder, g.roleid FROM holds h JOIN pg_auth_members g ON g.member = h.held
  )
  SELECT one_role = other_role OR EXISTS (
    SELECT FROM holds h JOIN pg_roles a ON a.oid = h.holder JOIN pg_roles b ON b.oid = h.held
    WHERE a.oid <> b.oid AND a.rolname IN (one_role, other_role) AND b.rolname IN (one_role, other_role))
$$;
REVOKE ALL ON FUNCTION keypup.is_one_person(name, name) FROM PUBLIC;
COMMENT ON FUNCTION keypup.is_one_person(name, name) IS
  'Whether one of two roles has the other, so that one person may act as both. That superusers may act as all does '
  'not count.';

-- What was granted to database roles so that they can ask, and is taken back from them when nothing needs it any more.
CREATE TABLE keypup.opened_roles (
  role_name text NOT NULL PRIMARY KEY,
  role_id oid NOT NULL,
  origin text NOT NULL DEFAULT keypup.this_database(),
  gave_membership boolean NOT NULL,
  gave_usage boolean NOT NULL,
  asked_by xid8
);
COMMENT ON TABLE keypup.opened_roles IS 'What keypup itself has granted to database roles. Nobody''s to read.';
COMMENT ON COLUMN keypup.opened_roles.role_name IS 'The role.';
COMMENT ON COLUMN keypup.opened_roles.role_id IS 'Its oid.';
COMMENT ON COLUMN keypup.opened_roles.origin IS 'The database in which it was granted, as in members.';
COMMENT ON COLUMN keypup.opened_roles.gave_membership IS 'Whether keypup granted it keypup_member, which it had not.';
COMMENT ON COLUMN keypup.opened_roles.gave_usage IS 'Whether keypup granted it USAGE on the schema, which it had not.';
COMMENT ON COLUMN keypup.opened_roles.asked_by IS
  'The transaction for which it was granted, in another, before that one had ended; NULL: it was granted in that one.';
SELECT keypup.close_table('keypup.opened_roles');

CREATE FUNCTION keypup.has_usage(role_id oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT EXISTS (SELECT FROM pg_namespace n, aclexplode(n.nspacl) a
                 WHERE n.nspname = 'keypup' AND a.grantee = has_usage.role_id AND a.privilege_type = 'USAGE')
$$;
CREATE FUNCTION keypup.has_membership(role_id oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT EXISTS (
    SELECT FROM pg_auth_members g
    WHERE g.roleid = 'keypup_member'::regrole AND g.member = has_membership.role_id)
$$;
REVOKE ALL ON FUNCTION keypup.has_usage(oid), keypup.has_membership(oid) FROM PUBLIC;
COMMENT ON FUNCTION keypup.has_membership(oid) IS 'Whether a role was itself granted keypup_member.';
COMMENT ON FUNCTION keypup.has_usage(oid) IS 'Whether a role was itself granted USAGE on the schema.';

CREATE FUNCTION keypup.guard_database_role(account_id uuid, database_role name) RETURNS oid
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  known record;
  problem text;
BEGIN
  SELECT r.oid, r.rolsuper OR r.rolreplication OR r.rolbypassrls OR r.rolcreaterole AS is_mighty INTO known
  FROM pg_roles r WHERE r.rolname = database_role;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'database role "%" does not exist', database_role USING ERRCODE = 'undefined_object',
      HINT = format('CREATE ROLE %I LOGIN first.', database_role);
  END IF;
  problem := CASE
    WHEN database_role ~ '^(pg_|keypup_)' THEN 'It is a role of the system.'
    WHEN keypup.is_operator() THEN NULL
    WHEN known.is_mighty THEN 'It may do more in this server than read tables.'
    WHEN EXISTS (
      SELECT FROM (SELECT bool_or(o.gave_usage) AS usage, bool_or(o.gave_membership) AS membership
                   FROM keypup.opened_roles o
                   WHERE o.role_name = database_role::text AND keypup.is_role(o.role_id, o.role_name, o.origin)) g
      WHERE keypup.has_usage(known.oid) AND g.usage IS NOT TRUE
         OR keypup.has_membership(known.oid) AND g.membership IS NOT TRUE)
      THEN 'An operator has granted it what keypup grants to members, as to an application''s role, by which many ask.'
  END;
  IF problem IS NOT NULL THEN
    PERFORM keypup.note_refusal(account_id, 'role.grant', format('to database role "%s"', database_role));
    RAISE EXCEPTION 'role "%" cannot be a member', database_role
      USING ERRCODE = 'invalid_parameter_value', DETAIL = problem, HINT = 'Name the role of a person or of a BI tool.';
  END IF;
  RETURN known.oid;
END
$$;
REVOKE ALL ON FUNCTION keypup.guard_database_role(uuid, name) FROM PUBLIC;
COMMENT ON FUNCTION keypup.guard_database_role(uuid, name) IS
  'The oid of a database role, if an account may give it rights: none of the system, and, unless an operator asks, '
  'none that serves others or administers the server.';

-- A grant holds what all accounts share until its transaction ends (role_opener.c): so who grants or takes back does it
-- one after the other, and customers never in a transaction of their own.
CREATE FUNCTION keypup.open_schema_to(database_role name, asked_by xid8) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_role_id oid := (SELECT r.oid FROM pg_roles r WHERE r.rolname = database_role);
  gives_membership boolean;
  gives_usage boolean;
BEGIN
  LOCK TABLE keypup.opened_roles IN SHARE ROW EXCLUSIVE MODE;
  DELETE FROM keypup.opened_roles o
  WHERE o.role_name = database_role::text AND NOT keypup.is_role(o.role_id, o.role_name, o.origin);
  gives_membership := NOT keypup.has_membership(the_role_id);
  gives_usage := NOT keypup.has_usage(the_role_id);
  IF NOT gives_membership AND NOT gives_usage THEN
    RETURN;
  END IF;
  IF gives_membership THEN
    EXECUTE format('GRANT keypup_member TO %I', database_role);
  END IF;
  IF gives_usage THEN
    EXECUTE format('GRANT USAGE ON SCHEMA keypup TO %I', database_role);
  END IF;
  INSERT INTO keypup.opened_roles AS o (role_name, role_id, gave_membership, gave_usage, asked_by)
  VALUES (database_role::text, the_role_id, gives_membership, gives_usage, open_schema_to.asked_by)
  ON CONFLICT ON CONSTRAINT opened_roles_pkey DO UPDATE
    SET gave_membership = o.gave_membership OR excluded.gave_membership,
      gave_usage = o.gave_usage OR excluded.gave_usage,
      role_id = excluded.role_id, origin = excluded.origin, asked_by = excluded.asked_by;
END
$$;
REVOKE ALL ON FUNCTION keypup.open_schema_to(name, xid8) FROM PUBLIC;
COMMENT ON FUNCTION keypup.open_schema_to(name, xid8) IS
  'Lets a database role ask; what it sees is for row-level security to say. What it had not is granted, and '
  'remembered. asked_by: the other transaction that it is done for, or NULL.';

CREATE FUNCTION keypup.open_schema_aside(role_id oid) RETURNS void
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'keypup_open_schema_aside';
REVOKE ALL ON FUNCTION keypup.open_schema_aside(oid) FROM PUBLIC;
COMMENT ON FUNCTION keypup.open_schema_aside(oid) IS
  'Does open_schema_to for a role in a transaction of its own, and waits for its end.';

CREATE FUNCTION keypup.let_in(database_role name) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_role_id oid := (SELECT r.oid FROM pg_roles r WHERE r.rolname = database_role);
BEGIN
  IF keypup.is_operator() THEN
    PERFORM keypup.open_schema_to(database_role, NULL::xid8);
  ELSIF NOT keypup.has_membership(the_role_id) OR NOT keypup.has_usage(the_role_id) THEN
    PERFORM keypup.open_schema_aside(the_role_id);
  END IF;
END
$$;
CREATE FUNCTION keypup.let_out(database_role text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF keypup.is_operator() THEN
    PERFORM keypup.close_schema_to(database_role);
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.let_in(name), keypup.let_out(text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.let_in(name) IS
  'Lets a database role ask from now on: at once for an operator, otherwise in a transaction of its own.';
COMMENT ON FUNCTION keypup.let_out(text) IS
  'Takes back what a database role was granted, if nothing needs it any more: at once for an operator; otherwise the '
  'worker does, within a minute.';

CREATE FUNCTION keypup.close_schema_to(database_role text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  given keypup.opened_roles;
  holder record;
BEGIN
  IF NOT EXISTS (SELECT FROM keypup.opened_roles o WHERE o.role_name = database_role) THEN
    RETURN false;
  END IF;
  LOCK TABLE keypup.opened_roles IN SHARE ROW EXCLUSIVE MODE;
  SELECT o.* INTO given FROM keypup.opened_roles o WHERE o.role_name = database_role;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  -- The role that was granted it, whatever its name is now.
  SELECT r.oid, r.rolname INTO holder FROM pg_roles r
  WHERE CASE WHEN keypup.is_of_this_server(given.origin) THEN r.oid = given.role_id
    ELSE r.rolname = given.role_name END;
  IF EXISTS (SELECT FROM keypup.members m
             WHERE m.member = holder.rolname AND m.kind = 'database_role'
               AND keypup.is_role(m.role_id, m.member, m.origin))
     OR EXISTS (SELECT FROM keypup.rights r WHERE r.kind = 'support' AND r.holder = holder.rolname) THEN
    RETURN false;
  END IF;
  IF given.gave_usage AND holder.oid IS NOT NULL THEN
    EXECUTE format('REVOKE USAGE ON SCHEMA keypup FROM %I', holder.rolname);
  END IF;
  -- The group is the cluster's: another database may need it still.
  IF given.gave_membership AND EXISTS (
       SELECT FROM pg_shdepend d
       WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = holder.oid AND d.classid = 'pg_namespace'::regclass
         AND d.deptype = 'a'
         AND d.dbid <> (SELECT b.oid FROM pg_database b WHERE b.datname = current_database())) THEN
    UPDATE keypup.opened_roles o SET gave_usage = false WHERE o.role_name = database_role AND o.gave_usage;
    RETURN FOUND;
  END IF;
  IF given.gave_membership AND holder.oid IS NOT NULL THEN
    EXECUTE format('REVOKE keypup_member FROM %I', holder.rolname);
  END IF;
  DELETE FROM keypup.opened_roles o WHERE o.role_name = database_role;
  RETURN true;
END
$$;
REVOKE ALL ON FUNCTION keypup.close_schema_to(text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.close_schema_to(text) IS
  'Takes back what open_schema_to has granted a role, and no more, unless it is needed still. Returns whether it did.';

CREATE FUNCTION keypup.allow_application(database_role name) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM keypup.guard_writes();
  LOCK TABLE keypup.opened_roles IN SHARE ROW EXCLUSIVE MODE;
  EXECUTE format('GRANT keypup_member TO %I', database_role);
  EXECUTE format('GRANT USAGE ON SCHEMA keypup TO %I', database_role);
  DELETE FROM keypup.opened_roles o WHERE o.role_name = database_role::text;
END
$$;
REVOKE ALL ON FUNCTION keypup.allow_application(name) FROM PUBLIC;
COMMENT ON FUNCTION keypup.allow_application(name) IS
  'Grants a role, by which an application asks for many, what it needs for that: no account can make it a member, or '
  'take it back, also one that had made it a member before. For superusers.';

-- Every minute: what ends by the clock, or by a role that is dropped or renamed, tells nobody.
CREATE FUNCTION keypup.keep_roles() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  -- A customer's open transaction is not waited for: the next minute will do.
  WITH foreign_row AS (
    SELECT m.account_id, m.member FROM keypup.members m
    WHERE m.kind = 'database_role' AND NOT keypup.is_of_this_server(m.origin)
    FOR NO KEY UPDATE SKIP LOCKED
  )
  UPDATE keypup.members m SET role_id = r.oid, origin = keypup.this_database()
  FROM foreign_row f
  JOIN pg_roles r ON r.rolname = f.member
  WHERE m.account_id = f.account_id AND m.member = f.member;
  -- Nor is it known before its end what a transaction needs.
  PERFORM keypup.close_schema_to(o.role_name) FROM keypup.opened_roles o
  WHERE o.asked_by IS NULL OR NOT keypup.is_of_this_server(o.origin)
    OR pg_visible_in_snapshot(o.asked_by, pg_current_snapshot());
  RETURN 0;
END
$$;
REVOKE ALL ON FUNCTION keypup.keep_roles() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.keep_roles() TO keypup_worker;
COMMENT ON FUNCTION keypup.keep_roles() IS
  'Takes back what was granted to roles that nothing needs any more, and, in a restored dump, puts the oids of here '
  'in. For the worker.';
