-- Partitioned tables: one attachment for all partitions, and a row that moves is one event.
SET client_min_messages = error;
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

-- partitioned by the state: the key is unique in each partition
CREATE TABLE parts (id int NOT NULL, state text NOT NULL, owner text, gone int, v int, seq bigint, doubled int GENERATED ALWAYS AS (v * 2) STORED)
	PARTITION BY LIST (state);
ALTER TABLE parts DROP COLUMN gone;
CREATE TABLE parts_open PARTITION OF parts FOR VALUES IN ('open');
CREATE UNIQUE INDEX ON parts_open (id);
-- columns in another order, and dropped ones
CREATE TABLE parts_done (was1 text, seq bigint, v int, owner text, was2 int, state text NOT NULL, doubled int GENERATED ALWAYS AS (v * 2) STORED, id int PRIMARY KEY);
ALTER TABLE parts_done DROP COLUMN was1, DROP COLUMN was2;
ALTER TABLE parts ATTACH PARTITION parts_done FOR VALUES IN ('done');
CREATE TABLE parts_rest PARTITION OF parts DEFAULT PARTITION BY RANGE (id);
CREATE TABLE parts_rest_low PARTITION OF parts_rest (PRIMARY KEY (id)) FOR VALUES FROM (0) TO (100);

SELECT todo_events.attach('parts', key => 'id');
CREATE TABLE parts_rest_high PARTITION OF parts_rest (PRIMARY KEY (id)) FOR VALUES FROM (100) TO (200);
SELECT todo_events.detach('parts_open');
SELECT todo_events.attach('parts_open');
SELECT todo_events.detach('parts');
SELECT todo_events.attach('parts', key => 'id', user_key => 'owner', completed => 'state=done', sequence => 'seq');
SELECT relation, key, completed, sequence FROM todo_events.attachments;

INSERT INTO parts (id, state, owner, v) VALUES (1, 'open', 'al', 10), (2, 'done', 'al', 20), (3, 'low', 'al', 30), (100, 'high', 'bo', 40) RETURNING id, seq;
INSERT INTO parts_done (id, state, owner, v) VALUES (4, 'done', 'bo', 50);
SELECT * FROM events();
UPDATE parts SET v = v + 1 RETURNING id, seq;
SELECT n, type, key, sequence, payload -> 'before' AS before FROM events();
-- moved
UPDATE parts SET state = 'done' WHERE id = 1 RETURNING id, seq;
UPDATE parts SET state = 'open' WHERE id <= 2 RETURNING id, seq;
UPDATE parts SET state = 'other' RETURNING id, seq;
SELECT n, type, key, sequence, payload -> 'before' AS before FROM events();
-- moved to another user, and under another key
UPDATE parts SET state = 'done', owner = 'cy' WHERE id = 1 RETURNING id, seq;
UPDATE parts SET id = 101 WHERE id = 4 RETURNING id, seq;
UPDATE parts SET id = 4, state = 'open' WHERE id = 101 RETURNING id, seq;
SELECT n, type, key, user_id, sequence, payload -> 'before' AS before FROM events();
-- moved and back, deleted and there again, in one transaction and one statement
BEGIN;
UPDATE parts SET state = 'open' WHERE id = 1 RETURNING seq;
UPDATE parts SET state = 'done' WHERE id = 1 RETURNING seq;
DELETE FROM parts WHERE id = 1;
INSERT INTO parts (id, state, seq) VALUES (1, 'open', 77) RETURNING seq;
COMMIT;
MERGE INTO parts p USING (VALUES (1, 'done'), (2, 'gone'), (5, 'open')) s (id, state) ON p.id = s.id
	WHEN MATCHED AND s.state = 'gone' THEN DELETE
	WHEN MATCHED THEN UPDATE SET state = s.state
	WHEN NOT MATCHED THEN INSERT (id, state) VALUES (s.id, s.state);
SELECT n, type, key, sequence FROM events();
-- the other partition's trigger throws the row away: it is deleted
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON parts_done FOR EACH ROW EXECUTE FUNCTION refuse();
BEGIN;
UPDATE parts SET state = 'done' WHERE id = 5;
SAVEPOINT s;
UPDATE parts SET v = 0 WHERE id = 3;
ROLLBACK TO s;
COMMIT;
SELECT n, type, key, sequence FROM events();
UPDATE parts SET state = 'done' WHERE id = 4;
UPDATE parts SET v = 0 WHERE id = 3;
SELECT n, type, key, sequence FROM events();
DROP TRIGGER refuse ON parts_done;
-- a trigger of theirs writes to the same table meanwhile
CREATE FUNCTION chain() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO parts (id, state, v) SELECT 50, 'open', 0 WHERE OLD.id = 3 AND NOT EXISTS (SELECT FROM parts WHERE id = 50);
	UPDATE parts SET state = 'open' WHERE id = 100 AND state <> 'open' AND OLD.id = 3;
	RETURN NULL; END $$;
CREATE TRIGGER chain AFTER DELETE ON parts FOR EACH ROW EXECUTE FUNCTION chain();
UPDATE parts SET state = 'done' WHERE id = 3;
SELECT n, type, key, sequence FROM events();
DROP TRIGGER chain ON parts;
-- TRUNCATE of all, of one
SELECT count(*) FROM parts_done;
TRUNCATE parts_done;
SELECT n, type, key, sequence FROM events();
SELECT count(*) FROM parts;
TRUNCATE parts;
SELECT n, type, key, sequence FROM events() ORDER BY key;
-- partitions that come and go later
CREATE TABLE parts_new PARTITION OF parts (PRIMARY KEY (id)) FOR VALUES IN ('new');
CREATE TABLE parts_newer (LIKE parts INCLUDING GENERATED, PRIMARY KEY (id));
ALTER TABLE parts ATTACH PARTITION parts_newer FOR VALUES IN ('newer');
INSERT INTO parts (id, state) VALUES (60, 'new'), (61, 'newer'), (62, 'newer');
TRUNCATE parts_new, parts_newer;
SELECT n, type, key, sequence FROM events() ORDER BY key, n;
INSERT INTO parts (id, state) VALUES (63, 'newer');
ALTER TABLE parts DETACH PARTITION parts_newer;
UPDATE parts_newer SET v = 1;
TRUNCATE parts_newer;
SELECT n, type, key, sequence FROM events();
SELECT tgname FROM pg_trigger WHERE tgrelid = 'parts_newer'::regclass;
DROP TABLE parts_newer;
-- numbers from a counter instead
SELECT todo_events.detach('parts');
ALTER TABLE parts DROP COLUMN seq;
SELECT todo_events.attach('parts', key => 'id', user_key => 'owner', name => 'parts by counter');
INSERT INTO parts (id, state, owner, v) VALUES (1, 'open', 'al', 10), (2, 'done', 'al', 20);
UPDATE parts SET state = 'done' WHERE id = 1;
UPDATE parts SET state = 'open', id = 3, owner = 'bo' WHERE id = 2;
UPDATE parts SET owner = 'al', state = 'high' WHERE id = 3;
SELECT n, type, key, user_id, sequence, payload -> 'before' AS before FROM events();
SELECT todo_events.detach_all();
DROP TABLE parts;

SET client_min_messages = warning;
DROP FUNCTION events, refuse, chain;
DROP EXTENSION todo_events CASCADE;
