-- insight/breakdown.sql: issues by label and type, reopenings, and the age of what is open. doc/issue-metrics.md has
-- the definitions.

CREATE VIEW keypup.issue_labels WITH (security_invoker = true, security_barrier = true) AS
SELECT m.account_id, m.project_id, m.project, m.number, l.label, m.type, m.state, m.close_reason, m.created_at,
  m.closed_at, m.lead_time, m.first_response_time, m.age, m.times_reopened
FROM keypup.issue_metrics m
CROSS JOIN LATERAL unnest(CASE WHEN cardinality(m.labels) > 0 THEN m.labels ELSE ARRAY[NULL::text] END) AS l(label);
REVOKE ALL ON keypup.issue_labels FROM PUBLIC;
GRANT SELECT ON keypup.issue_labels TO keypup_member;
COMMENT ON VIEW keypup.issue_labels IS
  'One row an issue that is not deleted and a label that it has now; one without a label for those without any.';
COMMENT ON COLUMN keypup.issue_labels.account_id IS 'The account.';
COMMENT ON COLUMN keypup.issue_labels.project_id IS 'The project.';
COMMENT ON COLUMN keypup.issue_labels.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.issue_labels.number IS 'Number of the issue.';
COMMENT ON COLUMN keypup.issue_labels.label IS 'Name of the label; NULL where it has none.';
COMMENT ON COLUMN keypup.issue_labels.type IS 'The type that the provider gives the issue; NULL without one.';
COMMENT ON COLUMN keypup.issue_labels.state IS 'open or closed.';
COMMENT ON COLUMN keypup.issue_labels.close_reason IS 'As in issue_metrics.';
COMMENT ON COLUMN keypup.issue_labels.created_at IS 'When it was opened.';
COMMENT ON COLUMN keypup.issue_labels.closed_at IS 'When it was last closed; NULL while open.';
COMMENT ON COLUMN keypup.issue_labels.lead_time IS 'As in issue_metrics.';
COMMENT ON COLUMN keypup.issue_labels.first_response_time IS 'As in issue_metrics.';
COMMENT ON COLUMN keypup.issue_labels.age IS 'As in issue_metrics.';
COMMENT ON COLUMN keypup.issue_labels.times_reopened IS 'As in issue_metrics.';

