-- provider/github/check.sql: last of the folder's files.
SELECT keypup.check_provider('github');
