-- What a change of a row becomes.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS todo_events CASCADE;
CREATE EXTENSION todo_events;
RESET client_min_messages;

-- events since the last look, without what differs from run to run
CREATE FUNCTION events(OUT n bigint, OUT type text, OUT key text, OUT user_id text, OUT sequence bigint, OUT payload jsonb)
RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
	last bigint := coalesce(nullif(current_setting('test.last', true), ''), '0');
BEGIN
	RETURN QUERY SELECT row_number() OVER (ORDER BY o.id), o.type, o.key, o.user_id, o.sequence,
		(o.event::jsonb #> '{data,payload}')
			#- '{after,created_at}' #- '{after,updated_at}' #- '{before,created_at}' #- '{before,updated_at}' #- '{before,completed_at}'
	FROM todo_events.outbox o WHERE o.id > last ORDER BY o.id;
	PERFORM set_config('test.last', (SELECT max(o.id)::text FROM todo_events.outbox o), false);
END $$;

-- ---- the standard table ----------------------------------------------------
SELECT todo_events.create_tasks('tasks');
\set t1 '00000000-0000-4000-8000-000000000001'
\set alice 'aaaaaaaa-0000-4000-8000-000000000000'
\set bob 'bbbbbbbb-0000-4000-8000-000000000000'
INSERT INTO tasks (id, user_id, title) VALUES (:'t1', :'alice', 'one') RETURNING sequence;
UPDATE tasks SET title = 'uno', tags = '{a,"b c"}' RETURNING sequence;
SELECT * FROM events();
-- nothing, a number of one's own, or a touch: no event
UPDATE tasks SET title = title RETURNING sequence;
UPDATE tasks SET sequence = 99 RETURNING sequence;
UPDATE tasks SET updated_at = '2000-01-01' RETURNING sequence, updated_at = '2000-01-01' AS as_given;
SELECT * FROM events();
UPDATE tasks SET status = 'completed' RETURNING sequence, completed_at = now() AS completed_now, updated_at = now() AS updated_now;
UPDATE tasks SET status = 'pending', completed_at = completed_at RETURNING sequence, completed_at;
UPDATE tasks SET status = 'completed', completed_at = '2001-01-01' RETURNING completed_at = '2001-01-01' AS as_given;
SELECT n, type, sequence, payload - 'after' AS payload FROM events();
-- another user
UPDATE tasks SET user_id = :'bob' RETURNING sequence;
UPDATE tasks SET user_id = :'alice', status = 'in_progress' RETURNING sequence;
SELECT n, type, user_id, sequence, payload - 'after' AS payload FROM events();
-- another key
UPDATE tasks SET id = '00000000-0000-4000-8000-000000000002' RETURNING sequence;
UPDATE tasks SET id = :'t1' RETURNING sequence;
SELECT n, type, key, sequence, payload ? 'after' AS after, payload ? 'before' AS before FROM events();
-- deleted, and there again: it counts on
DELETE FROM tasks RETURNING sequence;
INSERT INTO tasks (id, user_id, title, status) VALUES (:'t1', :'bob', 'again', 'completed') RETURNING sequence, completed_at = now() AS completed_now;
SELECT n, type, user_id, sequence FROM events();

-- ---- ways to write -----------------------------------------------------------
INSERT INTO tasks (id, user_id, title) VALUES (:'t1', :'bob', 'conflict') ON CONFLICT (id) DO NOTHING RETURNING sequence;
INSERT INTO tasks (id, user_id, title) VALUES (:'t1', :'bob', 'conflict'), ('00000000-0000-4000-8000-000000000003', :'bob', 'three')
	ON CONFLICT (id) DO UPDATE SET title = EXCLUDED.title, sequence = EXCLUDED.sequence RETURNING id, sequence;
SELECT n, type, key, sequence, payload #>> '{after,title}' AS title FROM events();
COPY tasks (id, user_id, title) FROM STDIN;
00000000-0000-4000-8000-000000000004	bbbbbbbb-0000-4000-8000-000000000000	four
00000000-0000-4000-8000-000000000005	bbbbbbbb-0000-4000-8000-000000000000	five
\.
MERGE INTO tasks t USING (VALUES ('00000000-0000-4000-8000-000000000004'::uuid, 'vier'), ('00000000-0000-4000-8000-000000000005', NULL),
	('00000000-0000-4000-8000-000000000006', 'sechs')) AS s (id, title) ON t.id = s.id
	WHEN MATCHED AND s.title IS NULL THEN DELETE
	WHEN MATCHED THEN UPDATE SET title = s.title
	WHEN NOT MATCHED THEN INSERT (id, user_id, title) VALUES (s.id, :'bob', s.title);
WITH gone AS (DELETE FROM tasks WHERE title = 'vier' RETURNING *), changed AS (UPDATE tasks SET title = 'six' WHERE title = 'sechs')
	INSERT INTO tasks (id, user_id, title) SELECT '00000000-0000-4000-8000-000000000007', user_id, 'seven' FROM gone;
CREATE VIEW open_tasks AS SELECT id, user_id, title FROM tasks WHERE status = 'pending';
UPDATE open_tasks SET title = 'SEVEN' WHERE title = 'seven';
CREATE RULE twice AS ON DELETE TO open_tasks DO INSTEAD UPDATE tasks SET status = 'completed' WHERE id = OLD.id;
DELETE FROM open_tasks WHERE title = 'SEVEN';
SELECT n, type, key, sequence, payload #>> '{after,title}' AS title FROM events();

-- rolled back, wholly or in part
BEGIN;
UPDATE tasks SET title = 'never' WHERE title = 'six';
ROLLBACK;
BEGIN;
UPDATE tasks SET title = 'six 1' WHERE title = 'six';
SAVEPOINT s;
UPDATE tasks SET title = 'six 2' WHERE title = 'six 1';
DELETE FROM tasks WHERE title = 'six 2';
ROLLBACK TO s;
UPDATE tasks SET title = 'six 3' WHERE title = 'six 1' RETURNING sequence;
COMMIT;
BEGIN;
DELETE FROM tasks WHERE title = 'six 3';
SAVEPOINT s;
INSERT INTO tasks (id, user_id, title) VALUES ('00000000-0000-4000-8000-000000000006', :'bob', 'never') RETURNING sequence;
ROLLBACK TO s;
INSERT INTO tasks (id, user_id, title) VALUES ('00000000-0000-4000-8000-000000000006', :'bob', 'six again') RETURNING sequence;
COMMIT;
SELECT n, type, sequence, payload #>> '{after,title}' AS title FROM events();

-- nothing is captured of replication and restore
SET session_replication_role = replica;
INSERT INTO tasks (id, user_id, title) VALUES ('00000000-0000-4000-8000-000000000008', :'bob', 'replicated');
UPDATE tasks SET title = 'replicated' WHERE title = 'SEVEN';
RESET session_replication_role;
SELECT * FROM events();

-- TRUNCATE: an event a row, up to a limit
DELETE FROM tasks WHERE title <> 'replicated';
SELECT count(*) FROM events();
SET todo_events.truncate_limit = 1;
DO $$ BEGIN TRUNCATE tasks; EXCEPTION WHEN SQLSTATE 'TE413' THEN RAISE NOTICE '% %', SQLSTATE, SQLERRM; END $$;
SET todo_events.truncate_limit = 2;
TRUNCATE tasks;
SELECT n, type, key, sequence, payload #>> '{before,title}' AS title FROM events() ORDER BY key;
RESET todo_events.truncate_limit;
SELECT todo_events.detach('tasks');
SET client_min_messages = warning;
DROP TABLE tasks CASCADE;
RESET client_min_messages;

-- ---- a table of one's own, with other roles ------------------------------------
CREATE TABLE own ("the key" text COLLATE "C" NOT NULL UNIQUE, owner int, done boolean, name text, secret text, note text,
	seq int, length int GENERATED ALWAYS AS (length(name)) STORED, dropped int);
INSERT INTO own ("the key", name) VALUES ('before', 'there before it was attached');
ALTER TABLE own DROP COLUMN dropped;
SELECT todo_events.attach('own', key => 'the key', user_key => 'owner', completed => 'done', title => 'name',
	sequence => 'seq', exclude => '{secret}', type_prefix => 'org.example.own');
INSERT INTO own ("the key", owner, name, secret, note) VALUES (E'k"1\\\n', 7, 'Ärger \ "quoted"', 'hush', repeat('x', 3)), ('', NULL, NULL, NULL, NULL);
SELECT * FROM events();
-- only what is excluded, or generated, changed
UPDATE own SET secret = 'hush hush' WHERE "the key" = '' RETURNING seq;
UPDATE own SET done = true, secret = 'x' WHERE "the key" = '' RETURNING seq;
UPDATE own SET done = NULL WHERE "the key" = '' RETURNING seq;
UPDATE own SET done = false WHERE "the key" = '' RETURNING seq;
UPDATE own SET name = 'abc' WHERE "the key" = '' RETURNING seq;
-- nobody's before, nobody's after
UPDATE own SET owner = 8 WHERE "the key" = '' RETURNING seq;
UPDATE own SET owner = NULL WHERE "the key" = '' RETURNING seq;
SELECT * FROM events();
-- a row that was there before counts from 1
UPDATE own SET name = 'seen' WHERE "the key" = 'before' RETURNING seq;
DELETE FROM own WHERE "the key" = 'before' RETURNING seq;
SELECT n, type, key, sequence FROM events();
-- columns renamed, added and dropped
ALTER TABLE own RENAME COLUMN owner TO assignee;
ALTER TABLE own RENAME COLUMN secret TO hidden;
ALTER TABLE own DROP COLUMN note;
ALTER TABLE own ADD COLUMN extra int DEFAULT 5;
UPDATE own SET assignee = 9, hidden = 'renamed' WHERE "the key" = '';
SELECT * FROM events();
ALTER TABLE own DROP COLUMN assignee;
ALTER TABLE own DROP COLUMN hidden;
-- large values
UPDATE own SET name = string_agg FROM (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 3000) i) s WHERE "the key" = '';
UPDATE own SET extra = 6 WHERE "the key" = '';
UPDATE own SET name = name || '' WHERE "the key" = '';
SELECT n, type, sequence, length(payload #>> '{after,name}') AS after, length(payload #>> '{before,name}') AS before,
	payload #> '{before,extra}' AS extra FROM events();
-- an attachment broken by force says so
DROP TRIGGER todo_events_columns ON own;
UPDATE own SET extra = 7 WHERE "the key" = '';
SELECT todo_events.detach('own');
UPDATE own SET extra = 7 WHERE "the key" = '';
SELECT * FROM events();
DROP TABLE own;

-- ---- without a sequence column ---------------------------------------------------
CREATE TABLE plain (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner text, done_at timestamptz, title varchar(20));
SELECT todo_events.attach('plain', user_key => 'owner', completed => 'done_at');
INSERT INTO plain (owner, title) VALUES ('al', 'a'), ('bo', 'b');
UPDATE plain SET title = 'A' WHERE id = 1;
UPDATE plain SET title = 'A', done_at = '2026-01-01' WHERE id = 1;
UPDATE plain SET owner = 'bo', done_at = NULL WHERE id = 1;
UPDATE plain SET title = title;
UPDATE plain SET id = DEFAULT WHERE id = 2;
DELETE FROM plain WHERE id = 1;
INSERT INTO plain (id, title) OVERRIDING SYSTEM VALUE VALUES (1, 'again'), (2, 'too');
SELECT n, type, key, user_id, sequence, payload -> 'before' AS before FROM events();
BEGIN;
SAVEPOINT s;
UPDATE plain SET title = 'no' WHERE id = 1;
ROLLBACK TO s;
UPDATE plain SET title = 'yes' WHERE id = 1;
COMMIT;
SELECT n, type, key, sequence FROM events();
-- deleted by a foreign key's cascade, and set null by one
CREATE TABLE boss (id text PRIMARY KEY);
INSERT INTO boss VALUES ('al'), ('bo');
UPDATE plain SET owner = 'bo';
SELECT count(*) FROM events();
ALTER TABLE plain ADD FOREIGN KEY (owner) REFERENCES boss ON DELETE CASCADE ON UPDATE CASCADE;
UPDATE boss SET id = 'bob' WHERE id = 'bo';
SELECT n, type, key, user_id, sequence FROM events() ORDER BY key, sequence;
DELETE FROM boss WHERE id = 'bob';
SELECT n, type, key, user_id, sequence FROM events() ORDER BY key, sequence;
DROP TABLE plain, boss;

-- ---- envelope given by the session ---------------------------------------------
CREATE TABLE enveloped (id int PRIMARY KEY, v int);
SELECT todo_events.attach('enveloped');
BEGIN;
SET LOCAL todo_events.traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
SET LOCAL todo_events.idempotency_key = 'k1';
INSERT INTO enveloped VALUES (1, 1);
COMMIT;
SELECT event->>'traceparent' AS traceparent, event #>> '{data,idempotency_key}' AS idempotency_key, event->>'partitionkey' AS partitionkey
FROM todo_events.outbox ORDER BY id DESC LIMIT 1;
BEGIN;
SET LOCAL todo_events.idempotency_key = 'k1';
DO $$ BEGIN INSERT INTO enveloped VALUES (2, 2); EXCEPTION WHEN SQLSTATE 'TE409' THEN RAISE NOTICE '%', SQLERRM; END $$;
ROLLBACK;
DROP TABLE enveloped;

SET client_min_messages = warning;
DROP FUNCTION events;
DROP EXTENSION todo_events CASCADE;
