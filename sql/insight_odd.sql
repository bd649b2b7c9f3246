-- Odd data: whatever the tables can hold, every view of the extension gives rows or none, and never an error.
-- The views are taken from the catalog: a new one is tried without a change here.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO';
\pset null '-'
\set SHOW_CONTEXT never
\set VERBOSITY terse
CREATE EXTENSION IF NOT EXISTS keypup;
CREATE ROLE odd_viewer; CREATE ROLE odd_limited; CREATE ROLE odd_outsider; CREATE ROLE odd_nobody;
GRANT keypup_member TO odd_viewer, odd_limited, odd_outsider, odd_nobody;
GRANT USAGE ON SCHEMA keypup TO odd_viewer, odd_limited, odd_outsider, odd_nobody;

-- What went wrong, and how many views gave rows, of all that were read.
CREATE TEMP TABLE readings (who text, view name, form text, rows bigint, problem text);
-- Of more than 10,000 rows every column is computed, but not sorted and not written out: that takes time, and finds what fewer rows have too.
-- Once: so of each view, and where it is there in hours as well, which are computed from all of its columns, only so.
CREATE PROCEDURE pg_temp.read_views(people text[] DEFAULT '{none,odd_viewer,odd_limited,odd_outsider,odd_nobody}', once boolean DEFAULT false) LANGUAGE plpgsql AS $$
DECLARE
  reader record;
  form record;
  is_long boolean;
  told text;
  counted bigint;
BEGIN
  TRUNCATE readings;
  FOR reader IN
    SELECT w.who, c.oid::regclass AS view, c.relname, (SELECT string_agg(a.attnum::text, ', ') FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0) AS columns
    FROM unnest(people) AS w(who)
    JOIN pg_class c ON c.relnamespace = 'keypup'::regnamespace AND c.relkind = 'v' AND (w.who = 'none' OR has_table_privilege('keypup_member', c.oid, 'SELECT'))
      -- The same once more, in hours: read by one.
      AND (w.who = 'odd_viewer' OR c.relname !~ '_hours$')
    ORDER BY w.who, c.relname
  LOOP
    is_long := once OR reader.relname ~ '_hours$';
    FOR form IN
      SELECT f.name, f.statement
      FROM (VALUES ('count', 'SELECT count(*) FROM %s'), ('order', 'SELECT count(%2$s) FROM (SELECT * FROM %1$s %3$s OFFSET 0) AS v'),
        ('first', 'SELECT count(v::text) FROM (SELECT * FROM %s LIMIT 10) AS v')) AS f(name, statement)
      -- Who sees no row is asked once, and so are the same figures in hours.
      WHERE CASE WHEN reader.relname ~ '_hours$' THEN f.name = 'order' WHEN reader.who IN ('odd_outsider', 'odd_nobody') THEN f.name = 'count'
        WHEN NOT once THEN f.name <> 'first' OR reader.who = 'odd_viewer'
        WHEN reader.who <> 'odd_viewer' THEN f.name = 'order'
        ELSE f.name = 'first' OR f.name = 'order' AND NOT EXISTS (SELECT FROM pg_class h WHERE h.relnamespace = 'keypup'::regnamespace AND h.relname = reader.relname || '_hours') END
    LOOP
      told := NULL;
      counted := NULL;
      BEGIN
        PERFORM set_config('role', reader.who, true);
        EXECUTE format(form.statement, reader.view, CASE WHEN is_long THEN 'v' ELSE 'v::text' END, CASE WHEN NOT is_long THEN 'ORDER BY ' || reader.columns END)
        INTO counted;
      EXCEPTION
        WHEN OTHERS THEN told := SQLERRM;
      END;
      PERFORM set_config('role', 'none', true);
      is_long := once OR counted > 10000;
      INSERT INTO readings VALUES (reader.who, reader.relname, form.name, counted, told);
    END LOOP;
  END LOOP;
