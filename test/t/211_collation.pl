# A database whose collation is not C: under Turkish rules lower('PUBLIC') is not "public". Words of protocols, names of repositories
# and logins go by no language's rules: the sync, names in another case, webhooks and views are as in any other database.
use strict;
use warnings;

use Digest::SHA qw(hmac_sha256_hex);
use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'ghp_COLLATION0123456789';
my $name = 'Initech/INSIDE';
my $github = start_github($token, '--generate', "$name:pulls=40,issues=30,seed=5,releases=3,deployments=4,full=4,milestones=3");
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1d'
keypup.workers = 0
CONF
$node->start;

# What stands in the database, in no collation's order.
my $rows = q{SELECT md5(string_agg(t.row, E'\n' ORDER BY t.row COLLATE "C")) FROM (
	SELECT concat_ws('|', 'p', number, state, author, head_branch) AS row FROM keypup.pull_requests
	UNION ALL SELECT concat_ws('|', 'i', number, state, state_reason) FROM keypup.issues
	UNION ALL SELECT concat_ws('|', 'r', pull_request_number, state, author) FROM keypup.reviews
	UNION ALL SELECT concat_ws('|', 'm', number, state) FROM keypup.milestones
	UNION ALL SELECT concat_ws('|', 'd', environment, state) FROM keypup.deployments
	UNION ALL SELECT concat_ws('|', 'v', visibility) FROM keypup.projects
	UNION ALL SELECT concat_ws('|', 'f', number, state) FROM keypup.pull_request_fields
	UNION ALL SELECT concat_ws('|', 'g', number, state, workflow_status) FROM keypup.issue_fields
	UNION ALL SELECT concat_ws('|', 'a', e.*::text) FROM (SELECT item_kind, item_number, action, actor FROM keypup.activity_events) AS e
	UNION ALL SELECT concat_ws('|', 'l', issue_number, pull_request_number, sources) FROM keypup.issue_pull_request_links) AS t};

my ($expected, $truth);
foreach my $database (
	[ 'plain', '', 'C' ],
	[ 'turkish', q{LOCALE_PROVIDER icu ICU_LOCALE 'tr-TR'}, 'Turkish rules of ICU' ],
	[ 'turkish_libc', q{LOCALE_PROVIDER libc LC_COLLATE 'tr_TR.UTF-8' LC_CTYPE 'tr_TR.UTF-8'}, 'Turkish rules of the C library' ])
{
	my ($db, $options, $what) = @$database;
	my ($code, $out, $error) = $node->psql('postgres', "CREATE DATABASE $db TEMPLATE template0 $options");
	SKIP:
	{
		skip "$what: not here: $error", 1 if $code != 0;
		my $query = sub { return $node->safe_psql($db, "SET client_min_messages = error; $_[0]"); };
		$query->('CREATE EXTENSION keypup');
		is($query->(q{SELECT lower('PUBLIC')}), $db eq 'plain' ? 'public' : 'publıc', "$what: lower goes by the database's rules");
		my $connection = $query->(qq{SELECT keypup.create_account('acme') IS NULL; SELECT keypup.connect('acme', 'github', '$token', '$github->{url}')});
		$connection =~ s/^f\n//;
		$query->("SELECT keypup.track('acme', '$name')");
		is($node->psql($db, q{SELECT keypup.track('acme', 'INITECH/inside')}), 3, "$what: a repository is tracked once, whatever the case of its name");
		my (undef, undef, $told) = $node->psql($db, q{CALL keypup.sync('acme', 'initech/inside')});
		unlike($told, qr/WARNING|ERROR/, "$what: a sync, by the name in another case, is complete");
		is($query->(q{SELECT phase, items_done, items_total, last_error FROM keypup.sync_status}), 'idle|78|78|', "$what: nothing is wrong");
		my $found = $query->($rows);
		$expected //= $found;
		is($found, $expected, "$what: all is as in a database without a language");

		# A webhook, with the case of its headers changed.
		my $secret = 'a secret that is long enough 0123456789';
		$query->("SELECT keypup.set_webhook_secret('acme', 'github', '$secret')");
		my $payload = encode_json({ action => 'edited', repository => { full_name => 'INITECH/inside', node_id => 'unknown' }, issue => { number => 1, node_id => 'I_1' } });
		my $headers = encode_json({ 'X-GITHUB-EVENT' => 'issues', 'X-GITHUB-DELIVERY' => "0f0e0d0c-0000-4000-8000-00000000000a", 'CONTENT-TYPE' => 'APPLICATION/JSON', 'X-HUB-SIGNATURE-256' => 'sha256=' . hmac_sha256_hex($payload, $secret) });
		(undef, $out, $error) = $node->psql($db, 'SELECT keypup.receive_webhook(' . join(', ', literal($connection), literal($headers), 'convert_to(' . literal($payload) . q{, 'UTF8')}) . ')');
		unlike($error, qr/ERROR/, "$what: a webhook is taken, whatever the case of its headers");

		# Refusals in GitHub's words.
		is($query->(q{SELECT (keypup.github_refusal('IP ALLOW LIST ENABLED', false)).reason IS NOT NULL AND (keypup.github_refusal('BILLING', false)).reason IS NOT NULL}), 't', "$what: GitHub's words are known");
		$query->(q{SELECT keypup.set_incident_labels('acme', ARRAY['INCIDENT'])});
		is($query->('SELECT incident_labels FROM keypup.accounts'), '{incident}', "$what: a label of ASCII goes by no language's rules");
		$query->(q{SELECT keypup.set_time_zone('acme', 'europe/ISTANBUL')});
		is($query->('SELECT time_zone FROM keypup.accounts'), 'Europe/Istanbul', "$what: nor does a time zone");
		$query->(q{SELECT keypup.untrack('acme', 'INITECH/INSIDE')});
		is($query->('SELECT count(*) FROM keypup.projects'), 0, "$what: untracked by yet another case");
	}
}
$node->stop;
done_testing();
