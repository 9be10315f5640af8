-- From a change to its CloudEvent, as the transaction that makes it sees the log: on a
-- table that the suite makes and attaches.
SELECT lives_ok(format('SELECT todo_events.create_tasks(%L)', :'schema' || '.' || :'schema'), 'create_tasks');
-- attached under a name of which there is no other
ALTER TABLE :"schema" RENAME TO tasks;
\if :utf8
	\set title 'ünïcode "quoted" \\ 世界'
\else
	\set title '"quoted" \\ plain'
\endif

CREATE FUNCTION seen(task uuid) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' ', split_part(m.type, '.', 4), m.sequence) FROM made m WHERE m.key = seen.task::text ORDER BY m.id
$$;
CREATE FUNCTION last(task uuid) RETURNS json LANGUAGE sql AS $$
	SELECT m.event FROM made m WHERE m.key = last.task::text ORDER BY m.id DESC LIMIT 1
$$;

INSERT INTO tasks (id, user_id, title)
VALUES ('00000000-0000-4000-8000-00000000da7a', '00000000-0000-4000-8000-00000000000a', :'title');
SELECT '00000000-0000-4000-8000-00000000da7a'::uuid AS task \gset

SELECT results_eq(format('SELECT seen(%L)', :'task'), ARRAY['created 1'], 'INSERT is created, sequence 1 (G3)');
SELECT is(last(:'task')->>'specversion', '1.0', 'specversion');
SELECT is(last(:'task')->>'type', 'com.todo.task.created', 'type');
SELECT is(last(:'task')->>'partitionkey', :'task', 'partitionkey');
SELECT is(last(:'task')->>'datacontenttype', 'application/json', 'datacontenttype');
SELECT matches(last(:'task')->>'time', '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$', 'time');
SELECT is(last(:'task')#>>'{data,task_id}', :'task', 'data.task_id');
SELECT is(last(:'task')#>>'{data,user_id}', '00000000-0000-4000-8000-00000000000a', 'data.user_id');
SELECT is(last(:'task')#>>'{data,payload,after,title}', :'title', 'data.payload.after');
SELECT is(last(:'task')->>'id', last(:'task')->>'id', 'the id is the same each time it is rendered (G2)');
SELECT is(last(:'task')#>>'{data,idempotency_key}', last(:'task')->>'id',
	'data.idempotency_key is the id where none is given');

UPDATE tasks SET title = title WHERE id = :'task';
SELECT results_eq(format('SELECT seen(%L)', :'task'), ARRAY['created 1'], 'an UPDATE that changes nothing is no event');
UPDATE tasks SET updated_at = now() + interval '1 s' WHERE id = :'task';
SELECT results_eq(format('SELECT seen(%L)', :'task'), ARRAY['created 1'], 'nor is one of updated_at alone');
UPDATE tasks SET title = 'second' WHERE id = :'task';
SELECT is(last(:'task')#>>'{data,payload,before,title}', :'title', 'before holds the old value');
SELECT ok(last(:'task')#>'{data,payload,before,status}' IS NULL, 'and nothing that did not change');
UPDATE tasks SET status = 'completed', title = 'third' WHERE id = :'task';
SELECT isnt((SELECT completed_at FROM tasks WHERE id = :'task'), NULL, 'completed_at is kept');
UPDATE tasks SET status = 'pending' WHERE id = :'task';
UPDATE tasks SET user_id = '00000000-0000-4000-8000-00000000000b' WHERE id = :'task';
SELECT is((SELECT sequence FROM tasks WHERE id = :'task'), 6::bigint, 'the column has the last number');
DELETE FROM tasks WHERE id = :'task';
SELECT is(last(:'task')#>>'{data,payload,before,title}', 'third', 'deleted holds the whole row before');
INSERT INTO tasks (id, user_id, title) VALUES (:'task', gen_random_uuid(), 'again');
SELECT results_eq(format('SELECT seen(%L)', :'task'),
	ARRAY['created 1', 'updated 2', 'completed 3', 'reopened 4', 'unassigned 5', 'updated 6', 'deleted 7', 'created 8'],
	'one event a change, two for a new owner, numbered on after a DELETE (G3)');

SELECT is((SELECT count(*) FROM made), 8::bigint, 'and no others');
SAVEPOINT undone;
INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'undone');
ROLLBACK TO undone;
SELECT is((SELECT count(*) FROM made), 8::bigint, 'none of what is rolled back (G1)');
INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), 'many ' || n FROM generate_series(1, 100) n;
SELECT is((SELECT count(*) FROM made), 108::bigint, 'one for each row of a statement');

-- idempotency
SELECT set_config('todo_events.idempotency_key', :'schema', true) AS key \gset
INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'keyed');
SELECT is(last_event()#>>'{data,idempotency_key}', :'schema',
	'data.idempotency_key is the one given');
SET LOCAL todo_events.idempotency_key = '';

-- traceparent
SET LOCAL todo_events.traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'traced');
SELECT is(last_event()->>'traceparent',
	'00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', 'traceparent');
SET LOCAL todo_events.traceparent = '';

-- cursor and read: what this transaction adds is not yet there for readers
SELECT lives_ok($$ SELECT todo_events.cursor() $$, 'cursor');
SELECT cmp_ok(length(todo_events.cursor()), '<=', 200, 'a cursor has at most 200 bytes');
SELECT throws_ok($$ SELECT * FROM todo_events.read('no cursor') $$, '22023', NULL, 'read refuses what is no cursor');
