/*-------------------------------------------------------------------------
 *
 * parking.c
 *	  Getting out of the way of CREATE, ALTER and DROP DATABASE.
 *
 * These commands need the database alone, and a connected background worker
 * makes them wait five seconds and fail.  So before one of them begins, the
 * database is parked: its engine is asked to leave, waited for, and not
 * started again before the command's transaction has ended, whichever way.
 * Only who is allowed to run the command can make it park.
 *
 * The same hook sees COMMIT PREPARED, which publishes another backend's
 * events; ALTER DATABASE ... SET todo_events.*, which an engine reads only
 * when it starts; and COPY into secret_input, whose errors must not quote a
 * line.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "runtime/compat.h"
#include "runtime/launcher.h"
#include "runtime/parking.h"
#include "runtime/replication.h"
#include "runtime/shmem.h"
#include "runtime/wake.h"
#include "storage/ipc.h"
#include "storage/procarray.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#define GONE_WITHIN_MS		4000	/* less than the five seconds that the command itself waits */

static ProcessUtility_hook_type previous_utility_hook = NULL;

/*
 * What the end of this transaction has to do.  A command that does not fit
 * any more runs without: it then waits for the engine, and may fail.
 */
#define MAX_PENDING	32

typedef enum PendingKind
{
	PENDING_UNPARK,
	PENDING_UNPARK_DROPPED,		/* the database is gone, if the transaction commits */
	PENDING_RESTART,			/* its engine has to read the database's settings anew */
	PENDING_PROBE				/* created, renamed or opened: the extension may be there */
} PendingKind;

static struct
{
	Oid			dboid;
	PendingKind kind;
}			pending[MAX_PENDING];
static int	npending = 0;

static void
add_pending(Oid dboid, PendingKind kind)
{
	if (!OidIsValid(dboid) || npending == MAX_PENDING)
		return;
	pending[npending].dboid = dboid;
	pending[npending++].kind = kind;
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

static void
park(Oid dboid, bool dropped)
{
	TeDatabase *db;
	int			pid = 0;

	if (!te_shmem_available() || !OidIsValid(dboid) || npending == MAX_PENDING)
		return;
	LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
	db = te_shmem_find(dboid, true);
	if (db)
	{
		if (db->parked++ == 0)
			db->parked_from = db->state;
		pid = stop_engine(db);
		if (pid == 0)
			db->state = TE_DB_PARKED;
		add_pending(dboid, dropped ? PENDING_UNPARK_DROPPED : PENDING_UNPARK);
	}
	LWLockRelease(te_shmem_lock());

	/* the slot is given back before the process leaves the list that the command looks at */
	for (int waited = 0; pid != 0 && waited < GONE_WITHIN_MS; waited += 2)
	{
		if (BackendPidGetProc(pid) == NULL)
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
		if (dropped)
		{
			db->state = TE_DB_FREE;
			db->dboid = InvalidOid;
		}
		else if (db->parked_from == TE_DB_ABSENT && !db->requested)
			db->state = TE_DB_ABSENT;	/* nothing was served, e.g. template1 */
		else
		{
			db->state = TE_DB_BACKOFF;
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

bool
te_parking_concerned(void)
{
	return npending > 0;
}

void
te_parking_at_end(bool committed)
{
	for (int i = 0; i < npending; i++)
	{
		switch (pending[i].kind)
		{
			case PENDING_UNPARK:
				unpark(pending[i].dboid, false);
				break;
			case PENDING_UNPARK_DROPPED:
				unpark(pending[i].dboid, committed);
				break;
			case PENDING_RESTART:
				if (committed)
					restart(pending[i].dboid);
				break;
			case PENDING_PROBE:
				if (committed)
					te_shmem_request(pending[i].dboid, false);
				break;
		}
	}
	npending = 0;
}

/* ---- which command concerns which database ---------------------------- */

static bool
is_owner(Oid dboid)
{
	return OidIsValid(dboid) && te_compat_owns_database(dboid, GetUserId());
}

static const char *
string_option(List *options, const char *name)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, name) == 0 && option->arg)
			return defGetString(option);
	}
	return NULL;
}

static bool
may_create_databases(void)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	bool		result = false;

	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
		ReleaseSysCache(tuple);
	}
	return result;
}

/* may the user copy this database?  The rule of CREATE DATABASE itself */
static bool
may_copy(Oid dboid)
{
	HeapTuple	tuple;
	bool		template;

	if (!OidIsValid(dboid) || !(superuser() || may_create_databases()))
		return false;
	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(dboid));
	if (!HeapTupleIsValid(tuple))
		return false;
	template = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
	ReleaseSysCache(tuple);
	return template || is_owner(dboid);
}

static bool
is_secret_input(const RangeVar *relation)
{
	return relation && strcmp(relation->relname, "secret_input") == 0 &&
		(relation->schemaname == NULL || strcmp(relation->schemaname, "todo_events") == 0);
}

