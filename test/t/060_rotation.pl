# Rotation on a running server: every token opens at every moment, whatever is killed; what was sealed before does not.
use strict;
use warnings;

use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $first = '0f' x 32;
my $second = '1e' x 32;
my $token = 'ghp_rotated0123456789';
my $github = start_github($token, '--generate', 'demo/one:pulls=300,issues=100,seed=3', '--generate', 'demo/two:pulls=2,issues=1,seed=4');
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1h'
restart_after_crash = on
CONF
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
sub becomes { return $node->poll_query_until('postgres', $_[0]); }

sub refuses
{
	my ($sql, $pattern, $name) = @_;
	my ($code, $out, $error) = $node->psql('postgres', $sql);
	like($error, $pattern, $name);
}
my ($keys) = query('SHOW keypup.key_file');

sub write_keys
{
	open my $file, '>', $keys or die;
	print $file @_;
	close $file;
	query('SELECT pg_reload_conf()');
}

query('CREATE EXTENSION keypup');
query(q{CREATE ROLE olga LOGIN; CREATE ROLE vera LOGIN; CREATE ROLE oscar LOGIN});
# What each token is, to compare: in a table of the test's own.
query('CREATE TABLE known (account text, token text)');
query(qq{INSERT INTO known SELECT 'account ' || n, 'ghp_token_of_account_' || n FROM generate_series(1, 60) n;
	SELECT keypup.create_account(account) FROM known;
	SELECT keypup.connect(account, 'github', token, '$github->{url}') FROM known});
query(q{SELECT keypup.add_member('account 1', 'olga', 'owner'); SELECT keypup.add_member('account 1', 'vera', 'viewer');
	SELECT keypup.add_member('account 2', 'oscar', 'owner')});
query(q{CREATE FUNCTION opens_as(envelope bytea, context text, token text) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN RETURN keypup.decrypt_token(envelope, context) = token; EXCEPTION WHEN data_exception THEN RETURN false; END $$});
my $opening = q{SELECT count(*) FROM keypup.connection_tokens t JOIN keypup.accounts a USING (account_id) JOIN known k ON k.account = a.name
	WHERE opens_as(t.envelope, keypup.token_context(t.account_id, t.connection_id, t.revision, t.purpose), k.token)};
my $remaining = q{SELECT coalesce(sum(records), 0) FROM keypup.key_status WHERE state = 'decrypt_only'};
is(query($opening), '60', 'every token opens');
is(query('SELECT count(*) FROM keypup.key_status WHERE account IS NOT NULL'), '60', 'each account has a data key of its own');
is(query('SELECT count(*) FROM keypup.connection_tokens t JOIN keypup.data_keys k USING (key_id) WHERE k.account_id = t.account_id'), '60',
	'the column key_id names the data key of the account');
query('CREATE TABLE before AS SELECT account_id, connection_id, revision, envelope FROM keypup.connection_tokens');

# One account, by its owner.
my $as = sub { my ($role, $sql) = @_; return $node->psql('postgres', $sql, connstr => $node->connstr('postgres') . " user=$role"); };
is(($as->('olga', q{SELECT keypup.rotate_keys('account 1')}))[1], '1', 'an owner rotates the keys of the own account');
foreach my $case ([ 'vera', 'account 1', 'a viewer' ], [ 'oscar', 'account 1', q{an owner of another account} ])
{
	my ($code, $out, $error) = $as->($case->[0], "SELECT keypup.rotate_keys('$case->[1]')");
	like($error, qr/does not exist, or you may not/, "$case->[2] may not");
	($code, $out, $error) = $as->($case->[0], "SELECT keypup.shred_account('$case->[1]')");
	like($error, qr/does not exist, or you may not/, "$case->[2] may not shred it either");
}
like(($as->('olga', 'SELECT keypup.rotate_keys()'))[2], qr/permission denied/, 'an owner may not rotate the keys of all accounts');
is(($as->('olga', 'SELECT count(*), min(account) FROM keypup.key_status'))[1], '2|account 1', 'key_status shows an owner the own keys');
is(($as->('olga', 'SELECT count(encryptions_at_most) FROM keypup.key_status'))[1] . query('SELECT count(encryptions_at_most) > 0 FROM keypup.key_status'), '0t', 'but not how much is sealed for all');
is(($as->('vera', 'SELECT count(*) FROM keypup.key_status'))[1], '0', 'and a viewer none');
ok(becomes("SELECT ($remaining) = 0"), 'the worker seals the token again');
is(query(q{SELECT revision FROM keypup.connection_tokens t JOIN keypup.accounts USING (account_id) WHERE name = 'account 1'}), '2', 'its revision has risen');

