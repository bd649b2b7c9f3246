# The main job on real processes: emulated GitHub over TLS, background worker, crash, access, secrets.
use strict;
use warnings;

use Cwd;
use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $token = 'ghp_LEAKPROBE0123456789abcdefghij';
my $shared = getcwd() . '/../shared/data/github';

my %repositories;
my @data;
if (-d $shared)
{
	foreach my $name ('mlswg/mls-protocol', 'cfrg/draft-irtf-cfrg-vdaf', 'tlswg/tls13-spec')
	{
		(my $file = $name) =~ s|/|__|;
		push @data, '--data', "$shared/$file.json";
		$repositories{$name} = 1;
	}
}
else
{
	diag 'shared/data is not here: only the generated repository is read';
}
$repositories{'demo/generated'} = 1;

my $github = start_github($token, @data, '--generate', 'demo/generated:pulls=2000,issues=1000,seed=7',
	'--generate', 'demo/small:pulls=3,issues=2,seed=1');
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1h'
restart_after_crash = on
CONF
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }

query('CREATE EXTENSION keypup');
plant_overloads($node);
query(q{CREATE ROLE alice LOGIN; CREATE ROLE vera LOGIN; CREATE ROLE oscar LOGIN;
	SELECT keypup.create_account('acme'); SELECT keypup.add_member('acme', 'alice', 'owner'); SELECT keypup.add_member('acme', 'vera', 'viewer')});
# From the environment into a variable and a bind parameter's place: no literal in the test's own text.
$ENV{KEYPUP_TOKEN} = $token;
$node->psql('postgres', qq{\\getenv token KEYPUP_TOKEN\nSELECT keypup.connect('acme', 'github', :'token', '$github->{url}')}, on_error_die => 1);
$ENV{KEYPUP_TOKEN} = '';

query("SELECT keypup.track('acme', '$_')") foreach sort keys %repositories;

# kill -9 in the middle: the server restarts, the launcher starts a worker, the sync goes on.
ok($node->poll_query_until('postgres', q{SELECT count(*) > 200 FROM keypup.pull_requests}), 'the worker starts by itself');
my $worker = query(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'keypup worker'});
like($worker, qr/^\d+$/, 'one worker is at work');
crash_server($node, $worker);
ok($node->poll_query_until('postgres', q{SELECT bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) FROM keypup.sync_status}),
	'the sync finishes after kill -9') or diag(query('SELECT * FROM keypup.sync_status'));
is(query('SELECT count(*) FROM keypup.sync_jobs'), '0', 'no job is left');

# Every row against the emulator's own truth.
foreach my $name (sort keys %repositories)
{
	compare_with_truth($node, $github, $name, 'after a full sync with a crash in it');
}

my $counters = decode_json(control($github, 'counters'));
is_deeply($counters->{violations}, [], 'nothing that carries source code was asked for');
is($counters->{body_requests}, 0, 'no body was asked for');
is($counters->{http2}, $counters->{requests}, 'the worker speaks HTTP/2');
diag("full sync: $counters->{requests} requests, $counters->{points} points");

# A quiet run is cheap, and writes no row.
my $written = q{SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables WHERE relname IN
	('pull_requests', 'issues', 'reviews', 'comments', 'timeline_events', 'labels', 'milestones', 'identities', 'people')};
control($github, 'counters/reset', {});
SKIP:
{
	skip 'needs a real history from shared/data', 1 unless @data;
	query("CALL keypup.sync('acme', 'mlswg/mls-protocol')");
	cmp_ok(decode_json(control($github, 'counters'))->{requests}, '<=', 3, 'an unchanged repository costs at most 3 requests');
}
# What is counted of before may come late.
foreach (1 .. 5)
{
	query('SELECT pg_stat_reset()');
	query("CALL keypup.sync('acme', '$_')") foreach @data ? 'mlswg/mls-protocol' : (), 'demo/generated';
	usleep(1_200_000);
	last if query($written) eq '0';
}
is(query($written), '0', 'a quiet run writes no row');

# Changes arrive.
my $number = query(q{SELECT min(number) FROM keypup.pull_requests JOIN keypup.projects USING (account_id, project_id) WHERE name = 'demo/generated' AND state = 'open'});
control($github, 'change', { repository => 'demo/generated', change => 'comment', number => $number + 0, at => '2030-01-01T00:00:00Z' });
control($github, 'change', { repository => 'demo/generated', change => 'merge', number => $number + 0, at => '2030-01-01T00:00:01Z' });
query("CALL keypup.sync('acme', 'demo/generated')");
is(query("SELECT state FROM keypup.pull_requests JOIN keypup.projects USING (account_id, project_id) WHERE name = 'demo/generated' AND number = $number"),
	'merged', 'a merge arrives with the next run');
compare_with_truth($node, $github, 'demo/generated', 'after changes');
control($github, 'change', { repository => 'demo/generated', change => 'rename', to => 'demo/renamed' });
query("CALL keypup.sync('acme', 'demo/generated')");
is(query("SELECT count(*) FROM keypup.projects WHERE name = 'demo/renamed'"), '1', 'a renamed repository keeps its project');

