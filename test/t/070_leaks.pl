# No token leaks: every setting that makes a server talkative, every way a statement ends, every place a probe could be.
# L1 to L28 are the ways in which secrets of other extensions were seen to leak; a control shows that the search finds.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'DBD::Pg, which binds parameters, is not here' unless eval { require DBI; require DBD::Pg; 1 };

my ($library) = run_command([ 'pg_config', '--pkglibdir' ]);
my %has = map { $_ => -f "$library/$_.so" } qw(pg_stat_statements auto_explain pgaudit test_decoding);
my $worker_token = 'ghp_LEAKPROBE0000worker';
my $github = start_github($worker_token, '--generate', 'demo/one:pulls=20,issues=10,seed=3');
my $preload = join ', ', 'keypup', grep { $has{$_} } qw(pg_stat_statements auto_explain pgaudit);
my $node = new_server($github, <<CONF);
shared_preload_libraries = '$preload'
keypup.sync_interval = '1s'
wal_level = logical
deadlock_timeout = '100ms'
CONF
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }

query('CREATE EXTENSION keypup');
query('CREATE EXTENSION pg_stat_statements') if $has{pg_stat_statements};
query(q{SELECT pg_create_logical_replication_slot('probe', 'test_decoding')}) if $has{test_decoding};
query(q{SELECT keypup.create_account('acme'); CREATE TABLE hold (); CREATE TABLE mine (id integer PRIMARY KEY, envelope bytea)});

# The settings. Where PostgreSQL itself logs bind parameters, or folds them into a plan that is logged, doc/tokens.md says
# what to set beside: so does the row.
my $quiet = { log_parameter_max_length => 0, log_parameter_max_length_on_error => 0 };
my @rows = (
	[ 'the defaults', {} ],
	[ 'L1: log_statement = mod', { log_statement => 'mod', %$quiet } ],
	[ 'L1: log_statement = all', { log_statement => 'all', %$quiet } ],
	[ 'L2: every error with its statement', { log_min_error_statement => 'debug5', log_error_verbosity => 'verbose' } ],
	[ 'L3: log_min_duration_statement = 0', { log_min_duration_statement => 0, %$quiet } ],
	[ 'L3: log_min_duration_sample', { log_min_duration_sample => 0, log_statement_sample_rate => 1, log_transaction_sample_rate => 1, %$quiet } ],
	[ 'L7: long activity lines', { track_activities => 'on', log_duration => 'on', log_executor_stats => 'on', %$quiet } ],
	[ 'L19: debug_print_parse, _rewritten, _plan', { debug_print_parse => 'on', debug_print_rewritten => 'on', debug_print_plan => 'on' } ],
	[ 'L5, L23: log_min_messages = debug5', { log_min_messages => 'debug5', log_error_verbosity => 'verbose' } ],
	$has{pg_stat_statements} ? [ 'L6: pg_stat_statements', { 'pg_stat_statements.track' => 'all', 'pg_stat_statements.track_utility' => 'on' } ] : (),
	$has{auto_explain} ? [ 'L8: auto_explain', { 'auto_explain.log_min_duration' => 0, 'auto_explain.log_verbose' => 'on', 'auto_explain.log_nested_statements' => 'on', 'auto_explain.log_analyze' => 'on', plan_cache_mode => 'force_generic_plan' } ] : (),
	$has{pgaudit} ? [ 'L9: pgaudit', { 'pgaudit.log' => 'all', 'pgaudit.log_statement' => 'on', 'pgaudit.log_relation' => 'on' } ] : ());
diag('not here, so not tried: ', join ', ', grep { !$has{$_} } sort keys %has) if grep { !$_ } values %has;

sub configure
{
	my ($settings, $reset) = @_;
	query("ALTER SYSTEM " . ($reset ? "RESET $_" : "SET $_ = '$settings->{$_}'")) foreach sort keys %$settings;
	query('SELECT pg_reload_conf()');
}

