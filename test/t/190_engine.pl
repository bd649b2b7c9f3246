# The engine: what it costs, what it finds that nobody told it, how it gives way to the provider, and that nobody waits for others.
use strict;
use warnings;

use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $token = 'ghp_ENGINEPROBE0123456789';
my $github = start_github($token, '--generate', 'demo/main:pulls=120,issues=80,seed=7', map { ('--generate', "many/r$_:pulls=1,issues=1,seed=$_,labels=1,milestones=1") } 1 .. 99);
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1d'
keypup.deletion_delay = '1s'
CONF
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
sub change_at { my ($server, $repository, $what, %more) = @_; return decode_json(control($server, 'change', { repository => $repository, change => $what, %more })); }
sub change { my ($repository, $what, %more) = @_; return decode_json(control($github, 'change', { repository => $repository, change => $what, %more })); }
sub counters { return decode_json(control($github, 'counters')); }
sub settle { my ($what) = @_; return $node->poll_query_until('postgres', q{SELECT bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) AND NOT EXISTS (SELECT FROM keypup.sync_jobs WHERE due_at <= now()) FROM keypup.sync_status}) ? 1 : 0; }
# The time of all projects has come.
sub due { query(q{UPDATE keypup.sync_state SET next_run_at = now(); SELECT keypup.wake_launcher()}); return; }
sub finished_since { my ($time, $count) = @_; return $node->poll_query_until('postgres', "SELECT count(*) >= $count FROM keypup.sync_status WHERE last_run_finished_at > '$time' AND phase = 'idle'"); }
sub run_all { my $time = query('SELECT clock_timestamp()'); due(); finished_since($time, query('SELECT count(*) FROM keypup.projects')); return settle(); }

query('CREATE EXTENSION keypup');
query(qq{SELECT keypup.create_account('acme'); SELECT keypup.connect('acme', 'github', '$token', '$github->{url}'); SELECT keypup.track('acme', 'demo/main');
	SELECT count(keypup.track('acme', 'many/r' || n)) FROM generate_series(1, 99) n});
ok(settle(), 'a hundred repositories are read');
is(differences($node, $github, 'demo/main'), '', 'every row is the provider\'s');
is(query(q{SELECT finishes_at IS NULL, percent FROM keypup.sync_status WHERE project = 'demo/main'}), 't|100', 'and progress is at its end');

# Polls.
my $written = q{SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables WHERE relname IN ('projects', 'pull_requests', 'issues', 'reviews', 'comments', 'timeline_events', 'labels', 'milestones', 'identities', 'people')};
# What is counted of before may come late.
foreach (1 .. 5)
{
	query('SELECT pg_stat_reset()');
	control($github, 'counters/reset', {});
	ok(run_all(), 'the time of all of them comes');
	is_deeply([ @{ counters() }{qw(requests points)} ], [ 1, 3 ], 'a hundred quiet repositories are asked for in 1 request for 3 points');
	usleep(1_500_000);
	last if query($written) eq '0';
}
is(query($written), '0', 'and no row is written');
control($github, 'counters/reset', {});
change('many/r7', 'comment', number => 1);
change('many/r8', 'rename_milestone', milestone => 1, title => 'renamed quietly');
ok(run_all(), 'two of them change');
is(query(q{SELECT count(*) FROM keypup.comments JOIN keypup.projects USING (account_id, project_id) WHERE name = 'many/r7' AND comments.created_at > now() - interval '1 hour'}), '1', 'the comment is there');
is(query(q{SELECT count(*) FROM keypup.milestones WHERE title = 'renamed quietly'}), '1', 'and the milestone, whose change bumps nothing else');
cmp_ok(counters()->{requests}, '<=', 5, 'for ' . counters()->{requests} . ' requests');

