# T22: every relation x every command x everybody: what the roles allow, and nothing else.
use strict;
use warnings;
use JSON::PP;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'ghp_matrix0123456789';
my $github = start_github($token, '--generate', 'demo/one:pulls=30,issues=20,seed=3', '--generate', 'demo/two:pulls=10,issues=10,seed=4');
my $node = new_server($github, <<CONF);
jit = on
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1d'
CONF
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }

sub as
{
	my ($role, $sql) = @_;
	my ($code, $out, $error) = $node->psql('postgres', $sql, connstr => $node->connstr('postgres') . " user=$role", on_error_stop => 0);
	return $error =~ /ERROR:  (.*)$/m ? "error: $1" : $out =~ s/^\s+//r;
}

# Two accounts with the same repositories, so that everything but the account is alike.
query('CREATE EXTENSION keypup');
query("CREATE ROLE $_ LOGIN") foreach qw(olga adam mia vera lim auditor gone oscar bella sam old app);
query('GRANT keypup_member TO app; GRANT USAGE ON SCHEMA keypup TO app');
# Whose consent has ended may look still, and sees nothing.
query('CREATE ROLE staff NOLOGIN; GRANT keypup_member TO staff; GRANT USAGE ON SCHEMA keypup TO staff; GRANT staff TO old');
foreach my $account (qw(acme bolt))
{
	query(qq{SELECT keypup.create_account('$account'); SELECT keypup.connect('$account', 'github', '$token', '$github->{url}');
		SELECT keypup.track('$account', 'demo/one'), keypup.track('$account', 'demo/two')});
}
query(q{SELECT keypup.add_member('acme', 'olga', 'owner'), keypup.add_member('acme', 'adam', 'admin'), keypup.add_member('acme', 'mia', 'member'),
	keypup.add_member('acme', 'vera', 'viewer'), keypup.add_member('acme', 'lim', 'admin'), keypup.add_member('acme', 'gone', 'admin'), keypup.add_member('bolt', 'bella', 'owner')});
ok($node->poll_query_until('postgres', q{SELECT bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) FROM keypup.sync_status}), 'both accounts are synced');
query(q{SELECT keypup.limit_member('acme', 'lim', ARRAY['demo/two']); SELECT keypup.define_role('acme', 'auditor', ARRAY['users.read', 'audit.read']);
	SELECT keypup.add_member('acme', 'auditor', 'auditor'); SELECT keypup.remove_member('acme', 'gone');
	SELECT keypup.grant_support(a, 'sam', 'looking at a sync', '1 hour', ARRAY['demo/one']) FROM unnest(ARRAY['acme']) a;
	SELECT keypup.grant_support(a, 'old', 'looked at a sync', '1 second') FROM unnest(ARRAY['acme', 'bolt']) a;
	SELECT keypup.grant_support('bolt', 'oscar', 'looks at the other', '1 hour', ARRAY['demo/one'])});
