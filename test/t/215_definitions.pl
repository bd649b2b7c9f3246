# Every view that a member may read is defined, column by column: in the database, in doc/definitions.md with the same words, and
# in a page that explains it. So is every action of the audit log.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'keypup'");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION keypup');

# The lines that the comments of the database give; and what is in one of two lists of lines alone, with the view that it is of.
sub defined_lines
{
	my ($out, $error) = run_command([ 'psql', '-X', '-d', $node->connstr('postgres'), '-v', 'ON_ERROR_STOP=1', '-f', 'dev/definitions.sql' ]);
	is($error, '', 'the comments are read');
	return split /\n/, $out;
}

sub differences
{
	my ($ours, $theirs) = @_;
	my @sides = map {
		my $view = '';
		[ map { $view = $1 if /^## (\w+)/; "$view: $_" } @$_ ];
	} $ours, $theirs;
	my ($in_database, $in_page) = map { my $side = $_; +{ map { $_ => 1 } @$side } } @sides;
	return join "\n", (map { "only in the database: $_" } grep { !$in_page->{$_} } @{ $sides[0] }), (map { "only in the page: $_" } grep { !$in_database->{$_} } @{ $sides[1] });
}
my @page = split /\n/, slurp_file('doc/definitions.md');
my @database = defined_lines();
cmp_ok(scalar(grep { /^\| `/ } @database), '>', 300, 'hundreds of columns are compared');
is(differences(\@database, \@page), '', 'doc/definitions.md has the words of the COMMENTs: if not, run dev/definitions');
is(join("\n", @database), join("\n", @page), 'in their order');
is(join("\n", grep { /\bMISSING\b/ } @database), '', 'nothing is without a definition');

# A page says why, and how it is counted: not only what.
my $explained = join '', map { slurp_file($_) } grep { !m{/definitions\.md$} } glob('doc/*.md');
is(join(' ', grep { $explained !~ /\b\Q$_\E\b/ } map { /^## (\w+)/ } @database), '', 'every view is named in a page that explains it');

# What the page for BI tools names is there.
my %there = map { $_ => 1 } split(/\n/, $node->safe_psql('postgres', q{SELECT relname FROM pg_class WHERE relnamespace = 'keypup'::regnamespace UNION SELECT proname FROM pg_proc WHERE pronamespace = 'keypup'::regnamespace
	UNION SELECT attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = 'keypup'::regnamespace UNION SELECT unnest(string_to_array(name, '.')) FROM pg_settings})), qw(bi_tool node_id percentile_cont security_invoker);
my @named = map { /\b[a-z]+(?:_[a-z0-9]+)+\b/g } slurp_file('doc/bi-tools.md') =~ /`([^`]+)`/g;
cmp_ok(scalar @named, '>', 20, 'doc/bi-tools.md names views, columns and functions');
is(join(' ', grep { !$there{$_} } @named), '', 'and each is there');

my %action = map { $_ => 1 } join('', map { slurp_file($_) } glob('src/*/*.sql')) =~ /(?:record_action|record_durably|note_refusal)\([^;]*?'([a-z_]+\.[a-z_]+)'/g;
cmp_ok(scalar(keys %action), '>', 40, 'dozens of actions are recorded');
my $audit = slurp_file('doc/audit.md');
is(join(' ', grep { $audit !~ /`\Q$_\E`/ } sort keys %action), '', 'and each is in doc/audit.md');

# Each of these would have been noticed.
$node->safe_psql('postgres', q{COMMENT ON COLUMN keypup.pull_request_cycle.pickup_time IS 'Something else.'});
is(differences([ defined_lines() ], \@page), "only in the database: pull_request_cycle: | `pickup_time` | interval | Something else. |\nonly in the page: pull_request_cycle: | `pickup_time` | interval | Ready to the first review; NULL without one. |", 'another word');
$node->safe_psql('postgres', q{COMMENT ON VIEW keypup.pull_request_cycle IS NULL; CREATE VIEW keypup.undefined AS SELECT 1 AS one; GRANT SELECT ON keypup.undefined TO keypup_member});
is(scalar(grep { /\bMISSING\b/ } defined_lines()), 3, 'a view without a comment, and a new one with a column without one');
$node->stop;
done_testing();
