/*-------------------------------------------------------------------------
 *
 * replication.c
 *	  Logical replication and the extension's own tables.
 *
 * A publication FOR ALL TABLES has our tables in it; PostgreSQL 15 to 18 have
 * no way to leave some out.  What is the publisher's own affair must not act
 * at a subscriber: a log row would be sent a second time, a cursor would skip
 * events, a setting would point at the publisher's broker, and a row that is
 * there already would stop the subscription.  So, whatever the settings:
 *
 *	- a walsender copies no row of ours: the initial synchronization of our
 *	  tables is empty.  Secrets do not travel, and the log is not held.
 *	- a replication worker writes no row of ours: each table and partition has
 *	  a guard, a trigger that fires always and skips the row.  Our own appends
 *	  call the heap directly and do not meet it.
 *	- TRUNCATE cannot be skipped, so it is refused, and never published.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/extension.h"
#include "commands/tablecmds.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "replication/logicalworker.h"
#include "replication/walsender.h"
#include "runtime/compat.h"
#include "runtime/replication.h"
#include "runtime/wake.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* our own emptying of a table, which calls its triggers */
static bool truncating = false;

void
te_replication_truncate(Relation rel)
{
	truncating = true;
	PG_TRY();
	{
		te_compat_truncate(rel);
	}
	PG_FINALLY();
	{
		truncating = false;
	}
	PG_END_TRY();
}

/* ---- at the subscriber --------------------------------------------------- */

PG_FUNCTION_INFO_V1(te_guard);
Datum
te_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigger->tg_event))
		ereport(ERROR,
				errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("function \"%s\" was not called as its trigger", "guard"));

	if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
	{
		if (IsLogicalWorker())
			return PointerGetDatum(NULL);
		/* the other triggers, which tell the engine of a change, do not fire */
		if (SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA)
		{
			te_wake_note_reload();
			CacheInvalidateRelcache(trigger->tg_relation);
		}
		return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
							   trigger->tg_newtuple : trigger->tg_trigtuple);
	}

	if (!truncating)
		ereport(ERROR,
				errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("cannot truncate table \"%s\" of the extension todo_events",
					   RelationGetRelationName(trigger->tg_relation)),
				IsLogicalWorker() ?
				errhint("The TRUNCATE was published by another server. Skip it with ALTER SUBSCRIPTION ... SKIP.") :
				errhint("Use DELETE for configuration, todo_events.purge_dead_letters() for dead letters; the log is emptied by its retention."));
	return PointerGetDatum(NULL);
}

/* ---- at the publisher ---------------------------------------------------- */

static bool
is_ours(const RangeVar *name)
{
	Oid			namespace;
	Oid			relid;
	Oid			extension;

	if (name->schemaname == NULL || strncmp(name->schemaname, "todo_events", 11) != 0)
		return false;
	namespace = get_namespace_oid(name->schemaname, true);
	relid = OidIsValid(namespace) ? get_relname_relid(name->relname, namespace) : InvalidOid;
	extension = get_extension_oid("todo_events", true);
	return OidIsValid(relid) && OidIsValid(extension) &&
		getExtensionOfObject(RelationRelationId, relid) == extension;
}

/* the only table that a query of the form SELECT columns FROM table reads, or NULL */
static RangeVar *
table_of_query(Node *query)
{
	SelectStmt *select = (SelectStmt *) query;

	if (!IsA(query, SelectStmt) || list_length(select->fromClause) != 1 ||
		!IsA(linitial(select->fromClause), RangeVar))
		return NULL;
	return linitial(select->fromClause);
}

static SelectStmt *
query_of_table(RangeVar *table, List *columns)
{
	SelectStmt *select = makeNode(SelectStmt);
	ListCell   *cell;

	select->fromClause = list_make1(table);
	if (columns == NIL)
		columns = list_make1(NULL);
	foreach(cell, columns)
	{
		ResTarget  *target = makeNode(ResTarget);
		ColumnRef  *column = makeNode(ColumnRef);

		column->fields = list_make1(lfirst(cell) ? lfirst(cell) : (Node *) makeNode(A_Star));
		column->location = -1;
		target->val = (Node *) column;
		target->location = -1;
		select->targetList = lappend(select->targetList, target);
	}
	return select;
}

PlannedStmt *
te_replication_copy(PlannedStmt *statement)
{
	CopyStmt   *copy = (CopyStmt *) statement->utilityStmt;
	RangeVar   *table;
	SelectStmt *query;
	A_Const    *never;

	if (likely(!am_db_walsender) || !IsA(copy, CopyStmt) || copy->is_from)
		return statement;
	table = copy->query ? table_of_query(copy->query) : copy->relation;
	if (table == NULL || !is_ours(table))
		return statement;

	/* it may be a cached one */
	statement = copyObject(statement);
	copy = (CopyStmt *) statement->utilityStmt;
	query = copy->query ? (SelectStmt *) copy->query : query_of_table(copy->relation, copy->attlist);
	never = makeNode(A_Const);
	never->val.boolval.type = T_Boolean;
	never->val.boolval.boolval = false;
	never->location = -1;
	query->whereClause = (Node *) never;
	copy->query = (Node *) query;
	copy->relation = NULL;
	copy->attlist = NIL;
	return statement;
}
