-- Work in progress now: the open pull requests, the oldest first.
SELECT project, number, title, coalesce(person, 'deleted user') AS person, state_now, review_state, size_class, age_days, idle_days
FROM keypup.pull_request_work_in_progress
WHERE account_id = nullif(:'account', '')::uuid
  AND (:'project' = '' OR project_id = nullif(:'project', '')::bigint)
ORDER BY age DESC, project, number
LIMIT 500;
