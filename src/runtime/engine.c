/*-------------------------------------------------------------------------
 *
 * engine.c
 *	  Start and end of the engine's process.
 *
 * The launcher's probe and the engine are one process: it connects, looks
 * for the extension, and either leaves or begins to serve.  It claims its
 * slot before it connects, so that a command that has parked the database
 * knows that nobody will connect to it; and it gives the slot back as the
 * last thing before it leaves shared memory, after its transaction has been
 * aborted and its I/O processes are gone.
 *
 * Exit codes: 0 = nothing to do here, or to begin anew, 1 = told to leave by
 * others, or failed; the server logs these.  Whether and when the next one
 * starts is decided from the slot, by the launcher.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_db_role_setting.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "runtime/clock.h"
#include "runtime/compat.h"
#include "runtime/databases.h"
#include "runtime/engine.h"
#include "runtime/errors.h"
#include "runtime/io_process.h"
#include "runtime/settings.h"
#include "runtime/version.h"
#include "runtime/worker.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#define BACKOFF_BASE_MS		250
#define BACKOFF_CAP_MS		60000
#define STABLE_MS			10000

PGDLLEXPORT void te_engine_main(Datum arg);

static TeDatabase *slot = NULL;
static Oid	extension_oid = InvalidOid;
static bool (*may_act_callback) (void) = NULL;
static bool may_act = false;
static enum
{
	LEAVING_UNPLANNED, LEAVING_ABSENT, LEAVING_BARRED, LEAVING_UNSERVED, LEAVING_WAITING, LEAVING_RESTART
}			leaving = LEAVING_UNPLANNED;

/*
 * What every transaction of the engine may rely on, whatever the
 * configuration file, the database or the bootstrap superuser's role say.
 * Durability is asked for where it is promised (the log's durable.c); nothing
 * else that the engine writes needs to wait for a flush.
 */
static const struct
{
	const char *name;
	const char *value;
}			pinned[] = {
	{"search_path", "pg_catalog, pg_temp"},
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_deferrable", "off"},
	{"synchronous_commit", "off"},
	{"row_security", "off"},
	{"session_replication_role", "origin"},
	{"statement_timeout", "0"},
	/* less than deadlock_timeout: where DROP EXTENSION and we lock the same tables, it is we who give way */
	{"lock_timeout", "200ms"},
	{"idle_in_transaction_session_timeout", "0"},
	{"idle_session_timeout", "0"},
	{"transaction_timeout", "0"},	/* 17 */
	{"default_table_access_method", "heap"},
	{"default_tablespace", ""},
	{"temp_tablespaces", ""},
	{"TimeZone", "UTC"},
	{"DateStyle", "ISO, YMD"},
	{"IntervalStyle", "postgres"},
	{"bytea_output", "hex"},
	{"extra_float_digits", "1"},
	{"transform_null_equals", "off"},
	{"jit", "off"},
	{"max_parallel_workers_per_gather", "0"},
	{"application_name", "todo_events engine"},
	{"role", "none"},
};

static void
pin_settings(void)
{
	/* the database's owner may have set another for all its sessions */
	SetSessionAuthorization(BOOTSTRAP_SUPERUSERID, true);
	for (size_t i = 0; i < lengthof(pinned); i++)
	{
		if (GetConfigOption(pinned[i].name, true, false) == NULL)
			continue;			/* not in this version */
		SetConfigOption(pinned[i].name, pinned[i].value, PGC_SUSET, PGC_S_OVERRIDE);
	}
}

