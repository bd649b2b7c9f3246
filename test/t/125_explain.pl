# What EXPLAIN and counters tell of rows that a policy hides: the planner's statistics, and what is looked at before the policy.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'ghp_explain0123456789';
my $github = start_github($token, '--generate', 'demo/one:pulls=30,issues=20,seed=3');
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1d'
autovacuum = off
CONF
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
sub as { return as_role($node, @_); }

# Acme has rows in every table that a member may read. Carl is an owner, of an account of his own without any; app is a member of none.
query('CREATE EXTENSION keypup');
# A partition is left out where its own CHECK constraints rule a value out: that tells nothing of rows.
query('ALTER DATABASE postgres SET constraint_exclusion = off');
query("CREATE ROLE $_ LOGIN") foreach qw(olga carl app sam lina);
query('GRANT keypup_member TO app; GRANT USAGE ON SCHEMA keypup TO app');
query(qq{SELECT keypup.create_account('acme'), keypup.create_account('void')});
query(qq{SELECT keypup.connect('acme', 'github', '$token', '$github->{url}'); SELECT keypup.track('acme', 'demo/one')});
query(q{SELECT keypup.add_member('acme', 'olga', 'owner'), keypup.add_member('void', 'carl', 'owner')});
ok($node->poll_query_until('postgres', q{SELECT bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) FROM keypup.sync_status}), 'acme is synced');
query(q{SELECT keypup.grant_support('acme', 'sam', 'looking at a sync', '1 hour', ARRAY['demo/one']); SELECT keypup.add_person('acme', 'ann', 'viewer');
	SELECT keypup.define_role('acme', 'auditor', ARRAY['audit.read']); SELECT keypup.create_api_key('acme', 'k', 'viewer'); SELECT keypup.limit_member('acme', 'ann', ARRAY['demo/one']);
	INSERT INTO keypup.identity_providers (account_id, issuer, client_ids, added_by) SELECT account_id, 'https://id.example', '{c}', 'test' FROM keypup.projects;
	INSERT INTO keypup.person_identities SELECT account_id, 'https://id.example', 's', 'ann' FROM keypup.projects;
	INSERT INTO keypup.identity_groups SELECT account_id, 'https://id.example', 'g', 'viewer' FROM keypup.projects;
	INSERT INTO keypup.break_glass (account_id, request_id, grantee, reason, requested_by) SELECT account_id, 1, 'sam', 'only asked for, never approved', 'test' FROM keypup.projects;
	INSERT INTO keypup.teams (account_id, team) SELECT account_id, 'core' FROM keypup.projects;
	INSERT INTO keypup.team_members (account_id, team, person_id) SELECT account_id, 'core', person_id FROM keypup.people;
	INSERT INTO keypup.deployments (account_id, project_id, external_id, environment, state, created_at, updated_at, succeeded_at)
	SELECT account_id, project_id, 'D', 'production', 'active', now(), now(), now() FROM keypup.projects;
	INSERT INTO keypup.releases (account_id, project_id, external_id, tag_name, is_draft, is_prerelease, created_at, published_at, updated_at)
	SELECT account_id, project_id, 'R', 'v1', false, false, now(), now(), now() FROM keypup.projects});

# Lina is limited to a project in which nothing is yet.
query(q{INSERT INTO keypup.projects (account_id, connection_id, name, external_id, tracked_by) SELECT account_id, connection_id, 'demo/two', 'R_two', 'test' FROM keypup.projects;
	SELECT keypup.add_member('acme', 'lina', 'viewer'), keypup.limit_member('acme', 'lina', ARRAY['demo/two'])});