# All accounts, while the worker is killed again and again.
my $kills = 0;
foreach my $round (1 .. 12)
{
	becomes(q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'keypup worker'}) or die 'no worker';
	is(query('SELECT keypup.rotate_keys()'), '60', "round $round: rotate_keys starts a data key for each account");
	usleep(int(rand(40_000)));
	my $worker = query(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'keypup worker'});
	if ($worker =~ /^\d+$/)
	{
		crash_server($node, $worker);
		$kills++;
	}
	is(query($opening), '60', "round $round: every token opens after kill -9");
}
cmp_ok($kills, '>=', 10, "the worker was killed $kills times");
ok(becomes("SELECT ($remaining) = 0"), 'the rotation is finished by the next worker') or diag(query('TABLE keypup.key_status'));
is(query($opening), '60', 'and every token opens');
is(query(q{SELECT count(*) FROM before b JOIN keypup.connection_tokens t USING (account_id, connection_id) WHERE t.revision <= b.revision}), '0',
	'every revision has risen');

# T2: an older envelope put back in its place.
query(q{UPDATE keypup.connection_tokens t SET envelope = b.envelope FROM before b JOIN keypup.accounts a USING (account_id)
	WHERE t.account_id = b.account_id AND a.name = 'account 3'});
is(query($opening), '59', 'an envelope from before the rotation does not open in its place');
# It is under a key that is active no more: the worker tries it, and goes on with the others.
query('SELECT keypup.rotate_keys()');
ok(becomes("SELECT ($remaining) = 1 AND (SELECT sum(damaged_records) FROM keypup.key_status) = 1"), 'a record that does not open holds up no other');
is(query($opening), '59', 'the others open');
query(q{SELECT keypup.replace_token('account 3', 'github', 'ghp_token_of_account_3')});
is(query($opening), '60', 'replace_token heals it');
is(query($remaining), '0', 'no record is left under an old key');

# Destroying.
my ($old) = query(q{SELECT min(key_id) FROM keypup.key_status WHERE account = 'account 5' AND state = 'decrypt_only'});
my ($active) = query(q{SELECT key_id FROM keypup.key_status WHERE account = 'account 5' AND state = 'active'});
refuses("SELECT keypup.destroy_key($active)", qr/data key $active is active.*rotate_keys/s, 'an active key is not destroyed');
refuses('SELECT keypup.destroy_key(999999)', qr/data key 999999 does not exist/, 'a key that is not there is named');
query("SELECT keypup.destroy_key($old)");
is(query(qq{SELECT count(*) FROM keypup.audit_log WHERE action = 'key.destroy' AND detail = 'key $old' AND account_id IS NOT NULL}), '1', 'which the audit log of its account has');
is(query(q{SELECT count(*) >= 60 AND count(DISTINCT account_id) >= 60 FROM keypup.audit_log WHERE action = 'key.rotate'}), 't', 'as it has each rotation');
is(query("SELECT state, wrapped IS NULL FROM keypup.data_keys WHERE key_id = $old"), 'destroyed|t', 'a data key that seals nothing is destroyed');
is(query($opening), '60', 'every token opens still');
query(q{CREATE TABLE mine AS SELECT keypup.encrypt_token('own secret', 'mine/1') AS envelope; SELECT keypup.rotate_keys()});
my ($shared) = query('SELECT keypup.token_key_id(envelope) FROM mine');
refuses("SELECT keypup.destroy_key($shared)", qr/tables that keypup does not know.*reencrypt_token/s, 'the shared key is not destroyed by accident');
query(q{UPDATE mine SET envelope = keypup.reencrypt_token(envelope, 'mine/1')});
isnt(query('SELECT keypup.token_key_id(envelope) FROM mine'), $shared, 'reencrypt_token seals under the new shared key');
query("SELECT keypup.destroy_key($shared, callers_records_are_gone => true)");
is(query(q{SELECT keypup.decrypt_token(envelope, 'mine/1') FROM mine}), 'own secret', 'what was sealed again opens');

