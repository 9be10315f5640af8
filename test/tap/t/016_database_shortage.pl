# G11: more databases than there is room for. Forty share eight worker slots: some
# are served, the same after each restart; each of the others says why it is not,
# the log says it once, and what one gives up goes to the one that has waited
# longest. The same for slots in shared memory. Worker slots are left to others.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../lib";
use TodoEvents;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = todo_node('shortage', brokers => '', topics => 0, conf => q{
max_worker_processes = 8
max_parallel_workers = 8
autovacuum = off
});

# the names of those in a state, in the order of their age
sub in_state
{
	my ($state) = @_;
	return $node->safe_psql('postgres', "SELECT string_agg(w.database, ' ' ORDER BY d.oid) FROM todo_events.workers w JOIN pg_database d ON d.datname = w.database WHERE w.role = 'engine' AND w.state = '$state'");
}

sub wait_state
{
	my ($state, $databases) = @_;
	wait_for("$databases $state", sub { in_state($state) eq $databases });
	pass("$state: $databases");
}

sub settled
{
	my ($running, $waiting) = @_;
	wait_for_sql($node, "$running served, $waiting waiting",
		"SELECT count(*) FILTER (WHERE state = 'running') = $running AND count(*) FILTER (WHERE state = 'waiting') = $waiting FROM todo_events.workers WHERE role = 'engine'");
	pass("$running databases are served, $waiting wait");
}

