# Hostile and broken providers: each ends in one clear error in sync_status, with nothing half-stored,
# and the sync goes on when the provider is well again.
use strict;
use warnings;

use File::Temp qw(tempdir);
use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $token = 'ghp_HTTPPROBE0123456789';
my @small = ('--generate', 'demo/small:pulls=30,issues=20,seed=3');
my $github = start_github($token, @small);

# A certificate of another host, from an authority that is trusted.
my $other = start_github($token, @small);
my $work = tempdir(CLEANUP => 1);
append_to_file("$work/ext", "subjectAltName=DNS:elsewhere.example\n");
system_or_bail('sh', '-c', "cd '$work' && openssl req -newkey rsa:2048 -nodes -keyout key -out csr -subj /CN=elsewhere.example 2>/dev/null && "
	. "openssl x509 -req -in csr -CA '$github->{dir}/ca.pem' -CAkey '$github->{dir}/ca.key' -CAcreateserial -days 2 -extfile ext -out crt 2>/dev/null && "
	. "openssl req -x509 -newkey rsa:2048 -nodes -keyout self.key -out self.crt -subj /CN=localhost -addext subjectAltName=DNS:localhost -days 2 2>/dev/null");
my $misnamed = start_github($token, @small, '--cert', "$work/crt", '--key', "$work/key", '--ca', "$github->{dir}/ca.pem");
my $self_signed = start_github($token, @small, '--cert', "$work/self.crt", '--key', "$work/self.key", '--ca', "$github->{dir}/ca.pem");

# A proxy in the environment must see nothing: nobody listens there, so a request through it would fail.
$ENV{$_} = 'http://127.0.0.1:9' foreach qw(http_proxy https_proxy HTTPS_PROXY ALL_PROXY);
$ENV{SSLKEYLOGFILE} = "$work/tls_keys";

# Not preloaded: there is no worker, and CALL keypup.sync does all in the open.
my $node = new_server($github, "session_preload_libraries = 'keypup'");
$node->start;
delete $ENV{$_} foreach qw(http_proxy https_proxy HTTPS_PROXY ALL_PROXY SSLKEYLOGFILE);
sub query { return $node->safe_psql('postgres', $_[0]); }
query('CREATE EXTENSION keypup');
query(q{SELECT keypup.create_account('acme')});

sub connect_to
{
	my ($name, $url) = @_;
	query(qq{SELECT keypup.connect('acme', 'github', '$token', '$url', '$name'); SELECT keypup.track('acme', 'demo/small', '$name')});
}

my $project = '(SELECT project_id FROM keypup.projects JOIN keypup.connections USING (account_id, connection_id) WHERE connections.name = %s)';

sub sync_fails
{
	my ($name, $pattern, $hint, $what) = @_;
	my $which = sprintf($project, "'$name'");
	my $give_up = time + 180;
	my ($out, $error, $answer) = ('', '', '');
	# Some are asked about several times before it is an error, or one of this name.
	do
	{
		(my $code, $out, my $told) = $node->psql('postgres', q{SET statement_timeout = '120s'; CALL keypup.sync('acme', patience => '4 seconds')});
		$error .= $told;
		$answer = query("SELECT last_error || ' / ' || coalesce(last_error_hint, '') FROM keypup.sync_status WHERE project_id = $which");
	} until $answer =~ qr{$pattern.* / .*$hint}s || time > $give_up;
	like($answer, qr{$pattern.* / .*$hint}s, $what);
	unlike($error . $answer, qr/HTTPPROBE/, "$what: no token in what is said");
	is(query("SELECT (SELECT count(*) FROM keypup.pull_requests WHERE project_id = $which) + (SELECT count(*) FROM keypup.issues WHERE project_id = $which)"), '0', "$what: nothing is stored");
	unlike($error, qr/canceling statement/, "$what: it ends by itself");
	query("UPDATE keypup.connections SET state = 'new', blocked_until = NULL, refused_at = NULL, retry_at = NULL");
}

connect_to('misnamed', $misnamed->{url});
sync_fails('misnamed', 'certificate of "localhost" is not valid', 'ca_file', 'a certificate of another host is refused');
query(q{SELECT keypup.untrack('acme', 'demo/small')});
connect_to('self_signed', $self_signed->{url});
sync_fails('self_signed', 'certificate of "localhost" is not valid', 'ca_file', 'a self-signed certificate is refused');
query(q{SELECT keypup.untrack('acme', 'demo/small')});
foreach my $emulator ($misnamed, $self_signed)
{
	is(decode_json(control($emulator, 'counters'))->{requests}, 0, 'no request reached it');
}

connect_to('nowhere', 'https://localhost:1');
sync_fails('nowhere', 'could not connect to "localhost"', '', 'a closed port is named');
query(q{SELECT keypup.untrack('acme', 'demo/small')});

connect_to('github', $github->{url});

