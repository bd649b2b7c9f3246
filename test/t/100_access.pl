# Who may see what: roles, limits, sessions, API keys and consent, as database roles and through one pooled connection.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'keypup'\nkeypup.sync_interval = '1d'\nkeypup.audit_count_interval = '1h'\nmax_prepared_transactions = 5\n");
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
sub as { return as_role($node, @_); }
sub tells { my ($role, $sql, $pattern, $name) = @_; like(as($role, $sql), $pattern, $name); }

query('CREATE EXTENSION keypup');
query("CREATE ROLE $_ LOGIN") foreach qw(olga adam mia vera oscar bella sam eve);
query(q{CREATE ROLE app LOGIN; GRANT keypup_member TO app; GRANT USAGE ON SCHEMA keypup TO app});
# Two accounts with the same names of everything, three projects each, ten pull requests a project.
query(q{SELECT keypup.create_account(a) FROM unnest(ARRAY['acme', 'bolt']) a;
	INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by) SELECT account_id, 'github', 'github', 'https://api.github.com', 'test' FROM keypup.accounts;
	INSERT INTO keypup.projects (account_id, connection_id, name, external_id, tracked_by) SELECT account_id, connection_id, 'demo/p' || n, 'R_' || n, 'test' FROM keypup.connections, generate_series(1, 3) n;
	INSERT INTO keypup.pull_requests (account_id, project_id, number, key, external_id, global_id, title, state, is_draft, created_at, updated_at)
	SELECT account_id, project_id, n, '#' || n, n, 'PR_' || n, a.name || ' ' || n, 'open', false, now(), now() FROM keypup.projects p JOIN keypup.accounts a USING (account_id), generate_series(1, 10) n});
query(q{SELECT keypup.add_member('acme', 'olga', 'owner'); SELECT keypup.add_member('bolt', 'bella', 'owner')});
tells('olga', q{SELECT keypup.add_member('acme', 'adam', 'admin'); SELECT keypup.add_member('acme', 'mia', 'member'); SELECT keypup.add_member('acme', 'vera', 'viewer')}, qr/^\s*$/, 'an owner adds members');
is(as('adam', 'SELECT count(*) FROM keypup.pull_requests'), '0', 'who see nothing before they accept');
is(as($_, q{SELECT keypup.accept_membership('acme')}), '', "$_ accepts") foreach qw(adam mia vera);
my $count = 'SELECT count(*), count(DISTINCT account_id) FROM keypup.pull_requests';
is(as($_, $count), '30|1', "$_ sees the own account") foreach qw(olga adam mia vera bella);
is(as('oscar', $count), 'permission denied for schema keypup', 'an outsider sees nothing');

# T27: escalation.
tells('adam', q{SELECT keypup.add_member('acme', 'adam', 'owner')}, qr/neither give nor take role "owner"/, 'an admin does not become owner');
tells('adam', q{SELECT keypup.add_member('acme', 'eve', 'owner')}, qr/neither give nor take role "owner"/, 'nor makes one');
tells('adam', q{SELECT keypup.add_member('acme', 'olga', 'viewer')}, qr/neither give nor take role "owner"/, 'nor demotes one');
tells('adam', q{SELECT keypup.remove_member('acme', 'olga')}, qr/neither give nor take role "owner"/, 'nor removes one');
tells('olga', q{SELECT keypup.remove_member('acme', 'olga')}, qr/last owner/, 'the last owner stays');
tells('olga', q{SELECT keypup.add_member('acme', 'olga', 'admin')}, qr/last owner/, 'and stays owner');
tells('mia', q{SELECT keypup.add_member('acme', 'mia', 'admin')}, qr/may not do this/, 'a member manages nobody');
tells('bella', q{SELECT keypup.add_member('acme', 'bella', 'viewer')}, qr/may not do this/, q{an owner of another account neither});

