-- A user deletes a task.
\set user :client_id + 1
BEGIN;
WITH t AS (
	DELETE FROM tasks WHERE id = (SELECT app.some_task(:user)) RETURNING id)
INSERT INTO app.activity (task_id, what) SELECT id, 'deleted' FROM t;
COMMIT;
