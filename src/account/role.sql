-- account/role.sql: what each role may do, and who has which role.

CREATE TABLE keypup.role_permissions (
  role text NOT NULL,
  permission text NOT NULL,
  PRIMARY KEY (role, permission)
);
COMMENT ON TABLE keypup.role_permissions IS 'What each built-in role may do in an account.';
COMMENT ON COLUMN keypup.role_permissions.role IS 'owner, admin, member or viewer.';
COMMENT ON COLUMN keypup.role_permissions.permission IS
  'One right, as subject.action; tokens can be created, used, rotated and deleted, never read.';
GRANT SELECT ON keypup.role_permissions TO keypup_member;
-- Read by all, and written by nobody, also of those who may write all tables.
SELECT keypup.close_table('keypup.role_permissions');
CREATE POLICY member_reads ON keypup.role_permissions FOR SELECT TO keypup_member USING (true);

INSERT INTO keypup.role_permissions (role, permission)
SELECT r.role, p.permission
FROM (VALUES
  ('data.read', 1), ('settings.read', 1),
  ('tokens.use', 2),
  ('settings.write', 3), ('users.read', 3), ('users.manage', 3), ('tokens.create', 3), ('tokens.rotate', 3),
  ('tokens.delete', 3), ('features.manage', 3), ('audit.read', 3), ('billing.manage', 3), ('support.grant', 3),
  ('owners.manage', 4), ('account.delete', 4), ('audit.forward', 4)) AS p(permission, rank)
JOIN (VALUES ('viewer', 1), ('member', 2), ('admin', 3), ('owner', 4)) AS r(role, rank) ON r.rank >= p.rank;

-- What an account's own roles may do. A role is there while it has a permission.
CREATE TABLE keypup.account_role_permissions (
  account_id uuid NOT NULL REFERENCES keypup.accounts ON DELETE CASCADE,
  role text NOT NULL CHECK (role ~ '^[^[:cntrl:]]{1,63}$' AND role NOT IN ('owner', 'admin', 'member', 'viewer')),
  permission text NOT NULL,
  PRIMARY KEY (account_id, role, permission)
);
COMMENT ON TABLE keypup.account_role_permissions IS 'What each of an account''s own roles may do in it.';
COMMENT ON COLUMN keypup.account_role_permissions.role IS 'Name of the role.';
COMMENT ON COLUMN keypup.account_role_permissions.permission IS 'One right, as in role_permissions.';
SELECT keypup.protect_table('keypup.account_role_permissions', 'users.read');

CREATE VIEW keypup.role_rights WITH (security_invoker = true) AS
SELECT NULL::uuid AS account_id, p.role, p.permission FROM keypup.role_permissions p
UNION ALL
SELECT o.account_id, o.role, o.permission FROM keypup.account_role_permissions o;
REVOKE ALL ON keypup.role_rights FROM PUBLIC;
COMMENT ON VIEW keypup.role_rights IS
  'What each role may do: built-in ones in every account, others in their own. Granted to nobody; read roles.';
COMMENT ON COLUMN keypup.role_rights.account_id IS 'The account whose own role it is; NULL for a built-in one.';
COMMENT ON COLUMN keypup.role_rights.role IS 'Name of the role.';
COMMENT ON COLUMN keypup.role_rights.permission IS 'One right, as subject.action.';

CREATE VIEW keypup.roles WITH (security_invoker = true, security_barrier = true) AS
SELECT a.account_id, p.role, p.permission FROM keypup.accounts a CROSS JOIN keypup.role_permissions p
UNION ALL
SELECT o.account_id, o.role, o.permission FROM keypup.account_role_permissions o;
REVOKE ALL ON keypup.roles FROM PUBLIC;
GRANT SELECT ON keypup.roles TO keypup_member;
COMMENT ON VIEW keypup.roles IS
  'The roles that an account''s members can have, built-in ones and its own, and what each may do.';
COMMENT ON COLUMN keypup.roles.account_id IS 'The account.';
COMMENT ON COLUMN keypup.roles.role IS 'Name of the role.';
COMMENT ON COLUMN keypup.roles.permission IS 'One right, as subject.action.';

-- Who made something that ends with their right to make it.
CREATE TYPE keypup.maker AS (kind text, name text, role_id oid, origin text);
REVOKE ALL ON TYPE keypup.maker FROM PUBLIC;
COMMENT ON TYPE keypup.maker IS
  'Who made something: kind and name as in rights; of a database role its oid, and of which server that is.';

CREATE TABLE keypup.members (
  account_id uuid NOT NULL REFERENCES keypup.accounts ON DELETE CASCADE,
  member text NOT NULL CHECK (member ~ '^[^[:cntrl:]]{1,200}$'),
  kind text NOT NULL DEFAULT 'database_role' CHECK (kind IN ('database_role', 'person')),
  role text NOT NULL,
  all_projects boolean NOT NULL DEFAULT true,
  by_groups boolean NOT NULL DEFAULT false,
  added_at timestamptz NOT NULL DEFAULT now(),
  added_by text NOT NULL,
  confirmed_at timestamptz DEFAULT now(),
  role_id oid,
  origin text NOT NULL DEFAULT keypup.this_database(),
  sign_in_id bigint NOT NULL DEFAULT keypup.new_id(),
  PRIMARY KEY (account_id, member)
);
-- The names of roles, by which it is asked, compare as in C.
CREATE INDEX members_member ON keypup.members (member COLLATE "C");
COMMENT ON TABLE keypup.members IS 'Who belongs to an account, and as what.';
COMMENT ON COLUMN keypup.members.member IS
  'Name of a database role (whoever has that role is a member too), or of a person who signs in.';
COMMENT ON COLUMN keypup.members.kind IS 'database_role or person.';
COMMENT ON COLUMN keypup.members.role IS 'owner, admin, member, viewer or one of the account''s own: see roles.';
COMMENT ON COLUMN keypup.members.all_projects IS
  'Whether the member sees all projects; otherwise those in member_projects, and may only read.';
COMMENT ON COLUMN keypup.members.by_groups IS 'Whether the role follows the person''s groups at the identity provider.';
COMMENT ON COLUMN keypup.members.added_at IS 'When the member was added.';
COMMENT ON COLUMN keypup.members.added_by IS 'Who added the member.';
COMMENT ON COLUMN keypup.members.confirmed_at IS
  'Since when the membership holds. NULL: it gives no rights, as the database role has not accepted it, or as the '
  'group that gave it is mapped no longer; the next sign-in by a group confirms it.';
COMMENT ON COLUMN keypup.members.role_id IS
  'The database role. Where the role of that oid no longer has that name, the row gives no rights: see '
  'orphaned_members.';
COMMENT ON COLUMN keypup.members.origin IS
  'The database in which role_id was looked up, as in connections: on another server the name alone counts at first.';
COMMENT ON COLUMN keypup.members.sign_in_id IS
  'Of a person: changes when the person is signed out everywhere, as by a new password. Sessions serve that were '
  'started under the one that is.';
SELECT keypup.protect_table('keypup.members', 'users.read');
