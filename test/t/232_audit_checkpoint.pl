# Checkpoints of the audit log: who puts records, ends of chains and all back to an earlier state is found; others check them without keypup.
use strict;
use warnings;

use Digest::SHA qw(sha256);
use FindBin;
use MIME::Base64;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Without workers: the test seals and signs by itself.
my $node = new_server({ ca_file => '' }, 'keypup.audit_checkpoint_interval = 1h');
$node->start;
sub query { return $node->safe_psql('postgres', q{LOAD 'keypup'; SET client_min_messages = error; } . $_[0]); }
sub error_of { my ($code, $out, $error) = $node->psql('postgres', $_[0]); return $error; }
my $account = q{(SELECT account_id FROM keypup.accounts WHERE name = 'acme')};
my $nobody = q{'00000000-0000-0000-0000-000000000000'};
sub act { my ($name, $count) = @_; return query("SELECT keypup.record_action((SELECT account_id FROM keypup.accounts WHERE name = '$name'), 'session.end', 'n' || i) FROM generate_series(1, $count) i"); }
sub seal { return query('SELECT keypup.seal_audit_log(); SELECT keypup.seal_audit_log()'); }
sub write_checkpoint { seal(); return query('SELECT keypup.write_audit_checkpoint()'); }
my $passed = q{UPDATE keypup.audit_checkpoints SET created_at = created_at - interval '2 hours'};
sub verify { my ($before, $given) = @_; return query(($before // '') . q{; SELECT is_intact, sequence, problem FROM keypup.verify_audit('acme'} . ($given ? ', ' . literal($given) : '') . ')') =~ s/.*\n//sr; }
sub newest { return query('SELECT note FROM keypup.audit_checkpoints ORDER BY tree_size DESC LIMIT 1'); }

# Without keypup: the root of the leaves (RFC 6962, 2.1, as it is written there), and the signature by OpenSSL.
sub root_of
{
	my @leaves = @_;
	return sha256('') if @leaves == 0;
	return sha256("\0" . $leaves[0]) if @leaves == 1;
	my $left = 1;
	$left *= 2 while 2 * $left < @leaves;
	return sha256("\1" . root_of(@leaves[ 0 .. $left - 1 ]) . root_of(@leaves[ $left .. $#leaves ]));
}
sub is_signed
{
	my ($note, $key) = @_;
	my ($text, $name, $signature) = $note =~ /\A(.*\n)\n\xe2\x80\x94 (\S+) (\S+)\n\z/s or return 0;
	my ($key_name, $id, $public) = split /\+/, $key, 3;
	$public = decode_base64($public);
	$signature = decode_base64($signature);
	return 0 if $name ne $key_name || ($text =~ /\A(.*)\n/)[0] ne $name || unpack('H8', $signature) ne $id || unpack('H8', sha256("$name\n$public")) ne $id || substr($public, 0, 1) ne "\1";
	my $dir = PostgreSQL::Test::Utils::tempdir;
	my %files = (text => $text, signature => substr($signature, 4), key => pack('H*', '302a300506032b6570032100') . substr($public, 1));
	foreach my $name (keys %files) { open my $file, '>:raw', "$dir/$name" or die; print $file $files{$name}; close $file; }
	return system("openssl pkeyutl -verify -pubin -keyform DER -inkey $dir/key -rawin -in $dir/text -sigfile $dir/signature >/dev/null 2>&1") == 0;
}

query(q{CREATE EXTENSION keypup; CREATE ROLE olga LOGIN; CREATE ROLE vera LOGIN; SELECT keypup.create_account(n) FROM unnest('{acme,bolt,cove,dale,east}'::text[]) n;
	SELECT keypup.add_member('acme', 'olga', 'owner'), keypup.add_member('acme', 'vera', 'viewer')});
is(write_checkpoint(), '1', 'a checkpoint is written');
is(write_checkpoint(), '0', 'and no other before keypup.audit_checkpoint_interval has passed');
my $first = newest();
like($first, qr/\Akeypup\/\d+\/\d+\n6\n[A-Za-z0-9+\/]{43}=\n\n\xe2\x80\x94 keypup\/\d+\/\d+ \S+\n\z/, 'in the shape of tlog-checkpoint: origin, size, root, and a signature');
is(query(q{SELECT string_agg(tree_size::text, ' ' ORDER BY tree_size) FROM keypup.audit_checkpoints}), '0 6', 'it follows on that of the empty tree');
is(query(qq{SELECT detail FROM keypup.audit_log WHERE account_id = $nobody AND action = 'audit.checkpoint'}), $first, 'and is a record');
query($passed);
is(write_checkpoint(), '0', 'whose seal is no reason for another');
act('acme', 20);
is(write_checkpoint(), '1', 'new records are');
foreach my $round (1 .. 5)
{
	act($_, 2) foreach qw(acme bolt cove)[ 0 .. $round % 3 ];
	query($passed);
	write_checkpoint();
}
my @notes = split /\n;\n/, query(q{SELECT string_agg(note, E'\n;\n' ORDER BY tree_size) FROM keypup.audit_checkpoints});
my @leaves = map { pack 'H*', $_ } split /\n/, query(q{SELECT encode(uuid_send(account_id) || int8send(sequence) || seal, 'hex') FROM keypup.audit_checkpoint_heads ORDER BY leaf});
my $key = query('SELECT keypup.audit_checkpoint_key()');
is(scalar @notes, 8, 'eight checkpoints');
is(join(' ', map { my (undef, $size, $root) = split /\n/; encode_base64(root_of(@leaves[ 0 .. $size - 1 ]), '') eq $root ? () : $size } @notes), '', 'each has the root that RFC 6962 gives');
is(join(' ', grep { !is_signed($notes[$_], $key) } 0 .. $#notes), '', 'and is signed, as OpenSSL finds with audit_checkpoint_key()');
ok(!is_signed($notes[1] =~ s/\n6\n/\n7\n/r, $key), 'which finds one that was changed');
my @at = map { sprintf 'of size %s', (split /\n/)[1] } @notes;
my $last = query("SELECT max(sequence) FROM keypup.audit_log WHERE account_id = $account");
is(verify(), "t|$last|", 'the log is intact');
is(verify('', $notes[$_]), "t|$last|", "also against the checkpoint $at[$_]") foreach 0, 1, 4, 7;
is(verify('', $first =~ s/\n\z//r), "t|$last|", 'without its last newline, too');
is(verify('', "$first\xe2\x80\x94 witness.example " . encode_base64('x' x 76, '') . "\n"), "t|$last|", 'and with the signature of a witness');
is(as_role($node, 'olga', q{SELECT is_intact FROM keypup.verify_audit('acme', } . literal($first) . ')'), 't', 'an owner gives one');
is(as_role($node, 'vera', 'SELECT keypup.audit_checkpoint_key()'), $key, 'every member reads the public key');
like(as_role($node, 'olga', 'SELECT * FROM keypup.audit_checkpoints'), qr/permission denied/, 'and none the sizes, which tell of others');

# T45: what only checkpoints show. Each in a transaction that is rolled back.
query("CREATE TABLE old_heads AS SELECT * FROM keypup.audit_heads; CREATE TABLE old_log AS SELECT * FROM keypup.audit_log; CREATE TABLE old_checkpoints AS SELECT * FROM keypup.audit_checkpoints; CREATE TABLE old_leaves AS SELECT * FROM keypup.audit_checkpoint_heads");
act('acme', 3);
query($passed);
is(write_checkpoint(), '1', 'records and a checkpoint more');
my $newest = newest();
my $now = query("SELECT max(sequence) FROM keypup.audit_log WHERE account_id = $account");
is(verify('', $newest), "t|$now|", 'which holds');
sub put_back { my ($which) = @_; return "DELETE FROM keypup.audit_log l WHERE $which AND NOT EXISTS (SELECT FROM old_log o WHERE o.account_id = l.account_id AND o.record_id = l.record_id);
	UPDATE keypup.audit_heads h SET sequence = o.sequence, seal = o.seal, proof = o.proof, key_id = o.key_id FROM old_heads o WHERE o.account_id = h.account_id AND h.${\ ($which =~ s/^l\.//r)}"; }
my $tail = put_back("account_id = $account");
my $tail_of_checkpoints = put_back("account_id = $nobody");
my $rows = 'DELETE FROM keypup.audit_checkpoints c WHERE NOT EXISTS (SELECT FROM old_checkpoints o WHERE o.tree_size = c.tree_size)';
my $heads = 'DELETE FROM keypup.audit_checkpoint_heads k WHERE NOT EXISTS (SELECT FROM old_leaves o WHERE o.leaf = k.leaf)';
my ($size, $leaf) = split /\|/, query('SELECT max(c.tree_size), (SELECT k.leaf FROM keypup.audit_checkpoint_heads k WHERE k.account_id = ' . $account . ' ORDER BY k.leaf DESC LIMIT 1) FROM keypup.audit_checkpoints c');
my $of = "the checkpoint of size $size";
my @tamperings = (
	[ 'the tail was deleted, and the head put back', $tail, "f|$now|it is missing: a checkpoint has a later one" ],
	[ 'and the leaves', "$tail; $heads", "f|$last|$of: where a chain ended is missing" ],
	[ 'and this leaf was set back', "$tail; UPDATE keypup.audit_checkpoint_heads k SET sequence = h.sequence, seal = h.seal FROM keypup.audit_heads h WHERE h.account_id = k.account_id AND k.leaf = $leaf", "f|$last|$of: where a chain ended is not as it was signed" ],
	[ 'and the checkpoint', "$tail; $heads; $rows", "f|$last|$of: it is recorded, and not kept" ],
	[ 'a leaf was deleted', 'DELETE FROM keypup.audit_checkpoint_heads WHERE leaf = 3', "f|$now|the checkpoint of size 6: where a chain ended is missing" ],
	[ 'all leaves were', 'DELETE FROM keypup.audit_checkpoint_heads', "f|$now|the checkpoint of size 6: where a chain ended is missing" ],
	[ 'a checkpoint was deleted', 'DELETE FROM keypup.audit_checkpoints WHERE tree_size = 6', "f|$now|the checkpoint of size 6: it is recorded, and not kept" ],
	[ 'all were', 'DELETE FROM keypup.audit_checkpoints', "f|$now|the checkpoint of size 6: it is recorded, and not kept" ],
	(map { [ "$_ of a checkpoint was changed", "UPDATE keypup.audit_checkpoints SET $_ WHERE tree_size = 6", "f|$now|the checkpoint of size " . (/tree_size = (\d+)/ ? "$1: where a chain ended is not as it was signed" : '6: it is not as it was signed') ] }
		q{note = replace(note, E'\n6\n', E'\n7\n')}, q{note = overlay(note placing 'x' FROM length(note) - 5)}, q{verifier_key = 'x'}, q{subtrees = ''}, 'tree_size = 5'),
	[ 'its subtrees were changed', 'UPDATE keypup.audit_checkpoints SET subtrees = set_byte(subtrees, 3, 255 - get_byte(subtrees, 3)) WHERE tree_size = 6', "f|$now|the checkpoint of size 6: where a chain ended is not as it was signed" ],
	[ 'its key was taken away', 'UPDATE keypup.audit_checkpoints SET key_id = 1 WHERE tree_size = 6', "f|$now|the checkpoint of size 6: the key that it was signed with is not there" ],
	[ 'a checkpoint was made up', q{INSERT INTO keypup.audit_checkpoints SELECT tree_size + 1, created_at, note, verifier_key, key_id, subtrees FROM keypup.audit_checkpoints ORDER BY tree_size DESC LIMIT 1}, "f|$now|the checkpoint of size ${\ ($size + 1)}: " ],
	[ 'all was put back', "$tail; $tail_of_checkpoints; $heads; $rows", "t|$last|" ]);
foreach my $tampering (@tamperings)
{
	my ($what, $sql, $found) = @$tampering;
	like(verify("BEGIN; $sql"), qr/^\Q$found\E/, "T45: $what");
}
my $all = "BEGIN; $tamperings[-1][1]";
is(verify($all, $newest), "f|$last|$of: the log ends before it", 'T45: which a checkpoint shows that was kept elsewhere');
is(verify($all, $first), "t|$last|", 'and an older one does not');
is(verify("$all; SELECT keypup.record_action(account_id, 'session.end', 'other') FROM keypup.accounts WHERE name IN ('acme', 'bolt'); SELECT keypup.seal_audit_log(); $passed; SELECT keypup.write_audit_checkpoint()", $newest) =~ s/\|\d+\|/|/r, "f|$of: another of that size is kept", 'T45: also when the log has gone on since');
is(verify("BEGIN; DELETE FROM keypup.audit_checkpoints WHERE tree_size = 6; DELETE FROM keypup.audit_log WHERE action = 'audit.checkpoint'", $first), "f|$now|the checkpoint of size 6: it is not kept any more", 'and one whose record was deleted, too');
is(query(qq{BEGIN; DELETE FROM keypup.audit_log WHERE action = 'audit.checkpoint' AND detail ~ E'\\n6\\n'; SELECT is_intact FROM keypup.verify_audit($nobody)}), 'f', 'which the chain of these records shows');
is(verify('', $newest), "t|$now|", 'all of that was rolled back');

# What is none.
my %not = ('nonsense' => 'It has no empty line', '' => 'It has no empty line', "a\n\n" => 'It has no empty line', $first =~ s/\n/\r\n/gr => 'It has characters', $first =~ s/\n6\n/\n06\n/r => 'second line is not a size', $first =~ s/\n6\n/\n-6\n/r => 'second line is not a size',
	$first =~ s/\n6\n/\n99999999999999999999\n/r => 'second line is not a size', $first =~ s/=\n/\n/r => 'third line is not the base64', "a\n\n\xe2\x80\x94 a b\n" => 'not an origin, a size and a root', ($first =~ s/(\n\n).*/$1-- x y\n/sr) => 'no signature');
like(error_of(q{SELECT keypup.verify_audit('acme', } . literal($_) . ')'), qr/ERROR:  this is not a checkpoint of an audit log\nDETAIL:  .*$not{$_}.*\nHINT:  Give the whole note/, "no checkpoint: $not{$_}") foreach sort keys %not;
my ($name) = $first =~ /\A(.*)\n/;
like(error_of(q{SELECT keypup.verify_audit('acme', } . literal($_) . ')'), qr/ERROR:  the checkpoint is not of this audit log\nDETAIL:  No key of this database has signed it as/, 'a foreign one') foreach $first =~ s/\Q$name\E/other.example/gr, $first =~ s/\n6\n/\n7\n/r, $first =~ s/\xe2\x80\x94 \Q$name\E/\xe2\x80\x94 other.example/r;

# Keys change; what was signed before still holds.
query('SELECT keypup.rotate_keys()');
act('acme', 1);
query($passed);
is(write_checkpoint(), '1', 'after a rotation of keys another is written');
isnt(query('SELECT keypup.audit_checkpoint_key()'), $key, 'with another key');
is(is_signed(newest(), query('SELECT keypup.audit_checkpoint_key()')), 1, 'which has signed it');
like(verify('', $_), qr/^t\|/, 'old and new hold') foreach $first, $newest, newest();
like(error_of(q{SELECT keypup.destroy_key(key_id) FROM keypup.data_keys WHERE account_id = keypup.audit_key_account() AND state = 'decrypt_only'}), qr/proves records of the audit log/, 'the old key stays');

# T46: what has expired is not missed, also of what checkpoints have.
my $old = q{SELECT now() - interval '40 days' AS t};
query("SELECT keypup.keep_audit_days(); INSERT INTO keypup.audit_log (account_id, record_id, occurred_at, last_at, action, outcome, database_role) SELECT $account, keypup.record_id_at(t) + i, t, t, 'session.end', 'done', 'old' FROM ($old) x, generate_series(1, 5) i");
query($passed);
is(write_checkpoint(), '1', 'a checkpoint of old records');
my $expired = newest();
act('acme', 2);
seal();
my $steady = q{UPDATE keypup.audit_clock SET steady_since = now() - interval '2 hours', seen_at = now()};
query("SELECT keypup.keep_audit_days(); $steady; SELECT keypup.keep_audit_days()");
is(query(q{SELECT count(*) FROM keypup.audit_log WHERE database_role = 'old'}), '0', 'T46: a day is dropped');
like(verify('', $expired), qr/^t\|/, 'T46: which the checkpoint does not miss');
# Checkpoints go when their records have gone: here these stand for all that are older than the last two.
my $older = query(q{SELECT string_agg(tree_size::text, ',' ORDER BY tree_size) FROM (SELECT tree_size FROM keypup.audit_checkpoints WHERE tree_size > 0 ORDER BY tree_size DESC OFFSET 2) x});
query(qq{DELETE FROM keypup.audit_log WHERE action = 'audit.checkpoint' AND split_part(detail, E'\\n', 2)::bigint IN ($older)});
query(q{SELECT keypup.hold_audit_log('bolt', 'a case before a court')});
my $kept = query('SELECT count(*) FROM keypup.audit_checkpoints');
act('acme', 1);
query($passed);
write_checkpoint();
is(query('SELECT count(*) FROM keypup.audit_checkpoints'), $kept + 1, 'while an account is held checkpoints are kept, though their records are gone');
query(q{SELECT keypup.hold_audit_log('bolt', NULL)});
act('acme', 1);
query($passed);
write_checkpoint();
is(query('SELECT count(*) FROM keypup.audit_checkpoints'), '5', 'then they go with these, but for the last, which the rest grows from');
is(query('SELECT min(leaf) = (SELECT min(tree_size) FROM keypup.audit_checkpoints) FROM keypup.audit_checkpoint_heads'), 't', 'as do leaves');
like(verify('', newest()), qr/^t\|/, 'the rest holds');
like(error_of(q{LOAD 'keypup'; SELECT keypup.verify_audit('acme', } . literal($first) . ')'), qr/ERROR:  the checkpoint of size 6 has expired\nHINT:  Those of the time of keypup.audit_retention/, 'one that has expired is not compared, and that is said');

# Without a key nothing is signed; the worker's log says nothing of it, check_installation does.
my $file = query('SHOW keypup.key_file');
my $keys = slurp_file($file);
open my $handle, '>', $file or die; print $handle '2 ' . ('aa' x 32) . "\n"; close $handle;
act('acme', 1);
query($passed);
is(query('SELECT keypup.write_audit_checkpoint()'), '0', 'without its key none is written');
open $handle, '>', $file or die; print $handle $keys; close $handle;
is(write_checkpoint(), '1', 'and with it again is');

# The worker does all that by itself.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'keypup'\nkeypup.audit_checkpoint_interval = 1s");
act('bolt', 1);
my $before = newest();
$node->restart;
ok($node->poll_query_until('postgres', 'SELECT note <> ' . literal($before) . ' FROM keypup.audit_checkpoints ORDER BY tree_size DESC LIMIT 1'), 'the worker writes checkpoints');
like(verify('', newest()), qr/^t\|/, 'which hold');
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|segfault|could not do its upkeep/, 'nothing of it has failed');
done_testing();
