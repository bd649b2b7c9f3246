-- insight/item_flow.sql: issues and pull requests opened and closed day by day, and when the milestones will be done at
-- that pace. doc/issue-metrics.md has the definitions.

CREATE VIEW keypup.items_daily WITH (security_invoker = true, security_barrier = true) AS
SELECT p.account_id, p.project_id, p.name AS project, f.kind, f.day, f.is_complete, f.items_opened, f.items_closed,
  f.items_done
FROM keypup.projects p
JOIN keypup.accounts a ON a.account_id = p.account_id
CROSS JOIN LATERAL (SELECT keypup.known_time_zone(a.time_zone) AS zone OFFSET 0) AS z
CROSS JOIN LATERAL (
  -- What happened and a day without anything in one list, here and below: no join of days, and those that are not asked
  -- for are left out before they are counted.
  WITH happened AS MATERIALIZED (
    SELECT i.kind, (h.happened_at AT TIME ZONE z.zone)::date AS day, h.opened, h.closed, h.done
    FROM (
      SELECT 'issue' AS kind, i.created_at, i.state_reason IS NULL OR i.state_reason NOT IN ('not_planned', 'duplicate')
        AS is_done, CASE WHEN i.state = 'closed' THEN greatest(coalesce(i.closed_at, i.updated_at), i.created_at)
        END AS ended_at
      FROM keypup.issues i
      WHERE i.account_id = p.account_id AND i.project_id = p.project_id AND i.deleted_at IS NULL
        AND (keypup.counts_bots() OR NOT i.author_is_bot)
      UNION ALL
      -- A merge is when it is dated, as in throughput, even before the opening.
      SELECT 'pull_request', r.created_at, r.state = 'merged', CASE WHEN r.state <> 'open'
        THEN coalesce(r.merged_at, greatest(coalesce(r.closed_at, r.updated_at), r.created_at)) END
      FROM keypup.pull_requests r
      WHERE r.account_id = p.account_id AND r.project_id = p.project_id AND r.deleted_at IS NULL
        AND (keypup.counts_bots() OR NOT r.author_is_bot)
    ) AS i
    CROSS JOIN LATERAL (VALUES (i.created_at, 1, 0, 0), (i.ended_at, 0, 1, CASE WHEN i.is_done THEN 1 ELSE 0 END))
      AS h (happened_at, opened, closed, done)
    WHERE h.happened_at <= now()
  )
  SELECT c.kind, c.day, c.day + interval '1 day' <= now() AT TIME ZONE z.zone AS is_complete,
    sum(c.opened) AS items_opened, sum(c.closed) AS items_closed, sum(c.done) AS items_done
  FROM (
    SELECT h.kind, h.day, h.opened, h.closed, h.done FROM happened h
    UNION ALL
    SELECT k.kind, d.day::date, 0, 0, 0
    FROM (SELECT h.kind, min(h.day) AS first_day FROM happened h GROUP BY h.kind) AS k
    CROSS JOIN LATERAL generate_series(k.first_day::timestamp, (now() AT TIME ZONE z.zone)::date::timestamp,
      interval '1 day') AS d(day)
  ) AS c
  GROUP BY c.kind, c.day
) AS f;
REVOKE ALL ON keypup.items_daily FROM PUBLIC;
GRANT SELECT ON keypup.items_daily TO keypup_member;
COMMENT ON VIEW keypup.items_daily IS
  'One row a project, kind of item and day, from the first item of the kind to today, those with nothing included. '
  'Each item counts once as opened, and once as closed. Days are those of the account''s time zone. '
  'What bots opened counts unless keypup.count_bots is off.';
COMMENT ON COLUMN keypup.items_daily.account_id IS 'The account.';
COMMENT ON COLUMN keypup.items_daily.project_id IS 'The project.';
COMMENT ON COLUMN keypup.items_daily.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.items_daily.kind IS 'issue or pull_request.';
COMMENT ON COLUMN keypup.items_daily.day IS 'The day.';
COMMENT ON COLUMN keypup.items_daily.is_complete IS 'Whether the day is over, in the account''s time zone.';
COMMENT ON COLUMN keypup.items_daily.items_opened IS 'Items opened.';
COMMENT ON COLUMN keypup.items_daily.items_closed IS
  'Items whose last closing, or merge, is on the day; one that was opened again, and is open, is not closed.';
COMMENT ON COLUMN keypup.items_daily.items_done IS
  'Those of them that are done: issues that are not closed as not planned or as duplicates, and merged pull requests.';

CREATE VIEW keypup.milestone_forecasts WITH (security_invoker = true, security_barrier = true) AS
SELECT p.account_id, p.project_id, p.name AS project, f.milestone_id, f.milestone_number, f.title, f.due_on,
  f.open_items, f.weeks_counted, f.pace_p50, f.pace_p85,
  -- Nobody waits for longer than a century.
  CASE WHEN f.days_p50 < 36525 THEN z.today + f.days_p50::integer END AS done_on_p50,
  CASE WHEN f.days_p85 < 36525 THEN z.today + f.days_p85::integer END AS done_on_p85
FROM keypup.projects p
JOIN keypup.accounts a ON a.account_id = p.account_id
CROSS JOIN LATERAL (
  SELECT t.today, date_trunc('week', t.today::timestamp)::date AS this_week
  FROM (SELECT (now() AT TIME ZONE keypup.known_time_zone(a.time_zone))::date AS today OFFSET 0) AS t) AS z
CROSS JOIN LATERAL (
  WITH pace AS MATERIALIZED (
    SELECT count(*) AS weeks_counted, percentile_cont(ARRAY[0.5, 0.15]) WITHIN GROUP (ORDER BY w.items_closed) AS paces
    FROM (
      -- Whole weeks: that of the first item may have begun without the project.
      SELECT sum(i.items_closed)::double precision AS items_closed FROM keypup.items_daily i
      WHERE i.account_id = p.account_id AND i.project_id = p.project_id
        AND i.day >= z.this_week - 84 AND i.day < z.this_week
      GROUP BY date_trunc('week', i.day::timestamp) HAVING min(i.day) = date_trunc('week', min(i.day)::timestamp)
    ) AS w
  ), remaining AS MATERIALIZED (
    SELECT x.milestone_id, count(*) AS open_items FROM keypup.milestone_items x
    WHERE x.account_id = p.account_id AND x.project_id = p.project_id AND x.done_at IS NULL
      AND (keypup.counts_bots() OR NOT x.author_is_bot)
    GROUP BY x.milestone_id
  )
  SELECT m.external_id AS milestone_id, m.number AS milestone_number, m.title,
    -- The provider keeps a day as a time of that day in UTC.
    (m.due_on AT TIME ZONE 'UTC')::date AS due_on, coalesce(r.open_items, 0) AS open_items, w.weeks_counted,
    w.paces[1] AS pace_p50, w.paces[2] AS pace_p85,
    -- Rounded first: what is interpolated is not exact.
    ceil(round((r.open_items * 7 / nullif(w.paces[1], 0))::numeric, 6)) AS days_p50,
    ceil(round((r.open_items * 7 / nullif(w.paces[2], 0))::numeric, 6)) AS days_p85
  FROM keypup.milestones m
  LEFT JOIN remaining r ON r.milestone_id = m.external_id
  CROSS JOIN pace w
  WHERE m.account_id = p.account_id AND m.project_id = p.project_id AND m.state = 'open'
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
