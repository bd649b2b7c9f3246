-- test/bench/insight_queries.sql: what a dashboard of 90 days asks of each view, and the same by hand. Read by test/bench/insight, which compares both answers.
-- By hand means: as a person writes it who knows what is asked for, and the tables, and nothing of the views.

-- view: pull_request_cycle
SELECT project_id, number, merged_at, coding_time, pickup_time, review_time, merge_time, unreviewed_time, cycle_time
FROM keypup.pull_request_cycle WHERE merged_at >= now() - interval '90 days';
-- by hand
SELECT p.project_id, p.number, p.merged_at, least(p.ready_at, p.merged_at) - s.started_at, p.first_review_at - p.ready_at, coalesce(p.first_approval_at, p.merged_at) - p.first_review_at,
  p.merged_at - p.first_approval_at, CASE WHEN p.first_review_at IS NULL AND p.ready_at <= p.merged_at THEN p.merged_at - p.ready_at END, p.merged_at - s.started_at
FROM keypup.pull_requests p
CROSS JOIN LATERAL (SELECT least(p.first_commit_at, p.created_at, p.ready_at, p.merged_at) AS started_at) AS s
WHERE p.deleted_at IS NULL AND p.merged_at >= now() - interval '90 days';

-- view: pull_request_metrics
SELECT project, number, person, review_state, size_class, review_rounds, reviewer_count, merged_without_review, self_merged, times_reopened, cycle_time
FROM keypup.pull_request_metrics WHERE merged_at >= now() - interval '90 days';
-- by hand
WITH login AS (
  SELECT DISTINCT ON (i.connection_id, i.login) i.connection_id, i.login, i.person_id, u.name
  FROM keypup.identities i LEFT JOIN keypup.people u ON u.account_id = i.account_id AND u.person_id = i.person_id
  ORDER BY i.connection_id, i.login, i.person_id IS NULL, i.external_id
), pull_request AS (
  SELECT p.*, j.name AS project, j.connection_id
  FROM keypup.pull_requests p JOIN keypup.projects j ON j.account_id = p.account_id AND j.project_id = p.project_id
  WHERE p.deleted_at IS NULL AND p.merged_at >= now() - interval '90 days'
), said AS (
  SELECT p.project_id, p.number, coalesce(l.person_id::text, r.author, '') AS who, coalesce(r.submitted_at >= p.ready_at, false) AS counts, r.state, r.submitted_at, r.external_id,
    r.state IN ('approved', 'changes_requested', 'dismissed') AS is_verdict
  FROM pull_request p
  JOIN keypup.reviews r ON r.account_id = p.account_id AND r.project_id = p.project_id AND r.pull_request_number = p.number
  LEFT JOIN login l ON l.connection_id = p.connection_id AND l.login = r.author
  WHERE NOT r.author_is_bot AND r.author IS DISTINCT FROM p.author AND NOT r.is_by_author AND r.state <> 'pending' AND r.submitted_at <= p.merged_at
), judged AS (
  SELECT s.*, lag(s.state) OVER k AS state_before, count(*) FILTER (WHERE s.state = 'approved') OVER (k ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS approvals_before,
    s.is_verdict AND row_number() OVER (PARTITION BY s.project_id, s.number, s.who, s.is_verdict ORDER BY s.submitted_at DESC, s.external_id COLLATE "C" DESC) = 1 AS is_last
  FROM said s
  WINDOW k AS (PARTITION BY s.project_id, s.number, s.counts, s.state IN ('approved', 'changes_requested') ORDER BY s.submitted_at, s.external_id COLLATE "C")
), summed AS (
  SELECT j.project_id, j.number, count(DISTINCT j.who) FILTER (WHERE j.counts) AS reviewer_count,
    count(*) FILTER (WHERE j.counts AND j.state = 'changes_requested') - count(DISTINCT (j.approvals_before, j.who)) FILTER (WHERE j.counts AND j.state = 'changes_requested')
      + count(*) FILTER (WHERE j.counts AND j.state = 'approved' AND j.state_before = 'changes_requested') AS review_rounds,
    max(j.submitted_at) FILTER (WHERE j.is_last AND j.state = 'changes_requested') AS requested_at, max(j.submitted_at) FILTER (WHERE j.is_last AND j.state = 'approved') AS approved_at
  FROM judged j GROUP BY j.project_id, j.number
)
SELECT p.project, p.number, coalesce(l.name, p.author),
  CASE WHEN s.requested_at >= coalesce(s.approved_at, '-infinity') THEN 'CHANGES_REQUESTED' WHEN s.approved_at IS NOT NULL THEN 'APPROVED' WHEN cardinality(p.requested_reviewers) > 0 OR s.number IS NOT NULL THEN 'PENDING' ELSE 'NONE' END,
  CASE WHEN p.additions + p.deletions < 10 THEN 'XS' WHEN p.additions + p.deletions < 50 THEN 'S' WHEN p.additions + p.deletions < 250 THEN 'M' WHEN p.additions + p.deletions < 1000 THEN 'L'
       WHEN p.additions + p.deletions IS NOT NULL THEN 'XL' END,
  coalesce(s.review_rounds, 0), coalesce(s.reviewer_count, 0), coalesce(s.reviewer_count, 0) = 0, p.merged_by = p.author OR coalesce(m.person_id = l.person_id, false),
  (SELECT count(*) FROM keypup.timeline_events e
   WHERE e.account_id = p.account_id AND e.project_id = p.project_id AND e.item_number = p.number AND e.item_kind = 'pull_request' AND e.event = 'reopened'),
  p.merged_at - least(p.first_commit_at, p.created_at, p.ready_at, p.merged_at)
FROM pull_request p
LEFT JOIN summed s ON s.project_id = p.project_id AND s.number = p.number
LEFT JOIN login l ON l.connection_id = p.connection_id AND l.login = p.author
LEFT JOIN login m ON m.connection_id = p.connection_id AND m.login = p.merged_by;

-- view: pull_request_work_in_progress
SELECT project, number, person, state_now, size_class, age, idle_days, is_stale, age_percentile
FROM keypup.pull_request_work_in_progress WHERE created_at >= now() - interval '90 days';
-- by hand
WITH work AS (
  SELECT p.*, greatest(least(p.created_at, now()), 'epoch') AS began_at, greatest(least(greatest(p.created_at, p.updated_at), now()), 'epoch') AS idle_since
  FROM keypup.pull_requests p WHERE p.deleted_at IS NULL AND p.state = 'open'
), ranked AS (
  SELECT w.*, 100 * cume_dist() OVER (PARTITION BY w.account_id, w.project_id ORDER BY w.began_at DESC) AS age_percentile FROM work w
)
SELECT j.name, r.number, coalesce(l.name, r.author), CASE WHEN r.is_draft THEN 'draft' ELSE 'open' END,
  CASE WHEN r.additions + r.deletions < 10 THEN 'XS' WHEN r.additions + r.deletions < 50 THEN 'S' WHEN r.additions + r.deletions < 250 THEN 'M' WHEN r.additions + r.deletions < 1000 THEN 'L'
       WHEN r.additions + r.deletions IS NOT NULL THEN 'XL' END,
  now() - r.began_at, floor(extract(epoch FROM now() - r.idle_since) / 86400)::bigint, now() - r.idle_since >= interval '14 days', r.age_percentile
FROM ranked r
JOIN keypup.projects j ON j.account_id = r.account_id AND j.project_id = r.project_id
LEFT JOIN LATERAL (
  SELECT u.name FROM keypup.identities i LEFT JOIN keypup.people u ON u.account_id = i.account_id AND u.person_id = i.person_id
  WHERE i.account_id = j.account_id AND i.connection_id = j.connection_id AND i.login = r.author ORDER BY i.person_id IS NULL, i.external_id LIMIT 1) AS l ON true
WHERE r.created_at >= now() - interval '90 days';

-- view: review_load
SELECT reviewer, is_bot, week_start, is_complete, reviews, pull_requests, first_reviews, responses, median_response_time, p90_response_time
FROM keypup.review_load WHERE week_start >= (now() - interval '90 days')::date;
-- by hand
WITH login AS (
  SELECT DISTINCT ON (i.connection_id, i.login) i.connection_id, i.login, i.person_id, u.name
  FROM keypup.identities i LEFT JOIN keypup.people u ON u.account_id = i.account_id AND u.person_id = i.person_id
  ORDER BY i.connection_id, i.login, i.person_id IS NULL, i.external_id
), recent AS (
  SELECT DISTINCT r.account_id, r.project_id, r.pull_request_number AS number FROM keypup.reviews r WHERE r.submitted_at >= now() - interval '90 days'
), given AS (
  SELECT r.account_id, r.project_id, p.number, p.ready_at, r.author, r.author_is_bot, l.person_id, coalesce(l.name, r.author) AS reviewer, r.submitted_at,
    lag(r.submitted_at) OVER (PARTITION BY r.project_id, p.number, r.author_is_bot, coalesce(l.person_id::text, r.author) ORDER BY r.submitted_at, r.external_id COLLATE "C") AS reviewed_at
  FROM recent n
  JOIN keypup.pull_requests p ON p.account_id = n.account_id AND p.project_id = n.project_id AND p.number = n.number
  JOIN keypup.reviews r ON r.account_id = n.account_id AND r.project_id = n.project_id AND r.pull_request_number = n.number
  JOIN keypup.projects j ON j.account_id = n.account_id AND j.project_id = n.project_id
  LEFT JOIN login l ON l.connection_id = j.connection_id AND l.login = r.author
  WHERE p.deleted_at IS NULL AND r.state <> 'pending' AND r.submitted_at IS NOT NULL AND r.author IS DISTINCT FROM p.author AND NOT r.is_by_author
)
SELECT x.reviewer, x.author_is_bot, x.week_start, x.week_start + 7 <= (now() AT TIME ZONE x.time_zone)::date, count(x.number), count(DISTINCT (x.project_id, x.number)) FILTER (WHERE x.number IS NOT NULL),
  count(x.response_time) FILTER (WHERE x.reviewed_at IS NULL), count(x.response_time), percentile_cont(0.5) WITHIN GROUP (ORDER BY x.response_time), percentile_cont(0.9) WITHIN GROUP (ORDER BY x.response_time)
FROM (
  SELECT g.person_id, g.reviewer, g.author_is_bot, date_trunc('week', g.submitted_at AT TIME ZONE a.time_zone)::date AS week_start, a.time_zone, g.project_id, g.number, g.reviewed_at, q.response_time
  FROM given g
  JOIN keypup.accounts a ON a.account_id = g.account_id
  LEFT JOIN LATERAL (
    SELECT CASE WHEN g.ready_at IS NOT NULL AND (g.reviewed_at IS NULL OR min(e.occurred_at) IS NOT NULL) AND greatest(g.ready_at, min(e.occurred_at)) <= g.submitted_at
      THEN g.submitted_at - greatest(g.ready_at, min(e.occurred_at)) END AS response_time
    FROM keypup.timeline_events e
    WHERE e.account_id = g.account_id AND e.project_id = g.project_id AND e.item_number = g.number AND e.item_kind = 'pull_request'
      AND e.event = 'review_requested' AND e.subject = g.author AND e.occurred_at <= g.submitted_at AND (g.reviewed_at IS NULL OR e.occurred_at > g.reviewed_at)) AS q ON true
  UNION ALL
  -- Weeks between a reviewer's first and last.
  SELECT f.person_id, f.reviewer, f.author_is_bot, w.week::date, f.time_zone, NULL, NULL, NULL, NULL
  FROM (
    SELECT l.person_id, coalesce(l.name, r.author) AS reviewer, r.author_is_bot, a.time_zone, min(r.submitted_at) AS first_at, max(r.submitted_at) AS last_at
    FROM keypup.reviews r
    JOIN keypup.pull_requests p ON p.account_id = r.account_id AND p.project_id = r.project_id AND p.number = r.pull_request_number
    JOIN keypup.projects j ON j.account_id = r.account_id AND j.project_id = r.project_id
    JOIN keypup.accounts a ON a.account_id = r.account_id
    LEFT JOIN login l ON l.connection_id = j.connection_id AND l.login = r.author
    WHERE p.deleted_at IS NULL AND r.state <> 'pending' AND r.submitted_at IS NOT NULL AND r.author IS DISTINCT FROM p.author AND NOT r.is_by_author
    GROUP BY l.person_id, coalesce(l.name, r.author), r.author_is_bot, a.time_zone
  ) AS f
  CROSS JOIN LATERAL generate_series(date_trunc('week', greatest(f.first_at, now() - interval '97 days') AT TIME ZONE f.time_zone), least(f.last_at, now()) AT TIME ZONE f.time_zone, interval '7 days') AS w(week)
) AS x
WHERE x.week_start >= (now() - interval '90 days')::date
GROUP BY x.person_id, x.reviewer, x.author_is_bot, x.week_start, x.time_zone;

-- view: reviewer_pairs
SELECT author, reviewer, pull_requests, reviews, approvals FROM keypup.reviewer_pairs;
-- by hand
WITH login AS (
  SELECT DISTINCT ON (i.connection_id, i.login) i.connection_id, i.login, i.person_id, u.name
  FROM keypup.identities i LEFT JOIN keypup.people u ON u.account_id = i.account_id AND u.person_id = i.person_id
  ORDER BY i.connection_id, i.login, i.person_id IS NULL, i.external_id
)
SELECT coalesce(a.name, p.author), coalesce(l.name, r.author), count(DISTINCT (r.project_id, p.number)), count(*), count(*) FILTER (WHERE r.state = 'approved')
FROM keypup.reviews r
JOIN keypup.pull_requests p ON p.account_id = r.account_id AND p.project_id = r.project_id AND p.number = r.pull_request_number
JOIN keypup.projects j ON j.account_id = r.account_id AND j.project_id = r.project_id
LEFT JOIN login a ON a.connection_id = j.connection_id AND a.login = p.author
LEFT JOIN login l ON l.connection_id = j.connection_id AND l.login = r.author
WHERE p.deleted_at IS NULL AND r.state <> 'pending' AND r.submitted_at IS NOT NULL AND r.author IS DISTINCT FROM p.author AND NOT r.is_by_author
GROUP BY r.account_id, a.person_id, coalesce(a.name, p.author), p.author_is_bot, l.person_id, coalesce(l.name, r.author), r.author_is_bot;

-- view: pull_request_reviews
SELECT project_id, number, author_person, person, state, submitted_at, counts, is_first, response_time FROM keypup.pull_request_reviews WHERE submitted_at >= now() - interval '90 days';
-- by hand
WITH login AS (
  SELECT DISTINCT ON (i.connection_id, i.login) i.connection_id, i.login, i.person_id, u.name
  FROM keypup.identities i LEFT JOIN keypup.people u ON u.account_id = i.account_id AND u.person_id = i.person_id
  ORDER BY i.connection_id, i.login, i.person_id IS NULL, i.external_id
), recent AS (
  SELECT DISTINCT r.account_id, r.project_id, r.pull_request_number AS number FROM keypup.reviews r WHERE r.submitted_at >= now() - interval '90 days'
), given AS (
  SELECT r.account_id, r.project_id, p.number, coalesce(a.name, p.author) AS author_person, coalesce(l.name, r.author) AS person, r.state, r.submitted_at, r.author, p.ready_at,
    coalesce(NOT r.author_is_bot AND r.submitted_at >= p.ready_at AND (p.merged_at IS NULL OR r.submitted_at <= p.merged_at), false) AS counts,
    lag(r.submitted_at) OVER (PARTITION BY r.project_id, p.number, r.author_is_bot, coalesce(l.person_id::text, r.author) ORDER BY r.submitted_at, r.external_id COLLATE "C") AS reviewed_at
  FROM recent n
  JOIN keypup.pull_requests p ON p.account_id = n.account_id AND p.project_id = n.project_id AND p.number = n.number
  JOIN keypup.reviews r ON r.account_id = n.account_id AND r.project_id = n.project_id AND r.pull_request_number = n.number
  JOIN keypup.projects j ON j.account_id = n.account_id AND j.project_id = n.project_id
  LEFT JOIN login l ON l.connection_id = j.connection_id AND l.login = r.author
  LEFT JOIN login a ON a.connection_id = j.connection_id AND a.login = p.author
  WHERE p.deleted_at IS NULL AND r.state <> 'pending' AND r.submitted_at IS NOT NULL AND r.author IS DISTINCT FROM p.author AND NOT r.is_by_author
)
SELECT g.project_id, g.number, g.author_person, g.person, g.state, g.submitted_at, g.counts, g.reviewed_at IS NULL, q.response_time
FROM given g
LEFT JOIN LATERAL (
  SELECT CASE WHEN g.ready_at IS NOT NULL AND (g.reviewed_at IS NULL OR min(e.occurred_at) IS NOT NULL) AND greatest(g.ready_at, min(e.occurred_at)) <= g.submitted_at THEN g.submitted_at - greatest(g.ready_at, min(e.occurred_at)) END AS response_time
  FROM keypup.timeline_events e
  WHERE e.account_id = g.account_id AND e.project_id = g.project_id AND e.item_number = g.number AND e.item_kind = 'pull_request'
    AND e.event = 'review_requested' AND e.subject = g.author AND e.occurred_at <= g.submitted_at AND (g.reviewed_at IS NULL OR e.occurred_at > g.reviewed_at)) AS q ON true
WHERE g.submitted_at >= now() - interval '90 days';

-- view: issue_metrics
SELECT project, number, lead_time, first_response_time, queue_time, times_reopened, resolving_pull_requests, resolving_first_merged_at, lines_changed
FROM keypup.issue_metrics WHERE closed_at >= now() - interval '90 days';
-- by hand
WITH resolving AS (
  SELECT r.account_id, r.project_id, n.number, array_agg(r.number ORDER BY r.number) AS pull_requests, min(r.merged_at) AS first_merged_at, sum(r.additions + r.deletions)::bigint AS lines_changed
  FROM keypup.pull_requests r CROSS JOIN LATERAL (SELECT DISTINCT unnest(r.closes_issues)) AS n(number)
  WHERE r.deleted_at IS NULL AND r.state <> 'closed' GROUP BY r.account_id, r.project_id, n.number
)
SELECT p.name, i.number, CASE WHEN i.state = 'closed' AND i.closed_at >= i.created_at THEN i.closed_at - i.created_at END,
  CASE WHEN i.first_response_at >= i.created_at THEN i.first_response_at - i.created_at END, a.assigned_at - i.created_at, b.times_reopened,
  coalesce(r.pull_requests, '{}'), r.first_merged_at, r.lines_changed
FROM keypup.issues i
JOIN keypup.projects p ON p.account_id = i.account_id AND p.project_id = i.project_id
LEFT JOIN resolving r ON r.account_id = i.account_id AND r.project_id = i.project_id AND r.number = i.number
LEFT JOIN LATERAL (
  SELECT min(e.occurred_at) AS assigned_at FROM keypup.timeline_events e
  WHERE e.account_id = i.account_id AND e.project_id = i.project_id AND e.item_number = i.number AND e.item_kind = 'issue' AND e.event = 'assigned' AND e.occurred_at >= i.created_at) AS a ON true
LEFT JOIN LATERAL (
  SELECT count(*) FILTER (WHERE x.event = 'reopened' AND x.event_before = 'closed') AS times_reopened
  FROM (SELECT e.event, lag(e.event) OVER (ORDER BY e.occurred_at, e.event) AS event_before FROM keypup.timeline_events e
        WHERE e.account_id = i.account_id AND e.project_id = i.project_id AND e.item_number = i.number AND e.item_kind = 'issue' AND e.event IN ('closed', 'reopened')) AS x) AS b ON true
WHERE i.deleted_at IS NULL AND i.closed_at >= now() - interval '90 days';

-- view: issue_pull_request_links
SELECT project_id, issue_number, pull_request_number, sources FROM keypup.issue_pull_request_links;
-- by hand
WITH named AS (
  SELECT p.account_id, p.project_id, p.number, n.issue_number, n.source
  FROM keypup.pull_requests p
  CROSS JOIN LATERAL (
    SELECT unnest(p.closes_issues) AS issue_number, 'closing_reference' AS source
    UNION SELECT m.groups[1]::bigint, 'title' FROM regexp_matches(p.title, '(?<![[:alnum:]_.&/#-])#([0-9]{1,9})(?![[:alnum:]_])', 'g') AS m(groups)
    UNION SELECT m.groups[1]::bigint, 'branch' FROM regexp_matches(p.head_branch, '(?:^|/)(?:issues?[-_/]?|fix(?:es)?[-_/]|(?=[0-9]+[-_][[:alpha:]]))([0-9]{1,9})(?:$|[-_/])', 'i') AS m(groups)) AS n
  WHERE p.deleted_at IS NULL
)
SELECT n.project_id, n.issue_number, n.number, array_agg(n.source ORDER BY n.source)
FROM named n
JOIN keypup.issues i ON i.account_id = n.account_id AND i.project_id = n.project_id AND i.number = n.issue_number AND i.deleted_at IS NULL
GROUP BY n.account_id, n.project_id, n.issue_number, n.number;

-- view: issue_transitions
SELECT project_id, number, event, occurred_at FROM keypup.issue_transitions WHERE occurred_at >= now() - interval '90 days';
-- by hand
WITH recent AS (
  SELECT * FROM keypup.issues i WHERE i.deleted_at IS NULL AND i.updated_at >= now() - interval '90 days'
), happened AS (
  SELECT i.account_id, i.project_id, i.number, 0 AS part, 'opened' AS event, i.created_at AS occurred_at FROM recent i
  UNION ALL
  SELECT i.account_id, i.project_id, i.number, 1, e.event, e.occurred_at
  FROM recent i CROSS JOIN LATERAL (
    SELECT e.event, e.occurred_at FROM keypup.timeline_events e
    WHERE e.account_id = i.account_id AND e.project_id = i.project_id AND e.item_number = i.number AND e.item_kind = 'issue' AND e.event IN ('closed', 'reopened') OFFSET 0) AS e
  UNION ALL
  SELECT i.account_id, i.project_id, i.number, 2, CASE i.state WHEN 'closed' THEN 'closed' ELSE 'reopened' END, CASE i.state WHEN 'closed' THEN coalesce(i.closed_at, i.updated_at) ELSE i.updated_at END
  FROM recent i
), ordered AS (
  SELECT h.project_id, h.number, h.event, lag(h.event) OVER w AS event_before, max(h.occurred_at) OVER w AS occurred_at
  FROM happened h WINDOW w AS (PARTITION BY h.account_id, h.project_id, h.number ORDER BY h.part, h.occurred_at, h.event)
)
SELECT o.project_id, o.number, o.event, o.occurred_at FROM ordered o
WHERE (o.event = 'opened' OR (o.event = 'closed') = (o.event_before <> 'closed')) AND o.occurred_at >= now() - interval '90 days';

-- view: issue_flow_daily
SELECT project, day, opened, closed, reopened, open_at_end_of_day FROM keypup.issue_flow_daily WHERE day >= current_date - 90;
-- by hand
WITH happened AS (
  SELECT i.account_id, i.project_id, i.number, 0 AS part, 'opened' AS event, i.created_at AS occurred_at FROM keypup.issues i WHERE i.deleted_at IS NULL
  UNION ALL
  SELECT i.account_id, i.project_id, i.number, 1, e.event, e.occurred_at
  FROM keypup.issues i JOIN keypup.timeline_events e ON e.account_id = i.account_id AND e.project_id = i.project_id AND e.item_number = i.number
  WHERE i.deleted_at IS NULL AND e.item_kind = 'issue' AND e.event IN ('closed', 'reopened')
  UNION ALL
  SELECT i.account_id, i.project_id, i.number, 2, CASE i.state WHEN 'closed' THEN 'closed' ELSE 'reopened' END, CASE i.state WHEN 'closed' THEN coalesce(i.closed_at, i.updated_at) ELSE i.updated_at END
  FROM keypup.issues i WHERE i.deleted_at IS NULL
), ordered AS (
  SELECT h.account_id, h.project_id, h.event, lag(h.event) OVER w AS event_before, max(h.occurred_at) OVER w AS occurred_at
  FROM happened h WINDOW w AS (PARTITION BY h.account_id, h.project_id, h.number ORDER BY h.part, h.occurred_at, h.event)
), counted AS (
  SELECT o.account_id, o.project_id, (o.occurred_at AT TIME ZONE a.time_zone)::date AS day,
    count(*) FILTER (WHERE o.event = 'opened') AS opened, count(*) FILTER (WHERE o.event = 'closed') AS closed, count(*) FILTER (WHERE o.event = 'reopened') AS reopened
  FROM ordered o JOIN keypup.accounts a ON a.account_id = o.account_id
  WHERE (o.event = 'opened' OR (o.event = 'closed') = (o.event_before <> 'closed')) AND o.occurred_at <= now()
  GROUP BY o.account_id, o.project_id, (o.occurred_at AT TIME ZONE a.time_zone)::date
), before AS (
  SELECT c.account_id, c.project_id, min(c.day) AS first_day, coalesce(sum(c.opened - c.closed + c.reopened) FILTER (WHERE c.day < current_date - 90), 0) AS still_open
  FROM counted c GROUP BY c.account_id, c.project_id
)
SELECT p.name, d.day::date, coalesce(c.opened, 0), coalesce(c.closed, 0), coalesce(c.reopened, 0),
  (b.still_open + sum(coalesce(c.opened - c.closed + c.reopened, 0)) OVER (PARTITION BY b.account_id, b.project_id ORDER BY d.day))::bigint
FROM before b
JOIN keypup.projects p ON p.account_id = b.account_id AND p.project_id = b.project_id
JOIN keypup.accounts a ON a.account_id = b.account_id
CROSS JOIN LATERAL generate_series(greatest(b.first_day, current_date - 90)::timestamp, now() AT TIME ZONE a.time_zone, interval '1 day') AS d(day)
LEFT JOIN counted c ON c.account_id = b.account_id AND c.project_id = b.project_id AND c.day = d.day::date;

-- view: throughput_weekly
SELECT project, week_start, pull_requests_merged, issues_opened, issues_closed, backlog_growth, lead_time_p50, cycle_time_p50, cycle_time_p75, previous_pull_requests_merged, previous_cycle_time_p50
FROM keypup.throughput_weekly WHERE week_start >= current_date - 90;
-- by hand
WITH happened AS (
  -- A week more, for the week before.
  SELECT i.account_id, i.project_id, i.number, h.part, h.event, h.occurred_at
  FROM keypup.issues i CROSS JOIN LATERAL (VALUES (0, 'opened', i.created_at),
    (2, CASE i.state WHEN 'closed' THEN 'closed' ELSE 'reopened' END, CASE i.state WHEN 'closed' THEN coalesce(i.closed_at, i.updated_at) ELSE i.updated_at END)) AS h(part, event, occurred_at)
  WHERE i.deleted_at IS NULL AND i.updated_at >= now() - interval '100 days'
  UNION ALL
  SELECT i.account_id, i.project_id, i.number, 1, e.event, e.occurred_at
  FROM keypup.issues i CROSS JOIN LATERAL (
    SELECT e.event, e.occurred_at FROM keypup.timeline_events e
    WHERE e.account_id = i.account_id AND e.project_id = i.project_id AND e.item_number = i.number AND e.item_kind = 'issue' AND e.event IN ('closed', 'reopened') OFFSET 0) AS e
  WHERE i.deleted_at IS NULL AND i.updated_at >= now() - interval '100 days'
), ordered AS (
  SELECT h.account_id, h.project_id, h.event, lag(h.event) OVER w AS event_before, max(h.occurred_at) OVER w AS occurred_at
  FROM happened h WINDOW w AS (PARTITION BY h.account_id, h.project_id, h.number ORDER BY h.part, h.occurred_at, h.event)
), moved AS (
  SELECT o.project_id, date_trunc('week', o.occurred_at AT TIME ZONE a.time_zone)::date AS week_start,
    count(*) FILTER (WHERE o.event = 'opened') AS opened, count(*) FILTER (WHERE o.event = 'closed') AS closed, count(*) FILTER (WHERE o.event = 'reopened') AS reopened
  FROM ordered o JOIN keypup.accounts a ON a.account_id = o.account_id
  WHERE (o.event = 'opened' OR (o.event = 'closed') = (o.event_before <> 'closed')) AND o.occurred_at <= now()
  GROUP BY o.project_id, date_trunc('week', o.occurred_at AT TIME ZONE a.time_zone)::date
), led AS (
  SELECT i.project_id, date_trunc('week', i.closed_at AT TIME ZONE a.time_zone)::date AS week_start, percentile_cont(0.5) WITHIN GROUP (ORDER BY i.closed_at - i.created_at) AS p50
  FROM keypup.issues i JOIN keypup.accounts a ON a.account_id = i.account_id
  WHERE i.deleted_at IS NULL AND i.state = 'closed' AND i.closed_at BETWEEN i.created_at AND now() AND i.closed_at >= now() - interval '100 days'
  GROUP BY i.project_id, date_trunc('week', i.closed_at AT TIME ZONE a.time_zone)::date
), merged AS (
  SELECT p.project_id, date_trunc('week', p.merged_at AT TIME ZONE a.time_zone)::date AS week_start, count(*) AS merged,
    percentile_cont(ARRAY[0.5, 0.75]) WITHIN GROUP (ORDER BY p.merged_at - least(p.first_commit_at, p.created_at, p.ready_at, p.merged_at)) AS cycle_times
  FROM keypup.pull_requests p JOIN keypup.accounts a ON a.account_id = p.account_id
  WHERE p.deleted_at IS NULL AND p.merged_at >= now() - interval '100 days' AND p.merged_at <= now()
  GROUP BY p.project_id, date_trunc('week', p.merged_at AT TIME ZONE a.time_zone)::date
), weekly AS (
  SELECT j.project_id, j.name, w.week::date AS week_start, coalesce(g.merged, 0) AS merged, coalesce(m.opened, 0) AS opened, coalesce(m.closed, 0) AS closed,
    coalesce(m.opened - m.closed + m.reopened, 0) AS growth, l.p50, g.cycle_times
  FROM keypup.projects j
  CROSS JOIN generate_series(date_trunc('week', (current_date - 97)::timestamp), now()::timestamp, interval '1 week') AS w(week)
  LEFT JOIN moved m ON m.project_id = j.project_id AND m.week_start = w.week::date
  LEFT JOIN led l ON l.project_id = j.project_id AND l.week_start = w.week::date
  LEFT JOIN merged g ON g.project_id = j.project_id AND g.week_start = w.week::date
), compared AS (
  SELECT w.*, lag(w.merged) OVER o AS merged_before, lag(w.cycle_times[1]) OVER o AS p50_before FROM weekly w WINDOW o AS (PARTITION BY w.project_id ORDER BY w.week_start)
)
SELECT c.name, c.week_start, c.merged, c.opened, c.closed, c.growth, c.p50, c.cycle_times[1], c.cycle_times[2], c.merged_before, c.p50_before FROM compared c WHERE c.week_start >= current_date - 90;

-- view: throughput_monthly
SELECT project, month_start, pull_requests_merged, issues_opened, issues_closed, backlog_growth, lead_time_p50, cycle_time_p50, cycle_time_p75, previous_pull_requests_merged, previous_cycle_time_p50
FROM keypup.throughput_monthly WHERE month_start >= current_date - 90;
-- by hand
WITH happened AS (
  -- A month more, for the month before.
  SELECT i.account_id, i.project_id, i.number, h.part, h.event, h.occurred_at
  FROM keypup.issues i CROSS JOIN LATERAL (VALUES (0, 'opened', i.created_at),
    (2, CASE i.state WHEN 'closed' THEN 'closed' ELSE 'reopened' END, CASE i.state WHEN 'closed' THEN coalesce(i.closed_at, i.updated_at) ELSE i.updated_at END)) AS h(part, event, occurred_at)
  WHERE i.deleted_at IS NULL AND i.updated_at >= now() - interval '125 days'
  UNION ALL
  SELECT i.account_id, i.project_id, i.number, 1, e.event, e.occurred_at
  FROM keypup.issues i CROSS JOIN LATERAL (
    SELECT e.event, e.occurred_at FROM keypup.timeline_events e
    WHERE e.account_id = i.account_id AND e.project_id = i.project_id AND e.item_number = i.number AND e.item_kind = 'issue' AND e.event IN ('closed', 'reopened') OFFSET 0) AS e
  WHERE i.deleted_at IS NULL AND i.updated_at >= now() - interval '125 days'
), ordered AS (
  SELECT h.account_id, h.project_id, h.event, lag(h.event) OVER w AS event_before, max(h.occurred_at) OVER w AS occurred_at
  FROM happened h WINDOW w AS (PARTITION BY h.account_id, h.project_id, h.number ORDER BY h.part, h.occurred_at, h.event)
), moved AS (
  SELECT o.project_id, date_trunc('month', o.occurred_at AT TIME ZONE a.time_zone)::date AS month_start,
    count(*) FILTER (WHERE o.event = 'opened') AS opened, count(*) FILTER (WHERE o.event = 'closed') AS closed, count(*) FILTER (WHERE o.event = 'reopened') AS reopened
  FROM ordered o JOIN keypup.accounts a ON a.account_id = o.account_id
  WHERE (o.event = 'opened' OR (o.event = 'closed') = (o.event_before <> 'closed')) AND o.occurred_at <= now()
  GROUP BY o.project_id, date_trunc('month', o.occurred_at AT TIME ZONE a.time_zone)::date
), led AS (
  SELECT i.project_id, date_trunc('month', i.closed_at AT TIME ZONE a.time_zone)::date AS month_start, percentile_cont(0.5) WITHIN GROUP (ORDER BY i.closed_at - i.created_at) AS p50
  FROM keypup.issues i JOIN keypup.accounts a ON a.account_id = i.account_id
  WHERE i.deleted_at IS NULL AND i.state = 'closed' AND i.closed_at BETWEEN i.created_at AND now() AND i.closed_at >= now() - interval '125 days'
  GROUP BY i.project_id, date_trunc('month', i.closed_at AT TIME ZONE a.time_zone)::date
), merged AS (
  SELECT p.project_id, date_trunc('month', p.merged_at AT TIME ZONE a.time_zone)::date AS month_start, count(*) AS merged,
    percentile_cont(ARRAY[0.5, 0.75]) WITHIN GROUP (ORDER BY p.merged_at - least(p.first_commit_at, p.created_at, p.ready_at, p.merged_at)) AS cycle_times
  FROM keypup.pull_requests p JOIN keypup.accounts a ON a.account_id = p.account_id
  WHERE p.deleted_at IS NULL AND p.merged_at >= now() - interval '125 days' AND p.merged_at <= now()
  GROUP BY p.project_id, date_trunc('month', p.merged_at AT TIME ZONE a.time_zone)::date
), monthly AS (
  SELECT j.project_id, j.name, w.month::date AS month_start, coalesce(g.merged, 0) AS merged, coalesce(m.opened, 0) AS opened, coalesce(m.closed, 0) AS closed,
    coalesce(m.opened - m.closed + m.reopened, 0) AS growth, l.p50, g.cycle_times
  FROM keypup.projects j
  CROSS JOIN generate_series(date_trunc('month', (current_date - 121)::timestamp), now()::timestamp, interval '1 month') AS w(month)
  LEFT JOIN moved m ON m.project_id = j.project_id AND m.month_start = w.month::date
  LEFT JOIN led l ON l.project_id = j.project_id AND l.month_start = w.month::date
  LEFT JOIN merged g ON g.project_id = j.project_id AND g.month_start = w.month::date
), compared AS (
  SELECT w.*, lag(w.merged) OVER o AS merged_before, lag(w.cycle_times[1]) OVER o AS p50_before FROM monthly w WINDOW o AS (PARTITION BY w.project_id ORDER BY w.month_start)
)
SELECT c.name, c.month_start, c.merged, c.opened, c.closed, c.growth, c.p50, c.cycle_times[1], c.cycle_times[2], c.merged_before, c.p50_before FROM compared c WHERE c.month_start >= current_date - 90;

-- view: items_daily
SELECT project, kind, day, items_opened, items_closed, items_done FROM keypup.items_daily WHERE day >= current_date - 90;
-- by hand
WITH item AS (
  SELECT i.account_id, i.project_id, 'issue' AS kind, i.created_at, CASE WHEN i.state = 'closed' THEN i.closed_at END AS ended_at, coalesce(i.state_reason, '') NOT IN ('not_planned', 'duplicate') AS is_done FROM keypup.issues i WHERE i.deleted_at IS NULL
  UNION ALL
  SELECT r.account_id, r.project_id, 'pull_request', r.created_at, CASE WHEN r.state <> 'open' THEN coalesce(r.merged_at, r.closed_at) END, r.state = 'merged' FROM keypup.pull_requests r WHERE r.deleted_at IS NULL
), counted AS (
  SELECT i.account_id, i.project_id, i.kind, (h.at AT TIME ZONE a.time_zone)::date AS day, count(*) FILTER (WHERE h.what = 'opened') AS opened, count(*) FILTER (WHERE h.what = 'closed') AS closed, count(*) FILTER (WHERE h.what = 'closed' AND i.is_done) AS done
  FROM item i JOIN keypup.accounts a ON a.account_id = i.account_id CROSS JOIN LATERAL (VALUES ('opened', i.created_at), ('closed', i.ended_at)) AS h(what, at)
  WHERE h.at <= now() GROUP BY i.account_id, i.project_id, i.kind, (h.at AT TIME ZONE a.time_zone)::date
), began AS (
  SELECT c.account_id, c.project_id, c.kind, min(c.day) AS day FROM counted c GROUP BY c.account_id, c.project_id, c.kind
)
SELECT j.name, b.kind, d.day::date, coalesce(c.opened, 0), coalesce(c.closed, 0), coalesce(c.done, 0)
FROM began b JOIN keypup.projects j ON j.account_id = b.account_id AND j.project_id = b.project_id JOIN keypup.accounts a ON a.account_id = b.account_id
CROSS JOIN LATERAL generate_series(greatest(b.day, current_date - 90)::timestamp, now() AT TIME ZONE a.time_zone, interval '1 day') AS d(day)
LEFT JOIN counted c ON c.account_id = b.account_id AND c.project_id = b.project_id AND c.kind = b.kind AND c.day = d.day::date;

-- view: milestone_forecasts
SELECT project, milestone_number, open_items, pace_p50, done_on_p50, done_on_p85 FROM keypup.milestone_forecasts;

-- view: sprint_forecasts
SELECT project, sprint, open_items, pace_p50, done_on_p50, done_by_end_p85 FROM keypup.sprint_forecasts;

-- view: milestone_items
SELECT project_id, milestone_number, kind, number, done_at FROM keypup.milestone_items WHERE created_at >= now() - interval '90 days';
-- by hand
SELECT m.project_id, m.number, x.kind, x.number, CASE WHEN x.state <> 'open' THEN greatest(coalesce(x.ended_at, x.updated_at), x.created_at) END
FROM keypup.milestones m
JOIN (
  SELECT i.account_id, i.project_id, i.milestone, 'issue' AS kind, i.number, i.state, i.created_at, i.updated_at, i.closed_at AS ended_at
  FROM keypup.issues i WHERE i.milestone IS NOT NULL AND i.deleted_at IS NULL AND i.created_at >= now() - interval '90 days'
  UNION ALL
  SELECT r.account_id, r.project_id, r.milestone, 'pull_request', r.number, r.state, r.created_at, r.updated_at, coalesce(r.merged_at, r.closed_at)
  FROM keypup.pull_requests r WHERE r.milestone IS NOT NULL AND r.deleted_at IS NULL AND r.created_at >= now() - interval '90 days'
) AS x ON x.account_id = m.account_id AND x.project_id = m.project_id AND x.milestone = m.title;

-- view: milestone_progress
SELECT project, milestone_number, state, due_on, scope, done, percent, slip_days FROM keypup.milestone_progress WHERE due_on >= current_date - 90;
-- by hand
WITH item AS (
  SELECT i.account_id, i.project_id, i.milestone, i.state FROM keypup.issues i WHERE i.milestone IS NOT NULL AND i.deleted_at IS NULL
  UNION ALL SELECT r.account_id, r.project_id, r.milestone, r.state FROM keypup.pull_requests r WHERE r.milestone IS NOT NULL AND r.deleted_at IS NULL
), counted AS (
  SELECT i.account_id, i.project_id, i.milestone, count(*) AS scope, count(*) FILTER (WHERE i.state <> 'open') AS done FROM item i GROUP BY i.account_id, i.project_id, i.milestone
)
SELECT p.name, m.number, m.state, (m.due_on AT TIME ZONE 'UTC')::date, coalesce(c.scope, 0), coalesce(c.done, 0), c.done * 100 / c.scope,
  greatest((CASE WHEN m.state = 'closed' THEN coalesce(m.closed_at, m.updated_at) ELSE now() END AT TIME ZONE a.time_zone)::date - (m.due_on AT TIME ZONE 'UTC')::date, 0)::bigint
FROM keypup.milestones m
JOIN keypup.projects p ON p.account_id = m.account_id AND p.project_id = m.project_id
JOIN keypup.accounts a ON a.account_id = m.account_id
LEFT JOIN counted c ON c.account_id = m.account_id AND c.project_id = m.project_id AND c.milestone = m.title
WHERE (m.due_on AT TIME ZONE 'UTC')::date >= current_date - 90;

-- view: milestone_burnup
SELECT project, milestone_number, day, scope, done FROM keypup.milestone_burnup WHERE day >= current_date - 90;
-- by hand
WITH milestone AS (
  SELECT m.account_id, m.project_id, m.number, m.title, p.name, a.time_zone,
    (CASE WHEN m.state = 'closed' THEN least(coalesce(m.closed_at, m.updated_at), now()) ELSE now() END AT TIME ZONE a.time_zone)::date AS last_day
  FROM keypup.milestones m
  JOIN keypup.projects p ON p.account_id = m.account_id AND p.project_id = m.project_id
  JOIN keypup.accounts a ON a.account_id = m.account_id
), item AS (
  SELECT i.account_id, i.project_id, i.milestone, i.created_at, CASE WHEN i.state <> 'open' THEN greatest(coalesce(i.closed_at, i.updated_at), i.created_at) END AS done_at
  FROM keypup.issues i WHERE i.milestone IS NOT NULL AND i.deleted_at IS NULL
  UNION ALL
  SELECT r.account_id, r.project_id, r.milestone, r.created_at, CASE WHEN r.state <> 'open' THEN greatest(coalesce(r.merged_at, r.closed_at, r.updated_at), r.created_at) END
  FROM keypup.pull_requests r WHERE r.milestone IS NOT NULL AND r.deleted_at IS NULL
), counted AS (
  SELECT m.account_id, m.project_id, m.number, m.name, m.last_day, (h.occurred_at AT TIME ZONE m.time_zone)::date AS day, sum(h.scope) AS scope, sum(h.done) AS done
  FROM milestone m
  JOIN item i ON i.account_id = m.account_id AND i.project_id = m.project_id AND i.milestone = m.title
  CROSS JOIN LATERAL (VALUES (i.created_at, 1, 0), (i.done_at, 0, 1)) AS h(occurred_at, scope, done)
  WHERE h.occurred_at <= now()
  GROUP BY m.account_id, m.project_id, m.number, m.name, m.last_day, (h.occurred_at AT TIME ZONE m.time_zone)::date
), spanned AS (
  SELECT c.account_id, c.project_id, c.number, c.name, min(c.day) AS first_day, greatest(max(c.day), c.last_day) AS last_day FROM counted c GROUP BY c.account_id, c.project_id, c.number, c.name, c.last_day
), summed AS (
  SELECT s.project_id, s.name, s.number, d.day::date AS day, sum(coalesce(c.scope, 0)) OVER w AS scope, sum(coalesce(c.done, 0)) OVER w AS done
  FROM spanned s
  CROSS JOIN LATERAL generate_series(s.first_day::timestamp, s.last_day::timestamp, interval '1 day') AS d(day)
  LEFT JOIN counted c ON c.account_id = s.account_id AND c.project_id = s.project_id AND c.number = s.number AND c.day = d.day::date
  WHERE s.last_day >= current_date - 90
  WINDOW w AS (PARTITION BY s.project_id, s.number ORDER BY d.day)
)
SELECT s.name, s.number, s.day, s.scope::bigint, s.done::bigint FROM summed s WHERE s.day >= current_date - 90;

-- view: person_logins
SELECT login, person_id, person, is_bot, team, merged_by_rule FROM keypup.person_logins;
-- by hand
WITH member AS (
  SELECT DISTINCT m.account_id, m.team, coalesce(i.person_id, m.person_id) AS person_id
  FROM keypup.team_members m
  LEFT JOIN keypup.person_merges g ON g.account_id = m.account_id AND g.own_person_id = m.person_id
  LEFT JOIN keypup.identities i ON i.account_id = g.account_id AND i.connection_id = g.connection_id AND i.external_id = g.external_id
  WHERE m.left_at IS NULL
), team AS (
  SELECT m.account_id, m.person_id, string_agg(m.team, ', ' ORDER BY m.team) AS teams FROM member m GROUP BY m.account_id, m.person_id
)
SELECT DISTINCT ON (i.account_id, i.connection_id, i.login) i.login, i.person_id, coalesce(p.name, i.login), i.kind = 'bot', t.teams, g.rule
FROM keypup.identities i
LEFT JOIN keypup.people p ON p.account_id = i.account_id AND p.person_id = i.person_id
LEFT JOIN keypup.person_merges g ON g.account_id = i.account_id AND g.connection_id = i.connection_id AND g.external_id = i.external_id
LEFT JOIN team t ON t.account_id = i.account_id AND t.person_id = i.person_id
ORDER BY i.account_id, i.connection_id, i.login, i.person_id IS NULL, i.external_id;

-- view: team_people
SELECT team, person_id FROM keypup.team_people;
-- by hand
SELECT DISTINCT m.team, coalesce(i.person_id, m.person_id)
FROM keypup.team_members m
LEFT JOIN keypup.person_merges g ON g.account_id = m.account_id AND g.own_person_id = m.person_id
LEFT JOIN keypup.identities i ON i.account_id = g.account_id AND i.connection_id = g.connection_id AND i.external_id = g.external_id
WHERE m.left_at IS NULL;

-- view: production_deployments
SELECT project, external_id, deployed_at, succeeded FROM keypup.production_deployments WHERE deployed_at >= now() - interval '90 days';
-- by hand
SELECT j.name, d.external_id, coalesce(d.succeeded_at, d.failed_at), d.succeeded_at IS NOT NULL
FROM keypup.deployments d JOIN keypup.projects j ON j.account_id = d.account_id AND j.project_id = d.project_id
WHERE d.deleted_at IS NULL AND d.environment = 'production' AND coalesce(d.succeeded_at, d.failed_at) >= now() - interval '90 days'
UNION ALL
SELECT j.name, r.external_id, r.published_at, true
FROM keypup.releases r JOIN keypup.projects j ON j.account_id = r.account_id AND j.project_id = r.project_id
WHERE r.deleted_at IS NULL AND NOT r.is_draft AND NOT r.is_prerelease AND r.published_at >= now() - interval '90 days'
  AND NOT EXISTS (SELECT FROM keypup.deployments d WHERE d.account_id = r.account_id AND d.project_id = r.project_id AND d.deleted_at IS NULL AND d.environment = 'production');

-- view: pull_request_delivery
SELECT project_id, number, merged_at, deployment_id, deployed_at, change_lead_time FROM keypup.pull_request_delivery WHERE merged_at >= now() - interval '90 days';
-- by hand
WITH delivered AS (
  SELECT d.account_id, d.project_id, d.external_id, d.created_at AS started_at, d.succeeded_at AS deployed_at, d.commit_at
  FROM keypup.deployments d WHERE d.deleted_at IS NULL AND d.environment = 'production' AND d.succeeded_at IS NOT NULL AND d.created_at >= now() - interval '90 days'
  UNION ALL
  SELECT r.account_id, r.project_id, r.external_id, r.published_at, r.published_at, r.commit_at
  FROM keypup.releases r
  WHERE r.deleted_at IS NULL AND NOT r.is_draft AND NOT r.is_prerelease AND r.published_at >= now() - interval '90 days'
    AND NOT EXISTS (SELECT FROM keypup.deployments d WHERE d.account_id = r.account_id AND d.project_id = r.project_id AND d.deleted_at IS NULL AND d.environment = 'production')
)
SELECT p.project_id, p.number, p.merged_at, d.external_id, d.deployed_at, d.deployed_at - least(p.first_commit_at, p.created_at, p.ready_at, p.merged_at)
FROM keypup.pull_requests p
LEFT JOIN LATERAL (
  SELECT d.external_id, d.deployed_at FROM delivered d
  WHERE d.account_id = p.account_id AND d.project_id = p.project_id AND d.started_at >= p.merged_at AND d.commit_at + interval '1 minute' >= p.merged_at
  ORDER BY d.started_at, d.external_id COLLATE "C" LIMIT 1) AS d ON true
WHERE p.deleted_at IS NULL AND p.merged_at >= now() - interval '90 days';

-- view: incidents
SELECT project_id, number, created_at, deployment_id, time_to_restore, recovery_time FROM keypup.incidents WHERE created_at >= now() - interval '90 days';
-- by hand
SELECT i.project_id, i.number, i.created_at, d.external_id, CASE WHEN i.state = 'closed' AND i.closed_at >= i.created_at THEN i.closed_at - i.created_at END,
  CASE WHEN i.state = 'closed' AND i.closed_at >= d.deployed_at THEN i.closed_at - d.deployed_at END
FROM keypup.issues i
LEFT JOIN LATERAL (
  SELECT x.external_id, x.deployed_at FROM (
    SELECT d.external_id, d.succeeded_at AS deployed_at, d.created_at AS started_at FROM keypup.deployments d
    WHERE d.account_id = i.account_id AND d.project_id = i.project_id AND d.deleted_at IS NULL AND d.environment = 'production' AND d.succeeded_at <= i.created_at
    UNION ALL
    SELECT r.external_id, r.published_at, r.published_at FROM keypup.releases r
    WHERE r.account_id = i.account_id AND r.project_id = i.project_id AND r.deleted_at IS NULL AND NOT r.is_draft AND NOT r.is_prerelease AND r.published_at <= i.created_at
      AND NOT EXISTS (SELECT FROM keypup.deployments d WHERE d.account_id = r.account_id AND d.project_id = r.project_id AND d.deleted_at IS NULL AND d.environment = 'production')
  ) AS x ORDER BY x.started_at DESC, x.external_id COLLATE "C" DESC LIMIT 1) AS d ON true
WHERE i.deleted_at IS NULL AND 'incident' = ANY (i.labels) AND i.created_at >= now() - interval '90 days';

-- view: deployment_metrics
SELECT project, external_id, deployed_at, pull_requests, change_lead_time_p50, incidents, recovered_after FROM keypup.deployment_metrics WHERE deployed_at >= now() - interval '90 days';
-- by hand
WITH listed AS (
  SELECT d.account_id, d.project_id, d.external_id, d.created_at AS started_at, coalesce(d.succeeded_at, d.failed_at) AS deployed_at, d.succeeded_at IS NOT NULL AS succeeded, d.commit_at
  FROM keypup.deployments d WHERE d.deleted_at IS NULL AND d.environment = 'production' AND coalesce(d.succeeded_at, d.failed_at) IS NOT NULL
  UNION ALL
  SELECT r.account_id, r.project_id, r.external_id, r.published_at, r.published_at, true, r.commit_at
  FROM keypup.releases r
  WHERE r.deleted_at IS NULL AND NOT r.is_draft AND NOT r.is_prerelease AND r.published_at IS NOT NULL
    AND NOT EXISTS (SELECT FROM keypup.deployments d WHERE d.account_id = r.account_id AND d.project_id = r.project_id AND d.deleted_at IS NULL AND d.environment = 'production')
), delivered AS (
  -- A delivery carries what was merged since the one before, and answers for the incidents until the next.
  SELECT l.*, least(l.started_at, l.commit_at + interval '1 minute') AS carries_until,
    lag(least(l.started_at, l.commit_at + interval '1 minute'), 1, '-infinity') OVER w AS carries_after, lead(l.deployed_at, 1, 'infinity') OVER w AS next_at
  FROM listed l
  WINDOW w AS (PARTITION BY l.project_id, l.succeeded ORDER BY l.started_at, l.external_id COLLATE "C")
), recent AS MATERIALIZED (
  SELECT d.*, j.name, j.default_branch FROM delivered d JOIN keypup.projects j ON j.account_id = d.account_id AND j.project_id = d.project_id
  WHERE d.deployed_at >= now() - interval '90 days'
), merged AS MATERIALIZED (
  SELECT p.account_id, p.project_id, p.base_branch, p.merged_at, least(p.first_commit_at, p.created_at, p.ready_at, p.merged_at) AS started_at
  FROM keypup.pull_requests p WHERE p.deleted_at IS NULL AND p.merged_at > (SELECT min(d.carries_after) FROM recent d WHERE d.succeeded)
), incident AS MATERIALIZED (
  SELECT i.account_id, i.project_id, i.created_at, i.state, i.closed_at
  FROM keypup.issues i WHERE i.deleted_at IS NULL AND i.created_at >= (SELECT min(d.deployed_at) FROM recent d WHERE d.succeeded) AND 'incident' = ANY (i.labels)
), fact AS (
  SELECT d.account_id, d.project_id, d.external_id, d.name, d.deployed_at, NULL::interval AS lead_time, NULL::text AS state, NULL::timestamptz AS closed_at FROM recent d
  UNION ALL
  SELECT d.account_id, d.project_id, d.external_id, d.name, d.deployed_at, d.deployed_at - m.started_at, NULL, NULL
  FROM recent d JOIN merged m ON m.account_id = d.account_id AND m.project_id = d.project_id AND m.merged_at > d.carries_after AND m.merged_at <= d.carries_until
  WHERE d.succeeded AND m.base_branch = d.default_branch
  UNION ALL
  SELECT d.account_id, d.project_id, d.external_id, d.name, d.deployed_at, NULL, i.state, i.closed_at
  FROM recent d JOIN incident i ON i.account_id = d.account_id AND i.project_id = d.project_id AND i.created_at >= d.deployed_at AND i.created_at < d.next_at
  WHERE d.succeeded
)
SELECT f.name, f.external_id, f.deployed_at, count(f.lead_time), percentile_cont(0.5) WITHIN GROUP (ORDER BY f.lead_time), count(f.state),
  CASE WHEN bool_and(f.state = 'closed') AND max(f.closed_at) >= f.deployed_at THEN max(f.closed_at) - f.deployed_at END
FROM fact f GROUP BY f.account_id, f.project_id, f.external_id, f.name, f.deployed_at;

-- view: delivery_weekly
SELECT project, week_start, pull_requests_deployed, deployments, change_failure_rate, change_lead_time_p50, recovery_time_p50, previous_deployments FROM keypup.delivery_weekly WHERE week_start >= current_date - 90;
-- by hand
WITH listed AS (
  SELECT d.account_id, d.project_id, d.external_id, d.created_at AS started_at, coalesce(d.succeeded_at, d.failed_at) AS deployed_at, d.succeeded_at IS NOT NULL AS succeeded, d.commit_at
  FROM keypup.deployments d WHERE d.deleted_at IS NULL AND d.environment = 'production' AND coalesce(d.succeeded_at, d.failed_at) IS NOT NULL
  UNION ALL
  SELECT r.account_id, r.project_id, r.external_id, r.published_at, r.published_at, true, r.commit_at
  FROM keypup.releases r
  WHERE r.deleted_at IS NULL AND NOT r.is_draft AND NOT r.is_prerelease AND r.published_at IS NOT NULL
    AND NOT EXISTS (SELECT FROM keypup.deployments d WHERE d.account_id = r.account_id AND d.project_id = r.project_id AND d.deleted_at IS NULL AND d.environment = 'production')
), delivered AS (
  -- A delivery carries what was merged since the one before, and answers for the incidents until the next.
  SELECT l.*, least(l.started_at, l.commit_at + interval '1 minute') AS carries_until,
    lag(least(l.started_at, l.commit_at + interval '1 minute'), 1, '-infinity') OVER w AS carries_after, lead(l.deployed_at, 1, 'infinity') OVER w AS next_at
  FROM listed l
  WINDOW w AS (PARTITION BY l.project_id, l.succeeded ORDER BY l.started_at, l.external_id COLLATE "C")
), recent AS MATERIALIZED (
  -- From the week on before the first that is asked.
  SELECT d.*, j.default_branch FROM delivered d JOIN keypup.projects j ON j.account_id = d.account_id AND j.project_id = d.project_id
  WHERE d.deployed_at >= date_trunc('week', (current_date - 91)::timestamp) - interval '1 day' AND d.deployed_at <= now()
), merged AS MATERIALIZED (
  SELECT p.account_id, p.project_id, p.base_branch, p.merged_at, least(p.first_commit_at, p.created_at, p.ready_at, p.merged_at) AS started_at
  FROM keypup.pull_requests p WHERE p.deleted_at IS NULL AND p.merged_at > (SELECT min(d.carries_after) FROM recent d WHERE d.succeeded)
), incident AS MATERIALIZED (
  SELECT i.account_id, i.project_id, i.created_at, i.state, i.closed_at
  FROM keypup.issues i WHERE i.deleted_at IS NULL AND i.created_at >= (SELECT min(d.deployed_at) FROM recent d WHERE d.succeeded) AND 'incident' = ANY (i.labels)
), fact AS (
  SELECT d.account_id, d.project_id, d.deployed_at, d.succeeded, NULL::interval AS lead_time, NULL::text AS failed_change, NULL::interval AS recovery_time FROM recent d
  UNION ALL
  SELECT d.account_id, d.project_id, d.deployed_at, NULL, d.deployed_at - m.started_at, NULL, NULL
  FROM recent d JOIN merged m ON m.account_id = d.account_id AND m.project_id = d.project_id AND m.merged_at > d.carries_after AND m.merged_at <= d.carries_until
  WHERE d.succeeded AND m.base_branch = d.default_branch
  UNION ALL
  SELECT d.account_id, d.project_id, d.deployed_at, NULL, NULL, d.external_id, CASE WHEN i.state = 'closed' AND i.closed_at >= d.deployed_at THEN i.closed_at - d.deployed_at END
  FROM recent d JOIN incident i ON i.account_id = d.account_id AND i.project_id = d.project_id AND i.created_at >= d.deployed_at AND i.created_at < d.next_at
  WHERE d.succeeded
), counted AS (
  SELECT f.account_id, f.project_id, date_trunc('week', f.deployed_at AT TIME ZONE a.time_zone) AS week_start,
    count(f.lead_time) AS pull_requests_deployed, count(*) FILTER (WHERE f.succeeded) AS deployments, count(DISTINCT f.failed_change) AS failed_changes,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY f.lead_time) AS lead_time_p50, percentile_cont(0.5) WITHIN GROUP (ORDER BY f.recovery_time) AS recovery_time_p50
  FROM fact f JOIN keypup.accounts a ON a.account_id = f.account_id
  GROUP BY f.account_id, f.project_id, date_trunc('week', f.deployed_at AT TIME ZONE a.time_zone)
), filled AS (
  -- Every project has delivered before: the view begins with its first.
  SELECT j.account_id, j.project_id, j.name, g.week_start, coalesce(c.pull_requests_deployed, 0) AS pull_requests_deployed, coalesce(c.deployments, 0) AS deployments,
    c.failed_changes / nullif(c.deployments, 0)::double precision AS change_failure_rate, c.lead_time_p50, c.recovery_time_p50
  FROM keypup.projects j JOIN keypup.accounts a ON a.account_id = j.account_id
  CROSS JOIN generate_series(date_trunc('week', (current_date - 91)::timestamp), now() AT TIME ZONE a.time_zone, interval '7 days') AS g(week_start)
  LEFT JOIN counted c ON c.account_id = j.account_id AND c.project_id = j.project_id AND c.week_start = g.week_start
), beside AS (
  SELECT f.*, lag(f.deployments) OVER (PARTITION BY f.account_id, f.project_id ORDER BY f.week_start) AS previous_deployments FROM filled f
)
SELECT b.name, b.week_start::date, b.pull_requests_deployed, b.deployments, b.change_failure_rate, b.lead_time_p50, b.recovery_time_p50, b.previous_deployments
FROM beside b WHERE b.week_start >= current_date - 90;

