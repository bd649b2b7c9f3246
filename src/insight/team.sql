-- insight/team.sql: who reviews, by team. doc/metrics.md has the definitions.

CREATE VIEW keypup.team_review_load WITH (security_invoker = true, security_barrier = true) AS
-- Week by week, as review_load; who is in a team is gathered once.
WITH member AS MATERIALIZED (
  SELECT m.account_id, m.team, m.person_id, m.joined_at, m.left_at FROM keypup.team_memberships m
)
SELECT w.account_id, r.team, r.is_bot, w.week_start, w.is_complete, to_char(w.week_start, 'IYYY-"W"IW') AS iso_week,
  r.reviewers, r.reviews, r.pull_requests, r.first_reviews, r.responses,
  justify_hours(r.response_times[1]) AS median_response_time,
  justify_hours(r.response_times[2]) AS p90_response_time
FROM keypup.review_weeks w
CROSS JOIN LATERAL (
  SELECT x.team, x.is_bot,
    count(DISTINCT coalesce(x.person_id::text, x.login, '')) FILTER (WHERE x.external_id IS NOT NULL) AS reviewers,
    count(x.external_id) AS reviews,
    count(DISTINCT (x.project_id, x.number)) FILTER (WHERE x.external_id IS NOT NULL) AS pull_requests,
    count(x.response_time) FILTER (WHERE x.is_first) AS first_reviews, count(x.response_time) AS responses,
      percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY x.response_time) AS response_times
  FROM (
    -- Once a team, though two logins of one person may both be in it.
    SELECT DISTINCT m.team, v.is_bot, v.project_id, v.number, v.external_id, v.person_id, v.login, v.is_first,
      v.response_time
    FROM keypup.pull_request_reviews v
    -- OFFSET, so that the planner does not take an account's members for a few, and compare each with every review.
    LEFT JOIN (SELECT m.* FROM member m OFFSET 0) AS m ON m.account_id = v.account_id AND m.person_id = v.person_id
      AND v.submitted_at >= m.joined_at AND (m.left_at IS NULL OR v.submitted_at < m.left_at)
    WHERE v.account_id = w.account_id AND v.submitted_at >= w.starts_at AND v.submitted_at < w.ends_at
    UNION ALL
    -- A team has a row from the time on that somebody is in it.
    SELECT m.team, false, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM member m
    WHERE m.account_id = w.account_id AND m.joined_at < w.ends_at AND w.starts_at <= now()
    GROUP BY m.team
    UNION ALL
    -- Who is in none has one in each week.
    SELECT NULL, false, NULL, NULL, NULL, NULL, NULL, NULL, NULL WHERE w.starts_at <= now()
  ) AS x
  GROUP BY x.team, x.is_bot
) AS r;
REVOKE ALL ON keypup.team_review_load FROM PUBLIC;
GRANT SELECT ON keypup.team_review_load TO keypup_member;
COMMENT ON VIEW keypup.team_review_load IS
  'One row an account, team and ISO week, from the first with somebody in the team to now, those with nothing '
  'included: what persons who were in the team then reviewed. One without a team for those who were in none, from the '
  'account''s first review on. '
  'Weeks are those of the account''s time zone.';
COMMENT ON COLUMN keypup.team_review_load.account_id IS 'The account.';
COMMENT ON COLUMN keypup.team_review_load.team IS
  'The team; NULL for reviews by those who were in none at the time of the review.';
COMMENT ON COLUMN keypup.team_review_load.is_bot IS 'Whether it is what bots reviewed.';
COMMENT ON COLUMN keypup.team_review_load.week_start IS 'Monday of the ISO week.';
COMMENT ON COLUMN keypup.team_review_load.is_complete IS 'Whether the week has ended in the account''s time zone.';
COMMENT ON COLUMN keypup.team_review_load.iso_week IS 'The week as ISO 8601 writes it: 2024-W01.';
COMMENT ON COLUMN keypup.team_review_load.reviewers IS 'Persons who reviewed.';
COMMENT ON COLUMN keypup.team_review_load.reviews IS
  'Reviews submitted, as in review_load; a review by a person who was in two teams is in the rows of both.';
COMMENT ON COLUMN keypup.team_review_load.pull_requests IS 'Pull requests with such a review.';
COMMENT ON COLUMN keypup.team_review_load.first_reviews IS
  'First reviews of a pull request by a person, with a response time.';
COMMENT ON COLUMN keypup.team_review_load.responses IS
  'Reviews with a response time: first ones, and those that answer another request.';
COMMENT ON COLUMN keypup.team_review_load.median_response_time IS 'Median response time of these; NULL without any.';
COMMENT ON COLUMN keypup.team_review_load.p90_response_time IS
  'Response time that 9 of 10 of these do not exceed, interpolated; NULL without any.';
