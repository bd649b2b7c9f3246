-- sync/reread.sql: reading again what is stored, whatever its times say.

CREATE FUNCTION keypup.reread(account text, project text, item bigint DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'settings.write');
  the_project bigint := keypup.find_project(the_account, project);
  provider text := (
    SELECT (keypup.provider_of(p.account_id, p.connection_id)).provider FROM keypup.projects p
    WHERE p.account_id = the_account AND p.project_id = the_project);
  known boolean;
BEGIN
  PERFORM keypup.hold_connection(p.account_id, p.connection_id)
  FROM keypup.projects p WHERE p.account_id = the_account AND p.project_id = the_project;
  PERFORM FROM keypup.sync_state s WHERE s.account_id = the_account AND s.project_id = the_project FOR NO KEY UPDATE;
  IF EXISTS (
    SELECT FROM keypup.sync_jobs j WHERE j.account_id = the_account AND j.project_id = the_project AND j.in_run
  ) THEN
    -- The rest comes with the run after the one that goes on.
    UPDATE keypup.sync_state s
      SET next_run_at = least(CASE WHEN s.next_run_at > s.last_run_started_at THEN s.next_run_at END, clock_timestamp())
    WHERE s.account_id = the_account AND s.project_id = the_project;
  ELSE
    PERFORM keypup.start_run(the_account, the_project);
  END IF;
  IF item IS NULL THEN
    UPDATE keypup.sync_state s SET next_sweep_at = now(), refused_at = NULL
    WHERE s.account_id = the_account AND s.project_id = the_project;
    UPDATE keypup.sync_failures f SET next_try_at = now()
    WHERE f.account_id = the_account AND f.project_id = the_project;
  END IF;
  known := keypup.provider_reread(provider, the_account, the_project, item);
  IF known IS NOT TRUE THEN
    RAISE EXCEPTION 'number % of project "%" is not known', item, project
      USING ERRCODE = 'undefined_object', HINT = 'What the tables lack is found when the whole project is read again: '
        'leave the number out.';
  END IF;
  PERFORM keypup.record_action(the_account, 'project.reread', project || coalesce(' number ' || item, ''));
  PERFORM keypup.wake_launcher();
END
$$;
REVOKE ALL ON FUNCTION keypup.reread(text, text, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.reread(text, text, bigint) TO keypup_member;
COMMENT ON FUNCTION keypup.reread(text, text, bigint) IS
  'Has one issue or pull request read again, or a whole project with all that it has. The background worker reads, or '
  'CALL keypup.sync.';
