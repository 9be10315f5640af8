/*-------------------------------------------------------------------------
 *
 * settings_rows.c
 *	  Settings that live in the database: the rows of setting_config, which
 *	  the extension's owner writes, and the secrets.
 *
 * Rows are read without regard to the reader's rights, since a task's
 * trigger obeys them too, and are cached; writing one invalidates the table's
 * relcache entry, and thereby every backend's cache.
 *
 * A secret comes in by COPY todo_events.secret_input, so that it is in no
 * statement's text.  It is appended to todo_events_internal.secret without
 * being shown to logical decoding; the latest row of a name counts, and one
 * with an empty value takes the secret away.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "runtime/errors.h"
#include "runtime/inval.h"
#include "runtime/own.h"
#include "runtime/primary.h"
#include "runtime/settings_registry.h"
#include "runtime/wake.h"
#include "runtime/worker.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define SHOWN_VALUE	200			/* bytes of a refused value in its error */
#define MAX_SECRET	4096

typedef struct RowValue
{
	bool		set;
	int			number;
	char	   *text;
} RowValue;

static RowValue rows[TE_SET_COUNT];
static bool rows_valid = false;
static MemoryContext rows_context = NULL;
static Oid	rows_relid = InvalidOid;

/* ---- reading ---------------------------------------------------------- */

static void
relcache_changed(Oid relid)
{
	/* while the table is unknown, any relation may be it */
	if (relid == rows_relid || relid == InvalidOid || rows_relid == InvalidOid)
	{
		rows_valid = false;
		if (rows_relid != InvalidOid)
			te_settings_changed();
	}
}

void
te_settings_refresh(void)
{
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (rows_valid)
		return;
	te_inval_register(relcache_changed);
	if (rows_context == NULL)
		rows_context = AllocSetContextCreate(TopMemoryContext, "todo_events settings",
											 ALLOCSET_SMALL_SIZES);
	memset(rows, 0, sizeof(rows));
	MemoryContextReset(rows_context);

	rows_relid = te_own_relation("todo_events", "setting_config");
	/* before the scan: an invalidation that arrives during it makes us read again */
	rows_valid = true;
	te_settings_changed();
	if (!OidIsValid(rows_relid))
		return;

	rel = table_open(rows_relid, AccessShareLock);
	/* a fresh catalog-style snapshot: what has committed by now counts, and what we did ourselves */
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		null_name,
					null_value;
		Datum		name = heap_getattr(tuple, 1, RelationGetDescr(rel), &null_name);
		Datum		value = heap_getattr(tuple, 2, RelationGetDescr(rel), &null_value);
		char	   *its_value;
		char	   *why;
		int			number;
		int			id;

		if (null_name || null_value)
			continue;
		id = te_setting_find(TextDatumGetCString(name));
		its_value = TextDatumGetCString(value);

		/* a row of another version, or written with triggers off, is not obeyed */
		if (id < 0 || te_setting_defs[id].class != TE_CLASS_DATABASE ||
			!te_setting_parse(id, its_value, true, &number, &why))
			continue;
		rows[id].set = true;
		rows[id].number = number;
		rows[id].text = MemoryContextStrdup(rows_context, its_value);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

bool
te_setting_row(TeSettingId id, const char **text, int *number)
{
	/*
	 * The engine refreshes where it can stand a change; everyone else reads
	 * inside a transaction, whenever there may be something new.
	 */
	if (!rows_valid && !te_worker_is_engine() && IsTransactionState())
		te_settings_refresh();
	if (!rows[id].set)
		return false;
	if (text)
		*text = rows[id].text;
	if (number)
		*number = rows[id].number;
	return true;
}

bool
te_setting_is_row(TeSettingId id)
{
	return te_setting_row(id, NULL, NULL);
}

/* ---- writing ---------------------------------------------------------- */

static void
check_row(const char *name, const char *value)
{
	int			id = te_setting_find(name);
	char	   *why;
	int			number;

	if (id < 0)
	{
		for (int i = 0; te_secret_names[i]; i++)
			if (strcmp(te_secret_names[i], name) == 0)
				ereport(ERROR,
						errhidestmt(true),
						errcode(ERRCODE_TE_NOT_PERMITTED),
						errmsg("\"%s\" is a secret, not a setting", name),
						errhint("Give it by COPY todo_events.secret_input FROM STDIN, as the line %s=value. "
								"One that was in a statement should be changed.", name));
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_OBJECT),
				errmsg("unknown setting \"%s\"", name),
				errhint("The view todo_events.settings lists all settings."));
	}
	if (te_setting_defs[id].class == TE_CLASS_SERVER)
		ereport(ERROR,
				errcode(ERRCODE_TE_NOT_PERMITTED),
				errmsg("setting \"%s\" can be set only in the server's configuration", name),
				errhint("A superuser sets todo_events.%s in postgresql.conf%s.", te_setting_defs[id].name,
						te_setting_defs[id].restart ? "" : " or by ALTER DATABASE ... SET"));
	if (te_setting_defs[id].class == TE_CLASS_SESSION)
		ereport(ERROR,
				errcode(ERRCODE_TE_NOT_PERMITTED),
				errmsg("setting \"%s\" belongs to a transaction", name),
				errhint("Use SET LOCAL todo_events.%s.", te_setting_defs[id].name));
	if (strcmp(te_setting_defs[id].name, name) != 0)
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_OBJECT),
				errmsg("unknown setting \"%s\"", name),
				errhint("Perhaps you meant \"%s\".", te_setting_defs[id].name));
	/* options may hold a password in the wrong place: then neither it nor the statement is in the log */
	if (value && id == TE_SET_KAFKA_OPTIONS && !te_setting_parse(id, value, true, &number, &why))
		ereport(ERROR,
				errhidestmt(true),
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("invalid value for setting \"%s\"", name),
				why ? errdetail("%s", why) : 0);
	if (value && !te_setting_parse(id, value, true, &number, &why))
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				/* all of a long one would go to the server log as well */
				errmsg("invalid value for setting \"%s\": \"%.*s\"%s", name,
					   pg_mbcliplen(value, strlen(value), SHOWN_VALUE), value,
					   strlen(value) > SHOWN_VALUE ? " ..." : ""),
				why ? errdetail("%s", why) : 0);
}

