-- sign_in/password.sql: passwords, for accounts that have no single sign-on.

CREATE TABLE keypup.member_passwords (
  account_id uuid NOT NULL,
  member text NOT NULL,
  hash text NOT NULL,
  set_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (account_id, member),
  FOREIGN KEY (account_id, member) REFERENCES keypup.members ON DELETE CASCADE
);
COMMENT ON TABLE keypup.member_passwords IS 'bcrypt digests of people''s passwords. Granted to nobody.';
COMMENT ON COLUMN keypup.member_passwords.member IS 'The person.';
COMMENT ON COLUMN keypup.member_passwords.hash IS 'bcrypt digest.';
COMMENT ON COLUMN keypup.member_passwords.set_at IS 'When it was set.';
SELECT keypup.protect_table('keypup.member_passwords', 'users.read');
REVOKE ALL ON keypup.member_passwords FROM keypup_member, keypup_worker;
DROP POLICY member_reads ON keypup.member_passwords;

-- What a digest costs is read of all.
CREATE INDEX member_passwords_cost ON keypup.member_passwords (substr(hash, 5, 2));

-- No foreign key to members: who removes a member would wait for the end of the transaction in which they sign in.
CREATE TABLE keypup.known_sources (
  account_id uuid NOT NULL REFERENCES keypup.accounts ON DELETE CASCADE,
  member text NOT NULL,
  source_digest bytea NOT NULL CHECK (octet_length(source_digest) = 32),
  last_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (account_id, member, source_digest)
);
COMMENT ON TABLE keypup.known_sources IS
  'From where people have signed in with their passwords: guesses from elsewhere do not keep them from signing in '
  'there. The 20 latest of a person, for 90 days. Granted to nobody.';
COMMENT ON COLUMN keypup.known_sources.member IS 'The person.';
COMMENT ON COLUMN keypup.known_sources.source_digest IS 'SHA-256 of the source.';
COMMENT ON COLUMN keypup.known_sources.last_at IS 'When the person last signed in from there, to the day.';
SELECT keypup.protect_table('keypup.known_sources', 'users.read');
REVOKE ALL ON keypup.known_sources FROM keypup_member, keypup_worker;
DROP POLICY member_reads ON keypup.known_sources;

CREATE FUNCTION keypup.name_source(source text) RETURNS bytea
LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'keypup_name_source';
CREATE FUNCTION keypup.check_password(account text, person text, source bytea, is_known boolean, password text,
  hash text, cost integer, OUT is_right boolean, OUT wait_seconds integer)
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_check_password';
CREATE FUNCTION keypup.forgive_attempt() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_forgive_attempt';
REVOKE ALL ON FUNCTION keypup.name_source(text), keypup.check_password(text, text, bytea, boolean, text, text, integer),
  keypup.forgive_attempt() FROM PUBLIC;
COMMENT ON FUNCTION keypup.name_source(text) IS
  'Digest of where an attempt to sign in comes from: what the application says; NULL: the address of the client.';
COMMENT ON FUNCTION keypup.check_password(text, text, bytea, boolean, text, text, integer) IS
  'Counts an attempt to sign in, and whether the password has that digest. It costs the same whatever the answer, '
  'also where it came too soon: then wait_seconds says for how long it is not looked at.';
COMMENT ON FUNCTION keypup.forgive_attempt() IS 'Takes the session''s last attempt out of the count: it has succeeded.';

CREATE FUNCTION keypup.password_cost() RETURNS integer
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT greatest(current_setting('keypup.bcrypt_cost')::integer,
    (SELECT max(substr(p.hash, 5, 2)) FROM keypup.member_passwords p)::integer)
$$;
REVOKE ALL ON FUNCTION keypup.password_cost() FROM PUBLIC;
COMMENT ON FUNCTION keypup.password_cost() IS
  'What looking at any password costs, as bcrypt counts: as much as that of the dearest digest, so that nobody learns '
  'who has it.';

