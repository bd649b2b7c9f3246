# A name server that hardly answers is the trouble of those who ask it, and of nobody else.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $token = 'ghp_SLOWNAMES0123456789';
my $github = start_github($token, '--generate', 'demo/small:pulls=10,issues=5,seed=3');
my $node = new_server($github, "shared_preload_libraries = 'keypup'\nkeypup.sync_interval = '1d'\n");
my $slow = "$github->{dir}/slow.so";
system_or_bail('cc', '-shared', '-fPIC', '-O1', '-o', $slow, "$FindBin::RealBin/../attack/rebind.c", '-ldl');
{
	local %ENV = (%ENV, LD_PRELOAD => $slow);
	$node->start;
}
sub query { return $node->safe_psql('postgres', $_[0]); }
query('CREATE EXTENSION keypup');
query(qq{SELECT keypup.create_account('$_'); SELECT keypup.connect('$_', 'github', '$token', '$github->{url}'); SELECT keypup.track('$_', 'demo/small')}) foreach 'acme', 'bolt';
ok($node->poll_query_until('postgres', q{SELECT bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) FROM keypup.sync_status}), 'two accounts are synced');

# A look-up takes a minute: what is over in forty seconds did not wait for it.
# Of an account: its run is due now.
sub due { query(qq{UPDATE keypup.sync_state s SET next_run_at = now(), last_error = NULL FROM keypup.accounts a WHERE a.account_id = s.account_id AND a.name = '$_[0]'; SELECT keypup.wake_launcher()}); return; }
sub seconds { my ($sql) = @_; my $begun = time; $node->poll_query_until('postgres', $sql) or return 'never'; return time - $begun; }
query(q{UPDATE keypup.connections c SET base_url = 'https://slow.example' FROM keypup.accounts a WHERE a.account_id = c.account_id AND a.name = 'acme'});
foreach my $turn (1, 2)
{
	due('acme');
	cmp_ok(seconds(q{SELECT count(last_error) = 1 FROM keypup.sync_state s JOIN keypup.accounts a USING (account_id) WHERE a.name = 'acme'}), '<', 40, 'a name that is not found in time is given up');
	is(query(q{SELECT last_error FROM keypup.sync_state s JOIN keypup.accounts a USING (account_id) WHERE a.name = 'acme'}), 'could not connect to "slow.example" in time', 'which is told');
	my $at = query('SELECT clock_timestamp()');
	due('bolt');
	cmp_ok(seconds(qq{SELECT last_run_finished_at > '$at' FROM keypup.sync_state s JOIN keypup.accounts a USING (account_id) WHERE a.name = 'bolt'}), '<', 40, 'the other account goes on');
	query('DELETE FROM keypup.sync_jobs');
}
due('acme');
ok($node->poll_query_until('postgres', q{SELECT sum(requests_in_flight) = 1 FROM keypup.worker_status}), 'a name is being looked up');
my $begun = time;
$node->stop('fast');
cmp_ok(time - $begun, '<', 30, 'the server stops without waiting for it');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|segfault|signal 11/, 'nothing crashed');
done_testing();
