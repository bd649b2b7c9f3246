-- provider/github/part.sql: what of an answer is one. An answer has parts: each id that was asked for, each page of a
-- nested list, each list of a repository. A part is whole when no error covers it and it has its shape. What is not
-- whole is neither stored nor taken for empty; only an error NOT_FOUND at the very place of an id that was asked for
-- says that it is gone.

-- For people, and never to tell what an answer means: one line of it, no markup, no direction marks, nothing like a
-- token.
CREATE FUNCTION keypup.github_words(message text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT nullif(btrim(left(regexp_replace(regexp_replace(regexp_replace(message,
    '<[^<>]*>', ' ', 'g'),
    '\m(gh[a-z]_|github_pat_)\w+', '…', 'g'),
    '[[:cntrl:][:space:]\u0080-\u009F\u200B-\u200F\u2028-\u202E\u2060-\u206F\uFEFF]+', ' ', 'g'), 300)), '')
$$;

CREATE FUNCTION keypup.github_time(header text) RETURNS timestamptz
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF header !~ '^([A-Z][a-z]{2}, )?[0-9A-Za-z]{1,4}[ -][0-9A-Za-z]{2,3}[ -][0-9]{2,4}[ '
    'T][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})? ?(UTC|GMT|Z|[+-][0-9]{2}:?[0-9]{2})$' THEN
    RETURN NULL;
  END IF;
  RETURN header::timestamptz;
EXCEPTION WHEN data_exception THEN
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_time(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_time(text) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_time(text) IS
  'The time in a header or an answer: 2027-10-12 09:00:00 UTC, the same with an offset, ISO 8601, or HTTP''s form. '
  'NULL for anything else.';

-- Fields that a token may be refused, while it reads the rest: they are left out then (github_refused_fields).
CREATE FUNCTION keypup.github_refusable(path jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE
    WHEN p.path ~ '(^|\.)(releases|latestRelease)$' THEN 'Repository.releases'
    WHEN p.path ~ '(^|\.)deployments$' THEN 'Repository.deployments'
    WHEN p.path ~ '\.defaultBranchRef(\.name)?$' THEN 'Repository.defaultBranchRef'
    WHEN p.path ~ '\.tagCommit(\.committedDate)?$' THEN 'Release.tagCommit'
    WHEN p.path ~ '\.ref(\.name)?$' THEN 'Deployment.ref'
    WHEN p.path ~ '\.commit(\.committedDate)?$' AND p.path !~ '\.commits\.' THEN 'Deployment.commit'
    WHEN p.path ~ '\.workflowRun(\..*)?$' THEN 'CheckSuite.workflowRun'
    WHEN p.path ~ '\.contexts(\.nodes(\.[0-9]+)?)?$' THEN 'StatusCheckRollup.contexts'
    WHEN p.path ~ '\.statusCheckRollup(\.\w+)?$' THEN 'Commit.statusCheckRollup'
    WHEN p.path ~ '\.branchProtectionRule(\.\w+)?$' THEN 'Ref.branchProtectionRule'
    WHEN p.path ~ '\.refUpdateRule(\.\w+)?$' THEN 'Ref.refUpdateRule'
    WHEN p.path ~ '\.rules(\..*)?$' THEN 'Ref.rules'
    WHEN p.path ~ '\.requestedReviewer(\.combinedSlug)?$' THEN 'Team.combinedSlug' END
  FROM (
    SELECT string_agg(e.key, '.' ORDER BY e.position)
    FROM jsonb_array_elements_text(path) WITH ORDINALITY AS e (key, position)
  ) AS p (path)
$$;

CREATE FUNCTION keypup.github_has_errors(reply jsonb) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN coalesce(reply -> 'errors', '[]') NOT IN ('[]', 'null');
END
$$;

-- Of an error, for people.
CREATE FUNCTION keypup.github_why(message text, type text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT coalesce('GitHub says "' || keypup.github_words(message) || '"', 'GitHub gives no reason')
    || coalesce(' (' || left(keypup.github_words(type), 50) || ')', '')
$$;
-- The budget is no part; and what is known to be refused was not asked for, or is null for good.
CREATE FUNCTION keypup.github_errors(reply jsonb, refused text[], OUT type text, OUT keys text[], OUT message text,
  OUT is_saml boolean)
RETURNS SETOF record
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 10 SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT keypup.github_has_errors(reply) THEN
    RETURN;
  END IF;
  RETURN QUERY
  SELECT e.error ->> 'type', p.keys, e.error ->> 'message',
    coalesce(e.error #>> '{extensions,saml_failure}' = 'true', false)
  FROM (SELECT CASE WHEN jsonb_typeof(reply -> 'errors') = 'array' THEN reply -> 'errors'
                    WHEN keypup.github_has_errors(reply) THEN jsonb_build_array(reply -> 'errors')
                    ELSE '[]' END) AS a (list)
  -- One for each of the four hundred numbers that a request asks for, and some more; of what is beyond them, one that
  -- covers all.
  CROSS JOIN LATERAL jsonb_array_elements(CASE WHEN jsonb_array_length(a.list) > 450
    THEN jsonb_path_query_array(a.list, '$[0 to 449]') || '{"message": "more than 450 errors"}'
    ELSE a.list END) AS e (error)
  CROSS JOIN LATERAL (
    SELECT CASE WHEN jsonb_typeof(e.error -> 'path') = 'array' AND e.error -> 'path' <> '[]'
                THEN ARRAY(SELECT k.key FROM jsonb_array_elements_text(e.error -> 'path')
                  WITH ORDINALITY AS k (key, position) ORDER BY k.position) END
  ) AS p (keys)
  WHERE p.keys[1] IS DISTINCT FROM 'rateLimit'
    AND NOT coalesce(e.error ->> 'type' IN ('FORBIDDEN', 'INSUFFICIENT_SCOPES')
      AND keypup.github_refusable(CASE WHEN p.keys IS NOT NULL THEN e.error -> 'path' END) = ANY (refused), false);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_words(text), keypup.github_refusable(jsonb), keypup.github_has_errors(jsonb),
  keypup.github_why(text, text), keypup.github_errors(jsonb, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_words(text), keypup.github_refusable(jsonb), keypup.github_has_errors(jsonb),
  keypup.github_why(text, text), keypup.github_errors(jsonb, text[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_why(text, text) IS 'An error as a reason, in GitHub''s words.';
COMMENT ON FUNCTION keypup.github_words(text) IS 'What GitHub says, fit to be quoted; NULL when it says nothing.';
COMMENT ON FUNCTION keypup.github_refusable(jsonb) IS
  'The field, as Type.field, that is refused where an error FORBIDDEN stands at a path; NULL where that is no field '
  'that can be left out.';
COMMENT ON FUNCTION keypup.github_has_errors(jsonb) IS 'Whether an answer comes with errors.';
COMMENT ON FUNCTION keypup.github_errors(jsonb, text[]) IS
  'The errors of an answer: type, the keys of the path (NULL without one), the message, and whether single sign-on is '
  'what is wanted; without those at fields that are known to be refused.';

-- Kinds of jobs that ask for several things, each by its id, or by its number; in their arguments they are the items.
CREATE FUNCTION keypup.github_itemized(kind text, OUT shape text, OUT types text[])
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  SELECT k.shape, k.types
  INTO shape, types
  FROM (VALUES ('pull_requests', 'PullRequest', '{PullRequest}'::text[]),
               ('merge_states', 'MergeState', '{PullRequest}'),
               ('issues', 'Issue', '{Issue}'),
               ('releases', 'Release', '{Release}'),
               ('deployments', 'Deployment', '{Deployment}'),
               ('existence', 'Existing', '{PullRequest,Issue,Release,Deployment}'),
               ('numbers', 'Existing', '{PullRequest,Issue}'),
               ('nested_pages', 'NestedPage', NULL)) AS k (kind, shape, types)
  WHERE k.kind = github_itemized.kind;
END
$$;
-- Kinds of jobs that ask for a page of a list of a repository.
CREATE FUNCTION keypup.github_listed(kind text, OUT member text, OUT shape text, OUT element text)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  SELECT k.member, k.shape, k.element
  INTO member, shape, element
  FROM (VALUES ('labels', 'labels', 'LabelList', 'Label'),
               ('milestones', 'milestones', 'MilestoneList', 'Milestone'),
               ('pull_request_stubs', 'pullRequests', 'StubList', 'Stub'),
               ('issue_stubs', 'issues', 'StubList', 'Stub'),
               ('pull_request_sweep', 'pullRequests', 'SweptList', 'Swept'),
               ('issue_sweep', 'issues', 'SweptList', 'Swept'),
               ('release_pages', 'releases', 'ReleaseList', 'Release'),
               ('deployment_pages', 'deployments', 'DeploymentList', 'Deployment')) AS k (kind, member, shape, element)
  WHERE k.kind = github_listed.kind;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_itemized(text), keypup.github_listed(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_itemized(text), keypup.github_listed(text) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_itemized(text) IS
  'Of a job for several things: the shape of each, and its types. NULL for other jobs.';
COMMENT ON FUNCTION keypup.github_listed(text) IS
  'Of a job for a page of a list: the list, its shape, and that of its elements. NULL for other jobs.';

-- An id of GitHub's older form may be answered with the newer one, which has an underscore. Both: an id, or a number.
CREATE FUNCTION keypup.github_is_another(asked jsonb, answered jsonb) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN coalesce(answered <> asked AND (jsonb_typeof(asked) = 'number' OR asked #>> '{}' LIKE '%\_%'), false);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_is_another(jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_is_another(jsonb, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_is_another(jsonb, jsonb) IS
  'Whether an answer is about another thing than the one that was asked for.';

-- The one place where it is decided what becomes of each thing that was asked for. An error without a path, or with one
-- that leads to nothing that was asked for, covers all.
CREATE FUNCTION keypup.github_judge(kind text, arguments jsonb, reply jsonb, refused text[], OUT whole jsonb,
  OUT asked jsonb, OUT gone jsonb, OUT again jsonb)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  its record := keypup.github_itemized(kind);
  all_asked jsonb := arguments -> 'items';
  answers jsonb := reply #> '{data,nodes}';
  -- What tells each from the others, and what of each was asked for.
  identity text := CASE kind WHEN 'numbers' THEN 'number' ELSE 'id' END;
  identities jsonb := CASE kind WHEN 'nested_pages' THEN jsonb_path_query_array(all_asked, '$[*].node')
    WHEN 'existence' THEN jsonb_path_query_array(all_asked, '$[*].id') ELSE all_asked END;
  -- To whoever may not read a repository nothing of it is there.
  tells_what_is_gone boolean
    := kind <> 'existence' OR coalesce(jsonb_typeof(reply #> '{data,node,id}') = 'string', false);
  wrong text[];
BEGIN
  IF kind = 'nested_pages' THEN
    SELECT jsonb_agg(CASE WHEN n.node ? (a.page ->> 'connection') THEN n.node END ORDER BY a.position) INTO answers
    FROM jsonb_array_elements(all_asked) WITH ORDINALITY AS a (page, position)
    CROSS JOIN LATERAL (SELECT reply #> ARRAY['data', 'n' || (a.position - 1)]) AS n (node);
  ELSIF kind = 'numbers' THEN
    SELECT jsonb_agg(reply #> ARRAY['data', 'node', 'n' || (a.position - 1)] ORDER BY a.position) INTO answers
    FROM jsonb_array_elements(all_asked) WITH ORDINALITY AS a (number, position);
  END IF;
  -- More than was asked for is no answer to it.
  IF jsonb_typeof(answers) IS DISTINCT FROM 'array' OR jsonb_array_length(answers) > jsonb_array_length(all_asked) THEN
    answers := '[]';
  END IF;
  wrong := keypup.misfits(answers, its.shape, keypup.github_shapes());
  gone := '[]';
  again := '[]';
  IF wrong IS NULL AND NOT keypup.github_has_errors(reply)
    AND jsonb_array_length(answers) = jsonb_array_length(all_asked)
    AND jsonb_path_query_array(answers, ('$[*].' || identity)::jsonpath) = identities THEN
    whole := answers;
    asked := all_asked;
    RETURN;
  END IF;
  WITH error AS MATERIALIZED (
    SELECT e.type, e.message, e.position,
      -- Which of the parts; NULL: all of them.
      CASE WHEN n.part < jsonb_array_length(all_asked) THEN n.part END AS part,
      coalesce(e.type = 'NOT_FOUND' AND n.part < jsonb_array_length(all_asked)
               AND cardinality(e.keys) = CASE kind WHEN 'nested_pages' THEN 1 ELSE 2 END, false) AS is_not_found
    FROM keypup.github_errors(reply, refused) WITH ORDINALITY AS e (type, keys, message, is_saml, position)
    CROSS JOIN LATERAL (
      SELECT CASE WHEN kind = 'nested_pages' THEN substring(e.keys[1] FROM '^n([0-9]{1,4})$')
                  WHEN kind = 'numbers'
                  THEN CASE WHEN e.keys[1] = 'node' THEN substring(e.keys[2] FROM '^n([0-9]{1,4})$') END
                  WHEN e.keys[1] = 'nodes' THEN substring(e.keys[2] FROM '^[0-9]{1,4}$') END::integer
    ) AS n (part)
  ), covered AS MATERIALIZED (
    SELECT e.part, bool_and(e.is_not_found) AS is_not_found, min(e.position) AS error FROM error e GROUP BY e.part
  ), part AS MATERIALIZED (
    SELECT a.position, a.asked, a.answer,
      CASE WHEN a.position > jsonb_array_length(answers) THEN 'it is missing'
        WHEN keypup.github_is_another(a.its_identity, a.answer -> identity) THEN 'it is about another'
        ELSE wrong[a.position] END AS misfit,
      least(one.error, every.error) AS error,
      one.is_not_found AND every.error IS NULL AND tells_what_is_gone AS is_not_found
    FROM ROWS FROM (jsonb_array_elements(all_asked), jsonb_array_elements(identities), jsonb_array_elements(answers))
      WITH ORDINALITY AS a (asked, its_identity, answer, position)
    LEFT JOIN covered one ON one.part = a.position - 1
    LEFT JOIN covered every ON every.part IS NULL
  ), judged AS MATERIALIZED (
    SELECT p.*,
      CASE WHEN p.is_not_found AND coalesce(jsonb_typeof(p.answer), 'null') = 'null' THEN 'gone'
           -- It has become something else.
           WHEN p.error IS NULL AND p.misfit IS DISTINCT FROM 'it is about another'
             AND p.answer ->> '__typename' <> ALL (its.types) THEN 'gone'
           WHEN p.error IS NOT NULL OR p.misfit IS NOT NULL THEN 'again'
           ELSE 'whole' END AS verdict
    FROM part p
  )
  SELECT coalesce(jsonb_agg(j.answer ORDER BY j.position) FILTER (WHERE j.verdict = 'whole'), '[]'),
    coalesce(jsonb_agg(j.asked ORDER BY j.position) FILTER (WHERE j.verdict = 'whole'), '[]'),
    coalesce(jsonb_agg(j.asked ORDER BY j.position) FILTER (WHERE j.verdict = 'gone'), '[]'),
    coalesce(jsonb_agg(jsonb_build_object('asked', j.asked,
        'why', coalesce((SELECT keypup.github_why(e.message, e.type) FROM error e WHERE e.position = j.error),
                        'GitHub''s answer is incomplete: ' || j.misfit),
        'number', CASE WHEN jsonb_typeof(j.answer -> 'number') = 'number' THEN j.answer -> 'number' END)
          ORDER BY j.position)
      FILTER (WHERE j.verdict = 'again'), '[]')
  INTO whole, asked, gone, again
  FROM judged j;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_judge(text, jsonb, jsonb, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_judge(text, jsonb, jsonb, text[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_judge(text, jsonb, jsonb, text[]) IS
  'What an answer says of each thing that was asked for by its id: those that are whole and, beside, how they were '
  'asked for; those that are gone; and those to be asked for again, as {asked, why, number}.';

-- A list of an answer. place: its keys below data. page holds the elements that are whole; where there are others,
-- all_ids holds the ids of all that have one, and broken the others as {id, why}. Without a frame (the list itself, or
-- where it goes on) there is no page.
CREATE FUNCTION keypup.github_list(reply jsonb, place text[], shape text, element text, refused text[],
  OUT page jsonb, OUT is_whole boolean, OUT broken jsonb, OUT why text)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  list jsonb := coalesce(reply #> (ARRAY['data'] || place), 'null');
  depth integer := cardinality(place);
  wrong text[];
BEGIN
  -- No list is asked for more at once; and to say of each of a hundred thousand what is wrong with it takes memory.
  IF jsonb_array_length(CASE jsonb_typeof(list -> 'nodes') WHEN 'array' THEN list -> 'nodes' ELSE '[]' END) > 100 THEN
    list := 'null';
  END IF;
  wrong := keypup.misfits(jsonb_build_array(list), shape, keypup.github_shapes());
  broken := '[]';
  is_whole := wrong IS NULL AND NOT keypup.github_has_errors(reply);
  IF is_whole THEN
    page := list;
    RETURN;
  END IF;
  -- An error at an element; any other that is not at another place than this covers the frame.
  SELECT min(keypup.github_why(e.message, e.type)) INTO why
  FROM keypup.github_errors(reply, refused) e
  WHERE (e.keys IS NULL OR e.keys[1:depth] = place[1:least(depth, cardinality(e.keys))] OR e.keys[1] <> place[1])
    AND NOT coalesce(e.keys[1:depth + 1] = place || 'nodes'::text AND e.keys[depth + 2] ~ '^[0-9]{1,4}$', false);
  why := coalesce(why, 'GitHub''s answer is incomplete: '
    || (keypup.misfits(jsonb_build_array(list), 'List', keypup.github_shapes()))[1]);
  IF why IS NOT NULL THEN
    RETURN;
  END IF;
  wrong := keypup.misfits(list -> 'nodes', element, keypup.github_shapes());
  WITH error AS MATERIALIZED (
    SELECT keypup.github_why(e.message, e.type) AS why, e.keys[depth + 2]::integer AS position
    FROM keypup.github_errors(reply, refused) e
    WHERE e.keys[1:depth + 1] = place || 'nodes'::text AND e.keys[depth + 2] ~ '^[0-9]{1,4}$'
  ), node AS (
    SELECT n.node, n.position, CASE WHEN jsonb_typeof(n.node -> 'id') = 'string' THEN n.node -> 'id' END AS id,
      coalesce((SELECT min(e.why) FROM error e WHERE e.position = n.position - 1),
               'GitHub''s answer is incomplete: ' || wrong[n.position]) AS why
    FROM jsonb_array_elements(list -> 'nodes') WITH ORDINALITY AS n (node, position)
  )
  SELECT list || jsonb_build_object('nodes',
    coalesce(jsonb_agg(n.node ORDER BY n.position) FILTER (WHERE n.why IS NULL), '[]'),
      'all_ids', coalesce(jsonb_agg(n.id ORDER BY n.position) FILTER (WHERE n.id IS NOT NULL), '[]')),
    coalesce(jsonb_agg(jsonb_build_object('id', n.id, 'why', n.why) ORDER BY n.position)
      FILTER (WHERE n.why IS NOT NULL), '[]'),
    min(n.why)
  INTO page, broken, why
  FROM node n;
  is_whole := broken = '[]';
  IF is_whole THEN
    page := list;
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_list(jsonb, text[], text, text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_list(jsonb, text[], text, text, text[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_list(jsonb, text[], text, text, text[]) IS
  'What an answer says of a list, or of a page of one; why it is not whole.';
