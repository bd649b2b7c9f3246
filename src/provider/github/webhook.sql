-- provider/github/webhook.sql: what GitHub's webhooks say. A payload is a hint that something changed: its ids are
-- taken and nothing else. What changed is read by the sync, like everything.

CREATE FUNCTION keypup.github_webhook_head(headers jsonb, OUT signature text, OUT delivery text, OUT event text,
  OUT content_type text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  -- Of two signatures, which one counts? None. X-Hub-Signature is SHA-1, and is not looked at.
  SELECT CASE WHEN count(*) FILTER (WHERE lower(h.key COLLATE "C") = 'x-hub-signature-256') = 1 THEN
      coalesce(substring(max(h.value) FILTER (WHERE lower(h.key COLLATE "C") = 'x-hub-signature-256')
        FROM '^sha256=(.*)$'), '') END,
         max(h.value) FILTER (WHERE lower(h.key COLLATE "C") = 'x-github-delivery'),
         max(h.value) FILTER (WHERE lower(h.key COLLATE "C") = 'x-github-event'),
         max(lower(h.value COLLATE "C")) FILTER (WHERE lower(h.key COLLATE "C") = 'content-type')
  FROM jsonb_each_text(CASE jsonb_typeof(headers) WHEN 'object' THEN headers ELSE '{}' END) AS h (key, value)
$$;
REVOKE ALL ON FUNCTION keypup.github_webhook_head(jsonb) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_webhook_head(jsonb) IS 'What the headers of a webhook say; their names in any case.';

-- The payload is looked at in plain expressions only: no statement has it as a parameter, and so no log.
CREATE FUNCTION keypup.github_take_webhook(account uuid, connection uuid, event text, payload jsonb) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  repository text := left(payload #>> '{repository,node_id}', 200);
  repository_name text := left(payload #>> '{repository,full_name}', 200);
  the_kind text;
  item jsonb;
  item_number bigint;
  item_id text;
  known_id text;
  the_project bigint;
  same_id boolean;
BEGIN
  IF event = 'ping' THEN
    RETURN 'pong';
  END IF;
  -- Webhooks may still write older objects' ids in their old form, so the name will do, too.
  SELECT p.project_id, coalesce(p.external_id = repository, false) INTO the_project, same_id
  FROM keypup.projects p
  WHERE p.account_id = account AND p.connection_id = connection
    AND (p.external_id = repository OR lower(p.name COLLATE "C") = lower(repository_name COLLATE "C"))
  ORDER BY 2 DESC LIMIT 1;
  PERFORM FROM keypup.sync_state s WHERE s.account_id = account AND s.project_id = the_project FOR KEY SHARE;
  IF NOT FOUND THEN
    RETURN 'ignored';  -- it is not tracked, or was untracked just now
  END IF;

  IF event IN ('pull_request', 'pull_request_review', 'pull_request_review_comment', 'pull_request_review_thread') THEN
    the_kind := 'pull_requests';
    item := payload -> 'pull_request';
    item_id := item ->> 'node_id';
  ELSIF event IN ('issues', 'issue_comment') AND payload -> 'issue' ? 'pull_request' THEN
    -- A comment on a pull request: the id here is that of the issue, by which pull requests are not found.
    the_kind := 'pull_requests';
    item := payload -> 'issue';
  ELSIF event IN ('issues', 'issue_comment') THEN
    the_kind := 'issues';
    item := payload -> 'issue';
    item_id := item ->> 'node_id';
  ELSIF event = 'sub_issues' THEN
    the_kind := 'issues';
    item := payload -> CASE WHEN payload ->> 'action' LIKE 'parent%' THEN 'sub_issue' ELSE 'parent_issue' END;
    item_id := item ->> 'node_id';
  ELSIF event IN ('deployment', 'deployment_status') THEN
    the_kind := 'deployments';
    item_id := substring(payload #>> '{deployment,node_id}' FROM '^[A-Za-z0-9_=+/-]{1,200}$');
  ELSIF event = 'release' AND payload ->> 'action' <> 'deleted' THEN
    -- One that was deleted is missed by a run.
    the_kind := 'releases';
    item_id := substring(payload #>> '{release,node_id}' FROM '^[A-Za-z0-9_=+/-]{1,200}$');
  END IF;
  IF item ->> 'number' ~ '^[0-9]{1,15}$' THEN
    item_number := item ->> 'number';
  END IF;
  IF the_kind = 'pull_requests' THEN
    SELECT r.global_id INTO known_id FROM keypup.pull_requests r
    WHERE r.account_id = account AND r.project_id = the_project AND r.number = item_number;
  ELSIF the_kind = 'issues' THEN
    SELECT i.global_id INTO known_id FROM keypup.issues i
    WHERE i.account_id = account AND i.project_id = the_project AND i.number = item_number;
  ELSIF the_kind = 'deployments' THEN
    SELECT d.external_id INTO known_id FROM keypup.deployments d
    WHERE d.account_id = account AND d.project_id = the_project AND d.external_id = item_id;
  ELSIF the_kind = 'releases' THEN
    SELECT r.external_id INTO known_id FROM keypup.releases r
    WHERE r.account_id = account AND r.project_id = the_project AND r.external_id = item_id;
  END IF;
  -- Where only the name is the same, an id that is not known might be another repository's.
  item_id := coalesce(known_id, CASE WHEN same_id AND item_id ~ '^[A-Za-z0-9_=+/-]{1,200}$' THEN item_id END);

  IF item_id IS NOT NULL THEN
    -- Not behind what the project waits for already: it is one item, and somebody looks at it.
    INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, arguments, in_run)
    SELECT account, p.connection_id, the_project, the_kind,
      jsonb_build_object('items', jsonb_build_array(item_id)), false
    FROM keypup.projects p
    WHERE p.account_id = account AND p.project_id = the_project
      AND NOT EXISTS (
        SELECT FROM keypup.sync_jobs j
        WHERE j.account_id = account AND j.project_id = the_project AND j.kind = the_kind AND j.lease_id IS NULL
          AND j.arguments -> 'items' ? item_id);
    RETURN 'queued';
  END IF;
  -- A run asks for what changed since the last. Ten seconds apart: some repositories have thousands of events an hour.
  -- What is not after the start of the last run is its own time: it goes on, and the next comes after it.
  UPDATE keypup.sync_state s
  SET next_run_at = least(CASE WHEN s.next_run_at > s.last_run_started_at THEN s.next_run_at END,
    greatest(clock_timestamp(), s.last_run_started_at + interval '10 seconds'))
  WHERE s.account_id = account AND s.project_id = the_project;
  RETURN 'run';
END
$$;
REVOKE ALL ON FUNCTION keypup.github_take_webhook(uuid, uuid, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_take_webhook(uuid, uuid, text, jsonb) IS
  'Queues a reading of the item that a payload names (queued), or else of what changed in its project (run). pong for '
  'a ping; ignored when the project is not tracked.';
