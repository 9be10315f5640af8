/*-------------------------------------------------------------------------
 *
 * attach.c
 *	  todo_events.attach().
 *
 * Triggers are made by plain CREATE TRIGGER, with the caller's rights: the
 * caller owns the table.  Only todo_events.attachment_config is written as
 * its own owner, by statements in which nothing is the caller's but values.
 *
 * Locks are taken tables first, our own relations after, as writers do.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/tablecmds.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "runtime/compat.h"
#include "runtime/errors.h"
#include "runtime/own.h"
#include "runtime/primary.h"
#include "tasks/attach.h"
#include "tasks/rows.h"

PG_FUNCTION_INFO_V1(te_tasks_attach);

/* ---- statements ------------------------------------------------------------ */

char *
te_attach_quoted(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}

uint64
te_attach_execute(const char *format,...)
{
	StringInfoData query;
	int			nest_level = te_row_json_pin();
	uint64		processed;

	initStringInfo(&query);
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, format);
		needed = appendStringInfoVA(&query, format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&query, needed);
	}
	if (SPI_connect() != SPI_OK_CONNECT || SPI_execute(query.data, false, 0) < 0)
		elog(ERROR, "could not execute: %s", query.data);
	processed = SPI_processed;
	SPI_finish();
	pfree(query.data);
	te_row_json_end(nest_level);
	return processed;
}

/* rel: attachment_config, locked */
static int32
execute_as_owner(Relation rel, const char *query, int nargs, Oid *types, Datum *values, const char *nulls)
{
	int			nest_level = te_row_json_pin();
	int32		result = 0;
	Oid			save_user;
	int			save_context;

	GetUserIdAndSecContext(&save_user, &save_context);
	SetUserIdAndSecContext(rel->rd_rel->relowner,
						   save_context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	if (SPI_connect() != SPI_OK_CONNECT ||
		SPI_execute_with_args(query, nargs, types, values, nulls, false, 0) < 0)
		elog(ERROR, "could not execute: %s", query);
	if (SPI_processed > 0 && SPI_tuptable != NULL)
	{
		bool		isnull;
		Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);

		result = isnull ? 0 : DatumGetInt32(value);
	}
	SPI_finish();
	SetUserIdAndSecContext(save_user, save_context);
	te_row_json_end(nest_level);
	CacheInvalidateRelcache(rel);
	return result;
}

int32
te_attach_config(const char *query, int nargs, Oid *types, Datum *values, const char *nulls)
{
	/* held, so that the statement's names mean the extension's own */
	Relation	rel = te_own_table_open("todo_events", "attachment_config", ShareRowExclusiveLock);
	int32		result = execute_as_owner(rel, query, nargs, types, values, nulls);

	table_close(rel, NoLock);
	return result;
}

/*
 * Called by a DROP that holds its tables locked.  It must not wait for an
 * attach() of another transaction, which may be about to wait for one of
 * these tables: then the row stays, and the next one comes by.
 */
void
te_attach_forget_dropped(void)
{
	Oid			config = te_attachment_config_oid();
	Relation	rel;

	if (!OidIsValid(config) || !ConditionalLockRelationOid(config, RowExclusiveLock))
		return;
	rel = table_open(config, NoLock);
	(void) execute_as_owner(rel, "UPDATE todo_events.attachment_config SET detached_at = pg_catalog.now() "
							"WHERE number = ANY (ARRAY(SELECT c.number FROM todo_events.attachment_config c "
							"WHERE c.detached_at IS NULL AND NOT EXISTS "
							"(SELECT FROM pg_catalog.pg_class r WHERE r.oid = c.relation) FOR UPDATE SKIP LOCKED))",
							0, NULL, NULL, NULL);
	table_close(rel, NoLock);
}

/* ---- attach ------------------------------------------------------------------ */

/*
 * Its row.  The number is the former one if the table comes back under the
 * same name and prefix, or if it takes the place of one that is detached or
 * dropped: to those who get the events these are the same tasks, whose
 * numbers go on.
 */
