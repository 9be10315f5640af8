-- A list is imported, 20 tasks at once.
\set user :client_id + 1
\set n random(1, 1000000000)
BEGIN;
WITH t AS (
	INSERT INTO tasks (user_id, title)
	SELECT app.user_id(:user), 'imported ' || :n || '/' || i FROM generate_series(1, 20) AS i
	RETURNING id)
INSERT INTO app.activity (task_id, what) SELECT id, 'created' FROM t;
COMMIT;
