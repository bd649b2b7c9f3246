-- provider/contract.sql: the functions that each provider has, PROVIDER_NAME. Each is called as keypup_worker for the
-- account of a job, but those of webhooks and reread, which the owner calls; none is SECURITY DEFINER. What they return
-- is a request, a verdict, or rows.

-- What an answer means: page; smaller (less of it may do), paused (until retry_at), token_refused, or failed; reason
-- and hint are for people. is_admitted: the token was accepted. is_slow: a page, but not all of it. The rest is the
-- token's budget, where the answer tells.
CREATE TYPE keypup.verdict AS (
  verdict text, reason text, hint text, retry_at timestamptz,
  rate_limit bigint, rate_remaining bigint, rate_reset_at timestamptz, cost bigint,
  is_admitted boolean, is_slow boolean
);
COMMENT ON TYPE keypup.verdict IS 'What an answer of a provider means.';
REVOKE ALL ON TYPE keypup.verdict FROM PUBLIC;

CREATE FUNCTION keypup.provider_contract(OUT name text, OUT arguments text, OUT result text, OUT is_needed_for text,
  OUT purpose text)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 15 SET search_path = pg_catalog, pg_temp
AS $$
  VALUES
    ('request', 'account uuid, job bigint, OUT method text, OUT url text, OUT headers text[], OUT body text', 'record',
      'sync',
     'The request of a job.'),
    ('verdict', 'status integer, headers jsonb, reply jsonb, failure text', 'keypup.verdict', 'sync',
      'What an answer means, by itself.'),
    ('learn', 'account uuid, job bigint, status integer, headers jsonb, reply jsonb, INOUT verdict keypup.verdict',
      'keypup.verdict', 'sync',
     'What it means to whoever knows the job. The verdict may become again, since what was in the way is left out from '
     'now on, or done.'),
    ('page', 'account uuid, job bigint, headers jsonb, reply jsonb, milliseconds integer, interval_seconds integer',
      'boolean', 'sync',
     'Stores the page that answers a job, and queues what comes next. Whether the job has ended; otherwise it was put '
     'off, or split.'),
    ('settle', 'account uuid, connection uuid, project bigint, kind text, headers jsonb, verdict text', 'void', NULL,
     'The last of each answer, whatever it means.'),
    ('failures', 'account uuid, project bigint, kind text, arguments jsonb, failures jsonb', 'jsonb', NULL,
     'What of a job could not be read, [{asked, why, number}], as keypup.set_aside takes it: one thing at least.'),
    ('reread', 'account uuid, project bigint, item bigint', 'boolean', 'sync',
     'Has the item of a number, or all of a project, read again in the run that has begun. Whether there is such an '
     'item.'),
    ('projects_request', 'account uuid, connection uuid, after text, OUT method text, OUT url text, OUT headers '
      'text[], OUT body text', 'record',
     'discover', 'The request for a page of what a connection could track.'),
    ('projects_answer', 'account uuid, connection uuid, status integer, headers jsonb, reply jsonb, failure text',
      'jsonb', 'discover',
     '{projects: [[name, visibility, is_archived, is_fork]], after}, or {failed, hint}.'),
    ('viewer_request', 'account uuid, connection uuid, OUT method text, OUT url text, OUT headers text[], OUT body '
      'text', 'record', 'sign_in',
     'The request that asks, with a person''s own token, who the person is and where they belong.'),
    ('viewer_answer', 'account uuid, connection uuid, status integer, headers jsonb, reply jsonb, failure text',
      'jsonb', 'sign_in',
     '{sub, login, groups}, {refused}, or {failed, hint}.'),
    ('app_request', 'account uuid, connection uuid, OUT method text, OUT url text, OUT headers text[], OUT body text, '
      'OUT claims text', 'record',
     'app', 'The request for an app''s token, and the claims that the app''s key signs.'),
    ('app_answer', 'account uuid, connection uuid, status integer, headers jsonb, reply jsonb, failure text, revision '
      'bigint, envelope bytea',
     'void', 'app', 'Takes the answer: the token is in the envelope, sealed for that revision; NULL when there was '
     'none.'),
    ('webhook_head', 'headers jsonb, OUT signature text, OUT delivery text, OUT event text, OUT content_type text',
      'record', 'webhook',
     'What the headers of a webhook say.'),
    ('take_webhook', 'account uuid, connection uuid, event text, payload jsonb', 'text', 'webhook',
     'Has what a webhook names be read: queued, run, pong or ignored.')
$$;
REVOKE ALL ON FUNCTION keypup.provider_contract() FROM PUBLIC;
COMMENT ON FUNCTION keypup.provider_contract() IS
  'The functions of a provider: name, after the provider''s and an underscore; arguments and result, as PostgreSQL '
  'prints them; what needs it (sync: every provider; discover, sign_in: those that offer it; app, webhook: those that '
  'have them; NULL: it may be left out, and keypup.default_NAME is called); and what it is for.';

