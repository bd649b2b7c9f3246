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
  (15, 'bomb', 0, '{}', NULL, 'reply is larger than 2 MiB'),
  (16, 'too much', 200, '{}', '{"data": null, "errors": [{"type": "RESOURCE_LIMITS_EXCEEDED", "message": "Resource limits for this query exceeded."}]}', NULL),
  (17, 'unknown', 200, '{}', '{"data": null, "errors": [{"message": "x"}, {"type": "SOMETHING"}]}', NULL),
  (18, 'no error', 200, '{}', '{"data": null}', NULL),
  (19, 'limit, second', 200, '{}', '{"data": {"nodes": []}, "errors": [{"message": "x"}, {"type": "RATE_LIMITED", "message": "y"}]}', NULL),
  (20, 'in part', 200, '{}', '{"data": {"nodes": [null]}, "errors": [{"type": "RESOURCE_LIMITS_EXCEEDED", "path": ["nodes", 0]}]}', NULL),
  (21, 'rate limit, a title', 200, '{}', '{"data": {"nodes": [null]}, "errors": [{"message": "no rate limit", "path": ["nodes", 0]}]}', NULL),
  (22, 'IP allow list', 403, '{}', '{"message": "Although you appear to have the correct authorization credentials, the `acme` organization has an IP allow list enabled, and your IP address is not permitted to access this resource."}', NULL),
  (23, 'SAML', 200, '{}', '{"data": null, "errors": [{"type": "FORBIDDEN", "message": "Resource protected.", "extensions": {"saml_failure": true}}]}', NULL),
  (24, 'suspended', 403, '{}', '{"message": "Sorry. Your account was suspended."}', NULL),
  (25, 'markup', 403, '{}', '{"message": "<b>No</b>\n\u0007 entry \u202e for gho_abcDEF0123 and github_pat_11AAA_bbb"}', NULL)
) AS v(position, name, status, headers, reply, failure),
LATERAL keypup.github_verdict(v.status, v.headers::jsonb, v.reply::jsonb, v.failure)
ORDER BY v.position;

