-- Which logins become one person by rule, which are only suggested, and who may have it done. The answers stand beside.
SET client_min_messages = warning;
\set SHOW_CONTEXT never
SET timezone = 'UTC';
\pset null '-'
CREATE EXTENSION IF NOT EXISTS keypup;
-- A worker would merge, too, at a time of its own.
DO $$
BEGIN
  EXECUTE format('ALTER DATABASE %I SET keypup.workers = 0', current_database());
END
$$;
DO $$
BEGIN
  WHILE EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND backend_type LIKE 'keypup%') LOOP
    PERFORM pg_sleep(0.05), pg_stat_clear_snapshot();
  END LOOP;
END
$$;
SELECT keypup.create_account('people') AS account \gset
SELECT keypup.create_account('others') AS others \gset
-- hub and hub2 are one address, corp is another; the other account has hub's address too.
INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by, created_at) VALUES
  (:'account', 'github', 'hub', 'https://api.github.com', 'me', '2024-01-01'), (:'account', 'github', 'hub2', 'https://api.github.com', 'me', '2024-01-02'),
  (:'account', 'github', 'corp', 'https://git.corp.example/api/v3', 'me', '2024-01-03'), (:'others', 'github', 'hub', 'https://api.github.com', 'me', '2024-01-01');
-- A login is written connection/external id/login/name; each is a person of its own.
CREATE FUNCTION pg_temp.meet(the_account uuid, VARIADIC logins text[]) RETURNS void LANGUAGE sql AS $$
  WITH met AS (
    SELECT c.connection_id, split_part(l, '/', 2) AS external_id, split_part(l, '/', 3) AS login, nullif(split_part(l, '/', 4), '') AS name,
      CASE WHEN split_part(l, '/', 3) !~ 'bot' THEN gen_random_uuid() END AS person_id
    FROM unnest(logins) AS l JOIN keypup.connections c ON c.account_id = the_account AND c.name = split_part(l, '/', 1)
  ), person AS (
    INSERT INTO keypup.people (account_id, person_id, name) SELECT the_account, m.person_id, coalesce(m.name, m.login) FROM met m WHERE m.person_id IS NOT NULL
  )
  INSERT INTO keypup.identities (account_id, connection_id, external_id, login, name, kind, person_id)
  SELECT the_account, m.connection_id, m.external_id, m.login, m.name, CASE WHEN m.person_id IS NULL THEN 'bot' ELSE 'user' END, m.person_id FROM met m
$$;
-- Who is one person now: the logins of each person that has several.
CREATE VIEW pg_temp.together AS
SELECT a.name AS account, string_agg(c.name || '/' || i.login || coalesce(' ' || g.rule, ''), ', ' ORDER BY c.name, i.login) AS logins
FROM keypup.identities i JOIN keypup.accounts a USING (account_id) JOIN keypup.connections c USING (account_id, connection_id)
LEFT JOIN keypup.person_merges g USING (account_id, connection_id, external_id)
WHERE i.person_id IS NOT NULL GROUP BY a.name, i.person_id HAVING count(*) > 1;

SELECT pg_temp.meet(:'account',
  'hub/U1/ann/Ann Lee', 'hub2/U1/ann/Ann Lee',           -- one id at one address: one person
  'hub/U2/bob/Bob Roe', 'corp/U2/bob/Bob Roe',           -- one id at two addresses: two people, until somebody says otherwise
  'hub/U3/eve/Eve', 'hub2/U9/eve/Eve',                   -- a login that was given up and taken: two people
  'hub/login:old/old/', 'hub2/login:old/old/',           -- no id: the login may have changed hands
  'hub/B1/ci-bot/', 'hub2/B1/ci-bot/',                   -- a bot is no person
  'hub/U4/dan/Dan', 'corp/C4/DAN/Dan');                  -- alike by login; Dan is one word
