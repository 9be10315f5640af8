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
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "log/event.h"
#include "tasks/attachment.h"
#include "tasks/config.h"

typedef struct ConfigRow
{
	int32		number;			/* hash key */
	Oid			relid;
	char	   *type_prefix;
	TimestampTz detached_at;	/* DT_NOEND = in force */
} ConfigRow;

static HTAB *rows = NULL;
static MemoryContext context = NULL;
static Oid	config = InvalidOid;	/* what rows were read from; InvalidOid = read anew */

static void
config_relcache_callback(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == config)
		config = InvalidOid;
}

static void
read_rows(void)
{
	Oid			oid = te_attachment_config_oid();
	HASHCTL		info = {.keysize = sizeof(int32), .entrysize = sizeof(ConfigRow)};
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
		ConfigRow  *row;
		bool		found;

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		row = hash_search(rows, &values[TE_ATTACHMENT_NUMBER - 1], HASH_ENTER, &found);
		row->relid = DatumGetObjectId(values[TE_ATTACHMENT_RELATION - 1]);
		row->type_prefix = MemoryContextStrdup(context, TextDatumGetCString(values[TE_ATTACHMENT_TYPE_PREFIX - 1]));
		row->detached_at = nulls[TE_ATTACHMENT_DETACHED_AT - 1] ? DT_NOEND :
			DatumGetTimestampTz(values[TE_ATTACHMENT_DETACHED_AT - 1]);
	}
	systable_endscan(scan);
	pfree(values);
	pfree(nulls);
	table_close(rel, AccessShareLock);
}

static const ConfigRow *
find(int32 attachment)
{
	if (!OidIsValid(config) && IsTransactionState())
		read_rows();
	return rows != NULL ? hash_search(rows, &attachment, HASH_FIND, NULL) : NULL;
}

const char *
te_config_type_prefix(int32 attachment)
{
	const ConfigRow *row = find(attachment);

	return row != NULL ? row->type_prefix : NULL;
}

bool
te_config_remembered(int32 attachment, TimestampTz since)
{
	const ConfigRow *row = find(attachment);

	return row != NULL && row->detached_at >= since;
}

void
te_config_each_table(void (*callback) (void *arg, Oid relid), void *arg)
{
	List	   *relids = NIL;
	ListCell   *cell;

	(void) find(0);				/* reads the rows if need be */
	if (rows != NULL)
	{
		HASH_SEQ_STATUS status;
		ConfigRow  *row;

		hash_seq_init(&status, rows);
		while ((row = hash_seq_search(&status)) != NULL)
		{
			if (row->detached_at == DT_NOEND)
				relids = lappend_oid(relids, row->relid);
		}
	}
	/* the callback may make us read the rows again */
	foreach(cell, relids)
		callback(arg, lfirst_oid(cell));
	list_free(relids);
}

void
te_config_init(void)
{
	CacheRegisterRelcacheCallback(config_relcache_callback, (Datum) 0);
	te_event_set_prefix_lookup(te_config_type_prefix);
}
