-- insight/flow.sql: how many issues and pull requests come and go. doc/issue-metrics.md has the definitions.

CREATE VIEW keypup.issue_flow_daily WITH (security_invoker = true, security_barrier = true) AS
-- Project by project, here and below: only those that are asked for are reckoned, and no estimate makes this a join of
-- whole histories. OFFSET 0, so that the time zone is looked up once a project and not once a row.
SELECT p.account_id, p.project_id, p.name AS project, f.day, f.is_complete, f.opened, f.closed, f.completed,
  f.not_planned, f.reopened, f.open_at_end_of_day
FROM keypup.projects p
JOIN keypup.accounts a ON a.account_id = p.account_id
CROSS JOIN LATERAL (SELECT keypup.known_time_zone(a.time_zone) AS zone OFFSET 0) AS z
CROSS JOIN LATERAL (
  WITH counted AS (
    SELECT (t.occurred_at AT TIME ZONE z.zone)::date AS day,
      count(*) FILTER (WHERE t.event = 'opened') AS opened,
      count(*) FILTER (WHERE t.event = 'closed') AS closed,
      count(*) FILTER (WHERE t.close_reason = 'completed') AS completed,
      count(*) FILTER (WHERE t.close_reason IN ('not_planned', 'duplicate')) AS not_planned,
      count(*) FILTER (WHERE t.event = 'reopened') AS reopened
    FROM keypup.issue_transitions t
    WHERE t.account_id = p.account_id AND t.project_id = p.project_id AND t.occurred_at <= now()
      AND (keypup.counts_bots() OR NOT t.author_is_bot)
    GROUP BY (t.occurred_at AT TIME ZONE z.zone)::date
  )
  SELECT d.day::date AS day, d.day + interval '1 day' <= now() AT TIME ZONE z.zone AS is_complete,
    coalesce(c.opened, 0) AS opened, coalesce(c.closed, 0) AS closed,
    coalesce(c.completed, 0) AS completed, coalesce(c.not_planned, 0) AS not_planned,
    coalesce(c.reopened, 0) AS reopened,
    (sum(coalesce(c.opened - c.closed + c.reopened, 0)) OVER (ORDER BY d.day))::bigint AS open_at_end_of_day
  FROM generate_series((SELECT min(c.day) FROM counted c)::timestamp, (now() AT TIME ZONE z.zone)::date::timestamp,
    interval '1 day') AS d(day)
  LEFT JOIN counted c ON c.day = d.day::date
) AS f;
REVOKE ALL ON keypup.issue_flow_daily FROM PUBLIC;
GRANT SELECT ON keypup.issue_flow_daily TO keypup_member;
COMMENT ON VIEW keypup.issue_flow_daily IS
  'One row a project and day, from its first issue to today: the cumulative flow. Days are those of the account''s '
  'time zone. '
  'What bots opened counts unless keypup.count_bots is off.';
COMMENT ON COLUMN keypup.issue_flow_daily.account_id IS 'The account.';
COMMENT ON COLUMN keypup.issue_flow_daily.project_id IS 'The project.';
COMMENT ON COLUMN keypup.issue_flow_daily.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.issue_flow_daily.day IS 'The day.';
COMMENT ON COLUMN keypup.issue_flow_daily.is_complete IS 'Whether the day is over, in the account''s time zone.';
COMMENT ON COLUMN keypup.issue_flow_daily.opened IS 'Issues opened.';
COMMENT ON COLUMN keypup.issue_flow_daily.closed IS 'Closings; an issue that is closed twice in a day counts twice.';
COMMENT ON COLUMN keypup.issue_flow_daily.completed IS
  'Those of them that were not undone by a reopening, and whose reason is completed, or not known.';
COMMENT ON COLUMN keypup.issue_flow_daily.not_planned IS
  'Those of them that were not undone by a reopening, as not planned or as a duplicate.';
COMMENT ON COLUMN keypup.issue_flow_daily.reopened IS 'Closed issues opened again.';
COMMENT ON COLUMN keypup.issue_flow_daily.open_at_end_of_day IS
  'Issues open at its end, or now: all opened minus closed plus reopened until then.';

