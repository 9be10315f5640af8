-- Publishing to Kafka: topics, routes, publish(), delivery, dead letters.

-- ---- topics and routes ----------------------------------------------------

CREATE TABLE todo_events.topic_config (
	topic text NOT NULL,
	partitions integer DEFAULT 3,
	retention interval DEFAULT '7 days',
	key_by text NOT NULL DEFAULT 'task',
	create_topic boolean NOT NULL DEFAULT true,
	is_default boolean NOT NULL DEFAULT false,
	database_id uuid,
	CONSTRAINT topic_config_pkey PRIMARY KEY (topic),
	CONSTRAINT topic_config_topic_check
		CHECK (topic OPERATOR(pg_catalog.~) '^[a-zA-Z0-9._-]{1,249}$' AND topic NOT IN ('.', '..')),
	CONSTRAINT topic_config_partitions_check CHECK (partitions BETWEEN 1 AND 10000),
	CONSTRAINT topic_config_retention_check
		CHECK (retention BETWEEN interval '1 second' AND interval '100 years'),
	CONSTRAINT topic_config_key_by_check CHECK (key_by IN ('task', 'user'))
) USING heap;
COMMENT ON TABLE todo_events.topic_config IS
'topics that events go to. A change takes effect at once; a topic that exists on the broker is never altered, see todo_events.topics for differences';
COMMENT ON COLUMN todo_events.topic_config.topic IS 'name on the broker: letters, digits, dot, underscore and hyphen, up to 249';
COMMENT ON COLUMN todo_events.topic_config.partitions IS 'partitions to create it with; null: the broker''s default';
COMMENT ON COLUMN todo_events.topic_config.retention IS 'retention to create it with; null: the broker''s default';
COMMENT ON COLUMN todo_events.topic_config.key_by IS
'Kafka key of its messages, and so what their order is kept by: task (the task''s key, or the one given to publish()) or user (where an event has no user: task)';
COMMENT ON COLUMN todo_events.topic_config.create_topic IS 'create it when it does not exist on the broker?';
COMMENT ON COLUMN todo_events.topic_config.is_default IS 'row of the extension, never changed; set by the system, such rows are not dumped';
COMMENT ON COLUMN todo_events.topic_config.database_id IS 'database that has made the row, set by the system: where it is another''s, nothing is sent before todo_events.adopt()';

-- No foreign key: a parallel pg_restore may load routes before their topics.
-- The triggers below do its work, and let rows of a dump in.
CREATE TABLE todo_events.route_config (
	pattern text NOT NULL,
	topic text NOT NULL,
	is_default boolean NOT NULL DEFAULT false,
	database_id uuid,
	CONSTRAINT route_config_pkey PRIMARY KEY (pattern, topic),
	CONSTRAINT route_config_pattern_check
		CHECK (pattern OPERATOR(pg_catalog.~) '^(\*|[^*[:space:]]+|[^*[:space:]]+\.\*)$')
) USING heap;
COMMENT ON TABLE todo_events.route_config IS
'which events go to which topics: an event goes to the topics of all routes that match its type. An event of publish() goes to the topic named there, and to those of matching routes';
COMMENT ON COLUMN todo_events.route_config.pattern IS
'task.*, reminder.*, notification.* (or with one name, task.created): built-in events, whatever prefix their attachment has; otherwise a full type name, a beginning that ends in .* (com.example.*), or * for every event';
COMMENT ON COLUMN todo_events.route_config.topic IS 'topic of todo_events.topic_config; with it the route is renamed and removed';
COMMENT ON COLUMN todo_events.route_config.is_default IS 'row of the extension, never changed; set by the system, such rows are not dumped';
COMMENT ON COLUMN todo_events.route_config.database_id IS 'database that has made the row, set by the system: where it is another''s, nothing is sent before todo_events.adopt()';

