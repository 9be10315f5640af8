/*-------------------------------------------------------------------------
 *
 * health.c
 *	  Lines of health() on attached tables: what DDL has done to them that
 *	  loses events, or refuses writes, and that nobody else would say.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_db_role_setting.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "runtime/clock.h"
#include "runtime/compat.h"
#include "runtime/health.h"
#include "runtime/settings.h"
#include "tasks/attachment.h"
#include "tasks/config.h"
#include "tasks/health.h"
#include "tasks/inspect.h"

/* ---- tables that are there ------------------------------------------------------ */

static void
say(TeHealthSink *sink, const TeConfigRow *config, const TeFinding *finding)
{
	char	   *table = get_rel_name(config->relid);
	char	   *partition = get_rel_name(finding->partition);
	StringInfoData message;

	if (table == NULL || partition == NULL)
		return;					/* dropped this very moment */
	initStringInfo(&message);
	if (finding->subject != NULL)
		appendStringInfo(&message, "%s of ", finding->subject);
	if (finding->partition != config->relid)
		appendStringInfo(&message, "partition \"%s\" of ", partition);
	appendStringInfo(&message, "attached table \"%s\" %s", table, finding->predicate);
	if (finding->n > 1)
		appendStringInfo(&message, ", and %d more", finding->n - 1);
	appendStringInfo(&message, ": %s", finding->effect);
	te_health_add(sink, finding->level, psprintf("table:%s", table), message.data, finding->hint);
}

/* ---- tables that another took the place of ----------------------------------------- */

static void
say_replaced(TeHealthSink *sink, const TeConfigRow *config, Oid other)
{
	char	   *quoted = quote_qualified_identifier(get_namespace_name(get_rel_namespace(other)), get_rel_name(other));
	char	   *table = get_rel_name(config->relid);

	te_health_add(sink, 2, psprintf("table:%s", get_rel_name(other)),
				  table != NULL ?
				  psprintf("table %s is not attached; the one attached as \"%s\" is now called \"%s\"", quoted, config->name, table) :
				  psprintf("table %s is not attached; the one attached as \"%s\" was dropped", quoted, config->name),
				  "If it has taken that table's place, call todo_events.detach() for the other and todo_events.attach() for this one, under the same name: its numbers go on.");
}

/* is there a table of that name that is not attached?  In one schema, or in any */
static Oid
find_unattached(const char *name, Oid namespace)
{
	Relation	rel;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			result = InvalidOid;

	rel = table_open(RelationRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_class_relname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum(name));
	scan = systable_beginscan(rel, ClassNameNspIndexId, true, NULL, 1, &key);
	while (!OidIsValid(result) && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class class = (Form_pg_class) GETSTRUCT(tuple);

		if ((class->relkind == RELKIND_RELATION || class->relkind == RELKIND_PARTITIONED_TABLE) &&
			class->relpersistence != RELPERSISTENCE_TEMP &&
			(!OidIsValid(namespace) || class->relnamespace == namespace) &&
			!te_inspect_is_attached(class->oid))
			result = class->oid;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

static void
look_at_table(TeHealthSink *sink, const TeConfigRow *config)
{
	char	   *table = get_rel_name(config->relid);
	ListCell   *cell;
	Oid			other;

	foreach(cell, te_inspect(config))
		say(sink, config, lfirst(cell));
	if (table == NULL || strcmp(table, config->name) == 0)
		return;
	other = find_unattached(config->name, get_rel_namespace(config->relid));
	if (OidIsValid(other))
		say_replaced(sink, config, other);
}

static bool
is_in_place(const List *rows, const char *name)
{
	ListCell   *cell;

	foreach(cell, rows)
	{
		const TeConfigRow *row = lfirst(cell);

		if (row->detached_at == DT_NOEND && strcmp(row->name, name) == 0 && get_rel_name(row->relid) != NULL)
			return true;
	}
	return false;
}

/* for as long as its events may be missed; somebody who wants none need not hear of it for ever */
static void
look_at_dropped(TeHealthSink *sink, const List *rows, const TeConfigRow *config)
{
	TimestampTz since = te_clock_now() - (int64) te_setting_int(TE_SET_LOG_RETENTION) * 1000;
	Oid			other;

	if (config->detached_at < since || is_in_place(rows, config->name))
		return;
	other = find_unattached(config->name, InvalidOid);
	if (OidIsValid(other))
		say_replaced(sink, config, other);
}

/* ---- sessions whose changes make no events ------------------------------------------ */

static void
say_replica(TeHealthSink *sink, const char *where)
{
	te_health_add(sink, 2, "session_replication_role",
				  psprintf("session_replication_role is \"replica\" %s: changes made so are no events", where),
				  "Reset it, or use ALTER TABLE ... ENABLE ALWAYS TRIGGER for the triggers of attached tables.");
}

static bool
sets_replica(Datum settings)
{
	Datum	   *values;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(settings), TEXTOID, -1, false, TYPALIGN_INT, &values, NULL, &n);
	for (int i = 0; i < n; i++)
	{
		if (pg_strcasecmp(TextDatumGetCString(values[i]), "session_replication_role=replica") == 0)
			return true;
	}
	return false;
}

/* ALTER ROLE ... SET, ALTER DATABASE ... SET */
static void
look_at_sessions(TeHealthSink *sink)
{
	Relation	rel = table_open(DbRoleSettingRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	if (SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA)
		say_replica(sink, "in this session");
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_db_role_setting form = (Form_pg_db_role_setting) GETSTRUCT(tuple);
		bool		isnull;
		Datum		settings = heap_getattr(tuple, Anum_pg_db_role_setting_setconfig, RelationGetDescr(rel), &isnull);
		char	   *role = OidIsValid(form->setrole) ? GetUserNameFromId(form->setrole, true) : NULL;

		if (isnull || (OidIsValid(form->setrole) && role == NULL) || (OidIsValid(form->setdatabase) && form->setdatabase != MyDatabaseId) || !sets_replica(settings))
			continue;
		say_replica(sink, role != NULL ? psprintf("for role \"%s\"", role) : "for this database");
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

static void
tasks_health(TeHealthSink *sink)
{
	List	   *rows = te_config_rows();
	bool		any = false;
	ListCell   *cell;

	foreach(cell, rows)
	{
		const TeConfigRow *row = lfirst(cell);

		if (get_rel_name(row->relid) == NULL)
			look_at_dropped(sink, rows, row);
		else if (row->detached_at == DT_NOEND)
		{
			any = true;
			look_at_table(sink, row);
		}
	}
	if (any)
		look_at_sessions(sink);
}

void
te_tasks_health_init(void)
{
	te_health_register(tasks_health);
}
