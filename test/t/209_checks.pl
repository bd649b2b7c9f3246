# How open pull requests stand, which bumps no time of change: checks that begin, fail, are run again and pass are seen all the same;
# so are conflicts and the rules of the base branch; what a token may not read is left out and said. sql/insight_check.sql has the views.
use strict;
use warnings;

use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'ghp_CHECKS0123456789';
my $github = start_github($token, '--generate', 'b/r:pulls=30,issues=21,labels=51,milestones=1,seed=3,open=4');
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1d'
CONF
$node->start;
sub query { return $node->safe_psql('postgres', 'SET client_min_messages = error; ' . $_[0]); }
sub becomes { return $node->poll_query_until('postgres', $_[0]); }
sub change { my (%change) = @_; return decode_json(control($github, 'change', { repository => 'b/r', %change })); }
# Due times are moved, instead of waited for.
sub follow { query(q{UPDATE keypup.pull_request_merge_states SET next_read_at = now() WHERE next_read_at IS NOT NULL; UPDATE keypup.sync_state SET next_run_at = now(); SELECT keypup.wake_launcher()}); return; }
my $is_idle = q{NOT EXISTS (SELECT FROM keypup.sync_jobs WHERE in_run OR due_at <= now()) AND NOT EXISTS (SELECT FROM keypup.sync_state WHERE phase <> 'idle' OR last_run_finished_at IS NULL)};
sub read_all { query(q{SELECT keypup.reread('acme', 'b/r')}); return becomes("SELECT $is_idle"); }

query('CREATE EXTENSION keypup');
query(qq{SELECT keypup.create_account('acme'), keypup.connect('acme', 'github', '$token', '$github->{url}'), keypup.track('acme', 'b/r')});
ok(becomes("SELECT $is_idle"), 'a repository is read');
is(differences($node, $github, 'b/r'), '', 'all of it, two pages of checks, too');
is(query(q{SELECT count(*) FROM keypup.pull_request_merge_states JOIN keypup.pull_requests p USING (account_id, project_id) WHERE number = pull_request_number AND state <> 'open'}), '0', 'nobody asks how pull requests stood that were closed long ago');
is(query('SELECT count(next_read_at) FROM keypup.pull_request_merge_states'), '0', 'nor is it asked again how those stand that have not changed for long');

my $number = change(change => 'new_pull_request', title => 'checked', actor => 'ann')->{number};
query(q{UPDATE keypup.sync_state SET next_run_at = now(); SELECT keypup.wake_launcher()});
my $stands = "FROM keypup.pull_request_merge_states WHERE pull_request_number = $number";
ok(becomes("SELECT count(*) = 1 AND $is_idle $stands"), 'a new pull request is read');
is(query("SELECT check_state IS NULL, has_conflicts, is_behind $stands"), 't|f|f', 'it has no checks yet');
my $updated_at = query("SELECT updated_at $stands");
is(query("SELECT next_read_at > now() + interval '23 hours' $stands"), 't', 'and is asked about again after the interval');
change(change => 'check', number => $number, name => 'build');
follow();
ok(becomes("SELECT check_state = 'pending' AND $is_idle $stands"), 'a check goes on');
change(change => 'check', number => $number, name => 'build', conclusion => 'FAILURE');
follow();
ok(becomes("SELECT check_state = 'failure' AND $is_idle $stands"), 'and fails');
my $step = "SELECT recommended_action FROM keypup.pull_request_next_steps WHERE number = $number";
is(query($step), 'FIX_BUILD', 'somebody has to mend it');
change(change => 'check', number => $number, name => 'build');
change(change => 'check', number => $number, name => 'build', conclusion => 'SUCCESS');
change(change => 'check', number => $number, name => 'slow');
follow();
ok(becomes("SELECT check_state = 'pending' AND $is_idle $stands"), 'it is run again, and passes');
is(query(qq{SELECT name, count(*), count(*) FILTER (WHERE conclusion = 'failure') FROM keypup.pull_request_checks WHERE pull_request_number = $number GROUP BY name ORDER BY name}), "build|2|1\nslow|1|0", 'both runs are there');
is(query("SELECT updated_at $stands"), $updated_at, 'none of this changed the time of the last change');
is(differences($node, $github, 'b/r'), '', 'all is the provider\'s');

