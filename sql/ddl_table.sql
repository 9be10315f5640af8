-- G11: attached tables that are renamed, moved, written anew, swapped, dropped; and what others add to them.
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


-- ---- names ---------------------------------------------------------------------------
CREATE TABLE t (id int PRIMARY KEY, owner text, v int, seq bigint);
SELECT todo_events.attach('t', user_key => 'owner', sequence => 'seq');
INSERT INTO t VALUES (1, 'al', 1);
CREATE SCHEMA ddl_a;
ALTER TABLE t SET SCHEMA ddl_a;
ALTER SCHEMA ddl_a RENAME TO "ddl B";
ALTER TABLE "ddl B".t RENAME TO "My T";
UPDATE "ddl B"."My T" SET v = 2;
ALTER TABLE "ddl B"."My T" SET SCHEMA public;
ALTER TABLE "My T" RENAME TO t;
INSERT INTO t VALUES (2, 'bo', 1);
SELECT * FROM events();
SELECT relation, name FROM todo_events.attachments;
SELECT * FROM ailments;

-- ---- written anew: no event, and the next ones are right ------------------------------------
CREATE INDEX t_v ON t (v);
VACUUM FULL t;
UPDATE t SET v = 3 WHERE id = 1;
CLUSTER t USING t_v;
UPDATE t SET v = 4 WHERE id = 1;
CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler;
ALTER TABLE t SET ACCESS METHOD heap2;
UPDATE t SET v = 5 WHERE id = 1;
ALTER TABLE t SET ACCESS METHOD heap;
DROP ACCESS METHOD heap2;
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE ddl_table_space LOCATION '';
ALTER TABLE t SET TABLESPACE ddl_table_space;
UPDATE t SET v = 6 WHERE id = 1;
ALTER TABLE t SET TABLESPACE pg_default;
DROP TABLESPACE ddl_table_space;
ALTER TABLE t SET LOGGED;
ALTER TABLE t ADD COLUMN w float DEFAULT random();
UPDATE t SET v = 7, w = 0 WHERE id = 1;
DELETE FROM t WHERE id = 2;
SELECT n, type, key, sequence FROM events();
SELECT * FROM ailments;
ALTER TABLE t SET UNLOGGED;
\echo :LAST_ERROR_SQLSTATE

-- ---- the key's index ------------------------------------------------------------------------
REINDEX TABLE CONCURRENTLY t;
REINDEX INDEX t_pkey;
UPDATE t SET v = 8;
CREATE UNIQUE INDEX CONCURRENTLY t_new ON t (id) INCLUDE (v);
ALTER TABLE t DROP CONSTRAINT t_pkey, ADD CONSTRAINT t_key PRIMARY KEY USING INDEX t_new;
UPDATE t SET v = 9;
INSERT INTO t VALUES (1, 'al', 1) ON CONFLICT (id) DO UPDATE SET v = 10;
INSERT INTO t VALUES (2, 'al', 1) ON CONFLICT (id) DO NOTHING;
SELECT n, type, key, sequence FROM events();
SELECT * FROM ailments;
-- gone: still events, but no key
ALTER TABLE t DROP CONSTRAINT t_key;
SELECT * FROM ailments;
SELECT hint FROM todo_events.health() WHERE component = 'table:t';
UPDATE t SET v = 11 WHERE id = 1;
ALTER TABLE t ADD UNIQUE (id) DEFERRABLE;
SELECT * FROM ailments;
CREATE UNIQUE INDEX t_partial ON t (id) WHERE id > 0;
SELECT message FROM ailments;
CREATE UNIQUE INDEX t_two ON t (id, v);
SELECT message FROM ailments;
ALTER TABLE t ALTER id DROP NOT NULL;
SELECT message FROM ailments;
INSERT INTO t (v) VALUES (1);
\echo :LAST_ERROR_SQLSTATE
UPDATE t SET id = NULL WHERE id = 2;
SELECT n, type, key, sequence FROM events();
-- rows that came without a key while nobody looked: no events, until they have one
ALTER TABLE t DISABLE TRIGGER USER;
INSERT INTO t (v) VALUES (100), (101);
ALTER TABLE t ENABLE TRIGGER USER;
UPDATE t SET v = 102 WHERE v = 100;
UPDATE t SET id = 3 WHERE v = 102;
DELETE FROM t WHERE v = 101;
SELECT n, type, key, sequence FROM events();
ALTER TABLE t DROP CONSTRAINT t_id_key, ADD PRIMARY KEY (id);
DROP INDEX t_partial, t_two;
SELECT * FROM ailments;