# What updatedAt does not tell.
my $open = query(q{SELECT min(number) FROM keypup.pull_requests JOIN keypup.projects USING (account_id, project_id) WHERE name = 'demo/main' AND state = 'open'});
my $closed = query(q{SELECT min(number) FROM keypup.issues JOIN keypup.projects USING (account_id, project_id) WHERE name = 'demo/main' AND state = 'closed'});
change('demo/main', 'comment', number => $open + 0, bump => JSON::PP::false);
run_all();
isnt(differences($node, $github, 'demo/main'), '', 'a comment that did not bump updatedAt is not seen by a run');
query(q{UPDATE keypup.sync_state SET next_recheck_at = now()});
run_all();
is(differences($node, $github, 'demo/main'), '', 'but when open items are read again');

# Times that would make views fail.
foreach my $table (qw(pull_requests issues comments))
{
	my ($code, $out, $error) = $node->psql('postgres', "UPDATE keypup.$table SET created_at = 'infinity'");
	like($error, qr/violates check constraint/, "no time without end is stored in $table");
}

# Lost updates that others are known for.
change('demo/main', 'title', number => $closed + 0, title => 'edited after it was closed', at => '2031-01-01T00:00:00Z');
change('demo/main', 'close', number => $open + 0, at => '2031-01-01T00:00:01Z');
change('demo/main', 'reopen', number => $open + 0, at => '2031-01-01T00:00:02Z');
change('demo/main', 'merge', number => $open + 0, at => '2031-01-01T00:00:03Z');
my $oldest = query(q{SELECT number FROM keypup.issues JOIN keypup.projects USING (account_id, project_id) WHERE name = 'demo/main' ORDER BY issues.created_at LIMIT 1});
change('demo/main', 'comment', number => $oldest + 0, at => '2031-01-01T00:00:04Z');
my $many = query(q{SELECT max(number) FROM keypup.pull_requests JOIN keypup.projects USING (account_id, project_id) WHERE name = 'demo/main' AND state = 'merged'});
change('demo/main', 'review', number => $many + 0, actor => "reviewer$_", at => sprintf('2031-01-02T%02d:%02d:00Z', $_ / 60, $_ % 60)) foreach 1 .. 120;
run_all();
is(differences($node, $github, 'demo/main'), '', 'an edit after the end, a reopening before a merge, a comment on the oldest issue and 120 more reviews are all there');

# Deletion, and what must not look like one.
my @victims = split /\n/, query(q{SELECT number FROM keypup.issues JOIN keypup.projects USING (account_id, project_id) WHERE name = 'demo/main' ORDER BY number LIMIT 3});
query(q{UPDATE keypup.sync_state SET next_sweep_at = now() WHERE project_id = (SELECT project_id FROM keypup.projects WHERE name = 'demo/main')});
run_all();
is(query('SELECT count(*) FROM keypup.issues WHERE deleted_at IS NOT NULL'), '0', 'a sweep of what is whole marks nothing');
change('demo/main', 'delete', number => $_ + 0) foreach @victims;
control($github, 'settings', { faults => [ { match => { operation => 'KeypupExistence' }, status => 403, headers => { 'x-github-sso' => 'partial-results; organizations=1' }, body => { message => 'x' } } ] });
query(q{UPDATE keypup.sync_state SET next_sweep_at = now() WHERE project_id = (SELECT project_id FROM keypup.projects WHERE name = 'demo/main')});
run_all();
is(query('SELECT count(*) FROM keypup.issues WHERE deleted_at IS NOT NULL'), '0', 'an answer that hides some organizations deletes nothing');
ok($node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM keypup.sync_jobs WHERE kind = 'existence'; }), 'it is asked again');
query(q{UPDATE keypup.sync_jobs SET due_at = now() WHERE kind = 'existence'});
control($github, 'settings', { faults => [] });
ok($node->poll_query_until('postgres', q{WITH w AS (UPDATE keypup.sync_jobs SET due_at = least(due_at, now() + interval '1 second') WHERE kind = 'existence' AND lease_id IS NULL) SELECT count(*) = 3 FROM keypup.issues WHERE deleted_at IS NOT NULL}), 'what is gone twice is marked as deleted');
is(query(q{SELECT string_agg(number::text, ' ' ORDER BY number) FROM keypup.issues WHERE deleted_at IS NOT NULL}), join(' ', sort { $a <=> $b } @victims), 'and nothing else');
run_all();
is(query(q{SELECT items_done = items_total FROM keypup.sync_status WHERE project = 'demo/main'}), 't', 'the counts agree with the provider\'s again');

