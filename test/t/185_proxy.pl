# A company's proxy: listed hosts are asked through it and in no other way, all others never. TLS is end to end, the proxy
# sees who is asked and no more; its user and password are sealed, and its failures are told as its own.
# The proxy is Debian's tinyproxy, behind a relay that keeps every byte. Only it knows where rebind.example is.
use strict;
use warnings;

use File::Temp qw(tempdir);
use FindBin;
use IO::Socket::INET;
use JSON::PP;
use MIME::Base64;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $token = 'ghp_PROXYPROBE0123456789';
# Half of it would be decoded in a URL.
my $password = 'PASSPROBE%41:@/ ü';
my @small = ('--generate', 'demo/small:pulls=60,issues=40,seed=3');
my $github = start_github($token, @small);
my ($port) = $github->{url} =~ /:(\d+)/;
my $other = start_github($token, '--generate', 'demo/other:pulls=5,issues=5,seed=4', '--cert', "$github->{dir}/server.pem",
	'--key', "$github->{dir}/server.key", '--ca', "$github->{dir}/ca.pem");
my ($other_port) = $other->{url} =~ /:(\d+)/;

# A certificate for rebind.example, and one for every name that nobody trusts.
my $work = tempdir(CLEANUP => 1);
append_to_file("$work/named.ext", "subjectAltName=DNS:rebind.example\n");
system_or_bail('sh', '-c', "cd '$work' && openssl req -newkey rsa:2048 -nodes -keyout named.key -out named.csr -subj /CN=x 2>/dev/null && "
	. "openssl x509 -req -in named.csr -CA '$github->{dir}/ca.pem' -CAkey '$github->{dir}/ca.key' -CAcreateserial -days 2 -extfile named.ext -out named.crt 2>/dev/null && "
	. "openssl req -x509 -newkey rsa:2048 -nodes -keyout own.key -out own.crt -subj /CN=intercepting -days 2 "
	. "-addext 'subjectAltName=DNS:localhost,DNS:rebind.example,IP:127.0.0.1' 2>/dev/null");
my $hidden = start_github($token, '--generate', 'demo/hidden:pulls=60,issues=40,seed=5', '--cert', "$work/named.crt", '--key', "$work/named.key",
	'--ca', "$github->{dir}/ca.pem");
my ($hidden_port) = $hidden->{url} =~ /:(\d+)/;
my $hidden_url = "https://rebind.example:$hidden_port";

system_or_bail('cc', '-shared', '-fPIC', '-O1', '-o', "$work/rebind.so", "$FindBin::RealBin/../attack/rebind.c", '-ldl');
append_to_file("$work/rebind", "127.0.0.1\n");
my $user_and_password = 'joe ' . 'hunter2PASSPROBE';
my ($proxy, $guarded);
{
	local %ENV = (%ENV, LD_PRELOAD => "$work/rebind.so", REBIND_FILE => "$work/rebind");
	$proxy = start_tinyproxy();
	plan skip_all => 'tinyproxy is not here' unless $proxy;
	$guarded = start_tinyproxy(BasicAuth => $user_and_password);
}
my $narrow = start_tinyproxy(ConnectPort => 443);
my $relay = KeypupTest::start_node('test/lib/relay.mjs', '--record', '--to', $proxy->{port});
my $guarded_relay = KeypupTest::start_node('test/lib/relay.mjs', '--record', '--to', $guarded->{port});
my $bad = KeypupTest::start_node('test/lib/hostile_proxy.mjs', '--cert', "$work/own.crt", '--key', "$work/own.key");

# What the environment says of proxies counts for nothing: nobody listens there, and nothing is exempt.
$ENV{$_} = 'http://127.0.0.1:9' foreach qw(http_proxy https_proxy HTTPS_PROXY ALL_PROXY all_proxy);
$ENV{$_} = '*' foreach qw(no_proxy NO_PROXY);
# Not preloaded: there is no worker at first, and CALL keypup.sync does all in the open.
my $node = new_server($github, "session_preload_libraries = 'keypup'");
$node->start;
delete $ENV{$_} foreach qw(http_proxy https_proxy HTTPS_PROXY ALL_PROXY all_proxy no_proxy NO_PROXY);
sub query { return $node->safe_psql('postgres', $_[0]); }
sub fails { return ($node->psql('postgres', $_[0]))[2]; }

