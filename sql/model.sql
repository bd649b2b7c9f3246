-- How rows get into the tables of the model, and which of them belong together.
\set VERBOSITY terse
SELECT keypup.create_account('model') AS account \gset
INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by)
SELECT :'account', 'github', n, 'https://api.github.com', 'me' FROM unnest(ARRAY['code', 'plans']) AS n;
INSERT INTO keypup.projects (account_id, connection_id, name, external_id, tracked_by)
SELECT :'account', c.connection_id, p.name, p.external_id, 'me'
FROM (VALUES ('code', 'a/app', 'R_app'), ('code', 'a/library', 'R_library'), ('plans', 'a/library', 'R_app'), ('plans', 'b/PROJ', 'PROJ')) AS p (connection, name, external_id)
JOIN keypup.connections c ON c.account_id = :'account' AND c.name = p.connection;
SELECT min(project_id) FILTER (WHERE p.name = 'a/app') AS app, min(project_id) FILTER (WHERE p.name = 'a/library' AND c.name = 'code') AS library,
  min(project_id) FILTER (WHERE p.name = 'a/library' AND c.name = 'plans') AS elsewhere, min(project_id) FILTER (WHERE p.name = 'b/PROJ') AS plans
FROM keypup.projects p JOIN keypup.connections c USING (account_id, connection_id) WHERE p.account_id = :'account' \gset

-- What a provider gives: all columns but the account, the project, what is derived and deleted_at.
\d keypup.provided_issues
CREATE FUNCTION pg_temp.issue(number bigint, key text, title text, updated text, milestones text[] DEFAULT '{}', labels text[] DEFAULT '{}') RETURNS keypup.provided_issues
LANGUAGE sql AS $$
  SELECT ROW(number, key, number, NULL, NULL, title, 'open', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'ann', false, updated::timestamptz, updated::timestamptz, NULL,
    labels, '{}', 'First', milestones, '{}', false)::keypup.provided_issues
$$;
CREATE VIEW pg_temp.stored AS SELECT number, key, title, milestone_ids, deleted_at IS NOT NULL AS is_deleted FROM keypup.issues JOIN keypup.accounts a USING (account_id) WHERE a.name = 'model';
-- New ones, of which a page has one twice: the newer is stored.
SELECT * FROM keypup.store_issues(:'account', :'app', ARRAY[pg_temp.issue(1, '#1', 'one', '2026-01-02Z'), pg_temp.issue(2, '#2', 'two', '2026-01-01Z'), pg_temp.issue(1, '#1', 'one before', '2026-01-01Z')]) AS s (id) ORDER BY id;
SELECT * FROM pg_temp.stored ORDER BY number;
-- Nothing new: nothing is written. What is older changes nothing; what is as old as what is stored does, and so does what comes after a time of the future.
SELECT * FROM keypup.store_issues(:'account', :'app', ARRAY[pg_temp.issue(1, '#1', 'one', '2026-01-02Z')]);
SELECT * FROM keypup.store_issues(:'account', :'app', ARRAY[pg_temp.issue(1, '#1', 'late', '2026-01-01Z'), pg_temp.issue(2, '#2', 'again', '2026-01-01Z')]);
UPDATE keypup.issues SET updated_at = now() + interval '10 years' WHERE project_id = :'app' AND number = 2;
SELECT * FROM keypup.store_issues(:'account', :'app', ARRAY[pg_temp.issue(2, '#2', 'now', '2026-01-01Z')]);
SELECT * FROM pg_temp.stored ORDER BY number;
SELECT keypup.overtaken_items(:'account', :'app', 'issues', '{1,2,3}', '{1,2,3}', '{2026-01-01Z,2026-01-01Z,2026-01-01Z}') AS older, keypup.overtaken_items(:'account', :'app', 'pull_requests', '{1}', '{1}', '{2026-01-01Z}') AS of_others,
  keypup.overtaken_items(:'account', :'app', 'issues', '{1}', '{another}', '{2026-01-01Z}') AS another;
