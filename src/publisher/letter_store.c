/*-------------------------------------------------------------------------
 *
 * letter_store.c
 *	  The two tables behind todo_events.dead_letters.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/heaptoast.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "commands/tablecmds.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "publisher/letter_store.h"
#include "runtime/compat.h"
#include "runtime/own.h"
#include "runtime/replication.h"

static Oid
internal_relation(const char *name)
{
	Oid			oid = te_own_relation("todo_events_internal", name);

	if (!OidIsValid(oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation todo_events_internal.%s does not exist", name),
				 errhint("Run ALTER EXTENSION todo_events UPDATE.")));
	return oid;
}

Relation
te_letters_open(LOCKMODE lock)
{
	return table_open(internal_relation("dead_letter"), lock);
}

static Relation
try_open(const char *name, LOCKMODE lock)
{
	Oid			oid = internal_relation(name);

	return ConditionalLockRelationOid(oid, lock) ? table_open(oid, NoLock) : NULL;
}

Relation
te_letters_try_open(LOCKMODE lock)
{
	return try_open("dead_letter", lock);
}

Relation
te_redrives_try_open(LOCKMODE lock)
{
	return try_open("dead_letter_redrive", lock);
}

Relation
te_redrives_open(LOCKMODE lock)
{
	return table_open(internal_relation("dead_letter_redrive"), lock);
}

int64
te_letter_next_id(void)
{
	return nextval_internal(internal_relation("dead_letter_id"), false);
}

static void
insert_tuple(Relation rel, HeapTuple tuple, Datum *values, bool *nulls)
{
	List	   *indexes;
	ListCell   *cell;

	/* rows are written as heap tuples: anything else would be corrupted by it */
	if (rel->rd_rel->relam != HEAP_TABLE_AM_OID)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("relation \"%s\" does not use the heap access method",
						RelationGetRelationName(rel))));

	heap_insert(rel, tuple, GetCurrentCommandId(true), HEAP_INSERT_NO_LOGICAL, NULL);
	indexes = RelationGetIndexList(rel);
	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), RowExclusiveLock);
		IndexInfo  *info = BuildIndexInfo(index);
		Datum		keys[INDEX_MAX_KEYS];
		bool		missing[INDEX_MAX_KEYS];

		for (int i = 0; i < info->ii_NumIndexAttrs; i++)
		{
			keys[i] = values[info->ii_IndexAttrNumbers[i] - 1];
			missing[i] = nulls[info->ii_IndexAttrNumbers[i] - 1];
		}
		index_insert(index, keys, missing, &tuple->t_self, rel, UNIQUE_CHECK_NO, false, info);
		index_close(index, RowExclusiveLock);
	}
	list_free(indexes);
}

void
te_letter_append(Relation rel, Datum *values, bool *nulls)
{
	HeapTuple	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);

	tuple->t_tableOid = RelationGetRelid(rel);
	insert_tuple(rel, tuple, values, nulls);
	heap_freetuple(tuple);
}

/* the index on that column alone */
static Oid
index_on(Relation rel, AttrNumber column)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *cell;
	Oid			found = InvalidOid;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		if (index->rd_index->indkey.values[0] == column)
			found = lfirst_oid(cell);
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	if (!OidIsValid(found))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("relation \"%s\" has no index on column %d",
						RelationGetRelationName(rel), column)));
	return found;
}

SysScanDesc
te_letter_scan(Relation rel, AttrNumber column, const int64 *value, Snapshot snapshot,
			   Relation *index)
{
	ScanKeyData key;

	*index = index_open(index_on(rel, column), AccessShareLock);
	if (value != NULL)
		ScanKeyInit(&key, column, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(*value));
	return systable_beginscan_ordered(rel, *index, snapshot, value != NULL ? 1 : 0, &key);
}

void
te_letter_scan_end(SysScanDesc scan, Relation index)
{
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
}

TimestampTz
te_letter_redriven(Relation redrives, int64 letter, Snapshot snapshot)
{
	Relation	index;
	SysScanDesc scan = te_letter_scan(redrives, TE_REDRIVE_LETTER, &letter, snapshot, &index);
	HeapTuple	tuple;
	TimestampTz at = 0;

	while ((tuple = systable_getnext_ordered(scan, ForwardScanDirection)) != NULL)
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, TE_REDRIVE_AT, RelationGetDescr(redrives), &isnull);

		at = Max(at, DatumGetTimestampTz(value));
	}
	te_letter_scan_end(scan, index);
	return at;
}

int64
te_letter_rewrite(Relation rel, TeLetterKeep keep, void *arg)
{
	TupleDesc	desc = RelationGetDescr(rel);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	Tuplestorestate *kept = tuplestore_begin_heap(false, false, work_mem);
	TableScanDesc scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
	HeapTuple	tuple;
	int64		gone = 0;

	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (keep(arg, rel, tuple))
		{
			/* the TOAST table goes as well, so its values come along */
			HeapTuple	whole = toast_flatten_tuple(tuple, desc);

			tuplestore_puttuple(kept, whole);
			heap_freetuple(whole);
		}
		else
			gone++;
	}
	table_endscan(scan);

	if (gone > 0)
	{
		/* a DELETE would be decoded; a new file with no logical TRUNCATE is not */
		te_replication_truncate(rel);
		CommandCounterIncrement();
		while (tuplestore_gettupleslot(kept, true, false, slot))
		{
			CHECK_FOR_INTERRUPTS();
			slot_getallattrs(slot);
			te_letter_append(rel, slot->tts_values, slot->tts_isnull);
		}
	}
	tuplestore_end(kept);
	ExecDropSingleTupleTableSlot(slot);
	return gone;
}
