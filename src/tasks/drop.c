/*-------------------------------------------------------------------------
 *
 * drop.c
 *	  What comes before the extension is removed.
 *
 * Core would refuse DROP EXTENSION while tables are attached, and propose
 * CASCADE, which is not what its owner wants to hear first.  And it would
 * lock the log before the attached tables, which is the opposite of what
 * every writer does.  So everything is locked here first, in a way that no
 * writer can be in a deadlock with.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "lib/stringinfo.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "runtime/parking.h"
#include "tasks/attach.h"
#include "tasks/trigger.h"

#define MAX_NAMED	10			/* so many attached tables are named in the error */

/* what of the extension can be locked */
static List *
own_relations(Oid extension)
{
	Relation	rel = table_open(DependRelationId, AccessShareLock);
	List	   *result = NIL;
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(ExtensionRelationId));
	ScanKeyInit(&key[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(rel, DependReferenceIndexId, true, NULL, 2, key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend depend = (Form_pg_depend) GETSTRUCT(tuple);
		char		kind;

		if (depend->classid != RelationRelationId || depend->deptype != DEPENDENCY_EXTENSION)
			continue;
		kind = get_rel_relkind(depend->objid);
		if (kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE ||
			kind == RELKIND_SEQUENCE || kind == RELKIND_VIEW)
			result = lappend_oid(result, depend->objid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

static void
refuse_attached(List *tables)
{
	StringInfoData names;
	ListCell   *cell;
	int			n = 0;

	initStringInfo(&names);
	foreach(cell, tables)
	{
		const TeTrigger *capture = te_trigger_find(te_triggers_of(lfirst_oid(cell)), TE_TRIGGER_CAPTURE);

		/* a partition that its root's attachment covers has a trigger against TRUNCATE of its own */
		if (get_rel_relispartition(lfirst_oid(cell)) && (capture == NULL || capture->clone))
			continue;
		if (n++ < MAX_NAMED)
			appendStringInfo(&names, "%s%s", n > 1 ? ", " : "", te_attach_quoted(lfirst_oid(cell)));
	}
	if (n > MAX_NAMED)
		appendStringInfo(&names, " and %d more", n - MAX_NAMED);
	ereport(ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg("cannot drop extension todo_events because tables are attached"),
			 errdetail("Attached: %s.", names.data),
			 errhint("Call todo_events.detach_all() first.")));
}

static void
before_removal(Oid extension, bool refuse)
{
	List	   *tables = te_attach_tables();

	if (refuse && tables != NIL)
		refuse_attached(tables);
	te_attach_lock(list_concat(te_attach_with_partitions(tables), own_relations(extension)));
}

void
te_drop_init(void)
{
	te_parking_on_removal(before_removal);
}
