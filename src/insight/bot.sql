-- insight/bot.sql: machine users. Which logins are bots the provider says, and, where it calls one a user, a member.
-- doc/metrics.md has what follows from it.

CREATE FUNCTION keypup.set_bot_mark(account_id uuid, login text, is_bot boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  meant keypup.identities[];
  one keypup.identities;
BEGIN
  -- Marking takes turns with merging, and with pages that are being stored (connection/connection.sql has the order).
  PERFORM FROM keypup.accounts a WHERE a.account_id = set_bot_mark.account_id FOR NO KEY UPDATE;
  SELECT array_agg(i ORDER BY i.connection_id, i.external_id) INTO meant
  FROM keypup.identities i
  JOIN keypup.connections c ON c.account_id = i.account_id AND c.connection_id = i.connection_id
  WHERE i.account_id = set_bot_mark.account_id AND i.kind NOT IN ('bot', 'team', 'organization')
    AND lower(set_bot_mark.login COLLATE "C")
      IN (lower(i.login COLLATE "C"), lower((c.name || '/' || i.login) COLLATE "C"));
  IF meant IS NULL THEN
    RAISE EXCEPTION 'login "%" is no user''s', login USING ERRCODE = 'undefined_object',
      HINT = 'SELECT login FROM keypup.person_logins shows the logins; those with is_bot are bots already.';
  ELSIF (SELECT count(DISTINCT coalesce(m.person_id::text, m.external_id)) FROM unnest(meant) AS m) > 1 THEN
    RAISE EXCEPTION 'login "%" is % users''', login, cardinality(meant) USING ERRCODE = 'ambiguous_parameter',
      HINT = 'Write connection/login.';
  ELSIF is_bot = ALL (SELECT m.is_marked_bot FROM unnest(meant) AS m) THEN
    RAISE EXCEPTION 'login "%" is % as a bot', login, CASE WHEN is_bot THEN 'already marked' ELSE 'not marked' END
      USING ERRCODE = 'object_not_in_prerequisite_state',
        HINT = 'SELECT login FROM keypup.identities WHERE is_marked_bot shows the logins that are.';
  END IF;
  FOREACH one IN ARRAY meant
  LOOP
    PERFORM keypup.hold_projects(account_id, one.connection_id, true);
    UPDATE keypup.identities i SET is_marked_bot = is_bot
    WHERE i.account_id = set_bot_mark.account_id AND i.connection_id = one.connection_id
      AND i.external_id = one.external_id;
    PERFORM keypup.rewrite_bot_flags(account_id, one.connection_id, one.login, is_bot);
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION keypup.set_bot_mark(uuid, text, boolean) FROM PUBLIC;
COMMENT ON FUNCTION keypup.set_bot_mark(uuid, text, boolean) IS 'What mark_bot and unmark_bot do. Granted to nobody.';

CREATE FUNCTION keypup.mark_bot(account text, login text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'users.manage');
BEGIN
  PERFORM keypup.set_bot_mark(the_account, login, true);
  PERFORM keypup.record_action(the_account, 'bot.mark', login);
END
$$;
REVOKE ALL ON FUNCTION keypup.mark_bot(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.mark_bot(text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.mark_bot(text, text) IS
  'Says that a login, which the provider calls a user, is a bot''s: in all that is stored, and all that will be. '
  'unmark_bot takes it back.';

CREATE FUNCTION keypup.unmark_bot(account text, login text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'users.manage');
BEGIN
  PERFORM keypup.set_bot_mark(the_account, login, false);
  PERFORM keypup.record_action(the_account, 'bot.unmark', login);
END
$$;
REVOKE ALL ON FUNCTION keypup.unmark_bot(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.unmark_bot(text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.unmark_bot(text, text) IS 'Says that a login that was marked is a person''s after all.';
