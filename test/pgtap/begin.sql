-- Makes the session a plain one, whatever the database and the role are set to,
-- finds out whether the suite can run, and loads pgTAP.
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL client_min_messages = warning;
SET LOCAL statement_timeout = '60s';
-- an application that waits behind us waits no longer than this
SET LOCAL lock_timeout = '5s';
SET LOCAL idle_in_transaction_session_timeout = '60s';
SET LOCAL timezone = 'UTC';
SET LOCAL datestyle = 'ISO, YMD';
SET LOCAL intervalstyle = 'postgres';
SET LOCAL bytea_output = 'hex';
SET LOCAL extra_float_digits = 1;
SET LOCAL standard_conforming_strings = on;
SET LOCAL backslash_quote = safe_encoding;
SET LOCAL array_nulls = on;
SET LOCAL transform_null_equals = off;
SET LOCAL quote_all_identifiers = off;
SET LOCAL check_function_bodies = on;
SET LOCAL default_tablespace = '';
SET LOCAL default_table_access_method = heap;
SET LOCAL plpgsql.extra_errors = 'none';
SET LOCAL plpgsql.extra_warnings = 'none';
SET LOCAL todo_events.idempotency_key = '';
SET LOCAL todo_events.traceparent = '';
-- PostgreSQL 17 and newer
SELECT max(set_config(s.name, '0', true)) AS transaction_timeout FROM pg_settings s WHERE s.name = 'transaction_timeout' \gset
-- what only a superuser may set
SELECT count(set_config(v.name, v.value, true)) AS set FROM (VALUES ('session_replication_role', 'origin'), ('plpgsql.variable_conflict', 'error')) v (name, value)
WHERE (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) \gset

-- ---- can it run? ------------------------------------------------------------

-- Functions beside pgTAP's that have its names would be called in its place, with
-- the rights of whoever runs this.
WITH pgtap AS (
	SELECT e.oid, e.extnamespace, n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
	WHERE e.extname = 'pgtap'
), its AS (
	SELECT p.oid, p.proname FROM pgtap e
	JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
		AND d.classid = 'pg_proc'::regclass
	JOIN pg_proc p ON p.oid = d.objid
), beside AS (
	SELECT min(p.oid::regprocedure::text) AS name FROM pgtap e JOIN pg_proc p ON p.pronamespace = e.extnamespace
	WHERE p.proname IN (SELECT i.proname FROM its i) AND p.oid NOT IN (SELECT i.oid FROM its i)
), offered AS (
	SELECT bool_or(v.superuser AND NOT v.trusted) AS for_superuser FROM pg_available_extension_versions v
	WHERE v.name = 'pgtap' HAVING count(*) > 0
)
SELECT current_user AS me,
	(SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) AS superuser,
	(SELECT r.rolsuper OR r.rolcreaterole FROM pg_roles r WHERE r.rolname = current_user)
		AND COALESCE(has_function_privilege(to_regprocedure('todo_events.grant_access(regrole, text)'), 'EXECUTE'), false)
		AS makes_roles,
	(SELECT e.extversion FROM pg_extension e WHERE e.extname = 'todo_events') AS installed,
	'todo_events_check_' || pg_backend_pid() AS schema,
	(SELECT nspname FROM pgtap) AS pgtap,
	current_setting('server_encoding') = 'UTF8' AS utf8,
	CASE
	WHEN pg_is_in_recovery() THEN
		'this server is a standby, where nothing can be written: run it on the primary'
	WHEN NOT EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'todo_events') THEN
		format('database "%s" does not have the extension: CREATE EXTENSION todo_events', current_database())
	WHEN NOT has_database_privilege(current_database(), 'CREATE') OR NOT has_database_privilege(current_database(), 'TEMP') THEN
		format('role "%s" lacks the right CREATE or TEMP on database "%s", which a schema for the tests needs', current_user, current_database())
	WHEN NOT COALESCE(has_table_privilege(to_regclass('todo_events.outbox'), 'SELECT'), false)
		OR NOT COALESCE(has_table_privilege(to_regclass('todo_events.topic_config'), 'INSERT'), false) THEN
		format('role "%s" may not administer todo_events: run it as the owner of the extension, or a superuser', current_user)
	WHEN current_setting('session_replication_role') <> 'origin' THEN
		'session_replication_role is not origin, so no trigger fires in this session, and the role may not set it'
	WHEN NOT EXISTS (SELECT FROM pgtap) AND NOT EXISTS (SELECT FROM offered) THEN
		format('pgTAP is not on this server: install it there (Debian: postgresql-%s-pgtap), nothing else is needed',
			current_setting('server_version_num')::int / 10000)
	WHEN NOT EXISTS (SELECT FROM pgtap) AND (SELECT for_superuser FROM offered) AND NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) THEN
		'pgTAP is on this server, but only a superuser can CREATE EXTENSION pgtap'
	WHEN EXISTS (SELECT FROM pgtap) AND NOT has_schema_privilege((SELECT extnamespace FROM pgtap), 'USAGE') THEN
		format('role "%s" may not use schema "%s", where pgTAP is', current_user, (SELECT nspname FROM pgtap))
	WHEN (SELECT name FROM beside) IS NOT NULL THEN
		format('schema "%s" has functions with names of pgTAP''s that are not pgTAP''s, %s for one: they could be called instead', (SELECT nspname FROM pgtap), (SELECT name FROM beside))
	END AS refused \gset
\if :{?refused}
	\echo Bail out! :refused
	-- back to run.sql, which ends
	\quit
\endif

-- ---- what the tests use ---------------------------------------------------------

CREATE SCHEMA :"schema";
\if :{?pgtap}
\else
	\set pgtap :schema
	CREATE EXTENSION pgtap SCHEMA :"schema";
\endif
SET LOCAL search_path = :"schema", :"pgtap";
SELECT no_plan();

-- a table's name as it can stand in a test's: no character that TAP or a terminal gives a meaning
CREATE FUNCTION label(relation regclass) RETURNS text LANGUAGE sql AS $$
	SELECT regexp_replace(relation::text, '[#\\[:cntrl:]]', '?', 'g')
$$;

-- events of this transaction only, whatever else is in the log, and without reading all of it
SELECT COALESCE(max(id), 0) AS before FROM todo_events.outbox \gset
CREATE VIEW made AS SELECT * FROM todo_events.outbox WHERE id > :before;
CREATE FUNCTION last_event() RETURNS json LANGUAGE sql AS $$
	SELECT event FROM todo_events.outbox ORDER BY id DESC LIMIT 1
$$;
