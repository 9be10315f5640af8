# Rotation of the event log, under load and with the publisher at work: segments go
# when they are past log_retention and everything in them is delivered, never before;
# whoever holds a lock on them only puts it off; the three policies of a full log.
# (G1, G2, G3, G4; nothing lost but what drop_oldest owns up to)

use strict;
use warnings;
use TodoEvents;
use TodoEvents::Load;
use Test::More;

my $node = todo_node(
	'rotation',
	init => [ allows_streaming => 1 ],
	conf => TodoEvents::Load::settings() . <<'END');
todo_events.log_retention = 1s
todo_events.log_max_size = '10GB'
todo_events.log_full = grow
todo_events.inject = ''
END

sub sql { return $node->safe_psql('postgres', @_); }
sub floor { return sql('SELECT last_value FROM todo_events_internal.log_floor'); }
sub log_size
{
	return sql(q{SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('todo_events_internal.log') WHERE isleaf});
}

# fails with that SQLSTATE; returns the message
sub refused
{
	my ($state, $query, $what) = @_;
	my ($out, $err);
	$node->psql('postgres', "\\set VERBOSITY verbose\n$query", stdout => \$out, stderr => \$err);
	like($err, qr/ERROR:  $state:/, $what);
	return $err;
}

sub set
{
	my ($name, $value) = @_;
	$node->adjust_conf('postgresql.conf', "todo_events.$name", "'$value'");
	$node->reload;
	wait_for_sql($node, "$name = $value is in force",
		"SELECT current_setting('todo_events.$name') = (SELECT setting FROM pg_file_settings WHERE name = 'todo_events.$name' AND applied)");
	return;
}

# ---- under load ---------------------------------------------------------------------

load_setup($node);
my $early = sql('SELECT todo_events.cursor()');
my $load = load_start($node, seconds => 3600, clients => 12, rate => 300);
wait_for('segments are emptied under load', sub { floor() > 500 });

# a session that has looked at the log, as pg_dump or a long report has
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN');
$holder->query_safe('SELECT count(*) FROM todo_events.outbox');
my $held = floor();
my $changes = sql('SELECT count(*) FROM ledger');
wait_for('writers go on while the log is held', sub { sql('SELECT count(*) FROM ledger') > $changes + 1500 });
cmp_ok(floor(), '<=', $held, 'nothing is emptied while somebody reads it');
$holder->query_safe('COMMIT');
$holder->quit;
wait_for('and again when nobody does', sub { sql(q{SELECT todo_events.maintain()}); floor() > $held });

$node->command_ok([ 'pg_dump', '-f', PostgreSQL::Test::Utils::tempdir() . '/dump', 'postgres' ], 'pg_dump in the middle of it');

# a transaction that is still open keeps the segment that it has written to
my $open = $node->background_psql('postgres');
$open->query_safe('BEGIN');
$open->query_safe(q{INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'open for long')});
$changes = sql('SELECT count(*) FROM ledger');
wait_for('writers go on', sub { sql('SELECT count(*) FROM ledger') > $changes + 1500 });
$open->query_safe('COMMIT');
$open->quit;

load_stop($load);
wait_for_delivery($node);
ledger_against_topic($node, 'rotation under load', at_least => 3000);
cmp_ok(floor(), '>', 0, 'the log has been emptied up to id ' . floor());
refused('TE410', "SELECT * FROM todo_events.read('$early')", 'a cursor of before is gone, and says so');

# ---- what is rings of ours stays small ---------------------------------------------------

sub ring_size
{
	return sql("SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('todo_events_internal.$_[0]') WHERE isleaf");
}
sub register { return sql("SELECT last_value FROM todo_events_internal.$_[0]_segment"); }

my $cursors = ring_size('cursor');
cmp_ok($cursors, '<', 1024 * 1024, "persisted cursors take $cursors bytes");

# as many saves as hours of load make
my $latest = q{SELECT mark FROM todo_events_internal.cursor WHERE reader = 'publisher' ORDER BY number DESC LIMIT 1};
# nothing is open any more ("p", "h"), and it will not write another
wait_for_sql($node, 'the publisher has saved its last cursor', "SELECT ($latest) !~ '[hp]'");
my $at = register('cursor');
for my $turn (1 .. 3)
{
	sql(<<"END");
INSERT INTO todo_events_internal.cursor
SELECT nextval('todo_events_internal.cursor_number'), 'publisher', ($latest), now(),
	(SELECT last_value % 2 FROM todo_events_internal.cursor_segment)
FROM generate_series(1, 5000);
END
	my $mark = sql($latest);
	wait_for("turn $turn: the ring of cursors turns, and the former segment is emptied",
		sub { sql('SELECT todo_events.maintain()'); register('cursor') >= $at + $turn && ring_size('cursor') < 256 * 1024 });
	is(sql($latest), $mark, "turn $turn: the latest cursor is carried along");
}
$at = register('idempotency');
for my $turn (1 .. 4)
{
	sql(q{DO $$ BEGIN FOR i IN 1 .. 2000 LOOP
		PERFORM set_config('todo_events.idempotency_key', 'turn } . $turn . q{, key ' || i, true);
		INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'keyed');
		END LOOP; END $$});
	wait_for("turn $turn: the ring of idempotency keys turns", sub { sql('SELECT todo_events.maintain()'); register('idempotency') >= $at + $turn });
}
wait_for('idempotency keys past the retention are gone', sub { sql('SELECT todo_events.maintain()'); ring_size('idempotency') < 768 * 1024 });
for my $i (1 .. 3)
{
	sql("BEGIN; SET LOCAL todo_events.idempotency_key = 'k$i'; INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'once'); COMMIT");
}
refused('TE409', q{BEGIN; SET LOCAL todo_events.idempotency_key = 'k1'; INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'again'); COMMIT},
	'a key is refused within the retention');
