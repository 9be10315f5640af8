# make check-installed on a live database: attached tables with partitions and odd
# names, data, an engine with a broker, settings that a suite does not expect, and an
# application that has a transaction open. It passes, leaves nothing, sends nothing and
# waits for nobody; what is broken is found and named (G11).
use strict;
use warnings;
use TodoEvents;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $node = todo_node('live', extension => 0);
my $top = $TodoEvents::top;

# ---- a live database ------------------------------------------------------------

$node->safe_psql('postgres', <<'END');
CREATE ROLE dba LOGIN;
CREATE ROLE app LOGIN;
CREATE DATABASE live OWNER dba;
END
my @as_dba = (extra_params => [ '-U', 'dba' ]);
todo_topics($node, 'live', 'SET ROLE dba; CREATE EXTENSION todo_events; RESET ROLE;');
# that a table is dropped is noted by nobody: as where event triggers do not fire
$node->safe_psql('live', 'ALTER EVENT TRIGGER todo_events_ddl_dropped DISABLE');
$node->safe_psql('live', <<'END', @as_dba);
SELECT todo_events.configure('source', 'the-shop');
CREATE SCHEMA "odd ""schema";
CREATE TABLE "odd ""schema"."# TODO ""odd
table\" ("a key" text PRIMARY KEY, "owner's" text, "done?" boolean, "drawn" bigserial);
CREATE TABLE parted (id int NOT NULL PRIMARY KEY, owner text, status text, number bigint, gone int) PARTITION BY RANGE (id);
ALTER TABLE parted DROP COLUMN gone;
CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (id);
CREATE TABLE parted_low_a PARTITION OF parted_low FOR VALUES FROM (0) TO (50);
CREATE TABLE parted_low_b PARTITION OF parted_low FOR VALUES FROM (50) TO (100);
CREATE TABLE parted_high (gone int, id int NOT NULL PRIMARY KEY, number bigint, status text, owner text);
ALTER TABLE parted_high DROP COLUMN gone;
ALTER TABLE parted ATTACH PARTITION parted_high FOR VALUES FROM (100) TO (200);
CREATE TABLE by_day (id uuid NOT NULL DEFAULT gen_random_uuid(), day date NOT NULL) PARTITION BY LIST (day);
CREATE TABLE by_day_1 PARTITION OF by_day (UNIQUE (id)) FOR VALUES IN ('2026-01-01');
CREATE TABLE was_here (id int PRIMARY KEY);
SELECT todo_events.create_tasks('public.tasks');
SELECT todo_events.attach('"odd ""schema"."# TODO ""odd
table\"', user_key => 'owner''s', completed => 'done?', exclude => '{drawn}');
SELECT todo_events.attach('parted', user_key => 'owner', completed => 'status=done', sequence => 'number');
SELECT todo_events.attach('by_day', key => 'id');
SELECT todo_events.attach('was_here');
DROP TABLE was_here;
CREATE TABLE parted_more PARTITION OF parted FOR VALUES FROM (200) TO (300);
INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), 'task ' || n FROM generate_series(1, 50) n;
INSERT INTO "odd ""schema"."# TODO ""odd
table\" VALUES ('a', 'ann', false), ('b', 'bob', true);
INSERT INTO parted SELECT n, 'ann', 'new' FROM generate_series(0, 299, 7) n;
INSERT INTO by_day (day) VALUES ('2026-01-01');
GRANT SELECT ON tasks TO app;
END
$node->safe_psql('live', 'ALTER EVENT TRIGGER todo_events_ddl_dropped ENABLE');

# what a suite does not expect; and functions that have pgTAP's names, before all others
$node->safe_psql('live', <<'END');
CREATE SCHEMA hostile AUTHORIZATION app;
DO $$
DECLARE f text;
BEGIN
	FOREACH f IN ARRAY '{ok(boolean\,text),is(text\,text\,text),is(bigint\,bigint\,text),is_empty(text\,text),plan(integer),no_plan(),diag(text),format(text\,text),count(bigint),label(regclass)}'::text[] LOOP
		EXECUTE format('CREATE FUNCTION hostile.%s RETURNS text LANGUAGE plpgsql AS %L', f, 'BEGIN RAISE EXCEPTION ''hijacked''; END');
	END LOOP;
