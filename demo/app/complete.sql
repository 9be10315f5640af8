-- A user completes a task; completing it once more changes nothing, so is no event.
\set user :client_id + 1
BEGIN;
WITH t AS (
	UPDATE tasks SET status = 'completed'
	WHERE id = (SELECT app.some_task(:user, 'pending')) RETURNING id), again AS (
	INSERT INTO app.activity (task_id, what) SELECT id, 'completed' FROM t RETURNING task_id)
SELECT count(*) FROM again;
UPDATE tasks SET status = 'completed' WHERE id = (SELECT app.some_task(:user, 'completed'));
COMMIT;
