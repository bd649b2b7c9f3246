-- Digests: known answers, what is refused, and another implementation's answer.
CREATE EXTENSION pgcrypto;
SELECT encode(keypup.digest_secret('abc'), 'hex'), keypup.digest_secret('abc') = sha256('abc') AS as_postgresql;
SELECT keypup.secret_matches('abc', sha256('abc')) AS same, keypup.secret_matches('abd', sha256('abc')) AS other,
  keypup.secret_matches('abc', substr(sha256('abc'), 1, 31)) AS shorter, keypup.secret_matches('abc', '') AS empty;

-- An API key is shown once; its digest and the prefix are kept.
CREATE TEMP TABLE keys (api_key text, prefix text, digest bytea);
DO $$ BEGIN FOR i IN 1 .. 1000 LOOP INSERT INTO keys SELECT * FROM keypup.new_api_key(); END LOOP; END $$;
SELECT count(DISTINCT api_key) AS keys, count(DISTINCT digest) AS digests, bool_and(keypup.secret_matches(api_key, digest)) AS match,
  bool_and(api_key ~ '^keypup_[0-9a-f]{8}_[0-9a-f]{48}$') AS formed, bool_and(api_key LIKE prefix || '\_%' AND length(prefix) = 15) AS recognised
FROM keys;

-- bcrypt: known answers of crypt_blowfish.
SELECT keypup.password_matches(password, hash) AS matches
FROM (VALUES ('U*U', '$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'),
             ('U*U*', '$2b$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK'),
             ('U*U*U', '$2b$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a'),
             ('U*V', '$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW')) AS k (password, hash);
SELECT boot_val AS cost FROM pg_settings WHERE name = 'keypup.bcrypt_cost';
CREATE TEMP TABLE hashes AS SELECT p AS password, keypup.hash_password(p) AS hash FROM (VALUES ('correct horse'), ('correct horse'), (repeat('x', 72)), ('größer')) AS v (p);
SELECT count(DISTINCT hash) AS hashes, bool_and(hash ~ format('^\$2b\$%s\$[./A-Za-z0-9]{53}$', current_setting('keypup.bcrypt_cost'))) AS formed, bool_and(keypup.password_matches(password, hash)) AS match,
  bool_or(keypup.password_matches('other', hash)) AS other FROM hashes;
-- pgcrypto knows bcrypt by its older name.
SELECT bool_and(crypt(password, replace(hash, '$2b$', '$2a$')) = replace(hash, '$2b$', '$2a$')) AS as_pgcrypto FROM hashes;

-- Refused.
SELECT keypup.hash_password('');
SELECT keypup.hash_password(repeat('x', 73));
SELECT keypup.password_matches(repeat('x', 73), '$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW');
SELECT keypup.password_matches('a', hash) FROM (VALUES ('')) AS v (hash);
SELECT keypup.password_matches('a', '$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/');
SELECT keypup.password_matches('a', '$2b$99$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW');
SELECT keypup.hash_password(NULL) IS NULL AS nothing;
DROP EXTENSION pgcrypto;
