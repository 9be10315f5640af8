-- The ring of numbers turns: nothing that is needed is lost, the rest goes.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS todo_events CASCADE;
CREATE EXTENSION todo_events;
RESET client_min_messages;

CREATE TABLE counted (id text PRIMARY KEY, v int);
CREATE TABLE forgotten (id int PRIMARY KEY);
SELECT todo_events.attach('counted'), todo_events.attach('forgotten');
INSERT INTO counted VALUES ('live', 0), ('idle', 0), ('deleted', 0);
UPDATE counted SET v = v + 1;
DELETE FROM counted WHERE id = 'deleted';
BEGIN;
UPDATE counted SET v = v + 1;
ROLLBACK;

-- rows of nobody's, up to what makes the ring turn
CREATE FUNCTION fill() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	n int := (SELECT last_value % 3 FROM todo_events_internal.counter_segment);
BEGIN
	EXECUTE format($i$INSERT INTO todo_events_internal.counter_%s
		SELECT i::bigint << 32, 1, now(), 1000000, false, NULL, repeat('nobody ', 130) || i, %s FROM generate_series(1, 40000) i$i$, n, n);
END $$;
-- upkeep until the ring's register stands there; each in a transaction of its own, the engine may be the one that does it
CREATE PROCEDURE turn(register bigint, segments int, INOUT result text DEFAULT NULL, within interval DEFAULT '60 s') LANGUAGE plpgsql AS $$
DECLARE
	deadline timestamptz := clock_timestamp() + within;
BEGIN
	LOOP
		PERFORM todo_events.maintain();
		COMMIT;
		IF (SELECT last_value FROM todo_events_internal.counter_segment) = register AND
			(SELECT count(*) FROM pg_class c WHERE c.relname ~ '^counter_\d$' AND pg_relation_size(c.oid) > 0) = segments THEN
			result := 'turned';
			RETURN;
		END IF;
		EXIT WHEN clock_timestamp() > deadline;
	END LOOP;
	result := format('register %s, segments %s', (SELECT last_value FROM todo_events_internal.counter_segment),
		(SELECT array_agg(c.relname || ' ' || pg_relation_size(c.oid)) FROM pg_class c WHERE c.relname ~ '^counter_\d$'));
END $$;
CREATE FUNCTION numbers() RETURNS TABLE (key text, numbers bigint[]) LANGUAGE sql AS $$
	SELECT key, array_agg(sequence ORDER BY id) FROM todo_events.outbox WHERE key NOT LIKE 'forgotten/%' GROUP BY key ORDER BY key
$$;

SELECT fill();
CALL turn(1, 1);
UPDATE counted SET v = v + 1 WHERE id = 'live';
SELECT fill();
CALL turn(2, 2);
UPDATE counted SET v = v + 1 WHERE id = 'live';
SELECT fill();
-- the first segment is in the way: what is needed of it is carried forward
CALL turn(3, 2);
SELECT attachment, key_text, deleted, sequence FROM todo_events_internal.counter WHERE attachment < 1000 ORDER BY 2, 4;
INSERT INTO counted VALUES ('deleted', 1);
UPDATE counted SET v = v + 1;
SELECT fill();
CALL turn(4, 2);
SELECT attachment, key_text, deleted, sequence FROM todo_events_internal.counter WHERE attachment < 1000 ORDER BY 2, 4;
UPDATE counted SET v = v + 1;
SELECT * FROM numbers();

-- when everything in it is past its time, the ring is emptied
DELETE FROM counted WHERE id = 'idle';
SELECT todo_events.detach_all();
SET todo_events.clock_offset = '20 h';
DO $$ DECLARE result text; BEGIN CALL turn(4, 0, result, '1 s'); RAISE NOTICE 'forgotten too early: %', result = 'turned'; END $$;
SET todo_events.clock_offset = '30 h';
CALL turn(4, 0);
RESET todo_events.clock_offset;
SELECT todo_events.attach('counted', name => 'again');
INSERT INTO counted VALUES ('idle', 1);
UPDATE counted SET v = v + 1 WHERE id = 'idle';
SELECT * FROM numbers();

SET client_min_messages = warning;
SELECT todo_events.detach_all();
DROP TABLE counted, forgotten;
DROP FUNCTION fill, numbers;
DROP PROCEDURE turn;
DROP EXTENSION todo_events CASCADE;