CREATE TABLE todo_events.default_removed (
	kind text NOT NULL,
	name text NOT NULL,
	topic text NOT NULL DEFAULT '',
	CONSTRAINT default_removed_pkey PRIMARY KEY (kind, name, topic),
	CONSTRAINT default_removed_kind_check CHECK (kind IN ('topic', 'route'))
) USING heap;
COMMENT ON TABLE todo_events.default_removed IS
'topics and routes that were removed: kept so that a restored dump does not bring the extension''s own back';
COMMENT ON COLUMN todo_events.default_removed.kind IS 'topic or route';
COMMENT ON COLUMN todo_events.default_removed.name IS 'the topic, or the route''s pattern';
COMMENT ON COLUMN todo_events.default_removed.topic IS 'the route''s topic';

-- before the triggers, which take every row that comes later for the user's
INSERT INTO todo_events.topic_config (topic, partitions, retention, key_by, is_default) VALUES
	('task-events', 3, '7 days', 'task', true),
	('task-updates', 3, '1 day', 'user', true),
	('reminders', 1, '1 day', 'task', true);
INSERT INTO todo_events.route_config (pattern, topic, is_default) VALUES
	('task.*', 'task-events', true),
	('task.*', 'task-updates', true),
	('reminder.*', 'reminders', true),
	('reminder.*', 'task-updates', true),
	('notification.*', 'task-updates', true);

-- A dump holds what differs from the rows above: a user's rows, which take the
-- place of the extension's own when they come, and the names of those removed.
SELECT pg_catalog.pg_extension_config_dump('todo_events.topic_config', 'WHERE NOT is_default');
SELECT pg_catalog.pg_extension_config_dump('todo_events.route_config', 'WHERE NOT is_default');
SELECT pg_catalog.pg_extension_config_dump('todo_events.default_removed', '');

CREATE FUNCTION todo_events_internal.topic_config_before() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	NEW.is_default := false;
	NEW.database_id := COALESCE(NEW.database_id, todo_events_internal.database_id());
	IF TG_OP = 'INSERT' THEN
		UPDATE todo_events.topic_config AS t
		SET partitions = NEW.partitions, retention = NEW.retention, key_by = NEW.key_by,
			create_topic = NEW.create_topic, database_id = NEW.database_id
		WHERE t.topic = NEW.topic AND t.is_default;
		IF FOUND THEN
			RETURN NULL;
		END IF;
		DELETE FROM todo_events.default_removed AS d WHERE d.kind = 'topic' AND d.name = NEW.topic;
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION todo_events_internal.topic_config_before() IS
'marks rows as the user''s, and lets an inserted one take the place of the extension''s own';
CREATE TRIGGER topic_config_before BEFORE INSERT OR UPDATE ON todo_events.topic_config
FOR EACH ROW EXECUTE FUNCTION todo_events_internal.topic_config_before();
COMMENT ON TRIGGER topic_config_before ON todo_events.topic_config IS
'marks rows as the user''s, and lets an inserted one take the place of the extension''s own';

CREATE FUNCTION todo_events_internal.route_config_before() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	NEW.is_default := false;
	IF NEW.database_id IS NULL OR TG_OP = 'UPDATE' AND NEW.topic <> OLD.topic THEN
		PERFORM FROM todo_events.topic_config AS t WHERE t.topic = NEW.topic FOR KEY SHARE;
		IF NOT FOUND THEN
			RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
				MESSAGE = pg_catalog.format('topic "%s" of the route is not configured', NEW.topic),
				HINT = 'Configure it first, with todo_events.create_topic().';
		END IF;
	END IF;
	NEW.database_id := COALESCE(NEW.database_id, todo_events_internal.database_id());
	IF TG_OP = 'INSERT' THEN
		UPDATE todo_events.route_config AS r SET database_id = NEW.database_id
		WHERE r.pattern = NEW.pattern AND r.topic = NEW.topic AND r.is_default;
		IF FOUND THEN
			RETURN NULL;
		END IF;
		DELETE FROM todo_events.default_removed AS d
		WHERE d.kind = 'route' AND d.name = NEW.pattern AND d.topic = NEW.topic;
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION todo_events_internal.route_config_before() IS
'marks rows as the user''s, lets an inserted one take the place of the extension''s own, and refuses one whose topic is not configured unless it comes from a dump';
CREATE TRIGGER route_config_before BEFORE INSERT OR UPDATE ON todo_events.route_config
FOR EACH ROW EXECUTE FUNCTION todo_events_internal.route_config_before();
COMMENT ON TRIGGER route_config_before ON todo_events.route_config IS
'marks rows as the user''s, and lets an inserted one take the place of the extension''s own';

