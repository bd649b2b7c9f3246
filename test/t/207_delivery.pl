# Deliveries of real histories, with deployments and releases made up beside them, and the same computed in JavaScript.
use strict;
use warnings;

use Cwd;
use File::Temp qw(tempdir);
use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'ghp_delivery0123456789abcdef';
my $shared = getcwd() . '/../shared/data/github';
my @names = ('demo/deploys', 'demo/releases');
my @data;
if (-d $shared)
{
	push @data, '--data', "$shared/mlswg__mls-protocol.json";
	push @names, 'mlswg/mls-protocol';
}
else
{
	diag 'shared/data is not here: only the generated repositories are read';
}
my $github = start_github($token, @data, '--generate', 'demo/deploys:pulls=200,issues=150,seed=5', '--generate', 'demo/releases:pulls=80,issues=60,seed=6');
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1d'
CONF
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }

query('CREATE EXTENSION keypup');
query(qq{SELECT keypup.create_account('acme'), keypup.connect('acme', 'github', '$token', '$github->{url}')});
query("SELECT keypup.track('acme', '$_')") foreach @names;
ok($node->poll_query_until('postgres', q{SELECT bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) FROM keypup.sync_status}), 'all is synced');

avoid_midnight($node, 'UTC', 'America/Los_Angeles', 'Asia/Kolkata');
# A deployment some time after each third merge: some fail, some take an old commit back, some go elsewhere, some have not ended.
# In whole seconds, as the provider's times are. The same numbers each time.
query(q{UPDATE keypup.sync_state SET next_run_at = now() + interval '1 day';
	DELETE FROM keypup.deployments; DELETE FROM keypup.releases;
	WITH merge AS (
	  SELECT p.account_id, p.project_id, p.number, p.merged_at, hashtextextended(p.number::text, 1) & 255 AS a, hashtextextended(p.number::text, 2) & 255 AS b, hashtextextended(p.number::text, 3) & 255 AS c
	  FROM keypup.pull_requests p JOIN keypup.projects j USING (account_id, project_id) WHERE p.merged_at IS NOT NULL AND j.name <> 'demo/releases'
	), begun AS (
	  SELECT m.*, m.merged_at + m.a * interval '7 minutes' AS created_at FROM merge m WHERE m.number % 3 = 0
	)
	INSERT INTO keypup.deployments (account_id, project_id, external_id, environment, state, ref, creator, created_at, updated_at, commit_at, succeeded_at, failed_at)
	SELECT d.account_id, d.project_id, 'D' || d.number, (ARRAY['production', 'Production', 'staging', 'prod'])[1 + d.b % 4], 'inactive', 'main', 'ann', d.created_at, d.created_at,
	  CASE WHEN d.c % 5 = 0 THEN d.created_at - interval '40 days' WHEN d.c % 5 > 1 THEN d.created_at - d.c * interval '1 second' END,
	  CASE WHEN d.b % 7 > 1 THEN d.created_at + d.b * interval '37 seconds' END, CASE WHEN d.b % 7 <= 2 AND d.b % 7 > 0 THEN d.created_at + d.b * interval '11 seconds' END
	FROM begun d;
	-- Each fifth commit goes elsewhere, too, or is tried again: after minutes, or hours, some of them again and again.
	INSERT INTO keypup.deployments (account_id, project_id, external_id, environment, state, ref, creator, created_at, updated_at, commit_at, succeeded_at, failed_at)
	SELECT d.account_id, d.project_id, d.external_id || '-' || k, (ARRAY['production-us', 'Production', 'prod'])[1 + k % 3], 'inactive', d.ref, 'bob', t.at, t.at, d.commit_at,
	  CASE WHEN k % 4 > 0 THEN t.at + k * interval '41 seconds' END, CASE WHEN k % 4 = 0 THEN t.at + interval '13 seconds' END
	FROM keypup.deployments d CROSS JOIN LATERAL (SELECT substr(d.external_id, 2)::bigint AS n) AS x CROSS JOIN LATERAL generate_series(1, x.n % 5) AS k
	CROSS JOIN LATERAL (SELECT d.created_at + k * (ARRAY[interval '1 minute', '40 minutes', '1 hour', '61 minutes', '17 minutes'])[1 + x.n / 3 % 5] AS at) AS t WHERE x.n % 15 < 9;
	-- What these weeks bring, one of whose days begins where a zone's day does.
	INSERT INTO keypup.deployments (account_id, project_id, external_id, environment, state, ref, creator, created_at, updated_at, commit_at, succeeded_at, failed_at)
	SELECT p.account_id, p.project_id, 'L' || n, 'production', 'inactive', 'main', 'ann', t.at, t.at, t.at - interval '1 minute', CASE WHEN n % 6 > 0 THEN t.at + interval '3 minutes' END, CASE WHEN n % 6 = 0 THEN t.at + interval '3 minutes' END
	FROM keypup.projects p CROSS JOIN generate_series(1, 60) AS n CROSS JOIN LATERAL (SELECT date_trunc('hour', now()) - n * n * interval '1 hour' AS at) AS t WHERE p.name = 'demo/deploys';
	INSERT INTO keypup.releases (account_id, project_id, external_id, tag_name, is_draft, is_prerelease, created_at, published_at, updated_at, commit_at)
	SELECT p.account_id, p.project_id, 'R' || p.number, 'v' || p.number, p.number % 8 = 0, p.number % 7 = 0, p.merged_at, CASE WHEN p.number % 8 <> 0 THEN p.merged_at + interval '3 hours' END, p.merged_at,
	  CASE WHEN p.number % 2 = 0 THEN p.merged_at + interval '1 hour' END
	FROM keypup.pull_requests p WHERE p.merged_at IS NOT NULL AND p.number % 4 < 2 ;
	UPDATE keypup.pull_requests SET base_branch = 'release' WHERE number % 11 = 0;
	UPDATE keypup.pull_requests SET title = CASE number % 2 WHEN 0 THEN 'Revert "' || title || '"' ELSE 'Reapply "' || title || '"' END WHERE number % 7 = 0;
	UPDATE keypup.pull_requests SET labels = labels || '{HotFix}' WHERE number % 9 = 0});
