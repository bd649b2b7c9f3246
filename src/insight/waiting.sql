-- insight/waiting.sql: whose turn it is while a pull request is open. doc/cycle-time.md has the rule.

CREATE VIEW keypup.pull_request_waiting WITH (security_invoker = true, security_barrier = true) AS
-- Each pull request looks up by key what happened to it, and no window spans several.
SELECT p.account_id, p.project_id, (
    SELECT j.name FROM keypup.projects j
    WHERE j.account_id = p.account_id AND j.project_id = p.project_id) AS project,
  p.number, p.author_is_bot, p.created_at, p.merged_at, s.place, s.waiting_for, s.login, s.start_at, s.end_at,
  s.end_at - s.start_at AS waiting_time, (
    SELECT keypup.time_at_work(coalesce(u.working_minutes, a.working_minutes), coalesce(u.holidays, a.holidays),
      coalesce(u.time_zone, a.time_zone), s.start_at, s.end_at)
    FROM keypup.accounts a
    LEFT JOIN LATERAL (
      SELECT h.working_minutes, h.holidays, h.time_zone
      FROM keypup.projects j
      JOIN keypup.identities i ON i.account_id = j.account_id AND i.connection_id = j.connection_id
      JOIN keypup.people h ON h.account_id = i.account_id AND h.person_id = i.person_id
      WHERE a.has_person_working_times AND j.account_id = a.account_id AND j.project_id = p.project_id
        AND i.login = s.login
      ORDER BY i.external_id LIMIT 1) AS u ON true
    WHERE a.account_id = p.account_id) AS working_waiting_time
FROM keypup.pull_requests p
CROSS JOIN LATERAL (
  SELECT CASE p.state WHEN 'open' THEN NULL ELSE coalesce(p.merged_at, p.closed_at, p.updated_at) END AS ended_at
) AS e
-- The author's other logins.
CROSS JOIN LATERAL (
  SELECT array_agg(o.login) AS logins
  FROM keypup.projects j
  JOIN keypup.identities i ON i.account_id = j.account_id AND i.connection_id = j.connection_id AND i.login = p.author
  JOIN keypup.identities o ON o.account_id = i.account_id AND o.person_id = i.person_id
    AND o.connection_id = i.connection_id
  WHERE j.account_id = p.account_id AND j.project_id = p.project_id
) AS own
CROSS JOIN LATERAL (
  SELECT row_number() OVER w AS place, c.waiting_for,
    CASE c.waiting_for WHEN 'author' THEN p.author ELSE lead(c.reviewer) OVER w END AS login,
    c.happened_at AS start_at, coalesce(lead(c.happened_at) OVER w, e.ended_at) AS end_at
  FROM (
    SELECT t.happened_at, t.source, t.external_id, t.waiting_for, t.reviewer,
      lag(t.waiting_for) OVER (ORDER BY t.happened_at, t.source, t.external_id) AS waiting_before
    FROM (
      -- What the author writes answers a review that approves nothing, and is no turn otherwise.
      SELECT h.happened_at, h.source, h.external_id, h.waiting_for, h.reviewer,
        h.is_answer AND NOT coalesce(first_value(h.is_question) OVER (PARTITION BY h.turns ORDER BY h.happened_at,
          h.source, h.external_id), false) AS is_no_turn
      FROM (
        SELECT x.*, count(*) FILTER (WHERE NOT x.is_answer) OVER (ORDER BY x.happened_at, x.source,
          x.external_id) AS turns
        FROM (
          SELECT p.ready_at AS happened_at, 1 AS source, '' COLLATE "C" AS external_id, 'reviewer' AS waiting_for,
            NULL AS reviewer, false AS is_question, false AS is_answer
          UNION ALL
          SELECT v.occurred_at, 2, v.external_id COLLATE "C",
            CASE v.event WHEN 'convert_to_draft' THEN 'author' ELSE 'reviewer' END, NULL, false, false
          FROM keypup.timeline_events v
          WHERE v.account_id = p.account_id AND v.project_id = p.project_id AND v.item_number = p.number
            AND v.item_kind = 'pull_request' AND v.occurred_at > p.ready_at
            AND v.event IN ('review_requested', 'convert_to_draft', 'ready_for_review')
            -- Who is asked for a review of a draft has no turn yet.
            AND (v.event <> 'review_requested' OR p.draft_spans IS NULL
              OR NOT EXISTS (SELECT FROM unnest(p.draft_spans) AS d(span) WHERE d.span @> v.occurred_at))
          UNION ALL
          SELECT r.submitted_at, 3, r.external_id COLLATE "C",
            CASE WHEN r.is_by_author THEN 'reviewer' ELSE 'author' END, r.author,
            NOT r.is_by_author AND coalesce(r.dismissed_state, r.state) <> 'approved', r.is_by_author
          FROM keypup.reviews r
          WHERE r.account_id = p.account_id AND r.project_id = p.project_id AND r.pull_request_number = p.number
            AND NOT r.author_is_bot AND r.state <> 'pending' AND r.submitted_at >= p.ready_at
          UNION ALL
          SELECT m.created_at, 4, m.external_id COLLATE "C", 'reviewer', NULL, false, true
          FROM keypup.comments m
          WHERE m.account_id = p.account_id AND m.project_id = p.project_id AND m.item_number = p.number
            AND m.item_kind IN ('pull_request', 'review') AND NOT m.author_is_bot AND m.created_at >= p.ready_at
            AND (m.author = p.author OR m.author = ANY (own.logins))
        ) AS x
        WHERE x.happened_at < e.ended_at OR e.ended_at IS NULL
      ) AS h
    ) AS t
    WHERE NOT t.is_no_turn
  ) AS c
  WHERE c.waiting_for IS DISTINCT FROM c.waiting_before
  WINDOW w AS (ORDER BY c.happened_at, c.source, c.external_id)
) AS s
WHERE p.deleted_at IS NULL AND p.ready_at IS NOT NULL;
REVOKE ALL ON keypup.pull_request_waiting FROM PUBLIC;
GRANT SELECT ON keypup.pull_request_waiting TO keypup_member;
COMMENT ON VIEW keypup.pull_request_waiting IS
  'One row a pull request and span of time, from ready to merge or closing, in which it waits for its author, or for a '
  'reviewer.';
