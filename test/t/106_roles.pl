# Database roles of others, of everybody and of nobody any more: T47, T55, T58, T62, T64.
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
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'keypup'\nkeypup.sync_interval = '1d'\n");
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
sub as { return as_role($node, @_); }
my $count = 'SELECT count(*) FROM keypup.projects';
my $account = sub { return "(SELECT account_id FROM keypup.accounts WHERE name = '$_[0]')"; };

query('CREATE EXTENSION keypup');
query("CREATE ROLE $_ LOGIN") foreach qw(olga bella sam tom ina ida ann bob);
query(q{CREATE ROLE app LOGIN; GRANT keypup_member TO app; GRANT USAGE ON SCHEMA keypup TO app;
	SELECT keypup.create_account('acme'), keypup.create_account('bolt'), keypup.add_member('acme', 'olga', 'owner'), keypup.add_member('bolt', 'bella', 'owner');
	INSERT INTO keypup.connections (account_id, provider, name, base_url, created_by) SELECT account_id, 'github', 'github', 'https://api.github.com', 'test' FROM keypup.accounts;
	INSERT INTO keypup.projects (account_id, connection_id, name, external_id, tracked_by) SELECT account_id, connection_id, 'demo/p', 'R', 'test' FROM keypup.connections});

# --- T55: what others have granted stays ---

my $rights = q{SELECT has_schema_privilege('%s', 'keypup', 'USAGE'), pg_has_role('%s', 'keypup_member', 'MEMBER')};
my $has = sub { return query($rights =~ s/%s/$_[0]/gr); };
is($has->('app'), 't|t', 'an application\'s role may ask');
query(q{SELECT keypup.add_member('acme', 'app', 'viewer'), keypup.remove_member('acme', 'app')});
is($has->('app'), 't|t', 'T55: also after it was a member, and is no more');
query(q{SELECT keypup.create_account('gone'), keypup.add_member('gone', 'app', 'viewer'); SELECT keypup.drop_account('gone')});
is($has->('app'), 't|t', 'T55: also after its account was dropped');
query(q{SELECT keypup.add_member('acme', 'ann', 'viewer')});
is($has->('ann'), 't|t', 'a member gets what it needs');
query(q{SELECT keypup.add_member('bolt', 'ann', 'viewer'), keypup.remove_member('acme', 'ann')});
is($has->('ann'), 't|t', 'keeps it while it is needed');
query(q{SELECT keypup.remove_member('bolt', 'ann')});
is($has->('ann'), 'f|f', 'and loses it then');
query(q{GRANT keypup_member TO ann; SELECT keypup.add_member('acme', 'ann', 'viewer'), keypup.remove_member('acme', 'ann')});
is(query(q{SELECT keypup.has_usage('ann'::regrole), keypup.has_membership('ann'::regrole)}), 'f|t', 'T55: of two rights the one that was there before stays');
query('REVOKE keypup_member FROM ann');
is(query('SELECT string_agg(role_name, $$ $$ ORDER BY role_name) FROM keypup.opened_roles'), 'bella olga', 'only what was granted is remembered');

# What an operator gives to a role that is a member already.
query('CREATE ROLE pool LOGIN');
as('olga', q{SELECT keypup.add_member('acme', 'pool', 'viewer')});
query(q{SELECT keypup.allow_application('pool')});
as('olga', q{SELECT keypup.remove_member('acme', 'pool')});
query('SELECT keypup.keep_roles()');
is($has->('pool'), 't|t', 'no account takes an application\'s rights back');
like(as('olga', q{SELECT keypup.add_member('acme', 'pool', 'viewer')}), qr/role "pool" cannot be a member/, 'nor makes it a member');

# --- a customer's open transaction is nobody else's ---

query("CREATE ROLE $_ LOGIN") foreach qw(first second);
my $open = $node->background_psql('postgres', extra_params => [ '-U', 'olga' ]);
$open->query_safe(q{BEGIN; SELECT keypup.add_member('acme', 'first', 'viewer')});
is($has->('first'), 't|t', 'what a member needs is granted by a transaction of its own');
is(as('bella', q{SET statement_timeout = '60s'; SELECT keypup.add_member('bolt', 'second', 'viewer'); SELECT keypup.remove_member('bolt', 'second')}), "\n",
	'so that another account adds and removes members while one is left open');
