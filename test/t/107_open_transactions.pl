# What somebody leaves open holds nobody else up for long, least of all who takes their rights away.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'keypup'\nkeypup.sync_interval = '1d'\nkeypup.bcrypt_cost = 10\nkeypup.change_timeout = '5s'\nmax_prepared_transactions = 2\n");
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
sub as { return as_role($node, @_); }
# Something that is not to wait, and something that may wait until the other's time is over.
sub at_once { my ($role, $sql) = @_; return as($role, "SET lock_timeout = '2s'; SELECT keypup.$sql"); }
sub in_time { my ($role, $sql) = @_; return as($role, "SET statement_timeout = '60s'; SELECT keypup.$sql"); }
# A session in which a transaction is left open.
my @sessions;
sub leave_open
{
	my ($role, @statements) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', $role ]);
	my $pid = $session->query_safe('SELECT pg_backend_pid()') =~ s/\D//gr;
	# Nothing of this test lies in between, where a session would be ended.
	my $said = $session->query(join('; ', 'BEGIN', @statements)) // '';
	push @sessions, $session;
	return ($pid, $said, $session);
}
sub is_gone { my ($pid) = @_; return $node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid"); }
my $change = q{SELECT keypup.add_person('acme', gen_random_uuid()::text, 'viewer')};

query(q{CREATE EXTENSION keypup; CREATE ROLE olga LOGIN; CREATE ROLE vera LOGIN; CREATE ROLE app LOGIN; SELECT keypup.allow_application('app');
	SELECT keypup.create_account('acme'), keypup.add_member('acme', 'olga', 'owner'), keypup.add_person('acme', 'paula', 'viewer'), keypup.add_person('acme', 'pia', 'viewer')});
query(qq{SELECT keypup.set_password('acme', '$_', 'a long password of somebody')}) foreach qw(paula pia);
my $key = as('olga', q{SELECT keypup.create_api_key('acme', 'k', 'admin')});
my $other_key = as('olga', q{SELECT keypup.create_api_key('acme', 'o', 'viewer')});
sub signed_in { my ($call) = @_; my ($handle) = as('app', "SELECT keypup.$call") =~ /([0-9a-f]{96})/; return $handle; }
my $password = q{sign_in_with_password('acme', 'paula', 'a long password of somebody')};
my $use = sub { return "SELECT keypup.use_session('$_[0]')"; };

# --- what waits for nobody ---

my $old = signed_in("sign_in_with_api_key('$other_key')");
query(q{UPDATE keypup.sessions SET expires_at = now()});
leave_open('app', "SELECT keypup.sign_in_with_api_key('$key')");
like(at_once('app', "sign_in_with_api_key('$other_key')"), qr/[0-9a-f]{96}/, 'beside a sign-in that is left open others sign in');
is(at_once('olga', sprintf q{revoke_api_key('acme', '%s')}, substr($key, 0, 15)), '', 'and its key is revoked');
ok($node->poll_query_until('postgres', q{SELECT last_used_at IS NOT NULL FROM keypup.api_keys WHERE name = 'o'}), 'the worker notes when a key was used');
my $handle = signed_in($password);
leave_open('app', "SELECT keypup.sign_out('$handle')");
is(at_once('olga', q{remove_member('acme', 'paula')}), '', 'who leaves a sign-out open is removed');
is(as('app', "BEGIN; SELECT keypup.use_session('$handle')"), 'session is not valid', 'and is nobody');
$handle = signed_in($password =~ s/paula/pia/r);
leave_open('app', $use->($handle), q{SELECT keypup.set_password('acme', 'pia', 'another long one of hers', 'a long password of somebody')});
is(at_once('olga', q{add_person('acme', 'new', 'viewer')}), '', 'beside a password that is being changed members are added');

# --- what waits, but not for long ---

is(in_time('olga', q{remove_member('acme', 'pia')}), '', 'and whose it is, is removed');
as('olga', q{SELECT keypup.add_member('acme', 'vera', 'viewer')});
my ($pid, undef, $invited) = leave_open('vera', q{SELECT keypup.accept_membership('acme')}, 'SAVEPOINT s', 'SELECT 1/0', 'ROLLBACK TO s', q{SET idle_in_transaction_session_timeout = 0});
is(in_time('olga', q{add_person('acme', 'late', 'viewer')}), '', 'nor does somebody who was merely invited stop an account');
ok(is_gone($pid), 'the session has ended');
like(slurp_file($node->logfile), qr/LOG:  keypup ended a session whose transaction had changed something and was left open/, 'the log says why');
($pid) = leave_open('olga', $change);
ok(is_gone($pid), 'an owner, too, is bound');
like((leave_open('olga', $change, q{PREPARE TRANSACTION 'for ever'}))[1] . as('olga', "BEGIN; $change; PREPARE TRANSACTION 'for ever'"), qr/cannot prepare a transaction that has changed something of keypup/, 'nothing is prepared for ever');
is(as('olga', "DO \$\$ BEGIN PERFORM keypup.add_person('acme', 'slow', 'viewer'); PERFORM pg_sleep(9); END \$\$; SELECT 'done'"), 'done', 'a statement that is at work is left alone');
is(as('olga', "BEGIN; $change; COMMIT; BEGIN; SELECT pg_sleep(9); SELECT 'done'") =~ s/\s//gr, 'done', 'as is another transaction');
($pid) = leave_open(query('SELECT current_user'), $change);
($invited) = leave_open('olga', 'SELECT 1');
query('SELECT pg_sleep(9)');
is(query("SELECT count(*) FROM pg_stat_activity WHERE pid IN ($pid, $invited)"), '2', 'and operators, and whoever has changed nothing');

# --- what nobody may do waits for nothing, or others would wait behind it ---

my $table = 'keypup.pull_requests';
leave_open('olga', "SELECT count(*) FROM $table");
leave_open(query('SELECT current_user'), "LOCK TABLE $table IN ROW EXCLUSIVE MODE");
my $tables = 'CREATE TEMP TABLE own (number bigint); CREATE TEMP TABLE parts (number bigint) PARTITION BY LIST (number)';
my $references = "REFERENCES $table (number)";
foreach my $case ([ "CREATE RULE r AS ON INSERT TO $table DO INSTEAD NOTHING", 'must be owner of table pull_requests' ],
	[ "CREATE TRIGGER t BEFORE INSERT ON $table FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()", 'permission denied for table pull_requests' ],
	[ "CREATE TEMP TABLE t (number bigint $references)", 'permission denied for table pull_requests' ],
	[ "CREATE TEMP TABLE t (number bigint, FOREIGN KEY (number) $references)", 'permission denied for table pull_requests' ],
	[ "ALTER TABLE own ADD FOREIGN KEY (number) $references", 'permission denied for table pull_requests' ],
	[ "ALTER TABLE own ADD COLUMN other bigint $references", 'permission denied for table pull_requests' ],
	[ "DO \$\$ BEGIN ALTER TABLE own ADD COLUMN other bigint $references; END \$\$", 'permission denied for table pull_requests' ],
	[ "CREATE TEMP TABLE t PARTITION OF $table DEFAULT", 'must be owner of table pull_requests' ],
	[ "ALTER TABLE parts ATTACH PARTITION $table DEFAULT", 'must be owner of table pull_requests' ],
	[ "ALTER TABLE parts DETACH PARTITION $table", 'must be owner of table pull_requests' ],
	[ 'ALTER INDEX keypup.pull_requests_created DEPENDS ON EXTENSION keypup', 'must be owner of index pull_requests_created' ])
{
	my ($command, $refusal) = @$case;
	is(as('olga', "SET lock_timeout = '2s'; $tables; $command"), $refusal, "is refused at once: $command");
}
is(as('olga', q{CREATE TEMP TABLE own (number bigint PRIMARY KEY); CREATE TEMP TABLE other (number bigint REFERENCES own); CREATE RULE r AS ON INSERT TO other DO INSTEAD NOTHING}), '', 'with tables of their own people do what they like');
eval { $_->quit } foreach splice @sessions;
query("GRANT REFERENCES ON $table, keypup.accounts TO olga; GRANT CREATE ON SCHEMA public TO olga");
is(as('olga', 'CREATE TABLE public.notes (account_id uuid REFERENCES keypup.accounts)'), '', 'and with ours what an operator has permitted');

eval { $_->quit } foreach @sessions;
$node->stop;
done_testing();
