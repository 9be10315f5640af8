# Topics and routes on a real broker, the connection, and what health says of them.
use strict;
use warnings;
use TodoEvents;
use PostgreSQL::Test::Utils;
use Test::More;

my $kafka = kafka();
my $node = todo_node('topics');
my $bootstrap = $kafka->{KAFKA_BOOTSTRAP};
my $raw_topic = "$TodoEvents::top/build/bench/raw_topic";
my $tables = $node->{todo_topics};

sub sql { return $node->safe_psql('postgres', @_); }

sub state_of { return sql("SELECT state FROM todo_events.topics WHERE topic = '$_[0]'"); }

# ---- created, with what was configured --------------------------------------

wait_for_sql($node, 'the default topics are created',
	"SELECT bool_and(state = 'created') FROM todo_events.topics");
is(sql("SELECT string_agg(broker_partitions::text, ' ' ORDER BY topic) FROM todo_events.topics"), '1 3 3',
	'with their partitions');
is(sql("SELECT bool_and(broker_retention = retention) FROM todo_events.topics"), 't', 'and retention');

# ---- one that differs ----------------------------------------------------------

my $other = unique_name('other');
PostgreSQL::Test::Utils::system_or_bail($raw_topic, 'create', $other, '--partitions', 2,
	'--config', 'retention.ms=60000', '-b', $bootstrap);
sql("SELECT todo_events.create_topic('$other', partitions => 5, retention => '1 hour')");
wait_for_sql($node, 'an existing topic is compared', "SELECT state = 'differs' FROM todo_events.topics WHERE topic = '$other'");
like(sql("SELECT difference FROM todo_events.topics WHERE topic = '$other'"), qr/partition.*retention/, 'in partitions and retention');
like(health_line($node, "topic:$other"), qr/^warning\|.*differs.*partition/, 'health tells');
sql("SELECT todo_events.publish('$other', 'com.example.x', '{}')");
wait_for_delivery($node);
is(scalar(topic_events($node, $other)), 1, 'it is published to all the same');
sql("UPDATE todo_events.topic_config SET partitions = 2, retention = '1 minute' WHERE topic = '$other'");
wait_for_sql($node, 'a corrected row is taken up at once', "SELECT state = 'ok' FROM todo_events.topics WHERE topic = '$other'");
is(health_line($node, "topic:$other"), '', 'and health is content');

# ---- routes ------------------------------------------------------------------------

sql(<<"END");
SELECT todo_events.create_topic('$other-all');
INSERT INTO todo_events.route_config VALUES ('com.example.audit.*', '$other-all'), ('com.example.single', '$other-all');
END
sql(<<"END");
SELECT todo_events.publish('$other', t, '{}', key => 'k')
FROM unnest('{com.example.audit.a,com.example.auditor,com.example.single,com.example.single.not}'::text[]) t
END
wait_for_delivery($node);
is(join(' ', sort map { $_->{type} } topic_events($node, "$other-all")), 'com.example.audit.a com.example.single',
	'a published event goes where its routes lead too');
is(scalar(topic_events($node, $other)), 5, 'and to its own topic once');
sql("DELETE FROM todo_events.route_config WHERE topic = '$other-all'");
sql("SELECT todo_events.publish('$other', 'com.example.single', '{}')");
wait_for_delivery($node);
is(scalar(topic_events($node, "$other-all")), 2, 'a removed route leads nowhere');

# built-in events: task.* to both topics, whatever the attachment's prefix
sql(<<'END');
CREATE TABLE things (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), owner uuid NOT NULL, title text);
SELECT todo_events.attach('things', key => 'id', user_key => 'owner', title => 'title', type_prefix => 'org.thing');
INSERT INTO things (owner, title) VALUES (gen_random_uuid(), 'a');
UPDATE things SET title = 'b';
END
wait_for_delivery($node);
for my $topic ('task-events', 'task-updates')
{
	my @events = topic_events($node, $topic);
	is(join(' ', map { $_->{type} } @events), 'org.thing.created org.thing.updated', "task.* leads to $topic");
	my $column = $topic eq 'task-updates' ? 'owner' : 'id';
	is($events[0]{message}{key}, sql("SELECT $column FROM things"), "$topic is keyed by $column");
}
sql("DELETE FROM todo_events.route_config WHERE pattern = 'task.*' AND topic = '$tables->{'task-updates'}'");
sql("INSERT INTO todo_events.route_config VALUES ('task.updated', '$tables->{reminders}')");
sql("UPDATE things SET title = 'c'");
sql("DELETE FROM things");
wait_for_delivery($node);
is(scalar(topic_events($node, 'task-updates')), 2, 'routes can be removed');
is(join(' ', map { $_->{type} } topic_events($node, 'reminders')), 'org.thing.updated', 'and added for one type of event');

# ---- another cluster ------------------------------------------------------------------

my $second = kafka_start();
my $before = -s $node->logfile;
$node->append_conf('postgresql.conf', "todo_events.brokers = '$second->{KAFKA_BOOTSTRAP}'");
$node->reload;
sql("SELECT todo_events.publish('$other', 'com.example.second', '{}')");
wait_for_sql($node, 'topics are created on the other cluster',
	"SELECT state = 'created' FROM todo_events.topics WHERE topic = '$other'");
