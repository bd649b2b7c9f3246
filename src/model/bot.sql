-- model/bot.sql: logins that the provider calls users, and somebody calls bots (mark_bot). Rows say of their author
-- whether it is a bot: those to come are stored so, those that are stored are rewritten. No view asks for the mark.

CREATE FUNCTION keypup.marked_bots(account uuid, project bigint) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (
    SELECT array_agg(i.login)
    FROM keypup.projects p
    JOIN keypup.identities i ON i.account_id = p.account_id AND i.connection_id = p.connection_id AND i.is_marked_bot
    WHERE p.account_id = account AND p.project_id = project);
END
$$;
REVOKE ALL ON FUNCTION keypup.marked_bots(uuid, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.marked_bots(uuid, bigint) TO keypup_worker;
COMMENT ON FUNCTION keypup.marked_bots(uuid, bigint) IS
  'The logins that are marked as bots where a project is read; NULL: none.';

-- By whoever holds all projects of the connection: none of its rows is being stored meanwhile. Where a bot of the
-- provider has the same login, its rows cannot be told apart: they stay bots' until they are read again.
CREATE FUNCTION keypup.rewrite_bot_flags(account uuid, connection uuid, login text, is_bot boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  projects bigint[] := ARRAY(SELECT p.project_id FROM keypup.projects p WHERE p.account_id = account
    AND p.connection_id = connection);
  touched record;
BEGIN
  IF NOT is_bot AND EXISTS (SELECT FROM keypup.identities i
      WHERE i.account_id = account AND i.connection_id = connection AND i.login = rewrite_bot_flags.login
        AND (i.kind = 'bot' OR i.is_marked_bot)) THEN
    RETURN;
  END IF;
  UPDATE keypup.pull_requests p SET author_is_bot = is_bot
  WHERE p.account_id = account AND p.project_id = ANY (projects) AND p.author = login AND p.author_is_bot <> is_bot;
  UPDATE keypup.issues i SET author_is_bot = is_bot
  WHERE i.account_id = account AND i.project_id = ANY (projects) AND i.author = login AND i.author_is_bot <> is_bot;
  UPDATE keypup.releases r SET author_is_bot = is_bot
  WHERE r.account_id = account AND r.project_id = ANY (projects) AND r.author = login AND r.author_is_bot <> is_bot;
  UPDATE keypup.deployments d SET creator_is_bot = is_bot
  WHERE d.account_id = account AND d.project_id = ANY (projects) AND d.creator = login AND d.creator_is_bot <> is_bot;
  UPDATE keypup.pull_request_commits m SET author_is_bot = is_bot
  WHERE m.account_id = account AND m.project_id = ANY (projects) AND m.author = login AND m.author_is_bot <> is_bot;
  FOR touched IN
    WITH reviewed AS (
      UPDATE keypup.reviews r SET author_is_bot = is_bot
      WHERE r.account_id = account AND r.project_id = ANY (projects) AND r.author = login AND r.author_is_bot <> is_bot
      RETURNING r.project_id, r.pull_request_number AS number
    ), commented AS (
      UPDATE keypup.comments c SET author_is_bot = is_bot
      WHERE c.account_id = account AND c.project_id = ANY (projects) AND c.author = login AND c.author_is_bot <> is_bot
      RETURNING c.project_id, c.item_number AS number
    )
    SELECT t.project_id, array_agg(t.number) AS numbers
    FROM (SELECT * FROM reviewed UNION SELECT * FROM commented) AS t GROUP BY t.project_id
  LOOP
    PERFORM keypup.derive_pull_requests(account, touched.project_id, touched.numbers);
    PERFORM keypup.derive_issues(account, touched.project_id, touched.numbers);
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION keypup.rewrite_bot_flags(uuid, uuid, text, boolean) FROM PUBLIC;
COMMENT ON FUNCTION keypup.rewrite_bot_flags(uuid, uuid, text, boolean) IS
  'Says in all rows by a login, of what was read through a connection, whether it is a bot''s. Granted to nobody.';