PG_FUNCTION_INFO_V1(te_configure);
Datum
te_configure(PG_FUNCTION_ARGS)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2];

	te_require_writable("todo_events.configure()");
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("the setting's name must not be null"));
	values[0] = PG_GETARG_DATUM(0);
	values[1] = PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1);
	check_row(text_to_cstring(DatumGetTextPP(values[0])),
			  PG_ARGISNULL(1) ? NULL : text_to_cstring(DatumGetTextPP(values[1])));

	/* held, so that the name means this table to the statement as well */
	table_close(te_own_table_open("todo_events", "setting_config", RowExclusiveLock), NoLock);

	/* as the caller, whose rights on the table are what permits it */
	SPI_connect();
	if (PG_ARGISNULL(1))
		SPI_execute_with_args("DELETE FROM todo_events.setting_config "
							  "WHERE name OPERATOR(pg_catalog.=) $1",
							  1, types, values, NULL, false, 0);
	else
		SPI_execute_with_args("INSERT INTO todo_events.setting_config (name, value) VALUES ($1, $2) "
							  "ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value",
							  2, types, values, NULL, false, 0);
	SPI_finish();
	PG_RETURN_VOID();
}

static bool
same_value(HeapTuple a, HeapTuple b, TupleDesc desc, int column)
{
	char	   *x = SPI_getvalue(a, desc, column);
	char	   *y = SPI_getvalue(b, desc, column);

	return x && y ? strcmp(x, y) == 0 : x == y;
}

