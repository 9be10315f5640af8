-- G11: types that are altered under a column, and settings that change how values look.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS todo_events CASCADE;
CREATE EXTENSION todo_events;
RESET client_min_messages;
CREATE FUNCTION events(OUT n bigint, OUT type text, OUT key text, OUT user_id text, OUT sequence bigint, OUT payload jsonb)
RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
	last bigint := coalesce(nullif(current_setting('test.last', true), ''), '0');
BEGIN
	RETURN QUERY SELECT row_number() OVER (ORDER BY o.id), replace(o.type, 'com.todo.task.', ''), o.key, o.user_id, o.sequence,
		o.event::jsonb #> '{data,payload}'
	FROM todo_events.outbox o WHERE o.id > last ORDER BY o.id;
	PERFORM set_config('test.last', (SELECT max(o.id)::text FROM todo_events.outbox o), false);
END $$;
CREATE VIEW ailments AS SELECT level, message FROM todo_events.health() WHERE component LIKE 'table:%' OR component = 'session_replication_role';



-- ---- enums ---------------------------------------------------------------------------
CREATE TYPE st AS ENUM ('open', 'done');
CREATE DOMAIN std AS st;
CREATE TABLE e (id int PRIMARY KEY, status st, d std);
SELECT todo_events.attach('e', completed => 'status=done');
INSERT INTO e VALUES (1, 'open', 'open');
ALTER TYPE st ADD VALUE 'late' BEFORE 'done';
UPDATE e SET status = 'late';
ALTER TYPE st RENAME VALUE 'open' TO 'to do';
ALTER TYPE st RENAME VALUE 'done' TO 'finished';
ALTER TYPE st RENAME TO state;
UPDATE e SET status = 'finished';
UPDATE e SET status = 'to do';
\c
SELECT set_config('test.last', '0', false);
UPDATE e SET status = 'finished';
SELECT * FROM events();
SELECT completed FROM todo_events.attachments;
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'todo_events_columns';
-- another type, and back; the name that the value has by now goes on
ALTER TABLE e ALTER status TYPE text;
UPDATE e SET status = 'to do';
ALTER TABLE e ALTER status TYPE std USING status::state;
UPDATE e SET status = 'finished';
ALTER TYPE state RENAME VALUE 'finished' TO 'over';
ALTER TABLE e ADD COLUMN x int;
UPDATE e SET status = 'to do';
UPDATE e SET status = 'over';
SELECT n, type, key, sequence FROM events();
SELECT completed FROM todo_events.attachments;
SELECT * FROM ailments;
DROP TABLE e;

-- ---- domains -------------------------------------------------------------------------------
CREATE DOMAIN short AS text CHECK (length(VALUE) < 20);
CREATE TABLE d (id int PRIMARY KEY, s short, status short);
SELECT todo_events.attach('d', completed => 'status=done', name => 'e');
INSERT INTO d VALUES (1, 'x', 'open');
ALTER DOMAIN short ADD CHECK (VALUE <> 'done') NOT VALID;
ALTER DOMAIN short SET DEFAULT 'y';
ALTER DOMAIN short RENAME TO shorter;
\c
SELECT set_config('test.last', (SELECT max(id) - 1 FROM todo_events.outbox)::text, false);
UPDATE d SET s = 'y';
SELECT n, type, key, sequence, payload FROM events();
DROP TABLE d;

-- ---- composite types -------------------------------------------------------------------------
CREATE TYPE inner_type AS (a int, b text);
CREATE TYPE outer_type AS (i inner_type, l inner_type[]);
CREATE TABLE c (id int PRIMARY KEY, v outer_type, w int);
SELECT todo_events.attach('c', name => 'e');
INSERT INTO c VALUES (1, ROW(ROW(1, 'x'), ARRAY[ROW(2, 'y')::inner_type]), 1);
ALTER TYPE outer_type ADD ATTRIBUTE more int;
ALTER TYPE outer_type RENAME ATTRIBUTE i TO first;
UPDATE c SET w = 2;
UPDATE c SET v.more = 3;
ALTER TYPE outer_type DROP ATTRIBUTE more;
UPDATE c SET w = 3;
SELECT n, type, key, sequence, payload FROM events();
-- a typed table
CREATE TYPE row_type AS (id int, title text, secret text, v int);
CREATE TABLE typed OF row_type (PRIMARY KEY (id));
SELECT todo_events.attach('typed', title => 'title', exclude => '{secret}', name => 'typed');
INSERT INTO typed VALUES (1, 'x', 's', 1);
ALTER TYPE row_type ADD ATTRIBUTE more int CASCADE;
ALTER TYPE row_type RENAME ATTRIBUTE v TO value CASCADE;
UPDATE typed SET more = 2, value = 3;
SELECT n, type, key, sequence, payload FROM events();
ALTER TYPE row_type ALTER ATTRIBUTE id TYPE bigint CASCADE;
\echo :LAST_ERROR_SQLSTATE
ALTER TYPE row_type DROP ATTRIBUTE title CASCADE;
INSERT INTO typed VALUES (2);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM ailments;
SELECT todo_events.detach('typed');
SELECT todo_events.attach('typed', exclude => '{secret}', name => 'typed');
INSERT INTO typed VALUES (2);
SELECT n, type, key, sequence FROM events();
DROP TABLE c, typed;

