# pg_dump and pg_restore of a database with attached tables of every kind (G11): what watches
# DDL is in nobody's way, as superuser and as the plain owner, plain, parallel and --clean. The
# restored tables are attached as they were, none of their rows was an event, and DDL on them
# goes on to work.

use strict;
use warnings;
use TodoEvents;
use Test::More;

my $node = todo_node('ddl_restore', brokers => '', extension => 0);
sub sql { return $node->safe_psql(@_); }
sub run_ok
{
	my ($what, @command) = @_;
	my ($out, $err);
	my $status = IPC::Run::run([@command], '>', \$out, '2>', \$err);
	ok($status && $err eq '', $what) or diag($err);
	return;
}

sql('postgres', q{CREATE ROLE todo_owner LOGIN; CREATE DATABASE source OWNER todo_owner});
my $as_owner = $node->connstr('source') . ' user=todo_owner';
$node->psql('source', <<'END', connstr => $as_owner, on_error_die => 1);
SET client_min_messages = error;
CREATE EXTENSION todo_events;
CREATE SCHEMA app;
CREATE TYPE app.state AS ENUM ('open', 'done');
CREATE DOMAIN app.states AS app.state;
SELECT todo_events.create_tasks('app.tasks');
ALTER TABLE app.tasks ADD COLUMN mine int DEFAULT 7;
CREATE TABLE app.own ("the key" int PRIMARY KEY, junk int, status app.states, secret text, nr bigint);
ALTER TABLE app.own DROP COLUMN junk;
SELECT todo_events.attach('app.own', completed => 'status=done', sequence => 'nr', exclude => '{secret}', name => 'own');
ALTER TYPE app.state RENAME VALUE 'done' TO 'over';
ALTER TABLE app.own ALTER "the key" TYPE bigint;
CREATE TABLE app.parts (id int NOT NULL, region int NOT NULL, v int) PARTITION BY LIST (region);
CREATE TABLE app.parts_1 PARTITION OF app.parts (PRIMARY KEY (id)) FOR VALUES IN (1);
CREATE TABLE app.parts_2 PARTITION OF app.parts FOR VALUES IN (2, 3) PARTITION BY LIST (region);
CREATE TABLE app.parts_2a (junk int, v int, region int NOT NULL, id int PRIMARY KEY);
ALTER TABLE app.parts_2a DROP COLUMN junk;
ALTER TABLE app.parts_2 ATTACH PARTITION app.parts_2a FOR VALUES IN (2);
SELECT todo_events.attach('app.parts', key => 'id', name => 'parts');
CREATE TABLE app.parts_2b PARTITION OF app.parts_2 (PRIMARY KEY (id)) FOR VALUES IN (3);
CREATE TABLE app.single (id int PRIMARY KEY, region int NOT NULL);
SELECT todo_events.attach('app.single', name => 'single');
CREATE TABLE app.many (id int NOT NULL, region int NOT NULL) PARTITION BY LIST (region);
ALTER TABLE app.many ATTACH PARTITION app.single FOR VALUES IN (1);
CREATE TABLE app.gone (id int PRIMARY KEY);
SELECT todo_events.attach('app.gone', name => 'gone');
DROP TABLE app.gone;
INSERT INTO app.tasks (user_id, title) SELECT gen_random_uuid(), 'task ' || i FROM generate_series(1, 100) i;
INSERT INTO app.own VALUES (1, 'open', 'x'), (2, 'over', 'y');
INSERT INTO app.parts VALUES (1, 1, 1), (2, 2, 1), (3, 3, 1);
INSERT INTO app.single VALUES (1, 1);
UPDATE app.parts SET v = 2;
END

# tables with all that they mean and hold, and our triggers on them
sub contents
{
	my ($database, $comments) = @_;
	my $comment = $comments ? q{coalesce(obj_description(oid, 'pg_trigger'), '')} : q{''};
	return sql($database, <<"END");
SELECT * FROM (
	SELECT 'attached ' || a::text FROM (SELECT relation, name, key, user_key, completed, sequence, exclude FROM todo_events.attachments) a
	UNION ALL SELECT 'trigger ' || pg_get_triggerdef(oid) || ' ' || tgenabled::text || ' ' || (tgparentid <> 0)::text || ' ' || $comment
		FROM pg_trigger WHERE tgfoid = 'todo_events.capture()'::regprocedure
	UNION ALL SELECT 'task ' || t::text FROM app.tasks t
	UNION ALL SELECT 'own ' || t::text FROM app.own t
	UNION ALL SELECT 'parts ' || tableoid::regclass || t::text FROM app.parts t
	UNION ALL SELECT 'many ' || t::text FROM app.many t
	UNION ALL SELECT 'event trigger ' || evtname || evtevent || evtenabled::text || coalesce(evttags::text, '') FROM pg_event_trigger) s
ORDER BY 1
END
}
like(contents('source'), qr/status=over/, 'there is something to restore');
my $dir = PostgreSQL::Test::Utils::tempdir();

sub check
{
	my ($database, $how, $comments) = @_;
	is(contents($database, $comments), contents('source', $comments), "$how: attached as they were, with all they hold");
	is(sql($database, 'SELECT count(*) FROM todo_events_internal.log'), 0, "$how: no event");
	is(sql($database, q{SELECT string_agg(message, '; ') FROM todo_events.health() WHERE component LIKE 'table:%'}), '', "$how: nothing is wrong with the tables");
	return;
}

for my $user ('', 'todo_owner')
{
	my $how = $user ? 'as the plain owner' : 'as superuser';
	my $suffix = $user ? 'owner' : 'super';
	my @as = $user ? ('-U', $user) : ();
	sql('postgres', "CREATE DATABASE ${_}_$suffix OWNER todo_owner") for qw(plain parallel);

	# COMMENT ON EXTENSION is the superuser's alone, for a trusted extension too
	push @as, '--no-comments' if $user;
	run_ok("$how: pg_dump, plain", 'pg_dump', @as, '-d', $node->connstr('source'), '-f', "$dir/$suffix.sql");
	run_ok("$how: psql", 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null',
		'-d', $node->connstr("plain_$suffix") . ($user ? " user=$user" : ''), '-f', "$dir/$suffix.sql");
	check("plain_$suffix", "$how, plain", !$user);

	run_ok("$how: pg_dump, custom", 'pg_dump', @as, '-Fc', '-d', $node->connstr('source'), '-f', "$dir/$suffix.custom");
	run_ok("$how: pg_restore, parallel", 'pg_restore', @as, '-j', 2, '-d', $node->connstr("parallel_$suffix"), "$dir/$suffix.custom");
	check("parallel_$suffix", "$how, parallel", !$user);
}

# over what is there, while it is attached
run_ok('pg_restore --clean', 'pg_restore', '--clean', '--if-exists', '-d', $node->connstr('plain_super'), "$dir/super.custom");
check('plain_super', '--clean', 1);

# and what was restored is altered like the original
sql('plain_super', <<'END');
ALTER TABLE app.own ALTER "the key" TYPE int, DROP COLUMN secret CASCADE;
CREATE TABLE app.parts_4 PARTITION OF app.parts (PRIMARY KEY (id)) FOR VALUES IN (4);
INSERT INTO app.parts VALUES (4, 4, 1);
TRUNCATE app.parts_4;
DROP TABLE app.many;
END
is(sql('plain_super', q{SELECT string_agg(type || ' ' || key, ', ' ORDER BY id) FROM todo_events.outbox}),
	'com.todo.task.created parts/4, com.todo.task.deleted parts/4', 'DDL on what was restored works');

$node->stop('fast');
done_testing();