-- As the row itself is taken, so are its lists: after a time of the future, too.
BEGIN;
UPDATE keypup.issues SET updated_at = now() + interval '10 years' WHERE project_id = :'app' AND number = 1;
SELECT keypup.overtaken_items(:'account', :'app', 'issues', '{1}', '{1}', '{2026-01-01Z}') AS after_the_future;
ROLLBACK;
-- What was deleted and is there after all; no rows; and a list that nobody knows.
UPDATE keypup.issues SET deleted_at = now() WHERE project_id = :'app' AND number = 1;
SELECT * FROM keypup.store_issues(:'account', :'app', ARRAY[pg_temp.issue(1, '#1', 'one', '2026-01-02Z')]);
SELECT * FROM keypup.store_issues(:'account', :'app', '{}');
SELECT * FROM keypup.store_issues(:'account', :'app', NULL);
SELECT * FROM keypup.store_issues(:'account', :'app', ARRAY[pg_temp.issue(3, '#3', 'no list', '2026-01-01Z', labels => NULL)]);
-- Nor is a NULL in a list; and of two things of one number none is dropped in silence.
SELECT * FROM keypup.store_issues(:'account', :'app', ARRAY[pg_temp.issue(3, '#3', 'no name', '2026-01-01Z', labels => '{bug,NULL}')]);
SELECT * FROM keypup.store_issues(:'account', :'app', ARRAY(SELECT ROW((i).number, (i).key, 'id ' || n, NULL, NULL, (i).title, 'open', NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  NULL, NULL, false, now(), now(), NULL, '{}', '{}', NULL, '{}', '{}', false)::keypup.provided_issues FROM generate_series(1, 2) n, pg_temp.issue(4, '#4', 'two', '2026-01-01Z') i));
SELECT * FROM pg_temp.stored ORDER BY number;

-- Several milestones: each counts the item; a rename is that of the title where it is the first, and what is deleted leaves the others.
SELECT count(*) FROM keypup.store_milestones(:'account', :'app', ARRAY(SELECT ROW('m' || n, n, (ARRAY['First', 'Second'])[n], 'open', NULL, NULL, NULL, NULL, NULL)::keypup.provided_milestones FROM generate_series(1, 2) n));
SELECT * FROM keypup.store_issues(:'account', :'app', ARRAY[pg_temp.issue(1, '#1', 'one', '2026-01-02Z', '{m1,m2}'), pg_temp.issue(2, '#2', 'two', '2026-01-02Z', '{m2}')]) AS s (id) ORDER BY id;
SELECT keypup.derive_milestones(:'account', :'app');
SELECT title, open_items, scope FROM keypup.milestones m JOIN keypup.milestone_progress p USING (account_id, project_id, title) WHERE m.project_id = :'app' ORDER BY title;
SELECT 1 FROM keypup.follow_milestones(:'account', :'app', '[{"id": "m1", "name": "Renamed"}, {"id": "m2", "name": "Second"}]', now());
SELECT number, milestone, milestone_ids FROM keypup.issues WHERE project_id = :'app' ORDER BY number;
-- Another of the same title takes it from none.
SELECT 1 FROM keypup.follow_milestones(:'account', :'app', '[{"id": "m3", "name": "Second"}]', now());
SELECT external_id, title FROM keypup.milestones WHERE project_id = :'app' ORDER BY external_id;
DELETE FROM keypup.milestones WHERE project_id = :'app' AND external_id = 'm1';
SELECT keypup.forget_milestones(:'account', :'app', '{m1}');
SELECT number, milestone, milestone_ids FROM keypup.issues WHERE project_id = :'app' ORDER BY number;

-- Two labels of one name, as a group's and a project's own, on two pages of a list: it is learned that both have it, and from then on nothing changes.
CREATE FUNCTION pg_temp.take_labels(account uuid, project bigint, page text, OUT labels text, OUT of_item text[]) LANGUAGE plpgsql AS $$
DECLARE
  seen jsonb := (SELECT jsonb_agg(jsonb_build_object('id', split_part(l, ' ', 1), 'name', split_part(l, ' ', 2))) FROM string_to_table(page, ', ') AS l);
BEGIN
  PERFORM keypup.follow_labels(account, project, seen, now());
  PERFORM keypup.store_labels(account, project, ARRAY(SELECT ROW(s.id, s.name, NULL, NULL, NULL)::keypup.provided_labels FROM jsonb_to_recordset(seen) AS s (id text, name text)));
  SELECT string_agg(l.external_id || ' ' || l.name, ', ' ORDER BY l.external_id COLLATE "C") INTO labels FROM keypup.labels l WHERE l.project_id = project;
  SELECT i.labels INTO of_item FROM keypup.issues i WHERE i.project_id = project AND i.number = 1;
