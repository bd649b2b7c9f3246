-- board/request.sql: what is asked. A run is a job of kind project, and the pages of its cards, all of them.

CREATE FUNCTION keypup.board_request(account uuid, job bigint, OUT method text, OUT url text, OUT headers text[],
  OUT body text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT r.*
  FROM keypup.sync_jobs j
  JOIN keypup.connections c USING (account_id, connection_id)
  JOIN keypup.projects p USING (account_id, project_id)
  CROSS JOIN LATERAL keypup.board_post(c.base_url, CASE j.kind WHEN 'project' THEN '/board' ELSE '/cards' END,
    CASE WHEN p.external_id IS NULL THEN jsonb_build_object('name', p.name)
      ELSE jsonb_build_object('id', p.external_id) END
      -- Less of them, after an answer that was too much for the server.
      || jsonb_build_object('cursor', j.arguments -> 'after', 'limit',
        coalesce((j.arguments ->> 'first')::integer, 100))) AS r
  WHERE j.account_id = account AND j.job_id = job
$$;

-- Each run reads all.
CREATE FUNCTION keypup.board_reread(account uuid, project bigint, item bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT item IS NULL OR EXISTS (
    SELECT FROM keypup.issues i WHERE i.account_id = account AND i.project_id = project AND i.number = item)
$$;

CREATE FUNCTION keypup.board_projects_request(account uuid, connection uuid, after text,
  OUT method text, OUT url text, OUT headers text[], OUT body text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT r.* FROM keypup.connections c
  CROSS JOIN LATERAL keypup.board_post(c.base_url, '/boards', jsonb_build_object('cursor', nullif(after, ''))) AS r
  WHERE c.account_id = account AND c.connection_id = connection
$$;
