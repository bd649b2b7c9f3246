-- Who reviews whom: the pull requests of each author that each reviewer reviewed in the period. Bots are left out.
WITH review AS (
  SELECT project_id, number, verdict,
    author_person_id, coalesce(author_person, 'deleted user') AS author_person, min(author) OVER (PARTITION BY author_person_id, author_person) AS author_login,
    person_id, coalesce(person, 'deleted user') AS person, min(login) OVER (PARTITION BY person_id, person) AS login
  FROM keypup.pull_request_reviews
  JOIN keypup.accounts USING (account_id)
  WHERE account_id = nullif(:'account', '')::uuid
    AND (:'project' = '' OR project_id = nullif(:'project', '')::bigint)
    AND (submitted_at AT TIME ZONE keypup.known_time_zone(time_zone))::date BETWEEN :'from'::date AND :'to'::date
    AND NOT is_bot AND NOT author_is_bot
), named AS (
  -- Persons of the same name are told apart by their logins.
  SELECT project_id, number, verdict,
    CASE WHEN min(author_login) OVER a <> max(author_login) OVER a THEN concat(author_person, ' (' || author_login || ')') ELSE author_person END AS author,
    CASE WHEN min(login) OVER r <> max(login) OVER r THEN concat(person, ' (' || login || ')') ELSE person END AS reviewer
  FROM review
  WINDOW a AS (PARTITION BY author_person), r AS (PARTITION BY person)
)
SELECT author, reviewer,
  count(DISTINCT (project_id, number)) AS pull_requests,
  count(*) AS reviews,
  count(*) FILTER (WHERE verdict = 'approved') AS approvals
FROM named
GROUP BY author, reviewer
ORDER BY pull_requests DESC, author, reviewer;
