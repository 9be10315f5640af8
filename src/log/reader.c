/*-------------------------------------------------------------------------
 *
 * reader.c
 *	  Readers of the event log, and the rule by which they lose nothing and
 *	  wait for nobody.
 *
 * Ids become visible out of order: a transaction that drew id 7 may commit
 * after one that drew id 9, or never.  A reader that goes by "ids above the
 * highest seen" loses 7; one that stops at the first gap waits for every idle
 * transaction.  This reader remembers what it has seen undecided instead:
 *
 *	writer	takes its transaction id, THEN draws an id, THEN appends
 *	state	high		highest id looked at
 *			holes		ids <= high without a tuple when looked at, each with U
 *			pending		ids <= high whose inserter had not ended, by inserter
 *	cycle	S = one fresh MVCC snapshot for both steps
 *		1	re-look at holes, and at pending ids whose inserter S no longer
 *			sees as running, in id order, regardless of visibility:
 *				visible in S			emit
 *				running, or ended after S	pending
 *				aborted					forget
 *			in each case the id leaves its hole.  What is still without a
 *			tuple leaves the holes once S.xmin >= U.
 *		2	scan ids > high in order and classify the same way; an id without
 *			a tuple becomes a hole; high = last id seen; U = next transaction
 *			id, read AFTER the scan, for the new holes.
 *
 * Why U closes a hole: whoever drew an id below the highest one seen had
 * taken its transaction id before, hence below U; when S.xmin has reached U,
 * all of them have ended, and the look that S allowed found no tuple.  Taking
 * S's list of running transactions instead loses events (an id above S.xmax
 * may have been drawn below the highest id seen), and so does a U read before
 * the scan.  model/ has the rule as a checked model, with both shown to fail.
 *
 * An open transaction delays only its own events.  An inserter here is the
 * xmin of the row, so a savepoint's events are judged by themselves.
 *
 * A pending entry is a range of ids and an inserter; other rows in the range
 * are skipped.  An inserter whose ids lie far apart gets several entries, so
 * that re-looking at a long transaction does not mean re-reading all that
 * happened meanwhile.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "log/cursor.h"
#include "log/mark.h"
#include "log/reader.h"
#include "log/ring.h"
#include "log/row.h"
#include "runtime/errors.h"

/* the second range of an inserter begins when its ids jump by more than this, doubling with each range */
#define PENDING_GAP		256

/* rows looked at in one cycle, emitted or not */
#define SCAN_LIMIT		50000

struct TeReader
{
	MemoryContext context;
	char	   *name;
	TeMark		mark;			/* high, holes, pending */

	/* while a cycle runs */
	struct Cycle *cycle;
};

typedef enum CyclePhase
{
	PHASE_RELOOK,
	PHASE_SCAN
} CyclePhase;

typedef struct Cycle
{
	Snapshot	snapshot;
	uint64		next;			/* next transaction id when the cycle began, to widen others by */
	uint64		snapshot_xmin;	/* 64 bits */
	CyclePhase	phase;
	int64		at;				/* everything <= at is settled by this cycle */
	TeMark		before;			/* state at the start of the phase; ranges to re-look, sorted */
	TeRanges	ended;			/* pending entries of inserters that have ended in commit */
	TeMark		after;			/* what the cycle leaves: still pending, still missing */
	int64		missing_from;	/* first id of which "missing" is not yet noted */
	int			hole;			/* first hole of before that may reach beyond missing_from */

	/* last inserter classified: rows of one transaction come together */
	TransactionId xid;
	TeRowState	state;
	XLogRecPtr	lsn;
} Cycle;

/* ---- 64-bit transaction ids ------------------------------------------ */

static uint64
xid_next(void)
{
	return U64FromFullTransactionId(ReadNextFullTransactionId());
}

/* xids in rows and snapshots are within 2^31 of the next one, on either side */
static uint64
xid_widen(uint64 next, TransactionId xid)
{
	return next + (int64) (int32) (xid - (uint32) next);
}

/* ---- the parts of a cycle --------------------------------------------- */

static TeRowState
cycle_classify(Cycle *cycle, TransactionId xmin)
{
	if (xmin == cycle->xid)
		return cycle->state;
	cycle->xid = xmin;
	cycle->state = te_ring_classify(xmin, cycle->snapshot);
	if (cycle->state == TE_ROW_VISIBLE && TransactionIdIsNormal(xmin))
	{
		/* only an asynchronous commit leaves an LSN that may not be flushed yet */
		XLogRecPtr	lsn = TransactionIdGetCommitLSN(xmin);

		if (lsn > cycle->lsn)
			cycle->lsn = lsn;
	}
	return cycle->state;
}

