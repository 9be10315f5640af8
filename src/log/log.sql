-- The event log: rings of partitions that are only appended to and truncated.
-- C code (ring.c) writes them; the last column names the segment.

DO $$
DECLARE
	ring record;
BEGIN
	FOR ring IN
		SELECT * FROM (VALUES
			('log', 16, 'id',
			 'id bigint NOT NULL, "time" timestamptz NOT NULL, sequence bigint, origin integer NOT NULL,
			  attachment integer NOT NULL, type smallint NOT NULL, key_uuid uuid, user_uuid uuid,
			  key_text text, user_text text, extra json, payload json'),
			('cursor', 2, 'number',
			 'number bigint NOT NULL, reader text NOT NULL, mark text NOT NULL, at timestamptz NOT NULL'),
			('idempotency', 3, 'hash',
			 'hash bigint NOT NULL, attachment integer NOT NULL, at timestamptz NOT NULL, key text NOT NULL')
		) AS v (name, segments, indexed, columns)
	LOOP
		EXECUTE pg_catalog.format(
			'CREATE TABLE todo_events_internal.%I (%s, segment smallint NOT NULL) PARTITION BY LIST (segment)',
			ring.name, ring.columns);
		EXECUTE pg_catalog.format(
			'CREATE SEQUENCE todo_events_internal.%I MINVALUE 0 START 0 CACHE 1', ring.name || '_segment');
		FOR i IN 0 .. ring.segments - 1 LOOP
			EXECUTE pg_catalog.format(
				'CREATE TABLE todo_events_internal.%I PARTITION OF todo_events_internal.%I FOR VALUES IN (%s)
				 USING heap WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off)',
				ring.name || '_' || i, ring.name, i);
			EXECUTE pg_catalog.format(
				'CREATE INDEX %I ON todo_events_internal.%I USING btree (%I)',
				ring.name || '_' || i || '_idx', ring.name || '_' || i, ring.indexed);
			EXECUTE pg_catalog.format(
				'COMMENT ON TABLE todo_events_internal.%I IS %L',
				ring.name || '_' || i, 'segment ' || i || ' of todo_events_internal.' || ring.name);
		END LOOP;
		EXECUTE pg_catalog.format(
			'COMMENT ON SEQUENCE todo_events_internal.%I IS %L', ring.name || '_segment',
			'register: value n means that segment n modulo ' || ring.segments || ' is the one written to');
	END LOOP;
END
$$;

COMMENT ON TABLE todo_events_internal.log IS
'the event log: one row an event, appended by triggers and publish(), never updated or deleted; kept for todo_events.log_retention. Read it through todo_events.outbox or todo_events.read()';
COMMENT ON TABLE todo_events_internal.cursor IS
'how far each reader of the log has come: the latest row of a reader counts';
COMMENT ON TABLE todo_events_internal.idempotency IS
'idempotency keys used within the log''s retention, by attachment';

CREATE SEQUENCE todo_events_internal.log_id MINVALUE 0 CACHE 1;
SELECT pg_catalog.setval('todo_events_internal.log_id', 0);
COMMENT ON SEQUENCE todo_events_internal.log_id IS 'ids of the event log; drawn after the transaction has its xid';
CREATE SEQUENCE todo_events_internal.cursor_number MINVALUE 0 CACHE 1;
SELECT pg_catalog.setval('todo_events_internal.cursor_number', 0);
COMMENT ON SEQUENCE todo_events_internal.cursor_number IS 'numbers of the rows of todo_events_internal.cursor';
CREATE SEQUENCE todo_events_internal.log_floor MINVALUE 0 START 0 CACHE 1;
COMMENT ON SEQUENCE todo_events_internal.log_floor IS
'register: the highest log id that rotation has removed; a cursor below it cannot be continued';

CREATE TABLE todo_events_internal.epoch (
	epoch integer NOT NULL,
	first_id bigint NOT NULL,
	started_at timestamptz NOT NULL,
	reason text NOT NULL,
	database_id uuid NOT NULL,
	origin integer NOT NULL,
	cluster bigint NOT NULL,
	database oid NOT NULL,
	timeline bigint NOT NULL,
	branch text NOT NULL,
	instance text NOT NULL
) USING heap;
COMMENT ON TABLE todo_events_internal.epoch IS
'who this database is, and since when: a row is appended when the extension is created, at a promotion or recovery, and by todo_events.adopt(). Where its latest facts are not those of the server, the database is a copy. Not dumped, so that a restored copy is another database';
COMMENT ON COLUMN todo_events_internal.epoch.epoch IS '1, 2, 3 ...: part of every cursor that clients hold';
COMMENT ON COLUMN todo_events_internal.epoch.first_id IS 'log ids from here on belong to it: a cursor of an earlier epoch and another origin holds up to here';
COMMENT ON COLUMN todo_events_internal.epoch.started_at IS 'when it was noted';
COMMENT ON COLUMN todo_events_internal.epoch.reason IS 'why it began';
COMMENT ON COLUMN todo_events_internal.epoch.database_id IS 'the database: the namespace of its event ids';
COMMENT ON COLUMN todo_events_internal.epoch.origin IS 'hash of the facts; every row of the log has that of its writer';
COMMENT ON COLUMN todo_events_internal.epoch.cluster IS 'system identifier of the server';
COMMENT ON COLUMN todo_events_internal.epoch.database IS 'oid of the database';
COMMENT ON COLUMN todo_events_internal.epoch.timeline IS 'timeline that the server wrote';
COMMENT ON COLUMN todo_events_internal.epoch.branch IS 'Neon branch; empty elsewhere';
COMMENT ON COLUMN todo_events_internal.epoch.instance IS 'todo_events.instance; empty if it was not set';

