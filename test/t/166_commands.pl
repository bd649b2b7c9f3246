# The workers are no obstacle to a DBA's commands, and can be switched off; who may not do a command ends no worker by it.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'ghp_COMMANDPROBE0123456789';
my $github = start_github($token, '--generate', 'demo/busy:pulls=400,issues=300,seed=6', '--generate', 'demo/small:pulls=4,issues=3,seed=7', '--latency', '200');
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
max_worker_processes = 30
keypup.max_requests = 1
allow_in_place_tablespaces = on
fsync = off
CONF
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }

# Numbers and processes of a database's workers, and that there are so many.
sub workers { return query("SELECT string_agg(number || ':' || pid, ' ' ORDER BY number) FROM keypup.worker_status WHERE database = '$_[0]' AND state <> 'starting'"); }
sub has_workers
{
	my ($database, $count, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok($node->poll_query_until('postgres', "SELECT count(*) = $count FROM keypup.worker_status WHERE database = '$database' AND state <> 'starting'"), $what);
}

# What a command answers, as a role.
sub try_as
{
	my ($role, $sql) = @_;
	my ($code, $out, $error) = $node->psql('postgres', $sql, connstr => $node->connstr('postgres') . " user=$role", on_error_stop => 0);
	return join ' ', $error =~ /ERROR:  (.*)$/mg;
}

query(q{CREATE EXTENSION keypup; CREATE TABLESPACE elsewhere LOCATION ''; CREATE ROLE olga LOGIN CREATEDB; CREATE ROLE mallory LOGIN CREATEDB});
query("CREATE DATABASE $_ OWNER olga") foreach qw(a b c);
foreach my $database (qw(a b c))
{
	$node->safe_psql($database, qq{CREATE EXTENSION keypup; SELECT keypup.create_account('acme'); SELECT keypup.connect('acme', 'github', '$token', '$github->{url}'); SELECT keypup.track('acme', 'demo/busy')});
}
has_workers($_, 1, "a worker is in $_") foreach qw(a b c);
ok($node->poll_query_until($_, 'SELECT items_done > 0 FROM keypup.sync_status'), "it is at work in $_") foreach qw(a b c);

nobody_is_in($node, $_) foreach qw(a b c);
# Commands that need a database for themselves, while its worker is syncing.
foreach my $step ([ 'ALTER DATABASE a RENAME TO a2', 'a2' ], [ 'ALTER DATABASE a2 SET TABLESPACE elsewhere', 'a2' ], [ 'ALTER DATABASE a2 RENAME TO a', 'a' ],
	[ 'ALTER DATABASE a SET TABLESPACE pg_default', 'a' ], [ 'CREATE DATABASE copy TEMPLATE a', 'a' ])
{
	my ($command, $database) = @$step;
	is(try_as($command =~ /TABLESPACE/ ? 'postgres' : 'olga', $command), '', $command);
	has_workers($database, 1, 'then its worker is there again');
}
has_workers('copy', 1, 'and in the copy');
$node->command_ok([ 'createdb', '-h', $node->host, '-p', $node->port, '-T', 'a', 'copy2' ], 'createdb -T of a database that is syncing');
has_workers('copy2', 1, 'a worker comes to the copy');
is(try_as('olga', "ALTER DATABASE b RENAME TO b$_; ALTER DATABASE b$_ RENAME TO b"), '', "renamed there and back, round $_") foreach 1 .. 5;
is(try_as('olga', 'DROP DATABASE copy'), '', 'DROP DATABASE by its owner');
query('DROP DATABASE copy2');
is(query(q{SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE datname ~ '^(a|b|c|copy)'}), 'a b c', 'the databases are as the commands have made them');

# Who may not do it ends nobody's worker.
has_workers($_, 1, "a worker is in $_") foreach qw(a b c);
my $before = workers('a');
like(try_as('mallory', 'ALTER DATABASE a RENAME TO mine'), qr/must be owner/, 'another may not rename it');
like(try_as('mallory', 'ALTER DATABASE a SET TABLESPACE elsewhere'), qr/must be owner/, 'nor move it');
like(try_as('mallory', 'CREATE DATABASE mine TEMPLATE a'), qr/permission denied to copy/, 'nor copy it');
like(try_as('mallory', 'DROP DATABASE a'), qr/must be owner/, 'nor drop it');
like(try_as('mallory', 'ALTER DATABASE a SET work_mem = 64'), qr/must be owner/, 'nor set anything for it');
like(try_as('mallory', 'ALTER DATABASE a ALLOW_CONNECTIONS false'), qr/must be owner/, 'nor close it');
like(try_as('mallory', 'ALTER ROLE ALL IN DATABASE a SET work_mem = 64'), qr/must be owner/, 'nor for all roles in it');
like(try_as('olga', 'ALTER DATABASE a SET keypup.workers = 0'), qr/permission denied to set parameter/, 'keypup.workers is the superuser\'s to set');
query('ALTER ROLE olga NOCREATEDB; ALTER DATABASE c OWNER TO mallory');
like(try_as('olga', 'CREATE DATABASE mine TEMPLATE a'), qr/permission denied to create/, 'nor does its owner copy it without the right to create databases');
query('ALTER ROLE olga CREATEDB');
is(workers('a'), $before, 'and the worker has never left');

# Several databases are held at once, each until its session's transaction ends, however it ends.
my %session = map { $_ => $node->background_psql('postgres') } qw(a b);
$session{$_}->query_safe("BEGIN; ALTER DATABASE $_ RENAME TO ${_}2") foreach qw(a b);
ok(workers($_) eq '', "no worker is in $_ while its renaming is not committed") foreach qw(a b);
like(workers('c'), qr/^0:\d+$/, 'the one of another database stays');
is($node->safe_psql('c', q{SELECT concat_ws(' ', ok, detail) FROM keypup.diagnose_workers()}), 't 1 of 1 workers run', 'and is well');
$session{a}->query_safe('COMMIT');
has_workers('a2', 1, 'the worker comes back with the commit');
is(workers('b'), '', 'the other database is held on');
$session{b}->query_safe('ROLLBACK');
has_workers('b', 1, 'and with the rollback');

# One that is held is dropped; a session that dies holds nothing any more.
$session{b}->query_safe('BEGIN; ALTER DATABASE b RENAME TO b2');
my $dropper = $node->background_psql('postgres', on_error_stop => 0);
$dropper->query_until(qr/dropping/, "\\echo dropping\nDROP DATABASE b;\nSELECT 'dropped';\n");
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'DROP DATABASE b%' AND wait_event_type = 'Lock'}), 'DROP DATABASE waits for who renames it');
$session{b}->query_safe('ROLLBACK');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_database WHERE datname IN ('b', 'b2')}), 'and drops it then');
$session{a}->query_safe('BEGIN; ALTER DATABASE a2 RENAME TO a');
query(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%ALTER DATABASE a2 RENAME TO a%' AND pid <> pg_backend_pid()});
has_workers('a2', 1, 'the worker comes back after the session that held its database was ended');
query('ALTER DATABASE a2 RENAME TO a');

# Closed databases and templates have no worker.
foreach my $closed ([ 'ALLOW_CONNECTIONS', 'false', 'true' ], [ 'IS_TEMPLATE', 'true', 'false' ])
{
	my ($option, $off, $on) = @$closed;
	has_workers('a', 1, 'a worker is in a');
	query("ALTER DATABASE a $option $off");
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'a'}), "$option $off ends the worker");
	query("ALTER DATABASE a $option $on");
	has_workers('a', 1, "and $option $on brings it back");
}

