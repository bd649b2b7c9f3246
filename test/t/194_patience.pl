# CALL keypup.sync waits where waiting helps: for a provider that does not answer for a moment, or asks for a pause. It says so, can be
# cancelled meanwhile, and ends when that takes longer than the caller has patience. A token that is refused: 193_refused.pl.
use strict;
use warnings;

use FindBin;
use IPC::Run qw(start);
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'ghp_PATIENCE0123456789';
my $github = start_github($token, '--generate', 'demo/main:pulls=120,issues=60,seed=1,releases=2,deployments=2');
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
keypup.workers = 0
CONF
$node->start;
sub query { return $node->safe_psql('postgres', 'SET client_min_messages = error; ' . $_[0]); }
sub becomes { return $node->poll_query_until('postgres', $_[0]); }
sub faults { control($github, 'settings', { faults => [@_] }); return; }
sub paused { my ($seconds) = @_; return { match => { nth => 1 }, status => 429, headers => { 'retry-after' => "$seconds" }, body => { message => 'API rate limit exceeded' } }; }
my ($out, $told) = ('', '');
# A CALL that goes on while the test does.
sub call
{
	my ($sql) = @_;
	($out, $told) = ('', '');
	return start([ 'psql', '-XAtq', '-v', 'VERBOSITY=default', '-d', $node->connstr('postgres'), map { ('-c', $_) } split /; /, $sql // q{CALL keypup.sync('acme')} ], '>', \$out, '2>', \$told, IPC::Run::timeout(900));
}
sub hears { my ($call, $pattern, $what) = @_; $call->pump until $told =~ $pattern || !$call->pumpable; return like($told, $pattern, $what); }
sub start_over { query(q{SELECT keypup.untrack('acme', 'demo/main'); SELECT keypup.resume_connections(); SELECT keypup.track('acme', 'demo/main')}); return; }
my $waiting = qr/NOTICE:  waiting until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S+: /;

query('CREATE EXTENSION keypup');
query(qq{SELECT keypup.create_account('acme'), keypup.connect('acme', 'github', '$token', '$github->{url}'); SELECT keypup.track('acme', 'demo/main')});

# A provider that fails now and then. What was put off need not be waited for.
faults({ match => {}, status => 502, raw => '<html>' });
my $call = call();
hears($call, qr/${waiting}GitHub could not answer in time \(502\)/, 'a CALL says that it waits for an answer, until when, and why');
faults({ match => { every => 4 }, status => 502, raw => '<html>' });
ok(becomes(q{WITH w AS (UPDATE keypup.sync_jobs SET due_at = now() WHERE due_at > now()) SELECT phase = 'idle' FROM keypup.sync_status}), 'with every fourth answer a 502 it goes on to the end');
$call->finish;
unlike($told, qr/WARNING|ERROR/, 'without a warning');
is(differences($node, $github, 'demo/main'), '', 'and all of it is there');

# A pause that the provider asks for.
# Longer than a busy machine takes to say so.
faults(paused(12));
start_over();
$call = call();
$call->finish;
is(() = $told =~ /${waiting}GitHub's rate limit is reached$/mg, 1, 'a pause is waited for, and said once');
unlike($told, qr/WARNING|ERROR/, 'and the sync is complete');
faults(paused(500));
start_over();
$call = call();
hears($call, qr/${waiting}GitHub's rate limit is reached/, 'a long one, too');
is(query('SELECT keypup.resume_connections()'), 1, 'until somebody ends it');
$call->finish;
unlike($told, qr/WARNING|ERROR/, 'which the CALL notices');
is(differences($node, $github, 'demo/main'), '', 'and all of it is there');

# For longer than the caller has patience.
foreach my $patience ([ 3000, q{CALL keypup.sync('acme')} ], [ 300, q{CALL keypup.sync('acme', patience => '1 minute')} ], [ 300, q{CALL keypup.sync('acme', 'demo/main', '0')} ])
{
	my ($seconds, $sql) = @$patience;
	faults(paused($seconds));
	start_over();
	my $before = time;
	call($sql)->finish;
	like($told, qr/WARNING:  the sync is not complete: GitHub's rate limit is reached\nDETAIL:  0 of 0 issues and pull requests are stored, 1 requests are left, the next one not before \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S+\.\nHINT:/,
		"$sql: a pause of $seconds seconds is not waited for, and the warning says what is missing, and until when");
	unlike($told, $waiting, "$sql: no word of waiting");
	cmp_ok(time - $before, '<', 120, "$sql: it ends at once");
}
# Where waiting helps nothing.
faults();
start_over();
query(q{SELECT keypup.track('acme', 'demo/missing')});
my $before = time;
call()->finish;
like($told, qr/WARNING:  the sync is not complete: repository "demo\/missing" does not exist/, 'what needs a person is not waited for');
unlike($told, $waiting, 'which is said at once');
# Its patience is ten minutes.
cmp_ok(time - $before, '<', 300, 'and it ends');
is(query(q{SELECT phase FROM keypup.sync_status WHERE project = 'demo/main'}), 'idle', 'with all else done');
query(q{SELECT keypup.untrack('acme', 'demo/missing')});

# It can be cancelled while it waits.
foreach my $how ([ q{CALL keypup.sync('acme')}, 'user request', sub { query(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL%' AND pid <> pg_backend_pid()}) } ],
	[ q{SET statement_timeout = '15s'; CALL keypup.sync('acme')}, 'statement timeout', sub { } ])
{
	my ($sql, $reason, $cancel) = @$how;
	faults(paused(500));
	start_over();
	$call = call($sql);
	hears($call, $waiting, 'a CALL waits');
	$before = time;
	$cancel->();
	$call->finish;
	like($told, qr/ERROR:  canceling statement due to $reason/, "and is cancelled by a $reason");
	cmp_ok(time - $before, '<', 60, 'at once');
	is(query(q{SELECT count(*) FROM pg_locks WHERE locktype = 'object' AND database <> 0}), 0, 'and its lease is given back');
}

# How it is called.
faults();
foreach my $sql (q{CALL keypup.sync('acme')}, q{CALL keypup.sync('acme', 'demo/main')}, q{CALL keypup.sync(account => 'acme', project => 'demo/main')}, q{CALL keypup.sync('acme', patience => '1 hour')})
{
	query(q{SELECT keypup.resume_connections()});
	call($sql)->finish;
	unlike($told, qr/WARNING|ERROR/, "$sql works");
}
foreach my $wrong ([ 'NULL', 'a patience is needed' ], [ "'-1 second'", 'patience must not be negative' ])
{
	call("CALL keypup.sync('acme', patience => $wrong->[0])")->finish;
	like($told, qr/ERROR:  $wrong->[1]/, $wrong->[1]);
}
$node->stop;
done_testing();
