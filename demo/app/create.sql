-- A user writes down a task.
\set user :client_id + 1
\set n random(1, 1000000000)
BEGIN;
WITH t AS (
	INSERT INTO tasks (user_id, title, due_at, tags)
	VALUES (app.user_id(:user), 'task ' || :n, now() + :n % 1000 * interval '1 hour', ARRAY['home', 'n' || :n % 10])
	RETURNING id)
INSERT INTO app.activity (task_id, what) SELECT id, 'created' FROM t;
COMMIT;
