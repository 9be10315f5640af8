-- A user changes a task.
\set user :client_id + 1
\set n random(1, 1000000000)
BEGIN;
WITH t AS (
	UPDATE tasks SET title = 'edited ' || :n, priority = (ARRAY['low', 'medium', 'high', 'urgent'])[:n % 4 + 1]
	WHERE id = (SELECT app.some_task(:user)) RETURNING id)
INSERT INTO app.activity (task_id, what) SELECT id, 'updated' FROM t;
COMMIT;
