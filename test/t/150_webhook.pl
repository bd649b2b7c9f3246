# Webhooks: who is believed, what is read because of them, and that nothing they carry is kept.
use strict;
use warnings;

use Digest::SHA qw(hmac_sha256_hex hmac_sha1_hex);
use FindBin;
use JSON::PP;
use MIME::Base64;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'ghp_HOOK0123456789';
my $github = start_github($token, '--generate', 'demo/open:pulls=6,issues=6,seed=3', '--generate', 'demo/slow:pulls=60,issues=60,seed=4', '--generate', 'demo/legacy:pulls=3,issues=3,seed=5');
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1d'
# Where DBD::Pg is not installed the body stands in the statement, for want of a way to bind it.
log_min_error_statement = 'panic'
CONF
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
sub as { return as_role($node, @_); }

query('CREATE EXTENSION keypup');
query(q{CREATE ROLE olga LOGIN; CREATE ROLE vera LOGIN; CREATE ROLE gate LOGIN;
	GRANT USAGE ON SCHEMA keypup TO gate; GRANT EXECUTE ON FUNCTION keypup.receive_webhook(uuid, jsonb, bytea) TO gate;
	SELECT keypup.create_account('acme'), keypup.create_account('bolt');
	SELECT keypup.add_member('acme', 'olga', 'owner'), keypup.add_member('acme', 'vera', 'viewer')});
my %connection = map { $_ => query("SELECT keypup.connect('$_', 'github', '$token', '$github->{url}')") } qw(acme bolt);
query(qq{SELECT keypup.track('acme', 'demo/open'), keypup.track('acme', 'demo/legacy')});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM keypup.sync_status WHERE phase = 'idle'}), 'two repositories are synced');

my $secret = 'a secret of the hook';
my $other = 'another secret of it';
my $delivery = 0;
my $binds = eval { require DBD::Pg; require DBI; 1 };
note($binds ? 'bodies are bound' : 'DBD::Pg is not installed: bodies stand in the statement');
my $gate;

# What the gateway is answered: to these headers and this body, for this connection.
sub deliver
{
	my ($headers, $body, $connection) = @_;
	$connection //= $connection{acme};
	my $json = encode_json($headers);
	return as('gate', "SELECT keypup.receive_webhook('$connection', " . literal($json) . ", decode('" . encode_base64($body, '') . "', 'base64'))") unless $binds;
	$gate //= DBI->connect('dbi:Pg:dbname=postgres;host=' . $node->host . ';port=' . $node->port, 'gate', '', { PrintError => 0, AutoCommit => 1, pg_enable_utf8 => 0 });
	my $statement = $gate->prepare('SELECT keypup.receive_webhook(?::uuid, ?::jsonb, ?)');
	$statement->bind_param(1, $connection);
	$statement->bind_param(2, $json);
	$statement->bind_param(3, $body, { pg_type => DBD::Pg::PG_BYTEA() });
	return $statement->execute ? $statement->fetchrow_array : $gate->errstr =~ s/^ERROR:  (.*?)\n.*/$1/sr;
}

sub signed
{
	my ($event, $body, %more) = @_;
	$delivery++;
	return { 'X-GitHub-Event' => $event, 'X-GitHub-Delivery' => "delivery-$delivery", 'Content-Type' => 'application/json', 'X-Hub-Signature-256' => 'sha256=' . hmac_sha256_hex($body, $secret), %more };
}
sub hook { my ($event, $payload) = @_; my $body = encode_json($payload); return deliver(signed($event, $body), $body); }

my $refused = 0;

sub is_refused
{
	my ($what, $why, $headers, $body, $connection) = @_;
	is(deliver($headers, $body, $connection), 'webhook is refused', "$what is refused");
	$refused++;
	$node->poll_query_until('postgres', "SELECT sum(times) = $refused FROM keypup.audit_log WHERE outcome = 'refused' AND action = 'webhook.receive'");
	is(query(q{SELECT detail FROM keypup.audit_log WHERE action = 'webhook.receive' ORDER BY last_at DESC LIMIT 1}), $why, "$what: one record says that $why");
}

