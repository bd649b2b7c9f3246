-- Reviews in four numbers, all of the period.
WITH reviews AS (
  SELECT count(*) AS reviews, count(DISTINCT coalesce(person_id::text, person, '')) AS reviewers
  FROM keypup.pull_request_reviews
  JOIN keypup.accounts USING (account_id)
  WHERE account_id = nullif(:'account', '')::uuid
    AND (:'project' = '' OR project_id = nullif(:'project', '')::bigint)
    AND (submitted_at AT TIME ZONE keypup.known_time_zone(time_zone))::date BETWEEN :'from'::date AND :'to'::date
    AND NOT is_bot
), first_reviews AS (
  SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY time_to_first_review) AS time_to_first_review_p50
  FROM keypup.pull_request_metrics
  JOIN keypup.accounts USING (account_id)
  WHERE account_id = nullif(:'account', '')::uuid
    AND (:'project' = '' OR project_id = nullif(:'project', '')::bigint)
    AND (first_review_at AT TIME ZONE keypup.known_time_zone(time_zone))::date BETWEEN :'from'::date AND :'to'::date
    AND (keypup.counts_bots() OR NOT author_is_bot)
), merges AS (
  SELECT round(100.0 * count(*) FILTER (WHERE merged_without_review) / nullif(count(*), 0), 1) AS percent_without_review
  FROM keypup.pull_request_metrics
  JOIN keypup.accounts USING (account_id)
  WHERE account_id = nullif(:'account', '')::uuid
    AND (:'project' = '' OR project_id = nullif(:'project', '')::bigint)
    AND (merged_at AT TIME ZONE keypup.known_time_zone(time_zone))::date BETWEEN :'from'::date AND :'to'::date
    AND (keypup.counts_bots() OR NOT author_is_bot)
)
SELECT r.reviews, r.reviewers,
  round(extract(epoch FROM f.time_to_first_review_p50) / 3600, 1) AS time_to_first_review_p50_hours,
  m.percent_without_review
FROM reviews r CROSS JOIN first_reviews f CROSS JOIN merges m;
