-- One transaction with a change of mind: what follows the savepoint is undone.
\set user :client_id + 1
\set n random(1, 1000000000)
BEGIN;
WITH t AS (
	INSERT INTO tasks (user_id, title) VALUES (app.user_id(:user), 'plan ' || :n) RETURNING id)
INSERT INTO app.activity (task_id, what) SELECT id, 'created' FROM t;
SAVEPOINT second_thoughts;
INSERT INTO tasks (user_id, title) SELECT app.user_id(:user), 'UNDONE ' || :n FROM generate_series(1, 3);
UPDATE tasks SET title = 'UNDONE ' || :n WHERE user_id = app.user_id(:user);
ROLLBACK TO SAVEPOINT second_thoughts;
WITH t AS (
	UPDATE tasks SET description = 'decided ' || :n
	WHERE id = (SELECT app.some_task(:user)) RETURNING id)
INSERT INTO app.activity (task_id, what) SELECT id, 'updated' FROM t;
COMMIT;