END
$$;
SELECT count(*) FROM keypup.store_issues(:'account', :'app', ARRAY[pg_temp.issue(1, '#1', 'one', '2026-01-02Z', '{m2}', '{bug,good}')]);
SELECT u.page, t.* FROM unnest('{g1 bug,p1 bug,g1 bug,p1 bug,g1 bug,p1 bug}'::text[]) WITH ORDINALITY AS u (page, n) CROSS JOIN LATERAL pg_temp.take_labels(:'account', :'app', u.page) AS t ORDER BY u.n;
-- In one list nothing is to be learned. One that gets another name leaves it to the other; one that takes a name leaves none to who had it.
SELECT u.page, t.* FROM (VALUES (1, 'g1 bug, p1 bug, x1 bug'), (2, 'x1 bug, p1 bug, g1 bug'), (3, 'p1 defect'), (4, 'n1 defect'), (5, 'p1 fault')) AS u (n, page)
CROSS JOIN LATERAL pg_temp.take_labels(:'account', :'app', u.page) AS t ORDER BY u.n;
-- What is deleted stays with the items while another is called so.
DELETE FROM keypup.labels WHERE project_id = :'app' AND external_id = 'g1';
SELECT keypup.forget_labels(:'account', :'app', '{bug}');
SELECT labels FROM keypup.issues WHERE project_id = :'app' AND number = 1;
DELETE FROM keypup.labels WHERE project_id = :'app' AND external_id = 'x1';
SELECT keypup.forget_labels(:'account', :'app', '{bug}');
SELECT labels FROM keypup.issues WHERE project_id = :'app' AND number = 1;

-- What looks like a key.
SELECT t.title, t.branch, keypup.mentioned_keys(t.title, t.branch) AS keys
FROM (VALUES ('PROJ-12: mend UTF-8, see PROJ-3 and PROJ-12', 'feature/PROJ-7-x'), ('proj-12 XPROJ-01 PROJ-0 A-1 aPROJ-1 PROJ-1a', NULL), ('[AB_C2-9](AB_C2-10)', 'AB_C2-11_more'), ('', NULL),
  ('[WIP]', 'PROJ-1')) AS t (title, branch);
SELECT cardinality(keypup.mentioned_keys(repeat('Q', 30) || '-1 ' || string_agg('K' || n || 'X-' || n, ' '), '')) AS at_most FROM generate_series(1, 40) n;
-- A very long title does not cut a key in two, nor hide that of the branch.
SELECT keypup.mentioned_keys(repeat('x', 1993) || ' PROJ-123', 'PROJ-7') AS keys, keypup.mentioned_keys(repeat('x', 1993) || ' PROJ-123', NULL) AS of_title;
SELECT keypup.numbers_in_title('#12 ' || repeat('x', 1993) || ' #345') AS numbers, keypup.numbers_in_title('#12 ' || repeat('x', 1990) || ' #9 #345') AS one_is_cut;
-- Links: within the project, into another one of the same connection, not into one that has its id at another server; by keys wherever they are.
SELECT * FROM keypup.store_issues(:'account', :'library', ARRAY[pg_temp.issue(1, '#1', 'of the library', '2026-01-01Z')]);
SELECT * FROM keypup.store_issues(:'account', :'elsewhere', ARRAY[pg_temp.issue(1, '#1', 'of another server', '2026-01-01Z')]);
SELECT * FROM keypup.store_issues(:'account', :'plans', ARRAY[pg_temp.issue(5012, 'PROJ-12', 'planned', '2026-01-01Z'), pg_temp.issue(5013, 'PROJ-13', 'planned', '2026-01-01Z'), pg_temp.issue(5014, 'PROJ-14', 'gone', '2026-01-01Z')]) AS s (id) ORDER BY id;
UPDATE keypup.issues SET deleted_at = now() WHERE number = 5014;
CREATE FUNCTION pg_temp.pull_request(number bigint, title text, branch text, closes bigint[] DEFAULT '{}', elsewhere text[] DEFAULT '{}') RETURNS keypup.provided_pull_requests
LANGUAGE sql AS $$
  SELECT ROW(number, '#' || number, number, NULL, NULL, title, 'open', false, 'ann', false, now(), now(), NULL, NULL, NULL, 'main', branch, 1, 1, 1, 1, now(), '{}', '{}', '{}', NULL, '{}', closes, elsewhere,
    false)::keypup.provided_pull_requests
$$;
SELECT count(*) FROM keypup.store_pull_requests(:'account', :'app', ARRAY[
  pg_temp.pull_request(11, 'PROJ-12 and #2', 'PROJ-12-x', '{1}', '{R_library 1,R_app 1,R_unknown 7}'), pg_temp.pull_request(12, 'UTF-8', 'PROJ-13'), pg_temp.pull_request(13, 'PROJ-14 is gone', NULL)]);
