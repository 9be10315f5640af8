-- What the application's journal says was committed, against what the Kafka
-- client has received: \copy has put each message into received.
\pset footer off
CREATE TEMP TABLE received (topic text, part int, "offset" bigint, key text, event json);
\copy received FROM pstdin WITH (FORMAT csv, DELIMITER E'\t', QUOTE E'\x01')

CREATE TEMP TABLE events AS
SELECT topic, part, "offset", key, event->>'id' AS id,
	substr(event->>'type', length('com.todo.task.') + 1) AS what, event->'data'->>'task_id' AS task,
	event->'data'->>'user_id' AS user_id, (event->'data'->>'sequence')::bigint AS sequence,
	event::text LIKE '%UNDONE%' AS undone
FROM received WHERE event->>'type' LIKE 'com.todo.task.%';

CREATE TEMP VIEW by_what AS
SELECT what, count(a.*) AS committed,
	(SELECT count(DISTINCT id) FROM events e WHERE e.what = a.what AND topic = 'task-events') AS "task-events",
	(SELECT count(DISTINCT id) FROM events e WHERE e.what = a.what AND topic = 'task-updates') AS "task-updates"
FROM app.activity a GROUP BY what;

CREATE TEMP TABLE checks AS
SELECT * FROM (
	SELECT 1, 'committed changes (the application''s journal)', (SELECT count(*) FROM app.activity), NULL::bigint
	UNION ALL SELECT 2, 'events in task-events, distinct ids',
		(SELECT count(DISTINCT id) FROM events WHERE topic = 'task-events'), (SELECT count(*) FROM app.activity)
	UNION ALL SELECT 3, 'events in task-updates, distinct ids',
		(SELECT count(DISTINCT id) FROM events WHERE topic = 'task-updates'), (SELECT count(*) FROM app.activity)
	UNION ALL SELECT 4, 'changes of a task without their event, or the reverse', (SELECT count(*)
		FROM (SELECT task_id::text AS task, what, count(*) FROM app.activity GROUP BY 1, 2) a
		FULL JOIN (SELECT task, what, count(DISTINCT id) FROM events WHERE topic = 'task-events' GROUP BY 1, 2) e
		USING (task, what) WHERE a.count IS DISTINCT FROM e.count), 0
	UNION ALL SELECT 5, 'events of rolled back transactions', (SELECT count(*) FROM events WHERE undone), 0
	UNION ALL SELECT 6, 'tasks whose events did not arrive as 1, 2, 3 ...', (SELECT count(DISTINCT task) FROM (
		SELECT task, sequence, row_number() OVER (PARTITION BY task ORDER BY part, "offset") AS place
		FROM (SELECT DISTINCT ON (id) * FROM events WHERE topic = 'task-events' ORDER BY id, part, "offset") f
		) o WHERE sequence <> place), 0
	UNION ALL SELECT 7, 'messages under another key than the task''s, or the user''s', (SELECT count(*) FROM events
		WHERE key <> CASE topic WHEN 'task-events' THEN task ELSE user_id END), 0
	UNION ALL SELECT 8, 'messages that came twice, with the same id (allowed)',
		(SELECT count(*) - count(DISTINCT (topic, id)) FROM events), NULL
) AS v (n, what, value, expected);

\echo
TABLE by_what ORDER BY 1;
SELECT what AS check, value AS is, expected AS "must be",
	CASE WHEN expected IS NULL THEN '' WHEN value = expected THEN 'ok' ELSE 'FAILED' END AS result
FROM checks ORDER BY n;
SELECT (SELECT bool_and(expected IS NULL OR value = expected) FROM checks)
	AND (SELECT count(*) FROM app.activity) > 0 AS passed \gset
\if :passed
	\q
\endif
DO $$ BEGIN RAISE 'the demo has failed'; END $$;
