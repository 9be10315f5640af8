-- The attached tables of this database: looked at in the catalogs, never touched.
-- A table of which the configuration has a row, but which is gone, is none.
CREATE TABLE attached AS
SELECT c.number, c.relation, label(c.relation) AS label
FROM todo_events.attachment_config c JOIN pg_class r ON r.oid = c.relation
WHERE c.detached_at IS NULL;

-- each with the tables that it consists of
CREATE TABLE part AS
SELECT a.number, m.relid, m.isleaf, m.level = 0 AS top
FROM attached a, pg_partition_tree(a.relation) m
UNION ALL
SELECT a.number, a.relation, true, true FROM attached a JOIN pg_class c ON c.oid = a.relation WHERE c.relkind <> 'p' AND NOT c.relispartition;
CREATE TABLE parts AS SELECT DISTINCT ON (number, relid) * FROM part ORDER BY number, relid, isleaf;

-- what each of these needs
CREATE TABLE needed AS
SELECT p.number, p.relid, n.tgname, t.tgenabled, t.tgfoid
FROM parts p
LEFT JOIN todo_events.attachments a USING (number)
CROSS JOIN LATERAL (
	SELECT '!todo_events_capture'::name AS tgname
	UNION ALL SELECT 'todo_events_columns'
	UNION ALL SELECT 'zzzz_todo_events_sequence' WHERE a.sequence IS NOT NULL
	UNION ALL SELECT 'todo_events_truncate' WHERE p.isleaf OR p.top) n
LEFT JOIN pg_trigger t ON t.tgrelid = p.relid AND t.tgname = n.tgname;

SELECT ok(EXISTS (SELECT FROM todo_events.attachments v WHERE v.number = a.number),
	format('table %s: its triggers say what its columns mean', a.label))
FROM attached a ORDER BY a.number;
SELECT is_empty(format($$ SELECT relid::regclass, tgname FROM needed
	WHERE number = %s AND tgfoid IS DISTINCT FROM 'todo_events.capture()'::regprocedure $$, a.number),
	format('table %s: has its triggers, with %s partitions', a.label, (SELECT count(*) FROM parts p WHERE p.number = a.number AND NOT p.top)))
FROM attached a ORDER BY a.number;
-- not there is not disabled
SELECT is_empty(format($$ SELECT relid::regclass, tgname, tgenabled FROM needed
	WHERE number = %s AND tgenabled NOT IN ('O', 'A') $$, a.number), format('table %s: they are enabled', a.label))
FROM attached a ORDER BY a.number;
SELECT is_empty(format($$
	SELECT c.role, c.name FROM todo_events.attachments v, LATERAL (
		VALUES ('key', v.key), ('user_key', v.user_key), ('title', v.title), ('due_at', v.due_at), ('remind_at', v.remind_at),
			('sequence', v.sequence), ('completed', v.completed)) AS c (role, name)
	WHERE v.number = %s AND c.name IS NOT NULL AND NOT EXISTS (
		SELECT FROM pg_attribute t WHERE t.attrelid = v.relation AND t.attnum > 0 AND NOT t.attisdropped
			AND (t.attname = c.name OR c.role = 'completed' AND starts_with(c.name, t.attname || '=')))
	UNION ALL
	SELECT 'exclude', e FROM todo_events.attachments v, unnest(v.exclude) e
	WHERE v.number = %1$s AND NOT EXISTS (
		SELECT FROM pg_attribute t WHERE t.attrelid = v.relation AND t.attnum > 0 AND NOT t.attisdropped AND t.attname = e) $$, a.number),
	format('table %s: has the columns that it was attached with', a.label))
FROM attached a ORDER BY a.number;
-- on a partitioned table, a unique index of it, or of each partition
SELECT is_empty(format($$
	SELECT p.relid::regclass, v.key FROM todo_events.attachments v JOIN parts p USING (number)
	WHERE v.number = %s AND p.isleaf AND NOT EXISTS (
		SELECT FROM pg_attribute t JOIN pg_index i ON i.indrelid = t.attrelid
		WHERE t.attrelid = p.relid AND t.attname = v.key AND t.attnotnull AND i.indkey[0] = t.attnum AND i.indnkeyatts = 1
			AND i.indisunique AND i.indisvalid AND i.indisready AND i.indimmediate AND i.indpred IS NULL) $$, a.number),
	format('table %s: its key is NOT NULL and has a unique index', a.label))
FROM attached a ORDER BY a.number;
SELECT is_empty($$
	SELECT t.tgrelid::regclass, t.tgname FROM pg_trigger t
	WHERE t.tgfoid = 'todo_events.capture()'::regprocedure AND t.tgrelid NOT IN (SELECT relid FROM parts) $$,
	'only attached tables have triggers of ours');
SELECT diag(format('table %s is attached, but dropped', c.relation))
FROM todo_events.attachment_config c
WHERE c.detached_at IS NULL AND NOT EXISTS (SELECT FROM pg_class r WHERE r.oid = c.relation);
