/*-------------------------------------------------------------------------
 *
 * ring.c
 *	  Rings of heap partitions that are only appended to and truncated.
 *
 * Why not INSERT: a row trigger that goes through SPI and the executor costs
 * several times what the row itself costs.  Here a row is one heap_insert
 * and one index_insert, with heap and index opened once a transaction.
 *
 * The open relations belong to the top transaction's resource owner, so that
 * a rolled back savepoint does not take them away; they are closed before
 * commit, and on abort the resource owner does it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "commands/sequence.h"
#include "commands/tablecmds.h"
#include "nodes/execnodes.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "log/ring.h"
#include "runtime/compat.h"
#include "runtime/errors.h"
#include "runtime/inval.h"
#include "runtime/own.h"
#include "runtime/replication.h"
#include "runtime/version.h"

typedef struct TeRing
{
	const char *name;
	int			segments;

	/* names looked up; parent InvalidOid = not yet, or invalidated */
	Oid			parent;
	Oid			reg;
	Oid			heap[TE_RING_MAX_SEGMENTS];

	/* open for appending in this transaction */
	Relation	rel;
	Relation	index;
	IndexInfo  *info;
	int			segment;
} TeRing;

static TeRing rings[TE_RING_COUNT] = {
	[TE_RING_LOG] = {.name = "log", .segments = 16},
	[TE_RING_CURSOR] = {.name = "cursor", .segments = 2},
	[TE_RING_IDEMPOTENCY] = {.name = "idempotency", .segments = 3},
	[TE_RING_COUNTER] = {.name = "counter", .segments = 3},
};

/* set between PRE_COMMIT and the end: nothing may stay open any more */
static bool closing = false;

static object_access_hook_type previous_object_access_hook = NULL;

/* ---- names ---------------------------------------------------------- */

static void
ring_relcache_callback(Oid relid)
{
	for (int i = 0; i < TE_RING_COUNT; i++)
	{
		if (!OidIsValid(relid) || rings[i].parent == relid)
			rings[i].parent = InvalidOid;
	}
}

pg_noreturn static void
no_relation(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("relation todo_events_internal.%s does not exist", name),
			 errhint("Create the extension todo_events in this database, or run ALTER EXTENSION todo_events UPDATE.")));
}

static Oid
ring_relation(Oid namespace, const char *name)
{
	Oid			oid = get_relname_relid(name, namespace);

	if (!OidIsValid(oid))
		no_relation(name);
	return oid;
}

Oid
te_internal_relation(const char *name)
{
	Oid			oid;

	te_version_check();
	oid = te_own_relation("todo_events_internal", name);
	if (!OidIsValid(oid))
		no_relation(name);
	return oid;
}

static TeRing *
ring_get(TeRingId id)
{
	TeRing	   *ring = &rings[id];
	Oid			namespace;
	Oid			parent;
	char		name[NAMEDATALEN];

	if (OidIsValid(ring->parent))
		return ring;

	/* the extension's, and so all else in its schema is */
	parent = te_internal_relation(ring->name);
	namespace = get_rel_namespace(parent);
	snprintf(name, sizeof(name), "%s_segment", ring->name);
	ring->reg = ring_relation(namespace, name);
	for (int i = 0; i < ring->segments; i++)
	{
		snprintf(name, sizeof(name), "%s_%d", ring->name, i);
		ring->heap[i] = ring_relation(namespace, name);
	}
	ring->parent = parent;		/* last: an error above leaves it unset */
	return ring;
}

int
te_ring_segments(TeRingId id)
{
	return rings[id].segments;
}

Oid
te_ring_parent_oid(TeRingId id)
{
	return ring_get(id)->parent;
}

Oid
te_ring_segment_oid(TeRingId id, int segment)
{
	return ring_get(id)->heap[segment];
}

/* the register's value, straight from its page: neither rights nor a transaction are in the way */
int64
te_ring_current(TeRingId id)
{
	return te_register_read(ring_get(id)->reg, NULL);
}

int64
te_register_read(Oid sequence, XLogRecPtr *lsn)
{
	Relation	rel = relation_open(sequence, AccessShareLock);
	Buffer		buf = ReadBuffer(rel, 0);
	Page		page;
	int64		value;

	LockBuffer(buf, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buf);
	value = ((Form_pg_sequence_data)
			 ((char *) PageGetItem(page, PageGetItemId(page, FirstOffsetNumber)) +
			  ((HeapTupleHeader) PageGetItem(page, PageGetItemId(page, FirstOffsetNumber)))->t_hoff))->last_value;
	if (lsn != NULL)
		*lsn = PageGetLSN(page);
	UnlockReleaseBuffer(buf);
	relation_close(rel, AccessShareLock);
	return value;
}

