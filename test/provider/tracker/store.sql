-- tracker/store.sql: what a page becomes in the tables, and what is asked next.

CREATE FUNCTION keypup.tracker_store_project(account uuid, project bigint, reply jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  -- All keys of the issues change with it, and none of their times.
  is_renamed boolean := (SELECT p.external_id IS NOT NULL AND p.name <> reply ->> 'key' FROM keypup.projects p
                         WHERE p.account_id = account AND p.project_id = project);
BEGIN
  UPDATE keypup.projects p
  SET external_id = reply ->> 'id', name = reply ->> 'key', url = reply ->> 'url',
    is_archived = (reply ->> 'archived')::boolean, has_issues = true, created_at = (reply ->> 'created')::timestamptz,
    issue_total = (reply ->> 'issueTotal')::bigint, pull_request_total = 0
  WHERE p.account_id = account AND p.project_id = project;
  PERFORM keypup.follow_labels(account, project, (
    SELECT jsonb_agg(jsonb_build_object('id', l ->> 'id', 'name', l ->> 'name'))
    FROM jsonb_array_elements(reply -> 'labels') AS l));
  INSERT INTO keypup.labels AS l (account_id, project_id, external_id, name, color)
  SELECT account, project, n.id, n.name, n.color FROM jsonb_to_recordset(reply -> 'labels') AS n (id text, name text, color text)
  ON CONFLICT (account_id, project_id, external_id) DO UPDATE SET name = excluded.name, color = excluded.color
  WHERE (l.name, l.color) IS DISTINCT FROM (excluded.name, excluded.color);
  PERFORM keypup.queue_job(account, project, 'versions', '{}'::jsonb, true, now(), false);
  PERFORM keypup.queue_job(account, project, 'issues', CASE WHEN is_renamed THEN '{"all": true}' ELSE '{}' END::jsonb,
    true, now(), false);
END
$$;

CREATE FUNCTION keypup.tracker_store_versions(account uuid, project bigint, nodes jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM keypup.follow_milestones(account, project, (
    SELECT jsonb_agg(jsonb_build_object('id', v ->> 'id', 'name', v ->> 'name')) FROM jsonb_array_elements(nodes) AS v));
  INSERT INTO keypup.milestones AS m (account_id, project_id, external_id, number, title, state, due_on, closed_at)
  SELECT account, project, v.id::text, v.id, v.name, CASE WHEN v.released THEN 'closed' ELSE 'open' END, v.due,
    v."releasedAt"
  FROM jsonb_to_recordset(nodes) AS v (id bigint, name text, released boolean, due timestamptz, "releasedAt" timestamptz)
  ON CONFLICT (account_id, project_id, external_id) DO UPDATE
  SET title = excluded.title, state = excluded.state, due_on = excluded.due_on, closed_at = excluded.closed_at
  WHERE (m.title, m.state, m.due_on, m.closed_at)
    IS DISTINCT FROM (excluded.title, excluded.state, excluded.due_on, excluded.closed_at);
END
$$;

CREATE FUNCTION keypup.tracker_store_issues(account uuid, connection uuid, project bigint, nodes jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  numbers bigint[] := ARRAY(SELECT (n ->> 'id')::bigint FROM jsonb_array_elements(nodes) AS n);
  left_behind bigint[];
BEGIN
  WITH stored AS (
    INSERT INTO keypup.identities (account_id, connection_id, external_id, login, name, kind, person_id)
    SELECT DISTINCT account, connection, a.id, a.login, a.name, 'user', md5(connection || a.id)::uuid
    FROM keypup.json_objects(nodes, 'login', '{id,login,name}'::text[]) AS a (id text, login text, name text)
    ON CONFLICT DO NOTHING RETURNING person_id, name, login
  )
  INSERT INTO keypup.people (account_id, person_id, name)
  SELECT account, s.person_id, coalesce(s.name, s.login) FROM stored s;
  -- What was moved here is in its old project no more.
  left_behind := ARRAY(
    SELECT i.number FROM keypup.projects p JOIN keypup.issues i USING (account_id, project_id)
    WHERE p.account_id = account AND p.connection_id = connection AND p.project_id <> project
      AND i.number = ANY (numbers) AND i.deleted_at IS NULL);
  IF left_behind <> '{}' THEN
    PERFORM keypup.hold_projects(account, connection, false);
    UPDATE keypup.issues i SET deleted_at = now()
    FROM keypup.projects p
    WHERE p.account_id = account AND p.connection_id = connection AND p.project_id <> project
      AND i.account_id = account AND i.project_id = p.project_id AND i.number = ANY (left_behind);
  END IF;
  INSERT INTO keypup.issues AS i (account_id, project_id, number, key, external_id, node_id, url, title, state, state_reason,
    type, author, created_at, updated_at, closed_at, labels, assignees, milestone)
  SELECT account, project, n.id, n.key, n.id::text, n.id::text, n.url, n.title,
    CASE n.status WHEN 'Done' THEN 'closed' ELSE 'open' END, n.resolution, n.type, n.author, n.created,
    n.updated, n.resolved, n.labels, n.assignees, n.version
  FROM keypup.json_rows(nodes, '', ('{id,key,url,title,status,resolution,type,creator.login,created,updated,resolved,labels,'
      'assignee.login,version}')::text[])
    AS n (id bigint, key text, url text, title text, status text, resolution text, type text, author text,
      created timestamptz, updated timestamptz, resolved timestamptz, labels text[], assignees text[], version text)
  ON CONFLICT (account_id, project_id, number) DO UPDATE
  SET key = excluded.key, url = excluded.url, title = excluded.title, state = excluded.state,
    state_reason = excluded.state_reason, type = excluded.type, author = excluded.author, created_at = excluded.created_at,
    updated_at = excluded.updated_at, closed_at = excluded.closed_at, labels = excluded.labels,
    assignees = excluded.assignees, milestone = excluded.milestone, deleted_at = NULL
  WHERE (i.key, i.url, i.title, i.state, i.state_reason, i.type, i.author, i.created_at, i.updated_at, i.closed_at,
      i.labels, i.assignees, i.milestone, i.deleted_at)
    IS DISTINCT FROM (excluded.key, excluded.url, excluded.title, excluded.state, excluded.state_reason, excluded.type,
      excluded.author, excluded.created_at, excluded.updated_at, excluded.closed_at,
      excluded.labels, excluded.assignees, excluded.milestone, NULL::timestamptz);
  -- Up to where the next run need not read again.
  UPDATE keypup.sync_state s
  SET next_watermarks = jsonb_build_object('issues',
    greatest(n.last, s.next_watermarks ->> 'issues', s.watermarks ->> 'issues'))
  FROM (SELECT max((n ->> 'updated') COLLATE "C") AS last FROM jsonb_array_elements(nodes) AS n) AS n
  WHERE s.account_id = account AND s.project_id = project;
END
$$;

CREATE FUNCTION keypup.tracker_page(account uuid, job bigint, headers jsonb, reply jsonb, milliseconds integer,
  interval_seconds integer) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_job keypup.sync_jobs;
  after text := coalesce(reply ->> 'nextPageToken', reply ->> 'next');
BEGIN
  SELECT j.* INTO STRICT the_job FROM keypup.sync_jobs j WHERE j.account_id = account AND j.job_id = job;
  CASE the_job.kind
    WHEN 'project' THEN PERFORM keypup.tracker_store_project(account, the_job.project_id, reply);
    WHEN 'versions' THEN PERFORM keypup.tracker_store_versions(account, the_job.project_id, reply -> 'values');
    ELSE PERFORM keypup.tracker_store_issues(account, the_job.connection_id, the_job.project_id, reply -> 'issues');
  END CASE;
  IF after IS NOT NULL THEN
    PERFORM keypup.queue_job(account, the_job.project_id, the_job.kind,
      the_job.arguments || jsonb_build_object('after', after), NULL::boolean, now(), false);
  END IF;
  RETURN true;
END
$$;

-- Nothing is left to do, and no job asks for less than it did.
CREATE FUNCTION keypup.tracker_settle(account uuid, connection uuid, project bigint, kind text, headers jsonb, verdict text)
RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS '';
CREATE FUNCTION keypup.tracker_failures(account uuid, project bigint, kind text, arguments jsonb, failures jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT '[]'::jsonb $$;

SELECT keypup.check_provider('tracker');
-- Those of its own it calls as keypup_worker, too.
REVOKE ALL ON FUNCTION keypup.tracker_shapes(), keypup.tracker_store_project(uuid, bigint, jsonb),
  keypup.tracker_store_versions(uuid, bigint, jsonb), keypup.tracker_store_issues(uuid, uuid, bigint, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.tracker_shapes(), keypup.tracker_store_project(uuid, bigint, jsonb),
  keypup.tracker_store_versions(uuid, bigint, jsonb), keypup.tracker_store_issues(uuid, uuid, bigint, jsonb) TO keypup_worker;