CREATE VIEW keypup.issue_throughput_by WITH (security_invoker = true, security_barrier = true) AS
-- What happened and a period without anything in one list: those that are not asked for are left out before they are
-- sorted and counted.
WITH zone AS MATERIALIZED (
  SELECT a.account_id, keypup.known_time_zone(a.time_zone) AS time_zone FROM keypup.accounts a
), happened AS NOT MATERIALIZED (
  SELECT h.account_id, h.project_id, d.dimension, d.value, h.event, h.occurred_at AT TIME ZONE z.time_zone
    AS occurred_at,
    h.close_reason, h.lead_time, now() AT TIME ZONE z.time_zone AS until
  FROM (
    SELECT t.account_id, t.project_id, t.event, t.occurred_at, t.close_reason, NULL::interval AS lead_time, t.labels,
      t.type
    FROM keypup.issue_transitions t WHERE keypup.counts_bots() OR NOT t.author_is_bot
    UNION ALL
    SELECT i.account_id, i.project_id, 'led', i.closed_at, NULL, i.closed_at - i.created_at, i.labels, i.type
    FROM keypup.issues i WHERE i.deleted_at IS NULL AND i.state = 'closed' AND i.closed_at >= i.created_at
      AND (i.state_reason IS NULL OR i.state_reason NOT IN ('not_planned', 'duplicate'))
      AND (keypup.counts_bots() OR NOT i.author_is_bot)
  ) AS h
  JOIN zone z ON z.account_id = h.account_id
  CROSS JOIN LATERAL (
    SELECT 'label' AS dimension, x.label AS value
    FROM unnest(CASE WHEN cardinality(h.labels) > 0 THEN h.labels ELSE ARRAY[NULL::text] END) AS x(label)
    UNION ALL SELECT 'type', h.type) AS d
  WHERE h.occurred_at <= now()
), counted AS (
  SELECT c.account_id, c.project_id, c.dimension, c.value, c.period, c.period_start, max(c.until) AS until,
    count(*) FILTER (WHERE c.event = 'opened') AS issues_opened,
    count(*) FILTER (WHERE c.event = 'closed') AS issues_closed,
    count(*) FILTER (WHERE c.close_reason = 'completed') AS issues_completed,
    count(*) FILTER (WHERE c.close_reason IN ('not_planned', 'duplicate')) AS issues_not_planned,
    count(*) FILTER (WHERE c.event = 'reopened') AS issues_reopened,
    percentile_cont(ARRAY[0.5, 0.75, 0.9]) WITHIN GROUP (ORDER BY c.lead_time) AS lead_times
  FROM (
    SELECT h.account_id, h.project_id, h.dimension, h.value, k.period,
      date_trunc(k.period, h.occurred_at)::date AS period_start, h.until, h.event, h.close_reason, h.lead_time
    FROM happened h CROSS JOIN (VALUES ('week'::text), ('month')) AS k(period)
    UNION ALL
    -- An issue is opened before anything else happens to it.
    SELECT f.account_id, f.project_id, f.dimension, f.value, k.period, g.start::date, f.until, NULL, NULL, NULL
    FROM (
      SELECT h.account_id, h.project_id, h.dimension, h.value, h.until, min(h.occurred_at) AS first_at
      FROM happened h WHERE h.event = 'opened'
      GROUP BY h.account_id, h.project_id, h.dimension, h.value, h.until
    ) AS f
    CROSS JOIN (VALUES ('week'::text), ('month')) AS k(period)
    CROSS JOIN LATERAL keypup.period_starts(date_trunc(k.period, f.first_at), f.until,
      ('1 ' || k.period)::interval) AS g(start)
  ) AS c
  GROUP BY c.account_id, c.project_id, c.period_start, c.period, c.dimension, c.value
)
SELECT c.account_id, c.project_id, j.name AS project, c.dimension, c.value, c.period, c.period_start,
  c.period_start + ('1 ' || c.period)::interval <= c.until AS is_complete,
  c.issues_opened, c.issues_closed, c.issues_completed, c.issues_not_planned, c.issues_reopened,
  c.issues_reopened / nullif(c.issues_closed, 0)::double precision AS reopen_rate,
  justify_hours(c.lead_times[1]) AS lead_time_p50,
  justify_hours(c.lead_times[2]) AS lead_time_p75,
  justify_hours(c.lead_times[3]) AS lead_time_p90
FROM counted c
-- LIMIT, so that the planner cannot begin with the projects.
CROSS JOIN LATERAL (SELECT p.name FROM keypup.projects p WHERE p.account_id = c.account_id
  AND p.project_id = c.project_id LIMIT 1) AS j;
REVOKE ALL ON keypup.issue_throughput_by FROM PUBLIC;
GRANT SELECT ON keypup.issue_throughput_by TO keypup_member;
COMMENT ON VIEW keypup.issue_throughput_by IS
  'One row a project, label or type, and week or month, from the first in which something happened to issues that have '
  'it now, to now, those with nothing included. In the account''s time zone. '
  'What bots opened counts unless keypup.count_bots is off.';
COMMENT ON COLUMN keypup.issue_throughput_by.account_id IS 'The account.';
COMMENT ON COLUMN keypup.issue_throughput_by.project_id IS 'The project.';
COMMENT ON COLUMN keypup.issue_throughput_by.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.issue_throughput_by.dimension IS 'label or type.';
COMMENT ON COLUMN keypup.issue_throughput_by.value IS
  'The label, or the provider''s type; NULL for issues without one.';
COMMENT ON COLUMN keypup.issue_throughput_by.period IS 'week or month.';
COMMENT ON COLUMN keypup.issue_throughput_by.period_start IS 'Its first day.';
COMMENT ON COLUMN keypup.issue_throughput_by.is_complete IS 'Whether it is over, in the account''s time zone.';
COMMENT ON COLUMN keypup.issue_throughput_by.issues_opened IS 'Issues opened.';
COMMENT ON COLUMN keypup.issue_throughput_by.issues_closed IS 'Closings; an issue that is closed twice counts twice.';
COMMENT ON COLUMN keypup.issue_throughput_by.issues_completed IS
  'Those of them that were not undone by a reopening, and whose reason is completed, or not known.';
