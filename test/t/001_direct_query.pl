# The tests ask without a psql (test/lib/DirectQuery.pm): the answers are psql's.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $psql;
BEGIN { $psql = \&PostgreSQL::Test::Cluster::psql; }
require DirectQuery;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->start;
foreach my $sql (
	'SELECT 1', "SELECT true, NULL, false, 1.50::numeric, 0.1::float8, 1e300::float8, 3.14::real, 'NaN'::float8, 1.0::float8, 1e20::float8, 1e-7::float8",
	"SELECT ARRAY['a','b c',NULL]", "SELECT 'abc'::bytea", "SELECT 'é', 'x'::char(5) || 'y', 'a'::\"char\"", 'SELECT generate_series(1, 3)',
	'SELECT 1 WHERE false', 'SELECT', "SELECT pg_notify('a', 'b')", "SELECT now() - now(), '1 day'::interval, '{}'::jsonb, 'a'::name, 1::bigint, 1::smallint, 1::oid",
	"SELECT 'a' || chr(10) || 'b', ''", "SELECT row(1, 'a b')", "SELECT '2024-01-01'::date, 9007199254740993", "SELECT jsonb '{\"a\":1}' ? 'a', ':name'",
	'SHOW search_path', 'EXPLAIN SELECT 1', 'SELECT 1/0', 'SELECT * FROM nowhere', "SELECT 1\nFROM nowhere",
	"DO 'BEGIN RAISE WARNING ''hallo'' USING DETAIL = ''d'', HINT = ''do it'' END'", "DO 'BEGIN RAISE NOTICE ''hallo %'', 1 USING HINT = ''do it'' END'",
	'SELECT 1; SELECT 2', "SET search_path = pg_catalog; SELECT 'a;b', ';'';'; SHOW search_path;", 'SELECT $$a;b$$, $x$;$$;$x$ AS "c;d"; SELECT 3', "SELECT 1; -- and; then\nSELECT 2 -- no more;\n", '; ;', '-- nothing',
	'SELECT 1; SELECT 1/0; SELECT 2', 'BEGIN; SELECT 1/0; SELECT 2; ROLLBACK; SELECT 3', 'BEGIN; CREATE TABLE undone (n int); INSERT INTO undone VALUES (1) RETURNING n; TABLE undone',
	'SELECT count(*) FROM undone', "SELECT ''; SELECT 1 WHERE false; SELECT ''; SELECT", "DO 'BEGIN COMMIT; END'; SELECT 1", "SELECT E'a\\nb;'; SELECT 4", '\\echo hallo', "SELECT 'a\\b'; SELECT 5 \\g",
	"CREATE FUNCTION pg_temp.one() RETURNS int BEGIN ATOMIC SELECT 1; END; SELECT pg_temp.one()", 'CREATE TEMP TABLE t (n int); COPY t FROM PROGRAM $$echo 1$$; SELECT n - 1, n-- one
	FROM t; DECLARE c CURSOR WITH HOLD FOR TABLE t; FETCH c')
{
	foreach my $stops (0, 1)
	{
		my @expected = $psql->($node, 'postgres', $sql, on_error_stop => $stops);
		my @got = $node->psql('postgres', $sql, on_error_stop => $stops);
		# psql counts lines.
		s/psql:<stdin>:\d+: //g foreach $expected[2], $got[2];
		is("@got", "@expected", $sql);
	}
}
my @nobody = (connstr => $node->connstr('postgres') . ' user=nobody_at_all');
is(($node->psql('postgres', 'SELECT 1', @nobody))[0], ($psql->($node, 'postgres', 'SELECT 1', @nobody))[0], 'who may not connect');
ok(!eval { $node->safe_psql('postgres', 'SELECT 1/0'); 1 }, 'safe_psql dies of an error');
like($@, qr/division by zero/, 'and says which');
$node->safe_psql('postgres', 'CREATE TABLE counted (n int)');
ok($node->poll_query_until('postgres', 'WITH one AS (INSERT INTO counted VALUES (1)) SELECT count(*) = 2 FROM counted'), 'a poll asks until the answer is t');
is($node->safe_psql('postgres', 'SELECT count(*) FROM counted'), '3', 'each time once');
done_testing();
