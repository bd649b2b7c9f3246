# What tenants share is shared out: one who holds a lock, or more than their share, costs the others little.
use strict;
use warnings;

use FindBin;
use IPC::Run qw(start timeout);
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my %token = (eva => 'ghp_SHARESEVA0123456789', ben => 'ghp_SHARESBEN0123456789');
my %github = (
	eva => start_github($token{eva}, (map { ('--generate', "eva/r$_:pulls=3,issues=2,seed=$_") } 1 .. 12), '--points', '1000000'),
	ben => start_github($token{ben}, (map { ('--generate', "ben/r$_:pulls=3,issues=2,seed=$_") } 1 .. 40), '--points', '1000000'));
my $node = new_server($github{eva}, <<CONF);
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1d'
# One that is seldom looked for would hide a wait.
deadlock_timeout = '10s'
keypup.change_timeout = '1h'
CONF
# Both emulators have a certificate of their own.
my $ca = "$github{eva}{dir}/both.pem";
append_to_file($ca, slurp_file($github{$_}{ca_file})) foreach qw(eva ben);
$node->append_conf('postgresql.conf', "keypup.ca_file = '$ca'");
$node->start;
sub query { return $node->safe_psql('postgres', 'SET client_min_messages = error; ' . $_[0]); }
sub becomes { return $node->poll_query_until('postgres', $_[0]); }
sub as { return as_role($node, @_); }
sub requests { return decode_json(control($github{ $_[0] }, 'counters'))->{requests}; }

query(q{CREATE EXTENSION keypup; CREATE ROLE eva LOGIN; CREATE ROLE ben LOGIN});
foreach my $name (qw(eva ben))
{
	query("SELECT keypup.create_account('$name'), keypup.add_member('$name', '$name', 'owner'); SELECT keypup.connect('$name', 'github', '$token{$name}', '$github{$name}{url}', 'github')");
}
query("SELECT keypup.track('eva', 'eva/r$_')") foreach 1 .. 4;
my $all_idle = q{SELECT bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL AND last_error IS NULL) FROM keypup.sync_status WHERE account_id = (SELECT account_id FROM keypup.accounts WHERE name = '%s')};
ok(becomes(sprintf $all_idle, 'eva'), 'one account is synced');

# --- a transaction that is left open ---

# Opens a transaction as a role, in which it does something, and leaves it.
sub hold
{
	my ($role, $sql) = @_;
	my $held = { in => "BEGIN;\n$sql;\n\\echo held\n", out => '', err => '' };
	$held->{process} = start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres') . " user=$role" ], '<', \$held->{in}, '>', \$held->{out}, '2>', \$held->{err}, timeout(900));
	$held->{process}->pump until $held->{out} =~ /held/ || !$held->{process}->pumpable;
	like($held->{out}, qr/held/, "$role holds: $sql") or diag($held->{err});
	return $held;
}
sub let_go
{
	my ($held, $how) = @_;
	$held->{in} .= ($how // 'ROLLBACK') . ";\n\\q\n";
	$held->{process}->finish;
	return;
}
# Requests of an account are under way.
sub ask_for
{
	my ($name) = @_;
	my $before = requests($name);
	query("UPDATE keypup.sync_state SET next_run_at = now() WHERE project_id IN (SELECT project_id FROM keypup.projects WHERE name LIKE '$name/%'); SELECT keypup.wake_launcher()");
	foreach (1 .. 9000)
	{
		return if requests($name) > $before;
		Time::HiRes::usleep(20_000);
	}
	return;
}
# Their answers have come: they wait for a lock, or they are dealt with.
sub answers_come { return becomes(q{SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted) OR sum(requests_in_flight) = 0 FROM keypup.worker_status}); }
sub workers { return query(q{SELECT string_agg(pid::text, ' ' ORDER BY number) FROM keypup.worker_status WHERE database IS NOT NULL}); }
my $next = 0;
sub ben_syncs
{
	my ($when) = @_;
	$next++;
	query("SELECT keypup.track('ben', 'ben/r$next')");
	return ok(becomes(sprintf $all_idle, 'ben'), "another account is synced $when");
}
ben_syncs('before');
my $workers = workers();
# The answers of this one take a moment.
control($github{eva}, 'settings', { latency_ms => 700 });