END
$$;
-- Errors; views that one form counts otherwise than another; views whose rows somebody without a right sees.
CREATE VIEW pg_temp.problems AS
SELECT r.who, r.view, r.form, r.problem FROM readings r WHERE r.problem IS NOT NULL
UNION ALL
SELECT o.who, o.view, 'order', format('%s rows, %s counted', o.rows, c.rows)
FROM readings o JOIN readings c ON c.who = o.who AND c.view = o.view AND c.form = 'count' AND o.form = 'order' WHERE o.rows <> c.rows
UNION ALL
SELECT r.who, r.view, r.form, format('%s rows', r.rows) FROM readings r WHERE r.who = 'odd_nobody' AND r.rows > 0 AND r.view NOT IN ('key_status')
ORDER BY 1, 2, 3;

-- Nothing at all.
CALL pg_temp.read_views(once => true);
SELECT * FROM pg_temp.problems;

-- An account without a project, one whose project is empty, one with a single pull request: where the day begins first, and last.
SELECT count(keypup.create_account(a)) FROM unnest('{bare,empty,single,odd,elsewhere}'::text[]) a;
SELECT keypup.add_member(a, 'odd_viewer', 'viewer'), keypup.add_member(a, 'odd_limited', 'viewer') FROM unnest('{bare,empty,single,odd}'::text[]) a;
SELECT keypup.add_member('elsewhere', 'odd_outsider', 'owner');
INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by)
SELECT account_id, 'github', 'c', 'https://api.github.com', 'me' FROM keypup.accounts WHERE name <> 'bare';
INSERT INTO keypup.projects (account_id, connection_id, name, tracked_by) SELECT account_id, connection_id, 'a/b', 'me' FROM keypup.connections;
INSERT INTO keypup.sync_state (account_id, project_id) SELECT account_id, project_id FROM keypup.projects;
INSERT INTO keypup.pull_requests (account_id, project_id, number, external_id, key, title, state, is_draft, created_at, updated_at)
SELECT account_id, project_id, 1, 1, 1, '', 'open', false, now(), now() FROM keypup.projects JOIN keypup.accounts a USING (account_id) WHERE a.name = 'single';
SELECT keypup.set_time_zone('single', 'Pacific/Kiritimati'), keypup.set_time_zone('empty', 'Etc/GMT+12');
CALL pg_temp.read_views();
SELECT * FROM pg_temp.problems;

-- All of the odd: a time zone that no server knows; times from the first year to the last, in every order; nobody's and bots'
-- work; no review, or a hundred; numbers as great as they can be; texts of all kinds. What a provider's clock cannot say is refused.
UPDATE keypup.accounts SET time_zone = 'Mars/Base', production_environments = '{%,"","a(["}', incident_labels = '{%,"",_}' WHERE name = 'odd';
SELECT account_id AS account FROM keypup.accounts WHERE name = 'odd' \gset
SELECT connection_id, project_id FROM keypup.projects WHERE account_id = :'account' \gset
INSERT INTO keypup.projects (account_id, connection_id, name, tracked_by, default_branch, pull_request_total, issue_total)
VALUES (:'account', :'connection_id', 'all/gone', 'me', NULL, 0, 0), (:'account', :'connection_id', 'other/one', 'me', '', 2147483647, 2147483647);
SELECT project_id AS gone FROM keypup.projects WHERE name = 'all/gone' \gset
SELECT keypup.limit_member('odd', 'odd_limited', ARRAY['all/gone']);
CREATE TEMP TABLE moments (at timestamptz);
INSERT INTO moments VALUES ('1999-12-31 23:59:59.999999+00'), ('2025-03-30 01:30:00+00'), (now()), ('9999-12-31 23:59:59.999999+00');
CREATE TEMP TABLE dates (at timestamptz);
INSERT INTO dates VALUES ('4714-11-24 00:00:00+00 BC'), ('2025-03-30 01:30:00+00'), ('294276-12-31 23:59:59.999999+00'), (NULL);
INSERT INTO keypup.pull_requests (account_id, project_id, number, external_id, key, title, state, is_draft, author, author_is_bot, created_at, updated_at, closed_at, merged_at, merged_by,
  base_branch, head_branch, additions, deletions, changed_files, commit_count, first_commit_at, labels, assignees, requested_reviewers, milestone, closes_issues)
