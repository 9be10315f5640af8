# G11: CREATE, ALTER and DROP DATABASE, dump and restore, REINDEX and VACUUM FULL
# of databases with the extension work while engines run and writers write, each
# in well under the five seconds that PostgreSQL waits for others to leave; and
# the engine is there again afterwards, or gone with its database.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../lib";
use TodoEvents;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = todo_node('commands', brokers => '', topics => 0, conf => q{
max_worker_processes = 30
allow_in_place_tablespaces = on
});
my $running = "SELECT EXISTS (SELECT FROM todo_events.workers WHERE role = 'engine' AND state = 'running' AND database = current_database())";

sub served
{
	my ($what, @databases) = @_;
	wait_for_sql($node, "engine in $_", $running, undef, $_) for @databases;
	pass($what);
}

sub works
{
	my ($what, $sql, $database) = @_;
	my $from = time;
	my ($status, undef, $err) = $node->psql($database // 'postgres', $sql);

	is($status, 0, $what) or diag($err);
	return time - $from;
}

# with an engine in the way it would take five seconds, and fail
sub quick
{
	my $took = works(@_);

	cmp_ok($took, '<', 4.5, sprintf('... and takes %.1f s', $took));
}

sub refused
{
	my ($what, $sql, $error, @options) = @_;
	my ($status, undef, $err) = $node->psql('postgres', $sql, @options);

	like($err, $error, $what);
}

sub engines { return $node->safe_psql('postgres', "SELECT string_agg(datname || pid, ',' ORDER BY datname) FROM pg_stat_activity WHERE backend_type = 'todo_events engine'"); }

# ---- writers in one database, all the time ------------------------------------

$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(app src);
$node->safe_psql($_, q{
CREATE EXTENSION todo_events;
SELECT todo_events.create_tasks('public.tasks');
INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), 'before' FROM generate_series(1, 20);
}) for qw(app src);
served('both databases are served', 'app', 'src');

my $script = PostgreSQL::Test::Utils::tempdir() . '/write.sql';
append_to_file($script, "INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'x');\n\\sleep 20 ms\n");
my ($written, $trouble) = ('', '');
my $writers = IPC::Run::start([ 'pgbench', '-n', '-c', 2, '-T', 600, '-f', $script, '-h', $node->host, '-p', $node->port, 'app' ],
	'<', \undef, '>', \$written, '2>', \$trouble);

# ---- copies -------------------------------------------------------------------

quick("CREATE DATABASE, copied by $_", "CREATE DATABASE $_ TEMPLATE src STRATEGY $_") for qw(file_copy wal_log);
served('template and copies are served', 'src', 'file_copy', 'wal_log');
is($node->safe_psql('file_copy', 'SELECT count(*) FROM tasks'), '20', 'the copy has the rows');

