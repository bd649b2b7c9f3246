# KeypupTest: an emulated GitHub, an OpenID provider and a server with the extension, for the tests in test/t.
package KeypupTest;

use strict;
use warnings;

use Exporter 'import';
use File::Temp qw(tempdir);
use IPC::Run qw(start pump finish timeout);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(start_github start_openid control new_server as_role literal);

my @emulators;

# Starts a server of node's that prints one line of JSON when it is ready: that, with dir and process. It ends with the test.
sub start_node
{
	my (@command) = @_;
	my $dir = tempdir(CLEANUP => 1);
	my ($out, $err) = ('', '');
	my $process = start([ 'node', @command, '--dir', $dir ], '>', \$out, '2>', \$err, timeout(600));
	pump $process until $out =~ /\n/;
	my $server = { %{ decode_json($out) }, dir => $dir, process => $process };
	push @emulators, $server;
	return $server;
}

# An emulated GitHub: {url, ca_file, …}.
sub start_github
{
	my ($token, @options) = @_;
	return start_node('dev/github/server.mjs', '--port', '0', '--token', $token, @options);
}

# A real OpenID provider: {issuer, ca_file, control, …}.
sub start_openid
{
	return start_node('test/sso/provider.mjs');
}

# Asks the control interface of one of them; returns its answer as text.
sub control
{
	my ($github, $path, $body) = @_;
	my @command = ('curl', '-sS', '-k', ($github->{control} // "$github->{url}/_emulator") . "/$path");
	push @command, '-H', 'Content-Type: application/json', '-d', encode_json($body) if defined $body;
	my ($stdout, $stderr) = run_command(\@command);
	return $stdout;
}

# A server that is not started yet, with a key file, that trusts and may reach the emulated GitHub.
sub new_server
{
	my ($github, $configuration) = @_;
	my $dir = tempdir(CLEANUP => 1);
	my $node = PostgreSQL::Test::Cluster->new('main');
	append_to_file("$dir/keys", '1 ' . ('0f' x 32) . "\n");
	chmod 0600, "$dir/keys";
	$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
	$node->append_conf('postgresql.conf', <<CONF);
keypup.key_file = '$dir/keys'
keypup.ca_file = '$github->{ca_file}'
keypup.private_hosts = 'localhost'
log_statement = 'none'
$configuration
CONF
	return $node;
}

sub literal { my $text = shift; $text =~ s/'/''/g; return "'$text'"; }

# What a role is told: rows, then each error without its place.
sub as_role
{
	my ($node, $role, $sql) = @_;
	my ($code, $out, $error) = $node->psql('postgres', $sql, connstr => $node->connstr('postgres') . " user=$role", on_error_stop => 0);
	$out .= $1 while $error =~ /ERROR:  (.*)$/mg;
	return $out;
}

END
{
	my $status = $?;
	foreach my $server (@emulators)
	{
		$server->{process}->kill_kill if $server->{process}->pumpable;
	}
	$? = $status;
}

1;
