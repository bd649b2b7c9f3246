-- sign_in/sso.sql: single sign-on. A person proves who they are with an OpenID Connect ID token of a provider that
-- the account trusts; (issuer, subject) is the person, an e-mail address never is.

CREATE FUNCTION keypup.read_id_token(token text, OUT header jsonb, OUT payload jsonb)
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_read_id_token';
CREATE FUNCTION keypup.id_token_is_signed(token text, key jsonb) RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_id_token_is_signed';
CREATE FUNCTION keypup.key_is_usable(key jsonb) RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_key_is_usable';
REVOKE ALL ON FUNCTION keypup.read_id_token(text), keypup.id_token_is_signed(text, jsonb), keypup.key_is_usable(jsonb)
FROM PUBLIC;
COMMENT ON FUNCTION keypup.read_id_token(text) IS
  'Header and claims of an ID token, unverified; NULL when it cannot be read in one way only.';
COMMENT ON FUNCTION keypup.id_token_is_signed(text, jsonb) IS
  'Whether the public key (JWK), which is usable, signed the token, by RS256 or ES256.';
COMMENT ON FUNCTION keypup.key_is_usable(jsonb) IS
  'Whether a key of a key set may check signatures: RSA of 2048 bits or more, or P-256, and no secret.';

CREATE TABLE keypup.identity_providers (
  account_id uuid NOT NULL REFERENCES keypup.accounts ON DELETE CASCADE,
  issuer text NOT NULL CHECK (issuer ~ '^https://[^[:cntrl:][:space:]]+$' AND length(issuer) <= 500),
  kind text NOT NULL DEFAULT 'openid' CHECK (kind IN ('openid', 'repositories')),
  client_ids text[] NOT NULL CHECK (cardinality(client_ids) BETWEEN 1 AND 20),
  groups_claim text NOT NULL DEFAULT 'groups',
  fetches_keys boolean NOT NULL DEFAULT false,
  keys jsonb NOT NULL DEFAULT '[]',
  keys_read_at timestamptz,
  keys_tried_at timestamptz,
  keys_error text,
  keys_failures bigint NOT NULL DEFAULT 0,
  added_at timestamptz NOT NULL DEFAULT now(),
  added_by text NOT NULL,
  origin text NOT NULL DEFAULT keypup.this_database(),
  sign_in_id bigint NOT NULL DEFAULT keypup.new_id(),
  PRIMARY KEY (account_id, issuer)
);
CREATE INDEX identity_providers_issuer ON keypup.identity_providers (issuer);
COMMENT ON TABLE keypup.identity_providers IS
  'Which OpenID Connect providers an account trusts to say who its people are.';
COMMENT ON COLUMN keypup.identity_providers.issuer IS 'The provider, exactly as the claim iss has it.';
COMMENT ON COLUMN keypup.identity_providers.kind IS
  'openid: people show its ID tokens; repositories: they show their own token of the connection''s provider.';
COMMENT ON COLUMN keypup.identity_providers.client_ids IS
  'For whom a token may be made out: the claim aud. Of kind repositories: the connection.';
COMMENT ON COLUMN keypup.identity_providers.groups_claim IS 'The claim that lists a person''s groups.';
COMMENT ON COLUMN keypup.identity_providers.fetches_keys IS
  'Whether the worker fetches its key set; otherwise an admin gave it.';
COMMENT ON COLUMN keypup.identity_providers.keys IS 'The usable public keys of its key set.';
COMMENT ON COLUMN keypup.identity_providers.keys_read_at IS
  'When the key set was last taken over. One that was fetched serves for 24 hours.';
COMMENT ON COLUMN keypup.identity_providers.keys_tried_at IS 'When the worker last began to fetch it.';
COMMENT ON COLUMN keypup.identity_providers.keys_error IS 'Why it could not be fetched; NULL when it could.';
COMMENT ON COLUMN keypup.identity_providers.keys_failures IS
  'How often it could not be fetched since it last could: it is tried again after five minutes, doubling to an hour.';
COMMENT ON COLUMN keypup.identity_providers.added_at IS 'When it was added.';
COMMENT ON COLUMN keypup.identity_providers.added_by IS 'Who added it.';
COMMENT ON COLUMN keypup.identity_providers.origin IS
  'The database in which it was added or resumed, as in connections: in a copy its keys are not fetched.';
