/*-------------------------------------------------------------------------
 *
 * maintain.c
 *	  Rotation of the event log: which segment is written to, and when an old
 *	  one is emptied.
 *
 * A segment is emptied when its newest row is older than log_retention, and
 * no enabled reader has anything left in it: the ids up to its last one are
 * compared with the lowest id that each reader's persisted cursor has not
 * accounted for, under the lock that keeps writers and readers out.  The lock
 * is only ever tried: a long transaction that has read the log puts it off.
 *
 * The ring has more segments than are needed for the retention, and a log
 * that readers or the retention hold fast grows in its current segment
 * (log_full = grow) rather than stopping anybody.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "log/cursor.h"
#include "log/idempotency.h"
#include "log/log.h"
#include "log/maintain.h"
#include "log/reader.h"
#include "log/ring.h"
#include "log/row.h"
#include "runtime/clock.h"
#include "runtime/settings.h"
#include "runtime/shmem.h"
#include "runtime/worker.h"

/* the retention is spread over so many segments; the others are spare */
#define SEGMENTS_A_RETENTION	8

/* something is due, but held up: look again after this long */
#define RETRY_AFTER_US			(60 * USECS_PER_SEC)

/* held up by somebody's lock for longer than this, and a segment's time: worth telling */
#define HELD_LONG_US			(10 * SECS_PER_MINUTE * USECS_PER_SEC)

static TeMaintainCallback callbacks[8];
static int	ncallbacks = 0;
static TeDroppedCallback dropped_callback = NULL;

/* a segment that should go, but is in use; since 0 = none */
static struct
{
	int			segment;
	TimestampTz since;
	TimestampTz known_since;	/* as the round before had it */
}			held;

/* the last id that this transaction has removed; becomes the floor if it commits */
static int64 removed = 0;

void
te_maintain_register(TeMaintainCallback callback)
{
	if (ncallbacks == lengthof(callbacks))
		elog(ERROR, "too many upkeep callbacks");
	callbacks[ncallbacks++] = callback;
}

void
te_maintain_on_dropped(TeDroppedCallback callback)
{
	dropped_callback = callback;
}

static int64
retention_us(void)
{
	return (int64) te_setting_int(TE_SET_LOG_RETENTION) * 1000;
}

static int64
max_bytes(void)
{
	return (int64) te_setting_int(TE_SET_LOG_MAX_SIZE) * 1024 * 1024;
}

/* ---- emptying a segment ------------------------------------------------- */

typedef struct Emptying
{
	int			segment;
	bool		drop;			/* drop_oldest: readers are told instead of asked */
	bool		locked;			/* out: nobody was in the way */
	int64		max;			/* out: last id removed */
} Emptying;

/* under the lock: may it go? */
static bool
segment_may_go(Relation rel, void *arg)
{
	Emptying   *e = arg;
	ListCell   *cell;
	int64		min;

	e->locked = true;
	/* nobody can append now: this is the last word on what it holds */
	if (RelationGetRelid(rel) ==
		te_ring_segment_oid(TE_RING_LOG, (int) (te_ring_current(TE_RING_LOG) % te_ring_segments(TE_RING_LOG))))
		return false;
	if (!te_ring_segment_bounds(TE_RING_LOG, e->segment, &min, &e->max))
		return true;
	foreach(cell, te_reader_enabled_names())
	{
		const char *name = lfirst(cell);
		char	   *mark = te_cursor_load(name, NULL);
		int64		low = mark ? te_cursor_low(mark) : te_log_floor() + 1;

		if (low > e->max)
			continue;
		if (!e->drop)
			return false;
		/* of this segment, and beyond those that went before: two that were written to at once share ids */
		low = Max(low, Max(min, Max(te_log_floor(), removed) + 1));
		if (dropped_callback != NULL && low <= e->max)
			dropped_callback(name, low, e->max);
	}
	return true;
}

static bool
empty_segment(int segment, bool drop)
{
	Emptying	e = {.segment = segment, .drop = drop, .max = 0};

	if (!te_ring_truncate(TE_RING_LOG, segment, segment_may_go, &e))
	{
		if (!e.locked)
		{
			held.segment = segment;
			held.since = held.known_since != 0 ? held.known_since : te_clock_now();
		}
		return false;
	}
	removed = Max(removed, e.max);
	return true;
}

/*
 * The floor is a register, which no rollback takes back: it is raised only
 * when nothing can take the rows' removal back any more, and before the lock
 * on them goes.
 */
static void
maintain_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (removed > 0)
				te_log_floor_raise(removed);
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
			removed = 0;
			break;
		default:
			break;
	}
}

void
te_maintain_init(void)
{
	RegisterXactCallback(maintain_xact_callback, NULL);
}

/* ---- one round ----------------------------------------------------------- */

/*
 * When the last event of a segment was appended.  By id, not by place: a
 * backend goes on filling the page that it began while others have gone on
 * to later ones.
 */
static TimestampTz
newest_event(int segment)
{
	TimestampTz newest = 0;
	int64		min;
	int64		max;

	if (te_ring_segment_bounds(TE_RING_LOG, segment, &min, &max))
	{
		TeRingScan *scan = te_ring_scan_begin(TE_RING_LOG, max, max);
		TupleTableSlot *slot = te_ring_scan_next(scan);
		bool		isnull;

		if (slot != NULL)
			newest = DatumGetTimestampTz(slot_getattr(slot, TE_LOG_TIME, &isnull));
		te_ring_scan_end(scan);
	}
	return newest;
}

