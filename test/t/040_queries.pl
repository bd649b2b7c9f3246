# Every request that can be sent is valid in GitHub's published schema, and asks for no source code.
use strict;
use warnings;

use File::Temp qw(tempdir);
use IPC::Run qw(run);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->start;
my $requests = $node->safe_psql('postgres', <<'SQL');
SET client_min_messages = warning;
CREATE EXTENSION keypup;
SELECT keypup.create_account('acme') AS account \gset
INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by) VALUES (:'account', 'github', 'c', 'https://api.github.com', 'me') RETURNING connection_id \gset
INSERT INTO keypup.projects (account_id, connection_id, name, tracked_by, external_id) VALUES (:'account', :'connection_id', 'a/new', 'me', NULL), (:'account', :'connection_id', 'a/known', 'me', 'R_1');
INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, arguments)
SELECT :'account', connection_id, project_id, kind, jsonb_build_object('after', NULL, 'first', 100, 'seen', '[]'::jsonb,
  'items', CASE kind WHEN 'existence' THEN '[{"id": "x", "number": 1}]' WHEN 'numbers' THEN '[1, 2]' WHEN 'poll' THEN '[1, 2]' ELSE '["x"]' END::jsonb)
FROM keypup.projects, unnest(ARRAY['repository', 'labels', 'milestones', 'pull_request_stubs', 'issue_stubs', 'pull_requests', 'merge_states', 'issues',
  'poll', 'pull_request_sweep', 'issue_sweep', 'existence', 'numbers', 'releases', 'release_pages', 'deployments', 'deployment_pages']) AS kind
WHERE external_id IS NOT NULL OR kind = 'repository';
-- One page of each nested list, and all of them at once.
INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, arguments)
SELECT :'account', connection_id, project_id, 'nested_pages', jsonb_build_object('items', jsonb_agg(jsonb_build_object('item',
  CASE on_type WHEN 'PullRequest' THEN 'pull_request' WHEN 'Issue' THEN 'issue' WHEN 'Deployment' THEN 'deployment' WHEN 'StatusCheckRollup' THEN 'status_check_rollup' ELSE 'thread' END, 'node', 'x', 'number', 1, 'connection', connection, 'after', after, 'seen', '[]'::jsonb)))
