/*-------------------------------------------------------------------------
 *
 * capture.c
 *	  The trigger function todo_events.capture(): which of our triggers fired,
 *	  and on what.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "runtime/errors.h"
#include "runtime/settings.h"
#include "tasks/change.h"
#include "tasks/held.h"
#include "tasks/rows.h"
#include "tasks/sequence.h"

PG_FUNCTION_INFO_V1(te_tasks_capture);

/*
 * A row without a key is no task.  attach() demands a NOT NULL column, but
 * that may be taken back; rows that have no key since stay without events.
 */
static bool
has_key(const TeAttachment *att, TriggerData *trigdata)
{
	int			i = att->columns[TE_COLUMN_KEY] - 1;
	bool		updated = TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event);
	bool		had = !TRIGGER_FIRED_BY_INSERT(trigdata->tg_event) &&
		!te_row_image(trigdata->tg_trigslot).nulls[i];
	bool		has = !TRIGGER_FIRED_BY_DELETE(trigdata->tg_event) &&
		!te_row_image(updated ? trigdata->tg_newslot : trigdata->tg_trigslot).nulls[i];

	if (likely(has))
		return true;
	if (TRIGGER_FIRED_BY_DELETE(trigdata->tg_event) || (updated && !had))
		return had;
	ereport(ERROR,
			(errcode(ERRCODE_NOT_NULL_VIOLATION),
			 errmsg("null value in key column \"%s\" of attached table \"%s\"",
					NameStr(TupleDescAttr(att->desc, i)->attname),
					RelationGetRelationName(trigdata->tg_relation)),
			 errdetail("An event names its task by the key."),
			 errhint("Give the row a key, or call todo_events.detach() for the table if its rows need none."),
			 errtablecol(trigdata->tg_relation, i + 1)));
}

static void
after_row(const TeAttachment *att, TriggerData *trigdata)
{
	Relation	rel = trigdata->tg_relation;
	TeRowImage	row;

	if (!has_key(att, trigdata) || te_held_intercept(att, trigdata))
		return;

	row = te_row_image(trigdata->tg_trigslot);
	if (TRIGGER_FIRED_BY_INSERT(trigdata->tg_event))
		te_change_inserted(att, rel, &row);
	else if (TRIGGER_FIRED_BY_DELETE(trigdata->tg_event))
		te_change_deleted(att, &row);
	else
	{
		TeRowImage	new = te_row_image(trigdata->tg_newslot);

		if (te_sequence_is_correction(rel, &row))
			te_change_inserted(att, rel, &new);
		else
			te_change_updated(att, rel, &row, &new);
	}
	te_held_done(att, trigdata);
}

/* ---- whole tables -------------------------------------------------------- */

/* every row of one table or partition by the latest state; the caller's lock keeps others away */
int64
te_rows_scan(Relation rel, const TeAttachment *att, int64 limit, TeRowCallback callback)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "todo_events rows",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	int64		n = 0;

	while (n <= limit && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		n++;
		if (callback != NULL)
		{
			TeRowImage	row = te_row_image(slot);

			callback(att, &row);
		}
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	return n;
}

List *
te_rows_tables(Oid relid, LOCKMODE lockmode)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, find_all_inheritors(relid, lockmode, NULL))
	{
		Relation	rel = table_open(lfirst_oid(cell), NoLock);

		if (rel->rd_rel->relkind == RELKIND_RELATION)
			result = lappend_oid(result, lfirst_oid(cell));
		table_close(rel, NoLock);
	}
	return result;
}

/*
 * TRUNCATE holds an exclusive lock by now and has removed nothing yet.  A
 * partition may have a trigger of its own, for a TRUNCATE of it alone; then
 * it speaks for itself.
 */
static void
before_truncate(TriggerData *trigdata)
{
	int			limit = te_setting_int(TE_SET_TRUNCATE_LIMIT);
	Oid			self = RelationGetRelid(trigdata->tg_relation);
	/* inheritance children are no partitions: their rows make no events */
	List	   *tables = trigdata->tg_relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ?
		te_rows_tables(self, NoLock) : list_make1_oid(self);
	int64		n = 0;
	ListCell   *cell;

	/* a partition that was taken out of its table keeps this trigger: there is nobody to tell */
	if (te_attachment_trigger(trigdata->tg_relation, TE_TRIGGER_CAPTURE) == NULL)
		return;

	te_held_before_truncate(te_attachment_number(trigdata->tg_relation));

	/* first count, so that too large a table is refused before anything is written */
	for (int pass = 0; pass < 2; pass++)
	{
		foreach(cell, tables)
		{
			Relation	rel = table_open(lfirst_oid(cell), NoLock);

			if (RelationGetRelid(rel) == self ||
				te_attachment_trigger(rel, TE_TRIGGER_TRUNCATE) == NULL)
			{
				if (pass == 0)
					n += te_rows_scan(rel, NULL, limit - n, NULL);
				else
					(void) te_rows_scan(rel, te_attachment_get(rel), PG_INT64_MAX, te_change_deleted);
			}
			table_close(rel, NoLock);
			if (n > limit)
				ereport(ERROR,
						(errcode(ERRCODE_TE_TOO_MANY_ROWS),
						 errmsg("cannot truncate attached table \"%s\" with more than %d rows",
								RelationGetRelationName(trigdata->tg_relation), limit),
						 errdetail("TRUNCATE of an attached table makes one \"deleted\" event a row, up to todo_events.truncate_limit."),
						 errhint("Use DELETE, raise todo_events.truncate_limit, or call todo_events.detach() first if nobody is to be told.")));
		}
	}
}

/* ---- the trigger function -------------------------------------------------- */

/* a table's owner can make triggers by hand: right is only what attach() makes */
static void
expect(const TriggerData *trigdata, const char *name, bool right_event)
{
	if (!right_event || strcmp(trigdata->tg_trigger->tgname, name) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_TE_NOT_ATTACHABLE),
				 errmsg("trigger \"%s\" of table \"%s\" must not call todo_events.capture()",
						trigdata->tg_trigger->tgname, RelationGetRelationName(trigdata->tg_relation)),
				 errhint("Rename it back if it is one of todo_events' own, else drop it; or call todo_events.detach() and then todo_events.attach() for the table, which make them anew.")));
}

Datum
te_tasks_capture(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("todo_events.capture() must be called as a trigger"),
				 errhint("Call todo_events.attach() for the table.")));

	if (TRIGGER_FIRED_FOR_ROW(trigdata->tg_event))
	{
		if (TRIGGER_FIRED_AFTER(trigdata->tg_event))
		{
			expect(trigdata, TE_TRIGGER_CAPTURE, true);
			after_row(te_attachment_get(trigdata->tg_relation), trigdata);
			return PointerGetDatum(NULL);
		}
		expect(trigdata, TE_TRIGGER_SEQUENCE, TRIGGER_FIRED_BEFORE(trigdata->tg_event) &&
			   !TRIGGER_FIRED_BY_DELETE(trigdata->tg_event));
		return PointerGetDatum(te_sequence_before(te_attachment_get(trigdata->tg_relation), trigdata));
	}

	expect(trigdata, TE_TRIGGER_TRUNCATE, TRIGGER_FIRED_BEFORE(trigdata->tg_event) &&
		   TRIGGER_FIRED_BY_TRUNCATE(trigdata->tg_event));
	before_truncate(trigdata);
	return PointerGetDatum(NULL);
}
