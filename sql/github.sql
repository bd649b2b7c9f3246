-- GitHub's answers, and what each means.
\pset null '-'
SELECT v.name, verdict, reason, hint, retry_at > now() AS waits
FROM (VALUES
  (1, 'page', 200, '{}', '{"data": {"viewer": null}}', NULL),
  (2, 'limit, old type', 200, '{"x-ratelimit-reset": "9999999999"}', '{"errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}]}', NULL),
  (3, 'limit, new type', 200, '{}', '{"errors": [{"type": "RATE_LIMIT", "message": "exceeded"}]}', NULL),
  (4, 'secondary', 403, '{"retry-after": "60"}', '{"message": "You have exceeded a secondary rate limit."}', NULL),
  (5, 'too many', 429, '{"retry-after": "-5"}', NULL, NULL),
  (6, 'bad token', 401, '{}', '{"message": "Bad credentials"}', NULL),
  (7, 'single sign-on', 403, '{"x-github-sso": "required; url=https://github.com/orgs/acme/sso?authorization_request=X"}', '{"message": "Resource protected"}', NULL),
  (8, 'timeout', 502, '{}', '{"data": null, "errors": [{"message": "Something went wrong while executing your query."}]}', NULL),
  (9, 'timeout, HTML', 504, '{"content-type": "text/html"}', NULL, NULL),
  (10, 'sign-in page', 200, '{"content-type": "text/html"}', NULL, NULL),
  (11, 'redirect', 302, '{"location": "https://evil.example"}', NULL, NULL),
  (12, 'not found', 404, '{}', '{"message": "Not Found"}', NULL),
  (13, 'scopes', 200, '{}', '{"data": null, "errors": [{"type": "INSUFFICIENT_SCOPES", "message": "Your token has not been granted the required scopes"}]}', NULL),
  (14, 'no connection', 0, '{}', NULL, 'connection was reset'),
  (15, 'bomb', 0, '{}', NULL, 'reply is larger than 2 MiB')
) AS v(position, name, status, headers, reply, failure),
LATERAL keypup.github_verdict(v.status, v.headers::jsonb, v.reply::jsonb, v.failure)
ORDER BY v.position;

-- No query asks for what carries source code, or for a body.
SELECT q.name, w.word
FROM unnest(ARRAY['repository_by_name', 'repository_by_id', 'repository_fields', 'labels', 'milestones', 'pull_request_stubs', 'issue_stubs',
  'pull_requests', 'issues', 'label_page', 'assignee_page', 'review_request_page', 'reviewer_fields', 'review_page', 'thread_page',
  'review_comment_page', 'comment_fields', 'pull_request_timeline_page', 'issue_timeline_page', 'closing_issue_page', 'actor_fields',
  'poll', 'existence', 'viewer', 'projects', 'reviewer_fields_with_teams', 'releases', 'release_pages', 'release_page', 'release_fields',
  'deployments', 'deployment_pages', 'deployment_page', 'deployment_fields', 'deployment_status_page']) AS q(name),
  unnest(ARRAY['diffHunk', 'path', 'line', 'files', 'patch', 'blob', 'text', 'object', 'tree', 'body', 'bodyText', 'bodyHTML', 'message', 'email', 'tempCloneToken',
  'description', 'descriptionHTML', 'shortDescriptionHTML', 'releaseAssets', 'payload', 'logUrl', 'environmentUrl']) AS w(word)
WHERE keypup.github_query(q.name) IS NULL OR keypup.github_query(q.name) ~ ('\m' || w.word || '\M');
