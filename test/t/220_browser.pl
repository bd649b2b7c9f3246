# The example pages in a browser, as a viewer over TLS: every number on them is what psql gets, and nothing else is to be had.
use strict;
use utf8;
use warnings;

use File::Temp qw(tempdir);
use FindBin;
use IO::Socket::INET;
use IPC::Run qw(run timeout);
use JSON::PP;
use lib "$FindBin::RealBin/../lib";
use KeypupTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::Local qw(timegm);

plan skip_all => 'Ubuntu has no package of chromium, only a snap' if !-x '/usr/bin/chromium' && slurp_file('/etc/os-release') =~ /^ID=ubuntu$/m;
die 'chromium is not here: dev/setup lint installs it' unless -x '/usr/bin/chromium';
my $folder = 'examples/vega-lite';
my $token = 'ghp_browser0123456789abc';
my $password = 'correct horse battery staple';
my $github = start_github($token, map { ('--generate', $_) } 'demo/one:pulls=150,issues=120,seed=7', 'demo/two:pulls=40,issues=40,seed=8');
my $node = new_server($github, <<CONF);
shared_preload_libraries = 'keypup'
keypup.sync_interval = '1d'
listen_addresses = '127.0.0.1'
log_connections = on
ssl = on
CONF
my $dir = tempdir(CLEANUP => 1);
make_certificates();
unlink $node->data_dir . '/pg_hba.conf';
# Over the network only by TLS and password.
append_to_file($node->data_dir . '/pg_hba.conf', "local all all trust\nhostssl all vera,otto,oscar,dora,adam,boss 127.0.0.1/32 scram-sha-256\n");
$node->start;
sub query { return $node->safe_psql('postgres', $_[0]); }

# An authority and the server's certificate, for localhost; and an authority that nobody asked.
sub make_certificates
{
	my $data = $node->data_dir;
	my @key = ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2');
	append_to_file("$dir/extensions", "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n");
	foreach my $command ([ 'req', '-x509', @key, '-subj', '/CN=Our CA', '-keyout', "$dir/ca.key", '-out', "$dir/ca.crt" ],
		[ 'req', '-x509', @key, '-subj', '/CN=Our CA', '-keyout', "$dir/other.key", '-out', "$dir/other.crt" ],
		[ 'req', @key[0 .. 4], '-subj', '/CN=localhost', '-keyout', "$data/server.key", '-out', "$dir/server.csr" ],
		[ 'x509', '-req', '-in', "$dir/server.csr", '-CA', "$dir/ca.crt", '-CAkey', "$dir/ca.key", '-CAcreateserial', '-days', '2', '-extfile', "$dir/extensions", '-out', "$data/server.crt" ])
	{
		my ($out, $error) = run_command([ 'openssl', @$command ]);
		die $error unless $? == 0;
	}
	chmod 0600, "$data/server.key";
}

query('CREATE EXTENSION keypup');
query("CREATE ROLE $_ LOGIN PASSWORD '$password'") foreach qw(vera otto oscar dora adam);
query("CREATE ROLE boss LOGIN SUPERUSER PASSWORD '$password'");
query(qq{SELECT keypup.create_account('acme'), keypup.connect('acme', 'github', '$token', '$github->{url}'), keypup.create_account('void')});
query("SELECT keypup.track('acme', '$_')") foreach 'demo/one', 'demo/two';
query(q{SELECT keypup.add_member('acme', 'vera', 'viewer'); SELECT keypup.add_member('void', 'otto', 'viewer'); SELECT keypup.add_member(a, 'dora', 'viewer') FROM unnest(ARRAY['acme', 'void']) a; SELECT keypup.add_member('acme', 'adam', 'admin')});
ok($node->poll_query_until('postgres', q{SELECT bool_and(phase = 'idle' AND last_run_finished_at IS NOT NULL) FROM keypup.sync_status}), 'all is synced');
# Deployments a while after each second merge, every sixth of which fails; what is labelled as a bug is an incident, and none of these was
# closed as not planned.
query(q{INSERT INTO keypup.deployments (account_id, project_id, external_id, environment, state, ref, created_at, updated_at, succeeded_at, failed_at)
	SELECT account_id, project_id, 'D' || number, 'production', 'inactive', 'main', merged_at + interval '2 hours', merged_at + interval '3 hours',
	  CASE WHEN number % 12 <> 0 THEN merged_at + interval '3 hours' END, CASE WHEN number % 12 = 0 THEN merged_at + interval '3 hours' END
	FROM keypup.pull_requests WHERE merged_at IS NOT NULL AND number % 2 = 0;
	UPDATE keypup.issues SET state_reason = 'completed' WHERE state = 'closed';
	SELECT keypup.set_incident_labels('acme', '{bug,enhancement}'), keypup.set_time_zone('acme', 'Asia/Kolkata')});
