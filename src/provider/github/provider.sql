-- provider/github/provider.sql: GitHub, and GitHub Enterprise Server.

INSERT INTO keypup.providers (provider, title, default_url, project_pattern, project_hint, token_hint, authorizes_by,
  reply_headers, webhook_signature, grant_kind, first_kind, poll_size, offers, reads, batched_kinds, refusable)
VALUES ('github', 'GitHub', 'https://api.github.com',
  -- A repository is not called . or .., and an owner not -.
  '^[A-Za-z0-9][A-Za-z0-9-]{0,38}/(?![.]{1,2}$)[A-Za-z0-9._-]{1,100}$', 'Write a GitHub repository as owner/name.',
  'Create one at the provider, with read access to metadata, issues, pull requests and deployments.', 'bearer',
  '{x-ratelimit-limit,x-ratelimit-remaining,x-ratelimit-used,x-ratelimit-reset,x-ratelimit-resource,x-github-sso,'
  'github-authentication-token-expiration,x-oauth-scopes}',
  'hmac-sha256-hex', 'app', 'repository', 100, '{discover,sign_in}',
  '{pull_requests,reviews,issues,comments,labels,milestones,timeline_events,releases,deployments,'
    'commits,merge_states,checks}',
  '{pull_requests,issues}',
  '[["Repository.releases", "releases"], ["Repository.deployments", "deployments"],
    ["Release.tagCommit", "commits of releases"], ["Deployment.commit", "commits of deployments"],
    ["Deployment.ref", "branches of deployments"], ["Repository.defaultBranchRef", "branches"],
    ["Team.combinedSlug", "teams"], ["Commit.statusCheckRollup", "checks"],
    ["StatusCheckRollup.contexts", "runs of checks"],
    ["CheckSuite.workflowRun", "workflows of checks"], ["Ref.branchProtectionRule", "protections of branches"],
    ["Ref.refUpdateRule", "protections of branches that bind it"], ["Ref.rules", "rulesets of branches"]]');

-- https://api.github.com -> https://api.github.com/graphql; https://HOST/api/v3 (GitHub Enterprise Server) ->
-- https://HOST/api/graphql (docs.github.com, "Forming calls with GraphQL"). Ids are asked for in the new format,
-- whatever the age of what they name.
CREATE FUNCTION keypup.github_post(base_url text, query jsonb, OUT method text, OUT url text, OUT headers text[],
  OUT body text)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  method := 'POST';
  url := regexp_replace(base_url, '(?<=.)/v3$', '') || '/graphql';
  headers := '{X-Github-Next-Global-ID: 1}';
  body := query::text;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_post(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_post(text, jsonb) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_post(text, jsonb) IS 'The request that asks GitHub''s GraphQL API a query.';
