/*-------------------------------------------------------------------------
 *
 * checks.c
 *	  May this table be attached, and its columns have these roles?
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "runtime/compat.h"
#include "runtime/errors.h"
#include "tasks/checks.h"
#include "tasks/rows.h"
#include "tasks/trigger.h"

#define TYPE_PREFIX_MAX	100

pg_noreturn static void
not_attachable(const char *what, const char *relname, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_TE_NOT_ATTACHABLE),
			 errmsg("cannot attach %s \"%s\"", what, relname),
			 errhint("%s", hint)));
}

/* ---- the table ----------------------------------------------------------- */

static void
check_kind(Form_pg_class class)
{
	const char *name = NameStr(class->relname);

	switch (class->relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
			break;
		case RELKIND_VIEW:
			not_attachable("view", name, "Attach the table that the view is made of.");
		case RELKIND_MATVIEW:
			not_attachable("materialized view", name, "Attach the table that it is made of.");
		case RELKIND_FOREIGN_TABLE:
			not_attachable("foreign table", name,
						   "Attach the table in the database that it is stored in: its changes are seen there only.");
		default:
			not_attachable("relation", name, "Only tables can be attached.");
	}
	if (class->relpersistence == RELPERSISTENCE_TEMP)
		not_attachable("temporary table", name, "Use a permanent table.");
	if (class->relpersistence == RELPERSISTENCE_UNLOGGED)
		not_attachable("unlogged table", name,
					   "A crash empties an unlogged table without a word to anybody. Use ALTER TABLE ... SET LOGGED first.");
}

void
te_check_relation(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Form_pg_class class;
	char	   *schema;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	class = (Form_pg_class) GETSTRUCT(tuple);
	if (!te_compat_owns_relation(relid, GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of table %s", NameStr(class->relname)),
				 errhint("Ask the table's owner, or SET ROLE to it.")));

	schema = get_namespace_name(class->relnamespace);
	if (IsCatalogRelationOid(relid) || class->relnamespace == PG_CATALOG_NAMESPACE ||
		class->relnamespace == PG_TOAST_NAMESPACE ||
		(schema != NULL && strcmp(schema, "information_schema") == 0))
		not_attachable("system catalog", NameStr(class->relname), "Only tables of applications can be attached.");
	if (schema != NULL &&
		(strcmp(schema, "todo_events") == 0 || strcmp(schema, "todo_events_internal") == 0))
		not_attachable("todo_events' own table", NameStr(class->relname),
					   "Only tables of applications can be attached.");
	check_kind(class);

	if (class->relispartition)
	{
		Oid			root = relid;

		for (Oid parent = relid; OidIsValid(parent); parent = te_attachment_parent(parent))
			root = parent;
		ereport(ERROR,
				(errcode(ERRCODE_TE_NOT_ATTACHABLE),
				 errmsg("cannot attach partition \"%s\"", NameStr(class->relname)),
				 errhint("Attach the partitioned table %s: that covers all its partitions.",
						 quote_qualified_identifier(get_namespace_name(get_rel_namespace(root)),
													get_rel_name(root)))));
	}
	if (class->relkind == RELKIND_RELATION &&
		(has_superclass(relid) || find_inheritance_children(relid, NoLock) != NIL))
		not_attachable("inheritance parent or child", NameStr(class->relname),
					   "A key is unique in one table only. Use declarative partitioning, or attach a table outside the inheritance tree.");
	ReleaseSysCache(tuple);
}

void
te_check_partitions(Oid relid)
{
	ListCell   *cell;

	foreach(cell, find_all_inheritors(relid, NoLock, NULL))
	{
		Oid			partition = lfirst_oid(cell);

		if (partition == relid)
			continue;
		if (get_rel_relkind(partition) == RELKIND_FOREIGN_TABLE)
			not_attachable("a partitioned table with the foreign partition", get_rel_name(partition),
						   "Its rows may be changed where no trigger sees it. Detach the partition first.");
		if (get_rel_persistence(partition) != RELPERSISTENCE_PERMANENT)
			not_attachable("a partitioned table with the unlogged partition", get_rel_name(partition),
						   "A crash empties an unlogged table without a word to anybody. Use ALTER TABLE ... SET LOGGED first.");
		/* partitions have their parent's triggers: no room for their own of these names */
		if (te_trigger_find(te_triggers_of(partition), TE_TRIGGER_CAPTURE) != NULL)
			not_attachable("a partitioned table with the partition that is attached by itself", get_rel_name(partition),
						   "Call todo_events.detach() for the partition first: an attached table covers all its partitions.");
	}
}