# Another commit: what had ended stays, what had not never will.
change(change => 'push', number => $number, actor => 'ann');
query(qq{SELECT keypup.reread('acme', 'b/r', $number)});
ok(becomes("SELECT head_commit <> (SELECT min(head_commit) FROM keypup.pull_request_checks WHERE pull_request_number = $number) AND $is_idle $stands"), 'another commit is pushed');
is(query(qq{SELECT string_agg(name, ' ' ORDER BY name) FROM keypup.pull_request_checks WHERE pull_request_number = $number}), 'build build', 'the checks that had ended stay');
is(query(qq{SELECT count(*), count(DISTINCT author) FROM keypup.pull_request_commits WHERE pull_request_number = $number}), '2|1', 'both commits have their author');

# Conflicts, and what the base branch asks for.
change(change => 'mergeability', number => $number, fields => { mergeable => 'CONFLICTING', mergeStateStatus => 'DIRTY' });
change(change => 'branch_rules', branch => 'main', fields => { protection => 3, rulesets => [ 1, 2 ] });
ok(read_all(), 'the repository is read again');
is(query("SELECT has_conflicts, required_approvals $stands") . '|' . query($step), 't|3|REBASE', 'it conflicts with its base branch, which asks for three approvals');
change(change => 'mergeability', number => $number, fields => { mergeable => 'UNKNOWN', mergeStateStatus => 'UNKNOWN' });
change(change => 'branch_rules', branch => 'main', fields => { protection => undef, rulesets => [ 1, 2 ] });
ok(read_all(), 'the repository is read again');
is(query("SELECT has_conflicts IS NULL, is_behind IS NULL, required_approvals $stands") . '|' . query($step), 't|t|2|ASSIGN_MISSING_REVIEWERS', 'it is not known whether it conflicts; a ruleset asks for two approvals');
is(differences($node, $github, 'b/r'), '', 'all is the provider\'s');

# A merge: how it stood is read once more, and no more.
change(change => 'merge', number => $number, actor => 'bob');
change(change => 'mergeability', number => $number, fields => { mergeable => 'MERGEABLE', mergeStateStatus => 'CLEAN' });
ok(read_all(), 'it is merged');
is(query("SELECT has_conflicts $stands"), 'f', 'how it stood is read once more');
change(change => 'mergeability', number => $number, fields => { mergeable => 'CONFLICTING', mergeStateStatus => 'DIRTY' });
ok(read_all(), 'the repository is read again');
is(query("SELECT has_conflicts $stands"), 'f', 'and no more');

# What the token may not read.
my $all_stand = 'FROM keypup.pull_request_merge_states JOIN keypup.pull_requests p USING (account_id, project_id) WHERE number = pull_request_number AND state = \'open\'';
my $told = q{SELECT last_error IS NULL, warning ~ 'may not read' FROM keypup.sync_status};
control($github, 'settings', { forbidden => [ 'Ref.branchProtectionRule', 'StatusCheckRollup.contexts' ] });
ok(read_all(), 'protections of branches, and runs of checks, are refused');
is(query($told) . '|' . query("SELECT bool_and(required_approvals = 2), bool_or(check_state = 'failure') $all_stand"), 't|t|t|t', 'the rulesets are told, and all checks together');
like(query('SELECT warning FROM keypup.sync_status'), qr/may not read runs of checks and protections of branches: they are left out/, 'a warning says what is left out');
change(change => 'branch_rules', branch => 'main', fields => { protection => 1, rulesets => [] });
ok(read_all(), 'the repository is read again');
is(query("SELECT bool_and(required_approvals IS NULL) $all_stand"), 't', 'without any that is told it is not known what the branch asks for');
control($github, 'settings', { forbidden => [ 'Ref.branchProtectionRule', 'Ref.rules', 'Ref.refUpdateRule', 'Commit.statusCheckRollup' ] });
ok(read_all(), 'all of it is refused');
is(query($told) . '|' . query("SELECT bool_and(required_approvals IS NULL AND check_state IS NULL AND has_conflicts IS NOT NULL) $all_stand"), 't|t|t', 'conflicts are told still');
is(query('SELECT count(*) FROM keypup.sync_failures'), '0', 'nothing is set aside');
cmp_ok(query('SELECT count(*) FROM keypup.pull_request_checks'), '>', 100, 'the checks that were read stay');
$node->stop;
done_testing();