void
te_ring_advance(TeRingId id)
{
	TeRing	   *ring = ring_get(id);

	DirectFunctionCall2(setval_oid, ObjectIdGetDatum(ring->reg),
						Int64GetDatum(te_ring_current(id) + 1));
}

BlockNumber
te_ring_segment_pages(TeRingId id, int segment)
{
	Relation	rel = table_open(ring_get(id)->heap[segment], AccessShareLock);
	BlockNumber pages = RelationGetNumberOfBlocks(rel);

	table_close(rel, AccessShareLock);
	return pages;
}

bool
te_ring_is_empty(TeRingId id)
{
	for (int i = 0; i < rings[id].segments; i++)
	{
		if (te_ring_segment_pages(id, i) > 0)
			return false;
	}
	return true;
}

bool
te_ring_segment_bounds(TeRingId id, int segment, int64 *min, int64 *max)
{
	Relation	rel = table_open(ring_get(id)->heap[segment], AccessShareLock);
	bool		found = false;

	if (RelationGetNumberOfBlocks(rel) > 0)
	{
		List	   *indexes = RelationGetIndexList(rel);
		Relation	index = index_open(linitial_oid(indexes), AccessShareLock);
		TupleTableSlot *slot = table_slot_create(rel, NULL);
		IndexScanDesc scan = te_compat_index_beginscan(rel, index, SnapshotAny, 0);

		index_rescan(scan, NULL, 0, NULL, 0);
		if (index_getnext_slot(scan, ForwardScanDirection, slot))
		{
			bool		isnull;

			found = true;
			*min = *max = DatumGetInt64(slot_getattr(slot, 1, &isnull));
			index_rescan(scan, NULL, 0, NULL, 0);
			if (index_getnext_slot(scan, BackwardScanDirection, slot))
				*max = DatumGetInt64(slot_getattr(slot, 1, &isnull));
		}
		index_endscan(scan);
		ExecDropSingleTupleTableSlot(slot);
		index_close(index, AccessShareLock);
		list_free(indexes);
	}
	table_close(rel, AccessShareLock);
	return found;
}

TimestampTz
te_ring_segment_time(TeRingId id, int segment, int column, bool last)
{
	Relation	rel = table_open(ring_get(id)->heap[segment], AccessShareLock);
	BlockNumber pages = RelationGetNumberOfBlocks(rel);
	TimestampTz found = 0;

	for (BlockNumber i = 0; i < pages && found == 0; i++)
	{
		Buffer		buf = ReadBuffer(rel, last ? pages - 1 - i : i);
		Page		page = BufferGetPage(buf);

		LockBuffer(buf, BUFFER_LOCK_SHARE);
		for (OffsetNumber off = FirstOffsetNumber;
			 !PageIsNew(page) && off <= PageGetMaxOffsetNumber(page); off++)
		{
			ItemId		item = PageGetItemId(page, off);
			HeapTupleData tuple;
			TimestampTz time;
			bool		isnull;

			if (!ItemIdIsNormal(item))
				continue;
			tuple.t_data = (HeapTupleHeader) PageGetItem(page, item);
			tuple.t_len = ItemIdGetLength(item);
			tuple.t_tableOid = RelationGetRelid(rel);
			time = DatumGetTimestampTz(heap_getattr(&tuple, column, RelationGetDescr(rel), &isnull));
			if (!isnull && (found == 0 || (last ? time > found : time < found)))
				found = time;
		}
		UnlockReleaseBuffer(buf);
	}
	table_close(rel, AccessShareLock);
	return found;
}

/* ---- appending ------------------------------------------------------ */

static void
ring_close(TeRing *ring)
{
	if (ring->rel == NULL)
		return;
	/* the locks stay until the transaction has ended, as INSERT's do */
	if (ring->index != NULL)
		index_close(ring->index, NoLock);
	table_close(ring->rel, NoLock);
	ring->rel = NULL;
	ring->index = NULL;
	ring->info = NULL;
}

static void
ring_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			{
				ResourceOwner save = CurrentResourceOwner;

				CurrentResourceOwner = TopTransactionResourceOwner;
				for (int i = 0; i < TE_RING_COUNT; i++)
					ring_close(&rings[i]);
				CurrentResourceOwner = save;
				closing = true;
				break;
			}
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_ABORT:
			for (int i = 0; i < TE_RING_COUNT; i++)
			{
				rings[i].rel = NULL;
				rings[i].index = NULL;
				rings[i].info = NULL;
			}
			closing = false;
			break;
		default:
			break;
	}
}

