# A second factor for passwords: codes of an authenticator app, each once, and codes for when it is lost. Nobody reads the seed;
# only who may act as a person takes it away.
use strict;
use warnings;

use Cwd qw(abs_path);
use Digest::SHA qw(hmac_sha1);
use FindBin;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = abs_path(PostgreSQL::Test::Utils::tempdir());
my $node = new_server({ ca_file => '' }, <<CONF);
shared_preload_libraries = 'keypup'
keypup.bcrypt_cost = 10
keypup.change_timeout = '1h'
log_min_error_statement = 'panic'
CONF

# How many seconds later it is for the server than for us.
my $later = 0;
sub pass
{
	my ($seconds) = @_;
	$later += $seconds;
	open my $handle, '>', "$dir/later.new" or die;
	print $handle "$later $later\n";
	close $handle;
	rename "$dir/later.new", "$dir/later" or die;
	return;
}
pass(0);
system_or_bail('cc', '-shared', '-fPIC', '-O1', '-o', "$dir/later.so", "$FindBin::RealBin/../attack/later.c", '-ldl');
{
	local %ENV = (%ENV, LD_PRELOAD => "$dir/later.so", LATER_FILE => "$dir/later");
	$node->start;
}
sub query { return $node->safe_psql('postgres', $_[0]); }
sub as { return as_role($node, @_); }
my $handle = qr/^[0-9a-f]{96}$/;
my $right = 'correct horse battery';
my $no = 'sign-in is refused';

# What an app does: RFC 6238 over RFC 4226, by another implementation.
sub decode_base32 { my ($text) = @_; my $bits = join '', map { sprintf '%05b', index('ABCDEFGHIJKLMNOPQRSTUVWXYZ234567', $_) } split //, $text; return pack('B*', $bits); }
sub code_at
{
	my ($seed, $time) = @_;
	my @mac = unpack 'C*', hmac_sha1(pack('Q>', int($time / 30)), $seed);
	my $at = $mac[-1] & 15;
	return sprintf '%06d', (($mac[$at] & 127) << 24 | $mac[ $at + 1 ] << 16 | $mac[ $at + 2 ] << 8 | $mac[ $at + 3 ]) % 1_000_000;
}
# A code that was not shown yet: of the next 30 seconds.
my %seeds;
sub code { my ($person) = @_; pass(30); return code_at($seeds{$person}, time + $later); }
# A number of six digits that is none of the codes around now.
sub wrong_code { my ($person) = @_; my %right = map { code_at($seeds{$person}, time + $later + 30 * $_) => 1 } -3 .. 3; my ($code) = grep { !$right{$_} } map { sprintf '%06d', $_ } 123456 .. 123470; return $code; }

query(qq{CREATE EXTENSION keypup; CREATE ROLE app LOGIN; GRANT keypup_member TO app; GRANT USAGE ON SCHEMA keypup TO app; CREATE ROLE olga LOGIN; CREATE ROLE adam LOGIN;
	SELECT keypup.create_account('acme'), keypup.create_account('bolt'), keypup.add_member('acme', 'olga', 'owner'), keypup.add_member('acme', 'adam', 'admin'), keypup.add_member('bolt', 'olga', 'owner');
	SELECT keypup.add_person('acme', p, CASE p WHEN 'Olga' THEN 'owner' WHEN 'abe' THEN 'admin' ELSE 'viewer' END), keypup.set_password('acme', p, '$right') FROM unnest('{ann,bob,cyd,abe,Olga}'::text[]) p;
	SELECT keypup.add_person('bolt', 'ann', 'viewer'), keypup.set_password('bolt', 'ann', '$right')});

# --- the algorithm: test vectors of RFC 4226, appendix D, and RFC 6238, appendix B (of eight digits the last six) ---

my @rfc4226 = qw(755224 287082 359152 969429 338314 254676 287922 162583 399871 520489);
my %rfc6238 = (59 => '287082', 1111111109 => '081804', 1111111111 => '050471', 1234567890 => '005924', 2000000000 => '279037', 20000000000 => '353130');
my $find = sub { my ($code, $second) = @_; return "coalesce(keypup.find_totp_step(e, 'account', '$code', to_timestamp($second)), -1)"; };
my %cases = ((map { ($_ * 30 + 15 => $rfc4226[$_]) } 0 .. 9), %rfc6238);
is(query('SELECT concat_ws(chr(32), ' . join(', ', map { $find->($cases{$_}, $_) } sort { $a <=> $b } keys %cases) . q{) FROM keypup.encrypt_token('12345678901234567890', 'account') e}),
	join(' ', map { int($_ / 30) } sort { $a <=> $b } keys %cases), 'the codes are those of RFC 4226 and RFC 6238');
