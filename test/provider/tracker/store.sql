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
    FROM jsonb_array_elements(reply -> 'labels') AS l), keypup.answer_asked_at(account, project));
  PERFORM keypup.store_labels(account, project, ARRAY(
    SELECT ROW(n.id, n.name, n.color, NULL, NULL)::keypup.provided_labels
    FROM jsonb_to_recordset(reply -> 'labels') AS n (id text, name text, color text)));
  PERFORM keypup.store_sprints(account, project, ARRAY(
    SELECT ROW(n.id, n.name, n.state, NULL, n.starts, n.ends, NULL, NULL)::keypup.provided_sprints
    FROM jsonb_to_recordset(reply -> 'sprints') AS n (id text, name text, state text, starts timestamptz,
      ends timestamptz)));
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
    SELECT jsonb_agg(jsonb_build_object('id', v ->> 'id', 'name', v ->> 'name')) FROM jsonb_array_elements(nodes) AS v),
    keypup.answer_asked_at(account, project));
  PERFORM keypup.store_milestones(account, project, ARRAY(
    SELECT ROW(v.id, v.id, v.name, CASE WHEN v.released THEN 'closed' ELSE 'open' END, NULL, NULL, NULL, v.due,
      v."releasedAt")::keypup.provided_milestones
    FROM jsonb_to_recordset(nodes) AS v (id bigint, name text, released boolean, due timestamptz,
      "releasedAt" timestamptz)));
END
$$;

CREATE FUNCTION keypup.tracker_category(category text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE category WHEN 'new' THEN 'todo' WHEN 'indeterminate' THEN 'in_progress'
  WHEN 'done' THEN 'done' END $$;

CREATE FUNCTION keypup.tracker_store_issues(account uuid, connection uuid, project bigint, nodes jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  numbers bigint[] := ARRAY(SELECT (n ->> 'id')::bigint FROM jsonb_array_elements(nodes) AS n);
  left_behind bigint[];
BEGIN
  PERFORM keypup.store_people(account, project, (
    SELECT array_agg(DISTINCT ROW(a.id, a.login, a.name, 'user', false)::keypup.provided_identity)
    FROM keypup.json_objects(nodes, 'login', '{id,login,name}'::text[]) AS a (id text, login text, name text)));
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
  PERFORM keypup.store_issues(account, project, ARRAY(
    SELECT ROW(n.id, n.key, n.id, NULL, n.url, n.title, CASE c.category WHEN 'done' THEN 'closed' ELSE 'open' END,
      n.resolution, n.status, c.category, n.resolution, n.type, n.priority, n.parent, n.points::double precision,
      n.author, false, n.created, n.updated, n.resolved, n.labels, n.assignees, n.versions #>> '{0,name}',
      ARRAY(SELECT v.version ->> 'id' FROM jsonb_array_elements(n.versions) WITH ORDINALITY AS v (version, position)
        ORDER BY v.position),
      array_remove(ARRAY[n.sprint::text], NULL), false)::keypup.provided_issues
    FROM keypup.json_rows(nodes, '', ('{id,key,url,title,status,category,resolution,type,priority,parent,points,sprint,'
      'versions,creator.login,created,updated,'
        'resolved,labels,assignee.login}')::text[])
      AS n (id bigint, key text, url text, title text, status text, category text, resolution text, type text,
        priority text, parent bigint, points text, sprint bigint, versions jsonb, author text, created timestamptz,
        updated timestamptz, resolved timestamptz, labels text[], assignees text[])
    CROSS JOIN LATERAL (SELECT keypup.tracker_category(n.category) AS category) AS c));
  PERFORM keypup.store_timeline_events(account, project, ARRAY(
    SELECT ROW('issue', m.number, m.id, 'status_changed', m.by, NULL, m."from", m."to",
      keypup.tracker_category(m.category), m.at)::keypup.provided_timeline_events
    FROM keypup.json_rows(nodes, 'moves', '{../id,id,by.login,from,to,category,at}'::text[])
      AS m (number bigint, id text, by text, "from" text, "to" text, category text, at timestamptz)));
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

SELECT keypup.check_provider('tracker');
-- Those of its own it calls as keypup_worker, too.
REVOKE ALL ON FUNCTION keypup.tracker_shapes(), keypup.tracker_category(text),
  keypup.tracker_store_project(uuid, bigint, jsonb), keypup.tracker_store_versions(uuid, bigint, jsonb),
    keypup.tracker_store_issues(uuid, uuid, bigint, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.tracker_shapes(), keypup.tracker_category(text),
  keypup.tracker_store_project(uuid, bigint, jsonb), keypup.tracker_store_versions(uuid, bigint, jsonb),
    keypup.tracker_store_issues(uuid, uuid, bigint, jsonb) TO keypup_worker;
