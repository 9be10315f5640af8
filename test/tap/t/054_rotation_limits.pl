# What rotation goes by: the age of a segment's newest event wherever it lies, a floor that
# follows the commit, and the size of large payloads too.  No engine: maintain() alone. (G1, G2)

use strict;
use warnings;
use TodoEvents;
use Test::More;

my $node = todo_node('rotation_limits', brokers => '', topics => 0, conf => <<'END');
shared_preload_libraries = ''
autovacuum = off
END

sub sql { return $node->safe_psql('postgres', @_); }
sub floor { return sql('SELECT last_value FROM todo_events_internal.log_floor'); }

# random text is not compressed: $bytes is what it takes
sub publish
{
	my ($name, $bytes) = @_;
	return qq{SELECT todo_events.publish('task-events', 'com.example.$name', to_json((SELECT left(string_agg(md5(random()::text), ''), $bytes) FROM generate_series(0, $bytes / 32))))};
}

# as if it were that much later
sub later { return "SET todo_events.clock_offset = '$_[0]';\n"; }

# ---- the newest event of a segment need not lie on its last page -----------------------------

my $early = $node->background_psql('postgres');
$early->query_safe(publish('early', 32));
sql(publish('filler', 1700)) for 1 .. 5;
$early->query_safe(later('3h'));
$early->query_safe(publish('late', 32));
$early->quit;
is(sql(q{SELECT string_agg(split_part(ctid::text, ',', 1), ' ' ORDER BY id) FROM todo_events_internal.log}),
	'(0 (0 (0 (0 (0 (1 (0', 'the newest event is not on the last page');

my $read = q{SELECT event::json->>'type' FROM todo_events.read(NULL) WHERE event LIKE '%com.example.late%'};
sql(later('24h') . 'SELECT todo_events.maintain();') for 1 .. 2;
is(sql('SELECT last_value FROM todo_events_internal.log_segment'), 1, 'the segment is no longer written to');
sql(later('25h') . 'SELECT todo_events.maintain();');
is(sql($read), 'com.example.late', 'an event of 22 hours is kept for its day');

# ---- the floor follows the commit -------------------------------------------------------------

my $failed = $node->psql('postgres', later('28h') . 'SELECT 1 / (0 * todo_events.maintain());');
is($failed, 3, 'a maintain() that is rolled back');
is(floor(), 0, 'has not raised the floor');
is(sql($read), 'com.example.late', 'and hides nothing from a reader');
is(sql(later('28h') . 'SELECT todo_events.maintain();'), 1, 'one that commits empties the segment');
is(floor(), 7, 'and raises it');
is(sql($read), '', 'the event has gone');

# ---- large payloads, which lie beside the rows, count ------------------------------------------

$node->append_conf('postgresql.conf', "todo_events.log_max_size = '16MB'\ntodo_events.log_full = drop_oldest\n");
$node->restart;
for (1 .. 40)
{
	sql(publish('large', 1024 * 1024));
	sql('SELECT todo_events.maintain()') for 1 .. 2;
}
my $size = sql(q{SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('todo_events_internal.log') WHERE isleaf});
cmp_ok($size, '<', 20 * 1024 * 1024, 'drop_oldest keeps a log of large payloads at its size');

$node->stop('fast');
done_testing();
