# What a DBA has set or renamed for other reasons, and check_installation finds: each remedy is pasted, and mends it.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server({ ca_file => '' }, "shared_preload_libraries = 'keypup'\nfsync = off\n");
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
sub findings { return query(q{SELECT check_name, ok, detail, remedy FROM keypup.check_installation() WITH ORDINALITY WHERE NOT ok AND check_name = ANY ('{roles,schema,autovacuum}') ORDER BY ordinality}); }

sub mends
{
	my ($expected, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(findings(), $expected, $what);
	query($1) if $expected =~ /\|([^|]*)$/;
	return is(findings(), '', '… and the remedy mends it');
}

query('CREATE EXTENSION keypup; CREATE ROLE vera LOGIN; CREATE ROLE "Root" SUPERUSER');
is(findings(), '', 'all is well');

# --- roles that were renamed ---

my $rights = q{SELECT md5(string_agg(statement, ' ' ORDER BY statement)) FROM keypup.held_rights()};
my $held = query($rights);
query('ALTER ROLE keypup_member RENAME TO "Readers"');
mends('roles|f|role keypup_member was renamed to "Readers"|ALTER ROLE "Readers" RENAME TO keypup_member;', 'members\' role under another name');
query('REVOKE SELECT ON keypup.connection_tokens FROM keypup_worker; ALTER ROLE keypup_worker RENAME TO robot');
is(findings(), 'roles|f|role keypup_worker was renamed to robot|ALTER ROLE robot RENAME TO keypup_worker;', 'the worker\'s, which has lost a right as well');
query('ALTER ROLE robot RENAME TO keypup_worker; SELECT keypup.restore_roles()');
is(findings(), '', 'both are as they were');
is(query($rights), $held, 'with the rights that they had');
query('GRANT SELECT ON keypup.issues TO vera; DROP OWNED BY keypup_member; DROP ROLE keypup_member');
is(findings(), 'roles|f|role keypup_member is missing|SELECT keypup.restore_roles();', 'a role that was dropped was not renamed to anybody who may read');
query('SELECT keypup.restore_roles()');
mends('schema|f|vera has 1 rights in schema keypup that keypup does not give|REVOKE SELECT ON TABLE keypup.issues FROM vera;', 'whose right is told then');

# --- a role that autovacuum gets ---

query('ALTER DATABASE postgres SET role = vera');
my $is_vera = 'autovacuum|f|autovacuum is vera here, who may not vacuum the tables: they grow, and are read ever slower';
{
	local $ENV{PGOPTIONS} = '-c role=none';
	mends("$is_vera|ALTER DATABASE postgres RESET role;", 'a role of all sessions in the database');
	query('ALTER ROLE ALL SET role = vera');
	mends("$is_vera|ALTER ROLE ALL RESET role;", 'of all sessions');
	query('ALTER ROLE postgres IN DATABASE postgres SET role = vera');
	mends("$is_vera|ALTER ROLE postgres IN DATABASE postgres RESET role;", 'of the first superuser here');
	query('ALTER ROLE postgres SET role = vera');
	mends("$is_vera|ALTER ROLE postgres RESET role;", 'of the first superuser');
	query('ALTER DATABASE postgres SET role = vera; ALTER ROLE postgres SET role = "Root"');
	is(findings(), '', 'the narrower one counts, and a superuser may vacuum');
	query('ALTER DATABASE postgres RESET role; ALTER ROLE postgres RESET role');
}

# --- a worker that fails: with the SQLSTATE of what it met ---

# Nothing listens there.
query(q{SELECT keypup.create_account('acme'); SELECT keypup.connect('acme', 'github', 'ghp_ODDPROBE0123456789', 'https://localhost:1');
	CREATE FUNCTION public.no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'could not extend file "base/1/1"' USING ERRCODE = 'disk_full'; END $$;
	CREATE TRIGGER no_room BEFORE UPDATE ON keypup.sync_jobs FOR EACH ROW EXECUTE FUNCTION public.no_room()});
query(q{SELECT keypup.track('acme', 'demo/small')});
ok($node->poll_query_until('postgres', q{SELECT ok IS FALSE AND detail ~ '^the worker has failed since .* with SQLSTATE ' FROM keypup.check_installation() WHERE check_name = 'workers'}), 'a worker meets a full disk');
is(query(q{SELECT substring(detail, 'SQLSTATE [^;]*'), remedy FROM keypup.check_installation() WHERE check_name = 'workers'}),
	q{SQLSTATE 53100 (disk_full)|Make room on the disk. The server's log has the message.}, 'which is told, and what to do');
my ($code, $out, $error) = $node->psql('postgres', "\\set VERBOSITY verbose\nCALL keypup.sync('acme')");
like($error, qr/ERROR:  53100: could not extend file/, 'CALL ends with it, too');
query('DROP TRIGGER no_room ON keypup.sync_jobs');
ok($node->poll_query_until('postgres', q{SELECT ok FROM keypup.check_installation() WHERE check_name = 'workers'}), 'and it works again once there is room');

# --- sessions that end with the first error ---

query(q{ALTER SYSTEM SET keypup.key_file = '/nowhere/keys'; SELECT pg_reload_conf(); ALTER DATABASE postgres SET exit_on_error = on});
ok($node->poll_query_until('postgres', q{SELECT NOT ok AND detail ~ '^key file "/nowhere/keys" cannot be used' FROM keypup.check_installation() WHERE check_name = 'key'}),
	'what cannot be checked is said, where errors end sessions, too');
$node->stop;
done_testing();
