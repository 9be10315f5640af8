-- publish(), topics and settings.
BEGIN ISOLATION LEVEL REPEATABLE READ; -- whatever others write meanwhile
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
SELECT no_plan();

CREATE FUNCTION pg_temp.last() RETURNS json LANGUAGE sql AS $$
	SELECT event FROM todo_events.outbox ORDER BY id DESC LIMIT 1
$$;

SELECT lives_ok($$ SELECT todo_events.create_topic('todo-events-pgtap', key_by => 'user') $$, 'create_topic');
SELECT throws_ok($$ SELECT todo_events.create_topic('todo-events-pgtap') $$, '23505', NULL, 'twice is refused');
SELECT throws_ok($$ SELECT todo_events.create_topic('no topic/name') $$, '23514', NULL, 'so is a name that Kafka does not take');
SELECT is(todo_events.publish('todo-events-pgtap', 'com.example.thing', '{"a": [1, "ü"]}', key => 'k', user_id => 'u')::text,
	pg_temp.last()->>'id', 'publish returns the event''s id');
SELECT is(pg_temp.last()->>'type', 'com.example.thing', 'its type');
SELECT is(pg_temp.last()->>'partitionkey', 'k', 'its key');
SELECT is(pg_temp.last()#>>'{data,a,1}', 'ü', 'its data, as given');
SELECT throws_ok($$ SELECT todo_events.publish('todo-events-pgtap-no', 'com.example.thing', '{}') $$, 'TE404', NULL,
	'a topic that is not configured is refused');
SELECT throws_ok($$ SELECT todo_events.publish('todo-events-pgtap', 'com.todo.task.created', '{}') $$, '42939', NULL,
	'so is a reserved type');
SELECT throws_ok($$ SELECT todo_events.publish('todo-events-pgtap', 'com.example.thing', '{') $$, '22P02', NULL,
	'and what is no JSON');

SELECT lives_ok($$ SELECT todo_events.configure('source', 'pgtap') $$, 'configure');
SELECT todo_events.publish('todo-events-pgtap', 'com.example.thing', '{}');
SELECT is(pg_temp.last()->>'source', 'pgtap', 'takes effect');
SELECT is((SELECT value FROM todo_events.settings WHERE name = 'source'), 'pgtap', 'and is shown');
SELECT throws_ok($$ SELECT todo_events.configure('brokers', 'no port:x') $$, '22023', NULL, 'a bad value is refused when set');
SELECT throws_ok($$ SELECT todo_events.configure('nothing', 'x') $$, NULL, NULL, 'so is a setting that is none');
SELECT throws_ok($$ SELECT todo_events.configure('ca_file', '/etc/passwd') $$, NULL, NULL,
	'and one of the server''s class (G12)');
SELECT throws_ok($$ SELECT todo_events.configure('kafka_options', 'plugin.library.paths=/tmp/x.so') $$, NULL, NULL,
	'kafka_options load no code (G12)');

SELECT isnt_empty($$ SELECT * FROM todo_events.health() $$, 'health says something');
SELECT isnt_empty($$ SELECT * FROM todo_events.settings $$, 'settings are shown');
SELECT lives_ok($$ SELECT * FROM todo_events.metrics() $$, 'metrics');
SELECT lives_ok($$ TABLE todo_events.workers $$, 'workers');
SELECT lives_ok($$ TABLE todo_events.lag $$, 'lag');
SELECT lives_ok($$ TABLE todo_events.dead_letters $$, 'dead_letters');

SELECT * FROM finish();
ROLLBACK;
