-- Sign-ins and refusals by day, as long as the audit log is kept: whatever the period and the project. Takes the permission audit.read.
SELECT day, coalesce(sum(times) FILTER (WHERE action = 'session.start' AND outcome = 'done'), 0)::bigint AS sign_ins,
  coalesce(sum(times) FILTER (WHERE action = 'session.start' AND outcome = 'refused'), 0)::bigint AS refused_sign_ins,
  coalesce(sum(times) FILTER (WHERE action <> 'session.start' AND outcome = 'refused'), 0)::bigint AS other_refusals
FROM keypup.audit_daily
WHERE account_id = nullif(:'account', '')::uuid
GROUP BY day
ORDER BY day DESC;