-- view: delivery_monthly
SELECT project, month_start, pull_requests_deployed, deployments, change_failure_rate, change_lead_time_p50, recovery_time_p50, previous_deployments FROM keypup.delivery_monthly WHERE month_start >= current_date - 90;
-- by hand
WITH listed AS (
  SELECT d.account_id, d.project_id, d.external_id, d.created_at AS started_at, coalesce(d.succeeded_at, d.failed_at) AS deployed_at, d.succeeded_at IS NOT NULL AS succeeded, d.commit_at
  FROM keypup.deployments d WHERE d.deleted_at IS NULL AND d.environment = 'production' AND coalesce(d.succeeded_at, d.failed_at) IS NOT NULL
  UNION ALL
  SELECT r.account_id, r.project_id, r.external_id, r.published_at, r.published_at, true, r.commit_at
  FROM keypup.releases r
  WHERE r.deleted_at IS NULL AND NOT r.is_draft AND NOT r.is_prerelease AND r.published_at IS NOT NULL
    AND NOT EXISTS (SELECT FROM keypup.deployments d WHERE d.account_id = r.account_id AND d.project_id = r.project_id AND d.deleted_at IS NULL AND d.environment = 'production')
), delivered AS (
  -- A delivery carries what was merged since the one before, and answers for the incidents until the next.
  SELECT l.*, least(l.started_at, l.commit_at + interval '1 minute') AS carries_until,
    lag(least(l.started_at, l.commit_at + interval '1 minute'), 1, '-infinity') OVER w AS carries_after, lead(l.deployed_at, 1, 'infinity') OVER w AS next_at
  FROM listed l
  WINDOW w AS (PARTITION BY l.project_id, l.succeeded ORDER BY l.started_at, l.external_id COLLATE "C")
), recent AS MATERIALIZED (
  -- From the month on before the first that is asked.
  SELECT d.*, j.default_branch FROM delivered d JOIN keypup.projects j ON j.account_id = d.account_id AND j.project_id = d.project_id
  WHERE d.deployed_at >= date_trunc('month', (current_date - 91)::timestamp) - interval '1 day' AND d.deployed_at <= now()
), merged AS MATERIALIZED (
  SELECT p.account_id, p.project_id, p.base_branch, p.merged_at, least(p.first_commit_at, p.created_at, p.ready_at, p.merged_at) AS started_at
  FROM keypup.pull_requests p WHERE p.deleted_at IS NULL AND p.merged_at > (SELECT min(d.carries_after) FROM recent d WHERE d.succeeded)
), incident AS MATERIALIZED (
  SELECT i.account_id, i.project_id, i.created_at, i.state, i.closed_at
  FROM keypup.issues i WHERE i.deleted_at IS NULL AND i.created_at >= (SELECT min(d.deployed_at) FROM recent d WHERE d.succeeded) AND 'incident' = ANY (i.labels)
), fact AS (
  SELECT d.account_id, d.project_id, d.deployed_at, d.succeeded, NULL::interval AS lead_time, NULL::text AS failed_change, NULL::interval AS recovery_time FROM recent d
  UNION ALL
  SELECT d.account_id, d.project_id, d.deployed_at, NULL, d.deployed_at - m.started_at, NULL, NULL
  FROM recent d JOIN merged m ON m.account_id = d.account_id AND m.project_id = d.project_id AND m.merged_at > d.carries_after AND m.merged_at <= d.carries_until
  WHERE d.succeeded AND m.base_branch = d.default_branch
  UNION ALL
  SELECT d.account_id, d.project_id, d.deployed_at, NULL, NULL, d.external_id, CASE WHEN i.state = 'closed' AND i.closed_at >= d.deployed_at THEN i.closed_at - d.deployed_at END
  FROM recent d JOIN incident i ON i.account_id = d.account_id AND i.project_id = d.project_id AND i.created_at >= d.deployed_at AND i.created_at < d.next_at
  WHERE d.succeeded
), counted AS (
  SELECT f.account_id, f.project_id, date_trunc('month', f.deployed_at AT TIME ZONE a.time_zone) AS month_start,
    count(f.lead_time) AS pull_requests_deployed, count(*) FILTER (WHERE f.succeeded) AS deployments, count(DISTINCT f.failed_change) AS failed_changes,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY f.lead_time) AS lead_time_p50, percentile_cont(0.5) WITHIN GROUP (ORDER BY f.recovery_time) AS recovery_time_p50
  FROM fact f JOIN keypup.accounts a ON a.account_id = f.account_id
  GROUP BY f.account_id, f.project_id, date_trunc('month', f.deployed_at AT TIME ZONE a.time_zone)
), filled AS (
  -- Every project has delivered before: the view begins with its first.
  SELECT j.account_id, j.project_id, j.name, g.month_start, coalesce(c.pull_requests_deployed, 0) AS pull_requests_deployed, coalesce(c.deployments, 0) AS deployments,
    c.failed_changes / nullif(c.deployments, 0)::double precision AS change_failure_rate, c.lead_time_p50, c.recovery_time_p50
  FROM keypup.projects j JOIN keypup.accounts a ON a.account_id = j.account_id
  CROSS JOIN generate_series(date_trunc('month', (current_date - 91)::timestamp), now() AT TIME ZONE a.time_zone, interval '1 month') AS g(month_start)
  LEFT JOIN counted c ON c.account_id = j.account_id AND c.project_id = j.project_id AND c.month_start = g.month_start
), beside AS (
  SELECT f.*, lag(f.deployments) OVER (PARTITION BY f.account_id, f.project_id ORDER BY f.month_start) AS previous_deployments FROM filled f
)
SELECT b.name, b.month_start::date, b.pull_requests_deployed, b.deployments, b.change_failure_rate, b.lead_time_p50, b.recovery_time_p50, b.previous_deployments
FROM beside b WHERE b.month_start >= current_date - 90;

