/*-------------------------------------------------------------------------
 *
 * alter.c
 *	  ALTER TABLE that changes the type of columns with a role, or drops them
 *	  with CASCADE.
 *
 * PostgreSQL refuses to change the type of a column that a trigger names, and
 * drops the trigger together with a column.  So the trigger that says what
 * the columns mean is taken away when such a command begins, and made anew
 * when it ends, by the same checks as attach() makes: the command fails if a
 * column cannot have its role any more.  Columns that are gone are left out;
 * without its key, or its sequence column, a table cannot go on.
 *
 * A plain DROP COLUMN of such a column is refused by PostgreSQL.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "runtime/compat.h"
#include "runtime/errors.h"
#include "tasks/attach.h"
#include "tasks/config.h"
#include "tasks/ddl.h"

/* a table between the two ends of a command */
typedef struct Altered
{
	const AlterTableStmt *statement;
	SubTransactionId subid;
	Oid			relid;
	int32		number;
	TeColumns	columns;
	char	   *completed;		/* as attach() takes it; by the column's name before */
	Oid			key_type;
} Altered;

static List *altered = NIL;		/* in TopTransactionContext */

/* ---- the beginning ------------------------------------------------------------ */

static bool
changes_type_or_drops(const AlterTableCmd *command)
{
	return command->subtype == AT_AlterColumnType ||
		(command->subtype == AT_DropColumn && command->behavior == DROP_CASCADE);
}

static bool
has_role(const TeColumns *columns, AttrNumber attno)
{
	for (int role = 0; role < TE_COLUMN_ROLES; role++)
	{
		if (columns->columns[role] == attno)
			return true;
	}
	return list_member_int(columns->exclude, attno);
}

static void
refuse_drop(Oid relid, const TeColumns *columns, AttrNumber attno)
{
	bool		key = attno == columns->columns[TE_COLUMN_KEY];

	if (!key && attno != columns->columns[TE_COLUMN_SEQUENCE])
		return;
	ereport(ERROR,
			(errcode(ERRCODE_TE_NOT_ATTACHABLE),
			 errmsg("cannot drop %s column \"%s\" of attached table \"%s\"", key ? "key" : "sequence",
					get_attname(relid, attno, false), get_rel_name(relid)),
			 errdetail("%s", key ? "Events name their task by it." : "It holds the number of each task's latest event."),
			 errhint("Call todo_events.detach() for the table first; attach() may name another column.")));
}

/* does the command touch a column with a role?  An error if that cannot be */
static bool
touches(const AlterTableStmt *statement, Oid relid, const TeColumns *columns)
{
	bool		result = false;
	ListCell   *cell;

	foreach(cell, statement->cmds)
	{
		const AlterTableCmd *command = lfirst(cell);
		AttrNumber	attno;

		if (!changes_type_or_drops(command))
			continue;
		attno = get_attnum(relid, command->name);
		if (attno <= 0 || !has_role(columns, attno))
			continue;
		if (command->subtype == AT_DropColumn)
			refuse_drop(relid, columns, attno);
		result = true;
	}
	return result;
}

/* in the transaction's memory */
static Altered *
remember(const AlterTableStmt *statement, Oid relid, const TeTrigger *trigger, const TeColumns *columns)
{
	MemoryContext caller = MemoryContextSwitchTo(TopTransactionContext);
	Altered    *table = palloc0(sizeof(Altered));
	const char *completed = te_columns_completed(columns, relid);

	table->statement = statement;
	table->subid = GetCurrentSubTransactionId();
	table->relid = relid;
	table->number = te_trigger_number(trigger);
	table->columns = *columns;
	table->columns.exclude = list_copy(columns->exclude);
	table->columns.done_text = NULL;
	table->columns.when = NULL;
	table->completed = completed != NULL ? pstrdup(completed) : NULL;
	table->key_type = getBaseType(get_atttype(relid, columns->columns[TE_COLUMN_KEY]));
	altered = lappend(altered, table);
	MemoryContextSwitchTo(caller);
	return table;
}

static void
begin_table(const AlterTableStmt *statement, Oid relid)
{
	const TeTrigger *trigger = te_trigger_find(te_triggers_of(relid), TE_TRIGGER_COLUMNS);
	TeColumns	columns;

	/* without the right to it the command says so itself */
	if (trigger == NULL || trigger->clone || !te_columns_read(trigger, &columns) ||
		!te_compat_owns_relation(relid, GetUserId()) || !touches(statement, relid, &columns))
		return;

	/* the lock that the command is about to take; what was read without it is read again */
	LockRelationOid(relid, AccessExclusiveLock);
	trigger = te_trigger_find(te_triggers_of(relid), TE_TRIGGER_COLUMNS);
	if (!te_columns_read(trigger, &columns) || !touches(statement, relid, &columns))
		return;
	(void) remember(statement, relid, trigger, &columns);
	te_attach_execute("DROP TRIGGER %s ON %s", TE_TRIGGER_COLUMNS, te_attach_quoted(relid));
}

