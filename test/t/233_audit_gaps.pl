# What never comes into the audit log is counted there: for want of room, without preload, by a crash, on a standby.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server({ ca_file => '' }, "restart_after_crash = on\n", allows_streaming => 1);
$node->start;
sub query { my $server = $_[1] // $node; return $server->safe_psql('postgres', 'SET client_min_messages = error; ' . $_[0]); }
sub gaps { my ($server) = @_; return query(q{SELECT string_agg(times || ' ' || detail, ', ' ORDER BY record_id) FROM keypup.audit_log WHERE action = 'audit.gap'}, $server); }
my $gap_is_there = q{SELECT count(*) > 0 FROM keypup.audit_log WHERE action = 'audit.gap' AND detail ~ '%s'};

# --- without preload ---

query('CREATE EXTENSION keypup');
query(q{SELECT keypup.note_refusal(NULL, 'settings.write', 'x') FROM generate_series(1, 3)});
$node->psql('postgres', q{BEGIN; SELECT keypup.note_refusal(NULL, 'settings.write', 'x'); ROLLBACK});
my $session = $node->background_psql('postgres');
$session->query_safe(q{BEGIN READ ONLY; SELECT keypup.note_refusal(NULL, 'settings.write', 'x'); ROLLBACK});
$session->query_safe(q{SELECT keypup.note_refusal(NULL, 'settings.write', 'x')});
$session->quit;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'keypup'");
$node->restart;
ok($node->poll_query_until('postgres', sprintf $gap_is_there, 'not preloaded'), 'the worker records what was lost without preload');
is(gaps(), q{6 keypup was not preloaded: the server's log has them}, 'so many, also of what was rolled back, or could write nothing');
$node->restart;
query('SELECT keypup.record_audit_gaps()');
is(gaps(), q{6 keypup was not preloaded: the server's log has them}, 'once; a stop in order loses nothing');

# --- no room ---

# One that rests holds none of PostgreSQL's own locks.
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM keypup.worker_status WHERE database = 'postgres' AND state = 'idle'}), 'the worker rests');
my $worker = query(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'keypup worker'});
kill 'STOP', $worker;
query(q{SELECT keypup.note_refusal(NULL, 'action' || i, 'x') FROM generate_series(1, 66) i});
kill 'CONT', $worker;
ok($node->poll_query_until('postgres', q{SELECT count(*) = 64 FROM keypup.audit_log WHERE action ~ '^action'}), 'an account has 64 places, and their notes are recorded');
query('SELECT keypup.record_audit_gaps()');
is(gaps(), q{6 keypup was not preloaded: the server's log has them, 2 no room was left: the server's log has them}, 'the two that waited in vain are counted');
query('SELECT keypup.record_audit_gaps()');
like(gaps(), qr/, 2 no room/, 'once');
is(query(q{SELECT count(*) FROM keypup.audit_log WHERE action = 'audit.gap' AND account_id = '00000000-0000-0000-0000-000000000000' AND actor = 'worker' AND last_at >= occurred_at}), '2', 'with their time, by the worker');
like(slurp_file($node->logfile), qr/keypup could not note for the audit log that "action66" was refused/, 'and stand in the server\'s log');

# --- a crash ---

my $backend = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $backend->query_safe('SELECT pg_backend_pid()');
kill 'KILL', $pid;
ok($node->poll_query_until('postgres', sprintf $gap_is_there, 'crashed'), 'after a crash of the server the worker records that something may be lost');
like(gaps(), qr/, 1 the server has crashed, or is a copy of one that ran: not known how many$/, 'which nobody knows');
eval { $backend->quit };
my $before = gaps();
query('SELECT keypup.record_audit_gaps()');
$node->restart;
query('SELECT keypup.record_audit_gaps()');
is(gaps(), $before, 'once');

# --- a standby ---

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$standby->restart;
$standby->promote;
ok($standby->poll_query_until('postgres', sprintf $gap_is_there, 'a standby was started anew before it was promoted: not known how many'), 'of a standby that was started anew before it was promoted that is recorded');
$standby->stop;

# --- records that nobody can seal ---

my $seals = q{SELECT ok, detail ~ '^\d+ records of the audit log are not sealed, the first since \d{4}-', remedy FROM keypup.check_installation() WHERE check_name = 'audit_seals'};
ok($node->poll_query_until('postgres', $seals, 't|f|'), 'all is sealed');
my $file = query('SHOW keypup.key_file');
my $keys = slurp_file($file);
open my $handle, '>', $file or die; print $handle '2 ' . ('aa' x 32) . "\n"; close $handle;
query(q{INSERT INTO keypup.audit_log (account_id, record_id, occurred_at, last_at, action, outcome, database_role) SELECT '00000000-0000-0000-0000-000000000000', keypup.record_id_at(t), t, t, 'session.end', 'done', 'x' FROM (SELECT now() - interval '2 minutes') x (t)});
is(query($seals), 'f|t|The workers seal them when they run, and have the key: see workers, key and data_keys.', 'check_installation tells what is not sealed as its key is gone, and since when');
open $handle, '>', $file or die; print $handle $keys; close $handle;
ok($node->poll_query_until('postgres', $seals, 't|f|'), 'and nothing when it is back');
# T45: what is said to be counted on for ever would never be sealed.
my $endless = q{INSERT INTO keypup.audit_log (account_id, occurred_at, last_at, counts_until, action, outcome, database_role) SELECT '00000000-0000-0000-0000-000000000000', t, t, 'infinity', 'session.end', 'done', 'x' FROM (SELECT now() - interval '2 hours') x (t)};
is(query("BEGIN; $endless; $seals") =~ s/\|[^|]*$//r, 'f|t', 'T45: a record that is kept from its seal is told');

# Who reads the log in an open transaction holds up its days.
my $days = q{SELECT ok, detail, remedy FROM keypup.check_installation() WHERE check_name = 'audit_days'};
my $reader = $node->background_psql('postgres');
my $pid = $reader->query_safe('BEGIN; SELECT count(*) FROM keypup.audit_log \g /dev/null
SELECT pg_backend_pid()');
query(q{INSERT INTO keypup.audit_log (account_id, record_id, occurred_at, last_at, action, outcome, database_role) SELECT '00000000-0000-0000-0000-000000000000', keypup.record_id_at(t), t, t, 'session.end', 'done', 'x' FROM (SELECT now() - interval '9 days') x (t)});
ok($node->poll_query_until('postgres', q{SELECT blocked_since IS NOT NULL FROM keypup.audit_clock, keypup.keep_audit_days()}), 'a day is not made while somebody reads');
is(query($days), 't|days of the audit log are made and dropped as they should|', 'which is nothing to tell in the first hour');
query(q{UPDATE keypup.audit_clock SET blocked_since = '2026-01-02 03:04:05+00'});
is(query("SET TimeZone = 'UTC'; $days"), "f|days of the audit log could not be made or dropped since 2026-01-02 03:04:05+00: the log is read in a transaction of process $pid|End that transaction, or have it ended: SELECT pg_terminate_backend($pid);", 'and then is');
$reader->quit;
ok($node->poll_query_until('postgres', q{SELECT blocked_since IS NULL FROM keypup.audit_clock, keypup.keep_audit_days()}), 'when that has ended, days are made');
is(query($days) =~ s/\|.*//r, 't', 'and all is well');
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|segfault|could not do its upkeep/, 'nothing of it has failed');
done_testing();