query('ANALYZE');    # autovacuum would get to it, in a minute
# What these repositories have for labels; any will do.
my $labels = query(q{SELECT array_agg(label) FROM (SELECT lower(l) AS label, count(*) FROM keypup.issues, unnest(labels) l GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 3) x});
query(qq{SELECT keypup.set_incident_labels('acme', '$labels')});
cmp_ok(query('SELECT count(*) FROM keypup.incidents WHERE recovery_time IS NOT NULL'), '>', 10, 'there are incidents');
# Some were none after all.
query(q{UPDATE keypup.issues SET state_reason = CASE WHEN number % 2 = 0 THEN 'duplicate' ELSE 'not_planned' END WHERE state = 'closed' AND number % 5 = 0});
cmp_ok(query('SELECT count(*) FROM keypup.production_deployments WHERE environments > 1'), '>=', 10, 'there are changes of several environments');

my $dir = tempdir(CLEANUP => 1);
my $seconds = sub { return "round(extract(epoch FROM $_[0]), 2)"; };
foreach my $zone ('UTC', 'America/Los_Angeles', 'Asia/Kolkata')
{
	query("SELECT keypup.set_time_zone('acme', '$zone')");
	foreach my $name (@names)
	{
		my $file = "$dir/" . ("$name.$zone" =~ tr|/|_|r) . '.json';
		my $of = "FROM keypup.%s t JOIN keypup.projects p USING (account_id, project_id) WHERE p.name = '$name'";
		my $rows = join ', ', map { sprintf("'$_', (SELECT coalesce(json_agg(t), '[]') $of)", $_) } 'deployments', 'releases', 'pull_requests', 'issues';
		append_to_file($file, query("SELECT json_build_object('production', a.production_environments, 'window', extract(epoch FROM a.deployment_window), 'incidents', a.incident_labels, 'rework', a.rework_labels, 'default_branch', p.default_branch, $rows)
			FROM keypup.projects p JOIN keypup.accounts a USING (account_id) WHERE p.name = '$name'"));
		my ($json, $error) = run_command([ 'node', 'test/insight/delivery.mjs', $file, $zone ]);
		is($error, '', "$name, $zone: computed");
		my $truth = decode_json($json);
		my $columns = "deployments, deployment_days, failed_deployments, failed_changes, round(change_failure_rate::numeric, 4), pull_requests_deployed, "
		  . join(', ', map { $seconds->($_) } 'change_lead_time_p50', 'change_lead_time_p75', 'change_lead_time_p90', 'recovery_time_p50');
		my %queries = (
			carried => "SELECT number, deployment_id, " . $seconds->('deploy_time') . ', ' . $seconds->('change_lead_time') . " FROM keypup.pull_request_delivery WHERE project = '$name'",
			incidents => "SELECT number, deployment_id, " . $seconds->('time_to_restore') . ', ' . $seconds->('recovery_time') . " FROM keypup.incidents WHERE project = '$name'",
			deployments => "SELECT external_id, environments, succeeded, pull_requests, " . $seconds->('change_lead_time_p50') . ', incidents, ' . $seconds->('recovered_after') . ", rework_pull_requests, is_rework FROM keypup.deployment_metrics WHERE project = '$name'",
			week => "SELECT week_start, is_complete, $columns FROM keypup.delivery_weekly WHERE project = '$name'",
			month => "SELECT month_start, is_complete, $columns FROM keypup.delivery_monthly WHERE project = '$name'",
			dora => "SELECT weeks_counted, deployments, failed_deployments, failed_changes, deployment_frequency, " . $seconds->('lead_time_for_changes') . ', round(change_failure_rate::numeric, 4), ' . $seconds->('failed_deployment_recovery_time')
			  . ", rework_deployments, round(rework_rate::numeric, 4) FROM keypup.dora_metrics WHERE project = '$name'");
		foreach my $what (sort keys %queries)
		{
			my @got = sort split /\n/, query($queries{$what});
			my @expected = sort @{ $truth->{$what} };
			my %seen = map { $_ => 1 } @expected;
			my @wrong = grep { !$seen{$_} } @got;
			ok(@expected > 0 && @got == @expected && !@wrong, "$name, $zone: $what, " . @expected . ' rows') or do
			{
				my %here = map { $_ => 1 } @got;
				my @missing = grep { !$here{$_} } @expected;
				diag("here: @wrong[0 .. ($#wrong < 3 ? $#wrong : 3)], " . @got . " rows; there: @missing[0 .. ($#missing < 3 ? $#missing : 3)]");
			};
		}
	}
}

# What holds for all: nothing negative, sums over periods, and each in one delivery.
sub none { my ($sql, $what) = @_; is(query("SELECT count(*) FROM ($sql) x"), '0', $what); return; }
none(q{SELECT FROM keypup.pull_request_delivery WHERE deploy_time < interval '0' OR change_lead_time < deploy_time}, 'no time is negative, and none is longer than the lead time it is part of');
none(q{SELECT FROM keypup.incidents WHERE time_to_restore < interval '0' OR recovery_time < time_to_restore}, 'no recovery is shorter than the time to restore');
none(q{SELECT FROM keypup.delivery WHERE change_failure_rate NOT BETWEEN 0 AND 1 OR change_lead_time_p50 > change_lead_time_p75 OR change_lead_time_p75 > change_lead_time_p90 OR deployment_days > deployments}, 'rates are rates, and percentiles are in order');
none(q{SELECT FROM (SELECT project_id, period, sum(deployments) AS d, sum(failed_deployments) AS f, sum(pull_requests_deployed) AS p FROM keypup.delivery GROUP BY 1, 2) s
	JOIN (SELECT project_id, count(*) FILTER (WHERE succeeded) AS d, count(*) FILTER (WHERE NOT succeeded) AS f FROM keypup.production_deployments GROUP BY 1) a USING (project_id)
	JOIN (SELECT project_id, count(deployed_at) AS p FROM keypup.pull_request_delivery GROUP BY 1) b USING (project_id) WHERE (s.d, s.f, s.p) <> (a.d, a.f, b.p)}, 'weeks and months sum to the whole');
none(q{SELECT FROM keypup.deployment_metrics m FULL JOIN keypup.production_deployments d USING (account_id, project_id, external_id) WHERE m.source IS NULL OR d.source IS NULL}, 'each delivery is measured once');
is(query('SELECT sum(pull_requests) FROM keypup.deployment_metrics'), query('SELECT count(deployed_at) FROM keypup.pull_request_delivery'), 'each pull request is in one delivery');
is(query(q{SELECT string_agg(DISTINCT source, ',' ORDER BY source) FROM keypup.delivery}), 'deployment,release', 'both kinds were seen');
is(query(q{SELECT string_agg(DISTINCT coalesce(rework_reason, 'planned'), ',') FROM keypup.pull_request_delivery}), 'incident,label,planned,revert', 'and what was mended, each way');

# Whoever is no member sees nothing, and a viewer what there is.
query(q{CREATE ROLE vera LOGIN; CREATE ROLE mallory LOGIN; GRANT keypup_member TO mallory; SELECT keypup.add_member('acme', 'vera', 'viewer')});
foreach my $view ('production_deployments', 'dora_metrics', 'dora_levels', 'pull_request_delivery', 'incidents', 'deployment_metrics', 'delivery', 'dora_devlake_compat', 'delivery_sources')
{
	is(as_role($node, 'vera', "SELECT count(*) > 0 FROM keypup.$view"), 't', "a viewer reads $view");
	is(as_role($node, 'mallory', "SELECT count(*) FROM keypup.$view"), '0', 'and an outsider nothing of it');
}
like(as_role($node, 'vera', q{SELECT keypup.set_deployment_window('acme', '0')}), qr/may not|you may/, 'a viewer does not say what is one change');
like(as_role($node, 'vera', q{SELECT keypup.set_production_environments('acme', '{staging}')}), qr/may not|you may/, 'a viewer does not say what is production');
like(as_role($node, 'mallory', q{SELECT keypup.set_incident_labels('acme', '{bug}')}), qr/does not exist, or you may not/, 'nor an outsider what is an incident');
$node->stop;
done_testing();