sub set
{
	my (%settings) = @_;
	query(join '; ', (map { qq{ALTER SYSTEM SET "keypup.$_" = } . literal($settings{$_}) } sort keys %settings), 'SELECT pg_reload_conf()');
	$node->poll_query_until('postgres', join ' AND ', q{SELECT true}, map { "current_setting('keypup.$_') = " . literal($settings{$_}) } sort keys %settings) or die;
}
sub counters { return decode_json(control($_[0], 'counters')); }
# Which hosts a proxy was asked for, each once; its log is there before its answer.
sub asked_for { my %hosts = map { $_ => 1 } slurp_file($_[0]->{log}) =~ /CONNECT (\S+) HTTP/g; return join ' ', sort keys %hosts; }
sub connects { return scalar(() = slurp_file($_[0]->{log}) =~ /CONNECT (\S+) HTTP/g); }

query('CREATE EXTENSION keypup');

# The settings: what cannot be meant is refused, and not repeated.
foreach my $value ("http://joe:SETTINGPROBE\@proxy.example:3128", "http://joe\@SETTINGPROBE.example:3128", 'http://SETTINGPROBE.example', 'SETTINGPROBE.example:3128', 'SETTINGPROBE',
	'socks5://SETTINGPROBE.example:1080', 'ftp://SETTINGPROBE.example:21', 'http://SETTINGPROBE.example:3128/path', 'http://SETTINGPROBE.example:3128/?x=y', 'http://SETTINGPROBE.example:3128#x',
	'http://SETTINGPROBE.example:99999', 'http://SETTINGPROBE.example:port', "http://SETTINGPROBE.example:3128\\r\\nX: y", 'http:///SETTINGPROBE:1', ' http://SETTINGPROBE.example:3128', 'http://:3128')
{
	my $error = fails("ALTER SYSTEM SET keypup.proxy = E'$value'");
	like($error, qr/ERROR:  invalid value for parameter "keypup.proxy"\nDETAIL:  It /, 'a proxy that cannot be meant is refused') or diag($value);
	unlike($error =~ s/^LINE.*//msr, qr/SETTINGPROBE/, 'and not repeated');
}
like(fails(q{ALTER SYSTEM SET keypup.proxy = 'http://joe:x@h:1'}), qr/user name or password.*set_proxy_credentials/s, 'it says where a password goes');
foreach my $value ('*.example.com', 'https://api.github.com', 'api.github.com/', 'joe@api.github.com', '.example.com', 'a..b', 'a.', 'api.github.com:', 'api.github.com:https', 'api.github.com:0443',
	'api.github.com:99999', '127.1', '[::1', '[0:0::1]', ':443', 'a,b,*')
{
	like(fails("ALTER SYSTEM SET keypup.proxy_hosts = '$value'"), qr/ERROR:  invalid value for parameter "keypup.proxy_hosts"\nDETAIL:  Each entry/, "a list with \"$value\" is refused");
}
set(proxy => 'https://[::1]:8443', proxy_hosts => 'api.github.com, GHE.example:8443,[::1]:443 127.0.0.1');
set(proxy => "http://127.0.0.1:$relay->{port}", proxy_hosts => "rebind.example, localhost:$port,[::1]");

# Who may do it.
query(q{SELECT keypup.create_account('acme'); CREATE ROLE olga LOGIN; SELECT keypup.add_member('acme', 'olga', 'owner')});
like(as_role($node, 'olga', q{SELECT keypup.set_proxy_credentials('a', 'b')}), qr/permission denied/, 'an owner may not set the credentials of the proxy');
like(as_role($node, 'olga', 'SELECT * FROM keypup.proxy_credentials'), qr/permission denied/, 'nor read them sealed');
like(as_role($node, 'olga', 'SHOW keypup.proxy'), qr/permission denied|must be superuser/, 'nor see the proxy');
like(fails(q{SELECT keypup.set_proxy_credentials('joe', NULL)}), qr/a user and a password are needed/, 'a user without a password is refused');
foreach my $case ([ 'a:b', 'CREDPROBE' ], [ '', 'CREDPROBE' ], [ "a\nb", 'CREDPROBE' ], [ 'a', "CREDPROBE\r\nX: y" ], [ 'a', 'CREDPROBE' x 500 ])
{
	my $error = fails('SELECT keypup.set_proxy_credentials(' . join(', ', map { literal($_) } @$case) . ')');
	like($error, qr/user or password is malformed/, 'what no header can hold is refused');
	unlike($error =~ s/^(?:LINE|STATEMENT).*//msr, qr/CREDPROBE/, 'and not repeated');
}

sub connect_to
{
	my ($name, $url, $project) = @_;
	query(qq{SELECT keypup.connect('acme', 'github', '$token', '$url', '$name'); SELECT keypup.track('acme', '$project', '$name')});
}

# Syncs, at this address when one is given, though it has failed before; returns what sync_status says.
sub sync_says
{
	my ($url) = @_;
	my $new_url = defined $url ? 'base_url = ' . literal($url) . ',' : '';
	my ($code, $out, $error) = $node->psql('postgres', qq{UPDATE keypup.connections SET $new_url state = 'new', blocked_until = NULL, refused_at = NULL, retry_at = NULL; UPDATE keypup.sync_state SET last_error = NULL, last_error_hint = NULL;
		DELETE FROM keypup.sync_jobs;
		INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, attempts) SELECT account_id, connection_id, project_id, 'repository', 8 FROM keypup.projects;
		SELECT 'prepared'; SET statement_timeout = '90s'; CALL keypup.sync('acme'); SELECT concat_ws(' / ', last_error, last_error_hint) FROM keypup.sync_status}, on_error_stop => 0);
	$out =~ s/^prepared\n?// or die $error;
	return $out;
}

# The whole sync, by CALL, of a host that this server knows nothing of.
connect_to('hidden', $hidden_url, 'demo/hidden');
is(sync_says(), '', 'a host that only the proxy can look up is read through it');
is(differences($node, $hidden, 'demo/hidden'), '', 'and is the provider\'s');
is(asked_for($proxy), "rebind.example:$hidden_port", 'the proxy was asked to CONNECT there, and nowhere else');
my $seen = counters($hidden);
cmp_ok($seen->{requests}, '>', 5, 'the provider saw the requests');
is($seen->{http2}, 0, 'none of them over HTTP/2, of which copies of the token would stay in the session\'s memory');
is($seen->{proxy_headers}, 0, 'none with a header for the proxy');
cmp_ok(connects($proxy), '<=', 33, 'not more connections than requests may be in flight');
my $bytes = control($relay, 'bytes');
like($bytes, qr/^CONNECT rebind\.example:$hidden_port HTTP\/1\.1\r\nHost: rebind\.example:$hidden_port\r\n/, 'the proxy was told the host');
like($bytes, qr/^User-Agent: keypup\//m, 'and who asks');
unlike($bytes, qr/^(?:Proxy-)?Authorization:/mi, 'but got no token, and no credentials, as there are none');
unlike($bytes, qr/PROXYPROBE|graphql|demo.hidden/i, 'nothing of the requests is in the clear');

# The same host by another spelling takes the same way.
foreach my $host ('REBIND.example', 'rebind.example.')
{
	my $before = connects($proxy);
	is(sync_says("https://$host:$hidden_port"), '', "$host is read");
	cmp_ok(connects($proxy), '>', $before, 'through the proxy');
}
query(q{SELECT keypup.untrack('acme', 'demo/hidden'); DELETE FROM keypup.connections});

# Beside it one that is not on the list, of which the proxy hears nothing; though it listens where the other one does.
connect_to('other', $other->{url}, 'demo/other');
is(sync_says(), '', 'a host that is not on the list is read');
is(differences($node, $other, 'demo/other'), '', 'and is the provider\'s');
unlike(asked_for($proxy), qr/localhost/, 'directly');
query(q{SELECT keypup.untrack('acme', 'demo/other'); DELETE FROM keypup.connections});

connect_to('github', $github->{url}, 'demo/small');
is(sync_says(), '', 'HOST:PORT on the list is read');
like(asked_for($proxy), qr/\blocalhost:$port\b/, 'through the proxy');
is(differences($node, $github, 'demo/small'), '', 'and is the provider\'s');
control($github, 'counters/reset', {});
my $connected = connects($proxy);
sync_says("https://[::1]:$port");
is(connects($proxy), $connected, 'a literal address on the list is not asked through the proxy unless keypup.private_hosts has it');
set(private_hosts => 'localhost,[::1]');
sync_says("https://[::1]:$port");
like(asked_for($proxy), qr/\[::1\]:$port\b/, 'and then it is');
set(private_hosts => 'localhost');

# A failure is told, as the proxy's; and the host, which could be reached, is not asked directly.
sub fails_by_proxy
{
	my ($settings, $pattern, $what, $url) = @_;
	my $before = time;
	set(%$settings);
	control($github, 'counters/reset', {});
	my $said = sync_says($url // $github->{url});
	like($said, $pattern, $what);
	unlike($said, qr/PASSPROBE|PROXYPROBE|127\.0\.0\.1|$relay->{port}|$guarded_relay->{port}/, "$what: neither a secret nor the proxy is named");
	is(counters($github)->{requests}, 0, "$what: the host got no request");
	# A CALL would be cancelled after ninety seconds.
	cmp_ok(time - $before, '<', 85, "$what: soon");
	return $said;
}
# A port that is taken, and at which nobody listens.
my $taken = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Proto => 'tcp') or die;
my $free = $taken->sockport;
fails_by_proxy({ proxy => "http://127.0.0.1:$free" }, qr/^could not connect to the proxy \/ Check keypup.proxy\. .*not asked directly/, 'a proxy that is down');
fails_by_proxy({ proxy => "http://proxy.invalid:$free" }, qr/^the proxy's name is not known \/ /, 'a proxy that has no address');
fails_by_proxy({ proxy => '' }, qr/^the host is on keypup.proxy_hosts, but there is no proxy \/ A superuser/, 'a proxy that is not set');
fails_by_proxy({ proxy => "http://127.0.0.1:$narrow->{port}" }, qr/^the proxy refuses connections to "localhost" \(403\) \/ It must allow CONNECT to localhost:$port\./, 'a proxy that refuses the host');
set(proxy_hosts => "rebind.example, localhost");
fails_by_proxy({ proxy => "http://127.0.0.1:$relay->{port}" }, qr/^the proxy could not connect to "localhost" \(5\d\d\)/, 'a host that the proxy cannot reach', "https://localhost:$free");
fails_by_proxy({ proxy => "https://localhost:$relay->{port}" }, qr/^(?:no TLS connection to the proxy|the proxy did not answer in time) \/ /, 'https where the proxy does not speak it');
fails_by_proxy({ proxy => "http://127.0.0.1:$other_port" }, qr/^the proxy/, 'a proxy that is none');

# Its credentials.
fails_by_proxy({ proxy => "http://127.0.0.1:$guarded_relay->{port}" }, qr/^the proxy asks for a user and a password \(407\) \/ A superuser sets them with keypup.set_proxy_credentials/, 'no credentials');
query('SELECT keypup.set_proxy_credentials(' . literal('joe') . ', ' . literal($password) . ')');
fails_by_proxy({}, qr/^the proxy refuses the user and password \(40[17]\) \/ /, 'wrong credentials');
my $sent = encode_base64("joe:$password", '');
like(control($guarded_relay, 'bytes'), qr/^Proxy-Authorization: Basic \Q$sent\E\r$/m, 'they are sent as they are');
query(q{SELECT keypup.set_proxy_credentials('joe', 'hunter2PASSPROBE')});
control($guarded_relay, 'forget', {});
control($github, 'counters/reset', {});
is(sync_says(), '', 'with the right ones it is read');
$seen = counters($github);
cmp_ok($seen->{requests}, '>', 1, 'the provider saw the requests');
is($seen->{proxy_headers}, 0, 'none with a header for the proxy');
$bytes = control($guarded_relay, 'bytes');
$sent = encode_base64('joe:hunter2PASSPROBE', '');
like($bytes, qr/^Proxy-Authorization: Basic \Q$sent\E\r$/m, 'the proxy got them');
unlike($bytes, qr/^Authorization:/mi, 'and no other header to sign in with');
unlike($bytes, qr/PROXYPROBE|graphql/i, 'nothing of the requests is in the clear');
my $calls = connects($guarded);
query(q{INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind) SELECT account_id, connection_id, project_id, 'repository' FROM keypup.projects});
is(as_role($node, 'olga', q{CALL keypup.sync('acme')}), '', 'an owner syncs');
cmp_ok(connects($guarded), '>', $calls, 'through the proxy, too');
is(query('SELECT last_error FROM keypup.sync_status'), '', 'as the credentials are opened for the request');
my $direct = counters($other)->{requests};
query(q{SELECT keypup.connect('acme', 'github', 'ghp_unlisted0123', 'https://localhost:1', 'unlisted')});
set(proxy_hosts => "localhost:$port");
control($guarded_relay, 'forget', {});
sync_says($other->{url});
cmp_ok(counters($other)->{requests}, '>', $direct, 'a host that is not on the list is asked directly');
is(control($guarded_relay, 'bytes'), '', 'and the proxy gets no credentials, nor anything else');
is(counters($other)->{proxy_headers}, 0, 'nor does that host');
query(q{DELETE FROM keypup.connections WHERE name = 'unlisted'});

# The sealed record.
query('CREATE TABLE kept AS SELECT envelope FROM keypup.proxy_credentials');
query(q{SELECT keypup.set_proxy_credentials('joe', 'hunter2PASSPROBE')});
query(q{CREATE TABLE fresh AS SELECT envelope FROM keypup.proxy_credentials; UPDATE keypup.proxy_credentials SET envelope = kept.envelope FROM kept});
fails_by_proxy({}, qr/^the user and password of the proxy cannot be opened \/ .*log/, 'an envelope of before that is put back');
query(q{UPDATE keypup.proxy_credentials SET envelope = fresh.envelope FROM fresh});
is(sync_says(), '', 'the one that belongs there opens');

# A proxy that intercepts TLS is not believed, whatever it shows.
control($bad, 'set', { head => "HTTP/1.1 200 Connection established\r\n\r\n", intercept => JSON::PP::true });
fails_by_proxy({ proxy => "http://127.0.0.1:$bad->{port}" }, qr/^certificate of "localhost" is not valid: .* \/ .*proxy intercepts TLS/, 'a proxy that intercepts TLS');
is(counters($bad)->{heard}, '', 'it heard nothing');

# Answers to CONNECT that no proxy should give: nothing of them is taken for the host's.
foreach my $case (
	[ 'nothing', { head => '', end => JSON::PP::true } ],
	[ 'silence', { head => '' } ],
	[ 'no HTTP', { head => "220 mail.example ESMTP\r\n", end => JSON::PP::true } ],
	[ 'headers without end', { head => "HTTP/1.1 200 OK\r\n", times => 200_000, tail => 'x-a: ' . ('a' x 1000) . "\r\n" } ],
	[ 'one header without end', { head => "HTTP/1.1 200 OK\r\nx-a: ", times => 200_000, tail => 'a' x 1000 } ],
	[ 'a refusal with a body without end', { head => "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 1000000000000\r\n\r\n", times => 200_000, tail => ' ' x 1000 } ],
	[ 'a refusal in chunks without end', { head => "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n", times => 200_000, tail => "400\r\n" . (' ' x 1024) . "\r\n" } ],
	[ 'interim answers without end', { head => '', times => 200_000, tail => "HTTP/1.1 103 Early Hints\r\n\r\n" } ],
	[ 'a redirect', { head => "HTTP/1.1 302 Found\r\nLocation: $github->{url}/graphql\r\nContent-Length: 0\r\n\r\n", end => JSON::PP::true } ],
	[ 'another way of signing in', { head => "HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n" } ],
	[ 'an answer in the host\'s place', { head => "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Limit: 1\r\nX-RateLimit-Reset: 99999999999\r\n"
		. "Retry-After: 3600\r\nContent-Length: 12\r\n\r\n{\"data\": {}}", end => JSON::PP::true } ])
{
	my ($what, $answer) = @$case;
	control($bad, 'set', $answer);
	my $said = fails_by_proxy({}, qr/proxy|TLS/, $what);
	cmp_ok(length($said), '<', 300, "$what: in few words");
	is(query('SELECT count(*) FROM keypup.connections WHERE blocked_until IS NULL AND rate_limit IS DISTINCT FROM 1'), '1', "$what: is no word of the provider's");
}
set(proxy => "http://127.0.0.1:$guarded_relay->{port}");
is(sync_says(), '', 'through a good one it is read again');

# What it holds of an answer without end.
my $session = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $session->query('SELECT pg_backend_pid()');
sub peak { my ($kilobytes) = slurp_file("/proc/$pid/status") =~ /^VmHWM:\s+(\d+)/m; return $kilobytes; }
query(q{DELETE FROM keypup.sync_jobs; INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind) SELECT account_id, connection_id, project_id, 'repository' FROM keypup.projects});
$session->query(q{CALL keypup.sync('acme')});
my $peak = peak();
control($bad, 'set', { head => "HTTP/1.1 200 OK\r\n", times => 400_000, tail => 'x-a: ' . ('a' x 1000) . "\r\n" });
set(proxy => "http://127.0.0.1:$bad->{port}");
query(q{DELETE FROM keypup.sync_jobs; INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, attempts) SELECT account_id, connection_id, project_id, 'repository', 8 FROM keypup.projects});
$session->query(q{CALL keypup.sync('acme')});
cmp_ok(peak() - $peak, '<', 8 * 1024, 'headers of CONNECT without end take no memory') or diag("$peak kB before");
$session->quit;