SELECT :'account', :'project_id', n, n, n, (ARRAY['', 'Revert "', '#1 #999999999 #1234567890 ##', E'\t\\ %s $1', repeat('ü', 300)])[1 + n % 5], CASE WHEN m.at IS NOT NULL THEN 'merged' WHEN n % 2 = 0 THEN 'open' ELSE 'closed' END,
  n % 7 = 0, CASE WHEN n % 3 > 0 THEN 'ann' END, n % 5 = 0, c.at, u.at, m.at, m.at, CASE WHEN n % 2 = 0 THEN 'ann' END,
  CASE WHEN n % 3 > 0 THEN 'main' END, (ARRAY['issue-1', '', 'fix/123456789-x', NULL])[1 + n % 4], CASE WHEN n % 3 > 0 THEN 2147483647 END, CASE WHEN n % 4 > 0 THEN 2147483647 END, NULL, NULL, d.at,
  CASE WHEN n % 2 = 0 THEN ARRAY[NULL, '', 'bug'] ELSE '{}' END, CASE WHEN n % 2 = 0 THEN ARRAY[NULL, 'ann', ''] ELSE '{}' END, CASE WHEN n % 3 = 0 THEN ARRAY[NULL, 'bob', ''] ELSE '{}' END,
  (ARRAY['M', '', NULL])[1 + n % 3], CASE WHEN n % 2 = 0 THEN ARRAY[NULL, -1, 1, 1, 0, 9223372036854775807] ELSE '{}' END
FROM (SELECT row_number() OVER () AS n, c.at AS c, u.at AS u, m.at AS m, d.at AS d
      FROM moments c, moments u, (TABLE moments UNION ALL SELECT NULL) m, dates d) AS x(n, c_at, u_at, m_at, d_at),
  LATERAL (SELECT c_at) AS c(at), LATERAL (SELECT u_at) AS u(at), LATERAL (SELECT m_at) AS m(at), LATERAL (SELECT d_at) AS d(at);
INSERT INTO keypup.issues (account_id, project_id, number, external_id, key, title, state, state_reason, type, author, author_is_bot, created_at, updated_at, closed_at, labels, assignees, milestone)
SELECT :'account', :'project_id', 1000 + n, n, n, '', CASE WHEN m_at IS NULL AND n % 4 > 0 THEN 'open' ELSE 'closed' END, (ARRAY['', 'reopened', NULL])[1 + n % 3], (ARRAY['', 'Incident', NULL])[1 + n % 3],
  CASE WHEN n % 3 > 0 THEN 'ann' END, n % 5 = 0, c_at, u_at, m_at, CASE WHEN n % 2 = 0 THEN ARRAY[NULL, '', 'incident'] ELSE '{}' END, ARRAY[NULL, ''], (ARRAY['M', '', NULL])[1 + n % 3]
