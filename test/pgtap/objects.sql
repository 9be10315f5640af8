-- Every object of the extension is there, is what it should be, and is documented;
-- and what each level of grant_access() may do with it, and PUBLIC not.
SELECT has_extension('todo_events', 'the extension is there');

\set app ''
\set viewer ''
\set operator ''
\set gateway ''
\if :makes_roles
	\set app :schema _app
	\set viewer :schema _viewer
	\set operator :schema _operator
	\set gateway :schema _gateway
	\ir objects_roles.sql
\endif
\ir objects_present.sql

CREATE TABLE expected (version text, kind text, name text, details text, levels text);
\copy expected FROM 'test/pgtap/objects.list'
SELECT (SELECT max(version) FROM expected) AS suite, :'installed' = (SELECT max(version) FROM expected) AS same \gset
\if :same
	SELECT is_empty($$ SELECT kind, name, details FROM expected EXCEPT SELECT kind, name, details FROM present $$,
		'every object is there, with its signature');
	SELECT is_empty($$ SELECT kind, name, details FROM present EXCEPT SELECT kind, name, details FROM expected $$,
		'and no other');
	\if :makes_roles
		SELECT is_empty($$ SELECT e.kind, e.name, e.levels AS should_be, p.levels AS "is" FROM expected e JOIN present p USING (kind, name)
			WHERE e.levels <> p.levels $$, 'levels of grant_access() have the rights that they should');
	\else
		SELECT skip('no role can be made', 1);
		SELECT diag('skipped: the rights of each level, for which roles are made; a superuser can, or an owner with CREATEROLE');
	\endif
\else
	SELECT skip('another version', 3);
	SELECT diag(format('skipped: the list of objects, version %s is installed and this suite is of %s', :'installed', :'suite'));
\endif
SELECT is_empty($$ SELECT kind, name FROM present WHERE NOT commented $$, 'every object has a comment');
SELECT is_empty($$
	SELECT i.indexrelid::regclass FROM pg_index i JOIN ours o ON o.classid = 'pg_class'::regclass AND o.objid = i.indrelid
	WHERE NOT i.indisvalid OR NOT i.indisready $$, 'every index is valid');
SELECT is_empty($$
	SELECT t.tgname, t.tgrelid::regclass FROM pg_trigger t JOIN ours o ON o.classid = 'pg_class'::regclass AND o.objid = t.tgrelid
	WHERE t.tgenabled NOT IN ('O', 'A') $$, 'every trigger of its own is enabled');
SELECT is_empty($$
	SELECT t.evtname FROM pg_event_trigger t JOIN ours o ON o.classid = 'pg_event_trigger'::regclass AND o.objid = t.oid
	WHERE t.evtenabled NOT IN ('O', 'A') $$, 'and every event trigger');
SELECT is_empty($$
	SELECT c.oid::regclass, a.amname FROM pg_class c JOIN ours o ON o.classid = 'pg_class'::regclass AND o.objid = c.oid
	JOIN pg_am a ON a.oid = c.relam WHERE c.relkind = 'r' AND a.amname <> 'heap' OR c.relpersistence <> 'p' $$,
	'every table is a logged heap');
SELECT is_empty($$
	SELECT c.oid::regclass FROM pg_class c JOIN ours o ON o.classid = 'pg_class'::regclass AND o.objid = c.oid
	WHERE c.relkind = 'r' AND 2 <> (SELECT count(*) FROM pg_trigger t
		WHERE t.tgrelid = c.oid AND t.tgfoid = 'todo_events_internal.guard'::regproc AND t.tgenabled = 'A') $$,
	'every table keeps out what logical replication brings (G11)');
