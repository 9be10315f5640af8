# A load of transactions of every kind on an attached table, and a ledger of what
# they really did: written by a trigger of the test's own in the same transaction,
# it says which events there must be, and knows nothing of the log.
#
#	use TodoEvents::Load;
#	load_setup($node);                        # tasks, ledger, hot tasks
#	my $load = load_start($node, seconds => 5, clients => 16);
#	...
#	load_finish($load);                       # waits for its end
#	check_ledger($node);                      # log against ledger
#
# Every kind is a pgbench script, chosen at random by weight.
package TodoEvents::Load;

use strict;
use warnings;
use Exporter 'import';
use IPC::Run ();
use Test::More;
use TodoEvents;

our @EXPORT = qw(load_setup load_start load_finish load_stop load_latencies load_resolve check_ledger ledger_against_topic
  psql_script psql_output readers_setup check_readers);

# tasks that all writers fight over
use constant HOT => 8;

my %script = (
	# one row
	one => <<'END',
INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'one');
END
	# the same task by everybody
	hot => <<'END',
\set n random(1, 8)
UPDATE tasks SET title = 'hot :client_id ' || clock_timestamp() WHERE id = '00000000-0000-4000-8000-00000000000:n';
END
	# many rows, and a task's whole life in one transaction
	many => <<'END',
\set n random(2, 40)
SELECT gen_random_uuid() AS task \gset
BEGIN;
INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), 'many' FROM generate_series(1, :n);
INSERT INTO tasks (id, user_id, title) VALUES (':task', gen_random_uuid(), 'short life');
UPDATE tasks SET status = 'completed' WHERE id = ':task';
UPDATE tasks SET status = 'pending', description = repeat('long ', 1000) WHERE id = ':task';
DELETE FROM tasks WHERE id = ':task';
COMMIT;
END
	# all of it taken back
	rollback => <<'END',
\set n random(1, 8)
\set m random(1, 20)
BEGIN;
INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), 'never' FROM generate_series(1, :m);
UPDATE tasks SET title = 'never' WHERE id = '00000000-0000-4000-8000-00000000000:n';
ROLLBACK;
END
	# part of it taken back
	savepoint => <<'END',
\set n random(1, 8)
BEGIN;
INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'before the savepoint');
SAVEPOINT a;
INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'never');
SAVEPOINT b;
UPDATE tasks SET title = 'never' WHERE id = '00000000-0000-4000-8000-00000000000:n';
ROLLBACK TO b;
INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'never, either');
ROLLBACK TO a;
SAVEPOINT c;
UPDATE tasks SET title = 'kept :client_id ' || clock_timestamp() WHERE id = '00000000-0000-4000-8000-00000000000:n';
RELEASE c;
COMMIT;
END
	# more subtransactions than a snapshot has room for
	overflow => <<'END',
\set take_back random(1, 3)
BEGIN;
SELECT load_subtransactions(80);
\sleep 50 ms
\if :take_back = 1
ROLLBACK;
\else
COMMIT;
\endif
END
	# decided later, by whoever
	prepared => <<'END',
\set take_back random(1, 3)
\set n random(1, 3)
\set ms random(1, 300)
BEGIN;
INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), 'prepared' FROM generate_series(1, :n);
PREPARE TRANSACTION 'load_:client_id';
\sleep :ms ms
\if :take_back = 1
ROLLBACK PREPARED 'load_:client_id';
\else
COMMIT PREPARED 'load_:client_id';
\endif
END
	# open for long, with nothing to do
	idle => <<'END',
\set ms random(100, 1500)
BEGIN;
INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'at the beginning');
\sleep :ms ms
INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'at the end');
COMMIT;
END
	# may be lost in a crash, and then was never there
	async => <<'END',
BEGIN;
SET LOCAL synchronous_commit = off;
INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'asynchronous');
COMMIT;
END
	# one row, as fast as it goes
	steady => <<'END',
INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'buy milk, bread, eggs');
END
);

my %weight = (
	one => 30, hot => 30, many => 6, rollback => 6, savepoint => 8, overflow => 1, prepared => 6,
	idle => 2, async => 10, steady => 0
);

# settings that the load needs
sub settings { return "max_prepared_transactions = 200\n"; }