/* the ids from missing_from up to and including id have no tuple, as far as they lie in holes */
static void
cycle_note_missing(Cycle *cycle, int64 id)
{
	TeRanges   *holes = &cycle->before.holes;

	while (cycle->hole < holes->n && holes->items[cycle->hole].lo <= id)
	{
		TeRange    *hole = &holes->items[cycle->hole];
		int64		lo = Max(hole->lo, cycle->missing_from);
		int64		hi = Min(hole->hi, id);

		/* once S.xmin >= U nobody is left who could fill it */
		if (lo <= hi && cycle->snapshot_xmin < hole->xid)
			te_ranges_add(&cycle->after.holes, lo, hi, hole->xid);
		if (hole->hi > id)
			break;
		cycle->hole++;
	}
	if (id >= cycle->missing_from)
		cycle->missing_from = id + 1;
}

/* is id inside a hole of the state before?  Called with ascending ids, after cycle_note_missing(id - 1). */
static bool
cycle_in_hole(const Cycle *cycle, int64 id)
{
	const TeRanges *holes = &cycle->before.holes;

	return cycle->hole < holes->n &&
		holes->items[cycle->hole].lo <= id && id <= holes->items[cycle->hole].hi;
}

/* does this row belong to an entry whose inserter has ended? */
static bool
cycle_was_pending(const Cycle *cycle, TransactionId inserter, int64 id)
{
	uint64		xid = xid_widen(cycle->next, inserter);

	/* an entry so old that its inserter's 32 bits have come round again: any row in its range may be its */
	if (cycle->ended.n > 0 && cycle->ended.items[0].xid + PG_INT32_MAX < cycle->next)
		return true;
	for (int i = te_ranges_find_xid(&cycle->ended, xid);
		 i < cycle->ended.n && cycle->ended.items[i].xid == xid; i++)
	{
		if (cycle->ended.items[i].lo <= id && id <= cycle->ended.items[i].hi)
			return true;
	}
	return false;
}

/* an id whose inserter has not ended for S */
static void
cycle_add_pending(Cycle *cycle, uint64 xid, int64 id)
{
	TeRanges   *pending = &cycle->after.pending;
	int			first = te_ranges_find_xid(pending, xid);
	int			end = first;
	int64		gap = PENDING_GAP;

	for (; end < pending->n && pending->items[end].xid == xid; end++)
	{
		TeRange    *r = &pending->items[end];

		if (id >= r->lo - gap && id <= r->hi + gap)
		{
			r->lo = Min(r->lo, id);
			r->hi = Max(r->hi, id);
			return;
		}
		if (gap < ((int64) 1 << 40))
			gap *= 2;
	}
	te_ranges_insert(pending, end, id, id, xid);
}

/*
 * The state if the cycle ended after the id it is at: what it has settled,
 * plus what it has not reached.
 */
static void
cycle_settle(Cycle *cycle, TeMark *out)
{
	te_mark_copy(out, &cycle->after);
	if (cycle->phase == PHASE_RELOOK)
	{
		out->high = cycle->before.high;
		for (int i = 0; i < cycle->ended.n; i++)
		{
			TeRange    *r = &cycle->ended.items[i];

			if (r->hi > cycle->at)
				te_ranges_insert_xid(&out->pending, Max(r->lo, cycle->at + 1), r->hi, r->xid);
		}
		for (int i = 0; i < cycle->before.holes.n; i++)
		{
			TeRange    *r = &cycle->before.holes.items[i];

			if (r->hi > cycle->at)
				te_ranges_add(&out->holes, Max(r->lo, cycle->at + 1), r->hi, r->xid);
		}
	}
	else
	{
		uint64		next = 0;

		out->high = Max(cycle->at, cycle->before.high);
		/* holes found by this scan carry no U yet: it is read now, after the rows */
		for (int i = 0; i < out->holes.n; i++)
		{
			if (out->holes.items[i].xid == 0)
			{
				if (next == 0)
					next = xid_next();
				out->holes.items[i].xid = next;
			}
		}
	}
}

/* ---- the cycle --------------------------------------------------------- */

typedef struct Pass
{
	TeReader   *reader;
	Cycle	   *cycle;
	TeReadLimit limit;
	int64		bytes;
	TeEmit		emit;
	void	   *arg;
	TeReadResult *result;
} Pass;