CREATE VIEW keypup.throughput WITH (security_invoker = true, security_barrier = true) AS
SELECT p.account_id, p.project_id, p.name AS project, k.period, f.period_start, f.is_complete,
  f.pull_requests_merged, f.issues_opened, f.issues_closed, f.issues_completed, f.issues_not_planned,
  f.issues_reopened, f.backlog_growth,
  justify_hours(f.lead_times[1]) AS lead_time_p50,
  justify_hours(f.lead_times[2]) AS lead_time_p75,
  justify_hours(f.lead_times[3]) AS lead_time_p90,
  justify_hours(f.cycle_times[1]) AS cycle_time_p50,
  justify_hours(f.cycle_times[2]) AS cycle_time_p75,
  justify_hours(f.cycle_times[3]) AS cycle_time_p90,
  f.previous_pull_requests_merged, f.previous_issues_opened, f.previous_issues_closed, f.previous_issues_completed,
  f.previous_issues_not_planned, f.previous_issues_reopened, f.previous_backlog_growth,
  justify_hours(f.previous_lead_times[1]) AS previous_lead_time_p50,
  justify_hours(f.previous_lead_times[2]) AS previous_lead_time_p75,
  justify_hours(f.previous_lead_times[3]) AS previous_lead_time_p90,
  justify_hours(f.previous_cycle_times[1]) AS previous_cycle_time_p50,
  justify_hours(f.previous_cycle_times[2]) AS previous_cycle_time_p75,
  justify_hours(f.previous_cycle_times[3]) AS previous_cycle_time_p90
FROM (VALUES ('week'::text), ('month')) AS k(period)
CROSS JOIN keypup.projects p
JOIN keypup.accounts a ON a.account_id = p.account_id
CROSS JOIN LATERAL (SELECT keypup.known_time_zone(a.time_zone) AS zone OFFSET 0) AS z
CROSS JOIN LATERAL (
  WITH moved AS (
    SELECT date_trunc(k.period, t.occurred_at AT TIME ZONE z.zone)::date AS period_start,
      count(*) FILTER (WHERE t.event = 'opened') AS issues_opened,
      count(*) FILTER (WHERE t.event = 'closed') AS issues_closed,
      count(*) FILTER (WHERE t.close_reason = 'completed') AS issues_completed,
      count(*) FILTER (WHERE t.close_reason IN ('not_planned', 'duplicate')) AS issues_not_planned,
      count(*) FILTER (WHERE t.event = 'reopened') AS issues_reopened
    FROM keypup.issue_transitions t
    WHERE t.account_id = p.account_id AND t.project_id = p.project_id AND t.occurred_at <= now()
      AND (keypup.counts_bots() OR NOT t.author_is_bot)
    GROUP BY date_trunc(k.period, t.occurred_at AT TIME ZONE z.zone)::date
  ), led AS (
    SELECT date_trunc(k.period, i.closed_at AT TIME ZONE z.zone)::date AS period_start,
      percentile_cont(ARRAY[0.5, 0.75, 0.9]) WITHIN GROUP (ORDER BY i.closed_at - i.created_at) AS lead_times
    FROM keypup.issues i
    WHERE i.account_id = p.account_id AND i.project_id = p.project_id
      AND i.deleted_at IS NULL AND i.state = 'closed' AND i.closed_at BETWEEN i.created_at AND now()
      AND (i.state_reason IS NULL OR i.state_reason NOT IN ('not_planned', 'duplicate'))
      AND (keypup.counts_bots() OR NOT i.author_is_bot)
    GROUP BY date_trunc(k.period, i.closed_at AT TIME ZONE z.zone)::date
  ), merged AS (
    SELECT date_trunc(k.period, c.merged_at AT TIME ZONE z.zone)::date AS period_start,
      count(*) AS pull_requests_merged, percentile_cont(ARRAY[0.5, 0.75, 0.9]) WITHIN GROUP (ORDER BY c.cycle_time)
        FILTER (WHERE c.cycle_time >= interval '0') AS cycle_times
    FROM keypup.pull_request_cycle c
    WHERE c.account_id = p.account_id AND c.project_id = p.project_id AND c.merged_at <= now()
      AND (keypup.counts_bots() OR NOT c.author_is_bot)
    GROUP BY date_trunc(k.period, c.merged_at AT TIME ZONE z.zone)::date
  ), filled AS (
    SELECT d.start::date AS period_start, d.start + e.step <= now() AT TIME ZONE z.zone AS is_complete,
      coalesce(g.pull_requests_merged, 0) AS pull_requests_merged,
      coalesce(m.issues_opened, 0) AS issues_opened, coalesce(m.issues_closed, 0) AS issues_closed,
      coalesce(m.issues_completed, 0) AS issues_completed, coalesce(m.issues_not_planned, 0) AS issues_not_planned,
      coalesce(m.issues_reopened, 0) AS issues_reopened,
      coalesce(m.issues_opened - m.issues_closed + m.issues_reopened, 0) AS backlog_growth, l.lead_times, g.cycle_times
    FROM (SELECT ('1 ' || k.period)::interval AS step) AS e
    CROSS JOIN LATERAL generate_series(least((SELECT min(m.period_start) FROM moved m),
      (SELECT min(g.period_start) FROM merged g))::timestamp, now() AT TIME ZONE z.zone, e.step) AS d(start)
    LEFT JOIN moved m ON m.period_start = d.start::date
    LEFT JOIN led l ON l.period_start = d.start::date
    LEFT JOIN merged g ON g.period_start = d.start::date
  )
  SELECT f.*,
    lag(f.pull_requests_merged) OVER w AS previous_pull_requests_merged,
    lag(f.issues_opened) OVER w AS previous_issues_opened,
    lag(f.issues_closed) OVER w AS previous_issues_closed,
    lag(f.issues_completed) OVER w AS previous_issues_completed,
    lag(f.issues_not_planned) OVER w AS previous_issues_not_planned,
    lag(f.issues_reopened) OVER w AS previous_issues_reopened,
    lag(f.backlog_growth) OVER w AS previous_backlog_growth,
    lag(f.lead_times) OVER w AS previous_lead_times,
    lag(f.cycle_times) OVER w AS previous_cycle_times
  FROM filled f
  WINDOW w AS (ORDER BY f.period_start)
) AS f;
REVOKE ALL ON keypup.throughput FROM PUBLIC;
GRANT SELECT ON keypup.throughput TO keypup_member;
COMMENT ON VIEW keypup.throughput IS
  'One row a project and week, and one a project and month, from its first issue or merge to now, those with nothing '
  'included. In the account''s time zone. '
  'What bots opened counts unless keypup.count_bots is off.';
