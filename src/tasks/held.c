/*-------------------------------------------------------------------------
 *
 * held.c
 *	  Events that are held back for a while.
 *
 * Moves.  A row that an UPDATE moves to another partition fires DELETE on
 * the one and INSERT on the other.  Its old version is marked as moved (that
 * is how concurrent updaters find out), and the AFTER DELETE trigger sees the
 * mark.  It holds the row back.  The INSERT is the next event at the same
 * depth of triggers: with the same key it makes an update of the two.  With
 * another key, or if a BEFORE trigger of the other partition threw the row
 * away and there is no INSERT at all, the held row was deleted.
 *
 * Early events.  The AFTER triggers of a statement run when all its rows are
 * written.  A trigger of the application's that fires for the first row may
 * change the second one again: the event of that nested statement comes
 * before the event of the outer one for the same row, whose number is lower.
 * An event waits for the one that wrote the version that it replaces, and if
 * it gives a row a key, for those that left the key free (told.c knows which
 * have come).  When an event is appended, what waited for it follows.
 *
 * What nothing releases is appended when another outermost statement has
 * begun, at the latest before commit.  The table may have been altered or
 * dropped by then: a row is told by what its table was when it was written.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tupconvert.h"
#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "tasks/counter.h"
#include "tasks/held.h"
#include "tasks/sequence.h"
#include "tasks/told.h"

/* a row version; tuple NULL = none */
typedef struct Half
{
	Oid			relid;
	HeapTuple	tuple;
	Oid			filenode;		/* where its tid is good */
	const TeAttachment *att;	/* what the table was like; lives as long as the transaction */
	TeName		key;
} Half;

typedef struct Held
{
	bool		move;			/* its INSERT may be yet to come */
	bool		nested;			/* at a depth of triggers of more than 1 */
	bool		frees;			/* the old key: deleted, or changed to another */
	bool		takes;			/* the new key: inserted, or changed to it */
	int			depth;			/* a move's */
	int32		number;			/* attachment */
	SubTransactionId held_in;
	SubTransactionId told_in;	/* where it was appended; InvalidSubTransactionId = not yet */
	Half		old;
	Half		new;
} Held;

static List *held = NIL;		/* in TopTransactionContext, in order of time */

static bool
is_waiting(const Held *row)
{
	return row->told_in == InvalidSubTransactionId;
}

/* ---- holding ------------------------------------------------------------- */

static TeName
key_of(const TeAttachment *att, TupleTableSlot *slot)
{
	TeRowImage	row = te_row_image(slot);

	return te_attachment_name(att, TE_COLUMN_KEY, row.values, row.nulls, false);
}

static void
keep(Half *half, const TeAttachment *att, Relation rel, HeapTuple tuple, TupleTableSlot *slot)
{
	MemoryContext caller = MemoryContextSwitchTo(TopTransactionContext);

	half->relid = RelationGetRelid(rel);
	half->filenode = rel->rd_rel->relfilenode;
	half->tuple = heap_copytuple(tuple);
	half->att = att;
	half->key = key_of(att, slot);
	if (half->key.kind == TE_NAME_TEXT)
		half->key.text = pnstrdup(half->key.text, half->key.len);
	MemoryContextSwitchTo(caller);
}

