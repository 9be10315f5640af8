-- A user gives a task to another: one event for the old owner, one for the new.
\set user :client_id + 1
BEGIN;
WITH t AS (
	UPDATE tasks SET user_id = app.user_id(:user % :users + 1)
	WHERE id = (SELECT app.some_task(:user)) RETURNING id)
INSERT INTO app.activity (task_id, what)
SELECT id, what FROM t, unnest(ARRAY['unassigned', 'updated']) AS what;
COMMIT;
