-- present: every object of the extension, as test/pgtap/objects.list has them: what it
-- is, and which rights the levels of grant_access() give.  Needs the
-- psql variables app, viewer, operator and gateway, roles of these levels ('' for none).

-- what belongs to the extension, by class and number
CREATE VIEW ours AS
SELECT d.classid, d.objid FROM pg_depend d
JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
WHERE e.extname = 'todo_events' AND d.deptype = 'e';

CREATE VIEW present AS
WITH levels (level, role) AS (
	SELECT * FROM (VALUES ('app', :'app'), ('viewer', :'viewer'), ('operator', :'operator'), ('gateway', :'gateway')) v
), object AS (
	SELECT o.classid, o.objid, CASE WHEN c.relkind = 'S' THEN 'sequence' WHEN c.relkind = 'v' THEN 'view' ELSE 'table' END AS kind,
		format('%s.%s', n.nspname, c.relname) AS name,
		CASE WHEN c.relkind = 'S' THEN format_type(s.seqtypid, NULL)
		ELSE (SELECT string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' END), ', ' ORDER BY a.attnum)
			FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) END ||
		CASE WHEN c.relkind = 'p' THEN format('; %s partitions', (SELECT count(*) FROM pg_inherits i WHERE i.inhparent = c.oid)) ELSE '' END AS details,
		'SELECT,INSERT,UPDATE,DELETE' AS rights
	FROM ours o JOIN pg_class c ON o.classid = 'pg_class'::regclass AND c.oid = o.objid
	JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_sequence s ON s.seqrelid = c.oid
	WHERE c.relkind IN ('r', 'p', 'v', 'S') AND NOT c.relispartition
	UNION ALL
	SELECT o.classid, o.objid, 'function', format('%s.%s(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
		concat_ws(' ', pg_get_function_result(p.oid), NULLIF(p.pronargdefaults, 0) || ' defaults', CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' END,
			CASE WHEN p.prosecdef THEN 'security definer' END), 'EXECUTE'
	FROM ours o JOIN pg_proc p ON o.classid = 'pg_proc'::regclass AND p.oid = o.objid JOIN pg_namespace n ON n.oid = p.pronamespace
	UNION ALL
	SELECT o.classid, o.objid, 'schema', n.nspname, '', 'USAGE,CREATE'
	FROM ours o JOIN pg_namespace n ON o.classid = 'pg_namespace'::regclass AND n.oid = o.objid
	UNION ALL
	SELECT o.classid, o.objid, 'event trigger', t.evtname, format('on %s, %s', t.evtevent, array_to_string(t.evttags, ', ')), ''
	FROM ours o JOIN pg_event_trigger t ON o.classid = 'pg_event_trigger'::regclass AND t.oid = o.objid
	UNION ALL
	SELECT 'pg_trigger'::regclass, t.oid, 'trigger', format('%s on %s.%s', t.tgname, n.nspname, c.relname),
		regexp_replace(pg_get_triggerdef(t.oid), '^.* (BEFORE|AFTER) (.*) ON .* (FOR EACH \w+ EXECUTE .*)$', '\1 \2 \3'), ''
	FROM ours o JOIN pg_class c ON o.classid = 'pg_class'::regclass AND c.oid = o.objid AND NOT c.relispartition
	JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal
	UNION ALL
	SELECT o.classid, o.objid, pg_describe_object(o.classid, o.objid, 0), '', 'of no kind that this list knows', ''
	FROM ours o
	WHERE o.classid NOT IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_namespace'::regclass, 'pg_event_trigger'::regclass, 'pg_type'::regclass)
)
SELECT o.kind, o.name, o.details,
	COALESCE((SELECT string_agg(l.level || ':' || g.rights, ' ' ORDER BY l.level) FROM levels l, LATERAL (
		SELECT string_agg(r, ',' ORDER BY ordinality) AS rights FROM unnest(string_to_array(o.rights, ',')) WITH ORDINALITY AS u (r, ordinality)
		WHERE l.role <> '' AND CASE o.kind
			WHEN 'function' THEN has_function_privilege(l.role, o.objid, r)
			WHEN 'schema' THEN has_schema_privilege(l.role, o.objid, r)
			WHEN 'sequence' THEN CASE WHEN r IN ('SELECT', 'UPDATE') THEN has_sequence_privilege(l.role, o.objid, r) END
			WHEN 'table' THEN has_table_privilege(l.role, o.objid, r)
			WHEN 'view' THEN has_table_privilege(l.role, o.objid, r) END) g
		WHERE g.rights IS NOT NULL), '') AS levels,
	obj_description(o.objid, o.classid::regclass::name) IS NOT NULL AS commented
FROM object o;
