# A loaded database, decoded with test_decoding, shows the application's tables and
# our configuration, and nothing else of ours: no event, no payload (TOASTed ones
# neither), no rotation, cursor, counter, dead letter, secret or idempotency key. And a
# publication FOR ALL TABLES stands in nobody's way (G11).

use strict;
use warnings;
use TodoEvents;
use TodoEvents::Load;
use Test::More;

my $node = todo_node(
	'decoding',
	init => [ allows_streaming => 'logical' ],
	conf => TodoEvents::Load::settings() . "todo_events.log_retention = 2s\ntodo_events.log_max_size = '16MB'\n");

sub sql { return $node->safe_psql('postgres', @_); }

load_setup($node);
# numbers in our counters, since this table has no column for them
sql(<<'END');
CREATE TABLE notes (id integer PRIMARY KEY, who text NOT NULL, body text);
SELECT todo_events.attach('notes', key => 'id', user_key => 'who', name => 'notes');
CREATE PUBLICATION everything FOR ALL TABLES;
SELECT pg_create_logical_replication_slot('decoder', 'test_decoding');
END
my $long = 'a payload that is stored out of line';

# ---- the load, with something of everything that is ours --------------------------

my $load = load_start($node, seconds => 4, clients => 8);
sql(<<"END");
INSERT INTO notes SELECT i, 'u' || i % 5, (SELECT string_agg(md5((i * j)::text), '$long') FROM generate_series(1, 300) j)
FROM generate_series(1, 200) i;
UPDATE notes SET who = 'u9' WHERE id <= 50;
DELETE FROM notes WHERE id > 150;
END
for my $i (1 .. 20)
{
	sql(<<"END");
BEGIN;
SET LOCAL todo_events.idempotency_key = 'key $i';
INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), '$long');
COMMIT;
END
}
# larger than the broker takes: a dead letter, redriven once
sql(q{INSERT INTO notes SELECT 1000, 'u1', string_agg(md5(random()::text), '') FROM generate_series(1, 70000)});
wait_for_sql($node, 'the broker refuses an event for good', 'SELECT count(*) > 0 FROM todo_events.dead_letters', 30);
sql('SELECT todo_events.redrive(min(id)) FROM todo_events.dead_letters');
load_finish($load);
wait_for_sql(
	$node, 'the log rotates',
	q{INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'wake up');
	  SELECT (SELECT last_value FROM todo_events_internal.log_floor) > 0}, 60);
sql('SELECT todo_events.publish((SELECT topic FROM todo_events.topic_config ORDER BY 1 LIMIT 1), $$com.example.thing$$, $${"a":1}$$)');
sql(q{SELECT todo_events.configure('source', 'decoded')});
sql(q{SELECT todo_events.create_topic('gone', create_topic => false); DELETE FROM todo_events.topic_config WHERE topic = 'gone'});
sql("COPY todo_events.secret_input FROM STDIN;\nsasl_password=Tr0ub4dor\n\\.\n");
sql(q{SELECT todo_events.purge_dead_letters('infinity')});
wait_for_delivery($node);
$node->stop('fast');
$node->start;

# ---- what the stream shows -----------------------------------------------------------

my %tables;
for (split /\n/, sql(<<'END'))
SELECT split_part(substr(data, 7), ':', 1), count(*)
FROM pg_logical_slot_get_changes('decoder', NULL, NULL, 'skip-empty-xacts', '1') WHERE data LIKE 'table %' GROUP BY 1 ORDER BY 1
END
{
	my ($table, $changes) = split /\|/;
	note("$table: $changes changes");
	$tables{$table} = $changes;
}
cmp_ok($tables{'public.tasks'}, '>', 100, 'the application\'s changes are there');
cmp_ok($tables{'public.ledger'}, '>', 100, 'all of them');
cmp_ok($tables{"todo_events.$_"}, '>', 0, "configuration is there: $_") for qw(setting_config topic_config default_removed);
my @ours = grep { /^todo_events/ && !/^todo_events\.(\w+_config|default_removed)$/ } sort keys %tables;
is("@ours", '', 'and nothing else of ours');
cmp_ok(sql('SELECT last_value FROM todo_events_internal.log_id'), '>', 100, 'although there were events');

$node->stop('fast');
done_testing();
