-- sign_in/second_factor.sql: what people show beside their passwords: a code of an authenticator app, or of the list
-- that they were given for when they have lost it. A code is used once.

CREATE TABLE keypup.totp_seeds (
  account_id uuid NOT NULL,
  enrollment_id uuid NOT NULL,
  member text NOT NULL,
  confirmed_at timestamptz,
  state text NOT NULL GENERATED ALWAYS AS (CASE WHEN confirmed_at IS NULL THEN 'pending' ELSE 'active' END) STORED,
  enrolled_at timestamptz NOT NULL DEFAULT now(),
  revision bigint NOT NULL DEFAULT 1,
  envelope bytea NOT NULL CHECK (octet_length(envelope) BETWEEN 37 AND 8228 AND substr(envelope, 1, 4) = '\x4b500101'),
  key_id integer GENERATED ALWAYS AS (keypup.token_key_id(envelope)) STORED,
  reseal_failed_at timestamptz,
  PRIMARY KEY (account_id, enrollment_id),
  UNIQUE (account_id, member, state),
  FOREIGN KEY (account_id, member) REFERENCES keypup.members ON DELETE CASCADE
);
CREATE INDEX totp_seeds_key ON keypup.totp_seeds (key_id);
ALTER TABLE keypup.totp_seeds ALTER COLUMN envelope SET STORAGE EXTERNAL, ALTER COLUMN envelope SET STATISTICS 0;
COMMENT ON TABLE keypup.totp_seeds IS
  'Who signs in with an authenticator app beside the password. The seeds are sealed, and no one may read them.';
COMMENT ON COLUMN keypup.totp_seeds.enrollment_id IS 'Identifies the seed; bound into the envelope.';
COMMENT ON COLUMN keypup.totp_seeds.member IS 'The person; bound into the envelope.';
COMMENT ON COLUMN keypup.totp_seeds.confirmed_at IS
  'When the person first showed a code of it: it is needed from then on. NULL: not yet.';
COMMENT ON COLUMN keypup.totp_seeds.state IS 'pending or active.';
COMMENT ON COLUMN keypup.totp_seeds.enrolled_at IS 'When it was made. It can be confirmed for an hour.';
COMMENT ON COLUMN keypup.totp_seeds.revision IS 'Rises when it is sealed again; bound into the envelope.';
COMMENT ON COLUMN keypup.totp_seeds.envelope IS 'The seed, in an AES-256-GCM envelope version 1.';
COMMENT ON COLUMN keypup.totp_seeds.key_id IS 'The data key that it is sealed with, as the envelope says.';
COMMENT ON COLUMN keypup.totp_seeds.reseal_failed_at IS
  'When it last could not be opened to be sealed again; NULL when all is well.';
SELECT keypup.protect_table('keypup.totp_seeds', 'users.read');
REVOKE ALL ON keypup.totp_seeds FROM keypup_member, keypup_worker;
GRANT SELECT (account_id, member, state, enrolled_at, confirmed_at) ON keypup.totp_seeds TO keypup_member;

CREATE TABLE keypup.recovery_codes (
  account_id uuid NOT NULL,
  code_digest bytea NOT NULL CHECK (octet_length(code_digest) = 32),
  enrollment_id uuid NOT NULL,
  PRIMARY KEY (account_id, code_digest),
  FOREIGN KEY (account_id, enrollment_id) REFERENCES keypup.totp_seeds ON DELETE CASCADE
);
CREATE INDEX recovery_codes_enrollment ON keypup.recovery_codes (account_id, enrollment_id);
COMMENT ON TABLE keypup.recovery_codes IS
  'Codes that were given with a seed. Those that were used are in used_tokens, so that a sign-in locks nothing here. '
  'Granted to nobody.';
COMMENT ON COLUMN keypup.recovery_codes.code_digest IS 'SHA-256 of the code, without hyphens.';
COMMENT ON COLUMN keypup.recovery_codes.enrollment_id IS 'The seed that it was given with.';
SELECT keypup.protect_table('keypup.recovery_codes', 'users.read');
REVOKE ALL ON keypup.recovery_codes FROM keypup_member, keypup_worker;
DROP POLICY member_reads ON keypup.recovery_codes;

CREATE FUNCTION keypup.totp_context(account_id uuid, enrollment_id uuid, member text, revision bigint) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT format('account:%s/totp:%s/rev:%s/member:%s', account_id, enrollment_id, revision,
    encode(sha256(convert_to(member, 'UTF8')), 'hex'))
$$;
REVOKE ALL ON FUNCTION keypup.totp_context(uuid, uuid, text, bigint) FROM PUBLIC;
COMMENT ON FUNCTION keypup.totp_context(uuid, uuid, text, bigint) IS
  'What a seed belongs to; sealed into its envelope.';

CREATE FUNCTION keypup.find_code(account_id uuid, person text, code text, seed_state text,
  OUT enrollment_id uuid, OUT digest bytea, OUT ends_at timestamptz, OUT is_recovery boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  given text := lower(regexp_replace(left(coalesce(code, ''), 100), '[[:space:]-]', '', 'g') COLLATE "C");
  seed record;
  step bigint;
BEGIN
  SELECT s.enrollment_id, s.envelope, s.revision INTO seed
  FROM keypup.totp_seeds s
  WHERE s.account_id = find_code.account_id AND s.member = person AND s.state = seed_state
    AND (s.state = 'active' OR s.enrolled_at > now() - interval '1 hour');
  enrollment_id := seed.enrollment_id;
  IF enrollment_id IS NULL THEN
    RETURN;
  END IF;
  step := keypup.find_totp_step(seed.envelope, keypup.totp_context(account_id, enrollment_id, person, seed.revision),
    given, clock_timestamp());
  IF step IS NOT NULL THEN
    digest := sha256(convert_to(format('%s %s', enrollment_id, step), 'UTF8'));
    -- Until it is no longer the one before.
    ends_at := to_timestamp(30 * (step + 2));
    is_recovery := false;
  ELSIF seed_state = 'active' THEN
    SELECT c.code_digest, 'infinity', true INTO digest, ends_at, is_recovery
    FROM keypup.recovery_codes c
    WHERE c.account_id = find_code.account_id AND c.code_digest = keypup.digest_secret(given)
      AND c.enrollment_id = seed.enrollment_id;
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.find_code(uuid, text, text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.find_code(uuid, text, text, text) IS
  'Whether the person has a seed in that state, and the code is one of it now, or one of those to recover: a digest '
  'for use_token, and until when. No digest: the code is wrong.';
