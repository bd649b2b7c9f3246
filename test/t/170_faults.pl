# Trouble on the way to the provider, in the middle of a sync: once it is over the tables are the provider's, row for row.
# What each fault is called in sync_status is 030_http.pl's.
use strict;
use warnings;

use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use MIME::Base64;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $token = 'ghp_FAULTPROBE0123456789';
my $repository = 'demo/small';
my $github = start_github($token, '--generate', "$repository:pulls=40,issues=20,seed=11", '--generate', 'demo/other:pulls=10,issues=5,seed=2', '--points', '1000000');
my $relay = start_relay($github);
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1h'
CONF
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
sub set_faults { control($github, 'settings', { faults => [@_] }); }
query('CREATE EXTENSION keypup');
query(qq{SELECT keypup.create_account('acme'), keypup.connect('acme', 'github', '$token', '$relay->{url}');
	SELECT keypup.create_account('beta'), keypup.connect('beta', 'github', '$token', '$github->{url}')});

# Reads the repository from the start. What is put off, or paused, is tried at once: nobody wants to wait here.
my $hurry = q{SET client_min_messages = error; WITH w AS (UPDATE keypup.sync_jobs SET due_at = now() WHERE due_at > now() RETURNING job_id) SELECT count(keypup.wake_launcher()) FROM (SELECT FROM w LIMIT 1) x;
	SELECT keypup.resume_connections();
	SELECT 'finished' FROM keypup.sync_status WHERE account = 'acme' AND phase = 'idle' AND last_run_finished_at IS NOT NULL};
sub start_sync { query("SELECT count(keypup.untrack('acme', '$repository')) FROM keypup.projects JOIN keypup.accounts USING (account_id) WHERE accounts.name = 'acme'; SELECT keypup.track('acme', '$repository')"); }

# Returns how often this fault was met, which is at least once unless nothing comes.
sub wait_for_fault
{
	my ($which) = @_;
	my $give_up = time + $PostgreSQL::Test::Utils::timeout_default;
	my $met = sub { return decode_json(control($github, 'counters'))->{faults}[$which]{used} };
	usleep(30_000) until $met->() || time > $give_up;
	return $met->();
}

sub finishes
{
	my $give_up = time + $PostgreSQL::Test::Utils::timeout_default;
	while (time < $give_up)
	{
		return 1 if query($hurry) =~ /finished/;
		usleep(30_000);
	}
	diag(query('SELECT * FROM keypup.sync_status') . "\n" . query('SELECT kind, due_at, attempts, lease_id, arguments FROM keypup.sync_jobs'));
	return 0;
}

sub recovers
{
	my ($what) = @_;
	my $finished = finishes();
	my $differences = differences($node, $github, $repository);
	my $left = query(q{SELECT count(*) FROM keypup.sync_jobs JOIN keypup.accounts USING (account_id) WHERE name = 'acme'});
	ok($finished && $differences eq '' && $left eq '0', "$what: the sync completes and is the provider's") or diag("$differences, $left jobs left");
}

control($github, 'settings', { secondary_concurrency => 1, secondary_retry_after => 1 });
start_sync();
recovers('one request at once is allowed');
control($github, 'settings', { secondary_concurrency => undef });

# How many bytes a whole sync is on the wire, handshake and all.
control($relay, 'set', { after => 0, how => 'reset', times => 0 });
start_sync();
recovers('no fault');
my $length = decode_json(control($relay, 'counters'))->{longest};
cmp_ok($length, '>', 2000, "a sync is $length bytes on one connection");

