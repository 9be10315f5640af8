# Nothing is sent before its commit is as durable as synchronous_commit = on makes it:
# flushed, and acknowledged by the synchronous standby, also where the writer itself
# waits for neither (G1). Nor does read() hand it out.

use strict;
use warnings;
use TodoEvents;
use Test::More;
use Time::HiRes qw(time);

my $node = todo_node('primary', init => [ allows_streaming => 1 ], conf => "wal_writer_delay = 10s\n");
sub sql { return $node->safe_psql('postgres', @_); }
sql(q{SELECT todo_events.create_tasks('public.tasks')});

my $consumer = start_consumer($node);
my $written = 0;

# events that have arrived; after a crash some do twice
sub arrived
{
	my %ids = map { $_->{id} => 1 } $consumer->events;
	return scalar keys %ids;
}

sub wait_arrived
{
	my ($n) = @_;
	wait_for("$n events have arrived", sub { arrived() >= $n });
	return;
}

sub insert
{
	my ($how, $n) = @_;
	sql("SET synchronous_commit = $how; INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), '$how' FROM generate_series(1, $n)");
	$written += $n;
	return;
}

# For a second and a half, nothing comes; what is there is visible to everybody.
sub nothing_comes
{
	my ($what, $n) = @_;
	my $until = time + 1.5;
	is(sql('SELECT events_behind FROM todo_events.lag'), $n, "$what: $n events are visible and not delivered");
	wait_for("$what: time passes", sub { time > $until || arrived() > $written - $n });
	is(arrived(), $written - $n, "$what: none of them is sent");
	return;
}

# ---- without standbys: flushed at once, by us -----------------------------------------

insert('on', 5);
wait_arrived($written);
insert('off', 5);
wait_arrived($written);
pass('an asynchronous commit is sent without waiting for the WAL writer');
$node->stop('immediate');
$node->start;
is(sql('SELECT count(*) FROM tasks'), $written, 'and a crash does not take it back');

# ---- with one that is not there ---------------------------------------------------------

$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$node->append_conf('postgresql.conf', "synchronous_standby_names = 'standby'\n");
$node->reload;
wait_for_sql($node, 'a synchronous standby is asked for', q{SELECT current_setting('synchronous_standby_names') = 'standby'});

my $cursor = sql('SELECT todo_events.cursor()');
insert('local', 3);
insert('off', 2);
nothing_comes('a standby that is not there', 5);
my ($out, $err);
$node->psql('postgres', "SET statement_timeout = '700ms'; SELECT * FROM todo_events.read('$cursor')", stdout => \$out, stderr => \$err);
like($err, qr/canceling statement due to statement timeout/, 'read() waits');
is($out, '', 'and gives nothing out');

# neither does a restart of the server make it so
$node->stop('immediate');
$node->start;
$written = sql('SELECT count(*) FROM tasks');
my $waiting = $written - arrived();
cmp_ok($waiting, '>=', 3, 'what was flushed has survived the crash');
nothing_comes('after a crash', $waiting);

# ---- it comes -------------------------------------------------------------------------------

$standby->start;
wait_arrived($written);
is(arrived(), $written, 'everything is sent when the standby has it');
wait_for_delivery($node);
is(sql("SELECT count(*) FROM todo_events.read('$cursor')"), $waiting, 'and read() gives it out');
my $at = time;
insert('local', 1);
wait_arrived($written);
note(sprintf('with the standby, an event takes %.0f ms', 1000 * (time - $at)));

# ---- and goes -----------------------------------------------------------------------------------

$standby->stop('immediate');
insert('local', 4);
nothing_comes('the standby has gone', 4);
$node->append_conf('postgresql.conf', "synchronous_standby_names = ''\n");
$node->reload;
wait_arrived($written);
is(arrived(), $written, 'everything is sent when no standby is asked for any more');
check_delivery($node, at_least => $written);
$consumer->stop;
$node->stop('fast');
done_testing();