COMMENT ON COLUMN keypup.identity_providers.sign_in_id IS
  'Another one when it is removed and added anew, and when what one of its groups gives is taken back. Sessions serve '
  'that were started under the one that is.';
SELECT keypup.protect_table('keypup.identity_providers', 'users.read');
REVOKE ALL ON keypup.identity_providers FROM keypup_worker;

CREATE TABLE keypup.person_identities (
  account_id uuid NOT NULL REFERENCES keypup.accounts ON DELETE CASCADE,
  issuer text NOT NULL,
  subject text NOT NULL CHECK (octet_length(subject) BETWEEN 1 AND 255),
  member text,
  PRIMARY KEY (account_id, issuer, subject),
  FOREIGN KEY (account_id, member) REFERENCES keypup.members ON DELETE SET NULL (member)
);
CREATE INDEX person_identities_member ON keypup.person_identities (account_id, member);
COMMENT ON TABLE keypup.person_identities IS
  'As whom a person is known to a provider. Stays when the provider is no longer trusted, so that nobody else can '
  'become one of these people by having it trusted anew.';
COMMENT ON COLUMN keypup.person_identities.issuer IS 'The provider.';
COMMENT ON COLUMN keypup.person_identities.subject IS 'The provider''s id of the person: the claim sub.';
COMMENT ON COLUMN keypup.person_identities.member IS
  'The member that the person is. NULL: somebody who was removed, and does not come back by a group; link_person lets '
  'them.';
SELECT keypup.protect_table('keypup.person_identities', 'users.read');
REVOKE ALL ON keypup.person_identities FROM keypup_worker;

CREATE TABLE keypup.identity_groups (
  account_id uuid NOT NULL,
  issuer text NOT NULL,
  group_name text NOT NULL,
  role text NOT NULL CHECK (role <> 'owner'),
  PRIMARY KEY (account_id, issuer, group_name),
  FOREIGN KEY (account_id, issuer) REFERENCES keypup.identity_providers ON DELETE CASCADE
);
COMMENT ON TABLE keypup.identity_groups IS 'Which role the people of a provider''s group have.';
COMMENT ON COLUMN keypup.identity_groups.issuer IS 'The provider.';
COMMENT ON COLUMN keypup.identity_groups.group_name IS 'The group, as the provider writes it in the token.';
COMMENT ON COLUMN keypup.identity_groups.role IS 'The role; never owner.';
SELECT keypup.protect_table('keypup.identity_groups', 'users.read');
REVOKE ALL ON keypup.identity_groups FROM keypup_worker;

CREATE TABLE keypup.used_tokens (
  account_id uuid NOT NULL REFERENCES keypup.accounts ON DELETE CASCADE,
  token_digest bytea NOT NULL,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (account_id, token_digest)
);
CREATE INDEX used_tokens_expiry ON keypup.used_tokens (account_id, expires_at);
COMMENT ON TABLE keypup.used_tokens IS
  'ID tokens and one-time codes that were used: each signs in once. Kept until they expire.';
COMMENT ON COLUMN keypup.used_tokens.token_digest IS
  'SHA-256 of what is signed of the token, or of what the code was for.';
COMMENT ON COLUMN keypup.used_tokens.expires_at IS
  'When it could no longer be used anyway; infinity for a recovery code.';
SELECT keypup.protect_table('keypup.used_tokens', 'users.read');
REVOKE ALL ON keypup.used_tokens FROM keypup_member, keypup_worker;
DROP POLICY member_reads ON keypup.used_tokens;

