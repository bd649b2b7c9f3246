# A provider is a row and SQL functions: what check_provider refuses, and what of a request that such a function makes is sent. Here one
# is made by the test, whose request is what a table says. Nothing goes to another server than the connection's, and nothing that its
# functions write says who asks, or where a request ends.
use strict;
use warnings;

use FindBin;
use IO::Select;
use IO::Socket::IP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'FAKEPROBE0123456789';
my $node = new_server({ ca_file => '' }, "shared_preload_libraries = 'keypup'\nlog_min_error_statement = 'panic'\nkeypup.workers = 0");
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
# The error of a superuser's statement, with its detail and hint.
sub refused { my ($out, $error) = ('', ''); $node->psql('postgres', $_[0], stdout => \$out, stderr => \$error); return $error eq '' ? 'nothing' : $error; }
query('CREATE EXTENSION keypup');

# --- what check_provider refuses, by name ---

like(refused(q{SELECT keypup.check_provider('fake')}), qr/ERROR:  provider "fake" has no row in keypup\.providers/, 'a provider without a row is refused');
query(q{CREATE TABLE wanted (method text, url text, headers text[], body text, claims text);
	GRANT SELECT ON wanted TO keypup_worker;
	INSERT INTO keypup.providers (provider, title, project_pattern, project_hint, token_hint, authorizes_by, token_header, reads)
	VALUES ('fake', 'Fake', '.', '', '', 'raw', 'X-Fake-Token', '{}')});
