# Transactions held open under load: one with a snapshot, one with events, one
# prepared. All others' events go out as before (G4), no tuple of ours is dead, and
# the persisted cursors stay small. Prints the latencies of the others' commits
# without and with them.
#
# TE_SECONDS: length of each half (default 6; test/chaos/held.t has 60)

use strict;
use warnings;
use TodoEvents;
use TodoEvents::Load;
use Test::More;
use Time::HiRes qw(time);

my $seconds = $ENV{TE_SECONDS} // 6;
my $rate = $ENV{TE_RATE} // 300;

my $node = todo_node('held', conf => TodoEvents::Load::settings());
sub sql { return $node->safe_psql('postgres', @_); }
load_setup($node);

# how long it takes until the broker has acknowledged all that is committed, again and
# again while the load runs; with the start of a psql
sub deliveries
{
	my $until = time + $seconds - 0.5;
	my @took;
	while (time < $until)
	{
		my $at = time;
		wait_for_delivery($node, 10);
		push @took, 1000 * (time - $at);
	}
	return @took;
}

sub quantile
{
	my ($q, @values) = @_;
	@values = sort { $a <=> $b } @values;
	return $values[ int($q * $#values) ];
}

# one half: writers at a fixed rate, one row a transaction
sub half
{
	my ($name) = @_;
	my $load = load_start($node, seconds => $seconds, clients => 8, rate => $rate, scripts => { steady => 1 }, log => 1);
	my @delivery = deliveries();
	load_finish($load);
	my @commit = load_latencies($load);
	cmp_ok(scalar @commit, '>', $seconds * $rate * 0.7, "$name: the writers keep their rate, " . @commit . ' transactions');
	note(sprintf('%s: commit p50 %.2f ms, p99 %.2f ms; wait_for_delivery() p50 %.1f ms, p99 %.1f ms',
		$name, quantile(0.5, @commit), quantile(0.99, @commit), quantile(0.5, @delivery), quantile(0.99, @delivery)));
	return (quantile(0.5, @commit), quantile(0.5, @delivery));
}

my ($commit, $delivery) = half('nothing held');

my $snapshot = $node->background_psql('postgres');
$snapshot->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
$snapshot->query_safe('SELECT count(*) FROM tasks');
my $writer = $node->background_psql('postgres');
$writer->query_safe('BEGIN');
$writer->query_safe(q{INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'held')});
sql(q{BEGIN; INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'held, prepared'); PREPARE TRANSACTION 'held'});
my $log_end = sql('SELECT log_end FROM todo_events.lag');

my ($held_commit, $held_delivery) = half('three transactions held');
note(sprintf('ratio of the medians: commit %.2f, delivery %.2f', $held_commit / $commit, $held_delivery / $delivery));

cmp_ok(sql('SELECT log_end FROM todo_events.lag'), '>', $log_end + $seconds * $rate * 0.7, 'others went on');
is(scalar(grep { $_->{data}{payload}{after}{title} =~ /held/ } topic_events($node)), 0, 'of what is held, nothing has been sent (G1)');

# ---- no bloat ------------------------------------------------------------------------

sql('SELECT pg_stat_force_next_flush()');
my $dead = q{SELECT sum(n_dead_tup), sum(n_tup_upd), sum(n_tup_del), sum(n_tup_ins) > 0 FROM pg_stat_user_tables WHERE schemaname = 'todo_events_internal'};
is(sql($dead), '0|0|0|t', 'no row of ours is dead, updated or deleted');
SKIP:
{
	my $available = sql(q{SELECT count(*) FROM pg_available_extensions WHERE name = 'pgstattuple'});
	skip 'pgstattuple is not installed', 1 unless $available;
	sql('CREATE EXTENSION pgstattuple');
	is( sql(q{SELECT sum((pgstattuple(c.oid)).dead_tuple_count) FROM pg_class c
		WHERE c.relnamespace = 'todo_events_internal'::regnamespace AND c.relkind = 'r'}),
		0, 'nor does a page hold a dead one');
}
my $cursors = sql(q{SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('todo_events_internal.cursor') WHERE isleaf});
cmp_ok($cursors, '<', 512 * 1024, "persisted cursors take $cursors bytes");
cmp_ok(sql('SELECT max(length(mark)) FROM todo_events_internal.cursor'), '<=', 1000, 'and each at most a kilobyte');

$writer->query_safe('COMMIT');
sql(q{COMMIT PREPARED 'held'});
$snapshot->query_safe('COMMIT');
$_->quit for $writer, $snapshot;
check_delivery($node, name => 'when they have ended', at_least => 2 * $seconds * $rate * 0.7, duplicates => 0);
is(scalar(grep { $_->{data}{payload}{after}{title} =~ /held/ } topic_events($node)), 2, 'what was held has come (G2)');

$node->stop('fast');
done_testing();
