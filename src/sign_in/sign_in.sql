-- sign_in/sign_in.sql: sign_in with an ID token. Every check that fails has one answer.

-- Whether there is such an account, and what it has set up, is not to be told by the clock: asking a provider takes a
-- part of a second, finding nothing to ask does not. So refusals come at the end of a step of time after the question.
CREATE FUNCTION keypup.wait_before_refusal(began timestamptz, step interval) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT pg_sleep(((ceil(e.steps) - e.steps) * extract(epoch FROM step))::double precision)
  FROM (SELECT extract(epoch FROM clock_timestamp() - began) / extract(epoch FROM step) AS steps) AS e
$$;
REVOKE ALL ON FUNCTION keypup.wait_before_refusal(timestamptz, interval) FROM PUBLIC;
COMMENT ON FUNCTION keypup.wait_before_refusal(timestamptz, interval) IS
  'Waits for the end of the step of time that a refusal would come in.';

-- Another account may trust the same issuer, with the same client: what it has set up counts only where it is named.
CREATE FUNCTION keypup.find_signed_in(account_id uuid, id_token text, header jsonb, claims jsonb, nonce text)
  RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  verified_issuer text;
BEGIN
  SELECT p.issuer INTO verified_issuer
  FROM keypup.identity_providers p
  JOIN LATERAL (SELECT k FROM jsonb_array_elements(p.keys) k
                WHERE CASE WHEN header ? 'kid' THEN k -> 'kid' = header -> 'kid'
                  ELSE jsonb_array_length(p.keys) = 1 END) AS key (k)
    ON keypup.id_token_is_signed(id_token, key.k)
  WHERE p.account_id = find_signed_in.account_id AND p.issuer = claims ->> 'iss' AND p.kind = 'openid'
    AND keypup.accepts_claims(claims, p.client_ids, nonce)
    AND (NOT p.fetches_keys OR p.keys_read_at > clock_timestamp() - interval '24 hours')
  LIMIT 1;
  RETURN CASE WHEN verified_issuer IS NOT NULL THEN keypup.recognise_person(account_id, verified_issuer, claims) END;
END
$$;
REVOKE ALL ON FUNCTION keypup.find_signed_in(uuid, text, jsonb, jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.find_signed_in(uuid, text, jsonb, jsonb, text) IS
  'Who of the account an ID token is about; NULL for nobody.';

CREATE FUNCTION keypup.fetch_unknown_key(account_id uuid, header jsonb, claims jsonb) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  provider record;
BEGIN
  SELECT p.account_id, p.issuer INTO provider
  FROM keypup.identity_providers p
  WHERE p.account_id = fetch_unknown_key.account_id AND p.issuer = claims ->> 'iss'
    AND p.fetches_keys AND header ? 'kid'
    AND NOT EXISTS (SELECT FROM jsonb_array_elements(p.keys) k WHERE k -> 'kid' = header -> 'kid')
    AND coalesce(p.keys_tried_at
      <= clock_timestamp() - least(interval '1 hour', interval '1 minute' * 2 ^ least(p.keys_failures, 10)), true)
  LIMIT 1;
  IF provider.issuer IS NULL THEN
    RETURN false;
  END IF;
  PERFORM keypup.ask_worker('key_set', provider.account_id, convert_to(provider.issuer, 'UTF8'));
  RETURN true;
EXCEPTION
  WHEN object_not_in_prerequisite_state OR too_many_connections OR configuration_limit_exceeded THEN
    RETURN false;  -- no worker, or too many questions: as if the key did not exist
END
$$;
REVOKE ALL ON FUNCTION keypup.fetch_unknown_key(uuid, jsonb, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION keypup.fetch_unknown_key(uuid, jsonb, jsonb) IS
  'Has the worker fetch the issuer''s key set when a token names a key that is not in it; at most once a minute for '
  'an account. Returns whether it did.';

CREATE FUNCTION keypup.sign_in(account text, id_token text, nonce text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  began timestamptz := clock_timestamp();
  the_account uuid := (SELECT a.account_id FROM keypup.accounts a WHERE a.name = account);
  token record;
  person text;
  member_id bigint;
  is_unused boolean;
  -- Of what is signed: of one text there can be several signatures that hold.
  digest bytea := keypup.digest_secret(split_part(id_token, '.', 1) || '.' || split_part(id_token, '.', 2));
  seen_id bigint;
  ends_at timestamptz;
BEGIN
  PERFORM keypup.guard_writes();
  SELECT t.header, t.payload INTO token FROM keypup.read_id_token(id_token) t;
  SELECT p.sign_in_id INTO seen_id FROM keypup.identity_providers p
  WHERE p.account_id = the_account AND p.issuer = token.payload ->> 'iss';
  person := keypup.find_signed_in(the_account, id_token, token.header, token.payload, nonce);
  IF person IS NULL AND keypup.fetch_unknown_key(the_account, token.header, token.payload) THEN
    person := keypup.find_signed_in(the_account, id_token, token.header, token.payload, nonce);
  END IF;
  ends_at := CASE WHEN person IS NOT NULL THEN to_timestamp((token.payload ->> 'exp')::double precision) END;
  SELECT m.sign_in_id INTO member_id FROM keypup.members m WHERE m.account_id = the_account AND m.member = person;
  is_unused := person IS NOT NULL AND keypup.use_token(the_account, digest, ends_at);
  -- Another sign-in by the token may have been waited for, and somebody else have the person's name since.
  IF NOT is_unused
     OR member_id IS DISTINCT FROM (
       SELECT m.sign_in_id FROM keypup.members m
       WHERE m.account_id = the_account AND m.member = person) THEN
    PERFORM keypup.note_refusal(the_account, 'session.start', person, 'an ID token');
    PERFORM keypup.wait_before_refusal(began, interval '250 milliseconds');
    -- One answer for every reason: it must not tell a guesser how far the guess went.
    RAISE EXCEPTION 'sign-in is refused' USING ERRCODE = 'invalid_authorization_specification',
      HINT = 'The ID token must be fresh, unused, of a provider that the account trusts, and of a person who is its '
        'member.';
  END IF;
  RETURN keypup.start_session(the_account, 'person', person, 'an ID token',
    least(interval '12 hours', ends_at - now()), token.payload ->> 'iss', digest, seen_id);
END
$$;
REVOKE ALL ON FUNCTION keypup.sign_in(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.sign_in(text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.sign_in(text, text, text) IS
  'Starts a session in the account for the person of an ID token; pass the handle to use_session, in a later '
  'transaction. Each token signs in once.';
