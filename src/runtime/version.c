/*-------------------------------------------------------------------------
 *
 * version.c
 *	  Library and SQL objects of different versions.
 *
 * The two change at different times: the library when the server starts (or,
 * where it is not preloaded, when a session does), the objects by ALTER
 * EXTENSION UPDATE.  The rule is that a library serves the objects of its own
 * version and of every earlier one, and no later ones:
 *
 *	- A script of a later version stops before it has made anything: its first
 *	  call is require_version(), which every version of the library has.
 *	- Where later objects are there all the same (an older package was
 *	  installed again), nothing touches their rows, whose columns it does not
 *	  know: writers get an error, as their events could not be stored, and the
 *	  engine stays away.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "runtime/errors.h"
#include "runtime/inval.h"
#include "runtime/shmem.h"
#include "runtime/version.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

const char	te_version[] = TE_VERSION;

static bool checked = false;	/* since the last change of any relation */

char *
te_version_installed(void)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	char	   *version = NULL;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum("todo_events"));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, Anum_pg_extension_extversion,
										 RelationGetDescr(rel), &isnull);

		if (!isnull)
			version = TextDatumGetCString(value);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return version;
}

int
te_version_compare(const char *a, const char *b)
{
	while (*a && *b)
	{
		if (isdigit((unsigned char) *a) && isdigit((unsigned char) *b))
		{
			unsigned long x = strtoul(a, (char **) &a, 10);
			unsigned long y = strtoul(b, (char **) &b, 10);

			if (x != y)
				return x < y ? -1 : 1;
			continue;
		}
		if (*a != *b)
			break;
		a++;
		b++;
	}
	return (unsigned char) *a - (unsigned char) *b;
}

/* what makes another library be loaded */
static const char *
hint_for_library(const char *version)
{
	return te_shmem_available() ?
		psprintf("Restart the server when version %s is installed: until then it goes on with the library that it has loaded.",
				 version) :
		psprintf("Connect again when version %s is installed: until then the session goes on with the library that it has loaded.",
				 version);
}

static void
refuse(const char *version)
{
	ereport(ERROR,
			errcode(ERRCODE_TE_VERSION),
			errmsg("the todo_events library that is loaded is version %s and cannot serve version %s of the extension",
				   te_version, version),
			errhint("%s", hint_for_library(version)));
}

void
te_version_check(void)
{
	char	   *version;

	if (checked)
		return;
	version = te_version_installed();
	if (version && te_version_compare(version, te_version) > 0)
		refuse(version);
	checked = true;
}

bool
te_version_served(void)
{
	char	   *version = te_version_installed();

	return version == NULL || te_version_compare(version, te_version) <= 0;
}

/* the objects' layout changes with a relation; so much the rarer is a look for nothing */
static void
relcache_changed(Oid relid)
{
	(void) relid;
	checked = false;
}

/*
 * First in every script of the extension.  Its name, its argument and that it
 * raises an error for a later version never change: the library that meets a
 * later script is an older one.
 */
PG_FUNCTION_INFO_V1(te_require_version);
Datum
te_require_version(PG_FUNCTION_ARGS)
{
	char	   *version = text_to_cstring(PG_GETARG_TEXT_PP(0));

	if (te_version_compare(version, te_version) > 0)
		refuse(version);
	PG_RETURN_VOID();
}

void
te_version_health(TeHealthSink *sink)
{
	char	   *version = te_version_installed();
	int			order = version ? te_version_compare(version, te_version) : 0;

	if (order > 0)
		te_health_add(sink, 3, "version",
					  psprintf("the extension in this database is version %s, the library that is loaded is %s: nothing is delivered, and writes to attached tables fail",
							   version, te_version),
					  hint_for_library(version));
	else if (order < 0)
		te_health_add(sink, 2, "version",
					  psprintf("the extension in this database is version %s, the library is %s",
							   version, te_version),
					  "ALTER EXTENSION todo_events UPDATE; until then all that the older version has works.");
}

void
te_version_init(void)
{
	te_inval_register(relcache_changed);
}