/* a savepoint that created the extension is rolled back: its tables are about to vanish */
static void
ring_subxact_callback(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	ResourceOwner save = CurrentResourceOwner;

	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	CurrentResourceOwner = TopTransactionResourceOwner;
	for (int i = 0; i < TE_RING_COUNT; i++)
	{
		if (rings[i].rel != NULL && rings[i].rel->rd_createSubid == mine)
			ring_close(&rings[i]);
	}
	CurrentResourceOwner = save;
}

/* DROP EXTENSION in a transaction that has appended: a table in use cannot be dropped */
static void
ring_object_access(ObjectAccessType access, Oid classId, Oid objectId, int subId, void *arg)
{
	if (previous_object_access_hook)
		previous_object_access_hook(access, classId, objectId, subId, arg);
	if (access != OAT_DROP || classId != RelationRelationId)
		return;
	for (int i = 0; i < TE_RING_COUNT; i++)
	{
		if (rings[i].rel != NULL &&
			(RelationGetRelid(rings[i].rel) == objectId ||
			 (rings[i].index != NULL && RelationGetRelid(rings[i].index) == objectId)))
		{
			ResourceOwner save = CurrentResourceOwner;

			CurrentResourceOwner = TopTransactionResourceOwner;
			ring_close(&rings[i]);
			CurrentResourceOwner = save;
		}
	}
}

/*
 * Open the current segment for appending, or go on with it: an error on the
 * way (a cancelled wait for a lock) may have been caught by a savepoint, and
 * what is open by then belongs to the transaction.
 *
 * A switch of segments meanwhile is harmless: a row in the former segment is
 * found there just as well, and the former segment is truncated only under a
 * lock that our RowExclusiveLock keeps away.  But between reading the
 * register and getting the lock it may already have been truncated and be the
 * next in line again; that is harmless for the same reason.
 */
static void
ring_open(TeRing *ring, TeRingId id)
{
	ResourceOwner save = CurrentResourceOwner;
	MemoryContext context;

	CurrentResourceOwner = TopTransactionResourceOwner;
	if (ring->rel == NULL)
	{
		ring->segment = (int) (te_ring_current(id) % ring->segments);
		ring->rel = table_open(ring->heap[ring->segment], RowExclusiveLock);
	}

	/* rows are written as heap tuples: anything else would be corrupted by it */
	if (ring->rel->rd_rel->relam != HEAP_TABLE_AM_OID)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("relation \"%s\" does not use the heap access method",
						RelationGetRelationName(ring->rel))));

	if (ring->index == NULL)
	{
		List	   *indexes = RelationGetIndexList(ring->rel);

		if (list_length(indexes) != 1)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("relation \"%s\" must have exactly one index",
							RelationGetRelationName(ring->rel))));
		ring->index = index_open(linitial_oid(indexes), RowExclusiveLock);
		list_free(indexes);
	}

	context = MemoryContextSwitchTo(TopTransactionContext);
	ring->info = BuildIndexInfo(ring->index);
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = save;
}

void
te_ring_append(TeRingId id, Datum *values, bool *nulls)
{
	TeRing	   *ring = ring_get(id);
	TupleDesc	desc;
	HeapTuple	tuple;

	if (unlikely(ring->info == NULL))
		ring_open(ring, id);

	desc = RelationGetDescr(ring->rel);
	values[desc->natts - 1] = Int16GetDatum((int16) ring->segment);
	nulls[desc->natts - 1] = false;

	tuple = heap_form_tuple(desc, values, nulls);
	tuple->t_tableOid = RelationGetRelid(ring->rel);
	/* nothing is ever deleted: there is no free space to look for, or to keep a map of */
	heap_insert(ring->rel, tuple, GetCurrentCommandId(true),
				HEAP_INSERT_NO_LOGICAL | HEAP_INSERT_SKIP_FSM, NULL);
	index_insert(ring->index, values, nulls, &tuple->t_self, ring->rel,
				 UNIQUE_CHECK_NO, false, ring->info);
	heap_freetuple(tuple);

	if (closing)
	{
		ResourceOwner save = CurrentResourceOwner;

		CurrentResourceOwner = TopTransactionResourceOwner;
		ring_close(ring);
		CurrentResourceOwner = save;
	}
}

/* ---- scanning ------------------------------------------------------- */

typedef struct SegmentScan
{
	Relation	rel;
	Relation	index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	int64		head;			/* first column of the row in slot */
} SegmentScan;

struct TeRingScan
{
	int			n;
	int			current;		/* whose slot was handed out last; -1 at the start */
	SegmentScan segments[TE_RING_MAX_SEGMENTS];
};

static bool
segment_next(SegmentScan *s)
{
	bool		isnull;

	if (!index_getnext_slot(s->scan, ForwardScanDirection, s->slot))
		return false;
	s->head = DatumGetInt64(slot_getattr(s->slot, 1, &isnull));
	return true;
}