# Every table gets Acme's rows of 60 further accounts; of what must be different everywhere there is one.
query(q{SET session_replication_role = replica;
	DO $$ DECLARE t regclass; generated text; BEGIN
		FOR t IN SELECT c.oid FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'account_id'
			WHERE c.relnamespace = 'keypup'::regnamespace AND c.relkind = 'r' AND has_any_column_privilege('keypup_member', c.oid, 'SELECT')
				AND NOT EXISTS (SELECT FROM pg_attribute g WHERE g.attrelid = c.oid AND g.attgenerated <> '') LOOP
			EXECUTE format('INSERT INTO %1$s OVERRIDING SYSTEM VALUE SELECT r.* FROM %1$s o, generate_series(1, 60) n,
				jsonb_populate_record(o, jsonb_build_object(''account_id'', md5(n::text)::uuid) || CASE WHEN %2$L = ''keypup.accounts'' THEN jsonb_build_object(''name'', ''customer '' || n) ELSE ''{}'' END) r
				WHERE o.account_id = (SELECT a.account_id FROM keypup.accounts a WHERE a.name = ''acme'') ON CONFLICT DO NOTHING', t, t);
		END LOOP; END $$;
	SELECT keypup.make_audit_days();
	CREATE STATISTICS keypup.together (mcv) ON state, author FROM keypup.issues;
	CREATE INDEX upper_title ON keypup.issues (upper(title));
	ANALYZE});

# What is asked of each column that has statistics: for a value that is there, and for one that is not. Which day of the audit log a number is
# of, its partitions tell: there the other value is of the same day.
query(q{
	CREATE TABLE question (id bigint GENERATED ALWAYS AS IDENTITY, relation text, name text, known text, unknown text);
	INSERT INTO question (relation, name, known, unknown)
	SELECT format('keypup.%I', s.tablename), format('%s.%s %s', s.tablename, s.attname, split_part(o.op, ' ', 1)), format('%I %s', s.attname, replace(o.op, '$', quote_literal(v.known) || '::' || v.type)),
		format('%I %s', s.attname, replace(o.op, '$', quote_literal(v.unknown) || '::' || v.type))
	FROM pg_stats s JOIN pg_attribute a ON a.attrelid = format('keypup.%I', s.tablename)::regclass AND a.attname = s.attname
	CROSS JOIN LATERAL (SELECT format_type(a.atttypid, NULL) AS type, coalesce((s.most_common_vals::text::text[])[1], (s.histogram_bounds::text::text[])[array_length(s.histogram_bounds::text::text[], 1) / 2 + 1]) AS known) k
	CROSS JOIN LATERAL (SELECT k.type, k.known, CASE WHEN s.tablename = 'audit_log' AND s.attname = 'record_id' THEN (k.known::bigint / 86400000000 * 86400000000 + 86399999999)::text ELSE CASE k.type WHEN 'uuid' THEN md5(k.known) WHEN 'bigint' THEN (4e18::bigint - 7)::text WHEN 'integer' THEN '2000000001'
		WHEN 'timestamp with time zone' THEN '1970-01-01 00:00:00+00' ELSE '!' || k.known END END AS unknown) v
	CROSS JOIN (VALUES ('= $'), ('< $'), ('>= $'), ('BETWEEN $ AND $'), ('<> $')) o (op)
	WHERE s.schemaname = 'keypup' AND s.tablename NOT IN ('role_permissions', 'providers') AND has_column_privilege('keypup_member', a.attrelid, a.attnum, 'SELECT') AND k.known IS NOT NULL
		-- A partial index serves one value and not the other, whatever is in it.
		AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND pg_get_expr(i.indpred, i.indrelid) ~ ('\m' || s.attname || '\M'))
		AND k.type IN ('uuid', 'bigint', 'integer', 'timestamp with time zone', 'text')
	ORDER BY 1, 2;
	INSERT INTO question (relation, name, known, unknown)
	SELECT format('keypup.%I', s.tablename), format('%s.%s has', s.tablename, s.attname), format('%L = ANY (%I)', (s.most_common_elems::text::text[])[1], s.attname), format('%L = ANY (%I)', 'nothing', s.attname)
	FROM pg_stats s WHERE s.schemaname = 'keypup' AND s.most_common_elems IS NOT NULL AND has_column_privilege('keypup_member', format('keypup.%I', s.tablename), s.attname, 'SELECT')
		AND (SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = format('keypup.%I', s.tablename)::regclass AND a.attname = s.attname) = 'text[]'::regtype ORDER BY 1;
	INSERT INTO question (relation, name, known, unknown)
	SELECT 'keypup.issues', 'issues.state and author', format('state = %L AND author = %L', state, author), format('state = %L AND author = ''nobody''', state)
	FROM keypup.issues WHERE author IS NOT NULL GROUP BY state, author ORDER BY count(*) DESC LIMIT 1;
	INSERT INTO question (relation, name, known, unknown) SELECT 'keypup.issues', 'upper(issues.title)', format('upper(title) = %L', upper(title)), 'upper(title) = ''NONE''' FROM keypup.issues GROUP BY title ORDER BY count(*) DESC LIMIT 1;
	GRANT SELECT ON question TO PUBLIC});
