# The vault's own functions without a server: known answers, failing calls, key files, fuzzing, and what of them was covered.
use strict;
use warnings;

use Cwd;
use File::Temp qw(tempdir);
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = tempdir(CLEANUP => 1);
my $top = getcwd();
my $shared = "$top/../shared/data/vectors";
my @vault = map { "$top/src/token/$_.c" } qw(aes_gcm envelope key_file);
my @flags = ('-std=gnu99', '-Wall', '-Wextra', '-Werror', '-g', "-I$top/src", "-I$top/test/vault");
my @sanitizers = ('-fsanitize=address,undefined', '-fno-sanitize-recover=all');

# Compiles a program of test/vault with the vault's files, runs it, and passes its TAP on.
sub run_program
{
	my ($name, $input, @options) = @_;
	system_or_bail('gcc', @flags, @options, '-o', "$dir/$name", "$top/test/vault/$name.c", @vault, '-lcrypto');
	open my $file, '>', "$dir/input" or die;
	print $file $input;
	close $file;
	my ($answers, $errors) = run_command([ 'sh', '-c', "cd '$dir' && './$name' < '$dir/input'" ]);
	my @lines = $answers =~ /^((?:not )?ok \d+ - .*)$/mg;
	my ($plan) = $answers =~ /^1\.\.(\d+)$/m;
	my %counts;
	foreach (@lines)
	{
		my ($verdict, $what) = /^((?:not )?ok) \d+ - (.*)$/;
		$counts{$what}{$verdict}++;
	}
	is($plan, scalar @lines, "$name ran to its end") or diag($answers, $errors);
	ok(!$counts{$_}{'not ok'}, "$name: $_" . (($counts{$_}{ok} // 0) > 1 ? " ($counts{$_}{ok} times)" : '')) foreach sort keys %counts;
	return scalar @lines;
}

my ($records) = run_command([ 'node', "$top/test/vault/seal_records.mjs" ]);
cmp_ok(run_program('open_records', $records, @sanitizers), '>', 30, 'records sealed by node:crypto were tried');
run_program('read_key_files', '', @sanitizers);
my @wrapped = qw(EVP_CIPHER_CTX_new EVP_CipherInit_ex EVP_CipherUpdate EVP_CipherFinal_ex EVP_CIPHER_CTX_ctrl RAND_bytes pthread_atfork);
my @failing = ('-DIVS_A_DRAW=1', map { "-Wl,--wrap=$_" } @wrapped);
run_program('failing_calls', '', @sanitizers, @failing);
run_program('fork_while_sealing', '', @sanitizers);

SKIP:
{
	skip 'shared/data/vectors is not here', 2 unless -d $shared;
	my $hex = sub { my $text = shift; return length($text) ? $text : '-'; };
	my $text = sub { my $text = shift; utf8::encode($text); return length($text) ? unpack('H*', $text) : '-'; };
	my $known = decode_json(slurp_file("$shared/keypup-envelope-kat.json"));
	my $lines = join '', map { join(' ', 'envelope', $_->{key}, $text->($_->{context} // ''), $hex->($_->{envelope}), $text->($_->{plaintext} // ''), $_->{valid} ? 'valid' : 'invalid') . "\n" }
	  grep { length($_->{envelope}) < 60000 } @{ $known->{vectors} };
	cmp_ok(run_program('open_records', $lines, @sanitizers), '>=', scalar @{ $known->{vectors} }, 'the known answers of the envelope were tried');
	my $wycheproof = decode_json(slurp_file("$shared/wycheproof-aes256gcm.json"));
	$lines = join '', map { join(' ', 'gcm', map({ $hex->($_) } @$_{qw(key iv aad ct tag msg)}), $_->{result}) . "\n" } @{ $wycheproof->{tests} };
	is(run_program('open_records', $lines, @sanitizers), 66, 'all 66 vectors of Wycheproof were tried');
}

# Which branches the programs above took. OpenSSL's failures are among them.
{
	my @objects;
	my $cover = "$dir/cover";
	mkdir $cover;
	foreach my $program ([ 'open_records', $records ], [ 'read_key_files', '' ], [ 'failing_calls', '', @failing ], [ 'fork_while_sealing', '' ])
	{
		my ($name, $input, @options) = @$program;
		system_or_bail('sh', '-c', "cd '$cover' && gcc @flags --coverage -O0 @options -o $name '$top/test/vault/$name.c' @vault -lcrypto");
		open my $file, '>', "$dir/input" or die;
		print $file $input;
		close $file;
		run_command([ 'sh', '-c', "cd '$cover' && './$name' < '$dir/input'" ]);
	}
	foreach my $source (qw(aes_gcm envelope key_file))
	{
		my %taken;
		foreach my $notes (glob "$cover/*-$source.gcno")
		{
			run_command([ 'sh', '-c', "cd '$cover' && gcov -b -c -o '$notes' '$top/src/token/$source.c'" ]);
			my ($line, $branch) = (0, 0);
			foreach (split /\n/, slurp_file("$cover/$source.c.gcov"))
			{
				($line, $branch) = ($1, 0) if /^\s*[^:]+:\s*(\d+):/;
				$taken{ "$line/" . $branch++ } += $1 // 0 if /^branch\s+\d+ (?:taken (\d+)|never)/;
			}
		}
		my @missed = grep { !$taken{$_} } keys %taken;
		my $percent = 100 * (1 - @missed / (keys(%taken) || 1));
		diag(sprintf('branches of src/token/%s.c that were taken: %.1f %% of %d', $source, $percent, scalar keys %taken));
		cmp_ok($percent, '>=', 95, "at least 95 % of the branches of $source.c are covered") or diag('missed: ', join ' ', sort @missed);
	}
}

SKIP:
{
	skip 'clang with libFuzzer is not here', 1 if system("echo 'int LLVMFuzzerTestOneInput(const char *d, unsigned long s) { return !d + !s; }' > $dir/try.c && clang -fsanitize=fuzzer $dir/try.c -o $dir/try 2>/dev/null") != 0;
	my $seconds = $ENV{KEYPUP_FUZZ_SECONDS} // 10;
	system_or_bail('clang', @flags, '-O1', '-fsanitize=fuzzer,address,undefined', '-fno-sanitize-recover=all', '-o', "$dir/fuzz", "$top/test/vault/fuzz_vault.c", @vault, '-lcrypto');
	mkdir "$dir/corpus";
	append_to_file("$dir/corpus/keys", '1 ' . ('0f' x 32) . "\n# x\n22 " . ('a0' x 32) . "\n");
	append_to_file("$dir/corpus/envelope", "\x03a/bKP\x01\x01\0\0\0\x01" . ('x' x 60));
	my ($out, $errors) = run_command([ "$dir/fuzz", "-max_total_time=$seconds", '-max_len=9000', '-print_final_stats=1', "-artifact_prefix=$dir/", "$dir/corpus" ]);
	my ($runs) = $errors =~ /stat::number_of_executed_units:\s*(\d+)/;
	ok(defined $runs && $errors !~ /ERROR|SUMMARY/, "libFuzzer finds nothing in $seconds seconds") or diag($errors);
	diag('inputs that libFuzzer tried: ' . ($runs // 'none'));
}
done_testing();
