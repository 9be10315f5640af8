-- G11: columns of attached tables that are renamed, added, altered and dropped.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS todo_events CASCADE;
CREATE EXTENSION todo_events;
RESET client_min_messages;
CREATE FUNCTION events(OUT n bigint, OUT type text, OUT key text, OUT user_id text, OUT sequence bigint, OUT payload jsonb)
RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
	last bigint := coalesce(nullif(current_setting('test.last', true), ''), '0');
BEGIN
	RETURN QUERY SELECT row_number() OVER (ORDER BY o.id), replace(o.type, 'com.todo.task.', ''), o.key, o.user_id, o.sequence,
		o.event::jsonb #> '{data,payload}'
	FROM todo_events.outbox o WHERE o.id > last ORDER BY o.id;
	PERFORM set_config('test.last', (SELECT max(o.id)::text FROM todo_events.outbox o), false);
END $$;
CREATE VIEW ailments AS SELECT level, message FROM todo_events.health() WHERE component LIKE 'table:%' OR component = 'session_replication_role';

CREATE TABLE t (id int PRIMARY KEY, owner int, name text, status text, due timestamptz, secret text, v int, seq bigint);
SELECT todo_events.attach('t', user_key => 'owner', completed => 'status=done', title => 'name', due_at => 'due',
	sequence => 'seq', exclude => '{secret}');
INSERT INTO t VALUES (1, 7, 'one', 'open', '2026-01-01 00:00+00', 'x', 1);
SELECT * FROM events();

-- ---- names ------------------------------------------------------------------------
ALTER TABLE t RENAME id TO "The Id";
ALTER TABLE t RENAME owner TO assignee;
ALTER TABLE t RENAME name TO title;
ALTER TABLE t RENAME status TO state;
ALTER TABLE t RENAME due TO deadline;
ALTER TABLE t RENAME seq TO nr;
ALTER TABLE t RENAME secret TO hidden;
ALTER TABLE t RENAME v TO value;
UPDATE t SET assignee = 8, state = 'done', hidden = 'y', value = 2;
SELECT * FROM events();
SELECT key, user_key, completed, title, due_at, sequence, exclude FROM todo_events.attachments;

-- ---- columns that come ---------------------------------------------------------------
ALTER TABLE t ADD COLUMN plain text;
ALTER TABLE t ADD COLUMN five int DEFAULT 5;
ALTER TABLE t ADD COLUMN random float NOT NULL DEFAULT random();
ALTER TABLE t ADD COLUMN ident int GENERATED ALWAYS AS IDENTITY;
ALTER TABLE t ADD COLUMN twice int GENERATED ALWAYS AS (value * 2) STORED;
SELECT * FROM events();
UPDATE t SET plain = 'new', random = 0.5, value = 3;
SELECT n, type, key, sequence, payload #- '{before,random}' AS payload FROM events();
ALTER TABLE t ALTER twice DROP EXPRESSION;
UPDATE t SET twice = 1;
SELECT * FROM events();
-- a name that means something in a standard table means nothing here
ALTER TABLE t ADD COLUMN updated_at timestamptz;
UPDATE t SET updated_at = '2026-02-02 00:00+00';
SELECT * FROM events();
ALTER TABLE t DROP COLUMN updated_at, DROP COLUMN random, DROP COLUMN twice, DROP COLUMN ident;

-- ---- defaults, statistics, storage, constraints: no event, and none is missed ---------
ALTER TABLE t ALTER five DROP DEFAULT, ALTER value SET DEFAULT 9, ALTER nr SET DEFAULT 100, ALTER plain SET STATISTICS 10,
	ALTER plain SET STORAGE EXTERNAL, ALTER plain SET COMPRESSION pglz, ALTER value SET NOT NULL,
	ADD CONSTRAINT positive CHECK (value > 0) NOT VALID;
ALTER TABLE t VALIDATE CONSTRAINT positive;
CREATE STATISTICS t_statistics ON assignee, value FROM t;
ANALYZE t;
CREATE INDEX t_value ON t (value);
ALTER TABLE t CLUSTER ON t_value, SET (fillfactor = 50);
COMMENT ON COLUMN t.value IS 'a value';
INSERT INTO t ("The Id") VALUES (2);
UPDATE t SET value = 10 WHERE "The Id" = 2;
SELECT n, type, key, sequence, payload FROM events();
DROP STATISTICS t_statistics;
ALTER TABLE t ALTER nr ADD GENERATED ALWAYS AS IDENTITY;
ALTER TABLE t ALTER nr DROP DEFAULT, ALTER nr SET NOT NULL, ALTER nr ADD GENERATED ALWAYS AS IDENTITY;
INSERT INTO t ("The Id", value) VALUES (3, 1);
UPDATE t SET value = 2 WHERE "The Id" = 3;
SELECT n, type, key, sequence FROM events();
ALTER TABLE t ALTER nr DROP IDENTITY, ALTER nr DROP NOT NULL;
SELECT * FROM ailments;