CREATE FUNCTION todo_events_internal.begin_epoch() RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'te_begin_epoch';
COMMENT ON FUNCTION todo_events_internal.begin_epoch() IS
'begins the first epoch, when the extension is created';
SELECT todo_events_internal.begin_epoch();

-- What acts outside the database says which database has made it: a restored
-- dump is known by its rows, and none of them acts before adopt().
CREATE FUNCTION todo_events_internal.database_id() RETURNS uuid
	LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'te_database_id';
COMMENT ON FUNCTION todo_events_internal.database_id() IS
'who this database is: the namespace of its event ids, and what its rows of configuration carry';

CREATE FUNCTION todo_events_internal.own_row() RETURNS trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'te_own_row';
COMMENT ON FUNCTION todo_events_internal.own_row() IS
'marks a new row as made by this database, unless a dump says which one has made it';

CREATE TRIGGER own_row BEFORE INSERT ON todo_events.setting_config
FOR EACH ROW EXECUTE FUNCTION todo_events_internal.own_row();
COMMENT ON TRIGGER own_row ON todo_events.setting_config IS 'says which database has made the row';

CREATE FUNCTION todo_events.adopt(backlog text DEFAULT 'discard') RETURNS boolean
	LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
	SECURITY DEFINER AS 'MODULE_PATHNAME', 'te_adopt';
COMMENT ON FUNCTION todo_events.adopt(text) IS
'makes a copy of a database (a restored dump, a database made from a template, a clone with another todo_events.instance, a Neon branch, a pg_upgrade without an instance) a database of its own, which sends events from then on. backlog: ''discard'' moves every reader to the log''s end, ''send'' goes on with what the original had not sent when it was copied. Returns false, and does nothing, where there is no copy. Errors: 22023 another backlog, 25006 on a standby';

CREATE FUNCTION todo_events_internal.render(row_ todo_events_internal.log) RETURNS json
	LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'te_render';
COMMENT ON FUNCTION todo_events_internal.render(todo_events_internal.log) IS
'the CloudEvent 1.0 (structured JSON) of a row of the log';

CREATE FUNCTION todo_events_internal.event_type(row_ todo_events_internal.log) RETURNS text
	LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'te_event_type_sql';
COMMENT ON FUNCTION todo_events_internal.event_type(todo_events_internal.log) IS
'the CloudEvents type of a row of the log, for example com.todo.task.created';

-- no security_barrier: it hides no rows, and would render all of them for ORDER BY id LIMIT
CREATE VIEW todo_events.outbox AS
	SELECT l.id, l."time", todo_events_internal.event_type(l) AS type,
		   COALESCE(l.key_text, l.key_uuid::text) AS key,
		   COALESCE(l.user_text, l.user_uuid::text) AS user_id,
		   l.sequence, l.extra->>'topic' AS topic, todo_events_internal.render(l) AS event
	FROM todo_events_internal.log l;
COMMENT ON VIEW todo_events.outbox IS
'the event log, each row with its CloudEvent rendered: what has been, or will be, delivered. Order by id';
COMMENT ON COLUMN todo_events.outbox.id IS 'number in the log: ascending by task, not gapless';
COMMENT ON COLUMN todo_events.outbox."time" IS 'when the change was made';
COMMENT ON COLUMN todo_events.outbox.type IS 'CloudEvents type';
COMMENT ON COLUMN todo_events.outbox.key IS 'key of the task, or as given to publish()';
COMMENT ON COLUMN todo_events.outbox.user_id IS 'user of the task, or as given to publish()';
COMMENT ON COLUMN todo_events.outbox.sequence IS 'number of the event within its task: 1, 2, 3 ...; null for events that are not a task''s';
COMMENT ON COLUMN todo_events.outbox.topic IS 'topic given to publish() or redrive; null where the routes decide';
COMMENT ON COLUMN todo_events.outbox.event IS 'the CloudEvent 1.0 in structured JSON mode';

CREATE FUNCTION todo_events.cursor() RETURNS text
	LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'te_cursor';
COMMENT ON FUNCTION todo_events.cursor() IS
'the place in the log that fits the calling statement''s snapshot: everything which that snapshot sees is before it, everything else after it. Call it in the statement (or REPEATABLE READ transaction) that lists the tasks, and read() on from there. Returns an opaque token of at most 200 bytes. Error: 25006 on a standby';

CREATE FUNCTION todo_events.read(INOUT cursor text, max integer DEFAULT 1000, OUT event text)
	RETURNS SETOF record
	LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000 SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'te_read';
COMMENT ON FUNCTION todo_events.read(text, integer) IS
'up to max events after a cursor (null: from the oldest kept), in order by task, each with the cursor to go on from. An event of a transaction that was still open is returned once it commits. Reading on from a cursor may repeat, never skip. Errors: 22023 not a cursor, TE410 beyond what the log keeps: load anew, 25006 on a standby';

CREATE FUNCTION todo_events.maintain() RETURNS integer
	LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
	SECURITY DEFINER AS 'MODULE_PATHNAME', 'te_maintain';
COMMENT ON FUNCTION todo_events.maintain() IS
'rotates the event log and its companions where that is due, as the engine does by itself; for servers that do not preload the library. Not inside a transaction block. Returns the number of segments emptied';
