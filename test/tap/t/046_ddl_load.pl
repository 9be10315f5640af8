# DDL on attached tables under load (G11): columns come and go, keys change their type,
# tables and indexes are written anew, partitions come and go, transactions with DDL roll
# back. Every change has its event with its number (G1, G3), no writer fails, and health()
# never waits.
#
# TE_SECONDS: how long (default 6)

use strict;
use warnings;
use TodoEvents;
use Test::More;
use Time::HiRes qw(time);

my $seconds = $ENV{TE_SECONDS} // 6;
my $node = todo_node('ddl_load', brokers => '', topics => 0);
sub sql { return $node->safe_psql('postgres', @_); }

# v counts a row's changes, and so does its number
sql(<<'END');
CREATE TABLE kept (id int PRIMARY KEY, v int NOT NULL, seq bigint, state text DEFAULT 'open');
CREATE TABLE counted (id int PRIMARY KEY, v int NOT NULL);
CREATE TABLE parts (id int NOT NULL, region int NOT NULL, v int NOT NULL, seq bigint, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE parts_1 PARTITION OF parts (UNIQUE (id)) FOR VALUES IN (1);
CREATE TABLE parts_2 PARTITION OF parts (UNIQUE (id)) FOR VALUES IN (2);
SELECT todo_events.attach('kept', sequence => 'seq', completed => 'state=done');
SELECT todo_events.attach('counted');
SELECT todo_events.attach('parts', key => 'id', sequence => 'seq');
END

my $script = PostgreSQL::Test::Utils::tempdir() . '/writers.sql';
PostgreSQL::Test::Utils::append_to_file($script, <<'END');
\set id random(1, 50)
INSERT INTO kept (id, v) VALUES (:id, 1) ON CONFLICT (id) DO UPDATE SET v = kept.v + 1;
INSERT INTO counted (id, v) VALUES (:id, 1) ON CONFLICT (id) DO UPDATE SET v = counted.v + 1;
INSERT INTO parts (id, region, v) VALUES (:id, 1 + :id % 2, 1) ON CONFLICT (id, region) DO UPDATE SET v = parts.v + 1;
END
my $errors = "$script.errors";
my $pgbench = IPC::Run::start(
	[ 'pgbench', '-n', '-T', $seconds + 2, '-c', 4, '-j', 1, '-M', 'prepared', '-f', $script, $node->connstr('postgres') ],
	'>', "$script.out", '2>', $errors);
wait_for_sql($node, 'writers are at work', q{SELECT count(*) > 200 FROM todo_events_internal.log});

my @ddl = (
	'ALTER TABLE kept ADD COLUMN extra int DEFAULT 5',
	'ALTER TABLE kept ALTER id TYPE bigint',
	'ALTER TABLE counted ALTER id TYPE bigint, ADD COLUMN note text DEFAULT random()::text',
	'VACUUM FULL kept',
	'REINDEX TABLE CONCURRENTLY kept',
	'ALTER TABLE parts ADD COLUMN extra int DEFAULT 5, ALTER seq TYPE int',
	"CREATE TABLE parts_3 PARTITION OF parts (UNIQUE (id)) FOR VALUES IN (3)",
	'BEGIN; ALTER TABLE kept DROP COLUMN state CASCADE, ALTER id TYPE text; ALTER TABLE counted DROP COLUMN note; ROLLBACK',
	'ALTER TABLE parts DETACH PARTITION parts_3 CONCURRENTLY',
	'ALTER TABLE parts ATTACH PARTITION parts_3 FOR VALUES IN (3)',
	'DROP TABLE parts_3',
	'ALTER TABLE kept RENAME state TO status',
	'ALTER TABLE kept DROP COLUMN extra',
	'CLUSTER counted USING counted_pkey',
	'ALTER TABLE counted DROP COLUMN note, ALTER id TYPE int',
	'ALTER TABLE parts DROP COLUMN extra, ALTER seq TYPE bigint',
	'REINDEX TABLE CONCURRENTLY parts',
	'ALTER TABLE kept RENAME status TO state',
	'ALTER TABLE kept ALTER id TYPE int',
	'CREATE UNIQUE INDEX CONCURRENTLY kept_new ON kept (id)',
	'BEGIN; ALTER TABLE kept DROP CONSTRAINT kept_pkey; ALTER TABLE kept ADD CONSTRAINT kept_pkey PRIMARY KEY USING INDEX kept_new; COMMIT',
	'ANALYZE kept');

# what somebody holds by ALTER TABLE, and health() looked at meanwhile
my $holder = $node->background_psql('postgres');
my ($done, $waited) = (0, 0);
my $until = time + $seconds;
while (time < $until || $done < @ddl)
{
	my $statement = $ddl[ $done++ % @ddl ];
	if ($statement =~ /CONCURRENTLY|VACUUM|BEGIN/)
	{
		sql($statement);
		next;
	}
	$holder->query_safe('BEGIN');
	$holder->query_safe($statement);
	my ($out, $err);
	my $status = $node->psql('postgres', "SET lock_timeout = '2s'; SELECT count(*) FROM todo_events.health(); SELECT count(*) FROM todo_events.attachments",
		stdout => \$out, stderr => \$err);
	$waited++ if $status != 0;
	$holder->query_safe('COMMIT');
}
$holder->quit;
is($waited, 0, 'health() and attachments never waited for a table that is held');
cmp_ok($done, '>=', scalar @ddl, "each statement ran at least once: $done");

IPC::Run::finish($pgbench);
my $said = PostgreSQL::Test::Utils::slurp_file($errors);
unlike($said, qr/ERROR|aborted/, 'no writer failed') or diag($said);

# ---- what the log says ------------------------------------------------------------------

is(sql('SELECT count(*) FROM kept WHERE seq IS DISTINCT FROM v'), 0, 'a row\'s number is that of its changes');
is(sql('SELECT count(*) FROM parts WHERE seq IS DISTINCT FROM v'), 0, 'in partitions too');
for my $table (qw(kept counted parts))
{
	my $key = $table eq 'kept' ? '' : "$table/";
	cmp_ok(sql("SELECT sum(v) FROM $table"), '>', 200, "$table: much was written");
	is(sql(<<"END"), 0, "$table: an event a change, numbered 1, 2, 3 ...");
SELECT count(*) FROM $table t FULL JOIN (
	SELECT substr(o.key, length('$key') + 1)::int AS id, count(*) AS n, max(o.sequence) AS last, count(DISTINCT o.sequence) AS numbers,
		max((o.event::json #>> '{data,payload,after,v}')::int) AS v
	FROM todo_events.outbox o WHERE o.key ~ '^$key\\d+\$' GROUP BY 1) o ON o.id = t.id
WHERE (o.n, o.last, o.numbers, o.v) IS DISTINCT FROM (t.v, t.v, t.v, t.v)
END
	is(sql(<<"END"), 0, "$table: in order");
SELECT count(*) FROM (
	SELECT o.sequence - lag(o.sequence, 1, 0::bigint) OVER (PARTITION BY o.key ORDER BY o.id) AS step
	FROM todo_events.outbox o WHERE o.key ~ '^$key\\d+\$') s WHERE step <> 1
END
}
is(sql(q{SELECT string_agg(message, '; ') FROM todo_events.health() WHERE component LIKE 'table:%'}), '', 'and health() has nothing to say of the tables');

$node->stop('fast');
done_testing();
