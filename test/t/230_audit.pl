# The audit log: every function that changes something leaves a record, every action has its sentence, days have partitions, and go.
use strict;
use warnings;

use FindBin;
use IPC::Run qw(start);
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'ghp_AUDITPROBE0123456789';
my $github = start_github($token, '--generate', 'demo/one:pulls=10,issues=5,seed=4', '--generate', 'demo/two:pulls=5,issues=5,seed=5');
my $node = new_server($github, "shared_preload_libraries = 'keypup'\nkeypup.sync_interval = '1d'\n");
$node->start;
sub query { return $node->safe_psql('postgres', 'SET client_min_messages = error; ' . $_[0]); }
sub becomes { my ($sql, $name) = @_; return ok($node->poll_query_until('postgres', $sql), $name) || diag(query('SELECT action, outcome, actor, detail FROM keypup.audit_log ORDER BY record_id DESC LIMIT 10')); }
sub error_of { my ($code, $out, $error) = $node->psql('postgres', $_[0]); return $error; }
my $account = q{(SELECT account_id FROM keypup.accounts WHERE name = 'acme')};
my $nobody = q{'00000000-0000-0000-0000-000000000000'};

query('CREATE EXTENSION keypup; CREATE ROLE olga LOGIN; CREATE ROLE mia LOGIN; CREATE ROLE sam LOGIN; CREATE ROLE first LOGIN SUPERUSER; CREATE ROLE second LOGIN SUPERUSER');
is(query('SELECT count(*) FROM keypup.audit_log'), '0', 'the log begins empty');
is(query(q{SELECT count(*) FROM keypup.audit_actions WHERE description !~ '^[A-Z].*[.]$' OR length(description) > 200}), '0', 'each action has its sentence');

# --- every function that changes something ---

