-- What nobody but the owner gets (G9, G12).
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
	WHERE c.relkind IN ('r', 'p', 'v') AND has_table_privilege('public', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') $$,
	'PUBLIC may touch no table and no view');
SELECT is_empty($$
	SELECT c.oid::regclass FROM pg_class c JOIN ours o ON o.classid = 'pg_class'::regclass AND o.objid = c.oid
	WHERE CASE WHEN c.relkind = 'S' THEN has_sequence_privilege('public', c.oid, 'USAGE, SELECT, UPDATE') END $$,
	'PUBLIC may touch no sequence');
SELECT ok(NOT has_schema_privilege('public', 'todo_events_internal', 'USAGE'), 'nor use the internal schema');
SELECT is_empty($$
	SELECT n.nspname, r.rolname FROM pg_namespace n JOIN ours o ON o.classid = 'pg_namespace'::regclass AND o.objid = n.oid,
		aclexplode(n.nspacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
	WHERE a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner $$, 'nobody may create anything in its schemas');
-- of the log, dead letters and secrets
SELECT is_empty($$
	SELECT c.oid::regclass, COALESCE(r.rolname, 'public') AS role, a.privilege_type FROM pg_class c
	JOIN ours o ON o.classid = 'pg_class'::regclass AND o.objid = c.oid,
		aclexplode(c.relacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
	WHERE c.relnamespace = 'todo_events_internal'::regnamespace AND a.grantee <> c.relowner $$,
	'nobody has been given a right on an internal table (G9)');
SELECT is_empty($$
	SELECT s.name FROM todo_events.settings s WHERE s.description IS NULL OR s.class IS NULL $$,
	'every setting is described');
SELECT is_empty($$
	SELECT s.name FROM todo_events.settings s WHERE s.kind = 'secret' AND s.value !~ '^\**$' $$,
	'no secret is shown (G9)');
SELECT diag(format('role %I reads every table, and so the events: it is a member of pg_read_all_data', r.rolname))
FROM pg_roles r
WHERE NOT r.rolsuper AND r.rolname !~ '^pg_' AND pg_has_role(r.oid, 'pg_read_all_data', 'USAGE') ORDER BY r.rolname LIMIT 20;
