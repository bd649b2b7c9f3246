# How many things one request asks for: fewer where answers are slow, more where they are quick, once for all that was asked with one size.
use strict;
use warnings;

use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $token = 'ghp_PACEPROBE0123456789';
my $name = 'demo/main';
my $github = start_github($token, '--points', '1000000', '--generate', "$name:pulls=400,issues=5,seed=7");
my $node = new_server($github, "shared_preload_libraries = 'keypup'\nkeypup.sync_interval = '1d'\n");
$node->start;
sub query { return $node->safe_psql('postgres', "SET client_min_messages = error; $_[0]"); }
sub faults { control($github, 'settings', { faults => [@_] }); return; }
sub asked { return decode_json(control($github, 'counters'))->{by_operation}{KeypupPullRequests}{requests} // 0; }
sub batch_size { return query('SELECT batch_size FROM keypup.rate_budget'); }
# All pull requests are read again, in one wave; how many requests that takes.
sub settle { $node->poll_query_until('postgres', q{SELECT bool_and(phase = 'idle') AND (SELECT count(*) FROM keypup.sync_jobs) = 0 FROM keypup.sync_state}) or die 'not settled'; return; }
sub reread { my $before = asked(); query("SELECT keypup.reread('acme', '$name')"); settle(); return asked() - $before; }
sub begin_anew { return query('UPDATE keypup.connections SET batch_size = DEFAULT RETURNING batch_size'); }

query(qq{CREATE EXTENSION keypup; SELECT keypup.create_account('acme'); SELECT keypup.connect('acme', 'github', '$token', '$github->{url}'); SELECT keypup.track('acme', '$name')});
ok($node->poll_query_until('postgres', q{SELECT phase = 'idle' AND items_done = 405 FROM keypup.sync_status}), 'a repository is read');
my $size = begin_anew();
my $wave = reread();
cmp_ok($wave, '>', 4, "it is read again in $wave requests");

begin_anew();
faults({ match => { operation => 'KeypupPullRequests' }, delay_ms => 6500 });
cmp_ok(reread(), '<=', $wave + 1, 'all answers to as many are slow');
cmp_ok(batch_size(), '<', $size, 'they tell that this is too much');
cmp_ok(batch_size(), '>=', int($size / 4), 'and not each of them once more');
faults();
cmp_ok(reread(), '<=', 2 * $wave, 'so not many more requests follow');

begin_anew();
faults({ match => { operation => 'KeypupPullRequests', times => 2 * $wave }, status => 502, body => { message => 'timeout' } }, { match => { operation => 'KeypupPullRequests' }, late => JSON::PP::true });
query("SELECT keypup.reread('acme', '$name')");
ok($node->poll_query_until('postgres', q{SELECT count(*) > 1 AND max(jsonb_array_length(arguments -> 'items')) <= } . int($size / 2) . q{ FROM keypup.sync_jobs WHERE kind = 'pull_requests'}), 'none of a wave is answered in time: halves are asked for');
cmp_ok(batch_size(), '>=', int($size / 4), 'and the size is not smaller for each of them');
faults();
settle();
is(differences($node, $github, $name), '', 'nothing is lost');

done_testing();