# --- known answers ---

SKIP:
{
	my $known = '../shared/providers/webhooks/kat.json';
	skip "$known is not here", 1 unless -f $known;
	# What is signed, and what of the header is the signature, is for a provider's functions to say; the rest is ours.
	my %way = (
		github => sub { return 'hmac-sha256-hex', "(keypup.provider_webhook_head('github', jsonb_build_object('X-Hub-Signature-256', $_[0]))).signature", '' },
		clickup => sub { return 'hmac-sha256-hex', $_[0], '' },
		gitlab_token => sub { return 'secret', $_[0], '' },
		gitlab_signing => sub { return 'hmac-sha256-base64', "split_part($_[0], ',', 2)", '', "$_[1]{headers}{'webhook-id'}.$_[1]{headers}{'webhook-timestamp'}." },
		trello => sub { return 'hmac-sha1-base64', $_[0], $_[1]{callback_url} });
	my @vectors = grep { $way{ $_->{scheme} } } @{ decode_json(slurp_file($known))->{vectors} };
	my @wrong = grep {
		my ($scheme, $signature, $after, $before) = $way{ $_->{scheme} }->(literal($_->{value}), $_);
		my $secret = $_->{secret} // 'keypup-test-secret';
		my $body = 'convert_to(' . literal($before // '') . ", 'UTF8') || decode('$_->{body_b64}', 'base64') || convert_to(" . literal($after) . ", 'UTF8')";
		query("SELECT keypup.webhook_is_signed('$scheme', $signature, $body, keypup.encrypt_token(" . literal($secret) . ", 'test'), 'test'),
			keypup.webhook_is_signed('$scheme', $signature, $body, keypup.encrypt_token('another secret of it', 'test'), 'test')") ne ($_->{valid} ? 't|f' : 'f|f')
	} @vectors;
	is(join(' ', map { "$_->{scheme} $_->{value}" } @wrong), '', scalar(@vectors) . ' known answers of the four ways to sign');
}

# --- who is believed ---

my $ping = '{"zen": "Keep it logically awesome.", "hook_id": 1, "emoji": "😀"}';
is_refused('a webhook without a secret that is set', 'no secret is set', signed('ping', $ping), $ping);
like(as('vera', "SELECT keypup.set_webhook_secret('acme', 'github', '$secret')"), qr/you may not do this/, 'a viewer sets no secret');
is(as('olga', "SELECT keypup.set_webhook_secret('acme', 'github', " . literal($_) . ')'), 'webhook secret is malformed', 'no secret is ' . length($_) . ' characters like that') foreach 'x' x 15, 'x' x 256, "a line\nand another one", 'sécret of the hook';
is(as('olga', "SELECT keypup.set_webhook_secret('acme', 'github', '$secret')"), '', 'an owner sets it');
is(deliver(signed('ping', $ping), $ping), 'pong', 'a signed ping is answered');
is(deliver({ map { (lc $_ => signed('ping', $ping)->{$_}) } qw(X-GitHub-Event X-GitHub-Delivery Content-Type X-Hub-Signature-256) }, $ping), 'pong', 'with headers in lower case, too');
my $right = signed('ping', $ping);
is(deliver({ %$right, 'X-Hub-Signature-256' => $right->{'X-Hub-Signature-256'} =~ s/=(.*)/'=' . uc $1/er }, $ping), 'pong', 'and with a signature in upper case');
is(deliver($right, $ping), 'duplicate', 'the same delivery again is a duplicate');

my $wrong = 'the signature is wrong';
my $none = 'there is no signature, or more than one';
sub with { my ($signature) = @_; return signed('ping', $ping, 'X-Hub-Signature-256' => $signature); }
my $digest = hmac_sha256_hex($ping, $secret);
is_refused('a wrong secret', $wrong, with('sha256=' . hmac_sha256_hex($ping, $other)), $ping);
is_refused('a body that was serialised again', $wrong, signed('ping', $ping), JSON::PP->new->utf8->canonical->encode(decode_json($ping)));
is_refused('a body with one byte flipped', $wrong, signed('ping', $ping), $ping =~ s/Keep/keep/r);
is_refused('a signature with one digit flipped', $wrong, with('sha256=' . $digest =~ s/^(.)/$1 eq '0' ? '1' : '0'/er), $ping);
is_refused('a signature by SHA-1 only', $none, { %{ signed('ping', $ping) }{qw(X-GitHub-Event X-GitHub-Delivery)}, 'X-Hub-Signature' => 'sha1=' . hmac_sha1_hex($ping, $secret) }, $ping);
is_refused('SHA-1 under the name of SHA-256', $wrong, with('sha1=' . hmac_sha1_hex($ping, $secret)), $ping);
is_refused('two signatures', $none, signed('ping', $ping, 'x-hub-signature-256' => "sha256=$digest"), $ping);
is_refused('a list of two signatures', $wrong, with("sha256=$digest, sha256=$digest"), $ping);
is_refused("\"$_->[0]\"", $wrong, with($_->[1]), $ping) foreach [ 'no prefix', $digest ], [ 'a short digest', 'sha256=' . substr($digest, 2) ], [ 'a long digest', "sha256=${digest}00" ], [ 'no digits', 'sha256=' . 'g' x 64 ], [ 'nothing', '' ];
is_refused('an empty body with the signature of another', $wrong, signed('ping', $ping), '');
is_refused('no headers', $none, {}, $ping);
is_refused('the connection of another account', 'no secret is set', signed('ping', $ping), $ping, $connection{bolt});
is_refused('a connection that is not there', 'there is no such connection', signed('ping', $ping), $ping, '00000000-0000-0000-0000-000000000000');
is(as('gate', "SELECT keypup.receive_webhook('$connection{acme}', '{}', convert_to(repeat('x', 8 * 1024 * 1024 + 1), 'UTF8'))"), 'webhook is refused', 'a body of more than 8 MiB is refused');
is(as('gate', "SELECT keypup.receive_webhook($_)"), 'webhook is refused', "so are $_") foreach 'NULL, NULL, NULL', "'$connection{acme}', '[1]', '\\x'", "'$connection{acme}', '\"x\"', NULL";
$refused += 4;
my $large = encode_json({ padding => 'x' x (7 * 1024 * 1024) });
is(deliver(signed('ping', $large), $large), 'pong', 'a body of 7 MiB is taken');
foreach my $body ('', 'x', '{"a": ', '[1]', '"text"', '{' x 10000, "\xff\xfe", 'null')
{
	is(deliver(signed('ping', $body), $body), 'webhook is not a JSON object', 'a signed body is not a JSON object: ' . (length $body > 20 ? 'nested' : $body eq "\xff\xfe" ? 'bytes' : "'$body'"));
}
my $odd = '{"text": "\u0000 \ud800 ' . "\xff" . '"}';
is(deliver(signed('ping', $odd), $odd), 'pong', 'characters that text cannot hold do no harm');
my $form = 'payload=%7B%7D';
is(deliver(signed('ping', $form, 'Content-Type' => 'application/x-www-form-urlencoded'), $form), 'webhook is a form, not JSON', 'a form is told apart');
is(deliver(signed('ping', $ping, 'X-GitHub-Delivery' => $_), $ping), 'webhook has no id, or does not say what happened', 'a delivery\'s id is not ' . length($_) . ' characters like that') foreach '', 'x' x 65, "a\nb";

# Rolling over: two secrets for a day.
my $first = signed('ping', $ping);
is(as('olga', "SELECT keypup.set_webhook_secret('acme', 'github', '$other')"), '', 'another secret is set');
is(deliver(with('sha256=' . hmac_sha256_hex($ping, $other)), $ping), 'pong', 'the new one holds');
is(deliver($first, $ping), 'pong', 'and the one before still does');
query(q{SELECT keypup.rotate_keys('acme')});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM keypup.connection_tokens t JOIN keypup.data_keys k USING (key_id) WHERE k.state <> 'active'}), 'both are sealed again under a new data key');
is(deliver(with('sha256=' . hmac_sha256_hex($ping, $_)), $ping), 'pong', 'and open') foreach $secret, $other;
query(q{UPDATE keypup.connection_tokens SET expires_at = now() WHERE purpose = 'webhook_secret_before'});
is_refused('the one before, a day later', $wrong, signed('ping', $ping), $ping);
is(deliver(with('sha256=' . hmac_sha256_hex($ping, $other)), $ping), 'pong', 'the new one holds');
is(query(q{SELECT string_agg(purpose, ' ' ORDER BY purpose) FROM keypup.connection_tokens WHERE account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'acme')}), 'access_token webhook_secret', 'and the one before is gone');
my $envelope = query(q{SELECT revision, envelope FROM keypup.connection_tokens WHERE purpose = 'webhook_secret'});
as('olga', q{SELECT keypup.set_webhook_secret('acme', 'github', NULL)});
is_refused('a webhook after the secret was taken back', 'no secret is set', with('sha256=' . hmac_sha256_hex($ping, $other)), $ping);
as('olga', "SELECT keypup.set_webhook_secret('acme', 'github', '$secret')");
cmp_ok(query(q{SELECT revision FROM keypup.connection_tokens WHERE purpose = 'webhook_secret'}), '>', (split /\|/, $envelope)[0], 'the revision rises even then');
query(q{UPDATE keypup.connection_tokens SET envelope = '} . (split /\|/, $envelope)[1] . q{' WHERE purpose = 'webhook_secret'});
is_refused('a secret that was put back', $wrong, with('sha256=' . hmac_sha256_hex($ping, $other)), $ping);
as('olga', "SELECT keypup.set_webhook_secret('acme', 'github', '$secret')");
is(deliver(signed('ping', $ping), $ping), 'pong', 'another that is set after one that does not open holds');

