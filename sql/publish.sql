-- publish(): arguments, errors, what is in the log.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS todo_events;
RESET client_min_messages;
SELECT todo_events.create_topic('orders');

SELECT todo_events.publish('orders', 'com.example.a', '{"a":  1}') IS NOT NULL;
SELECT todo_events.publish('orders', 'com.example.b', '{"b":  1}'::jsonb, 'key', 'user') IS NOT NULL;
SELECT todo_events.publish('orders', 'com.example.c', '[1, "é"]'::json, user_id => 'b6b1c1d0-0000-4000-8000-00000000000a') IS NOT NULL;
SELECT todo_events.publish('orders', 'com.example."d\', NULL, key => E'k "\t\\') IS NOT NULL;
SELECT type, key, user_id, sequence, topic, (event - 'id' - 'time')
FROM (SELECT o.*, o.event::jsonb AS event FROM todo_events.outbox o) o (id, "time", type, key, user_id, sequence, topic, json, event) ORDER BY id;
-- data stands as it was given
SELECT substring(event::text from '"data":.*') FROM todo_events.outbox ORDER BY id;
-- publish returns the event's id
SELECT todo_events.publish('orders', 'com.example.id', '{}') AS id \gset
SELECT event->>'id' = :'id' AS same_id FROM todo_events.outbox WHERE type = 'com.example.id';

-- rolled back, wholly or to a savepoint
BEGIN;
SELECT todo_events.publish('orders', 'com.example.gone', '{}') IS NOT NULL;
ROLLBACK;
BEGIN;
SELECT todo_events.publish('orders', 'com.example.kept', '{}') IS NOT NULL;
SAVEPOINT s;
SELECT todo_events.publish('orders', 'com.example.gone', '{}') IS NOT NULL;
ROLLBACK TO s;
COMMIT;
SELECT type FROM todo_events.outbox WHERE type IN ('com.example.gone', 'com.example.kept');

-- a retry with the same idempotency key is refused, a key makes the id
BEGIN;
SET LOCAL todo_events.idempotency_key = 'once';
SET LOCAL todo_events.traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
SELECT todo_events.publish('orders', 'com.example.once', '{}') AS id \gset
COMMIT;
SELECT event->>'id' = :'id' AS same_id, event->>'traceparent' FROM todo_events.outbox WHERE type = 'com.example.once';
BEGIN;
SET LOCAL todo_events.idempotency_key = 'once';
\set VERBOSITY terse
SELECT todo_events.publish('orders', 'com.example.once', '{}');
\set VERBOSITY default
ROLLBACK;

-- refused
\set SHOW_CONTEXT never
SELECT todo_events.publish(NULL, 'com.example.x', '{}');
SELECT todo_events.publish('orders', NULL, '{}');
SELECT todo_events.publish('orders', '', '{}');
SELECT todo_events.publish('nowhere', 'com.example.x', '{}');
SELECT todo_events.publish('orders', 'com.todo.task.created', '{}');
SELECT todo_events.publish('orders', 'com.todo.sync.reset', '{}');
SELECT todo_events.publish('orders', E'com.example.\n', '{}');
SELECT todo_events.publish('orders', 'com.example.x', '{"a":');
SELECT todo_events.publish('orders', 'com.example.x', '{}', key => repeat('k', 1025));
SELECT todo_events.wait_for_delivery();
SELECT todo_events.wait_for_delivery(NULL);
SELECT todo_events.redrive(1);
SELECT todo_events.redrive(NULL::bigint);
SELECT todo_events.redrive('nowhere');
SELECT todo_events.redrive('orders', rate => -1);
SELECT todo_events.purge_dead_letters(NULL);

-- nothing waits, nothing lags: there is no destination
SELECT * FROM todo_events.lag;
SELECT count(*) FROM todo_events.dead_letters;
SELECT todo_events.redrive('orders'), todo_events.redrive(NULL::text), todo_events.purge_dead_letters(now());

-- rights: nobody has any
CREATE ROLE regress_publish;
SET ROLE regress_publish;
SELECT todo_events.publish('orders', 'com.example.x', '{}');
SELECT todo_events.create_topic('mine');
SELECT * FROM todo_events.dead_letters;
RESET ROLE;
SELECT todo_events.grant_access('regress_publish', 'app');
SET ROLE regress_publish;
SELECT todo_events.publish('orders', 'com.example.app', '{}') IS NOT NULL;
SELECT count(*) FROM todo_events.topics;
RESET ROLE;
SELECT todo_events.revoke_access('regress_publish');
SELECT todo_events.grant_access('regress_publish', 'viewer');
SET ROLE regress_publish;
SELECT topic FROM todo_events.topics ORDER BY 1;
SELECT count(*) FROM todo_events.lag;
SELECT count(event) FROM todo_events.dead_letters;
SELECT todo_events.publish('orders', 'com.example.x', '{}');
RESET ROLE;
SELECT todo_events.revoke_access('regress_publish');
SELECT todo_events.grant_access('regress_publish', 'operator');
SET ROLE regress_publish;
SELECT todo_events.create_topic('mine');
DELETE FROM todo_events.topic_config WHERE topic = 'mine';
SELECT count(event) FROM todo_events.dead_letters;
SELECT todo_events.redrive('orders');
SELECT todo_events.purge_dead_letters(now());
RESET ROLE;
SELECT todo_events.revoke_access('regress_publish');
DROP ROLE regress_publish;
DROP EXTENSION todo_events;