wait_for('and free after it', sub {
	$node->psql('postgres', q{BEGIN; SET LOCAL todo_events.idempotency_key = 'k1'; INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'later'); COMMIT}) == 0;
});
refused('25001', 'BEGIN; SELECT todo_events.maintain(); COMMIT', 'maintain() does not hold its locks for long');

# ---- nothing goes that is not delivered ----------------------------------------------------

wait_for_delivery($node);
my $nowhere = '127.0.0.1:1';
my $brokers = $ENV{KAFKA_BOOTSTRAP};
sql("SELECT todo_events.configure('brokers', NULL)");
set('brokers', $nowhere);
my $from = sql('SELECT max(id) FROM todo_events.outbox');
$from = sql('SELECT last_value FROM todo_events_internal.log_id') if $from eq '';
$load = load_start($node, seconds => 3600, clients => 8, rate => 500, scripts => { many => 1 });
wait_for('the log grows by more than 4 MB', sub { log_size() > 4 * 1024 * 1024 });
load_stop($load);
my $pid = engine_pid($node);
cmp_ok(floor(), '<=', $from, 'what nobody has got yet is kept, past its retention');
sql('CREATE TABLE seen AS SELECT id, key::uuid AS task, sequence FROM todo_events.outbox WHERE id > ' . $from);

# ---- refuse_writes -----------------------------------------------------------------------------

set('log_max_size', '2MB');
like(health_line($node, 'log'), qr/./, 'health tells of a log that has reached its size')
  if wait_for('health looks', sub {
	sql(q{INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'beyond the limit')});
	health_line($node, 'log') ne '';
  });
set('log_full', 'refuse_writes');
my $message = refused('TE507', q{INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'one too many')},
	'log_full = refuse_writes refuses');
like($message, qr/log_max_size.*HINT:.*log_full/s, 'and names the settings');
set('log_full', 'grow');
sql(q{INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'grow goes on')});

# ---- drop_oldest --------------------------------------------------------------------------------

sql('INSERT INTO seen SELECT id, key::uuid, sequence FROM todo_events.outbox o WHERE id > (SELECT max(id) FROM seen)');
set('log_full', 'drop_oldest');
wait_for(
	'the oldest events are dropped until the log is small enough',
	sub {
		sql(q{SELECT todo_events.maintain()});
		log_size() < 2 * 1024 * 1024;
	});
my $letters = sql(q{SELECT count(*), bool_and(reader = 'publisher' AND state = 'lost' AND last_log_id >= log_id) FROM todo_events.dead_letters WHERE code_name = 'todo_events.dropped'});
like($letters, qr/^[1-9]\d*\|t$/, 'a dead letter for each range that was dropped');
is(sql(q{SELECT count(*) FROM (SELECT int8range(log_id, last_log_id, '[]') && lag(int8range(log_id, last_log_id, '[]')) OVER (ORDER BY log_id) AS twice
	FROM todo_events.dead_letters WHERE code_name = 'todo_events.dropped') d WHERE twice}), 0, 'no event is in two of them');
set('log_full', 'grow');
set('brokers', $brokers);
wait_for_delivery($node);
sql('INSERT INTO seen SELECT id, key::uuid, sequence FROM todo_events.outbox o WHERE id > (SELECT max(id) FROM seen)');

my @received = map { "$_->{data}{task_id} $_->{data}{sequence}" } topic_events($node);
my $file = PostgreSQL::Test::Utils::tempdir() . '/received';
PostgreSQL::Test::Utils::append_to_file($file, join("\n", @received) . "\n");
my ($total, $lost, $owned) = split /\|/, (split /\n/, sql(<<"END"))[-1];
CREATE TABLE arrived (task uuid, sequence bigint);
\\copy arrived FROM '$file' WITH (DELIMITER ' ')
SELECT count(*), count(*) FILTER (WHERE a.task IS NULL AND d.id IS NULL), count(*) FILTER (WHERE d.id IS NOT NULL AND a.task IS NULL)
FROM seen s LEFT JOIN (SELECT DISTINCT * FROM arrived) a USING (task, sequence)
LEFT JOIN todo_events.dead_letters d ON s.id BETWEEN d.log_id AND d.last_log_id
END
cmp_ok($owned, '>', 0, "$owned of $total events were dropped");
is($lost, 0, 'every other event has arrived: the dead letters name what is lost, and nothing else is');

$node->stop('fast');
done_testing();