is(query('SELECT concat_ws(chr(32), ' . join(', ', map { $find->('005924', 1234567890 + $_) } -91, -61, -60, -30, 0, 30, 59, 60) . q{) FROM keypup.encrypt_token('12345678901234567890', 'account') e}),
	'-1 -1 -1 41152263 41152263 41152263 41152263 -1', 'a step before and one after are accepted');
is(query('SELECT concat_ws(chr(32), ' . join(', ', map { $find->($_, 1234567890) } '', '05924', '5924', '0059240', '00592a', '14005924', ' 005924') . q{) FROM keypup.encrypt_token('12345678901234567890', 'account') e}), join(' ', (-1) x 7), 'and nothing else');
is(query(q{SELECT count(DISTINCT c), bool_and(c ~ '^[a-z2-7]{4}(-[a-z2-7]{4}){3}$') FROM (SELECT keypup.new_recovery_code() FROM generate_series(1, 1000)) AS n (c)}), '1000|t', 'recovery codes are random');

# --- enrolling ---

sub call { my ($function, $account, $person, @more) = @_; return as('app', "SELECT * FROM keypup.$function(" . join(', ', map { defined $_ ? literal($_) : 'NULL' } $account, $person, @more) . ')'); }
my %recovery;
sub enroll
{
	my ($account, $person, @more) = @_;
	my $answer = call('enroll_totp', $account, $person, $right, @more);
	my ($seed, $codes) = $answer =~ /secret=([A-Z2-7]{32})\|\{(.*)\}$/ or return $answer;
	$seeds{$person} = decode_base32($seed);
	$recovery{$person} = [ split /,/, $codes ];
	return $answer;
}
sub sign_in { my ($person, $password, $code, $account) = @_; return call('sign_in_with_password', $account // 'acme', $person, $password, $code, "at $person\'s"); }
like(sign_in('ann', $right), $handle, 'a password signs in');
is(call('enroll_totp', 'acme', 'ann', 'wrong horse battery'), $no, 'nobody enrolls without it');
is(call('enroll_totp', 'acme', 'nobody', $right), $no, 'nor somebody who is not there');
like(enroll('acme', 'ann'), qr{^otpauth://totp/acme:ann\?issuer=acme&algorithm=SHA1&digits=6&period=30&secret=[A-Z2-7]{32}\|\{([a-z2-7]{4}(-[a-z2-7]{4}){3},?){10}\}$}, 'a person enrolls, and gets a URI and ten codes');
query(q{SELECT keypup.create_account('Ä&B'), keypup.add_person('Ä&B', 'a b', 'viewer'), keypup.set_password('Ä&B', 'a b', 'correct horse battery')});
like(call('enroll_totp', 'Ä&B', 'a b', $right), qr{^otpauth://totp/%C3%84%26B:a%20b\?issuer=%C3%84%26B&}, 'names are encoded in it');
like(my $before = sign_in('ann', $right), $handle, 'until a code was seen the password is enough');
is(call('confirm_totp', 'acme', 'ann', $right, wrong_code('ann')), $no, 'a wrong code confirms nothing');
is(call('confirm_totp', 'acme', 'ann', 'wrong', code('ann')), $no, 'nor a wrong password');
is(call('confirm_totp', 'acme', 'ann', $right, $recovery{ann}[0]), $no, 'nor a recovery code');
is(call('confirm_totp', 'acme', 'bob', $right, code('ann')), $no, 'nor another person, who has enrolled nothing');
pass(900);
is(call('confirm_totp', 'acme', 'ann', $right, code('ann')), '', 'a code of the app does');
is(as('app', "SELECT keypup.use_session('$before')"), 'session is not valid', 'and ends the sessions');
pass(3600);
is(sign_in('ann', $right), $no, 'from then on a password alone is refused');
is(sign_in('ann', $right, wrong_code('ann')), $no, 'and with a wrong code');
is(sign_in('ann', 'wrong horse battery', code('ann')), $no, 'and a wrong one with a right code');
my $once = code('ann');
like(sign_in('ann', $right, $once), $handle, 'both sign in');
is(sign_in('ann', $right, $once), $no, 'a code serves once');
pass(30);
is(sign_in('ann', $right, $once), $no, 'also in the step after');
pass(3600);
like(sign_in('ann', $right, code('ann') =~ s/^.{3}\K/ /r), $handle, 'it may have a space');
like(sign_in('ann', $right, undef, 'bolt'), $handle, 'a person of the same name in another account is another');

# A code that was right for a password that was wrong is not used up, and told by nothing.
my $unused = code('ann');
is(sign_in('ann', 'wrong horse battery', $unused), $no, 'a right code with a wrong password is refused alike');
like(sign_in('ann', $right, $unused), $handle, 'and serves still');

# --- T53: a code whose sign-in is rolled back is used ---

pass(3600);
my $rolled_back = code('ann');
like(as('app', "BEGIN; SELECT keypup.sign_in_with_password('acme', 'ann', '$right', '$rolled_back', 'at ann''s'); ROLLBACK"), qr/[0-9a-f]{96}/, 'a sign-in is rolled back');
is(sign_in('ann', $right, $rolled_back), $no, 'T53: its code is used');
my $recovered = $recovery{ann}[1];
like(as('app', "BEGIN; SAVEPOINT s; SELECT keypup.sign_in_with_password('acme', 'ann', '$right', '$recovered', 'at ann''s'); ROLLBACK TO s; COMMIT"), qr/[0-9a-f]{96}/, 'a sign-in with a recovery code is rolled back');
is(sign_in('ann', $right, $recovered), $no, 'T53: which is used, too');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM keypup.recovery_codes r JOIN keypup.used_tokens u ON u.token_digest = r.code_digest WHERE u.expires_at = 'infinity'}), 'T53: for good, once the worker has recorded it');
pass(200_000);
like(sign_in('ann', $right, code('ann')), $handle, 'later, when other codes are forgotten');
is(sign_in('ann', $right, $recovered), $no, 'T53: it is still used');
like(sign_in('ann', $right, uc(" $recovery{ann}[2] ")), $handle, 'another one serves, however it is written');
is(sign_in('ann', $right, $recovery{ann}[2]), $no, 'once');
like(sign_in('ann', $right, $recovery{ann}[3] =~ s/-//gr), $handle, 'or without hyphens');
pass(3600);
# Two at once.
my $shared = code('ann');
my @both = map { $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'app' ]) } 1 .. 2;
$_->query('BEGIN') foreach @both;
like($both[0]->query("SELECT keypup.sign_in_with_password('acme', 'ann', '$right', '$shared', 'at ann''s')"), $handle, 'of two at once');
$both[1]->{stdin} .= "SELECT keypup.sign_in_with_password('acme', 'ann', '$right', '$shared', 'at ann''s');\n";
$both[1]->{run}->pump_nb;
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE usename = 'app' AND wait_event_type = 'Lock'}), 'the second waits');
$both[0]->query('COMMIT');
$both[1]->query('SELECT 1');
like($both[1]->{stderr}, qr/sign-in is refused/, 'and is refused');
$_->quit foreach @both;

