/*
 * trigger.c
 *	  Triggers of a table as pg_trigger has them.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "runtime/compat.h"
#include "runtime/own.h"
#include "tasks/trigger.h"

/* looked up without a check of rights: a writer has none, and needs none */
Oid
te_trigger_function_oid(void)
{
	return te_own_function("todo_events", "capture");
}

/* arguments stand one after the other, each with a zero byte at its end */
static void
read_arguments(TeTrigger *trigger, const bytea *all)
{
	const char *next = VARDATA_ANY(all);

	trigger->args = palloc(Max(1, trigger->nargs) * sizeof(char *));
	for (int i = 0; i < trigger->nargs; i++)
	{
		trigger->args[i] = pstrdup(next);
		next += strlen(next) + 1;
	}
}

static TeTrigger *
read_trigger(HeapTuple tuple, TupleDesc desc, Oid ours)
{
	Form_pg_trigger form = (Form_pg_trigger) GETSTRUCT(tuple);
	TeTrigger  *trigger = palloc0(sizeof(TeTrigger));
	bool		isnull;
	Datum		value;

	trigger->name = pstrdup(NameStr(form->tgname));
	trigger->ours = OidIsValid(ours) && form->tgfoid == ours;
	trigger->clone = OidIsValid(form->tgparentid);
	trigger->enabled = form->tgenabled;
	trigger->type = form->tgtype;
	trigger->nattrs = form->tgattr.dim1;
	trigger->attrs = palloc(Max(1, trigger->nattrs) * sizeof(AttrNumber));
	memcpy(trigger->attrs, form->tgattr.values, trigger->nattrs * sizeof(AttrNumber));
	trigger->nargs = form->tgnargs;
	if (trigger->nargs > 0)
		read_arguments(trigger, DatumGetByteaPP(heap_getattr(tuple, Anum_pg_trigger_tgargs, desc, &isnull)));
	value = heap_getattr(tuple, Anum_pg_trigger_tgqual, desc, &isnull);
	if (!isnull)
		trigger->when = TextDatumGetCString(value);
	return trigger;
}

List *
te_triggers_of(Oid relid)
{
	Oid			ours = te_trigger_function_oid();
	Relation	rel = table_open(TriggerRelationId, AccessShareLock);
	List	   *result = NIL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(rel, TriggerRelidNameIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		if (!OidIsValid(((Form_pg_trigger) GETSTRUCT(tuple))->tgconstraint))
			result = lappend(result, read_trigger(tuple, RelationGetDescr(rel), ours));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

const TeTrigger *
te_trigger_find(const List *triggers, const char *name)
{
	ListCell   *cell;

	foreach(cell, triggers)
	{
		const TeTrigger *trigger = lfirst(cell);

		if (trigger->ours && strcmp(trigger->name, name) == 0)
			return trigger;
	}
	return NULL;
}

/* no error: health() reads the triggers of everybody's tables */
int32
te_trigger_parse_number(const char *text)
{
	char	   *end;
	long		number = strtol(text, &end, 10);

	return *text >= '0' && *text <= '9' && *end == '\0' && number <= PG_INT32_MAX ? (int32) number : -1;
}

int32
te_trigger_number(const TeTrigger *trigger)
{
	return trigger != NULL && trigger->nargs > 0 ? Max(0, te_trigger_parse_number(trigger->args[0])) : 0;
}