# An account's own roles.
tells('adam', q{SELECT keypup.define_role('acme', 'people manager', ARRAY['data.read', 'users.read', 'users.manage'])}, qr/^\s*$/, 'an admin defines a role');
tells('adam', q{SELECT keypup.define_role('acme', 'x', ARRAY['owners.manage'])}, qr/permission "owners.manage" cannot be given/, 'not with an owner\'s permissions');
tells('adam', q{SELECT keypup.define_role('acme', 'owner', ARRAY['data.read'])}, qr/role "owner" cannot be defined/, 'nor under a built-in name');
tells('adam', q{SELECT keypup.add_member('acme', 'eve', 'people manager')}, qr/^\s*$/, 'and gives it');
as('eve', q{SELECT keypup.accept_membership('acme')});
is(as('eve', $count), '30|1', 'whoever has it sees what it allows');
tells('eve', q{SELECT keypup.add_member('acme', 'eve', 'admin')}, qr/neither give nor take role "admin".*|may do more/, 'but does not give what it has not');
tells('eve', q{SELECT keypup.define_role('acme', 'people manager', ARRAY['data.read', 'users.manage', 'tokens.rotate'])}, qr/may do more than you/, 'nor widens it');
tells('eve', q{SELECT keypup.remove_member('acme', 'adam')}, qr/may do more than you/, 'nor removes who may do more');
tells('eve', q{SELECT keypup.add_member('acme', 'vera', 'people manager')}, qr/may do more than you/, 'nor takes a role that may do what it may not');
tells('adam', q{SELECT keypup.define_role('acme', 'people manager', NULL)}, qr/is in use/, 'a role in use is not dropped');
tells('adam', q{SELECT keypup.remove_member('acme', 'eve'); SELECT keypup.define_role('acme', 'people manager', NULL)}, qr/^\s*$/, 'one that is not, is');
is(as('eve', $count), '0|0', 'a removed member sees nothing');
ok($node->poll_query_until('postgres', q{SELECT NOT has_schema_privilege('eve', 'keypup', 'USAGE')}), 'and the worker takes back what it was granted');
tells('bella', q{SELECT count(*) FROM keypup.roles WHERE role = 'people manager'}, qr/^0$/, 'roles are the account\'s own');

# Limited to some projects.
tells('adam', q{SELECT keypup.limit_member('acme', 'mia', ARRAY['demo/p1', 'DEMO/P2'])}, qr/^\s*$/, 'a member is limited to two projects');
is(as('mia', $count), '20|1', 'and sees those');
is(as('mia', q{SELECT string_agg(name, ' ' ORDER BY name) FROM keypup.projects}), 'demo/p1 demo/p2', 'in every table');
# Whose logins stand there.
query(q{INSERT INTO keypup.people (account_id, person_id, name) SELECT account_id, md5(name || n)::uuid, n FROM keypup.accounts, unnest(ARRAY['pia', 'rob', 'zoe']) n;
	INSERT INTO keypup.identities (account_id, connection_id, external_id, login, kind, person_id) SELECT p.account_id, c.connection_id, p.name, p.name, 'user', p.person_id FROM keypup.people p JOIN keypup.connections c USING (account_id);
	INSERT INTO keypup.person_merges (account_id, connection_id, external_id, own_person_id, merged_by) SELECT account_id, connection_id, external_id, person_id, 'test' FROM keypup.identities;
	UPDATE keypup.pull_requests q SET author = 'pia', assignees = '{rob}' FROM keypup.projects p WHERE p.project_id = q.project_id AND p.name = 'demo/p1'; UPDATE keypup.pull_requests q SET author = 'zoe' FROM keypup.projects p WHERE p.project_id = q.project_id AND p.name = 'demo/p3'});
my $seen = q{SELECT concat_ws(',', (SELECT string_agg(name, ' ' ORDER BY name) FROM keypup.people), (SELECT string_agg(login, ' ' ORDER BY login) FROM keypup.identities), (SELECT string_agg(external_id, ' ' ORDER BY external_id) FROM keypup.person_merges))};
is(as('mia', $seen), 'pia rob,pia rob,pia rob', 'and the people in them, and nobody else');
is(as('vera', $seen), 'pia rob zoe,pia rob zoe,pia rob zoe', 'who is not limited sees all people of the account');
tells('adam', q{SELECT keypup.limit_member('acme', 'mia', ARRAY['demo/p2'])}, qr/^\s*$/, 'of a project without people');
is(as('mia', $seen), '', 'a limited member sees nobody');
tells('adam', q{SELECT keypup.limit_member('acme', 'mia', ARRAY['demo/p1', 'DEMO/P2'])}, qr/^\s*$/, 'and again of both');
tells('mia', q{CALL keypup.sync('acme')}, qr/may not do this/, 'and only reads');
tells('adam', q{SELECT keypup.limit_member('acme', 'mia', ARRAY['demo/none'])}, qr/project "demo\/none" is not tracked/, 'a project that is not there is named');
tells('adam', q{SELECT keypup.limit_member('acme', 'olga', ARRAY['demo/p1'])}, qr/may do more/, 'an admin does not limit an owner');
query(q{SELECT keypup.untrack('acme', 'demo/p1'); SELECT keypup.untrack('acme', 'demo/p2')});
is(as('mia', 'SELECT count(*) FROM keypup.pull_requests'), '0', 'when the projects go, nothing opens instead');
tells('adam', q{SELECT keypup.limit_member('acme', 'mia', NULL)}, qr/^\s*$/, 'the limit is taken back');
is(as('mia', $count), '10|1', 'then all is seen again');

