-- tracker/answer.sql: what an answer means.

CREATE FUNCTION keypup.tracker_verdict(status integer, headers jsonb, reply jsonb, failure text) RETURNS keypup.verdict
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v keypup.verdict;
BEGIN
  v.verdict := 'failed';
  v.is_admitted := failure IS NULL AND status = 200 AND reply IS NOT NULL;
  IF failure IS NOT NULL THEN
    v.reason := failure;
  ELSIF status = 401 THEN
    v.verdict := 'token_refused';
    v.reason := 'Tracker refuses the token (401)';
    v.hint := 'Give the connection a valid token with keypup.replace_token.';
  ELSIF status = 429 THEN
    v.verdict := 'paused';
    v.reason := 'Tracker''s rate limit is reached';
    -- What is not a number of seconds is not obeyed.
    v.retry_at := now() + make_interval(secs =>
      CASE WHEN headers ->> 'retry-after' ~ '^[0-9]{1,4}$' THEN (headers ->> 'retry-after')::integer ELSE 60 END);
  ELSIF status = 404 THEN
    v.reason := 'the project does not exist, or the token may not read it (404)';
  ELSIF status <> 200 THEN
    v.reason := format('Tracker answered %s', status);
  ELSIF reply IS NULL THEN
    v.reason := 'the reply is not JSON';
  ELSIF reply ? 'errors' THEN
    v.reason := 'Tracker did not give the page in full: '
      || left(coalesce(reply #>> '{errors,0,message}', 'it does not say why'), 200);
  ELSE
    v.verdict := 'page';
  END IF;
  RETURN v;
END
$$;

CREATE FUNCTION keypup.tracker_shapes() RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT '{
    "project": {"id": "number", "key": "text", "archived": "boolean", "created": "time", "url": "text",
      "issueTotal": "number", "labels": "[Label]", "sprints": "[Sprint]"},
    "Sprint": {"id": "number", "name": "text", "state": "text", "starts": "time?", "ends": "time?"},
    "Label": {"id": "number", "name": "text", "color": "text?"},
    "versions": {"values": "[Version]", "next": "text~"},
    "Version": {"id": "number", "name": "text", "released": "boolean", "due": "time?", "releasedAt": "time?"},
    "issues": {"issues": "[Issue]", "nextPageToken": "text~"},
    "Issue": {"id": "number", "key": "text", "url": "text", "title": "text", "status": "text",
      "category": "text", "resolution": "text?", "type": "text?", "priority": "text?", "parent": "number?", "points": "decimal?",
      "sprint": "number?", "creator": "Person?", "assignee": "Person?", "created": "time", "updated": "time", "resolved": "time?",
      "labels": "[text]", "versions": "[Named]", "moves": "[Move]"},
    "Named": {"id": "number", "name": "text"},
    "Move": {"id": "number", "at": "time", "by": "Person?", "from": "text", "to": "text", "category": "text"},
    "Person": {"id": "number", "login": "text", "name": "text?"}
  }'::jsonb
$$;

-- A page by itself may be well, and not be what the job asked for, or lead nowhere.
CREATE FUNCTION keypup.tracker_learn(account uuid, job bigint, status integer, headers jsonb, reply jsonb,
  INOUT verdict keypup.verdict)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_job record;
  misfit text;
  after text := coalesce(reply ->> 'nextPageToken', reply ->> 'next');
BEGIN
  IF verdict.verdict <> 'page' THEN
    RETURN;
  END IF;
  SELECT j.kind, j.arguments, c.base_url INTO STRICT the_job
  FROM keypup.sync_jobs j JOIN keypup.connections c USING (account_id, connection_id)
  WHERE j.account_id = account AND j.job_id = job;
  misfit := (keypup.misfits(jsonb_build_array(reply), the_job.kind, keypup.tracker_shapes()))[1];
  IF misfit IS NOT NULL THEN
    verdict.reason := 'Tracker''s answer is not what was asked for: ' || misfit;
  ELSIF after = the_job.arguments ->> 'after' THEN
    verdict.reason := 'Tracker''s list does not go on: the next page is the page itself';
  ELSIF the_job.kind = 'versions' AND after IS NOT NULL AND NOT starts_with(after, the_job.base_url || '/') THEN
    -- The job would be refused, each time anew, and the list not be asked for again.
    verdict.reason := 'Tracker''s list goes on at another server';
  ELSE
    RETURN;
  END IF;
  verdict.verdict := 'failed';
END
$$;
