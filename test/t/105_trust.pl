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
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'keypup'\nkeypup.sync_interval = '1d'\nkeypup.bcrypt_cost = 10\n");
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
sub as { return as_role($node, @_); }
sub tells { my ($role, $sql, $pattern, $name) = @_; like(as($role, $sql), $pattern, $name); }
my $superuser = query('SELECT current_user');

# --- T30, T49: somebody who may CREATE in the database ---

query(q{CREATE ROLE mallory LOGIN; GRANT CREATE ON DATABASE postgres TO mallory; CREATE TABLE canary (who text); GRANT INSERT ON canary TO PUBLIC});
query(q{SET ROLE mallory; CREATE SCHEMA keypup; CREATE FUNCTION keypup.record_action(uuid, text, text) RETURNS void LANGUAGE sql AS 'INSERT INTO public.canary VALUES (current_user)'});
like(as($superuser, 'CREATE EXTENSION keypup'), qr/schema "keypup" already exists/, 'T30: a schema that somebody has made before is refused');
query('DROP SCHEMA keypup CASCADE; CREATE EXTENSION keypup; CREATE SCHEMA trap AUTHORIZATION mallory; GRANT ALL ON SCHEMA keypup TO mallory; GRANT keypup_member TO mallory');
like(query('SELECT detail, remedy FROM keypup.check_installation() WHERE NOT ok'), qr/mallory may create in schema keypup.*REVOKE CREATE ON SCHEMA keypup FROM mallory;/, 'T49: check_installation says who may create in it');
my @overloads = ('record_action(uuid, text, text)', 'record_action(uuid, text)', 'guard_role(uuid, varchar)', 'note_refusal(uuid, text, text, name)', 'authorize(name, text)', 'has_permission(uuid, varchar)');
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

$node->stop;
done_testing();
