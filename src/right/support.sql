-- right/support.sql: the operator's own staff see no customer's row, unless an owner or admin of the account consents:
-- one person, named projects or all, read only, for at most 24 hours.

CREATE TABLE keypup.support_grants (
  account_id uuid NOT NULL REFERENCES keypup.accounts ON DELETE CASCADE,
  grant_id bigint NOT NULL,
  grantee text NOT NULL,
  reason text NOT NULL CHECK (length(reason) BETWEEN 10 AND 1000),
  all_projects boolean NOT NULL,
  granted_by text NOT NULL,
  starts_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ends_at timestamptz NOT NULL,
  revoked_at timestamptz,
  revoked_by text,
  grantee_id oid,
  origin text NOT NULL DEFAULT keypup.this_database(),
  made_by keypup.maker,
  PRIMARY KEY (account_id, grant_id),
  CHECK (ends_at > starts_at AND ends_at <= starts_at + interval '24 hours')
);
CREATE INDEX support_grants_grantee ON keypup.support_grants (grantee, ends_at);
COMMENT ON TABLE keypup.support_grants IS
  'Consents to support: who of the operator''s staff may read what, until when, and why.';
COMMENT ON COLUMN keypup.support_grants.account_id IS 'The account that consents.';
COMMENT ON COLUMN keypup.support_grants.grant_id IS 'Identifies the consent: they are counted.';
COMMENT ON COLUMN keypup.support_grants.grantee IS
  'The database role of the person who may read, logged in as it; its members may not.';
COMMENT ON COLUMN keypup.support_grants.reason IS 'Why.';
COMMENT ON COLUMN keypup.support_grants.all_projects IS
  'Whether it holds for all projects; otherwise for those in support_grant_projects.';
COMMENT ON COLUMN keypup.support_grants.granted_by IS 'Who consented.';
COMMENT ON COLUMN keypup.support_grants.starts_at IS 'When it was given.';
COMMENT ON COLUMN keypup.support_grants.ends_at IS 'When it ends by itself: at most 24 hours later.';
COMMENT ON COLUMN keypup.support_grants.revoked_at IS 'When it was taken back; NULL while it was not.';
COMMENT ON COLUMN keypup.support_grants.revoked_by IS 'Who took it back.';
COMMENT ON COLUMN keypup.support_grants.grantee_id IS 'The role''s oid: one that takes its name later may not read.';
COMMENT ON COLUMN keypup.support_grants.origin IS 'The database in which it was given, as in members.';
COMMENT ON COLUMN keypup.support_grants.made_by IS
  'The same as granted_by, to the very role: the consent holds while they could give it.';
SELECT keypup.protect_table('keypup.support_grants', 'support.grant');
REVOKE ALL ON keypup.support_grants FROM keypup_worker;

CREATE TABLE keypup.support_grant_projects (
  account_id uuid NOT NULL,
  grant_id bigint NOT NULL,
  project_id bigint NOT NULL,
  PRIMARY KEY (account_id, grant_id, project_id),
  FOREIGN KEY (account_id, grant_id) REFERENCES keypup.support_grants ON DELETE CASCADE,
  FOREIGN KEY (account_id, project_id) REFERENCES keypup.projects ON DELETE CASCADE
);
CREATE INDEX support_grant_projects_project ON keypup.support_grant_projects (account_id, project_id);
COMMENT ON TABLE keypup.support_grant_projects IS 'The projects that a consent names.';
COMMENT ON COLUMN keypup.support_grant_projects.grant_id IS 'The consent.';
COMMENT ON COLUMN keypup.support_grant_projects.project_id IS 'The project.';
SELECT keypup.protect_table('keypup.support_grant_projects', 'support.grant');
REVOKE ALL ON keypup.support_grant_projects FROM keypup_worker;

