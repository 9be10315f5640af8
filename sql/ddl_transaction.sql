-- G11: DDL and changes in one transaction, prepared statements, savepoints, and events that wait.
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



CREATE TABLE t (id int PRIMARY KEY, a int, b int, seq bigint);
SELECT todo_events.attach('t', sequence => 'seq');

-- ---- before and after, in one transaction ------------------------------------------------
BEGIN;
INSERT INTO t VALUES (1, 1, 1);
ALTER TABLE t RENAME a TO first;
UPDATE t SET first = 2;
ALTER TABLE t DROP COLUMN b, ADD COLUMN c text DEFAULT 'c';
UPDATE t SET first = 3;
ALTER TABLE t ALTER first TYPE text;
UPDATE t SET first = 'four', c = 'd';
ALTER TABLE t ALTER id TYPE bigint;
DELETE FROM t;
INSERT INTO t VALUES (5000000000);
COMMIT;
SELECT n, type, key, sequence, payload FROM events();

-- ---- prepared ------------------------------------------------------------------------------
PREPARE up(bigint) AS UPDATE t SET c = c || '!' WHERE id = $1;
PREPARE ins AS INSERT INTO t (id, c) VALUES ($1, $2);
EXECUTE ins(1, 'x');
EXECUTE up(1); EXECUTE up(1); EXECUTE up(1); EXECUTE up(1); EXECUTE up(1); EXECUTE up(1);
SELECT count(*) FROM events();
ALTER TABLE t ADD COLUMN d int DEFAULT 4;
EXECUTE up(1);
ALTER TABLE t RENAME first TO second;
EXECUTE up(1);
ALTER TABLE t ALTER c TYPE varchar(30), ALTER id TYPE int USING id % 1000000;
EXECUTE up(1);
ALTER TABLE t DISABLE TRIGGER "!todo_events_capture";
EXECUTE up(1);
ALTER TABLE t ENABLE TRIGGER "!todo_events_capture";
SELECT todo_events.detach('t');
EXECUTE up(1);
SELECT todo_events.attach('t', sequence => 'seq', name => 't', user_key => 'd');
EXECUTE up(1);
EXECUTE ins(2, 'y');
SELECT n, type, key, user_id, sequence, payload FROM events();

-- ---- taken back ----------------------------------------------------------------------------
BEGIN;
UPDATE t SET c = 'a' WHERE id = 2;
SAVEPOINT s;
ALTER TABLE t RENAME c TO e;
ALTER TABLE t ALTER d TYPE text, ALTER id TYPE bigint;
ALTER TABLE t DROP COLUMN d CASCADE, ADD COLUMN d json;
UPDATE t SET e = 'b', d = '{}' WHERE id = 2;
ROLLBACK TO s;
UPDATE t SET c = 'b' WHERE id = 2;
SAVEPOINT s2;
DROP TABLE t;
ROLLBACK TO s2;
UPDATE t SET c = 'c' WHERE id = 2;
SELECT todo_events.detach('t');
UPDATE t SET c = 'd' WHERE id = 2;
ROLLBACK TO s2;
UPDATE t SET c = 'e' WHERE id = 2;
SAVEPOINT s3;
ALTER TABLE t ALTER seq TYPE text;
ROLLBACK TO s3;
UPDATE t SET c = 'f' WHERE id = 2;
COMMIT;
SELECT n, type, key, user_id, sequence, payload FROM events();
-- by a block that catches the error
DO $$
BEGIN
	UPDATE t SET c = 'g' WHERE id = 2;
	BEGIN
		ALTER TABLE t ALTER d TYPE text, ALTER seq TYPE text;
	EXCEPTION WHEN datatype_mismatch THEN
		UPDATE t SET c = 'h' WHERE id = 2;
	END;
	ALTER TABLE t ALTER d TYPE text;
	UPDATE t SET c = 'i' WHERE id = 2;