# A proxy that speaks TLS itself: only who is behind it sees what it is asked.
my $tls = KeypupTest::start_node('test/lib/relay.mjs', '--to', $guarded->{port}, '--cert', "$github->{dir}/server.pem", '--key', "$github->{dir}/server.key");
my $wire = KeypupTest::start_node('test/lib/relay.mjs', '--record', '--to', $tls->{port});
fails_by_proxy({ proxy => "https://localhost:$wire->{port}" }, qr/^the certificate of the proxy is not valid \/ Check keypup.proxy_ca_file/, 'a proxy whose certificate nobody vouches for');
fails_by_proxy({ proxy_ca_file => "$work/own.crt" }, qr/^the certificate of the proxy is not valid \/ Check keypup.proxy_ca_file/, 'a proxy whose certificate another one vouches for');
fails_by_proxy({ proxy_ca_file => "$work/none" }, qr/^the file of certificate authorities for the proxy cannot be used/, 'a file of authorities that is not there');
set(proxy_ca_file => "$github->{dir}/ca.pem");
control($wire, 'forget', {});
is(sync_says(), '', 'with its authority it is read');
$bytes = control($wire, 'bytes');
cmp_ok(length($bytes), '>', 1000, 'something went over the wire');
unlike($bytes, qr/CONNECT|Proxy-Authorization|PROBE|\Q$sent\E/, 'and nothing of it is in the clear');
set(proxy_hosts => "rebind.example:$hidden_port");
my ($ca) = query('SHOW keypup.ca_file');
fails_by_proxy({ ca_file => "$work/own.crt", proxy_hosts => "localhost" }, qr/^(?:certificate of|no TLS connection to) "localhost".* \/ .*proxy intercepts/, 'what vouches for the proxy does not vouch for the host');
set(ca_file => $ca, proxy => "http://127.0.0.1:$guarded_relay->{port}", proxy_ca_file => '');

