# What is wrong with an installation is said: where somebody meets it, and all of it by keypup.check_installation.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use File::Temp qw(tempdir);
use IPC::Run qw(run);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $token = 'ghp_INSTALLPROBE0123456789';
my $github = start_github($token, '--generate', 'demo/small:pulls=4,issues=3,seed=8');
my @checks = qw(preload version encoding configuration key data_keys audit_seals audit_days ca_file ssl roles schema providers members launcher workers worker_processes copy audit_forwarding commit autovacuum);

# The rows of check_installation that are not well: name, ok, detail, remedy.
sub findings
{
	my ($node, $database) = @_;
	return $node->safe_psql($database // 'postgres', q{SELECT check_name, ok, detail, remedy FROM keypup.check_installation() WITH ORDINALITY WHERE ok IS NOT TRUE ORDER BY ordinality});
}

sub finds
{
	my ($node, $expected, $what, $database) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return like(findings($node, $database), $expected, $what);
}

sub reload
{
	my ($node, $settings) = @_;
	$node->append_conf('postgresql.conf', $settings);
	$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
	return;
}

# What psql writes to standard error.
sub messages
{
	my ($node, $sql, %options) = @_;
	my ($code, $out, $error) = $node->psql($options{database} // 'postgres', $sql, connstr => $node->connstr($options{database} // 'postgres') . ' user=' . ($options{user} // 'postgres'));
	$error =~ s/^psql:<stdin>:\d+: //mg;
	return $error;
}

# --- not preloaded ---

my $node = new_server($github, "shared_preload_libraries = 'auto_explain, pg_prewarm'\n", name => 'forgotten');
$node->start;
my $warning = 'WARNING:  keypup is not preloaded: nothing is read in the background';
my $line = q{Set shared_preload_libraries = 'auto_explain, pg_prewarm, keypup' in postgresql.conf, and restart the server.};
my $told = messages($node, 'CREATE EXTENSION keypup');
is($told, "$warning\nHINT:  $line", 'CREATE EXTENSION without preload succeeds, with one WARNING that has the line to add');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_extension WHERE extname = 'keypup'}), '1', 'the extension is there');
$node->safe_psql('postgres', q{CREATE ROLE alice LOGIN IN ROLE keypup_member; SELECT keypup.create_account('acme'); SELECT keypup.add_member('acme', 'alice', 'owner'); CREATE ROLE monitor LOGIN IN ROLE pg_monitor});
is(messages($node, qq{SELECT keypup.connect('acme', 'github', '$token', '$github->{url}')}), "$warning\nHINT:  $line", 'connect warns');
is(messages($node, q{SELECT keypup.track('acme', 'demo/' || n) FROM generate_series(1, 3) n}), "$warning\nHINT:  $line", 'track warns, once a transaction');
is(messages($node, q{SELECT keypup.track('acme', 'demo/small')}, user => 'alice'), "$warning\nHINT:  A superuser must add keypup to shared_preload_libraries, and restart the server.",
	'who may not read the setting is not told its value');
is($node->safe_psql('postgres', 'SELECT DISTINCT warning FROM keypup.sync_status'), "keypup is not preloaded: nothing is read in the background ($line)" =~ s/\.\)$/)/r, 'sync_status.warning says it');
is(as_role($node, 'alice', 'SELECT DISTINCT warning FROM keypup.sync_status'),
	'keypup is not preloaded: nothing is read in the background (A superuser must add keypup to shared_preload_libraries, and restart the server)', 'to members too');
is(findings($node), join("\n", "preload|f|keypup is not preloaded: nothing is read in the background|$line", "launcher|f|keypup is not preloaded: nothing is read in the background|$line",
	"workers|f|keypup is not preloaded: nothing is read in the background|$line", 'worker_processes||max_worker_processes is 8, of which keypup uses 0|'), 'check_installation says what follows from it');
