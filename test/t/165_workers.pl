# Background workers: how many, what they are at, and that none runs on a standby before its promotion.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $token = 'ghp_WORKERPROBE0123456789';
my @names = map { "demo/w$_" } 1 .. 4;
my $github = start_github($token, (map { ('--generate', "$_:pulls=60,issues=40,seed=4") } @names), '--latency', '300');
my $node = new_server($github, <<CONF, allows_streaming => 1);
shared_preload_libraries = 'keypup'
max_worker_processes = 20
keypup.max_requests = 2
CONF
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
my $workers = q{SELECT count(*) = %d FROM pg_stat_activity WHERE backend_type = 'keypup worker' AND datname = 'postgres'};
sub set_workers { query("ALTER SYSTEM SET keypup.workers = $_[0]"); query('SELECT pg_reload_conf()'); }

query('CREATE DATABASE bare');
set_workers(3);
query('CREATE EXTENSION keypup');
ok($node->poll_query_until('postgres', sprintf($workers, 3)), 'as many workers start as keypup.workers says');
is(query(q{SELECT string_agg(number::text, ',' ORDER BY number) FROM keypup.worker_status WHERE database = 'postgres'}), '0,1,2', 'each has a number of its own');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'keypup worker' AND datname <> 'postgres'}), 'none stays in a database without the extension');
is(query(q{SELECT count(*) FROM keypup.worker_status WHERE database IS NULL}), '1', 'the launcher is in worker_status');
SKIP:
{
	skip 'wait events have names since PostgreSQL 17', 1 if $node->pg_version < 17;
	ok($node->poll_query_until('postgres', q{SELECT count(DISTINCT wait_event) = 2 FROM pg_stat_activity WHERE wait_event IN ('KeypupIdle', 'KeypupLauncher')}), 'what waits has a name');
}

# Three share the work, since none may have more than two requests in flight; one of them is ended on the way.
query(q{SELECT keypup.create_account('acme')});
query(qq{SELECT keypup.connect('acme', 'github', '$token', '$github->{url}', 'connection of $_'); SELECT keypup.track('acme', '$_', 'connection of $_')}) foreach @names;
ok($node->poll_query_until('postgres', q{SELECT count(*) > 1 FROM keypup.worker_status WHERE requests_sent > 0}), 'several workers sync at once');
query(q{SELECT pg_terminate_backend(pid) FROM keypup.worker_status WHERE number = 1});
ok($node->poll_query_until('postgres', q{SELECT bool_and(phase = 'idle') FROM keypup.sync_status}), 'the sync finishes though one of them is ended');
is(differences($node, $github, $_), '', "$_ is the provider's") foreach @names;
is(query('SELECT count(*) FROM keypup.sync_status WHERE last_error IS NOT NULL'), '0', 'the workers did not get into each other\'s way');
ok($node->poll_query_until('postgres', sprintf($workers, 3)), 'the one that ended is replaced');
is(query(q{SELECT sum(requests_in_flight) = 0 AND sum(requests_sent) > 0 AND sum(pages_stored) > 0 AND max(last_reply_at) BETWEEN now() - interval '5 minutes' AND now() AND max(last_error) IS NULL
	FROM keypup.worker_status}), 't', 'worker_status counts requests and pages');

# Each refusal is recorded once, whoever of them records it.
$node->psql('postgres', q{CREATE ROLE mallory LOGIN; GRANT keypup_member TO mallory});
as_role($node, 'mallory', q{SELECT keypup.add_member('acme', 'mallory', 'owner')}) foreach 1 .. 20;
my $recorded = q{FROM keypup.audit_log WHERE database_role = 'mallory' AND outcome = 'refused'};
ok($node->poll_query_until('postgres', "SELECT sum(times) >= 20 $recorded"), 'refusals are recorded');
usleep(1_000_000);
is(query("SELECT sum(times) $recorded"), '20', 'once each');
like(as_role($node, 'mallory', 'SELECT * FROM keypup.worker_status'), qr/permission denied/, 'a member does not read worker_status');
query('CREATE ROLE monitor LOGIN IN ROLE pg_monitor');
is(as_role($node, 'monitor', 'SELECT count(*) FROM keypup.worker_status'), '4', 'a member of pg_monitor does');

set_workers(1);
ok($node->poll_query_until('postgres', sprintf($workers, 1)), 'a reload ends those that are too many');
ok($node->poll_query_until('postgres', q{SELECT string_agg(number::text, ' ') = '0' FROM keypup.worker_status WHERE database = 'postgres'}), 'and leaves the first');

# A launcher that was ended comes back, and finds the worker that is there.
query(q{SELECT pg_terminate_backend(pid) FROM keypup.worker_status WHERE database IS NULL});
usleep(1_000_000);
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM keypup.worker_status WHERE database IS NULL}), 'a launcher that was ended is started again');
usleep(1_000_000);
ok($node->poll_query_until('postgres', sprintf($workers, 1)), 'and starts no second worker');

# A standby.
query(q{CREATE ROLE sam LOGIN; SELECT keypup.grant_support('acme', 'sam', 'looks at a sync', '1 hour')});
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby, 'replay');
usleep(3_000_000);
is($standby->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ '^keypup'}), '0', 'on a standby nothing of keypup runs');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM keypup.worker_status}), '0', 'and worker_status is empty');
my ($code, $out, $error) = $standby->psql('postgres', q{CALL keypup.sync('acme')});
like($error, qr/cannot run on a standby/, 'CALL keypup.sync on a standby says why not');
# Support reads there, of which the audit log can have no record; later it has one of each session.
is(as_role($standby, 'sam', 'SELECT count(*) FROM keypup.projects; SELECT count(*) FROM keypup.issues') =~ /^0$/m ? 'nothing' : 'rows', 'rows', 'support reads on it');
as_role($standby, 'sam', 'SELECT count(*) FROM keypup.projects') foreach 1 .. 2;
sub noted { return scalar(() = slurp_file($standby->logfile) =~ /keypup on a standby notes that "support\.read" was done: actor "sam"/g); }
foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default) { last if noted() >= 3; usleep(100_000); }
is(noted(), 3, 'which the log of the server says, once for each session');
$node->stop('immediate');
$standby->promote;
ok($standby->poll_query_until('postgres', sprintf($workers, 1)), 'after promotion the worker starts without a restart');
ok($standby->poll_query_until('postgres', q{SELECT count(*) = 3 FROM keypup.audit_log WHERE action = 'support.read' AND actor = 'sam'}), 'and what support read on the standby is a record of each session');
control($github, 'change', { repository => 'demo/w1', change => 'comment', number => 1, at => '2030-01-01T00:00:00Z' });
$standby->safe_psql('postgres', q{UPDATE keypup.sync_state SET next_run_at = now()});
ok($standby->poll_query_until('postgres', q{SELECT bool_and(phase = 'idle' AND last_error IS NULL AND next_run_at > now()) FROM keypup.sync_status}), 'and goes on with the sync');
is(differences($standby, $github, 'demo/w1'), '', 'what has changed meanwhile is there');
$standby->stop;
unlike(slurp_file($_->logfile), qr/PANIC|TRAP|segfault|WORKERPROBE/, 'no crash and no token in the log') foreach $node, $standby;
done_testing();