# By the worker: keys rotate, and the proxy is asked on.
my $before = connects($guarded);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'keypup'\nkeypup.sync_interval = '1s'\n");
$node->restart;
sub becomes { return $node->poll_query_until('postgres', $_[0]); }
query(q{UPDATE keypup.connections SET state = 'new', blocked_until = NULL, refused_at = NULL, retry_at = NULL; DELETE FROM keypup.sync_jobs;
	UPDATE keypup.sync_state SET next_run_at = now(), phase = 'idle', last_error = NULL, last_error_hint = NULL});
control($github, 'change', { repository => 'demo/small', change => 'comment' });
ok(becomes(q{SELECT phase = 'idle' AND last_error IS NULL AND last_run_finished_at > (SELECT pg_postmaster_start_time()) FROM keypup.sync_status}), 'the worker reads through the proxy') or diag(query('TABLE keypup.sync_status'));
cmp_ok(connects($guarded), '>', $before, 'through that one');
is(query(q{SELECT string_agg(project, ' ' ORDER BY project) FROM keypup.discover('acme')}), 'demo/small', 'what could be tracked is asked for through it, too');
my $keys = q{FROM keypup.key_status WHERE account_id = '00000000-0000-0000-0000-000000000000'};
is(query("SELECT records, state, account $keys"), '1|active|', 'key_status counts the record');
my $old = query("SELECT key_id $keys");
query('SELECT keypup.rotate_keys()');
ok(becomes("SELECT bool_and(records = CASE state WHEN 'active' THEN 1 ELSE 0 END) AND count(*) = 2 $keys"), 'it is sealed again');
query("SELECT keypup.destroy_key($old)");
query('UPDATE keypup.proxy_credentials SET envelope = fresh.envelope FROM fresh');
like(fails("SELECT keypup.destroy_key(key_id) $keys AND state = 'active'"), qr/is active/, 'the key that seals it stays');
ok(becomes(q{SELECT last_error = 'the user and password of the proxy cannot be opened' FROM keypup.sync_status}), 'an envelope from before the rotation does not open');
query(q{SELECT keypup.set_proxy_credentials('joe', 'hunter2PASSPROBE')});
query(q{UPDATE keypup.sync_jobs SET due_at = now()});
ok(becomes(q{SELECT phase = 'idle' AND last_error IS NULL FROM keypup.sync_status}), 'set again they do');
$old = query('SELECT key_id FROM keypup.proxy_credentials');
like(fails("BEGIN; SELECT keypup.rotate_keys(); SELECT keypup.destroy_key($old)"), qr/1 tokens are sealed with data key $old/, 'a key that seals it is not destroyed');
query('SELECT keypup.rotate_keys()');
ok(becomes("SELECT sum(records) FILTER (WHERE state = 'active') = 1 AND sum(records) = 1 $keys"), 'it is sealed again');