-- ---- casts and functions that write a type -----------------------------------------------------
CREATE TYPE colour AS ENUM ('red', 'green');
CREATE FUNCTION colour_json(colour) RETURNS json LANGUAGE sql AS $$ SELECT json_build_object('colour', $1::text) $$;
CREATE TABLE p (id int PRIMARY KEY, v colour);
SELECT todo_events.attach('p', name => 'e');
INSERT INTO p VALUES (1, 'red');
CREATE CAST (colour AS json) WITH FUNCTION colour_json(colour);
UPDATE p SET v = 'green';
CREATE OR REPLACE FUNCTION colour_json(colour) RETURNS json LANGUAGE sql AS $$ SELECT to_json(ARRAY[$1::text]) $$;
UPDATE p SET v = 'red';
DROP CAST (colour AS json);
DROP FUNCTION colour_json(colour);
UPDATE p SET v = 'green';
SELECT n, type, key, sequence, payload FROM events();
-- the type goes, and its column with it
SET client_min_messages = warning;
DROP TYPE colour CASCADE;
RESET client_min_messages;
UPDATE p SET id = 2;
SELECT n, type, key, sequence, payload FROM events();
DROP TABLE p;
-- an extension's type
CREATE EXTENSION citext;
CREATE TABLE x (id int PRIMARY KEY, title citext, note citext);
SELECT todo_events.attach('x', title => 'title', name => 'e');
INSERT INTO x VALUES (1, 'Title', 'Note');
SET client_min_messages = warning;
DROP EXTENSION citext CASCADE;
RESET client_min_messages;
UPDATE x SET id = 2;
\echo :LAST_ERROR_SQLSTATE
SELECT level, message, hint FROM todo_events.health() WHERE component = 'table:x';
SELECT todo_events.detach('x');
SELECT todo_events.attach('x', name => 'e');
UPDATE x SET id = 2;
SELECT n, type, key, sequence, payload FROM events();
DROP TABLE x;

-- ---- settings and collations -----------------------------------------------------------------------
CREATE COLLATION german (provider = libc, locale = 'C');
CREATE TABLE s (id int PRIMARY KEY, t timestamptz, d date, i interval, b bytea, f float8, m money, r regclass, n text COLLATE german);
SELECT todo_events.attach('s', name => 's');
CREATE ROLE ddl_types_role;
GRANT ALL ON s TO ddl_types_role;
INSERT INTO s VALUES (1, '2026-01-01 12:00+00', '2026-01-02', '1 day 02:00', '\x4142', 0.1, 5, 's', 'x');
ALTER COLLATION german REFRESH VERSION;
SELECT current_database() AS db \gset
ALTER DATABASE :"db" SET timezone = 'Asia/Tokyo';
ALTER DATABASE :"db" SET datestyle = 'German';
ALTER DATABASE :"db" SET intervalstyle = 'iso_8601';
ALTER ROLE CURRENT_USER IN DATABASE :"db" SET bytea_output = 'escape';
ALTER ROLE CURRENT_USER IN DATABASE :"db" SET extra_float_digits = -3;
ALTER ROLE CURRENT_USER IN DATABASE :"db" SET search_path = 'nothing, public';
\c
SET datestyle = 'German'; -- pg_regress sets these two for each session
SET timezone = 'Asia/Tokyo';
SHOW search_path;
DELETE FROM public.s;
SET search_path = public;
SELECT set_config('test.last', (SELECT max(id) - 2 FROM todo_events.outbox)::text, false) IS NOT NULL AS set;
SELECT jsonb_object_agg(type, coalesce(payload -> 'after', payload -> 'before')) -> 'created'
	= jsonb_object_agg(type, coalesce(payload -> 'after', payload -> 'before')) -> 'deleted' AS same FROM events();
ALTER DATABASE :"db" RESET timezone;
ALTER DATABASE :"db" RESET datestyle;
ALTER DATABASE :"db" RESET intervalstyle;
ALTER ROLE CURRENT_USER IN DATABASE :"db" RESET ALL;
\c

SELECT todo_events.detach_all();
SET client_min_messages = warning;
DROP VIEW ailments;
DROP EXTENSION todo_events CASCADE;
DROP TABLE s;
DROP COLLATION german;
DROP DOMAIN std, shorter;
DROP TYPE state, outer_type, inner_type, row_type;
DROP FUNCTION events;
DROP ROLE ddl_types_role;
