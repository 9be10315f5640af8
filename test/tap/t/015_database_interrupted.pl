# G11: commands on databases that are interrupted in their middle, by a cancel, by
# the end of their session, by its kill -9: the engine comes back, and nothing
# keeps trying where there is nothing to serve.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../lib";
use TodoEvents;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = todo_node('interrupted', brokers => '', topics => 0, conf => q{
max_worker_processes = 30
max_prepared_transactions = 5
allow_in_place_tablespaces = on
});
my $running = "SELECT EXISTS (SELECT FROM todo_events.workers WHERE role = 'engine' AND state = 'running' AND database = current_database())";

sub served
{
	my ($what, $database) = @_;
	wait_for_sql($node, $what, $running, undef, $database);
	pass($what);
}

sub start
{
	my ($sql) = @_;
	my %run = (out => '', err => '');

	$run{run} = IPC::Run::start([ 'psql', '-Xq', '-h', $node->host, '-p', $node->port, '-d', 'postgres', '-c', $sql ],
		'<', \undef, '>', \$run{out}, '2>', \$run{err});
	return \%run;
}

# a command of another session, once it has parked the database
sub parked_by
{
	my ($sql, $database) = @_;
	my $run = start($sql);

	wait_for_sql($node, "$sql has parked $database",
		"SELECT EXISTS (SELECT FROM todo_events.workers WHERE role = 'engine' AND state = 'parked' AND database = '$database')");
	$run->{pid} = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE query = '$sql' AND backend_type = 'client backend'");
	return $run;
}

sub ended
{
	my ($run, $error, $what) = @_;

	$run->{run}->finish;
	like($run->{err}, $error, $what);
}

$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(src victim);
$node->safe_psql($_, 'CREATE EXTENSION todo_events') for qw(src victim);
served("engine in $_", $_) for qw(src victim);

# ---- cancelled, terminated: while it waits for a session that does not leave ----------

my $other = $node->background_psql('src');
my $create = 'CREATE DATABASE copy TEMPLATE src';
my $run = parked_by($create, 'src');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($run->{pid})");
ended($run, qr/canceling statement/, 'CREATE DATABASE is cancelled');
served('the template is served after it', 'src');

$run = parked_by('ALTER DATABASE src RENAME TO other', 'src');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($run->{pid})");
ended($run, qr/terminating connection/, 'the session of RENAME is ended');
served('the database is served after it', 'src');

# two commands: the first to end does not bring the engine back under the second
my $one = parked_by($create, 'src');
my $two = start('ALTER DATABASE src RENAME TO other');
wait_for_sql($node, 'a second command', "SELECT count(*) = 2 FROM pg_stat_activity WHERE query ~ '^(CREATE|ALTER) DATABASE' AND state = 'active'");
$node->safe_psql('postgres', "SELECT pg_cancel_backend($one->{pid})");
ended($one, qr/canceling statement/, 'one of two is cancelled');
is($node->safe_psql('postgres', "SELECT state FROM todo_events.workers WHERE role = 'engine' AND database = 'src'"), 'parked', 'still parked for the other');
$other->quit;
ended($two, qr/^$/, 'the other succeeds when the session has left');
$node->safe_psql('postgres', 'ALTER DATABASE other RENAME TO src');
served('served after both', 'src');

# ---- DROP DATABASE cancelled half-way: PostgreSQL leaves it invalid --------------------------

my $checkpointer = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
kill 'STOP', $checkpointer;
$run = parked_by('DROP DATABASE victim', 'victim');
wait_for_sql($node, 'DROP DATABASE waits for a checkpoint', "SELECT wait_event LIKE 'Checkpoint%' FROM pg_stat_activity WHERE pid = $run->{pid}");
my $from = -s $node->logfile;
$node->safe_psql('postgres', "SELECT pg_cancel_backend($run->{pid})");
kill 'CONT', $checkpointer;
ended($run, qr/canceling statement/, 'DROP DATABASE is cancelled');
is($node->safe_psql('postgres', "SELECT datconnlimit FROM pg_database WHERE datname = 'victim'"), '-2', 'the database is invalid');
wait_for_sql($node, 'nobody is to serve it', "SELECT NOT EXISTS (SELECT FROM todo_events.workers WHERE database = 'victim')");
$node->restart;
served('a served database after a restart', 'src');
unlike(log_since($node, $from), qr/cannot connect to invalid database/, 'no engine has tried to connect to an invalid database');
$node->safe_psql('postgres', 'DROP DATABASE victim');
pass('and it can be dropped');