query(q{UPDATE keypup.webhook_deliveries SET received_at = now() - interval '8 days'});
is(deliver(signed('ping', $ping), $ping), 'pong', 'a ping a week later');
is(query('SELECT count(*) FROM keypup.webhook_deliveries'), '1', 'and the deliveries before it are forgotten');

# --- what is read ---

my ($open, $legacy) = map { query("SELECT external_id FROM keypup.projects WHERE name = 'demo/$_'") } qw(open legacy);
my %open = (node_id => $open, full_name => 'demo/open');
sub change { my ($repository, %change) = @_; return decode_json(control($github, 'change', { repository => "demo/$repository", %change })); }
my $state = q{SELECT last_run_started_at, last_run_finished_at, next_run_at, watermarks, phase FROM keypup.sync_state JOIN keypup.projects USING (account_id, project_id) WHERE name = 'demo/open'};
my $before = query($state);
sub arrives { my ($sql, $name) = @_; return ok($node->poll_query_until('postgres', $sql), $name); }
sub item { my ($table, $number) = @_; return { number => $number + 0, node_id => query("SELECT global_id FROM keypup.$table JOIN keypup.projects USING (account_id, project_id) WHERE name = 'demo/open' AND number = $number") }; }
sub field { my ($table, $number, $condition) = @_; return "SELECT $condition FROM keypup.$table t JOIN keypup.projects p USING (account_id, project_id) WHERE p.name = 'demo/open' AND t.number = $number"; }

