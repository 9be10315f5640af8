/*-------------------------------------------------------------------------
 *
 * shmem.c
 *	  Shared memory: one slot a database, behind one lightweight lock.
 *
 * The lock is taken by what changes a slot's state (launcher, engine start
 * and end, parking, health lines) and never on a writer's path: a commit
 * reads the latch's address and raises an atomic counter.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "runtime/settings.h"
#include "runtime/shmem.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

TeShared   *te_shared = NULL;

static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

static Size
shared_size(void)
{
	return add_size(offsetof(TeShared, slots),
					mul_size(sizeof(TeDatabase), te_setting_int(TE_SET_MAX_DATABASES)));
}

static void
request(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(shared_size());
	RequestNamedLWLockTranche("todo_events", 1);
}

static void
init_slot(TeDatabase *db)
{
	pg_atomic_uint64 *counter = (pg_atomic_uint64 *) &db->counters;

	memset(db, 0, sizeof(*db));
	pg_atomic_init_u64(&db->wakeups, 0);
	pg_atomic_init_u64(&db->wait_requested, 0);
	pg_atomic_init_u64(&db->wait_done, 0);
	pg_atomic_init_u32(&db->reload, 0);
	pg_atomic_init_u32(&db->deaf, 0);
	pg_atomic_init_u32(&db->counter_state, 0);
	pg_atomic_init_u64(&db->counter_tombstones, 0);
	ConditionVariableInit(&db->wait_cv);
	/* TeCounters is nothing but counters */
	for (size_t i = 0; i < sizeof(TeCounters) / sizeof(pg_atomic_uint64); i++)
		pg_atomic_init_u64(&counter[i], 0);
}

static void
startup(void)
{
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	te_shared = ShmemInitStruct("todo_events", shared_size(), &found);
	if (!found)
	{
		memset(te_shared, 0, offsetof(TeShared, slots));
		te_shared->lock = &GetNamedLWLockTranche("todo_events")->lock;
		te_shared->nslots = te_setting_int(TE_SET_MAX_DATABASES);
		for (int i = 0; i < te_shared->nslots; i++)
			init_slot(&te_shared->slots[i]);
	}
	LWLockRelease(AddinShmemInitLock);
}

void
te_shmem_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup;
}

bool
te_shmem_available(void)
{
	return te_shared != NULL;
}

LWLock *
te_shmem_lock(void)
{
	return te_shared->lock;
}

int
te_shmem_slots(void)
{
	return te_shared ? te_shared->nslots : 0;
}

TeDatabase *
te_shmem_slot(int i)
{
	return &te_shared->slots[i];
}

/* a database without the extension gives its slot up to one that needs it */
static bool
is_spare(const TeDatabase *db)
{
	return db->state == TE_DB_FREE ||
		(db->state == TE_DB_ABSENT && db->parked == 0 && db->pid == 0);
}

bool
te_shmem_has_spare(void)
{
	for (int i = 0; i < te_shared->nslots; i++)
		if (is_spare(&te_shared->slots[i]))
			return true;
	return false;
}

TeDatabase *
te_shmem_find(Oid dboid, bool create)
{
	TeDatabase *spare = NULL;

	for (int i = 0; i < te_shared->nslots; i++)
	{
		TeDatabase *db = &te_shared->slots[i];

		if (db->state != TE_DB_FREE && db->dboid == dboid)
			return db;
		if (is_spare(db) && (spare == NULL || (spare->state != TE_DB_FREE && db->state == TE_DB_FREE)))
			spare = db;
	}
	if (!create || spare == NULL)
		return NULL;

	/*
	 * Waiters of the old database's condition variable cannot exist: it had
	 * no engine.  The atomic counters are cleared with the rest.
	 */
	init_slot(spare);
	spare->dboid = dboid;
	spare->state = TE_DB_ABSENT;
	return spare;
}

void
te_shmem_count_seats(int *taken, int *waiting)
{
	int			seated = 0;
	int			queue = 0;

	for (int i = 0; i < te_shared->nslots; i++)
	{
		TeDatabase *db = &te_shared->slots[i];

		seated += db->state != TE_DB_FREE && db->seated;
		queue += db->state == TE_DB_WAITING;
	}
	if (taken)
		*taken = seated;
	if (waiting)
		*waiting = queue;
}

bool
te_shmem_take_seat(TeDatabase *db)
{
	int			taken;

	if (!db->seated)
	{
		te_shmem_count_seats(&taken, NULL);
		db->seated = taken < te_shared->seats;
	}
	if (db->seated)
		db->waiting_since = 0;
	return db->seated;
}

TeDatabase *
te_shmem_my_database(bool create)
{
	static TeDatabase *mine = NULL;

	if (te_shared == NULL || !OidIsValid(MyDatabaseId))
		return NULL;

	/*
	 * Without the lock: a slot given to another database meanwhile fails this
	 * test, or is hit by one wake-up too many.
	 */
	if (mine && mine->dboid == MyDatabaseId)
		return mine;
	LWLockAcquire(te_shared->lock, create ? LW_EXCLUSIVE : LW_SHARED);
	mine = te_shmem_find(MyDatabaseId, create);
	LWLockRelease(te_shared->lock);
	return mine;
}

void
te_shmem_wake_launcher(void)
{
	Latch	   *latch = te_shared ? te_shared->launcher_latch : NULL;

	if (latch)
		SetLatch(latch);
}

void
te_shmem_request(Oid dboid, bool known)
{
	TeDatabase *db;

	if (te_shared == NULL)
		return;
	LWLockAcquire(te_shared->lock, LW_EXCLUSIVE);
	db = te_shmem_find(dboid, true);
	if (db == NULL)
		te_shared->left_out = true;
	else
	{
		if (known)
			db->requested = true;
		if (db->state == TE_DB_ABSENT && db->parked == 0)
		{
			db->state = known ? TE_DB_BACKOFF : TE_DB_PROBE;
			db->restart_at = 0;
			db->failures = 0;
			db->barred = false;
		}
		else if (db->state == TE_DB_BACKOFF || db->state == TE_DB_PROBE)
			db->restart_at = 0;
	}
	LWLockRelease(te_shared->lock);
	te_shmem_wake_launcher();
}

void
te_shmem_look_again(void)
{
	if (te_shared == NULL)
		return;
	LWLockAcquire(te_shared->lock, LW_EXCLUSIVE);
	te_shared->look_again = true;
	LWLockRelease(te_shared->lock);
	te_shmem_wake_launcher();
	te_shmem_reload(InvalidOid);
}

void
te_shmem_reload(Oid dboid)
{
	if (te_shared == NULL)
		return;
	LWLockAcquire(te_shared->lock, LW_SHARED);
	for (int i = 0; i < te_shared->nslots; i++)
	{
		TeDatabase *db = &te_shared->slots[i];

		if (db->state == TE_DB_FREE || db->pid == 0 || (OidIsValid(dboid) && db->dboid != dboid))
			continue;
		pg_atomic_write_u32(&db->reload, 1);
		if (db->latch)
			SetLatch(db->latch);
	}
	LWLockRelease(te_shared->lock);
}
