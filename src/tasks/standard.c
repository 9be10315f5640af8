/*-------------------------------------------------------------------------
 *
 * standard.c
 *	  todo_events.create_tasks(), and the view todo_events.attachments.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "runtime/primary.h"
#include "tasks/attach.h"

PG_FUNCTION_INFO_V1(te_tasks_create);
PG_FUNCTION_INFO_V1(te_tasks_attachment_columns);

/*
 * An ordinary table of the user's, which needs nothing of the extension to be
 * dumped, restored, or used without it.  sequence has a default that is right
 * for nearly every row, so that the trigger need not form the row anew.
 */
static const char *const standard_columns =
"id pg_catalog.uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid() PRIMARY KEY, "
"user_id pg_catalog.uuid NOT NULL, "
"title pg_catalog.text NOT NULL, "
"description pg_catalog.text, "
"status pg_catalog.text NOT NULL DEFAULT 'pending' "
"CHECK (status IN ('pending', 'in_progress', 'completed')), "
"priority pg_catalog.text NOT NULL DEFAULT 'medium' "
"CHECK (priority IN ('low', 'medium', 'high', 'urgent')), "
"tags pg_catalog.text[] NOT NULL DEFAULT '{}', "
"due_at pg_catalog.timestamptz, "
"remind_at pg_catalog.timestamptz, "
"sequence pg_catalog.int8 NOT NULL DEFAULT 1, "
"created_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(), "
"updated_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(), "
"completed_at pg_catalog.timestamptz";

static const char *const comments[][2] = {
	{"sequence", "number of the task's latest event; kept by todo_events"},
	{"updated_at", "when the row last changed; kept by todo_events unless the statement sets it"},
	{"completed_at", "when the task was completed, null while it is not; kept by todo_events unless the statement sets it"},
};

/* todo_events.create_tasks(text) returns regclass */
Datum
te_tasks_create(PG_FUNCTION_ARGS)
{
	char	   *given = text_to_cstring(PG_GETARG_TEXT_PP(0));
	RangeVar   *name = makeRangeVarFromNameList(textToQualifiedNameList(PG_GETARG_TEXT_PP(0)));
	Oid			namespace;
	char	   *quoted;
	Oid			relid;
	TeAttachRequest request = {.standard = true};
	TeAttachOptions options = {.type_prefix = "com.todo.task"};

	te_require_writable("todo_events.create_tasks()");
	namespace = RangeVarGetCreationNamespace(name);
	quoted = quote_qualified_identifier(get_namespace_name(namespace), name->relname);
	if (OidIsValid(get_relname_relid(name->relname, namespace)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation \"%s\" already exists", given),
				 errhint("Give another name, or call todo_events.attach() for the table that is there.")));

	te_attach_execute("CREATE TABLE %s (%s)", quoted, standard_columns);
	te_attach_execute("COMMENT ON TABLE %s IS %s", quoted,
					  quote_literal_cstr("tasks; their changes are events of todo_events"));
	for (int i = 0; i < lengthof(comments); i++)
		te_attach_execute("COMMENT ON COLUMN %s.%s IS %s", quoted, comments[i][0],
						  quote_literal_cstr(comments[i][1]));
	CommandCounterIncrement();

	relid = get_relname_relid(name->relname, namespace);
	request.names[TE_COLUMN_KEY] = "id";
	request.names[TE_COLUMN_USER] = "user_id";
	request.names[TE_COLUMN_TITLE] = "title";
	request.names[TE_COLUMN_DUE_AT] = "due_at";
	request.names[TE_COLUMN_SEQUENCE] = "sequence";
	request.names[TE_COLUMN_UPDATED_AT] = "updated_at";
	request.names[TE_COLUMN_COMPLETED_AT] = "completed_at";
	(void) te_attach(relid, &request, "status=completed", &options);
	PG_RETURN_OID(relid);
}

static Datum
name_array(Oid relid, List *columns)
{
	Datum	   *values = palloc(Max(1, list_length(columns)) * sizeof(Datum));
	int			n = 0;
	ListCell   *cell;

	foreach(cell, columns)
	{
		const char *name = get_attname(relid, lfirst_int(cell), true);

		if (name != NULL)
			values[n++] = CStringGetTextDatum(name);
	}
	return PointerGetDatum(construct_array(values, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * todo_events_internal.attachment_columns(regclass, OUT number, OUT key,
 * OUT user_key, OUT completed, OUT title, OUT due_at, OUT remind_at,
 * OUT sequence, OUT exclude): all null for a table that is not attached.
 */
Datum
te_tasks_attachment_columns(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	Datum		values[9] = {0};
	bool		nulls[9];
	TupleDesc	desc;
	TeColumns	columns;
	List	   *triggers;
	int32		number;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	memset(nulls, true, sizeof(nulls));
	/* from the catalogs: a table that somebody holds for an ALTER TABLE keeps nobody waiting */
	triggers = te_triggers_of(relid);
	number = te_trigger_number(te_trigger_find(triggers, TE_TRIGGER_CAPTURE));
	if (number != 0 && te_columns_read(te_trigger_find(triggers, TE_TRIGGER_COLUMNS), &columns))
	{
		values[0] = Int32GetDatum(number);
		nulls[0] = false;
		for (int role = TE_COLUMN_KEY; role <= TE_COLUMN_SEQUENCE; role++)
		{
			const char *name = role == TE_COLUMN_COMPLETED ? te_columns_completed(&columns, relid) :
				get_attname(relid, columns.columns[role], true);

			nulls[role + 1] = name == NULL;
			if (name != NULL)
				values[role + 1] = CStringGetTextDatum(name);
		}
		values[8] = name_array(relid, columns.exclude);
		nulls[8] = false;
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