FROM (SELECT row_number() OVER (), c.at, u.at, m.at FROM moments c, moments u, (TABLE moments UNION ALL SELECT NULL) m) AS x(n, c_at, u_at, m_at);
-- Numbers at the ends; and a project whose items are all deleted.
INSERT INTO keypup.issues (account_id, project_id, number, external_id, key, title, state, created_at, updated_at)
SELECT :'account', :'project_id', n, n, n, 'number', 'open', now(), now() FROM unnest('{0,-1,9223372036854775807,-9223372036854775808}'::bigint[]) n;
INSERT INTO keypup.pull_requests (account_id, project_id, number, external_id, key, title, state, is_draft, created_at, updated_at, deleted_at)
SELECT account_id, :'gone', number, external_id, key, title, state, is_draft, created_at, updated_at, now() FROM keypup.pull_requests WHERE account_id = :'account' AND number < 10;
INSERT INTO keypup.issues (account_id, project_id, number, external_id, key, title, state, created_at, updated_at, deleted_at)
SELECT account_id, :'gone', number, external_id, key, title, state, created_at, updated_at, 'infinity' FROM keypup.issues WHERE account_id = :'account' AND number < 1010;
-- Reviews, comments and events of each moment, for every seventh; also of pull requests and issues that are not there.
INSERT INTO keypup.reviews (account_id, project_id, pull_request_number, external_id, author, author_is_bot, state, submitted_at)
SELECT p.account_id, p.project_id, p.number, row_number() OVER (), CASE x.n % 4 WHEN 0 THEN 'ann' WHEN 1 THEN 'bob' WHEN 2 THEN 'ci' END, x.n % 4 = 2, s.state, x.at
FROM keypup.pull_requests p CROSS JOIN (SELECT row_number() OVER (), at FROM (TABLE moments UNION ALL SELECT NULL) m) AS x(n, at)
CROSS JOIN unnest('{approved,changes_requested,commented,dismissed,pending}'::text[]) AS s(state) WHERE p.account_id = :'account' AND p.number % 7 < 2;
INSERT INTO keypup.timeline_events (account_id, project_id, item_kind, item_number, external_id, event, actor, subject, occurred_at)
SELECT :'account', :'project_id', k.kind, k.number, row_number() OVER (), e.event, CASE WHEN k.number % 2 = 0 THEN 'bob' END, CASE WHEN k.number % 3 > 0 THEN 'bob' END, m.at
FROM (SELECT 'pull_request', generate_series(1, 1200, 7) UNION ALL SELECT 'issue', generate_series(1000, 1200, 7)) AS k(kind, number) CROSS JOIN moments m
CROSS JOIN unnest('{ready_for_review,convert_to_draft,review_requested,review_request_removed,merged,closed,reopened,assigned,unassigned,"",unheard_of}'::text[]) AS e(event);
INSERT INTO keypup.comments (account_id, project_id, item_kind, item_number, external_id, author, author_is_bot, created_at)
SELECT :'account', :'project_id', k.kind, k.number, row_number() OVER (), CASE WHEN k.number % 2 = 0 THEN 'bob' END, k.number % 5 = 0, m.at
FROM (SELECT 'pull_request', generate_series(1, 700, 7) UNION ALL SELECT 'review', generate_series(1, 700, 7) UNION ALL SELECT 'issue', generate_series(1000, 1200, 7)) AS k(kind, number) CROSS JOIN moments m;
SELECT keypup.derive_pull_requests(:'account', :'project_id', ARRAY(SELECT number FROM keypup.pull_requests WHERE project_id = :'project_id')),
  keypup.derive_issues(:'account', :'project_id', ARRAY(SELECT number FROM keypup.issues WHERE project_id = :'project_id'));