COMMENT ON COLUMN keypup.issue_throughput_by.issues_not_planned IS
  'Those of them that were not undone by a reopening, as not planned or as a duplicate.';
COMMENT ON COLUMN keypup.issue_throughput_by.issues_reopened IS 'Closed issues opened again.';
COMMENT ON COLUMN keypup.issue_throughput_by.reopen_rate IS
  'issues_reopened ÷ issues_closed; NULL where none was closed.';
COMMENT ON COLUMN keypup.issue_throughput_by.lead_time_p50 IS
  'Median lead time of the issues that are completed, and whose last closing is in the period.';
COMMENT ON COLUMN keypup.issue_throughput_by.lead_time_p75 IS '75th percentile of the same.';
COMMENT ON COLUMN keypup.issue_throughput_by.lead_time_p90 IS '90th percentile of the same.';

CREATE VIEW keypup.issue_throughput_by_label WITH (security_invoker = true, security_barrier = true) AS
SELECT t.account_id, t.project_id, t.project, t.value AS label, t.period_start AS week_start, t.is_complete,
  t.issues_opened, t.issues_closed, t.issues_completed, t.issues_not_planned, t.issues_reopened, t.reopen_rate,
  t.lead_time_p50, t.lead_time_p75, t.lead_time_p90
FROM keypup.issue_throughput_by t WHERE t.dimension = 'label' AND t.period = 'week';
REVOKE ALL ON keypup.issue_throughput_by_label FROM PUBLIC;
GRANT SELECT ON keypup.issue_throughput_by_label TO keypup_member;
COMMENT ON VIEW keypup.issue_throughput_by_label IS
  'One row a project, label and week, from the first in which something happened to issues that have the label now, to '
  'now, those with nothing included. '
  'What bots opened counts unless keypup.count_bots is off.';
COMMENT ON COLUMN keypup.issue_throughput_by_label.account_id IS 'The account.';
COMMENT ON COLUMN keypup.issue_throughput_by_label.project_id IS 'The project.';
COMMENT ON COLUMN keypup.issue_throughput_by_label.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.issue_throughput_by_label.label IS 'The label; NULL for issues without one.';
COMMENT ON COLUMN keypup.issue_throughput_by_label.week_start IS 'Monday of the week.';
COMMENT ON COLUMN keypup.issue_throughput_by_label.is_complete IS
  'Whether the week is over, in the account''s time zone.';
COMMENT ON COLUMN keypup.issue_throughput_by_label.issues_opened IS 'Issues opened.';
COMMENT ON COLUMN keypup.issue_throughput_by_label.issues_closed IS
  'Closings; an issue that is closed twice counts twice.';
COMMENT ON COLUMN keypup.issue_throughput_by_label.issues_completed IS
  'Those of them that were not undone by a reopening, and whose reason is completed, or not known.';
COMMENT ON COLUMN keypup.issue_throughput_by_label.issues_not_planned IS
  'Those of them that were not undone by a reopening, as not planned or as a duplicate.';
COMMENT ON COLUMN keypup.issue_throughput_by_label.issues_reopened IS 'Closed issues opened again.';
COMMENT ON COLUMN keypup.issue_throughput_by_label.reopen_rate IS
  'issues_reopened ÷ issues_closed; NULL where none was closed.';
COMMENT ON COLUMN keypup.issue_throughput_by_label.lead_time_p50 IS
  'Median lead time of the issues that are completed, and whose last closing is in the week.';
COMMENT ON COLUMN keypup.issue_throughput_by_label.lead_time_p75 IS '75th percentile of the same.';
COMMENT ON COLUMN keypup.issue_throughput_by_label.lead_time_p90 IS '90th percentile of the same.';

