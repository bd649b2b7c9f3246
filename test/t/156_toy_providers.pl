# The contract of providers is open: two that Keypup does not know, each a folder of SQL in test/provider, are installed beside GitHub, and
# read by the worker and by CALL. tracker: Basic authorization, GET, links and tokens to the next page, keys that change. board: a header
# of its own, POST, UUIDs, discover.
use strict;
use warnings;

use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my %token = (tracker => 'robot:TOYPROBE0123456789', board => 'brd_TOYPROBE9876543210');
my $service = start_node('test/provider/server.mjs', '--tracker-token', $token{tracker}, '--board-token', $token{board});
my $node = new_server($service, "shared_preload_libraries = 'keypup'\nkeypup.sync_interval = '1d'\n");
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
sub truth { return control($service, 'truth'); }
sub counters { return decode_json(control($service, 'counters')); }

query(q{CREATE EXTENSION keypup; CREATE ROLE olga LOGIN; SELECT keypup.create_account('acme'); SELECT keypup.add_member('acme', 'olga', 'owner')});
foreach my $provider (qw(tracker board))
{
	query(join "\n", map { slurp_file("test/provider/$provider/$_") } split ' ', slurp_file("test/provider/$provider/order"));
}
is(query(q{SELECT string_agg(provider, ' ' ORDER BY provider) FROM keypup.providers}), 'board github tracker', 'a provider is a row, and functions that fit the contract');
foreach my $is_missing ('verdict(integer, jsonb, jsonb, text)', 'reread(uuid, bigint, bigint)', 'learn(uuid, bigint, integer, jsonb, jsonb, keypup.verdict)')
{
	my ($name) = $is_missing =~ /^(\w+)/;
	like(as_role($node, scalar(getpwuid($<)), "BEGIN; DROP FUNCTION keypup.tracker_$is_missing; SELECT keypup.check_provider('tracker'); ROLLBACK"),
		qr/provider "tracker" has no function keypup.tracker_$name/, "one that lacks $name is refused");
}
like(as_role($node, 'olga', q{SELECT keypup.connect('acme', 'tracker', 'somebody:something')}), qr/a base URL is needed/, 'what has no address of its own must be told one');
like(as_role($node, 'olga', qq{SELECT keypup.connect('acme', 'tracker', 'one_part', '$service->{url}/tracker')}), qr/the token has only one part/, 'the form of the token is checked');
sub connect_account
{
	my ($account) = @_;
	query(qq{SELECT keypup.connect('$account', '$_', '$token{$_}', '$service->{url}/$_')}) foreach qw(tracker board);
}
connect_account('acme');
like(as_role($node, 'olga', q{SELECT keypup.track('acme', 'owner/name', 'tracker')}), qr/project name "owner\/name" is malformed/, 'and that of a project\'s name');

