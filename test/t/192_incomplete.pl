# Answers that are incomplete, contradictory or not to be stored, each as a story of its own, most of them through the background worker.
# Every query and every place that may be null: 191_partial.pl.
use strict;
use warnings;

use Digest::MD5 qw(md5_hex);
use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'ghp_INCOMPLETEPROBE0123456789';
my $name = 'demo/main';
my $github = start_github($token, '--points', '1000000', '--scopes', 'read:org', '--generate', "$name:pulls=48,issues=45,seed=5,releases=25,deployments=30,crowded=1",
	'--generate', 'demo/few:pulls=6,issues=23,seed=6,labels=8,releases=4,deployments=6,full=4', map { ('--generate', "quiet/r$_:pulls=2,issues=2,seed=$_,labels=2,milestones=2,releases=2,deployments=2") } 1 .. 8);
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1d'
keypup.deletion_delay = '1s'
CONF
$node->start;
sub query { return $node->safe_psql('postgres', 'SET client_min_messages = error; ' . $_[0]); }
sub faults { control($github, 'settings', { faults => [@_] }); return; }
sub nulls { my ($operation, $nulls, %match) = @_; return { match => { operation => $operation, %match }, nulls => $nulls }; }
sub change { my ($repository, $what, %more) = @_; return decode_json(control($github, 'change', { repository => $repository, change => $what, %more })); }
sub counters { return decode_json(control($github, 'counters')); }
my $false = JSON::PP::false;
# What is put off is tried at once: nobody wants to wait here.
my $hurry = q{WITH w AS (UPDATE keypup.sync_jobs SET due_at = now() WHERE due_at > now() AND kind <> 'existence' RETURNING job_id),
	woken AS MATERIALIZED (SELECT count(keypup.wake_launcher()) AS times FROM (SELECT FROM w LIMIT 1) x) };
