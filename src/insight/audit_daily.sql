-- insight/audit_daily.sql: the audit log day by day, for dashboards. doc/audit.md.

CREATE VIEW keypup.audit_daily WITH (security_invoker = true, security_barrier = true) AS
SELECT a.account_id, a.name AS account, f.day, f.is_complete, f.action, f.outcome, f.times
FROM keypup.accounts a
CROSS JOIN LATERAL (
  SELECT k.zone, (now() AT TIME ZONE k.zone)::date AS today
  FROM (SELECT keypup.known_time_zone(a.time_zone) AS zone OFFSET 0) AS k) AS z
CROSS JOIN LATERAL (
  WITH counted AS (
    SELECT (l.occurred_at AT TIME ZONE z.zone)::date AS day, l.action, l.outcome, sum(l.times)::bigint AS times
    FROM keypup.audit_log l
    WHERE l.account_id = a.account_id AND l.occurred_at <= now()
    GROUP BY (l.occurred_at AT TIME ZONE z.zone)::date, l.action, l.outcome
  )
  SELECT d.day::date AS day, d.day::date < z.today AS is_complete, k.action, k.outcome, coalesce(c.times, 0) AS times
  FROM keypup.period_starts((SELECT min(c.day) FROM counted c)::timestamp, z.today::timestamp, interval '1 day')
    AS d(day)
  CROSS JOIN (SELECT DISTINCT c.action, c.outcome FROM counted c) AS k
  LEFT JOIN counted c ON c.day = d.day::date AND c.action = k.action AND c.outcome = k.outcome
) AS f;
REVOKE ALL ON keypup.audit_daily FROM PUBLIC;
GRANT SELECT ON keypup.audit_daily TO keypup_member;
COMMENT ON VIEW keypup.audit_daily IS
  'One row an account, day, action and outcome, from the first record that is kept to today: how often it was done, or '
  'refused. Rows of an action that is in the log are there for days without it, too. Takes the permission audit.read, '
  'as audit_log does: without it there are no rows. Days are those of the account''s time zone.';
COMMENT ON COLUMN keypup.audit_daily.account_id IS 'The account.';
COMMENT ON COLUMN keypup.audit_daily.account IS 'Name of the account.';
COMMENT ON COLUMN keypup.audit_daily.day IS 'The day; what is counted in one record is on the day of the first.';
COMMENT ON COLUMN keypup.audit_daily.is_complete IS 'Whether the day is over, in the account''s time zone.';
COMMENT ON COLUMN keypup.audit_daily.action IS 'As in audit_log; session.start are sign-ins.';
COMMENT ON COLUMN keypup.audit_daily.outcome IS 'done or refused.';
COMMENT ON COLUMN keypup.audit_daily.times IS 'How often.';
