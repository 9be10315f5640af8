/*-------------------------------------------------------------------------
 *
 * ring.h
 *	  A ring of heap partitions that are only appended to and truncated.
 *
 * The current segment is named by a sequence ("register"), which is neither
 * decoded nor transactional: value n means segment n % segments.  Rows are
 * written by heap_insert with HEAP_INSERT_NO_LOGICAL, so that logical
 * decoding never sees them, and into one plain btree on the first column.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_LOG_RING_H
#define TE_LOG_RING_H

#include "access/htup.h"
#include "access/xlogdefs.h"
#include "executor/tuptable.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

typedef enum TeRingId
{
	TE_RING_LOG,				/* todo_events_internal.log: 16 segments */
	TE_RING_CURSOR,				/* todo_events_internal.cursor: 2 */
	TE_RING_IDEMPOTENCY,		/* todo_events_internal.idempotency: 3 */
	TE_RING_COUNTER,			/* todo_events_internal.counter: 3; sequences of tasks, and tombstones */
	TE_RING_COUNT
} TeRingId;

#define TE_RING_MAX_SEGMENTS 16

/*
 * Append one row (all columns but the segment, which is always the last and
 * filled in here).  The segment's heap and index stay open until the
 * transaction ends.
 */
extern void te_ring_append(TeRingId ring, Datum *values, bool *nulls);

/*
 * Visit, by the index, the rows whose first column lies in [lo, hi], in all
 * segments that hold anything, each as a slot, regardless of visibility
 * (SnapshotAny): the caller classifies.  Ordered by the first column over
 * all segments.  The slot's buffer is pinned while it is current.
 */
typedef struct TeRingScan TeRingScan;
extern TeRingScan *te_ring_scan_begin(TeRingId ring, int64 lo, int64 hi);
extern TupleTableSlot *te_ring_scan_next(TeRingScan *scan);
extern void te_ring_scan_end(TeRingScan *scan);

/* what a snapshot makes of the row in a slot of such a scan */
typedef enum TeRowState
{
	TE_ROW_VISIBLE,
	TE_ROW_UNDECIDED,			/* in progress in the snapshot, or this transaction's own */
	TE_ROW_ABORTED
} TeRowState;

extern TransactionId te_ring_slot_xmin(TupleTableSlot *slot);	/* FrozenTransactionId where it was frozen */
extern TransactionId te_ring_slot_inserter(TupleTableSlot *slot);	/* freezing does not hide it */
extern TeRowState te_ring_classify(TransactionId xmin, Snapshot snapshot);

/* is there any page in any segment?  Cheap: no row is read. */
extern bool te_ring_is_empty(TeRingId ring);

/* _PG_init */
extern void te_ring_init(void);

extern int	te_ring_segments(TeRingId ring);
extern int64 te_ring_current(TeRingId ring);	/* the register */

/* any sequence used as a register; lsn: NULL, or where its last change that a crash must not lose was logged */
extern int64 te_register_read(Oid sequence, XLogRecPtr *lsn);

extern Oid	te_ring_segment_oid(TeRingId ring, int segment);
extern Oid	te_ring_parent_oid(TeRingId ring);

/*
 * A relation of schema todo_events_internal.  Not by RangeVar: that would ask
 * for the caller's right to the schema, which an application has not.
 */
extern Oid	te_internal_relation(const char *name);

extern BlockNumber te_ring_segment_pages(TeRingId ring, int segment);	/* of the heap */

/* first column of the first and the last row by the index, whatever became of them; false if there are none */
extern bool te_ring_segment_bounds(TeRingId ring, int segment, int64 *min, int64 *max);

/*
 * A timestamptz column of the rows in the first page that holds any (the
 * least), or the last one (the greatest): rows come in order of time, or
 * nearly.  Rows of any visibility; 0 if there are none.
 */
extern TimestampTz te_ring_segment_time(TeRingId ring, int segment, int column, bool last);

/* next segment becomes current; the caller holds the rotation lock and knows it to be empty */
extern void te_ring_advance(TeRingId ring);

/*
 * Empty a segment by a new relfilenumber, with no logical TRUNCATE.  Takes
 * AccessExclusiveLock conditionally: false if anybody is in the way.
 * "check" (or NULL) is called under the lock and may refuse.
 */
extern bool te_ring_truncate(TeRingId ring, int segment,
							 bool (*check) (Relation segment, void *arg), void *arg);

#endif
