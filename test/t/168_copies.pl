# Copies of a database: a standby changes nothing, and says so; what was restored from a dump asks nothing until it is resumed.
use strict;
use warnings;

use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'ghp_COPYPROBE0123456789';
my $github = start_github($token, '--generate', 'demo/one:pulls=20,issues=10,seed=4', '--generate', 'demo/two:pulls=5,issues=5,seed=5');
my $node = new_server($github, "shared_preload_libraries = 'keypup'\n", allows_streaming => 1);
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }

query(qq{CREATE EXTENSION keypup; CREATE ROLE olga LOGIN; SELECT keypup.create_account('acme'), keypup.add_member('acme', 'olga', 'owner');
	SELECT keypup.connect('acme', 'github', '$token', '$github->{url}'); SELECT keypup.track('acme', 'demo/one')});
ok($node->poll_query_until('postgres', q{SELECT bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) FROM keypup.sync_status}), 'production reads');

# --- a standby ---

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby, 'replay');

# All that members and operators call and that changes something; each as it would be called, with something in place of every argument.
my $callable = query(q{SELECT string_agg(format('%s keypup.%I(%s)', CASE p.prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT' END, p.proname, a.list), E'\n' ORDER BY p.proname, a.list)
	FROM pg_proc p, LATERAL (SELECT string_agg(CASE format_type(t.type, NULL)
		WHEN 'text' THEN '''acme''' WHEN 'name' THEN '''olga''' WHEN 'text[]' THEN '''{acme}''' WHEN 'interval' THEN '''1 hour''' WHEN 'jsonb' THEN '''{}'''
		WHEN 'bytea' THEN '''\x00''' WHEN 'uuid' THEN 'gen_random_uuid()' WHEN 'boolean' THEN 'true' WHEN 'date[]' THEN '''{}''' ELSE '1' END, ', ' ORDER BY t.position) AS list
		FROM unnest(p.proargtypes) WITH ORDINALITY AS t (type, position)) AS a
	WHERE p.pronamespace = 'keypup'::regnamespace AND p.provolatile = 'v' AND p.proname NOT IN ('use_session', 'diagnose_workers', 'verify_audit')
		AND (has_function_privilege('keypup_member', p.oid, 'EXECUTE')
			OR p.proname IN ('create_account', 'resume_connections', 'rotate_keys', 'destroy_key', 'request_break_glass', 'approve_break_glass', 'receive_webhook', 'set_proxy_credentials'))});
my @calls = split /\n/, $callable;
cmp_ok(scalar @calls, '>=', 47, scalar(@calls) . ' functions are called on the standby');
my @others;
foreach my $call (@calls)
{
	my ($code, $out, $error) = $standby->psql('postgres', "\\set VERBOSITY verbose\n$call");
	push @others, "$call: $out$error" if $error !~ /ERROR:  25006: this cannot run on a standby.*HINT:  Call it on the primary/s;
}
is(join("\n", @others), '', 'each says that it cannot run on a standby');
is($standby->safe_psql('postgres', q{SELECT phase, items_done FROM keypup.sync_status}), 'idle|30', 'what is there is read');
$standby->stop;

# The same in a session that only reads.
my ($code, $out, $error) = $node->psql('postgres', q{SET default_transaction_read_only = on; SELECT keypup.untrack('acme', 'demo/one')});
like($error, qr/this cannot run in a read-only transaction.*HINT:  Begin the transaction with BEGIN READ WRITE/s, 'in a read-only transaction a function says so');


# --- a dump, restored beside production ---

# All that asks with a secret, or for somebody: a token, an app, a webhook's hint, an issuer's keys, people of the provider.
system("openssl genrsa -out $github->{dir}/app.pem 2048 2>/dev/null") == 0 or die;
my ($public) = run_command([ 'openssl', 'pkey', '-in', "$github->{dir}/app.pem", '-pubout' ]);
control($github, 'app', { app_id => 7, public_key_pem => $public, installations => [ { id => 99, repositories => ['demo/one'] } ] });
my %person = (token => 'ghp_COPYPERSON0123456789', login => 'person', organizations => ['demo'], permissions => { 'demo/one' => 'WRITE' });
control($github, 'user', { %person });
my $session_of_person = "SELECT length(keypup.sign_in_with_provider('acme', 'github', '$person{token}'))";
query('SELECT keypup.connect_app(' . join(', ', "'acme'", "'github'", "'7'", 99, literal(slurp_file("$github->{dir}/app.pem")), literal($github->{url}), "'app'") . q{); SELECT keypup.track('acme', 'demo/one', 'app')});
query(qq{SELECT keypup.set_webhook_secret('acme', 'github', repeat('0123456789abcdef', 3)), keypup.allow_provider_sign_in('acme', 'viewer', 'github'),
	keypup.add_identity_provider('acme', '$github->{url}/issuer', ARRAY['c'])});
ok($node->poll_query_until('postgres', q{SELECT bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) FROM keypup.sync_status}), 'production reads by a token and as an app');
ok($node->poll_query_until('postgres', q{SELECT keys_error IS NOT NULL FROM keypup.identity_providers WHERE kind = 'openid'}), 'and asks an issuer for its keys');
is(query($session_of_person), '96', 'a person signs in with a token of the provider');
query(q{INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind) SELECT account_id, connection_id, project_id, 'repository' FROM keypup.projects});
$node->stop;
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->start;
query(q{INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind) SELECT account_id, connection_id, project_id, 'repository' FROM keypup.projects});
my $dump = "$github->{dir}/dump.sql";
run_command([ 'pg_dump', '-h', $node->host, '-p', $node->port, '-f', $dump, 'postgres' ]);
chmod 0644, $dump;

