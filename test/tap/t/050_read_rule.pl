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

# Readers are procedures: their place is committed together with what they got.
$node->safe_psql('postgres', <<'END');
CREATE TABLE received (reader text, n bigint GENERATED ALWAYS AS IDENTITY, id text, task text, sequence bigint);
CREATE TABLE place (reader text PRIMARY KEY, cursor text, resumed bigint DEFAULT 0, merged boolean DEFAULT false);
-- snapshot: what the listing that came with the cursor saw
CREATE TABLE listing (reader text PRIMARY KEY, snapshot pg_snapshot, merged boolean);
CREATE TABLE stop (why text);

-- Does a cursor say less than its reader knew?  Where its ranges do not fit, they
-- are joined into holes ("h"), and inserters ("p") are forgotten: such a cursor may
-- repeat events, any other must not.
CREATE FUNCTION may_repeat(cursor text) RETURNS boolean LANGUAGE sql AS
$$ SELECT cursor !~ 'p' AND length(cursor) - length(replace(cursor, 'h', '')) >= 6 $$;

-- one read: up to "most" events, of which a random beginning is taken if "cut"
CREATE FUNCTION read_on(which text, most integer, cut boolean) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
	from_ text;
	got integer;
	taken integer;
	at text;
BEGIN
	SELECT cursor INTO from_ FROM place WHERE reader = which;
	WITH batch AS MATERIALIZED (
		SELECT * FROM todo_events.read(from_, most) WITH ORDINALITY AS b (cursor, event, n)
	), part AS MATERIALIZED (
		SELECT b.*, (SELECT CASE WHEN cut THEN ceil(random() * count(*)) ELSE count(*) END FROM batch) AS upto
		FROM batch b
	), kept AS (
		INSERT INTO received (reader, id, task, sequence)
		SELECT which, event::json->>'id', event::json->'data'->>'task_id', (event::json->'data'->>'sequence')::bigint
		FROM part WHERE n <= upto ORDER BY n
	)
	SELECT count(*), max(upto), max(cursor) FILTER (WHERE n = upto) INTO got, taken, at FROM part;
	IF got > 0 THEN
		IF length(at) > 200 THEN
			RAISE EXCEPTION 'cursor of % bytes', length(at);
		END IF;
		UPDATE place SET cursor = at, resumed = resumed + 1, merged = merged OR may_repeat(at) WHERE reader = which;
	END IF;
	RETURN COALESCE(taken, 0);
END $$;

-- read on until stopped, and then to the end
CREATE PROCEDURE follow(which text, most integer) LANGUAGE plpgsql AS $$
DECLARE
	ending boolean := false;
BEGIN
	LOOP
		IF read_on(which, 1 + (random() * most)::integer, NOT ending AND random() < 0.5) = 0 THEN
			COMMIT;
			EXIT WHEN ending;
			PERFORM pg_sleep(0.01);
		END IF;
		COMMIT;
		ending := ending OR EXISTS (SELECT FROM stop);
		COMMIT;
	END LOOP;
END $$;

