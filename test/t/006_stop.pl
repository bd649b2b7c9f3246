# A command of dev/ that is stopped by a signal ends at once, with all that it started, and leaves no file and no shared memory behind.
use strict;
use warnings;

use Cwd;
use File::Temp qw(tempdir);
use IPC::Run qw(start finish timeout);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $top = getcwd();
my $dir = tempdir(CLEANUP => 1);
my ($bin) = run_command([ 'pg_config', '--bindir' ]);

# What a test run is made of: a command that bash waits for, a server that left its parent and was given work, a program of node's
# that does not end by SIGTERM, and a child whose parent is gone.
append_to_file("$dir/command", <<BASH);
set -euo pipefail
. '$top/dev/lib.sh'
bin='$bin'
work_on() {
	start_cluster >/dev/null
	psql -Xqc 'SELECT pg_sleep(600)' &
	node -e 'process.on("SIGTERM", () => {}); setInterval(() => {}, 1000)' &
	(cd "\$work" && setsid perl -e 'fork and exit; \$SIG{TERM} = "IGNORE"; sleep 600')
	until psql -XAtqc "SELECT 'sleeps' FROM pg_stat_activity WHERE wait_event = 'PgSleep'" | grep -q sleeps; do sleep 0.05; done
	touch "\$work/tmp/a file"
	echo "\$work"
	bash -c 'sleep 600; echo "bash waited for it"'
}
make_work
at_any_moment work_on
BASH

sub contents { my ($out, $error) = run_command([@_]); return $out; }

# Processes, of any parent, that work in a folder or were started by a process.
sub working
{
	my ($pid, $folder) = @_;
	my %parent = map { /^\s*(\d+)\s+(\d+)/ ? ($1 => $2) : () } split /\n/, contents('ps', '-eo', 'pid,ppid');
	my @found;
	foreach my $process (keys %parent)
	{
		my $ancestor = $process;
		$ancestor = $parent{$ancestor} while $ancestor && $ancestor != $pid;
		push @found, $process if $ancestor || (readlink("/proc/$process/cwd") // '') =~ m{^\Q$folder\E(/|$)};
	}
	return @found;
}

# Whoever started this may ignore them, as nohup does, and a shell that runs it in the background; what inherits that is not stopped by them.
$SIG{$_} = 'DEFAULT' foreach qw(TERM INT HUP);

foreach my $signal (qw(TERM INT HUP))
{
	my ($out, $err) = ('', '');
	my $command = start([ 'bash', "$dir/command" ], '>', \$out, '2>', \$err, timeout(600));
	$command->pump until $out =~ /\n/ || !$command->pumpable;
	my ($folder) = split /\n/, $out;
	ok(-d "$folder/data", "$signal: it runs") or die $err;
	my $pid = $command->{KIDS}[0]{PID};
	my ($segment) = contents('sed', '-n', '7p', "$folder/data/postmaster.pid") =~ /(\d+)$/;
	like(contents('cat', '/proc/sysvipc/shm'), qr/^ *\d+ +$segment /m, '... with shared memory');
	my @processes = working($pid, $folder);
	cmp_ok(scalar @processes, '>', 8, '... many processes') or diag("@processes");

	my $sent = time;
	kill $signal, $pid;
	finish $command;
	my $seconds = time - $sent;
	# What it has started sleeps for ten minutes.
	cmp_ok($seconds, '<', 300, sprintf('... is over after %.1f seconds', $seconds));
	is($command->full_result, { HUP => 129, INT => 130, TERM => 143 }->{$signal} << 8, '... with the status of the signal');
	is(join(' ', working($pid, $folder)), '', '... and so is all that it started');
	ok(!-e $folder, '... its folder is gone');
	unlike(contents('cat', '/proc/sysvipc/shm'), qr/^ *\d+ +$segment /m, '... and its shared memory');
	unlike($err, qr/Killed/, '... and nothing is said about it');
}

done_testing();