/* ---- columns -------------------------------------------------------------- */

static AttrNumber
find_column(Relation rel, const char *name, const char *parameter)
{
	AttrNumber	attno = get_attnum(RelationGetRelid(rel), name);

	if (attno == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s\" does not exist", name, RelationGetRelationName(rel)),
				 errhint("Parameter \"%s\" of todo_events.attach() takes the name of a column as it is stored, without quotes.",
						 parameter)));
	if (attno < 0)
		ereport(ERROR,
				(errcode(ERRCODE_TE_NOT_ATTACHABLE),
				 errmsg("parameter \"%s\" cannot be the system column \"%s\"", parameter, name),
				 errhint("Name a column of the table's own.")));
	return attno;
}

static Form_pg_attribute
column_of(Relation rel, AttrNumber attno)
{
	return TupleDescAttr(RelationGetDescr(rel), attno - 1);
}

/* usable: why, if the index would be the right one but for something */
static bool
index_makes_key(Relation rel, Oid indexoid, AttrNumber attno, const char **why)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(indexoid));
	Form_pg_index index;
	bool		usable = false;

	if (!HeapTupleIsValid(tuple))
		return false;
	index = (Form_pg_index) GETSTRUCT(tuple);
	if (index->indisunique && index->indnkeyatts == 1 && index->indkey.values[0] == attno)
	{
		if (!heap_attisnull(tuple, Anum_pg_index_indpred, NULL))
			*why = "Its unique index is partial.";
		else if (!index->indimmediate)
			*why = "Its unique constraint is deferrable: two rows could have the same key for a while.";
		else if (!index->indisvalid || !index->indisready || !index->indislive)
			*why = "Its unique index is not valid.";
		else
			usable = true;
	}
	ReleaseSysCache(tuple);
	return usable;
}

static bool
is_unique(Relation rel, AttrNumber attno, const char **why)
{
	ListCell   *cell;

	foreach(cell, RelationGetIndexList(rel))
	{
		if (index_makes_key(rel, lfirst_oid(cell), attno, why))
			return true;
	}
	return false;
}

/* every partition by itself: what an index across partitions by another column cannot say */
static bool
is_unique_by_partition(Relation rel, const char *name, const char **why)
{
	List	   *tables;
	ListCell   *cell;

	if (rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return false;
	tables = te_rows_tables(RelationGetRelid(rel), ShareRowExclusiveLock);
	foreach(cell, tables)
	{
		Relation	partition = table_open(lfirst_oid(cell), NoLock);
		bool		unique = is_unique(partition, get_attnum(lfirst_oid(cell), name), why);

		table_close(partition, NoLock);
		if (!unique)
			return false;
	}
	return tables != NIL;
}

static void
check_key(Relation rel, AttrNumber attno)
{
	const char *name = NameStr(column_of(rel, attno)->attname);
	const char *why = "It has no unique index of its own.";

	if (!column_of(rel, attno)->attnotnull)
		ereport(ERROR,
				(errcode(ERRCODE_TE_NOT_ATTACHABLE),
				 errmsg("key column \"%s\" of table \"%s\" can be null", name, RelationGetRelationName(rel)),
				 errhint("Use ALTER TABLE ... ALTER COLUMN %s SET NOT NULL, or name another column as key.",
						 quote_identifier(name))));
	if (!is_unique(rel, attno, &why) && !is_unique_by_partition(rel, name, &why))
		ereport(ERROR,
				(errcode(ERRCODE_TE_NOT_ATTACHABLE),
				 errmsg("key column \"%s\" of table \"%s\" is not unique", name, RelationGetRelationName(rel)),
				 errdetail("%s", why),
				 errhint("A key is one NOT NULL column with a valid unique index of its own, neither deferrable nor partial nor of an expression; on a partitioned table, one on the table or on every partition.")));
}

/* the primary key's column, if it is one */
static AttrNumber
default_key(Relation rel)
{
	const char *relname = RelationGetRelationName(rel);
	const char *hint = "Name a NOT NULL column with a unique index of its own, as in todo_events.attach('...', key => 'id').";
	HeapTuple	tuple;
	Form_pg_index index;
	AttrNumber	attno;
	Oid			primary;

	RelationGetIndexList(rel);	/* fills in rd_pkindex */
	primary = rel->rd_pkindex;
	if (!OidIsValid(primary))
	{
		ListCell   *cell;

		/* a deferrable primary key is not in rd_pkindex */
		foreach(cell, RelationGetIndexList(rel))
		{
			tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(cell)));
			if (HeapTupleIsValid(tuple) && ((Form_pg_index) GETSTRUCT(tuple))->indisprimary)
				primary = lfirst_oid(cell);
			if (HeapTupleIsValid(tuple))
				ReleaseSysCache(tuple);
		}
	}
	if (!OidIsValid(primary))
		ereport(ERROR,
				(errcode(ERRCODE_TE_NOT_ATTACHABLE),
				 errmsg("table \"%s\" has no primary key", relname),
				 errhint("%s", hint)));
	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(primary));
	index = (Form_pg_index) GETSTRUCT(tuple);
	if (index->indnkeyatts != 1)
		ereport(ERROR,
				(errcode(ERRCODE_TE_NOT_ATTACHABLE),
				 errmsg("the primary key of table \"%s\" has %d columns", relname, index->indnkeyatts),
				 errhint("%s", hint)));
	attno = index->indkey.values[0];
	ReleaseSysCache(tuple);
	return attno;
}