like(as_role($node, 'alice', 'SELECT * FROM keypup.check_installation()'), qr/^permission denied/, 'a member may not call it');
is(as_role($node, 'monitor', 'SELECT remedy FROM keypup.check_installation() LIMIT 1'), $line, 'a member of pg_monitor may');
reload($node, "shared_preload_libraries = 'auto_explain, pg_prewarm, keypup'");
finds($node, qr/^preload\|f\|keypup is not preloaded.*\|The configuration file has it in shared_preload_libraries: restart the server\.$/m, 'a restart that was forgotten is told from a line that was');
$node->restart;
ok($node->poll_query_until('postgres', q{SELECT bool_and(ok) FROM keypup.check_installation()}), 'after it all is well');
is($node->safe_psql('postgres', q{SELECT string_agg(check_name, ' ' ORDER BY ordinality) FROM keypup.check_installation() WITH ORDINALITY}), "@checks", 'a row for each check, in a fixed order');
is($node->safe_psql('postgres', q{SELECT count(*) FROM keypup.sync_status WHERE warning ~ 'preload'}), '0', 'and the warning is gone');

# --- each thing that can be wrong ---

$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', q{CREATE EXTENSION keypup; UPDATE pg_extension SET extversion = '0.0' WHERE extname = 'keypup'; UPDATE pg_database SET encoding = 0 WHERE datname = 'other'});
finds($node, qr/^version\|f\|the library is version [^ ]+, the extension in this database 0\.0\|ALTER EXTENSION keypup UPDATE\./m, 'another version of the extension', 'other');
finds($node, qr/^encoding\|f\|the database is in encoding SQL_ASCII\|Restore/m, 'another encoding', 'other');
nobody_is_in($node, 'other');
$node->safe_psql('postgres', 'DROP DATABASE other');

reload($node, "keypup.keyfile = '/etc/keypup/keys'");
finds($node, qr/^configuration\|f\|[^|]*postgresql\.conf line \d+: keypup\.keyfile: there is no such setting\|Correct it, and reload: [^|\n]*\.$/m, 'a setting that is misspelt');
$node->adjust_conf('postgresql.conf', 'keypup.keyfile', undef);
reload($node, "keypup.max_requests = many");
finds($node, qr/^configuration\|f\|[^|]* line \d+: keypup\.max_requests: setting could not be applied\|/m, 'a value that is none');
$node->adjust_conf('postgresql.conf', 'keypup.max_requests', undef);
foreach my $case ([ work_mems => '64MB', 'unrecognized configuration parameter' ], [ work_mem => 'much', 'setting could not be applied' ])
{
	reload($node, "$case->[0] = $case->[1]");
	finds($node, qr/^configuration\|f\|[^|]* line \d+: $case->[0]: $case->[2]\|/m, "a line that is not keypup's: $case->[0] = $case->[1]");
	$node->adjust_conf('postgresql.conf', $case->[0], undef);
}
reload($node, 'max_connections = 90');
is(findings($node), '', 'all are mended, and what waits for a restart is no error');
$node->adjust_conf('postgresql.conf', 'max_connections', undef);

my $keys = $node->safe_psql('postgres', 'SHOW keypup.key_file');
sub with_key_file
{
	my ($name, $text, $mode, $expected, $what) = @_;
	my $file = tempdir(CLEANUP => 1) . "/$name";
	append_to_file($file, $text) if defined $text;
	chmod $mode, $file;
	reload($node, "keypup.key_file = '$file'");
	return finds($node, $expected, $what);
}
ok($node->poll_query_until('postgres', 'SELECT count(*) = 2 FROM keypup.data_keys'), 'the audit log has a key beside the account\'s');
with_key_file('missing', undef, 0600, qr/^key\|f\|key file "[^"]*" cannot be used: No such file or directory\|It must be a regular file/m, 'a key file that is missing');
with_key_file('open', '1 ' . ('0f' x 32), 0644, qr/^key\|f\|key file "[^"]*" cannot be used: its owner or permissions are wrong\|.* mode 0600 /m, 'one that others can read');
with_key_file('empty', "# none\n", 0600, qr/^key\|f\|the key file is malformed: line 1 has no key\|/m, 'one without a key');
with_key_file('bad', "1 5\n", 0600, qr/^key\|f\|the key file is malformed: line 1 does not have 64 hexadecimal digits\|/m, 'one that is malformed');
with_key_file('others', '1 ' . ('1e' x 32), 0600, qr/^data_keys\|f\|2 of 2 do not open, the first is number \d+\|Have keypup\.key_file or keypup\.key_command give the keys that wrap them: 1\.$/m, 'another server\'s');
reload($node, "keypup.key_file = ''");
finds($node, qr/^key\|f\|no encryption key is configured\|Set keypup\.key_file or keypup\.key_command, and reload\.$/m, 'none at all');
reload($node, "keypup.key_command = 'exit 3'");
finds($node, qr/^key\|f\|keypup\.key_command cannot be used: it failed\|/m, 'a key command that fails');
reload($node, "keypup.key_command = 'cat $keys'");
is($node->safe_psql('postgres', q{SELECT string_agg(detail, '; ' ORDER BY check_name) FROM keypup.check_installation() WHERE check_name IN ('key', 'data_keys') AND ok}),
	'all 2 open; keypup.key_command is readable; its newest key is number 1', 'and one that works');
