# An I/O process that lies, cannot start, or is killed where the postmaster is the
# parent of all orphans; a shutdown while the broker is dead. The cluster goes on,
# nothing is lost (G2, G5, G11).

use strict;
use warnings;
use TodoEvents;
use TodoEvents::Load;
use File::Copy qw(copy);
use IPC::Run ();
use Test::More;
use Time::HiRes qw(time);

my $kafka = kafka_start();
local $ENV{KAFKA_BOOTSTRAP} = $kafka->{KAFKA_BOOTSTRAP};

# ---- lies under load ------------------------------------------------------------

my $bin = PostgreSQL::Test::Utils::tempdir_short();
my $libdir = `$TodoEvents::bindir/pg_config --pkglibdir`;
chomp $libdir;
my ($real) = glob "$libdir/todo_events_io-*";

copy("$TodoEvents::top/test/tap/bin/lying_io", "$bin/lying_io") or die $!;
chmod 0755, "$bin/lying_io";
PostgreSQL::Test::Utils::append_to_file("$bin/real", "$real\n");

my $node = todo_node('liar', conf => TodoEvents::Load::settings() . "todo_events.io_program = '$bin/lying_io'\n");
load_setup($node);
my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
my $load = load_start($node, seconds => 3600, clients => 8, rate => 200);

sub restarts
{
	return $node->safe_psql('postgres', q{SELECT restarts FROM todo_events.workers WHERE role = 'publisher' AND database = current_database()});
}

my $engine = engine_pid($node);
for my $lie (split /\n/, `$bin/lying_io --lies`)
{
	my $before = restarts();

	open(my $file, '>', "$bin/lie") or die $!;
	print $file "$lie\n";
	close $file;
	wait_for('an I/O process to end', sub { io_pid($node) });
	kill 'KILL', io_pid($node);
	# once for the kill, once for the lie
	wait_for("$lie: another process is started", sub { restarts() >= $before + 2 });
	ok(1, "$lie costs the process its life");
	unlink "$bin/lie";
	# put down and taken up again, so that the next one has not the backoff of those before
	$node->safe_psql('postgres', q{SELECT todo_events.configure('brokers', '')});
	wait_for('the publisher is put down', sub { io_pid($node) eq '' });
	$node->safe_psql('postgres', q{SELECT todo_events.configure('brokers', NULL)});
	my $high = $node->safe_psql('postgres', 'SELECT log_end FROM todo_events.lag');
	wait_for_sql($node, "$lie: publishing goes on", "SELECT high >= $high FROM todo_events.lag", 90);
}
is(engine_pid($node), $engine, 'the engine has outlived all of them');

# a program that is not there
$node->adjust_conf('postgresql.conf', 'todo_events.io_program', "'$bin/nothing'");
$node->reload;
kill 'KILL', io_pid($node) if io_pid($node);
wait_for('health names the program and the cause', sub {
	$node->safe_psql('postgres', q{SELECT string_agg(message, ' ') FROM todo_events.health() WHERE level <> 'ok'}) =~ /$bin\/nothing.*No such file/;
});
$node->adjust_conf('postgresql.conf', 'todo_events.io_program', "'$real'");
$node->reload;
load_stop($load);
check_ledger($node);
check_delivery($node, name => 'after all lies', at_least => 1000);
is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $started, 'and the server never restarted (G5)');

# ---- shutdown with a dead broker ------------------------------------------------------

for my $how (qw(freeze kill))
{
	kafka_control($kafka, $how);
	$node->safe_psql('postgres', q{INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), 'waits' FROM generate_series(1, 20000)});
	wait_for_sql($node, 'it is behind', 'SELECT events_behind > 0 FROM todo_events.lag');
	my $at = time;
	$node->stop('fast');
	my $took = time - $at;
	cmp_ok($took, '<', 3, sprintf('fast shutdown with the broker gone (%s): %.2f s (G11)', $how, $took));
	kafka_control($kafka, 'thaw') if $how eq 'freeze';
	$node->start;
}
kafka_control($kafka, 'start');
check_delivery($node, name => 'after the shutdowns', at_least => 40000);
$node->stop('fast');

# ---- PostgreSQL as PID 1 ----------------------------------------------------------------

# A namespace in which the postmaster is PID 1 and inherits every orphan. It takes a
# user namespace, which not every system lets an ordinary user make.
my $unshared;
END
{
	# not when all went well: then it has ended
	if ($unshared) { local $?; $unshared->signal('KILL'); }
}

SKIP:
{
	my @unshare = qw(unshare --user --map-current-user --pid --fork --kill-child --mount-proc --);
	my $permitted = system("@unshare true >/dev/null 2>&1") == 0;

	skip 'this system lets no ordinary user make a PID namespace', 3 unless $permitted;

	my $log = PostgreSQL::Test::Utils::tempdir() . '/pid1.log';
	$unshared = IPC::Run::start([ @unshare, "$TodoEvents::bindir/postgres", '-D', $node->data_dir, '-p', $node->port ], '>', $log, '2>&1');

	wait_for('the server runs as PID 1', sub { $node->psql('postgres', 'SELECT 1') == 0 });
	$started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
	is($node->safe_psql('postgres', q{SELECT split_part(pg_read_file('postmaster.pid'), E'\n', 1)}), 1, 'the postmaster is PID 1');

	# its pid out here
	my $outside = sub {
		my ($inside) = @_;
		for my $file (glob '/proc/[0-9]*/status')
		{
			my $status = eval { PostgreSQL::Test::Utils::slurp_file($file) } or next;
			return $1 if $status =~ /^Name:\tte_io_producer/ && $status =~ /^NSpid:\t(\d+)\t$inside$/m;
		}
		return;
	};
	for my $round (1 .. 3)
	{
		my $inside = wait_for('the I/O process runs', sub { io_pid($node) });
		kill 'KILL', $outside->($inside) // die 'no such process';
		$node->safe_psql('postgres', q{INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), 'pid 1' FROM generate_series(1, 100)});
		wait_for('another I/O process', sub { my $now = io_pid($node); $now && $now ne $inside });
	}
	# an engine that ends leaves no orphan, even of a process that does not react
	my $inside = wait_for('the I/O process runs', sub { io_pid($node) });
	kill 'STOP', $outside->($inside);
	$node->safe_psql('postgres', 'SELECT pg_terminate_backend(' . engine_pid($node) . ')');
	wait_for('another engine has another I/O process', sub { my $now = ''; $now = io_pid($node); $now && $now ne $inside });
	is($outside->($inside), undef, 'the frozen one is gone');
	check_delivery($node, name => 'as PID 1', at_least => 40000);
	is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $started, 'the server never restarted (G5)');
	# a fast shutdown; the namespace ends with its first process
	kill 'INT', grep { /^\d+$/ } split /\s+/, `ps -o pid= --ppid $unshared->{KIDS}[0]{PID}`;
	ok($unshared->finish, 'a fast shutdown of PID 1');
	undef $unshared;
}

done_testing();
