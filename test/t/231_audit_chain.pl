# The chain of the audit log: whatever somebody with all rights on the tables changes is found, and named.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# Without workers: the test seals by itself.
my $node = new_server({ ca_file => '' }, '');
$node->start;
sub query { return $node->safe_psql('postgres', q{LOAD 'keypup'; SET client_min_messages = error; } . $_[0]); }
my $account = q{(SELECT account_id FROM keypup.accounts WHERE name = 'acme')};
my $nobody = q{'00000000-0000-0000-0000-000000000000'};
sub seal { return query('SELECT keypup.seal_audit_log(); SELECT keypup.seal_audit_log()'); }
sub verify { return query(($_[0] // '') . q{; SELECT is_intact, records, sequence, problem FROM keypup.verify_audit('acme')}) =~ s/.*\n//sr; }

query(q{CREATE EXTENSION keypup; CREATE ROLE olga LOGIN; CREATE ROLE vera LOGIN; SELECT keypup.create_account('acme'), keypup.create_account('bolt');
	SELECT keypup.add_member('acme', 'olga', 'owner'), keypup.add_member('acme', 'vera', 'viewer')});
query(qq{SELECT keypup.record_action($account, 'session.end', 'n' || i) FROM generate_series(1, 20) i});
is(verify(), 't|0|0|', 'what is not sealed yet proves nothing');
is(query(q{SELECT unsealed FROM keypup.verify_audit('acme')}), '23', 'which is said');
seal();
is(verify(), 't|23|23|', 'sealed records are intact');
is(query(q{SELECT count(*), count(DISTINCT seal), bool_and(octet_length(seal) = 32), min(sequence), max(sequence) FROM keypup.audit_log WHERE account_id = } . $account), '23|23|t|1|23', 'each has a seal of its own');
is(as_role($node, 'olga', q{SELECT is_intact, records, unsealed FROM keypup.verify_audit('acme')}), 't|23|0', 'an owner verifies');
like(as_role($node, 'vera', q{SELECT keypup.verify_audit('acme')}), qr/permission denied for account "acme"/, 'who may not read the log does not');
like(as_role($node, 'olga', q{SELECT keypup.verify_audit('bolt')}), qr/permission denied for account "bolt"/, 'nor who is of another account');

# T45: as a superuser, each in a transaction that is rolled back.
my $log = "keypup.audit_log WHERE account_id = $account AND sequence";
my @tamperings = (
	(map { [ "$_ was changed", "UPDATE keypup.audit_log SET $_ WHERE account_id = $account AND sequence = 7", 'f|6|7|it is not as it was sealed' ] }
		"detail = 'other'", 'detail = NULL', "detail = ''", "action = 'session.start'", "outcome = 'refused'", "actor = 'eve'", "actor_kind = 'person'", "claimed = 'eve'", "database_role = 'eve'", "client_address = '10.0.0.1'",
		"application_name = 'x'", "occurred_at = occurred_at + interval '1 microsecond'", "last_at = last_at + interval '1 microsecond'", 'times = 2', 'record_id = record_id + 1', "seal = sha256('x')"),
	[ 'its key was taken away', "UPDATE keypup.audit_log SET seal_key = NULL WHERE account_id = $account AND sequence = 7", 'f|6|7|the key that it was sealed with is not there' ],
	[ 'text was moved from one field to the next', "UPDATE keypup.audit_log SET database_role = database_role || left(detail, 1), detail = substr(detail, 2) WHERE account_id = $account AND sequence = 7", 'f|6|7|it is not as it was sealed' ],
	[ 'one in the middle was deleted', "DELETE FROM $log = 7", 'f|6|7|it is missing' ],
	[ 'the first was deleted', "DELETE FROM $log = 1", 'f|0|1|it is missing' ],
	[ 'the last was deleted', "DELETE FROM $log = 23", 'f|22|23|it is missing' ],
	[ 'all were deleted', "DELETE FROM $log > 0", 'f|0|1|it is missing' ],
	[ 'the last was deleted, and the head set back', "DELETE FROM $log = 23; UPDATE keypup.audit_heads h SET sequence = 22, seal = l.seal FROM keypup.audit_log l WHERE l.account_id = h.account_id AND l.account_id = $account AND l.sequence = 22", 'f|22|22|where the chain ends was changed' ],
	[ 'the last was deleted, and the head', "DELETE FROM $log = 23; DELETE FROM keypup.audit_heads", 'f|22|22|where the chain ends is not known any more' ],
	[ 'all were deleted, and the head', "DELETE FROM $log > 0; DELETE FROM keypup.audit_heads", 'f|0|0|where the chain ends is not known any more' ],
	[ 'two were swapped', "UPDATE keypup.audit_log l SET detail = o.detail, record_id = o.record_id + 1, seal = o.seal FROM keypup.audit_log o WHERE l.account_id = $account AND o.account_id = l.account_id AND l.sequence IN (7, 8) AND o.sequence = 15 - l.sequence", 'f|6|7|it is not as it was sealed' ],
	[ 'numbers were swapped', "UPDATE keypup.audit_log SET sequence = -1 WHERE account_id = $account AND sequence = 7; UPDATE keypup.audit_log SET sequence = 7 WHERE account_id = $account AND sequence = 8; UPDATE keypup.audit_log SET sequence = 8 WHERE account_id = $account AND sequence = -1", 'f|6|7|it is not as it was sealed' ],
	[ 'one was deleted, and the others renumbered', "DELETE FROM $log = 7; UPDATE keypup.audit_log SET sequence = -sequence WHERE account_id = $account AND sequence > 7; UPDATE keypup.audit_log SET sequence = -sequence - 1 WHERE account_id = $account AND sequence < 0", 'f|6|7|it is not as it was sealed' ],
	[ 'plain hashes were recomputed', "UPDATE keypup.audit_log SET seal = sha256(convert_to(account_id::text || sequence || detail, 'UTF8')), detail = 'other' WHERE account_id = $account AND sequence >= 7", 'f|6|7|it is not as it was sealed' ],
	[ 'one was inserted', "UPDATE keypup.audit_log SET sequence = -sequence WHERE account_id = $account AND sequence > 7; UPDATE keypup.audit_log SET sequence = 1 - sequence WHERE account_id = $account AND sequence < 0;
		INSERT INTO keypup.audit_log (account_id, action, outcome, database_role, sequence, seal, seal_key) SELECT account_id, 'session.end', 'done', 'x', 8, seal, seal_key FROM $log = 7", 'f|7|8|it is not as it was sealed' ],
	[ 'one was put behind the end', "INSERT INTO keypup.audit_log (account_id, action, outcome, database_role, sequence, seal, seal_key) SELECT account_id, 'session.end', 'done', 'x', 24, seal, seal_key FROM $log = 23", 'f|23|24|it is not as it was sealed' ],
	[ 'one of another account was put in', "UPDATE keypup.audit_log SET sequence = 99 WHERE account_id = $account AND sequence = 1; UPDATE keypup.audit_log SET account_id = $account WHERE account_id <> $account AND account_id <> $nobody AND sequence = 1", 'f|0|1|it is not as it was sealed' ],
	[ 'one was taken out, and a boundary made up for it', "INSERT INTO keypup.audit_boundaries SELECT account_id, sequence, seal, seal, seal_key FROM $log = 7; DELETE FROM $log = 7", 'f|6|7|it is missing' ],
	[ 'one was unsealed, and sealed anew with other words', "UPDATE keypup.audit_log SET detail = 'other', sequence = NULL, seal = NULL WHERE account_id = $account AND sequence = 7; SELECT keypup.seal_audit_log()", 'f|6|7|it is missing' ]);
foreach my $tampering (@tamperings)
{
	my ($what, $sql, $found) = @$tampering;
	is(verify("BEGIN; $sql"), $found, "T45: $what");
}
is(verify(), 't|23|23|', 'all of that was rolled back');

# What is counted is sealed when it is counted on no more.
query(qq{SELECT keypup.record_note($account, now(), now(), 1, 'settings.write', 'refused', NULL, NULL, NULL, 'app', NULL, NULL, 'd', NULL) FROM generate_series(1, 3)});
seal();
is(query(qq{SELECT times, sequence IS NULL FROM keypup.audit_log WHERE account_id = $account AND action = 'settings.write'}), '3|t', 'what is counted still is not sealed');
# Its time passes.
query('UPDATE keypup.audit_log SET counts_until = clock_timestamp() WHERE counts_until IS NOT NULL');
query(qq{SELECT keypup.record_note($account, now(), now(), 1, 'settings.write', 'refused', NULL, NULL, NULL, 'app', NULL, NULL, 'd', NULL)});
seal();
is(query(qq{SELECT string_agg(times || ' ' || (sequence IS NOT NULL), ', ' ORDER BY record_id) FROM keypup.audit_log WHERE account_id = $account AND action = 'settings.write'}), '3 true, 1 false', 'then it is, and the next is another');
is(verify(), 't|24|24|', 'and intact');

# The order of commits.
my $open = $node->background_psql('postgres');
$open->query_safe("BEGIN; SELECT keypup.record_action($account, 'session.end', 'began first')");
query("SELECT keypup.record_action($account, 'session.end', 'began second')");
seal();
$open->query_safe('COMMIT');
$open->quit;
seal();
is(query(qq{SELECT string_agg(detail, ', ' ORDER BY sequence) FROM $log > 24 AND detail ~ 'began'}), 'began second, began first', 'what is committed is not waited for by what is open');
like(verify(), qr/^t\|/, 'and is intact');

# Keys change; the old links hold.
my $keys = slurp_file($node->safe_psql('postgres', 'SHOW keypup.key_file'));
my $file = query('SHOW keypup.key_file');
query('SELECT keypup.rotate_keys()');
query("SELECT keypup.record_action($account, 'session.end', 'with the next key')");
seal();
is(verify(), 't|' . query("SELECT max(sequence) || '|' || max(sequence) FROM keypup.audit_log WHERE account_id = $account") . '|', 'after a rotation of data keys old and new are intact');
is(query(qq{SELECT count(DISTINCT seal_key) FROM keypup.audit_log WHERE account_id = $account}), '2', 'under two keys');
my ($code, $out, $error) = $node->psql('postgres', q{SELECT keypup.destroy_key(key_id) FROM keypup.data_keys WHERE account_id = keypup.audit_key_account() AND state = 'decrypt_only'});
like($error, qr/proves records of the audit log/, 'the old one is not destroyed');
append_to_file($file, '2 ' . ('1e' x 32) . "\n");
query('SELECT keypup.rewrap_data_keys(100)');
my $both = slurp_file($file);
(my $second = $both) =~ s/^1 .*\n//m;
open my $handle, '>', $file; print $handle $second; close $handle;
like(verify(), qr/^t\|/, 'nor does a new wrapping key in the place of the old one break it');
open $handle, '>', $file; print $handle '2 ' . ('aa' x 32) . "\n"; close $handle;
($code, $out, $error) = $node->psql('postgres', q{SELECT * FROM keypup.verify_audit('acme')});
like($error, qr/key 2 is not the one that wraps data key/, 'with another key file nothing is verified, and that is said');
query("SELECT keypup.record_action($account, 'session.end', 'without a key')");
seal();
is(query("SELECT count(*) FROM keypup.audit_log WHERE account_id = $account AND detail = 'without a key' AND sequence IS NULL"), '1', 'without its key the log goes on, unsealed');
open $handle, '>', $file; print $handle $both; close $handle;
seal();
like(verify(), qr/^t\|/, 'and is sealed when the key is back');

# T46: what has expired takes nothing of the rest with it.
my $steady = q{UPDATE keypup.audit_clock SET steady_since = now() - interval '2 hours', seen_at = now()};
query('SELECT keypup.keep_audit_days()');
query("INSERT INTO keypup.audit_log (account_id, record_id, occurred_at, last_at, action, outcome, database_role) SELECT $account, keypup.record_id_at(t) + i, t, t, 'session.end', 'done', 'old'
	FROM (SELECT now() - interval '40 days' AS t) x, generate_series(1, 5) i");
seal();
my ($first, $last) = split /\|/, query("SELECT min(sequence), max(sequence) FROM keypup.audit_log WHERE account_id = $account AND database_role = 'old'");
query("SELECT keypup.record_action($account, 'session.end', 'after')");
seal();
query("SELECT keypup.keep_audit_days(); $steady; SELECT keypup.keep_audit_days()");
is(query("SELECT count(*) FROM keypup.audit_log WHERE database_role = 'old'"), '0', 'T46: a day is dropped');
# What the server does meanwhile may have records of its own.
my $rest = query("SELECT count(*) FROM keypup.audit_log WHERE account_id = $account AND sequence < $first");
like(verify(), qr/^t\|(\d+)\|(??{ $1 + 5 })\|$/, 'T46: the rest verifies from the boundary');
is(verify("BEGIN; DELETE FROM keypup.audit_log WHERE account_id = $account AND sequence > $last"), "f|$rest|$first|it is missing", 'T46: behind it a record that is missing is still missed');
is(verify("BEGIN; DELETE FROM keypup.audit_boundaries"), "f|$rest|$first|it is missing", 'T46: as are those whose boundary is gone');

# Some speed: the bench has the figures.
query("INSERT INTO keypup.audit_log (account_id, action, outcome, database_role, detail) SELECT (SELECT account_id FROM keypup.accounts WHERE name = 'bolt'), 'session.end', 'done', 'x', 'some words ' || i FROM generate_series(1, 20000) i");
my $began = time;
query('SELECT keypup.seal_audit_log() FROM generate_series(1, 22)');
my $sealed = time;
is(query(q{SELECT is_intact, records FROM keypup.verify_audit('bolt')}), 't|20001', '20,000 records more are intact');
note(sprintf 'sealed in %.2f s, verified in %.2f s', $sealed - $began, time - $sealed);
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|segfault/, 'no crash');
done_testing();
