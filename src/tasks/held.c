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
 * It is held back until that has come.  It is recognized by the row version
 * that it replaces, which was written by a statement further up.  What then
 * replaces its row, or inserts the key that it leaves free, waits with it.
 *
 * What nothing releases is appended when the outer statement is over, at the
 * latest before commit.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tupconvert.h"
#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "tasks/counter.h"
#include "tasks/held.h"
#include "tasks/sequence.h"

/* statements nested deeper than this are not put in order */
#define MAX_DEPTH	16

typedef struct Held
{
	bool		move;
	int32		number;			/* attachment */
	Oid			relid;			/* the table, or the partition that the row left */
	int			depth;			/* a move's own; else that of the outer statement */
	CommandId	cid;			/* of the outer statement */
	SubTransactionId held_in;
	SubTransactionId told_in;	/* where it was appended; InvalidSubTransactionId = not yet */
	TeName		key;			/* before; of an INSERT, after */
	bool		frees;			/* the key: deleted, or changed to another */
	int64		tombstone;		/* the number with which it does; 0 = it will stand in the ring only */
	TupleDesc	desc;
	HeapTuple	old;			/* NULL: inserted */
	HeapTuple	new;			/* NULL: deleted, or a move */
} Held;

static List *held = NIL;		/* in TopTransactionContext */

/* the statements whose AFTER triggers are running, by depth */
static struct
{
	TransactionId xid;			/* of the transaction that the entry is about */
	CommandId	cid;
}			running[MAX_DEPTH];

/* ---- holding ------------------------------------------------------------- */

static TeName
key_of(const TeAttachment *att, TupleTableSlot *slot)
{
	TeRowImage	row = te_row_image(slot);

	return te_attachment_name(att, TE_COLUMN_KEY, row.values, row.nulls, false);
}

static Held *
hold(const TeAttachment *att, TriggerData *trigdata, int depth)
{
	MemoryContext caller = MemoryContextSwitchTo(TopTransactionContext);
	Held	   *row = palloc0(sizeof(Held));
	TeName		new;

	row->number = att->number;
	row->relid = RelationGetRelid(trigdata->tg_relation);
	row->depth = depth;
	row->held_in = GetCurrentSubTransactionId();
	row->desc = CreateTupleDescCopy(RelationGetDescr(trigdata->tg_relation));
	if (TRIGGER_FIRED_BY_INSERT(trigdata->tg_event))
		row->new = heap_copytuple(trigdata->tg_trigtuple);
	else
		row->old = heap_copytuple(trigdata->tg_trigtuple);
	if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		row->new = heap_copytuple(trigdata->tg_newtuple);

	row->key = key_of(att, trigdata->tg_trigslot);
	if (row->key.kind == TE_NAME_TEXT)
		row->key.text = pnstrdup(row->key.text, row->key.len);
	if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		new = key_of(att, trigdata->tg_newslot);
	row->frees = TRIGGER_FIRED_BY_DELETE(trigdata->tg_event) ||
		(TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event) && !te_counter_same_key(&row->key, &new));
	if (row->frees && att->columns[TE_COLUMN_SEQUENCE] != InvalidAttrNumber)
	{
		TeRowImage	image = te_row_image(trigdata->tg_trigslot);

		row->tombstone = te_sequence_get(att, &image) + 1;
	}
	held = lappend(held, row);
	MemoryContextSwitchTo(caller);
	return row;
}

static void
hold_move(const TeAttachment *att, TriggerData *trigdata, int depth)
{
	hold(att, trigdata, depth)->move = true;
}

static void
free_held(Held *row)
{
	held = list_delete_ptr(held, row);
	if (row->old != NULL)
		heap_freetuple(row->old);
	if (row->new != NULL)
		heap_freetuple(row->new);
	FreeTupleDesc(row->desc);
	pfree(row);
}

/* ---- releasing ------------------------------------------------------------ */

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

static void
told(Held *row)
{
	row->told_in = GetCurrentSubTransactionId();
	/* a rollback to a savepoint may yet take it back */
	if (row->told_in == row->held_in)
		free_held(row);
}