/* hand out one row; false: the cycle ends here */
static bool
pass_emit(Pass *pass, TupleTableSlot *slot)
{
	TeLogRow	row;
	bool		go_on;

	te_row_from_slot(&row, slot);
	pass->result->events++;
	pass->bytes += row.payload_len;
	go_on = pass->emit(pass->arg, pass->reader, &row);
	te_row_release(&row);
	return go_on && pass->result->events < pass->limit.events &&
		pass->bytes < pass->limit.bytes;
}

/* emit, remember or forget a row by what S makes of it; false: the cycle ends here */
static bool
pass_row(Pass *pass, TupleTableSlot *slot, int64 id, TransactionId xmin)
{
	Cycle	   *cycle = pass->cycle;

	switch (cycle_classify(cycle, xmin))
	{
		case TE_ROW_VISIBLE:
			return pass_emit(pass, slot);
		case TE_ROW_UNDECIDED:
			cycle_add_pending(cycle, xid_widen(cycle->next, xmin), id);
			break;
		case TE_ROW_ABORTED:
			break;
	}
	return true;
}

/* step 1 over one interval of ids; false: stopped */
static bool
pass_relook(Pass *pass, int64 lo, int64 hi)
{
	Cycle	   *cycle = pass->cycle;
	TeRingScan *scan = te_ring_scan_begin(TE_RING_LOG, lo, hi);
	TupleTableSlot *slot;
	bool		go_on = true;

	while (go_on && (slot = te_ring_scan_next(scan)) != NULL)
	{
		bool		isnull;
		int64		id = DatumGetInt64(slot_getattr(slot, 1, &isnull));
		TransactionId xmin = te_ring_slot_xmin(slot);
		bool		in_hole;

		CHECK_FOR_INTERRUPTS();
		pass->result->scanned++;
		cycle_note_missing(cycle, id - 1);
		in_hole = cycle_in_hole(cycle, id);
		cycle->missing_from = id + 1;
		cycle->at = id;
		if (in_hole || cycle_was_pending(cycle, te_ring_slot_inserter(slot), id))
			go_on = pass_row(pass, slot, id, xmin);
		if (pass->result->scanned >= SCAN_LIMIT)
			go_on = false;
	}
	te_ring_scan_end(scan);
	if (go_on)
	{
		cycle_note_missing(cycle, hi);
		cycle->at = hi;
	}
	return go_on;
}

/* step 2; false: stopped by a limit */
static bool
pass_scan(Pass *pass)
{
	Cycle	   *cycle = pass->cycle;
	TeRingScan *scan = te_ring_scan_begin(TE_RING_LOG, cycle->before.high + 1, PG_INT64_MAX);
	TupleTableSlot *slot;
	bool		go_on = true;

	while (go_on && (slot = te_ring_scan_next(scan)) != NULL)
	{
		bool		isnull;
		int64		id = DatumGetInt64(slot_getattr(slot, 1, &isnull));
		TransactionId xmin = te_ring_slot_xmin(slot);

		CHECK_FOR_INTERRUPTS();
		pass->result->scanned++;
		if (id > cycle->at + 1)
			te_ranges_add(&cycle->after.holes, cycle->at + 1, id - 1, 0);
		cycle->at = id;
		go_on = pass_row(pass, slot, id, xmin);
		if (pass->result->scanned >= SCAN_LIMIT)
			go_on = false;
	}
	te_ring_scan_end(scan);
	return go_on;
}

/*
 * Sort out the pending entries: inserters that still run for S are kept,
 * those that have ended go to "ended" (the look at their rows will tell
 * commit from abort).
 */
static void
cycle_sort_pending(Cycle *cycle)
{
	for (int i = 0; i < cycle->before.pending.n; i++)
	{
		TeRange    *r = &cycle->before.pending.items[i];
		bool		running = r->xid >= cycle->snapshot_xmin &&
			(TransactionIdIsCurrentTransactionId((TransactionId) r->xid) ||
			 XidInMVCCSnapshot((TransactionId) r->xid, cycle->snapshot));

		te_ranges_add(running ? &cycle->after.pending : &cycle->ended, r->lo, r->hi, r->xid);
	}
}

