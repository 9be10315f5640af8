/*-------------------------------------------------------------------------
 *
 * ddl.c
 *	  The event triggers: DDL on attached tables, as it begins and ends.
 *
 * They see every ALTER TABLE, CREATE TABLE and DROP of the database, so they
 * do nothing unless an attached table is meant, and what they do is done with
 * the rights of whoever alters the table.  Where they are skipped (a server in
 * single-user mode, event_triggers = off) writers and health() find out.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "commands/event_trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "runtime/compat.h"
#include "runtime/errors.h"
#include "runtime/version.h"
#include "tasks/attach.h"
#include "tasks/config.h"
#include "tasks/ddl.h"
#include "tasks/trigger.h"

PG_FUNCTION_INFO_V1(te_tasks_ddl_begin);
PG_FUNCTION_INFO_V1(te_tasks_ddl_end);
PG_FUNCTION_INFO_V1(te_tasks_ddl_dropped);

static EventTriggerData *
event_of(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function must be called as an event trigger"),
				 errhint("It belongs to the event triggers of the extension todo_events.")));
	return (EventTriggerData *) fcinfo->context;
}

/* a crash would empty the table, and leave its events in the log */
static void
refuse_unlogged(AlterTableStmt *statement)
{
	ListCell   *cell;

	foreach(cell, statement->cmds)
	{
		Oid			relid;

		if (((AlterTableCmd *) lfirst(cell))->subtype != AT_SetUnLogged)
			continue;
		relid = RangeVarGetRelid(statement->relation, NoLock, true);
		if (OidIsValid(relid) && te_compat_owns_relation(relid, GetUserId()) &&
			te_trigger_find(te_triggers_of(relid), TE_TRIGGER_CAPTURE) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_TE_NOT_ATTACHABLE),
					 errmsg("attached table \"%s\" cannot become unlogged", get_rel_name(relid)),
					 errdetail("A crash would empty the table without an event."),
					 errhint("Call todo_events.detach() for the table first.")));
	}
}

/* event trigger on ddl_command_start of ALTER TABLE */
Datum
te_tasks_ddl_begin(PG_FUNCTION_ARGS)
{
	Node	   *command = event_of(fcinfo)->parsetree;

	if (IsA(command, AlterTableStmt))
	{
		refuse_unlogged((AlterTableStmt *) command);
		te_partition_begin((AlterTableStmt *) command);
		te_alter_begin((AlterTableStmt *) command);
	}
	PG_RETURN_NULL();
}

/* event trigger on ddl_command_end of ALTER TABLE, CREATE TABLE and CREATE FOREIGN TABLE */
Datum
te_tasks_ddl_end(PG_FUNCTION_ARGS)
{
	Node	   *command = event_of(fcinfo)->parsetree;

	if (IsA(command, AlterTableStmt))
		te_alter_end((AlterTableStmt *) command);
	te_partition_end(command);
	PG_RETURN_NULL();
}

/* event trigger on sql_drop */
Datum
te_tasks_ddl_dropped(PG_FUNCTION_ARGS)
{
	ListCell   *cell;

	(void) event_of(fcinfo);
	/* an older library than the objects notes nothing, but keeps nobody from dropping what is theirs */
	if (!te_version_served())
		PG_RETURN_NULL();
	foreach(cell, te_config_rows())
	{
		const TeConfigRow *row = lfirst(cell);

		if (row->detached_at == DT_NOEND && !SearchSysCacheExists1(RELOID, ObjectIdGetDatum(row->relid)))
		{
			te_attach_forget_dropped();
			break;
		}
	}
	PG_RETURN_NULL();
}
