-- A small history with the answers beside it. All times are on 2026-01-01, hours from midnight UTC.
SET client_min_messages = warning;
SET timezone = 'UTC';
\pset null '-'
SELECT keypup.create_account('cycle') AS account \gset
INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by) VALUES (:'account', 'github', 'c', 'https://api.github.com', 'me') RETURNING connection_id \gset
INSERT INTO keypup.projects (account_id, connection_id, name, tracked_by) VALUES (:'account', :'connection_id', 'a/b', 'me') RETURNING project_id \gset
CREATE FUNCTION pg_temp.at(hours double precision) RETURNS timestamptz LANGUAGE sql AS $$ SELECT timestamptz '2026-01-01' + hours * interval '1 hour' $$;
INSERT INTO keypup.pull_requests (account_id, project_id, number, external_id, key, title, state, is_draft, author, created_at, updated_at, merged_at, first_commit_at)
SELECT :'account', :'project_id', n, n, n, title, state, draft, author, pg_temp.at(created), pg_temp.at(90), pg_temp.at(merged), pg_temp.at(commit)
FROM (VALUES
  (1, 'plain: 2 coding, 3 pickup, 4 review, 3 merge = 12', 'merged', false, 'ann', 2, 12, 0),
  (2, 'draft until 3, and from 4 to 6: coding 3, then 3 pickup, 2 review, 2 merge, 2 a draft', 'merged', false, 'ann', 1, 12, 0),
  (3, 'bot and author reviewed only: 10 unreviewed', 'merged', false, 'ann', 2, 12, 2),
  (4, 'reviewed, never approved: review ends at the merge', 'merged', false, 'ann', 0, 8, 0),
  (5, 'first commit after the opening (rebase): coding 0', 'merged', false, 'ann', 4, 8, 6),
  (6, 'open and unreviewed: all NULL but coding', 'open', false, 'ann', 4, NULL, 2),
  (7, 'still a draft', 'open', true, 'ann', 4, NULL, 2),
  (8, 'author deleted: anyone who has a name is another', 'merged', false, NULL, 0, 4, 0),
  (9, 'reviewed before it was ready and after the merge: unreviewed', 'merged', false, 'ann', 0, 9, 0)
) AS v(n, title, state, draft, author, created, merged, commit);
INSERT INTO keypup.reviews (account_id, project_id, pull_request_number, external_id, author, author_is_bot, state, submitted_at)
SELECT :'account', :'project_id', n, id, author, bot, state, pg_temp.at(hours)
FROM (VALUES
  (1, 'a', 'bob', false, 'commented', 5), (1, 'b', 'bob', false, 'approved', 9), (1, 'c', 'eve', false, 'approved', 10), (1, 'd', 'ci', true, 'approved', 3), (1, 'e', 'ann', false, 'commented', 4),
  (1, 'f', 'bob', false, 'commented', 11),
  (2, 'a', 'bob', false, 'commented', 8), (2, 'b', 'bob', false, 'approved', 10),
  (3, 'a', 'ci', true, 'approved', 4), (3, 'b', 'ann', false, 'commented', 5),
  (4, 'a', 'bob', false, 'changes_requested', 2),
  (5, 'a', 'bob', false, 'approved', 6),
  (8, 'a', 'bob', false, 'approved', 1),
  (9, 'a', 'bob', false, 'approved', 3), (9, 'b', 'bob', false, 'approved', 10)
) AS v(n, id, author, bot, state, hours);
INSERT INTO keypup.timeline_events (account_id, project_id, item_kind, item_number, external_id, event, actor, occurred_at)
SELECT :'account', :'project_id', 'pull_request', n, id, event, 'ann', pg_temp.at(hours)
FROM (VALUES (2, 'a', 'ready_for_review', 3), (2, 'b', 'convert_to_draft', 4), (2, 'c', 'ready_for_review', 6), (1, 'a', 'review_requested', 3),
  (9, 'a', 'ready_for_review', 5)) AS v(n, id, event, hours);
SELECT keypup.derive_pull_requests(:'account', :'project_id', ARRAY(SELECT generate_series(1, 9)::bigint));

SELECT number, coding_time, pickup_time, review_time, merge_time, unreviewed_time, draft_time, cycle_time, idle_time
FROM keypup.pull_request_cycle WHERE account_id = :'account' ORDER BY number;
-- The stages of a merged pull request sum to the whole.
SELECT number FROM keypup.pull_request_cycle
WHERE account_id = :'account' AND cycle_time IS NOT NULL
  AND cycle_time <> coding_time + coalesce(pickup_time + review_time, unreviewed_time) + coalesce(merge_time, '0') + coalesce(draft_time, '0');
SELECT number, review_count, comment_count FROM keypup.pull_requests WHERE account_id = :'account' AND review_count > 0 ORDER BY number;
DELETE FROM keypup.accounts;
DROP EXTENSION keypup CASCADE;