# --- what is guessed counts ---

pass(86400);
is(join(' ', map { sign_in('ann', $right, wrong_code('ann')) } 1 .. 6), join(' ', ($no) x 5, 'too many attempts to sign in'), 'wrong codes with the right password count');
is(sign_in('ann', $right, code('ann')), 'too many attempts to sign in', 'and a right one waits');
pass(86400);

# --- another app, and none ---

is(call('enroll_totp', 'acme', 'ann', $right), $no, 'another app is not enrolled by the password alone');
my $old_seed = $seeds{ann};
like(enroll('acme', 'ann', code('ann')), qr/^otpauth/, 'but with a code');
pass(30);
my $of_old = code_at($old_seed, time + $later);
like(sign_in('ann', $right, $of_old), $handle, 'the one before serves until it is confirmed');
is(call('confirm_totp', 'acme', 'ann', $right, code('ann')), '', 'it is confirmed');
is(sign_in('ann', $right, code_at($old_seed, time + $later)), $no, 'then the one before serves no more');
like(sign_in('ann', $right, code('ann')), $handle, 'but the new one');
like(enroll('acme', 'bob'), qr/^otpauth/, 'another person enrolls');
pass(3700);
is(call('confirm_totp', 'acme', 'bob', $right, code('bob')), $no, 'what was not confirmed within an hour is not');
enroll('acme', 'bob');
is(call('confirm_totp', 'acme', 'bob', $right, code('bob')), '', 'a new one is');
is(call('remove_totp', 'acme', 'bob', $right, undef), $no, 'nobody gives it up without a code');
is(call('remove_totp', 'acme', 'bob', $right, code('bob')), '', 'but with one');
like(sign_in('bob', $right), $handle, 'then the password is enough');
is(call('remove_totp', 'acme', 'bob', $right, undef), $no, 'and nothing is there to be given up');

# --- who may take it away ---