COMMENT ON COLUMN keypup.throughput.account_id IS 'The account.';
COMMENT ON COLUMN keypup.throughput.project_id IS 'The project.';
COMMENT ON COLUMN keypup.throughput.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.throughput.period IS 'week or month.';
COMMENT ON COLUMN keypup.throughput.period_start IS 'First day of the period; weeks start on Monday.';
COMMENT ON COLUMN keypup.throughput.is_complete IS 'Whether the period is over, in the account''s time zone.';
COMMENT ON COLUMN keypup.throughput.pull_requests_merged IS 'Pull requests merged.';
COMMENT ON COLUMN keypup.throughput.issues_opened IS 'Issues opened.';
COMMENT ON COLUMN keypup.throughput.issues_closed IS 'Closings of issues; one that is closed twice counts twice.';
COMMENT ON COLUMN keypup.throughput.issues_completed IS
  'Those of them that were not undone by a reopening, and whose reason is completed, or not known.';
COMMENT ON COLUMN keypup.throughput.issues_not_planned IS
  'Those of them that were not undone by a reopening, as not planned or as a duplicate.';
COMMENT ON COLUMN keypup.throughput.issues_reopened IS 'Closed issues opened again.';
COMMENT ON COLUMN keypup.throughput.backlog_growth IS
  'Opened minus closed plus reopened: negative when the backlog shrinks.';
COMMENT ON COLUMN keypup.throughput.lead_time_p50 IS
  'Median lead time, of the issues that are completed, and whose last closing is in the period, interpolated; NULL '
  'without one.';
COMMENT ON COLUMN keypup.throughput.lead_time_p75 IS
  '75th percentile of the lead time, of the issues that are completed, and whose last closing is in the period, '
  'interpolated; NULL without one.';
COMMENT ON COLUMN keypup.throughput.lead_time_p90 IS
  '90th percentile of the lead time, of the issues that are completed, and whose last closing is in the period, '
  'interpolated; NULL without one.';
COMMENT ON COLUMN keypup.throughput.cycle_time_p50 IS
  'Median cycle time, of the pull requests merged in the period, interpolated; NULL without one.';
COMMENT ON COLUMN keypup.throughput.cycle_time_p75 IS
  '75th percentile of the cycle time, of the pull requests merged in the period, interpolated; NULL without one.';