# Cut at every k-th byte, from the first byte of the handshake to the last of the last page.
my $cuts = 45;
my %faults = (reset => [ 0, 1, map { int($length * $_ / ($cuts - 3)) } 1 .. $cuts - 3 ], half => [ 0, 1, map { int($length * $_ / 8) } 1 .. 7 ]);
foreach my $how (sort keys %faults)
{
	my @wrong;
	foreach my $after (@{ $faults{$how} })
	{
		my $is_cut = 0;
		# A sync over a connection that was kept is cut nowhere: then once more, and another worker has none.
		foreach my $worker ('requests_in_flight > 0', q{database = 'postgres'})
		{
			query("SELECT pg_terminate_backend(pid, 60000) FROM keypup.worker_status WHERE $worker");
			control($relay, 'set', { after => $after, how => $how, times => 1 });
			start_sync();
			push @wrong, "after byte $after: not finished" unless finishes();
			my $differences = differences($node, $github, $repository);
			push @wrong, "after byte $after: $differences" if $differences ne '';
			$is_cut = $after >= $length * 0.9 || decode_json(control($relay, 'counters'))->{cut};
			last if $is_cut;
		}
		push @wrong, "after byte $after: no connection was cut" unless $is_cut;
	}
	is(join("\n", @wrong), '', scalar(@{ $faults{$how} }) . " times a connection ends ($how) at another byte: each sync completes and is the provider's");
}
control($relay, 'set', { after => 0, how => 'reset', times => 0 });

# A page that breaks off inside, as the server counts its bytes: packed, and with a Content-Length that is not kept.
foreach my $bytes (0, 1, 17, 400)
{
	set_faults({ match => { every => 3, times => 3 }, drop_after_bytes => $bytes });
	start_sync();
	recovers("pages that break off after $bytes bytes");
}

# Replies of all kinds of wrong in place of the second, the third, … page.
my $data = sub { return { body => { data => $_[0] } } };
my @replies = (
	[ 'a storm of 502', { match => { times => 12 }, status => 502, raw => '<html>bad gateway</html>' } ],
	[ 'a storm of 503', { match => { every => 2, times => 8 }, status => 503, raw => '' } ],
	[ 'half of a JSON document', { raw => '{"data": {"repository": {"id": "R_1", "nodes": [', content_type => 'application/json' } ],
	[ 'an empty reply', { raw => '', content_type => 'application/json' } ],
	[ 'HTML', { raw => '<html>maintenance</html>' } ],
	[ 'bytes that are no UTF-8', { body_base64 => encode_base64(qq({"data": "\xff\xfe\xc3"}), '') } ],
	[ 'a reply that says it is packed and is not', { raw => '{"data": {}}', headers => {}, gzip => JSON::PP::false } ],
	[ 'a gzip bomb', { bomb_bytes => 40_000_000 } ],
	[ 'a reply without end', { endless => JSON::PP::true } ],
	[ 'data null', $data->(undef) ],
	[ 'data a number', $data->(5) ],
	[ 'data an array', $data->([ 1, 2 ]) ],
	[ 'no repository', $data->({ repository => undef }) ],
	[ 'an empty repository', $data->({ repository => {} }) ],
	[ 'numbers where objects are expected', $data->({ repository => { id => 7, labels => 1, milestones => 2, pullRequests => 3, issues => 4 }, nodes => 5, rateLimit => 6 }) ],
	[ 'nodes that are numbers', $data->({ nodes => [ 1, 2, 3 ] }) ],
	[ 'nodes that are null', $data->({ nodes => [ undef, undef ] }) ],
	[ 'nodes that are lists', $data->({ nodes => [ [], [ [] ] ] }) ],
	[ 'a budget that is text', $data->({ rateLimit => { limit => 'much', remaining => 'more', cost => {}, resetAt => 'later' } }) ],
	[ 'a budget beyond all numbers', $data->({ rateLimit => { limit => 1e300, remaining => -1, cost => 1e300, resetAt => '999999-01-01' } }) ],
	[ 'only errors', { body => { errors => 'no list' } } ],
	[ 'errors that are numbers', { body => { data => undef, errors => [ 1, 2 ] } } ],
	[ 'a list', { body => [ 1 ] } ],
	[ 'null', { raw => 'null', content_type => 'application/json' } ]);
foreach my $reply (@replies)
{
	my ($what, $fault) = @$reply;
	set_faults($fault->{match} ? $fault : map { { match => { nth => $_ }, %$fault } } 1 .. 5);
	start_sync();
	recovers($what);
}