sub enroll_and_confirm { my ($person) = @_; enroll('acme', $person); return call('confirm_totp', 'acme', $person, $right, code($person)); }
is(enroll_and_confirm($_), '', "$_ enrolls") foreach qw(Olga abe cyd);
like(as('adam', q{SELECT keypup.reset_totp('acme', 'Olga')}), qr/may do more than you/, 'T50: an admin does not reset that of an owner');
like(as('app', q{SELECT keypup.reset_totp('acme', 'cyd')}), qr/may not do this/, 'T50: nor a stranger that of a viewer');
my $abe = sign_in('abe', $right, code('abe'));
like(as('app', "BEGIN; SELECT keypup.use_session('$abe'); SELECT keypup.reset_totp('acme', 'abe'); COMMIT"), qr/nobody resets the own second factor/, 'T50: nor anybody the own, by a session');
is(as('app', "BEGIN; SELECT keypup.use_session('$abe'); SELECT keypup.reset_totp('acme', 'cyd'); COMMIT"), "\n", 'an admin resets that of a viewer');
like(sign_in('cyd', $right), $handle, 'whom the password signs in then');
like(as('olga', q{SELECT keypup.reset_totp('acme', 'cyd')}), qr/has no second factor/, 'there is nothing to reset then');
is(as('olga', q{SELECT keypup.reset_totp('acme', 'Olga')}), '', 'an owner resets that of an owner');
is(enroll_and_confirm('Olga'), '', 'who enrolls again');
like(as('adam', q{SELECT keypup.require_second_factor('acme', true)}), qr/may do more than you/, 'T50: an admin does not change what owners must show');
like(as('olga', q{SELECT keypup.require_second_factor('acme', NULL)}), qr/true or false is needed/, 'it is one or the other');
is(as('olga', q{SELECT keypup.require_second_factor('acme', true)}), '', 'an owner does');
is(sign_in('bob', $right), $no, 'who has no app does not sign in then');
like(enroll('acme', 'bob'), qr/^otpauth/, 'but enrolls one');
is(call('confirm_totp', 'acme', 'bob', $right, code('bob')), '', 'with the password');
like(sign_in('bob', $right, code('bob')), $handle, 'and signs in');
like(sign_in('ann', $right, undef, 'bolt'), $handle, 'another account is not meant');
like(as('adam', q{SELECT keypup.require_second_factor('acme', false)}), qr/may do more than you/, 'T50: nor does an admin take it back');
is(as('olga', q{SELECT keypup.require_second_factor('acme', false)}), '', 'but an owner');
like(sign_in('cyd', $right), $handle, 'after which a password is enough again');

# T52: an old snapshot.
my $old_view = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'app' ]);
$old_view->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
is(enroll_and_confirm('cyd'), '', 'somebody enrolls meanwhile');
my ($dead) = $old_view->query("SELECT keypup.sign_in_with_password('acme', 'cyd', '$right')") =~ /([0-9a-f]{96})/;
$old_view->query('COMMIT');
$old_view->quit;
is(as('app', "SELECT keypup.use_session('$dead')"), 'session is not valid', 'T52: a session that a transaction starts which does not see it does not serve');

# What is left open holds nobody up.
pass(3600);
my $open = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'app' ]);
$open->query('BEGIN');
like($open->query("SELECT keypup.sign_in_with_password('acme', 'cyd', '$right', '$recovery{cyd}[0]', 'at cyd''s')"), $handle, 'a sign-in with a recovery code is left open');
is(as('olga', q{SET lock_timeout = '10s'; BEGIN; SELECT keypup.reset_totp('acme', 'cyd'); ROLLBACK}), '', 'beside which the person\'s app is reset');
$open->query('ROLLBACK; BEGIN');
like($open->query("SELECT keypup.enroll_totp('acme', 'cyd', '$right', '$recovery{cyd}[1]', 'at cyd''s')"), qr/otpauth/, 'as is an enrollment');
is(as('olga', q{SET lock_timeout = '10s'; SELECT keypup.add_person('acme', 'new', 'viewer')}), '', 'beside which people are added');
$open->quit;

# --- nobody reads the seed ---

