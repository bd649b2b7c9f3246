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
    verdict := CASE WHEN failure IN ('timed out', 'reply is larger than 2 MiB', 'reply has more than 120000 values')
                    THEN 'smaller' ELSE 'failed' END;
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
  ELSIF EXISTS (SELECT FROM jsonb_path_query(reply, 'lax $.errors[*].extensions.code') c WHERE c IN ('"undefinedField"', '"undefinedType"')) THEN
    verdict := 'older';
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
                 THEN 'Give the token read access to metadata, issues, pull requests and deployments.' END;
  ELSE
    verdict := 'page';
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_verdict(integer, jsonb, jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_verdict(integer, jsonb, jsonb, text) IS 'What an answer means: page, paused, smaller, older (the server lacks a field), token_refused or failed, with reason and hint.';

CREATE FUNCTION keypup.github_store_page(account uuid, job bigint, reply jsonb, interval_seconds integer) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_job record;
  answer jsonb := reply -> 'data';
  nodes jsonb;
  pages jsonb;
  touched bigint[];
BEGIN
  SELECT j.kind, j.arguments, j.queued_at, j.project_id, j.connection_id, p.external_id INTO STRICT the_job
  FROM keypup.sync_jobs j LEFT JOIN keypup.projects p ON p.account_id = j.account_id AND p.project_id = j.project_id
  WHERE j.account_id = account AND j.job_id = job;
  PERFORM keypup.github_store_people(account, the_job.connection_id, answer);

  IF the_job.kind = 'poll' THEN
    PERFORM keypup.github_take_poll(account, the_job.connection_id, the_job.queued_at, the_job.arguments -> 'projects', answer, interval_seconds);
  ELSIF the_job.kind = 'pull_request_sweep' THEN
    PERFORM keypup.github_take_sweep(account, the_job.project_id, the_job.kind, answer #> '{node,pullRequests}', the_job.arguments ->> 'seen');
  ELSIF the_job.kind = 'issue_sweep' THEN
    PERFORM keypup.github_take_sweep(account, the_job.project_id, the_job.kind, answer #> '{node,issues}', the_job.arguments ->> 'seen');
  ELSIF the_job.kind = 'existence' THEN
    PERFORM keypup.github_take_existence(account, the_job.project_id, the_job.external_id, the_job.arguments, reply);
  ELSIF the_job.kind = 'repository' THEN
    answer := CASE WHEN the_job.external_id IS NULL THEN answer -> 'repository' ELSE answer -> 'node' END;
    PERFORM keypup.github_store_repository(account, the_job.project_id, answer);
  ELSIF the_job.kind IN ('labels', 'milestones') THEN
    PERFORM keypup.github_store_list(account, the_job.project_id, the_job.kind, answer #> ARRAY['node', the_job.kind], the_job.arguments -> 'seen');
  ELSIF the_job.kind = 'pull_request_stubs' THEN
    PERFORM keypup.github_take_stubs(account, the_job.project_id, 'pull_requests', answer #> '{node,pullRequests}', false);
  ELSIF the_job.kind = 'issue_stubs' THEN
    PERFORM keypup.github_take_stubs(account, the_job.project_id, 'issues', answer #> '{node,issues}', false);
  ELSIF the_job.kind IN ('release_pages', 'deployment_pages') THEN
    PERFORM keypup.github_take_deliveries(account, the_job.project_id, CASE the_job.kind WHEN 'release_pages' THEN 'releases' ELSE 'deployments' END,
      answer #> ARRAY['node', CASE the_job.kind WHEN 'release_pages' THEN 'releases' ELSE 'deployments' END],
      (the_job.arguments ->> 'before')::timestamptz, (the_job.arguments ->> 'is_whole')::boolean, (the_job.arguments ->> 'first')::integer);
  ELSIF the_job.kind = 'releases' THEN
    PERFORM keypup.github_store_releases(account, the_job.project_id, jsonb_path_query_array(answer, '$.nodes[*] ? (exists (@.tagName))'));
  ELSIF the_job.kind = 'deployments' THEN
    PERFORM keypup.github_store_deployments(account, the_job.project_id, jsonb_path_query_array(answer, '$.nodes[*] ? (exists (@.environment))'));
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
    IF pages @> '[{"item": "deployment"}]' THEN
      PERFORM keypup.github_store_statuses(account, the_job.project_id, pages);
    ELSIF pages IS NOT NULL THEN
      PERFORM keypup.github_store_nested(account, the_job.project_id, the_job.external_id, pages);
      PERFORM keypup.derive_pull_requests(account, the_job.project_id, touched);
      PERFORM keypup.derive_issues(account, the_job.project_id, touched);
    END IF;
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_page(uuid, bigint, jsonb, integer) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_store_page(uuid, bigint, jsonb, integer) IS 'Stores the page that answers a job, and what is to be asked next.';

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
    -- A page of a list is asked for anew, half as long.
    UPDATE keypup.sync_jobs j SET arguments = j.arguments || jsonb_build_object('first', (j.arguments ->> 'first')::integer / 2), lease_id = NULL, due_at = now() + interval '1 second'
    WHERE j.account_id = account AND j.job_id = job AND (j.arguments ->> 'first')::integer > 10;
    RETURN FOUND;
  END IF;
  half := jsonb_array_length(items) / 2;
  INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, in_run, queued_at, due_at, arguments)
  SELECT j.account_id, j.connection_id, j.project_id, j.kind, j.in_run, j.queued_at, now() + interval '1 second', jsonb_build_object(list, (SELECT jsonb_agg(e.item ORDER BY e.position) FROM jsonb_array_elements(items) WITH ORDINALITY AS e(item, position)
    WHERE (e.position <= half) = (part = 1)))
  FROM keypup.sync_jobs j, generate_series(1, 2) AS part
  WHERE j.account_id = account AND j.job_id = job;
  DELETE FROM keypup.sync_jobs j WHERE j.account_id = account AND j.job_id = job;
  RETURN true;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_halve(uuid, bigint) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_halve(uuid, bigint) IS 'Splits a job in two, or has it ask for a shorter page; false when it asks for one item only.';

-- The fields that the server says it lacks are left out from now on. False when one of them is needed.
CREATE FUNCTION keypup.github_leave_out(account uuid, connection uuid, reply jsonb, OUT can_go_on boolean, OUT lacks text)
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  missing text[];
BEGIN
  SELECT array_agg(DISTINCT (e #>> '{extensions,typeName}') || coalesce('.' || (e #>> '{extensions,fieldName}'), '')) INTO missing
  FROM jsonb_array_elements(reply -> 'errors') e WHERE e #>> '{extensions,code}' IN ('undefinedField', 'undefinedType');
  SELECT m.name INTO lacks FROM unnest(missing) AS m (name)
  WHERE m.name NOT IN (SELECT o.field FROM keypup.github_optional() o)
     OR m.name IN (SELECT unnest(c.missing_fields) FROM keypup.connections c WHERE c.account_id = account AND c.connection_id = connection)
  ORDER BY m.name LIMIT 1;
  can_go_on := lacks IS NULL AND missing IS NOT NULL;
  IF can_go_on THEN
    UPDATE keypup.connections c SET missing_fields = ARRAY(SELECT DISTINCT u FROM unnest(c.missing_fields || missing) u ORDER BY u)
    WHERE c.account_id = account AND c.connection_id = connection;
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_leave_out(uuid, uuid, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_leave_out(uuid, uuid, jsonb) IS 'Learns from an answer which fields an older server lacks.';

-- How much the connection may ask at once from now on, and what is left of its budget.
CREATE FUNCTION keypup.github_pace(account uuid, connection uuid, kind text, verdict text, budget jsonb, retry_at timestamptz, milliseconds integer,
  OUT rate_limit bigint, OUT rate_remaining bigint, OUT rate_reset_at timestamptz, OUT blocked_until timestamptz)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  -- Answers to what was asked before the last halving tell of the same trouble.
  is_trouble boolean := verdict IN ('paused', 'smaller');
  -- Otherwise a connection whose token was refused stays stopped, and says why.
  is_admitted boolean := budget IS NOT NULL OR verdict = 'paused';
  is_out boolean;
BEGIN
  rate_limit := (budget ->> 'limit')::bigint;
  rate_remaining := (budget ->> 'remaining')::bigint;
  rate_reset_at := least((budget ->> 'resetAt')::timestamptz, now() + interval '1 hour');
  is_out := rate_reset_at > now() AND rate_remaining * 100 <= rate_limit * current_setting('keypup.rate_reserve')::bigint;
  blocked_until := CASE WHEN verdict = 'paused' THEN retry_at WHEN is_out THEN rate_reset_at END;
  UPDATE keypup.connections c
  SET state = CASE WHEN is_admitted THEN 'ok' ELSE c.state END,
      rate_limit = coalesce(github_pace.rate_limit, c.rate_limit), rate_remaining = coalesce(github_pace.rate_remaining, c.rate_remaining),
      rate_reset_at = coalesce(github_pace.rate_reset_at, c.rate_reset_at),
      blocked_until = CASE WHEN github_pace.blocked_until IS NOT NULL THEN github_pace.blocked_until WHEN c.blocked_until > now() THEN c.blocked_until END,
      blocked_reason = CASE WHEN verdict = 'paused' THEN 'GitHub''s rate limit is reached' WHEN is_out THEN 'only the reserve of GitHub''s rate limit is left'
                            WHEN c.blocked_until > now() OR (c.state = 'token_refused' AND NOT is_admitted)
                              THEN c.blocked_reason END,
      blocked_hint = CASE WHEN NOT is_admitted THEN c.blocked_hint END,
      refused_at = CASE WHEN NOT is_admitted THEN c.refused_at END,
      concurrency = CASE WHEN is_trouble AND (c.slowed_at IS NULL OR c.slowed_at < now() - make_interval(secs => milliseconds / 1000.0)) THEN greatest(1, c.concurrency / 2)
                         WHEN verdict <> 'page' THEN c.concurrency
                         -- As quick as it can until the provider objects, and then with care for ten minutes.
                         ELSE least(current_setting('keypup.max_requests')::integer, c.concurrency + CASE WHEN c.slowed_at > now() - interval '10 minutes' THEN 1 / c.concurrency ELSE 1 END) END,
      slowed_at = CASE WHEN is_trouble AND (c.slowed_at IS NULL OR c.slowed_at < now() - make_interval(secs => milliseconds / 1000.0)) THEN now() ELSE c.slowed_at END,
      batch_size = CASE WHEN kind NOT IN ('pull_requests', 'issues') THEN c.batch_size WHEN verdict = 'smaller' THEN greatest(1, c.batch_size / 2)
                        WHEN verdict <> 'page' THEN c.batch_size WHEN milliseconds < 3000 THEN least(50, c.batch_size + 5) WHEN milliseconds > 6000 THEN greatest(5, c.batch_size - 5)
                        ELSE c.batch_size END
  WHERE c.account_id = account AND c.connection_id = connection;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_pace(uuid, uuid, text, text, jsonb, timestamptz, integer) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_pace(uuid, uuid, text, text, jsonb, timestamptz, integer) IS 'Adapts a connection to an answer: requests in flight, size of batches, pause. Returns what else uses the token must know.';

CREATE FUNCTION keypup.github_store(account uuid, job bigint, interval_seconds integer, status integer, headers jsonb, reply jsonb, failure text, failure_hint text, milliseconds integer,
  token_revision bigint,
  OUT rate_limit bigint, OUT rate_remaining bigint, OUT rate_reset_at timestamptz, OUT blocked_until timestamptz,
  OUT is_refusal boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v record;
  the_job record;
  older record;
  budget jsonb := reply #> '{data,rateLimit}';
  token_is_current boolean;
BEGIN
  SELECT j.project_id, j.connection_id, j.kind INTO the_job
  FROM keypup.connections c JOIN keypup.sync_jobs j USING (account_id, connection_id)
  WHERE j.account_id = account AND j.job_id = job FOR KEY SHARE OF c;
  IF the_job.connection_id IS NULL THEN
    RETURN;  -- untracked or disconnected while the request was under way
  END IF;
  -- What was answered to another token, which was replaced meanwhile, says nothing of this one.
  token_is_current := EXISTS (SELECT FROM keypup.connection_tokens t
    WHERE t.account_id = account AND t.connection_id = the_job.connection_id AND t.purpose = 'access_token'
      AND t.revision = token_revision);
  -- One page of a project at a time, so that the last job of a run knows that it is the last.
  UPDATE keypup.sync_state s
  SET requests = s.requests + 1, points = s.points + coalesce((budget ->> 'cost')::bigint, 0)
  WHERE s.account_id = account AND s.project_id = the_job.project_id;

  SELECT * INTO v FROM keypup.github_verdict(status, headers, reply, failure);
  IF v.verdict IN ('page', 'failed') AND status = 200 AND keypup.github_learn_refused(account, the_job.project_id, reply) THEN
    v.verdict := 'refused';
  ELSIF v.verdict = 'failed' AND reply #>> '{errors,0,type}' = 'INSUFFICIENT_SCOPES' AND the_job.kind <> 'repository'
        AND (SELECT c.scopes IS DISTINCT FROM left(headers ->> 'x-oauth-scopes', 500) FROM keypup.connections c WHERE c.account_id = account AND c.connection_id = the_job.connection_id) THEN
    -- Somebody changed what the token may do since a run began: it is asked as it is now.
    PERFORM keypup.github_keep_headers(account, the_job.connection_id, headers, false);
    v.verdict := 'rescoped';
  ELSIF v.verdict = 'page' AND the_job.kind = 'repository'
        AND jsonb_typeof(coalesce(reply #> '{data,repository}', reply #> '{data,node}')) IS DISTINCT FROM 'object' THEN
    v.verdict := 'failed';
    v.reason := format('repository "%s" does not exist, or the token may not read it',
      (SELECT p.name FROM keypup.projects p WHERE p.account_id = account AND p.project_id = the_job.project_id));
    v.hint := 'Check the name, and that the token has read access to the repository. Rows read before are kept.';
  END IF;
  is_refusal := status = 200 AND v.verdict = 'failed';
  CASE v.verdict
    WHEN 'page' THEN
      PERFORM keypup.github_keep_headers(account, the_job.connection_id, headers, the_job.kind = 'repository');
      UPDATE keypup.app_installations i SET is_renewed = false WHERE i.account_id = account AND i.connection_id = the_job.connection_id AND i.is_renewed;
      IF the_job.kind = 'existence' AND headers ? 'x-github-sso' THEN
        PERFORM keypup.job_failed(account, job, 'GitHub shows only some organizations to this token', 'Authorize the token for the organization''s single sign-on.');
      ELSE
        PERFORM keypup.github_store_page(account, job, reply, interval_seconds);
        PERFORM keypup.job_done(account, job, interval_seconds);
      END IF;
    WHEN 'refused' THEN
      -- The rest of the repository is asked for without; of the list itself nothing is left to ask.
      IF the_job.kind = 'repository' THEN
        PERFORM keypup.release_job(account, job);
      ELSE
        PERFORM keypup.job_done(account, job, interval_seconds);
      END IF;
    WHEN 'rescoped' THEN
      PERFORM keypup.release_job(account, job);
    WHEN 'token_refused' THEN
      IF keypup.renew_refused_token(account, the_job.connection_id, job, token_revision) THEN
        RETURN;
      ELSIF NOT token_is_current THEN
        PERFORM keypup.release_job(account, job);
        RETURN;
      END IF;
      v.hint := coalesce(
        (SELECT 'The app is given tokens that GitHub then refuses; look at the app, and call keypup.replace_app_key.'
         FROM keypup.app_installations i
         WHERE i.account_id = account AND i.connection_id = the_job.connection_id), v.hint);
      PERFORM keypup.job_failed(account, job, v.reason, v.hint);
      PERFORM keypup.refuse_connection(account, the_job.connection_id, v.reason, v.hint);
    WHEN 'paused' THEN
      PERFORM keypup.job_failed(account, job, v.reason, v.hint, v.retry_at);
    WHEN 'smaller' THEN
      IF NOT keypup.github_halve(account, job) THEN
        PERFORM keypup.job_failed(account, job, v.reason, v.hint);
      END IF;
    WHEN 'older' THEN
      SELECT * INTO older FROM keypup.github_leave_out(account, the_job.connection_id, reply);
      IF older.can_go_on THEN
        PERFORM keypup.release_job(account, job);
      ELSE
        PERFORM keypup.job_failed(account, job, format('the server''s API lacks %s', older.lacks), 'It is too old: GitHub Enterprise Server 3.9 or newer is needed.');
      END IF;
    ELSE
      PERFORM keypup.job_failed(account, job, v.reason, coalesce(v.hint, failure_hint));
  END CASE;
  SELECT p.* INTO rate_limit, rate_remaining, rate_reset_at, blocked_until
  FROM keypup.github_pace(account, the_job.connection_id, the_job.kind, v.verdict,
    CASE WHEN token_is_current THEN budget END, v.retry_at, milliseconds) p;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store(uuid, bigint, integer, integer, jsonb, jsonb, text, text, integer, bigint) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_store(uuid, bigint, integer, integer, jsonb, jsonb, text, text, integer, bigint) IS
  'Takes the answer to a job: stores its page, or says why there is none and when to try again. Returns what is'
  ' left of the token''s budget, and whether the provider answered but did not give what was asked for.';