my %made = (
	request => [ 'account uuid, job bigint, OUT method text, OUT url text, OUT headers text[], OUT body text', 'record', 'SELECT w.method, w.url, w.headers, w.body FROM public.wanted w' ],
	verdict => [ 'status integer, headers jsonb, reply jsonb, failure text', 'keypup.verdict',
		q{SELECT ROW(CASE WHEN status IS NOT NULL AND failure IS NULL THEN 'page' ELSE 'failed' END, coalesce(failure, ''), NULL, NULL, NULL, NULL, NULL, NULL, true, false)::keypup.verdict} ],
	learn => [ 'account uuid, job bigint, status integer, headers jsonb, reply jsonb, INOUT verdict keypup.verdict', 'keypup.verdict', 'SELECT verdict' ],
	page => [ 'account uuid, job bigint, headers jsonb, reply jsonb, milliseconds integer, interval_seconds integer', 'boolean', 'SELECT true' ],
	settle => [ 'account uuid, connection uuid, project bigint, kind text, headers jsonb, verdict text', 'void', 'SELECT' ],
	failures => [ 'account uuid, project bigint, kind text, arguments jsonb, failures jsonb', 'jsonb', q{SELECT '[]'::jsonb} ],
	reread => [ 'account uuid, project bigint, item bigint', 'boolean', 'SELECT true' ],
	app_request => [ 'account uuid, connection uuid, OUT method text, OUT url text, OUT headers text[], OUT body text, OUT claims text', 'record',
		'SELECT w.method, w.url, w.headers, w.body, w.claims FROM public.wanted w' ],
	app_answer => [ 'account uuid, connection uuid, status integer, headers jsonb, reply jsonb, failure text, revision bigint, envelope bytea', 'void', 'SELECT' ],
	webhook_head => [ 'headers jsonb, OUT signature text, OUT delivery text, OUT event text, OUT content_type text', 'record', q{SELECT 's', 'd', 'e', 't'} ],
	take_webhook => [ 'account uuid, connection uuid, event text, payload jsonb', 'text', q{SELECT 'pong'} ],
);
sub make_function
{
	my ($name, %as) = @_;
	my ($arguments, $result, $body) = @{ $made{$name} };
	query("CREATE OR REPLACE FUNCTION keypup.fake_$name(" . ($as{arguments} // $arguments) . ') RETURNS ' . ($as{result} // $result) . ' LANGUAGE sql ' . ($as{more} // '')
		. ' SET search_path = pg_catalog, pg_temp AS $$ ' . ($as{body} // $body) . ' $$');
}
foreach my $name (qw(request verdict learn page reread))
{
	like(refused(q{SELECT keypup.check_provider('fake')}), qr/ERROR:  (42883: )?provider "fake" has no function keypup\.fake_$name\n.*HINT:  Make keypup\.fake_$name\(/s, "one that lacks its function $name is refused, which is named");
	make_function($name);
}
is(refused(q{SELECT keypup.check_provider('fake')}), 'nothing', 'one that has them all is not');
is(query(q{SELECT keypup.provider_failures('fake', NULL, NULL, NULL, '{}', '[]'), keypup.provider_settle('fake', NULL, NULL, NULL, NULL, NULL, 'page')}), '[]|', 'what it may leave out does nothing');
make_function($_) foreach qw(settle failures);
is(refused(q{SELECT keypup.check_provider('fake')}), 'nothing', 'and may be there');
is(query(q{SELECT bool_and(NOT has_function_privilege('public', p.oid, 'EXECUTE') AND has_function_privilege('keypup_worker', p.oid, 'EXECUTE'))
	FROM pg_proc p WHERE p.pronamespace = 'keypup'::regnamespace AND p.proname LIKE 'fake%'}), 't', 'and the worker may call them, and nobody else');

query('ALTER FUNCTION keypup.fake_page(uuid, bigint, jsonb, jsonb, integer, integer) SECURITY DEFINER');
like(refused(q{SELECT keypup.check_provider('fake')}), qr/function keypup\.fake_page of provider "fake" is SECURITY DEFINER\n.*HINT:  It is called as keypup_worker/s, 'a function that runs as its owner is refused');
query('ALTER FUNCTION keypup.fake_page(uuid, bigint, jsonb, jsonb, integer, integer) SECURITY INVOKER');
query('CREATE ROLE eve; ALTER FUNCTION keypup.fake_page(uuid, bigint, jsonb, jsonb, integer, integer) OWNER TO eve');
like(refused(q{SELECT keypup.check_provider('fake')}), qr/function keypup\.fake_page of provider "fake" belongs to "eve"/, 'and one that somebody may change who is no superuser');
query('ALTER FUNCTION keypup.fake_page(uuid, bigint, jsonb, jsonb, integer, integer) OWNER TO CURRENT_USER; DROP ROLE eve');
query('DROP FUNCTION keypup.fake_settle(uuid, uuid, bigint, text, jsonb, text)');
make_function('settle', arguments => 'account uuid, connection uuid, project integer, kind text, headers jsonb, verdict text');
like(refused(q{SELECT keypup.check_provider('fake')}), qr/function keypup\.fake_settle of provider "fake" has another signature than is called\n.*DETAIL:  It is \(account uuid, connection uuid, project integer, .*HINT:  Make keypup\.fake_settle\(account uuid, connection uuid, project bigint, /s, 'a function of other arguments is refused, with both signatures');
query('DROP FUNCTION keypup.fake_settle(uuid, uuid, integer, text, jsonb, text)');
make_function('settle', result => 'boolean', body => 'SELECT true');
like(refused(q{SELECT keypup.check_provider('fake')}), qr/fake_settle of provider "fake" has another signature than is called/, 'and one of another result');
query('DROP FUNCTION keypup.fake_settle(uuid, uuid, bigint, text, jsonb, text)');
make_function('settle', arguments => 'connection uuid, account uuid, project bigint, kind text, headers jsonb, verdict text');
like(refused(q{SELECT keypup.check_provider('fake')}), qr/fake_settle of provider "fake" has another signature than is called/, 'and one whose arguments have each other\'s names');
query('DROP FUNCTION keypup.fake_settle(uuid, uuid, bigint, text, jsonb, text)');
make_function('settle');
foreach my $offer ([ "offers = '{discover}'", 'projects_request' ], [ "offers = '{sign_in}'", 'viewer_request' ], [ "grant_kind = 'app'", 'app_request' ], [ "webhook_signature = 'secret'", 'webhook_head' ])
{
	like(refused("BEGIN; UPDATE keypup.providers SET $offer->[0] WHERE provider = 'fake'; SELECT keypup.check_provider('fake')"), qr/has no function keypup\.fake_$offer->[1]\n/, "a provider of which $offer->[0] needs more");
}

# --- what check_installation says of one that was well once ---

my $its_check = q{SELECT ok, detail, remedy FROM keypup.check_installation() WHERE check_name = 'providers'};
query(q{SELECT keypup.check_provider('fake')});
is(query($its_check), 't|all functions of fake, github are there|', 'check_installation finds nothing wrong with the providers');
query('DROP FUNCTION keypup.fake_page(uuid, bigint, jsonb, jsonb, integer, integer); REVOKE EXECUTE ON FUNCTION keypup.fake_settle(uuid, uuid, bigint, text, jsonb, text) FROM keypup_worker');
is(query($its_check), 'f|keypup_worker may not call keypup.fake_settle(uuid,uuid,bigint,text,jsonb,text); provider "fake" has no function keypup.fake_page|'
	. q{Make keypup.fake_page(account uuid, job bigint, headers jsonb, reply jsonb, milliseconds integer, interval_seconds integer) RETURNS boolean. SELECT keypup.check_provider('fake');},
	'a function that is missing, and one that the worker may not call');
make_function('page', result => 'integer', body => 'SELECT 1');
like(query($its_check), qr/function keypup\.fake_page of provider "fake" has another signature than is called; keypup_worker may not call /, 'and one of another signature');
query('DROP FUNCTION keypup.fake_page(uuid, bigint, jsonb, jsonb, integer, integer)');
make_function('page');
query(q{SELECT keypup.check_provider('fake')});
is(query($its_check), 't|all functions of fake, github are there|', 'its remedies mend it');
foreach my $who (qw(keypup_member keypup_worker))
{
	is(query("SELECT has_function_privilege('$who', 'keypup.check_provider(text)', 'EXECUTE'), has_table_privilege('$who', 'keypup.providers', 'INSERT, UPDATE, DELETE')"), 'f|f', "$who neither checks providers nor changes them");
}

# --- what is sent ---

# Whoever listens at the connection's address and at another hears what is sent: nothing, where a request is refused.
my @listeners = map { IO::Socket::IP->new(LocalHost => '127.0.0.1', LocalPort => 0, Listen => 50, Proto => 'tcp') or die } 1 .. 2;
my ($port, $evil) = map { $_->sockport } @listeners;
my $select = IO::Select->new(@listeners);
sub heard { my $count = 0; while (my @ready = $select->can_read(0)) { foreach (@ready) { $_->accept; $count++; } } return $count; }
my $base = "https://localhost:$port";
query(qq{SELECT keypup.create_account('acme'); SELECT keypup.connect('acme', 'fake', '$token', '$base/api'); SELECT keypup.track('acme', 'one')});

# Has the request sent; returns what sync_status says. undef is NULL.
sub value { my ($value) = @_; return defined $value ? literal($value) : 'NULL'; }
my $said = '';
sub ask
{
	my ($method, $url, $headers, $body) = @_;
	query('DELETE FROM public.wanted; INSERT INTO public.wanted VALUES (' . join(', ', value($method), value($url), defined $headers ? 'ARRAY[' . join(', ', map { value($_) } @$headers) . ']::text[]' : 'NULL', value($body)) . ');'
		. q{UPDATE keypup.connections SET blocked_until = NULL; UPDATE keypup.sync_state SET last_error = NULL; DELETE FROM keypup.sync_jobs;
			-- It has failed often: CALL does not wait for the next try.
			INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, attempts) SELECT account_id, connection_id, project_id, 'repository', 8 FROM keypup.projects});
	my ($out, $error) = ('', '');
	$node->psql('postgres', q{SET statement_timeout = '90s'; CALL keypup.sync('acme', patience => '0')}, stdout => \$out, stderr => \$error);
	$said .= $out . $error;
	return query('SELECT last_error FROM keypup.sync_status');
}
like(ask('GET', "$base/api/items", ['X-Ok: 1'], undef), qr/^(no TLS connection to|could not connect to) "localhost"/, 'a request to the connection\'s own server is sent, where nobody speaks TLS');
is(heard(), 1, 'who hears it');

my $malformed = qr/^a request to fake may not be sent: its URL is malformed$/;
my $elsewhere = qr/^a request to fake may not be sent: it asks another server than the connection's$/;
foreach my $url ("https://localhost:$evil/api", 'https://localhost/api', "https://127.0.0.1:$port/api", "https://localhost.:$port/api", "https://localhost.evil.example:$port/api", "https://evil.localhost:$port/api",
	"http://localhost:$port/api", "ftp://localhost:$port/api", "file:///etc/passwd", "https:localhost:$port", "//localhost:$port/api", '/api', '', undef,
	"https://localhost:$port\@localhost:$evil/api", "https://localhost:$port\@127.0.0.1:$evil/api", "https://localhost:$port%40127.0.0.1:$evil/api", "https://localhost:$port\\\@localhost:$evil/api",
	"https://localhost:$evil\\\@localhost:$port/api", "https://localhost:$evil#\@localhost:$port/api", "https://localhost:$evil?\@localhost:$port/api", "https://user\@localhost:$port/api",
	"https://user:pass\@localhost:$port/api", "https://\@localhost:$port/api", "https://localhost:$port.evil/api", "https://localhost%00:$port/api", "https://localhost%2f:$port/api", " https://localhost:$port/api")
{
	my $shown = $url // 'NULL';
	like(ask('GET', $url, undef, undef), $shown =~ /[\\ ]/ ? $malformed : $elsewhere, "a request to $shown is not sent");
	is(heard(), 0, 'nor is anything');
}
foreach my $rest (' HTTP/1.1', "\r\nX-Evil: 1", "\nX-Evil: 1", "\t", "\x01", "\x7f", "\\..\\", "\xc3\xa9", '{"a"}', '<>')
{
	like(ask('GET', "$base/api/$rest", undef, undef), $malformed, sprintf('nor one whose URL has the bytes %s', unpack('H*', $rest)));
	is(heard(), 0, 'nor is anything');
}
foreach my $name ('Authorization', 'Connection', 'Content-Length', 'Cookie', 'Expect', 'Host', 'Proxy-Authorization', 'TE', 'Trailer', 'Transfer-Encoding', 'Upgrade', 'User-Agent', 'X-Fake-Token')
{
	foreach my $written ($name, lc $name, uc $name, lc(substr $name, 0, 1) . uc(substr $name, 1))
	{
		like(ask('GET', "$base/api", ["$written: evil"], undef), qr/^a request to fake may not be sent: it has a header \Q$name\E$/, "nor one with a header $written");
		is(heard(), 0, 'nor is anything');
	}
}
foreach my $header ('', ':', ': evil', ' Host: evil', "\tHost: evil", 'Host : evil', 'Host', 'Host;', 'X-Ok', 'X-Ok;', 'X Ok: 1', "X-\xc3\xa9: 1", undef, "X-Ok: 1\r\nHost: evil", "X-Ok: 1\nHost: evil", "X-Ok: 1\rHost: evil", "X-Ok: \x01", "X-Ok: \x7f",
	"X-Ok: \t", "X-Ok: \xc3\xa9", "X-Ok\r\n: 1", "@ evil")
{
	my $shown = defined $header ? unpack('H*', $header) : 'NULL';
	like(ask('GET', "$base/api", [ 'X-First: 1', $header ], undef), qr/^a request to fake may not be sent: a header (is malformed|has a character that none may have)$/, "nor one with a header of the bytes $shown");
	is(heard(), 0, 'nor is anything');
}
foreach my $method ('PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'CONNECT', 'TRACE', 'get', 'post', 'GET ', "GET\r\n", '', undef)
{
	like(ask($method, "$base/api", undef, undef), qr/^a request to fake may not be sent: its method is neither GET nor POST$/, 'nor one whose method is ' . ($method // 'NULL'));
	is(heard(), 0, 'nor is anything');
}
foreach my $case ([ 'GET', '' ], [ 'GET', '{}' ], [ 'POST', undef ])
{
	like(ask($case->[0], "$base/api", undef, $case->[1]), qr/^a request to fake may not be sent: a GET has no body, and a POST has one$/, "nor a $case->[0] with " . (defined $case->[1] ? 'a body' : 'none'));
	is(heard(), 0, 'nor is anything');
}
like(query('SELECT last_error_hint FROM keypup.sync_status'), qr/defect of Keypup's functions/, 'whose fault it is stands in the hint');

# --- an app's ---

system_or_bail('openssl', 'genrsa', '-out', "${PostgreSQL::Test::Utils::tmp_check}/app.pem", '2048');
my $key = slurp_file("${PostgreSQL::Test::Utils::tmp_check}/app.pem");
make_function($_) foreach qw(app_request app_answer webhook_head take_webhook);
query(qq{UPDATE keypup.providers SET grant_kind = 'app', webhook_signature = 'secret' WHERE provider = 'fake'; SELECT keypup.check_provider('fake');
	SELECT keypup.create_account('bolt'); SELECT keypup.connect_app('bolt', 'fake', '1', 1, '$key', '$base/api', 'app'); SELECT keypup.track('bolt', 'two', 'app')});
sub ask_for_token
{
	my ($url, $claims) = @_;
	query('DELETE FROM public.wanted; INSERT INTO public.wanted VALUES (' . join(', ', "'POST'", value($url), 'NULL', "'{}'", value($claims)) . ');'
		. q{UPDATE keypup.connections SET blocked_until = NULL; UPDATE keypup.app_installations SET ask_at = now(); UPDATE keypup.sync_state SET last_error = NULL});
	my ($out, $error) = ('', '');
	$node->psql('postgres', q{SET statement_timeout = '90s'; CALL keypup.sync('bolt', patience => '0')}, stdout => \$out, stderr => \$error);
	$said .= $out . $error;
	return query(q{SELECT s.last_error FROM keypup.sync_status s JOIN keypup.accounts a USING (account_id) WHERE a.name = 'bolt'});
}
like(ask_for_token("https://localhost:$evil/token", '{"iss": 1}'), $elsewhere, 'an app\'s token is not asked for at another server');
is(ask_for_token("$base/token", undef), 'a request to fake may not be sent: it has no claims to sign', 'nor without claims, which would crash the server');
is(heard(), 0, 'nor is anything sent');

# --- webhooks: the secret itself as the signature, which the function says, whatever was sent ---

my ($connection) = query(q{SELECT connection_id FROM keypup.connections WHERE name = 'app'});
query(q{SELECT keypup.set_webhook_secret('bolt', 'app', '0123456789abcdef')});
like(refused("SELECT keypup.receive_webhook('$connection', '{}', '{}')"), qr/webhook is refused/, 'a webhook whose secret is another is refused');
make_function('webhook_head', body => q{SELECT '0123456789abcdef', 'd', 'ping', 'application/json'});
is(query("SELECT keypup.receive_webhook('$connection', '{}', '{}')"), 'pong', 'one whose secret is right is taken');
make_function('webhook_head', body => q{SELECT NULL::text, NULL::text, NULL::text, NULL::text});
like(refused("SELECT keypup.receive_webhook('$connection', '{}', '{}')"), qr/webhook is refused/, 'one without is not');

# --- the secrets ---

unlike($said, qr/$token|BEGIN RSA|BEGIN PRIVATE/, 'nobody is told a secret');
unlike(slurp_file($node->logfile), qr/$token|MII/, 'nor does one stand in the log');
$node->stop;
done_testing();
