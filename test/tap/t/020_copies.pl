# Copies of a database made by dump and restore, or as a template, send nothing to anybody
# until they are adopted; a restore fires no event and loses no column of the user's. (G8)

use strict;
use warnings;
use PostgreSQL::Test::Utils;
use TodoEvents;
use Test::More;

my $node = todo_node('copies', extension => 0);
my $dir = PostgreSQL::Test::Utils::tempdir();
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
$node->safe_psql('postgres', 'CREATE ROLE owner LOGIN');

# a source for each kind of owner, with everything that a dump holds
sub source
{
	my ($database, $user) = @_;
	my @as = (extra_params => [ '-U', $user ]);

	$node->safe_psql('postgres', "CREATE DATABASE $database OWNER $user");
	$node->safe_psql($database, "GRANT ALL ON SCHEMA public TO $user");
	$node->safe_psql($database, 'CREATE EXTENSION todo_events', @as);
	my $topics = todo_topics($node, $database);
	$node->safe_psql($database, <<'END', @as);
CREATE TABLE public.tasks (id int PRIMARY KEY, owner_id uuid NOT NULL, title text, seq bigint, added text DEFAULT 'mine');
SELECT todo_events.attach('public.tasks', key => 'id', user_key => 'owner_id', title => 'title', sequence => 'seq');
SELECT todo_events.configure('source', 'shop');
SELECT todo_events.create_tasks('public.others');
INSERT INTO tasks (id, owner_id, title) SELECT g, gen_random_uuid(), 'task ' || g FROM generate_series(1, 20) g;
INSERT INTO others (user_id, title) SELECT gen_random_uuid(), 'other ' || g FROM generate_series(1, 5) g;
END
	wait_for_delivery($node, undef, $database);
	return $topics;
}

my %topics = (superuser => source('of_superuser', $superuser), owner => source('of_owner', 'owner'));
my %expected = (superuser => {}, owner => {});	# titles of what copies have sent, by number

# how often each title that only a copy has has arrived
sub arrived
{
	my ($who) = @_;
	my %count;

	$node->{todo_topics} = $topics{$who};
	for my $event (topic_events($node))
	{
		my $title = $event->{data}{payload}{after}{title};
		$count{$title}++ unless $title =~ /^(task|other) /;
	}
	return \%count;
}

# The copy is silent whatever happens in it; adopted, it sends what it should. @waiting:
# titles that the original had not sent when it was copied.
sub check_copy
{
	my ($copy, $who, $backlog, @waiting) = @_;
	my ($out, $err);

	wait_for_sql($node, "$copy: its engine has looked around", <<'END', undef, $copy);
SELECT bool_or(state = 'running') FROM todo_events.workers WHERE database = current_database() AND role = 'log'
END
	like(health_line($node, 'identity', $copy), qr/^error\|this database .*adopt/, "$copy: health says that it is a copy");
	$node->safe_psql($copy, "INSERT INTO tasks (id, owner_id, title) VALUES (100, gen_random_uuid(), 'in the copy')");
	$node->psql($copy, "\\set VERBOSITY verbose\nSELECT todo_events.wait_for_delivery('1 s')", stdout => \$out, stderr => \$err);
	like($err, qr/ERROR:  TE003: this database.*HINT:  It sends nothing.*adopt/s, "$copy: nobody waits for a delivery that does not come");
	$node->safe_psql($copy, "SELECT todo_events.configure('coalesce', '5')");
	is($node->safe_psql($copy, <<'END'), 'off||0', "$copy: no publisher, no I/O process, nothing sent");
SELECT w.state, w.io_pid, m.value FROM todo_events.workers w, todo_events.metrics() m
WHERE w.database = current_database() AND w.role = 'publisher' AND m.name = 'todo_events_messages_sent_total'
END
	is_deeply(arrived($who), $expected{$who}, "$copy: nothing of it has reached the broker");

	my $id = "SELECT event->>'id' FROM todo_events.outbox WHERE key ~ '100\$'";
	my $id_before = $node->safe_psql($copy, $id);
	is($node->safe_psql($copy, "SELECT todo_events.adopt('$backlog')"), 't', "$copy: adopted");
	like(health_line($node, 'identity', $copy), qr/^ok/, "$copy: no copy any more");
	is($node->safe_psql($copy, 'SELECT todo_events.adopt()'), 'f', "$copy: there is nothing more to adopt");
	is($node->safe_psql($copy, $id), $id_before, "$copy: the ids of its events have not changed") unless $copy =~ /^template/;
	$node->safe_psql($copy, "INSERT INTO tasks (id, owner_id, title) VALUES (101, gen_random_uuid(), 'adopted')");
	wait_for_delivery($node, undef, $copy);
	$expected{$who}{$_}++ for 'adopted', $backlog eq 'send' ? (@waiting, 'in the copy') : ();
	is_deeply(arrived($who), $expected{$who},
		"$copy: sends " . ($backlog eq 'send' ? 'what waited, and what comes' : 'what comes, and not what waited'));
}

# A list for pg_restore with the tables' data in the opposite order: a parallel restore may take any.
sub backwards
{
	my ($file) = @_;
	my @lines = split /^/, `pg_restore -l $file`;
	my @data = reverse grep { / TABLE DATA / } @lines;
	open(my $list, '>', "$file.list") or die $!;
	print $list map { / TABLE DATA / ? shift @data : $_ } @lines;
	close $list;
	return "$file.list";
}

# ---- dump and restore -----------------------------------------------------------