-- ---- every kind of statement, with others' triggers, rules, policies and foreign keys ----------
CREATE ROLE ddl_table_writer;
GRANT ALL ON t TO ddl_table_writer;
ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON t USING (owner = 'al') WITH CHECK (owner = 'al');
SET ROLE ddl_table_writer;
INSERT INTO t VALUES (4, 'al', 1) RETURNING seq;
INSERT INTO t VALUES (5, 'bo', 1);
UPDATE t SET v = 12;
DELETE FROM t WHERE id = 2;
INSERT INTO t VALUES (2, 'al', 1) RETURNING seq;
RESET ROLE;
SELECT n, type, key, sequence FROM events();
ALTER TABLE t DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;
COPY t (id, owner, v) FROM STDIN;
10	al	1
11	al	1
\.
MERGE INTO t USING (VALUES (10, 2), (11, 0), (12, 2)) s (id, v) ON t.id = s.id
	WHEN MATCHED AND s.v = 0 THEN DELETE
	WHEN MATCHED THEN UPDATE SET v = s.v
	WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.v);
WITH gone AS (DELETE FROM t WHERE id = 12 RETURNING *), more AS (UPDATE t SET v = 3 WHERE id = 10 RETURNING *)
INSERT INTO t SELECT id + 1, 'al', v FROM gone;
UPDATE t SET v = s.v FROM (VALUES (10, 4)) s (id, v) WHERE t.id = s.id;
SELECT id FROM t WHERE id = 10 FOR UPDATE;
SELECT n, type, key, sequence FROM events();
CREATE RULE no_update AS ON UPDATE TO t WHERE OLD.id = 10 DO INSTEAD NOTHING;
CREATE TABLE also (id int);
CREATE RULE more AS ON INSERT TO t DO ALSO INSERT INTO also VALUES (NEW.id);
UPDATE t SET v = 5 WHERE id IN (10, 13);
INSERT INTO t VALUES (20, 'al', 1);
SELECT n, type, key, sequence FROM events();
ALTER TABLE t DISABLE RULE no_update, ENABLE ALWAYS RULE more;
UPDATE t SET v = 6 WHERE id = 10;
DROP RULE more ON t;
DROP RULE no_update ON t;
DROP TABLE also;
CREATE TABLE u (owner text PRIMARY KEY);
INSERT INTO u VALUES ('u') ON CONFLICT DO NOTHING;
INSERT INTO u SELECT DISTINCT owner FROM t WHERE owner IS NOT NULL;
ALTER TABLE t ADD FOREIGN KEY (owner) REFERENCES u ON UPDATE CASCADE ON DELETE CASCADE;
UPDATE u SET owner = 'alf' WHERE owner = 'al';
SELECT n, type, key, user_id, sequence FROM events();
DELETE FROM u WHERE owner = 'alf';
SELECT type, count(*), count(DISTINCT key) FROM events() GROUP BY type;
-- as the one that is referenced
CREATE TABLE c (id int PRIMARY KEY REFERENCES t ON DELETE CASCADE ON UPDATE CASCADE);
SELECT todo_events.attach('c', name => 'c');
SELECT id, v, seq FROM t ORDER BY id;
INSERT INTO c SELECT id FROM t WHERE id < 5;
UPDATE t SET id = id + 100 WHERE id < 5;
DELETE FROM t WHERE id = 103;
SELECT n, type, key, sequence FROM events() ORDER BY key, sequence;
INSERT INTO t VALUES (1, 'u', 1), (2, 'u', 1);
INSERT INTO c VALUES (2);
TRUNCATE t;
TRUNCATE t CASCADE;
SELECT type, key, sequence FROM events() ORDER BY key, sequence;
INSERT INTO t SELECT i FROM generate_series(1, 11) i;
SET todo_events.truncate_limit = 10;
TRUNCATE t CASCADE;
\echo :LAST_ERROR_SQLSTATE
RESET todo_events.truncate_limit;
TRUNCATE t RESTART IDENTITY CASCADE;
SELECT type, count(*) FROM events() GROUP BY type;
DROP TABLE c;
-- triggers of others: before ours, after ours
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.owner := upper(NEW.owner); RETURN NEW; END $$;
ALTER TABLE t DROP CONSTRAINT t_owner_fkey;
CREATE TRIGGER a_shout BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION shout();
INSERT INTO t VALUES (1, 'al', 1);
UPDATE t SET owner = 'al';
SELECT n, type, key, user_id, sequence FROM events();
SELECT * FROM ailments;
ALTER TRIGGER a_shout ON t RENAME TO zzzzz_shout;
SELECT * FROM ailments;
INSERT INTO t VALUES (2, 'bo', 1);
UPDATE t SET v = 2 WHERE id = 2;
UPDATE t SET owner = 'bo' WHERE id = 2;
\echo :LAST_ERROR_SQLSTATE
SELECT n, type, key, user_id, sequence FROM events();
ALTER TABLE t DISABLE TRIGGER zzzzz_shout;
SELECT * FROM ailments;
DROP TRIGGER zzzzz_shout ON t;

