-- access/manage.sql: what a customer's admin calls. These functions run as their owner; each asks
-- keypup.authorize first, which knows the role that called, and says no unless it may.

CREATE FUNCTION keypup.authorize(account text, permission text) RETURNS uuid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  found_id uuid;
BEGIN
  SELECT a.account_id INTO found_id FROM keypup.accounts a WHERE a.name = account;
  -- One answer for an account that is not there and one that is another's.
  IF found_id IS NULL OR NOT keypup.has_permission(found_id, permission) THEN
    RAISE EXCEPTION 'account "%" does not exist, or you may not do this in it', account
      USING ERRCODE = 'insufficient_privilege', DETAIL = format('The permission needed is "%s".', permission),
            HINT = 'SELECT name FROM keypup.accounts shows your accounts; an owner or admin of the account can change your role.';
  END IF;
  RETURN found_id;
END
$$;
REVOKE ALL ON FUNCTION keypup.authorize(text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.authorize(text, text) IS 'The id of the account, if the role that called a keypup function has the permission in it.';

CREATE FUNCTION keypup.create_account(name text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  new_id uuid;
BEGIN
  IF name IS NULL OR name !~ '^[^[:cntrl:]]{1,100}$' THEN
    RAISE EXCEPTION 'an account name has 1 to 100 characters, none of them a control character' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF EXISTS (SELECT FROM keypup.accounts a WHERE a.name = create_account.name) THEN
    RAISE EXCEPTION 'account "%" exists already', name USING ERRCODE = 'duplicate_object', HINT = 'Choose another name.';
  END IF;
  INSERT INTO keypup.accounts (name) VALUES (create_account.name) RETURNING account_id INTO new_id;
  RETURN new_id;
END
$$;
REVOKE ALL ON FUNCTION keypup.create_account(text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.create_account(text) IS 'Creates an account (a customer). For operators: granted to nobody.';

CREATE FUNCTION keypup.guard_owners(account_id uuid, old_role text, new_role text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF 'owner' IN (old_role, new_role) AND NOT keypup.has_permission(account_id, 'owners.manage') THEN
    RAISE EXCEPTION 'only an owner may make, change or remove an owner' USING ERRCODE = 'insufficient_privilege';
  END IF;
  IF old_role = 'owner' AND new_role IS DISTINCT FROM 'owner'
     AND (SELECT count(*) FROM keypup.members m WHERE m.account_id = guard_owners.account_id AND m.role = 'owner') = 1 THEN
    RAISE EXCEPTION 'the last owner of an account stays its owner' USING ERRCODE = 'object_in_use', HINT = 'Add another owner first.';
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.guard_owners(uuid, text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.guard_owners(uuid, text, text) IS 'Refuses a change of role (NULL: no member) that only an owner may make, or that leaves no owner. The account''s row must be locked.';

CREATE FUNCTION keypup.add_member(account text, member name, role text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  id uuid := keypup.authorize(account, 'users.manage');
  old_role text;
BEGIN
  IF role IS NULL OR role NOT IN ('owner', 'admin', 'member', 'viewer') THEN
    RAISE EXCEPTION 'role "%" does not exist', role USING ERRCODE = 'invalid_parameter_value', HINT = 'The roles are owner, admin, member and viewer.';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = member) THEN
    RAISE EXCEPTION 'database role "%" does not exist', member USING ERRCODE = 'undefined_object', HINT = format('CREATE ROLE %I LOGIN first.', member);
  END IF;
  IF member::text ~ '^(pg_|keypup_)' THEN
    RAISE EXCEPTION 'role "%" cannot be a member', member USING ERRCODE = 'invalid_parameter_value', HINT = 'Name the role of a person or of a BI tool.';
  END IF;
  PERFORM FROM keypup.accounts a WHERE a.account_id = id FOR UPDATE;
  SELECT m.role INTO old_role FROM keypup.members m WHERE m.account_id = id AND m.member = add_member.member::text;
  PERFORM keypup.guard_owners(id, old_role, role);
  INSERT INTO keypup.members AS m (account_id, member, role, added_by)
  VALUES (id, add_member.member::text, add_member.role, keypup.asking_role())
  ON CONFLICT ON CONSTRAINT members_pkey DO UPDATE SET role = excluded.role, added_by = excluded.added_by, added_at = now();
  EXECUTE format('GRANT keypup_member TO %I', member);
  EXECUTE format('GRANT USAGE ON SCHEMA keypup TO %I', member);
END
$$;
REVOKE ALL ON FUNCTION keypup.add_member(text, name, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.add_member(text, name, text) TO keypup_member;
COMMENT ON FUNCTION keypup.add_member(text, name, text) IS 'Makes a database role a member of the account, or changes its role: owner, admin, member or viewer.';

CREATE FUNCTION keypup.remove_member(account text, member name) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  id uuid := keypup.authorize(account, 'users.manage');
  old_role text;
BEGIN
  PERFORM FROM keypup.accounts a WHERE a.account_id = id FOR UPDATE;
  SELECT m.role INTO old_role FROM keypup.members m WHERE m.account_id = id AND m.member = remove_member.member::text;
  IF old_role IS NULL THEN
    RAISE EXCEPTION '"%" is not a member of account "%"', member, account USING ERRCODE = 'undefined_object', HINT = 'SELECT * FROM keypup.members shows the members.';
  END IF;
  PERFORM keypup.guard_owners(id, old_role, NULL);
  DELETE FROM keypup.members m WHERE m.account_id = id AND m.member = remove_member.member::text;
  IF NOT EXISTS (SELECT FROM keypup.members m WHERE m.member = remove_member.member::text)
     AND EXISTS (SELECT FROM pg_roles r WHERE r.rolname = remove_member.member) THEN
    EXECUTE format('REVOKE USAGE ON SCHEMA keypup FROM %I', member);
    -- The group is the cluster's: another database may need it still.
    IF NOT EXISTS (SELECT FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid AND r.rolname = remove_member.member
                   WHERE d.refclassid = 'pg_authid'::regclass AND d.classid = 'pg_namespace'::regclass AND d.deptype = 'a'
                     AND d.dbid <> (SELECT b.oid FROM pg_database b WHERE b.datname = current_database())) THEN
      EXECUTE format('REVOKE keypup_member FROM %I', member);
    END IF;
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.remove_member(text, name) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.remove_member(text, name) TO keypup_member;
COMMENT ON FUNCTION keypup.remove_member(text, name) IS 'Ends a membership; the role sees nothing of the account from its next statement on.';

CREATE FUNCTION keypup.find_connection(account_id uuid, connection text) RETURNS uuid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  ids uuid[];
BEGIN
  SELECT array_agg(c.connection_id) INTO ids
  FROM keypup.connections c
  WHERE c.account_id = find_connection.account_id AND (connection IS NULL OR c.name = connection OR c.connection_id::text = connection);
  IF ids IS NULL THEN
    RAISE EXCEPTION 'connection "%" does not exist', coalesce(connection, '(any)') USING ERRCODE = 'undefined_object', HINT = 'Connect a provider with keypup.connect first.';
  ELSIF cardinality(ids) > 1 THEN
    RAISE EXCEPTION 'the account has % connections', cardinality(ids) USING ERRCODE = 'ambiguous_parameter', HINT = 'Name one of them.';
  END IF;
  RETURN ids[1];
END
$$;
REVOKE ALL ON FUNCTION keypup.find_connection(uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.find_connection(uuid, text) IS 'The connection of that name, or the only one.';

-- Functions that take a token plan without looking at it: a plan may be logged.
CREATE FUNCTION keypup.connect(account text, provider text, token text, base_url text DEFAULT NULL, name text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'tokens.create');
  the_connection uuid := gen_random_uuid();
  url text;
BEGIN
  IF provider IS DISTINCT FROM 'github' THEN
    RAISE EXCEPTION 'provider "%" is unknown', provider USING ERRCODE = 'invalid_parameter_value', HINT = 'The provider is github.';
  END IF;
  IF token IS NULL THEN
    RAISE EXCEPTION 'a token is needed' USING ERRCODE = 'null_value_not_allowed', HINT = 'Create one at the provider, with read access to metadata, issues and pull requests.';
  END IF;
  PERFORM keypup.check_token(token);
  url := keypup.check_base_url(coalesce(base_url, 'https://api.github.com'));
  name := coalesce(name, provider);
  IF EXISTS (SELECT FROM keypup.connections c WHERE c.account_id = the_account AND c.name = connect.name) THEN
    RAISE EXCEPTION 'connection "%" exists already', name USING ERRCODE = 'duplicate_object',
      HINT = 'Give another name, or change the token of this one with keypup.replace_token.';
  END IF;
  INSERT INTO keypup.connections (account_id, connection_id, provider, name, base_url, created_by)
  VALUES (the_account, the_connection, connect.provider, connect.name, url, keypup.asking_role());
  INSERT INTO keypup.connection_tokens (account_id, connection_id, purpose, revision, envelope)
  VALUES (the_account, the_connection, 'access_token', 1,
    keypup.encrypt_token(token, keypup.token_context(the_account, the_connection, 1, 'access_token')));
  RETURN the_connection;
END
$$;
REVOKE ALL ON FUNCTION keypup.connect(text, text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.connect(text, text, text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.connect(text, text, text, text, text) IS 'Connects a provider. Pass the token as a bind parameter, so that it stands in no log.';

CREATE FUNCTION keypup.replace_token(account text, connection text, token text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'tokens.rotate');
  the_connection uuid := keypup.find_connection(the_account, connection);
  new_revision bigint;
BEGIN
  IF token IS NULL THEN
    RAISE EXCEPTION 'a token is needed' USING ERRCODE = 'null_value_not_allowed';
  END IF;
  PERFORM keypup.check_token(token);
  SELECT t.revision + 1 INTO new_revision FROM keypup.connection_tokens t
  WHERE t.account_id = the_account AND t.connection_id = the_connection AND t.purpose = 'access_token' FOR UPDATE;
  UPDATE keypup.connection_tokens t
  SET revision = new_revision, reseal_failed_at = NULL,
      envelope = keypup.encrypt_token(token, keypup.token_context(the_account, the_connection, new_revision, 'access_token'))
  WHERE t.account_id = the_account AND t.connection_id = the_connection AND t.purpose = 'access_token';
  UPDATE keypup.connections c SET state = 'new', blocked_until = NULL, blocked_reason = NULL
  WHERE c.account_id = the_account AND c.connection_id = the_connection;
  PERFORM keypup.wake_launcher();
END
$$;
REVOKE ALL ON FUNCTION keypup.replace_token(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.replace_token(text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.replace_token(text, text, text) IS 'Gives a connection another token; the old one no longer opens.';

CREATE FUNCTION keypup.track(account text, project text, connection text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'settings.write');
  the_connection uuid := keypup.find_connection(the_account, connection);
  new_id bigint;
BEGIN
  IF project IS NULL OR project !~ '^[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}$' OR project ~ '/[.]{1,2}$' THEN
    RAISE EXCEPTION 'project name "%" is malformed', regexp_replace(left(project, 150), '[[:cntrl:]]', '?', 'g')
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Write a GitHub repository as owner/name.';
  END IF;
  IF EXISTS (SELECT FROM keypup.projects p WHERE p.account_id = the_account AND p.connection_id = the_connection AND lower(p.name) = lower(project)) THEN
    RAISE EXCEPTION 'project "%" is tracked already', project USING ERRCODE = 'duplicate_object', HINT = 'SELECT * FROM keypup.sync_status shows how far it is.';
  END IF;
  INSERT INTO keypup.projects (account_id, connection_id, name, tracked_by)
  VALUES (the_account, the_connection, project, keypup.asking_role()) RETURNING project_id INTO new_id;
  INSERT INTO keypup.sync_state (account_id, project_id) VALUES (the_account, new_id);
  PERFORM keypup.wake_launcher();
END
$$;
REVOKE ALL ON FUNCTION keypup.track(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.track(text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.track(text, text, text) IS 'Starts keeping a project in tables; the background worker reads it, or CALL keypup.sync.';

CREATE FUNCTION keypup.untrack(account text, project text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'settings.write');
BEGIN
  DELETE FROM keypup.projects p WHERE p.account_id = the_account AND lower(p.name) = lower(project);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'project "%" is not tracked', project USING ERRCODE = 'undefined_object', HINT = 'SELECT name FROM keypup.projects shows the projects.';
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.untrack(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.untrack(text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.untrack(text, text) IS 'Stops keeping a project, and forgets it: its rows go.';
