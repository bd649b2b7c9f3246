# Whoever answers, or sends a webhook, may be hostile: what is small as text is not large in memory. And what is done often leaves
# nothing behind in the memory of a worker, which may live for months. And where there is no memory, one fails, and not all.
use strict;
use warnings;

use Digest::SHA qw(hmac_sha256_hex);
use File::Temp qw(tempdir);
use FindBin;
use JSON::PP;
use List::Util qw(sum);
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'ghp_MEMORYPROBE0123456789';
my $secret = 'a secret of the hook';
my $github = start_github($token, '--generate', 'demo/small:pulls=10,issues=5,seed=3', '--generate', 'demo/large:pulls=100,issues=20,seed=4', '--points', '50000',
	map { ('--generate', 'many/' . 'r' x 80 . "$_:pulls=1,issues=1,seed=$_") } 1 .. 50);
my $work = tempdir(CLEANUP => 1);
system_or_bail('sh', '-c', "cd '$work' && openssl req -newkey rsa:2048 -nodes -keyout key -out csr -subj /CN=localhost 2>/dev/null && printf 'subjectAltName=DNS:localhost\n' > extension && "
	. "openssl x509 -req -in csr -CA '$github->{dir}/ca.pem' -CAkey '$github->{dir}/ca.key' -CAcreateserial -days 2 -extfile extension -out certificate 2>/dev/null");
chmod 0755, $work;
my $hostile = KeypupTest::start_node('test/lib/hostile.mjs', '--cert', "$work/certificate", '--key', "$work/key");
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
shared_buffers = '1MB'
keypup.questions_per_minute = 100000
keypup.sync_interval = '1d'
CONF
system_or_bail('cc', '-shared', '-fPIC', '-O1', '-o', "$work/no_memory.so", "$FindBin::RealBin/../attack/no_memory.c", '-ldl');
{
	local %ENV = (%ENV, LD_PRELOAD => "$work/no_memory.so", NO_MEMORY_FILE => "$work/no_memory");
	$node->start;
}
sub query { return $node->safe_psql('postgres', $_[0]); }
# The most memory that a process ever had, in MB.
sub peak { my ($pid) = @_; return slurp_file("/proc/$pid/status") =~ /^VmHWM:\s*(\d+) kB/m ? $1 / 1024 : die "no memory of $pid"; }

query(qq{CREATE EXTENSION keypup; SELECT keypup.create_account('acme'); SELECT keypup.connect('acme', 'github', '$token', '$github->{url}'); SELECT keypup.track('acme', 'demo/small'), keypup.track('acme', 'demo/large');
	SELECT keypup.set_webhook_secret('acme', 'github', '$secret')});
ok($node->poll_query_until('postgres', q{SELECT bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) FROM keypup.sync_status}), 'repositories are synced');
my $worker = query(q{SELECT pid FROM keypup.worker_status WHERE database = 'postgres'});
my $connection = query('SELECT connection_id FROM keypup.connections');
my $small = query(q{SELECT project_id FROM keypup.projects WHERE name = 'demo/small'});

# --- a page sixteen times as large as the usual one would do ---

my ($account, $job) = split /\|/, query(q{INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, due_at, arguments)
	SELECT account_id, connection_id, project_id, 'pull_requests', 'infinity', jsonb_build_object('items', (SELECT jsonb_agg(global_id) FROM (SELECT t.global_id FROM keypup.pull_requests t WHERE t.project_id = p.project_id ORDER BY number LIMIT 50) t))
	FROM keypup.projects p WHERE name = 'demo/large' RETURNING account_id, job_id});
append_to_file("$work/request", query("SELECT (keypup.github_request('$account', $job)).body"));
my ($page) = run_command([ 'curl', '-sS', '-k', "$github->{url}/graphql", '-H', "Authorization: bearer $token", '-H', 'Content-Type: application/json', '-d', "\@$work/request" ]);
query("DELETE FROM keypup.sync_jobs WHERE job_id = $job");
is(scalar(@{ decode_json($page)->{data}{nodes} }), 50, 'a page has 50 pull requests, the most that is asked for, with reviews and comments: ' . int(length($page) / 1024) . ' KiB');
append_to_file("$work/pages", '[' . join(',', ($page) x 8) . ']');
is(query("SELECT jsonb_array_length(keypup.clean_json(pg_read_binary_file('$work/pages')))"), '8', 'eight of them are within the limits');

# --- bombs ---

