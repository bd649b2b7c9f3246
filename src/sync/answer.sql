-- sync/answer.sql: taking the answer to a job. What it means is for the provider's functions to say
-- (provider/contract.sql); what becomes of the job, and of the connection, is said here, as keypup_worker, for the
-- account of the job.

-- How much the connection may ask at once from now on, and what is left of its budget.
CREATE FUNCTION keypup.pace_connection(account uuid, connection uuid, asked_size integer, v keypup.verdict, title text,
  milliseconds integer, OUT rate_limit bigint, OUT rate_remaining bigint, OUT rate_reset_at timestamptz,
  OUT blocked_until timestamptz)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  outcome text := CASE WHEN v.is_slow AND v.verdict = 'page' THEN 'smaller' ELSE v.verdict END;
  -- Answers to what was asked before the last halving tell of the same trouble.
  is_trouble boolean := outcome IN ('paused', 'smaller');
  is_out boolean;
BEGIN
  rate_limit := v.rate_limit;
  rate_remaining := v.rate_remaining;
  rate_reset_at := least(v.rate_reset_at, now() + interval '1 hour');
  -- Who has no limit may say so by a number that is none.
  is_out := rate_reset_at > now() AND rate_limit > 0
    AND rate_remaining::numeric * 100 <= rate_limit::numeric * current_setting('keypup.rate_reserve')::bigint;
  blocked_until := CASE WHEN outcome = 'paused' THEN v.retry_at WHEN is_out THEN rate_reset_at END;
  UPDATE keypup.connections c
  SET state = CASE WHEN v.is_admitted THEN 'ok' ELSE c.state END,
      rate_limit = coalesce(pace_connection.rate_limit, c.rate_limit),
      rate_remaining = coalesce(pace_connection.rate_remaining, c.rate_remaining),
      rate_reset_at = coalesce(pace_connection.rate_reset_at, c.rate_reset_at),
      blocked_until = CASE WHEN pace_connection.blocked_until IS NOT NULL THEN pace_connection.blocked_until
                           WHEN c.blocked_until > now() THEN c.blocked_until END,
      -- A token that was refused stays so, and says why, until an answer to it has data.
      blocked_reason = CASE WHEN c.refused_at IS NOT NULL AND NOT v.is_admitted THEN c.blocked_reason
                            WHEN outcome = 'paused' THEN format('%s''s rate limit is reached', title)
                            WHEN is_out THEN format('only the reserve of %s''s rate limit is left', title)
                            WHEN c.blocked_until > now() THEN c.blocked_reason END,
      blocked_hint = CASE WHEN NOT v.is_admitted THEN c.blocked_hint END,
      refused_at = CASE WHEN NOT v.is_admitted THEN c.refused_at END,
      retry_at = CASE WHEN NOT v.is_admitted THEN c.retry_at END,
      concurrency = CASE WHEN is_trouble
                           AND (c.slowed_at IS NULL
                             OR c.slowed_at < now() - make_interval(secs => milliseconds / 1000.0))
                         THEN greatest(1, least(current_setting('keypup.max_requests')::integer, c.concurrency) / 2)
                         WHEN outcome <> 'page' THEN c.concurrency
                         -- As quick as it can until the provider objects, and then with care for ten minutes.
                         ELSE least(current_setting('keypup.max_requests')::integer,
                                c.concurrency + CASE WHEN c.slowed_at > now() - interval '10 minutes'
                                  THEN 1 / c.concurrency ELSE 1 END) END,
      slowed_at = CASE WHEN is_trouble
                         AND (c.slowed_at IS NULL
                           OR c.slowed_at < now() - make_interval(secs => milliseconds / 1000.0))
                       THEN now() ELSE c.slowed_at END,
      -- By the size that was asked with, so that all answers of one size change it once; and by as much as its time
      -- promises to be neither quick nor slow.
      batch_size = CASE WHEN asked_size IS NULL OR outcome NOT IN ('page', 'smaller') THEN c.batch_size
                        WHEN outcome = 'smaller' THEN least(c.batch_size, greatest(1, asked_size / 2))
                        WHEN milliseconds > 6000 THEN least(c.batch_size, greatest(5, asked_size * 2 / 3))
                        WHEN milliseconds < 3000 AND asked_size = c.batch_size THEN least(93, c.batch_size * 3 / 2 + 1)
                        ELSE c.batch_size END
  WHERE c.account_id = account AND c.connection_id = connection;
