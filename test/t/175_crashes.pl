# Processes that die or stand still in the middle of a sync: afterwards the tables are the provider's, no row is there twice
# and no job is stuck. The worker is killed KEYPUP_KILLS times (200, which takes about 80 seconds).
use strict;
use warnings;

use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $kills = $ENV{KEYPUP_KILLS} // 200;
my $token = 'ghp_CRASHPROBE0123456789';
my @names = map { "demo/r$_" } 1 .. 6;
my $github = start_github($token, (map { ('--generate', "$_:pulls=35,issues=25,seed=" . (20 + ord(substr $_, -1))) } @names),
	'--generate', 'demo/big:pulls=900,issues=300,seed=9', '--latency', '25', '--points', '1000000');
my $node = new_server($github, <<CONF, allows_streaming => 1);
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1h'
restart_after_crash = on
CONF
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }

sub prepare
{
	my ($server) = @_;
	$server->safe_psql('postgres', qq{CREATE EXTENSION keypup;
		SELECT keypup.create_account('acme'), keypup.connect('acme', 'github', '$token', '$github->{url}')});
}

sub start_sync
{
	query(q{SELECT keypup.untrack('acme', name) FROM keypup.projects});
	query("SELECT keypup.track('acme', '$_')") foreach @names;
}

# Nobody wants to wait here for what was put off.
sub finishes
{
	my ($server) = @_;
	my $give_up = time + $PostgreSQL::Test::Utils::timeout_default;
	while (time < $give_up)
	{
		my ($code, $out) = $server->psql('postgres', q{UPDATE keypup.sync_jobs SET due_at = now() WHERE due_at > now(); SELECT keypup.wake_launcher();
			SELECT CASE WHEN bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) THEN 'finished' END FROM keypup.sync_status});
		return 1 if ($out // '') =~ /finished/;
		usleep(50_000);
	}
	diag($server->safe_psql('postgres', 'SELECT * FROM keypup.sync_status; SELECT * FROM keypup.sync_jobs'));
	return 0;
}

