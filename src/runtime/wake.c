/*-------------------------------------------------------------------------
 *
 * wake.c
 *	  What happens at commit: the engine's latch is set, and what else this
 *	  transaction asked for.
 *
 * Callbacks registered once, at load.  After the commit nothing may fail any
 * more, so they only raise counters, set latches and, where a slot's state
 * changes, take the lock of the slots.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "runtime/compat.h"
#include "runtime/databases.h"
#include "runtime/pending.h"
#include "runtime/shmem.h"
#include "runtime/wake.h"
#include "utils/resowner.h"

static bool asked = false;		/* has this session looked whether its database is registered? */
static bool append_noted = false;
static bool reload_noted = false;
static bool register_noted = false;
static bool drop_noted = false; /* of the extension */

/* what is left to do when this transaction's resources are released */
static bool ending = false;
static bool reload_at_end = false;
static bool register_at_end = false;
static bool preparing = false;	/* not known yet whether it will commit */

static object_access_hook_type previous_object_access_hook = NULL;

/* may this database have workers?  Asked while there is a transaction to look up its name in */
static bool
permitted(void)
{
	TeVerdict	verdict = te_databases_verdict(MyDatabaseId);

	return verdict == TE_VERDICT_SERVE || verdict == TE_VERDICT_CLOSED;
}

/* does anybody know that the extension is here? */
static bool
is_registered(void)
{
	TeDatabase *db = te_shmem_my_database(false);

	return db != NULL && (db->state != TE_DB_ABSENT || db->barred);
}

void
te_wake_note_append(void)
{
	append_noted = true;
	if (!asked)
	{
		/* once a session: a database that nobody has registered yet gets its engine */
		asked = true;
		if (te_shared && !is_registered() && !IsBinaryUpgrade && permitted())
			register_noted = true;
	}
}

bool
te_wake_appended(void)
{
	return append_noted;
}

void
te_wake_note_reload(void)
{
	reload_noted = true;
}

void
te_wake_note_register(void)
{
	if (te_shared && !IsBinaryUpgrade && permitted())
		register_noted = true;
}

void
te_wake_engine(TeDatabase *db)
{
	Latch	   *latch;

	if (db == NULL)
		db = te_shmem_my_database(false);
	if (db == NULL)
		return;
	pg_atomic_fetch_add_u64(&db->wakeups, 1);
	/* the latch lives in shared memory for ever; at worst its new owner wakes once for nothing */
	latch = db->latch;
	if (latch)
		SetLatch(latch);
}

/* as te_wake_engine, but for nothing more than a commit with events */
static void
wake_by_commit(void)
{
	TeDatabase *db = te_shmem_my_database(false);
	Latch	   *latch;

	if (db == NULL)
		return;
	/* a full barrier: either we see the engine deaf no longer, or it sees the counter raised */
	pg_atomic_fetch_add_u64(&db->wakeups, 1);
	if (pg_atomic_read_u32(&db->deaf) != 0)
		return;
	latch = db->latch;
	if (latch)
		SetLatch(latch);
}

/* have the engine reload, now */
static void
reload_now(void)
{
	TeDatabase *db = te_shmem_my_database(false);

	if (db)
	{
		pg_atomic_write_u32(&db->reload, 1);
		te_wake_engine(db);
	}
}

/*
 * COMMIT PREPARED: what the other transaction had noted is forgotten since its
 * PREPARE; it may have created the extension.
 */
void
te_wake_commit_prepared(bool databases_changed)
{
	if (!is_registered() && OidIsValid(get_extension_oid("todo_events", true)))
		te_wake_note_register();
	/* its events may be among what it appended, its settings too */
	reload_now();
	for (int i = 0; i < te_shmem_slots(); i++)
		if (te_shmem_slot(i)->settings_prepared)
			te_shmem_reload(te_shmem_slot(i)->dboid);
	if (databases_changed)
		te_shmem_look_again();
}

static void
at_xact_event(XactEvent event, void *arg)
{
	(void) arg;
	preparing = event == XACT_EVENT_PREPARE;
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			if (append_noted)
				wake_by_commit();
			ending = reload_noted || register_noted || te_pending_any();
			reload_at_end = reload_noted;
			register_at_end = register_noted;
			break;
		case XACT_EVENT_ABORT:
			asked = false;
			/* roles that failed at the locks of a DROP EXTENSION need not wait for the end of their backoff */
			ending = drop_noted || te_pending_any();
			reload_at_end = drop_noted;
			break;
		case XACT_EVENT_PREPARE:
			/* COMMIT PREPARED wakes, see te_parking_init's utility hook; a database is unparked now */
			asked = false;
			ending = te_pending_any();
			break;
		default:
			return;
	}
	append_noted = reload_noted = register_noted = drop_noted = false;
}

/*
 * The rest waits until the transaction's invalidation messages are out and
 * its locks are gone: who is woken earlier may still believe his caches.
 */
static void
at_release(ResourceReleasePhase phase, bool committed, bool top_level, void *arg)
{
	(void) arg;
	if (likely(!ending) || phase != RESOURCE_RELEASE_AFTER_LOCKS || !top_level)
		return;
	ending = false;
	if (committed && register_at_end)
		te_shmem_request(MyDatabaseId, true);
	if (reload_at_end && !preparing)
		reload_now();
	te_pending_at_end(committed && !preparing, preparing);
	reload_at_end = register_at_end = false;
}

/* the engine of a database that loses the extension has to notice */
static void
object_access(ObjectAccessType access, Oid classId, Oid objectId, int subId, void *arg)
{
	if (previous_object_access_hook)
		previous_object_access_hook(access, classId, objectId, subId, arg);
	if (access == OAT_DROP && classId == ExtensionRelationId)
	{
		te_wake_note_reload();
		drop_noted = true;
	}
}

void
te_wake_init(void)
{
	RegisterXactCallback(at_xact_event, NULL);
	RegisterResourceReleaseCallback(at_release, NULL);
	previous_object_access_hook = object_access_hook;
	object_access_hook = object_access;
}

/* called at the end of the install script: the engine starts when that has committed */
PG_FUNCTION_INFO_V1(te_register);
Datum
te_register(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	te_wake_note_register();
	PG_RETURN_VOID();
}
