-- Rights: nobody has any but those given here.  Assembled last.

-- What an update has found, an object a line: what is not there is what it has made.
-- The rights on what an earlier version made belong to those who gave them, and a GRANT in
-- a script would have pg_dump take all of an object's rights for the extension's own.
CREATE FUNCTION todo_events_internal.made_before() RETURNS text[]
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN COALESCE(string_to_array(current_setting('todo_events_script.before', true), chr(10)), '{}');
COMMENT ON FUNCTION todo_events_internal.made_before() IS
'in an update script: the objects that were there when it called note_objects(); else none';

-- every object that has rights, in the words of GRANT, but for those of made_before()
CREATE FUNCTION todo_events_internal.script_objects(OUT object text, OUT acl aclitem[]) RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT o.object, o.acl
	FROM (
		SELECT c.relnamespace, CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::regclass,
			COALESCE(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))
		FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'S')
		UNION ALL
		SELECT p.pronamespace, 'FUNCTION ' || p.oid::regprocedure, COALESCE(p.proacl, acldefault('f', p.proowner))
		FROM pg_proc p
		UNION ALL
		SELECT n.oid, 'SCHEMA ' || n.nspname, COALESCE(n.nspacl, acldefault('n', n.nspowner))
		FROM pg_namespace n
	) AS o (namespace, object, acl)
	WHERE o.namespace IN (SELECT n.oid FROM pg_namespace n WHERE n.nspname IN ('todo_events', 'todo_events_internal'))
		AND o.object <> ALL (todo_events_internal.made_before());
END;
COMMENT ON FUNCTION todo_events_internal.script_objects() IS
'in a script: every object that it has made and that has rights';

CREATE FUNCTION todo_events_internal.note_objects() RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM set_config('todo_events_script.before', '', true);
	PERFORM set_config('todo_events_script.before',
		(SELECT string_agg(o.object, chr(10)) FROM todo_events_internal.script_objects() o), true);
END
$$;
COMMENT ON FUNCTION todo_events_internal.note_objects() IS
'remembers what there is: the second call of every update script, before it makes anything';

