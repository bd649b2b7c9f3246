# Single sign-on: what an ID token must be to sign a person in, and everything that it must not be.
use strict;
use warnings;

use Cwd;
use FindBin;
use JSON::PP;
use MIME::Base64 qw(decode_base64url);
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $shared = getcwd() . '/../shared/data/vectors';
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'keypup'\nwal_writer_delay = '10s'\n");
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
sub as { return as_role($node, @_); }

query('CREATE EXTENSION keypup');
query(q{CREATE ROLE olga LOGIN; CREATE ROLE app LOGIN; CREATE ROLE bella LOGIN; GRANT keypup_member TO app; GRANT USAGE ON SCHEMA keypup TO app;
	SELECT keypup.create_account('acme'), keypup.create_account('bolt'); SELECT keypup.add_member('acme', 'olga', 'owner')});
my ($issuer, $client) = ('https://id.example', 'client-1');
my ($made) = run_command([ 'node', 'test/sso/tokens.mjs', $issuer, $client ]);
my $tokens = decode_json($made);
my $key_set = literal(encode_json($tokens->{key_set}));

like(as('olga', "SELECT keypup.add_identity_provider('acme', 'http://id.example', ARRAY['$client'], $key_set)"), qr/issuer cannot be used/, 'an issuer without TLS is refused');
like(as('olga', "SELECT keypup.add_identity_provider('acme', '$issuer', NULL, $key_set)"), qr/client id is needed/, 'one without a client id, too');
like(as('olga', "SELECT keypup.add_identity_provider('acme', '$issuer', ARRAY['$client'], '{}')"), qr/no list of keys/, 'and one without keys');
like(as('olga', "SELECT keypup.add_identity_provider('bolt', '$issuer', ARRAY['$client'], $key_set)"), qr/may not do this/, 'and another account');
is(as('olga', "SELECT keypup.add_identity_provider('acme', '$issuer', ARRAY['$client', 'client-2'], $key_set)"), '', 'an owner adds a provider');
like(as('olga', "SELECT keypup.link_person('acme', 'ann', '$issuer', 'subject-1')"), qr/person "ann" is not a member/, 'a person must be a member first');
is(as('olga', "SELECT keypup.add_person('acme', 'ann', 'viewer'); SELECT keypup.link_person('acme', 'ann', '$issuer', 'subject-1')"), "\n", 'a person is added, and linked');
like(as('olga', "SELECT keypup.link_person('acme', 'ann', '$issuer', 'subject-1')"), qr/linked to a person already/, 'a subject is one person');

