# What holds the event log's tables for long, or takes hold of them: pg_dump, and
# autovacuum to prevent wraparound, which our tables cannot be exempt from. Nobody
# waits: neither writers nor the publisher nor they themselves; rotation is put off
# and goes on; transaction ids are freed everywhere, by whichever comes first.
# (G1, G2, G4, G11)

use strict;
use warnings;
use TodoEvents;
use TodoEvents::Load;
use Test::More;

my $node = todo_node('dump', conf => TodoEvents::Load::settings() . <<'END');
todo_events.log_retention = 1s
todo_events.clock_offset = 0
autovacuum_freeze_max_age = 100000
autovacuum_naptime = 1s
autovacuum_max_workers = 2
vacuum_freeze_min_age = 1000
vacuum_cost_delay = 0
log_lock_waits = on
log_autovacuum_min_duration = 0
END

sub sql { return $node->safe_psql('postgres', @_); }
sub floor { return sql('SELECT last_value FROM todo_events_internal.log_floor'); }

sub configuration
{
	my ($database) = @_;
	return $node->safe_psql($database, <<'END');
SELECT name, value FROM todo_events.setting_config UNION ALL
SELECT topic, key_by FROM todo_events.topic_config WHERE NOT is_default UNION ALL
SELECT pattern, topic FROM todo_events.route_config WHERE NOT is_default UNION ALL
SELECT kind, name FROM todo_events.default_removed UNION ALL
SELECT name, relation::text FROM todo_events.attachment_config ORDER BY 1, 2
END
}

load_setup($node);
sql(q{SELECT todo_events.configure('truncate_limit', '5')});
my $load = load_start($node, seconds => 3600, clients => 6, rate => 200);
wait_for('the log rotates', sub { floor() > 200 });

# ---- a dump that takes long --------------------------------------------------------------------

my $dir = PostgreSQL::Test::Utils::tempdir();
sub dump_start
{
	my ($name, @options) = @_;
	return IPC::Run::start([ 'pg_dump', '-f', "$dir/$name", @options, '-d', $node->connstr('postgres') . ' application_name=dump' ],
		'>', '/dev/null', '2>', "$dir/$name.err");
}

sub refuse_an_event
{
	sql(q{SELECT todo_events.publish((SELECT topic FROM todo_events.topic_config WHERE topic LIKE 'task-events%'), 'com.example.large',
		to_json((SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 70000))))});
	return;
}

# its locks on the tables in hand, it waits for the last one
sql('CREATE TABLE last (n integer)');
my $blocker = $node->background_psql('postgres');
$blocker->query_safe('BEGIN');
$blocker->query_safe('LOCK TABLE last');
my $dump = dump_start('long', '-Fc');
wait_for_sql($node, 'pg_dump has begun, and waits', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'dump' AND wait_event_type = 'Lock'});
my $held = floor();
my $changes = sql('SELECT count(*) FROM ledger');
wait_for_sql($node, 'writers go on under a dump', "SELECT count(*) > $changes + 300 FROM ledger");
wait_for_delivery($node);
wait_for('so does rotation', sub { floor() > $held });
refuse_an_event();
wait_for_sql($node, 'and dead letters', 'SELECT count(*) = 1 FROM todo_events.dead_letters', 30);
is(sql(q{SELECT todo_events.purge_dead_letters('infinity')}), '1', 'and their purge');
$blocker->query_safe('COMMIT');
$blocker->quit;
ok($dump->finish, 'the dump ends well');

# ---- a transaction that has read the log, and stays open --------------------------------------------

my $reader = $node->background_psql('postgres');
$reader->query_safe(q{SET application_name = 'long report'; BEGIN ISOLATION LEVEL REPEATABLE READ});
$reader->query_safe('SELECT count(*) FROM todo_events.outbox; SELECT count(*) FROM todo_events.dead_letters');
$held = floor();
$changes = sql('SELECT count(*) FROM ledger');
wait_for_sql($node, 'writers go on under a report', "SELECT count(*) > $changes + 300 FROM ledger");
wait_for_delivery($node);
is(floor(), $held, 'nothing is rotated away under it');
is(sql(q{SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = 'relation'}), '0', 'nobody waits for a table');
is(health_line($node, 'rotation'), '', 'and health() does not complain of it at once');

# a purge waits for it, and nobody for the purge
refuse_an_event();
wait_for_sql($node, 'an event is refused', 'SELECT count(*) = 1 FROM todo_events.dead_letters', 30);
my ($rc, $out, $err) = $node->psql('postgres', q{SET lock_timeout = '100ms'; SELECT todo_events.purge_dead_letters('infinity')});
like($err, qr/lock timeout/, 'purge_dead_letters() heeds lock_timeout');
my $purge = psql_script($node, q{SELECT todo_events.purge_dead_letters('infinity')});
wait_for_sql($node, 'a purge waits', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '%purge_dead_letters%' AND wait_event_type = 'Extension' AND pid <> pg_backend_pid()});
sql(q{SELECT todo_events.redrive(min(id)) FROM todo_events.dead_letters});
wait_for_sql($node, 'dead letters are written while it waits', 'SELECT count(*) = 2 FROM todo_events.dead_letters', 30);