foreach my $role (qw(olga app))
{
	like(as($role, "SELECT $_"), qr/permission denied/, "$role does not read: $_") foreach 'envelope FROM keypup.totp_seeds', 'code_digest FROM keypup.recovery_codes', q{keypup.decrypt_token('\x00', 'x')},
	  q{keypup.find_totp_step('\x00', 'x', 'x', now())};
}
is(as('olga', 'SELECT string_agg(member || $$ $$ || state, $$, $$ ORDER BY member COLLATE "C") FROM keypup.second_factors'), 'Olga active, abe active, ann active, bob active, cyd active', 'an owner sees who has one');
is(as('app', 'SELECT count(*) FROM keypup.second_factors'), '0', 'and nobody else does');
query(q{UPDATE keypup.totp_seeds a SET envelope = b.envelope FROM keypup.totp_seeds b WHERE a.member = 'bob' AND b.member = 'ann' AND b.state = 'active'});
is(sign_in('bob', $right, code('ann')), $no, 'a seed of another person opens for nobody');
is(as('olga', q{SELECT keypup.reset_totp('acme', 'bob')}), '', 'and can be reset');
enroll_and_confirm('bob');

# --- keys ---

like(as('olga', q{SELECT records FROM keypup.key_status WHERE account = 'acme'}), qr/^5$/, 'the seeds are counted under their key');
my $old_key = query(q{SELECT key_id FROM keypup.key_status WHERE account = 'acme' AND state = 'active'});
query(q{SELECT keypup.rotate_keys('acme')});
ok($node->poll_query_until('postgres', "SELECT records = 0 FROM keypup.key_status WHERE key_id = $old_key"), 'the worker seals them again');
is(query('SELECT DISTINCT revision FROM keypup.totp_seeds s JOIN keypup.accounts USING (account_id) WHERE name = $$acme$$'), '2', 'with another revision');
query("SELECT keypup.destroy_key($old_key)");
like(sign_in('ann', $right, code('ann')), $handle, 'and codes serve still');
is(query('SELECT bool_and(key_id > 1000) FROM keypup.data_keys'), 't', 'numbers of keys count nothing');
is(query(q{SELECT keypup.shred_account('acme')}), '1', 'when the keys are destroyed');
is(sign_in('ann', $right, code('ann')), $no, 'no code of an app is right');
is(sign_in('ann', $right), $no, 'nor is the password enough');
like(sign_in('ann', $right, $recovery{ann}[5]), $handle, 'but a code for recovery serves');
like(enroll('acme', 'ann', $recovery{ann}[6]), qr/^otpauth/, 'with which another app is enrolled');
is(call('confirm_totp', 'acme', 'ann', $right, code('ann')), '', 'under a new key');

# --- the audit log ---

is(query(q{SELECT string_agg(record, E'\n' ORDER BY record COLLATE "C") FROM (
	SELECT DISTINCT concat_ws(' ', action, actor_kind, actor, detail) FROM keypup.audit_log l JOIN keypup.accounts a USING (account_id)
	WHERE a.name = 'acme' AND outcome = 'done' AND (action ~ '^totp|^second' AND (actor IN ('ann', 'olga') OR detail = 'cyd') OR action = 'session.start' AND actor = 'ann')) AS r (record)}), <<'RECORDS' =~ s/\n$//r, 'what was is recorded');
second_factor.require database_role olga not required
second_factor.require database_role olga required
session.start person ann a password
session.start person ann a password and a code
session.start person ann a password and a recovery code
totp.confirm person ann a password and a code
totp.enroll person ann a password
totp.enroll person ann a password and a code
totp.enroll person ann a password and a recovery code
totp.reset database_role olga Olga
totp.reset database_role olga bob
totp.reset person abe cyd
RECORDS
ok($node->poll_query_until('postgres', q{SELECT bool_or(action = 'totp.enroll') AND bool_or(action = 'totp.confirm') AND bool_or(action = 'totp.remove') AND bool_or(detail = 'a password and a code, rolled back')
	FROM keypup.audit_log WHERE outcome = 'refused'}), 'and what was refused');

# --- it goes with the person, and the account ---

query(q{SELECT keypup.remove_member('acme', 'bob')});
is(query(q{SELECT count(*) FROM keypup.totp_seeds WHERE member = 'bob'}), '0', 'a person who is removed has no seed any more');
my ($text) = run_command([ 'pg_dump', '-h', $node->host, '-p', $node->port, 'postgres' ]);
like($text, qr/COPY keypup\.totp_seeds/, 'a dump has the seeds, sealed');
unlike($text, qr/\Q$recovery{ann}[7]\E|otpauth/, 'and no code');
query(q{SELECT keypup.drop_account('acme')});
is(query(q{SELECT (SELECT count(*) FROM keypup.totp_seeds JOIN keypup.accounts USING (account_id) WHERE name <> 'Ä&B') + (SELECT count(*) FROM keypup.recovery_codes JOIN keypup.accounts USING (account_id) WHERE name <> 'Ä&B')}), '0', 'nothing is left of an account that was dropped');
$node->stop;
done_testing();
