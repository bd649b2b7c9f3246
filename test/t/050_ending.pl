# While a sync goes on: no transaction waits for the network, and whatever ends it ends it promptly.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $token = 'ghp_ENDPROBE0123456789';
my $github = start_github($token, '--generate', 'demo/slow:pulls=300,issues=200,seed=5', '--latency', '1500');
my $node = new_server($github, "shared_preload_libraries = 'keypup'");
$node->start;

sub begin_sync
{
	my ($database) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, qq{CREATE EXTENSION keypup; SELECT keypup.create_account('acme');
		SELECT keypup.connect('acme', 'github', '$token', '$github->{url}'); SELECT keypup.track('acme', 'demo/slow')});
	$node->poll_query_until($database, q{SELECT count(*) > 0 FROM keypup.sync_jobs WHERE kind IN ('pull_requests', 'issues') AND lease_id IS NOT NULL}) or die;
}

sub worker_pid { return $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'keypup worker' AND datname = '$_[0]'"); }

begin_sync('one');
my $worker = worker_pid('one');
my $open = 0;
foreach (1 .. 40)
{
	my $state = $node->safe_psql('postgres', "SELECT (SELECT count(*) FROM pg_stat_activity WHERE pid = $worker AND (xact_start < now() - interval '1 second' OR age(backend_xmin) IS NOT NULL AND xact_start < now() - interval '1 second'))
		+ (SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE pid = $worker AND l.locktype = 'relation' AND a.xact_start < now() - interval '1 second')");
	$open += $state;
	usleep(50_000);
}
is($open, 0, 'no transaction, snapshot or relation lock is held while replies are awaited');

my $started = time;
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $worker");
cmp_ok(time - $started, '<', 3, 'SIGTERM ends a worker that waits for replies promptly');
ok($node->poll_query_until('one', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'keypup worker' AND datname = 'one'"), 'and the launcher starts another');
ok($node->poll_query_until('one', q{SELECT phase = 'idle' FROM keypup.sync_status}), 'which goes on with the jobs of the one before');
is($node->safe_psql('one', 'SELECT items_done = items_total FROM keypup.sync_status'), 't', 'to the end');

begin_sync('two');
$started = time;
$node->safe_psql('postgres', 'DROP DATABASE two');
cmp_ok(time - $started, '<', 5, 'DROP DATABASE while syncing ends promptly');

begin_sync('three');
$started = time;
$node->safe_psql('three', 'DROP EXTENSION keypup CASCADE');
cmp_ok(time - $started, '<', 5, 'DROP EXTENSION while syncing ends promptly');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'keypup worker' AND datname = 'three'}), 'and the worker with it');

begin_sync('four');
$started = time;
$node->safe_psql('postgres', 'DROP DATABASE four WITH (FORCE)');
cmp_ok(time - $started, '<', 5, 'DROP DATABASE WITH (FORCE) while syncing ends promptly');

# A member who does not own a database cannot end its worker by trying to drop it.
begin_sync('five');
$node->safe_psql('postgres', 'CREATE ROLE mallory LOGIN');
$worker = worker_pid('five');
my ($code, $stdout, $stderr) = $node->psql('postgres', 'DROP DATABASE five', extra_params => [ '-U', 'mallory' ]);
like($stderr, qr/must be owner/, 'only its owner drops a database');
is(worker_pid('five'), $worker, 'and only its owner ends the worker that way');

$started = time;
$node->stop('fast');
cmp_ok(time - $started, '<', 10, 'a fast shutdown while syncing is fast');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|segfault|signal 11/, 'and nothing crashed');
done_testing();