COMMENT ON COLUMN keypup.throughput.cycle_time_p90 IS
  '90th percentile of the cycle time, of the pull requests merged in the period, interpolated; NULL without one.';
COMMENT ON COLUMN keypup.throughput.previous_pull_requests_merged IS
  'pull_requests_merged of the period before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput.previous_issues_opened IS 'issues_opened of the period before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput.previous_issues_closed IS 'issues_closed of the period before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput.previous_issues_completed IS
  'issues_completed of the period before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput.previous_issues_not_planned IS
  'issues_not_planned of the period before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput.previous_issues_reopened IS
  'issues_reopened of the period before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput.previous_backlog_growth IS
  'backlog_growth of the period before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput.previous_lead_time_p50 IS 'lead_time_p50 of the period before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput.previous_lead_time_p75 IS 'lead_time_p75 of the period before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput.previous_lead_time_p90 IS 'lead_time_p90 of the period before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput.previous_cycle_time_p50 IS
  'cycle_time_p50 of the period before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput.previous_cycle_time_p75 IS
  'cycle_time_p75 of the period before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput.previous_cycle_time_p90 IS
  'cycle_time_p90 of the period before; NULL in the first.';

CREATE VIEW keypup.throughput_weekly WITH (security_invoker = true, security_barrier = true) AS
SELECT t.account_id, t.project_id, t.project, t.period_start AS week_start, t.is_complete,
  t.pull_requests_merged, t.issues_opened, t.issues_closed, t.issues_completed, t.issues_not_planned,
  t.issues_reopened, t.backlog_growth,
  t.lead_time_p50, t.lead_time_p75, t.lead_time_p90, t.cycle_time_p50, t.cycle_time_p75, t.cycle_time_p90,
  t.previous_pull_requests_merged, t.previous_issues_opened, t.previous_issues_closed, t.previous_issues_completed,
  t.previous_issues_not_planned, t.previous_issues_reopened, t.previous_backlog_growth,
  t.previous_lead_time_p50, t.previous_lead_time_p75, t.previous_lead_time_p90,
  t.previous_cycle_time_p50, t.previous_cycle_time_p75, t.previous_cycle_time_p90
FROM keypup.throughput t WHERE t.period = 'week';
REVOKE ALL ON keypup.throughput_weekly FROM PUBLIC;
GRANT SELECT ON keypup.throughput_weekly TO keypup_member;
COMMENT ON VIEW keypup.throughput_weekly IS
  'One row a project and week, from its first issue or merge to now, those with nothing included. In the account''s '
  'time zone. '
  'What bots opened counts unless keypup.count_bots is off.';
COMMENT ON COLUMN keypup.throughput_weekly.account_id IS 'The account.';
COMMENT ON COLUMN keypup.throughput_weekly.project_id IS 'The project.';
COMMENT ON COLUMN keypup.throughput_weekly.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.throughput_weekly.week_start IS 'Monday of the week.';
COMMENT ON COLUMN keypup.throughput_weekly.is_complete IS 'Whether the week is over, in the account''s time zone.';
COMMENT ON COLUMN keypup.throughput_weekly.pull_requests_merged IS 'Pull requests merged.';
COMMENT ON COLUMN keypup.throughput_weekly.issues_opened IS 'Issues opened.';
COMMENT ON COLUMN keypup.throughput_weekly.issues_closed IS
  'Closings of issues; one that is closed twice counts twice.';
COMMENT ON COLUMN keypup.throughput_weekly.issues_completed IS
  'Those of them that were not undone by a reopening, and whose reason is completed, or not known.';
COMMENT ON COLUMN keypup.throughput_weekly.issues_not_planned IS
  'Those of them that were not undone by a reopening, as not planned or as a duplicate.';
COMMENT ON COLUMN keypup.throughput_weekly.issues_reopened IS 'Closed issues opened again.';
COMMENT ON COLUMN keypup.throughput_weekly.backlog_growth IS
  'Opened minus closed plus reopened: negative when the backlog shrinks.';
COMMENT ON COLUMN keypup.throughput_weekly.lead_time_p50 IS
  'Median lead time, of the issues that are completed, and whose last closing is in the week, interpolated; NULL '
  'without one.';
COMMENT ON COLUMN keypup.throughput_weekly.lead_time_p75 IS
  '75th percentile of the lead time, of the issues that are completed, and whose last closing is in the week, '
  'interpolated; NULL without one.';