/* turn to the next segment if the current one is full or old enough; when it will be old enough */
static TimestampTz
turn_log(TimestampTz now)
{
	int			n = te_ring_segments(TE_RING_LOG);
	int			current = (int) (te_ring_current(TE_RING_LOG) % n);
	int			next = (current + 1) % n;
	TimestampTz since;
	TimestampTz due;

	if (te_ring_segment_pages(TE_RING_LOG, current) == 0)
		return DT_NOEND;
	since = te_ring_segment_time(TE_RING_LOG, current, TE_LOG_TIME, false);
	due = since + retention_us() / SEGMENTS_A_RETENTION;
	if (now < due && te_log_segment_bytes(current) < max_bytes() / n)
		return due;
	if (te_ring_segment_pages(TE_RING_LOG, next) > 0)
		return now + RETRY_AFTER_US;	/* held fast: the current one grows */
	te_ring_advance(TE_RING_LOG);
	return DT_NOEND;			/* the new one is empty */
}

/* empty what is past its time; when the next one will be */
static TimestampTz
empty_expired(TimestampTz now, int *emptied)
{
	int			n = te_ring_segments(TE_RING_LOG);
	int64		current = te_ring_current(TE_RING_LOG);
	bool		over = te_setting_int(TE_SET_LOG_FULL) == TE_LOG_FULL_DROP_OLDEST &&
		te_log_size() >= max_bytes();

	/* from the oldest on */
	for (int64 i = current + 1; i < current + n; i++)
	{
		int			segment = (int) (i % n);
		TimestampTz newest;

		if (te_ring_segment_pages(TE_RING_LOG, segment) == 0)
			continue;
		newest = newest_event(segment);
		if (!over && newest + retention_us() > now)
			return newest + retention_us();
		if (!empty_segment(segment, over))
			return now + RETRY_AFTER_US;
		(*emptied)++;
		CommandCounterIncrement();
		over = over && te_log_size() >= max_bytes();
	}
	return DT_NOEND;
}

int
te_log_maintain(TimestampTz *next_due)
{
	TimestampTz now = te_clock_now();
	int			emptied = 0;
	TimestampTz turn_due;
	TimestampTz empty_due;

	*next_due = now + RETRY_AFTER_US;
	if (!ConditionalLockRelationOid(te_ring_parent_oid(TE_RING_LOG), ShareUpdateExclusiveLock))
		return 0;
	held.known_since = held.since;
	held.since = 0;

	/*
	 * Empty first: turning wants an empty segment.  But not one that this
	 * transaction has emptied: until its commit writers would wait for it.
	 */
	empty_due = empty_expired(now, &emptied);
	turn_due = emptied > 0 ? now : turn_log(now);
	*next_due = Min(turn_due, empty_due);

	emptied += te_cursor_maintain();
	emptied += te_idempotency_maintain();
	for (int i = 0; i < ncallbacks; i++)
		emptied += callbacks[i] ();
	return emptied;
}

/* ---- health -------------------------------------------------------------- */

void
te_log_check_held(void)
{
	TimestampTz long_ago = te_clock_now() - Max(HELD_LONG_US, retention_us() / SEGMENTS_A_RETENTION);

	if (held.since == 0 || held.since > long_ago)
	{
		te_worker_health(0, "rotation", NULL, NULL);
		return;
	}
	te_worker_health(2, "rotation",
					 psprintf("the event log cannot be rotated: its table log_%d is in use since %s",
							  held.segment, timestamptz_to_str(held.since)),
					 psprintf("It grows meanwhile. By whom, as a rule a transaction left open: SELECT pid FROM pg_locks WHERE relation = 'todo_events_internal.log_%d'::regclass.",
							  held.segment));
}

void
te_log_check_size(void)
{
	int64		bytes = te_log_size();
	int64		limit = max_bytes();
	const char *full = te_setting_int(TE_SET_LOG_FULL) == TE_LOG_FULL_REFUSE_WRITES
		? "writes are refused" :
		te_setting_int(TE_SET_LOG_FULL) == TE_LOG_FULL_DROP_OLDEST
		? "the oldest events are dropped" : "it goes on growing";
	char		message[TE_HEALTH_TEXT];

	if (bytes < limit / 2)
	{
		te_worker_health(0, "log", NULL, NULL);
		return;
	}
	/* a message per tenth, so that the server log gets a line at each and no more */
	if (bytes >= limit)
		snprintf(message, sizeof(message),
				 "event log has reached todo_events.log_max_size (%d MB): %s",
				 te_setting_int(TE_SET_LOG_MAX_SIZE), full);
	else
		snprintf(message, sizeof(message),
				 "event log has filled %d %% of todo_events.log_max_size (%d MB)",
				 (int) (bytes * 10 / limit) * 10, te_setting_int(TE_SET_LOG_MAX_SIZE));
	te_worker_health(bytes >= limit / 10 * 8 ? 3 : 2, "log", message,
					 "See todo_events.lag for the reader that is behind; the log is kept for todo_events.log_retention and until every reader has read it.");
}
