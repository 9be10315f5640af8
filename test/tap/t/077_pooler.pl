# Everything that an application calls, through pgbouncer in transaction mode with
# fewer server connections than clients: it works, and nothing of one client's
# transaction leaks into the next on the same connection: no idempotency key and
# none of its ordinals, no trace context, no stale setting or attachment (G1, G3, G11).

use strict;
use warnings;
use Digest::SHA qw(sha1);
use TodoEvents;
use TodoEvents::Load;
use TodoEvents::Pooler;
use Test::More;

plan skip_all => 'no pgbouncer' unless pooler_program();

my $node = todo_node('pooler', conf => TodoEvents::Load::settings());
my $pooler = pooler_start($node);
note("pgbouncer $pooler->{version}");
load_setup($node);
readers_setup($node);

# a client of the pooler; fails the test if the SQL does
sub sql
{
	my ($query, $connstr) = @_;
	my ($out, $err) = ('', '');
	my $good = PostgreSQL::Test::Utils::run_log(
		[ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $connstr // $pooler->{connstr}, '-f', '-' ], '<', \$query, '>', \$out, '2>', \$err);
	$good or fail($query) or diag($err);
	chomp $out;
	return $out;
}

# the same statements by many clients at once; returns when all have ended
sub clients
{
	my ($what, $script, @options) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/script';

	PostgreSQL::Test::Utils::append_to_file($file, $script);
	my $good = PostgreSQL::Test::Utils::run_log(
		[ 'pgbench', '-n', '-h', $pooler->{host}, '-p', $pooler->{port}, '-U', $ENV{PGUSER} // scalar getpwuid($>), '-f', $file, @options, 'postgres' ],
		'>', \my $out, '2>', \my $err);
	ok($good, $what) or diag($err);
	return;
}

# ---- a load, by each of the protocols; readers beside it --------------------------------------------

my @modes = ('extended', $pooler->{version} >= 1.021 ? 'prepared' : ());
if ($pooler->{version} >= 1.021)
{
	pooler_stop($pooler);
	$pooler = pooler_start($node, max_prepared_statements => 100);
}
$node->safe_psql('postgres', q{INSERT INTO place VALUES ('reader1', NULL)});
my $reader = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $pooler->{connstr}, '-c', q{CALL follow('reader1', 200)} ],
	'>', '/dev/null', '2>', \my $reader_errors);
load_finish(load_start($node, host => $pooler->{host}, port => $pooler->{port}, seconds => 2, clients => 12,
	scripts => { one => 30, hot => 30, many => 6, rollback => 6, savepoint => 8, async => 10, prepared => 4 }));
my $parameters = <<'END';
\set n random(1, 8)
BEGIN;
INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'of client ' || :client_id);
UPDATE tasks SET title = 'hot ' || :client_id || clock_timestamp() WHERE id = ('00000000-0000-4000-8000-00000000000' || :n)::uuid;
COMMIT;
END
# a thread a client: pgbench waits in PREPARE, and must not hold up those that have the connections
clients("with the protocol of $_ statements", $parameters, '-c', 10, '-j', 10, '-t', 20, '-M', $_) for @modes;
sql(q{INSERT INTO stop VALUES ('the load is over')});
ok($reader->finish, 'a reader has followed') or diag($reader_errors);
is(sql(q{SELECT count(DISTINCT pid) <= 3 FROM pg_stat_activity WHERE backend_type = 'client backend' AND client_addr IS NULL AND pid <> pg_backend_pid()}),
	't', 'all that by three server connections');
is(sql('SELECT todo_events.wait_for_delivery($$30 s$$)'), 't', 'wait_for_delivery()');
check_ledger($node, 'through the pooler');
check_delivery($node, name => 'through the pooler', duplicates => 0);
is(sql(q{SELECT count(*), count(DISTINCT id) FROM received WHERE reader = 'reader1'}), sql('SELECT count(*), count(*) FROM todo_events.outbox'),
	'and the reader has each event once');

# ---- SET LOCAL ends with its transaction ---------------------------------------------------------------

