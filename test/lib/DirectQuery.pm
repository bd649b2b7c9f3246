# DirectQuery: what PostgreSQL::Test::Cluster's psql and poll_query_until answer to a single statement, without a psql for each: starting
# one takes longer than most statements do, and a test waits by asking ten times a second. The answer is psql's, as with -At. Whatever psql
# alone can read (several statements, backslash commands) still goes to psql.
package DirectQuery;

use strict;
use warnings;

use DBI;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

# The statement, and whether notices are left out; nothing if it may be more than one.
sub is_single
{
	my ($sql) = @_;
	return unless defined $sql && $sql =~ /^\s*(SET client_min_messages = error;)?\s*([^;\\]*[^;\\\s])[\s;]*\z/;
	return ($2, defined $1);
}

# One connection, or undef; why stands in DBI->errstr.
sub connect_to
{
	my ($target) = @_;
	return DBI->connect("dbi:Pg:$target fallback_application_name=psql", undef, undef,
		{ RaiseError => 0, PrintError => 0, PrintWarn => 1, pg_bool_tf => 1, pg_expand_array => 0, pg_enable_utf8 => 0 });
}

# The answer as psql prints it, and the error, of which one is undef.
sub ask
{
	my ($connection, $statement) = @_;
	my $asked = $connection->prepare($statement, { pg_direct => 1 });
	return (undef, $connection->errstr) unless $asked && $asked->execute;
	return ('', undef) unless $asked->{NUM_OF_FIELDS};
	my @types = @{ $asked->{pg_type} };
	my @lines;
	while (my $row = $asked->fetchrow_arrayref)
	{
		push @lines, join '|', map { !defined $row->[$_] ? '' : $types[$_] eq 'bytea' ? '\x' . unpack('H*', $row->[$_]) : $row->[$_] } 0 .. $#types;
	}
	return (undef, $asked->errstr) if $asked->err;
	return (join("\n", @lines), undef);
}

no warnings 'redefine';

my $psql = \&PostgreSQL::Test::Cluster::psql;
*PostgreSQL::Test::Cluster::psql = sub {
	my ($node, $database, $sql, %options) = @_;
	my ($statement, $is_quiet) = is_single($sql);
	return $psql->(@_) if !defined $statement || grep { !/^(?:stdout|stderr|connstr|on_error_stop|on_error_die)$/ } keys %options;
	local %ENV = $node->_get_env;
	my ($answer, $error, $said) = ('', undef, '');
	local $SIG{__WARN__} = sub { $said .= $_[0]; };
	my $connection = connect_to($options{connstr} // $node->connstr($database));
	my $is_connected = defined $connection;
	if ($is_connected)
	{
		$connection->do('SET client_min_messages = error') if $is_quiet;
		($answer, $error) = ask($connection, $statement);
		$connection->disconnect;
	}
	else
	{
		$error = DBI->errstr;
	}
	$said .= $error if defined $error;
	$said =~ s/^(?=(?:ERROR|FATAL|PANIC|WARNING|NOTICE|INFO|LOG):  )/psql:<stdin>:1: /mg;
	chomp $said;
	my $code = !defined $error ? 0 : !$is_connected ? 2 : ($options{on_error_stop} // 1) ? 3 : 0;
	die "error running SQL: '$said'\nwhile running '$sql'" if $code && $options{on_error_die};
	${ $options{stdout} } = $answer // '' if $options{stdout};
	${ $options{stderr} } = $said if $options{stderr};
	return wantarray ? ($code, $answer // '', $said) : $code;
};

my $poll_query_until = \&PostgreSQL::Test::Cluster::poll_query_until;
*PostgreSQL::Test::Cluster::poll_query_until = sub {
	my ($node, $database, $sql, $expected) = @_;
	my ($statement) = is_single($sql);
	return $poll_query_until->(@_) unless defined $statement;
	local %ENV = $node->_get_env;
	local $SIG{__WARN__} = sub { };
	$expected //= 't';
	my ($connection, $answer, $error);
	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		$connection = connect_to($node->connstr($database)) unless $connection && $connection->ping;
		($answer, $error) = $connection ? ask($connection, $statement) : (undef, DBI->errstr);
		if (defined $answer && $answer eq $expected)
		{
			$connection->disconnect;
			return 1;
		}
		usleep(100_000);
	}
	diag("poll_query_until timed out executing this query:\n$sql\nexpecting this output:\n$expected\nlast actual query output:\n"
		  . ($answer // '') . "\nwith stderr:\n" . ($error // ''));
	return 0;
};

1;
