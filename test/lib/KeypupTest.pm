# KeypupTest: an emulated GitHub, an OpenID provider and a server with the extension, for the tests in test/t.
package KeypupTest;

use strict;
use warnings;

use DirectQuery;
use Exporter 'import';
use File::Temp qw(tempdir);
use HTTP::Tiny;
use IO::Socket::INET;
use IPC::Run qw(start pump finish timeout);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(start_node start_github start_openid start_relay start_tinyproxy control new_server crash_server nobody_is_in avoid_midnight as_role asking_as
	plant_overloads literal compare_with_truth differences keep_truth differing);

# The data folder of a test's first server is a copy of the one that dev/run_tests has made, unless the test has options of its own for it:
# initdb takes a second of a processor. PostgreSQL 17 does the same where a test has no options at all. A second server must be
# told from the first, by its system identifier.
{
	no warnings 'redefine';
	my $init = \&PostgreSQL::Test::Cluster::init;
	*PostgreSQL::Test::Cluster::init = sub {
		my ($node, %options) = @_;
		my $template = $ENV{KEYPUP_DATA_TEMPLATE};
		return $init->(@_) unless defined $template && $node->name eq 'main' && "@{ $options{extra} // [] }" eq '--encoding=UTF8 --locale=C';
		my $run = \&PostgreSQL::Test::Utils::system_or_bail;
		local *PostgreSQL::Test::Utils::system_or_bail = sub { return $run->($_[0] eq 'initdb' ? ('cp', '-RPp', $template, $node->data_dir) : @_); };
		return $init->(@_);
	};
}

# What a session in the background answers ends, with PostgreSQL 16, in a line break of its own.
{
	no warnings 'redefine';
	my $query = \&PostgreSQL::Test::BackgroundPsql::query;
	*PostgreSQL::Test::BackgroundPsql::query = sub {
		my @answer = wantarray ? $query->(@_) : scalar $query->(@_);
		chomp $answer[0] if defined $answer[0];
		return wantarray ? @answer : $answer[0];
	};
}

my @emulators;

# Starts a server of node's that prints one line of JSON when it is ready: that, with dir, process and stderr, which refers to
# what it wrote there. It ends with the test.
sub start_node
{
	my (@command) = @_;
	my $dir = tempdir(CLEANUP => 1);
	my ($out, $err) = ('', '');
	my $process = start([ 'node', @command, '--dir', $dir ], '>', \$out, '2>', \$err, timeout(600));
	pump $process until $out =~ /\n/;
	my $server = { %{ decode_json($out) }, dir => $dir, process => $process, stderr => \$err };
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

# A relay before an emulated GitHub that can cut connections: {url, control, ca_file, …}.
sub start_relay
{
	my ($github) = @_;
	my $relay = start_node('test/lib/relay.mjs', '--to', $github->{url} =~ /:(\d+)/);
	$relay->{url} = "https://localhost:$relay->{port}";
	$relay->{ca_file} = $github->{ca_file};
	return $relay;
}

# Debian's tinyproxy, which speaks CONNECT: {port, log, …}; undef where it is not installed. %options: lines of its configuration.
sub start_tinyproxy
{
	my (%options) = @_;
	my ($binary) = grep { -x } map { "$_/tinyproxy" } split(/:/, $ENV{PATH}), '/usr/sbin';
	return undef unless defined $binary;
	my $give_up = time + $PostgreSQL::Test::Utils::timeout_default;
	my $said = '';
	# It ends where somebody else took the port meanwhile.
	foreach (1 .. 5)
	{
		my $dir = tempdir(CLEANUP => 1);
		my $proxy = { dir => $dir, log => "$dir/log", port => PostgreSQL::Test::Cluster::get_free_port() };
		append_to_file("$dir/conf", join '', map { "$_\n" } "Port $proxy->{port}", 'Listen 127.0.0.1', 'Timeout 600', "LogFile \"$proxy->{log}\"",
			'LogLevel Connect', 'MaxClients 100', map { "$_ $options{$_}" } sort keys %options);
		$proxy->{process} = start([ $binary, '-d', '-c', "$dir/conf" ], '>', "$dir/out", '2>', "$dir/err");
		push @emulators, $proxy;
		while ($proxy->{process}->pumpable && time < $give_up)
		{
			# Its log has that somebody was there, if it was this one.
			return $proxy if IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $proxy->{port}) && -s $proxy->{log};
			usleep(20_000);
		}
		$said .= slurp_file("$dir/out") . slurp_file("$dir/err");
	}
	die "tinyproxy does not start: $said";
}

