-- Where the time goes: the median hours of each stage, by week of the merge. Over all chosen projects at once, since
-- medians cannot be averaged; and the medians of the stages need not sum to the median of the whole.
WITH merged AS (
  SELECT date_trunc('week', c.merged_at AT TIME ZONE keypup.known_time_zone(a.time_zone))::date AS week_start,
    c.coding_time, c.pickup_time, c.review_time, c.merge_time, c.cycle_time
  FROM keypup.pull_request_cycle c
  JOIN keypup.accounts a ON a.account_id = c.account_id
  WHERE c.account_id = nullif(:'account', '')::uuid
    AND (:'project' = '' OR c.project_id = nullif(:'project', '')::bigint)
    AND (c.merged_at AT TIME ZONE keypup.known_time_zone(a.time_zone))::date BETWEEN :'from'::date AND :'to'::date
    AND (keypup.counts_bots() OR NOT c.author_is_bot)
)
SELECT week_start, count(*) AS merged,
  round(extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY coding_time)) / 3600, 1) AS coding_p50,
  round(extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY pickup_time)) / 3600, 1) AS pickup_p50,
  round(extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY review_time)) / 3600, 1) AS review_p50,
  round(extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY merge_time)) / 3600, 1) AS merge_p50,
  round(extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY cycle_time)) / 3600, 1) AS cycle_p50
FROM merged
GROUP BY week_start
ORDER BY week_start DESC;