sub lines { my ($pattern, $from) = @_; my $n = () = log_since($node, $from // 0) =~ /$pattern/g; return $n; }

# ---- forty databases, eight slots ------------------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE d01');
$node->safe_psql('d01', 'CREATE EXTENSION todo_events');
$node->safe_psql('postgres', 'CREATE DATABASE model TEMPLATE d01 IS_TEMPLATE true');
# those without the extension are looked into, and need nothing
$node->safe_psql('postgres', 'CREATE DATABASE without');
$node->safe_psql('postgres', join ';', map { sprintf('CREATE DATABASE d%02d TEMPLATE model STRATEGY file_copy', $_) } 2 .. 39);
settled(4, 36);
wait_state('running', 'postgres d01 d02 d03');
my $health = health_line($node, 'engine', 'd20');
like($health, qr/^error\|max_worker_processes is too small for this database too: at most 4 served, 36 waiting\|/, 'health of one that waits says why');
like($health, qr/nothing is delivered\. Raise max_worker_processes by 36 and restart the server, or name the databases/, 'and what to do');
is($node->safe_psql('d20', "SELECT count(*) FROM todo_events.health() WHERE component = 'engine'"), '1', 'in one line');

# what is left to others
my $plan = $node->safe_psql('postgres', q{
CREATE TABLE big AS SELECT g FROM generate_series(1, 1000) g;
SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
EXPLAIN (ANALYZE, COSTS off, TIMING off) SELECT count(*) FROM big});
like($plan, qr/Workers Launched: 2/, 'a parallel query gets its workers');

# those that wait cost nothing: no process, no line
my $switches = sub { my $n = 0; open(my $f, '<', "/proc/$_[0]/status") or return -1; while (<$f>) { $n += $1 if /voluntary_ctxt_switches:\s+(\d+)/; } return $n; };
my $launcher = launcher_pid($node);
my ($size, $before) = (-s $node->logfile, $switches->($launcher));
$node->safe_psql('postgres', 'SELECT pg_sleep(3)');
is($switches->($launcher), $before, 'the launcher sleeps while databases wait');
is(-s $node->logfile, $size, 'and the log does not grow');

# the same after a restart
$size = -s $node->logfile;
$node->restart;
settled(4, 36);
wait_state('running', 'postgres d01 d02 d03');
wait_for('the log says so', sub { lines('max_worker_processes is too small', $size) > 0 });
is(lines('max_worker_processes is too small for all databases: at most 4 served, 36 waiting', $size), 1, 'one line in the log after a restart');
# d02 and d03 are made from a template: those that are served, and nobody else, say that they are copies
wait_for('both copies that are served say so', sub { lines('this database is a copy', $size) >= 2 });
is(lines('LOG|ERROR|WARNING|FATAL', $size) - lines('(postmaster|checkpointer|startup|logger) +LOG', $size), 1 + 2, 'and no other that is not the server\'s own');

# ---- who gets what is given up -----------------------------------------------------

$node->safe_psql('postgres', 'ALTER DATABASE d02 RENAME TO d02b');
wait_state('running', 'postgres d01 d02b d03');
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE d01');
settled(4, 37);
wait_state('running', 'postgres d01 d02b d03');
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'todo_events engine'");
settled(4, 37);
wait_state('running', 'postgres d01 d02b d03');
$node->safe_psql('postgres', 'DROP DATABASE d01');
wait_state('running', 'postgres d02b d03 d04');
$node->safe_psql('d03', 'DROP EXTENSION todo_events');
wait_state('running', 'postgres d02b d04 d05');
$node->safe_psql('d03', 'CREATE EXTENSION todo_events');
settled(4, 36);
like(health_line($node, 'engine', 'd03'), qr/36 waiting/, 'who comes back stands at the end');
$node->safe_psql('postgres', 'ALTER DATABASE d04 IS_TEMPLATE true');
wait_state('running', 'postgres d02b d05 d06');
$node->safe_psql('postgres', 'DROP DATABASE d30');
settled(4, 34);
is(lines('max_worker_processes is too small for all', $size), 1, 'still one line in the log');

# the administrator decides
$node->append_conf('postgresql.conf', "todo_events.databases = 'postgres, d20, d21'");
$node->reload;
wait_state('running', 'postgres d20 d21');
like(health_line($node, 'engine', 'd05'), qr/^error\|todo_events.databases leaves this database out/, 'health of one that is left out');

# ---- slots in shared memory -----------------------------------------------------------

$node->append_conf('postgresql.conf', q{
todo_events.databases = 'postgres, without, d20, d21, d22, d23, d24, d25, empty'
todo_events.max_databases = 4
max_worker_processes = 30
});
$size = -s $node->logfile;
$node->restart;
wait_state('running', 'postgres d20 d21 d22');
$health = health_line($node, 'engine', 'd24');
like($health, qr/^error\|shared memory has no slot left for this database\|.*Raise todo_events\.max_databases and restart/, 'health of one without a slot');
$node->psql('postgres', 'CREATE DATABASE empty');
$node->safe_psql('d24', "SELECT todo_events.publish('task-events', 'com.example.thing', '{}')") for 1 .. 3;
wait_state('running', 'postgres d20 d21 d22');
$node->safe_psql('postgres', 'DROP DATABASE d20');
wait_state('running', 'postgres d21 d22 d23');
$node->safe_psql('d22', 'DROP EXTENSION todo_events');
wait_state('running', 'postgres d21 d23 d24');
$node->safe_psql('d22', 'CREATE EXTENSION todo_events');
$node->safe_psql('postgres', 'ALTER DATABASE d21 RENAME TO d41');
# its new name is not in the list, and of those without a slot the oldest is next
wait_state('running', 'postgres d22 d23 d24');
is(lines('shared memory has room for 4 databases, and there are more', $size), 1, 'one line in the log');

# ---- no worker slot at all --------------------------------------------------------------

$node->append_conf('postgresql.conf', 'max_worker_processes = 2');
$size = -s $node->logfile;
$node->restart;
wait_for_sql($node, 'health says so', "SELECT EXISTS (SELECT FROM todo_events.health() WHERE level = 'error' AND message ~ 'no background worker slot is free')");
wait_for('the log says so when it has lasted', sub { lines('no free background worker slot', $size) > 0 });
$node->safe_psql('postgres', 'SELECT pg_sleep(6)');
is(lines('no free background worker slot', $size), 1, 'tried again in vain, and not told again');

done_testing();
