# The vault: what is sealed opens with the same context only, and a missing or wrong key is named.
use strict;
use warnings;

use File::Temp qw(tempdir);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = tempdir(CLEANUP => 1);
my $wrapping_key = '00112233445566778899aabbccddeeff' x 2;

sub write_keys
{
	my ($text, $mode) = @_;
	unlink "$dir/keys";
	append_to_file("$dir/keys", $text);
	chmod $mode // 0600, "$dir/keys";
}

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'keypup'\nkeypup.private_hosts = 'localhost'\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION keypup');
$node->safe_psql('postgres', q{CREATE DATABASE narrow ENCODING 'SQL_ASCII' TEMPLATE template0});
my ($code, $out, $error) = $node->psql('narrow', 'CREATE EXTENSION keypup');
like($error, qr/needs a database in encoding UTF8, not SQL_ASCII.*HINT/s, 'a database of another encoding is refused');
sub query { return $node->safe_psql('postgres', $_[0]); }

sub refuses
{
	my ($sql, $pattern, $name) = @_;
	my ($code, $out, $error) = $node->psql('postgres', $sql);
	like($error, $pattern, $name);
	return $error;
}

sub configure
{
	query("ALTER SYSTEM SET $_[0]");
	query('SELECT pg_reload_conf()');
	$node->poll_query_until('postgres', "SELECT current_setting('$_[1]') = '$_[2]'") or die;
}

my $seal = q{SELECT keypup.encrypt_token('secret', 'x')};
refuses($seal, qr/no encryption key is configured.*HINT:.*keypup.key_file/s, 'without a key the server runs and sealing says what is missing');
configure("keypup.key_file = '$dir/keys'", 'keypup.key_file', "$dir/keys");
refuses($seal, qr/No such file/, 'a missing key file is named');
write_keys("1 $wrapping_key\n", 0644);
refuses($seal, qr/owner or permissions are wrong.*0600/s, 'a key file that others may read is refused');
rename "$dir/keys", "$dir/target";
chmod 0600, "$dir/target";
symlink "$dir/target", "$dir/keys";
refuses($seal, qr/symbolic link/, 'a key file that is a symbolic link is refused');
foreach my $case (
	[ '', 'has no key', 'an empty key file' ],
	[ "1 abcd\n", 'does not have 64', 'a short key' ],
	[ "1 $wrapping_key\n1 $wrapping_key\n", 'line 2 repeats', 'a repeated key number' ],
	[ "x $wrapping_key\n", 'does not begin with', 'a line without a number' ],
	[ '1 ' . ('zz' x 32) . "\n", 'does not have 64', 'a key that is not hexadecimal' ])
{
	write_keys($case->[0]);
	my $error = refuses($seal, qr/$case->[1]/, "$case->[2] is refused");
	unlike($error, qr/00112233|zzzz/, "$case->[2]: the error shows nothing of the key");
}

write_keys("# keys\n\n1 $wrapping_key\n");
is(query(q{SELECT keypup.decrypt_token(keypup.encrypt_token('geheim ✓', 'a/b'), 'a/b')}), 'geheim ✓', 'what is sealed opens');
is(query(q{SELECT count(DISTINCT keypup.encrypt_token('same', 'x')), count(DISTINCT substr(keypup.encrypt_token('same', 'x'), 9, 12)) FROM generate_series(1, 1000)}),
	'1000|1000', 'a thousand seals of one text have a thousand IVs');
query(q{CREATE TABLE kept AS SELECT keypup.encrypt_token('secret', 'a') AS envelope});
is(query('SELECT keypup.token_key_id(envelope) = (SELECT key_id FROM keypup.data_keys WHERE account_id IS NULL) FROM kept'), 't', 'the envelope names its key');
is(query(q{SELECT keypup.decrypt_token(keypup.reencrypt_token(envelope, 'a'), 'a') FROM kept}), 'secret', 'what is sealed again opens');

