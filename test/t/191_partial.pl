# GitHub answers in part: for every query of the sync, and every place of its answer that the published schema lets be null, that place is
# null, with an errors entry of each kind and without one. Nothing that is stored is blanked, every run ends, what was not answered is
# named, and once GitHub answers in full again the tables are the provider's. Single stories: 192_incomplete.pl.
use strict;
use warnings;

use FindBin;
use IPC::Run qw(run);
use JSON::PP;
use List::Util qw(max);
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $token = 'ghp_PARTIALPROBE0123456789';
# Many small repositories, of which each has one place empty in what it tells of itself; some whose lists have two pages; and one with many
# pull requests, issues and deployments, of which each has its own.
my @small = map { "small/r$_" } 1 .. 66;
my @long = map { "long/r$_" } 1 .. 62;
my @crowded_small = map { "crowded/r$_" } 1 .. 4;
my $items = 'items/all';
# Of these most items are found by their numbers, when they are read first.
my @numbered = map { "numbered/r$_" } 1 .. 14;
my @names = (@small, @long, @crowded_small, @numbered, $items);
my $github = start_github($token, '--points', '1000000',
	(map { ('--generate', "$_:pulls=2,issues=2,labels=3,milestones=2,releases=4,deployments=4") } @small),
	(map { ('--generate', "$_:pulls=1,issues=1,labels=101,milestones=101,releases=22,deployments=30") } @long),
	(map { ('--generate', "$_:pulls=1,issues=21,labels=51,milestones=1,releases=1,deployments=1,crowded=1,open=1") } @crowded_small),
	(map { ('--generate', "$_:pulls=2,issues=110,labels=3,milestones=1,releases=1,deployments=1") } @numbered),
	'--generate', "$items:pulls=0,issues=21,labels=51,milestones=1,releases=60,deployments=170,crowded=85,full=310,open=150,long_threads=40");
my $node = new_server($github, "keypup.sync_interval = '1d'\nfsync = off");
$node->start;
sub query { return $node->safe_psql('postgres', 'SET client_min_messages = error; ' . $_[0]); }
my $all = join ', ', map { "'$_'" } @names;
query('CREATE EXTENSION keypup');
query(qq{SELECT keypup.create_account('acme'), keypup.connect('acme', 'github', '$token', '$github->{url}'); SELECT keypup.track('acme', n) FROM unnest(ARRAY[$all]) n});
query(q{CALL keypup.sync('acme')});
keep_truth($node, $github, @names);
query('ANALYZE');
is(join("\n", map { "@$_" } differing($node)), '', scalar(@names) . ' repositories are read');

# The places, from the queries as they are sent and the schema.
my $requests = query(<<'SQL');
BEGIN;
CREATE TEMP TABLE of AS SELECT account_id, connection_id, min(project_id) AS project_id FROM keypup.projects GROUP BY 1, 2;
INSERT INTO keypup.projects (account_id, connection_id, name, tracked_by) SELECT account_id, connection_id, 'not/read', 'me' FROM of;
INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, arguments)
SELECT o.account_id, o.connection_id, o.project_id, kind, jsonb_build_object('after', NULL, 'seen', '[]'::jsonb)
  || CASE WHEN kind = 'numbers' THEN '{"items": [1]}'::jsonb WHEN kind IN ('pull_requests', 'merge_states', 'issues', 'releases', 'deployments') THEN '{"items": ["x"]}' ELSE '{}' END
FROM of o, unnest(ARRAY['repository', 'labels', 'milestones', 'pull_request_stubs', 'issue_stubs', 'pull_request_sweep', 'issue_sweep', 'pull_requests', 'merge_states', 'issues', 'numbers', 'releases', 'release_pages',
  'deployments', 'deployment_pages']) AS kind
UNION ALL SELECT p.account_id, p.connection_id, p.project_id, 'repository', '{}'::jsonb FROM keypup.projects p WHERE p.name = 'not/read'
UNION ALL
SELECT o.account_id, o.connection_id, o.project_id, 'nested_pages', jsonb_build_object('items', jsonb_agg(jsonb_build_object('item',
  CASE on_type WHEN 'PullRequest' THEN 'pull_request' WHEN 'Issue' THEN 'issue' WHEN 'Deployment' THEN 'deployment' WHEN 'StatusCheckRollup' THEN 'status_check_rollup' ELSE 'thread' END,
  'node', 'x', 'number', 1, 'connection', connection, 'after', NULL, 'seen', '[]'::jsonb)))
