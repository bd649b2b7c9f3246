-- http/http.sql: what of the HTTP policy can be asked in SQL.

CREATE FUNCTION keypup.check_base_url(url text) RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_check_base_url';
CREATE FUNCTION keypup.clean_json(reply bytea) RETURNS jsonb
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_clean_json';
REVOKE ALL ON FUNCTION keypup.check_base_url(text), keypup.clean_json(bytea) FROM PUBLIC;
COMMENT ON FUNCTION keypup.check_base_url(text) IS 'The URL without a last slash, if requests may go there; else an error that says why not.';
COMMENT ON FUNCTION keypup.clean_json(bytea) IS 'What becomes of the bytes of a reply before they are stored.';
