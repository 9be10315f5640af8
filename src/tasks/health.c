/*
 * health.c
 *	  Attached tables whose triggers are disabled or gone: their changes make
 *	  no events, and nobody else would say so.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "runtime/health.h"
#include "tasks/attachment.h"
#include "tasks/config.h"
#include "tasks/health.h"

/* the trigger's tgenabled, '\0' if there is no such trigger; takes no lock on the table */
static char
trigger_state(Oid relid, const char *name)
{
	Relation	rel = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	char		state = '\0';

	ScanKeyInit(&key[0], Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	ScanKeyInit(&key[1], Anum_pg_trigger_tgname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(name));
	scan = systable_beginscan(rel, TriggerRelidNameIndexId, true, NULL, 2, key);
	if (HeapTupleIsValid(tuple = systable_getnext(scan)))
		state = ((Form_pg_trigger) GETSTRUCT(tuple))->tgenabled;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return state;
}

static void
check_trigger(void *sink, Oid relid, const char *name)
{
	char		state = trigger_state(relid, name);
	char	   *table = get_rel_name(relid);
	char	   *component;

	if (table == NULL || state == TRIGGER_FIRES_ON_ORIGIN || state == TRIGGER_FIRES_ALWAYS)
		return;
	component = psprintf("table:%s", table);
	if (state == '\0')
		te_health_add(sink, 3, component,
					  psprintf("trigger \"%s\" of attached table \"%s\" is missing: changes make no events", name, table),
					  "Call todo_events.detach() and todo_events.attach() for the table.");
	else
		te_health_add(sink, 3, component,
					  psprintf("trigger \"%s\" of attached table \"%s\" is disabled: changes make no events", name, table),
					  "ALTER TABLE ... ENABLE TRIGGER enables it; what changed meanwhile can be sent by attaching anew with backfill => 'snapshot'.");
}

static void
check_table(void *sink, Oid relid)
{
	check_trigger(sink, relid, TE_TRIGGER_CAPTURE);
	check_trigger(sink, relid, TE_TRIGGER_TRUNCATE);
}

static void
tasks_health(TeHealthSink *sink)
{
	te_config_each_table(check_table, sink);
}

void
te_tasks_health_init(void)
{
	te_health_register(tasks_health);
}