$node->safe_psql('postgres', <<'END');
CREATE TABLE refused (key text);
-- work under a key that others use as well: whoever comes second is refused
CREATE FUNCTION once(k text, n integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), 'key ' || k || ' ' || i FROM generate_series(1, n) i;
EXCEPTION WHEN SQLSTATE 'TE409' THEN
	INSERT INTO refused VALUES (k);
END $$;
END
clients('clients with keys, and clients without', <<'END', '-c', 10, '-t', 60);
\set k random(1, 200)
\set n random(1, 3)
\set c random(1, 3)
\set trace random(100000000, 999999999)
\if :c = 1
BEGIN;
SET LOCAL todo_events.idempotency_key = ':k';
SET LOCAL todo_events.traceparent = '00-0af7651916cd43dd8448eb2110000000-b7ad6b7:trace-01';
SELECT once(':k', :n);
COMMIT;
\elif :c = 2
INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'none');
\else
BEGIN;
SET LOCAL todo_events.idempotency_key = 'rolled back :client_id';
SET LOCAL todo_events.traceparent = '00-0af7651916cd43dd8448eb2110000000-b7ad6b7000000000-01';
SAVEPOINT s;
INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'rolled back');
ROLLBACK;
\endif
END
is(sql(q{SELECT count(*) FROM todo_events.outbox WHERE event->'data'->'payload'->'after'->>'title' = 'none'
	AND (event->>'traceparent' IS NOT NULL OR event->'data'->>'idempotency_key' <> event->>'id')}), '0', 'no key and no trace context leaks into another transaction');
is(sql(q{SELECT count(*) FROM todo_events.outbox WHERE event->'data'->>'idempotency_key' LIKE 'rolled back%'}), '0', 'nor what was rolled back');
is(sql(q{SELECT count(*) FROM (SELECT FROM todo_events.outbox WHERE event->'data'->'payload'->'after'->>'title' LIKE 'key %'
	GROUP BY event->'data'->>'idempotency_key' HAVING count(DISTINCT event->>'traceparent') <> 1
	OR bool_or(event->'data'->'payload'->'after'->>'title' NOT LIKE 'key ' || (event->'data'->>'idempotency_key') || ' %')) k}), '0',
	'each key was used by one transaction, with its own trace context');
