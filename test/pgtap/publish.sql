-- publish(), topics and settings.
SELECT lives_ok(format($$ SELECT todo_events.create_topic(%L, key_by => 'user') $$, :'schema'), 'create_topic');
SELECT throws_ok(format('SELECT todo_events.create_topic(%L)', :'schema'), '23505', NULL, 'twice is refused');
SELECT throws_ok($$ SELECT todo_events.create_topic('no topic/name') $$, '23514', NULL, 'so is a name that Kafka does not take');
SELECT is(todo_events.publish(:'schema', 'com.example.thing', json_build_object('a', ARRAY['1', :'title'])::text, key => 'k', user_id => 'u')::text,
	last_event()->>'id', 'publish returns the event''s id');
SELECT is(last_event()->>'type', 'com.example.thing', 'its type');
SELECT is(last_event()->>'partitionkey', 'k', 'its key');
SELECT is(last_event()#>>'{data,a,1}', :'title', 'its data, as given');
SELECT throws_ok(format($$ SELECT todo_events.publish(%L, 'com.example.thing', '{}') $$, :'schema' || '-no'), 'TE404', NULL,
	'a topic that is not configured is refused');
SELECT throws_ok(format($$ SELECT todo_events.publish(%L, 'com.todo.task.created', '{}') $$, :'schema'), '42939', NULL,
	'so is a reserved type');
SELECT throws_ok(format($$ SELECT todo_events.publish(%L, 'com.example.thing', '{') $$, :'schema'), '22P02', NULL,
	'and what is no JSON');

SELECT lives_ok($$ SELECT todo_events.configure('source', 'pgtap') $$, 'configure');
SELECT todo_events.publish(:'schema', 'com.example.thing', '{}') AS id \gset
SELECT is(last_event()->>'source', 'pgtap', 'takes effect');
SELECT is((SELECT value FROM todo_events.settings WHERE name = 'source'), 'pgtap', 'and is shown');
SELECT throws_ok($$ SELECT todo_events.configure('brokers', 'no port:x') $$, '22023', NULL, 'a bad value is refused when set');
SELECT throws_ok($$ SELECT todo_events.configure('nothing', 'x') $$, NULL, NULL, 'so is a setting that is none');
SELECT throws_ok($$ SELECT todo_events.configure('ca_file', '/etc/passwd') $$, NULL, NULL,
	'and one of the server''s class (G12)');
SELECT throws_ok($$ SELECT todo_events.configure('kafka_options', 'plugin.library.paths=/tmp/x.so') $$, NULL, NULL,
	'kafka_options load no code (G12)');

SELECT isnt_empty($$ SELECT * FROM todo_events.settings $$, 'settings are shown');
SELECT lives_ok($$ SELECT * FROM todo_events.metrics() $$, 'metrics');
SELECT lives_ok($$ TABLE todo_events.workers $$, 'workers');
SELECT lives_ok($$ TABLE todo_events.lag $$, 'lag');
SELECT lives_ok($$ TABLE todo_events.topics $$, 'topics');
SELECT lives_ok($$ SELECT * FROM todo_events.dead_letters LIMIT 1 $$, 'dead_letters');