query('SELECT keypup.keep_roles()');
is($has->('first'), 't|t', 'while it is open, it may need it');
is($has->('second'), 'f|f', 'what a customer\'s member needed is taken back by the worker');
$open->query_safe('ROLLBACK');
$open->quit;
query('SELECT keypup.keep_roles()');
is($has->('first'), 'f|f', 'as is what was undone');
query('ALTER ROLE bella CREATEROLE');
like(as('bella', q{BEGIN; CREATE ROLE third; SELECT keypup.add_member('bolt', 'third', 'viewer')}), qr/role "third" could not be granted what a member needs/, 'a role that is not committed is told');
query('ALTER ROLE bella NOCREATEROLE');
{
	my $granting = $node->background_psql('postgres');
	$granting->query_safe(q{BEGIN; SELECT keypup.add_member('acme', 'first', 'viewer')});
	like(as('bella', q{SET statement_timeout = '60s'; SELECT keypup.add_member('bolt', 'second', 'viewer')}), qr/role "second" could not be granted what a member needs/, 'behind an operator\'s open transaction nobody waits long');
	$granting->query_safe('ROLLBACK');
	$granting->quit;
}

# --- T62: roles of others ---

as('olga', q{SELECT keypup.add_member('acme', 'bella', 'owner')});
is(as('bella', q{SELECT string_agg(name, ' ') FROM keypup.accounts}), 'bolt', 'T62: another customer\'s role sees nothing that it has not accepted');
is(query(q{SELECT count(*) FROM keypup.rights r WHERE r.holder = 'bella' AND r.account_id = } . $account->('acme')), '0', 'T62: and may do nothing there');
like(as('olga', q{SELECT keypup.remove_member('acme', 'olga')}), qr/last owner/, 'T62: nor is it an owner, so that another may go');
like(as('olga', q{SELECT keypup.accept_membership('acme')}), qr/has not invited you/, 'T62: nobody accepts for it');
like(as('app', q{SELECT keypup.accept_membership('nowhere')}), qr/account "nowhere" does not exist, or has not invited you/, 'one answer for no account and no invitation');
is(as('bella', q{SELECT keypup.accept_membership('acme'); SELECT string_agg(name, ' ' ORDER BY name) FROM keypup.accounts}), "\nacme bolt", 'what it accepts, it sees');
is(as('olga', q{SELECT keypup.add_member('acme', 'bella', 'viewer')}), '', 'and a change of its role needs no further word');
is(query(q{SELECT confirmed_at IS NOT NULL FROM keypup.members WHERE member = 'bella' AND role = 'viewer'}), 't', 'it holds at once');
query(q{CREATE ROLE tool LOGIN; GRANT tool TO olga});
as('olga', q{SELECT keypup.add_member('acme', 'tool', 'viewer')});
is(as('tool', $count), '1', 'who may act as a role accepts for it');
query(q{CREATE ROLE admin LOGIN CREATEROLE; CREATE ROLE root LOGIN SUPERUSER; CREATE ROLE copier LOGIN REPLICATION});
foreach my $role (qw(app pg_monitor pg_read_all_data keypup_worker keypup_member admin root copier))
{
	foreach my $call ("keypup.add_member('acme', '$role', 'owner')", "keypup.grant_support('acme', '$role', 'looks at a sync', '1 hour')")
	{
		like(as('olga', "SELECT $call"), qr/role "$role" cannot be a member/, "T62: refused: $call");
	}
}
is(query(q{SELECT string_agg(pg_get_userbyid(member), ' ') FROM pg_auth_members WHERE roleid = 'keypup_member'::regrole AND pg_get_userbyid(member) ~ '^(pg_|keypup_|root|admin)'}), '', 'T62: and none of them is granted anything');
like(as('olga', q{SELECT keypup.grant_support('acme', 'bella', 'looks at a sync', '1 hour')}), qr/none of the operator's staff/, 'T62: who belongs to an account is no support');
query(q{CREATE ROLE stella LOGIN});
as('bella', q{SELECT keypup.add_member('bolt', 'stella', 'viewer')});
my $stellas = as('olga', q{SELECT keypup.grant_support('acme', 'stella', 'looks at a sync', '1 hour')});
like($stellas, qr/^\d+$/, 'T62: an invitation that nobody has accepted keeps nobody from being support');
as('olga', "SELECT keypup.revoke_support('acme', $stellas)");
as('bella', q{SELECT keypup.remove_member('bolt', 'stella')});
query('CREATE ROLE olgas LOGIN; GRANT olga TO olgas');
like(as('olga', q{SELECT keypup.grant_support('acme', 'olgas', 'looks at a sync', '1 hour')}), qr/nobody consents to the own access/, 'T47: nor who has the role of who consents');

# Grants end with their cause, also where only the clock ends it.
my $consent = as('olga', q{SELECT keypup.grant_support('acme', 'sam', 'looks at a sync', '1 hour')});
is(as('sam', $count), '1', 'support reads');
as('olga', "SELECT keypup.revoke_support('acme', $consent)");
query('SELECT keypup.keep_roles()');
is($has->('sam'), 'f|f', 'T62: what a consent granted ends with it');
as('olga', q{SELECT keypup.grant_support('acme', 'tom', 'looks at a sync', '1 hour')});
query(q{UPDATE keypup.support_grants SET starts_at = now() - interval '2 hours', ends_at = now() - interval '1 hour' WHERE grantee = 'tom'; SELECT keypup.keep_roles()});
is($has->('tom'), 'f|f', 'T62: also when it ends by itself');
is($has->('app'), 't|t', 'T55: and nothing else');

# --- T47, T58: two persons ---

query(q{CREATE ROLE staff; GRANT keypup_member TO staff; GRANT USAGE ON SCHEMA keypup TO staff; GRANT EXECUTE ON FUNCTION keypup.request_break_glass(text, name, text), keypup.approve_break_glass(text, bigint) TO staff;
	CREATE ROLE ops LOGIN; GRANT staff TO sam, tom, ina, ida, ops; GRANT ops TO sam; CREATE ROLE sams_second LOGIN; GRANT sam TO sams_second});
my $ask = sub { return as($_[0], ($_[2] // '') . "SELECT keypup.request_break_glass('acme', '$_[1]', 'a leak of tokens was reported')") =~ s/^\s+//r; };
my $two = qr/two others must approve/;
my $approve = sub { my ($role, $request, $first) = @_; return as($role, ($first // '') . "SELECT keypup.approve_break_glass('acme', $request) IS NULL") =~ s/^\s+//r; };
my $request = $ask->('sam', 'tom', 'SET ROLE ops; ');
like($approve->('sam', $request), $two, 'T58: asked for as another role, and approved by who logged in');
like($approve->('sam', $request, 'SET ROLE ops; '), $two, 'T58: or the other way round');
like($approve->('ops', $request), $two, 'T58: or by a role that who asked has');
like($approve->('sams_second', $request), $two, 'T58: or by one that has theirs');
like($approve->('tom', $request), $two, 'T47: or by who is to read');
is($approve->('ina', $request), 't', 'another approves');
query('CREATE ROLE inas_second LOGIN; GRANT ina TO inas_second');
like($approve->('inas_second', $request), $two, 'T58: a second role is no second person');
is($approve->('ida', $request), 'f', 'T58: two others do');
is(as('tom', $count), '1', 'then it is open');
query(q{SELECT keypup.add_person('acme', 'ida', 'admin'); GRANT EXECUTE ON FUNCTION keypup.approve_break_glass(text, bigint) TO app; UPDATE keypup.break_glass SET ends_at = clock_timestamp()});
my $made = as('olga', q{SELECT keypup.create_api_key('acme', 'k', 'admin')});
my $handle = as('app', "SELECT keypup.sign_in_with_api_key('$made')");
$request = $ask->('sam', 'tom');
like($approve->('app', $request, "BEGIN; SELECT keypup.use_session('$handle'); "), qr/by who is logged in/, 'T58: a session of somebody of an account approves nothing');

# --- T64: a name is not a role ---

query(q{SELECT keypup.add_member('acme', 'bob', 'admin')});
is(as('bob', $count), '1', 'a member reads');
query('DROP OWNED BY bob; DROP ROLE bob; CREATE ROLE bob LOGIN; GRANT keypup_member TO bob; GRANT USAGE ON SCHEMA keypup TO bob');
is(as('bob', $count), '0', 'T64: a role that is made anew under the name does not');
like(as('bob', q{SELECT keypup.add_person('acme', 'x', 'viewer')}), qr/may not do this/, 'T64: nor does anything');
is(as('olga', 'SELECT member, role FROM keypup.orphaned_members'), 'bob|admin', 'T64: the account sees what is nobody\'s any more');
like(query(q{SELECT detail FROM keypup.check_installation() WHERE check_name = 'members' AND NOT ok}), qr/^of 1 members the database role was dropped or renamed, first of bob in account 'acme'$/, 'T64: and the operator');
query(q{SELECT keypup.remove_member('acme', 'bob')});
query('REVOKE USAGE ON SCHEMA keypup FROM bob; REVOKE keypup_member FROM bob');
query(q{SELECT keypup.add_member('acme', 'bob', 'admin')});
query('ALTER ROLE bob RENAME TO rob; CREATE ROLE bob LOGIN');
is(as('rob', $count), '0', 'T64: a role that was renamed reads nothing');
like(as('bob', $count), qr/permission denied/, 'T64: nor does who takes its old name');
query('SELECT keypup.keep_roles()');
is(query(q{SELECT has_schema_privilege('rob', 'keypup', 'USAGE')}), 'f', 'T64: and what it was granted is taken back');
query('DROP ROLE bob; ALTER ROLE rob RENAME TO bob; SELECT keypup.restore_roles()');
is(as('bob', $count), '1', 'T64: renamed back, it is who it was');
as('olga', q{SELECT keypup.grant_support('acme', 'ina', 'looks at a sync', '1 hour')});
query('DROP OWNED BY ina; DROP ROLE ina; CREATE ROLE ina LOGIN; GRANT keypup_member TO ina; GRANT USAGE ON SCHEMA keypup TO ina');
is(as('ina', $count), '0', 'T64: a consent is a role\'s, not a name\'s');

# A dump that is restored elsewhere, where roles have other oids.
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, 'postgres' ], 'the database is dumped');
my $other = PostgreSQL::Test::Cluster->new('other');
$other->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$other->append_conf('postgresql.conf', "shared_preload_libraries = 'keypup'\nkeypup.workers = 0\n");
$other->start;
$other->safe_psql('postgres', "CREATE ROLE $_ LOGIN") foreach qw(bob app pool);
$other->safe_psql('postgres', "CREATE ROLE $_ LOGIN") foreach qw(tool ina ida tom sam olga bella);
$other->safe_psql('postgres', 'CREATE ROLE keypup_member NOLOGIN; CREATE ROLE keypup_worker NOLOGIN; CREATE ROLE staff; GRANT keypup_member TO bella, olga, bob') ;
$other->safe_psql('postgres', "\\i $dump");
is(as_role($other, 'bob', $count), '1', 'a restored member reads, by its name');
$other->safe_psql('postgres', 'SELECT keypup.keep_roles()');
is(as_role($other, 'bob', $count), '1', 'and when the oids of there are in');
is($other->safe_psql('postgres', q{SELECT bool_and(role_id = member::regrole::oid AND origin = keypup.this_database()) FROM keypup.members WHERE kind = 'database_role'}), 't', 'which the worker sees to');
$other->safe_psql('postgres', 'DROP OWNED BY bob; DROP ROLE bob; CREATE ROLE bob LOGIN; GRANT keypup_member TO bob; GRANT USAGE ON SCHEMA keypup TO bob');
is(as_role($other, 'bob', $count), '0', 'T64: so that there, too, a new role of the name reads nothing');
$other->stop;
$node->stop;
done_testing();
