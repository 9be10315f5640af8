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
 * database's uuid.  Until adopt() gives a copy a uuid of its own, it goes by
 * one that follows from its original's and the facts.
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

/* what a copy goes by until it is adopted: two copies with the same facts have the same */
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
te_identity_of(int32 origin, int64 id)
{
	int			count;
	const TeEpoch *all = te_epochs(&count);
	const TeEpoch *found = NULL;

	/*
	 * The newest that had begun when the row was written; or the first, where
	 * rows were written before it was noted.  A copy can have the facts that
	 * its original once had.
	 */
	for (int i = 0; i < count; i++)
		if (all[i].origin == origin && (found == NULL || all[i].first_id <= id))
			found = &all[i];
	return found != NULL ? &found->database_id : te_identity();
}

/* ---- is it a copy? ---------------------------------------------------------- */

/*
 * A row that another database has made.  Where the table is held locked, an
 * engine gives up after its lock_timeout, and looks again when it is started
 * again: without a look nothing is sent.
 */
static bool
foreign_row(const char *table, pg_uuid_t *from)
{
	Oid			relid = te_own_relation("todo_events", table);
	AttrNumber	column = OidIsValid(relid) ? get_attnum(relid, "database_id") : InvalidAttrNumber;
	bool		found = false;
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (column == InvalidAttrNumber || get_atttype(relid, column) != UUIDOID)
		return false;
	rel = table_open(relid, AccessShareLock);
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
	return found;
}

TeCopy
te_identity_copy(pg_uuid_t *from)
{
	const TeEpoch *newest = te_epoch_newest();
	TeCopy		copy = judge(&newest->facts, te_facts());

	*from = newest->database_id;
	for (int i = 0; copy == TE_COPY_NONE && te_identity_tables[i] != NULL; i++)
		if (foreign_row(te_identity_tables[i], from))
			copy = TE_COPY_RESTORED;
	return copy;
}

void
te_identity_init(void)
{
	te_instance_init();
	te_epoch_init();
}
