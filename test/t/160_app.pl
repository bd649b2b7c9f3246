# A connection as a GitHub App: the worker gets the installation's tokens itself, renews them, and says what is wrong when
# there are none. What the provider says about any token is kept, and warned of.
use strict;
use warnings;

use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use MIME::Base64;
use POSIX qw(strftime);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'ghp_APP0123456789';
my $github = start_github($token, '--scopes', 'read:org', '--generate', 'demo/closed:pulls=6,issues=4,seed=3,private=1,releases=2,deployments=3', '--generate', 'demo/hidden:pulls=2,issues=2,seed=4,private=1');
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1d'
# psql of 15 binds no parameter, as an application would: what is refused here has its key in the statement.
log_min_error_statement = 'panic'
CONF
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
sub becomes { return $node->poll_query_until('postgres', $_[0]); }
sub as { return as_role($node, @_); }
# What was refused is confirmed after a pause, which need not be waited for.
sub stops { return becomes(q{WITH w AS (UPDATE keypup.connections SET retry_at = now() WHERE state = 'token_doubted' AND retry_at > now()) SELECT state = 'token_refused' FROM keypup.connections}); }

sub make_key
{
	my ($name, @command) = @_;
	my $file = "$github->{dir}/$name.pem";
	run_command([ 'openssl', @command, '-out', $file ]) if @command;
	my ($public) = run_command([ 'openssl', 'pkey', '-in', $file, '-pubout' ]);
	return (slurp_file($file), $public);
}
system("openssl genrsa -traditional -out $github->{dir}/first.pem 2048 2>&1 >/dev/null") == 0 or die;
my ($first, $first_public) = make_key('first');
my ($second, $second_public) = make_key('second', 'genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:3072', '-quiet');
like($first, qr/^-----BEGIN RSA PRIVATE KEY-----/, 'one key is PKCS#1');
like($second, qr/^-----BEGIN PRIVATE KEY-----/, 'one is PKCS#8');

sub app
{
	my (%more) = @_;
	return control($github, 'app', { app_id => 7, public_key_pem => $first_public, installations => [ { id => 99, repositories => ['demo/closed'] } ], %more });
}
app();
sub app_tokens { return decode_json(control($github, 'counters'))->{app_tokens}; }
sub status { return query(qq{SELECT concat_ws('|', phase, last_error, last_error_hint) FROM keypup.sync_status WHERE project = 'demo/closed'}); }
# One reading of everything, by the worker.
sub read_again
{
	query(q{UPDATE keypup.sync_state SET next_run_at = now(); SELECT keypup.wake_launcher()});
}
sub reads_on { my ($name) = @_; my $before = query('SELECT max(last_run_finished_at) FROM keypup.sync_state'); read_again(); return ok(becomes("SELECT max(last_run_finished_at) > '$before' FROM keypup.sync_state"), $name) || diag(status()); }
# As if the token were about to end.
sub age { query(q{UPDATE keypup.connection_tokens SET expires_at = now() - interval '1 second' WHERE purpose = 'access_token'; UPDATE keypup.app_installations SET ask_at = now()}); }

query('CREATE EXTENSION keypup');
plant_overloads($node);
query(q{CREATE ROLE olga LOGIN; CREATE ROLE vera LOGIN; SELECT keypup.create_account('acme');
	SELECT keypup.add_member('acme', 'olga', 'owner'); SELECT keypup.add_member('acme', 'vera', 'viewer')});