CREATE VIEW keypup.issue_throughput_by_type WITH (security_invoker = true, security_barrier = true) AS
SELECT t.account_id, t.project_id, t.project, t.value AS type, t.period_start AS week_start, t.is_complete,
  t.issues_opened, t.issues_closed, t.issues_completed, t.issues_not_planned, t.issues_reopened, t.reopen_rate,
  t.lead_time_p50, t.lead_time_p75, t.lead_time_p90
FROM keypup.issue_throughput_by t WHERE t.dimension = 'type' AND t.period = 'week';
REVOKE ALL ON keypup.issue_throughput_by_type FROM PUBLIC;
GRANT SELECT ON keypup.issue_throughput_by_type TO keypup_member;
COMMENT ON VIEW keypup.issue_throughput_by_type IS
  'One row a project, issue type and week, from the first in which something happened to issues that have the type '
  'now, to now, those with nothing included. '
  'What bots opened counts unless keypup.count_bots is off.';
COMMENT ON COLUMN keypup.issue_throughput_by_type.account_id IS 'The account.';
COMMENT ON COLUMN keypup.issue_throughput_by_type.project_id IS 'The project.';
COMMENT ON COLUMN keypup.issue_throughput_by_type.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.issue_throughput_by_type.type IS
  'The type that the provider gives; NULL for issues without one.';
COMMENT ON COLUMN keypup.issue_throughput_by_type.week_start IS 'Monday of the week.';
COMMENT ON COLUMN keypup.issue_throughput_by_type.is_complete IS
  'Whether the week is over, in the account''s time zone.';
COMMENT ON COLUMN keypup.issue_throughput_by_type.issues_opened IS 'Issues opened.';
COMMENT ON COLUMN keypup.issue_throughput_by_type.issues_closed IS
  'Closings; an issue that is closed twice counts twice.';
COMMENT ON COLUMN keypup.issue_throughput_by_type.issues_completed IS
  'Those of them that were not undone by a reopening, and whose reason is completed, or not known.';
COMMENT ON COLUMN keypup.issue_throughput_by_type.issues_not_planned IS
  'Those of them that were not undone by a reopening, as not planned or as a duplicate.';
COMMENT ON COLUMN keypup.issue_throughput_by_type.issues_reopened IS 'Closed issues opened again.';
COMMENT ON COLUMN keypup.issue_throughput_by_type.reopen_rate IS
  'issues_reopened ÷ issues_closed; NULL where none was closed.';
COMMENT ON COLUMN keypup.issue_throughput_by_type.lead_time_p50 IS
  'Median lead time of the issues that are completed, and whose last closing is in the week.';
COMMENT ON COLUMN keypup.issue_throughput_by_type.lead_time_p75 IS '75th percentile of the same.';
COMMENT ON COLUMN keypup.issue_throughput_by_type.lead_time_p90 IS '90th percentile of the same.';

CREATE VIEW keypup.issue_reopen_rate WITH (security_invoker = true, security_barrier = true) AS
-- Not of throughput: that would read all transitions twice, for weeks and for months.
SELECT p.account_id, p.project_id, p.name AS project, f.period, f.period_start, f.is_complete, f.issues_closed,
  f.issues_reopened,
  f.issues_reopened / nullif(f.issues_closed, 0)::double precision AS reopen_rate
FROM keypup.projects p
JOIN keypup.accounts a ON a.account_id = p.account_id
CROSS JOIN LATERAL (SELECT keypup.known_time_zone(a.time_zone) AS zone OFFSET 0) AS z
CROSS JOIN LATERAL (
  -- A transition and a period without one in one list: the calendar begins with the first.
  WITH transition AS MATERIALIZED (
    SELECT t.event, t.occurred_at AT TIME ZONE z.zone AS occurred_at FROM keypup.issue_transitions t
    WHERE t.account_id = p.account_id AND t.project_id = p.project_id AND t.occurred_at <= now()
      AND (keypup.counts_bots() OR NOT t.author_is_bot)
  )
  SELECT k.period, c.period_start::date AS period_start,
    c.period_start + ('1 ' || k.period)::interval <= now() AT TIME ZONE z.zone AS is_complete,
    count(*) FILTER (WHERE c.event = 'closed') AS issues_closed,
    count(*) FILTER (WHERE c.event = 'reopened') AS issues_reopened
  FROM (VALUES ('week'::text), ('month')) AS k(period)
  CROSS JOIN LATERAL (
    SELECT date_trunc(k.period, t.occurred_at) AS period_start, t.event FROM transition t
    UNION ALL
    SELECT g.start, NULL
    FROM generate_series(date_trunc(k.period, (SELECT min(t.occurred_at) FROM transition t)), now() AT TIME ZONE z.zone,
      ('1 ' || k.period)::interval) AS g(start)
  ) AS c
  GROUP BY k.period, c.period_start
) AS f;
REVOKE ALL ON keypup.issue_reopen_rate FROM PUBLIC;
GRANT SELECT ON keypup.issue_reopen_rate TO keypup_member;
COMMENT ON VIEW keypup.issue_reopen_rate IS
  'One row a project and week, and one a project and month: how many closed issues were opened again, beside how many '
  'were closed. '
  'What bots opened counts unless keypup.count_bots is off.';
