-- provider/github/answer.sql: what an answer means, and what follows from it. Called by sync/ with the
-- answer to one job, as keypup_worker, for the account of the job.

-- What GitHub says of those whom it keeps out as a whole. Only people are told by words; that single sign-on is wanted
-- it says in so many signs.
CREATE FUNCTION keypup.github_refusal(words text, is_saml boolean, OUT reason text, OUT hint text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT k.reason || coalesce(': GitHub says "' || words || '"', ''), k.hint
  FROM (VALUES
    (1, is_saml OR words COLLATE "C" ~* '\mSAML\M|single sign-on',
      'the organization requires single sign-on for this token',
     'Authorize the token for the organization''s single sign-on at GitHub, or connect with another.'),
    (2, words COLLATE "C" ~* 'IP allow ?list', 'the organization''s IP allow list keeps this server out',
     'Have an owner of the organization add the address of this server to its IP allow list at GitHub.'),
    (3, words COLLATE "C" ~* 'suspended|flagged', 'the account, the organization or the app is suspended',
     'GitHub''s support can tell why. When it is lifted the sync goes on by itself.'),
    (4, words COLLATE "C" ~* 'access blocked|DMCA|disabled|billing', 'the repository is blocked at GitHub',
     'Its owner can tell why, or GitHub''s support. When it is lifted the sync goes on by itself.'))
    AS k (position, applies, reason, hint)
  WHERE k.applies
  ORDER BY k.position LIMIT 1
$$;
REVOKE ALL ON FUNCTION keypup.github_refusal(text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_refusal(text, boolean) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_refusal(text, boolean) IS
  'Why GitHub keeps somebody out, and what to do, with its own words; NULL when they say nothing that is known.';

-- The verdict on an answer, in the order in which GitHub's own documentation tells them apart: by status, headers, and
-- the types of its errors. What of a page is whole is another question (part.sql).
CREATE FUNCTION keypup.github_verdict(status integer, headers jsonb, reply jsonb, failure text) RETURNS keypup.verdict
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v keypup.verdict;
  -- A budget that is none would keep the page from being stored.
  budget jsonb := CASE WHEN keypup.misfits(jsonb_build_array(reply #> '{data,rateLimit}'), 'RateLimit',
    keypup.github_shapes()) IS NULL
    THEN reply #> '{data,rateLimit}' END;
  errors record;
  codes jsonb;
  is_limit boolean;
  words text;
  refusal record;
  has_data boolean := coalesce(jsonb_typeof(reply -> 'data') = 'object', false);
  wait_seconds bigint := CASE WHEN headers ->> 'retry-after'
    ~ '^[0-9]{1,6}$' THEN (headers ->> 'retry-after')::bigint END;
  reset_at timestamptz := CASE WHEN headers ->> 'x-ratelimit-reset'
    ~ '^[0-9]{1,11}$' THEN to_timestamp((headers ->> 'x-ratelimit-reset')::bigint) END;
BEGIN
  v.rate_limit := (budget ->> 'limit')::bigint;
  v.rate_remaining := (budget ->> 'remaining')::bigint;
  v.rate_reset_at := (budget ->> 'resetAt')::timestamptz;
  v.cost := (budget ->> 'cost')::bigint;
  v.is_admitted := status = 200 AND has_data;
  -- What of the page is not there is asked for in smaller pieces; so is what comes next.
  v.is_slow := coalesce(reply @? '$.errors[*] ? (@.type == "RESOURCE_LIMITS_EXCEEDED")', false);
  IF failure IS NULL AND status = 200 AND has_data AND NOT keypup.github_has_errors(reply) THEN
    v.verdict := 'page';
    RETURN v;
  END IF;
  SELECT array_agg(DISTINCT e.type) FILTER (WHERE e.type IS NOT NULL) AS types, bool_or(e.is_saml) AS is_saml,
    min(e.message) FILTER (WHERE e.position = 1) AS message, min(e.type) FILTER (WHERE e.position = 1) AS type,
    count(*) AS how_many
  INTO errors
  FROM keypup.github_errors(reply, '{}'::text[]) WITH ORDINALITY AS e (type, keys, message, is_saml, position);
  codes := jsonb_path_query_array(reply, 'lax $.errors[*].extensions.code');
  is_limit := coalesce(errors.types && '{RATE_LIMITED,RATE_LIMIT}', false)
    OR coalesce(codes ? 'graphql_rate_limit', false);
  IF failure IS NULL AND status = 200 AND has_data AND NOT is_limit THEN
    v.verdict := 'page';
    RETURN v;
  END IF;
  words := coalesce(keypup.github_words(errors.message), keypup.github_words(reply ->> 'message'), 'no reason given');
  SELECT * INTO refusal FROM keypup.github_refusal(words, errors.is_saml);
  -- An absurd time is not obeyed: nothing GitHub documents lasts longer than an hour.
  reset_at := CASE WHEN reset_at > now() THEN least(reset_at, now() + interval '1 hour') END;
  v.verdict := 'failed';
  IF failure IS NOT NULL THEN
    -- What holds too much of something may hold it in one item.
    v.verdict := CASE WHEN failure = 'timed out' OR failure ~ '^(the )?reply ' THEN 'smaller' ELSE 'failed' END;
    v.reason := failure;
  ELSIF status = 401 THEN
    v.verdict := 'token_refused';
    v.reason := 'GitHub refuses the token (401)';
    v.hint := 'Give the connection a valid token with keypup.replace_token.';
  ELSIF status IN (403, 429) AND headers ->> 'x-github-sso' LIKE 'required%' THEN
    v.reason := 'the organization requires single sign-on for this token';
    v.hint := 'Authorize the token at '
      || coalesce(substring(headers ->> 'x-github-sso' FROM 'url=(https://github[.]com/[^ ;]*)'), 'GitHub') || '.';
  ELSIF status = 429 OR is_limit OR (NOT has_data AND words COLLATE "C" ILIKE '%rate limit%')
        OR (status = 403 AND (wait_seconds IS NOT NULL OR headers ->> 'x-ratelimit-remaining' = '0')) THEN
    v.verdict := 'paused';
    v.reason := 'GitHub''s rate limit is reached';
    v.hint := 'Nothing is lost: the sync goes on by itself at the time in next_run_at.';
    v.retry_at := CASE WHEN wait_seconds IS NOT NULL THEN now() + make_interval(secs => least(wait_seconds, 3600))
                     WHEN words COLLATE "C" ILIKE '%secondary%' THEN now() + interval '1 minute'
                     ELSE coalesce(reset_at, now() + interval '1 minute') END;
  ELSIF status IN (500, 502, 503, 504) THEN
    v.verdict := 'smaller';
    v.reason := format('GitHub could not answer in time (%s)', status);
  ELSIF NOT has_data AND (codes ? 'undefinedField' OR codes ? 'undefinedType' OR codes ? 'argumentNotAccepted') THEN
    v.verdict := 'older';
  ELSIF status = 404 THEN
    v.reason := 'there is no GitHub API at the connection''s address (404)';
    v.hint := 'Check base_url in keypup.connections.';
  ELSIF status BETWEEN 300 AND 399 THEN
    v.reason := format('the server redirects (%s), which is not followed', status);
    v.hint := 'Connect with the address of the API itself.';
  ELSIF status <> 200 THEN
    v.reason := coalesce(refusal.reason, format('GitHub answered %s: %s', status, words));
    v.hint := refusal.hint;
  ELSIF reply IS NULL THEN
    v.reason := 'the reply is not JSON';
    v.hint := 'A proxy or a sign-in page may stand before the API; check base_url in keypup.connections.';
  ELSIF errors.types && '{INSUFFICIENT_SCOPES,FORBIDDEN,NOT_FOUND}' THEN
    v.reason := coalesce(refusal.reason, 'GitHub refused the query: GitHub says "' || words || '"');
    v.hint := coalesce(refusal.hint, 'Give the token read access to metadata, issues, pull requests and deployments.');
  ELSE
    -- Too much for it (RESOURCE_LIMITS_EXCEEDED), or a thing in it that it cannot answer for: less of it may do.
    v.verdict := 'smaller';
    v.reason := CASE WHEN errors.how_many > 0 THEN keypup.github_why(errors.message, errors.type)
      ELSE 'GitHub did not answer the query' END;
  END IF;
  RETURN v;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_verdict(integer, jsonb, jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_verdict(integer, jsonb, jsonb, text) IS
  'What an answer means: page, paused, smaller, older (the server lacks a field), token_refused or failed, with '
  'reason and hint.';

-- A time by GitHub's clock, with which its times are compared, at which nothing of an answer had been read there:
-- before it was asked, and as much again for clocks of its own that differ. Without its clock, by ours.
CREATE FUNCTION keypup.github_as_of(headers jsonb, milliseconds integer) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN coalesce(keypup.github_time(headers ->> 'date') - interval '5 seconds',
    now() - interval '1 minute') - make_interval(secs => milliseconds / 1000.0);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_as_of(jsonb, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_as_of(jsonb, integer) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_as_of(jsonb, integer) IS
  'A time by GitHub''s clock at which an answer that took so long had surely not been read.';

-- Stores what the answer to a job holds of what was asked for, and has the rest asked for again. Whether the job has
-- ended; otherwise it is put off, or asks for less.
CREATE FUNCTION keypup.github_store_page(account uuid, job bigint, reply jsonb, interval_seconds integer,
  as_of timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_job record;
  refused text[];
  its record;
  judged record;
  rows jsonb;
  has_ended boolean;
BEGIN
  SELECT j.kind, j.arguments, j.queued_at, j.project_id, j.connection_id, p.external_id INTO STRICT the_job
  FROM keypup.sync_jobs j LEFT JOIN keypup.projects p ON p.account_id = j.account_id AND p.project_id = j.project_id
  WHERE j.account_id = account AND j.job_id = job;

  IF the_job.kind = 'poll' THEN
    PERFORM keypup.github_take_poll(account, the_job.connection_id, the_job.queued_at, the_job.arguments -> 'items',
      reply, interval_seconds);
    RETURN true;
  ELSIF the_job.kind = 'repository' THEN
    RETURN keypup.github_take_repository(account, job, reply);
  END IF;
  refused := keypup.github_refused_fields(account, the_job.project_id);
  SELECT * INTO its FROM keypup.github_listed(the_job.kind);
  IF its.member IS NOT NULL THEN
    RETURN keypup.github_store_list(account, job, reply, its.member, its.shape, its.element, refused);
  END IF;

  judged := keypup.github_judge(the_job.kind, the_job.arguments, reply, refused);
  IF the_job.kind = 'existence' THEN
    PERFORM keypup.github_take_existence(account, the_job.project_id,
      -- As this answer has it: an id may have become one of the newer form.
      coalesce(reply #>> '{data,node,id}', the_job.external_id), the_job.arguments, judged.asked, judged.whole,
      judged.gone);
  ELSIF the_job.kind = 'numbers' THEN
    PERFORM keypup.github_take_numbers(account, the_job.project_id, the_job.external_id, judged.asked, judged.whole);
  ELSE
    rows := judged.whole;
    IF the_job.kind = 'nested_pages' THEN
      SELECT coalesce(jsonb_agg(jsonb_build_object(a.page ->> 'connection', n.node -> (a.page ->> 'connection'))
        || a.page ORDER BY a.position), '[]') INTO rows
      FROM jsonb_array_elements(judged.asked) WITH ORDINALITY AS a (page, position)
      JOIN jsonb_array_elements(judged.whole) WITH ORDINALITY AS n (node, position) USING (position);
      IF judged.gone <> '[]' THEN
        -- Its item may be there all the same: the next run reads that from the start. How it stands is read anyway.
        PERFORM keypup.set_aside(account, the_job.project_id,
          keypup.github_failures(account, the_job.project_id, the_job.kind, the_job.arguments, (
            SELECT jsonb_agg(jsonb_build_object('asked', g.page, 'why', 'GitHub does not find what its list is in'))
            FROM jsonb_array_elements(judged.gone) AS g (page)
            WHERE g.page ->> 'item' <> 'status_check_rollup')));
      END IF;
    ELSIF judged.gone <> '[]' THEN
      PERFORM keypup.confirm_gone(account, the_job.project_id,
        CASE the_job.kind WHEN 'merge_states' THEN 'pull_requests' ELSE the_job.kind END, judged.gone);
    END IF;
    PERFORM keypup.github_store_rows(account, the_job.project_id, the_job.kind, rows, as_of);
  END IF;
  has_ended := keypup.ask_again(account, job, judged.again);
  IF has_ended AND the_job.kind = 'numbers' THEN
    PERFORM keypup.github_end_numbers(account, the_job.project_id, job);
  END IF;
  RETURN has_ended;
END
$$;
-- A page of a list of a repository.
CREATE FUNCTION keypup.github_store_list(account uuid, job bigint, reply jsonb, member text, shape text, element text,
  refused text[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_job record;
  listed record := keypup.github_list(reply, ARRAY['node', member], shape, element, refused);
  items text := CASE member WHEN 'pullRequests' THEN 'pull_requests' ELSE member END;
BEGIN
  SELECT j.kind, j.arguments, j.project_id INTO STRICT the_job FROM keypup.sync_jobs j
  WHERE j.account_id = account AND j.job_id = job;
  IF NOT listed.is_whole THEN
    IF keypup.ask_list_again(account, job, listed.page IS NOT NULL,
         EXISTS (SELECT FROM keypup.github_errors(reply, refused) e WHERE e.type = 'INVALID_CURSOR_ARGUMENTS')) THEN
      RETURN false;
    END IF;
    PERFORM keypup.set_aside(account, the_job.project_id,
      keypup.github_list_failure(account, the_job.project_id, the_job.kind,
      the_job.arguments || CASE WHEN listed.page IS NOT NULL THEN '{"only": true}'::jsonb ELSE '{}' END, listed.why));
    IF listed.page IS NULL THEN
      RETURN true;
    END IF;
  END IF;
  IF the_job.kind IN ('labels', 'milestones') THEN
    PERFORM keypup.github_take_list(account, the_job.project_id, the_job.kind, listed.page, the_job.arguments);
  ELSIF the_job.kind IN ('pull_request_sweep', 'issue_sweep') THEN
    PERFORM keypup.github_take_sweep(account, the_job.project_id, the_job.kind, listed.page, the_job.arguments);
  ELSIF the_job.kind IN ('pull_request_stubs', 'issue_stubs') THEN
    PERFORM keypup.github_take_stubs(account, the_job.project_id, items, listed.page, the_job.arguments);
  ELSE
    PERFORM keypup.github_take_deliveries(account, the_job.project_id, items, listed.page, listed.broken,
      the_job.arguments);
  END IF;
  RETURN true;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_store_page(uuid, bigint, jsonb, integer, timestamptz),
  keypup.github_store_list(uuid, bigint, jsonb, text, text, text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_store_page(uuid, bigint, jsonb, integer, timestamptz),
  keypup.github_store_list(uuid, bigint, jsonb, text, text, text, text[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_store_page(uuid, bigint, jsonb, integer, timestamptz) IS
  'Takes the page that answers a job: stores it, and what is to be asked next. Whether the job has ended.';
COMMENT ON FUNCTION keypup.github_store_list(uuid, bigint, jsonb, text, text, text, text[]) IS
  'Takes a page of a list of a repository. Whether the job has ended.';

-- The fields that the server says it lacks are left out from now on. False when one of them is needed.
CREATE FUNCTION keypup.github_leave_out(account uuid, connection uuid, reply jsonb, OUT can_go_on boolean,
  OUT lacks text)
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  missing text[];
BEGIN
  SELECT array_agg(DISTINCT CASE e #>> '{extensions,code}'
      WHEN 'argumentNotAccepted' THEN format('%s(%s)', e #>> '{extensions,name}', e #>> '{extensions,argumentName}')
      ELSE (e #>> '{extensions,typeName}') || coalesce('.' || (e #>> '{extensions,fieldName}'), '') END) INTO missing
  FROM jsonb_array_elements(reply -> 'errors') e
  WHERE e #>> '{extensions,code}' IN ('undefinedField', 'undefinedType', 'argumentNotAccepted');
  SELECT m.name INTO lacks FROM unnest(missing) AS m (name)
  WHERE m.name NOT IN (SELECT o.field FROM keypup.github_optional() o)
     OR m.name IN (
       SELECT unnest(c.missing_fields) FROM keypup.connections c
       WHERE c.account_id = account AND c.connection_id = connection)
  ORDER BY m.name LIMIT 1;
  can_go_on := lacks IS NULL AND missing IS NOT NULL;
  IF can_go_on THEN
    UPDATE keypup.connections c SET missing_fields = ARRAY(SELECT DISTINCT u FROM unnest(c.missing_fields || missing) u
      ORDER BY u)
    WHERE c.account_id = account AND c.connection_id = connection;
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_leave_out(uuid, uuid, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_leave_out(uuid, uuid, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_leave_out(uuid, uuid, jsonb) IS
  'Learns from an answer which fields an older server lacks.';

-- What an answer says to whoever knows the job. What is learnt of the server or the token is left out, or asked for,
-- from now on.
CREATE FUNCTION keypup.github_learn(account uuid, job bigint, status integer, headers jsonb, reply jsonb,
  INOUT verdict keypup.verdict)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_job record;
  older record;
  refusal record;
BEGIN
  SELECT j.project_id, j.connection_id, j.kind, j.attempts INTO STRICT the_job
  FROM keypup.sync_jobs j WHERE j.account_id = account AND j.job_id = job;
  IF verdict.verdict IN ('page', 'failed') AND status = 200 AND keypup.github_has_errors(reply)
     AND keypup.github_learn_refused(account, the_job.project_id, reply) THEN
    -- It is asked again without; of a list that is refused nothing is left to ask.
    verdict.verdict := CASE
      WHEN the_job.kind = 'release_pages'
        AND 'Repository.releases' = ANY (keypup.github_refused_fields(account, the_job.project_id)) THEN 'done'
      WHEN the_job.kind = 'deployment_pages'
        AND 'Repository.deployments' = ANY (keypup.github_refused_fields(account, the_job.project_id)) THEN 'done'
      ELSE 'again' END;
  ELSIF verdict.verdict = 'failed' AND reply @? '$.errors[*] ? (@.type == "INSUFFICIENT_SCOPES")'
    AND the_job.kind <> 'repository'
    AND (SELECT c.scopes IS DISTINCT FROM left(headers ->> 'x-oauth-scopes', 500) FROM keypup.connections c
         WHERE c.account_id = account AND c.connection_id = the_job.connection_id) THEN
    -- Somebody changed what the token may do since a run began: it is asked as it is now.
    PERFORM keypup.github_keep_headers(account, the_job.connection_id, headers, false);
    verdict.verdict := 'again';
  ELSIF verdict.verdict = 'failed' AND status = 200 AND reply IS NULL AND the_job.attempts >= 3 THEN
    -- Not a proxy's page, or not for a moment: one thing in it may be what is no JSON.
    verdict.verdict := 'smaller';
  ELSIF verdict.verdict = 'page' AND the_job.kind = 'existence' AND headers ? 'x-github-sso' THEN
    verdict.verdict := 'failed';
    verdict.reason := 'GitHub shows only some organizations to this token';
    verdict.hint := 'Authorize the token for the organization''s single sign-on.';
  ELSIF verdict.verdict = 'older' THEN
    SELECT * INTO older FROM keypup.github_leave_out(account, the_job.connection_id, reply);
    verdict.verdict := CASE WHEN older.can_go_on THEN 'again' ELSE 'failed' END;
    verdict.reason := format('the server''s API lacks %s', older.lacks);
    verdict.hint := 'It is too old: GitHub Enterprise Server 3.9 or newer is needed.';
  END IF;
  IF verdict.verdict = 'page' AND the_job.kind IN ('repository', 'existence') THEN
    SELECT * INTO refusal FROM keypup.github_repository_refusal(account, the_job.project_id, reply);
    IF refusal.reason IS NOT NULL THEN
      verdict.verdict := 'failed';
      verdict.reason := refusal.reason;
      verdict.hint := refusal.hint;
    END IF;
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_learn(uuid, bigint, integer, jsonb, jsonb, keypup.verdict) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_learn(uuid, bigint, integer, jsonb, jsonb, keypup.verdict) IS
  'The verdict on the answer to a job, for whoever knows the job: again (what was in the way is left out, or asked '
  'for, now) and done, too.';

CREATE FUNCTION keypup.github_page(account uuid, job bigint, headers jsonb, reply jsonb, milliseconds integer,
  interval_seconds integer) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN keypup.github_store_page(account, job, reply, interval_seconds, keypup.github_as_of(headers, milliseconds));
END
$$;
REVOKE ALL ON FUNCTION keypup.github_page(uuid, bigint, jsonb, jsonb, integer, integer) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_page(uuid, bigint, jsonb, jsonb, integer, integer) IS
  'Takes the page that answers a job. Whether the job has ended.';

CREATE FUNCTION keypup.github_settle(account uuid, connection uuid, project bigint, kind text, headers jsonb,
  verdict text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF verdict = 'page' OR (kind = 'existence' AND headers ? 'x-github-sso') THEN
    PERFORM keypup.github_keep_headers(account, connection, headers, kind = 'repository');
  END IF;
  PERFORM keypup.github_end_waiting(account, project, kind);
END
$$;
REVOKE ALL ON FUNCTION keypup.github_settle(uuid, uuid, bigint, text, jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_settle(uuid, uuid, bigint, text, jsonb, text) IS
  'The last of an answer: keeps what its headers say of the token; what waits for more that cannot come is due.';
