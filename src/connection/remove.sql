-- connection/remove.sql: what an account gives up: one of its connections, or itself. Rows go by the foreign keys, each
-- of which has an index. The worker may be at any of them: connection/connection.sql says in which order locks are
-- taken. Foreign keys plan without looking at the account: of one that has come since the tables were last analyzed,
-- the planner thinks that it has no row, and that any index that leads with account_id will do.

CREATE FUNCTION keypup.disconnect(account text, connection text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  the_account uuid := keypup.authorize_rights(account, 'tokens.delete');
  the_connection uuid;
  its_name text;
  projects text;
  persons uuid[];
BEGIN
  -- As untrack asks: the rows of its projects go.
  PERFORM keypup.authorize(account, 'settings.write');
  IF connection IS NULL THEN
    RAISE EXCEPTION 'a connection is needed' USING ERRCODE = 'null_value_not_allowed',
      HINT = 'SELECT name FROM keypup.connections shows the account''s connections.';
  END IF;
  the_connection := keypup.find_connection(the_account, connection);
  SELECT c.name INTO its_name
  FROM keypup.connections c WHERE c.account_id = the_account AND c.connection_id = the_connection FOR UPDATE;
  SELECT string_agg(p.name, ', ' ORDER BY p.name) INTO projects
  FROM keypup.projects p WHERE p.account_id = the_account AND p.connection_id = the_connection;
  PERFORM keypup.record_action(the_account, 'connection.remove',
    format('"%s": %s', its_name, coalesce(projects, 'no projects')));

  PERFORM keypup.forget_issuer(the_account, p.issuer)
  FROM keypup.identity_providers p
  WHERE p.account_id = the_account AND p.kind = 'repositories' AND p.client_ids = ARRAY[the_connection::text];
  persons := ARRAY(
    SELECT i.person_id FROM keypup.identities i
    WHERE i.account_id = the_account AND i.connection_id = the_connection
    UNION
    SELECT g.own_person_id FROM keypup.person_merges g
    WHERE g.account_id = the_account AND g.connection_id = the_connection);
  DELETE FROM keypup.connections c WHERE c.account_id = the_account AND c.connection_id = the_connection;
  -- Those of whom no other connection knows a login.
  DELETE FROM keypup.people p
  WHERE p.account_id = the_account AND p.person_id = ANY (persons)
    AND NOT EXISTS (SELECT FROM keypup.identities i WHERE i.account_id = p.account_id AND i.person_id = p.person_id)
    AND NOT EXISTS (
      SELECT FROM keypup.person_merges g WHERE g.account_id = p.account_id AND g.own_person_id = p.person_id);
END
$$;
REVOKE ALL ON FUNCTION keypup.disconnect(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.disconnect(text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.disconnect(text, text) IS
  'Ends a connection and forgets what came through it: its projects with all their rows, logins, and persons that no '
  'other connection knows; its sealed token, app''s key and webhook secrets; its jobs; and the sign-in with its '
  'provider. An answer that is under way is dropped. The audit log stays.';

CREATE FUNCTION keypup.drop_account(account text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  the_account uuid := keypup.authorize_rights(account, 'account.delete');
  roles text[];
BEGIN
  PERFORM FROM keypup.connections c WHERE c.account_id = the_account ORDER BY c.connection_id FOR UPDATE;
  -- While the account is there to say who did it.
  PERFORM keypup.record_action(the_account, 'account.drop',
    format('"%s": %s connections, %s projects, %s members', account,
    (SELECT count(*) FROM keypup.connections c WHERE c.account_id = the_account),
    (SELECT count(*) FROM keypup.projects p WHERE p.account_id = the_account),
    (SELECT count(*) FROM keypup.members m WHERE m.account_id = the_account)));
  PERFORM keypup.destroy_account_keys(the_account);
  roles := ARRAY(SELECT m.member FROM keypup.members m
                 WHERE m.account_id = the_account AND m.kind = 'database_role' ORDER BY m.member);
  DELETE FROM keypup.connections c WHERE c.account_id = the_account;
  DELETE FROM keypup.audit_sinks s WHERE s.account_id = the_account;
  DELETE FROM keypup.accounts a WHERE a.account_id = the_account;
  PERFORM keypup.let_out(r.role) FROM unnest(roles) AS r (role);
END
$$;
REVOKE ALL ON FUNCTION keypup.drop_account(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.drop_account(text) TO keypup_member;
COMMENT ON FUNCTION keypup.drop_account(text) IS
  'Ends an account and forgets it. First its data keys are destroyed; then go all connections, as by disconnect, '
  'people and teams, members and their sessions, passwords, second factors, roles and limits, identity providers, API '
  'keys, consents to support, sinks of its audit log. Of database roles whose last membership it was, what add_member '
  'granted is taken back. Its audit log stays, with this as its last record, for superusers to read.';