TeReadResult
te_reader_cycle(TeReader *reader, Snapshot snapshot, TeReadLimit limit, TeEmit emit, void *arg)
{
	TeReadResult result = {0};
	Cycle		cycle = {0};
	TeRanges	looks = {0};
	TeMark		settled = {0};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "todo_events reader cycle",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	Pass		pass = {reader, &cycle, limit, 0, emit, arg, &result};
	bool		go_on = true;

	cycle.snapshot = snapshot;
	cycle.next = xid_next();
	cycle.snapshot_xmin = xid_widen(cycle.next, snapshot->xmin);
	te_mark_copy(&cycle.before, &reader->mark);
	te_ranges_sort_disjoint(&cycle.before.holes);
	cycle_sort_pending(&cycle);
	reader->cycle = &cycle;

	PG_TRY();
	{
		/* step 1 */
		cycle.phase = PHASE_RELOOK;
		for (int i = 0; i < cycle.before.holes.n; i++)
			te_ranges_add(&looks, cycle.before.holes.items[i].lo, cycle.before.holes.items[i].hi, 0);
		for (int i = 0; i < cycle.ended.n; i++)
			te_ranges_add(&looks, cycle.ended.items[i].lo, cycle.ended.items[i].hi, 0);
		te_ranges_sort_disjoint(&looks);
		for (int i = 0; go_on && i < looks.n; i++)
			go_on = pass_relook(&pass, looks.items[i].lo, looks.items[i].hi);

		/* step 2 */
		if (go_on)
		{
			cycle.phase = PHASE_SCAN;
			cycle.at = cycle.before.high;
			go_on = pass_scan(&pass);
		}
	}
	PG_CATCH();
	{
		reader->cycle = NULL;	/* the state is as before the cycle */
		PG_RE_THROW();
	}
	PG_END_TRY();

	cycle_settle(&cycle, &settled);
	reader->cycle = NULL;

	MemoryContextSwitchTo(reader->context);
	te_mark_assign(&reader->mark, &settled);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);

	result.more = !go_on;
	result.last_id = reader->mark.high;
	result.unsettled = reader->mark.holes.n > 0 || reader->mark.pending.n > 0;
	if (result.events > 0)
		result.durable_at = te_log_durable_target(cycle.lsn);
	return result;
}

/* ---- the state -------------------------------------------------------- */

/* the state as of the row being emitted, or as the last cycle left it */
static const TeMark *
reader_state(const TeReader *reader, TeMark *buffer)
{
	if (reader->cycle == NULL)
		return &reader->mark;
	cycle_settle(reader->cycle, buffer);
	return buffer;
}

char *
te_reader_mark(const TeReader *reader)
{
	TeMark		buffer = {0};

	return te_mark_format(reader_state(reader, &buffer), xid_next(), TE_MARK_MAX);
}

char *
te_reader_token(const TeReader *reader)
{
	TeMark		buffer = {0};

	return te_token_format(reader_state(reader, &buffer), xid_next());
}

void
te_reader_seek_mark(TeReader *reader, const char *mark)
{
	MemoryContext caller = MemoryContextSwitchTo(reader->context);
	TeMark		parsed = {0};

	if (!te_mark_parse(&parsed, mark))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("invalid mark of reader \"%s\": \"%s\"", reader->name, mark)));
	te_mark_assign(&reader->mark, &parsed);
	te_mark_free(&parsed);
	MemoryContextSwitchTo(caller);
}

void
te_reader_seek_token(TeReader *reader, const char *token)
{
	MemoryContext caller = MemoryContextSwitchTo(reader->context);
	TeMark		parsed = {0};

	te_token_parse(&parsed, token);
	te_mark_assign(&reader->mark, &parsed);
	te_mark_free(&parsed);
	MemoryContextSwitchTo(caller);
}

TeReader *
te_reader_open(const char *name, MemoryContext parent)
{
	/* before the context is made: an error leaves nothing behind */
	char	   *mark = name[0] != '\0' ? te_cursor_load(name, NULL) : NULL;
	int64		floor = te_log_floor();
	MemoryContext context = AllocSetContextCreate(parent, "todo_events reader",
												  ALLOCSET_SMALL_SIZES);
	TeReader   *reader = MemoryContextAllocZero(context, sizeof(TeReader));

	reader->context = context;
	reader->name = MemoryContextStrdup(context, name);
	if (mark != NULL)
		te_reader_seek_mark(reader, mark);
	else
		reader->mark.high = floor;
	return reader;
}

void
te_reader_close(TeReader *reader)
{
	MemoryContextDelete(reader->context);
}