-- What of an answer is whole: the third place holds what is wrong with it.
CREATE FUNCTION pg_temp.judge(nodes jsonb, errors jsonb) RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws('; ', 'whole ' || (SELECT string_agg(a #>> '{}', ' ') FROM jsonb_array_elements(j.asked) a),
    'gone ' || (SELECT string_agg(a #>> '{}', ' ') FROM jsonb_array_elements(j.gone) a),
    'again ' || (SELECT string_agg((a ->> 'asked') || ': ' || (a ->> 'why'), ', ') FROM jsonb_array_elements(j.again) a))
  FROM keypup.github_judge('releases', '{"items": ["a", "b", "c"]}', jsonb_build_object('data', jsonb_build_object('nodes', nodes), 'errors', errors), '{Release.tagCommit}') j
$$;
CREATE FUNCTION pg_temp.release(changes jsonb) RETURNS jsonb LANGUAGE sql AS $$
  SELECT '{"__typename": "Release", "id": "x", "tagName": "v1", "name": null, "url": "u", "isDraft": false, "isPrerelease": false, "createdAt": "2026-01-01T00:00:00Z",
    "publishedAt": null, "updatedAt": "2026-01-01T00:00:00Z", "author": null, "tagCommit": null}' || changes
$$;
SELECT c.name, pg_temp.judge(jsonb_build_array(pg_temp.release('{}'), pg_temp.release('{}'), c.third::jsonb), c.errors::jsonb)
FROM (VALUES
  (1, 'all', pg_temp.release('{}')::text, 'null'),
  (2, 'no errors in a list of them', pg_temp.release('{}')::text, '[]'),
  (3, 'null', 'null', NULL),
  (4, 'not found', 'null', '[{"type": "NOT_FOUND", "path": ["nodes", 2], "message": "Could not resolve"}]'),
  (5, 'not found, and something else', 'null', '[{"type": "NOT_FOUND", "path": ["nodes", 2], "message": "a"}, {"path": ["nodes", 2], "message": "b"}]'),
  (6, 'something in it not found', 'null', '[{"type": "NOT_FOUND", "path": ["nodes", 2, "author"], "message": "a"}]'),
  (7, 'not found, and yet there', pg_temp.release('{}')::text, '[{"type": "NOT_FOUND", "path": ["nodes", 2], "message": "a"}]'),
  (8, 'forbidden', 'null', '[{"type": "FORBIDDEN", "path": ["nodes", 2], "message": "no"}]'),
  (9, 'forbidden, as it is known to be', pg_temp.release('{}')::text, '[{"type": "FORBIDDEN", "path": ["nodes", 2, "tagCommit"], "message": "no"}]'),
  (10, 'an error inside', pg_temp.release('{}')::text, '[{"type": "X", "path": ["nodes", 2, "author"]}]'),
  (11, 'a path to all', pg_temp.release('{}')::text, '[{"message": "m", "path": ["nodes"]}]'),
  (12, 'no path', pg_temp.release('{}')::text, '[{"message": "m"}]'),
  (13, 'a path to nothing', pg_temp.release('{}')::text, '[{"message": "m", "path": ["nodes", 3]}]'),
  (14, 'a path that is none', pg_temp.release('{}')::text, '[{"message": "m", "path": "nodes"}]'),
  (15, 'errors that are none', pg_temp.release('{}')::text, '{"a": 1}'),
  (16, 'the budget', pg_temp.release('{}')::text, '[{"message": "m", "path": ["rateLimit"]}]'),
  (17, 'another thing', '{"__typename": "Issue", "id": "x"}', NULL),
  (18, 'a tag that is none', pg_temp.release('{"tagName": {"a": 1}}')::text, NULL),
  (19, 'a name that is none', pg_temp.release('{"name": 5}')::text, NULL),
  (20, 'a day that there is not', pg_temp.release('{"createdAt": "2026-02-29T00:00:00Z"}')::text, NULL)) AS c (position, name, third, errors)
ORDER BY c.position;
SELECT pg_temp.judge('[null, null]', NULL), pg_temp.judge('null', NULL), pg_temp.judge('5', '[1]');

-- No query asks for what carries source code, or for a body.
SELECT q.name, w.word
FROM unnest(ARRAY['repository_by_name', 'repository_by_id', 'repository_fields', 'labels', 'milestones', 'pull_request_stubs', 'issue_stubs',
  'pull_requests', 'issues', 'label_page', 'assignee_page', 'review_request_page', 'reviewer_fields', 'review_page', 'thread_page',
  'review_comment_page', 'comment_fields', 'pull_request_timeline_page', 'issue_timeline_page', 'closing_issue_page', 'actor_fields',
  'poll', 'existence', 'viewer', 'projects', 'reviewer_fields_with_teams', 'releases', 'release_pages', 'release_page', 'release_fields',
  'deployments', 'deployment_pages', 'deployment_page', 'deployment_fields', 'deployment_status_page', 'numbered_fields', 'pull_request_sweep', 'issue_sweep']) AS q(name),
  unnest(ARRAY['diffHunk', 'path', 'line', 'files', 'patch', 'blob', 'text', 'object', 'tree', 'body', 'bodyText', 'bodyHTML', 'message', 'email', 'tempCloneToken',
  'description', 'descriptionHTML', 'shortDescriptionHTML', 'releaseAssets', 'payload', 'logUrl', 'environmentUrl']) AS w(word)
WHERE keypup.github_query(q.name) IS NULL OR keypup.github_query(q.name) ~ ('\m' || w.word || '\M');

-- Issues of a page are written once, with what follows from their comments and events; a page that tells the same writes nothing.
SELECT keypup.create_account('once') AS account \gset
INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by) VALUES (:'account', 'github', 'github', 'https://api.github.com', 'me');
INSERT INTO keypup.projects (account_id, connection_id, name, external_id, tracked_by)
SELECT account_id, connection_id, 'o/once', 'R', 'me' FROM keypup.connections WHERE account_id = :'account' RETURNING project_id \gset
INSERT INTO keypup.sync_state (account_id, project_id) VALUES (:'account', :'project_id');
CREATE FUNCTION pg_temp.store_issue(account uuid, project bigint, changes jsonb DEFAULT '{}', OUT written bigint, OUT written_again bigint) LANGUAGE plpgsql AS $$
DECLARE
  -- What a session has counted is not set back at once.
  written_before bigint := pg_stat_get_xact_tuples_inserted('keypup.issues'::regclass);
  written_again_before bigint := pg_stat_get_xact_tuples_updated('keypup.issues'::regclass);
BEGIN
  PERFORM keypup.github_store_rows(account, project, 'issues', jsonb_build_array('{"number": 1, "fullDatabaseId": 1, "id": "I", "url": "u", "title": "t", "state": "CLOSED",
    "author": {"login": "ann", "__typename": "User"}, "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-05T00:00:00Z", "closedAt": "2026-01-05T00:00:00Z",
    "labels": {"nodes": [], "pageInfo": {"hasNextPage": false}}, "assignees": {"nodes": [], "pageInfo": {"hasNextPage": false}},
    "timelineItems": {"nodes": [{"__typename": "ClosedEvent", "id": "E", "actor": {"login": "bob"}, "createdAt": "2026-01-05T00:00:00Z"},
      {"__typename": "IssueComment", "fullDatabaseId": 1, "author": {"login": "bob", "__typename": "User"}, "createdAt": "2026-01-02T00:00:00Z", "updatedAt": "2026-01-02T00:00:00Z", "url": "u"}],
      "pageInfo": {"hasNextPage": false}}}'::jsonb || changes), now());
  written := pg_stat_get_xact_tuples_inserted('keypup.issues'::regclass) - written_before;
  written_again := pg_stat_get_xact_tuples_updated('keypup.issues'::regclass) - written_again_before;
END
$$;
CREATE VIEW pg_temp.stored_issue AS
SELECT i.title, i.closed_by, i.first_response_at, i.comment_count, (SELECT count(*) FROM keypup.comments c WHERE c.account_id = i.account_id AND c.project_id = i.project_id) AS comments
FROM keypup.issues i JOIN keypup.accounts a USING (account_id) WHERE a.name = 'once';
SELECT * FROM pg_temp.store_issue(:'account', :'project_id');
SELECT * FROM pg_temp.store_issue(:'account', :'project_id');
SELECT * FROM pg_temp.stored_issue;
-- A comment less, and a title: one more version. What is older changes neither the issue nor its comments.
SELECT * FROM pg_temp.store_issue(:'account', :'project_id', '{"title": "new", "updatedAt": "2026-01-06T00:00:00Z", "timelineItems": {"nodes": [], "pageInfo": {"hasNextPage": false}}}');
SELECT * FROM pg_temp.store_issue(:'account', :'project_id');
SELECT * FROM pg_temp.stored_issue;
SELECT f.reason FROM keypup.sync_failures f WHERE f.project_id = :'project_id';
DELETE FROM keypup.accounts WHERE account_id = :'account';