CREATE FUNCTION begin_listing(which text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO place (reader, cursor) SELECT which, todo_events.cursor();
	INSERT INTO listing SELECT which, pg_current_snapshot(), may_repeat((SELECT cursor FROM place WHERE reader = which));
$$;

-- Listings, one after the other, alternately of one statement and of several in a
-- REPEATABLE READ transaction, in which others commit in between.
CREATE PROCEDURE take_listings(prefix text) LANGUAGE plpgsql AS $$
DECLARE
	which text;
	n integer := 0;
BEGIN
	WHILE NOT EXISTS (SELECT FROM stop) LOOP
		n := n + 1;
		which := prefix || n;
		IF n % 2 = 0 THEN
			COMMIT;
			SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
			INSERT INTO listing SELECT which, pg_current_snapshot();
			PERFORM pg_sleep(random() * 0.05);
			INSERT INTO place (reader, cursor) SELECT which, todo_events.cursor();
			UPDATE listing l SET merged = may_repeat(p.cursor) FROM place p WHERE p.reader = which AND l.reader = which;
		ELSE
			WITH one AS MATERIALIZED (SELECT todo_events.cursor() AS cursor, pg_current_snapshot() AS snapshot),
			placed AS (INSERT INTO place (reader, cursor) SELECT which, cursor FROM one)
			INSERT INTO listing SELECT which, snapshot, may_repeat(cursor) FROM one;
		END IF;
		COMMIT;
		PERFORM read_on(which, 50, true);
		COMMIT;
		PERFORM pg_sleep(0.15 + random() * 0.1);
	END LOOP;
END $$;

-- one row a reader: what it should have got against what it got
CREATE VIEW verdict AS
WITH expected AS (
	SELECT p.reader, l.task::text, l.sequence
	FROM place p LEFT JOIN listing g USING (reader) CROSS JOIN ledger l
	WHERE g.snapshot IS NULL OR NOT pg_visible_in_snapshot(l.xid, g.snapshot)
), once AS (
	SELECT reader, task, sequence, min(n) AS n, count(*) AS times FROM received GROUP BY reader, task, sequence
), against AS (
	SELECT COALESCE(e.reader, o.reader) AS reader, e.task IS NULL AS extra, o.task IS NULL AS lost, o.times
	FROM expected e FULL JOIN once o ON o.reader = e.reader AND o.task = e.task AND o.sequence = e.sequence
), orders AS (
	SELECT reader, count(*) AS misordered FROM (
		SELECT reader, sequence < max(sequence) OVER (PARTITION BY reader, task ORDER BY n) AS bad FROM once) o
	WHERE bad GROUP BY reader
)
SELECT reader, count(*) AS events, count(*) FILTER (WHERE lost) AS lost, count(*) FILTER (WHERE extra) AS extra,
	count(*) FILTER (WHERE times > 1) AS repeated, COALESCE(max(misordered), 0) AS misordered,
	max(p.resumed) AS resumed, bool_or(p.merged OR COALESCE(g.merged, false)) AS may_repeat, bool_or(g.reader IS NOT NULL) AS listing,
	count(*) FILTER (WHERE extra AND NOT EXISTS (SELECT FROM ledger)) AS unknown
FROM against JOIN place p USING (reader) LEFT JOIN listing g USING (reader) LEFT JOIN orders USING (reader)
GROUP BY reader;
END

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
$node->safe_psql('postgres', <<'END');
DO $$
DECLARE
	which text;
BEGIN
	FOR which IN SELECT reader FROM listing LOOP
		WHILE read_on(which, 20000, false) > 0 LOOP
		END LOOP;
	END LOOP;
END $$
END

check_ledger($node);
my $verdicts = $node->safe_psql('postgres', <<'END');
SELECT CASE WHEN listing THEN 'listings' ELSE reader END, count(*), sum(events), sum(lost), sum(extra),
	sum(repeated), sum(repeated) FILTER (WHERE NOT may_repeat), sum(extra) FILTER (WHERE NOT may_repeat),
	sum(misordered), sum(resumed), count(*) FILTER (WHERE may_repeat)
FROM verdict GROUP BY 1 ORDER BY 1
END
for (split /\n/, $verdicts)
{
	my ($who, $n, $events, $lost, $extra, $repeated, $twice, $overlap, $misordered, $resumed, $merged) = split /\|/;

	note("$who: $n, events $events, resumed $resumed, merged cursors in $merged, repeated $repeated, overlap $extra");
	is($lost, 0, "$who: nothing lost of $events events (G2)");
	is($twice || 0, 0, "$who: nothing repeated by cursors that say all");
	is($overlap || 0, 0, $who eq 'listings' ? 'listings: nothing that the listing saw comes again' : "$who: nothing uncommitted (G1)");
	is($misordered, 0, "$who: each task's events in order (G3)");
	cmp_ok($resumed, '>', 2, "$who: was resumed");
}
is(scalar(split /\n/, $verdicts), $readers + 1, 'all of them have read something');
is( $node->safe_psql('postgres', q{SELECT count(*) FROM received r WHERE NOT EXISTS
	(SELECT FROM ledger l WHERE l.task::text = r.task AND l.sequence = r.sequence)}),
	0, 'nothing uncommitted was handed out (G1)');
is( $node->safe_psql('postgres', q{SELECT count(*) FROM (SELECT FROM received GROUP BY task, sequence HAVING count(DISTINCT id) > 1) d}),
	0, 'an event has the same id whoever reads it (G2)');

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

for my $bad ('', 'x', 'te1.1.', 'te1.1.zz', 'te1.1.5h9-0-0', 'te1.1.5p1-1', 'te1..5', 'te1.1.' . 'f' x 17, 'te1.1.1' . 'h0-0-0' x 40)
{
	my ($out, $err);
	$node->psql('postgres', "\\set VERBOSITY verbose\nSELECT * FROM todo_events.read('$bad')", stdout => \$out, stderr => \$err);
	like($err, qr/ERROR:  22023: invalid cursor/, "refused as a cursor: '" . substr($bad, 0, 20) . "'");
}
my ($out, $err);
$node->psql('postgres', "\\set VERBOSITY verbose\nSELECT * FROM todo_events.read('te1.1.ffffffffff')", stdout => \$out, stderr => \$err);
like($err, qr/ERROR:  TE410: .*HINT/s, 'a cursor of another log: TE410, and what to do');

done_testing();