query(q{SELECT keypup.add_person(a, 'ann', 'viewer') FROM unnest(ARRAY['acme', 'bolt']) a});
query(q{INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, due_at) SELECT account_id, connection_id, project_id, 'repository', now() + interval '1 day' FROM keypup.projects;
	INSERT INTO keypup.identity_providers (account_id, issuer, client_ids, added_by) SELECT account_id, 'https://id.example', '{c}', 'test' FROM keypup.accounts;
	INSERT INTO keypup.person_identities SELECT account_id, 'https://id.example', 's', 'ann' FROM keypup.accounts;
	INSERT INTO keypup.identity_groups SELECT account_id, 'https://id.example', 'g', 'viewer' FROM keypup.accounts;
	INSERT INTO keypup.break_glass (account_id, request_id, grantee, reason, requested_by) SELECT account_id, 1, 'sam', 'only asked for, never approved', 'test' FROM keypup.accounts;
	INSERT INTO keypup.webhook_deliveries (account_id, connection_id, delivery_id, event) SELECT account_id, connection_id, 'd', 'ping' FROM keypup.connections;
	INSERT INTO keypup.app_installations (account_id, connection_id, app_id, installation_id) SELECT account_id, connection_id, '7', 99 FROM keypup.connections;
	INSERT INTO keypup.totp_seeds (account_id, enrollment_id, member, envelope) SELECT account_id, gen_random_uuid(), member, '\x4b50010100000001' || decode(repeat('00', 40), 'hex') FROM keypup.members;
	INSERT INTO keypup.used_tokens SELECT account_id, '\x00', now() + interval '1 hour' FROM keypup.accounts;
	INSERT INTO keypup.person_merges (account_id, connection_id, external_id, own_person_id, merged_by) SELECT account_id, connection_id, external_id, person_id, 'test' FROM keypup.identities WHERE person_id IS NOT NULL;
	INSERT INTO keypup.person_splits (account_id, connection_id, external_id, split_by) SELECT account_id, connection_id, min(external_id), 'test' FROM keypup.identities GROUP BY 1, 2;
	UPDATE keypup.identities SET name = 'Two Words';
	INSERT INTO keypup.teams (account_id, team) SELECT account_id, 'core' FROM keypup.accounts;
	INSERT INTO keypup.team_members (account_id, team, person_id) SELECT account_id, 'core', person_id FROM keypup.people;
	INSERT INTO keypup.sprints (account_id, project_id, external_id, name, state) SELECT account_id, project_id, 'S1', 'Sprint 1', 'active' FROM keypup.projects;
	INSERT INTO keypup.deployments (account_id, project_id, external_id, environment, state, created_at, updated_at, succeeded_at)
	SELECT account_id, project_id, 'D' || n, 'production', 'active', t, t, t FROM keypup.projects, generate_series(1, 5) n, LATERAL (SELECT now() - n * interval '1 day' AS t) x;
	INSERT INTO keypup.releases (account_id, project_id, external_id, tag_name, is_draft, is_prerelease, created_at, published_at, updated_at)
	SELECT account_id, project_id, 'R', 'v1', false, false, now(), now(), now() FROM keypup.projects;
	INSERT INTO keypup.timeline_events (account_id, project_id, item_kind, item_number, external_id, event, from_value, to_value, occurred_at)
	SELECT account_id, project_id, 'issue', min(number), 'B', 'labeled', 'L', 'blocked', min(created_at) FROM keypup.issues WHERE state = 'open' GROUP BY 1, 2;
	UPDATE keypup.issues i SET labels = labels || '{blocked}' FROM keypup.timeline_events e WHERE e.external_id = 'B' AND (e.account_id, e.project_id, e.item_number) = (i.account_id, i.project_id, i.number);
	INSERT INTO keypup.pull_request_checks (account_id, project_id, pull_request_number, external_id, head_commit, kind, name, status, conclusion, completed_at)
	SELECT account_id, project_id, min(number), 'K' || n, 'c', 'check_run', 'flaky', 'completed', CASE n WHEN 1 THEN 'failure' ELSE 'success' END, now() + n * interval '1 minute' FROM keypup.pull_requests, generate_series(1, 2) n GROUP BY 1, 2, n;
	UPDATE keypup.issues SET labels = '{incident}' WHERE number % 5 = 0;
	UPDATE keypup.pull_requests r SET title = 'Revert "' || (SELECT p.title FROM keypup.pull_requests p WHERE p.account_id = r.account_id AND p.project_id = r.project_id AND p.merged_at < r.created_at ORDER BY p.number LIMIT 1) || '"'
	FROM (SELECT account_id, project_id, max(number) AS number FROM keypup.pull_requests GROUP BY 1, 2) l WHERE (r.account_id, r.project_id, r.number) = (l.account_id, l.project_id, l.number);
	SELECT keypup.hold_audit_log(name, 'a case before a court') FROM keypup.accounts;
	UPDATE keypup.connections SET state = 'token_refused';
	SELECT keypup.limit_member('bolt', 'ann', ARRAY['demo/one']); SELECT keypup.define_role('bolt', 'own', ARRAY['data.read'])});
my %key = map { $_ => query("SELECT keypup.create_api_key('$_', 'k', 'viewer')") } qw(acme bolt);
my %session = map { $_ => as('app', "SELECT keypup.sign_in_with_api_key('$key{$_}')") } qw(acme bolt);
my $ended = as('app', "SELECT keypup.sign_in_with_api_key('$key{acme}')");
query("UPDATE keypup.sessions SET expires_at = now() WHERE handle_digest = sha256('$ended')");
sleep 1;    # the consent of one second