# Workers run it, too.
my $off = q{SELECT detail ~ 'switched off' FROM keypup.diagnose_workers()};
$node->safe_psql('postgres', 'ALTER DATABASE postgres SET keypup.workers = 0');
ok($node->poll_query_until('postgres', $off) && $node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'keypup worker'}), 'no worker is there');
my $runs = tempdir(CLEANUP => 1) . '/runs';
reload($node, "keypup.key_command = 'echo >> $runs; cat $keys'");
is(as_role($node, 'monitor', q{SELECT check_name, ok, detail, remedy FROM keypup.check_installation() WHERE check_name IN ('key', 'data_keys')}),
	"key||keypup.key_command is run for superusers only|\ndata_keys||keypup.key_command is run for superusers only|", 'who monitors does not run it');
ok(!-e $runs, 'not once');
is($node->safe_psql('postgres', q{SELECT count(*) FROM keypup.check_installation() WHERE check_name IN ('key', 'data_keys') AND ok}), '2', 'a superuser does');
ok(-s $runs, 'and it was run');
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET keypup.workers');
reload($node, "keypup.key_command = ''\nkeypup.key_file = '$keys'");

reload($node, "keypup.ca_file = '/nowhere/ca.pem'");
finds($node, qr/^ca_file\|f\|keypup\.ca_file, "\/nowhere\/ca\.pem", cannot be read: No such file or directory\|It must be a PEM file/m, 'a file of certificate authorities that is missing');
reload($node, "keypup.ca_file = '$keys'");
finds($node, qr/^ca_file\|f\|keypup\.ca_file, "[^"]*", has no certificate in it\|/m, 'one without a certificate');
reload($node, "keypup.ca_file = '$github->{ca_file}'");
reload($node, "autovacuum = off\nsynchronous_standby_names = 'nobody'");
finds($node, qr/^commit\|f\|no standby that synchronous_standby_names \(nobody\) names is connected: every commit waits\|[^\n]*\nautovacuum\|f\|/m, 'commits that wait for ever, and autovacuum that is off');
{
	local $ENV{PGOPTIONS} = '-c synchronous_commit=local';
	finds($node, qr/^commit\|f\|/m, 'also for who does not wait himself');
	$node->safe_psql('postgres', 'ALTER DATABASE postgres SET synchronous_commit = local');
}
ok($node->poll_query_until('postgres', q{SELECT ok FROM keypup.check_installation() WHERE check_name = 'commit'}), 'nothing is wrong where the workers do not wait');
{
	local $ENV{PGOPTIONS} = '-c synchronous_commit=local';
	$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET synchronous_commit');
}
reload($node, "autovacuum = on\nsynchronous_standby_names = ''");
$node->append_conf('postgresql.conf', "listen_addresses = '*'\nport = " . $node->port);
$node->restart;
finds($node, qr/^ssl\|f\|ssl is off, and others can connect \(listen_addresses is \*\): tokens pass in clear\|Set ssl = on/m, 'no TLS');
$node->append_conf('postgresql.conf', "listen_addresses = ''");
$node->restart;
ok($node->poll_query_until('postgres', q{SELECT bool_and(ok) FROM keypup.check_installation()}), 'all is well again');