# What is stored beside what the services have, cell by cell: differences, or nothing.
my %cells = (
	issues => [ 'project, number, key, external_id, url, title, state, state_reason, type, author, created_at, updated_at, closed_at, labels, assignees, milestone, status, status_category, priority, parent_id, estimate, sprint_ids, milestone_ids',
		q{SELECT p.name, number, i.key, i.external_id, i.url, title, i.state, state_reason, type, author, i.created_at, i.updated_at, closed_at, labels, assignees, milestone,
			status, status_category, priority, parent_id, estimate, sprint_ids, milestone_ids
			FROM keypup.issues i JOIN keypup.projects p USING (account_id, project_id) JOIN keypup.connections c USING (account_id, connection_id)
			WHERE c.provider = 'tracker' AND i.deleted_at IS NULL AND account_id = :account},
		q{SELECT p ->> 'key', (i ->> 'id')::bigint, i ->> 'key', i ->> 'id', i ->> 'url', i ->> 'title', CASE i ->> 'status' WHEN 'Done' THEN 'closed' ELSE 'open' END, i ->> 'resolution',
			i ->> 'type', i #>> '{creator,login}', (i ->> 'created')::timestamptz, (i ->> 'updated')::timestamptz, (i ->> 'resolved')::timestamptz,
			ARRAY(SELECT l COLLATE "C" FROM jsonb_array_elements_text(i -> 'labels') l ORDER BY 1), array_remove(ARRAY[i #>> '{assignee,login}'], NULL), i #>> '{versions,0,name}', i ->> 'status',
			CASE i ->> 'category' WHEN 'new' THEN 'todo' WHEN 'indeterminate' THEN 'in_progress' ELSE 'done' END, i ->> 'priority', i ->> 'parent', (i ->> 'points')::double precision,
			array_remove(ARRAY[i ->> 'sprint'], NULL), ARRAY(SELECT v ->> 'id' FROM jsonb_array_elements(i -> 'versions') WITH ORDINALITY AS v (v, n) ORDER BY n)
			FROM truth, jsonb_array_elements(t -> 'projects') p, jsonb_array_elements(t -> 'issues') i WHERE p -> 'id' = i -> 'project'} ],
	milestones => [ 'project, external_id, number, title, state, due_on, closed_at, open_items, closed_items',
		q{SELECT p.name, m.external_id, number, title, state, due_on, closed_at, open_items, closed_items FROM keypup.milestones m JOIN keypup.projects p USING (account_id, project_id) WHERE account_id = :account},
		q{SELECT p ->> 'key', v ->> 'id', (v ->> 'id')::bigint, v ->> 'name', CASE v ->> 'released' WHEN 'true' THEN 'closed' ELSE 'open' END, (v ->> 'due')::timestamptz, (v ->> 'releasedAt')::timestamptz,
			(SELECT count(*) FROM jsonb_array_elements(t -> 'issues') i WHERE i -> 'project' = p -> 'id' AND i -> 'versions' @> jsonb_build_array(jsonb_build_object('id', v -> 'id')) AND i ->> 'status' <> 'Done'),
			(SELECT count(*) FROM jsonb_array_elements(t -> 'issues') i WHERE i -> 'project' = p -> 'id' AND i -> 'versions' @> jsonb_build_array(jsonb_build_object('id', v -> 'id')) AND i ->> 'status' = 'Done')
			FROM truth, jsonb_array_elements(t -> 'projects') p, jsonb_array_elements(t -> 'versions') v WHERE p -> 'id' = v -> 'project'} ],
	moves => [ 'project, number, external_id, actor, from_value, to_value, to_category, occurred_at',
		q{SELECT p.name, e.item_number, e.external_id, e.actor, from_value, to_value, to_category, occurred_at
			FROM keypup.timeline_events e JOIN keypup.projects p ON (p.account_id, p.project_id) = (e.account_id, e.project_id) JOIN keypup.issues i ON (i.account_id, i.project_id, i.number) = (e.account_id, e.project_id, e.item_number)
			WHERE e.event = 'status_changed' AND i.deleted_at IS NULL AND e.account_id = :account},
		q{SELECT p ->> 'key', (i ->> 'id')::bigint, m ->> 'id', m #>> '{by,login}', m ->> 'from', m ->> 'to', CASE m ->> 'to' WHEN 'Done' THEN 'done' ELSE 'in_progress' END, (m ->> 'at')::timestamptz
			FROM truth, jsonb_array_elements(t -> 'projects') p, jsonb_array_elements(t -> 'issues') i, jsonb_array_elements(i -> 'moves') m WHERE p -> 'id' = i -> 'project'} ],
	sprints => [ 'project, external_id, name, state, starts_at, ends_at',
		q{SELECT p.name, s.external_id, s.name, state, starts_at, ends_at FROM keypup.sprints s JOIN keypup.projects p USING (account_id, project_id) WHERE account_id = :account},
		q{SELECT p ->> 'key', s ->> 'id', s ->> 'name', s ->> 'state', (s ->> 'starts')::timestamptz, (s ->> 'ends')::timestamptz
			FROM truth, jsonb_array_elements(t -> 'projects') p, jsonb_array_elements(t -> 'sprints') s WHERE p -> 'id' = s -> 'project'} ],
	labels => [ 'project, external_id, name, color',
		q{SELECT p.name, l.external_id, l.name, color FROM keypup.labels l JOIN keypup.projects p USING (account_id, project_id) WHERE account_id = :account},
		q{SELECT p ->> 'key', l ->> 'id', l ->> 'name', l ->> 'color' FROM truth, jsonb_array_elements(t -> 'projects') p, jsonb_array_elements(t -> 'labels') l
			UNION ALL SELECT b ->> 'name', g ->> 'id', g ->> 'name', NULL FROM truth, jsonb_array_elements(t -> 'boards') b, jsonb_array_elements(b -> 'tags') g WHERE b ->> 'name' IN ('Board 1', 'Board 2')} ],
	cards => [ 'project, external_id, title, state, author, created_at, updated_at, closed_at, labels, assignees',
		q{SELECT p.name, i.external_id, title, i.state, author, i.created_at, i.updated_at, closed_at, labels, assignees
			FROM keypup.issues i JOIN keypup.projects p USING (account_id, project_id) JOIN keypup.connections c USING (account_id, connection_id)
			WHERE c.provider = 'board' AND i.deleted_at IS NULL AND account_id = :account},
		q{SELECT b ->> 'name', c ->> 'id', c ->> 'title', CASE c ->> 'done' WHEN 'true' THEN 'closed' ELSE 'open' END, c ->> 'author', (c ->> 'created')::timestamptz, (c ->> 'updated')::timestamptz,
			(c ->> 'doneAt')::timestamptz, ARRAY(SELECT x FROM jsonb_array_elements_text(c -> 'tags') x), ARRAY(SELECT x COLLATE "C" FROM jsonb_array_elements_text(c -> 'owners') x ORDER BY 1)
			FROM truth, jsonb_array_elements(t -> 'boards') b, jsonb_array_elements(t -> 'cards') c WHERE b -> 'id' = c -> 'board'} ],
	projects => [ 'name, external_id, url, is_archived, issue_total',
		q{SELECT name, external_id, url, is_archived, issue_total FROM keypup.projects WHERE account_id = :account},
		qq{SELECT p ->> 'key', p ->> 'id', '$service->{url}/tracker/browse/' || (p ->> 'key'), (p ->> 'archived')::boolean, (SELECT count(*) FROM jsonb_array_elements(t -> 'issues') i WHERE i -> 'project' = p -> 'id')
			FROM truth, jsonb_array_elements(t -> 'projects') p
			UNION ALL SELECT b ->> 'name', b ->> 'id', '$service->{url}/b/' || (b ->> 'id'), (b ->> 'archived')::boolean, (SELECT count(*) FROM jsonb_array_elements(t -> 'cards') c WHERE c -> 'board' = b -> 'id')
			FROM truth, jsonb_array_elements(t -> 'boards') b WHERE b ->> 'name' IN ('Board 1', 'Board 2')} ]);

# With an older truth: each row is that of one of the two.
sub differences_of
{
	my ($account, @truths) = @_;
	my @found;
	foreach my $table (sort keys %cells)
	{
		my ($columns, $ours, $theirs) = @{ $cells{$table} };
		$ours =~ s/:account/(SELECT account_id FROM keypup.accounts WHERE name = '$account')/;
		my $missing = @truths > 1 ? 'SELECT 1 WHERE false' : 'TABLE theirs EXCEPT ALL TABLE ours';
		my $has = join ' UNION ', map { '(WITH truth AS (SELECT ' . literal($_) . "::jsonb AS t) $theirs)" } @truths;
		$has = 'WITH truth AS (SELECT ' . literal($truths[0]) . "::jsonb AS t) $theirs" if @truths == 1;
		my $answer = query("WITH ours ($columns) AS ($ours), theirs ($columns) AS ($has), missing AS ($missing), extra AS (" . (@truths > 1 ? 'TABLE ours EXCEPT TABLE theirs' : 'TABLE ours EXCEPT ALL TABLE theirs') . ")
			SELECT (SELECT count(*) FROM theirs), (SELECT string_agg(missing::text, ' ') FROM missing), (SELECT string_agg(extra::text, ' ') FROM extra)");
		push @found, "$table: $answer" unless $answer =~ /^[1-9]\d*\|\|$/;
	}
	return join "\n", @found;
}
sub is_whole
{
	my ($account, $what) = @_;
	is(differences_of($account, truth()), '', $what);
	return;
}

# The worker: its first reading, and what it lists.
my $is_idle = q{SELECT bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL AND last_error IS NULL AND warning IS NULL) FROM keypup.sync_status};
query(qq{SELECT keypup.track('acme', '$_->[1]', '$_->[0]')}) foreach [ 'tracker', 'PROJ' ], [ 'tracker', 'NEXT' ], [ 'board', 'Board 1' ], [ 'board', 'Board 2' ];
ok($node->poll_query_until('postgres', $is_idle), 'the worker reads both') or diag(query('SELECT project, phase, last_error, warning FROM keypup.sync_status'));
is_whole('acme', 'every cell is the services\'');
is(query(q{SELECT string_agg(i.number::text, ' ' ORDER BY i.number) FROM keypup.issues i JOIN keypup.projects p USING (account_id, project_id) WHERE p.name = 'Board 1'}), '1 2 3 4 5 6 7 8',
	'what has no number is numbered');
is(query(q{SELECT string_agg(login || ' ' || kind, ', ' ORDER BY login) FROM keypup.identities}), 'ada user, bob user', 'and who did it is known');
is(as_role($node, 'olga', q{SELECT * FROM keypup.discover('acme', 'board') ORDER BY project}),
	"Board 1|public|f||t\nBoard 2|private|f||t\nBoard 3|public|f||f\nBoard 4|private|f||f\nBoard 5|public|t||f", 'discover lists what a token sees, over all pages');
like(as_role($node, 'olga', q{SELECT keypup.discover('acme', 'tracker')}), qr/Tracker does not list what could be tracked/, 'a provider that cannot tell is not asked');
like(as_role($node, 'olga', q{SELECT keypup.allow_provider_sign_in('acme', 'viewer', 'tracker')}), qr/people cannot sign in with tokens of Tracker/, 'nor who signs in');
like(as_role($node, 'olga', q{SELECT keypup.set_webhook_secret('acme', 'tracker', 'a secret of thirty-two characters')}), qr/Tracker sends no signed webhooks/, 'one that sends no webhooks has no secret for them');
my ($unknown, $known) = map { my (undef, undef, $error) = $node->psql('postgres', "SELECT keypup.receive_webhook($_, '{}', 'x')"); $error =~ s/^psql:<stdin>:\d+: //r } 'gen_random_uuid()',
	q{(SELECT connection_id FROM keypup.connections WHERE name = 'tracker')};
is($known, $unknown, 'a webhook for it is answered as one for nobody');

# No poll, of however many projects: each has its run.
query(q{CREATE TABLE kinds (kind text); GRANT INSERT ON kinds TO keypup_worker;
	CREATE FUNCTION note_kind() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN INSERT INTO public.kinds VALUES (NEW.kind); RETURN NEW; END $$;
	CREATE TRIGGER note AFTER INSERT ON keypup.sync_jobs FOR EACH ROW EXECUTE FUNCTION note_kind();
	UPDATE keypup.sync_state SET next_run_at = now(), last_run_finished_at = now() - interval '1 day'; SELECT keypup.wake_launcher()});
ok($node->poll_query_until('postgres', q{SELECT bool_and(phase = 'idle' AND last_run_finished_at > now() - interval '1 hour') FROM keypup.sync_status}), 'the next runs are the worker\'s, too');
is(query('SELECT string_agg(DISTINCT kind, \' \' ORDER BY kind) FROM kinds'), 'cards issues project versions', 'where a provider has no poll none is queued');
is_whole('acme', 'and nothing is otherwise after them');

# The smallest, as doc/providers.md has it.
my ($smallest) = slurp_file('doc/providers.md') =~ /^## The smallest\n.*?^```sql\n(.*?)^```/ms;
query($smallest);
query(qq{SELECT keypup.create_account('small'), keypup.connect('small', 'plain', '$token{board}', '$service->{url}/plain'); SELECT keypup.track('small', 'shopping'), keypup.track('small', 'nothing')});
query(q{CALL keypup.sync('small')});
is(query(q{SELECT string_agg(concat_ws(' ', number, title, i.state), ', ' ORDER BY number) FROM keypup.issues i JOIN keypup.accounts a USING (account_id) WHERE a.name = 'small'}), '7 Milk open, 9 Tea closed',
	'the smallest provider of the documentation works');
is(query(q{SELECT string_agg(concat_ws(' ', project, percent, last_error), ', ' ORDER BY project) FROM keypup.sync_status WHERE account = 'small'}), q{nothing 0 Plain's answer is not a list, shopping 100},
	'and says what is wrong');
query(q{SELECT keypup.disconnect('small', 'plain')});

# From here on CALL alone.
query(q{ALTER DATABASE postgres SET keypup.workers = 0; SELECT keypup.wake_launcher()});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'keypup worker'}), 'no worker is there any more');
query(q{SELECT keypup.create_account('beta')});
connect_account('beta');
query(qq{SELECT keypup.track('beta', '$_->[1]', '$_->[0]')}) foreach [ 'tracker', 'PROJ' ], [ 'tracker', 'NEXT' ], [ 'board', 'Board 1' ], [ 'board', 'Board 2' ];
query(q{CALL keypup.sync('beta')});
is_whole('beta', 'CALL stores the same');
is(query(q{SELECT string_agg(DISTINCT last_error, '') IS NULL, count(*) FROM keypup.sync_status WHERE account = 'beta' AND phase = 'idle'}), 't|4', 'and is done');

# Who can be asked of several at once is, by as many as fit.
foreach my $poll ([ 0, 'project project' ], [ 1, 'project project' ], [ 2, 'poll' ])
{
	is(query(qq{BEGIN; UPDATE keypup.providers SET poll_size = $poll->[0] WHERE provider = 'tracker'; UPDATE keypup.sync_state SET next_run_at = now();
		DO 'BEGIN PERFORM keypup.start_due_runs(NULL, NULL, false, 100); END';
		SELECT string_agg(j.kind, ' ') FROM keypup.sync_jobs j JOIN keypup.connections USING (account_id, connection_id) JOIN keypup.accounts a USING (account_id)
		WHERE a.name = 'beta' AND provider = 'tracker'; ROLLBACK}), $poll->[1], "of two projects, $poll->[0] at once: $poll->[1]");
}

# Changes, a key that changes with its project's, an issue that is moved, and one that is deleted.
control($service, 'change', { provider => 'tracker', kind => 'issue', id => 20004, title => 'Another title', status => 'Done', category => 'done', resolved => '2026-05-01T08:00:00Z', updated => '2026-05-01T08:00:01Z' });
control($service, 'change', { provider => 'tracker', kind => 'version', id => 100012, name => '2.0', released => JSON::PP::true, releasedAt => '2026-05-02T00:00:00Z' });
control($service, 'change', { provider => 'tracker', kind => 'issue', id => 20002, project => 10002, serial => 99, versions => [], sprint => undef, updated => '2026-05-03T08:00:00Z' });
control($service, 'change', { provider => 'board', kind => 'card', id => '00000000-0000-4000-8000-000000001007', title => 'Renamed', done => JSON::PP::true, doneAt => '2026-05-01T08:00:00Z' });
control($service, 'remove', { id => '00000000-0000-4000-8000-000000001014' });
query(q{CALL keypup.sync('beta')});
# What was renamed names the issues of before, too.
foreach my $issue (@{ decode_json(truth())->{issues} })
{
	my @versions = map { $_->{id} == 100012 ? { %$_, name => '2.0' } : $_ } @{ $issue->{versions} };
	control($service, 'change', { provider => 'tracker', kind => 'issue', id => $issue->{id}, versions => \@versions });
}
is_whole('beta', 'what changed, was moved and was deleted arrives with the next run');
is(query(q{SELECT string_agg(concat_ws(' ', p.name, i.key, i.deleted_at IS NOT NULL), ', ' ORDER BY p.name) FROM keypup.issues i JOIN keypup.projects p USING (account_id, project_id) JOIN keypup.accounts a USING (account_id) WHERE a.name = 'beta' AND i.number = 20002}),
	'NEXT NEXT-99 f, PROJ PROJ-3 t', 'what was moved is in one project alone');
control($service, 'rename', { id => 10001, key => 'CORE' });
query(q{CALL keypup.sync('beta')});
is_whole('beta', 'a project\'s new key is that of all its issues');
is(query(q{SELECT count(*) FROM keypup.issues i JOIN keypup.projects p USING (account_id, project_id) JOIN keypup.accounts a USING (account_id) WHERE a.name = 'beta' AND p.name = 'CORE' AND i.key ~ '^CORE-' AND i.deleted_at IS NULL}), '9', 'and no issue is there twice');

# Reading again.
query(q{UPDATE keypup.issues SET title = 'wrong' WHERE number = 20005; SELECT keypup.reread('beta', 'CORE', 20005); CALL keypup.sync('beta')});
is_whole('beta', 'reread reads one issue');
query(q{UPDATE keypup.issues SET title = 'wrong'; SELECT keypup.reread('beta', 'CORE'), keypup.reread('beta', 'NEXT'), keypup.reread('beta', 'Board 1')});
query(q{CALL keypup.sync('beta')});
is_whole('beta', 'or a whole project');
my (undef, undef, $said) = $node->psql('postgres', q{SELECT keypup.reread('beta', 'CORE', 4711)});
like($said, qr/number 4711 of project "CORE" is not known/, 'and an issue that is not there is named');

# Faults. Several issues and cards have changed, so that there is more than a page.
my $round = 0;
sub change_all
{
	$round++;
	control($service, 'change', { provider => 'tracker', kind => 'issue', id => $_, title => "Round $round", updated => sprintf('2026-06-%02dT08:00:00Z', $round) }) foreach 20003 .. 20009, 20010 .. 20016;
	control($service, 'change', { provider => 'board', kind => 'card', id => sprintf('00000000-0000-4000-8000-%012d', 1000 + 7 * $_), title => "Round $round" }) foreach 0, 1, 3 .. 10;
	return;
}
my $told = q{SELECT string_agg(DISTINCT last_error || ' / ' || coalesce(last_error_hint, ''), '; ') FROM keypup.sync_status s JOIN keypup.projects USING (account_id, project_id) JOIN keypup.connections c USING (account_id, connection_id) WHERE account = 'beta' AND provider = '%s'};
my %page = (tracker => '/tracker/search', board => '/board/cards');
my $there = q{SELECT count(*) FILTER (WHERE deleted_at IS NULL), count(*) FROM keypup.issues JOIN keypup.accounts a USING (account_id) WHERE a.name = 'beta'};
my @faults = (
	[ 'a refused token', { status => 401 }, { tracker => qr{^Tracker refuses the token \(401\) / }, board => qr{^Board refuses the token \(401\) / } } ],
	[ '429', { status => 429, headers => { 'retry-after' => '1800' } }, { tracker => qr{^Tracker's rate limit is reached / }, board => qr{^Board's rate limit is reached / } } ],
	[ '500', { status => 500 }, { tracker => qr{^Tracker answered 500 / }, board => qr{^Board could not answer \(500\) / } } ],
	[ 'HTML', { raw => '<html>maintenance</html>' }, { tracker => qr{^the reply is not JSON / }, board => qr{^the reply is not JSON / } } ],
	[ 'another page', { raw => '{"issues": [{"id": 1}], "cards": 7, "cursor": null}' }, { tracker => qr{^Tracker's answer is not what was asked for: }, board => qr{^Board's answer is not what was asked for: } } ],
	[ 'half a page', { half => 1 }, { tracker => qr{^Tracker did not give the page in full: shard 3 did not answer / }, board => qr{^Board did not give the page in full: shard 3 did not answer / } } ],
	[ 'a page after itself', { loop => 1 }, { tracker => qr{^Tracker's list does not go on: }, board => qr{^Board's list does not go on: } } ],
	[ 'a redirect elsewhere', { status => 302, headers => { location => '$elsewhere/tracker/search' } }, { tracker => qr{^Tracker answered 302 / }, board => qr{^Board answered 302 / } } ],
	[ 'a link elsewhere', { away => 1, path => '/tracker/project/10001/versions' }, { tracker => qr{^Tracker's list goes on at another server / } } ]);
foreach my $fault (@faults)
{
	my ($what, $settings, $errors) = @$fault;
	my $before = truth();
	my $how_many = query($there);
	change_all();
	my $after = truth();
	control($service, 'settings', { faults => [ map { { path => $page{$_}, %$settings } } sort keys %$errors ] });
	# Once more: what was put off, and a token that was refused once, is asked for again.
	$node->psql('postgres', q{SET statement_timeout = '60s'; CALL keypup.sync('beta', patience => '1 second')});
	query(q{UPDATE keypup.connections SET retry_at = now() WHERE state = 'token_doubted'});
	$node->psql('postgres', q{SET statement_timeout = '60s'; CALL keypup.sync('beta', patience => '3 seconds')});
	foreach my $provider (sort keys %$errors)
	{
		like(query(sprintf $told, $provider), $errors->{$provider}, "$what: $provider\'s error");
	}
	is(differences_of('beta', $before, $after), '', "$what: each row is whole");
	is(query($there), $how_many, "$what: and there");
	is(query(q{SELECT count(*) FROM keypup.sync_failures}), '0', "$what: nothing is given up");
	control($service, 'settings', { faults => [] });
	query(q{SELECT keypup.resume_connections()});
	$node->psql('postgres', q{SET statement_timeout = '60s'; CALL keypup.sync('beta', patience => '10 seconds')});
	is(query(sprintf $told, $_), '', "$what: no error is left of $_") foreach qw(tracker board);
	is_whole('beta', "$what: and all is read when the service is well");
}

# What a provider's functions say wrongly, or not at all.
sub with_function
{
	my ($function, $body, $check) = @_;
	my $definition = query("SELECT pg_get_functiondef('keypup.$function'::regprocedure)");
	query($definition =~ s/^AS (\$\w*\$).*\1$/AS \$toy\$ $body \$toy\$/smr =~ s/LANGUAGE \w+/LANGUAGE plpgsql/r);
	$node->psql('postgres', q{CALL keypup.sync('beta', patience => '1 second')});
	$check->();
	query($definition);
	query(q{SELECT keypup.resume_connections(); CALL keypup.sync('beta')});
	return;
}
my $verdict = 'tracker_verdict(integer, jsonb, jsonb, text)';
my $blocked = q{SELECT blocked_until - now() BETWEEN '30 seconds' AND '1 hour' FROM keypup.connections JOIN keypup.accounts a USING (account_id) WHERE a.name = 'beta' AND provider = 'tracker'};
with_function($verdict, q{DECLARE v keypup.verdict; BEGIN v.verdict := 'failed'; RETURN v; END}, sub { like(query(sprintf $told, 'tracker'), qr{^Tracker's answer cannot be used / }, 'no failure is silent') });
with_function($verdict, q{DECLARE v keypup.verdict; BEGIN RETURN v; END}, sub { like(query(sprintf $told, 'tracker'), qr{^Tracker's answer cannot be used / }, 'nor is no verdict a page') });
with_function($verdict, q{DECLARE v keypup.verdict; BEGIN v.verdict := 'paused'; RETURN v; END}, sub { is(query($blocked), 't', 'a pause has an end') });
with_function($verdict, q{DECLARE v keypup.verdict; BEGIN v.verdict := 'paused'; v.retry_at := 'infinity'; RETURN v; END}, sub { is(query($blocked), 't', 'within an hour') });
foreach my $function ($verdict, 'tracker_page(uuid, bigint, jsonb, jsonb, integer, integer)', 'default_settle(uuid, uuid, bigint, text, jsonb, text)', 'tracker_request(uuid, bigint)')
{
	change_all();
	my $before = query('SELECT md5(string_agg(i::text, $$ $$ ORDER BY i::text)) FROM keypup.issues i JOIN keypup.projects USING (account_id, project_id) JOIN keypup.connections c USING (account_id, connection_id) WHERE c.provider = $$tracker$$');
	with_function($function, q{BEGIN RAISE EXCEPTION 'the toy is broken'; END}, sub {
		like(query(sprintf $told, 'tracker'), qr{^the toy is broken / }, "$function: its error is the project's");
		is(query('SELECT md5(string_agg(i::text, $$ $$ ORDER BY i::text)) FROM keypup.issues i JOIN keypup.projects USING (account_id, project_id) JOIN keypup.connections c USING (account_id, connection_id) WHERE c.provider = $$tracker$$'), $before, "$function: and nothing is stored");
	});
}
is_whole('beta', 'what was mended goes on');

# A provider's function that follows whatever it is told is stopped: the token is shown to one origin.
my $request = query(q{SELECT pg_get_functiondef('keypup.tracker_request(uuid, bigint)'::regprocedure)});
query($request =~ s/c\.base_url/'$service->{elsewhere}'/gr);
$node->psql('postgres', q{CALL keypup.sync('beta', patience => '1 second')});
like(query(sprintf $told, 'tracker'), qr/^a request to tracker may not be sent: it asks another server than the connection's/, 'a request to another server is not sent');
query($request);
query(q{CALL keypup.sync('beta')});
is_whole('beta', 'and all is read when it is mended');
my $counters = counters();
is($counters->{elsewhere}, 0, 'the other server was never asked');
is($counters->{refused}, 0, 'each request showed the right token in the right header');
is_deeply([ sort keys %{ $counters->{methods} } ], [ 'board POST', 'plain GET', 'tracker GET' ], 'tracker is asked by GET, and board by POST');

$node->stop;
my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|TRAP|segfault|signal 11/, 'nothing crashed');
my $encoded = `printf %s '$token{tracker}' | base64`;
chomp $encoded;
is(scalar(grep { index($log, $_) >= 0 } $token{tracker}, $token{board}, 'TOYPROBE', $encoded), 0, 'the log holds no token');
is(`grep -raoE 'TOYPROBE' '@{[ $node->data_dir ]}' | head -n 3`, '', 'nor does the data directory');
done_testing();
