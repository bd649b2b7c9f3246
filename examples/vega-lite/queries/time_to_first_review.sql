-- Time to first review: hours from the opening to the first review by another person, by week of that review.
SELECT date_trunc('week', first_review_at AT TIME ZONE keypup.known_time_zone(time_zone))::date AS week_start,
  count(time_to_first_review) AS pull_requests,
  round(extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY time_to_first_review)) / 3600, 1) AS p50,
  round(extract(epoch FROM percentile_cont(0.75) WITHIN GROUP (ORDER BY time_to_first_review)) / 3600, 1) AS p75,
  round(extract(epoch FROM percentile_cont(0.9) WITHIN GROUP (ORDER BY time_to_first_review)) / 3600, 1) AS p90
FROM keypup.pull_request_metrics
JOIN keypup.accounts USING (account_id)
WHERE account_id = nullif(:'account', '')::uuid
  AND (:'project' = '' OR project_id = nullif(:'project', '')::bigint)
  AND (first_review_at AT TIME ZONE keypup.known_time_zone(time_zone))::date BETWEEN :'from'::date AND :'to'::date
  AND (keypup.counts_bots() OR NOT author_is_bot)
  AND time_to_first_review IS NOT NULL
GROUP BY 1
ORDER BY 1 DESC;
