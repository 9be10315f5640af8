# On a server that is as a Neon compute is, restart_after_crash off included: idle is
# idle for the monitor that suspends computes, no failure of ours takes the server down,
# a disk that is full for the worker is waited out, what a compute loses between two
# starts is not needed, and it stops at once with peers that answer nothing
# (D1, D2, D3, D7, L2, L3, L4, L8, L11, N6).
use strict;
use warnings;
use TodoEvents;
use TodoEvents::Neon;
use IO::Socket::INET;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

my $node = neon_node('compute', preload => 'neon_like, todo_events', init => ['--wal-segsize=1'],
	conf => "todo_events.brokers = '" . kafka()->{KAFKA_BOOTSTRAP} . "'\n");
my %at = (database => 'neondb');
todo_topics($node, 'neondb', 'SET ROLE owner; CREATE EXTENSION todo_events; RESET ROLE;');
as_owner($node, "SELECT todo_events.create_tasks('tasks')");
my $number = 0;
sub add
{
	my ($n) = @_;
	as_owner($node, "INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), 'task ' || n FROM generate_series(1, $n) n");
	$number += $n;
	return;
}
# a row of todo_events.workers
sub worker { return $node->safe_psql('neondb', "SELECT $_[1] FROM todo_events.workers WHERE role = '$_[0]' AND database = 'neondb'"); }

add(50);
check_delivery($node, %at, name => 'at first', at_least => 50, duplicates => 0);
my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');

# ---- what the data directory has ---------------------------------------------------------------

opendir(my $dir, $node->data_dir) or die;
is(join(' ', grep { !/^\.{1,2}$|^(base|global|pg_\w+(\.conf)?|postgresql(\.auto)?\.conf|postmaster\.(pid|opts)|PG_VERSION|current_logfiles)$/ } readdir $dir), '',
	'D1: nothing in the data directory but PostgreSQL\'s own');
is($node->safe_psql('neondb', q{SELECT count(*) FROM pg_class WHERE relpersistence <> 'p' AND relnamespace::regnamespace::text LIKE 'todo\_events%'}), 0,
	'D1: no table of ours is unlogged');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_replication_slots}), 0, 'D3: no replication slot');
is($node->safe_psql('postgres', q{SHOW wal_level}), 'replica', 'D3: nor wal_level = logical');

# ---- idle -----------------------------------------------------------------------------------------

# what the monitor of a compute looks at, to see whether it may be suspended
sub activity
{
	return $node->safe_psql('postgres', <<'END');
SELECT sum(active_time), sum(sessions) FROM pg_stat_database WHERE datname NOT IN ('postgres', 'template0', 'template1');
SELECT count(*), max(state_change) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid();
SELECT count(*) FROM pg_stat_replication;
SELECT count(*) FROM pg_stat_subscription WHERE pid IS NOT NULL;
SELECT sum(xact_commit), sum(xact_rollback), sum(tup_inserted + tup_updated + tup_deleted) FROM pg_stat_database WHERE datname = 'neondb';
END
}
my $last = '';
# counters arrive up to a second late
wait_for('the statistics are all told', sub { my $now = activity(); my $same = $now eq $last; $last = $now; sleep 1.2 unless $same; $same });
my $until = time + ($ENV{TE_SECONDS} // 4);
my $changed = '';
while (time < $until)
{
	my $now = activity();
	$changed ||= "$last\n->\n$now" if $now ne $last;
	sleep 0.5;
}
is($changed, '', 'L4: nothing that the monitor of a compute looks at changes while it is idle');

# ---- failures -------------------------------------------------------------------------------------

for my $signal (qw(KILL SEGV ABRT))
{
	my $pid = wait_for('the I/O process runs', sub { worker('publisher', 'io_pid') });
	kill $signal, $pid;
	add(10);
	wait_for("another after SIG$signal", sub { my $now = worker('publisher', 'io_pid'); $now && $now ne $pid });
}
my $engine = worker('engine', 'pid');
# a program that is none of ours, and ends at once
$node->append_conf('postgresql.conf', "todo_events.io_program = '/bin/cat'");
$node->reload;
kill 'KILL', worker('publisher', 'io_pid');
my $restarts = worker('publisher', 'restarts');
wait_for_sql($node, 'what is no I/O program is tried again', "SELECT restarts > $restarts + 2 FROM todo_events.workers WHERE role = 'publisher' AND database = 'neondb'", undef, 'neondb');
like(health_line($node, 'io:producer', 'neondb'), qr{^error\|the I/O program "/bin/cat" exited with code 1 before it was ready\|.*log}, 'N6: health tells its name and end');
$node->append_conf('postgresql.conf', "todo_events.io_program = ''\ntodo_events.inject = 'step_publisher=error\@1, step_log=error\@1'");
$node->reload;
wait_for_sql($node, 'an error in a role is recorded', q{SELECT last_error ~ 'injected' FROM todo_events.workers WHERE role = 'publisher' AND database = 'neondb'}, undef, 'neondb');
$node->append_conf('postgresql.conf', "todo_events.inject = ''");
$node->reload;
is(worker('engine', 'pid'), $engine, 'L3: the engine outlives its roles\' errors and its I/O process');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($engine)");
wait_for('another engine', sub { my $now = worker('engine', 'pid'); $now && $now ne $engine });
add(10);
check_delivery($node, %at, name => 'after failures', at_least => $number);
is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $started, 'L3: the server is the one that was started');

