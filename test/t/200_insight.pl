# The metrics of pull requests on real histories, beside the same computed by other means: test/insight/pull_requests.mjs.
use strict;
use warnings;

use Cwd;
use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'ghp_insight0123456789';
my $shared = getcwd() . '/../shared/data/github';
my (@data, @repositories);
if (-d $shared)
{
	foreach my $name ('mlswg/mls-protocol', 'cfrg/draft-irtf-cfrg-vdaf', 'tlswg/tls13-spec')
	{
		(my $file = $name) =~ s|/|__|;
		push @data, '--data', "$shared/$file.json";
		push @repositories, $name;
	}
}
else
{
	diag 'shared/data is not here: the real histories are skipped, only the generated repository is read';
}
push @repositories, 'demo/generated';

my $github = start_github($token, @data, '--generate', 'demo/generated:pulls=400,issues=50,seed=11');
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1d'
CONF
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }

# An account a repository: review_load and reviewer_pairs are by account.
query('CREATE EXTENSION keypup');
query("SELECT keypup.create_account('$_'), keypup.connect('$_', 'github', '$token', '$github->{url}'); SELECT keypup.track('$_', '$_'), keypup.set_time_zone('$_', 'Australia/Sydney')") foreach @repositories;
ok($node->poll_query_until('postgres', q{SELECT bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) FROM keypup.sync_status}), 'all is synced');
$node->safe_psql('postgres', 'ANALYZE');    # autovacuum would get to it, in a minute

# A span in whole seconds, '-' for NULL.
sub span { return "coalesce(round(extract(epoch FROM $_[0]))::text, '-')"; }
sub unknown { return "CASE WHEN $_[0] IS NULL THEN '-' WHEN $_[0] THEN 't' ELSE 'f' END"; }

