-- The todo application's own schema: the standard tasks table, and the journal
-- that the application keeps of what it did, in the same transactions. The
-- summary compares this journal, which todo_events knows nothing of, with what a
-- Kafka client has received.
SELECT todo_events.create_tasks('public.tasks');
CREATE INDEX tasks_user ON tasks (user_id);

CREATE SCHEMA app;
CREATE TABLE app.activity (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	task_id uuid NOT NULL,
	what text NOT NULL
);

CREATE FUNCTION app.user_id(number bigint) RETURNS uuid LANGUAGE sql IMMUTABLE
RETURN md5('user ' || number)::uuid;

-- one of a user's tasks, locked; null if there is none
CREATE FUNCTION app.some_task(number bigint, wanted text DEFAULT NULL) RETURNS uuid LANGUAGE sql VOLATILE
AS $$
	SELECT id FROM tasks
	WHERE user_id = app.user_id(number) AND (wanted IS NULL OR status = wanted)
	OFFSET floor(random() * (SELECT count(*) FROM tasks
		WHERE user_id = app.user_id(number) AND (wanted IS NULL OR status = wanted)))
	LIMIT 1 FOR UPDATE
$$;
