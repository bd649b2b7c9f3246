# Settings that a database or role passes on, mostly meant for others, keep neither the background worker nor CALL keypup.sync from their work.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Each in a database of its own, whose worker reads a repository from start to end. What this PostgreSQL does not know is left out.
my @settings = (
	[ default_transaction_read_only => 'on' ], [ default_transaction_isolation => 'serializable' ], [ default_transaction_isolation => 'repeatable read' ],
	[ default_transaction_deferrable => 'on' ], [ row_security => 'off' ], [ session_replication_role => 'replica' ], [ search_path => 'nowhere' ],
	[ restrict_nonsystem_relation_kind => 'view, foreign-table' ], [ client_encoding => 'LATIN1' ], [ TimeZone => 'Pacific/Kiritimati' ],
	[ timezone_abbreviations => 'India' ], [ DateStyle => 'German, DMY' ], [ IntervalStyle => 'sql_standard' ], [ bytea_output => 'escape' ],
	[ extra_float_digits => '-15' ], [ array_nulls => 'off' ], [ transform_null_equals => 'on' ], [ standard_conforming_strings => 'off' ],
	[ quote_all_identifiers => 'on' ], [ exit_on_error => 'on' ], [ lock_timeout => '1ms' ],
	[ default_tablespace => 'nowhere' ], [ temp_tablespaces => 'nowhere' ],
	[ event_triggers => 'off' ], [ 'plpgsql.variable_conflict' => 'use_column' ], [ 'plpgsql.extra_errors' => 'all' ],
	[ plan_cache_mode => 'force_generic_plan' ], [ force_parallel_mode => 'regress' ], [ debug_parallel_query => 'regress' ], [ parallel_setup_cost => '0' ],
	[ jit_above_cost => '0' ], [ enable_indexscan => 'off' ], [ enable_nestloop => 'off' ],
	[ gin_fuzzy_search_limit => '1' ], [ track_counts => 'off' ], [ track_activities => 'off' ],
	[ log_statement => 'all' ], [ log_min_messages => 'panic' ], [ log_parameter_max_length_on_error => '-1' ],
	[ client_min_messages => 'error' ], [ synchronous_commit => 'off' ],
	[ work_mem => '64kB' ], [ temp_file_limit => '0' ], [ max_stack_depth => '100kB' ]);
# In sessions these would end the session, or CALL: here they are for workers only.
my @for_workers = (
	[ statement_timeout => '1ms' ], [ transaction_timeout => '1ms' ], [ idle_in_transaction_session_timeout => '1ms' ], [ idle_session_timeout => '1ms' ],
	[ session_preload_libraries => 'nothing' ], [ local_preload_libraries => 'nothing' ]);
my @of_roles = (
	[ 'ROLE postgres', role => 'nobody' ], [ 'ROLE postgres', session_authorization => 'nobody' ], [ 'ROLE postgres', row_security => 'off' ],
	[ 'ROLE postgres', default_transaction_read_only => 'on' ], [ 'ROLE ALL', default_transaction_read_only => 'on' ], [ 'ROLE ALL', role => 'nobody' ]);

my $token = 'ghp_SETTINGSPROBE0123456789';
my $github = start_github($token, '--generate', 'demo/small:pulls=5,issues=4,seed=5');
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
max_worker_processes = 40
keypup.workers = 0
keypup.sync_interval = 1h
fsync = off
# It would look into sixty databases each minute.
autovacuum = off
CONF
$node->start;

$node->safe_psql('postgres', 'CREATE ROLE nobody; CREATE DATABASE prepared');
$node->safe_psql('prepared', qq{SET client_min_messages = error; CREATE EXTENSION keypup; SELECT keypup.create_account('acme'); CREATE ROLE olga LOGIN IN ROLE keypup_member;
	SELECT keypup.add_member('acme', 'olga', 'owner'); SELECT keypup.connect('acme', 'github', '$token', '$github->{url}'); SELECT keypup.track('acme', 'demo/small')});

my $known = lc $node->safe_psql('postgres', q{SELECT string_agg(name, ' ') FROM pg_settings}) . ' session_authorization role plpgsql.variable_conflict plpgsql.extra_errors';
my @cases;
foreach my $case ([ 'DATABASE', application_name => 'psql', 1 ], (map { [ 'DATABASE', @$_, 1 ] } @settings), (map { [ 'DATABASE', @$_ ] } @for_workers), @of_roles)
{
	my ($of, $name, $value, $called) = @$case;
	next if " $known " !~ / \Q\L$name\E /;
	my $database = 's' . scalar @cases;
	push @cases, { database => $database, name => $name, title => "$of: $name = $value", called => $called };
	$value = literal($value) if $name !~ /search_path|preload/;
	my $target = $of eq 'DATABASE' ? "DATABASE $database" : "$of IN DATABASE $database";
	# Files are copied: to write each page to the WAL takes a second of a processor for each database.
	$node->safe_psql('postgres', "SET client_min_messages = error; CREATE DATABASE $database TEMPLATE prepared STRATEGY file_copy");
	# A copy asks nothing before.
	$node->safe_psql($database, "SET client_min_messages = error; SELECT keypup.resume_connections(); ALTER $target SET $name = $value");
}
cmp_ok(scalar @cases, '>=', 50, 'settings are tried');

# What the client asks for goes before what its database passes on: so the reader always reads the same.
my %reader = (role => 'none', statement_timeout => 0, transaction_timeout => 0, idle_session_timeout => 0, idle_in_transaction_session_timeout => 0, lock_timeout => 0,
	session_preload_libraries => '', local_preload_libraries => '', client_min_messages => 'error', exit_on_error => 'off', restrict_nonsystem_relation_kind => '',
	TimeZone => 'UTC', DateStyle => 'ISO', IntervalStyle => 'postgres', bytea_output => 'hex', extra_float_digits => 1, jit => 'off', client_encoding => 'UTF8');