# ---- kill -9 in the middle: recovery, and nothing parked for ever ------------------------------

$other = $node->background_psql('src');
$run = parked_by($create, 'src');
$from = -s $node->logfile;
kill 'KILL', $run->{pid};
$run->{run}->finish;
eval { $other->quit };
wait_for('the server notices', sub { log_since($node, $from) =~ /reinitializing/ });
wait_for('the server is up again', sub { my ($status) = $node->psql('postgres', 'SELECT 1'); $status == 0 });
served('served after the kill -9 of a session that had parked it', 'src');

# ---- prepared ---------------------------------------------------------------------------------

# a database that is locked by a prepared transaction does not keep others from being looked into
$node->safe_psql('postgres', 'CREATE DATABASE locked');
$node->safe_psql('postgres', 'CREATE DATABASE fresh');
$node->safe_psql('fresh', 'CREATE EXTENSION todo_events');
$node->safe_psql('postgres', "BEGIN; ALTER DATABASE src RENAME TO later; ALTER DATABASE locked RENAME TO unlocked; PREPARE TRANSACTION 'rename'");
$node->restart;
wait_for_sql($node, 'the launcher looks into the locked one', "SELECT EXISTS (SELECT FROM todo_events.workers WHERE role = 'engine' AND state = 'starting' AND database = 'locked')");
served('a database is served beside those that are locked', 'fresh');
$node->safe_psql('postgres', "ROLLBACK PREPARED 'rename'");
served('and one of those when it is free', 'src');

# settings and names that come with COMMIT PREPARED, by whom it may be
my $engine = engine_pid($node, 'src');
$node->safe_psql('postgres', "BEGIN; ALTER DATABASE src SET todo_events.source = 'prepared'; PREPARE TRANSACTION 'set'");
is(engine_pid($node, 'src'), $engine, 'PREPARE of ALTER DATABASE SET touches no engine');
$node->safe_psql('postgres', "COMMIT PREPARED 'set'");
wait_for_sql($node, 'COMMIT PREPARED of ALTER DATABASE SET restarts the engine', "SELECT pid <> $engine FROM todo_events.workers WHERE role = 'engine' AND state = 'running' AND database = 'src'", undef, 'src');
is($node->safe_psql('src', "SELECT value FROM todo_events.settings WHERE name = 'source'"), 'prepared', 'with the new setting');
$engine = engine_pid($node, 'src');
$node->safe_psql('postgres', "ALTER ROLE ALL SET todo_events.source = 'for-all'");
wait_for_sql($node, 'ALTER ROLE ALL SET restarts the engine too', "SELECT pid <> $engine FROM todo_events.workers WHERE role = 'engine' AND state = 'running' AND database = 'src'", undef, 'src');
$engine = engine_pid($node, 'src');
$node->safe_psql('postgres', "CREATE ROLE somebody; ALTER ROLE somebody SET todo_events.traceparent = ''");
$node->safe_psql('postgres', 'ALTER ROLE ALL RESET todo_events.source');
wait_for_sql($node, 'and so does its RESET', "SELECT pid <> $engine FROM todo_events.workers WHERE role = 'engine' AND state = 'running' AND database = 'src'", undef, 'src');

$node->append_conf('postgresql.conf', "todo_events.databases = 'postgres, src, named'");
$node->reload;
wait_for_sql($node, 'the engine leaves a database that the setting leaves out', $running =~ s/EXISTS/NOT EXISTS/r, undef, 'fresh');
$node->safe_psql('postgres', "BEGIN; ALTER DATABASE fresh RENAME TO named; PREPARE TRANSACTION 'named'");
$node->safe_psql('postgres', "COMMIT PREPARED 'named'");
served('COMMIT PREPARED of a rename to a name that the setting has', 'named');
$node->safe_psql('postgres', "BEGIN; ALTER DATABASE named IS_TEMPLATE true; PREPARE TRANSACTION 'template'");
$node->safe_psql('postgres', "COMMIT PREPARED 'template'");
wait_for_sql($node, 'COMMIT PREPARED of IS_TEMPLATE', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = 'named' AND backend_type = 'todo_events engine')");
pass('an engine leaves a database that a prepared transaction has made a template');

done_testing();