# A key that a transaction seals with is not destroyed under it.
my $sealer = $node->background_psql('postgres');
my ($current) = query('SELECT key_id FROM keypup.key_status WHERE account_id IS NULL AND state = \'active\'');
$sealer->query_safe(q{BEGIN; INSERT INTO mine SELECT keypup.encrypt_token('late', 'mine/2')});
query('SELECT keypup.rotate_keys()');
refuses("SET lock_timeout = '300ms'; SELECT keypup.destroy_key($current, true)", qr/lock timeout/, 'destroy_key waits for a transaction that seals with the key');
$sealer->query_safe('COMMIT');
$sealer->quit;
is(query(q{SELECT count(*) FROM mine WHERE opens_as(envelope, 'mine/2', 'late')}), '1', 'what it sealed opens');

# A rolled back subtransaction takes the key that it made along.
query(q{DO $$
DECLARE e bytea;
BEGIN
  BEGIN
    PERFORM keypup.rotate_keys(), keypup.encrypt_token('x', 'y');
    RAISE EXCEPTION 'back';
  EXCEPTION WHEN raise_exception THEN NULL;
  END;
  e := keypup.encrypt_token('kept', 'mine/3');
  INSERT INTO mine VALUES (e);
END $$});
is(query(q{SELECT count(*) FROM mine WHERE keypup.token_key_id(envelope) NOT IN (SELECT key_id FROM keypup.data_keys WHERE state <> 'destroyed')}), '0',
	'nothing is sealed with a key that was rolled back');
query(q{DO $$ BEGIN PERFORM keypup.encrypt_token('a', 'b'), keypup.rotate_keys(); INSERT INTO mine SELECT keypup.encrypt_token('z', 'mine/4'); END $$});
is(query(q{SELECT state FROM keypup.key_status WHERE key_id = (SELECT keypup.token_key_id(envelope) FROM mine ORDER BY ctid DESC LIMIT 1)}), 'active',
	'after a rotation the same transaction seals with the new key');

# T8: the count of encryptions.
my $limit = sub { query("SELECT setval('keypup.encryptions', (SELECT encryptions_before FROM keypup.data_keys WHERE account_id IS NULL AND state = 'active') + $_[0])"); };
my $shared_key = q{SELECT key_id FROM keypup.key_status WHERE account_id IS NULL AND state = 'active'};
my $before = query($shared_key);
# The worker, which seals again what was sealed with the keys before, takes some numbers meanwhile.
$limit->(2**31 - 65536);
query(q{SELECT keypup.encrypt_token('a', 'b')});
is(query($shared_key), $before, 'below 2^31 encryptions a key stays');
$limit->(2**31);
query(q{SELECT keypup.encrypt_token('a', 'b')});
isnt(query($shared_key), $before, 'at 2^31 encryptions a new key is made');
$before = query($shared_key);
my $renewer = $node->background_psql('postgres');
$renewer->query_safe('BEGIN; SELECT keypup.start_data_key(NULL, ' . $before . ')');
$limit->(2**31);
is(query(q{SELECT keypup.token_key_id(keypup.encrypt_token('a', 'b'))}), $before, 'while another transaction renews it, the key goes on');
$limit->(2**32);
refuses(q{SELECT keypup.encrypt_token('a', 'b')}, qr/has sealed as much as it may.*Try again/s, 'at 2^32 encryptions it refuses');
$renewer->query_safe('COMMIT');
$renewer->quit;
ok(query(q{SELECT keypup.encrypt_token('a', 'b') IS NOT NULL}), 'the new key seals');
my $counted = query('SELECT last_value FROM keypup.encryptions');
query(q{BEGIN; SELECT count(keypup.encrypt_token('a', 'b')) FROM generate_series(1, 5000); ROLLBACK});
cmp_ok(query('SELECT last_value FROM keypup.encryptions') - $counted, '>=', 4096, 'a rollback does not take the count back');
$counted = query('SELECT last_value FROM keypup.encryptions');
query(q{SELECT keypup.encrypt_token('a', 'b')});
$node->stop('immediate');
$node->start;
cmp_ok(query('SELECT last_value FROM keypup.encryptions'), '>=', $counted + 1024, 'nor does a crash');
refuses(q{SET default_transaction_read_only = on; SELECT keypup.encrypt_token('a', 'b')}, qr/cannot seal a token in a read-only transaction/,
	'sealing is refused where it cannot be counted');

