-- model/name.sql: names that change at the provider. Rows name people, labels and milestones by their names, and the
-- provider's id tells when one is called otherwise. A new name is carried through what is stored before anything is
-- stored that came with it: so a stored name always means the one that had it when its row was read. An answer that was
-- asked for before a name was stored may be older than that: where it tells another, it is asked again.

-- A name that another has now belonged to somebody before, whose new one may not be known yet: NAME (ID) stands for it
-- until it is.
CREATE FUNCTION keypup.changed_names(known jsonb, seen jsonb, OUT ids text[], OUT old_names text[],
  OUT new_names text[])
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF known IS NULL THEN
    RETURN;
  END IF;
  WITH k AS (SELECT DISTINCT e ->> 'id' AS id, e ->> 'name' AS name FROM jsonb_array_elements(known) AS e),
    s AS (SELECT DISTINCT ON (1) e ->> 'id' AS id, e ->> 'name' AS name FROM jsonb_array_elements(seen) AS e
      ORDER BY 1),
    changed (id, old_name, new_name) AS (
      SELECT k.id, k.name, s.name FROM k JOIN s USING (id) WHERE k.name <> s.name
      UNION ALL
      SELECT k.id, k.name, format('%s (%s)', k.name, k.id)
      FROM k
      WHERE EXISTS (SELECT FROM s WHERE s.name = k.name AND s.id <> k.id)
        AND NOT EXISTS (SELECT FROM s WHERE s.id = k.id)
    )
  SELECT array_agg(c.id), array_agg(c.old_name), array_agg(c.new_name) INTO ids, old_names, new_names FROM changed c;
