-- Merged with and without a review by another person, by week of the merge.
SELECT date_trunc('week', merged_at AT TIME ZONE keypup.known_time_zone(time_zone))::date AS week_start,
  count(*) FILTER (WHERE NOT merged_without_review) AS reviewed,
  count(*) FILTER (WHERE merged_without_review) AS without_review,
  round(100.0 * count(*) FILTER (WHERE merged_without_review) / count(*), 1) AS percent_without_review
FROM keypup.pull_request_metrics
JOIN keypup.accounts USING (account_id)
WHERE account_id = nullif(:'account', '')::uuid
  AND (:'project' = '' OR project_id = nullif(:'project', '')::bigint)
  AND (merged_at AT TIME ZONE keypup.known_time_zone(time_zone))::date BETWEEN :'from'::date AND :'to'::date
  AND (keypup.counts_bots() OR NOT author_is_bot)
GROUP BY 1
ORDER BY 1 DESC;