INSERT INTO keypup.milestones (account_id, project_id, external_id, number, title, state, created_at, updated_at, due_on, closed_at, open_items, closed_items)
SELECT :'account', :'project_id', n, n % 3, CASE WHEN n % 20 = 0 THEN 'M' WHEN n % 21 = 0 THEN '' ELSE 'none ' || n END, CASE WHEN n % 2 = 0 THEN 'open' ELSE 'closed' END, u_at, u_at, d_at, c_at, -1, 9223372036854775807
FROM (SELECT row_number() OVER (), u.at, d.at, c.at FROM (TABLE moments UNION ALL SELECT NULL) u, dates d, (TABLE moments UNION ALL SELECT NULL) c) AS x(n, u_at, d_at, c_at) WHERE n <= 60;
UPDATE keypup.issues i SET milestone_ids = ARRAY(SELECT m.external_id FROM keypup.milestones m WHERE m.account_id = i.account_id AND m.project_id = i.project_id AND m.title = i.milestone) WHERE i.project_id = :'project_id';
UPDATE keypup.pull_requests i SET milestone_ids = ARRAY(SELECT m.external_id FROM keypup.milestones m WHERE m.account_id = i.account_id AND m.project_id = i.project_id AND m.title = i.milestone) WHERE i.project_id = :'project_id';
INSERT INTO keypup.labels (account_id, project_id, external_id, name, color, created_at, updated_at)
SELECT :'account', :'project_id', n, (ARRAY['', 'bug', 'bug'])[n], (ARRAY['', 'zzzzzz', NULL])[n], d.at, d.at FROM generate_series(1, 3) n JOIN LATERAL (SELECT at FROM dates OFFSET n LIMIT 1) d ON true;
INSERT INTO keypup.releases (account_id, project_id, external_id, tag_name, author, is_draft, is_prerelease, created_at, published_at, updated_at, commit_at)
SELECT :'account', :'project_id', row_number() OVER (), '', NULL, false, false, c.at, p.at, c.at, d.at FROM moments c, (TABLE moments UNION ALL SELECT NULL) p, dates d;
INSERT INTO keypup.deployments (account_id, project_id, external_id, environment, state, creator, created_at, updated_at, commit_at, succeeded_at, failed_at)
SELECT :'account', CASE WHEN f.at IS NULL THEN :'project_id' ELSE :'gone' END::bigint, row_number() OVER (), (ARRAY['production', '', 'a(['])[1 + (row_number() OVER ()) % 3], '', NULL, c.at, c.at, d.at, s.at, f.at
FROM moments c, dates d, (TABLE moments UNION ALL SELECT NULL) s, (TABLE moments UNION ALL SELECT NULL) f;
-- People without names, merged across, in a team whose name is odd; a login of two; the sync since the first year, of more than it can count.
INSERT INTO keypup.people (account_id, person_id, name) SELECT :'account', md5(n::text)::uuid, (ARRAY[NULL, '', ' ', 'Ann  Lee'])[n] FROM generate_series(1, 4) n;
INSERT INTO keypup.identities (account_id, connection_id, external_id, login, name, kind, person_id)
SELECT :'account', :'connection_id', 'U' || n, (ARRAY['ann', 'ann', '', 'bob'])[n], (ARRAY[NULL, 'Ann Lee', ' ann  LEE ', E'\n'])[n], 'user', md5(n::text)::uuid FROM generate_series(1, 4) n;
SELECT keypup.merge_people('odd', 'bob', '');
SELECT keypup.set_team('odd', '%s''"', '{bob}');
UPDATE keypup.team_members SET joined_at = '-infinity', left_at = 'infinity' WHERE account_id = :'account';
UPDATE keypup.connections SET rate_limit = 9223372036854775, rate_remaining = -1, rate_reset_at = 'infinity', blocked_until = '-infinity', slowed_at = 'infinity', concurrency = 1e15, scopes = '', can_write = true,
  token_expires_at = '-infinity', hidden_organizations = '' WHERE account_id = :'account';
INSERT INTO keypup.sync_state (account_id, project_id, last_run_started_at, next_run_at) SELECT :'account', project_id, '4714-11-24 00:00:00+00 BC', 'infinity' FROM keypup.projects WHERE name IN ('all/gone', 'other/one');
UPDATE keypup.projects SET pull_request_total = 2147483647, issue_total = 2147483647 WHERE account_id = :'account' AND project_id = :'project_id';
UPDATE keypup.sync_state SET last_run_started_at = '0001-01-01 00:00:00+00' WHERE account_id = :'account' AND project_id = :'project_id';
ANALYZE;
SELECT count(*) > 250 AS pull_requests, (SELECT count(*) > 80 FROM keypup.issues WHERE account_id = :'account') AS issues, (SELECT count(*) > 1000 FROM keypup.reviews WHERE account_id = :'account') AS reviews
FROM keypup.pull_requests WHERE account_id = :'account';
CALL pg_temp.read_views();
SELECT * FROM pg_temp.problems;
SELECT count(*) > 20 AS many_views, count(*) FILTER (WHERE rows > 0) > 20 AS with_rows FROM readings WHERE who = 'odd_viewer' AND form = 'count';

