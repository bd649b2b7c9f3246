-- insight/comment.sql: how much is said about each pull request, and by whom. doc/metrics.md has the definitions.

CREATE VIEW keypup.pull_request_comments WITH (security_invoker = true, security_barrier = true) AS
-- Each pull request looks its own rows up by key.
SELECT p.account_id, p.project_id, j.name AS project, p.number, p.key, p.author, p.author_is_bot, p.state,
  p.created_at, p.merged_at, c.comments, c.conversation_comments, c.review_comments, c.author_comments,
  c.reviewer_comments, c.bot_comments, c.commenters, c.threads
FROM keypup.pull_requests p
CROSS JOIN LATERAL (
  SELECT o.name, o.connection_id FROM keypup.projects o
  WHERE o.account_id = p.account_id AND o.project_id = p.project_id LIMIT 1) AS j
LEFT JOIN LATERAL (
  SELECT count(*) AS comments, count(*) FILTER (WHERE s.item_kind = 'pull_request') AS conversation_comments,
    count(*) FILTER (WHERE s.item_kind = 'review') AS review_comments,
    count(*) FILTER (WHERE s.by = 'author') AS author_comments,
    count(*) FILTER (WHERE s.by = 'reviewer') AS reviewer_comments,
    count(*) FILTER (WHERE s.by = 'bot') AS bot_comments,
    count(DISTINCT s.who) FILTER (WHERE s.by = 'reviewer') AS commenters, count(DISTINCT s.thread_id) AS threads
  FROM (
    SELECT m.item_kind, m.thread_id, coalesce(w.person_id::text, m.author, '') AS who,
      CASE WHEN m.author_is_bot THEN 'bot' WHEN m.author IS NOT DISTINCT FROM p.author OR w.person_id = (
        SELECT i.person_id FROM keypup.identities i
        WHERE i.account_id = p.account_id AND i.connection_id = j.connection_id AND i.login = p.author
        ORDER BY i.person_id IS NULL, i.external_id LIMIT 1) THEN 'author' ELSE 'reviewer' END AS by
    FROM keypup.comments m
    LEFT JOIN LATERAL (
      SELECT i.person_id FROM keypup.identities i
      WHERE i.account_id = p.account_id AND i.connection_id = j.connection_id AND i.login = m.author
      ORDER BY i.person_id IS NULL, i.external_id LIMIT 1) AS w ON true
    WHERE m.account_id = p.account_id AND m.project_id = p.project_id AND m.item_number = p.number
      AND m.item_kind IN ('pull_request', 'review')
  ) AS s
) AS c ON true
WHERE p.deleted_at IS NULL;
REVOKE ALL ON keypup.pull_request_comments FROM PUBLIC;
GRANT SELECT ON keypup.pull_request_comments TO keypup_member;
COMMENT ON VIEW keypup.pull_request_comments IS
  'One row a pull request that is not deleted: how many comments it has, on itself and in its reviews, before the '
  'merge and after.';
COMMENT ON COLUMN keypup.pull_request_comments.account_id IS 'The account.';
COMMENT ON COLUMN keypup.pull_request_comments.project_id IS 'The project.';
COMMENT ON COLUMN keypup.pull_request_comments.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.pull_request_comments.number IS 'Number within the project.';
COMMENT ON COLUMN keypup.pull_request_comments.key IS 'As people write it: #12 or !12.';
COMMENT ON COLUMN keypup.pull_request_comments.author IS 'Login of its author; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.pull_request_comments.author_is_bot IS 'Whether a bot opened it.';
COMMENT ON COLUMN keypup.pull_request_comments.state IS 'open, closed or merged.';
COMMENT ON COLUMN keypup.pull_request_comments.created_at IS 'When it was opened.';
COMMENT ON COLUMN keypup.pull_request_comments.merged_at IS 'When it was merged; NULL if not.';
COMMENT ON COLUMN keypup.pull_request_comments.comments IS
  'All comments: the sum of the next two, and of the three after them.';
COMMENT ON COLUMN keypup.pull_request_comments.conversation_comments IS 'Those on the pull request itself.';
COMMENT ON COLUMN keypup.pull_request_comments.review_comments IS 'Those on changed lines, in reviews.';
COMMENT ON COLUMN keypup.pull_request_comments.author_comments IS
  'Those by its author, by whatever login; also of deleted users, where it is one.';
COMMENT ON COLUMN keypup.pull_request_comments.reviewer_comments IS 'Those by other persons.';
COMMENT ON COLUMN keypup.pull_request_comments.bot_comments IS 'Those by bots, its author among them.';
COMMENT ON COLUMN keypup.pull_request_comments.commenters IS
  'Persons who wrote reviewer_comments, each once; deleted users are one.';
COMMENT ON COLUMN keypup.pull_request_comments.threads IS
  'Discussion threads on changed lines, where the provider tells them apart.';