my $webhook_secret = '0123456789abcdef' x 2;
query("SELECT keypup.set_webhook_secret('eva', 'github', '$webhook_secret')");
my $issuer = 'https://issuer.example.com';
query("SELECT keypup.add_identity_provider('eva', '$issuer', '{client}', NULL)");
foreach my $sql (
	"SELECT keypup.replace_token('eva', 'github', '$token{eva}')",
	q{SELECT keypup.set_webhook_secret('eva', 'github', repeat('fedcba9876543210', 2))},
	q{SELECT keypup.untrack('eva', 'eva/r1')},
	q{SELECT keypup.reread('eva', 'eva/r1')},
	q{SELECT keypup.track('eva', 'eva/r9')},
	"SELECT keypup.add_identity_provider('eva', '$issuer', '{client,other}', NULL)",
	q{SELECT keypup.shred_account('eva')},
	q{SELECT keypup.disconnect('eva', 'github')},
	q{SELECT keypup.drop_account('eva')})
{
	query('UPDATE keypup.identity_providers SET keys_tried_at = NULL');
	ask_for('eva');
	my $held = hold('eva', $sql);
	answers_come();
	ben_syncs('meanwhile');
	let_go($held);
	ok(becomes(sprintf $all_idle, 'eva'), 'what was put off is done when nobody holds anything');
}
my $told = q{SELECT count(*) FILTER (WHERE s.last_error IS NOT NULL OR s.failures > 0) FROM keypup.sync_state s JOIN keypup.projects p USING (account_id, project_id) WHERE p.name LIKE 'eva/%'};
is(query($told), '0', 'none of it counts as a failure');

# People of the account itself are not kept waiting by the worker that waits.
ask_for('eva');
my $held = hold('eva', "SELECT keypup.replace_token('eva', 'github', '$token{eva}')");
answers_come();
foreach my $sql (q{SELECT keypup.set_webhook_secret('eva', 'github', repeat('fedcba9876543210', 2))}, q{SELECT keypup.untrack('eva', 'eva/r4')}, q{SELECT keypup.reread('eva', 'eva/r2')})
{
	is(as('eva', "SET statement_timeout = '60s'; $sql"), '', "meanwhile: $sql");
}
my ($code, $out, $error) = $node->psql('postgres', q{SET statement_timeout = '60s'; CALL keypup.sync('eva', patience => '2 seconds')});
like($error, qr/WARNING:  the sync is not complete/, 'CALL of the account ends when its patience does');
unlike($error, qr/ERROR/, 'without an error');
($code, $out, $error) = $node->psql('postgres', q{SET statement_timeout = '60s'; CALL keypup.sync('ben')});
unlike($error, qr/WARNING|ERROR/, 'and CALL of another is complete');
let_go($held, 'COMMIT');
ok(becomes(sprintf $all_idle, 'eva'), 'the account is read on with the token that it was given');
is(query($told), '0', 'without a failure');


# --- more than one's share ---

# Seconds that another account's sync takes, the middle one of three.
sub time_of_ben
{
	my ($when) = @_;
	my @seconds;
	foreach (1 .. 3)
	{
		my $began = time;
		ben_syncs($when);
		push @seconds, time - $began;
	}
	return (sort { $a <=> $b } @seconds)[1];
}
sub account { my ($name) = @_; query("SELECT keypup.create_account('$name'), keypup.add_member('$name', 'eva', 'owner')"); return; }
sub requests_of_eva { return query(q{SELECT count(*) FROM keypup.sync_jobs WHERE lease_id IS NOT NULL AND account_id <> (SELECT account_id FROM keypup.accounts WHERE name = 'ben')}); }
query(q{SELECT keypup.drop_account('eva')});
# What this one is asked it does not answer before the worker gives up, which takes thirty seconds.
control($github{eva}, 'settings', { latency_ms => 60000 });
my $alone = time_of_ben('alone');
my $most = 2 * $alone + 20;

# Ten connections, each with more repositories than a worker asks for at once.
account('drip');
foreach my $number (1 .. 10)
{
	query("SELECT keypup.connect('drip', 'github', '$token{eva}$number', '$github{eva}{url}', 'c$number'); SELECT keypup.track('drip', 'eva/r' || n, 'c$number') FROM generate_series(1, 12) n");
}
ok(becomes(q{SELECT count(*) >= 32 FROM keypup.sync_jobs WHERE lease_id IS NOT NULL}), 'ten connections of one account have all the requests that an account may have');
my $all_asked = time;
cmp_ok(requests_of_eva(), '<=', 32, 'and no more');
cmp_ok(time_of_ben('meanwhile'), '<', $most, "another account takes no more than twice its time ($alone s)");
my $still = requests_of_eva();
SKIP:
{
	skip 'the first of them have been given up, after thirty seconds', 1 if time - $all_asked > 25;
	is($still, '32', 'of those ten there are as many still');
}
query(q{SELECT keypup.drop_account('drip')});

# Two accounts, with all requests that a worker may have under way, which here are two.
query(q{ALTER SYSTEM SET keypup.max_requests = 1; SELECT pg_reload_conf()});
ok(becomes(q{SELECT current_setting('keypup.max_requests') = '1'}), 'an account has one request at a time');
my $narrow = time_of_ben('alone');
foreach my $name (qw(drip1 drip2))
{
	account($name);
	query("SELECT keypup.connect('$name', 'github', '$token{eva}$name', '$github{eva}{url}', 'github'); SELECT keypup.track('$name', 'eva/r' || n) FROM generate_series(1, 12) n");
}
ok(becomes(q{SELECT count(*) = 2 FROM keypup.sync_jobs WHERE lease_id IS NOT NULL}), 'two accounts have all that a worker may have under way');
cmp_ok(time_of_ben('meanwhile'), '<', 2 * $narrow + 20, "another account takes no more than twice its time ($narrow s)");
query("SELECT keypup.drop_account('$_')") foreach qw(drip1 drip2);
query(q{ALTER SYSTEM RESET keypup.max_requests; SELECT pg_reload_conf()});