cmp_ok(sql('SELECT count(*) FROM refused'), '>', 0, 'others were refused');
# the id is derived from the key, the task and the ordinal within the transaction, nothing before it
my $namespace = pack('H*', sql('SELECT todo_events_internal.database_id()') =~ s/-//gr);
my ($ids, $wrong) = (0, 0);
for (split /\n/, sql(q{SELECT event->'data'->>'idempotency_key', attachment, o.key, event->>'id', event->'data'->'payload'->'after'->>'title'
	FROM todo_events.outbox o JOIN todo_events_internal.log USING (id) WHERE event->'data'->'payload'->'after'->>'title' LIKE 'key %'}))
{
	my ($key, $attachment, $task, $id, $title) = split /\|/;
	my ($ordinal) = $title =~ /(\d+)$/;
	my @bytes = unpack('C16', sha1("$namespace$key|$attachment|$task|$ordinal"));
	$bytes[6] = $bytes[6] & 0x0f | 0x50;
	$bytes[8] = $bytes[8] & 0x3f | 0x80;
	$ids++;
	$wrong++ if join('', map { sprintf '%02x', $_ } @bytes) ne $id =~ s/-//gr;
}
check_ledger($node, 'with keys');
cmp_ok($ids, '>', 20, "$ids events with keys");
is($wrong, 0, 'their ordinals begin anew with each transaction');

# ---- caches of the one are not stale for the other -------------------------------------------------------

# keep the other connections busy, so that each client meets another one
sql('CREATE TABLE busy (id integer PRIMARY KEY, who text, n integer); INSERT INTO busy VALUES (0, $$u$$, 0), (1, $$u$$, 0)');
PostgreSQL::Test::Utils::append_to_file("$pooler->{dir}/busy", <<'END');
SELECT value FROM todo_events.settings WHERE name = 'truncate_limit';
UPDATE busy SET n = n + 1 WHERE id = :client_id;
END
my $busy = IPC::Run::start([ 'pgbench', '-n', '-h', $pooler->{host}, '-p', $pooler->{port}, '-U', $ENV{PGUSER} // scalar getpwuid($>),
	'-f', "$pooler->{dir}/busy", '-c', 2, '-T', 600, 'postgres' ], '>', '/dev/null', '2>&1');
my ($wrong_settings, $wrong_events) = (0, 0);
for my $round (1 .. 10)
{
	sql("SELECT todo_events.configure('truncate_limit', '$round')");
	$wrong_settings += sql(q{SELECT value FROM todo_events.settings WHERE name = 'truncate_limit'}) ne $round for 1 .. 3;
	sql("SELECT todo_events.attach('busy', user_key => 'who', name => 'busy $round')");
	my $from = sql('SELECT last_value FROM todo_events_internal.log_id');
	wait_for_sql($node, "round $round: events of the attached table", "SELECT count(*) > 3 FROM todo_events.outbox WHERE id > $from AND key LIKE 'busy $round/%'");
	sql("SELECT todo_events.detach('busy')");
	$from = sql('SELECT last_value FROM todo_events_internal.log_id');
	my $changed = sql('SELECT sum(n) FROM busy');
	wait_for_sql($node, "round $round: changes of the detached table", "SELECT sum(n) > $changed + 6 FROM busy");
	$wrong_events += sql("SELECT count(*) FROM todo_events.outbox WHERE id > $from AND key LIKE 'busy %'");
}
$busy->signal('TERM');
$busy->finish;
is($wrong_settings, 0, 'configure() holds for every connection at once');
is($wrong_events, 0, 'so does detach()');

# ---- the rest of what applications and their operators call -----------------------------------------------

my $cursor = sql('SELECT todo_events.cursor()');
my $topic = $node->{todo_topics}{'task-events'};
clients('publish()', "SELECT todo_events.publish('$topic', 'com.example.thing', '{\"client\": :client_id}', key => 'k:client_id');\n", '-c', 10, '-t', 20);
is(sql("SELECT count(*) FROM todo_events.read('$cursor', 1000)"), '200', 'read() from a cursor');
is(sql(qq{SELECT count(*) FROM (SELECT todo_events.read('$cursor', 10)) r}), '10', 'and a part of it');
is(sql(q{SELECT string_agg(DISTINCT level, ',') FROM todo_events.health()}), 'ok', 'health()');
is(sql(q{SELECT count(*) > 10 FROM todo_events.metrics()}), 't', 'metrics()');
is(sql(q{SELECT count(*) FROM todo_events.workers WHERE pid IS NULL}), '0', 'workers');
sql(qq{SELECT todo_events.create_topic('other', create_topic => false); INSERT INTO todo_events.route_config VALUES ('com.example.other', 'other');
	DELETE FROM todo_events.topic_config WHERE topic = 'other'});
is(sql("COPY todo_events.secret_input FROM STDIN;\nsasl_password=Tr0ub4dor\n\\.\nSELECT value FROM todo_events.settings WHERE name = 'sasl_password'"), '********', 'secret_input');
sql("COPY todo_events.secret_input FROM STDIN;\nsasl_password=\n\\.\n");
is(sql('SELECT todo_events.wait_for_delivery($$30 s$$)'), 't', 'wait_for_delivery()');
pooler_stop($pooler);

# ---- session mode resets by DISCARD ALL ----------------------------------------------------------------------

$pooler = pooler_start($node, pool_mode => 'session', default_pool_size => 2, server_reset_query => 'DISCARD ALL');
clients('session mode, with prepared statements', $parameters, '-c', 2, '-t', 50, '-M', 'prepared');
sql(q{SET todo_events.idempotency_key = 'of a session'; SET todo_events.traceparent = '00-0af7651916cd43dd8448eb2110000000-b7ad6b7000000000-01';
	INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'session')});
sql(q{INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'next')}) for 1 .. 4;
is(sql(q{SELECT string_agg(DISTINCT event->'data'->'payload'->'after'->>'title', ' ') FROM todo_events.outbox WHERE event->'data'->>'idempotency_key' = 'of a session'}),
	'session', 'session mode: what a session has set is gone with it');
check_delivery($node, name => 'in the end', duplicates => 0, where => 'true');

pooler_stop($pooler);
$node->stop('fast');
done_testing();
