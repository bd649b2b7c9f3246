-- insight/blocked.sql: for how long work stood still, as labels said. doc/cycle-time.md has the rule.

CREATE FUNCTION keypup.set_blocked_labels(account text, names text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'settings.write');
  patterns text[] := keypup.name_patterns(names, 'blocked labels');
BEGIN
  UPDATE keypup.accounts a SET blocked_labels = patterns WHERE a.account_id = the_account;
  PERFORM keypup.record_action(the_account, 'account.blocked_labels', array_to_string(patterns, ', '));
END
$$;
REVOKE ALL ON FUNCTION keypup.set_blocked_labels(text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.set_blocked_labels(text, text[]) TO keypup_member;
COMMENT ON FUNCTION keypup.set_blocked_labels(text, text[]) IS
  'Says which labels mean that an issue or a pull request is blocked, % standing for anything; blocked_spans goes by '
  'it from the next statement on, for the past too.';

CREATE VIEW keypup.blocked_spans WITH (security_invoker = true, security_barrier = true) AS
-- Each item looks its own events up by key.
SELECT i.account_id, i.project_id, (
    SELECT j.name FROM keypup.projects j
    WHERE j.account_id = i.account_id AND j.project_id = i.project_id) AS project,
  i.item_kind, i.number, i.author_is_bot, i.created_at, i.ended_at, s.place, s.start_at, s.end_at,
  s.end_at - s.start_at AS blocked_time, (
    SELECT keypup.time_at_work(a.working_minutes, a.holidays, a.time_zone, s.start_at, s.end_at)
    FROM keypup.accounts a WHERE a.account_id = i.account_id) AS working_blocked_time
FROM (
  SELECT p.account_id, p.project_id, 'pull_request' AS item_kind, p.number, p.author_is_bot, p.created_at,
    CASE WHEN p.state <> 'open' THEN coalesce(p.merged_at, p.closed_at, p.updated_at) END AS ended_at, p.labels
  FROM keypup.pull_requests p WHERE p.deleted_at IS NULL
  UNION ALL
  SELECT u.account_id, u.project_id, 'issue', u.number, u.author_is_bot, u.created_at,
    CASE WHEN u.state <> 'open' THEN coalesce(u.closed_at, u.updated_at) END, u.labels
  FROM keypup.issues u WHERE u.deleted_at IS NULL
) AS i
CROSS JOIN LATERAL (
  SELECT row_number() OVER (ORDER BY r.span) AS place, lower(r.span) AS start_at, upper(r.span) AS end_at
  FROM (
    -- Labels that overlap are one span.
    SELECT range_agg(tstzrange(c.start_at, c.end_at)) AS spans
    FROM (
      SELECT e.event, e.name, e.still_has, greatest(e.occurred_at, i.created_at) AS start_at,
        least(lead(e.occurred_at) OVER w, i.ended_at) AS end_at, lead(e.occurred_at) OVER w IS NULL AS is_last
      FROM (
        SELECT v.event, v.occurred_at, v.external_id, v.from_value AS label, n.name,
          n.name = ANY (i.labels) AS still_has
        FROM keypup.timeline_events v
        CROSS JOIN LATERAL (
          -- As it is called now or, where it is gone, as it was called when it was read.
          SELECT coalesce((SELECT l.name FROM keypup.labels l WHERE l.account_id = v.account_id
            AND l.project_id = v.project_id AND l.external_id = v.from_value), v.to_value) AS name) AS n
        WHERE v.account_id = i.account_id AND v.project_id = i.project_id AND v.item_number = i.number
          AND v.item_kind = i.item_kind AND v.event IN ('labeled', 'unlabeled')
      ) AS e
      WINDOW w AS (PARTITION BY e.label ORDER BY e.occurred_at, e.external_id COLLATE "C")
    ) AS c
    WHERE c.event = 'labeled' AND (c.start_at < c.end_at OR c.end_at IS NULL)
      -- A label that is gone took itself off: nobody says when.
      AND (NOT c.is_last OR c.still_has)
      AND keypup.is_named(ARRAY[c.name], (SELECT a.blocked_labels FROM keypup.accounts a
        WHERE a.account_id = i.account_id))
  ) AS g
  CROSS JOIN LATERAL unnest(g.spans) AS r(span)
) AS s;
REVOKE ALL ON keypup.blocked_spans FROM PUBLIC;
GRANT SELECT ON keypup.blocked_spans TO keypup_member;
COMMENT ON VIEW keypup.blocked_spans IS
  'One row an issue or pull request that is not deleted and span of time, between its opening and its end, in which it '
  'had a label that says that it is blocked (set_blocked_labels).';
COMMENT ON COLUMN keypup.blocked_spans.account_id IS 'The account.';
COMMENT ON COLUMN keypup.blocked_spans.project_id IS 'The project.';
COMMENT ON COLUMN keypup.blocked_spans.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.blocked_spans.item_kind IS 'issue or pull_request.';
COMMENT ON COLUMN keypup.blocked_spans.number IS 'Number within the project.';
COMMENT ON COLUMN keypup.blocked_spans.author_is_bot IS 'Whether a bot opened it.';
COMMENT ON COLUMN keypup.blocked_spans.created_at IS 'When it was opened.';
COMMENT ON COLUMN keypup.blocked_spans.ended_at IS 'When it was merged, or last closed; NULL while open.';
COMMENT ON COLUMN keypup.blocked_spans.place IS 'Which of its spans it is, from 1 on.';
COMMENT ON COLUMN keypup.blocked_spans.start_at IS 'When it got such a label.';
COMMENT ON COLUMN keypup.blocked_spans.end_at IS
  'When it lost the last of them, or was merged or closed; NULL while it goes on.';
COMMENT ON COLUMN keypup.blocked_spans.blocked_time IS 'start_at to end_at; NULL while it goes on.';
COMMENT ON COLUMN keypup.blocked_spans.working_blocked_time IS
  'Working time of the same, of the account''s hours.';
