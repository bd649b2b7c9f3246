# The main job on real processes: emulated GitHub over TLS, background worker, crash, access, secrets.
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
use Time::HiRes qw(usleep);

my $token = 'ghp_LEAKPROBE0123456789abcdefghij';
my $dir = tempdir(CLEANUP => 1);
my $shared = getcwd() . '/../shared/data/github';

my %repositories;
my @data;
if (-d $shared)
{
	foreach my $name ('mlswg/mls-protocol', 'cfrg/draft-irtf-cfrg-vdaf', 'tlswg/tls13-spec')
	{
		(my $file = $name) =~ s|/|__|;
		push @data, '--data', "$shared/$file.json";
		$repositories{$name} = 1;
	}
}
else
{
	diag 'shared/data is not here: only the generated repository is read';
}
$repositories{'demo/generated'} = 1;

my $github = start_github($token, @data, '--generate', 'demo/generated:pulls=2000,issues=1000,seed=7',
	'--generate', 'demo/small:pulls=3,issues=2,seed=1');
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1h'
restart_after_crash = on
CONF
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }

query('CREATE EXTENSION keypup');
query(q{CREATE ROLE alice LOGIN; CREATE ROLE vera LOGIN; CREATE ROLE oscar LOGIN;
	SELECT keypup.create_account('acme'); SELECT keypup.add_member('acme', 'alice', 'owner'); SELECT keypup.add_member('acme', 'vera', 'viewer')});
# From the environment into a variable and a bind parameter's place: no literal in the test's own text.
$ENV{KEYPUP_TOKEN} = $token;
$node->psql('postgres', qq{\\getenv token KEYPUP_TOKEN\nSELECT keypup.connect('acme', 'github', :'token', '$github->{url}')}, on_error_die => 1);
$ENV{KEYPUP_TOKEN} = '';

query("SELECT keypup.track('acme', '$_')") foreach sort keys %repositories;

# kill -9 in the middle: the server restarts, the launcher starts a worker, the sync goes on.
ok($node->poll_query_until('postgres', q{SELECT count(*) > 200 FROM keypup.pull_requests}), 'the worker starts by itself');
my $worker = query(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'keypup worker'});
like($worker, qr/^\d+$/, 'one worker is at work');
kill 'KILL', $worker;
usleep(500_000);
ok($node->poll_query_until('postgres', 'SELECT true'), 'the server is back after kill -9 of the worker');
ok($node->poll_query_until('postgres', q{SELECT bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) FROM keypup.sync_status}),
	'the sync finishes after kill -9') or diag(query('SELECT * FROM keypup.sync_status'));
is(query('SELECT count(*) FROM keypup.sync_jobs'), '0', 'no job is left');

# Every row against the emulator's own truth.
query('CREATE TABLE truth (repository text, kind text, item jsonb)');
sub read_truth
{
	my ($name) = @_;
	my $json = control($github, "truth?repository=$name");
	# Text cannot hold NUL or a lone surrogate: in both they are U+FFFD.
	append_to_file("$dir/truth.sql", '');
	open my $file, '>', "$dir/truth.json" or die;
	print $file $json;
	close $file;
	chmod 0644, "$dir/truth.json";
	query("DELETE FROM truth WHERE repository = '$name'");
	query(qq{INSERT INTO truth SELECT '$name', k.key, i FROM jsonb_each(keypup.clean_json(pg_read_binary_file('$dir/truth.json'))) k,
		jsonb_array_elements(k.value) i WHERE jsonb_typeof(k.value) = 'array'});
}