static int32
write_config(Relation rel, const TeAttachOptions *options, const char *name)
{
	Oid			types[] = {REGCLASSOID, TEXTOID, TEXTOID, INT8OID};
	Datum		values[] = {
		ObjectIdGetDatum(RelationGetRelid(rel)), CStringGetTextDatum(name),
		CStringGetTextDatum(options->type_prefix),
		Int64GetDatum(options->start_sequence + (options->snapshot ? 1 : 0))
	};
	int32		number;

	/* tables that were dropped while attached */
	(void) te_attach_config("UPDATE todo_events.attachment_config SET detached_at = pg_catalog.now() "
						  "WHERE detached_at IS NULL AND NOT EXISTS "
						  "(SELECT FROM pg_catalog.pg_class c WHERE c.oid = relation)",
						  0, NULL, NULL, NULL);
	if (te_attach_config("SELECT number FROM todo_events.attachment_config "
					   "WHERE detached_at IS NULL AND name = $2 AND relation <> $1",
					   2, types, values, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("another table is attached under the name \"%s\"", name),
				 errhint("Give another one, as in todo_events.attach('...', name => 'my_tasks').")));
	number = te_attach_config("UPDATE todo_events.attachment_config SET "
							"detached_at = NULL, attached_at = pg_catalog.now(), start_sequence = $4 "
							"WHERE relation = $1 AND name = $2 AND type_prefix = $3 RETURNING number",
							4, types, values, NULL);
	if (number == 0)
		number = te_attach_config("UPDATE todo_events.attachment_config SET "
								"relation = $1, detached_at = NULL, attached_at = pg_catalog.now(), start_sequence = $4 "
								"WHERE number = (SELECT max(number) FROM todo_events.attachment_config "
								"WHERE name = $2 AND type_prefix = $3 AND detached_at IS NOT NULL) RETURNING number",
								4, types, values, NULL);
	if (number != 0)
		return number;
	/* the first attachment's keys are bare; another of the same name is its successor */
	return te_attach_config("INSERT INTO todo_events.attachment_config "
						  "(number, relation, name, type_prefix, bare, start_sequence, attached_at) "
						  "SELECT pg_catalog.nextval('todo_events.attachment_number'), $1, $2, $3, "
						  "NOT EXISTS (SELECT FROM todo_events.attachment_config o WHERE o.bare AND o.name <> $2), "
						  "$4, pg_catalog.now() RETURNING number",
						  4, types, values, NULL);
}

static void
add_argument(StringInfo args, const char *value)
{
	appendStringInfo(args, ", %s", quote_literal_cstr(value));
}

/* the place of a column in the list, appended if it is not there yet */
static int
place_of(List **places, StringInfo columns, Relation rel, AttrNumber attno)
{
	for (int i = 0; i < list_length(*places); i++)
	{
		if (list_nth_int(*places, i) == attno)
			return i;
	}
	*places = lappend_int(*places, attno);
	appendStringInfo(columns, "%s%s", columns->len > 0 ? ", " : "",
					 quote_identifier(NameStr(TupleDescAttr(RelationGetDescr(rel), attno - 1)->attname)));
	return list_length(*places) - 1;
}

/* an enum's value is named in the condition too, where its renames are followed */
static char *
never(Relation rel, const TeAttachRequest *request)
{
	AttrNumber	attno = request->columns[TE_COLUMN_COMPLETED];
	Form_pg_attribute column = attno != InvalidAttrNumber ? TupleDescAttr(RelationGetDescr(rel), attno - 1) : NULL;
	Oid			type = column != NULL ? getBaseType(column->atttypid) : InvalidOid;

	if (column == NULL || strncmp(request->done, "value:", 6) != 0 || get_typtype(type) != TYPTYPE_ENUM)
		return "false";
	/* a domain has no operators of its own */
	return psprintf("false AND OLD.%1$s::%2$s OPERATOR(pg_catalog.=) %3$s::%2$s",
					quote_identifier(NameStr(column->attname)), format_type_be_qualified(type),
					quote_literal_cstr(request->done + 6));
}