# How each is called with effect, in this order; what it must leave. A call that begins with "as ROLE:" is that role's.
system("openssl genrsa -out $github->{dir}/app.pem 2048 2>/dev/null") == 0 or die;
my ($public) = run_command([ 'openssl', 'pkey', '-in', "$github->{dir}/app.pem", '-pubout' ]);
control($github, 'app', { app_id => 7, public_key_pem => $public, installations => [ { id => 99, repositories => ['demo/one'] } ] });
control($github, 'user', { token => 'ghp_AUDITPERSON0123456789', login => 'person', organizations => ['demo'], permissions => { 'demo/one' => 'WRITE' } });
my $pem = literal(slurp_file("$github->{dir}/app.pem"));
my $url = $github->{url};
my %seen;
my @calls = (
	[ create_account => q{SELECT keypup.create_account('acme')}, 'account.create' ],
	[ add_member => q{SELECT keypup.add_member('acme', 'olga', 'owner'), keypup.add_member('acme', 'mia', 'viewer')}, 'member.add' ],
	[ connect => qq{SELECT keypup.connect('acme', 'github', '$token', '$url')}, 'connection.create key.create' ],
	[ replace_token => qq{SELECT keypup.replace_token('acme', 'github', '$token')}, 'token.replace' ],
	[ connect_app => qq{SELECT keypup.connect_app('acme', 'github', '7', 99, $pem, '$url', 'app')}, 'connection.create' ],
	[ replace_app_key => qq{SELECT keypup.replace_app_key('acme', 'app', $pem)}, 'app_key.replace' ],
	[ track => q{SELECT keypup.track('acme', 'demo/one', 'github')}, 'project.track' ],
	[ sync => q{CALL keypup.sync('acme')}, 'sync.start sync.finish token.use' ],
	[ reread => q{SELECT keypup.reread('acme', 'demo/one')}, 'project.reread' ],
	[ discover => q{SELECT count(*) FROM keypup.discover('acme', 'github')}, 'connection.discover' ],
	[ set_time_zone => q{SELECT keypup.set_time_zone('acme', 'Europe/Paris')}, 'account.time_zone' ],
	[ set_production_environments => q{SELECT keypup.set_production_environments('acme', '{prod}')}, 'account.production_environments' ],
	[ set_incident_labels => q{SELECT keypup.set_incident_labels('acme', '{incident}')}, 'account.incident_labels' ],
	[ set_deployment_window => q{SELECT keypup.set_deployment_window('acme', '2 hours')}, 'account.deployment_window' ],
	[ set_rework_labels => q{SELECT keypup.set_rework_labels('acme', '{hotfix}')}, 'account.rework_labels' ],
	[ set_blocked_labels => q{SELECT keypup.set_blocked_labels('acme', '{blocked}')}, 'account.blocked_labels' ],
	[ set_stale_after => q{SELECT keypup.set_stale_after('acme', '14 days')}, 'account.stale_after' ],
	[ set_working_hours => q{SELECT keypup.set_working_hours('acme', '{Mo-Fr 09:00-17:00}')}, 'account.working_hours' ],
	[ set_holidays => q{SELECT keypup.set_holidays('acme', '{2026-12-25}')}, 'account.holidays' ],
	[ define_role => q{SELECT keypup.define_role('acme', 'auditor', '{audit.read}')}, 'role.define' ],
	[ limit_member => q{SELECT keypup.limit_member('acme', 'mia', '{demo/one}')}, 'member.limit' ],
	[ add_person => q{SELECT keypup.add_person('acme', 'ann', 'viewer')}, 'member.add' ],
	[ add_identity_provider => q{SELECT keypup.add_identity_provider('acme', 'https://id.example', '{c}')}, 'identity_provider.add' ],
	[ link_person => q{SELECT keypup.link_person('acme', 'ann', 'https://id.example', 'subject')}, 'person.link' ],
	[ map_group => q{SELECT keypup.map_group('acme', 'https://id.example', 'staff', 'viewer')}, 'group.map' ],
	[ sign_in => q{SELECT keypup.sign_in('acme', 'a.b.c', 'https://id.example')}, 'session.start', 'refused' ],
	[ remove_identity_provider => q{SELECT keypup.remove_identity_provider('acme', 'https://id.example')}, 'identity_provider.remove' ],
	[ set_password => q{SELECT keypup.set_password('acme', 'ann', 'correct horse battery')}, 'password.set' ],
	[ sign_in_with_password => q{SELECT keypup.sign_in_with_password('acme', 'ann', 'wrong horse battery')}, 'session.start', 'refused' ],
	[ enroll_totp => q{SELECT count(*) FROM keypup.enroll_totp('acme', 'ann', 'correct horse battery')}, 'totp.enroll' ],
	[ confirm_totp => q{SELECT keypup.confirm_totp('acme', 'ann', 'correct horse battery', '000000')}, 'totp.confirm', 'refused' ],
	[ remove_totp => q{SELECT keypup.remove_totp('acme', 'ann', 'wrong', '000000')}, 'totp.remove', 'refused' ],
	[ reset_totp => q{INSERT INTO keypup.totp_seeds (account_id, enrollment_id, member, envelope, confirmed_at) SELECT account_id, gen_random_uuid(), member, '\x4b50010100000001' || decode(repeat('00', 40), 'hex'), now()
		FROM keypup.members WHERE member = 'ann' ON CONFLICT DO NOTHING; SELECT keypup.reset_totp('acme', 'ann')}, 'totp.reset' ],
	[ require_second_factor => q{SELECT keypup.require_second_factor('acme', true)}, 'second_factor.require' ],
	[ allow_provider_sign_in => q{SELECT keypup.allow_provider_sign_in('acme', 'viewer', 'github')}, 'identity_provider.add' ],
	[ sign_in_with_provider => q{SELECT length(keypup.sign_in_with_provider('acme', 'github', 'ghp_AUDITPERSON0123456789'))}, 'session.start' ],
	[ create_api_key => q{CREATE TABLE kept AS SELECT keypup.create_api_key('acme', 'k', 'viewer') AS key}, 'api_key.create' ],
	[ sign_in_with_api_key => q{CREATE TABLE handle AS SELECT keypup.sign_in_with_api_key(key) AS handle FROM kept}, 'session.start' ],
	[ use_session => q{SELECT keypup.use_session(repeat('0', 96))}, 'session.use', 'refused' ],
	[ sign_out => q{SELECT keypup.sign_out(handle) FROM handle}, 'session.end' ],
	[ revoke_api_key => q{SELECT keypup.revoke_api_key('acme', left(key, 15)) FROM kept}, 'api_key.revoke' ],
	[ grant_support => q{SELECT keypup.grant_support('acme', 'sam', 'looks at a sync', '1 hour')}, 'support.grant' ],
	[ my_accounts => q{as sam:SELECT count(*) FROM keypup.issues}, 'support.read' ],
	[ revoke_support => q{SELECT keypup.revoke_support('acme', 1)}, 'support.revoke' ],
	[ request_break_glass => q{as first:SELECT keypup.request_break_glass('acme', 'sam', 'a test of what it leaves behind')}, 'break_glass.request' ],
	[ approve_break_glass => q{as second:SELECT keypup.approve_break_glass('acme', 1)}, 'break_glass.approve' ],
	[ set_webhook_secret => q{SELECT keypup.set_webhook_secret('acme', 'github', repeat('0123456789abcdef', 3))}, 'webhook.set' ],
	[ receive_webhook => q{SELECT keypup.receive_webhook(connection_id, '{"x-github-event": "push", "x-github-delivery": "d", "x-hub-signature-256": "sha256=00"}', '\x7b7d') FROM keypup.connections WHERE name = 'github'}, 'webhook.receive', 'refused' ],
	[ set_team => q{SELECT keypup.set_team('acme', 'core', '{}')}, 'team.set' ],
	[ merge_people => q{SELECT keypup.merge_people('acme', min(login), max(login)) FROM keypup.identities}, 'person.merge' ],
	[ set_person_working_time => q{SELECT keypup.set_person_working_time('acme', min(login), '{Mo-Fr 09:00-17:00}') FROM keypup.identities}, 'person.working_time' ],
	[ split_person => q{SELECT keypup.split_person('acme', min(login)) FROM keypup.identities}, 'person.split' ],
	[ merge_verified_people => undef ],
	[ mark_bot => q{SELECT keypup.mark_bot('acme', min(login)) FROM keypup.identities}, 'bot.mark' ],
	[ unmark_bot => q{SELECT keypup.unmark_bot('acme', min(login)) FROM keypup.identities}, 'bot.unmark' ],
	[ encrypt_token => q{CREATE TABLE sealed AS SELECT keypup.encrypt_token('a secret', 'there') AS envelope}, 'key.create' ],
	[ decrypt_token => q{BEGIN; SELECT keypup.decrypt_token(envelope, 'there') FROM sealed, generate_series(1, 3); ROLLBACK}, 'token.decrypt' ],
	[ reencrypt_token => undef ],
	[ accept_membership => undef ],
	[ rotate_keys => q{SELECT keypup.rotate_keys()}, 'key.rotate key.create' ],
	[ destroy_key => q{SELECT keypup.destroy_key(key_id, true) FROM keypup.data_keys WHERE account_id IS NULL AND state = 'decrypt_only'}, 'key.destroy' ],
	[ set_proxy_credentials => q{SELECT keypup.set_proxy_credentials('user', 'secret')}, 'proxy.credentials' ],
	[ hold_audit_log => q{SELECT keypup.hold_audit_log('acme', 'a case before a court'), keypup.hold_audit_log('acme', NULL)}, 'audit.hold audit.release' ],
	[ set_audit_sink => q{SELECT keypup.set_audit_sink('acme', 'siem', 'otlp', 'https://collector.example', 'api-key: 0123456789abcdef')}, 'audit_sink.set' ],
	[ remove_audit_sink => q{SELECT keypup.remove_audit_sink('acme', 'siem')}, 'audit_sink.remove' ],
	[ resume_connections => undef ],
	[ untrack => q{SELECT keypup.untrack('acme', 'demo/one')}, 'project.untrack' ],
	[ remove_member => q{SELECT keypup.remove_member('acme', 'mia')}, 'member.remove' ],
	[ disconnect => q{SELECT keypup.disconnect('acme', 'app')}, 'connection.remove' ],
	[ shred_account => q{SELECT keypup.shred_account('acme')}, 'account.shred' ],
	[ drop_account => q{SELECT keypup.create_account('gone'); SELECT keypup.drop_account('gone')}, 'account.drop' ],
	# What only looks.
	(map { [ $_ => undef ] } qw(diagnose_workers check_installation restore_roles check_token verify_audit)));