SELECT l.pull_request_number, p.name, i.key, i.title, l.sources
FROM keypup.item_links l JOIN keypup.projects p ON p.account_id = l.account_id AND p.project_id = l.issue_project_id
JOIN keypup.issues i ON i.account_id = l.account_id AND i.project_id = l.issue_project_id AND i.number = l.issue_number
WHERE l.account_id = :'account' ORDER BY 1, 2, 3;
-- What names no issue of another project is refused; where it is stored nevertheless, the other links are there.
SELECT * FROM keypup.store_pull_requests(:'account', :'app', ARRAY[pg_temp.pull_request(14, 'x', NULL, '{}', '{R_library x}')]);
BEGIN;
ALTER TABLE keypup.pull_requests DROP CONSTRAINT pull_requests_closes_elsewhere_check;
UPDATE keypup.pull_requests SET closes_elsewhere = '{R_library,"","R_library x","R_library 1",R_library 99999999999999999999}' WHERE project_id = :'app' AND number = 11;
SELECT count(*) FROM keypup.item_links l WHERE l.account_id = :'account';
ROLLBACK;
-- Slices go up to the last number, however high it is.
SELECT count(*) FROM keypup.store_issues(:'account', :'app', ARRAY[pg_temp.issue(9223372036854775807, '#max', 'last', '2026-01-01Z')]);
INSERT INTO keypup.sync_state (account_id, project_id, reread_to) VALUES (:'account', :'app', 9223372036854775000);
SELECT * FROM keypup.next_slice(:'account', :'app');
-- What is gone, by ids of whatever kind; what nobody could find is not passed over.
UPDATE keypup.issues SET external_id = '77' WHERE project_id = :'app' AND number = 9223372036854775807;
SELECT keypup.take_gone(:'account', :'app', '{"of": "issues", "is_second": true}', '[{"id": 77, "number": 7}]');
SELECT count(*) FROM keypup.issues WHERE project_id = :'app' AND deleted_at IS NOT NULL;
SELECT keypup.take_gone(:'account', :'app', '{"of": "issues", "is_second": true}', '["77"]');
SELECT keypup.take_gone(:'account', :'app', '{"of": "cards"}', '[{"id": "77"}]');
-- Without a word that it was the second time it is the first.
SELECT keypup.take_gone(:'account', :'library', '{"of": "issues"}', '[{"id": "1"}]');
SELECT count(*) FILTER (WHERE i.deleted_at IS NULL) AS issues, (SELECT count(*) FROM keypup.sync_jobs j WHERE j.project_id = :'library' AND j.kind = 'existence' AND (j.arguments ->> 'is_second')::boolean) AS asked
FROM keypup.issues i WHERE i.project_id = :'library';

-- Who somebody is may be learned later, and is not forgotten.
SELECT connection_id AS code FROM keypup.projects WHERE project_id = :'app' \gset
SELECT FROM unnest('{unknown,user,unknown}'::text[]) AS k (kind) CROSS JOIN LATERAL keypup.store_people(:'account', :'app', ARRAY[ROW('u1', 'ann', NULL, k.kind, false)::keypup.provided_identity]);
SELECT i.login, i.kind, p.name FROM keypup.identities i LEFT JOIN keypup.people p USING (account_id, person_id) WHERE i.connection_id = :'code';