# A repository that is gone for a while: nothing is lost, and it goes on.
control($github, 'settings', { faults => [ { match => { operation => 'KeypupPoll' }, status => 502, body => {} }, { match => { operation => 'KeypupRepositoryById' }, body => { data => { node => undef }, errors => [ { type => 'NOT_FOUND', path => ['node'], message => 'Could not resolve to a node' } ] } } ] });
my $rows = query('SELECT count(*) FROM keypup.pull_requests');
$node->psql('postgres', q{CALL keypup.sync('acme', 'demo/main')});
like(query(q{SELECT last_error FROM keypup.sync_status WHERE project = 'demo/main'}), qr/does not exist, or the token may not read it/, 'a repository that may not be read any more is an error');
is(query('SELECT count(*) FROM keypup.pull_requests WHERE deleted_at IS NULL'), $rows, 'which keeps its rows');
control($github, 'settings', { faults => [] });
query(q{CALL keypup.sync('acme', 'demo/main')});
is(query(q{SELECT last_error IS NULL FROM keypup.sync_status WHERE project = 'demo/main'}), 't', 'and when it may be read again the sync goes on');

# Or it may not be read any more while a run is at it: then nothing of it is there, whatever is asked for.
my $all_is_gone = { path => 'nodes.*', type => 'NOT_FOUND', message => 'Could not resolve to a node' };
my $deleted = q{SELECT (SELECT count(*) FROM keypup.issues WHERE deleted_at IS NOT NULL) + (SELECT count(*) FROM keypup.pull_requests WHERE deleted_at IS NOT NULL)};
my $deleted_before = query($deleted);
control($github, 'settings', { faults => [ (map { { match => { operation => $_ }, nulls => [ $all_is_gone ] } } qw(KeypupPullRequests KeypupIssues KeypupMergeStates)),
	{ match => { operation => 'KeypupExistence' }, nulls => [ $all_is_gone, { %$all_is_gone, path => 'node' } ] } ] });
query(q{UPDATE keypup.sync_state SET next_recheck_at = now() WHERE project_id = (SELECT project_id FROM keypup.projects WHERE name = 'demo/main')});
query(q{CALL keypup.sync('acme', 'demo/main')});
ok($node->poll_query_until('postgres', qq{WITH w AS (UPDATE keypup.sync_jobs SET due_at = least(due_at, now() + interval '1 second') WHERE kind = 'existence' AND lease_id IS NULL)
	SELECT ($deleted) > $deleted_before OR EXISTS (SELECT FROM keypup.sync_status WHERE project = 'demo/main' AND last_error ~ 'does not exist, or the token may not read it')}), 'a repository that may not be read any more in the middle of a run is an error, too');
is(query($deleted), $deleted_before, 'and nothing of it counts as deleted');
control($github, 'settings', { faults => [] });
ok($node->poll_query_until('postgres', q{WITH w AS (UPDATE keypup.sync_jobs SET due_at = least(due_at, now() + interval '1 second') WHERE kind = 'existence' AND lease_id IS NULL)
	SELECT count(*) = 0 FROM keypup.sync_jobs WHERE kind = 'existence'}), 'when it may be read again, what was asked for is there');
is(query($deleted), $deleted_before, 'all of it');
query(q{CALL keypup.sync('acme', 'demo/main')});

