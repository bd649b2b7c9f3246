# Whoever may no longer do something when their function has waited for a lock does not do it: every function that changes something of an
# account, behind somebody who holds the rows of each table, and behind each other function.
use strict;
use warnings;

use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'DBD::Pg is not here' unless eval { require DBI; require DBD::Pg; 1 };

my $node = new_server({ ca_file => '' }, <<CONF);
shared_preload_libraries = 'keypup'
keypup.bcrypt_cost = 10
keypup.workers = 0
keypup.change_timeout = '10min'
CONF
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
my ($issuer, $client) = ('https://id.example', 'client-1');
my ($made) = run_command([ 'node', 'test/sso/tokens.mjs', $issuer, $client ]);
my $key_set = literal(encode_json(decode_json($made)->{key_set}));
system_or_bail('openssl', 'genrsa', '-out', "${PostgreSQL::Test::Utils::tmp_check}/app.pem", '2048');
my $pem = literal(slurp_file("${PostgreSQL::Test::Utils::tmp_check}/app.pem"));
my $token = 'ghp_afterwaiting0123456789';
my $url = 'https://api.github.com';

# One account whose people have passwords, one whose people sign in elsewhere; bob may all by a role that is taken from him.
query(qq{CREATE EXTENSION keypup; CREATE ROLE olga LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE sam LOGIN; CREATE ROLE kim LOGIN; CREATE ROLE owners; GRANT owners TO bob;
	SELECT keypup.create_account(a), keypup.add_member(a, 'olga', 'owner'), keypup.add_member(a, 'owners', 'owner'), keypup.add_member(a, 'kim', 'viewer'), keypup.add_person(a, 'ann', 'viewer'),
		keypup.connect(a, 'github', '$token', '$url', 'github'), keypup.connect(a, 'github', '$token', '$url', 'second'), keypup.track(a, 'demo/one', 'github'), keypup.track(a, 'demo/two', 'github'),
		keypup.define_role(a, 'wide', ARRAY['data.read']) FROM unnest('{acme,dune}'::text[]) a;
	SELECT keypup.set_password('acme', 'ann', 'correct horse battery'), keypup.connect_app('acme', 'github', '7', 99, $pem, '$url', 'app'), keypup.set_webhook_secret('acme', 'github', repeat('0123456789abcdef', 2)),
		keypup.limit_member('acme', 'kim', ARRAY['demo/one']);
	SELECT keypup.add_identity_provider('dune', '$issuer', ARRAY['$client'], $key_set), keypup.map_group('dune', '$issuer', 'leads', 'admin'), keypup.link_person('dune', 'ann', '$issuer', 'subject-1');
	INSERT INTO keypup.totp_seeds (account_id, enrollment_id, member, envelope, confirmed_at) SELECT account_id, gen_random_uuid(), 'ann', '\\x4b50010100000001' || decode(repeat('00', 40), 'hex'), now() FROM keypup.accounts WHERE name = 'acme';
	UPDATE keypup.totp_seeds SET confirmed_at = now();
	INSERT INTO keypup.people (account_id, person_id) SELECT account_id, md5(name || n)::uuid FROM keypup.accounts, generate_series(1, 5) n;
	INSERT INTO keypup.identities (account_id, connection_id, external_id, login, kind, person_id)
	SELECT c.account_id, c.connection_id, 'U_' || CASE n WHEN 5 THEN 4 ELSE n END, 'login' || n, 'user', md5(a.name || n)::uuid FROM keypup.connections c JOIN keypup.accounts a USING (account_id), generate_series(1, 5) n WHERE c.name = CASE n WHEN 5 THEN 'second' ELSE 'github' END});
query(q{SELECT keypup.merge_people('acme', 'login3', 'login1'), keypup.set_team('acme', 'core', ARRAY['login1']), keypup.mark_bot('acme', 'login4')});
query(q{SELECT keypup.set_audit_sink('acme', 'kept', 'otlp', 'https://collector.example')});
my $consent = query(q{SELECT keypup.grant_support('acme', 'sam', 'looks at a sync', '1 hour')});
my $prefix = substr(query(q{SELECT keypup.create_api_key('acme', 'k', 'viewer')}), 0, 15);