END $$;
CREATE FUNCTION hostile.same(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.same);
GRANT USAGE ON SCHEMA hostile TO PUBLIC;
ALTER DATABASE live SET search_path = hostile, pg_catalog, public;
ALTER DATABASE live SET timezone = 'Asia/Kathmandu';
ALTER DATABASE live SET datestyle = 'German, DMY';
ALTER DATABASE live SET default_transaction_isolation = 'serializable';
ALTER DATABASE live SET default_transaction_read_only = on;
ALTER DATABASE live SET default_transaction_deferrable = on;
ALTER DATABASE live SET statement_timeout = '250ms';
ALTER DATABASE live SET lock_timeout = '1ms';
ALTER DATABASE live SET client_encoding = 'LATIN1';
ALTER ROLE dba SET intervalstyle = 'iso_8601';
ALTER ROLE dba SET bytea_output = 'escape';
ALTER ROLE dba SET quote_all_identifiers = on;
ALTER ROLE dba SET standard_conforming_strings = off;
ALTER ROLE dba SET array_nulls = off;
ALTER ROLE dba SET transform_null_equals = on;
ALTER ROLE dba SET default_tablespace = 'not there';
ALTER ROLE dba SET plpgsql.extra_errors = 'all';
ALTER ROLE dba SET plpgsql.variable_conflict = 'use_column';
ALTER ROLE dba SET todo_events.idempotency_key = 'of the role';
ALTER ROLE postgres IN DATABASE live SET session_replication_role = 'replica';
END
# what this test itself does there goes by these
$ENV{PGOPTIONS} = '-c search_path=public -c timezone=UTC -c datestyle=ISO -c default_transaction_read_only=off'
  . ' -c default_transaction_isolation=read\\ committed -c default_transaction_deferrable=off -c statement_timeout=0'
  . ' -c lock_timeout=0 -c client_encoding=UTF8 -c session_replication_role=origin';

wait_for_delivery($node, 60, 'live');

# ---- what there is ----------------------------------------------------------------

