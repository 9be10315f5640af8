-- Logical replication: what a publication brings stays out of our own tables.
-- Assembled after every table of the extension.

CREATE FUNCTION todo_events_internal.guard() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'te_guard';
COMMENT ON FUNCTION todo_events_internal.guard() IS
'skips what a logical replication worker would do to a table of the extension, and refuses TRUNCATE';

-- On each table and each partition by itself: rows end in these, whether a
-- publication names the partitions or, via the root, their table.
DO $$
DECLARE
	guarded record;
BEGIN
	FOR guarded IN
		SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname IN ('todo_events', 'todo_events_internal') AND c.relkind = 'r'
	LOOP
		EXECUTE 'CREATE TRIGGER todo_events_guard BEFORE INSERT OR UPDATE OR DELETE ON ' || guarded.name ||
			' FOR EACH ROW EXECUTE FUNCTION todo_events_internal.guard()';
		EXECUTE 'CREATE TRIGGER todo_events_guard_truncate BEFORE TRUNCATE ON ' || guarded.name ||
			' FOR EACH STATEMENT EXECUTE FUNCTION todo_events_internal.guard()';
		EXECUTE 'ALTER TABLE ' || guarded.name || ' ENABLE ALWAYS TRIGGER todo_events_guard,
			ENABLE ALWAYS TRIGGER todo_events_guard_truncate';
		EXECUTE 'COMMENT ON TRIGGER todo_events_guard ON ' || guarded.name ||
			' IS ''skips rows that logical replication brings''';
		EXECUTE 'COMMENT ON TRIGGER todo_events_guard_truncate ON ' || guarded.name ||
			' IS ''refuses TRUNCATE, which would be published''';
	END LOOP;
END
$$;

-- pg_restore --disable-triggers ends with ENABLE TRIGGER ALL, which takes ALWAYS away
CREATE FUNCTION todo_events_internal.guards_enabled() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	guard record;
BEGIN
	IF NOT EXISTS (SELECT FROM pg_event_trigger_ddl_commands() c
			WHERE c.schema_name IN ('todo_events', 'todo_events_internal')) THEN
		RETURN;
	END IF;
	FOR guard IN
		SELECT t.tgrelid::regclass AS "table", t.tgname AS name FROM pg_trigger t
		WHERE t.tgfoid = 'todo_events_internal.guard'::regproc AND t.tgenabled IN ('O', 'R')
	LOOP
		EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', guard."table", guard.name);
	END LOOP;
END
$$;
COMMENT ON FUNCTION todo_events_internal.guards_enabled() IS
'has the guards of our tables fire always again, when all triggers of a table were enabled';
CREATE EVENT TRIGGER todo_events_guards_enabled ON ddl_command_end
WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION todo_events_internal.guards_enabled();
ALTER EVENT TRIGGER todo_events_guards_enabled ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER todo_events_guards_enabled IS
'has the guards of our tables fire always again, when all triggers of a table were enabled';
