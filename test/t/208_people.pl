# People who are known through several connections, at two providers: merged by rule where it is certain, by the worker too.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'ghp_people0123456789';
my $hub = start_github($token, '--generate', 'demo/one:pulls=40,issues=20,seed=3', '--generate', 'demo/two:pulls=40,issues=20,seed=4');
my $corp = start_github($token, '--generate', 'corp/three:pulls=20,issues=10,seed=5');
my $node = new_server($hub, <<CONF);
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1d'
keypup.change_timeout = '1h'
log_min_error_statement = 'panic'
CONF
append_to_file("$hub->{dir}/both.pem", slurp_file($hub->{ca_file}) . slurp_file($corp->{ca_file}));
$node->append_conf('postgresql.conf', "keypup.ca_file = '$hub->{dir}/both.pem'");
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }

query(q{CREATE EXTENSION keypup; SELECT keypup.create_account('acme')});
query("SELECT keypup.connect('acme', 'github', '$token', '$_->[0]{url}', '$_->[1]')") foreach [ $hub, 'first' ], [ $hub, 'second' ], [ $corp, 'corp' ];
query(q{SELECT keypup.track('acme', 'demo/one', 'first'), keypup.track('acme', 'demo/two', 'second'), keypup.track('acme', 'corp/three', 'corp')});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 3 AND bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) FROM keypup.sync_status}), 'three repositories are synced through three connections');

# The worker looks again when it starts, and every minute. What is right is counted by the ids alone.
my $twins = query(q{SELECT count(*) FROM keypup.identities i JOIN keypup.connections c USING (account_id, connection_id) JOIN keypup.identities o USING (account_id, external_id) JOIN keypup.connections d ON d.connection_id = o.connection_id
	WHERE c.name = 'first' AND d.name = 'second' AND i.kind = 'user'});
cmp_ok($twins, '>', 5, "$twins people are known through both connections");
my $counts = q{SELECT (SELECT sum(reviews) FROM keypup.review_load), (SELECT sum(reviews) FROM keypup.reviewer_pairs), (SELECT count(*) FROM keypup.pull_request_metrics), (SELECT count(*) FROM keypup.person_logins)};
my $before = query($counts);
$node->restart;
ok($node->poll_query_until('postgres', "SELECT count(*) = $twins FROM keypup.person_merges WHERE rule = 'same_account'"), 'the worker merges each of them by rule');
is(query(q{SELECT count(*) FROM keypup.person_merges WHERE rule <> 'same_account'}), '0', 'and nobody else');
is(query($counts), $before, 'no review, pull request or login is lost by it');
is(query(q{SELECT count(*) FROM keypup.identities i JOIN keypup.identities o USING (account_id, external_id) JOIN keypup.connections c ON c.connection_id = i.connection_id JOIN keypup.connections d ON d.connection_id = o.connection_id
	WHERE i.kind = 'user' AND (i.person_id = o.person_id) <> (c.base_url = d.base_url)}), '0', 'one id at one address is one person, at two addresses two');
is(query(q{SELECT count(*) FROM (SELECT author_person_id, reviewer_person_id FROM keypup.reviewer_pairs WHERE author_person_id IS NOT NULL AND reviewer_person_id IS NOT NULL GROUP BY 1, 2, account_id HAVING count(*) > 1) x}), '0', 'a pair of people is one row over both connections');

# Who signed in with a token of the one provider, and is linked to the other, is one person; until then a suggestion.
is(query(q{SELECT count(*) FROM keypup.person_suggestions WHERE connection = 'corp' AND login = 'alice' AND into_login = 'alice' AND into_connection = 'first' AND 'same_login' = ANY (reasons)}), '1', 'the same login at another address is a suggestion');
control($hub, 'user', { token => 'ghp_PERSON_alice', login => 'alice', organizations => ['demo'] });
query(q{CREATE ROLE app LOGIN; GRANT keypup_member TO app; GRANT USAGE ON SCHEMA keypup TO app; SELECT keypup.allow_provider_sign_in('acme', 'viewer', 'first')});
query(q{SELECT keypup.allow_provider_sign_in('acme', 'viewer', 'corp')});
like(as_role($node, 'app', q{SELECT keypup.sign_in_with_provider('acme', 'first', 'ghp_PERSON_alice')}), qr/^[0-9a-f]{96}$/, 'alice signs in with a token');
is(query(q{SELECT keypup.merge_verified_people('acme')}), '0', 'which alone merges nothing');
# In one transaction: the worker, who does it each minute, sees nothing before.
is(query(qq{BEGIN; SELECT keypup.link_person('acme', member, '$corp->{url}', (SELECT i.external_id FROM keypup.identities i JOIN keypup.connections c USING (account_id, connection_id) WHERE c.name = 'corp' AND i.login = 'alice')) FROM keypup.person_identities;
	SELECT keypup.merge_verified_people('acme'); COMMIT}) =~ s/^\s+//r, '1', 'the login at the other provider, linked to the same member, is merged');
is(query(q{SELECT count(DISTINCT person_id), string_agg(coalesce(merged_by_rule, 'own'), ' ' ORDER BY merged_by_rule) FROM keypup.person_logins WHERE login = 'alice'}), '1|same_account same_member own', 'and alice is one person at three connections');
is(query(q{SELECT count(*) FROM keypup.person_suggestions WHERE login = 'alice'}), '0', 'of whom nothing is suggested any more');

# Split is split, for the worker too; and what somebody is at is not waited for.
query(q{SELECT keypup.split_person('acme', 'corp/alice')});
my $busy = $node->background_psql('postgres');
$busy->query_safe(q{BEGIN; SELECT keypup.set_team('acme', 'core', '{first/bob}')});
# A new worker looks at once.
query(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'keypup worker'});
query(q{SELECT keypup.track('acme', 'demo/two', 'first')});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 4 AND bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) FROM keypup.sync_status}), 'the sync goes on while somebody holds the account');
$busy->quit;
is(query(q{SELECT merged_by_rule IS NULL FROM keypup.person_logins l JOIN keypup.connections c USING (account_id, connection_id) WHERE c.name = 'corp' AND l.login = 'alice'}), 't', 'a split login stays split');
$node->stop;
done_testing();
