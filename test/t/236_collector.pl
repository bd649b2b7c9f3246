# The audit log arrives at the OpenTelemetry Collector's own receiver of OTLP as it is. KEYPUP_COLLECTOR names the program where it is built already.
use strict;
use warnings;

use FindBin;
use IPC::Run qw(start pump timeout kill_kill);
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $program = $ENV{KEYPUP_COLLECTOR};
unless ($program)
{
	plan skip_all => 'golang-go and golang-opentelemetry-collector-dev, from Debian forky on, are not here'
	  unless grep({ -x "$_/go" } split /:/, $ENV{PATH}) && -d '/usr/share/gocode/src/go.opentelemetry.io/collector/receiver/otlpreceiver';
	$program = PostgreSQL::Test::Utils::tempdir . '/collector';
	local %ENV = (%ENV, CGO_ENABLED => 0, GO111MODULE => 'off', GOPATH => '/usr/share/gocode', GOCACHE => PostgreSQL::Test::Utils::tempdir);
	system('go', 'build', '-o', $program, "$FindBin::RealBin/../forward/collector/main.go") == 0 or die 'the collector does not build';
}

my $token = 'ghp_COLLECTORPROBE0123456789';
my $github = start_github($token, '--generate', 'demo/one:pulls=5,issues=5,seed=4');
my $file = "$github->{dir}/taken";
my ($port, $collector, $out, $error);
# It ends where somebody else took the port meanwhile.
foreach (1 .. 5)
{
	($port, $out, $error) = (PostgreSQL::Test::Cluster::get_free_port(), '', '');
	$collector = start([ $program, "127.0.0.1:$port", "$github->{dir}/server.pem", "$github->{dir}/server.key", $file ], '>', \$out, '2>', \$error, timeout(600));
	$collector->pump until $out =~ /ready/ || !$collector->pumpable;
	last if $out =~ /ready/;
}
like($out, qr/ready/, 'the Collector listens') or die $error;

my $node = new_server($github, "shared_preload_libraries = 'keypup'\nkeypup.sync_interval = '1d'\n");
$node->start;
sub query { return $node->safe_psql('postgres', 'SET client_min_messages = error; ' . $_[0]); }
query(q{CREATE EXTENSION keypup; CREATE ROLE olga LOGIN; CREATE ROLE vera LOGIN; SELECT keypup.create_account('acme'); SELECT keypup.create_account(E'b\u00f6lt "2" \\\\');
	SELECT keypup.add_member('acme', 'olga', 'owner'), keypup.add_member('acme', 'vera', 'viewer')});
query("SELECT keypup.connect('acme', 'github', '$token', '$github->{url}'), keypup.track('acme', 'demo/one')");
as_role($node, 'vera', q{SELECT keypup.set_time_zone('acme', 'UTC')});
query(q{SELECT count(keypup.record_action(account_id, 'session.end', E'words \u00e9 " \\\\ <&> ' || n || chr(1 + n % 31))) FROM keypup.accounts, generate_series(1, 700) n});
query("SELECT keypup.set_audit_sink(NULL, 'collector', 'otlp', 'https://localhost:$port')");
ok($node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM keypup.audit_log WHERE sequence IS NULL AND counts_until IS NULL) AND (SELECT lag_records = 0 AND sent_records > 1400 FROM keypup.audit_forwarding)}), 'everything is forwarded')
  or diag(query('SELECT * FROM keypup.audit_forwarding'), $error);
is(query('SELECT rejected_records, failures, last_error FROM keypup.audit_forwarding'), '0|0|', 'and nothing was refused');

# What it took, by account and number, as the columns are called.
my (%taken, %resources);
foreach my $line (split /\n/, slurp_file($file))
{
	foreach my $resource (@{ decode_json($line)->{resourceLogs} })
	{
		my %of = map { $_->{key} => $_->{value}{stringValue} } @{ $resource->{resource}{attributes} };
		$resources{ $of{'keypup.account.id'} } = $of{'keypup.account.name'};
		foreach my $record (map { @{ $_->{logRecords} } } @{ $resource->{scopeLogs} })
		{
			my %has = map { $_->{key} => (values %{ $_->{value} })[0] } @{ $record->{attributes} };
			my %row = map { $_ => $has{"keypup.audit.$_"} } qw(sequence record_id times action outcome actor actor_kind claimed database_role application_name detail seal seal_key);
			$taken{"$of{'keypup.account.id'} $row{sequence}"} = { %row, client_address => $has{'client.address'}, account_id => $of{'keypup.account.id'}, occurred_at => $record->{timeUnixNano}, last_at => $record->{observedTimeUnixNano},
				severity => $record->{severityNumber}, uid => $has{'log.record.uid'}, body => $record->{body}{stringValue}, event => $record->{eventName} };
		}
	}
}
my %kept = map { my $row = decode_json($_); ("$row->{account_id} $row->{sequence}" => $row) } split /\n/, $node->safe_psql('postgres', q{SELECT row_to_json(x) FROM (SELECT account_id, sequence::text, record_id::text, times::text, action, outcome, actor, actor_kind, claimed, database_role, application_name, detail,
	encode(seal, 'hex') AS seal, seal_key::text, client_address, (extract(epoch FROM occurred_at) * 1000000)::bigint || '000' AS occurred_at, (extract(epoch FROM last_at) * 1000000)::bigint || '000' AS last_at,
	CASE outcome WHEN 'done' THEN 9 ELSE 13 END AS severity, account_id || '-' || sequence || '-' || record_id AS uid, concat_ws(' ', action, outcome || ':', detail) AS body, 'keypup.audit' AS event
	FROM keypup.audit_log WHERE sequence IS NOT NULL) x});
# What was sealed since is on its way.
delete $kept{$_} foreach grep { !$taken{$_} && $kept{$_}{action} ne 'session.end' } keys %kept;
cmp_ok(scalar keys %kept, '>', 1400, 'there is something to compare');
is_deeply(\%taken, \%kept, 'what the Collector took is what the log has');
is_deeply([ sort grep { defined } values %resources ], [ sort map { decode_json("[$_]")->[0] } split /\n/, query(q{SELECT to_json(name) FROM keypup.accounts}) ], 'each resource is an account, by its name');
$collector->signal('TERM');
$collector->finish;
$node->stop;
done_testing();