-- What stands for a function that a provider leaves out.
CREATE FUNCTION keypup.default_settle(account uuid, connection uuid, project bigint, kind text, headers jsonb,
  verdict text)
RETURNS void
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS '';
CREATE FUNCTION keypup.default_failures(account uuid, project bigint, kind text, arguments jsonb, failures jsonb)
  RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT '[]'::jsonb $$;
REVOKE ALL ON FUNCTION keypup.default_settle(uuid, uuid, bigint, text, jsonb, text),
  keypup.default_failures(uuid, bigint, text, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.default_settle(uuid, uuid, bigint, text, jsonb, text),
  keypup.default_failures(uuid, bigint, text, jsonb, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.default_settle(uuid, uuid, bigint, text, jsonb, text) IS
  'settle of a provider that has none: nothing is left to do.';
COMMENT ON FUNCTION keypup.default_failures(uuid, bigint, text, jsonb, jsonb) IS
  'failures of a provider that has none: nothing is set aside.';

CREATE FUNCTION keypup.provider_functions(provider text, OUT routine regprocedure, OUT is_needed_for text,
  OUT code text, OUT fault text, OUT detail text, OUT hint text)
RETURNS SETOF record
LANGUAGE sql STABLE ROWS 15 SET search_path = pg_catalog, pg_temp
AS $$
  SELECT f.oid::regprocedure, w.is_needed_for, k.code, k.fault, coalesce(k.detail, w.purpose), k.hint
  FROM keypup.providers p
  CROSS JOIN LATERAL (
    SELECT c.*, format('%s_%s', p.provider, c.name) AS full_name,
      format('Make keypup.%s_%s(%s) RETURNS %s.', p.provider, c.name, c.arguments, c.result) AS making
    FROM keypup.provider_contract() WITH ORDINALITY AS c (name, arguments, result, is_needed_for, purpose, position)
    WHERE coalesce(c.is_needed_for, 'sync') = 'sync'
      OR c.is_needed_for = ANY (p.offers)
      OR (c.is_needed_for = 'app' AND p.grant_kind = 'app')
      OR (c.is_needed_for = 'webhook' AND p.webhook_signature IS NOT NULL)
  ) AS w
  LEFT JOIN LATERAL (
    -- Of several of that name, the one that is called.
    SELECT r.oid, r.prosecdef, o.rolname AS owner, a.arguments, a.result,
      o.rolsuper OR o.oid = (SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'keypup') AS is_trusted
    FROM pg_proc r
    JOIN pg_roles o ON o.oid = r.proowner
    CROSS JOIN LATERAL (
      SELECT pg_get_function_identity_arguments(r.oid) AS arguments, pg_get_function_result(r.oid) AS result
    ) AS a
    WHERE r.pronamespace = 'keypup'::regnamespace AND r.proname = w.full_name
    ORDER BY a.arguments = w.arguments DESC LIMIT 1
  ) AS f ON true
  LEFT JOIN LATERAL (
    SELECT v.* FROM (VALUES
      (1, f.oid IS NULL, 'undefined_function',
        format('provider "%s" has no function keypup.%s', p.provider, w.full_name), NULL, w.making),
      (2, (f.arguments, f.result) IS DISTINCT FROM (w.arguments, w.result), 'invalid_function_definition',
        format('function keypup.%s of provider "%s" has another signature than is called', w.full_name, p.provider),
        format('It is (%s) RETURNS %s.', f.arguments, f.result), w.making),
      (3, f.prosecdef, 'invalid_function_definition',
        format('function keypup.%s of provider "%s" is SECURITY DEFINER', w.full_name, p.provider), NULL,
        'It is called as keypup_worker, for the account of a job, and sees nothing else.'),
      -- Whoever owns it may change it, and it is called for every account.
      (4, NOT f.is_trusted, 'invalid_function_definition',
        format('function keypup.%s of provider "%s" belongs to "%s"', w.full_name, p.provider, f.owner), NULL,
        'Have it belong to a superuser, or to the owner of schema keypup.')
    ) AS v (position, applies, code, fault, detail, hint)
    WHERE v.applies ORDER BY v.position LIMIT 1
  ) AS k ON true
  WHERE p.provider = provider_functions.provider AND (f.oid IS NOT NULL OR w.is_needed_for IS NOT NULL)
  ORDER BY w.position
$$;
REVOKE ALL ON FUNCTION keypup.provider_functions(text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.provider_functions(text) IS
  'The functions that a provider needs or has, and what is wrong with each: it is missing, has another signature, or '
  'whoever changes it or calls it would have more than the worker has. fault is NULL where nothing is.';

CREATE FUNCTION keypup.check_provider(provider text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  its record;
BEGIN
  IF NOT EXISTS (SELECT FROM keypup.providers p WHERE p.provider = check_provider.provider) THEN
    RAISE EXCEPTION 'provider "%" has no row in keypup.providers', provider USING ERRCODE = 'undefined_object';
  END IF;
  FOR its IN SELECT f.* FROM keypup.provider_functions(provider) f LOOP
    IF its.fault IS NOT NULL THEN
      RAISE EXCEPTION '%', its.fault USING ERRCODE = its.code, DETAIL = its.detail, HINT = its.hint;
    END IF;
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', its.routine);
    IF its.is_needed_for IS DISTINCT FROM 'webhook' THEN
      EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO keypup_worker', its.routine);
    END IF;
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION keypup.check_provider(text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.check_provider(text) IS
  'Refuses a provider without a row, or that lacks a function of provider_contract, or has it with another signature; '
  'gives keypup_worker those that it has. Called by the script that installs the provider. For superusers.';

-- What the database itself calls of them: provider_VERB(provider, ...) is PROVIDER_VERB(...). (C asks for requests, by
-- statements of its own.)
CREATE FUNCTION keypup.provider_verdict(provider text, status integer, headers jsonb, reply jsonb, failure text)
  RETURNS keypup.verdict
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_call_provider';
CREATE FUNCTION keypup.provider_learn(provider text, account uuid, job bigint, status integer, headers jsonb,
  reply jsonb, verdict keypup.verdict)
RETURNS keypup.verdict
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_call_provider';
CREATE FUNCTION keypup.provider_page(provider text, account uuid, job bigint, headers jsonb, reply jsonb,
  milliseconds integer, interval_seconds integer) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_call_provider';
CREATE FUNCTION keypup.provider_settle(provider text, account uuid, connection uuid, project bigint, kind text,
  headers jsonb, verdict text)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_call_provider';
CREATE FUNCTION keypup.provider_failures(provider text, account uuid, project bigint, kind text, arguments jsonb,
  failures jsonb) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_call_provider';
CREATE FUNCTION keypup.provider_reread(provider text, account uuid, project bigint, item bigint) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_call_provider';
CREATE FUNCTION keypup.provider_webhook_head(provider text, headers jsonb,
  OUT signature text, OUT delivery text, OUT event text, OUT content_type text)
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_call_provider';
CREATE FUNCTION keypup.provider_take_webhook(provider text, account uuid, connection uuid, event text, payload jsonb)
  RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_call_provider';
REVOKE ALL ON FUNCTION keypup.provider_verdict(text, integer, jsonb, jsonb, text),
  keypup.provider_learn(text, uuid, bigint, integer, jsonb, jsonb, keypup.verdict),
  keypup.provider_page(text, uuid, bigint, jsonb, jsonb, integer, integer),
  keypup.provider_settle(text, uuid, uuid, bigint, text, jsonb, text),
  keypup.provider_failures(text, uuid, bigint, text, jsonb, jsonb), keypup.provider_reread(text, uuid, bigint, bigint),
  keypup.provider_webhook_head(text, jsonb), keypup.provider_take_webhook(text, uuid, uuid, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.provider_verdict(text, integer, jsonb, jsonb, text),
  keypup.provider_learn(text, uuid, bigint, integer, jsonb, jsonb, keypup.verdict),
  keypup.provider_page(text, uuid, bigint, jsonb, jsonb, integer, integer),
  keypup.provider_settle(text, uuid, uuid, bigint, text, jsonb, text),
  keypup.provider_failures(text, uuid, bigint, text, jsonb, jsonb)
  TO keypup_worker;
COMMENT ON FUNCTION keypup.provider_verdict(text, integer, jsonb, jsonb, text) IS
  'Calls PROVIDER_verdict, as provider_contract has it.';
COMMENT ON FUNCTION keypup.provider_learn(text, uuid, bigint, integer, jsonb, jsonb, keypup.verdict) IS
  'Calls PROVIDER_learn, as provider_contract has it.';
COMMENT ON FUNCTION keypup.provider_page(text, uuid, bigint, jsonb, jsonb, integer, integer) IS
  'Calls PROVIDER_page, as provider_contract has it.';
COMMENT ON FUNCTION keypup.provider_settle(text, uuid, uuid, bigint, text, jsonb, text) IS
  'Calls PROVIDER_settle, as provider_contract has it.';
COMMENT ON FUNCTION keypup.provider_failures(text, uuid, bigint, text, jsonb, jsonb) IS
  'Calls PROVIDER_failures, as provider_contract has it.';
COMMENT ON FUNCTION keypup.provider_reread(text, uuid, bigint, bigint) IS
  'Calls PROVIDER_reread, as provider_contract has it.';
COMMENT ON FUNCTION keypup.provider_webhook_head(text, jsonb) IS
  'Calls PROVIDER_webhook_head, as provider_contract has it.';
COMMENT ON FUNCTION keypup.provider_take_webhook(text, uuid, uuid, text, jsonb) IS
  'Calls PROVIDER_take_webhook, as provider_contract has it.';