COMMENT ON COLUMN keypup.throughput_weekly.lead_time_p90 IS
  '90th percentile of the lead time, of the issues that are completed, and whose last closing is in the week, '
  'interpolated; NULL without one.';
COMMENT ON COLUMN keypup.throughput_weekly.cycle_time_p50 IS
  'Median cycle time, of the pull requests merged in the week, interpolated; NULL without one.';
COMMENT ON COLUMN keypup.throughput_weekly.cycle_time_p75 IS
  '75th percentile of the cycle time, of the pull requests merged in the week, interpolated; NULL without one.';
COMMENT ON COLUMN keypup.throughput_weekly.cycle_time_p90 IS
  '90th percentile of the cycle time, of the pull requests merged in the week, interpolated; NULL without one.';
COMMENT ON COLUMN keypup.throughput_weekly.previous_pull_requests_merged IS
  'pull_requests_merged of the week before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput_weekly.previous_issues_opened IS
  'issues_opened of the week before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput_weekly.previous_issues_closed IS
  'issues_closed of the week before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput_weekly.previous_issues_completed IS
  'issues_completed of the week before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput_weekly.previous_issues_not_planned IS
  'issues_not_planned of the week before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput_weekly.previous_issues_reopened IS
  'issues_reopened of the week before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput_weekly.previous_backlog_growth IS
  'backlog_growth of the week before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput_weekly.previous_lead_time_p50 IS
  'lead_time_p50 of the week before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput_weekly.previous_lead_time_p75 IS
  'lead_time_p75 of the week before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput_weekly.previous_lead_time_p90 IS
  'lead_time_p90 of the week before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput_weekly.previous_cycle_time_p50 IS
  'cycle_time_p50 of the week before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput_weekly.previous_cycle_time_p75 IS
  'cycle_time_p75 of the week before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput_weekly.previous_cycle_time_p90 IS
  'cycle_time_p90 of the week before; NULL in the first.';

CREATE VIEW keypup.throughput_monthly WITH (security_invoker = true, security_barrier = true) AS
SELECT t.account_id, t.project_id, t.project, t.period_start AS month_start, t.is_complete,
  t.pull_requests_merged, t.issues_opened, t.issues_closed, t.issues_completed, t.issues_not_planned,
  t.issues_reopened, t.backlog_growth,
  t.lead_time_p50, t.lead_time_p75, t.lead_time_p90, t.cycle_time_p50, t.cycle_time_p75, t.cycle_time_p90,
  t.previous_pull_requests_merged, t.previous_issues_opened, t.previous_issues_closed, t.previous_issues_completed,
  t.previous_issues_not_planned, t.previous_issues_reopened, t.previous_backlog_growth,
  t.previous_lead_time_p50, t.previous_lead_time_p75, t.previous_lead_time_p90,
  t.previous_cycle_time_p50, t.previous_cycle_time_p75, t.previous_cycle_time_p90
FROM keypup.throughput t WHERE t.period = 'month';
REVOKE ALL ON keypup.throughput_monthly FROM PUBLIC;
GRANT SELECT ON keypup.throughput_monthly TO keypup_member;
COMMENT ON VIEW keypup.throughput_monthly IS
  'One row a project and month, from its first issue or merge to now, those with nothing included. In the account''s '
  'time zone. '
  'What bots opened counts unless keypup.count_bots is off.';
COMMENT ON COLUMN keypup.throughput_monthly.account_id IS 'The account.';
COMMENT ON COLUMN keypup.throughput_monthly.project_id IS 'The project.';
COMMENT ON COLUMN keypup.throughput_monthly.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.throughput_monthly.month_start IS 'First day of the month.';
COMMENT ON COLUMN keypup.throughput_monthly.is_complete IS 'Whether the month is over, in the account''s time zone.';
COMMENT ON COLUMN keypup.throughput_monthly.pull_requests_merged IS 'Pull requests merged.';
COMMENT ON COLUMN keypup.throughput_monthly.issues_opened IS 'Issues opened.';
COMMENT ON COLUMN keypup.throughput_monthly.issues_closed IS
  'Closings of issues; one that is closed twice counts twice.';
COMMENT ON COLUMN keypup.throughput_monthly.issues_completed IS
  'Those of them that were not undone by a reopening, and whose reason is completed, or not known.';
COMMENT ON COLUMN keypup.throughput_monthly.issues_not_planned IS
  'Those of them that were not undone by a reopening, as not planned or as a duplicate.';
