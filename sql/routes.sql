-- Topics and routes as configuration: defaults, what is refused, and what a
-- dump holds.
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS todo_events;
RESET client_min_messages;

CREATE VIEW topics_now AS SELECT topic, partitions, retention, key_by, create_topic, is_default FROM todo_events.topic_config;
CREATE VIEW routes_now AS SELECT pattern, topic, is_default FROM todo_events.route_config;

-- the defaults
SELECT * FROM topics_now ORDER BY 1;
SELECT * FROM routes_now ORDER BY 1, 2;
SELECT topic, routes, state, broker_partitions FROM todo_events.topics ORDER BY 1;

-- refused; the rows shown in full hold the database's identity
\set VERBOSITY terse
SELECT todo_events.create_topic('');
SELECT todo_events.create_topic('..');
SELECT todo_events.create_topic('a b');
SELECT todo_events.create_topic(repeat('x', 250));
SELECT todo_events.create_topic('x', partitions => 0);
SELECT todo_events.create_topic('x', retention => '-1 day');
SELECT todo_events.create_topic('x', key_by => 'id');
INSERT INTO todo_events.route_config VALUES ('task.*', 'nowhere');
INSERT INTO todo_events.route_config VALUES ('', 'reminders');
INSERT INTO todo_events.route_config VALUES ('a*', 'reminders');
INSERT INTO todo_events.route_config VALUES ('*.a', 'reminders');
INSERT INTO todo_events.route_config VALUES ('a b', 'reminders');
\set VERBOSITY default

-- topics and routes of a user, one that replaces a default, one default changed, some removed
SELECT todo_events.create_topic('orders', partitions => NULL, retention => NULL);
SELECT todo_events.create_topic('orders');
INSERT INTO todo_events.route_config VALUES ('com.example.*', 'orders'), ('*', 'task-events');
UPDATE todo_events.topic_config SET partitions = 12 WHERE topic = 'task-events';
INSERT INTO todo_events.topic_config (topic, retention) VALUES ('task-updates', '2 days');
UPDATE todo_events.topic_config SET topic = 'alarms' WHERE topic = 'reminders';
DELETE FROM todo_events.route_config WHERE pattern = 'notification.*';
UPDATE todo_events.topic_config SET is_default = true WHERE topic = 'orders';
SELECT * FROM topics_now ORDER BY 1;
SELECT * FROM routes_now ORDER BY 1, 2;
SELECT * FROM todo_events.default_removed ORDER BY 1, 2, 3;

-- What pg_dump would take, given back to a fresh extension, is the same again.
SELECT c.oid::regclass, condition
FROM pg_extension e, unnest(e.extconfig, e.extcondition) AS t (oid, condition) JOIN pg_class c USING (oid)
WHERE e.extname = 'todo_events' AND c.relname IN ('topic_config', 'route_config', 'default_removed') ORDER BY c.relname;
CREATE TABLE was_topics AS SELECT * FROM topics_now;
CREATE TABLE was_routes AS SELECT * FROM routes_now;
CREATE TABLE dump_topics AS SELECT * FROM todo_events.topic_config WHERE NOT is_default;
CREATE TABLE dump_routes AS SELECT * FROM todo_events.route_config WHERE NOT is_default;
CREATE TABLE dump_removed AS SELECT * FROM todo_events.default_removed;
DROP VIEW topics_now, routes_now;
DROP EXTENSION todo_events;
SET client_min_messages = error;
CREATE EXTENSION todo_events;
RESET client_min_messages;
INSERT INTO todo_events.topic_config SELECT * FROM dump_topics;
INSERT INTO todo_events.default_removed SELECT * FROM dump_removed;
INSERT INTO todo_events.route_config SELECT * FROM dump_routes;
SELECT count(*) FROM (
	(TABLE was_topics EXCEPT SELECT topic, partitions, retention, key_by, create_topic, is_default FROM todo_events.topic_config)
	UNION ALL
	(SELECT topic, partitions, retention, key_by, create_topic, is_default FROM todo_events.topic_config EXCEPT TABLE was_topics)) d;
SELECT count(*) FROM (
	(TABLE was_routes EXCEPT SELECT pattern, topic, is_default FROM todo_events.route_config)
	UNION ALL
	(SELECT pattern, topic, is_default FROM todo_events.route_config EXCEPT TABLE was_routes)) d;
-- and in another order
DROP EXTENSION todo_events;
SET client_min_messages = error;
CREATE EXTENSION todo_events;
RESET client_min_messages;
INSERT INTO todo_events.default_removed SELECT * FROM dump_removed;
INSERT INTO todo_events.topic_config SELECT * FROM dump_topics;
INSERT INTO todo_events.route_config SELECT * FROM dump_routes;
SELECT count(*) FROM (
	(TABLE was_topics EXCEPT SELECT topic, partitions, retention, key_by, create_topic, is_default FROM todo_events.topic_config)
	UNION ALL
	(SELECT topic, partitions, retention, key_by, create_topic, is_default FROM todo_events.topic_config EXCEPT TABLE was_topics)) d;
SELECT count(*) FROM (
	(TABLE was_routes EXCEPT SELECT pattern, topic, is_default FROM todo_events.route_config)
	UNION ALL
	(SELECT pattern, topic, is_default FROM todo_events.route_config EXCEPT TABLE was_routes)) d;

-- a topic takes its routes along
DELETE FROM todo_events.topic_config WHERE topic = 'alarms';
SELECT pattern, topic FROM todo_events.route_config ORDER BY 1, 2;

DROP TABLE was_topics, was_routes, dump_topics, dump_routes, dump_removed;
DROP EXTENSION todo_events;