# Who, and what the right answer is: the permissions in an account, and the projects they hold for.
my $permissions = sub { return query("SELECT string_agg(permission, ' ') FROM keypup.role_permissions WHERE role = '$_[0]'"); };
my @users = (
	[ 'owner', 'olga', '', 'acme', $permissions->('owner') ], [ 'admin', 'adam', '', 'acme', $permissions->('admin') ],
	[ 'member', 'mia', '', 'acme', $permissions->('member') ], [ 'viewer', 'vera', '', 'acme', $permissions->('viewer') ],
	[ 'limited admin', 'lim', '', 'acme', 'data.read settings.read', 'demo/two' ], [ 'own role', 'auditor', '', 'acme', 'users.read audit.read' ],
	[ 'owner of another account', 'bella', '', 'bolt', $permissions->('owner') ], [ 'support', 'sam', '', 'acme', 'data.read settings.read', 'demo/one' ],
	[ 'support of another account', 'oscar', '', 'bolt', 'data.read settings.read', 'demo/one' ],
	[ 'support that has ended', 'old', '', 'acme', '' ], [ 'pool without a session', 'app', '', 'acme', '' ],
	[ 'API key', 'app', "SELECT keypup.use_session('$session{acme}')", 'acme', $permissions->('viewer') ],
	[ 'API key of another account', 'app', "SELECT keypup.use_session('$session{bolt}')", 'bolt', $permissions->('viewer') ]);
my @relations = map { [ split /\|/ ] } split /\n/, query(q{
	SELECT c.relname, coalesce(substring(p.qual FROM $$my_accounts\('([a-z.]+)'$$), ''),
		EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'project_id'),
		has_any_column_privilege('keypup_member', c.oid, 'SELECT'), (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = 1)
	FROM pg_class c LEFT JOIN pg_policies p ON p.schemaname = 'keypup' AND p.tablename = c.relname AND p.policyname = 'member_reads'
	WHERE c.relnamespace = 'keypup'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1});
cmp_ok(scalar @relations, '>=', 25, scalar(@relations) . ' tables are tried for ' . @users . ' users');
is(query(q{SELECT string_agg(c.relname, ' ') FROM pg_class c WHERE c.relnamespace = 'keypup'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
	AND c.relname NOT IN ('role_permissions', 'providers', 'wanted_rights', 'opened_roles', 'data_keys', 'proxy_credentials', 'audit_clock', 'audit_settings', 'audit_heads', 'audit_boundaries', 'audit_checkpoints', 'audit_checkpoint_heads', 'audit_gaps', 'audit_sinks', 'audit_sink_positions', 'audit_sink_secrets')
	AND NOT EXISTS (SELECT FROM pg_policies p WHERE p.schemaname = 'keypup' AND p.tablename = c.relname)}), '', 'every table has its policies');
# Of people whoever is limited to a project sees those whose logins stand in it.
my $identities = q{SELECT i.%s FROM keypup.identities i WHERE i.account_id = t.account_id AND (i.connection_id, i.login) IN (SELECT p.connection_id, l.login FROM keypup.project_logins l JOIN keypup.projects p USING (account_id, project_id) WHERE p.account_id = t.account_id AND p.name = '%s')};
my $seen = sub { my ($column) = @_; return sub { return sprintf $identities, $column, $_[0]; }; };
my ($ids, $persons) = ($seen->('external_id'), $seen->('person_id'));
# Whoever was merged is still in teams as the person from before.
my $members = sub {
	return '(m.person_id IN (' . $persons->($_[0]) . ') OR m.person_id IN (SELECT g.own_person_id FROM keypup.person_merges g WHERE g.account_id = t.account_id AND g.external_id IN (' . $ids->($_[0]) . ')))';
};
my %of_people = (
	(map { $_ => sub { return 'external_id IN (' . $ids->($_[0]) . ')'; } } qw(identities person_splits person_merges)),
	people => sub { return 'person_id IN (' . $persons->($_[0]) . ')'; },
	team_members => sub { return $members->($_[0]) =~ s/m\.person_id/t.person_id/gr; },
	teams => sub { return 'team IN (SELECT m.team FROM keypup.team_members m WHERE m.account_id = t.account_id AND ' . $members->($_[0]) . ')'; });
