# GraphQL over the views, by PostGraphile: a viewer's rows and nobody else's, no secret, no two fields of one name.
use strict;
use warnings;

use FindBin;
use HTTP::Tiny;
use IPC::Run qw(run timeout);
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $folder = 'examples/postgraphile';
plan skip_all => 'PostGraphile\'s packages are not installed' unless -d "$folder/node_modules/postgraphile";
my $token = 'ghp_graphql0123456789abc';
my $github = start_github($token, map { ('--generate', $_) } 'demo/one:pulls=40,issues=20,seed=7', 'demo/two:pulls=10,issues=10,seed=8');
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1d'
CONF
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }

query('CREATE EXTENSION keypup');
# As an impersonation goes: the role that connects is in no account, and becomes who is.
query('CREATE ROLE vera; CREATE ROLE web LOGIN NOINHERIT IN ROLE vera; CREATE ROLE boss LOGIN SUPERUSER');
query(qq{SELECT keypup.create_account(a), keypup.connect(a, 'github', '$token', '$github->{url}') FROM unnest(ARRAY['acme', 'bolt']) a});
query(q{SELECT keypup.track('acme', 'demo/one'), keypup.track('bolt', 'demo/two'); SELECT keypup.add_member('acme', 'vera', 'viewer')});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 2 AND bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) FROM keypup.sync_status}), 'all is synced');
my $acme = query(q{SELECT account_id FROM keypup.accounts WHERE name = 'acme'});
my $project = query(q{SELECT project_id FROM keypup.projects WHERE name = 'demo/one'});

sub environment { my (%more) = @_; return (PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'postgres', PGUSER => 'web', PGROLE => 'vera', PORT => 0, %more); }

my $server;
{
	local %ENV = (%ENV, environment());
	$server = start_node("$folder/server.mjs");
}
my $http = HTTP::Tiny->new(timeout => $PostgreSQL::Test::Utils::timeout_default);

# The data of an answer, in which nothing went wrong.
sub data
{
	my ($text) = @_;
	my $reply = $http->post($server->{url}, { headers => { 'content-type' => 'application/json' }, content => encode_json({ query => $text }) });
	my $read = eval { decode_json($reply->{content}) } // {};
	ok($reply->{success} && !$read->{errors} && $read->{data}, 'no error: ' . substr($text, 0, 60)) or diag(substr($reply->{content}, 0, 2000));
	return $read->{data};
}

# Rows of a query as the viewer, as JSON.
sub rows
{
	my ($sql) = @_;
	return [ map { decode_json($_) } split /\n/, query("SET SESSION AUTHORIZATION vera; SELECT row_to_json(x) FROM ($sql) x") ];
}

# What is there: each relation of which a viewer reads a column, with these columns, and nothing more.
my $schema = data('{ __schema { mutationType { name } queryType { fields { name type { name } } }
	types { name fields { name type { name kind ofType { name kind ofType { name } } } } } } }')->{__schema};
is($schema->{mutationType}, undef, 'nothing can be changed');
my %type = map { $_->{name} => $_ } @{ $schema->{types} };
sub named { my ($type) = @_; $type = $type->{ofType} while !defined $type->{name}; return $type->{name}; }
my %is_row = map { $_->{name} eq 'nodes' ? (named($_->{type}) => 1) : () } map { @{ $type{$_}{fields} } } grep { /Connection$/ } keys %type;
my %columns;
foreach my $name (keys %is_row)
{
	my @fields = grep { my $of = named($_->{type}); !$is_row{$of} && $of !~ /Connection$/ && $_->{name} ne 'nodeId' } @{ $type{$name}{fields} };
	$columns{ join ' ', sort map { $_->{name} } @fields }++;
}
my %readable;
$readable{$_}++ foreach map { join ' ', sort map { s/_([a-z0-9])/\u$1/gr } split / / } split /\n/, query(q{SET SESSION AUTHORIZATION vera;
	SELECT string_agg(attname, ' ') FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
	WHERE c.relnamespace = 'keypup'::regnamespace AND c.relkind IN ('r', 'v') AND attnum > 0 AND NOT attisdropped AND has_column_privilege(c.oid, attnum, 'SELECT')
	GROUP BY c.oid});
is_deeply(\%columns, \%readable, 'each relation that a viewer reads, with the columns that a viewer reads');
cmp_ok(scalar keys %columns, '>', 80, 'these are many');
is(query(q{SET SESSION AUTHORIZATION vera; SELECT string_agg(attrelid::regclass || '.' || attname, ' ') FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
	WHERE c.relnamespace = 'keypup'::regnamespace AND c.relkind IN ('r', 'v') AND attname IN ('node_id', 'id') AND has_column_privilege(c.oid, attnum, 'SELECT')}), '', 'no column has a name that GraphQL has for its own');