my $dir = tempdir(CLEANUP => 1);
foreach my $name (@repositories)
{
	my $id = query("SELECT account_id FROM keypup.accounts WHERE name = '$name'");
	unlink "$dir/truth.json";
	append_to_file("$dir/truth.json", control($github, "truth?repository=$name"));
	my ($expected, $error) = run_command([ 'node', 'test/insight/pull_requests.mjs', "$dir/truth.json", 'Australia/Sydney' ]);
	is($error, '', "$name: the computation beside ran");
	# The person's login stands for the person: nobody is merged here.
	my %select = (
		pull => 'SELECT concat_ws($$ $$, $$pull$$, number, '
		  . join(', ', map { span($_) } qw(coding_time pickup_time review_time merge_time unreviewed_time draft_time cycle_time time_to_first_review time_to_first_response))
		  . ', review_rounds, reviewer_count, review_state, size_class, ' . unknown('merged_without_review') . ', ' . unknown('self_merged')
		  . ", times_reopened, " . unknown('is_revert') . ', ' . unknown('is_first_commit_old') . ", state_now) FROM keypup.pull_request_metrics WHERE account_id = '$id'",
		load => "SELECT concat_ws(' ', 'load', coalesce(l.login, r.reviewer, '-'), " . unknown('r.is_bot') . ', extract(epoch FROM r.week_start)::bigint, r.reviews, r.pull_requests, r.first_reviews, r.responses, '
		  . span('r.median_response_time') . ', ' . span('r.p90_response_time') . ") FROM keypup.review_load r LEFT JOIN keypup.identities l ON l.account_id = r.account_id AND l.person_id = r.person_id WHERE r.account_id = '$id'",
		turn => 'SELECT concat_ws($$ $$, $$turn$$, number, place, waiting_for, coalesce(login, $$-$$), extract(epoch FROM start_at)::bigint, coalesce(extract(epoch FROM end_at)::bigint::text, $$-$$))'
		  . " FROM keypup.pull_request_waiting WHERE account_id = '$id'",
		pair => "SELECT concat_ws(' ', 'pair', coalesce(a.login, p.author, '-'), coalesce(r.login, p.reviewer, '-'), p.pull_requests, p.reviews, p.approvals) FROM keypup.reviewer_pairs p
			LEFT JOIN keypup.identities a ON a.account_id = p.account_id AND a.person_id = p.author_person_id
			LEFT JOIN keypup.identities r ON r.account_id = p.account_id AND r.person_id = p.reviewer_person_id WHERE p.account_id = '$id'");
	foreach my $kind (qw(pull turn load pair))
	{
		my %ours = map { $_ => 1 } split /\n/, query($select{$kind});
		my %theirs = map { $_ => 1 } grep { /^$kind / } split /\n/, $expected;
		my @only_ours = sort grep { !$theirs{$_} } keys %ours;
		my @only_theirs = sort grep { !$ours{$_} } keys %theirs;
		ok(%ours && !@only_ours && !@only_theirs, "$name: " . keys(%ours) . " lines of $kind are as computed beside")
		  or diag("only ours: " . join("\n", splice(@only_ours, 0, 3)) . "\nonly theirs: " . join("\n", splice(@only_theirs, 0, 3)));
	}
}

# Properties that hold whatever the data is.
is(query(q{SELECT count(*) FROM keypup.pull_request_metrics WHERE cycle_time <> coding_time + coalesce(pickup_time + review_time, unreviewed_time, '0') + coalesce(merge_time, '0')
	+ coalesce(draft_time, '0')}), '0', 'stages and the time as a draft again sum to the cycle');
is(query(q{SELECT count(*) FROM keypup.pull_request_waiting w WHERE end_at < start_at OR place > 1 AND NOT EXISTS (SELECT FROM keypup.pull_request_waiting b
	WHERE b.account_id = w.account_id AND b.project_id = w.project_id AND b.number = w.number AND b.place = w.place - 1 AND b.end_at = w.start_at AND b.waiting_for <> w.waiting_for)}), '0', 'spans of waiting follow one another');
is(query(q{SELECT count(*) FROM keypup.pull_request_metrics WHERE least(coding_time, pickup_time, review_time, merge_time, unreviewed_time, draft_time, cycle_time, idle_time, time_to_first_review, time_to_first_response) < '0'
	OR least(lines_changed, review_rounds, reviewer_count, times_reopened) < 0}), '0', 'nothing is negative');
is(query(q{SELECT count(*) FROM keypup.review_load WHERE least(median_response_time, p90_response_time) < '0' OR median_response_time > p90_response_time OR pull_requests > reviews OR first_reviews > pull_requests
	OR first_reviews > responses OR responses > reviews}), '0', 'no load is negative, or more than its whole');
is(query(q{SELECT count(*) FROM keypup.review_load WHERE extract(isodow FROM week_start) <> 1 OR is_complete <> (week_start + 7 <= (now() AT TIME ZONE 'Australia/Sydney')::date) OR iso_week <> to_char(week_start, 'IYYY-"W"IW')}), '0',
	'weeks begin on Mondays, and are complete once they have ended in the time zone of the account');
is(query(q{SELECT count(*) FROM (SELECT (max(week_start) - min(week_start)) / 7 + 1 - count(*) AS missing, bool_or(reviews = 0 AND week_start IN (first_week, last_week)) AS ends_empty
	FROM (SELECT l.*, min(week_start) OVER w AS first_week, max(week_start) OVER w AS last_week FROM keypup.review_load l WINDOW w AS (PARTITION BY account_id, person_id, reviewer, is_bot)) l
	GROUP BY account_id, person_id, reviewer, is_bot) x WHERE missing <> 0 OR ends_empty}), '0', 'no week of a reviewer is missing, and the first and the last have reviews');
is(query(q{SELECT count(*) FROM keypup.pull_request_metrics}), query(q{SELECT count(*) FROM keypup.pull_requests WHERE deleted_at IS NULL}), 'one row a pull request');
is(query(q{SELECT account_id, sum(reviews) FROM keypup.review_load GROUP BY 1 ORDER BY 1}), query(q{SELECT account_id, sum(reviews) FROM keypup.reviewer_pairs GROUP BY 1 ORDER BY 1}), 'loads and pairs count the same reviews');
is(query(q{SELECT sum(reviews) FROM keypup.review_load}), query(q{SELECT count(*) FROM keypup.reviews r JOIN keypup.pull_requests p ON p.account_id = r.account_id AND p.project_id = r.project_id AND p.number = r.pull_request_number
	WHERE r.author IS DISTINCT FROM p.author AND p.deleted_at IS NULL}), 'no review is lost, none is counted twice');
is(query(q{SELECT count(*) FROM keypup.pull_request_metrics m WHERE reviewer_count <> (SELECT count(DISTINCT coalesce(login, '')) FROM keypup.pull_request_reviews r
	WHERE r.account_id = m.account_id AND r.project_id = m.project_id AND r.number = m.number AND r.counts) OR (reviewer_count = 0) <> (first_review_at IS NULL)}), '0', 'who is counted has reviewed');
is(query(q{SELECT count(*) FROM keypup.pull_request_work_in_progress}), query(q{SELECT count(*) FROM keypup.pull_request_metrics WHERE state_now IN ('open', 'draft')}), 'in work is what is open');
is(query(q{SELECT count(*) FROM (SELECT max(age_percentile) AS most FROM keypup.pull_request_work_in_progress GROUP BY project_id) x WHERE most <> 100}), '0', 'the oldest of a project is at 100 percent');

# A merge of two people changes who did it, and no count but that of what one reviewed of the other.
my $logins = query(q{SELECT string_agg(quote_literal(login), ', ') FROM (SELECT login FROM keypup.person_logins WHERE account = 'demo/generated' AND person_id IS NOT NULL ORDER BY login LIMIT 2) x});
my $between = qq{SELECT p.reviews, p.approvals FROM keypup.reviewer_pairs p WHERE (SELECT count(*) FROM keypup.person_logins l WHERE l.account = 'demo/generated' AND l.login IN ($logins)
	AND l.person_id IN (p.author_person_id, p.reviewer_person_id)) = 2};
cmp_ok(query("SELECT count(*) FROM ($between) x"), '>', 0, 'two people review each other');
my $reviews = query(qq{SELECT sum(reviews) - (SELECT sum(reviews) FROM ($between) x), sum(approvals) - (SELECT sum(approvals) FROM ($between) x) FROM keypup.reviewer_pairs});
query("SELECT keypup.merge_people('demo/generated', $logins)");
is(query('SELECT sum(reviews), sum(approvals) FROM keypup.reviewer_pairs'), $reviews, 'a merge of people loses no review but those between the two');
is(query(q{SELECT count(*) FROM keypup.pull_request_metrics m JOIN keypup.pull_requests p USING (account_id, project_id, number)
	CROSS JOIN LATERAL (SELECT min(submitted_at) AS first_at, min(submitted_at) FILTER (WHERE verdict = 'approved') AS approval_at FROM keypup.pull_request_reviews r
	  WHERE (r.account_id, r.project_id, r.number) = (m.account_id, m.project_id, m.number) AND counts) r
	WHERE (m.first_review_at, m.first_approval_at) IS DISTINCT FROM (r.first_at, r.approval_at) OR (p.first_review_at, p.first_approval_at) IS DISTINCT FROM (m.first_review_at, m.first_approval_at)}), '0', 'the first review of tables and views is the first that counts');
query("CALL keypup.sync('demo/generated')");
is(query('SELECT count(*) FROM keypup.person_logins WHERE merged_by_rule IS NOT NULL'), '1', 'a sync keeps the merge');
$node->stop;
done_testing();