/* BEFORE ROW trigger of setting_config: the same checks, however the row came */
PG_FUNCTION_INFO_V1(te_setting_config_row);
Datum
te_setting_config_row(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	HeapTuple	tuple;
	TupleDesc	desc;
	char	   *name;
	int			column = 3;
	Datum		now;
	bool		isnull = false;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("function \"%s\" was not called as its trigger", "setting_config_row"));

	te_wake_note_reload();
	CacheInvalidateRelcache(trigger->tg_relation);
	if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		return PointerGetDatum(trigger->tg_trigtuple);

	tuple = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
	desc = RelationGetDescr(trigger->tg_relation);
	/* we come before the table's constraints */
	name = SPI_getvalue(tuple, desc, 1);
	if (name == NULL)
		ereport(ERROR,
				errcode(ERRCODE_NOT_NULL_VIOLATION),
				errmsg("the setting's name must not be null"));
	/* adopt() changes neither, and a row of another version may be there */
	if (!TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ||
		!same_value(trigger->tg_trigtuple, tuple, desc, 1) || !same_value(trigger->tg_trigtuple, tuple, desc, 2))
		check_row(name, SPI_getvalue(tuple, desc, 2));
	now = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	return PointerGetDatum(heap_modify_tuple_by_cols(tuple, desc, 1, &column, &now, &isnull));
}

/* ---- secrets ---------------------------------------------------------- */

/* the newest row of a name; the number of the newest row of all in *last */
static char *
latest_secret(Relation rel, const char *name, int64 *last)
{
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	int64		best = 0;
	char	   *value = NULL;

	*last = 0;
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		int64		id = DatumGetInt64(heap_getattr(tuple, 1, RelationGetDescr(rel), &isnull));
		Datum		its_name = heap_getattr(tuple, 2, RelationGetDescr(rel), &isnull);

		*last = Max(*last, id);
		if (name == NULL || id < best || strcmp(TextDatumGetCString(its_name), name) != 0)
			continue;
		if (value)
		{
			explicit_bzero(value, strlen(value));
			pfree(value);
		}
		best = id;
		value = TextDatumGetCString(heap_getattr(tuple, 3, RelationGetDescr(rel), &isnull));
	}
	systable_endscan(scan);
	return value;
}

char *
te_setting_secret(const char *name)
{
	Oid			relid = te_own_relation("todo_events_internal", "secret");
	Relation	rel;
	char	   *value;
	int64		last;

	if (!OidIsValid(relid))
		return NULL;
	rel = table_open(relid, AccessShareLock);
	value = latest_secret(rel, name, &last);
	table_close(rel, AccessShareLock);
	if (value && value[0] == '\0')
		return NULL;
	return value;
}

static void
append_secret(const char *name, const char *value)
{
	Relation	rel;
	HeapTuple	tuple;
	Datum		values[4];
	bool		nulls[4] = {false};
	int64		last;

	/* numbers ascend because only one transaction at a time draws them */
	rel = te_own_table_open("todo_events_internal", "secret", ShareRowExclusiveLock);
	latest_secret(rel, NULL, &last);
	values[0] = Int64GetDatum(last + 1);
	values[1] = CStringGetTextDatum(name);
	values[2] = CStringGetTextDatum(value);
	values[3] = TimestampTzGetDatum(GetCurrentTimestamp());
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	heap_insert(rel, tuple, GetCurrentCommandId(true), HEAP_INSERT_NO_LOGICAL, NULL);
	table_close(rel, NoLock);
	/* so that the next line of the same COPY sees this one's number */
	CommandCounterIncrement();
}

/*
 * BEFORE INSERT ROW trigger of secret_input.  Nothing that it raises may
 * quote the line: the context that COPY would add does, hence it is taken
 * away first.  An INSERT has the secret in its statement, which statistics,
 * activity and logs would show: it is refused, and its statement not logged
 * with the error.  Returns NULL, so that no row is ever stored there.
 */
