-- sync/failure.sql: what could not be read or stored, though it was asked for alone. It is set aside, so that it holds
-- up nothing; each run whose time has come for it asks again, and a run that ends forgets what did not fail again.

CREATE TABLE keypup.sync_failures (
  account_id uuid NOT NULL,
  project_id bigint NOT NULL,
  kind text NOT NULL,
  item_id text NOT NULL,
  part text NOT NULL DEFAULT '',
  item_number bigint,
  reason text NOT NULL,
  since timestamptz NOT NULL DEFAULT now(),
  failed_at timestamptz NOT NULL DEFAULT now(),
  attempts bigint NOT NULL DEFAULT 1,
  next_try_at timestamptz NOT NULL DEFAULT now(),
  is_tried boolean NOT NULL DEFAULT false,
  arguments jsonb,
  PRIMARY KEY (account_id, project_id, kind, item_id, part),
  FOREIGN KEY (account_id, project_id) REFERENCES keypup.projects ON DELETE CASCADE
);
COMMENT ON TABLE keypup.sync_failures IS
  'What could not be read or stored, even alone: it is as it was before, or not there, and is tried again.';
COMMENT ON COLUMN keypup.sync_failures.project_id IS 'The project.';
COMMENT ON COLUMN keypup.sync_failures.kind IS
  'What was asked for: pull_requests, issues, releases, deployments, labels or milestones for one of them; otherwise '
  'a page of a list, in the provider''s own word, for example issue_stubs, or numbers.';
COMMENT ON COLUMN keypup.sync_failures.item_id IS
  'The provider''s id of the item, or where a page of a list begins; empty for the first page.';
COMMENT ON COLUMN keypup.sync_failures.part IS
  'Which of the item''s lists it is, for example reviews; empty for the item itself.';
COMMENT ON COLUMN keypup.sync_failures.item_number IS
  'Number of the issue or pull request; NULL for other kinds, and where it is not known.';
COMMENT ON COLUMN keypup.sync_failures.reason IS
  'What the provider said of it, what is missing in its answer, or why it could not be stored.';
COMMENT ON COLUMN keypup.sync_failures.since IS 'When it first failed.';
COMMENT ON COLUMN keypup.sync_failures.failed_at IS 'When it last failed.';
COMMENT ON COLUMN keypup.sync_failures.attempts IS 'In how many runs it failed.';
COMMENT ON COLUMN keypup.sync_failures.next_try_at IS
  'From when on a run asks for it again: the next run at first, then ten minutes later, doubling to a day. CALL '
  'keypup.sync and keypup.reread do not wait.';
COMMENT ON COLUMN keypup.sync_failures.is_tried IS
  'Whether it was asked for again; if it does not fail, the end of the run removes it from here.';
COMMENT ON COLUMN keypup.sync_failures.arguments IS 'What is asked again, where the item''s id does not say it.';
SELECT keypup.protect_table('keypup.sync_failures', 'data.read');

CREATE FUNCTION keypup.set_aside(account uuid, project bigint, failures jsonb) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  INSERT INTO keypup.sync_failures AS f (account_id, project_id, kind, item_id, part, item_number, reason, arguments)
  SELECT DISTINCT ON (n.kind, left(n.item_id, 500), coalesce(n.part, ''))
    account, project, n.kind, left(n.item_id, 500), coalesce(n.part, ''), n.item_number, left(n.reason, 500),
    n.arguments
  FROM jsonb_to_recordset(failures)
    AS n(kind text, item_id text, part text, item_number bigint, reason text, arguments jsonb)
  ON CONFLICT (account_id, project_id, kind, item_id, part) DO UPDATE
  SET item_number = coalesce(excluded.item_number, f.item_number), reason = excluded.reason,
    arguments = excluded.arguments,
    failed_at = now(), is_tried = false,
    -- A run may ask for it several times; only the one that was to try it again counts.
    attempts = f.attempts + f.is_tried::integer,
    next_try_at = CASE
      WHEN f.is_tried THEN now() + least(interval '1 day', interval '5 minutes' * 2 ^ least(f.attempts, 20))
      ELSE f.next_try_at END
$$;
REVOKE ALL ON FUNCTION keypup.set_aside(uuid, bigint, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.set_aside(uuid, bigint, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.set_aside(uuid, bigint, jsonb) IS
  'Sets aside what cannot be read or stored: a list of {kind, item_id, part, item_number, reason, arguments}.';

CREATE FUNCTION keypup.take_failures(account uuid, project bigint) RETURNS SETOF keypup.sync_failures
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN QUERY
  UPDATE keypup.sync_failures f SET is_tried = true
  WHERE f.account_id = account AND f.project_id = project AND f.next_try_at <= now() AND NOT f.is_tried
  RETURNING f.*;
END
$$;
REVOKE ALL ON FUNCTION keypup.take_failures(uuid, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.take_failures(uuid, bigint) TO keypup_worker;
COMMENT ON FUNCTION keypup.take_failures(uuid, bigint) IS
  'The failures of a project whose time has come; the caller asks for them in the run that goes on.';
