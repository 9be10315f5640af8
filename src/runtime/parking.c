/*-------------------------------------------------------------------------
 *
 * parking.c
 *	  Getting out of the way of CREATE, ALTER and DROP DATABASE.
 *
 * These commands need the database alone, and a connected background worker
 * makes them wait five seconds and fail.  So before one of them begins, the
 * database is parked (pending.c): its engine is asked to leave, waited for,
 * and not started again before the command's transaction has ended, whichever
 * way.  Only who is allowed to run the command can make it park.
 *
 * The same hook sees COMMIT PREPARED, which publishes another backend's
 * events; ALTER DATABASE and ALTER ROLE ... SET todo_events.*, which an engine
 * reads only when it starts; what removes the extension; and COPY into
 * secret_input, whose errors must not quote a line.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "runtime/compat.h"
#include "runtime/databases.h"
#include "runtime/parking.h"
#include "runtime/pending.h"
#include "runtime/replication.h"
#include "runtime/secret_copy.h"
#include "runtime/shmem.h"
#include "runtime/wake.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

static ProcessUtility_hook_type previous_utility_hook = NULL;

/* raised whenever this process hears that a row of pg_database has changed */
static uint32 databases_changed = 0;

static TeRemovalCallback removal_callback = NULL;

void
te_parking_on_removal(TeRemovalCallback callback)
{
	removal_callback = callback;
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

static bool
names_extension(const DropStmt *drop)
{
	ListCell   *cell;

	foreach(cell, drop->objects)
		if (strcmp(strVal(lfirst(cell)), "todo_events") == 0)
			return true;
	return false;
}

static Oid
extension_owner(Oid extension)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	Oid			owner = InvalidOid;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(extension));
	scan = systable_beginscan(rel, ExtensionOidIndexId, true, NULL, 1, &key);
	if (HeapTupleIsValid(tuple = systable_getnext(scan)))
		owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return owner;
}

static bool
names_owner(const List *roles, Oid extension)
{
	ListCell   *cell;

	foreach(cell, roles)
	{
		Oid			role = get_rolespec_oid(lfirst_node(RoleSpec, cell), true);

		/* a superuser owns everything, but not in the sense of DROP OWNED */
		if (OidIsValid(role) && extension_owner(extension) == role &&
			has_privs_of_role(GetUserId(), role))
			return true;
	}
	return false;
}

static void
before_removal(Node *statement)
{
	Oid			extension = get_extension_oid("todo_events", true);

	if (!OidIsValid(extension) || removal_callback == NULL)
		return;
	if (IsA(statement, DropOwnedStmt))
	{
		if (names_owner(((DropOwnedStmt *) statement)->roles, extension))
			removal_callback(extension, false);
	}
	else if (names_extension((DropStmt *) statement) && te_compat_owns_extension(extension, GetUserId()))
		removal_callback(extension, ((DropStmt *) statement)->behavior == DROP_RESTRICT);
}

/* the command of an owner, for which it is not enough to be one: it fails by itself, and needs no parking */
static void
park_own(const char *dbname, bool dropped)
{
	Oid			dboid = get_database_oid(dbname, true);

	if (is_owner(dboid) && dboid != MyDatabaseId)
		te_pending_park(dboid, dropped);
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
					te_pending_park(dboid, false);
			}
			break;
		case T_RenameStmt:
			if (((RenameStmt *) statement)->renameType == OBJECT_DATABASE &&
				(superuser() || may_create_databases()))
				park_own(((RenameStmt *) statement)->subname, false);
			break;
		case T_AlterDatabaseStmt:
			if (string_option(((AlterDatabaseStmt *) statement)->options, "tablespace"))
				park_own(((AlterDatabaseStmt *) statement)->dbname, false);
			break;
		case T_DropdbStmt:
			park_own(((DropdbStmt *) statement)->dbname, true);
			break;
		case T_DropStmt:
			if (((DropStmt *) statement)->removeType == OBJECT_EXTENSION)
				before_removal(statement);
			break;
		case T_DropOwnedStmt:
			before_removal(statement);
			break;
		default:
			break;
	}
}

