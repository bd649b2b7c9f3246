-- insight/calendar.sql: the days of an account, with the weeks and months that they belong to. doc/metrics.md.

CREATE VIEW keypup.calendar WITH (security_invoker = true, security_barrier = true) AS
SELECT a.account_id, a.name AS account, d.day,
  date_trunc('week', d.start)::date AS week_start, to_char(d.start, 'IYYY-"W"IW') AS iso_week,
  date_trunc('month', d.start)::date AS month_start, date_trunc('quarter', d.start)::date AS quarter_start,
  extract(isodow FROM d.start)::integer AS day_of_week,
  b.starts_at, b.ends_at,
  d.day < z.today AS is_complete,
  date_trunc('week', d.start) < date_trunc('week', z.today::timestamp) AS is_week_complete,
  date_trunc('month', d.start) < date_trunc('month', z.today::timestamp) AS is_month_complete
FROM keypup.accounts a
CROSS JOIN LATERAL (
  SELECT k.zone, (now() AT TIME ZONE k.zone)::date AS today
  FROM (SELECT keypup.known_time_zone(a.time_zone) AS zone OFFSET 0) AS k
) AS z
CROSS JOIN LATERAL (
  SELECT least(
    (SELECT min(i.created_at) FROM keypup.issues i WHERE i.account_id = a.account_id AND i.deleted_at IS NULL),
    (SELECT min(p.created_at) FROM keypup.pull_requests p WHERE p.account_id = a.account_id AND p.deleted_at IS NULL),
    (SELECT min(r.created_at) FROM keypup.releases r WHERE r.account_id = a.account_id AND r.deleted_at IS NULL),
    (SELECT min(e.created_at) FROM keypup.deployments e WHERE e.account_id = a.account_id
      AND e.deleted_at IS NULL)) AS first_at
) AS f
CROSS JOIN LATERAL (
  SELECT g.start, g.start::date AS day
  FROM generate_series(date_trunc('week', f.first_at AT TIME ZONE z.zone), z.today::timestamp,
    interval '1 day') AS g(start)
) AS d
CROSS JOIN LATERAL (
  SELECT d.start AT TIME ZONE z.zone AS starts_at, (d.start + interval '1 day') AT TIME ZONE z.zone AS ends_at) AS m
-- Where clocks go back at midnight there are two of them: the day begins with the first.
CROSS JOIN LATERAL (
  SELECT CASE WHEN ((m.starts_at - interval '1 hour') AT TIME ZONE z.zone)::date = d.day
      THEN m.starts_at - interval '1 hour' ELSE m.starts_at END AS starts_at,
    CASE WHEN ((m.ends_at - interval '1 hour') AT TIME ZONE z.zone)::date > d.day
      THEN m.ends_at - interval '1 hour' ELSE m.ends_at END AS ends_at) AS b;
REVOKE ALL ON keypup.calendar FROM PUBLIC;
GRANT SELECT ON keypup.calendar TO keypup_member;
COMMENT ON VIEW keypup.calendar IS
  'One row an account and day, from the Monday before its first item to today: what to join series with. In the '
  'account''s time zone.';
COMMENT ON COLUMN keypup.calendar.account_id IS 'The account.';
COMMENT ON COLUMN keypup.calendar.account IS 'Name of the account.';
COMMENT ON COLUMN keypup.calendar.day IS 'The day.';
COMMENT ON COLUMN keypup.calendar.week_start IS 'Monday of its week.';
COMMENT ON COLUMN keypup.calendar.iso_week IS 'The same week as text: 2024-W01.';
COMMENT ON COLUMN keypup.calendar.month_start IS 'First day of its month.';
COMMENT ON COLUMN keypup.calendar.quarter_start IS 'First day of its quarter.';
COMMENT ON COLUMN keypup.calendar.day_of_week IS '1 is Monday, 7 is Sunday.';
COMMENT ON COLUMN keypup.calendar.starts_at IS 'When the day begins.';
COMMENT ON COLUMN keypup.calendar.ends_at IS 'When the next one begins: what happened at t is of the day where '
  'starts_at <= t < ends_at.';
COMMENT ON COLUMN keypup.calendar.is_complete IS 'Whether the day has ended.';
COMMENT ON COLUMN keypup.calendar.is_week_complete IS 'Whether its week has ended.';
COMMENT ON COLUMN keypup.calendar.is_month_complete IS 'Whether its month has ended.';
