-- provider/contract.sql: the functions that each provider has, PROVIDER_NAME. Each is called as keypup_worker for the account of a job, but the
-- two of webhooks; none is SECURITY DEFINER. What they return is a request, a verdict, or rows.

CREATE FUNCTION keypup.provider_contract(OUT name text, OUT arguments text, OUT result text, OUT is_needed_for text, OUT purpose text)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 12 SET search_path = pg_catalog, pg_temp
AS $$
  VALUES
    ('request', 'account uuid, job bigint, OUT method text, OUT url text, OUT headers text[], OUT body text', 'record', 'sync',
     'The request of a job.'),
    ('store', 'account uuid, job bigint, interval_seconds integer, status integer, headers jsonb, reply jsonb, failure text, '
     'failure_hint text, milliseconds integer, token_revision bigint, holds_projects boolean, OUT rate_limit bigint, OUT rate_remaining bigint, '
     'OUT rate_reset_at timestamp with time zone, OUT blocked_until timestamp with time zone, OUT is_refusal boolean', 'record', 'sync',
     'Takes the answer to a job: stores it, or says why not.'),
    ('projects_request', 'account uuid, connection uuid, after text, OUT method text, OUT url text, OUT headers text[], OUT body text', 'record',
     'discover', 'The request for a page of what a connection could track.'),
    ('projects_answer', 'account uuid, connection uuid, status integer, headers jsonb, reply jsonb, failure text', 'jsonb', 'discover',
     '{projects: [[name, visibility, is_archived, is_fork]], after}, or {failed, hint}.'),
    ('viewer_request', 'account uuid, connection uuid, OUT method text, OUT url text, OUT headers text[], OUT body text', 'record', 'sign_in',
     'The request that asks, with a person''s own token, who the person is and where they belong.'),
    ('viewer_answer', 'account uuid, connection uuid, status integer, headers jsonb, reply jsonb, failure text', 'jsonb', 'sign_in',
     '{sub, login, groups}, {refused}, or {failed, hint}.'),
    ('app_request', 'account uuid, connection uuid, OUT method text, OUT url text, OUT headers text[], OUT body text, OUT claims text', 'record',
     'app', 'The request for an app''s token, and the claims that the app''s key signs.'),
    ('app_answer', 'account uuid, connection uuid, status integer, headers jsonb, reply jsonb, failure text, revision bigint, envelope bytea',
     'void', 'app', 'Takes the answer: the token is in the envelope, sealed for that revision; NULL when there was none.'),
    ('webhook_head', 'headers jsonb, OUT signature text, OUT delivery text, OUT event text, OUT content_type text', 'record', 'webhook',
     'What the headers of a webhook say.'),
    ('take_webhook', 'account uuid, connection uuid, event text, payload jsonb', 'text', 'webhook',
     'Has what a webhook names be read: queued, run, pong or ignored.')
$$;
REVOKE ALL ON FUNCTION keypup.provider_contract() FROM PUBLIC;
COMMENT ON FUNCTION keypup.provider_contract() IS
  'The functions of a provider: name, after the provider''s and an underscore; arguments and result, as PostgreSQL prints them; what'
  ' needs it (sync: every provider; discover, sign_in: those that offer it; app, webhook: those that have them); and what it is for.';

CREATE FUNCTION keypup.check_provider(provider text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  its keypup.providers;
  wanted record;
  found record;
BEGIN
  SELECT p.* INTO its FROM keypup.providers p WHERE p.provider = check_provider.provider;
  IF its.provider IS NULL THEN
    RAISE EXCEPTION 'provider "%" has no row in keypup.providers', provider USING ERRCODE = 'undefined_object';
  END IF;
  FOR wanted IN
    SELECT c.*, format('%s_%s', its.provider, c.name) AS full_name
    FROM keypup.provider_contract() c
    WHERE c.is_needed_for = 'sync' OR c.is_needed_for = ANY (its.offers)
       OR (c.is_needed_for = 'app' AND its.grant_kind = 'app')
       OR (c.is_needed_for = 'webhook' AND its.webhook_signature IS NOT NULL)
  LOOP
    SELECT p.oid, p.prosecdef, pg_get_function_identity_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result INTO found
    FROM pg_proc p
    WHERE p.pronamespace = 'keypup'::regnamespace AND p.proname = wanted.full_name
    ORDER BY pg_get_function_identity_arguments(p.oid) = wanted.arguments DESC LIMIT 1;
    IF found.oid IS NULL THEN
      RAISE EXCEPTION 'provider "%" has no function keypup.%', provider, wanted.full_name
        USING ERRCODE = 'undefined_function', DETAIL = wanted.purpose, HINT = format('Make keypup.%s(%s) RETURNS %s.', wanted.full_name, wanted.arguments, wanted.result);
    ELSIF (found.arguments, found.result) IS DISTINCT FROM (wanted.arguments, wanted.result) THEN
      RAISE EXCEPTION 'function keypup.% of provider "%" has another signature than is called', wanted.full_name, provider
        USING ERRCODE = 'invalid_function_definition', DETAIL = format('It is (%s) RETURNS %s.', found.arguments, found.result),
              HINT = format('Make keypup.%s(%s) RETURNS %s.', wanted.full_name, wanted.arguments, wanted.result);
    ELSIF found.prosecdef THEN
      RAISE EXCEPTION 'function keypup.% of provider "%" is SECURITY DEFINER', wanted.full_name, provider
        USING ERRCODE = 'invalid_function_definition', HINT = 'It is called as keypup_worker, for the account of a job, and sees nothing else.';
    END IF;
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', found.oid::regprocedure);
    IF wanted.is_needed_for <> 'webhook' THEN
      EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO keypup_worker', found.oid::regprocedure);
    END IF;
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION keypup.check_provider(text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.check_provider(text) IS
  'Refuses a provider without a row, or that lacks a function of provider_contract, or has it with another signature; gives keypup_worker those that it'
  ' has. Called by the script that installs the provider. For superusers.';
