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
CREATE FUNCTION keypup.new_name(name text, old_names text[], new_names text[]) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce(new_names[array_position(old_names, name)], name) $$;
CREATE FUNCTION keypup.new_name(names text[], old_names text[], new_names text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT ARRAY(SELECT DISTINCT coalesce(new_names[array_position(old_names, n.name)], n.name) COLLATE "C"
    FROM unnest(names) AS n (name) ORDER BY 1)
$$;
CREATE FUNCTION keypup.names_without(names text[], gone text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT ARRAY(SELECT n.name FROM unnest(names) WITH ORDINALITY AS n (name, position)
    WHERE n.name <> ALL (gone) ORDER BY n.position)
$$;
REVOKE ALL ON FUNCTION keypup.changed_names(jsonb, jsonb), keypup.new_name(text, text[], text[]),
  keypup.new_name(text[], text[], text[]), keypup.names_without(text[], text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.changed_names(jsonb, jsonb), keypup.new_name(text, text[], text[]),
  keypup.new_name(text[], text[], text[]), keypup.names_without(text[], text[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.changed_names(jsonb, jsonb) IS
  'Who, of what is known, is called otherwise now: ids, and beside them the names before and after; NULL for nobody. '
  'Both lists hold {id, name}.';
COMMENT ON FUNCTION keypup.new_name(text, text[], text[]) IS
  'A name, or the new one that stands beside it in the second list.';
COMMENT ON FUNCTION keypup.new_name(text[], text[], text[]) IS
  'Sorted names, with the new ones for those in the first list.';
COMMENT ON FUNCTION keypup.names_without(text[], text[]) IS 'Names in their order, but for those that are gone.';

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
BEGIN
  SELECT c.* INTO ids, old_names, new_names
  FROM keypup.changed_names((
    SELECT jsonb_agg(jsonb_build_object('id', l.external_id, 'name', l.name))
    FROM keypup.labels l
    WHERE l.account_id = account AND l.project_id = project
      AND EXISTS (
        SELECT FROM jsonb_to_recordset(seen) AS s (id text, name text)
        WHERE s.id = l.external_id AND s.name <> l.name
          OR s.id <> l.external_id AND s.name = l.name
            AND NOT EXISTS (
              SELECT FROM keypup.labels o
              WHERE o.account_id = account AND o.project_id = project AND o.external_id = s.id
                AND o.name IN (s.name, format('%s (%s)', s.name, s.id))))), seen) c;
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
  SELECT array_agg(c.old_name), array_agg(c.new_name) INTO old_names, new_names
  FROM unnest(ids, old_names, new_names) AS c (id, old_name, new_name)
  WHERE NOT EXISTS (
    SELECT FROM keypup.labels o
    WHERE o.account_id = account AND o.project_id = project AND o.name = c.old_name AND o.external_id <> ALL (ids));
  IF old_names IS NULL THEN
    RETURN;
  END IF;
  UPDATE keypup.pull_requests p SET labels = keypup.new_name(p.labels, old_names, new_names)
  WHERE p.account_id = account AND p.project_id = project AND p.labels && old_names;
  UPDATE keypup.issues i SET labels = keypup.new_name(i.labels, old_names, new_names)
  WHERE i.account_id = account AND i.project_id = project AND i.labels && old_names;
END
$$;
-- What another label is called, too, stays.
CREATE FUNCTION keypup.forget_labels(account uuid, project bigint, names text[]) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  gone text[] := ARRAY(
    SELECT n.name FROM unnest(names) AS n (name)
    WHERE NOT EXISTS (
      SELECT FROM keypup.labels l WHERE l.account_id = account AND l.project_id = project AND l.name = n.name));
BEGIN
  UPDATE keypup.pull_requests p SET labels = keypup.names_without(p.labels, gone)
  WHERE p.account_id = account AND p.project_id = project AND p.labels && gone;
  UPDATE keypup.issues i SET labels = keypup.names_without(i.labels, gone)
  WHERE i.account_id = account AND i.project_id = project AND i.labels && gone;
END
$$;
-- Items name their milestones by id: of two with one title, each has its own items.
CREATE FUNCTION keypup.follow_milestones(account uuid, project bigint, seen jsonb, asked_at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  ids text[];
  new_names text[];
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
  UPDATE keypup.pull_requests p SET milestone = keypup.new_name(p.milestone_ids[1], ids, new_names)
  WHERE p.account_id = account AND p.project_id = project AND p.milestone_ids[1] = ANY (ids);
  UPDATE keypup.issues i SET milestone = keypup.new_name(i.milestone_ids[1], ids, new_names)
  WHERE i.account_id = account AND i.project_id = project AND i.milestone_ids[1] = ANY (ids);
END
$$;
-- What is left of an item's milestones when some are gone, and the title of the first of these.
CREATE FUNCTION keypup.milestones_left(account uuid, project bigint, milestone_ids text[], gone text[],
  OUT left_ids text[], OUT title text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT l.ids, (
    SELECT m.title FROM keypup.milestones m
    WHERE m.account_id = account AND m.project_id = project AND m.external_id = l.ids[1])
  FROM (SELECT keypup.names_without(milestone_ids, gone) AS ids) AS l
$$;
CREATE FUNCTION keypup.forget_milestones(account uuid, project bigint, ids text[]) RETURNS void
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE keypup.pull_requests p
    SET (milestone_ids, milestone) = (SELECT l.left_ids, l.title
    FROM keypup.milestones_left(account, project, p.milestone_ids, ids) l)
  WHERE p.account_id = account AND p.project_id = project AND p.milestone_ids && ids;
  UPDATE keypup.issues i
    SET (milestone_ids, milestone) = (SELECT l.left_ids, l.title
    FROM keypup.milestones_left(account, project, i.milestone_ids, ids) l)
  WHERE i.account_id = account AND i.project_id = project AND i.milestone_ids && ids;
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
  keypup.milestones_left(uuid, bigint, text[], text[]), keypup.forget_milestones(uuid, bigint, text[]),
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
COMMENT ON FUNCTION keypup.milestones_left(uuid, bigint, text[], text[]) IS
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
  SELECT array_agg(c.external_id), array_agg(c.old_name) FILTER (WHERE NOT c.is_shared), array_agg(c.new_name),
    array_agg(c.new_name) FILTER (WHERE NOT c.is_shared)
  INTO ids, old_names, new_names, row_names
  FROM (
    SELECT u.external_id, u.old_name, u.new_name, EXISTS (
        SELECT FROM keypup.identities i
        WHERE i.connection_id = connection AND i.login = u.old_name AND i.account_id = account
          AND i.external_id <> ALL (ids)) AS is_shared
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
  UPDATE keypup.pull_requests p
  SET author = keypup.new_name(p.author, old_names, new_names),
    merged_by = keypup.new_name(p.merged_by, old_names, new_names),
    assignees = keypup.new_name(p.assignees, old_names, new_names),
    requested_reviewers = keypup.new_name(p.requested_reviewers, old_names, new_names)
  WHERE p.account_id = account AND p.project_id = ANY (projects)
    AND (p.author = ANY (old_names) OR p.merged_by = ANY (old_names) OR p.assignees && old_names
      OR p.requested_reviewers && old_names);
  UPDATE keypup.issues i
  SET author = keypup.new_name(i.author, old_names, new_names),
    assignees = keypup.new_name(i.assignees, old_names, new_names),
    closed_by = keypup.new_name(i.closed_by, old_names, new_names)
  WHERE i.account_id = account AND i.project_id = ANY (projects)
    AND (i.author = ANY (old_names) OR i.closed_by = ANY (old_names) OR i.assignees && old_names);
  UPDATE keypup.reviews r SET author = keypup.new_name(r.author, old_names, new_names)
  WHERE r.account_id = account AND r.project_id = ANY (projects) AND r.author = ANY (old_names);
  UPDATE keypup.pull_request_commits m SET author = keypup.new_name(m.author, old_names, new_names)
  WHERE m.account_id = account AND m.project_id = ANY (projects) AND m.author = ANY (old_names);
  UPDATE keypup.comments c SET author = keypup.new_name(c.author, old_names, new_names)
  WHERE c.account_id = account AND c.project_id = ANY (projects) AND c.author = ANY (old_names);
  UPDATE keypup.timeline_events t
  SET actor = keypup.new_name(t.actor, old_names, new_names), subject = keypup.new_name(t.subject, old_names, new_names)
  WHERE t.account_id = account AND t.project_id = ANY (projects)
    AND (t.actor = ANY (old_names) OR t.subject = ANY (old_names));
  UPDATE keypup.releases r SET author = keypup.new_name(r.author, old_names, new_names)
  WHERE r.account_id = account AND r.project_id = ANY (projects) AND r.author = ANY (old_names);
  UPDATE keypup.deployments d SET creator = keypup.new_name(d.creator, old_names, new_names)
  WHERE d.account_id = account AND d.project_id = ANY (projects) AND d.creator = ANY (old_names);
END
$$;
REVOKE ALL ON FUNCTION keypup.changed_people(uuid, uuid, jsonb), keypup.follow_people(uuid, uuid, jsonb, timestamptz)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.follow_labels(uuid, bigint, jsonb, timestamptz),
  keypup.forget_labels(uuid, bigint, text[]), keypup.follow_milestones(uuid, bigint, jsonb, timestamptz),
  keypup.milestones_left(uuid, bigint, text[], text[]), keypup.forget_milestones(uuid, bigint, text[]),
  keypup.unlisted_names(uuid, bigint, text),
  keypup.changed_people(uuid, uuid, jsonb), keypup.follow_people(uuid, uuid, jsonb, timestamptz) TO keypup_worker;
COMMENT ON FUNCTION keypup.changed_people(uuid, uuid, jsonb) IS
  'Who, of those seen as {id, name, kind}, or of those whose logins these have now, is called otherwise: as '
  'changed_names tells it.';
COMMENT ON FUNCTION keypup.follow_people(uuid, uuid, jsonb, timestamptz) IS
  'Carries new logins, seen as {id, name, kind}, through all that was read through a connection. Returns which they '
  'are; NULL: none.';
