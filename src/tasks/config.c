/*
 * config.c
 *	  A cache of todo_events.attachment_config, which is small and changes
 *	  rarely; read anew after attach() or detach() anywhere.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "log/event.h"
#include "runtime/inval.h"
#include "runtime/version.h"
#include "tasks/attachment.h"
#include "tasks/config.h"

static HTAB *rows = NULL;
static MemoryContext context = NULL;
static Oid	config = InvalidOid;	/* what rows were read from; InvalidOid = read anew */

static void
config_relcache_callback(Oid relid)
{
	if (!OidIsValid(relid) || relid == config)
		config = InvalidOid;
}

static void
read_rows(void)
{
	Oid			oid = te_attachment_config_oid();
	HASHCTL		info = {.keysize = sizeof(int32), .entrysize = sizeof(TeConfigRow)};
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;
	Datum	   *values;
	bool	   *nulls;

	if (context == NULL)
		context = AllocSetContextCreate(CacheMemoryContext, "todo_events attachment_config",
										ALLOCSET_SMALL_SIZES);
	rows = NULL;
	MemoryContextReset(context);
	if (!OidIsValid(oid))
		return;
	te_version_check();

	info.hcxt = context;
	rows = hash_create("todo_events attachment_config", 16, &info,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	rel = table_open(oid, AccessShareLock);
	values = palloc(RelationGetNumberOfAttributes(rel) * sizeof(Datum));
	nulls = palloc(RelationGetNumberOfAttributes(rel) * sizeof(bool));
	config = oid;				/* before the scan: a change meanwhile makes us read again */
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TeConfigRow *row;
		bool		found;

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		row = hash_search(rows, &values[TE_ATTACHMENT_NUMBER - 1], HASH_ENTER, &found);
		row->relid = DatumGetObjectId(values[TE_ATTACHMENT_RELATION - 1]);
		row->name = MemoryContextStrdup(context, TextDatumGetCString(values[TE_ATTACHMENT_NAME - 1]));
		row->bare = DatumGetBool(values[TE_ATTACHMENT_BARE - 1]);
		row->type_prefix = MemoryContextStrdup(context, TextDatumGetCString(values[TE_ATTACHMENT_TYPE_PREFIX - 1]));
		row->detached_at = nulls[TE_ATTACHMENT_DETACHED_AT - 1] ? DT_NOEND :
			DatumGetTimestampTz(values[TE_ATTACHMENT_DETACHED_AT - 1]);
	}
	systable_endscan(scan);
	pfree(values);
	pfree(nulls);
	table_close(rel, AccessShareLock);
}

const TeConfigRow *
te_config_find(int32 attachment)
{
	if (!OidIsValid(config) && IsTransactionState())
		read_rows();
	return rows != NULL ? hash_search(rows, &attachment, HASH_FIND, NULL) : NULL;
}

const char *
te_config_type_prefix(int32 attachment)
{
	const TeConfigRow *row = te_config_find(attachment);

	return row != NULL ? row->type_prefix : NULL;
}

bool
te_config_remembered(int32 attachment, TimestampTz since)
{
	const TeConfigRow *row = te_config_find(attachment);

	return row != NULL && row->detached_at >= since;
}

static int
compare_rows(const ListCell *a, const ListCell *b)
{
	return ((TeConfigRow *) lfirst(a))->number - ((TeConfigRow *) lfirst(b))->number;
}

List *
te_config_rows(void)
{
	List	   *result = NIL;
	HASH_SEQ_STATUS status;
	TeConfigRow *row;

	(void) te_config_find(0);	/* reads the rows if need be */
	if (rows == NULL)
		return NIL;
	hash_seq_init(&status, rows);
	while ((row = hash_seq_search(&status)) != NULL)
	{
		TeConfigRow *copy = palloc(sizeof(*copy));

		*copy = *row;
		copy->name = pstrdup(row->name);
		copy->type_prefix = pstrdup(row->type_prefix);
		result = lappend(result, copy);
	}
	list_sort(result, compare_rows);
	return result;
}

void
te_config_init(void)
{
	te_inval_register(config_relcache_callback);
	te_event_set_prefix_lookup(te_config_type_prefix);
}
