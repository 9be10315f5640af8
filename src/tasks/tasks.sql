-- Tasks: attached tables, and the numbers of their events.

-- ---- attachments ----------------------------------------------------------

CREATE SEQUENCE todo_events.attachment_number AS integer CACHE 1;
COMMENT ON SEQUENCE todo_events.attachment_number IS 'numbers of attachments, never used again';

CREATE TABLE todo_events.attachment_config (
	number integer NOT NULL,
	relation regclass NOT NULL,
	name text NOT NULL,
	type_prefix text NOT NULL,
	bare boolean NOT NULL,
	start_sequence bigint NOT NULL,
	attached_at timestamptz NOT NULL,
	detached_at timestamptz,
	database_id uuid,
	CONSTRAINT attachment_config_pkey PRIMARY KEY (number),
	-- as attach() has it; a row may also come from a dump, or from the extension's owner
	CONSTRAINT attachment_config_number_check CHECK (number > 0),
	CONSTRAINT attachment_config_name_check
		CHECK (pg_catalog.octet_length(name) BETWEEN 1 AND 63 AND pg_catalog.strpos(name, '/') = 0),
	CONSTRAINT attachment_config_type_prefix_check
		CHECK (pg_catalog.length(type_prefix) <= 100
			AND type_prefix OPERATOR(pg_catalog.~) '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$'
			AND type_prefix OPERATOR(pg_catalog.!~) '^com\.todo\.(reminder|notification|sync)(\.|$)'),
	CONSTRAINT attachment_config_start_sequence_check CHECK (start_sequence >= 0)
) USING heap;
COMMENT ON TABLE todo_events.attachment_config IS
'attached tables, and those that were: the log may still hold their events. What their columns mean is said by their trigger todo_events_columns; see todo_events.attachments';
COMMENT ON COLUMN todo_events.attachment_config.number IS 'stands in the log for the table, and in the arguments of its triggers';
COMMENT ON COLUMN todo_events.attachment_config.relation IS 'the table; a partitioned one stands for its partitions';
COMMENT ON COLUMN todo_events.attachment_config.name IS 'goes before the keys of its tasks, as name/key';
COMMENT ON COLUMN todo_events.attachment_config.type_prefix IS 'what the types of its events begin with';
COMMENT ON COLUMN todo_events.attachment_config.bare IS 'the keys of its tasks go without the name; keys of type uuid always do';
COMMENT ON COLUMN todo_events.attachment_config.start_sequence IS 'number that rows count as having reached which have none yet';
COMMENT ON COLUMN todo_events.attachment_config.attached_at IS 'when it was attached, the last time';
COMMENT ON COLUMN todo_events.attachment_config.detached_at IS 'when it was detached, or found dropped; null while it is attached';
COMMENT ON COLUMN todo_events.attachment_config.database_id IS 'database that has made the row, set by the system: where it is another''s, nothing is sent before todo_events.adopt()';
CREATE TRIGGER own_row BEFORE INSERT ON todo_events.attachment_config
FOR EACH ROW EXECUTE FUNCTION todo_events_internal.own_row();
COMMENT ON TRIGGER own_row ON todo_events.attachment_config IS 'says which database has made the row';
SELECT pg_catalog.pg_extension_config_dump('todo_events.attachment_config', '');
SELECT pg_catalog.pg_extension_config_dump('todo_events.attachment_number', '');

CREATE FUNCTION todo_events_internal.attachment_columns(relation regclass,
	OUT number integer, OUT key text, OUT user_key text, OUT completed text, OUT title text,
	OUT due_at text, OUT remind_at text, OUT sequence text, OUT exclude text[])
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'te_tasks_attachment_columns';
COMMENT ON FUNCTION todo_events_internal.attachment_columns(regclass) IS
'what the columns of an attached table mean, by their present names; all null if it is not attached';

CREATE VIEW todo_events.attachments AS
SELECT c.number, c.relation, c.name, c.type_prefix, a.key, a.user_key, a.completed, a.title,
	a.due_at, a.remind_at, a.sequence, a.exclude, c.attached_at