static void
segment_end(SegmentScan *s)
{
	index_endscan(s->scan);
	ExecDropSingleTupleTableSlot(s->slot);
	index_close(s->index, AccessShareLock);
	table_close(s->rel, AccessShareLock);
}

TeRingScan *
te_ring_scan_begin(TeRingId id, int64 lo, int64 hi)
{
	TeRing	   *ring = ring_get(id);
	TeRingScan *scan = palloc0(sizeof(TeRingScan));

	scan->current = -1;
	for (int i = 0; i < ring->segments; i++)
	{
		SegmentScan *s = &scan->segments[scan->n];
		Relation	rel = table_open(ring->heap[i], AccessShareLock);
		List	   *indexes;
		ScanKeyData key[2];

		if (RelationGetNumberOfBlocks(rel) == 0)
		{
			table_close(rel, AccessShareLock);
			continue;
		}
		indexes = RelationGetIndexList(rel);
		s->rel = rel;
		s->index = index_open(linitial_oid(indexes), AccessShareLock);
		list_free(indexes);
		s->slot = table_slot_create(rel, NULL);
		s->scan = te_compat_index_beginscan(rel, s->index, SnapshotAny, 2);
		ScanKeyInit(&key[0], 1, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(lo));
		ScanKeyInit(&key[1], 1, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(hi));
		index_rescan(s->scan, key, 2, NULL, 0);
		if (segment_next(s))
			scan->n++;
		else
			segment_end(s);
	}
	return scan;
}

TupleTableSlot *
te_ring_scan_next(TeRingScan *scan)
{
	int			first = -1;

	if (scan->current >= 0 && !segment_next(&scan->segments[scan->current]))
	{
		segment_end(&scan->segments[scan->current]);
		scan->segments[scan->current] = scan->segments[--scan->n];
	}
	for (int i = 0; i < scan->n; i++)
	{
		if (first < 0 || scan->segments[i].head < scan->segments[first].head)
			first = i;
	}
	scan->current = first;
	return first < 0 ? NULL : scan->segments[first].slot;
}

void
te_ring_scan_end(TeRingScan *scan)
{
	for (int i = 0; i < scan->n; i++)
		segment_end(&scan->segments[i]);
	pfree(scan);
}

TransactionId
te_ring_slot_xmin(TupleTableSlot *slot)
{
	/* the slots are buffer heap slots: the tuple is the one on the page */
	return HeapTupleHeaderGetXmin(((HeapTupleTableSlot *) slot)->tuple->t_data);
}

TransactionId
te_ring_slot_inserter(TupleTableSlot *slot)
{
	return HeapTupleHeaderGetRawXmin(((HeapTupleTableSlot *) slot)->tuple->t_data);
}

/*
 * Hint bits are not set: most rows are read once, and a page dirtied for a
 * hint costs a full-page image where checksums are on.
 */
TeRowState
te_ring_classify(TransactionId xmin, Snapshot snapshot)
{
	if (!TransactionIdIsNormal(xmin))
		return xmin == FrozenTransactionId ? TE_ROW_VISIBLE : TE_ROW_ABORTED;
	if (TransactionIdIsCurrentTransactionId(xmin))
		return TE_ROW_UNDECIDED;
	if (!TransactionIdPrecedes(xmin, snapshot->xmin) && XidInMVCCSnapshot(xmin, snapshot))
		return TE_ROW_UNDECIDED;
	return TransactionIdDidCommit(xmin) ? TE_ROW_VISIBLE : TE_ROW_ABORTED;
}

/* ---- truncating ----------------------------------------------------- */

bool
te_ring_truncate(TeRingId id, int segment,
				 bool (*check) (Relation segment, void *arg), void *arg)
{
	Oid			oid = ring_get(id)->heap[segment];
	Relation	rel;

	/* pg_dump, a long transaction, another reader: another time */
	if (!ConditionalLockRelationOid(oid, AccessExclusiveLock))
		return false;
	rel = table_open(oid, NoLock);
	if (rel->rd_refcnt != 1 || (check != NULL && !check(rel, arg)))
	{
		table_close(rel, NoLock);
		UnlockRelationOid(oid, AccessExclusiveLock);
		return false;
	}

	/* the empty list of relations to be logged is what keeps it out of logical decoding */
	te_replication_truncate(rel);
	table_close(rel, NoLock);
	return true;
}

void
te_ring_init(void)
{
	te_inval_register(ring_relcache_callback);
	RegisterXactCallback(ring_xact_callback, NULL);
	RegisterSubXactCallback(ring_subxact_callback, NULL);
	previous_object_access_hook = object_access_hook;
	object_access_hook = ring_object_access;
}
