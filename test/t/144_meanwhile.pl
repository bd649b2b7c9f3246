# Who shows a password, or a session, and then has to wait for another change of the same person is judged by what is so after it: what
# was right before it serves no more. An attacker could otherwise hold the person's row, let the change come next, and stand behind it.
use strict;
use warnings;

use Digest::SHA qw(hmac_sha1);
use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server({ ca_file => '' }, <<CONF);
shared_preload_libraries = 'keypup'
keypup.bcrypt_cost = 10
keypup.change_timeout = '1h'
# None that marks the token of a sign-in that was rolled back before whoever waits for it does.
keypup.workers = 0
log_min_error_statement = 'panic'
CONF
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
sub as { return as_role($node, @_); }
my $old = 'correct horse battery';
my $new = 'staple of another kind';
my $handle = qr/[0-9a-f]{96}/;
query(qq{CREATE EXTENSION keypup; CREATE ROLE app LOGIN; GRANT keypup_member TO app; GRANT USAGE ON SCHEMA keypup TO app; CREATE ROLE olga LOGIN;
	SELECT keypup.create_account('acme'), keypup.add_member('acme', 'olga', 'owner');
	SELECT keypup.add_person('acme', p, 'viewer'), keypup.set_password('acme', p, '$old') FROM unnest('{ann,bob,cyd}'::text[]) p});

