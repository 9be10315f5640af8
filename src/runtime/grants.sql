-- Rights: nobody has any but those given here.  Assembled last.

CREATE FUNCTION todo_events_internal.access_rights(
	OUT level text, OUT kind text, OUT name text, OUT rights text)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	-- what each level adds; operator has viewer's and app's too
	VALUES
		('app', 'function', 'publish', 'EXECUTE'),
		('app', 'function', 'cursor', 'EXECUTE'),
		('app', 'function', 'wait_for_delivery', 'EXECUTE'),

		('gateway', 'function', 'cursor', 'EXECUTE'),
		('gateway', 'function', 'read', 'EXECUTE'),
		('gateway', 'function', 'health', 'EXECUTE'),

		('viewer', 'function', 'health', 'EXECUTE'),
		('viewer', 'function', 'metrics', 'EXECUTE'),
		('viewer', 'table', 'workers', 'SELECT'),
		('viewer', 'table', 'settings', 'SELECT'),
		('viewer', 'table', 'lag', 'SELECT'),
		('viewer', 'table', 'topics', 'SELECT'),
		('viewer', 'table', 'attachments', 'SELECT'),

		('operator', 'function', 'create_tasks', 'EXECUTE'),
		('operator', 'function', 'attach', 'EXECUTE'),
		('operator', 'function', 'detach', 'EXECUTE'),
		('operator', 'function', 'detach_all', 'EXECUTE'),
		('operator', 'function', 'read', 'EXECUTE'),
		('operator', 'function', 'maintain', 'EXECUTE'),
		('operator', 'function', 'adopt', 'EXECUTE'),
		('operator', 'function', 'configure', 'EXECUTE'),
		('operator', 'function', 'create_topic', 'EXECUTE'),
		('operator', 'function', 'redrive', 'EXECUTE'),
		('operator', 'function', 'purge_dead_letters', 'EXECUTE'),
		('operator', 'table', 'outbox', 'SELECT'),
		('operator', 'table', 'dead_letters', 'SELECT'),
		('operator', 'table', 'secret_input', 'INSERT'),
		('operator', 'table', 'setting_config', 'SELECT, INSERT, UPDATE, DELETE'),
		('operator', 'table', 'topic_config', 'SELECT, INSERT, UPDATE, DELETE'),
		('operator', 'table', 'route_config', 'SELECT, INSERT, UPDATE, DELETE'),
		('operator', 'table', 'attachment_config', 'SELECT');
END;
COMMENT ON FUNCTION todo_events_internal.access_rights() IS
'what each access level of todo_events.grant_access() adds: objects of the schema todo_events by kind and name';

