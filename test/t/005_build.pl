# What the tests stand on, and what a packager needs: the Node that the lock names, one version everywhere, a build outside the source.
use strict;
use warnings;

use Cwd;
use File::Temp qw(tempdir);
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = getcwd();

sub output { my ($out, $error) = run_command([@_]); return $out; }
sub json { return decode_json(slurp_file("$top/$_[0]")); }

# The machine's own Node, newer or older, is not what the tests run on.
my %node = map { $_ => json("dev/node/$_/package.json")->{dependencies}{"node-linux-$_"} } qw(x64 arm64);
is($node{x64}, $node{arm64}, 'the same Node is named for each kind of machine');
is(output('node', '--version'), "v$node{x64}", 'the Node that the tests run on is the one that dev/node names');

# PGXN, PostgreSQL and the provider are told the same.
my ($version) = slurp_file("$top/keypup.control") =~ /^default_version = '(.*)'$/m;
my $meta = json('META.json');
is($meta->{version}, $version, "META.json's version is the control file's");
is($meta->{provides}{keypup}{version}, $version, '... that of what it provides, too');
like(slurp_file("$top/Makefile"), qr/^EXTVERSION = \Q$version\E$/m, '... and that of the script that make builds');
like(slurp_file("$top/src/keypup.h"), qr/^#define KEYPUP_VERSION "\Q$version\E"$/m, '... and the one that requests are sent with');

# A build in a folder of its own installs the same files as one in the source, and writes nothing there.
my $dir = tempdir(CLEANUP => 1);
my $make = 'make -s -j2 DESTDIR=';
sub files { my $where = shift; return output('sh', '-c', "cd '$where' && find . -type f | sort"); }
mkdir "$dir/$_" foreach qw(source build);
system_or_bail('cp', '-r', (map { "$top/$_" } qw(Makefile keypup.control src)), "$dir/source");
system_or_bail('make', '-s', '-C', "$dir/source", 'clean');
my $source = files("$dir/source");
is(system("$make'$dir/outside' -C '$dir/build' -f ../source/Makefile install >'$dir/log' 2>&1"), 0, 'it is built outside the source') or diag(slurp_file("$dir/log"));
is(files("$dir/source"), $source, '... which stays as it was');
is(system("$make'$dir/inside' -C '$top' install >'$dir/log' 2>&1"), 0, 'it is built in the source') or diag(slurp_file("$dir/log"));
is(files("$dir/outside"), files("$dir/inside"), 'both install the same files');
my ($script) = grep { /\.sql$/ } split /\n/, files("$dir/inside");
is(slurp_file("$dir/outside/$script"), slurp_file("$dir/inside/$script"), '... and the same script');

done_testing();
