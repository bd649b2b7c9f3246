-- model/login.sql: whom a limited member sees: the logins in the rows of their projects, and who is behind these.
-- Whoever sees all projects sees all people, and nothing is looked up.

CREATE VIEW keypup.project_logins WITH (security_invoker = true) AS
SELECT p.account_id, p.project_id, l.login
FROM keypup.pull_requests p
CROSS JOIN LATERAL (
  SELECT p.author UNION SELECT p.merged_by UNION SELECT unnest(p.assignees) UNION SELECT unnest(p.requested_reviewers)
) AS l (login)
UNION ALL
SELECT i.account_id, i.project_id, l.login
FROM keypup.issues i
CROSS JOIN LATERAL (SELECT i.author UNION SELECT i.closed_by UNION SELECT unnest(i.assignees)) AS l (login)
UNION ALL
SELECT r.account_id, r.project_id, r.author FROM keypup.reviews r
UNION ALL
SELECT m.account_id, m.project_id, m.author FROM keypup.pull_request_commits m
UNION ALL
SELECT c.account_id, c.project_id, c.author FROM keypup.comments c
UNION ALL
SELECT e.account_id, e.project_id, l.login
FROM keypup.timeline_events e CROSS JOIN LATERAL (VALUES (e.actor), (e.subject)) AS l (login)
UNION ALL
SELECT r.account_id, r.project_id, r.author FROM keypup.releases r
UNION ALL
SELECT d.account_id, d.project_id, d.creator FROM keypup.deployments d;
REVOKE ALL ON keypup.project_logins FROM PUBLIC;
COMMENT ON VIEW keypup.project_logins IS
  'The logins that stand in rows of a project, some of them often. Granted to nobody.';
COMMENT ON COLUMN keypup.project_logins.account_id IS 'The account.';
COMMENT ON COLUMN keypup.project_logins.project_id IS 'The project.';
COMMENT ON COLUMN keypup.project_logins.login IS 'The login.';

ALTER POLICY member_reads ON keypup.identities USING (
  account_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keypup.my_accounts('data.read')))
  AND ((SELECT keypup.sees_all_projects('data.read'))
    OR (account_id, connection_id, login) OPERATOR(pg_catalog.=) ANY (SELECT l.account_id, l.connection_id, l.login
      FROM keypup.my_logins('data.read') l)));
ALTER POLICY member_reads ON keypup.people USING (
  account_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keypup.my_accounts('data.read')))
  AND ((SELECT keypup.sees_all_projects('data.read'))
    OR person_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT i.person_id FROM keypup.identities i))));