for my $form (
	[ 'superuser', 'plain', 'discard' ], [ 'superuser', 'custom', 'send' ], [ 'superuser', 'directory', 'discard' ],
	[ 'owner', 'plain', 'send' ], [ 'owner', 'custom', 'discard' ])
{
	my ($who, $format, $backlog) = @$form;
	my $user = $who eq 'owner' ? 'owner' : $superuser;
	my $copy = "${who}_$format";
	my $file = "$dir/$copy";
	my @connection = ('-h', $node->host, '-p', $node->port, '-U', $user);

	command_ok([ 'pg_dump', @connection, '-F', substr($format, 0, 1), $format eq 'directory' ? ('-j', 2) : (), '-f', $file, "of_$who" ],
		"$copy: dumped");
	$node->safe_psql('postgres', "CREATE DATABASE $copy OWNER $user");
	if ($format eq 'plain')
	{
		command_ok([ 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', @connection, '-d', $copy, '-f', $file ], "$copy: restored");
	}
	else
	{
		my @order = $format eq 'directory' ? ('-j', 2) : ('-L', backwards($file));
		command_ok([ 'pg_restore', '-e', @connection, @order, '-d', $copy, $file ], "$copy: restored");
	}
	is($node->safe_psql($copy, 'SELECT count(*) FROM todo_events.outbox'), 0, "$copy: the restore has fired no event");
	my $rows = 'SELECT array_agg(t ORDER BY id) FROM tasks t';
	is($node->safe_psql($copy, $rows), $node->safe_psql("of_$who", $rows), "$copy: every row, with the column that the user has added");
	check_copy($copy, $who, $backlog);
}

# ---- template ---------------------------------------------------------------------

# the original has something undelivered
$node->safe_psql('postgres', "ALTER DATABASE of_owner SET todo_events.inject = 'step_publisher=error'");
wait_for('the publisher of the original is held up', sub { health_line($node, 'worker:publisher', 'of_owner') =~ /^error/ });
$node->safe_psql('of_owner', "INSERT INTO tasks (id, owner_id, title) VALUES (50, gen_random_uuid(), 'undelivered')");
$node->safe_psql('postgres', "CREATE DATABASE template_$_ TEMPLATE of_owner") for 'discard', 'send';
check_copy('template_discard', 'owner', 'discard', 'undelivered');
check_copy('template_send', 'owner', 'send', 'undelivered');
my $who_is = 'SELECT todo_events_internal.database_id()';
isnt($node->safe_psql('template_send', $who_is), $node->safe_psql('of_owner', $who_is), 'an adopted copy is another database');
isnt($node->safe_psql('template_send', $who_is), $node->safe_psql('template_discard', $who_is), 'and so is another copy');
my $old = "SELECT event->>'id' FROM todo_events.outbox WHERE key ~ '50\$'";
is($node->safe_psql('template_send', $old), $node->safe_psql('of_owner', $old), 'and an event that it had of its original keeps its id');
$node->safe_psql('postgres', 'ALTER DATABASE of_owner RESET todo_events.inject');
wait_for_delivery($node, undef, 'of_owner');
$expected{owner}{undelivered}++;
is_deeply(arrived('owner'), $expected{owner}, 'the original goes on where it was');

# ---- a table of the configuration that somebody holds locked --------------------------

my $locker = $node->background_psql('of_superuser');
$locker->query_safe('BEGIN; LOCK TABLE todo_events.route_config, todo_events.attachment_config');
$node->safe_psql('of_superuser', "SELECT todo_events.configure('coalesce', '7')");
my $node_topics = $node->{todo_topics} = $topics{superuser};
$node->safe_psql('of_superuser', "SELECT todo_events.publish('$node_topics->{reminders}', 'com.example.locked', '{}')");
$locker->query_safe('COMMIT');
$locker->quit;
wait_for_delivery($node, undef, 'of_superuser');
pass('the engine looks again when it is free, and goes on');

# ---- a restore that fires no trigger ----------------------------------------------------

$node->safe_psql('superuser_plain', "SET session_replication_role = replica; INSERT INTO todo_events.route_config VALUES ('com.example.*', 'reminders', false, gen_random_uuid())");
wait_for_sql($node, 'the publisher stops nevertheless',
	"SELECT state = 'off' FROM todo_events.workers WHERE role = 'publisher' AND database = current_database()", undef, 'superuser_plain');
my ($stdout, $stderr);
$node->psql('superuser_plain', "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT todo_events.adopt('send')", stderr => \$stderr);
like($stderr, qr/works in READ COMMITTED transactions only/, 'adopt() wants to see everything');
is($node->safe_psql('superuser_plain', "SELECT todo_events.adopt('send')"), 't', 'and adopts it');
wait_for_delivery($node, undef, 'superuser_plain');

# ---- rights and arguments --------------------------------------------------------------

my ($out, $err);
$node->psql('template_send', "\\set VERBOSITY verbose\nSELECT todo_events.adopt('all')", stdout => \$out, stderr => \$err);
like($err, qr/ERROR:  22023: invalid backlog "all".*HINT/s, 'another backlog is refused');
$node->safe_psql('postgres', 'CREATE ROLE nobody LOGIN');
$node->psql('of_superuser', 'SELECT todo_events.adopt()', extra_params => [ '-U', 'nobody' ], stderr => \$err);
like($err, qr/permission denied for function adopt/, 'only an operator adopts');

$node->stop('fast');
done_testing();
