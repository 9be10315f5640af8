/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  The launcher: finds the databases that have the extension and keeps an
 *	  engine running in each.
 *
 * It connects to no database.  At start and at promotion (it does not run
 * before) it looks into every database that may have workers, one after
 * another, by starting an engine there, which leaves at once where the
 * extension is missing.  Afterwards it sleeps on its latch, without a
 * timeout, until a slot changes: an install script's commit, the end of an
 * engine, a database unparked.
 *
 *	   PROBE ----> STARTING ----> RUNNING ----> BACKOFF --restart_at--> STARTING
 *	                   \-> ABSENT    \-> ABSENT (extension dropped)
 *	                   \-> WAITING --a seat is free--> STARTING
 *	   any of these --CREATE/ALTER/DROP DATABASE--> PARKED --its end--> BACKOFF
 *
 * Two things are scarce.  Slots of ours in shared memory (max_databases): a
 * database that found none is looked into again when one gets free.  Worker
 * slots of the server (max_worker_processes): engines take what other
 * extensions leave, but for some that parallel query and others always find.
 * So many databases have a seat, which they keep through restarts and
 * commands that park them, until the extension or the database is dropped or
 * closed; then it goes to the one that has waited longest.  Who waits is told
 * so by health(), and costs nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "runtime/compat.h"
#include "runtime/databases.h"
#include "runtime/engine.h"
#include "runtime/launcher.h"
#include "runtime/settings.h"
#include "runtime/shmem.h"
#include "runtime/shortage.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#define NO_WORKER_FIRST_MS	100		/* doubled up to TE_NO_WORKER_RETRY_MS */
#define NEVER_CAME_RETRY_MS	1000
#define CLOSED_RETRY_MS		60000	/* ALLOW_CONNECTIONS false: look again */
#define LOOK_PATIENCE_MS	1000	/* a database that is locked does not keep us from looking into others */
#define SEATS_RETRY_MS		60000	/* other extensions' workers may have ended */

PGDLLEXPORT void te_launcher_main(Datum arg);

/* databases still to be looked into, in TopMemoryContext */
static List *to_probe = NIL;

/* what the postmaster knows of the engines that this launcher has started */
static BackgroundWorkerHandle **handles;

/* a worker that has just ended holds its slot for a moment longer: at first, try again soon */
static int	no_worker_ms = NO_WORKER_FIRST_MS;

/* one that is to be started in this round */
typedef struct Candidate
{
	int			number;			/* of its slot */
	Oid			dboid;
} Candidate;

static void
sooner(TimestampTz *again, TimestampTz at)
{
	*again = *again == 0 ? at : Min(*again, at);
}

/*
 * Have every database that may have workers looked into; with "unknown",
 * those only that have no slot.
 */
static void
list_databases(bool unknown)
{
	TeDatabaseRow *rows;
	int			n;
	MemoryContext old;

	/* before the look, so that a change which it does not see is not forgotten */
	LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
	te_shared->look_again = false;
	te_shared->left_out = false;
	LWLockRelease(te_shmem_lock());

	n = te_databases_list(&rows);
	old = MemoryContextSwitchTo(TopMemoryContext);
	for (int i = 0; i < n; i++)
	{
		bool		known;

		if (rows[i].verdict != TE_VERDICT_SERVE)
			continue;
		LWLockAcquire(te_shmem_lock(), LW_SHARED);
		known = te_shmem_find(rows[i].dboid, false) != NULL;
		LWLockRelease(te_shmem_lock());
		if (!unknown || !known)
			to_probe = list_append_unique_oid(to_probe, rows[i].dboid);
	}
	MemoryContextSwitchTo(old);
	pfree(rows);
}

/* ---- starting engines ------------------------------------------------- */

/* under the lock: it has not been started after all; is a command waiting for it? */
static void
not_started(TeDatabase *db, TimestampTz restart_at)
{
	if (db->parked > 0)
		db->state = TE_DB_PARKED;
	else
		db->state = db->looking ? TE_DB_PROBE : TE_DB_BACKOFF;
	db->looking = false;
	db->restart_at = restart_at;
}