my $cells = 0;
foreach my $user (@users)
{
	my ($name, $role, $first, $account, $held, $project) = @$user;
	my %held = map { $_ => 1 } split / /, $held;
	my @wrong;
	my $ask = asking_as($node, $role, $first || ());
	foreach my $relation (@relations)
	{
		my ($table, $permission, $has_project, $readable, $column) = @$relation;
		next if $table eq 'role_permissions' || $table eq 'providers' || $table eq 'audit_actions';
		my $expected = 'error: permission denied for table ' . $table;
		if ($readable eq 't')
		{
			my $limit = $project && $has_project eq 't' ? " AND project_id = (SELECT p.project_id FROM keypup.projects p WHERE p.account_id = t.account_id AND p.name = '$project')" : '';
			$limit = ' AND ' . $of_people{$table}->($project) if $project && $of_people{$table};
			my $truth = query("SELECT count(*) FROM keypup.$table t WHERE account_id = (SELECT account_id FROM keypup.accounts WHERE name = '$account')$limit");
			$expected = $held{$permission} ? $truth : 0;
			push @wrong, "$table is empty" if $truth == 0 && $has_project ne 't' && !$limit;
		}
		my $got = $ask->("SELECT count(*) FROM keypup.$table");
		push @wrong, "SELECT $table: $got, not $expected" if $got ne $expected;
		$cells++;
		foreach my $write ("INSERT INTO keypup.$table SELECT", "UPDATE keypup.$table SET $column = $column", "DELETE FROM keypup.$table", "TRUNCATE keypup.$table", "LOCK TABLE keypup.$table")
		{
			$got = $ask->($write);
			push @wrong, "$write: $got" if $got !~ /^error: permission denied for table $table$/ && !($write =~ /^UPDATE/ && $got =~ /permission denied/);
			$cells++;
		}
	}
	is(join('; ', @wrong), '', "$name: every table answers as it should");
}
foreach my $user ([ 'outsider', 'oscar2' ], [ 'removed member', 'gone' ])
{
	query("CREATE ROLE $user->[1] LOGIN") if $user->[1] eq 'oscar2';
	my $ask = asking_as($node, $user->[1]);
	is(scalar(grep { $ask->("SELECT count(*) FROM keypup.$_->[0]") ne 'error: permission denied for schema keypup' } @relations), 0, "$user->[0]: nothing at all");
	$cells += @relations;
}
diag("$cells cells were tried");

# Views show what their tables show.
my ($everything, $vera, $old) = map { asking_as($node, $_) } query('SELECT current_user'), 'vera', 'old';
foreach my $view (split /\n/, query(q{SELECT relname FROM pg_class WHERE relnamespace = 'keypup'::regnamespace AND relkind = 'v' AND has_table_privilege('keypup_member', oid, 'SELECT') AND relname NOT IN ('key_status', 'audit_forwarding', 'audit_daily', 'roles', 'orphaned_members', 'second_factors')
	AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = pg_class.oid AND a.attname = 'account_id')}))
{
	my $truth = $everything->("SELECT count(*) FROM keypup.$view WHERE account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'acme')");
	is($vera->("SELECT count(*), count(DISTINCT account_id) FROM keypup.$view"), "$truth|1", "view $view: a viewer sees the own account's $truth rows");
	is($old->("SELECT count(*) FROM keypup.$view"), '0', "view $view: whose consent has ended sees none");
}
undef $_ foreach $everything, $vera, $old;

is(as($_->[0], 'SELECT count(*) > 0, count(DISTINCT account_id) FROM keypup.audit_daily'), $_->[1], "view audit_daily: $_->[0] sees what audit.read lets them") foreach [ vera => 'f|0' ], [ adam => 't|1' ], [ old => 'f|0' ];

