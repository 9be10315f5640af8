/*-------------------------------------------------------------------------
 *
 * partition.c
 *	  Partitions that come after attach().
 *
 * PostgreSQL gives a new partition its parent's row triggers, but not those
 * of statements.  So that a TRUNCATE of the partition alone makes its events,
 * an event trigger adds that one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/event_trigger.h"
#include "fmgr.h"
#include "nodes/parsenodes.h"
#include "utils/rel.h"

#include "tasks/attach.h"
#include "tasks/rows.h"

PG_FUNCTION_INFO_V1(te_tasks_partition_added);

/* the table that a command made a partition, or NULL */
static RangeVar *
partition_of_command(Node *command)
{
	if (IsA(command, CreateStmt))
	{
		CreateStmt *create = (CreateStmt *) command;

		return create->partbound != NULL ? create->relation : NULL;
	}
	if (IsA(command, AlterTableStmt))
	{
		ListCell   *cell;

		foreach(cell, ((AlterTableStmt *) command)->cmds)
		{
			AlterTableCmd *cmd = lfirst(cell);

			if (cmd->subtype == AT_AttachPartition)
				return ((PartitionCmd *) cmd->def)->name;
		}
	}
	return NULL;
}

static void
add_trigger(Oid relid)
{
	Relation	rel = table_open(relid, NoLock);
	bool		missing = te_attachment_trigger(rel, TE_TRIGGER_TRUNCATE) == NULL;
	int32		number = te_attachment_number(rel);

	table_close(rel, NoLock);
	if (number != 0 && missing)
		te_attach_truncate_trigger(relid, number);
}

/* event trigger on ddl_command_end of CREATE TABLE and ALTER TABLE */
Datum
te_tasks_partition_added(PG_FUNCTION_ARGS)
{
	EventTriggerData *data = (EventTriggerData *) fcinfo->context;
	RangeVar   *name;
	Oid			relid;
	ListCell   *cell;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("todo_events_internal.partition_added() must be called as an event trigger")));

	name = partition_of_command(data->parsetree);
	relid = name != NULL ? RangeVarGetRelid(name, NoLock, true) : InvalidOid;
	if (OidIsValid(relid))
	{
		/* the command holds its lock until the transaction ends */
		foreach(cell, te_rows_tables(relid, AccessShareLock))
			add_trigger(lfirst_oid(cell));
	}
	PG_RETURN_NULL();
}