/* the slot is STARTING, and the lock is not held; false if the server has no worker to spare */
static bool
start_engine(int number)
{
	TeDatabase *db = te_shmem_slot(number);
	BackgroundWorker worker;
	MemoryContext caller;
	bool		started;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	snprintf(worker.bgw_library_name, sizeof(worker.bgw_library_name), "todo_events");
	snprintf(worker.bgw_function_name, sizeof(worker.bgw_function_name), TE_ENGINE_FUNCTION);
	snprintf(worker.bgw_name, BGW_MAXLEN, "todo_events engine for database %u", db->dboid);
	snprintf(worker.bgw_type, BGW_MAXLEN, "todo_events engine");
	worker.bgw_main_arg = Int32GetDatum(number);
	memcpy(worker.bgw_extra, &db->dboid, sizeof(db->dboid));
	worker.bgw_notify_pid = MyProcPid;

	if (handles[number])
	{
		pfree(handles[number]);
		handles[number] = NULL;
	}
	/* the handle outlives the round in whose memory we are */
	caller = MemoryContextSwitchTo(TopMemoryContext);
	started = RegisterDynamicBackgroundWorker(&worker, &handles[number]);
	MemoryContextSwitchTo(caller);
	return started;
}

/* an engine that ended before it claimed its slot cannot say so itself */
static bool
never_came(int number)
{
	pid_t		pid;

	return handles[number] && GetBackgroundWorkerPid(handles[number], &pid) == BGWH_STOPPED;
}

/* under the lock: whoever of those that wait has done so longest; NULL if no seat is free */
static TeDatabase *
next_waiting(void)
{
	TeDatabase *first = NULL;

	for (int i = 0; i < te_shmem_slots(); i++)
	{
		TeDatabase *db = te_shmem_slot(i);

		if (db->state == TE_DB_WAITING && db->parked == 0 &&
			(first == NULL || db->waiting_since < first->waiting_since))
			first = db;
	}
	return first && te_shmem_take_seat(first) ? first : NULL;
}

/*
 * Under the lock: the slot of the next database to be looked into, -1 if
 * there is none.  One that was asked for is before those of a list.
 */
static int
next_look(TimestampTz now, TimestampTz *again)
{
	for (int i = 0; i < te_shmem_slots(); i++)
	{
		TeDatabase *db = te_shmem_slot(i);

		if (db->state != TE_DB_PROBE || db->parked > 0)
			continue;
		if (db->restart_at <= now)
			return i;
		sooner(again, db->restart_at);
	}
	while (to_probe != NIL)
	{
		Oid			dboid = linitial_oid(to_probe);
		TeDatabase *db = te_shmem_find(dboid, true);

		if (db == NULL)
		{
			/* nor for the rest; they come when a slot gets free */
			te_shared->left_out = true;
			list_free(to_probe);
			to_probe = NIL;
			return -1;
		}
		to_probe = list_delete_first(to_probe);
		if (db->parked > 0)
			db->requested = true;	/* its turn comes when it is unparked */
		else if (db->state == TE_DB_ABSENT)
		{
			db->failures = 0;
			return db - te_shmem_slot(0);
		}
		else if (db->state == TE_DB_BACKOFF || db->state == TE_DB_PROBE)
		{
			/* it may have been closed, and be open again */
			db->restart_at = Min(db->restart_at, now);
			sooner(again, now);
		}
	}
	return -1;
}

