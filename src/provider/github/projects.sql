-- provider/github/projects.sql: which repositories a connection could track. An app's installation lists them by REST,
-- the only place where GitHub says exactly what it may see (docs.github.com/rest/apps/installations).

CREATE FUNCTION keypup.github_projects_request(account uuid, connection uuid, after text,
  OUT method text, OUT url text, OUT headers text[], OUT body text)
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
  SELECT 'GET', c.base_url || '/installation/repositories?per_page=50&page=' || coalesce(nullif(after, ''), '1'),
    '{Accept: application/vnd.github+json}'::text[], NULL
  FROM keypup.connections c
  JOIN keypup.app_installations i ON i.account_id = c.account_id AND i.connection_id = c.connection_id
  WHERE c.account_id = account AND c.connection_id = connection
  UNION ALL
  SELECT r.method, r.url, r.headers, r.body
  FROM keypup.connections c
  CROSS JOIN LATERAL keypup.github_post(c.base_url,
    jsonb_build_object('query', keypup.github_adapt(keypup.github_query('projects'), c.missing_fields),
      'variables', jsonb_build_object('after', nullif(after, '')))) AS r
  WHERE c.account_id = account AND c.connection_id = connection
    AND NOT EXISTS (
      SELECT FROM keypup.app_installations i WHERE i.account_id = account AND i.connection_id = connection)
$$;
REVOKE ALL ON FUNCTION keypup.github_projects_request(uuid, uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_projects_request(uuid, uuid, text) IS
  'The request for a page of the repositories that a connection could track.';

CREATE FUNCTION keypup.github_projects_answer(account uuid, connection uuid, status integer, headers jsonb, reply jsonb,
  failure text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v record;
  page jsonb;
  broken jsonb := '[]';
  is_list boolean := coalesce(jsonb_typeof(reply -> 'repositories') = 'array', false);
BEGIN
  SELECT * INTO v FROM keypup.github_verdict(status, headers, reply, failure);
  IF failure IS NOT NULL OR status <> 200 OR (v.verdict <> 'page' AND NOT is_list) THEN
    RETURN jsonb_build_object('failed', v.reason, 'hint', v.hint);
  END IF;
  IF NOT is_list THEN
    SELECT l.page, l.broken INTO page, broken
    FROM keypup.github_list(reply, '{viewer,repositories}'::text[], 'FoundList', 'Found', '{}'::text[]) l;
  END IF;
  -- What the token may not be told of it cannot track; anything else that is missing is missing from the list.
  IF (is_list AND keypup.misfits(reply -> 'repositories', 'FoundByRest', keypup.github_shapes()) IS NOT NULL)
     OR (NOT is_list AND page IS NULL)
     OR EXISTS (
       SELECT FROM jsonb_to_recordset(broken) AS b (why text)
       WHERE b.why NOT IN (
         SELECT keypup.github_why(e.message, e.type) FROM keypup.github_errors(reply, '{}'::text[]) e
         WHERE e.type IN ('NOT_FOUND', 'FORBIDDEN'))) THEN
    RETURN jsonb_build_object('failed', 'GitHub did not list the repositories in full', 'hint',
      'Try again in a moment.');
  END IF;
  RETURN jsonb_build_object(
    'projects', (
      SELECT coalesce(jsonb_agg(jsonb_build_array(
          coalesce(r.node ->> 'nameWithOwner', r.node ->> 'full_name'), lower((r.node ->> 'visibility') COLLATE "C"),
          coalesce(r.node -> 'isArchived', r.node -> 'archived'), coalesce(r.node -> 'isFork', r.node -> 'fork'))
        ORDER BY r.position), '[]')
      FROM jsonb_array_elements(CASE WHEN is_list THEN reply -> 'repositories' ELSE page -> 'nodes' END)
        WITH ORDINALITY AS r (node, position)),
    'after', CASE
      -- The next page's number stands in the Link header (RFC 8288).
      WHEN is_list THEN substring(headers ->> 'link' FROM '[?&]page=([0-9]{1,6})[^>]*>; *rel="next"')
      WHEN (page #>> '{pageInfo,hasNextPage}')::boolean THEN page #>> '{pageInfo,endCursor}' END);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_projects_answer(uuid, uuid, integer, jsonb, jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_projects_answer(uuid, uuid, integer, jsonb, jsonb, text) IS
  'The repositories of such a page, and where the list goes on; or why it could not be had.';
