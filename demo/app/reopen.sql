-- Not done after all.
\set user :client_id + 1
BEGIN;
WITH t AS (
	UPDATE tasks SET status = 'pending'
	WHERE id = (SELECT app.some_task(:user, 'completed')) RETURNING id)
INSERT INTO app.activity (task_id, what) SELECT id, 'reopened' FROM t;
COMMIT;
