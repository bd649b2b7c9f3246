-- http/http.sql: what of the HTTP policy can be asked in SQL.

CREATE FUNCTION keypup.check_base_url(url text) RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_check_base_url';
CREATE FUNCTION keypup.clean_json(reply bytea) RETURNS jsonb
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_clean_json';
REVOKE ALL ON FUNCTION keypup.check_base_url(text), keypup.clean_json(bytea) FROM PUBLIC;
COMMENT ON FUNCTION keypup.check_base_url(text) IS 'The URL without a last slash, if requests may go there; else an error that says why not.';
COMMENT ON FUNCTION keypup.clean_json(bytea) IS 'What becomes of the bytes of a reply before they are stored.';

-- Shapes are written {"Issue": {"title": "text", "closedAt": "time?", "labels": "LabelPage", "assignees": "[Actor]"}, …}: text, number (a
-- whole one), key (text or number), boolean, time, any, or a shape; [in brackets] a list of them, none of which is null. What may be null
-- ends in ?, what may be missing, since it was not asked for, in ~. "on Bot" adds a shape where __typename is Bot, "if hasNextPage" where
-- that is true. Members that a shape does not name may hold anything.
CREATE FUNCTION keypup.misfits(documents jsonb, shape text, shapes jsonb) RETURNS text[]
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'keypup_misfits';
REVOKE ALL ON FUNCTION keypup.misfits(jsonb, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.misfits(jsonb, text, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.misfits(jsonb, text, jsonb) IS 'For each document of a list what is null, missing or of another kind than its shape has it, NULL where nothing is; NULL when all fit.';
