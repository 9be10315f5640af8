/*-------------------------------------------------------------------------
 *
 * partition.c
 *	  Partitions that come after attach(), and those that go.
 *
 * PostgreSQL gives a new partition its parent's row triggers, and takes them
 * back from one that is detached, but not those of statements.  So that a
 * TRUNCATE of the partition alone makes its events, that one is added, and
 * dropped, when the command ends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "runtime/compat.h"
#include "runtime/errors.h"
#include "tasks/attach.h"
#include "tasks/ddl.h"

/* the partition of an ATTACH or DETACH, or NULL */
static RangeVar *
partition_of(AlterTableStmt *statement, bool attach, bool detach)
{
	ListCell   *cell;

	foreach(cell, statement->cmds)
	{
		AlterTableCmd *command = lfirst(cell);

		if ((attach && command->subtype == AT_AttachPartition) ||
			(detach && (command->subtype == AT_DetachPartition ||
						command->subtype == AT_DetachPartitionFinalize)))
			return ((PartitionCmd *) command->def)->name;
	}
	return NULL;
}

static Oid
relation_of(const RangeVar *name)
{
	return name != NULL ? RangeVarGetRelid(name, NoLock, true) : InvalidOid;
}

/* ---- the beginning: ATTACH PARTITION -------------------------------------------- */

/* both have triggers of the same names: PostgreSQL would say no more than that */
void
te_partition_begin(AlterTableStmt *statement)
{
	Oid			partition = relation_of(partition_of(statement, true, false));
	Oid			parent = OidIsValid(partition) ? relation_of(statement->relation) : InvalidOid;
	ListCell   *cell;

	if (!OidIsValid(parent) || te_trigger_find(te_triggers_of(parent), TE_TRIGGER_CAPTURE) == NULL)
		return;
	foreach(cell, find_all_inheritors(partition, NoLock, NULL))
	{
		if (te_trigger_find(te_triggers_of(lfirst_oid(cell)), TE_TRIGGER_CAPTURE) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_TE_NOT_ATTACHABLE),
					 errmsg("table \"%s\" is attached by itself, and cannot become a partition of attached table \"%s\"",
							get_rel_name(lfirst_oid(cell)), get_rel_name(parent)),
					 errhint("Call todo_events.detach() for it first: the partitioned table's attachment covers it.")));
	}
}

/* ---- the end ----------------------------------------------------------------------- */

static void
refuse_partition(Oid relid, const char *kind, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_TE_NOT_ATTACHABLE),
			 errmsg("%s \"%s\" cannot be a partition of an attached table", kind, get_rel_name(relid)),
			 errdetail("%s", detail),
			 errhint("Use an ordinary table, or call todo_events.detach() for the partitioned table first.")));
}

static void
added(Oid relid)
{
	List	   *triggers = te_triggers_of(relid);
	int32		number = te_trigger_number(te_trigger_find(triggers, TE_TRIGGER_CAPTURE));

	if (number == 0)
		return;
	if (get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE)
		refuse_partition(relid, "foreign table", "Its rows may be changed where no trigger sees it.");
	if (get_rel_relkind(relid) != RELKIND_RELATION)
		return;
	if (get_rel_persistence(relid) != RELPERSISTENCE_PERMANENT)
		refuse_partition(relid, "unlogged table", "A crash would empty it without an event.");
	if (te_trigger_find(triggers, TE_TRIGGER_TRUNCATE) == NULL)
		te_attach_truncate_trigger(relid, number);
}

static void
removed(Oid relid)
{
	List	   *triggers = te_triggers_of(relid);
	const TeTrigger *truncate = te_trigger_find(triggers, TE_TRIGGER_TRUNCATE);

	/* the partition may be another role's: then its owner drops the trigger, by todo_events.detach() */
	if (truncate != NULL && !truncate->clone && te_trigger_find(triggers, TE_TRIGGER_CAPTURE) == NULL &&
		te_compat_owns_relation(relid, GetUserId()))
		te_attach_execute("DROP TRIGGER %s ON %s", TE_TRIGGER_TRUNCATE, te_attach_quoted(relid));
}

/* the command holds its locks until the transaction ends */
void
te_partition_end(Node *command)
{
	RangeVar   *came = NULL;
	RangeVar   *went = NULL;
	Oid			relid;
	ListCell   *cell;

	/* CREATE FOREIGN TABLE is a kind of CREATE TABLE */
	if (IsA(command, CreateStmt) || IsA(command, CreateForeignTableStmt))
	{
		CreateStmt *create = IsA(command, CreateStmt) ? (CreateStmt *) command :
			&((CreateForeignTableStmt *) command)->base;

		came = create->partbound != NULL ? create->relation : NULL;
	}
	else if (IsA(command, AlterTableStmt))
	{
		came = partition_of((AlterTableStmt *) command, true, false);
		went = partition_of((AlterTableStmt *) command, false, true);
	}

	relid = relation_of(came != NULL ? came : went);
	if (!OidIsValid(relid))
		return;
	foreach(cell, find_all_inheritors(relid, NoLock, NULL))
	{
		if (came != NULL)
			added(lfirst_oid(cell));
		else
			removed(lfirst_oid(cell));
	}
}