my $issue = query(q{SELECT min(number) FROM keypup.issues JOIN keypup.projects USING (account_id, project_id) WHERE name = 'demo/open'});
my $comments = query(field('issues', $issue, 'comment_count'));
change('open', change => 'comment', number => $issue + 0);
is(hook('issue_comment', { action => 'created', issue => item('issues', $issue), repository => \%open }), 'queued', 'a comment on an issue queues its reading');
arrives(field('issues', $issue, "comment_count = $comments + 1"), 'and is there within seconds');

my $pull = change('open', change => 'new_pull_request', title => 'New and unknown')->{number};
my $new_id = change('open', change => 'ready', number => $pull)->{id};
is(hook('pull_request', { action => 'opened', number => $pull, pull_request => { number => $pull, node_id => $new_id }, repository => \%open }), 'queued', 'a new pull request is queued by the id of the payload');
arrives(field('pull_requests', $pull, q{state = 'open'}), 'and is there');
change('open', change => 'comment', number => $pull);
is(hook('issue_comment', { action => 'created', issue => { number => $pull, node_id => 'I_is_not_one', pull_request => { url => 'x' } }, repository => \%open }), 'queued', 'a comment on a pull request is queued by the id that is known');
arrives(field('pull_requests', $pull, 'comment_count = 1'), 'and is there');
my $marker = 'MARKER_OF_SOURCE_CODE';
change('open', change => 'review', number => $pull, state => 'APPROVED', comments => 2);
is(hook('pull_request_review_comment', { action => 'created', comment => { diff_hunk => "\@\@ $marker", body => $marker, path => "src/$marker.c" }, pull_request => item('pull_requests', $pull), repository => \%open }), 'queued', 'a remark on source code is queued');
arrives(field('pull_requests', $pull, 'review_count = 1 AND comment_count = 3'), 'and review and remarks are there');
change('open', change => 'merge', number => $pull);
is(hook('pull_request', { action => 'closed', pull_request => item('pull_requests', $pull), repository => \%open }), 'queued', 'a merge is queued');
arrives(field('pull_requests', $pull, q{state = 'merged'}), 'and is there');
my $deployment = change('open', change => 'new_deployment', state => 'IN_PROGRESS')->{id};
is(hook('deployment', { action => 'created', deployment => { node_id => $deployment, payload => $marker, description => $marker }, repository => \%open }), 'queued', 'a deployment is queued by its id');
arrives(qq{SELECT state = 'in_progress' FROM keypup.deployments WHERE external_id = '$deployment'}, 'and is there');
change('open', change => 'deployment_status', state => 'SUCCESS');
is(hook('deployment_status', { action => 'created', deployment_status => { state => 'success', log_url => $marker }, deployment => { node_id => $deployment }, repository => \%open }), 'queued', 'a status queues the reading of its deployment');
arrives(qq{SELECT state = 'active' AND succeeded_at IS NOT NULL FROM keypup.deployments WHERE external_id = '$deployment'}, 'whose success is there');
my $release = change('open', change => 'new_release', tag => 'v1')->{id};
is(hook('release', { action => 'published', release => { node_id => $release, body => $marker, tag_name => 'v1' }, repository => \%open }), 'queued', 'a release is queued by its id');
arrives(qq{SELECT tag_name = 'v1' FROM keypup.releases WHERE external_id = '$release'}, 'and is there');
$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM keypup.sync_jobs');
is(query($state), $before, 'none of it was a run, or put one off');
is(query(q{SELECT string_agg(DISTINCT coalesce(last_error, 'none'), ' ') FROM keypup.sync_state}), 'none', 'and all went well');

