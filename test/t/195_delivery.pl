# Releases and deployments: read whole, noticed when they change, lost when they are gone, and refused to some tokens.
use strict;
use warnings;

use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $token = 'ghp_DELIVERYPROBE0123456789';
my $github = start_github($token, '--generate', 'demo/main:pulls=6,issues=6,seed=7,releases=130,deployments=450,labels=9', '--generate', 'demo/few:pulls=3,issues=3,seed=8,releases=4,deployments=12,labels=9',
	map { ('--generate', "quiet/r$_:pulls=1,issues=1,seed=$_,labels=1,milestones=1") } 1 .. 98);
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1d'
keypup.deletion_delay = '1s'
restart_after_crash = on
CONF
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
sub change { my ($repository, $what, %more) = @_; return decode_json(control($github, 'change', { repository => $repository, change => $what, %more })); }
sub cost { return [ @{ decode_json(control($github, 'counters')) }{qw(requests points)} ]; }
sub reset_cost { control($github, 'counters/reset', {}); return; }
sub settle { return $node->poll_query_until('postgres', q{SELECT bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) AND NOT EXISTS (SELECT FROM keypup.sync_jobs WHERE due_at <= now()) FROM keypup.sync_status}) ? 1 : 0; }
# The time of all projects has come: they are polled.
sub run_all
{
	my $time = query('SELECT clock_timestamp()');
	query(q{UPDATE keypup.sync_state SET next_run_at = now(); SELECT keypup.wake_launcher()});
	$node->poll_query_until('postgres', "SELECT bool_and(last_run_finished_at > '$time' AND phase = 'idle') FROM keypup.sync_status");
	return settle();
}
sub differs { return differences($node, $github, $_[0]); }
my $of = sub { my ($table, $name) = @_; return "FROM keypup.$table JOIN keypup.projects USING (account_id, project_id) WHERE projects.name = '$name'"; };

query('CREATE EXTENSION keypup');
query(qq{SELECT keypup.create_account('acme'); SELECT keypup.connect('acme', 'github', '$token', '$github->{url}')});

# The first reading, with a crash in it.
control($github, 'settings', { latency_ms => 100, faults => [ { match => { operation => 'KeypupDeploymentPages', nth => 8 }, late => JSON::PP::true } ] });
query(q{SELECT keypup.track('acme', 'demo/main')});
ok($node->poll_query_until('postgres', 'SELECT count(*) >= 100 FROM keypup.deployments'), 'deployments are being read');
crash_server($node, query(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'keypup worker'}));
ok(settle(), 'and the reading ends');
control($github, 'settings', { latency_ms => 0, faults => [] });
is(query(q{SELECT (SELECT count(*) FROM keypup.releases), (SELECT count(*) FROM keypup.deployments)}), '130|450', 'with all releases and deployments');
is(differs('demo/main'), '', 'and every row is the provider\'s, from the lists\' later pages, and the statuses\', too');
cmp_ok(query(q{SELECT count(*) FROM keypup.deployments WHERE state = 'inactive' AND succeeded_at IS NOT NULL}), '>', 50, 'what a later deployment replaced has succeeded all the same');
cmp_ok(query(q{SELECT count(*) FROM keypup.deployments WHERE failed_at < succeeded_at}), '>', 5, 'some failed at first');
is(query(q{SELECT count(*) FROM keypup.deployments d JOIN truth t ON t.kind = 'deployments' AND t.item ->> 'id' = d.external_id WHERE jsonb_array_length(t.item -> 'statuses') > 10}) > 20, 1, 'many have more statuses than a page holds');
my $counters = decode_json(control($github, 'counters'));
is_deeply([ $counters->{violations}, $counters->{body_requests} ], [ [], 0 ], 'no asset, payload, log or note was asked for');

