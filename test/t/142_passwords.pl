# Guessing passwords: who guesses keeps nobody from signing in where they always do, learns nothing by time, pushes nothing out
# of the count, and has neither all processors nor all turns.
use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = abs_path(PostgreSQL::Test::Utils::tempdir());
my $node = PostgreSQL::Test::Cluster->new('passwords');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', <<CONF);
shared_preload_libraries = 'keypup'
keypup.bcrypt_cost = 10
log_min_error_statement = 'panic'
CONF

# How many seconds later it is for the server than for us: by the clock that does not jump, and by that of the day.
my $file = "$dir/later";
sub set_clocks
{
	my ($offsets) = @_;
	open my $handle, '>', "$file.new" or die;
	print $handle "$offsets\n";
	close $handle;
	rename "$file.new", $file or die;
	return;
}
set_clocks('0 0');
system_or_bail('cc', '-shared', '-fPIC', '-O1', '-o', "$dir/later.so", "$FindBin::RealBin/../attack/later.c", '-ldl');
{
	local %ENV = (%ENV, LD_PRELOAD => "$dir/later.so", LATER_FILE => $file);
	$node->start;
}
sub query { return $node->safe_psql('postgres', $_[0]); }
sub as { return as_role($node, @_); }
my $handle = qr/^[0-9a-f]{96}$/;
my $right = 'correct horse battery';

query(qq{CREATE EXTENSION keypup; CREATE ROLE app LOGIN; CREATE ROLE other LOGIN; GRANT keypup_member TO app, other; GRANT USAGE ON SCHEMA keypup TO app, other;
	SELECT keypup.create_account('acme'), keypup.create_account('sso');
	SELECT keypup.add_person('acme', p, 'viewer'), keypup.set_password('acme', p, '$right') FROM unnest('{ann,bob,cyd,dan,eve}'::text[]) p;
	SELECT keypup.add_person('sso', 'ann', 'viewer'), keypup.set_password('sso', 'ann', '$right'), keypup.add_identity_provider('sso', 'https://id.example', ARRAY['c'])});
