/*-------------------------------------------------------------------------
 *
 * identity.c
 *	  Who this database is: a uuid made when the extension was created, and
 *	  the origin, which tells it from its physical copies.
 *
 * The uuid is not dumped, so a restored copy has another.  A physical copy
 * (CREATE DATABASE ... TEMPLATE, a Neon branch, a promoted standby) has the
 * same uuid and another origin: both are in every event's id.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xlog.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/rel.h"

#include "log/identity.h"
#include "log/ring.h"
#include "log/log.h"
#include "runtime/errors.h"

static pg_uuid_t identity;
static Oid	identity_table = InvalidOid;	/* valid: identity is, too */

static void
identity_callback(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == identity_table)
		identity_table = InvalidOid;
}

const pg_uuid_t *
te_identity(void)
{
	if (!OidIsValid(identity_table))
	{
		Relation	rel = table_open(te_internal_relation("identity"), AccessShareLock);
		TableScanDesc scan = table_beginscan_catalog(rel, 0, NULL);
		TupleTableSlot *slot = table_slot_create(rel, NULL);
		bool		found = table_scan_getnextslot(scan, ForwardScanDirection, slot);
		bool		isnull;

		if (found)
			identity = *DatumGetUUIDP(slot_getattr(slot, 1, &isnull));
		ExecDropSingleTupleTableSlot(slot);
		table_endscan(scan);
		if (!found)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("this database has no identity for its events"),
					 errhint("Table todo_events_internal.identity must hold one row; create the extension anew if it was emptied.")));
		identity_table = RelationGetRelid(rel);
		table_close(rel, AccessShareLock);
	}
	return &identity;
}

static uint32
fnv32(uint32 h, const void *data, size_t len)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x01000193;
	return h;
}

/*
 * Cluster, database, timeline and, on Neon, the branch; none of them changes
 * while a backend writes.  The timeline, because a promotion or a recovery to
 * a point in time draws ids again that were drawn before.
 */
int32
te_log_origin(void)
{
	static int32 origin = 0;

	if (origin == 0)
	{
		uint64		system = GetSystemIdentifier();
		Oid			database = MyDatabaseId;
		TimeLineID	timeline = GetWALInsertionTimeLine();
		const char *branch = GetConfigOption("neon.timeline_id", true, false);
		uint32		h = 0x811c9dc5;

		h = fnv32(h, &system, sizeof(system));
		h = fnv32(h, &database, sizeof(database));
		h = fnv32(h, &timeline, sizeof(timeline));
		if (branch != NULL)
			h = fnv32(h, branch, strlen(branch));
		origin = (int32) (h == 0 ? 1 : h);
	}
	return origin;
}

void
te_identity_init(void)
{
	CacheRegisterRelcacheCallback(identity_callback, (Datum) 0);
}
