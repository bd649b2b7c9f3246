-- insight/check.sql: what the checks of pull requests say: how long a commit takes to be green, and which checks fail
-- now and pass then. doc/checks.md has the definitions.

CREATE VIEW keypup.pull_request_builds WITH (security_invoker = true, security_barrier = true) AS
-- Each pull request looks up by key what ran on it, and no window spans several.
SELECT p.account_id, p.project_id, (
    SELECT j.name FROM keypup.projects j
    WHERE j.account_id = p.account_id AND j.project_id = p.project_id) AS project,
  p.number, p.author, p.author_is_bot, p.state AS pull_request_state, p.created_at, p.merged_at, b.head_commit,
  b.head_commit IS NOT DISTINCT FROM (
    SELECT m.head_commit FROM keypup.pull_request_merge_states m
    WHERE m.account_id = p.account_id AND m.project_id = p.project_id AND m.pull_request_number = p.number)
    AS is_newest,
  b.checks, b.runs, b.passed_checks, b.failed_checks, b.pending_checks,
  CASE WHEN b.failed_checks > 0 THEN 'failure' WHEN b.pending_checks > 0 THEN 'pending'
    WHEN b.passed_checks = b.checks THEN 'success' END AS build_state,
  b.has_failed_once, b.started_at, g.green_at, g.green_at - b.started_at AS time_to_green
FROM keypup.pull_requests p
CROSS JOIN LATERAL (
  SELECT r.head_commit, count(*) AS runs, count(*) FILTER (WHERE r.is_last) AS checks,
    count(*) FILTER (WHERE r.is_last AND r.has_failed) AS failed_checks,
    count(*) FILTER (WHERE r.is_last AND r.has_passed) AS passed_checks,
    count(*) FILTER (WHERE r.is_last AND r.completed_at IS NULL) AS pending_checks,
    min(coalesce(r.started_at, r.completed_at)) AS started_at,
    max(r.completed_at) FILTER (WHERE r.is_last) AS last_completed_at,
    bool_or(r.has_failed) IS TRUE AS has_failed_once
  FROM (
    -- Of the runs of a check the last one counts.
    SELECT c.head_commit, c.started_at, c.completed_at,
      c.conclusion IN ('failure', 'timed_out', 'startup_failure') AS has_failed,
      c.conclusion IN ('success', 'neutral', 'skipped') AS has_passed,
      row_number() OVER (PARTITION BY c.head_commit, c.kind, c.workflow, c.name ORDER BY c.completed_at DESC NULLS
        FIRST, c.started_at DESC NULLS LAST, c.external_id COLLATE "C" DESC) = 1 AS is_last
    FROM keypup.pull_request_checks c
    WHERE c.account_id = p.account_id AND c.project_id = p.project_id AND c.pull_request_number = p.number
  ) AS r
  GROUP BY r.head_commit
) AS b
CROSS JOIN LATERAL (
  SELECT CASE WHEN b.passed_checks = b.checks THEN b.last_completed_at END AS green_at
) AS g
WHERE p.deleted_at IS NULL;
REVOKE ALL ON keypup.pull_request_builds FROM PUBLIC;
GRANT SELECT ON keypup.pull_request_builds TO keypup_member;
COMMENT ON VIEW keypup.pull_request_builds IS
  'One row a pull request and commit that was its newest one while its checks were read: how these ended, and how long '
  'that took.';
COMMENT ON COLUMN keypup.pull_request_builds.account_id IS 'The account.';
COMMENT ON COLUMN keypup.pull_request_builds.project_id IS 'The project.';
COMMENT ON COLUMN keypup.pull_request_builds.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.pull_request_builds.number IS 'Number of the pull request within the project.';
COMMENT ON COLUMN keypup.pull_request_builds.author IS 'Login of who opened it; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.pull_request_builds.author_is_bot IS 'Whether a bot opened it.';
COMMENT ON COLUMN keypup.pull_request_builds.pull_request_state IS 'open, closed (without a merge) or merged.';
COMMENT ON COLUMN keypup.pull_request_builds.created_at IS 'When the pull request was opened.';
COMMENT ON COLUMN keypup.pull_request_builds.merged_at IS 'When it was merged; NULL if not.';
COMMENT ON COLUMN keypup.pull_request_builds.head_commit IS 'Id of the commit.';
COMMENT ON COLUMN keypup.pull_request_builds.is_newest IS
  'Whether it is the newest commit of the pull request that is known.';
COMMENT ON COLUMN keypup.pull_request_builds.checks IS
  'Checks on it, by their workflows and names; of each the last run counts.';
COMMENT ON COLUMN keypup.pull_request_builds.runs IS 'Runs of these: more than checks where some were run again.';
COMMENT ON COLUMN keypup.pull_request_builds.passed_checks IS 'Those that ended with success, neutral or skipped.';
COMMENT ON COLUMN keypup.pull_request_builds.failed_checks IS
  'Those that ended with failure, timed_out or startup_failure.';