# Texts of so many bytes: what they begin with, what is repeated, how often, what they end with.
sub fill { my ($opening, $piece, $closing, $bytes) = @_; return { opening => $opening, piece => $piece, times => int(($bytes - length("$opening$closing")) / length $piece), closing => $closing }; }
sub repeat { my ($piece, $times) = @_; return { opening => '[', piece => "$piece,", times => $times, closing => '1]' }; }
sub around { my ($opening, $bomb, $closing) = @_; return { %$bomb, opening => "$opening$bomb->{opening}", closing => "$bomb->{closing}$closing" }; }
sub bombs
{
	my ($bytes) = @_;
	return ([ 'empty objects', fill('[', '{},', '{}]', $bytes) ], [ 'empty arrays', fill('[', '[],', '[]]', $bytes) ], [ 'numbers', fill('[', '1,', '1]', $bytes) ],
		[ 'as many objects as may be', repeat('{}', 119_000) ], [ 'as many objects with a number as may be', repeat('{"aaaaaaaaaa":12345678901234567890}', 56_000) ],
		[ 'as many objects with escapes as may be', repeat('{"\n":"\n"}', 59_000) ], [ 'as many large numbers as may be', repeat('1.234567890e64', 119_000) ],
		[ 'texts', repeat('"' . 'x' x 48 . '"', 40_000) ], [ 'one text', fill('["', 'x', '"]', $bytes) ], [ 'one text of escapes', fill('["', '\n', '"]', $bytes) ],
		[ 'one text of bytes that are none', fill('["', "\xff", '"]', $bytes) ]);
}

my @places = ([ 'repository', '', '' ], [ 'labels', '{"data": {"node": {"id": "R_1", "labels": {"pageInfo": {"hasNextPage": false}, "nodes": ', '}}}}' ], [ 'issues', '{"data": {"nodes": ', '}}' ]);
my @asked = map { my $bomb = $_; map { my ($kind, $opening, $closing) = @$_; [ "$bomb->[0], as $kind", $kind, around($opening, $bomb->[1], $closing) ] } @places } bombs(2 * 1024 * 1024 - 200);
push @asked, [ 'labels', 'labels', around(@{ $places[1] }[1], repeat('{"id": "L#", "name": "#", "color": "ededed", "createdAt": "2020-01-01T00:00:00Z", "updatedAt": "2020-01-01T00:00:00Z"}', 16_000), @{ $places[1] }[2]) ],
	[ 'issues', 'issues', around('{"data": {"nodes": ', repeat('{"id": "I#", "number": #, "fullDatabaseId": "#", "title": "x", "state": "OPEN", "url": "https://x", "createdAt": "2020-01-01T00:00:00Z", "updatedAt": "2020-01-01T00:00:00Z", "author": {"__typename": "User", "login": "u#", "id": "U#"}}', 7_000), '}}') ];
my $worker_before = peak($worker);
foreach my $asked (@asked)
{
	my ($what, $kind, $bomb) = @$asked;
	my $at_once = $bomb->{piece} =~ /#/ ? 1 : 1000;
	control($hostile, 'set', { head => "HTTP/1.1 200 OK\r\n\r\n$bomb->{opening}", times => int($bomb->{times} / $at_once), tail => $bomb->{piece} x $at_once, rest => ($bomb->{piece} x ($bomb->{times} % $at_once)) . $bomb->{closing}, end => JSON::PP::true });
	my $was = peak($worker);
	query(qq{UPDATE keypup.connections SET base_url = 'https://localhost:$hostile->{port}', state = 'new', blocked_until = NULL; UPDATE keypup.sync_state SET last_error = NULL; DELETE FROM keypup.sync_jobs;
		INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, attempts, arguments)
		SELECT account_id, connection_id, project_id, '$kind', 8, '{"items": ["x"]}' FROM keypup.projects WHERE project_id = $small; SELECT keypup.wake_launcher()});
	$node->poll_query_until('postgres', qq{SELECT last_error IS NOT NULL OR NOT EXISTS (SELECT FROM keypup.sync_jobs) FROM keypup.sync_state WHERE project_id = $small}) or die "no answer to $what";
	note(sprintf '%s: %s; %.1f MB more', $what, query("SELECT last_error FROM keypup.sync_state WHERE project_id = $small"), peak($worker) - $was);
}
is(query(q{SELECT pid FROM keypup.worker_status WHERE database = 'postgres'}), $worker, 'the worker has taken ' . @asked . ' replies of up to 2 MiB');
cmp_ok(peak($worker) - $worker_before, '<', 32, 'and never took 32 MB more for it') or diag(peak($worker) - $worker_before);