static bool
changes_key(const TeAttachment *att, TriggerData *trigdata)
{
	int			i = att->columns[TE_COLUMN_KEY] - 1;
	TeRowImage	old;
	TeRowImage	new;

	if (!TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		return false;
	old = te_row_image(trigdata->tg_trigslot);
	new = te_row_image(trigdata->tg_newslot);
	return te_attachment_differs(RelationGetDescr(trigdata->tg_relation), i, old.values[i], old.nulls[i],
								 new.values[i], new.nulls[i]);
}

static Held *
hold(const TeAttachment *att, TriggerData *trigdata, int depth)
{
	Relation	rel = trigdata->tg_relation;
	bool		inserted = TRIGGER_FIRED_BY_INSERT(trigdata->tg_event);
	bool		changed = changes_key(att, trigdata);
	Held	   *row = MemoryContextAllocZero(TopTransactionContext, sizeof(Held));
	MemoryContext caller;

	row->nested = depth > 1;
	row->depth = depth;
	row->frees = changed || TRIGGER_FIRED_BY_DELETE(trigdata->tg_event);
	row->takes = changed || inserted;
	row->number = att->number;
	row->held_in = GetCurrentSubTransactionId();
	keep(inserted ? &row->new : &row->old, att, rel, trigdata->tg_trigtuple, trigdata->tg_trigslot);
	if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		keep(&row->new, att, rel, trigdata->tg_newtuple, trigdata->tg_newslot);

	caller = MemoryContextSwitchTo(TopTransactionContext);
	held = lappend(held, row);
	MemoryContextSwitchTo(caller);
	return row;
}

static void
free_half(Half *half)
{
	if (half->tuple == NULL)
		return;
	heap_freetuple(half->tuple);
}

static void
free_held(Held *row)
{
	held = list_delete_ptr(held, row);
	free_half(&row->old);
	free_half(&row->new);
	pfree(row);
}

/* ---- what an event waits for ------------------------------------------------- */

/* the held event that wrote a version, or the one that replaced it */
static bool
is_held(Oid relid, const ItemPointerData *tid, bool as_new)
{
	ListCell   *cell;

	foreach(cell, held)
	{
		Held	   *row = lfirst(cell);
		Half	   *half = as_new ? &row->new : &row->old;

		if (is_waiting(row) && half->tuple != NULL && half->relid == relid &&
			ItemPointerEquals(&half->tuple->t_self, unconstify(ItemPointerData *, tid)))
			return true;
	}
	return false;
}

static bool
must_wait_for_written(Oid relid, HeapTuple version, bool nested)
{
	return is_held(relid, &version->t_self, true) || (nested && !te_told_written(relid, version));
}

typedef struct Taken
{
	CommandId	command;		/* which took the key */
	bool		nested;
} Taken;

static bool
must_wait_for_replaced(Relation rel, TupleTableSlot *slot, void *arg)
{
	const Taken *taken = arg;
	Oid			relid = RelationGetRelid(rel);
	HeapTuple	version = ExecFetchSlotHeapTuple(slot, false, NULL);

	/* the row that took the key may be dead by now as well */
	if (HeapTupleHeaderGetCmax(version->t_data) > taken->command)
		return false;
	return is_held(relid, &version->t_self, false) || (taken->nested && !te_told_replaced(relid, version));
}

static bool
must_wait_for_key(const TeAttachment *att, Relation rel, Datum key, HeapTuple new, bool nested)
{
	Taken		taken = {.command = HeapTupleHeaderGetCmin(new->t_data),.nested = nested};

	return te_told_each_dead(att, rel, key, must_wait_for_replaced, &taken);
}

static bool
must_wait(const Held *row)
{
	Relation	rel;
	const TeAttachment *att;
	Datum		key;
	bool		isnull;
	bool		result;

	if (row->old.tuple != NULL && must_wait_for_written(row->old.relid, row->old.tuple, row->nested))
		return true;
	att = row->new.att;
	/* whoever altered the table since had to wait for the statements that use it */
	if (!row->takes || !att->valid)
		return false;
	rel = table_open(row->new.relid, AccessShareLock);
	key = heap_getattr(row->new.tuple, att->columns[TE_COLUMN_KEY], att->desc, &isnull);
	result = must_wait_for_key(att, rel, key, row->new.tuple, row->nested);
	table_close(rel, AccessShareLock);
	return result;
}

/* the same for an event that comes */
static bool
is_early(const TeAttachment *att, TriggerData *trigdata, bool nested)
{
	Relation	rel = trigdata->tg_relation;
	bool		inserted = TRIGGER_FIRED_BY_INSERT(trigdata->tg_event);
	int			i = att->columns[TE_COLUMN_KEY] - 1;
	Datum		key;

	if (!nested && held == NIL)
		return false;
	if (!inserted && must_wait_for_written(RelationGetRelid(rel), trigdata->tg_trigtuple, nested))
		return true;
	if (!inserted && !changes_key(att, trigdata))
		return false;
	key = te_row_image(inserted ? trigdata->tg_trigslot : trigdata->tg_newslot).values[i];
	return must_wait_for_key(att, rel, key, inserted ? trigdata->tg_trigtuple : trigdata->tg_newtuple, nested);
}

/* ---- releasing ------------------------------------------------------------ */

static TeRowImage
image_of(HeapTuple tuple, TupleDesc desc)
{
	TeRowImage	image;
	Datum	   *values = palloc(desc->natts * sizeof(Datum));
	bool	   *nulls = palloc(desc->natts * sizeof(bool));

	heap_deform_tuple(tuple, desc, values, nulls);
	image.values = values;
	image.nulls = nulls;
	image.tid = tuple->t_self;
	return image;
}

/* of the version that was replaced, as a row of the relation that the new one is in */
static TeRowImage
old_image(const Held *row, const TeAttachment *att)
{
	TupleConversionMap *map = NULL;

	if (row->old.att != att)
		map = convert_tuples_by_name(row->old.att->desc, att->desc);
	return image_of(map != NULL ? execute_attr_map_tuple(row->old.tuple, map) : row->old.tuple, att->desc);
}

/* as what it looked like: a move without an INSERT is a DELETE */
static void
tell(Held *row)
{
	const Half *half = row->new.tuple != NULL ? &row->new : &row->old;
	const TeAttachment *att = half->att;
	Relation	rel = try_relation_open(half->relid, AccessShareLock);
	/* the table is dropped, or was written anew: nothing can be corrected in it */
	bool		gone = rel == NULL || rel->rd_rel->relfilenode != half->filenode;
	TeRowImage	old;
	TeRowImage	new;

	if (row->old.tuple != NULL)
		old = old_image(row, att);
	if (row->new.tuple != NULL)
		new = image_of(row->new.tuple, att->desc);
	if (row->new.tuple == NULL)
		te_change_deleted(att, &old);
	else if (row->old.tuple == NULL)
		te_change_inserted(att, gone ? NULL : rel, &new);
	else
		te_change_updated(att, gone ? NULL : rel, &old, &new);
	if (rel != NULL)
		relation_close(rel, AccessShareLock);

	te_told_add(row->old.relid, row->old.tuple, row->new.relid, row->new.tuple);
	row->told_in = GetCurrentSubTransactionId();
	/* a rollback to a savepoint may yet take it back */
	if (row->told_in == row->held_in)
		free_held(row);
}

/* what may have waited for an event: its version's next one, and the next row of the key that it left free */
static List *
add_followers(List *list, int32 number, Oid relid, const ItemPointerData *written, const TeName *freed)
{
	ListCell   *cell;

	foreach(cell, held)
	{
		Held	   *row = lfirst(cell);

		if (row->move || !is_waiting(row) || row->number != number)
			continue;
		if ((written != NULL && row->old.tuple != NULL && row->old.relid == relid &&
			 ItemPointerEquals(&row->old.tuple->t_self, unconstify(ItemPointerData *, written))) ||
			(freed != NULL && row->takes && te_counter_same_key(&row->new.key, freed)))
			list = list_append_unique_ptr(list, row);
	}
	return list;
}

/* tells those of a list that need not wait any longer, and what waited for them */
static void
release(List *list)
{
	while (list != NIL)
	{
		Held	   *row = linitial(list);

		list = list_delete_first(list);
		if (!list_member_ptr(held, row) || !is_waiting(row) || must_wait(row))
			continue;
		list = add_followers(list, row->number, row->new.relid,
							 row->new.tuple != NULL ? &row->new.tuple->t_self : NULL,
							 row->frees ? &row->old.key : NULL);
		tell(row);
	}
}

static void
release_all(void)
{
	List	   *list = NIL;
	ListCell   *cell;

	foreach(cell, held)
	{
		Held	   *row = lfirst(cell);

		if (!row->move)
			list = lappend(list, row);
	}
	release(list);
}

/* ---- the events as they come ------------------------------------------------ */

/* the INSERT that belongs to a DELETE held back at this depth, or the end of the wait for it */
static bool
end_move(const TeAttachment *att, TriggerData *trigdata, int depth)
{
	for (int i = list_length(held) - 1; i >= 0; i--)
	{
		Held	   *row = list_nth(held, i);
		bool		found = false;

		if (!row->move || row->depth < depth || !is_waiting(row))
			continue;
		if (TRIGGER_FIRED_BY_INSERT(trigdata->tg_event) && row->depth == depth && row->number == att->number &&
			HeapTupleHeaderGetCmax(row->old.tuple->t_data) ==
			HeapTupleHeaderGetCmin(trigdata->tg_trigtuple->t_data))
		{
			TeName		key = key_of(att, trigdata->tg_trigslot);

			found = te_counter_same_key(&key, &row->old.key);
		}
		row->move = false;
		row->frees = !found;
		if (found)
			keep(&row->new, att, trigdata->tg_relation, trigdata->tg_trigtuple, trigdata->tg_trigslot);
		release(list_make1(row));
		if (found)
			return true;
		i = Min(i, list_length(held));
	}
	return false;
}

bool
te_held_intercept(const TeAttachment *att, TriggerData *trigdata)
{
	int			depth = te_trigger_depth();
	bool		first = te_told_begin(trigdata, depth);
	TeRowImage	old = {.tid = trigdata->tg_trigtuple->t_self};

	if (likely(!att->is_partition && !att->writes_follow && held == NIL && depth <= 1))
		return false;

	te_sequence_forget_move(depth);
	if (held != NIL)
	{
		if (end_move(att, trigdata, depth))
			return true;
		if (first)
			release_all();
	}
	if (att->is_partition && TRIGGER_FIRED_BY_DELETE(trigdata->tg_event) &&
		HeapTupleHeaderIndicatesMovedPartitions(trigdata->tg_trigtuple->t_data))
	{
		hold(att, trigdata, depth)->move = true;
		return true;
	}
	if (te_sequence_is_correction(trigdata->tg_relation, &old) || !is_early(att, trigdata, depth > 1))
		return false;
	(void) hold(att, trigdata, depth);
	return true;
}

void
te_held_done(const TeAttachment *att, TriggerData *trigdata)
{
	Oid			relid = RelationGetRelid(trigdata->tg_relation);
	HeapTuple	old = NULL;
	HeapTuple	new = NULL;
	TeName		key;
	bool		frees;

	if (likely(!att->writes_follow && held == NIL && te_trigger_depth() <= 1))
		return;
	if (TRIGGER_FIRED_BY_INSERT(trigdata->tg_event))
		new = trigdata->tg_trigtuple;
	else
		old = trigdata->tg_trigtuple;
	if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		new = trigdata->tg_newtuple;
	te_told_add(relid, old, relid, new);
	if (held == NIL)
		return;

	frees = TRIGGER_FIRED_BY_DELETE(trigdata->tg_event) || changes_key(att, trigdata);
	if (frees)
		key = key_of(att, trigdata->tg_trigslot);
	release(add_followers(NIL, att->number, relid, new != NULL ? &new->t_self : NULL, frees ? &key : NULL));
}

static bool
raise_tombstone(Relation rel, TupleTableSlot *slot, void *arg)
{
	int64	   *tombstone = arg;
	TeRowImage	row = te_row_image(slot);

	*tombstone = Max(*tombstone, te_sequence_get(te_attachment_get(rel), &row) + 1);
	return false;
}

int64
te_held_tombstone(const TeAttachment *att, Relation rel, Datum key)
{
	int64		tombstone = 0;

	if (unlikely(held != NIL || te_trigger_depth() > 1))
		(void) te_told_each_dead(att, rel, key, raise_tombstone, &tombstone);
	return tombstone;
}

void
te_held_before_truncate(int32 number)
{
	List	   *copy = list_copy(held);
	ListCell   *cell;

	/* the table is used by no other statement: all its events have come */
	foreach(cell, copy)
	{
		Held	   *row = lfirst(cell);

		if (list_member_ptr(held, row) && row->number == number && is_waiting(row))
			tell(row);
	}
	list_free(copy);
}

/* ---- the transaction's end ---------------------------------------------------- */

static void
held_xact_callback(XactEvent event, void *arg)
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

				if (is_waiting(row))
					tell(row);
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
held_subxact_callback(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
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
te_held_init(void)
{
	RegisterXactCallback(held_xact_callback, NULL);
	RegisterSubXactCallback(held_subxact_callback, NULL);
}
