-- The accounts that this role belongs to.
SELECT account_id, name AS account, time_zone
FROM keypup.accounts
ORDER BY name;
