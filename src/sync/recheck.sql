-- sync/recheck.sql: what is read again though nothing says that it changed, and what is gone. Not everything bumps an
-- item's time of change: open and just closed items are read again on a schedule, and a slice of all of them with each
-- sweep. A sweep compares all items with the provider's; what it did not find is asked for by id, and deleted once it
-- was gone twice.

CREATE VIEW keypup.stored_items WITH (security_invoker = true) AS
SELECT p.account_id, p.project_id, 'pull_requests' AS kind, coalesce(p.global_id, p.external_id) AS id, p.number,
  p.state = 'open' AS is_open, p.closed_at, p.is_read_early
FROM keypup.pull_requests p WHERE p.deleted_at IS NULL
UNION ALL
SELECT i.account_id, i.project_id, 'issues', coalesce(i.global_id, i.external_id), i.number, i.state = 'open',
  i.closed_at, i.is_read_early
FROM keypup.issues i WHERE i.deleted_at IS NULL
UNION ALL
SELECT r.account_id, r.project_id, 'releases', r.external_id, NULL, false, NULL, false
FROM keypup.releases r WHERE r.deleted_at IS NULL
UNION ALL
SELECT d.account_id, d.project_id, 'deployments', d.external_id, NULL, false, NULL, false
FROM keypup.deployments d WHERE d.deleted_at IS NULL;
REVOKE ALL ON keypup.stored_items FROM PUBLIC;
GRANT SELECT ON keypup.stored_items TO keypup_worker;
COMMENT ON VIEW keypup.stored_items IS 'What may be asked for by id, and is not known to be gone. For the worker.';
COMMENT ON COLUMN keypup.stored_items.account_id IS 'The account.';
COMMENT ON COLUMN keypup.stored_items.project_id IS 'The project.';
COMMENT ON COLUMN keypup.stored_items.kind IS 'pull_requests, issues, releases or deployments.';
COMMENT ON COLUMN keypup.stored_items.id IS 'The id by which the provider''s API asks for it.';
COMMENT ON COLUMN keypup.stored_items.number IS 'Number within the project; NULL where the kind has none.';
COMMENT ON COLUMN keypup.stored_items.is_open IS 'Whether it is an issue or a pull request that is open.';
COMMENT ON COLUMN keypup.stored_items.closed_at IS 'When it was closed.';
COMMENT ON COLUMN keypup.stored_items.is_read_early IS 'Whether it was read too soon after its last change.';

