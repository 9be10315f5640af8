# The publisher on a real broker: publish(), order, counts, keys, delivery.
use strict;
use warnings;
use JSON::PP ();
use TodoEvents;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = todo_node('publisher');
my $orders = unique_name('orders');
my $users = unique_name('users');
my $bootstrap = kafka()->{KAFKA_BOOTSTRAP};

sub sql { return $node->safe_psql('postgres', @_); }

# stderr and SQLSTATE of a statement that has to fail
sub refused
{
	my ($statement) = @_;
	my ($out, $err);
	isnt($node->psql('postgres', "\\set VERBOSITY verbose\n$statement", stdout => \$out, stderr => \$err),
		0, "refused: $statement");
	return $err;
}

sql("SELECT todo_events.create_topic('$orders'); SELECT todo_events.create_topic('$users', key_by => 'user')");
wait_for_sql($node, 'both topics are created on the broker',
	"SELECT count(*) = 2 FROM todo_events.topics WHERE topic IN ('$orders', '$users') AND state = 'created'");

# ---- one event --------------------------------------------------------------

my $id = sql("SELECT todo_events.publish('$orders', 'com.example.thing', '{\"a\":  1}', key => 'k 1', user_id => 'u1')");
ok(wait_for_delivery($node), 'wait_for_delivery() returns when the broker has acknowledged');
my @events = topic_events($node, $orders);
is(scalar @events, 1, 'one event arrived');
is($events[0]{id}, $id, 'publish() returns the id of the CloudEvent');
is($events[0]{type}, 'com.example.thing', 'its type');
is($events[0]{source}, 'backend-api', 'its source');
is($events[0]{partitionkey}, 'k 1', 'its partition key');
is($events[0]{message}{key}, 'k 1', 'the Kafka key');
like($events[0]{message}{value}, qr/"data":\{"a":  1\}\}$/, 'data is the JSON as it was given');
my $headers = `kcat -b $bootstrap -t $orders -C -e -q -f '%h\\n'`;
like($headers, qr{^content-type=application/cloudevents\+json; charset=UTF-8$}m, 'structured mode: the content type is a header');
is(sql("SELECT event::text FROM todo_events.outbox"), $events[0]{message}{value}, 'the outbox shows the same event');

# ---- data and arguments --------------------------------------------------------