# What it costs.
query(q{SELECT keypup.track('acme', 'quiet/r1'), keypup.track('acme', 'demo/few')});
ok(settle(), 'two more are read');
reset_cost();
query(q{CALL keypup.sync('acme', 'quiet/r1')});
is_deeply(cost(), [ 1, 1 ], 'a run of a repository without any costs 1 request and 1 point');
is(differs('demo/few'), '', 'few of them are read with the repository itself');
reset_cost();
query(q{CALL keypup.sync('acme', 'demo/main')});
is_deeply(cost(), [ 1, 1 ], 'and so does one with 450 deployments and 130 releases where nothing changed');
my $written = q{SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables WHERE relname IN ('releases', 'deployments')};
# What is counted of before may come late.
foreach (1 .. 5)
{
	query('SELECT pg_stat_reset()');
	query(q{CALL keypup.sync('acme')});
	usleep(1_200_000);
	last if query($written) eq '0';
}
is(query($written), '0', 'a quiet run writes no row');
query(q{SELECT count(keypup.track('acme', 'quiet/r' || n)) FROM generate_series(2, 98) n});
ok(settle(), 'a hundred repositories are read');
reset_cost();
ok(run_all(), 'and polled');
is_deeply(cost(), [ 1, 3 ], 'quiet, they cost 1 request and 3 points, though two have deployments');

# A deployment alone, with no other change.
reset_cost();
my $new = change('demo/few', 'new_deployment', state => 'IN_PROGRESS', environment => 'production')->{id};
ok(run_all(), 'a deployment begins');
is(query(qq{SELECT state, succeeded_at IS NULL FROM keypup.deployments WHERE external_id = '$new'}), 'in_progress|t', 'the next poll notices it');
is_deeply(cost(), [ 2, 4 ], 'for one request more');
# Another begins, so that the first is not the newest when it ends.
my $later = change('demo/few', 'new_deployment', state => 'QUEUED', environment => 'staging')->{id};
run_all();
my $before = query(qq{SELECT deployments.external_id @{[ $of->('deployments', 'demo/few') ]} AND environment = 'production' AND state = 'active'});
change('demo/few', 'deployment_status', deployment => $new, state => 'SUCCESS');
reset_cost();
run_all();
is(query(qq{SELECT state, succeeded_at IS NOT NULL FROM keypup.deployments WHERE external_id = '$new'}), 'active|t', 'that it ended is noticed, too, though it is not the newest');
is(query(qq{SELECT state, succeeded_at IS NOT NULL FROM keypup.deployments WHERE external_id = '$before'}), 'inactive|t', 'and that the one before is inactive now');
is(differs('demo/few'), '', 'all is the provider\'s');
cmp_ok(cost()->[0], '<=', 3, 'for ' . cost()->[0] . ' requests');
# One that was replaced stands far behind in the list.
my $far = change('demo/main', 'new_deployment', environment => 'alone', state => 'SUCCESS')->{id};
change('demo/main', 'new_deployment', environment => 'other', state => 'FAILURE') foreach 1 .. 25;
run_all();
is(differs('demo/main'), '', '26 deployments, more than come with the repository, are read on');
change('demo/main', 'new_deployment', environment => 'alone', state => 'SUCCESS');
run_all();
is(query(qq{SELECT state FROM keypup.deployments WHERE external_id = '$far'}), 'inactive', 'one that was replaced is read again, wherever it stands');
is(differs('demo/main'), '', 'all is the provider\'s');
reset_cost();
run_all();
is_deeply(cost(), [ 1, 3 ], 'then it is quiet again');

# The first deployment of a repository that had none.
my $first = change('quiet/r50', 'new_deployment', state => 'SUCCESS')->{id};
foreach my $poll (1 .. 30)
{
	run_all();
	last if query(qq{SELECT count(*) FROM keypup.deployments WHERE external_id = '$first'});
}
is(query(qq{SELECT state FROM keypup.deployments WHERE external_id = '$first'}), 'active', 'the first deployment of a repository is noticed by one of some polls');

# Releases.
change('quiet/r60', 'new_release', tag => 'v1', title => 'One');
run_all();
is(query(qq{SELECT tag_name, releases.name, is_draft @{[ $of->('releases', 'quiet/r60') ]}}), 'v1|One|f', 'the first release is noticed');
change('quiet/r60', 'edit_release', tag => 'v1', title => 'The first', at => '2027-01-01T00:00:00Z');
run_all();
is(query(qq{SELECT releases.name @{[ $of->('releases', 'quiet/r60') ]}}), 'The first', 'and that it was edited');
change('demo/few', 'new_release', tag => 'v9', draft => JSON::PP::true, at => '2027-01-01T00:00:00Z');
query(q{CALL keypup.sync('acme', 'demo/few')});
is(query(qq{SELECT is_draft, published_at IS NULL, commit_at IS NULL @{[ $of->('releases', 'demo/few') ]} AND tag_name = 'v9'}), 't|t|t', 'a draft is one');
change('demo/few', 'publish_release', tag => 'v9', at => '2027-01-02T00:00:00Z');
run_all();
is(differs('demo/few'), '', 'until it is published');