void
te_attach_columns_trigger(Relation rel, const TeAttachRequest *request, int32 number)
{
	char	   *table = te_attach_quoted(RelationGetRelid(rel));
	StringInfoData columns;
	StringInfoData args;
	List	   *places = NIL;
	ListCell   *cell;

	initStringInfo(&columns);
	initStringInfo(&args);
	for (int role = 0; role < TE_COLUMN_ROLES; role++)
	{
		if (request->columns[role] != InvalidAttrNumber)
			add_argument(&args, psprintf("%s=%d", te_column_role_names[role],
										 place_of(&places, &columns, rel, request->columns[role])));
	}
	foreach(cell, request->exclude)
		add_argument(&args, psprintf("%s=%d", te_column_role_names[TE_COLUMN_EXCLUDE],
									 place_of(&places, &columns, rel,
											  get_attnum(RelationGetRelid(rel), lfirst(cell)))));
	if (request->done != NULL)
		add_argument(&args, psprintf("done=%s", request->done));
	if (request->standard)
		add_argument(&args, "standard");
	te_attach_execute("CREATE TRIGGER %s AFTER UPDATE OF %s ON %s FOR EACH ROW WHEN (%s) "
					  "EXECUTE FUNCTION todo_events.capture('%d'%s)",
					  TE_TRIGGER_COLUMNS, columns.data, table, never(rel, request), number, args.data);
	te_attach_execute("COMMENT ON TRIGGER %s ON %s IS %s", TE_TRIGGER_COLUMNS, table,
					  "'never fires: says which columns todo_events uses, and as what'");
}

static void
create_trigger(Oid relid, const char *name, const char *when, int32 number, const char *comment)
{
	char	   *table = te_attach_quoted(relid);

	te_attach_execute("CREATE TRIGGER %s %s ON %s %s EXECUTE FUNCTION todo_events.capture('%d')",
					  quote_identifier(name), when, table,
					  strcmp(name, TE_TRIGGER_TRUNCATE) == 0 ? "FOR EACH STATEMENT" : "FOR EACH ROW",
					  number);
	te_attach_execute("COMMENT ON TRIGGER %s ON %s IS %s",
					  quote_identifier(name), table, quote_literal_cstr(comment));
}

void
te_attach_truncate_trigger(Oid relid, int32 number)
{
	create_trigger(relid, TE_TRIGGER_TRUNCATE, "BEFORE TRUNCATE", number,
				   "makes events of TRUNCATE (todo_events)");
}

static void
create_triggers(Relation rel, const TeAttachRequest *request, int32 number)
{
	Oid			relid = RelationGetRelid(rel);
	ListCell   *cell;

	te_attach_columns_trigger(rel, request, number);
	create_trigger(relid, TE_TRIGGER_CAPTURE, "AFTER INSERT OR UPDATE OR DELETE", number,
				   "makes events of changes (todo_events)");
	if (request->columns[TE_COLUMN_SEQUENCE] != InvalidAttrNumber)
		create_trigger(relid, TE_TRIGGER_SEQUENCE, "BEFORE INSERT OR UPDATE", number,
					   "numbers the events of each task (todo_events)");
	te_attach_truncate_trigger(relid, number);

	/* triggers of statements are not cloned to partitions */
	foreach(cell, te_rows_tables(relid, NoLock))
	{
		if (lfirst_oid(cell) != relid)
			te_attach_truncate_trigger(lfirst_oid(cell), number);
	}
}

TeAsOwner
te_as_owner_begin(Relation rel)
{
	TeAsOwner	saved;

	GetUserIdAndSecContext(&saved.save_user, &saved.save_context);
	if (rel->rd_rel->relowner != saved.save_user)
		SetUserIdAndSecContext(rel->rd_rel->relowner,
							   saved.save_context | SECURITY_RESTRICTED_OPERATION);
	return saved;
}

void
te_as_owner_end(TeAsOwner saved)
{
	SetUserIdAndSecContext(saved.save_user, saved.save_context);
}

static void
backfill(Oid relid)
{
	ListCell   *cell;

	foreach(cell, te_rows_tables(relid, NoLock))
	{
		Relation	rel = table_open(lfirst_oid(cell), NoLock);

		(void) te_rows_scan(rel, te_attachment_get(rel), PG_INT64_MAX, te_change_snapshot);
		table_close(rel, NoLock);
	}
}

static void
check_not_attached(Oid relid)
{
	ListCell   *cell;

	foreach(cell, te_triggers_of(relid))
	{
		const TeTrigger *trigger = lfirst(cell);

		if (!trigger->ours)
			continue;
		if (te_trigger_find(te_triggers_of(relid), TE_TRIGGER_CAPTURE) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("table \"%s\" is already attached", get_rel_name(relid)),
					 errhint("Call todo_events.detach() first to attach it in another way.")));
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("table \"%s\" has the trigger \"%s\" of an earlier attachment", get_rel_name(relid), trigger->name),
				 errhint("Call todo_events.detach() first, which drops it.")));
	}
}

