# An engine is a superuser in a database that belongs to somebody else: whatever
# its owner plants there or sets for it, none of his code runs (G12), and the
# engine works all the same.  No broker: its reading of topics and routes, and
# its following of the log, are what is looked at.
use strict;
use warnings;
use TodoEvents;
use TodoEvents::Rights;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = todo_node('engine', brokers => '127.0.0.1:1', topics => 0, extension => 0);
my $begin = -s $node->logfile;
$node->safe_psql('postgres', q{CREATE ROLE mallory LOGIN});
$node->safe_psql('postgres', q{CREATE DATABASE shop OWNER mallory});
my $rights = TodoEvents::Rights->new($node, 'shop');

# says so in the log if it is run by anybody but its owner
my $trap = q{
CREATE OR REPLACE FUNCTION public.trap() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	IF current_user <> 'mallory' THEN
		RAISE LOG 'trapped % %', current_user, current_setting('is_superuser');
		EXECUTE 'ALTER ROLE mallory SUPERUSER';
	END IF;
	RETURN 'x';
EXCEPTION WHEN insufficient_privilege THEN
	RETURN 'x';
END $$;
CREATE OR REPLACE FUNCTION public.index_trap(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT public.trap()';
};

sub engines
{
	return $node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE datname = 'shop' AND backend_type = 'todo_events engine'});
}