FROM of o, keypup.github_nested() GROUP BY 1, 2, 3;
SELECT (keypup.github_request(account_id, job_id)).body::jsonb || jsonb_build_object('name', kind || job_id) FROM keypup.sync_jobs ORDER BY job_id;
ROLLBACK;
SQL
$requests = join "\n", grep { /^\{/ } split /\n/, $requests;
my ($out, $error) = ('', '');
run([ 'node', 'test/schema/nullable.mjs' ], '<', \$requests, '>', \$out, '2>', \$error) or die $error;
my @places = map { decode_json($_) } split /\n/, $out;

# What a server may leave empty though it answers: a null there, without an error, is data.
my $data = qr/\.(?:endCursor|createdAt|updatedAt|closedAt|mergedAt|submittedAt|publishedAt|dueOn|name|author|actor|assignee|mergedBy|requestedReviewer|milestone|stateReason|pullRequestReview|review|reviewDecision|baseRef|branchProtectionRule|refUpdateRule|rules|user|requiredApprovingReviewCount|parameters|statusCheckRollup|conclusion|startedAt|completedAt|workflowRun|defaultBranchRef|latestRelease|tagCommit|ref|commit|environment|state)$|^rateLimit$/;
# What the token may not read is left out, and warned of: 192_incomplete.pl.
my $refusable = qr/(?:defaultBranchRef|latestRelease|tagCommit|\.ref|\.commit|requestedReviewer|statusCheckRollup|contexts|contexts\.nodes|contexts\.nodes\.\*|workflowRun|branchProtectionRule|refUpdateRule|rules|rules\..*|requiredApprovingReviewCount)$/;
my %cases;
my $count = 0;
foreach my $i (0 .. $#places)
{
	my $place = $places[$i];
	next if $place->{path} =~ /refUpdateRule\./;  # an administrator is told of the protection itself
	# Of types that say nothing each place has one: another, or none.
	foreach my $kind ('RESOURCE_LIMITS_EXCEEDED', 'FORBIDDEN', $i % 2 ? 'NEVER_SEEN_BEFORE' : 'no type', 'no entry')
	{
		next if $kind eq 'no entry' && $place->{path} =~ $data || $kind eq 'FORBIDDEN' && $place->{path} =~ $refusable;
		push @{ $cases{ $place->{operation} } }, { %$place, kind => $kind };
		$count++;
	}
}
diag(scalar(@places) . ' places of ' . scalar(keys %cases) . " queries may be null: $count cases");
cmp_ok(scalar(@places), '>', 280, 'all places that may be null are known');

# Which repository, or which item of one, has which case.
my @faults;
sub leave_empty
{
	my ($repository, $operation, @cases) = @_;
	push @faults, { match => { operation => $operation, repository => $repository }, cases => \@cases, nulls => [ map {
		{ path => $_->{path}, ($_->{item} ? (item => $_->{item}) : ()), ($_->{every} ? (every => $_->{every}) : ()), ($_->{kind} =~ / / ? () : (type => $_->{kind})), ($_->{kind} eq 'no entry' ? (error => JSON::PP::false) : ()) } } @cases ] };
}
sub ids { my ($kind, $where, $id) = @_; return split /\n/, query('SELECT ' . ($id // q{item->>'id'}) . " FROM truth WHERE repository = '$items' AND kind = '$kind' AND $where ORDER BY 1"); }
my $is_crowded = q{jsonb_array_length(item->'labels') > 50};
my $has_long_thread = q{jsonb_array_length(item#>'{reviewThreads,0,comments}') > 50};
my @crowded = ids('pullRequests', $is_crowded);
my @long_threads = ids('pullRequests', "NOT $is_crowded AND $has_long_thread", q{item#>>'{reviewThreads,0,id}'});
my @many_statuses = ids('deployments', q{jsonb_array_length(item->'statuses') > 10});
my $is_open = q{item->>'state' = 'OPEN'};
my $has_many_checks = q{jsonb_array_length(item->'checks') > 50};
my @many_checks = ids('pullRequests', $has_many_checks, q{'SCR_' || (item->>'id') || '_' || (item#>>'{commits,-1,oid}')});
my %pool = (KeypupPullRequests => [ ids('pullRequests', "NOT $is_crowded AND NOT $has_long_thread AND NOT $is_open") ], KeypupMergeStates => [ ids('pullRequests', "$is_open AND NOT $has_many_checks") ], KeypupIssues => [ ids('issues', "NOT $is_crowded AND item->>'title' ~ '^item'") ],
	KeypupDeployments => [ ids('deployments', q{jsonb_array_length(item->'statuses') BETWEEN 1 AND 10 AND item->'ref' <> 'null' AND item->'commit' <> 'null' AND item#>>'{creator,__typename}' = 'User'}) ],
	KeypupReleases => [ ids('releases', q{item->'author' <> 'null' AND item->'tagCommit' <> 'null'}) ]);
my %nested;
foreach my $case (@{ $cases{KeypupNestedPages} })
{
	next if $case->{path} eq 'rateLimit';
	my ($connection) = $case->{path} =~ /^n\*\.(\w+)/;
	push @{ $nested{ $connection // '' } }, $case;
}
my $not_placed = 0;
foreach my $operation (qw(KeypupPullRequests KeypupMergeStates KeypupIssues KeypupDeployments KeypupReleases))
{
	my @of = grep { $_->{path} ne 'rateLimit' } @{ $cases{$operation} };
	$_->{item} = shift @{ $pool{$operation} } foreach @of;
	$not_placed += grep { !$_->{item} } @of;
	leave_empty($items, $operation, grep { $_->{item} } @of);
}
# The budget is one of each answer, whatever is asked for.
foreach my $operation (qw(KeypupPullRequests KeypupMergeStates KeypupIssues KeypupDeployments KeypupReleases KeypupNestedPages))
{
	my @of = grep { $_->{path} eq 'rateLimit' } @{ $cases{$operation} };
	leave_empty($crowded_small[$_], $operation, $of[$_]) foreach 0 .. $#of;
}
my @nested_cases;
foreach my $connection (sort keys %nested)
{
	# A page that is null is so for all lists of its item: those have items of their own.
	my @ids = $connection eq '' ? splice @crowded, -5 : $connection eq 'statuses' ? @many_statuses : $connection eq 'contexts' ? @many_checks : $connection eq 'comments' ? @long_threads : @crowded;
	foreach my $case (@{ $nested{$connection} })
	{
		$case->{item} = shift @ids or $not_placed++;
		# Of a pull request the lists have one case each: only this one's pages are meant.
		push @nested_cases, $case if $case->{item};
	}
}
leave_empty($items, 'KeypupNestedPages', @nested_cases);
is($not_placed, 0, 'every case of an item has one');
my @list_operations = qw(KeypupReleasePages KeypupDeploymentPages KeypupLabels KeypupMilestones KeypupPullRequestStubs KeypupIssueStubs KeypupPullRequestSweep KeypupIssueSweep);
foreach my $operation (@list_operations)
{
	cmp_ok(scalar(@{ $cases{$operation} }), '<=', scalar(@long), "$operation has a repository for each case");
	leave_empty($long[$_], $operation, $cases{$operation}[$_]) foreach 0 .. $#{ $cases{$operation} };
}
# Stubs are asked for by themselves where a repository does not tell them.
foreach my $i (0 .. max(map { $#{ $cases{$_} } } qw(KeypupPullRequestStubs KeypupIssueStubs)))
{
	push @faults, map { my ($operation, $node) = @$_; { match => { operation => $operation, repository => $long[$i] }, cases => [], nulls => [ map { { path => "$node.$_.nodes", error => JSON::PP::false } } qw(pullRequests issues) ] } }
		[ KeypupRepository => 'repository' ], [ KeypupRepositoryById => 'node' ];
}
# Every third of the numbers, or all of them.
$_->{every} = 3 foreach grep { $_->{path} =~ /n\*/ } @{ $cases{KeypupNumbers} };
cmp_ok(scalar(@{ $cases{KeypupNumbers} }), '<=', scalar(@numbered), 'KeypupNumbers has a repository for each case');
leave_empty($numbered[$_], 'KeypupNumbers', $cases{KeypupNumbers}[$_]) foreach 0 .. $#{ $cases{KeypupNumbers} };
my @of_items_and_lists = @faults;
@faults = ();
# What a repository is first asked by its name is asked by its id later: the same place in both.
my @pairs = map { [ $cases{KeypupRepository}[$_], $cases{KeypupRepositoryById}[$_] ] } 0 .. max($#{ $cases{KeypupRepository} }, $#{ $cases{KeypupRepositoryById} });
is_deeply([ sort(@list_operations, qw(KeypupRepository KeypupRepositoryById KeypupPullRequests KeypupMergeStates KeypupIssues KeypupDeployments KeypupReleases KeypupNestedPages KeypupNumbers)) ], [ sort keys %cases ], 'every query has its cases');

my (%hit, @blanked, @lost, @stuck);
my %case_of;
sub count_hits
{
	my $report = decode_json(control($github, 'counters'))->{faults};
	foreach my $i (0 .. $#faults)
	{
		my @of = @{ $faults[$i]{cases} };
		$hit{"$of[$_]{operation} $of[$_]{path} ($of[$_]{kind})"} += $report->[$i]{emptied}[$_] // 0 foreach 0 .. $#of;
	}
}
sub note_stuck
{
	my ($when) = @_;
	# A repository of which nothing can be read has no run that could end.
	push @stuck, map { "$when: $_->[0]: " . ($case_of{ $_->[0] } // '') . ": $_->[1]" } grep { ($case_of{ $_->[0] } // '') !~ / (?:node|repository) \(/ }
		map { [ split /\|/, $_, 2 ] } split /\n/, query(q{SELECT project, coalesce(last_error, '') FROM keypup.sync_status WHERE phase <> 'idle'});
}
sub some { my (@list) = @_; return join "\n", map { substr $_, 0, 600 } @list[ 0 .. ($#list > 9 ? 9 : $#list) ]; }
my @all_pairs = @pairs;
my $rounds = 0;
while (@pairs)
{
	my $started = time;
	my @round = splice @pairs, 0, scalar @small;
	@faults = $rounds == 0 ? @of_items_and_lists : ();
	leave_empty($small[$_], $round[$_][0]{operation}, $round[$_][0]), leave_empty($small[$_], $round[$_][1]{operation}, $round[$_][1]) foreach 0 .. $#round;
	%case_of = map { my $fault = $_; $fault->{match}{repository} => join ' + ', map { "$_->{operation} $_->{path} ($_->{kind})" } @{ $fault->{cases} }[ 0 .. 0 ] } grep { @{ $_->{cases} } } @faults;
	my $asked = join ', ', map { "'$_'" } $rounds == 0 ? @names : @small;
	control($github, 'settings', { faults => [ map { { match => $_->{match}, nulls => $_->{nulls} } } @faults ] });

	# Their lists are short, and would not be read on.
	my $read_on = q{INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, arguments)
		SELECT account_id, connection_id, project_id, kind, '{"after": null, "first": 50}' FROM keypup.projects, unnest(ARRAY['pull_request_stubs', 'issue_stubs']) AS kind WHERE name ~ '^long/'};
	query("SELECT keypup.reread('acme', n) FROM unnest(ARRAY[$asked]) n;" . ($rounds == 0 ? "$read_on;" : '') . " CALL keypup.sync('acme')");
	note_stuck('read again');
	push @blanked, "$_->[0] ($case_of{$_->[0]}): $_->[1] $_->[2]" foreach differing($node);

	query("SELECT keypup.untrack('acme', n), keypup.track('acme', n) FROM unnest(ARRAY[$asked]) n; CALL keypup.sync('acme')");
	note_stuck('read first');
	count_hits();
	if ($rounds == 0)
	{
		my %aside = map { $_ => 1 } split /\n/, query(qq{SELECT DISTINCT item_id FROM keypup.sync_failures JOIN keypup.projects USING (account_id, project_id) WHERE name = '$items' AND part = '' AND kind IN ('pull_requests', 'issues')});
		my @of = grep { $_->{item} } @{ $cases{KeypupPullRequests} }, @{ $cases{KeypupIssues} };
		is(some(map { "$_->{operation} $_->{path} ($_->{kind})" } grep { !$aside{ $_->{item} } } @of), '', 'every item that was not answered is set aside');
		is(scalar(keys %aside), scalar(@of), 'and no other');
	}

	control($github, 'settings', { faults => [] });
	query(q{UPDATE keypup.sync_jobs SET due_at = now() WHERE due_at > now(); CALL keypup.sync('acme')});
	push @lost, "$_->[0] ($case_of{$_->[0]}): $_->[1] $_->[2]" foreach differing($node);
	push @lost, 'set aside still: ' . query('SELECT f FROM keypup.sync_failures f LIMIT 1') if query('SELECT count(*) FROM keypup.sync_failures');
	push @lost, 'jobs are left: ' . query(q{SELECT j FROM keypup.sync_jobs j WHERE kind <> 'existence' LIMIT 1}) if query(q{SELECT count(*) FROM keypup.sync_jobs WHERE kind <> 'existence'});
	$rounds++;
	diag(sprintf 'round %d: %.1f s', $rounds, time - $started);
}
is(some(@blanked), '', 'nothing that was stored is blanked');
is(some(@stuck), '', 'every run ends');
is(some(@lost), '', 'with the next good answers the tables are the provider\'s');
is(join("\n", grep { !$hit{$_} } sort keys %hit), '', scalar(keys %hit) . ' cases were seen');
is(scalar(keys %hit), $count, 'that is all of them');

# A slice of the same through the background worker: all items, and every ninth case of a list, of numbers and of a repository.
my $started = time;
my @slice = ($items, map { $_->[0] } grep { $_->[1] % 9 == 0 } map { my $of = $_; map { [ $of->[$_], $_ ] } 0 .. $#$of } \@long, \@numbered);
my %in_slice = map { $_ => 1 } @slice;
@faults = grep { $in_slice{ $_->{match}{repository} } } @of_items_and_lists;
# Of a repository of which nothing can be read no run could end.
my @of_repositories = grep { $_->[0]{path} =~ /\./ } @all_pairs;
foreach my $i (grep { $_ % 9 == 0 } 0 .. $#of_repositories)
{
	last if @slice >= 40;
	my $small = $small[ $i / 9 ] // last;
	leave_empty($small, $_->{operation}, $_) foreach @{ $of_repositories[$i] };
	push @slice, $small;
}
my $slice = join ', ', map { "'$_'" } @slice;
%hit = ();
control($github, 'settings', { faults => [ map { { match => $_->{match}, nulls => $_->{nulls} } } @faults ] });
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'keypup'");
$node->restart;
my $in_slice = "project_id IN (SELECT project_id FROM keypup.projects WHERE name IN ($slice))";
sub worker_has_read { my ($also) = @_; return $node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM keypup.sync_jobs WHERE in_run) AND NOT EXISTS (SELECT FROM keypup.sync_state WHERE phase <> 'idle' AND $in_slice)" . ($also // '')); }
query("SELECT keypup.reread('acme', n) FROM unnest(ARRAY[$slice]) n");
ok(worker_has_read(), 'the worker reads them again: every run ends');
is(some(map { "@$_" } differing($node)), '', 'nothing that was stored is blanked');
query("SELECT keypup.untrack('acme', n), keypup.track('acme', n) FROM unnest(ARRAY[$slice]) n WHERE n <> '$items'");
ok(worker_has_read(), 'it reads all but the items for the first time: every run ends');
count_hits();
cmp_ok(scalar(grep { $_ } values %hit), '>=', 300, 'with ' . scalar(grep { $_ } values %hit) . ' of ' . scalar(keys %hit) . ' cases');
control($github, 'settings', { faults => [] });
query("UPDATE keypup.sync_failures SET next_try_at = now(); UPDATE keypup.sync_jobs SET due_at = now() WHERE due_at > now(); UPDATE keypup.sync_state SET next_run_at = now() WHERE $in_slice; SELECT keypup.wake_launcher()");
ok(worker_has_read(' AND NOT EXISTS (SELECT FROM keypup.sync_failures)'), 'the next runs end, and nothing is set aside any more');
is(some(map { "@$_" } differing($node)), '', 'with the next good answers the tables are the provider\'s');
diag(sprintf 'the worker: %.1f s', time - $started);
$node->stop;
done_testing();
