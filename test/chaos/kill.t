# Rounds of SIGKILL under load: of the engine (which by PostgreSQL's own rule is a
# crash of the server) and of the I/O process, at each step of the publish path and
# at any moment. Everything sent is counted against everything received: nothing
# lost, nothing uncommitted, each task's events in order, duplicates with the same
# id (G1, G2, G3, G5).
#
# TE_CHAOS_ROUNDS: how many (default 20; `make chaos` has 200). TE_SEED repeats a load.

use strict;
use warnings;
use TodoEvents;
use TodoEvents::Load;
use Test::More;
use Time::HiRes qw(time);

my $rounds = $ENV{TE_CHAOS_ROUNDS} // 20;
my @points = map { "publisher_$_" }
  qw(before_cycle after_cycle before_flush after_flush after_ack before_save after_save);

my $node = todo_node('chaos', conf => TodoEvents::Load::settings() . "todo_events.inject = ''\nwal_writer_delay = 10s\n");
load_setup($node);

my ($load, %killed, @back);

# By the file: the server may be down, and an engine counts the passes of a point anew,
# so that the next one would be killed as well.
sub inject
{
	my ($what) = @_;
	$node->adjust_conf('postgresql.conf', 'todo_events.inject', "'$what'");
	$node->reload;
	return;
}

for my $round (1 .. $rounds)
{
	my $victim = $round % 3 ? 'io' : 'engine';
	my $point = $points[ $round % @points ];
	my $where = $round % 4 == 1 ? 'any moment' : $point;
	my $from = -s $node->logfile;

	$load //= load_start($node, seconds => 3600, clients => 12, rate => 400);
	my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM ledger');
	wait_for_sql($node, "round $round: there is load", "SELECT count(*) > $before + 50 FROM ledger");
	wait_for("round $round: the I/O process runs", sub { io_pid($node) });

	if ($victim eq 'engine')
	{
		my $pid = engine_pid($node);

		if ($where eq 'any moment') { kill 'KILL', $pid; }
		else { inject("$point=kill\@" . (1 + int rand 4)); }
		wait_for("round $round: the engine is killed at $where",
			sub { log_since($node, $from) =~ /terminated by signal 9/ });
		inject('') unless $where eq 'any moment';
		wait_for("round $round: the server is back", sub { $node->psql('postgres', 'SELECT 1') == 0 });
		load_finish($load, cut => 1);
		undef $load;
	}
	else
	{
		my $pid = io_pid($node);
		my $postmaster = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');

		if ($where eq 'any moment') { kill 'KILL', $pid; }
		else { inject("$point=kill_io\@" . (1 + int rand 4)); }
		my $at = time;
		wait_for("round $round: another I/O process instead of $pid, killed at $where",
			sub { my $now = io_pid($node); $now && $now ne $pid });
		push @back, 1000 * (time - $at) if $where eq 'any moment';
		inject('') unless $where eq 'any moment';
		is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $postmaster,
			"round $round: I/O process killed at $where, the server goes on (G5)");
	}
	$killed{$victim}++;
	# the log is looked through from time to time, so that a fault is found near its round
	check_delivery($node, name => "after $round rounds", timeout => 120) if $round % 50 == 0 && $round < $rounds;
}

load_stop($load) if $load;
my $events = check_ledger($node);
my $is = check_delivery($node, name => "$rounds kills", timeout => 120, at_least => 50 * $rounds);
check_delivery($node, name => 'by user', topic => 'task-updates', timeout => 120);
note("I/O process killed $killed{io} times, engine $killed{engine} times; $events events, $is->{duplicates} duplicates");
check_storage($node);
unlike(log_since($node, 0), qr/terminated by signal (?!9:)/, 'nothing ended by a signal that we did not send');

done_testing();