# Limits: each pause is at most an hour, whatever the provider says, and then all goes on.
foreach my $limit (
	[ 'Retry-After: -1', { status => 429, headers => { 'retry-after' => '-1' }, body => {} } ],
	[ 'Retry-After: 10^9', { status => 429, headers => { 'retry-after' => '1000000000' }, body => {} } ],
	[ 'Retry-After: 999999', { status => 403, headers => { 'retry-after' => '999999' }, body => { message => 'secondary rate limit' } } ],
	[ 'Retry-After: soon', { status => 429, headers => { 'retry-after' => 'soon' }, body => {} } ],
	[ 'Retry-After: 1970', { status => 429, headers => { 'retry-after' => 'Thu, 01 Jan 1970 00:00:00 GMT' }, body => {} } ],
	[ 'the primary limit with 200', { status => 200, headers => { 'x-ratelimit-remaining' => '0', 'x-ratelimit-reset' => 'soon' },
		body => { data => undef, errors => [ { type => 'RATE_LIMITED', message => 'API rate limit exceeded' } ] } } ],
	[ 'the primary limit with 403', { status => 403, headers => { 'x-ratelimit-remaining' => '0', 'x-ratelimit-reset' => 'soon' }, body => { message => 'API rate limit exceeded' } } ],
	[ 'a reset in the year 5138', { status => 403, headers => { 'x-ratelimit-remaining' => '0', 'x-ratelimit-reset' => '99999999999' }, body => { message => 'API rate limit exceeded' } } ],
	[ 'the secondary limit', { status => 403, headers => { 'retry-after' => '20' }, body => { message => 'You have exceeded a secondary rate limit' } } ])
{
	my ($what, $fault) = @$limit;
	$fault->{headers}{'x-ratelimit-reset'} = int(time) + 90 . '' if ($fault->{headers}{'x-ratelimit-reset'} // '') eq 'soon';
	set_faults({ match => { nth => 1 }, %$fault });
	start_sync();
	ok($node->poll_query_until('postgres', q{SELECT blocked_until > now() - interval '1 minute' AND blocked_until <= now() + interval '61 minutes'
		FROM keypup.connections JOIN keypup.accounts USING (account_id) WHERE accounts.name = 'acme'}), "$what: a pause of an hour at most");
	recovers($what);
}
# A page that was asked for before the limit was reached, and comes after it, does not end the pause.
set_faults({ match => { nth => 2 }, status => 429, headers => { 'retry-after' => '600' }, body => {} }, { match => { nth => 3 }, delay_ms => 1500 });
my $pages = query('SELECT sum(pages_stored) FROM keypup.worker_status');
start_sync();
wait_for_fault(1);
ok($node->poll_query_until('postgres', "SELECT sum(requests_in_flight) = 0 AND sum(pages_stored) > $pages FROM keypup.worker_status"), 'a page comes after the limit');
ok($node->poll_query_until('postgres', q{SELECT blocked_until > now() + interval '5 minutes' FROM keypup.connections JOIN keypup.accounts USING (account_id) WHERE accounts.name = 'acme'}), 'and the pause stays');
recovers('a pause with pages on the way');
# Slow-loris: a little now and then, as much as is just not too slow. Others do not wait for it. All replies about this repository come so, until
# the other account has its own.
set_faults({ match => { repository => $repository }, drip => { bytes => 150, ms => 1000 } });
start_sync();
cmp_ok(wait_for_fault(0), '>=', 1, 'a reply comes drop by drop');
query(q{SELECT keypup.track('beta', 'demo/other')});
ok($node->poll_query_until('postgres', q{SELECT phase = 'idle' FROM keypup.sync_status WHERE account = 'beta'}), 'another account\'s sync completes meanwhile');
is(query(q{SELECT phase FROM keypup.sync_status WHERE account = 'acme'}), 'backfill', 'while the drops still fall');
set_faults();
recovers('a reply that comes drop by drop');
is(query(q{SELECT count(*) FROM keypup.worker_status WHERE database = 'postgres'}), '1', 'the worker is there');

$node->stop;
my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|TRAP|segfault|signal 11|was terminated by/, 'nothing crashed');
unlike($log, qr/FAULTPROBE/, 'the log holds no token');
is(() = $log =~ /ERROR:  (?!the connection)/g, 0, 'and no error ended a worker') or diag(join("\n", ($log =~ /(ERROR:  .*)/g)[0 .. 5]));
done_testing();
