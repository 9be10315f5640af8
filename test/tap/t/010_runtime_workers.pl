# Launcher, engine, parking and the supervision of I/O processes.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../lib";
use TodoEvents ();
use File::Copy;
use Time::HiRes qw(time);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $toys = PostgreSQL::Test::Utils::tempdir();
copy("$FindBin::RealBin/../bin/toy_io", "$toys/toy_io") or die $!;
chmod 0755, "$toys/toy_io";

sub toy_mode
{
	open(my $file, '>', "$toys/mode.new") or die $!;
	print $file "$_[0]\n";
	close $file;
	rename "$toys/mode.new", "$toys/mode" or die $!;
}
toy_mode('good');

my $node = PostgreSQL::Test::Cluster->new('runtime');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'todo_events'
max_worker_processes = 20
todo_events.io_program = '$toys/toy_io'
log_line_prefix = '%m [%p] %b '
});
$node->start;

sub wait_sql
{
	my ($what, $sql, $expected, $db) = @_;
	ok($node->poll_query_until($db // 'postgres', $sql, $expected // 't'), $what);
}

sub engine_pid { return $node->safe_psql($_[0] // 'postgres', "SELECT pid FROM todo_events.workers WHERE role = 'engine' AND database = current_database()"); }
sub io_pid { return $node->safe_psql('postgres', "SELECT io_pid FROM todo_events.workers WHERE role = 'publisher' AND database = current_database()"); }

# ---- an engine where the extension is, and only there ----

is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'todo_events engine'"),
	'0', 'no engine without the extension');
$node->safe_psql('postgres', 'CREATE EXTENSION todo_events');
my $running = "SELECT EXISTS (SELECT FROM todo_events.workers WHERE role = 'engine' AND state = 'running' AND database = current_database())";
my $from = time;
wait_sql('engine runs after CREATE EXTENSION has committed', $running);
note(sprintf('the engine ran after %.0f ms', (time - $from) * 1000));
like($node->safe_psql('postgres', "SELECT level, message FROM todo_events.health() WHERE component = 'engine'"),
	qr/^ok\|running since/, 'health says that the engine runs');

$node->safe_psql('postgres', 'CREATE DATABASE rolled_back');
$node->safe_psql('rolled_back', 'BEGIN; CREATE EXTENSION todo_events; ROLLBACK');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE datname = 'rolled_back'"),
	'0', 'no engine after a rollback of CREATE EXTENSION');

# ---- the I/O process ----

$node->safe_psql('postgres', "SELECT todo_events.configure('brokers', 'localhost:1')");
wait_sql('publisher has its I/O process', "SELECT EXISTS (SELECT FROM todo_events.health() WHERE component = 'toy' AND message = 'good')");
my $engine = engine_pid();
my $io = io_pid();
$from = time;
kill 9, $io;
wait_sql('a killed I/O process is replaced', "SELECT io_pid <> $io FROM todo_events.workers WHERE role = 'publisher'");
note(sprintf('the I/O process was back after %.0f ms', (time - $from) * 1000));
is(engine_pid(), $engine, 'the engine outlives its I/O process');
ok($node->log_contains(qr/I\/O process "producer" \(PID $io\) was terminated by signal 9/), 'the log says how it ended');

for my $mode (qw(long unknown short garbage exit version build))
{
	my $restarts = $node->safe_psql('postgres', "SELECT restarts FROM todo_events.workers WHERE role = 'publisher'");
	toy_mode($mode);
	kill 9, io_pid();
	wait_sql("I/O process in mode \"$mode\" is started anew", "SELECT restarts >= $restarts + 3 FROM todo_events.workers WHERE role = 'publisher'");
	my $says = $mode =~ /version|build/ ? 'is version .* the library is version' : $mode eq 'exit' ? undef : 'bad frame';
	wait_sql("health tells of \"$mode\"", "SELECT EXISTS (SELECT FROM todo_events.health() WHERE component = 'io:producer' AND message ~ '$says')")
		if defined $says;
	toy_mode('status');
	wait_sql("all is well after \"$mode\"", "SELECT EXISTS (SELECT FROM todo_events.health() WHERE level = 'error' AND component = 'broker' AND message = 'the toy is broken')");
	# so that the next one's backoff starts anew
	$node->safe_psql('postgres', "SELECT todo_events.configure('brokers', NULL)");
	wait_sql('publisher has put its I/O process down', "SELECT io_pid IS NULL FROM todo_events.workers WHERE role = 'publisher'");
	toy_mode('good');
	$node->safe_psql('postgres', "SELECT todo_events.configure('brokers', 'localhost:1')");
	wait_sql('publisher has its I/O process again', "SELECT EXISTS (SELECT FROM todo_events.health() WHERE component = 'toy' AND message = 'good')");
}
is(engine_pid(), $engine, 'the engine outlives every misbehaviour');
my $zombies = 0;
for my $stat (glob '/proc/[0-9]*/stat')
{
	open(my $file, '<', $stat) or next;
	my $line = <$file> // '';
	$zombies++ if $line =~ /^\d+ \(.*\) Z $engine /;
}
is($zombies, 0, 'the engine leaves no zombie');

$node->safe_psql('postgres', "ALTER SYSTEM SET todo_events.io_program = '/nonexistent/todo_events_io'");
$node->reload;
kill 9, io_pid();
wait_sql('a missing I/O program is an error that names it',
	"SELECT EXISTS (SELECT FROM todo_events.health() WHERE component = 'io:producer' AND message ~ '/nonexistent/todo_events_io')");
$node->safe_psql('postgres', 'ALTER SYSTEM RESET todo_events.io_program');
$node->append_conf('postgresql.conf', "todo_events.io_program = '$toys/toy_io'");
$node->reload;
wait_sql('the publisher recovers when the program is back', "SELECT io_pid IS NOT NULL FROM todo_events.workers WHERE role = 'publisher'");

# ---- the engine's own end ----

$engine = engine_pid();
$from = time;
$node->safe_psql('postgres', "SELECT pg_terminate_backend($engine)");
wait_sql('a terminated engine comes back', "SELECT EXISTS (SELECT FROM todo_events.workers WHERE role = 'engine' AND state = 'running' AND pid <> $engine)");
note(sprintf('the engine was back after %.0f ms', (time - $from) * 1000));

my $launcher = $node->safe_psql('postgres', "SELECT pid FROM todo_events.workers WHERE role = 'launcher'");
$node->safe_psql('postgres', "SELECT pg_terminate_backend($launcher)");
wait_sql('a terminated launcher comes back', "SELECT pid <> $launcher FROM todo_events.workers WHERE role = 'launcher'");
wait_sql('and the engine is still the one', $running);

# a failing role does not take the engine along
$engine = engine_pid();
$node->safe_psql('postgres', "ALTER SYSTEM SET todo_events.inject = 'step_publisher=error\@1'");
$node->reload;
wait_sql('an error in a role is recorded', "SELECT errors > 0 FROM todo_events.workers WHERE role = 'publisher'");
wait_sql('and the role runs again', "SELECT state = 'running' AND last_error ~ 'injected' FROM todo_events.workers WHERE role = 'publisher'");
is(engine_pid(), $engine, 'the engine went on');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET todo_events.inject');
$node->reload;

# ---- commands that need a database alone ----

$node->safe_psql('postgres', 'CREATE DATABASE one');
$node->safe_psql('one', 'CREATE EXTENSION todo_events');
wait_sql('engine in a second database', $running, 't', 'one');
$from = time;
$node->safe_psql('postgres', 'CREATE DATABASE two TEMPLATE one');
cmp_ok(time - $from, '<', 4, 'CREATE DATABASE with a served template does not wait for the engine');
wait_sql('the template is served again', $running, 't', 'one');
wait_sql('the copy is served too', $running, 't', 'two');
$node->safe_psql('postgres', 'ALTER DATABASE two RENAME TO three');
wait_sql('a renamed database is served', $running, 't', 'three');
$from = time;
$node->safe_psql('postgres', 'BEGIN; ALTER DATABASE three RENAME TO four; ALTER DATABASE one RENAME TO three; ALTER DATABASE three RENAME TO one; ALTER DATABASE four RENAME TO three; COMMIT');
cmp_ok(time - $from, '<', 4, 'several in one transaction');
wait_sql('all are served afterwards', $running, 't', $_) for qw(one three);
is($node->safe_psql('postgres', "SELECT count(*) FROM todo_events.workers WHERE database LIKE 'template%'"), '0',
	'a template of CREATE DATABASE does not get an engine by it');
$from = time;
$node->safe_psql('postgres', 'DROP DATABASE three');
cmp_ok(time - $from, '<', 4, 'DROP DATABASE does not wait for the engine');
my ($rc, $out, $err) = $node->psql('postgres', 'ALTER DATABASE one RENAME TO postgres');
isnt($rc, 0, 'a command that fails ...');
wait_sql('... gives the database back', $running, 't', 'one');
is($node->safe_psql('postgres', "SELECT count(*) FROM todo_events.workers WHERE database = 'three' OR database IS NULL AND role <> 'launcher'"),
	'0', 'a dropped database leaves nothing behind');

# who may not run the command cannot stop the engine either
$engine = engine_pid('one');
$node->safe_psql('postgres', 'CREATE ROLE nobody LOGIN');
$node->psql('postgres', 'DROP DATABASE one', extra_params => [ '-U', 'nobody' ]);
is(engine_pid('one'), $engine, 'an unprivileged DROP DATABASE does not touch the engine');

$node->safe_psql('postgres', "ALTER DATABASE one SET todo_events.coalesce = '5ms'");
wait_sql('ALTER DATABASE SET restarts the engine', "SELECT pid <> $engine FROM todo_events.workers WHERE role = 'engine' AND state = 'running' AND database = 'one'");
$engine = engine_pid('one');
$node->safe_psql('postgres', "ALTER DATABASE one SET work_mem = '5MB'");
is(engine_pid('one'), $engine, 'but not of a setting that is none of ours');

# ---- the extension goes, and comes back ----

$node->safe_psql('one', 'DROP EXTENSION todo_events');
wait_sql('engine leaves when the extension is dropped', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'todo_events engine' AND datname = 'one')");
$node->safe_psql('one', 'CREATE EXTENSION todo_events');
wait_sql('and comes with it', $running, 't', 'one');
$engine = engine_pid('one');
$node->safe_psql('one', 'DROP EXTENSION todo_events; CREATE EXTENSION todo_events');
wait_sql('dropped and created in one go: another engine', "SELECT pid <> $engine FROM todo_events.workers WHERE role = 'engine' AND state = 'running' AND database = current_database()", 't', 'one');

$node->append_conf('postgresql.conf', "todo_events.databases = 'postgres'");
$node->reload;
wait_sql('todo_events.databases ends an engine', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'todo_events engine' AND datname = 'one')");
like($node->safe_psql('one', 'SELECT level, message FROM todo_events.health() LIMIT 1'), qr/^error\|todo_events.databases/, 'and health says so');
$node->append_conf('postgresql.conf', "todo_events.databases = '*'");
$node->reload;
wait_sql('and starts it again', $running, 't', 'one');

# ---- G10: nothing to do, nothing done ----

my ($wakeful) = ($node->safe_psql('postgres', "SELECT pid FROM todo_events.workers WHERE role = 'launcher'"));
sub switches { my $n = 0; open(my $f, '<', "/proc/$_[0]/status") or return -1; while (<$f>) { $n += $1 if /voluntary_ctxt_switches:\s+(\d+)/; } return $n; }
my $before = switches($wakeful);
$node->safe_psql('postgres', 'SELECT pg_sleep(3)');
is(switches($wakeful), $before, 'G10: an idle launcher does not wake');

# ---- shutdown and restart ----

$from = time;
$node->stop('fast');
cmp_ok(time - $from, '<', 3, 'fast shutdown');
$node->start;
wait_sql('engine after a restart', $running);
wait_sql('in every database', $running, 't', 'one');

# frozen I/O process: shutdown does not wait for it
toy_mode('frozen');
kill 9, io_pid();
wait_sql('the frozen one is up', "SELECT io_pid IS NOT NULL FROM todo_events.workers WHERE role = 'publisher' AND database = current_database()");
$from = time;
$node->stop('fast');
cmp_ok(time - $from, '<', 3, 'fast shutdown with a frozen I/O process');

# ---- too few workers: one line ----

toy_mode('good');
$node->append_conf('postgresql.conf', 'max_worker_processes = 2');
$node->start;
wait_sql('health says that no worker slot is free',
	"SELECT EXISTS (SELECT FROM todo_events.health() WHERE level = 'error' AND hint ~ 'max_worker_processes')");
$node->stop;

# ---- without preload ----

$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->start;
like($node->safe_psql('postgres', 'SELECT level, message FROM todo_events.health() LIMIT 1'),
	qr/^error\|todo_events is not preloaded/, 'health without preload');
$node->safe_psql('postgres', 'CREATE DATABASE deaf');
my ($status, undef, $warning) = $node->psql('deaf', 'CREATE EXTENSION todo_events');
is($status, 0, 'CREATE EXTENSION without preload');
like($warning, qr/WARNING:  todo_events is not preloaded: .*\nHINT:  Add todo_events to shared_preload_libraries/, 'says so');
$node->stop;
done_testing();