# all that a dump has, the server's roles, and what is local; sequences that every
# transaction draws from, rolled back or not, apart
sub state_of_all
{
	my ($dump, $err);
	IPC::Run::run([ 'pg_dump', '-d', $node->connstr('live'), '--no-sync' ], '>', \$dump, '2>', \$err) or die "pg_dump: $err";
	# a number for each attach(), whatever becomes of it; and 17's protection of scripts
	$dump =~ s/^SELECT pg_catalog.setval\('todo_events.attachment_number'.*\n//m;
	$dump =~ s/^\\(un)?restrict .*\n//mg;
	return $dump . $node->safe_psql('live', <<'END');
SELECT string_agg(rolname, ' ' ORDER BY oid) FROM pg_roles;
SELECT count(*), sum(oid::bigint) FROM pg_class;
SELECT count(*), sum(oid::bigint) FROM pg_proc;
SELECT count(*), min(id), max(id) FROM todo_events_internal.log;
SELECT count(*) FROM todo_events_internal.counter;
SELECT count(*) FROM todo_events_internal.idempotency;
SELECT count(*) FROM todo_events_internal.dead_letter;
SELECT schemaname, sequencename, last_value FROM pg_sequences
WHERE schemaname NOT LIKE 'todo_events%' OR sequencename IN ('log_segment', 'counter_segment', 'log_floor') ORDER BY 1, 2;
END
}

# returns (passed?, output)
sub check_installed
{
	my ($user, $database) = @_;
	local @ENV{qw(PGHOST PGPORT PGUSER PGDATABASE)} = ($node->host, $node->port, $user, $database // 'live');
	local %ENV = %ENV;
	delete @ENV{ 'PGOPTIONS', grep { /^(HARNESS|TE_COUNTS|PERL_TEST_HARNESS)/ } keys %ENV };
	my $output;
	my $passed = IPC::Run::run([ "$top/scripts/pgtap.sh", '--installed' ], '>&', \$output);
	note("check-installed as $user:\n$output");
	return ($passed, $output);
}

# ---- it passes, and leaves nothing -----------------------------------------------------

# an application in the middle of its work, on every attached table
my $application = $node->background_psql('live', on_error_stop => 1);
$application->query_safe(<<'END');
BEGIN;
UPDATE public.tasks SET title = 'in the middle' WHERE title = 'task 1';
UPDATE public.parted SET owner = 'eve';
UPDATE "odd ""schema"."# TODO ""odd
table\" SET "owner's" = 'eve';
END

my $before = state_of_all();
my @sent = topic_messages($node);
for my $user ('dba', 'postgres')
{
	my ($passed, $output) = check_installed($user);
	ok($passed, "as $user: passes");
	like($output, qr/^Files=1, Tests=\d{3},/m, "as $user: and has run");
	like($output, qr/^Result: PASS/m, "as $user: all of it");
	like($output, qr/table \S+ is attached, but dropped|table \d+ is attached, but dropped/, "as $user: what a DBA should know is told");
	is($output =~ /# skipped: the rights of each level/ ? 'dba' : 'postgres', $user, "as $user: skipped is what the role may not do");
}
is(state_of_all(), $before, 'nothing of it stays: dump, roles, objects, sequences, log');
$application->query_safe('COMMIT;');
$application->quit;

# what arrives then is the application's alone
$node->safe_psql('live', <<'END');
INSERT INTO public.tasks (user_id, title) VALUES (gen_random_uuid(), 'after it');
END
wait_for_delivery($node, 60, 'live');
my @arrived = topic_events($node);
is_deeply([ sort map { $_->{id} } @arrived ],
	[ split /\n/, $node->safe_psql('live', "SELECT event->>'id' FROM todo_events.outbox ORDER BY event->>'id' COLLATE \"C\"") ],
	'exactly the application\'s events arrive, each once');
cmp_ok(scalar @arrived, '>', @sent + 40, 'and go on');
is(scalar(grep { $_->{source} ne 'the-shop' } @arrived), 0, 'as configured');

# ---- what is broken is found -------------------------------------------------------------

$node->safe_psql('live', <<'END');
ALTER TABLE public.parted_low_b DISABLE TRIGGER "!todo_events_capture";
DROP TRIGGER todo_events_truncate ON public.parted_high;
ALTER EVENT TRIGGER todo_events_ddl_end DISABLE;
UPDATE pg_index SET indisvalid = false WHERE indrelid = 'public.by_day_1'::regclass;
CREATE TABLE public.stray (id int PRIMARY KEY);
CREATE TRIGGER stray AFTER INSERT ON public.stray FOR EACH ROW EXECUTE FUNCTION todo_events.capture('99');
GRANT SELECT ON todo_events_internal.secret TO app;
REVOKE EXECUTE ON FUNCTION todo_events.publish(text, text, jsonb, text, text) FROM dba;
COMMENT ON VIEW todo_events.lag IS NULL;
CREATE OR REPLACE FUNCTION todo_events.capture() RETURNS trigger LANGUAGE c STABLE AS '$libdir/todo_events', 'te_tasks_capture';
END
my ($passed, $output) = check_installed('postgres');
ok(!$passed, 'a broken installation fails');
for my $found (
	[ 'a disabled trigger on one partition', qr/table parted: they are enabled"\n#\s+Unexpected records:\n#\s+\(parted_low_b,!todo_events_capture,D\)|\(public\.parted_low_b,!todo_events_capture,D\)/ ],
	[ 'a missing one', qr/\((public\.)?parted_high,todo_events_truncate\)/ ],
	[ 'a disabled event trigger', qr/\(todo_events_ddl_end\)/ ],
	[ 'an invalid index of a key', qr/\((public\.)?by_day_1,id\)/ ],
	[ 'a trigger on a table that is not attached', qr/\((public\.)?stray,stray\)/ ],
	[ 'a right on a secret (G9)', qr/\(todo_events_internal\.secret,app,SELECT\)/ ],
	[ 'a comment that is gone', qr/\(view,todo_events\.lag\)/ ],
	[ 'a function that was replaced', qr/\(function,todo_events\.capture\(\),"trigger stable"\)|\(function,"todo_events\.capture\(\)","trigger stable"\)/ ])
{
	like($output, $found->[1], "it finds $found->[0]");
}
unlike($output, qr/table tasks.*\n.*Unexpected/, 'and nothing where nothing is broken');

# ---- where it cannot run, it says why ---------------------------------------------------------

(undef, $output) = check_installed('app');
like($output, qr/role "app" lacks the right CREATE or TEMP on database "live"/, 'a role that may make nothing is told so');
$node->safe_psql('live', "GRANT CREATE ON DATABASE live TO app");
($passed, $output) = check_installed('app');
like($output, qr/role "app" may not administer todo_events/, 'so is one that is no owner');
ok(!$passed, 'which is a failure');
(undef, $output) = check_installed('postgres', 'template1');
like($output, qr/database "template1" does not have the extension/, 'a database without the extension');
(undef, $output) = check_installed('postgres', 'no such');
like($output, qr/database "no such" does not exist/, 'one that is not there');
$node->safe_psql('live', <<'END');
CREATE SCHEMA tap;
CREATE EXTENSION pgtap SCHEMA tap;
GRANT USAGE ON SCHEMA tap TO PUBLIC;
CREATE FUNCTION tap.is(text, text, text) RETURNS text LANGUAGE sql AS $$ SELECT 'ok 1' $$;
END
($passed, $output) = check_installed('dba');
like($output, qr/schema "tap" has functions with names of pgTAP's that are not pgTAP's/, 'functions beside pgTAP that would be called in its place (G12)');
ok(!$passed, 'are not called');
# an extension that is nowhere, in its place
my $without = PostgreSQL::Test::Utils::tempdir() . '/pgtap';
system('cp', '-r', "$top/test/pgtap", $without) == 0 or die;
system('sed', '-i', "s/'pgtap'/'pgtap_not_here'/", "$without/begin.sql") == 0 or die;
(undef, $output) = $node->psql('live', "\\i $without/run.sql");
like($output, qr/^Bail out! pgTAP is not on this server: install it there \(Debian: postgresql-\d+-pgtap\)/, 'without pgTAP');

$node->stop;
done_testing();
