-- board/provider.sql: boards of cards. All is asked by POST, and whatever there is has a UUID, and no number.

INSERT INTO keypup.providers (provider, title, project_pattern, project_hint, token_hint, authorizes_by, token_header,
  offers, reads)
VALUES ('board', 'Board', '^[^[:cntrl:]/]{1,80}$', 'Write the name of a board.',
  'Create one in the settings of Board.', 'raw',
  'X-Board-Token', '{discover}', '{issues,labels}');

CREATE FUNCTION keypup.board_post(base_url text, path text, query jsonb,
  OUT method text, OUT url text, OUT headers text[], OUT body text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT 'POST', base_url || path, NULL::text[], query::text $$;
