/*-------------------------------------------------------------------------
 *
 * told.c
 *	  Which row versions of this transaction have had their events.
 *
 * The question comes up when triggers are nested: has the event of the
 * version that I replace been appended, or is it still queued by a statement
 * further up?  Commands below "settled" belong to outermost statements that
 * are over.  Of the others each event is recorded, if it comes from nested
 * triggers or if triggers that may write follow it.
 *
 * An event of a statement that writes to a table without such triggers is not
 * recorded, and its version counts as untold while the statement runs: what
 * replaces it waits longer than it would have to, and stays in order.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_inherits.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"

#include "runtime/compat.h"
#include "tasks/told.h"

/* a statement with more events than this settles as it goes */
#define MAX_VERSIONS	(1024 * 1024)

typedef enum Half
{
	HALF_WRITTEN,				/* xid: its xmin */
	HALF_REPLACED				/* xid: its xmax */
} Half;

/* with the xid, since a rollback to a savepoint may free a tid */
typedef struct Version
{
	Oid			relid;
	ItemPointerData tid;
	uint16		half;
	TransactionId xid;
} Version;

static LocalTransactionId lxid; /* of the transaction that all this is about */
static CommandId statement;		/* the outermost one, by its snapshot */
static CommandId newest;		/* the highest command that an event came of */
static CommandId settled;
static HTAB *versions;			/* in TopTransactionContext, NULL = none */

/* ---- the outermost statements --------------------------------------------- */

typedef struct Watch
{
	MemoryContextCallback callback;
	LocalTransactionId lxid;
	CommandId	statement;
} Watch;

static void
forget_versions(void)
{
	if (versions != NULL)
		hash_destroy(versions);
	versions = NULL;
}

static void
this_transaction(void)
{
	if (likely(lxid == te_compat_lxid()))
		return;
	lxid = te_compat_lxid();
	statement = InvalidCommandId;
	newest = FirstCommandId;
	settled = FirstCommandId;
	versions = NULL;			/* went with its transaction */
}

static void
statement_is_over(void *arg)
{
	Watch	   *watch = arg;

	if (watch->lxid == lxid && watch->statement == statement && lxid == te_compat_lxid())
		settled = Max(settled, newest + 1);
}

/* AFTER triggers run in a context below the one of their statement */
static void
watch_statement(void)
{
	MemoryContext context = MemoryContextGetParent(CurrentMemoryContext);
	Watch	   *watch = MemoryContextAlloc(context, sizeof(Watch));

	watch->callback.func = statement_is_over;
	watch->callback.arg = watch;
	watch->lxid = lxid;
	watch->statement = statement;
	MemoryContextRegisterResetCallback(context, &watch->callback);
}

static CommandId
command_of(TriggerData *trigdata)
{
	if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		return HeapTupleHeaderGetCmin(trigdata->tg_newtuple->t_data);
	if (TRIGGER_FIRED_BY_INSERT(trigdata->tg_event))
		return HeapTupleHeaderGetCmin(trigdata->tg_trigtuple->t_data);
	return HeapTupleHeaderGetCmax(trigdata->tg_trigtuple->t_data);
}

bool
te_told_begin(TriggerData *trigdata, int depth)
{
	CommandId	mine;

	this_transaction();
	newest = Max(newest, command_of(trigdata));
	if (depth > 1)
		return false;

	/* the statement's snapshot is the active one, also for what its foreign keys cascade to */
	mine = ActiveSnapshotSet() ? GetActiveSnapshot()->curcid : InvalidCommandId;
	if (likely(mine == statement))
		return false;
	statement = mine;
	settled = mine;
	forget_versions();
	watch_statement();
	return true;
}

/* ---- the record -------------------------------------------------------------- */

static Version
version_of(Oid relid, HeapTuple tuple, Half half)
{
	Version		version;

	memset(&version, 0, sizeof(version));
	version.relid = relid;
	version.tid = tuple->t_self;
	version.half = half;
	version.xid = half == HALF_WRITTEN ? HeapTupleHeaderGetXmin(tuple->t_data) :
		HeapTupleHeaderGetUpdateXid(tuple->t_data);
	return version;
}