END
$$;
REVOKE ALL ON FUNCTION keypup.pace_connection(uuid, uuid, integer, keypup.verdict, text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.pace_connection(uuid, uuid, integer, keypup.verdict, text, integer) TO keypup_worker;
COMMENT ON FUNCTION keypup.pace_connection(uuid, uuid, integer, keypup.verdict, text, integer) IS
  'Adapts a connection to an answer: requests in flight, size of batches, pause. asked_size: batch_size of the job, '
  'where it asks for several things. Returns what else uses the token must know.';

-- For whoever stores what is in it: what was stored since then may be newer.
CREATE FUNCTION keypup.answer_asked_at(account uuid, project bigint) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (
    SELECT coalesce(s.answer_asked_at, now()) FROM keypup.sync_state s
    WHERE s.account_id = account AND s.project_id = project);
END
$$;
REVOKE ALL ON FUNCTION keypup.answer_asked_at(uuid, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.answer_asked_at(uuid, bigint) TO keypup_worker;
COMMENT ON FUNCTION keypup.answer_asked_at(uuid, bigint) IS
  'When the answer was asked for that is being taken for a project.';

CREATE FUNCTION keypup.take_answer(account uuid, job bigint, interval_seconds integer, status integer, headers jsonb,
  reply jsonb, failure text, failure_hint text, milliseconds integer, token_revision bigint,
  holds_projects boolean DEFAULT false, OUT rate_limit bigint, OUT rate_remaining bigint, OUT rate_reset_at timestamptz,
  OUT blocked_until timestamptz, OUT is_refusal boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  v keypup.verdict;
  the_job record;
  token_is_current boolean;
  has_ended boolean;
BEGIN
  SELECT j.project_id, j.connection_id, j.kind, j.asked_at, j.doubt, p.provider, p.title, p.first_kind,
    CASE WHEN j.kind = ANY (p.batched_kinds) THEN j.batch_size END AS asked_size INTO the_job
  FROM keypup.connections c
  JOIN keypup.sync_jobs j USING (account_id, connection_id)
  JOIN keypup.providers p USING (provider)
  WHERE j.account_id = account AND j.job_id = job FOR KEY SHARE OF c;
  IF the_job.connection_id IS NULL THEN
    RETURN;  -- untracked or disconnected while the request was under way
  END IF;
  v := keypup.provider_verdict(the_job.provider, status, headers, reply, failure);
  -- What was answered to another token, which was replaced meanwhile, says nothing of this one.
  token_is_current := EXISTS (SELECT FROM keypup.connection_tokens t
    WHERE t.account_id = account AND t.connection_id = the_job.connection_id AND t.purpose = 'access_token'
      AND t.revision = token_revision);
  -- It was found to change rows of other projects.
  IF holds_projects THEN
    PERFORM keypup.hold_projects(account, the_job.connection_id, true);
  END IF;
  -- One page of a project at a time, so that the last job of a run knows that it is the last.
  UPDATE keypup.sync_state s SET requests = s.requests + 1, points = s.points + coalesce(v.cost, 0),
    answer_asked_at = the_job.asked_at
  WHERE s.account_id = account AND s.project_id = the_job.project_id;
  -- Its own job before others that wait, to which something is added: so none that holds this one waits for us.
  PERFORM FROM keypup.sync_jobs j WHERE j.account_id = account AND j.job_id = job FOR UPDATE;
  IF NOT FOUND THEN
    RETURN;  -- untracked while we waited for the project
  END IF;
  v := keypup.provider_learn(the_job.provider, account, job, status, headers, reply, v);
  -- What a provider does not say, or says and cannot mean: none is silent, admits a token unasked, halts a
  -- connection for good, or asks on without a pause; and what cannot be read is no page.
  IF v.verdict = 'page' AND (failure IS NOT NULL OR reply IS NULL) THEN
    v.verdict := 'failed';
    v.reason := coalesce(failure, 'the reply is not JSON');
    v.is_admitted := false;
  END IF;
  v.reason := coalesce(v.reason, format('%s''s answer cannot be used', the_job.title));
  v.is_admitted := coalesce(v.is_admitted, false);
  IF v.verdict = 'paused' THEN
    v.retry_at := least(greatest(coalesce(v.retry_at, now() + interval '1 minute'), now() + interval '1 second'),
      now() + interval '1 hour');
  END IF;

  is_refusal := status = 200 AND v.verdict = 'failed';
  -- Where a token is refused, or a pause is asked for, the connection waits, and not the job.
  CASE v.verdict
    WHEN 'page' THEN
      has_ended := keypup.provider_page(the_job.provider, account, job, headers, reply, milliseconds, interval_seconds);
      IF has_ended THEN
        PERFORM keypup.job_done(account, job, interval_seconds);
      ELSIF EXISTS (
        SELECT FROM keypup.sync_jobs j WHERE j.account_id = account AND j.job_id = job AND j.lease_id IS NOT NULL
      ) THEN
        -- Nobody would ask again, and nobody be told, while the lease is held.
        RAISE EXCEPTION 'keypup.%_page returned %, and has neither put off nor split its job', the_job.provider,
          coalesce(has_ended::text, 'NULL') USING ERRCODE = 'invalid_parameter_value';
      END IF;
      UPDATE keypup.app_installations i SET is_renewed = false
      WHERE (i.account_id, i.connection_id) IN (
        SELECT o.account_id, o.connection_id FROM keypup.app_installations o
        WHERE o.account_id = account AND o.connection_id = the_job.connection_id
          AND o.is_renewed FOR UPDATE SKIP LOCKED);
    WHEN 'done' THEN
      PERFORM keypup.job_done(account, job, interval_seconds);
    WHEN 'again' THEN
      PERFORM keypup.release_job(account, job);
    WHEN 'token_refused' THEN
      IF keypup.renew_refused_token(account, the_job.connection_id, job, token_revision) THEN
        RETURN;
      ELSIF NOT token_is_current THEN
        PERFORM keypup.release_job(account, job);
        RETURN;
      END IF;
      v.hint := coalesce(
        (SELECT format('The app is given tokens that %s then refuses; look at the app, and call '
          'keypup.replace_app_key.', the_job.title)
         FROM keypup.app_installations i
         WHERE i.account_id = account AND i.connection_id = the_job.connection_id), v.hint);
      PERFORM keypup.job_failed(account, job, v.reason, v.hint, now(), true);
      PERFORM keypup.record_token_use(account, the_job.connection_id, now(), now(), 1::bigint, 'refused'::text)
      WHERE keypup.doubt_connection(account, the_job.connection_id, v.reason, v.hint, the_job.doubt);
    WHEN 'paused' THEN
      PERFORM keypup.job_failed(account, job, v.reason, v.hint, now(), true);
    WHEN 'smaller' THEN
      IF keypup.halve_job(account, job) THEN
        NULL;
      ELSIF keypup.give_up(account, job, v.reason, CASE WHEN status = 200 THEN 2 ELSE 5 END) THEN
        PERFORM keypup.job_done(account, job, interval_seconds);
      ELSIF status <> 200 OR the_job.kind IN (the_job.first_kind, 'poll') OR NOT keypup.put_off_job(account, job) THEN
        PERFORM keypup.job_failed(account, job, v.reason, v.hint, NULL::timestamptz, true);
      END IF;
    ELSE
      -- What there is a hint for waits for a person.
      PERFORM keypup.job_failed(account, job, v.reason, coalesce(v.hint, failure_hint), NULL::timestamptz,
        failure IS NOT NULL AND failure_hint IS NULL);
  END CASE;
  PERFORM keypup.provider_settle(the_job.provider, account, the_job.connection_id, the_job.project_id, the_job.kind,
    headers, v.verdict);
  IF NOT token_is_current THEN
    v.rate_limit := NULL;
    v.rate_remaining := NULL;
    v.rate_reset_at := NULL;
    v.is_admitted := false;
  END IF;
  SELECT p.* INTO rate_limit, rate_remaining, rate_reset_at, blocked_until
  FROM keypup.pace_connection(account, the_job.connection_id, the_job.asked_size, v, the_job.title, milliseconds) p;
END
$$;
REVOKE ALL ON FUNCTION keypup.take_answer(uuid, bigint, integer, integer, jsonb, jsonb, text, text, integer, bigint,
  boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.take_answer(uuid, bigint, integer, integer, jsonb, jsonb, text, text, integer, bigint,
  boolean) TO keypup_worker;
COMMENT ON FUNCTION keypup.take_answer(uuid, bigint, integer, integer, jsonb, jsonb, text, text, integer, bigint,
  boolean) IS
  'Takes the answer to a job: stores its page, or says why there is none and when to try again. Returns what is left '
  'of the token''s budget, and whether the provider answered but did not give what was asked for. holds_projects: '
  'done once more with all projects of the connection held, after SQLSTATE 55006.';