# A CALL tells how far it is, and each thing once, however long it waits.
control($github, 'settings', { latency_ms => 3500 });
my (undef, undef, $told) = $node->psql('postgres', "CALL keypup.sync('acme', 'demo/renamed')");
my @notices = $told =~ /NOTICE:  (synced .*)/g;
cmp_ok(scalar @notices, '>', 0, 'a CALL tells how far it is');
is(scalar(grep { $notices[$_] eq $notices[ $_ - 1 ] } 1 .. $#notices), 0, 'and nothing twice') or diag($told);
control($github, 'settings', { latency_ms => 0 });

# Each sees what the role allows.
is($node->safe_psql('postgres', 'SELECT count(*) > 0 FROM keypup.pull_request_cycle WHERE cycle_time IS NOT NULL', extra_params => [ '-U', 'vera' ]), 't', 'a viewer reads cycle times');
my ($rc, $stdout, $stderr) = $node->psql('postgres', 'SELECT count(*) FROM keypup.pull_request_cycle', extra_params => [ '-U', 'oscar' ]);
like($stderr, qr/permission denied/, 'an outsider may not look');

# Many accounts at once, more than the worker keeps connections for.
control($github, 'counters/reset', {});
query(qq{SELECT keypup.create_account('many' || i), keypup.connect('many' || i, 'github', '$token', '$github->{url}') FROM generate_series(1, 20) i});
# NOTIFY: every role may listen, and hears what it knows the name of.
my %listeners = map { $_ => $node->background_psql('postgres', extra_params => [ '-U', 'oscar' ]) } qw(one none);
$listeners{one}->query_safe('LISTEN keypup_' . query(q{SELECT replace(account_id::text, '-', '') FROM keypup.accounts WHERE name = 'many1'}));
$listeners{none}->query_safe('LISTEN keypup');
query(q{SELECT keypup.track('many' || i, 'demo/small') FROM generate_series(1, 20) i});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 20 FROM keypup.sync_status WHERE account ~ '^many' AND phase = 'idle'}), 'twenty accounts are synced by one worker');
is(query(q{SELECT count(*), count(DISTINCT account_id), min(items_done), max(items_done) FROM keypup.sync_status WHERE account ~ '^many' AND items_done = items_total}), '20|20|5|5', 'each has all of its rows');
# Who listens is told after the commit, which the poll above has seen.
my $heard = '';
my $give_up = time + $PostgreSQL::Test::Utils::timeout_default;
$heard .= $listeners{one}->query_safe('SELECT pg_sleep(0.1)') until $heard =~ /with payload "page"/ || time > $give_up;
like($heard, qr/with payload "page"/, 'an account\'s channel tells that a page was stored');
unlike($listeners{none}->query_safe('SELECT 1'), qr/notification/, 'and no other channel tells anything');
$_->quit foreach values %listeners;
cmp_ok(decode_json(control($github, 'counters'))->{connections}, '>=', 20, 'accounts share no connection');
query(q{SELECT keypup.untrack('many' || i, 'demo/small') FROM generate_series(1, 20) i});
is(query(q{SELECT count(*) FROM keypup.pull_requests JOIN keypup.accounts USING (account_id) WHERE accounts.name ~ '^many'}), '0', 'what is untracked is forgotten');

# What goes wrong is said where it is looked for.
query(q{SELECT keypup.track('acme', 'demo/missing')});
$node->psql('postgres', q{CALL keypup.sync('acme', 'demo/missing')});
like(query(q{SELECT last_error FROM keypup.sync_status WHERE project = 'demo/missing'}), qr/does not exist, or the token may not read it/, 'a missing repository is named in sync_status');
query(q{UPDATE keypup.sync_jobs SET due_at = now()});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM keypup.worker_status WHERE last_error = 'the provider did not give what was asked for'}), 'worker_status does not call that a failure to store');
$node->psql('postgres', q{SELECT keypup.replace_token('acme', 'github', 'ghp_wrongwrongwrong')});
query(q{UPDATE keypup.sync_state SET next_run_at = now(); SELECT keypup.wake_launcher()});
ok($node->poll_query_until('postgres', q{WITH w AS (UPDATE keypup.connections SET retry_at = now() WHERE state = 'token_doubted' AND retry_at > now())
	SELECT state = 'token_refused' FROM keypup.connections JOIN keypup.accounts USING (account_id) WHERE accounts.name = 'acme'}), 'a token that is refused twice stops its connection');
(undef, undef, $told) = $node->psql('postgres', q{CALL keypup.sync('acme', 'demo/missing')});
like($told, qr/WARNING:  the sync is not complete: GitHub refuses the token/, 'a CALL whose token is refused says so');
query(q{SELECT keypup.track('acme', 'demo/later')});
is(query(q{SELECT DISTINCT phase, last_error, last_error_hint, last_error_at > now() - interval '10 minutes', next_run_at BETWEEN now() + interval '50 minutes' AND now() + interval '1 hour' FROM keypup.sync_status}),
	'stopped|GitHub refuses the token (401)|Give the connection a valid token with keypup.replace_token.|t|t', 'each of its projects says why, and when it is tried again');
(undef, undef, $told) = $node->psql('postgres', q{CALL keypup.sync('acme', 'demo/later')});
like($told, qr/WARNING:  the sync is not complete: GitHub refuses the token/, 'one that was tracked later, too');

# The end: promptly, and without a trace of the token.
my $started = time;
query('CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION keypup');
$node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type = 'keypup worker'});
nobody_is_in($node, 'other');
query('DROP DATABASE other');
pass('a database with a worker can be dropped');
query('DROP EXTENSION keypup CASCADE');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'keypup worker'}), 'the worker ends with the extension');
$node->stop;
my $found = `grep -raoE 'LEAKPROBE[0-9]{4}' '@{[ $node->data_dir ]}' | head -n 3`;
is($found, '', 'the data directory holds no token');
my $logged = `grep -aoE 'LEAKPROBE[0-9]{4}' '@{[ $node->logfile ]}' | head -n 3`;
is($logged, '', 'the log holds no token');
done_testing();
