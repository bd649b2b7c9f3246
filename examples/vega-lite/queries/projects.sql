-- The projects of an account, and how far the sync of each is: what may be chosen, and "as of" when the numbers are.
SELECT project_id, project, phase, items_done, items_total, percent, last_run_finished_at, last_error
FROM keypup.sync_status
WHERE account_id = nullif(:'account', '')::uuid
ORDER BY project;
