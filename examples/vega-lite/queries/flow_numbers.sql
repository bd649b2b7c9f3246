-- Flow in four numbers: two of the period, and two of now.
WITH merged AS (
  SELECT count(*) AS pull_requests_merged, percentile_cont(0.5) WITHIN GROUP (ORDER BY c.cycle_time) AS cycle_time_p50
  FROM keypup.pull_request_cycle c
  JOIN keypup.accounts a ON a.account_id = c.account_id
  WHERE c.account_id = nullif(:'account', '')::uuid
    AND (:'project' = '' OR c.project_id = nullif(:'project', '')::bigint)
    AND (c.merged_at AT TIME ZONE keypup.known_time_zone(a.time_zone))::date BETWEEN :'from'::date AND :'to'::date
    AND (keypup.counts_bots() OR NOT c.author_is_bot)
)
SELECT m.pull_requests_merged,
  round(extract(epoch FROM m.cycle_time_p50) / 3600, 1) AS cycle_time_p50_hours,
  (SELECT count(*) FROM keypup.pull_request_work_in_progress w
   WHERE w.account_id = nullif(:'account', '')::uuid AND (:'project' = '' OR w.project_id = nullif(:'project', '')::bigint)
     AND (keypup.counts_bots() OR NOT w.author_is_bot)) AS pull_requests_open,
  (SELECT count(*) FROM keypup.issues i
   WHERE i.account_id = nullif(:'account', '')::uuid AND (:'project' = '' OR i.project_id = nullif(:'project', '')::bigint)
     AND i.deleted_at IS NULL AND i.state = 'open' AND (keypup.counts_bots() OR NOT i.author_is_bot)) AS issues_open
FROM merged m;
