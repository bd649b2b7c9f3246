# Who names a base URL, and who answers there, may be hostile: no request goes to an address of the server's own network, no token
# to another host, and none over TLS that is not checked. 030_http.pl has certificates of other names and of nobody, and proxies
# that the environment names; 185_proxy.pl has the operator's own. Here one is set all the time, and must not hear of anything.
use strict;
use warnings;

use File::Temp qw(tempdir);
use FindBin;
use IO::Select;
use IO::Socket::IP;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $token = 'ghp_ATTACKPROBE0123456789';
my @small = ('--generate', 'demo/small:pulls=10,issues=5,seed=3');
my $github = start_github($token, @small);
my $evil = start_github($token, @small);
my $node = new_server($github, "session_preload_libraries = 'keypup'");
# One name, rebind.example, means to this server what stands in a file.
my $rebind = "$github->{dir}/rebind";
system_or_bail('cc', '-shared', '-fPIC', '-O1', '-o', "$rebind.so", "$FindBin::RealBin/../attack/rebind.c", '-ldl');
sub set_address { open my $handle, '>', $rebind or die; print $handle "$_[0]\n"; close $handle; return; }
{
	local %ENV = (%ENV, LD_PRELOAD => "$rebind.so", REBIND_FILE => $rebind);
	$node->start;
}
sub query { return $node->safe_psql('postgres', $_[0]); }
sub allow
{
	query("ALTER SYSTEM SET keypup.private_hosts = '$_[0]'; SELECT pg_reload_conf()");
	$node->poll_query_until('postgres', "SELECT current_setting('keypup.private_hosts') = '$_[0]'") or die;
}
query('CREATE EXTENSION keypup');
my $proxy = IO::Socket::IP->new(LocalHost => '127.0.0.1', LocalPort => 0, Listen => 50, Proto => 'tcp') or die;
my $proxy_port = $proxy->sockport;
my $proxy_select = IO::Select->new($proxy);
sub proxy_heard { my $count = 0; while ($proxy_select->can_read(0)) { $proxy->accept; $count++; } return $count; }
sub list_proxy_hosts
{
	query("ALTER SYSTEM SET keypup.proxy = 'http://127.0.0.1:$proxy_port'; ALTER SYSTEM SET keypup.proxy_hosts = '$_[0]'; SELECT pg_reload_conf()");
	$node->poll_query_until('postgres', "SELECT current_setting('keypup.proxy_hosts') = '$_[0]'") or die;
}
list_proxy_hosts('api.github.com');
query(q{SELECT keypup.create_account('acme')});
query(qq{SELECT keypup.connect('acme', 'github', '$token', '$github->{url}'); SELECT keypup.track('acme', 'demo/small')});

# Asks at an address, as a superuser's forged row or an older version's has it; returns what sync_status says.
sub ask_at
{
	my ($url) = @_;
	my $literal = ($url =~ /\\/ ? 'E' : '') . literal($url);
	my ($code, $out, $error) = $node->psql('postgres', qq{UPDATE keypup.connections SET base_url = $literal, state = 'new', blocked_until = NULL, refused_at = NULL, retry_at = NULL; UPDATE keypup.sync_state SET last_error = NULL;
		DELETE FROM keypup.sync_jobs;
		-- It has failed often: CALL does not wait for the next try.
		INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, attempts) SELECT account_id, connection_id, project_id, 'repository', 8 FROM keypup.projects RETURNING 'prepared';
		SET statement_timeout = '90s'; CALL keypup.sync('acme'); SELECT last_error FROM keypup.sync_status}, on_error_stop => 0);
	$out =~ s/^prepared\n?// or die $error;
	return $out;
}

# Whoever listens here shall hear nothing.
my @listeners = map { IO::Socket::IP->new(LocalHost => $_->[0], LocalPort => 0, Listen => 50, Proto => 'tcp', V6Only => $_->[1]) // () } [ '0.0.0.0', 0 ], [ '::', 1 ];
my $select = IO::Select->new(@listeners);
sub heard { my $count = 0; while (my @ready = $select->can_read(0)) { foreach (@ready) { $_->accept; $count++; } } return $count; }
my $port = $listeners[0]->sockport;
IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => $port, Proto => 'tcp') or die;
is(heard(), 1, 'the listener hears what is said to it');
my $port6 = @listeners > 1 ? $listeners[1]->sockport : $port;