# The standard tasks table, attached, in the node's database postgres.
sub load_setup
{
	my ($node, $database) = @_;

	$node->safe_psql($database // 'postgres', <<'END');
SELECT todo_events.create_tasks('public.tasks');

CREATE TABLE ledger (task uuid, sequence bigint, xid xid8 DEFAULT pg_current_xact_id());
CREATE FUNCTION note_in_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP = 'DELETE' THEN
		INSERT INTO ledger VALUES (OLD.id, OLD.sequence + 1);
	ELSE
		INSERT INTO ledger VALUES (NEW.id, NEW.sequence);
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER ledger AFTER INSERT OR UPDATE OR DELETE ON tasks
	FOR EACH ROW EXECUTE FUNCTION note_in_ledger();

-- n savepoints, each with an event; a third is taken back
CREATE FUNCTION load_subtransactions(n integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. n LOOP
		BEGIN
			INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'savepoint ' || i);
			IF i % 3 = 0 THEN
				RAISE EXCEPTION 'taken back';
			END IF;
		EXCEPTION WHEN raise_exception THEN
		END;
	END LOOP;
END $$;
END
	$node->safe_psql($database // 'postgres',
		    q{INSERT INTO tasks (id, user_id, title) SELECT ('00000000-0000-4000-8000-00000000000' || i)::uuid, }
		  . q{gen_random_uuid(), 'hot' FROM generate_series(1, } . HOT . q{) i});
	return;
}

# load_start(NODE, [option => value ...]): pgbench in the background.
#
#	seconds, clients	how long (default 5), how many at once (default 16)
#	transactions		so many a client instead of seconds
#	rate				transactions a second in all, instead of as fast as it goes
#	scripts				{ name => weight } in place of the usual mix
#	host, port			of a pooler in between
#	mode				of the protocol: simple (default), extended or prepared
#	log					keep each transaction's latency, for load_latencies()
sub load_start
{
	my ($node, %option) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my %use = %{ $option{scripts} // \%weight };
	my $seed = $ENV{TE_SEED} // int(rand(2**31));
	my @command = ("$TodoEvents::bindir/pgbench", '-n', '-h', $option{host} // $node->host, '-p', $option{port} // $node->port,
		'-U', $ENV{PGUSER} // scalar getpwuid($>), '-c', $option{clients} // 16, "--random-seed=$seed");

	push @command, $option{transactions} ? ('-t', $option{transactions}) : ('-T', $option{seconds} // 5);
	push @command, '-R', $option{rate} if $option{rate};
	push @command, '-M', $option{mode} if $option{mode};
	push @command, '-l', "--log-prefix=$dir/latency" if $option{log};
	for my $name (sort keys %use)
	{
		next unless $use{$name};
		PostgreSQL::Test::Utils::append_to_file("$dir/$name.sql", $script{$name});
		push @command, '-f', "$dir/$name.sql\@$use{$name}";
	}
	my %load = (node => $node, dir => $dir, seed => $seed);
	$load{run} = IPC::Run::start([ @command, $option{database} // 'postgres' ], '>', "$dir/out", '2>&1');
	return \%load;
}

# Waits for the end of a load, and decides what it left prepared (but for stopped => 1:
# the server is down). A load that was not cut off (cut => 1) must have ended well.
sub load_finish
{
	my ($load, %option) = @_;
	my $run = delete $load->{run} or return;
	my $good = $run->finish;

	unless ($option{cut})
	{
		ok($good, 'the load ended without an error') or diag("seed $load->{seed}\n" . PostgreSQL::Test::Utils::slurp_file("$load->{dir}/out"));
	}
	load_resolve($load->{node}) unless $option{stopped};
	return;
}

# Milliseconds that each transaction of a finished load took (with log => 1).
sub load_latencies
{
	my ($load) = @_;
	my @latencies;
	for my $file (glob "$load->{dir}/latency.*")
	{
		push @latencies, map { (split)[2] / 1000 } split /\n/, PostgreSQL::Test::Utils::slurp_file($file);
	}
	return @latencies;
}

# Ends a load before its time.
sub load_stop
{
	my ($load) = @_;
	my $run = $load->{run} or return;

	$run->signal('TERM');
	load_finish($load, cut => 1, stopped => 1);
	wait_for_sql($load->{node}, 'the load has left',
		q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'pgbench'});
	load_resolve($load->{node});
	return;
}

# Commits or takes back, at random, what is left prepared.
sub load_resolve
{
	my ($node) = @_;
	$node->safe_psql('postgres', <<'END');
SELECT format('%s PREPARED %L', CASE WHEN random() < 0.5 THEN 'COMMIT' ELSE 'ROLLBACK' END, gid)
FROM pg_prepared_xacts WHERE database = current_database() AND gid LIKE 'load%' \gexec
END
	return;
}

# The log holds the ledger's events, each once, and no other of a task.
sub check_ledger
{
	my ($node, $name) = @_;
	$name = $name ? "$name: " : '';
	my $result = $node->safe_psql('postgres', <<'END');
SELECT count(*) FILTER (WHERE l.task IS NOT NULL), count(*) FILTER (WHERE o.key IS NULL),
	count(*) FILTER (WHERE l.task IS NULL)
FROM ledger l FULL JOIN (SELECT key, sequence FROM todo_events.outbox WHERE sequence IS NOT NULL) o
	ON o.key = l.task::text AND o.sequence = l.sequence
END
	my ($all, $missing, $phantom) = split /\|/, $result;

	cmp_ok($all, '>', 0, "${name}the load made events: $all");
	is($missing, 0, "${name}every committed change is an event (G1)");
	is($phantom, 0, "${name}no event of what was not committed (G1)");
	return $all;
}

# ledger_against_topic(NODE, NAME): as check_delivery, but against the ledger: for
# logs of which rotation has taken the beginning away. Events without a uuid for a
# task are another table's. Returns the counts.
sub ledger_against_topic
{
	my ($node, $name, %option) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my @command = TodoEvents::consumer_command(TodoEvents::topic_name($node, 'task-events'), '--until-end');
	my $status = PostgreSQL::Test::Utils::run_log([@command], '>', "$dir/received", '2>', "$dir/log");

	$name = $name ? "$name: " : '';
	die "@command failed: " . PostgreSQL::Test::Utils::slurp_file("$dir/log") unless $status;
	my $result = $node->safe_psql('postgres', <<"END");
CREATE TEMP TABLE message (topic text, part int, "offset" bigint, key text, at bigint, event text);
\\copy message FROM '$dir/received' WITH (FORMAT csv, DELIMITER E'\\t', QUOTE E'\\x01')
CREATE TEMP TABLE received AS
SELECT part, "offset", (event::json->'data'->>'task_id')::uuid AS task,
	(event::json->'data'->>'sequence')::bigint AS sequence, event::json->>'id' AS id
FROM message WHERE event::json->'data'->>'task_id' ~ '^[0-9a-f-]{36}\$';
CREATE TEMP TABLE first AS
SELECT DISTINCT ON (task, sequence) * FROM received ORDER BY task, sequence, "offset";
SELECT 'lost: ' || l || ', task ' || COALESCE(t::text, '(deleted)') || ', in the log: ' || COALESCE(o::text, 'no')
FROM ledger l LEFT JOIN tasks t ON t.id = l.task LEFT JOIN todo_events.outbox o ON o.key = l.task::text AND o.sequence = l.sequence
WHERE NOT EXISTS (SELECT FROM first f WHERE f.task = l.task AND f.sequence = l.sequence) LIMIT 20;
SELECT (SELECT count(*) FROM ledger), (SELECT count(*) FROM received),
	(SELECT count(*) FROM ledger l WHERE NOT EXISTS (SELECT FROM first f WHERE f.task = l.task AND f.sequence = l.sequence)),
	(SELECT count(*) FROM first f WHERE NOT EXISTS (SELECT FROM ledger l WHERE f.task = l.task AND f.sequence = l.sequence)),
	(SELECT count(*) FROM (SELECT FROM received GROUP BY task, sequence HAVING count(DISTINCT id) > 1) d),
	(SELECT count(*) FROM (SELECT sequence < max(sequence) OVER (PARTITION BY task ORDER BY "offset") AS bad FROM first) o WHERE bad)
END
	my @lines = split /\n/, $result;
	my %is;
	@is{qw(ledger received lost phantom reidentified misordered)} = split /\|/, pop @lines;
	diag($_) for @lines;
	note($name . join ', ', map { "$_ $is{$_}" } sort keys %is);
	cmp_ok($is{ledger}, '>=', $option{at_least} // 1, "${name}changes were committed: $is{ledger}");
	is($is{lost}, 0, "${name}nothing committed is lost (G2)");
	is($is{phantom}, 0, "${name}nothing arrives that was not committed (G1)");
	is($is{reidentified}, 0, "${name}duplicates have the same id (G2)");
	is($is{misordered}, 0, "${name}a task's events arrive in order (G3)");
	return \%is;
}

# Runs SQL in the background by psql, from now on; returns the IPC::Run handle.
my %output;

sub psql_script
{
	my ($node, $sql) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/script.sql';

	# not by standard input: IPC::Run would feed it only while we wait for the end
	PostgreSQL::Test::Utils::append_to_file($file, $sql);
	my $run = IPC::Run::start(
		[ "$TodoEvents::bindir/psql", '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', $file ],
		'>', "$file.out", '2>', "$file.err");
	$output{$run} = $file;
	return $run;
}

# What such a script has written so far, errors and notices behind the rest.
sub psql_output
{
	my ($run) = @_;
	return join '', map { PostgreSQL::Test::Utils::slurp_file("$output{$run}.$_") } qw(out err);
}

# ---- readers ------------------------------------------------------------------

# Readers of the log by SQL. They are procedures, so that their place is committed
# together with what they got:
#
#	CALL follow(NAME, MOST)			reads on until there is a row in "stop", and then to the end
#	CALL take_listings(PREFIX)		takes listings with cursor() and reads on a little from each
#	CALL finish_listings()			reads on from all of them to the end
#
# and the view "verdict" compares what each got with what it should have got.
sub readers_setup
{
	my ($node) = @_;

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
$$ SELECT cursor !~ 'p' AND cursor ~ 'h' $$;

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

CREATE PROCEDURE finish_listings() LANGUAGE plpgsql AS $$
DECLARE
	which text;
BEGIN
	FOR which IN SELECT reader FROM listing LOOP
		WHILE read_on(which, 20000, false) > 0 LOOP
			COMMIT;
		END LOOP;
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
		SELECT reader, sequence < max(sequence) OVER (PARTITION BY reader, task ORDER BY n) AS bad
		-- what the listing had already may come at any time, if its cursor may repeat
		FROM once JOIN expected USING (reader, task, sequence)) o
	WHERE bad GROUP BY reader
)
SELECT reader, count(*) AS events, count(*) FILTER (WHERE lost) AS lost, count(*) FILTER (WHERE extra) AS extra,
	count(*) FILTER (WHERE times > 1) AS repeated, COALESCE(max(misordered), 0) AS misordered,
	max(p.resumed) AS resumed, bool_or(p.merged OR COALESCE(g.merged, false)) AS may_repeat, bool_or(g.reader IS NOT NULL) AS listing,
	count(*) FILTER (WHERE extra AND NOT EXISTS (SELECT FROM ledger)) AS unknown
FROM against JOIN place p USING (reader) LEFT JOIN listing g USING (reader) LEFT JOIN orders USING (reader)
GROUP BY reader;
END
	return;
}

# check_readers(NODE, READERS, [crash => 1]): the verdicts, one group of tests for each
# reader and one for all listings. A crash gives transaction ids out again, so that it
# cannot be told from a snapshot of before whether it saw what came after; and where rows
# are frozen, a reader may see one twice.
sub check_readers
{
	my ($node, $readers, %option) = @_;
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
		is($twice || 0, 0, "$who: nothing repeated by cursors that say all") unless $option{crash};
		is($overlap || 0, 0,
			$who eq 'listings' ? 'listings: nothing that the listing saw comes again' : "$who: nothing uncommitted (G1)")
		  unless $option{crash} && $who eq 'listings';
		is($misordered, 0, "$who: each task's events in order (G3)");
		cmp_ok($resumed, '>', 2, "$who: was resumed");
	}
	is(scalar(split /\n/, $verdicts), $readers + 1, 'all of them have read something');
	is( $node->safe_psql('postgres', q{SELECT count(*) FROM received r WHERE NOT EXISTS
		(SELECT FROM ledger l WHERE l.task::text = r.task AND l.sequence = r.sequence)}),
		0, 'nothing uncommitted was handed out (G1)');
	is( $node->safe_psql('postgres', q{SELECT count(*) FROM (SELECT FROM received GROUP BY task, sequence HAVING count(DISTINCT id) > 1) d}),
		0, 'an event has the same id whoever reads it (G2)');
	return;
}

1;
