-- The public surface: it exists, is documented, and gives PUBLIC nothing.
BEGIN ISOLATION LEVEL REPEATABLE READ; -- whatever others write meanwhile
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
SELECT no_plan();

SELECT has_extension('todo_events');
SELECT has_schema('todo_events');
SELECT has_schema('todo_events_internal');

SELECT has_function('todo_events', name)
FROM unnest('{attach,capture,configure,create_tasks,create_topic,cursor,detach,detach_all,grant_access,health,
	maintain,metrics,publish,purge_dead_letters,read,redrive,revoke_access,wait_for_delivery}'::name[]) AS name;
SELECT has_view('todo_events', name, 'view ' || name)
FROM unnest('{attachments,dead_letters,lag,outbox,settings,topics,workers}'::name[]) AS name;
SELECT has_table('todo_events', name, 'table ' || name)
FROM unnest('{attachment_config,route_config,secret_input,setting_config,topic_config}'::name[]) AS name;

SELECT function_returns('todo_events', 'cursor', '{}'::name[], 'text');
SELECT function_returns('todo_events', 'read', '{text,integer}'::name[], 'setof record');
SELECT function_returns('todo_events', 'wait_for_delivery', '{interval}'::name[], 'boolean');
SELECT function_returns('todo_events', 'create_tasks', '{text}'::name[], 'regclass');

-- what belongs to the extension, by class and number
CREATE TEMP VIEW ours AS
SELECT d.classid, d.objid FROM pg_depend d
JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
WHERE e.extname = 'todo_events' AND d.deptype = 'e';

SELECT is_empty($$
	SELECT p.oid::regprocedure FROM pg_proc p JOIN ours o ON o.classid = 'pg_proc'::regclass AND o.objid = p.oid
	WHERE obj_description(p.oid, 'pg_proc') IS NULL $$, 'every function has a comment');
SELECT is_empty($$
	SELECT c.oid::regclass FROM pg_class c JOIN ours o ON o.classid = 'pg_class'::regclass AND o.objid = c.oid
	WHERE c.relkind IN ('r', 'p', 'v', 'S') AND obj_description(c.oid, 'pg_class') IS NULL $$,
	'every table, view and sequence has a comment');
SELECT is_empty($$
	SELECT p.oid::regprocedure FROM pg_proc p JOIN ours o ON o.classid = 'pg_proc'::regclass AND o.objid = p.oid
	JOIN pg_language l ON l.oid = p.prolang
	WHERE (l.lanname <> 'c' OR p.prosecdef)
		AND NOT COALESCE(p.proconfig::text LIKE '%search_path=%', false) $$,
	'every function that runs SQL, or with its owner''s rights, has a fixed search_path (G12)');
SELECT is_empty($$
	SELECT p.oid::regprocedure FROM pg_proc p JOIN ours o ON o.classid = 'pg_proc'::regclass AND o.objid = p.oid
	WHERE has_function_privilege('public', p.oid, 'EXECUTE') AND p.prorettype <> 'trigger'::regtype $$,
	'PUBLIC may execute nothing but trigger functions');
SELECT is_empty($$
	SELECT c.oid::regclass FROM pg_class c JOIN ours o ON o.classid = 'pg_class'::regclass AND o.objid = c.oid
	WHERE c.relkind IN ('r', 'p', 'v') AND has_table_privilege('public', c.oid, 'SELECT, INSERT, UPDATE, DELETE') $$,
	'PUBLIC may touch no table and no view');
SELECT is_empty($$
	SELECT c.oid::regclass FROM pg_class c JOIN ours o ON o.classid = 'pg_class'::regclass AND o.objid = c.oid
	WHERE CASE WHEN c.relkind = 'S' THEN has_sequence_privilege('public', c.oid, 'USAGE, SELECT, UPDATE') END $$,
	'PUBLIC may touch no sequence');
SELECT ok(NOT has_schema_privilege('public', 'todo_events_internal', 'USAGE'), 'nor use the internal schema');
SELECT is_empty($$
	SELECT s.name FROM todo_events.settings s WHERE s.description IS NULL OR s.class IS NULL $$,
	'every setting is described');
SELECT is_empty($$
	SELECT s.name FROM todo_events.settings s WHERE s.kind = 'secret' AND s.value !~ '^\**$' $$,
	'no secret is shown (G9)');

SELECT * FROM finish();
ROLLBACK;
