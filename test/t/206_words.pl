# Activity, verdicts, status spans, reverts, team load and moving percentiles of real histories, beside the same computed by other means: test/insight/words.mjs.
use strict;
use warnings;

use Cwd;
use File::Temp qw(tempdir);
use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'ghp_words0123456789abcde';
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

my $github = start_github($token, @data, '--generate', 'demo/generated:pulls=300,issues=150,seed=23');
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1d'
timezone = 'Asia/Tokyo'
CONF
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }

# An account a repository: teams are of an account.
query('CREATE EXTENSION keypup');
query("SELECT keypup.create_account('$_'), keypup.connect('$_', 'github', '$token', '$github->{url}'); SELECT keypup.track('$_', '$_'); SELECT keypup.set_time_zone('$_', 'America/Los_Angeles')") foreach @repositories;
ok($node->poll_query_until('postgres', q{SELECT bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) FROM keypup.sync_status}), 'all is synced');
$node->safe_psql('postgres', 'ANALYZE');    # autovacuum would get to it, in a minute

# Two teams with persons in both and in none; half of core left when night began, in the middle of all reviews.
foreach my $name (@repositories)
{
	query("SELECT keypup.set_team('$name', 'core', (SELECT array_agg(login) FILTER (WHERE n % 3 < 2) FROM (SELECT login, row_number() OVER (ORDER BY login) AS n FROM keypup.person_logins WHERE account = '$name' AND person_id IS NOT NULL) x)),
		keypup.set_team('$name', 'night', (SELECT array_agg(login) FILTER (WHERE n % 2 = 0) FROM (SELECT login, row_number() OVER (ORDER BY login) AS n FROM keypup.person_logins WHERE account = '$name' AND person_id IS NOT NULL) x))");
}
query(q{UPDATE keypup.team_members m SET joined_at = CASE team WHEN 'core' THEN '2000-01-01' ELSE middle END, left_at = CASE WHEN team = 'core' AND n % 2 = 0 THEN middle END
	FROM (SELECT account_id, percentile_disc(0.5) WITHIN GROUP (ORDER BY submitted_at) AS middle FROM keypup.reviews GROUP BY account_id) r,
		(SELECT account_id, person_id, row_number() OVER (PARTITION BY account_id ORDER BY login) AS n FROM keypup.person_logins WHERE person_id IS NOT NULL) p
	WHERE r.account_id = m.account_id AND p.account_id = m.account_id AND p.person_id = m.person_id});

# Whether the sync reads who is assigned: what it does not ask for is in no row.
my $assignments = grep { slurp_file($_) =~ /AssignedEvent/ } glob('src/provider/github/*timeline*.graphql');
sub second { return "coalesce(extract(epoch FROM $_[0])::bigint::text, '-')"; }
sub span { return "coalesce(round(extract(epoch FROM $_[0]), 2)::text, '-')"; }
my %select = (
	event => q{SELECT concat_ws(' ', 'event', item_kind, item_number, action, extract(epoch FROM occurred_at)::bigint, coalesce(actor, '-'), CASE WHEN subject NOT LIKE '%/%' THEN subject ELSE '-' END, CASE WHEN is_bot THEN 't' ELSE 'f' END)
		FROM keypup.activity_events WHERE account_id = '$id'},
	span => q{SELECT concat_ws(' ', 'span', number, place, name, } . second('start_at') . ', ' . second('end_at') . q{) FROM keypup.issue_status_spans WHERE account_id = '$id'},
	verdict => q{SELECT concat_ws(' ', 'verdict', number, } . second('review_approved_at') . ', ' . second('review_last_approved_at')
	  . q{, approver_usernames, change_requester_usernames, undecided_usernames) FROM keypup.pull_request_verdicts WHERE account_id = '$id'},
	team => q{SELECT concat_ws(' ', 'team', coalesce(team, '-'), CASE WHEN is_bot THEN 't' ELSE 'f' END, extract(epoch FROM week_start)::bigint, reviewers, reviews, pull_requests, first_reviews, responses, } . span('median_response_time') . ', ' . span('p90_response_time')
	  . q{) FROM keypup.team_review_load WHERE account_id = '$id'},
	moving => q{SELECT concat_ws(' ', 'moving', metric, extract(epoch FROM week_start::timestamp AT TIME ZONE 'UTC')::bigint, CASE WHEN is_complete THEN 't' ELSE 'f' END, samples, } . join(', ', map { span($_) } qw(p50 p75 p90)) . q{) FROM keypup.moving_percentiles WHERE account_id = '$id'},
	by => q{SELECT concat_ws(' ', 'by', dimension, coalesce(value, '-'), extract(epoch FROM period_start::timestamp AT TIME ZONE 'UTC')::bigint, CASE WHEN is_complete THEN 't' ELSE 'f' END, issues_opened, issues_closed, issues_reopened,
		issues_completed, issues_not_planned, coalesce(round(reopen_rate::numeric, 4)::text, '-'), } . join(', ', map { span($_) } qw(lead_time_p50 lead_time_p90)) . q{) FROM keypup.issue_throughput_by WHERE period = 'week' AND account_id = '$id'},
	revert => q{SELECT concat_ws(' ', 'revert', number, reverted_by) FROM keypup.pull_request_reverts WHERE account_id = '$id'});

avoid_midnight($node, 'America/Los_Angeles');
my $dir = tempdir(CLEANUP => 1);
my %compared;
foreach my $name (@repositories)
{
	my $id = query("SELECT account_id FROM keypup.accounts WHERE name = '$name'");
	unlink "$dir/truth.json", "$dir/teams.json";
	append_to_file("$dir/truth.json", control($github, "truth?repository=$name"));
	append_to_file("$dir/teams.json", query(qq{SELECT json_agg(json_build_object('team', m.team, 'login', l.login, 'from', extract(epoch FROM m.joined_at), 'to', extract(epoch FROM m.left_at)))
		FROM keypup.team_members m JOIN keypup.person_logins l ON l.account_id = m.account_id AND l.person_id = m.person_id WHERE m.account_id = '$id'}));
	my ($expected, $error) = run_command([ 'node', 'test/insight/words.mjs', "$dir/truth.json", 'America/Los_Angeles', "$dir/teams.json" ]);
	is($error, '', "$name: the computation beside ran");
	foreach my $kind (sort keys %select)
	{
		(my $sql = $select{$kind}) =~ s/\$id/$id/g;
		# Each as often as it is there.
		my %count;
		$count{$_}++ foreach split /\n/, query($sql);
		my $rows = 0;
		foreach (grep { /^$kind / && ($assignments || !/ USER_/) } split /\n/, $expected) { $count{$_}--; $rows++; }
		my @differ = sort grep { $count{$_} } keys %count;
		$compared{$kind} += $rows;
		ok(!@differ, "$name: $rows lines of $kind are as computed beside") or diag(join "\n", map { ($count{$_} > 0 ? 'only ours: ' : 'only theirs: ') . $_ } splice(@differ, 0, 6));
	}
}
cmp_ok($compared{$_}, '>', $_ eq 'revert' ? 0 : 50, "there were lines of $_ to compare") foreach grep { $_ ne 'revert' || -d $shared } sort keys %select;

# What must hold whatever the history.
sub none { my ($sql, $what) = @_; is(query($sql), '', $what); }
sub same { my ($one, $other, $what) = @_; is(query($one), query($other), $what); }
same(q{SELECT account_id, action, count(*) FROM keypup.activity_events WHERE item_kind = 'issue' AND action IN ('CREATED', 'CLOSED', 'REOPENED') GROUP BY 1, 2 ORDER BY 1, 2},
	q{SELECT account_id, CASE event WHEN 'opened' THEN 'CREATED' ELSE upper(event) END AS action, count(*) FROM keypup.issue_transitions GROUP BY 1, 2 ORDER BY 1, 2}, 'activity of issues counts what issue_transitions counts');
same(q{SELECT count(*) FROM keypup.activity_events WHERE action = 'MERGED'}, q{SELECT count(*) FROM keypup.pull_requests WHERE merged_at IS NOT NULL AND deleted_at IS NULL}, 'every merge is one activity');
none(q{SELECT project, item_kind, item_number FROM keypup.activity_events GROUP BY 1, 2, 3 HAVING count(*) FILTER (WHERE action = 'CREATED') <> 1 OR abs(count(*) FILTER (WHERE action = 'CLOSED') - count(*) FILTER (WHERE action = 'REOPENED')) > 1},
	'each item is opened once, and closed and reopened by turns');
none(q{SELECT m.project, m.number, m.review_state, v.review_state FROM keypup.pull_request_metrics m
	LEFT JOIN keypup.pull_request_verdicts v ON v.account_id = m.account_id AND v.project_id = m.project_id AND v.number = m.number WHERE m.review_state <> coalesce(v.review_state, 'NONE') AND NOT (v.review_state IS NULL AND m.review_state = 'PENDING')},
	'verdicts and metrics agree on the review state');
none(q{SELECT number FROM keypup.pull_request_verdicts WHERE (review_state = 'APPROVED' AND review_approved_at IS NULL) OR review_last_approved_at < review_approved_at OR (review_approved_at IS NULL) <> (review_last_approved_at IS NULL)},
	'what stands approved came to be so, and not later than last');
same(q{SELECT account_id, number, review_state FROM keypup.pull_request_metrics ORDER BY 1, 2}, q{SELECT account_id, number, review_state FROM keypup.pull_request_fields ORDER BY 1, 2}, 'fields and metrics agree on the review state');
same(q{SELECT account_id, number, upper(state_now), review_state FROM keypup.pull_request_work_in_progress ORDER BY 1, 2}, q{SELECT account_id, number, CASE WHEN is_draft THEN 'DRAFT' ELSE 'OPEN' END, review_state FROM keypup.pull_request_next_steps ORDER BY 1, 2},
	'each open pull request has one next step');
none(q{SELECT n.number FROM keypup.pull_request_next_steps n LEFT JOIN keypup.pull_request_merge_states s ON s.account_id = n.account_id AND s.project_id = n.project_id AND s.pull_request_number = n.number
	WHERE (recommended_action = 'NONE' AND recommended_actor_usernames <> '{}') OR (author = ANY (recommended_actor_usernames) AND recommended_action = 'REVIEW')
	OR (recommended_action = 'MERGE') <> (review_state = 'APPROVED' AND NOT is_draft AND (n.has_conflicts OR n.is_behind OR n.check_state IN ('pending', 'failure') OR n.required_approvals > 1 OR s.review_decision = 'review_required') IS NOT TRUE)
		AND NOT (recommended_action = 'MERGE' AND n.required_approvals > 1)}, 'nobody is asked for nothing, no author for a review, and what is approved is to be merged');
same(q{SELECT account_id, number, resolving_pull_requests, resolving_first_merged_at, resolving_last_merged_at, lines_changed FROM keypup.issue_metrics ORDER BY 1, 2},
	q{SELECT account_id, number, resolving_pull_request_numbers, resolving_pr_first_merged_at, resolving_pr_last_merged_at, lines_changed FROM keypup.issue_fields ORDER BY 1, 2}, 'fields and metrics of issues agree on what resolves them');
none(q{SELECT number FROM keypup.issue_fields f WHERE jsonb_array_length(workflow_timeline) <> (SELECT count(*) FROM keypup.issue_status_spans s WHERE s.account_id = f.account_id AND s.project_id = f.project_id AND s.number = f.number)
	OR workflow_timeline -> -1 ->> 'name' <> state OR workflow_timeline -> -1 -> 'end_at' <> 'null'}, 'a timeline has all spans, and ends in the state of now');
none(q{SELECT number FROM keypup.issue_status_spans WHERE end_at < start_at}, 'no span ends before it begins');
same(q{SELECT account_id, period, period_start, sum(issues_opened), sum(issues_closed), sum(issues_reopened) FROM keypup.issue_throughput_by WHERE dimension = 'type' GROUP BY 1, 2, 3 HAVING sum(issues_opened + issues_closed + issues_reopened) > 0 ORDER BY 1, 2, 3},
	q{SELECT account_id, period, period_start, issues_opened, issues_closed, issues_reopened FROM keypup.throughput WHERE issues_opened + issues_closed + issues_reopened > 0 ORDER BY 1, 2, 3}, 'the types together are the throughput');
none(q{SELECT t.label, t.issues_opened FROM (SELECT account_id, label, sum(issues_opened) AS issues_opened FROM keypup.issue_throughput_by_label GROUP BY 1, 2) t
	FULL JOIN (SELECT account_id, label, count(*) AS issues FROM keypup.issue_labels GROUP BY 1, 2) l ON l.account_id = t.account_id AND coalesce(l.label, '') = coalesce(t.label, '') WHERE t.issues_opened IS DISTINCT FROM l.issues}, 'each issue opens once under each of its labels, or without one');
same(q{SELECT account_id, period, period_start, is_complete, issues_closed, issues_reopened FROM keypup.issue_reopen_rate ORDER BY 1, 2, 3}, q{SELECT account_id, period, period_start, is_complete, issues_closed, issues_reopened FROM keypup.throughput t
	WHERE period_start >= (SELECT min(r.period_start) FROM keypup.issue_reopen_rate r WHERE r.account_id = t.account_id AND r.period = t.period) ORDER BY 1, 2, 3}, 'a reopen rate is of the periods of the throughput');
none(q{SELECT project FROM keypup.issue_throughput_by GROUP BY account_id, project_id, project, dimension, value, period HAVING count(*) FILTER (WHERE NOT is_complete) <> 1},
	'the last period, and no other, is under way');
none(q{SELECT project FROM keypup.issue_reopen_rate WHERE reopen_rate < 0 OR (reopen_rate IS NULL) <> (issues_closed = 0)}, 'a reopen rate is there where something was closed');
none(q{SELECT a.project FROM keypup.issue_ageing a WHERE open_issues <> (SELECT count(*) FROM keypup.issues i WHERE i.account_id = a.account_id AND i.state = 'open' AND i.deleted_at IS NULL) OR age_p50 > age_p75 OR age_p75 > age_p90 OR age_p90 > oldest_age}, 'open issues age in order');
same(q{SELECT sum(reviews) FROM keypup.team_review_load},
	q{SELECT sum(greatest(1, (SELECT count(*) FROM keypup.team_members m WHERE m.account_id = r.account_id AND m.person_id = r.person_id AND r.submitted_at >= m.joined_at AND (m.left_at IS NULL OR r.submitted_at < m.left_at))))
	FROM keypup.pull_request_reviews r}, 'every review is in the rows of its teams, or in that of none');
$node->stop;
done_testing();
