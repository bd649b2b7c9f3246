-- sync/people.sql: the people that a page names. A login that has changed stands in rows of all projects of the
-- connection: these are held first.

CREATE FUNCTION keypup.store_people(account uuid, project bigint, people keypup.provided_identity[],
  OUT old_names text[], OUT new_names text[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  connection uuid := (
    SELECT p.connection_id FROM keypup.projects p WHERE p.account_id = account AND p.project_id = project);
  named jsonb;
BEGIN
  -- Most have been met before, and are called as they were.
  IF NOT EXISTS (
    SELECT FROM unnest(people) AS a
    LEFT JOIN keypup.identities i
      ON i.account_id = account AND i.connection_id = connection AND i.external_id = a.external_id
    WHERE i.login IS NULL
      OR i.login <> a.login
      OR a.kind NOT IN (i.kind, 'unknown')
      OR i.name IS DISTINCT FROM a.name
  ) THEN
    RETURN;
  END IF;
  named := (
    SELECT coalesce(jsonb_agg(jsonb_build_object('id', a.external_id, 'name', a.login, 'kind', a.kind)), '[]')
    FROM unnest(people) AS a WHERE NOT a.is_guessed);
  IF (keypup.changed_people(account, connection, named)).ids IS NOT NULL THEN
    PERFORM keypup.hold_projects(account, connection, false);
    SELECT f.* INTO old_names, new_names
    FROM keypup.follow_people(account, connection, named, keypup.answer_asked_at(account, project)) f;
  END IF;
  PERFORM keypup.store_identities(account, connection, people);
END
$$;
REVOKE ALL ON FUNCTION keypup.store_people(uuid, bigint, keypup.provided_identity[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.store_people(uuid, bigint, keypup.provided_identity[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.store_people(uuid, bigint, keypup.provided_identity[]) IS
  'Stores the logins that a page of a project names, with a person for each user, and carries new logins through what '
  'is stored of its connection. Returns which these are; NULL: none.';