/* have the launcher look for the extension there, when this has committed */
static void
look_into(const char *dbname)
{
	Oid			dboid;

	CommandCounterIncrement();
	dboid = get_database_oid(dbname, true);
	if (te_databases_verdict(dboid) == TE_VERDICT_SERVE)
		te_pending_add(dboid, TE_PENDING_PROBE);
}

/* SET and RESET of settings that an engine reads when it starts */
static bool
is_our_setting(const VariableSetStmt *set)
{
	return set->kind == VAR_RESET_ALL ||
		(set->name && pg_strncasecmp(set->name, "todo_events.", 12) == 0);
}

/* of the role that engines run as, or of all */
static bool
concerns_engines(const RoleSpec *role)
{
	return role == NULL || get_rolespec_oid(role, true) == BOOTSTRAP_SUPERUSERID;
}

static void
after(Node *statement, uint32 changes_before)
{
	switch (nodeTag(statement))
	{
		case T_TransactionStmt:
			if (((TransactionStmt *) statement)->kind == TRANS_STMT_COMMIT_PREPARED)
			{
				/* its messages come to the sender too */
				AcceptInvalidationMessages();
				te_wake_commit_prepared(databases_changed != changes_before);
			}
			else if (((TransactionStmt *) statement)->kind == TRANS_STMT_ROLLBACK_PREPARED)
			{
				/* it may have held the locks of a DROP EXTENSION, which roles have given up on */
				te_shmem_reload(MyDatabaseId);
			}
			break;
		case T_RenameStmt:
			if (((RenameStmt *) statement)->renameType == OBJECT_DATABASE)
			{
				/* todo_events.databases may name it now */
				look_into(((RenameStmt *) statement)->newname);
			}
			break;
		case T_AlterDatabaseStmt:
			{
				/* it may be open now, or a template no more; or one, which its engine has to see */
				const char *dbname = ((AlterDatabaseStmt *) statement)->dbname;

				look_into(dbname);
				te_pending_add(get_database_oid(dbname, true), TE_PENDING_RELOAD);
			}
			break;
		case T_AlterDatabaseSetStmt:
			{
				AlterDatabaseSetStmt *alter = (AlterDatabaseSetStmt *) statement;

				if (is_our_setting(alter->setstmt))
					te_pending_add(get_database_oid(alter->dbname, true), TE_PENDING_RESTART);
			}
			break;
		case T_AlterRoleSetStmt:
			{
				AlterRoleSetStmt *alter = (AlterRoleSetStmt *) statement;

				if (is_our_setting(alter->setstmt) && concerns_engines(alter->role))
					te_pending_add(alter->database ? get_database_oid(alter->database, true) : InvalidOid,
								   TE_PENDING_RELOAD);
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

	te_secret_copy_begin();
	PG_TRY();
	{
		run_next(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		te_secret_copy_end();
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
	te_secret_copy_end();
}

static void
utility(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
		ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *queryEnv,
		DestReceiver *dest, QueryCompletion *qc)
{
	Node	   *statement;
	uint32		changes_before = databases_changed;

	pstmt = te_replication_copy(pstmt);
	statement = pstmt->utilityStmt;
	if (IsA(statement, CopyStmt) && ((CopyStmt *) statement)->is_from &&
		is_secret_input(((CopyStmt *) statement)->relation))
	{
		run_secret_copy(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
		return;
	}
	if (IsNormalProcessingMode() && !IsBinaryUpgrade)
		before(statement);
	run_next(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
	/* COMMIT PREPARED has ended its transaction, but not the one around this command */
	if (te_shmem_available() && !IsBinaryUpgrade)
		after(statement, changes_before);
}

static void
database_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	(void) arg;
	(void) cacheid;
	(void) hashvalue;
	databases_changed++;
}

void
te_parking_init(void)
{
	te_pending_init();
	CacheRegisterSyscacheCallback(DATABASEOID, database_changed, (Datum) 0);
	previous_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = utility;
}