FROM keypup.projects, keypup.github_nested(), unnest(ARRAY[NULL, 'cursor']) AS after
WHERE external_id IS NOT NULL GROUP BY GROUPING SETS ((connection_id, project_id), (connection_id, project_id, on_type, connection, after));
SELECT (keypup.github_request(account_id, job_id)).body::jsonb || jsonb_build_object('name', kind || ' ' || job_id) FROM keypup.sync_jobs ORDER BY job_id;
SELECT (keypup.github_viewer_request(:'account', :'connection_id')).body::jsonb || '{"name": "viewer"}';
SELECT body::jsonb || jsonb_build_object('name', 'projects ' || after) FROM unnest(ARRAY['', 'cursor']) AS after, keypup.github_projects_request(:'account', :'connection_id', after);
-- A token that may not read teams, and one that may not read releases, deployments, or either; checks, or rules of branches.
INSERT INTO keypup.sync_state (account_id, project_id, refused_at) SELECT account_id, project_id, now() FROM keypup.projects;
UPDATE keypup.connections SET scopes = 'repo';
SELECT (keypup.github_request(account_id, job_id)).body::jsonb || jsonb_build_object('name', 'without teams: ' || kind || ' ' || job_id) FROM keypup.sync_jobs WHERE kind IN ('pull_requests', 'nested_pages') ORDER BY job_id;
UPDATE keypup.sync_state SET refused_fields = '{Repository.releases}';
SELECT (keypup.github_request(account_id, job_id)).body::jsonb || jsonb_build_object('name', 'without releases: ' || kind || ' ' || job_id) FROM keypup.sync_jobs WHERE kind = 'repository' ORDER BY job_id;
UPDATE keypup.sync_state SET refused_fields = '{Repository.deployments}';
SELECT (keypup.github_request(account_id, job_id)).body::jsonb || jsonb_build_object('name', 'without deployments: ' || kind || ' ' || job_id) FROM keypup.sync_jobs WHERE kind = 'repository' ORDER BY job_id;
UPDATE keypup.sync_state SET refused_fields = '{Repository.deployments,Repository.releases}';
SELECT (keypup.github_request(account_id, job_id)).body::jsonb || jsonb_build_object('name', 'without both: ' || kind || ' ' || job_id) FROM keypup.sync_jobs WHERE kind = 'repository' ORDER BY job_id;
UPDATE keypup.sync_state SET refused_fields = '{StatusCheckRollup.contexts}';
SELECT (keypup.github_request(account_id, job_id)).body::jsonb || jsonb_build_object('name', 'without runs of checks: ' || kind || ' ' || job_id) FROM keypup.sync_jobs WHERE kind = 'merge_states' ORDER BY job_id;
UPDATE keypup.sync_state SET refused_fields = '{Commit.statusCheckRollup}';
SELECT (keypup.github_request(account_id, job_id)).body::jsonb || jsonb_build_object('name', 'without checks: ' || kind || ' ' || job_id) FROM keypup.sync_jobs WHERE kind = 'merge_states' ORDER BY job_id;
UPDATE keypup.sync_state SET refused_fields = '{Commit.statusCheckRollup,StatusCheckRollup.contexts}';
SELECT (keypup.github_request(account_id, job_id)).body::jsonb || jsonb_build_object('name', 'without both of them: ' || kind || ' ' || job_id) FROM keypup.sync_jobs WHERE kind = 'merge_states' ORDER BY job_id;
UPDATE keypup.sync_state SET refused_fields = '{CheckSuite.workflowRun}';
SELECT (keypup.github_request(account_id, job_id)).body::jsonb || jsonb_build_object('name', 'without workflows: ' || kind || ' ' || job_id) FROM keypup.sync_jobs WHERE kind = 'merge_states' ORDER BY job_id;
UPDATE keypup.sync_state SET refused_fields = '{Ref.branchProtectionRule,Ref.refUpdateRule,Ref.rules}';
SELECT (keypup.github_request(account_id, job_id)).body::jsonb || jsonb_build_object('name', 'without rules: ' || kind || ' ' || job_id) FROM keypup.sync_jobs WHERE kind = 'merge_states' ORDER BY job_id;
-- And what an older server is asked.
UPDATE keypup.connections SET missing_fields = ARRAY(SELECT field FROM keypup.github_optional());
SELECT (keypup.github_request(account_id, job_id)).body::jsonb || jsonb_build_object('name', 'older: ' || kind || ' ' || job_id) FROM keypup.sync_jobs
WHERE arguments::text !~ 'closingIssuesReferences|contexts' ORDER BY job_id;  -- of a list that is not asked for there is no second page
SQL
$requests = join "\n", grep { /^\{/ } split /\n/, $requests;
cmp_ok(scalar(split /\n/, $requests), '>=', 102, 'every kind of job makes a request');
my ($out, $error) = ('', '');
run([ 'node', 'test/schema/validate.mjs' ], '<', \$requests, '>', \$out, '2>', \$error);
diag($error) if $error;
my @results = $out =~ /^((?:not )?ok \d+ - .*)$/mg;
foreach my $result (@results)
{
	my ($failed, $name) = $result =~ /^(not )?ok \d+ - (.*)$/;
	ok(!$failed, $name);
}
diag($out) if $out =~ /^not ok/m;
cmp_ok(scalar(@results), '>=', 200, 'all requests were checked');

# What an answer must hold to be one.
my $shapes = $node->safe_psql('postgres', q{SELECT jsonb_build_object('shapes', keypup.github_shapes())});
my $input = "$shapes\n" . join "\n", grep { /"name": "(?!older|without)/ } split /\n/, $requests;
($out, $error) = ('', '');
run([ 'node', 'test/schema/shapes.mjs' ], '<', \$input, '>', \$out, '2>', \$error);
diag($error) if $error;
@results = $out =~ /^((?:not )?ok \d+ - .*)$/mg;
foreach my $result (@results)
{
	my ($failed, $name) = $result =~ /^(not )?ok \d+ - (.*)$/;
	ok(!$failed, $name);
}
diag(join "\n", $out =~ /^(?:not ok|#) .*$/mg) if $out =~ /^not ok/m;
cmp_ok(scalar(@results), '>=', 40, 'all answers have a shape');
$node->stop;
done_testing();
