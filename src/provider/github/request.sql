-- provider/github/request.sql: what GitHub is asked. Called by sync/ for one job at a time, as
-- keypup_worker, for the account of the job.

CREATE FUNCTION keypup.github_fragments(names text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (SELECT string_agg(keypup.github_query(n.name), '' ORDER BY n.position) FROM unnest(names)
    WITH ORDINALITY AS n(name, position));
END
$$;
REVOKE ALL ON FUNCTION keypup.github_fragments(text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_fragments(text[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_fragments(text[]) IS 'The texts of several query files as one document.';

CREATE FUNCTION keypup.github_nested(OUT connection text, OUT on_type text, OUT selection text, OUT fragments text[])
RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 10 SET search_path = pg_catalog, pg_temp
AS $$
  VALUES
    ('labels', 'PullRequest', 'labels(first: 100, after: $after%1$s) { ...LabelPage }', '{label_page}'::text[]),
    ('assignees', 'PullRequest', 'assignees(first: 100, after: $after%1$s) { ...AssigneePage }',
      '{assignee_page,actor_fields}'),
    ('reviewRequests', 'PullRequest', 'reviewRequests(first: 100, after: $after%1$s) { ...ReviewRequestPage }',
      '{review_request_page,reviewer_fields}'),
    ('reviews', 'PullRequest', 'reviews(first: 100, after: $after%1$s) { ...ReviewPage }',
      '{review_page,actor_fields}'),
    ('commits', 'PullRequest', 'commits(first: 100, after: $after%1$s) { ...CommitPage }',
      '{commit_page,actor_fields}'),
    ('reviewThreads', 'PullRequest', 'reviewThreads(first: %2$s, after: $after%1$s) { ...ThreadPage }',
      '{thread_page,review_comment_page,actor_fields}'),
    ('timelineItems', 'PullRequest', 'timelineItems(first: 100, after: $after%1$s, itemTypes: [ISSUE_COMMENT, '
      'ASSIGNED_EVENT, UNASSIGNED_EVENT, LABELED_EVENT, UNLABELED_EVENT, READY_FOR_REVIEW_EVENT, '
      'CONVERT_TO_DRAFT_EVENT, REVIEW_REQUESTED_EVENT, '
      'REVIEW_REQUEST_REMOVED_EVENT, REVIEW_DISMISSED_EVENT, MERGED_EVENT, CLOSED_EVENT, REOPENED_EVENT]) { '
      '...PullRequestTimelinePage }',
      '{pull_request_timeline_page,comment_fields,actor_fields,reviewer_fields}'),
    ('closingIssuesReferences', 'PullRequest', 'closingIssuesReferences(first: 100, after: $after%1$s) { '
      '...ClosingIssuePage }', '{closing_issue_page}'),
    ('comments', 'PullRequestReviewThread', 'comments(first: 100, after: $after%1$s) { ...ReviewCommentPage }',
      '{review_comment_page,actor_fields}'),
    ('contexts', 'StatusCheckRollup', 'contexts(first: 100, after: $after%1$s) { ...CheckPage }', '{check_page}'),
    ('statuses', 'Deployment', 'statuses(first: 100, after: $after%1$s) { ...DeploymentStatusPage }',
      '{deployment_status_page}'),
    ('labels', 'Issue', 'labels(first: 100, after: $after%1$s) { ...LabelPage }', '{label_page}'),
    ('assignees', 'Issue', 'assignees(first: 100, after: $after%1$s) { ...AssigneePage }',
      '{assignee_page,actor_fields}'),
    ('timelineItems', 'Issue', 'timelineItems(first: 100, after: $after%1$s, itemTypes: [ISSUE_COMMENT, '
      'ASSIGNED_EVENT, UNASSIGNED_EVENT, LABELED_EVENT, UNLABELED_EVENT, CLOSED_EVENT, REOPENED_EVENT]) '
      '{ ...IssueTimelinePage }',
      '{issue_timeline_page,comment_fields,actor_fields}')
$$;
REVOKE ALL ON FUNCTION keypup.github_nested() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_nested() TO keypup_worker;
COMMENT ON FUNCTION keypup.github_nested() IS 'How a further page of each nested list is asked for.';

-- An older GitHub Enterprise Server lacks some fields. What stands for each, or how it is left out; what is not here is
-- needed.
CREATE FUNCTION keypup.github_optional(OUT field text, OUT pattern text, OUT replacement text) RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 10 SET search_path = pg_catalog, pg_temp
AS $$
  SELECT t.name || '.fullDatabaseId', '\mfullDatabaseId\M(?!:)', 'fullDatabaseId: databaseId'
  FROM unnest(ARRAY['PullRequest', 'PullRequestReview', 'PullRequestReviewComment', 'Issue',
    'IssueComment']) AS t (name)
  UNION ALL
  VALUES ('Issue.stateReason', '\mstateReason\M(\(enableDuplicate: true\))?', ''),
         -- Newer servers tell of duplicates without being asked.
         ('stateReason(enableDuplicate)', '\(enableDuplicate: true\)', ''),
         ('Repository.visibility', '\mvisibility\M', ''),
         ('PullRequest.isDraft', '\misDraft\M', ''),
         ('Repository.defaultBranchRef', '\mdefaultBranchRef \{ name \}', ''),
         ('Deployment.ref', '\mref \{ name \}', ''),
         ('Deployment.commit', '\mcommit \{ committedDate \}', ''),
         ('Organization.viewerIsAMember', '\mviewerIsAMember\M', '__typename'),
         -- These two are lists that a token may be refused, too (github_without); their fragments are left out where
         -- they are put together.
         ('Repository.releases', '\mreleases\(first: 20,[^)]*\) \{ \.\.\.ReleasePage \}', ''),
         ('Repository.releases', '\mlatestRelease \{ id updatedAt \}', ''),
         ('Repository.latestRelease', '\mlatestRelease \{ id updatedAt \}', ''),
         ('Release.tagCommit', '\mtagCommit \{ committedDate \}', ''),
         ('Repository.deployments', '\mdeployments\(first: 20,[^)]*\) \{ \.\.\.DeploymentPage \}', ''),
         ('Repository.deployments',
           '\mdeployments\(first: 1,[^)]*\) \{ totalCount nodes \{ id state updatedAt \} \}', 'id'),
         ('PullRequest.mergeStateStatus', '\mmergeStateStatus\M', ''),
         ('Ref.branchProtectionRule', '\mbranchProtectionRule \{ requiredApprovingReviewCount \}', ''),
         ('Ref.refUpdateRule', '\mrefUpdateRule \{ requiredApprovingReviewCount \}', ''),
         ('Ref.rules', '\mrules\(first: 100\) \{[^{}]*\{[^{}]*\{[^{}]*\{[^{}]*\}[^{}]*\}[^{}]*\}[^{}]*\}', ''),
         ('CheckSuite.workflowRun', '\mworkflowRun \{ workflow \{ name \} \}', ''),
         ('StatusCheckRollup.contexts', '\mcontexts\(first: 50\) \{ \.\.\.CheckPage \}', ''),
         ('StatusCheckRollup.contexts', 'fragment CheckPage on .*?\n\}\n', ''),
         -- With the runs, or without where these are left out already.
         ('Commit.statusCheckRollup', '\mstatusCheckRollup \{ id state [^{}]*(\{[^{}]*\} )?\}', ''),
         ('Commit.statusCheckRollup', 'fragment CheckPage on .*?\n\}\n', ''),
         ('PullRequest.closingIssuesReferences', '\mclosingIssuesReferences\([^)]*\) \{ \.\.\.ClosingIssuePage \}', ''),
         ('PullRequest.closingIssuesReferences', 'fragment ClosingIssuePage on .*?\n\}\n', '')
$$;
CREATE FUNCTION keypup.github_adapt(document text, missing_fields text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  o record;
BEGIN
  IF missing_fields = '{}' THEN
    RETURN document;
  END IF;
  FOR o IN SELECT DISTINCT f.pattern, f.replacement FROM keypup.github_optional() f
  WHERE f.field = ANY (missing_fields) LOOP
    document := regexp_replace(document, o.pattern, o.replacement, 'g');
  END LOOP;
  RETURN document;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_optional(), keypup.github_adapt(text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.github_optional(), keypup.github_adapt(text, text[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.github_optional() IS 'Fields that a server may lack, and what is asked instead.';
COMMENT ON FUNCTION keypup.github_adapt(text, text[]) IS 'A query without the fields that the server lacks.';

CREATE FUNCTION keypup.github_request(account uuid, job bigint, OUT method text, OUT url text, OUT headers text[],
  OUT body text)
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  the_job record;
  query text;
  variables jsonb;
  without text[];
  reviewers text;
  first jsonb;
BEGIN
  SELECT j.kind, j.arguments, j.project_id, p.name, p.external_id, c.missing_fields, c.scopes, c.base_url
    INTO STRICT the_job
  FROM keypup.sync_jobs j
  JOIN keypup.connections c USING (account_id, connection_id)
  LEFT JOIN keypup.projects p ON p.account_id = j.account_id AND p.project_id = j.project_id
  WHERE j.account_id = account AND j.job_id = job;

  without := the_job.missing_fields || keypup.github_refused_fields(account, the_job.project_id);
  -- A classic token's scopes are known from the answer before; what has none is answered with null where it may not
  -- read a team.
  reviewers := CASE WHEN 'Team.combinedSlug' = ANY (without) THEN 'reviewer_fields'
    WHEN the_job.scopes IS NULL OR the_job.scopes ~ '\m(read|write|admin):org\M|\mread:discussion\M'
      THEN 'reviewer_fields_with_teams' ELSE 'reviewer_fields' END;

  first := coalesce(the_job.arguments -> 'first', '100');

  IF the_job.kind = 'repository' AND the_job.external_id IS NULL THEN
    query := keypup.github_fragments('{repository_by_name,repository_fields}'
      || keypup.github_delivery_fragments(without));
    variables := jsonb_build_object('owner', split_part(the_job.name, '/', 1), 'name', split_part(the_job.name, '/', 2),
      'first', first);
  ELSIF the_job.kind = 'repository' THEN
    query := keypup.github_fragments('{repository_by_id,repository_fields}'
      || keypup.github_delivery_fragments(without));
    variables := jsonb_build_object('id', the_job.external_id, 'first', first);
  ELSIF the_job.kind IN ('labels', 'milestones', 'pull_request_stubs', 'issue_stubs', 'pull_request_sweep',
    'issue_sweep') THEN
    query := keypup.github_query(the_job.kind);
    variables := jsonb_build_object('id', the_job.external_id, 'after', the_job.arguments -> 'after', 'first', first);
  ELSIF the_job.kind = 'existence' THEN
    query := keypup.github_query('existence');
    variables := jsonb_build_object('repository', the_job.external_id,
      'ids', jsonb_path_query_array(the_job.arguments, '$.items[*].id'));
  ELSIF the_job.kind = 'poll' THEN
    query := keypup.github_query('poll');
    variables := keypup.github_poll_variables(account, job, the_job.arguments -> 'items', without);
  ELSIF the_job.kind IN ('releases', 'deployments') THEN
    query := keypup.github_fragments(CASE the_job.kind
      WHEN 'releases' THEN '{releases,release_fields,actor_fields}'::text[]
      ELSE '{deployments,deployment_fields,deployment_status_page,actor_fields}' END);
    variables := jsonb_build_object('ids', the_job.arguments -> 'items');
  ELSIF the_job.kind IN ('release_pages', 'deployment_pages') THEN
    query := keypup.github_fragments(CASE the_job.kind
      WHEN 'release_pages' THEN '{release_pages,release_page,release_fields,actor_fields}'::text[]
      ELSE '{deployment_pages,deployment_page,deployment_fields,deployment_status_page,actor_fields}' END);
    variables := jsonb_build_object('id', the_job.external_id, 'after', the_job.arguments -> 'after', 'first', first);
  ELSIF the_job.kind = 'pull_requests' THEN
    query := keypup.github_fragments('{pull_requests,label_page,assignee_page,review_request_page,review_page,'
      'commit_page,pull_request_timeline_page,closing_issue_page,comment_fields,actor_fields}'::text[] || reviewers);
    variables := jsonb_build_object('ids', the_job.arguments -> 'items');
  ELSIF the_job.kind = 'merge_states' THEN
    query := keypup.github_fragments('{merge_states,check_page}'::text[]);
    variables := jsonb_build_object('ids', the_job.arguments -> 'items');
  ELSIF the_job.kind = 'issues' THEN
    query := keypup.github_fragments('{issues,label_page,assignee_page,issue_timeline_page,comment_fields,'
      'actor_fields}'::text[]);
    variables := jsonb_build_object('ids', the_job.arguments -> 'items');
  ELSIF the_job.kind = 'numbers' THEN
    SELECT format('query KeypupNumbers($id: ID!) { rateLimit { limit cost remaining resetAt } node(id: $id) { id ... '
      'on Repository { %s } } } %s',
      string_agg(format('n%s: issueOrPullRequest(number: %s) { ...NumberedFields }', n.position - 1, n.number), ' '
        ORDER BY n.position),
      keypup.github_query('numbered_fields'))
    INTO query
    FROM jsonb_array_elements_text(the_job.arguments -> 'items') WITH ORDINALITY AS n (number, position);
    variables := jsonb_build_object('id', the_job.external_id);
  ELSIF the_job.kind = 'nested_pages' THEN
    WITH page AS (
      SELECT a.position - 1 AS i, a.page ->> 'node' AS node, a.page -> 'after' AS after,
        -- Each thread asked for costs a hundredth of a point, there or not: no more than were counted.
        least(50, greatest(1, coalesce((a.page ->> 'count')::integer, 40))) AS threads, n.on_type, n.selection,
        array_replace(n.fragments, 'reviewer_fields', reviewers) AS fragments
      FROM jsonb_array_elements(the_job.arguments -> 'items') WITH ORDINALITY AS a(page, position)
      JOIN keypup.github_nested() n ON n.connection = a.page ->> 'connection'
       AND n.on_type = CASE a.page ->> 'item' WHEN 'pull_request' THEN 'PullRequest' WHEN 'issue' THEN 'Issue'
         WHEN 'deployment' THEN 'Deployment' WHEN 'status_check_rollup' THEN 'StatusCheckRollup'
         ELSE 'PullRequestReviewThread' END
    )
    SELECT format('query KeypupNestedPages(%s) { rateLimit { limit cost remaining resetAt } %s } %s',
             string_agg(format('$id%1$s: ID!, $after%1$s: String', i), ', ' ORDER BY i),
             string_agg(format('n%1$s: node(id: $id%1$s) { id ... on %2$s { %3$s } }', i, on_type,
               format(selection, i, threads)), ' ' ORDER BY i),
             (SELECT keypup.github_fragments(array_agg(DISTINCT f.fragment)) FROM page AS p,
               unnest(p.fragments) AS f(fragment))),
           (SELECT jsonb_object_agg(v.name, v.value) FROM page AS p,
              LATERAL (VALUES ('id' || p.i, to_jsonb(p.node)), ('after' || p.i, p.after)) AS v(name, value))
    INTO query, variables
    FROM page;
  ELSE
    RAISE EXCEPTION 'job kind "%" is unknown', the_job.kind USING ERRCODE = 'internal_error';
  END IF;
  SELECT r.method, r.url, r.headers, r.body INTO method, url, headers, body
  FROM keypup.github_post(the_job.base_url,
    jsonb_build_object('query', keypup.github_adapt(query, without), 'variables', variables)) AS r;
END
$$;
REVOKE ALL ON FUNCTION keypup.github_request(uuid, bigint) FROM PUBLIC;
COMMENT ON FUNCTION keypup.github_request(uuid, bigint) IS 'The request of a job.';
