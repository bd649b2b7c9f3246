-- Sign-ins and refusals, as long as the audit log is kept: whatever the period and the project. Takes the permission audit.read.
SELECT sum(CASE WHEN action = 'session.start' AND outcome = 'done' THEN times ELSE 0 END)::bigint AS sign_ins,
  sum(CASE WHEN action = 'session.start' AND outcome = 'refused' THEN times ELSE 0 END)::bigint AS refused_sign_ins,
  sum(CASE WHEN action <> 'session.start' AND outcome = 'refused' THEN times ELSE 0 END)::bigint AS other_refusals
FROM keypup.audit_daily
WHERE account_id = nullif(:'account', '')::uuid;
