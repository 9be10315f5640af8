/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Differences between the PostgreSQL versions that this builds on
 *	  (15 to 18), and between C libraries, in one place.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_RUNTIME_COMPAT_H
#define TE_RUNTIME_COMPAT_H

#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "storage/latch.h"
#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif
#if PG_VERSION_NUM >= 170000
#include "utils/wait_event.h"
#else
#include "pgstat.h"
#endif
#include "utils/acl.h"
#include "utils/backend_status.h"
#include "utils/guc_tables.h"
#include "utils/lsyscache.h"	/* 18: get_database_name() */
#include "utils/memutils.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"				/* 16: no longer part of postgres.h */
#endif

/* 18: the attribute comes first */
#ifndef pg_noreturn
#define pg_noreturn pg_attribute_noreturn()
#endif

/* 17: a wait set belongs to a resource owner; ours lives as long as the process */
static inline WaitEventSet *
te_compat_wait_set(int events)
{
#if PG_VERSION_NUM >= 170000
	return CreateWaitEventSet(NULL, events);
#else
	return CreateWaitEventSet(TopMemoryContext, events);
#endif
}

/* 17: extensions name their wait events; before, all are "Extension" */
static inline uint32
te_compat_wait_event(const char *name)
{
#if PG_VERSION_NUM >= 170000
	return WaitEventExtensionNew(name);
#else
	(void) name;
	return PG_WAIT_EXTENSION;
#endif
}

/* 16: the same under another name.  i counts from 1; the numbers are those of pgstat_fetch_stat_numbackends() */
static inline PgBackendStatus *
te_compat_backend_status(int i)
{
#if PG_VERSION_NUM >= 160000
	LocalPgBackendStatus *local = pgstat_get_local_beentry_by_index(i);
#else
	LocalPgBackendStatus *local = pgstat_fetch_stat_local_beentry(i);
#endif

	return local ? &local->backendStatus : NULL;
}

/* 16: one ownership check for every class of object */
static inline bool
te_compat_owns_database(Oid dboid, Oid roleid)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(DatabaseRelationId, dboid, roleid);
#else
	return pg_database_ownercheck(dboid, roleid);
#endif
}

static inline bool
te_compat_owns_extension(Oid extension, Oid roleid)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(ExtensionRelationId, extension, roleid);
#else
	return pg_extension_ownercheck(extension, roleid);
#endif
}

static inline bool
te_compat_owns_relation(Oid relid, Oid roleid)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(RelationRelationId, relid, roleid);
#else
	return pg_class_ownercheck(relid, roleid);
#endif
}

/* 17: the local transaction id moved into a struct; use needs storage/proc.h */
#if PG_VERSION_NUM < 170000
#define te_compat_lxid() (MyProc->lxid)
#else
#define te_compat_lxid() (MyProc->vxid.lxid)
#endif

/* a setting with its origins, NULL if there is none of that name; 16: by the server's own look-up */
static inline struct config_generic *
te_compat_find_guc(const char *name)
{
#if PG_VERSION_NUM >= 160000
	return find_option(name, false, true, 0);
#else
	struct config_generic **all = get_guc_variables();

	for (int i = 0; i < GetNumConfigOptions(); i++)
		if (strcmp(all[i]->name, name) == 0)
			return all[i];
	return NULL;
#endif
}

/* glibc 2.34 can close inherited descriptors in the spawned child */
#if defined(__GLIBC__) && defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 34)
#define TE_HAVE_SPAWN_CLOSEFROM 1
#endif
#endif

/* 18: index scans count for EXPLAIN */
#if PG_VERSION_NUM >= 180000
#define te_compat_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#else
#define te_compat_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, nkeys, 0)
#endif

/* 15.13, 16.9, 17.5: a flag beside another says what a boolean said; use needs replication/walsender_private.h */
#ifdef SYNC_STANDBY_DEFINED
#define te_compat_sync_standbys_defined() ((WalSndCtl->sync_standbys_status & SYNC_STANDBY_DEFINED) != 0)
#else
#define te_compat_sync_standbys_defined() (WalSndCtl->sync_standbys_defined)
#endif

/* 16: a truncation may run as the table's owner.  The third argument, the relations to be logged, stays empty. */
#if PG_VERSION_NUM >= 160000
#define te_compat_truncate(rel) \
	ExecuteTruncateGuts(list_make1(rel), list_make1_oid(RelationGetRelid(rel)), NIL, DROP_RESTRICT, false, false)
#else
#define te_compat_truncate(rel) \
	ExecuteTruncateGuts(list_make1(rel), list_make1_oid(RelationGetRelid(rel)), NIL, DROP_RESTRICT, false)
#endif

/* 17: a stronger lock may be asked for as well; use needs storage/lock.h */
#if PG_VERSION_NUM >= 170000
#define te_compat_lock_held(tag, mode) LockHeldByMe(tag, mode, false)
#else
#define te_compat_lock_held(tag, mode) LockHeldByMe(tag, mode)
#endif

/* 18: a deferrable primary key is asked for by name */
#if PG_VERSION_NUM >= 180000
#define te_compat_primary_key(rel) RelationGetPrimaryKeyIndex(rel, false)
#else
#define te_compat_primary_key(rel) RelationGetPrimaryKeyIndex(rel)
#endif

#endif
