/*-------------------------------------------------------------------------
 *
 * detach.c
 *	  todo_events.detach() and detach_all().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/syscache.h"

#include "runtime/compat.h"
#include "runtime/errors.h"
#include "runtime/primary.h"
#include "tasks/attach.h"
#include "tasks/config.h"
#include "tasks/trigger.h"

#define LOCK_PATIENCE_MS	100		/* for one lock while others are held */

PG_FUNCTION_INFO_V1(te_tasks_detach);

/* whatever their names are by now; those of a partition go with its parent's */
static void
drop_triggers(Oid relid)
{
	ListCell   *cell;

	foreach(cell, te_triggers_of(relid))
	{
		const TeTrigger *trigger = lfirst(cell);

		if (trigger->ours && !trigger->clone)
			te_attach_execute("DROP TRIGGER %s ON %s", quote_identifier(trigger->name), te_attach_quoted(relid));
	}
}

/* does a table below have triggers because this one has, and not because it is attached by itself? */
static bool
is_covered(Oid relid)
{
	const TeTrigger *capture = te_trigger_find(te_triggers_of(relid), TE_TRIGGER_CAPTURE);

	return get_rel_relispartition(relid) && (capture == NULL || capture->clone);
}

/* the table is locked, with its partitions */
static void
detach_locked(Oid relid)
{
	Oid			type = REGCLASSOID;
	Datum		value = ObjectIdGetDatum(relid);
	ListCell   *cell;

	drop_triggers(relid);
	CommandCounterIncrement();
	foreach(cell, find_all_inheritors(relid, NoLock, NULL))
	{
		if (lfirst_oid(cell) != relid && is_covered(lfirst_oid(cell)))
			drop_triggers(lfirst_oid(cell));
	}
	(void) te_attach_config("UPDATE todo_events.attachment_config SET detached_at = pg_catalog.now() "
						  "WHERE relation = $1 AND detached_at IS NULL",
						  1, &type, &value, NULL);
}

/* false: not within that time, which is too short for a deadlock to be looked for */
static bool
lock_within(Oid relid, int ms)
{
	MemoryContext caller = CurrentMemoryContext;
	int			timeout = LockTimeout;
	volatile bool locked = true;

	ms = Max(Min(ms, DeadlockTimeout / 2), 1);
	PG_TRY();
	{
		LockTimeout = timeout > 0 ? Min(timeout, ms) : ms;
		LockRelationOid(relid, AccessExclusiveLock);
	}
	PG_CATCH();
	{
		LockTimeout = timeout;
		if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE)
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		FlushErrorState();
		locked = false;
	}
	PG_END_TRY();
	LockTimeout = timeout;
	return locked;
}

/*
 * Lock relations exclusively without ever waiting for one for long while
 * another is held, since writers of several tables lock them in any order:
 * wait for one alone, then take the others as those who have them finish, or
 * let go of all and wait for the one that was not to be had.
 */
void
te_attach_lock(List *relids)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	Oid			busy = relids != NIL ? linitial_oid(relids) : InvalidOid;

	while (OidIsValid(busy))
	{
		Oid			first = busy;
		ListCell   *cell;

		CHECK_FOR_INTERRUPTS();
		busy = InvalidOid;
		BeginInternalSubTransaction(NULL);
		MemoryContextSwitchTo(caller);
		LockRelationOid(first, AccessExclusiveLock);
		foreach(cell, relids)
		{
			if (!lock_within(lfirst_oid(cell), LOCK_PATIENCE_MS))
			{
				busy = lfirst_oid(cell);
				break;
			}
		}
		if (OidIsValid(busy))
			RollbackAndReleaseCurrentSubTransaction();
		else
			ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(caller);
		CurrentResourceOwner = owner;
	}
}

