-- provider/github/answer.sql: what an answer means, and what follows from it. Called by sync/ with the
-- answer to one job, as keypup_worker, for the account of the job.

-- The verdict on an answer, in the order in which GitHub's own documentation tells them apart.
CREATE FUNCTION keypup.github_verdict(status integer, headers jsonb, reply jsonb, failure text,
  OUT verdict text, OUT reason text, OUT hint text, OUT retry_at timestamptz)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  error jsonb := reply #> '{errors,0}';
  message text := coalesce(reply #>> '{errors,0,message}', reply ->> 'message', '');
  wait_seconds bigint := CASE WHEN headers ->> 'retry-after' ~ '^[0-9]{1,6}$' THEN (headers ->> 'retry-after')::bigint END;
  reset_at timestamptz := CASE WHEN headers ->> 'x-ratelimit-reset' ~ '^[0-9]{1,11}$' THEN to_timestamp((headers ->> 'x-ratelimit-reset')::bigint) END;
BEGIN
  -- An absurd time is not obeyed: nothing GitHub documents lasts longer than an hour.
  reset_at := CASE WHEN reset_at > now() THEN least(reset_at, now() + interval '1 hour') END;
  verdict := 'failed';
  reason := left(regexp_replace(message, '[[:cntrl:]]', ' ', 'g'), 300);
  IF failure IS NOT NULL THEN
    verdict := CASE WHEN failure IN ('timed out', 'reply is larger than 8 MiB') THEN 'smaller' ELSE 'failed' END;
    reason := failure;
  ELSIF status = 401 THEN
    verdict := 'token_refused';
    reason := 'GitHub refuses the token (401)';
    hint := 'Give the connection a valid token with keypup.replace_token.';
  ELSIF status IN (403, 429) AND headers ->> 'x-github-sso' LIKE 'required%' THEN
    reason := 'the organization requires single sign-on for this token';
    hint := 'Authorize the token at ' || coalesce(substring(headers ->> 'x-github-sso' FROM 'url=(https://github[.]com/[^ ;]*)'), 'GitHub') || '.';
  ELSIF status = 429 OR error ->> 'type' IN ('RATE_LIMITED', 'RATE_LIMIT') OR message ILIKE '%rate limit%'
        OR (status = 403 AND (wait_seconds IS NOT NULL OR headers ->> 'x-ratelimit-remaining' = '0')) THEN
    verdict := 'paused';
    reason := 'GitHub''s rate limit is reached';
    hint := 'Nothing is lost: the sync goes on by itself at the time in next_run_at.';
    retry_at := CASE WHEN wait_seconds IS NOT NULL THEN now() + make_interval(secs => least(wait_seconds, 3600))
                     WHEN message ILIKE '%secondary%' THEN now() + interval '1 minute'
                     ELSE coalesce(reset_at, now() + interval '1 minute') END;
  ELSIF status IN (500, 502, 503, 504) OR message LIKE 'Something went wrong while executing your query%' OR message ILIKE '%resource limits exceeded%' THEN
    verdict := 'smaller';
    reason := format('GitHub could not answer in time (%s)', status);
  ELSIF status = 404 THEN
    reason := 'there is no GitHub API at the connection''s address (404)';
    hint := 'Check base_url in keypup.connections.';
  ELSIF status BETWEEN 300 AND 399 THEN
    reason := format('the server redirects (%s), which is not followed', status);
    hint := 'Connect with the address of the API itself.';
  ELSIF status <> 200 THEN
    reason := format('GitHub answered %s: %s', status, coalesce(nullif(reason, ''), 'no reason given'));
  ELSIF reply IS NULL THEN
    reason := 'the reply is not JSON';
    hint := 'A proxy or a sign-in page may stand before the API; check base_url in keypup.connections.';
  ELSIF jsonb_typeof(reply -> 'data') IS DISTINCT FROM 'object' THEN
    reason := 'GitHub refused the query: ' || coalesce(nullif(reason, ''), 'no reason given');
    hint := CASE WHEN error ->> 'type' IN ('INSUFFICIENT_SCOPES', 'FORBIDDEN')
                 THEN 'Give the token read access to metadata, issues and pull requests.' END;
  ELSE
    verdict := 'page';
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_verdict(integer, jsonb, jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_verdict(integer, jsonb, jsonb, text) IS 'What an answer means: page, paused, smaller, token_refused or failed, with reason and hint.';

CREATE FUNCTION keypup.github_store_page(account uuid, job bigint, reply jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_job record;
  answer jsonb := reply -> 'data';
  nodes jsonb;
  pages jsonb;
  touched bigint[];
BEGIN
  SELECT j.kind, j.arguments, j.project_id, p.connection_id, p.external_id, p.name INTO STRICT the_job
  FROM keypup.sync_jobs j JOIN keypup.projects p USING (account_id, project_id)
  WHERE j.account_id = account AND j.job_id = job;
  PERFORM keypup.github_store_people(account, the_job.connection_id, answer);

  IF the_job.kind = 'repository' THEN
    answer := CASE WHEN the_job.external_id IS NULL THEN answer -> 'repository' ELSE answer -> 'node' END;
    IF jsonb_typeof(answer) IS DISTINCT FROM 'object' THEN
      RAISE EXCEPTION 'repository "%" does not exist, or the token may not read it', the_job.name
        USING ERRCODE = 'undefined_object', HINT = 'Check the name, and that the token has read access to the repository. Rows read before are kept.';
    END IF;
    PERFORM keypup.github_store_repository(account, the_job.project_id, answer);
  ELSIF the_job.kind IN ('labels', 'milestones') THEN
    PERFORM keypup.github_store_list(account, the_job.project_id, the_job.kind, answer #> ARRAY['node', the_job.kind], the_job.arguments -> 'seen');
  ELSIF the_job.kind = 'pull_request_stubs' THEN
    PERFORM keypup.github_take_stubs(account, the_job.project_id, 'pull_requests', answer #> '{node,pullRequests}', false);
  ELSIF the_job.kind = 'issue_stubs' THEN
    PERFORM keypup.github_take_stubs(account, the_job.project_id, 'issues', answer #> '{node,issues}', false);
  ELSIF the_job.kind IN ('pull_requests', 'issues') THEN
    -- A node that GitHub would not show (deleted meanwhile) is null; the others are stored.
    nodes := jsonb_path_query_array(answer, '$.nodes[*] ? (exists (@.number))');
    IF the_job.kind = 'issues' THEN
      PERFORM keypup.github_store_issues(account, the_job.project_id, the_job.external_id, nodes);
    ELSE
      PERFORM keypup.github_store_pull_requests(account, the_job.project_id, the_job.external_id, nodes);
    END IF;
  ELSIF the_job.kind = 'nested_pages' THEN
    SELECT jsonb_agg(a.page || jsonb_build_object('page', answer #> ARRAY['n' || (a.position - 1), a.page ->> 'connection'])),
           array_agg(DISTINCT (a.page ->> 'number')::bigint)
    INTO pages, touched
    FROM jsonb_array_elements(the_job.arguments -> 'pages') WITH ORDINALITY AS a(page, position)
    WHERE jsonb_typeof(answer #> ARRAY['n' || (a.position - 1), a.page ->> 'connection']) = 'object';
    IF pages IS NOT NULL THEN
      PERFORM keypup.github_store_nested(account, the_job.project_id, the_job.external_id, pages);
      PERFORM keypup.derive_pull_requests(account, the_job.project_id, touched);
      PERFORM keypup.derive_issues(account, the_job.project_id, touched);
    END IF;
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_page(uuid, bigint, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_store_page(uuid, bigint, jsonb) IS 'Stores the page that answers a job, and what is to be asked next.';

-- GitHub was too slow for what was asked: ask for half of it twice. One item alone is put off.
CREATE FUNCTION keypup.github_halve(account uuid, job bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  list text;
  items jsonb;
  half integer;
BEGIN
  SELECT k.key, k.value INTO list, items
  FROM keypup.sync_jobs j, jsonb_each(j.arguments) k
  WHERE j.account_id = account AND j.job_id = job AND k.key IN ('ids', 'pages') AND jsonb_array_length(k.value) > 1;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  half := jsonb_array_length(items) / 2;
  INSERT INTO keypup.sync_jobs (account_id, project_id, kind, arguments, due_at, attempts)
  SELECT j.account_id, j.project_id, j.kind, jsonb_build_object(list, (SELECT jsonb_agg(e.item ORDER BY e.position) FROM jsonb_array_elements(items) WITH ORDINALITY AS e(item, position)
    WHERE (e.position <= half) = (part = 1))), now() + interval '1 second', 0
  FROM keypup.sync_jobs j, generate_series(1, 2) AS part
  WHERE j.account_id = account AND j.job_id = job;
  DELETE FROM keypup.sync_jobs j WHERE j.account_id = account AND j.job_id = job;
  RETURN true;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_halve(uuid, bigint) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_halve(uuid, bigint) IS 'Splits a job in two; false when it asks for one item only.';

CREATE FUNCTION keypup.github_store(account uuid, job bigint, interval_seconds integer, status integer, headers jsonb, reply jsonb, failure text, failure_hint text)
RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v record;
  project bigint;
  connection uuid;
  budget jsonb := reply #> '{data,rateLimit}';
BEGIN
  SELECT j.project_id, p.connection_id INTO project, connection
  FROM keypup.sync_jobs j JOIN keypup.projects p USING (account_id, project_id)
  WHERE j.account_id = account AND j.job_id = job;
  IF project IS NULL THEN
    RETURN;  -- untracked while the request was under way
  END IF;
  -- One page of a project at a time, so that the last job of a run knows that it is the last.
  PERFORM FROM keypup.sync_state s WHERE s.account_id = account AND s.project_id = project FOR UPDATE;
  UPDATE keypup.sync_state s
  SET requests = s.requests + 1, points = s.points + coalesce((budget ->> 'cost')::bigint, 0)
  WHERE s.account_id = account AND s.project_id = project;
  IF budget IS NOT NULL THEN
    UPDATE keypup.connections c
    SET state = 'ok', rate_limit = (budget ->> 'limit')::bigint, rate_remaining = (budget ->> 'remaining')::bigint, rate_reset_at = (budget ->> 'resetAt')::timestamptz,
        -- A page that was asked for before a pause, and comes after its start, does not end it.
        blocked_until = CASE WHEN (budget ->> 'remaining')::bigint = 0 THEN least((budget ->> 'resetAt')::timestamptz, now() + interval '1 hour')
                             WHEN c.blocked_until > now() THEN c.blocked_until END,
        blocked_reason = CASE WHEN (budget ->> 'remaining')::bigint = 0 THEN 'GitHub''s rate limit is reached'
                              WHEN c.blocked_until > now() THEN c.blocked_reason END
    WHERE c.account_id = account AND c.connection_id = connection;
  END IF;

  SELECT * INTO v FROM keypup.github_verdict(status, headers, reply, failure);
  CASE v.verdict
    WHEN 'page' THEN
      PERFORM keypup.github_store_page(account, job, reply);
      PERFORM keypup.job_done(account, job, interval_seconds);
    WHEN 'token_refused' THEN
      PERFORM keypup.connection_blocked(account, job, v.reason, NULL, 'token_refused');
      PERFORM keypup.job_failed(account, job, v.reason, v.hint);
    WHEN 'paused' THEN
      PERFORM keypup.connection_blocked(account, job, v.reason, v.retry_at, 'ok');
      PERFORM keypup.job_failed(account, job, v.reason, v.hint, v.retry_at);
    WHEN 'smaller' THEN
      IF NOT keypup.github_halve(account, job) THEN
        PERFORM keypup.job_failed(account, job, v.reason, v.hint);
      END IF;
    ELSE
      PERFORM keypup.job_failed(account, job, v.reason, coalesce(v.hint, failure_hint));
  END CASE;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store(uuid, bigint, integer, integer, jsonb, jsonb, text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_store(uuid, bigint, integer, integer, jsonb, jsonb, text, text) IS 'Takes the answer to a job: stores its page, or says why there is none and when to try again.';