-- ---- types: those of ordinary columns -------------------------------------------------
ALTER TABLE t DROP CONSTRAINT positive, ALTER value DROP DEFAULT, ALTER value TYPE text USING 'v' || value;
UPDATE t SET value = 'v!' WHERE "The Id" = 1;
SELECT n, type, key, sequence, payload FROM events();

-- ---- types: of columns with a meaning ---------------------------------------------------
ALTER TABLE t ALTER "The Id" TYPE bigint, ALTER assignee TYPE text USING 'user ' || assignee, ALTER title TYPE varchar(50),
	ALTER state TYPE varchar(10), ALTER deadline TYPE date, ALTER hidden TYPE text[] USING ARRAY[hidden], ALTER nr TYPE int;
SELECT key, user_key, completed, title, due_at, sequence, exclude FROM todo_events.attachments;
SELECT obj_description(oid, 'pg_trigger') FROM pg_trigger WHERE tgrelid = 't'::regclass AND tgname = 'todo_events_columns';
UPDATE t SET state = 'open', value = 'w' WHERE "The Id" = 1;
INSERT INTO t ("The Id", value) VALUES (5000000000, 'big');
SELECT * FROM events();
ALTER TABLE t ALTER nr TYPE bigint;
UPDATE t SET nr = 0, value = 'x' WHERE "The Id" = 1 RETURNING nr;
SELECT n, type, key, sequence FROM events();
-- together with others, under another name, in parts that fail
ALTER TABLE t ALTER title TYPE text, ADD COLUMN extra int DEFAULT 1, DROP COLUMN five;
ALTER TABLE t ALTER title TYPE int USING 0, ADD COLUMN extra int;
ALTER TABLE t ALTER "The Id" TYPE int USING 1;
ALTER TABLE t ALTER "The Id" TYPE text USING 'k' || "The Id";
UPDATE t SET extra = 2 WHERE "The Id" = 'k1';
SELECT * FROM events();
SELECT * FROM ailments;
-- types that a column cannot have with its meaning: all or nothing
\set SHOW_CONTEXT always
ALTER TABLE t ALTER nr TYPE text;
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE t ALTER deadline TYPE text;
\echo :LAST_ERROR_SQLSTATE
\set SHOW_CONTEXT errors
CREATE TYPE st AS ENUM ('open', 'closed');
ALTER TABLE t ALTER state TYPE st USING 'open';
\echo :LAST_ERROR_SQLSTATE
UPDATE t SET extra = 3 WHERE "The Id" = 'k1';
SELECT n, type, key, sequence FROM events();
-- done as a flag, then as a time; never as a text
CREATE TABLE f (id int PRIMARY KEY, done boolean NOT NULL DEFAULT false);
SELECT todo_events.attach('f', completed => 'done', name => 'f');
INSERT INTO f VALUES (1);
ALTER TABLE f ALTER done TYPE text;
ALTER TABLE f ALTER done DROP NOT NULL, ALTER done DROP DEFAULT, ALTER done TYPE timestamptz USING NULL;
SELECT completed FROM todo_events.attachments WHERE name = 'f';
UPDATE f SET done = '2026-01-01 00:00+00';
SELECT n, type, key, sequence FROM events();
-- a standard table's
SELECT todo_events.create_tasks('std');
ALTER TABLE std ALTER updated_at TYPE timestamp;
ALTER TABLE std ALTER id DROP DEFAULT, ALTER id TYPE text;
ALTER TABLE std ALTER user_id TYPE text, ALTER title TYPE varchar(100), ALTER tags DROP DEFAULT, ALTER tags TYPE jsonb USING '[]';
INSERT INTO std (id, user_id, title, tags) VALUES ('00000000-0000-4000-8000-000000000001', 'al', 'x', '[1]') RETURNING sequence;

