# Events that the broker, or we, refuse for good: dead letters, redrive, purge.
use strict;
use warnings;
use TodoEvents;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = todo_node('letters', conf => 'todo_events.log_max_size = 200MB');
my $topic = unique_name('letters');
my $small = unique_name('small');
my $raw_topic = "$TodoEvents::top/build/bench/raw_topic";
my $bootstrap = kafka()->{KAFKA_BOOTSTRAP};

sub sql { return $node->safe_psql('postgres', @_); }

sub refused
{
	my ($statement) = @_;
	my ($out, $err);
	isnt($node->psql('postgres', "\\set VERBOSITY verbose\n$statement", stdout => \$out, stderr => \$err),
		0, "refused: $statement");
	return $err;
}

# a topic that takes messages up to a few kB only: made by somebody else before us
PostgreSQL::Test::Utils::system_or_bail($raw_topic, 'create', $small, '--partitions', 1,
	'--config', 'max.message.bytes=4000', '-b', $bootstrap);
sql("SELECT todo_events.create_topic('$topic'); SELECT todo_events.create_topic('$small', 1, NULL)");
wait_for_sql($node, 'the limit of the topic on the broker is known',
	"SELECT broker_max_message_bytes = 4000 FROM todo_events.topics WHERE topic = '$small'");

# ---- larger than the broker takes ------------------------------------------------

my $huge = sql(<<"END");
BEGIN;
SELECT todo_events.publish('$topic', 'com.example.before', '{}', key => 'k');
SELECT todo_events.publish('$topic', 'com.example.huge', json_build_object('pad', repeat('x', 2000000)), key => 'k', user_id => 'u');
SELECT todo_events.publish('$topic', 'com.example.after', '{}', key => 'k');
COMMIT;
END
$huge = (split /\n/, $huge)[1];
ok(wait_for_delivery($node), 'a refused event counts as dealt with');
is(join(' ', map { $_->{type} } topic_events($node, $topic)), 'com.example.before com.example.after',
	'it blocks nothing: what comes after it arrives');
is(sql("SELECT topic, key, type, event_id, code_name, attempts >= 1, state, reader FROM todo_events.dead_letters"),
	"$topic|k|com.example.huge|$huge|MSG_SIZE_TOO_LARGE|t|waiting|publisher", 'it is a dead letter, with reason and attempts');
like(sql("SELECT reason FROM todo_events.dead_letters"), qr/max\.message\.bytes/, 'the reason names the limit');
is(sql("SELECT d.event = o.event::text FROM todo_events.dead_letters d, todo_events.outbox o WHERE o.id = d.log_id"),
	't', 'it holds the whole event');
like(health_line($node, 'dead_letters'), qr/^warning\|.*\Q$topic\E.*\|.*redrive/, 'health tells');
is(sql("SELECT value FROM todo_events.metrics() WHERE name = 'todo_events_messages_refused_total'"), '1', 'and metrics count');

# ---- redrive -----------------------------------------------------------------------

is(sql("SELECT todo_events.redrive(id) FROM todo_events.dead_letters"), '1', 'redrive of one');
wait_for_delivery($node);
is(sql("SELECT string_agg(state || ' ' || COALESCE(redrive_of::text, '-'), ', ' ORDER BY id) FROM todo_events.dead_letters"),
	'redriven -, waiting 1', 'refused again: another dead letter');

# on the small topic, many at once: order and ids are kept by a redrive to a larger one
sql(<<"END");
SELECT todo_events.publish('$small', 'com.example.mixed', json_build_object('n', i, 'pad', repeat('x', CASE WHEN i % 10 = 0 THEN 5000 ELSE 10 END)), key => 'k' || i % 3)
FROM generate_series(1, 3000) i
END
wait_for_delivery($node);
is(sql("SELECT count(*), count(DISTINCT event_id) FROM todo_events.dead_letters WHERE topic = '$small'"),
	'300|300', 'each refused message is one dead letter');
my @events = topic_events($node, $small);
is(scalar @events, 2700, 'all others arrived');
my (%last, $disorder);
for my $event (@events)
{
	my $key = $event->{message}{key};
	$disorder++ if $last{$key} && $last{$key} > $event->{data}{n};
	$last{$key} = $event->{data}{n};
}
ok(!$disorder, 'in order');