# Asks the control interface of one of them; returns its answer as text.
my $http = HTTP::Tiny->new(timeout => 600, proxy => undef, http_proxy => undef);
sub control
{
	my ($github, $path, $body) = @_;
	my $url = ($github->{control} // "$github->{url}/_emulator") . "/$path";
	if ($url =~ /^https:/)
	{
		my @command = ('curl', '-sS', '-k', $url);
		push @command, '-H', 'Content-Type: application/json', '-d', encode_json($body) if defined $body;
		return (run_command(\@command))[0];
	}
	my $reply = defined $body
	  ? $http->post($url, { headers => { 'Content-Type' => 'application/json' }, content => encode_json($body) })
	  : $http->get($url);
	die "$url: $reply->{content}" if $reply->{status} == 599;
	return $reply->{content};
}

# A server that is not started yet, with a key file, that trusts and may reach the emulated GitHub. %init: a name, and further options of init's.
sub new_server
{
	my ($github, $configuration, %init) = @_;
	my $dir = tempdir(CLEANUP => 1);
	my $node = PostgreSQL::Test::Cluster->new(delete $init{name} // 'main');
	my $extra = delete $init{extra} // [];
	append_to_file("$dir/keys", '1 ' . ('0f' x 32) . "\n");
	chmod 0600, "$dir/keys";
	$node->init(extra => [ '--encoding=UTF8', '--locale=C', @$extra ], %init);
	$node->append_conf('postgresql.conf', <<CONF);
keypup.key_file = '$dir/keys'
keypup.ca_file = '$github->{ca_file}'
keypup.private_hosts = 'localhost'
log_statement = 'none'
# What is refused again during a test is one record, however long that takes.
keypup.audit_count_interval = '1h'
# Compiling a query takes longer than these small histories.
jit = off
$configuration
CONF
	return $node;
}

# Ends process $pid of the server at once, and returns when the server has noticed, has started anew and answers: until then it may still
# answer, and a psql that is refused may be gone before the question is written to it, which Perl dies of.
sub crash_server
{
	my ($node, $pid) = @_;
	my $give_up = time + $PostgreSQL::Test::Utils::timeout_default;
	kill 'KILL', $pid;
	while (time < $give_up)
	{
		my ($code, $out) = eval { $node->psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid") };
		return if defined $code && $code == 0 && $out eq '0';
		usleep(10_000);
	}
	die 'the server did not come back';
}

# Waits until no session of anybody is in a database any more: one that was ended takes a moment, in which the database can be neither
# dropped nor renamed. PostgreSQL waits for five seconds.
sub nobody_is_in
{
	my ($node, $database) = @_;
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = '$database' AND backend_type = 'client backend'") or die "somebody stays in $database";
	return;
}

# Waits until it is tomorrow in these time zones where that is near: what counts days to today, and is computed twice, must not cross midnight.
sub avoid_midnight
{
	my ($node, @zones) = @_;
	my $left = join ', ', map { "86400 - extract(epoch FROM (now() AT TIME ZONE '$_')::time)" } @zones;
	my $near = $node->safe_psql('postgres', "SELECT coalesce(max(s), 0) FROM unnest(ARRAY[$left]) s WHERE s < 300");
	sleep $near + 2 if $near > 0;
	return;
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

# The same for many statements: a function that answers one, or "error: …". One connection and transaction, begun by these statements;
# whatever a statement did is undone.
sub asking_as
{
	my ($node, $role, @first) = @_;
	my $connection = DirectQuery::connect_to($node->connstr('postgres') . " user=$role") or die DBI->errstr;
	$connection->do($_) or die $connection->errstr foreach 'BEGIN', @first;
	return sub {
		my ($sql) = @_;
		$connection->do('SAVEPOINT before');
		my ($answer, $error) = DirectQuery::ask($connection, $sql);
		$connection->do('ROLLBACK TO before');
		return !defined $error ? join("\n", @$answer) : $error =~ /ERROR:  (.*)$/m ? "error: $1" : "error: $error";
	};
}

# What somebody would plant who may create in schema keypup: beside its functions others of the same names, which PostgreSQL prefers where
# an argument's type is not exactly the function's, or where a default stands for it. They end in an error. Without $all, those are left
# alone that a test calls itself, as members do. Returns how many there are.
sub plant_overloads
{
	my ($node, $all) = @_;
	return $node->safe_psql('postgres', <<'SQL' =~ s/:all/$all ? 'true' : 'false'/er);
SET client_min_messages = error;
CREATE FUNCTION pg_temp.plant(name name, kind "char", inputs oid[], names text[], outputs text, result text) RETURNS integer LANGUAGE plpgsql AS $do$
BEGIN
  EXECUTE format('CREATE %s keypup.%I(%s) %s LANGUAGE plpgsql AS $x$ BEGIN RAISE EXCEPTION %L; END $x$', CASE kind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, name,
    concat_ws(', ', (SELECT string_agg(concat_ws(' ', quote_ident(nullif(names[i], '')), format_type(inputs[i], NULL)), ', ' ORDER BY i) FROM generate_subscripts(inputs, 1) i), outputs),
    CASE WHEN kind <> 'p' THEN 'RETURNS ' || result END, 'an overload of ' || name || ' was called');
  RETURN 1;
EXCEPTION WHEN duplicate_function THEN RETURN 0;
END $do$;
WITH nearer (own, planted) AS (
  SELECT o.own, p.planted FROM (VALUES
    ('text', 'name varchar bpchar bytea'), ('bigint', 'integer smallint text'), ('integer', 'smallint bigint text'), ('numeric', 'bigint integer text'),
    ('double precision', 'numeric bigint integer text'), ('uuid', 'text'), ('jsonb', 'text'), ('timestamptz', 'timestamp date text'), ('date', 'text'),
    ('regclass', 'oid text'), ('interval', 'text'), ('boolean', 'text'), ('bytea', 'text'), ('oid', 'integer bigint regclass text'), ('name', 'text varchar'),
    ('text[]', 'text name[] varchar[]'), ('bigint[]', 'text integer[]'), ('integer[]', 'text'), ('uuid[]', 'text')) AS o (own, others)
  CROSS JOIN LATERAL string_to_table(o.others, ' ') AS p (planted)
), own AS MATERIALIZED (
  SELECT p.oid, p.proname, p.prokind, p.pronargdefaults, ARRAY(SELECT t FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, k) ORDER BY k) AS inputs, pg_get_function_result(p.oid) AS result,
    ARRAY(SELECT p.proargnames[k] FROM generate_subscripts(p.proargnames, 1) k WHERE coalesce(p.proargmodes[k], 'i') IN ('i', 'b', 'v') ORDER BY k) AS names,
    (SELECT string_agg(format('OUT %I %s', p.proargnames[k], format_type(p.proallargtypes[k], NULL)), ', ' ORDER BY k)
     FROM generate_subscripts(p.proallargtypes, 1) k WHERE p.proargmodes[k] = 'o') AS outputs
  FROM pg_proc p
  WHERE p.pronamespace = 'keypup'::regnamespace AND p.prokind IN ('f', 'p')
    AND (:all OR NOT has_function_privilege('keypup_member', p.oid, 'EXECUTE') AND NOT has_function_privilege('pg_monitor', p.oid, 'EXECUTE'))
), planted AS MATERIALIZED (
  SELECT pg_temp.plant(o.proname, o.prokind, ARRAY(SELECT CASE WHEN j = i THEN n.planted::regtype::oid ELSE o.inputs[j] END FROM generate_subscripts(o.inputs, 1) j ORDER BY j),
    o.names, o.outputs, o.result) AS made
  FROM own o CROSS JOIN LATERAL generate_subscripts(o.inputs, 1) i JOIN nearer n ON n.own::regtype = o.inputs[i]
  UNION ALL
  SELECT pg_temp.plant(o.proname, o.prokind, o.inputs[1:cardinality(o.inputs) - d], o.names, o.outputs, o.result)
  FROM own o CROSS JOIN LATERAL generate_series(1, o.pronargdefaults) d
)
SELECT sum(made) FROM planted;
SQL
}

# Columns of a table beside the same computed from the truth.
my %expected = (
	pull_requests => [
		q{number, external_id, title, state, is_draft, author, author_is_bot, created_at, updated_at, closed_at, merged_at, merged_by, base_branch, head_branch,
		  additions, deletions, changed_files, commit_count, first_commit_at, labels, assignees, requested_reviewers, milestone, review_count, comment_count},
		q{SELECT (i->>'number')::bigint, i->>'fullDatabaseId', i->>'title', lower(i->>'state'), (i->>'isDraft')::boolean, i->'author'->>'login',
		  coalesce(i->'author'->>'__typename' = 'Bot', false), (i->>'createdAt')::timestamptz, (i->>'updatedAt')::timestamptz, (i->>'closedAt')::timestamptz,
		  (i->>'mergedAt')::timestamptz, i->'mergedBy'->>'login', i->>'baseRefName', i->>'headRefName', (i->>'additions')::bigint, (i->>'deletions')::bigint,
		  (i->>'changedFiles')::bigint, jsonb_array_length(i->'commits')::bigint, (i#>>'{commits,0,authoredDate}')::timestamptz,
		  ARRAY(SELECT DISTINCT (l->>'name') COLLATE "C" FROM jsonb_array_elements(i->'labels') l ORDER BY 1),
		  ARRAY(SELECT DISTINCT (l->>'login') COLLATE "C" FROM jsonb_array_elements(i->'assignees') l WHERE l->>'__typename' = 'User' ORDER BY 1),
		  ARRAY(SELECT DISTINCT coalesce(q->'requestedReviewer'->>'login', split_part(r, '/', 1) || '/' || (q->'requestedReviewer'->>'slug')) COLLATE "C"
		    FROM jsonb_array_elements(i->'reviewRequests') q WHERE jsonb_typeof(q->'requestedReviewer') = 'object' ORDER BY 1),
		  i->'milestone'->>'title',
		  (SELECT count(*) FROM jsonb_array_elements(i->'reviews') v WHERE v->>'state' <> 'PENDING'),
		  jsonb_array_length(i->'comments') + (SELECT count(*) FROM jsonb_path_query(i, '$.reviewThreads[*].comments[*]'))
		  FROM truth t(r, k, i) WHERE k = 'pullRequests'} ],
	issues => [
		q{number, external_id, title, state, state_reason, author, created_at, updated_at, closed_at, comment_count, labels, assignees, milestone},
		q{SELECT (i->>'number')::bigint, i->>'fullDatabaseId', i->>'title', lower(i->>'state'), lower(i->>'stateReason'), i->'author'->>'login',
		  (i->>'createdAt')::timestamptz, (i->>'updatedAt')::timestamptz, (i->>'closedAt')::timestamptz, jsonb_array_length(i->'comments')::bigint,
		  ARRAY(SELECT DISTINCT (l->>'name') COLLATE "C" FROM jsonb_array_elements(i->'labels') l ORDER BY 1),
		  ARRAY(SELECT DISTINCT (l->>'login') COLLATE "C" FROM jsonb_array_elements(i->'assignees') l WHERE l->>'__typename' = 'User' ORDER BY 1),
		  i->'milestone'->>'title'
		  FROM truth t(r, k, i) WHERE k = 'issues'} ],
	reviews => [
		q{pull_request_number, external_id, author, author_is_bot, state, submitted_at},
		q{SELECT (i->>'number')::bigint, v->>'fullDatabaseId', v->'author'->>'login', coalesce(v->'author'->>'__typename' = 'Bot', false), lower(v->>'state'),
		  (v->>'submittedAt')::timestamptz
		  FROM truth t(r, k, i), jsonb_array_elements(i->'reviews') v WHERE k = 'pullRequests' AND v->>'state' <> 'PENDING'} ],
	pull_request_commits => [
		q{pull_request_number, commit_id, author, author_is_bot, authored_at},
		q{SELECT (i->>'number')::bigint, c->>'oid', CASE c->'author'->>'__typename' WHEN 'User' THEN c->'author'->>'login' END, false, (c->>'authoredDate')::timestamptz
		  FROM truth t(r, k, i), jsonb_array_elements(i->'commits') c WHERE k = 'pullRequests'} ],
	comments => [
		q{item_kind, item_number, external_id, author, author_is_bot, created_at, updated_at},
		q{SELECT CASE k WHEN 'issues' THEN 'issue' ELSE 'pull_request' END, (i->>'number')::bigint, c->>'fullDatabaseId', c->'author'->>'login',
		  coalesce(c->'author'->>'__typename' = 'Bot', false), (c->>'createdAt')::timestamptz, (c->>'updatedAt')::timestamptz
		  FROM truth t(r, k, i), jsonb_array_elements(i->'comments') c WHERE k IN ('issues', 'pullRequests')
		  UNION ALL
		  SELECT 'review', (i->>'number')::bigint, c->>'fullDatabaseId', c->'author'->>'login', coalesce(c->'author'->>'__typename' = 'Bot', false),
		  (c->>'createdAt')::timestamptz, (c->>'updatedAt')::timestamptz
		  FROM truth t(r, k, i), jsonb_path_query(i, '$.reviewThreads[*].comments[*]') c WHERE k = 'pullRequests'} ],
	labels => [ q{external_id, name, color}, q{SELECT i->>'id', i->>'name', i->>'color' FROM truth t(r, k, i) WHERE k = 'labels'} ],
	milestones => [ q{external_id, number, title, state, due_on, closed_at},
		q{SELECT i->>'id', (i->>'number')::bigint, i->>'title', lower(i->>'state'), (i->>'dueOn')::timestamptz, (i->>'closedAt')::timestamptz
		  FROM truth t(r, k, i) WHERE k = 'milestones'} ],
	# What a label was called when it was read is compared by nobody: its id names it.
	timeline_events => [
		q{item_kind, item_number, external_id, event, actor, subject, from_value, CASE WHEN event NOT LIKE '%labeled' THEN to_value END, occurred_at},
		q{SELECT CASE k WHEN 'issues' THEN 'issue' ELSE 'pull_request' END, (i->>'number')::bigint, e->>'id',
		  CASE e->>'__typename' WHEN 'ReadyForReviewEvent' THEN 'ready_for_review' WHEN 'ConvertToDraftEvent' THEN 'convert_to_draft'
		    WHEN 'ReviewRequestedEvent' THEN 'review_requested' WHEN 'ReviewRequestRemovedEvent' THEN 'review_request_removed' WHEN 'ReviewDismissedEvent' THEN 'review_dismissed' WHEN 'LabeledEvent' THEN 'labeled' WHEN 'UnlabeledEvent' THEN 'unlabeled'
		    WHEN 'AssignedEvent' THEN 'assigned' WHEN 'UnassignedEvent' THEN 'unassigned' WHEN 'MergedEvent' THEN 'merged' WHEN 'ClosedEvent' THEN 'closed' WHEN 'ReopenedEvent' THEN 'reopened' END,
		  e->'actor'->>'login', coalesce(e->'requestedReviewer'->>'login', split_part(r, '/', 1) || '/' || (e->'requestedReviewer'->>'slug'), e->'assignee'->>'login',
		    (SELECT v->'author'->>'login' FROM jsonb_array_elements(i->'reviews') v WHERE v->>'id' = e->'review'->>'id')),
		  coalesce(e->'label'->>'id', lower(e->>'previousReviewState')), (SELECT v->>'fullDatabaseId' FROM jsonb_array_elements(i->'reviews') v WHERE v->>'id' = e->'review'->>'id'),
		  (e->>'createdAt')::timestamptz
		  FROM truth t(r, k, i), jsonb_array_elements(i->'events') e
		  WHERE e->>'__typename' IN ('ClosedEvent', 'ReopenedEvent', 'AssignedEvent', 'UnassignedEvent', 'LabeledEvent', 'UnlabeledEvent')
		     OR (k = 'pullRequests' AND e->>'__typename' IN ('ReadyForReviewEvent', 'ConvertToDraftEvent', 'ReviewRequestedEvent', 'ReviewRequestRemovedEvent', 'ReviewDismissedEvent', 'MergedEvent'))} ],
	releases => [
		q{external_id, tag_name, name, author, author_is_bot, is_draft, is_prerelease, created_at, published_at, updated_at, commit_at},
		q{SELECT i->>'id', i->>'tagName', i->>'name', i->'author'->>'login', false, (i->>'isDraft')::boolean, (i->>'isPrerelease')::boolean, (i->>'createdAt')::timestamptz,
		  (i->>'publishedAt')::timestamptz, (i->>'updatedAt')::timestamptz, (i->'tagCommit'->>'committedDate')::timestamptz
		  FROM truth t(r, k, i) WHERE k = 'releases'} ],
	deployments => [
		q{external_id, environment, state, ref, creator, creator_is_bot, created_at, updated_at, commit_at, succeeded_at, failed_at},
		q{SELECT i->>'id', i->>'environment', lower(i->>'state'), i->'ref'->>'name', i->'creator'->>'login', coalesce(i->'creator'->>'__typename' = 'Bot', false),
		  (i->>'createdAt')::timestamptz, (i->>'updatedAt')::timestamptz, (i->'commit'->>'committedDate')::timestamptz,
		  (SELECT min((s->>'createdAt')::timestamptz) FROM jsonb_array_elements(i->'statuses') s WHERE s->>'state' = 'SUCCESS'),
		  (SELECT min((s->>'createdAt')::timestamptz) FROM jsonb_array_elements(i->'statuses') s WHERE s->>'state' IN ('FAILURE', 'ERROR'))
		  FROM truth t(r, k, i) WHERE k = 'deployments'} ],
	pull_request_merge_states => [
		q{pull_request_number, head_commit, has_conflicts, is_behind, check_state, review_decision, required_approvals},
		q{SELECT (i->>'number')::bigint, i->'commits'->-1->>'oid', CASE i->>'mergeable' WHEN 'CONFLICTING' THEN true WHEN 'MERGEABLE' THEN false END,
		  CASE WHEN i->>'mergeStateStatus' <> 'UNKNOWN' THEN i->>'mergeStateStatus' = 'BEHIND' END,
		  (SELECT CASE WHEN 'failure' = ANY (array_agg(c.state)) THEN 'failure' WHEN 'pending' = ANY (array_agg(c.state)) THEN 'pending' WHEN count(*) > 0 THEN 'success' END
		   FROM (SELECT DISTINCT ON (coalesce(c->>'name', c->>'context')) CASE WHEN coalesce(c->>'conclusion', c->>'state') IN ('SUCCESS', 'NEUTRAL', 'SKIPPED') THEN 'success'
		       WHEN coalesce(c->>'conclusion', c->>'state', 'PENDING') IN ('PENDING', 'EXPECTED') THEN 'pending' ELSE 'failure' END AS state
		     FROM jsonb_array_elements(i->'checks') WITH ORDINALITY AS c (c, n) ORDER BY coalesce(c->>'name', c->>'context'), n DESC) AS c),
		  lower(i->>'reviewDecision'),
		  (SELECT greatest(0, (b.item->>'protection')::bigint, (SELECT max(s::bigint) FROM jsonb_array_elements_text(b.item->'rulesets') s))
		   FROM (SELECT max(item::text)::jsonb AS item FROM truth WHERE repository = r AND kind = 'branches' AND item->>'name' = i->>'baseRefName') b)
		  FROM truth t(r, k, i) WHERE k = 'pullRequests' AND i->>'state' = 'OPEN'} ],
	pull_request_checks => [
		q{pull_request_number, external_id, head_commit, kind, workflow, name, status, conclusion, started_at, completed_at},
		q{SELECT (i->>'number')::bigint, c->>'id', i->'commits'->-1->>'oid', CASE c->>'__typename' WHEN 'CheckRun' THEN 'check_run' ELSE 'commit_status' END, c->>'workflow',
		  coalesce(c->>'name', c->>'context'), s.status, CASE s.status WHEN 'completed' THEN CASE c->>'state' WHEN 'ERROR' THEN 'failure' ELSE lower(coalesce(c->>'conclusion', c->>'state')) END END,
		  (c->>'startedAt')::timestamptz, CASE s.status WHEN 'completed' THEN (coalesce(c->>'completedAt', c->>'createdAt'))::timestamptz END
		  FROM truth t(r, k, i), jsonb_array_elements(i->'checks') c, LATERAL (SELECT CASE coalesce(c->>'status', c->>'state') WHEN 'COMPLETED' THEN 'completed' WHEN 'SUCCESS' THEN 'completed' WHEN 'FAILURE' THEN 'completed'
		    WHEN 'ERROR' THEN 'completed' WHEN 'IN_PROGRESS' THEN 'in_progress' WHEN 'PENDING' THEN CASE c->>'__typename' WHEN 'CheckRun' THEN 'queued' ELSE 'in_progress' END ELSE 'queued' END AS status) s
		  WHERE k = 'pullRequests' AND i->>'state' = 'OPEN'} ],
);

# Most repositories have neither deployments nor releases, and not all have open pull requests.
my %may_be_empty = map { $_ => 1 } qw(releases deployments pull_request_merge_states pull_request_checks);
# Of what was closed long ago nobody asks how it stood; of an earlier commit the checks stay.
my $is_open = ' AND EXISTS (SELECT FROM keypup.pull_requests q WHERE (q.account_id, q.project_id, q.number) = (a, p, pull_request_number) AND q.state = \'open\' AND q.deleted_at IS NULL)';
my %only = (releases => ' AND deleted_at IS NULL', deployments => ' AND deleted_at IS NULL', pull_request_merge_states => $is_open,
	pull_request_checks => "$is_open AND head_commit = (SELECT m.head_commit FROM keypup.pull_request_merge_states m WHERE (m.account_id, m.project_id, m.pull_request_number) = (a, p, pull_request_checks.pull_request_number))");

# SQL that puts the emulator's own truth about a repository into a table.
sub truth_script
{
	my ($github, $name) = @_;
	my $dir = tempdir(CLEANUP => 1);
	chmod 0755, $dir;
	# Text cannot hold NUL or a lone surrogate: in both they are U+FFFD.
	append_to_file("$dir/truth.json", control($github, "truth?repository=$name") =~ s/(?<!\\)((?:\\\\)*)\\u(?:0000|d[89a-f]..)/$1\\ufffd/gr);
	chmod 0644, "$dir/truth.json";
	return "SET client_min_messages = warning;
		CREATE TABLE IF NOT EXISTS truth (repository text, kind text, item jsonb);
		DELETE FROM truth WHERE repository = '$name';
		INSERT INTO truth SELECT '$name', k.key, i FROM jsonb_each(pg_read_file('$dir/truth.json')::jsonb) k,
		jsonb_array_elements(k.value) i WHERE jsonb_typeof(k.value) = 'array';\n";
}

# For each table [name, whether every row and column is the provider's, what differs]; a row that is there twice differs.
# All are compared by one psql.
sub compare_tables
{
	my ($node, $github, $name) = @_;
	my $script = truth_script($github, $name);
	foreach my $table (sort keys %expected)
	{
		my ($columns, $select) = @{ $expected{$table} };
		$select =~ s/truth t\(/(SELECT * FROM truth WHERE repository = '$name') t(/g;
		my $ours = "SELECT $columns FROM keypup.$table JOIN (SELECT account_id AS a, project_id AS p FROM keypup.projects WHERE name = '$name') x ON account_id = a AND project_id = p WHERE true" . ($only{$table} // '');
		$script .= "WITH ours AS ($ours), truth_rows AS ($select), missing AS (TABLE truth_rows EXCEPT ALL TABLE ours), extra AS (TABLE ours EXCEPT ALL TABLE truth_rows)
			SELECT json_build_array('$table'::text, (SELECT count(*) FROM truth_rows), (SELECT count(*) FROM missing), (SELECT count(*) FROM extra), (SELECT min(missing::text) FROM missing), (SELECT min(extra::text) FROM extra));\n";
	}
	my @answers;
	foreach my $answer (map { decode_json($_) } split /\n/, $node->safe_psql('postgres', $script))
	{
		my ($table, $rows, $missing, $extra) = @$answer;
		push @answers, [ $table, ($rows > 0 || $may_be_empty{$table}) && $missing == 0 && $extra == 0, join('|', map { $_ // '' } @$answer[1 .. 5]) ];
	}
	die 'not every table was compared' unless @answers == keys %expected;
	return @answers;
}

# One test a table.
sub compare_with_truth
{
	my ($node, $github, $name, $when) = @_;
	foreach my $answer (compare_tables($node, $github, $name))
	{
		ok($answer->[1], "$name: every row and column of $answer->[0] is the provider's $when") or diag($answer->[2]);
	}
}

# All tables at once: '' when all are the provider's.
sub differences
{
	my ($node, $github, $name) = @_;
	return join("\n", map { "$_->[0]: $_->[2]" } grep { !$_->[1] } compare_tables($node, $github, $name));
}

# For many repositories at once, whose truth does not change: what the provider has is kept as tables.
sub keep_truth
{
	my ($node, $github, @names) = @_;
	my $sql = join '', map { truth_script($github, $_) } @names;
	$sql .= 'CREATE INDEX ON truth (repository, kind); ANALYZE truth;';
	foreach my $table (sort keys %expected)
	{
		my ($columns, $select) = @{ $expected{$table} };
		$columns = join ', ', map { "c$_" } 0 .. ($columns =~ tr/,//);
		$select =~ s/truth t\(/(SELECT * FROM truth WHERE repository = n.name) t(/g;
		$sql .= "CREATE TABLE truth_$table AS SELECT n.name AS project_name, x.* FROM (SELECT DISTINCT repository AS name FROM truth) n CROSS JOIN LATERAL ($select) x($columns); ANALYZE truth_$table;";
	}
	$node->safe_psql('postgres', $sql);
}

# What differs from it: [project, table, what], none when all is the provider's.
sub differing
{
	my ($node) = @_;
	my @parts;
	foreach my $table (sort keys %expected)
	{
		my $columns = $expected{$table}[0];
		my $ours = "SELECT x.project_name, $columns FROM keypup.$table JOIN (SELECT account_id AS a, project_id AS p, name AS project_name FROM keypup.projects) x ON account_id = a AND project_id = p WHERE true" . ($only{$table} // '');
		push @parts, "(WITH ours AS ($ours), missing AS (TABLE truth_$table EXCEPT ALL TABLE ours), extra AS (TABLE ours EXCEPT ALL TABLE truth_$table)
			SELECT project_name, '$table', format('%s missing, %s more: %s', sum(m), sum(e), min(t)) FROM (SELECT project_name, 1 AS m, 0 AS e, 'missing ' || missing::text AS t FROM missing UNION ALL SELECT project_name, 0, 1, 'more ' || extra::text FROM extra) q GROUP BY 1)";
	}
	return map { [ split /\|/, $_, 3 ] } split /\n/, $node->safe_psql('postgres', 'SET jit = off; ' . join(' UNION ALL ', @parts));
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