CREATE FUNCTION keypup.grant_support(account text, grantee name, reason text, lasts interval,
  projects text[] DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize_rights(account, 'support.grant');
  the_projects bigint[] := keypup.find_projects(the_account, projects);
  new_end timestamptz := keypup.end_after(lasts, '24 hours'::interval);
  grantee_id oid;
  new_id bigint;
BEGIN
  -- Nobody opens or closes to others what they do not see themselves.
  PERFORM keypup.guard_permissions(the_account, 'support', ARRAY['data.read', 'settings.read']);
  IF new_end IS NULL THEN
    PERFORM keypup.note_refusal(the_account, 'support.grant', format('to "%s" for %s', grantee, lasts));
    RAISE EXCEPTION 'a consent lasts at most 24 hours' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'Give another when it has ended.';
  END IF;
  IF reason IS NULL OR length(reason) NOT BETWEEN 10 AND 1000 THEN
    RAISE EXCEPTION 'a reason has 10 to 1000 characters' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'Say what is to be looked at; it is kept.';
  END IF;
  grantee_id := keypup.guard_database_role(the_account, grantee);
  IF grantee::text = keypup.current_user_name() OR keypup.is_one_person(grantee, session_user)
     OR (SELECT keypup.is_one_person(grantee, r.rolname) FROM keypup.current_user_info() a
       JOIN pg_roles r ON r.oid = a.role_id) THEN
    PERFORM keypup.note_refusal(the_account, 'support.grant', 'to oneself');
    RAISE EXCEPTION 'nobody consents to the own access' USING ERRCODE = 'insufficient_privilege',
      HINT = 'An owner or admin of the account consents.';
  END IF;
  IF NOT keypup.is_operator()
    AND EXISTS (SELECT FROM keypup.members m
                WHERE m.member = grantee::text AND m.kind = 'database_role'
                  -- Anybody can invite anybody: that alone makes nobody a member.
                  AND m.confirmed_at IS NOT NULL AND keypup.is_role(m.role_id, m.member, m.origin)) THEN
    PERFORM keypup.note_refusal(the_account, 'support.grant', format('to "%s", a member of an account', grantee));
    RAISE EXCEPTION 'role "%" is none of the operator''s staff', grantee USING ERRCODE = 'invalid_parameter_value',
      DETAIL = 'It is a member of an account.';
  END IF;
  INSERT INTO keypup.support_grants (account_id, grant_id, grantee, reason, all_projects, granted_by, ends_at,
    grantee_id, made_by)
  VALUES (the_account,
    (SELECT coalesce(max(g.grant_id), 0) + 1 FROM keypup.support_grants g WHERE g.account_id = the_account),
    grant_support.grantee, grant_support.reason, projects IS NULL, keypup.current_user_name(), new_end, grantee_id,
    keypup.name_maker())
  RETURNING grant_id INTO new_id;
  INSERT INTO keypup.support_grant_projects (account_id, grant_id, project_id) SELECT the_account, new_id, p
  FROM unnest(the_projects) p;
  PERFORM keypup.let_in(grantee);
  PERFORM keypup.record_action(the_account, 'support.grant',
    format('%s to "%s" for %s: %s', new_id, grantee, lasts, left(reason, 500)));
  RETURN new_id;
END
$$;
REVOKE ALL ON FUNCTION keypup.grant_support(text, name, text, interval, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.grant_support(text, name, text, interval, text[]) TO keypup_member;
COMMENT ON FUNCTION keypup.grant_support(text, name, text, interval, text[]) IS
  'Lets one person of the operator''s staff read the account''s data, or that of the named projects, for at most 24 '
  'hours. Returns the consent''s number.';

CREATE FUNCTION keypup.revoke_support(account text, grant_id bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize_rights(account, 'support.grant');
BEGIN
  PERFORM keypup.guard_permissions(the_account, 'support', ARRAY['data.read', 'settings.read']);
  UPDATE keypup.support_grants g SET revoked_at = clock_timestamp(), revoked_by = keypup.current_user_name()
  WHERE g.account_id = the_account AND g.grant_id = revoke_support.grant_id AND g.revoked_at IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'consent % does not exist', grant_id USING ERRCODE = 'undefined_object',
      HINT = 'SELECT * FROM keypup.support_grants shows them.';
  END IF;
  PERFORM keypup.let_out(g.grantee)
  FROM keypup.support_grants g WHERE g.account_id = the_account AND g.grant_id = revoke_support.grant_id;
  PERFORM keypup.record_action(the_account, 'support.revoke', grant_id::text);
END
$$;
REVOKE ALL ON FUNCTION keypup.revoke_support(text, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.revoke_support(text, bigint) TO keypup_member;
COMMENT ON FUNCTION keypup.revoke_support(text, bigint) IS 'Takes a consent back, from the next statement on.';

-- Break-glass, for security incidents when nobody of the account can be asked: two other persons of the operator
-- approve, it lasts 60 minutes, and the account is told. The operator grants these functions to the roles that may call
-- them.

CREATE TABLE keypup.break_glass (
  account_id uuid NOT NULL REFERENCES keypup.accounts ON DELETE CASCADE,
  request_id bigint NOT NULL,
  grantee text NOT NULL,
  reason text NOT NULL CHECK (length(reason) BETWEEN 20 AND 1000),
  requested_by text NOT NULL,
  requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  first_approver text,
  second_approver text,
  ends_at timestamptz,
  grantee_id oid,
  origin text NOT NULL DEFAULT keypup.this_database(),
  PRIMARY KEY (account_id, request_id),
  CHECK (first_approver <> second_approver AND grantee NOT IN (first_approver, second_approver)),
  CHECK ((second_approver IS NULL) = (ends_at IS NULL) AND (first_approver IS NOT NULL OR second_approver IS NULL))
);
CREATE INDEX break_glass_grantee ON keypup.break_glass (grantee, ends_at);
COMMENT ON TABLE keypup.break_glass IS
  'Access of the operator''s staff without consent, in security incidents: who, why, approved by whom, until when. '
  'This says what is so, and no message on the account''s channel does.';
COMMENT ON COLUMN keypup.break_glass.request_id IS 'Identifies the request: they are counted.';
COMMENT ON COLUMN keypup.break_glass.grantee IS 'The database role of the person who may read once two have approved.';
COMMENT ON COLUMN keypup.break_glass.reason IS 'Why.';
COMMENT ON COLUMN keypup.break_glass.requested_by IS 'Who asked for it.';
COMMENT ON COLUMN keypup.break_glass.requested_at IS 'When.';
COMMENT ON COLUMN keypup.break_glass.first_approver IS 'Who approved first.';
COMMENT ON COLUMN keypup.break_glass.second_approver IS 'Who approved second, and is another.';
COMMENT ON COLUMN keypup.break_glass.ends_at IS
  'It ends then: 60 minutes after the second approval; NULL while it has not begun.';
COMMENT ON COLUMN keypup.break_glass.grantee_id IS 'The role''s oid: one that takes its name later may not read.';
COMMENT ON COLUMN keypup.break_glass.origin IS 'The database in which it was asked for, as in members.';
SELECT keypup.protect_table('keypup.break_glass', 'audit.read');
REVOKE ALL ON keypup.break_glass FROM keypup_worker;

-- People are counted by the role that they logged in as: SET ROLE makes nobody another person, nor does a session of
-- somebody of an account, or a function that runs as somebody else.
CREATE FUNCTION keypup.guard_login() RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT coalesce((SELECT a.kind = 'database_role' AND pg_has_role(session_user, a.role_id, 'MEMBER')
    FROM keypup.current_user_info() a), false) THEN
    RAISE EXCEPTION 'break-glass is asked for and approved by who is logged in'
      USING ERRCODE = 'insufficient_privilege',
      HINT = 'Call it outside of sessions of keypup, and of functions that run as another role.';
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.guard_login() FROM PUBLIC;
COMMENT ON FUNCTION keypup.guard_login() IS
  'Refuses who asks as somebody else than the role that is logged in, or one that it has.';

CREATE FUNCTION keypup.request_break_glass(account text, grantee name, reason text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid;
  the_role_id oid;
  new_id bigint;
BEGIN
  PERFORM keypup.guard_writes();
  IF reason IS NULL OR length(reason) NOT BETWEEN 20 AND 1000 THEN
    RAISE EXCEPTION 'a reason has 20 to 1000 characters' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'Say which incident it is; the account will read it.';
  END IF;
  SELECT r.oid INTO the_role_id FROM pg_roles r WHERE r.rolname = grantee AND r.rolname !~ '^(pg_|keypup_)';
  IF the_role_id IS NULL THEN
    RAISE EXCEPTION 'database role "%" does not exist, or is one of the system', grantee
      USING ERRCODE = 'undefined_object';
  END IF;
  PERFORM keypup.guard_login();
  INSERT INTO keypup.break_glass (account_id, request_id, grantee, reason, requested_by, grantee_id)
  SELECT a.account_id,
    (SELECT coalesce(max(b.request_id), 0) + 1 FROM keypup.break_glass b WHERE b.account_id = a.account_id),
    request_break_glass.grantee, request_break_glass.reason, session_user, the_role_id FROM keypup.accounts a
    WHERE a.name = account
  RETURNING account_id, request_id INTO the_account, new_id;
  IF new_id IS NULL THEN
    RAISE EXCEPTION 'account "%" does not exist', account USING ERRCODE = 'undefined_object';
  END IF;
  PERFORM keypup.record_action(the_account, 'break_glass.request',
    format('%s for "%s": %s', new_id, grantee, left(reason, 500)));
  RETURN new_id;
END
$$;
REVOKE ALL ON FUNCTION keypup.request_break_glass(text, name, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.request_break_glass(text, name, text) IS
  'Asks for access to an account without its consent, in a security incident. Returns the request''s number, for two '
  'others to approve. For operators: granted to nobody.';

CREATE FUNCTION keypup.approve_break_glass(account text, request_id bigint) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  request record;
  new_end timestamptz;
BEGIN
  PERFORM keypup.guard_writes();
  SELECT b.* INTO request FROM keypup.break_glass b JOIN keypup.accounts a ON a.account_id = b.account_id
  WHERE a.name = account AND b.request_id = approve_break_glass.request_id AND b.ends_at IS NULL
    AND b.requested_at > clock_timestamp() - interval '60 minutes'
  FOR UPDATE OF b;
  IF request.account_id IS NULL THEN
    RAISE EXCEPTION 'request % does not exist, or has ended', request_id USING ERRCODE = 'undefined_object',
      HINT = 'A request is approved within 60 minutes.';
  END IF;
  PERFORM keypup.guard_login();
  IF EXISTS (SELECT FROM unnest(ARRAY[request.grantee, request.requested_by, request.first_approver]) AS o (role)
             WHERE o.role IS NOT NULL AND keypup.is_one_person(session_user, o.role::name)) THEN
    PERFORM keypup.note_refusal(request.account_id, 'break_glass.approve',
      format('%s: two others must approve', request_id));
    RAISE EXCEPTION 'two others must approve' USING ERRCODE = 'insufficient_privilege',
      HINT = 'Neither who asked nor who is to read, and not the same person twice. Roles of which one has the other '
      'are one person.';
  END IF;
  IF request.first_approver IS NULL THEN
    UPDATE keypup.break_glass b SET first_approver = session_user::text
    WHERE b.account_id = request.account_id AND b.request_id = request.request_id;
    PERFORM keypup.record_action(request.account_id, 'break_glass.approve', format('%s, first', request_id));
    RETURN NULL;
  END IF;
  new_end := clock_timestamp() + interval '60 minutes';
  UPDATE keypup.break_glass b SET second_approver = session_user::text, ends_at = new_end
  WHERE b.account_id = request.account_id AND b.request_id = request.request_id;
  PERFORM keypup.let_in(request.grantee::name);
  PERFORM keypup.record_action(request.account_id, 'break_glass.approve',
    format('%s, second: open to "%s" until %s', request_id, request.grantee, new_end));
  -- Every role may send this: it says that there is something to read, and nothing to believe.
  PERFORM pg_notify('keypup_' || replace(request.account_id::text, '-', ''), 'break_glass');
  RETURN new_end;
END
$$;
REVOKE ALL ON FUNCTION keypup.approve_break_glass(text, bigint) FROM PUBLIC;
COMMENT ON FUNCTION keypup.approve_break_glass(text, bigint) IS
  'Approves a request: the second approval of another person opens the account for 60 minutes, and returns when it '
  'ends. The account''s channel says break_glass then; as every role may send that, what counts is in the table '
  'break_glass. For operators: granted to nobody.';
