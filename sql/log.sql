-- The event log by SQL: cursor(), read(), outbox, idempotency keys, traceparent,
-- and that the log stands what a transaction does around it.
SELECT current_database() AS main \gset
CREATE DATABASE regression_log;
\c regression_log
CREATE EXTENSION todo_events;
CREATE TABLE items (id int PRIMARY KEY, owner text, title text, sequence bigint);
SELECT todo_events.attach('items', key => 'id', user_key => 'owner', title => 'title', sequence => 'sequence');
-- what an event says, without what differs from run to run
CREATE VIEW said AS SELECT o.id, key, o.sequence, type, event::jsonb #>> '{data,payload,after,title}' AS title FROM todo_events.outbox o;
CREATE FUNCTION read_titles(from_ text, most int DEFAULT 1000) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT event::jsonb #>> '{data,task_id}' || ' ' || (event::jsonb #>> '{data,sequence}') || ' ' ||
		COALESCE(event::jsonb #>> '{data,payload,after,title}', '-')
	FROM todo_events.read(from_, most) $$;

-- from the beginning, and from a cursor
SELECT * FROM todo_events.read(NULL);
SELECT todo_events.cursor() AS start \gset
SELECT length(:'start') <= 200 AS short, :'start' ~ '^te1\.' AS known;
INSERT INTO items VALUES (1, 'ann', 'one'), (2, 'bob', 'two');
UPDATE items SET title = 'ONE' WHERE id = 1;
SELECT * FROM read_titles(:'start');
SELECT * FROM read_titles(NULL, 2);
SELECT cursor AS second FROM todo_events.read(:'start') OFFSET 1 LIMIT 1 \gset
SELECT * FROM read_titles(:'second');
SELECT * FROM read_titles(todo_events.cursor());
-- the event carries its own cursor, and is otherwise the outbox's
SELECT bool_and(r.event::jsonb->>'cursor' = r.cursor) AS carries,
	bool_and((r.event::jsonb - 'cursor') = (SELECT o.event::jsonb FROM todo_events.outbox o WHERE o.event->>'id' = r.event::jsonb->>'id')) AS same
FROM todo_events.read(NULL) r;
SELECT * FROM todo_events.read(NULL, 0);
SELECT * FROM todo_events.read(NULL, 100001);

-- the latest events are found by their ids, with none rendered but those
SET enable_sort = off;
SET enable_seqscan = off;
CREATE FUNCTION sorts(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE plan json; BEGIN EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan; RETURN plan::text ~ '"Node Type": "Sort"'; END $$;
SELECT sorts('SELECT * FROM todo_events.outbox ORDER BY id DESC LIMIT 3');
RESET enable_sort;
RESET enable_seqscan;

-- what was rolled back is not there; sequences go on
BEGIN;
INSERT INTO items VALUES (3, 'ann', 'never');
ROLLBACK;
BEGIN;
SAVEPOINT a;
UPDATE items SET title = 'never' WHERE id = 2;
ROLLBACK TO a;
UPDATE items SET title = 'TWO' WHERE id = 2;
COMMIT;
DO $$
BEGIN
	FOR i IN 1 .. 100 LOOP
		BEGIN
			INSERT INTO items VALUES (100 + i, 'ann', 'sub ' || i);
			IF i > 2 THEN
				RAISE EXCEPTION 'no';
			END IF;
		EXCEPTION WHEN raise_exception THEN
		END;
	END LOOP;
END $$;
SELECT key, sequence, type, title FROM said WHERE id > (SELECT max(id) FROM said WHERE title = 'ONE') ORDER BY id;
SELECT count(*) FROM read_titles(:'start');
-- nor what is prepared, before it is committed
SELECT todo_events.cursor() AS here \gset
BEGIN;
INSERT INTO items VALUES (4, 'ann', 'later');
PREPARE TRANSACTION 'regression_log';
INSERT INTO items VALUES (5, 'ann', 'sooner');
SELECT * FROM read_titles(:'here');
SELECT cursor AS here FROM todo_events.read(:'here') \gset
COMMIT PREPARED 'regression_log';
SELECT * FROM read_titles(:'here');

-- idempotency keys
BEGIN;
SET LOCAL todo_events.idempotency_key = 'k 1';
INSERT INTO items VALUES (10, 'ann', 'keyed'), (11, 'ann', 'keyed, too');
COMMIT;
SELECT key, event->'data'->>'idempotency_key' AS idempotency_key, substring(event->>'id' FROM 15 FOR 1) AS version
FROM todo_events.outbox WHERE key IN ('10', '11') ORDER BY id;
SELECT event->'data'->>'idempotency_key' = event->>'id' AS same FROM todo_events.outbox WHERE key = '5';
\set VERBOSITY sqlstate
BEGIN;
SET LOCAL todo_events.idempotency_key = 'k 1';
INSERT INTO items VALUES (12, 'ann', 'again');
ROLLBACK;
\set VERBOSITY default
BEGIN;
SET LOCAL todo_events.idempotency_key = 'k 2';
INSERT INTO items VALUES (12, 'ann', 'taken back');
ROLLBACK;
BEGIN;
SET LOCAL todo_events.idempotency_key = 'k 2';
SAVEPOINT a;
INSERT INTO items VALUES (12, 'ann', 'taken back');
ROLLBACK TO a;
INSERT INTO items VALUES (13, 'ann', 'kept');
SAVEPOINT b;
INSERT INTO items VALUES (14, 'ann', 'kept as well');
RELEASE b;
COMMIT;
SELECT key, event->'data'->>'idempotency_key' AS idempotency_key FROM todo_events.outbox WHERE key IN ('12', '13', '14') ORDER BY id;
-- two keys in one transaction, one of them taken back
BEGIN;
SET LOCAL todo_events.idempotency_key = 'k 3';
INSERT INTO items VALUES (15, 'ann', 'with k 3');
SAVEPOINT a;
SET LOCAL todo_events.idempotency_key = 'k 4';
INSERT INTO items VALUES (16, 'ann', 'with k 4');
ROLLBACK TO a;
INSERT INTO items VALUES (17, 'ann', 'with k 3 again');
COMMIT;
BEGIN;
SET LOCAL todo_events.idempotency_key = 'k 4';
INSERT INTO items VALUES (16, 'ann', 'k 4 is free');
COMMIT;
\set VERBOSITY sqlstate
BEGIN;
SET LOCAL todo_events.idempotency_key = 'k 3';
INSERT INTO items VALUES (18, 'ann', 'k 3 is not');
ROLLBACK;
\set VERBOSITY default
-- a prepared transaction holds its key
BEGIN;
SET LOCAL todo_events.idempotency_key = 'k 5';
INSERT INTO items VALUES (18, 'ann', 'prepared');
PREPARE TRANSACTION 'regression_log';
\set VERBOSITY sqlstate
BEGIN;
SET LOCAL lock_timeout = '10ms';
SET LOCAL todo_events.idempotency_key = 'k 5';
INSERT INTO items VALUES (24, 'ann', 'meanwhile');
ROLLBACK;
COMMIT PREPARED 'regression_log';
BEGIN;
SET LOCAL todo_events.idempotency_key = 'k 5';
INSERT INTO items VALUES (24, 'ann', 'afterwards');
ROLLBACK;
\set VERBOSITY default
-- after the retention it is free
BEGIN;
SET LOCAL todo_events.idempotency_key = 'k 1';
SET LOCAL todo_events.clock_offset = '2d';
INSERT INTO items VALUES (19, 'ann', 'long after');
COMMIT;
SELECT count(*) FROM said WHERE key = '19';

-- traceparent
BEGIN;
SET LOCAL todo_events.traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
INSERT INTO items VALUES (20, 'ann', 'traced');
COMMIT;
SELECT event->>'traceparent' AS traceparent, event->'data'->>'idempotency_key' = event->>'id' AS own_key FROM todo_events.outbox WHERE key = '20';

-- maintenance: nothing is due; it holds its locks for no transaction
SELECT todo_events.maintain();
BEGIN;
SELECT todo_events.maintain();
ROLLBACK;
-- a cursor of before a rotation is gone
SET todo_events.clock_offset = '5d';
DO $$
BEGIN
	-- it does nothing while the engine is at it
	FOR i IN 1 .. 1000 LOOP
		EXIT WHEN todo_events.maintain() > 0;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
RESET todo_events.clock_offset;
SELECT count(*) FROM said;
\set VERBOSITY sqlstate
SELECT * FROM todo_events.read(:'start');
\set VERBOSITY default
SELECT count(*) FROM todo_events.read(NULL);
INSERT INTO items VALUES (21, 'ann', 'after the rotation');
SELECT * FROM read_titles(NULL);

-- the extension goes in a transaction that has used it, and the drop is taken back
BEGIN;
INSERT INTO items VALUES (22, 'ann', 'before the drop');
SELECT todo_events.detach_all();
SET client_min_messages = warning;
DROP EXTENSION todo_events CASCADE;
RESET client_min_messages;
INSERT INTO items VALUES (23, 'ann', 'nobody looks');
ROLLBACK;
INSERT INTO items VALUES (22, 'ann', 'after the rollback');
SELECT * FROM read_titles(NULL);

-- it is created in a savepoint that is taken back, and again
DROP VIEW said;
DROP FUNCTION read_titles;
BEGIN;
SELECT todo_events.detach_all();
DROP EXTENSION todo_events;
ALTER TABLE items DROP COLUMN sequence;
COMMIT;
BEGIN;
SAVEPOINT a;
CREATE EXTENSION todo_events;
SELECT todo_events.attach('items', key => 'id');
INSERT INTO items VALUES (30, 'ann', 'never');
ROLLBACK TO a;
CREATE EXTENSION todo_events;
SELECT todo_events.attach('items', key => 'id');
INSERT INTO items VALUES (31, 'ann', 'the second extension''s');
COMMIT;
INSERT INTO items VALUES (32, 'ann', 'and on');
SELECT id, key, sequence FROM todo_events.outbox ORDER BY id;
\c :main
DROP DATABASE regression_log;