my @missing;
foreach my $call (@calls)
{
	my ($function, $sql, $actions, $outcome) = @$call;
	$seen{$function} = 1;
	next unless defined $sql;
	my $role = $sql =~ s/^as (\w+):// ? $1 : 'postgres';
	# What is tracked the worker may have read already.
	my $before = $function eq 'sync' ? 0 : query('SELECT coalesce(max(record_id), 0) FROM keypup.audit_log');
	my ($code, $out, $error) = $node->psql('postgres', $sql, connstr => $node->connstr('postgres') . ($role eq 'postgres' ? '' : " user=$role") . " application_name=auditor", on_error_stop => 1);
	push @missing, "$function: $error" if ($outcome // 'done') eq 'done' && $error =~ /ERROR/;
	foreach my $action (split / /, $actions)
	{
		my $found = $node->poll_query_until('postgres', "SELECT count(*) > 0 FROM keypup.audit_log WHERE record_id > $before AND action = '$action' AND outcome = '" . ($outcome // 'done') . q{' AND database_role IS NOT NULL AND (application_name = 'auditor' OR actor = 'worker')});
		push @missing, "$function leaves no $action: $error" unless $found;
	}
}
is(join("\n", @missing), '', 'every function leaves its records, with who and from where');
# Whoever adds a function that changes something says here what it leaves.
is(query(q{SELECT string_agg(DISTINCT p.proname, ' ' ORDER BY p.proname) FROM pg_proc p WHERE p.pronamespace = 'keypup'::regnamespace AND p.provolatile = 'v'
	AND (has_function_privilege('keypup_member', p.oid, 'EXECUTE') OR obj_description(p.oid) ~ 'granted to nobody')
	AND p.proname <> ALL ('{} '::text || '{NAMES}'::text[])} =~ s/'\{\} '::text \|\| '\{NAMES\}'/"'{" . join(',', sort keys %seen) . "}'"/er), '', 'and no function is left out');
is(query(q{SELECT string_agg(DISTINCT l.action, ' ') FROM keypup.audit_log l WHERE l.action NOT IN (SELECT a.action FROM keypup.audit_actions a)}), '', 'audit_actions has each of them');
is(query(q{SELECT count(*) FROM keypup.audit_log l WHERE l::text ~ 'ghp_|a secret|BEGIN |horse|0123456789abcdef|user:secret'}), '0', 'no record has a secret');
# By day, as dashboards have it: all that the log has, with rows of days without anything.
query(q{INSERT INTO keypup.audit_log (account_id, record_id, occurred_at, last_at, times, action, outcome, database_role) SELECT account_id, keypup.record_id_at(t), t, t, 7, 'session.start', 'refused', 'x' FROM keypup.accounts, (SELECT now() - interval '3 days') x (t) WHERE name = 'acme'});
my $by_day = q{SELECT day, action, outcome, times FROM keypup.audit_daily WHERE account = 'acme' AND times > 0};
my $counted = qq{SELECT (occurred_at AT TIME ZONE 'Europe/Paris')::date, action, outcome, sum(times)::bigint FROM keypup.audit_log WHERE account_id = $account AND occurred_at <= now() GROUP BY 1, 2, 3};
is(as_role($node, 'olga', "SELECT count(*) FROM (($by_day EXCEPT $counted) UNION ALL ($counted EXCEPT $by_day)) x"), '0', 'audit_daily has what the log has, by days of the account');
is(as_role($node, 'olga', q{SELECT count(*) = count(DISTINCT (action, outcome)) * count(DISTINCT day), max(day) - min(day) + 1 = count(DISTINCT day), max(day) = (now() AT TIME ZONE 'Europe/Paris')::date, sum(times) FILTER (WHERE action = 'session.start' AND outcome = 'refused') >= 7 FROM keypup.audit_daily WHERE account = 'acme'}), 't|t|t|t', 'and rows of days without it');
query(q{SELECT keypup.add_member('acme', 'mia', 'viewer')});
is(as_role($node, 'mia', 'SELECT count(*) FROM keypup.accounts') . as_role($node, 'mia', 'SELECT count(*) FROM keypup.audit_daily'), '10', 'a viewer, who may not read the log, sees none');
query(q{SELECT keypup.remove_member('acme', 'mia')});
# Whoever ends a CALL before it does has used the token.
control($github, 'settings', { latency_ms => 5000 });
query(q{SELECT keypup.create_account('haste'); SELECT keypup.add_member('haste', 'olga', 'owner'), keypup.connect('haste', 'github', '} . $token . q{', '} . $url . q{'); ALTER SYSTEM SET keypup.workers = 0; SELECT pg_reload_conf()});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'keypup worker'}), 'no worker');
query(q{SELECT keypup.track('haste', 'demo/one')});
my $hasty = $node->background_psql('postgres', extra_params => [ '-U', 'olga' ], on_error_stop => 0);
$hasty->query_until(qr/begun/, "\\echo begun\nCALL keypup.sync('haste');\n");
ok($node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM keypup.sync_jobs j JOIN keypup.accounts a USING (account_id) WHERE a.name = 'haste' AND j.lease_id IS NOT NULL}), 'a CALL asks');
query(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'olga' AND query ~ 'CALL keypup'});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = 'olga' AND state = 'active'}), 'and is ended before it is answered');
$hasty->quit;
is(query(q{SELECT count(*), sum(times) > 0 FROM keypup.audit_log l JOIN keypup.accounts a USING (account_id) WHERE a.name = 'haste' AND l.action = 'token.use' AND l.database_role = 'olga'}), '1|t', 'T44: has used a token, which is recorded');
query(q{ALTER SYSTEM RESET keypup.workers; SELECT pg_reload_conf()});
control($github, 'settings', { latency_ms => 0 });
is(query(q{SELECT times, detail, actor FROM keypup.audit_log WHERE action = 'token.decrypt'}), '3||' . query('SELECT current_user'), 'T44: what was decrypted in a transaction that was rolled back is there, counted');
# Handles that somebody makes up, each of another account, none of which exists.
my $made_up = q{FROM keypup.audit_log l WHERE l.action = 'session.use' AND l.account_id NOT IN (SELECT a.account_id FROM keypup.accounts a)};
my $times_before = query("SELECT coalesce(sum(l.times), 0) $made_up");
query(q{DO $$ BEGIN FOR i IN 1 .. 200 LOOP BEGIN PERFORM keypup.use_session(md5(i::text) || repeat('0', 64)); EXCEPTION WHEN invalid_authorization_specification THEN NULL; END; END LOOP; END $$});
becomes("SELECT sum(l.times) = $times_before + 200 $made_up", 'T60: handles that somebody makes up are all counted');
is(query("SELECT string_agg(DISTINCT l.account_id::text, ' '), count(*) < 10 $made_up"), '00000000-0000-0000-0000-000000000000|t', 'T60: in a few records of no account, and not in one of each that was made up');
my $page = slurp_file("$FindBin::RealBin/../../doc/audit.md");
is(join(' ', grep { index($page, "`$_`") < 0 } split /\n/, query(q{SELECT action FROM keypup.audit_actions WHERE description !~ 'takes this permission' ORDER BY 1})), '', 'doc/audit.md lists every action');