COMMENT ON COLUMN keypup.pull_request_builds.pending_checks IS 'Those that have not ended.';
COMMENT ON COLUMN keypup.pull_request_builds.build_state IS
  'failure: one at least failed. pending: none, and one at least has not ended. success: all passed. NULL: some were '
  'cancelled, or wait for an action, and the others passed.';
COMMENT ON COLUMN keypup.pull_request_builds.has_failed_once IS
  'Whether any run failed, also one that was run again.';
COMMENT ON COLUMN keypup.pull_request_builds.started_at IS
  'When the first run began; of commit statuses, which do not say it, when the first ended.';
COMMENT ON COLUMN keypup.pull_request_builds.green_at IS
  'When the last of its checks passed; NULL unless all have.';
COMMENT ON COLUMN keypup.pull_request_builds.time_to_green IS
  'started_at to green_at, with the time until what failed was run again.';

CREATE VIEW keypup.flaky_checks WITH (security_invoker = true, security_barrier = true) AS
WITH run AS (
  -- A commit may be the newest one of several pull requests.
  SELECT DISTINCT ON (c.account_id, c.project_id, c.head_commit, c.external_id)
    c.account_id, c.project_id, c.head_commit, c.kind, c.workflow, c.name, c.completed_at,
    c.conclusion IN ('failure', 'timed_out', 'startup_failure') AS has_failed,
    c.conclusion IN ('success', 'neutral', 'skipped') AS has_passed
  FROM keypup.pull_request_checks c
  WHERE c.completed_at IS NOT NULL
    AND c.conclusion IN ('success', 'neutral', 'skipped', 'failure', 'timed_out', 'startup_failure')
  ORDER BY c.account_id, c.project_id, c.head_commit, c.external_id, c.pull_request_number
), of_commit AS (
  SELECT r.account_id, r.project_id, r.head_commit, r.kind, r.workflow, r.name,
    count(*) FILTER (WHERE r.has_failed) AS failures,
    min(r.completed_at) FILTER (WHERE r.has_failed) AS failed_at,
    max(r.completed_at) FILTER (WHERE r.has_passed) AS passed_at,
    max(r.completed_at) FILTER (WHERE r.has_passed) > min(r.completed_at) FILTER (WHERE r.has_failed) AS is_flaky
  FROM run r
  GROUP BY r.account_id, r.project_id, r.head_commit, r.kind, r.workflow, r.name
), of_check AS (
  SELECT o.account_id, o.project_id, o.kind, o.workflow, o.name, count(*) AS commits,
    count(*) FILTER (WHERE o.failures > 0) AS failed_commits,
    count(*) FILTER (WHERE o.is_flaky) AS flaky_commits, max(o.passed_at) FILTER (WHERE o.is_flaky) AS last_flaky_at,
    sum(o.passed_at - o.failed_at) FILTER (WHERE o.is_flaky) AS delay
  FROM of_commit o
  GROUP BY o.account_id, o.project_id, o.kind, o.workflow, o.name
  HAVING bool_or(o.is_flaky)
)
SELECT f.account_id, f.project_id, j.name AS project, f.kind, f.workflow, f.name, f.commits, f.failed_commits,
  f.flaky_commits, f.flaky_commits::double precision / f.commits AS flaky_share, justify_hours(f.delay) AS delay,
  f.last_flaky_at
FROM of_check f
JOIN keypup.projects j ON j.account_id = f.account_id AND j.project_id = f.project_id;
REVOKE ALL ON keypup.flaky_checks FROM PUBLIC;
GRANT SELECT ON keypup.flaky_checks TO keypup_member;
COMMENT ON VIEW keypup.flaky_checks IS
  'One row a project and check that failed and later passed on the same commit, once at least.';
COMMENT ON COLUMN keypup.flaky_checks.account_id IS 'The account.';
COMMENT ON COLUMN keypup.flaky_checks.project_id IS 'The project.';
COMMENT ON COLUMN keypup.flaky_checks.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.flaky_checks.kind IS 'check_run or commit_status.';
COMMENT ON COLUMN keypup.flaky_checks.workflow IS 'The workflow that it is a part of; NULL where none is known.';
COMMENT ON COLUMN keypup.flaky_checks.name IS 'Name of the check.';
COMMENT ON COLUMN keypup.flaky_checks.commits IS 'Commits on which it passed or failed.';
COMMENT ON COLUMN keypup.flaky_checks.failed_commits IS 'Those of them on which it failed once at least.';
COMMENT ON COLUMN keypup.flaky_checks.flaky_commits IS 'Those of these on which it passed later.';
COMMENT ON COLUMN keypup.flaky_checks.flaky_share IS 'flaky_commits / commits.';
COMMENT ON COLUMN keypup.flaky_checks.delay IS
  'Time from the first failure to the last pass, of all flaky commits together.';
COMMENT ON COLUMN keypup.flaky_checks.last_flaky_at IS 'When it last passed so.';