COMMENT ON COLUMN keypup.throughput_monthly.issues_reopened IS 'Closed issues opened again.';
COMMENT ON COLUMN keypup.throughput_monthly.backlog_growth IS
  'Opened minus closed plus reopened: negative when the backlog shrinks.';
COMMENT ON COLUMN keypup.throughput_monthly.lead_time_p50 IS
  'Median lead time, of the issues that are completed, and whose last closing is in the month, interpolated; NULL '
  'without one.';
COMMENT ON COLUMN keypup.throughput_monthly.lead_time_p75 IS
  '75th percentile of the lead time, of the issues that are completed, and whose last closing is in the month, '
  'interpolated; NULL without one.';
COMMENT ON COLUMN keypup.throughput_monthly.lead_time_p90 IS
  '90th percentile of the lead time, of the issues that are completed, and whose last closing is in the month, '
  'interpolated; NULL without one.';
COMMENT ON COLUMN keypup.throughput_monthly.cycle_time_p50 IS
  'Median cycle time, of the pull requests merged in the month, interpolated; NULL without one.';
COMMENT ON COLUMN keypup.throughput_monthly.cycle_time_p75 IS
  '75th percentile of the cycle time, of the pull requests merged in the month, interpolated; NULL without one.';
COMMENT ON COLUMN keypup.throughput_monthly.cycle_time_p90 IS
  '90th percentile of the cycle time, of the pull requests merged in the month, interpolated; NULL without one.';
COMMENT ON COLUMN keypup.throughput_monthly.previous_pull_requests_merged IS
  'pull_requests_merged of the month before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput_monthly.previous_issues_opened IS
  'issues_opened of the month before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput_monthly.previous_issues_closed IS
  'issues_closed of the month before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput_monthly.previous_issues_completed IS
  'issues_completed of the month before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput_monthly.previous_issues_not_planned IS
  'issues_not_planned of the month before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput_monthly.previous_issues_reopened IS
  'issues_reopened of the month before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput_monthly.previous_backlog_growth IS
  'backlog_growth of the month before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput_monthly.previous_lead_time_p50 IS
  'lead_time_p50 of the month before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput_monthly.previous_lead_time_p75 IS
  'lead_time_p75 of the month before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput_monthly.previous_lead_time_p90 IS
  'lead_time_p90 of the month before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput_monthly.previous_cycle_time_p50 IS
  'cycle_time_p50 of the month before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput_monthly.previous_cycle_time_p75 IS
  'cycle_time_p75 of the month before; NULL in the first.';
COMMENT ON COLUMN keypup.throughput_monthly.previous_cycle_time_p90 IS
  'cycle_time_p90 of the month before; NULL in the first.';

CREATE VIEW keypup.milestone_items WITH (security_invoker = true, security_barrier = true) AS
SELECT m.account_id, m.project_id, p.name AS project, m.external_id AS milestone_id, m.number AS milestone_number,
  x.kind, x.number, x.created_at,
  CASE WHEN x.state <> 'open' THEN greatest(coalesce(x.closed_at, x.updated_at), x.created_at) END AS done_at, x.key,
  x.author_is_bot
FROM keypup.milestones m
JOIN (
  SELECT i.account_id, i.project_id, u.milestone_id, 'issue' AS kind, i.number, i.key, i.state, i.created_at,
    i.closed_at, i.updated_at, i.author_is_bot
  FROM keypup.issues i CROSS JOIN LATERAL (SELECT DISTINCT unnest(i.milestone_ids)) AS u (milestone_id)
  WHERE i.milestone_ids <> '{}' AND i.deleted_at IS NULL
  UNION ALL
  SELECT r.account_id, r.project_id, u.milestone_id, 'pull_request', r.number, r.key, r.state, r.created_at,
    coalesce(r.merged_at, r.closed_at), r.updated_at, r.author_is_bot
  FROM keypup.pull_requests r CROSS JOIN LATERAL (SELECT DISTINCT unnest(r.milestone_ids)) AS u (milestone_id)
  WHERE r.milestone_ids <> '{}' AND r.deleted_at IS NULL
) AS x ON x.account_id = m.account_id AND x.project_id = m.project_id AND x.milestone_id = m.external_id
-- LEFT, so that whoever does not read the name does not join.
LEFT JOIN keypup.projects p ON p.account_id = m.account_id AND p.project_id = m.project_id;
REVOKE ALL ON keypup.milestone_items FROM PUBLIC;
GRANT SELECT ON keypup.milestone_items TO keypup_member;
COMMENT ON VIEW keypup.milestone_items IS 'One row a milestone and an issue or pull request that is in it now.';
COMMENT ON COLUMN keypup.milestone_items.account_id IS 'The account.';
COMMENT ON COLUMN keypup.milestone_items.project_id IS 'The project.';
COMMENT ON COLUMN keypup.milestone_items.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.milestone_items.milestone_id IS 'The provider''s id of the milestone.';
COMMENT ON COLUMN keypup.milestone_items.milestone_number IS 'Number of the milestone within the project.';
COMMENT ON COLUMN keypup.milestone_items.kind IS 'issue or pull_request.';
COMMENT ON COLUMN keypup.milestone_items.number IS 'Number of the item within the project.';
COMMENT ON COLUMN keypup.milestone_items.created_at IS 'When the item was opened.';
COMMENT ON COLUMN keypup.milestone_items.done_at IS
  'When it was closed or merged, never before the opening; NULL while open.';
