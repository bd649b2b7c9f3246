-- insight/delivery.sql: what reached production, what it carried, and what broke there. doc/delivery.md has the
-- definitions.

CREATE FUNCTION keypup.name_patterns(names text[], what text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF names IS NULL OR cardinality(names) > 100
    OR EXISTS (SELECT FROM unnest(names) AS n(name) WHERE n.name IS NULL OR n.name !~ '^[^[:cntrl:]\\]{1,100}$') THEN
    RAISE EXCEPTION 'a name among the % is malformed', what
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Give at most 100 names of 1 to 100 characters, without '
        'backslash and control characters; % stands for anything, _ for one character.';
  END IF;
  RETURN ARRAY(SELECT DISTINCT lower(lower(n.name COLLATE "C") COLLATE "default") FROM unnest(names) AS n(name)
    ORDER BY 1);
END
$$;
REVOKE ALL ON FUNCTION keypup.name_patterns(text[], text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.name_patterns(text[], text) IS
  'Names as the settings of an account keep them: in lower case, sorted, each once.';

CREATE FUNCTION keypup.is_named(names text[], patterns text[]) RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'keypup_is_named';
REVOKE ALL ON FUNCTION keypup.is_named(text[], text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.is_named(text[], text[]) TO keypup_member;
COMMENT ON FUNCTION keypup.is_named(text[], text[]) IS
  'Whether any of the names is, in lower case, like any of the patterns that an account has set.';

CREATE FUNCTION keypup.set_production_environments(account text, names text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'settings.write');
  patterns text[] := keypup.name_patterns(names, 'production environments');
BEGIN
  UPDATE keypup.accounts a SET production_environments = patterns WHERE a.account_id = the_account;
  PERFORM keypup.record_action(the_account, 'account.production_environments', array_to_string(patterns, ', '));
END
$$;
REVOKE ALL ON FUNCTION keypup.set_production_environments(text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.set_production_environments(text, text[]) TO keypup_member;
COMMENT ON FUNCTION keypup.set_production_environments(text, text[]) IS
  'Says which environments are production, % standing for anything; the delivery views count by it from the next '
  'statement on.';

CREATE FUNCTION keypup.set_incident_labels(account text, names text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'settings.write');
  patterns text[] := keypup.name_patterns(names, 'incident labels');
BEGIN
  UPDATE keypup.accounts a SET incident_labels = patterns WHERE a.account_id = the_account;
  PERFORM keypup.record_action(the_account, 'account.incident_labels', array_to_string(patterns, ', '));
END
$$;
REVOKE ALL ON FUNCTION keypup.set_incident_labels(text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.set_incident_labels(text, text[]) TO keypup_member;
COMMENT ON FUNCTION keypup.set_incident_labels(text, text[]) IS
  'Says by which labels or types an issue is an incident, % standing for anything; the delivery views count by it from '
  'the next statement on.';

CREATE FUNCTION keypup.set_rework_labels(account text, names text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'settings.write');
  patterns text[] := keypup.name_patterns(names, 'rework labels');
BEGIN
  UPDATE keypup.accounts a SET rework_labels = patterns WHERE a.account_id = the_account;
  PERFORM keypup.record_action(the_account, 'account.rework_labels', array_to_string(patterns, ', '));
END
$$;
REVOKE ALL ON FUNCTION keypup.set_rework_labels(text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.set_rework_labels(text, text[]) TO keypup_member;
COMMENT ON FUNCTION keypup.set_rework_labels(text, text[]) IS
  'Says by which labels a pull request mends what is in production, % standing for anything, beside those of '
  'incidents; the delivery views count by it from the next statement on.';

CREATE FUNCTION keypup.set_deployment_window(account text, span interval) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET intervalstyle = 'postgres'
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'settings.write');
BEGIN
  IF span IS NULL OR span NOT BETWEEN interval '0' AND interval '7 days' THEN
    RAISE EXCEPTION 'a deployment window of % is out of range', coalesce(span::text, 'NULL')
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Give 0 to 7 days; 0: each deployment is a change of its own.';
  END IF;
  UPDATE keypup.accounts a SET deployment_window = span WHERE a.account_id = the_account;
  PERFORM keypup.record_action(the_account, 'account.deployment_window', span::text);
END
$$;
REVOKE ALL ON FUNCTION keypup.set_deployment_window(text, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.set_deployment_window(text, interval) TO keypup_member;
COMMENT ON FUNCTION keypup.set_deployment_window(text, interval) IS
  'Says how long after the first deployment of a commit to production, or after a try that failed, another of the '
  'same commit is the same change; 0: never. The delivery views count by it from the next statement on.';

CREATE VIEW keypup.delivery_sources WITH (security_invoker = true, security_barrier = true) AS
SELECT p.account_id, p.project_id, p.name AS project, p.default_branch,
  keypup.known_time_zone(a.time_zone) AS time_zone, a.production_environments, a.incident_labels, a.rework_labels,
  a.deployment_window,
  -- Tries that all failed deliver nothing: what is released beside them does.
  CASE WHEN EXISTS (
    SELECT FROM keypup.deployments d
    WHERE d.account_id = p.account_id AND d.project_id = p.project_id AND d.deleted_at IS NULL
      AND lower(lower(d.environment COLLATE "C") COLLATE "default") LIKE ANY (a.production_environments)
      AND (d.succeeded_at IS NOT NULL OR NOT EXISTS (
        SELECT FROM keypup.releases r
        WHERE r.account_id = p.account_id AND r.project_id = p.project_id AND r.deleted_at IS NULL
          AND NOT r.is_draft AND NOT r.is_prerelease AND r.published_at IS NOT NULL)))
  THEN 'deployment' ELSE 'release' END AS source
FROM keypup.projects p
-- LIMIT, so that the planner does not take the projects of an account for one.
CROSS JOIN LATERAL (SELECT c.time_zone, c.production_environments, c.incident_labels, c.rework_labels,
  c.deployment_window FROM keypup.accounts c WHERE c.account_id = p.account_id LIMIT 1) AS a;
REVOKE ALL ON keypup.delivery_sources FROM PUBLIC;
GRANT SELECT ON keypup.delivery_sources TO keypup_member;
COMMENT ON VIEW keypup.delivery_sources IS
  'One row a project: whether its deliveries are deployments to production or, where none ever succeeded, its '
  'releases.';
COMMENT ON COLUMN keypup.delivery_sources.account_id IS 'The account.';
COMMENT ON COLUMN keypup.delivery_sources.project_id IS 'The project.';
COMMENT ON COLUMN keypup.delivery_sources.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.delivery_sources.default_branch IS
  'Name of the main branch; NULL while the repository is empty.';
COMMENT ON COLUMN keypup.delivery_sources.time_zone IS 'The account''s, or UTC where this server does not know it.';
COMMENT ON COLUMN keypup.delivery_sources.production_environments IS
  'Which environments of the account are production.';
COMMENT ON COLUMN keypup.delivery_sources.incident_labels IS
  'By which labels and types an issue of the account is an incident.';
COMMENT ON COLUMN keypup.delivery_sources.rework_labels IS
  'By which labels, beside those of incidents, a pull request of the account mends what is in production.';
COMMENT ON COLUMN keypup.delivery_sources.deployment_window IS
  'How long after the first deployment of a commit another of the same commit is the same change; 0: never.';
COMMENT ON COLUMN keypup.delivery_sources.source IS
  'deployment: one to production succeeded, or some were tried and the project has no release. release: otherwise; its '
  'published releases count.';

CREATE VIEW keypup.production_deployments WITH (security_invoker = true, security_barrier = true) AS
SELECT s.account_id, s.project_id, s.project, s.source, d.external_id, d.environment, d.environments, d.name, d.creator,
  d.creator_is_bot, d.started_at, d.deployed_at, d.commit_at, d.succeeded
FROM keypup.delivery_sources s
CROSS JOIN LATERAL (
  -- The first of a change stands for it.
  SELECT (g.first).external_id, (g.first).environment, CASE WHEN cardinality(g.environments) > 1
      THEN (SELECT count(DISTINCT e.name) FROM unnest(g.environments) AS e (name))
      ELSE coalesce(cardinality(g.environments), 0) END AS environments, (g.first).ref AS name,
    (g.first).creator, (g.first).creator_is_bot, (g.first).created_at AS started_at,
    coalesce(g.succeeded_at, g.failed_at) AS deployed_at, (g.first).commit_at, g.succeeded_at IS NOT NULL AS succeeded
  FROM (
    -- Most changes are one deployment: an aggregate with an order, or DISTINCT, would sort for each.
    SELECT (array_agg(c.deployment))[array_position(array_agg(c.turn), min(c.turn))] AS first,
      min(c.succeeded_at) AS succeeded_at, min(c.failed_at) AS failed_at,
      array_agg(lower(lower(c.environment COLLATE "C") COLLATE "default"))
        FILTER (WHERE c.succeeded_at IS NOT NULL) AS environments
    FROM (
      -- A change goes on from window to window until one in which it succeeds.
      SELECT w.*, max(w.place) FILTER (WHERE w.succeeded_at IS NOT NULL) OVER (PARTITION BY w.commit_at, w.ref,
        w.alone, w.began_at ORDER BY w.place
        RANGE UNBOUNDED PRECEDING EXCLUDE GROUP) AS succeeded_before
      FROM (
        -- The same commit over and over, without a pause as long as the window: cut into windows.
        SELECT b.*, CASE WHEN b.created_at > b.began_at THEN ceil(extract(epoch FROM b.created_at - b.began_at)
          / extract(epoch FROM s.deployment_window)) ELSE 1 END AS place
        FROM (
          SELECT a.*, max(a.created_at) FILTER (WHERE a.pause IS NULL OR a.pause > s.deployment_window)
            OVER (PARTITION BY a.commit_at, a.ref, a.alone ORDER BY a.created_at, a.external_id COLLATE "C"
              ROWS UNBOUNDED PRECEDING) AS began_at
          FROM (
            SELECT d AS deployment, d.external_id, d.environment, d.ref, d.created_at, d.commit_at, d.succeeded_at,
              d.failed_at, o.alone,
              row_number() OVER (PARTITION BY d.commit_at, d.ref, o.alone
                ORDER BY d.created_at, d.external_id COLLATE "C") AS turn,
              -- A try that failed lasts until then.
              d.created_at - lag(CASE WHEN d.succeeded_at IS NULL THEN greatest(d.created_at, d.failed_at)
                ELSE d.created_at END) OVER (PARTITION BY d.commit_at, d.ref, o.alone
                ORDER BY d.created_at, d.external_id COLLATE "C") AS pause
            FROM keypup.deployments d
            -- Of which commit it is may be unknown: then it is a change of its own.
            CROSS JOIN LATERAL (SELECT CASE WHEN d.commit_at IS NULL OR s.deployment_window = interval '0'
              THEN d.external_id END AS alone) AS o
            WHERE s.source = 'deployment' AND d.account_id = s.account_id AND d.project_id = s.project_id
              AND d.deleted_at IS NULL
              AND lower(lower(d.environment COLLATE "C") COLLATE "default") LIKE ANY (s.production_environments)
          ) AS a
        ) AS b
      ) AS w
    ) AS c
    GROUP BY c.commit_at, c.ref, c.alone, c.began_at, c.succeeded_before
  ) AS g
  WHERE coalesce(g.succeeded_at, g.failed_at) IS NOT NULL
  UNION ALL
  SELECT r.external_id, NULL, NULL, r.tag_name, r.author, r.author_is_bot, r.published_at, r.published_at, r.commit_at,
    true
  FROM keypup.releases r
  WHERE s.source = 'release' AND r.account_id = s.account_id AND r.project_id = s.project_id AND r.deleted_at IS NULL
    AND NOT r.is_draft AND NOT r.is_prerelease AND r.published_at IS NOT NULL
) AS d;
REVOKE ALL ON keypup.production_deployments FROM PUBLIC;
GRANT SELECT ON keypup.production_deployments TO keypup_member;
COMMENT ON VIEW keypup.production_deployments IS
  'One row a delivery that ended: a change that was deployed to production, to however many environments, or, in a '
  'project where no such deployment succeeded, a published release that is no pre-release.';
COMMENT ON COLUMN keypup.production_deployments.account_id IS 'The account.';
COMMENT ON COLUMN keypup.production_deployments.project_id IS 'The project.';
COMMENT ON COLUMN keypup.production_deployments.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.production_deployments.source IS 'deployment or release.';
COMMENT ON COLUMN keypup.production_deployments.external_id IS
  'The provider''s id of the release, or of the deployment: the first one of the change that was begun.';
COMMENT ON COLUMN keypup.production_deployments.environment IS
  'Where that deployment went to; NULL for a release.';
COMMENT ON COLUMN keypup.production_deployments.environments IS
  'How many environments the change reached: one commit that is deployed to several within the account''s '
  'deployment_window is one change, and so is a failed one with its next try. 0 where it never succeeded; NULL for a '
  'release.';
COMMENT ON COLUMN keypup.production_deployments.name IS 'Branch or tag deployed, or the tag of the release.';
COMMENT ON COLUMN keypup.production_deployments.creator IS
  'Login of who deployed or released; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.production_deployments.creator_is_bot IS 'Whether that is a bot.';
COMMENT ON COLUMN keypup.production_deployments.started_at IS
  'When the first deployment of the change was begun, or the release published.';
COMMENT ON COLUMN keypup.production_deployments.deployed_at IS
  'When it first succeeded in any environment or, where it never did, first failed; when the release was published.';
COMMENT ON COLUMN keypup.production_deployments.commit_at IS
  'When the delivered commit was committed; NULL where the provider does not say.';
COMMENT ON COLUMN keypup.production_deployments.succeeded IS
  'Whether it ever succeeded, at the second try or in one environment of several, too.';

CREATE VIEW keypup.project_deliveries WITH (security_invoker = true, security_barrier = true) AS
-- In arrays that can be searched by halves: who asks needs no join with deliveries. A merge commit is made within the
-- minute of the merge.
SELECT s.account_id, s.project_id, s.project, s.default_branch, s.incident_labels, s.source, l.deployment_ids,
  l.deployment_times, l.carries_until, l.causes_from, s.rework_labels
FROM keypup.delivery_sources s
CROSS JOIN LATERAL (
  SELECT array_agg(o.external_id) AS deployment_ids, array_agg(o.deployed_at) AS deployment_times,
    array_agg(o.carries_until) AS carries_until, array_agg(o.causes_from) AS causes_from
  FROM (
    SELECT d.external_id, d.deployed_at,
      -- A commit may be dated at the end of all times: there is no minute after that.
      max(least(d.started_at, d.deployed_at, least(d.commit_at, d.started_at) + interval '1 minute'))
        OVER (ORDER BY d.started_at, d.external_id COLLATE "C" ROWS UNBOUNDED PRECEDING) AS carries_until,
      min(greatest(d.started_at, d.deployed_at))
        OVER (ORDER BY d.started_at DESC, d.external_id COLLATE "C" DESC ROWS UNBOUNDED PRECEDING) AS causes_from
    FROM keypup.production_deployments d
    WHERE d.account_id = s.account_id AND d.project_id = s.project_id AND d.succeeded
    ORDER BY d.started_at, d.external_id COLLATE "C"
  ) AS o
) AS l;
REVOKE ALL ON keypup.project_deliveries FROM PUBLIC;
GRANT SELECT ON keypup.project_deliveries TO keypup_member;
COMMENT ON VIEW keypup.project_deliveries IS
  'One row a project: its successful deliveries in the order of their start. The arrays are NULL while there are none.';
COMMENT ON COLUMN keypup.project_deliveries.account_id IS 'The account.';
COMMENT ON COLUMN keypup.project_deliveries.project_id IS 'The project.';
COMMENT ON COLUMN keypup.project_deliveries.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.project_deliveries.default_branch IS
  'Name of the main branch; NULL while the repository is empty.';
COMMENT ON COLUMN keypup.project_deliveries.incident_labels IS
  'By which labels and types an issue of the account is an incident.';
COMMENT ON COLUMN keypup.project_deliveries.rework_labels IS
  'By which labels, beside those of incidents, a pull request of the account mends what is in production.';
COMMENT ON COLUMN keypup.project_deliveries.source IS
  'deployment or release: what counts as a delivery of the project.';
COMMENT ON COLUMN keypup.project_deliveries.deployment_ids IS 'The provider''s ids of the deployments or releases.';
COMMENT ON COLUMN keypup.project_deliveries.deployment_times IS 'When each reached production.';
COMMENT ON COLUMN keypup.project_deliveries.carries_until IS
  'The last moment whose merges each, or one before it, carries; ascending.';
COMMENT ON COLUMN keypup.project_deliveries.causes_from IS
  'The first moment from which an incident is put down to each or to one after it; ascending.';

CREATE VIEW keypup.pull_request_delivery WITH (security_invoker = true, security_barrier = true) AS
-- Gathered once, and then searched by each pull request: no window over them, so a time range leaves the others out.
WITH source AS MATERIALIZED (
  SELECT d.* FROM keypup.project_deliveries d
)
SELECT p.account_id, p.project_id, s.project, p.number, p.author, p.author_is_bot, p.created_at, p.first_commit_at,
  p.merged_at, m.is_into_main, s.source, s.deployment_ids[c.place] AS deployment_id,
    c.place::bigint AS deployment_number, s.deployment_times[c.place] AS deployed_at,
    s.deployment_times[c.place] - p.merged_at AS deploy_time,
  -- As in pull_request_cycle.
  s.deployment_times[c.place] - least(p.first_commit_at, p.created_at, p.ready_at, p.merged_at) AS change_lead_time,
  CASE WHEN keypup.is_named(p.labels, s.rework_labels || s.incident_labels) THEN 'label'
    WHEN p.closes_issues <> '{}' AND EXISTS (
      SELECT FROM keypup.issues i
      WHERE i.account_id = p.account_id AND i.project_id = p.project_id AND i.number = ANY (p.closes_issues)
        AND i.deleted_at IS NULL AND keypup.is_named(i.labels || i.type, s.incident_labels)) THEN 'incident'
    -- What is put back after a revert was planned.
    WHEN p.title COLLATE "C" ~* '^revert' AND keypup.reverted_title(p.title) IS NOT NULL
      THEN 'revert' END AS rework_reason
FROM keypup.pull_requests p
JOIN source s ON s.account_id = p.account_id AND s.project_id = p.project_id
-- A provider keeps the name that the branch had at the merge, and master is what most main branches were named before.
CROSS JOIN LATERAL (SELECT coalesce(p.base_branch = s.default_branch OR p.base_branch = 'master' AND s.default_branch
  = 'main', true) AS is_into_main) AS m
-- The first that carries merges of this moment, and none beyond the last.
CROSS JOIN LATERAL (
  SELECT CASE WHEN m.is_into_main THEN nullif(width_bucket(p.merged_at - interval '1 microsecond', s.carries_until),
    cardinality(s.carries_until)) + 1 END AS place
) AS c
WHERE p.deleted_at IS NULL AND p.merged_at IS NOT NULL;
REVOKE ALL ON keypup.pull_request_delivery FROM PUBLIC;
GRANT SELECT ON keypup.pull_request_delivery TO keypup_member;
COMMENT ON VIEW keypup.pull_request_delivery IS
  'One row a merged pull request that is not deleted: the first successful delivery that was begun after the merge, '
  'with a commit that is not older. What is merged elsewhere than into the main branch has none.';
COMMENT ON COLUMN keypup.pull_request_delivery.account_id IS 'The account.';
COMMENT ON COLUMN keypup.pull_request_delivery.project_id IS 'The project.';
COMMENT ON COLUMN keypup.pull_request_delivery.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.pull_request_delivery.number IS 'Number within the project.';
COMMENT ON COLUMN keypup.pull_request_delivery.author IS 'Login; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.pull_request_delivery.author_is_bot IS 'Whether a bot opened it.';
COMMENT ON COLUMN keypup.pull_request_delivery.created_at IS 'When it was opened.';
COMMENT ON COLUMN keypup.pull_request_delivery.first_commit_at IS
  'When the first commit was authored, as the provider gives it.';
COMMENT ON COLUMN keypup.pull_request_delivery.merged_at IS 'When it was merged.';
COMMENT ON COLUMN keypup.pull_request_delivery.is_into_main IS
  'Whether it was merged into the main branch, or one of the two is not known. Where that is main, master was it '
  'before.';
COMMENT ON COLUMN keypup.pull_request_delivery.source IS
  'deployment or release: what counts as a delivery of the project.';
COMMENT ON COLUMN keypup.pull_request_delivery.deployment_id IS
  'The provider''s id of that deployment or release; NULL while there is none.';
COMMENT ON COLUMN keypup.pull_request_delivery.deployment_number IS
  'Which successful delivery of its project that is: 1 is the first that was begun.';
COMMENT ON COLUMN keypup.pull_request_delivery.deployed_at IS 'When it reached production; NULL while it has not.';
COMMENT ON COLUMN keypup.pull_request_delivery.deploy_time IS
  'Merge to production; NULL while it has not reached it, never 0 instead.';
COMMENT ON COLUMN keypup.pull_request_delivery.change_lead_time IS
  'DORA''s lead time for changes: start of coding to production; NULL while it has not reached it.';
COMMENT ON COLUMN keypup.pull_request_delivery.rework_reason IS
  'Why it counts as mending what is in production: label (one of accounts.rework_labels or accounts.incident_labels), '
  'incident (its merge closes such an issue of the project) or revert (by its title); the first that holds. NULL '
  'otherwise.';

CREATE VIEW keypup.incidents WITH (security_invoker = true, security_barrier = true) AS
WITH source AS MATERIALIZED (
  SELECT d.* FROM keypup.project_deliveries d
)
SELECT i.account_id, i.project_id, s.project, i.number, i.title, i.state, i.created_at, i.closed_at,
  s.deployment_ids[c.place] AS deployment_id, s.deployment_times[c.place] AS deployed_at,
  CASE WHEN i.state = 'closed' AND i.closed_at >= i.created_at THEN i.closed_at - i.created_at END AS time_to_restore,
  CASE WHEN i.state = 'closed' AND i.closed_at >= s.deployment_times[c.place]
    THEN i.closed_at - s.deployment_times[c.place] END AS recovery_time
FROM keypup.issues i
JOIN source s ON s.account_id = i.account_id AND s.project_id = i.project_id
-- The last delivery before it; there is no place 0.
CROSS JOIN LATERAL (SELECT width_bucket(i.created_at, s.causes_from) AS place) AS c
WHERE i.deleted_at IS NULL AND i.created_at <= now()
  -- What was none after all is no failure of a change.
  AND (i.state = 'open' OR i.state_reason IS NULL OR i.state_reason NOT IN ('not_planned', 'duplicate'))
  AND keypup.is_named(i.labels || i.type, s.incident_labels);
REVOKE ALL ON keypup.incidents FROM PUBLIC;
GRANT SELECT ON keypup.incidents TO keypup_member;
COMMENT ON VIEW keypup.incidents IS
  'One row an issue that is an incident by its labels or type, with the delivery that it is put down to. One that '
  'was closed as not planned or as a duplicate is none.';
COMMENT ON COLUMN keypup.incidents.account_id IS 'The account.';
COMMENT ON COLUMN keypup.incidents.project_id IS 'The project.';
COMMENT ON COLUMN keypup.incidents.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.incidents.number IS 'Number of the issue.';
COMMENT ON COLUMN keypup.incidents.title IS 'Title.';
COMMENT ON COLUMN keypup.incidents.state IS 'open or closed.';
COMMENT ON COLUMN keypup.incidents.created_at IS 'When it was opened.';
COMMENT ON COLUMN keypup.incidents.closed_at IS 'When it was last closed; NULL while open.';
COMMENT ON COLUMN keypup.incidents.deployment_id IS
  'The provider''s id of the last successful delivery of its project before the opening: the change that is taken to '
  'have caused it; NULL without one.';
COMMENT ON COLUMN keypup.incidents.deployed_at IS 'When that delivery reached production.';
COMMENT ON COLUMN keypup.incidents.time_to_restore IS
  'Opening to the last closing; NULL while open, or when the closing is dated before the opening.';
COMMENT ON COLUMN keypup.incidents.recovery_time IS
  'DORA''s failed deployment recovery time: that delivery to the closing; NULL while open, and without a delivery.';

CREATE VIEW keypup.deployment_metrics WITH (security_invoker = true, security_barrier = true) AS
-- The delivery and all that belongs to it in one list, and no join: without figures the planner would compare each with
-- every row.
WITH fact AS (
  SELECT d.account_id, d.project_id, d.external_id, d.deployed_at, true AS is_deployment, d AS deployment,
    NULL::bigint AS number, NULL::interval AS lead_time, NULL::boolean AS is_rework, NULL::bigint AS incident,
    NULL::timestamptz AS recovered_at
  FROM keypup.production_deployments d
  UNION ALL
  SELECT p.account_id, p.project_id, p.deployment_id, p.deployed_at, false, NULL, c.number, c.change_lead_time,
    CASE WHEN p.rework_reason IS NOT NULL THEN true WHEN NOT p.author_is_bot THEN false END, NULL, NULL
  FROM keypup.pull_request_delivery p
  LEFT JOIN LATERAL (SELECT p.number, p.change_lead_time WHERE keypup.counts_bots() OR NOT p.author_is_bot) AS c ON true
  WHERE p.deployment_id IS NOT NULL
  UNION ALL
  SELECT i.account_id, i.project_id, i.deployment_id, i.deployed_at, false, NULL, NULL, NULL, NULL, i.number, CASE
    WHEN i.state = 'closed' THEN i.closed_at END FROM keypup.incidents i WHERE i.deployment_id IS NOT NULL
), gathered AS (
  SELECT f.account_id, f.project_id, f.external_id, f.deployed_at,
    (array_agg(f.deployment) FILTER (WHERE f.is_deployment))[1] AS deployment, count(f.number) AS pull_requests,
    justify_hours(percentile_cont(0.5) WITHIN GROUP (ORDER BY f.lead_time)) AS change_lead_time_p50,
    count(*) FILTER (WHERE f.is_rework) AS rework_pull_requests, coalesce(bool_and(f.is_rework), false) AS is_rework,
    count(f.incident) AS incidents,
    CASE WHEN count(f.incident) = count(f.recovered_at) THEN max(f.recovered_at) END AS recovered_at
  FROM fact f
  -- By its time too, which all of them have from it: so a time range passes by the rest.
  GROUP BY f.account_id, f.project_id, f.external_id, f.deployed_at
  HAVING bool_or(f.is_deployment)
)
SELECT g.account_id, g.project_id, (g.deployment).project, (g.deployment).source, g.external_id,
  (g.deployment).environment, (g.deployment).environments, (g.deployment).name, (g.deployment).creator,
  (g.deployment).creator_is_bot, (g.deployment).started_at, g.deployed_at, (g.deployment).succeeded, g.pull_requests,
  g.change_lead_time_p50, g.incidents,
    g.incidents > 0 AS is_failed_change, g.recovered_at,
  CASE WHEN g.recovered_at >= g.deployed_at THEN g.recovered_at - g.deployed_at END AS recovered_after,
  g.rework_pull_requests, g.is_rework
FROM gathered g;
REVOKE ALL ON keypup.deployment_metrics FROM PUBLIC;
GRANT SELECT ON keypup.deployment_metrics TO keypup_member;
COMMENT ON VIEW keypup.deployment_metrics IS
  'One row a delivery that ended: what it carried, and what broke after it. '
  'What bots opened counts unless keypup.count_bots is off.';
COMMENT ON COLUMN keypup.deployment_metrics.account_id IS 'The account.';
COMMENT ON COLUMN keypup.deployment_metrics.project_id IS 'The project.';
COMMENT ON COLUMN keypup.deployment_metrics.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.deployment_metrics.source IS 'deployment or release.';
COMMENT ON COLUMN keypup.deployment_metrics.external_id IS 'As in production_deployments.';
COMMENT ON COLUMN keypup.deployment_metrics.environment IS
  'Where the first deployment of it went to; NULL for a release.';
COMMENT ON COLUMN keypup.deployment_metrics.environments IS
  'How many environments it reached; 0 where it never succeeded, NULL for a release.';
COMMENT ON COLUMN keypup.deployment_metrics.name IS 'Branch or tag deployed, or the tag of the release.';
COMMENT ON COLUMN keypup.deployment_metrics.creator IS
  'Login of who deployed or released; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.deployment_metrics.creator_is_bot IS 'Whether that is a bot.';
COMMENT ON COLUMN keypup.deployment_metrics.started_at IS
  'When the first deployment of it was begun, or the release published.';
COMMENT ON COLUMN keypup.deployment_metrics.deployed_at IS
  'When it first succeeded in any environment or, where it never did, first failed; when the release was published.';
COMMENT ON COLUMN keypup.deployment_metrics.succeeded IS 'Whether it ever succeeded.';
COMMENT ON COLUMN keypup.deployment_metrics.pull_requests IS 'Pull requests that it brought to production first.';
COMMENT ON COLUMN keypup.deployment_metrics.change_lead_time_p50 IS
  'Median change_lead_time of these, interpolated; NULL without one.';
COMMENT ON COLUMN keypup.deployment_metrics.incidents IS
  'Incidents that are put down to it: opened after it, and before the next successful one.';
COMMENT ON COLUMN keypup.deployment_metrics.is_failed_change IS
  'Whether there are any: a failed change, in DORA''s words.';
COMMENT ON COLUMN keypup.deployment_metrics.recovered_at IS
  'When the last of its incidents was closed; NULL while one is open, and without one.';
COMMENT ON COLUMN keypup.deployment_metrics.recovered_after IS
  'Delivery to recovered_at: until the last of its incidents was closed; NULL without it.';
COMMENT ON COLUMN keypup.deployment_metrics.rework_pull_requests IS
  'Those of its pull requests that mend what is in production (pull_request_delivery.rework_reason).';
COMMENT ON COLUMN keypup.deployment_metrics.is_rework IS
  'Whether it was made for that: it carries such, and nothing else but what bots opened. What DORA calls an unplanned '
  'deployment, as far as the rows tell.';
