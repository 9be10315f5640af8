# Databases that begin to need an engine in other ways than CREATE EXTENSION's
# commit: none of them may be left without one, which nobody would notice.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../lib";
use TodoEvents ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $running = "SELECT EXISTS (SELECT FROM todo_events.workers WHERE role = 'engine' AND state = 'running' AND database = current_database())";

my $node = PostgreSQL::Test::Cluster->new('databases');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'todo_events'
max_worker_processes = 20
max_prepared_transactions = 5
});
$node->start;

sub runs
{
	my ($db, $what) = @_;
	ok($node->poll_query_until($db, $running), $what);
}

# ---- prepared transactions ----

$node->safe_psql('postgres', 'CREATE DATABASE prepared');
$node->safe_psql('prepared', "BEGIN; CREATE EXTENSION todo_events; PREPARE TRANSACTION 'create'");
$node->safe_psql('prepared', "COMMIT PREPARED 'create'");
runs('prepared', 'engine after COMMIT PREPARED of CREATE EXTENSION');

# the session that has parked the database is gone before the transaction ends
$node->safe_psql('postgres', "BEGIN; ALTER DATABASE prepared RENAME TO renamed; PREPARE TRANSACTION 'rename'");
$node->safe_psql('postgres', "COMMIT PREPARED 'rename'");
runs('renamed', 'engine after COMMIT PREPARED of ALTER DATABASE RENAME, by another session');

# ---- closed for a while ----

$node->safe_psql('postgres', 'ALTER DATABASE renamed ALLOW_CONNECTIONS false');
$node->safe_psql('postgres', 'CREATE EXTENSION todo_events');
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'renamed'");
# the launcher has seen that the database is closed, and waits
ok($node->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM todo_events.workers WHERE role = 'engine' AND database = 'renamed' AND state = 'restarting')"),
	'the engine cannot start in a database that is closed');
$node->safe_psql('postgres', 'ALTER DATABASE renamed ALLOW_CONNECTIONS true');
runs('renamed', 'engine when the database is open again');

$node->safe_psql('postgres', 'ALTER DATABASE renamed ALLOW_CONNECTIONS false');
$node->restart;
runs('postgres', 'a database that is closed at start is passed over');
$node->safe_psql('postgres', 'ALTER DATABASE renamed ALLOW_CONNECTIONS true');
runs('renamed', 'and gets its engine when it is opened');

# ---- a name that todo_events.databases has ----

$node->append_conf('postgresql.conf', "todo_events.databases = 'postgres, named'");
$node->reload;
ok($node->poll_query_until('renamed', $running, 'f'), 'the engine leaves a database that the setting leaves out');
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION todo_events');
$node->safe_psql('postgres', 'ALTER DATABASE other RENAME TO named');
runs('named', 'engine after a rename to a name that the setting has');

done_testing();
