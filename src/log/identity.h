/*-------------------------------------------------------------------------
 *
 * identity.h
 *	  Who this database is, and whether it is a copy of another.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_LOG_IDENTITY_H
#define TE_LOG_IDENTITY_H

#include "access/xlogdefs.h"
#include "utils/uuid.h"

/* what tells a database from its physical copies */
typedef struct TeFacts
{
	uint64		cluster;		/* the server's system identifier */
	Oid			database;
	TimeLineID	timeline;
	const char *branch;			/* neon.timeline_id; "" elsewhere */
	const char *instance;		/* todo_events.instance, "" = not set */
} TeFacts;

/* of what is it a copy that nobody has adopted? */
typedef enum TeCopy
{
	TE_COPY_NONE,
	TE_COPY_OF_DATABASE,		/* CREATE DATABASE ... TEMPLATE */
	TE_COPY_OF_BRANCH,			/* a Neon branch */
	TE_COPY_OF_INSTANCE,		/* a physical copy with another todo_events.instance */
	TE_COPY_OF_CLUSTER,			/* another system identifier: pg_upgrade, where instance is not set */
	TE_COPY_RESTORED			/* a dump: rows of another database's configuration */
} TeCopy;

/* the facts of the server that we are in; not on a standby, which has no timeline of its own yet */
extern const TeFacts *te_facts(void);

/* the database's uuid: the namespace of its event ids.  Needs a transaction the first time. */
extern const pg_uuid_t *te_identity(void);

/* the uuid under which the row of the log with that origin and id was written */
extern const pg_uuid_t *te_identity_of(int32 origin, int64 id);

/* judged anew at each call, in a transaction; not on a standby.  *from: the other database's uuid, if known */
extern TeCopy te_identity_copy(pg_uuid_t *from);

/* the tables whose rows act outside the database, each with a column database_id; ends with NULL */
extern const char *const te_identity_tables[];

extern void te_identity_init(void);

#endif