CREATE FUNCTION keypup.due_rechecks(account uuid, project bigint, OUT recheck boolean, OUT sweep boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  SELECT s.next_recheck_at <= now(), s.next_sweep_at <= now() INTO recheck, sweep
  FROM keypup.sync_state s WHERE s.account_id = account AND s.project_id = project;
  IF recheck OR sweep THEN
    UPDATE keypup.sync_state s
    SET next_recheck_at = CASE WHEN recheck THEN now() + current_setting('keypup.recheck_interval')::interval
                               ELSE s.next_recheck_at END,
      next_sweep_at = CASE WHEN sweep THEN now() + current_setting('keypup.sweep_interval')::interval
                           ELSE s.next_sweep_at END
    WHERE s.account_id = account AND s.project_id = project;
  END IF;
END
$$;
-- In PL/pgSQL, which keeps their plans.
CREATE FUNCTION keypup.items_to_recheck(account uuid, project bigint, OUT kind text, OUT ids jsonb) RETURNS SETOF record
LANGUAGE plpgsql STABLE ROWS 2 SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN QUERY
  SELECT i.kind, jsonb_agg(i.id ORDER BY i.number)
  FROM keypup.stored_items i
  WHERE i.account_id = account AND i.project_id = project AND (i.is_open OR i.closed_at > now() - interval '7 days')
  GROUP BY i.kind;
END
$$;
-- A provider's times have whole seconds: another change of the same one may be missing.
CREATE FUNCTION keypup.items_read_early(account uuid, project bigint, OUT kind text, OUT ids jsonb) RETURNS SETOF record
LANGUAGE plpgsql STABLE ROWS 2 SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN QUERY
  SELECT i.kind, jsonb_agg(i.id ORDER BY i.number)
  FROM keypup.stored_items i
  WHERE i.account_id = account AND i.project_id = project AND i.is_read_early
    AND NOT EXISTS (
      SELECT FROM keypup.sync_failures f WHERE f.account_id = account AND f.project_id = project AND f.item_id = i.id)
  GROUP BY i.kind;
END
$$;
-- The next slice of numbers, so long that a round of sweeps within keypup.full_reread_interval reads all items again.
CREATE FUNCTION keypup.next_slice(account uuid, project bigint, OUT kind text, OUT ids jsonb) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE ROWS 2 SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  sweeps bigint := greatest(1, floor(extract(epoch FROM current_setting('keypup.full_reread_interval')::interval)
    / extract(epoch FROM current_setting('keypup.sweep_interval')::interval)));
  newest bigint := greatest(
    (SELECT max(p.number) FROM keypup.pull_requests p WHERE p.account_id = account AND p.project_id = project),
    (SELECT max(i.number) FROM keypup.issues i WHERE i.account_id = account AND i.project_id = project));
  first_number bigint;
  last_number bigint;
BEGIN
  SELECT CASE WHEN s.reread_to >= newest THEN 1 ELSE s.reread_to + 1 END INTO first_number
  FROM keypup.sync_state s WHERE s.account_id = account AND s.project_id = project;
  last_number := first_number + least(newest - first_number, (newest - 1) / sweeps);
  UPDATE keypup.sync_state s SET reread_to = coalesce(last_number, 0)
  WHERE s.account_id = account AND s.project_id = project;
  RETURN QUERY
  SELECT i.kind, jsonb_agg(i.id ORDER BY i.number)
  FROM keypup.stored_items i
  WHERE i.account_id = account AND i.project_id = project AND i.number BETWEEN first_number AND last_number
  GROUP BY i.kind;
END
$$;
CREATE FUNCTION keypup.missing_items(account uuid, project bigint, of_kind text, seen int8multirange) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (
    SELECT jsonb_agg(jsonb_build_object('id', i.id, 'number', i.number) ORDER BY i.number)
    FROM keypup.stored_items i
    WHERE i.account_id = account AND i.project_id = project AND i.kind = of_kind AND NOT seen @> i.number);
END
$$;
REVOKE ALL ON FUNCTION keypup.due_rechecks(uuid, bigint), keypup.items_to_recheck(uuid, bigint),
  keypup.items_read_early(uuid, bigint), keypup.next_slice(uuid, bigint),
  keypup.missing_items(uuid, bigint, text, int8multirange) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.due_rechecks(uuid, bigint), keypup.items_to_recheck(uuid, bigint),
  keypup.items_read_early(uuid, bigint), keypup.next_slice(uuid, bigint),
  keypup.missing_items(uuid, bigint, text, int8multirange) TO keypup_worker;
COMMENT ON FUNCTION keypup.due_rechecks(uuid, bigint) IS
  'Whether items are to be read again, or all to be compared, in the run that begins; when that is due next counts '
  'from now.';
COMMENT ON FUNCTION keypup.items_to_recheck(uuid, bigint) IS
  'What is read again on a schedule: what is open, or was closed within a week.';
COMMENT ON FUNCTION keypup.items_read_early(uuid, bigint) IS
  'What was read too soon after its last change, and is read once more.';
COMMENT ON FUNCTION keypup.next_slice(uuid, bigint) IS 'The next slice of all items, changed or not.';
COMMENT ON FUNCTION keypup.missing_items(uuid, bigint, text, int8multirange) IS
  'What is stored of a kind whose numbers a whole sweep has not seen, as [{id, number}]; NULL: nothing.';

-- A job of kind existence asks for items by the id in each, which the provider answers as it can; of is what they are.
CREATE FUNCTION keypup.queue_existence(account uuid, project bigint, kind text, items jsonb, is_second boolean)
  RETURNS void
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
  SELECT keypup.queue_job(account, project, 'existence',
    jsonb_build_object('of', kind, 'items', w.list, 'is_second', is_second), false, now() + CASE
      WHEN is_second THEN current_setting('keypup.deletion_delay')::interval ELSE interval '0' END, false)
  FROM (SELECT jsonb_agg(e.item ORDER BY e.position) AS list
        FROM jsonb_array_elements(items) WITH ORDINALITY AS e (item, position) GROUP BY (e.position - 1) / 100) AS w
$$;
-- What an answer says is gone, and is not being asked for already, is asked for a second time: also what is not stored,
-- since to a token that loses sight of a project for a while nothing of it is there, and nobody else would ask again.
CREATE FUNCTION keypup.confirm_gone(account uuid, project bigint, of_kind text, gone jsonb) RETURNS void
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
  SELECT keypup.queue_existence(account, project, of_kind,
    jsonb_agg(jsonb_build_object('id', g.id, 'number', i.number) ORDER BY g.position), true)
  FROM jsonb_array_elements_text(gone) WITH ORDINALITY AS g (id, position)
  LEFT JOIN keypup.stored_items i
    ON i.account_id = account AND i.project_id = project AND i.kind = of_kind AND i.id = g.id
  WHERE NOT EXISTS (
    SELECT FROM keypup.sync_jobs j
    WHERE j.account_id = account AND j.project_id = project AND j.kind = 'existence'
      AND j.arguments -> 'items' @> jsonb_build_array(jsonb_build_object('id', g.id)))
  HAVING count(*) > 0
$$;
CREATE FUNCTION keypup.take_gone(account uuid, project bigint, arguments jsonb, gone jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  of_kind text := arguments ->> 'of';
  -- An id may be a number.
  ids text[] := ARRAY(SELECT g.item ->> 'id' FROM jsonb_array_elements(gone) AS g (item));
BEGIN
  IF of_kind IS NULL OR of_kind NOT IN ('pull_requests', 'issues', 'releases', 'deployments')
     OR array_position(ids, NULL) IS NOT NULL THEN
    RAISE EXCEPTION 'what is gone cannot be told: % of %', left(gone::text, 200), coalesce(of_kind, 'no kind')
      USING ERRCODE = 'invalid_parameter_value', HINT = 'A list of {id, number}, and one of the kinds of stored_items.';
  END IF;
  IF NOT coalesce((arguments ->> 'is_second')::boolean, false) THEN
    PERFORM keypup.queue_existence(account, project, of_kind, gone, true);
    RETURN;
  END IF;
  UPDATE keypup.pull_requests p SET deleted_at = now()
  WHERE of_kind = 'pull_requests' AND p.account_id = account AND p.project_id = project
    AND coalesce(p.global_id, p.external_id) = ANY (ids) AND p.deleted_at IS NULL;
  UPDATE keypup.issues i SET deleted_at = now()
  WHERE of_kind = 'issues' AND i.account_id = account AND i.project_id = project
    AND coalesce(i.global_id, i.external_id) = ANY (ids) AND i.deleted_at IS NULL;
  UPDATE keypup.releases r SET deleted_at = now()
  WHERE of_kind = 'releases' AND r.account_id = account AND r.project_id = project AND r.external_id = ANY (ids)
    AND r.deleted_at IS NULL;
  UPDATE keypup.deployments d SET deleted_at = now()
  WHERE of_kind = 'deployments' AND d.account_id = account AND d.project_id = project AND d.external_id = ANY (ids)
    AND d.deleted_at IS NULL;
END
$$;
REVOKE ALL ON FUNCTION keypup.queue_existence(uuid, bigint, text, jsonb, boolean),
  keypup.confirm_gone(uuid, bigint, text, jsonb), keypup.take_gone(uuid, bigint, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.queue_existence(uuid, bigint, text, jsonb, boolean),
  keypup.confirm_gone(uuid, bigint, text, jsonb), keypup.take_gone(uuid, bigint, jsonb, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.queue_existence(uuid, bigint, text, jsonb, boolean) IS
  'Asks whether items, [{id, number}], are still there; a second time after keypup.deletion_delay.';
COMMENT ON FUNCTION keypup.confirm_gone(uuid, bigint, text, jsonb) IS
  'Has it asked once more whether those are there, stored or not, that an answer, by their ids, says are gone.';
COMMENT ON FUNCTION keypup.take_gone(uuid, bigint, jsonb, jsonb) IS
  'Takes what a job of kind existence, with these arguments, found to be gone: marks it as deleted if that was the '
  'second time.';

-- An item may name a label or a milestone that the list did not have: one that is new, or one that was deleted, of
-- which the list will say no more. A whole list that was asked for since then tells which.
CREATE FUNCTION keypup.note_unlisted(account uuid, project bigint, kind text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE keypup.sync_state s SET unlisted = s.unlisted || jsonb_build_object(kind, clock_timestamp())
  WHERE s.account_id = account AND s.project_id = project
$$;
CREATE FUNCTION keypup.settle_unlisted(account uuid, project bigint, kind text, asked_at timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE keypup.sync_state s SET unlisted = s.unlisted - kind
  WHERE s.account_id = account AND s.project_id = project AND s.unlisted ? kind
    AND (s.unlisted ->> kind)::timestamptz
      NOT BETWEEN coalesce(asked_at, s.answer_asked_at, now()) AND clock_timestamp();
  RETURN FOUND;
END
$$;
CREATE FUNCTION keypup.take_whole_list(account uuid, project bigint, kind text, listed jsonb, asked_at timestamptz)
  RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  gone text[];
BEGIN
  IF kind = 'labels' THEN
    WITH deleted AS (
      DELETE FROM keypup.labels l
      WHERE l.account_id = account AND l.project_id = project AND NOT listed ? l.external_id
      RETURNING l.name
    )
    SELECT array_agg(d.name) INTO gone FROM deleted d;
  ELSE
    WITH deleted AS (
      DELETE FROM keypup.milestones m
      WHERE m.account_id = account AND m.project_id = project AND NOT listed ? m.external_id
      RETURNING m.external_id
    )
    SELECT array_agg(d.external_id) INTO gone FROM deleted d;
  END IF;
  IF keypup.settle_unlisted(account, project, kind, asked_at) THEN
    gone := gone || keypup.unlisted_names(account, project, kind);
  END IF;
  IF kind = 'labels' THEN
    PERFORM keypup.forget_labels(account, project, gone);
  ELSE
    PERFORM keypup.forget_milestones(account, project, gone);
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.note_unlisted(uuid, bigint, text),
  keypup.settle_unlisted(uuid, bigint, text, timestamptz),
  keypup.take_whole_list(uuid, bigint, text, jsonb, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.note_unlisted(uuid, bigint, text),
  keypup.settle_unlisted(uuid, bigint, text, timestamptz),
  keypup.take_whole_list(uuid, bigint, text, jsonb, timestamptz) TO keypup_worker;
COMMENT ON FUNCTION keypup.note_unlisted(uuid, bigint, text) IS
  'An item of a project names a label or a milestone (kind: labels, milestones) that is not known.';
COMMENT ON FUNCTION keypup.settle_unlisted(uuid, bigint, text, timestamptz) IS
  'Whether items may name what is not in the list that was just stored as a whole, and was asked for at that time; '
  'NULL: with the answer that is being taken.';
COMMENT ON FUNCTION keypup.take_whole_list(uuid, bigint, text, jsonb, timestamptz) IS
  'Forgets the labels or milestones (kind) of a project whose ids a whole list lacks, and takes them from its items. '
  'asked_at: when its first page was asked for; NULL: it is the one that is being taken.';