query(q{
	CREATE FUNCTION explained(question text, options text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE line text; answer text := ''; BEGIN
		FOR line IN EXECUTE format('EXPLAIN (%s) %s', options, question) LOOP answer := answer || line || E'\n'; END LOOP;
		RETURN answer; END $$;
	-- The answer without what the question itself says.
	CREATE FUNCTION lines(answer text) RETURNS text LANGUAGE sql AS $$ SELECT regexp_replace(answer, '^ *(Filter|Join Filter|Index Cond|Recheck Cond|One-Time Filter): .*$', '', 'gn') $$;});
sub told
{
	my ($role, $settings, $options) = @_;
	return as($role, qq{$settings; SELECT string_agg(name, ', ' ORDER BY id) FROM question
		WHERE lines(explained(format('SELECT FROM %s WHERE %s', relation, known), '$options')) <> lines(explained(format('SELECT FROM %s WHERE %s', relation, unknown), '$options'))});
}
my $superuser = query('SELECT current_user');
my $estimated = told($superuser, '', 'COSTS');
my $columns = query('SELECT count(DISTINCT split_part(name, $$ $$, 1)) FROM question');
my %told = map { (split / /)[0] => 1 } split /, /, $estimated;
diag("$columns columns, " . query('SELECT count(*) FROM question') . ' questions');
cmp_ok(scalar keys %told, '>=', 0.8 * $columns, 'whoever owns the tables is told by estimates what is in four of five of the columns');
like($estimated, qr/$_/, "$_ is among them") foreach 'issues.title =', 'accounts.name <', 'members.member =', 'issues.labels has', 'issues.state and author', quotemeta 'upper(issues.title)';
foreach my $role (qw(app carl))
{
	is(told($role, '', 'COSTS'), '', "$role: no estimate tells what is in the rows of others");
	is(told($role, 'SET enable_seqscan = off', 'COSTS'), '', "$role: nor with indexes");
}
# Without a job it has no account, and no estimate.
is(as($superuser, q{BEGIN; CREATE POLICY all_rows ON keypup.issues TO keypup_worker USING (true); SET LOCAL ROLE keypup_worker; SELECT count(DISTINCT lines(explained('SELECT FROM keypup.issues WHERE state = ' || state, 'COSTS'))) FROM unnest(ARRAY['$$open$$', '$$other$$']) state; ROLLBACK}),
	'2', 'the worker is planned for with all statistics');

# A hash join that is too large looks up the most common values of the other side when it runs, and keeps its rows of these in memory.
query(q{INSERT INTO keypup.issues (account_id, project_id, number, key, external_id, title, state, created_at, updated_at)
	SELECT md5('1')::uuid, project_id, n, '#' || n, 'common ' || n, 'topsecret', 'open', now(), now() FROM keypup.projects p JOIN keypup.accounts a USING (account_id), generate_series(1001, 3000) n WHERE a.name = 'acme' AND p.name = 'demo/one'; ANALYZE keypup.issues});
sub memory
{
	return as('olga', qq{SET work_mem = '1MB'; SET enable_mergejoin = off; SET enable_nestloop = off; SET max_parallel_workers_per_gather = 0;
		CREATE TEMP TABLE guess AS SELECT CASE WHEN n % 250 = 0 THEN '$_[0]' ELSE lpad(n::text, 9, 'x') END AS v FROM generate_series(1, 200000) n; ANALYZE guess;
		SELECT string_agg(m[1], ' ') FROM regexp_matches(explained('SELECT FROM keypup.issues i WHERE NOT EXISTS (SELECT FROM guess g WHERE g.v = i.title)', 'ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF'), 'Hash.*Join|Memory Usage: [0-9]+', 'g') m});
}
is(memory('topsecret'), memory('not there'), 'nor does a hash join tell the values that others have often');

# Letter by letter, as an attacker would read a title.
is(as('carl', q{DO $$ DECLARE seen text := ''; letter text; BEGIN
	FOR i IN 1 .. 12 LOOP
		SELECT c INTO letter FROM (SELECT chr(n) AS c, (substring(explained(format('SELECT FROM keypup.issues WHERE title >= %L AND title < %L', seen || chr(n), seen || chr(n + 1)), 'COSTS') FROM 'rows=(\d+)'))::bigint AS rows
			FROM generate_series(32, 125) n) x ORDER BY rows DESC, c LIMIT 1;
		seen := seen || letter;
	END LOOP;
	RAISE EXCEPTION '%', seen; END $$}), ' ' x 12, 'letter by letter nothing is spelt out');
is(as('carl', $_), '0', "$_: nothing") foreach q{SELECT count(*) FROM pg_stats WHERE schemaname = 'keypup' AND tablename NOT IN ('role_permissions', 'providers')}, 'SELECT count(*) FROM pg_stats_ext', 'SELECT count(*) FROM pg_stats_ext_exprs';
like(as('carl', "SELECT count(*) FROM $_"), qr/^permission denied/, "$_ is refused") foreach qw(pg_statistic pg_statistic_ext_data);

# What a query looks at before it asks the policy: by EXPLAIN ANALYZE, and by the transaction's own counters. To ask the policy reads rows as
# well, now and then: only what differs again and again depends on the question. Values of rows of one's own may be told.
# Not by buffers, which version 18 would count unasked: of what the policy has read, and who else has read the same.
query(q{
	CREATE FUNCTION looked_at(relation text, question text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE before bigint[]; answer text; counters text := 'SELECT ARRAY[sum(seq_tup_read), sum(idx_tup_fetch), sum(seq_scan), sum(idx_scan)] FROM pg_stat_xact_user_tables WHERE relid = $1'; after bigint[]; BEGIN
		EXECUTE counters INTO before USING relation::regclass;
		answer := lines(explained(format('SELECT FROM %s WHERE %s', relation, question), 'ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF'));
		EXECUTE counters INTO after USING relation::regclass;
		RETURN answer || (SELECT string_agg((a - b)::text, ' ' ORDER BY n) FROM unnest(after, before) WITH ORDINALITY AS d (a, b, n)); END $$;
	CREATE FUNCTION differs(relation text, known text, unknown text) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		FOR try IN 1 .. 5 LOOP
			IF looked_at(relation, known) = looked_at(relation, unknown) THEN RETURN false; END IF;
		END LOOP;
		RETURN true; END $$;
	CREATE FUNCTION is_own(relation text, question text) RETURNS boolean LANGUAGE plpgsql AS $$
	DECLARE is_there boolean; BEGIN EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE %s)', relation, question) INTO is_there; RETURN is_there; END $$});
my @ways = ([ 'the plan of choice', '' ], [ 'indexes', 'SET enable_seqscan = off; SET enable_bitmapscan = off' ], [ 'bitmaps', 'SET enable_seqscan = off; SET enable_indexscan = off; SET enable_indexonlyscan = off' ]);
my $asked = q{FROM question WHERE name !~ '(>=|<>)$'};
sub looked
{
	my ($role, $settings) = @_;
	return as($role, qq{$settings; SELECT string_agg(name, ', ' ORDER BY id) $asked
		AND CASE WHEN is_own(relation, known) OR is_own(relation, unknown) THEN false
			-- Since version 17 an index is not looked into where no account of one's own is in the range: that tells where these are.
			WHEN name ~ '[.]account_id <' AND is_own('keypup.accounts', known) <> is_own('keypup.accounts', unknown) THEN false
			ELSE differs(relation, known, unknown) END});
}
foreach my $role (qw(app carl))
{
	is(looked($role, $_->[1]), '', "$role, $_->[0]: no more is looked at for what others have than for what nobody has") foreach @ways;
}
# A join looks for values of another table: in a list of which a part has an index, by the places of rows, or within an account.
query(q{
	CREATE TABLE many_text AS SELECT '-' || n AS v FROM generate_series(1, 20000) n;
	CREATE TABLE many_bigint AS SELECT -n::bigint AS v FROM generate_series(1, 20000) n;
	CREATE TABLE many_integer AS SELECT -n AS v FROM generate_series(1, 20000) n;
	CREATE TABLE many_uuid AS SELECT md5('-' || n)::uuid AS v FROM generate_series(1, 20000) n;
	CREATE TABLE many_timestamp_with_time_zone AS SELECT now() + n * interval '1 day' AS v FROM generate_series(1, 20000) n;
	DO $$ DECLARE t regclass; BEGIN
		FOR t IN SELECT c.oid FROM pg_class c WHERE c.relname LIKE 'many\_%' LOOP EXECUTE format('CREATE INDEX ON %1$s (v); ANALYZE %1$s; GRANT SELECT ON %1$s TO PUBLIC', t); END LOOP; END $$;
	CREATE FUNCTION joined(way text, relation text, question text) RETURNS text LANGUAGE sql AS $$
		SELECT format(CASE way
			WHEN 'list' THEN '(SELECT %2$s AS v OFFSET 0) m JOIN (SELECT v FROM many_%3$s UNION ALL SELECT %1$s FROM %4$s) x ON x.v = m.v'
			WHEN 'place' THEN '(SELECT %2$s AS v, format(''(0,%%s)'', n)::tid AS place FROM generate_series(1, 60) n OFFSET 0) m JOIN %4$s r ON r.ctid = m.place AND r.%1$s = m.v'
			ELSE '(SELECT %2$s AS v, a.account_id FROM keypup.accounts a OFFSET 0) m JOIN %4$s r ON r.account_id = m.account_id AND r.%1$s = m.v' END,
			split_part(question, ' = ', 1), substring(question FROM position(' = ' IN question) + 3), replace(regexp_replace(question, '^.*::', ''), ' ', '_'), relation) $$;
	CREATE FUNCTION differs_joined(way text, relation text, known text, unknown text) RETURNS boolean LANGUAGE plpgsql AS $$
	DECLARE options text := 'ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF'; BEGIN
		FOR try IN 1 .. 5 LOOP
			IF lines(explained('SELECT FROM ' || joined(way, relation, known), options)) = lines(explained('SELECT FROM ' || joined(way, relation, unknown), options)) THEN RETURN false; END IF;
		END LOOP;
		RETURN true; END $$});
sub told_by_join
{
	my ($role, $way, $tables) = @_;
	my $settings = $way eq 'list' ? '' : 'SET enable_seqscan = off; SET enable_bitmapscan = off;';
	return as($role, qq{SET enable_hashjoin = off; SET enable_mergejoin = off; $settings SELECT string_agg(name, ', ' ORDER BY id) FROM question
		WHERE name ~ '^($tables)[.].* =\$' AND NOT is_own(relation, known) AND NOT is_own(relation, unknown) AND differs_joined('$way', relation, known, unknown)});
}
is(told_by_join('carl', $_, 'accounts|issues|members|people'), '', "carl: a join by $_ tells nothing of what others have") foreach qw(list place);
is(as('carl', q{EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT FROM keypup.issues WHERE ctid IN ('(0,1)', '(0,2)')}) =~ /Tid Scan/, '', 'nor does one fetch rows by their place');
# To who is limited, rows of the own account's other projects are hidden by a filter, which is not asked of what an index leaves out: what
# stands in an index behind the account is told, as SECURITY.md says, and nothing else.
my %told_to_lina = map { (split / /)[0] => 1 } map { split /, / } looked('lina', $ways[1][1]), told_by_join('lina', 'account', 'issues');
my %in_index = map { $_ => 1 } split /\n/, query(q{SELECT DISTINCT c.relname || '.' || a.attname FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
	WHERE c.relnamespace = 'keypup'::regnamespace AND (SELECT b.attname FROM pg_attribute b WHERE b.attrelid = c.oid AND b.attnum = i.indkey[0]) = 'account_id'});
is(join(' ', grep { !$in_index{$_} } sort keys %told_to_lina), '', 'lina: of hidden projects of the own account nothing is told that is in no index behind the account');
cmp_ok(scalar(keys %told_to_lina), '>=', 30, 'which would show');
my $told_types = query(q{SELECT string_agg(DISTINCT name, ' ') FROM unnest(} . literal('{' . join(',', sort keys %told_to_lina) . '}') . q{::text[]) AS t (name) JOIN pg_attribute a ON a.attrelid = format('keypup.%I', split_part(name, '.', 1))::regclass AND a.attname = split_part(name, '.', 2)
	WHERE a.atttypid = 'text'::regtype AND a.attname NOT IN ('external_id', 'login', 'item_kind', 'team')});
is($told_types, '', 'of texts it is ids of the provider, logins, kinds and names of teams');
cmp_ok(as('carl', "SELECT count(*) $asked AND NOT is_own(relation, known) AND NOT is_own(relation, unknown)"), '>=', 300, 'which was asked of hundreds of values');

# The account is named twice, by the policy and by who asks: all the same the index is chosen in which the other columns are, too.
foreach my $look_up ([ 'pull_requests', 'pull_requests_pkey', 'project_id = x.n AND t.number = x.n' ], [ 'identities', 'identities_login', 'connection_id = x.id AND t.login = x.name' ])
{
	my ($table, $index, $condition) = @$look_up;
	like(as('carl', "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; EXPLAIN (COSTS OFF)
		SELECT FROM (VALUES (gen_random_uuid(), 7::bigint, gen_random_uuid(), 'x'), (gen_random_uuid(), 8, gen_random_uuid(), 'y')) AS x (account, n, id, name) JOIN keypup.$table t ON t.account_id = x.account AND t.$condition"),
		qr/using $index on/, "$table are looked up by $index");
}
done_testing();