COMMENT ON COLUMN keypup.milestone_items.author_is_bot IS 'Whether a bot opened the item.';
COMMENT ON COLUMN keypup.milestone_items.key IS 'The item as people write it: #12, !12, PROJ-12.';

CREATE VIEW keypup.milestone_progress WITH (security_invoker = true, security_barrier = true) AS
-- Counted once, not once a milestone.
WITH counted AS MATERIALIZED (
  SELECT x.account_id, x.project_id, x.milestone_id, count(*) AS scope, count(x.done_at) AS done
  FROM keypup.milestone_items x WHERE keypup.counts_bots() OR NOT x.author_is_bot
  GROUP BY x.account_id, x.project_id, x.milestone_id
), dated AS (
  SELECT m.account_id, m.project_id, p.name AS project, m.external_id AS milestone_id, m.number AS milestone_number,
    m.title, m.state, m.closed_at,
    -- The provider keeps a day as a time of that day in UTC.
    (m.due_on AT TIME ZONE 'UTC')::date AS due_on,
    (CASE WHEN m.state = 'closed' THEN coalesce(m.closed_at, m.updated_at)
      ELSE now() END AT TIME ZONE keypup.known_time_zone(a.time_zone))::date AS reached_on
  FROM keypup.milestones m
  JOIN keypup.projects p ON p.account_id = m.account_id AND p.project_id = m.project_id
  JOIN keypup.accounts a ON a.account_id = m.account_id
)
SELECT d.account_id, d.project_id, d.project, d.milestone_id, d.milestone_number, d.title, d.state, d.due_on,
  d.closed_at,
  coalesce(c.scope, 0) AS scope, coalesce(c.done, 0) AS done, c.done * 100 / c.scope AS percent,
  greatest(d.reached_on - d.due_on, CASE WHEN d.due_on IS NOT NULL THEN 0 END)::bigint AS slip_days
FROM dated d
LEFT JOIN counted c ON c.account_id = d.account_id AND c.project_id = d.project_id AND c.milestone_id = d.milestone_id;
REVOKE ALL ON keypup.milestone_progress FROM PUBLIC;
GRANT SELECT ON keypup.milestone_progress TO keypup_member;
COMMENT ON VIEW keypup.milestone_progress IS
  'One row a milestone: how much of it is done, and how late it is. '
  'What bots opened counts unless keypup.count_bots is off.';
COMMENT ON COLUMN keypup.milestone_progress.account_id IS 'The account.';
COMMENT ON COLUMN keypup.milestone_progress.project_id IS 'The project.';
COMMENT ON COLUMN keypup.milestone_progress.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.milestone_progress.milestone_id IS 'The provider''s id of the milestone.';
COMMENT ON COLUMN keypup.milestone_progress.milestone_number IS 'Number of the milestone within the project.';
COMMENT ON COLUMN keypup.milestone_progress.title IS 'Title.';
COMMENT ON COLUMN keypup.milestone_progress.state IS 'open or closed.';
COMMENT ON COLUMN keypup.milestone_progress.due_on IS 'The day it is due; NULL without one.';
COMMENT ON COLUMN keypup.milestone_progress.closed_at IS 'When it was closed; NULL while open.';
COMMENT ON COLUMN keypup.milestone_progress.scope IS 'Issues and pull requests in it now.';
COMMENT ON COLUMN keypup.milestone_progress.done IS 'Those that are closed or merged.';
COMMENT ON COLUMN keypup.milestone_progress.percent IS
  'done of scope, rounded down: 100 only when all is done; NULL when it is empty.';
