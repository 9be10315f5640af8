-- G11: partitions of attached tables that come, go, move and change; attached tables that become partitions.
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


CREATE VIEW our_triggers AS SELECT tgrelid::regclass AS table, tgname, tgenabled, tgparentid <> 0 AS clone FROM pg_trigger
	WHERE tgfoid = 'todo_events.capture()'::regprocedure ORDER BY 1::text, 2;

-- ---- partitions that come: in each way, with other columns, with partitions of their own ----------
CREATE TABLE p (id int NOT NULL, region int NOT NULL, owner text, v int, seq bigint, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE UNIQUE INDEX ON p1 (id);
SELECT todo_events.attach('p', key => 'id', user_key => 'owner', sequence => 'seq', exclude => '{owner}');
CREATE TABLE p2 PARTITION OF p (UNIQUE (id)) FOR VALUES IN (2);
CREATE TABLE p3 (junk int, seq bigint, v int, id int NOT NULL UNIQUE, owner text, region int NOT NULL);
ALTER TABLE p3 DROP COLUMN junk;
ALTER TABLE p ATTACH PARTITION p3 FOR VALUES IN (3);
CREATE TABLE p4 PARTITION OF p FOR VALUES IN (4, 5) PARTITION BY LIST (region);
CREATE TABLE p4a PARTITION OF p4 (UNIQUE (id)) FOR VALUES IN (4);
CREATE TABLE p4b (LIKE p INCLUDING ALL, UNIQUE (id));
ALTER TABLE p4 ATTACH PARTITION p4b FOR VALUES IN (5);
INSERT INTO p SELECT i, i, 'al', 1 FROM generate_series(1, 5) i;
UPDATE p SET v = 2;
UPDATE p4b SET v = 3;
UPDATE p SET region = 5 WHERE id = 1;
TRUNCATE p3, p4a;
SELECT n, type, key, user_id, sequence, payload FROM events();
SELECT * FROM ailments;
-- columns of all of them
ALTER TABLE p RENAME owner TO assignee;
ALTER TABLE p ADD COLUMN w int DEFAULT 7, DROP COLUMN v CASCADE;
ALTER TABLE p DROP COLUMN assignee CASCADE;
ALTER TABLE p ALTER seq TYPE int, ALTER id TYPE bigint;
SELECT key, user_key, sequence, exclude FROM todo_events.attachments;
INSERT INTO p SELECT i + 10, i FROM generate_series(3, 4) i;
UPDATE p SET w = 8 WHERE id IN (5, 13);
UPDATE p SET region = 3 WHERE id = 5;
SELECT n, type, key, user_id, sequence, payload FROM events();
ALTER TABLE p2 ALTER id TYPE text;
ALTER TABLE p2 DROP COLUMN seq CASCADE;
SELECT * FROM ailments;
-- written anew, indexes and triggers of single ones
VACUUM FULL p2;
REINDEX TABLE CONCURRENTLY p2;
UPDATE p SET w = 9 WHERE id = 2;
ALTER TABLE p2 SET UNLOGGED;
\echo :LAST_ERROR_SQLSTATE
CREATE UNLOGGED TABLE p6 PARTITION OF p FOR VALUES IN (6);
\echo :LAST_ERROR_SQLSTATE
CREATE UNLOGGED TABLE p6 (LIKE p);
ALTER TABLE p ATTACH PARTITION p6 FOR VALUES IN (6);
\echo :LAST_ERROR_SQLSTATE
DROP TABLE p6;
CREATE TABLE p6 PARTITION OF p FOR VALUES IN (6);
SELECT * FROM ailments;
CREATE UNIQUE INDEX ON p6 (id);
ALTER TABLE p3 ALTER id DROP NOT NULL;
ALTER TABLE p DISABLE TRIGGER USER;
SELECT * FROM ailments;
SELECT count(*) FROM our_triggers WHERE tgenabled = 'D' AND tgname <> 'todo_events_truncate';
ALTER TABLE p ENABLE TRIGGER USER;
ALTER TABLE p2 DISABLE TRIGGER ALL;
ALTER TABLE p4a DISABLE TRIGGER "!todo_events_capture";
SELECT * FROM ailments;
UPDATE p SET w = 10 WHERE id = 2;
ALTER TABLE p2 ENABLE TRIGGER ALL;
ALTER TABLE p4a ENABLE REPLICA TRIGGER "!todo_events_capture";
SELECT * FROM ailments;
ALTER TABLE p4a ENABLE TRIGGER "!todo_events_capture";
ALTER TABLE ONLY p DISABLE TRIGGER "!todo_events_capture";
SELECT * FROM ailments;
ALTER TABLE p ENABLE TRIGGER "!todo_events_capture";
ALTER TRIGGER todo_events_truncate ON p2 RENAME TO mine;
DROP TRIGGER "!todo_events_capture" ON p2;
SELECT * FROM ailments;
ALTER TRIGGER mine ON p2 RENAME TO todo_events_truncate;
SELECT * FROM ailments;
SELECT n, type, key, sequence FROM events();

-- ---- partitions that go ---------------------------------------------------------------------------
ALTER TABLE p DETACH PARTITION p2;
ALTER TABLE p DETACH PARTITION p3 CONCURRENTLY;
ALTER TABLE p DETACH PARTITION p4;
SELECT "table", tgname FROM our_triggers WHERE "table" NOT IN ('p'::regclass, 'p1'::regclass, 'p6'::regclass);
UPDATE p2 SET w = 11;
INSERT INTO p3 (id, region) VALUES (33, 3);
TRUNCATE p4a;
SELECT n, type, key, sequence FROM events();
SELECT todo_events.detach('p2');
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2);
UPDATE p SET w = 12 WHERE id = 2;
DROP TABLE p3, p4;
SELECT n, type, key, sequence FROM events();
SELECT * FROM ailments;
-- one that somebody else owns is left its trigger, which keeps still
CREATE ROLE ddl_partition_owner;
CREATE ROLE ddl_partition_other;
GRANT CREATE ON SCHEMA public TO ddl_partition_owner;
ALTER TABLE p OWNER TO ddl_partition_owner;
ALTER TABLE p2 OWNER TO ddl_partition_other;
SET ROLE ddl_partition_owner;
CREATE TABLE p7 PARTITION OF p (UNIQUE (id)) FOR VALUES IN (7);
INSERT INTO p (id, region) VALUES (70, 7);
TRUNCATE p7;
ALTER TABLE p DETACH PARTITION p2;
RESET ROLE;
TRUNCATE p2;
SELECT n, type, key, sequence FROM events();
SELECT tgname FROM our_triggers WHERE "table" = 'p2'::regclass;
SELECT todo_events.detach('p2');
SELECT tgname FROM our_triggers WHERE "table" = 'p2'::regclass;
DROP TABLE p2;

