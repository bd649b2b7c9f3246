# F8: the clock jumps, forth and back, by an hour and by a day: nothing is lost, nothing is stuck, nobody is signed in too long.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($library) = grep { -f } glob('/usr/lib/*/faketime/libfaketime.so.1');
plan skip_all => 'libfaketime is not here' unless $library;

my $token = 'ghp_CLOCKPROBE0123456789';
my $repository = 'demo/clock';
my $github = start_github($token, '--generate', "$repository:pulls=60,issues=40,seed=17");
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1min'
CONF

# The server's clock, and no other: how far it is off stands in a file. What waits measures by a clock that does not jump.
my $file = "$github->{dir}/clock";
# It is replaced as a whole: a process that reads half of it ends.
sub set_clock
{
	my ($offset) = @_;
	open my $handle, '>', "$file.new" or die;
	print $handle "$offset\n";
	close $handle;
	rename "$file.new", $file or die;
	return;
}
set_clock('+0');
{
	local %ENV = (%ENV, LD_PRELOAD => $library, FAKETIME_TIMESTAMP_FILE => $file, FAKETIME_NO_CACHE => 1, FAKETIME_DONT_FAKE_MONOTONIC => 1, DONT_FAKE_MONOTONIC => 1);
	$node->start;
}
sub query { return $node->safe_psql('postgres', $_[0]); }
sub as { return as_role($node, @_); }
# Whether the tables become the provider's, by the worker alone.
sub becomes_true
{
	my ($what) = @_;
	# A run comes each minute; by a clock that has jumped it would come in an hour.
	my $give_up = time + 900;
	while (time < $give_up)
	{
		last if differences($node, $github, $repository) eq '';
		sleep 1;
	}
	is(differences($node, $github, $repository), '', "$what: the tables are the provider's") or diag(query('SELECT * FROM keypup.sync_status') . query('SELECT kind, due_at - now(), attempts FROM keypup.sync_jobs'));
	return;
}
my $number = 1;
sub change { control($github, 'change', { repository => $repository, change => 'comment', number => $number, at => sprintf('2032-01-01T00:00:%02dZ', $number) }); $number++; return; }

query('CREATE EXTENSION keypup');
query(qq{CREATE ROLE app LOGIN; GRANT keypup_member TO app; GRANT USAGE ON SCHEMA keypup TO app;
	SELECT keypup.create_account('acme'); SELECT keypup.connect('acme', 'github', '$token', '$github->{url}'); SELECT keypup.track('acme', '$repository')});
becomes_true('before');

my $key = query(q{SELECT keypup.create_api_key('acme', 'clock', 'viewer', '30 days')});
my $handle = as('app', "SELECT keypup.sign_in_with_api_key('$key')");
my $reads = "BEGIN; SELECT keypup.use_session('$handle'); SELECT count(*) FROM keypup.projects";
is(as('app', $reads), "\n1", 'a session reads');
foreach my $offset ('+1h', '+0')
{
	set_clock($offset);
	change();
	becomes_true("the clock jumps to $offset");
}
set_clock('+13h');
is(as('app', "SELECT keypup.use_session('$handle')"), 'session is not valid', 'a session of twelve hours has ended thirteen hours later');
set_clock('+0');

# An hour before the provider's certificate was made: an error, and no more than that.
set_clock('-1h');
change();
# A connection that the worker still has was made when the clock was right: the worker goes, and its connections.
query(q{SELECT pg_terminate_backend(pid, 10000) FROM keypup.worker_status WHERE database = 'postgres'});
foreach (1 .. 30)
{
	$node->psql('postgres', q{SET statement_timeout = '30s'; CALL keypup.sync('acme')});
	last if query('SELECT last_error IS NOT NULL FROM keypup.sync_status') eq 't';
	sleep 1;
}
like(query('SELECT last_error FROM keypup.sync_status'), qr/certificate of "localhost" is not valid/, 'a certificate that is not valid yet is refused');
set_clock('+0');
query(q{UPDATE keypup.sync_jobs SET due_at = now()});
becomes_true('and when the clock is right again');

# What was put off by a clock that was wrong does not wait for that time to come.
set_clock('+1d');
query(q{CALL keypup.sync('acme')});
set_clock('+0');
change();
becomes_true('a run that was ordered for tomorrow by a wrong clock comes at once');
# The tables are right before the run has ended and says when the next one is.
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM keypup.sync_status WHERE next_run_at > now() + interval '5 minutes'}), 'and the next one comes in its time');
is(query(q{SELECT count(*) FROM keypup.sync_jobs WHERE due_at > now() + interval '2 hours'}), '0', 'no job is stuck in the future');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|signal 11/, 'nothing crashed');
$node->stop;
done_testing();