-- view: dora_metrics
SELECT project, weeks_counted, deployments, deployment_frequency, lead_time_for_changes, change_failure_rate, failed_deployment_recovery_time FROM keypup.dora_metrics;
-- by hand
WITH listed AS (
  SELECT d.account_id, d.project_id, d.external_id, d.created_at AS started_at, coalesce(d.succeeded_at, d.failed_at) AS deployed_at, d.succeeded_at IS NOT NULL AS succeeded, d.commit_at
  FROM keypup.deployments d WHERE d.deleted_at IS NULL AND d.environment = 'production' AND coalesce(d.succeeded_at, d.failed_at) IS NOT NULL
  UNION ALL
  SELECT r.account_id, r.project_id, r.external_id, r.published_at, r.published_at, true, r.commit_at
  FROM keypup.releases r
  WHERE r.deleted_at IS NULL AND NOT r.is_draft AND NOT r.is_prerelease AND r.published_at IS NOT NULL
    AND NOT EXISTS (SELECT FROM keypup.deployments d WHERE d.account_id = r.account_id AND d.project_id = r.project_id AND d.deleted_at IS NULL AND d.environment = 'production')
), delivered AS (
  -- A delivery carries what was merged since the one before, and answers for the incidents until the next.
  SELECT l.*, least(l.started_at, l.commit_at + interval '1 minute') AS carries_until,
    lag(least(l.started_at, l.commit_at + interval '1 minute'), 1, '-infinity') OVER w AS carries_after, lead(l.deployed_at, 1, 'infinity') OVER w AS next_at
  FROM listed l
  WINDOW w AS (PARTITION BY l.project_id, l.succeeded ORDER BY l.started_at, l.external_id COLLATE "C")
), recent AS MATERIALIZED (
  SELECT d.*, j.default_branch, a.time_zone, (now() AT TIME ZONE a.time_zone)::date - (d.deployed_at AT TIME ZONE a.time_zone)::date AS days_ago
  FROM delivered d JOIN keypup.projects j ON j.account_id = d.account_id AND j.project_id = d.project_id
  JOIN keypup.accounts a ON a.account_id = d.account_id
  WHERE d.deployed_at > now() - interval '92 days' AND d.deployed_at <= now()
    AND (now() AT TIME ZONE a.time_zone)::date - (d.deployed_at AT TIME ZONE a.time_zone)::date < 91
), merged AS MATERIALIZED (
  SELECT p.account_id, p.project_id, p.base_branch, p.merged_at, least(p.first_commit_at, p.created_at, p.ready_at, p.merged_at) AS started_at
  FROM keypup.pull_requests p WHERE p.deleted_at IS NULL AND p.merged_at > (SELECT min(d.carries_after) FROM recent d WHERE d.succeeded)
), incident AS MATERIALIZED (
  SELECT i.account_id, i.project_id, i.created_at, i.state, i.closed_at
  FROM keypup.issues i WHERE i.deleted_at IS NULL AND i.created_at >= (SELECT min(d.deployed_at) FROM recent d WHERE d.succeeded) AND 'incident' = ANY (i.labels)
), fact AS (
  SELECT d.account_id, d.project_id, d.deployed_at, d.succeeded, NULL::interval AS lead_time, NULL::text AS failed_change, NULL::interval AS recovery_time FROM recent d
  UNION ALL
  SELECT d.account_id, d.project_id, d.deployed_at, NULL, d.deployed_at - m.started_at, NULL, NULL
  FROM recent d JOIN merged m ON m.account_id = d.account_id AND m.project_id = d.project_id AND m.merged_at > d.carries_after AND m.merged_at <= d.carries_until
  WHERE d.succeeded AND m.base_branch = d.default_branch
  UNION ALL
  SELECT d.account_id, d.project_id, d.deployed_at, NULL, NULL, d.external_id, CASE WHEN i.state = 'closed' AND i.closed_at >= d.deployed_at THEN i.closed_at - d.deployed_at END
  FROM recent d JOIN incident i ON i.account_id = d.account_id AND i.project_id = d.project_id AND i.created_at >= d.deployed_at AND i.created_at < d.next_at
  WHERE d.succeeded
), counted AS (
  SELECT f.account_id, f.project_id, count(*) FILTER (WHERE f.succeeded) AS deployments, count(DISTINCT f.failed_change) AS failed_changes,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY f.lead_time) AS lead_time_p50, percentile_cont(0.5) WITHIN GROUP (ORDER BY f.recovery_time) AS recovery_time_p50
  FROM fact f GROUP BY f.account_id, f.project_id
), weekly AS (
  SELECT r.account_id, r.project_id, g.week, count(DISTINCT r.days_ago) FILTER (WHERE r.days_ago / 7 = g.week) AS days
  FROM recent r CROSS JOIN generate_series(0, 12) AS g(week)
  WHERE r.succeeded
  GROUP BY r.account_id, r.project_id, g.week
)
-- Every project that ever delivered did so 13 weeks ago, too.
SELECT j.name, 13::bigint, coalesce(c.deployments, 0), coalesce((SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY w.days) FROM weekly w WHERE w.account_id = e.account_id AND w.project_id = e.project_id), 0),
  c.lead_time_p50, c.failed_changes / nullif(c.deployments, 0)::double precision, c.recovery_time_p50
