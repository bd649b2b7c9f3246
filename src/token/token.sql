-- token/token.sql: data keys, and the functions that seal and open.

-- Numbers of encryptions, under all keys: see keyring.c, which takes them in blocks of this increment.
CREATE SEQUENCE keypup.encryptions INCREMENT 1024 MINVALUE 0 START 0;
REVOKE ALL ON SEQUENCE keypup.encryptions FROM PUBLIC;

CREATE TABLE keypup.data_keys (
  key_id integer NOT NULL PRIMARY KEY CHECK (key_id > 0),
  account_id uuid,
  kek_id integer NOT NULL,
  wrapped bytea CHECK (octet_length(wrapped) = 68 AND substr(wrapped, 1, 4) = '\x4b500101'),
  check_value bytea CHECK (octet_length(check_value) = 8),
  state text NOT NULL CHECK (state IN ('active', 'decrypt_only', 'destroyed')),
  encryptions_before bigint NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CHECK ((state = 'destroyed') = (wrapped IS NULL) AND (wrapped IS NULL) = (check_value IS NULL))
);
ALTER TABLE keypup.data_keys ALTER COLUMN wrapped SET STORAGE EXTERNAL, ALTER COLUMN wrapped SET STATISTICS 0;
CREATE UNIQUE INDEX data_keys_active ON keypup.data_keys (account_id) NULLS NOT DISTINCT WHERE state = 'active';
CREATE INDEX data_keys_account ON keypup.data_keys (account_id);
SELECT keypup.close_table('keypup.data_keys');
COMMENT ON TABLE keypup.data_keys IS
  'Keys that tokens are sealed with, each wrapped by a key of the key file. Granted to nobody.';
COMMENT ON COLUMN keypup.data_keys.key_id IS 'The number that stands in the envelopes sealed with it; drawn at random.';
COMMENT ON COLUMN keypup.data_keys.account_id IS
  'Whose secrets it seals; NULL for callers'' own tables, zeros for the credentials of the proxy, zeros and a one for '
  'the audit log.';
COMMENT ON COLUMN keypup.data_keys.kek_id IS 'Number of the key in the key file that wraps it.';
COMMENT ON COLUMN keypup.data_keys.wrapped IS 'The key itself, in an envelope; NULL once it is destroyed.';
COMMENT ON COLUMN keypup.data_keys.check_value IS 'Tells a wrong key: first 8 bytes of HMAC-SHA256 of the key.';
COMMENT ON COLUMN keypup.data_keys.state IS
  'active: seals and opens; decrypt_only: its records are being sealed again under the active one; destroyed.';
COMMENT ON COLUMN keypup.data_keys.encryptions_before IS
  'How many encryptions had been counted in this database when it was made: it has sealed at most those counted since.';
COMMENT ON COLUMN keypup.data_keys.created_at IS 'When it was made.';

CREATE FUNCTION keypup.make_data_key(key_id integer, OUT kek_id integer, OUT wrapped bytea, OUT check_value bytea)
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'keypup_make_data_key';
REVOKE ALL ON FUNCTION keypup.make_data_key(integer) FROM PUBLIC;
COMMENT ON FUNCTION keypup.make_data_key(integer) IS
  'A new random data key, wrapped by the newest key of the key file.';

CREATE FUNCTION keypup.start_data_key(account uuid, replaced integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  new_id integer;
BEGIN
  -- Drawn, not counted: an account sees its keys' numbers, and must not see by them how many others have.
  LOOP
    new_id := ('x' || left(gen_random_uuid()::text, 8))::bit(32)::integer & 2147483647;
    EXIT WHEN new_id > 0 AND NOT EXISTS (SELECT FROM keypup.data_keys k WHERE k.key_id = new_id);
  END LOOP;
  UPDATE keypup.data_keys k SET state = 'decrypt_only' WHERE k.state = 'active' AND k.key_id = replaced;
  -- Where another transaction was faster, its key stays.
  INSERT INTO keypup.data_keys (key_id, account_id, kek_id, wrapped, check_value, state, encryptions_before)
  SELECT new_id, account, m.kek_id, m.wrapped, m.check_value, 'active', nextval('keypup.encryptions')
  FROM keypup.make_data_key(new_id) m
  ON CONFLICT DO NOTHING;
  IF FOUND THEN
    PERFORM keypup.record_action(account, 'key.create', format('key %s', new_id));
  END IF;
  RETURN new_id;
END
$$;
REVOKE ALL ON FUNCTION keypup.start_data_key(uuid, integer) FROM PUBLIC;
COMMENT ON FUNCTION keypup.start_data_key(uuid, integer) IS
  'Starts a new data key for an account (NULL: for callers'' own tables). The one that it replaces (NULL: none is '
  'there) only opens from now on.';

-- Those that seal write to keypup.data_keys or count: they are not for parallel plans.
CREATE FUNCTION keypup.encrypt_token(token text, context text) RETURNS bytea
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_encrypt_token';
CREATE FUNCTION keypup.decrypt_token(envelope bytea, context text) RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_decrypt_token';
CREATE FUNCTION keypup.reencrypt_token(envelope bytea, context text) RETURNS bytea
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_reencrypt_token';
CREATE FUNCTION keypup.reencrypt_token(envelope bytea, context text, new_context text) RETURNS bytea
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_reencrypt_token';
CREATE FUNCTION keypup.token_key_id(envelope bytea) RETURNS integer
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'keypup_token_key_id';
CREATE FUNCTION keypup.check_token(token text) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_check_token';
REVOKE ALL ON FUNCTION keypup.encrypt_token(text, text), keypup.decrypt_token(bytea, text),
  keypup.reencrypt_token(bytea, text), keypup.reencrypt_token(bytea, text, text),  keypup.token_key_id(bytea),
  keypup.check_token(text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.encrypt_token(text, text) IS
  'Seals a secret under AES-256-GCM with a fresh IV. The context says what it belongs to, and is needed to open it.';
COMMENT ON FUNCTION keypup.decrypt_token(bytea, text) IS 'Opens a sealed secret. Granted to nobody.';
COMMENT ON FUNCTION keypup.reencrypt_token(bytea, text) IS
  'Seals a sealed secret again, under the active key, without showing it.';
COMMENT ON FUNCTION keypup.reencrypt_token(bytea, text, text) IS
  'The same, for a record that belongs to another context from now on.';
COMMENT ON FUNCTION keypup.token_key_id(bytea) IS 'Number of the data key that an envelope was sealed with.';
COMMENT ON FUNCTION keypup.check_token(text) IS 'Refuses a token that could not be sent in a header.';