# an hour later
$node->adjust_conf('postgresql.conf', 'todo_events.clock_offset', "'1h'");
$node->reload;
wait_for('health() says what holds the rotation up', sub { health_line($node, 'rotation') =~ /^warning\|.*log_\d+ is in use since/ });
my ($query) = health_line($node, 'rotation') =~ /(SELECT .*regclass)\./;
is(sql("SELECT string_agg(DISTINCT application_name, ' ') FROM pg_stat_activity WHERE pid IN ($query) AND backend_type = 'client backend'"),
	'long report', 'and its hint finds who');

$reader->query_safe('COMMIT');
$reader->quit;
wait_for('and rotation goes on', sub { floor() > $held });
wait_for('health() is content', sub { health_line($node, 'rotation') eq '' });
wait_for_sql($node, 'the purge goes through', 'SELECT count(*) = 0 FROM todo_events.dead_letters', 30);
ok($purge->finish, 'and ends well');

# ---- dumps under load, and what they restore ------------------------------------------------------

for (['jobs', '-Fd', '-j', 3], ['consistent', '-Fc', '--serializable-deferrable'])
{
	my ($name, @options) = @$_;
	ok(dump_start($name, @options)->finish, "pg_dump @options under load") or diag(PostgreSQL::Test::Utils::slurp_file("$dir/$name.err"));
	sql("CREATE DATABASE $name");
	$node->command_ok([ 'pg_restore', '-d', $name, '-e', ($name eq 'jobs' ? ('-j', 2) : ()), "$dir/$name" ], "$name: pg_restore");
	is(configuration($name), configuration('postgres'), "$name: the configuration is restored");
	is($node->safe_psql($name, 'SELECT count(*) FROM todo_events_internal.log'), '0', "$name: and no event, nor has one come of it");
	is($node->safe_psql($name, 'SELECT count(*) > 0 FROM tasks'), 't', "$name: the tasks are there");
	sql("DROP DATABASE $name");
}

# ---- autovacuum to prevent wraparound -----------------------------------------------------------------

# a database with something in each ring, on which nothing happens any more
sql('CREATE DATABASE quiet');
$node->safe_psql('quiet', <<'END');
ALTER DATABASE quiet SET todo_events.log_retention = '1d';
ALTER DATABASE quiet SET todo_events.brokers = '';
CREATE EXTENSION todo_events;
SELECT todo_events.create_tasks('public.tasks');
INSERT INTO tasks (user_id, title, description) SELECT gen_random_uuid(), 'quiet', (SELECT string_agg(md5((i * j)::text), '') FROM generate_series(1, 300) j) FROM generate_series(1, 50) i;
DELETE FROM tasks WHERE random() < 0.5;
BEGIN; SET LOCAL todo_events.idempotency_key = 'quiet'; INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'keyed'); COMMIT;
BEGIN; INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), 'never' FROM generate_series(1, 500); ROLLBACK;
END
my $quiet = $node->safe_psql('quiet', 'SELECT md5(string_agg(o::text, $$ $$ ORDER BY id)), count(*) FROM todo_events.outbox o');
my $ages = q{SELECT COALESCE(max(age(c.relfrozenxid)), 0) FROM pg_class c LEFT JOIN pg_class m ON m.reltoastrelid = c.oid
	WHERE c.relkind IN ('r', 't') AND COALESCE(m.relnamespace, c.relnamespace) IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'todo_events%')};
my $from = -s $node->logfile;
# 26,000 transaction ids, each of a savepoint that is taken back
my $burn = <<'END';
CREATE TEMP TABLE burnt (n integer);
DO $$ BEGIN
	FOR i IN 1 .. 26000 LOOP
		BEGIN
			INSERT INTO burnt VALUES (1);
			RAISE EXCEPTION 'taken back';
		EXCEPTION WHEN raise_exception THEN
		END;
	END LOOP;
END $$;
END
sql($burn) for 1 .. 5;
for my $database ('quiet', 'postgres')
{
	wait_for("$database: every table of ours has been frozen or emptied", sub { $node->safe_psql($database, $ages) < 100000 });
	wait_for_sql($node, "$database: and holds back no transaction id", "SELECT age(datfrozenxid) < 100000 FROM pg_database WHERE datname = '$database'", 60);
}
my $log = log_since($node, $from);
like($log, qr/aggressive vacuum to prevent wraparound of table "quiet\.todo_events_internal\.$_"/, "autovacuum has been to the ring of $_")
  for qw(log_0 idempotency_0 counter_0);
like($log, qr/prevent wraparound of table "quiet\.pg_toast\./, 'and to TOAST');
$changes = sql('SELECT count(*) FROM ledger');
$held = floor();
wait_for_sql($node, 'writers go on after it', "SELECT count(*) > $changes + 100 FROM ledger");
wait_for('so does rotation', sub { floor() > $held });
unlike($log, qr/still waiting for \w+ on relation/, 'nobody has waited for a table for as long as a second');
unlike($log, qr/canceling autovacuum task/, 'and no autovacuum was cancelled');
is($node->safe_psql('quiet', 'SELECT md5(string_agg(o::text, $$ $$ ORDER BY id)), count(*) FROM todo_events.outbox o'), $quiet,
	'the quiet database\'s events are what they were');
is($node->safe_psql('quiet', 'SELECT count(*) FROM todo_events.read(NULL, 10000)'), (split /\|/, $quiet)[1], 'and readable');

load_stop($load);
wait_for_delivery($node);
ledger_against_topic($node, 'through all that', at_least => 1000);
check_storage($node);
$node->stop('fast');
done_testing();