# What the check of roles says is pasted, and mends it.
sub paste_remedy
{
	my ($expected) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $remedy = $node->safe_psql('postgres', q{SELECT remedy FROM keypup.check_installation() WHERE check_name = 'roles'});
	is($remedy, $expected, 'the remedy is in statements');
	$node->safe_psql('postgres', $remedy);
	is($node->safe_psql('postgres', q{SELECT ok, detail FROM keypup.check_installation() WHERE check_name = 'roles'}), 't|keypup_member and keypup_worker are as they should be', 'which mend it');
	return;
}
my $as_it_was = 'NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION';
$node->safe_psql('postgres', 'ALTER ROLE keypup_worker LOGIN; ALTER ROLE keypup_member CREATEDB; GRANT keypup_worker TO alice; GRANT monitor TO keypup_worker; GRANT pg_read_all_data TO keypup_member');
finds($node, qr/^roles\|f\|role keypup_member has rights that keypup does not give it; role keypup_member is a member of pg_read_all_data; role alice is a member of keypup_worker; role keypup_worker has rights that keypup does not give it; role keypup_worker is a member of monitor\|/m,
	'roles that may log in or create databases, have members or are members');
paste_remedy("ALTER ROLE keypup_member $as_it_was; ALTER ROLE keypup_worker $as_it_was; REVOKE keypup_worker FROM alice; REVOKE monitor FROM keypup_worker; REVOKE pg_read_all_data FROM keypup_member;");

# A role that is dropped with all that it may do is made anew, and nothing is lost.
my $rights = q{SELECT count(*), md5(string_agg(statement, ' ' ORDER BY statement)) FROM keypup.held_rights()};
my $held = $node->safe_psql('postgres', $rights);
my $projects = as_role($node, 'alice', 'SELECT count(*) FROM keypup.projects');
$node->safe_psql('postgres', 'CREATE ROLE minder; GRANT keypup_member TO minder WITH ADMIN OPTION');
finds($node, qr/^roles\|f\|role minder administers keypup_member\|/m, 'who may put others in');
paste_remedy('REVOKE ADMIN OPTION FOR keypup_member FROM minder;');
$node->safe_psql('postgres', 'DROP ROLE minder');
$node->safe_psql('postgres', 'DROP OWNED BY keypup_worker; DROP ROLE keypup_worker');
finds($node, qr/^roles\|f\|role keypup_worker is missing\|/m, 'a role that was dropped');
paste_remedy('SELECT keypup.restore_roles();');
$node->safe_psql('postgres', 'REVOKE SELECT ON keypup.connection_tokens FROM keypup_worker');
finds($node, qr/^roles\|f\|role keypup_worker lacks 1 of its \d+ rights here\|/m, 'a right that was revoked');
paste_remedy('SELECT keypup.restore_roles();');
$node->safe_psql('postgres', 'DROP OWNED BY keypup_member; DROP ROLE keypup_member');
like(as_role($node, 'alice', 'SELECT count(*) FROM keypup.projects'), qr/^permission denied/, 'without the other members read nothing');
paste_remedy('SELECT keypup.restore_roles();');
is(as_role($node, 'alice', 'SELECT count(*) FROM keypup.projects'), $projects, 'then they read what they read before');
is($node->safe_psql('postgres', $rights), $held, 'both roles may do what they might');
my ($dump) = run_command([ 'pg_dump', '-h', $node->host, '-p', $node->port, 'postgres' ]);
unlike($dump, qr/ FROM "\d+";/, 'and a dump names no role that is gone');
$node->safe_psql('postgres', 'REVOKE EXECUTE ON FUNCTION keypup.discover(text, text) FROM keypup_member');
ok($node->poll_query_until('postgres', q{SELECT bool_and(ok) FROM keypup.check_installation()}), 'the worker works; members may be allowed less');
$node->safe_psql('postgres', 'SELECT keypup.restore_roles()');
$node->safe_psql('postgres', 'ALTER DATABASE postgres IS_TEMPLATE true');
finds($node, qr/^workers\|f\|the database is a template: no worker runs in it\|ALTER DATABASE postgres IS_TEMPLATE false;$/m, 'a database that is a template');
$node->safe_psql('postgres', 'ALTER DATABASE postgres IS_TEMPLATE false; CREATE DATABASE closed');
messages($node, 'CREATE EXTENSION keypup', database => 'template1');
finds($node, qr/^workers\|f\|the database is a template: no worker runs in it\|Use another database: CREATE DATABASE keypup TEMPLATE template0 ENCODING 'UTF8'; there CREATE EXTENSION keypup; and here DROP EXTENSION keypup;$/m,
	'template1, which is to stay a template', 'template1');
