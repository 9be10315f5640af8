# The runtime in a cluster's life: standby and promotion, crash, many
# databases, pg_upgrade's mode, idleness.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../lib";
use TodoEvents ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $running = "SELECT EXISTS (SELECT FROM todo_events.workers WHERE role = 'engine' AND state = 'running' AND database = current_database())";

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', q{
shared_preload_libraries = 'todo_events'
max_worker_processes = 30
restart_after_crash = on
autovacuum = off
});
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION todo_events');
ok($primary->poll_query_until('postgres', $running), 'engine on the primary');

# ---- G10: idle means idle ----

sub switches
{
	my $n = 0;
	open(my $file, '<', "/proc/$_[0]/status") or return -1;
	while (<$file>) { $n += $1 if /voluntary_ctxt_switches:\s+(\d+)/; }
	return $n;
}
my $engine = $primary->safe_psql('postgres', "SELECT pid FROM todo_events.workers WHERE role = 'engine'");
# the roles' work after a start comes to an end
ok($primary->poll_query_until('postgres', "SELECT state = 'idle' AND state_change < now() - interval '2 seconds' FROM pg_stat_activity WHERE pid = $engine"),
	'the engine has nothing to do');
$primary->safe_psql('postgres', 'CHECKPOINT');
my $lsn = $primary->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
my $before = switches($engine);
$primary->safe_psql('postgres', 'SELECT pg_sleep(5)');
is(switches($engine), $before, 'G10: the idle engine does not wake');
# what the server writes of its own accord (snapshots for standbys, hint bits) bears no transaction
my $end = $primary->safe_psql('postgres', "SELECT pg_current_wal_insert_lsn()");
my ($records) = $end eq $lsn ? ('') : run_command([ 'pg_waldump', '-p', $primary->data_dir . '/pg_wal', '-s', $lsn, '-e', $end ]);
unlike($records, qr/tx:\s+[1-9]/, 'G10: and writes no WAL');

# ---- standby and promotion ----

$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('write'));
is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'todo_events%'"), '0',
	'no worker on a standby');
like($standby->safe_psql('postgres', 'SELECT level, message FROM todo_events.health() LIMIT 1'), qr/^ok\|this server is a standby/, 'and health says why');
for my $call ('todo_events.cursor()', 'todo_events.read(NULL)')
{
	my (undef, undef, $stderr) = $standby->psql('postgres', "SELECT $call");
	like($stderr, qr/does not run on a standby/, "$call is refused: a standby does not know every xid given out");
}
$primary->stop('immediate');
$standby->promote;
ok($standby->poll_query_until('postgres', $running), 'engine after promotion');
$standby->stop;

# ---- a killed engine is a crash of the server, by PostgreSQL's own rule ----

$primary->start;
ok($primary->poll_query_until('postgres', $running), 'engine after a crash restart');
$engine = $primary->safe_psql('postgres', "SELECT pid FROM todo_events.workers WHERE role = 'engine'");
kill 9, $engine;
my $back = 0;
for (my $until = time + 60; time < $until && !$back;)
{
	my ($rc, $out) = $primary->psql('postgres', "SELECT EXISTS (SELECT FROM todo_events.workers WHERE role = 'engine' AND state = 'running' AND pid <> $engine)");
	$back = $rc == 0 && $out eq 't';
}
ok($back, 'engine after its kill -9');

# ---- many databases ----

$primary->safe_psql('postgres', "CREATE DATABASE db$_") for 1 .. 6;
$primary->safe_psql("db$_", 'CREATE EXTENSION todo_events') for 1 .. 5;
$primary->safe_psql('postgres', 'ALTER DATABASE db6 ALLOW_CONNECTIONS false');
$primary->append_conf('postgresql.conf', 'todo_events.max_databases = 4');
$primary->restart;
my $served = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'todo_events engine'";
ok($primary->poll_query_until('postgres', $served, '4'), 'as many databases are served as there is room for');
my ($left) = grep { $primary->safe_psql($_, $running) ne 't' } map { "db$_" } 1 .. 5;
ok(defined $left, 'and the rest is not');
like($primary->safe_psql($left, 'SELECT level, hint FROM todo_events.health() LIMIT 1'), qr/^error\|.*max_databases/, 'of which health tells the setting');
my $lines = () = slurp_file($primary->logfile) =~ /shared memory has room for 4 databases/g;
is($lines, 1, 'the log has one line of it');
$primary->append_conf('postgresql.conf', 'todo_events.max_databases = 64');
$primary->restart;
ok($primary->poll_query_until('postgres', $served, '6'), 'all are served when there is room');

$primary->append_conf('postgresql.conf', 'max_worker_processes = 4');
$primary->restart;
ok($primary->poll_query_until('postgres', $served, '1'), 'what the slots allow is served');
ok($primary->poll_query_until('postgres', "SELECT count(*) > 0 FROM todo_events.workers WHERE role = 'engine' AND state = 'waiting'"), 'others wait for a slot');
my $complaint = qr/max_worker_processes is too small for all databases: at most 1 served, 5 waiting/;
TodoEvents::wait_for('the log says so', sub { slurp_file($primary->logfile) =~ $complaint });
$lines = () = slurp_file($primary->logfile) =~ /$complaint/g;
is($lines, 1, 'one line in the log, no storm');

# ---- pg_upgrade starts the server with -b ----

$primary->append_conf('postgresql.conf', 'max_worker_processes = 30');
$primary->stop;
my $log = $primary->logfile;
command_ok([ 'pg_ctl', '-w', '-D', $primary->data_dir, '-l', $log, '-o', '-b', 'start' ], 'start in pg_upgrade\'s mode');
my ($rc, $count) = $primary->psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'todo_events%'");
is($count, '0', 'no worker while pg_upgrade works');
command_ok([ 'pg_ctl', '-w', '-D', $primary->data_dir, '-m', 'fast', 'stop' ], 'stop');

done_testing();