# T28: taken away in the middle of a session.
my $living = $node->background_psql('postgres', extra_params => [ '-U', 'vera' ]);
is($living->query_safe('SELECT count(*) FROM keypup.pull_requests'), '10', 'a viewer is at work');
query(q{SELECT keypup.add_member('acme', 'eve', 'viewer')});
query(q{DELETE FROM keypup.members WHERE member = 'vera'});
is($living->query_safe('SELECT count(*) FROM keypup.pull_requests'), '0', 'and sees nothing from the next statement on');
$living->quit;
query(q{SELECT keypup.add_member('acme', 'vera', 'viewer')});

# API keys, on a pooled connection.
my $key = as('adam', q{SELECT keypup.create_api_key('acme', 'dashboard', 'viewer')});
like($key, qr/^keypup_[0-9a-f]{8}_[0-9a-f]{48}$/, 'an admin makes an API key, and sees it once');
is(query(qq{SELECT count(*) FROM keypup.api_keys k WHERE k::text LIKE '%' || right('$key', 20) || '%'}), '0', 'it is not stored');
tells('adam', q{SELECT keypup.create_api_key('acme', 'x', 'owner')}, qr/may do more than you/, 'an admin makes none for an owner\'s role');
tells('adam', "SELECT keypup.create_api_key('acme', 'x', 'viewer', '$_')", qr/at most 366 days/, "nor one for $_") foreach '2 years', '400 months -11700 days', '12 months 6 days 1 microsecond', '-1 month 31 days', '0';
tells('adam', 'SELECT digest FROM keypup.api_keys', qr/permission denied/, 'nobody reads a digest');
my $handle = as('app', "SELECT keypup.sign_in_with_api_key('$key')");
like($handle, qr/^[0-9a-f]{96}$/, 'the pool signs the key in');
my $bella_key = as('bella', q{SELECT keypup.create_api_key('bolt', 'dashboard', 'viewer')});
my $bella = as('app', "SELECT keypup.sign_in_with_api_key('$bella_key')");
is(as('app', "$count; SELECT keypup.whoami() IS NULL"), "0|0\nt", 'without a session the pool sees nothing, and is nobody');
is(as('app', "BEGIN; SELECT keypup.use_session('$handle'); $count; SELECT keypup.whoami(); COMMIT; $count; SELECT keypup.whoami() IS NULL"),
	"\n10|1\n" . substr($key, 0, 15) . "\n0|0\nt", 'T19: with one it sees the account of the key, until the transaction ends');
is(as('app', "BEGIN; SELECT keypup.use_session('$handle'); ROLLBACK; $count; BEGIN; SELECT keypup.use_session('$handle'); DISCARD PLANS; SELECT 1/0; ROLLBACK; $count"),
	"\n0|0\n\n0|0division by zero", 'T19: or is rolled back, or fails');