sub not_trapped
{
	my ($what) = @_;
	unlike(log_since($node, $begin), qr/trapped/, "none of the owner's code ran: $what");
	is($node->safe_psql('postgres', q{SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'}), 'f', "nor did it win anything: $what");
}

# it has read topics and routes, and follows the log
sub serves
{
	my ($what) = @_;
	my $last = q{SELECT COALESCE(max(number), 0) FROM todo_events_internal.cursor WHERE reader = 'log'};
	wait_for_sql($node, "the publisher runs: $what", q{SELECT EXISTS (SELECT FROM todo_events.workers WHERE database = 'shop' AND role = 'publisher' AND state = 'running')}, undef, 'shop');
	my $before = $node->safe_psql('shop', $last);
	$rights->allowed("publish, $what", 'mallory', q{SELECT todo_events.publish('task-events', 'com.example.thing', '{}') IS NOT NULL}, 't');
	wait_for_sql($node, "the engine follows the log: $what", "SELECT ($last) > $before", undef, 'shop');
	pass("the engine serves: $what");
}

# ---- dropped, and put in its place, while the engine waits for a lock ----

$rights->allowed('the extension', 'mallory', 'CREATE EXTENSION todo_events');
serves('a new extension');

my $log_columns = q{id text, "time" text, sequence text, origin text, attachment text, type text, key_uuid text, user_uuid text, key_text int, user_text int, extra int, payload int, segment text};
my $plant = $node->basedir . '/plant.sql';
append_to_file($plant, qq{
\\set ON_ERROR_STOP 1
$trap
BEGIN;
LOCK TABLE todo_events.topic_config IN ACCESS EXCLUSIVE MODE;
DO \$\$
BEGIN
	FOR i IN 1 .. 10000 LOOP
		IF EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
			WHERE NOT l.granted AND l.relation = 'todo_events.topic_config'::regclass) THEN
			RETURN;
		END IF;
		PERFORM pg_sleep(0.002);
	END LOOP;
	RAISE 'the engine did not come';
END \$\$;
DROP EXTENSION todo_events;
CREATE SCHEMA todo_events;
CREATE VIEW todo_events.topic_config AS
	SELECT public.trap() AS topic, 1 AS partitions, interval '1 day' AS retention, 'task'::text AS key_by, true AS create_topic;
CREATE VIEW todo_events.route_config AS SELECT public.trap() AS pattern, public.trap() AS topic;
CREATE TABLE todo_events.setting_config (name int, value int, updated_at int);
INSERT INTO todo_events.setting_config VALUES (1, 2, 3);
CREATE TABLE todo_events.attachment_config (number text, relation text, name int, type_prefix int, bare int, start_sequence text, attached_at text, detached_at text);
INSERT INTO todo_events.attachment_config VALUES ('1', '2', 3, 4, 5, '6', '7', '8');
CREATE FUNCTION todo_events.capture() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM public.trap(); RETURN NULL; END';
CREATE SCHEMA todo_events_internal;
CREATE TABLE todo_events_internal.secret (id text, name int, value int, at text);
INSERT INTO todo_events_internal.secret VALUES ('1', 2, 3, '4');
CREATE TABLE todo_events_internal.identity (database_id int, created_at text);
INSERT INTO todo_events_internal.identity VALUES (1, '2');
CREATE TABLE todo_events_internal.epoch (epoch text, first_id text);
INSERT INTO todo_events_internal.epoch VALUES ('1', '1');
CREATE TABLE todo_events_internal.dead_letter (id text, at text, reader int);
CREATE INDEX ON todo_events_internal.dead_letter (public.index_trap(id));
CREATE TABLE todo_events_internal.dead_letter_redrive (dead_letter text);
CREATE TABLE todo_events_internal.log ($log_columns);
CREATE TABLE todo_events_internal.cursor (number text, reader int, mark int, at text, segment text);
CREATE TABLE todo_events_internal.idempotency (hash text, attachment text, at text, key int, segment text);
CREATE TABLE todo_events_internal.counter (place text, sequence text, segment text);
DO \$\$
DECLARE
	ring text;
BEGIN
	FOREACH ring IN ARRAY '{log,cursor,idempotency,counter}'::text[] LOOP
		-- a table, where a sequence's page is expected
		EXECUTE format('CREATE TABLE todo_events_internal.%I ()', ring || '_segment');
		FOR i IN 0 .. 15 LOOP
			EXECUTE format('CREATE TABLE todo_events_internal.%I (LIKE todo_events_internal.%I)', ring || '_' || i, ring);
			EXECUTE format('CREATE INDEX ON todo_events_internal.%I (segment)', ring || '_' || i);
		END LOOP;
	END LOOP;
	FOREACH ring IN ARRAY '{log_id,cursor_number,log_floor,dead_letter_id}'::text[] LOOP
		EXECUTE format('CREATE TABLE todo_events_internal.%I ()', ring);
	END LOOP;
END \$\$;
COMMIT;
});
my ($out, $err) = ('', '');
my $planting = IPC::Run::start([ 'psql', '-XAtq', '-h', $node->host, '-p', $node->port, '-U', 'mallory', '-d', 'shop', '-f', $plant ],
	'>', \$out, '2>', \$err, IPC::Run::timeout(60));
wait_for_sql($node, 'the owner has the lock', q{SELECT count(*) = 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted
	AND relation = 'todo_events.topic_config'::regclass}, undef, 'shop');
# with another secret the publisher begins anew, and reads its topics
$rights->allowed('a change for the engine', 'mallory', "COPY todo_events.secret_input FROM STDIN;\nkey_password=x\n\\.\n");
$planting->finish;
is($err, '', 'the extension is dropped, and other things are in its place');
wait_for('the engine leaves', sub { engines() eq '0' });
not_trapped('planted while the engine waited');

# functions of the extension that go on after it is gone
$rights->allowed('the names are free again', 'mallory', 'DROP SCHEMA todo_events, todo_events_internal CASCADE');
$rights->allowed('a new extension', 'mallory', 'CREATE EXTENSION todo_events');
for my $call (q{todo_events.publish('task-events', 'com.example.thing', '{}')}, 'todo_events.cursor()',
	q{(todo_events.read(NULL, 10)).event}, q{todo_events.redrive(NULL::text)}, q{todo_events.purge_dead_letters(now())},
	q{(todo_events.metrics()).name}, q{(todo_events.health()).message}, q{todo_events.configure('source', 'x')})
{
	my $planted = slurp_file($plant);
	$planted =~ s/^.*?(?=CREATE SCHEMA todo_events;)//s;
	$planted =~ s/COMMIT;\s*\z//;
	my ($rc, $stdout, $stderr) = $rights->as('mallory', qq{
		BEGIN;
		DECLARE c CURSOR FOR SELECT $call FROM generate_series(1, 3);
		FETCH 1 FROM c;
		DROP EXTENSION todo_events;
		$planted
		FETCH 1 FROM c;
		ROLLBACK;
	});
	note($stderr);
	unlike($stderr, qr/server closed|connection to server was lost/, "the server lives: $call in a cursor, its tables exchanged");
}
not_trapped('exchanged under a running cursor');
serves('after all was rolled back');

# ---- what ALTER DATABASE ... SET can say to an engine ----

$rights->allowed('traps', 'mallory', qq{
	$trap
	CREATE SCHEMA evil;
	CREATE FUNCTION evil.trap(anyelement, anyelement) RETURNS boolean LANGUAGE sql AS 'SELECT public.trap() IS NULL';
	CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT ''2000-01-01''::timestamptz WHERE public.trap() IS NOT NULL';
	CREATE FUNCTION evil.text_trap(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT public.trap() IS NULL';
	CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.text_trap);
	CREATE FUNCTION evil.numeric_trap(numeric, integer) RETURNS numeric LANGUAGE sql AS 'SELECT 1 WHERE public.trap() IS NOT NULL';
	CREATE OPERATOR evil.* (LEFTARG = numeric, RIGHTARG = integer, FUNCTION = evil.numeric_trap);
});
my %setting = (
	search_path => 'evil, public, pg_catalog', role => 'nobody', session_authorization => 'nobody',
	local_preload_libraries => 'no_such_library', default_transaction_read_only => 'on',
	default_transaction_isolation => 'serializable', default_transaction_deferrable => 'on',
	statement_timeout => '1', lock_timeout => '1', idle_in_transaction_session_timeout => '1', row_security => 'on',
	transform_null_equals => 'on', quote_all_identifiers => 'on', standard_conforming_strings => 'off',
	enable_seqscan => 'off', enable_indexscan => 'off', work_mem => '64kB', TimeZone => 'Asia/Tokyo', DateStyle => 'German',
	IntervalStyle => 'sql_standard', bytea_output => 'escape', extra_float_digits => '-15', client_encoding => 'LATIN1',
	default_tablespace => '', temp_tablespaces => '', client_min_messages => 'debug5', array_nulls => 'off',
	max_parallel_workers_per_gather => '8', parallel_setup_cost => '0', min_parallel_table_scan_size => '0', jit => 'on',
	jit_above_cost => '0', synchronous_commit => 'on');
$node->safe_psql('postgres', 'CREATE ROLE nobody; GRANT nobody TO mallory');
my @set = map { "ALTER DATABASE shop SET $_ = " . ($_ eq 'search_path' ? $setting{$_} : "'$setting{$_}'") } sort keys %setting;
my $errors = q{SELECT sum(errors) FROM todo_events.workers WHERE database = 'shop' AND role <> 'engine'};
my $before = $node->safe_psql('shop', $errors);
# all at once: some of them keep the owner himself out
$rights->allowed('settings for every session of his database', 'mallory', join(";\n", @set));
my $engine = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE datname = 'shop' AND backend_type = 'todo_events engine'});
$node->safe_psql('postgres', "SELECT pg_terminate_backend($engine)");
my $next;
wait_for('another engine', sub {
	$next = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE datname = 'shop' AND backend_type = 'todo_events engine'});
	return $next ne '' && $next ne $engine;
});
# they hold for that engine as long as it lives, and no longer for us
$node->safe_psql('postgres', join(";\n", map { "ALTER DATABASE shop RESET $_" } sort keys %setting));
serves('an engine under the settings of the owner');
$rights->allowed('a change that it has to read', 'mallory', q{UPDATE todo_events.route_config SET pattern = 'com.example.b.*' WHERE pattern = 'notification.*'});
serves('an engine that has read its routes under the settings of the owner');
is($node->safe_psql('shop', $errors), $before, 'no role of the engine has failed');
is($node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE datname = 'shop' AND backend_type = 'todo_events engine'}), $next, 'and it is the same engine');
not_trapped('settings of the database');

$node->stop;
done_testing();
