/*-------------------------------------------------------------------------
 *
 * databases.c
 *	  Which databases are to have an engine, by pg_database and the settings.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "runtime/compat.h"
#include "runtime/databases.h"
#include "runtime/settings.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#define INVALID_DATABASE	(-2)	/* datconnlimit; no macro in the first minor releases of 15 */

/* does todo_events.databases name it? */
static bool
is_named(const char *dbname)
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

static TeVerdict
judge(Form_pg_database row)
{
	if (row->datconnlimit == INVALID_DATABASE)
		return TE_VERDICT_GONE;
	if (!is_named(NameStr(row->datname)))
		return TE_VERDICT_LEFT_OUT;
	if (row->datistemplate)
		return TE_VERDICT_TEMPLATE;
	return row->datallowconn ? TE_VERDICT_SERVE : TE_VERDICT_CLOSED;
}

TeVerdict
te_databases_verdict(Oid dboid)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(dboid));
	TeVerdict	verdict;

	if (!HeapTupleIsValid(tuple))
		return TE_VERDICT_GONE;
	verdict = judge((Form_pg_database) GETSTRUCT(tuple));
	ReleaseSysCache(tuple);
	return verdict;
}

static int
by_age(const void *a, const void *b)
{
	Oid			x = ((const TeDatabaseRow *) a)->dboid;
	Oid			y = ((const TeDatabaseRow *) b)->dboid;

	return x < y ? -1 : x > y;
}

int
te_databases_list(TeDatabaseRow **rows)
{
	MemoryContext caller = CurrentMemoryContext;
	int			n = 0;
	int			room = 64;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	*rows = palloc(room * sizeof(TeDatabaseRow));
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database row = (Form_pg_database) GETSTRUCT(tuple);

		if (n == room)
			*rows = repalloc(*rows, (room *= 2) * sizeof(TeDatabaseRow));
		(*rows)[n].dboid = row->oid;
		(*rows)[n++].verdict = judge(row);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(caller);
	qsort(*rows, n, sizeof(TeDatabaseRow), by_age);
	return n;
}

TeVerdict
te_databases_find(const TeDatabaseRow *rows, int n, Oid dboid)
{
	TeDatabaseRow key = {.dboid = dboid};
	const TeDatabaseRow *found = bsearch(&key, rows, n, sizeof(TeDatabaseRow), by_age);

	return found ? found->verdict : TE_VERDICT_GONE;
}