wait_for_delivery($node);
my $received = `kcat -b $second->{KAFKA_BOOTSTRAP} -t $other -C -e -q`;
like($received, qr/^\{[^\n]*com\.example\.second[^\n]*\}\n$/, 'only what was not delivered goes to the new cluster');
my @lines = log_since($node, $before) =~ /brokers changed from "\Q$bootstrap\E" to "\Q$second->{KAFKA_BOOTSTRAP}\E"/g;
is(scalar @lines, 1, 'with one line in the log');

# a broker that is away: events wait, and arrive when it is back
kafka_control($second, 'kill');
sql("SELECT todo_events.publish('$other', 'com.example.away', '{}') FROM generate_series(1, 100)");
is(sql("SELECT todo_events.wait_for_delivery('100 ms')"), 'f', 'wait_for_delivery() gives up at its time');
is(sql("SELECT events_behind, exact, oldest_undelivered_at IS NOT NULL, age > '0' FROM todo_events.lag"), '100|t|t|t', 'the lag is told');
wait_for('health tells of the broker', sub { health_line($node, 'broker') =~ /^(warning|error)\|/ });
kafka_control($second, 'start');
wait_for_delivery($node, 60);
is(scalar(() = `kcat -b $second->{KAFKA_BOOTSTRAP} -t $other -C -e -q` =~ /com\.example\.away/g), 100, 'all arrive when it is back');
wait_for('health is content', sub { health_line($node, 'broker') eq '' });
is(sql("SELECT events_behind FROM todo_events.lag"), '0', 'nothing is behind');

# shutdown does not wait for a dead broker
kafka_control($second, 'freeze');
sql("SELECT todo_events.publish('$other', 'com.example.frozen', '{}') FROM generate_series(1, 1000)");
my $from = time;
$node->stop('fast');
cmp_ok(time - $from, '<=', 3, 'fast shutdown with a broker that does not answer');
kafka_control($second, 'thaw');
$node->start;
wait_for_delivery($node);
kafka_control($second, 'stop');

# ---- topics that cannot be created for now, and one that is given up --------------------

my $lonely = kafka_start('--set', 'default.replication.factor=3');
$node->append_conf('postgresql.conf', "todo_events.brokers = '$lonely->{KAFKA_BOOTSTRAP}'");
$node->reload;
sql("SELECT todo_events.create_topic('$other-never')");
sql("SELECT todo_events.publish('$other-never', 'com.example.never', '{}')");
wait_for('health tells why a topic is not created', sub {
	health_line($node, "topic:$other-never") =~ /^error\|.*replication factor.*\|Its events wait/ });
is(state_of("$other-never"), 'unknown', 'which is not the state of one whose events are refused');
is(sql("SELECT todo_events.wait_for_delivery('100 ms')"), 'f', 'its event waits');
sql("DELETE FROM todo_events.topic_config WHERE topic = '$other-never'");
ok(wait_for_delivery($node), 'the removal of the topic ends that');
is(sql("SELECT topic, code_name FROM todo_events.dead_letters WHERE type = 'com.example.never'"),
	"$other-never|todo_events.unknown_topic", 'with a dead letter');
is(health_line($node, "topic:$other-never"), '', 'and health speaks of the topic no more');
kafka_control($lonely, 'stop');

# ---- the wrong password, and the right one -----------------------------------------------

SKIP:
{
	skip 'this broker has no SASL listener', 4 unless $kafka->{KAFKA_SASL_BOOTSTRAP};
	my $password = PostgreSQL::Test::Utils::tempdir() . '/password';
	append_to_file($password, "wrong\n");
	$node->append_conf('postgresql.conf', <<"END");
todo_events.brokers = '$kafka->{KAFKA_SASL_BOOTSTRAP}'
todo_events.sasl_mechanism = 'SCRAM-SHA-256'
todo_events.sasl_username = '$kafka->{KAFKA_USER}'
todo_events.sasl_password_file = '$password'
todo_events.ca_file = '$kafka->{KAFKA_CA}'
END
	$before = -s $node->logfile;
	$node->reload;
	wait_for('a wrong password is told', sub { health_line($node, 'broker') =~ /^error\|.*\|/ });
	my $line = health_line($node, 'broker');
	like($line, qr/sasl|authenticat/i, 'as what it is');
	like($line, qr/todo_events\.sasl/, 'with the setting');
	unlike(log_since($node, $before) . $line, qr/wrong(?!ly)/, 'and without the password');

	# replaced in place: a reload is enough
	truncate $password, 0;
	append_to_file($password, "$kafka->{KAFKA_PASSWORD}\n");
	$node->reload;
	sql("SELECT todo_events.publish('$other', 'com.example.sasl', '{}')");
	wait_for_delivery($node);
	wait_for('health is content', sub { health_line($node, 'broker') eq '' });
	my @arrived = grep { $_->{type} eq 'com.example.sasl' } topic_events($node, $other);
	is(scalar @arrived, 1, 'the right password, over TLS');
}

$node->stop('fast');
done_testing();
