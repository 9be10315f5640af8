-- A trigger of the application's writes rows that the statement above it has written too.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS todo_events CASCADE;
CREATE EXTENSION todo_events;
RESET client_min_messages;
CREATE TABLE nested (id int PRIMARY KEY, v text, seq bigint);
CREATE TABLE nested_counted (id int PRIMARY KEY, v text);
SELECT todo_events.attach('nested', sequence => 'seq');
SELECT todo_events.attach('nested_counted', name => 'counted');

-- the first row's trigger changes the second and third, whose trigger changes the third
CREATE FUNCTION cascade() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF pg_trigger_depth() <= 2 THEN
		EXECUTE format('UPDATE %I SET v = v || %L WHERE id > %s', TG_TABLE_NAME, pg_trigger_depth(), NEW.id);
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER again AFTER INSERT ON nested FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION cascade();
CREATE TRIGGER again AFTER INSERT ON nested_counted FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION cascade();
CREATE TRIGGER again2 AFTER UPDATE ON nested FOR EACH ROW WHEN (NEW.id = 2) EXECUTE FUNCTION cascade();
CREATE TRIGGER again2 AFTER UPDATE ON nested_counted FOR EACH ROW WHEN (NEW.id = 2) EXECUTE FUNCTION cascade();
INSERT INTO nested VALUES (1, 'a'), (2, 'a'), (3, 'a');
INSERT INTO nested_counted VALUES (1, 'a'), (2, 'a'), (3, 'a');
DROP TRIGGER again ON nested;
DROP TRIGGER again ON nested_counted;
DROP TRIGGER again2 ON nested;
DROP TRIGGER again2 ON nested_counted;

-- the first row's trigger deletes the second, and inserts it anew
CREATE FUNCTION replace_next() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('DELETE FROM %I WHERE id = %s', TG_TABLE_NAME, NEW.id + 1);
	EXECUTE format('INSERT INTO %I VALUES (%s, %L)', TG_TABLE_NAME, NEW.id + 1, 'new');
	EXECUTE format('UPDATE %I SET v = %L WHERE id = %s', TG_TABLE_NAME, 'newer', NEW.id + 1);
	RETURN NULL;
END $$;
CREATE TRIGGER anew AFTER UPDATE ON nested FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION replace_next();
CREATE TRIGGER anew AFTER UPDATE ON nested_counted FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION replace_next();
UPDATE nested SET v = 'b';
UPDATE nested_counted SET v = 'b';
SELECT key, sequence, replace(type, 'com.todo.task.', '') AS type, event #>> '{data,payload,after,v}' AS v
FROM todo_events.outbox ORDER BY key, id;
SELECT * FROM nested ORDER BY id;

-- the first row's trigger takes the second away; TRUNCATE comes in the same transaction
DROP TRIGGER anew ON nested_counted;
CREATE FUNCTION delete_next() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('DELETE FROM %I WHERE id = %s', TG_TABLE_NAME, NEW.id + 1);
	EXECUTE format('INSERT INTO %I VALUES (%s, %L)', TG_TABLE_NAME, NEW.id + 1, 'again');
	RETURN NULL;
END $$;
CREATE TRIGGER away AFTER UPDATE ON nested_counted FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION delete_next();
BEGIN;
UPDATE nested_counted SET v = 'c';
TRUNCATE nested_counted;
DROP TABLE nested_counted;
COMMIT;
SELECT key, array_agg(sequence || replace(type, 'com.todo.task.', ' ') ORDER BY id)
FROM todo_events.outbox WHERE key LIKE 'counted/%' GROUP BY key ORDER BY key;

-- a foreign key's cascade wrote both rows; the first one's trigger changes the second
CREATE TABLE nested_parent (id int PRIMARY KEY);
CREATE TABLE nested_child (id int PRIMARY KEY, v text, parent int REFERENCES nested_parent ON UPDATE CASCADE, seq bigint);
SELECT todo_events.attach('nested_child', name => 'child', sequence => 'seq');
INSERT INTO nested_parent VALUES (1);
INSERT INTO nested_child VALUES (1, 'a', 1), (2, 'a', 1);
CREATE FUNCTION change_next() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('UPDATE %I SET v = %L WHERE id = %s', TG_TABLE_NAME, 'next', NEW.id + 1);
	RETURN NULL;
END $$;
CREATE TRIGGER next AFTER UPDATE ON nested_child FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION change_next();
UPDATE nested_parent SET id = 2;

-- the first row's trigger moves the second to another partition
CREATE TABLE nested_parts (p int, id int, v text, seq bigint) PARTITION BY LIST (p);
CREATE TABLE nested_parts1 PARTITION OF nested_parts FOR VALUES IN (1);
CREATE TABLE nested_parts2 PARTITION OF nested_parts FOR VALUES IN (2);
ALTER TABLE nested_parts ALTER id SET NOT NULL;
CREATE UNIQUE INDEX ON nested_parts1 (id);
CREATE UNIQUE INDEX ON nested_parts2 (id);
SELECT todo_events.attach('nested_parts', key => 'id', name => 'parts', sequence => 'seq');
INSERT INTO nested_parts VALUES (1, 1, 'a'), (1, 2, 'a');
CREATE FUNCTION move_next() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE nested_parts SET p = 2, v = 'moved' WHERE id = NEW.id + 1;
	RETURN NULL;
END $$;
CREATE TRIGGER move AFTER UPDATE ON nested_parts FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION move_next();
UPDATE nested_parts SET v = 'b';

-- the first deleted row's trigger inserts the second one anew
CREATE TABLE nested_counted (id int PRIMARY KEY, v text);
SELECT todo_events.attach('nested_counted', name => 'counted2');
CREATE FUNCTION insert_next() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO %I (id, v) VALUES (%s, %L)', TG_TABLE_NAME, OLD.id + 1, 'anew');
	RETURN NULL;
END $$;
CREATE TRIGGER anew AFTER DELETE ON nested_counted FOR EACH ROW WHEN (OLD.id = 1) EXECUTE FUNCTION insert_next();
CREATE TRIGGER anew AFTER DELETE ON nested_child FOR EACH ROW WHEN (OLD.id = 1) EXECUTE FUNCTION insert_next();
INSERT INTO nested_counted VALUES (1, 'a'), (2, 'a');
DELETE FROM nested_counted;
DELETE FROM nested_child;
SELECT key, array_agg(sequence || replace(type, 'com.todo.task.', ' ') ORDER BY id)
FROM todo_events.outbox WHERE key ~ '^(child|parts|counted2)/' GROUP BY key ORDER BY key;

SET client_min_messages = warning;
SELECT todo_events.detach_all();
DROP TABLE nested, nested_child, nested_parent, nested_parts, nested_counted;
DROP FUNCTION cascade, replace_next, delete_next, change_next, move_next, insert_next;
DROP EXTENSION todo_events CASCADE;
