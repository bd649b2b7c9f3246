# No token leaks: every setting that makes a server talkative, every way a statement ends, every place a token could be.
# L1 to L28 are the ways in which secrets of other extensions were seen to leak. Tokens are looked for as text, hexadecimal,
# base64 and as the decimal bytes of a plan's constants. Every row proves that the server did talk, and at the end a probe
# is put into every place against the rules, and must be found there.
# Not here: L11 (020_token.pl counts IVs), L21 (memory, core files) and L25 (what psql keeps at home).
use strict;
use warnings;

use File::Temp qw(tempdir);
use FindBin;
use MIME::Base64;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

plan skip_all => 'DBD::Pg, which binds parameters, is not here' unless eval { require DBI; require DBD::Pg; 1 };

my ($library) = run_command([ 'pg_config', '--pkglibdir' ]);
my %has = map { $_ => -f "$library/$_.so" } qw(pg_stat_statements auto_explain pgaudit test_decoding llvmjit);
my $log_dir = tempdir(CLEANUP => 1);
my $worker_token = 'ghp_LEAKPROBE0000worker';
my $github = start_github($worker_token, '--generate', 'demo/one:pulls=20,issues=10,seed=3');
my $preload = join ', ', 'keypup', grep { $has{$_} } qw(pg_stat_statements auto_explain pgaudit);
my $node = new_server($github, <<CONF);
shared_preload_libraries = '$preload'
keypup.sync_interval = '1s'
keypup.bcrypt_cost = 10
wal_level = logical
deadlock_timeout = '100ms'
logging_collector = on
log_destination = 'stderr,csvlog,jsonlog'
log_directory = '$log_dir'
log_filename = 'server.log'
log_rotation_size = 0
debug_pretty_print = off
CONF
unlink $node->logfile; # of an earlier run
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }

query('CREATE EXTENSION keypup');
query('CREATE EXTENSION pg_stat_statements') if $has{pg_stat_statements};
query(q{SELECT pg_create_logical_replication_slot('probe', 'test_decoding')}) if $has{test_decoding};
query(q{SELECT keypup.create_account('acme'), keypup.add_person('acme', 'ann', 'viewer')});
query(q{CREATE TABLE hold (); CREATE TABLE mine (id integer PRIMARY KEY, envelope bytea); CREATE TABLE planted (id bigint, secret text)});