sql("SELECT todo_events.publish('$orders', 'com.example.jsonb', '{\"b\":2}'::jsonb, key => 'j'),
	todo_events.publish('$orders', 'com.example.json', '[3]'::json, key => 'j'),
	todo_events.publish('$orders', 'com.example.null', NULL, key => 'j')");
wait_for_delivery($node);
my %by_type = map { $_->{type} => $_ } topic_events($node, $orders);
is_deeply($by_type{'com.example.jsonb'}{data}, { b => 2 }, 'data of type jsonb');
is_deeply($by_type{'com.example.json'}{data}, [3], 'data of type json');
is($by_type{'com.example.null'}{data}, undef, 'no data is null');

like(refused("SELECT todo_events.publish('nowhere', 'com.example.x', '{}')"),
	qr/TE404: topic "nowhere" is not configured.*HINT:.*create_topic/s, 'unknown topic');
like(refused("SELECT todo_events.publish('$orders', 'com.example.x', '{\"a\":')"), qr/22P02/, 'data that is not JSON');
for my $prefix (qw(task reminder notification sync))
{
	like(refused("SELECT todo_events.publish('$orders', 'com.todo.$prefix.x', '{}')"), qr/42939/, "reserved prefix com.todo.$prefix");
}
like(refused("SELECT todo_events.publish('$orders', '', '{}')"), qr/22023/, 'empty type');
like(refused("SELECT todo_events.publish('$orders', repeat('x', 256), '{}')"), qr/22023/, 'type too long');
like(refused("SELECT todo_events.publish(NULL, 'com.example.x', '{}')"), qr/22004/, 'no topic');
like(refused("SELECT todo_events.publish('$orders', 'com.example.x', '{}', repeat('k', 1025))"), qr/22023/, 'key too long');

# ---- keys ------------------------------------------------------------------------

sql("SELECT todo_events.publish('$users', 'com.example.u', '{}', key => 'k', user_id => 'u');
	SELECT todo_events.publish('$users', 'com.example.u', '{}', key => 'k')");
wait_for_delivery($node);
is(join(',', sort map { $_->{key} } topic_messages($node, $users)), 'k,u', 'topic keyed by user: the user, else the key');

# ---- order and counts, with rollbacks and several writers ---------------------------

my $load = unique_name('load');
sql("SELECT todo_events.create_topic('$load')");
my $script = PostgreSQL::Test::Utils::tempdir() . '/load.sql';
append_to_file($script, <<"END");
\\set r random(1, 100)
\\set k random(1, 7)
BEGIN;
SELECT pg_advisory_xact_lock(:k);
SELECT todo_events.publish('$load', 'com.example.load', json_build_object('n', nextval('n')), key => 'key' || :k);
SAVEPOINT s;
SELECT todo_events.publish('$load', 'com.example.gone', '{}', key => 'key' || :k);
ROLLBACK TO s;
SELECT :r <= 10 AS undone \\gset
\\if :undone
ROLLBACK;
\\else
COMMIT;
\\endif
END
sql('CREATE SEQUENCE n');
$node->command_ok(['pgbench', '-n', '-c', 6, '-j', 2, '-t', 400, '-f', $script, 'postgres'], 'six writers, some rolled back');
my $is = check_delivery($node, topic => $load, where => "o.topic = '$load'", at_least => 2000, duplicates => 0, name => 'load');
my %last;
my $disorder = 0;
for my $event (topic_events($node, $load))
{
	my $key = $event->{message}{key};
	$disorder++ if defined $last{$key} && $last{$key} > $event->{data}{n};
	$last{$key} = $event->{data}{n};
}
is($disorder, 0, 'events of a key arrive in the order of their commits');
is(sql('SELECT events_behind, exact FROM todo_events.lag'), '0|t', 'nothing is behind');

# ---- wait_for_delivery -----------------------------------------------------------------

like(refused("BEGIN; SELECT todo_events.publish('$orders', 'com.example.x', '{}'); SELECT todo_events.wait_for_delivery()"),
	qr/25001/, 'wait_for_delivery() refuses to wait for its own transaction');
like(refused("SELECT todo_events.wait_for_delivery(NULL)"), qr/22004/, 'no timeout');
is(sql("BEGIN; SELECT 1; SELECT todo_events.wait_for_delivery('10 s')"), "1\nt", 'it may be called in a transaction that appended nothing');

# an open transaction delays its own events only
my $other = $node->background_psql('postgres');
$other->query_safe("BEGIN; SELECT todo_events.publish('$orders', 'com.example.open', '{}', key => 'o')");
sql("SELECT todo_events.publish('$orders', 'com.example.later', '{}', key => 'o')");
ok(wait_for_delivery($node, 10), 'an open transaction holds nothing else up');
%by_type = map { $_->{type} => $_ } topic_events($node, $orders);
ok($by_type{'com.example.later'}, 'a later event is there');
ok(!$by_type{'com.example.open'}, 'what has not committed is not');
$other->query_safe('COMMIT');
$other->quit;
wait_for_delivery($node);
%by_type = map { $_->{type} => $_ } topic_events($node, $orders);
ok($by_type{'com.example.open'}, 'and comes when it has committed');

# prepared: another backend commits it, and wakes the engine
sql("ALTER SYSTEM SET max_prepared_transactions = 5");
$node->restart;
sql("BEGIN; SELECT todo_events.publish('$orders', 'com.example.prepared', '{}'); PREPARE TRANSACTION 'p'");
ok(wait_for_delivery($node, 10), 'a prepared transaction holds nothing up');
sql("COMMIT PREPARED 'p'");
wait_for_delivery($node);
%by_type = map { $_->{type} => $_ } topic_events($node, $orders);
ok($by_type{'com.example.prepared'}, 'its events come when it is committed');

# ---- restarts repeat nothing that was settled; the cursor is saved -----------------------

$is = delivery($node, topic => $load, where => "o.topic = '$load'");
is($is->{duplicates}, 0, 'an orderly restart repeats nothing');
sql("SELECT todo_events.publish('$orders', 'com.example.before', '{}')");
wait_for_delivery($node);
$node->restart;
wait_for_delivery($node);
my @before = grep { $_->{type} eq 'com.example.before' } topic_events($node, $orders);
is(scalar @before, 1, 'a shutdown saves the cursor');

# idle: no WAL
wait_for_sql($node, 'the cursor is saved, and the server idle', <<'END');
SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()
	AND backend_type = 'todo_events engine')
END
my $lsn = sub { sql('SELECT pg_current_wal_insert_lsn()') };
# a checkpoint and the standby snapshot are the server's own; so ask for its quiet first
sql('CHECKPOINT');
my $quiet;
wait_for('WAL stands still for two seconds', sub {
	my $from = $lsn->();
	sql('SELECT pg_sleep(2)');
	$quiet = $lsn->() eq $from;
});
ok($quiet, 'an idle publisher writes no WAL (G10)');

# ---- the I/O process dies ------------------------------------------------------------------

for my $round (1 .. 3)
{
	$node->command_ok(['pgbench', '-n', '-c', 4, '-j', 2, '-t', 100, '-f', $script, 'postgres'], "round $round: writers");
	kill 'KILL', io_pid($node);
}
check_delivery($node, topic => $load, where => "o.topic = '$load'", name => 'I/O process killed');

# ---- another extension is another log -------------------------------------------------------

my $again = unique_name('again');
my $engine = engine_pid($node);
sql("SELECT todo_events.publish('$load', 'com.example.last', '{}') FROM generate_series(1, 100)");
sql("DROP EXTENSION todo_events; CREATE EXTENSION todo_events; SELECT todo_events.create_topic('$again');
	SELECT todo_events.publish('$again', 'com.example.first', '{}')");
wait_for_sql($node, 'the engine of the new extension runs',
	"SELECT pid <> $engine FROM todo_events.workers WHERE role = 'engine' AND state = 'running' AND database = current_database()");
wait_for_delivery($node);
is(scalar(topic_events($node, $again)), 1, 'the new log is published from its beginning');
is(sql('SELECT high >= 1 AND high <= log_end FROM todo_events.lag'), 't', 'and the lag is its own');

# ---- nothing to deliver to -------------------------------------------------------------------

$node->append_conf('postgresql.conf', "todo_events.brokers = ''");
$node->reload;
wait_for_sql($node, 'the publisher has ended', "SELECT state <> 'running' FROM todo_events.workers WHERE role = 'publisher'");
like(refused('SELECT todo_events.wait_for_delivery()'), qr/TE002/, 'no brokers, nothing to wait for');
is(sql("SELECT count(*) FROM todo_events.lag"), '0', 'and no lag');

$node->stop('fast');
done_testing();
