-- test/bench/insight_data.sql: the data of test/bench/insight. Variables: accounts, how many; newest, the time of the last item.
-- All is reckoned from the numbers of account and item, nothing is drawn: an account is the same in every database that has it.
-- Account 1 has 20,000 pull requests, 2 to 5 have 10,000, 6 has 1,000, the others 500 to 1,400: 1,000 on average; as many
-- issues, three reviews a pull request, ten comments a pull request and issue together, a deployment for three merges, over two
-- years until now. Every fourth project has releases instead of deployments. Up to three commits and a few runs of two checks a pull
-- request; every tenth item was blocked for a while.
SET synchronous_commit = off;
-- The rows are right by construction: no look-up of each one's project.
SET session_replication_role = replica;

CREATE SCHEMA bench;
CREATE FUNCTION bench.pick(item bigint, salt bigint, choices bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT (hashint8extended(item, salt) & 9223372036854775807) % choices $$;

CREATE TABLE bench.accounts AS
SELECT n, md5('account ' || n)::uuid AS account_id, md5('connection ' || n)::uuid AS connection_id, size,
  greatest(2, least(20, size / 250)) AS projects, greatest(5, least(200, size / 40)) AS persons
FROM (SELECT n, CASE WHEN n = 1 THEN 20000 WHEN n <= 5 THEN 10000 WHEN n = 6 THEN 1000 ELSE 500 + n * 37 % 901 END AS size FROM generate_series(1::bigint, :accounts) AS n) AS a;
INSERT INTO keypup.accounts (account_id, name, time_zone) SELECT account_id, 'account ' || n, CASE WHEN n % 2 = 0 THEN 'Europe/Paris' ELSE 'UTC' END FROM bench.accounts;
INSERT INTO keypup.connections (account_id, connection_id, provider, name, base_url, created_by)
SELECT account_id, connection_id, 'github', 'github', 'https://api.github.com', 'bench' FROM bench.accounts;
INSERT INTO keypup.members (account_id, member, kind, role, added_by) SELECT account_id, 'person ' || k, 'person', 'viewer', 'bench' FROM bench.accounts, generate_series(1, 5) AS k;
INSERT INTO keypup.projects (account_id, project_id, connection_id, name, external_id, tracked_by, default_branch) OVERRIDING SYSTEM VALUE
SELECT account_id, n * 100 + k, connection_id, 'account-' || n || '/project-' || k, 'R_' || k, 'bench', 'main' FROM bench.accounts, generate_series(0, projects - 1) AS k;

-- Persons; every tenth has a second login, which was merged into the first, and another one a namesake. One bot.
INSERT INTO keypup.people (account_id, person_id, name) SELECT account_id, md5('person ' || n || ' ' || k)::uuid, 'Person ' || k FROM bench.accounts, generate_series(0, persons - 1) AS k;
INSERT INTO keypup.identities (account_id, connection_id, external_id, login, name, kind, person_id)
SELECT account_id, connection_id, 'U_' || k, 'user-' || k, 'Person ' || k - CASE WHEN k % 10 = 4 THEN 1 ELSE 0 END, 'user', md5('person ' || n || ' ' || k - CASE WHEN k % 10 = 9 THEN 1 ELSE 0 END)::uuid
FROM bench.accounts, generate_series(0, persons - 1) AS k
UNION ALL SELECT account_id, connection_id, 'BOT', 'robot', 'Robot', 'bot', NULL FROM bench.accounts;
INSERT INTO keypup.person_merges (account_id, connection_id, external_id, own_person_id, merged_by)
SELECT account_id, connection_id, 'U_' || k, md5('person ' || n || ' ' || k)::uuid, 'bench' FROM bench.accounts, generate_series(9, persons - 1, 10) AS k;
INSERT INTO keypup.teams (account_id, team) SELECT account_id, 'team ' || k FROM bench.accounts, generate_series(0, persons / 8) AS k;
INSERT INTO keypup.team_members (account_id, team, person_id, joined_at) SELECT account_id, 'team ' || k / 8, md5('person ' || n || ' ' || k)::uuid, :'newest'::timestamptz - interval '800 days' FROM bench.accounts, generate_series(0, persons - 1) AS k;

INSERT INTO keypup.milestones (account_id, project_id, external_id, number, title, state, created_at, updated_at, due_on, closed_at)
SELECT account_id, n * 100 + k, 'M_' || m, m, 'milestone ' || m, CASE WHEN m < 7 THEN 'closed' ELSE 'open' END, began_at, began_at + '90 days', began_at + '85 days', CASE WHEN m < 7 THEN began_at + '92 days' END
FROM bench.accounts, generate_series(0, projects - 1) AS k, generate_series(0, 7) AS m, LATERAL (SELECT :'newest'::timestamptz - (8 - m) * interval '91 days' AS began_at) AS t;

-- The items, each with a number of its own in the whole database: the i-th of an account, in project i % projects.
CREATE TABLE bench.items AS
SELECT a.n, a.account_id, a.n * 100 + i % a.projects AS project_id, i / a.projects AS place, a.n * 1000000 + i AS item, a.persons,
  :'newest'::timestamptz - interval '1 second' * (63072000.0 * (a.size - i) / a.size)::bigint AS created_at, i * 8 / a.size AS milestone
FROM bench.accounts AS a, generate_series(0, a.size - 1) AS i
ORDER BY a.account_id, i % a.projects, i / a.projects;
ANALYZE bench.items;

\echo pull requests
INSERT INTO keypup.pull_requests (account_id, project_id, number, key, external_id, global_id, url, title, state, is_draft, author, author_is_bot, created_at, updated_at, closed_at, merged_at, merged_by,
  base_branch, head_branch, additions, deletions, changed_files, commit_count, first_commit_at, ready_at, review_requested_at, labels, assignees, requested_reviewers, milestone, milestone_ids, closes_issues, deleted_at)
SELECT account_id, project_id, place * 2 + 1, '#' || place * 2 + 1, item, 'PR_' || item, 'https://github.com/pull/' || item,
  CASE WHEN bench.pick(item, 1, 5) = 0 THEN 'Mend #' || place * 2 + 2 WHEN bench.pick(item, 1, 50) = 1 THEN 'Revert "change ' || item || '"' ELSE 'Change number ' || item END,
  state, state = 'open' AND bench.pick(item, 2, 5) = 0, CASE WHEN bench.pick(item, 3, 100) = 0 THEN NULL WHEN bench.pick(item, 3, 100) < 6 THEN 'robot' ELSE 'user-' || bench.pick(item, 4, persons) END,
  bench.pick(item, 3, 100) BETWEEN 1 AND 5, created_at, coalesce(ended_at, created_at + least(:'newest'::timestamptz - created_at, interval '1 day')), ended_at,
  CASE WHEN state = 'merged' THEN ended_at END, CASE WHEN state = 'merged' THEN 'user-' || bench.pick(item, 5, persons) END,
  'main', CASE WHEN bench.pick(item, 6, 6) = 0 THEN 'issue-' || place * 2 + 2 ELSE 'branch-of-change-' || item END,
  bench.pick(item, 7, 30) * bench.pick(item, 8, 60), bench.pick(item, 9, 20) * bench.pick(item, 10, 20), 1 + bench.pick(item, 11, 20), 1 + bench.pick(item, 12, 9),
  created_at - interval '1 minute' * bench.pick(item, 13, 5000),
  CASE WHEN NOT (state = 'open' AND bench.pick(item, 2, 5) = 0) THEN created_at + CASE WHEN bench.pick(item, 14, 5) = 0 THEN least(interval '2 hours', coalesce(ended_at, :'newest') - created_at) ELSE '0' END END,
  created_at + interval '10 minutes', '{bug}', '{}', CASE WHEN state = 'open' AND bench.pick(item, 15, 2) = 0 THEN ARRAY['user-1'] ELSE '{}' END,
  CASE WHEN bench.pick(item, 16, 3) = 0 THEN 'milestone ' || milestone END, CASE WHEN bench.pick(item, 16, 3) = 0 THEN ARRAY['M_' || milestone] ELSE '{}' END, CASE bench.pick(item, 17, 6) WHEN 0 THEN ARRAY[place * 2 + 2] WHEN 1 THEN ARRAY[greatest(place * 2, 2), place * 2 + 2] ELSE '{}' END,
  CASE WHEN bench.pick(item, 18, 200) = 0 THEN :'newest'::timestamptz END
FROM bench.items
CROSS JOIN LATERAL (SELECT CASE WHEN bench.pick(item, 19, 25) > 0 AND created_at + span < :'newest' THEN created_at + span END AS ended_at
                    FROM (SELECT interval '1 minute' * (30 + bench.pick(item, 20, 100) * bench.pick(item, 21, 200)) AS span) AS s) AS e
CROSS JOIN LATERAL (SELECT CASE WHEN ended_at IS NULL THEN 'open' WHEN bench.pick(item, 22, 12) = 0 THEN 'closed' ELSE 'merged' END AS state) AS w;

\echo issues
INSERT INTO keypup.issues (account_id, project_id, number, key, external_id, global_id, url, title, state, state_reason, type, author, author_is_bot, created_at, updated_at, closed_at, closed_by, first_response_at, labels, milestone, milestone_ids, deleted_at)
SELECT account_id, project_id, place * 2 + 2, '#' || place * 2 + 2, item, 'I_' || item, 'https://github.com/issues/' || item, 'Something is wrong with ' || item, CASE WHEN ended_at IS NULL THEN 'open' ELSE 'closed' END,
  CASE WHEN ended_at IS NOT NULL THEN 'completed' END, CASE WHEN bench.pick(item, 30, 3) = 0 THEN 'Bug' END, CASE WHEN bench.pick(item, 31, 100) > 0 THEN 'user-' || bench.pick(item, 32, persons) END, false,
  created_at, coalesce(ended_at, created_at), ended_at, CASE WHEN ended_at IS NOT NULL THEN 'user-' || bench.pick(item, 33, persons) END,
  CASE WHEN bench.pick(item, 34, 4) > 0 THEN created_at + interval '1 minute' * bench.pick(item, 35, 3000) END,
  CASE bench.pick(item, 41, 10) WHEN 0 THEN '{bug,incident}' WHEN 1 THEN '{}' WHEN 2 THEN '{documentation}' ELSE '{bug}' END::text[], CASE WHEN bench.pick(item, 36, 3) = 0 THEN 'milestone ' || milestone END, CASE WHEN bench.pick(item, 36, 3) = 0 THEN ARRAY['M_' || milestone] ELSE '{}' END,
  CASE WHEN bench.pick(item, 37, 200) = 0 THEN :'newest'::timestamptz END
FROM bench.items
CROSS JOIN LATERAL (SELECT CASE WHEN bench.pick(item, 38, 10) > 0 AND created_at + span < :'newest' THEN created_at + span END AS ended_at
                    FROM (SELECT interval '1 minute' * (30 + bench.pick(item, 39, 200) * bench.pick(item, 40, 300)) AS span) AS s) AS e;

\echo reviews
INSERT INTO keypup.reviews (account_id, project_id, pull_request_number, external_id, author, author_is_bot, state, submitted_at, updated_at, url)
SELECT account_id, project_id, place * 2 + 1, item * 10 + k, CASE WHEN dice % 100 = 0 THEN NULL WHEN dice % 100 < 6 THEN 'robot' ELSE 'user-' || bench.pick(item * 3 + k / 2, 51, persons) END, dice % 100 BETWEEN 1 AND 5,
  (ARRAY['approved', 'changes_requested', 'commented', 'approved', 'dismissed', 'pending', 'commented', 'changes_requested', 'approved', 'commented', 'commented', 'approved'])[1 + dice / 100 % 12],
  CASE WHEN dice / 100 % 12 <> 5 THEN created_at + interval '1 minute' * (10 + k * 400 + dice / 1200 % 600) END, NULL, 'https://github.com/review/' || item * 10 + k
FROM bench.items CROSS JOIN LATERAL generate_series(0, bench.pick(item, 52, 7) - 1) AS k CROSS JOIN LATERAL (SELECT bench.pick(item * 10 + k, 53, 720000) AS dice) AS d;

\echo events
INSERT INTO keypup.timeline_events (account_id, project_id, item_kind, item_number, external_id, event, actor, subject, occurred_at)
SELECT p.account_id, p.project_id, 'pull_request', p.number, e.id, e.event, p.author, e.subject, e.occurred_at
FROM keypup.pull_requests p
JOIN bench.items i ON i.account_id = p.account_id AND i.project_id = p.project_id AND i.place * 2 + 1 = p.number
CROSS JOIN LATERAL (
  SELECT 'E_0' AS id, 'review_requested' AS event, 'user-' || bench.pick(i.item * 3, 51, i.persons) AS subject, p.review_requested_at AS occurred_at
  UNION ALL SELECT 'E_1', 'review_requested', 'user-' || bench.pick(i.item * 3 + 1, 51, i.persons), p.review_requested_at WHERE bench.pick(i.item, 60, 2) = 0
  UNION ALL SELECT 'E_2', 'ready_for_review', NULL, p.ready_at WHERE p.ready_at > p.created_at
  UNION ALL SELECT 'E_3', p.state, NULL, p.closed_at WHERE p.state <> 'open'
  UNION ALL SELECT 'E_4', 'reopened', NULL, p.created_at + interval '1 hour' WHERE bench.pick(i.item, 61, 30) = 0
  -- The provider closes what it merges.
  UNION ALL SELECT 'E_5', 'closed', NULL, p.closed_at WHERE p.state = 'merged'
  UNION ALL SELECT 'E_6', 'assigned', 'user-' || bench.pick(i.item, 62, i.persons), p.created_at WHERE bench.pick(i.item, 63, 4) = 0
) AS e
ORDER BY p.account_id, p.project_id, p.number;
INSERT INTO keypup.timeline_events (account_id, project_id, item_kind, item_number, external_id, event, actor, subject, occurred_at)
SELECT s.account_id, s.project_id, 'issue', s.number, e.id, e.event, s.author, e.subject, e.occurred_at
FROM keypup.issues s
CROSS JOIN LATERAL (
  SELECT 'E_0' AS id, 'assigned' AS event, 'user-1' AS subject, s.created_at + interval '3 hours' AS occurred_at WHERE bench.pick(s.external_id::bigint, 70, 5) < 3
  UNION ALL SELECT 'E_1', 'closed', NULL, s.closed_at WHERE s.state = 'closed'
  UNION ALL SELECT x.id, x.event, NULL, x.occurred_at FROM (VALUES ('E_2', 'closed', s.created_at + interval '20 minutes'), ('E_3', 'reopened', s.created_at + interval '25 minutes')) AS x(id, event, occurred_at)
            WHERE s.state = 'closed' AND bench.pick(s.external_id::bigint, 71, 15) = 0
) AS e
ORDER BY s.account_id, s.project_id, s.number;

\echo comments
-- Seven a pull request, four of them in reviews, and three an issue.
INSERT INTO keypup.comments (account_id, project_id, item_kind, item_number, external_id, author, created_at, url, review_external_id)
SELECT account_id, project_id, CASE WHEN k < 3 THEN 'issue' WHEN k < 6 THEN 'pull_request' ELSE 'review' END, place * 2 + CASE WHEN k < 3 THEN 2 ELSE 1 END, item * 10 + k,
  'user-' || bench.pick(item * 10 + k, 80, persons), created_at + interval '1 minute' * bench.pick(item * 10 + k, 81, 3000), 'https://github.com/comment/' || item * 10 + k,
  CASE WHEN k >= 6 THEN (item * 10)::text END
FROM bench.items CROSS JOIN generate_series(0, 9) AS k
ORDER BY account_id, project_id, place * 2 + CASE WHEN k < 3 THEN 2 ELSE 1 END;

\echo deployments and releases
WITH merged AS (
  SELECT p.account_id, p.project_id, p.external_id::bigint AS item, p.merged_by, p.merged_at, p.project_id % 4 = 3 AS releases, row_number() OVER (PARTITION BY p.project_id ORDER BY p.merged_at, p.number) AS place
  FROM keypup.pull_requests p WHERE p.merged_at < :'newest'::timestamptz - interval '2 hours'
), deployed AS (
  INSERT INTO keypup.deployments (account_id, project_id, external_id, environment, state, ref, creator, created_at, updated_at, commit_at, succeeded_at, failed_at)
  SELECT m.account_id, m.project_id, 'D_' || m.item, CASE WHEN bench.pick(m.item, 90, 4) = 0 THEN 'staging' ELSE 'production' END, CASE WHEN t.fails THEN 'failure' ELSE 'inactive' END,
    'main', m.merged_by, t.begun_at, t.begun_at + interval '5 minutes', m.merged_at + interval '5 seconds', CASE WHEN NOT t.fails THEN t.begun_at + interval '5 minutes' END, CASE WHEN t.fails THEN t.begun_at + interval '5 minutes' END
  FROM merged m
  CROSS JOIN LATERAL (SELECT m.merged_at + interval '1 minute' * (2 + bench.pick(m.item, 91, 60)) AS begun_at, bench.pick(m.item, 92, 12) = 0 AS fails) AS t
  WHERE NOT m.releases AND m.place % 3 = 0
  ORDER BY m.account_id, m.project_id, m.merged_at
)
INSERT INTO keypup.releases (account_id, project_id, external_id, tag_name, author, is_draft, is_prerelease, created_at, published_at, updated_at, commit_at)
SELECT m.account_id, m.project_id, 'V_' || m.item, 'v' || m.place, m.merged_by, false, bench.pick(m.item, 93, 6) = 0, m.merged_at + interval '1 hour', m.merged_at + interval '1 hour', m.merged_at + interval '1 hour', m.merged_at
FROM merged m WHERE m.releases AND m.place % 9 = 0
ORDER BY m.account_id, m.project_id, m.merged_at;

\echo commits, checks and labels
INSERT INTO keypup.pull_request_commits (account_id, project_id, pull_request_number, external_id, commit_id, author, author_is_bot, authored_at)
SELECT p.account_id, p.project_id, p.number, 'C_' || k, md5(p.external_id || ' ' || k), p.author, p.author_is_bot, p.first_commit_at + (p.created_at - p.first_commit_at) * k / p.commit_count
FROM keypup.pull_requests p CROSS JOIN LATERAL generate_series(0, least(p.commit_count, 3) - 1) AS k
ORDER BY p.account_id, p.project_id, p.number;
-- Two checks ran on one or two commits each; every tenth run failed, and half of these passed when they were run once more.
INSERT INTO keypup.pull_request_checks (account_id, project_id, pull_request_number, external_id, head_commit, kind, workflow, name, status, conclusion, started_at, completed_at)
SELECT p.account_id, p.project_id, p.number, c.commit || ' ' || c.name || ' ' || r.try, md5(p.external_id || ' ' || c.commit), 'check_run', 'CI', c.name, 'completed',
  CASE WHEN c.fails AND r.try = 0 THEN 'failure' ELSE 'success' END, r.started_at, r.started_at + interval '4 minutes'
FROM keypup.pull_requests p
CROSS JOIN LATERAL (
  SELECT k AS commit, n AS name, bench.pick(p.external_id::bigint * 4 + k * 2 + length(n) % 2, 100, 10) = 0 AS fails
  FROM generate_series(0, bench.pick(p.external_id::bigint, 101, 2)) AS k, unnest('{build,test}'::text[]) AS n) AS c
CROSS JOIN LATERAL (
  SELECT t AS try, p.created_at + interval '1 hour' * c.commit + interval '6 minutes' * t AS started_at
  FROM generate_series(0, CASE WHEN c.fails THEN bench.pick(p.external_id::bigint, 102, 2) ELSE 0 END) AS t) AS r
ORDER BY p.account_id, p.project_id, p.number;
INSERT INTO keypup.pull_request_merge_states (account_id, project_id, pull_request_number, external_id, updated_at, head_commit, has_conflicts, is_behind, check_state)
SELECT p.account_id, p.project_id, p.number, p.external_id, p.updated_at, md5(p.external_id || ' ' || bench.pick(p.external_id::bigint, 101, 2)), bench.pick(p.external_id::bigint, 103, 8) = 0, false, 'success'
FROM keypup.pull_requests p
ORDER BY p.account_id, p.project_id, p.number;
INSERT INTO keypup.labels (account_id, project_id, external_id, name)
SELECT j.account_id, j.project_id, 'L_' || l.name, l.name FROM keypup.projects j CROSS JOIN unnest('{bug,documentation,incident,blocked}'::text[]) AS l(name);
-- Every tenth item was blocked for a while.
INSERT INTO keypup.timeline_events (account_id, project_id, item_kind, item_number, external_id, event, actor, from_value, to_value, occurred_at)
SELECT x.account_id, x.project_id, x.item_kind, x.number, 'B_' || e.event, e.event, x.author, 'L_blocked', 'blocked', x.created_at + e.later
FROM (
  SELECT p.account_id, p.project_id, 'pull_request' AS item_kind, p.number, p.external_id, p.author, p.created_at FROM keypup.pull_requests p
  UNION ALL SELECT i.account_id, i.project_id, 'issue', i.number, i.external_id, i.author, i.created_at FROM keypup.issues i) AS x
CROSS JOIN (VALUES ('labeled', interval '20 minutes'), ('unlabeled', interval '26 minutes')) AS e(event, later)
WHERE bench.pick(x.external_id::bigint, 104, 10) = 0
ORDER BY x.account_id, x.project_id, x.number;

\echo what follows from reviews, comments and events
ANALYZE keypup.pull_requests, keypup.issues, keypup.reviews, keypup.comments, keypup.timeline_events, keypup.identities;
SELECT count(keypup.derive_pull_requests(p.account_id, p.project_id, p.numbers))
FROM (SELECT account_id, project_id, array_agg(number) AS numbers FROM keypup.pull_requests GROUP BY account_id, project_id, number / 500) AS p;
SELECT count(keypup.derive_issues(p.account_id, p.project_id, p.numbers))
FROM (SELECT account_id, project_id, array_agg(number) AS numbers FROM keypup.issues GROUP BY account_id, project_id, number / 500) AS p;

VACUUM (ANALYZE) keypup.pull_request_commits, keypup.pull_request_checks, keypup.pull_request_merge_states, keypup.labels, keypup.deployments, keypup.releases, keypup.pull_requests, keypup.issues, keypup.reviews, keypup.comments, keypup.timeline_events, keypup.milestones, keypup.identities, keypup.people, keypup.person_merges,
  keypup.teams, keypup.team_members, keypup.members, keypup.accounts, keypup.projects, keypup.connections;
DROP SCHEMA bench CASCADE;