/* under the lock: make those STARTING that are due; *again: when the next one is */
static int
choose(Candidate *chosen, TimestampTz now, TimestampTz *again)
{
	int			n = 0;
	bool		looking = false;
	TeDatabase *db;
	int			number;

	for (int i = 0; i < te_shmem_slots(); i++)
	{
		db = te_shmem_slot(i);
		if (db->state == TE_DB_STARTING && db->pid == 0 && never_came(i))
			not_started(db, now + NEVER_CAME_RETRY_MS * INT64CONST(1000));
		if (db->state == TE_DB_STARTING && db->looking)
		{
			TimestampTz until = db->looking_since + LOOK_PATIENCE_MS * INT64CONST(1000);

			if (until > now)
			{
				looking = true;
				sooner(again, until);
			}
		}
		if (db->state != TE_DB_BACKOFF || db->parked > 0)
			continue;
		if (db->restart_at > now)
			sooner(again, db->restart_at);
		else if (db->seated)
			chosen[n++] = (Candidate) {i, db->dboid};
		else
		{
			/* behind those that have waited longer */
			db->state = TE_DB_WAITING;
			if (db->waiting_since == 0)
				db->waiting_since = now;
		}
	}
	while ((db = next_waiting()) != NULL)
	{
		db->state = TE_DB_STARTING;
		chosen[n++] = (Candidate) {db - te_shmem_slot(0), db->dboid};
	}
	if (!looking && (number = next_look(now, again)) >= 0)
	{
		db = te_shmem_slot(number);
		db->looking = true;
		db->looking_since = now;
		chosen[n++] = (Candidate) {number, db->dboid};
		sooner(again, now + LOOK_PATIENCE_MS * INT64CONST(1000));
	}
	for (int i = 0; i < n; i++)
		te_shmem_slot(chosen[i].number)->state = TE_DB_STARTING;
	return n;
}

/* a chosen one that pg_database says cannot, or shall not, have an engine */
static void
refuse(const Candidate *candidate, TeVerdict verdict, TimestampTz now, TimestampTz *again)
{
	TeDatabase *db = te_shmem_slot(candidate->number);

	LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
	if (db->state == TE_DB_STARTING && db->pid == 0 && db->dboid == candidate->dboid)
	{
		db->seated = false;
		if (verdict == TE_VERDICT_CLOSED && !db->looking)
		{
			/* it may be opened again by an UPDATE, which no hook of ours sees */
			not_started(db, now + CLOSED_RETRY_MS * INT64CONST(1000));
			sooner(again, db->restart_at);
		}
		else
		{
			db->looking = false;
			db->barred = verdict != TE_VERDICT_GONE;
			db->state = db->parked > 0 ? TE_DB_PARKED : TE_DB_ABSENT;
			/* somebody may have waited for its slot, or its seat */
			sooner(again, now);
		}
	}
	LWLockRelease(te_shmem_lock());
}

/* what was chosen and finds no worker slot is put back */
static void
put_back(const Candidate *candidate, TimestampTz restart_at)
{
	TeDatabase *db = te_shmem_slot(candidate->number);

	LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
	if (db->state == TE_DB_STARTING && db->pid == 0 && db->dboid == candidate->dboid)
		not_started(db, restart_at);
	LWLockRelease(te_shmem_lock());
}

/*
 * Start what is due, and say when to look again (0: when woken).  One
 * database is looked into at a time, so that a cluster with many databases
 * is not hit by many connections at its start.
 */
static TimestampTz
start_due(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz again = 0;
	bool		no_worker = false;
	bool		settled = true;
	TimestampTz retry;
	Candidate  *chosen = palloc(te_shmem_slots() * sizeof(Candidate));
	int			n;
	int			seats;
	bool		look;

	LWLockAcquire(te_shmem_lock(), LW_SHARED);
	retry = now + no_worker_ms * INT64CONST(1000);
	look = te_shared->look_again;
	if (!look && te_shared->left_out && to_probe == NIL && te_shmem_has_spare())
		look = true;
	LWLockRelease(te_shmem_lock());
	if (look)
		list_databases(!te_shared->look_again);

	seats = te_shortage_seats();
	LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
	te_shared->seats = seats;
	n = choose(chosen, now, &again);
	for (int i = 0; i < te_shmem_slots(); i++)
	{
		TeDatabase *db = te_shmem_slot(i);

		if (db->looking || db->state == TE_DB_PROBE)
			settled = false;
		if (db->state == TE_DB_WAITING)
			sooner(&again, now + SEATS_RETRY_MS * INT64CONST(1000));
	}
	LWLockRelease(te_shmem_lock());

	if (n > 0)
	{
		TeDatabaseRow *rows;
		int			nrows = te_databases_list(&rows);

		for (int i = 0; i < n; i++)
		{
			TeVerdict	verdict = te_databases_find(rows, nrows, chosen[i].dboid);

			if (verdict != TE_VERDICT_SERVE)
				refuse(&chosen[i], verdict, now, &again);
			else if (no_worker || !start_engine(chosen[i].number))
			{
				/* what is left of this round would find none either */
				no_worker = true;
				put_back(&chosen[i], retry);
				sooner(&again, retry);
			}
		}
		no_worker_ms = no_worker ? Min(no_worker_ms * 2, TE_NO_WORKER_RETRY_MS) : NO_WORKER_FIRST_MS;
		te_shared->out_of_workers = no_worker;
	}
	if (to_probe != NIL)
		settled = false;
	/* a round that tries nothing knows no better than the last one */
	te_shortage_tell((n > 0 ? no_worker : te_shared->out_of_workers) && no_worker_ms == TE_NO_WORKER_RETRY_MS,
					 settled, now);
	return again;
}