$node->safe_psql('template1', 'DROP EXTENSION keypup');
$node->safe_psql('closed', 'CREATE EXTENSION keypup');
my $inside = $node->background_psql('closed');
$node->safe_psql('postgres', 'ALTER DATABASE closed ALLOW_CONNECTIONS false');
is($inside->query_safe(q{SELECT ok, detail, remedy FROM keypup.check_installation() WHERE check_name = 'workers'}),
	'f|the database admits no connections: no worker runs in it|ALTER DATABASE closed ALLOW_CONNECTIONS true;', 'a database that admits no connections');
$inside->quit;
nobody_is_in($node, 'closed');
$node->safe_psql('postgres', 'DROP DATABASE closed; ALTER DATABASE postgres SET keypup.workers = 0');
ok($node->poll_query_until('postgres', q{SELECT detail = 'the workers are switched off: keypup.workers is 0 here' AND remedy = 'ALTER DATABASE postgres RESET keypup.workers;'
	FROM keypup.check_installation() WHERE check_name = 'workers' AND NOT ok}), 'workers that are switched off');
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET keypup.workers');

# --- a worker that fails at once ---

# Without its role it cannot begin. Its pause doubles from 5 seconds; a reload has it tried at once.
sub failures { my @times = slurp_file($node->logfile) =~ /^([^\n]*)ERROR:  role "keypup_worker" does not exist/mg; return scalar @times; }
$node->safe_psql('postgres', 'ALTER ROLE keypup_worker RENAME TO keypup_other; SELECT pg_reload_conf()');
ok($node->poll_query_until('postgres', q{SELECT warning ~ '^the worker has failed since [0-9 :+-]+, last at [0-9 :+-]+, with SQLSTATE 42704 \(undefined_object\)(; it is tried again at [0-9 :+-]+)? \(A role or another object of keypup''s is missing: see the check of roles\. The server''s log has the message\)'
	FROM keypup.sync_status LIMIT 1}), 'sync_status.warning says since when the worker fails, and why');
finds($node, qr/^roles\|f\|role keypup_worker was renamed to keypup_other\|ALTER ROLE keypup_other RENAME TO keypup_worker;\n(.*\n)*workers\|f\|the worker has failed since [^|]* with SQLSTATE 42704 \(undefined_object\)/m, 'and so does check_installation, with the cause');
my $pauses = q{SELECT (regexp_match(detail, 'tried again at (.*)$'))[1]::timestamptz - (regexp_match(detail, 'last at ([^,]*),'))[1]::timestamptz FROM keypup.diagnose_workers()};
# The first pause is over before a busy machine has looked, or it was about to end when that reloads: then once more.
sub reload_while_it_fails
{
	my ($tried, $pause) = (0, q{});
	foreach (1 .. 10)
	{
		my $seen = failures();
		$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
		foreach (1 .. 40) { last if failures() > $seen && ($pause = $node->safe_psql('postgres', $pauses)) eq '00:00:05'; usleep(100_000); }
		$tried = failures() - $seen;
		last if $tried == 1 && $pause eq '00:00:05';
	}
	return "$tried, again after $pause";
}
is(reload_while_it_fails(), '1, again after 00:00:05', 'after a reload it is tried at once, by one worker, and again after five seconds');
ok($node->poll_query_until('postgres', "SELECT ($pauses) > interval '5 s'"), 'then the pause is longer');
like($node->safe_psql('postgres', $pauses), qr/^(?:00:00:[1248]0|00:0[1-9]:\d0|)$/, 'twice as long, and so on');
is(reload_while_it_fails(), '1, again after 00:00:05', 'and short again after another reload');
$node->safe_psql('postgres', 'ALTER ROLE keypup_other RENAME TO keypup_worker; SELECT pg_reload_conf()');
ok($node->poll_query_until('postgres', q{SELECT warning IS NULL OR warning !~ 'worker' FROM keypup.sync_status LIMIT 1}), 'once it has run well for a while nothing is said any more');
is(findings($node), '', 'and all is well');

