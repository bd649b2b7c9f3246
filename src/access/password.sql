-- access/password.sql: passwords, for accounts that have no single sign-on.

CREATE TABLE keypup.member_passwords (
  account_id uuid NOT NULL,
  member text NOT NULL,
  hash text NOT NULL,
  set_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (account_id, member),
  FOREIGN KEY (account_id, member) REFERENCES keypup.members ON DELETE CASCADE
);
COMMENT ON TABLE keypup.member_passwords IS 'bcrypt digests of people''s passwords. Granted to nobody.';
COMMENT ON COLUMN keypup.member_passwords.account_id IS 'The account.';
COMMENT ON COLUMN keypup.member_passwords.member IS 'The person.';
COMMENT ON COLUMN keypup.member_passwords.hash IS 'bcrypt digest.';
COMMENT ON COLUMN keypup.member_passwords.set_at IS 'When it was set.';
SELECT keypup.protect_table('keypup.member_passwords', 'users.read');
REVOKE ALL ON keypup.member_passwords FROM keypup_member, keypup_worker;
DROP POLICY member_reads ON keypup.member_passwords;

CREATE FUNCTION keypup.begin_attempt(name text) RETURNS integer
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'keypup_begin_attempt';
CREATE FUNCTION keypup.end_attempts(name text) RETURNS void
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'keypup_end_attempts';
REVOKE ALL ON FUNCTION keypup.begin_attempt(text), keypup.end_attempts(text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.begin_attempt(text) IS 'Counts an attempt to sign in under a name. NULL when it may go on; otherwise the seconds to wait, doubling from the sixth in a row.';
COMMENT ON FUNCTION keypup.end_attempts(text) IS 'Forgets the attempts under a name, after one that succeeded.';

CREATE FUNCTION keypup.set_password(account text, person text, password text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  -- People set their own; whoever manages users sets that of those who may not do more.
  the_account uuid := keypup.authorize_rights(account, CASE
    WHEN person = keypup.asking_role() AND (SELECT a.kind = 'person' FROM keypup.asking() a) THEN 'data.read'
    ELSE 'users.manage' END);
BEGIN
  PERFORM keypup.guard_person(the_account, account, person);
  IF EXISTS (SELECT FROM keypup.identity_providers p WHERE p.account_id = the_account) THEN
    RAISE EXCEPTION 'the account has single sign-on' USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Its people sign in there, and have no passwords here.';
  END IF;
  IF password IS NULL OR length(password) < 12 OR lower(lower(password COLLATE "C") COLLATE "default") LIKE '%' || lower(lower(person COLLATE "C") COLLATE "default") || '%'
     OR (SELECT count(DISTINCT c) FROM string_to_table(password, NULL) c) < 6 THEN
    RAISE EXCEPTION 'password is too weak' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'It has 12 or more characters, six different ones among them, and the person''s name is not in it.';
  END IF;
  INSERT INTO keypup.member_passwords AS p (account_id, member, hash) VALUES (the_account, person, keypup.hash_password(password))
  ON CONFLICT ON CONSTRAINT member_passwords_pkey DO UPDATE SET hash = excluded.hash, set_at = now();
  -- Whoever knew the old one is signed out.
  DELETE FROM keypup.sessions s WHERE s.account_id = the_account AND s.kind = 'person' AND s.holder = person;
  PERFORM keypup.record_action(the_account, 'password.set', person);
END
$$;
REVOKE ALL ON FUNCTION keypup.set_password(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.set_password(text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.set_password(text, text, text) IS 'Sets a person''s password, and ends the person''s sessions. Pass it as a bind parameter.';

CREATE FUNCTION keypup.sign_in_with_password(account text, person text, password text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  name text := coalesce(account, '') || E'\n' || coalesce(person, '');
  seconds integer;
  found_account uuid;
  found_hash text;
BEGIN
  PERFORM keypup.guard_writes();
  seconds := keypup.begin_attempt(name);
  IF seconds IS NOT NULL THEN
    PERFORM keypup.note_refusal((SELECT a.account_id FROM keypup.accounts a WHERE a.name = account), 'session.start', person, 'too many attempts with a password');
    RAISE EXCEPTION 'too many attempts to sign in' USING ERRCODE = 'invalid_authorization_specification', HINT = format('Try again in %s seconds.', seconds);
  END IF;
  SELECT p.account_id, p.hash INTO found_account, found_hash
  FROM keypup.accounts a JOIN keypup.member_passwords p ON p.account_id = a.account_id
  WHERE a.name = account AND p.member = person
    AND NOT EXISTS (SELECT FROM keypup.identity_providers i WHERE i.account_id = a.account_id);
  -- Somebody who is not there takes as long as a wrong password.
  IF found_hash IS NULL THEN
    PERFORM keypup.hash_password('nobody''s password');
  ELSIF octet_length(password) BETWEEN 1 AND 72 AND keypup.password_matches(password, found_hash) THEN
    PERFORM keypup.end_attempts(name);
    RETURN keypup.start_session(found_account, 'person', person, 'a password', interval '12 hours', NULL::text, NULL::bytea);
  END IF;
  PERFORM keypup.note_refusal((SELECT a.account_id FROM keypup.accounts a WHERE a.name = account), 'session.start', person, 'a password');
  RAISE EXCEPTION 'sign-in is refused' USING ERRCODE = 'invalid_authorization_specification', HINT = 'Check account, person and password.';
END
$$;
REVOKE ALL ON FUNCTION keypup.sign_in_with_password(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.sign_in_with_password(text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.sign_in_with_password(text, text, text) IS 'Starts a session for a person with a password; pass the handle to use_session. Wrong ones make the next wait.';
