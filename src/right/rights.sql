-- right/rights.sql: who holds which permission now, in one relation. session.c asks it; nothing else decides.

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
COMMENT ON COLUMN keypup.member_projects.member IS 'The member.';
COMMENT ON COLUMN keypup.member_projects.project_id IS 'The project.';
SELECT keypup.protect_table('keypup.member_projects', 'users.read');
REVOKE ALL ON keypup.member_projects FROM keypup_worker;

CREATE VIEW keypup.member_rights WITH (security_invoker = true) AS
SELECT m.account_id, m.kind, m.member AS holder, r.permission, m.all_projects
FROM keypup.members m
JOIN keypup.role_rights r ON r.role = m.role AND (r.account_id IS NULL OR r.account_id = m.account_id)
WHERE m.confirmed_at IS NOT NULL
  AND (m.all_projects OR r.permission IN ('data.read', 'settings.read'))
  AND (m.kind = 'person' OR keypup.is_role(m.role_id, m.member, m.origin));
REVOKE ALL ON keypup.member_rights FROM PUBLIC;
COMMENT ON VIEW keypup.member_rights IS
  'Which permissions members have at this moment. Granted to nobody; rights has all.';
COMMENT ON COLUMN keypup.member_rights.account_id IS 'The account.';
COMMENT ON COLUMN keypup.member_rights.kind IS 'database_role or person.';
COMMENT ON COLUMN keypup.member_rights.holder IS 'Name of the role or person.';
COMMENT ON COLUMN keypup.member_rights.permission IS 'The permission.';
COMMENT ON COLUMN keypup.member_rights.all_projects IS 'Whether it holds for all projects of the account.';

-- Along the keys that have made one another, each once: what each of them gives is not looked up as a right of its own,
-- whose makers would be looked up again for each. A chain of more than eight has no rights.
CREATE FUNCTION keypup.still_may(account_id uuid, made_by keypup.maker, permissions text[]) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  maker keypup.maker := made_by;
  needed text[] := permissions;
  its_role record;
BEGIN
  FOR i IN 1..8 LOOP
    EXIT WHEN maker.kind <> 'api_key';
    SELECT (k.made_by).* INTO maker FROM keypup.api_keys k
    WHERE k.account_id = still_may.account_id AND k.prefix = maker.name AND k.revoked_at IS NULL
      AND k.expires_at > clock_timestamp()
      AND NOT EXISTS (
        SELECT FROM unnest(needed) AS p (permission)
        WHERE NOT EXISTS (
          SELECT FROM keypup.role_rights r
          WHERE r.role = k.role AND (r.account_id IS NULL OR r.account_id = k.account_id)
            AND r.permission = p.permission));
    IF NOT FOUND THEN
      RETURN false;
    END IF;
    needed := needed || 'users.manage'::text;
  END LOOP;
  IF maker.kind <> 'database_role' THEN
    RETURN maker.kind <> 'api_key' AND NOT EXISTS (
      SELECT FROM unnest(needed) AS p (permission)
      WHERE NOT EXISTS (
        SELECT FROM keypup.member_rights w
        WHERE w.account_id = still_may.account_id AND w.kind = maker.kind AND w.holder = maker.name
          AND w.permission = p.permission AND w.all_projects));
  END IF;
  SELECT r.oid, r.rolsuper INTO its_role
  FROM pg_roles r WHERE r.rolname = maker.name AND keypup.is_role(maker.role_id, maker.name, maker.origin);
  RETURN coalesce(its_role.rolsuper, false) OR NOT EXISTS (
    SELECT FROM unnest(needed) AS p (permission)
    WHERE NOT EXISTS (
      SELECT FROM keypup.member_rights w
      JOIN pg_roles h ON h.rolname = w.holder
      WHERE w.account_id = still_may.account_id AND w.kind = 'database_role' AND w.permission = p.permission
        AND w.all_projects AND pg_has_role(its_role.oid, h.oid, 'USAGE')));
END
$$;
REVOKE ALL ON FUNCTION keypup.still_may(uuid, keypup.maker, text[]) FROM PUBLIC;
COMMENT ON FUNCTION keypup.still_may(uuid, keypup.maker, text[]) IS
  'Whether who made something has these permissions in the account, in all projects, at this moment.';

-- One row for each permission of each holder. limit_id says which rows of keypup.project_limits hold when all_projects
-- is false. What somebody gave holds while they could give it.
CREATE VIEW keypup.rights WITH (security_invoker = true) AS
SELECT m.account_id, m.kind, m.holder, m.permission, m.all_projects, 'member:' || m.holder AS limit_id
FROM keypup.member_rights m
UNION ALL
SELECT k.account_id, 'api_key', k.prefix, r.permission, true, NULL
FROM keypup.api_keys k
JOIN keypup.role_rights r ON r.role = k.role AND (r.account_id IS NULL OR r.account_id = k.account_id)
WHERE k.revoked_at IS NULL AND k.expires_at > clock_timestamp()
  AND keypup.still_may(k.account_id, k.made_by, ARRAY['users.manage', r.permission])
UNION ALL
SELECT g.account_id, 'support', g.grantee, s.permission, g.all_projects, 'support:' || g.grant_id
FROM keypup.support_grants g CROSS JOIN (VALUES ('data.read'), ('settings.read')) AS s (permission)
WHERE g.revoked_at IS NULL AND g.ends_at > clock_timestamp()
  AND keypup.is_role(g.grantee_id, g.grantee, g.origin)
  AND keypup.still_may(g.account_id, g.made_by, ARRAY['support.grant', s.permission])
UNION ALL
SELECT b.account_id, 'support', b.grantee, s.permission, true, NULL
FROM keypup.break_glass b CROSS JOIN (VALUES ('data.read'), ('settings.read')) AS s (permission)
WHERE b.ends_at > clock_timestamp() AND keypup.is_role(b.grantee_id, b.grantee, b.origin);
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

CREATE VIEW keypup.orphaned_members WITH (security_invoker = true, security_barrier = true) AS
SELECT m.account_id, m.member, m.role, m.added_at, m.added_by
FROM keypup.members m
WHERE m.kind = 'database_role' AND keypup.is_role(m.role_id, m.member, m.origin) IS NOT TRUE;
REVOKE ALL ON keypup.orphaned_members FROM PUBLIC;
GRANT SELECT ON keypup.orphaned_members TO keypup_member;
COMMENT ON VIEW keypup.orphaned_members IS
  'One row a member whose database role was dropped or has another name now. It gives nobody any right, also not a '
  'role that has taken the name; remove_member removes it, and add_member adds the role that has the name now.';
COMMENT ON COLUMN keypup.orphaned_members.account_id IS 'The account.';
COMMENT ON COLUMN keypup.orphaned_members.member IS 'The name that the role had.';
COMMENT ON COLUMN keypup.orphaned_members.role IS 'What it was in the account.';
COMMENT ON COLUMN keypup.orphaned_members.added_at IS 'When it was added.';
COMMENT ON COLUMN keypup.orphaned_members.added_by IS 'Who added it.';

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
  WHERE p.account_id = find_project.account_id
    AND lower(project COLLATE "C") IN (lower(p.name COLLATE "C"), lower((c.name || '/' || p.name) COLLATE "C"));
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
  'The id of a project by its name, with its connection''s before it where several connections track one of that '
  'name; an error for one that is not tracked.';
COMMENT ON FUNCTION keypup.find_projects(uuid, text[]) IS 'The ids of projects, as by find_project.';