-- A superuser's rights are behind these two: nothing in them is found by a name
-- that the extension's owner could give to something else.
CREATE FUNCTION todo_events.grant_access(role regrole, level text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	included text[];
	owns boolean;
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
			MESSAGE = CASE WHEN grant_access.level IS NULL THEN 'the access level must not be null'
				ELSE format('unknown access level "%s"', grant_access.level) END,
			HINT = 'The levels are app, operator, viewer and gateway.';
	END IF;
	IF grant_access.role IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'the role must not be null';
	END IF;
	IF NOT EXISTS (SELECT FROM pg_authid a WHERE a.oid = grant_access.role) THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = 'the role does not exist';
	END IF;

	-- The extension's owner administers it, gives rights to others, and dumps and
	-- restores what is dumped.
	owns := grant_access.level = 'operator' AND EXISTS (
		SELECT FROM pg_extension e JOIN pg_authid a ON a.oid = e.extowner
		WHERE e.extname = 'todo_events' AND e.extowner = grant_access.role AND NOT a.rolsuper);
	IF owns THEN
		included := included || 'owner'::text;
	END IF;

	FOR statement IN
		WITH rights (level, kind, name, rights) AS (VALUES
			-- what each level adds; operator has viewer's and app's too
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
			('operator', 'table', 'attachment_config', 'SELECT'),

			('owner', 'function', 'grant_access', 'EXECUTE'),
			('owner', 'function', 'revoke_access', 'EXECUTE')),
		granted (rights, object) AS (
			SELECT r.rights, 'FUNCTION ' || p.oid::regprocedure
			FROM rights r
			JOIN pg_proc p ON p.pronamespace = 'todo_events'::regnamespace AND p.proname = r.name
			WHERE r.kind = 'function' AND r.level = ANY (included)
			UNION ALL
			SELECT r.rights, 'TABLE ' || c.oid::regclass
			FROM rights r
			JOIN pg_class c ON c.relnamespace = 'todo_events'::regnamespace AND c.relname = r.name
			WHERE r.kind = 'table' AND r.level = ANY (included)
			UNION
			-- the functions behind the views, which are called with the caller's rights
			SELECT 'EXECUTE', 'FUNCTION ' || f.refobjid::regprocedure
			FROM rights r
			JOIN pg_class c ON c.relnamespace = 'todo_events'::regnamespace AND c.relname = r.name
				AND c.relkind = 'v'
			JOIN pg_rewrite w ON w.ev_class = c.oid
			JOIN pg_depend f ON f.classid = 'pg_rewrite'::regclass AND f.objid = w.oid
				AND f.refclassid = 'pg_proc'::regclass
			JOIN pg_proc p ON p.oid = f.refobjid AND p.pronamespace = 'todo_events_internal'::regnamespace
			WHERE r.kind = 'table' AND r.level = ANY (included)
			UNION ALL
			-- what is dumped, and the schema in which a dump's GRANT finds the functions above
			SELECT CASE c.relkind WHEN 'S' THEN 'SELECT, UPDATE' ELSE 'SELECT, INSERT' END,
				CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::regclass
			FROM pg_extension e, unnest(e.extconfig) AS t (oid)
			JOIN pg_class c ON c.oid = t.oid
			WHERE owns AND e.extname = 'todo_events'
			UNION ALL
			SELECT 'USAGE', 'SCHEMA todo_events_internal' WHERE owns)
		SELECT format('GRANT %s ON %s TO %s', g.rights, g.object, grant_access.role) FROM granted g
		WHERE g.object <> ALL (todo_events_internal.made_before())
	LOOP
		EXECUTE statement;
	END LOOP;
END
$$;
COMMENT ON FUNCTION todo_events.grant_access(regrole, text) IS
'gives a role the rights of a level, besides those that it has: app (publish, cursor, wait_for_delivery), viewer (health, metrics and the views that show no content), operator (both, and everything that administers), gateway (read). To give less than before, revoke_access() comes first. Errors: 22023 no such level, 42704 no such role';

CREATE FUNCTION todo_events.revoke_access(role regrole) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given record;
	statement text;
BEGIN
	IF revoke_access.role IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'the role must not be null';
	END IF;
	IF NOT EXISTS (SELECT FROM pg_authid a WHERE a.oid = revoke_access.role) THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = 'the role does not exist';
	END IF;
	IF EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'todo_events' AND e.extowner = revoke_access.role)
		OR EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = 'todo_events' AND n.nspowner = revoke_access.role) THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = 'the owner of the extension keeps its rights',
			HINT = 'REASSIGN OWNED makes another role the owner.';
	END IF;

	-- What a holder of a grant option gave (a restored dump did so as the extension's
	-- owner) can be taken back only with that option: it is given anew, and what others
	-- have by it is theirs directly from then on.
	FOR given IN
		WITH object (name, owner, acl) AS (
			SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::regclass, c.relowner, c.relacl
			FROM pg_class c
			WHERE c.relnamespace IN ('todo_events'::regnamespace, 'todo_events_internal'::regnamespace)
			UNION ALL
			SELECT 'FUNCTION ' || p.oid::regprocedure, p.proowner, p.proacl
			FROM pg_proc p
			WHERE p.pronamespace IN ('todo_events'::regnamespace, 'todo_events_internal'::regnamespace))
		SELECT o.name AS object, a.privilege_type AS privilege, a.grantor::regrole AS grantor,
			ARRAY(SELECT b.grantee FROM aclexplode(o.acl) b
				WHERE b.grantor = a.grantor AND b.privilege_type = a.privilege_type
					AND b.grantee <> revoke_access.role) AS others
		FROM object o, aclexplode(o.acl) a
		WHERE a.grantee = revoke_access.role AND a.grantor <> o.owner
	LOOP
		EXECUTE format('REVOKE GRANT OPTION FOR %s ON %s FROM %s CASCADE', given.privilege, given.object, given.grantor);
		EXECUTE format('GRANT %s ON %s TO %s WITH GRANT OPTION', given.privilege, given.object, given.grantor);
		FOR statement IN
			SELECT format('GRANT %s ON %s TO %s', given.privilege, given.object,
				CASE g.oid WHEN 0 THEN 'PUBLIC' ELSE g.oid::regrole::text END)
			FROM unnest(given.others) AS g (oid)
		LOOP
			EXECUTE statement;
		END LOOP;
	END LOOP;

	FOREACH statement IN ARRAY '{TABLES,SEQUENCES,FUNCTIONS}'::text[] LOOP
		EXECUTE format('REVOKE ALL ON ALL %s IN SCHEMA todo_events, todo_events_internal FROM %s CASCADE',
			statement, revoke_access.role);
	END LOOP;
	EXECUTE format('REVOKE ALL ON SCHEMA todo_events, todo_events_internal FROM %s CASCADE', revoke_access.role);