static void
add(Oid relid, HeapTuple tuple, Half half)
{
	Version		version = version_of(relid, tuple, half);

	if (versions == NULL)
	{
		HASHCTL		info = {.keysize = sizeof(Version), .entrysize = sizeof(Version),
							.hcxt = TopTransactionContext};

		versions = hash_create("todo_events told versions", 256, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	(void) hash_search(versions, &version, HASH_ENTER, NULL);
}

void
te_told_add(Oid old_relid, HeapTuple old, Oid new_relid, HeapTuple new)
{
	this_transaction();
	if (versions != NULL && hash_get_num_entries(versions) >= MAX_VERSIONS)
	{
		settled = newest + 1;
		forget_versions();
	}
	if (old != NULL)
		add(old_relid, old, HALF_REPLACED);
	if (new != NULL)
		add(new_relid, new, HALF_WRITTEN);
}

static bool
is_told(Oid relid, HeapTuple tuple, Half half, CommandId command)
{
	Version		version;

	this_transaction();
	if (command < settled)
		return true;
	if (versions == NULL)
		return false;
	version = version_of(relid, tuple, half);
	return hash_search(versions, &version, HASH_FIND, NULL) != NULL;
}

bool
te_told_written(Oid relid, HeapTuple version)
{
	return !TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(version->t_data)) ||
		is_told(relid, version, HALF_WRITTEN, HeapTupleHeaderGetCmin(version->t_data));
}

bool
te_told_replaced(Oid relid, HeapTuple version)
{
	return is_told(relid, version, HALF_REPLACED, HeapTupleHeaderGetCmax(version->t_data));
}

/* ---- a key's dead versions ------------------------------------------------------ */

/* the index that makes the key unique; NULL if that is gone */
static Relation
open_key_index(Relation rel, AttrNumber attno)
{
	ListCell   *cell;

	foreach(cell, RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
		Form_pg_index form = index->rd_index;

		if (form->indisunique && form->indisvalid && form->indnkeyatts == 1 &&
			form->indkey.values[0] == attno && index->rd_rel->relam == BTREE_AM_OID &&
			RelationGetIndexPredicate(index) == NIL)
			return index;
		index_close(index, AccessShareLock);
	}
	return NULL;
}

static bool
is_dead(TupleTableSlot *slot)
{
	HeapTuple	tuple = ExecFetchSlotHeapTuple(slot, false, NULL);
	HeapTupleHeader header = tuple->t_data;

	if ((header->t_infomask & HEAP_XMAX_INVALID) || HEAP_XMAX_IS_LOCKED_ONLY(header->t_infomask))
		return false;
	return TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetUpdateXid(header));
}

static bool
each_dead_of(Relation rel, AttrNumber attno, Datum key, TeDeadCallback callback, void *arg)
{
	Relation	index = open_key_index(rel, attno);
	TupleTableSlot *slot;
	IndexScanDesc scan;
	ScanKeyData scankey;
	Oid			type;
	bool		found = false;

	if (index == NULL)
		return false;
	type = index->rd_opcintype[0];
	ScanKeyEntryInitialize(&scankey, 0, 1, BTEqualStrategyNumber, InvalidOid, index->rd_indcollation[0],
						   get_opcode(get_opfamily_member(index->rd_opfamily[0], type, type,
														  BTEqualStrategyNumber)), key);
	slot = table_slot_create(rel, NULL);
	scan = te_compat_index_beginscan(rel, index, SnapshotAny, 1);
	index_rescan(scan, &scankey, 1, NULL, 0);
	while (!found && index_getnext_slot(scan, ForwardScanDirection, slot))
		found = is_dead(slot) && callback(rel, slot, arg);
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	return found;
}

bool
te_told_each_dead(const TeAttachment *att, Relation rel, Datum key, TeDeadCallback callback, void *arg)
{
	bool		found;
	ListCell   *cell;

	if (!att->is_partition)
		return each_dead_of(rel, att->columns[TE_COLUMN_KEY], key, callback, arg);

	found = false;
	foreach(cell, find_all_inheritors(att->root, NoLock, NULL))
	{
		LOCKTAG		tag;
		Relation	partition;

		/* written to in this transaction? */
		SET_LOCKTAG_RELATION(tag, MyDatabaseId, lfirst_oid(cell));
		if (found || !te_compat_lock_held(&tag, RowExclusiveLock))
			continue;
		partition = table_open(lfirst_oid(cell), NoLock);
		if (partition->rd_rel->relkind == RELKIND_RELATION && te_attachment_number(partition) == att->number)
			found = each_dead_of(partition, te_attachment_get(partition)->columns[TE_COLUMN_KEY], key,
								 callback, arg);
		table_close(partition, NoLock);
	}
	return found;
}