COMMENT ON COLUMN keypup.pull_request_waiting.account_id IS 'The account.';
COMMENT ON COLUMN keypup.pull_request_waiting.project_id IS 'The project.';
COMMENT ON COLUMN keypup.pull_request_waiting.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.pull_request_waiting.number IS 'Number within the project.';
COMMENT ON COLUMN keypup.pull_request_waiting.author_is_bot IS 'Whether a bot opened it.';
COMMENT ON COLUMN keypup.pull_request_waiting.created_at IS 'When the pull request was opened.';
COMMENT ON COLUMN keypup.pull_request_waiting.merged_at IS 'When it was merged; NULL if not.';
COMMENT ON COLUMN keypup.pull_request_waiting.place IS 'Which of its spans it is: 1 for the one that begins at ready.';
COMMENT ON COLUMN keypup.pull_request_waiting.waiting_for IS
  'reviewer: from ready on, after a request for a review, and after what the author writes to a review that does not '
  'approve. author: after a review, and while it is a draft again.';
COMMENT ON COLUMN keypup.pull_request_waiting.login IS
  'Whose turn it was: the author; of a reviewer''s turn whose review ended it. NULL where none did, while it goes on, '
  'and when the user was deleted.';
COMMENT ON COLUMN keypup.pull_request_waiting.start_at IS 'When the span began.';
COMMENT ON COLUMN keypup.pull_request_waiting.end_at IS
  'When it ended, at the merge or closing at the latest; NULL while it goes on.';
COMMENT ON COLUMN keypup.pull_request_waiting.waiting_time IS 'start_at to end_at; NULL while it goes on.';
COMMENT ON COLUMN keypup.pull_request_waiting.working_waiting_time IS
  'Working time of the same, of the hours of the login''s person (set_person_working_time), where there are any, '
  'else the account''s.';