is(as('app', "BEGIN; SELECT keypup.use_session('$handle'); SAVEPOINT s; SELECT keypup.use_session('$bella'); SELECT min(title) FROM keypup.pull_requests; ROLLBACK TO s; SELECT min(title) FROM keypup.pull_requests;
	SAVEPOINT t; SELECT keypup.use_session('$bella'); RELEASE t; SELECT min(title) FROM keypup.pull_requests; ROLLBACK TO s; SELECT min(title) FROM keypup.pull_requests; COMMIT"),
	"\n\nbolt 1\nacme 1\n\nbolt 1\nacme 1", 'T20: what is used in a savepoint goes with it');
tells('app', "BEGIN; SELECT keypup.use_session('$handle'); PREPARE TRANSACTION 'x'", qr/cannot prepare a transaction that uses a session/, 'nor is it prepared for another session to commit');
is(as('app', "BEGIN; SELECT keypup.use_session('$handle'); DECLARE c CURSOR WITH HOLD FOR SELECT title FROM keypup.pull_requests; COMMIT; FETCH c") =~ s/^\s+//r, "a transaction that uses a session of keypup has no cursor WITH HOLDcursor \"c\" does not exist",
	'what a session reads stays in no cursor for whoever has the connection next');
is(as('app', "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT title FROM keypup.pull_requests; SELECT keypup.use_session('$handle'); COMMIT; FETCH c") =~ s/^\s+//r, 'a transaction that uses a session of keypup has no cursor WITH HOLDcursor "c" does not exist',
	'nor in one that was there first');
is(as('app', "DECLARE c CURSOR WITH HOLD FOR SELECT 1; BEGIN; SELECT keypup.use_session('$handle'); FETCH c; COMMIT"), "\n1", 'one of an earlier transaction is in nobody\'s way');
tells('app', "BEGIN; SELECT keypup.use_session('$handle'); SELECT keypup.add_member('acme', 'oscar', 'viewer')", qr/may not do this/, 'a viewer\'s key manages nobody');
is(as('olga', "BEGIN; SELECT keypup.use_session('$bella'); SELECT DISTINCT split_part(title, ' ', 1) FROM keypup.pull_requests"), "\nbolt", 'a session is instead of the role\'s own rights, not beside them');
is(query("BEGIN; SELECT keypup.use_session('$handle'); SELECT keypup.has_permission((SELECT account_id FROM keypup.accounts WHERE name = 'acme'), 'users.manage')"), "\nf",
	'even of a superuser\'s');
foreach my $wrong ('', 'x', substr($handle, 0, 95), uc $handle, substr($bella, 0, 32) . substr($handle, 32), substr($handle, 0, 95) . 'g', "$handle'; --" =~ s/'/''/r)
{
	is(as('app', "SELECT keypup.use_session('$wrong')"), 'session is not valid', 'a handle that is none is refused: one error');
}
is(as('app', "SELECT keypup.sign_in_with_api_key('$_')"), 'API key is not valid', 'an API key that is none is refused: one error') foreach '', 'keypup_', substr($key, 0, 60) . 'x', substr($key, 0, 15);

# T18: no setting makes anybody somebody.
my @settings = split /\n/, query(q{SELECT name FROM pg_settings WHERE name LIKE 'keypup.%'});
is(as('app', join(';', map { "SET $_ = 'acme'" } @settings) . "; $count") =~ /^0\|0/m ? 'nothing' : 'rows', 'nothing', 'T18: no setting opens a row');
is(as('app', "SELECT set_config('keypup.account', 'acme', false)"), 'invalid configuration parameter name "keypup.account"', 'T18: nor can one be made up');

# T21: parallel plans. The leader asks.
is(query(q{SET debug_parallel_query = off}) // '', '', 'debug_parallel_query') if $node->pg_version >= 16;
my $parallel = 'SET force_parallel_mode = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2';
$parallel =~ s/force_parallel_mode/debug_parallel_query/ if $node->pg_version >= 16;
is(as('vera', "$parallel; $count"), '10|1', 'T21: a parallel plan sees the same');
is(as('app', "$parallel; BEGIN; SELECT keypup.use_session('$handle'); $count"), "\n10|1", 'T21: and so does one of a session');

# Ends of sessions and keys.
is(as('app', "SELECT keypup.sign_out('$handle'), keypup.sign_out('$handle'), keypup.sign_out('x')"), 't|f|f', 'sign_out ends a session');
is(as('app', "SELECT keypup.use_session('$handle')"), 'session is not valid', 'at once');
$handle = as('app', "SELECT keypup.sign_in_with_api_key('$key')");
my $pooled = $node->background_psql('postgres', extra_params => [ '-U', 'app' ]);
is($pooled->query_safe("BEGIN; SELECT keypup.use_session('$handle'); SELECT count(*) FROM keypup.pull_requests"), "\n10", 'a session is at work');
as('adam', "SELECT keypup.revoke_api_key('acme', '" . substr($key, 0, 15) . "')");
is($pooled->query_safe('SELECT count(*) FROM keypup.pull_requests'), '0', 'revoking its key ends it within the transaction');
$pooled->query_safe('COMMIT');
$pooled->quit;
is(as('app', "SELECT keypup.sign_in_with_api_key('$key')"), 'API key is not valid', 'and the key');
$pooled = $node->background_psql('postgres', extra_params => [ '-U', 'app' ]);
is($pooled->query_safe("BEGIN; SELECT keypup.use_session('$bella'); SELECT count(*) FROM keypup.pull_requests"), "\n30", 'another is at work');
query(q{UPDATE keypup.sessions SET expires_at = clock_timestamp() + interval '1 second'});
is($pooled->query_safe('SELECT pg_sleep(1.1); SELECT count(*) FROM keypup.pull_requests'), "\n0", 'T40: a session ends at its second, also within a transaction');
$pooled->quit;

# Passwords.
like(as('adam', q{SELECT keypup.add_person('acme', 'ann', 'viewer'); SELECT keypup.set_password('acme', 'ann', 'tooshort')}), qr/password is too weak/, 'a weak password is refused');
like(as('adam', "SELECT keypup.set_password('acme', 'ann', '$_')"), qr/password is too weak/, "as is $_") foreach 'aaaaaaaaaaaaaaaa', 'Xy7-ann-Xy7-xyzzy';
like(as('adam', 'SELECT keypup.set_password(\'acme\', \'ann\', \'' . ('ab3dEf' x 13) . '\')'), qr/1 to 72 bytes/, 'and one that bcrypt would not read whole');
is(as('adam', q{SELECT keypup.set_password('acme', 'ann', 'correct horse battery')}), '', 'an admin sets a password');
like(as('mia', q{SELECT keypup.set_password('acme', 'ann', 'correct horse battery')}), qr/may not do this/, 'a member does not');
query('CREATE ROLE ann LOGIN; GRANT keypup_member TO ann; GRANT USAGE ON SCHEMA keypup TO ann');
like(as('ann', q{SELECT keypup.set_password('acme', 'ann', 'correct horse battery')}), qr/may not do this/, 'nor a database role of the person\'s name');
my $ann = as('app', q{SELECT keypup.sign_in_with_password('acme', 'ann', 'correct horse battery')});
like($ann, qr/^[0-9a-f]{96}$/, 'the person signs in');
foreach my $old ('', ', NULL', q{, 'a wrong horse battery'})
{
	like(as('app', "BEGIN; SELECT keypup.use_session('$ann'); SELECT keypup.set_password('acme', 'ann', 'another horse battery'$old); COMMIT"), qr/the old password is missing or wrong/, "sets no other password without the old one$old");
}
is(as('app', "BEGIN; SELECT keypup.use_session('$ann'); SELECT keypup.whoami(); SELECT keypup.set_password('acme', 'ann', 'another horse battery', old_password => 'correct horse battery'); COMMIT"), "\nann\n", 'and sets another password');
is(as('app', "SELECT keypup.use_session('$ann')"), 'session is not valid', 'which ends the sessions');
is(as('app', "SELECT keypup.sign_in_with_password($_)"), 'sign-in is refused', "refused with one answer: $_") foreach
  q{'acme', 'ann', 'correct horse battery'}, q{'acme', 'nobody', 'correct horse battery'}, q{'nowhere', 'ann', 'x'}, q{'acme', 'olga', 'x'}, q{NULL, NULL, NULL};
# Guessing at many names at once takes as many processors as the setting allows.
$node->append_conf('postgresql.conf', "keypup.max_password_digests = 1");
$node->reload;
my @guessers = map { $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'app' ]) } 1 .. 6;
foreach my $number (1 .. 6)
{
	# So often that all of them are at it together, however late one begins.
	$guessers[ $number - 1 ]->{stdin} .= join '', map { "SELECT keypup.sign_in_with_password('acme', 'guessed $number', 'x $_');\n" } 1 .. 100;
	$guessers[ $number - 1 ]->{run}->pump_nb;
}
my $guessing = q{FROM pg_stat_activity WHERE query ~ '^SELECT keypup.sign_in_with_password' AND state = 'active' AND usename = 'app'};
ok($node->poll_query_until('postgres', "SELECT count(*) FILTER (WHERE wait_event_type = 'Extension') = 5 AND count(*) = 6 $guessing"), 'of six who guess at once, one is at work and five wait');
my $guesses = query("SELECT string_agg(quote_literal(pid || query), ', ') $guessing");
query(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND usename = 'app' LIMIT 1});
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 $guessing AND pid || query IN ($guesses)"), 'and all have their turn, also when one who waited is gone');
$_->{run}->kill_kill foreach @guessers;
ok($node->poll_query_until('postgres', q{SELECT bool_and(pg_terminate_backend(pid)) IS NULL FROM pg_stat_activity WHERE usename = 'app'}), 'until none guesses any more');

