-- Numbers: 1, 2, 3 ... for each task, whoever meddles.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS todo_events CASCADE;
CREATE EXTENSION todo_events;
RESET client_min_messages;
CREATE FUNCTION events(OUT n bigint, OUT type text, OUT key text, OUT sequence bigint, OUT v text)
RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
	last bigint := coalesce(nullif(current_setting('test.last', true), ''), '0');
BEGIN
	RETURN QUERY SELECT row_number() OVER (ORDER BY o.id), replace(o.type, 'com.todo.task.', ''), o.key, o.sequence,
		o.event #>> '{data,payload,after,v}'
	FROM todo_events.outbox o WHERE o.id > last ORDER BY o.id;
	PERFORM set_config('test.last', (SELECT max(o.id)::text FROM todo_events.outbox o), false);
END $$;

CREATE TABLE numbered (id text PRIMARY KEY, v text, seq bigint);
SELECT todo_events.attach('numbered', sequence => 'seq');
-- the number given by the statement counts for nothing
INSERT INTO numbered VALUES ('a', '1', 55), ('b', '1', NULL), ('c', '1', -3) RETURNING id, seq;
UPDATE numbered SET seq = NULL WHERE id = 'a' RETURNING seq;
UPDATE numbered SET seq = 12, v = '2' WHERE id = 'a' RETURNING seq;
SELECT * FROM events();
-- triggers of theirs: before ours, after ours, throwing away, writing again
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_ARGV[0] = 'set' THEN
		NEW.seq := 1000;
		NEW.v := NEW.v || '(set)';
		RETURN NEW;
	ELSIF TG_ARGV[0] = 'drop' THEN
		RETURN NULL;
	ELSIF TG_ARGV[0] = 'again' AND NEW.v NOT LIKE '%again' THEN
		UPDATE numbered SET v = v || ' again' WHERE id = NEW.id;
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER early BEFORE INSERT OR UPDATE ON numbered FOR EACH ROW EXECUTE FUNCTION meddle('set');
INSERT INTO numbered VALUES ('d', '1') RETURNING seq;
UPDATE numbered SET v = '2' WHERE id = 'd' RETURNING seq;
DROP TRIGGER early ON numbered;
CREATE TRIGGER "zzzzz late" BEFORE INSERT OR UPDATE ON numbered FOR EACH ROW EXECUTE FUNCTION meddle('set');
INSERT INTO numbered VALUES ('e', '1') RETURNING seq;
UPDATE numbered SET v = '3' WHERE id = 'd' RETURNING seq;
DROP TRIGGER "zzzzz late" ON numbered;
CREATE TRIGGER "zzzzz drop" BEFORE INSERT OR UPDATE ON numbered FOR EACH ROW EXECUTE FUNCTION meddle('drop');
INSERT INTO numbered VALUES ('e', '1') RETURNING seq;
UPDATE numbered SET v = '3' WHERE id = 'd' RETURNING seq;
DROP TRIGGER "zzzzz drop" ON numbered;
INSERT INTO numbered VALUES ('e', '1') RETURNING seq;
CREATE TRIGGER "0 again" AFTER INSERT OR UPDATE ON numbered FOR EACH ROW EXECUTE FUNCTION meddle('again');
UPDATE numbered SET v = '3' WHERE id IN ('a', 'b');
INSERT INTO numbered VALUES ('f', '1');
DROP TRIGGER "0 again" ON numbered;
SELECT * FROM events();
-- our trigger disabled
ALTER TABLE numbered DISABLE TRIGGER zzzz_todo_events_sequence;
INSERT INTO numbered VALUES ('g', '1', 5);
UPDATE numbered SET v = '4' WHERE id = 'd';
ALTER TABLE numbered ENABLE TRIGGER zzzz_todo_events_sequence;
SELECT * FROM events();
-- tombstones: in the transaction, rolled back, of another table, repeatedly
DELETE FROM numbered WHERE id = 'a';
BEGIN;
INSERT INTO numbered VALUES ('a', 'rolled back') RETURNING seq;
ROLLBACK;
INSERT INTO numbered VALUES ('a', 'again') RETURNING seq;
DELETE FROM numbered WHERE id = 'a';
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO numbered VALUES ('a', 'once more') RETURNING seq;
DELETE FROM numbered WHERE id = 'a';
INSERT INTO numbered VALUES ('a', 'and again') RETURNING seq;
UPDATE numbered SET id = 'z' WHERE id = 'a' RETURNING seq;
UPDATE numbered SET id = 'a' WHERE id = 'z' RETURNING seq;
COMMIT;
CREATE TABLE numbered2 (LIKE numbered INCLUDING ALL);
SELECT todo_events.attach('numbered2', sequence => 'seq');
INSERT INTO numbered2 VALUES ('b', '1') RETURNING seq;
DELETE FROM numbered WHERE id = 'b';
SELECT * FROM events();
-- a tombstone is remembered as long as the log is kept
INSERT INTO numbered VALUES ('b', 'goes on') RETURNING seq;
DELETE FROM numbered WHERE id = 'b';
SET todo_events.clock_offset = '25 h';
INSERT INTO numbered VALUES ('b', 'as new') RETURNING seq;
RESET todo_events.clock_offset;
-- a number too large for its column
CREATE TABLE small (id int PRIMARY KEY, v int, seq int);
INSERT INTO small VALUES (1, 1, 2147483646);
SELECT todo_events.attach('small', sequence => 'seq');
UPDATE small SET v = 2 RETURNING seq;
UPDATE small SET v = 3 RETURNING seq;
-- prepared
BEGIN;
INSERT INTO numbered VALUES ('p', '1');
UPDATE numbered SET v = '2' WHERE id = 'p';
DELETE FROM numbered WHERE id = 'p';
PREPARE TRANSACTION 'sequence test';
SELECT count(*) FROM events() WHERE key = 'p';
COMMIT PREPARED 'sequence test';
INSERT INTO numbered VALUES ('p', '3') RETURNING seq;

