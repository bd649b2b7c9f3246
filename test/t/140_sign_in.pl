# Sign-in where the worker asks outside: key sets of a real OpenID provider, and people's own tokens of an emulated GitHub.
# What is refused is one error and one record in the audit log.
use strict;
use warnings;

use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

plan skip_all => 'the OpenID provider\'s packages are not installed' unless -d 'test/sso/node_modules/oidc-provider';

my $token = 'ghp_SIGNIN0123456789';
my $github = start_github($token, '--generate', 'demo/open:pulls=3,issues=2,seed=3', '--generate', 'demo/closed:pulls=3,issues=2,seed=4,private=1', '--generate', 'other/open:pulls=1,issues=1,seed=5');
my $openid = start_openid();
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1d'
# psql of 15 binds no parameter, as an application would: what is refused here has its token in the statement.
log_min_error_statement = 'panic'
CONF
append_to_file("$github->{dir}/both.pem", slurp_file($github->{ca_file}) . slurp_file($openid->{ca_file}));
$node->append_conf('postgresql.conf', "keypup.ca_file = '$github->{dir}/both.pem'");
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
sub as { return as_role($node, @_); }
my $handle = qr/^[0-9a-f]{96}$/;

query('CREATE EXTENSION keypup');
query(q{CREATE ROLE olga LOGIN; CREATE ROLE app LOGIN; GRANT keypup_member TO app; GRANT USAGE ON SCHEMA keypup TO app;
	SELECT keypup.create_account('acme'), keypup.create_account('bolt'); SELECT keypup.add_member('acme', 'olga', 'owner')});

# The newest refusal; the worker records it.
sub last_refusal
{
	my ($count) = @_;
	$node->poll_query_until('postgres', "SELECT sum(times) = $count FROM keypup.audit_log WHERE outcome = 'refused'");
	return query("SELECT concat_ws(' | ', (SELECT name FROM keypup.accounts a WHERE a.account_id = l.account_id), action, actor, 'claims to be ' || claimed, database_role, detail) FROM keypup.audit_log l WHERE outcome = 'refused' ORDER BY last_at DESC LIMIT 1");
}

# --- key sets ---

