# Whatever eats bytes from outside is fed with what was never meant: real input with a few bytes changed, cut, repeated and swapped.
# Nothing crashes, nothing raises an error that is not foreseen, and what is taken is what PostgreSQL, too, would take.
# Each run has a seed of its own, and tells it: KEYPUP_FUZZ_SEED=12345 dev/run_tests test/t/188_fuzz.pl does the same again.
# KEYPUP_FUZZ_SECONDS=3600 does it for longer than the eight seconds of dev/check.
use strict;
use warnings;

use Digest::SHA qw(hmac_sha256_hex);
use FindBin;
use JSON::PP;
use File::Temp qw(tempdir);
use MIME::Base64 qw(decode_base64url encode_base64url);
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $seed = $ENV{KEYPUP_FUZZ_SEED} // int(rand(2**31));
my $seconds = $ENV{KEYPUP_FUZZ_SECONDS} // 8;
srand($seed);
note("KEYPUP_FUZZ_SEED=$seed");

my $token = 'ghp_FUZZPROBE0123456789';
my $secret = 'a secret of the hook';
my $work = tempdir(CLEANUP => 1);
my $github = start_github($token, '--generate', 'demo/small:pulls=3,issues=3,seed=3');
my $node = new_server($github, "session_preload_libraries = 'keypup'\nlog_min_messages = 'fatal'\n");
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
query(qq{SET client_min_messages = error; CREATE EXTENSION keypup; SELECT keypup.create_account('acme'); SELECT keypup.connect('acme', 'github', '$token', '$github->{url}'); SELECT keypup.track('acme', 'demo/small');
	SELECT keypup.set_webhook_secret('acme', 'github', '$secret')});
my $connection = query('SELECT connection_id FROM keypup.connections');

# --- what input is changed ---

my @pieces = ('"', '\\', '\\u', '\\u0000', '\\ud800', '{', '}', '[', ']', ',', ':', 'null', '1e', '1e64', '-', '.', '0', ' ', "\0", "\x01", "\x7f", "\x80", "\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82\xac", '.', '=', '_', '/', '@', '%00', '?', '#', '::', '65536', '127.0.0.1', "\r\n");

# Two inputs become one now and then; most changes are small.
sub mutate
{
	my ($bytes, @others) = @_;
	foreach (0 .. int(rand(4)))
	{
		my $at = int(rand(length($bytes) + 1));
		my $length = int(rand(rand() < 0.8 ? 4 : 1 + length $bytes));
		my $kind = int(rand(7));
		if ($kind == 0) { substr($bytes, $at, 1) = chr int rand 256 }
		elsif ($kind == 1) { substr($bytes, $at, 0) = $pieces[ rand @pieces ] }
		elsif ($kind == 2) { substr($bytes, $at, $length) = '' }
		elsif ($kind == 3) { substr($bytes, $at, 0) = substr($bytes, int(rand(length($bytes) + 1)), $length) }
		elsif ($kind == 4) { substr($bytes, $at, 1) = chr(ord(substr($bytes, $at, 1) || 'x') ^ 1 << int rand 8) }
		elsif ($kind == 5) { substr($bytes, $at, 0) = $pieces[ rand @pieces ] x int rand 100 }
		else { my $other = $others[ rand @others ]; $bytes = substr($bytes, 0, $at) . substr($other, int rand(length($other) + 1)) }
		$bytes = substr($bytes, 0, 20_000);
	}
	return $bytes;
}

my @json = ('{"data":{"node":{"id":"R_1","labels":{"pageInfo":{"hasNextPage":false},"nodes":[{"id":"L_1","name":"bug \u00e4\ud83d\ude00","color":"ededed"}]}}}}',
	'[1,-0.5,1e10,12345678901234567890,true,false,null,"",{},[]]', '{"a":{"b":{"c":[[[[]]]]}},"a":2,"\u0061":3}', '"text \"\\\\\/\b\f\n\r\t"', '{"errors":[{"type":"NOT_FOUND","path":["nodes",0],"message":"x"}]}',
	control($github, 'counters'));
my @urls = ('https://api.github.com', 'https://github.example.com:8443/api/v3/', 'https://[2001:200::1]/a/../b', 'https://192.88.98.1', 'HTTPS://API.GitHub.com:443/x?y#z');
my ($large) = @{ decode_json(slurp_file('test/vectors/large_rsa_keys.json')) };
my @tokens = map { $_->{token} } $large;
my @keys = (encode_json({ keys => [ { kty => 'RSA', kid => '2', alg => 'RS256', e => 'AQAB', n => substr($large->{key}{n}, 0, 341) . 'Q' } ] }), '{"keys":[{"kty":"EC","crv":"P-256","kid":"1","use":"sig","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}');
my @hooks = ('{"action":"opened","number":1,"pull_request":{"number":1,"node_id":"PR_1"},"repository":{"node_id":"R_1","full_name":"demo/small"}}', '{"zen":"x","hook_id":1}',
	'{"action":"created","deployment":{"node_id":"D_1"},"deployment_status":{"state":"success"},"repository":{"node_id":"R_1","full_name":"demo/small"}}');

