# pgaudit beside the audit log: what each of the two records, that both may be loaded in any order, and that no secret gets into the log by it.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($library) = run_command([ 'pg_config', '--pkglibdir' ]);
plan skip_all => 'pgaudit is not here: dev/setup lint installs it' unless -f "$library/pgaudit.so";
my $token = 'ghp_PGAUDITPROBE0123456789';
my $github = start_github($token, '--generate', 'demo/one:pulls=5,issues=5,seed=4');
my $probe = 's3cr3t-of-pgaudit';

foreach my $order ('keypup, pgaudit', 'pgaudit, keypup')
{
	my $name = $order =~ s/\W+/_/gr;
	my $node = new_server($github, "shared_preload_libraries = '$order'\nkeypup.sync_interval = '1d'\npgaudit.log = 'all'\n", name => $name);
	unlink $node->logfile;
	$node->start;
	my $run = sub { my ($role, $sql) = @_; my ($code, $out, $error) = $node->psql('postgres', $sql, connstr => $node->connstr('postgres') . " user=$role", on_error_stop => 1); return $error || $out; };
	my $query = sub { return $node->safe_psql('postgres', "SET pgaudit.log = 'none'; " . $_[0]); };
	my $records = sub { return $query->("SELECT string_agg(action || ' ' || outcome, ', ' ORDER BY record_id) FROM keypup.audit_log WHERE record_id > $_[0] AND actor_kind IS DISTINCT FROM 'worker' AND action <> 'key.create'"); };
	my $last = sub { return $query->('SELECT coalesce(max(record_id), 0) FROM keypup.audit_log'); };
	my $lines = sub { my $text = slurp_file($node->logfile, $_[0]); return scalar(() = $text =~ /AUDIT: [^\n]*$_[1]/g); };
	$query->(q{CREATE EXTENSION keypup; CREATE ROLE olga LOGIN; CREATE ROLE vera LOGIN; SELECT keypup.create_account('acme'); SELECT keypup.add_member('acme', 'olga', 'owner'), keypup.add_member('acme', 'vera', 'viewer')});

	# --- what each records ---

	my ($from, $offset) = ($last->(), -s $node->logfile);
	is($run->(olga => q{SELECT keypup.set_time_zone('acme', 'Europe/Paris')}), '', "$order: an owner changes a setting");
	is($records->($from), 'account.time_zone done', 'which the audit log has once');
	is($lines->($offset, 'READ,SELECT,,,"SELECT keypup\.set_time_zone\(\S+ .Europe/Paris'), 1, 'and pgaudit, as the statement that it was, once');
	like($run->(vera => q{SELECT keypup.set_time_zone('acme', 'Europe/Rome')}), qr/may not do this/, 'a viewer is refused');
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM keypup.audit_log WHERE record_id > $from AND outcome = 'refused' AND actor = 'vera'"), 'which the audit log has, once');
	is($lines->($offset, 'READ,SELECT,,,[^\n]*Europe/Rome'), 1, 'and pgaudit, as a statement like any other');
	($from, $offset) = ($last->(), -s $node->logfile);
	$node->safe_psql('postgres', 'SELECT count(*) FROM keypup.members; CREATE TABLE own (x integer); DROP TABLE own');
	is($records->($from), '', 'what a superuser reads and makes, the audit log does not have');
	ok($lines->($offset, 'READ,SELECT,,,"?SELECT count\(\S+ FROM keypup\.members') > 0 && $lines->($offset, 'DDL,CREATE TABLE,') > 0, 'but pgaudit');

	# --- secrets ---

	$query->(qq{SELECT keypup.connect('acme', 'github', '$token', '$github->{url}'), keypup.track('acme', 'demo/one')});
	ok($node->poll_query_until('postgres', q{SELECT bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) FROM keypup.sync_status}), "$order: the worker syncs");
	($from, $offset) = ($last->(), -s $node->logfile);
	$node->append_conf('postgresql.conf', 'pgaudit.log_parameter = on');
	$node->reload;
	ok($node->poll_query_until('postgres', q{SELECT current_setting('pgaudit.log_parameter') = 'on'}), "$order: parameters are to be logged");
	# What is really bound, 070_leaks.pl looks for.
	my %way = ('a parameter' => "PREPARE p AS SELECT keypup.replace_token('acme', 'github', \$1); EXECUTE p('$probe')",
		'passed on' => "DO \$\$ BEGIN PERFORM keypup.set_password('acme', 'vera', substr(t, 1)) FROM (SELECT current_setting('my.secret') AS t) x; END \$\$");
	foreach my $way (sort keys %way)
	{
		like($run->(olga => $way{$way}), qr/ERROR:  secrets would be written to the server's log\nDETAIL:  pgaudit\.log_parameter is on\.\n(?:.*\n)*?HINT:  A superuser sets it to off/, "$order: a secret that is $way is refused");
	}
	is($run->(olga => q{SELECT keypup.set_time_zone('acme', 'Europe/Rome')}), '', 'what takes none is done');
	$query->(q{UPDATE keypup.sync_state SET next_run_at = now(); SELECT keypup.wake_launcher()});
	ok($node->poll_query_until('postgres', q{SELECT bool_and(phase = 'idle' AND next_run_at > now()) FROM keypup.sync_status}), 'the worker syncs on');
	# A plan that was kept from before.
	my $session = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	$session->query(q{SET pgaudit.log_parameter = off; SET plan_cache_mode = force_generic_plan; PREPARE kept AS SELECT keypup.replace_token('acme', 'github', $1)});
	$session->query("EXECUTE kept('$token')");
	$session->query("SET pgaudit.log_parameter = on; EXECUTE kept('$token')");
	$session->quit;
	is($query->(qq{SELECT count(*) FROM keypup.audit_log WHERE record_id > $from AND action = 'token.replace'}), '1', 'a plan that was kept does not get around it');
	$query->(q{ALTER ROLE olga SET pgaudit.log_parameter = off});
	is($run->(olga => "SELECT keypup.set_time_zone('acme', 'UTC'), keypup.replace_token('acme', 'github', '$token') IS NOT NULL"), '|t', 'who has it off may pass secrets');
	$node->stop;
	unlike(slurp_file($node->logfile), qr/PANIC|TRAP|segfault|could not do its upkeep/, "$order: nothing else has failed");
}
done_testing();