is(hook('pull_request', { pull_request => { number => 1, node_id => 'PR_x' }, repository => { node_id => 'R_unknown', full_name => 'demo/unknown' } }), 'ignored', 'what is not tracked is ignored');
is(hook($_->[0], $_->[1]), 'ignored', "so is a payload like $_->[2]") foreach [ 'issues', {}, '{}' ], [ 'issues', { repository => [1], issue => 7 }, 'a list for a repository' ], [ 'issues', { repository => { node_id => { a => 1 } } }, 'an object for an id' ];
is(hook('issues', { repository => \%open, issue => $_->[0] }), 'run', "an item that is $_->[1] is looked for by a run") foreach [ 'x', 'a text' ], [ { number => 'x', node_id => '") { evil }' }, 'no id' ], [ { number => 99999, node_id => 7 x 300 }, 'too long an id' ];
arrives(q{SELECT last_run_finished_at > last_run_started_at AND phase = 'idle' FROM keypup.sync_state JOIN keypup.projects USING (account_id, project_id) WHERE name = 'demo/open' AND last_run_started_at::text <> '} . (split /\|/, $before)[0] . q{'}, 'which comes at once');

# Older objects have another form of id in webhooks.
my $new_issue = change('legacy', change => 'new_issue', title => 'After all');
is(hook('issues', { action => 'opened', issue => { number => $new_issue->{number}, node_id => $new_issue->{id} }, repository => { node_id => 'MDEwOlJlcG9zaXRvcnkx', full_name => 'Demo/Legacy' } }), 'run', 'a repository whose id is of the old form is known by its name, and read by a run');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM keypup.issues WHERE title = 'After all'}), 'which finds what is new');
change('legacy', change => 'rename', to => 'renamed');
is(hook('repository', { action => 'renamed', repository => { node_id => $legacy, full_name => 'demo/renamed' } }), 'run', 'a rename is read by a run');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM keypup.projects WHERE name = 'demo/renamed'}), 'and the name follows');