# A token whose parts are changed before they are encoded, or after.
sub change_token
{
	my ($text) = @_;
	return mutate($text, @tokens) if rand() < 0.5;
	my @parts = split /\./, $text;
	my $part = int rand 3;
	$parts[$part] = encode_base64url(mutate(decode_base64url($parts[$part]), @json));
	return join '.', @parts;
}

# --- what is asked of each parser: what happens otherwise than it may ---

query(<<'SQL');
CREATE TABLE inputs (number integer, input bytea, more text);
CREATE FUNCTION read_text(bytes bytea) RETURNS text LANGUAGE plpgsql AS $$
BEGIN RETURN convert_from(bytes, 'UTF8'); EXCEPTION WHEN character_not_in_repertoire OR untranslatable_character THEN RETURN NULL; END $$;
-- What PostgreSQL says to a text: its value, or that it is none; NULL where it is of another mind on purpose.
CREATE FUNCTION theirs(input text, OUT value jsonb, OUT is_json boolean) LANGUAGE plpgsql AS $$
BEGIN value := input::jsonb; is_json := true; EXCEPTION WHEN invalid_text_representation THEN is_json := false; WHEN OTHERS THEN NULL; END $$;
CREATE FUNCTION try_json(input bytea, more text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  ours jsonb;
  other record;
BEGIN
  SELECT * INTO other FROM theirs(read_text(input));
  ours := keypup.clean_json(input);
  RETURN CASE WHEN ours::text::jsonb IS DISTINCT FROM ours THEN 'is not what its text is' WHEN other.value <> ours THEN 'is another value'
              WHEN NOT other.is_json AND input::text !~ '5c7530303030|5c75[64]' THEN 'is no JSON' END;
EXCEPTION
  WHEN invalid_text_representation THEN RETURN CASE WHEN other.is_json AND other.value IS NOT NULL THEN 'is JSON' END;
  WHEN program_limit_exceeded THEN RETURN NULL;
END $$;
CREATE FUNCTION try_url(input bytea, more text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  url text := read_text(input);
BEGIN
  url := keypup.check_base_url(url);
  RETURN CASE WHEN url !~ '^https://[^/@[:cntrl:][:space:]]+(/[^[:cntrl:][:space:]?#]*)?$' THEN 'is taken as ' || url WHEN keypup.check_base_url(url) <> url THEN 'changes again' END;
EXCEPTION WHEN invalid_parameter_value THEN RETURN NULL; END $$;
CREATE FUNCTION try_token(input bytea, more text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  token text := read_text(input);
BEGIN
  PERFORM keypup.read_id_token(token);
  RETURN CASE WHEN keypup.id_token_is_signed(token, more::jsonb -> 'key') AND token <> more::jsonb ->> 'token' THEN 'is signed' END;
END $$;
CREATE FUNCTION try_keys(input bytea, more text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  keys jsonb;
BEGIN
  SELECT t.value INTO keys FROM theirs(read_text(input)) t;
  PERFORM keypup.key_is_usable(keys), keypup.key_is_usable(CASE jsonb_typeof(keys) WHEN 'object' THEN keys #> '{keys,0}' END);
  RETURN CASE WHEN jsonb_typeof(keypup.usable_keys(keys)) <> 'array' THEN 'has no keys' END;
EXCEPTION WHEN invalid_parameter_value THEN RETURN NULL; END $$;
CREATE FUNCTION try_webhook(input bytea, more text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  answer text;
BEGIN
  answer := keypup.receive_webhook((more::jsonb ->> 'connection')::uuid, more::jsonb -> 'headers', input);
  RETURN CASE WHEN answer NOT IN ('queued', 'run', 'duplicate', 'ignored', 'pong') THEN answer WHEN (more::jsonb ->> 'forged')::boolean THEN 'is believed' END;
EXCEPTION WHEN invalid_parameter_value OR invalid_authorization_specification OR program_limit_exceeded THEN RETURN NULL; END $$;
SQL

my %parsers = (
	json => sub { mutate($json[ rand @json ], @json) },
	url => sub { mutate($urls[ rand @urls ], @urls) },
	token => sub { (change_token($tokens[0]), encode_json({ key => $large->{key}, token => $large->{token} })) },
	keys => sub { mutate($keys[ rand @keys ], @keys, @json) },
	webhook => sub {
		my $body = mutate($hooks[ rand @hooks ], @hooks, @json);
		my $forged = rand() < 0.2;
		my @events = ('pull_request', 'ping', 'deployment_status', 'issues', 'release', 'issue_comment', 'push');
		my %headers = ('X-GitHub-Event' => $events[ rand @events ], 'X-GitHub-Delivery' => 'd' . int rand 1e9, 'X-Hub-Signature-256' => 'sha256=' . hmac_sha256_hex($forged ? "$body " : $body, $secret));
		$headers{ (keys %headers)[ rand 3 ] } = mutate('sha256=00', @urls) =~ s/[^ -~]/?/gr if rand() < 0.2;
		return ($body, encode_json({ connection => $connection, headers => \%headers, forged => $forged ? JSON::PP::true : JSON::PP::false }));
	});

foreach my $parser (sort keys %parsers)
{
	my ($tried, $surprise, $until) = (0, '', time + $seconds / (1 + keys %parsers));
	while ($surprise eq '' && time < $until)
	{
		my @inputs = map { [ $parsers{$parser}->() ] } 1 .. 200;
		my $rows = join '', map { "$_\t\\\\x" . unpack('H*', $inputs[$_][0]) . "\t" . (($inputs[$_][1] // '') =~ s/\\/\\\\/gr) . "\n" } 0 .. $#inputs;
		my ($code, $out, $error) = $node->psql('postgres', "SET client_min_messages = error; TRUNCATE inputs; COPY inputs FROM STDIN;\n$rows\\.\nSELECT number, 'x' || encode(input, 'hex'), s FROM inputs, try_$parser(input, more) s WHERE s IS NOT NULL LIMIT 1", on_error_stop => 1);
		$surprise = "$out$error" unless $code == 0 && $out eq '';
		$tried += @inputs;
	}
	is(substr($surprise, 0, 2000), '', "$parser: $tried inputs, and none does what it should not") or diag("KEYPUP_FUZZ_SEED=$seed");
}

# --- whole answers, from the status line on ---

system_or_bail('sh', '-c', "cd '$work' && openssl req -newkey rsa:2048 -nodes -keyout key -out csr -subj /CN=localhost 2>/dev/null && printf 'subjectAltName=DNS:localhost\n' > extension && "
	. "openssl x509 -req -in csr -CA '$github->{dir}/ca.pem' -CAkey '$github->{dir}/ca.key' -CAcreateserial -days 2 -extfile extension -out certificate 2>/dev/null");
my $hostile = KeypupTest::start_node('test/lib/hostile.mjs', '--cert', "$work/certificate", '--key', "$work/key");
my @answers = map { join("\r\n", 'HTTP/1.1 200 OK', 'Content-Type: application/json', 'Date: Sun, 29 Nov 2026 01:00:00 GMT', 'X-RateLimit-Limit: 5000', 'X-RateLimit-Remaining: 4999', 'X-RateLimit-Reset: 1795917600',
	'Link: <https://x/?page=2>; rel="next"', 'X-GitHub-SSO: required; url=https://github.com/orgs/x/sso', 'Retry-After: 1', 'Content-Length: ' . length, '', $_) } @json[0 .. 4];
push @answers, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Trailer: x\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n$answers[0]", "HTTP/1.1 302 Found\r\nLocation: https://api.github.com/\r\n\r\n";
query("SET client_min_messages = error; UPDATE keypup.connections SET base_url = 'https://localhost:$hostile->{port}'");
my ($tried, $surprise, $until) = (0, '', time + $seconds / (1 + keys %parsers));
while ($surprise eq '' && time < $until)
{
	my @heads = map { substr(mutate($answers[ rand @answers ], @answers), 0, 2000) } 1 .. 25;
	control($hostile, 'set', { heads => \@heads, end => JSON::PP::true });
	my ($code, $out, $error) = $node->psql('postgres', qq{SET client_min_messages = error; UPDATE keypup.connections SET state = 'new', blocked_until = NULL, concurrency = 16; DELETE FROM keypup.sync_jobs;
		INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, attempts) SELECT account_id, connection_id, project_id, 'repository', 8 FROM keypup.projects, generate_series(1, 25);
		SET statement_timeout = '900s'; CALL keypup.sync('acme')}, on_error_stop => 1);
	$surprise = $error . join "\n", map { unpack 'H*', $_ } @heads unless $code == 0;
	$tried += @heads;
}
is(substr($surprise, 0, 2000), '', "answers: $tried, and none does what it should not") or diag("KEYPUP_FUZZ_SEED=$seed");

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|segfault|signal 11/, 'nothing crashed');
done_testing();
