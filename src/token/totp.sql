-- token/totp.sql: one-time codes by time (TOTP, RFC 6238), and codes for whoever has lost the device that makes them.
-- All granted to nobody.

CREATE FUNCTION keypup.new_totp_seed(context text, account text, person text, OUT envelope bytea, OUT uri text)
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_new_totp_seed';
CREATE FUNCTION keypup.find_totp_step(envelope bytea, context text, code text, at timestamptz) RETURNS bigint
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_find_totp_step';
CREATE FUNCTION keypup.new_recovery_code() RETURNS text
LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_new_recovery_code';
REVOKE ALL ON FUNCTION keypup.new_totp_seed(text, text, text), keypup.find_totp_step(bytea, text, text, timestamptz),
  keypup.new_recovery_code() FROM PUBLIC;
COMMENT ON FUNCTION keypup.new_totp_seed(text, text, text) IS
  'A random seed: sealed for the context, and as the URI that an authenticator app reads, to be shown once.';
COMMENT ON FUNCTION keypup.find_totp_step(bytea, text, text, timestamptz) IS
  'The number of the 30 seconds whose code that is, of those at that time, the ones before and the ones after; NULL: '
  'none.';
COMMENT ON FUNCTION keypup.new_recovery_code() IS 'A random code of 80 bits, to be shown once.';