# A new key in the key file wraps the data keys; no token is touched.
my $sum = q{SELECT md5(string_agg(envelope::text, '' ORDER BY account_id)) FROM keypup.connection_tokens};
ok(becomes("SELECT ($remaining) = 0"), 'all is sealed under active keys');
my $digest = query($sum);
write_keys("1 $first\n2 $second\n");
ok(becomes(q{SELECT bool_and(kek_id = 2) FROM keypup.key_status WHERE state <> 'destroyed'}), 'a new key in the key file wraps all data keys');
is(query($sum), $digest, 'without touching a token');
write_keys("2 $second\n");
is(query($opening), '60', 'the old key may go from the file');
write_keys("3 $first\n");
refuses($opening, qr/key 2, which wraps data key \d+, is not available/, 'a missing key is named');
is(query($sum), $digest, 'and nothing is changed');
write_keys("2 $second\n");

# T1, T3: envelopes copied within the table. The worker sends nothing, and says why.
query(qq{SELECT keypup.create_account('syncs'); SELECT keypup.connect('syncs', 'github', '$token', '$github->{url}');
	INSERT INTO known VALUES ('syncs', '$token')});
query(q{UPDATE keypup.connection_tokens t SET envelope = s.envelope FROM keypup.connection_tokens s, keypup.accounts a, keypup.accounts b
	WHERE s.account_id = a.account_id AND a.name = 'syncs' AND t.account_id = b.account_id AND b.name = 'account 7'});
query(q{SELECT keypup.track('account 7', 'demo/two')});
ok(becomes(q{SELECT last_error = 'cannot open token' FROM keypup.sync_status WHERE account = 'account 7'}),
	'a token copied from another account does not open: sync_status says so');
is(query(q{SELECT requests FROM keypup.sync_status WHERE account = 'account 7'}), '0', 'and no request was sent');
query(q{UPDATE keypup.connection_tokens SET purpose = 'refresh_token' WHERE account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'account 8')});
is(query($opening), '59', 'a token that is moved to another purpose does not open, nor does the copied one');

# Keys rotate while a sync goes on.
query(q{SELECT keypup.track('syncs', 'demo/one')});
my $rotations = 0;
for (1 .. 200)
{
	query(q{SELECT keypup.rotate_keys('syncs')});
	$rotations++;
	last if query(q{SELECT phase = 'idle' FROM keypup.sync_status WHERE account = 'syncs'}) eq 't';
	usleep(50_000);
}
ok(becomes(q{SELECT phase = 'idle' AND last_error IS NULL AND items_done = 400 FROM keypup.sync_status WHERE account = 'syncs'}),
	"a sync goes on through $rotations rotations") or diag(query('TABLE keypup.sync_status'));
ok(becomes(q{SELECT revision > 1 FROM keypup.connection_tokens t JOIN keypup.accounts USING (account_id) WHERE name = 'syncs'}), 'its token was sealed again meanwhile');

# Shredding.
is(($as->('olga', q{SELECT keypup.shred_account('account 1') > 0}))[1], 't', 'an owner shreds the own account');
is(query(q{SELECT count(*) FROM keypup.data_keys k JOIN keypup.accounts a USING (account_id) WHERE a.name = 'account 1' AND k.wrapped IS NOT NULL}), '0', 'none of its keys is left');
refuses(q{SELECT keypup.decrypt_token(t.envelope, keypup.token_context(t.account_id, t.connection_id, t.revision, t.purpose))
	FROM keypup.connection_tokens t JOIN keypup.accounts a USING (account_id) WHERE a.name = 'account 1'}, qr/cannot open token/, 'its token opens never again');
is(query(q{SELECT state FROM keypup.connections c JOIN keypup.accounts a USING (account_id) WHERE a.name = 'account 1'}), 'token_refused', 'its connection stands still');
is(query(q{SELECT keypup.track('account 1', 'demo/two'); SELECT phase || ': ' || last_error FROM keypup.sync_status WHERE account = 'account 1'}), "\nstopped: the keys of the account were destroyed", 'and says why');
$node->stop;
done_testing();