/* as what it looked like: a move without an INSERT is a DELETE */
static void
tell(Held *row)
{
	Relation	rel = table_open(row->relid, AccessShareLock);
	const TeAttachment *att = te_attachment_get(rel);
	int			natts = RelationGetDescr(rel)->natts;
	TeRowImage	old;
	TeRowImage	new;

	if (row->old != NULL)
		old = image_of(row->old, row->desc, natts);
	if (row->new != NULL)
		new = image_of(row->new, row->desc, natts);
	if (row->new == NULL)
		te_change_deleted(att, rel, &old);
	else if (row->old == NULL)
		te_change_inserted(att, rel, &new);
	else
		te_change_updated(att, rel, &old, &new);
	table_close(rel, AccessShareLock);
	told(row);
}

static void
tell_moved(Held *row, const TeAttachment *att, TriggerData *trigdata)
{
	TupleDesc	desc = RelationGetDescr(trigdata->tg_relation);
	TeRowImage	new = te_row_image(trigdata->tg_trigslot);
	TupleConversionMap *map = convert_tuples_by_name(row->desc, desc);
	HeapTuple	tuple = map ? execute_attr_map_tuple(row->old, map) : row->old;
	TeRowImage	old = image_of(tuple, desc, desc->natts);

	te_change_updated(att, trigdata->tg_relation, &old, &new);
	told(row);
}

/* the event's statement is over when another one runs at its depth, or above */
static bool
is_over(const Held *row, int depth, CommandId cid)
{
	return row->told_in == InvalidSubTransactionId && depth <= row->depth &&
		(row->move ? depth < row->depth : cid != row->cid);
}

static void
tell_those_over(int depth, CommandId cid)
{
	List	   *copy = list_copy(held);
	ListCell   *cell;

	foreach(cell, copy)
	{
		if (is_over(lfirst(cell), depth, cid))
			tell(lfirst(cell));
	}
	list_free(copy);
}

static Held *
find_by_tid(Oid relid, const ItemPointerData *tid, bool by_new)
{
	ListCell   *cell;

	foreach(cell, held)
	{
		Held	   *row = lfirst(cell);
		HeapTuple	tuple = by_new ? row->new : row->old;

		if (!row->move && row->told_in == InvalidSubTransactionId && row->relid == relid &&
			tuple != NULL && ItemPointerEquals(&tuple->t_self, unconstify(ItemPointerData *, tid)))
			return row;
	}
	return NULL;
}

/* the last held event that leaves a key free, which an INSERT has to come after */
static Held *
find_freed(int32 number, const TeName *key)
{
	for (int i = list_length(held) - 1; i >= 0; i--)
	{
		Held	   *row = list_nth(held, i);

		if (!row->move && row->frees && row->told_in == InvalidSubTransactionId &&
			row->number == number && te_counter_same_key(&row->key, key))
			return row;
	}
	return NULL;
}

int64
te_held_tombstone(const TeAttachment *att, const TeName *key)
{
	Held	   *row = held != NIL ? find_freed(att->number, key) : NULL;

	return row != NULL ? row->tombstone : 0;
}

/* what has to come after a held event: the row's next version, or the next row of its key */
static Held *
find_next(const Held *row)
{
	ListCell   *cell;

	if (row->new != NULL)
		return find_by_tid(row->relid, &row->new->t_self, false);
	foreach(cell, held)
	{
		Held	   *next = lfirst(cell);

		if (next->old == NULL && next->told_in == InvalidSubTransactionId &&
			next->number == row->number && te_counter_same_key(&next->key, &row->key))
			return next;
	}
	return NULL;
}

/* ---- the events as they come ------------------------------------------------ */

static CommandId
command_of(TriggerData *trigdata)
{
	if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		return HeapTupleHeaderGetCmin(trigdata->tg_newtuple->t_data);
	if (TRIGGER_FIRED_BY_INSERT(trigdata->tg_event))
		return HeapTupleHeaderGetCmin(trigdata->tg_trigtuple->t_data);
	return HeapTupleHeaderGetCmax(trigdata->tg_trigtuple->t_data);
}

/* the INSERT that belongs to a DELETE held back at this depth, or the end of the wait for it */
static bool
end_move(const TeAttachment *att, TriggerData *trigdata, int depth)
{
	for (int i = list_length(held) - 1; i >= 0; i--)
	{
		Held	   *row = list_nth(held, i);

		if (!row->move || row->depth != depth || row->told_in != InvalidSubTransactionId)
			continue;
		if (TRIGGER_FIRED_BY_INSERT(trigdata->tg_event) && row->number == att->number)
		{
			TeName		key = key_of(att, trigdata->tg_trigslot);

			if (te_counter_same_key(&key, &row->key))
			{
				tell_moved(row, att, trigdata);
				return true;
			}
		}
		tell(row);
	}
	return false;
}

