# disconnect and drop_account: who may, what goes and what stays, also while the worker is at it.
use strict;
use warnings;

use FindBin;
use IPC::Run qw(start finish);
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $token = 'ghp_REMOVEPROBE0123456789';
my @busy = map { "demo/b$_" } 1 .. 6;
my $github = start_github($token, (map { ('--generate', "$_:pulls=60,issues=40,seed=" . ord(substr $_, -1)) } @busy),
	'--generate', 'demo/quiet:pulls=20,issues=10,seed=4', '--points', '1000000');
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
keypup.workers = 2
keypup.sync_interval = '1d'
max_worker_processes = 20
CONF
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
sub becomes { return $node->poll_query_until('postgres', $_[0]); }
sub as { return as_role($node, @_); }
# All answers are kept until they are let go.
sub keep_answers { control($github, 'settings', { faults => [ { match => {}, late => JSON::PP::true } ] }); return; }
sub let_go { control($github, 'settings', { faults => [] }); return; }
sub connect_and_track
{
	my ($account, $connection, @projects) = @_;
	query("SELECT keypup.connect('$account', 'github', '$token', '$github->{url}', '$connection')");
	query("SELECT keypup.track('$account', '$_', '$connection')") foreach @projects;
	return query("SELECT connection_id FROM keypup.connections JOIN keypup.accounts a USING (account_id) WHERE a.name = '$account' AND connections.name = '$connection'");
}
# Rows that belong to an account, a connection or a list of projects, by table, as the column is named that says so.
sub rows_of
{
	my ($column, $value) = @_;
	my @tables = split /\n/, query("SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = '$column'
		WHERE c.relnamespace = 'keypup'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1");
	return query(join(' UNION ALL ', map { "SELECT '$_:' || count(*) FROM keypup.$_ WHERE $column IN ($value) HAVING count(*) > 0" } @tables) . ' ORDER BY 1') =~ tr/\n/ /r;
}
sub workers { return query(q{SELECT string_agg(pid::text, ' ' ORDER BY number) FROM keypup.worker_status WHERE database IS NOT NULL}); }
sub requests { return decode_json(control($github, 'counters'))->{requests}; }
my $in_flight = q{SELECT count(*) > 1 FROM keypup.sync_jobs JOIN keypup.connections c USING (account_id, connection_id) WHERE lease_id IS NOT NULL AND c.name = '%s'};

query(q{CREATE EXTENSION keypup});
query("CREATE ROLE $_ LOGIN") foreach qw(olga adam mia trudy duo bella app);
query('GRANT keypup_member TO app; GRANT USAGE ON SCHEMA keypup TO app');
query(q{SELECT keypup.create_account('acme'), keypup.create_account('bolt');
	SELECT keypup.add_member('acme', 'olga', 'owner'), keypup.add_member('acme', 'adam', 'admin'), keypup.add_member('acme', 'mia', 'member'), keypup.add_member('acme', 'duo', 'viewer'),
		keypup.add_member('bolt', 'bella', 'owner'), keypup.add_member('bolt', 'duo', 'viewer');
	SELECT keypup.define_role('acme', 'token keeper', ARRAY['tokens.delete']), keypup.add_member('acme', 'trudy', 'token keeper')});
my $quiet = connect_and_track('acme', 'quiet', 'demo/quiet');
connect_and_track('bolt', 'github', 'demo/quiet');
ok(becomes(q{SELECT count(*) = 2 AND bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) FROM keypup.sync_status}), 'two accounts are synced');
my $workers = workers();

# --- who may, and what a wrong call is told ---

my $no = qr/^account "acme" does not exist, or you may not do this in it$/;
like(as($_, q{SELECT keypup.disconnect('acme', 'quiet')}), $no, "$_ may not disconnect") foreach qw(mia trudy duo bella);
like(as($_, q{SELECT keypup.drop_account('acme')}), $no, "$_ may not drop the account") foreach qw(adam mia trudy duo bella);
is(as('adam', $_->[0]), $_->[1], "$_->[0]: $_->[1]") foreach (
	[ q{SELECT keypup.disconnect('acme', NULL)}, 'a connection is needed' ], [ q{SELECT keypup.disconnect(NULL, 'quiet')}, 'an account is needed' ],
	[ q{SELECT keypup.disconnect('acme', 'loud')}, 'connection "loud" does not exist' ]);
