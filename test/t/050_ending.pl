# While a sync goes on: no transaction waits for the network, and whatever ends it ends it promptly.
use strict;
use warnings;

use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $token = 'ghp_ENDPROBE0123456789';
my $github = start_github($token, '--generate', 'demo/slow:pulls=300,issues=200,seed=5');
my $node = new_server($github, "shared_preload_libraries = 'keypup'");
$node->start;

# These answers are kept until they are let go. A worker gives up after thirty seconds, so what ends sooner did not wait for them.
my @kept = map { { match => { operation => $_ }, late => JSON::PP::true } } qw(KeypupPullRequests KeypupIssues);
sub keep { control($github, 'settings', { faults => [@_] }); return; }
my $soon = 20;
keep(@kept);

sub begin_sync
{
	my ($database) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, qq{CREATE EXTENSION keypup; SELECT keypup.create_account('acme');
		SELECT keypup.connect('acme', 'github', '$token', '$github->{url}'); SELECT keypup.track('acme', 'demo/slow')});
	$node->poll_query_until($database, q{SELECT count(*) > 0 FROM keypup.sync_jobs WHERE kind IN ('pull_requests', 'issues') AND lease_id IS NOT NULL}) or die;
	nobody_is_in($node, $database);
}

sub worker_pid { return $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'keypup worker' AND datname = '$_[0]'"); }

begin_sync('one');
my $worker = worker_pid('one');
# What is open when it waits, and still is when it waits again, was open in between.
my ($open, $seen, $before) = (0, 0, '');
my $give_up = time + $PostgreSQL::Test::Utils::timeout_default;
while ($seen < 40 && time < $give_up)
{
	my ($waits, $since) = split /\|/, $node->safe_psql('postgres', "SELECT wait_event_type = 'Extension', coalesce(xact_start::text, '') FROM pg_stat_activity WHERE pid = $worker"), 2;
	next if $waits ne 't';
	$seen++;
	$open++ if $since ne '' && $since eq $before;
	$before = $since;
}
is($seen, 40, 'a worker awaits replies');
is($open, 0, 'with no transaction open, and so no snapshot and no lock');

my $started = time;
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $worker");
cmp_ok(time - $started, '<', $soon, 'SIGTERM ends a worker that waits for replies promptly');
ok($node->poll_query_until('one', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'keypup worker' AND datname = 'one'"), 'and the launcher starts another');
keep();
ok($node->poll_query_until('one', q{SELECT phase = 'idle' FROM keypup.sync_status}), 'which goes on with the jobs of the one before');
is($node->safe_psql('one', 'SELECT items_done = items_total FROM keypup.sync_status'), 't', 'to the end');
keep(@kept);

begin_sync('two');
$started = time;
$node->safe_psql('postgres', 'DROP DATABASE two');
cmp_ok(time - $started, '<', $soon, 'DROP DATABASE while syncing ends promptly');

begin_sync('three');
$started = time;
$node->safe_psql('three', 'DROP EXTENSION keypup CASCADE');
cmp_ok(time - $started, '<', $soon, 'DROP EXTENSION while syncing ends promptly');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'keypup worker' AND datname = 'three'}), 'and the worker with it');

begin_sync('four');
$started = time;
$node->safe_psql('postgres', 'DROP DATABASE four WITH (FORCE)');
cmp_ok(time - $started, '<', $soon, 'DROP DATABASE WITH (FORCE) while syncing ends promptly');

# A member who does not own a database cannot end its worker by trying to drop it.
begin_sync('five');
$node->safe_psql('postgres', 'CREATE ROLE mallory LOGIN');
$worker = worker_pid('five');
my ($code, $stdout, $stderr) = $node->psql('postgres', 'DROP DATABASE five', extra_params => [ '-U', 'mallory' ]);
like($stderr, qr/must be owner/, 'only its owner drops a database');
is(worker_pid('five'), $worker, 'and only its owner ends the worker that way');

# What is to be written at the end, is already.
$node->safe_psql('postgres', 'CHECKPOINT');
$started = time;
$node->stop('fast');
cmp_ok(time - $started, '<', $soon, 'a fast shutdown while syncing is fast');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|segfault|signal 11/, 'and nothing crashed');
done_testing();