CREATE FUNCTION keypup.use_token(account_id uuid, token_digest bytea, expires_at timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
  IF keypup.token_is_left(token_digest) THEN
    RETURN false;
  END IF;
  DELETE FROM keypup.used_tokens u
  WHERE u.account_id = use_token.account_id
    AND u.token_digest IN (SELECT o.token_digest FROM keypup.used_tokens o
                           WHERE o.account_id = use_token.account_id AND o.expires_at <= now() FOR UPDATE SKIP LOCKED);
  INSERT INTO keypup.used_tokens (account_id, token_digest, expires_at)
  VALUES (use_token.account_id, use_token.token_digest, use_token.expires_at) ON CONFLICT DO NOTHING;
  RETURN FOUND;
END
$$;
REVOKE ALL ON FUNCTION keypup.use_token(uuid, bytea, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION keypup.use_token(uuid, bytea, timestamptz) IS
  'Marks a token as used; false where it was used before.';

CREATE FUNCTION keypup.guard_issuer(account_id uuid, issuer text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM keypup.guard_role(guard_issuer.account_id, r.role)
  FROM (SELECT m.role
        FROM keypup.person_identities i
        JOIN keypup.members m ON m.account_id = i.account_id AND m.member = i.member
        WHERE i.account_id = guard_issuer.account_id AND i.issuer = guard_issuer.issuer
        UNION
        SELECT g.role FROM keypup.identity_groups g
        WHERE g.account_id = guard_issuer.account_id AND g.issuer = guard_issuer.issuer) r;
END
$$;
REVOKE ALL ON FUNCTION keypup.guard_issuer(uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.guard_issuer(uuid, text) IS
  'Refuses who may do less than somebody whom the issuer says who they are: whoever changes it can become each of '
  'them.';

CREATE FUNCTION keypup.guard_password_holders(account_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM keypup.guard_role(guard_password_holders.account_id, r.role)
  FROM (SELECT DISTINCT m.role
        FROM keypup.member_passwords w
        JOIN keypup.members m ON m.account_id = w.account_id AND m.member = w.member
        WHERE w.account_id = guard_password_holders.account_id) r;
END
$$;
REVOKE ALL ON FUNCTION keypup.guard_password_holders(uuid) FROM PUBLIC;
COMMENT ON FUNCTION keypup.guard_password_holders(uuid) IS 'Refuses who may do less than somebody who has a password.';

CREATE FUNCTION keypup.guard_passwords(account_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM keypup.identity_providers p WHERE p.account_id = guard_passwords.account_id) THEN
    PERFORM keypup.guard_password_holders(account_id);
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.guard_passwords(uuid) FROM PUBLIC;
COMMENT ON FUNCTION keypup.guard_passwords(uuid) IS
  'Before the first identity provider of an account, by which passwords serve no more: refuses who may do less than '
  'somebody who has one.';

CREATE FUNCTION keypup.end_group_memberships(account_id uuid, issuer text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  WITH ended AS (
    UPDATE keypup.members m SET confirmed_at = NULL, sign_in_id = keypup.new_id()
    FROM keypup.person_identities i
    WHERE m.account_id = end_group_memberships.account_id AND m.by_groups
      AND i.account_id = m.account_id AND i.member = m.member AND i.issuer = end_group_memberships.issuer
    RETURNING m.account_id, m.member
  )
  SELECT keypup.drop_sessions(e.account_id, e.member) FROM ended e
$$;
REVOKE ALL ON FUNCTION keypup.end_group_memberships(uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.end_group_memberships(uuid, text) IS
  'What people have by a group of the issuer ends until they sign in again.';

CREATE FUNCTION keypup.drop_issuer_sessions(account_id uuid, issuer text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT keypup.drop_sessions(o.account_id, o.holder)
  FROM (SELECT DISTINCT s.account_id, s.holder FROM keypup.sessions s
        WHERE s.account_id = drop_issuer_sessions.account_id AND s.issuer = drop_issuer_sessions.issuer) o
$$;
REVOKE ALL ON FUNCTION keypup.drop_issuer_sessions(uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.drop_issuer_sessions(uuid, text) IS
  'Forgets sessions that the issuer vouched for, which serve no more.';

CREATE FUNCTION keypup.forget_issuer(account_id uuid, issuer text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  old keypup.identity_providers;
BEGIN
  PERFORM keypup.guard_issuer(account_id, issuer);
  DELETE FROM keypup.identity_providers p
  WHERE p.account_id = forget_issuer.account_id AND p.issuer = forget_issuer.issuer RETURNING p.* INTO old;
  IF old.issuer IS NULL THEN
    RETURN;
  END IF;
  PERFORM keypup.end_group_memberships(account_id, issuer);
  PERFORM keypup.drop_issuer_sessions(account_id, issuer);
  PERFORM keypup.record_action(account_id, 'identity_provider.remove', keypup.describe_issuer(old));
END
$$;
REVOKE ALL ON FUNCTION keypup.forget_issuer(uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.forget_issuer(uuid, text) IS
  'Trusts an issuer no longer, where it is trusted: who signed in by it is signed out. authorize_rights comes first.';

CREATE FUNCTION keypup.describe_issuer(provider keypup.identity_providers) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT format('%s, %s, keys %s', left(provider.issuer, 200),
    CASE provider.kind WHEN 'openid' THEN 'clients ' || left(array_to_string(provider.client_ids, ', '), 200)
      ELSE 'through the repositories' END,
    CASE WHEN provider.fetches_keys THEN 'fetched'
         ELSE coalesce((SELECT left(string_agg(coalesce(k ->> 'kid', 'without id'), ', ' ORDER BY k ->> 'kid'), 200)
                        FROM jsonb_array_elements(provider.keys) k), 'none') END)
$$;
REVOKE ALL ON FUNCTION keypup.describe_issuer(keypup.identity_providers) FROM PUBLIC;
COMMENT ON FUNCTION keypup.describe_issuer(keypup.identity_providers) IS
  'By what an issuer says who people are, for the audit log: its clients and the ids of its keys.';

CREATE FUNCTION keypup.link_person(account text, person text, issuer text, subject text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize_rights(account, 'users.manage');
BEGIN
  PERFORM keypup.guard_person(the_account, account, person);
  IF NOT EXISTS (
    SELECT FROM keypup.identity_providers p WHERE p.account_id = the_account AND p.issuer = link_person.issuer
  ) THEN
    RAISE EXCEPTION 'issuer is not trusted' USING ERRCODE = 'undefined_object',
      HINT = 'Add it with keypup.add_identity_provider first.';
  END IF;
  INSERT INTO keypup.person_identities AS i (account_id, issuer, subject, member)
  VALUES (the_account, link_person.issuer, link_person.subject, person)
  ON CONFLICT ON CONSTRAINT person_identities_pkey DO UPDATE SET member = excluded.member WHERE i.member IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the subject is linked to a person already' USING ERRCODE = 'duplicate_object',
      HINT = 'Remove that person first.';
  END IF;
  PERFORM keypup.record_action(the_account, 'person.link',
    format('"%s" is %s at %s', person, left(subject, 100), left(issuer, 100)));
END
$$;
REVOKE ALL ON FUNCTION keypup.link_person(text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.link_person(text, text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.link_person(text, text, text, text) IS
  'Says which subject of a provider a person is; also of one who was removed.';

CREATE FUNCTION keypup.map_group(account text, issuer text, group_name text, role text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize_rights(account, 'users.manage');
  old_role text := (SELECT g.role FROM keypup.identity_groups g
    WHERE g.account_id = the_account AND g.issuer = map_group.issuer AND g.group_name = map_group.group_name);
BEGIN
  IF old_role IS NOT NULL THEN
    PERFORM keypup.guard_role(the_account, old_role);
  END IF;
  DELETE FROM keypup.identity_groups g
  WHERE g.account_id = the_account AND g.issuer = map_group.issuer AND g.group_name = map_group.group_name;
  IF old_role <> role OR old_role IS NOT NULL AND role IS NULL THEN
    PERFORM keypup.end_group_memberships(the_account, issuer);
    -- Who is just signing in by the group is not seen: no sign-in that has begun by the issuer leads to anything.
    UPDATE keypup.identity_providers p SET sign_in_id = keypup.new_id()
    WHERE p.account_id = the_account AND p.issuer = map_group.issuer;
    PERFORM keypup.drop_issuer_sessions(the_account, issuer);
  END IF;
  PERFORM keypup.record_action(the_account, 'group.map',
    format('"%s" of %s: %s', left(group_name, 100), left(issuer, 100), coalesce(role, 'no role')));
  IF role IS NULL THEN
    RETURN;
  END IF;
  PERFORM keypup.guard_role(the_account, role);
  IF role = 'owner' THEN
    RAISE EXCEPTION 'a group cannot have role "owner"' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'Add owners one by one.';
  END IF;
  IF NOT EXISTS (
    SELECT FROM keypup.identity_providers p WHERE p.account_id = the_account AND p.issuer = map_group.issuer
  ) THEN
    RAISE EXCEPTION 'issuer is not trusted' USING ERRCODE = 'undefined_object',
      HINT = 'Add it with keypup.add_identity_provider first.';
  END IF;
  INSERT INTO keypup.identity_groups (account_id, issuer, group_name, role)
    VALUES (the_account, map_group.issuer, map_group.group_name, map_group.role);
END
$$;
REVOKE ALL ON FUNCTION keypup.map_group(text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.map_group(text, text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.map_group(text, text, text, text) IS
  'Gives the people of a provider''s group a role, without adding them one by one; NULL takes it back.';

CREATE FUNCTION keypup.accepts_claims(claims jsonb, client_ids text[], nonce text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
  RETURN (
    WITH moment AS (
      SELECT extract(epoch FROM clock_timestamp()) AS now
    ), audience AS (
      SELECT CASE jsonb_typeof(claims -> 'aud') WHEN 'string' THEN jsonb_build_array(claims -> 'aud')
        WHEN 'array' THEN claims -> 'aud' ELSE '[]' END AS list
    )
    -- CASE, not AND: what is no number is not compared with one.
    SELECT CASE
      WHEN jsonb_typeof(claims -> 'exp') IS DISTINCT FROM 'number'
        OR jsonb_typeof(claims -> 'iat') IS DISTINCT FROM 'number'
        OR jsonb_typeof(claims -> 'sub') IS DISTINCT FROM 'string'
        OR coalesce(jsonb_typeof(claims -> 'nbf'), 'number') <> 'number' THEN false
      WHEN (claims ->> 'exp')::numeric <= now OR (claims ->> 'exp')::numeric > now + 86400 THEN false
      WHEN (claims ->> 'iat')::numeric > now + 60 OR coalesce((claims ->> 'nbf')::numeric > now + 60, false) THEN false
      WHEN octet_length(claims ->> 'sub') NOT BETWEEN 1 AND 255 THEN false
      WHEN EXISTS (SELECT FROM jsonb_array_elements(list) a WHERE jsonb_typeof(a) <> 'string') THEN false
      WHEN NOT EXISTS (SELECT FROM jsonb_array_elements_text(list) a WHERE a = ANY (client_ids)) THEN false
      -- OpenID Connect Core 3.1.3.7, 4 and 5.
      WHEN (jsonb_array_length(list) > 1 OR claims ? 'azp') AND coalesce(claims ->> 'azp' <> ALL (client_ids), true)
        THEN false
      WHEN nonce IS NOT NULL AND claims ->> 'nonce' IS DISTINCT FROM nonce THEN false
      ELSE true
    END
    FROM moment, audience);
END
$$;
REVOKE ALL ON FUNCTION keypup.accepts_claims(jsonb, text[], text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.accepts_claims(jsonb, text[], text) IS
  'Whether an ID token is valid now, and made out for one of the clients (OpenID Connect Core 3.1.3.7).';

CREATE FUNCTION keypup.recognise_person(account_id uuid, issuer text, claims jsonb) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_subject text := claims ->> 'sub';
  known record;
  new_role text;
BEGIN
  SELECT i.subject, m.member, m.role, m.by_groups, m.confirmed_at, m.sign_in_id INTO known
  FROM keypup.person_identities i LEFT JOIN keypup.members m ON m.account_id = i.account_id AND m.member = i.member
  WHERE i.account_id = recognise_person.account_id AND i.issuer = recognise_person.issuer AND i.subject = the_subject;
  IF known.subject IS NOT NULL AND known.member IS NULL THEN
    -- Who was removed does not come back by a group: the limits would be gone, too.
    RETURN NULL;
  ELSIF known.member IS NOT NULL AND NOT known.by_groups THEN
    RETURN known.member;
  END IF;
  -- Of several groups' roles, the one that may do most.
  SELECT g.role INTO new_role
  FROM keypup.identity_providers p
  JOIN keypup.identity_groups g ON g.account_id = p.account_id AND g.issuer = p.issuer
  WHERE p.account_id = recognise_person.account_id AND p.issuer = recognise_person.issuer
    AND jsonb_typeof(claims -> p.groups_claim) = 'array' AND claims -> p.groups_claim ? g.group_name
  ORDER BY (SELECT count(*) FROM keypup.roles r WHERE r.account_id = g.account_id AND r.role = g.role) DESC, g.role
  LIMIT 1;
  IF new_role IS NULL THEN
    -- Also whoever has left all groups: does not sign in any more.
    RETURN NULL;
  ELSIF known.member IS NOT NULL AND known.role = new_role AND known.confirmed_at IS NOT NULL THEN
    RETURN known.member;
  ELSIF known.member IS NOT NULL THEN
    -- Whoever was waited for may have taken the groups back, or have given the person a role that no group gives.
    UPDATE keypup.members m SET role = new_role, confirmed_at = now()
    WHERE m.account_id = recognise_person.account_id AND m.member = known.member
      AND m.by_groups AND m.sign_in_id = known.sign_in_id AND m.role IN (known.role, new_role);
    IF NOT FOUND THEN
      RETURN NULL;
    END IF;
    PERFORM keypup.record_action(account_id, 'member.change',
      format('person "%s", role "%s", by a group of %s', known.member, new_role, left(issuer, 100)),
      'person', known.member);
    RETURN known.member;
  END IF;
  known.member := left(regexp_replace(coalesce(claims ->> 'login', the_subject), '[[:cntrl:]]', '?', 'g'), 80) || ' at '
    || left(issuer, 100);
  IF EXISTS (
    SELECT FROM keypup.members m WHERE m.account_id = recognise_person.account_id AND m.member = known.member
  ) THEN
    -- A login changes hands; a subject does not.
    known.member := left(regexp_replace(the_subject, '[[:cntrl:]]', '?', 'g'), 80) || ' at ' || left(issuer, 100);
  END IF;
  INSERT INTO keypup.members (account_id, member, kind, role, by_groups, added_by)
  VALUES (recognise_person.account_id, known.member, 'person', new_role, true, 'a group of ' || left(issuer, 100));
  INSERT INTO keypup.person_identities (account_id, issuer, subject, member)
  VALUES (recognise_person.account_id, recognise_person.issuer, the_subject, known.member);
  PERFORM keypup.record_action(account_id, 'member.add',
    format('person "%s", role "%s", by a group of %s', known.member, new_role, left(issuer, 100)),
    'person', known.member);
  RETURN known.member;
END
$$;
REVOKE ALL ON FUNCTION keypup.recognise_person(uuid, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION keypup.recognise_person(uuid, text, jsonb) IS
  'The member that verified claims are about: linked by name, or by a group; NULL for nobody.';

-- Who ends somebody's sessions deletes those that they see. One whose transaction is still open they do not see, and
-- need not.
CREATE VIEW keypup.serving_sessions WITH (security_invoker = true) AS
SELECT s.account_id, s.handle_digest, s.kind, s.holder, s.xmin::text::bigint AS started_by
FROM keypup.sessions s
WHERE s.expires_at > clock_timestamp()
  AND (s.kind = 'api_key'
       OR EXISTS (
         SELECT FROM keypup.members m
         WHERE m.account_id = s.account_id AND m.member = s.holder AND m.sign_in_id = s.member_sign_in_id))
  AND (s.issuer IS NULL
       OR EXISTS (
         SELECT FROM keypup.identity_providers p
         WHERE p.account_id = s.account_id AND p.issuer = s.issuer AND p.sign_in_id = s.issuer_sign_in_id));
REVOKE ALL ON keypup.serving_sessions FROM PUBLIC;
COMMENT ON VIEW keypup.serving_sessions IS
  'The sessions by which somebody is somebody at this moment. Granted to nobody.';
COMMENT ON COLUMN keypup.serving_sessions.account_id IS 'The account.';
COMMENT ON COLUMN keypup.serving_sessions.handle_digest IS 'SHA-256 of the handle.';
COMMENT ON COLUMN keypup.serving_sessions.kind IS 'person or api_key.';
COMMENT ON COLUMN keypup.serving_sessions.holder IS 'The member, or the prefix of the API key.';
COMMENT ON COLUMN keypup.serving_sessions.started_by IS 'The transaction that started it; it serves in later ones.';
