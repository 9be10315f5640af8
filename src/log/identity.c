/*-------------------------------------------------------------------------
 *
 * identity.c
 *	  Who this database is, and whether it is a copy that nobody has adopted.
 *
 * A database's uuid is made when the extension is created, and is the
 * namespace of its event ids.  It is not dumped, so that a restored copy has
 * another.  A physical copy (CREATE DATABASE ... TEMPLATE, a Neon branch, a
 * clone of the cluster) comes with the table of epochs, and is told from its
 * original by the facts in it:
 *
 *	fact				differs in					and then the database is
 *	database oid		CREATE DATABASE TEMPLATE	a copy
 *	neon.timeline_id	a Neon branch				a copy
 *	instance			a clone with another, or	a copy
 *						without one
 *	system identifier	pg_upgrade					a copy; where instance is set and
 *													the same, the same in a new epoch
 *	timeline			promotion, recovery			the same in a new epoch
 *
 * A restored dump is told by rows of its configuration that carry another
 * database's uuid.  A copy's own uuid follows from its original's and the
 * facts, so that the ids of its events are the same before and after adopt().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "log/epoch.h"
#include "log/event.h"
#include "log/identity.h"
#include "log/log.h"
#include "log/ring.h"
#include "runtime/instance.h"
#include "runtime/own.h"

const char *const te_identity_tables[] = {"setting_config", "attachment_config", "topic_config", "route_config", NULL};

/* ---- facts -------------------------------------------------------------- */

const TeFacts *
te_facts(void)
{
	static TeFacts facts;

	/* not before: a backend of a standby lives through the promotion */
	Assert(!RecoveryInProgress());
	if (facts.instance == NULL)
	{
		facts.cluster = GetSystemIdentifier();
		facts.database = MyDatabaseId;
		facts.timeline = GetWALInsertionTimeLine();
		facts.branch = te_neon_branch();
		facts.instance = te_instance();
	}
	return &facts;
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
 * All the facts in 32 bits; none of them changes while a backend writes.  The
 * timeline is among them because a promotion or a recovery to a point in time
 * draws ids again that were drawn before.
 */
int32
te_log_origin(void)
{
	static int32 origin = 0;

	if (origin == 0)
	{
		const TeFacts *facts = te_facts();
		uint32		h = 0x811c9dc5;

		h = fnv32(h, &facts->cluster, sizeof(facts->cluster));
		h = fnv32(h, &facts->database, sizeof(facts->database));
		h = fnv32(h, &facts->timeline, sizeof(facts->timeline));
		h = fnv32(h, facts->branch, strlen(facts->branch));
		/* the end of the one is not the beginning of the other */
		h = fnv32(h, "", 1);
		h = fnv32(h, facts->instance, strlen(facts->instance));
		origin = (int32) (h == 0 ? 1 : h);
	}
	return origin;
}

/* what the facts say of a database whose newest epoch is this one */
static TeCopy
judge(const TeFacts *was, const TeFacts *is)
{
	bool		named = was->instance[0] != '\0';

	if (is->database != was->database)
		return TE_COPY_OF_DATABASE;
	if (strcmp(is->branch, was->branch) != 0)
		return TE_COPY_OF_BRANCH;
	/* a name that is new on the same timeline is the first one given; on a new timeline it may be a clone's */
	if (strcmp(is->instance, was->instance) != 0 &&
		(named || is->timeline != was->timeline || is->cluster != was->cluster))
		return TE_COPY_OF_INSTANCE;
	if (is->cluster != was->cluster && !named)
		return TE_COPY_OF_CLUSTER;
	return TE_COPY_NONE;
}

/* ---- the uuid ------------------------------------------------------------- */

/* the uuid of a copy: 122 bits that follow from its original's and its own facts */
static void
derive(const pg_uuid_t *original, int32 origin, pg_uuid_t *copy)
{
	te_event_derive_id(original, origin, 0, copy);
}

const pg_uuid_t *
te_identity(void)
{
	static pg_uuid_t identity;
	static pg_uuid_t recorded;	/* what it was found from */
	static int32 of_epoch = 0;
	static bool as_primary = false;
	const TeEpoch *newest = te_epoch_newest();
	bool		primary = !RecoveryInProgress();

	/* a standby is its primary, as far as anybody can tell there */
	if (of_epoch == newest->number && as_primary == primary &&
		memcmp(&recorded, &newest->database_id, UUID_LEN) == 0)
		return &identity;
	identity = recorded = newest->database_id;
	if (primary && judge(&newest->facts, te_facts()) != TE_COPY_NONE)
		derive(&newest->database_id, te_log_origin(), &identity);
	of_epoch = newest->number;
	as_primary = primary;
	return &identity;
}

const pg_uuid_t *
te_identity_of(int32 origin)
{
	int			count;
	const TeEpoch *all = te_epochs(&count);

	for (int i = count - 1; i >= 0; i--)
		if (all[i].origin == origin)
			return &all[i].database_id;
	/* of an epoch that the engine has not noted yet */
	return te_identity();
}

/* ---- is it a copy? ---------------------------------------------------------- */

/* what the last look into each of the tables has found */
static struct
{
	Oid			relid;			/* InvalidOid: none yet */
	bool		foreign;
	pg_uuid_t	from;
}			looked[lengthof(te_identity_tables)];

/*
 * A row that another database has made.  Who holds a table exclusively has
 * committed no row into it since the last look, which then still counts; a
 * row that comes with its commit has the engine look again.
 */
static bool
foreign_row(int number, pg_uuid_t *from)
{
	Oid			relid = te_own_relation("todo_events", te_identity_tables[number]);
	AttrNumber	column = OidIsValid(relid) ? get_attnum(relid, "database_id") : InvalidAttrNumber;
	bool		found = false;
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (column == InvalidAttrNumber || get_atttype(relid, column) != UUIDOID)
		return false;
	if (!ConditionalLockRelationOid(relid, AccessShareLock))
	{
		if (looked[number].relid == relid)
		{
			*from = looked[number].foreign ? looked[number].from : *from;
			return looked[number].foreign;
		}
		LockRelationOid(relid, AccessShareLock);
	}
	rel = table_open(relid, NoLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, column, RelationGetDescr(rel), &isnull);

		if (!isnull && memcmp(DatumGetUUIDP(value), te_identity(), UUID_LEN) != 0)
		{
			*from = *DatumGetUUIDP(value);
			found = true;
		}
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	looked[number].relid = relid;
	looked[number].foreign = found;
	looked[number].from = *from;
	return found;
}

TeCopy
te_identity_copy(pg_uuid_t *from)
{
	const TeEpoch *newest = te_epoch_newest();
	TeCopy		copy = judge(&newest->facts, te_facts());

	*from = newest->database_id;
	for (int i = 0; copy == TE_COPY_NONE && te_identity_tables[i] != NULL; i++)
		if (foreign_row(i, from))
			copy = TE_COPY_RESTORED;
	return copy;
}

void
te_identity_init(void)
{
	te_instance_init();
	te_epoch_init();
}
