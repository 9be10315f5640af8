/*-------------------------------------------------------------------------
 *
 * move.c
 *	  Rows that move between partitions.
 *
 * A row that an UPDATE moves is marked as moved in its old partition (that
 * is how concurrent updaters find out), and the AFTER DELETE trigger sees the
 * mark.  It holds the row back.  The INSERT into the other partition is the
 * next event at the same depth of triggers: with the same key it makes an
 * update of the two.  With another key, or if a BEFORE trigger of the other
 * partition threw the row away and there is no INSERT at all, the held row
 * was deleted; that is said at the next event, at the latest before commit.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tupconvert.h"
#include "access/xact.h"
#include "executor/tuptable.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "tasks/counter.h"
#include "tasks/move.h"
#include "tasks/sequence.h"

typedef struct Held
{
	int32		number;			/* attachment */
	Oid			relid;			/* partition that the row left */
	int			depth;			/* of triggers */
	SubTransactionId held_in;
	SubTransactionId told_in;	/* where it was said to be deleted; InvalidSubTransactionId = not yet */
	TeName		key;
	HeapTuple	tuple;
	TupleDesc	desc;
} Held;

static List *held = NIL;		/* in TopTransactionContext */

static TeName
copy_name(TeName name)
{
	if (name.kind == TE_NAME_TEXT)
		name.text = pnstrdup(name.text, name.len);
	return name;
}

static void
hold(const TeAttachment *att, TriggerData *trigdata, int depth)
{
	TeRowImage	old = te_row_image(trigdata->tg_trigslot);
	TeName		key = te_attachment_name(att, TE_COLUMN_KEY, old.values, old.nulls, false);
	MemoryContext caller = MemoryContextSwitchTo(TopTransactionContext);
	Held	   *row = palloc0(sizeof(Held));

	row->number = att->number;
	row->relid = RelationGetRelid(trigdata->tg_relation);
	row->depth = depth;
	row->held_in = GetCurrentSubTransactionId();
	row->key = copy_name(key);
	row->tuple = heap_copytuple(trigdata->tg_trigtuple);
	row->desc = CreateTupleDescCopy(RelationGetDescr(trigdata->tg_relation));
	held = lappend(held, row);
	MemoryContextSwitchTo(caller);
}

static void
free_held(Held *row)
{
	held = list_delete_ptr(held, row);
	heap_freetuple(row->tuple);
	FreeTupleDesc(row->desc);
	pfree(row);
}

/* natts: of the relation as it is now; columns added since the row was held are NULL in it */
static TeRowImage
image_of(HeapTuple tuple, TupleDesc desc, int natts)
{
	TeRowImage	image;
	int			room = Max(desc->natts, natts);
	Datum	   *values = palloc0(room * sizeof(Datum));
	bool	   *nulls = palloc(room * sizeof(bool));

	memset(nulls, true, room * sizeof(bool));
	heap_deform_tuple(tuple, desc, values, nulls);
	image.values = values;
	image.nulls = nulls;
	image.tid = tuple->t_self;
	return image;
}

/* the row went nowhere: it was deleted */
static void
tell_deleted(Held *row)
{
	Relation	rel = table_open(row->relid, AccessShareLock);
	TeRowImage	old = image_of(row->tuple, row->desc, RelationGetDescr(rel)->natts);

	te_change_deleted(te_attachment_get(rel), rel, &old);
	table_close(rel, AccessShareLock);
	row->told_in = GetCurrentSubTransactionId();
	/* a rollback to a savepoint may yet take it back */
	if (row->told_in == row->held_in)
		free_held(row);
}

/* the held row is in fact what this INSERT made of it */
static void
tell_moved(Held *row, const TeAttachment *att, TriggerData *trigdata)
{
	TupleDesc	desc = RelationGetDescr(trigdata->tg_relation);
	TeRowImage	new = te_row_image(trigdata->tg_trigslot);
	TupleConversionMap *map = convert_tuples_by_name(row->desc, desc);
	HeapTuple	tuple = map ? execute_attr_map_tuple(row->tuple, map) : row->tuple;
	TeRowImage	old = image_of(tuple, desc, desc->natts);

	te_change_updated(att, trigdata->tg_relation, &old, &new);
	free_held(row);
}

bool
te_move_intercept(const TeAttachment *att, TriggerData *trigdata)
{
	bool		insert = TRIGGER_FIRED_BY_INSERT(trigdata->tg_event);
	int			depth;

	if (likely(!att->is_partition && held == NIL))
		return false;

	depth = te_trigger_depth();
	te_sequence_forget_move(depth);
	for (int i = list_length(held) - 1; i >= 0; i--)
	{
		Held	   *row = list_nth(held, i);

		if (row->told_in != InvalidSubTransactionId || row->depth < depth)
			continue;
		if (insert && row->depth == depth && row->number == att->number)
		{
			TeRowImage	new = te_row_image(trigdata->tg_trigslot);
			TeName		key = te_attachment_name(att, TE_COLUMN_KEY, new.values, new.nulls, false);

			if (te_counter_same_key(&key, &row->key))
			{
				tell_moved(row, att, trigdata);
				return true;
			}
		}
		tell_deleted(row);
	}

	if (TRIGGER_FIRED_BY_DELETE(trigdata->tg_event) && att->is_partition &&
		HeapTupleHeaderIndicatesMovedPartitions(trigdata->tg_trigtuple->t_data))
	{
		hold(att, trigdata, depth);
		return true;
	}
	return false;
}

static void
move_xact_callback(XactEvent event, void *arg)
{
	if (held == NIL)
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			PushActiveSnapshot(GetTransactionSnapshot());
			while (held != NIL)
			{
				Held	   *row = linitial(held);

				if (row->told_in == InvalidSubTransactionId)
					tell_deleted(row);
				else
					free_held(row);
			}
			PopActiveSnapshot();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_ABORT:
			held = NIL;			/* its memory goes with the transaction's */
			break;
		default:
			break;
	}
}

static void
move_subxact_callback(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (held == NIL || (event != SUBXACT_EVENT_ABORT_SUB && event != SUBXACT_EVENT_COMMIT_SUB))
		return;
	for (int i = list_length(held) - 1; i >= 0; i--)
	{
		Held	   *row = list_nth(held, i);

		if (event == SUBXACT_EVENT_COMMIT_SUB)
		{
			if (row->held_in == mine)
				row->held_in = parent;
			if (row->told_in == mine)
				row->told_in = parent;
			if (row->told_in == row->held_in)
				free_held(row);
		}
		else if (row->held_in == mine)
			free_held(row);
		else if (row->told_in == mine)
			row->told_in = InvalidSubTransactionId;
	}
}

void
te_move_init(void)
{
	RegisterXactCallback(move_xact_callback, NULL);
	RegisterSubXactCallback(move_subxact_callback, NULL);
}
