-- Review load: what each person reviewed of others in the period, and how soon. Bots are left out.
WITH load AS (
  SELECT person_id, coalesce(person, 'deleted user') AS person, min(login) AS login,
    count(*) AS reviews,
    count(DISTINCT (project_id, number)) AS pull_requests,
    round(extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY response_time)) / 3600, 1) AS response_p50,
    round(extract(epoch FROM percentile_cont(0.9) WITHIN GROUP (ORDER BY response_time)) / 3600, 1) AS response_p90
  FROM keypup.pull_request_reviews
  JOIN keypup.accounts USING (account_id)
  WHERE account_id = nullif(:'account', '')::uuid
    AND (:'project' = '' OR project_id = nullif(:'project', '')::bigint)
    AND (submitted_at AT TIME ZONE keypup.known_time_zone(time_zone))::date BETWEEN :'from'::date AND :'to'::date
    AND NOT is_bot
  GROUP BY person_id, person
)
-- Persons of the same name are told apart by their logins.
SELECT CASE WHEN count(*) OVER (PARTITION BY person) > 1 THEN concat(person, ' (' || login || ')') ELSE person END AS reviewer,
  reviews, pull_requests, response_p50, response_p90
FROM load
ORDER BY reviews DESC, reviewer, person_id;