pg_noreturn static void
wrong_type(Relation rel, AttrNumber attno, const char *parameter, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column \"%s\" of type %s cannot be the parameter \"%s\"",
					NameStr(column_of(rel, attno)->attname),
					format_type_be(column_of(rel, attno)->atttypid), parameter),
			 errhint("%s", hint)));
}

static void
check_sequence(Relation rel, AttrNumber attno)
{
	Oid			type = column_of(rel, attno)->atttypid;

	if (type != INT8OID && type != INT4OID)
		wrong_type(rel, attno, "sequence", "Use a column of type bigint.");
	if (column_of(rel, attno)->attidentity != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_TE_NOT_ATTACHABLE),
				 errmsg("sequence column \"%s\" is an identity column", NameStr(column_of(rel, attno)->attname)),
				 errhint("The number counts the changes of each task. Use a plain column of type bigint.")));
}

static bool
is_time(Oid type)
{
	type = getBaseType(type);
	return type == TIMESTAMPTZOID || type == TIMESTAMPOID || type == DATEOID;
}

/* 'done', 'done_at' or 'status=completed' */
static void
check_completed(Relation rel, TeAttachRequest *request, const char *completed)
{
	const char *equals = strchr(completed, '=');
	AttrNumber	attno;
	Oid			type;

	/* a column may be named like this */
	if (equals != NULL && get_attnum(RelationGetRelid(rel), completed) == InvalidAttrNumber)
	{
		int32		typmod;
		Oid			input;
		Oid			param;

		attno = find_column(rel, pnstrdup(completed, equals - completed), "completed");
		typmod = column_of(rel, attno)->atttypmod;
		type = column_of(rel, attno)->atttypid;
		/* whoever alters somebody else's table runs none of his functions */
		if (request->altered)
			type = getBaseTypeAndTypmod(type, &typmod);
		getTypeInputInfo(type, &input, &param);
		/* an error if the column cannot have such a value */
		(void) OidInputFunctionCall(input, unconstify(char *, equals + 1), param, typmod);
		request->done = psprintf("value:%s", equals + 1);
	}
	else
	{
		attno = find_column(rel, completed, "completed");
		type = getBaseType(column_of(rel, attno)->atttypid);
		if (type == BOOLOID)
			request->done = "bool";
		else if (is_time(type))
			request->done = "not_null";
		else
			wrong_type(rel, attno, "completed",
					   "Name a boolean column, a timestamp column (not null means completed), or a column and its value, as in 'status=done'.");
	}
	request->columns[TE_COLUMN_COMPLETED] = attno;
}

/* the number is set before generated columns are computed, and needs these */
static void
check_not_generated(Relation rel, const TeAttachRequest *request)
{
	static const TeColumnRole roles[] = {
		TE_COLUMN_KEY, TE_COLUMN_USER, TE_COLUMN_COMPLETED, TE_COLUMN_SEQUENCE
	};

	for (int i = 0; i < lengthof(roles); i++)
	{
		AttrNumber	attno = request->columns[roles[i]];

		if (attno != InvalidAttrNumber && column_of(rel, attno)->attgenerated != '\0')
			ereport(ERROR,
					(errcode(ERRCODE_TE_NOT_ATTACHABLE),
					 errmsg("parameter \"%s\" cannot be the generated column \"%s\"",
							te_column_role_names[roles[i]], NameStr(column_of(rel, attno)->attname)),
					 errhint("Name an ordinary column.")));
	}
}

