-- insight/item_flow.sql: issues and pull requests opened and closed day by day. doc/issue-metrics.md has the
-- definitions.

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