my %calls = (
	add_member => q{'acme', 'kim', 'admin'}, add_person => q{'acme', 'ann', 'admin'}, remove_member => q{'acme', 'ann'}, limit_member => q{'acme', 'kim', ARRAY['demo/two']}, define_role => q{'acme', 'wide', ARRAY['settings.read']},
	link_person => qq{'dune', 'ann', '$issuer', 'subject-2'}, map_group => qq{'dune', '$issuer', 'leads', 'viewer'}, add_identity_provider => qq{'dune', '$issuer', ARRAY['client-2'], $key_set}, remove_identity_provider => qq{'dune', '$issuer'},
	allow_provider_sign_in => q{'dune', 'viewer', 'github'}, set_password => q{'acme', 'ann', 'staple of another kind'}, reset_totp => q{'acme', 'ann'}, require_second_factor => q{'acme', true},
	create_api_key => q{'acme', 'x', 'viewer'}, revoke_api_key => qq{'acme', '$prefix'}, grant_support => q{'acme', 'sam', 'looks at a sync', '1 hour', ARRAY['demo/one']}, revoke_support => qq{'acme', $consent},
	disconnect => q{'acme', 'github'}, drop_account => q{'acme'}, shred_account => q{'acme'}, track => q{'acme', 'demo/three', 'github'}, untrack => q{'acme', 'demo/one'}, reread => q{'acme', 'demo/two'},
	set_time_zone => q{'acme', 'Europe/Paris'}, set_production_environments => q{'acme', ARRAY['x']}, set_incident_labels => q{'acme', ARRAY['x']}, set_deployment_window => q{'acme', '2 hours'}, set_stale_after => q{'acme', '14 days'},
	set_rework_labels => q{'acme', ARRAY['x']}, set_blocked_labels => q{'acme', ARRAY['x']}, set_working_hours => q{'acme', '{Mo-Fr 08:00-17:00}'}, set_holidays => q{'acme', '{2026-12-25}'}, set_person_working_time => q{'acme', 'login2', '{Mo-Fr 08:00-17:00}'},
	connect => qq{'acme', 'github', '$token', '$url', 'third'}, connect_app => qq{'acme', 'github', '7', 99, $pem, '$url', 'fourth'}, set_webhook_secret => q{'acme', 'github', repeat('fedcba9876543210', 2)},
	replace_token => qq{'acme', 'github', '${token}new'}, replace_app_key => qq{'acme', 'app', $pem}, rotate_keys => q{'acme'},
	merge_people => q{'acme', 'login2', 'login1'}, split_person => q{'acme', 'login3'}, merge_verified_people => q{'acme'}, set_team => q{'acme', 'core', ARRAY['login1', 'login2']},
	mark_bot => q{'acme', 'login2'}, unmark_bot => q{'acme', 'login4'},
	set_audit_sink => q{'acme', 'siem', 'otlp', 'https://collector.example'}, remove_audit_sink => q{'acme', 'kept'});
# What is asked of the worker, and what shows nobody's rights, is for other tests (145, 144).
my %elsewhere = map { $_ => 1 } qw(verify_audit discover accept_membership sign_in sign_in_with_password sign_in_with_provider enroll_totp confirm_totp remove_totp);
my @functions = split /\n/, query(q{SELECT DISTINCT p.proname FROM pg_proc p WHERE p.pronamespace = 'keypup'::regnamespace AND p.provolatile = 'v' AND p.prokind = 'f' AND p.proargnames[1] = 'account'
	AND has_function_privilege('keypup_member', p.oid, 'EXECUTE') ORDER BY 1});
is(join(' ', grep { !$calls{$_} && !$elsewhere{$_} } @functions), '', 'every function that changes something of an account is tried');
my @tables = split /\n/, query(q{SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'keypup'::regnamespace AND c.relkind = 'r' AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'account_id' AND NOT a.attisdropped) ORDER BY 1});

sub connected
{
	my ($role) = @_;
	return DBI->connect(sprintf('dbi:Pg:dbname=postgres;host=%s;port=%s;user=%s', $node->host, $node->port, $role), undef, undef, { RaiseError => 0, PrintError => 0, PrintWarn => 0, pg_server_prepare => 0, AutoCommit => 1 });
}
my $superuser = query('SELECT current_user');
my ($control, $holder, $olga, $bob) = map { connected($_) } $superuser, $superuser, 'olga', 'bob';
$bob->do(q{SET client_min_messages = error}); $olga->do(q{SET client_min_messages = error});
my ($bobs_pid) = $bob->selectrow_array('SELECT pg_backend_pid()');
my @of_bob = grep { $calls{$_} } @functions;
foreach my $function (@of_bob)
{
	$bob->do('BEGIN');
	$bob->do("SELECT keypup.$function($calls{$function})");
	is($bob->err && $bob->errstr, undef, "$function can be called");
	$bob->do('ROLLBACK');
}