my $options = join ' ', map { "-c $_=$reader{$_}" } grep { " $known " =~ / \Q\L$_\E / } sort keys %reader;
my $contents = join ' UNION ALL ', map { "SELECT '$_ ' || count(*) || ' ' || md5(string_agg(line, ',' ORDER BY line)) FROM (SELECT (to_jsonb(t) - '{person_id,comment_id,review_id,named_at}'::text[])::text AS line FROM keypup.$_ t) s" }
	qw(pull_requests issues reviews comments labels milestones timeline_events);
$contents .= ' ORDER BY 1';
my $stored;

# A few at a time, so that none waits long for a processor.
while (my @some = splice(@cases, 0, 14))
{
	$node->safe_psql('postgres', join ';', map { "ALTER DATABASE $_->{database} SET keypup.workers = 1" } @some);
	foreach my $case (@some)
	{
		my $database = $case->{database};
		{
			local $ENV{PGOPTIONS} = $options;
			ok($node->poll_query_until($database, q{SELECT phase = 'idle' AND last_error IS NULL AND items_done = 9 AND percent = 100 FROM keypup.sync_status}), "a worker reads all with $case->{title}")
			  or diag($node->safe_psql($database, 'SELECT phase, last_error, items_done, warning FROM keypup.sync_status'));
			my $found = $node->safe_psql($database, $contents);
			$stored //= $found;
			is($found, $stored, 'and stores the same as without');
			$node->safe_psql('postgres', "ALTER DATABASE $database SET keypup.workers = 0");
		}
		next if !$case->{called};
		my ($code, $out, $error) = $node->psql($database, "SHOW $case->{name}; CALL keypup.sync('acme'); SHOW $case->{name}", connstr => $node->connstr($database) . ' user=olga');
		like($out, qr/^(.*)\n\1$/, 'CALL keypup.sync works with it, and leaves it as it was') or diag($error);
	}
}

# How a session reads the text of a function it decides once, by standard_conforming_strings, and CALL, which pins that, would have it read so already.
# So no function that a session reaches outside of CALL, and that does or stores something for others, has a backslash. These show what the caller
# sees anyhow (reverts), refuse all with a pattern that is none then (name_patterns), or are for the worker and for operators, whom check_installation
# advises.
is($node->safe_psql('prepared', q{SELECT string_agg(p.proname, ' ' ORDER BY p.proname) FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
	WHERE p.pronamespace = 'keypup'::regnamespace AND l.lanname <> 'c' AND p.proname !~ '^github_'
	-- E'…' is read in one way only.
	AND strpos(regexp_replace(p.prosrc, $re$\yE'[^']*'$re$, '', 'g'), chr(92)) > 0}),
	'audit_days check_installation find_reverted name_patterns plain_title reverted_title stray_rights', 'functions that standard_conforming_strings makes others');
is($node->safe_psql('prepared', q{SELECT string_agg(p.proname, ' ') FROM pg_proc p WHERE p.pronamespace = 'keypup'::regnamespace AND strpos(p.prosrc, chr(92)) > 0
	AND (p.prosecdef OR p.proname ~ '^github_' AND has_function_privilege('keypup_member', p.oid, 'EXECUTE'))}), 'check_installation', 'none of them does anything as its owner, and of a provider members call none');
like(($node->psql('prepared', q{SET standard_conforming_strings = off; SET escape_string_warning = off; SELECT keypup.set_production_environments('acme', '{production}')}, connstr => $node->connstr('prepared') . ' user=olga'))[2],
	qr/invalid regular expression/, 'a session that reads them so is refused');

# What a session has set comes back, however CALL ends.
my %session = (default_transaction_read_only => 'on', default_transaction_isolation => 'serializable', row_security => 'off', TimeZone => 'Pacific/Kiritimati',
	DateStyle => 'German, DMY', IntervalStyle => 'sql_standard', search_path => 'nowhere', standard_conforming_strings => 'off', bytea_output => 'escape',
	extra_float_digits => '-15', jit => 'on', plan_cache_mode => 'force_generic_plan', max_parallel_workers_per_gather => '7', array_nulls => 'off');
my $set = join ';', map { "SET $_ = " . ($_ eq 'search_path' ? 'nowhere' : literal($session{$_})) } sort keys %session;
my $all = 'SELECT ' . join(', ', map { "current_setting('$_')" } sort keys %session) . q{, current_setting('transaction_read_only'), current_setting('transaction_isolation'), current_setting('role')};
my $expected = join '|', (map { $session{$_} } sort keys %session), 'on', 'serializable', 'olga';
foreach my $case (
	[ q{CALL keypup.sync('acme')}, '', 'its end' ], [ q{CALL keypup.sync('acme', 'demo/nothing')}, 'project "demo/nothing" is not tracked', 'an error at its start' ],
	[ q{SET statement_timeout = 3000; CALL keypup.sync('acme'); RESET statement_timeout}, 'canceling statement due to statement timeout', 'a timeout on its way' ])
{
	my ($call, $problem, $what) = @$case;
	control($github, 'settings', { latency_ms => 20_000 }) if $what =~ /timeout/;
	my ($code, $out, $error) = $node->psql('prepared', "$set; SET ROLE olga; $call; $all", on_error_stop => 0);
	is(join(' ', $error =~ /ERROR:  (.*)/g), $problem, $problem || 'CALL works with all of them at once');
	is($out, $expected, "after $what the session's own values are there");
}
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|segfault|SETTINGSPROBE/, 'no crash and no token in the log');
$node->stop;
done_testing();
