-- Working hours, what was left alone, comments and blocked time, on small histories with the answers beside them.
SET client_min_messages = warning;
\set SHOW_CONTEXT never
SET timezone = 'UTC';
SET datestyle = 'ISO';
\pset null '-'
CREATE EXTENSION IF NOT EXISTS keypup;
SELECT keypup.create_account('work') AS account \gset
INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by) VALUES (:'account', 'github', 'c', 'https://api.github.com', 'me') RETURNING connection_id \gset
INSERT INTO keypup.projects (account_id, connection_id, name, tracked_by) VALUES (:'account', :'connection_id', 'a/b', 'me') RETURNING project_id \gset
CREATE FUNCTION pg_temp.pull(n bigint, who text, began timestamptz, merged timestamptz DEFAULT NULL, closed timestamptz DEFAULT NULL, changed timestamptz DEFAULT NULL, first_commit timestamptz DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
  INSERT INTO keypup.pull_requests (account_id, project_id, number, external_id, key, title, state, is_draft, author, author_is_bot, created_at, updated_at, closed_at, merged_at, first_commit_at, base_branch)
  SELECT account_id, project_id, n, n, '#' || n, 'change ' || n, CASE WHEN merged IS NOT NULL THEN 'merged' WHEN closed IS NOT NULL THEN 'closed' ELSE 'open' END, false, who, who = 'ci', began,
    coalesce(changed, merged, closed, began), coalesce(merged, closed), merged, first_commit, 'main'
  FROM keypup.projects JOIN keypup.accounts a USING (account_id) WHERE a.name = 'work' $$;
CREATE FUNCTION pg_temp.review(n bigint, id text, who text, state text, at timestamptz) RETURNS void LANGUAGE sql AS $$
  INSERT INTO keypup.reviews (account_id, project_id, pull_request_number, external_id, author, author_is_bot, state, submitted_at)
  SELECT account_id, project_id, n, id, who, who = 'ci', state, at FROM keypup.projects JOIN keypup.accounts a USING (account_id) WHERE a.name = 'work' $$;
CREATE FUNCTION pg_temp.event(n bigint, id text, event text, at timestamptz, subject text DEFAULT NULL, kind text DEFAULT 'pull_request') RETURNS void LANGUAGE sql AS $$
  INSERT INTO keypup.timeline_events (account_id, project_id, item_kind, item_number, external_id, event, actor, subject, occurred_at)
  SELECT account_id, project_id, kind, n, id, event, 'ann', subject, at FROM keypup.projects JOIN keypup.accounts a USING (account_id) WHERE a.name = 'work' $$;
CREATE FUNCTION pg_temp.comment(n bigint, id text, who text, at timestamptz, kind text DEFAULT 'pull_request', thread text DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
  INSERT INTO keypup.comments (account_id, project_id, item_kind, item_number, external_id, author, author_is_bot, created_at, thread_id)
  SELECT account_id, project_id, kind, n, id, who, who = 'ci', at, thread FROM keypup.projects JOIN keypup.accounts a USING (account_id) WHERE a.name = 'work' $$;

-- A merge that is dated before the opening: on its own day, here as in throughput. A closing is never before the opening.
BEGIN;
SELECT pg_temp.pull(1, 'ann', '2024-01-10 12:00', '2024-01-09 12:00'), pg_temp.pull(2, 'ann', '2024-01-10 12:00', NULL, '2024-01-08 12:00'), pg_temp.pull(3, 'ann', '2024-01-02 12:00', '2024-01-03 12:00');
SELECT day, items_opened AS opened, items_closed AS closed, items_done AS done FROM keypup.items_daily WHERE account_id = :'account' AND items_opened + items_closed > 0 ORDER BY day;
SELECT period, t.period_start, t.pull_requests_merged, (SELECT sum(d.items_done) FROM keypup.items_daily d WHERE d.account_id = t.account_id AND date_trunc(t.period, d.day::timestamp)::date = t.period_start) AS done
FROM keypup.throughput t WHERE account_id = :'account' AND pull_requests_merged > 0 ORDER BY 1, 2;
ROLLBACK;

DELETE FROM keypup.accounts;
DROP EXTENSION keypup CASCADE;
