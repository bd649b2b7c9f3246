-- board/answer.sql: what an answer means.

CREATE FUNCTION keypup.board_verdict(status integer, headers jsonb, reply jsonb, failure text) RETURNS keypup.verdict
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v keypup.verdict;
BEGIN
  v.is_admitted := failure IS NULL AND status = 200 AND reply IS NOT NULL;
  SELECT k.verdict, k.reason, k.hint INTO v.verdict, v.reason, v.hint
  FROM (VALUES
    (1, failure IS NOT NULL, 'failed', failure, NULL),
    (2, status = 401, 'token_refused', 'Board refuses the token (401)',
      'Give the connection a valid token with keypup.replace_token.'),
    (3, status = 429, 'paused', 'Board''s rate limit is reached', NULL),
    (4, status = 404, 'failed', 'the board does not exist, or the token may not read it (404)', NULL),
    (5, status BETWEEN 500 AND 599, 'smaller', format('Board could not answer (%s)', status), NULL),
    (6, status <> 200, 'failed', format('Board answered %s', status), NULL),
    (7, reply IS NULL, 'failed', 'the reply is not JSON', NULL),
    (8, reply ? 'errors', 'failed',
      'Board did not give the page in full: ' || coalesce(reply #>> '{errors,0,message}', 'it does not say why'), NULL),
    (9, true, 'page', NULL, NULL)) AS k (position, applies, verdict, reason, hint)
  WHERE k.applies ORDER BY k.position LIMIT 1;
  IF v.verdict = 'paused' THEN
    v.retry_at := now() + make_interval(secs =>
      CASE WHEN headers ->> 'retry-after' ~ '^[0-9]{1,4}$' THEN (headers ->> 'retry-after')::integer ELSE 60 END);
  END IF;
  RETURN v;
END
$$;

CREATE FUNCTION keypup.board_shapes() RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT '{
    "project": {"board": "Board"},
    "Board": {"id": "text", "name": "text", "url": "text", "private": "boolean", "archived": "boolean",
      "total": "number", "tags": "[Tag]"},
    "Tag": {"id": "text", "name": "text"},
    "cards": {"cards": "[Card]", "cursor": "text?"},
    "Card": {"id": "text", "title": "text", "done": "boolean", "author": "text?",
      "owners": "[text]", "tags": "[text]", "created": "time", "updated": "time", "doneAt": "time?"},
    "boards": {"boards": "[Listed]", "cursor": "text?"},
    "Listed": {"id": "text", "name": "text", "private": "boolean", "archived": "boolean"}
  }'::jsonb
$$;

CREATE FUNCTION keypup.board_learn(account uuid, job bigint, status integer, headers jsonb, reply jsonb,
  INOUT verdict keypup.verdict)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_job record;
  misfit text;
BEGIN
  IF verdict.verdict <> 'page' THEN
    RETURN;
  END IF;
  SELECT j.kind, j.arguments INTO STRICT the_job FROM keypup.sync_jobs j WHERE j.account_id = account
    AND j.job_id = job;
  misfit := (keypup.misfits(jsonb_build_array(reply), the_job.kind, keypup.board_shapes()))[1];
  IF misfit IS NOT NULL OR reply ->> 'cursor' = the_job.arguments ->> 'after' THEN
    verdict.verdict := 'failed';
    verdict.reason := coalesce('Board''s answer is not what was asked for: ' || misfit,
      'Board''s list does not go on: the next page is the page itself');
  END IF;
END
$$;

CREATE FUNCTION keypup.board_projects_answer(account uuid, connection uuid, status integer, headers jsonb, reply jsonb,
  failure text)
RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v keypup.verdict := keypup.board_verdict(status, headers, reply, failure);
BEGIN
  IF v.verdict <> 'page' OR keypup.misfits(jsonb_build_array(reply), 'boards', keypup.board_shapes()) IS NOT NULL THEN
    RETURN jsonb_build_object('failed', coalesce(v.reason, 'Board did not list the boards'), 'hint', v.hint);
  END IF;
  RETURN jsonb_build_object('after', reply -> 'cursor',
    'projects', (
      SELECT jsonb_agg(jsonb_build_array(b ->> 'name', CASE b ->> 'private' WHEN 'true' THEN 'private'
        ELSE 'public' END,
        b -> 'archived', NULL))
      FROM jsonb_array_elements(reply -> 'boards') AS b));
END
$$;