# One error for every failure.
my %errors;
foreach my $sql (
	q{SELECT keypup.decrypt_token(envelope, 'b') FROM kept}, q{SELECT keypup.decrypt_token(set_byte(envelope, 0, 1), 'a') FROM kept},
	q{SELECT keypup.decrypt_token(set_byte(envelope, 7, 99), 'a') FROM kept}, q{SELECT keypup.decrypt_token(set_byte(envelope, 21, get_byte(envelope, 21) # 1), 'a') FROM kept},
	q{SELECT keypup.decrypt_token(substr(envelope, 1, 36), 'a') FROM kept}, q{SELECT keypup.decrypt_token('', 'a')},
	q{SELECT keypup.decrypt_token(convert_to(repeat('x', 100000000), 'UTF8'), 'a')}, q{SELECT keypup.reencrypt_token(envelope, 'b') FROM kept})
{
	my ($code, $out, $error) = $node->psql('postgres', $sql);
	$errors{$error =~ s/^psql:<stdin>:\d+: //r}++;
}
is(scalar(keys %errors), 1, 'every failure to open is one and the same error') or diag(explain(\%errors));
refuses(q{SELECT keypup.encrypt_token('', 'x')}, qr/1 to 8192 bytes/, 'an empty secret is refused');
refuses(q{SELECT keypup.encrypt_token(repeat('x', 8193), 'x')}, qr/1 to 8192 bytes/, '8,193 bytes are refused');
is(query(q{SELECT length(keypup.encrypt_token(repeat('x', 8192), 'x'))}), '8228', '8,192 bytes are sealed');
unlike(query(q{EXPLAIN VERBOSE SELECT keypup.decrypt_token(envelope, 'a') FROM kept}), qr/secret/, 'no plan shows what was sealed');

# An account's secrets are under a key of its own; an envelope does not open for another.
my $account = query(q{SELECT keypup.create_account('acme')});
$node->safe_psql('postgres', q{SELECT keypup.connect('acme', 'github', 'ghp_sealed_by_connect', 'https://localhost')});
my ($context, $envelope, $key_id, $wrapped) = split /\|/, query(q{SELECT keypup.token_context(account_id, connection_id, revision, purpose), encode(envelope, 'hex'),
	k.key_id, encode(wrapped, 'hex') FROM keypup.connection_tokens t JOIN keypup.data_keys k USING (account_id)});
like($context, qr/^account:$account\/connection:[0-9a-f-]{36}\/rev:1\/access_token$/, 'a context names account, connection, revision and purpose');
my ($opened) = run_command([ 'node', 'test/vectors/open_envelope.mjs', $wrapping_key, $wrapped, $key_id, $envelope, $context ]);
is($opened, 'ghp_sealed_by_connect', 'an independent implementation opens what connect sealed');
$node->safe_psql('postgres', q{SELECT keypup.replace_token('acme', 'github', 'ghp_another_token')});
($context) = split /\|/, query(q{SELECT keypup.token_context(account_id, connection_id, revision, purpose) FROM keypup.connection_tokens});
refuses("SELECT keypup.decrypt_token('\\x$envelope', '$context')", qr/cannot open token/, 'the envelope before replace_token no longer opens in its place');

# Another key file.
write_keys('1 ' . ('ab' x 32) . "\n");
refuses(q{SELECT keypup.decrypt_token(envelope, 'a') FROM kept}, qr/key 1 is not the one that wraps data key/, 'a wrong key is named by its number');
write_keys("2 $wrapping_key\n");
refuses(q{SELECT keypup.decrypt_token(envelope, 'a') FROM kept}, qr/key 1, which wraps data key \d+, is not available/, 'a missing key is named by its number');
configure("keypup.key_file = ''", 'keypup.key_file', '');
configure("keypup.key_command = 'echo 1 $wrapping_key'", 'keypup.key_command', "echo 1 $wrapping_key");
is(query(q{SELECT keypup.decrypt_token(envelope, 'a') FROM kept}), 'secret', 'a key command serves as well');
# F13: a command that fails, hangs, or prints something else.
foreach my $case (
	[ "echo 1 $wrapping_key; exit 1", qr/keypup.key_command cannot be used: it failed/, 'that fails' ],
	[ 'no_such_command_anywhere', qr/it failed/, 'that is not there' ],
	[ 'sleep 60', qr/it takes too long.*within 10 seconds/s, 'that hangs' ],
	[ 'head -c 100000 /dev/zero', qr/output is too long/, 'that prints too much' ],
	[ 'head -c 1000000 /dev/zero', qr/output is too long/, 'that prints more than a pipe holds' ],
	[ 'head -c 100 /dev/zero', qr/output of keypup.key_command is malformed: line 1/, 'that prints NULs' ],
	[ "printf \"1 $wrapping_key\"; printf x", qr/line 1 does not have 64/, 'that prints a key that is too long' ],
	[ 'true', qr/has no key/, 'that prints nothing' ])
{
	configure("keypup.key_command = '$case->[0]'", 'keypup.key_command', $case->[0]);
	refuses(q{SELECT keypup.decrypt_token(envelope, 'a') FROM kept}, $case->[1], "a key command $case->[2] is refused");
}
configure("keypup.key_command = 'printf \"%s %s\\n\" ''1'' $wrapping_key'", 'keypup.key_command', "printf \"%s %s\\n\" ''1'' $wrapping_key");
is(query(q{SELECT keypup.decrypt_token(envelope, 'a') FROM kept}), 'secret', 'quotes in a key command are the shell\'s');

# A dump holds envelopes, and no secret.
my ($dump) = run_command([ 'pg_dump', '-h', $node->host, '-p', $node->port, 'postgres' ]);
like($dump, qr/COPY keypup.connection_tokens/, 'a dump holds the sealed tokens');
unlike($dump, qr/ghp_/, 'and none of them in clear');
$node->stop;

done_testing();
