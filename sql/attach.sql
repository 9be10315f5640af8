-- The life of an attachment.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS todo_events CASCADE;
CREATE EXTENSION todo_events;
RESET client_min_messages;

CREATE SCHEMA "a schema";
SET search_path = "a schema", public;
SELECT todo_events.create_tasks('"My Tasks"');
SELECT tgname, pg_get_triggerdef(oid), obj_description(oid, 'pg_trigger') FROM pg_trigger WHERE tgrelid = '"My Tasks"'::regclass ORDER BY tgname;
CREATE TABLE other (nr int NOT NULL UNIQUE, who text, "is done" boolean, name text, due date, secret text, hidden text);
SELECT todo_events.attach('other', key => 'nr', user_key => 'who', completed => 'is done', title => 'name', due_at => 'due',
	exclude => '{secret,hidden}', type_prefix => 'org.example.other', name => 'the others');
SELECT number, relation, name, type_prefix, key, user_key, completed, title, due_at, remind_at, sequence, exclude FROM todo_events.attachments ORDER BY number;
-- names follow the columns and the table
ALTER TABLE other RENAME COLUMN nr TO number;
ALTER TABLE other RENAME COLUMN secret TO "not for you";
ALTER TABLE other SET SCHEMA public;
ALTER TABLE other RENAME TO others;
SELECT relation, name, key, exclude FROM todo_events.attachments ORDER BY number;
INSERT INTO others VALUES (1, 'me', false, 'one', '2026-01-01', 's', 'h');
SELECT type, key, user_id, sequence, event #> '{data,payload}' AS payload FROM todo_events.outbox ORDER BY id;

-- attached again in the same way it goes on, in another way it is another
SELECT todo_events.detach('others');
SELECT number, detached_at IS NOT NULL AS detached FROM todo_events.attachment_config ORDER BY number;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'others'::regclass;
UPDATE others SET name = 'not captured';
SELECT todo_events.attach('others', key => 'number', user_key => 'who', type_prefix => 'org.example.other', name => 'the others');
UPDATE others SET name = 'captured';
SELECT todo_events.detach('others');
SELECT todo_events.attach('others', key => 'number', type_prefix => 'org.example.new', name => 'the others');
UPDATE others SET name = 'as new';
-- the log still knows what detached ones were
SELECT type, key, sequence FROM todo_events.outbox ORDER BY id;

-- dropped while attached: nothing is left of it, and its name is free
DROP TABLE others;
SELECT relation FROM todo_events.attachments;
CREATE TABLE others (id int PRIMARY KEY);
SELECT todo_events.attach('others', name => 'the others');
SELECT number, detached_at IS NOT NULL AS detached FROM todo_events.attachment_config ORDER BY number;

-- in a transaction that rolls back, nothing
BEGIN;
SELECT todo_events.create_tasks('never');
INSERT INTO never (user_id, title) VALUES ('00000000-0000-4000-8000-000000000001', 'x');
ROLLBACK;
SELECT count(*) FROM todo_events.attachments;
-- attached and written to in one transaction
BEGIN;
CREATE TABLE quick (id int PRIMARY KEY);
INSERT INTO quick VALUES (1);
SELECT todo_events.attach('quick');
INSERT INTO quick VALUES (2);
SELECT todo_events.detach('quick');
INSERT INTO quick VALUES (3);
SELECT todo_events.attach('quick');
DELETE FROM quick WHERE id < 3;
COMMIT;
SELECT type, key, sequence FROM todo_events.outbox WHERE key LIKE 'quick/%' ORDER BY id;

-- backfill and start_sequence, with a column and without
CREATE TABLE old (id int PRIMARY KEY, seq bigint, v text, updated_at timestamp);
INSERT INTO old VALUES (1, NULL, 'one'), (2, 7, 'two');
SELECT todo_events.attach('old', sequence => 'seq', backfill => 'snapshot', name => 'a');
UPDATE old SET v = v || '!' RETURNING id, seq;
SELECT todo_events.detach('old');
ALTER TABLE old DROP COLUMN seq;
SELECT todo_events.attach('old', backfill => 'snapshot', start_sequence => 100, name => 'b');
UPDATE old SET v = v || '!';
INSERT INTO old VALUES (3, 'three');
SELECT todo_events.detach('old');
SELECT todo_events.attach('old', start_sequence => 1000, name => 'c');
DELETE FROM old;
SELECT key, type, sequence, event #>> '{data,payload,after,v}' AS v FROM todo_events.outbox WHERE key ~ '^[abc]/' ORDER BY substr(key, 1, 1), id;

-- DROP EXTENSION is refused, CASCADE leaves the tables alone
DROP EXTENSION todo_events;
BEGIN;
SET LOCAL client_min_messages = warning;
DROP EXTENSION todo_events CASCADE;
SELECT tgname FROM pg_trigger WHERE tgrelid IN ('old'::regclass, '"My Tasks"'::regclass);
INSERT INTO "My Tasks" (user_id, title) VALUES ('00000000-0000-4000-8000-000000000001', 'still a table') RETURNING sequence;
ROLLBACK;
SELECT todo_events.detach_all();
SELECT todo_events.detach_all();
SELECT count(*) FROM todo_events.attachments;
DROP EXTENSION todo_events;
INSERT INTO "My Tasks" (user_id, title) VALUES ('00000000-0000-4000-8000-000000000001', 'still a table') RETURNING sequence;

SET client_min_messages = warning;
DROP TABLE others, old, quick;
DROP SCHEMA "a schema" CASCADE;