# T47: support.
tells('sam', $count, qr/permission denied for schema/, 'T47: staff see nothing');
my $support = sub { my ($role, $grantee, $reason, $lasts, $projects) = @_; return as($role, "SELECT keypup.grant_support('acme', '$grantee', '$reason', '$lasts'" . ($projects ? ", ARRAY['$projects']" : '') . ')'); };
like($support->('mia', 'sam', 'a failing sync', '1 hour'), qr/may not do this/, 'T47: a member does not consent');
like($support->('bella', 'sam', 'a failing sync', '1 hour'), qr/may not do this/, 'T47: nor another account\'s owner');
like($support->('adam', 'sam', 'a failing sync', $_), qr/at most 24 hours/, "T47: nor for longer than 24 hours: $_") foreach '25 hours', '24 months -719 days', '-24 months 720 days 1 hour';
like($support->('adam', 'adam', 'a failing sync', '1 hour'), qr/nobody consents to the own access/, 'T47: nor to oneself');
like($support->('adam', 'sam', 'why not', '1 hour'), qr/10 to 1000 characters/, 'T47: nor without a reason');
like(as('adam', q{BEGIN; SELECT count(keypup.grant_support('acme', 'sam', 'looking at a sync', '24 hours')) FROM generate_series(1, 1000); ROLLBACK}), qr/^1000$/, 'T47: but for 24 hours, again and again');
query(q{INSERT INTO keypup.projects (account_id, connection_id, name, external_id, tracked_by) SELECT account_id, connection_id, 'demo/p4', 'R_4', 'test' FROM keypup.connections JOIN keypup.accounts a USING (account_id) WHERE a.name = 'acme'});
my $grant = $support->('adam', 'sam', 'a failing sync', '1 hour', 'demo/p3');
like($grant, qr/^\d+$/, 'T47: an admin consents');
is(as('sam', "$count; SELECT string_agg(name, ' ') FROM keypup.projects"), "10|1\ndemo/p3", 'T47: one person of the staff reads the named project');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 AND max(database_role) = 'sam' FROM keypup.audit_log WHERE action = 'support.read' AND actor = 'sam' AND outcome = 'done' AND account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'acme')}), 'T47: which is recorded');
tells('sam', q{CALL keypup.sync('acme')}, qr/may not do this/, 'T47: and does nothing else');
query('CREATE ROLE trainee LOGIN; GRANT sam TO trainee');
is(as('trainee', $count), '0|0', 'T47: nobody else, not even who has the role');
as('olga', "SELECT keypup.revoke_support('acme', $grant)");
is(as('sam', $count), '0|0', 'T47: a consent ends when it is taken back');
$support->('olga', 'sam', 'a failing sync', '15 seconds');
my $its_end = query(q{SELECT max(ends_at) FROM keypup.support_grants WHERE revoked_at IS NULL});
is(as('sam', "SELECT count(*) FROM keypup.projects; SELECT pg_sleep_until('$its_end'); SELECT count(*) FROM keypup.projects"), "2\n\n0", 'T47: or at its second, by itself');
is(as('olga', 'SELECT count(*), count(revoked_by) FROM keypup.support_grants'), '2|1', 'T47: the account sees what it consented to');
is(as('mia', 'SELECT count(*) FROM keypup.support_grants'), '0', 'T47: its admins, that is');