FROM todo_events.attachment_config c, todo_events_internal.attachment_columns(c.relation) a
WHERE c.detached_at IS NULL AND a.number = c.number;
COMMENT ON VIEW todo_events.attachments IS
'attached tables, with what their columns mean by their present names';
COMMENT ON COLUMN todo_events.attachments.number IS 'number of the attachment';
COMMENT ON COLUMN todo_events.attachments.relation IS 'the table';
COMMENT ON COLUMN todo_events.attachments.name IS 'name of the attachment, which goes before its keys unless it is the first';
COMMENT ON COLUMN todo_events.attachments.type_prefix IS 'what the types of its events begin with';
COMMENT ON COLUMN todo_events.attachments.key IS 'column of the task''s key';
COMMENT ON COLUMN todo_events.attachments.user_key IS 'column of the user';
COMMENT ON COLUMN todo_events.attachments.completed IS 'column, or column=value, that says that a task is completed';
COMMENT ON COLUMN todo_events.attachments.title IS 'column of the title';
COMMENT ON COLUMN todo_events.attachments.due_at IS 'column of the due time';
COMMENT ON COLUMN todo_events.attachments.remind_at IS 'column of the reminder''s time';
COMMENT ON COLUMN todo_events.attachments.sequence IS 'column that holds the number of the task''s latest event; null: kept in a counter table';
COMMENT ON COLUMN todo_events.attachments.exclude IS 'columns that no event shows';
COMMENT ON COLUMN todo_events.attachments.attached_at IS 'when it was attached';

-- ---- numbers --------------------------------------------------------------

CREATE TABLE todo_events_internal.counter (
	place bigint NOT NULL,
	sequence bigint NOT NULL,
	at timestamptz NOT NULL,
	attachment integer NOT NULL,
	deleted boolean NOT NULL,
	key_uuid uuid,
	key_text text,
	segment smallint NOT NULL
) PARTITION BY LIST (segment);
COMMENT ON TABLE todo_events_internal.counter IS
'numbers that tasks have reached, of deleted tasks and of tables without a sequence column: the highest of a key counts';
COMMENT ON COLUMN todo_events_internal.counter.place IS '32 bits of the key''s hash, then the number upside down';
COMMENT ON COLUMN todo_events_internal.counter.sequence IS 'number of an event of the task';
COMMENT ON COLUMN todo_events_internal.counter.at IS 'when it was made';
COMMENT ON COLUMN todo_events_internal.counter.attachment IS 'number of the attachment';
COMMENT ON COLUMN todo_events_internal.counter.deleted IS 'a tombstone, remembered for todo_events.log_retention';
COMMENT ON COLUMN todo_events_internal.counter.key_uuid IS 'key of the task, if it is a uuid';
COMMENT ON COLUMN todo_events_internal.counter.key_text IS 'key of the task, otherwise';
COMMENT ON COLUMN todo_events_internal.counter.segment IS 'segment of the ring';
CREATE SEQUENCE todo_events_internal.counter_segment MINVALUE 0 START 0 CACHE 1;
COMMENT ON SEQUENCE todo_events_internal.counter_segment IS
'register: value n means that segment n modulo 3 is the one written to';

DO $$
BEGIN
	FOR i IN 0 .. 2 LOOP
		EXECUTE pg_catalog.format(
			'CREATE TABLE todo_events_internal.counter_%s PARTITION OF todo_events_internal.counter FOR VALUES IN (%s)
			 USING heap WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off)', i, i);
		EXECUTE pg_catalog.format(
			'CREATE INDEX counter_%s_idx ON todo_events_internal.counter_%s USING btree (place)', i, i);
		EXECUTE pg_catalog.format(
			'COMMENT ON TABLE todo_events_internal.counter_%s IS %L', i,
			'segment ' || i || ' of todo_events_internal.counter');
	END LOOP;
END
$$;

-- ---- functions ------------------------------------------------------------

CREATE FUNCTION todo_events.capture() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'te_tasks_capture';
COMMENT ON FUNCTION todo_events.capture() IS
'trigger function of attached tables; made by attach(), not for use by hand';

-- What DDL on attached tables asks for.  They are the superuser's who installed
-- the extension, and fire for everybody.