void
te_alter_begin(AlterTableStmt *statement)
{
	bool		any = false;
	Oid			relid;
	ListCell   *cell;

	foreach(cell, statement->cmds)
		any |= changes_type_or_drops(lfirst(cell));
	if (!any)
		return;
	relid = RangeVarGetRelid(statement->relation, NoLock, true);
	if (!OidIsValid(relid))
		return;
	if (!statement->relation->inh)
		begin_table(statement, relid);
	else
	{
		/* a table that is attached by itself may be a partition, or a child, of the one that is altered */
		foreach(cell, find_all_inheritors(relid, NoLock, NULL))
			begin_table(statement, lfirst_oid(cell));
	}
}

/* ---- the end -------------------------------------------------------------------- */

/* whatever attach() has against the columns, and whatever it would advise */
static void
add_context(void *arg)
{
	const char *table = arg;

	errcontext("looking at what the columns of attached table \"%s\" mean to todo_events", table);
	errhint("Call todo_events.detach() for the table first, alter it, and call todo_events.attach() with parameters that suit.");
}

/* the name that a column has now; NULL, with a notice, if it is gone */
static char *
name_of(Relation rel, AttrNumber attno, const char *role)
{
	Form_pg_attribute column;

	if (attno == InvalidAttrNumber)
		return NULL;
	column = TupleDescAttr(RelationGetDescr(rel), attno - 1);
	if (!column->attisdropped)
		return pstrdup(NameStr(column->attname));
	ereport(NOTICE,
			(errmsg("attached table \"%s\" goes on without a column \"%s\"", RelationGetRelationName(rel), role),
			 errdetail("The column was dropped.")));
	return NULL;
}

/* a key of type uuid never has the attachment's name before it, others do unless they are bare */
static void
refuse_other_keys(const Altered *table, Relation rel)
{
	const TeConfigRow *config = te_config_find(table->number);
	AttrNumber	attno = table->columns.columns[TE_COLUMN_KEY];
	Oid			type = getBaseType(TupleDescAttr(RelationGetDescr(rel), attno - 1)->atttypid);

	if ((type == UUIDOID) == (table->key_type == UUIDOID) || config == NULL || config->bare)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_TE_NOT_ATTACHABLE),
			 errmsg("cannot change the key of attached table \"%s\" from type %s to %s", RelationGetRelationName(rel),
					format_type_be(table->key_type), format_type_be(type)),
			 errdetail("Its events would name the same tasks in another way: a uuid stands alone, other keys follow the name \"%s/\".",
					   config->name)));
}

static void
end_table(const Altered *table)
{
	TeAttachRequest request = {.done = NULL,.standard = table->columns.standard,.altered = true};
	ErrorContextCallback context = {.callback = add_context};
	Relation	rel = table_open(table->relid, NoLock);
	TeAsOwner	saved;
	bool		completed;
	ListCell   *cell;

	for (int role = 0; role < TE_COLUMN_ROLES; role++)
		request.names[role] = name_of(rel, table->columns.columns[role], te_column_role_names[role]);
	foreach(cell, table->columns.exclude)
	{
		char	   *name = name_of(rel, lfirst_int(cell), te_column_role_names[TE_COLUMN_EXCLUDE]);

		if (name != NULL)
			request.exclude = lappend(request.exclude, name);
	}
	/* what it says is decided anew: by the column's type */
	completed = request.names[TE_COLUMN_COMPLETED] != NULL;
	request.names[TE_COLUMN_COMPLETED] = NULL;

	context.arg = RelationGetRelationName(rel);
	context.previous = error_context_stack;
	error_context_stack = &context;
	saved = te_as_owner_begin(rel);
	te_check_columns(rel, &request, completed ? table->completed : NULL);
	te_as_owner_end(saved);
	refuse_other_keys(table, rel);
	te_attach_columns_trigger(rel, &request, table->number);
	error_context_stack = context.previous;
	table_close(rel, NoLock);
}

void
te_alter_end(AlterTableStmt *statement)
{
	List	   *mine = NIL;
	ListCell   *cell;

	foreach(cell, altered)
	{
		if (((Altered *) lfirst(cell))->statement == statement)
			mine = lappend(mine, lfirst(cell));
	}
	foreach(cell, mine)
	{
		altered = list_delete_ptr(altered, lfirst(cell));
		end_table(lfirst(cell));
	}
}

/* ---- commands that failed ---------------------------------------------------------- */

static void
alter_xact_callback(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		altered = NIL;			/* its memory goes with the transaction's */
}

static void
alter_subxact_callback(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	ListCell   *cell;

	foreach(cell, altered)
	{
		Altered    *table = lfirst(cell);

		if (table->subid != mine)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			table->subid = parent;
		else if (event == SUBXACT_EVENT_ABORT_SUB)
			altered = foreach_delete_current(altered, cell);
	}
}

void
te_alter_init(void)
{
	RegisterXactCallback(alter_xact_callback, NULL);
	RegisterSubXactCallback(alter_subxact_callback, NULL);
}