# killed between refusal and dead letter: no second dead letter for the same event
sql("SELECT todo_events.publish('$small', 'com.example.again', json_build_object('pad', repeat('x', 5000)), key => 'k') FROM generate_series(1, 50)");
for (1 .. 5)
{
	my $io = io_pid($node);
	kill 'KILL', $io if $io;
	wait_for('the I/O process is back', sub { my $now = io_pid($node); $now && $now ne $io });
}
wait_for_delivery($node);
is(sql("SELECT count(*), count(DISTINCT event_id) FROM todo_events.dead_letters WHERE type = 'com.example.again'"),
	'50|50', 'sent again after a crash, still one dead letter each');

# the broker's owner raises the limit
PostgreSQL::Test::Utils::system_or_bail($raw_topic, 'delete', $small, '-b', $bootstrap);
wait_for('the small topic is gone', sub { system("$raw_topic offsets $small -b $bootstrap >/dev/null 2>&1") != 0 });
PostgreSQL::Test::Utils::system_or_bail($raw_topic, 'create', $small, '--partitions', 1, '-b', $bootstrap);
# any change of its row has the broker asked again
sql("UPDATE todo_events.topic_config SET partitions = 1 WHERE topic = '$small'");
wait_for_sql($node, 'the new limit is known', "SELECT broker_max_message_bytes > 4000 FROM todo_events.topics WHERE topic = '$small'");
is(sql("SELECT todo_events.redrive('$small', '-infinity', '-infinity')"), '0', 'no dead letter is that old');
is(sql("SELECT todo_events.redrive('$small', rate => 100)"), '100', 'redrive by topic, with a rate');
is(sql("SELECT todo_events.redrive('$small', rate => 100)"), '0', 'which holds over calls');
wait_for('the rate lets the rest go', sub {
	sql("SELECT todo_events.redrive('$small', rate => 100)");
	return sql("SELECT count(*) FROM todo_events.dead_letters WHERE topic = '$small' AND state = 'waiting' AND redrive_of IS NULL") eq '0';
});
wait_for_delivery($node);
wait_for('redriven events have arrived', sub { scalar(topic_messages($node, $small)) >= 350 });
@events = topic_events($node, $small);
is(scalar @events, 350, 'every redriven event arrives, once');
is(sql("SELECT count(*) FROM todo_events.dead_letters WHERE state = 'waiting' AND topic = '$small'"), '0', 'none waits any more');
my %ids = map { $_->{id} => 1 } @events;
is(sql("SELECT string_agg(DISTINCT event_id, ',') IS NOT NULL AND count(*) = 350 FROM todo_events.dead_letters
	WHERE topic = '$small' AND event_id = ANY ('{" . join(',', keys %ids) . "}')"), 't', 'with their old ids');
my $headers = `kcat -b $bootstrap -t $small -C -e -q -f '%h\\n' | sort -u`;
is($headers, "content-type=application/cloudevents+json; charset=UTF-8\n", 'and as CloudEvents');

like(refused('SELECT todo_events.redrive(999999)'), qr/TE404/, 'no such dead letter');
like(refused("SELECT todo_events.redrive('nowhere')"), qr/TE404/, 'no such topic');
like(refused("SELECT todo_events.redrive('$small', rate => 0)"), qr/22023/, 'no rate');

# ---- a topic whose row has gone meanwhile -------------------------------------------

my $gone = unique_name('gone');
sql("SELECT todo_events.create_topic('$gone')");
my $writer = $node->background_psql('postgres');
$writer->query_safe("BEGIN; SELECT todo_events.publish('$gone', 'com.example.orphan', '{}', key => 'o')");
sql("BEGIN; DELETE FROM todo_events.topic_config WHERE topic = '$gone'; SELECT todo_events.create_topic('$gone-next'); COMMIT");
wait_for_sql($node, 'the engine has taken up the change', "SELECT state = 'created' FROM todo_events.topics WHERE topic = '$gone-next'");
$writer->query_safe('COMMIT');
$writer->quit;
wait_for_delivery($node);
is(sql("SELECT topic, key, code_name, state FROM todo_events.dead_letters WHERE type = 'com.example.orphan'"),
	"$gone|o|todo_events.unknown_topic|waiting", 'an event whose topic is not configured any more is a dead letter');
like(refused("SELECT todo_events.redrive(id) FROM todo_events.dead_letters WHERE type = 'com.example.orphan'"),
	qr/TE404/, 'and cannot be redriven to it');
sql("SELECT todo_events.create_topic('$gone')");
is(sql("SELECT todo_events.redrive('$gone')"), '1', 'until it is configured again');
wait_for_delivery($node);
is(scalar(topic_events($node, $gone)), 1, 'then it arrives');

# ---- a topic that may not be created ---------------------------------------------------

my $absent = unique_name('absent');
sql("SELECT todo_events.create_topic('$absent', create_topic => false)");
wait_for_sql($node, 'a missing topic is told', "SELECT state = 'missing' FROM todo_events.topics WHERE topic = '$absent'");
like(health_line($node, "topic:$absent"), qr/^error\|.*does not exist.*\|.*create_topic/, 'health names topic and cure');
sql("SELECT todo_events.publish('$absent', 'com.example.absent', '{}')");
wait_for_delivery($node);
is(sql("SELECT count(*) FROM todo_events.dead_letters WHERE topic = '$absent'"), '1', 'its events are dead letters');
sql("UPDATE todo_events.topic_config SET create_topic = true WHERE topic = '$absent'");
wait_for_sql($node, 'it is created as soon as it may be', "SELECT state = 'created' FROM todo_events.topics WHERE topic = '$absent'");
is(health_line($node, "topic:$absent"), '', 'and health is content');
is(sql("SELECT todo_events.redrive('$absent')"), '1', 'redrive');
wait_for_delivery($node);
is(scalar(topic_events($node, $absent)), 1, 'then its event arrives');

# ---- decoding shows none of it; purge ------------------------------------------------------

sql("ALTER SYSTEM SET wal_level = logical");
$node->restart;
sql("SELECT pg_create_logical_replication_slot('s', 'test_decoding')");
sql("SELECT todo_events.publish('$topic', 'com.example.huge', json_build_object('pad', repeat('x', 2000000)))");
wait_for_delivery($node);
sql("SELECT todo_events.redrive(max(id)) FROM todo_events.dead_letters");
wait_for_delivery($node);
my $kept = sql("SELECT max(at) FROM todo_events.dead_letters");
my $count = sql("SELECT count(*) FROM todo_events.dead_letters");
is(sql("SELECT todo_events.purge_dead_letters('$kept')"), $count - 1, 'purge forgets what is older');
is(sql("SELECT count(*), bool_and(length(event) > 2000000) FROM todo_events.dead_letters"), '1|t', 'and keeps the rest whole');
is(sql("SELECT data FROM pg_logical_slot_get_changes('s', NULL, NULL) WHERE data NOT SIMILAR TO '(BEGIN|COMMIT)%'"), '',
	'logical decoding sees nothing of log and dead letters');
is(sql("SELECT todo_events.purge_dead_letters(now())"), '1', 'purge all');
wait_for_sql($node, 'health is content again', "SELECT NOT EXISTS (SELECT FROM todo_events.health() WHERE component = 'dead_letters')");
sql("SELECT pg_drop_replication_slot('s')");

# ---- a purge that is not committed -------------------------------------------------------------

my $purger = $node->background_psql('postgres');
$purger->query_safe('BEGIN; SELECT todo_events.purge_dead_letters(now())');
sql("SELECT todo_events.publish('$topic', 'com.example.locked', json_build_object('pad', repeat('x', 2000000)))");
# has the engine look at the dead letters, too
sql("SELECT todo_events.create_topic('$topic-reload')");
sql("SELECT todo_events.publish('$topic', 'com.example.beside', '{}')");
wait_for('a purge that is not committed holds up no other event',
	sub { scalar grep { $_->{type} eq 'com.example.beside' } topic_events($node, $topic) });
wait_for('health tells what waits for it', sub { health_line($node, 'dead_letters') =~ /^warning\|.*locked.*\|.*purge/ });
is(health_line($node, 'worker:publisher'), '', 'it is no error of the publisher');
$purger->query_safe('ROLLBACK');
$purger->quit;
ok(wait_for_delivery($node), 'when it is over');
is(sql("SELECT count(*) FROM todo_events.dead_letters WHERE type = 'com.example.locked'"), '1', 'the dead letter is written');
like(health_line($node, 'dead_letters'), qr/refused for good/, 'and health tells of it');

# ---- an error while the dead letter is written ------------------------------------------------

sql("ALTER SYSTEM SET todo_events.inject = 'publisher_dead_letter=error\@1'");
$node->reload;
sql("SELECT todo_events.publish('$topic', 'com.example.injected', json_build_object('pad', repeat('x', 2000000)))");
wait_for_delivery($node);
is(sql("SELECT count(*) FROM todo_events.dead_letters WHERE type = 'com.example.injected'"), '1',
	'an error in writing it loses no dead letter');
ok($node->log_contains('injected error at "publisher_dead_letter"'), '(and there was one)');

$node->stop('fast');
done_testing();