# The policies cost one look at the rights and an index: for every table that a member reads.
my @planless = grep {
	my $plan = as('vera', "SET enable_seqscan = off; EXPLAIN SELECT account_id FROM keypup.$_->[0]");
	my ($index) = $plan =~ /Index (?:Only )?Scan (?:using|on) (\w+)/;
	$plan !~ /InitPlan/ || !$index
	  || query("SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] WHERE i.indexrelid = 'keypup.$index'::regclass") ne 'account_id';
} grep { $_->[1] ne '' && $_->[3] eq 't' } @relations;
is(join(' ', map { $_->[0] } @planless), '', 'every tenant table is read by an InitPlan and an index led by account_id');

# A member is planned for as one of ten accounts: what is weighed against a fixed cost is weighed against ten times that cost.
SKIP: {
	skip 'this server cannot compile queries', 6 unless query('SELECT pg_jit_available()') eq 't';
	my $counts = 'SELECT count(*) FROM keypup.pull_requests';
	my $superuser = query('SELECT current_user');
	my $cost = sub { my ($out) = as($_[0], "EXPLAIN (FORMAT JSON) $counts") =~ /"Total Cost": ([0-9.]+)/; return $out; };
	my $compiles = sub {
		my ($role, $threshold, $query) = @_;
		$query //= $counts;
		return as($role, "SET jit_above_cost = $threshold; SET jit_inline_above_cost = -1; SET jit_optimize_above_cost = -1; EXPLAIN (ANALYZE, FORMAT JSON) $query") =~ /"JIT"/ ? 'compiles' : 'does not';
	};
	my ($member, $all) = ($cost->('mia'), $cost->($superuser));
	is($compiles->('mia', $member / 2), 'does not', 'a query of a member is not compiled at twice the cost that it takes');
	is($compiles->('mia', $member / 20), 'compiles', 'but at twenty times');
	is($compiles->($superuser, $all / 2), 'compiles', 'one without policies is, at twice the cost');
	is($compiles->('mia', -1), 'does not', 'what is switched off stays off');
	my $events = 'SELECT count(e) FROM keypup.activity_events e';
	my ($large) = as('mia', "EXPLAIN (FORMAT JSON) $events") =~ /"Total Cost": ([0-9.]+)/;
	is($compiles->('mia', $large / 20, $events), 'does not', 'a view of many tables, whose plan takes long to compile, is not compiled at twenty times');
	is($compiles->('mia', $large / 1000, $events), 'compiles', 'but at a thousand times');
}
is(as('mia', q{SET parallel_setup_cost = 100; DO $$ BEGIN PERFORM 1 / 0 FROM keypup.pull_requests; EXCEPTION WHEN division_by_zero THEN RAISE NOTICE 'failed'; END $$; SHOW parallel_setup_cost}), '100',
	'what is set stays set, where a query fails while it is planned');

