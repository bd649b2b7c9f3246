-- insight/team.sql: who reviews, by team. doc/metrics.md has the definitions.

CREATE VIEW keypup.team_review_load WITH (security_invoker = true, security_barrier = true) AS
WITH member AS (
  -- As team_people, with the times: persons as they are now, whatever they were when they joined.
  SELECT m.account_id, m.team, coalesce(i.person_id, m.person_id) AS person_id, m.joined_at, m.left_at
  FROM keypup.team_members m
  LEFT JOIN keypup.person_merges g ON g.account_id = m.account_id AND g.own_person_id = m.person_id
  LEFT JOIN keypup.identities i ON i.account_id = g.account_id AND i.connection_id = g.connection_id AND i.external_id = g.external_id
), reviewed AS (
  -- Once a team, though two logins of one person may both be in it.
  SELECT DISTINCT r.account_id, m.team, r.project_id, r.number, r.external_id, r.person_id, r.login, r.response_time, date_trunc('week', r.submitted_at, 'UTC') AS week
  FROM keypup.pull_request_reviews r
  LEFT JOIN member m ON m.account_id = r.account_id AND m.person_id = r.person_id AND r.submitted_at >= m.joined_at AND (m.left_at IS NULL OR r.submitted_at < m.left_at)
  WHERE NOT r.is_bot
)
SELECT r.account_id, r.team, r.week, to_char(r.week AT TIME ZONE 'UTC', 'IYYY-"W"IW') AS iso_week,
  count(DISTINCT coalesce(r.person_id::text, r.login, '')) AS reviewers, count(*) AS reviews, count(DISTINCT (r.project_id, r.number)) AS pull_requests, count(r.response_time) AS first_reviews,
  percentile_cont(0.5) WITHIN GROUP (ORDER BY r.response_time) AS median_response_time,
  percentile_cont(0.9) WITHIN GROUP (ORDER BY r.response_time) AS p90_response_time
FROM reviewed r
GROUP BY r.account_id, r.team, r.week;
REVOKE ALL ON keypup.team_review_load FROM PUBLIC;
GRANT SELECT ON keypup.team_review_load TO keypup_member;
COMMENT ON VIEW keypup.team_review_load IS 'One row an account, team and ISO week in which persons who were in the team then reviewed; one without a team for those who were in none.';
COMMENT ON COLUMN keypup.team_review_load.account_id IS 'The account.';
COMMENT ON COLUMN keypup.team_review_load.team IS 'The team; NULL for reviews by persons who were in none at the time of the review.';
COMMENT ON COLUMN keypup.team_review_load.week IS 'Monday 0:00 UTC of the week.';
COMMENT ON COLUMN keypup.team_review_load.iso_week IS 'The same as text: 2024-W01.';
COMMENT ON COLUMN keypup.team_review_load.reviewers IS 'Persons who reviewed.';
COMMENT ON COLUMN keypup.team_review_load.reviews IS 'Reviews submitted, as in review_load; a review by a person who was in two teams is in the rows of both.';
COMMENT ON COLUMN keypup.team_review_load.pull_requests IS 'Pull requests with such a review.';
COMMENT ON COLUMN keypup.team_review_load.first_reviews IS 'First reviews of a pull request by a person, with a response time.';
COMMENT ON COLUMN keypup.team_review_load.median_response_time IS 'Median response time of these; NULL without any.';
COMMENT ON COLUMN keypup.team_review_load.p90_response_time IS 'Response time that 9 of 10 of these do not exceed, interpolated; NULL without any.';
