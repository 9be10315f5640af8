-- The suite itself: what it has locked, nobody's writes wait for.
SELECT is_empty($$
	SELECT l.relation::regclass, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
	WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
		AND l.mode <> 'AccessShareLock' AND c.relnamespace NOT IN (current_schema()::regnamespace, pg_my_temp_schema()) AND c.relnamespace::regnamespace::text !~ '^pg_(catalog|toast)'
		AND NOT (l.mode IN ('RowShareLock', 'RowExclusiveLock') AND l.relation IN (
			SELECT o.objid FROM ours o WHERE o.classid = 'pg_class'::regclass
			UNION ALL SELECT i.indexrelid FROM pg_index i JOIN ours o ON o.classid = 'pg_class'::regclass AND o.objid = i.indrelid))
		-- attach() and detach(), which wait for each other
		AND NOT (l.mode = 'ShareRowExclusiveLock' AND l.relation = 'todo_events.attachment_config'::regclass) $$,
	'no table but the suite''s own was locked against writers');
SELECT * FROM finish();
