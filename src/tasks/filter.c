/*-------------------------------------------------------------------------
 *
 * filter.c
 *	  A Bloom filter of the keys in the counter ring.
 *
 * A lookup in the ring costs as much as the insert itself, and a hundred
 * thousand inserted rows are mostly not among the few that were deleted
 * today.  Once a statement has looked up so many keys that reading the whole
 * ring is cheaper than going on, it is read, and the rows that follow are
 * answered from memory.
 *
 * What that misses is what others append later.  After the rows are written
 * (settled) there is nothing to miss: whoever deletes one of these keys would
 * have to wait for us.  Before that a missed tombstone is found by the second
 * look, and the row corrected (sequence.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/memutils.h"

#include "log/ring.h"
#include "runtime/compat.h"
#include "tasks/counter.h"
#include "tasks/filter.h"

#define ROWS_A_PAGE		80		/* of the ring, about */
#define LOOKUP_COST		16		/* a lookup costs as much as reading so many rows */
#define LEAST_LOOKUPS	16
#define BITS_A_ROW		16
#define MAX_BITS		(UINT32_C(1) << 25) /* 4 MB */

typedef struct Filter
{
	LocalTransactionId lxid;	/* the statement that it is for */
	CommandId	cid;
	int64		lookups;		/* so far */
	int64		wanted;			/* made at so many */
	uint64		tombstones;		/* te_counter_tombstones() when it was made */
	uint32		mask;			/* number of bits - 1 */
	uint64	   *bits;			/* NULL = not yet made; in TopTransactionContext */
} Filter;

static Filter filters[2];		/* before and after the rows are written */

static void
add(Filter *filter, uint32 hash)
{
	for (int i = 0; i < 2; i++)
	{
		uint32		bit = (i == 0 ? hash : murmurhash32(hash)) & filter->mask;

		filter->bits[bit / 64] |= UINT64CONST(1) << (bit % 64);
	}
}

static bool
has(const Filter *filter, uint32 hash)
{
	for (int i = 0; i < 2; i++)
	{
		uint32		bit = (i == 0 ? hash : murmurhash32(hash)) & filter->mask;

		if (!(filter->bits[bit / 64] & (UINT64CONST(1) << (bit % 64))))
			return false;
	}
	return true;
}

static int64
rows_in_ring(void)
{
	int64		pages = 0;

	for (int i = 0; i < te_ring_segments(TE_RING_COUNTER); i++)
		pages += te_ring_segment_pages(TE_RING_COUNTER, i);
	return pages * ROWS_A_PAGE;
}

static void
make(Filter *filter)
{
	int64		rows = rows_in_ring();
	uint32		bits = 1024;
	TeRingScan *scan;
	TupleTableSlot *slot;

	while (bits < MAX_BITS && bits < rows * BITS_A_ROW)
		bits *= 2;
	filter->tombstones = te_counter_tombstones();
	filter->mask = bits - 1;
	filter->bits = MemoryContextAllocZero(TopTransactionContext, bits / 8);

	/* every row, whatever will become of it */
	scan = te_ring_scan_begin(TE_RING_COUNTER, PG_INT64_MIN, PG_INT64_MAX);
	while ((slot = te_ring_scan_next(scan)) != NULL)
	{
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		add(filter, (uint32) ((uint64) DatumGetInt64(slot_getattr(slot, TE_COUNTER_PLACE, &isnull)) >> 32));
	}
	te_ring_scan_end(scan);
}

bool
te_filter_may_hold(uint32 hash, bool settled, uint64 *as_of)
{
	Filter	   *filter = &filters[settled];
	LocalTransactionId lxid = te_compat_lxid();
	CommandId	cid = GetCurrentCommandId(false);

	if (filter->lxid != lxid || filter->cid != cid)
	{
		if (filter->lxid == lxid && filter->bits != NULL)
			pfree(filter->bits);
		memset(filter, 0, sizeof(*filter));
		filter->lxid = lxid;
		filter->cid = cid;
	}
	if (filter->bits == NULL)
	{
		filter->lookups++;
		if (filter->lookups < LEAST_LOOKUPS)
			return true;
		if (filter->lookups == LEAST_LOOKUPS)
			filter->wanted = rows_in_ring() / LOOKUP_COST;
		if (filter->lookups < filter->wanted)
			return true;
		make(filter);
	}
	if (has(filter, hash))
		return true;
	*as_of = filter->tombstones;
	return false;
}

void
te_filter_add(uint32 hash)
{
	LocalTransactionId lxid = te_compat_lxid();

	for (int i = 0; i < 2; i++)
	{
		if (filters[i].lxid == lxid && filters[i].bits != NULL)
			add(&filters[i], hash);
	}
}