/*
 * Events of statements further down that replace what this one wrote may be
 * held already, for a shorter time: they wait for as long, and come after it.
 */
static void
followers_wait(const Held *row)
{
	Held	   *next;

	for (int n = list_length(held); n > 0 && (next = find_next(row)) != NULL; n--)
	{
		MemoryContext caller = MemoryContextSwitchTo(TopTransactionContext);

		next->depth = row->depth;
		next->cid = row->cid;
		held = lappend(list_delete_ptr(held, next), next);
		MemoryContextSwitchTo(caller);
		row = next;
	}
}

static void
hold_until(const TeAttachment *att, TriggerData *trigdata, int outer, CommandId cid)
{
	Held	   *row = hold(att, trigdata, outer);

	row->cid = cid;
	followers_wait(row);
}

/* was the row version that this event replaces written by a statement further up, whose event may be yet to come? */
static bool
hold_early(const TeAttachment *att, TriggerData *trigdata, int depth)
{
	HeapTupleHeader old = trigdata->tg_trigtuple->t_data;
	Held	   *before;
	CommandId	cmin;

	if (TRIGGER_FIRED_BY_INSERT(trigdata->tg_event))
	{
		TeName		key;

		if (held == NIL)
			return false;
		key = key_of(att, trigdata->tg_trigslot);
		before = find_freed(att->number, &key);
		if (before != NULL)
			hold_until(att, trigdata, before->depth, before->cid);
		return before != NULL;
	}
	if (!TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(old)))
		return false;

	/* what follows a held event has to wait as well */
	before = find_by_tid(RelationGetRelid(trigdata->tg_relation), &trigdata->tg_trigtuple->t_self, true);
	if (before != NULL)
	{
		hold_until(att, trigdata, before->depth, before->cid);
		return true;
	}

	cmin = HeapTupleHeaderGetCmin(old);
	for (int outer = Min(depth, MAX_DEPTH) - 1; outer > 0; outer--)
	{
		if (running[outer].xid == GetTopTransactionIdIfAny() && running[outer].cid == cmin)
		{
			hold_until(att, trigdata, outer, cmin);
			return true;
		}
	}
	return false;
}

bool
te_held_intercept(const TeAttachment *att, TriggerData *trigdata)
{
	int			depth;
	CommandId	cid;

	if (likely(!att->is_partition && !att->writes_follow && held == NIL))
	{
		/* the first statement's rows are written by nobody further up */
		if (likely(te_trigger_depth() <= 1))
			return false;
	}

	depth = te_trigger_depth();
	cid = command_of(trigdata);
	te_sequence_forget_move(depth);
	if (held != NIL)
	{
		tell_those_over(depth, cid);
		if (end_move(att, trigdata, depth))
			return true;
	}
	if (depth < MAX_DEPTH)
	{
		running[depth].xid = GetTopTransactionIdIfAny();
		running[depth].cid = cid;
	}
	if (att->is_partition && TRIGGER_FIRED_BY_DELETE(trigdata->tg_event) &&
		HeapTupleHeaderIndicatesMovedPartitions(trigdata->tg_trigtuple->t_data))
	{
		hold_move(att, trigdata, depth);
		return true;
	}
	return depth > 1 && hold_early(att, trigdata, depth);
}

void
te_held_done(const TeAttachment *att, TriggerData *trigdata)
{
	Oid			relid = RelationGetRelid(trigdata->tg_relation);
	ItemPointerData tid;
	Held	   *next;

	if (likely(held == NIL) || TRIGGER_FIRED_BY_DELETE(trigdata->tg_event))
		return;
	tid = TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event) ? trigdata->tg_newtuple->t_self :
		trigdata->tg_trigtuple->t_self;
	next = find_by_tid(relid, &tid, false);
	while (next != NULL)
	{
		Held	   *after = find_next(next);

		tell(next);
		next = after;
	}
}

void
te_held_before_truncate(void)
{
	if (held != NIL)
		tell_those_over(te_trigger_depth(), InvalidCommandId);
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

				if (row->told_in == InvalidSubTransactionId)
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
