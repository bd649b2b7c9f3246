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
  SELECT account_id, project_id, n, n, '#' || n, 'change ' || n, CASE WHEN merged IS NOT NULL THEN 'merged' WHEN closed IS NOT NULL THEN 'closed' ELSE 'open' END, false, who, who IS NOT DISTINCT FROM 'ci', began,
    coalesce(changed, merged, closed, began), coalesce(merged, closed), merged, first_commit, 'main'
  FROM keypup.projects JOIN keypup.accounts a USING (account_id) WHERE a.name = 'work' $$;
CREATE FUNCTION pg_temp.review(n bigint, id text, who text, state text, at timestamptz) RETURNS void LANGUAGE sql AS $$
  INSERT INTO keypup.reviews (account_id, project_id, pull_request_number, external_id, author, author_is_bot, state, submitted_at)
  SELECT account_id, project_id, n, id, who, who IS NOT DISTINCT FROM 'ci', state, at FROM keypup.projects JOIN keypup.accounts a USING (account_id) WHERE a.name = 'work' $$;
CREATE FUNCTION pg_temp.event(n bigint, id text, event text, at timestamptz, subject text DEFAULT NULL, kind text DEFAULT 'pull_request') RETURNS void LANGUAGE sql AS $$
  INSERT INTO keypup.timeline_events (account_id, project_id, item_kind, item_number, external_id, event, actor, subject, occurred_at)
  SELECT account_id, project_id, kind, n, id, event, 'ann', subject, at FROM keypup.projects JOIN keypup.accounts a USING (account_id) WHERE a.name = 'work' $$;
