-- G11: what is done to the triggers of an attached table shows in health(), and detach() and attach() mend it.
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



CREATE TABLE t (id int PRIMARY KEY, v int, seq bigint);
SELECT todo_events.attach('t', sequence => 'seq');
INSERT INTO t VALUES (1, 1);

-- ---- disabled -------------------------------------------------------------------------
ALTER TABLE t DISABLE TRIGGER "!todo_events_capture";
UPDATE t SET v = 2;
SELECT * FROM ailments;
SELECT hint FROM todo_events.health() WHERE component = 'table:t';
ALTER TABLE t ENABLE TRIGGER "!todo_events_capture";
-- what was missed had a number: whoever follows the numbers can tell
UPDATE t SET v = 3;
SELECT n, type, key, sequence FROM events();
ALTER TABLE t DISABLE TRIGGER zzzz_todo_events_sequence;
SELECT * FROM ailments;
UPDATE t SET v = 4;
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE t ENABLE TRIGGER zzzz_todo_events_sequence, DISABLE TRIGGER todo_events_truncate;
SELECT * FROM ailments;
ALTER TABLE t ENABLE TRIGGER ALL;
ALTER TABLE t DISABLE TRIGGER todo_events_columns;
SELECT * FROM ailments;
UPDATE t SET v = 5;
ALTER TABLE t ENABLE REPLICA TRIGGER "!todo_events_capture";
SELECT * FROM ailments;
-- for changes that replication makes
ALTER TABLE t ENABLE ALWAYS TRIGGER "!todo_events_capture";
SELECT * FROM ailments;
ALTER TABLE t ENABLE ALWAYS TRIGGER zzzz_todo_events_sequence;
SELECT * FROM ailments;
SET session_replication_role = replica;
UPDATE t SET v = 6;
RESET session_replication_role;
ALTER TABLE t ENABLE TRIGGER "!todo_events_capture", ENABLE TRIGGER zzzz_todo_events_sequence;
SELECT n, type, key, sequence FROM events();

-- ---- renamed: a trigger means something under its own name only ---------------------------------
ALTER TRIGGER "!todo_events_capture" ON t RENAME TO capture_of_mine;
UPDATE t SET v = 7;
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM ailments;
SELECT todo_events.attach('t', sequence => 'seq');
\echo :LAST_ERROR_SQLSTATE
SELECT todo_events.detach('t');
SELECT tgname FROM pg_trigger WHERE tgrelid = 't'::regclass;
SELECT todo_events.attach('t', sequence => 'seq');
ALTER TRIGGER todo_events_columns ON t RENAME TO columns_of_mine;
UPDATE t SET v = 7;
SELECT * FROM ailments;
ALTER TRIGGER columns_of_mine ON t RENAME TO todo_events_columns;
ALTER TRIGGER zzzz_todo_events_sequence ON t RENAME TO a_sequence;
UPDATE t SET v = 7;
SELECT * FROM ailments;
ALTER TRIGGER a_sequence ON t RENAME TO zzzz_todo_events_sequence;
UPDATE t SET v = 8;
SELECT n, type, key, sequence FROM events();
SELECT * FROM ailments;

-- ---- replaced --------------------------------------------------------------------------------------
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE OR REPLACE TRIGGER "!todo_events_capture" AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION nothing();
UPDATE t SET v = 9;
SELECT * FROM ailments;
SELECT todo_events.detach('t');
DROP TRIGGER "!todo_events_capture" ON t;
SELECT todo_events.attach('t', sequence => 'seq');
CREATE OR REPLACE TRIGGER "!todo_events_capture" AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION todo_events.capture('1');
SELECT * FROM ailments;
CREATE OR REPLACE TRIGGER "!todo_events_capture" AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW WHEN (1 > 2) EXECUTE FUNCTION todo_events.capture('1');
SELECT * FROM ailments;
CREATE OR REPLACE TRIGGER "!todo_events_capture" AFTER INSERT OR UPDATE OF v OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION todo_events.capture('1');
SELECT * FROM ailments;
CREATE OR REPLACE TRIGGER "!todo_events_capture" AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION todo_events.capture('99');
SELECT * FROM ailments;
CREATE OR REPLACE TRIGGER "!todo_events_capture" AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION todo_events.capture('x');
SELECT * FROM ailments;
UPDATE t SET v = 10;
CREATE OR REPLACE TRIGGER todo_events_columns AFTER UPDATE OF id ON t FOR EACH ROW WHEN (false) EXECUTE FUNCTION todo_events.capture('1', 'key=first');
SELECT * FROM ailments;
CREATE OR REPLACE TRIGGER todo_events_columns AFTER UPDATE OF id, seq ON t FOR EACH ROW WHEN (false) EXECUTE FUNCTION todo_events.capture('1', 'key=0', 'sequence=1');
UPDATE t SET v = 10;
\echo :LAST_ERROR_SQLSTATE
CREATE OR REPLACE TRIGGER "!todo_events_capture" AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION todo_events.capture('1');
SELECT * FROM ailments;
UPDATE t SET v = 11;
SELECT n, type, key, sequence FROM events();
CREATE OR REPLACE TRIGGER todo_events_truncate BEFORE TRUNCATE ON t EXECUTE FUNCTION nothing();
SELECT * FROM ailments;
SELECT todo_events.detach('t');
DROP TRIGGER todo_events_truncate ON t;
SELECT todo_events.attach('t', sequence => 'seq');

-- ---- dropped, one after the other --------------------------------------------------------------------
DROP TRIGGER todo_events_truncate ON t;
SELECT * FROM ailments;
DROP TRIGGER zzzz_todo_events_sequence ON t;
SELECT * FROM ailments;
DROP TRIGGER "!todo_events_capture" ON t;
SELECT * FROM ailments;
SELECT todo_events.attach('t', sequence => 'seq');
DROP TRIGGER todo_events_columns ON t;
SELECT * FROM ailments;
UPDATE t SET v = 12;
SELECT todo_events.detach('t');
SELECT * FROM ailments;
SELECT todo_events.attach('t', sequence => 'seq');
UPDATE t SET v = 13;
SELECT n, type, key, sequence FROM events();
DROP TRIGGER "!todo_events_capture" ON t;
DROP TRIGGER todo_events_columns ON t;
DROP TRIGGER todo_events_truncate ON t;
DROP TRIGGER zzzz_todo_events_sequence ON t;
-- or attached straight away, since nothing of it is left
SELECT todo_events.attach('t', sequence => 'seq');
SELECT * FROM ailments;

-- ---- an inheritance child that is attached by itself keeps its triggers ----------------------------------
CREATE TABLE child (id int PRIMARY KEY, v int, seq bigint);
SELECT todo_events.attach('child');
ALTER TABLE child INHERIT t;
SELECT * FROM ailments;
SELECT todo_events.detach('t');
INSERT INTO child VALUES (1);
TRUNCATE child;
SELECT n, type, key, sequence FROM events();

SELECT todo_events.detach_all();
SET client_min_messages = warning;
DROP VIEW ailments;
DROP EXTENSION todo_events CASCADE;
DROP TABLE child, t;
DROP FUNCTION events, nothing;