sub sign_in
{
	my ($person, $password, $source, $role) = @_;
	return as($role // 'app', "SELECT keypup.sign_in_with_password('acme', " . literal($person) . ', ' . literal($password) . (defined $source ? ', source => ' . literal($source) : '') . ')');
}
my ($no, $too_many) = ('sign-in is refused', 'too many attempts to sign in');

# --- T59: nobody is locked out of where they are known ---

like(sign_in('ann', $right, 'home'), $handle, 'a person signs in at home');
is(sign_in('ann', "wrong $_", 'evil'), $no, "a guess from elsewhere, $_") foreach 1 .. 5;
is(sign_in('ann', $_, 'evil'), $too_many, "T59: the sixth waits, '$_'") foreach 'wrong 6', $right;
like(sign_in('ann', $right, 'cafe'), $handle, 'T59: the person signs in from elsewhere again');
is(sign_in('ann', "wrong $_", 'evil 2'), $no, "a guess from a third place, $_") foreach 1 .. 5;
is(sign_in('ann', 'wrong', 'evil 3'), $too_many, 'T59: ten from new places are too many from any new place');
is(sign_in('ann', $right, 'hotel'), $too_many, 'T59: for whoever it is');
like(sign_in('ann', $right, $_), $handle, "T59: but not from where the person is known, $_") foreach 'home', 'cafe', 'home';
is(sign_in('ann', $right, 'home', 'other'), $too_many, 'T59: another database role does not speak of the same place');
like(sign_in('ann', $right, 'home'), $handle, 'T59: nor does what it says count there');
like(sign_in('bob', $right, 'evil'), $handle, 'T59: nor for other people');
is(join(' ', map { sign_in('bob', "wrong $_", 'home of bob') } 1 .. 4), join(' ', ($no) x 4), 'four wrong ones');
like(sign_in('bob', $right, 'home of bob'), $handle, 'and the right one signs in');
like(sign_in('bob', $right, 'home of bob'), $handle, "and does not count, $_") foreach 1 .. 6;

# Addresses: of IPv6 a network is one place; without a word of the application it is the client's.
is(join(' ', map { sign_in('cyd', 'wrong', "2001:db8:1:2::$_") } 1 .. 6), join(' ', ($no) x 5, $too_many), 'T59: addresses of one IPv6 network are one place');
is(sign_in('cyd', 'wrong', '::ffff:192.0.2.7'), $no, 'and IPv4 in the form of IPv6 is not');
is(join(' ', map { sign_in('dan', 'wrong') } 1 .. 6), join(' ', ($no) x 5, $too_many), 'what comes through one pool is one place, where the application says nothing');

# Somebody who is not there is treated alike.
is(join(' ', map { sign_in('nobody', 'wrong', 'evil') } 1 .. 6), join(' ', ($no) x 5, $too_many), 'T59: somebody who is not there waits as well');
is(join(' ', map { sign_in('nobody', 'wrong', 'evil 2') } 1 .. 5), join(' ', ($no) x 5), 'T59: is looked for ten times');
is(sign_in('nobody', 'wrong', 'evil 3'), $too_many, 'T59: and then no more');

# --- time heals ---

# Those from there were made just now.
set_clocks('60 0');
is(sign_in('ann', 'wrong', 'evil'), $too_many, 'before five minutes have passed it is still too soon');
set_clocks('1000 1000');
is(sign_in('ann', 'wrong', 'evil'), $no, 'after a quarter of an hour one more is looked at');
is(sign_in('ann', 'wrong', 'evil 4'), $too_many, 'and no other from a new place');
like(sign_in('ann', $right, 'home'), $handle, 'while the person signs in at home');
set_clocks('1000 -86400');
is(sign_in('ann', $right, 'evil 4'), $too_many, 'a clock that is set back by a day changes nothing');
like(sign_in('eve', $right, 'home'), $handle, 'for nobody');
set_clocks('20000 0');
like(sign_in('ann', $right, 'hotel'), $handle, 'later the person signs in at a hotel');

# --- nothing is pushed out ---

is(join(' ', map { sign_in('eve', 'wrong', 'evil') } 1 .. 6), join(' ', ($no) x 5, $too_many), 'another person waits');
query(q{SELECT count(*) FROM generate_series(1, 12000) n, LATERAL keypup.check_password('acme', 'made up ' || n, sha256(n::text::bytea), false, 'x', NULL, 4)});
is(sign_in('eve', $right, 'evil'), $too_many, 'T59: and still does after 12,000 attempts at others');
like(sign_in('eve', $right, 'home'), $handle, 'T59: which have nobody else wait');
like(sign_in('cyd', $right, 'a new place'), $handle, 'T59: nor anywhere else');

# --- known places end ---

is(query(q{SELECT count(*), bool_and(octet_length(source_digest) = 32) FROM keypup.known_sources WHERE member = 'ann'}), '3|t', 'what is known of a place is a digest');
like(sign_in('bob', $right, "place $_"), $handle, "from place $_") foreach 1 .. 22;
is(query(q{SELECT count(*) FROM keypup.known_sources WHERE member = 'bob'}), '20', 'twenty places of a person are known');
query(q{UPDATE keypup.known_sources SET last_at = now() - interval '91 days' WHERE member = 'ann'});
sign_in('ann', 'wrong', "evil $_") foreach 10 .. 20;
is(sign_in('ann', $right, 'home'), $too_many, 'one is forgotten after 90 days');

# --- every refusal costs the same ---

# Processor time of a session's own process, which others on the machine do not add to.
my $measured = $node->background_psql('postgres', timeout => 600);
sub ticks { return $measured->query_safe(q{SELECT split_part(t, ' ', 12)::bigint + split_part(t, ' ', 13)::bigint FROM (SELECT regexp_replace(pg_read_file('/proc/' || pg_backend_pid() || '/stat'), '^.*\) ', '')) AS s (t)}); }
my $number = 0;
sub cost
{
	my ($account, $person, $password) = @_;
	my $before = ticks();
	# In the session of a superuser, each from a place of its own.
	foreach (1 .. 4)
	{
		$number++;
		$measured->query_safe("DO \$\$ BEGIN PERFORM keypup.sign_in_with_password('$account', '$person', $password, source => 'measured $number'); EXCEPTION WHEN invalid_authorization_specification THEN NULL; END \$\$");
	}
	return ticks() - $before;
}
query('ALTER SYSTEM SET keypup.bcrypt_cost = 11; SELECT pg_reload_conf()');
$node->poll_query_until('postgres', q{SELECT current_setting('keypup.bcrypt_cost') = '11'});
query(qq{SELECT keypup.add_person('acme', p, 'viewer'), keypup.set_password('acme', p, '$right') FROM unnest('{fay,gus,hal,ida,jim}'::text[]) p});
$measured->query_safe('SELECT 1');
# What both cost, measured in turn, until they cost the same: of a busy machine's processors one may be slower for a while.
sub costs_the_same
{
	my ($usual, @arguments) = @_;
	my ($cost, $of_usual);
	foreach (1 .. 6)
	{
		($of_usual, $cost) = (cost(@$usual), cost(@arguments));
		return '' if $cost > 0.6 * $of_usual && $cost < 1.6 * $of_usual;
	}
	return "$cost ticks, not $of_usual";
}
my @usual = ('acme', 'fay', q{'wrong'});
cmp_ok(cost(@usual), '>', 20, 'four wrong passwords cost processor time');
foreach my $case ([ 'somebody who is not there', 'acme', 'zed', q{'wrong'} ], [ 'an account that is not there', 'nowhere', 'fay', q{'wrong'} ],
	[ 'an account with single sign-on', 'sso', 'ann', qq{'$right'} ], [ '73 bytes, of somebody who is there', 'acme', 'gus', q{repeat('x', 73)} ],
	[ '73 bytes, of somebody who is not', 'acme', 'zoe', q{repeat('x', 73)} ], [ 'nothing', 'acme', 'hal', q{''} ], [ 'NULL', 'acme', 'ida', 'NULL' ],
	[ 'a megabyte', 'acme', 'jim', q{repeat('x', 1000000)} ],
	[ 'a digest of before the cost was raised', 'acme', 'cyd', q{'wrong'} ], [ 'one that comes too soon', 'acme', 'ann', q{'wrong'} ])
{
	my ($what, @arguments) = @$case;
	is(costs_the_same(\@usual, @arguments), '', "T59: $what costs the same");
}
like(sign_in('bob', $right, 'place 22'), $handle, 'who signs in with a digest of before');
is(query(q{SELECT member FROM keypup.member_passwords WHERE hash ~ '^\$2b\$11' AND member IN ('ann', 'bob')}), 'bob', 'has one of now');
query('ALTER SYSTEM SET keypup.bcrypt_cost = 10; SELECT pg_reload_conf()');
$node->poll_query_until('postgres', q{SELECT current_setting('keypup.bcrypt_cost') = '10'});
is(costs_the_same([ 'acme', 'bob', q{'wrong'} ], 'acme', 'cyd', q{'wrong'}), '', 'T59: and when it is lowered again all cost as much as the dearest');
$measured->quit;

# --- turns ---

# Each attempt leaves a row; how many there are while somebody else makes five, one after the other within the server.
query(q{CREATE TABLE attempts (who text); GRANT INSERT, SELECT ON attempts TO app, other;
	UPDATE keypup.member_passwords SET hash = overlay(hash PLACING '11' FROM 5 FOR 2);
	CREATE FUNCTION attempt(who text, person text, source text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM keypup.sign_in_with_password('acme', person, 'wrong', source => source);
	EXCEPTION WHEN invalid_authorization_specification THEN
		INSERT INTO attempts VALUES (who);
	END $$});
sub flood
{
	my ($settings, $honest_role, $honest_source) = @_;
	query("ALTER SYSTEM SET $_") foreach @$settings;
	query('SELECT pg_reload_conf(); TRUNCATE attempts');
	$node->poll_query_until('postgres', qq{SELECT current_setting('keypup.max_password_digests') = '$1'}) if $settings->[0] =~ /(\d+)$/;
	my @flood = map { $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'app' ]) } 1 .. 8;
	foreach my $session (@flood)
	{
		$session->{stdin} .= join('', map { "SELECT attempt('flood', 'nobody $_', 'evil');\n" } 1 .. 200);
		$session->{run}->pump_nb;
	}
	$node->poll_query_until('postgres', q{SELECT count(*) > 7 FROM attempts}) or die 'no flood';
	my ($meanwhile) = as($honest_role, q{DO $$ DECLARE before bigint; after bigint; BEGIN SELECT count(*) INTO before FROM attempts WHERE who = 'flood';
		FOR i IN 1 .. 5 LOOP PERFORM attempt('honest', 'somebody', } . literal($honest_source) . q{); COMMIT; END LOOP;
		SELECT count(*) INTO after FROM attempts WHERE who = 'flood'; RAISE EXCEPTION 'meanwhile %', after - before; END $$}) =~ /meanwhile (\d+)/ or die 'no attempt';
	ok($node->poll_query_until('postgres', q{SELECT count(*) >= 6 FROM pg_stat_activity WHERE usename = 'app' AND query ~ 'flood' AND state = 'active'}), 'the flood goes on');
	$_->{run}->kill_kill foreach @flood;
	query(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'});
	$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = 'app'});
	return $meanwhile;
}
# Who has the next turn is let wait by a busy machine, too, now and then; but not each time.
sub floods_no_more_than
{
	my ($most, $settings, $role, $source, $name) = @_;
	my $meanwhile;
	foreach (1 .. 5)
	{
		$meanwhile = flood($settings, $role, $source);
		last if $meanwhile <= $most;
	}
	return cmp_ok($meanwhile, '<=', $most, $name);
}
floods_no_more_than(12, [ 'keypup.max_password_digests = 2' ], 'other', 'evil', 'T59: while one role floods, another computes five digests in the time of about five');
floods_no_more_than(12, [ 'keypup.max_password_digests = 1' ], 'other', 'evil', 'T59: also where one is computed at a time');
floods_no_more_than(12, [ 'keypup.max_password_digests = 1' ], 'app', 'home', 'T59: as does the same role from elsewhere');
floods_no_more_than(24, [ 'keypup.max_password_digests = 4', 'keypup.max_password_digests_per_role = 2' ], 'other', 'evil', 'T59: the share of a role can be set');

$node->stop;
done_testing();