my $issuer = $openid->{issuer};
sub set { return control($openid, 'settings', $_[0]); }
sub counted { return decode_json(control($openid, 'counters'))->{ $_[0] }; }
my $serial = 0;
sub id_token { my ($client, $more) = @_; $serial++; return decode_json(control($openid, "sign_in?client=$client&sub=subject-1&nonce=n-$serial" . ($more // '')))->{id_token}; }
sub sign_in { return as('app', q{SELECT keypup.sign_in('acme', } . literal($_[0]) . ')'); }
# As if the last try had been some time ago.
sub age { my ($time) = @_; query("UPDATE keypup.identity_providers SET keys_tried_at = keys_tried_at - interval '$time'"); }

is(as('olga', "SELECT keypup.add_identity_provider('acme', '$issuer', ARRAY['client-1', 'client-2']); SELECT keypup.add_person('acme', 'ann', 'viewer'); SELECT keypup.link_person('acme', 'ann', '$issuer', 'subject-1')") =~ /\S/ ? 'error' : 'done', 'done', 'a provider is added without keys');
ok($node->poll_query_until('postgres', 'SELECT jsonb_array_length(keys) = 2 AND keys_error IS NULL FROM keypup.identity_providers'), 'the worker fetches its key set over TLS');
is(counted('discovery') . counted('key_set'), '11', 'with two requests');
is(query("BEGIN; SELECT keypup.add_identity_provider('bolt', '$issuer', ARRAY['client-1']); SELECT keys, keys_read_at IS NULL, keys_tried_at IS NULL FROM keypup.identity_providers p JOIN keypup.accounts a USING (account_id) WHERE a.name = 'bolt'; ROLLBACK") =~ s/^\s+//r, '[]|t|t',
	'another account does not learn that somebody trusts the issuer');
like(sign_in(id_token('client-1')), $handle, 'a token that the provider signed by RS256 signs in');
like(sign_in(id_token('client-2')), $handle, 'and one by ES256');
my $session = sign_in(id_token('client-1'));
is(as('app', "BEGIN; SELECT keypup.use_session('$session'); SELECT keypup.whoami()"), "\nann", 'it is the linked person');

# T42: rotation.
my $old = id_token('client-1');
set({ rotate => JSON::PP::true });
my $new = id_token('client-1');
query('UPDATE keypup.identity_providers SET keys_tried_at = now()');
is(sign_in($new), 'sign-in is refused', 'a new key is unknown within the minute after a fetch');
is(last_refusal(1), 'acme | session.start | app | an ID token', 'which is recorded');
like(sign_in($old), $handle, 'a known one is still known');
age('2 minutes');
like(sign_in($new), $handle, 'a minute later the worker fetches the set while the session waits');
is(counted('key_set'), '2', 'once');

# A flood of keys that are not there asks the provider once.
age('2 minutes');
my ($header, $payload, $signature) = split /\./, id_token('client-1');
my $flood = '';
foreach my $number (1 .. 60)
{
	require MIME::Base64;
	my $made = MIME::Base64::encode_base64url(qq({"alg":"RS256","kid":"made-up-$number"}));
	$flood .= q{SELECT keypup.sign_in('acme', } . literal("$made.$payload.$signature") . ");\n";
}
my $answers = as('app', $flood);
is(scalar(() = $answers =~ /sign-in is refused/g), 60, 'T42: 60 tokens with keys that are not there are refused');
is(counted('key_set'), '3', 'T42: and the key set is fetched once');
is(last_refusal(61), 'acme | session.start | app | an ID token', 'each has its record');

# The provider is down or hostile: known keys work, with the last good set.
my $good = query('SELECT keys FROM keypup.identity_providers');
sub hostile
{
	my ($what, $settings, $problem) = @_;
	set($settings);
	age('2 hours');
	my $before = query('SELECT count(*) FROM keypup.identity_providers WHERE keys_tried_at < now() - interval \'1 minute\'');
	ok($node->poll_query_until('postgres', "SELECT keys_error ~ " . literal($problem) . ' FROM keypup.identity_providers'), "$what: $problem") or diag(query('SELECT keys_error FROM keypup.identity_providers'));
	is(query('SELECT keys FROM keypup.identity_providers'), $good, "$what: the last good set stays");
	like(sign_in(id_token('client-1')), $handle, "$what: and serves");
	set({ map { $_ => undef } keys %$settings });
	query('UPDATE keypup.identity_providers SET keys_error = NULL, keys_failures = 0');
}
hostile('down', { down => JSON::PP::true }, 'answered 503');
set({ down => JSON::PP::false });
hostile('no JSON', { key_set_raw => '<html>' }, 'not JSON');
hostile('no keys', { key_set => {} }, 'no list of keys');
hostile('a symmetric key', { key_set => { keys => [ { kty => 'oct', k => 'c2VjcmV0' } ] } }, 'not public');
hostile('weak keys only', { key_set => { keys => [ { kty => 'RSA', n => 'AQAB', e => 'AQAB', kid => 'rsa-2' } ] } }, 'no key for RS256');
hostile('a redirect', { key_set_status => 302, key_set_location => 'https://localhost:1/keys' }, 'answered 302');
hostile('another issuer', { discovery => { issuer => 'https://evil.example', jwks_uri => "$issuer/jwks" } }, 'another issuer');
hostile('a key set without TLS', { discovery => { issuer => $issuer, jwks_uri => 'http://localhost/keys' } }, 'no key set with https');
hostile('a key set at a private address', { discovery => { issuer => $issuer, jwks_uri => 'https://169.254.169.254/keys' } }, 'private address');
# T68: nothing is asked for ever.
my $described = counted('discovery');
hostile('a key set that is the description itself', { discovery => { issuer => $issuer, jwks_uri => "$issuer/.well-known/openid-configuration" } }, 'names its own description');
cmp_ok(counted('discovery') - $described, '<=', 2, 'T68: which is asked for once');
set({ discovery => { issuer => $issuer, jwks_uri => "$issuer/.well-known/openid-configuration" } });
foreach my $failures ([ 3, '19 minutes', '21 minutes' ], [ 30, '59 minutes', '61 minutes' ])
{
	my ($count, $before, $after) = @$failures;
	query("UPDATE keypup.identity_providers SET keys_failures = $count, keys_error = 'x', keys_tried_at = now() - interval '$before'");
	is(query('SELECT count(*) FROM (SELECT keypup.claim_key_sets(NULL, NULL, 4, ARRAY[]::uuid[])) c'), '0', "T68: after $count failures it is not tried within $before");
	query("UPDATE keypup.identity_providers SET keys_tried_at = now() - interval '$after'");
	ok($node->poll_query_until('postgres', "SELECT keys_failures = $count + 1 AND keys_error ~ 'own description' FROM keypup.identity_providers"), "but after $after it is, and the status tells what is wrong");
}
set({ discovery => undef });
query('UPDATE keypup.identity_providers SET keys_error = NULL, keys_failures = 0');
is(query(qq{SELECT keypup.take_key_set(account_id, '$issuer', true, 200, '{"issuer": "$issuer", "jwks_uri": "$issuer/jwks"}', NULL) FROM keypup.accounts WHERE name = 'acme'}), "$issuer/jwks", 'what the description names is asked for');
is(query(qq{SELECT coalesce(keypup.take_key_set(account_id, '$issuer', true, 200, '{"issuer": "$issuer", "jwks_uri": "$issuer/jwks"}', NULL), 'nothing') FROM keypup.accounts WHERE name = 'bolt'}), 'nothing', 'T68: nothing where the issuer was removed meanwhile');
hostile('an endless key set', { endless => 'key_set' }, 'larger than 2 MiB');
set({ endless => JSON::PP::false });
query(q{UPDATE keypup.identity_providers SET keys_read_at = now() - interval '25 hours', keys_tried_at = now()});
is(sign_in(id_token('client-1')), 'sign-in is refused', 'after a day without an answer the last set no longer serves');
age('2 hours');
ok($node->poll_query_until('postgres', "SELECT keys_read_at > now() - interval '24 hours' FROM keypup.identity_providers"), 'and when the provider is well it does again');

# --- people's own tokens ---

query(qq{SELECT keypup.connect('acme', 'github', '$token', '$github->{url}'), keypup.track('acme', 'demo/open'), keypup.track('acme', 'demo/closed')});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM keypup.sync_status WHERE phase = 'idle'}), 'two repositories are synced');
my %people = (
	member => { login => 'ada', organizations => ['demo'] },
	writer => { login => 'bob', permissions => { 'demo/open' => 'WRITE' } },
	reader => { login => 'cyd', permissions => { 'demo/closed' => 'READ' } },
	passer => { login => 'dan', permissions => { 'demo/open' => 'READ' } },
	stranger => { login => 'eve', organizations => ['other'], permissions => { 'other/open' => 'ADMIN' } });
control($github, 'user', { token => "ghp_PERSON_$_", %{ $people{$_} } }) foreach keys %people;
sub with_token { my ($who, $account) = @_; return as('app', "SELECT keypup.sign_in_with_provider('" . ($account // 'acme') . "', 'github', 'ghp_PERSON_$who')"); }
my $refused = query(q{SELECT coalesce(sum(times), 0) FROM keypup.audit_log WHERE outcome = 'refused'});
is(with_token('member'), 'sign-in is refused', 'nobody signs in with a token of the provider unless the account allows it');
is(last_refusal(++$refused), 'acme | session.start | app | a token of the provider', 'and the attempt is recorded');
like(as('app', q{SELECT keypup.allow_provider_sign_in('acme', 'viewer')}), qr/may not do this/, 'which an outsider cannot');
$refused++;
like(as('olga', q{SELECT keypup.allow_provider_sign_in('acme', 'owner')}), qr/cannot have role "owner"/, 'not as owners');
is(as('olga', q{SELECT keypup.allow_provider_sign_in('acme', 'viewer')}), '', 'an owner allows it');
my %signed;
like($signed{$_} = with_token($_), $handle, "$_ of the organization or repositories signs in") foreach qw(member writer reader);
is(as('app', "BEGIN; SELECT keypup.use_session('$signed{member}'); SELECT keypup.whoami(), count(*) FROM keypup.projects"), "\nada at $github->{url}|2", 'and reads as the role that was given');
foreach my $who (qw(passer stranger nobody))
{
	is(with_token($who), 'sign-in is refused', "$who is refused");
	like(last_refusal(++$refused), qr/^acme \| session.start \| (claims to be \w+ \| )?app \| a token of the provider/, "$who: recorded");
}
is(with_token('member', 'bolt'), 'sign-in is refused', 'nor in another account');
$refused++;
is(as('app', "SELECT keypup.sign_in_with_provider('acme', 'github', $_)"), 'sign-in is refused', "nor with $_") foreach q{'short'}, q{E'ghp_a\nb: c'}, q{NULL}, q{repeat('x', 5000)};
$refused += 4;
is(query('SELECT count(*) FROM keypup.members WHERE by_groups'), '3', 'each is a member by belonging');
is(query(q{SELECT count(*), bool_and(actor_kind = 'person' AND detail ~ 'role "viewer", by a group of') FROM keypup.audit_log WHERE action = 'member.add' AND detail ~ 'by a group'}), '3|t', 'which is recorded');
as('olga', "SELECT keypup.map_group('acme', '$github->{url}', 'organization demo', 'admin')");
like(with_token('member'), $handle, 'a group of the organization has its own role');
is(query(q{SELECT role FROM keypup.members WHERE member LIKE 'ada at %'}), 'admin', 'which holds from the next sign-in');
is(query(q{SELECT count(*) FROM keypup.audit_log WHERE action = 'member.change' AND actor LIKE 'ada at %' AND detail ~ 'role "admin", by a group of'}), '1', 'and is recorded');
control($github, 'user', { token => 'ghp_PERSON_writer', login => 'bob' });
is(with_token('writer'), 'sign-in is refused', 'who has lost the permission does not sign in');
$refused++;
control($github, 'settings', { faults => [ { match => { operation => 'KeypupViewer', times => 1 }, status => 502, body => {} } ] });
is(with_token('member'), 'the provider could not be asked', 'a provider that is ill is told apart');
is(last_refusal(++$refused), 'acme | session.start | app | the provider could not be asked about a token: GitHub could not answer in time (502)', 'why, stands in the audit log of the account');
# Whoever signs in has proven nothing: of the account's server nothing is told.
query(q{UPDATE keypup.connections SET base_url = replace(base_url, 'localhost', 'github.of-acme.invalid')});
is(with_token('member'), 'the provider could not be asked', 'a server that cannot be reached is not named');
like(last_refusal(++$refused), qr/could not be asked about a token: .*github\.of-acme\.invalid/, 'but to the account');
query(q{UPDATE keypup.connections SET base_url = replace(base_url, 'github.of-acme.invalid', 'localhost')});
as('olga', q{SELECT keypup.allow_provider_sign_in('acme', NULL)});
is(with_token('member'), 'sign-in is refused', 'and it can be forbidden again');
$refused++;

# T68: a flood of tokens.
sub viewers { return decode_json(control($github, 'counters'))->{by_operation}{KeypupViewer}{requests} // 0; }
query(q{ALTER SYSTEM SET keypup.questions_per_minute = 3; SELECT pg_reload_conf()});
ok($node->poll_query_until('postgres', q{SELECT current_setting('keypup.questions_per_minute') = '3'}), 'three questions a minute, of which a source may ask two');
query(q{SELECT keypup.create_account('crowd'); SELECT keypup.connect('crowd', 'github', '} . $token . q{', '} . $github->{url} . q{'); SELECT keypup.allow_provider_sign_in('crowd', 'viewer')});
my $began = time;
my $floods = join ' ', map { "SELECT keypup.sign_in_with_provider('crowd', 'github', 'ghp_PERSON_wrong$_');" } 1 .. 12;
is(scalar(() = as('app', $floods) =~ /sign-in is refused/g), 12, 'T68: twelve wrong tokens are refused');
$refused += 12;
my $seconds = time - $began;
my $of_crowd = q{FROM keypup.audit_log l JOIN keypup.accounts a USING (account_id) WHERE a.name = 'crowd' AND l.action = 'session.start' AND l.outcome = 'refused'};
ok($node->poll_query_until('postgres', "SELECT sum(l.times) = 12 $of_crowd"), 'T68: each is counted in the audit log');
my $unasked = query("SELECT coalesce(sum(l.times), 0) $of_crowd AND l.detail = 'too many sign-ins with tokens of the provider'");
# One comes back each thirty seconds, of which twelve take twelve at least.
cmp_ok($unasked, '>=', 12 - 3 - $seconds / 30, 'T68: the provider is asked about no more than a source may ask, and what comes back meanwhile');
cmp_ok($unasked, '<=', 10, 'T68: and about as many as that');
my $asked = viewers();
$refused++ if as('olga', q{SELECT keypup.sign_in_with_provider('crowd', 'github', 'ghp_PERSON_member')}) =~ /refused/;
is(viewers() - $asked, 1, 'T68: who comes from elsewhere is asked about');
query(q{ALTER SYSTEM RESET keypup.questions_per_minute; SELECT pg_reload_conf()});
ok($node->poll_query_until('postgres', q{SELECT current_setting('keypup.questions_per_minute') = '120'}), 'and back');
# How long a refusal takes tells nothing: it comes at the end of a second, whatever was asked.
foreach my $case ([ 'nowhere', 'no account' ], [ 'bolt', 'one that allows none' ], [ 'crowd', 'one that asks the provider' ])
{
	my $took = as('app', qq{DO \$\$ DECLARE began timestamptz := clock_timestamp(); BEGIN PERFORM keypup.sign_in_with_provider('$case->[0]', 'github', 'ghp_PERSON_nobody'); EXCEPTION WHEN invalid_authorization_specification THEN RAISE EXCEPTION 'took %', extract(epoch FROM clock_timestamp() - began); END \$\$});
	$refused++;
	like($took, qr/^took [1-9]/, "$case->[1]: refused after a second or more");
}

# Cancelled while it waits: the place is free again.
as('olga', q{SELECT keypup.allow_provider_sign_in('acme', 'viewer')});
control($github, 'settings', { latency_ms => 3000 });
foreach my $round (1 .. 10)
{
	like(as('app', q{SET statement_timeout = '200ms'; SELECT keypup.sign_in_with_provider('acme', 'github', 'ghp_PERSON_member')}), qr/statement timeout/, "cancelled, round $round");
}
control($github, 'settings', { latency_ms => 0 });
like(with_token('member'), $handle, 'after ten that were cancelled one is answered');
my $before = time;
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'keypup worker'});
my $without = with_token('member');
like($without, qr/$handle|no worker of keypup|could not be asked/, 'without a worker it is an error, or waits for the next');
$refused++ if $without =~ /could not be asked/;

ok($node->poll_query_until('postgres', "SELECT sum(times) = $refused FROM keypup.audit_log WHERE outcome = 'refused'"), 'all that was refused is recorded');

# The token is used once, and stands nowhere.
$node->safe_psql('postgres', 'CHECKPOINT');
$node->stop;
my ($found) = run_command([ 'grep', '-raoE', 'ghp_PERSON_(member|writer|reader)', $node->data_dir ]);
is($found, '', 'no token of a person is in the data directory');
unlike(slurp_file($node->logfile), qr/PERSON/, 'nor in the log');
$node->start;

# --- the audit log ---

is(query(q{SELECT sum(times) FROM keypup.audit_log WHERE outcome = 'refused'}), $refused, 'every refusal is counted');
query(q{SELECT keypup.add_member('bolt', 'olga', 'viewer')});
is(as('olga', q{SELECT count(DISTINCT account_id), bool_or(action = 'identity_provider.add'), bool_or(action = 'member.add'), bool_or(action = 'session.start' AND outcome = 'done') FROM keypup.audit_log}), '1|t|t|t', 'an account\'s admins read the account\'s log');
is(as('app', 'SELECT count(*) FROM keypup.audit_log'), '0', 'and nobody else does');
like(as('olga', "$_ keypup.audit_log" . ($_ eq 'UPDATE' ? ' SET detail = NULL' : '')), qr/permission denied/, "not even they $_ it") foreach 'DELETE FROM', 'UPDATE', 'TRUNCATE';
# T44: done and rolled back is not done; refused and rolled back is refused.
my $done = query(q{SELECT count(*) FROM keypup.audit_log WHERE outcome = 'done'});
as('olga', q{BEGIN; SELECT keypup.track('acme', 'demo/x'); ROLLBACK});
is(query(q{SELECT count(*) FROM keypup.audit_log WHERE outcome = 'done'}), $done, 'T44: what was rolled back was not done');
as('app', q{BEGIN; SAVEPOINT s; SELECT keypup.track('acme', 'demo/x'); ROLLBACK TO s; ROLLBACK});
is(last_refusal(++$refused), 'acme | settings.write | app | app | the permission is missing', 'T44: what was refused is recorded all the same');
as('app', q{SELECT keypup.use_session(repeat('0', 96))});
is(last_refusal(++$refused), 'session.use | app | a handle of no session', 'a guessed handle, too');
as('olga', q{SELECT keypup.grant_support('acme', 'olga', 'a long reason', '1 hour')});
is(last_refusal(++$refused), 'acme | support.grant | olga | olga | to oneself', 'granting to oneself, too');
as('olga', q{SELECT keypup.add_member('acme', 'app', 'emperor')});
is(last_refusal(++$refused), 'acme | role.grant | olga | olga | role "emperor" does not exist', 'a role that is unknown, too');
$node->stop;
done_testing();