int32
te_attach(Oid relid, TeAttachRequest *request, const char *completed, const TeAttachOptions *options)
{
	const char *name = options->name;
	Relation	rel;
	TeAsOwner	saved;
	int32		number;

	te_check_relation(relid);
	LockRelationOid(relid, ShareRowExclusiveLock);
	/* partitions too, in the order in which everybody locks them */
	(void) find_all_inheritors(relid, ShareRowExclusiveLock, NULL);
	te_check_relation(relid);	/* it may have been dropped, or given away, meanwhile */
	rel = table_open(relid, NoLock);

	check_not_attached(relid);
	te_check_partitions(relid);
	CheckTableNotInUse(rel, "todo_events.attach");
	saved = te_as_owner_begin(rel);
	te_check_columns(rel, request, completed);
	te_as_owner_end(saved);
	te_check_type_prefix(options->type_prefix);
	if (name == NULL)
		name = pstrdup(RelationGetRelationName(rel));
	te_check_name(name);

	number = write_config(rel, options, name);
	create_triggers(rel, request, number);
	CommandCounterIncrement();
	if (options->snapshot)
	{
		saved = te_as_owner_begin(rel);
		backfill(relid);
		te_as_owner_end(saved);
	}
	table_close(rel, NoLock);
	return number;
}

static char *
text_arg(FunctionCallInfo fcinfo, int i)
{
	return PG_ARGISNULL(i) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(i));
}

pg_noreturn static void
required(const char *parameter)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("parameter \"%s\" of todo_events.attach() must not be null", parameter),
			 errhint("Name it, or leave it out if it has a default.")));
}

/* no such thing yet in this version; refused rather than forgotten */
static void
refuse_reminders(const char *parameter)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("parameter \"%s\" of todo_events.attach() asks for reminders, which this version does not have",
					parameter),
			 errhint("Leave it out.")));
}

/* todo_events.attach(regclass, key, user_key, completed, title, due_at, remind_at, sequence, exclude, type_prefix, name, backfill, start_sequence) */
Datum
te_tasks_attach(PG_FUNCTION_ARGS)
{
	TeAttachRequest request = {.done = NULL};
	TeAttachOptions options = {.snapshot = false};
	char	   *backfill_arg = text_arg(fcinfo, 11);

	te_require_writable("todo_events.attach()");
	if (PG_ARGISNULL(0))
		required("table_name");
	if (PG_ARGISNULL(9))
		required("type_prefix");
	if (backfill_arg == NULL)
		required("backfill");

	request.names[TE_COLUMN_KEY] = text_arg(fcinfo, 1);
	request.names[TE_COLUMN_USER] = text_arg(fcinfo, 2);
	request.names[TE_COLUMN_TITLE] = text_arg(fcinfo, 4);
	request.names[TE_COLUMN_DUE_AT] = text_arg(fcinfo, 5);
	if (!PG_ARGISNULL(6))
		refuse_reminders("remind_at");
	request.names[TE_COLUMN_SEQUENCE] = text_arg(fcinfo, 7);
	if (!PG_ARGISNULL(8))
	{
		Datum	   *values;
		bool	   *nulls;
		int			n;

		deconstruct_array(PG_GETARG_ARRAYTYPE_P(8), TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);
		for (int i = 0; i < n; i++)
		{
			if (nulls[i])
				required("exclude[]");
			request.exclude = lappend(request.exclude, TextDatumGetCString(values[i]));
		}
	}
	options.type_prefix = text_arg(fcinfo, 9);
	options.name = text_arg(fcinfo, 10);
	if (strcmp(backfill_arg, "reminders") == 0)
		refuse_reminders("backfill");
	options.snapshot = strcmp(backfill_arg, "snapshot") == 0;
	if (!options.snapshot && strcmp(backfill_arg, "none") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid backfill \"%s\"", backfill_arg),
				 errhint("It is \"none\", or \"snapshot\" for one event a present row.")));
	options.start_sequence = PG_ARGISNULL(12) ? 0 : PG_GETARG_INT64(12);
	if (options.start_sequence < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("start_sequence must not be negative"),
				 errhint("It is the number that present rows count as having reached: their next event has the number after it.")));

	PG_RETURN_INT32(te_attach(PG_GETARG_OID(0), &request, text_arg(fcinfo, 3), &options));
}