sub settle { return $node->poll_query_until('postgres', $hurry . q{SELECT bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) AND NOT EXISTS (SELECT FROM keypup.sync_jobs WHERE due_at <= now()) AND (SELECT times >= 0 FROM woken) FROM keypup.sync_status}) ? 1 : 0; }
sub run_all
{
	my $time = query('SELECT clock_timestamp()');
	query(q{UPDATE keypup.sync_state SET next_run_at = now(); SELECT keypup.wake_launcher()});
	$node->poll_query_until('postgres', "$hurry SELECT bool_and(last_run_finished_at > '$time' AND phase = 'idle') AND (SELECT times >= 0 FROM woken) FROM keypup.sync_status");
	return settle();
}
sub start_over { my ($repository) = @_; query("SELECT count(keypup.untrack('acme', p.name)) FROM keypup.projects p WHERE p.name = '$repository'; SELECT keypup.track('acme', '$repository')"); return settle(); }
# The small repositories have no reviews.
sub differs { return join "\n", grep { !/^\w+: 0\|0\|0\|/ } split /\n/, differences($node, $github, $_[0] // $name); }
sub failures { return query("SELECT coalesce(string_agg(DISTINCT concat_ws(' ', kind, item_number, nullif(part, ''), reason), '; '), '') FROM keypup.sync_failures"); }

query('CREATE EXTENSION keypup');
query(q{CREATE ROLE olga LOGIN; CREATE ROLE vera LOGIN; CREATE ROLE mona LOGIN; CREATE ROLE eve LOGIN});
query(qq{SELECT keypup.create_account('acme'), keypup.create_account('other'), keypup.connect('acme', 'github', '$token', '$github->{url}'), keypup.add_member('acme', 'olga', 'owner'), keypup.add_member('acme', 'vera', 'viewer'),
	keypup.add_member('acme', 'mona', 'viewer'), keypup.add_member('other', 'eve', 'owner'); SELECT keypup.track('acme', '$name')});
ok(settle(), 'a repository is read');
is(differs(), '', 'and is the provider\'s');

# Half of what was asked for is null: it is asked for again, in smaller pieces, and stored.
foreach my $kind ([ 'RESOURCE_LIMITS_EXCEEDED', type => 'RESOURCE_LIMITS_EXCEEDED' ], [ 'FORBIDDEN', type => 'FORBIDDEN' ], [ 'a type that is not known', type => 'NEW_AND_STRANGE', message => 'So sorry.' ],
	[ 'no type' ], [ 'no error', error => $false ])
{
	my ($what, %null) = @$kind;
	faults(map { nulls($_, [ { path => 'nodes.*', every => 2, %null } ]) } qw(KeypupPullRequests KeypupIssues));
	ok(start_over($name), "every second item null with $what: the first reading ends");
	is(differs() . failures(), '', 'with all of it');
}
is(query('SELECT slowed_at IS NOT NULL FROM keypup.rate_budget'), 't', 'and the connection asks for less at once');

# Whatever is null in all of them is asked for until nothing is left but to say so.
foreach my $list (qw(reviews timelineItems labels assignees))
{
	faults(map { nulls($_, [ { path => "nodes.*.$list", type => 'RESOURCE_LIMITS_EXCEEDED' }, { path => "nodes.*.$list.nodes", error => $false } ]) } qw(KeypupPullRequests KeypupIssues));
	query("SELECT keypup.reread('acme', '$name')");
	settle();
	is(differs(), '', "$list null in each item, with what is stored: nothing is blanked");
	like(query('SELECT warning FROM keypup.sync_status'), qr/\d+ things could not be read or stored/, 'sync_status says so');
	like(failures(), qr/pull_requests \d+ GitHub says "Resource limits for this query exceeded\." \(RESOURCE_LIMITS_EXCEEDED\)/, 'and sync_failures says of what');
	faults();
	ok(run_all(), 'with the next good answers');
	is(differs() . failures() . query('SELECT warning FROM keypup.sync_status'), '', 'all is the provider\'s, and forgiven');
}
faults(nulls('KeypupNestedPages', [ { path => 'n*', every => 2, type => 'RESOURCE_LIMITS_EXCEEDED' } ]));
ok(start_over($name), 'every second page of nested lists null: the first reading ends');
is(differs() . failures(), '', 'with all of it');
faults(nulls('KeypupNestedPages', [ { path => 'n*', type => 'NOT_FOUND' } ]));
ok(start_over($name), 'every page of nested lists not found: the first reading ends');
isnt(differs(), '', 'without what is in them');
like(failures(), qr/pull_requests \d+ reviewThreads GitHub does not find what its list is in/, 'which sync_failures says');
faults();
ok(run_all(), 'the next run reads their items again');
is(differs() . failures(), '', 'with all of it, and nothing is left to say');

# data null: less of it is asked for.
faults(map { { match => { operation => $_, times => 3 }, body => { data => undef, errors => [ { type => 'RESOURCE_LIMITS_EXCEEDED', message => 'Resource limits for this query exceeded.' } ] } } } qw(KeypupPullRequests KeypupIssues KeypupNestedPages KeypupRepository KeypupPullRequestStubs));
ok(start_over($name), 'data null three times: the first reading ends');
is(differs() . failures(), '', 'with all of it');
faults({ match => { operation => 'KeypupPullRequests' }, body => { data => undef, errors => [ { type => 'RESOURCE_LIMITS_EXCEEDED', message => 'Resource limits for this query exceeded.' } ] } });
ok(start_over($name), 'data null for ever: it ends, too');
is(query(q{SELECT (SELECT count(*) FROM keypup.issues) || ' ' || (SELECT count(*) FROM keypup.pull_requests) || ' ' || (SELECT count(*) FROM keypup.sync_failures WHERE kind = 'pull_requests')}), '46 0 49', 'with all issues, and every pull request named');
is(query('SELECT warning FROM keypup.sync_status'), '49 of 95 issues and pull requests that the provider counts are not here; 49 things could not be read or stored, and are tried again: see keypup.sync_failures', 'which sync_status warns of');
faults();
ok(run_all(), 'they are tried again with the next run');
is(differs() . failures(), '', 'and are there');

# One thing cannot be stored: all else is, the run ends, and what comes later arrives.
query(q{SELECT keypup.untrack('acme', 'demo/main'); SELECT keypup.track('acme', 'demo/few')});
settle();
my $few = decode_json(control($github, 'truth?repository=demo/few'));
my ($pull, $issue) = (( grep { $_->{title} =~ /^item/ } @{ $few->{pullRequests} })[0], ( grep { $_->{title} =~ /^item/ } @{ $few->{issues} })[0]);
my ($release, $deployment) = ($few->{releases}[0], $few->{deployments}[0]);
sub raw { my ($path, $value, $item) = @_; return { path => $path, value => $value, raw => JSON::PP::true, error => $false, ($item ? (item => $item) : ()) }; }
my $long = join '', map { md5_hex($_) } 1 .. 400;
foreach my $bad (
	[ 'a title that is an object', KeypupPullRequests => raw('nodes.*.title', { unexpected => 'x' }, $pull->{id}), qr/^pull_requests $pull->{number} GitHub's answer is incomplete: title is an object where text is expected$/ ],
	[ 'a number for a title', KeypupIssues => raw('nodes.*.title', 5, $issue->{id}), qr/^issues $issue->{number} .*title is a number where text is expected$/ ],
	[ 'a url that is a list, of a comment', KeypupIssues => raw('nodes.*.timelineItems.nodes.0.url', [], $issue->{id}), qr/^issues $issue->{number} .*timelineItems\.nodes\.0\.url is a list where text is expected$/ ],
	[ 'a date that there is not', KeypupIssues => raw('nodes.*.createdAt', '2026-13-45T00:00:00Z', $issue->{id}), qr/createdAt is no time that there is$/ ],
	[ 'the end of time', KeypupPullRequests => raw('nodes.*.mergedAt', 'infinity', $pull->{id}), qr/mergedAt is no time that there is$/ ],
	[ 'the year 9999, by another clock', KeypupPullRequests => raw('nodes.*.mergedAt', '9999-12-31T23:59:59-10:00', $pull->{id}), qr/^pull_requests $pull->{number} it cannot be stored: .*violates check constraint/ ],
	[ 'a state that is none', KeypupPullRequests => raw('nodes.*.state', 'UNDECIDED', $pull->{id}), qr/^pull_requests $pull->{number} it cannot be stored: .*violates check constraint/ ],
	[ 'a review of a state that is none', KeypupPullRequests => raw('nodes.*.reviews.nodes.0.state', 'SHRUGGED', $pull->{id}), qr/^pull_requests $pull->{number} it cannot be stored: .*violates check constraint/ ],
	[ 'a number beyond all numbers', KeypupPullRequests => raw('nodes.*.additions', 1e30, $pull->{id}), qr/additions is no whole number$/ ],
	[ 'null in a list of labels', KeypupIssues => raw('nodes.*.labels.nodes.1', undef, $issue->{id}), qr/^issues $issue->{number} .*labels\.nodes\.1 is null$/ ],
	[ 'an id too long for an index', KeypupPullRequests => raw('nodes.*.reviews.nodes.0.fullDatabaseId', $long, $pull->{id}), qr/^pull_requests $pull->{number} it cannot be stored: index row/ ],
	[ 'a next page without a cursor', KeypupIssues => raw('nodes.*.labels.pageInfo', { hasNextPage => JSON::PP::true, endCursor => undef }, $issue->{id}), qr/labels\.pageInfo\.endCursor is null$/ ],
	[ 'a state of a thread\'s comments\' page', KeypupNestedPages => raw('n*.reviewThreads.nodes.0.comments.nodes.0.createdAt', 'soon', $pull->{id}), qr/^pull_requests $pull->{number} reviewThreads .*createdAt is no time that there is$/ ],
	[ 'a release without a tag', KeypupReleases => raw('nodes.*.tagName', undef, $release->{id}), qr/^releases GitHub's answer is incomplete: tagName is null$/, [ KeypupRepositoryById => raw('node.releases.nodes.*.tagName', undef) ] ],
	[ 'a deployment of another time', KeypupDeployments => raw('nodes.*.createdAt', '2026-02-30T00:00:00Z', $deployment->{id}), qr/^deployments GitHub's answer is incomplete: createdAt is no time that there is$/ ])
{
	my ($what, $operation, $null, $reason, @more) = @$bad;
	faults(nulls($operation, [$null]), map { nulls($_->[0], [ $_->[1] ]) } @more);
	query("SELECT keypup.reread('acme', 'demo/few')");
	ok(settle(), "$what: the run ends");
	like(failures(), $reason, 'it is named, and nothing else') if !@more;
	is(differs('demo/few'), '', 'and stays as it was');
	change('demo/few', 'comment', number => $few->{issues}[2]{number});
	run_all();
	is(differs('demo/few'), '', 'what changes meanwhile arrives');
	faults();
	query(q{CALL keypup.sync('acme')});
	settle();
	is(differs('demo/few') . failures(), '', 'and once it is answered well it is forgotten');
}
is(query(q{SELECT count(*) FROM keypup.pull_requests WHERE title LIKE '%unexpected%'}), '0', 'no such title was ever stored');

# The same when nothing is stored yet.
faults(nulls('KeypupPullRequests', [ raw('nodes.*.state', 'UNDECIDED', $pull->{id}) ]),
	(map { my ($operation, $place) = @$_; nulls($operation, [ raw("$place.labels.nodes.2.name", { a => 1 }), raw("$place.milestones.nodes.0.dueOn", '2026-00-00T00:00:00Z') ], repository => 'demo/few') } [ KeypupRepository => 'repository' ], [ KeypupRepositoryById => 'node' ]),
	nulls('KeypupLabels', [ raw('node.labels.nodes.2.name', { a => 1 }) ]), nulls('KeypupMilestones', [ raw('node.milestones.nodes.0.dueOn', '2026-00-00T00:00:00Z') ]));
ok(start_over('demo/few'), 'a first reading with a pull request, a label and a milestone that cannot be stored ends');
is(query(q{SELECT (SELECT count(*) FROM keypup.pull_requests) || ' ' || (SELECT count(*) FROM keypup.issues) || ' ' || (SELECT count(*) FROM keypup.labels)}), '9 27 7', 'all others are there');
is(query(q{SELECT string_agg(kind || ' ' || attempts, ', ' ORDER BY kind) FROM keypup.sync_failures}), 'labels 1, milestones 1, pull_requests 1', 'and these are named');
run_all();
is(query(q{SELECT string_agg(kind || ' ' || attempts || ' ' || (next_try_at > now() + interval '5 minutes'), ', ' ORDER BY kind) FROM keypup.sync_failures WHERE kind = 'pull_requests'}), 'pull_requests 2 true', 'the next run tries again, and the one after that waits a while');

# Who sees it.
is(as_role($node, 'vera', 'SELECT count(*) > 0 FROM keypup.sync_failures'), 't', 'a viewer of the account sees what failed');
is(as_role($node, 'eve', 'SELECT count(*) FROM keypup.sync_failures'), '0', 'a member of another account does not');
query(q{SELECT keypup.track('acme', 'quiet/r1')});
settle();
query(q{SELECT keypup.limit_member('acme', 'mona', ARRAY['quiet/r1'])});
is(as_role($node, 'mona', 'SELECT count(*) FROM keypup.sync_failures'), '0', 'nor one who is limited to other projects');
like(as_role($node, 'vera', 'DELETE FROM keypup.sync_failures'), qr/permission denied/, 'nobody changes it');
faults();
query(q{CALL keypup.sync('acme')});
is(failures() . differs('demo/few'), '', 'CALL keypup.sync does not wait, and all is there');

# Reading again, on demand.
my $number = $pull->{number};
query("UPDATE keypup.pull_requests SET title = 'changed here', additions = 0 WHERE number = $number AND project_id = (SELECT project_id FROM keypup.projects WHERE name = 'demo/few'); DELETE FROM keypup.comments WHERE item_number = $number");
run_all();
isnt(differs('demo/few'), '', 'what was broken here is not noticed by a run');
is(as_role($node, 'olga', "SELECT keypup.reread('acme', 'Demo/few', $number)"), '', 'an owner has one item read again');
settle();
is(differs('demo/few'), '', 'which mends it');
my $here = q{project_id = (SELECT project_id FROM keypup.projects WHERE name = 'demo/few')};
query("UPDATE keypup.issues SET title = 'changed here' WHERE $here; DELETE FROM keypup.releases WHERE $here; DELETE FROM keypup.reviews WHERE $here; DELETE FROM keypup.pull_requests WHERE number = $number AND $here");
is(as_role($node, 'olga', q{SELECT keypup.reread('acme', 'demo/few')}), '', 'or the project');
settle();
is(differs('demo/few'), '', 'which mends all of it, and finds what was lost');
like(as_role($node, 'vera', q{SELECT keypup.reread('acme', 'demo/few')}), qr/permission denied|does not exist/, 'a viewer may not');
is(as_role($node, 'olga', q{SELECT keypup.reread('acme', 'demo/none'); SELECT keypup.reread('acme', 'demo/few', 987654)}), 'project "demo/none" is not trackednumber 987654 of project "demo/few" is not known', 'nor can what is not there be read');
is(query(q{SELECT count(*), count(DISTINCT actor) FROM keypup.audit_log WHERE action = 'project.reread' AND detail LIKE '%emo/few%' AND actor = 'olga'}), '2|1', 'both stand in the audit log');

# Gone is what GitHub says is not found, and nothing else.
my @victims = map { $_->{number} } @{ $few->{issues} }[ 3, 4 ];
change('demo/few', 'delete', number => $victims[0]);
faults(nulls('KeypupIssues', [ { path => 'nodes.*', item => $few->{issues}[4]{id}, type => 'FORBIDDEN' } ]), nulls('KeypupExistence', [ { path => 'nodes.*', type => 'FORBIDDEN' } ]));
query("SELECT keypup.reread('acme', 'demo/few')");
settle();
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM keypup.sync_failures WHERE kind = 'existence'}), 'whether it is there is asked, and not answered');
is(query('SELECT count(*) FROM keypup.issues WHERE deleted_at IS NOT NULL'), '0', 'what the token may not see for a moment is not deleted');
faults();
query(q{CALL keypup.sync('acme')});
ok($node->poll_query_until('postgres', q{SELECT array_agg(number) = ARRAY[} . $victims[0] . q{::bigint] FROM keypup.issues WHERE deleted_at IS NOT NULL}), 'what is not found twice is');
is(query(q{SELECT count(*) FROM keypup.issues JOIN keypup.projects USING (account_id, project_id) WHERE name = 'demo/few' AND deleted_at IS NULL}) . failures(), scalar(@{ $few->{issues} }) - 1, 'and no other');

# What a token may not read is left out, said, and asked for again another day.
query(q{SELECT keypup.untrack('acme', 'demo/few'); SELECT keypup.track('acme', 'demo/few')});
settle();
my @refused = ([ KeypupRepositoryById => 'node.defaultBranchRef', 'branches' ], [ KeypupPullRequests => 'nodes.*.reviewRequests.nodes.*.requestedReviewer', 'teams' ],
	[ KeypupReleases => 'nodes.*.tagCommit', 'commits of releases' ], [ KeypupDeployments => 'nodes.*.commit', 'commits of deployments' ], [ KeypupDeployments => 'nodes.*.ref', 'branches of deployments' ]);
foreach my $refusal (@refused)
{
	my ($operation, $path, $words) = @$refusal;
	faults(nulls($operation, [ { path => $path, type => 'FORBIDDEN', message => 'Resource not accessible by integration' } ]));
	query("SELECT keypup.reread('acme', 'demo/few')");
	settle();
	is(failures() . ($words eq 'teams' ? '' : differs('demo/few')), '', "$path may not be read: nothing is lost or set aside");
	like(query(q{SELECT warning FROM keypup.sync_status WHERE project = 'demo/few'}), qr/the token may not read $words: they are left out/, 'and sync_status says so');
	faults();
	control($github, 'counters/reset', {});
	run_all();
	cmp_ok(counters()->{requests}, '<=', 4, 'it costs no requests after that');
	query("SELECT keypup.reread('acme', 'demo/few')");
	settle();
	is(differs('demo/few') . query(q{SELECT warning FROM keypup.sync_status WHERE project = 'demo/few'}), '', 'until it may be read again');
}

# Polls: what a poll does not answer for has a run.
query(q{SELECT count(keypup.track('acme', 'quiet/r' || n)) FROM generate_series(2, 8) n});
settle();
my @quiet = map { "quiet/r$_" } 1 .. 8;
my $at = query(q{SELECT array_position(array_agg(name ORDER BY project_id), 'quiet/r1') FROM keypup.projects}) - 1;
sub place { my ($list, $n) = @_; return $list . '.' . query("SELECT position - 1 FROM (SELECT name, row_number() OVER (ORDER BY project_id) AS position FROM keypup.projects) p WHERE name = 'quiet/r$n'"); }
change('quiet/r1', 'comment', number => 1);
change('quiet/r2', 'rename_milestone', milestone => 1, title => 'another title');
change('quiet/r3', 'new_release', tag => 'v99');
change('quiet/r4', 'comment', number => 1);
my $running = change('quiet/r5', 'new_deployment', state => 'IN_PROGRESS')->{id};
run_all();
is(join('', map { differs($_) } @quiet), '', 'polls notice changes');
change('quiet/r1', 'comment', number => 1);
change('quiet/r2', 'rename_milestone', milestone => 1, title => 'yet another title');
change('quiet/r3', 'new_release', tag => 'v100');
change('quiet/r4', 'comment', number => 1);
change('quiet/r5', 'deployment_status', deployment => $running, state => 'SUCCESS');
change('quiet/r6', 'new_deployment', state => 'SUCCESS');
faults(nulls('KeypupPoll', [ { path => place('nodes', 1), type => 'RESOURCE_LIMITS_EXCEEDED' }, { path => place('nodes', 2) . '.milestones', error => $false }, { path => place('nodes', 3) . '.latestRelease', type => 'RESOURCE_LIMITS_EXCEEDED' },
	{ path => place('nodes', 4) . '.issues', type => 'STRANGE' }, { path => 'unfinished.*', type => 'RESOURCE_LIMITS_EXCEEDED' }, { path => 'delivering.*', error => $false } ]));
run_all();
is(join('', map { differs($_) } @quiet), '', 'also where a poll is not answered in full');
faults({ match => { operation => 'KeypupPoll' }, body => { data => undef, errors => [ { type => 'RESOURCE_LIMITS_EXCEEDED', message => 'Too much.' } ] } });
change($_, 'comment', number => 1) foreach @quiet;
control($github, 'counters/reset', {});
run_all();
is(join('', map { differs($_) } @quiet), '', 'and where polls are not answered at all, down to one repository');
cmp_ok(counters()->{by_operation}{KeypupRepositoryById}{requests}, '>=', 8, 'each is asked for by itself');
faults();

# GitHub's own words.
my $error = sub { my ($type, $message, %more) = @_; return { body => { data => { node => undef }, errors => [ { type => $type, path => ['node'], message => $message, %more } ] } }; };
foreach my $refusal (
	[ $error->('FORBIDDEN', 'Although you appear to have the correct authorization credentials, the `acme` organization has an IP allow list enabled, and your IP address is not permitted to access this resource.'),
		qr/^repository "quiet\/r1" may not be read: the organization's IP allow list keeps this server out: GitHub says "Although you appear .* the `acme` organization has an IP allow list enabled/, qr/IP allow list at GitHub/ ],
	[ $error->('FORBIDDEN', "Resource protected by organization\nSAML enforcement.\x07 <b>You</b> must grant your OAuth token gho_ABCdef0123 access.", extensions => { saml_failure => JSON::PP::true }),
		qr/may not be read: the organization requires single sign-on for this token: GitHub says "Resource protected by organization SAML enforcement\. You must grant your OAuth token … access\."$/, qr/single sign-on/ ],
	[ $error->('FORBIDDEN', 'Who are you?'), qr/^repository "quiet\/r1" may not be read: GitHub says "Who are you\?" \(FORBIDDEN\)$/, qr/read access/ ],
	[ $error->('NOT_FOUND', 'Could not resolve to a node'), qr/^repository "quiet\/r1" does not exist, or the token may not read it$/, qr/Check the name/ ],
	[ { status => 403, body => { message => 'Sorry. Your account was suspended.' } }, qr/^the account, the organization or the app is suspended: GitHub says "Sorry\. Your account was suspended\."$/, qr/support/ ],
	[ { status => 403, body => { message => 'Repository access blocked', block => { reason => 'dmca' } } }, qr/^the repository is blocked at GitHub: GitHub says "Repository access blocked"$/, qr/owner/ ],
	[ { status => 403, body => { message => 'Something else.' } }, qr/^GitHub answered 403: Something else\.$/, qr/^$/ ])
{
	my ($fault, $reason, $hint) = @$refusal;
	faults({ match => { operation => 'KeypupRepositoryById' }, %$fault });
	$node->psql('postgres', q{CALL keypup.sync('acme', 'quiet/r1')});
	like(query(q{SELECT last_error FROM keypup.sync_status WHERE project = 'quiet/r1'}), $reason, 'GitHub says why');
	like(query(q{SELECT coalesce(last_error_hint, '') FROM keypup.sync_status WHERE project = 'quiet/r1'}), $hint, 'and what to do is said');
	faults();
	query(q{UPDATE keypup.connections SET blocked_until = NULL; CALL keypup.sync('acme', 'quiet/r1')});
}
is(differs('quiet/r1'), '', 'nothing was lost by it');

# What a person may see, and what could be tracked, is told in full or not at all.
my $viewer = sub { my ($nodes, @errors) = @_; return query(q{SELECT keypup.github_viewer_answer(a.account_id, gen_random_uuid(), 200, '{}', } . literal(encode_json({ data => { viewer => { id => 'U_1', login => 'ann' }, nodes => $nodes }, (@errors ? (errors => \@errors) : ()) })) . q{::jsonb, NULL) FROM keypup.accounts a WHERE name = 'acme'}); };
my $repository = { __typename => 'Repository', id => 'R_1', nameWithOwner => 'acme/one', visibility => 'PRIVATE', viewerPermission => 'READ', owner => { __typename => 'Organization', login => 'acme', viewerIsAMember => JSON::PP::true } };
like($viewer->([$repository]), qr/"groups": \["everyone", "organization acme", "repository acme\/one"\]/, 'a person belongs to what GitHub says');
like($viewer->([ $repository, undef ], { type => 'NOT_FOUND', path => [ 'nodes', 1 ] }), qr/"groups"/, 'a repository that they may not see is none of theirs');
like($viewer->([ $repository, undef ], { type => 'RESOURCE_LIMITS_EXCEEDED', path => [ 'nodes', 1 ] }), qr/"failed": "GitHub did not answer in full"/, 'one that was not answered for is not held against them');
like($viewer->([ $repository, undef ]), qr/"failed"/, 'nor one that is null without a word');
like($viewer->([ { %$repository, owner => undef } ]), qr/"failed"/, 'nor one without an owner');
my $found = sub { my ($nodes, @errors) = @_; return query(q{SELECT keypup.github_projects_answer(a.account_id, gen_random_uuid(), 200, '{}', } . literal(encode_json({ data => { viewer => { repositories => { pageInfo => { hasNextPage => $false }, nodes => $nodes } } }, (@errors ? (errors => \@errors) : ()) })) . q{::jsonb, NULL) FROM keypup.accounts a WHERE name = 'acme'}); };
my $one = { nameWithOwner => 'acme/one', visibility => 'PRIVATE', isArchived => $false, isFork => $false };
like($found->([ $one, undef ], { type => 'FORBIDDEN', path => [ 'viewer', 'repositories', 'nodes', 1 ] }), qr/"projects": \[\["acme\/one", "private", false, false\]\]/, 'what the token may not see it cannot track');
like($found->([ $one, undef ]), qr/"failed": "GitHub did not list the repositories in full"/, 'what is null without a word is missing');
like($found->(undef), qr/"failed"/, 'so is a list that is null');
$node->stop;
done_testing();