CREATE FUNCTION todo_events_internal.ddl_begin() RETURNS event_trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'te_tasks_ddl_begin';
COMMENT ON FUNCTION todo_events_internal.ddl_begin() IS
'refuses an ALTER TABLE that an attached table could not go on after, and makes room for one that changes the type of columns with a meaning';
CREATE EVENT TRIGGER todo_events_ddl_begin ON ddl_command_start
WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION todo_events_internal.ddl_begin();
COMMENT ON EVENT TRIGGER todo_events_ddl_begin IS 'lets attached tables be altered';

CREATE FUNCTION todo_events_internal.ddl_end() RETURNS event_trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'te_tasks_ddl_end';
COMMENT ON FUNCTION todo_events_internal.ddl_end() IS
'ends what ddl_begin() began, and gives new partitions of an attached table their trigger for TRUNCATE';
CREATE EVENT TRIGGER todo_events_ddl_end ON ddl_command_end
WHEN TAG IN ('ALTER TABLE', 'CREATE TABLE', 'CREATE FOREIGN TABLE') EXECUTE FUNCTION todo_events_internal.ddl_end();
COMMENT ON EVENT TRIGGER todo_events_ddl_end IS 'lets attached tables be altered, and looks after their partitions';

CREATE FUNCTION todo_events_internal.ddl_dropped() RETURNS event_trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'te_tasks_ddl_dropped';
COMMENT ON FUNCTION todo_events_internal.ddl_dropped() IS
'notes in todo_events.attachment_config that an attached table was dropped';
CREATE EVENT TRIGGER todo_events_ddl_dropped ON sql_drop EXECUTE FUNCTION todo_events_internal.ddl_dropped();
COMMENT ON EVENT TRIGGER todo_events_ddl_dropped IS 'notes that an attached table was dropped';

CREATE FUNCTION todo_events.attach(table_name regclass, key text DEFAULT NULL,
	user_key text DEFAULT NULL, completed text DEFAULT NULL, title text DEFAULT NULL,
	due_at text DEFAULT NULL, remind_at text DEFAULT NULL, sequence text DEFAULT NULL,
	exclude text[] DEFAULT NULL, type_prefix text DEFAULT 'com.todo.task', name text DEFAULT NULL,
	backfill text DEFAULT 'none', start_sequence bigint DEFAULT NULL)
RETURNS integer
LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'te_tasks_attach';
COMMENT ON FUNCTION todo_events.attach(regclass, text, text, text, text, text, text, text, text[], text, text, text, bigint) IS
'makes the changes of a table events, from this transaction on; the caller must own it. Columns are given by name: key (default: the primary key), user_key, completed (a boolean column, a timestamp column that is not null when done, or ''column=value''), title, due_at, sequence (a bigint column that is kept for it; without one a counter table is, which costs more), exclude (columns that no event shows; a change in nothing else is no event). backfill: ''none'', or ''snapshot'' for one created event a present row. start_sequence: the number that present rows count as having reached. remind_at and backfill ''reminders'' are refused: this version has no reminders. Returns the attachment''s number. Errors: TE422 the table cannot be attached, 42710 already attached or name taken, 42501 not the owner';

CREATE FUNCTION todo_events.detach(table_name regclass) RETURNS integer
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'te_tasks_detach';
COMMENT ON FUNCTION todo_events.detach(regclass) IS
'ends what attach() began; the table stays as it is, and its events in the log are still delivered. Returns 1. Errors: TE404 not attached, 42501 not the owner';

CREATE FUNCTION todo_events.detach_all() RETURNS integer
LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'te_tasks_detach';
COMMENT ON FUNCTION todo_events.detach_all() IS
'detaches every table, as must be done before DROP EXTENSION; the caller must own them. Waits for the writers of one table at a time and cannot deadlock with them. Returns how many there were';

CREATE FUNCTION todo_events.create_tasks(table_name text) RETURNS regclass
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'te_tasks_create';
COMMENT ON FUNCTION todo_events.create_tasks(text) IS
'creates the standard tasks table, an ordinary table of the caller''s, and attaches it. A name without a schema goes where CREATE TABLE would put it';
