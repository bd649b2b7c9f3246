-- http/http.sql: what of the HTTP policy can be asked in SQL.

CREATE FUNCTION keypup.check_base_url(url text) RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_check_base_url';
CREATE FUNCTION keypup.clean_json(reply bytea) RETURNS jsonb
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_clean_json';
REVOKE ALL ON FUNCTION keypup.check_base_url(text), keypup.clean_json(bytea) FROM PUBLIC;
COMMENT ON FUNCTION keypup.check_base_url(text) IS
  'The URL without a last slash, if requests may go there; else an error that says why not.';
COMMENT ON FUNCTION keypup.clean_json(bytea) IS 'What becomes of the bytes of a reply before they are stored.';

-- Shapes are written {"Issue": {"title": "text", "closedAt": "time?", "labels": "LabelPage", "assignees": "[Actor]"},
-- …}: text, number (a whole one), decimal, key (text or number), boolean, time, any, or a shape; [in brackets] a list
-- of them, none of which is null. What may be null ends in ?, what may be missing, since it was not asked for, in ~.
-- "on Bot" adds a shape where __typename is Bot, "if hasNextPage" where that is true. Members that a shape does not
-- name may hold anything.
CREATE FUNCTION keypup.misfits(documents jsonb, shape text, shapes jsonb) RETURNS text[]
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'keypup_misfits';
REVOKE ALL ON FUNCTION keypup.misfits(jsonb, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.misfits(jsonb, text, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.misfits(jsonb, text, jsonb) IS
  'For each document of a list what is null, missing or of another kind than its shape has it, NULL where nothing is; '
  'NULL when all fit.';

-- A row for each element of a list, or of the lists of the same path in all elements of a list: json_rows(items,
-- 'labels.nodes', …) has one for each label of each item; an empty path, one for each item. Columns are paths from the
-- row's object, or, by ../ for each list, from that of the row that it stands in:
-- '{../number,id|name,author.login,nodes.0.at}'; a|b is b where a is absent or null, 0 the first element of a list. AS
-- gives each its type, in the same order: text (a number is, too), bigint, boolean, timestamptz, jsonb; or text[],
-- which collects what the path leads to through lists, sorted by bytes, each once.
CREATE FUNCTION keypup.json_rows(document jsonb, list text, columns text[]) RETURNS SETOF record
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 100 AS 'MODULE_PATHNAME', 'keypup_json_rows';
-- The same for all objects of a document that have a member of this name that is text, wherever they stand.
CREATE FUNCTION keypup.json_objects(document jsonb, member text, columns text[]) RETURNS SETOF record
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 100 AS 'MODULE_PATHNAME', 'keypup_json_objects';
REVOKE ALL ON FUNCTION keypup.json_rows(jsonb, text, text[]), keypup.json_objects(jsonb, text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.json_rows(jsonb, text, text[]), keypup.json_objects(jsonb, text, text[])
  TO keypup_worker;
COMMENT ON FUNCTION keypup.json_rows(jsonb, text, text[]) IS
  'What stands in a list of a document, or in lists of its elements, as rows.';
COMMENT ON FUNCTION keypup.json_objects(jsonb, text, text[]) IS
  'The objects in a document that have a member, as rows.';