-- ---- partitions in other places -----------------------------------------------------------------------
CREATE FOREIGN DATA WRAPPER fdw;
CREATE SERVER srv FOREIGN DATA WRAPPER fdw;
ALTER TABLE p DROP CONSTRAINT p_pkey;
CREATE FOREIGN TABLE p8 PARTITION OF p FOR VALUES IN (8) SERVER srv;
\echo :LAST_ERROR_SQLSTATE
CREATE FOREIGN TABLE p8 (id bigint NOT NULL, region int NOT NULL, seq int, w int) SERVER srv;
ALTER TABLE p ATTACH PARTITION p8 FOR VALUES IN (8);
\echo :LAST_ERROR_SQLSTATE
SELECT todo_events.detach('p');
ALTER TABLE p ATTACH PARTITION p8 FOR VALUES IN (8);
SELECT todo_events.attach('p', key => 'id', sequence => 'seq');
ALTER TABLE p DETACH PARTITION p8;
DROP FOREIGN DATA WRAPPER fdw CASCADE;
ALTER TABLE p1 SET UNLOGGED;
SELECT todo_events.attach('p', key => 'id', sequence => 'seq');
ALTER TABLE p1 SET LOGGED;
SELECT todo_events.attach('p', key => 'id', sequence => 'seq');

-- ---- attached tables that become partitions -----------------------------------------------------------
CREATE TABLE q (id bigint PRIMARY KEY, region int NOT NULL, seq int, w int);
SELECT todo_events.attach('q', sequence => 'seq', name => 'q');
INSERT INTO q VALUES (1, 9);
-- of one that is attached: that one's triggers would have the same names
ALTER TABLE p ATTACH PARTITION q FOR VALUES IN (9);
\echo :LAST_ERROR_SQLSTATE
-- of one that is not
CREATE TABLE top (id bigint NOT NULL, region int NOT NULL, seq int, w int) PARTITION BY LIST (region);
ALTER TABLE top ATTACH PARTITION q FOR VALUES IN (9);
CREATE TABLE top_other PARTITION OF top FOR VALUES IN (10);
UPDATE top SET w = 1;
INSERT INTO top VALUES (2, 9), (3, 10);
UPDATE top SET region = 9 WHERE id = 3;
UPDATE top SET region = 10 WHERE id = 1;
TRUNCATE q;
SELECT n, type, key, sequence FROM events();
SELECT relation, name FROM todo_events.attachments ORDER BY number;
SELECT * FROM ailments;
ALTER TABLE top ALTER id TYPE numeric;
INSERT INTO top VALUES (4, 9);
SELECT todo_events.attach('top', key => 'id');
SELECT todo_events.attach('q');
-- it is named among those that keep the extension from being dropped, and covered partitions are not
DROP EXTENSION todo_events;
\c
INSERT INTO q VALUES (5, 9);
SELECT n, type, key, sequence FROM events() WHERE n > (SELECT max(id) FROM todo_events.outbox) - 2;
SELECT todo_events.detach('q');
SELECT tgname FROM our_triggers WHERE "table" = 'q'::regclass;
SELECT todo_events.attach('top', key => 'id');
SELECT todo_events.attach('q', sequence => 'seq');
-- a partitioned one with all it has
SELECT todo_events.attach('top_other');
CREATE TABLE higher (LIKE p) PARTITION BY RANGE (region);
ALTER TABLE higher ATTACH PARTITION p FOR VALUES FROM (0) TO (100);
INSERT INTO higher (id, region) VALUES (80, 1);
UPDATE higher SET region = 6 WHERE id = 80;
TRUNCATE higher;
SELECT n, type, key, sequence FROM events() ORDER BY key, n;
SELECT * FROM ailments;

SELECT todo_events.detach_all();
SELECT * FROM our_triggers;
SET client_min_messages = warning;
DROP VIEW ailments, our_triggers;
DROP EXTENSION todo_events CASCADE;
DROP TABLE higher, top;
DROP FUNCTION events;
REVOKE CREATE ON SCHEMA public FROM ddl_partition_owner;
DROP ROLE ddl_partition_owner, ddl_partition_other;
