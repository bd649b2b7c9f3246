-- model/derive.sql: what rows say of other rows: counts and first times.

-- What pull_requests and issues say of their own reviews, comments and events. Called by a
-- provider's store function for the items of its page; rows that stay as they are are not written.
-- Each item looks its own rows up by key, and is updated where it was found: no plan can turn this into
-- a join of whole tables, not even on tables that were never analyzed.
CREATE FUNCTION keypup.derive_pull_requests(account uuid, project bigint, numbers bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  connection uuid := (SELECT p.connection_id FROM keypup.projects p WHERE p.account_id = account
    AND p.project_id = project);
BEGIN
  WITH commented AS MATERIALIZED (
    SELECT c.item_number, c.review_external_id, count(*) AS comment_count
    FROM (SELECT DISTINCT unnest(numbers)) AS n (number)
    CROSS JOIN LATERAL (
      SELECT c.item_number, c.review_external_id
      FROM keypup.comments c
      WHERE c.account_id = account AND c.project_id = project AND c.item_number = n.number AND c.item_kind = 'review'
      OFFSET 0
    ) AS c
    GROUP BY c.item_number, c.review_external_id
  ), derived AS (
    SELECT r.row, coalesce(c.comment_count, 0) AS comment_count, r.is_now_by_author, d.state AS dismissed_state,
      d.dismissed_at
    FROM keypup.pull_requests p
    CROSS JOIN LATERAL (
      SELECT array_agg(o.login) AS logins
      FROM keypup.identities i
      JOIN keypup.identities o ON o.account_id = i.account_id AND o.person_id = i.person_id
        AND o.connection_id = i.connection_id
      WHERE i.account_id = account AND i.connection_id = connection AND i.login = p.author AND o.login <> i.login
    ) AS own
    CROSS JOIN LATERAL (
      SELECT r.ctid AS row, r.pull_request_number, r.external_id, r.state, r.submitted_at, r.comment_count,
        r.is_by_author, r.dismissed_state, r.dismissed_at,
        r.author IS NOT DISTINCT FROM p.author OR coalesce(r.author = ANY (own.logins), false) AS is_now_by_author
      FROM keypup.reviews r
      WHERE r.account_id = account AND r.project_id = project AND r.pull_request_number = p.number
      OFFSET 0
    ) AS r
    LEFT JOIN commented c ON c.item_number = r.pull_request_number AND c.review_external_id = r.external_id
    -- The provider says of a dismissed review only that it is; the event, what it was.
    LEFT JOIN LATERAL (
      SELECT e.from_value AS state, greatest(e.occurred_at, r.submitted_at) AS dismissed_at
      FROM keypup.timeline_events e
      WHERE r.state = 'dismissed' AND e.account_id = account AND e.project_id = project AND e.item_number = p.number
        AND e.item_kind = 'pull_request' AND e.event = 'review_dismissed' AND e.to_value = r.external_id
        AND e.from_value IN ('approved', 'changes_requested', 'commented')
      ORDER BY e.occurred_at DESC, e.external_id COLLATE "C" DESC LIMIT 1
    ) AS d ON true
    WHERE p.account_id = account AND p.project_id = project AND p.number = ANY (numbers)
      AND (r.comment_count, r.is_by_author, r.dismissed_state, r.dismissed_at)
        IS DISTINCT FROM (coalesce(c.comment_count, 0), r.is_now_by_author, d.state, d.dismissed_at)
  )
  UPDATE keypup.reviews r
  SET comment_count = d.comment_count, is_by_author = d.is_now_by_author, dismissed_state = d.dismissed_state,
    dismissed_at = d.dismissed_at
  FROM derived d
  WHERE r.ctid = d.row;

  WITH derived AS (
    SELECT p.ctid AS row, readied.ready_at, redrafted.draft_spans, happened.review_requested_at,
      reviewed.first_review_at, reviewed.first_approval_at,
      least(reviewed.first_response_at, commented.first_response_at) AS first_response_at, reviewed.review_count,
      commented.comment_count
    FROM keypup.pull_requests p
    CROSS JOIN LATERAL (
      SELECT min(e.occurred_at) FILTER (WHERE e.event = 'ready_for_review') AS first_ready_at,
        min(e.occurred_at) FILTER (WHERE e.event = 'convert_to_draft') AS first_draft_at,
        min(e.occurred_at) FILTER (WHERE e.event = 'review_requested') AS review_requested_at
      FROM keypup.timeline_events e
      WHERE e.account_id = p.account_id AND e.project_id = p.project_id AND e.item_number = p.number
        AND e.item_kind = 'pull_request'
    ) AS happened
    -- What was marked ready before it was made a draft had been opened as one; and so had what is a draft without ever
    -- having been made one.
    CROSS JOIN LATERAL (
      SELECT CASE WHEN happened.first_ready_at < coalesce(happened.first_draft_at, 'infinity')
          THEN happened.first_ready_at
        WHEN happened.first_draft_at IS NOT NULL OR NOT p.is_draft THEN p.created_at END AS ready_at
    ) AS readied
    -- Of most there are none, and nothing is looked up.
    CROSS JOIN LATERAL (
      SELECT CASE WHEN happened.first_draft_at IS NOT NULL THEN (
        SELECT array_agg(tstzrange(t.drafted_at, t.ended_at) ORDER BY t.drafted_at, t.ended_at)
        FROM (
          SELECT e.event, e.occurred_at AS drafted_at,
            lead(e.occurred_at) OVER (ORDER BY e.occurred_at, e.external_id COLLATE "C") AS ended_at
          FROM keypup.timeline_events e
          WHERE e.account_id = p.account_id AND e.project_id = p.project_id AND e.item_number = p.number
            AND e.item_kind = 'pull_request' AND e.event IN ('ready_for_review', 'convert_to_draft')
        ) AS t
        WHERE t.event = 'convert_to_draft' AND t.drafted_at >= readied.ready_at
          AND (t.ended_at > t.drafted_at OR t.ended_at IS NULL AND p.is_draft)) END AS draft_spans
    ) AS redrafted
    CROSS JOIN LATERAL (
      SELECT array_agg(o.login) AS logins
      FROM keypup.identities i
      JOIN keypup.identities o ON o.account_id = i.account_id AND o.person_id = i.person_id
        AND o.connection_id = i.connection_id
      WHERE i.account_id = account AND i.connection_id = connection AND i.login = p.author AND o.login <> i.login
    ) AS own
    -- By persons who are not the author, until the merge: reviews from ready on, responses from the opening on.
    CROSS JOIN LATERAL (
      SELECT count(*) FILTER (WHERE r.state <> 'pending') AS review_count,
        min(r.submitted_at) FILTER (WHERE r.counts AND r.submitted_at >= readied.ready_at) AS first_review_at,
        min(r.submitted_at) FILTER (WHERE r.counts AND r.submitted_at >= readied.ready_at
          AND coalesce(r.dismissed_state, r.state) = 'approved') AS first_approval_at,
        min(r.submitted_at) FILTER (WHERE r.counts AND r.submitted_at >= p.created_at) AS first_response_at
      FROM (
        SELECT r.state, r.dismissed_state, r.submitted_at, r.state <> 'pending' AND NOT r.author_is_bot
          AND NOT r.is_by_author AND (p.merged_at IS NULL OR r.submitted_at <= p.merged_at) AS counts
        FROM keypup.reviews r
        WHERE r.account_id = p.account_id AND r.project_id = p.project_id AND r.pull_request_number = p.number
      ) AS r
    ) AS reviewed
    CROSS JOIN LATERAL (
      SELECT count(*) AS comment_count,
        min(c.created_at) FILTER (WHERE NOT c.author_is_bot AND c.author IS DISTINCT FROM p.author
          AND NOT coalesce(c.author = ANY (own.logins), false) AND c.created_at >= p.created_at
          AND (p.merged_at IS NULL OR c.created_at <= p.merged_at)) AS first_response_at
      FROM keypup.comments c
      WHERE c.account_id = p.account_id AND c.project_id = p.project_id AND c.item_number = p.number AND c.item_kind
        IN ('pull_request', 'review')
    ) AS commented
    WHERE p.account_id = account AND p.project_id = project AND p.number = ANY (numbers)
  )
  UPDATE keypup.pull_requests p
  SET ready_at = d.ready_at, draft_spans = d.draft_spans, review_requested_at = d.review_requested_at,
    first_review_at = d.first_review_at, first_approval_at = d.first_approval_at,
    first_response_at = d.first_response_at, review_count = d.review_count, comment_count = d.comment_count
  FROM derived d
  WHERE p.ctid = d.row
    AND (p.ready_at, p.draft_spans, p.review_requested_at, p.first_review_at, p.first_approval_at,
        p.first_response_at, p.review_count, p.comment_count)
      IS DISTINCT FROM (d.ready_at, d.draft_spans, d.review_requested_at, d.first_review_at, d.first_approval_at,
        d.first_response_at, d.review_count, d.comment_count);
END
$$;
REVOKE ALL ON FUNCTION keypup.derive_pull_requests(uuid, bigint, bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.derive_pull_requests(uuid, bigint, bigint[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.derive_pull_requests(uuid, bigint, bigint[]) IS
  'Brings counts and first times of pull requests up to date with their reviews, comments and events.';

-- Who is one person, and who is not, is known of few, and seldom changes. What follows from it is derived where two
-- logins of a connection were, or are, of one person: in what these opened.
CREATE FUNCTION keypup.shared_logins(account uuid, persons uuid[], OUT connection_id uuid, OUT logins text[])
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN QUERY
  SELECT i.connection_id, array_agg(i.login) FROM keypup.identities i
  WHERE i.account_id = account AND i.person_id = ANY (persons)
  GROUP BY i.connection_id HAVING count(*) > 1 ORDER BY i.connection_id;
END
$$;
CREATE FUNCTION keypup.hold_people(account uuid, persons uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM keypup.hold_projects(account, c.connection_id, true) FROM keypup.shared_logins(account, persons) c;
END
$$;
CREATE FUNCTION keypup.derive_for_people(account uuid, persons uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM keypup.derive_pull_requests(account, t.project_id, t.numbers)
  FROM (
    SELECT p.project_id, array_agg(p.number) AS numbers
    FROM keypup.shared_logins(account, persons) c
    JOIN keypup.projects j ON j.account_id = account AND j.connection_id = c.connection_id
    JOIN keypup.pull_requests p ON p.account_id = j.account_id AND p.project_id = j.project_id
      AND p.author = ANY (c.logins)
    GROUP BY p.project_id
    ORDER BY p.project_id
  ) AS t;
  PERFORM keypup.derive_issues(account, t.project_id, t.numbers)
  FROM (
    SELECT s.project_id, array_agg(s.number) AS numbers
    FROM keypup.shared_logins(account, persons) c
    JOIN keypup.projects j ON j.account_id = account AND j.connection_id = c.connection_id
    JOIN keypup.issues s ON s.account_id = j.account_id AND s.project_id = j.project_id
      AND s.author = ANY (c.logins)
    GROUP BY s.project_id
    ORDER BY s.project_id
  ) AS t;
END
$$;
REVOKE ALL ON FUNCTION keypup.shared_logins(uuid, uuid[]), keypup.hold_people(uuid, uuid[]),
  keypup.derive_for_people(uuid, uuid[]) FROM PUBLIC;
COMMENT ON FUNCTION keypup.shared_logins(uuid, uuid[]) IS
  'The connections in which these persons have more than one login, and these logins. Granted to nobody.';
COMMENT ON FUNCTION keypup.hold_people(uuid, uuid[]) IS
  'Keeps pages from being stored where who is one person is about to change, until the transaction ends. Granted to '
  'nobody.';
COMMENT ON FUNCTION keypup.derive_for_people(uuid, uuid[]) IS
  'Brings the pull requests and issues of these persons up to date with which logins are one person. Granted to '
  'nobody.';

-- Of an issue that is about to be stored (store.sql), as of one that is: its comments and events may come before it, so
-- that it is written once. Its names were looked up when it was created, and it has no search_path: so it becomes part
-- of the query that calls it.
CREATE FUNCTION keypup.derived_issue(account uuid, project bigint, its_number bigint, its_author text, its_state text,
  opened_at timestamptz, changed_at timestamptz, closed_at timestamptz)
RETURNS TABLE (closed_by text, first_response_at timestamptz, transition_times timestamptz[], comment_count bigint)
LANGUAGE sql STABLE
BEGIN ATOMIC
  SELECT CASE WHEN its_state = 'closed' THEN (
      SELECT e.actor FROM keypup.timeline_events e
      WHERE e.account_id = account AND e.project_id = project AND e.item_number = its_number
        AND e.item_kind = 'issue' AND e.event = 'closed'
      ORDER BY e.occurred_at DESC, e.external_id DESC LIMIT 1) END,
    commented.first_response_at, moved.transition_times, commented.comment_count
  FROM (
    SELECT array_agg(o.login) AS logins
    FROM keypup.identities a
    JOIN keypup.identities o ON o.account_id = a.account_id AND o.person_id = a.person_id
      AND o.connection_id = a.connection_id
    WHERE a.account_id = account AND a.login = its_author AND o.login <> a.login
      AND a.connection_id = (SELECT p.connection_id FROM keypup.projects p
                             WHERE p.account_id = account AND p.project_id = project)
  ) AS own
  CROSS JOIN LATERAL (
    SELECT count(*) AS comment_count,
           -- Comments that came along with an issue from another project are older than it.
           min(c.created_at) FILTER (WHERE NOT c.author_is_bot AND c.author IS DISTINCT FROM its_author
             AND NOT coalesce(c.author = ANY (own.logins), false)
             AND c.created_at >= opened_at) AS first_response_at
    FROM keypup.comments c
    WHERE c.account_id = account AND c.project_id = project AND c.item_number = its_number AND c.item_kind = 'issue'
  ) AS commented
  -- Only what changes the state counts: closing a closed issue again, with another reason, does not. None comes
  -- before the opening, or before the one that it follows; and the issue's own state has the last word: an event may
  -- be missing.
  CROSS JOIN LATERAL (
    SELECT nullif(array_agg(t.occurred_at ORDER BY t.place), CASE its_state WHEN 'open' THEN ARRAY[opened_at]
      ELSE ARRAY[opened_at, greatest(coalesce(closed_at, changed_at), opened_at)] END) AS transition_times
    FROM (
      SELECT h.event, row_number() OVER w AS place, lag(h.event) OVER w AS event_before,
        max(h.occurred_at) OVER w AS occurred_at
      FROM (
        SELECT 0 AS part, 'opened' AS event, opened_at AS occurred_at
        UNION ALL
        SELECT 1, e.event, e.occurred_at
        FROM keypup.timeline_events e
        WHERE e.account_id = account AND e.project_id = project AND e.item_number = its_number
          AND e.item_kind = 'issue' AND e.event IN ('closed', 'reopened')
        UNION ALL
        SELECT 2, CASE its_state WHEN 'closed' THEN 'closed' ELSE 'reopened' END,
          CASE its_state WHEN 'closed' THEN coalesce(closed_at, changed_at) ELSE changed_at END
      ) AS h
      WINDOW w AS (ORDER BY h.part, h.occurred_at, h.event)
    ) AS t
    WHERE t.event = 'opened' OR (t.event = 'closed') = (t.event_before <> 'closed')
  ) AS moved;
END;
REVOKE ALL ON FUNCTION
  keypup.derived_issue(uuid, bigint, bigint, text, text, timestamptz, timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
  keypup.derived_issue(uuid, bigint, bigint, text, text, timestamptz, timestamptz, timestamptz) TO keypup_worker;
COMMENT ON FUNCTION keypup.derived_issue(uuid, bigint, bigint, text, text, timestamptz, timestamptz, timestamptz) IS
  'Counts and times of an issue by its comments and events.';

CREATE FUNCTION keypup.derive_issues(account uuid, project bigint, numbers bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE keypup.issues i
  SET comment_count = d.comment_count, first_response_at = d.first_response_at, closed_by = d.closed_by,
    transition_times = d.transition_times
  FROM (
    SELECT o.ctid AS row, d.*
    FROM keypup.issues o
    CROSS JOIN LATERAL keypup.derived_issue(account, project, o.number, o.author, o.state, o.created_at, o.updated_at,
      o.closed_at) AS d
    WHERE o.account_id = account AND o.project_id = project AND o.number = ANY (numbers)
  ) AS d
  WHERE i.ctid = d.row
    AND (i.comment_count, i.first_response_at, i.closed_by, i.transition_times)
      IS DISTINCT FROM (d.comment_count, d.first_response_at, d.closed_by, d.transition_times);
END
$$;
REVOKE ALL ON FUNCTION keypup.derive_issues(uuid, bigint, bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.derive_issues(uuid, bigint, bigint[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.derive_issues(uuid, bigint, bigint[]) IS
  'Brings counts and first times of issues up to date with their comments and events.';

CREATE FUNCTION keypup.derive_milestones(account uuid, project bigint) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  WITH item AS (
    SELECT milestone_ids, state FROM keypup.issues
    WHERE account_id = account AND project_id = project AND milestone_ids <> '{}' AND deleted_at IS NULL
    UNION ALL
    SELECT milestone_ids, state FROM keypup.pull_requests
    WHERE account_id = account AND project_id = project AND milestone_ids <> '{}' AND deleted_at IS NULL
  ), counted AS MATERIALIZED (
    SELECT u.id, count(*) FILTER (WHERE i.state = 'open') AS open_items,
      count(*) FILTER (WHERE i.state <> 'open') AS closed_items
    FROM item i CROSS JOIN LATERAL (SELECT DISTINCT unnest(i.milestone_ids)) AS u (id)
    GROUP BY u.id
  )
  UPDATE keypup.milestones m
  SET open_items = coalesce(c.open_items, 0), closed_items = coalesce(c.closed_items, 0)
  FROM keypup.milestones o LEFT JOIN counted c ON c.id = o.external_id
  WHERE o.account_id = account AND o.project_id = project
    AND m.account_id = o.account_id AND m.project_id = o.project_id AND m.external_id = o.external_id
    AND (m.open_items, m.closed_items) IS DISTINCT FROM (coalesce(c.open_items, 0), coalesce(c.closed_items, 0));
END
$$;
REVOKE ALL ON FUNCTION keypup.derive_milestones(uuid, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.derive_milestones(uuid, bigint) TO keypup_worker;
COMMENT ON FUNCTION keypup.derive_milestones(uuid, bigint) IS 'Counts the items of each milestone of a project.';
