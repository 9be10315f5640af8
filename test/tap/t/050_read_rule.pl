# The read rule by SQL alone: readers that go on from any cursor they were ever
# given lose nothing, see nothing uncommitted, and see each task's events in order
# (G1, G2, G3, G4), while transactions of every kind run; a listing taken with
# cursor() and what follows that cursor make a whole.
#
# What must arrive is known from a ledger that each transaction keeps itself
# (TodoEvents::Load); which of it a listing saw, from that listing's snapshot.
#
# TE_SECONDS: length of the load (default 5); TE_SEED repeats a load.

use strict;
use warnings;
use TodoEvents;
use TodoEvents::Load;
use Test::More;

my $seconds = $ENV{TE_SECONDS} // 5;
my $readers = 4;

my $node = todo_node('read_rule', brokers => '', topics => 0, conf => TodoEvents::Load::settings());
load_setup($node);

readers_setup($node);

# ---- while it happens ------------------------------------------------------------

my @running;
for my $i (1 .. $readers)
{
	$node->safe_psql('postgres', "INSERT INTO place VALUES ('reader$i', NULL)");
	push @running, psql_script($node, "CALL follow('reader$i', " . 10**$i . ')');
}
push @running, psql_script($node, "CALL take_listings('listing')");
my $load = load_start($node, seconds => $seconds, clients => 16);
load_finish($load);
$node->safe_psql('postgres', q{INSERT INTO stop VALUES ('the load has ended')});
ok($_->finish, 'a reader read to the end') for @running;
$node->safe_psql('postgres', 'CALL finish_listings()');

check_ledger($node);
check_readers($node, $readers);

# ---- many transactions open at once -------------------------------------------------

# 60 transactions prepared between events of others: more than a cursor has room for.
$node->safe_psql('postgres', <<'END');
TRUNCATE received, place, listing;
SELECT format('BEGIN; INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), %L FROM generate_series(1, 3); PREPARE TRANSACTION %L;
	INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), %L FROM generate_series(1, 20)',
	'prepared ' || i, 'load_' || i, 'between ' || i)
FROM generate_series(1, 60) i \gexec
SELECT begin_listing('many open');
END
# \gexec runs each line as one string, in which a PREPARE TRANSACTION ends the block
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'), 60, 'sixty transactions are prepared');
my ($length, $merged) = split /\|/, $node->safe_psql('postgres',
	q{SELECT length(cursor), may_repeat(cursor) FROM place});
cmp_ok($length, '<=', 200, "a cursor with sixty open ranges has $length bytes, at most 200");
is($merged, 't', 'and is merged');
for my $i (sort { ($a * 37) % 61 <=> ($b * 37) % 61 } 1 .. 60)
{
	$node->safe_psql('postgres',
		($i % 4 ? 'COMMIT' : 'ROLLBACK') . " PREPARED 'load_$i'");
	$node->safe_psql('postgres', q{SELECT read_on('many open', 7, true)}) if $i % 3 == 0;
}
$node->safe_psql('postgres', q{SELECT read_on('many open', 10000, false) FROM generate_series(1, 3)});
is( $node->safe_psql('postgres', q{SELECT lost, misordered FROM verdict}),
	'0|0', 'going on from merged cursors, nothing is lost');
is( $node->safe_psql('postgres', q{SELECT count(DISTINCT task) FROM received JOIN tasks t ON t.id::text = task WHERE t.title LIKE 'prepared%'}),
	45 * 3, 'what was committed later came later, each of it');

# A cursor of long ago, and one of the middle of a batch, still hold.
is( $node->safe_psql('postgres', <<'END'), 't', 'every cursor of a batch goes on exactly behind its event');
WITH batch AS MATERIALIZED (SELECT * FROM todo_events.read(NULL, 300) WITH ORDINALITY AS b (cursor, event, n))
SELECT bool_and((SELECT array_agg(r.event::jsonb->>'id' ORDER BY r.n) FROM todo_events.read(b.cursor, 5) WITH ORDINALITY AS r (cursor, event, n))
	= (SELECT array_agg(c.event::jsonb->>'id' ORDER BY c.n) FROM batch c WHERE c.n BETWEEN b.n + 1 AND b.n + 5))
FROM batch b WHERE b.n <= 295
END

# ---- its own transaction -----------------------------------------------------------

is( $node->safe_psql('postgres', <<'END'), "0\n1", 'a transaction does not read its own events; they come after its commit');
SELECT todo_events.cursor() AS here \gset
BEGIN;
INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'own');
SELECT todo_events.cursor() AS inside \gset
SELECT count(*) FROM todo_events.read(:'here');
COMMIT;
SELECT count(*) FROM todo_events.read(:'inside');
END

# ---- cursors that are none -----------------------------------------------------------

for my $bad ('', 'x', 'te1.1.', 'te1.1.5', 'te1.1.1.', 'te1.1.1.zz', 'te1.1.1.5h9-0-0', 'te1.1.1.5p1-1', 'te1..1.5', 'te1.1..5', 'te1.1.1.' . 'f' x 17, 'te1.1.1.1' . 'h0-0-0' x 40)
{
	my ($out, $err);
	$node->psql('postgres', "\\set VERBOSITY verbose\nSELECT * FROM todo_events.read('$bad')", stdout => \$out, stderr => \$err);
	like($err, qr/ERROR:  22023: invalid cursor/, "refused as a cursor: '" . substr($bad, 0, 20) . "'");
}
my ($out, $err);
$node->psql('postgres', "\\set VERBOSITY verbose\nSELECT * FROM todo_events.read('te1.1.1.ffffffffff')", stdout => \$out, stderr => \$err);
like($err, qr/ERROR:  TE410: .*HINT/s, 'a cursor of another log: TE410, and what to do');

done_testing();