sub counters { return decode_json(control($github, 'counters')); }

# Restores it, and has all that could ask be due; a connection that is made there, with a token of its own, shows that the worker is at work.
sub restore
{
	my ($server, $database) = @_;
	$server->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-h', $server->host, '-p', $server->port, '-f', $dump, $database ], "$database: the dump is restored");
	$server->safe_psql($database, q{UPDATE keypup.sync_state SET next_run_at = now(); UPDATE keypup.sync_jobs SET due_at = now(); UPDATE keypup.identity_providers SET keys_tried_at = NULL;
		UPDATE keypup.app_installations SET ask_at = now(), wanted_until = now() + interval '1 hour'; UPDATE keypup.connection_tokens SET expires_at = NULL WHERE expires_at IS NOT NULL});
	control($github, 'counters/reset', {});
	return counters()->{points_remaining};
}

sub waits
{
	my ($server, $database, $points) = @_;
	my $ask = sub { return $server->safe_psql($database, $_[0]) };
	my $told = sub { my ($code, $out, $error) = $server->psql($database, $_[0]); return $error; };
	ok($server->poll_query_until($database, q{SELECT count(*) > 0 FROM keypup.worker_status WHERE database = current_database() AND state <> 'starting'}), "$database: a worker is there");
	my $copy = qr/the connection was made in another database, of which this is a copy.*HINT:.*resume_connections/s;
	is($ask->(q{SELECT DISTINCT phase, last_error, last_error_hint, warning ~ 'nothing is read until resume_connections', next_run_at FROM keypup.sync_status}),
		'restored|the connection was made in another database, of which this is a copy|Where this one is to read in its place, an operator calls keypup.resume_connections.|t|', "$database: sync_status says why nothing is read");
	is($ask->(q{SELECT ok, detail, remedy FROM keypup.check_installation() WHERE check_name = 'copy'}),
		'f|2 connections wait, as this is a copy of the database that reads; if it is to read in its place, they are resumed|SELECT keypup.resume_connections();', "$database: so does check_installation");
	like($told->($_), $copy, "$database: $_ says so, too") foreach q{CALL keypup.sync('acme')}, q{CALL keypup.sync('acme', 'github/demo/one')}, q{SELECT * FROM keypup.discover('acme', 'github')}, q{SELECT * FROM keypup.discover('acme', 'app')};
	# Who signs in has proven nothing: why not is for the account to read.
	like($told->($session_of_person), qr/the provider could not be asked.*The account's audit log says why/s, "$database: nobody signs in by a provider");
	ok($server->poll_query_until($database, q{SELECT EXISTS (SELECT FROM keypup.audit_log WHERE action = 'session.start' AND detail ~ 'the connection was made in another database, of which this is a copy')}), "$database: the audit log says why");
	$ask->(qq{SELECT keypup.create_account('here'), keypup.connect('here', 'github', '$person{token}', '$github->{url}'); SELECT keypup.track('here', 'demo/two')});
	ok($server->poll_query_until($database, q{SELECT phase = 'idle' AND last_run_finished_at IS NOT NULL FROM keypup.sync_status WHERE account = 'here'}), "$database: a connection that is made there reads");
	$ask->(q{UPDATE keypup.sync_state SET next_run_at = now() FROM keypup.projects p WHERE p.project_id = sync_state.project_id AND p.name = 'demo/two'});
	ok($server->poll_query_until($database, q{SELECT next_run_at > now() FROM keypup.sync_status WHERE account = 'here'}), "$database: again and again");
	my $counters = counters();
	is($counters->{points_remaining} . ' ' . $counters->{app_tokens} . ' ' . join(',', @{ $counters->{unlisted} }), "$points 0 ", "$database: nothing was asked with production's token, as its app, or of its issuer");
	return;
}

my $second = new_server($github, "shared_preload_libraries = 'keypup'\n", name => 'second');
$second->start;
$second->safe_psql('postgres', 'CREATE ROLE olga LOGIN');
waits($second, 'postgres', restore($second, 'postgres'));
like(as_role($second, 'olga', 'SELECT keypup.resume_connections()'), qr/permission denied/, 'no member resumes it');
foreach my $wrong ([ q{NULL, 'github'}, qr/an account is needed/ ], [ q{'nowhere'}, qr/account "nowhere" does not exist/ ], [ q{'acme', 'nothing'}, qr/connection "nothing" does not exist/ ])
{
	($code, $out, $error) = $second->psql('postgres', "SELECT keypup.resume_connections($wrong->[0])");
	like($error, $wrong->[1], "resume_connections($wrong->[0]) says what is wrong");
}
control($github, 'change', { repository => 'demo/one', change => 'comment', number => 1, at => '2030-01-01T00:00:00Z' });
is($second->safe_psql('postgres', q{SELECT keypup.resume_connections('acme', 'github')}), '1', 'an operator resumes one connection');
ok($second->poll_query_until('postgres', q{SELECT count(*) = 1 FROM keypup.sync_status s JOIN keypup.projects p USING (account_id, project_id) JOIN keypup.connections c USING (account_id, connection_id)
	WHERE c.name = 'github' AND s.account = 'acme' AND s.phase = 'idle' AND s.next_run_at > now()}), 'which reads on');
is($second->safe_psql('postgres', q{SELECT count(*) FROM keypup.comments WHERE created_at = '2030-01-01 00:00:00Z'}), '1', 'what has changed meanwhile is there');
is($second->safe_psql('postgres', q{SELECT string_agg(connection || ' ' || phase, ',') FROM keypup.halted_connections}), 'app restored', 'the other still waits');
is(counters()->{app_tokens}, 0, 'and asks nothing');
($code, $out, $error) = $second->psql('postgres', q{CALL keypup.sync('acme')});
like($error, qr/WARNING:  the sync is not complete: the connection was made in another database/, 'CALL keypup.sync syncs the one and warns of the other');
is($second->safe_psql('postgres', 'SELECT keypup.resume_connections()'), '1', 'all are resumed');
ok($second->poll_query_until('postgres', q{SELECT bool_and(phase = 'idle' AND last_error IS NULL AND next_run_at > now()) FROM keypup.sync_status}), 'and read on');
ok($second->poll_query_until('postgres', q{SELECT keys_tried_at IS NOT NULL FROM keypup.identity_providers WHERE kind = 'openid'}), 'the issuer is asked for its keys');
is($second->safe_psql('postgres', $session_of_person), '96', 'people sign in again');
is($second->safe_psql('postgres', q{SELECT string_agg(detail, ',' ORDER BY record_id) FROM keypup.audit_log WHERE action = 'connection.resume'}), '"github","app"', 'the audit log says who resumed what');
is($second->safe_psql('postgres', 'SELECT keypup.resume_connections()'), '0', 'there is nothing more to resume');

# Another database of the same server, as CREATE DATABASE … TEMPLATE makes one, too: system identifiers are the same.
$second->safe_psql('postgres', 'CREATE DATABASE beside');
waits($second, 'beside', restore($second, 'beside'));
is($second->safe_psql('beside', qq{SELECT keypup.replace_token('acme', 'github', '$token'), keypup.replace_app_key('acme', 'app', NULL)}), '|', 'a token is given there');
ok($second->poll_query_until('beside', q{SELECT count(*) = 1 FROM keypup.sync_status s JOIN keypup.projects p USING (account_id, project_id) JOIN keypup.connections c USING (account_id, connection_id)
	WHERE c.name = 'github' AND s.account = 'acme' AND s.phase = 'idle' AND s.next_run_at > now()}), 'with which it reads');
is($second->safe_psql('beside', q{SELECT string_agg(connection || ' ' || phase, ',') FROM keypup.halted_connections}), 'app restored', 'trying once more with the old key resumes nothing');

$_->stop foreach $node, $second;
unlike(slurp_file($_->logfile), qr/PANIC|TRAP|segfault|COPYPROBE/, 'no crash and no token in the log') foreach $node, $standby, $second;
done_testing();