/* what is kept for a standard table is written as timestamptz */
static void
check_standard(Relation rel, const TeAttachRequest *request)
{
	static const TeColumnRole roles[] = {TE_COLUMN_UPDATED_AT, TE_COLUMN_COMPLETED_AT};

	for (int i = 0; request->standard && i < lengthof(roles); i++)
	{
		AttrNumber	attno = request->columns[roles[i]];

		if (attno != InvalidAttrNumber && column_of(rel, attno)->atttypid != TIMESTAMPTZOID)
			wrong_type(rel, attno, te_column_role_names[roles[i]],
					   "todo_events keeps this column of a standard table. Call todo_events.detach() and then attach(), which leaves it to you.");
	}
}

void
te_check_columns(Relation rel, TeAttachRequest *request, const char *completed)
{
	AttrNumber *columns = request->columns;
	ListCell   *cell;

	for (int role = 0; role < TE_COLUMN_ROLES; role++)
	{
		if (request->names[role] != NULL)
			columns[role] = find_column(rel, request->names[role], te_column_role_names[role]);
	}
	if (columns[TE_COLUMN_KEY] == InvalidAttrNumber)
		columns[TE_COLUMN_KEY] = default_key(rel);
	if (!request->altered)
		check_key(rel, columns[TE_COLUMN_KEY]);
	if (completed != NULL)
		check_completed(rel, request, completed);
	if (columns[TE_COLUMN_SEQUENCE] != InvalidAttrNumber)
		check_sequence(rel, columns[TE_COLUMN_SEQUENCE]);
	if (columns[TE_COLUMN_DUE_AT] != InvalidAttrNumber &&
		!is_time(column_of(rel, columns[TE_COLUMN_DUE_AT])->atttypid))
		wrong_type(rel, columns[TE_COLUMN_DUE_AT], "due_at", "Use a column of type timestamptz.");
	check_not_generated(rel, request);
	check_standard(rel, request);

	/* touched by an ORM at every save: a difference in nothing else is no event */
	if (columns[TE_COLUMN_UPDATED_AT] == InvalidAttrNumber && !request->altered)
	{
		AttrNumber	attno = get_attnum(RelationGetRelid(rel), "updated_at");

		if (attno > 0 && is_time(column_of(rel, attno)->atttypid))
			columns[TE_COLUMN_UPDATED_AT] = attno;
	}

	for (int role = 0; role < TE_COLUMN_ROLES; role++)
	{
		if (role != TE_COLUMN_SEQUENCE && columns[role] != InvalidAttrNumber &&
			columns[role] == columns[TE_COLUMN_SEQUENCE])
			ereport(ERROR,
					(errcode(ERRCODE_TE_NOT_ATTACHABLE),
					 errmsg("sequence column \"%s\" is also the parameter \"%s\"",
							NameStr(column_of(rel, columns[role])->attname), te_column_role_names[role]),
					 errhint("Give the sequence a column of its own.")));
	}
	foreach(cell, request->exclude)
		(void) find_column(rel, lfirst(cell), "exclude");
}

/* ---- names ------------------------------------------------------------------ */

void
te_check_type_prefix(const char *prefix)
{
	static const char *const reserved[] = {
		"com.todo.reminder", "com.todo.notification", "com.todo.sync"
	};
	size_t		len = strlen(prefix);
	bool		valid = len > 0 && len <= TYPE_PREFIX_MAX && prefix[0] != '.' && prefix[len - 1] != '.' &&
		strstr(prefix, "..") == NULL &&
		strspn(prefix, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == len;

	if (!valid)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid type prefix \"%s\"", prefix),
				 errhint("Use up to %d letters, digits, \"_\" and \"-\" in parts separated by dots, as in com.todo.task.",
						 TYPE_PREFIX_MAX)));
	for (int i = 0; i < lengthof(reserved); i++)
	{
		size_t		n = strlen(reserved[i]);

		if (strncmp(prefix, reserved[i], n) == 0 && (prefix[n] == '\0' || prefix[n] == '.'))
			ereport(ERROR,
					(errcode(ERRCODE_RESERVED_NAME),
					 errmsg("type prefix \"%s\" is reserved", prefix),
					 errhint("Use a prefix of your own, as in com.example.thing.")));
	}
}

void
te_check_name(const char *name)
{
	if (name[0] == '\0' || strlen(name) >= NAMEDATALEN || strchr(name, '/') != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid attachment name \"%s\"", name),
				 errhint("Give one of 1 to %d bytes without \"/\", as in todo_events.attach('...', name => 'my_tasks').",
						 NAMEDATALEN - 1)));
}