# Five thousand projects at once.
account('tracks');
query("SELECT keypup.connect('tracks', 'github', '$token{eva}', '$github{eva}{url}', 'github')");
query(q{ALTER SYSTEM SET keypup.workers = 0; SELECT pg_reload_conf()});
ok(becomes(q{SELECT count(*) = 0 FROM keypup.worker_status WHERE database IS NOT NULL}), 'while nobody looks');
query(q{WITH new AS (INSERT INTO keypup.projects (account_id, connection_id, name, tracked_by) SELECT account_id, connection_id, 'eva/x' || n, 'eva' FROM keypup.connections JOIN keypup.accounts a USING (account_id), generate_series(1, 5000) n
	WHERE a.name = 'tracks' RETURNING account_id, project_id) INSERT INTO keypup.sync_state (account_id, project_id) SELECT account_id, project_id FROM new});
$next++;
query("SELECT keypup.track('ben', 'ben/r$next')");
query(q{ALTER SYSTEM RESET keypup.workers; SELECT pg_reload_conf()});
ok(becomes(sprintf $all_idle, 'ben'), 'an account with one project more is synced');
$workers = workers();
cmp_ok(query(q{SELECT count(*) FROM keypup.sync_state WHERE last_run_started_at IS NULL OR last_run_started_at > (SELECT max(s.last_run_finished_at) FROM keypup.sync_state s JOIN keypup.accounts a USING (account_id) WHERE a.name = 'ben')}), '>', 500, 'before an account with five thousand has begun with all of them');
cmp_ok(time_of_ben('meanwhile'), '<', $most + $alone, "and takes no more than twice its time ($alone s) while they begin");
query(q{SELECT keypup.drop_account('tracks')});

# Two hundred and fifty issuers.
account('issuers');
query("SELECT keypup.add_identity_provider('issuers', '$github{eva}{url}/' || n, '{client}') FROM generate_series(1, 250) n");
my $tried = q{FROM keypup.identity_providers WHERE keys_tried_at IS NOT NULL};
ok(becomes("SELECT count(*) >= 4 $tried"), 'the key sets of many issuers are fetched');
cmp_ok(time_of_ben('meanwhile'), '<', $most, "another account takes no more than twice its time ($alone s)");
cmp_ok(query("SELECT count(*) FILTER (WHERE keys_error IS NULL) $tried"), '<=', 8, 'an account has few of them under way');
query(q{SELECT keypup.drop_account('issuers')});

# Ten sessions that ask what could be tracked.
account('asks');
query("SELECT keypup.connect('asks', 'github', '$token{eva}', '$github{eva}{url}', 'github')");
my $first_asked = time;
my @asking = map
{
	my $ask = { out => '', err => '' };
	$ask->{process} = start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') . ' user=eva', '-c', q{SELECT count(*) FROM keypup.discover('asks')} ], '<', \undef, '>', \$ask->{out}, '2>', \$ask->{err}, timeout(900));
	$ask;
} 1 .. 10;
my $refused = q{(SELECT sum(times) FROM keypup.audit_log WHERE action = 'connection.discover' AND outcome = 'refused')};
ok(becomes(qq{SELECT count(*) = 8 AND $refused = 2 FROM pg_stat_activity WHERE usename = 'eva' AND state = 'active' AND query ~ 'discover'}), 'eight of them wait, and two refusals are recorded');
my $listed = query(q{SELECT count(*) FROM keypup.discover('ben')});
is($listed, '40', 'another account is answered meanwhile');
my $waiting = query(q{SELECT count(*) FROM pg_stat_activity WHERE usename = 'eva' AND state = 'active' AND query ~ 'discover'});
SKIP:
{
	skip 'the first of them have been told that nobody answers, after thirty seconds', 1 if time - $first_asked > 25;
	is($waiting, '8', 'while the eight wait');
}
$_->{process}->finish foreach @asking;
is(scalar(grep { $_->{err} =~ /too many sessions of the account wait for their provider/ && $_->{err} =~ /An account may have 8, a quarter of keypup.max_questions/ } @asking), 2, 'two were told that they are too many, and how many may');
query(q{SELECT keypup.drop_account('asks')});

is(workers(), $workers, 'all by one worker');
$node->stop;
my $log = slurp_file($node->logfile);
unlike($log, qr/deadlock detected/, 'nobody was the victim of a deadlock');
unlike($log, qr/PANIC|TRAP|segfault|signal 11/, 'nothing crashed');
done_testing();
