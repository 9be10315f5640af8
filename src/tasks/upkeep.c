/*-------------------------------------------------------------------------
 *
 * upkeep.c
 *	  Upkeep of the counter ring: three segments, of which the current one is
 *	  written to.
 *
 * When the current segment has grown, what is still needed of the oldest is
 * appended to the current one (the last number of each live task, and
 * tombstones that log_retention still asks for), and the oldest is emptied.
 * Copying twice does no harm: the highest number wins, wherever it stands.
 *
 * What keeps it from losing a number: the oldest segment is held with a
 * ShareLock while it is copied, got only if nobody is in the way.  Whoever
 * appends holds a RowExclusiveLock until its transaction has ended, so with
 * the lock in hand there is no row in the segment whose fate is open, and
 * none can come.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "log/ring.h"
#include "runtime/clock.h"
#include "runtime/settings.h"
#include "tasks/config.h"
#include "tasks/counter.h"

#define SEGMENTS			3
#define TURN_PAGES			4096	/* 32 MB: a smaller segment is not worth turning for */

/* tombstones are kept a little longer than anybody counts on them */
#define SLACK_US			(3600 * USECS_PER_SEC)

/* the last row of a key among those that share 32 bits of hash */
typedef struct Last
{
	TeName		key;
	int32		attachment;
	int64		sequence;
	TimestampTz at;
	bool		deleted;
	bool		elsewhere;		/* also in another segment than the one to be emptied */
} Last;

typedef struct Group
{
	int			n;
	int			room;
	Last	   *last;
	MemoryContext context;		/* of the keys' text */
} Group;

static bool
is_needed(const Last *last)
{
	TimestampTz retention = (int64) te_setting_int(TE_SET_LOG_RETENTION) * 1000;
	TimestampTz since = te_clock_now() - retention - SLACK_US;

	if (last->deleted)
		return last->at >= since;
	return te_config_remembered(last->attachment, since);
}

static bool
committed(TransactionId xmin)
{
	if (!TransactionIdIsNormal(xmin))
		return xmin == FrozenTransactionId;
	return !TransactionIdIsInProgress(xmin) && TransactionIdDidCommit(xmin);
}

static void
read_row(TupleTableSlot *slot, Last *row, int *segment)
{
	Datum	   *v;
	bool	   *n;

	slot_getallattrs(slot);
	v = slot->tts_values;
	n = slot->tts_isnull;
	memset(row, 0, sizeof(*row));
	row->attachment = DatumGetInt32(v[TE_COUNTER_ATTACHMENT - 1]);
	row->sequence = DatumGetInt64(v[TE_COUNTER_SEQUENCE - 1]);
	row->at = DatumGetTimestampTz(v[TE_COUNTER_AT - 1]);
	row->deleted = DatumGetBool(v[TE_COUNTER_DELETED - 1]);
	*segment = DatumGetInt16(v[TE_COUNTER_SEGMENT - 1]);
	if (!n[TE_COUNTER_KEY_UUID - 1])
	{
		row->key.kind = TE_NAME_UUID;
		row->key.uuid = *DatumGetUUIDP(v[TE_COUNTER_KEY_UUID - 1]);
	}
	else
	{
		char	   *key = TextDatumGetCString(v[TE_COUNTER_KEY_TEXT - 1]);

		row->key.kind = TE_NAME_TEXT;
		row->key.text = key;
		row->key.len = (int) strlen(key);
	}
}

/* carry forward what is needed of a group and stands nowhere but in the source; how many */
static int64
end_group(Group *group, bool carry)
{
	int64		needed = 0;

	for (int i = 0; i < group->n; i++)
	{
		Last	   *last = &group->last[i];

		if (last->elsewhere || !is_needed(last))
			continue;
		needed++;
		if (carry)
			te_counter_append_at(last->attachment, &last->key, last->sequence, last->deleted, last->at);
	}
	group->n = 0;
	MemoryContextReset(group->context);
	return needed;
}

static void
add_to_group(Group *group, TupleTableSlot *slot, int source)
{
	MemoryContext caller = MemoryContextSwitchTo(group->context);
	Last		row;
	int			segment;
	int			i;

	read_row(slot, &row, &segment);
	row.elsewhere = source >= 0 && segment != source;
	MemoryContextSwitchTo(caller);

	for (i = 0; i < group->n; i++)
	{
		Last	   *last = &group->last[i];

		if (last->attachment != row.attachment || !te_counter_same_key(&last->key, &row.key))
			continue;
		/* numbers come highest first; beyond 2^32 they share a place */
		if (row.sequence == last->sequence)
			last->elsewhere |= row.elsewhere;
		else if (row.sequence > last->sequence)
			*last = row;
		return;
	}
	if (group->n == group->room)
	{
		group->room *= 2;
		group->last = repalloc(group->last, group->room * sizeof(Last));
	}
	group->last[group->n++] = row;
}