FROM (SELECT DISTINCT d.account_id, d.project_id FROM delivered d WHERE d.deployed_at <= now()) AS e
JOIN keypup.projects j ON j.account_id = e.account_id AND j.project_id = e.project_id
LEFT JOIN counted c ON c.account_id = e.account_id AND c.project_id = e.project_id;

-- view: dora_devlake_compat
SELECT project_id, number, pr_coding_time, pr_pickup_time, pr_review_time, pr_deploy_time, pr_cycle_time FROM keypup.dora_devlake_compat WHERE merged_at >= now() - interval '90 days';
-- by hand
WITH delivered AS (
  SELECT d.account_id, d.project_id, d.external_id, d.created_at AS started_at, d.succeeded_at AS deployed_at, d.commit_at
  FROM keypup.deployments d WHERE d.deleted_at IS NULL AND d.environment = 'production' AND d.succeeded_at IS NOT NULL AND d.created_at >= now() - interval '90 days'
  UNION ALL
  SELECT r.account_id, r.project_id, r.external_id, r.published_at, r.published_at, r.commit_at
  FROM keypup.releases r
  WHERE r.deleted_at IS NULL AND NOT r.is_draft AND NOT r.is_prerelease AND r.published_at >= now() - interval '90 days'
    AND NOT EXISTS (SELECT FROM keypup.deployments d WHERE d.account_id = r.account_id AND d.project_id = r.project_id AND d.deleted_at IS NULL AND d.environment = 'production')
), merged AS (
  -- No project delivered for the first time in these days: every delivery has one before it.
  SELECT DISTINCT ON (p.project_id, p.number) p.account_id, p.project_id, p.number, p.author, p.first_commit_at, p.created_at, p.merged_at, d.deployed_at
  FROM keypup.pull_requests p
  LEFT JOIN delivered d ON d.account_id = p.account_id AND d.project_id = p.project_id AND d.started_at >= p.merged_at AND d.commit_at + interval '1 minute' >= p.merged_at
  WHERE p.deleted_at IS NULL AND p.merged_at >= now() - interval '90 days'
  ORDER BY p.project_id, p.number, d.started_at, d.external_id COLLATE "C"
)
SELECT p.project_id, p.number, t.coding, t.pickup, t.review, t.deploy, coalesce(t.coding, 0) + coalesce(t.until_merge, 0) + coalesce(t.deploy, 0)
FROM merged p
CROSS JOIN LATERAL (
  SELECT least(
    (SELECT min(c.created_at) FROM keypup.comments c
     WHERE c.account_id = p.account_id AND c.project_id = p.project_id AND c.item_number = p.number AND c.item_kind IN ('pull_request', 'review') AND (p.author IS NULL OR c.author IS DISTINCT FROM p.author)),
    (SELECT min(v.submitted_at) FROM keypup.reviews v
     WHERE v.account_id = p.account_id AND v.project_id = p.project_id AND v.pull_request_number = p.number AND v.state <> 'pending' AND (p.author IS NULL OR v.author IS DISTINCT FROM p.author))) AS reviewed_at
  OFFSET 0) AS r