# Sessions of the pool: one that waits goes on in the background.
my @sessions;
sub session { push @sessions, $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', $_[0] // 'app' ]); return $sessions[-1]; }
my $waiting = 0;
sub leave_waiting
{
	my ($session, $sql) = @_;
	$session->{stdin} .= "$sql;\n";
	$session->{run}->pump_nb;
	$waiting++;
	$node->poll_query_until('postgres', "SELECT count(*) = $waiting FROM pg_stat_activity WHERE datname = 'postgres' AND wait_event_type = 'Lock'") or die 'it does not wait';
}
# What it has been told since, and its errors.
sub outcome
{
	my ($session) = @_;
	$waiting-- if $waiting > 0;
	my $answer = $session->query('SELECT 1');
	my $error = $session->{stderr};
	$session->{stderr} = '';
	return $answer . $error;
}
# The code of the next 30 seconds, which holds for a minute at least: this one and the one after are accepted.
sub totp
{
	my ($uri) = @_;
	my ($letters) = $uri =~ /secret=([A-Z2-7]{32})/ or return 'none';
	my @mac = unpack 'C*', hmac_sha1(pack('Q>', int(time / 30) + 1), pack('B*', join '', map { sprintf '%05b', index('ABCDEFGHIJKLMNOPQRSTUVWXYZ234567', $_) } split //, $letters));
	my $at = $mac[-1] & 15;
	return sprintf '%06d', (($mac[$at] & 127) << 24 | $mac[ $at + 1 ] << 16 | $mac[ $at + 2 ] << 8 | $mac[ $at + 3 ]) % 1_000_000;
}
sub enroll { my ($person) = @_; return "SELECT * FROM keypup.enroll_totp('acme', '$person', '$old')"; }
sub confirm { my ($person, $uri) = @_; return "SELECT keypup.confirm_totp('acme', '$person', '$old', '" . totp($uri) . "')"; }

# An enrollment by the password alone that stands behind the confirmation of the first app.
my ($holds, $confirms, $stands) = map { session() } 1 .. 3;
my $app = as('app', enroll('ann'));
$holds->query('BEGIN');
like($holds->query(enroll('ann')), qr/otpauth/, 'somebody who knows the password holds the person\'s row');
leave_waiting($confirms, confirm('ann', $app));
leave_waiting($stands, enroll('ann'));
$holds->query('ROLLBACK');
unlike(outcome($confirms), qr/ERROR/, 'the person\'s app is confirmed');
my $second = outcome($stands);
like($second, qr/ERROR:  the person.s sign-in has changed meanwhile/, 'an app that was to be enrolled by the password alone is not, since a code is needed now');
like(as('app', confirm('ann', $second)), qr/sign-in is refused/, 'nor confirmed');
is(query(q{SELECT string_agg(state, ' ') FROM keypup.totp_seeds WHERE member = 'ann'}), 'active', 'the person\'s own is the one in use');

# A confirmation of an app that another enrollment takes the place of: that is not what was shown.
$app = as('app', enroll('bob'));
$holds->query('BEGIN');
like($holds->query(enroll('bob')), qr/otpauth/, 'somebody who knows the password enrolls an app of theirs');
leave_waiting($confirms, confirm('bob', $app));
$holds->query('COMMIT');
like(outcome($confirms), qr/ERROR:  the person.s sign-in has changed meanwhile/, 'which the person\'s code does not confirm');
is(query(q{SELECT string_agg(state, ' ') FROM keypup.totp_seeds WHERE member = 'bob'}), 'pending', 'so that it is not in use');

# A password that is set by who knows the old one, behind an admin who sets another: first of who has a session still, then of who has not.
my ($handle_of_cyd) = as('app', "SELECT keypup.sign_in_with_password('acme', 'cyd', '$old')") =~ /($handle)/;
my $own = sub { return "BEGIN; SELECT keypup.use_session('$handle_of_cyd'); SELECT keypup.set_password('acme', 'cyd', '$_[0]', '$old')"; };
$holds->query($own->('held by an attacker'));
my $admin = session('olga');
leave_waiting($admin, "SELECT keypup.set_password('acme', 'cyd', '$new')");
leave_waiting($stands, $own->('taken by an attacker') . '; COMMIT');
$holds->query('ROLLBACK');
unlike(outcome($admin), qr/ERROR/, 'an admin sets a person\'s password');
like(outcome($stands), qr/ERROR:  you may not do this any more/, 'which who had a session, and knew the one before, does not set again');
like(as('app', "SELECT keypup.sign_in_with_password('acme', 'cyd', '$new')"), $handle, 'the one that the admin has set serves');
like(as('app', "SELECT keypup.sign_in_with_password('acme', 'cyd', 'taken by an attacker')"), qr/sign-in is refused/, 'and no other');

# What a group gives ends for who is just signing in by it, too: first of somebody who was nobody before, then of a member.
my ($issuer, $client) = ('https://id.example', 'client-1');
my ($made) = run_command([ 'node', 'test/sso/tokens.mjs', $issuer, $client ]);
my $tokens = decode_json($made)->{good};
my $key_set = literal(encode_json(decode_json($made)->{key_set}));
my $sign_in = sub { return "SELECT keypup.sign_in('dune', " . literal($tokens->{ $_[0] }) . ')'; };
my $map = sub { my ($group, $role) = @_; return "SELECT keypup.map_group('dune', '$issuer', '$group', " . ($role ? "'$role'" : 'NULL') . ')'; };
query(qq{SELECT keypup.create_account('dune'), keypup.add_member('dune', 'olga', 'owner');
	SELECT keypup.add_identity_provider('dune', '$issuer', ARRAY['$client', 'client-2'], $key_set);
	SELECT keypup.add_person('dune', 'ann', 'viewer'), keypup.link_person('dune', 'ann', '$issuer', 'subject-1')});
as('olga', $map->('readers', 'viewer'));
$holds->query('BEGIN');
my ($first) = $holds->query($sign_in->('in a group')) =~ /($handle)/;
is(as('olga', "SET lock_timeout = '10s'; " . $map->('readers', undef)), '', 'a group is taken back while somebody signs in by it, for whom nobody waits');
$holds->query('COMMIT');
like(as('app', "SELECT keypup.use_session('$first')"), qr{^session is not valid}, 'who is nobody by that');

# And an admin who gives a person a role of their own, beside whom the person signs in by a group of another role.
query("UPDATE keypup.members SET confirmed_at = now() WHERE member = 'subject-7 at $issuer'");
as('olga', $map->('leads', 'admin'));
$admin->query('BEGIN');
$admin->query("SELECT keypup.add_person('dune', 'subject-7 at $issuer', 'viewer')");
leave_waiting($stands, $sign_in->('in two groups'));
$admin->query('COMMIT');
like(outcome($stands), qr/ERROR:  sign-in is refused/, 'who waited for an admin that gave them another role does not sign in by a group');
is(query("SELECT role, by_groups FROM keypup.members WHERE member = 'subject-7 at $issuer'"), 'viewer|f', 'and has the role that the admin gave');

# Who waits for the end of another sign-in by the same token, while the member is removed and somebody else is given the name.
$holds->query('BEGIN');
like($holds->query($sign_in->('rs256')), $handle, 'a person signs in, and leaves it open');
leave_waiting($stands, $sign_in->('rs256'));
is(as('olga', "SELECT keypup.remove_member('dune', 'ann'), keypup.add_person('dune', 'ann', 'admin')"), '|', 'the person is removed, and another of that name is added');
$holds->query('ROLLBACK');
my $told = outcome($stands); my ($third) = $told =~ /($handle)/;
is($third, undef, 'as whom the first does not sign in');
is(query("SELECT count(*) FROM keypup.sessions s JOIN keypup.members m USING (account_id) WHERE s.holder = 'ann' AND m.member = 'ann' AND m.sign_in_id = s.member_sign_in_id AND m.role = 'admin'"), '0', 'nor has a session');

$_->quit foreach @sessions;
$node->stop;
done_testing();