# T47: break-glass.
query("CREATE ROLE $_ LOGIN; GRANT keypup_member TO $_; GRANT USAGE ON SCHEMA keypup TO $_") foreach qw(ina ida);
query('CREATE ROLE staff NOLOGIN; GRANT keypup_member TO staff; GRANT USAGE ON SCHEMA keypup TO staff; GRANT staff TO sam');
query("GRANT EXECUTE ON FUNCTION keypup.request_break_glass(text, name, text), keypup.approve_break_glass(text, bigint) TO ina, ida, sam");
like(as('olga', q{SELECT keypup.request_break_glass('acme', 'sam', 'a leak of tokens was reported')}), qr/permission denied/, 'T47: an account does not break its own glass');
like(as('sam', q{SELECT keypup.request_break_glass('acme', 'sam', 'short')}), qr/20 to 1000 characters/, 'T47: break-glass has a reason');
my $request = as('sam', q{SELECT keypup.request_break_glass('acme', 'sam', 'a leak of tokens was reported')});
like($request, qr/^\d+$/, 'T47: staff ask for it');
is(as('sam', $count), '0|0', 'T47: which opens nothing');
like(as('sam', "SELECT keypup.approve_break_glass('acme', $request)"), qr/two others must approve/, 'T47: nor does the own approval');
is(as('ina', "SELECT keypup.approve_break_glass('acme', $request) IS NULL"), 't', 'T47: one approves');
is(as('sam', $count), '0|0', 'T47: which is not enough');
like(as('ina', "SELECT keypup.approve_break_glass('acme', $request)"), qr/two others must approve/, 'T47: nor is the same one twice');
like(as('ida', "SELECT keypup.approve_break_glass('bolt', $request)"), qr/does not exist/, 'T47: nor one for another account');
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN keypup_' . query(q{SELECT replace(account_id::text, '-', '') FROM keypup.accounts WHERE name = 'acme'}));
is(as('ida', "SELECT t BETWEEN now() + interval '59 minutes' AND now() + interval '61 minutes' FROM keypup.approve_break_glass('acme', $request) t"), 't', 'T47: a second opens the account for 60 minutes');
is(as('sam', $count), '10|1', 'T47: then it is read');
my $heard = qr/Asynchronous notification "keypup_\w+" with payload "break_glass" received/;
like($listener->query_safe('SELECT 1'), $heard, 'T47: and the account is told by NOTIFY that there is something to read');
# Whoever knows the channel's name can say the same: what is so is in the relation.
my $openings = q{SELECT count(*), count(ends_at) FROM keypup.break_glass};
my $before = as('olga', $openings);
as('eve', q{SELECT pg_notify('keypup_} . query(q{SELECT replace(account_id::text, '-', '') FROM keypup.accounts WHERE name = 'acme'}) . q{', 'break_glass')});
like($listener->query_safe('SELECT 1'), $heard, 'T47: another role can say so as well');
is(as('olga', $openings), $before, 'T47: which opens nothing, and tells nothing that the relation does not');
$listener->quit;
is(query(q{SELECT string_agg(proname, ' ') FROM pg_proc WHERE pronamespace = 'keypup'::regnamespace AND prosrc ~* '\mLISTEN\M'}), '', 'T47: nothing of the extension listens');
is(as('olga', 'SELECT grantee, first_approver, second_approver, reason FROM keypup.break_glass'), 'sam|ina|ida|a leak of tokens was reported', 'T47: and reads who and why');
query("UPDATE keypup.break_glass SET ends_at = clock_timestamp()");
is(as('sam', $count), '0|0', 'T47: it ends by itself');

