/*-------------------------------------------------------------------------
 *
 * cursor.c
 *	  Persisted cursors: appended rows, of which the latest of a reader wins.
 *
 * One writer (the engine) saves at most once a second and reader; the ring
 * of two segments turns when the current one has grown to a few hundred
 * kilobytes, so that nobody ever reads far and no row is ever dead.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "log/cursor.h"
#include "log/reader.h"
#include "log/ring.h"
#include "runtime/clock.h"

/* pages of a segment after which the ring turns */
#define TURN_PAGES	32

/* first look at this many of the newest rows, then eight times as many ... */
#define LOAD_WINDOW	64

static struct
{
	const char *name;
	bool		(*enabled) (void);
}			readers[16];
static int	nreaders = 0;

void
te_reader_register(const char *name, bool (*enabled) (void))
{
	if (nreaders == lengthof(readers))
		elog(ERROR, "too many readers of the event log");
	readers[nreaders].name = name;
	readers[nreaders].enabled = enabled;
	nreaders++;
}

List *
te_reader_names(void)
{
	List	   *names = NIL;

	for (int i = 0; i < nreaders; i++)
		names = lappend(names, unconstify(char *, readers[i].name));
	return names;
}

List *
te_reader_enabled_names(void)
{
	List	   *names = NIL;

	for (int i = 0; i < nreaders; i++)
	{
		if (readers[i].enabled())
			names = lappend(names, unconstify(char *, readers[i].name));
	}
	return names;
}

/* ---- registers --------------------------------------------------------- */

int64
te_log_floor(void)
{
	return te_register_read(te_internal_relation("log_floor"), NULL);
}

void
te_log_floor_raise(int64 id)
{
	Oid			floor = te_internal_relation("log_floor");

	if (id > te_register_read(floor, NULL))
		DirectFunctionCall2(setval_oid, ObjectIdGetDatum(floor), Int64GetDatum(id));
}

int64
te_log_last_id(void)
{
	return te_register_read(te_internal_relation("log_id"), NULL);
}

int64
te_log_end(void)
{
	int64		end = te_log_floor();

	for (int i = 0; i < te_ring_segments(TE_RING_LOG); i++)
	{
		int64		min;
		int64		max;

		if (te_ring_segment_bounds(TE_RING_LOG, i, &min, &max))
			end = Max(end, max);
	}
	return end;
}

XLogRecPtr
te_log_last_id_lsn(void)
{
	XLogRecPtr	lsn;

	(void) te_register_read(te_internal_relation("log_id"), &lsn);
	return lsn;
}

/* ---- rows --------------------------------------------------------------- */

void
te_cursor_save(const char *name, const char *mark)
{
	Datum		values[5];
	bool		nulls[5] = {0};

	(void) GetTopTransactionId();
	values[0] = Int64GetDatum(nextval_internal(te_internal_relation("cursor_number"), false));
	values[1] = CStringGetTextDatum(name);
	values[2] = CStringGetTextDatum(mark);
	values[3] = TimestampTzGetDatum(te_clock_now());
	te_ring_append(TE_RING_CURSOR, values, nulls);
}

/* the latest mark of a reader that the snapshot sees, and the segment it lies in */
static char *
cursor_latest(const char *name, Snapshot snapshot, int *segment)
{
	int64		last = te_register_read(te_internal_relation("cursor_number"), NULL);
	int64		window = LOAD_WINDOW;
	char	   *found = NULL;

	for (;;)
	{
		int64		from = Max(last - window, 0);
		TeRingScan *scan = te_ring_scan_begin(TE_RING_CURSOR, from, PG_INT64_MAX);
		TupleTableSlot *slot;

		/* ascending: the last match is the latest */
		while ((slot = te_ring_scan_next(scan)) != NULL)
		{
			bool		isnull;
			char	   *reader = TextDatumGetCString(slot_getattr(slot, 2, &isnull));

			if (strcmp(reader, name) == 0 &&
				te_ring_classify(te_ring_slot_xmin(slot), snapshot) == TE_ROW_VISIBLE)
			{
				if (found)
					pfree(found);
				found = TextDatumGetCString(slot_getattr(slot, 3, &isnull));
				*segment = DatumGetInt16(slot_getattr(slot, 5, &isnull));
			}
			pfree(reader);
		}
		te_ring_scan_end(scan);
		if (found != NULL || from == 0)
			return found;
		window *= 8;
	}
}

char *
te_cursor_load(const char *name, Snapshot snapshot)
{
	int			segment;

	return cursor_latest(name, snapshot ? snapshot : GetLatestSnapshot(), &segment);
}

/* the cursors that are nowhere but in this segment: how many; "carry" writes them again */
static int
cursors_only_in(int segment, bool carry)
{
	Snapshot	snapshot = GetLatestSnapshot();
	int			found = 0;

	for (int i = 0; i < nreaders; i++)
	{
		int			found_in;
		char	   *mark = cursor_latest(readers[i].name, snapshot, &found_in);

		if (mark != NULL && found_in == segment)
		{
			if (carry)
				te_cursor_save(readers[i].name, mark);
			found++;
		}
	}
	return found;
}

/* under the lock: the last word, since a save may have read the register before it turned */
static bool
former_may_go(Relation segment, void *arg)
{
	return cursors_only_in(*(int *) arg, false) == 0;
}

/*
 * Turn the ring.  The steps are calls (and so transactions) apart: the other
 * segment becomes current; the cursors that lie only in the former one are
 * written again; when that has committed, the former one is emptied.
 */
bool
te_cursor_maintain(void)
{
	int			current = (int) (te_ring_current(TE_RING_CURSOR) % 2);
	int			former = 1 - current;

	if (te_ring_segment_pages(TE_RING_CURSOR, former) > 0)
		return cursors_only_in(former, true) == 0 &&
			te_ring_truncate(TE_RING_CURSOR, former, former_may_go, &former);

	if (te_ring_segment_pages(TE_RING_CURSOR, current) >= TURN_PAGES)
		te_ring_advance(TE_RING_CURSOR);
	return false;
}

int64
te_cursor_low(const char *mark)
{
	TeMark		parsed;
	int64		low;

	if (!te_mark_parse(&parsed, mark))
		return 0;				/* unreadable: nothing may be removed on its word */
	low = te_mark_low(&parsed);
	te_mark_free(&parsed);
	return low;
}
