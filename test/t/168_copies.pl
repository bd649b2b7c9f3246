# Copies of a database: a standby changes nothing, and says so.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'ghp_COPYPROBE0123456789';
my $github = start_github($token, '--generate', 'demo/one:pulls=20,issues=10,seed=4');
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
		WHEN 'bytea' THEN '''\x00''' WHEN 'uuid' THEN 'gen_random_uuid()' WHEN 'boolean' THEN 'true' ELSE '1' END, ', ' ORDER BY t.position) AS list
		FROM unnest(p.proargtypes) WITH ORDINALITY AS t (type, position)) AS a
	WHERE p.pronamespace = 'keypup'::regnamespace AND p.provolatile = 'v' AND p.proname <> 'use_session'
		AND (has_function_privilege('keypup_member', p.oid, 'EXECUTE')
			OR p.proname IN ('create_account', 'resume_connections', 'rotate_keys', 'destroy_key', 'request_break_glass', 'approve_break_glass', 'receive_webhook'))});
my @calls = split /\n/, $callable;
cmp_ok(scalar @calls, '>=', 44, scalar(@calls) . ' functions are called on the standby');
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

$node->stop;
unlike(slurp_file($_->logfile), qr/PANIC|TRAP|segfault|COPYPROBE/, 'no crash and no token in the log') foreach $node, $standby;
done_testing();
