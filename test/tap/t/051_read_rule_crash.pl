# Readers go on with the cursors that they held before the server crashed (an
# immediate stop in the middle of a load), and lose nothing of what survived it:
# those that keep their cursor in the database, and those that keep it elsewhere
# (G1, G2). With few flushes, so that the crash takes much back.
#
# TE_ROUNDS: crashes (default 3)

use strict;
use warnings;
use TodoEvents;
use TodoEvents::Load;
use Test::More;

my $rounds = $ENV{TE_ROUNDS} // 3;
my $readers = 2;

my $node = todo_node('crash', brokers => '', topics => 0,
	conf => TodoEvents::Load::settings() . "wal_writer_delay = 10s\n");
load_setup($node);
readers_setup($node);
$node->safe_psql('postgres', "INSERT INTO place VALUES ('reader$_', NULL)") for 1 .. $readers;

# ---- ids are not given out again ----------------------------------------------------

# A cursor counts the ids of transactions that still run. Nothing of this one is
# flushed when the crash takes it back, the numbers that it drew included.
{
	my $open = $node->background_psql('postgres');
	$open->query_safe('BEGIN');
	$open->query_safe('SET LOCAL synchronous_commit = off');
	$open->query_safe(q{INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), 'lost' FROM generate_series(1, 500)});
	my $cursor = $node->safe_psql('postgres', 'SELECT todo_events.cursor()');
	$node->stop('immediate');
	eval { $open->quit };
	$node->start;
	$node->safe_psql('postgres',
		q{INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), 'after the crash' FROM generate_series(1, 1000)});
	is($node->safe_psql('postgres', "SELECT count(*) FROM todo_events.read('$cursor', 5000)"),
		1000, 'a cursor of before the crash does not skip what came after it');
}

# ---- crashes under load -----------------------------------------------------------------

my @kept;
for my $round (1 .. $rounds)
{
	my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM ledger');
	my @running = map { psql_script($node, "CALL follow('reader$_', " . 20**$_ . ')') } 1 .. $readers;
	# rows frozen, and aborted ones taken away, under the readers' hands
	push @running, psql_script($node, "VACUUM (FREEZE) todo_events_internal.log;\n" x 2000);
	my $load = load_start($node, seconds => 600, clients => 16);

	wait_for_sql($node, "round $round: events are made", "SELECT count(*) > $before + 700 FROM ledger");
	for my $i (1 .. 3)
	{
		# held by a client, as a WebSocket client would
		push @kept, [ split /\|/, $node->safe_psql('postgres', 'SELECT todo_events.cursor(), pg_current_snapshot()') ];
	}
	$node->stop('immediate');
	$_->finish for @running;
	load_finish($load, cut => 1, stopped => 1);
	$node->start;
	load_resolve($node);
}

my $n = 0;
for (@kept)
{
	$n++;
	$node->safe_psql('postgres', "INSERT INTO place VALUES ('listing$n', '$_->[0]'); "
		. "INSERT INTO listing VALUES ('listing$n', '$_->[1]', may_repeat('$_->[0]'))");
}
$node->safe_psql('postgres', q{INSERT INTO stop VALUES ('the last crash is over')});
$node->safe_psql('postgres', "CALL follow('reader$_', 1000)") for 1 .. $readers;
$node->safe_psql('postgres', 'CALL finish_listings()');

check_ledger($node);
check_readers($node, $readers, crash => 1);
check_storage($node);

done_testing();