# --- T60: the audit log, flooded, lost, forged ---

my $acme = query(q{SELECT account_id FROM keypup.accounts WHERE name = 'acme'});
my $tried = sub { my ($call, $times) = @_; return 'DO $do$ BEGIN FOR i IN 1 .. ' . $times . " LOOP BEGIN PERFORM $call; EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END \$do\$"; };
# The worker of this database is held up.
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE keypup.audit_log IN SHARE ROW EXCLUSIVE MODE');
my $begun = time;
as('app', $tried->(q{keypup.sign_in_with_api_key(format('keypup_%s', lpad(to_hex(i), 8, '0')))}, 1500));
as('eve', $tried->(q{keypup.track('acme', 'demo/x')}, 250));
as('mia', q{SELECT keypup.track('acme', 'demo/mine')});
cmp_ok(time - $begun, '<', 90, 'T60: whoever tries much waits for nobody');
$holder->query_safe('COMMIT');
$holder->quit;
ok($node->poll_query_until('postgres', qq{SELECT sum(times) = 1500 AND count(*) BETWEEN 2 AND 10 AND max(claimed) ~ '^keypup_' AND count(actor) = 0 FROM keypup.audit_log WHERE detail = 'an API key' AND claimed ~ '^keypup_00000'}),
	'T60: 1,500 refusals are all counted, in ten records at most') or diag(query(q{SELECT times, claimed, actor FROM keypup.audit_log WHERE detail = 'an API key'}));