# ---- interrupted writers ---------------------------------------------------------------------------------

# wherever in a writing transaction the interrupt comes: between statements and in the middle of rows
my $script = '';
for my $n (1 .. 50)
{
	$script .= 'SET statement_timeout = ' . (1 + $n % 15) . ";\n"
	  . "INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), 'interrupted' FROM generate_series(1, 200);\n"
	  . "UPDATE tasks SET title = title || '.' WHERE id IN (SELECT id FROM tasks LIMIT 200);\n";
}
my ($out, $err);
$node->psql('neondb', $script, on_error_stop => 0, stdout => \$out, stderr => \$err, extra_params => [ '-U', 'owner' ]);
my $interrupted = () = $err =~ /canceling statement due to statement timeout/g;
cmp_ok($interrupted, '>', 5, "L11: writers were interrupted, $interrupted times");
is(join("\n", grep { !/canceling statement due to statement timeout|^$/ } split /\n/, $err), '', 'L11: which is all that happened to them');
check_delivery($node, %at, name => 'L11: after interrupts', at_least => $number);

# ---- little memory -----------------------------------------------------------------------------------------

for my $role ([ 'engine', 'pid' ], [ 'publisher', 'io_pid' ])
{
	my ($kb) = slurp_file('/proc/' . worker(@$role) . '/status') =~ /^RssAnon:\s+(\d+) kB/m;
	cmp_ok($kb, '<', 60 * 1024, "L8: what works for $role->[0] has $kb kB of memory of its own");
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'todo\_events%'}), 2, 'L8: two of twelve worker slots are taken');

# ---- a disk that is full, for the worker ---------------------------------------------------------------