# DROP EXTENSION ends its workers; when it is rolled back they come back.
$session{c} = $node->background_psql('c');
$session{c}->query_safe('BEGIN; DROP EXTENSION keypup');
is(workers('c'), '', 'DROP EXTENSION does not meet the worker');
$session{c}->query_safe('ROLLBACK');
has_workers('c', 1, 'which comes back after a rollback');

# Nor do others that lock what the worker uses.
query('CREATE ROLE dba SUPERUSER; CREATE DATABASE d');
$node->safe_psql('d', qq{SET ROLE dba; CREATE EXTENSION keypup; SELECT keypup.create_account('acme'); SELECT keypup.connect('acme', 'github', '$token', '$github->{url}'); SELECT keypup.track('acme', 'demo/busy')});
$session{d} = $node->background_psql('d');
$session{d}->query_safe('SET client_min_messages = warning');
foreach my $command ('ALTER EXTENSION keypup UPDATE', 'DROP OWNED BY dba', 'REASSIGN OWNED BY dba TO olga', 'DROP OWNED BY keypup_worker', 'DROP OWNED BY keypup_member', 'SELECT keypup.restore_roles()')
{
	has_workers('d', 1, 'a worker is in d');
	ok($node->poll_query_until('d', 'SELECT items_done > 0 FROM keypup.sync_status'), 'it is at work');
	$session{d}->query_safe("BEGIN; $command");
	is(workers('d'), '', "$command does not meet it");
	$session{d}->query_safe('ROLLBACK');
}
has_workers('d', 1, 'it is back');
$before = workers('d');
$session{d}->query_safe('BEGIN; DROP OWNED BY olga; ROLLBACK');
is(workers('d'), $before, 'DROP OWNED BY somebody else ends no worker');
$session{d}->query_safe('DROP OWNED BY dba');
is($node->safe_psql('d', q{SELECT count(*) FROM pg_extension WHERE extname = 'keypup'}), '0', 'with its owner\'s other things the extension is dropped');