# What is gone.
my $victim = query(qq{SELECT tag_name @{[ $of->('releases', 'demo/main') ]} ORDER BY releases.created_at LIMIT 1});
change('demo/few', 'delete_release', tag => 'v9');
change('demo/few', 'delete_deployment', deployment => $later);
change('demo/main', 'delete_release', tag => $victim);
control($github, 'settings', { faults => [ { match => { operation => 'KeypupExistence' }, status => 403, headers => { 'x-github-sso' => 'partial-results; organizations=1' }, body => { message => 'x' } } ] });
run_all();
is(query('SELECT (SELECT count(*) FROM keypup.releases WHERE deleted_at IS NOT NULL) + (SELECT count(*) FROM keypup.deployments WHERE deleted_at IS NOT NULL)'), '0', 'nothing is marked as deleted at first sight');
control($github, 'settings', { faults => [] });
query(q{CALL keypup.sync('acme', 'demo/main')});
ok($node->poll_query_until('postgres', q{WITH w AS (UPDATE keypup.sync_jobs SET due_at = least(due_at, now() + interval '1 second') WHERE kind = 'existence' AND lease_id IS NULL)
	SELECT (SELECT count(*) FROM keypup.releases WHERE deleted_at IS NOT NULL) = 2 AND (SELECT count(*) FROM keypup.deployments WHERE deleted_at IS NOT NULL) = 1}), 'what is gone twice is')
	or diag(query('SELECT kind, arguments, due_at FROM keypup.sync_jobs'));
is(query(q{SELECT string_agg(tag_name, ' ' ORDER BY tag_name COLLATE "C") FROM keypup.releases WHERE deleted_at IS NOT NULL}), join(' ', sort('v9', $victim)), 'and nothing else');
is(differs('demo/few') . differs('demo/main'), '', 'what is left is the provider\'s');
# Far behind in the list, nothing tells of it but a sweep.
$victim = query(qq{SELECT deployments.external_id @{[ $of->('deployments', 'demo/main') ]} ORDER BY deployments.created_at LIMIT 1 OFFSET 100});
change('demo/main', 'delete_deployment', deployment => $victim);
change('demo/main', 'edit_release', tag => query(qq{SELECT tag_name @{[ $of->('releases', 'demo/main') ]} AND deleted_at IS NULL ORDER BY releases.created_at LIMIT 1 OFFSET 3}), title => 'an old one, edited');
run_all();
isnt(differs('demo/main'), '', 'a change of what is old is not seen by a run');
query(qq{UPDATE keypup.sync_state SET next_sweep_at = now() WHERE project_id = (SELECT project_id FROM keypup.projects WHERE name = 'demo/main')});
query(q{CALL keypup.sync('acme', 'demo/main')});
ok($node->poll_query_until('postgres', qq{WITH w AS (UPDATE keypup.sync_jobs SET due_at = least(due_at, now() + interval '1 second') WHERE kind = 'existence' AND lease_id IS NULL) SELECT deleted_at IS NOT NULL FROM keypup.deployments WHERE external_id = '$victim'}), 'but by a sweep');
is(differs('demo/main'), '', 'which finds all of it');
settle();

# An old page overwrites nothing, and what is known of a success stays.
my ($account, $project) = split /\|/, query(qq{SELECT account_id, project_id FROM keypup.projects WHERE name = 'demo/few'});
query(qq{SELECT keypup.github_store_deployments('$account', $project, '[{"id": "$new", "environment": "production", "state": "PENDING", "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z", "statuses": {"nodes": [], "pageInfo": {"hasNextPage": false}}}]')});
is(differs('demo/few'), '', 'an older page overwrites nothing');
query(qq{SELECT keypup.github_store_deployments('$account', $project, '[{"id": "$new", "environment": "production", "state": "INACTIVE", "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2031-01-01T00:00:00Z", "statuses": {"nodes": [{"state": "INACTIVE", "createdAt": "2031-01-01T00:00:00Z"}], "pageInfo": {"hasNextPage": false}}}]')});
is(query(qq{SELECT state, succeeded_at IS NOT NULL FROM keypup.deployments WHERE external_id = '$new'}), 'inactive|t', 'a success that no status tells any more is still known');