-- ---- keys that were text and become uuids, and back: the numbers go on -------------------
CREATE TABLE k (id text PRIMARY KEY, v int);
SELECT todo_events.detach('t');
SELECT todo_events.attach('k', name => 't');
INSERT INTO k VALUES ('00000000-0000-4000-8000-000000000001', 1), ('00000000-0000-4000-8000-000000000002', 1);
DELETE FROM k WHERE id LIKE '%2';
SELECT count(*) FROM events();
ALTER TABLE k ALTER id TYPE uuid USING id::uuid;
UPDATE k SET v = 2;
INSERT INTO k VALUES ('00000000-0000-4000-8000-000000000002', 1);
SELECT n, type, key, sequence FROM events();
ALTER TABLE k ALTER id TYPE text;
UPDATE k SET v = 3;
SELECT n, type, key, sequence FROM events() ORDER BY key;
-- not if the table's keys go with its name: others would follow them
SELECT todo_events.detach('k');
SELECT todo_events.attach('k', name => 'named');
ALTER TABLE k ALTER id TYPE uuid USING id::uuid;
ALTER TABLE k ALTER id TYPE varchar(36);
UPDATE k SET v = 4 WHERE id LIKE '%1';
SELECT n, type, key, sequence FROM events();

-- ---- columns that go ------------------------------------------------------------------------
-- t is not attached any more: as any table
ALTER TABLE t DROP COLUMN title;
ALTER TABLE t ADD COLUMN title text;
SELECT todo_events.attach('t', user_key => 'assignee', completed => 'state=done', title => 'title', due_at => 'deadline',
	sequence => 'nr', exclude => '{hidden,plain}', name => 't2');
ALTER TABLE t DROP COLUMN title;
ALTER TABLE t DROP COLUMN title RESTRICT, DROP COLUMN extra;
ALTER TABLE t DROP COLUMN "The Id" CASCADE;
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE t DROP COLUMN IF EXISTS nr CASCADE;
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE t DROP COLUMN IF EXISTS nothing CASCADE, DROP COLUMN extra CASCADE;
SELECT key, user_key, completed, title, due_at, sequence, exclude FROM todo_events.attachments WHERE relation = 't'::regclass;
ALTER TABLE t DROP COLUMN title CASCADE, ADD COLUMN title text DEFAULT 'another';
ALTER TABLE t DROP COLUMN hidden CASCADE, DROP COLUMN deadline CASCADE;
ALTER TABLE t DROP COLUMN assignee CASCADE, ALTER state TYPE text, ADD COLUMN assignee int;
SELECT key, user_key, completed, title, due_at, sequence, exclude FROM todo_events.attachments WHERE relation = 't'::regclass;
UPDATE t SET state = 'done', title = 'x', plain = 'excluded' WHERE "The Id" = 'k1';
SELECT n, type, key, user_id, payload - 'before' AS payload, sequence > 1 AS goes_on FROM events();
ALTER TABLE t DROP COLUMN state CASCADE;
UPDATE t SET title = 'y' WHERE "The Id" = 'k1';
SELECT n, type, key FROM events();
-- of a standard table, which then keeps it no more
ALTER TABLE std DROP COLUMN completed_at CASCADE, DROP COLUMN updated_at CASCADE;
UPDATE std SET status = 'completed';
SELECT n, type, key, payload -> 'before' AS before FROM events();
SELECT * FROM ailments;

-- ---- the same by somebody else, and where event triggers are turned off -----------------------
CREATE ROLE ddl_columns_owner;
CREATE ROLE ddl_columns_other;
GRANT CREATE ON SCHEMA public TO ddl_columns_owner;
ALTER TABLE k OWNER TO ddl_columns_owner;
SET ROLE ddl_columns_other;
ALTER TABLE k ALTER id TYPE text;
ALTER TABLE k DROP COLUMN id CASCADE;
ALTER TABLE k SET UNLOGGED;
SET ROLE ddl_columns_owner;
ALTER TABLE k ALTER id TYPE text;
UPDATE k SET v = 5 WHERE id LIKE '%1';
RESET ROLE;
SELECT n, type, key, sequence FROM events();
ALTER EVENT TRIGGER todo_events_ddl_begin DISABLE;
ALTER TABLE k ALTER id TYPE text;
ALTER TABLE k DROP COLUMN v CASCADE, ADD COLUMN v int;
SET client_min_messages = warning;
ALTER TABLE k DROP COLUMN id CASCADE;
RESET client_min_messages;
INSERT INTO k VALUES (1);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM ailments;
ALTER EVENT TRIGGER todo_events_ddl_begin ENABLE;
SELECT todo_events.detach('k');

SELECT todo_events.detach_all();
SET client_min_messages = warning;
DROP VIEW ailments;
DROP EXTENSION todo_events CASCADE;
DROP TABLE t, f, std, k;
DROP TYPE st;
DROP FUNCTION events;
REVOKE CREATE ON SCHEMA public FROM ddl_columns_owner;
DROP ROLE ddl_columns_owner, ddl_columns_other;
