# T19: two people take turns on one server connection, through a real PgBouncer in transaction mode; neither sees the other's.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($bouncer) = grep { -x } '/usr/sbin/pgbouncer', '/usr/bin/pgbouncer';
plan skip_all => 'PgBouncer is not here' unless $bouncer;
plan skip_all => 'DBD::Pg is not here' unless eval { require DBI; require DBD::Pg; 1 };

my $rounds = 5000;
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'keypup'\nkeypup.sync_interval = '1d'\nfsync = off\n");
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }

query('CREATE EXTENSION keypup');
query(q{CREATE ROLE app LOGIN; GRANT keypup_member TO app; GRANT USAGE ON SCHEMA keypup TO app});
my %handle;
foreach my $account (qw(acme bolt))
{
	query("SELECT keypup.create_account('$account')");
	my $key = query("SELECT keypup.create_api_key('$account', 'pool', 'viewer')");
	$handle{$account} = query("SELECT keypup.sign_in_with_api_key('$key')");
}

# Of its socket's name alone: it listens on no address.
my $port = 6432;
append_to_file("$dir/users", qq{"app" ""\n});
append_to_file("$dir/pgbouncer.ini", <<CONF);
[databases]
postgres = host=${\$node->host} port=${\$node->port} pool_size=1
[pgbouncer]
listen_addr =
listen_port = $port
unix_socket_dir = $dir
auth_type = trust
auth_file = $dir/users
pool_mode = transaction
logfile = $dir/log
pidfile = $dir/pid
CONF
system_or_bail($bouncer, '-q', '-d', "$dir/pgbouncer.ini");
# It listens a moment after it has gone to the background.
foreach (1 .. 1800) { last if -S "$dir/.s.PGSQL.$port"; select undef, undef, undef, 0.1; }
my $connect = sub { return DBI->connect("dbi:Pg:dbname=postgres;host=$dir;port=$port;user=app", undef, undef, { RaiseError => 1, PrintError => 0, pg_server_prepare => 0 }); };

# A person's turns: use the session, look, and every other time roll back; then look without it, as whoever has the connection next.
sub take_turns
{
	my ($account) = @_;
	my $database = $connect->();
	my ($wrong, $naked) = (0, 0);
	my %servers;
	foreach my $round (1 .. $rounds)
	{
		$database->begin_work;
		$database->do("SELECT keypup.use_session('$handle{$account}')");
		my ($seen, $server) = $database->selectrow_array(q{SELECT string_agg(name, ' '), pg_backend_pid() FROM keypup.accounts});
		$wrong++ if $seen ne $account;
		$servers{$server} = 1;
		if ($round % 7 == 0) { eval { $database->do('SELECT 1 / 0') }; $database->rollback; }
		elsif ($round % 2) { $database->commit; }
		else { $database->rollback; }
		my ($rest) = $database->selectrow_array('SELECT count(*) FROM keypup.accounts');
		$naked++ if $rest != 0;
	}
	return "$wrong $naked " . join ',', sort keys %servers;
}
pipe(my $reader, my $writer) or die;
my $child = fork;
if ($child == 0)
{
	my $answer = eval { take_turns('bolt') } // "failed: $@";
	syswrite $writer, $answer;
	require POSIX;
	POSIX::_exit(0);
}
my ($wrong, $naked, $servers) = split / /, take_turns('acme');
waitpid $child, 0;
sysread $reader, my $other, 1000;
my ($other_wrong, $other_naked, $other_servers) = split / /, $other;
is("$wrong $other_wrong", '0 0', "in 2 x $rounds transactions each person saw the own account and no other");
is("$naked $other_naked", '0 0', 'and what came after, without a session, nothing');
is($other_servers, $servers, 'on one and the same server connection');
unlike($servers, qr/,/, 'one');
kill 'TERM', slurp_file("$dir/pid") =~ /(\d+)/;
$node->stop;
done_testing();
