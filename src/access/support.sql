-- access/support.sql: the operator's own staff see no customer's row, unless an owner or admin of the account consents:
-- one person, named projects or all, read only, for at most 24 hours.

CREATE TABLE keypup.support_grants (
  account_id uuid NOT NULL REFERENCES keypup.accounts ON DELETE CASCADE,
  grant_id bigint GENERATED ALWAYS AS IDENTITY,
  grantee text NOT NULL,
  reason text NOT NULL CHECK (length(reason) BETWEEN 10 AND 1000),
  all_projects boolean NOT NULL,
  granted_by text NOT NULL,
  starts_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ends_at timestamptz NOT NULL,
  revoked_at timestamptz,
  revoked_by text,
  PRIMARY KEY (account_id, grant_id),
  CHECK (ends_at > starts_at AND ends_at <= starts_at + interval '24 hours')
);
CREATE INDEX support_grants_grantee ON keypup.support_grants (grantee, ends_at);
COMMENT ON TABLE keypup.support_grants IS 'Consents to support: who of the operator''s staff may read what, until when, and why.';
COMMENT ON COLUMN keypup.support_grants.account_id IS 'The account that consents.';
COMMENT ON COLUMN keypup.support_grants.grant_id IS 'Identifies the consent.';
COMMENT ON COLUMN keypup.support_grants.grantee IS 'The database role of the person who may read; its members may not.';
COMMENT ON COLUMN keypup.support_grants.reason IS 'Why.';
COMMENT ON COLUMN keypup.support_grants.all_projects IS 'Whether it holds for all projects; otherwise for those in support_grant_projects.';
COMMENT ON COLUMN keypup.support_grants.granted_by IS 'Who consented.';
COMMENT ON COLUMN keypup.support_grants.starts_at IS 'When it was given.';
COMMENT ON COLUMN keypup.support_grants.ends_at IS 'When it ends by itself: at most 24 hours later.';
COMMENT ON COLUMN keypup.support_grants.revoked_at IS 'When it was taken back; NULL while it was not.';
COMMENT ON COLUMN keypup.support_grants.revoked_by IS 'Who took it back.';
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
COMMENT ON TABLE keypup.support_grant_projects IS 'The projects that a consent names.';
COMMENT ON COLUMN keypup.support_grant_projects.account_id IS 'The account.';
COMMENT ON COLUMN keypup.support_grant_projects.grant_id IS 'The consent.';
COMMENT ON COLUMN keypup.support_grant_projects.project_id IS 'The project.';
SELECT keypup.protect_table('keypup.support_grant_projects', 'support.grant');
REVOKE ALL ON keypup.support_grant_projects FROM keypup_worker;

CREATE FUNCTION keypup.grant_support(account text, grantee name, reason text, lasts interval, projects text[] DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'support.grant');
  the_projects bigint[] := keypup.find_projects(the_account, projects);
  new_id bigint;
BEGIN
  IF lasts IS NULL OR lasts <= interval '0' OR lasts > interval '24 hours' THEN
    RAISE EXCEPTION 'a consent lasts at most 24 hours' USING ERRCODE = 'invalid_parameter_value', HINT = 'Give another when it has ended.';
  END IF;
  IF reason IS NULL OR length(reason) NOT BETWEEN 10 AND 1000 THEN
    RAISE EXCEPTION 'a reason has 10 to 1000 characters' USING ERRCODE = 'invalid_parameter_value', HINT = 'Say what is to be looked at; it is kept.';
  END IF;
  IF grantee::text = keypup.asking_role() OR grantee = session_user THEN
    RAISE EXCEPTION 'nobody consents to the own access' USING ERRCODE = 'insufficient_privilege', HINT = 'An owner or admin of the account consents.';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = grantee) THEN
    RAISE EXCEPTION 'database role "%" does not exist', grantee USING ERRCODE = 'undefined_object';
  END IF;
  INSERT INTO keypup.support_grants (account_id, grantee, reason, all_projects, granted_by, ends_at)
  VALUES (the_account, grant_support.grantee, grant_support.reason, projects IS NULL, keypup.asking_role(), clock_timestamp() + lasts)
  RETURNING grant_id INTO new_id;
  INSERT INTO keypup.support_grant_projects (account_id, grant_id, project_id) SELECT the_account, new_id, p FROM unnest(the_projects) p;
  PERFORM keypup.open_schema_to(grantee);
  RETURN new_id;
END
$$;
REVOKE ALL ON FUNCTION keypup.grant_support(text, name, text, interval, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.grant_support(text, name, text, interval, text[]) TO keypup_member;
COMMENT ON FUNCTION keypup.grant_support(text, name, text, interval, text[]) IS 'Lets one person of the operator''s staff read the account''s data, or that of the named projects, for at most 24 hours. Returns the consent''s number.';

CREATE FUNCTION keypup.revoke_support(account text, grant_id bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'support.grant');
BEGIN
  UPDATE keypup.support_grants g SET revoked_at = clock_timestamp(), revoked_by = keypup.asking_role()
  WHERE g.account_id = the_account AND g.grant_id = revoke_support.grant_id AND g.revoked_at IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'consent % does not exist', grant_id USING ERRCODE = 'undefined_object', HINT = 'SELECT * FROM keypup.support_grants shows them.';
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.revoke_support(text, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.revoke_support(text, bigint) TO keypup_member;
COMMENT ON FUNCTION keypup.revoke_support(text, bigint) IS 'Takes a consent back, from the next statement on.';
