-- sign_in/key_set.sql: the public keys of OpenID Connect providers. An admin gives them, or the worker fetches them:
-- every hour, after failures in five minutes, doubling to an hour, and when a token names a key that is not there, at
-- most once a minute, doubling likewise.

CREATE FUNCTION keypup.usable_keys(key_set jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  problem text;
BEGIN
  problem := CASE
    WHEN jsonb_typeof(key_set -> 'keys') IS DISTINCT FROM 'array' THEN 'it has no list of keys'
    WHEN jsonb_array_length(key_set -> 'keys') > 100 THEN 'it has more than 100 keys'
    WHEN EXISTS (SELECT FROM jsonb_array_elements(key_set -> 'keys') k WHERE k ->> 'kty' = 'oct' OR k ? 'd' OR k ? 'k')
      THEN 'it has a key that is not public'
    WHEN EXISTS (SELECT FROM jsonb_array_elements(key_set -> 'keys') k GROUP BY k ->> 'kid' HAVING count(*) > 1
      AND count(k ->> 'kid') > 0) THEN 'two of its keys have the same id'
    WHEN NOT EXISTS (SELECT FROM jsonb_array_elements(key_set -> 'keys') k WHERE keypup.key_is_usable(k))
      THEN 'it has no key for RS256 or ES256'
  END;
  IF problem IS NOT NULL THEN
    RAISE EXCEPTION 'key set cannot be used: %', problem USING ERRCODE = 'invalid_parameter_value',
      HINT = 'A key set is what the provider''s jwks_uri answers.';
  END IF;
  RETURN (SELECT jsonb_agg(k) FROM jsonb_array_elements(key_set -> 'keys') k WHERE keypup.key_is_usable(k));
END
$$;
REVOKE ALL ON FUNCTION keypup.usable_keys(jsonb) FROM PUBLIC;
COMMENT ON FUNCTION keypup.usable_keys(jsonb) IS
  'The keys of a key set (JWKS) that may check signatures; an error for a set that cannot be trusted.';

CREATE FUNCTION keypup.add_identity_provider(account text, issuer text, client_ids text[], key_set jsonb DEFAULT NULL)
  RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize_rights(account, 'users.manage');
  old keypup.identity_providers;
  new keypup.identity_providers;
BEGIN
  IF issuer IS NULL OR issuer !~ '^https://[^[:cntrl:][:space:]?#]+$' OR length(issuer) > 500
    OR issuer = 'https://token.actions.githubusercontent.com' THEN
    RAISE EXCEPTION 'issuer cannot be used' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'Write it exactly as the provider does, with https://. GitHub''s issuer of workflows vouches for no '
        'person.';
  END IF;
  IF coalesce(cardinality(client_ids), 0) = 0 OR array_position(client_ids, NULL) IS NOT NULL THEN
    RAISE EXCEPTION 'a client id is needed' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'The provider gave it when your application was registered.';
  END IF;
  PERFORM keypup.guard_issuer(the_account, issuer);
  PERFORM keypup.guard_passwords(the_account);
  SELECT p.* INTO old FROM keypup.identity_providers p
  WHERE p.account_id = the_account AND p.issuer = add_identity_provider.issuer;
  INSERT INTO keypup.identity_providers AS p (account_id, issuer, client_ids, fetches_keys, keys, keys_read_at,
    added_by)
  VALUES (the_account, add_identity_provider.issuer, add_identity_provider.client_ids, key_set IS NULL,
    CASE WHEN key_set IS NULL THEN '[]' ELSE keypup.usable_keys(key_set) END,
    CASE WHEN key_set IS NOT NULL THEN now() END, keypup.current_user_name())
  ON CONFLICT ON CONSTRAINT identity_providers_pkey DO UPDATE
    SET kind = excluded.kind, client_ids = excluded.client_ids, fetches_keys = excluded.fetches_keys,
        -- What was fetched stays, and is not asked for anew.
        keys = CASE WHEN p.fetches_keys AND excluded.fetches_keys THEN p.keys ELSE excluded.keys END,
        keys_read_at = CASE WHEN p.fetches_keys AND excluded.fetches_keys THEN p.keys_read_at
          ELSE excluded.keys_read_at END,
        keys_tried_at = CASE WHEN p.fetches_keys AND excluded.fetches_keys THEN p.keys_tried_at END, keys_error = NULL,
        added_by = excluded.added_by, keys_failures = CASE WHEN p.fetches_keys
          AND excluded.fetches_keys THEN p.keys_failures ELSE 0 END,
        origin = excluded.origin
  RETURNING * INTO new;
  PERFORM keypup.record_action(the_account, 'identity_provider.add',
    keypup.describe_issuer(new) || coalesce('; before: ' || keypup.describe_issuer(old), ''));
  PERFORM keypup.wake_launcher();
END
$$;
REVOKE ALL ON FUNCTION keypup.add_identity_provider(text, text, text[], jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.add_identity_provider(text, text, text[], jsonb) TO keypup_member;
COMMENT ON FUNCTION keypup.add_identity_provider(text, text, text[], jsonb) IS
  'Has the account trust an OpenID Connect provider, or changes its clients and keys. The worker fetches its keys, '
  'unless they are given. For who may do all that the people may do who sign in by it.';

CREATE FUNCTION keypup.remove_identity_provider(account text, issuer text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize_rights(account, 'users.manage');
BEGIN
  IF NOT EXISTS (SELECT FROM keypup.identity_providers p
                 WHERE p.account_id = the_account AND p.issuer = remove_identity_provider.issuer) THEN
    RAISE EXCEPTION 'issuer is not trusted' USING ERRCODE = 'undefined_object',
      HINT = 'SELECT issuer FROM keypup.identity_providers shows those that are.';
  END IF;
  PERFORM keypup.forget_issuer(the_account, issuer);
END
$$;
REVOKE ALL ON FUNCTION keypup.remove_identity_provider(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.remove_identity_provider(text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.remove_identity_provider(text, text) IS
  'Has the account trust an issuer no longer: who signed in by it is signed out, and its groups give nothing more. '
  'People stay linked to it, should it be added again. For who may do all that they may do.';

-- OpenID Connect Discovery 1.0, 4: where the provider describes itself.
CREATE FUNCTION keypup.discovery_url(issuer text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT rtrim(issuer, '/') || '/.well-known/openid-configuration' $$;
REVOKE ALL ON FUNCTION keypup.discovery_url(text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.discovery_url(text) IS 'Where an OpenID Connect provider says where its key set is.';

-- Sees all accounts, and so runs as the owner. Each account's set is fetched by itself: when it was, tells of no other.
-- Accounts take turns, and each has a few at a time.
CREATE FUNCTION keypup.claim_key_sets(only_account uuid, only_issuer text, how_many integer, accounts_left_out uuid[],
  OUT account_id uuid, OUT issuer text, OUT url text) RETURNS SETOF record
LANGUAGE sql VOLATILE SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, pg_temp
AS $$
  WITH due AS (
    SELECT p.account_id, p.issuer, row_number() OVER (PARTITION BY p.account_id ORDER BY p.keys_tried_at NULLS FIRST,
      p.issuer) AS turn
    FROM keypup.identity_providers p
    WHERE p.fetches_keys AND p.origin = (SELECT keypup.this_database())
      AND (only_account IS NULL AND p.account_id <> ALL (accounts_left_out) OR p.account_id = only_account
        AND p.issuer = only_issuer)
      AND (p.keys_tried_at IS NULL
        OR p.keys_tried_at <= now() - least(interval '1 hour', 2 ^ least(p.keys_failures, 10)
             * CASE WHEN only_account IS NOT NULL THEN interval '1 minute'
                    WHEN p.keys_error IS NOT NULL OR p.keys_read_at IS NULL THEN interval '2.5 minutes'
                    ELSE interval '1 hour' END)
        -- A clock that was set back.
        OR p.keys_tried_at > now() + interval '1 minute')
  ), free AS (
    SELECT p.account_id, p.issuer
    FROM due d JOIN keypup.identity_providers p USING (account_id, issuer)
    WHERE d.turn <= 4
    ORDER BY d.turn, p.account_id LIMIT how_many
    FOR NO KEY UPDATE OF p SKIP LOCKED
  ), admitted AS MATERIALIZED (
    -- Whoever asks is counted already.
    SELECT f.account_id, f.issuer FROM free f
    WHERE CASE WHEN only_account IS NULL THEN keypup.admit_question('key_set', f.account_id) ELSE true END
  )
  UPDATE keypup.identity_providers p SET keys_tried_at = now()
  FROM admitted d WHERE p.account_id = d.account_id AND p.issuer = d.issuer
  RETURNING p.account_id, p.issuer, keypup.discovery_url(p.issuer)
$$;
REVOKE ALL ON FUNCTION keypup.claim_key_sets(uuid, text, integer, uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.claim_key_sets(uuid, text, integer, uuid[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.claim_key_sets(uuid, text, integer, uuid[]) IS
  'The accounts'' issuers whose key sets are to be fetched now, and where to begin; or that one, at most once a '
  'minute.';

CREATE FUNCTION keypup.take_key_set(account_id uuid, issuer text, is_discovery boolean, status integer, reply jsonb,
  failure text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  new_keys jsonb;
  problem text;
BEGIN
  problem := CASE
    WHEN failure IS NOT NULL THEN failure
    WHEN status <> 200 THEN format('the provider answered %s', status)
    WHEN reply IS NULL OR pg_column_size(reply) > 262144 THEN 'the answer is not JSON of at most 256 KiB'
    WHEN is_discovery AND reply ->> 'issuer' IS DISTINCT FROM issuer THEN 'the provider calls itself by another issuer'
    WHEN is_discovery AND coalesce(reply ->> 'jwks_uri' !~ '^https://[^[:cntrl:][:space:]]+$'
      OR length(reply ->> 'jwks_uri') > 500, true) THEN 'the provider names no key set with https://'
    WHEN is_discovery AND reply ->> 'jwks_uri' = keypup.discovery_url(issuer)
      THEN 'the provider names its own description as its key set'
  END;
  IF problem IS NULL AND is_discovery THEN
    -- What was removed meanwhile is asked for no more.
    RETURN (SELECT reply ->> 'jwks_uri' FROM keypup.identity_providers p
            WHERE p.account_id = take_key_set.account_id AND p.issuer = take_key_set.issuer AND p.fetches_keys);
  ELSIF problem IS NULL THEN
    BEGIN
      new_keys := keypup.usable_keys(reply);
    EXCEPTION WHEN invalid_parameter_value THEN
      GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT;
    END;
  END IF;
  -- The last good set stays.
  UPDATE keypup.identity_providers p
  SET keys = coalesce(new_keys, p.keys), keys_read_at = CASE WHEN new_keys IS NULL THEN p.keys_read_at ELSE now() END,
    keys_error = left(problem, 300),
    keys_failures = CASE WHEN problem IS NULL THEN 0 ELSE p.keys_failures + 1 END
  WHERE p.account_id = take_key_set.account_id AND p.issuer = take_key_set.issuer AND p.fetches_keys;
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION keypup.take_key_set(uuid, text, boolean, integer, jsonb, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.take_key_set(uuid, text, boolean, integer, jsonb, text) TO keypup_worker;
COMMENT ON FUNCTION keypup.take_key_set(uuid, text, boolean, integer, jsonb, text) IS
  'Takes an answer of an issuer: after where its key set is (is_discovery), what is to be asked next; NULL when it is '
  'done.';
