-- token/digest.sql: digests of secrets that need not be read back. All granted to nobody.

CREATE FUNCTION keypup.new_api_key(OUT api_key text, OUT prefix text, OUT digest bytea)
LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_new_api_key';
CREATE FUNCTION keypup.digest_secret(secret text) RETURNS bytea
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_digest_secret';
CREATE FUNCTION keypup.secret_matches(secret text, digest bytea) RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_secret_matches';
CREATE FUNCTION keypup.hash_password(password text) RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_hash_password';
CREATE FUNCTION keypup.password_matches(password text, hash text) RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_password_matches';
REVOKE ALL ON FUNCTION keypup.new_api_key(), keypup.digest_secret(text), keypup.secret_matches(text, bytea),
  keypup.hash_password(text), keypup.password_matches(text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.new_api_key() IS
  'A random API key to be shown once, the prefix by which people recognise it, and the digest to be stored.';
COMMENT ON FUNCTION keypup.digest_secret(text) IS 'SHA-256 of a random secret, such as an API key. Not for passwords.';
COMMENT ON FUNCTION keypup.secret_matches(text, bytea) IS
  'Whether a random secret has that digest; takes the same time for every difference.';
COMMENT ON FUNCTION keypup.hash_password(text) IS
  'bcrypt of a password of 1 to 72 bytes, with a fresh salt and the cost keypup.bcrypt_cost.';
COMMENT ON FUNCTION keypup.password_matches(text, text) IS
  'Whether a password has that bcrypt digest; takes the same time for every difference.';
