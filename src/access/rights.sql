-- access/rights.sql: who holds which permission now, in one relation. session.c asks it; nothing else decides.

CREATE TABLE keypup.member_projects (
  account_id uuid NOT NULL,
  member text NOT NULL,
  project_id bigint NOT NULL,
  PRIMARY KEY (account_id, member, project_id),
  FOREIGN KEY (account_id, member) REFERENCES keypup.members ON DELETE CASCADE,
  FOREIGN KEY (account_id, project_id) REFERENCES keypup.projects ON DELETE CASCADE
);
CREATE INDEX member_projects_project ON keypup.member_projects (account_id, project_id);
COMMENT ON TABLE keypup.member_projects IS 'The projects that a member who is limited may read.';
COMMENT ON COLUMN keypup.member_projects.account_id IS 'The account.';
COMMENT ON COLUMN keypup.member_projects.member IS 'The member.';
COMMENT ON COLUMN keypup.member_projects.project_id IS 'The project.';
SELECT keypup.protect_table('keypup.member_projects', 'users.read');
REVOKE ALL ON keypup.member_projects FROM keypup_worker;

-- One row for each permission of each holder. limit_id says which rows of keypup.project_limits hold when all_projects is false.
CREATE VIEW keypup.rights WITH (security_invoker = true) AS
SELECT m.account_id, m.kind, m.member AS holder, r.permission, m.all_projects, 'member:' || m.member AS limit_id
FROM keypup.members m
JOIN keypup.role_rights r ON r.role = m.role AND (r.account_id IS NULL OR r.account_id = m.account_id)
WHERE m.confirmed_at IS NOT NULL AND (m.all_projects OR r.permission IN ('data.read', 'settings.read'))
UNION ALL
SELECT k.account_id, 'api_key', k.prefix, r.permission, true, NULL
FROM keypup.api_keys k
JOIN keypup.role_rights r ON r.role = k.role AND (r.account_id IS NULL OR r.account_id = k.account_id)
WHERE k.revoked_at IS NULL AND k.expires_at > clock_timestamp()
UNION ALL
SELECT g.account_id, 'support', g.grantee, s.permission, g.all_projects, 'support:' || g.grant_id
FROM keypup.support_grants g CROSS JOIN (VALUES ('data.read'), ('settings.read')) AS s (permission)
WHERE g.revoked_at IS NULL AND g.ends_at > clock_timestamp()
UNION ALL
SELECT b.account_id, 'support', b.grantee, s.permission, true, NULL
FROM keypup.break_glass b CROSS JOIN (VALUES ('data.read'), ('settings.read')) AS s (permission)
WHERE b.ends_at > clock_timestamp();
REVOKE ALL ON keypup.rights FROM PUBLIC;
COMMENT ON VIEW keypup.rights IS 'Who holds which permission at this moment. Granted to nobody.';
COMMENT ON COLUMN keypup.rights.account_id IS 'The account.';
COMMENT ON COLUMN keypup.rights.kind IS 'What the holder is: database_role, person, api_key or support.';
COMMENT ON COLUMN keypup.rights.holder IS 'Name of the role or person, or prefix of the API key.';
COMMENT ON COLUMN keypup.rights.permission IS 'The permission.';
COMMENT ON COLUMN keypup.rights.all_projects IS 'Whether it holds for all projects of the account.';
COMMENT ON COLUMN keypup.rights.limit_id IS 'Otherwise, which rows of project_limits name its projects.';

CREATE VIEW keypup.project_limits WITH (security_invoker = true) AS
SELECT p.account_id, 'member:' || p.member AS limit_id, p.project_id FROM keypup.member_projects p
UNION ALL
SELECT p.account_id, 'support:' || p.grant_id, p.project_id FROM keypup.support_grant_projects p;
REVOKE ALL ON keypup.project_limits FROM PUBLIC;
COMMENT ON VIEW keypup.project_limits IS 'The projects of rights that do not hold for all. Granted to nobody.';
COMMENT ON COLUMN keypup.project_limits.account_id IS 'The account.';
COMMENT ON COLUMN keypup.project_limits.limit_id IS 'The right.';
COMMENT ON COLUMN keypup.project_limits.project_id IS 'The project.';

CREATE FUNCTION keypup.find_project(account_id uuid, project text) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  shown text := regexp_replace(left(project, 250), '[[:cntrl:]]', '?', 'g');
  ids bigint[];
BEGIN
  IF project IS NULL THEN
    RAISE EXCEPTION 'a project is needed'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'SELECT name FROM keypup.projects shows the projects.';
  END IF;
  SELECT array_agg(p.project_id) INTO ids
  FROM keypup.projects p JOIN keypup.connections c ON c.account_id = p.account_id AND c.connection_id = p.connection_id
  WHERE p.account_id = find_project.account_id AND lower(project) IN (lower(p.name), lower(c.name || '/' || p.name));
  IF ids IS NULL THEN
    RAISE EXCEPTION 'project "%" is not tracked', shown
      USING ERRCODE = 'undefined_object', HINT = 'SELECT name FROM keypup.projects shows the projects.';
  ELSIF cardinality(ids) > 1 THEN
    RAISE EXCEPTION 'project "%" is tracked by % connections', shown, cardinality(ids)
      USING ERRCODE = 'ambiguous_parameter', HINT = 'Write connection/owner/name.';
  END IF;
  RETURN ids[1];
END
$$;
CREATE FUNCTION keypup.find_projects(account_id uuid, projects text[]) RETURNS bigint[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT ARRAY(SELECT DISTINCT keypup.find_project(account_id, n.name) FROM unnest(projects) AS n (name)) $$;
REVOKE ALL ON FUNCTION keypup.find_project(uuid, text), keypup.find_projects(uuid, text[]) FROM PUBLIC;
COMMENT ON FUNCTION keypup.find_project(uuid, text) IS
  'The id of a project by its name, with its connection''s before it where several connections track one of that name;'
  ' an error for one that is not tracked.';
COMMENT ON FUNCTION keypup.find_projects(uuid, text[]) IS 'The ids of projects, as by find_project.';