# Of views that are joined each is computed once, whatever the planner knows of them, and whether policies are bypassed or not.
my $read_rows;
$read_rows = sub { my ($node) = @_; my $rows = ($node->{'Relation Name'} // '') eq 'pull_requests' ? $node->{'Actual Rows'} * $node->{'Actual Loops'} : 0; $rows += $read_rows->($_) foreach @{ $node->{Plans} // [] }; return $rows; };
foreach my $role ('mia', query('SELECT current_user'))
{
	foreach my $pair ([qw(pull_request_metrics pull_request_reviews)], [qw(pull_request_fields pull_request_metrics)], [qw(issue_metrics issue_fields)], [qw(pull_request_delivery activity_events)])
	{
		my ($one, $other) = @$pair;
		my $columns = $other eq 'activity_events' ? 'account_id, project_id' : 'account_id, project_id, number';
		like(as($role, "EXPLAIN (COSTS off) SELECT count(a), count(b) FROM keypup.$one a JOIN keypup.$other b USING ($columns)"), qr/^Aggregate\n  ->  (?:Hash|Merge) Join\n/, "$one joined with $other, by $role");
	}

	# What is joined with what passes for one row is kept, and not computed again for each of the rows that there are.
	my $team_plan = JSON::PP->new->decode(as($role, 'EXPLAIN (ANALYZE, TIMING off, FORMAT JSON) SELECT * FROM keypup.team_dora_metrics'));
	cmp_ok($read_rows->($team_plan->[0]{Plan}), '<=', 3 * query('SELECT count(*) FROM keypup.pull_requests'), "what teams deliver is gathered once, not once a member, by $role");
}

# A login is somebody at its connection: the same login of another account, or of another connection, opens nobody.
query(q{CREATE ROLE mallory LOGIN; SELECT keypup.create_account('mal'), keypup.add_member('mal', 'mallory', 'owner'), keypup.add_member('acme', 'mallory', 'viewer'), keypup.limit_member('acme', 'mallory', ARRAY['demo/two'])});
my $people = q{SELECT (SELECT count(*) FROM keypup.identities i WHERE i.account_id = a) || ' identities, ' || (SELECT count(*) FROM keypup.people p WHERE p.account_id = a) || ' people, '
	|| (SELECT count(*) FROM keypup.person_merges m WHERE m.account_id = a) || ' merges, ' || (SELECT count(*) FROM keypup.person_splits s WHERE s.account_id = a) || ' splits, '
	|| (SELECT count(*) FROM keypup.team_members t WHERE t.account_id = a) || ' in teams, ' || (SELECT count(*) FROM keypup.person_logins l WHERE l.account_id = a) || ' logins'
	FROM (SELECT account_id FROM keypup.accounts WHERE name = 'acme') x (a)};
my $others = as('mallory', $people);
query(q{DELETE FROM keypup.person_splits; INSERT INTO keypup.person_splits (account_id, connection_id, external_id, split_by) SELECT account_id, connection_id, external_id, 'test' FROM keypup.identities});
my $seen_by_splits = as('mallory', $people);
isnt($seen_by_splits, $others, 'who is limited sees splits of people in the project');
query(q{SELECT keypup.connect('mal', 'github', 'ghp_another0123456789', 'https://provider.invalid', 'own'), keypup.connect('acme', 'github', 'ghp_another0123456789', 'https://provider.invalid', 'second');
	INSERT INTO keypup.projects (account_id, connection_id, name, tracked_by) SELECT account_id, connection_id, 'mal/own', 'test' FROM keypup.connections WHERE name IN ('own', 'second');
	INSERT INTO keypup.identities (account_id, connection_id, external_id, login, kind) SELECT c.account_id, c.connection_id, i.external_id, i.login, i.kind FROM keypup.identities i, keypup.connections c
	WHERE c.name = 'own' AND i.account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'acme');
	INSERT INTO keypup.issues (account_id, project_id, number, key, external_id, title, state, author, created_at, updated_at)
	SELECT p.account_id, p.project_id, row_number() OVER (), '#', i.external_id, 'x', 'open', i.login, now(), now() FROM keypup.projects p,
		(SELECT DISTINCT ON (login) login, external_id FROM keypup.identities i WHERE i.account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'acme') ORDER BY login) i WHERE p.name = 'mal/own';
	SELECT keypup.limit_member('acme', 'mallory', ARRAY['demo/two', 'mal/own'])});
is(as('mallory', 'SELECT count(*) > 20 FROM keypup.issues i JOIN keypup.projects p USING (account_id, project_id) WHERE p.name = $$mal/own$$'), 't', 'rows of an own account, and of another connection, name every login');
is(as('mallory', $people), $seen_by_splits, 'and nobody is seen by it');

# Catalog: T26, T31, T23.
is(query(q{SELECT string_agg(DISTINCT c.relname || ' ' || x.privilege_type, ', ') FROM pg_class c, aclexplode(c.relacl) x JOIN pg_roles r ON r.oid = x.grantee AND NOT r.rolsuper
	WHERE c.relnamespace = 'keypup'::regnamespace AND (x.privilege_type IN ('TRUNCATE', 'TRIGGER', 'REFERENCES') OR x.privilege_type <> 'SELECT' AND r.rolname <> 'keypup_worker' AND c.relkind <> 'S')}),
	'', 'T26: nobody may truncate, set triggers or refer, and only the worker writes');
is(query(q{SELECT count(*) FROM pg_class WHERE relnamespace = 'keypup'::regnamespace AND (relkind IN ('m', 'f') OR relkind = 'p' AND relname <> 'audit_log')}), '0', 'T23, T25: no materialized view or foreign table');
is(query(q{SELECT string_agg(c.relname, ' ') FROM pg_class c WHERE relnamespace = 'keypup'::regnamespace AND relispartition AND (NOT relrowsecurity OR NOT relforcerowsecurity OR EXISTS (SELECT FROM aclexplode(c.relacl) x WHERE x.grantee <> c.relowner))}), '',
	'T23: partitions are nobody\'s to read by themselves');
