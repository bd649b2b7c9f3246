-- insight/moving.sql: percentiles over the last four weeks, week by week. doc/metrics.md has the definitions.

CREATE VIEW keypup.moving_percentiles WITH (security_invoker = true, security_barrier = true) AS
WITH zone AS MATERIALIZED (
  SELECT a.account_id, z.zone, date_trunc('week', now() AT TIME ZONE z.zone)::date AS this_week
  FROM keypup.accounts a CROSS JOIN LATERAL (SELECT keypup.known_time_zone(a.time_zone) AS zone) AS z
), measured AS (
  SELECT c.account_id, c.project_id, x.metric, x.measured_at, x.span
  FROM keypup.pull_request_cycle c
  CROSS JOIN LATERAL (VALUES ('cycle_time', c.merged_at, c.cycle_time),
    ('time_to_first_review', c.first_review_at, c.first_review_at - c.created_at)) AS x(metric, measured_at, span)
  WHERE keypup.counts_bots() OR NOT c.author_is_bot
  UNION ALL
  SELECT i.account_id, i.project_id, 'lead_time', i.closed_at, i.closed_at - i.created_at
  FROM keypup.issues i WHERE i.deleted_at IS NULL AND i.state = 'closed'
    AND (i.state_reason IS NULL OR i.state_reason NOT IN ('not_planned', 'duplicate'))
    AND (keypup.counts_bots() OR NOT i.author_is_bot)
), sample AS (
  SELECT m.account_id, m.project_id, m.metric, m.span,
    date_trunc('week', m.measured_at AT TIME ZONE z.zone)::date AS week, z.this_week
  FROM measured m JOIN zone z ON z.account_id = m.account_id
  WHERE m.measured_at <= now() AND m.span >= interval '0'
), counted AS (
  -- A sample counts in its week and in the three that follow; weeks without any are there as well.
  SELECT s.account_id, s.project_id, s.metric, s.week + 7 * k.later AS week_start, s.this_week, s.span
  FROM sample s CROSS JOIN generate_series(0, 3) AS k(later)
  WHERE s.week + 7 * k.later <= s.this_week
  UNION ALL
  SELECT g.account_id, g.project_id, g.metric, w.start::date, g.this_week, NULL
  FROM (SELECT s.account_id, s.project_id, s.metric, min(s.week) AS first_week, s.this_week FROM sample s
    GROUP BY s.account_id, s.project_id, s.metric, s.this_week) AS g
  CROSS JOIN LATERAL keypup.period_starts(g.first_week::timestamp, g.this_week::timestamp,
    interval '7 days') AS w(start)
), gathered AS (
  SELECT c.account_id, c.project_id, c.metric, c.week_start, max(c.this_week) AS this_week, count(c.span) AS samples,
    percentile_cont(ARRAY[0.5, 0.75, 0.9]) WITHIN GROUP (ORDER BY c.span) AS spans
  FROM counted c
  GROUP BY c.account_id, c.project_id, c.week_start, c.metric
)
SELECT g.account_id, g.project_id, p.name AS project, g.metric, g.week_start, g.week_start < g.this_week AS is_complete,
  g.samples, justify_hours(g.spans[1]) AS p50, justify_hours(g.spans[2]) AS p75, justify_hours(g.spans[3]) AS p90
FROM gathered g
-- LIMIT, so that the planner cannot begin with the projects and gather the samples for each of them.
CROSS JOIN LATERAL (SELECT p.name FROM keypup.projects p WHERE p.account_id = g.account_id
  AND p.project_id = g.project_id LIMIT 1) AS p;
REVOKE ALL ON keypup.moving_percentiles FROM PUBLIC;
GRANT SELECT ON keypup.moving_percentiles TO keypup_member;
COMMENT ON VIEW keypup.moving_percentiles IS
  'One row a project, metric and week, from its first sample to now: percentiles over that week and the three before '
  'it. In the account''s time zone. '
  'What bots opened counts unless keypup.count_bots is off.';
COMMENT ON COLUMN keypup.moving_percentiles.account_id IS 'The account.';
COMMENT ON COLUMN keypup.moving_percentiles.project_id IS 'The project.';
COMMENT ON COLUMN keypup.moving_percentiles.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.moving_percentiles.metric IS
  'cycle_time (by the merge), lead_time (of completed issues, by the last closing) or time_to_first_review (by that '
  'review).';
COMMENT ON COLUMN keypup.moving_percentiles.week_start IS 'Monday of the last of the four weeks.';
COMMENT ON COLUMN keypup.moving_percentiles.is_complete IS
  'Whether that week is over, in the account''s time zone.';
COMMENT ON COLUMN keypup.moving_percentiles.samples IS
  'How many pull requests or issues were measured in the four weeks.';
COMMENT ON COLUMN keypup.moving_percentiles.p50 IS 'Median; NULL without samples.';
COMMENT ON COLUMN keypup.moving_percentiles.p75 IS '75th percentile.';
COMMENT ON COLUMN keypup.moving_percentiles.p90 IS '90th percentile.';