PG_FUNCTION_INFO_V1(te_secret_input_row);
Datum
te_secret_input_row(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	ErrorContextCallback *context = error_context_stack;
	char	   *line;
	char	   *equals;
	bool		known = false;

	error_context_stack = NULL;
	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) || !TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		ereport(ERROR,
				errhidestmt(true),
				errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("function \"%s\" was not called as its trigger", "secret_input_row"));
	if (ActivePortal == NULL || ActivePortal->commandTag != CMDTAG_COPY)
		ereport(ERROR,
				errhidestmt(true),
				errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("secret_input takes COPY only"),
				errhint("Use COPY todo_events.secret_input FROM STDIN, which has the secret in no statement. "
						"One that was in a statement should be changed."));

	line = SPI_getvalue(trigger->tg_trigtuple, RelationGetDescr(trigger->tg_relation), 1);
	equals = line ? strchr(line, '=') : NULL;
	if (equals == NULL)
		ereport(ERROR,
				errhidestmt(true),
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("a line of secret_input is not name=value"));
	*equals++ = '\0';
	for (int i = 0; te_secret_names[i]; i++)
		known |= strcmp(te_secret_names[i], line) == 0;
	if (!known)
		ereport(ERROR,
				errhidestmt(true),
				errcode(ERRCODE_UNDEFINED_OBJECT),
				errmsg("a line of secret_input has an unknown name"),
				errhint("The names are sasl_password and key_password."));
	if (strlen(equals) > MAX_SECRET)
		ereport(ERROR,
				errhidestmt(true),
				errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				errmsg("the secret \"%s\" is longer than %d bytes", line, MAX_SECRET));
	for (const char *p = equals; *p; p++)
		if ((unsigned char) *p < 0x20 || *p == 0x7f)
			ereport(ERROR,
					errhidestmt(true),
					errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("the secret \"%s\" has a control character", line),
					errhint("In COPY's text format a backslash is written \\\\."));
	append_secret(line, equals);
	explicit_bzero(equals, strlen(equals));
	te_wake_note_reload();
	error_context_stack = context;
	return PointerGetDatum(NULL);
}

/* ---- the view --------------------------------------------------------- */

static const char *const class_names[] = {"server", "database", "session"};
static const char *const kind_names[] = {"text", "boolean", "integer", "duration", "size", "choice"};

/* rows of the view settings, but for where a GUC's value comes from */
PG_FUNCTION_INFO_V1(te_settings_data);
Datum
te_settings_data(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			relid = te_own_relation("todo_events_internal", "secret");

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < TE_SET_COUNT; i++)
	{
		const TeSettingDef *def = &te_setting_defs[i];
		const char *text;
		bool		row = def->class == TE_CLASS_DATABASE && te_setting_row(i, &text, NULL);
		Datum		values[8];
		bool		nulls[8] = {false};

		if (!row)
			text = GetConfigOptionByName(psprintf("todo_events.%s", def->name), NULL, true);
		values[0] = CStringGetTextDatum(def->name);
		values[1] = CStringGetTextDatum(text ? text : "");
		values[2] = BoolGetDatum(row);
		values[3] = CStringGetTextDatum(class_names[def->class]);
		values[4] = CStringGetTextDatum(kind_names[def->kind]);
		if (def->kind == TE_KIND_MS || def->kind == TE_KIND_MB)
			values[5] = CStringGetTextDatum(def->kind == TE_KIND_MS ? "ms" : "MB");
		else
			nulls[5] = true;
		values[6] = BoolGetDatum(def->restart);
		values[7] = CStringGetTextDatum(def->description);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}

	for (int i = 0; te_secret_names[i] && OidIsValid(relid); i++)
	{
		Relation	rel = table_open(relid, AccessShareLock);
		int64		last;
		char	   *secret = latest_secret(rel, te_secret_names[i], &last);
		Datum		values[8];
		bool		nulls[8] = {false};

		table_close(rel, AccessShareLock);
		values[0] = CStringGetTextDatum(te_secret_names[i]);
		values[1] = CStringGetTextDatum(secret && secret[0] ? "********" : "");
		values[2] = BoolGetDatum(secret && secret[0]);
		values[3] = CStringGetTextDatum("database");
		values[4] = CStringGetTextDatum("secret");
		nulls[5] = true;
		values[6] = BoolGetDatum(false);
		values[7] = CStringGetTextDatum("Secret, given by COPY todo_events.secret_input FROM STDIN.");
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		if (secret)
			explicit_bzero(secret, strlen(secret));
	}
	return (Datum) 0;
}
