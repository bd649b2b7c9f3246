-- right/member.sql: accounts, and who belongs to them. These functions run as their owner; each asks
-- keypup.authorize first, which knows who called, and says no unless the caller may.

CREATE FUNCTION keypup.authorize(account text, permission text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  found_id uuid;
BEGIN
  -- CALL keypup.sync, which tokens.use is for, writes in transactions of its own.
  IF permission <> 'tokens.use' OR pg_is_in_recovery() THEN
    PERFORM keypup.guard_writes();
  END IF;
  IF account IS NULL THEN
    RAISE EXCEPTION 'an account is needed'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'SELECT name FROM keypup.accounts shows your accounts.';
  END IF;
  SELECT a.account_id INTO found_id FROM keypup.accounts a WHERE a.name = account;
  -- One answer for an account that is not there and one that is another's.
  IF found_id IS NULL OR NOT keypup.has_permission_now(found_id, permission) THEN
    PERFORM keypup.note_refusal(found_id, permission,
      CASE WHEN found_id IS NULL THEN 'there is no such account' ELSE 'the permission is missing' END);
    RAISE EXCEPTION 'account "%" does not exist, or you may not do this in it', account
      USING ERRCODE = 'insufficient_privilege', DETAIL = format('The permission needed is "%s".', permission),
            HINT = 'SELECT name FROM keypup.accounts shows your accounts; an owner or admin of the account can change '
              'your role.';
  END IF;
  RETURN found_id;
END
$$;
REVOKE ALL ON FUNCTION keypup.authorize(text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.authorize(text, text) IS
  'The id of the account, if who called a keypup function has the permission in it at this moment, and still when '
  'that function ends (has_permission_now), and the function can write. Only functions that change something ask.';

CREATE FUNCTION keypup.authorize_rights(account text, permission text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM keypup.lock_members(keypup.authorize(account, permission));
  -- Whoever was waited for may have taken the permission away.
  RETURN keypup.authorize(account, permission);
END
$$;
REVOKE ALL ON FUNCTION keypup.authorize_rights(text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.authorize_rights(text, text) IS
  'authorize, for what changes who may do what, or how they prove who they are: such changes come one after the '
  'other, and none is made on what was so before another.';

CREATE FUNCTION keypup.create_account(name text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  new_id uuid;
BEGIN
  PERFORM keypup.guard_writes();
  IF name IS NULL OR name !~ '^[^[:cntrl:]]{1,100}$' THEN
    RAISE EXCEPTION 'an account name has 1 to 100 characters, none of them a control character'
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF EXISTS (SELECT FROM keypup.accounts a WHERE a.name = create_account.name) THEN
    RAISE EXCEPTION 'account "%" exists already', name USING ERRCODE = 'duplicate_object',
      HINT = 'Choose another name.';
  END IF;
  INSERT INTO keypup.accounts (name) VALUES (create_account.name) RETURNING account_id INTO new_id;
  PERFORM keypup.record_action(new_id, 'account.create', name);
  RETURN new_id;
END
$$;
REVOKE ALL ON FUNCTION keypup.create_account(text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.create_account(text) IS 'Creates an account (a customer). For operators: granted to nobody.';

CREATE FUNCTION keypup.guard_permissions(account_id uuid, role text, permissions text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  missing text;
BEGIN
  SELECT p INTO missing FROM unnest(permissions) p WHERE NOT keypup.has_permission_now(account_id, p) ORDER BY p
  LIMIT 1;
  IF missing IS NOT NULL THEN
    PERFORM keypup.note_refusal(account_id, 'role.grant', format('role "%s" may do more than the current user', role));
    RAISE EXCEPTION 'you can neither give nor take role "%": it may do more than you', role
      USING ERRCODE = 'insufficient_privilege',
        DETAIL = format('It has the permission "%s", which you have not.', missing);
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.guard_permissions(uuid, text, text[]) FROM PUBLIC;
COMMENT ON FUNCTION keypup.guard_permissions(uuid, text, text[]) IS
  'Refuses a role with these permissions if the caller has not all of them.';

CREATE FUNCTION keypup.guard_role(account_id uuid, role text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  permissions text[] := ARRAY(
    SELECT r.permission FROM keypup.roles r
    WHERE r.account_id = guard_role.account_id AND r.role = guard_role.role);
BEGIN
  IF role IS NULL OR cardinality(permissions) = 0 THEN
    PERFORM keypup.note_refusal(account_id, 'role.grant', format('role "%s" does not exist', role));
    RAISE EXCEPTION 'role "%" does not exist', role USING ERRCODE = 'invalid_parameter_value',
      HINT = 'The roles are ' || (SELECT string_agg(DISTINCT r.role, ', ' ORDER BY r.role) FROM keypup.roles r
        WHERE r.account_id = guard_role.account_id) || '.';
  END IF;
  PERFORM keypup.guard_permissions(account_id, role, permissions);
END
$$;
REVOKE ALL ON FUNCTION keypup.guard_role(uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.guard_role(uuid, text) IS
  'Refuses a role that is not there, or that may do more than who calls.';

CREATE FUNCTION keypup.guard_change(account_id uuid, member text, old_role text, new_role text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF old_role IS NOT NULL THEN
    PERFORM keypup.guard_role(account_id, old_role);
  END IF;
  IF new_role IS NOT NULL THEN
    PERFORM keypup.guard_role(account_id, new_role);
  END IF;
  IF old_role = 'owner' AND new_role IS DISTINCT FROM 'owner'
     -- Of those who are owners at this moment: the only one stays.
     AND (SELECT bool_and(w.holder = guard_change.member) FROM keypup.member_rights w
          WHERE w.account_id = guard_change.account_id AND w.permission = 'account.delete') THEN
    PERFORM keypup.note_refusal(account_id, 'member.remove', 'the last owner stays');
    RAISE EXCEPTION 'the last owner of an account stays its owner' USING ERRCODE = 'object_in_use',
      HINT = 'Add another owner first.';
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.guard_change(uuid, text, text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.guard_change(uuid, text, text, text) IS
  'Refuses a change of a member''s role (NULL: no member) that the caller may not make, or that leaves no owner. '
  'authorize_rights comes first.';

CREATE FUNCTION keypup.lock_members(account_id uuid) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  -- A change, not a lock: a transaction that sees the members as they were before must fail, not go on.
  UPDATE keypup.accounts a SET members_changed_at = clock_timestamp() WHERE a.account_id = lock_members.account_id
$$;
REVOKE ALL ON FUNCTION keypup.lock_members(uuid) FROM PUBLIC;
COMMENT ON FUNCTION keypup.lock_members(uuid) IS
  'Has changes of an account''s members and roles come one after the other.';

CREATE FUNCTION keypup.put_member(account_id uuid, member text, kind text, role text, role_id oid, confirmed boolean)
  RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  old record;
BEGIN
  SELECT m.role, m.kind INTO old FROM keypup.members m
  WHERE m.account_id = put_member.account_id AND m.member = put_member.member;
  PERFORM keypup.guard_change(account_id, member, old.role, role);
  IF old.kind <> kind THEN
    RAISE EXCEPTION '"%" is a member already, of another kind', member USING ERRCODE = 'duplicate_object',
      HINT = 'Choose another name for the person.';
  END IF;
  INSERT INTO keypup.members AS m (account_id, member, kind, role, added_by, role_id, confirmed_at)
  VALUES (put_member.account_id, put_member.member, put_member.kind, put_member.role, keypup.current_user_name(),
    put_member.role_id,
    CASE WHEN confirmed THEN now() END)
  ON CONFLICT ON CONSTRAINT members_pkey DO UPDATE
    SET role = excluded.role, by_groups = false, added_by = excluded.added_by, added_at = now(),
        -- What a role has accepted, it has accepted; a new role of the name has not.
        confirmed_at = CASE WHEN m.kind = 'person' OR keypup.is_role(m.role_id, m.member, m.origin)
                            THEN coalesce(m.confirmed_at, excluded.confirmed_at) ELSE excluded.confirmed_at END,
        role_id = excluded.role_id, origin = excluded.origin;
  PERFORM keypup.record_action(account_id, CASE WHEN old.role IS NULL THEN 'member.add' ELSE 'member.change' END,
    format('%s "%s", role "%s"', replace(kind, '_', ' '), member, role));
END
$$;
REVOKE ALL ON FUNCTION keypup.put_member(uuid, text, text, text, oid, boolean) FROM PUBLIC;
COMMENT ON FUNCTION keypup.put_member(uuid, text, text, text, oid, boolean) IS
  'Adds a member or changes the role of one; confirmed: it holds at once.';

CREATE FUNCTION keypup.add_member(account text, member name, role text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize_rights(account, 'users.manage');
  the_role_id oid;
BEGIN
  PERFORM keypup.guard_role(the_account, role);
  the_role_id := keypup.guard_database_role(the_account, member);
  PERFORM keypup.put_member(the_account, member::text, 'database_role', role, the_role_id,
    keypup.may_act_as(the_role_id));
  PERFORM keypup.let_in(member);
END
$$;
REVOKE ALL ON FUNCTION keypup.add_member(text, name, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.add_member(text, name, text) TO keypup_member;
COMMENT ON FUNCTION keypup.add_member(text, name, text) IS
  'Makes a database role a member of the account, or changes its role: owner, admin, member, viewer or one of the '
  'account''s own. It holds at once when an operator does it, or who may act as the role; otherwise from when the '
  'role calls accept_membership.';

CREATE FUNCTION keypup.accept_membership(account text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  who text := keypup.current_user_name();
  the_account uuid;
BEGIN
  PERFORM keypup.guard_writes();
  SELECT m.account_id INTO the_account
  FROM keypup.accounts a
  JOIN keypup.members m ON m.account_id = a.account_id
  WHERE a.name = account AND m.kind = 'database_role' AND m.member = who AND m.confirmed_at IS NULL
    AND keypup.is_role(m.role_id, m.member, m.origin)
    AND (SELECT s.kind = 'database_role' FROM keypup.current_user_info() s);
  IF the_account IS NULL THEN
    RAISE EXCEPTION 'account "%" does not exist, or has not invited you', account
      USING ERRCODE = 'insufficient_privilege', HINT = 'An owner or admin of the account invites a role with '
        'keypup.add_member.';
  END IF;
  PERFORM keypup.lock_members(the_account);
  UPDATE keypup.members m SET confirmed_at = now()
  WHERE m.account_id = the_account AND m.member = who AND m.confirmed_at IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the invitation was taken back meanwhile' USING ERRCODE = 'serialization_failure',
      HINT = 'Try again.';
  END IF;
  PERFORM keypup.record_action(the_account, 'member.accept', who);
END
$$;
REVOKE ALL ON FUNCTION keypup.accept_membership(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.accept_membership(text) TO keypup_member;
COMMENT ON FUNCTION keypup.accept_membership(text) IS
  'Has the calling database role accept that it was added to an account: until then it sees nothing of it.';

CREATE FUNCTION keypup.add_person(account text, person text, role text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize_rights(account, 'users.manage');
BEGIN
  IF person IS NULL OR person !~ '^[^[:cntrl:]]{1,200}$' THEN
    RAISE EXCEPTION 'a person''s name has 1 to 200 characters, none of them a control character'
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM keypup.put_member(the_account, person, 'person', role, NULL::oid, true);
END
$$;
REVOKE ALL ON FUNCTION keypup.add_person(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.add_person(text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.add_person(text, text, text) IS
  'Makes a person who signs in, and has no database role, a member of the account, or changes the person''s role.';

CREATE FUNCTION keypup.find_member(account_id uuid, account text, member text) RETURNS keypup.members
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  found_member keypup.members;
BEGIN
  SELECT m.* INTO found_member FROM keypup.members m
  WHERE m.account_id = find_member.account_id AND m.member = find_member.member;
  IF found_member.member IS NULL THEN
    RAISE EXCEPTION '"%" is not a member of account "%"', member, account USING ERRCODE = 'undefined_object',
      HINT = 'SELECT * FROM keypup.members shows the members.';
  END IF;
  RETURN found_member;
END
$$;
REVOKE ALL ON FUNCTION keypup.find_member(uuid, text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.find_member(uuid, text, text) IS
  'A member of the account (which is also named, for the error when there is none).';

CREATE FUNCTION keypup.guard_person(account_id uuid, account text, person text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_role text;
BEGIN
  SELECT m.role INTO the_role FROM keypup.members m
  WHERE m.account_id = guard_person.account_id AND m.member = person AND m.kind = 'person';
  IF the_role IS NULL THEN
    RAISE EXCEPTION 'person "%" is not a member of account "%"', person, account USING ERRCODE = 'undefined_object',
      HINT = 'Add the person with keypup.add_person first.';
  END IF;
  PERFORM keypup.guard_role(account_id, the_role);
END
$$;
REVOKE ALL ON FUNCTION keypup.guard_person(uuid, text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.guard_person(uuid, text, text) IS
  'Refuses a person who is not a member, or who may do more than who calls.';

CREATE FUNCTION keypup.end_what_was_made(account_id uuid, kind text, name text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  -- It has ended with the member already (still_may); nor shall it come back when somebody of the name does.
  UPDATE keypup.api_keys k SET revoked_at = now()
  WHERE k.account_id = end_what_was_made.account_id AND k.revoked_at IS NULL
    AND (k.made_by).kind = end_what_was_made.kind AND (k.made_by).name = end_what_was_made.name;
  UPDATE keypup.support_grants g SET revoked_at = clock_timestamp(), revoked_by = keypup.current_user_name()
  WHERE g.account_id = end_what_was_made.account_id AND g.revoked_at IS NULL
    AND (g.made_by).kind = end_what_was_made.kind AND (g.made_by).name = end_what_was_made.name;
  DELETE FROM keypup.connection_tokens t
  WHERE t.account_id = end_what_was_made.account_id AND t.purpose IN ('webhook_secret', 'webhook_secret_before')
    AND (t.made_by).kind = end_what_was_made.kind AND (t.made_by).name = end_what_was_made.name;
END
$$;
REVOKE ALL ON FUNCTION keypup.end_what_was_made(uuid, text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.end_what_was_made(uuid, text, text) IS
  'Ends for good what somebody who is a member no longer has made: API keys, consents, webhooks'' secrets.';

CREATE FUNCTION keypup.remove_member(account text, member text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize_rights(account, 'users.manage');
  old keypup.members;
BEGIN
  old := keypup.find_member(the_account, account, member);
  PERFORM keypup.guard_change(the_account, member, old.role, NULL);
  DELETE FROM keypup.members m WHERE m.account_id = the_account AND m.member = remove_member.member;
  PERFORM keypup.drop_sessions(the_account, member);
  PERFORM keypup.forget_sources(the_account, member);
  PERFORM keypup.end_what_was_made(the_account, old.kind, member);
  IF old.kind = 'database_role' THEN
    PERFORM keypup.let_out(member);
  END IF;
  PERFORM keypup.record_action(the_account, 'member.remove', member);
END
$$;
REVOKE ALL ON FUNCTION keypup.remove_member(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.remove_member(text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.remove_member(text, text) IS
  'Ends a membership, with the API keys, consents and webhook secrets that the member made; the role or person sees '
  'nothing of the account from the next statement on.';

CREATE FUNCTION keypup.limit_member(account text, member text, projects text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize_rights(account, 'users.manage');
  the_projects bigint[] := keypup.find_projects(the_account, projects);
  old keypup.members;
BEGIN
  old := keypup.find_member(the_account, account, member);
  PERFORM keypup.guard_role(the_account, old.role);
  IF old.role = 'owner' AND projects IS NOT NULL THEN
    RAISE EXCEPTION 'an owner is not limited to some projects' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'Give another role first.';
  END IF;
  UPDATE keypup.members m SET all_projects = projects IS NULL
  WHERE m.account_id = the_account AND m.member = limit_member.member;
  DELETE FROM keypup.member_projects p WHERE p.account_id = the_account AND p.member = limit_member.member;
  INSERT INTO keypup.member_projects (account_id, member, project_id) SELECT the_account, limit_member.member, p
  FROM unnest(the_projects) p;
  PERFORM keypup.record_action(the_account, 'member.limit', member || CASE WHEN projects IS NULL THEN ': all projects'
    ELSE ': ' || array_to_string(projects, ', ') END);
END
$$;
REVOKE ALL ON FUNCTION keypup.limit_member(text, text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.limit_member(text, text, text[]) TO keypup_member;
COMMENT ON FUNCTION keypup.limit_member(text, text, text[]) IS
  'Limits a member to reading the named projects; NULL: all projects again.';

CREATE FUNCTION keypup.define_role(account text, role text, permissions text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize_rights(account, 'users.manage');
  wrong text;
BEGIN
  IF role IS NULL OR role !~ '^[^[:cntrl:]]{1,63}$' OR role IN ('owner', 'admin', 'member', 'viewer') THEN
    RAISE EXCEPTION 'role "%" cannot be defined', regexp_replace(left(role, 63), '[[:cntrl:]]', '?', 'g')
      USING ERRCODE = 'invalid_parameter_value', HINT = 'A name has 1 to 63 characters and is none of owner, admin, '
        'member and viewer.';
  END IF;
  SELECT p INTO wrong FROM unnest(permissions) p
  WHERE p IS NULL OR p NOT IN (SELECT b.permission FROM keypup.role_permissions b WHERE b.role = 'admin') ORDER BY p
  LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'permission "%" cannot be given to a role of one''s own', wrong
      USING ERRCODE = 'invalid_parameter_value', HINT = 'SELECT permission FROM keypup.role_permissions WHERE role = '
        '''admin'' shows those that can.';
  END IF;
  IF coalesce(cardinality(permissions), 0) = 0
     AND EXISTS (
       SELECT FROM keypup.members m WHERE m.account_id = the_account AND m.role = define_role.role
       UNION ALL
       SELECT FROM keypup.api_keys k
       WHERE k.account_id = the_account AND k.role = define_role.role AND k.revoked_at IS NULL
       UNION ALL
       SELECT FROM keypup.identity_groups g WHERE g.account_id = the_account AND g.role = define_role.role) THEN
    RAISE EXCEPTION 'role "%" is in use', role USING ERRCODE = 'object_in_use',
      HINT = 'Give its members and groups another role first, and revoke its API keys.';
  END IF;
  -- Before anything is written: the role may be the caller's own.
  IF EXISTS (
    SELECT FROM keypup.account_role_permissions p WHERE p.account_id = the_account AND p.role = define_role.role
  ) THEN
    PERFORM keypup.guard_role(the_account, role);
  END IF;
  PERFORM keypup.guard_permissions(the_account, role, permissions);
  DELETE FROM keypup.account_role_permissions p WHERE p.account_id = the_account AND p.role = define_role.role;
  INSERT INTO keypup.account_role_permissions (account_id, role, permission)
  SELECT DISTINCT the_account, define_role.role, p FROM unnest(permissions) p;
  PERFORM keypup.record_action(the_account, 'role.define', role || ': '
    || coalesce(array_to_string(permissions, ', '), ''));
END
$$;
REVOKE ALL ON FUNCTION keypup.define_role(text, text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.define_role(text, text, text[]) TO keypup_member;
COMMENT ON FUNCTION keypup.define_role(text, text, text[]) IS
  'Makes a role of the account''s own, or changes what it may do; no permissions: drops it.';
