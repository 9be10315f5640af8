# Library and objects of different versions (G11): files of the next version under a
# running server, a restart, the update, and the way back. At no point is an event
# lost, a writer crashed or a message left unclear.

use strict;
use warnings;
use TodoEvents;
use TodoEvents::Upgrade;
use Test::More;

my $pg = upgrade_setup();
my ($this, $next) = @$pg{qw(version next)};
my $node = todo_node('upgrade', install_path => $pg->{path});
$node->safe_psql('postgres', "SELECT todo_events.create_tasks('public.tasks')");

my $tasks = 0;
sub write_tasks
{
	$tasks += 10;
	$node->safe_psql('postgres', q{INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), 'task' FROM generate_series(1, 10)});
	return;
}

# SQLSTATE, message and hint of a statement that must fail
sub refusal
{
	my ($sql, $database) = @_;
	my $err;

	isnt($node->psql($database // 'postgres', "\\set VERBOSITY verbose\n$sql", stderr => \$err, on_error_stop => 1), 0, "refused: $sql");
	return $err;
}

sub version_line { return health_line($node, 'version'); }

write_tasks();
is(version_line(), '', 'one version: health says nothing of it');

# ---- the files of the next version, under the server that runs -----------------------

install_next($pg);
$node->safe_psql('postgres', 'CREATE DATABASE other');
my $restart = qr/HINT:  Restart the server when version \Q$next\E is installed/;
for my $case (
	[ 'ALTER EXTENSION todo_events UPDATE' ],
	[ 'CREATE EXTENSION todo_events', 'other' ])
{
	my $err = refusal(@$case);
	like($err, qr/ERROR:  TE004: the todo_events library that is loaded is version \Q$this\E and cannot serve version \Q$next\E/, 'the message names both versions');
	like($err, $restart, 'and the hint what to do');
}
is($node->safe_psql('other', "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'todo_events%'"), 0, 'nothing is left of the refused script');
$node->safe_psql('other', "CREATE EXTENSION todo_events VERSION '$this'; DROP EXTENSION todo_events");
ok(1, 'the version of the library can still be installed');
write_tasks();
check_delivery($node, name => 'new files, old library', at_least => $tasks);

# its own program is found, although the next version's is there too
my $engine = engine_pid($node);
kill 'KILL', io_pid($node);
write_tasks();
check_delivery($node, name => 'its I/O program is started again', at_least => $tasks);

# a package manager takes the old version's program away
rename("$pg->{libdir}/todo_events_io-$this", "$pg->{libdir}/away") or die $!;
my $from = -s $node->logfile;
kill 'KILL', io_pid($node);
wait_for('health names the program that is gone', sub {
	health_line($node, 'io:producer') =~ /todo_events_io-\Q$this\E": No such file or directory/;
});
like(health_line($node, 'io:producer'), qr/\|.*[Rr]estart the server/, 'and says that the server needs a restart');
my $tries = sub { $node->safe_psql('postgres', q{SELECT restarts FROM todo_events.workers WHERE role = 'publisher' AND database = current_database()}) };
# each of the backoffs is at least half of its nominal length: 25, 50, ... ms
my $before = $tries->();
write_tasks();
wait_for('it is tried again', sub { $tries->() >= $before + 3 });
is(scalar(() = log_since($node, $from) =~ /todo_events: could not start .*No such file/g), 1, 'the log is told once');
is(engine_pid($node), $engine, 'and the engine stays');
rename("$pg->{libdir}/away", "$pg->{libdir}/todo_events_io-$this") or die $!;
check_delivery($node, name => 'the program is back', at_least => $tasks);

# ---- the next library, objects of this version -----------------------------------------

$node->stop('fast');
write_file_of_other_build($next, $this);
$node->start;
wait_for('health says that the program is of another version', sub {
	health_line($node, 'io:producer') =~ /^error\|the I\/O program is version \Q$this\E .*, the library is version \Q$next\E.*\|Install both from the same build/;
});
$node->stop('fast');
write_file_of_other_build($next);
$node->start;
like(version_line(), qr/^warning\|the extension in this database is version \Q$this\E, the library is \Q$next\E\|ALTER EXTENSION todo_events UPDATE/,
	'health says that the update is due');
write_tasks();
$node->safe_psql('postgres', q{
	UPDATE tasks SET status = 'completed';
	CREATE TABLE mine (id int PRIMARY KEY, owner_id text);
	SELECT todo_events.attach('public.mine', key => 'id', user_key => 'owner_id');
	INSERT INTO mine VALUES (1, 'a');
	SELECT todo_events.configure('truncate_limit', '5');
	SELECT todo_events.configure('truncate_limit', NULL)});
# besides those of tasks: each was completed, and mine has one
my $others = $tasks + 1;
check_delivery($node, name => 'old objects, next library', at_least => $tasks + $others);
like(refusal('SELECT todo_events.next_version()'), qr/42883/, 'what the old objects do not have is not there');

# ---- the update, while others write -------------------------------------------------------

my $writers = $node->background_psql('postgres', on_error_stop => 1);
$writers->query_safe(q{BEGIN; INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'open during the update')});
$node->safe_psql('postgres', 'ALTER EXTENSION todo_events UPDATE');
$writers->query_safe('COMMIT');
$writers->quit;
is($node->safe_psql('postgres', q{SELECT extversion FROM pg_extension WHERE extname = 'todo_events'}), $next, 'updated, while a transaction with events was open');
is($node->safe_psql('postgres', 'SELECT todo_events.next_version()'), $next, 'what the next version adds is there');
is(version_line(), '', 'health has nothing to say of versions');
# the one that was open
$others++;
write_tasks();
check_delivery($node, name => 'updated', at_least => $tasks + $others);

# ---- the way back: an older library meets later objects -------------------------------------

$node->stop('fast');
install_this($pg);
$from = -s $node->logfile;
$node->start;
like(version_line(), qr/^error\|the extension in this database is version \Q$next\E, the library that is loaded is \Q$this\E: nothing is delivered, and writes to attached tables fail\|Restart the server when version \Q$next\E is installed/,
	'health says what is wrong');
like(refusal(q{INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'refused')}), qr/ERROR:  TE004: .*\n.*$restart/, 'a writer is told what to do');
wait_for('the log says that no engine runs, and why', sub {
	log_since($node, $from) =~ /no engine for database "postgres": its extension is of a later version than the library, \Q$this\E/;
});
is(engine_pid($node), '', 'no engine touches objects that it does not know');
$node->stop('fast');
install_next($pg);
$node->start;
write_tasks();
check_delivery($node, name => 'the library is back', at_least => $tasks + $others);
$node->stop('fast');
done_testing();

# The program of one version under the name of another; with one argument, the right one again.
sub write_file_of_other_build
{
	my ($name, $content) = @_;
	my $source = $content ? "$pg->{libdir}/todo_events_io-$content" : "$pg->{tree}/build/io/todo_events_io";

	TodoEvents::Upgrade::put($source, "$pg->{libdir}/todo_events_io-$name");
	return;
}