allow('');
foreach my $host ('127.1', '0x7f000001', '2130706433', '017700000001', '0.0.0.0', '0', 'localhost', 'localhost.', 'LOCALHOST', 'a.localhost', '127.0.0.1', '127.000.000.1',
	'[::1]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[::]', '[0:0:0:0:0:0:0:1]', '[::127.0.0.1]', '[64:ff9b::7f00:1]', '[2002:7f00:1::]', '[fd00:ec2::254]', '[fe80::1]',
	'169.254.169.254', '10.0.0.1', '172.16.0.1', '192.168.0.1', '100.64.0.1', '224.0.0.1', '255.255.255.255')
{
	my $url = "https://$host:" . ($host =~ /^\[/ ? $port6 : $port);
	my ($code, $out, $error) = $node->psql('postgres', qq{SELECT keypup.connect('acme', 'github', '$token', '$url', 'other')});
	like($error, qr/base URL cannot be used: /, "$host is refused as base_url");
	# Were it in the table nevertheless, no connection would be opened.
	like(ask_at($url), qr/private|not a URL|libcurl|could not|address|certificate authority|not known/i, "and is not asked") or diag(query('SELECT last_error FROM keypup.sync_status'));
	is(heard(), 0, 'the listener hears nothing');
}
foreach my $url ("https://api.github.com\@127.0.0.1:$port/", "https://user:secret\@localhost:$port", "https://localhost:$port/?x=1", "https://localhost:$port/#x",
	"http://localhost:$port", "http://api.github.com", "file:///etc/passwd", "gopher://localhost:$port/_x", "ftp://localhost:$port", "dict://localhost:$port", "ldap://localhost:$port",
	"scp://localhost:$port/x", '//api.github.com', 'api.github.com', '', ' ', "https://api.github.com\\r\\nHost: evil", "https://api.github.com/\\nx", "https://api.github.com\\t",
	"https://api.github.com%0d%0aHost:%20evil", "https://api.github.com/%00", "https://api.github.com:99999", 'https://', "https://127.0.0.1%2f\@api.github.com", "https://b\xc3\xbccher.example")
{
	(my $shown = $url) =~ s/[^ -~]/?/g;
	foreach my $hosts ('', 'localhost,127.0.0.1')
	{
		next if $hosts ne '' && $url !~ /localhost|127\.0/;
		allow($hosts);
		my ($code, $out, $error) = $node->psql('postgres', qq{SELECT keypup.connect('acme', 'github', '$token', E'$url', 'other')});
		like($error, qr/base URL cannot be used: /, "\"$shown\" is refused as base_url" . ($hosts ? ', even where the host is allowed' : ''));
		unlike($error, qr/secret|ATTACKPROBE/, 'and nothing of it is repeated');
	}
	allow('localhost,127.0.0.1');
	ask_at($url) if $url =~ /localhost|127\.0/ && $url !~ /[?#]/;
	is(heard(), 0, 'the listener hears nothing');
}
is(query(q{SELECT count(*) FROM keypup.connections}), '1', 'none was stored');

# A name that means something else each time that it is looked up. Where the operator lists it, the server asks there, and minds the certificate.
my ($evil_port) = $evil->{url} =~ /:([0-9]+)/;
allow('rebind.example');
set_address('127.0.0.1');
like(ask_at("https://rebind.example:$evil_port"), qr/certificate/, 'a name of the own network is asked where it is listed');
allow('');
foreach my $address ('127.0.0.1', '10.0.0.1', '169.254.169.254', '::1', '::ffff:127.0.0.1', 'fd00:ec2::254')
{
	set_address($address);
	like(ask_at("https://rebind.example:$evil_port"), qr/private/, "a name that comes to mean $address is not asked");
}
set_address('127.0.0.1');
ask_at("https://rebind.example:$port");
is(heard(), 0, 'the listener hears nothing');

is(proxy_heard(), 0, 'the proxy, which is set for another host, hears nothing of all this');

# The proxy's address is no exception for others, be it asked for by number or by name.
set_address('127.0.0.1');
foreach my $host ('127.0.0.1', 'localhost', 'rebind.example')
{
	like(ask_at("https://$host:$proxy_port"), qr/private/, "the proxy itself is not asked as $host");
}
is(proxy_heard(), 0, 'and hears nothing');

# What can be told by its name to be private is not asked through the proxy either, though somebody put it on the list.
list_proxy_hosts('localhost,169.254.169.254,10.0.0.1,127.0.0.1,[::1],[fd00:ec2::254],a.localhost');
foreach my $host ('localhost', '169.254.169.254', '10.0.0.1', '127.0.0.1', '127.1', '[::1]', '[fd00:ec2::254]', 'a.localhost')
{
	my ($code, $out, $error) = $node->psql('postgres', qq{SELECT keypup.connect('acme', 'github', '$token', 'https://$host', 'other')});
	like($error, qr/base URL cannot be used: its host is in a private network/, "$host is refused as base_url, though it is listed for the proxy");
	like(ask_at("https://$host"), qr/private address/, 'and is not asked');
}
is(proxy_heard(), 0, 'the proxy hears nothing');
list_proxy_hosts('api.github.com');

# Redirects: wherever they lead, nobody hears of it.
allow('localhost');
control($evil, 'counters/reset', {});
foreach my $status (301, 302, 303, 307, 308, 300, 304)
{
	foreach my $location ("$evil->{url}/graphql", "http://localhost:$port/graphql", "https://api.github.com\@localhost:$port/", "//localhost:$port/", "file:///etc/passwd")
	{
		control($github, 'settings', { faults => [ { match => {}, status => $status, headers => { location => $location, refresh => "0; url=$location" }, raw => '' } ] });
		like(ask_at($github->{url}), qr/redirect/, "$status to " . ($location =~ s/\d{4,}/…/r) . ' is named and not followed');
	}
}
is(decode_json(control($evil, 'counters'))->{requests}, 0, 'the other host saw no request');
is(heard(), 0, 'the listener hears nothing');
control($github, 'settings', { faults => [] });

# TLS: expired, not yet valid, for another use, of an authority that is none; TLS 1.1; plain HTTP. No byte of HTTP is sent.
my $work = tempdir(CLEANUP => 1);
my $ca = $github->{dir};
append_to_file("$work/server", "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n");
append_to_file("$work/client", "subjectAltName=DNS:localhost\nextendedKeyUsage=clientAuth\n");
append_to_file("$work/nul", "subjectAltName=DER:30:15:82:13:6c:6f:63:61:6c:68:6f:73:74:00:2e:65:76:69:6c:2e:6f:72:67\n");
append_to_file("$work/ca.cnf", "[ca]\ndefault_ca=x\n[x]\ndatabase=$work/index\nserial=$work/serial\nnew_certs_dir=$work\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n");
append_to_file("$work/index", '');
append_to_file("$work/serial", "1000\n");
sub make_certificate
{
	my ($name, $extension, $from, $to) = @_;
	system_or_bail('sh', '-c', "cd '$work' && openssl req -newkey rsa:2048 -nodes -keyout $name.key -out $name.csr -subj /CN=localhost 2>/dev/null && "
		. "openssl ca -batch -config ca.cnf -in $name.csr -cert '$ca/ca.pem' -keyfile '$ca/ca.key' -startdate $from -enddate $to -extfile $extension -out $name.crt -notext 2>/dev/null");
}
sub start_hostile
{
	my ($name, @options) = @_;
	my $server = KeypupTest::start_node('test/lib/hostile.mjs', '--cert', "$work/$name.crt", '--key', "$work/$name.key", @options);
	$server->{url} = "https://localhost:$server->{port}";
	return $server;
}
make_certificate('good', 'server', '20200101000000Z', '20401231000000Z');
make_certificate('expired', 'server', '20200101000000Z', '20200201000000Z');
make_certificate('early', 'server', '20400101000000Z', '20401231000000Z');
make_certificate('client', 'client', '20200101000000Z', '20401231000000Z');
make_certificate('nul', 'nul', '20200101000000Z', '20401231000000Z');
# A certificate that signs although it may not.
system_or_bail('sh', '-c', "cd '$work' && openssl req -newkey rsa:2048 -nodes -keyout below.key -out below.csr -subj /CN=localhost 2>/dev/null && "
	. "openssl x509 -req -in below.csr -CA good.crt -CAkey good.key -CAcreateserial -days 2 -extfile server -out below.crt 2>/dev/null && cat good.crt >> below.crt");
my $good = start_hostile('good');
foreach my $case ([ 'expired', 'a certificate that has expired' ], [ 'early', 'a certificate of the future' ], [ 'client', 'a certificate for clients' ], [ 'nul', 'a certificate whose name has a NUL in it' ],
	[ 'below', 'a certificate signed by one that may not sign' ], [ 'good', 'TLS 1.1', '--tls', '1.1' ], [ 'good', 'TLS 1.2 without forward secrecy', '--tls12-ciphers', 'AES256-GCM-SHA384:AES128-GCM-SHA256:AES128-SHA' ])
{
	my ($name, $what, @options) = @$case;
	my $server = start_hostile($name, @options);
	my $error = ask_at($server->{url});
	like($error, qr/certificate|TLS/, "$what is refused") or diag($error);
	my $counters = decode_json(control($server, 'counters'));
	cmp_ok($counters->{connections}, '>', 0, 'after a connection');
	is($counters->{requests}, 0, 'no byte of HTTP was sent');
}

is(decode_json(control($good, 'counters'))->{requests}, 0, 'a good one was not asked yet');
unlike(ask_at(start_hostile('good', '--tls12-ciphers', 'ECDHE-RSA-AES128-GCM-SHA256')->{url}), qr/certificate|TLS|could not be/i, 'TLS 1.2 with forward secrecy is taken');

# Revocation lists in the file of authorities.
append_to_file("$work/authority", "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign,cRLSign\n");
foreach my $name (qw(middle revoked))
{
	make_certificate($name, 'authority', '20200101000000Z', '20401231000000Z');
	system_or_bail('sh', '-c', "cd '$work' && openssl req -newkey rsa:2048 -nodes -keyout by_$name.key -out by_$name.csr -subj /CN=localhost 2>/dev/null && "
		. "openssl x509 -req -in by_$name.csr -CA $name.crt -CAkey $name.key -CAcreateserial -days 2 -extfile server -out by_$name.crt 2>/dev/null && cat $name.crt >> by_$name.crt");
}
my $trust = sub { query("ALTER SYSTEM SET keypup.ca_file = '$_[0]'"); query('SELECT pg_reload_conf()'); $node->poll_query_until('postgres', "SELECT current_setting('keypup.ca_file') = '$_[0]'") or die; };
my %by = map { $_ => start_hostile($_) } qw(by_middle by_revoked);
unlike(ask_at($by{$_}{url}), qr/certificate/, "$_: taken while no list says otherwise") foreach sort keys %by;
system_or_bail('sh', '-c', "cd '$work' && openssl ca -config ca.cnf -cert '$ca/ca.pem' -keyfile '$ca/ca.key' -revoke revoked.crt 2>/dev/null && "
	. "openssl ca -config ca.cnf -cert '$ca/ca.pem' -keyfile '$ca/ca.key' -gencrl -crldays 2 -out list.pem 2>/dev/null && cat '$ca/ca.pem' list.pem > listed.pem && chmod 644 listed.pem && chmod 755 .");
$trust->("$work/listed.pem");
my $asked = decode_json(control($by{by_revoked}, 'counters'))->{requests};
like(ask_at($by{by_revoked}{url}), qr/certificate/, 'one by an authority that is revoked is refused');
is(decode_json(control($by{by_revoked}, 'counters'))->{requests}, $asked, 'no byte of HTTP was sent');
unlike(ask_at($by{by_middle}{url}), qr/certificate/, 'one by an authority that has no list is taken');
$trust->($github->{ca_file});

# Answers that no server should give. The worker's session neither swells nor hangs, and each is an error with nothing stored.
my $ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
my $repository = '"repository": {"id": "R_1"';
foreach my $case (
	[ 'ten megabytes of headers', { head => "HTTP/1.1 200 OK\r\n", times => 10_000, tail => 'x-a: ' . ('a' x 1000) . "\r\n" } ],
	[ 'one header of ten megabytes', { head => "HTTP/1.1 200 OK\r\nx-a: ", times => 10_000, tail => 'a' x 1000 } ],
	[ 'interim answers without end', { head => '', times => 20_000, tail => "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" } ],
	[ 'a body of 2 MiB and one byte', { head => "${ok}Content-Length: 2097153\r\n\r\n", times => 2049, tail => ' ' x 1024 } ],
	[ 'a Content-Length of 10^18', { head => "${ok}Content-Length: 1000000000000000000\r\n\r\n", times => 9000, tail => ' ' x 1024, end => JSON::PP::true } ],
	[ 'a negative Content-Length', { head => "${ok}Content-Length: -1\r\n\r\n{}", end => JSON::PP::true } ],
	[ 'two Content-Lengths', { head => "${ok}Content-Length: 2\r\nContent-Length: 99\r\n\r\n{}", end => JSON::PP::true } ],
	[ 'chunks without end', { head => "${ok}Transfer-Encoding: chunked\r\n\r\n", times => 10_000, tail => "400\r\n" . (' ' x 1024) . "\r\n" } ],
	[ 'a chunk of 2^64', { head => "${ok}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}", end => JSON::PP::true } ],
	[ 'no HTTP at all', { head => "220 mail.example ESMTP\r\n", end => JSON::PP::true } ],
	[ 'HTTP 0.9', { head => '{"data": {}}', end => JSON::PP::true } ],
	[ 'a status of 99999', { head => "HTTP/1.1 99999 X\r\nContent-Length: 2\r\n\r\n{}", end => JSON::PP::true } ],
	[ 'a body until the end, cut off', { head => "${ok}\r\n{\"data\": {$repository", end => JSON::PP::true } ],
	[ 'nothing', { head => '', end => JSON::PP::true } ],
	[ 'a number beyond all numbers', { head => "${ok}\r\n{\"data\": {\"rateLimit\": {\"cost\": 1e400, \"remaining\": 1e400}, $repository}}}", end => JSON::PP::true } ],
	[ 'a number of 100,000 digits', { head => "${ok}\r\n{\"data\": {\"rateLimit\": {\"cost\": " . ('9' x 100_000) . "}, $repository}}}", end => JSON::PP::true } ],
	[ 'names that are there twice', { head => "${ok}\r\n{\"data\": null, \"data\": {$repository}, \"repository\": 1}}", end => JSON::PP::true } ])
{
	my ($what, $answer) = @$case;
	control($good, 'set', $answer);
	my $before = time;
	my $error = ask_at($good->{url});
	cmp_ok(length($error), '>', 5, "$what: an error is told") or diag($error);
	cmp_ok(length($error), '<', 400, "$what: a short one");
	# A CALL would be cancelled after ninety seconds.
	cmp_ok(time - $before, '<', 85, "$what: soon");
}
is(query('SELECT (SELECT count(*) FROM keypup.pull_requests) + (SELECT count(*) FROM keypup.issues)'), '0', 'nothing of it is stored');

# A token that would be more than a header.
foreach my $bad ('x\r\nHost: evil', 'x\ny', 'x\ry', 'x\ty', 'x y', "x\xc3\xa9")
{
	my ($code, $out, $error) = $node->psql('postgres', qq{SELECT keypup.replace_token('acme', 'github', E'$bad')});
	like($error, qr/token/, 'a token with a character that no header may have is refused') or diag($bad);
	unlike($error, qr/evil/, 'and not repeated');
}

# No token stands in any table, and whoever has no role reads none of them.
query('CREATE ROLE mallory LOGIN');
my @relations = split /\n/, query(q{SELECT oid::regclass FROM pg_class WHERE relnamespace = 'keypup'::regnamespace AND relkind IN ('r', 'v', 'm', 'p', 'S')});
cmp_ok(scalar(@relations), '>', 20, 'all relations of the extension are looked at');
my $mallory = asking_as($node, 'mallory');
my @readable = grep { $mallory->("SELECT count(*) FROM $_") !~ /^error: permission denied/ } @relations;
is("@readable", '', 'whoever has no role reads none');
undef $mallory;
is(query(join '; ', map { "SELECT t::text FROM $_ t WHERE t::text ~* 'ATTACKPROBE|authorization:|bearer ' LIMIT 1" } split /\n/, query(q{SELECT oid::regclass FROM pg_class WHERE relnamespace = 'keypup'::regnamespace AND relkind IN ('r', 'v')})), '', 'no table has the token, or a header with it');

# Well again.
is(ask_at($github->{url}), '', 'with the right address the sync completes');
is(differences($node, $github, 'demo/small'), '', 'and is the provider\'s');
is(proxy_heard(), 0, 'the proxy never heard anything');
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|segfault|signal 11/, 'nothing crashed');
done_testing();