# What people write around our functions: one passes on, one by a statement of its own,
# one by a cursor, one catches the error, one is a trigger.
query(q{
CREATE FUNCTION pass_on(value text, OUT envelope bytea) LANGUAGE plpgsql
AS 'BEGIN envelope := keypup.encrypt_token(value, ''a''); END';
CREATE FUNCTION pass_to_statement(statement text, value text) RETURNS void LANGUAGE plpgsql
AS 'BEGIN EXECUTE statement USING value; END';
CREATE FUNCTION pass_to_cursor(value text, OUT number integer) LANGUAGE plpgsql AS $$
DECLARE
  envelopes refcursor;
BEGIN
  OPEN envelopes FOR EXECUTE 'SELECT n, keypup.encrypt_token($1 || n, ''a'') FROM generate_series(1, 3) n' USING value;
  MOVE NEXT FROM envelopes;
  SELECT 1 INTO number;
  MOVE NEXT FROM envelopes;
  CLOSE envelopes;
END $$;
CREATE FUNCTION try_to_connect(value text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM keypup.connect('nobody', 'github', value);
EXCEPTION WHEN insufficient_privilege THEN NULL;
END $$;
CREATE TABLE sealed (secret text, envelope bytea);
CREATE FUNCTION seal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.envelope := keypup.encrypt_token(NEW.secret, 'sealed');
  NEW.secret := NULL;
  RETURN NEW;
END $$;
CREATE TRIGGER seal BEFORE INSERT ON sealed FOR EACH ROW EXECUTE FUNCTION seal();
});

# How a probe is recognised. Each carries the number of its step. Put together here, the pattern is in no statement's text.
my $pattern = 'LEAK' . 'PROBE';
my $hex = unpack 'H*', $pattern;
my $decimal = join ' ', unpack 'C*', $pattern;
my $gap = qr/(?:\s|\\n)+/; # a dump of a plan is wrapped at blanks
my $wrapped = join $gap, unpack 'C*', $pattern;
my @in_base64 = map { substr(encode_base64('x' x $_ . "ghp_$pattern", ''), $_ ? 4 : 0, 14) } 0 .. 2;
my ($spaced) = map { s/(..)(?=.)/$1 /gr } $hex;
my @forms = (
	[ qr/$pattern(\d{4})/, sub { $_[0] } ],
	(map { my $h = $_; [ qr/$h((?: ?3\d){4})/, sub { pack 'H*', $_[0] =~ s/ //gr } ] } $hex, uc $hex, $spaced, uc $spaced),
	[ qr/$wrapped((?:$gap(?:4[89]|5[0-7])){4})/, sub { join '', map { chr } $_[0] =~ /(\d+)/g } ],
	map { my $b = $_; [ qr/(\Q$b\E)/, sub { 'base64' } ] } @in_base64);

my $number = 0;
my %step_of = ('0000' => 'the worker\'s token');
my $step = '';

sub probe
{
	my $text = sprintf '%04d', ++$number;
	$step_of{$text} = $step;
	return "ghp_$pattern${text}x";
}

# The steps whose probes stand in a text.
sub steps_in
{
	my %steps;
	foreach my $form (@forms)
	{
		while ($_[0] =~ /$form->[0]/g) { my $text = $form->[1]->($1); $steps{ $step_of{$text} // "probe $text" }++; }
	}
	return sort keys %steps;
}

# The same for files and all files below folders, by overlapping pieces.
sub steps_in_files
{
	my %steps;
	my @paths = @_;
	while (defined(my $path = shift @paths))
	{
		if (-d $path && !-l $path) { push @paths, glob("'$path'/* '$path'/.[a-z]*"); next; }
		open my $file, '<:raw', $path or next;
		my ($piece, $kept) = ('', '');
		while (read $file, $piece, 1 << 20)
		{
			$steps{$_}++ foreach steps_in($kept . $piece);
			$kept = substr $kept . $piece, -200;
		}
	}
	return sort keys %steps;
}

sub configure
{
	my ($settings) = @_;
	query('ALTER SYSTEM RESET ALL');
	query("ALTER SYSTEM SET $_ = '$settings->{$_}'") foreach sort keys %$settings;
	query('SELECT pg_reload_conf()');
	my $set = join ' AND ', q{(SELECT count(*) FROM pg_settings WHERE sourcefile ~ 'auto.conf$') = } . keys(%$settings),
		map { "current_setting('$_') = '$settings->{$_}'" } keys %$settings;
	$node->poll_query_until('postgres', "SELECT $set") or die 'the settings do not arrive';
}

sub session
{
	my ($settings) = @_;
	my $database = DBI->connect('dbi:Pg:dbname=postgres;host=' . $node->host . ';port=' . $node->port, undef, undef, { RaiseError => 1, PrintError => 0 });
	$database->do("SET $_ = '$settings->{$_}'") foreach sort keys %{ $settings // {} };
	return $database;
}

# Runs a statement with bound parameters; answers its error, or nothing.
sub bound
{
	my ($database, $sql, @values) = @_;
	return eval { $database->do($sql, undef, @values); 1 } ? '' : $@;
}

# Whether the log says something beyond an offset, once what was written has arrived.
sub log_says
{
	my ($offset, $expected) = @_;
	foreach (1 .. 50 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if substr(slurp_file("$log_dir/server.log"), $offset) =~ $expected;
		usleep(20_000);
	}
	return 0;
}

# The settings. Where PostgreSQL itself logs bound parameters, or folds them into a plan that is logged, doc/tokens.md says
# what to set beside: so does the row. Then what is set in the session, and what the log must say, so that silence is no proof.
my %quiet = (log_parameter_max_length => 0, log_parameter_max_length_on_error => 0);
# auto_explain logs bound parameters since PostgreSQL 16, and by default all of them.
sub knows { return query("SELECT count(*) FROM pg_settings WHERE name = '$_[0]'"); }
my $explains_parameters = $has{auto_explain} && knows('auto_explain.log_parameter_max_length');
sub explaining { my %more = (log_min_duration => 0, @_); return map { ("auto_explain.$_" => $more{$_}) } keys %more; }
my %explaining_all = explaining(map { ($_ => 'on') } qw(log_verbose log_nested_statements log_analyze log_settings));
my $plan_of_connect = qr/plan:\s+Query Text: SELECT keypup\.connect/;
my @rows = (
	[ 'the defaults', {}, {}, qr/ERROR:  connection "c\d+" exists already/ ],
	[ 'L1: log_statement = mod', { log_statement => 'mod', %quiet }, {}, qr/LOG:  execute [^\n]*INSERT INTO mine/ ],
	[ 'L1: log_statement = all', { log_statement => 'all', %quiet }, {}, qr/LOG:  execute [^\n]*keypup\.connect/ ],
	[ 'L2, L4: every error with its statement', { log_min_error_statement => 'debug5', log_error_verbosity => 'verbose' }, {}, qr/STATEMENT:  SELECT keypup\.connect/ ],
	[ 'L3: log_min_duration_statement = 0', { log_min_duration_statement => 0, %quiet }, {}, qr/duration: \S+ ms  execute [^\n]*keypup\.connect/ ],
	[ 'L3: log_min_duration_sample', { log_min_duration_sample => 0, log_statement_sample_rate => 1, log_transaction_sample_rate => 1, %quiet }, {}, qr/duration: \S+ ms  execute [^\n]*keypup\.connect/ ],
	[ 'L7: statistics of each step', { log_duration => 'on', log_parser_stats => 'on', log_planner_stats => 'on', log_executor_stats => 'on', %quiet }, {}, qr/EXECUTOR STATISTICS/ ],
	[ 'L19: debug_print_parse, _rewritten, _plan', { debug_print_parse => 'on', debug_print_rewritten => 'on', debug_print_plan => 'on' },
		{}, qr/LOG:  plan:/ ],
	[ 'L5, L23: log_min_messages = debug5', { log_min_messages => 'debug5', log_error_verbosity => 'verbose' }, {}, qr/DEBUG:/ ],
	[ 'L6: pg_stat_statements', { 'pg_stat_statements.track' => 'all', 'pg_stat_statements.track_utility' => 'on', track_functions => 'all' },
		{}, qr/ERROR/ ],
	[ 'waiting for locks', { log_lock_waits => 'on', knows('log_lock_failures') ? (log_lock_failures => 'on') : () },
		{ deadlock_timeout => '10ms' }, qr/still waiting for/ ],
	[ 'backtraces', { backtrace_functions => 'exec_stmt_raise,fail_to_open,keypup_check_token' }, {}, qr/BACKTRACE:/ ],
	$has{llvmjit} ? [ 'compiled plans in files', {}, { jit => 'on', jit_above_cost => 0, jit_dump_bitcode => 'on' },
		sub { glob($node->data_dir . '/*.bc') ? 1 : 0 } ] : (),
	[ 'L8: auto_explain, with all it can say', { %explaining_all }, {}, $plan_of_connect ],
	[ 'L8: auto_explain, plans only', { explaining() }, {}, $plan_of_connect ],
	[ 'L8: auto_explain in JSON', { explaining(log_format => 'json', log_nested_statements => 'on') }, {},
		qr/plan:\s+\{\s+"Query Text": "SELECT keypup\.connect/ ],
	[ 'L8: auto_explain, some plans', { explaining(sample_rate => 0.5, map { ("log_$_" => 'on') } qw(analyze buffers wal triggers)) }, {},
		qr/plan:\s+Query Text:/ ],
	(map { [ "L8: auto_explain, $_ of a parameter", { %explaining_all, 'auto_explain.log_parameter_max_length' => $_ }, {}, $plan_of_connect ] }
		$explains_parameters ? ('100B', '0') : ()),
	[ 'L8: auto_explain and generic plans', { %explaining_all },
		{ plan_cache_mode => 'force_generic_plan' }, $plan_of_connect ],
	[ 'L9: pgaudit', { 'pgaudit.log' => 'all', map { ("pgaudit.$_" => 'on') } qw(log_statement log_relation log_catalog) }, {}, qr/AUDIT: SESSION[^\n]*keypup\.connect[^\n]*<not logged>/ ]);
# With pgaudit.log_parameter such statements are refused, before they are logged.
my $refused = [ 'L9: pgaudit.log_parameter', { 'pgaudit.log' => 'all', 'pgaudit.log_parameter' => 'on' } ];

my $connect = q{SELECT keypup.connect($1, 'github', $2, 'https://localhost:1', $3)};
my $insert = q{INSERT INTO mine VALUES ($1, keypup.encrypt_token($2, 'mine'))};
my ($connected, $password);

# Runs something while another session holds a lock that connect waits for.
sub while_locked
{
	my ($database, $setting) = @_;
	my $other = session();
	$other->begin_work;
	$other->do('LOCK TABLE keypup.connections');
	$database->do("SET $setting = '200ms'");
	my $error = bound($database, $connect, 'acme', probe(), 'late');
	# On a busy machine this, too, may take too long.
	1 until eval { $database->do("RESET $setting"); 1 };
	$other->disconnect;
	return $error;
}

# Where a function of one's own passes the token on, a plan for one value would hold it: so doc/tokens.md says.
sub passed_on
{
	my ($database, $sql, @values) = @_;
	$database->do('SET plan_cache_mode = force_generic_plan');
	my $error = bound($database, $sql, @values);
	$database->do('RESET plan_cache_mode');
	return $error;
}

# Every way a statement that carries a token ends.
my @ends = (
	[ 'succeeds', qr/^$/, sub { my $token = probe(); $connected = "c$number"; bound($_[0], $connect, 'acme', $token, $connected) } ],
	[ 'finds a duplicate', qr/exists already/, sub { bound($_[0], $connect, 'acme', probe(), $connected) } ],
	[ 'names no account', qr/does not exist/, sub { bound($_[0], $connect, 'nobody', probe(), 'c') } ],
	[ 'has a token with a line end', qr/token is malformed/, sub { bound($_[0], $connect, 'acme', probe() . "\nEvil: yes", 'c') } ],
	[ 'has a token with a space', qr/token is malformed/, sub { bound($_[0], q{SELECT keypup.replace_token('acme', $1, $2)}, $connected, probe() . ' x') } ],
	[ 'has a token that is too long', qr/1 to 8192 bytes/, sub { bound($_[0], q{SELECT keypup.encrypt_token(repeat($1, 600), 'a')}, probe()) } ],
	[ 'has a parameter of a wrong type', qr/invalid input syntax/, sub { bound($_[0], q{SELECT keypup.connect($1::uuid::text, 'github', $2)}, 'no uuid', probe()) } ],
	[ 'has its token in the base URL (L28)', qr/base URL cannot be used/, sub { bound($_[0], q{SELECT keypup.connect('acme', 'github', $1, $2)}, probe(), 'https://localhost/?private_token=' . probe()) } ],
	[ 'replaces a token', qr/^$/, sub { bound($_[0], q{SELECT keypup.replace_token('acme', $1, $2)}, $connected, probe()) } ],
	[ 'sets the credentials of the proxy', qr/^$/, sub { bound($_[0], q{SELECT keypup.set_proxy_credentials($1, $2)}, probe(), probe()) } ],
	[ 'has credentials that no header can hold', qr/malformed/, sub { bound($_[0], q{SELECT keypup.set_proxy_credentials($1, $2)}, probe(), probe() . "\nEvil: yes") } ],
	[ 'stores what it seals', qr/^$/, sub { my $token = probe(); bound($_[0], $insert, $number, $token) } ],
	[ 'hits a unique key with what it seals', qr/duplicate key/, sub { my $id = $number; bound($_[0], $insert, $id, probe()) } ],
	[ 'is passed on by a function, twice in a transaction', qr/^$/, sub {
		$_[0]->begin_work;
		my $error = join '', map { passed_on($_[0], 'SELECT pass_on($1)', probe()) } 1 .. 2;
		$_[0]->commit;
		return $error; } ],
	[ 'brings a key for what is no app', qr/the connection is none of an app/, sub {
		bound($_[0], q{SELECT keypup.replace_app_key('acme', $1, $2)}, $connected, probe()) } ],
	[ 'sets a webhook\'s secret', qr/^$/, sub {
		bound($_[0], q{SELECT keypup.set_webhook_secret('acme', $1, $2)}, $connected, probe()) } ],
	[ 'sets a sink of the audit log, with its header', qr/^$/, sub {
		bound($_[0], q{SELECT keypup.set_audit_sink('acme', 'siem', 'otlp', 'https://localhost:1', $1)}, 'api-key: ' . probe()) } ],
	[ 'has a header that is none', qr/no line of a request's headers/, sub {
		bound($_[0], q{SELECT keypup.set_audit_sink('acme', 'siem', 'otlp', 'https://localhost:1', $1)}, probe()) } ],
	[ 'has a service account whose key is none', qr/the key of the service account cannot be used/, sub {
		bound($_[0], q{SELECT keypup.set_audit_sink('acme', 'cloud', 'google', NULL, $1)}, '{"type": "service_account", "project_id": "p", "client_email": "a@p.iam.gserviceaccount.com", "token_uri": "https://localhost:1/", "private_key": "' . probe() . '"}') } ],
	[ 'sets a password', qr/^$/, sub {
		$password = probe();
		bound($_[0], q{SELECT keypup.set_password('acme', 'ann', $1)}, $password) } ],
	[ 'signs in with it', qr/^$/, sub {
		bound($_[0], q{SELECT keypup.sign_in_with_password('acme', 'ann', $1)}, $password) } ],
	[ 'signs in with a wrong code', qr/sign-in is refused|too many attempts/, sub {
		bound($_[0], q{SELECT keypup.remove_totp('acme', 'ann', $1, $2, source => $3)}, $password, probe(), "source $number") } ],
	[ 'changes the own password', qr/^$/, sub {
		my $old = $password;
		$password = probe();
		bound($_[0], q{SELECT keypup.set_password('acme', 'ann', $1, $2)}, $password, $old) } ],
	[ 'enrolls an app', qr/^$/, sub {
		bound($_[0], q{SELECT keypup.enroll_totp('acme', 'ann', $1, source => 'home')}, $password) } ],
	[ 'opens under EXPLAIN', qr/^$/, sub { bound($_[0], q{EXPLAIN (ANALYZE, VERBOSE) SELECT keypup.decrypt_token(envelope, 'mine') FROM mine}) } ],
	[ 'fails to open', qr/cannot open token/, sub {
		passed_on($_[0], q{SELECT keypup.decrypt_token(envelope, $1) FROM mine}, probe()) } ],
	[ 'is cancelled', qr/statement timeout/, sub { while_locked($_[0], 'statement_timeout') } ],
	[ 'waits too long for a lock', qr/lock timeout/, sub { while_locked($_[0], 'lock_timeout') } ],
	[ 'ends in a deadlock', qr/deadlock detected/, sub {
		my $other = session({ deadlock_timeout => '60s' });
		$other->begin_work;
		$other->do('LOCK TABLE keypup.connections');
		$_[0]->begin_work;
		$_[0]->do('LOCK TABLE hold');
		$other->do('LOCK TABLE hold', { pg_async => DBD::Pg::PG_ASYNC() });
		$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_locks WHERE relation = 'hold'::regclass AND NOT granted}) or die;
		my $error = bound($_[0], $connect, 'acme', probe(), 'deadlock');
		$_[0]->rollback;
		$other->pg_result;
		$other->disconnect;
		return $error; } ],
	[ 'is rolled back (L14)', qr/^$/, sub { $_[0]->begin_work; my $error = bound($_[0], $connect, 'acme', probe(), 'back'); $_[0]->rollback; return $error; } ],
	[ 'is prepared and run seven times (L27)', qr/^$/, sub {
		my $statement = $_[0]->prepare(q{SELECT keypup.encrypt_token($1, 'a')}, { pg_server_prepare => 1, pg_prepare_now => 1 });
		my $token = probe();
		foreach (1 .. 7) { $statement->execute($token); $statement->finish; }
		push @{ $_[1] }, $statement;
		return ''; } ]);

# More of them, whose one parameter is the token.
my @of_one_parameter = (
	[ 'comes to nothing, since there is no account', qr/^$/,
		q{SELECT keypup.replace_token(name, 'x', $1) FROM keypup.accounts WHERE name = 'nobody'} ],
	[ 'seals nothing, since there is no row', qr/^$/,
		q{UPDATE mine SET envelope = keypup.encrypt_token($1, 'mine') WHERE id = -1} ],
	[ 'brings a private key that is none', qr/private key cannot be used/,
		q{SELECT keypup.connect_app('acme', 'github', '1', 1, $1)} ],
	[ 'signs in with an API key that is none', qr/API key is not valid/, 'SELECT keypup.sign_in_with_api_key($1)' ],
	[ 'signs in with an ID token that is none', qr/sign-in is refused/, q{SELECT keypup.sign_in('acme', $1)} ],
	[ 'signs in with a token that is not asked about', qr/sign-in is refused/,
		q{SELECT keypup.sign_in_with_provider('acme', 'github', $1)} ],
	[ 'names a session that is none', qr/session is not valid/, 'SELECT keypup.use_session($1)' ],
	[ 'signs out of one', qr/^$/, 'SELECT keypup.sign_out($1)' ],
	[ 'brings a webhook that is not signed', qr/webhook is refused/,
		q{SELECT keypup.receive_webhook(gen_random_uuid(), '{}', convert_to($1, 'UTF8'))} ]);
push @ends, map { my ($name, $error, $sql) = @$_; [ $name, $error, sub { bound($_[0], $sql, probe()) } ] } @of_one_parameter;

# And those that pass it on.
my @passing_on = (
	q{SELECT pass_to_cursor($1)}, q{SELECT try_to_connect($1)}, q{INSERT INTO sealed (secret) VALUES ($1)},
	map { "SELECT pass_to_statement(\$\$$_\$\$, \$1)" }
		q{SELECT keypup.encrypt_token($1, 'a')},
		q{EXPLAIN (VERBOSE) SELECT keypup.connect('acme', 'github', $1)},
		q{EXPLAIN (ANALYZE, VERBOSE) SELECT keypup.encrypt_token($1, 'a')},
		q{CREATE TEMP TABLE made ON COMMIT DROP AS SELECT keypup.encrypt_token($1, 'made') AS envelope});
push @ends, map { my $sql = $_; [ $sql, qr/^$/, sub { passed_on($_[0], $sql, probe()) } ] } @passing_on;

# Every table, view, statistic and setting, seen from a session: its own statements and cursors are among them.
query(q{CREATE FUNCTION relations_with(patterns text[]) RETURNS text LANGUAGE plpgsql SET jit = off AS $$
DECLARE found text; lines text; relation regclass;
BEGIN
  FOR relation IN SELECT c.oid FROM pg_class c WHERE c.relkind IN ('r', 'v', 'm') AND c.relnamespace <> 'information_schema'::regnamespace LOOP
    EXECUTE format('SELECT string_agg(r::text, chr(10)) FROM %s r WHERE EXISTS (SELECT FROM unnest($1) p WHERE position(p IN r::text) > 0)', relation) INTO lines USING patterns;
    IF lines IS NOT NULL THEN found := concat_ws(E'\n', found, relation || ': ' || lines); END IF;
  END LOOP;
  RETURN coalesce(found, '');
END $$});
sub relations { return $_[0]->selectrow_array('SELECT relations_with($1)', undef, [ $pattern, $hex, $decimal ]); }

# Titles and environments of the server's processes.
sub processes
{
	my $pids = query('SELECT pid FROM pg_stat_activity') . "\n" . (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
	my $text = '';
	foreach my $pid (split /\n/, $pids)
	{
		my ($title) = run_command([ 'ps', '-o', 'args=', '-p', $pid ]);
		$text .= "$title\n";
		if (open my $file, '<:raw', "/proc/$pid/environ") { local $/ = undef; $text .= (<$file> // '') . "\n"; }
	}
	return $text;
}

my $listener = session();
# The account's channel.
$listener->do('LISTEN keypup_' . query(q{SELECT replace(account_id::text, '-', '') FROM keypup.accounts WHERE name = 'acme'}));
my @notified;
# What was committed before is there once something is answered.
sub hear { $listener->do('SELECT 1'); while (my $notice = $listener->pg_notifies) { push @notified, $notice->[2]; } return join "\n", @notified; }

foreach my $row (@rows)
{
	($step, my ($settings, $of_session, $expected)) = @$row;
	SKIP:
	{
		my ($needed) = map { /^(\w+)\./ } keys %$settings;
		skip "$step: $needed is not here", 3 if defined $needed && !$has{$needed};
		my $offset = -s "$log_dir/server.log";
		configure($settings);
		my $database = session($of_session);
		my @kept;
		my @wrong = grep { my $error = $_->[2]->($database, \@kept); $error !~ $_->[1] && (diag("$step, $_->[0]: $error") || 1) } @ends;
		is(scalar @wrong, 0, "$step: every statement ends as it should");
		if ($step =~ /debug5/)
		{
			bound($database, q{SELECT keypup.connect('acme', 'github', $1, $2, 'worker')}, $worker_token, $github->{url});
			query(q{SELECT keypup.track('acme', 'demo/one', 'worker')});
			ok($node->poll_query_until('postgres', q{SELECT phase = 'idle' AND items_done > 0 FROM keypup.sync_status}), "$step: the worker syncs with a probe for a token");
		}
		ok(ref $expected eq 'CODE' ? $expected->() : log_says($offset, $expected), "$step: the server did talk");
		is(join('; ', steps_in(relations($database)), steps_in(processes())), '', "$step: no table, view, statistic, setting or process title shows a probe");
		$database->disconnect;
	}
}
SKIP:
{
	skip 'pgaudit is not here', 1 unless $has{pgaudit};
	($step, my $settings) = @$refused;
	configure($settings);
	my $database = session();
	my $replace = q{SELECT keypup.replace_token('acme', $1, $2)};
	my @wrong = grep { $_ !~ /secrets would be written to the server's log/ } bound($database, $connect, 'acme', probe(), 'logged'), bound($database, $replace, $connected, probe()),
		map { bound($database, $_->[2], probe()) } @of_one_parameter;
	is(join('; ', @wrong), '', "$step: such statements are refused");
	$database->disconnect;
}
configure({});

# The places. Each answers the steps whose probes it shows, and whether there was anything to see.
query('ANALYZE');
my ($onlooker, $spilled) = (session(), 'SELECT t.*, n FROM keypup.connection_tokens t, generate_series(1, 2000) n ORDER BY t.envelope, n');
my @places = (
	[ 'L6, L7, L12, L15, L17, L18: tables, views, statistics and settings', sub { my $text = relations($onlooker); return (1, steps_in($text)); } ],
	[ 'L22: process titles and environments', sub { my $text = processes(); return ($text =~ /postgres: / && $text =~ /PATH=/, steps_in($text)); } ],
	[ 'L24: notifications', sub { my $text = hear(); return (scalar @notified, steps_in($text)); } ],
	[ 'L20: pg_dump', sub { my ($text) = run_command([ 'pg_dump', '-h', $node->host, '-p', $node->port, 'postgres' ]); return ($text =~ /COPY keypup.connection_tokens/, steps_in($text)); } ],
	[ 'L17, L18: pg_dumpall', sub { my ($text) = run_command([ 'pg_dumpall', '-h', $node->host, '-p', $node->port ]); return ($text =~ /CREATE ROLE/, steps_in($text)); } ],
	[ 'L14: logical decoding', sub {
		my $text = query(q{SELECT data FROM pg_logical_slot_peek_changes('probe', NULL, NULL)});
		return ($text =~ /keypup.connection_tokens: INSERT/, steps_in($text)); } ],
	[ 'L16: temporary files of a sort', sub {
		my $sorter = session({ work_mem => '64kB' });
		$sorter->begin_work;
		$sorter->do("DECLARE c CURSOR FOR $spilled");
		$sorter->do('FETCH 10 FROM c');
		my @answer = (query('SELECT count(*) FROM pg_ls_tmpdir()') > 0, steps_in_files($node->data_dir . '/base/pgsql_tmp'));
		$sorter->disconnect;
		return @answer; } ],
	[ 'L14: pg_waldump', sub {
		my $text = join '', map { (run_command([ 'pg_waldump', $_ ]))[0] } grep { /\/[0-9A-F]{24}$/ } glob($node->data_dir . '/pg_wal/*');
		return ($text =~ /Heap .*INSERT/, steps_in($text)); } ],
	[ 'L14, L15: files of the data directory, WAL among them', sub { query('CHECKPOINT'); return (1, steps_in_files($node->data_dir)); } ]);

sub look
{
	my ($place, $expected, $name) = @_;
	SKIP:
	{
		skip "$place->[0]: test_decoding is not here", 2 if $place->[0] =~ /decoding/ && !$has{test_decoding};
		my ($seen, @steps) = $place->[1]->();
		ok($seen, "$place->[0]: there is something to see");
		is(join('; ', grep { !defined $expected || $_ eq $expected } @steps), $expected // '', "$place->[0]: $name");
	}
}
look($_, undef, 'no probe') foreach @places;

is(query(q{SELECT count(*) FROM pg_stats WHERE schemaname = 'keypup' AND attname IN ('envelope', 'wrapped')}), '0', 'L12: no statistics of envelopes or keys');
is(query(q{SELECT string_agg(DISTINCT attstorage::text, '') FROM pg_attribute WHERE attrelid IN ('keypup.connection_tokens'::regclass, 'keypup.data_keys'::regclass) AND attname IN ('envelope', 'wrapped')}), 'e',
	'L26: envelopes are stored as they are, not compressed');

# L10, L13: the planner computes nothing of it, though the envelope is a constant that opens.
my $open = q{SELECT keypup.decrypt_token('\x} . query(q{SELECT encode(envelope, 'hex') FROM mine ORDER BY id LIMIT 1}) . q{', 'mine')};
like(query($open), qr/^ghp_$pattern\d{4}x$/, 'a constant envelope opens');
my $plan = query("EXPLAIN (VERBOSE) $open");
like($plan, qr/Output: keypup\.decrypt_token\('\\x4b50/, 'L10: its plan still has the call to make');
is(join('; ', steps_in($plan)), '', 'L10: and shows nothing of the token');
is(query(q{SELECT string_agg(proname, ' ') FROM pg_proc WHERE pronamespace = 'keypup'::regnamespace AND provolatile = 'i' AND proname ~ 'crypt|token|nonce|secret|password|session|login|whoami' AND proname NOT IN ('token_context', 'token_key_id', 'github_logins')}),
	'', 'L10, L11: no function that handles a secret is immutable (whose key sealed it is none)');
# Which arguments are secrets, src/token/secret_argument.c knows by their names.
# Whoever adds one decides here which it is.
my $suspicious = q{SELECT string_agg(DISTINCT a.name, ' ' ORDER BY a.name)
	FROM pg_proc p, unnest(p.proargnames, p.proargmodes) a(name, mode)
	WHERE p.pronamespace = 'keypup'::regnamespace AND coalesce(a.mode, 'i') IN ('i', 'b', 'v')
	  AND a.name ~ 'token|secret|pass|key|credential|handle|hash|digest|code|body|claims|nonce'};
my @secret = qw(api_key body code handle id_token old_password password private_key secret token user_token);
my @harmless = qw(claims digest hash key key_id key_set may_pass needs_code nonce token_digest token_revision);
is(query($suspicious), join(' ', sort @secret, @harmless), 'L8: which arguments are secrets is known of each');
my ($code, $out, $error) = $node->psql('postgres', q{CREATE INDEX ON mine (keypup.decrypt_token(envelope, 'mine'))});
like($error, qr/must be marked IMMUTABLE/, 'L13: no index over opened tokens');

$onlooker->disconnect;
$listener->disconnect;
$node->stop('fast');
is(join('; ', steps_in_files($node->data_dir)), '', 'L6: no file shows a probe after a clean shutdown');
is(join('; ', steps_in_files($node->logfile, $log_dir)), '', 'L1 to L9, L19, L23: no log shows a probe, whether for people, as CSV or as JSON');

# The control. Against the rules, the same search finds a probe in the log, ...
$node->start;
my $in_plans;
my $connects = sub { bound($_[0], $connect, 'acme', probe(), "control$number") };
my @broken = (
	[ 'bound, with log_parameter_max_length = -1', { log_statement => 'all' }, $connects ],
	[ 'bound, with log_parameter_max_length_on_error = -1', { log_parameter_max_length_on_error => -1 }, sub { bound($_[0], $connect, 'nobody', probe(), 'c') } ],
	[ 'a literal', { log_statement => 'all' }, sub { bound($_[0], sprintf q{SELECT keypup.encrypt_token('%s', 'a')}, probe()) } ],
	[ 'a literal in a statement that fails, by default', {}, sub { bound($_[0], sprintf q{SELECT keypup.connect('nobody', 'github', '%s')}, probe()) } ],
	[ 'debug_print_plan of a statement that calls none of our functions', { debug_print_plan => 'on' },
		sub { bound($_[0], 'SELECT $1::text', probe()) } ],
	$has{auto_explain} ? (
		[ 'auto_explain, a statement that calls none of our functions', { explaining(log_verbose => 'on') },
			sub { bound($_[0], 'SELECT $1::text', probe()) } ],
		[ 'auto_explain, a function that passes it on, without force_generic_plan', { %explaining_all }, sub {
			$in_plans = sprintf '%s%04d', $pattern, $number + 1;
			bound($_[0], 'SELECT pass_on($1)', probe()); } ]) : (),
	$explains_parameters ? [ 'auto_explain.log_parameter_max_length', { explaining() }, sub {
		$_[0]->do('SET plan_cache_mode = force_generic_plan');
		bound($_[0], 'SELECT $1::text', probe()); } ] : (),
	$has{pgaudit} ? [ 'pgaudit.log_parameter, a statement that calls none of our functions', { 'pgaudit.log' => 'all', 'pgaudit.log_parameter' => 'on' },
		sub { bound($_[0], q{INSERT INTO planted VALUES (0, $1)}, probe()) } ] : ());
foreach my $row (@broken)
{
	($step, my ($settings, $do)) = @$row;
	configure($settings);
	$do->(session());
}
configure({});

# ... and one in every place: a row of its own, a message in the WAL, a setting, a role's name, a notification.
$step = 'planted';
($onlooker, $listener) = (session(), session());
$listener->do('LISTEN keypup');
my $planted = probe();
query(qq{INSERT INTO planted SELECT i, '$planted' FROM generate_series(1, 5000) i; SELECT pg_logical_emit_message(true, 'x', '$planted'); SELECT pg_notify('keypup', '$planted');
	CREATE ROLE "$planted" LOGIN SUPERUSER; ALTER ROLE "$planted" SET application_name = '$planted'; ANALYZE planted});
$spilled = 'SELECT * FROM planted, generate_series(1, 10) n ORDER BY secret, n, id';
my $titled = DBI->connect('dbi:Pg:dbname=postgres;host=' . $node->host . ';port=' . $node->port, $planted, undef, { RaiseError => 1 });
look($_, 'planted', 'the control is found') foreach @places;
$_->disconnect foreach $titled, $onlooker, $listener;
$node->stop('fast');
my %logged = map { $_ => 1 } steps_in_files($log_dir);
ok($logged{ $_->[0] }, "the control: the log shows a probe that is sent against the rules: $_->[0]") foreach @broken;
SKIP:
{
	skip 'auto_explain is not here', 1 unless $has{auto_explain};
	my $times = () = slurp_file("$log_dir/server.log") =~ /$in_plans/g;
	is($times, 1, 'L8: even then the token stands in the plan of the statement that carries it, and in none within ours');
}
done_testing();
