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
 *	   any of these --CREATE/ALTER/DROP DATABASE--> PARKED --its end--> BACKOFF
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "runtime/compat.h"
#include "runtime/engine.h"
#include "runtime/launcher.h"
#include "runtime/settings.h"
#include "runtime/shmem.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#define NO_WORKER_RETRY_MS	5000
#define CLOSED_RETRY_MS		60000	/* ALLOW_CONNECTIONS false: look again */

PGDLLEXPORT void te_launcher_main(Datum arg);

/* databases still to be looked into, in TopMemoryContext */
static List *to_probe = NIL;

/* what the postmaster knows of the engines that this launcher has started */
static BackgroundWorkerHandle **handles;

/* complaints made once, until their cause is gone */
static bool said_out_of_workers = false;
static bool said_out_of_slots = false;

bool
te_launcher_permits(const char *dbname)
{
	const char *setting = te_setting_string(TE_SET_DATABASES);
	List	   *names;
	ListCell   *cell;
	bool		found = false;

	if (strcmp(setting, "*") == 0)
		return true;
	if (!SplitIdentifierString(pstrdup(setting), ',', &names))
		return false;
	foreach(cell, names)
		found |= strcmp((const char *) lfirst(cell), dbname) == 0;
	list_free(names);
	return found;
}

/* every database that may have workers and can be connected to */
static void
list_databases(void)
{
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;
	MemoryContext old;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (!database->datallowconn || database->datistemplate || database->datconnlimit == -2 ||
			!te_launcher_permits(NameStr(database->datname)))
			continue;
		old = MemoryContextSwitchTo(TopMemoryContext);
		to_probe = list_append_unique_oid(to_probe, database->oid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
}

/* false: it is gone.  *open: may it be connected to? */
static bool
database_exists(Oid dboid, bool *open)
{
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (!found && HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		found = database->oid == dboid;
		*open = found && database->datallowconn;
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	return found;
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

	if (started)
		return true;
	LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
	if (db->state == TE_DB_STARTING && db->pid == 0)
	{
		db->state = db->parked > 0 ? TE_DB_PARKED : TE_DB_BACKOFF;
		db->restart_at = GetCurrentTimestamp() + NO_WORKER_RETRY_MS * INT64CONST(1000);
	}
	LWLockRelease(te_shmem_lock());
	return false;
}

/* every due engine has been tried; complain once, and again only after all could be started */
static void
note_workers(int tried, int failed)
{
	if (tried == 0)
		return;
	te_shared->out_of_workers = failed > 0;
	if (failed > 0 && !said_out_of_workers)
		ereport(LOG,
				errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				errmsg("todo_events: no free background worker slot for an engine; tried again every %d s",
					   NO_WORKER_RETRY_MS / 1000),
				errhint("Raise max_worker_processes; a database with todo_events needs two, and the launcher one."));
	said_out_of_workers = failed > 0;
}

/* an engine that ended before it claimed its slot cannot say so itself */
static bool
never_came(int number)
{
	pid_t		pid;

	return handles[number] && GetBackgroundWorkerPid(handles[number], &pid) == BGWH_STOPPED;
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
	bool		looking = false;
	int			tried = 0;
	int			failed = 0;
	int			nslots = te_shmem_slots();
	bool	   *start = palloc0(nslots * sizeof(bool));
	Oid		   *verify = palloc0(nslots * sizeof(Oid));

	LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
	for (int i = 0; i < nslots; i++)
	{
		TeDatabase *db = te_shmem_slot(i);

		if (db->state == TE_DB_STARTING && db->pid == 0 && never_came(i))
		{
			db->state = db->parked > 0 ? TE_DB_PARKED : TE_DB_BACKOFF;
			db->restart_at = now + INT64CONST(1000000);
			db->looking = false;
		}
		looking |= db->state == TE_DB_STARTING && db->looking;
		if (db->state == TE_DB_BACKOFF && db->parked == 0)
		{
			if (db->restart_at > now)
				again = again == 0 ? db->restart_at : Min(again, db->restart_at);
			else
			{
				start[i] = true;
				/* it may fail because the database is gone */
				if (db->failures > 1)
					verify[i] = db->dboid;
			}
		}
	}
	for (int i = 0; i < nslots && !looking; i++)
	{
		TeDatabase *db = te_shmem_slot(i);

		if (db->state == TE_DB_PROBE && db->parked == 0)
			start[i] = looking = db->looking = true;
	}
	while (!looking && to_probe != NIL)
	{
		Oid			dboid = linitial_oid(to_probe);
		TeDatabase *db = te_shmem_find(dboid, true);

		to_probe = list_delete_first(to_probe);
		if (db == NULL)
			te_shared->left_out++;
		else if (db->parked > 0)
			db->requested = true;	/* its turn comes when it is unparked */
		else if (db->state == TE_DB_ABSENT)
			start[db - te_shmem_slot(0)] = looking = db->looking = true;
	}
	for (int i = 0; i < nslots; i++)
		if (start[i])
			te_shmem_slot(i)->state = TE_DB_STARTING;
	LWLockRelease(te_shmem_lock());

	if (te_shared->left_out > 0 && !said_out_of_slots)
	{
		said_out_of_slots = true;
		ereport(LOG,
				errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				errmsg("todo_events: shared memory has room for %d databases, and there are more", nslots),
				errhint("Raise todo_events.max_databases, or name the databases in todo_events.databases."));
	}

	for (int i = 0; i < nslots; i++)
	{
		if (!start[i])
			continue;
		if (OidIsValid(verify[i]))
		{
			TeDatabase *db = te_shmem_slot(i);
			bool		open = false;
			bool		exists = database_exists(verify[i], &open);

			if (!open)
			{
				/* a closed one may be opened again, by a command that no hook of ours sees */
				LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
				db->restart_at = now + CLOSED_RETRY_MS * INT64CONST(1000);
				if (db->state == TE_DB_STARTING && db->dboid == verify[i])
					db->state = exists ? TE_DB_BACKOFF : TE_DB_ABSENT;
				LWLockRelease(te_shmem_lock());
				if (exists)
					again = again == 0 ? db->restart_at : Min(again, db->restart_at);
				continue;
			}
		}
		tried++;
		if (!start_engine(i))
		{
			TimestampTz retry = now + NO_WORKER_RETRY_MS * INT64CONST(1000);

			failed++;
			again = again == 0 ? retry : Min(again, retry);
		}
	}
	note_workers(tried, failed);
	pfree(start);
	pfree(verify);
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
		{
			db->state = TE_DB_BACKOFF;
			db->restart_at = GetCurrentTimestamp() + INT64CONST(1000000);
			db->looking = false;
		}
	}
	LWLockRelease(te_shmem_lock());

	list_databases();
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
				list_databases();
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