-- ---- who and what it belongs to, and how it is replicated -------------------------------------------
ALTER TABLE t REPLICA IDENTITY FULL;
UPDATE t SET v = 3 WHERE id = 2;
ALTER TABLE t REPLICA IDENTITY NOTHING;
UPDATE t SET v = 4 WHERE id = 2;
ALTER TABLE t REPLICA IDENTITY USING INDEX t_pkey;
ALTER EXTENSION plpgsql ADD TABLE t;
UPDATE t SET v = 5 WHERE id = 2;
ALTER EXTENSION plpgsql DROP TABLE t;
ALTER TABLE t OWNER TO ddl_table_writer;
SET ROLE ddl_table_writer;
DELETE FROM t WHERE id = 2;
RESET ROLE;
INSERT INTO t VALUES (2, 'bo', 1) RETURNING seq;
ALTER TABLE t OWNER TO CURRENT_USER;
SELECT n, type, key, sequence FROM events();
-- sessions in which no trigger fires
ALTER ROLE ddl_table_writer SET session_replication_role = replica;
SELECT * FROM ailments;
ALTER ROLE ddl_table_writer RESET ALL;
SET session_replication_role = replica;
SELECT * FROM ailments;
RESET session_replication_role;

-- ---- inheritance ---------------------------------------------------------------------------------------
CREATE TABLE child () INHERITS (t);
SELECT * FROM ailments;
INSERT INTO child VALUES (50, 'child', 1);
UPDATE t SET v = 60;
TRUNCATE ONLY t;
SELECT n, type, key, sequence FROM events();
INSERT INTO t VALUES (1, 'al', 1);
TRUNCATE t;
SELECT n, type, key, sequence FROM events();
SELECT count(*) FROM child;
ALTER TABLE child NO INHERIT t;
SELECT * FROM ailments;
DROP TABLE child;
-- a child itself: its own triggers fire, whatever it is written through
CREATE TABLE parent (id int NOT NULL, v int);
ALTER TABLE t INHERIT parent;
INSERT INTO t VALUES (1, 'al', 1);
UPDATE parent SET v = 2;
DELETE FROM parent;
SELECT n, type, key, sequence FROM events();
ALTER TABLE t NO INHERIT parent;
DROP TABLE parent;