SELECT pg_temp.meet(:'others', 'hub/U1/ann/Ann Lee');
SELECT keypup.merge_verified_people('people');
SELECT * FROM pg_temp.together ORDER BY 1, 2;
SELECT keypup.merge_verified_people('people') AS again, keypup.merge_verified_people('others') AS others;
SELECT connection, login, person, into_connection, into_login, into_person, reasons FROM keypup.person_suggestions WHERE account_id = :'account' ORDER BY 1, 2;
SELECT count(*) FROM keypup.person_suggestions WHERE account_id = :'others';

-- Split is split: neither the rule nor a suggestion brings it back.
SELECT keypup.split_person('people', 'hub2/ann');
SELECT keypup.merge_verified_people('people') AS merged, (SELECT count(*) FROM pg_temp.together) AS together;
SELECT count(*) FROM keypup.person_suggestions WHERE account_id = :'account' AND 'ann' IN (login, into_login);
-- Merged by hand it is by hand.
SELECT keypup.merge_people('people', 'hub2/ann', 'hub/ann');
SELECT * FROM pg_temp.together ORDER BY 1, 2;
SELECT count(*) FROM keypup.person_splits;
SELECT keypup.split_person('people', 'hub2/ann');

-- What somebody said stands: hub2/fay is gus. hub/fay, the same id, follows it; hub/kim is two people by hand, and stays.
SELECT pg_temp.meet(:'account', 'hub/U5/fay/Fay', 'hub2/U5/fay/Fay', 'hub/U6/gus/Gus', 'hub/U7/hal/Hal', 'hub/U8/kim/Kim', 'hub2/U8/kim/Kim', 'corp/C8/kim/Kim');
SELECT keypup.merge_people('people', 'hub2/fay', 'gus');
SELECT keypup.merge_people('people', 'hub2/kim', 'hub/hal');
SELECT keypup.merge_people('people', 'hub/kim', 'hub/eve');
SELECT keypup.merge_verified_people('people');
SELECT * FROM pg_temp.together ORDER BY 1, 2;

-- One member, to whom two ids are linked, is one person; a link to somebody who never wrote anything changes nothing.
SELECT keypup.add_person('people', 'bob', 'viewer'), keypup.add_person('people', 'ivy', 'viewer');
INSERT INTO keypup.identity_providers (account_id, issuer, kind, client_ids, added_by)
SELECT account_id, base_url, 'repositories', array_agg(connection_id::text), 'me' FROM keypup.connections WHERE account_id = :'account' GROUP BY 1, 2
UNION ALL SELECT :'account', 'https://login.corp.example', 'openid', '{c}', 'me';
SELECT keypup.link_person('people', 'bob', 'https://login.corp.example', 'U4'), keypup.link_person('people', 'bob', 'https://api.github.com', 'U2');
SELECT keypup.merge_verified_people('people') AS one_link;
SELECT keypup.link_person('people', 'bob', 'https://git.corp.example/api/v3', 'U2'), keypup.link_person('people', 'ivy', 'https://api.github.com', 'U77');
SELECT keypup.merge_verified_people('people') AS two_links;
SELECT * FROM pg_temp.together WHERE logins ~ 'bob';
SELECT connection, login, into_connection, into_login, reasons FROM keypup.person_suggestions WHERE account_id = :'account' ORDER BY 1, 2;
-- Whoever was merged into one that moves comes along, by the rule of then.
SELECT pg_temp.meet(:'account', 'hub/U10/lea/Lea', 'hub/U11/lea-old/', 'corp/C10/lea/Lea');
SELECT keypup.merge_people('people', 'lea-old', 'corp/lea');
SELECT keypup.link_person('people', 'ivy', 'https://git.corp.example/api/v3', 'C10');
UPDATE keypup.person_identities SET subject = 'U10' WHERE subject = 'U77';
SELECT keypup.merge_verified_people('people');
SELECT * FROM pg_temp.together WHERE logins ~ 'lea';
SELECT keypup.split_person('people', 'corp/lea');
SELECT * FROM pg_temp.together WHERE logins ~ 'lea';