# --- what happens by itself ---

query(q{UPDATE keypup.sessions SET started_at = started_at; SELECT keypup.create_account('use'); SELECT keypup.connect('use', 'github', 'ghp_WRONG0123456789', '} . $url . q{'); SELECT keypup.track('use', 'demo/two');
	CREATE TABLE used AS SELECT keypup.create_api_key('use', 'k', 'viewer') AS key; SELECT length(keypup.sign_in_with_api_key(key)) FROM used});
becomes(q{SELECT count(*) = 1 FROM keypup.audit_log WHERE action = 'token.use' AND outcome = 'refused' AND actor_kind = 'worker' AND detail = '"github"'}, 'a token that the provider refuses');
query('SELECT keypup.note_key_uses() FROM generate_series(1, 2)');
is(query(q{SELECT count(*) FROM keypup.audit_log l JOIN used ON l.actor = left(key, 15) WHERE l.action = 'api_key.use'}), '1', 'an API key is used for the first time on a day');
query(q{UPDATE keypup.connection_tokens SET envelope = overlay(envelope placing '\x00' FROM octet_length(envelope)) WHERE account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'use')});
query(q{UPDATE keypup.connections SET state = 'new', refused_at = NULL, retry_at = NULL, blocked_until = NULL; UPDATE keypup.sync_jobs SET due_at = now()});
becomes(q{SELECT count(*) > 0 FROM keypup.audit_log WHERE action = 'token.open' AND outcome = 'refused' AND actor = 'worker' AND account_id = (SELECT account_id FROM keypup.accounts WHERE name = 'use')}, 'a sealed record that does not open');
query('SELECT keypup.keep_audit_days()');
$node->append_conf('postgresql.conf', "keypup.rate_reserve = 7\nkeypup.key_command = 'echo hidden'");
$node->reload;
ok($node->poll_query_until('postgres', q{SELECT current_setting('keypup.rate_reserve') = '7'}), 'settings change');
query('SELECT keypup.keep_audit_days()');
is(query(q{SELECT string_agg(detail, ', ' ORDER BY detail) FROM keypup.audit_log WHERE action = 'setting.change' AND detail !~ '^keypup.workers'}), 'keypup.key_command, keypup.rate_reserve = 7', 'which is recorded, without the command');

