-- Who may do and see what, and what a wrong call is told.
SET client_min_messages = warning;
\set SHOW_CONTEXT never
CREATE ROLE regress_alice; CREATE ROLE regress_vera; CREATE ROLE regress_oscar; CREATE ROLE regress_bella;
SELECT keypup.create_account('acme') IS NOT NULL AS created;
SELECT keypup.create_account('other') IS NOT NULL AS created;
SELECT keypup.create_account('acme');
SELECT keypup.create_account(E'a\nb');
SELECT keypup.add_member('acme', 'regress_alice', 'owner');
SELECT keypup.add_member('acme', 'regress_vera', 'viewer');
SELECT keypup.add_member('other', 'regress_bella', 'owner');
SELECT keypup.add_member('acme', 'regress_vera', 'emperor');
SELECT keypup.add_member('acme', 'regress_nobody', 'viewer');
SELECT keypup.add_member('acme', 'keypup_worker', 'viewer');
SELECT keypup.remove_member('acme', 'regress_alice');
SELECT keypup.remove_member('acme', 'regress_oscar');

-- An owner connects and tracks; bad input is named, a token never.
SET ROLE regress_alice;
SELECT keypup.connect('acme', 'svn', 'ghp_REGRESSPROBE1');
SELECT keypup.connect('acme', 'github', E'ghp_REGRESS\r\nHost: evil');
SELECT keypup.connect('acme', 'github', 'ghp_REGRESSPROBE1', 'http://api.github.com');
SELECT keypup.connect('acme', 'github', 'ghp_REGRESSPROBE1', 'https://192.0.2.1');
SELECT keypup.connect('acme', 'github', 'ghp_REGRESSPROBE1', 'https://user@api.github.com');
SELECT keypup.connect('other', 'github', 'ghp_REGRESSPROBE1');
SELECT keypup.connect('nowhere', 'github', 'ghp_REGRESSPROBE1');
SELECT keypup.connect(NULL, 'github', 'ghp_REGRESSPROBE1');
SELECT keypup.track('acme', 'owner/name');
BEGIN READ ONLY;
SELECT keypup.track('acme', 'owner/name');
ROLLBACK;
RESET ROLE;
-- What connect stores but the token: sealing it needs a key, which this server may not have.
INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by)
SELECT account_id, 'github', 'github', 'https://api.github.com', 'regress_alice' FROM keypup.accounts WHERE name = 'acme';
SET ROLE regress_alice;
SELECT keypup.connect('acme', 'github', 'ghp_REGRESSPROBE1');
SELECT keypup.track('acme', 'no-slash');
SELECT keypup.track('acme', 'a/../b');
SELECT keypup.track('acme', 'owner/name', 'elsewhere');
SELECT keypup.track('acme', 'owner/name');
SELECT keypup.track('acme', 'Owner/Name');
SELECT keypup.untrack('acme', 'owner/other');
SELECT name, provider, base_url, state, created_by FROM keypup.connections;
SELECT * FROM keypup.connection_tokens;
SELECT * FROM keypup.data_keys;
SELECT keypup.decrypt_token('\x00', 'x');
SELECT keypup.create_account('mine');
UPDATE keypup.projects SET name = 'x/y';

-- A viewer reads, and no more.
SET ROLE regress_vera;
SELECT name FROM keypup.projects;
SELECT count(*) FROM keypup.connections;
SELECT member FROM keypup.members;
SELECT keypup.track('acme', 'owner/second');
SELECT keypup.add_member('acme', 'regress_vera', 'owner');
CALL keypup.sync('acme');

-- Another account's owner sees nothing of it; an outsider may not even look.
SET ROLE regress_bella;
SELECT count(*) FROM keypup.projects;
SELECT name FROM keypup.accounts;
SET ROLE regress_oscar;
SELECT count(*) FROM keypup.projects;
RESET ROLE;

-- An admin cannot make owners; a removed member sees nothing.
SELECT keypup.add_member('acme', 'regress_vera', 'admin');
SET ROLE regress_vera;
SELECT keypup.add_member('acme', 'regress_vera', 'owner');
SELECT keypup.remove_member('acme', 'regress_alice');
RESET ROLE;
SELECT keypup.remove_member('acme', 'regress_vera');
SET ROLE regress_vera;
SELECT count(*) FROM keypup.projects;
RESET ROLE;

SELECT keypup.untrack('acme', 'owner/name');
DELETE FROM keypup.accounts;
DROP OWNED BY regress_alice, regress_vera, regress_oscar, regress_bella;
DROP ROLE regress_alice, regress_vera, regress_oscar, regress_bella;