static void
before(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_CreatedbStmt:
			{
				const char *template = string_option(((CreatedbStmt *) statement)->options, "template");
				Oid			dboid = get_database_oid(template ? template : "template1", true);

				if (may_copy(dboid))
					park(dboid, false);
			}
			break;
		case T_RenameStmt:
			if (((RenameStmt *) statement)->renameType == OBJECT_DATABASE)
			{
				Oid			dboid = get_database_oid(((RenameStmt *) statement)->subname, true);

				if (is_owner(dboid))
					park(dboid, false);
			}
			break;
		case T_AlterDatabaseStmt:
			if (string_option(((AlterDatabaseStmt *) statement)->options, "tablespace"))
			{
				Oid			dboid = get_database_oid(((AlterDatabaseStmt *) statement)->dbname, true);

				if (is_owner(dboid))
					park(dboid, false);
			}
			break;
		case T_DropdbStmt:
			{
				Oid			dboid = get_database_oid(((DropdbStmt *) statement)->dbname, true);

				if (is_owner(dboid))
					park(dboid, true);
			}
			break;
		default:
			break;
	}
}

/* have the launcher look for the extension there, when this has committed; templates have no engine */
static void
look_into(const char *dbname)
{
	Oid			dboid;
	HeapTuple	tuple;

	CommandCounterIncrement();
	dboid = get_database_oid(dbname, true);
	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(dboid));
	if (!HeapTupleIsValid(tuple))
		return;
	if (((Form_pg_database) GETSTRUCT(tuple))->datallowconn &&
		!((Form_pg_database) GETSTRUCT(tuple))->datistemplate &&
		te_launcher_permits(dbname))
		add_pending(dboid, PENDING_PROBE);
	ReleaseSysCache(tuple);
}

static void
after(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_TransactionStmt:
			if (((TransactionStmt *) statement)->kind == TRANS_STMT_COMMIT_PREPARED)
				te_wake_commit_prepared();
			break;
		case T_RenameStmt:
			/* todo_events.databases may name it now */
			if (((RenameStmt *) statement)->renameType == OBJECT_DATABASE)
				look_into(((RenameStmt *) statement)->newname);
			break;
		case T_AlterDatabaseStmt:
			/* it may be open now, or a template no more */
			look_into(((AlterDatabaseStmt *) statement)->dbname);
			break;
		case T_AlterDatabaseSetStmt:
			{
				AlterDatabaseSetStmt *alter = (AlterDatabaseSetStmt *) statement;

				if (alter->setstmt->kind == VAR_RESET_ALL ||
					(alter->setstmt->name && pg_strncasecmp(alter->setstmt->name, "todo_events.", 12) == 0))
					add_pending(get_database_oid(alter->dbname, true), PENDING_RESTART);
			}
			break;
		case T_CreatedbStmt:
			look_into(((CreatedbStmt *) statement)->dbname);
			break;
		default:
			break;
	}
}

static void
run_next(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
		 ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *queryEnv,
		 DestReceiver *dest, QueryCompletion *qc)
{
	if (previous_utility_hook)
		previous_utility_hook(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
	else
		standard_ProcessUtility(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
}

/*
 * COPY describes an error's place by quoting the line, which here is a
 * secret.  What the trigger raises is already without it; what COPY itself
 * raises, say for a line with a tab in it, is raised again without.
 */
static void
run_secret_copy(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
				ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *queryEnv,
				DestReceiver *dest, QueryCompletion *qc)
{
	MemoryContext old = CurrentMemoryContext;

	PG_TRY();
	{
		run_next(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(old);
		error = CopyErrorData();
		if (error->context == NULL)
			PG_RE_THROW();
		FlushErrorState();
		ereport(ERROR,
				errcode(error->sqlerrcode),
				errmsg("could not read the lines of secret_input"),
				errhint("Each line is name=value; a tab is written \\t and a backslash \\\\."));
	}
	PG_END_TRY();
}

static void
utility(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
		ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *queryEnv,
		DestReceiver *dest, QueryCompletion *qc)
{
	Node	   *statement;

	pstmt = te_replication_copy(pstmt);
	statement = pstmt->utilityStmt;
	if (IsA(statement, CopyStmt) && ((CopyStmt *) statement)->is_from &&
		is_secret_input(((CopyStmt *) statement)->relation))
	{
		run_secret_copy(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
		return;
	}
	if (te_shmem_available() && IsNormalProcessingMode() && !IsBinaryUpgrade)
		before(statement);
	run_next(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
	/* COMMIT PREPARED has ended its transaction, but not the one around this command */
	if (te_shmem_available() && !IsBinaryUpgrade)
		after(statement);
}

void
te_parking_init(void)
{
	previous_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = utility;
}