# While the provider is not asked, the same item waits once. Nothing else does: all runs have ended, and none is due.
ok($node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM keypup.sync_jobs) AND bool_and(phase = 'idle' AND next_run_at > now() + interval '1 hour') FROM keypup.sync_state}), 'all is done');
query(q{UPDATE keypup.connections SET blocked_until = now() + interval '1 hour'});
is(hook('issue_comment', { action => 'created', issue => item('issues', $issue), repository => \%open }), 'queued', "comment $_ is queued") foreach 1 .. 5;
is(query('SELECT count(*) FROM keypup.sync_jobs'), '1', 'and its issue is read once');
query('UPDATE keypup.connections SET blocked_until = NULL');
$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM keypup.sync_jobs');

# In the first run: it ends as it would have, and what was asked for during it comes after.
control($github, 'settings', { faults => [ { match => { operation => 'KeypupPullRequests' }, late => JSON::PP::true } ] });
query(q{SELECT keypup.track('acme', 'demo/slow')});
my $slow = q{FROM keypup.sync_state s JOIN keypup.projects p USING (account_id, project_id) WHERE p.tracked_at = (SELECT max(tracked_at) FROM keypup.projects)};
ok($node->poll_query_until('postgres', "SELECT p.external_id IS NOT NULL AND s.last_run_finished_at IS NULL $slow"), 'a first run goes on');
my $slow_id = query("SELECT p.external_id $slow");
my $started = query("SELECT s.last_run_started_at $slow");
my $truth = decode_json(control($github, 'truth?repository=demo/slow'));
my $some = $truth->{issues}[0];
is(hook('issues', { action => 'edited', issue => { number => $some->{number}, node_id => $some->{id} }, repository => { node_id => $slow_id, full_name => 'demo/slow' } }), 'queued', 'an item is queued in the first run');
is(hook($_->[0], { action => $_->[1], repository => { node_id => $slow_id, full_name => 'demo/slow' } }), 'run', "so is a run by a $_->[0] of which no id is told") foreach [ 'release', 'deleted' ], [ 'deployment_status', 'created' ];
is(hook('milestone', { action => 'created', repository => { node_id => $slow_id, full_name => 'demo/slow' } }), 'run', 'and a run is asked for');
is(query("SELECT s.last_run_finished_at IS NULL AND s.watermarks = '{}' AND s.phase = 'backfill' $slow"), 't', 'the first run is not finished by that');
control($github, 'settings', { faults => [] });
ok($node->poll_query_until('postgres', "SELECT s.last_run_finished_at IS NOT NULL $slow"), 'it finishes');
is(query("SELECT (SELECT count(*) FROM keypup.issues i WHERE i.project_id = p.project_id) + (SELECT count(*) FROM keypup.pull_requests r WHERE r.project_id = p.project_id) $slow"), '120', 'with everything read');
is(query("SELECT s.watermarks ? 'issues' AND s.watermarks ? 'pull_requests' $slow"), 't', 'and has its watermarks');
ok($node->poll_query_until('postgres', "SELECT s.last_run_started_at > '$started' AND s.phase = 'idle' AND s.next_run_at > now() + interval '23 hours' $slow"), 'and the run that was asked for comes after it');

