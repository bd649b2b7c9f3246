# Answers that come late: asked for before something was called otherwise, or deleted, and stored after that was known. What is newer
# stays, and what was asked for is asked again.
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

my $token = 'ghp_LATEPROBE0123456789';
my ($name, $other) = ('demo/main', 'demo/other');
my $github = start_github($token, '--points', '1000000', '--generate', "$name:pulls=20,issues=30,seed=7,labels=8,milestones=4", '--generate', "$other:pulls=2,issues=2,labels=2,milestones=1");
my $node = new_server($github, "shared_preload_libraries = 'keypup'\nkeypup.sync_interval = '1d'\n");
$node->start;
sub query { return $node->safe_psql('postgres', "SET client_min_messages = error; $_[0]"); }
sub faults { control($github, 'settings', { faults => [@_] }); return; }
sub change
{
	my ($what, %more) = @_;
	$more{number} += 0 if exists $more{number};
	my $answer = control($github, 'change', { repository => $name, change => $what, %more });
	return decode_json($answer)->{change} ? decode_json($answer) : die $answer;
}
sub reread { my ($number, $repository) = @_; return query("SELECT keypup.reread('acme', '" . ($repository // $name) . "', $number)"); }
sub settled { return $node->poll_query_until('postgres', q{SELECT bool_and(phase = 'idle') AND (SELECT count(*) FROM keypup.sync_jobs) = 0 FROM keypup.sync_state}) ? 'settled' : 'not settled'; }
sub becomes { my ($sql, $what) = @_; ok($node->poll_query_until('postgres', $sql), $what); return; }
# The next answer to an operation is kept, until release.
sub keep_answer { my ($operation) = @_; faults({ match => { operation => $operation, times => 1 }, late => JSON::PP::true }); return; }
my $kept_at;
sub wait_until_kept { until (decode_json(control($github, 'counters'))->{faults}[0]{used}) { usleep(10_000); } $kept_at = time; return; }
# After thirty seconds the worker has given up, and has asked again: then no older answer comes.
my $is_awaited;
sub release { $is_awaited = time - $kept_at < 25; faults(); return settled(); }
sub project { my ($of) = @_; return query(qq{SELECT project_id FROM keypup.projects WHERE name = '$of'}); }

query('CREATE EXTENSION keypup');
query(qq{SELECT keypup.create_account('acme'), keypup.connect('acme', 'github', '$token', '$github->{url}')});
query("SELECT keypup.track('acme', '$_')") foreach $name, $other;
becomes(q{SELECT bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) FROM keypup.sync_state}, 'two repositories are read');
is(differences($node, $github, $name), '', 'as they are');
my $project = project($name);

# Beside a run that waits for its late answer, one of its questions more.
sub ask
{
	my ($kind, $number) = @_;
	my $items = defined $number ? "jsonb_build_object('items', jsonb_build_array((SELECT i.global_id FROM keypup.issues i WHERE i.project_id = p.project_id AND i.number = $number)))" : q{'{}'};
	return query(qq{INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, arguments) SELECT p.account_id, p.connection_id, p.project_id, '$kind', $items FROM keypup.projects p WHERE p.project_id = $project; SELECT keypup.wake_launcher()});
}

# A person, a label and a milestone: an issue tells the old name late, after something else has told the new one.
# No issue with a second page, which would tell it again.
my ($login, $late) = split /\|/, query(qq{SELECT author, min(number) FROM keypup.issues i WHERE project_id = $project AND comment_count < 20 AND EXISTS (SELECT FROM keypup.identities d WHERE d.login = i.author AND kind = 'user') GROUP BY 1 ORDER BY 1 LIMIT 1});
keep_answer('KeypupIssues');
reread($late);
wait_until_kept();
change('rename_user', login => $login, to => 'renamed-person');
change('comment', number => query('SELECT min(number) FROM keypup.issues WHERE project_id = ' . project($other)), repository => $other, actor => 'renamed-person');
reread(query('SELECT min(number) FROM keypup.issues WHERE project_id = ' . project($other)), $other);
becomes(q{SELECT count(*) = 1 FROM keypup.identities WHERE login = 'renamed-person'}, 'a person is called otherwise');
becomes('SELECT count(*) = 0 FROM keypup.sync_jobs WHERE project_id = ' . project($other), 'as one repository told');
is(release(), 'settled', 'an older answer comes');
is(query("SELECT count(*) || ' ' || (SELECT count(*) FROM keypup.identities WHERE login = 'renamed-person') FROM keypup.issues WHERE project_id = $project AND author = '$login'"), '0 1', 'and does not turn the name back');
is(differences($node, $github, $name), '', 'nor anything else');

foreach my $kind ([ label => 'labels', 'unnest(labels)', 'name' ], [ milestone => 'milestones', 'milestone', 'title' ])
{
	my ($what, $table, $column, $field) = @$kind;
	my ($old, $first, $second) = split /\|/, query(qq{SELECT n, min(number), max(number) FROM (SELECT number, $column AS n FROM keypup.issues WHERE project_id = $project AND comment_count < 20) i WHERE n ~ '^[ -~]+\$' GROUP BY 1 HAVING count(*) > 1 ORDER BY 1 LIMIT 1});
	keep_answer('KeypupIssues');
	reread($first);
	wait_until_kept();
	change("rename_$what", $what => $old, $what eq 'label' ? 'to' : 'title', "renamed $what");
	ask('issues', $second);
	becomes("SELECT count(*) = 1 FROM keypup.$table WHERE project_id = $project AND $field = 'renamed $what'", "a $what is called otherwise");
	is(release(), 'settled', 'an older answer comes');
	is(query("SELECT string_agg($field, ',') FROM keypup.$table WHERE project_id = $project AND $field IN ('renamed $what', " . literal($old) . ')'), "renamed $what", 'and does not turn the name back');
	is(differences($node, $github, $name), '', 'nor anything else');
}

sub next_run { query(qq{UPDATE keypup.sync_state SET next_run_at = now() WHERE project_id = $project; SELECT keypup.wake_launcher()}); return settled(); }

foreach my $kind ([ label => 'labels', 'unnest(labels)' ], [ milestone => 'milestones', 'milestone' ])
{
	my ($what, $table, $column) = @$kind;
	my ($old, $late) = split /\|/, query(qq{SELECT n, min(number) FROM (SELECT number, $column AS n FROM keypup.issues WHERE project_id = $project AND comment_count < 20) i WHERE n ~ '^[ -~]+\$' GROUP BY 1 ORDER BY 1 LIMIT 1});
	keep_answer('KeypupIssues');
	reread($late);
	wait_until_kept();
	change("delete_$what", $what => $old);
	ask('repository');
	becomes("SELECT count(*) = 0 FROM keypup.$table WHERE project_id = $project AND " . literal($old) . " IN (SELECT to_jsonb($table) ->> k FROM unnest('{name,title}'::text[]) k)", "a $what is deleted");
	is(release(), 'settled', 'an older answer comes');
	isnt(differences($node, $github, $name), '', 'which has it still') if $is_awaited;
	is(next_run() . differences($node, $github, $name), 'settled', 'the next run takes it back');

	# One that is new: the list of the run did not have it.
	my $number = query(qq{SELECT min(number) FROM keypup.issues WHERE project_id = $project AND comment_count < 20 AND cardinality(labels) < 9});
	foreach my $stays (1, 0)
	{
		keep_answer('KeypupRepositoryById');
		ask('repository');
		wait_until_kept();
		change("new_$what", $what => "fresh $stays", title => "fresh $stays");
		# Nothing else has the item read again.
		change($what, number => $number, $what => "fresh $stays", at => '2025-06-02T00:00:00Z', bump => JSON::PP::false);
		ask('issues', $number);
		becomes("SELECT 'fresh $stays' = ANY (labels || milestone) FROM keypup.issues WHERE project_id = $project AND number = $number", "a new $what is told by its item");
		change("delete_$what", $what => "fresh $stays") unless $stays;
		is(release(), 'settled', 'an older list comes');
		is(query("SELECT 'fresh $stays' = ANY (labels || milestone) FROM keypup.issues WHERE project_id = $project AND number = $number"), 't', 'and takes nothing back');
		is(next_run() . differences($node, $github, $name), 'settled', $stays ? 'the next list has it' : 'the next list has not: it was deleted meanwhile');
	}
}
is(query("SELECT unlisted FROM keypup.sync_state WHERE project_id = $project"), '{}', 'nothing is open');
$node->stop;
done_testing();