/*
 * Go through the ring in order of place.  source >= 0: count (and carry) the
 * numbers that only this segment holds; -1: count what any segment holds.
 */
static int64
walk(int source, bool carry)
{
	TeRingScan *scan = te_ring_scan_begin(TE_RING_COUNTER, PG_INT64_MIN, PG_INT64_MAX);
	Group		group = {.n = 0, .room = 8};
	TupleTableSlot *slot;
	uint64		hash = 0;
	int64		needed = 0;

	group.last = palloc(group.room * sizeof(Last));
	group.context = AllocSetContextCreate(CurrentMemoryContext, "todo_events counter upkeep",
										  ALLOCSET_DEFAULT_SIZES);
	while ((slot = te_ring_scan_next(scan)) != NULL)
	{
		bool		isnull;
		uint64		place = (uint64) DatumGetInt64(slot_getattr(slot, TE_COUNTER_PLACE, &isnull));

		CHECK_FOR_INTERRUPTS();
		if (!committed(te_ring_slot_xmin(slot)))
			continue;
		if (group.n > 0 && place >> 32 != hash)
			needed += end_group(&group, carry);
		hash = place >> 32;
		add_to_group(&group, slot, source);
		/* all that is asked is whether there is anything */
		if (!carry && needed > 0)
			break;
	}
	needed += end_group(&group, carry);
	te_ring_scan_end(scan);
	MemoryContextDelete(group.context);
	pfree(group.last);
	return needed;
}

/* carry forward and empty one segment that is not the current one */
static bool
empty_segment(int segment)
{
	Oid			oid = te_ring_segment_oid(TE_RING_COUNTER, segment);

	/* do not copy for nothing: whoever reads it now (pg_dump) would keep us from emptying it */
	if (!ConditionalLockRelationOid(oid, AccessExclusiveLock))
		return false;
	UnlockRelationOid(oid, AccessExclusiveLock);
	if (!ConditionalLockRelationOid(oid, ShareLock))
		return false;
	(void) walk(segment, true);
	return te_ring_truncate(TE_RING_COUNTER, segment, NULL, NULL);
}

/*
 * Tables that deleted something long ago: empty the ring altogether, so that
 * inserts need not look into it.  Only when nothing in it is needed any more.
 */
static int
empty_all(void)
{
	static BlockNumber known_pages = 0; /* something is needed in a ring of this size */
	BlockNumber pages = 0;
	TimestampTz newest = 0;
	int			emptied = 0;

	for (int i = 0; i < SEGMENTS; i++)
	{
		BlockNumber n = te_ring_segment_pages(TE_RING_COUNTER, i);

		pages += n;
		if (n > 0)
			newest = Max(newest, te_ring_segment_time(TE_RING_COUNTER, i, TE_COUNTER_AT, true));
	}
	if (pages == known_pages ||
		newest >= te_clock_now() - (int64) te_setting_int(TE_SET_LOG_RETENTION) * 1000 - SLACK_US)
		return 0;
	for (int i = 0; i < SEGMENTS; i++)
	{
		if (!ConditionalLockRelationOid(te_ring_segment_oid(TE_RING_COUNTER, i), AccessExclusiveLock))
			return 0;
	}
	if (walk(-1, false) > 0)
	{
		known_pages = pages;
		return 0;
	}
	for (int i = 0; i < SEGMENTS; i++)
	{
		if (te_ring_segment_pages(TE_RING_COUNTER, i) > 0)
			emptied += te_ring_truncate(TE_RING_COUNTER, i, NULL, NULL);
	}
	te_counter_emptied();
	return emptied;
}

int
te_counter_maintain(void)
{
	int			current;
	int			next;
	int			former;
	BlockNumber pages;

	if (te_ring_is_empty(TE_RING_COUNTER))
		return 0;
	current = (int) (te_ring_current(TE_RING_COUNTER) % SEGMENTS);
	next = (current + 1) % SEGMENTS;
	former = (current + 2) % SEGMENTS;
	pages = te_ring_segment_pages(TE_RING_COUNTER, current);

	/* half of the former one: what is carried is not carried again before as much has come anew */
	if (pages < TURN_PAGES || pages < te_ring_segment_pages(TE_RING_COUNTER, former) / 2)
		return empty_all();
	if (te_ring_segment_pages(TE_RING_COUNTER, next) > 0)
		return empty_segment(next) ? 1 : 0;
	te_ring_advance(TE_RING_COUNTER);
	return 0;
}