is(query(qq{SELECT count(*), sum(times) FROM keypup.audit_log WHERE account_id = '$acme' AND actor = 'eve' AND action = 'settings.write'}), '1|250', 'T60: 250 in the log of an account are one record');
is(query(qq{SELECT count(*), sum(times) FROM keypup.audit_log WHERE account_id = '$acme' AND actor = 'mia' AND action = 'settings.write'}), '1|1', 'T60: what somebody else was refused after all that has its own');
as('eve', $tried->(q{keypup.track('acme', 'demo/x')}, 5));
ok($node->poll_query_until('postgres', qq{SELECT sum(times) = 255 AND count(*) = 1 AND bool_and(last_at > occurred_at) FROM keypup.audit_log WHERE account_id = '$acme' AND actor = 'eve' AND action = 'settings.write'}), 'T60: and later ones are counted to it');
is(query(q{SELECT count(*) FROM keypup.audit_log WHERE actor IN ('nobody', 'guessed 1')}), '0', 'T60: a name that was typed is no actor');
ok(query(qq{SELECT count(*) > 0 AND bool_and(actor IS NULL) FROM keypup.audit_log WHERE account_id = '$acme' AND claimed = 'olga' AND action = 'session.start'}) eq 't', 'T60: it is what was claimed');
query(qq{SELECT keypup.record_note('$acme', now(), now(), 1, 'session.start', 'refused', NULL, NULL, 'x' || i, 'app', '10.0.0.' || i, NULL, 'flood', NULL) FROM generate_series(1, 700) i});
is(query(qq{SELECT sum(times) = 700, count(*) <= 500 FROM keypup.audit_log WHERE account_id = '$acme' AND (detail = 'flood' OR detail = 'too many to tell them apart')}), 't|t', 'T60: an account has room for so many an hour, and the rest is counted');
# Who reads by consent has others be refused very often first: that hides nothing.
query(qq{SELECT keypup.record_note('$acme', now(), now(), 1, 'support.read', 'done', 'database_role', 'sam', NULL, 'sam', NULL, NULL, 'after the flood', NULL)});
is(query(qq{SELECT actor, times FROM keypup.audit_log WHERE account_id = '$acme' AND action = 'support.read' AND detail = 'after the flood'}), 'sam|1', 'T60: who did something is named, however often others were refused');
$support->('olga', 'sam', 'a failing sync', '1 hour');
my $readings = query(qq{SELECT count(*) FROM keypup.audit_log WHERE account_id = '$acme' AND action = 'support.read' AND detail LIKE 'session %'});
$holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE keypup.audit_log IN SHARE ROW EXCLUSIVE MODE');
query(qq{SELECT keypup.note_refusal('$acme', format('%s.%s', a, i), 'x', 'y') FROM unnest('{flood,deluge}'::text[]) a, generate_series(1, 35) i});
is(as('sam', $count), '10|1', 'T60: support reads while an account has no place left for refusals');
$holder->query_safe('COMMIT');
$holder->quit;
ok($node->poll_query_until('postgres', qq{SELECT count(*) = $readings + 1 FROM keypup.audit_log WHERE account_id = '$acme' AND action = 'support.read' AND detail LIKE 'session %' AND actor = 'sam'}), 'T60: which is recorded all the same');
is(query(q{SELECT string_agg(format('%s.%s', c.relname, a.attname), ', ') FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
	WHERE c.relnamespace = 'keypup'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND has_column_privilege('keypup_member', c.oid, a.attnum, 'SELECT') AND (a.attidentity <> '' OR pg_get_expr(d.adbin, d.adrelid) ~ 'nextval')}), '',
	'no number that an account sees counts what others do');
$node->stop;
done_testing();
