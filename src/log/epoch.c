/*-------------------------------------------------------------------------
 *
 * epoch.c
 *	  The table todo_events_internal.epoch: appended to when the extension is
 *	  created, at a promotion or recovery, and by adopt(); never updated.
 *
 * Its rows are local to the server: not dumped, not shown to logical
 * decoding.  They are few, and every process keeps them in memory until the
 * table's relcache entry is invalidated, which each append does.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "log/cursor.h"
#include "log/epoch.h"
#include "log/log.h"
#include "log/ring.h"
#include "runtime/clock.h"
#include "runtime/errors.h"
#include "runtime/inval.h"

enum
{
	EPOCH_NUMBER = 1, EPOCH_FIRST_ID, EPOCH_STARTED_AT, EPOCH_REASON, EPOCH_DATABASE_ID, EPOCH_ORIGIN,
	EPOCH_CLUSTER, EPOCH_DATABASE, EPOCH_TIMELINE, EPOCH_BRANCH, EPOCH_INSTANCE, EPOCH_COLUMNS = EPOCH_INSTANCE	/* a later version may have more */
};

static TeEpoch *epochs = NULL;
static int	nepochs = 0;
static MemoryContext context = NULL;
static Oid	epoch_table = InvalidOid;	/* what they were read from; InvalidOid = read anew */

static void
relcache_callback(Oid relid)
{
	if (!OidIsValid(relid) || relid == epoch_table)
		epoch_table = InvalidOid;
}

static int
compare(const void *a, const void *b)
{
	return ((const TeEpoch *) a)->number - ((const TeEpoch *) b)->number;
}

static void
read_epochs(void)
{
	Oid			oid = te_internal_relation("epoch");
	Relation	rel = table_open(oid, AccessShareLock);
	SysScanDesc scan;
	HeapTuple	tuple;
	int			room = 8;
	Datum	   *values = palloc(RelationGetNumberOfAttributes(rel) * sizeof(Datum));
	bool	   *nulls = palloc(RelationGetNumberOfAttributes(rel) * sizeof(bool));

	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "todo_events epochs", ALLOCSET_SMALL_SIZES);
	MemoryContextReset(context);
	epochs = MemoryContextAlloc(context, room * sizeof(TeEpoch));
	nepochs = 0;
	epoch_table = oid;			/* before the scan: a change meanwhile makes us read again */

	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TeEpoch    *e;

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		if (nepochs == room)
			epochs = repalloc(epochs, (room *= 2) * sizeof(TeEpoch));
		e = &epochs[nepochs++];
		e->number = DatumGetInt32(values[EPOCH_NUMBER - 1]);
		e->first_id = DatumGetInt64(values[EPOCH_FIRST_ID - 1]);
		e->database_id = *DatumGetUUIDP(values[EPOCH_DATABASE_ID - 1]);
		e->origin = DatumGetInt32(values[EPOCH_ORIGIN - 1]);
		e->facts.cluster = (uint64) DatumGetInt64(values[EPOCH_CLUSTER - 1]);
		e->facts.database = DatumGetObjectId(values[EPOCH_DATABASE - 1]);
		e->facts.timeline = (TimeLineID) DatumGetInt64(values[EPOCH_TIMELINE - 1]);
		e->facts.branch = MemoryContextStrdup(context, TextDatumGetCString(values[EPOCH_BRANCH - 1]));
		e->facts.instance = MemoryContextStrdup(context, TextDatumGetCString(values[EPOCH_INSTANCE - 1]));
	}
	systable_endscan(scan);
	pfree(values);
	pfree(nulls);
	table_close(rel, AccessShareLock);
	qsort(epochs, nepochs, sizeof(TeEpoch), compare);
}

const TeEpoch *
te_epochs(int *count)
{
	if (!OidIsValid(epoch_table) && (IsTransactionState() || nepochs == 0))
		read_epochs();
	if (nepochs == 0)
	{
		epoch_table = InvalidOid;
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this database has no identity for its events"),
				 errhint("Table todo_events_internal.epoch must not be empty; create the extension anew if it was emptied.")));
	}
	*count = nepochs;
	return epochs;
}

const TeEpoch *
te_epoch_newest(void)
{
	int			count;
	const TeEpoch *all = te_epochs(&count);

	return &all[count - 1];
}

bool
te_epoch_lock(bool wait)
{
	Oid			oid = te_internal_relation("epoch");

	if (wait)
		LockRelationOid(oid, ShareRowExclusiveLock);
	else if (!ConditionalLockRelationOid(oid, ShareRowExclusiveLock))
		return false;
	/* another's row may have been committed while we waited */
	AcceptInvalidationMessages();
	epoch_table = InvalidOid;
	return true;
}

void
te_epoch_unlock(void)
{
	UnlockRelationOid(te_internal_relation("epoch"), ShareRowExclusiveLock);
}

int32
te_epoch_begin(const pg_uuid_t *database_id, const char *reason)
{
	const TeFacts *facts = te_facts();
	Relation	rel = table_open(te_internal_relation("epoch"), RowExclusiveLock);
	Datum		values[EPOCH_COLUMNS];
	bool		nulls[EPOCH_COLUMNS] = {false};
	int32		number;
	HeapTuple	tuple;

	read_epochs();
	number = nepochs > 0 ? epochs[nepochs - 1].number + 1 : 1;
	values[EPOCH_NUMBER - 1] = Int32GetDatum(number);
	values[EPOCH_FIRST_ID - 1] = Int64GetDatum(te_log_last_id() + 1);
	values[EPOCH_STARTED_AT - 1] = TimestampTzGetDatum(te_clock_now());
	values[EPOCH_REASON - 1] = CStringGetTextDatum(reason);
	values[EPOCH_DATABASE_ID - 1] = UUIDPGetDatum(database_id);
	values[EPOCH_ORIGIN - 1] = Int32GetDatum(te_log_origin());
	values[EPOCH_CLUSTER - 1] = Int64GetDatum((int64) facts->cluster);
	values[EPOCH_DATABASE - 1] = ObjectIdGetDatum(facts->database);
	values[EPOCH_TIMELINE - 1] = Int64GetDatum((int64) facts->timeline);
	values[EPOCH_BRANCH - 1] = CStringGetTextDatum(facts->branch);
	values[EPOCH_INSTANCE - 1] = CStringGetTextDatum(facts->instance);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	heap_insert(rel, tuple, GetCurrentCommandId(true), HEAP_INSERT_NO_LOGICAL, NULL);
	CacheInvalidateRelcache(rel);
	table_close(rel, NoLock);
	CommandCounterIncrement();
	epoch_table = InvalidOid;
	return number;
}

void
te_epoch_init(void)
{
	te_inval_register(relcache_callback);
}
