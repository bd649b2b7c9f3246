-- access/sign_in.sql: sign_in with an ID token. Every check that fails has one answer.

CREATE FUNCTION keypup.find_signed_in(id_token text, header jsonb, claims jsonb, nonce text, account text, OUT account_id uuid, OUT person text, OUT issuer text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  provider record;
  found_person text;
BEGIN
  FOR provider IN
    SELECT p.account_id, p.issuer
    FROM keypup.identity_providers p
    JOIN keypup.accounts a ON a.account_id = p.account_id AND (account IS NULL OR a.name = account)
    JOIN LATERAL (SELECT k FROM jsonb_array_elements(p.keys) k
                  WHERE CASE WHEN header ? 'kid' THEN k -> 'kid' = header -> 'kid' ELSE jsonb_array_length(p.keys) = 1 END) AS key (k)
      ON keypup.id_token_is_signed(id_token, key.k)
    WHERE p.issuer = claims ->> 'iss' AND p.kind = 'openid' AND keypup.accepts_claims(claims, p.client_ids, nonce)
      AND (NOT p.fetches_keys OR p.keys_read_at > clock_timestamp() - interval '24 hours')
  LOOP
    found_person := keypup.recognise_person(provider.account_id, provider.issuer, claims);
    IF found_person IS NOT NULL AND person IS NOT NULL THEN
      RAISE EXCEPTION 'you belong to several accounts' USING ERRCODE = 'ambiguous_parameter', HINT = 'Name one of them.';
    ELSIF found_person IS NOT NULL THEN
      person := found_person;
      account_id := provider.account_id;
      issuer := provider.issuer;
    END IF;
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION keypup.find_signed_in(text, jsonb, jsonb, text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.find_signed_in(text, jsonb, jsonb, text, text) IS 'Whose ID token it is, and in which account; NULL for nobody.';

CREATE FUNCTION keypup.fetch_unknown_key(header jsonb, claims jsonb) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  provider record;
BEGIN
  SELECT p.account_id, p.issuer INTO provider
  FROM keypup.identity_providers p
  WHERE p.issuer = claims ->> 'iss' AND p.fetches_keys AND header ? 'kid'
    AND NOT EXISTS (SELECT FROM jsonb_array_elements(p.keys) k WHERE k -> 'kid' = header -> 'kid')
    AND coalesce(p.keys_tried_at <= clock_timestamp() - interval '1 minute', true)
  LIMIT 1;
  IF provider.issuer IS NULL THEN
    RETURN false;
  END IF;
  PERFORM keypup.ask_worker('key_set', provider.account_id, convert_to(provider.issuer, 'UTF8'));
  RETURN true;
EXCEPTION
  WHEN object_not_in_prerequisite_state OR too_many_connections THEN
    RETURN false;  -- no worker, or many others ask: as if the key did not exist
END
$$;
REVOKE ALL ON FUNCTION keypup.fetch_unknown_key(jsonb, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION keypup.fetch_unknown_key(jsonb, jsonb) IS 'Has the worker fetch the issuer''s key set when a token names a key that is not in it; at most once a minute for an account. Returns whether it did.';

CREATE FUNCTION keypup.sign_in(id_token text, nonce text DEFAULT NULL, account text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  token record;
  signer record;
BEGIN
  PERFORM keypup.guard_writes();
  SELECT t.header, t.payload INTO token FROM keypup.read_id_token(id_token) t;
  SELECT f.account_id, f.person, f.issuer INTO signer FROM keypup.find_signed_in(id_token, token.header, token.payload, nonce, account) f;
  IF signer.person IS NULL AND keypup.fetch_unknown_key(token.header, token.payload) THEN
    SELECT f.account_id, f.person, f.issuer INTO signer FROM keypup.find_signed_in(id_token, token.header, token.payload, nonce, account) f;
  END IF;
  IF signer.person IS NOT NULL THEN
    DELETE FROM keypup.used_id_tokens u WHERE u.account_id = signer.account_id AND u.expires_at <= now();
    INSERT INTO keypup.used_id_tokens (account_id, token_digest, expires_at)
    VALUES (signer.account_id, keypup.digest_secret(id_token), to_timestamp((token.payload ->> 'exp')::double precision)) ON CONFLICT DO NOTHING;
  END IF;
  IF signer.person IS NULL OR NOT FOUND THEN
    PERFORM keypup.note_refusal(coalesce(signer.account_id, (SELECT a.account_id FROM keypup.accounts a WHERE a.name = account)), 'session.start', signer.person, 'an ID token');
    -- One answer for every reason: it must not tell a guesser how far the guess went.
    RAISE EXCEPTION 'sign-in is refused' USING ERRCODE = 'invalid_authorization_specification',
      HINT = 'The ID token must be fresh, unused, of a provider that the account trusts, and of a person who is its member.';
  END IF;
  RETURN keypup.start_session(signer.account_id, 'person', signer.person, 'an ID token',
    least(interval '12 hours', to_timestamp((token.payload ->> 'exp')::double precision) - now()), signer.issuer);
END
$$;
REVOKE ALL ON FUNCTION keypup.sign_in(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.sign_in(text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.sign_in(text, text, text) IS 'Starts a session for the person of an ID token; pass the handle to use_session. Each token signs in once.';
