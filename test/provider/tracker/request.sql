-- tracker/request.sql: what a job asks. A run is a job of kind project, and what that leads to: versions and issues.

CREATE FUNCTION keypup.tracker_request(account uuid, job bigint, OUT method text, OUT url text, OUT headers text[],
  OUT body text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT 'GET',
    CASE j.kind
      -- An id survives a change of the key.
      WHEN 'project' THEN c.base_url || '/project/' || coalesce(p.external_id, p.name)
      WHEN 'versions' THEN coalesce(j.arguments ->> 'after', c.base_url || '/project/' || p.external_id || '/versions')
      WHEN 'issues' THEN c.base_url || '/search?project=' || p.external_id
        || CASE WHEN j.arguments ? 'item' THEN '&id=' || (j.arguments ->> 'item')
                WHEN j.arguments ? 'all' THEN '' ELSE coalesce('&since=' || (s.watermarks ->> 'issues'), '') END
        || coalesce('&pageToken=' || (j.arguments ->> 'after'), '')
    END,
    '{Accept: application/json}'::text[], NULL
  FROM keypup.sync_jobs j
  JOIN keypup.connections c USING (account_id, connection_id)
  JOIN keypup.projects p USING (account_id, project_id)
  JOIN keypup.sync_state s USING (account_id, project_id)
  WHERE j.account_id = account AND j.job_id = job
$$;

-- By number, or all: whatever is newer than the last run comes with the run.
CREATE FUNCTION keypup.tracker_reread(account uuid, project bigint, item bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF item IS NOT NULL AND NOT EXISTS (
       SELECT FROM keypup.issues i WHERE i.account_id = account AND i.project_id = project AND i.number = item) THEN
    RETURN false;
  END IF;
  PERFORM keypup.queue_job(account, project, 'issues',
    CASE WHEN item IS NULL THEN '{"all": true}'::jsonb ELSE jsonb_build_object('item', item) END, true, now(), false);
  RETURN true;
END
$$;