sub recovers
{
	my ($server, $what, @repositories) = @_;
	ok(finishes($server), "$what: the sync completes");
	is(join("\n", map { differences($server, $github, $_) } @repositories), "\n" x $#repositories, "$what: the tables are the provider's, and no row is there twice");
	is($server->safe_psql('postgres', 'SELECT count(*) FROM keypup.sync_jobs'), '0', "$what: no job is stuck");
}

# While answers about issues are kept, a sync does not come to its end.
sub keep_issues { control($github, 'settings', { faults => [ { match => { operation => 'KeypupIssues' }, late => JSON::PP::true } ] }); return; }
sub let_issues_go { control($github, 'settings', { faults => [] }); return; }

# Without asking the server, which may be just coming back.
sub find_worker
{
	my ($server) = @_;
	my ($postmaster) = slurp_file($server->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	my $give_up = time + $PostgreSQL::Test::Utils::timeout_default;
	while (time < $give_up)
	{
		foreach my $pid (map { split } `ps -o pid=,args= --ppid $postmaster | awk '/keypup worker/ {print \$1}'`)
		{
			return $pid;
		}
		usleep(5_000);
	}
	die 'no worker';
}

# kill -9 at random points of a sync.
prepare($node);
my $seed = srand();
diag("seed $seed");
my ($killed, $rounds, @wrong) = (0, 0);
while ($killed < $kills)
{
	start_sync();
	$rounds++;
	foreach my $i (1 .. 15)
	{
		last if $killed >= $kills;
		my $worker = find_worker($node);
		usleep(int(rand(120_000)));
		crash_server($node, $worker);
		$killed++;
		last if query('SELECT count(*) FROM keypup.sync_jobs') eq '0';
	}
	push @wrong, "round $rounds: the sync does not complete" unless finishes($node);
	push @wrong, map { "round $rounds: $_" } grep { $_ ne '' } map { differences($node, $github, $_) } @names;
	push @wrong, "round $rounds: a job is stuck" if query('SELECT count(*) FROM keypup.sync_jobs') ne '0';
}
is(join("\n", @wrong), '', "after kill -9 of the worker, $killed times in $rounds syncs, the tables are the provider's, no row is there twice and no job is stuck");

# A worker that stands still holds its jobs, and goes on with them. One that is stopped while it holds one of PostgreSQL's
# own locks, which are held for an instant, would hold up the server: then another instant is tried.
sub stop_worker
{
	foreach (1 .. 10)
	{
		keep_issues();
		start_sync();
		$node->poll_query_until('postgres', 'SELECT count(*) > 0 FROM keypup.pull_requests') or die;
		my $stopped = find_worker($node);
		kill 'STOP', $stopped;
		let_issues_go();
		my $late = 0;
		$node->psql('postgres', 'SELECT count(*) FROM keypup.sync_jobs', timeout => 60, timed_out => \$late);
		return $stopped unless $late;
		kill 'CONT', $stopped;
		finishes($node) or die;
	}
	die 'the worker always holds a lock';
}
my $worker = stop_worker();
usleep(20_000_000);
is(query('SELECT count(*) > 0 FROM keypup.sync_jobs'), 't', 'a worker that is stopped for 20 seconds leaves jobs');
kill 'CONT', $worker;
recovers($node, 'a worker that was stopped for 20 seconds', @names);
is(find_worker($node), $worker, 'and it is the same worker');

# The whole server.
foreach my $how ('kill -9 of the postmaster', 'an immediate shutdown')
{
	start_sync();
	$node->poll_query_until('postgres', 'SELECT count(*) > 0 FROM keypup.pull_requests') or die;
	$worker = find_worker($node);
	$how =~ /kill/ ? $node->kill9 : $node->stop('immediate');
	my $give_up = time + $PostgreSQL::Test::Utils::timeout_default;
	usleep(20_000) while kill(0, $worker) && time < $give_up;
	ok(!kill(0, $worker), "the worker ends with $how");
	usleep(100_000) until $node->start(fail_ok => 1) || time > $give_up;
	recovers($node, $how, @names);
}

# No room for a page: the worker may write files of one segment's size only. It is the worker's alone: the log and the others are not concerned.
SKIP:
{
	skip 'needs prlimit', 6 if system('prlimit --version > /dev/null 2>&1') != 0;
	my $full = new_server($github, "shared_preload_libraries = 'keypup'\nmax_wal_size = '64MB'", name => 'full', extra => ['--wal-segsize=1']);
	$full->start;
	prepare($full);
	$full->poll_query_until('postgres', q{SELECT count(*) = 1 FROM keypup.worker_status WHERE database = 'postgres' AND state = 'idle'}) or die;
	$worker = find_worker($full);
	system_or_bail('prlimit', '--pid', $worker, '--fsize=1048576:unlimited');
	$full->safe_psql('postgres', q{SELECT keypup.track('acme', 'demo/big')});
	ok($full->poll_query_until('postgres', q{SELECT last_error ~ 'could not (extend|write)' FROM keypup.sync_status}), 'no room on the disk is named in sync_status')
		or diag($full->safe_psql('postgres', q{SELECT * FROM keypup.sync_status; SELECT relname, pg_relation_size(oid) FROM pg_class ORDER BY 2 DESC LIMIT 5}));
	is(find_worker($full), $worker, 'the worker lives on');
	is($full->safe_psql('postgres', 'SELECT count(*) > 0 FROM keypup.sync_jobs'), 't', 'the jobs are kept');
	system_or_bail('prlimit', '--pid', $worker, '--fsize=unlimited:unlimited');
	recovers($full, 'with room again', 'demo/big');
	$full->stop;
}

# A replica is promoted in the middle of a page, and the old server is gone.
$node->backup('base');
my $replica = PostgreSQL::Test::Cluster->new('replica');
$replica->init_from_backup($node, 'base', has_streaming => 1);
$replica->start;
keep_issues();
start_sync();
$node->poll_query_until('postgres', 'SELECT count(*) > 30 FROM keypup.pull_requests') or die;
$node->stop('immediate');
$replica->promote;
is($replica->safe_psql('postgres', q{SELECT count(*) FROM keypup.sync_status WHERE phase = 'backfill'}) > 0, 1, 'a replica is promoted in the middle of a sync');
let_issues_go();
recovers($replica, 'a promoted replica', @names);
$replica->stop;

foreach my $server ($node, $replica)
{
	my $log = slurp_file($server->logfile);
	unlike($log, qr/PANIC|TRAP|segfault|signal 11/, 'nothing else crashed');
	unlike($log, qr/CRASHPROBE/, 'the log holds no token');
}
done_testing();