# A page that the provider is too slow for is asked for in halves.
query(q{SELECT keypup.untrack('acme', 'demo/main')});
is(query(q{SELECT count(*) FROM keypup.releases JOIN keypup.projects USING (account_id, project_id) WHERE tag_name ~ '^v1[.]12[0-9]'}), '0', 'what is untracked is forgotten');
is(query(q{SELECT count(*) FROM keypup.deployments WHERE environment = 'alone'}), '0', 'with its deployments');
control($github, 'settings', { faults => [ { match => { operation => 'KeypupDeploymentPages', times => 2 }, status => 502, body => { message => 'timeout' } } ] });
reset_cost();
query(q{SELECT keypup.track('acme', 'demo/main')});
ok(settle(), 'a list whose pages time out is read');
is(differs('demo/main'), '', 'and nothing is lost in the halves');
cmp_ok(decode_json(control($github, 'counters'))->{by_operation}{KeypupDeploymentPages}{requests}, '>=', 18, 'the pages after it are no longer than it was');
control($github, 'settings', { faults => [] });

# When all of them deploy.
change("quiet/r$_", 'new_deployment', state => 'SUCCESS') foreach 1 .. 98;
query(q{CALL keypup.sync('acme')});
settle();
reset_cost();
run_all();
is_deeply(cost(), [ 1, 4 ], 'a hundred quiet repositories that all have deployments cost 1 request and 4 points');

# A token that may not read all: the rest is read, and it is said.
my $guarded = start_github($token, '--generate', 'safe/both:pulls=6,issues=6,seed=7,releases=25,deployments=30,labels=9', '--generate', 'safe/open:pulls=6,issues=6,seed=8,releases=3,deployments=5,labels=9',
	'--forbidden', 'safe/both:Repository.deployments');
append_to_file("$github->{dir}/two.pem", slurp_file($github->{ca_file}) . slurp_file($guarded->{ca_file}));
$node->append_conf('postgresql.conf', "keypup.ca_file = '$github->{dir}/two.pem'");
$node->reload;
query(qq{SELECT keypup.create_account('safe'); SELECT keypup.connect('safe', 'github', '$token', '$guarded->{url}'); SELECT keypup.track('safe', 'safe/both'), keypup.track('safe', 'safe/open')});
ok(settle(), 'repositories are read, of one of which the token may not read deployments');
is(query(q{SELECT count(*) FILTER (WHERE last_error IS NOT NULL), sum(items_done) FROM keypup.sync_status WHERE account = 'safe'}), '0|24', 'all issues and pull requests are there');
is(query(qq{SELECT (SELECT count(*) @{[ $of->('releases', 'safe/both') ]}), (SELECT count(*) @{[ $of->('deployments', 'safe/both') ]}), (SELECT count(*) @{[ $of->('deployments', 'safe/open') ]})}), '25|0|5', 'and all releases, and the other\'s deployments');
is(query(q{SELECT string_agg(project || ': ' || coalesce(substring(warning FROM 'the token may not .*'), 'none'), ', ' ORDER BY project) FROM keypup.sync_status WHERE account = 'safe'}),
	'safe/both: the token may not read deployments: they are left out, safe/open: none', 'sync_status says what is left out');
control($guarded, 'counters/reset', {});
query(q{CALL keypup.sync('safe', 'safe/both')});
is(decode_json(control($guarded, 'counters'))->{requests}, 1, 'it is not asked for again');
control($guarded, 'settings', { forbidden => [ 'Repository.deployments', 'Repository.releases', 'Repository.latestRelease' ] });
query(q{CALL keypup.sync('safe')});
query(q{UPDATE keypup.sync_state SET next_run_at = now(); SELECT keypup.wake_launcher()});
ok(settle(), 'a token may lose a right');
is(query(q{SELECT count(*) FILTER (WHERE last_error IS NULL AND warning ~ 'releases and deployments') FROM keypup.sync_status WHERE account = 'safe'}), '2', 'which is no error');
is(query(qq{SELECT count(*) @{[ $of->('deployments', 'safe/open') ]} AND deleted_at IS NULL}), '5', 'and deletes nothing');
control($guarded, 'settings', { forbidden => [] });
query(q{UPDATE keypup.sync_state SET refused_at = now() - interval '25 hours'});
query(q{CALL keypup.sync('safe')});
settle();
is(query(q{SELECT count(*) FROM keypup.sync_status WHERE account = 'safe' AND warning ~ 'may not read'}), '0', 'a day later it is asked again');
is(differences($node, $guarded, 'safe/both') . differences($node, $guarded, 'safe/open'), '', 'and what may be read now is');
control($guarded, 'settings', { forbidden => ['Repository.deployments'] });
query(q{CALL keypup.sync('safe')});
control($guarded, 'settings', { forbidden => [] });
query(qq{SELECT keypup.replace_token('safe', 'github', '$token'); CALL keypup.sync('safe')});
is(query(q{SELECT count(*) FROM keypup.sync_status WHERE account = 'safe' AND warning ~ 'may not read'}), '0', 'another token is asked at once');