is(query(q{SELECT string_agg(oid::regprocedure::text, ' ') FROM pg_proc WHERE pronamespace = 'keypup'::regnamespace AND prosecdef AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false)}), '',
	'T29: every function that runs as its owner has its search path pinned');

# T29: objects of a low role's own, named like those that our functions use.
query('CREATE TABLE canary (what text); GRANT INSERT ON canary TO PUBLIC; GRANT CREATE ON SCHEMA public TO PUBLIC; CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil TO PUBLIC');
my $hijack = join "\n", map {
	my $schema = $_;
	(map { "CREATE FUNCTION $schema.$_ LANGUAGE plpgsql AS \$\$ BEGIN INSERT INTO public.canary VALUES ('$schema'); RETURN NULL; END \$\$;" }
		'now() RETURNS timestamptz', 'format(text, VARIADIC text[]) RETURNS text', 'lower(text) RETURNS text', 'count(anyelement) RETURNS bigint', 'left(text, int) RETURNS text', 'gen_random_uuid() RETURNS uuid',
		'coalesce_text(text, text) RETURNS text', 'eq(text, text) RETURNS boolean', 'eqv(varchar, varchar) RETURNS boolean', 'equ(uuid, uuid) RETURNS boolean', 'eqi(int, int) RETURNS boolean'),
	(map { my ($function, $type) = @$_; "CREATE OPERATOR $schema.= (LEFTARG = $type, RIGHTARG = $type, FUNCTION = $schema.$function);" } [ 'eq', 'text' ], [ 'eqv', 'varchar' ], [ 'equ', 'uuid' ], [ 'eqi', 'int' ])
} qw(public evil pg_temp);
$hijack .= "CREATE TEMP TABLE accounts (account_id uuid, name text); CREATE TEMP TABLE members (account_id uuid, member text, role text); CREATE TEMP TABLE pg_roles (rolname text); SET search_path = pg_temp, evil, public, pg_catalog;";
my @calls = map { "SELECT $_;" } "keypup.track('acme', 'a/b')", "keypup.untrack('acme', 'a/b')", "keypup.add_member('acme', 'vera', 'viewer')", "keypup.limit_member('acme', 'mia', NULL)",
	"keypup.define_role('acme', 'r', ARRAY['data.read'])", "keypup.create_api_key('acme', 'h', 'viewer')", "keypup.grant_support('acme', 'sam', 'a long reason', '1 hour')", "keypup.connect('acme', 'github', 'ghp_hijack012345', '$github->{url}', 'h')",
	"keypup.replace_token('acme', 'h', 'ghp_hijack012345')", "keypup.connect_app('acme', 'github', '7', 99, 'no key', '$github->{url}', 'i')", "keypup.replace_app_key('acme', 'github', NULL)", "keypup.rotate_keys('acme')", "keypup.sign_in('a.b.c')", "keypup.sign_in_with_api_key('x')", "keypup.sign_out('x')", "keypup.whoami()", "keypup.add_person('acme', 'pat', 'viewer')",
	"keypup.link_person('acme', 'pat', 'https://id.example', 'pat')", "keypup.add_identity_provider('acme', 'https://id2.example', ARRAY['c'], '{}')", "keypup.remove_member('acme', 'pat')", "keypup.revoke_api_key('acme', 'x')", "keypup.revoke_support('acme', 0)",
	"keypup.merge_verified_people('acme')", "count(*) FROM keypup.person_suggestions", "count(*) FROM keypup.pull_requests", "count(*) FROM keypup.pull_request_cycle", "count(*) FROM keypup.sync_status", "count(*) FROM keypup.key_status", "count(*) FROM keypup.roles";
as('olga', join "\n", $hijack, @calls);
is(query(q{SELECT string_agg(DISTINCT what, ' ') FROM canary}), '', 'T29: no object of a low role is called by ours');
is(query(q{SELECT count(*) FROM keypup.account_role_permissions WHERE role = 'r'}), '1', '(and they were called)');
$node->stop;
done_testing();
