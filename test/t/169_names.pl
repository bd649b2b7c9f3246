# Two connections that track repositories of the same name: each call means one of them, or says that it could be either.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'ghp_NAMESPROBE0123456789';
my @repositories = map { ('--generate', $_) } 'demo/one:pulls=6,issues=4,seed=4', 'demo/two:pulls=3,issues=2,seed=5';
my $github = start_github($token, @repositories);
my $enterprise = start_github($token, @repositories);
append_to_file("$github->{dir}/both.pem", slurp_file($github->{ca_file}) . slurp_file($enterprise->{ca_file}));
chmod 0755, $github->{dir};
my $node = new_server({ ca_file => "$github->{dir}/both.pem" }, "shared_preload_libraries = 'keypup'\nkeypup.sync_interval = '1d'\n");
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }
sub as { return as_role($node, @_); }
sub told { my ($code, $out, $error) = $node->psql('postgres', $_[0]); return $error; }

query(q{CREATE EXTENSION keypup; CREATE ROLE olga LOGIN; CREATE ROLE lim LOGIN; CREATE ROLE sam LOGIN; CREATE ROLE app LOGIN; GRANT keypup_member TO app; GRANT USAGE ON SCHEMA keypup TO app;
	SELECT keypup.create_account('acme'), keypup.add_member('acme', 'olga', 'owner'), keypup.add_member('acme', 'lim', 'viewer')});
query("SELECT keypup.connect('acme', 'github', '$token', '$github->{url}', 'github'), keypup.connect('acme', 'github', '$token', '$enterprise->{url}', 'Enterprise')");
query("SELECT keypup.track('acme', 'demo/one', '$_')") foreach qw(github Enterprise);
query(q{SELECT keypup.track('acme', 'demo/two', 'github')});
ok($node->poll_query_until('postgres', q{SELECT bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) FROM keypup.sync_status}), 'both are read');

# One name, two projects.
my $either = qr/project "demo\/one" is tracked by 2 connections.*HINT:  Write connection\/owner\/name/s;
foreach my $call (q{CALL keypup.sync('acme', 'demo/one')}, q{SELECT keypup.untrack('acme', 'demo/one')}, q{SELECT keypup.limit_member('acme', 'lim', ARRAY['demo/two', 'demo/one'])},
	q{SELECT keypup.grant_support('acme', 'sam', 'to look at the rows', '1 hour', ARRAY['demo/one'])})
{
	like(told($call), $either, "$call: either could be meant");
	(my $none = $call) =~ s/demo\/one/demo\/none/;
	like(told($none), qr/project "demo\/none" is not tracked/, "$none: none is");
}
is(query(q{SELECT (SELECT count(*) FROM keypup.projects), (SELECT count(*) FROM keypup.member_projects), (SELECT count(*) FROM keypup.support_grants)}), '3|0|0', 'nothing was done');
like(told(q{SELECT keypup.untrack('acme', NULL)}), qr/a project is needed/, 'no project is no project');

# The connection says which.
my $their = sub { return query(qq{SELECT project_id FROM keypup.projects p JOIN keypup.connections c USING (connection_id) WHERE p.name = 'demo/one' AND c.name = '$_[0]'}); };
query(q{SELECT keypup.limit_member('acme', 'lim', ARRAY['enterprise/demo/one'])});
is(query('SELECT project_id FROM keypup.member_projects'), $their->('Enterprise'), 'a member is limited to the one, in any case of letters');
is(as('lim', 'SELECT count(*) FROM keypup.pull_requests'), '6', 'and reads it');
query(q{SELECT keypup.grant_support('acme', 'sam', 'to look at the rows', '1 hour', ARRAY['github/demo/one', 'demo/two'])});
is(query('SELECT count(*) FROM keypup.support_grant_projects WHERE project_id = ' . $their->('github')), '1', 'support sees the other');
control($enterprise, 'change', { repository => 'demo/one', change => 'comment', number => 1, at => '2030-01-01T00:00:00Z' });
control($github, 'change', { repository => 'demo/one', change => 'comment', number => 1, at => '2031-01-01T00:00:00Z' });
unlike(told(q{CALL keypup.sync('acme', 'Enterprise/demo/one')}), qr/ERROR|WARNING/, 'one is synced');
is(query(q{SELECT string_agg(created_at::date::text, ',') FROM keypup.comments WHERE created_at > '2029-12-31'}), '2030-01-01', 'and the other is not');

# What could be tracked is the connection's.
is(as('olga', q{SELECT string_agg(project, ',' ORDER BY project) FROM keypup.discover('acme', 'Enterprise') WHERE is_tracked}), 'demo/one', 'what the one could track that it does');
is(as('olga', q{SELECT string_agg(project, ',' ORDER BY project) FROM keypup.discover('acme', 'github') WHERE is_tracked}), 'demo/one,demo/two', 'and the other');

# A person's token is shown to the server that it is meant for, and to no other.
control($_, 'user', { token => 'ghp_NAMESPERSON0123456789', login => 'person', organizations => ['demo'] }) foreach $github, $enterprise;
query(q{SELECT keypup.allow_provider_sign_in('acme', 'viewer', 'Enterprise')});
sub sign_in { return as('app', "SELECT length(keypup.sign_in_with_provider('acme', '$_[0]', 'ghp_NAMESPERSON0123456789'))"); }
is(sign_in('github'), '96', 'the only connection by which people sign in needs no name');
is(query(q{SELECT count(DISTINCT issuer) FROM keypup.person_identities WHERE issuer = '} . $enterprise->{url} . q{'}), '1', 'and is asked');
query(q{SELECT keypup.connect('acme', 'github', 'ghp_third0123456789', 'https://localhost:1', 'third'); SELECT keypup.allow_provider_sign_in('acme', 'viewer', 'third')});
is(sign_in('github'), 'sign-in is refused', 'of two it does not say which');
is(sign_in('Enterprise'), '96', 'its name does');
query(q{SELECT keypup.allow_provider_sign_in('acme', 'viewer', 'github')});
is(sign_in('github'), '96', 'also where it is called as the provider is');
is(query(q{SELECT count(DISTINCT issuer) FROM keypup.person_identities}), '2', 'each by its own');

query(q{SELECT keypup.untrack('acme', 'github/demo/one')});
is(query(q{SELECT string_agg(c.name || ' ' || p.name, ',' ORDER BY c.name COLLATE "C") FROM keypup.projects p JOIN keypup.connections c USING (connection_id)}), 'Enterprise demo/one,github demo/two', 'the one is forgotten, the other is not');
unlike(told(q{CALL keypup.sync('acme', 'demo/one')}), qr/ERROR/, 'and needs its connection no more');
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|segfault|NAMESPROBE/, 'no crash and no token in the log');
done_testing();