# --- days ---

avoid_midnight($node, 'UTC');
query('SELECT keypup.keep_audit_days()');
is(query(q{SELECT count(*) FROM keypup.audit_days() WHERE day BETWEEN (now() AT TIME ZONE 'UTC')::date AND (now() AT TIME ZONE 'UTC')::date + 3}), '4', 'today and the next three days have partitions');
is(query(q{SELECT count(*) FROM keypup.audit_log_other}), '0', 'and what came before them is in these');
# Whoever writes while the partition is made waits for it.
my $today = query(q{SELECT 'keypup.audit_log_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')});
my ($maker, $writer) = map { $node->background_psql('postgres') } 1 .. 2;
# In one transaction: else the worker may make it.
$maker->query_safe("BEGIN; ALTER TABLE keypup.audit_log DETACH PARTITION $today; INSERT INTO keypup.audit_log SELECT * FROM $today; DROP TABLE $today; SELECT keypup.make_audit_days()");
$writer->query_until(qr/begun/, "\\echo begun\nSELECT keypup.set_time_zone('acme', 'Europe/Rome');\n");
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'Europe/Rome'}), 'a record waits for the partition of its day');
$maker->query_safe('COMMIT');
$writer->query_safe('SELECT 1');
is(query("SELECT count(*) FROM $today WHERE detail = 'Europe/Rome'"), '1', 'and is there');
$_->quit foreach $maker, $writer;
sub plant { my ($days, $who) = @_; return query("INSERT INTO keypup.audit_log (account_id, record_id, occurred_at, last_at, action, outcome, database_role, detail)
	SELECT $who, keypup.record_id_at(t), t, t, 'session.end', 'done', 'old', '$days days old' FROM (SELECT now() - interval '$days days' AS t) x"); }
plant($_, $account) foreach 29, 31, 40;
plant(40, $nobody);
query('SELECT keypup.keep_audit_days()');
is(query(q{SELECT count(*) FROM keypup.audit_log_other}), '0', 'records of other days get a partition of their own');
is(query(q{SELECT count(*) FROM keypup.audit_log WHERE database_role = 'old'}), '4', 'T46: a clock that has just been set drops nothing');
query(q{UPDATE keypup.audit_clock SET steady_since = now() - interval '2 hours', seen_at = now() - interval '1 day'});
query('SELECT keypup.keep_audit_days()');
is(query(q{SELECT count(*) FROM keypup.audit_log WHERE database_role = 'old'}), '4', 'T46: nor one that has leapt a day');
my $steady = q{UPDATE keypup.audit_clock SET steady_since = now() - interval '2 hours', seen_at = now()};
# Whoever holds a lock for a moment is not waited for: it is done another time, which here is at once.
sub keep_until
{
	my ($expected) = @_;
	my $sql = q{SELECT string_agg(detail, ', ' ORDER BY detail) FROM keypup.audit_log WHERE database_role = 'old'};
	foreach (1 .. $PostgreSQL::Test::Utils::timeout_default)
	{
		query("$steady; SELECT keypup.keep_audit_days()");
		last if query($sql) eq $expected;
		sleep 1;
	}
	return query($sql);
}
query(q{SELECT keypup.hold_audit_log('acme', 'a case before a court')});
is(keep_until('29 days old, 31 days old, 40 days old'), '29 days old, 31 days old, 40 days old', 'a legal hold keeps what is older, and of others nothing');
is(query(q{SELECT detail ~ ': 1 records, 1 are held$' FROM keypup.audit_log WHERE action = 'audit.expire'}), 't', 'which is recorded');
my $reader = $node->background_psql('postgres');
$reader->query_safe('BEGIN; SELECT count(*) FROM keypup.audit_log');
query("$steady; SELECT keypup.hold_audit_log('acme', NULL); SELECT keypup.keep_audit_days()");
is(query(q{SELECT count(*) FROM keypup.audit_log WHERE database_role = 'old'}), '3', 'while somebody reads, nothing is dropped');
$reader->query_safe('COMMIT');
$reader->quit;
is(keep_until('29 days old'), '29 days old', 'T46: what is older than 30 days is gone');
is(query(q{SELECT count(*) FROM keypup.audit_days() WHERE day < (now() AT TIME ZONE 'UTC')::date - 30}), '0', 'with its partitions');
like(error_of(q{ALTER SYSTEM SET keypup.audit_retention = 0}), qr/0 s is outside the valid range for parameter "keypup.audit_retention"|0 is outside the valid range/, 'nobody keeps it for no time');
like(error_of(q{SELECT keypup.hold_audit_log('nowhere', 'a case before a court')}), qr/account "nowhere" does not exist/, 'nor holds an account that is not there');
like(as_role($node, 'olga', q{SELECT keypup.hold_audit_log('acme', NULL)}), qr/permission denied/, 'and members do not');

# --- copies ---

query(q{CREATE TABLE before AS SELECT l.* FROM keypup.audit_log l});
run_command([ 'pg_dump', '-h', $node->host, '-p', $node->port, '-f', "$github->{dir}/dump.sql", 'postgres' ]);
query('CREATE DATABASE copy');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-h', $node->host, '-p', $node->port, '-f', "$github->{dir}/dump.sql", 'copy' ], 'a dump is restored');
is($node->safe_psql('copy', q{SELECT count(*) > 50 AND count(*) = (SELECT count(*) FROM before) FROM keypup.audit_log l JOIN before b USING (account_id, record_id) WHERE (l.action, l.outcome, l.occurred_at, l.detail) IS NOT DISTINCT FROM (b.action, b.outcome, b.occurred_at, b.detail)}), 't', 'with the whole log');
is($node->safe_psql('copy', q{SELECT count(*) FROM pg_class c WHERE relispartition AND relnamespace = 'keypup'::regnamespace AND NOT (relrowsecurity AND relforcerowsecurity)}), '0', 'guarded as it was');
$node->safe_psql('copy', q{SELECT keypup.create_account('there'); SELECT keypup.keep_audit_days()});
is($node->safe_psql('copy', q{SELECT count(*) FROM keypup.audit_log_other}), '0', 'and goes on');

# --- who reads while days are made ---

query('CREATE DATABASE made');
query('ALTER DATABASE made SET keypup.workers = 0');
$node->safe_psql('made', q{CREATE EXTENSION keypup; SELECT keypup.create_account('made')});
my $day_maker = $node->background_psql('made');
$day_maker->query_safe('BEGIN; SELECT keypup.make_audit_days()');
my %waiting = (out => '', err => '');
$waiting{process} = start([ 'psql', '-XAtq', '-d', $node->connstr('made'), '-c', 'SELECT count(*) FROM keypup.audit_log' ], '<', \undef, '>', \$waiting{out}, '2>', \$waiting{err});
ok($node->poll_query_until('made', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = 'made' AND wait_event_type = 'Lock' AND query ~ '^SELECT count'}), 'somebody reads the log while its records get their partition, and waits');
$day_maker->query_safe('COMMIT');
$day_maker->quit;
$waiting{process}->finish;
is("$waiting{out}$waiting{err}", $node->safe_psql('made', 'SELECT count(*) FROM keypup.audit_log') . "\n", 'and sees all of them');
query('DROP EXTENSION keypup');
is(query(q{SELECT count(*) FROM pg_class WHERE relname ~ '^audit_log'}), '0', 'DROP EXTENSION takes its partitions along');
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|segfault|could not (?:do its upkeep|record)/, 'nothing of it has failed');
done_testing();