# The host is allowed when it is connected, and no longer when the request is made.
query(q{ALTER SYSTEM SET keypup.private_hosts = ''});
query('SELECT pg_reload_conf()');
$node->poll_query_until('postgres', q{SELECT current_setting('keypup.private_hosts') = ''});
sync_fails('github', 'host "localhost" has a private address', 'private_hosts', 'a private address is refused before any packet');
is(decode_json(control($github, 'counters'))->{requests}, 0, 'and so no request arrived');
query(q{ALTER SYSTEM RESET keypup.private_hosts});
query('SELECT pg_reload_conf()');
$node->poll_query_until('postgres', q{SELECT current_setting('keypup.private_hosts') = 'localhost'});

my $always = {};
foreach my $case (
	[ { raw => '<html>sign in</html>', content_type => 'text/html' }, 'the reply is not JSON', 'base_url', 'HTML instead of JSON is named' ],
	[ { status => 404, raw => 'nothing here' }, 'no GitHub API at the connection', 'base_url', 'a 404 is named' ],
	[ { status => 401, body => { message => 'Bad credentials' } }, 'GitHub refuses the token', 'replace_token', 'a 401 is named' ],
	[ { status => 302, headers => { location => $other->{url} . '/graphql' }, raw => '' }, 'redirects', 'address of the API', 'a redirect is not followed' ],
	[ { status => 403, headers => { 'retry-after' => '60' }, body => { message => 'secondary rate limit' } }, 'rate limit', 'goes on by itself', 'a secondary limit is a pause' ],
	[ { status => 429, headers => { 'retry-after' => '999999999999' }, body => {} }, 'rate limit', 'goes on by itself', 'an absurd Retry-After is a pause' ],
	[ { status => 500, raw => '' }, 'could not answer in time', '', 'a 500 is tried again' ],
	[ { drop => JSON::PP::true }, 'request failed|timed out|no TLS', '', 'a dropped connection is named' ],
	[ { drop_after_bytes => 100 }, 'request failed', '', 'a reply that breaks off is named' ],
	[ { bomb_bytes => 50_000_000 }, 'reply is larger than 2 MiB', '', 'a compressed bomb is stopped' ],
	[ { endless => JSON::PP::true }, 'reply is larger than 2 MiB|timed out', '', 'an endless reply is stopped' ],
	[ { raw => ('[' x 100000), content_type => 'application/json' }, 'nests too deep|is not JSON', '', 'a reply that nests too deep is refused' ],
	[ { body => { data => { repository => { id => 5, labels => 'x', pullRequests => [], issues => 7 } } } }, '.', '', 'a reply of the wrong types is refused' ],
	[ { body => { data => undef, errors => [ { message => 'no' } ] } }, 'GitHub says "no"', '', 'a refused query is named' ])
{
	my ($fault, $pattern, $hint, $what) = @$case;
	control($github, 'settings', { faults => [ { match => $always, %$fault } ] });
	sync_fails('github', $pattern, $hint, $what);
}
is(decode_json(control($other, 'counters'))->{requests}, 0, 'where the redirect led no request arrived');

# Well again, with some trouble on the way.
control($github, 'settings', { faults => [ { match => { every => 4 }, status => 502, raw => '<html>' } ] });
query(q{CALL keypup.sync('acme')});
control($github, 'settings', { faults => [] });
query(q{CALL keypup.sync('acme')});
is(query('SELECT count(*) FROM keypup.pull_requests'), '30', 'every pull request arrives in the end');
is(query('SELECT count(*) FROM keypup.issues'), '20', 'every issue arrives in the end');
is(query(q{SELECT last_error IS NULL AND phase = 'idle' FROM keypup.sync_status}), 't', 'and the error is gone');
ok(!-e "$work/tls_keys", 'no TLS key was written to a file');

# CALL in a transaction, and cancelled.
my ($code, $out, $error) = $node->psql('postgres', q{BEGIN; CALL keypup.sync('acme')});
like($error, qr/cannot run inside a transaction block/, 'CALL in a transaction is refused');
# Longer than a request may take, which is thirty seconds.
control($github, 'settings', { latency_ms => 60000 });
my $before = time;
($code, $out, $error) = $node->psql('postgres', q{SET statement_timeout = '1s'; CALL keypup.sync('acme')});
like($error, qr/canceling statement/, 'CALL can be cancelled');
cmp_ok(time - $before, '<', 20, 'without waiting for the answer');
is(query(q{SELECT count(*) FROM pg_locks WHERE locktype IN ('advisory', 'object') AND database <> 0}), '0', 'and its lease is given back');
control($github, 'settings', { latency_ms => 0 });
query(q{CALL keypup.sync('acme')});
is(query('SELECT count(*) FROM keypup.sync_jobs'), '0', 'the next CALL does what it left');

$node->stop;
unlike(slurp_file($node->logfile), qr/HTTPPROBE/, 'the log holds no token');
done_testing();
