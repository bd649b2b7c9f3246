# Answers that contradict themselves, what is stored, or one another: nothing is lost by them, every run ends, and with the next good
# answers the tables are the provider's.
use strict;
use warnings;

use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'ghp_CONTRADICTPROBE0123456789';
my ($name, $sparse, $delivering) = ('demo/main', 'demo/sparse', 'demo/delivering');
my $github = start_github($token, '--points', '1000000', '--generate', "$name:pulls=105,issues=60,seed=9,labels=6,milestones=4",
	'--generate', "$sparse:pulls=105,issues=230,seed=3,labels=4,milestones=2", '--generate', "$delivering:pulls=20,issues=10,labels=2,milestones=1,releases=3,deployments=20");
my $node = new_server($github, "keypup.sync_interval = '1d'\n");
$node->start;
my ($true, $false) = (JSON::PP::true, JSON::PP::false);
sub query { return $node->safe_psql('postgres', 'SET client_min_messages = error; ' . $_[0]); }
sub faults { control($github, 'settings', { faults => [@_] }); return; }
# What stands at a place of the answers of an operation instead of the truth, without a word.
sub untrue { my ($operation, @places) = @_; return { match => { operation => $operation }, nulls => [ map { { error => $false, raw => $true, %$_ } } @places ] }; }
sub change
{
	my ($what, %more) = @_;
	$more{number} += 0 if exists $more{number};
	my $answer = control($github, 'change', { repository => $name, change => $what, %more });
	return decode_json($answer)->{change} ? decode_json($answer) : die $answer;
}
sub truth { return decode_json(control($github, "truth?repository=$_[0]")); }
sub requests { my ($operation) = @_; return decode_json(control($github, 'counters'))->{by_operation}{$operation}{requests} // 0; }
sub run_all { return query(q{CALL keypup.sync('acme')}); }
sub reread { my ($number) = @_; return query("SELECT keypup.reread('acme', '$name', $number); CALL keypup.sync('acme')"); }
sub start_over { my ($repository) = @_; return query("SELECT count(keypup.untrack('acme', p.name)) FROM keypup.projects p WHERE p.name = '$repository'; SELECT keypup.track('acme', '$repository'); CALL keypup.sync('acme')"); }
sub failures { return query("SELECT coalesce(string_agg(DISTINCT concat_ws(' ', kind, reason), '; '), '') FROM keypup.sync_failures"); }
sub differs { return differences($node, $github, $_[0] // $name); }

query('CREATE EXTENSION keypup');
query(qq{SELECT keypup.create_account('acme'), keypup.connect('acme', 'github', '$token', '$github->{url}')});
start_over($name);
is(differs() . failures(), '', 'a repository is read');
my $main = truth($name);

# Lists that say that they have more than they have.
faults(untrue('KeypupRepositoryById', { path => 'node.labels.nodes', value => [] }, { path => 'node.milestones.nodes', value => [] }));
run_all();
is(differs(), '', 'an empty list of six labels, and of four milestones, deletes none');
faults(untrue('KeypupRepositoryById', map { { path => "node.$_.nodes.0", value => $main->{$_}[1] } } qw(labels milestones)));
run_all();
is(query('SELECT (SELECT count(*) FROM keypup.labels) || $$ $$ || (SELECT count(*) FROM keypup.milestones)'), '6 4', 'nor does one that names one of them twice');
faults();
run_all();
is(differs() . failures(), '', 'the next answer is believed');

# Lists that never end.
foreach my $list ([ 'labels', KeypupLabels => $main->{labels}[0] ], [ 'milestones', KeypupMilestones => $main->{milestones}[0] ])
{
	my ($field, $operation) = @$list;
	my $page = { totalCount => 1_000, pageInfo => { hasNextPage => $true, endCursor => 'again' }, nodes => [ { %{ $list->[2] }, url => 'https://example.com' } ] };
	faults(untrue('KeypupRepositoryById', { path => "node.$field.pageInfo", value => { hasNextPage => $true, endCursor => 'again' } }, { path => "node.$field.totalCount", value => 1_000 }),
		{ match => { operation => $operation }, body => { data => { rateLimit => undef, node => { id => 'R_1', $field => $page } } } });
	run_all();
	is(failures(), "$field GitHub's list does not go on: its next page is one that was read before", "$field that never end: the run does, and says so");
	is(differs(), '', 'and none is deleted');
	faults();
	run_all();
	is(differs() . failures(), '', 'the next list that ends is believed');
}

# Nor do lists of an item: the same page, or an empty one, comes round and round, each time with another cursor.
sub round_and_round
{
	my ($operation, $prefix, $item, $is_empty, @lists) = @_;
	my @empty = $is_empty ? map { { item => $item, path => "$prefix.$_.nodes", value => [] } } @lists : ();
	return untrue($operation, @empty, map { { item => $item, path => "$prefix.$_.pageInfo", value => { hasNextPage => $true, endCursor => 'round:$SERIAL' } } } @lists);
}
sub parts { return query(q{SELECT coalesce(string_agg(kind || ' ' || part, ', ' ORDER BY kind, part), '') FROM keypup.sync_failures WHERE reason = 'GitHub''s list does not go on: its next page is one that was read before'}); }
my ($busy) = grep { @{ $_->{reviewThreads} } > 1 && @{ $_->{reviews} } && @{ $_->{labels} } } @{ $main->{pullRequests} };
my ($labelled) = grep { @{ $_->{labels} } && @{ $_->{comments} } } @{ $main->{issues} };
my $thread = $busy->{reviewThreads}[0];
my @of_pull = qw(labels assignees reviewRequests reviews timelineItems closingIssuesReferences);
my @of_issue = qw(labels assignees timelineItems);
my $all_of_pull = 'pull_requests assignees, pull_requests closingIssuesReferences, pull_requests labels, pull_requests reviewRequests, pull_requests reviewThreads, pull_requests reviews, pull_requests timelineItems';
foreach my $is_empty (0, 1)
{
	my $which = $is_empty ? 'empty pages' : 'the same page';
	my $pages = round_and_round('KeypupNestedPages', 'n*', $busy->{id}, $is_empty, @of_pull, 'reviewThreads');
	push @{ $pages->{nulls} }, @{ round_and_round('KeypupNestedPages', 'n*', $labelled->{id}, $is_empty, @of_issue)->{nulls} };
	faults(round_and_round('KeypupPullRequests', 'nodes.*', $busy->{id}, $is_empty, @of_pull), round_and_round('KeypupIssues', 'nodes.*', $labelled->{id}, $is_empty, @of_issue), $pages);
	change('title', number => 2, title => "another $is_empty");
	control($github, 'counters/reset', {});
	query("SELECT keypup.reread('acme', '$name', $busy->{number}), keypup.reread('acme', '$name', $labelled->{number}); CALL keypup.sync('acme')");
	is(parts(), "issues assignees, issues labels, issues timelineItems, $all_of_pull", "$which without an end, for every list of an item: the run ends, and names them");
	cmp_ok(requests('KeypupNestedPages'), '<=', 60, 'soon');
	is(differs(), '', 'nothing is deleted, and all else is stored');
	faults();
	run_all();
	is(differs() . failures(), '', 'the next lists that end are believed');

	my @both = map { @{ $_->{nulls} } } round_and_round('KeypupNestedPages', 'n*', $busy->{id}, $is_empty, 'reviewThreads.nodes.0.comments'), round_and_round('KeypupNestedPages', 'n*', $thread->{id}, $is_empty, 'comments');
	faults({ match => { operation => 'KeypupNestedPages' }, nulls => \@both });
	reread($busy->{number});
	is(parts() . differs(), 'pull_requests reviewThreads', "$which without an end, for the comments of a thread");
	faults();
	run_all();
	is(differs() . failures(), '', 'until they end');
}
# What the pages of a list told is carried from one to the next, and so must not grow without end.
is(query(q{SELECT keypup.github_is_stuck('contexts', 'one', 'two', jsonb_build_array(repeat('x', 500000), repeat('y', 600000)), '["z"]', 3), keypup.github_is_stuck('contexts', 'one', 'two', jsonb_build_array(repeat('x', 500000)), '["z"]', 3)}), 't|f',
	'T54: nor does a list of an item go on with more than a mebibyte');

# A list of a repository that goes round is longer than it counts.
foreach my $list ([ pullRequests => 'KeypupPullRequestStubs', 'pull_request_stubs' ], [ issues => 'KeypupIssueStubs', 'issue_stubs' ])
{
	my ($field, $operation, $kind) = @$list;
	my $round = { path => "node.$field.pageInfo", value => { hasNextPage => $true, endCursor => 'round:$SERIAL' } };
	query("INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, arguments) SELECT account_id, connection_id, project_id, '$kind', '{\"after\": null, \"first\": 50, \"horizon\": null}' FROM keypup.projects");
	control($github, 'counters/reset', {});
	faults(untrue($operation, $round));
	run_all();
	is(failures(), "$kind GitHub's list does not go on: it has more than it counts", "a list of $field that goes round: the run ends");
	cmp_ok(requests($operation), '<=', 40, 'soon');
	faults();
	run_all();
	is(differs() . failures(), '', 'the next list that ends is believed');
}

# An answer about another: each was asked for by its id.
my $tracked = q{SELECT string_agg(name || ' ' || external_id, ', ') FROM keypup.projects};
my $before = query($tracked);
my $mixed_up = untrue('KeypupRepositoryById', { path => 'node.id', value => truth($sparse)->{repository}{id} }, { path => 'node.nameWithOwner', value => $sparse });
faults($mixed_up);
my $told = '';
# It is asked for again first, shorter and shorter.
foreach (1 .. 30) { query(q{CALL keypup.sync('acme', NULL, '2 seconds')}); last if $told = query('SELECT last_error FROM keypup.sync_status'); }
like($told, qr{^GitHub did not answer for repository "demo/main": the answer is about another$}, 'an answer about another repository is none');
faults();
run_all();
is(query($tracked), $before, 'and makes this one no other');
is(differs() . failures(), '', 'the next answer is believed');
my ($newer, $older) = (sort { $b->{updatedAt} cmp $a->{updatedAt} } grep { @{ $_->{comments} } < 20 } @{ $main->{issues} })[ 0, 9 ];
my $ids = q{SELECT string_agg(number || ' ' || global_id, ',' ORDER BY number) FROM keypup.issues};
my $known = query($ids);
faults(untrue('KeypupIssues', { item => $newer->{id}, path => 'nodes.*.id', value => $older->{id} }));
reread($newer->{number});
is(failures(), q{issues GitHub's answer is incomplete: it is about another}, 'an answer about another issue is none');
is(query($ids) . differs(), $known, 'and gives it no other id');
faults();
run_all();
is(differs() . failures(), '', 'the next answer is believed');
# What has the number of another, and a later time, hides that until all are compared.
faults(untrue('KeypupIssues', { item => $newer->{id}, path => 'nodes.*.number', value => $older->{number} }));
reread($newer->{number});
isnt(differs(), '', 'an issue under the number of another');
faults();
query("SELECT keypup.reread('acme', '$name'); CALL keypup.sync('acme')");
is(query($ids) . differs() . failures(), $known, 'each has its own again');

# An answer that is older than what is stored.
my ($pull) = grep { @{ $_->{reviews} } > 1 && @{ $_->{labels} } } @{ $main->{pullRequests} };
faults(untrue('KeypupPullRequests', map { { item => $pull->{id}, path => "nodes.*.$_->[0]", value => $_->[1] } } [ 'updatedAt', '2001-01-01T00:00:00Z' ], [ 'title', 'long ago' ],
	[ 'reviews.nodes', [] ], [ 'timelineItems.nodes', [] ], [ 'labels.nodes', [] ]));
reread($pull->{number});
is(differs() . failures(), '', 'an answer from before what is stored changes nothing, nor the lists in it');

# One from the future guards nothing.
faults(untrue('KeypupPullRequests', map { { item => $pull->{id}, path => "nodes.*.$_->[0]", value => $_->[1] } } [ 'updatedAt', '2099-01-01T00:00:00Z' ], [ 'title', 'years ahead' ]));
reread($pull->{number});
is(query("SELECT title FROM keypup.pull_requests WHERE number = $pull->{number}"), 'years ahead', 'one from the future is stored, as all else in it may be right');
faults();
reread($pull->{number});
is(differs() . failures(), '', 'and holds off no later one');

# Nor does it hide what changes before.
my ($first, $second) = @{ $main->{pullRequests} }[ 0, 1 ];
change('comment', number => $first->{number});
faults(untrue('KeypupRepositoryById', { path => 'node.pullRequests.nodes.0.updatedAt', value => '2099-01-01T00:00:00Z' }));
run_all();
faults();
change('comment', number => $second->{number});
run_all();
is(differs() . failures(), '', 'a list whose newest change is of 2099 hides none of today');

# More errors than anybody can read.
my $flood = { data => undef, errors => [ map { { type => 'SOMETHING', message => "error $_", path => [ 'nodes', $_ ] } } 1 .. 1_200 ] };
faults({ match => { operation => 'KeypupPullRequests', times => 2 }, body => $flood });
query("SELECT keypup.reread('acme', '$name'); CALL keypup.sync('acme')");
is(differs() . failures(), '', 'twelve hundred errors, twice: all is read');

# A bot with the login of a person takes nothing from them.
my $login = $pull->{author}{login};
my ($theirs) = grep { ($_->{author}{login} // '') eq $login } @{ $main->{issues} };
my $person = q{SELECT string_agg(concat_ws(' ', external_id, kind, login), ', ' ORDER BY external_id) FROM keypup.identities WHERE kind = 'user'};
my $people = query($person);
faults(untrue('KeypupIssues', { item => $theirs->{id}, path => 'nodes.*.author', value => { __typename => 'Bot', login => $login, id => 'BOT_impostor' } }));
reread($theirs->{number});
is(query($person), $people, 'every person is who they were');
is(query("SELECT kind || ' ' || login FROM keypup.identities WHERE external_id = 'BOT_impostor'"), "bot $login", 'and the bot is another');
faults();
reread($theirs->{number});
is(differs(), '', 'as the tables say');

# Who closed an issue is found under a new name.
my ($open) = grep { $_->{state} eq 'OPEN' } @{ $main->{issues} };
change('close', number => $open->{number}, actor => 'judy');
run_all();
change('rename_user', login => 'judy', to => 'judith');
change('comment', number => $open->{number}, actor => 'judith');
run_all();
is(query("SELECT closed_by FROM keypup.issues WHERE number = $open->{number}"), 'judith', 'who closed an issue is called as they are called now');
is(query(q{SELECT count(*) FROM keypup.issues WHERE closed_by = 'judy'}), '0', 'everywhere');

# Where numbers do not tell of all, the lists do.
faults({ match => { operation => 'KeypupNumbers' }, nulls => [ { path => 'node.n*', every => 2, type => 'NOT_FOUND' } ] });
control($github, 'counters/reset', {});
start_over($sparse);
is(differs($sparse) . failures(), '', 'every second number is not found: all is read');
cmp_ok(requests('KeypupIssueStubs'), '>=', 1, 'by the list');
faults();

# Most of the older numbers have nothing any more: that is no reason to ask for them twice.
my @oldest = (sort { $a->{updatedAt} cmp $b->{updatedAt} } @{ truth($sparse)->{issues} })[ 0 .. 119 ];
change('delete', repository => $sparse, number => $_->{number}) foreach @oldest;
control($github, 'counters/reset', {});
start_over($sparse);
is(differs($sparse) . failures(), '', 'a hundred and twenty numbers that nothing has: all else is read');
is(requests('KeypupNumbers'), 1, 'and they are asked for once');

# Of the statuses of a deployment nothing tells one from another.
faults(untrue('KeypupRepository', { path => 'repository.deployments.nodes.*.statuses.pageInfo', value => { hasNextPage => $true, endCursor => 'round:$SERIAL' } }),
	untrue('KeypupNestedPages', { path => 'n*.statuses.pageInfo', value => { hasNextPage => $true, endCursor => 'round:$SERIAL' } }));
control($github, 'counters/reset', {});
start_over($delivering);
is(parts(), join(', ', ('deployments statuses') x 20), 'the same page of statuses without an end, for twenty deployments');
cmp_ok(requests('KeypupNestedPages'), '<=', 60, 'soon');
faults();
run_all();
is(differs($delivering) . failures(), '', 'until they end');

# Nor does a time of the future hold anything off here.
faults(untrue('KeypupRepositoryById', (map { { path => "node.$_.nodes.0.updatedAt", value => '2099-01-01T00:00:00Z' } } qw(releases deployments)),
	{ path => 'node.releases.nodes.0.name', value => 'years ahead' }, { path => 'node.deployments.nodes.0.environment', value => 'years ahead' }));
run_all();
is(query(q{SELECT (SELECT count(*) FROM keypup.releases WHERE name = 'years ahead') || ' ' || (SELECT count(*) FROM keypup.deployments WHERE environment = 'years ahead')}), '1 1', 'a release and a deployment of 2099');
faults();
query("SELECT keypup.reread('acme', '$delivering'); CALL keypup.sync('acme')");
is(differs($delivering) . failures(), '', 'are called as they are with the next answer');

$node->stop;
done_testing();
