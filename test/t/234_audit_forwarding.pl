# The audit log is forwarded: all of it, in order, whatever happens to the worker or to the sink, and kept until then.
use strict;
use warnings;

use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $token = 'ghp_FORWARDPROBE0123456789';
my $github = start_github($token, '--generate', 'demo/one:pulls=20,issues=10,seed=4');
my $receiver = start_node('test/forward/receiver.mjs');
my $node = new_server($github, "shared_preload_libraries = 'keypup'\nkeypup.sync_interval = '1d'\nrestart_after_crash = on\n");
# Both have made a certificate authority of their own.
append_to_file("$github->{dir}/both.pem", slurp_file($github->{ca_file}) . slurp_file($receiver->{ca_file}));
$node->append_conf('postgresql.conf', "keypup.ca_file = '$github->{dir}/both.pem'\n");
$node->start;
sub query { return $node->safe_psql('postgres', 'SET client_min_messages = error; ' . $_[0]); }
sub becomes { my ($sql, $name) = @_; return ok($node->poll_query_until('postgres', $sql), $name) || diag(query('SELECT sink, lag_records, failures, last_error, next_attempt_at FROM keypup.audit_forwarding')); }
sub state { return decode_json(control($receiver, 'state')); }
sub set { my (%sinks) = @_; return control($receiver, 'set', \%sinks); }
sub act { my ($count, $account) = @_; return query("SELECT count(keypup.record_action(account_id, 'account.time_zone', 'again ' || n)) FROM keypup.accounts, generate_series(1, $count) n WHERE name = '" . ($account // 'acme') . q{'}); }
my $all_sent = q{(SELECT count(*) = 0 FROM keypup.audit_log WHERE sequence IS NULL AND counts_until IS NULL) AND NOT EXISTS (SELECT FROM keypup.audit_forwarding WHERE lag_records > 0};

# What a sink got: '' when that is every sealed record, at least once, and in the order of each account. What the worker itself leaves in the
# log may be on its way.
sub arrived
{
	my ($sink, $where) = @_;
	my $wrong;
	foreach (1 .. $PostgreSQL::Test::Utils::timeout_default)
	{
		$wrong = wrong_in($sink, $where);
		last if $wrong !~ /is missing/;
		sleep 1;
	}
	return $wrong;
}
sub wrong_in
{
	my ($sink, $where) = @_;
	my (%seen, %last, @wrong);
	foreach my $record (@{ decode_json(control($receiver, "records?$sink")) })
	{
		my ($account, $sequence, $id) = @$record;
		next if $seen{$id}++;
		push @wrong, "$id comes after $last{$account}" if $sequence <= ($last{$account} // 0);
		$last{$account} = $sequence;
	}
	my %known = map { $_ => 1 } split /\n/, query("SELECT account_id || '-' || CASE WHEN '$sink' = 'google' THEN lpad(sequence::text, 19, '0') ELSE sequence::text END || '-' || record_id FROM keypup.audit_log WHERE sequence IS NOT NULL AND ($where)");
	push @wrong, map { "$_ is missing" } grep { !$seen{$_} } sort keys %known;
	push @wrong, map { "$_ is nobody's" } grep { !$known{$_} } sort keys %seen;
	return join "\n", @wrong[0 .. ($#wrong > 4 ? 4 : $#wrong)];
}

system("openssl genrsa -out $receiver->{dir}/key.pem 2048 2>/dev/null") == 0 or die;
my ($public) = run_command([ 'openssl', 'pkey', '-in', "$receiver->{dir}/key.pem", '-pubout' ]);
my ($another) = run_command([ 'sh', '-c', 'openssl genrsa 2048 2>/dev/null | openssl pkey -pubout' ]);
my %key = (type => 'service_account', project_id => 'proj-1', private_key_id => 'abc', private_key => slurp_file("$receiver->{dir}/key.pem"), client_email => 'logs@proj-1.iam.gserviceaccount.com',
	client_id => '1', token_uri => "$receiver->{url}/google/token");
sub key_file { return literal(encode_json({ %key, @_ })); }
query('CREATE EXTENSION keypup; CREATE ROLE olga LOGIN; CREATE ROLE adam LOGIN; CREATE ROLE rita LOGIN;
	SELECT keypup.create_account(n) FROM unnest(ARRAY[\'acme\', \'other\']) n; SELECT keypup.add_member(\'acme\', \'olga\', \'owner\'), keypup.add_member(\'acme\', \'adam\', \'admin\'), keypup.add_member(\'other\', \'rita\', \'owner\')');

# --- what is refused ---

my $otlp = "'otlp', '$receiver->{url}/otlp'";
foreach my $case (
	[ postgres => q{NULL, 'siem', 'syslog'}, qr/no sinks of this kind/, 'an unknown kind' ],
	[ olga => q{'acme', 'siem', 'log'}, qr/the server's log is the operator's/, 'the server\'s log, for an account' ],
	[ olga => q{'acme', 'siem', 'otlp'}, qr/a URL is needed/, 'no URL' ],
	[ olga => q{'acme', 'siem', 'otlp', 'http://collector.example:4318'}, qr/only https is used/, 'http' ],
	[ olga => q{'acme', 'siem', 'otlp', 'https://10.1.2.3:4318'}, qr/its host is in a private network/, 'a private address' ],
	[ olga => qq{'acme', 'siem', $otlp, 'Bearer s3cr3t-probe'}, qr/no line of a request's headers/, 'a header without a name' ],
	[ olga => qq{'acme', 'siem', $otlp, E'a: s3cr3t-probe\\r\\nb: c'}, qr/no line of a request's headers/, 'two headers' ],
	[ olga => qq{'acme', 'siem', $otlp, 'Host: s3cr3t-probe'}, qr/no line of a request's headers/, 'a header that is not the sink\'s' ],
	[ olga => qq{'acme', 'siem', $otlp, NULL, 'projects/p/logs/x'}, qr/no setting of a sink of kind otlp/, 'a setting of another kind' ],
	[ olga => q{'acme', 'siem', 'google', NULL, 's3cr3t-probe'}, qr/the key of the service account cannot be used/, 'a key that is not JSON' ],
	[ olga => q{'acme', 'siem', 'google', NULL, '["s3cr3t-probe"]'}, qr/the key of the service account cannot be used/, 'a key that is no object' ],
	[ olga => q{'acme', 'siem', 'google', NULL, } . key_file(private_key => 's3cr3t-probe'), qr/the key of the service account cannot be used/, 'a key that is none' ],
	[ olga => q{'acme', 'siem', 'google', NULL, } . key_file(more => 's3cr3t-probe' x 2000), qr/the key of the service account cannot be used/, 'a file that is too long for a key' ],
	[ olga => q{'acme', 'siem', 'google', NULL, } . key_file(token_uri => 'http://s3cr3t-probe.example/'), qr/only https is used/, 'tokens by http' ],
	[ olga => q{'acme', 'siem', 'google', NULL, } . key_file() . q{, 'logs'}, qr/log_name is malformed/, 'a log that Google cannot have' ],
	[ adam => qq{'acme', 'siem', $otlp}, qr/does not exist, or you may not do this/, 'an admin' ],
	[ rita => qq{'acme', 'siem', $otlp}, qr/does not exist, or you may not do this/, 'another account\'s owner' ],
	[ olga => qq{NULL, 'siem', $otlp}, qr/only a superuser/, 'all accounts, for an owner' ])
{
	my ($role, $arguments, $error, $name) = @$case;
	my ($code, $out, $told) = $node->psql('postgres', "SELECT keypup.set_audit_sink($arguments)", connstr => $node->connstr('postgres') . " user=$role", on_error_stop => 0);
	my $message = join "\n", grep { /^psql.*ERROR|^DETAIL|^HINT/ } split /\n/, $told;
	ok($message =~ $error && $message =~ /^HINT:  ./m && $message !~ /s3cr3t/, "refused, with a hint: $name") or diag($told);
}
is(query('SELECT count(*) FROM keypup.audit_forwarding'), '0', 'and nothing is set');

# --- sinks take it ---

my $header = 'Bearer s3cr3t-probe-of-otlp';
set(otlp => { header => [ 'authorization', $header ] }, google => { public_key => $public, lives => 65 });
like(as_role($node, 'olga', qq{SELECT keypup.set_audit_sink('acme', 'siem', $otlp, 'Authorization: $header')}), qr/^$/, 'an owner forwards the account\'s log');
query("SELECT keypup.set_audit_sink(NULL, 'cloud', 'google', '$receiver->{url}/google', " . key_file() . "), keypup.set_audit_sink(NULL, 'syslog', 'log')");
like(as_role($node, 'olga', qq{SELECT keypup.set_audit_sink('acme', 'siem', 'otlp', 'https://elsewhere.example')}), qr/there is another sink "siem" already/, 'two of one name are refused');
like(as_role($node, 'olga', qq{SELECT keypup.set_audit_sink('acme', 'siem', $otlp, 'Authorization: $header')}), qr/^$/, 'but one may get another secret');
act(1200);
act(700, 'other');
becomes("SELECT $all_sent)", 'everything is forwarded');
becomes(q{SELECT bool_and(s.forwarded_seals = c.seals) FROM keypup.audit_sinks s, keypup.audit_clock c WHERE s.account_id = '00000000-0000-0000-0000-000000000000'}, 'sinks of all accounts are not asked about again before more is sealed');
is(query(q{BEGIN; INSERT INTO keypup.audit_sinks (account_id, name, kind, url) SELECT account_id, 'late', 'otlp', 'https://late.example' FROM keypup.accounts WHERE name = 'acme';
	DELETE FROM keypup.audit_log l USING keypup.audit_heads h WHERE h.account_id = l.account_id AND l.sequence <= h.sequence - 3;
	SELECT b.records FROM keypup.audit_sinks s, keypup.make_audit_batch(s) b WHERE s.name = 'late'; SELECT b.records FROM keypup.audit_sinks s, keypup.make_audit_batch(s) b WHERE s.name = 'late'}), "0\n3", 'where more records are gone than a request has, the next has those behind');
is(arrived('otlp', q{account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'acme')}), '', 'OTLP: the records of the account');
is(arrived('google', 'true'), '', 'Google: those of all accounts, and of none');
my $state = state();
is_deeply($state->{wrong}, [], 'every request is as the published schemas have it');
ok($state->{otlp}{largest} <= 500 && $state->{google}{largest} <= 500 && $state->{google}{bytes} < 1_100_000, 'with 500 records and a megabyte at most');
my (%lines, $sealed);
foreach (1 .. $PostgreSQL::Test::Utils::timeout_default)
{
	$sealed = query('SELECT count(*) FROM keypup.audit_log WHERE sequence IS NOT NULL');
	%lines = map { my $r = decode_json($_); ("$r->{account_id} $r->{sequence}" => $r) } slurp_file($node->logfile) =~ /LOG:  keypup audit (\{.*\})$/mg;
	last if keys %lines == $sealed;
	sleep 1;
}
is(scalar(keys %lines), $sealed, 'the server\'s log has a line of JSON for each');
is(join(',', sort keys %{ (values %lines)[0] }), 'account,account_id,action,actor,actor_kind,application_name,claimed,client_address,database_role,detail,last_at,occurred_at,outcome,record_id,schema,seal,seal_key,sequence,times', 'with all members');
ok($node->poll_query_until('postgres', q{SELECT string_agg(DISTINCT sink || ' ' || (last_sent_at IS NOT NULL) || ' ' || lag_records || ' ' || lag_seconds || ' ' || rejected_records || coalesce(last_error, ''), ', ') FROM keypup.audit_forwarding}, 'cloud true 0 0 0, siem true 0 0 0, syslog true 0 0 0'), 'audit_forwarding says so');
is(as_role($node, 'adam', q{SELECT sink FROM keypup.audit_forwarding}), 'siem', 'to who may read the log, of their own account');
is(as_role($node, 'rita', q{SELECT count(*) FROM keypup.audit_forwarding}), '0', 'and to nobody else');
is(query(q{SELECT count(*) FROM keypup.audit_log WHERE action = 'audit_sink.set' AND outcome = 'done'}), '4', 'setting one is recorded');
is(query(q{SELECT string_agg(purpose, ' ' ORDER BY purpose) FROM keypup.audit_sink_secrets WHERE substr(envelope, 1, 4) = '\x4b500101'}), 'access_token header service_account_key', 'what they are shown is sealed');
query('SELECT keypup.rotate_keys()');
becomes(q{SELECT count(*) = 0 FROM keypup.audit_sink_secrets s JOIN keypup.data_keys k USING (key_id) WHERE k.state <> 'active'}, 'and sealed again when keys are rotated');
act(10);
becomes("SELECT $all_sent)", 'and opens then');

# --- whatever happens in between ---

# Few records a request, for there to be many of them.
query('UPDATE keypup.audit_sinks SET batch_size = 10');
set(otlp => { header => [ 'authorization', $header ], fault => 'drop', every => 4 }, google => { public_key => $public, lives => 65, fault => 'reset', every => 5 });
act(400);
foreach my $i (1 .. 3)
{
	my $worker = query(q{SELECT coalesce(min(pid), 0) FROM pg_stat_activity WHERE backend_type = 'keypup worker'});
	usleep(1000 * (100 + rand 900));
	crash_server($node, $worker) if $worker > 0;
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'keypup worker' AND pid <> $worker"), 'the worker is killed');
	act(50, 'other');
}
becomes("SELECT $all_sent)", 'everything is forwarded though the worker was killed and connections were cut');
is(arrived('otlp', q{account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'acme')}), '', 'OTLP: each record at least once, in order, and once without those of one id');
is(arrived('google', 'true'), '', 'Google: likewise');
cmp_ok(state()->{otlp}{records}, '>', query(q{SELECT count(*) FROM keypup.audit_log WHERE account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'acme')}), 'some did arrive twice');

# --- what a sink answers ---

query(q{SELECT keypup.remove_audit_sink(NULL, 'syslog'); UPDATE keypup.audit_sinks SET batch_size = 500});
sub fault
{
	my ($sink, $fault, $error, $hint, $name) = @_;
	my %sink = $sink eq 'otlp' ? (header => [ 'authorization', $header ]) : (public_key => $public);
	my $row = $sink eq 'otlp' ? 'siem' : 'cloud';
	set($sink => { %sink, %$fault });
	act(1);
	becomes("SELECT last_error ~ '$error' AND coalesce(last_error_hint, '') ~ '$hint' AND next_attempt_at > last_error_at AND lag_records > 0 FROM keypup.audit_forwarding WHERE sink = '$row'", "$sink: $name is told, with a hint, and nothing is lost");
	set($sink => \%sink);
	query('UPDATE keypup.audit_sinks SET next_attempt_at = now()');
	becomes("SELECT $all_sent AND sink = '$row')", 'and forwarded in the end');
}
fault(otlp => { fault => '429' }, 'it answers 429', 'too much to do', '429 with Retry-After');
fault(otlp => { fault => '503' }, 'it answers 503', 'being restarted', '503');
fault(otlp => { fault => 'html' }, 'it answers 200, but not as OTLP has it', 'Check the URL', 'HTML');
fault(otlp => { fault => 'json' }, 'it answers 200, but not as OTLP has it', 'Check the URL', 'what somebody else says in JSON');
fault(otlp => { fault => 'bare' }, 'it answers 429', 'too much to do', '429 without Retry-After');
fault(otlp => { fault => 'half' }, '.', '', 'half a reply');
fault(otlp => { fault => 'redirect' }, 'it answers 302', 'another address', 'a redirect');
fault(otlp => { header => [ 'authorization', 'other' ] }, 'it answers 401', 'header', 'a header that it does not accept');
fault(google => { fault => '400' }, 'it answers 400 \(INVALID_ARGUMENT\)', 'kept', 'a refusal');
fault(google => { fault => 'reset' }, '.', '', 'a reset');
fault(google => { fault => 'html' }, 'it answers 200, but not as Google has it', 'Check the URL', 'HTML');
set(google => { public_key => $another }, otlp => { header => [ 'authorization', $header ], fault => 'partial' });
query(q{DELETE FROM keypup.audit_sink_secrets WHERE purpose = 'access_token'});
act(5);
becomes(q{SELECT last_error ~ '^no access token: it answers 40' FROM keypup.audit_forwarding WHERE sink = 'cloud'}, 'Google: a key that is one no more is told');
becomes(q{SELECT rejected_records > 0 AND lag_records = 0 AND last_error IS NULL FROM keypup.audit_forwarding WHERE sink = 'siem'}, 'OTLP: what is rejected is counted');
set(google => { public_key => $public, fault => 'partial' }, otlp => { header => [ 'authorization', $header ], fault => 'empty' });
query('UPDATE keypup.audit_sinks SET next_attempt_at = now()');
becomes(q{SELECT rejected_records > 0 AND lag_records = 0 AND last_error IS NULL FROM keypup.audit_forwarding WHERE sink = 'cloud'}, 'Google: likewise');
becomes(q{SELECT lag_records = 0 FROM keypup.audit_forwarding WHERE sink = 'siem'}, 'OTLP: an empty answer rejects nothing');
set(google => { public_key => $public }, otlp => { header => [ 'authorization', $header ], fault => 'many' });
my $rejected = query(q{SELECT rejected_records FROM keypup.audit_forwarding WHERE sink = 'siem'});
act(3);
becomes("SELECT rejected_records = $rejected + 3 AND lag_records = 0 FROM keypup.audit_forwarding WHERE sink = 'siem'", 'OTLP: more than there were are all of them');
like(slurp_file($node->logfile), qr/has rejected 1 of \d+ records/, 'and the server\'s log has it');
set(google => { public_key => $public, most => 30 }, otlp => { header => [ 'authorization', $header ] });
act(200);
becomes("SELECT $all_sent)", 'where 500 records are too many, fewer are sent at once');

# --- a sink that is down ---

set(otlp => { fault => 'hang' }, google => { public_key => $public });
my $old = q{SELECT count(*) FROM keypup.audit_log WHERE database_role = 'old'};
my $expire = q{UPDATE keypup.audit_clock SET steady_since = now() - interval '2 hours', seen_at = now(); SELECT keypup.keep_audit_days()};
# Whoever holds a lock for a moment is not waited for: then once more.
sub expired_to
{
	my ($count) = @_;
	foreach (1 .. $PostgreSQL::Test::Utils::timeout_default)
	{
		query($expire);
		last if query($old) eq $count;
		sleep 1;
	}
	return query($old);
}
query("INSERT INTO keypup.audit_log (account_id, record_id, occurred_at, last_at, action, outcome, database_role) SELECT account_id, keypup.record_id_at(t), t, t, 'session.end', 'done', 'old'
	FROM keypup.accounts, (SELECT now() - interval '40 days' AS t) x WHERE name IN ('acme', 'other')");
query("SELECT keypup.connect('acme', 'github', '$token', '$github->{url}'), keypup.track('acme', 'demo/one')");
becomes(q{SELECT count(*) = 2 FROM keypup.audit_log WHERE database_role = 'old' AND sequence IS NOT NULL}, 'old records are sealed');
becomes(q{SELECT lag_records = 0 FROM keypup.audit_forwarding WHERE sink = 'cloud'}, 'a sink that hangs holds no other up');
becomes(q{SELECT count(*) = 30 FROM (SELECT number FROM keypup.pull_requests UNION ALL SELECT number FROM keypup.issues) x}, 'nor the sync');
is(expired_to(1), '1', 'what the sink has not got is kept after keypup.audit_retention, and nothing else');
is(query(q{SELECT ok, detail ~ 'the oldest record that is kept for them is 40 days old' FROM keypup.check_installation() WHERE check_name = 'audit_forwarding'}), 'f|t', 'which check_installation tells');
like(query(q{SELECT is_intact FROM keypup.verify_audit('acme')}), qr/t/, 'the log verifies');
set(otlp => { header => [ 'authorization', $header ] });
becomes("SELECT $all_sent)", 'when it is back, it gets all');
is(expired_to(0), '0', 'and what is old goes');
is(query(q{SELECT is_intact FROM keypup.verify_audit('acme')} . q{ UNION ALL SELECT is_intact FROM keypup.verify_audit('other')}), "t\nt", 'the log verifies then, too');
is(query(q{SELECT ok FROM keypup.check_installation() WHERE check_name = 'audit_forwarding'}), 't', 'and check_installation is content');
like(as_role($node, 'olga', q{SELECT keypup.remove_audit_sink('acme', 'nowhere')}), qr/there is no sink "nowhere"/, 'a sink that is not there cannot be removed');
like(as_role($node, 'olga', q{SELECT keypup.remove_audit_sink('acme', 'siem')}), qr/^$/, 'one that is can');
is(query(q{SELECT count(*) FROM keypup.audit_sink_secrets WHERE purpose = 'header'}), '0', 'and its secret is gone');

# --- copies ---

run_command([ 'pg_dump', '-h', $node->host, '-p', $node->port, '-f', "$github->{dir}/dump.sql", 'postgres' ]);
unlike(slurp_file("$github->{dir}/dump.sql"), qr/s3cr3t-probe|PRIVATE KEY|ya29/, 'a dump has no secret');
query('CREATE DATABASE copy');
run_command([ 'psql', '-Xq', '-h', $node->host, '-p', $node->port, '-f', "$github->{dir}/dump.sql", 'copy' ]);
is($node->safe_psql('copy', q{SELECT sink, last_error FROM keypup.audit_forwarding}), 'cloud|this is a copy of the database in which it was set', 'a copy forwards nothing before it is told to');
is_deeply(state()->{wrong}, [], 'every request was as the published schemas have it');
$node->stop;
my $log = slurp_file($node->logfile);
# What was passed as a literal is in the statement that failed: as a parameter it is not.
$log =~ s/STATEMENT:.*$//mg;
unlike($log, qr/s3cr3t-probe|ya29\./, 'no secret is in the log');
unlike($log, qr/PANIC|TRAP|segfault|could not (?:do its upkeep|forward|note)/, 'nothing has failed that should not');
done_testing();