my $sign_in = sub { my ($token, $more) = @_; return as('app', q{SELECT keypup.sign_in('acme', } . literal($token) . ($more // '') . ')'); };
my %handles;
foreach my $name ('rs256', 'es256', 'audience in a list')
{
	like($handles{$name} = $sign_in->($tokens->{good}{$name}), qr/^[0-9a-f]{96}$/, "accepted: $name");
}
is(as('app', "BEGIN; SELECT keypup.use_session('$handles{rs256}'); SELECT keypup.whoami(); SELECT name FROM keypup.accounts"), "\nann\nacme", 'the handle is the person\'s');
is($sign_in->($tokens->{good}{rs256}), 'sign-in is refused', 'T41: a token signs in once');
is($sign_in->($tokens->{good}{nonce}, ", 'n-2'"), 'sign-in is refused', 'a nonce must be the one that was asked for');
like($sign_in->($tokens->{good}{nonce}, ", 'n-1'"), qr/^[0-9a-f]{96}$/, 'and is');
is(as('app', "SELECT keypup.sign_in($_, " . literal($tokens->{fresh}) . ')'), 'sign-in is refused', "not in $_") foreach qw('bolt' 'nowhere' NULL);

# T66: another account trusts the same issuer, with the same client and its own keys, and knows the same people.
query("SELECT keypup.add_member('bolt', 'bella', 'owner')");
is(as('bella', "SELECT keypup.add_identity_provider('bolt', '$issuer', ARRAY['$client', 'client-2'], $key_set), keypup.map_group('bolt', '$issuer', 'readers', 'viewer'); SELECT keypup.add_person('bolt', 'ann', 'viewer'); SELECT keypup.link_person('bolt', 'ann', '$issuer', 'subject-1')"),
	"|\n\n", 'T66: a second account sets up the same');
my $first = $sign_in->($tokens->{good}{'in both accounts'});
is(as('app', "BEGIN; SELECT keypup.use_session('$first'); SELECT name FROM keypup.accounts"), "\nacme", 'T66: people of the first sign in as ever');
is($sign_in->($tokens->{good}{'lured'}), 'sign-in is refused', 'T66: a stranger to the first does not land in the second');

is($sign_in->($tokens->{twin}), 'sign-in is refused', 'T41: nor by another signature of what is signed, which holds as well');

# T39, T43: all the ways to be wrong have one answer.
foreach my $name (sort keys %{ $tokens->{bad} })
{
	my $answer = $sign_in->($tokens->{bad}{$name});
	is($answer, 'sign-in is refused', "refused: $name");
}
like($sign_in->($tokens->{fresh}), qr/^[0-9a-f]{96}$/, 'after all of these a good one is accepted');

# Groups.
is($sign_in->($tokens->{good}{'in a group'}), 'sign-in is refused', 'a group that is not mapped is nothing');
like(as('olga', "SELECT keypup.map_group('acme', '$issuer', 'leads', 'owner')"), qr/cannot have role "owner"/, 'no group makes owners');
is(as('olga', "SELECT keypup.map_group('acme', '$issuer', 'readers', 'viewer'), keypup.map_group('acme', '$issuer', 'leads', 'admin')"), '|', 'groups are mapped to roles');
my $grouped = $sign_in->($tokens->{good}{'in a group'});
like($grouped, qr/^[0-9a-f]{96}$/, 'who is in a group signs in, and is a member by that');
is(query("SELECT role, by_groups FROM keypup.members WHERE member = 'subject-7 at $issuer'"), 'viewer|t', 'with the role of the group');
like($sign_in->($tokens->{good}{'in two groups'}), qr/^[0-9a-f]{96}$/, 'the next sign-in');
is(query("SELECT role FROM keypup.members WHERE member = 'subject-7 at $issuer'"), 'admin', 'brings the role of the groups of now');
is($sign_in->($tokens->{good}{'in no group of ours'}), 'sign-in is refused', 'who has left the groups does not sign in');
is($sign_in->($tokens->{good}{'groups in text'}), 'sign-in is refused', 'a claim that is no list has no groups');

# T41: twenty at once.
my $file = PostgreSQL::Test::Utils::tempdir() . '/sign_in.sql';
append_to_file($file, q{SELECT keypup.sign_in('acme', } . literal($tokens->{good}{parallel}) . ");\n");
my $sessions = query('SELECT count(*) FROM keypup.sessions');
$node->command_fails([ 'pgbench', '-n', '-U', 'app', '-c', '20', '-j', '2', '-t', '1', '-f', $file, 'postgres' ], 'twenty clients sign in with one token');
is(query('SELECT count(*) FROM keypup.sessions') - $sessions, '1', 'T41: exactly one succeeds');

# T53: nobody is anybody by a sign-in that may be rolled back; and what was shown for it stays used, and is recorded.
my $signs = sub { my ($name) = @_; return q{SELECT keypup.sign_in('acme', } . literal($tokens->{good}{$name}) . ") AS handle \\gset\n"; };
my $uses = q{SELECT keypup.use_session(:'handle')};
sub undone { return "SELECT coalesce(sum(times), 0) = $_[0] FROM keypup.audit_log WHERE action = 'session.start' AND outcome = 'refused' AND actor = 'ann' AND database_role = 'app' AND detail = 'an ID token, rolled back'"; }
is(as('app', 'BEGIN; ' . $signs->('undone') . "$uses; ROLLBACK"), 'session is not valid', 'T53: a session is not used in the transaction that starts it');
is(as('app', 'BEGIN; ' . $signs->('undone') . "$uses; ROLLBACK"), 'sign-in is refusedsyntax error at or near ":"', 'T53: and its token signs in no more') foreach 1, 2;
is(as('app', 'BEGIN; SAVEPOINT s; ' . $signs->('undone in a savepoint') . 'ROLLBACK TO s; ' . $signs->('undone in a savepoint') . 'COMMIT'), 'sign-in is refused', 'T53: nor after a savepoint that was rolled back');
as('app', 'BEGIN; ' . $signs->('ended') . 'SELECT pg_terminate_backend(pg_backend_pid())');
is($sign_in->($tokens->{good}{ended}), 'sign-in is refused', 'T53: nor after a session of the server that was ended');
ok($node->poll_query_until('postgres', undone(3)), 'T53: each is recorded once');
is($sign_in->($tokens->{good}{$_}), 'sign-in is refused', "T53: a token that was $_ is marked as used") foreach 'undone', 'undone in a savepoint', 'ended';
like(as('app', 'BEGIN; ' . $signs->('prepared') . q{PREPARE TRANSACTION 'x'}), qr/cannot prepare a transaction that has signed in/, 'T53: none is prepared, to be rolled back by somebody else');
ok($node->poll_query_until('postgres', undone(4)), 'T53: and that is recorded, too');
is(as('app', 'BEGIN; SAVEPOINT s; ' . $signs->('kept') . "RELEASE s; SAVEPOINT t; $uses; ROLLBACK TO t; COMMIT; BEGIN; $uses; SELECT keypup.whoami()"), "\nannsession is not valid", 'T53: after the commit it is used');
# What a crash takes back was not there either.
is(as('app', 'SET synchronous_commit = off; BEGIN; ' . $signs->('flushed') . q{SELECT pg_current_wal_insert_lsn() AS before \gset} . "\nCOMMIT; SELECT pg_current_wal_flush_lsn() > :'before'"), 't', 'T53: a sign-in is on disk when it is committed');
my $key = as('olga', q{SELECT keypup.create_api_key('acme', 'dashboard', 'viewer')});
is(as('app', "BEGIN; SELECT keypup.sign_in_with_api_key('$key') AS handle \\gset\n$uses; ROLLBACK"), 'session is not valid', 'T53: the same for an API key');
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM keypup.audit_log WHERE outcome = 'refused' AND actor = left('$key', 15) AND detail = 'an API key, rolled back'"), 'T53: of which there is a record');
is(query('SELECT last_used_at IS NULL FROM keypup.api_keys'), 't', 'T53: and no use');

# T40: the token's end is the session's. That comes sooner here, and not by the clock.
my $short = $sign_in->($tokens->{good}{short});
my $exp = decode_json(decode_base64url((split /\./, $tokens->{good}{short})[1]))->{exp};
my $its_session = "keypup.sessions WHERE handle_digest = sha256('$short') AND expires_at";
is(query("SELECT count(*) FROM $its_session = to_timestamp($exp)"), '1', 'T40: the end of a token is that of its session');
my $at_work = $node->background_psql('postgres', extra_params => [ '-U', 'app' ]);
is($at_work->query_safe("BEGIN; SELECT keypup.use_session('$short'); SELECT count(*) FROM keypup.accounts"), "\n1", 'which is at work');
query("UPDATE keypup.sessions SET expires_at = clock_timestamp() WHERE handle_digest = sha256('$short')");
is($at_work->query_safe('SELECT count(*) FROM keypup.accounts'), '0', 'T40: when that has come the session ends, within its transaction');
$at_work->quit;
is(as('olga', "SELECT keypup.remove_member('acme', 'ann')"), '', 'the person is removed');
is(as('app', "SELECT keypup.use_session('$handles{es256}')"), 'session is not valid', 'and all sessions with her');

foreach my $large (@{ decode_json(slurp_file('test/vectors/large_rsa_keys.json')) })
{
	my ($key, $jws) = (literal(encode_json($large->{key})), literal($large->{token}));
	is(query("SELECT keypup.key_is_usable($key), keypup.id_token_is_signed($jws, $key)"), 't|t', "a signature of an RSA key of $large->{bits} bits holds");
	$jws =~ s/eyJzdWIiOiJ4In0/eyJzdWIiOiJ5In0/;
	is(query("SELECT keypup.id_token_is_signed($jws, $key)"), 'f', 'for what was signed');
}

# Whoever is just signing in while what vouches for them is taken away is nobody by it, however late their transaction ends.
query(q{SELECT keypup.create_account('door'), keypup.add_person('door', 'ann', 'viewer')});
my $trust = sub { query("SELECT keypup.add_identity_provider('door', '$issuer', ARRAY['$client'], $key_set)"); return; };
$trust->();
query("SELECT keypup.link_person('door', 'ann', '$issuer', 'subject-1')");
my $late = $node->background_psql('postgres', extra_params => [ '-U', 'app' ]);
sub signing_in
{
	my ($call, @meanwhile) = @_;
	my ($session) = $late->query_safe("BEGIN; SELECT keypup.$call") =~ /([0-9a-f]{96})/;
	query("SET statement_timeout = '60s'; SELECT $_") foreach @meanwhile;
	$late->query_safe('COMMIT');
	return as('app', "BEGIN; SELECT keypup.use_session('$session'); SELECT keypup.whoami()") =~ s/^\s+|current transaction is aborted.*//rg;
}
is(signing_in("sign_in('door', " . literal($tokens->{good}{open}) . ')', "keypup.remove_identity_provider('door', '$issuer')", "keypup.add_identity_provider('door', '$issuer', ARRAY['$client'], $key_set)"),
	'session is not valid', 'an identity provider that is removed, and trusted anew');
query("SELECT keypup.remove_identity_provider('door', '$issuer'); SELECT keypup.set_password('door', 'ann', 'a first password')");
is(signing_in(q{sign_in_with_password('door', 'ann', 'a first password')}), 'ann', 'a password serves');
is(signing_in(q{sign_in_with_password('door', 'ann', 'a first password')}, q{keypup.set_password('door', 'ann', 'another password')}), 'session is not valid', 'a password that is replaced');
is(signing_in(q{sign_in_with_password('door', 'ann', 'another password')}, q{keypup.remove_member('door', 'ann')}, q{keypup.add_person('door', 'ann', 'viewer')}), 'session is not valid', 'a person who is removed, and another of the name');
$late->quit;

SKIP:
{
	skip 'shared/data/vectors is not here', 3 unless -d $shared;
	my $vectors = decode_json(slurp_file("$shared/wycheproof-jws.json"));
	my (%count, @wrong, @rows);
	foreach my $group (@{ $vectors->{testGroups} })
	{
		my $key = encode_json($group->{public} // $group->{private});
		push @rows, map { [ $_->{tcId}, $_->{keypup_expected}, ref $_->{jws} ? encode_json($_->{jws}) : $_->{jws}, $key ] } @{ $group->{tests} };
	}
	query('CREATE TABLE vectors (id integer, expected text, jws text, key jsonb)');
	query('INSERT INTO vectors VALUES ' . join(', ', map { my ($id, @texts) = @$_; "($id, " . join(', ', map { literal($_) } @texts) . ')' } @rows));
	is(query(q{SELECT string_agg(id || ' ' || expected, ', ' ORDER BY id) FROM vectors WHERE expected IN ('valid', 'invalid') AND (expected = 'valid') <> (keypup.key_is_usable(key) AND keypup.id_token_is_signed(jws, key))}), '',
		'every JWS vector of Wycheproof is judged as it should be');
	is(query(q{SELECT count(*) FILTER (WHERE expected = 'valid'), count(*) FILTER (WHERE expected = 'invalid'), count(*) FILTER (WHERE expected NOT IN ('valid', 'invalid')) FROM vectors}), '10|389|2',
		'10 are accepted, 389 rejected, 2 skipped');
	$vectors = decode_json(slurp_file("$shared/wycheproof-jwk.json"));
	my @accepted;
	foreach my $group (@{ $vectors->{testGroups} })
	{
		my $key = $group->{public} // $group->{private};
		my $set = literal(encode_json($key->{keys} ? $key : { keys => [$key] }));
		my ($code, $out, $error) = $node->psql('postgres', "SELECT keypup.usable_keys($set)");
		push @accepted, map { $_->{tcId} } @{ $group->{tests} } if $out ne '';
	}
	is("@accepted", '5', 'of the JWK vectors only the key of 5 is taken');
}
$node->stop;
done_testing();