CREATE FUNCTION pg_temp.comment(n bigint, id text, who text, at timestamptz, kind text DEFAULT 'pull_request', thread text DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
  INSERT INTO keypup.comments (account_id, project_id, item_kind, item_number, external_id, author, author_is_bot, created_at, thread_id)
  SELECT account_id, project_id, kind, n, id, who, who IS NOT DISTINCT FROM 'ci', at, thread FROM keypup.projects JOIN keypup.accounts a USING (account_id) WHERE a.name = 'work' $$;

-- A merge that is dated before the opening: on its own day, here as in throughput. A closing is never before the opening.
BEGIN;
SELECT pg_temp.pull(1, 'ann', '2024-01-10 12:00', '2024-01-09 12:00'), pg_temp.pull(2, 'ann', '2024-01-10 12:00', NULL, '2024-01-08 12:00'), pg_temp.pull(3, 'ann', '2024-01-02 12:00', '2024-01-03 12:00');
SELECT day, items_opened AS opened, items_closed AS closed, items_done AS done FROM keypup.items_daily WHERE account_id = :'account' AND items_opened + items_closed > 0 ORDER BY day;
SELECT period, t.period_start, t.pull_requests_merged, (SELECT sum(d.items_done) FROM keypup.items_daily d WHERE d.account_id = t.account_id AND date_trunc(t.period, d.day::timestamp)::date = t.period_start) AS done
FROM keypup.throughput t WHERE account_id = :'account' AND pull_requests_merged > 0 ORDER BY 1, 2;
ROLLBACK;

-- Working time. By default from Monday to Friday, 9:00 to 17:00, in the account's zone.
SELECT keypup.set_time_zone('work', 'Europe/Paris'), keypup.set_holidays('work', '{2024-05-01,2024-05-01,2023-12-25}');
SELECT working_hours, working_minutes, holidays FROM keypup.accounts WHERE account_id = :'account';
CREATE FUNCTION pg_temp.worked(from_at text, until_at text, zone text DEFAULT 'Europe/Paris') RETURNS interval LANGUAGE sql AS $$
  SELECT keypup.working_time('work', from_at::timestamp AT TIME ZONE zone, until_at::timestamp AT TIME ZONE zone, zone) $$;
-- From Friday at four to Monday at ten, with a change of clocks in between: 2. Nights and weekends: nothing. Until the night: 8:30. Around the 1st of May: two days.
-- The year 2024 has 262 days from Monday to Friday: 261 * 8. In reverse: nothing. A second within an hour.
SELECT pg_temp.worked('2024-03-29 16:00', '2024-04-01 10:00') AS weekend, pg_temp.worked('2024-01-01 22:00', '2024-01-02 03:00') AS night, pg_temp.worked('2024-01-06', '2024-01-08') AS saturday,
  pg_temp.worked('2024-01-01 16:30', '2024-01-02 22:00') AS until_night, pg_temp.worked('2024-04-30 09:00', '2024-05-02 17:00') AS may, pg_temp.worked('2024-01-01', '2025-01-01') AS year,
  pg_temp.worked('2024-01-03', '2024-01-02') AS reversed, pg_temp.worked('2024-01-02 10:00:00.5', '2024-01-02 10:00:01.5') AS second, pg_temp.worked('1999-12-31 16:59:59', '2000-01-03 09:00:01') AS millennium;
-- 14:00 to 23:00 in UTC is 9 to 18 o'clock in New York, and 15 to 24 in Paris. Apia had no Friday that week. A zone that nobody knows is UTC.
SELECT keypup.working_time('work', '2024-01-02 14:00+00', '2024-01-02 23:00+00', 'America/New_York') AS new_york, keypup.working_time('work', '2024-01-02 14:00+00', '2024-01-02 23:00+00') AS paris,
  pg_temp.worked('2011-12-29 09:00', '2012-01-02 09:00', 'Pacific/Apia') AS apia, keypup.working_time('work', '2024-01-02 14:00+00', '2024-01-02 23:00+00', 'Mars/Base') AS mars,
  keypup.working_time('work', '-infinity', '2024-01-01') AS infinite, keypup.working_time('work', NULL, '2024-01-01') AS unknown, keypup.working_time('nowhere', '2024-01-01', '2024-01-02') AS nowhere,
  keypup.working_time('work', '4714-11-24 00:00+00 BC', '0001-01-01 00:00+00') > '1 year' AS ancient, keypup.working_time('work', '294276-12-30 00:00+00', '294276-12-31 23:59:59.999999+00') AS last, keypup.working_time('work', '0001-01-01 00:00+00', '9999-12-31 00:00+00') > '1 year' AS ages;
-- Who works at night works an hour less when clocks go forward, and one more when they go back. The night after Sunday is Monday's.
SELECT keypup.set_working_hours('work', '{Mo-Su 22:00-06:00}');
SELECT working_minutes, pg_temp.worked('2024-03-30 12:00', '2024-03-31 12:00') AS spring, pg_temp.worked('2024-10-26 12:00', '2024-10-27 12:00') AS autumn, pg_temp.worked('2024-01-07 12:00', '2024-01-08 12:00') AS sunday FROM keypup.accounts WHERE account_id = :'account';
-- With a pause at noon, and shorter on Fridays; spans that meet or overlap are one; all the time; days that go round the end of the week.
SELECT keypup.minutes_of_week('{"Mo-Th 09:00-12:30,13:30-18:00","Fr 09:00-15:00"}'), keypup.minutes_of_week('{"Mo,We 09:00-12:00,12:00-13:00","Mo 10:00-12:30"}'), keypup.minutes_of_week('{"Mo-Su 00:00-24:00"}'), keypup.minutes_of_week('{"Sa-Mo 23:00-01:00"}');
SELECT keypup.set_working_hours('work', '{"Mo-Su 00:00-24:00"}');
SELECT pg_temp.worked('2024-01-01', '2024-04-01') = timestamptz '2024-04-01' - timestamptz '2024-01-01' - interval '1 hour' AS all_but_an_hour, pg_temp.worked('2024-04-29', '2024-05-03') AS without_the_first;
SELECT keypup.set_working_hours('work', h) FROM (VALUES ('{Mo-Fr}'::text[])) v(h);
SELECT keypup.set_working_hours('work', '{Mo-Fr 9:00-17:00}');
SELECT keypup.set_working_hours('work', '{Mo-Fr 09:00-25:00}');
SELECT keypup.set_working_hours('work', '{}');
SELECT keypup.set_working_hours('work', NULL);
SELECT keypup.set_working_hours('work', ARRAY[NULL]);
SELECT keypup.set_working_hours('nowhere', '{Mo 09:00-10:00}');
SELECT keypup.set_holidays('work', '{infinity}');
SELECT keypup.set_holidays('work', NULL);
SELECT keypup.set_holidays('nowhere', '{}');
SELECT keypup.time_at_work('{1,2,3}', '{}', 'UTC', now(), now());
SELECT keypup.time_at_work('{5,2}', '{}', 'UTC', now(), now());
SELECT keypup.time_at_work('{5,NULL}', '{}', 'UTC', now(), now());
SELECT keypup.time_at_work('{5,20000}', '{}', 'UTC', now(), now());
-- Minute by minute, as a clock on the wall shows them: the same, whatever the zone, over changes of clocks.
SELECT keypup.set_working_hours('work', '{"Mo-Th 08:30-12:00,13:00-17:45","Fr-Sa 21:15-03:30"}'), keypup.set_holidays('work', '{2024-03-29,2024-04-01,2024-10-25,2024-10-31}');
WITH span AS (
  SELECT z.zone, b.began_at + k * interval '67 hours 13 minutes' AS from_at, b.began_at + k * interval '67 hours 13 minutes' + k * k * interval '7 minutes' AS until_at
  FROM unnest('{Europe/Paris,America/New_York,Australia/Lord_Howe,Asia/Kolkata}'::text[]) AS z(zone), unnest('{2024-03-01,2024-10-14}'::timestamptz[]) AS b(began_at), generate_series(0, 40, 4) AS k
), compared AS (
  SELECT s.zone, keypup.working_time('work', s.from_at, s.until_at, s.zone) AS worked, (
    SELECT count(*) * interval '1 minute'
    FROM generate_series(s.from_at, s.until_at - interval '1 minute', interval '1 minute') AS m(minute)
    CROSS JOIN LATERAL (SELECT m.minute AT TIME ZONE s.zone AS wall) AS w
    CROSS JOIN LATERAL (SELECT extract(isodow FROM w.wall) AS day, w.wall::time AS clock) AS c
    WHERE w.wall::date <> ALL ('{2024-03-29,2024-04-01,2024-10-25,2024-10-31}'::date[])
      AND (c.day <= 4 AND (c.clock >= '08:30' AND c.clock < '12:00' OR c.clock >= '13:00' AND c.clock < '17:45') OR c.day IN (5, 6) AND c.clock >= '21:15' OR c.day IN (6, 7) AND c.clock < '03:30')) AS counted
  FROM span s
)
SELECT zone, count(*) AS spans, count(*) FILTER (WHERE worked IS DISTINCT FROM counted) AS wrong, max(worked) > '30 hours' AS long FROM compared GROUP BY 1 ORDER BY 1;
SELECT action, detail FROM keypup.audit_log WHERE account_id = :'account' AND action IN ('account.working_hours', 'account.holidays') AND outcome = 'done' ORDER BY record_id;

-- 10, in Paris: coding from Thursday 16:00, opened Friday 15:00, asked 16:00; the weekend of a change of clocks; reviewed Monday 10:00, a draft from 12:00 to 13:00, approved Tuesday 11:00, merged 18:00.
-- Coding 1 + 6, pickup 2 + 1, review 7 + 2 - 1, merge 6, draft 1: 25 in all, 1 + 8 + 8 + 8. 11: nobody worked. 12 is open.
SELECT keypup.set_working_hours('work', '{Mo-Fr 09:00-17:00}'), keypup.set_holidays('work', '{2024-05-01}');
SELECT pg_temp.pull(10, 'ann', '2024-03-29 14:00', '2024-04-02 16:00', first_commit => '2024-03-28 15:00'), pg_temp.review(10, 'r1', 'bob', 'commented', '2024-04-01 08:00'), pg_temp.review(10, 'r2', 'bob', 'approved', '2024-04-02 09:00'),
  pg_temp.event(10, 'e1', 'review_requested', '2024-03-29 15:00', 'bob'), pg_temp.event(10, 'e2', 'convert_to_draft', '2024-04-01 10:00'), pg_temp.event(10, 'e3', 'ready_for_review', '2024-04-01 11:00'),
  pg_temp.pull(11, 'ann', '2024-03-30 10:00', '2024-03-31 10:00'), pg_temp.pull(12, 'ann', '2024-04-30 10:00'), pg_temp.review(12, 'r3', 'bob', 'commented', '2024-05-02 10:00');
SELECT keypup.derive_pull_requests(:'account', :'project_id', '{10,11,12}');
SELECT number, working_coding_time AS coding, working_pickup_time AS pickup, working_review_time AS review, working_merge_time AS merge, working_unreviewed_time AS unreviewed, working_draft_time AS draft, working_cycle_time AS cycle,
  working_idle_time AS idle, working_time_to_first_review AS first_review, working_time_to_first_response AS first_response, working_time_to_merge AS to_merge FROM keypup.pull_request_working_times WHERE account_id = :'account' ORDER BY number;
SELECT number, working_cycle_time_hours, working_time_to_merge_hours FROM keypup.pull_request_working_times_hours WHERE account_id = :'account' ORDER BY number;
SELECT number, place, waiting_for, waiting_time, working_waiting_time FROM keypup.pull_request_waiting WHERE account_id = :'account' AND number IN (10, 11) ORDER BY number, place;
-- The stages and the draft sum to the whole here too, whatever the hours; and all hours of all days are the spans themselves.
SELECT keypup.set_working_hours('work', '{Mo-Su 00:00-24:00}'), keypup.set_holidays('work', '{}');
SELECT count(*) AS compared, count(*) FILTER (WHERE (w.working_coding_time, w.working_pickup_time, w.working_review_time, w.working_merge_time, w.working_unreviewed_time, w.working_draft_time, w.working_cycle_time, w.working_idle_time,
  w.working_time_to_first_review, w.working_time_to_first_response) IS DISTINCT FROM (m.coding_time, m.pickup_time, m.review_time, m.merge_time, m.unreviewed_time, m.draft_time, m.cycle_time, m.idle_time, m.time_to_first_review, m.time_to_first_response)) AS wrong
FROM keypup.pull_request_working_times w JOIN keypup.pull_request_metrics m USING (account_id, project_id, number) WHERE account_id = :'account';

-- Left alone, by the default of 30 days. 20: open and unchanged for 30 days. 21: a second less. 22: a bot spoke in between, and closed it 30 days after bob's comment. 23: bob spoke a week before the closing; 24: only when
-- he closed it. 25: asked for a review 29 days before the closing. 26: nothing ever happened. 27: merged after a pause. 28: closed at once. A label is nothing that is done about it.
BEGIN;
SELECT pg_temp.pull(20, 'ann', now() - interval '40 days', changed => now() - interval '30 days'), pg_temp.pull(21, 'ann', now() - interval '40 days', changed => now() - interval '30 days' + interval '1 second'),
  pg_temp.pull(22, 'ann', '2024-01-01', closed => '2024-02-01'), pg_temp.comment(22, 'a1', 'bob', '2024-01-02'), pg_temp.comment(22, 'a2', 'ci', '2024-01-25'), pg_temp.event(22, 'b1', 'labeled', '2024-01-25'), pg_temp.event(22, 'b2', 'closed', '2024-02-01'),
  pg_temp.pull(23, 'ann', '2024-01-01', closed => '2024-03-01'), pg_temp.comment(23, 'a3', 'bob', '2024-02-23', 'review'),
  pg_temp.pull(24, 'ann', '2024-01-01', closed => '2024-03-01'), pg_temp.comment(24, 'a4', 'bob', '2024-02-29 23:50'), pg_temp.review(24, 'c1', 'bob', 'commented', '2024-01-10'),
  pg_temp.pull(25, 'ann', '2024-01-01', closed => '2024-03-01'), pg_temp.event(25, 'b3', 'review_requested', '2024-02-01', 'bob'), pg_temp.pull(26, 'ci', '2024-01-01', closed => '2024-01-31'),
  pg_temp.pull(27, 'ann', '2024-01-01', '2024-06-01'), pg_temp.pull(28, 'ann', '2024-01-01', closed => '2024-01-01 00:30');
SELECT number, state, author_is_bot AS bot, CASE WHEN state = 'closed' THEN last_activity_at END AS last_activity_at, abandoned_time FROM keypup.abandoned_pull_requests WHERE account_id = :'account' AND number >= 20 ORDER BY number;
SELECT keypup.set_stale_after('work', '29 days');
SELECT array_agg(number ORDER BY number) FROM keypup.abandoned_pull_requests WHERE account_id = :'account' AND number >= 20;
SELECT bool_and(w.is_stale = (a.number IS NOT NULL)) AS open_ones_are_stale FROM keypup.pull_request_work_in_progress w LEFT JOIN keypup.abandoned_pull_requests a USING (account_id, project_id, number) WHERE account_id = :'account';
ROLLBACK;
SELECT keypup.set_stale_after('work', '23 hours');
SELECT keypup.set_stale_after('work', NULL);
SELECT keypup.set_stale_after('nowhere', '30 days');

-- Comments of 30, by ann, whose other login is ann-home: two of hers, three by bob and eve, one of a deleted user, one of a bot; two threads. 31 has none; 32 is a deleted user's, who answers.
INSERT INTO keypup.people (account_id, person_id, name) VALUES (:'account', '00000000-0000-0000-0000-000000000001', 'Ann'), (:'account', '00000000-0000-0000-0000-000000000002', 'Bob');
INSERT INTO keypup.identities (account_id, connection_id, external_id, login, kind, person_id)
SELECT :'account', :'connection_id', login, login, 'user', ('00000000-0000-0000-0000-00000000000' || n)::uuid FROM (VALUES ('ann', 1), ('ann-home', 1), ('bob', 2)) AS v(login, n);
SELECT pg_temp.pull(30, 'ann', '2024-01-01', '2024-01-03'), pg_temp.pull(31, 'ann', '2024-01-01'), pg_temp.pull(32, NULL, '2024-01-01'), pg_temp.comment(30, 'd1', 'ann', '2024-01-01'), pg_temp.comment(30, 'd2', 'ann-home', '2024-01-01', 'review', 't1'),
  pg_temp.comment(30, 'd3', 'bob', '2024-01-02', 'review', 't1'), pg_temp.comment(30, 'd4', 'bob', '2024-01-05', 'review', 't2'), pg_temp.comment(30, 'd5', 'eve', '2024-01-02'), pg_temp.comment(30, 'd6', NULL, '2024-01-02'), pg_temp.comment(30, 'd7', 'ci', '2024-01-02'),
  pg_temp.comment(32, 'd8', NULL, '2024-01-02'), pg_temp.comment(31, 'd9', 'bob', '2024-01-02', 'issue');
SELECT number, comments, conversation_comments AS conversation, review_comments AS review, author_comments AS author, reviewer_comments AS reviewer, bot_comments AS bot, commenters, threads FROM keypup.pull_request_comments
WHERE account_id = :'account' AND number BETWEEN 30 AND 39 ORDER BY number;
SELECT keypup.derive_pull_requests(:'account', :'project_id', '{30,31,32}');
SELECT count(*) AS other_counts FROM keypup.pull_request_comments c JOIN keypup.pull_requests p USING (account_id, project_id, number)
WHERE c.comments <> p.comment_count OR c.comments <> c.conversation_comments + c.review_comments OR c.comments <> c.author_comments + c.reviewer_comments + c.bot_comments;

-- Blocked, as labels said. 40: blocked from 10:00 to 12:00, on hold from 11:00 to 15:00: one span; blocked again from 20:00 until the merge at 22:00. 41, an issue: still blocked; another label says nothing. 42: the label was deleted, and
-- nobody says when it went. 43: put on before the opening, and off after the closing. 44: the label was called ice when it was put on, and is called Blocked by X now. The last one is put on twice.
INSERT INTO keypup.labels (account_id, project_id, external_id, name) SELECT :'account', :'project_id', id, name FROM (VALUES ('L1', 'Blocked'), ('L2', 'On hold'), ('L3', 'bug'), ('L4', 'Blocked by X')) AS v(id, name);
CREATE FUNCTION pg_temp.label(kind text, n bigint, event text, id text, name text, at text) RETURNS void LANGUAGE sql AS $$
  INSERT INTO keypup.timeline_events (account_id, project_id, item_kind, item_number, external_id, event, actor, from_value, to_value, occurred_at)
  SELECT account_id, project_id, label.kind, label.n, label.id || label.at || label.event, label.event, 'ann', label.id, label.name, ('2024-01-02 ' || label.at)::timestamptz FROM keypup.projects JOIN keypup.accounts a USING (account_id) WHERE a.name = 'work' $$;
INSERT INTO keypup.issues (account_id, project_id, number, external_id, key, title, state, author, created_at, updated_at, labels) SELECT :'account', :'project_id', 41, 41, '#41', 'i', 'open', 'ann', '2024-01-02', '2024-01-02', '{Blocked,bug}';
SELECT pg_temp.pull(40, 'ann', '2024-01-02', '2024-01-02 22:00'), pg_temp.pull(42, 'ann', '2024-01-02'), pg_temp.pull(43, 'ann', '2024-01-02 09:00', closed => '2024-01-02 12:00'), pg_temp.pull(44, 'ann', '2024-01-02');
UPDATE keypup.pull_requests SET labels = CASE number WHEN 40 THEN '{Blocked}' WHEN 44 THEN '{"Blocked by X"}' ELSE '{}' END::text[] WHERE account_id = :'account';
SELECT count(pg_temp.label(kind, n, event, id, name, at)) FROM (VALUES ('pull_request', 40, 'labeled', 'L1', 'Blocked', '10:00'), ('pull_request', 40, 'unlabeled', 'L1', 'Blocked', '12:00'), ('pull_request', 40, 'labeled', 'L2', 'On hold', '11:00'),
  ('pull_request', 40, 'unlabeled', 'L2', 'On hold', '15:00'), ('pull_request', 40, 'labeled', 'L1', 'Blocked', '20:00'), ('pull_request', 40, 'labeled', 'L3', 'bug', '01:00'), ('issue', 41, 'labeled', 'L1', 'Blocked', '10:00'), ('issue', 41, 'labeled', 'L3', 'bug', '09:00'),
  ('pull_request', 42, 'labeled', 'L9', 'blocked', '10:00'), ('pull_request', 43, 'labeled', 'L1', 'Blocked', '08:00'), ('pull_request', 43, 'unlabeled', 'L1', 'Blocked', '13:00'), ('pull_request', 44, 'labeled', 'L4', 'ice', '10:00'),
  ('pull_request', 44, 'labeled', 'L4', 'ice', '11:00'), ('pull_request', 44, 'unlabeled', 'L4', 'Blocked by X', '16:30')) AS v(kind, n, event, id, name, at);
SELECT keypup.set_working_hours('work', '{Mo-Fr 09:00-17:00}'), keypup.set_time_zone('work', 'UTC');
SELECT item_kind, number, place, start_at, end_at, blocked_time, working_blocked_time FROM keypup.blocked_spans WHERE account_id = :'account' ORDER BY 1, 2, 3;
SELECT keypup.set_blocked_labels('work', '{BUG}');
SELECT item_kind, number, place, start_at, end_at, blocked_time FROM keypup.blocked_spans WHERE account_id = :'account' ORDER BY 1, 2, 3;
SELECT keypup.set_blocked_labels('work', NULL);
SELECT action, detail FROM keypup.audit_log WHERE account_id = :'account' AND action = 'account.blocked_labels' AND outcome = 'done';

-- An issue that was transferred has comments older than itself: the first answer is the one after 5 hours. Two persons of one name are two.
INSERT INTO keypup.issues (account_id, project_id, number, external_id, key, title, state, author, created_at, updated_at) SELECT :'account', :'project_id', 500, 500, '#500', 'i', 'open', 'ann', '2024-01-05', '2024-01-05';
SELECT pg_temp.comment(500, 'g1', 'bob', '2024-01-01', 'issue'), pg_temp.comment(500, 'g2', 'bob', '2024-01-05 05:00', 'issue');
SELECT keypup.derive_issues(:'account', :'project_id', '{500}');
SELECT first_response_time FROM keypup.issue_metrics WHERE account_id = :'account' AND number = 500;
INSERT INTO keypup.people (account_id, person_id, name) SELECT :'account', ('00000000-0000-0000-0000-00000000000' || n)::uuid, 'Wei Zhang' FROM unnest('{3,4}'::int[]) n;
INSERT INTO keypup.identities (account_id, connection_id, external_id, login, kind, person_id) SELECT :'account', :'connection_id', 'wz' || n, 'wz' || n, 'user', ('00000000-0000-0000-0000-00000000000' || n)::uuid FROM unnest('{3,4}'::int[]) n;
SELECT pg_temp.pull(50, 'wz3', '2024-01-01'), pg_temp.pull(51, 'wz4', '2024-01-02');
SELECT person, first_pull_request_at FROM keypup.first_contributions WHERE account_id = :'account' AND person = 'Wei Zhang' ORDER BY 2;

-- Whose hours. The account: UTC, 9 to 17 from Monday to Friday. Bob: the same by the clocks of Tokyo, 0 to 8 in UTC, but for Monday the 5th. Ann, by her other login: 8 to 12 from Monday to Thursday. Eve is no person that is known.
-- 60: ready on Thursday the 1st at 10:00, bob is asked at 12:00 and asks for changes on Tuesday at 2:00: Friday and two hours, 10 for both. ann's until Wednesday at 9:30, when her other login answers: 4 + 1:30. Eve approves on
-- Thursday at 10:00: the account's 7:30 + 1; since ready, 7 + 4 * 8 + 1: 40. Merged on Friday at 12:00: ann's, 2. By the account's hours: 7 + 8 + 8, 8 + 0:30, the same, 7 + 3; asked 5 + 8 + 8.
-- 61: bob's, merged after a day without a review: nobody's turn is known, 7 + 1.
SELECT pg_temp.pull(60, 'ann', '2024-02-01 10:00', '2024-02-09 12:00'), pg_temp.event(60, 'h1', 'review_requested', '2024-02-01 12:00', 'bob'), pg_temp.review(60, 'h1', 'bob', 'changes_requested', '2024-02-06 02:00'),
  pg_temp.comment(60, 'h1', 'ann-home', '2024-02-07 09:30'), pg_temp.review(60, 'h2', 'eve', 'approved', '2024-02-08 10:00'), pg_temp.pull(61, 'bob', '2024-02-01 10:00', '2024-02-02 10:00');
SELECT keypup.derive_pull_requests(:'account', :'project_id', '{60,61}');
CREATE VIEW pg_temp.whose AS
SELECT number, 'turn ' || place || ' ' || waiting_for AS what, login, waiting_time AS time, working_waiting_time AS working FROM keypup.pull_request_waiting WHERE number IN (60, 61)
UNION ALL SELECT number, 'response', login, response_time, working_response_time FROM keypup.pull_request_reviews WHERE number = 60
UNION ALL SELECT number, 'to merge', NULL, NULL, working_time_to_merge FROM keypup.pull_request_working_times WHERE number = 60;
SELECT * FROM pg_temp.whose ORDER BY number, what, login;
SELECT keypup.set_person_working_time('work', 'bob', time_zone => 'asia/tokyo', holidays => '{2024-02-05,2024-02-05}'), keypup.set_person_working_time('work', 'Ann-Home', '{Mo-Th 08:00-12:00}');
SELECT name, time_zone, working_hours, working_minutes, holidays FROM keypup.people WHERE account_id = :'account' AND name IN ('Ann', 'Bob') ORDER BY 1;
SELECT * FROM pg_temp.whose ORDER BY number, what, login;
-- No holidays are other than the account's, which are a Friday and a Tuesday now: 5 + 8 + 8 and 7 + 8 + 8. What is left out is the account's again: 8 less.
SELECT keypup.set_holidays('work', '{2024-02-02,2024-02-06}'), keypup.set_person_working_time('work', 'bob', holidays => '{}');
SELECT * FROM pg_temp.whose WHERE login = 'bob' ORDER BY what;
SELECT has_person_working_times, (SELECT count(*) FROM keypup.people WHERE num_nonnulls(time_zone, working_hours, working_minutes, holidays) > 0) AS own FROM keypup.accounts WHERE account_id = :'account';
SELECT keypup.set_person_working_time('work', 'bob'), keypup.set_person_working_time('work', 'ann');
SELECT * FROM pg_temp.whose WHERE login = 'bob' ORDER BY what;
SELECT has_person_working_times, (SELECT count(*) FROM keypup.people WHERE num_nonnulls(time_zone, working_hours, working_minutes, holidays) > 0) AS own FROM keypup.accounts WHERE account_id = :'account';
SELECT keypup.set_person_working_time('work', 'eve', '{Mo-Fr 10:00-16:00}');
SELECT keypup.set_person_working_time('work', 'bob', '{Mo}');
SELECT keypup.set_person_working_time('work', 'bob', time_zone => 'Mars/Base');
SELECT keypup.set_person_working_time('work', 'bob', holidays => '{infinity}');
SELECT keypup.set_person_working_time('nowhere', 'bob');
SELECT detail FROM keypup.audit_log WHERE account_id = :'account' AND action = 'person.working_time' AND outcome = 'done' ORDER BY record_id;

DELETE FROM keypup.accounts;
DROP EXTENSION keypup CASCADE;