my $number = 0;
my %row_of;
my $row_name = '';

# A token that is grepped for, of its own number.
sub probe
{
	$row_of{ ++$number } = $row_name;
	return sprintf 'ghp_LEAKPROBE%04dx', $number;
}

sub session { return DBI->connect('dbi:Pg:dbname=postgres;host=' . $node->host . ';port=' . $node->port, undef, undef, { RaiseError => 1, PrintError => 0 }); }

# Runs a statement with bound parameters; answers its error, or nothing.
sub bound
{
	my ($database, $sql, @values) = @_;
	return eval { $database->do($sql, undef, @values); 1 } ? '' : $@;
}
my $connect = q{SELECT keypup.connect($1, 'github', $2, 'https://localhost:1', $3)};

# Every way a statement that carries a token ends.
my @ends = (
	[ 'succeeds', qr/^$/, sub { bound($_[0], $connect, 'acme', probe(), "c$number") } ],
	[ 'finds a duplicate', qr/exists already/, sub { bound($_[0], $connect, 'acme', probe(), 'c' . ($number - 1)) } ],
	[ 'names no account', qr/does not exist/, sub { bound($_[0], $connect, 'nobody', probe(), 'c') } ],
	[ 'has a malformed token', qr/token is malformed/, sub { bound($_[0], $connect, 'acme', probe() . "\nEvil: yes", 'c') } ],
	[ 'has a parameter of a wrong type', qr/invalid input syntax/, sub { bound($_[0], q{SELECT keypup.connect($1::uuid::text, 'github', $2)}, 'no uuid', probe()) } ],
	[ 'replaces a token', qr/^$/, sub { bound($_[0], q{SELECT keypup.replace_token('acme', $1, $2)}, 'c' . ($number - 4), probe()) } ],
	[ 'stores what it seals', qr/^$/, sub { bound($_[0], q{INSERT INTO mine VALUES ($1, keypup.encrypt_token($2, 'mine'))}, $number + 1, probe()) } ],
	[ 'hits a unique key with what it seals', qr/duplicate key/, sub { bound($_[0], q{INSERT INTO mine VALUES ($1, keypup.encrypt_token($2, 'mine'))}, "$number", probe()) } ],
	[ 'opens under EXPLAIN', qr/^$/, sub { bound($_[0], q{EXPLAIN (ANALYZE, VERBOSE) SELECT keypup.decrypt_token(envelope, 'mine') FROM mine}) } ],
	[ 'fails to open', qr/cannot open token/, sub { bound($_[0], q{SELECT keypup.decrypt_token(envelope, $1) FROM mine}, probe()) } ],
	[ 'is cancelled', qr/statement timeout/, sub {
		my $other = session();
		$other->begin_work;
		$other->do('LOCK TABLE keypup.connections');
		$_[0]->do(q{SET statement_timeout = '50ms'});
		my $error = bound($_[0], $connect, 'acme', probe(), 'cancelled');
		$_[0]->do('RESET statement_timeout');
		$other->rollback;
		$other->disconnect;
		return $error; } ],
	[ 'ends in a deadlock', qr/deadlock detected/, sub {
		my $other = session();
		$other->do(q{SET deadlock_timeout = '60s'});
		$other->begin_work;
		$other->do('LOCK TABLE keypup.connections');
		$_[0]->begin_work;
		$_[0]->do('LOCK TABLE hold');
		$other->do('LOCK TABLE hold', { pg_async => 1 });
		$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_locks WHERE NOT granted}) or die;
		my $error = bound($_[0], $connect, 'acme', probe(), 'deadlock');
		$_[0]->rollback;
		$other->pg_result;
		$other->rollback;
		$other->disconnect;
		return $error; } ],
	[ 'is rolled back (L14)', qr/^$/, sub { $_[0]->begin_work; my $error = bound($_[0], $connect, 'acme', probe(), 'back'); $_[0]->rollback; return $error; } ],
	[ 'is prepared and run seven times (L27)', qr/^$/, sub {
		my $statement = $_[0]->prepare(q{SELECT keypup.encrypt_token($1, 'a')}, { pg_server_prepare => 1, pg_prepare_now => 1 });
		my $token = probe();
		foreach (1 .. 7) { $statement->execute($token); $statement->finish; }
		return ''; } ]);

