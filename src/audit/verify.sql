-- audit/verify.sql: whether the log is as it was: its chain, and what checkpoints say.

CREATE FUNCTION keypup.verify_audit(account text, checkpoint text DEFAULT NULL, OUT is_intact boolean,
  OUT records bigint, OUT sequence bigint, OUT record_id bigint, OUT problem text, OUT unsealed bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid;
  compared record;
BEGIN
  SELECT a.account_id INTO the_account FROM keypup.accounts a WHERE a.name = account;
  IF the_account IS NULL AND account ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
    the_account := account::uuid;
  END IF;
  IF the_account IS NULL OR NOT keypup.has_permission(the_account, 'audit.read') THEN
    PERFORM keypup.note_refusal(the_account, 'audit.read', 'verify_audit');
    RAISE EXCEPTION 'permission denied for account "%"', account USING ERRCODE = 'insufficient_privilege',
      HINT = 'It takes the permission audit.read; an account that was dropped is named by its account_id.';
  END IF;
  SELECT c.records, c.sequence, c.record_id, c.problem
  INTO records, sequence, record_id, problem FROM keypup.check_audit_chain(the_account) c;
  IF problem IS NULL THEN
    SELECT c.sequence, c.problem INTO compared
    FROM keypup.compare_with_checkpoints(the_account, checkpoint, sequence) c;
    sequence := coalesce(compared.sequence, sequence);
    problem := compared.problem;
  END IF;
  SELECT count(*) INTO unsealed FROM keypup.audit_log l WHERE l.account_id = the_account AND l.sequence IS NULL;
  -- An account has a record from its first moment on, and where its chain ends stays when all have expired.
  IF problem IS NULL AND records + unsealed = 0
    AND EXISTS (SELECT FROM keypup.accounts a WHERE a.account_id = the_account)
    AND NOT EXISTS (SELECT FROM keypup.audit_heads h WHERE h.account_id = the_account)
  THEN
    problem := 'where the chain ends is not known any more';
  END IF;
  is_intact := problem IS NULL;
END
$$;
REVOKE ALL ON FUNCTION keypup.verify_audit(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.verify_audit(text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.verify_audit(text, text) IS
  'Whether the account''s audit log is as it was sealed: how many records are, up to which number; otherwise the '
  'number of the first that is not, its record_id where it is there, and what is wrong. Records are sealed within a '
  'second or, while they are counted on, when that ends: unsealed says how many are not yet. The chain must have what '
  'the checkpoints that are kept say, and one that was kept elsewhere, where it is given. Takes audit.read.';