# Nowhere in the clear: as text, in hexadecimal, in base64.
my $forms = join '|', map { ($_, unpack('H*', $_)) } 'PASSPROBE', substr($sent, 4, 16), 'CREDPROBE';
query('CHECKPOINT');
my ($dump) = run_command([ 'pg_dump', '-h', $node->host, '-p', $node->port, 'postgres' ]);
like($dump, qr/COPY keypup\.proxy_credentials/, 'a dump has the sealed record');
unlike($dump, qr/$forms/i, 'and no password');
my @relations = split /\n/, query(q{SELECT oid::regclass FROM pg_class WHERE (relkind IN ('r', 'm') AND relnamespace <> 'information_schema'::regnamespace)
	OR (relkind = 'v' AND relnamespace = 'pg_catalog'::regnamespace AND relname NOT IN ('pg_stat_activity', 'pg_backend_memory_contexts'))}); # both show this very question
cmp_ok(scalar(@relations), '>', 100, 'all relations are looked at');
is(query(join ' UNION ALL ', map { "SELECT '$_' FROM $_ r WHERE r::text ~* '$forms'" } @relations), '', 'no table and no statistic shows them');
is(query(q{SELECT string_agg(detail, ', ' ORDER BY record_id) FROM (SELECT DISTINCT ON (detail) * FROM keypup.audit_log WHERE action = 'proxy.credentials') a}), 'set', 'the audit log has that they were set');
query('SELECT keypup.set_proxy_credentials(NULL, NULL)');
is(query('SELECT count(*) FROM keypup.proxy_credentials WHERE envelope IS NOT NULL'), '0', 'they can be taken away');
query(q{UPDATE keypup.sync_jobs SET due_at = now()});
ok(becomes(q{SELECT last_error = 'the proxy asks for a user and a password (407)' FROM keypup.sync_status}), 'and are not sent any more');
query('DROP TABLE fresh, kept');
$node->stop;
my ($found) = run_command([ 'grep', '-rlaiE', $forms, $node->data_dir ]);
is($found, '', 'no file of the server has them');
unlike(slurp_file($node->logfile) =~ s/^.*(?:STATEMENT|ERROR:  syntax).*(?:\n\t.*)*//mgr, qr/$forms/i, 'the log does not');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|segfault|signal 11/, 'nothing crashed');
done_testing();