is(as('olga', q{SELECT keypup.drop_account(NULL)}), 'an account is needed', 'no account is no account');
like(as('olga', q{SELECT keypup.drop_account('nowhere')}), qr/^account "nowhere" does not exist, or/, 'nor is one that is not there');

# --- a connection, while its requests are under way ---

query(qq{SELECT keypup.set_webhook_secret('acme', 'quiet', repeat('0123456789abcdef', 3))});
is(as('adam', q{SELECT keypup.allow_provider_sign_in('acme', 'viewer', 'quiet')}), '', 'people sign in by the quiet connection');
keep_answers();
my $busy = connect_and_track('acme', 'busy', @busy);
query(q{SELECT keypup.set_webhook_secret('acme', 'busy', repeat('0123456789abcdef', 3))});
query(qq{INSERT INTO keypup.webhook_deliveries (account_id, connection_id, delivery_id, event) SELECT account_id, connection_id, 'd', 'ping' FROM keypup.connections});
ok(becomes(sprintf($in_flight, 'busy')), 'requests of the busy connection are under way');
my $projects = query("SELECT string_agg(project_id::text, ',') FROM keypup.projects WHERE connection_id = '$busy'");
is(as('adam', q{SELECT keypup.disconnect('acme', 'busy')}), '', 'an admin disconnects it');
is(rows_of('connection_id', "'$busy'") . rows_of('project_id', $projects), '', 'no row of it is left');
is(query(q{SELECT detail FROM keypup.audit_log WHERE action = 'connection.remove'}), '"busy": ' . join(', ', @busy), 'and the audit log says what went');
let_go();
ok(becomes(q{SELECT sum(requests_in_flight) = 0 FROM keypup.worker_status}), 'the answers come');
my $of_others = 'SELECT sum(requests) FROM keypup.sync_state';
my $asked = requests() - query($of_others);
is(rows_of('connection_id', "'$busy'") . rows_of('project_id', $projects), '', 'and are dropped');
query("SELECT keypup.wake_launcher()");
query(q{UPDATE keypup.sync_state SET next_run_at = now(); SELECT keypup.wake_launcher()});
ok(becomes(q{SELECT bool_and(phase = 'idle' AND next_run_at > now()) FROM keypup.sync_status}), 'the others are read on');
is(requests() - query($of_others), $asked, 'and nothing more of that one');
is(workers(), $workers, 'by the workers that were there');
like(as('olga', q{SELECT count(*) FROM keypup.pull_requests}), qr/^20$/, 'the quiet one\'s rows are there');

# Persons go with the last connection that knows them.
my $twin = connect_and_track('acme', 'twin', 'demo/quiet');
ok(becomes(q{SELECT bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) FROM keypup.sync_status}), 'a second connection reads the same repository');
my $people = query(q{SELECT count(*) FROM keypup.people WHERE account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'acme')});
cmp_ok(query(q{SELECT keypup.merge_verified_people('acme')}), '>', 0, 'its logins are the same people');
query(q{SELECT keypup.set_team('acme', 'core', ARRAY(SELECT 'quiet/' || login FROM keypup.identities WHERE connection_id = '} . $quiet . q{' AND person_id IS NOT NULL))});
is(as('olga', q{SELECT keypup.disconnect('acme', 'quiet')}), '', 'the first one goes');
is(query(q{SELECT count(*) FROM keypup.people p WHERE account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'acme')
	AND NOT EXISTS (SELECT FROM keypup.identities i WHERE i.account_id = p.account_id AND i.person_id = p.person_id)
	AND NOT EXISTS (SELECT FROM keypup.person_merges g WHERE g.account_id = p.account_id AND g.own_person_id = p.person_id)}), '0', 'nobody is left of whom no login is');