/* before_shmem_exit, registered before the one that aborts transactions, hence run after it */
static void
give_back(int code, Datum arg)
{
	TimestampTz now = GetCurrentTimestamp();

	(void) code;
	(void) arg;
	te_io_stop_all();

	LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
	slot->latch = NULL;
	slot->pid = 0;
	slot->looking = false;
	for (int i = 0; i < slot->nroles; i++)
	{
		slot->roles[i].running = false;
		slot->roles[i].io_pid = 0;
	}
	if (leaving == LEAVING_RESTART || slot->restart_now ||
		(leaving == LEAVING_ABSENT && slot->requested))
	{
		slot->state = TE_DB_BACKOFF;
		slot->failures = 0;
		slot->restart_at = 0;
	}
	else if (leaving == LEAVING_ABSENT || leaving == LEAVING_BARRED || leaving == LEAVING_UNSERVED)
	{
		slot->state = TE_DB_ABSENT;
		slot->seated = false;
		slot->barred = leaving != LEAVING_ABSENT;
		memset(slot->health, 0, sizeof(slot->health));
	}
	else if (leaving == LEAVING_WAITING)
	{
		slot->state = TE_DB_WAITING;
		slot->waiting_since = now;
		slot->failures = 0;
	}
	else
	{
		if (slot->state == TE_DB_RUNNING &&
			TimestampDifferenceExceeds(slot->started_at, now, STABLE_MS))
			slot->failures = 0;
		/* without a seat it was a look that came to nothing */
		slot->state = slot->seated ? TE_DB_BACKOFF : TE_DB_PROBE;
		/* the first time at once */
		slot->restart_at = slot->failures == 0 ? 0 :
			now + (int64) te_clock_backoff_ms(slot->failures - 1, BACKOFF_BASE_MS, BACKOFF_CAP_MS) * 1000;
		slot->failures++;
	}
	slot->restart_now = false;
	if (slot->parked > 0)
		slot->state = TE_DB_PARKED;
	LWLockRelease(te_shmem_lock());
	/* who waits for a delivery sees that nobody delivers */
	ConditionVariableBroadcast(&slot->wait_cv);
	te_shmem_wake_launcher();
}

/* false: somebody else has it, or a command wants the database alone */
static bool
claim(Oid dboid)
{
	bool		ours;

	LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
	ours = slot->dboid == dboid && slot->state == TE_DB_STARTING &&
		slot->pid == 0 && slot->parked == 0;
	if (ours)
	{
		slot->pid = MyProcPid;
		slot->requested = false;
		slot->restart_now = false;
		slot->settings_prepared = false;
		/* registered under the lock: no way out between claim and its undoing */
		before_shmem_exit(give_back, (Datum) 0);
	}
	LWLockRelease(te_shmem_lock());
	return ours;
}

static void
leave(int why, int code)
{
	leaving = why;
	proc_exit(code);
}

/*
 * What ALTER DATABASE and ALTER ROLE SET say of our settings here: it is read
 * by a process when it starts, and by no other.
 */
static char *
stored_settings(void)
{
	Relation	rel = table_open(DbRoleSettingRelationId, AccessShareLock);
	const Oid	databases[] = {MyDatabaseId, InvalidOid};
	const Oid	roles[] = {GetUserId(), InvalidOid};
	StringInfoData found;

	initStringInfo(&found);
	for (int i = 0; i < 4; i++)
	{
		ScanKeyData key[2];
		SysScanDesc scan;
		HeapTuple	tuple;

		ScanKeyInit(&key[0], Anum_pg_db_role_setting_setdatabase, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(databases[i / 2]));
		ScanKeyInit(&key[1], Anum_pg_db_role_setting_setrole, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(roles[i % 2]));
		scan = systable_beginscan(rel, DbRoleSettingDatidRolidIndexId, true, NULL, 2, key);
		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			bool		isnull;
			Datum		config = heap_getattr(tuple, Anum_pg_db_role_setting_setconfig,
											  RelationGetDescr(rel), &isnull);
			Datum	   *settings;
			int			n;

			if (isnull)
				continue;
			deconstruct_array(DatumGetArrayTypeP(config), TEXTOID, -1, false, TYPALIGN_INT,
							  &settings, NULL, &n);
			for (int s = 0; s < n; s++)
			{
				char	   *setting = TextDatumGetCString(settings[s]);

				if (pg_strncasecmp(setting, "todo_events.", 12) == 0)
					appendStringInfo(&found, "%d %s\n", i, setting);
			}
		}
		systable_endscan(scan);
	}
	table_close(rel, AccessShareLock);
	return found.data;
}