CROSS JOIN LATERAL (
  SELECT CASE WHEN p.first_commit_at <= p.created_at THEN ceil(extract(epoch FROM p.created_at - p.first_commit_at) / 60)::bigint END AS coding,
    CASE WHEN r.reviewed_at >= p.created_at THEN ceil(extract(epoch FROM r.reviewed_at - p.created_at) / 60)::bigint END AS pickup,
    CASE WHEN r.reviewed_at <= p.merged_at THEN ceil(extract(epoch FROM p.merged_at - r.reviewed_at) / 60)::bigint END AS review,
    CASE WHEN p.created_at <= p.merged_at THEN ceil(extract(epoch FROM p.merged_at - p.created_at) / 60)::bigint END AS until_merge,
    ceil(extract(epoch FROM p.deployed_at - p.merged_at) / 60)::bigint AS deploy) AS t;

-- view: activity_events
SELECT project, item_kind, item_number, action, occurred_at, person FROM keypup.activity_events WHERE occurred_at >= now() - interval '90 days';
-- by hand
WITH login AS (
  SELECT DISTINCT ON (i.connection_id, i.login) i.connection_id, i.login, coalesce(u.name, i.login) AS person
  FROM keypup.identities i LEFT JOIN keypup.people u ON u.account_id = i.account_id AND u.person_id = i.person_id
  ORDER BY i.connection_id, i.login, i.person_id IS NULL, i.external_id
), changed AS (
  SELECT i.account_id, i.project_id, 'issue' AS item_kind, i.number, i.created_at, i.author, CASE i.state WHEN 'open' THEN 'REOPENED' ELSE 'CLOSED' END AS last_action,
    coalesce(CASE WHEN i.state = 'closed' THEN i.closed_at END, i.updated_at) AS last_at, CASE i.state WHEN 'closed' THEN i.closed_by END AS last_actor, NULL::timestamptz AS merged_at
  FROM keypup.issues i WHERE i.deleted_at IS NULL AND i.updated_at >= now() - interval '90 days'
  UNION ALL
  SELECT p.account_id, p.project_id, 'pull_request', p.number, p.created_at, p.author, CASE p.state WHEN 'merged' THEN 'MERGED' WHEN 'closed' THEN 'CLOSED' ELSE 'REOPENED' END,
    CASE p.state WHEN 'merged' THEN coalesce(p.merged_at, p.closed_at, p.updated_at) WHEN 'closed' THEN coalesce(p.closed_at, p.updated_at) ELSE p.updated_at END, p.merged_by,
    CASE p.state WHEN 'merged' THEN coalesce(p.merged_at, p.closed_at, p.updated_at) END
  FROM keypup.pull_requests p WHERE p.deleted_at IS NULL AND p.updated_at >= now() - interval '90 days'
), listed AS (
  SELECT c.account_id, c.project_id, c.item_kind, c.number, 0 AS part, 'CREATED' AS action, c.created_at AS occurred_at, '' AS external_id, c.author AS actor, c.merged_at FROM changed c
  UNION ALL
  SELECT c.account_id, c.project_id, c.item_kind, c.number, 1, upper(e.event), e.occurred_at, e.external_id, e.actor, c.merged_at
  FROM changed c CROSS JOIN LATERAL (
    SELECT e.event, e.occurred_at, e.external_id COLLATE "C" AS external_id, e.actor FROM keypup.timeline_events e
    WHERE e.account_id = c.account_id AND e.project_id = c.project_id AND e.item_number = c.number AND e.item_kind = c.item_kind AND e.event IN ('closed', 'reopened') OFFSET 0) AS e
  UNION ALL
  SELECT c.account_id, c.project_id, c.item_kind, c.number, 2, c.last_action, c.last_at, '', c.last_actor, c.merged_at FROM changed c
), ordered AS (
  SELECT l.*, lag(l.action) OVER (PARTITION BY l.project_id, l.item_kind, l.number ORDER BY l.part, l.occurred_at, l.action, l.external_id) AS action_before FROM listed l
), happened AS (
  SELECT o.account_id, o.project_id, o.item_kind, o.number, o.action, o.occurred_at, o.actor FROM ordered o
  WHERE o.occurred_at >= now() - interval '90 days' AND CASE o.action WHEN 'CLOSED' THEN o.action_before <> 'CLOSED' WHEN 'REOPENED' THEN o.action_before = 'CLOSED' ELSE true END
    AND (o.part <> 1 OR o.merged_at IS NULL OR o.occurred_at < o.merged_at)
  UNION ALL
  SELECT e.account_id, e.project_id, e.item_kind, e.item_number,
    CASE e.event WHEN 'review_requested' THEN 'REVIEWER_ASSIGNED' WHEN 'review_request_removed' THEN 'REVIEWER_UNASSIGNED' WHEN 'assigned' THEN 'USER_ASSIGNED' ELSE 'USER_UNASSIGNED' END, e.occurred_at, e.actor
  FROM keypup.timeline_events e
  WHERE e.occurred_at >= now() - interval '90 days' AND e.event IN ('review_requested', 'review_request_removed', 'assigned', 'unassigned') AND (e.item_kind = 'pull_request' OR e.event IN ('assigned', 'unassigned'))
  UNION ALL
  SELECT r.account_id, r.project_id, 'pull_request', r.pull_request_number, 'REVIEWED', r.submitted_at, r.author FROM keypup.reviews r WHERE r.state <> 'pending' AND r.submitted_at >= now() - interval '90 days'
  UNION ALL
  SELECT c.account_id, c.project_id, CASE c.item_kind WHEN 'issue' THEN 'issue' ELSE 'pull_request' END, c.item_number, 'COMMENTED', c.created_at, c.author
  FROM keypup.comments c WHERE c.created_at >= now() - interval '90 days' AND (c.item_kind = 'issue' OR c.review_external_id IS NULL)
)
SELECT j.name, h.item_kind, h.number, h.action, h.occurred_at, coalesce(l.person, h.actor)
FROM happened h
LEFT JOIN keypup.projects j ON j.account_id = h.account_id AND j.project_id = h.project_id
LEFT JOIN login l ON l.connection_id = j.connection_id AND l.login = h.actor
-- What was done to a deleted item does not count.
WHERE CASE h.item_kind WHEN 'issue' THEN EXISTS (SELECT FROM keypup.issues i WHERE i.account_id = h.account_id AND i.project_id = h.project_id AND i.number = h.number AND i.deleted_at IS NULL)
  ELSE EXISTS (SELECT FROM keypup.pull_requests p WHERE p.account_id = h.account_id AND p.project_id = h.project_id AND p.number = h.number AND p.deleted_at IS NULL) END;