my ($dump, $from) = (PostgreSQL::Test::Utils::tempdir() . '/dump.sql', time);
$node->command_ok([ 'pg_dump', '-f', $dump, 'src' ], 'pg_dump of a served database');
quick('CREATE DATABASE from template0', 'CREATE DATABASE restored TEMPLATE template0');
$node->command_ok([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-f', $dump, 'restored' ], 'psql of the dump');
served('a restored database is served', 'restored');

# ---- renamed, moved -------------------------------------------------------------

$node->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION ''");
quick('RENAME', 'ALTER DATABASE file_copy RENAME TO renamed');
quick('SET TABLESPACE', 'ALTER DATABASE renamed SET TABLESPACE elsewhere');
served('served under its new name and in its new place', 'renamed');
quick('SET TABLESPACE back', 'ALTER DATABASE renamed SET TABLESPACE pg_default');
$node->safe_psql('postgres', 'DROP TABLESPACE elsewhere');
served('served again', 'renamed');

# ---- flags ------------------------------------------------------------------------

my $engine = engine_pid($node, 'wal_log');
quick('ALLOW_CONNECTIONS false', 'ALTER DATABASE wal_log ALLOW_CONNECTIONS false');
is($node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE datname = 'wal_log' AND backend_type = 'todo_events engine'"), $engine,
	'who is connected stays, and so does the engine');
quick('RENAME of a closed database', 'ALTER DATABASE wal_log RENAME TO closed');
ok($node->poll_query_until('postgres', "SELECT state = 'restarting' AND pid IS NULL FROM todo_events.workers WHERE role = 'engine' AND database = 'closed'"),
	'a closed database gets no new engine');
quick('a closed database as a template', 'CREATE DATABASE copy TEMPLATE closed');
served('its copy is open and served', 'copy');
quick('ALLOW_CONNECTIONS true', 'ALTER DATABASE closed ALLOW_CONNECTIONS true');
served('served when it is open again', 'closed');
quick('CONNECTION LIMIT 0', 'ALTER DATABASE closed CONNECTION LIMIT 0');
quick('an engine is restarted under CONNECTION LIMIT 0', "ALTER DATABASE closed SET todo_events.source = 'other'");
served('and runs', 'closed');

quick('IS_TEMPLATE true', 'ALTER DATABASE copy IS_TEMPLATE true');
wait_for_sql($node, 'the engine leaves a template', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = 'copy')");
like(health_line($node, 'engine', 'copy'), qr/^error\|this database is a template/, 'health says that a template has no engine');
quick('anybody who may create databases copies a template', 'CREATE DATABASE of_template TEMPLATE copy');
served('the copy is served', 'of_template');
quick('IS_TEMPLATE false', 'ALTER DATABASE copy IS_TEMPLATE false');
served('served when it is no template any more', 'copy');
$node->safe_psql('template1', 'CREATE EXTENSION todo_events');
quick('CREATE DATABASE, the extension being in template1', 'CREATE DATABASE by_default');
served('the new database is served', 'by_default');
$node->safe_psql('template1', 'DROP EXTENSION todo_events');
is($node->safe_psql('postgres', "SELECT count(*) FROM todo_events.workers WHERE database = 'template1'"), '0', 'template1 is not');

# ---- failing, and rolled back -------------------------------------------------------

refused('RENAME to a name that is taken', 'ALTER DATABASE src RENAME TO app', qr/already exists/);
refused('SET TABLESPACE to one that is not there', 'ALTER DATABASE src SET TABLESPACE nowhere', qr/does not exist/);
refused('CREATE DATABASE of a name that is taken', 'CREATE DATABASE app TEMPLATE src', qr/already exists/);
refused('DROP in a transaction', 'BEGIN; DROP DATABASE src', qr/cannot run inside a transaction block/);
served('after all that failed', 'src');
$node->safe_psql('postgres', 'BEGIN; ALTER DATABASE src RENAME TO never; ROLLBACK');
served('after ROLLBACK', 'src');

my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_safe('BEGIN');
$session->query_safe('SAVEPOINT s');
$session->query_safe('ALTER DATABASE src RENAME TO never');
is($node->safe_psql('postgres', "SELECT state FROM todo_events.workers WHERE role = 'engine' AND database = 'src'"), 'parked', 'parked in a savepoint');
$session->query_safe('ROLLBACK TO s');
served('served after ROLLBACK TO, while the transaction goes on', 'src');
$session->query_safe('COMMIT');

# ---- several at once, by two sessions --------------------------------------------------

$from = time;
my @batch = map {
	IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-h', $node->host, '-p', $node->port, '-d', 'postgres', '-f', '-' ],
		'<', \"CREATE DATABASE many$_ TEMPLATE src; ALTER DATABASE many$_ RENAME TO more$_; ALTER DATABASE more$_ ALLOW_CONNECTIONS false; ALTER DATABASE more$_ ALLOW_CONNECTIONS true",
		'>', \my $out, '2>', \my $err)
} 1 .. 4;
is_deeply([ map { $_->finish ? 1 : 0 } @batch ], [ 1, 1, 1, 1 ], 'four copies of one template at once, each renamed');
note(sprintf('they took %.1f s', time - $from));
served('all are served', 'src', map { "more$_" } 1 .. 4);

# ---- who may not ------------------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE ROLE nobody LOGIN; CREATE ROLE creator LOGIN CREATEDB; CREATE ROLE owner LOGIN; ALTER DATABASE closed OWNER TO owner');
my $before = engines();
for my $sql ('DROP DATABASE closed', 'DROP DATABASE closed WITH (FORCE)', 'ALTER DATABASE closed RENAME TO mine',
	'ALTER DATABASE closed SET TABLESPACE pg_global', 'CREATE DATABASE mine TEMPLATE closed', 'ALTER DATABASE closed IS_TEMPLATE true')
{
	refused("$sql by nobody", $sql, qr/permission denied|must be owner|cannot be/, extra_params => [ '-U', 'nobody' ]);
}
refused('CREATE DATABASE from a database of somebody else', 'CREATE DATABASE mine TEMPLATE closed', qr/permission denied/, extra_params => [ '-U', 'creator' ]);
refused('RENAME by an owner who may not', 'ALTER DATABASE closed RENAME TO mine', qr/permission denied/, extra_params => [ '-U', 'owner' ]);
is(engines(), $before, 'no engine has left for any of them');

# ---- what needs no parking -----------------------------------------------------------------

$from = -s $node->logfile;
works('REINDEX DATABASE', 'REINDEX DATABASE app', 'app');
works('VACUUM FULL', 'VACUUM FULL', 'src');
works('ANALYZE', 'ANALYZE', 'app');
works('ALTER DATABASE OWNER', 'ALTER DATABASE src OWNER TO owner');
works('ALTER DATABASE SET', "ALTER DATABASE src SET work_mem = '5MB'");
works('ALTER DATABASE REFRESH COLLATION VERSION', 'ALTER DATABASE src REFRESH COLLATION VERSION');
works('ALTER SYSTEM', "ALTER SYSTEM SET work_mem = '5MB'");
$node->reload;
works('CREATE INDEX CONCURRENTLY', 'CREATE INDEX CONCURRENTLY ON tasks (title)', 'app');
is(engines(), $before, 'no engine has left for any of them');
unlike(log_since($node, $from), qr/ERROR/, 'and none has met an error');

# ---- dropped -----------------------------------------------------------------------------------

my $connected = $node->background_psql('of_template', on_error_stop => 0);
quick('DROP DATABASE WITH (FORCE)', 'DROP DATABASE of_template WITH (FORCE)');
eval { $connected->quit };
quick("DROP DATABASE $_", "DROP DATABASE $_") for qw(renamed restored by_default copy closed), map { "more$_" } 1 .. 4;
is($node->safe_psql('postgres', "SELECT string_agg(database, ',' ORDER BY database) FROM todo_events.workers WHERE role = 'engine'"),
	'app,postgres,src', 'dropped databases leave nothing behind');

$writers->signal('INT');
$writers->finish;
unlike($trouble, qr/ERROR|abort/i, 'no writer has met an error');
served('and the database that they wrote to is served', 'app');
cmp_ok($node->safe_psql('app', 'SELECT count(*) FROM tasks'), '>', 200, 'they have written all the time');
is($node->safe_psql('app', 'SELECT (SELECT count(*) FROM tasks) - (SELECT count(*) FROM todo_events.outbox)'), '0', 'an event for each row');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/PANIC|signal 11|signal 6/, 'nothing has crashed');

done_testing();
