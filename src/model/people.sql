-- model/people.sql: logins, and the people behind them. What a page names gets here by sync's store_people.

CREATE TYPE keypup.provided_identity AS (external_id text, login text, name text, kind text, is_guessed boolean);
REVOKE ALL ON TYPE keypup.provided_identity FROM PUBLIC;
GRANT USAGE ON TYPE keypup.provided_identity TO keypup_worker;
COMMENT ON TYPE keypup.provided_identity IS
  'What a provider gives of a row of keypup.identities. is_guessed: external_id is made of the login, since the page '
  'does not have the id.';

CREATE FUNCTION keypup.store_identities(account uuid, connection uuid, people keypup.provided_identity[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  WITH seen AS MATERIALIZED (
    SELECT DISTINCT ON (a.external_id) a.external_id, a.login, a.name, a.kind FROM unnest(people) AS a
    ORDER BY a.external_id
  ), arrived AS MATERIALIZED (
    SELECT s.*, CASE WHEN s.kind = 'user' THEN gen_random_uuid() END AS person_id
    FROM seen s
    WHERE NOT EXISTS (
      SELECT FROM keypup.identities i
      WHERE i.account_id = account AND i.connection_id = connection AND i.external_id = s.external_id)
  ), changed AS MATERIALIZED (
    -- In one order, since another worker may have them in another page.
    SELECT i.external_id, s.login, s.name, CASE WHEN s.kind = 'unknown' THEN i.kind ELSE s.kind END AS kind
    FROM keypup.identities i JOIN seen s USING (external_id)
    WHERE i.account_id = account AND i.connection_id = connection
      AND ((i.login, i.name) IS DISTINCT FROM (s.login, s.name) OR s.kind NOT IN (i.kind, 'unknown'))
    ORDER BY i.external_id FOR NO KEY UPDATE OF i
  ), renamed AS (
    -- Who turns out to be a user has a person from then on.
    UPDATE keypup.identities i SET login = c.login, name = c.name, kind = c.kind,
      person_id = CASE WHEN i.person_id IS NULL AND c.kind = 'user' THEN gen_random_uuid() ELSE i.person_id END
    FROM changed c
    WHERE i.account_id = account AND i.connection_id = connection AND i.external_id = c.external_id
    RETURNING i.person_id, i.name, i.login
  ), stored AS (
    -- Another worker may have met the same people in another page.
    INSERT INTO keypup.identities (account_id, connection_id, external_id, login, name, kind, person_id)
    SELECT account, connection, a.external_id, a.login, a.name, a.kind, a.person_id FROM arrived a
    ON CONFLICT DO NOTHING
    RETURNING person_id, name, login
  )
  INSERT INTO keypup.people (account_id, person_id, name)
  SELECT account, s.person_id, coalesce(s.name, s.login)
  FROM (SELECT * FROM stored UNION ALL SELECT * FROM renamed) AS s WHERE s.person_id IS NOT NULL
  ON CONFLICT (account_id, person_id) DO NOTHING;
END
$$;
REVOKE ALL ON FUNCTION keypup.store_identities(uuid, uuid, keypup.provided_identity[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.store_identities(uuid, uuid, keypup.provided_identity[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.store_identities(uuid, uuid, keypup.provided_identity[]) IS
  'Stores logins, with a person for each user; new ones have been carried through what is stored (follow_people).';