# What was not stored yet is not lost either, where for a while all of it is said not to be there: by a repository that may be read, and by one that may not.
foreach my $may_be_read (1, 0)
{
	my $name = "lost/r$may_be_read";
	my $here = "project_id = (SELECT project_id FROM keypup.projects WHERE name = '$name')";
	my $hurry = "WITH w AS (UPDATE keypup.sync_jobs SET due_at = least(due_at, now() + interval '1 second') WHERE kind = 'existence' AND lease_id IS NULL)";
	control($github, 'repository', { generate => "$name:pulls=30,issues=30,seed=5$may_be_read" });
	control($github, 'settings', { faults => [ (map { { match => { operation => $_ }, nulls => [$all_is_gone] } } qw(KeypupPullRequests KeypupIssues)),
		($may_be_read ? () : { match => { operation => 'KeypupExistence' }, nulls => [ $all_is_gone, { %$all_is_gone, path => 'node' } ] }) ] });
	query("SELECT keypup.track('acme', '$name')");
	ok($node->poll_query_until('postgres', "SELECT last_run_finished_at IS NOT NULL AND phase = 'idle' FROM keypup.sync_status WHERE project = '$name'"), 'a first reading ends in which no item is there');
	ok($node->poll_query_until('postgres', "$hurry SELECT last_error ~ 'does not exist, or the token may not read it' OR NOT EXISTS (SELECT FROM keypup.sync_jobs WHERE $here) FROM keypup.sync_status WHERE project = '$name'"), 'whether they are is an error') if !$may_be_read;
	is(query("SELECT (SELECT count(*) FROM keypup.pull_requests WHERE $here) + (SELECT count(*) FROM keypup.issues WHERE $here)"), '0', 'none is stored');
	change($name, 'delete', number => decode_json(control($github, "truth?repository=$name"))->{issues}[0]{number});
	control($github, 'settings', { faults => [] });
	ok($node->poll_query_until('postgres', "$hurry SELECT NOT EXISTS (SELECT FROM keypup.sync_jobs WHERE $here)"), 'it is asked until it can be told');
	is(differences($node, $github, $name), '', 'and all is read that is there');
}

# A name is used again by another repository: ids tell them apart.
change('many/r9', 'rename', to => 'many/moved');
control($github, 'repository', { generate => 'many/r9:pulls=5,issues=5,seed=99' });
query(q{CALL keypup.sync('acme', 'many/r9')});
is(query(q{SELECT name, items_total FROM keypup.sync_status s JOIN keypup.projects p USING (account_id, project_id) WHERE project = 'many/moved'}), 'many/moved|2', 'a renamed repository stays itself when its name is used again');
query(q{SELECT keypup.track('acme', 'many/r9')});
ok($node->poll_query_until('postgres', q{SELECT items_done = 10 FROM keypup.sync_status WHERE project = 'many/r9'}), 'and the other is tracked by that name');

# The provider objects: fewer requests at once, and nothing lost.
control($github, 'repository', { generate => 'big/one:pulls=400,issues=300,seed=21' });
control($github, 'settings', { secondary_concurrency => 3, secondary_retry_after => 1, latency_ms => 60 });
control($github, 'counters/reset', {});
query(q{SELECT keypup.track('acme', 'big/one')});
ok(settle(), 'a repository is read though more than three requests at once are refused');
is(differences($node, $github, 'big/one'), '', 'and nothing is lost');
cmp_ok(query('SELECT concurrency FROM keypup.rate_budget'), '<', 12, 'the connection has learnt to ask less at once');
is(query('SELECT slowed_at IS NOT NULL FROM keypup.rate_budget'), 't', 'and says so');
control($github, 'settings', { secondary_concurrency => undef, latency_ms => 0 });

# Too slow for a large question: smaller ones.
control($github, 'repository', { generate => 'big/slow:pulls=60,issues=20,seed=22' });
control($github, 'settings', { faults => [ { match => { operation => 'KeypupPullRequests', times => 4 }, status => 502, body => { message => 'timeout' } } ] });
query(q{UPDATE keypup.connections SET blocked_until = NULL; SELECT keypup.track('acme', 'big/slow')});
ok(settle(), 'a repository is read whose answers time out');
is(differences($node, $github, 'big/slow'), '', 'and nothing is lost in the halves');
control($github, 'settings', { faults => [] });

