-- sign_in/totp.sql: people enroll an authenticator app, by password, and give it up; accounts require one of everybody
-- who signs in with a password. Who may act as a person can take the person's away.

-- What a proof of who somebody is depends on; NULL when the person is gone.
CREATE FUNCTION keypup.sign_in_state(account_id uuid, person text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT format('%s %s', m.sign_in_id, ARRAY(SELECT s.enrollment_id FROM keypup.totp_seeds s
    WHERE s.account_id = sign_in_state.account_id AND s.member = person ORDER BY s.enrollment_id))
  FROM keypup.members m WHERE m.account_id = sign_in_state.account_id AND m.member = person
$$;
REVOKE ALL ON FUNCTION keypup.sign_in_state(uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.sign_in_state(uuid, text) IS
  'Changes with a person''s password, and with each app that is enrolled, confirmed or given up.';

-- Of the account nothing is locked: it need not wait for what people do with their own.
CREATE FUNCTION keypup.prove_to_change_totp(account text, person text, password text, code text, source text,
  action text, seed_state text, needs_code boolean, OUT account_id uuid, OUT shown text, OUT code_digest bytea)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  seen text;
BEGIN
  PERFORM keypup.guard_writes();
  SELECT a.account_id INTO account_id FROM keypup.accounts a WHERE a.name = account;
  seen := keypup.sign_in_state(account_id, person);
  SELECT p.shown, p.code_digest INTO shown, code_digest
  FROM keypup.prove_person(account, account_id, person, password, code, source, action, seed_state, needs_code) p;
  PERFORM FROM keypup.members m
  WHERE m.account_id = prove_to_change_totp.account_id AND m.member = person FOR NO KEY UPDATE;
  -- Whoever was waited for may have had the person need a code, or have put another seed in the place of the one that
  -- was shown.
  IF keypup.sign_in_state(account_id, person) IS DISTINCT FROM seen THEN
    RAISE EXCEPTION 'the person''s sign-in has changed meanwhile' USING ERRCODE = 'serialization_failure',
      HINT = 'Try again.';
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.prove_to_change_totp(text, text, text, text, text, text, text, boolean) FROM PUBLIC;
COMMENT ON FUNCTION keypup.prove_to_change_totp(text, text, text, text, text, text, text, boolean) IS
  'As prove_person, for a change of the person''s second factor, of which one comes after the other.';

CREATE FUNCTION keypup.enroll_totp(account text, person text, password text, code text DEFAULT NULL,
  source text DEFAULT NULL, OUT uri text, OUT recovery_codes text[])
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  proven record;
  made record;
  new_id uuid := gen_random_uuid();
BEGIN
  SELECT p.account_id, p.shown, p.code_digest INTO proven
  FROM keypup.prove_to_change_totp(account, person, password, code, source, 'totp.enroll', 'active', false) p;
  DELETE FROM keypup.totp_seeds s WHERE s.account_id = proven.account_id AND s.member = person AND s.state = 'pending';
  SELECT n.envelope, n.uri INTO made
  FROM keypup.new_totp_seed(keypup.totp_context(proven.account_id, new_id, person, 1::bigint), account, person) n;
  INSERT INTO keypup.totp_seeds (account_id, enrollment_id, member, envelope)
    VALUES (proven.account_id, new_id, person, made.envelope);
  uri := made.uri;
  recovery_codes := ARRAY(SELECT keypup.new_recovery_code() FROM generate_series(1, 10));
  INSERT INTO keypup.recovery_codes (account_id, code_digest, enrollment_id)
  SELECT proven.account_id, keypup.digest_secret(replace(c.code, '-', '')), new_id
  FROM unnest(recovery_codes) AS c (code);
  PERFORM keypup.record_durably(proven.account_id, 'totp.enroll', proven.shown, 'person', person, false,
    proven.code_digest);
END
$$;
REVOKE ALL ON FUNCTION keypup.enroll_totp(text, text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.enroll_totp(text, text, text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.enroll_totp(text, text, text, text, text) IS
  'Makes a seed for an authenticator app, for who shows the person''s password, and a code where an app is in use. '
  'Shows, once, the URI that the app reads, for a QR code, and ten codes for when the app is lost. It is in use when '
  'confirm_totp has seen a code of it, within an hour.';

CREATE FUNCTION keypup.confirm_totp(account text, person text, password text, code text, source text DEFAULT NULL)
  RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  proven record;
BEGIN
  SELECT p.account_id, p.shown, p.code_digest INTO proven
  FROM keypup.prove_to_change_totp(account, person, password, code, source, 'totp.confirm', 'pending', true) p;
  DELETE FROM keypup.totp_seeds s WHERE s.account_id = proven.account_id AND s.member = person AND s.state = 'active';
  UPDATE keypup.totp_seeds s SET confirmed_at = now() WHERE s.account_id = proven.account_id AND s.member = person;
  -- Whoever knows the password alone is signed out, also where they are just signing in.
  PERFORM keypup.sign_out_everywhere(proven.account_id, person);
  PERFORM keypup.record_durably(proven.account_id, 'totp.confirm', proven.shown, 'person', person, false,
    proven.code_digest);
END
$$;
REVOKE ALL ON FUNCTION keypup.confirm_totp(text, text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.confirm_totp(text, text, text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.confirm_totp(text, text, text, text, text) IS
  'Has the seed that enroll_totp has made be the one in use, for who shows a code of it: the one before serves no '
  'more, and the person''s sessions end. From then on a password signs in with a code only.';

CREATE FUNCTION keypup.forget_totp(account_id uuid, person text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  was_active boolean := EXISTS (SELECT FROM keypup.totp_seeds s
    WHERE s.account_id = forget_totp.account_id AND s.member = person AND s.state = 'active');
BEGIN
  DELETE FROM keypup.totp_seeds s WHERE s.account_id = forget_totp.account_id AND s.member = person;
  RETURN was_active;
END
$$;
REVOKE ALL ON FUNCTION keypup.forget_totp(uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.forget_totp(uuid, text) IS
  'Forgets a person''s seeds and recovery codes; false where none was in use.';

CREATE FUNCTION keypup.remove_totp(account text, person text, password text, code text, source text DEFAULT NULL)
  RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  proven record;
BEGIN
  SELECT p.account_id, p.shown, p.code_digest INTO proven
  FROM keypup.prove_to_change_totp(account, person, password, code, source, 'totp.remove', 'active', true) p;
  PERFORM keypup.forget_totp(proven.account_id, person);
  PERFORM keypup.record_durably(proven.account_id, 'totp.remove', proven.shown, 'person', person, false,
    proven.code_digest);
END
$$;
REVOKE ALL ON FUNCTION keypup.remove_totp(text, text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.remove_totp(text, text, text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.remove_totp(text, text, text, text, text) IS
  'Gives up the authenticator app, for who shows the person''s password and a code. Where the account requires one, '
  'another must be enrolled to sign in.';

CREATE FUNCTION keypup.reset_totp(account text, person text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  the_account uuid := keypup.authorize_rights(account, 'users.manage');
BEGIN
  PERFORM keypup.guard_person(the_account, account, person);
  -- A session that somebody forgot to end is not enough.
  IF person = keypup.current_user_name() AND (SELECT a.kind = 'person' FROM keypup.current_user_info() a) THEN
    RAISE EXCEPTION 'nobody resets the own second factor' USING ERRCODE = 'insufficient_privilege',
      HINT = 'keypup.remove_totp takes the password and a code, also one for recovery.';
  END IF;
  -- First, as whoever changes their own holds their row.
  PERFORM keypup.sign_out_everywhere(the_account, person);
  IF NOT keypup.forget_totp(the_account, person) THEN
    RAISE EXCEPTION 'person "%" has no second factor', person USING ERRCODE = 'undefined_object',
      HINT = 'SELECT * FROM keypup.second_factors shows who has one.';
  END IF;
  PERFORM keypup.record_action(the_account, 'totp.reset', person);
END
$$;
REVOKE ALL ON FUNCTION keypup.reset_totp(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.reset_totp(text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.reset_totp(text, text) IS
  'Takes a person''s authenticator app away, who has lost it and the codes for that; the person''s sessions end. For '
  'who may do all that the person may, and not for oneself.';

CREATE FUNCTION keypup.require_second_factor(account text, is_required boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  the_account uuid := keypup.authorize_rights(account, 'users.manage');
BEGIN
  IF is_required IS NULL THEN
    RAISE EXCEPTION 'true or false is needed' USING ERRCODE = 'null_value_not_allowed',
      HINT = 'true: a password signs in with a code only.';
  END IF;
  PERFORM keypup.guard_password_holders(the_account);
  UPDATE keypup.accounts a SET requires_second_factor = is_required WHERE a.account_id = the_account;
  PERFORM keypup.record_action(the_account, 'second_factor.require',
    CASE WHEN is_required THEN 'required' ELSE 'not required' END);
END
$$;
REVOKE ALL ON FUNCTION keypup.require_second_factor(text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.require_second_factor(text, boolean) TO keypup_member;
COMMENT ON FUNCTION keypup.require_second_factor(text, boolean) IS
  'Whether passwords sign in with a code only. For who may do all that those may who have passwords. Who has no '
  'authenticator app yet enrolls one with the password; sessions go on until they end.';

CREATE VIEW keypup.second_factors WITH (security_invoker = true, security_barrier = true) AS
SELECT s.account_id, s.member, s.state, s.enrolled_at, s.confirmed_at FROM keypup.totp_seeds s;
REVOKE ALL ON keypup.second_factors FROM PUBLIC;
GRANT SELECT ON keypup.second_factors TO keypup_member;
COMMENT ON VIEW keypup.second_factors IS
  'One row a person who signs in with an authenticator app, or is enrolling one. Others than those have a password '
  'alone.';
COMMENT ON COLUMN keypup.second_factors.account_id IS 'The account.';
COMMENT ON COLUMN keypup.second_factors.member IS 'The person.';
COMMENT ON COLUMN keypup.second_factors.state IS 'active, or pending until the person has shown a code of it.';
COMMENT ON COLUMN keypup.second_factors.enrolled_at IS 'When it was made.';
COMMENT ON COLUMN keypup.second_factors.confirmed_at IS 'Since when it is in use; NULL while it is not.';