CREATE FUNCTION todo_events_internal.topic_config_after() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_OP = 'DELETE' OR NEW.topic <> OLD.topic THEN
		INSERT INTO todo_events.default_removed (kind, name) VALUES ('topic', OLD.topic)
		ON CONFLICT DO NOTHING;
	END IF;
	IF TG_OP = 'DELETE' THEN
		DELETE FROM todo_events.route_config AS r WHERE r.topic = OLD.topic;
	ELSIF NEW.topic <> OLD.topic THEN
		UPDATE todo_events.route_config AS r SET topic = NEW.topic WHERE r.topic = OLD.topic;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION todo_events_internal.topic_config_after() IS 'keeps the names of removed topics; routes are renamed and removed with them';
CREATE TRIGGER topic_config_after AFTER UPDATE OR DELETE ON todo_events.topic_config
FOR EACH ROW EXECUTE FUNCTION todo_events_internal.topic_config_after();
COMMENT ON TRIGGER topic_config_after ON todo_events.topic_config IS 'keeps the names of removed topics';

CREATE FUNCTION todo_events_internal.route_config_after() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_OP = 'DELETE' OR NEW.pattern <> OLD.pattern OR NEW.topic <> OLD.topic THEN
		INSERT INTO todo_events.default_removed (kind, name, topic)
		VALUES ('route', OLD.pattern, OLD.topic)
		ON CONFLICT DO NOTHING;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION todo_events_internal.route_config_after() IS 'keeps the names of removed routes';
CREATE TRIGGER route_config_after AFTER UPDATE OR DELETE ON todo_events.route_config
FOR EACH ROW EXECUTE FUNCTION todo_events_internal.route_config_after();
COMMENT ON TRIGGER route_config_after ON todo_events.route_config IS 'keeps the names of removed routes';

CREATE FUNCTION todo_events_internal.default_removed_after() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NEW.kind = 'topic' THEN
		DELETE FROM todo_events.topic_config AS t WHERE t.topic = NEW.name AND t.is_default;
	ELSE
		DELETE FROM todo_events.route_config AS r
		WHERE r.pattern = NEW.name AND r.topic = NEW.topic AND r.is_default;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION todo_events_internal.default_removed_after() IS
'removes the extension''s own row when a restored dump says that it had been';
CREATE TRIGGER default_removed_after AFTER INSERT ON todo_events.default_removed
FOR EACH ROW EXECUTE FUNCTION todo_events_internal.default_removed_after();
COMMENT ON TRIGGER default_removed_after ON todo_events.default_removed IS
'removes the extension''s own row when a restored dump says that it had been';

CREATE FUNCTION todo_events_internal.config_changed() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'te_config_changed';
COMMENT ON FUNCTION todo_events_internal.config_changed() IS
'has the engine read topics and routes again when the transaction has committed';
CREATE TRIGGER topic_config_changed AFTER INSERT OR UPDATE OR DELETE ON todo_events.topic_config
FOR EACH STATEMENT EXECUTE FUNCTION todo_events_internal.config_changed();
COMMENT ON TRIGGER topic_config_changed ON todo_events.topic_config IS 'has the engine read the topics again';
CREATE TRIGGER route_config_changed AFTER INSERT OR UPDATE OR DELETE ON todo_events.route_config
FOR EACH STATEMENT EXECUTE FUNCTION todo_events_internal.config_changed();
COMMENT ON TRIGGER route_config_changed ON todo_events.route_config IS 'has the engine read the routes again';

CREATE FUNCTION todo_events.create_topic(
	topic text, partitions integer DEFAULT 3, retention interval DEFAULT '7 days',
	key_by text DEFAULT 'task', create_topic boolean DEFAULT true)
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	INSERT INTO todo_events.topic_config (topic, partitions, retention, key_by, create_topic)
	VALUES (create_topic.topic, create_topic.partitions, create_topic.retention,
			create_topic.key_by, create_topic.create_topic);