-- view: pull_request_verdicts
SELECT project_id, number, review_state, review_approved_at, approver_usernames FROM keypup.pull_request_verdicts WHERE merged_at >= now() - interval '90 days';
-- by hand
WITH pull_request AS MATERIALIZED (
  SELECT p.account_id, p.project_id, p.number, p.author, p.merged_at FROM keypup.pull_requests p WHERE p.deleted_at IS NULL AND p.merged_at >= now() - interval '90 days'
), said AS (
  SELECT p.account_id, p.project_id, p.number, coalesce(l.person_id::text, r.author, '') AS who, r.author AS login, r.state, r.state IN ('approved', 'changes_requested', 'dismissed') AS is_verdict,
    r.submitted_at, r.external_id COLLATE "C" AS external_id
  FROM pull_request p
  JOIN keypup.projects j ON j.account_id = p.account_id AND j.project_id = p.project_id
  JOIN keypup.reviews r ON r.account_id = p.account_id AND r.project_id = p.project_id AND r.pull_request_number = p.number
  LEFT JOIN LATERAL (
    SELECT i.person_id FROM keypup.identities i WHERE i.account_id = j.account_id AND i.connection_id = j.connection_id AND i.login = r.author ORDER BY i.person_id IS NULL, i.external_id LIMIT 1) AS l ON true
  WHERE NOT r.author_is_bot AND r.author IS DISTINCT FROM p.author AND NOT r.is_by_author AND r.state <> 'pending' AND r.submitted_at IS NOT NULL AND r.submitted_at <= p.merged_at
), followed AS (
  SELECT s.*, s.is_verdict AND lead(s.state) OVER w IS NULL AS is_last, CASE WHEN s.is_verdict THEN lag(s.state) OVER w END AS state_before
  FROM said s WINDOW w AS (PARTITION BY s.project_id, s.number, s.who, s.is_verdict ORDER BY s.submitted_at, s.external_id)
), stood AS (
  SELECT f.*, sum((f.state = 'changes_requested')::integer - coalesce((f.state_before = 'changes_requested')::integer, 0)) FILTER (WHERE f.is_verdict) OVER w = 0
    AND sum((f.state = 'approved')::integer - coalesce((f.state_before = 'approved')::integer, 0)) FILTER (WHERE f.is_verdict) OVER w > 0 AS is_approved
  FROM followed f WINDOW w AS (PARTITION BY f.project_id, f.number ORDER BY f.submitted_at, f.external_id)
)
SELECT g.project_id, g.number, CASE WHEN g.requested_at >= coalesce(g.approved_at, '-infinity') THEN 'CHANGES_REQUESTED' WHEN g.approved_at IS NOT NULL THEN 'APPROVED' ELSE 'PENDING' END,
  coalesce(g.first_approved_at, CASE WHEN g.approved_at > g.requested_at THEN g.approved_at END), g.approvers
FROM (
  SELECT s.project_id, s.number, max(s.submitted_at) FILTER (WHERE s.is_last AND s.state = 'changes_requested') AS requested_at, max(s.submitted_at) FILTER (WHERE s.is_last AND s.state = 'approved') AS approved_at,
    min(s.submitted_at) FILTER (WHERE s.is_approved) AS first_approved_at, coalesce(array_agg(s.login ORDER BY s.login) FILTER (WHERE s.is_last AND s.state = 'approved' AND s.login IS NOT NULL), '{}') AS approvers
  FROM stood s GROUP BY s.project_id, s.number
) AS g;

-- view: pull_request_next_steps
SELECT project, number, review_state, recommended_action, recommended_actor_usernames FROM keypup.pull_request_next_steps;
-- by hand
WITH login AS (
  SELECT DISTINCT ON (i.connection_id, i.login) i.connection_id, i.login, i.person_id, i.kind = 'bot' AS is_bot FROM keypup.identities i ORDER BY i.connection_id, i.login, i.person_id IS NULL, i.external_id
), pull_request AS (
  SELECT p.* FROM keypup.pull_requests p WHERE p.state = 'open' AND p.deleted_at IS NULL
), said AS (
  SELECT p.account_id, p.project_id, p.number, coalesce(l.person_id::text, r.author, '') AS who, r.author AS login, r.state, r.state IN ('approved', 'changes_requested', 'dismissed') AS is_verdict,
    r.submitted_at, r.external_id COLLATE "C" AS external_id
  FROM pull_request p
  JOIN keypup.projects j ON j.account_id = p.account_id AND j.project_id = p.project_id
  JOIN keypup.reviews r ON r.account_id = p.account_id AND r.project_id = p.project_id AND r.pull_request_number = p.number
  LEFT JOIN LATERAL (
    SELECT i.person_id FROM keypup.identities i WHERE i.account_id = j.account_id AND i.connection_id = j.connection_id AND i.login = r.author ORDER BY i.person_id IS NULL, i.external_id LIMIT 1) AS l ON true
  WHERE NOT r.author_is_bot AND r.author IS DISTINCT FROM p.author AND NOT r.is_by_author AND r.state <> 'pending' AND r.submitted_at IS NOT NULL AND (p.merged_at IS NULL OR r.submitted_at <= p.merged_at)
), followed AS (
  SELECT s.*, s.is_verdict AND lead(s.state) OVER w IS NULL AS is_last, CASE WHEN s.is_verdict THEN lag(s.state) OVER w END AS state_before
  FROM said s WINDOW w AS (PARTITION BY s.project_id, s.number, s.who, s.is_verdict ORDER BY s.submitted_at, s.external_id)
), verdict AS MATERIALIZED (
  SELECT f.project_id, f.number,
    CASE WHEN bool_or(f.is_last AND f.state = 'changes_requested') THEN 'CHANGES_REQUESTED' WHEN bool_or(f.is_last AND f.state = 'approved') THEN 'APPROVED' ELSE 'PENDING' END AS review_state,
    coalesce(array_agg(f.login ORDER BY f.login) FILTER (WHERE f.is_last AND f.state = 'approved' AND f.login IS NOT NULL), '{}') AS approvers,
    coalesce(array_agg(DISTINCT f.login) FILTER (WHERE f.login IS NOT NULL AND NOT f.has_verdict), '{}') AS undecided
  FROM (SELECT f.*, bool_or(f.is_last AND f.state <> 'dismissed') OVER (PARTITION BY f.project_id, f.number, f.who) AS has_verdict FROM followed f) AS f GROUP BY f.project_id, f.number
), merger AS MATERIALIZED (
  SELECT m.project_id, array_agg(m.login ORDER BY m.merges DESC, m.login) AS logins
  FROM (SELECT p.project_id, p.merged_by AS login, count(*) AS merges
        FROM keypup.pull_requests p JOIN keypup.projects j ON j.account_id = p.account_id AND j.project_id = p.project_id
        LEFT JOIN login l ON l.connection_id = j.connection_id AND l.login = p.merged_by
        WHERE p.merged_at >= now() - interval '90 days' AND p.merged_by IS NOT NULL AND l.is_bot IS NOT TRUE GROUP BY p.project_id, p.merged_by) AS m
  GROUP BY m.project_id
)
SELECT j.name, p.number, s.review_state, a.action, CASE a.action
  WHEN 'REVIEW' THEN CASE WHEN cardinality(s.asked) > 0 THEN s.asked ELSE coalesce(v.undecided, '{}') END
  WHEN 'MERGE' THEN CASE WHEN p.assignees <> '{}' THEN p.assignees WHEN v.approvers && m.logins THEN ARRAY(SELECT x FROM unnest(v.approvers) AS x WHERE x = ANY (m.logins) ORDER BY 1)
    WHEN p.author = ANY (m.logins) THEN ARRAY[p.author] ELSE coalesce(m.logins[1:3], '{}') END
  WHEN 'NONE' THEN '{}' ELSE CASE WHEN p.author IS NOT NULL AND NOT p.author_is_bot THEN ARRAY[p.author] ELSE p.assignees END END
FROM pull_request p
JOIN keypup.projects j ON j.account_id = p.account_id AND j.project_id = p.project_id
LEFT JOIN verdict v ON v.project_id = p.project_id AND v.number = p.number
LEFT JOIN merger m ON m.project_id = p.project_id
CROSS JOIN LATERAL (SELECT coalesce(v.review_state, CASE WHEN p.requested_reviewers <> '{}' THEN 'PENDING' ELSE 'NONE' END) AS review_state, array_remove(p.requested_reviewers, p.author) AS asked) AS s
CROSS JOIN LATERAL (SELECT CASE WHEN p.is_draft THEN 'NONE' WHEN s.review_state = 'PENDING' OR s.review_state = 'CHANGES_REQUESTED' AND s.asked <> '{}' THEN 'REVIEW'
  WHEN s.review_state = 'CHANGES_REQUESTED' THEN 'FIX_CODE' WHEN s.review_state = 'APPROVED' THEN 'MERGE'
  WHEN greatest(p.created_at, p.updated_at) <= now() - interval '72 hours' THEN 'ASSIGN_REVIEWER' ELSE 'NONE' END AS action) AS a;

-- view: issue_next_steps
SELECT project, number, recommended_action, recommended_actor_usernames FROM keypup.issue_next_steps;
-- by hand
SELECT j.name, i.number, s.action, CASE WHEN s.action = 'CLOSE' AND cardinality(i.assignees) = 0 AND i.author IS NOT NULL AND NOT i.author_is_bot THEN ARRAY[i.author]
  WHEN s.action = 'WAIT_FOR_IMPLEMENTATION' THEN '{}' ELSE i.assignees END
FROM keypup.issues i
JOIN keypup.projects j ON j.account_id = i.account_id AND j.project_id = i.project_id
LEFT JOIN (
  SELECT p.account_id, p.project_id, c.number, bool_or(p.state = 'open') AS is_worked_on, max(p.merged_at) AS merged_at
  FROM keypup.pull_requests p CROSS JOIN LATERAL unnest(p.closes_issues) AS c(number) WHERE p.state <> 'closed' AND p.deleted_at IS NULL GROUP BY p.account_id, p.project_id, c.number
) AS r ON r.account_id = i.account_id AND r.project_id = i.project_id AND r.number = i.number
LEFT JOIN LATERAL (
  SELECT max(e.occurred_at) AS reopened_at FROM keypup.timeline_events e
  WHERE e.account_id = i.account_id AND e.project_id = i.project_id AND e.item_number = i.number AND e.item_kind = 'issue' AND e.event = 'reopened') AS e ON true
CROSS JOIN LATERAL (SELECT CASE WHEN r.is_worked_on THEN 'WAIT_FOR_IMPLEMENTATION' WHEN r.merged_at > coalesce(e.reopened_at, '-infinity') THEN 'CLOSE' ELSE 'IMPLEMENT' END AS action) AS s
WHERE i.state = 'open' AND i.deleted_at IS NULL;

-- view: pull_request_fields
SELECT project, number, state, review_state, due_on, assigned_at, recommended_action, resolved_issue_numbers FROM keypup.pull_request_fields WHERE created_at >= now() - interval '90 days';
-- by hand
WITH pull_request AS MATERIALIZED (
  SELECT p.* FROM keypup.pull_requests p WHERE p.deleted_at IS NULL AND p.created_at >= now() - interval '90 days'
), said AS (
  SELECT p.account_id, p.project_id, p.number, p.merged_at, coalesce(l.person_id::text, r.author, '') AS who, r.author AS login, r.state, r.state IN ('approved', 'changes_requested', 'dismissed') AS is_verdict,
    r.submitted_at, r.external_id COLLATE "C" AS external_id
  FROM pull_request p
  JOIN keypup.projects j ON j.account_id = p.account_id AND j.project_id = p.project_id
  JOIN keypup.reviews r ON r.account_id = p.account_id AND r.project_id = p.project_id AND r.pull_request_number = p.number
  LEFT JOIN LATERAL (
    SELECT i.person_id FROM keypup.identities i WHERE i.account_id = j.account_id AND i.connection_id = j.connection_id AND i.login = r.author ORDER BY i.person_id IS NULL, i.external_id LIMIT 1) AS l ON true
  WHERE NOT r.author_is_bot AND r.author IS DISTINCT FROM p.author AND NOT r.is_by_author AND r.state <> 'pending' AND r.submitted_at IS NOT NULL AND (p.merged_at IS NULL OR r.submitted_at <= p.merged_at)
), followed AS (
  SELECT s.*, s.is_verdict AND lead(s.state) OVER w IS NULL AS is_last, CASE WHEN s.is_verdict THEN lag(s.state) OVER w END AS state_before
  FROM said s WINDOW w AS (PARTITION BY s.project_id, s.number, s.who, s.is_verdict ORDER BY s.submitted_at, s.external_id)
), verdict AS MATERIALIZED (
  SELECT f.project_id, f.number,
    CASE WHEN bool_or(f.is_last AND f.state = 'changes_requested') AND NOT coalesce(f.merged_at IS NOT NULL AND max(f.submitted_at) FILTER (WHERE f.is_last AND f.state = 'approved')
      > max(f.submitted_at) FILTER (WHERE f.is_last AND f.state = 'changes_requested'), false) THEN 'CHANGES_REQUESTED' WHEN bool_or(f.is_last AND f.state = 'approved') THEN 'APPROVED' ELSE 'PENDING' END AS review_state
  FROM followed f GROUP BY f.project_id, f.number, f.merged_at
)
SELECT j.name, p.number, CASE WHEN p.state = 'open' AND p.is_draft THEN 'draft' ELSE p.state END, s.review_state, m.due_on, e.assigned_at,
  CASE WHEN p.state <> 'open' OR p.is_draft THEN 'NONE' WHEN s.review_state = 'PENDING' OR s.review_state = 'CHANGES_REQUESTED' AND array_remove(p.requested_reviewers, p.author) <> '{}' THEN 'REVIEW'
    WHEN s.review_state = 'CHANGES_REQUESTED' THEN 'FIX_CODE' WHEN s.review_state = 'APPROVED' THEN 'MERGE'
    WHEN greatest(p.created_at, p.updated_at) <= now() - interval '72 hours' THEN 'ASSIGN_REVIEWER' ELSE 'NONE' END,
  CASE WHEN p.state = 'closed' THEN '{}' ELSE ARRAY(SELECT DISTINCT i.number FROM unnest(p.closes_issues) AS c(number)
    CROSS JOIN LATERAL (SELECT i.number FROM keypup.issues i WHERE i.account_id = p.account_id AND i.project_id = p.project_id AND i.number = c.number AND i.deleted_at IS NULL LIMIT 1) AS i ORDER BY 1) END
FROM pull_request p
JOIN keypup.projects j ON j.account_id = p.account_id AND j.project_id = p.project_id
LEFT JOIN verdict v ON v.project_id = p.project_id AND v.number = p.number
LEFT JOIN LATERAL (SELECT min(m.due_on) AS due_on FROM keypup.milestones m WHERE m.account_id = p.account_id AND m.project_id = p.project_id AND m.title = p.milestone) AS m ON true
LEFT JOIN LATERAL (
  SELECT min(e.occurred_at) AS assigned_at FROM keypup.timeline_events e
  WHERE e.account_id = p.account_id AND e.project_id = p.project_id AND e.item_number = p.number AND e.item_kind = 'pull_request' AND e.event = 'assigned') AS e ON true
CROSS JOIN LATERAL (SELECT coalesce(v.review_state, CASE WHEN p.requested_reviewers <> '{}' THEN 'PENDING' ELSE 'NONE' END) AS review_state) AS s;

-- view: issue_status_spans
SELECT project_id, number, place, name, start_at, end_at FROM keypup.issue_status_spans WHERE start_at >= now() - interval '90 days';
-- by hand
WITH recent AS (
  SELECT * FROM keypup.issues i WHERE i.deleted_at IS NULL AND i.updated_at >= now() - interval '90 days'
), happened AS (
  SELECT i.account_id, i.project_id, i.number, h.part, h.event, h.occurred_at
  FROM recent i CROSS JOIN LATERAL (VALUES (0, 'opened', i.created_at),
    (2, CASE i.state WHEN 'closed' THEN 'closed' ELSE 'reopened' END, CASE i.state WHEN 'closed' THEN coalesce(i.closed_at, i.updated_at) ELSE i.updated_at END)) AS h(part, event, occurred_at)
  UNION ALL
  SELECT i.account_id, i.project_id, i.number, 1, e.event, e.occurred_at
  FROM recent i CROSS JOIN LATERAL (
    SELECT e.event, e.occurred_at FROM keypup.timeline_events e
    WHERE e.account_id = i.account_id AND e.project_id = i.project_id AND e.item_number = i.number AND e.item_kind = 'issue' AND e.event IN ('closed', 'reopened') OFFSET 0) AS e
), ordered AS (
  SELECT h.account_id, h.project_id, h.number, h.event, lag(h.event) OVER w AS event_before, row_number() OVER w AS line, max(h.occurred_at) OVER w AS occurred_at
  FROM happened h WINDOW w AS (PARTITION BY h.account_id, h.project_id, h.number ORDER BY h.part, h.occurred_at, h.event)
), span AS (
  SELECT o.project_id, o.number, row_number() OVER w AS place, CASE o.event WHEN 'closed' THEN 'closed' ELSE 'open' END AS name, o.occurred_at AS start_at, lead(o.occurred_at) OVER w AS end_at
  FROM ordered o WHERE o.event = 'opened' OR (o.event = 'closed') = (o.event_before <> 'closed')
  WINDOW w AS (PARTITION BY o.account_id, o.project_id, o.number ORDER BY o.line)
)
SELECT s.project_id, s.number, s.place, s.name, s.start_at, s.end_at FROM span s WHERE s.start_at >= now() - interval '90 days';

