-- From a change to its CloudEvent, as the transaction that makes it sees the log.
BEGIN ISOLATION LEVEL REPEATABLE READ; -- whatever others write meanwhile
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
SELECT no_plan();

CREATE SCHEMA todo_events_pgtap;
SELECT lives_ok($$ SELECT todo_events.create_tasks('todo_events_pgtap.pgtap_tasks') $$, 'create_tasks');

-- events of this transaction only, whatever else is in the log
SELECT COALESCE(max(id), 0) AS before FROM todo_events.outbox \gset
CREATE FUNCTION pg_temp.seen(task uuid) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' ', split_part(type, '.', 4), sequence) FROM todo_events.outbox
	WHERE key = seen.task::text ORDER BY id
$$;
CREATE FUNCTION pg_temp.last(task uuid) RETURNS json LANGUAGE sql AS $$
	SELECT event FROM todo_events.outbox WHERE key = last.task::text ORDER BY id DESC LIMIT 1
$$;

INSERT INTO todo_events_pgtap.pgtap_tasks (id, user_id, title)
VALUES ('00000000-0000-4000-8000-00000000da7a', '00000000-0000-4000-8000-00000000000a', 'ünïcode "quoted" \ 世界');
SELECT '00000000-0000-4000-8000-00000000da7a'::uuid AS task \gset

SELECT results_eq(format('SELECT pg_temp.seen(%L)', :'task'), ARRAY['created 1'], 'INSERT is created, sequence 1 (G3)');
SELECT is(pg_temp.last(:'task')->>'specversion', '1.0', 'specversion');
SELECT is(pg_temp.last(:'task')->>'type', 'com.todo.task.created', 'type');
SELECT is(pg_temp.last(:'task')->>'partitionkey', :'task', 'partitionkey');
SELECT is(pg_temp.last(:'task')->>'datacontenttype', 'application/json', 'datacontenttype');
SELECT matches(pg_temp.last(:'task')->>'time', '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$', 'time');
SELECT is(pg_temp.last(:'task')#>>'{data,task_id}', :'task', 'data.task_id');
SELECT is(pg_temp.last(:'task')#>>'{data,user_id}', '00000000-0000-4000-8000-00000000000a', 'data.user_id');
SELECT is(pg_temp.last(:'task')#>>'{data,payload,after,title}', 'ünïcode "quoted" \ 世界', 'data.payload.after');
SELECT is(pg_temp.last(:'task')->>'id', pg_temp.last(:'task')->>'id', 'the id is the same each time it is rendered (G2)');
SELECT is(pg_temp.last(:'task')#>>'{data,idempotency_key}', pg_temp.last(:'task')->>'id',
	'data.idempotency_key is the id where none is given');

UPDATE todo_events_pgtap.pgtap_tasks SET title = title WHERE id = :'task';
SELECT results_eq(format('SELECT pg_temp.seen(%L)', :'task'), ARRAY['created 1'], 'an UPDATE that changes nothing is no event');
UPDATE todo_events_pgtap.pgtap_tasks SET updated_at = now() + interval '1 s' WHERE id = :'task';
SELECT results_eq(format('SELECT pg_temp.seen(%L)', :'task'), ARRAY['created 1'], 'nor is one of updated_at alone');
UPDATE todo_events_pgtap.pgtap_tasks SET title = 'second' WHERE id = :'task';
SELECT is(pg_temp.last(:'task')#>>'{data,payload,before,title}', 'ünïcode "quoted" \ 世界', 'before holds the old value');
SELECT ok(pg_temp.last(:'task')#>'{data,payload,before,status}' IS NULL, 'and nothing that did not change');
UPDATE todo_events_pgtap.pgtap_tasks SET status = 'completed', title = 'third' WHERE id = :'task';
SELECT isnt((SELECT completed_at FROM todo_events_pgtap.pgtap_tasks WHERE id = :'task'), NULL, 'completed_at is kept');
UPDATE todo_events_pgtap.pgtap_tasks SET status = 'pending' WHERE id = :'task';
UPDATE todo_events_pgtap.pgtap_tasks SET user_id = '00000000-0000-4000-8000-00000000000b' WHERE id = :'task';
SELECT is((SELECT sequence FROM todo_events_pgtap.pgtap_tasks WHERE id = :'task'), 6::bigint, 'the column has the last number');
DELETE FROM todo_events_pgtap.pgtap_tasks WHERE id = :'task';
SELECT is(pg_temp.last(:'task')#>>'{data,payload,before,title}', 'third', 'deleted holds the whole row before');
INSERT INTO todo_events_pgtap.pgtap_tasks (id, user_id, title) VALUES (:'task', gen_random_uuid(), 'again');
SELECT results_eq(format('SELECT pg_temp.seen(%L)', :'task'),
	ARRAY['created 1', 'updated 2', 'completed 3', 'reopened 4', 'unassigned 5', 'updated 6', 'deleted 7', 'created 8'],
	'one event a change, two for a new owner, numbered on after a DELETE (G3)');

SELECT is((SELECT count(*) FROM todo_events.outbox WHERE id > :before), 8::bigint, 'and no others');
SAVEPOINT undone;
INSERT INTO todo_events_pgtap.pgtap_tasks (user_id, title) VALUES (gen_random_uuid(), 'undone');
ROLLBACK TO undone;
SELECT is((SELECT count(*) FROM todo_events.outbox WHERE id > :before), 8::bigint, 'none of what is rolled back (G1)');
INSERT INTO todo_events_pgtap.pgtap_tasks (user_id, title) SELECT gen_random_uuid(), 'many ' || n FROM generate_series(1, 100) n;
SELECT is((SELECT count(*) FROM todo_events.outbox WHERE id > :before), 108::bigint, 'one for each row of a statement');

-- idempotency
SET LOCAL todo_events.idempotency_key = 'pgtap-key';
INSERT INTO todo_events_pgtap.pgtap_tasks (user_id, title) VALUES (gen_random_uuid(), 'keyed');
SELECT is((SELECT event#>>'{data,idempotency_key}' FROM todo_events.outbox ORDER BY id DESC LIMIT 1), 'pgtap-key',
	'data.idempotency_key is the one given');
RESET todo_events.idempotency_key;

-- traceparent
SET LOCAL todo_events.traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
INSERT INTO todo_events_pgtap.pgtap_tasks (user_id, title) VALUES (gen_random_uuid(), 'traced');
SELECT is((SELECT event->>'traceparent' FROM todo_events.outbox ORDER BY id DESC LIMIT 1),
	'00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', 'traceparent');
RESET todo_events.traceparent;

-- cursor and read: what this transaction adds is not yet there for readers
SELECT lives_ok($$ SELECT todo_events.cursor() $$, 'cursor');
SELECT cmp_ok(length(todo_events.cursor()), '<=', 200, 'a cursor has at most 200 bytes');
SELECT throws_ok($$ SELECT * FROM todo_events.read('no cursor') $$, '22023', NULL, 'read refuses what is no cursor');

SELECT * FROM finish();
ROLLBACK;