COMMENT ON COLUMN keypup.issue_reopen_rate.account_id IS 'The account.';
COMMENT ON COLUMN keypup.issue_reopen_rate.project_id IS 'The project.';
COMMENT ON COLUMN keypup.issue_reopen_rate.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.issue_reopen_rate.period IS 'week or month.';
COMMENT ON COLUMN keypup.issue_reopen_rate.period_start IS 'Its first day.';
COMMENT ON COLUMN keypup.issue_reopen_rate.is_complete IS 'Whether it is over, in the account''s time zone.';
COMMENT ON COLUMN keypup.issue_reopen_rate.issues_closed IS 'Closings in it.';
COMMENT ON COLUMN keypup.issue_reopen_rate.issues_reopened IS
  'Closed issues opened again in it, whenever they were closed.';
COMMENT ON COLUMN keypup.issue_reopen_rate.reopen_rate IS
  'issues_reopened ÷ issues_closed, above 1 where more were reopened than closed; NULL where none was closed.';

CREATE VIEW keypup.issue_ageing WITH (security_invoker = true, security_barrier = true) AS
SELECT m.account_id, m.project_id, m.project, count(*) AS open_issues,
  count(*) FILTER (WHERE m.is_stale) AS stale_issues,
  justify_hours((percentile_cont(ARRAY[0.5, 0.75, 0.9]) WITHIN GROUP (ORDER BY m.age))[1]) AS age_p50,
  justify_hours((percentile_cont(ARRAY[0.5, 0.75, 0.9]) WITHIN GROUP (ORDER BY m.age))[2]) AS age_p75,
  justify_hours((percentile_cont(ARRAY[0.5, 0.75, 0.9]) WITHIN GROUP (ORDER BY m.age))[3]) AS age_p90,
  max(m.age) AS oldest_age
FROM keypup.issue_metrics m
WHERE m.state = 'open' AND (keypup.counts_bots() OR NOT m.author_is_bot)
GROUP BY m.account_id, m.project_id, m.project;
REVOKE ALL ON keypup.issue_ageing FROM PUBLIC;
GRANT SELECT ON keypup.issue_ageing TO keypup_member;
COMMENT ON VIEW keypup.issue_ageing IS
  'One row a project with open issues: how old they are now. '
  'What bots opened counts unless keypup.count_bots is off.';
COMMENT ON COLUMN keypup.issue_ageing.account_id IS 'The account.';
COMMENT ON COLUMN keypup.issue_ageing.project_id IS 'The project.';
COMMENT ON COLUMN keypup.issue_ageing.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.issue_ageing.open_issues IS 'Issues that are open.';
COMMENT ON COLUMN keypup.issue_ageing.stale_issues IS
  'Those of them that have not changed for accounts.stale_after, 30 days by default, or longer.';
COMMENT ON COLUMN keypup.issue_ageing.age_p50 IS 'Median age of the open ones.';
COMMENT ON COLUMN keypup.issue_ageing.age_p75 IS '75th percentile of the same.';
COMMENT ON COLUMN keypup.issue_ageing.age_p90 IS '90th percentile of the same.';
COMMENT ON COLUMN keypup.issue_ageing.oldest_age IS 'Age of the oldest.';