my $account = query(q{SELECT account_id FROM keypup.accounts WHERE name = 'acme'});
my %project = map { split /\|/ } split /\n/, query('SELECT name, project_id FROM keypup.projects');

# The environment by which the example's server, and psql, connect.
sub environment
{
	my ($role, %more) = @_;
	return (PGHOST => 'localhost', PGPORT => $node->port, PGDATABASE => 'postgres', PGUSER => $role, PGPASSWORD => $password, PGSSLROOTCERT => "$dir/ca.crt", PGSSLMODE => 'verify-full', PORT => 0, %more);
}

sub serve
{
	my ($role) = @_;
	local %ENV = (%ENV, environment($role));
	return start_node("$folder/server.mjs")->{url};
}

# Does the steps in a browser; what was on each page, and what was asked and went wrong on the way.
sub browse
{
	my ($url, @steps) = @_;
	my @options = ref $url ? @$url : ('--url', $url);
	my ($out, $error) = ('', '');
	my $done = run([ 'node', "$folder/browse.mjs", @options, '--steps', encode_json(\@steps) ], '>', \$out, '2>', \$error, timeout($PostgreSQL::Test::Utils::timeout_default));
	ok($done, 'the browser did as told') or diag($error);
	return decode_json($out);
}

# The rows of a query file, as psql gets them.
sub rows
{
	my ($role, $name, %value) = @_;
	my $sql = slurp_file("$folder/queries/$name.sql") =~ s/;\s*\z//r;
	local %ENV = (%ENV, environment($role));
	my ($out, $error) = ('', '');
	my @variables = map { ('-v', "$_=" . ($value{$_} // '')) } qw(account project from to);
	run([ 'psql', '-AXqt', '-v', 'ON_ERROR_STOP=1', @variables ], '<', \"SELECT row_to_json(x) FROM (\n$sql\n) x;", '>', \$out, '2>', \$error, timeout(180)) or die "$name: $error";
	return map { decode_json($_) } split /\n/, $out;
}

# The rows as they were when the page was read: since then a day of an item may have ended.
sub when_read
{
	my ($shown, @rows) = @_;
	foreach my $at (0 .. $#rows)
	{
		foreach my $days (grep { defined $rows[$at]{$_} } qw(age_days idle_days))
		{
			$rows[$at]{$days}-- if plain($shown->[$at]{$days} // '') eq $rows[$at]{$days} - 1;
		}
	}
	return @rows;
}

sub as_vera { return as_role($node, 'vera', $_[0]); }
sub plain { return $_[0] =~ s/(?<=\d),(?=\d{3})//gr =~ s/(\d)\.0\b/$1/gr; }

# The texts that the marks of a chart must have.
my %series = (
	throughput => [ '', pull_requests_merged => 'Pull requests merged', issues_opened => 'Issues opened', issues_closed => 'Issues closed' ],
	cycle_time_stages => [ 'hours', coding_p50 => 'Coding', pickup_p50 => 'Pickup', review_p50 => 'Review', merge_p50 => 'Merge' ],
	issue_flow => [ 'issues', done => 'Done', open => 'Open' ],
	time_to_first_review => [ 'hours', p50 => 'Median', p75 => '75th percentile', p90 => '90th percentile' ],
	merged_without_review => [ 'pull requests', reviewed => 'Reviewed', without_review => 'Without a review' ],
	deployment_frequency => [ 'deployments', deployments => 'Succeeded', failed_deployments => 'Failed' ],
	lead_time_for_changes => [ 'hours', p50 => 'Median', p75 => '75th percentile', p90 => '90th percentile' ],
	change_failure_rate => [ '%', percent_failed => 'Change failure rate' ],
	recovery_time => [ 'hours', p50 => 'Median', longest => 'Longest' ],
	sign_ins_and_refusals => [ '', sign_ins => 'Sign-ins', refused_sign_ins => 'Refused sign-ins', other_refusals => 'Other refusals' ]);
my %is_stacked = map { $_ => 1 } qw(merged_without_review deployment_frequency);

sub counted { my ($value, $unit) = @_; return $value == 1 ? "$value " . $unit =~ s/s$//r : "$value $unit"; }

sub mark_texts
{
	my ($name, @rows) = @_;
	return map { counted($_->{age_days}, 'days') =~ s/^/$_->{project} $_->{number}, $_->{review_state}: /r } @rows if $name eq 'work_in_progress';
	return map { "$_->{reviewer}: " . counted($_->{reviews}, 'reviews') } grep { defined } @rows[0 .. 19] if $name eq 'review_load';
	return map { "$_->{reviewer} reviewed $_->{author}: " . counted($_->{pull_requests}, 'pull requests') } @rows if $name eq 'reviewer_pairs';
	my ($unit, %title) = @{ $series{$name} };
	my @texts;
	foreach my $row (@rows)
	{
		foreach my $column (sort keys %title)
		{
			my $value = $row->{$column};
			# A stack has no bar for none.
			next if !defined $value || ($is_stacked{$name} && $value == 0);
			push @texts, "$title{$column}, " . ($row->{week_start} // $row->{day}) . ': ' . ($unit ? counted($value, $unit) : $value);
		}
	}
	return @texts;
}

# Each number of a page, beside what psql gets for the same filters.
sub compare
{
	my ($page, $what, $role, %filter) = @_;
	@filter{qw(from to)} = split / to /, $page->{range};
	my ($row) = rows($role, { flow => 'flow_numbers', reviews => 'review_numbers', delivery => 'delivery_numbers', access => 'access_numbers' }->{ $page->{address} =~ s{^/(\w+).*}{$1}r }, %filter);
	my %shown = map { $_ => plain($page->{numbers}{$_}) =~ s/ (hours|%)$//r } keys %{ $page->{numbers} };
	is_deeply(\%shown, { map { $_ => defined $row->{$_} ? plain($row->{$_}) : '–' } keys %$row }, "$what: the numbers above");
	foreach my $name (sort keys %{ $page->{sections} })
	{
		my $section = $page->{sections}{$name};
		my @rows = when_read($section->{rows}, rows($role, $name, %filter));
		cmp_ok(scalar @rows, '>', 0, "$what: $name has rows");
		my @table = map { my $row = $_; +{ map { $_ => plain($row->{$_}) } keys %$row } } @{ $section->{rows} };
		my @expected = map { my $row = $_; +{ map { $_ => defined $row->{$_} ? plain($row->{$_} =~ s/^\s+|\s+$//gr) : '–' } keys %$row } } @rows;
		is_deeply(\@table, \@expected, "$what: the table of $name");
		my %marks = map { plain($_->{text}) => 1 } @{ $section->{marks} };
		my %wanted = map { plain($_) => 1 } mark_texts($name, @rows);
		if ($name eq 'reviewer_pairs')
		{
			# The busiest only.
			cmp_ok(scalar keys %marks, '>', 0, "$what: $name has marks");
			delete $wanted{$_} foreach grep { !$marks{$_} } keys %wanted;
		}
		is_deeply([ sort keys %marks ], [ sort keys %wanted ], "$what: the chart of $name");
		cmp_ok(scalar @{ $section->{axes} }, '>', 0, "$what: $name has titles at its axes");
	}
}

avoid_midnight($node, 'UTC', 'Asia/Kolkata');
my $url = serve('vera');
my $seen = browse($url, { follow => 'Reviews' }, { follow => 'Delivery' }, { follow => 'Flow' }, { period => 'All time' }, { choose => { project => 'demo/two' } }, { period => '26 weeks' }, { follow => 'Reviews' },
	{ period => 'All time' }, { choose => { project => 'All projects' } }, { follow => 'Delivery' }, { choose => { project => 'demo/one' } });
my ($flow, $reviews, $delivery, $flow_again, $flow_all, $flow_two, $flow_two_half, $reviews_two_half, $reviews_two, $reviews_all, $delivery_all, $delivery_one) = @{ $seen->{pages} };

# Whatever the filters: the pages and psql agree.
compare($flow, 'flow', 'vera', account => $account);
compare($reviews, 'reviews', 'vera', account => $account);
compare($flow_all, 'flow, all time', 'vera', account => $account);
compare($flow_two, 'flow of one project', 'vera', account => $account, project => $project{'demo/two'});
compare($reviews_two, 'reviews of one project', 'vera', account => $account, project => $project{'demo/two'});
compare($reviews_all, 'reviews, all time', 'vera', account => $account);
compare($delivery, 'delivery', 'vera', account => $account);
compare($delivery_all, 'delivery, all time', 'vera', account => $account);
compare($delivery_one, 'delivery of one project', 'vera', account => $account, project => $project{'demo/one'});
my (undef, $access) = @{ browse(serve('adam'), { follow => 'Access' })->{pages} };
compare($access, 'access, as an admin', 'adam', account => $account);
is((browse($url, { follow => 'Access' })->{pages}[1]{sections}{sign_ins_and_refusals}{message}), 'No records that you may see: it takes the permission audit.read, which owners and admins have.', 'a viewer is told why there are none');
is($flow_again->{html} =~ s/vega-?\w*\d+//gr, $flow->{html} =~ s/vega-?\w*\d+//gr, 'going there and back shows the same');

# And the queries say what the tables do.
sub total { my ($page, $section, $column) = @_; my $sum = 0; $sum += plain($_->{$column}) foreach @{ $page->{sections}{$section}{rows} }; return $sum; }
my $merged = as_vera(q{SELECT count(*) FROM keypup.pull_requests WHERE state = 'merged' AND deleted_at IS NULL});
is($flow_all->{numbers}{pull_requests_merged}, $merged, 'all merges are counted');
is(total($flow_all, 'throughput', 'pull_requests_merged'), $merged, 'each in its week');
is(total($flow_all, 'cycle_time_stages', 'merged'), $merged, 'each with its stages');
is(total($reviews_all, 'merged_without_review', 'reviewed') + total($reviews_all, 'merged_without_review', 'without_review'), $merged, 'reviewed or not');
is(total($reviews_all, 'merged_without_review', 'without_review'), as_vera(q{SELECT count(*) FROM keypup.pull_requests p WHERE merged_at IS NOT NULL AND NOT EXISTS (SELECT FROM keypup.reviews r
	WHERE (r.account_id, r.project_id, r.pull_request_number) = (p.account_id, p.project_id, p.number) AND NOT r.author_is_bot AND r.author IS DISTINCT FROM p.author AND r.state <> 'pending'
	AND r.submitted_at BETWEEN p.ready_at AND p.merged_at)}), 'which it is, is right');
# By weeks of the account's time zone, on every page.
my @merges = map { [ $_->{week_start}, plain($_->{reviewed}) + plain($_->{without_review}) ] } @{ $reviews_all->{sections}{merged_without_review}{rows} };
is(join("\n", map { "$_->[0] $_->[1]" } @merges),
	as_vera(q{SELECT string_agg(week_start || ' ' || merged, E'\n' ORDER BY week_start DESC) FROM (SELECT date_trunc('week', merged_at AT TIME ZONE 'Asia/Kolkata')::date AS week_start, count(*) AS merged
		FROM keypup.pull_requests WHERE state = 'merged' AND deleted_at IS NULL GROUP BY 1) x}), 'merges stand in the weeks of the account');
is($flow_all->{numbers}{issues_open}, as_vera(q{SELECT count(*) FROM keypup.issues WHERE state = 'open'}), 'all open issues are counted');
is($flow_all->{sections}{issue_flow}{rows}[0]{opened}, as_vera('SELECT count(*) FROM keypup.issues'), 'all issues are in the flow');
is(scalar @{ $flow_all->{sections}{work_in_progress}{rows} }, as_vera(q{SELECT count(*) FROM keypup.pull_requests WHERE state = 'open'}), 'each open pull request is in the list');
my $counted = q{FROM keypup.reviews r JOIN keypup.pull_requests p ON (r.account_id, r.project_id, r.pull_request_number) = (p.account_id, p.project_id, p.number)
	WHERE NOT r.author_is_bot AND r.author IS DISTINCT FROM p.author AND r.state <> 'pending'};
is(plain($reviews_all->{numbers}{reviews}), as_vera("SELECT count(*) $counted"), 'all reviews are counted');
is(total($reviews_all, 'review_load', 'reviews'), as_vera("SELECT count(*) $counted"), 'each has its reviewer');
is(total($reviews_all, 'reviewer_pairs', 'reviews'), as_vera("SELECT count(*) $counted AND NOT p.author_is_bot"), 'and its author');
is($flow_two->{numbers}{pull_requests_merged}, as_vera(q{SELECT count(*) FROM keypup.pull_requests p JOIN keypup.projects j USING (account_id, project_id) WHERE p.state = 'merged' AND j.name = 'demo/two'}), 'the filter keeps one project');
is(join(' ', sort keys %{ { map { $_->{project} => 1 } @{ $flow_two->{sections}{work_in_progress}{rows} } } }), 'demo/two', 'in lists, too');
is(scalar @{ $flow_two_half->{sections}{throughput}{rows} }, 26, 'the period has its weeks');
is($flow_two_half->{range} =~ s/.* to //r, $flow_two->{range} =~ s/.* to //r, 'and ends with the same');
like($reviews_two_half->{address}, qr{^/reviews\?account=$account&project=$project{'demo/two'}&period=26$}, 'the filters go along from page to page');
is_deeply($flow->{projects}, [ 'All projects', 'demo/one', 'demo/two' ], 'the projects are offered');
like($flow->{as_of}, qr/^As of \d{4}-\d\d-\d\d \d\d:\d\d UTC · 2 projects$/, 'it says as of when it is');
my $deployed = as_vera('SELECT count(*) FROM keypup.deployments WHERE succeeded_at IS NOT NULL');
is($delivery_all->{numbers}{deployments}, $deployed, 'all deployments are counted');
is(total($delivery_all, 'deployment_frequency', $_->[0]), as_vera("SELECT count(*) FROM keypup.deployments WHERE $_->[1]"), "each in its week: $_->[0]")
  foreach [ 'deployments', 'succeeded_at IS NOT NULL' ], [ 'failed_deployments', 'succeeded_at IS NULL' ];
is(total($delivery_all, 'lead_time_for_changes', 'pull_requests'), as_vera('SELECT count(*) FROM keypup.pull_request_delivery WHERE change_lead_time IS NOT NULL'), 'each change has its lead time');
is(total($delivery_one, 'change_failure_rate', 'failed_changes'), as_vera(q{SELECT count(*) FROM keypup.deployment_metrics WHERE project = 'demo/one' AND is_failed_change}), 'each failed change is counted');
is($delivery_one->{numbers}{change_failure_percent}, as_vera(q{SELECT round(100.0 * count(*) FILTER (WHERE is_failed_change) / count(*), 1) || ' %' FROM keypup.deployment_metrics WHERE project = 'demo/one' AND succeeded}), 'of all');
is(total($delivery_all, 'recovery_time', 'incidents'), as_vera('SELECT count(*) FROM keypup.incidents WHERE recovery_time IS NOT NULL'), 'each closed incident has its recovery');

# Marks stand where their numbers are: points on a line between the least and the greatest, in x by date and in y, or height, by value.
sub off_line
{
	my (@points) = sort { $a->[0] <=> $b->[0] } @_;
	my ($first, $last) = @points[0, -1];
	return 'no distance' unless $last->[0] > $first->[0] && abs($last->[1] - $first->[1]) > 20;
	my $slope = ($last->[1] - $first->[1]) / ($last->[0] - $first->[0]);
	return scalar grep { abs($_->[1] - $first->[1] - $slope * ($_->[0] - $first->[0])) > 1.5 } @points;
}

sub points
{
	my ($page, $section, $title) = @_;
	return map { $_->{text} =~ /^\Q$title\E, (\d+)-(\d+)-(\d+): ([\d.,]+)/ ? { %$_, date => timegm(0, 0, 0, $3, $2 - 1, $1), value => plain($4) } : () } @{ $page->{sections}{$section}{marks} };
}

foreach my $case ([ $flow_all, 'throughput' ], [ $flow_all, 'cycle_time_stages' ], [ $flow_all, 'issue_flow' ], [ $reviews_all, 'time_to_first_review' ], [ $reviews_all, 'merged_without_review' ],
	[ $delivery_all, 'deployment_frequency' ], [ $delivery_all, 'lead_time_for_changes' ], [ $delivery_all, 'change_failure_rate' ])
{
	my ($page, $section) = @$case;
	my (undef, %title) = @{ $series{$section} };
	foreach my $title (sort values %title)
	{
		is(off_line(map { [ $_->{date}, $_->{x} ] } points($page, $section, $title)), 0, "$section: $title stands at its weeks");
		is(off_line(map { [ $_->{value}, $_->{y} ] } points($page, $section, $title)), 0, "$section: $title is as high as its numbers") if $section =~ /^(throughput|change_failure_rate)$/;
		is(off_line([ 0, 0 ], map { [ $_->{value}, $_->{height} ] } points($page, $section, $title)), 0, "$section: $title is as tall as its numbers") if $is_stacked{$section};
	}
}
is(off_line([ 0, 0 ], map { [ $_->{text} =~ /: (\d+)/, $_->{width} ] } @{ $reviews_all->{sections}{review_load}{marks} }), 0, 'bars are as long as their numbers');

# Nothing is cut off: no table needs scrolling to the side on a desk; on a phone some do, and nothing else is wider than its place.
is_deeply($_->{cut}, [], "$_->{title}: nothing is cut off") foreach $flow_all, $reviews_all, $delivery_all;
my $phone = browse([ '--width', 390, '--url', "$url/reviews?period=all" ], { follow => 'Flow' });
my @cut = map { @{ $_->{cut} } } @{ $phone->{pages} };
is_deeply([ grep { !/^\w+ div\.rows:/ || /^reviewer_pairs/ } @cut ], [], 'nor on a phone');
# Everybody can use the pages: axe finds nothing, in the light and in the dark, on a desk and on a phone.
foreach my $colors (qw(light dark))
{
	foreach my $width (1280, 390)
	{
		my $checked = browse([ '--check', '--colors', $colors, '--width', $width, '--url', "$url/flow" ], { follow => 'Reviews' }, { follow => 'Delivery' });
		is_deeply($_->{found}, [], "$_->{title}: axe finds nothing, $colors, $width wide") foreach @{ $checked->{pages} };
		is_deeply($checked->{errors}, [], 'and nothing else went wrong');
	}
}
# A project at rest: where the period ends is said, and why.
my $end = $reviews->{range} =~ s/.* to //r;
is($_->{resting}, "Nothing has happened since $end: the period ends there, and not today.", "$_->{title}: it says that all is at rest") foreach $flow, $reviews;

# What a browser must not see.
is_deeply($seen->{errors}, [], 'no error, no warning, nothing refused by the content security policy');
is_deeply($seen->{strangers}, [], 'nobody but the server was asked');
cmp_ok(scalar @{ $seen->{requests} }, '>', 50, 'and the server was');
unlike(join('', map { $_->{html} } @{ $seen->{pages} }), qr/ghp_|$token|$password/, 'no page has a token or a password');
# By the log, which has those that have been closed since.
my @connections = grep { /application_name=keypup pages/ } split /\n/, slurp_file($node->logfile);
cmp_ok(scalar @connections, '>', 0, 'the server of the pages has connected');
is_deeply([ grep { !/user=(?:vera|adam) .*SSL enabled \(protocol=TLSv1\.[23],/ } @connections ], [], 'always by TLS, as a person who views');

# An account without projects, and a role without an account.
my $empty = browse(serve('otto'), { follow => 'Reviews' }, { follow => 'Delivery' }, { period => 'All time' });
is_deeply([ map { [ map { $_->{message} } values %{ $_->{sections} } ] } @{ $empty->{pages} } ], [ map { [ ('No data yet in this period.') x 4 ] } 1 .. 4 ], 'an outsider sees empty pages');
is(join(' ', map { values %{ $_->{numbers} } } @{ $empty->{pages} }) =~ s/[0– ]//gr, '', 'and no numbers');
is($empty->{pages}[0]{as_of}, 'No project is tracked yet.', 'and is told so');
is($empty->{pages}[0]{resting}, undef, 'where nothing ever happened, nothing rests');
is_deeply($empty->{errors}, [], 'without an error');
unlike(join('', map { $_->{html} } @{ $empty->{pages} }), qr{demo/}, 'and no name');
my $nobody = browse([ '--check', '--url', serve('oscar') ]);
is_deeply($nobody->{pages}[0]{found}, [], 'axe finds nothing where an error is shown');
is_deeply($nobody->{pages}[0]{messages}, ['This database role is in no account of Keypup, or may not read its data.'], 'who is in no account is told that');

# Who is in two accounts sees them one at a time; and what went wrong with the sync is told.
query(q{UPDATE keypup.sync_state s SET last_error = 'the provider answered 502' FROM keypup.projects p WHERE p.project_id = s.project_id AND p.name = 'demo/two'});
my $both = browse(serve('dora'), { choose => { account => 'void' } }, { choose => { account => 'acme' } });
is_deeply([ map { $_->{accounts} } @{ $both->{pages} } ], [ ([ 'acme', 'void' ]) x 3 ], 'two accounts are offered');
is_deeply($flow->{accounts}, [], 'where there is one, no choice is shown');
my ($first, $void, $back) = @{ $both->{pages} };
is(scalar keys %{ { map { $_->{project} => 1 } @{ $_->{sections}{work_in_progress}{rows} } } }, 2, 'one account has its projects') foreach $first, $back;
is_deeply([ @$void{qw(projects as_of)}, $void->{sections}{work_in_progress}{message} ], [ ['All projects'], 'No project is tracked yet.', 'No data yet in this period.' ], 'the other has none of them');
like($back->{as_of}, qr/demo\/two: the provider answered 502$/, 'what went wrong is told');

# What the server refuses.
sub answer { my (@options) = @_; my ($out) = run_command([ 'curl', '-sS', '-w', '\n%{http_code}', @options ]); return $out; }
like(answer('-H', 'Host: attacker.example', "$url/data/throughput"), qr/\n421$/, 'another host name is not answered');
like(answer('-X', 'POST', "$url/data/throughput"), qr/\n405$/, 'nothing but GET');
like(answer('--path-as-is', "$url/$_"), qr/\n404$/, "$_ is not served") foreach '../../dev/demo', 'data/pg_authid', 'queries/throughput.sql', 'server.mjs', 'data/..%2f';
like(answer("$url/data/throughput?account=$account&project=1%27%20OR%201%3D1--&from=2024-01-01&to=2025-01-01"), qr/A filter has a value that makes no sense.*\n400$/s, 'a value is a value, and no SQL');
like(answer('-g', "$url/data/throughput?account=$account&from=x&to=2025-01-01"), qr/\n400$/, 'a day that is none is refused');
is(IO::Socket::INET->new(PeerAddr => '127.0.0.2', PeerPort => $url =~ /:(\d+)/, Timeout => 5), undef, 'other addresses of the machine are not listened on');

# What the server does not start with.
foreach my $case ([ 'another authority', qr/certificate|self-signed/i, environment('vera', PGSSLROOTCERT => "$dir/other.crt") ],
	[ 'a certificate for another name', qr/does not match|not in the cert/i, environment('vera', PGHOST => '127.0.0.1') ],
	[ 'no authority', qr/PGSSLROOTCERT is not set/, environment('vera', PGSSLROOTCERT => '') ],
	[ 'a wrong password', qr/password authentication failed/, environment('vera', PGPASSWORD => 'wrong') ],
	[ 'a superuser', qr/"boss" sees every account/, environment('boss') ])
{
	my ($what, $pattern, %environment) = @$case;
	local %ENV = (%ENV, %environment);
	my ($out, $error) = ('', '');
	ok(!run([ 'node', "$folder/server.mjs" ], '>', \$out, '2>', \$error, timeout(180)), "$what: it does not start");
	like($error, $pattern, "$what: and says why");
	is($out, '', "$what: nothing is served");
	unlike($error, qr/$password/, "$what: no password is told");
}
# The database goes away, and comes back.
$node->stop;
my $gone = answer("$url/data/accounts");
like($gone, qr/"The database cannot be read now."\}\n502$/, 'without a database a page says so');
$node->start;
like(answer("$url/data/accounts"), qr/acme.*\n200$/s, 'with it all goes on');
$node->stop;
done_testing();