cmp_ok(query(q{SELECT count(*) FROM keypup.team_people}), '>', 0, 'the team has its members still');
is(query(q{SELECT count(*) FROM keypup.identity_providers}), '0', 'nobody signs in by it any more');
is(as('olga', q{SELECT keypup.disconnect('acme', 'twin')}), '', 'the second one goes');
is(rows_of('account_id', q{SELECT account_id FROM keypup.accounts WHERE name = 'acme'}) =~ s/(audit_heads|audit_checkpoint_heads|audit_log|data_keys|account_role_permissions|members|accounts|teams):\d+ ?//gr, '', 'of what came by connections nothing is left');
is(as('olga', q{SELECT keypup.disconnect('acme', 'twin')}), 'the account has no connection', 'nor a connection');

# --- an account, while the worker and a CALL are at it ---

# A sink that takes nothing, and one of all accounts.
is(as('olga', qq{SELECT keypup.set_audit_sink('acme', 'siem', 'otlp', '$github->{url}', 'api-key: 0123456789abcdef')}), '', 'its log is forwarded');
query(q{SELECT keypup.set_audit_sink(NULL, 'log', 'log')});
ok(becomes(q{SELECT count(*) = 1 FROM keypup.audit_forwarding WHERE sink = 'siem' AND failures > 0}), 'which fails');
is(query(q{SELECT count(*) FROM keypup.audit_sink_secrets x JOIN keypup.accounts a USING (account_id) WHERE a.name = 'acme'}), '1', 'and its secret is kept');
connect_and_track('acme', 'busy', @busy);
connect_and_track('acme', 'quiet', 'demo/quiet');
my $key = query(q{SELECT keypup.create_api_key('acme', 'k', 'viewer')});
my $session = as('app', "SELECT keypup.sign_in_with_api_key('$key')");
query(q{SELECT keypup.add_person('acme', 'ann', 'viewer'), keypup.set_password('acme', 'ann', 'a good long Passw0rd'), keypup.limit_member('acme', 'ann', ARRAY['demo/quiet']);
	SELECT keypup.grant_support('acme', 'bella', 'to look at the rows', '1 hour', ARRAY['demo/quiet']);
	INSERT INTO keypup.break_glass (account_id, request_id, grantee, reason, requested_by) SELECT account_id, 1, 'bella', 'only asked for, never approved', 'test' FROM keypup.accounts});
query(q{SELECT keypup.add_identity_provider('acme', 'https://id.example', ARRAY['c'], '{"keys": [{"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}');
	SELECT keypup.link_person('acme', 'ann', 'https://id.example', 's'), keypup.map_group('acme', 'https://id.example', 'g', 'viewer')});
my $account = query(q{SELECT account_id FROM keypup.accounts WHERE name = 'acme'});
keep_answers();
query(q{UPDATE keypup.sync_state SET next_run_at = now(); SELECT keypup.wake_launcher()});
my ($call_out, $call_error) = ('', '');
my $call = start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', q{CALL keypup.sync('acme', 'demo/quiet')} ], '>', \$call_out, '2>', \$call_error);
ok(becomes(sprintf($in_flight, 'busy')) && becomes(sprintf($in_flight =~ s/> 1/> 0/r, 'quiet')), 'the worker and a CALL wait for answers');
is(as('olga', q{SELECT keypup.drop_account('acme')}), '', 'an owner drops the account');
let_go();
is(rows_of('account_id', "'$account'") =~ s/(audit_(checkpoint_)?heads:\d+ )*audit_log:\d+ data_keys:\d+//r, '', 'no row of it is left but the audit log and what its keys were');
ok(becomes("SELECT p.sequence = h.sequence FROM keypup.audit_sink_positions p JOIN keypup.audit_heads h ON h.account_id = p.of_account WHERE p.of_account = '$account' AND NOT EXISTS (SELECT FROM keypup.audit_log l WHERE l.account_id = '$account' AND l.sequence IS NULL AND l.counts_until IS NULL)"), 'the sink of all accounts gets its last records');
is(query("SELECT count(*) FROM keypup.data_keys WHERE account_id = '$account' AND (state <> 'destroyed' OR wrapped IS NOT NULL)"), '0', 'which are destroyed');
finish $call;
unlike($call_error, qr/ERROR|WARNING/, 'the CALL ends without an error');
ok(becomes(q{SELECT sum(requests_in_flight) = 0 FROM keypup.worker_status}), 'the answers come');
is(rows_of('account_id', "'$account'") =~ s/(audit_(checkpoint_)?heads:\d+ )*audit_log:\d+ data_keys:\d+//r, '', 'and are dropped');
is(workers(), $workers, 'the workers are those that were there');
query(q{SELECT keypup.remove_audit_sink(NULL, 'log')});
is(query("SELECT actor || ': ' || detail FROM keypup.audit_log WHERE account_id = '$account' AND action = 'account.drop'"), 'olga: "acme": 2 connections, 7 projects, 6 members', 'the last record of its audit log says who did it');
is(query("SELECT max(record_id) = max(record_id) FILTER (WHERE action = 'account.drop') AND count(*) > 10 FROM keypup.audit_log WHERE account_id = '$account'"), 't', 'and the log is there, whole');
ok(becomes(q{SELECT NOT has_schema_privilege('olga', 'keypup', 'USAGE')}), 'whose last membership it was has soon no way in any more');
query('SELECT keypup.keep_roles()');
is(query(q{SELECT count(*) FROM pg_auth_members WHERE roleid = 'keypup_member'::regrole AND member IN ('olga'::regrole, 'adam'::regrole, 'mia'::regrole, 'trudy'::regrole)}), '0', 'nor is in the group');
is(as('duo', 'SELECT name FROM keypup.accounts'), 'bolt', 'who is in another account has one still');
is(as('app', "BEGIN; SELECT keypup.use_session('$session')"), 'session is not valid', 'its sessions have ended');
like(as('app', "SELECT keypup.sign_in_with_api_key('$key')"), qr/API key is not valid/, 'and its API keys');
is(query(q{SELECT keypup.create_account('acme') <> '} . $account . q{'}), 't', 'the name is free');
is(query(q{SELECT count(*) FROM keypup.members JOIN keypup.accounts USING (account_id) WHERE name = 'acme'}), '0', 'and who takes it begins anew');

# By a session: an API key of an owner's.
my $owner_key = query(q{SELECT keypup.create_api_key('acme', 'owner', 'owner')});
my $owner = as('app', "SELECT keypup.sign_in_with_api_key('$owner_key')");
is(as('app', "BEGIN; SELECT keypup.use_session('$owner'); SELECT keypup.drop_account('acme'); COMMIT"), "\n", 'a session may as well, where its holder is an owner');
is(query(q{SELECT actor FROM keypup.audit_log WHERE action = 'account.drop' ORDER BY record_id DESC LIMIT 1}), substr($owner_key, 0, 15), 'and is named');
query(q{SELECT keypup.create_account('acme')});

# --- an app, while it is given a token ---

system("openssl genrsa -out $github->{dir}/app.pem 2048 2>/dev/null") == 0 or die;
my ($public) = run_command([ 'openssl', 'pkey', '-in', "$github->{dir}/app.pem", '-pubout' ]);
control($github, 'app', { app_id => 7, public_key_pem => $public, installations => [ { id => 99, repositories => ['demo/quiet'] } ] });
foreach my $round (1 .. 2)
{
	query('SELECT keypup.connect_app(' . join(', ', "'acme'", "'github'", "'7'", 99, literal(slurp_file("$github->{dir}/app.pem")), literal($github->{url}), "'app'") . ')');
	keep_answers() if $round == 1;
	query(q{SELECT keypup.track('acme', 'demo/quiet')});
	ok(becomes($round == 1 ? q{SELECT sum(requests_in_flight) > 0 FROM keypup.worker_status} : q{SELECT count(*) > 0 FROM keypup.pull_requests JOIN keypup.accounts a USING (account_id) WHERE a.name = 'acme'}), "app, $round: it is at it");
	query(q{SELECT keypup.disconnect('acme', 'app')});
	let_go();
	ok(becomes(q{SELECT sum(requests_in_flight) = 0 FROM keypup.worker_status}), "app, $round: the answers come");
	is(query(q{SELECT count(*) FROM keypup.connection_tokens t JOIN keypup.accounts a USING (account_id) WHERE a.name = 'acme'}), '0', "app, $round: and no token is kept");
}

# --- again and again, at any moment ---

my ($give_up, $rounds) = (time + 15, 0);
while (time < $give_up || $rounds < 6)
{
	$rounds++;
	connect_and_track('acme', $_, @busy[ 0 .. 2 ]) foreach 'first', 'second';
	select undef, undef, undef, rand(0.4);
	query(qq{SELECT keypup.rotate_keys('acme')}) if $rounds % 2;
	query(qq{SELECT keypup.untrack('acme', 'first/$busy[0]')}) if $rounds % 3 == 0;
	query(q{SELECT keypup.disconnect('acme', 'first')}) if $rounds % 4;
	query(q{SELECT keypup.drop_account('acme'); SELECT keypup.create_account('acme')});
}
is(workers(), $workers, "an account with two connections is dropped again and again, $rounds times: which ends no worker");
unlike(slurp_file($node->logfile), qr/deadlock|could not be stored|violates foreign key/, 'and no two wait for each other');
ok(becomes(q{SELECT count(*) = 0 FROM keypup.sync_jobs}), 'no job is left');

# --- a large one, which the planner knows nothing of: it was analyzed with others ---

query(q{ALTER SYSTEM SET autovacuum = off});
$node->reload;
sub fill
{
	my ($name, $count, $projects, $pulls) = @_;
	query(qq{CREATE TABLE made AS SELECT keypup.create_account('$name' || i) AS account_id FROM generate_series(1, $count) i;
	INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by, state) SELECT account_id, 'github', 'github', 'https://localhost', 'x', 'token_refused' FROM made;
	INSERT INTO keypup.projects (account_id, connection_id, name, tracked_by) SELECT account_id, connection_id, 'o/p' || i, 'x' FROM keypup.connections JOIN made USING (account_id), generate_series(1, $projects) i;
	INSERT INTO keypup.sync_state (account_id, project_id) SELECT account_id, project_id FROM keypup.projects JOIN made USING (account_id);
	INSERT INTO keypup.people (account_id, person_id) SELECT account_id, gen_random_uuid() FROM made, generate_series(1, 500);
	INSERT INTO keypup.identities (account_id, connection_id, external_id, login, kind, person_id)
		SELECT account_id, connection_id, person_id, person_id, 'user', person_id FROM keypup.people JOIN made USING (account_id) JOIN keypup.connections USING (account_id);
	INSERT INTO keypup.members (account_id, member, kind, role, added_by) SELECT account_id, person_id, 'person', 'viewer', 'x' FROM keypup.people JOIN made USING (account_id);
	INSERT INTO keypup.pull_requests (account_id, project_id, number, key, external_id, title, state, is_draft, created_at, updated_at)
		SELECT account_id, project_id, i, '#' || i, i, 't', 'open', false, now(), now() FROM keypup.projects JOIN made USING (account_id), generate_series(1, $pulls) i;
	INSERT INTO keypup.reviews (account_id, project_id, pull_request_number, external_id, state, submitted_at)
		SELECT account_id, project_id, number, j, 'approved', now() FROM keypup.pull_requests JOIN made USING (account_id), generate_series(1, 3) j;
	INSERT INTO keypup.pull_request_commits (account_id, project_id, pull_request_number, external_id, commit_id, authored_at)
		SELECT account_id, project_id, number, j, j, now() FROM keypup.pull_requests JOIN made USING (account_id), generate_series(1, 3) j;
	INSERT INTO keypup.pull_request_checks (account_id, project_id, pull_request_number, external_id, head_commit, kind, name, status)
		SELECT account_id, project_id, number, j, 'c', 'check_run', 'n', 'queued' FROM keypup.pull_requests JOIN made USING (account_id), generate_series(1, 3) j;
	INSERT INTO keypup.pull_request_merge_states (account_id, project_id, pull_request_number, external_id, updated_at)
		SELECT account_id, project_id, number, number, now() FROM keypup.pull_requests JOIN made USING (account_id);
	INSERT INTO keypup.comments (account_id, project_id, item_kind, item_number, external_id, created_at, updated_at)
		SELECT account_id, project_id, 'pull_request', number, j, now(), now() FROM keypup.pull_requests JOIN made USING (account_id), generate_series(1, 5) j;
	INSERT INTO keypup.member_projects SELECT account_id, member, project_id FROM keypup.members JOIN made USING (account_id) JOIN keypup.projects USING (account_id) WHERE kind = 'person';
	DROP TABLE made});
}
fill('small', 10, 50, 20);
query('VACUUM ANALYZE');
fill('large', 2, 100, 40);
is(query(q{SELECT count(*) FROM keypup.comments JOIN keypup.accounts USING (account_id) WHERE name = 'large1'}), '20000', 'an account with 4,000 pull requests and 20,000 comments');
foreach my $what ([ q{keypup.drop_account('large1')}, 'dropping it' ], [ q{keypup.disconnect('large2', 'github')}, 'disconnecting one like it' ])
{
	my $started = time;
	# What was visited, in this transaction: a foreign key that reads all of the account for each row would visit millions.
	is(query(qq{BEGIN; SELECT $what->[0]; SELECT string_agg(relname || ' ' || visited, ', ') FROM (SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) AS visited FROM pg_stat_xact_user_tables WHERE schemaname = 'keypup') x
		WHERE visited > 150000; COMMIT}), "\n", "$what->[1] visits each row a few times");
	diag(sprintf '%s takes %.1f s', $what->[1], time - $started);
}
is(query(q{SELECT count(*) FROM keypup.comments JOIN keypup.accounts USING (account_id) WHERE name ~ 'large'}), '0', 'and all is gone');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|segfault|REMOVEPROBE/, 'no crash and no token in the log');
done_testing();
