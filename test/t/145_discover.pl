# discover: what a connection could track, as the provider lists it to its token. 160_app.pl has an app's installation.
use strict;
use warnings;

use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'ghp_DISCOVERPROBE0123456789';
my $github = start_github($token, (map { ('--generate', "many/r$_:pulls=1,issues=1,seed=$_") } 1 .. 120), '--generate', 'demo/closed:pulls=1,issues=1,seed=3,private=1', '--points', '5000');
my $node = new_server($github, "shared_preload_libraries = 'keypup'\nkeypup.sync_interval = '1d'\n");
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
sub as { return as_role($node, @_); }
sub fault { control($github, 'settings', { faults => [@_] }); return; }

query(qq{CREATE EXTENSION keypup; CREATE ROLE olga LOGIN; CREATE ROLE vera LOGIN; CREATE ROLE mallory LOGIN; GRANT keypup_member TO mallory;
	SELECT keypup.create_account('acme'); SELECT keypup.connect('acme', 'github', '$token', '$github->{url}');
	SELECT keypup.add_member('acme', 'olga', 'owner'), keypup.add_member('acme', 'vera', 'viewer')});
ok($node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM keypup.worker_status WHERE database = 'postgres'}), 'the worker is there');
my $found = as('olga', q{SELECT project, visibility, is_archived, is_fork, is_tracked FROM keypup.discover('acme') ORDER BY project});
is(scalar(split /\n/, $found), 121, 'all are found, over three pages');
like($found, qr/^demo\/closed\|private\|f\|f\|f$/m, 'with what is known of each');
is(decode_json(control($github, 'counters'))->{by_operation}{KeypupProjects}{requests}, 3, 'by three requests');
query(q{SELECT keypup.track('acme', 'demo/closed')});
is(as('olga', q{SELECT string_agg(project, ',') FROM keypup.discover('acme') WHERE is_tracked}), 'demo/closed', 'what is tracked is told');
is(query(q{SELECT count(*) FROM keypup.audit_log WHERE action = 'connection.discover' AND outcome = 'done'}), '2', 'each look is in the audit log');

# T53: nor is a look that is rolled back left out of it.
as('olga', q{BEGIN; SELECT count(*) FROM keypup.discover('acme'); ROLLBACK});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM keypup.audit_log WHERE action = 'connection.discover' AND outcome = 'done' AND actor = 'olga' AND database_role = 'olga' AND detail = 'github, rolled back'}),
	'T53: also that of one that was rolled back');

# Who may not, and what can go wrong.
like(as('vera', q{SELECT keypup.discover('acme')}), qr/you may not do this/, 'a viewer may not');
like(as('mallory', q{SELECT keypup.discover('acme')}), qr/does not exist, or you may not/, 'nor an outsider');
like(as('olga', q{SELECT keypup.discover('acme', 'nothing')}), qr/connection "nothing"/, 'a connection that is not there is named');
ok($node->poll_query_until('postgres', q{SELECT bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) FROM keypup.sync_status}), 'the project is synced');
my @wrong = ([ 'refused', { status => 401, body => { message => 'Bad credentials' } }, qr/could not be asked: GitHub refuses the token/ ],
	[ 'HTML', { raw => '<html>maintenance</html>' }, qr/could not be asked: the reply is not JSON/ ],
	[ 'no list', { body => { data => { viewer => { repositories => 7 } } } }, qr/could not be asked: GitHub did not list the repositories in full/ ],
	[ 'numbers', { body => { data => { viewer => { repositories => { nodes => [ 1, 2 ], pageInfo => 3 } } } } }, qr/could not be asked: GitHub did not list the repositories in full/ ],
	[ 'half a connection', { drop_after_bytes => 40 }, qr/could not be asked: / ]);
foreach my $wrong (@wrong)
{
	my ($what, $fault, $error) = @$wrong;
	fault({ match => { operation => 'KeypupProjects' }, %$fault });
	like(as('olga', q{SELECT project FROM keypup.discover('acme')}), $error, "$what: an error is told");
}
fault();
query(q{UPDATE keypup.connections SET blocked_until = now() + interval '10 minutes'});
like(as('olga', q{SELECT keypup.discover('acme')}), qr/asked for a pause/, 'in a pause nothing is asked');
query(q{UPDATE keypup.connections SET blocked_until = NULL});
is(as('olga', q{SELECT count(*) FROM keypup.discover('acme')}), '121', 'and then all is found again');

# Who may no longer, when the list is there, is not shown it.
query(q{SELECT keypup.add_member('acme', 'vera', 'admin')});
fault({ match => { operation => 'KeypupProjects' }, late => JSON::PP::true });
my $vera = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'vera' ]);
$vera->{stdin} .= "SELECT count(*) FROM keypup.discover('acme');\n";
$vera->{run}->pump_nb;
foreach (1 .. 1000) { last if decode_json(control($github, 'counters'))->{faults}[0]{used}; select undef, undef, undef, 0.05; }
query(q{SELECT keypup.remove_member('acme', 'vera')});
fault();
unlike($vera->query('SELECT 1'), qr/121/, 'somebody who is removed while the provider is asked is not shown what it lists');
like($vera->{stderr}, qr/ERROR:  you may not do this any more/, 'and told so');
$vera->quit;

$node->stop;
my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|TRAP|segfault|signal 11/, 'nothing crashed');
unlike($log, qr/DISCOVERPROBE/, 'the log holds no token');
done_testing();
