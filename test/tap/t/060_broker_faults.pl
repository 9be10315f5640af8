# What a broker and a network do: connections are reset, the broker freezes, is away,
# crashes, under load, with rollbacks, savepoints, prepared transactions, conflicts on
# the same tasks and asynchronous commits. No writer waits (G4), nothing is lost,
# nothing out of order, duplicates have the same id (G1, G2, G3).
#
# TE_AWAY: seconds that the broker is away (default 8)

use strict;
use warnings;
use TodoEvents;
use TodoEvents::Load;
use TodoEvents::Proxy;
use Test::More;
use Time::HiRes qw(time);

my $away = $ENV{TE_AWAY} // 8;
my $rate = 150;

# what the broker advertises is the proxy, so that every connection goes through it
my $port = TodoEvents::Proxy::free_port();
my $kafka = kafka_start('--set', "advertised.listeners=PLAINTEXT://127.0.0.1:$port");
my $proxy = TodoEvents::Proxy->new($port, $kafka->{KAFKA_BOOTSTRAP});
local $ENV{KAFKA_BOOTSTRAP} = "127.0.0.1:$port";

my $node = todo_node('broker', conf => TodoEvents::Load::settings());
load_setup($node);
my $load = load_start($node, seconds => 3600, clients => 16, rate => $rate);

my $began = time;

sub changes { return $node->safe_psql('postgres', 'SELECT count(*) FROM ledger'); }

# For so long, writers go on at their rate: somebody who waited would be missing.
sub writers_go_on
{
	my ($what, $seconds) = @_;
	my ($from, $until) = (changes(), time + $seconds);
	wait_for("$what: writers go on", sub { time >= $until && changes() >= $from + $seconds * $rate / 2 });
	return;
}

# The acknowledged end of the log moves on.
sub published
{
	return $node->safe_psql('postgres', 'SELECT high FROM todo_events.lag');
}

sub wait_published
{
	my ($what) = @_;
	my $high = $node->safe_psql('postgres', 'SELECT log_end FROM todo_events.lag');
	my $at = time;
	wait_for($what, sub { published() >= $high });
	note(sprintf('%5.1f s: %s, within %.2f s', time - $began, $what, time - $at));
	return;
}

my $io = wait_for('the I/O process runs', sub { io_pid($node) });
my $engine = engine_pid($node);
wait_published('events are published');

# ---- connections reset -----------------------------------------------------------

for my $round (1 .. 6)
{
	my $before = $proxy->cuts;
	# there may be none at the moment: the client waits a little before it connects again
	wait_for("round $round: connections are reset", sub { $proxy->cut; $proxy->cuts > $before });
	writers_go_on("round $round", 0.2);
}
wait_published('after connections were reset, publishing goes on');
is(io_pid($node), $io, 'by the same I/O process');

# ---- frozen ------------------------------------------------------------------------

kafka_control($kafka, 'freeze');
writers_go_on('the broker is frozen', 3);
my $stuck = published();
writers_go_on('the broker is frozen', 1);
is(published(), $stuck, 'nothing counts as published while the broker is frozen');
kafka_control($kafka, 'thaw');
wait_published('after the broker was frozen, publishing goes on');

# ---- away, in an orderly way -----------------------------------------------------------

kafka_control($kafka, 'stop');
writers_go_on('the broker is away', $away);
like(health_line($node, 'broker'), qr/^(?:warning|error)\|.*todo_events\.brokers/s, 'health names what is wrong, and the setting');
kafka_control($kafka, 'start');
wait_published('after the broker was away, publishing goes on');
wait_for('health is well again', sub { health_line($node, 'broker') !~ /^(?:warning|error)/ });

# ---- it crashes, and the server crashes while it is away ------------------------------------

kafka_control($kafka, 'kill');
writers_go_on('the broker has crashed', 1);
$node->stop('immediate');
load_finish($load, cut => 1, stopped => 1);
$node->start;
load_resolve($node);
kafka_control($kafka, 'start');
wait_published('after both crashed, publishing goes on');

check_ledger($node);
check_delivery($node, name => 'by task', at_least => $rate * $away);
check_delivery($node, name => 'by user', topic => 'task-updates');

done_testing();