# The schema's name is in every function.
my ($code, $out, $error) = $node->psql('c', 'ALTER SCHEMA keypup RENAME TO reports');
like($error, qr/ERROR:  schema "keypup" cannot be renamed\nDETAIL:  .*\nHINT:  Give its relations other names by views of your own\./, 'the schema is not renamed');
query('CREATE DATABASE bare TEMPLATE template0');
is($node->safe_psql('bare', q{CREATE SCHEMA keypup; ALTER SCHEMA keypup RENAME TO reports; SELECT count(*) FROM pg_namespace WHERE nspname = 'reports'}), '1', 'where it is somebody else\'s it is');

# The switch: for the server, for a database, for roles in it; not in a session.
query(q{ALTER SYSTEM SET keypup.workers = 0; SELECT pg_reload_conf()});
has_workers($_, 0, "keypup.workers = 0 and a reload end the worker in $_") foreach qw(a c postgres);
query('ALTER DATABASE a SET keypup.workers = 3');
has_workers('a', 3, 'a database may have its own number');
has_workers('c', 0, 'which is for no other');
is($node->safe_psql('c', q{SET keypup.workers = 5; SHOW keypup.workers; SELECT ok, detail FROM keypup.diagnose_workers()}), "5\nf|the workers are switched off: keypup.workers is 0 here", 'SET in a session is for no worker');
like($node->safe_psql('c', 'SELECT warning FROM keypup.sync_status'), qr/^the workers are switched off: keypup.workers is 0 here \(ALTER SYSTEM RESET keypup.workers; SELECT pg_reload_conf\(\)\)/, 'sync_status says that they are switched off');
($code, $out, $error) = $node->psql('c', q{SELECT keypup.track('acme', 'demo/small')});
like($error, qr/^psql:<stdin>:1: WARNING:  the workers are switched off: keypup.workers is 0 here\nHINT:  ALTER SYSTEM RESET keypup.workers; SELECT pg_reload_conf\(\);$/, 'and so does track');
$node->safe_psql('c', q{CALL keypup.sync('acme', 'demo/small')});
is($node->safe_psql('c', q{SELECT phase, items_done FROM keypup.sync_status WHERE project = 'demo/small'}), 'idle|7', 'CALL keypup.sync works on');
query('ALTER DATABASE a SET keypup.workers = 1');
has_workers('a', 1, 'fewer end some of them');
query(q{ALTER SYSTEM RESET keypup.workers; SELECT pg_reload_conf()});
has_workers($_, 1, "with the default and a reload there is a worker in $_") foreach qw(c postgres);
query('ALTER ROLE ALL IN DATABASE c SET keypup.workers = 2');
has_workers('c', 2, 'ALTER ROLE ALL IN DATABASE counts');
query('ALTER ROLE postgres IN DATABASE c SET keypup.workers = 0');
has_workers('c', 0, 'and so does that of the role that workers run as');
query('ALTER ROLE postgres IN DATABASE c RESET keypup.workers; ALTER ROLE ALL IN DATABASE c RESET keypup.workers');
has_workers('c', 1, 'RESET brings the worker back');