my $listener = session();
$listener->do('LISTEN keypup');
my @notified;
foreach my $row (@rows)
{
	($row_name, my $settings) = @$row;
	configure($settings);
	my $database = session();
	my @wrong = grep { my $error = $_->[2]->($database); $error !~ $_->[1] && diag("$row_name, $_->[0]: $error") } @ends;
	is(scalar @wrong, 0, "$row_name: every statement ends as it should");
	if ($row_name =~ /debug5/)
	{
		bound($database, q{SELECT keypup.connect('acme', 'github', $1, $2, 'worker')}, $worker_token, $github->{url});
		query(q{SELECT keypup.track('acme', 'demo/one', 'worker')});
		ok($node->poll_query_until('postgres', q{SELECT phase = 'idle' AND last_run_finished_at IS NOT NULL FROM keypup.sync_status}), "$row_name: the worker syncs with a probe for a token");
	}
	configure($settings, 1);
	$database->disconnect;
	while (my $notice = $listener->pg_notifies) { push @notified, $notice->[2]; }
}

# Where they could be. A pattern that is put together here is in no statement's text.
my $pattern = 'LEAK' . 'PROBE';
my $found = sub { my %rows; $rows{ $row_of{ $1 + 0 } // "number $1" }++ while $_[0] =~ /$pattern(\d{4})/g; return join '; ', sort keys %rows; };
my $grep = sub { my ($out) = run_command([ 'grep', '-raohE', "$pattern\[0-9]{4}", @_ ]); return $out; };

query('ANALYZE');
is(query(q{SELECT count(*) FROM pg_stats WHERE schemaname = 'keypup' AND attname IN ('envelope', 'wrapped')}), '0', 'L12: no statistics of envelopes or keys');
is(query(q{SELECT string_agg(DISTINCT attstorage::text, '') FROM pg_attribute WHERE attrelid IN ('keypup.connection_tokens'::regclass, 'keypup.data_keys'::regclass) AND attname IN ('envelope', 'wrapped')}), 'e',
	'L26: envelopes are stored as they are, not compressed');
my $activity = session();
bound($activity, q{SELECT keypup.encrypt_token($1, 'a')}, probe());
query(q{CREATE FUNCTION relations_with(pattern text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE found text; hits bigint; relation regclass;
BEGIN
  FOR relation IN SELECT c.oid FROM pg_class c WHERE c.relkind IN ('r', 'v') AND (c.relnamespace IN ('keypup'::regnamespace, 'pg_catalog'::regnamespace) OR c.relname = 'pg_stat_statements') LOOP
    EXECUTE format('SELECT count(*) FROM %s r WHERE position($1 IN r::text) > 0', relation) INTO hits USING pattern;
    IF hits > 0 THEN found := concat_ws(' ', found, relation); END IF;
  END LOOP;
  RETURN found;
END $$});
is($listener->selectrow_array('SELECT relations_with($1)', undef, $pattern), undef, 'L6, L7, L15, L17, L18: no table, view, statistic or setting shows a probe');
$activity->disconnect;
is($found->(join ' ', @notified), '', 'L24: nor does a notification (' . @notified . ' were heard)');
cmp_ok(scalar @notified, '>', 0, '(the worker did notify)');
my ($titles) = run_command([ 'ps', '-eo', 'args' ]);
is($found->(join "\n", grep { /^postgres/ } split /\n/, $titles), '', 'L22: nor a process title');
my ($dump) = run_command([ 'pg_dumpall', '-h', $node->host, '-p', $node->port ]);
like($dump, qr/COPY keypup.connection_tokens/, 'a dump holds the sealed tokens');
is($found->($dump), '', 'L20: and none of them in clear');
SKIP:
{
	skip 'test_decoding is not here', 2 unless $has{test_decoding};
	my $changes = query(q{SELECT data FROM pg_logical_slot_peek_changes('probe', NULL, NULL)});
	like($changes, qr/keypup.connection_tokens: INSERT/, 'a logical decoding slot shows the stored tokens');
	is($found->($changes), '', 'L14: sealed');
}
# L16: a sort that spills, while its temporary file is there.
my $sorter = session();
$sorter->do(q{SET work_mem = '64kB'});
$sorter->begin_work;
$sorter->do(q{DECLARE c CURSOR FOR SELECT t.*, n FROM keypup.connection_tokens t, generate_series(1, 2000) n ORDER BY t.envelope, n});
$sorter->do('FETCH 10 FROM c');
cmp_ok(query('SELECT count(*) FROM pg_ls_tmpdir()'), '>', 0, 'a sort of tokens spills');
is($found->($grep->($node->data_dir . '/base')), '', 'L16: its temporary file shows none');
$sorter->rollback;
$sorter->disconnect;
$listener->disconnect;

# L10, L13, L11: the planner computes nothing of it.
unlike(query(q{EXPLAIN (VERBOSE) SELECT keypup.decrypt_token('\x00', 'mine'), keypup.encrypt_token('a', 'b')}), qr/Result.*Output: ''/s, 'L10: no plan holds a result');
is(query(q{SELECT string_agg(proname, ' ') FROM pg_proc WHERE pronamespace = 'keypup'::regnamespace AND provolatile = 'i' AND proname ~ 'crypt|token|secret|password|key|session|login' AND proname NOT IN ('token_context', 'github_logins')}), '',
	'L10, L11: no function that handles a secret is immutable');
my ($code, $out, $error) = $node->psql('postgres', q{CREATE INDEX ON mine (keypup.decrypt_token(envelope, 'mine'))});
like($error, qr/must be marked IMMUTABLE/, 'L13: no index over opened tokens');
($code, $out, $error) = $node->psql('postgres', q{SELECT keypup.connect('acme', 'github', 'ghp_0123456789', 'https://localhost/?private_token=x', 'query')});
like($error, qr/HINT/, 'L28: a base URL with a query is refused');

query('CHECKPOINT');
is($found->($grep->($node->data_dir)), '', 'L14, L15: no file of the running server shows a probe');
$node->stop('fast');
is($found->($grep->($node->data_dir)), '', 'L6: nor does one after a clean shutdown');
is($found->($grep->($node->logfile)), '', 'L1 to L9, L19, L23: nor does the log');
my ($segment) = sort grep { /\/[0-9A-F]{24}$/ } glob($node->data_dir . '/pg_wal/*');
my ($records) = run_command([ 'pg_waldump', '--bkp-details', $segment ]);
like($records, qr/INSERT/, 'pg_waldump reads the log of changes');
is($found->($records), '', 'L14: which shows none');

# The control: the same search finds what is sent against the rules.
$node->start;
configure({ log_statement => 'all' });
my $database = session();
$row_name = 'bound, with log_parameter_max_length = -1';
bound($database, $connect, 'acme', probe(), 'control');
$row_name = 'a literal';
my $literal = probe();
bound($database, "SELECT keypup.encrypt_token('$literal', 'a')");
$row_name = 'a literal in a statement that fails, by default';
configure({ log_statement => 'all' }, 1);
$literal = probe();
eval { session()->do("SELECT keypup.connect('nobody', 'github', '$literal')") };
$database->disconnect;
is($found->($grep->($node->logfile)), 'a literal; a literal in a statement that fails, by default; bound, with log_parameter_max_length = -1', 'the control: the search finds a probe that is sent against the rules');
$node->stop;
done_testing();
