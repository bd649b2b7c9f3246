# A token that the provider refuses: once may be an error of the provider's, and is asked a second time; twice stops the connection,
# until the provider accepts the token again. In the worker and in CALL keypup.sync. An app's: 160_app.pl.
use strict;
use warnings;

use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use IPC::Run qw(start);
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'ghp_REFUSED0123456789';
my $github = start_github($token, '--generate', 'demo/main:pulls=120,issues=20,seed=1', '--generate', 'demo/quiet:pulls=2,issues=2,seed=2');
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1d'
CONF
$node->start;
sub query { return $node->safe_psql('postgres', 'SET client_min_messages = error; ' . $_[0]); }
sub becomes { return $node->poll_query_until('postgres', $_[0]); }
sub faults { control($github, 'settings', { faults => [@_] }); return; }
sub refusal { my ($match, @more) = @_; return { match => $match, status => 401, body => { message => 'Bad credentials' }, @more }; }
sub requests { return decode_json(control($github, 'counters'))->{requests}; }
# Due times are moved, instead of waited for: forward, as they are set, so that a pause stays to be looked at, and to now.
my $hurry = q{WITH w AS (UPDATE keypup.connections SET retry_at = now() WHERE state = 'token_doubted' AND retry_at > now()) };
my $retry = q{UPDATE keypup.connections SET retry_at = now(); SELECT keypup.wake_launcher()};
my $is_done = q{SELECT bool_and(phase = 'idle' AND last_error IS NULL AND last_run_started_at > (SELECT began_at FROM mark)) FROM keypup.sync_status};
sub read_again { query(q{UPDATE mark SET began_at = clock_timestamp(); UPDATE keypup.sync_state SET next_run_at = now(); SELECT keypup.wake_launcher()}); return; }
sub start_over { query(q{SELECT count(keypup.untrack('acme', p.name)) FROM keypup.projects p; UPDATE keypup.connections SET concurrency = 4; UPDATE mark SET began_at = clock_timestamp(); SELECT keypup.track('acme', 'demo/main'), keypup.track('acme', 'demo/quiet')}); return; }
my $state = q{SELECT state, refused_at IS NULL, retry_at IS NULL, blocked_reason, blocked_hint FROM keypup.connections};

query(q{CREATE TABLE mark AS SELECT clock_timestamp() AS began_at; CREATE EXTENSION keypup; CREATE ROLE vera LOGIN;
	CREATE TABLE doubts (at timestamptz);
	CREATE FUNCTION put_off() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$ BEGIN NEW.retry_at := now() + interval '30 minutes'; INSERT INTO public.doubts VALUES (now()); RETURN NEW; END $$;
	CREATE TRIGGER put_off BEFORE UPDATE ON keypup.connections FOR EACH ROW WHEN (NEW.state = 'token_doubted' AND OLD.state <> 'token_doubted') EXECUTE FUNCTION put_off()});
query(qq{SELECT keypup.create_account('acme'), keypup.connect('acme', 'github', '$token', '$github->{url}'), keypup.add_member('acme', 'vera', 'viewer')});
start_over();
ok(becomes($is_done), 'two repositories are read');

# One refusal, with nothing else in flight.
faults(refusal({ times => 1 }));
read_again();
ok(becomes(q{SELECT state = 'token_doubted' FROM keypup.connections}), 'a token that is refused once is in doubt');
is(query(q{SELECT DISTINCT phase, last_error, last_error_hint, next_run_at > now() FROM keypup.sync_status}),
	'paused|GitHub refuses the token (401)|Nothing yet: the provider is asked a second time, at the time in next_run_at.|t', 'each project pauses, and says why, and until when');
is(query('SELECT count(*) FROM keypup.halted_connections'), '0', 'nobody has to act');
query($retry);
ok(becomes($is_done), 'asked a second time, it goes on');
is(query($state), 'ok|t|t||', 'and nothing is left of the doubt');

# Refusals of requests that were in flight together are one.
faults(refusal({ operation => 'KeypupPullRequests' }, delay_ms => 500));
start_over();
ok(becomes(q{SELECT c.state = 'token_doubted' AND sum(s.failures) >= 2 AND NOT EXISTS (SELECT FROM keypup.sync_jobs WHERE lease_id IS NOT NULL)
	FROM keypup.connections c, keypup.sync_state s GROUP BY c.state}), 'refusals of what was in flight together leave it in doubt');
faults();
query($retry);
ok(becomes($is_done), 'and it goes on');