CREATE FUNCTION todo_events.grant_access(role regrole, level text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	included text[];
	statement text;
BEGIN
	included := CASE grant_access.level
		WHEN 'app' THEN '{app}'
		WHEN 'viewer' THEN '{viewer}'
		WHEN 'gateway' THEN '{gateway}'
		WHEN 'operator' THEN '{operator,viewer,app}'
	END;
	IF included IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('unknown access level "%s"', grant_access.level),
			HINT = 'The levels are app, operator, viewer and gateway.';
	END IF;
	IF NOT EXISTS (SELECT FROM pg_authid a WHERE a.oid = grant_access.role) THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object',
			MESSAGE = 'the role does not exist';
	END IF;
	FOR statement IN
		SELECT format('GRANT EXECUTE ON FUNCTION %s TO %s', p.oid::regprocedure, grant_access.role)
		FROM todo_events_internal.access_rights() r
		JOIN pg_proc p ON p.pronamespace = 'todo_events'::regnamespace AND p.proname = r.name
		WHERE r.kind = 'function' AND r.level = ANY (included)
		UNION ALL
		SELECT format('GRANT %s ON TABLE %s TO %s', r.rights, c.oid::regclass, grant_access.role)
		FROM todo_events_internal.access_rights() r
		JOIN pg_class c ON c.relnamespace = 'todo_events'::regnamespace AND c.relname = r.name
		WHERE r.kind = 'table' AND r.level = ANY (included)
		UNION ALL
		-- the functions behind the views, which are called with the caller's rights
		SELECT DISTINCT format('GRANT EXECUTE ON FUNCTION %s TO %s', f.refobjid::regprocedure, grant_access.role)
		FROM todo_events_internal.access_rights() r
		JOIN pg_class c ON c.relnamespace = 'todo_events'::regnamespace AND c.relname = r.name
			AND c.relkind = 'v'
		JOIN pg_rewrite w ON w.ev_class = c.oid
		JOIN pg_depend f ON f.classid = 'pg_rewrite'::regclass AND f.objid = w.oid
			AND f.refclassid = 'pg_proc'::regclass
		JOIN pg_proc p ON p.oid = f.refobjid AND p.pronamespace = 'todo_events_internal'::regnamespace
		WHERE r.kind = 'table' AND r.level = ANY (included)
	LOOP
		EXECUTE statement;
	END LOOP;
END
$$;
COMMENT ON FUNCTION todo_events.grant_access(regrole, text) IS
'gives a role the rights of a level: app (publish, cursor, wait_for_delivery), viewer (health, metrics and the views that show no content), operator (both, and everything that administers), gateway (read)';

CREATE FUNCTION todo_events.revoke_access(role regrole) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	kind text;
BEGIN
	FOREACH kind IN ARRAY '{TABLES,SEQUENCES,FUNCTIONS}'::text[] LOOP
		EXECUTE format('REVOKE ALL ON ALL %s IN SCHEMA todo_events, todo_events_internal FROM %s',
			kind, revoke_access.role);
	END LOOP;
END
$$;
COMMENT ON FUNCTION todo_events.revoke_access(regrole) IS
'takes back every right that grant_access() has given to a role';

-- Nothing for PUBLIC but the trigger functions of attached tables: without
-- them the owner of such a table could not restore it.
DO $$
DECLARE
	statement text;
BEGIN
	REVOKE ALL ON ALL TABLES IN SCHEMA todo_events, todo_events_internal FROM PUBLIC;
	REVOKE ALL ON ALL SEQUENCES IN SCHEMA todo_events, todo_events_internal FROM PUBLIC;
	REVOKE ALL ON ALL FUNCTIONS IN SCHEMA todo_events, todo_events_internal FROM PUBLIC;
	FOR statement IN
		SELECT format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC', p.oid::regprocedure)
		FROM pg_proc p
		WHERE p.pronamespace = 'todo_events'::regnamespace AND p.prorettype = 'trigger'::regtype
	LOOP
		EXECUTE statement;
	END LOOP;
END
$$;

-- The extension's owner need not be a superuser.  He administers it, gives
-- rights to others, and dumps and restores what is dumped.
DO $$
DECLARE
	owner regrole := '@extowner@'::regrole;
	statement text;
BEGIN
	IF (SELECT a.rolsuper FROM pg_authid a WHERE a.oid = owner) THEN
		RETURN;
	END IF;
	PERFORM todo_events.grant_access(owner, 'operator');
	FOR statement IN
		SELECT format('GRANT EXECUTE ON FUNCTION todo_events.grant_access(regrole, text), todo_events.revoke_access(regrole) TO %s', owner)
		UNION ALL
		SELECT format('GRANT %s ON %s TO %s',
			CASE c.relkind WHEN 'S' THEN 'SELECT, UPDATE' ELSE 'SELECT, INSERT' END, c.oid::regclass, owner)
		FROM pg_extension e, unnest(e.extconfig) AS t (oid)
		JOIN pg_class c ON c.oid = t.oid
		WHERE e.extname = 'todo_events'
	LOOP
		EXECUTE statement;
	END LOOP;
END
$$;

-- A warning: the script of an extension runs with client_min_messages of at least that.
DO $$
BEGIN
	IF (SELECT p.setting FROM pg_settings p WHERE p.name = 'shared_preload_libraries')
		!~ '(^|[,/ "])todo_events($|[," ])' THEN
		RAISE WARNING USING MESSAGE = 'todo_events is not preloaded: events will be stored, but nothing is delivered',
			HINT = 'Add todo_events to shared_preload_libraries and restart the server.';
	END IF;
END
$$;

SELECT todo_events_internal.register();
