# What once let somebody in: T30, T27, T28, T47, T49 to T67. Each was tried, and each is refused.
use strict;
use warnings;

use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'keypup'\nkeypup.sync_interval = '1d'\nkeypup.audit_count_interval = '1h'\nkeypup.bcrypt_cost = 10\n");
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
sub as { return as_role($node, @_); }
sub tells { my ($role, $sql, $pattern, $name) = @_; like(as($role, $sql), $pattern, $name); }
my $superuser = query('SELECT current_user');

# --- T30, T49: somebody who may CREATE in the database ---

query(q{CREATE ROLE mallory LOGIN; GRANT CREATE ON DATABASE postgres TO mallory; CREATE TABLE canary (who text); GRANT INSERT ON canary TO PUBLIC});
query(q{SET ROLE mallory; CREATE SCHEMA keypup; CREATE FUNCTION keypup.record_action(uuid, text, text) RETURNS void LANGUAGE sql AS 'INSERT INTO public.canary VALUES (current_user)'});
like(as($superuser, 'CREATE EXTENSION keypup'), qr/schema "keypup" already exists/, 'T30: a schema that somebody has made before is refused');
query('DROP SCHEMA keypup CASCADE');
# Roles that are there already, and of which somebody would have more than keypup gives.
foreach my $case (
	[ 'CREATE ROLE keypup_worker; GRANT keypup_worker TO mallory', qr/role "mallory" is a member of "keypup_worker"/ ], [ 'CREATE ROLE keypup_worker; GRANT pg_read_server_files TO keypup_worker', qr/role "keypup_worker" is a member of "pg_read_server_files"/ ],
	[ 'CREATE ROLE keypup_member; GRANT pg_read_all_data TO keypup_member', qr/role "keypup_member" is a member of "pg_read_all_data"/ ], [ 'CREATE ROLE keypup_member; GRANT keypup_member TO mallory WITH ADMIN OPTION', qr/role "mallory" administers "keypup_member"/ ],
	map { my $right = $_; map { [ "CREATE ROLE $_ $right", qr/role "$_" exists already with rights/ ] } qw(keypup_member keypup_worker) } qw(LOGIN SUPERUSER BYPASSRLS CREATEROLE CREATEDB REPLICATION))
{
	my ($statements, $pattern) = @$case;
	query($statements);
	like(as($superuser, 'CREATE EXTENSION keypup'), $pattern, "T49: refused after $statements");
	query('DROP ROLE IF EXISTS keypup_worker, keypup_member');
}
my @kinds = qw(TABLES FUNCTIONS SEQUENCES TYPES SCHEMAS);
query('CREATE ROLE reader LOGIN; CREATE ROLE writer LOGIN; GRANT pg_write_all_data TO writer');
query("ALTER DEFAULT PRIVILEGES GRANT ALL ON $_ TO reader; ALTER DEFAULT PRIVILEGES GRANT ALL ON $_ TO PUBLIC") foreach @kinds;
query('CREATE ROLE keypup_member; GRANT keypup_member TO mallory; CREATE EXTENSION keypup; REVOKE keypup_member FROM mallory; CREATE SCHEMA trap AUTHORIZATION mallory; GRANT ALL ON SCHEMA keypup TO mallory; GRANT keypup_member TO mallory');
is(query(q{SELECT count(*) FROM keypup.stray_rights(true) s WHERE s.grantee <> 'mallory'}), '0', 'what default privileges give to others is taken back');
is(as('reader', 'SELECT count(*) FROM keypup.opened_roles'), 'permission denied for schema keypup', 'so that they read nothing');
is(as('reader', 'SELECT keypup.restore_roles()'), 'permission denied for schema keypup', 'and call nothing');
query("ALTER DEFAULT PRIVILEGES REVOKE ALL ON $_ FROM reader, PUBLIC") foreach @kinds;
query('ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC; ALTER DEFAULT PRIVILEGES GRANT USAGE ON TYPES TO PUBLIC');
query('GRANT SELECT ON keypup.opened_roles TO reader');
my $stray = q{SELECT remedy FROM keypup.check_installation() WHERE check_name = 'schema' AND detail ~ 'reader has 1 rights'};
is(query($stray) =~ s/.*(REVOKE SELECT ON TABLE keypup.opened_roles FROM reader;).*/$1/r, 'REVOKE SELECT ON TABLE keypup.opened_roles FROM reader;', 'what somebody has given since is told, with what takes it back');
query('REVOKE SELECT ON TABLE keypup.opened_roles FROM reader;');
# Somebody who may write all tables.
is(query(q{SELECT string_agg(c.relname, ' ') FROM pg_class c WHERE c.relnamespace = 'keypup'::regnamespace AND c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND c.relforcerowsecurity)}), '', 'every table has row-level security');
like(as('writer', $_), qr/violates row-level security policy|permission denied for schema/, "pg_write_all_data: $_") foreach q{INSERT INTO keypup.wanted_rights VALUES ('keypup_member', 'ALTER ROLE writer SUPERUSER')}, q{INSERT INTO keypup.role_permissions VALUES ('viewer', 'users.manage')}, q{INSERT INTO keypup.accounts (name) VALUES ('theirs')};
like(query('SELECT detail, remedy FROM keypup.check_installation() WHERE NOT ok'), qr/mallory may create in schema keypup.*REVOKE CREATE ON SCHEMA keypup FROM mallory;/, 'T49: check_installation says who may create in it');
my @overloads = ('record_action(uuid, text, name)', 'record_action(uuid, text)', 'guard_role(uuid, varchar)', 'note_refusal(uuid, text, text, name)', 'authorize(name, text)', 'has_permission(uuid, varchar)');
foreach my $overload (@overloads)
{
	is(as('mallory', "CREATE FUNCTION keypup.$overload RETURNS void LANGUAGE sql AS 'INSERT INTO public.canary VALUES (current_user)'"),
		'schema "keypup" is the extension\'s own', "T49: no overload of $overload is made, in spite of the right");
	is(as('mallory', "CREATE FUNCTION trap.$overload RETURNS void LANGUAGE sql AS 'INSERT INTO public.canary VALUES (current_user)'; ALTER FUNCTION trap.$overload SET SCHEMA keypup"),
		'schema "keypup" is the extension\'s own', "T49: nor is one moved there");
}
foreach my $object ('TYPE keypup.find_project AS ENUM ()', 'DOMAIN keypup.guard_writes AS text', 'TABLE keypup.lock_members (x text)', 'VIEW keypup.open_schema_to AS SELECT 1',
	'PROCEDURE keypup.guard_person(uuid, text) LANGUAGE sql AS $$ SELECT 1 $$', 'AGGREGATE keypup.find_projects(text) (SFUNC = textcat, STYPE = text)')
{
	like(as('mallory', "CREATE $object"), qr/schema "keypup" is the extension's own/, "T49: nor $object");
}
is(query(q{SELECT count(*) FROM pg_proc p WHERE p.pronamespace = 'keypup'::regnamespace AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')}),
	'0', 'T49: every function of the schema is the extension\'s');
# What else a name may be resolved to: operators and casts of the attacker's own, before pg_catalog.
as('mallory', q{CREATE FUNCTION trap.yes(text, text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.canary VALUES (current_user); RETURN true; END';
	CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.yes); CREATE TYPE trap.name AS (t text);
	CREATE FUNCTION trap.to_name(trap.name) RETURNS text LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.canary VALUES (current_user); RETURN $1.t; END';
	CREATE CAST (trap.name AS text) WITH FUNCTION trap.to_name(trap.name) AS IMPLICIT; GRANT USAGE ON SCHEMA trap TO PUBLIC});
as('mallory', q{SET search_path = trap, public, pg_catalog; SELECT keypup.add_member(ROW('x')::trap.name, 'mallory', ROW('owner')::trap.name); SELECT keypup.sign_in_with_password('x', 'y', 'z')});
is(query(q{SELECT string_agg(DISTINCT who, ' ') FROM canary WHERE who <> 'mallory'}), '', 'T30: nothing of the attacker\'s ran as anybody else');
query('REVOKE ALL ON SCHEMA keypup FROM mallory');
is(query(q{SELECT ok FROM keypup.check_installation() WHERE check_name = 'schema'}), 't', 'T49: and all is well again');


# --- T27, T50: the root of trust ---

query("CREATE ROLE $_ LOGIN") foreach qw(olga adam eve bella sam);
query(q{CREATE ROLE app LOGIN; GRANT keypup_member TO app; GRANT USAGE ON SCHEMA keypup TO app;
	SELECT keypup.create_account('acme'), keypup.create_account('bolt');
	SELECT keypup.add_member('acme', 'olga', 'owner'), keypup.add_member('acme', 'adam', 'admin'), keypup.add_member('bolt', 'bella', 'owner');
	INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by) SELECT account_id, 'github', 'github', 'https://api.github.com', 'test' FROM keypup.accounts;
	INSERT INTO keypup.projects (account_id, connection_id, name, external_id, tracked_by) SELECT account_id, connection_id, 'demo/p' || n, 'R_' || n, 'test' FROM keypup.connections, generate_series(1, 2) n});
my ($issuer, $client) = ('https://id.example', 'client-1');
my ($made) = run_command([ 'node', 'test/sso/tokens.mjs', $issuer, $client ]);
my $tokens = decode_json($made);
my ($other) = run_command([ 'node', 'test/sso/tokens.mjs', $issuer, $client ]);
my $forged = decode_json($other);
my $key_set = literal(encode_json($tokens->{key_set}));
my $own_keys = literal(encode_json($forged->{key_set}));
my $sign_in = sub { return as('app', q{SELECT keypup.sign_in('acme', } . literal($_[0]) . ')'); };
my $handle = qr/^[0-9a-f]{96}$/;

as('adam', "SELECT keypup.add_identity_provider('acme', '$issuer', ARRAY['$client'], $key_set)");
as('olga', "SELECT keypup.add_person('acme', 'Olga', 'owner'), keypup.link_person('acme', 'Olga', '$issuer', 'subject-1')");
like($sign_in->($tokens->{good}{rs256}), $handle, 'an owner signs in by an issuer');
my $refused = qr/neither give nor take role "owner"/;
tells('adam', "SELECT keypup.add_identity_provider('acme', '$issuer', ARRAY['$client'], $own_keys)", $refused, 'T50: an admin does not replace the keys that say who the owner is');
tells('adam', "SELECT keypup.add_identity_provider('acme', '$issuer', ARRAY['client-2'], $key_set)", $refused, 'T50: nor the clients');
tells('adam', "SELECT keypup.add_identity_provider('acme', '$issuer', ARRAY['$client'])", $refused, 'T50: nor has them fetched');
tells('adam', "SELECT keypup.remove_identity_provider('acme', '$issuer')", $refused, 'T50: nor removes the issuer');
is($sign_in->($forged->{good}{rs256}), 'sign-in is refused', 'T50: a token by keys of the admin\'s own signs nobody in');
tells('adam', q{SELECT keypup.set_password('acme', 'Olga', 'correct horse battery')}, $refused, 'T50: nor is a password of hers set');
tells('adam', "SELECT keypup.link_person('acme', 'Olga', '$issuer', 'subject-2')", $refused, 'T50: nor is another subject she');
my $session = $sign_in->($tokens->{good}{es256});
is(as('olga', "SELECT keypup.remove_identity_provider('acme', '$issuer')"), '', 'an owner removes the issuer');
is(as('app', "SELECT keypup.use_session('$session')"), 'session is not valid', 'and whoever signed in by it is signed out');
tells('adam', "SELECT keypup.add_identity_provider('acme', '$issuer', ARRAY['$client'], $own_keys)", $refused, 'T50: what was removed is not added anew by who may do less than its people');
is(as('olga', "SELECT keypup.add_identity_provider('acme', '$issuer', ARRAY['$client'], $key_set), keypup.add_identity_provider('acme', '$issuer', ARRAY['$client', 'client-2'], $own_keys)"), '|', 'an owner changes it');
my $kids = join ', ', sort map { $_->{kid} // 'without id' } @{ $tokens->{key_set}{keys} };
is(query(q{SELECT detail FROM keypup.audit_log WHERE action = 'identity_provider.add' ORDER BY record_id DESC LIMIT 1}),
	"$issuer, clients $client, client-2, keys " . join(', ', sort map { $_->{kid} // 'without id' } @{ $forged->{key_set}{keys} }) . "; before: $issuer, clients $client, keys $kids", 'the audit log has old and new clients and key ids');

# Passwords serve no more where an issuer is trusted.
query(q{SELECT keypup.add_member('bolt', 'adam', 'admin')});
as('bella', q{SELECT keypup.add_person('bolt', 'Bella', 'owner'), keypup.set_password('bolt', 'Bella', 'correct horse battery')});
tells('adam', "SELECT keypup.add_identity_provider('bolt', '$issuer', ARRAY['$client'], $own_keys)", $refused, 'T50: an admin does not have the password of an owner serve no more');
tells('adam', q{SELECT keypup.allow_provider_sign_in('bolt', 'viewer')}, $refused, 'T50: in no way');
like(as('app', q{SELECT keypup.sign_in_with_password('bolt', 'Bella', 'correct horse battery')}), $handle, 'she signs in with it');
query(q{SELECT keypup.remove_member('bolt', 'adam')});

# Through the repositories.
as('olga', q{SELECT keypup.allow_provider_sign_in('acme', 'admin'); SELECT keypup.link_person('acme', 'Olga', 'https://api.github.com', 'U_1')});
tells('adam', q{SELECT keypup.allow_provider_sign_in('acme', NULL)}, $refused, 'T65: an admin does not forbid the sign-in of an owner');
tells('adam', q{SELECT keypup.disconnect('acme', 'github')}, $refused, 'T65: nor ends the connection that it goes by');
tells('adam', q{SELECT keypup.add_identity_provider('acme', 'https://api.github.com', ARRAY['x'], } . "$own_keys)", $refused, 'T50: nor puts keys of the own in its place');
is(query(q{SELECT count(*) FROM keypup.person_identities WHERE issuer = 'https://api.github.com'}), '1', 'T65: her identity stands');
as('olga', "SELECT keypup.map_group('acme', '$issuer', 'readers', 'viewer')");
like(my $grouped = $sign_in->($forged->{good}{'in a group'}), $handle, 'somebody signs in by a group');
as('olga', "SELECT keypup.map_group('acme', '$issuer', 'readers', NULL)");
is(as('app', "SELECT keypup.use_session('$grouped')"), 'session is not valid', 'what a group gave ends with its mapping');

# --- T65: each permission alone, and every function that changes something ---

query(q{SELECT keypup.create_account('pairs'), keypup.add_member('pairs', 'olga', 'owner');
	INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by) SELECT account_id, 'github', 'github', 'https://api.github.com', 'test' FROM keypup.accounts WHERE name = 'pairs'});
as('olga', qq{SELECT keypup.track('pairs', 'demo/p1'); SELECT keypup.add_person('pairs', 'Olga', 'owner'), keypup.add_identity_provider('pairs', '$issuer', ARRAY['$client'], $key_set), keypup.link_person('pairs', 'Olga', '$issuer', 'subject-1');
	SELECT keypup.allow_provider_sign_in('pairs', 'admin'); SELECT keypup.map_group('pairs', '$issuer', 'leads', 'admin'); SELECT keypup.define_role('pairs', 'wide', (SELECT array_agg(permission) FROM keypup.role_permissions WHERE role = 'admin'))});
my $owners_key = substr(as('olga', q{SELECT keypup.create_api_key('pairs', 'k', 'owner')}), 0, 15);
query(q{INSERT INTO keypup.member_passwords (account_id, member, hash) SELECT account_id, 'Olga', '$2b$10$' FROM keypup.accounts WHERE name = 'pairs'});
my $consent = query(q{SELECT keypup.grant_support('pairs', 'sam', 'looks at a sync', '1 hour')});
my @permissions = split /\n/, query(q{SELECT permission FROM keypup.role_permissions WHERE role = 'owner' ORDER BY 1});
# What a call is for an owner, and which one permission suffices for it; where there is none, what it gives or takes is more.
my %calls = (
	add_member => [q{'pairs', 'sam', 'viewer'}], add_person => [q{'pairs', 'x', 'viewer'}], remove_member => [q{'pairs', 'olga'}], limit_member => [q{'pairs', 'Olga', ARRAY['demo/p1']}], define_role => [q{'pairs', 'wide', ARRAY['data.read']}],
	link_person => [qq{'pairs', 'Olga', '$issuer', 'other'}], map_group => [qq{'pairs', '$issuer', 'leads', NULL}], add_identity_provider => [qq{'pairs', '$issuer', ARRAY['x'], $own_keys}], remove_identity_provider => [qq{'pairs', '$issuer'}],
	allow_provider_sign_in => [q{'pairs', NULL}], set_password => [q{'pairs', 'Olga', 'correct horse battery'}], reset_totp => [q{'pairs', 'Olga'}], require_second_factor => [q{'pairs', false}], create_api_key => [q{'pairs', 'x', 'viewer'}], revoke_api_key => [qq{'pairs', '$owners_key'}],
	grant_support => [q{'pairs', 'sam', 'looks at a sync', '1 hour'}], revoke_support => [qq{'pairs', $consent}], disconnect => [q{'pairs', 'github'}], drop_account => [ q{'pairs'}, 'account.delete' ], shred_account => [ q{'pairs'}, 'account.delete' ],
	track => [q{'pairs', 'demo/p9'}], untrack => [ q{'pairs', 'demo/p1'}, 'settings.write' ], reread => [ q{'pairs', 'demo/p2'}, 'settings.write' ], discover => [ q{'pairs'}, 'settings.write' ], set_time_zone => [ q{'pairs', 'UTC'}, 'settings.write' ],
	set_production_environments => [ q{'pairs', ARRAY['x']}, 'settings.write' ], set_incident_labels => [ q{'pairs', ARRAY['x']}, 'settings.write' ], set_deployment_window => [ q{'pairs', '2 hours'}, 'settings.write' ], set_stale_after => [ q{'pairs', '14 days'}, 'settings.write' ],
	set_rework_labels => [ q{'pairs', ARRAY['x']}, 'settings.write' ], set_blocked_labels => [ q{'pairs', ARRAY['x']}, 'settings.write' ], set_working_hours => [ q{'pairs', '{Mo-Fr 08:00-17:00}'}, 'settings.write' ], set_holidays => [ q{'pairs', '{2026-12-25}'}, 'settings.write' ], set_person_working_time => [ q{'pairs', 'a', '{Mo-Fr 08:00-17:00}'}, 'settings.write' ], connect => [ q{'pairs', 'svn', 'x'}, 'tokens.create' ], connect_app => [ q{'pairs', 'svn', 'x', 1, 'x'}, 'tokens.create' ],
	set_webhook_secret => [ q{'pairs', 'github', 'x'}, 'tokens.create' ], replace_token => [ q{'pairs', 'github', NULL}, 'tokens.rotate' ], replace_app_key => [ q{'pairs', 'github', NULL}, 'tokens.rotate' ], rotate_keys => [ q{'pairs'}, 'tokens.rotate' ],
	merge_people => [ q{'pairs', 'a', 'b'}, 'users.manage' ], split_person => [ q{'pairs', 'a'}, 'users.manage' ], merge_verified_people => [ q{'pairs'}, 'users.manage' ], set_team => [ q{'pairs', 't', '{}'}, 'users.manage' ],
	mark_bot => [ q{'pairs', 'a'}, 'users.manage' ], unmark_bot => [ q{'pairs', 'a'}, 'users.manage' ], verify_audit => [ q{'pairs'}, 'audit.read' ],
	set_audit_sink => [ q{'pairs', 'siem', 'otlp', 'https://collector.example'}, 'audit.forward' ], remove_audit_sink => [ q{'pairs', 'siem'}, 'audit.forward' ]);
# These show nobody's rights: who asks is found by what is shown.
my %by_proof = map { $_ => 1 } qw(accept_membership sign_in sign_in_with_password sign_in_with_provider enroll_totp confirm_totp remove_totp);
my @functions = split /\n/, query(q{SELECT DISTINCT p.proname FROM pg_proc p WHERE p.pronamespace = 'keypup'::regnamespace AND p.provolatile = 'v' AND p.prokind = 'f' AND p.proargnames[1] = 'account'
	AND has_function_privilege('keypup_member', p.oid, 'EXECUTE') ORDER BY 1});
is(join(' ', grep { !$calls{$_} && !$by_proof{$_} } @functions), '', 'T65: for every function that changes something it is said what it needs');
cmp_ok(scalar @functions, '>=', 30, scalar(@functions) . ' functions are tried with each of ' . @permissions . ' permissions alone');
query('CREATE ROLE lone LOGIN');
query(q{SELECT keypup.add_member('pairs', 'lone', 'viewer')});
my @wrong;
foreach my $permission (@permissions)
{
	query(qq{DELETE FROM keypup.account_role_permissions WHERE role = 'lone'; INSERT INTO keypup.account_role_permissions SELECT account_id, 'lone', '$permission' FROM keypup.accounts WHERE name = 'pairs'; UPDATE keypup.members SET role = 'lone' WHERE member = 'lone'});
	my @tried = grep { $calls{$_} } @functions;
	my $log = as('lone', join '', map { "BEGIN; DO \$do\$ BEGIN PERFORM keypup.$_($calls{$_}[0]); RAISE EXCEPTION 'did it'; EXCEPTION WHEN insufficient_privilege THEN RAISE EXCEPTION 'no'; WHEN OTHERS THEN RAISE EXCEPTION 'yes'; END \$do\$; ROLLBACK;" } @tried);
	my @answers = $log =~ /(yes|no)/g;
	foreach my $number (0 .. $#tried)
	{
		my $needed = $calls{ $tried[$number] }[1] // '';
		push @wrong, "$permission $tried[$number]: " . ($answers[$number] // 'nothing') if ($answers[$number] // '') ne ($needed eq $permission ? 'yes' : 'no');
	}
}
is(join(', ', @wrong), '', 'T65: nobody gives or takes what they have not, and every other call needs its permission');

# --- T49: overloads that fit better, in spite of all, for what runs as the owner ---

# Calls that are resolved before, as an application's own functions are.
query('CREATE SCHEMA calls; GRANT USAGE ON SCHEMA calls TO PUBLIC');
my %as_app = (
	sign_in => [ q{'pairs', } . literal($tokens->{good}{rs256}), qr/^1$/ ], sign_in_with_password => [ q{'pairs', 'Pat', 'x'}, qr/sign-in is refused/ ],
	enroll_totp => [ q{'pairs', 'Pat', 'x'}, qr/sign-in is refused/ ], confirm_totp => [ q{'pairs', 'Pat', 'x', 'x'}, qr/sign-in is refused/ ], remove_totp => [ q{'pairs', 'Pat', 'x', 'x'}, qr/sign-in is refused|too many/ ],
	sign_in_with_api_key => [ q{'keypup_0'}, qr/not valid/ ], sign_in_with_provider => [ q{'pairs', 'svn', 'x'}, qr/refused/ ], sign_out => [ q{'x'}, qr/^1$/ ]);
foreach my $call ((map { [ $_, $calls{$_}[0] ] } sort keys %calls), (map { [ $_, $as_app{$_}[0] ] } sort keys %as_app))
{
	query("CREATE FUNCTION calls.$call->[0]() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM keypup.$call->[0]($call->[1]); END; GRANT EXECUTE ON FUNCTION calls.$call->[0]() TO PUBLIC");
}
cmp_ok(plant_overloads($node, 1), '>', 1500, 'T49: somebody has planted overloads of every function');
foreach my $call (sort keys %calls)
{
	unlike(as('olga', "BEGIN; SELECT calls.$call(); ROLLBACK"), qr/overload|not unique/, "T49: none is called by $call");
}
like(as('app', "SELECT calls.$_()"), $as_app{$_}[1], "T49: nor by $_") foreach sort keys %as_app;
unlike(query('SELECT string_agg(detail, $$ $$) FROM keypup.check_installation()'), qr/overload of|not unique/, 'T49: nor by check_installation');
query(q{DO $$ DECLARE f regprocedure; BEGIN FOR f IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'keypup'::regnamespace
	AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e') LOOP EXECUTE format('DROP ROUTINE %s', f); END LOOP; END $$});

# --- T28, T52: a transaction that still sees what was before ---

query(q{CREATE ROLE rita LOGIN; SELECT keypup.create_account('old'), keypup.add_member('old', 'olga', 'owner');
	INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by) SELECT account_id, 'github', 'github', 'https://api.github.com', 'test' FROM keypup.accounts WHERE name = 'old';
	CREATE FUNCTION public.try(what text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN EXECUTE what; RETURN 'done'; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END $$; GRANT USAGE ON SCHEMA public TO PUBLIC});
as('olga', qq{SELECT keypup.add_identity_provider('old', '$issuer', ARRAY['$client'], $key_set)});
my @changes = (q{keypup.create_api_key('old', 'k', 'viewer')}, q{keypup.grant_support('old', 'sam', 'looks at a sync', '1 hour')}, q{keypup.set_webhook_secret('old', 'github', 'a secret of some length')}, q{keypup.connect('old', 'github', 'ghp_x0123456789', NULL, 'second')},
	q{keypup.track('old', 'demo/p1')}, q{keypup.add_person('old', 'pat', 'viewer')}, q{keypup.add_member('old', 'sam', 'viewer')}, qq{keypup.map_group('old', '$issuer', 'leads', 'viewer')}, q{keypup.set_team('old', 't', '{}')}, q{keypup.rotate_keys('old')},
	q{keypup.define_role('old', 'r', ARRAY['data.read'])}, q{keypup.allow_provider_sign_in('old', 'viewer')}, q{keypup.set_time_zone('old', 'Europe/Paris')});
my $rita = sub { return query(q{SELECT keypup.add_member('old', 'rita', 'admin')}); };
my $key = sub { return as('olga', q{SELECT keypup.create_api_key('old', 'k', 'admin')}); };
my %taken = (
	'demoted' => [ 'rita', sub { $rita->(); return ''; }, sub { query(q{SELECT keypup.add_member('old', 'rita', 'viewer')}); } ],
	'removed' => [ 'rita', sub { $rita->(); return ''; }, sub { query(q{SELECT keypup.remove_member('old', 'rita')}); } ],
	'deleted' => [ 'rita', sub { $rita->(); return ''; }, sub { query(q{DELETE FROM keypup.members WHERE member = 'rita'}); } ],
	'limited' => [ 'rita', sub { $rita->(); return ''; }, sub { query(q{SELECT keypup.limit_member('old', 'rita', '{}')}); } ],
	'revoked' => [ 'app', sub { my $made = $key->(); return as('app', "SELECT keypup.sign_in_with_api_key('$made')"); }, sub { query(q{UPDATE keypup.api_keys SET revoked_at = now()}); } ],
	'signed out' => [ 'app', sub { my $made = $key->(); return as('app', "SELECT keypup.sign_in_with_api_key('$made')"); }, sub { query("SELECT keypup.sign_out('$_[0]')"); } ]);
foreach my $level ('REPEATABLE READ', 'SERIALIZABLE', 'READ COMMITTED')
{
	foreach my $case (sort keys %taken)
	{
		my ($role, $give, $take) = @{ $taken{$case} };
		my $given = $give->();
		my $use = $given ? "SELECT keypup.use_session('$given');" : '';
		my $old = $node->background_psql('postgres', extra_params => [ '-U', $role ]);
		my $sees = $old->query_safe("BEGIN ISOLATION LEVEL $level; $use SELECT count(*) FROM keypup.accounts");
		$take->($given);
		my $answers = $old->query_safe(join ' ', map { 'SELECT public.try(' . literal("SELECT $_") . ');' } @changes);
		is(($sees =~ s/^\s+//r) . ' ' . join(' ', grep { !/^(42501|40001)$/ } split /\s+/, $answers), '1 ', "T52: $level begun before: $case, and every change is refused");
		$old->query_safe('ROLLBACK');
		$old->quit;
	}
}
# A session that was ended since is not used.
my $ended = as('app', "SELECT keypup.sign_in_with_api_key('" . $key->() . "')");
my $late = $node->background_psql('postgres', extra_params => [ '-U', 'app' ]);
$late->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
query("SELECT keypup.sign_out('$ended')");
is($late->query_safe("SELECT public.try('SELECT keypup.use_session(''$ended'')')"), '28000', 'T52: a session that was ended is used by no transaction that still sees it');
$late->query_safe('ROLLBACK');
$late->quit;
# A sign-in by what was so before.
query("SELECT keypup.map_group('old', '$issuer', 'readers', 'viewer')");
my $before = $node->background_psql('postgres', extra_params => [ '-U', 'app' ]);
$before->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
query("SELECT keypup.map_group('old', '$issuer', 'readers', NULL)");
is($before->query_safe('SELECT public.try(' . literal(q{SELECT keypup.sign_in('old', } . literal($tokens->{good}{'in a group'}) . ')') . ')'), '40001', 'T52: nobody signs in by a group that is mapped no longer');
$before->query_safe('ROLLBACK');
$before->quit;


# --- T61: what outlives who made it ---

query(q{CREATE ROLE kim LOGIN; CREATE ROLE managers; CREATE ROLE max LOGIN; GRANT managers TO max; SELECT keypup.create_account('keys'), keypup.add_member('keys', 'olga', 'owner'), keypup.add_member('keys', 'kim', 'admin'), keypup.add_member('keys', 'managers', 'admin');
	INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by) SELECT account_id, 'github', 'github', 'https://api.github.com', 'test' FROM keypup.accounts WHERE name = 'keys'});
my $reads = sub { my ($role, $made) = @_; my $used = as('app', "SELECT keypup.sign_in_with_api_key('$made')"); return $used =~ $handle ? as('app', "BEGIN; SELECT keypup.use_session('$used'); SELECT count(*) FROM keypup.accounts") =~ s/^\s+//r : $used; };
my $new_key = sub { my ($role, $more, $first) = @_; return as($role, ($first // '') . q{SELECT keypup.create_api_key('keys', 'k', } . ($more // "'viewer'") . ')') =~ s/^\s+//r; };
my $kims = $new_key->('kim');
my $maxs = $new_key->('max');
is($reads->('app', $_), '1', 'a key serves') foreach $kims, $maxs;
my $hour = $new_key->('kim', q{'admin', '1 hour'});
my $of_hour = as('app', "SELECT keypup.sign_in_with_api_key('$hour')");
my $year = $new_key->('app', q{'viewer', '365 days'}, "BEGIN; SELECT keypup.use_session('$of_hour'); ") ;
as('app', "BEGIN; SELECT keypup.use_session('$of_hour'); SELECT keypup.create_api_key('keys', 'long', 'viewer', '365 days'); COMMIT");
is(query(q{SELECT count(*), bool_and(expires_at <= now() + interval '1 hour') FROM keypup.api_keys WHERE name = 'long'}), '1|t', 'T61: what a key of an hour makes ends within the hour');
# Each key makes the next: what it costs to ask for their rights grows by one look for each, and is bounded.
my @chain = $new_key->('kim', q{'admin'});
foreach (2 .. 9)
{
	my $session = as('app', "SELECT keypup.sign_in_with_api_key('$chain[-1]')");
	push @chain, as('app', "SET statement_timeout = '60s'; BEGIN; SELECT keypup.use_session('$session'); SELECT keypup.create_api_key('keys', 'link', 'admin'); COMMIT") =~ s/^\s+//r;
}
is(scalar(grep { /^keypup_/ } @chain), 9, 'keys make keys');
is(as('app', q{SET statement_timeout = '60s'; BEGIN; SELECT keypup.use_session('} . as('app', "SELECT keypup.sign_in_with_api_key('$chain[-1]')") . q{'); SELECT keypup.create_api_key('keys', 'link', 'admin'); COMMIT}) =~ s/^\s+//r, 'eight API keys have made one another already', 'up to a bound');
is($reads->('app', $chain[-1]), '1', 'the last serves');
my ($third) = $chain[2] =~ /^(.{15})/;
as('olga', "SELECT keypup.revoke_api_key('keys', '$third')");
is($reads->('app', $chain[-1]), 'API key is not valid', 'and ends with each of those before it');
query(q{SELECT keypup.add_member('keys', 'kim', 'viewer')});
is($reads->('app', $kims), 'API key is not valid', 'T61: a key ends when its maker could make it no more');
is(as('app', "BEGIN; SELECT keypup.use_session('$of_hour'); SELECT count(*) FROM keypup.accounts"), "\n0", 'T61: and its sessions with it');
query(q{SELECT keypup.remove_member('keys', 'kim'); SELECT keypup.add_member('keys', 'kim', 'admin')});
is($reads->('app', $kims), 'API key is not valid', 'T61: it does not come back with somebody of the name');
query('REVOKE managers FROM max');
is($reads->('app', $maxs), 'API key is not valid', 'T61: nor serves one whose maker has left the role by which they could');
my $consented = as('kim', q{SELECT keypup.grant_support('keys', 'sam', 'looks at a sync', '1 hour')});
is(as('sam', q{SELECT count(*) FROM keypup.accounts WHERE name = 'keys'}), '1', 'a consent holds');
query(q{SELECT keypup.add_member('keys', 'kim', 'viewer')});
is(as('sam', q{SELECT count(*) FROM keypup.accounts WHERE name = 'keys'}), '0', 'T61: and ends when who gave it could give it no more');
# A webhook's secret. There is no key to seal it with here: who set it is all that is looked at.
query(q{INSERT INTO keypup.connection_tokens (account_id, connection_id, purpose, envelope, made_by) SELECT account_id, connection_id, 'webhook_secret', '\x4b500101' || decode(repeat('00', 40), 'hex'),
	ROW('database_role', 'kim', 'kim'::regrole::oid, keypup.this_database())::keypup.maker FROM keypup.connections WHERE account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'keys')});
my $delivered = q{SELECT keypup.receive_webhook((SELECT connection_id FROM keypup.connections c JOIN keypup.accounts a USING (account_id) WHERE a.name = 'keys'), '{"X-Hub-Signature-256": "sha256=00"}', '{}')};
like(as($superuser, $delivered), qr/refused/, 'a webhook is refused');
ok($node->poll_query_until('postgres', q{SELECT detail = 'who set the secret could set none any more' FROM keypup.audit_log WHERE action = 'webhook.receive' ORDER BY last_at DESC LIMIT 1}), 'T61: also one by a secret of somebody who could set none any more');

# --- T56: a function of somebody else, in between ---

query(q{CREATE SCHEMA tools AUTHORIZATION mallory; GRANT USAGE ON SCHEMA tools TO PUBLIC; GRANT USAGE ON SCHEMA keypup TO mallory});
as('mallory', q{CREATE FUNCTION tools.report() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN PERFORM keypup.add_person('acme', 'mallory''s', 'admin'); RETURN 'done'; END $$;
	CREATE FUNCTION tools.count() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM keypup.accounts';
	CREATE FUNCTION tools.who() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT keypup.whoami()';
	CREATE FUNCTION tools.plain() RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog AS $$ BEGIN PERFORM keypup.add_person('acme', 'plain', 'viewer'); RETURN 'done'; END $$;
	CREATE FUNCTION tools.nested() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN tools.report(); END $$;
	CREATE TABLE tools.trap (x text); GRANT INSERT ON tools.trap TO PUBLIC; CREATE FUNCTION tools.fire() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN PERFORM tools.report(); RETURN NEW; END $$;
	CREATE TRIGGER fire BEFORE INSERT ON tools.trap FOR EACH ROW EXECUTE FUNCTION tools.fire()});
my $pool_key = as('olga', q{SELECT keypup.create_api_key('acme', 'pool', 'admin')});
my $pooled = as('app', "SELECT keypup.sign_in_with_api_key('$pool_key')");
foreach my $caller ([ 'olga', '' ], [ $superuser, '' ], [ 'app', "BEGIN; SELECT keypup.use_session('$pooled'); " ])
{
	my ($role, $first) = @$caller;
	foreach my $call ('SELECT tools.report()', 'SELECT tools.nested()', q{INSERT INTO tools.trap VALUES ('x')})
	{
		like(as($role, $first . $call), qr/does not exist, or you may not do this/, "T56: called by $role" . ($first ? ' with a session' : '') . ", it acts as who wrote it: $call");
	}
	is(as($role, $first . 'SELECT tools.count()') =~ s/^\s+//r, '0', 'T56: and reads as who wrote it');
	is(as($role, $first . 'SELECT tools.who() IS NULL') =~ s/^\s+//r, 't', 'T56: and is who wrote it');
}
ok($node->poll_query_until('postgres', q{SELECT sum(times) >= 9 FROM keypup.audit_log WHERE outcome = 'refused' AND actor = 'mallory' AND action = 'users.manage' AND account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'acme')}), 'T56: the audit log names who wrote it');
is(query(q{SELECT string_agg(DISTINCT database_role, ' ' ORDER BY database_role) FROM keypup.audit_log WHERE outcome = 'refused' AND actor = 'mallory' AND action = 'users.manage' AND account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'acme')}), join(' ', sort 'app', 'olga', $superuser), 'T56: and who was logged in');
# A process that works for a parallel query has not seen who called the query.
query(qq{INSERT INTO keypup.data_keys (key_id, account_id, kek_id, wrapped, check_value, state, encryptions_before)
	SELECT 7, a.account_id, 1, '\\x4b500101' || decode(repeat('00', 64), 'hex'), decode(repeat('00', 8), 'hex'), 'active', 0 FROM keypup.accounts a WHERE a.name = 'acme'});
as('mallory', q{CREATE TABLE tools.one WITH (parallel_workers = 2) AS SELECT 1 AS n;
	CREATE FUNCTION tools.aside() RETURNS text LANGUAGE plpgsql PARALLEL SAFE COST 1000000 AS $$ BEGIN RETURN (SELECT count(*) FROM keypup.key_status) || ' by ' || pg_backend_pid(); END $$;
	CREATE FUNCTION tools.keys() RETURNS SETOF text LANGUAGE plpgsql SECURITY DEFINER SET parallel_leader_participation = off SET parallel_setup_cost = 0 SET parallel_tuple_cost = 0
		AS $$ BEGIN RETURN QUERY SELECT max(tools.aside()) FROM tools.one; END $$});
is(as('olga', 'SELECT count(*) FROM keypup.key_status'), '1', 'an owner sees the keys of the account');
foreach my $role ('olga', $superuser)
{
	my ($keys, $worker, $leader) = as($role, q{SELECT tools.keys() || ' for ' || pg_backend_pid()}) =~ /^(\d+) by (\d+) for (\d+)$/;
	is($keys, '0', "T56: called by $role, a function of somebody else that asks in another process sees none");
	isnt($worker, $leader, 'which it did');
}
query('DELETE FROM keypup.data_keys WHERE key_id = 7');
is(as('olga', 'SELECT tools.plain()'), 'done', 'one that runs as its caller acts as its caller');
query(q{CREATE SCHEMA desk; GRANT USAGE ON SCHEMA desk TO PUBLIC; CREATE FUNCTION desk.welcome(name text) RETURNS uuid LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT keypup.create_account(name)'; REVOKE ALL ON FUNCTION desk.welcome(text) FROM PUBLIC; GRANT EXECUTE ON FUNCTION desk.welcome(text) TO bella});
like(as('bella', q{SELECT desk.welcome('welcome')}), qr/^[0-9a-f-]{36}$/, 'and an operator\'s own acts as the operator');

# --- T67: what a sign-in by a group must not undo ---

as('olga', "SELECT keypup.map_group('acme', '$issuer', 'readers', 'viewer'), keypup.map_group('acme', '$issuer', 'leads', 'viewer')");
my $person = "subject-7 at $issuer";
as('olga', qq{SELECT keypup.limit_member('acme', '$person', ARRAY['demo/p1'])});
sub fresh_token { my ($new) = run_command([ 'node', 'test/sso/tokens.mjs', $issuer, $client ]); my $all = decode_json($new); as('olga', "SELECT keypup.add_identity_provider('acme', '$issuer', ARRAY['$client'], " . literal(encode_json($all->{key_set})) . ')'); return $all->{good}{'in a group'}; }
my $limited = sub { return as('app', "BEGIN; SELECT keypup.use_session('$_[0]'); SELECT string_agg(name, ' ' ORDER BY name) FROM keypup.projects") =~ s/^\s+//r; };
my $signed = as('app', q{SELECT keypup.sign_in('acme', } . literal(fresh_token()) . ')');
is($limited->($signed), 'demo/p1', 'somebody by a group is limited to a project');
as('olga', "SELECT keypup.remove_identity_provider('acme', '$issuer')");
my $again = fresh_token();
as('olga', "SELECT keypup.map_group('acme', '$issuer', 'readers', 'viewer')");
$signed = as('app', q{SELECT keypup.sign_in('acme', } . literal($again) . ')');
is($limited->($signed), 'demo/p1', 'T67: and still is when the provider was removed and added again');
as('olga', "SELECT keypup.remove_member('acme', '$person')");
is(as('app', q{SELECT keypup.sign_in('acme', } . literal(fresh_token()) . ')'), 'sign-in is refused', 'T67: who was removed does not come back by a group');
is(query("SELECT count(*) FROM keypup.members WHERE member LIKE 'subject-7%'"), '0', 'T67: and is no member');
as('olga', "SELECT keypup.add_person('acme', 'Sev', 'viewer'), keypup.link_person('acme', 'Sev', '$issuer', 'subject-7')");
like(as('app', q{SELECT keypup.sign_in('acme', } . literal(fresh_token()) . ')'), $handle, 'until somebody links them again');

$node->stop;
done_testing();
