-- provider/github/viewer.sql: who a person is at GitHub, asked with the person's own token.

CREATE FUNCTION keypup.github_viewer_request(account uuid, connection uuid,
  OUT method text, OUT url text, OUT headers text[], OUT body text)
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
  SELECT r.method, r.url, r.headers, r.body
  FROM keypup.connections c
  -- GitHub takes a hundred ids. One repository of each owner comes first: it tells who is a member of the organization.
  CROSS JOIN LATERAL (
    SELECT coalesce(jsonb_agg(f.external_id), '[]')
    FROM (SELECT p.external_id FROM keypup.projects p
          WHERE p.account_id = account AND p.connection_id = connection AND p.external_id IS NOT NULL
          ORDER BY row_number() OVER (PARTITION BY lower(split_part(p.name, '/', 1) COLLATE "C") ORDER BY p.project_id),
            p.project_id
          LIMIT 100) AS f
  ) AS i (ids)
  CROSS JOIN LATERAL keypup.github_post(c.base_url,
    jsonb_build_object('query', keypup.github_query('viewer'), 'variables', jsonb_build_object('ids', i.ids))) AS r
  WHERE c.account_id = account AND c.connection_id = connection
$$;
REVOKE ALL ON FUNCTION keypup.github_viewer_request(uuid, uuid) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_viewer_request(uuid, uuid) IS
  'The GraphQL request that asks who has a token, and whether they belong to the tracked repositories.';

-- Whoever can merely read a public repository does not belong to it: everybody can.
-- A repository that the token may not see, or be told of, is one where its owner does not belong. What was not answered
-- for another reason says nothing: somebody would have lost what they may see.
CREATE FUNCTION keypup.github_viewer_answer(account uuid, connection uuid, status integer, headers jsonb, reply jsonb,
  failure text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v record;
  groups text[];
  nodes jsonb := CASE jsonb_typeof(reply #> '{data,nodes}') WHEN 'array' THEN reply #> '{data,nodes}' ELSE '[null]' END;
BEGIN
  SELECT * INTO v FROM keypup.github_verdict(status, headers, reply, failure);
  IF v.verdict = 'token_refused' THEN
    RETURN jsonb_build_object('refused', v.reason);
  ELSIF v.verdict <> 'page' THEN
    RETURN jsonb_build_object('failed', v.reason, 'hint', v.hint);
  ELSIF keypup.misfits(jsonb_build_array(reply #> '{data,viewer}'), 'Viewer', keypup.github_shapes()) IS NOT NULL
        OR EXISTS (
          SELECT FROM keypup.github_errors(reply, '{}'::text[]) e
          WHERE e.keys[1] IS DISTINCT FROM 'nodes' OR e.keys[2] IS NULL)
        OR EXISTS (SELECT FROM jsonb_array_elements(nodes) WITH ORDINALITY AS n (node, position)
                   JOIN unnest(keypup.misfits(nodes, 'Viewed', keypup.github_shapes()))
                     WITH ORDINALITY AS m (misfit, position) USING (position)
                   WHERE m.misfit IS NOT NULL
                     AND NOT (n.node = 'null' AND EXISTS (SELECT FROM keypup.github_errors(reply, '{}'::text[]) e
                              WHERE e.keys[2] = (n.position - 1)::text AND e.type IN ('NOT_FOUND', 'FORBIDDEN')))) THEN
    RETURN jsonb_build_object('failed', 'GitHub did not answer in full', 'hint', 'Try again in a moment.');
  END IF;
  SELECT array_agg(DISTINCT g.name) INTO groups
  FROM jsonb_array_elements(nodes) AS r (node),
    LATERAL (VALUES
      ('organization ' || (r.node #>> '{owner,login}'), r.node #>> '{owner,viewerIsAMember}' = 'true'),
      ('repository ' || (r.node ->> 'nameWithOwner'),
        r.node ->> 'viewerPermission' IN ('ADMIN', 'MAINTAIN', 'WRITE', 'TRIAGE')
        OR (r.node ->> 'viewerPermission' = 'READ' AND r.node ->> 'visibility' IN ('PRIVATE', 'INTERNAL')))
    ) AS g (name, belongs)
  WHERE g.belongs;
  IF groups IS NULL THEN
    RETURN jsonb_build_object('refused', 'the login belongs to no organization or repository of the account');
  END IF;
  RETURN jsonb_build_object('sub', reply #>> '{data,viewer,id}', 'login', reply #>> '{data,viewer,login}', 'groups',
    to_jsonb(array_prepend('everyone'::text, groups)));
END
$$;
REVOKE ALL ON FUNCTION keypup.github_viewer_answer(uuid, uuid, integer, jsonb, jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_viewer_answer(uuid, uuid, integer, jsonb, jsonb, text) IS
  'Who has the token, and the groups that follow from where they belong; or why not.';