# An older server.
my $older = start_github($token, '--generate', 'demo/old:pulls=30,issues=30,seed=31,small_ids=1', '--without', 'PullRequest.fullDatabaseId,PullRequestReview.fullDatabaseId,PullRequestReviewComment.fullDatabaseId,Issue.stateReason,PullRequest.closingIssuesReferences,Repository.visibility');
append_to_file("$github->{dir}/three.pem", slurp_file($github->{ca_file}) . slurp_file($older->{ca_file}));
$node->append_conf('postgresql.conf', "keypup.ca_file = '$github->{dir}/three.pem'");
$node->reload;
query(qq{SELECT keypup.create_account('old'); SELECT keypup.connect('old', 'github', '$token', '$older->{url}'); SELECT keypup.track('old', 'demo/old')});
ok($node->poll_query_until('postgres', q{SELECT phase = 'idle' AND items_done = 60 FROM keypup.sync_status WHERE account = 'old'}), 'an older Enterprise Server is read') or diag(query(q{SELECT * FROM keypup.sync_status WHERE account = 'old'}));
is(query(q{SELECT 'PullRequest.fullDatabaseId' = ANY (missing_fields), last_error IS NULL FROM keypup.connections c JOIN keypup.sync_status s USING (account_id) WHERE account = 'old'}), 't|t', 'what it lacks is learnt');
is(query(q{SELECT count(*) FROM keypup.reviews r JOIN keypup.accounts a USING (account_id) WHERE a.name = 'old' AND r.external_id !~ '^[0-9]+$'}), '0', 'and its ids are the same as ever');
# Duplicates: asked for where the server can be asked.
my $reason_of = sub {
	my ($number, $reason) = @_;
	change_at($older, 'demo/old', 'close', number => $number, state_reason => 'DUPLICATE');
	query(q{UPDATE keypup.connections SET missing_fields = '{}'; UPDATE keypup.sync_state SET next_run_at = now(); SELECT keypup.wake_launcher()});
	return $node->poll_query_until('postgres', qq{SELECT state_reason = '$reason' FROM keypup.issues i JOIN keypup.accounts a USING (account_id) WHERE a.name = 'old' AND number = $number});
};
my @open = map { $_->{number} } grep { $_->{state} eq 'OPEN' } @{ decode_json(control($older, 'truth?repository=demo/old'))->{issues} };
control($older, 'settings', { without => ['Issue.stateReason(enableDuplicate)'] });
ok($reason_of->($open[0], 'not_planned'), 'a server that cannot be asked for duplicates tells of them as not planned');
is(query(q{SELECT missing_fields FROM keypup.connections c JOIN keypup.accounts a USING (account_id) WHERE a.name = 'old'}), '{stateReason(enableDuplicate)}', 'which is learnt');
control($older, 'settings', { without => [] });
ok($reason_of->($open[1], 'duplicate'), 'elsewhere they are duplicates');
control($older, 'settings', { without => ['PullRequest.timelineItems'] });
$node->psql('postgres', q{UPDATE keypup.sync_state SET next_recheck_at = now(); CALL keypup.sync('old')});
like(query(q{SELECT last_error FROM keypup.sync_status WHERE account = 'old'}), qr/lacks PullRequest.timelineItems/, 'a field that is needed is named');

