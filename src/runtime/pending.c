/*-------------------------------------------------------------------------
 *
 * pending.c
 *	  Parking a database, and what the end of a transaction, or of a
 *	  savepoint, has to do about databases.
 *
 * A parked database has no engine and gets none.  Commands may park it
 * several times at once, from several sessions; it is free again when all of
 * their transactions have ended, whichever way.  A session that is killed
 * takes the whole server through recovery, and shared memory begins anew.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "runtime/compat.h"
#include "runtime/pending.h"
#include "runtime/shmem.h"
#include "storage/ipc.h"
#include "storage/procarray.h"
#include "utils/memutils.h"

#define GONE_WITHIN_MS		4000	/* less than the five seconds that the command itself waits */

typedef struct PendingEntry
{
	Oid			dboid;
	TePending	kind;
	SubTransactionId savepoint; /* in which it was noted */
} PendingEntry;

static PendingEntry *pending = NULL;	/* in TopMemoryContext */
static int	npending = 0;
static int	room = 0;

/* what may fail of noting one more */
static void
make_room(void)
{
	if (npending < room)
		return;
	if (pending == NULL)
		pending = MemoryContextAlloc(TopMemoryContext, 16 * sizeof(PendingEntry));
	else
		pending = repalloc(pending, room * 2 * sizeof(PendingEntry));
	room = Max(16, room * 2);
}

static void
note(Oid dboid, TePending kind)
{
	pending[npending].dboid = dboid;
	pending[npending].kind = kind;
	pending[npending++].savepoint = GetCurrentSubTransactionId();
}

void
te_pending_add(Oid dboid, TePending kind)
{
	SubTransactionId savepoint = GetCurrentSubTransactionId();

	if (te_shared == NULL || (!OidIsValid(dboid) && kind != TE_PENDING_RELOAD))
		return;
	/* a thousand settings changed are one restart */
	for (int i = 0; i < npending; i++)
		if (pending[i].dboid == dboid && pending[i].kind == kind && pending[i].savepoint == savepoint)
			return;
	make_room();
	note(dboid, kind);
}

/* ---- stopping and starting an engine ---------------------------------- */

/* ask it to leave; under the lock, so that the pid is its own */
static int
stop_engine(TeDatabase *db)
{
	int			pid = db->pid;

	if (pid != 0)
	{
		db->restart_now = true;
		kill(pid, SIGTERM);
	}
	return pid;
}

void
te_pending_park(Oid dboid, bool dropped)
{
	TeDatabase *db;
	int			pid = 0;

	if (te_shared == NULL || !OidIsValid(dboid))
		return;
	make_room();
	LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
	db = te_shmem_find(dboid, true);
	if (db)
	{
		if (db->parked++ == 0)
			db->parked_from = db->state;
		pid = stop_engine(db);
		if (pid == 0)
			db->state = TE_DB_PARKED;
		note(dboid, dropped ? TE_PENDING_UNPARK_DROPPED : TE_PENDING_UNPARK);
	}
	LWLockRelease(te_shmem_lock());

	/*
	 * It gives its slot back before it leaves the list of processes that the
	 * command looks at, and has its slot before it enters that list.
	 */
	for (int waited = 0; pid != 0 && waited < GONE_WITHIN_MS; waited += 2)
	{
		if (((volatile TeDatabase *) db)->pid != pid && BackendPidGetProc(pid) == NULL)
			break;
		(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 2, PG_WAIT_EXTENSION);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
unpark(Oid dboid, bool dropped)
{
	TeDatabase *db;

	LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
	db = te_shmem_find(dboid, false);
	if (db && db->parked > 0 && --db->parked == 0 && db->pid == 0)
	{
		db->looking = false;
		if (dropped)
		{
			db->state = TE_DB_FREE;
			db->dboid = InvalidOid;
			db->seated = false;
		}
		else if (db->parked_from == TE_DB_ABSENT && !db->requested)
			db->state = TE_DB_ABSENT;	/* nothing was served, e.g. template1 */
		else if (db->parked_from == TE_DB_WAITING)
			db->state = TE_DB_WAITING;
		else
		{
			/* nobody knows yet what is there, or an engine was */
			db->state = db->seated || db->requested ? TE_DB_BACKOFF : TE_DB_PROBE;
			db->restart_at = 0;
			db->failures = 0;
		}
	}
	LWLockRelease(te_shmem_lock());
	te_shmem_wake_launcher();
}

static void
restart(Oid dboid)
{
	TeDatabase *db;

	LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
	db = te_shmem_find(dboid, false);
	if (db)
		stop_engine(db);
	LWLockRelease(te_shmem_lock());
}

/* the engine finds the difference itself, when any prepared transaction has committed */
static void
restart_later(Oid dboid)
{
	TeDatabase *db;

	LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
	db = te_shmem_find(dboid, false);
	if (db)
		db->settings_prepared = true;
	LWLockRelease(te_shmem_lock());
}

/* ---- the end ---------------------------------------------------------- */

bool
te_pending_any(void)
{
	return npending > 0;
}

static void
carry_out(const PendingEntry *entry, bool committed, bool prepared)
{
	switch (entry->kind)
	{
		case TE_PENDING_UNPARK:
			unpark(entry->dboid, false);
			break;
		case TE_PENDING_UNPARK_DROPPED:
			unpark(entry->dboid, committed);
			break;
		case TE_PENDING_RESTART:
			if (committed)
				restart(entry->dboid);
			else if (prepared)
				restart_later(entry->dboid);
			break;
		case TE_PENDING_RELOAD:
			if (committed)
				te_shmem_reload(entry->dboid);
			break;
		case TE_PENDING_PROBE:
			/* if prepared, COMMIT PREPARED sees pg_database changed */
			if (committed)
				te_shmem_request(entry->dboid, false);
			break;
	}
}

void
te_pending_at_end(bool committed, bool prepared)
{
	for (int i = 0; i < npending; i++)
		carry_out(&pending[i], committed, prepared);
	npending = 0;
}

/*
 * ROLLBACK TO, or an exception caught: what was done in between is undone now,
 * as the transaction may go on for long.  An engine that is started a moment
 * before the locks are released waits for them.
 */
static void
at_savepoint(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	int			kept = 0;

	(void) arg;
	if (likely(npending == 0) || (event != SUBXACT_EVENT_ABORT_SUB && event != SUBXACT_EVENT_COMMIT_SUB))
		return;
	for (int i = 0; i < npending; i++)
	{
		PendingEntry entry = pending[i];

		if (entry.savepoint == mine && event == SUBXACT_EVENT_ABORT_SUB)
		{
			carry_out(&entry, false, false);
			continue;
		}
		if (entry.savepoint == mine)
			entry.savepoint = parent;
		pending[kept++] = entry;
	}
	npending = kept;
}

void
te_pending_init(void)
{
	RegisterSubXactCallback(at_savepoint, NULL);
}