sub connect_app { my ($key, %more) = @_; return as($more{role} // 'olga', 'SELECT keypup.connect_app(' . join(', ', "'acme'", "'github'", literal($more{app} // '7'), $more{installation} // 99, literal($key), literal($github->{url})) . ')'); }

# --- keys that cannot be used ---

my ($weak) = make_key('weak', 'genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024', '-quiet');
my ($elliptic) = make_key('elliptic', 'genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-quiet');
my ($locked) = run_command([ 'openssl', 'pkcs8', '-topk8', '-in', "$github->{dir}/first.pem", '-passout', 'pass:secret' ]);
my %wrong = ('no key at all' => 'ghp_NOTAKEY', 'a public key' => $first_public, 'an RSA key of 1024 bits' => $weak, 'an elliptic key' => $elliptic, 'a key under a passphrase' => $locked,
	'half a key' => substr($first, 0, 800), 'a key that is too long' => $first . 'x' x 20000, 'nothing' => '', 'a key with a changed number' => substr($first, 0, 700) . ($first =~ /^.{700}A/s ? 'B' : 'A') . substr($first, 701));
foreach my $what (sort keys %wrong)
{
	is(connect_app($wrong{$what}), 'private key cannot be used', "$what is refused");
}
like(connect_app($first, role => 'vera'), qr/may not do this/, 'a viewer may not connect');
is(connect_app($first, app => '7; x'), "an app's id and an installation's are needed", 'an app\'s id has no spaces');
is(connect_app($first, installation => 0), "an app's id and an installation's are needed", 'an installation\'s is above zero');

# --- connecting ---

like(connect_app($first), qr/^[0-9a-f-]{36}$/, 'an owner connects as an app');
is(query(q{SELECT string_agg(purpose, ',') FROM keypup.connection_tokens}), 'app_key', 'there is a key, and no token yet');
# --- what could be tracked: exactly what the installation may see ---

is(as('olga', q{SELECT project || ' ' || visibility || ' ' || is_tracked FROM keypup.discover('acme')}), 'demo/closed private false', 'the installation\'s repositories are found, though nothing is tracked yet');
is(as('olga', q{SELECT project FROM keypup.discover('acme')}), 'demo/closed', 'and again');
is(app_tokens(), '1', 'with one token');
like(as('vera', q{SELECT keypup.discover('acme')}), qr/may not do this/, 'a viewer may not look');
# From here on tokens are counted: none is asked for unless a job waits.
query(q{UPDATE keypup.app_installations SET wanted_until = NULL});

# --- reading, with the same token ---

is(as('olga', qq{SELECT keypup.track('acme', 'demo/closed')}), '', 'a private repository is tracked');
ok(becomes(q{SELECT phase = 'idle' FROM keypup.sync_status}), 'the worker reads it') or diag(status());
is(query('SELECT (SELECT count(*) FROM keypup.pull_requests) || \' \' || (SELECT count(*) FROM keypup.issues)'), '6 4', 'all of it');
is(app_tokens(), '1', 'with one token');
is(query(q{SELECT string_agg(purpose || ' ' || revision || ' ' || (expires_at > now() + interval '30 minutes')::text, ',' ORDER BY purpose) FROM keypup.connection_tokens WHERE expires_at IS NOT NULL}), 'access_token 1 true', 'which is sealed, with its end');
reads_on('it reads again');
is(app_tokens(), '1', 'with the same token');
is(query(q{SELECT scopes IS NULL AND can_write IS NULL AND token_expires_at IS NULL FROM keypup.connections}), 't', 'an app has no scopes');
like(as('olga', q{SELECT keypup.replace_token('acme', 'github', 'ghp_0123456789')}), qr/the connection is an app's/, 'it takes no token of a person');

query(q{UPDATE keypup.connection_tokens SET expires_at = now() + interval '9 minutes' WHERE purpose = 'access_token'; UPDATE keypup.app_installations SET ask_at = now() - interval '1 minute'});
reads_on('with nine minutes left');
is(app_tokens(), '2', 'another token is asked for');

# --- renewal ---

# Half of a token's time is longer than a busy machine takes for a request.
app(token_seconds => 14);
age();
control($github, 'settings', { latency_ms => 3000 });
query(q{SELECT keypup.untrack('acme', 'demo/closed'); SELECT keypup.track('acme', 'demo/closed')});
ok(becomes(q{SELECT phase = 'idle' FROM keypup.sync_status}), 'a reading longer than its tokens live is done') or diag(status());
cmp_ok(app_tokens(), '>=', 4, 'with several tokens: ' . app_tokens());
is(query('SELECT (SELECT count(*) FROM keypup.pull_requests) || \' \' || (SELECT count(*) FROM keypup.issues)'), '6 4', 'and nothing is missing');
control($github, 'settings', { latency_ms => 0 });
app();
age();
reads_on('and with an hour\'s again');
# Projects are asked together whether they changed: what is a job of none of them waits for a token, too.
age();
query(q{INSERT INTO keypup.sync_jobs (account_id, connection_id, kind, arguments, in_run)
	SELECT account_id, connection_id, 'poll', jsonb_build_object('items', jsonb_agg(project_id)), false FROM keypup.projects GROUP BY 1, 2; SELECT keypup.wake_launcher()});
ok(becomes(q{SELECT count(*) = 0 FROM keypup.sync_jobs}), 'a poll has a token asked for') or diag(status());

# Taken back before its time: the emulator forgets the tokens of an installation that was gone.
ok(becomes(q{SELECT ask_at > now() + interval '40 minutes' FROM keypup.app_installations}), 'which is good for an hour');
my $count = app_tokens();
query(q{UPDATE keypup.sync_state SET failures = 0});
control($github, 'settings', { faults => [ { match => { path => '/graphql', times => 1 }, status => 401, body => { message => 'Bad credentials' } } ] });
reads_on('a token that is refused once is renewed');
is(app_tokens(), $count + 1, 'by one more');
is(query('SELECT failures FROM keypup.sync_state') . query('SELECT is_renewed FROM keypup.app_installations'), '0f', 'without an error');
control($github, 'settings', { faults => [ { match => { path => '/graphql' }, status => 401, body => { message => 'Bad credentials' } } ] });
read_again();
ok(stops(), 'when the fresh one is refused, too, the connection stops');
is(app_tokens(), $count + 2, 'after one more token');
like(status(), qr/^stopped\|GitHub refuses the token \(401\)\|.*replace_app_key/, 'and says so');
control($github, 'settings', { faults => [] });
is(as('olga', q{SELECT keypup.replace_app_key('acme', 'github', NULL)}), '', 'told to try again');
ok(becomes(q{SELECT phase = 'idle' FROM keypup.sync_status}), 'it reads') or diag(status());

# --- what is wrong with the app ---

sub refused
{
	my ($what, $break, $mend, $pattern, $has_token) = @_;
	$break->();
	age() unless $has_token;
	read_again();
	ok(stops(), "$what: the connection stops") or diag(status());
	like(status(), $pattern, "$what: and says why");
	like(query('SELECT reason FROM keypup.halted_connections'), qr/\(4\d\d\)/, "$what: also in halted_connections");
	query(q{SELECT keypup.track('acme', 'demo/hidden')});
	is(query('SELECT count(*), count(DISTINCT (phase, last_error, last_error_hint)) FROM keypup.sync_status'), '2|1', "$what: as on a project that is tracked later");
	query(q{SELECT keypup.untrack('acme', 'demo/hidden')});
	$mend->();
	ok(becomes(q{SELECT phase = 'idle' AND last_error IS NULL FROM keypup.sync_status}), "$what: mended, it reads") or diag(status());
}
my $retry = sub { app(); as('olga', q{SELECT keypup.replace_app_key('acme', 'github', NULL)}) };
refused('a token that is taken back as the installation is suspended', sub { app(installations => [ { id => 99, suspended => JSON::PP::true } ]) }, $retry, qr/suspended \(403\)/, 1);
refused('a suspended installation', sub { app(installations => [ { id => 99, suspended => JSON::PP::true } ]) }, $retry, qr/the app's installation is suspended \(403\)\|Unsuspend it/);
refused('an installation that is gone', sub { app(installations => [ { id => 98 } ]) }, $retry, qr/installation is not there \(404\)\|Check/);
refused('a permission that the app has not', sub { app(installations => [ { id => 99, permissions => { issues => 'read' } } ]) }, $retry, qr/does not grant .*\(422\).*\|Give the app read access/);
refused('a wrong app id', sub { query(q{UPDATE keypup.app_installations SET app_id = '8'}) }, sub { query(q{UPDATE keypup.app_installations SET app_id = '7'}); $retry->() }, qr/knows no app of this id \(404\)\|Check/);
refused('a key that was deleted at GitHub', sub { app(public_key_pem => $second_public) },
	sub { is(as('olga', 'SELECT keypup.replace_app_key(\'acme\', \'github\', ' . literal($second) . ')'), '', 'another key is given') }, qr/refuses the app's key \(401\).*\|.*replace_app_key/);
is(as('olga', 'SELECT keypup.replace_app_key(\'acme\', \'github\', ' . literal($weak) . ')'), 'private key cannot be used', 'a weak one is not taken');
is(query(q{SELECT string_agg(DISTINCT action, ' ') FROM keypup.audit_log WHERE action ~ 'app_key'}), 'app_key.replace app_key.retry', 'both are in the audit log');

# GitHub is ill: it is tried again, and the connection is not given up.
my $path = '/app/installations/99/access_tokens';
sub app_second { app(public_key_pem => $second_public, @_); }

# What an app may read beside: deployments where it has the right, and releases never, as that right opens the source code.
is(query(q{SELECT (SELECT count(*) FROM keypup.deployments), (SELECT count(*) FROM keypup.releases), substring(warning FROM 'the token may not.*') FROM keypup.sync_status WHERE project = 'demo/closed'}),
	'0|0|the token may not read releases and deployments: they are left out', 'an app without the right to deployments reads the rest, and it is said');
app_second(installations => [ { id => 99, repositories => ['demo/closed'], permissions => { issues => 'read', pull_requests => 'read', deployments => 'read', contents => 'write' } } ]);
as('olga', q{SELECT keypup.replace_app_key('acme', 'github', NULL)});
age();
read_again();
ok(becomes(q{SELECT count(*) = 3 FROM keypup.deployments}), 'given the right, it reads them');
ok(becomes(q{SELECT phase = 'idle' AND warning = 'the token may not read releases: they are left out' FROM keypup.sync_status WHERE project = 'demo/closed'}), 'its token may not read contents, though the app may') or diag(query('SELECT warning FROM keypup.sync_status'));
app_second();
as('olga', q{SELECT keypup.replace_app_key('acme', 'github', NULL)});
reads_on('it reads on without');
# A failure is over as soon as it is asked again: each is noted.
query(q{CREATE TABLE failed (times integer); CREATE FUNCTION note_failure() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$ BEGIN INSERT INTO public.failed VALUES (NEW.failures); RETURN NULL; END $$;
	CREATE TRIGGER note_failure AFTER UPDATE ON keypup.app_installations FOR EACH ROW WHEN (NEW.failures > OLD.failures) EXECUTE FUNCTION note_failure()});
foreach my $fault ([ '502', { status => 502, raw => '<html>' } ], [ 'no token', { status => 201, body => { expires_at => '2030-01-01T00:00:00Z' } } ], [ 'an escaped token', { status => 201, raw => '{"token":"ghs_\u0041APPESCAPED","expires_at":"2030-01-01T00:00:00Z"}' } ],
	[ 'an endless token', { status => 201, body => { token => 'x' x 100_000, expires_at => '2030-01-01T00:00:00Z' } } ],
	[ 'one 401', { status => 401, body => { message => 'A JSON web token could not be decoded' } } ], [ 'one 404', { status => 404, body => { message => 'Not Found' } } ],
	[ 'no end', { status => 201, body => { token => 'ghs_APPNOEND' } } ], [ 'no JSON', { status => 201, raw => 'token' } ], [ 'a dropped connection', { drop => JSON::PP::true } ],
	[ 'a rate limit', { status => 403, headers => { 'retry-after' => '1' }, body => { message => 'You have exceeded a secondary rate limit' } } ])
{
	control($github, 'settings', { faults => [ { match => { path => $path, times => 1 }, %{ $fault->[1] } } ] });
	query('DELETE FROM failed');
	age();
	read_again();
	ok(becomes(q{SELECT count(*) > 0 FROM failed}), "$fault->[0]: is a failure");
	isnt(query('SELECT state FROM keypup.connections'), 'token_refused', "$fault->[0]: which does not stop the connection");
	query(q{UPDATE keypup.connections SET blocked_until = now(), retry_at = now() WHERE blocked_until IS NOT NULL OR retry_at IS NOT NULL; UPDATE keypup.app_installations SET ask_at = now()});
	ok(becomes(q{SELECT phase = 'idle' AND last_error IS NULL FROM keypup.sync_status}), "$fault->[0]: and it goes on by itself") or diag(status());
}
control($github, 'settings', { faults => [] });
query('DROP TRIGGER note_failure ON keypup.app_installations; DROP FUNCTION note_failure(); DROP TABLE failed');

# A server whose clock is off.
foreach my $offset (-3600, 3600)
{
	my $date = strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(time + $offset));
	control($github, 'settings', { clock_offset_ms => $offset * 1000, faults => [ { match => { path => $path }, headers => { date => $date } } ] });
	age();
	reads_on("a clock that is off by $offset seconds is taken into account");
	cmp_ok(abs(query('SELECT extract(epoch FROM clock_ahead) FROM keypup.app_installations') - $offset), '<', 300, 'as GitHub\'s answer tells');
	is(query(q{SELECT expires_at BETWEEN now() + interval '50 minutes' AND now() + interval '66 minutes' FROM keypup.connection_tokens WHERE purpose = 'access_token'}), 't', 'and its token\'s end is in this server\'s time');
}
control($github, 'settings', { clock_offset_ms => 0, faults => [] });
age();
reads_on('and so is one that was set right');

# --- keys of the account are rotated ---

my $revisions = q{SELECT string_agg(purpose || revision, ' ' ORDER BY purpose) FROM keypup.connection_tokens};
my $before = query($revisions);
query('SELECT keypup.rotate_keys()');
ok(becomes(q{SELECT sum(records) FILTER (WHERE state = 'decrypt_only') = 0 AND sum(records) = 2 FROM keypup.key_status}), 'rotate_keys: both secrets are sealed again');
isnt(query($revisions), $before, 'as their revisions show');
reads_on('and the token opens');
age();
reads_on('and the key');
is(query(q{SELECT bool_or(damaged_records > 0) FROM keypup.key_status}), 'f', 'nothing is damaged');

# --- CALL, without the worker ---

$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
age();
$count = app_tokens();
query(q{SELECT keypup.untrack('acme', 'demo/closed'); SELECT keypup.track('acme', 'demo/closed')});
as('olga', q{CALL keypup.sync('acme')});
is(query('SELECT (SELECT count(*) FROM keypup.pull_requests) || \' \' || (SELECT count(*) FROM keypup.issues)'), '6 4', 'CALL keypup.sync gets a token itself, where keypup is not preloaded');
is(app_tokens(), $count + 1, 'one');
app_second(installations => []);
age();
my ($code, $out, $error) = $node->psql('postgres', q{CALL keypup.sync('acme')});
like($error, qr/WARNING:.*installation is not there \(404\)/, 'and says when there is none');
app_second();
as('olga', q{SELECT keypup.replace_app_key('acme', 'github', NULL)});

# --- what is said about tokens ---

query(q{SELECT keypup.create_account('bolt'); SELECT keypup.add_member('bolt', 'olga', 'owner')});
query(qq{SELECT keypup.connect('bolt', 'github', '$token', '$github->{url}'); SELECT keypup.track('bolt', 'demo/hidden')});
sub warning
{
	my ($settings) = @_;
	control($github, 'settings', $settings);
	as('olga', q{CALL keypup.sync('bolt')});
	my $warning = as('olga', q{SELECT warning FROM keypup.sync_status WHERE account = 'bolt'});
	# There is no worker here, which is said first, each time.
	$warning =~ s/^keypup is not preloaded: nothing is read in the background \([^()]*\)(; |$)// or die "nothing is said of the worker: $warning";
	return $warning;
}
sub with { my (%headers) = @_; return { faults => [ { match => { path => '/graphql' }, headers => \%headers } ] }; }
is(warning({ faults => [] }), '', 'a token that only reads is no warning');
is(query(q{SELECT scopes, can_write FROM keypup.connections WHERE name = 'github' AND scopes IS NOT NULL}), 'read:org|f', 'its scopes are kept');
foreach my $scope (qw(repo public_repo write:org admin:repo_hook delete_repo workflow user gist notifications))
{
	like(warning({ scopes => [ 'read:org', $scope ] }), qr/^the token can change things at the provider \(read:org, $scope\)/, "$scope is warned of");
}
is(warning({ scopes => [ 'read:org', 'read:user', 'user:email' ] }), '', 'other scopes that read are not');
my $soon = time + 3 * 86400;
like(warning(with('github-authentication-token-expiration' => strftime('%Y-%m-%d %H:%M:%S UTC', gmtime $soon))), qr/^the token expires at/, 'a token that ends in three days is warned of');
is(query(qq{SELECT extract(epoch FROM token_expires_at)::bigint FROM keypup.connections WHERE token_expires_at IS NOT NULL}), $soon, 'its end is kept');
like(warning(with('github-authentication-token-expiration' => strftime('%Y-%m-%d %H:%M:%S +0200', gmtime($soon + 7200)))), qr/^the token expires at/, 'also with an offset');
is(query(qq{SELECT extract(epoch FROM token_expires_at)::bigint FROM keypup.connections WHERE token_expires_at IS NOT NULL}), $soon, 'which is the same time');
is(warning(with('github-authentication-token-expiration' => strftime('%Y-%m-%d %H:%M:%S UTC', gmtime($soon + 30 * 86400)))), '', 'one that ends in a month is not');
is(warning(with('github-authentication-token-expiration' => $_)), '', "nor \"$_\"") foreach '2027-02-31 10:00:00 UTC', 'never', '', 'infinity', '2027-10-12';
like(warning(with('x-github-sso' => 'partial-results; organizations=21955855,20582480')), qr/single sign-on for the token \(21955855,20582480\)/, 'organizations that are left out are warned of');
is(warning({ faults => [] }), '', 'until they are not');
my $writes = q{SELECT ctid, xmin FROM keypup.connections c WHERE account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'bolt')};
my $row = query($writes);
query(q{BEGIN; SELECT keypup.github_keep_headers(account_id, connection_id, jsonb_build_object('x-oauth-scopes', scopes), true) FROM keypup.connections WHERE scopes IS NOT NULL; COMMIT});
is(query($writes), $row, 'what is known already is not written again');

# --- secrets stand nowhere ---

# The key as an application gives it, on a server that logs what it can.
SKIP:
{
	skip 'DBD::Pg, which binds parameters, is not here', 2 unless eval { require DBI; require DBD::Pg; 1 };
	my $application = DBI->connect('dbi:Pg:' . ($node->connstr('postgres') =~ s/ /;/gr), undef, undef, { RaiseError => 1, PrintError => 0 });
	$application->do("SET $_") foreach q{log_statement = 'all'}, q{log_min_duration_statement = 0}, q{log_parameter_max_length = 0}, q{debug_print_parse = on}, q{debug_print_plan = on}, q{log_min_error_statement = 'error'}, q{plan_cache_mode = force_generic_plan};
	$application->do(q{SELECT keypup.connect_app('bolt', 'github', '7', 99, $1, $2, 'bound')}, undef, $second, $github->{url});
	$application->do(q{SELECT keypup.replace_app_key('bolt', 'bound', $1)}, undef, $first);
	eval { $application->do(q{SELECT keypup.replace_app_key('bolt', 'bound', $1)}, undef, substr($first, 0, 900)) };
	like($@, qr/private key cannot be used/, 'half a key that is bound is refused');
	eval { $application->do(q{SELECT keypup.connect_app('bolt', 'github', '7', 99, $1, $2, 'bound')}, undef, $second, $github->{url}) };
	like($@, qr/exists already/, 'and a name that is taken');
	$application->disconnect;
}

$node->safe_psql('postgres', 'CHECKPOINT');
my ($dump) = run_command([ 'pg_dump', '-h', $node->host, '-p', $node->port, 'postgres' ]);
$node->stop;
my $log = slurp_file($node->logfile);
my $probe = $node->data_dir . '/probe';
# Files that hold any of the forms of a line of a key: text, bytes, hexadecimal, and the decimal bytes of a plan's constants.
sub found
{
	my ($line) = @_;
	my @bytes = map { sprintf '\\x%02x', $_ } unpack 'C*', decode_base64($line);
	my $form = join '|', quotemeta $line, join('', @bytes), unpack('H*', decode_base64($line)), join('\\s+', unpack 'C*', substr $line, 0, 20);
	local $ENV{LC_ALL} = 'C';
	my ($files) = run_command([ 'grep', '-rlaP', $form, $node->data_dir, $node->logfile ]);
	return $files . ($dump =~ /$form/ ? ' dump' : '');
}
foreach my $key ([ 'the first key', $first ], [ 'the second key', $second ])
{
	# grep goes by lines: a part of the key that has no line end in it.
	my ($line) = grep { length == 64 && decode_base64($_) !~ /[\n\0]/ } (split /\n/, $key->[1])[ 5 .. 20 ];
	is(found($line), '', "$key->[0] is not in the data directory, the log or a dump");
	foreach my $form ($line, decode_base64($line), unpack('H*', decode_base64($line)), join ' ', unpack 'C*', $line)
	{
		append_to_file($probe, $form);
		is(found($line), $probe, '(where it would be found)');
		unlink $probe;
	}
}
like($log, qr/seal_app_key/, 'the log did talk of it');
my ($found) = run_command([ 'grep', '-raoE', 'ghs_[0-9a-zA-Z]{6}|eyJhbGciOi', $node->data_dir, $node->logfile ]);
is($found, '', 'no token of an installation, and no web token, is in the data directory or the log');
done_testing();