# An answer with data shows that the token is good, also one to a request that was sent before.
faults(refusal({ operation => 'KeypupPullRequests', nth => 1 }), { match => { operation => 'KeypupPullRequests', nth => 2 }, late => JSON::PP::true });
query('DELETE FROM doubts');
start_over();
ok(becomes(q{SELECT count(*) > 0 FROM doubts}), 'a refusal comes before a page that was asked for with it');
faults();
ok(becomes($is_done), 'a page that comes after a refusal ends the doubt at once');
is(query($state), 'ok|t|t||', 'all of it');

# An answer that says nothing of the token neither ends the doubt nor confirms it.
faults(refusal({ nth => 1 }), { match => {}, status => 404, raw => '' });
read_again();
ok(becomes($hurry . q{SELECT state = 'token_doubted' AND bool_or(last_error ~ '404') FROM keypup.connections, keypup.sync_state GROUP BY state}), 'a 404 leaves the token in doubt');
faults();
query($retry);
ok(becomes(q{WITH w AS (UPDATE keypup.sync_jobs SET due_at = now() WHERE due_at > now()) } . $is_done), 'and the next answer ends that');

# Refused twice.
faults(refusal({}));
read_again();
ok(becomes($hurry . q{SELECT state = 'token_refused' FROM keypup.connections}), 'a token that is refused twice stops the connection');
is(as_role($node, 'vera', q{SELECT phase, reason, hint, since > now() - interval '10 minutes', tried_again_at BETWEEN now() + interval '50 minutes' AND now() + interval '1 hour' FROM keypup.halted_connections}),
	'stopped|GitHub refuses the token (401)|Give the connection a valid token with keypup.replace_token.|t|t', 'which says why, and when it is tried again');
is(query(q{SELECT DISTINCT phase, last_error, next_run_at = (SELECT tried_again_at FROM keypup.halted_connections) FROM keypup.sync_status}), 'stopped|GitHub refuses the token (401)|t', 'as does each project');
control($github, 'counters/reset', {});
query($retry);
ok(becomes(q{SELECT retry_at > now() + interval '50 minutes' FROM keypup.connections}), 'when it is refused again, the next hour is waited for');
is(requests(), 1, 'it was asked once, whatever waits');
is(query('SELECT max(attempts) FROM keypup.sync_jobs'), '0', 'which is no failure of what was asked');
faults();
query($retry);
ok(becomes($is_done), 'once it is accepted again, the sync goes on by itself');
is(query($state), 'ok|t|t||', 'and nothing is left of it');

# The project that was asked for is untracked meanwhile: another one asks.
faults(refusal({}));
query(q{SELECT keypup.untrack('acme', 'demo/quiet')});
read_again();
ok(becomes($hurry . q{SELECT state = 'token_refused' FROM keypup.connections}), 'it stops once more');
query(q{SELECT keypup.untrack('acme', 'demo/main'); SELECT keypup.track('acme', 'demo/quiet'); UPDATE mark SET began_at = clock_timestamp()});
faults();
query($retry);
ok(becomes($is_done), 'what was tracked while it was stopped asks whether it is accepted');

# An operator does not wait either.
faults(refusal({}));
read_again();
ok(becomes($hurry . q{SELECT state = 'token_refused' FROM keypup.connections}), 'and once more');
faults();
is(query('SELECT keypup.resume_connections()'), '1', 'an operator has it resumed');
ok(becomes($is_done), 'which is tried at once');

# CALL, without a worker. It would not wait for so long.
query('DROP TRIGGER put_off ON keypup.connections');
$node->append_conf('postgresql.conf', 'keypup.workers = 0');
$node->reload;
ok(becomes(q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'keypup worker'}), 'the worker is gone');
my ($out, $told) = ('', '');
sub call { ($out, $told) = ('', ''); return start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', q{CALL keypup.sync('acme')} ], '>', \$out, '2>', \$told); }
faults(refusal({ times => 1 }));
query('UPDATE mark SET began_at = clock_timestamp()');
my $call = call();
ok(becomes($hurry . q{SELECT (SELECT count(*) FROM keypup.sync_jobs) = 0 AND } . ($is_done =~ s/^SELECT //r)), 'a CALL whose token is refused once');
$call->finish;
unlike($told, qr/WARNING|ERROR/, 'asks a second time');
is(query($state), 'ok|t|t||', 'and does the rest');
faults(refusal({}));
$call = call();
ok(becomes($hurry . q{SELECT state = 'token_refused' FROM keypup.connections}), 'one whose token is refused twice');
$call->finish;
like($told, qr/WARNING:  the sync is not complete: GitHub refuses the token \(401\)/, 'says so, and does not wait for an hour');
control($github, 'counters/reset', {});
call()->finish;
like($told, qr/WARNING:  the sync is not complete: GitHub refuses the token \(401\)/, 'as does the next');
is(requests(), 0, 'which asks nothing');
faults();
$node->stop;
done_testing();
