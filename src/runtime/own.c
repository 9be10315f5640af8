/*-------------------------------------------------------------------------
 *
 * own.c
 *	  What belongs to the extension, found by name.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "commands/extension.h"
#include "runtime/inval.h"
#include "runtime/own.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

/* relations found so far; membership is two index scans, too much for every event */
#define MAX_KNOWN	32

typedef struct Known
{
	char		schema[NAMEDATALEN];
	char		name[NAMEDATALEN];
	Oid			relid;			/* InvalidOid = free */
} Known;

static Known known[MAX_KNOWN];

static void
own_relcache_callback(Oid relid)
{
	for (int i = 0; i < MAX_KNOWN; i++)
		if (!OidIsValid(relid) || known[i].relid == relid)
			known[i].relid = InvalidOid;
}

static bool
is_member(Oid classid, Oid objid)
{
	Oid			extension = get_extension_oid("todo_events", true);

	return OidIsValid(extension) && getExtensionOfObject(classid, objid) == extension;
}

Oid
te_own_relation(const char *schema, const char *name)
{
	Oid			namespace;
	Oid			relid;

	for (int i = 0; i < MAX_KNOWN; i++)
		if (OidIsValid(known[i].relid) && strcmp(known[i].name, name) == 0 &&
			strcmp(known[i].schema, schema) == 0)
			return known[i].relid;

	te_inval_register(own_relcache_callback);
	namespace = get_namespace_oid(schema, true);
	relid = OidIsValid(namespace) ? get_relname_relid(name, namespace) : InvalidOid;
	if (!OidIsValid(relid) || !is_member(RelationRelationId, relid))
		return InvalidOid;
	for (int i = 0; i < MAX_KNOWN; i++)
	{
		if (OidIsValid(known[i].relid))
			continue;
		strlcpy(known[i].schema, schema, NAMEDATALEN);
		strlcpy(known[i].name, name, NAMEDATALEN);
		known[i].relid = relid;
		break;
	}
	return relid;
}

Relation
te_own_table_open(const char *schema, const char *name, LOCKMODE lockmode)
{
	Oid			relid = te_own_relation(schema, name);

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation %s.%s of the extension todo_events does not exist", schema, name),
				 errhint("Create the extension todo_events in this database, or run ALTER EXTENSION todo_events UPDATE.")));
	return table_open(relid, lockmode);
}

Oid
te_own_function(const char *schema, const char *name)
{
	Oid			namespace = get_namespace_oid(schema, true);
	Oid			function;

	if (!OidIsValid(namespace))
		return InvalidOid;
	function = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(name),
							   PointerGetDatum(buildoidvector(NULL, 0)), ObjectIdGetDatum(namespace));
	return OidIsValid(function) && is_member(ProcedureRelationId, function) ? function : InvalidOid;
}
