# A backlog at the server's start: all of it is published, in order, once, by an
# engine and an I/O process that stay below 100 MB each (G1, G2, G3), also when the
# I/O process and the server are killed in the middle of it.
#
# TE_EVENTS: how many (default 50,000; test/chaos/backlog.t has 500,000)

use strict;
use warnings;
use TodoEvents;
use TodoEvents::Load;
use Test::More;
use Time::HiRes qw(time);

my $events = $ENV{TE_EVENTS} // 50_000;

my $node = todo_node('backlog', conf => "todo_events.brokers = ''\nmax_wal_size = 4GB\n");
my $half = int($events / 2);
$node->safe_psql('postgres', <<"END");
SELECT todo_events.create_tasks('public.tasks');
INSERT INTO tasks (id, user_id, title, description)
SELECT md5('task' || i)::uuid, md5('user' || i % 100)::uuid, 'task ' || i, repeat('what there is to do ', 20) FROM generate_series(1, $half) i;
UPDATE tasks SET status = 'completed' WHERE true;
END

# memory of a process in MB; the server's shared buffers are nobody's own
sub memory
{
	my ($pid) = @_;
	my ($rss, $shared) = (0, 0);
	open(my $status, '<', "/proc/$pid/status") or return 0;
	while (<$status>)
	{
		$rss = $1 if /^VmRSS:\s+(\d+)/;
		$shared = $1 if /^RssShmem:\s+(\d+)/;
	}
	return ($rss - $shared) / 1024;
}

my %most = (engine => 0, io => 0);
my $high = 0;
sub watch
{
	my ($upto) = @_;
	wait_for("$upto events are published", sub {
		my $is = '';
		$node->psql('postgres', q{SELECT (SELECT high FROM todo_events.lag),
			(SELECT pid FROM todo_events.workers WHERE role = 'engine' AND database = current_database()),
			(SELECT io_pid FROM todo_events.workers WHERE role = 'publisher' AND database = current_database())}, stdout => \$is);
		my ($now, $engine, $io) = split /\|/, $is;
		for ([ engine => $engine ], [ io => $io ])
		{
			my ($who, $pid) = @$_;
			my $mb = $pid ? memory($pid) : 0;
			$most{$who} = $mb if $mb > $most{$who};
		}
		$high = $now if defined $now && $now =~ /\d/;
		return $high >= $upto;
	}, 300);
	return;
}

$node->adjust_conf('postgresql.conf', 'todo_events.brokers', "'$ENV{KAFKA_BOOTSTRAP}'");
$node->restart;
my $from = time;

# the I/O process goes in the middle, and the server at two thirds
watch(int($events / 3));
my $io = io_pid($node);
kill 'KILL', $io if $io;
watch(int($events * 2 / 3));
$node->stop('immediate');
$node->start;
watch($events);
note(sprintf('%d events in %.1f s, both deaths included', $events, time - $from));

# ASan keeps what is freed for a while
my $limit = ($ENV{TE_SANITIZE} // '') =~ /address/ ? 400 : 100;
cmp_ok($most{engine}, '<', $limit, sprintf('engine: at most %.1f MB', $most{engine}));
cmp_ok($most{io}, '<', $limit, sprintf('I/O process: at most %.1f MB', $most{io}));
cmp_ok($most{$_}, '>', 0, "$_: was measured") for sort keys %most;
check_delivery($node, name => 'backlog', at_least => $events, timeout => 120);

$node->stop('fast');
done_testing();