my %seen = map { $_->{name} => 1 } map { @{ $_->{fields} // [] } } @{ $schema->{types} };
is(join(' ', grep { $seen{$_} } qw(token secret sealedToken envelope seed handle handleHash passwordHash)), '', 'no secret has a field');

# A view, filtered and in an order; the view of its hours; a table, with its relations.
my $merged = 'project_id = ' . $project . q{ AND state = 'merged'};
my $read = data('{ allPullRequestMetrics(condition: { state: "merged" }, orderBy: [CREATED_AT_DESC, NUMBER_DESC], first: 5) { totalCount nodes { project number author reviewerCount } }
	allPullRequestMetricsHours(condition: { state: "merged" }, orderBy: [CYCLE_TIME_HOURS_DESC, NUMBER_ASC], first: 5) { nodes { number cycleTimeHours } } }');
is($read->{allPullRequestMetrics}{totalCount}, rows("SELECT count(*) AS n FROM keypup.pull_request_metrics WHERE $merged")->[0]{n}, 'a view, filtered');
is_deeply($read->{allPullRequestMetrics}{nodes}, rows(q{SELECT project, number::text, author, reviewer_count AS "reviewerCount" FROM keypup.pull_request_metrics
	WHERE } . $merged . ' ORDER BY created_at DESC, number DESC LIMIT 5'), 'in an order');
is_deeply($read->{allPullRequestMetricsHours}{nodes}, rows(q{SELECT number::text, cycle_time_hours AS "cycleTimeHours" FROM keypup.pull_request_metrics_hours
	WHERE } . $merged . ' ORDER BY cycle_time_hours DESC, number LIMIT 5'), 'durations are hours');
my $one = rows(q{SELECT number FROM keypup.pull_requests p WHERE EXISTS (SELECT FROM keypup.reviews r WHERE r.pull_request_number = p.number) ORDER BY number LIMIT 1})->[0]{number};
$read = data(qq{{ pullRequestByAccountIdAndProjectIdAndNumber(accountId: "$acme", projectId: "$project", number: "$one") { title
	projectByAccountIdAndProjectId { name } reviewsByAccountIdAndProjectIdAndPullRequestNumber { nodes { author state } } } }});
$read = $read->{pullRequestByAccountIdAndProjectIdAndNumber};
is($read->{projectByAccountIdAndProjectId}{name}, 'demo/one', 'a table, along its keys');
sub sorted { return [ sort map { "$_->{author} $_->{state}" } @_ ]; }
is_deeply(sorted(@{ $read->{reviewsByAccountIdAndProjectIdAndPullRequestNumber}{nodes} }), sorted(@{ rows("SELECT author, state FROM keypup.reviews WHERE pull_request_number = $one") }), 'and back');

# Whose: the viewer's account's alone.
$read = data('{ allAccounts { nodes { name } } allProjects { nodes { name } } allPullRequests { totalCount } allIssueMetrics(condition: { project: "demo/two" }) { totalCount } }');
is_deeply($read->{allAccounts}{nodes}, [ { name => 'acme' } ], 'one account');
is_deeply($read->{allProjects}{nodes}, [ { name => 'demo/one' } ], 'one project');
is($read->{allPullRequests}{totalCount}, query("SELECT count(*) FROM keypup.pull_requests WHERE project_id = $project"), 'its pull requests');
is($read->{allIssueMetrics}{totalCount}, 0, 'no row of the other account');

is(${ $server->{stderr} }, '', 'nothing went wrong, no two fields had one name');
my ($status) = run_command([ 'curl', '-sS', '-o', '/dev/null', '-w', '%{http_code}', '-H', 'Host: attacker.example', '-H', 'Content-Type: application/json', '-d', '{"query": "{ __typename }"}', $server->{url} ]);
is($status, 421, 'another host name is not answered');
foreach my $case ([ 'a superuser', qr/"boss" sees every account/, PGUSER => 'boss', PGROLE => 'boss' ], [ 'over the network without an authority', qr/PGSSLROOTCERT is not set/, PGHOST => 'localhost' ])
{
	my ($what, $pattern, %more) = @$case;
	local %ENV = (%ENV, environment(%more));
	my ($out, $error) = ('', '');
	ok(!run([ 'node', "$folder/server.mjs" ], '>', \$out, '2>', \$error, timeout(180)), "$what: it does not start");
	like($error, $pattern, "$what: and says why");
}
$node->stop;
done_testing();
