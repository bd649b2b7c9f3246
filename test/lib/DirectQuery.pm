# DirectQuery: what PostgreSQL::Test::Cluster's psql and poll_query_until answer, without a psql for each: starting one takes longer than
# most statements do, and a test waits by asking ten times a second. The answer is psql's, as with -At. Whatever psql alone can read
# (backslash commands, COPY) still goes to psql.
package DirectQuery;

use strict;
use warnings;

use DBI;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

# A script's statements, told apart as psql does; undef where that takes psql.
sub statements
{
	my ($sql) = @_;
	return if !defined $sql || $sql =~ m{/\*|\bE'|\bBEGIN\s+ATOMIC\b|^\s*COPY\b}im;
	my @statements = ('');
	while ($sql =~ /\G('[^']*'|"[^"]*"|\$([a-z_]*)\$.*?\$\g2\$|--[^\n]*|[^'"\$;\\-]+|.)/gcs)
	{
		my $token = $1;
		return if $token =~ /^['"\\]$/;
		if ($token eq ';') { push @statements, ''; }
		else { $statements[-1] .= $token; }
	}
	return [ grep { s/^\s*--.*$//mgr =~ /\S/ } @statements ];
}

# One connection, or undef; why stands in DBI->errstr.
sub connect_to
{
	my ($target) = @_;
	return DBI->connect("dbi:Pg:$target fallback_application_name=psql", undef, undef,
		{ RaiseError => 0, PrintError => 0, PrintWarn => 1, pg_bool_tf => 1, pg_expand_array => 0, pg_enable_utf8 => 0 });
}

# One statement: its lines as psql prints them, and the error if there is one.
sub ask
{
	my ($connection, $statement) = @_;
	my $asked = $connection->prepare($statement, { pg_direct => 1 });
	return ([], $connection->errstr) unless $asked && $asked->execute;
	return ([], undef) unless $asked->{NUM_OF_FIELDS};
	my @types = @{ $asked->{pg_type} };
	my @lines;
	while (my $row = $asked->fetchrow_arrayref)
	{
		push @lines, join '|', map { !defined $row->[$_] ? '' : $types[$_] eq 'bytea' ? '\x' . unpack('H*', $row->[$_]) : $row->[$_] } 0 .. $#types;
	}
	return (\@lines, $asked->err ? $asked->errstr : undef);
}

no warnings 'redefine';

my $psql = \&PostgreSQL::Test::Cluster::psql;
*PostgreSQL::Test::Cluster::psql = sub {
	my ($node, $database, $sql, %options) = @_;
	my $statements = statements($sql);
	return $psql->(@_) if !$statements || grep { !/^(?:stdout|stderr|connstr|on_error_stop|on_error_die)$/ } keys %options;
	local %ENV = $node->_get_env;
	my ($code, $said, @lines) = (0, '');
	local $SIG{__WARN__} = sub { $said .= $_[0]; };
	my $connection = connect_to($options{connstr} // $node->connstr($database));
	if (!$connection)
	{
		$code = 2;
		$said .= DBI->errstr . "\n";
	}
	foreach my $statement ($connection ? @$statements : ())
	{
		my ($answer, $error) = ask($connection, $statement);
		push @lines, @$answer;
		next unless defined $error;
		$said .= "$error\n";
		next unless $options{on_error_stop} // 1;
		$code = 3;
		last;
	}
	$connection->disconnect if $connection;
	$said =~ s/^(?=(?:ERROR|FATAL|PANIC|WARNING|NOTICE|INFO|LOG):  )/psql:<stdin>:1: /mg;
	chomp $said;
	my $answer = join "\n", @lines;
	die "error running SQL: '$said'\nwhile running '$sql'" if $code && $options{on_error_die};
	${ $options{stdout} } = $answer if $options{stdout};
	${ $options{stderr} } = $said if $options{stderr};
	return wantarray ? ($code, $answer, $said) : $code;
};

my $poll_query_until = \&PostgreSQL::Test::Cluster::poll_query_until;
*PostgreSQL::Test::Cluster::poll_query_until = sub {
	my ($node, $database, $sql, $expected) = @_;
	my $statements = statements($sql);
	return $poll_query_until->(@_) unless $statements && @$statements == 1;
	local %ENV = $node->_get_env;
	local $SIG{__WARN__} = sub { };
	$expected //= 't';
	my ($connection, $poll, $answer, $error);
	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		if (!$connection && ($connection = connect_to($node->connstr($database))))
		{
			# Planned once: to plan a view takes longer than most answers do.
			$poll = $connection->do("PREPARE poll AS $statements->[0]") ? 'EXECUTE poll' : $statements->[0];
		}
		($answer, $error) = $connection ? ask($connection, $poll) : ([], DBI->errstr);
		undef $connection if defined $error;
		$answer = join "\n", @$answer;
		if (!defined $error && $answer eq $expected)
		{
			$connection->disconnect;
			return 1;
		}
		usleep(100_000);
	}
	diag("poll_query_until timed out executing this query:\n$sql\nexpecting this output:\n$expected\nlast actual query output:\n$answer\nwith stderr:\n" . ($error // ''));
	return 0;
};

1;