/* every table with a trigger of ours that is not its parent's */
List *
te_attach_tables(void)
{
	List	   *result = NIL;
	MemoryContext caller = CurrentMemoryContext;
	Oid			type = OIDOID;
	Datum		value = ObjectIdGetDatum(te_trigger_function_oid());
	int			nest_level = te_row_json_pin();

	if (SPI_connect() != SPI_OK_CONNECT ||
		SPI_execute_with_args("SELECT DISTINCT t.tgrelid FROM pg_catalog.pg_trigger t "
							  "WHERE t.tgfoid = $1 AND t.tgparentid = 0 ORDER BY 1", 1, &type, &value, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not list attached tables");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		relid = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
		MemoryContext spi = MemoryContextSwitchTo(caller);

		result = lappend_oid(result, DatumGetObjectId(relid));
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	te_row_json_end(nest_level);
	return result;
}

List *
te_attach_with_partitions(List *relids)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, relids)
		result = list_concat(result, find_all_inheritors(lfirst_oid(cell), NoLock, NULL));
	return result;
}

typedef enum TableState
{
	TABLE_NOT_ATTACHED,			/* a partition of an attached table included */
	TABLE_ATTACHED,
	TABLE_LEFT_OVER				/* has triggers of ours all the same, such as a partition that was taken out */
} TableState;

/* also if somebody dropped its triggers */
static bool
is_in_force(Oid relid)
{
	ListCell   *cell;

	foreach(cell, te_config_rows())
	{
		const TeConfigRow *row = lfirst(cell);

		if (row->relid == relid && row->detached_at == DT_NOEND && get_rel_name(relid) != NULL)
			return true;
	}
	return false;
}

static TableState
state_of(Oid relid)
{
	TableState	state = is_in_force(relid) ? TABLE_ATTACHED : TABLE_NOT_ATTACHED;
	List	   *triggers = te_triggers_of(relid);
	const TeTrigger *capture = te_trigger_find(triggers, TE_TRIGGER_CAPTURE);
	ListCell   *cell;

	if (capture != NULL)
		return capture->clone ? TABLE_NOT_ATTACHED : TABLE_ATTACHED;
	foreach(cell, triggers)
	{
		if (state == TABLE_NOT_ATTACHED && ((TeTrigger *) lfirst(cell))->ours)
			state = TABLE_LEFT_OVER;
	}
	return state;
}

static void
refuse_not_owned(Oid relid)
{
	if (!te_compat_owns_relation(relid, GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of table %s", get_rel_name(relid)),
				 errhint("Ask the table's owner, or SET ROLE to it.")));
}

/* todo_events.detach(regclass); todo_events.detach_all() calls it with null */
Datum
te_tasks_detach(PG_FUNCTION_ARGS)
{
	List	   *relids;
	ListCell   *cell;
	int32		n = 0;

	te_require_writable(PG_NARGS() > 0 ? "todo_events.detach()" : "todo_events.detach_all()");
	if (PG_NARGS() > 0)
	{
		Oid			relid = PG_GETARG_OID(0);

		if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("relation with OID %u does not exist", relid)));
		if (state_of(relid) == TABLE_NOT_ATTACHED)
			ereport(ERROR,
					(errcode(ERRCODE_TE_NOT_FOUND),
					 errmsg("table \"%s\" is not attached", get_rel_name(relid)),
					 errhint("The view todo_events.attachments lists those that are.")));
		relids = list_make1_oid(relid);
	}
	else
		relids = te_attach_tables();

	foreach(cell, relids)
		refuse_not_owned(lfirst_oid(cell));
	te_attach_lock(te_attach_with_partitions(relids));
	foreach(cell, relids)
	{
		/* dropped before we had the lock, or a partition whose root was detached in an earlier round */
		TableState	state = state_of(lfirst_oid(cell));

		if (state == TABLE_NOT_ATTACHED)
			continue;
		refuse_not_owned(lfirst_oid(cell));
		detach_locked(lfirst_oid(cell));
		n += state == TABLE_ATTACHED;
	}
	PG_RETURN_INT32(n);
}
