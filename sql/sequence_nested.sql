-- A trigger of the application's writes rows that the statement above it has written too.
SET client_min_messages = warning;
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

SET client_min_messages = warning;
SELECT todo_events.detach_all();
DROP TABLE nested;
DROP FUNCTION cascade, replace_next, delete_next;
DROP EXTENSION todo_events CASCADE;
