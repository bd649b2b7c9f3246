-- insight/forecast.sql: when milestones and sprints will be done, at their project's pace. doc/issue-metrics.md has the
-- definitions, and how often such forecasts held.

CREATE FUNCTION keypup.pace_before(account uuid, project bigint, kinds text[], day date, OUT weeks_counted bigint,
  OUT pace_p50 double precision, OUT pace_p85 double precision)
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
  SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY w.items_closed),
    percentile_cont(0.15) WITHIN GROUP (ORDER BY w.items_closed)
  FROM (
    -- Whole weeks: that of the first item may have begun without the project.
    SELECT sum(i.items_closed)::double precision AS items_closed
    FROM keypup.items_daily i
    WHERE i.account_id = pace_before.account AND i.project_id = pace_before.project
      AND i.kind = ANY (pace_before.kinds) AND i.is_complete
      AND i.day >= date_trunc('week', pace_before.day::timestamp)::date - 84
      AND i.day < date_trunc('week', pace_before.day::timestamp)::date
    GROUP BY date_trunc('week', i.day::timestamp)
    HAVING count(DISTINCT i.day) = 7
  ) AS w
$$;
REVOKE ALL ON FUNCTION keypup.pace_before(uuid, bigint, text[], date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.pace_before(uuid, bigint, text[], date) TO keypup_member;
COMMENT ON FUNCTION keypup.pace_before(uuid, bigint, text[], date) IS
  'Items of these kinds (issue, pull_request) that a project closed or merged a week, as planned or not: the median of '
  'the last 12 complete weeks before the week of the day, and their 15th percentile, which 85 of 100 weeks reached, '
  'both interpolated. Forecasts are of today''s; another day gives what they went by then.';

CREATE FUNCTION keypup.days_at_pace(items bigint, pace double precision) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  -- Rounded first: what is interpolated is not exact. Nobody waits for longer than a century.
  SELECT CASE WHEN d.days < 36525 THEN d.days::integer END
  FROM (SELECT ceil(round((items * 7 / nullif(pace, 0))::numeric, 6)) AS days) AS d
$$;
CREATE FUNCTION keypup.items_at_pace(items bigint, days integer, pace double precision) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE WHEN pace * days IS NOT NULL THEN
    least(items, floor(round((pace * greatest(days, 0) / 7)::numeric, 6))::bigint) END
$$;
REVOKE ALL ON FUNCTION keypup.days_at_pace(bigint, double precision),
  keypup.items_at_pace(bigint, integer, double precision) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.days_at_pace(bigint, double precision),
  keypup.items_at_pace(bigint, integer, double precision) TO keypup_member;
COMMENT ON FUNCTION keypup.days_at_pace(bigint, double precision) IS
  'How many days so many items take at so many a week, rounded up; NULL where the pace is 0, and beyond a hundred '
  'years.';
COMMENT ON FUNCTION keypup.items_at_pace(bigint, integer, double precision) IS
  'How many of so many items are done in so many days at so many a week, rounded down; 0 where no day is left.';

CREATE VIEW keypup.milestone_forecasts WITH (security_invoker = true, security_barrier = true) AS
SELECT p.account_id, p.project_id, p.name AS project, f.milestone_id, f.milestone_number, f.title, f.due_on,
  f.open_items, f.weeks_counted, f.pace_p50, f.pace_p85,
  z.today + keypup.days_at_pace(nullif(f.open_items, 0), f.pace_p50) AS done_on_p50,
  z.today + keypup.days_at_pace(nullif(f.open_items, 0), f.pace_p85) AS done_on_p85
FROM keypup.projects p
JOIN keypup.accounts a ON a.account_id = p.account_id
CROSS JOIN LATERAL (SELECT (now() AT TIME ZONE keypup.known_time_zone(a.time_zone))::date AS today OFFSET 0) AS z
CROSS JOIN LATERAL (
  -- Once a project, and only where there are milestones.
  WITH open_milestone AS MATERIALIZED (
    SELECT m.external_id, m.number, m.title, m.due_on FROM keypup.milestones m
    WHERE m.account_id = p.account_id AND m.project_id = p.project_id AND m.state = 'open'
  ), pace AS MATERIALIZED (
    SELECT w.weeks_counted, w.pace_p50, w.pace_p85
    FROM keypup.pace_before(p.account_id, p.project_id, ARRAY['issue', 'pull_request'], z.today) AS w
    WHERE EXISTS (SELECT FROM open_milestone)
  ), remaining AS MATERIALIZED (
    SELECT x.milestone_id, count(*) AS open_items FROM keypup.milestone_items x
    WHERE x.account_id = p.account_id AND x.project_id = p.project_id AND x.done_at IS NULL
      AND (keypup.counts_bots() OR NOT x.author_is_bot)
    GROUP BY x.milestone_id
  )
  SELECT m.external_id AS milestone_id, m.number AS milestone_number, m.title,
    -- The provider keeps a day as a time of that day in UTC.
    (m.due_on AT TIME ZONE 'UTC')::date AS due_on, coalesce(r.open_items, 0) AS open_items, w.weeks_counted,
    w.pace_p50, w.pace_p85
  FROM open_milestone m
  LEFT JOIN remaining r ON r.milestone_id = m.external_id
  CROSS JOIN pace w
) AS f;
REVOKE ALL ON keypup.milestone_forecasts FROM PUBLIC;
GRANT SELECT ON keypup.milestone_forecasts TO keypup_member;
COMMENT ON VIEW keypup.milestone_forecasts IS
  'One row an open milestone: when what is open in it now will be done, if the project goes on at the pace of its last '
  'complete weeks, and does nothing else. '
  'What bots opened counts unless keypup.count_bots is off.';
COMMENT ON COLUMN keypup.milestone_forecasts.account_id IS 'The account.';
COMMENT ON COLUMN keypup.milestone_forecasts.project_id IS 'The project.';
COMMENT ON COLUMN keypup.milestone_forecasts.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.milestone_forecasts.milestone_id IS 'The provider''s id of the milestone.';
COMMENT ON COLUMN keypup.milestone_forecasts.milestone_number IS 'Number of the milestone within the project.';
COMMENT ON COLUMN keypup.milestone_forecasts.title IS 'Title.';
COMMENT ON COLUMN keypup.milestone_forecasts.due_on IS 'The day it is due; NULL without one.';
COMMENT ON COLUMN keypup.milestone_forecasts.open_items IS 'Issues and pull requests in it that are open.';
COMMENT ON COLUMN keypup.milestone_forecasts.weeks_counted IS
  'Of how many weeks the pace is: the last 12 complete ones, or those since the first item of the project.';
COMMENT ON COLUMN keypup.milestone_forecasts.pace_p50 IS
  'Items that the project closed or merged a week, as planned or not: the median of these weeks, interpolated; NULL '
  'without a week.';
COMMENT ON COLUMN keypup.milestone_forecasts.pace_p85 IS
  'What was closed, or more, in 85 of 100 weeks: the 15th percentile of the same, interpolated.';
COMMENT ON COLUMN keypup.milestone_forecasts.done_on_p50 IS
  'Today and as many days as open_items take at pace_p50; NULL where nothing is open, nothing was done, or it takes '
  'more than a hundred years.';
COMMENT ON COLUMN keypup.milestone_forecasts.done_on_p85 IS
  'The same at pace_p85, which 85 of 100 weeks kept: the day that can be promised.';

CREATE VIEW keypup.sprint_forecasts WITH (security_invoker = true, security_barrier = true) AS
SELECT p.account_id, p.project_id, p.name AS project, f.sprint_id, f.name AS sprint, f.state, f.starts_on, f.ends_on,
  f.open_items, f.weeks_counted, f.pace_p50, f.pace_p85,
  f.begins_on + keypup.days_at_pace(nullif(f.open_items, 0), f.pace_p50) AS done_on_p50,
  f.begins_on + keypup.days_at_pace(nullif(f.open_items, 0), f.pace_p85) AS done_on_p85,
  keypup.items_at_pace(f.open_items, f.days_left, f.pace_p50) AS done_by_end_p50,
  keypup.items_at_pace(f.open_items, f.days_left, f.pace_p85) AS done_by_end_p85
FROM keypup.projects p
JOIN keypup.accounts a ON a.account_id = p.account_id
CROSS JOIN LATERAL (
  SELECT k.zone, (now() AT TIME ZONE k.zone)::date AS today
  FROM (SELECT keypup.known_time_zone(a.time_zone) AS zone OFFSET 0) AS k) AS z
CROSS JOIN LATERAL (
  -- Once a project, and only where there are sprints.
  WITH open_sprint AS MATERIALIZED (
    SELECT s.external_id, s.name, s.state, (s.starts_at AT TIME ZONE z.zone)::date AS starts_on,
      (s.ends_at AT TIME ZONE z.zone)::date AS ends_on
    FROM keypup.sprints s
    WHERE s.account_id = p.account_id AND s.project_id = p.project_id AND s.state <> 'closed'
  ), pace AS MATERIALIZED (
    SELECT w.weeks_counted, w.pace_p50, w.pace_p85
    FROM keypup.pace_before(p.account_id, p.project_id, ARRAY['issue'], z.today) AS w
    WHERE EXISTS (SELECT FROM open_sprint)
  ), remaining AS MATERIALIZED (
    -- The last one is the sprint that it is in.
    SELECT i.sprint_ids[cardinality(i.sprint_ids)] AS sprint_id, count(*) AS open_items
    FROM keypup.issues i
    WHERE i.account_id = p.account_id AND i.project_id = p.project_id AND i.state = 'open' AND i.sprint_ids <> '{}'
      AND i.deleted_at IS NULL AND (keypup.counts_bots() OR NOT i.author_is_bot)
      AND EXISTS (SELECT FROM open_sprint)
    GROUP BY i.sprint_ids[cardinality(i.sprint_ids)]
  )
  SELECT s.external_id AS sprint_id, s.name, s.state, s.starts_on, s.ends_on, b.begins_on,
    s.ends_on - b.begins_on AS days_left, coalesce(r.open_items, 0) AS open_items, w.weeks_counted,
    w.pace_p50, w.pace_p85
  FROM open_sprint s
  CROSS JOIN LATERAL (SELECT CASE WHEN s.state = 'future' THEN greatest(s.starts_on, z.today) ELSE z.today END
    AS begins_on) AS b
  LEFT JOIN remaining r ON r.sprint_id = s.external_id
  CROSS JOIN pace w
) AS f;
REVOKE ALL ON keypup.sprint_forecasts FROM PUBLIC;
GRANT SELECT ON keypup.sprint_forecasts TO keypup_member;
COMMENT ON VIEW keypup.sprint_forecasts IS
  'One row a sprint that is not closed: when what is open in it now will be done, and how much of it by its end, if '
  'the project goes on at the pace of its last complete weeks, and does nothing else. Days are those of the '
  'account''s time zone. '
  'What bots opened counts unless keypup.count_bots is off.';
COMMENT ON COLUMN keypup.sprint_forecasts.account_id IS 'The account.';
COMMENT ON COLUMN keypup.sprint_forecasts.project_id IS 'The project.';
COMMENT ON COLUMN keypup.sprint_forecasts.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.sprint_forecasts.sprint_id IS
  'The provider''s id of the sprint, as in issues.sprint_ids.';
COMMENT ON COLUMN keypup.sprint_forecasts.sprint IS 'Name of the sprint.';
COMMENT ON COLUMN keypup.sprint_forecasts.state IS 'future or active.';
COMMENT ON COLUMN keypup.sprint_forecasts.starts_on IS 'The day it begins, or began; NULL while that is not planned.';
COMMENT ON COLUMN keypup.sprint_forecasts.ends_on IS 'The day it is to end; NULL without one.';
COMMENT ON COLUMN keypup.sprint_forecasts.open_items IS 'Open issues whose last sprint it is.';
COMMENT ON COLUMN keypup.sprint_forecasts.weeks_counted IS
  'Of how many weeks the pace is: the last 12 complete ones, or those since the first issue of the project.';
COMMENT ON COLUMN keypup.sprint_forecasts.pace_p50 IS
  'Issues that the project closed a week, as planned or not: the median of these weeks, interpolated; NULL without a '
  'week.';
COMMENT ON COLUMN keypup.sprint_forecasts.pace_p85 IS
  'What was closed, or more, in 85 of 100 weeks: the 15th percentile of the same, interpolated.';
COMMENT ON COLUMN keypup.sprint_forecasts.done_on_p50 IS
  'As many days as open_items take at pace_p50, from today, or from the start of a future sprint, on; NULL where '
  'nothing is open, nothing was done, or it takes more than a hundred years.';
COMMENT ON COLUMN keypup.sprint_forecasts.done_on_p85 IS
  'The same at pace_p85, which 85 of 100 weeks kept: the day that can be promised.';
COMMENT ON COLUMN keypup.sprint_forecasts.done_by_end_p50 IS
  'How many of open_items will be done by the end of the sprint at pace_p50, rounded down: all of them where '
  'done_on_p50 is not after ends_on; NULL without an end or a pace.';
COMMENT ON COLUMN keypup.sprint_forecasts.done_by_end_p85 IS
  'The same at pace_p85: what can be promised for the sprint.';