-- view: issue_fields
SELECT project, number, state, due_on, assigned_at, recommended_action, resolving_pull_request_numbers, workflow_timeline FROM keypup.issue_fields WHERE created_at >= now() - interval '90 days';
-- by hand
WITH issue AS (
  SELECT i.* FROM keypup.issues i WHERE i.deleted_at IS NULL AND i.created_at >= now() - interval '90 days'
), resolving AS (
  SELECT p.account_id, p.project_id, c.number, array_agg(p.number ORDER BY p.number) AS numbers, bool_or(p.state = 'open') AS is_worked_on, max(p.merged_at) AS merged_at
  FROM keypup.pull_requests p CROSS JOIN LATERAL (SELECT DISTINCT unnest(p.closes_issues)) AS c(number)
  WHERE p.deleted_at IS NULL AND p.state <> 'closed' GROUP BY p.account_id, p.project_id, c.number
)
SELECT j.name, i.number, i.state, m.due_on, e.assigned_at,
  CASE WHEN i.state = 'closed' THEN 'NONE' WHEN r.is_worked_on THEN 'WAIT_FOR_IMPLEMENTATION' WHEN r.merged_at > coalesce(e.reopened_at, '-infinity') THEN 'CLOSE' ELSE 'IMPLEMENT' END,
  coalesce(r.numbers, '{}'), t.timeline
FROM issue i
JOIN keypup.projects j ON j.account_id = i.account_id AND j.project_id = i.project_id
LEFT JOIN resolving r ON r.account_id = i.account_id AND r.project_id = i.project_id AND r.number = i.number
LEFT JOIN LATERAL (SELECT min(m.due_on) AS due_on FROM keypup.milestones m WHERE m.account_id = i.account_id AND m.project_id = i.project_id AND m.title = i.milestone) AS m ON true
LEFT JOIN LATERAL (
  SELECT min(e.occurred_at) FILTER (WHERE e.event = 'assigned') AS assigned_at, max(e.occurred_at) FILTER (WHERE e.event = 'reopened') AS reopened_at FROM keypup.timeline_events e
  WHERE e.account_id = i.account_id AND e.project_id = i.project_id AND e.item_number = i.number AND e.item_kind = 'issue') AS e ON true
CROSS JOIN LATERAL (
  SELECT jsonb_agg(jsonb_build_object('name', s.name, 'start_at', s.start_at, 'end_at', s.end_at) ORDER BY s.place) AS timeline
  FROM (
    SELECT CASE o.event WHEN 'closed' THEN 'closed' ELSE 'open' END AS name, o.place, o.occurred_at AS start_at, lead(o.occurred_at) OVER (ORDER BY o.place) AS end_at
    FROM (
      SELECT h.event, row_number() OVER w AS place, lag(h.event) OVER w AS event_before, max(h.occurred_at) OVER w AS occurred_at
      FROM (
        VALUES (0, 'opened', i.created_at),
          (2, CASE i.state WHEN 'closed' THEN 'closed' ELSE 'reopened' END, CASE i.state WHEN 'closed' THEN coalesce(i.closed_at, i.updated_at) ELSE i.updated_at END)
        UNION ALL
        SELECT 1, e.event, e.occurred_at FROM keypup.timeline_events e
        WHERE e.account_id = i.account_id AND e.project_id = i.project_id AND e.item_number = i.number AND e.item_kind = 'issue' AND e.event IN ('closed', 'reopened')
      ) AS h(part, event, occurred_at) WINDOW w AS (ORDER BY h.part, h.occurred_at, h.event)
    ) AS o WHERE o.event = 'opened' OR (o.event = 'closed') = (o.event_before <> 'closed')
  ) AS s) AS t;

-- view: issue_labels
SELECT project, label, number, lead_time, times_reopened FROM keypup.issue_labels WHERE closed_at >= now() - interval '90 days';
-- by hand
SELECT p.name, l.label, i.number, CASE WHEN i.state = 'closed' AND i.closed_at >= i.created_at THEN i.closed_at - i.created_at END, b.times_reopened
FROM keypup.issues i
JOIN keypup.projects p ON p.account_id = i.account_id AND p.project_id = i.project_id
CROSS JOIN LATERAL unnest(CASE WHEN i.labels = '{}' THEN ARRAY[NULL] ELSE i.labels END) AS l(label)
LEFT JOIN LATERAL (
  SELECT count(*) FILTER (WHERE x.event = 'reopened' AND x.event_before = 'closed') AS times_reopened
  FROM (SELECT e.event, lag(e.event) OVER (ORDER BY e.occurred_at, e.event) AS event_before FROM keypup.timeline_events e
        WHERE e.account_id = i.account_id AND e.project_id = i.project_id AND e.item_number = i.number AND e.item_kind = 'issue' AND e.event IN ('closed', 'reopened')) AS x) AS b ON true
WHERE i.deleted_at IS NULL AND i.closed_at >= now() - interval '90 days';

-- view: issue_throughput_by_label
SELECT project, label, week_start, issues_opened, issues_closed, issues_reopened, lead_time_p50, lead_time_p90 FROM keypup.issue_throughput_by_label WHERE week_start >= current_date - 90;
-- by hand
WITH recent AS (
  SELECT * FROM keypup.issues i WHERE i.deleted_at IS NULL AND i.updated_at >= now() - interval '100 days'
), happened AS (
  SELECT i.account_id, i.project_id, i.number, i.labels, h.part, h.event, h.occurred_at
  FROM recent i CROSS JOIN LATERAL (VALUES (0, 'opened', i.created_at),
    (2, CASE i.state WHEN 'closed' THEN 'closed' ELSE 'reopened' END, CASE i.state WHEN 'closed' THEN coalesce(i.closed_at, i.updated_at) ELSE i.updated_at END)) AS h(part, event, occurred_at)
  UNION ALL
  SELECT i.account_id, i.project_id, i.number, i.labels, 1, e.event, e.occurred_at
  FROM recent i CROSS JOIN LATERAL (
    SELECT e.event, e.occurred_at FROM keypup.timeline_events e
    WHERE e.account_id = i.account_id AND e.project_id = i.project_id AND e.item_number = i.number AND e.item_kind = 'issue' AND e.event IN ('closed', 'reopened') OFFSET 0) AS e
), ordered AS (
  SELECT h.account_id, h.project_id, h.number, h.labels, h.event, lag(h.event) OVER w AS event_before, max(h.occurred_at) OVER w AS occurred_at
  FROM happened h WINDOW w AS (PARTITION BY h.account_id, h.project_id, h.number ORDER BY h.part, h.occurred_at, h.event)
), happening AS (
  SELECT o.account_id, o.project_id, o.labels, o.event, o.occurred_at, NULL::interval AS lead_time FROM ordered o WHERE o.event = 'opened' OR (o.event = 'closed') = (o.event_before <> 'closed')
  UNION ALL
  SELECT i.account_id, i.project_id, i.labels, 'led', i.closed_at, i.closed_at - i.created_at FROM recent i WHERE i.state = 'closed' AND i.closed_at >= i.created_at
), counted AS (
  SELECT h.account_id, h.project_id, l.label AS value, date_trunc('week', h.occurred_at AT TIME ZONE a.time_zone) AS week_start, count(*) FILTER (WHERE h.event = 'opened') AS opened, count(*) FILTER (WHERE h.event = 'closed') AS closed,
    count(*) FILTER (WHERE h.event = 'reopened') AS reopened, percentile_cont(0.5) WITHIN GROUP (ORDER BY h.lead_time) AS p50, percentile_cont(0.9) WITHIN GROUP (ORDER BY h.lead_time) AS p90
  FROM happening h JOIN keypup.accounts a ON a.account_id = h.account_id
  CROSS JOIN LATERAL unnest(CASE WHEN h.labels <> '{}' THEN h.labels ELSE ARRAY[NULL] END) AS l(label)
  WHERE h.occurred_at <= now()
  GROUP BY h.account_id, h.project_id, l.label, date_trunc('week', h.occurred_at AT TIME ZONE a.time_zone)
)
SELECT j.name, g.value, g.week_start::date, coalesce(c.opened, 0), coalesce(c.closed, 0), coalesce(c.reopened, 0), c.p50, c.p90
FROM (
  SELECT f.account_id, f.project_id, f.value, w.week_start
  FROM (
    SELECT i.account_id, i.project_id, l.label AS value, a.time_zone, min(i.created_at) AS created_at
    FROM keypup.issues i JOIN keypup.accounts a ON a.account_id = i.account_id CROSS JOIN LATERAL unnest(CASE WHEN i.labels <> '{}' THEN i.labels ELSE ARRAY[NULL] END) AS l(label)
    WHERE i.deleted_at IS NULL AND i.created_at <= now() GROUP BY i.account_id, i.project_id, l.label, a.time_zone) AS f
  CROSS JOIN LATERAL generate_series(greatest(date_trunc('week', f.created_at AT TIME ZONE f.time_zone), date_trunc('week', (current_date - 84)::timestamp)), now() AT TIME ZONE f.time_zone, interval '7 days') AS w(week_start)
) AS g
JOIN keypup.projects j ON j.account_id = g.account_id AND j.project_id = g.project_id
LEFT JOIN counted c ON c.account_id = g.account_id AND c.project_id = g.project_id AND c.value IS NOT DISTINCT FROM g.value AND c.week_start = g.week_start
WHERE g.week_start >= current_date - 90;

-- view: issue_throughput_by_type
SELECT project, type, week_start, issues_opened, issues_closed, issues_reopened, lead_time_p50, lead_time_p90 FROM keypup.issue_throughput_by_type WHERE week_start >= current_date - 90;
-- by hand
WITH recent AS (
  SELECT * FROM keypup.issues i WHERE i.deleted_at IS NULL AND i.updated_at >= now() - interval '100 days'
), happened AS (
  SELECT i.account_id, i.project_id, i.number, i.type, h.part, h.event, h.occurred_at
  FROM recent i CROSS JOIN LATERAL (VALUES (0, 'opened', i.created_at),
    (2, CASE i.state WHEN 'closed' THEN 'closed' ELSE 'reopened' END, CASE i.state WHEN 'closed' THEN coalesce(i.closed_at, i.updated_at) ELSE i.updated_at END)) AS h(part, event, occurred_at)
  UNION ALL
  SELECT i.account_id, i.project_id, i.number, i.type, 1, e.event, e.occurred_at
  FROM recent i CROSS JOIN LATERAL (
    SELECT e.event, e.occurred_at FROM keypup.timeline_events e
    WHERE e.account_id = i.account_id AND e.project_id = i.project_id AND e.item_number = i.number AND e.item_kind = 'issue' AND e.event IN ('closed', 'reopened') OFFSET 0) AS e
), ordered AS (
  SELECT h.account_id, h.project_id, h.number, h.type, h.event, lag(h.event) OVER w AS event_before, max(h.occurred_at) OVER w AS occurred_at
  FROM happened h WINDOW w AS (PARTITION BY h.account_id, h.project_id, h.number ORDER BY h.part, h.occurred_at, h.event)
), happening AS (
  SELECT o.account_id, o.project_id, o.type, o.event, o.occurred_at, NULL::interval AS lead_time FROM ordered o WHERE o.event = 'opened' OR (o.event = 'closed') = (o.event_before <> 'closed')
  UNION ALL
  SELECT i.account_id, i.project_id, i.type, 'led', i.closed_at, i.closed_at - i.created_at FROM recent i WHERE i.state = 'closed' AND i.closed_at >= i.created_at
), counted AS (
  SELECT h.account_id, h.project_id, h.type AS value, date_trunc('week', h.occurred_at AT TIME ZONE a.time_zone) AS week_start, count(*) FILTER (WHERE h.event = 'opened') AS opened, count(*) FILTER (WHERE h.event = 'closed') AS closed,
    count(*) FILTER (WHERE h.event = 'reopened') AS reopened, percentile_cont(0.5) WITHIN GROUP (ORDER BY h.lead_time) AS p50, percentile_cont(0.9) WITHIN GROUP (ORDER BY h.lead_time) AS p90
  FROM happening h JOIN keypup.accounts a ON a.account_id = h.account_id
  WHERE h.occurred_at <= now()
  GROUP BY h.account_id, h.project_id, h.type, date_trunc('week', h.occurred_at AT TIME ZONE a.time_zone)
)
SELECT j.name, g.value, g.week_start::date, coalesce(c.opened, 0), coalesce(c.closed, 0), coalesce(c.reopened, 0), c.p50, c.p90
FROM (
  SELECT f.account_id, f.project_id, f.value, w.week_start
  FROM (
    SELECT i.account_id, i.project_id, i.type AS value, a.time_zone, min(i.created_at) AS created_at
    FROM keypup.issues i JOIN keypup.accounts a ON a.account_id = i.account_id
    WHERE i.deleted_at IS NULL AND i.created_at <= now() GROUP BY i.account_id, i.project_id, i.type, a.time_zone) AS f
  CROSS JOIN LATERAL generate_series(greatest(date_trunc('week', f.created_at AT TIME ZONE f.time_zone), date_trunc('week', (current_date - 84)::timestamp)), now() AT TIME ZONE f.time_zone, interval '7 days') AS w(week_start)
) AS g
JOIN keypup.projects j ON j.account_id = g.account_id AND j.project_id = g.project_id
LEFT JOIN counted c ON c.account_id = g.account_id AND c.project_id = g.project_id AND c.value IS NOT DISTINCT FROM g.value AND c.week_start = g.week_start
WHERE g.week_start >= current_date - 90;

-- view: issue_reopen_rate
SELECT project, period, period_start, issues_closed, issues_reopened FROM keypup.issue_reopen_rate WHERE period_start >= current_date - 90;
-- by hand
WITH recent AS (
  SELECT * FROM keypup.issues i WHERE i.deleted_at IS NULL AND i.updated_at >= now() - interval '100 days'
), happened AS (
  SELECT i.account_id, i.project_id, i.number, h.part, h.event, h.occurred_at
  FROM recent i CROSS JOIN LATERAL (VALUES (0, 'opened', i.created_at),
    (2, CASE i.state WHEN 'closed' THEN 'closed' ELSE 'reopened' END, CASE i.state WHEN 'closed' THEN coalesce(i.closed_at, i.updated_at) ELSE i.updated_at END)) AS h(part, event, occurred_at)
  UNION ALL
  SELECT i.account_id, i.project_id, i.number, 1, e.event, e.occurred_at
  FROM recent i CROSS JOIN LATERAL (
    SELECT e.event, e.occurred_at FROM keypup.timeline_events e
    WHERE e.account_id = i.account_id AND e.project_id = i.project_id AND e.item_number = i.number AND e.item_kind = 'issue' AND e.event IN ('closed', 'reopened') OFFSET 0) AS e
), ordered AS (
  SELECT h.account_id, h.project_id, h.number, h.event, lag(h.event) OVER w AS event_before, max(h.occurred_at) OVER w AS occurred_at
  FROM happened h WINDOW w AS (PARTITION BY h.account_id, h.project_id, h.number ORDER BY h.part, h.occurred_at, h.event)
), moved AS (
  SELECT o.project_id, k.period, date_trunc(k.period, o.occurred_at AT TIME ZONE a.time_zone)::date AS period_start,
    count(*) FILTER (WHERE o.event = 'closed') AS closed, count(*) FILTER (WHERE o.event = 'reopened') AS reopened
  FROM ordered o JOIN keypup.accounts a ON a.account_id = o.account_id CROSS JOIN (VALUES ('week'), ('month')) AS k(period)
  WHERE (o.event = 'closed') = (o.event_before <> 'closed') AND o.occurred_at <= now()
  GROUP BY o.project_id, k.period, date_trunc(k.period, o.occurred_at AT TIME ZONE a.time_zone)::date
)
SELECT j.name, d.period, d.period_start, coalesce(m.closed, 0), coalesce(m.reopened, 0)
FROM keypup.projects j
JOIN keypup.accounts a ON a.account_id = j.account_id
CROSS JOIN LATERAL (
  SELECT k.period, generate_series(date_trunc(k.period, (current_date - 90)::timestamp), now() AT TIME ZONE a.time_zone, ('1 ' || k.period)::interval)::date AS period_start
  FROM (VALUES ('week'), ('month')) AS k(period)) AS d