-- ---- copies, swaps and successors ------------------------------------------------------------------------
INSERT INTO t VALUES (1, 'al', 1), (2, 'al', 1);
UPDATE t SET v = 2;
CREATE TABLE copy (LIKE t INCLUDING ALL);
INSERT INTO copy SELECT * FROM t;
SELECT count(*) FROM events();
SELECT * FROM ailments;
-- the rename dance of a migration
BEGIN;
ALTER TABLE t RENAME TO t_old;
ALTER TABLE copy RENAME TO t;
COMMIT;
SELECT * FROM ailments;
SELECT hint FROM todo_events.health() WHERE component = 'table:t';
BEGIN;
SELECT todo_events.detach('t_old');
SELECT todo_events.attach('t', user_key => 'owner', sequence => 'seq');
COMMIT;
DROP TABLE t_old;
DELETE FROM t WHERE id = 1;
INSERT INTO t VALUES (1, 'al', 1);
SELECT n, type, key, sequence FROM events();
SELECT * FROM ailments;
SELECT number, CASE WHEN detached_at IS NULL THEN relation END AS relation, name, detached_at IS NOT NULL AS detached FROM todo_events.attachment_config ORDER BY number;
-- dropped and made anew in one transaction; the number goes on if the table is attached again
BEGIN;
DROP TABLE t;
CREATE TABLE t (id int PRIMARY KEY, v int);
COMMIT;
SELECT number, name, detached_at IS NOT NULL AS detached FROM todo_events.attachment_config ORDER BY number;
SELECT message FROM ailments;
INSERT INTO t VALUES (0, 0);
SELECT todo_events.attach('t');
INSERT INTO t VALUES (1, 1), (2, 1);
DELETE FROM t WHERE id = 2;
INSERT INTO t VALUES (2, 2);
SELECT n, type, key, sequence FROM events();
SELECT * FROM ailments;
-- dropped in a transaction that rolls back: still there
BEGIN;
DROP TABLE t;
ROLLBACK;
UPDATE t SET v = 3 WHERE id = 1;
SELECT n, type, key, sequence FROM events();
-- with its schema, with its owner; where event triggers are off
CREATE SCHEMA ddl_gone AUTHORIZATION ddl_table_writer;
SELECT todo_events.create_tasks('ddl_gone.tasks1');
CREATE TABLE ddl_gone.owned (id int PRIMARY KEY);
ALTER TABLE ddl_gone.owned OWNER TO ddl_table_writer;
SELECT todo_events.attach('ddl_gone.owned');
INSERT INTO ddl_gone.owned VALUES (1);
SET client_min_messages = warning;
DROP OWNED BY ddl_table_writer CASCADE;
SELECT name, detached_at IS NOT NULL AS detached FROM todo_events.attachment_config WHERE number > 2 ORDER BY number;
SELECT todo_events.create_tasks('tasks2');
ALTER EVENT TRIGGER todo_events_ddl_dropped DISABLE;
DROP TABLE tasks2;
SELECT name, detached_at IS NOT NULL AS detached FROM todo_events.attachment_config WHERE number > 2 ORDER BY number;
SELECT * FROM ailments;
CREATE TABLE tasks2 (id int PRIMARY KEY);
SELECT * FROM ailments;
ALTER EVENT TRIGGER todo_events_ddl_dropped ENABLE;
DROP TABLE tasks2;
SELECT name, detached_at IS NOT NULL AS detached FROM todo_events.attachment_config WHERE number > 2 ORDER BY number;
SELECT n, type, key, sequence FROM events();

-- an older library under newer objects serves none of them, and is in nobody's way
UPDATE pg_extension SET extversion = '99.0' WHERE extname = 'todo_events';
\c
CREATE TEMP TABLE passing (id int, v int);
ALTER TABLE passing DROP COLUMN v, ALTER id TYPE bigint;
DROP TABLE passing;
DROP TABLE u;
UPDATE pg_extension SET extversion = (SELECT default_version FROM pg_available_extensions WHERE name = 'todo_events') WHERE extname = 'todo_events';
SELECT set_config('test.last', (SELECT max(id) FROM todo_events.outbox)::text, false) IS NOT NULL AS set;
UPDATE t SET v = 4 WHERE id = 1;
SELECT n, type, key, sequence FROM events();

SELECT todo_events.detach_all();
SET client_min_messages = warning;
DROP VIEW ailments;
DROP EXTENSION todo_events CASCADE;
DROP TABLE t;
DROP FUNCTION events, shout;
DROP SCHEMA "ddl B";
DROP ROLE ddl_table_writer;