-- From the first year on, in a project of its own: each day until now is a row, which one member reads. Commits are dated as far as a date can be.
INSERT INTO keypup.projects (account_id, connection_id, name, tracked_by) VALUES (:'account', :'connection_id', 'since/ever', 'me') RETURNING project_id AS ever \gset
INSERT INTO keypup.issues (account_id, project_id, number, external_id, key, title, state, created_at, updated_at, closed_at, milestone)
SELECT :'account', :'ever', n, n, n, '', 'closed', '0001-01-01 00:00:00+00', '0001-01-01 00:00:00+00', (ARRAY['0001-01-01 00:00:00+00', now(), '9999-12-31 23:59:59.999999+00'])[n], CASE n WHEN 1 THEN 'E' END FROM generate_series(1, 3) n;
INSERT INTO keypup.pull_requests (account_id, project_id, number, external_id, key, title, state, is_draft, created_at, updated_at, merged_at, first_commit_at, milestone)
SELECT :'account', :'ever', 3 + n, n, n, '', 'merged', false, '0001-01-01 00:00:00+00', '0001-01-01 00:00:00+00', (ARRAY['0001-01-01 00:00:00+00', now(), '9999-12-31 23:59:59.999999+00'])[n], (ARRAY['4714-11-24 00:00:00+00 BC', '294276-12-31 23:59:59.999999+00'])[1 + n % 2]::timestamptz, CASE n WHEN 1 THEN 'E' END FROM generate_series(1, 3) n;
INSERT INTO keypup.milestones (account_id, project_id, external_id, number, title, state, created_at, updated_at, due_on, closed_at) VALUES (:'account', :'ever', 1, 1, 'E', 'closed', '0001-01-01 00:00:00+00', '0001-01-01 00:00:00+00', '4714-11-24 00:00:00+00 BC', '0001-02-01 00:00:00+00');
UPDATE keypup.issues i SET milestone_ids = ARRAY(SELECT m.external_id FROM keypup.milestones m WHERE m.account_id = i.account_id AND m.project_id = i.project_id AND m.title = i.milestone) WHERE i.project_id = :'ever';
UPDATE keypup.pull_requests i SET milestone_ids = ARRAY(SELECT m.external_id FROM keypup.milestones m WHERE m.account_id = i.account_id AND m.project_id = i.project_id AND m.title = i.milestone) WHERE i.project_id = :'ever';
INSERT INTO keypup.deployments (account_id, project_id, external_id, environment, state, created_at, updated_at, succeeded_at) SELECT :'account', :'ever', n, 'production', 'active', t, t, t FROM unnest(ARRAY['0001-01-01 00:00:00+00', now()]) WITH ORDINALITY AS x(t, n);
INSERT INTO keypup.releases (account_id, project_id, external_id, tag_name, is_draft, is_prerelease, created_at, published_at, updated_at) VALUES (:'account', :'ever', 1, '', false, false, '0001-01-01 00:00:00+00', '0001-01-01 00:00:00+00', '0001-01-01 00:00:00+00');
SELECT keypup.derive_pull_requests(:'account', :'ever', '{4,5,6}'), keypup.derive_issues(:'account', :'ever', '{1,2,3}');
-- What no provider's clock can say is refused.
UPDATE keypup.pull_requests SET created_at = 'infinity' WHERE project_id = :'ever' AND number = 4;
UPDATE keypup.pull_requests SET merged_at = '10000-01-01 00:00:00+00' WHERE project_id = :'ever' AND number = 4;
UPDATE keypup.pull_requests SET first_commit_at = '-infinity' WHERE project_id = :'ever' AND number = 4;
UPDATE keypup.issues SET closed_at = '0001-12-31 23:59:59+00 BC' WHERE project_id = :'ever' AND number = 1;
CALL pg_temp.read_views('{odd_viewer,odd_outsider,odd_nobody}', once => true);
SELECT * FROM pg_temp.problems;
SELECT max(rows) > 700000 AS each_day FROM readings WHERE who = 'odd_viewer' AND view = 'issue_flow_daily';

-- The same with the days of a zone that is ahead of all others.
SELECT keypup.untrack('odd', 'since/ever');
SELECT keypup.set_time_zone('odd', 'Pacific/Kiritimati');
CALL pg_temp.read_views('{odd_viewer,odd_limited}', once => true);
SELECT * FROM pg_temp.problems;
UPDATE keypup.accounts SET time_zone = 'Mars/Base' WHERE name = 'odd';

-- The great project is tracked no more; then a connection that is gone.
SELECT keypup.untrack('odd', 'a/b');
CALL pg_temp.read_views(once => true);
SELECT * FROM pg_temp.problems;
DELETE FROM keypup.connections WHERE account_id = :'account';
CALL pg_temp.read_views(once => true);
SELECT * FROM pg_temp.problems;

DELETE FROM keypup.accounts;
DROP OWNED BY odd_viewer, odd_limited, odd_outsider, odd_nobody;
DROP ROLE odd_viewer, odd_limited, odd_outsider, odd_nobody;
DROP VIEW pg_temp.problems;
DROP EXTENSION keypup CASCADE;