# Fairness: nobody waits behind a large repository.
control($github, 'repository', { generate => 'huge/one:pulls=2000,issues=1000,seed=41' });
control($github, 'repository', { generate => "late/r$_:pulls=5,issues=5,seed=4$_" }) foreach 1 .. 5;
control($github, 'settings', { latency_ms => 100, faults => [ { match => { repository => 'huge/one' }, delay_ms => 200 } ] });
query(q{UPDATE keypup.connections SET blocked_until = NULL, concurrency = 4, slowed_at = now(); SELECT keypup.track('acme', 'huge/one')});
ok($node->poll_query_until('postgres', q{SELECT items_done > 100 AND finishes_at > now() AND percent BETWEEN 1 AND 99 FROM keypup.sync_status WHERE project = 'huge/one'}), 'a large repository is being read, of which is known when it will be done');
query(q{SELECT count(keypup.track('acme', 'late/r' || n)) FROM generate_series(1, 5) n});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 5 FROM keypup.sync_status WHERE project ~ '^late/' AND phase = 'idle' AND items_done = 10}), 'five small ones that came later are read');
ok($node->poll_query_until('postgres', q{SELECT phase = 'idle' AND items_done = items_total FROM keypup.sync_status WHERE project = 'huge/one'}), 'and it comes to its end, too');
is(query(q{SELECT bool_and(last_run_finished_at < (SELECT last_run_finished_at FROM keypup.sync_status WHERE project = 'huge/one')) FROM keypup.sync_status WHERE project ~ '^late/'}), 't', 'after those');
control($github, 'settings', { latency_ms => 0, faults => [] });

# One token, two databases: one budget.
query('CREATE DATABASE second');
$node->safe_psql('second', qq{CREATE EXTENSION keypup; SELECT keypup.create_account('bolt'); SELECT keypup.connect('bolt', 'github', '$token', '$github->{url}')});
control($github, 'settings', { points_limit => 5000, points_remaining => 240, reset_in_seconds => 3000 });
query(q{UPDATE keypup.connections SET blocked_until = NULL});
$node->psql('postgres', q{CALL keypup.sync('acme', 'demo/main')});
like(query(q{SELECT blocked_reason FROM keypup.rate_budget WHERE account = 'acme'}), qr/only the reserve/, 'the last twentieth of a token\'s budget is left for its people');
is(query(q{SELECT rate_reserve, rate_remaining <= rate_reserve, blocked_until BETWEEN now() + interval '40 minutes' AND now() + interval '60 minutes' FROM keypup.rate_budget WHERE account = 'acme'}), '250|t|t', 'until the hour ends');
control($github, 'counters/reset', {});
$node->safe_psql('second', q{SELECT keypup.track('bolt', 'demo/main')});
ok($node->poll_query_until('second', q{SELECT blocked_until > now() FROM keypup.connections}), 'another database that uses the token waits, too');
is(counters()->{requests}, 0, 'and has asked nothing');
nobody_is_in($node, 'second');
query('DROP DATABASE second');

# Ten thousand projects of a hundred accounts are due at once.
query(q{ALTER SYSTEM SET keypup.workers = 1; SELECT pg_reload_conf();
	INSERT INTO keypup.accounts (name) SELECT 'crowd ' || n FROM generate_series(1, 100) n;
	INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by) SELECT account_id, 'github', 'github', 'https://api.github.com', 'test' FROM keypup.accounts WHERE name ~ '^crowd';
	INSERT INTO keypup.projects (account_id, connection_id, name, external_id, tracked_by) SELECT account_id, connection_id, 'crowd/r' || n, 'R_crowd' || n, 'test' FROM keypup.connections JOIN keypup.accounts a USING (account_id), generate_series(1, 100) n WHERE a.name ~ '^crowd'});
# In one transaction that is rolled back: the worker would ask the real GitHub.
my $started = time;
my $answer = query(q{BEGIN; INSERT INTO keypup.sync_state (account_id, project_id, last_run_finished_at, next_run_at) SELECT account_id, project_id, now(), now() FROM keypup.projects WHERE name ~ '^crowd';
	SELECT keypup.start_due_runs(NULL, NULL, false, 100) >= 10000;
	SELECT count(*) FROM keypup.sync_jobs WHERE kind = 'poll' AND jsonb_array_length(arguments -> 'items') = 100;
	SELECT count(*), count(DISTINCT connection_id) FROM keypup.claim_jobs(1000000, 64, NULL, NULL); ROLLBACK});
is($answer, "t\n100\n64|64", 'ten thousand are a hundred requests, and 64 connections have a turn each');
diag(sprintf 'scheduled in %.1f s', time - $started);
$node->stop;
done_testing();
