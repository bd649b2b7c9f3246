-- outside/question.sql: what a session asks the outside, through the worker.

CREATE FUNCTION keypup.ask_worker(kind text, account_id uuid, question bytea) RETURNS jsonb
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_ask_worker';
REVOKE ALL ON FUNCTION keypup.ask_worker(text, uuid, bytea) FROM PUBLIC;
COMMENT ON FUNCTION keypup.ask_worker(text, uuid, bytea) IS
  'Has the worker ask outside, and waits for the answer: NULL when none could be had. configuration_limit_exceeded: '
  'the account, or who asks, has asked too much within a minute. Granted to nobody.';

CREATE FUNCTION keypup.admit_question(kind text, account_id uuid) RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'keypup_admit_question';
REVOKE ALL ON FUNCTION keypup.admit_question(text, uuid) FROM PUBLIC;
COMMENT ON FUNCTION keypup.admit_question(text, uuid) IS
  'Counts a question of a worker to a provider; false where the account has asked too much within a minute.';