LEFT JOIN moved m ON m.project_id = j.project_id AND m.period = d.period AND m.period_start = d.period_start
WHERE d.period_start >= current_date - 90;

-- view: issue_ageing
SELECT project, open_issues, stale_issues, age_p50, age_p90, oldest_age FROM keypup.issue_ageing;
-- by hand
SELECT j.name, count(*), count(*) FILTER (WHERE i.updated_at < now() - interval '30 days'), percentile_cont(0.5) WITHIN GROUP (ORDER BY a.age), percentile_cont(0.9) WITHIN GROUP (ORDER BY a.age), max(a.age)
FROM keypup.issues i
JOIN keypup.projects j ON j.account_id = i.account_id AND j.project_id = i.project_id
CROSS JOIN LATERAL (SELECT greatest(now() - i.created_at, interval '0') AS age) AS a
WHERE i.deleted_at IS NULL AND i.state = 'open' GROUP BY j.account_id, j.project_id, j.name;

-- view: moving_percentiles
SELECT project, metric, week_start, samples, p50, p75, p90 FROM keypup.moving_percentiles WHERE week_start >= current_date - 90;
-- by hand
WITH sample AS MATERIALIZED (
  -- Four weeks before the first week that is asked.
  SELECT p.account_id, p.project_id, 'cycle_time' AS metric, p.merged_at AS measured_at, p.merged_at - least(p.first_commit_at, p.created_at, p.ready_at, p.merged_at) AS span
  FROM keypup.pull_requests p WHERE p.deleted_at IS NULL AND p.merged_at >= now() - interval '120 days' AND p.merged_at <= now()
  UNION ALL
  SELECT r.account_id, r.project_id, 'time_to_first_review', f.first_review_at, f.first_review_at - r.created_at
  FROM (SELECT DISTINCT v.account_id, v.project_id, v.pull_request_number AS number FROM keypup.reviews v WHERE v.submitted_at >= now() - interval '120 days') AS n
  JOIN keypup.pull_requests r ON r.account_id = n.account_id AND r.project_id = n.project_id AND r.number = n.number
  CROSS JOIN LATERAL (
    SELECT min(v.submitted_at) AS first_review_at FROM keypup.reviews v
    WHERE v.account_id = r.account_id AND v.project_id = r.project_id AND v.pull_request_number = r.number AND NOT v.author_is_bot AND v.author IS DISTINCT FROM r.author AND NOT v.is_by_author
      AND v.state <> 'pending' AND v.submitted_at >= r.ready_at AND (r.merged_at IS NULL OR v.submitted_at <= r.merged_at)) AS f
  WHERE r.deleted_at IS NULL AND f.first_review_at >= r.created_at AND f.first_review_at <= now()
  UNION ALL
  SELECT i.account_id, i.project_id, 'lead_time', i.closed_at, i.closed_at - i.created_at
  FROM keypup.issues i WHERE i.deleted_at IS NULL AND i.state = 'closed' AND i.closed_at >= now() - interval '120 days' AND i.closed_at <= now() AND i.closed_at >= i.created_at
), weekly AS (
  SELECT s.account_id, s.project_id, s.metric, date_trunc('week', s.measured_at AT TIME ZONE a.time_zone)::date + 7 * k.later AS week_start, s.span
  FROM sample s JOIN keypup.accounts a ON a.account_id = s.account_id CROSS JOIN generate_series(0, 3) AS k(later)
), gathered AS (
  SELECT w.account_id, w.project_id, w.metric, w.week_start, count(*) AS samples, percentile_cont(ARRAY[0.5, 0.75, 0.9]) WITHIN GROUP (ORDER BY w.span) AS spans
  FROM weekly w WHERE w.week_start >= current_date - 90 GROUP BY w.account_id, w.project_id, w.metric, w.week_start
)
-- Every project has had each before these weeks: the view begins with the first.
SELECT j.name, m.metric, d.week_start::date, coalesce(g.samples, 0), g.spans[1], g.spans[2], g.spans[3]
FROM keypup.projects j JOIN keypup.accounts a ON a.account_id = j.account_id
CROSS JOIN unnest(ARRAY['cycle_time', 'time_to_first_review', 'lead_time']) AS m(metric)
CROSS JOIN LATERAL generate_series(date_trunc('week', (current_date - 84)::timestamp), now() AT TIME ZONE a.time_zone, interval '7 days') AS d(week_start)
LEFT JOIN gathered g ON g.account_id = j.account_id AND g.project_id = j.project_id AND g.metric = m.metric AND g.week_start = d.week_start::date;

-- view: team_review_load
SELECT team, week_start, reviewers, reviews, pull_requests, first_reviews, responses, median_response_time FROM keypup.team_review_load WHERE week_start >= (now() - interval '90 days')::date AND NOT is_bot;
-- by hand
WITH member AS MATERIALIZED (
  SELECT t.team, coalesce(i.person_id, t.person_id) AS person_id, t.joined_at, t.left_at
  FROM keypup.team_members t
  LEFT JOIN keypup.person_merges g ON g.account_id = t.account_id AND g.own_person_id = t.person_id
  LEFT JOIN keypup.identities i ON i.account_id = g.account_id AND i.connection_id = g.connection_id AND i.external_id = g.external_id
), recent AS (
  SELECT DISTINCT r.account_id, r.project_id, r.pull_request_number AS number FROM keypup.reviews r WHERE r.submitted_at >= now() - interval '90 days'
), given AS (
  SELECT r.account_id, r.project_id, p.number, p.ready_at, r.author, l.person_id, r.external_id, r.submitted_at,
    lag(r.submitted_at) OVER (PARTITION BY r.project_id, p.number, r.author_is_bot, coalesce(l.person_id::text, r.author) ORDER BY r.submitted_at, r.external_id COLLATE "C") AS reviewed_at
  FROM recent n
  JOIN keypup.pull_requests p ON p.account_id = n.account_id AND p.project_id = n.project_id AND p.number = n.number
  JOIN keypup.reviews r ON r.account_id = n.account_id AND r.project_id = n.project_id AND r.pull_request_number = n.number
  JOIN keypup.projects j ON j.account_id = n.account_id AND j.project_id = n.project_id
  LEFT JOIN LATERAL (
    SELECT i.person_id FROM keypup.identities i
    WHERE i.account_id = j.account_id AND i.connection_id = j.connection_id AND i.login = r.author ORDER BY i.person_id IS NULL, i.external_id LIMIT 1) AS l ON true
  WHERE p.deleted_at IS NULL AND r.state <> 'pending' AND NOT r.author_is_bot AND r.submitted_at IS NOT NULL AND r.author IS DISTINCT FROM p.author AND NOT r.is_by_author
), timed AS (
  SELECT g.*, date_trunc('week', g.submitted_at AT TIME ZONE a.time_zone)::date AS week, q.response_time
  FROM given g JOIN keypup.accounts a ON a.account_id = g.account_id
  LEFT JOIN LATERAL (
    SELECT CASE WHEN g.ready_at IS NOT NULL AND (g.reviewed_at IS NULL OR min(e.occurred_at) IS NOT NULL) AND greatest(g.ready_at, min(e.occurred_at)) <= g.submitted_at THEN g.submitted_at - greatest(g.ready_at, min(e.occurred_at)) END AS response_time
    FROM keypup.timeline_events e
    WHERE e.account_id = g.account_id AND e.project_id = g.project_id AND e.item_number = g.number AND e.item_kind = 'pull_request'
      AND e.event = 'review_requested' AND e.subject = g.author AND e.occurred_at <= g.submitted_at AND (g.reviewed_at IS NULL OR e.occurred_at > g.reviewed_at)) AS q ON true
), teamed AS (
  -- Two logins of one person may both be in a team.
  SELECT DISTINCT m.team, t.week, t.project_id, t.number, t.external_id, t.person_id, t.author, t.reviewed_at, t.response_time
  FROM timed t LEFT JOIN member m ON m.person_id = t.person_id AND t.submitted_at >= m.joined_at AND (m.left_at IS NULL OR t.submitted_at < m.left_at)
  WHERE t.week >= (now() - interval '90 days')::date
  UNION ALL
  -- Everybody joined before; who is in no team has a row, too.
  SELECT DISTINCT m.team, w.week::date, NULL::bigint, NULL::bigint, NULL, NULL::uuid, NULL, NULL::timestamptz, NULL::interval
  FROM (SELECT team FROM member UNION ALL SELECT NULL) AS m CROSS JOIN keypup.accounts a
  CROSS JOIN LATERAL generate_series(date_trunc('week', (now() - interval '84 days') AT TIME ZONE a.time_zone), now() AT TIME ZONE a.time_zone, interval '7 days') AS w(week)
)
SELECT t.team, t.week, count(DISTINCT coalesce(t.person_id::text, t.author, '')) FILTER (WHERE t.number IS NOT NULL), count(t.number), count(DISTINCT (t.project_id, t.number)) FILTER (WHERE t.number IS NOT NULL),
  count(t.response_time) FILTER (WHERE t.reviewed_at IS NULL), count(t.response_time), percentile_cont(0.5) WITHIN GROUP (ORDER BY t.response_time)
FROM teamed t GROUP BY t.team, t.week;

-- view: pull_request_reverts
SELECT project, number, reverted_by, revert_created_at FROM keypup.pull_request_reverts WHERE revert_created_at >= now() - interval '90 days';
-- by hand
SELECT j.name, o.number, r.number, r.created_at
FROM keypup.pull_requests r
JOIN keypup.projects j ON j.account_id = r.account_id AND j.project_id = r.project_id
JOIN LATERAL (
  SELECT max(p.number) AS number FROM keypup.pull_requests p
  WHERE p.account_id = r.account_id AND p.project_id = r.project_id AND p.deleted_at IS NULL AND p.merged_at <= r.created_at AND 'Revert "' || p.title || '"' = r.title) AS o ON o.number IS NOT NULL
WHERE r.deleted_at IS NULL AND r.title LIKE 'Revert "_%' AND r.created_at >= now() - interval '90 days';

-- view: person_suggestions
SELECT login, person, into_login, into_person, reasons FROM keypup.person_suggestions;
-- by hand
WITH alike AS (
  SELECT i.login, i.person_id, i.external_id, c.connection_id, c.created_at, c.base_url, k.reason,
    first_value(i.login) OVER w AS into_login, first_value(i.person_id) OVER w AS into_person_id, first_value(c.base_url) OVER w AS into_base_url
  FROM keypup.identities i
  JOIN keypup.connections c ON c.account_id = i.account_id AND c.connection_id = i.connection_id
  CROSS JOIN LATERAL (VALUES ('same_name', lower(regexp_replace(btrim(i.name), '\s+', ' ', 'g'))), ('same_login', lower(i.login))) AS k(reason, likeness)
  WHERE i.person_id IS NOT NULL AND (k.reason = 'same_login' OR k.likeness ~ '\S \S')
    AND NOT EXISTS (SELECT FROM keypup.person_splits s WHERE s.account_id = i.account_id AND s.connection_id = i.connection_id AND s.external_id = i.external_id)
  WINDOW w AS (PARTITION BY k.reason, k.likeness ORDER BY c.created_at, c.connection_id, i.external_id)
), pair AS (
  SELECT a.person_id, a.into_person_id, array_agg(a.login ORDER BY a.created_at, a.connection_id, a.external_id, a.reason) AS logins,
    array_agg(a.into_login ORDER BY a.created_at, a.connection_id, a.external_id, a.reason) AS into_logins, array_agg(DISTINCT a.reason) AS reasons
  FROM alike a WHERE a.person_id <> a.into_person_id AND (a.reason = 'same_name' OR a.base_url <> a.into_base_url) GROUP BY a.person_id, a.into_person_id
)
SELECT a.logins[1], p.name, a.into_logins[1], o.name, a.reasons
FROM pair a JOIN keypup.people p ON p.person_id = a.person_id JOIN keypup.people o ON o.person_id = a.into_person_id;

-- view: pull_request_waiting
SELECT project_id, number, place, waiting_for, start_at, end_at, waiting_time FROM keypup.pull_request_waiting WHERE merged_at >= now() - interval '90 days';

-- view: team_throughput_weekly
SELECT team, week_start, pull_requests_merged, cycle_time_p50, cycle_time_p90, pickup_time_p50 FROM keypup.team_throughput_weekly WHERE week_start >= current_date - 90;

-- view: team_dora_metrics
SELECT team, deployments, deployment_frequency, lead_time_for_changes, change_failure_rate, failed_deployment_recovery_time FROM keypup.team_dora_metrics;

-- view: pull_request_labels
SELECT project, label, number, cycle_time, merged_without_review FROM keypup.pull_request_labels WHERE merged_at >= now() - interval '90 days';

-- view: first_contributions
SELECT person, first_pull_request_at, first_review_submitted_at FROM keypup.first_contributions WHERE first_at >= now() - interval '90 days';

-- view: calendar
SELECT day, week_start, is_complete FROM keypup.calendar WHERE day >= current_date - 90;

-- view: pull_request_working_times
SELECT project, number, working_coding_time, working_pickup_time, working_review_time, working_merge_time, working_cycle_time
FROM keypup.pull_request_working_times WHERE merged_at >= now() - interval '90 days';

-- view: pull_request_comments
SELECT project, number, comments, review_comments, author_comments, reviewer_comments, commenters, threads
FROM keypup.pull_request_comments WHERE merged_at >= now() - interval '90 days';

-- view: pull_request_builds
SELECT project, number, head_commit, is_newest, checks, build_state, time_to_green FROM keypup.pull_request_builds WHERE merged_at >= now() - interval '90 days';

-- view: flaky_checks
SELECT project, name, commits, failed_commits, flaky_commits, flaky_share, delay FROM keypup.flaky_checks;

-- view: commits_daily
SELECT project, day, person, commits, pull_requests FROM keypup.commits_daily WHERE day >= current_date - 90;

-- view: abandoned_pull_requests
SELECT project, number, last_activity_at, abandoned_time FROM keypup.abandoned_pull_requests WHERE created_at >= now() - interval '90 days';

-- view: blocked_spans
SELECT project, item_kind, number, start_at, end_at, blocked_time FROM keypup.blocked_spans WHERE created_at >= now() - interval '90 days';

-- view: item_links
SELECT pull_request_project_id, pull_request_number, issue_project_id, issue_number, sources FROM keypup.item_links;

-- view: throughput
SELECT project, period, period_start, pull_requests_merged, issues_closed, cycle_time_p50 FROM keypup.throughput WHERE period_start >= current_date - 90;

-- view: issue_throughput_by
SELECT project, dimension, value, period, period_start, issues_opened, issues_closed FROM keypup.issue_throughput_by WHERE period_start >= current_date - 90;

-- view: delivery
SELECT project, period, period_start, deployments, pull_requests_deployed, change_lead_time_p50 FROM keypup.delivery WHERE period_start >= current_date - 90;

-- view: project_deliveries
SELECT project, source, deployment_ids, deployment_times FROM keypup.project_deliveries;

-- view: delivery_sources
SELECT project, source FROM keypup.delivery_sources;

-- view: dora_levels
SELECT report, metric, level, bound FROM keypup.dora_levels;

-- view: review_weeks
SELECT week_start, is_complete, starts_at, ends_at FROM keypup.review_weeks WHERE week_start >= current_date - 90;

-- view: team_memberships
SELECT team, person_id, joined_at, left_at FROM keypup.team_memberships;