# Wherever it is switched off, the remedy is the statement that switches it on.
foreach my $case ([ 'ALTER ROLE postgres IN DATABASE c' ], [ 'ALTER ROLE postgres' ], [ 'ALTER DATABASE c' ], [ 'ALTER ROLE ALL' ], [ 'ALTER SYSTEM', ' SELECT pg_reload_conf();' ],
	[ 'ALTER ROLE postgres', ' ALTER ROLE ALL RESET keypup.workers;', 'ALTER ROLE ALL SET keypup.workers = 0' ])
{
	my ($target, $further, $first) = @$case;
	query($first) if $first;
	query("$target SET keypup.workers = 0");
	query('SELECT pg_reload_conf()');
	ok($node->poll_query_until('c', q{SELECT detail = 'the workers are switched off: keypup.workers is 0 here' FROM keypup.diagnose_workers()}), "switched off by $target SET");
	my $remedy = $node->safe_psql('c', 'SELECT remedy FROM keypup.diagnose_workers()');
	is($remedy, "$target RESET keypup.workers;" . ($further // ''), 'the remedy names it');
	$node->safe_psql('c', s/^\s+//r) foreach $remedy =~ /[^;]+;/g;
	has_workers('c', 1, 'and brings the worker back');
}
$node->append_conf('postgresql.conf', 'keypup.workers = 0');
query('SELECT pg_reload_conf()');
has_workers('c', 0, 'switched off in the configuration file');
my $last_line = () = slurp_file($node->data_dir . '/postgresql.conf') =~ /\n/g;
like($node->safe_psql('c', 'SELECT remedy FROM keypup.diagnose_workers()'), qr{^Change line $last_line of \S+/postgresql\.conf, and reload; or, for this database: ALTER DATABASE c SET keypup\.workers = 1;$}, 'the remedy names the line');
query('GRANT keypup_member TO olga');
is($node->safe_psql('c', 'SET ROLE olga; SELECT remedy FROM keypup.diagnose_workers()'), 'ALTER DATABASE c SET keypup.workers = 1;', 'but not to everybody');
$node->adjust_conf('postgresql.conf', 'keypup.workers', undef);
query('SELECT pg_reload_conf()');
has_workers('c', 1, 'the line is gone');
query('ALTER DATABASE c SET keypup.workers = 0');
has_workers('c', 0, 'switched off');
query('ALTER DATABASE c RESET ALL');
has_workers('c', 1, 'RESET ALL switches them on');
$before = workers('c');
query('BEGIN; ALTER DATABASE c SET keypup.workers = 0; ROLLBACK; ALTER ROLE olga SET work_mem = 64; ALTER ROLE olga IN DATABASE c SET work_mem = 64');
is(workers('c'), $before, 'what is rolled back, or another role\'s, ends no worker');

# pg_upgrade starts a server in which it wants to be alone.
$node->stop;
system_or_bail('pg_ctl', '-w', '-t', '900', '-D', $node->data_dir, '-l', $node->logfile, '-o', '-b', 'start');
is(query(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'keypup'}), '0', 'none of our processes is in the server of pg_upgrade');
system_or_bail('pg_ctl', '-w', '-t', '900', '-D', $node->data_dir, 'stop');

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|segfault|COMMANDPROBE|being accessed by other users/, 'no crash, no token, and nobody was in the way');
done_testing();