END $$;
SELECT n, type, key, user_id, sequence, payload FROM events();
-- prepared for two phases
BEGIN;
ALTER TABLE t ALTER d TYPE varchar(5);
UPDATE t SET d = '6' WHERE id = 2;
PREPARE TRANSACTION 'ddl_transaction';
COMMIT PREPARED 'ddl_transaction';
SELECT n, type, key, user_id, sequence FROM events();
SELECT * FROM ailments;

-- ---- events that wait, of a table that is altered or dropped before they are told ----------------
CREATE TABLE p (id int NOT NULL, st text NOT NULL, v int, seq bigint) PARTITION BY LIST (st);
CREATE TABLE pa PARTITION OF p (PRIMARY KEY (id)) FOR VALUES IN ('a');
CREATE TABLE pb PARTITION OF p (PRIMARY KEY (id)) FOR VALUES IN ('b');
SELECT todo_events.attach('p', key => 'id', sequence => 'seq', name => 'p');
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON pb FOR EACH ROW EXECUTE FUNCTION refuse();
INSERT INTO p SELECT i, 'a', i FROM generate_series(1, 6) i;
ALTER TABLE p ADD COLUMN fast int DEFAULT 5;
SELECT count(*) FROM events();
-- the row's values as it had them, a default of before it was written included
UPDATE p SET st = 'b' WHERE id = 1;
BEGIN;
UPDATE p SET st = 'b' WHERE id = 2;
ALTER TABLE p ALTER v TYPE text USING 'v' || v;
COMMIT;
BEGIN;
UPDATE p SET st = 'b' WHERE id = 3;
ALTER TABLE p ALTER id TYPE text, DROP COLUMN fast, ADD COLUMN x int DEFAULT 1;
UPDATE p SET v = 'six' WHERE id = '6';
COMMIT;
BEGIN;
UPDATE p SET st = 'b' WHERE id = '4';
ALTER TABLE p DETACH PARTITION pa;
COMMIT;
SELECT n, type, key, sequence, payload FROM events();
ALTER TABLE p ATTACH PARTITION pa FOR VALUES IN ('a');
BEGIN;
UPDATE p SET st = 'b' WHERE id = '5';
SELECT todo_events.detach('p');
COMMIT;
SELECT todo_events.attach('p', key => 'id', sequence => 'seq', name => 'p');
BEGIN;
UPDATE p SET st = 'b' WHERE id = '6';
DROP TABLE p;
COMMIT;
SELECT n, type, key, sequence, payload FROM events();
-- of statements in triggers
CREATE TABLE n (id int PRIMARY KEY, v int, seq bigint);
SELECT todo_events.attach('n', sequence => 'seq', name => 'n');
CREATE TABLE boss (id int PRIMARY KEY);
CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	UPDATE n SET v = v + 1 WHERE id = NEW.id + 1;
	RETURN NULL; END $$;
CREATE TRIGGER again AFTER UPDATE ON n FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION again();
CREATE FUNCTION alters() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO n VALUES (10, 1);
	ALTER TABLE n ADD COLUMN w int DEFAULT 3;
	UPDATE n SET v = 2 WHERE id = 10;
	ALTER TABLE n ALTER v TYPE text, ALTER id TYPE bigint;
	UPDATE n SET v = 'three' WHERE id = 10;
	DELETE FROM n WHERE id = 10;
	RETURN NULL; END $$;
CREATE TRIGGER alters AFTER INSERT ON boss FOR EACH ROW EXECUTE FUNCTION alters();
INSERT INTO n VALUES (1, 1), (2, 1);
UPDATE n SET v = 5;
INSERT INTO boss VALUES (1);
SELECT n, type, key, sequence, payload FROM events();

SELECT todo_events.detach_all();
SET client_min_messages = warning;
DROP VIEW ailments;
DROP EXTENSION todo_events CASCADE;
DROP TABLE t, n, boss;
DROP FUNCTION events, refuse, again, alters;