END
$$;
COMMENT ON FUNCTION todo_events.revoke_access(regrole) IS
'takes back every right on the extension''s objects that a role has by name, whoever gave it. Refused for the owner of the extension';

-- Nothing for anybody, whatever ALTER DEFAULT PRIVILEGES has given by now; for
-- PUBLIC the schema todo_events and the trigger functions of attached tables:
-- without them the owner of such a table could not restore it.
CREATE FUNCTION todo_events_internal.give_rights() RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	owner regrole;
	privileged regrole;
	statement text;
BEGIN
	FOR statement IN
		SELECT DISTINCT format('REVOKE ALL ON %s FROM %s', o.object,
			CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END)
		FROM todo_events_internal.script_objects() o, aclexplode(o.acl) a
		WHERE a.grantee <> a.grantor
		UNION ALL
		SELECT 'GRANT USAGE ON SCHEMA todo_events TO PUBLIC'
		FROM todo_events_internal.script_objects() o WHERE o.object = 'SCHEMA todo_events'
		UNION ALL
		SELECT format('GRANT EXECUTE ON %s TO PUBLIC', o.object)
		FROM pg_proc p JOIN todo_events_internal.script_objects() o ON o.object = 'FUNCTION ' || p.oid::regprocedure
		WHERE p.pronamespace = 'todo_events'::regnamespace AND p.prorettype = 'trigger'::regtype
	LOOP
		EXECUTE statement;
	END LOOP;

	-- The extension's owner need not be a superuser.  A dump of his repeats what other
	-- roles have been given: so he has the grant option, from the beginning (a right
	-- given later would itself be in his dump, and cannot be given back to a grantor).
	SELECT e.extowner INTO owner
	FROM pg_extension e JOIN pg_authid a ON a.oid = e.extowner
	WHERE e.extname = 'todo_events' AND NOT a.rolsuper;
	IF FOUND THEN
		PERFORM todo_events.grant_access(owner, 'operator');
		FOR statement IN
			SELECT format('GRANT %s ON %s TO %s WITH GRANT OPTION', a.privilege_type, o.object, owner)
			FROM todo_events_internal.script_objects() o, aclexplode(o.acl) a
			WHERE a.grantee = owner
		LOOP
			EXECUTE statement;
		END LOOP;
	END IF;

	-- So does the role that stands for a superuser where nobody may be one: Neon's
	-- neon_superuser, by whatever name the server's start gave it.  (What a session or
	-- a database sets is not asked: only a parameter of the server itself has that
	-- context.)
	FOR privileged IN
		SELECT r.oid::regrole FROM pg_settings s JOIN pg_roles r ON r.rolname = s.setting
		WHERE s.name = 'neon.privileged_role_name' AND s.context = 'postmaster' AND NOT r.rolsuper
	LOOP
		PERFORM todo_events.grant_access(privileged, 'operator');
		FOR statement IN
			SELECT format('GRANT EXECUTE ON %s TO %s', o.object, privileged)
			FROM todo_events_internal.script_objects() o
			WHERE o.object ~ '^FUNCTION todo_events[.](grant|revoke)_access[(]'
			UNION ALL
			SELECT format('GRANT %s ON %s TO %s',
				CASE c.relkind WHEN 'S' THEN 'SELECT, UPDATE' ELSE 'SELECT, INSERT' END, c.oid::regclass, privileged)
			FROM pg_extension e, unnest(e.extconfig) AS t (oid)
			JOIN pg_class c ON c.oid = t.oid
			JOIN todo_events_internal.script_objects() o
				ON o.object = CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::regclass
			WHERE e.extname = 'todo_events'
		LOOP
			EXECUTE statement;
		END LOOP;
	END LOOP;
	PERFORM set_config('todo_events_script.before', '', true);
END
$$;
COMMENT ON FUNCTION todo_events_internal.give_rights() IS
'leaves nobody a right on what a script has made, and gives the extension''s owner his: a call of every script, after the last object is made';
-- whatever the session has set: nothing was there before
SELECT pg_catalog.set_config('todo_events_script.before', '', true);
SELECT todo_events_internal.give_rights();

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