static void
leave_shared(int code, Datum arg)
{
	(void) code;
	(void) arg;
	LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
	te_shared->launcher_latch = NULL;
	te_shared->launcher_pid = 0;
	LWLockRelease(te_shmem_lock());
}

void
te_launcher_main(Datum arg)
{
	uint32		wait_event;
	MemoryContext round;
	char	   *permitted;

	(void) arg;
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	pgstat_report_appname("todo_events launcher");
	wait_event = te_compat_wait_event("TodoEventsLauncher");
	handles = MemoryContextAllocZero(TopMemoryContext, te_shmem_slots() * sizeof(*handles));
	round = AllocSetContextCreate(TopMemoryContext, "todo_events launcher", ALLOCSET_DEFAULT_SIZES);

	before_shmem_exit(leave_shared, (Datum) 0);
	LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
	te_shared->launcher_latch = MyLatch;
	te_shared->launcher_pid = MyProcPid;
	/*
	 * An engine that an earlier launcher asked for may be on its way or not;
	 * if both come, the second finds the slot taken and leaves.
	 */
	for (int i = 0; i < te_shmem_slots(); i++)
	{
		TeDatabase *db = te_shmem_slot(i);

		if (db->state == TE_DB_STARTING && db->pid == 0)
			not_started(db, GetCurrentTimestamp() + NEVER_CAME_RETRY_MS * INT64CONST(1000));
	}
	LWLockRelease(te_shmem_lock());

	list_databases(false);
	permitted = MemoryContextStrdup(TopMemoryContext, te_setting_string(TE_SET_DATABASES));
	for (;;)
	{
		TimestampTz again;
		long		timeout = -1;

		/* 1, as anything else would mean that it is not to be started again */
		if (ProcDiePending)
			proc_exit(1);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			if (strcmp(permitted, te_setting_string(TE_SET_DATABASES)) != 0)
			{
				pfree(permitted);
				permitted = MemoryContextStrdup(TopMemoryContext, te_setting_string(TE_SET_DATABASES));
				list_databases(false);
			}
		}

		MemoryContextSwitchTo(round);
		again = start_due();
		MemoryContextSwitchTo(TopMemoryContext);
		MemoryContextReset(round);

		if (again != 0)
			timeout = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), again) + 1;
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (timeout >= 0 ? WL_TIMEOUT : 0),
						 timeout, wait_event);
		ResetLatch(MyLatch);
	}
}

void
te_launcher_init(void)
{
	BackgroundWorker worker;

	/* pg_upgrade connects to every database, and must find no one else there */
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 1;
	snprintf(worker.bgw_library_name, sizeof(worker.bgw_library_name), "todo_events");
	snprintf(worker.bgw_function_name, sizeof(worker.bgw_function_name), "te_launcher_main");
	snprintf(worker.bgw_name, BGW_MAXLEN, "todo_events launcher");
	snprintf(worker.bgw_type, BGW_MAXLEN, "todo_events launcher");
	RegisterBackgroundWorker(&worker);
}