void
te_worker_may_act_if(bool (*callback) (void))
{
	may_act_callback = callback;
}

bool
te_engine_may_act(void)
{
	return may_act;
}

/* may this database be served, by the number of those that are? */
static bool
take_seat(void)
{
	bool		seated;
	int			waiting;

	LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
	te_shmem_count_seats(NULL, &waiting);
	/* not past those that wait: the launcher calls one after another */
	seated = slot->seated || (waiting == 0 && te_shmem_take_seat(slot));
	LWLockRelease(te_shmem_lock());
	return seated;
}

void
te_engine_check(void)
{
	static char *settings_at_start = NULL;
	Oid			extension;
	TeVerdict	verdict;
	char	   *name;
	bool		served;
	char		dbname[NAMEDATALEN];
	bool		other_settings = false;
	bool		seated = true;

	te_worker_begin("looking for the extension");
	AcceptInvalidationMessages();
	extension = get_extension_oid("todo_events", true);
	verdict = te_databases_verdict(MyDatabaseId);
	name = get_database_name(MyDatabaseId);
	strlcpy(dbname, name ? name : "", sizeof(dbname));
	served = te_version_served();
	if (OidIsValid(extension) && served)
	{
		char	   *settings = stored_settings();

		if (settings_at_start == NULL)
			settings_at_start = MemoryContextStrdup(TopMemoryContext, settings);
		other_settings = strcmp(settings, settings_at_start) != 0;
		te_settings_refresh();
		if (verdict != TE_VERDICT_LEFT_OUT && verdict != TE_VERDICT_TEMPLATE && !other_settings)
		{
			/* of one that has to wait, too: it notes whose this database is */
			may_act = may_act_callback == NULL || may_act_callback();
			seated = take_seat();
		}
	}
	te_worker_commit();

	/* a closed one may be served to its end */
	if (verdict == TE_VERDICT_LEFT_OUT || verdict == TE_VERDICT_TEMPLATE)
		leave(LEAVING_BARRED, 0);
	if (!OidIsValid(extension))
		leave(LEAVING_ABSENT, 0);
	/* only another library can serve it, and that comes with a start of the server */
	if (!served)
	{
		ereport(LOG,
				errcode(ERRCODE_TE_VERSION),
				errmsg("todo_events: no engine for database \"%s\": its extension is of a later version than the library, %s",
					   dbname, te_version),
				errhint("Install the extension's version, and restart the server."));
		leave(LEAVING_UNSERVED, 0);
	}
	/* dropped and created again: everything cached belongs to the old one */
	if (OidIsValid(extension_oid) && extension != extension_oid)
		leave(LEAVING_RESTART, 0);
	if (other_settings)
		leave(LEAVING_RESTART, 0);
	if (!seated)
		leave(LEAVING_WAITING, 0);
	extension_oid = extension;

	LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
	strlcpy(slot->dbname, dbname, sizeof(slot->dbname));
	LWLockRelease(te_shmem_lock());
}

void
te_engine_main(Datum arg)
{
	Oid			dboid;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	memcpy(&dboid, MyBgworkerEntry->bgw_extra, sizeof(dboid));
	slot = te_shmem_slot(DatumGetInt32(arg));
	if (RecoveryInProgress() || !claim(dboid))
		proc_exit(0);

	BackgroundWorkerInitializeConnectionByOid(dboid, InvalidOid, 0);
	pin_settings();
	pgstat_report_appname("todo_events engine");

	te_engine_check();

	LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
	slot->state = TE_DB_RUNNING;
	slot->looking = false;
	slot->started_at = GetCurrentTimestamp();
	slot->latch = MyLatch;
	memset(slot->health, 0, sizeof(slot->health));
	LWLockRelease(te_shmem_lock());
	pg_atomic_fetch_add_u64(&slot->counters.engine_starts, 1);
	te_shmem_wake_launcher();

	te_worker_loop(slot);
}
