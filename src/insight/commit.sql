-- insight/commit.sql: commits by person and day. doc/activity.md has the definitions.

CREATE VIEW keypup.commits_daily WITH (security_invoker = true, security_barrier = true) AS
SELECT w.account_id, w.project_id, w.project, w.day, w.day < w.today AS is_complete, w.person_id,
  CASE WHEN w.person_id IS NULL THEN w.author END AS login,
  coalesce(min(w.person), min(w.author)) AS person, w.author_is_bot AS is_bot,
  count(DISTINCT w.commit_id) AS commits, count(DISTINCT w.pull_request_number) AS pull_requests
FROM (
  -- CASE, so that a condition on the person leaves the join an outer one: else all is computed again for each login.
  SELECT a.account_id, c.project_id, j.name AS project, d.day, z.today,
    CASE WHEN c.author IS NOT NULL THEN l.person_id END AS person_id, l.person, c.author,
    c.author_is_bot, c.commit_id, c.pull_request_number
  FROM keypup.accounts a
  CROSS JOIN LATERAL (
    SELECT k.zone, (now() AT TIME ZONE k.zone)::date AS today
    FROM (SELECT keypup.known_time_zone(a.time_zone) AS zone OFFSET 0) AS k) AS z
  JOIN keypup.pull_request_commits c ON c.account_id = a.account_id
  CROSS JOIN LATERAL (SELECT (c.authored_at AT TIME ZONE z.zone)::date AS day) AS d
  -- LIMIT, so that the commits of the days that are asked for look up theirs by key.
  CROSS JOIN LATERAL (
    SELECT FROM keypup.pull_requests p WHERE p.account_id = c.account_id AND p.project_id = c.project_id
      AND p.number = c.pull_request_number AND p.deleted_at IS NULL
    LIMIT 1) AS p
  JOIN keypup.projects j ON j.account_id = c.account_id AND j.project_id = c.project_id
  LEFT JOIN keypup.person_logins l ON l.account_id = j.account_id AND l.connection_id = j.connection_id
    AND l.login = c.author
  UNION ALL
  -- Days from the first pull request on, and not from the first commit: authors' clocks may be any.
  SELECT a.account_id, j.project_id, j.name, g.start::date, z.today, NULL, NULL, NULL, false, NULL, NULL
  FROM keypup.accounts a
  CROSS JOIN LATERAL (
    SELECT k.zone, (now() AT TIME ZONE k.zone)::date AS today
    FROM (SELECT keypup.known_time_zone(a.time_zone) AS zone OFFSET 0) AS k) AS z
  JOIN keypup.projects j ON j.account_id = a.account_id
  CROSS JOIN LATERAL (
    SELECT p.created_at AS first_at FROM keypup.pull_requests p
    WHERE p.account_id = j.account_id AND p.project_id = j.project_id AND p.deleted_at IS NULL
    ORDER BY p.number LIMIT 1) AS f
  CROSS JOIN LATERAL keypup.period_starts(date_trunc('day', f.first_at AT TIME ZONE z.zone), z.today::timestamp,
    interval '1 day') AS g(start)
  -- Where no commits are read, nobody knows that there were none.
  WHERE EXISTS (SELECT FROM keypup.pull_request_commits c
    WHERE c.account_id = j.account_id AND c.project_id = j.project_id)
) AS w
GROUP BY w.account_id, w.project_id, w.project, w.day, w.today, w.person_id,
  CASE WHEN w.person_id IS NULL THEN w.author END, w.author_is_bot;
REVOKE ALL ON keypup.commits_daily FROM PUBLIC;
GRANT SELECT ON keypup.commits_daily TO keypup_member;
COMMENT ON VIEW keypup.commits_daily IS
  'One row a project, day and person with commits in pull requests that are not deleted: how many. A commit counts '
  'once, in however many pull requests it is. Each day from the opening of the project''s first pull request to today '
  'has one row without a person, of commits by authors whom the provider does not know, with 0 where there are none. '
  'Days are those of the account''s time zone.';
COMMENT ON COLUMN keypup.commits_daily.account_id IS 'The account.';
COMMENT ON COLUMN keypup.commits_daily.project_id IS 'The project.';
COMMENT ON COLUMN keypup.commits_daily.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.commits_daily.day IS 'The day on which they were written, by their authors'' clocks.';
COMMENT ON COLUMN keypup.commits_daily.is_complete IS 'Whether the day is over, in the account''s time zone.';
COMMENT ON COLUMN keypup.commits_daily.person_id IS
  'The person; NULL for the provider''s bots, and where the provider knows nobody of the author''s address.';
COMMENT ON COLUMN keypup.commits_daily.login IS 'Login of who is no person, as a bot is; NULL otherwise.';
COMMENT ON COLUMN keypup.commits_daily.person IS
  'Name of the person, or the login; NULL where the provider knows nobody of the author''s address.';
COMMENT ON COLUMN keypup.commits_daily.is_bot IS 'Whether a bot wrote them.';
COMMENT ON COLUMN keypup.commits_daily.commits IS 'Commits written.';
COMMENT ON COLUMN keypup.commits_daily.pull_requests IS 'Pull requests that have one of them.';
