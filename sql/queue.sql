-- The queue of jobs: whose are taken, and which are put together. All of it in a transaction that is undone, so that no worker sees it.
BEGIN;
DELETE FROM keypup.sync_jobs;
INSERT INTO keypup.accounts (account_id, name) SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid, 'queue ' || n FROM generate_series(1, 4) n;
INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by)
SELECT a.account_id, 'github', 'github', 'https://github.example.com', 'test' FROM keypup.accounts a WHERE a.name ~ '^queue';
INSERT INTO keypup.projects (account_id, project_id, connection_id, name, external_id, tracked_by)
SELECT c.account_id, n, c.connection_id, 'demo/' || n, 'R_' || n, 'test'
FROM keypup.connections c JOIN keypup.accounts a USING (account_id), generate_series(1, 2) n WHERE a.name ~ '^queue';
INSERT INTO keypup.sync_state (account_id, project_id)
SELECT p.account_id, p.project_id FROM keypup.projects p JOIN keypup.accounts a USING (account_id) WHERE a.name ~ '^queue';

-- Claims jobs, which are then done; the digits of their accounts, and where the turn ended.
CREATE FUNCTION pg_temp.claim(how_many integer, INOUT after text, OUT accounts text, VARIADIC set_aside uuid[] DEFAULT '{}') LANGUAGE plpgsql AS $$
BEGIN
  SELECT coalesce(string_agg(right(c.account_id::text, 1), '' ORDER BY c.position), '') INTO accounts
  FROM keypup.claim_jobs(1000000, how_many, NULL, NULL, ('00000000-0000-0000-0000-00000000000' || after)::uuid, set_aside) WITH ORDINALITY
    AS c (account_id, job_id, project_id, connection_id, provider, base_url, revision, envelope, position);
  DELETE FROM keypup.sync_jobs j WHERE j.lease_id = 1000000;
  after := coalesce(nullif(right(accounts, 1), ''), after);
END
$$;
CREATE FUNCTION pg_temp.give(account integer, how_many integer, project bigint DEFAULT 1) RETURNS void LANGUAGE sql AS $$
  SELECT keypup.queue_job(('00000000-0000-0000-0000-00000000000' || account)::uuid, project, 'repository', '{}', true, now(), false) FROM generate_series(1, how_many)
$$;

-- Accounts take turns, in a circle, however much each has; one that has come meanwhile is next where it stands.
SELECT pg_temp.give(1, 100), pg_temp.give(2, 2), pg_temp.give(4, 2);
SELECT * FROM pg_temp.claim(2, '0');
SELECT * FROM pg_temp.claim(2, '2');
SELECT pg_temp.give(3, 2);
SELECT * FROM pg_temp.claim(2, '1');
SELECT * FROM pg_temp.claim(2, '3');
-- Nobody is left out where there is room, and one alone gets half of it.
SELECT * FROM pg_temp.claim(8, '1');
SELECT * FROM pg_temp.claim(8, '3');
-- An account that is set aside loses its turn only.
SELECT pg_temp.give(2, 1), pg_temp.give(3, 1);
SELECT * FROM pg_temp.claim(2, '0', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002');
SELECT * FROM pg_temp.claim(2, '0');
-- What is not due yet is nobody's turn.
DELETE FROM keypup.sync_jobs;
SELECT pg_temp.give(1, 3), pg_temp.give(2, 3);
UPDATE keypup.sync_jobs SET due_at = now() + interval '1 hour' WHERE account_id = '00000000-0000-0000-0000-000000000001';
SELECT * FROM pg_temp.claim(2, '0');
-- Of an account the projects take turns: five jobs of one wait already when another comes.
DELETE FROM keypup.sync_jobs;
SELECT pg_temp.give(1, 5), pg_temp.give(1, 2, 2);
SELECT string_agg(j.project_id::text, '' ORDER BY j.queued_at, j.job_id) FROM keypup.sync_jobs j;

-- What does not fill a request waits for more of its kind, while more can come.
DELETE FROM keypup.sync_jobs;
CREATE FUNCTION pg_temp.queue(kind text, first integer, last integer, in_run boolean DEFAULT true) RETURNS void LANGUAGE sql AS $$
  SELECT keypup.github_queue_items('00000000-0000-0000-0000-000000000001', 1, kind, (SELECT jsonb_agg('i' || n ORDER BY n) FROM generate_series(first, last) n), in_run)
$$;
CREATE VIEW pg_temp.waiting AS
SELECT j.kind, jsonb_array_length(j.arguments -> 'items') AS items, j.arguments #>> '{items,0}' AS first, j.arguments #>> '{items,-1}' AS last, j.is_open,
  j.due_at > now() AS waits, j.in_run
FROM keypup.sync_jobs j WHERE j.kind <> 'repository' ORDER BY j.job_id;
SELECT pg_temp.give(1, 1);
SELECT pg_temp.queue('issues', 1, 3);
SELECT pg_temp.queue('pull_requests', 1, 3);
SELECT pg_temp.queue('issues', 3, 5);
TABLE pg_temp.waiting;
-- What is full goes, and the rest waits.
SELECT pg_temp.queue('issues', 6, 118);
TABLE pg_temp.waiting;
-- What somebody is at, what has failed, and what is no part of the run, is left alone.
UPDATE keypup.sync_jobs SET lease_id = 1000000 WHERE is_open AND kind = 'issues';
UPDATE keypup.sync_jobs SET attempts = 1 WHERE is_open AND kind = 'pull_requests';
SELECT pg_temp.queue('issues', 119, 120), pg_temp.queue('pull_requests', 4, 5), pg_temp.queue('issues', 121, 122, false);
TABLE pg_temp.waiting;
-- No more can come: it is due.
DELETE FROM keypup.sync_jobs WHERE kind = 'repository';
SELECT keypup.github_end_waiting('00000000-0000-0000-0000-000000000001', 1, 'repository');
TABLE pg_temp.waiting;
SELECT pg_temp.queue('issues', 123, 124);
TABLE pg_temp.waiting;
ROLLBACK;
