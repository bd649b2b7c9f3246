# What changes at the provider without a trace in an item's time of change: names of labels, milestones, people and repositories, a second
# change in the same second, and what bumps nothing. After the next run, or the next sweep, the tables are the provider's.
use strict;
use warnings;

use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'ghp_RENAMESPROBE0123456789';
my $name = 'demo/main';
my @others = map { "demo/$_" } qw(red green blue);
my $github = start_github($token, '--points', '1000000', '--generate', "$name:pulls=40,issues=40,seed=7,labels=8,milestones=5,releases=3,deployments=3",
	map { ('--generate', "$_:pulls=2,issues=2,labels=2,milestones=1,seed=" . length) } @others);
my $node = new_server($github, "keypup.sync_interval = '1d'\n");
$node->start;
my $project = 0;
sub query { my $sql = shift =~ s/:project\b/$project/gr; return $node->safe_psql('postgres', "SET client_min_messages = error; $sql"); }
sub change
{
	my ($what, %more) = @_;
	$more{number} += 0 if exists $more{number};
	my $answer = control($github, 'change', { repository => $name, change => $what, %more });
	return decode_json($answer)->{change} ? decode_json($answer) : die $answer;
}
sub counters { return decode_json(control($github, 'counters')); }
sub run_all { return query(q{CALL keypup.sync('acme')}); }
# The small repositories have no reviews.
sub differs { return join "\n", grep { !/^\w+: 0\|0\|0\|/ } split /\n/, differences($node, $github, $_[0] // $name); }
sub stored { my ($table, $where) = @_; return query("SELECT count(*) FROM keypup.$table WHERE $where AND project_id = (SELECT project_id FROM keypup.projects WHERE name = '$name')"); }

query('CREATE EXTENSION keypup');
query(qq{SELECT keypup.create_account('acme'), keypup.connect('acme', 'github', '$token', '$github->{url}')});
query("SELECT keypup.track('acme', '$_')") foreach $name, @others;
run_all();
is(differs(), '', 'a repository is read');
$project = query("SELECT project_id FROM keypup.projects WHERE name = '$name'");

# Equal times are not equal states.
my $issue = query(q{SELECT min(number) FROM keypup.issues WHERE state = 'open' AND project_id = :project});
# Ahead of the provider's clock: so it is too early for certain, however slow this machine is.
my $second = query(q{SELECT to_char(now() AT TIME ZONE 'UTC' + interval '10 minutes', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')});
change('comment', number => $issue, at => $second);
run_all();
is(query("SELECT is_read_early FROM keypup.issues WHERE number = $issue AND project_id = :project"), 't', 'what was read in the second of its change is known to be');
change('close', number => $issue, at => $second);
run_all();
is(differs(), '', 'a comment and the closing in one second, and a run between them');
my $old = query(q{SELECT min(number) FROM keypup.pull_requests WHERE state <> 'open' AND project_id = :project});
change('comment', number => $old, at => $second);
run_all();
change('review', number => $old, at => $second, state => 'APPROVED', actor => 'reviewer');
change('label', number => $old, at => $second, label => query(q{SELECT min(name) FROM keypup.labels WHERE project_id = :project AND name ~ '^[ -~]+$'}));
run_all();
is(differs(), '', 'also where it was closed long ago');
# Time passes.
query(q{UPDATE keypup.issues SET is_read_early = false; UPDATE keypup.pull_requests SET is_read_early = false});
control($github, 'counters/reset', {});
run_all();
is(counters()->{by_operation}{KeypupIssues} // counters()->{by_operation}{KeypupPullRequests} // 'none', 'none', 'what was read late enough is not read again');

# Names of labels and milestones: rename, swap, chain, deletion, and a name that is given again.
my @labels = split /\n/, query(q{SELECT name FROM keypup.labels WHERE project_id = :project AND name ~ '^[ -~]+$' AND EXISTS (SELECT FROM keypup.issues i WHERE i.project_id = :project AND name = ANY (i.labels)) ORDER BY name LIMIT 4});
is(scalar(@labels), 4, 'four labels are used');
sub rename_label { my ($from, $to) = @_; return change('rename_label', label => $from, to => $to); }
rename_label($labels[0], 'renamed');
run_all();
is(differs() . stored('issues', "'$labels[0]' = ANY (labels)"), '0', 'a renamed label is so on all that has it');
rename_label($labels[1], 'aside');
rename_label($labels[2], $labels[1]);
rename_label('aside', $labels[2]);
run_all();
is(differs(), '', 'two that swap names');
rename_label($labels[3], 'moved');
rename_label($labels[2], $labels[3]);
# A single item tells of it before the list does.
query("SELECT keypup.reread('acme', '$name', number) FROM keypup.issues WHERE project_id = :project AND '$labels[2]' = ANY (labels) ORDER BY number LIMIT 1");
run_all();
is(differs(), '', 'a chain of renames');
change('delete_label', label => 'moved');
change('new_label', label => 'moved');
my ($fresh) = split /\n/, query(q{SELECT number FROM keypup.issues WHERE project_id = :project ORDER BY number DESC LIMIT 1});
change('label', number => $fresh, label => 'moved');
run_all();
is(differs(), '', 'one that was deleted, and another that has its name now');
change('delete_label', label => 'renamed');
run_all();
is(differs() . stored('issues', "'renamed' = ANY (labels)"), '0', 'one that was deleted');

my @milestones = map { [ split /\|/ ] } split /\n/, query(q{SELECT number, title, open_items + closed_items FROM keypup.milestones WHERE project_id = :project AND title ~ '^[ -~]+$' AND open_items + closed_items > 0 ORDER BY 1 LIMIT 3});
is(scalar(@milestones), 3, 'three milestones have items');
change('rename_milestone', milestone => $milestones[0][1], title => 'renamed');
run_all();
is(differs() . query(q{SELECT open_items + closed_items FROM keypup.milestones WHERE title = 'renamed'}), $milestones[0][2], 'a renamed milestone keeps its items');
change('rename_milestone', milestone => 'renamed', title => 'aside');
change('rename_milestone', milestone => $milestones[1][1], title => 'renamed');
change('rename_milestone', milestone => 'aside', title => $milestones[1][1]);
run_all();
is(differs(), '', 'two that swap titles');
change('delete_milestone', milestone => $milestones[2][1]);
run_all();
is(differs() . stored('issues', literal($milestones[2][1]) . ' = milestone') . stored('pull_requests', literal($milestones[2][1]) . ' = milestone'), '00', 'items of one that was deleted are in none');

# People: the id is who it is.
my ($login, $id) = split /\|/, query(q{SELECT i.login, i.external_id FROM keypup.identities i JOIN keypup.pull_requests p ON p.author = i.login WHERE i.kind = 'user' GROUP BY 1, 2 ORDER BY count(*) DESC, 1 LIMIT 1});
my $of_person = q{SELECT (SELECT count(*) FROM keypup.pull_requests p WHERE p.author = i.login) || '|' || (SELECT count(*) FROM keypup.timeline_events t WHERE t.actor = i.login)
	|| '|' || (SELECT count(*) FROM keypup.reviews r WHERE r.author = i.login) || '|' || (SELECT count(*) FROM keypup.comments c WHERE c.author = i.login) FROM keypup.identities i WHERE i.external_id = } . literal($id);
my $before = query($of_person);
like($before, qr/^[1-9]\d*\|[1-9]/, "$login has opened pull requests and done things");
change('rename_user', login => $login, to => 'renamed-person');
# A stranger takes the login, and is seen before the person is.
change('comment', number => $fresh, actor => $login);
run_all();
is(query($of_person), $before, 'nothing of a person moves to the stranger who has the login now');
is(query("SELECT count(*) FROM keypup.identities WHERE login = '$login' AND external_id <> " . literal($id)), '1', 'who is another identity');
my ($theirs) = split /\n/, query(q{SELECT number FROM keypup.pull_requests p WHERE project_id = :project AND author = (SELECT login FROM keypup.identities WHERE external_id = } . literal($id) . ') ORDER BY number LIMIT 1');
change('comment', number => $theirs, actor => 'renamed-person');
run_all();
is(query('SELECT login FROM keypup.identities WHERE external_id = ' . literal($id)), 'renamed-person', 'when the person is seen again the new login is known');
is(differs(), '', 'and stands on all that was theirs');

# What bumps nothing: the sweep compares, and reads a slice of all again.
sub sweep { query('UPDATE keypup.sync_state SET next_sweep_at = now()'); return run_all(); }
my ($closed) = split /\n/, query(q{SELECT number FROM keypup.issues WHERE project_id = :project AND state = 'closed' AND closed_at < now() - interval '30 days' ORDER BY number LIMIT 1});
my ($merged) = split /\n/, query(q{SELECT number FROM keypup.pull_requests WHERE project_id = :project AND state = 'merged' AND closed_at < now() - interval '30 days' ORDER BY number DESC LIMIT 1});
my %quiet = (number => $closed, bump => JSON::PP::false);
change('title', %quiet, title => 'another title', at => '2024-02-02T00:00:00Z');
change('review', number => $merged, bump => JSON::PP::false, at => '2024-02-02T00:00:00Z', state => 'COMMENTED', actor => 'reviewer');
run_all();
isnt(differs(), '', 'what bumps nothing is not seen by a run');
sweep();
is(differs(), '', 'but by the sweep');
change('comment', %quiet, at => '2024-02-03T00:00:00Z');
change('assign', number => $merged, bump => JSON::PP::false, at => '2024-02-03T00:00:00Z', assignee => 'reviewer');
change('demilestone', number => $_, bump => JSON::PP::false, at => '2024-02-03T00:00:00Z')
	foreach split /\n/, query(q{SELECT min(number) FROM keypup.issues WHERE project_id = :project AND state = 'closed' AND milestone IS NOT NULL});
sweep();
is(differs(), '', 'counts, labels, assignees and the milestone are compared');
control($github, 'counters/reset', {});
sweep();
my %asked = %{ counters()->{by_operation} };
cmp_ok($asked{KeypupPullRequests}{requests}, '<=', 4, 'a sweep of what did not change reads a slice of each repository');

# An edited comment leaves no trace at all, nor does a team's new name, which is told without an id: within a round of sweeps everything
# is read again.
sub asked_team
{
	my ($team) = @_;
	return query("SELECT (SELECT count(*) FROM keypup.pull_requests WHERE project_id = :project AND '$team' = ANY (requested_reviewers)) || '|' || (SELECT count(*) FROM keypup.timeline_events WHERE project_id = :project AND subject = '$team')");
}
my $asked_team = asked_team('demo/core');
like($asked_team, qr/^[1-9]\d*\|[1-9]/, 'a team was asked to review');
change('rename_team', team => 'core', to => 'kernel');
change('edit_comment', number => $_, at => $second, bump => JSON::PP::false)
	foreach split /\n/, query(q{SELECT DISTINCT item_number FROM keypup.comments WHERE project_id = :project AND item_kind = 'issue' AND item_number IN (SELECT number FROM keypup.issues WHERE project_id = :project AND state = 'closed')});
isnt(differs(), '', 'comments were edited');
$node->append_conf('postgresql.conf', "keypup.sweep_interval = '1d'\nkeypup.full_reread_interval = '4d'\n");
$node->reload;
ok($node->poll_query_until('postgres', q{SELECT current_setting('keypup.full_reread_interval') = '4d'}), 'four sweeps are a round');
query('UPDATE keypup.sync_state SET reread_to = 0');
foreach my $round (1 .. 4)
{
	isnt(differs(), '', "before sweep $round") if $round == 1;
	sweep();
}
is(differs(), '', 'after which everything was read again');
is(asked_team('demo/kernel'), $asked_team, 'and the team is called as it is now, in what it was asked and in what happened');
is(query(q{SELECT bool_and(reread_to >= (SELECT max(number) FROM keypup.issues i WHERE i.project_id = s.project_id)) FROM keypup.sync_state s}), 't', 'that was the last slice');

# Repositories: ids are what they are.
sub rename_to { my ($from, $to) = @_; return control($github, 'change', { repository => $from, change => 'rename', to => $to }); }
sub names { return query(q{SELECT string_agg(name, ' ' ORDER BY project_id) FROM keypup.projects WHERE project_id <> :project}); }
sub errors { return query(q{SELECT coalesce(string_agg(project || ': ' || last_error, ' '), '') FROM keypup.sync_status WHERE last_error IS NOT NULL}); }
rename_to('demo/red', 'demo/x');
rename_to('demo/green', 'demo/red');
rename_to('demo/x', 'demo/green');
run_all();
is(names() . errors(), 'demo/green demo/red demo/blue', 'two that swap names');
rename_to('demo/green', 'demo/x');
rename_to('demo/red', 'demo/green');
rename_to('demo/blue', 'demo/red');
rename_to('demo/x', 'demo/blue');
run_all();
is(names() . errors(), 'demo/blue demo/green demo/red', 'a cycle of three');
rename_to('demo/blue', 'demo/end');
rename_to('demo/green', 'demo/blue');
rename_to('demo/red', 'demo/green');
run_all();
is(names() . errors(), 'demo/end demo/blue demo/green', 'a chain');
is(join('', map { differs($_) } qw(demo/end demo/blue demo/green)), '', 'and each has its own rows');
control($github, 'change', { repository => 'demo/end', change => 'delete_repository' });
rename_to('demo/blue', 'demo/end');
run_all();
like(names(), qr{^demo/end \(\S+\) demo/end demo/green$}, 'a name that another repository has now is its own; the one that is gone is told apart');
like(errors(), qr{^demo/end \(\S+\): repository "demo/end[^"]*" does not exist}, 'and known to be gone');
query(q{SELECT keypup.untrack('acme', name) FROM keypup.projects WHERE name LIKE 'demo/end (%'});
is(names() . errors(), 'demo/end demo/green', 'it can be forgotten by that name');
is(differs('demo/end'), '', 'and the other is whole');

# One that is deleted, and made anew under its name, is another: its numbers begin again.
my $green = query(q{SELECT project_id FROM keypup.projects WHERE name = 'demo/green'});
sub rows_of { my ($table) = @_; return query("SELECT md5(coalesce(string_agg(t::text, ',' ORDER BY t::text), '')) FROM keypup.$table t WHERE project_id = $green"); }
my @kept = map { rows_of($_) } qw(issues pull_requests comments labels milestones);
control($github, 'change', { repository => 'demo/green', change => 'delete_repository' });
control($github, 'repository', { generate => 'demo/green:pulls=3,issues=3,labels=2,milestones=1,seed=99' });
run_all();
is(join(' ', map { rows_of($_) } qw(issues pull_requests comments labels milestones)), "@kept", 'nothing of the new one gets among the rows of the old one');
like(query(q{SELECT last_error || ' ' || last_error_hint FROM keypup.sync_status WHERE project = 'demo/green'}), qr/does not exist.* made anew.*keypup.untrack and keypup.track/, 'and it is said what to do');
query(q{SELECT keypup.untrack('acme', 'demo/green'); SELECT keypup.track('acme', 'demo/green')});
run_all();
is(errors() . differs('demo/green'), '', 'after which the new one is read');

# Each new name is looked for in all rows that may have it. A page may rename as many as a server likes, and others wait while it is stored:
# four times as many take some four times as long, and not sixteen. Ticks: processor time of the session, in hundredths of a second.
query(q{CREATE FUNCTION ticks() RETURNS bigint LANGUAGE sql VOLATILE AS $$
	SELECT sum(s.field::bigint) FROM string_to_table(substring(pg_read_file('/proc/self/stat') FROM '[)] (.*)'), ' ') WITH ORDINALITY AS s (field, position) WHERE s.position IN (12, 13) $$;
	CREATE FUNCTION ticks_of(statement text) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
	DECLARE began bigint := ticks(); BEGIN EXECUTE statement; RETURN ticks() - began; END $$});
my %renaming = (
	labels => [ q{INSERT INTO keypup.labels (account_id, project_id, external_id, name, color) SELECT account_id, project_id, 'n' || g, 'old ' || g, 'red' FROM p, g}, 'labels',
		q{SELECT keypup.follow_labels(p.account_id, p.project_id, s.seen, now()) FROM p, s} ],
	people => [ q{INSERT INTO keypup.identities (account_id, connection_id, external_id, login, kind) SELECT account_id, connection_id, 'n' || g, 'old ' || g, 'mannequin' FROM p, g}, 'assignees',
		q{SELECT keypup.follow_people(p.account_id, p.connection_id, s.seen, now()) FROM p, s} ]);
foreach my $what (sort keys %renaming)
{
	my ($insert, $list, $rename) = @{ $renaming{$what} };
	my ($few, $many) = map {
		my $with = "WITH p AS (SELECT * FROM keypup.projects WHERE name = 'demo/end'), g AS (SELECT g FROM generate_series(1, $_) AS g)";
		my $its = "WHERE project_id = (SELECT project_id FROM keypup.projects WHERE name = 'demo/end')";
		query("BEGIN; $with $insert; UPDATE keypup.issues SET $list = ARRAY(SELECT 'old ' || g FROM generate_series(1, $_) AS g) $its; ANALYZE keypup.labels; ANALYZE keypup.identities;
			SELECT ticks_of(\$\$$with, s AS (SELECT jsonb_agg(jsonb_build_object('id', 'n' || g, 'name', 'new ' || g, 'kind', 'mannequin')) AS seen FROM g) $rename\$\$);
			SELECT count(*) FROM keypup.issues $its AND $list <> ARRAY(SELECT ('new ' || g) COLLATE \"C\" FROM generate_series(1, $_) AS g ORDER BY 1); ROLLBACK") =~ s/\n0$//r
	} 4_000, 16_000;
	cmp_ok($many, '<', 8 * ($few + 10), "four times as many new names of $what take some four times as long ($few, $many)");
}
$node->stop;
done_testing();
