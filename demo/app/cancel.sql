-- A user fills a form in, and leaves: everything is rolled back.
\set user :client_id + 1
\set n random(1, 1000000000)
BEGIN;
INSERT INTO tasks (user_id, title) VALUES (app.user_id(:user), 'UNDONE ' || :n);
UPDATE tasks SET title = 'UNDONE ' || :n WHERE user_id = app.user_id(:user);
DELETE FROM tasks WHERE id = (SELECT app.some_task(:user));
INSERT INTO app.activity (task_id, what) VALUES (gen_random_uuid(), 'UNDONE');
ROLLBACK;