CREATE FUNCTION keypup.knows_source(account_id uuid, person text, source bytea) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT EXISTS (SELECT FROM keypup.known_sources s
                 WHERE s.account_id = knows_source.account_id AND s.member = person AND s.source_digest = source
                   AND s.last_at > now() - interval '90 days')
$$;
REVOKE ALL ON FUNCTION keypup.knows_source(uuid, text, bytea) FROM PUBLIC;
COMMENT ON FUNCTION keypup.knows_source(uuid, text, bytea) IS
  'Whether the person has signed in from there within 90 days.';

CREATE FUNCTION keypup.try_password(account text, account_id uuid, person text, source bytea, is_known boolean,
  password text, OUT is_right boolean, OUT wait_seconds integer)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
  SELECT c.is_right, c.wait_seconds INTO is_right, wait_seconds
  FROM keypup.check_password(account, person, source, is_known, password,
    (SELECT p.hash FROM keypup.member_passwords p
     WHERE p.account_id = try_password.account_id AND p.member = person
       AND NOT EXISTS (SELECT FROM keypup.identity_providers i WHERE i.account_id = p.account_id)),
    keypup.password_cost()) c;
END
$$;
REVOKE ALL ON FUNCTION keypup.try_password(text, uuid, text, bytea, boolean, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.try_password(text, uuid, text, bytea, boolean, text) IS
  'Whether that is the person''s password, counted and at the same price for whoever is not there: see check_password.';

CREATE FUNCTION keypup.forget_sources(account_id uuid, person text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  WITH free AS (
    SELECT k.source_digest FROM keypup.known_sources k
    WHERE k.account_id = forget_sources.account_id AND k.member = person FOR UPDATE SKIP LOCKED
  )
  DELETE FROM keypup.known_sources k USING free f
  WHERE k.account_id = forget_sources.account_id AND k.member = person AND k.source_digest = f.source_digest
$$;
REVOKE ALL ON FUNCTION keypup.forget_sources(uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.forget_sources(uuid, text) IS
  'Forgets from where somebody who was removed has signed in; waits for nobody.';

CREATE FUNCTION keypup.note_known_source(account_id uuid, person text, source bytea) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
  PERFORM keypup.forgive_attempt();
  -- A row that is there is left alone, and unlocked, for a day.
  IF EXISTS (SELECT FROM keypup.known_sources s
             WHERE s.account_id = note_known_source.account_id AND s.member = person AND s.source_digest = source
               AND s.last_at >= now() - interval '1 day') THEN
    RETURN;
  END IF;
  INSERT INTO keypup.known_sources AS s (account_id, member, source_digest)
  VALUES (note_known_source.account_id, person, source)
  ON CONFLICT ON CONSTRAINT known_sources_pkey DO UPDATE SET last_at = now() WHERE s.last_at < now() - interval '1 day';
  IF FOUND THEN
    DELETE FROM keypup.known_sources s
    WHERE s.account_id = note_known_source.account_id AND s.member = person
      AND (s.last_at <= now() - interval '90 days'
        OR s.source_digest NOT IN (SELECT l.source_digest FROM keypup.known_sources l
                                   WHERE l.account_id = note_known_source.account_id AND l.member = person
                                   ORDER BY l.last_at DESC, l.source_digest = source DESC, l.source_digest LIMIT 20));
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.note_known_source(uuid, text, bytea) FROM PUBLIC;
COMMENT ON FUNCTION keypup.note_known_source(uuid, text, bytea) IS
  'The person has signed in from there: the attempt does not count.';

CREATE FUNCTION keypup.guard_old_password(account text, account_id uuid, person text, old_password text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  tried record;
BEGIN
  IF NOT EXISTS (
    SELECT FROM keypup.member_passwords p WHERE p.account_id = guard_old_password.account_id AND p.member = person
  ) THEN
    RETURN;
  END IF;
  -- Counted apart: who guesses at the sign-in does not keep people who are signed in from changing theirs.
  SELECT t.is_right, t.wait_seconds INTO tried
  FROM keypup.try_password(account, account_id, person, keypup.digest_secret('a session'), true, old_password) t;
  IF tried.is_right IS NOT TRUE THEN
    PERFORM keypup.note_refusal(account_id, 'password.set', 'the old password is missing or wrong');
    RAISE EXCEPTION 'the old password is missing or wrong' USING ERRCODE = 'invalid_authorization_specification',
      HINT = CASE WHEN tried.wait_seconds IS NOT NULL
                  THEN format('It was tried too often. Try again in %s seconds.', tried.wait_seconds)
                  ELSE 'Pass it as old_password; who manages users can set a password without it.' END;
  END IF;
  PERFORM keypup.forgive_attempt();
END
$$;
REVOKE ALL ON FUNCTION keypup.guard_old_password(text, uuid, text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.guard_old_password(text, uuid, text, text) IS
  'Refuses to set another password for a person who has one without it: a session that somebody forgot to end is not '
  'enough.';

CREATE FUNCTION keypup.set_password(account text, person text, password text, old_password text DEFAULT NULL)
  RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  is_own boolean
    := coalesce(person = keypup.current_user_name() AND (SELECT a.kind = 'person' FROM keypup.current_user_info() a),
    false);
  -- People set their own, for which nobody else waits; whoever manages users sets that of those who may not do more.
  the_account uuid := CASE WHEN is_own THEN keypup.authorize(account, 'data.read')
    ELSE keypup.authorize_rights(account, 'users.manage') END;
BEGIN
  IF NOT is_own THEN
    PERFORM keypup.guard_person(the_account, account, person);
  END IF;
  IF EXISTS (SELECT FROM keypup.identity_providers p WHERE p.account_id = the_account) THEN
    RAISE EXCEPTION 'the account has single sign-on' USING ERRCODE = 'object_not_in_prerequisite_state',
      HINT = 'Its people sign in there, and have no passwords here.';
  END IF;
  IF password IS NULL OR length(password) < 12
     OR strpos(lower(lower(password COLLATE "C") COLLATE "default"),
       lower(lower(person COLLATE "C") COLLATE "default")) > 0
     OR (SELECT count(DISTINCT c) FROM string_to_table(password, NULL) c) < 6 THEN
    RAISE EXCEPTION 'password is too weak' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'It has 12 or more characters, six different ones among them, and the person''s name is not in it.';
  END IF;
  IF is_own THEN
    PERFORM keypup.guard_old_password(account, the_account, person, old_password);
  END IF;
  PERFORM FROM keypup.members m WHERE m.account_id = the_account AND m.member = person FOR NO KEY UPDATE;
  INSERT INTO keypup.member_passwords AS p (account_id, member, hash)
    VALUES (the_account, person, keypup.hash_password(password))
  ON CONFLICT ON CONSTRAINT member_passwords_pkey DO UPDATE SET hash = excluded.hash, set_at = now();
  -- Whoever knew the old one is signed out, also where they are just signing in.
  PERFORM keypup.sign_out_everywhere(the_account, person);
  PERFORM keypup.record_action(the_account, 'password.set', person);
END
$$;
REVOKE ALL ON FUNCTION keypup.set_password(text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.set_password(text, text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.set_password(text, text, text, text) IS
  'Sets a person''s password, and ends the person''s sessions. Pass it as a bind parameter. Who changes the own '
  'passes the old one, too.';

CREATE FUNCTION keypup.prove_person(account text, account_id uuid, person text, password text, code text, source text,
  action text, seed_state text, needs_code boolean, OUT shown text, OUT code_digest bytea)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  the_source bytea := keypup.name_source(source);
  tried record;
  given record;
  is_right boolean;
BEGIN
  SELECT t.is_right, t.wait_seconds INTO tried
  FROM keypup.try_password(account, account_id, person, the_source, keypup.knows_source(account_id, person, the_source),
    password) t;
  -- Also with a wrong password: it takes as long.
  SELECT c.enrollment_id, c.digest, c.ends_at, c.is_recovery INTO given
  FROM keypup.find_code(account_id, person, code, seed_state) c;
  IF tried.wait_seconds IS NOT NULL THEN
    PERFORM keypup.note_refusal(account_id, action, person, 'too many attempts with a password');
    RAISE EXCEPTION 'too many attempts to sign in' USING ERRCODE = 'invalid_authorization_specification',
      HINT = format('Try again in %s seconds.', tried.wait_seconds);
  END IF;
  is_right := tried.is_right;
  IF is_right AND given.enrollment_id IS NOT NULL THEN
    is_right := given.digest IS NOT NULL AND keypup.use_token(account_id, given.digest, given.ends_at);
  ELSIF is_right THEN
    is_right := NOT needs_code;
  END IF;
  IF is_right IS NOT TRUE THEN
    -- One answer: it must not tell a guesser that one of the two is right.
    PERFORM keypup.note_refusal(account_id, action, person, 'a password');
    RAISE EXCEPTION 'sign-in is refused' USING ERRCODE = 'invalid_authorization_specification',
      HINT = 'Check account, person, password and code; each code serves once. Where the account requires one, '
        'keypup.enroll_totp comes first.';
  END IF;
  PERFORM keypup.note_known_source(account_id, person, the_source);
  code_digest := given.digest;
  shown := CASE WHEN given.is_recovery THEN 'a password and a recovery code'
                WHEN given.digest IS NOT NULL THEN 'a password and a code' ELSE 'a password' END;
END
$$;
REVOKE ALL ON FUNCTION keypup.prove_person(text, uuid, text, text, text, text, text, text, boolean) FROM PUBLIC;
COMMENT ON FUNCTION keypup.prove_person(text, uuid, text, text, text, text, text, text, boolean) IS
  'Who shows a person''s password, and a code where the person has a seed in that state, is the person: what was '
  'shown, for the record, and the digest of the code, which is used now. Otherwise it is refused, and recorded as '
  'that action.';

CREATE FUNCTION keypup.sign_in_with_password(account text, person text, password text, code text DEFAULT NULL,
  source text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  the_account record;
  proven record;
BEGIN
  PERFORM keypup.guard_writes();
  SELECT a.account_id, a.requires_second_factor, m.sign_in_id INTO the_account
  FROM keypup.accounts a LEFT JOIN keypup.members m ON m.account_id = a.account_id AND m.member = person
  WHERE a.name = account;
  SELECT p.shown, p.code_digest INTO proven
  FROM keypup.prove_person(account, the_account.account_id, person, password, code, source, 'session.start', 'active',
    the_account.requires_second_factor) p;
  -- What was set when keypup.bcrypt_cost was another.
  UPDATE keypup.member_passwords p SET hash = keypup.hash_password(password)
  WHERE p.account_id = the_account.account_id AND p.member = person
    AND substr(p.hash, 5, 2)::integer <> current_setting('keypup.bcrypt_cost')::integer;
  RETURN keypup.start_session(the_account.account_id, 'person', person, proven.shown, interval '12 hours', NULL::text,
    proven.code_digest, the_account.sign_in_id);
END
$$;
REVOKE ALL ON FUNCTION keypup.sign_in_with_password(text, text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.sign_in_with_password(text, text, text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.sign_in_with_password(text, text, text, text, text) IS
  'Starts a session for a person with a password; pass the handle to use_session, in a later transaction. code: of '
  'the person''s authenticator app, where there is one, or for recovery. source: where the person is, as the '
  'application knows it, such as an address or what it has left in the browser. Wrong ones make the next from there '
  'wait.';