END
$$;
-- Names and what becomes of each are members of an object, in which one is found at once: a page may rename thousands,
-- and an item may have as many.
CREATE FUNCTION keypup.new_name(name text, renamed jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce(renamed ->> name, name) $$;
CREATE FUNCTION keypup.new_name(names text[], renamed jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT ARRAY(SELECT DISTINCT coalesce(renamed ->> n.name, n.name) COLLATE "C" FROM unnest(names) AS n (name)
    ORDER BY 1)
$$;
CREATE FUNCTION keypup.names_without(names text[], gone jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT ARRAY(SELECT n.name FROM unnest(names) WITH ORDINALITY AS n (name, position)
    WHERE NOT gone ? n.name ORDER BY n.position)
$$;
REVOKE ALL ON FUNCTION keypup.changed_names(jsonb, jsonb), keypup.new_name(text, jsonb),
  keypup.new_name(text[], jsonb), keypup.names_without(text[], jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.changed_names(jsonb, jsonb), keypup.new_name(text, jsonb),
  keypup.new_name(text[], jsonb), keypup.names_without(text[], jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.changed_names(jsonb, jsonb) IS
  'Who, of what is known, is called otherwise now: ids, and beside them the names before and after; NULL for nobody. '
  'Both lists hold {id, name}.';
COMMENT ON FUNCTION keypup.new_name(text, jsonb) IS
  'A name, or the new one for it: renamed has old names as members, and new ones as their values.';
COMMENT ON FUNCTION keypup.new_name(text[], jsonb) IS 'Sorted names, with the new ones for those that are renamed.';
COMMENT ON FUNCTION keypup.names_without(text[], jsonb) IS
  'Names in their order, but for those that are members of gone.';

-- Names that this very transaction has stored came with the same answer; those of the future were stored by a clock
-- that was wrong.
CREATE FUNCTION keypup.refuse_older_names(asked_at timestamptz, named_at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF named_at > asked_at AND named_at <> now() AND named_at <= clock_timestamp() THEN
    RAISE EXCEPTION 'a name was stored since an answer was asked for that tells another'
      USING ERRCODE = 'lock_not_available';
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.refuse_older_names(timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.refuse_older_names(timestamptz, timestamptz) TO keypup_worker;
COMMENT ON FUNCTION keypup.refuse_older_names(timestamptz, timestamptz) IS
  'SQLSTATE 55P03, after which a job is asked again, where the newest of the names that would change was stored since '
  'its answer was asked for.';

-- A label that takes the name of another has it alone: what that one is called now is not known yet. But two may bear
-- one name, as a group's and a project's do: both stand in one list, or who is called NAME (ID) is told as NAME again.
CREATE FUNCTION keypup.follow_labels(account uuid, project bigint, seen jsonb, asked_at timestamptz,
  OUT old_names text[], OUT new_names text[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  ids text[];
  changed jsonb;
  renamed jsonb;
BEGIN
  SELECT c.* INTO ids, old_names, new_names
  FROM keypup.changed_names((
    SELECT jsonb_agg(jsonb_build_object('id', k.external_id, 'name', k.name))
    FROM (
      SELECT l.external_id, l.name
      FROM jsonb_to_recordset(seen) AS s (id text, name text)
      JOIN keypup.labels l ON l.account_id = account AND l.project_id = project AND l.external_id = s.id
      WHERE l.name <> s.name
      UNION
      SELECT l.external_id, l.name
      FROM jsonb_to_recordset(seen) AS s (id text, name text)
      JOIN keypup.labels l ON l.account_id = account AND l.project_id = project AND l.name = s.name
      WHERE l.external_id <> s.id
        AND NOT EXISTS (
          SELECT FROM keypup.labels o
          WHERE o.account_id = account AND o.project_id = project AND o.external_id = s.id
            AND o.name IN (s.name, format('%s (%s)', s.name, s.id)))
    ) AS k), seen) c;
  IF ids IS NULL THEN
    RETURN;
  END IF;
  PERFORM keypup.refuse_older_names(asked_at, (
    SELECT max(l.named_at) FROM keypup.labels l
    WHERE l.account_id = account AND l.project_id = project AND l.external_id = ANY (ids)));
  UPDATE keypup.labels l SET name = c.name, named_at = now()
  FROM unnest(ids, new_names) AS c (id, name)
  WHERE l.account_id = account AND l.project_id = project AND l.external_id = c.id;
  -- Which of two an item has cannot be told where the other keeps the name: it stays until the item is read again.
  changed := jsonb_object(ids, ids);
  SELECT array_agg(c.old_name), array_agg(c.new_name) INTO old_names, new_names
  FROM unnest(ids, old_names, new_names) AS c (id, old_name, new_name)
  WHERE NOT EXISTS (
    SELECT FROM keypup.labels o
    WHERE o.account_id = account AND o.project_id = project AND o.name = c.old_name
      AND NOT changed ? o.external_id);
  IF old_names IS NULL THEN
    RETURN;
  END IF;
  renamed := jsonb_object(old_names, new_names);
  UPDATE keypup.pull_requests p SET labels = keypup.new_name(p.labels, renamed)
  WHERE p.account_id = account AND p.project_id = project AND renamed ?| p.labels;
  UPDATE keypup.issues i SET labels = keypup.new_name(i.labels, renamed)
  WHERE i.account_id = account AND i.project_id = project AND renamed ?| i.labels;
END
$$;
-- What another label is called, too, stays.
CREATE FUNCTION keypup.forget_labels(account uuid, project bigint, names text[]) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  gone jsonb := (
    SELECT coalesce(jsonb_object_agg(n.name, true), '{}') FROM unnest(names) AS n (name)
    WHERE NOT EXISTS (
      SELECT FROM keypup.labels l WHERE l.account_id = account AND l.project_id = project AND l.name = n.name));
BEGIN
  UPDATE keypup.pull_requests p SET labels = keypup.names_without(p.labels, gone)
  WHERE p.account_id = account AND p.project_id = project AND gone ?| p.labels;
  UPDATE keypup.issues i SET labels = keypup.names_without(i.labels, gone)
  WHERE i.account_id = account AND i.project_id = project AND gone ?| i.labels;
END
$$;
-- Items name their milestones by id: of two with one title, each has its own items.
CREATE FUNCTION keypup.follow_milestones(account uuid, project bigint, seen jsonb, asked_at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  ids text[];
  new_names text[];
  renamed jsonb;
  named_at timestamptz;
BEGIN
  SELECT array_agg(m.external_id), array_agg(s.name), max(m.named_at) INTO ids, new_names, named_at
  FROM (
    SELECT DISTINCT ON (s.id) s.id, s.name FROM jsonb_to_recordset(seen) AS s (id text, name text) ORDER BY s.id
  ) AS s
  JOIN keypup.milestones m ON m.account_id = account AND m.project_id = project AND m.external_id = s.id
  WHERE m.title <> s.name;
  IF ids IS NULL THEN
    RETURN;
  END IF;
  PERFORM keypup.refuse_older_names(asked_at, named_at);
  UPDATE keypup.milestones m SET title = c.name, named_at = now()
  FROM unnest(ids, new_names) AS c (id, name)
  WHERE m.account_id = account AND m.project_id = project AND m.external_id = c.id;
  renamed := jsonb_object(ids, new_names);
  UPDATE keypup.pull_requests p SET milestone = renamed ->> p.milestone_ids[1]
  WHERE p.account_id = account AND p.project_id = project AND renamed ? p.milestone_ids[1];
  UPDATE keypup.issues i SET milestone = renamed ->> i.milestone_ids[1]
  WHERE i.account_id = account AND i.project_id = project AND renamed ? i.milestone_ids[1];
END
$$;
-- What is left of an item's milestones when some are gone, and the title of the first of these.
CREATE FUNCTION keypup.milestones_left(account uuid, project bigint, milestone_ids text[], gone jsonb,
  OUT left_ids text[], OUT title text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT l.ids, (
    SELECT m.title FROM keypup.milestones m
    WHERE m.account_id = account AND m.project_id = project AND m.external_id = l.ids[1])
  FROM (SELECT keypup.names_without(milestone_ids, gone) AS ids) AS l
$$;
CREATE FUNCTION keypup.forget_milestones(account uuid, project bigint, ids text[]) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  gone jsonb := jsonb_object(ids, ids);
BEGIN
  UPDATE keypup.pull_requests p
    SET (milestone_ids, milestone) = (SELECT l.left_ids, l.title
    FROM keypup.milestones_left(account, project, p.milestone_ids, gone) l)
  WHERE p.account_id = account AND p.project_id = project AND gone ?| p.milestone_ids;
  UPDATE keypup.issues i
    SET (milestone_ids, milestone) = (SELECT l.left_ids, l.title
    FROM keypup.milestones_left(account, project, i.milestone_ids, gone) l)
  WHERE i.account_id = account AND i.project_id = project AND gone ?| i.milestone_ids;
END
$$;
CREATE FUNCTION keypup.unlisted_names(account uuid, project bigint, kind text) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT array_agg(n.name) FROM (
    SELECT unnest(CASE kind WHEN 'labels' THEN p.labels ELSE p.milestone_ids END) AS name
    FROM keypup.pull_requests p WHERE p.account_id = account AND p.project_id = project
    UNION
    SELECT unnest(CASE kind WHEN 'labels' THEN i.labels ELSE i.milestone_ids END)
    FROM keypup.issues i WHERE i.account_id = account AND i.project_id = project
    EXCEPT
    SELECT l.name FROM keypup.labels l WHERE kind = 'labels' AND l.account_id = account AND l.project_id = project
    EXCEPT
    SELECT m.external_id
    FROM keypup.milestones m WHERE kind = 'milestones' AND m.account_id = account AND m.project_id = project) AS n
$$;
REVOKE ALL ON FUNCTION keypup.follow_labels(uuid, bigint, jsonb, timestamptz),
  keypup.forget_labels(uuid, bigint, text[]), keypup.follow_milestones(uuid, bigint, jsonb, timestamptz),
  keypup.milestones_left(uuid, bigint, text[], jsonb), keypup.forget_milestones(uuid, bigint, text[]),
  keypup.unlisted_names(uuid, bigint, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.follow_labels(uuid, bigint, jsonb, timestamptz) IS
  'Carries new names of labels, seen as {id, name}, through a project. Returns which names the items have otherwise; '
  'NULL: none.';
COMMENT ON FUNCTION keypup.forget_labels(uuid, bigint, text[]) IS
  'Takes labels that were deleted from the items of a project, unless another has the same name.';
COMMENT ON FUNCTION keypup.unlisted_names(uuid, bigint, text) IS
  'The labels, or the ids of the milestones (kind), that items of a project have, and the project has not; NULL: none.';
COMMENT ON FUNCTION keypup.follow_milestones(uuid, bigint, jsonb, timestamptz) IS
  'Carries new titles of milestones, seen as {id, name}, through a project.';
COMMENT ON FUNCTION keypup.milestones_left(uuid, bigint, text[], jsonb) IS
  'Milestones of an item but for those that are gone, and the title of the first.';
COMMENT ON FUNCTION keypup.forget_milestones(uuid, bigint, text[]) IS
  'Takes the items of a project out of milestones, named by their ids, that were deleted.';

CREATE FUNCTION keypup.changed_people(account uuid, connection uuid, seen jsonb, OUT ids text[], OUT old_names text[],
  OUT new_names text[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  SELECT c.* INTO ids, old_names, new_names
  FROM keypup.changed_names((
    SELECT jsonb_agg(jsonb_build_object('id', k.external_id, 'name', k.login))
    FROM (
      SELECT i.external_id, i.login FROM jsonb_array_elements(seen) AS s (person)
      JOIN keypup.identities i ON i.account_id = account AND i.connection_id = connection
        AND i.external_id = s.person ->> 'id'
      UNION
      SELECT i.external_id, i.login FROM jsonb_array_elements(seen) AS s (person)
      -- A bot may have the login of a user, and neither has taken it from the other.
      JOIN keypup.identities i ON i.connection_id = connection AND i.login = s.person ->> 'name'
        AND i.account_id = account AND i.kind = s.person ->> 'kind'
    ) AS k), seen) c;
END
$$;
-- By whoever holds all projects of the connection (hold_projects): none of its rows is being stored meanwhile.
CREATE FUNCTION keypup.follow_people(account uuid, connection uuid, seen jsonb, asked_at timestamptz,
  OUT old_names text[], OUT new_names text[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  ids text[];
  row_names text[];
  changed jsonb;
  renamed jsonb;
  projects bigint[];
BEGIN
  SELECT c.* INTO ids, old_names, new_names FROM keypup.changed_people(account, connection, seen) c;
  IF ids IS NULL THEN
    RETURN;
  END IF;
  PERFORM keypup.refuse_older_names(asked_at,
    (SELECT max(i.named_at) FROM keypup.identities i
     WHERE i.account_id = account AND i.connection_id = connection AND i.external_id = ANY (ids)));
  -- Which rows are whose cannot be told where another has the same login: those stay.
  changed := jsonb_object(ids, ids);
  SELECT array_agg(c.external_id), array_agg(c.old_name) FILTER (WHERE NOT c.is_shared), array_agg(c.new_name),
    array_agg(c.new_name) FILTER (WHERE NOT c.is_shared)
  INTO ids, old_names, new_names, row_names
  FROM (
    SELECT u.external_id, u.old_name, u.new_name, EXISTS (
        SELECT FROM keypup.identities i
        WHERE i.connection_id = connection AND i.login = u.old_name AND i.account_id = account
          AND NOT changed ? i.external_id) AS is_shared
    FROM unnest(ids, old_names, new_names) AS u (external_id, old_name, new_name)
  ) AS c;
  projects := ARRAY(
    SELECT p.project_id FROM keypup.projects p
    WHERE p.account_id = account AND p.connection_id = connection);
  UPDATE keypup.identities i SET login = c.name, named_at = now()
  FROM unnest(ids, new_names) AS c (id, name)
  WHERE i.account_id = account AND i.connection_id = connection AND i.external_id = c.id;
  new_names := row_names;
  IF old_names IS NULL THEN
    RETURN;
  END IF;
  renamed := jsonb_object(old_names, new_names);
  UPDATE keypup.pull_requests p
  SET author = keypup.new_name(p.author, renamed),
    merged_by = keypup.new_name(p.merged_by, renamed),
    assignees = keypup.new_name(p.assignees, renamed),
    requested_reviewers = keypup.new_name(p.requested_reviewers, renamed)
  WHERE p.account_id = account AND p.project_id = ANY (projects)
    AND (renamed ? p.author OR renamed ? p.merged_by OR renamed ?| p.assignees
      OR renamed ?| p.requested_reviewers);
  UPDATE keypup.issues i
  SET author = keypup.new_name(i.author, renamed),
    assignees = keypup.new_name(i.assignees, renamed),
    closed_by = keypup.new_name(i.closed_by, renamed)
  WHERE i.account_id = account AND i.project_id = ANY (projects)
    AND (renamed ? i.author OR renamed ? i.closed_by OR renamed ?| i.assignees);
  UPDATE keypup.reviews r SET author = keypup.new_name(r.author, renamed)
  WHERE r.account_id = account AND r.project_id = ANY (projects) AND renamed ? r.author;
  UPDATE keypup.pull_request_commits m SET author = keypup.new_name(m.author, renamed)
  WHERE m.account_id = account AND m.project_id = ANY (projects) AND renamed ? m.author;
  UPDATE keypup.comments c SET author = keypup.new_name(c.author, renamed)
  WHERE c.account_id = account AND c.project_id = ANY (projects) AND renamed ? c.author;
  UPDATE keypup.timeline_events t
  SET actor = keypup.new_name(t.actor, renamed), subject = keypup.new_name(t.subject, renamed)
  WHERE t.account_id = account AND t.project_id = ANY (projects)
    AND (renamed ? t.actor OR renamed ? t.subject);
  UPDATE keypup.releases r SET author = keypup.new_name(r.author, renamed)
  WHERE r.account_id = account AND r.project_id = ANY (projects) AND renamed ? r.author;
  UPDATE keypup.deployments d SET creator = keypup.new_name(d.creator, renamed)
  WHERE d.account_id = account AND d.project_id = ANY (projects) AND renamed ? d.creator;
END
$$;
REVOKE ALL ON FUNCTION keypup.changed_people(uuid, uuid, jsonb), keypup.follow_people(uuid, uuid, jsonb, timestamptz)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.follow_labels(uuid, bigint, jsonb, timestamptz),
  keypup.forget_labels(uuid, bigint, text[]), keypup.follow_milestones(uuid, bigint, jsonb, timestamptz),
  keypup.milestones_left(uuid, bigint, text[], jsonb), keypup.forget_milestones(uuid, bigint, text[]),
  keypup.unlisted_names(uuid, bigint, text),
  keypup.changed_people(uuid, uuid, jsonb), keypup.follow_people(uuid, uuid, jsonb, timestamptz) TO keypup_worker;
COMMENT ON FUNCTION keypup.changed_people(uuid, uuid, jsonb) IS
  'Who, of those seen as {id, name, kind}, or of those whose logins these have now, is called otherwise: as '
  'changed_names tells it.';
COMMENT ON FUNCTION keypup.follow_people(uuid, uuid, jsonb, timestamptz) IS
  'Carries new logins, seen as {id, name, kind}, through all that was read through a connection. Returns which they '
  'are; NULL: none.';