-- What a provider says that cannot be meant. All of it is undone: such a provider is nobody's.
BEGIN;
INSERT INTO keypup.providers (provider, title, project_pattern, project_hint, token_hint, authorizes_by, reads) VALUES ('odd', 'Odd', '.', '', '', 'raw', '{issues}');
SAVEPOINT before;
UPDATE keypup.providers SET reads = '{issue}' WHERE provider = 'odd';
ROLLBACK TO before;
INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by) VALUES (:'account', 'odd', 'odd', 'https://odd.example.com', 'me') RETURNING connection_id AS odd \gset
INSERT INTO keypup.projects (account_id, connection_id, name, tracked_by) VALUES (:'account', :'odd', 'odd', 'me') RETURNING project_id AS odd_project \gset
INSERT INTO keypup.sync_state (account_id, project_id) VALUES (:'account', :'odd_project');
INSERT INTO keypup.connection_tokens (account_id, connection_id, purpose, envelope) VALUES (:'account', :'odd', 'access_token', '\x4b500101' || repeat('x', 40)::bytea);
CREATE TABLE pg_temp.said (verdict keypup.verdict, ends boolean, named jsonb);
CREATE FUNCTION keypup.odd_verdict(status integer, headers jsonb, reply jsonb, failure text) RETURNS keypup.verdict LANGUAGE sql AS 'SELECT s.verdict FROM pg_temp.said s';
CREATE FUNCTION keypup.odd_learn(account uuid, job bigint, status integer, headers jsonb, reply jsonb, INOUT verdict keypup.verdict) LANGUAGE sql AS 'SELECT verdict';
CREATE FUNCTION keypup.odd_page(account uuid, job bigint, headers jsonb, reply jsonb, milliseconds integer, interval_seconds integer) RETURNS boolean LANGUAGE sql AS 'SELECT s.ends FROM pg_temp.said s';
CREATE FUNCTION keypup.odd_settle(account uuid, connection uuid, project bigint, kind text, headers jsonb, verdict text) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION keypup.odd_failures(account uuid, project bigint, kind text, arguments jsonb, failures jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT s.named FROM pg_temp.said s';
CREATE FUNCTION pg_temp.answer(verdict keypup.verdict, ends boolean, reply jsonb DEFAULT '{}', failure text DEFAULT NULL, named jsonb DEFAULT NULL, OUT jobs bigint, OUT error text, OUT state text, OUT blocked interval, OUT rate_limit bigint)
LANGUAGE plpgsql AS $$
DECLARE
  the_job record;
BEGIN
  DELETE FROM pg_temp.said;
  INSERT INTO pg_temp.said VALUES (verdict, ends, named);
  DELETE FROM keypup.sync_jobs j USING keypup.connections c WHERE c.connection_id = j.connection_id AND c.provider = 'odd';
  UPDATE keypup.connections c SET blocked_until = NULL, state = 'new' WHERE c.provider = 'odd';
  UPDATE keypup.sync_state s SET last_error = NULL FROM keypup.projects p WHERE p.project_id = s.project_id AND p.name = 'odd';
  INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, arguments, in_run, lease_id, attempts)
  SELECT p.account_id, p.connection_id, p.project_id, 'list', '{"items": ["a"]}', true, 1, 2 FROM keypup.projects p JOIN keypup.connections c USING (connection_id) WHERE c.provider = 'odd' RETURNING * INTO the_job;
  PERFORM keypup.take_answer(the_job.account_id, the_job.job_id, 60, 200, '{}', reply, failure, NULL, 10, 1);
  SELECT count(*) INTO jobs FROM keypup.sync_jobs j WHERE j.project_id = the_job.project_id;
  SELECT s.last_error INTO error FROM keypup.sync_state s WHERE s.project_id = the_job.project_id;
  SELECT c.state, c.blocked_until - now(), c.rate_limit INTO state, blocked, rate_limit FROM keypup.connections c WHERE c.connection_id = the_job.connection_id;
EXCEPTION WHEN OTHERS THEN
  error := SQLERRM;
END
$$;
-- A page; one that does not say whether its job has ended, or only says that it has not; what cannot be read; pauses without a length; no limit, in the ways in which some say that.
SELECT a.* FROM (VALUES
  (1, 'page', NULL::timestamptz, NULL::bigint, true, '{}'::jsonb, NULL), (2, 'page', NULL, NULL, NULL, '{}', NULL), (3, 'page', NULL, NULL, false, '{}', NULL),
  (4, 'page', NULL, NULL, true, NULL, NULL), (5, 'page', NULL, NULL, true, NULL, 'the network is down'), (6, 'paused', now() - interval '1 day', NULL, true, '{}', NULL),
  (7, 'page', NULL, 9223372036854775807, true, '{}', NULL), (8, 'page', NULL, -1, true, '{}', NULL)) AS v (n, verdict, retry_at, budget, ends, reply, failure)
CROSS JOIN LATERAL pg_temp.answer(ROW(v.verdict, NULL, NULL, v.retry_at, v.budget, v.budget, now() + interval '1 minute', NULL, true, false), v.ends, v.reply, v.failure) AS a ORDER BY v.n;
-- What a job could not read in the end is named, and asked for again; a list that names nothing does not end it.
SELECT v.n, a.jobs, a.error FROM (VALUES (1, NULL::jsonb), (2, '[]'), (3, '{"kind": "list"}'), (4, '[{"kind": "list", "item_id": "", "reason": "too much"}]')) AS v (n, named)
CROSS JOIN LATERAL pg_temp.answer(ROW('smaller', 'too much', NULL, NULL, NULL, NULL, NULL, NULL, true, false), true, '{}', NULL, v.named) AS a ORDER BY v.n;
SELECT kind, reason FROM keypup.sync_failures WHERE project_id = :'odd_project';
ROLLBACK;
SELECT 1 FROM keypup.drop_account('model');