# A process may be told how long a file may become: what the engine adds to a longer
# one fails, as it would on a full disk. Its log of dead letters is made a long one.
my $missing = TodoEvents::unique_name('missing');
$node->safe_psql('neondb', <<"END");
INSERT INTO todo_events_internal.dead_letter (id, at, reader, log_id, last_log_id, topic, reason, code, code_name, attempts, event)
SELECT 0, now(), 'publisher', 0, 0, 'before', repeat('x', 1000), 0, '', 0, '{}' FROM generate_series(1, 4000);
SELECT todo_events.create_topic('$missing', create_topic => false);
END
$engine = worker('engine', 'pid');
my $from = -s $node->logfile;
system('prlimit', '--pid', $engine, '--fsize=' . (2 << 20) . ':') == 0 or die 'prlimit';
as_owner($node, "SELECT todo_events.publish('$missing', 'com.example.refused', json_build_object('long', (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 35) n))::text) FROM generate_series(1, 20)");
wait_for_sql($node, 'the worker cannot write', q{SELECT last_error ~ 'could not (extend|write)' FROM todo_events.workers WHERE role = 'publisher' AND database = 'neondb'}, undef, 'neondb');
my $began = time;
add(10);
cmp_ok(time - $began, '<', 5, 'D7: writers do not notice (G4)');
sleep 4;
is(worker('engine', 'pid'), $engine, 'D7: a full disk is an error, and no worker\'s end');
my $errors = () = log_since($node, $from) =~ /ERROR:.*could not (?:extend|write)/g;
note("$errors errors in the log");
cmp_ok($errors, '<', 15, 'D7: it is not tried all the time');
like($node->safe_psql('neondb', q{SELECT string_agg(message, '; ') FROM todo_events.health() WHERE level = 'error'}), qr/could not (extend|write)/, 'D7, N6: health names the cause');
system('prlimit', '--pid', $engine, '--fsize=unlimited:') == 0 or die 'prlimit';
check_delivery($node, %at, name => 'when there is room again', at_least => $number);
is($node->safe_psql('neondb', "SELECT count(*) FROM todo_events.dead_letters WHERE topic = '$missing'"), 20, 'D7: then the dead letters are stored, each once');
is(worker('engine', 'pid'), $engine, 'D7: by the same engine');
is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $started, 'L3: on a server that never restarted');

# ---- what does not outlive a compute ---------------------------------------------------------------------

my $frozen = worker('publisher', 'io_pid');
kill 'STOP', $frozen;
add(500);
$node->stop('immediate');
# nobody is left who could end it: it does so itself, once it runs again
kill 'CONT', $frozen;
wait_for('its I/O process leaves', sub { (eval { slurp_file("/proc/$frozen/stat") } // '0 (gone) Z') =~ /\) Z/ });
for my $lost (qw(pg_stat pg_stat_tmp pg_notify pg_dynshmem pg_replslot pg_serial pg_snapshots pg_logical/snapshots pg_logical/mappings))
{
	unlink grep { -f } glob($node->data_dir . "/$lost/*");
}
$node->start;
# no hot standby: nobody is let in before recovery has ended
wait_for('recovery has ended', sub { $node->psql('neondb', 'SELECT 1') == 0 });
check_delivery($node, %at, name => 'D2: after an immediate stop and the loss of all that a compute does not keep', at_least => $number);
is($node->safe_psql('neondb', 'SELECT coalesce(sum(events_behind), 0) FROM todo_events.lag'), 0, 'D2: nothing is stuck');

# ---- peers that answer nothing -----------------------------------------------------------------------------

# a queue of connections that is full: to the next one nobody says a word
my $hole = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1, Proto => 'tcp') or die $!;
my @full = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $hole->sockport, Blocking => 0, Proto => 'tcp') } 1 .. 4;
$node->append_conf('postgresql.conf', "todo_events.brokers = '127.0.0.1:" . $hole->sockport . "'");
$node->reload;
add(2000);
wait_for_sql($node, 'it is behind', 'SELECT sum(events_behind) > 0 FROM todo_events.lag', undef, 'neondb');
wait_for('with an I/O process that tries', sub { worker('publisher', 'io_pid') });
$began = time;
$node->stop('fast');
my $took = time - $began;
cmp_ok($took, '<', 3, sprintf('L2: fast shutdown with a broker that is a black hole: %.2f s', $took));
my @bad = slurp_file($node->logfile) =~ /(background worker "todo_events.*exited with exit code (?![01]\b)\d+|background worker "todo_events.*terminated by signal.*|.*PANIC.*)/g;
is("@bad", '', 'L3: no worker of ours ever ended by a signal or with another exit code than 0 or 1');
done_testing();