# A session that takes a webhook: what it had before is its own, too.
my $peak = q{substring(pg_read_file('/proc/self/status') from 'VmHWM:\s*([0-9]+)')::bigint};
query('CREATE TABLE bodies (what text, signature text, body bytea); ALTER TABLE bodies ALTER body SET STORAGE EXTERNAL');
foreach my $bomb ([ 'small', { opening => '{"zen": ', piece => '', times => 0, closing => '1}' } ], map { [ $_->[0], around('{"zen": ', $_->[1], '}') ] } bombs(8 * 1024 * 1024 - 200))
{
	my ($what, $text) = ($bomb->[0], $bomb->[1]);
	my $body = $text->{opening} . $text->{piece} x $text->{times} . $text->{closing};
	my ($opening, $piece, $closing) = map { unpack 'H*', $_ } @$text{qw(opening piece closing)};
	query(sprintf q{INSERT INTO bodies VALUES ('%s', 'sha256=%s', decode('%s' || repeat('%s', %d) || '%s', 'hex'))}, $what, hmac_sha256_hex($body, $secret), $opening, $piece, $text->{times}, $closing);
}
foreach my $bomb (bombs(0))
{
	my $deliver = sub { sprintf q{SELECT keypup.receive_webhook('%s', jsonb_build_object('X-GitHub-Event', 'ping', 'X-GitHub-Delivery', gen_random_uuid(), 'Content-Type', 'application/json', 'X-Hub-Signature-256', signature), body) FROM bodies WHERE what = '%s'}, $connection, $_[0] };
	my ($code, $out, $error) = $node->psql('postgres', "${\$deliver->('small')}; SELECT $peak; ${\$deliver->($bomb->[0])}; SELECT $peak", on_error_stop => 0);
	my ($before, $after) = $out =~ /(\d{4,})/g;
	my $answer = $out =~ /(pong)\n\d+$/ ? $1 : $error =~ /ERROR:  (.*)/ ? $1 : $out;
	note(sprintf '%s: %s; %.1f MB more', $bomb->[0], $answer, ($after - $before) / 1024);
	like($answer, qr/^pong$|^webhook is (too large|not a JSON object|refused)$/, "a webhook of $bomb->[0] is answered");
	cmp_ok(($after - $before) / 1024, '<', 64, 'and takes less than 64 MB');
}
like(as_role($node, 'postgres', q{SELECT keypup.clean_json(convert_to('{' || string_agg(format('"%s":1', n), ',') || '}', 'UTF8')) FROM generate_series(1, 50000) n}), qr/more than 1000 names/, 'nobody sorts the names of an object without end');

# --- what is done often ---

# What the server tells of the memory of a process.
sub told_of
{
	my ($pid) = @_;
	my $at = -s $node->logfile;
	query("SELECT pg_log_backend_memory_contexts($pid)");
	$node->wait_for_log(qr/Grand total/, $at);
	return slurp_file($node->logfile, $at);
}

# The bytes in use of what a worker keeps as long as it lives; of all that it has, where the server lists a hundred others before: then a
# little more is none.
sub kept
{
	my $told = told_of($worker);
	my @used = $told =~ /; keypup steps: .*; (\d+) used/g;
	return { used => sum(@used), more => 0 } if @used;
	return { used => $1, more => 65_536 } if $told =~ /Grand total: .*; (\d+) used/;
	die 'nothing is told of the worker';
}

