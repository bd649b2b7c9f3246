# A token is alone: no IV twice, no key or token to be had from another process, and what is too long is not even read.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'ghp_isolated0123456789';
my $github = start_github($token, '--generate', 'demo/one:pulls=20,issues=10,seed=3');
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1s'
restart_after_crash = on
fsync = off
CONF
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
sub becomes { return $node->poll_query_until('postgres', $_[0]); }

query('CREATE EXTENSION keypup');
query(q{SELECT keypup.create_account('acme'); SELECT keypup.create_account('bolt')});

# T6: IVs. Eight clients seal 1,000,000 times.
query('CREATE UNLOGGED TABLE ivs (iv bytea)');
my $script = PostgreSQL::Test::Utils::tempdir() . '/seal.sql';
append_to_file($script, q{INSERT INTO ivs SELECT substr(keypup.encrypt_token('one and the same token', 'a/b'), 9, 12) FROM generate_series(1, 2500);});
$node->command_ok([ 'pgbench', '-n', '-c', '8', '-j', '2', '-t', '50', '-f', $script, 'postgres' ], 'eight clients seal at once');
is(query(q{SET work_mem = '256MB'; SELECT count(*), count(DISTINCT iv) FROM ivs}), '1000000|1000000', '1,000,000 envelopes of 8 clients have 1,000,000 IVs');
is(query(q{SELECT count(*) FROM keypup.data_keys WHERE account_id IS NULL}), '1', 'all under one key');
cmp_ok(query('SELECT last_value FROM keypup.encryptions'), '>=', 1_000_000, 'and all are counted');

# T7: 1,000 envelopes of all lengths, opened by an implementation that shares no code.
query(q{CREATE TABLE sealed AS SELECT n, t.token, c.context, keypup.encrypt_token(t.token, c.context) AS envelope
	FROM generate_series(1, 1000) n, LATERAL (SELECT substr(repeat(md5(n::text) || 'ü', 260), 1, 1 + n * 7) AS token) t,
	LATERAL (SELECT CASE WHEN n % 2 = 0 THEN 'mine/' || n ELSE 'account:' || (SELECT account_id FROM keypup.accounts WHERE name = 'acme') || '/n' || n END AS context) c});
my $lines = query(q{SELECT encode(k.wrapped, 'hex') || ' ' || k.key_id || ' ' || encode(envelope, 'hex') || ' ' || encode(convert_to(context, 'UTF8'), 'hex') || ' ' || encode(convert_to(token, 'UTF8'), 'hex')
	FROM sealed JOIN keypup.data_keys k ON k.key_id = keypup.token_key_id(envelope)});
my $file = PostgreSQL::Test::Utils::tempdir() . '/sealed';
append_to_file($file, "$lines\n");
my ($answer) = run_command([ 'sh', '-c', "node test/vectors/open_envelope.mjs " . ('0f' x 32) . " < '$file'" ]);
is($answer, '1000 of 1000 opened', 'an independent implementation opens 1,000 of our envelopes');
is(query('SELECT count(DISTINCT keypup.token_key_id(envelope)) FROM sealed'), '2', 'which are under two keys');

# T5: what is too long is refused by its header, without reading it.
query(q{CREATE TABLE big WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off) AS SELECT 1 AS n, convert_to(string_agg(md5(i::text), ''), 'UTF8') AS value FROM generate_series(1, 300000) i});
my $reads = sub { $node->psql('postgres', $_[0] . '; SELECT pg_stat_force_next_flush()'); return query(q{SELECT toast_blks_read + toast_blks_hit FROM pg_statio_user_tables WHERE relname = 'big'}); };
my $before = $reads->('SELECT n FROM big');
foreach my $sql (q{SELECT keypup.decrypt_token(value, 'a') FROM big}, q{SELECT keypup.reencrypt_token(value, 'a') FROM big}, q{SELECT keypup.token_key_id(value) FROM big})
{
	my ($code, $out, $error) = $node->psql('postgres', $sql);
	like($error, qr/cannot open token/, "10 MB are refused: $sql");
}
is($reads->('SELECT n FROM big'), $before, 'and not a block of them was read');
cmp_ok($reads->('SELECT md5(value) FROM big'), '>', $before, '(reading them would show)');
# NULL is unknown, not an error; nothing is echoed.
is(query(q{SELECT keypup.encrypt_token(NULL, 'a') IS NULL, keypup.encrypt_token('a', NULL) IS NULL, keypup.decrypt_token(NULL, 'a') IS NULL}), 't|t|t', 'NULL gives NULL');
my ($code, $out, $error) = $node->psql('postgres', q{SELECT keypup.encrypt_token(convert_from('\xff', 'UTF8'), 'a')});
like($error, qr/invalid byte sequence/, 'invalid UTF-8 does not get in');

# T16, T17: no other process of the same user reads the memory of one that held a secret, and it leaves no core.
query(qq{SELECT keypup.connect('acme', 'github', '$token', '$github->{url}'); SELECT keypup.track('acme', 'demo/one')});
ok(becomes(q{SELECT phase = 'idle' AND last_run_finished_at IS NOT NULL FROM keypup.sync_status}), 'the worker has used the token');
my $worker_query = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'keypup worker'};
sub is_readable { my $pid = shift; return open(my $memory, '<', "/proc/$pid/mem") ? 1 : 0; }
SKIP:
{
	skip 'root reads everything', 4 if $> == 0;
	my $session = $node->background_psql('postgres');
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	ok(is_readable($pid), 'the memory of a session that held no secret can be read by its user');
	$session->query_safe(q{SELECT keypup.encrypt_token('a secret', 'a/b')});
	ok(!is_readable($pid), 'that of one that sealed a token cannot');
	ok(!is_readable(query($worker_query)), 'nor that of the worker');
	ok(is_readable(query(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'})), 'the postmaster and its other children never held one');
	$session->quit;
}
my $worker = query($worker_query);
my $cores = sub { return join ' ', glob($node->data_dir . '/core*'), glob('/tmp/core*'); };
my $cores_before = $cores->();
kill 'SEGV', $worker;
ok(becomes("SELECT true FROM pg_stat_activity WHERE backend_type = 'keypup worker' AND pid <> $worker"), 'the server comes back after a crash of the worker');
is($cores->(), $cores_before, 'which left no core dump');

# Nobody has the vault's functions but those to whom they are granted.
is(query(q{SELECT string_agg(p.proname, ' ' ORDER BY p.proname) FROM pg_proc p JOIN pg_roles r ON NOT r.rolsuper AND r.rolname !~ '^pg_'
	WHERE p.pronamespace = 'keypup'::regnamespace AND p.proname ~ 'token|crypt|_key' AND p.proname !~ '^replace_token$|^mentioned_keys$|api_key$|key_sets?$' AND has_function_privilege(r.oid, p.oid, 'EXECUTE')}),
	'app_token_failed audit_checkpoint_key claim_app_tokens list_keys next_app_token next_sink_token note_key_uses record_token_use renew_refused_token replace_app_key reseal_tokens rewrap_data_keys rotate_keys store_app_token take_sink_token token_context want_app_token', 'of the vault, members may list, rotate and give another, and the worker may tend: nobody may seal or open');
$node->stop;
done_testing();
