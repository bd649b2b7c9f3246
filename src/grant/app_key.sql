-- grant/app_key.sql: the private keys of apps.

CREATE FUNCTION keypup.seal_app_key(private_key text, context text) RETURNS bytea
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_seal_app_key';
REVOKE ALL ON FUNCTION keypup.seal_app_key(text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.seal_app_key(text, text) IS
  'Seals an RSA key in PEM, after it was checked. Granted to nobody.';