END;
COMMENT ON FUNCTION todo_events.create_topic(text, integer, interval, text, boolean) IS
'configures a topic: a row of todo_events.topic_config. The engine creates it on the broker if it does not exist there and create_topic is true. Errors: 23505 configured already, 23514 a value that the column does not take';

CREATE FUNCTION todo_events_internal.topic_states(
	OUT topic text, OUT state text, OUT partitions integer, OUT retention_ms bigint,
	OUT max_message_bytes bigint, OUT difference text, OUT checked_at timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'te_topic_states';
COMMENT ON FUNCTION todo_events_internal.topic_states() IS 'what the broker has said about topics, for the view todo_events.topics';

CREATE VIEW todo_events.topics AS
SELECT c.topic, c.partitions, c.retention, c.key_by, c.create_topic,
	ARRAY(SELECT r.pattern FROM todo_events.route_config r WHERE r.topic = c.topic ORDER BY r.pattern) AS routes,
	COALESCE(s.state, 'unknown') AS state, s.difference,
	s.partitions AS broker_partitions,
	pg_catalog.make_interval(secs => s.retention_ms / 1000.0) AS broker_retention,
	s.max_message_bytes AS broker_max_message_bytes, s.checked_at
FROM todo_events.topic_config c
LEFT JOIN todo_events_internal.topic_states() s ON s.topic = c.topic;
COMMENT ON VIEW todo_events.topics IS
'the configured topics, and what the broker says of them';
COMMENT ON COLUMN todo_events.topics.topic IS 'name';
COMMENT ON COLUMN todo_events.topics.partitions IS 'partitions as configured; null: the broker''s default';
COMMENT ON COLUMN todo_events.topics.retention IS 'retention as configured; null: the broker''s default';
COMMENT ON COLUMN todo_events.topics.key_by IS 'task or user';
COMMENT ON COLUMN todo_events.topics.create_topic IS 'created when absent?';
COMMENT ON COLUMN todo_events.topics.routes IS 'patterns of the routes that lead here';
COMMENT ON COLUMN todo_events.topics.state IS
'ok; created (by us); differs (see difference); missing (its events become dead letters); denied (the broker refuses this user); unknown (not looked at yet, or not created yet, see difference: its events wait; or no publisher runs)';
COMMENT ON COLUMN todo_events.topics.difference IS 'how the topic on the broker differs, or why it is missing, denied or not created yet';
COMMENT ON COLUMN todo_events.topics.broker_partitions IS 'partitions on the broker; null if not known';
COMMENT ON COLUMN todo_events.topics.broker_retention IS 'retention on the broker; null if not known, or unlimited';
COMMENT ON COLUMN todo_events.topics.broker_max_message_bytes IS 'the topic''s max.message.bytes; null if not known';
COMMENT ON COLUMN todo_events.topics.checked_at IS 'when the broker said so';

-- ---- publish ----------------------------------------------------------------

CREATE FUNCTION todo_events.publish(
	topic text, type text, data text, key text DEFAULT NULL, user_id text DEFAULT NULL)
RETURNS uuid
LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'te_publish_text';
CREATE FUNCTION todo_events.publish(
	topic text, type text, data json, key text DEFAULT NULL, user_id text DEFAULT NULL)
RETURNS uuid
LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'te_publish_json';
CREATE FUNCTION todo_events.publish(
	topic text, type text, data jsonb, key text DEFAULT NULL, user_id text DEFAULT NULL)
RETURNS uuid
LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'te_publish_jsonb';
COMMENT ON FUNCTION todo_events.publish(text, text, text, text, text) IS
'publishes an event of your own when, and only if, this transaction commits: a CloudEvent of that type whose data is the JSON given, as it was given, on a configured topic; key is its partition key. Returns the CloudEvent''s id. Errors: TE404 topic not configured, 42939 a type of todo_events'' own, 22P02 not JSON, 22023 empty or too long (type 255, key and user_id 1024 bytes)';
COMMENT ON FUNCTION todo_events.publish(text, text, json, text, text) IS
'the same with data of type json';
COMMENT ON FUNCTION todo_events.publish(text, text, jsonb, text, text) IS
'the same with data of type jsonb';

CREATE FUNCTION todo_events.wait_for_delivery(timeout interval DEFAULT '10 seconds') RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'te_wait_for_delivery';
COMMENT ON FUNCTION todo_events.wait_for_delivery(interval) IS
'waits until every event committed before this call is acknowledged by the broker, or is a dead letter: true; false when the time is over first. For an application''s own tests. Errors: 25001 this transaction has appended events itself, 25006 on a standby, TE001 no worker serves this database, TE002 no brokers are set, TE003 this database is a copy that is not adopted';

CREATE FUNCTION todo_events_internal.reader_lag(
	OUT reader text, OUT events_behind bigint, OUT exact boolean, OUT oldest_undelivered_at timestamptz,
	OUT high bigint, OUT log_end bigint)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'te_reader_lag';
COMMENT ON FUNCTION todo_events_internal.reader_lag() IS 'rows of the view todo_events.lag';

CREATE VIEW todo_events.lag AS
SELECT l.reader, l.events_behind, l.exact, l.oldest_undelivered_at,
	pg_catalog.clock_timestamp() - l.oldest_undelivered_at AS age, l.high, l.log_end
FROM todo_events_internal.reader_lag() l;
COMMENT ON VIEW todo_events.lag IS
'how far each destination is behind: committed events that it has not acknowledged. No row where none is configured';
COMMENT ON COLUMN todo_events.lag.reader IS 'publisher: Kafka';
COMMENT ON COLUMN todo_events.lag.events_behind IS
'committed events not yet acknowledged: counted up to 10,000; beyond that estimated from the ids, which have gaps where transactions rolled back';
COMMENT ON COLUMN todo_events.lag.exact IS 'was it counted?';
COMMENT ON COLUMN todo_events.lag.oldest_undelivered_at IS 'when the oldest of them was made';
COMMENT ON COLUMN todo_events.lag.age IS 'how long ago that is';
COMMENT ON COLUMN todo_events.lag.high IS 'every event up to this id of the log is settled';
COMMENT ON COLUMN todo_events.lag.log_end IS 'the last id in the log';

-- ---- dead letters -----------------------------------------------------------

CREATE SEQUENCE todo_events_internal.dead_letter_id CACHE 1;
COMMENT ON SEQUENCE todo_events_internal.dead_letter_id IS 'numbers of dead letters';

CREATE TABLE todo_events_internal.dead_letter (
	id bigint NOT NULL,
	at timestamptz NOT NULL,
	reader text NOT NULL,
	log_id bigint NOT NULL,
	last_log_id bigint NOT NULL,
	event_id text,
	topic text,
	key text,
	type text,
	reason text NOT NULL,
	code integer NOT NULL,
	code_name text NOT NULL,
	attempts integer NOT NULL,
	content_type text,
	redrive_of bigint,
	event text
) USING heap;
COMMENT ON TABLE todo_events_internal.dead_letter IS
'events that a destination has refused for good: appended, never changed; local to this node';
CREATE INDEX dead_letter_id_idx ON todo_events_internal.dead_letter USING btree (id);
COMMENT ON INDEX todo_events_internal.dead_letter_id_idx IS 'for redrive() of one, and their order';
CREATE INDEX dead_letter_log_id_idx ON todo_events_internal.dead_letter USING btree (log_id);
COMMENT ON INDEX todo_events_internal.dead_letter_log_id_idx IS
'so that an event that is sent again after a restart, and refused again, is one dead letter';

CREATE TABLE todo_events_internal.dead_letter_redrive (
	dead_letter bigint NOT NULL,
	at timestamptz NOT NULL,
	log_id bigint NOT NULL
) USING heap;
COMMENT ON TABLE todo_events_internal.dead_letter_redrive IS
'redrives of dead letters: appended, never changed; local to this node';
CREATE INDEX dead_letter_redrive_idx ON todo_events_internal.dead_letter_redrive USING btree (dead_letter);
COMMENT ON INDEX todo_events_internal.dead_letter_redrive_idx IS 'for the state of a dead letter';

CREATE VIEW todo_events.dead_letters WITH (security_barrier) AS
SELECT d.id, d.at, d.reader, d.topic, d.key, d.type, d.event_id, d.log_id, d.last_log_id,
	d.reason, d.code, d.code_name, d.attempts,
	CASE WHEN d.event IS NULL THEN 'lost' WHEN r.at IS NULL THEN 'waiting' ELSE 'redriven' END AS state,
	r.at AS redriven_at, d.redrive_of, d.event
FROM todo_events_internal.dead_letter d
LEFT JOIN LATERAL (
	SELECT pg_catalog.max(x.at) AS at FROM todo_events_internal.dead_letter_redrive x
	WHERE x.dead_letter = d.id) r ON true;
COMMENT ON VIEW todo_events.dead_letters IS
'events that a destination has refused for good, and why. They block nothing; redrive() sends them again, purge_dead_letters() forgets them. Local to this server: not dumped';
COMMENT ON COLUMN todo_events.dead_letters.id IS 'number of the dead letter';
COMMENT ON COLUMN todo_events.dead_letters.at IS 'when it was refused';
COMMENT ON COLUMN todo_events.dead_letters.reader IS 'whose destination: publisher is Kafka';
COMMENT ON COLUMN todo_events.dead_letters.topic IS 'topic that it was refused by; null for events dropped from a full log';
COMMENT ON COLUMN todo_events.dead_letters.key IS 'key of the message';
COMMENT ON COLUMN todo_events.dead_letters.type IS 'CloudEvents type';
COMMENT ON COLUMN todo_events.dead_letters.event_id IS 'CloudEvents id, which a redrive keeps';
COMMENT ON COLUMN todo_events.dead_letters.log_id IS 'id in the event log';
COMMENT ON COLUMN todo_events.dead_letters.last_log_id IS 'of events dropped from a full log (log_full = drop_oldest), the last id; otherwise the same as log_id';
COMMENT ON COLUMN todo_events.dead_letters.reason IS 'what the destination said';
COMMENT ON COLUMN todo_events.dead_letters.code IS 'its error code; 0 where the reason is ours';
COMMENT ON COLUMN todo_events.dead_letters.code_name IS 'name of the code, as librdkafka''s or todo_events.unknown_topic, .too_large, .dropped';
COMMENT ON COLUMN todo_events.dead_letters.attempts IS 'how often it was tried';
COMMENT ON COLUMN todo_events.dead_letters.state IS
'waiting; redriven (sent again: if it is refused again, that is another dead letter); lost (no event to send again)';
COMMENT ON COLUMN todo_events.dead_letters.redriven_at IS 'when it was last redriven';
COMMENT ON COLUMN todo_events.dead_letters.redrive_of IS 'the dead letter of which this was a redrive';
COMMENT ON COLUMN todo_events.dead_letters.event IS 'the whole CloudEvent';

CREATE FUNCTION todo_events.redrive(id bigint) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'te_redrive';
COMMENT ON FUNCTION todo_events.redrive(bigint) IS
'sends a dead letter again, with its old id, to the topic that refused it. Returns 1. Errors: TE404 no such dead letter, or its topic is not configured; 55000 it holds no event';

CREATE FUNCTION todo_events.redrive(
	topic text, "from" timestamptz DEFAULT '-infinity', "to" timestamptz DEFAULT 'infinity',
	rate integer DEFAULT NULL)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'te_redrive_range';
COMMENT ON FUNCTION todo_events.redrive(text, timestamptz, timestamptz, integer) IS
'sends the waiting dead letters of a topic (null: of every topic) again that were refused from "from" to before "to", in their order. With rate at most so many within a second, counting those of earlier calls: call it again until it returns 0 and none waits, as with \watch 1. Returns how many. Errors: TE404 topic not configured, 22023 rate not positive';

CREATE FUNCTION todo_events.purge_dead_letters(before timestamptz) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'te_purge_dead_letters';
COMMENT ON FUNCTION todo_events.purge_dead_letters(timestamptz) IS
'forgets the dead letters that were refused before that time, in whatever state. Returns how many. Holds an exclusive lock on them until the transaction ends: commit at once';