# CALL keypup.sync makes a run, whatever waits.
query(q{INSERT INTO keypup.sync_jobs (account_id, connection_id, project_id, kind, arguments, in_run, due_at) SELECT i.account_id, p.connection_id, i.project_id, 'issues', jsonb_build_object('items', jsonb_build_array(i.global_id)), false, now() + interval '1 hour' FROM keypup.issues i JOIN keypup.projects p USING (account_id, project_id) ORDER BY i.global_id LIMIT 1});
my $late = change('open', change => 'new_issue', title => 'In a run');
query(q{CALL keypup.sync('acme')});
is(query(q{SELECT count(*) FROM keypup.issues WHERE title = 'In a run'}), '1', 'a job that waits between runs holds up no run');

# --- the gateway's role ---

is(query(q{SELECT string_agg(p.proname, ' ') FROM pg_proc p WHERE p.pronamespace = 'keypup'::regnamespace AND has_function_privilege('gate', p.oid, 'EXECUTE')}), 'receive_webhook', 'the gateway\'s role may call one function');
my @relations = split /\n/, query(q{SELECT relname FROM pg_class WHERE relnamespace = 'keypup'::regnamespace AND relkind IN ('r', 'v', 'S')});
my $reader = asking_as($node, 'gate');
is(join(' ', grep { $reader->("SELECT * FROM keypup.$_ LIMIT 1") !~ /^error: permission denied for (?:table|view|sequence|function) \w+$/ } @relations), '', 'and reads none of ' . @relations . ' relations');
undef $reader;
like(as('gate', "SELECT keypup.set_webhook_secret('acme', 'github', '$other')"), qr/permission denied/, 'nor does it set a secret');
is(as('vera', q{SELECT count(*) > 0, bool_and(event IN ('ping', 'issues', 'issue_comment', 'pull_request', 'pull_request_review_comment', 'milestone', 'repository', 'deployment', 'deployment_status', 'release')) FROM keypup.webhook_deliveries}), 't|t', 'a viewer of the account sees what was delivered');
is(query(q{SELECT sum(times) FROM keypup.audit_log WHERE action = 'webhook.receive' AND outcome = 'refused'}), $refused, 'each refusal is counted once');
is(query(q{SELECT count(*) FROM keypup.audit_log WHERE action = 'webhook.set'}), '4', 'and each secret that was set');

# PostgREST calls a function of one json parameter, with the headers in a setting.
query(qq{CREATE SCHEMA hooks; GRANT USAGE ON SCHEMA hooks TO gate;
	CREATE FUNCTION hooks.github(json) RETURNS text LANGUAGE sql AS \$\$
	SELECT keypup.receive_webhook('$connection{acme}', current_setting('request.headers')::jsonb, convert_to(\$1::text, 'UTF8')) \$\$});
my $spaced = '{ "zen":  "Keep it\u0000 \"logically\"\n awesome",  "zen": 1.0e0 }';
my $headers = encode_json({ map { (lc $_ => signed('ping', $spaced)->{$_}) } qw(X-GitHub-Event X-GitHub-Delivery X-Hub-Signature-256) });
is(as('gate', "BEGIN; SET LOCAL \"request.headers\" = '$headers'; SELECT hooks.github(" . literal($spaced) . '); COMMIT'), 'pong', 'a function as PostgREST calls it hands the bytes on as they are');

# --- nothing of it is kept ---

$gate->disconnect if $gate;
query('CHECKPOINT');
$node->stop;
isnt((run_command([ 'grep', '-rla', 'demo/open', $node->data_dir ]))[0], '', 'what is stored is found in the data directory');
my ($found) = run_command([ 'grep', '-rlaE', "$marker|$secret|$other", $node->data_dir ]);
is($found, '', 'no file of the data directory holds source code of a webhook, or a secret');
unlike(slurp_file($node->logfile), qr/$marker|$secret|$other/, 'nor does the log');
done_testing();