# One that cannot even be started: the postmaster may have no further process.
my $observer = $node->background_psql('postgres');
my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
chomp(my $limit = `prlimit --pid=$postmaster --nproc --output=SOFT --noheadings --raw`);
system_or_bail('prlimit', "--pid=$postmaster", '--nproc=1:');
$observer->query_safe(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'keypup worker'});
my $unborn = q{SELECT detail ~ '^the worker has failed since .*, before it had begun; it is tried again at ' FROM keypup.diagnose_workers()};
my $give_up = time + $PostgreSQL::Test::Utils::timeout_default;
usleep(100_000) until $observer->query_safe($unborn) eq 't' || time > $give_up;
is($observer->query_safe($unborn), 't', 'a worker that does not come at all has failed, too');
system_or_bail('prlimit', "--pid=$postmaster", "--nproc=$limit:");
$observer->quit;
ok($node->poll_query_until('postgres', 'SELECT ok FROM keypup.diagnose_workers()'), 'and comes when it can');

# One that has ended comes again, and max_worker_processes is not what it lacked.
$node->restart;
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'keypup launcher'});
like($node->safe_psql('postgres', q{SELECT concat_ws('|', ok, detail, remedy) FROM keypup.check_installation() WHERE check_name = 'launcher'}),
	qr/^(the launcher is starting|false\|the launcher is not running, so that no worker is started\|The server's log says why it has ended; it is started again after 5 seconds\.|true\|it is running.*)$/, 'a launcher that has ended');
$node->stop;
my $single = '';
run([ 'postgres', '--single', '-j', '-D', $node->data_dir, 'postgres' ], '<', \q{SELECT check_name, ok, detail FROM keypup.check_installation() WHERE check_name IN ('launcher', 'workers') AND remedy IS NULL}, '>', \$single, '2>', '/dev/null');
is(scalar(() = $single =~ /detail = "the server is in single-user mode: no worker runs in it"/g), 2, 'none is missed in single-user mode') or diag($single);

# --- no launcher ---

$node->append_conf('postgresql.conf', 'max_worker_processes = 1');
$node->start;
finds($node, qr/^((launcher|workers)\|f\|max_worker_processes \(1\) has no room for the launcher, so that no worker is started\|Set max_worker_processes = 3 or more [^\n]*\n){2}worker_processes\|f\|max_worker_processes is 1, of which keypup uses 0; there was no room for the launcher\|Set max_worker_processes = 3 or more /m,
	'a launcher that could not be started');
$node->stop;

# --- max_worker_processes used up ---

my $crowded = new_server($github, "shared_preload_libraries = 'keypup'\nmax_worker_processes = 5\nfsync = off\n", name => 'crowded', allows_streaming => 1);
$crowded->start;
$crowded->safe_psql('postgres', 'CREATE EXTENSION keypup');
$crowded->safe_psql('postgres', "CREATE DATABASE d$_ TEMPLATE postgres STRATEGY file_copy") foreach 1 .. 6;
my $starved = q{FROM keypup.list_databases() d JOIN pg_database USING (oid) WHERE no_slot_since IS NOT NULL};
$starved =~ s/USING \(oid\)/p ON p.oid = d.database_id/;
ok($crowded->poll_query_until('postgres', "SELECT count(*) = 4 $starved"), 'with five processes, the launcher and one of PostgreSQL\'s own among them, three of seven databases have a worker');
my $poor = $crowded->safe_psql('postgres', "SELECT min(datname) $starved");
my $rich = $crowded->safe_psql('postgres', q{SELECT min(database) FROM keypup.worker_status WHERE database <> 'postgres'});
like(messages($crowded, qq{SELECT keypup.create_account('acme'); SELECT keypup.connect('acme', 'github', '$token', '$github->{url}')}, database => $poor),
	qr/^WARNING:  no worker could be started since [0-9 :+-]+: all of max_worker_processes \(5\) are in use\nHINT:  Raise max_worker_processes, and restart the server\.$/, 'connect warns of it');
like(messages($crowded, q{SELECT keypup.track('acme', 'demo/small')}, database => $poor), qr/^WARNING:  no worker could be started since /, 'so does track');
like($crowded->safe_psql($poor, 'SELECT warning FROM keypup.sync_status'), qr/^no worker could be started since [0-9 :+-]+: all of max_worker_processes \(5\) are in use \(Raise max_worker_processes, and restart the server\)$/, 'sync_status.warning says it');
finds($crowded, qr/^workers\|f\|no worker could be started since .*\nworker_processes\|f\|max_worker_processes is 5, of which keypup uses 4; none was left for 4 workers of [^|]*\b$poor\b[^|]* since [^|]*\|Set max_worker_processes = 9 or more/m,
	'check_installation says how many are needed', $poor);
my $needed = $crowded->safe_psql('postgres', "SELECT 5 + sum(coalesce(workers_wanted, 3)) $starved");
like($crowded->safe_psql($poor, q{SET keypup.workers = 3; SELECT remedy FROM keypup.check_installation() WHERE check_name = 'worker_processes'}), qr/^Set max_worker_processes = \Q$needed\E or more/, 'where no worker has looked yet as many as are set');
is($crowded->safe_psql($rich, q{SELECT ok FROM keypup.diagnose_workers()}), 't', 'nothing is said where one works');
ok($crowded->poll_query_until('postgres', "SELECT min(no_slot_since) < now() - interval '11 seconds' $starved"), 'the launcher has looked again, twice at least');
sub logged { my ($pattern) = @_; my @lines = slurp_file($crowded->logfile) =~ /$pattern/g; return scalar @lines; }
is(logged(qr/LOG:  keypup could not start all workers of \d+ databases?\n/), 1, 'the log says it once');
$crowded->safe_psql('postgres', join ';', map { "ALTER DATABASE d$_ SET keypup.workers = 0" } grep { "d$_" ne $poor } 1 .. 6);
ok($crowded->poll_query_until($poor, q{SELECT ok FROM keypup.diagnose_workers()}), 'where workers are switched off others have room');
ok($crowded->poll_query_until('postgres', "SELECT count(*) = 0 $starved"), 'and none lacks any');
# A moment later.
$give_up = time + $PostgreSQL::Test::Utils::timeout_default;
usleep(100_000) until logged(qr/LOG:  keypup has started the workers that it could not start before/) || time > $give_up;
is(logged(qr/LOG:  keypup has started the workers that it could not start before/), 1, 'which the log says, too');
ok($crowded->poll_query_until($poor, q{SELECT phase = 'idle' AND items_done = 7 FROM keypup.sync_status}), 'and the sync goes on');

# Neither a full server nor a database's limit keeps workers out: they have places of their own.
$crowded->safe_psql('postgres', "ALTER DATABASE $poor CONNECTION LIMIT 0");
my $most = $crowded->safe_psql('postgres', 'SHOW max_connections');
my @sessions = $crowded->background_psql('postgres');
# Those that were there before have gone.
$give_up = time + $PostgreSQL::Test::Utils::timeout_default;
usleep(100_000) until $sessions[0]->query_safe(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'}) eq '1' || time > $give_up;
push @sessions, map { $crowded->background_psql('postgres') } 2 .. $most;
my ($code, $out, $error) = $crowded->psql('postgres', 'SELECT 1');
like($error, qr/too many clients/, 'nobody else can connect');
my $others = "pid FROM pg_stat_activity WHERE backend_type = 'keypup worker' AND datname = '$poor'";
my $pid = $sessions[0]->query_safe("SELECT $others");
$sessions[0]->query_safe("SELECT pg_terminate_backend($pid)");
$give_up = time + $PostgreSQL::Test::Utils::timeout_default;
usleep(100_000) until $sessions[0]->query_safe("SELECT count(*) FROM (SELECT $others AND pid <> $pid) s") eq '1' || time > $give_up;
is($sessions[0]->query_safe("SELECT count(*) FROM (SELECT $others AND pid <> $pid) s"), '1', 'but a worker starts');
$_->quit foreach @sessions;

# --- a standby ---

$crowded->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($crowded, 'base', has_streaming => 1);
$standby->start;
$crowded->wait_for_catchup($standby, 'replay');
is(findings($standby, $poor), join("\n", 'launcher||the server is a standby: workers start when it is promoted|', 'workers||the server is a standby: workers start when it is promoted|',
		'worker_processes||max_worker_processes is 5, of which keypup uses 0|'), 'on a standby there is nothing to say of workers, and all else is checked');
is($standby->safe_psql($poor, q{SELECT count(*) FROM keypup.sync_status WHERE warning ~ 'worker'}), '0', 'nor does sync_status warn');
$standby->stop;
$crowded->stop;
unlike(slurp_file($_->logfile), qr/PANIC|TRAP|segfault|INSTALLPROBE/, 'no crash and no token in the log') foreach $node, $crowded, $standby;
done_testing();