-- A circle: each of two ids is by hand the other's person too. Which of the two persons stays is no matter.
SELECT pg_temp.meet(:'account', 'hub/U20/max/', 'hub2/U20/max/', 'corp/C20/max/', 'hub/U21/max2/', 'hub2/U21/max2/');
SELECT keypup.merge_people('people', 'hub2/max', 'hub/max2'), keypup.merge_people('people', 'hub2/max2', 'hub/max');
SELECT keypup.merge_verified_people('people');
SELECT regexp_replace(logins, ' (manual|same_account)', '', 'g') AS logins FROM pg_temp.together WHERE logins ~ 'max';

-- The worker does the same, for all accounts.
SELECT pg_temp.meet(:'account', 'hub/U30/pia/', 'hub2/U30/pia/');
SELECT keypup.merge_verified_people_of_accounts();
SELECT * FROM pg_temp.together WHERE logins ~ 'pia';

-- Rights: who manages users may; a viewer reads the suggestions; nobody else learns anything.
CREATE ROLE people_admin; CREATE ROLE people_viewer; CREATE ROLE people_outsider;
SELECT keypup.add_member('people', 'people_admin', 'admin'), keypup.add_member('people', 'people_viewer', 'viewer'), keypup.add_member('others', 'people_outsider', 'owner');
SELECT pg_temp.meet(:'account', 'hub/U40/ron/Ron Day', 'hub2/U40/ron/Ron Day', 'corp/C40/ron/Ron Day');
SET ROLE people_viewer;
SELECT keypup.merge_verified_people('people');
SELECT keypup.merge_by_rules(NULL);
SELECT keypup.merge_verified_people_of_accounts();
SELECT connection, login, into_connection, into_login, reasons FROM keypup.person_suggestions WHERE login = 'ron' ORDER BY 1, 2;
SELECT count(*) FROM keypup.person_splits;
DELETE FROM keypup.person_splits;
SET ROLE people_outsider;
SELECT keypup.merge_verified_people('people');
SELECT keypup.merge_verified_people('nowhere');
SELECT keypup.merge_verified_people(NULL);
SELECT (SELECT count(*) FROM keypup.person_suggestions) AS suggestions, (SELECT count(*) FROM keypup.person_splits) AS splits, (SELECT count(*) FROM keypup.person_merges) AS merges;
SET ROLE people_admin;
SELECT keypup.merge_verified_people('people');
SELECT connection, login, into_connection, into_login, reasons FROM keypup.person_suggestions WHERE login = 'ron' ORDER BY 1, 2;
RESET ROLE;
SELECT merged_by, rule, count(*) FROM keypup.person_merges WHERE merged_by = 'people_admin' GROUP BY 1, 2;
SELECT actor = current_user AS mine, outcome, detail FROM keypup.audit_log WHERE account_id = :'account' AND action = 'person.merge' AND detail ~ 'by rule' ORDER BY record_id;
-- Who reads a login reads its rule.
SELECT login, person, merged_by_rule FROM keypup.person_logins WHERE account_id = :'account' AND login IN ('ron', 'bob') ORDER BY 1, 3;

-- A connection that goes takes its merges along, and leaves the others theirs.
DELETE FROM keypup.connections WHERE account_id = :'account' AND name = 'hub2';
SELECT * FROM pg_temp.together WHERE logins !~ 'max' ORDER BY 1, 2;
DROP VIEW pg_temp.together;
DELETE FROM keypup.accounts;
DROP OWNED BY people_admin, people_viewer, people_outsider;
DROP ROLE people_admin, people_viewer, people_outsider;
DROP EXTENSION keypup CASCADE;
DO $$
BEGIN
  EXECUTE format('ALTER DATABASE %I RESET keypup.workers', current_database());
END
$$;