# Columns of a table beside the same computed from the truth; answers how many rows differ.
my %expected = (
	pull_requests => [
		q{number, external_id, title, state, is_draft, author, author_is_bot, created_at, updated_at, closed_at, merged_at, merged_by, base_branch, head_branch,
		  additions, deletions, changed_files, commit_count, first_commit_at, labels, assignees, milestone, review_count, comment_count},
		q{SELECT (i->>'number')::bigint, i->>'fullDatabaseId', i->>'title', lower(i->>'state'), (i->>'isDraft')::boolean, i->'author'->>'login',
		  coalesce(i->'author'->>'__typename' = 'Bot', false), (i->>'createdAt')::timestamptz, (i->>'updatedAt')::timestamptz, (i->>'closedAt')::timestamptz,
		  (i->>'mergedAt')::timestamptz, i->'mergedBy'->>'login', i->>'baseRefName', i->>'headRefName', (i->>'additions')::bigint, (i->>'deletions')::bigint,
		  (i->>'changedFiles')::bigint, jsonb_array_length(i->'commits')::bigint, (i#>>'{commits,0,authoredDate}')::timestamptz,
		  ARRAY(SELECT DISTINCT (l->>'name') COLLATE "C" FROM jsonb_array_elements(i->'labels') l ORDER BY 1),
		  ARRAY(SELECT DISTINCT (l->>'login') COLLATE "C" FROM jsonb_array_elements(i->'assignees') l WHERE l->>'__typename' = 'User' ORDER BY 1),
		  i->'milestone'->>'title',
		  (SELECT count(*) FROM jsonb_array_elements(i->'reviews') v WHERE v->>'state' <> 'PENDING'),
		  jsonb_array_length(i->'comments') + (SELECT count(*) FROM jsonb_path_query(i, '$.reviewThreads[*].comments[*]'))
		  FROM truth t(r, k, i) WHERE k = 'pullRequests'} ],
	issues => [
		q{number, external_id, title, state, state_reason, author, created_at, updated_at, closed_at, comment_count, labels, assignees, milestone},
		q{SELECT (i->>'number')::bigint, i->>'fullDatabaseId', i->>'title', lower(i->>'state'), lower(i->>'stateReason'), i->'author'->>'login',
		  (i->>'createdAt')::timestamptz, (i->>'updatedAt')::timestamptz, (i->>'closedAt')::timestamptz, jsonb_array_length(i->'comments')::bigint,
		  ARRAY(SELECT DISTINCT (l->>'name') COLLATE "C" FROM jsonb_array_elements(i->'labels') l ORDER BY 1),
		  ARRAY(SELECT DISTINCT (l->>'login') COLLATE "C" FROM jsonb_array_elements(i->'assignees') l WHERE l->>'__typename' = 'User' ORDER BY 1),
		  i->'milestone'->>'title'
		  FROM truth t(r, k, i) WHERE k = 'issues'} ],
	reviews => [
		q{pull_request_number, external_id, author, author_is_bot, state, submitted_at},
		q{SELECT (i->>'number')::bigint, v->>'fullDatabaseId', v->'author'->>'login', coalesce(v->'author'->>'__typename' = 'Bot', false), lower(v->>'state'),
		  (v->>'submittedAt')::timestamptz
		  FROM truth t(r, k, i), jsonb_array_elements(i->'reviews') v WHERE k = 'pullRequests' AND v->>'state' <> 'PENDING'} ],
	comments => [
		q{item_kind, item_number, external_id, author, author_is_bot, created_at, updated_at},
		q{SELECT CASE k WHEN 'issues' THEN 'issue' ELSE 'pull_request' END, (i->>'number')::bigint, c->>'fullDatabaseId', c->'author'->>'login',
		  coalesce(c->'author'->>'__typename' = 'Bot', false), (c->>'createdAt')::timestamptz, (c->>'updatedAt')::timestamptz
		  FROM truth t(r, k, i), jsonb_array_elements(i->'comments') c WHERE k IN ('issues', 'pullRequests')
		  UNION ALL
		  SELECT 'review', (i->>'number')::bigint, c->>'fullDatabaseId', c->'author'->>'login', coalesce(c->'author'->>'__typename' = 'Bot', false),
		  (c->>'createdAt')::timestamptz, (c->>'updatedAt')::timestamptz
		  FROM truth t(r, k, i), jsonb_path_query(i, '$.reviewThreads[*].comments[*]') c WHERE k = 'pullRequests'} ],
	labels => [ q{external_id, name, color}, q{SELECT i->>'id', i->>'name', i->>'color' FROM truth t(r, k, i) WHERE k = 'labels'} ],
	milestones => [ q{external_id, number, title, state, due_on, closed_at},
		q{SELECT i->>'id', (i->>'number')::bigint, i->>'title', lower(i->>'state'), (i->>'dueOn')::timestamptz, (i->>'closedAt')::timestamptz
		  FROM truth t(r, k, i) WHERE k = 'milestones'} ],
	timeline_events => [
		q{item_kind, item_number, external_id, event, actor, occurred_at},
		q{SELECT CASE k WHEN 'issues' THEN 'issue' ELSE 'pull_request' END, (i->>'number')::bigint, e->>'id',
		  CASE e->>'__typename' WHEN 'ReadyForReviewEvent' THEN 'ready_for_review' WHEN 'ConvertToDraftEvent' THEN 'convert_to_draft'
		    WHEN 'ReviewRequestedEvent' THEN 'review_requested' WHEN 'ReviewRequestRemovedEvent' THEN 'review_request_removed'
		    WHEN 'MergedEvent' THEN 'merged' WHEN 'ClosedEvent' THEN 'closed' WHEN 'ReopenedEvent' THEN 'reopened' END,
		  e->'actor'->>'login', (e->>'createdAt')::timestamptz
		  FROM truth t(r, k, i), jsonb_array_elements(i->'events') e
		  WHERE e->>'__typename' IN ('ClosedEvent', 'ReopenedEvent')
		     OR (k = 'pullRequests' AND e->>'__typename' IN ('ReadyForReviewEvent', 'ConvertToDraftEvent', 'ReviewRequestedEvent', 'ReviewRequestRemovedEvent', 'MergedEvent'))} ],
);

sub compare
{
	my ($name, $when) = @_;
	foreach my $table (sort keys %expected)
	{
		my ($columns, $select) = @{ $expected{$table} };
		$select =~ s/truth t\(/(SELECT * FROM truth WHERE repository = '$name') t(/g;
		my $ours = "SELECT $columns FROM keypup.$table JOIN (SELECT account_id AS a, project_id AS p FROM keypup.projects WHERE name = '$name') x ON account_id = a AND project_id = p";
		my $answer = query("WITH ours AS ($ours), truth_rows AS ($select), missing AS (TABLE truth_rows EXCEPT ALL TABLE ours), extra AS (TABLE ours EXCEPT ALL TABLE truth_rows)
			SELECT (SELECT count(*) FROM truth_rows), (SELECT count(*) FROM missing), (SELECT count(*) FROM extra), (SELECT min(missing::text) FROM missing), (SELECT min(extra::text) FROM extra)");
		my ($rows, $missing, $extra) = split /\|/, $answer;
		ok($rows > 0 && $missing == 0 && $extra == 0, "$name: every row and column of $table is the provider's $when") or diag($answer);
	}
}

foreach my $name (sort keys %repositories)
{
	read_truth($name);
	compare($name, 'after a full sync with a crash in it');
}

my $counters = decode_json(control($github, 'counters'));
is_deeply($counters->{violations}, [], 'nothing that carries source code was asked for');
is($counters->{body_requests}, 0, 'no body was asked for');
diag("full sync: $counters->{requests} requests, $counters->{points} points");

# A quiet run is cheap, and writes no row.
my $written = q{SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables WHERE relname IN
	('pull_requests', 'issues', 'reviews', 'comments', 'timeline_events', 'labels', 'milestones', 'identities', 'people')};
query('SELECT pg_stat_reset()');
control($github, 'counters/reset', {});
SKIP:
{
	skip 'needs a real history from shared/data', 1 unless @data;
	query("CALL keypup.sync('acme', 'mlswg/mls-protocol')");
	cmp_ok(decode_json(control($github, 'counters'))->{requests}, '<=', 3, 'an unchanged repository costs at most 3 requests');
}
query("CALL keypup.sync('acme', 'demo/generated')");
usleep(1_200_000);
is(query($written), '0', 'a quiet run writes no row');

# Changes arrive.
my $number = query(q{SELECT min(number) FROM keypup.pull_requests JOIN keypup.projects USING (account_id, project_id) WHERE name = 'demo/generated' AND state = 'open'});
control($github, 'change', { repository => 'demo/generated', change => 'comment', number => $number + 0, at => '2030-01-01T00:00:00Z' });
control($github, 'change', { repository => 'demo/generated', change => 'merge', number => $number + 0, at => '2030-01-01T00:00:01Z' });
query("CALL keypup.sync('acme', 'demo/generated')");
is(query("SELECT state FROM keypup.pull_requests JOIN keypup.projects USING (account_id, project_id) WHERE name = 'demo/generated' AND number = $number"),
	'merged', 'a merge arrives with the next run');
read_truth('demo/generated');
compare('demo/generated', 'after changes');
control($github, 'change', { repository => 'demo/generated', change => 'rename', to => 'demo/renamed' });
query("CALL keypup.sync('acme', 'demo/generated')");
is(query("SELECT count(*) FROM keypup.projects WHERE name = 'demo/renamed'"), '1', 'a renamed repository keeps its project');

# Each sees what the role allows.
is($node->safe_psql('postgres', 'SELECT count(*) > 0 FROM keypup.pull_request_cycle WHERE cycle_time IS NOT NULL', extra_params => [ '-U', 'vera' ]), 't', 'a viewer reads cycle times');
my ($rc, $stdout, $stderr) = $node->psql('postgres', 'SELECT count(*) FROM keypup.pull_request_cycle', extra_params => [ '-U', 'oscar' ]);
like($stderr, qr/permission denied/, 'an outsider may not look');

# Many accounts at once, more than the worker keeps connections for.
control($github, 'counters/reset', {});
query(qq{SELECT keypup.create_account('many' || i), keypup.connect('many' || i, 'github', '$token', '$github->{url}') FROM generate_series(1, 20) i});
query(q{SELECT keypup.track('many' || i, 'demo/small') FROM generate_series(1, 20) i});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 20 FROM keypup.sync_status WHERE account ~ '^many' AND phase = 'idle'}), 'twenty accounts are synced by one worker');
is(query(q{SELECT count(*), count(DISTINCT account_id), min(items_done), max(items_done) FROM keypup.sync_status WHERE account ~ '^many' AND items_done = items_total}), '20|20|5|5', 'each has all of its rows');
cmp_ok(decode_json(control($github, 'counters'))->{connections}, '>=', 20, 'accounts share no connection');
query(q{SELECT keypup.untrack('many' || i, 'demo/small') FROM generate_series(1, 20) i});
is(query(q{SELECT count(*) FROM keypup.pull_requests JOIN keypup.accounts USING (account_id) WHERE accounts.name ~ '^many'}), '0', 'what is untracked is forgotten');

# What goes wrong is said where it is looked for.
query(q{SELECT keypup.track('acme', 'demo/missing')});
$node->psql('postgres', q{CALL keypup.sync('acme', 'demo/missing')});
like(query(q{SELECT last_error FROM keypup.sync_status WHERE project = 'demo/missing'}), qr/does not exist, or the token may not read it/, 'a missing repository is named in sync_status');
$node->psql('postgres', q{SELECT keypup.replace_token('acme', 'github', 'ghp_wrongwrongwrong')});
$node->psql('postgres', q{CALL keypup.sync('acme', 'demo/missing')});
is(query(q{SELECT DISTINCT phase FROM keypup.sync_status}), 'stopped', 'a refused token stops the connection');

# The end: promptly, and without a trace of the token.
my $started = time;
query('CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION keypup');
$node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type = 'keypup worker'});
query('DROP DATABASE other');
pass('a database with a worker can be dropped');
query('DROP EXTENSION keypup CASCADE');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'keypup worker'}), 'the worker ends with the extension');
$node->stop;
my $found = `grep -raoE 'LEAKPROBE[0-9]{4}' '@{[ $node->data_dir ]}' | head -n 3`;
is($found, '', 'the data directory holds no token');
my $logged = `grep -aoE 'LEAKPROBE[0-9]{4}' '@{[ $node->logfile ]}' | head -n 3`;
is($logged, '', 'the log holds no token');
done_testing();