my (%waits, @wrong);
# Tries functions as bob while somebody holds something; where one waits, he is no owner any more when it goes on.
sub try_behind
{
	my ($session, $sql, $name, @tried) = @_;
	my $holds = 0;
	foreach my $function (@tried)
	{
		$holds ||= $session->do('BEGIN') && $session->do($sql) || die "$sql: " . $session->errstr;
		$bob->do('BEGIN');
		$bob->do("SELECT keypup.$function($calls{$function})", { pg_async => DBD::Pg::PG_ASYNC() });
		my $has_waited = 0;
		until ($has_waited || $bob->pg_ready)
		{
			($has_waited) = $control->selectrow_array("SELECT count(*) FROM pg_stat_activity WHERE pid = $bobs_pid AND wait_event_type = 'Lock'");
		}
		if ($has_waited)
		{
			$control->do('REVOKE owners FROM bob');
			$session->do('ROLLBACK');
			$holds = 0;
		}
		$bob->pg_result;
		my $told = $bob->err ? $bob->errstr =~ s/\n.*//sr : 'did it';
		push @wrong, "$function behind $name: $told" if $has_waited && $bob->state ne '42501';
		$bob->do('ROLLBACK');
		next unless $has_waited;
		push @{ $waits{$function} }, $name;
		$control->do('GRANT owners TO bob');
	}
	$session->do('ROLLBACK') if $holds;
	return;
}
try_behind($holder, "SELECT FROM keypup.$_ WHERE account_id IN (SELECT account_id FROM keypup.accounts) FOR UPDATE", $_, @of_bob) foreach @tables;
# What is no row's: another of the same name, the keys of the account, what refers to a row.
try_behind($olga, "SELECT keypup.$_($calls{$_})", "$_()", $_, 'track', 'rotate_keys') foreach @of_bob;
is(join("\n", @wrong), '', 'none of them does what its caller may do no longer');
is(join(' ', grep { !$waits{$_} } @of_bob), '', 'though each has waited');
diag("$_ waited behind @{ $waits{$_} }") foreach sort keys %waits;

# What a function takes from its own caller is no reason to refuse.
query(q{SELECT keypup.add_member('acme', 'bob', 'admin'); REVOKE owners FROM bob});
is(as_role($node, 'bob', q{SELECT keypup.define_role('acme', 'less', ARRAY['data.read', 'users.manage'])}), '', 'somebody makes a role');
is(as_role($node, 'bob', q{SELECT keypup.add_member('acme', 'bob', 'less')}), '', 'takes it in the place of a better one');
is(as_role($node, 'bob', q{SELECT keypup.define_role('acme', 'less', ARRAY['data.read'])}), '', 'takes from it what that needs');
like(as_role($node, 'bob', q{SELECT keypup.define_role('acme', 'less', ARRAY['data.read'])}), qr/does not exist, or you may not do this/, 'and cannot any more');
query(q{SELECT keypup.add_member('acme', 'bob', 'admin')});
is(as_role($node, 'bob', q{SELECT keypup.remove_member('acme', 'bob')}), '', 'or goes');

# An invitation that is taken back while it is accepted.
query(q{SELECT keypup.remove_member('acme', 'kim')});
is(as_role($node, 'olga', q{SELECT keypup.add_member('acme', 'kim', 'viewer')}), '', 'somebody is invited');
my $kim = connected('kim');
$olga->do('BEGIN');
$olga->do(q{SELECT keypup.remove_member('acme', 'kim')});
$kim->do(q{SELECT keypup.accept_membership('acme')}, { pg_async => DBD::Pg::PG_ASYNC() });
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE usename = 'kim' AND wait_event_type = 'Lock'}) or die 'it does not wait';
$olga->do('COMMIT');
$kim->pg_result;
like($kim->errstr // 'accepted', qr/the invitation was taken back meanwhile/, 'and the invitation taken back, before it is accepted');
is(query(q{SELECT count(*) FROM keypup.audit_log WHERE action = 'member.accept'}), '0', 'which nobody is said to have done');
$_->disconnect foreach $control, $holder, $olga, $bob, $kim;
$node->stop;
done_testing();