COMMENT ON COLUMN keypup.milestone_progress.slip_days IS
  'Days from due_on to the closing of the milestone, or to today while it is open; 0 when in time, NULL without a due '
  'date.';

CREATE VIEW keypup.milestone_burnup WITH (security_invoker = true, security_barrier = true) AS
SELECT p.account_id, p.project_id, p.name AS project, b.milestone_id, b.milestone_number, b.title, b.day, b.is_complete,
  b.scope, b.done
FROM keypup.projects p
JOIN keypup.accounts a ON a.account_id = p.account_id
CROSS JOIN LATERAL (SELECT keypup.known_time_zone(a.time_zone) AS zone OFFSET 0) AS z
CROSS JOIN LATERAL (
  WITH counted AS (
    SELECT x.milestone_id, (h.occurred_at AT TIME ZONE z.zone)::date AS day, sum(h.scope) AS scope, sum(h.done) AS done
    FROM keypup.milestone_items x CROSS
    JOIN LATERAL (VALUES (x.created_at, 1, 0), (x.done_at, 0, 1)) AS h(occurred_at, scope, done)
    WHERE x.account_id = p.account_id AND x.project_id = p.project_id AND h.occurred_at <= now()
      AND (keypup.counts_bots() OR NOT x.author_is_bot)
    GROUP BY x.milestone_id, (h.occurred_at AT TIME ZONE z.zone)::date
  ), calendar AS (
    SELECT m.external_id AS milestone_id, m.number AS milestone_number, m.title, d.day::date AS day
    FROM (SELECT c.milestone_id, min(c.day) AS first_day, max(c.day) AS last_day FROM counted c
      GROUP BY c.milestone_id) AS s
    JOIN keypup.milestones m ON m.account_id = p.account_id AND m.project_id = p.project_id
      AND m.external_id = s.milestone_id
    CROSS JOIN LATERAL (
      SELECT (CASE WHEN m.state = 'closed' THEN least(coalesce(m.closed_at, m.updated_at), now())
        ELSE now() END AT TIME ZONE z.zone)::date AS last_day) AS e
    CROSS JOIN LATERAL generate_series(s.first_day::timestamp, greatest(s.last_day, e.last_day)::timestamp,
      interval '1 day') AS d(day)
  )
  SELECT d.milestone_id, d.milestone_number, d.title, d.day,
    d.day + interval '1 day' <= now() AT TIME ZONE z.zone AS is_complete,
    (sum(coalesce(c.scope, 0)) OVER w)::bigint AS scope,
    (sum(coalesce(c.done, 0)) OVER w)::bigint AS done
  FROM calendar d
  LEFT JOIN counted c ON c.milestone_id = d.milestone_id AND c.day = d.day
  WINDOW w AS (PARTITION BY d.milestone_id ORDER BY d.day)
) AS b;
REVOKE ALL ON keypup.milestone_burnup FROM PUBLIC;
GRANT SELECT ON keypup.milestone_burnup TO keypup_member;
COMMENT ON VIEW keypup.milestone_burnup IS
  'One row a milestone and day, from its first item to its closing or today: the burn-up of what is in it now. Days '
  'are those of the account''s time zone. '
  'What bots opened counts unless keypup.count_bots is off.';
COMMENT ON COLUMN keypup.milestone_burnup.account_id IS 'The account.';
COMMENT ON COLUMN keypup.milestone_burnup.project_id IS 'The project.';
COMMENT ON COLUMN keypup.milestone_burnup.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.milestone_burnup.milestone_id IS 'The provider''s id of the milestone.';
COMMENT ON COLUMN keypup.milestone_burnup.milestone_number IS 'Number of the milestone within the project.';
COMMENT ON COLUMN keypup.milestone_burnup.title IS 'Title.';
COMMENT ON COLUMN keypup.milestone_burnup.day IS 'The day.';
COMMENT ON COLUMN keypup.milestone_burnup.is_complete IS 'Whether the day is over, in the account''s time zone.';
COMMENT ON COLUMN keypup.milestone_burnup.scope IS 'Items of it that were opened by the end of the day.';
COMMENT ON COLUMN keypup.milestone_burnup.done IS 'Those closed or merged for good by then.';
