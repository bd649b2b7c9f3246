-- insight/stale.sql: from when on what is open counts as left alone.

CREATE FUNCTION keypup.set_stale_after(account text, span interval) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET intervalstyle = 'postgres'
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'settings.write');
BEGIN
  IF span IS NULL OR span NOT BETWEEN interval '1 day' AND interval '3650 days' THEN
    RAISE EXCEPTION 'stale after % is out of range', coalesce(span::text, 'NULL')
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Give 1 to 3650 days.';
  END IF;
  UPDATE keypup.accounts a SET stale_after = span WHERE a.account_id = the_account;
  PERFORM keypup.record_action(the_account, 'account.stale_after', span::text);
END
$$;
REVOKE ALL ON FUNCTION keypup.set_stale_after(text, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.set_stale_after(text, interval) TO keypup_member;
COMMENT ON FUNCTION keypup.set_stale_after(text, interval) IS
  'Says after how long without a change an open issue or pull request is stale, or abandoned; the views go by it from '
  'the next statement on.';