# An older server, without them.
control($guarded, 'settings', { without => [ 'Repository.deployments', 'Release.tagCommit' ] });
query(qq{SELECT keypup.untrack('safe', 'safe/both'); SELECT keypup.track('safe', 'safe/both')});
ok(settle(), 'a server that has no deployments is read');
is(query(qq{SELECT (SELECT count(*) @{[ $of->('releases', 'safe/both') ]} AND commit_at IS NULL), (SELECT count(*) @{[ $of->('deployments', 'safe/both') ]}), (SELECT missing_fields::text FROM keypup.connections JOIN keypup.accounts USING (account_id) WHERE accounts.name = 'safe')}),
	'25|0|{Release.tagCommit,Repository.deployments}', 'without, and it is known');
control($guarded, 'counters/reset', {});
run_all();
is(query(q{SELECT count(*) FROM keypup.sync_status WHERE account = 'safe' AND last_error IS NOT NULL}) . ' ' . decode_json(control($guarded, 'counters'))->{by_operation}{KeypupPoll}{requests}, '0 1', 'a poll asks for none of it');
control($guarded, 'settings', { without => [] });

# Teams, with the scopes of a token.
query(q{UPDATE keypup.connections SET missing_fields = '{}'});
my $pull = change('quiet/r70', 'new_pull_request', title => 'For a team')->{number};
change('quiet/r70', 'request_review', number => $pull, team => 'core');
change('quiet/r70', 'assign', number => $pull, assignee => 'alice', actor => 'bob');
query(q{CALL keypup.sync('acme', 'quiet/r70')});
my $asked = qq{SELECT requested_reviewers, (SELECT string_agg(concat_ws(' ', event, actor, subject), ', ' ORDER BY event, subject) FROM keypup.timeline_events e WHERE e.project_id = pull_requests.project_id AND e.item_number = $pull AND actor IS NOT NULL) @{[ $of->('pull_requests', 'quiet/r70') ]} AND number = $pull};
is(query($asked), '{quiet/core}|assigned bob alice, review_requested octocat quiet/core', 'a team that was asked for a review is one, and an assignment an event');
control($github, 'settings', { scopes => ['repo'] });
change('quiet/r70', 'assign', number => $pull, assignee => 'newcomer', actor => 'bob');
reset_cost();
query(q{INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, arguments, in_run)
	SELECT account_id, connection_id, project_id, 'pull_requests', jsonb_build_object('items', jsonb_build_array(global_id)), false FROM keypup.pull_requests JOIN keypup.projects USING (account_id, project_id) WHERE projects.name = 'quiet/r70' AND number = } . $pull);
query('SELECT keypup.wake_launcher()');
ok($node->poll_query_until('postgres', qq{SELECT count(*) = 1 FROM keypup.timeline_events WHERE event = 'assigned' AND subject = 'newcomer'}), 'a token that lost read:org meanwhile is asked without teams');
is(decode_json(control($github, 'counters'))->{refused}, 1, 'after one refusal');
is(query(q{SELECT count(*) FROM keypup.sync_status WHERE account = 'acme' AND last_error IS NOT NULL}), '0', 'which is no error');
is(query($asked) =~ s/\|.*//r, '{}', 'and tells of none');
control($github, 'settings', { scopes => [ 'repo', 'read:org' ] });
cmp_ok(query(q{SELECT count(*) FROM keypup.issue_metrics WHERE queue_time >= interval '0'}), '>', 0, 'issues have a queue time');
$node->stop;
done_testing();