-- numbers without a column are many rows of the ring: the highest counts, also from an older segment
CREATE TABLE counted (id int PRIMARY KEY, v int);
SELECT todo_events.attach('counted', name => 'counted');
INSERT INTO counted VALUES (1, 0), (2, 0);
DO $$ BEGIN FOR i IN 1 .. 200 LOOP UPDATE counted SET v = i WHERE id = 1; END LOOP; END $$;
SELECT nextval('todo_events_internal.counter_segment') > 0;
UPDATE counted SET v = -1;
SELECT nextval('todo_events_internal.counter_segment') > 0;
UPDATE counted SET v = -2;
SELECT key, count(*), min(sequence), max(sequence) FROM todo_events.outbox WHERE key LIKE 'counted/%' GROUP BY key ORDER BY key;
SELECT count(DISTINCT segment) FROM todo_events_internal.counter;

-- many rows in one statement: those that are new, those that were deleted
CREATE TABLE many (id int PRIMARY KEY, v int, seq bigint);
SELECT todo_events.attach('many', sequence => 'seq');
INSERT INTO many SELECT i, 0 FROM generate_series(1, 1000) i;
DELETE FROM many WHERE id % 10 = 0;
INSERT INTO many SELECT i, 1 FROM generate_series(1, 2000) i ON CONFLICT (id) DO UPDATE SET v = 1;
UPDATE many SET id = -id;
UPDATE many SET id = -id;
SELECT seq, count(*) FROM many GROUP BY seq ORDER BY seq;

-- no task has a hole or a number twice
SELECT attachment, key_text, array_agg(sequence ORDER BY id) AS numbers
FROM todo_events_internal.log GROUP BY attachment, key_text
HAVING key_text <> 'b' AND array_agg(sequence ORDER BY id) <> ARRAY(SELECT generate_series(min(sequence), max(sequence)));

SET client_min_messages = warning;
SELECT todo_events.detach_all();
DROP TABLE numbered, numbered2, small, counted, many;
DROP FUNCTION events, meddle;
DROP EXTENSION todo_events CASCADE;