# What is done leaves nothing, one time of four at least: what a worker learns at some time, as its plan of a daily task, is learnt once.
sub leaves_nothing
{
	my ($name, $do, $kept) = @_;
	my ($more, $before, $now);
	$kept //= \&kept;
	foreach (1 .. 4)
	{
		$before = $kept->();
		$do->();
		$now = $kept->();
		$more = $now->{used} - $before->{used};
		last if $more <= $now->{more};
	}
	return cmp_ok($more, '<=', $now->{more}, $name);
}
query(qq{UPDATE keypup.connections SET base_url = '$github->{url}', state = 'new', blocked_until = NULL; DELETE FROM keypup.sync_jobs; SELECT keypup.create_account('bolt')});
query(qq{SELECT keypup.connect('bolt', 'github', '$token', '$github->{url}'); DELETE FROM keypup.connection_tokens t USING keypup.accounts a WHERE a.account_id = t.account_id AND a.name = 'bolt'});
sub put_off
{
	my ($count) = @_;
	query(qq{INSERT INTO keypup.sync_jobs (account_id, connection_id, kind, attempts, arguments) SELECT account_id, connection_id, 'poll', 20, '{"items": []}'
		FROM keypup.connections JOIN keypup.accounts USING (account_id) CROSS JOIN generate_series(1, $count) WHERE accounts.name = 'bolt'; SELECT keypup.wake_launcher()});
	$node->poll_query_until('postgres', q{SELECT bool_and(attempts > 20) FROM keypup.sync_jobs}) or die;
	query('DELETE FROM keypup.sync_jobs');
}
put_off(50);
leaves_nothing('3,000 jobs that are put off leave nothing in the worker\'s memory', sub { put_off(3000) });
sub ask { my ($count) = @_; query(qq{SELECT count(keypup.ask_worker('key_set', account_id, convert_to('https://' || repeat('x', 8000), 'UTF8'))) FROM keypup.accounts CROSS JOIN generate_series(1, $count) WHERE name = 'acme'}); return; }
ask(5);
leaves_nothing('nor do 1,000 questions', sub { ask(1000) });
sub discover { my ($times) = @_; query("DO \$\$ BEGIN FOR n IN 1 .. $times LOOP PERFORM FROM keypup.discover('acme'); END LOOP; END \$\$"); return; }
discover(1);
leaves_nothing('nor do 150 lists of what could be tracked', sub { discover(150) });

# --- a CALL that waits ---

# For a provider that has asked for a pause: then it looks once a second whether that goes on, in four transactions or more.
query(qq{SELECT keypup.create_account('cinch'); SELECT keypup.connect('cinch', 'github', '$token', '$github->{url}');
	UPDATE keypup.connections c SET blocked_until = now() + interval '1 day', blocked_reason = 'a pause' FROM keypup.accounts a WHERE a.account_id = c.account_id AND a.name = 'cinch'; SELECT keypup.track('cinch', 'demo/small')});
my ($out, $error) = ('', '');
my $call = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'SELECT pg_backend_pid()', '-c', q{CALL keypup.sync('cinch', patience => '2 days')} ], '>', \$out, '2>', \$error, IPC::Run::timeout(900));
IPC::Run::pump($call) until $out =~ /^(\d+)\n/;
my $caller = $1;
IPC::Run::pump($call) until $error =~ /NOTICE:  waiting until .*: a pause/ || !$call->pumpable;
# Transactions of a session are numbered.
sub wait_for_transactions
{
	my ($count) = @_;
	my $number = qq{SELECT split_part(virtualtransaction, '/', 2)::bigint FROM pg_locks WHERE locktype = 'virtualxid' AND pid = $caller};
	my $now = '';
	$now = query($number) until $now ne '' || !$call->pumpable;
	return $node->poll_query_until('postgres', qq{SELECT ($number) >= $now + $count}) || die "the CALL does not go on: $error";
}
# All that it has taken: what a result leaves is a block of 8 KiB, nearly empty.
sub taken_by_call { my ($bytes) = told_of($caller) =~ /Grand total: (\d+) bytes/; return { used => $bytes, more => 262_144 }; }
leaves_nothing('100 transactions of a CALL that waits leave nothing in its memory', sub { wait_for_transactions(100) }, \&taken_by_call);
query("SELECT pg_cancel_backend($caller)");
IPC::Run::finish($call);
like($error, qr/^ERROR:  canceling statement due to user request/m, 'until somebody ends it');

# --- a session that has no memory for an answer ---

control($github, 'settings', { faults => [ { match => { operation => 'KeypupProjects', times => 1 }, late => JSON::PP::true } ] });
($out, $error) = ('', '');
my $asks = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'SELECT pg_backend_pid()', '-c', q{SELECT count(*) FROM keypup.discover('acme')} ], '>', \$out, '2>', \$error, IPC::Run::timeout(180));
IPC::Run::pump($asks) until $out =~ /^(\d+)\n/;
my $session = $1;
ok($node->poll_query_until('postgres', "SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $session"), 'a session waits for its answer');
append_to_file("$work/no_memory.$session", '');
control($github, 'settings', { faults => [] });
eval { IPC::Run::finish($asks) };
if (!like($error, qr/^ERROR:  out of memory/m, 'without memory it ends in an error'))
{
	# It and the worker hang for ever.
	$node->stop('immediate');
	die "$out $error $@";
}
unlink "$work/no_memory.$session";
is(query(q{SELECT count(*) > 50 FROM keypup.discover('acme')}), 't', 'and the worker answers the next');

$node->stop;
done_testing();
