-- Cumulative flow: how many issues are done and how many are open at the end of each week (and today).
WITH daily AS (
  SELECT day, sum(opened) AS opened, sum(open_at_end_of_day) AS open
  FROM keypup.issue_flow_daily
  WHERE account_id = nullif(:'account', '')::uuid
    AND (:'project' = '' OR project_id = nullif(:'project', '')::bigint)
  GROUP BY day
), cumulative AS (
  SELECT day, open, sum(opened) OVER (ORDER BY day) AS opened_until, day = max(day) OVER () AS is_today
  FROM daily
)
SELECT day, (opened_until - open)::bigint AS done, open::bigint AS open, opened_until::bigint AS opened
FROM cumulative
WHERE day BETWEEN :'from'::date AND :'to'::date AND (is_today OR extract(isodow FROM day) = 7)
ORDER BY day DESC;
