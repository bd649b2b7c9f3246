# test/bench/analyst.pl ENTRIES PSQL …: measures the joins of test/bench/analyst, which says what. ENTRIES: a file with a line a role: its name,
# who logs in, and what it says at the beginning of each transaction, between bars.
use strict;
use warnings;

$| = 1;
my ($entries, @psql) = @ARGV;
my $limit = $ENV{LIMIT} // 60;
my @roles = split ' ', $ENV{ROLES} // 'average';
my $wants_pairs = $ENV{PAIRS} // 1;
my $queries = $ENV{QUERIES} // 200;
my $seed = $ENV{SEED} // 1;
# The columns that views are joined by.
my @keys = qw(account_id project_id connection_id number item_number milestone_number external_id deployment_id login person_id team label type day week_start month_start
  period_start period);

my (%login, %enter);
open my $in, '<', $entries or die "$entries: $!";
foreach (<$in>)
{
	chomp;
	my ($role, $login, $enter) = split /\|/;
	($login{$role}, $enter{$role}) = ($login, $enter // '');
}
close $in;

# What psql answers to queries, each in a transaction of the role's; what comes before and after each of them.
sub answer
{
	my ($role, $before, $after, @queries) = @_;
	my $file = "$ENV{TMPDIR}/analyst.$$";
	open my $out, '>', $file or die "$file: $!";
	print $out "\\set VERBOSITY terse\nSET statement_timeout = '${limit}s';\n";
	print $out "BEGIN;\n\\o /dev/null\n$enter{$role}\n\\o\n$before$_;\n${after}COMMIT;\n" foreach @queries;
	close $out;
	open my $in, '-|', @psql, '-U', $login{$role}, '-f', $file or die "psql: $!";
	my $reply = do { local $/; <$in> };
	close $in;
	unlink $file;
	return $reply;
}

# Milliseconds of each query; the limit for one that was given up.
sub milliseconds
{
	my ($role, @queries) = @_;
	my $reply = answer($role, "\\o /dev/null\n\\timing on\n", "\\timing off\n\\o\n", @queries);
	my @times = $reply =~ /^Time: ([0-9.]+) ms/mg;
	die "no time of: @queries\n$reply" unless @times == @queries;
	return @times;
}

my (%columns, %type, %alone, %is_key);

sub read_views
{
	my ($role) = @_;
	%columns = %type = %alone = ();
	foreach (split /\n/, answer($role, '', '', <<'SQL'))
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'keypup'::regnamespace AND c.relkind = 'v' AND c.relname !~ '_hours$' AND has_table_privilege('keypup_member', c.oid, 'SELECT')
  AND EXISTS (SELECT FROM pg_attribute p WHERE p.attrelid = c.oid AND p.attname = 'account_id')
ORDER BY c.relname, a.attnum
SQL
	{
		my ($view, $column, $type) = split /\|/;
		push @{ $columns{$view} }, $column;
		$type{"$view.$column"} = $type;
	}
	foreach my $view (sort keys %columns)
	{
		my @times = milliseconds($role, ("SELECT count(v) FROM keypup.$view v") x 3);
		$alone{$view} = (sort { $a <=> $b } @times)[1];
	}
}

sub shared_columns
{
	my ($one, $other) = @_;
	my %has = map { $_ => 1 } @{ $columns{$one} };
	my %both = map { $_ => 1 } grep { $has{$_} } @{ $columns{$other} };
	return grep { $both{$_} } @keys;
}

sub is_key
{
	my ($role, $view, @shared) = @_;
	return $is_key{"$view @shared"} //= answer($role, '', '', "SELECT count(*) = count(DISTINCT (" . join(', ', @shared) . ")) FROM keypup.$view") =~ /^t/ ? 1 : 0;
}

sub can_join
{
	my ($role, $one, $other) = @_;
	my @shared = shared_columns($one, $other);
	return @shared > 1 && (is_key($role, $one, @shared) || is_key($role, $other, @shared)) ? @shared : ();
}

# How many times the query takes what the views take alone, measured again in turn: the least of three each, so that what
# else the machine does is left out.
sub measure_again
{
	my ($role, $query, @views) = @_;
	my @alone = map { "SELECT count(v) FROM keypup.$_ v" } @views;
	my @times = milliseconds($role, (@alone, $query) x 3);
	my @least = map { my $place = $_; (sort { $a <=> $b } map { $times[ $_ * (@views + 1) + $place ] } 0 .. 2)[0] } 0 .. @views;
	my $time = pop @least;
	my $sum = 0;
	$sum += $_ foreach @least;
	return ($time, $sum, $time / $sum);
}

sub measure_pairs
{
	my ($role) = @_;
	my @views = sort keys %columns;
	my ($pairs, $over, $worst) = (0, 0, 0);
	foreach my $i (0 .. $#views)
	{
		foreach my $j ($i .. $#views)
		{
			my ($one, $other) = @views[ $i, $j ];
			my @shared = can_join($role, $one, $other) or next;
			my $query = "SELECT count(a), count(b) FROM keypup.$one a JOIN keypup.$other b USING (" . join(', ', @shared) . ')';
			my $time = (sort { $a <=> $b } milliseconds($role, $query, $query))[0];
			my $sum = $alone{$one} + $alone{$other};
			my $ratio = $time / $sum;
			$pairs++;
			# Of a few milliseconds no ratio is worth anything.
			next if $time < 10;
			($time, $sum, $ratio) = measure_again($role, $query, $one, $other) if $ratio > 1.8;
			$worst = $ratio if $ratio > $worst;
			next if $ratio < 2;
			$over++;
			printf "%-62s %9.1f ms, alone %7.1f ms: %6.1f times\n", "$one, $other", $time, $sum, $ratio;
		}
	}
	printf "%s: %d pairs, %d above twice the sum, at most %.1f times\n", $role, $pairs, $over, $worst;
}

# The same queries for the same seed.
my $state;
sub draw { my ($choices) = @_; $state = ($state * 1103515245 + 12345) % 2**31; return int($state / 65536) % $choices; }
sub one_of { return $_[ draw(scalar @_) ]; }

sub random_filter
{
	my ($alias, $view) = @_;
	my $column = one_of(@{ $columns{$view} });
	my $type = $type{"$view.$column"};
	my $name = "$alias.$column";
	return "$name IS NOT NULL" if draw(4) == 0;
	return "$name >= now() - interval '@{[ one_of(7, 30, 90, 365) ]} days'" if $type =~ /^timestamp/;
	return "$name >= current_date - @{[ one_of(7, 30, 90, 365) ]}" if $type eq 'date';
	return "$name @{[ one_of('<', '>', '=') ]} @{[ draw(100) ]}" if $type =~ /^(bigint|integer|numeric|double precision)/;
	return "$name > interval '@{[ one_of(1, 24, 100) ]} hours'" if $type eq 'interval';
	return one_of('', 'NOT ') . $name if $type eq 'boolean';
	return "cardinality($name) > 0" if $type =~ /\[\]$/;
	return "$name @{[ one_of('LIKE', 'NOT LIKE') ]} '%@{[ one_of('a', 'open', '1', 'merged') ]}%'" if $type eq 'text';
	return "$name IS NOT NULL";
}

# A query, and the views that it reads.
sub random_query
{
	my ($role) = @_;
	my @views = sort keys %columns;
	my @chosen = one_of(@views);
	my $from = "keypup.$chosen[0] a";
	foreach my $alias (qw(b c)[ 0 .. 1 + draw(2) - 1 ])
	{
		# Tried one after the other: to ask of all what is a key takes longer than the queries.
		my ($view, @shared);
		foreach (1 .. 3 * @views)
		{
			$view = one_of(@views);
			last if @shared = can_join($role, $chosen[0], $view);
		}
		last unless @shared;
		$from .= ' ' . one_of('JOIN', 'LEFT JOIN') . " keypup.$view $alias ON " . join(' AND ', map { "$alias.$_ = a.$_" } @shared);
		push @chosen, $view;
	}
	my @aliases = qw(a b c)[ 0 .. $#chosen ];
	my @filters = map { my $place = draw(scalar @chosen); random_filter($aliases[$place], $chosen[$place]) } 1 .. draw(3);
	my $where = @filters ? ' WHERE ' . join(' AND ', @filters) : '';
	my $place = draw(scalar @chosen);
	my $by = "$aliases[$place]." . one_of(@{ $columns{ $chosen[$place] } });
	my $query = one_of(
		"SELECT " . join(', ', map { "count($_)" } @aliases) . " FROM $from$where",
		"SELECT $by, count(*) FROM $from$where GROUP BY 1 ORDER BY 2 DESC LIMIT 50",
		"SELECT * FROM $from$where ORDER BY $by LIMIT 100",
		"SELECT count(x) FROM (SELECT a.account_id, row_number() OVER (PARTITION BY $by ORDER BY a.account_id) AS place FROM $from$where) AS x WHERE x.place = 1");
	return ($query, @chosen);
}

sub measure_random
{
	my ($role) = @_;
	$state = $seed;
	my ($over, $slow, $worst) = (0, 0, 0);
	foreach (1 .. $queries)
	{
		my ($query, @views) = random_query($role);
		my ($time) = milliseconds($role, $query);
		my $sum = 0;
		$sum += $alone{$_} foreach @views;
		# What nobody waits for is not counted.
		next if $time < 50;
		my $ratio = $time / $sum;
		($time, $sum, $ratio) = measure_again($role, $query, @views) if $ratio > 20 || $time > 5000;
		$worst = $ratio if $ratio > $worst;
		next unless $ratio > 20 || $time > 5000;
		$over++ if $ratio > 20;
		$slow++ if $time > 5000;
		printf "%9.1f ms, alone %7.1f ms: %6.1f times: %s\n", $time, $sum, $ratio, $query;
	}
	printf "%s: %d random queries, %d above 20 times the sum, %d above 5 s, at most %.1f times\n", $role, $queries, $over, $slow, $worst;
}

foreach my $role (@roles)
{
	read_views($role);
	measure_pairs($role) if $wants_pairs;
	measure_random($role);
}
