/*-------------------------------------------------------------------------
 *
 * inspect.c
 *	  What is wrong with an attached table.
 *
 * Whatever DDL has done to it since: triggers that were dropped, renamed,
 * replaced or disabled, on the table or on one of its partitions; a key that
 * is no longer one; a table that became unlogged or a parent.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "runtime/compat.h"
#include "tasks/columns.h"
#include "tasks/inspect.h"
#include "tasks/trigger.h"

#define ATTACH_ANEW		"Call todo_events.detach() and then todo_events.attach() for the table."
#define SEND_ANEW		"ALTER TABLE ... ENABLE TRIGGER enables it; what changed meanwhile can be sent by attaching anew with backfill => 'snapshot'."

static void
add(List **findings, Oid relid, TeFinding finding)
{
	ListCell   *cell;

	foreach(cell, *findings)
	{
		TeFinding  *other = lfirst(cell);

		if (strcmp(other->predicate, finding.predicate) == 0 && strcmp(other->effect, finding.effect) == 0 &&
			strcmp(other->subject ? other->subject : "", finding.subject ? finding.subject : "") == 0)
		{
			other->n++;
			return;
		}
	}
	finding.partition = relid;
	finding.n = 1;
	*findings = lappend(*findings, memcpy(palloc(sizeof(finding)), &finding, sizeof(finding)));
}

/* ---- triggers ------------------------------------------------------------------ */

typedef struct Expected
{
	const char *name;
	int16		type;
	bool		needs_enabled;
	const char *effect;			/* if it does not work */
} Expected;

static const Expected expected[] = {
	{TE_TRIGGER_CAPTURE, TRIGGER_TYPE_ROW | TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE,
	true, "changes make no events"},
	{TE_TRIGGER_COLUMNS, TRIGGER_TYPE_ROW | TRIGGER_TYPE_UPDATE, false, "writes to the table are refused"},
	{TE_TRIGGER_SEQUENCE, TRIGGER_TYPE_ROW | TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE,
	true, "updates of the table are refused"},
	{TE_TRIGGER_TRUNCATE, TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_TRUNCATE, true, "TRUNCATE makes no events"},
};

static bool
fires(const TeTrigger *trigger)
{
	return trigger->enabled == TRIGGER_FIRES_ON_ORIGIN || trigger->enabled == TRIGGER_FIRES_ALWAYS;
}

static void
look_at_trigger(List **findings, Oid relid, const Expected *want, const TeTrigger *trigger, int32 number)
{
	TeFinding	finding = {
		.level = 3,.subject = psprintf("trigger \"%s\"", want->name),.effect = want->effect,.hint = ATTACH_ANEW
	};
	TeColumns	columns;

	if (trigger == NULL)
		finding.predicate = "is missing";
	else if (trigger->type != want->type || te_trigger_number(trigger) != number ||
			 (strcmp(want->name, TE_TRIGGER_COLUMNS) == 0 ? !te_columns_read(trigger, &columns) :
			  trigger->when != NULL || trigger->nattrs > 0))
		finding.predicate = "was replaced by another";
	else if (want->needs_enabled && !fires(trigger))
	{
		finding.predicate = "is disabled";
		finding.hint = SEND_ANEW;
	}
	else
		return;
	add(findings, relid, finding);
}

/* triggers of others that come between ours and the row */
static void
look_at_late_triggers(List **findings, Oid relid, const List *triggers)
{
	ListCell   *cell;

	foreach(cell, triggers)
	{
		const TeTrigger *trigger = lfirst(cell);

		if (trigger->ours || !fires(trigger) || strcmp(trigger->name, TE_TRIGGER_SEQUENCE) < 0 ||
			!TRIGGER_FOR_ROW(trigger->type) || !TRIGGER_FOR_BEFORE(trigger->type) ||
			!(TRIGGER_FOR_INSERT(trigger->type) || TRIGGER_FOR_UPDATE(trigger->type)))
			continue;
		add(findings, relid, (TeFinding)
			{
				.level = 2,.subject = psprintf("trigger \"%s\"", trigger->name),
				.predicate = psprintf("fires after \"%s\"", TE_TRIGGER_SEQUENCE),
				.effect = "writes are refused (TE423) where it makes or takes back a change",
				.hint = "Give it a name that sorts before, by ALTER TRIGGER ... RENAME TO."
			});
	}
}

static void
look_at_triggers(List **findings, Oid relid, bool has_sequence, int32 number)
{
	List	   *triggers = te_triggers_of(relid);
	const TeTrigger *capture = te_trigger_find(triggers, TE_TRIGGER_CAPTURE);
	const TeTrigger *sequence = te_trigger_find(triggers, TE_TRIGGER_SEQUENCE);

	for (int i = 0; i < lengthof(expected); i++)
	{
		const TeTrigger *trigger = te_trigger_find(triggers, expected[i].name);

		/* without a column there is none; a partitioned table within is truncated by its partitions */
		if ((strcmp(expected[i].name, TE_TRIGGER_SEQUENCE) == 0 && !has_sequence) ||
			(strcmp(expected[i].name, TE_TRIGGER_TRUNCATE) == 0 && trigger == NULL &&
			 get_rel_relispartition(relid) && get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE))
			continue;
		look_at_trigger(findings, relid, &expected[i], trigger, number);
	}
	if (!has_sequence)
		return;
	look_at_late_triggers(findings, relid, triggers);
	if (capture != NULL && sequence != NULL && fires(sequence) && capture->enabled != sequence->enabled && fires(capture))
		add(findings, relid, (TeFinding)
			{
				.level = 2,.subject = psprintf("trigger \"%s\"", TE_TRIGGER_SEQUENCE),
				.predicate = psprintf("is not enabled as \"%s\" is", TE_TRIGGER_CAPTURE),
				.effect = "what replication writes is refused (TE423), or makes no events",
				.hint = "Use ALTER TABLE ... ENABLE ALWAYS TRIGGER for both, or ENABLE TRIGGER for both."
			});
}

/* ---- the table ------------------------------------------------------------------- */

static bool
makes_key(HeapTuple tuple, TupleDesc desc, AttrNumber attno)
{
	Form_pg_index index = (Form_pg_index) GETSTRUCT(tuple);
	bool		is_full;

	(void) heap_getattr(tuple, Anum_pg_index_indpred, desc, &is_full);
	return is_full && index->indisunique && index->indimmediate && index->indisvalid && index->indisready &&
		index->indislive && index->indnkeyatts == 1 && index->indkey.values[0] == attno;
}

static bool
is_unique(Oid relid, AttrNumber attno)
{
	Relation	rel = table_open(IndexRelationId, AccessShareLock);
	bool		result = false;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_index_indrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(rel, IndexIndrelidIndexId, true, NULL, 1, &key);
	while (!result && HeapTupleIsValid(tuple = systable_getnext(scan)))
		result = makes_key(tuple, RelationGetDescr(rel), attno);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

static bool
is_not_null(Oid relid, AttrNumber attno)
{
	HeapTuple	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(relid), Int16GetDatum(attno));
	bool		result = true;

	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_attribute) GETSTRUCT(tuple))->attnotnull;
		ReleaseSysCache(tuple);
	}
	return result;
}

/* a table or partition that holds rows; unique: its parent's key is already */
static void
look_at_rows(List **findings, Oid relid, bool unique)
{
	TeColumns	columns;
	AttrNumber	key;
	char	   *subject;

	if (get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE || get_rel_persistence(relid) == RELPERSISTENCE_UNLOGGED)
		add(findings, relid, (TeFinding)
			{
				.level = 3,
				.predicate = get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE ? "is a foreign table" : "is unlogged",
				.effect = "writes to it are refused",
				.hint = "Use ALTER TABLE ... SET LOGGED or DETACH PARTITION, or call todo_events.detach()."
			});
	if (!te_columns_read(te_trigger_find(te_triggers_of(relid), TE_TRIGGER_COLUMNS), &columns))
		return;
	key = columns.columns[TE_COLUMN_KEY];
	if (get_attname(relid, key, true) == NULL)
		return;					/* dropped this very moment */
	subject = psprintf("key column \"%s\"", get_attname(relid, key, true));
	if (!is_not_null(relid, key))
		add(findings, relid, (TeFinding)
			{
				.level = 2,.subject = subject,.predicate = "can be null",
				.effect = "rows without a key are refused",
				.hint = "Use ALTER TABLE ... ALTER COLUMN ... SET NOT NULL."
			});
	if (!unique && !is_unique(relid, key))
		add(findings, relid, (TeFinding)
			{
				.level = 2,.subject = subject,.predicate = "is not unique",
				.effect = "the events of rows with the same key are mixed up",
				.hint = "Make a unique index on this column, neither deferrable nor partial."
			});
}

/* rows of children are seen through the table, but have triggers of their own or none */
static void
look_at_children(List **findings, Oid relid)
{
	ListCell   *cell;

	foreach(cell, find_inheritance_children(relid, NoLock))
	{
		char	   *child = get_rel_name(lfirst_oid(cell));

		if (child != NULL && !te_inspect_is_attached(lfirst_oid(cell)))
			add(findings, relid, (TeFinding)
				{
					.level = 3,.subject = psprintf("child table \"%s\"", child),
					.predicate = "inherits from it without being attached",
					.effect = "changes of the child's rows make no events",
					.hint = "Use ALTER TABLE ... NO INHERIT, or declarative partitioning."
				});
	}
}

static int
compare_findings(const ListCell *a, const ListCell *b)
{
	return ((TeFinding *) lfirst(b))->level - ((TeFinding *) lfirst(a))->level;
}

bool
te_inspect_is_attached(Oid relid)
{
	return te_trigger_find(te_triggers_of(relid), TE_TRIGGER_CAPTURE) != NULL;
}

List *
te_inspect(const TeConfigRow *config)
{
	Oid			relid = config->relid;
	const TeTrigger *trigger = te_trigger_find(te_triggers_of(relid), TE_TRIGGER_COLUMNS);
	List	   *findings = NIL;
	TeColumns	columns;
	bool		known = te_columns_read(trigger, &columns);
	bool		has_sequence = known && columns.columns[TE_COLUMN_SEQUENCE] != InvalidAttrNumber;
	bool		unique = known && get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE &&
		is_unique(relid, columns.columns[TE_COLUMN_KEY]);
	ListCell   *cell;

	look_at_triggers(&findings, relid, has_sequence, config->number);
	if (get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE)
	{
		look_at_rows(&findings, relid, false);
		look_at_children(&findings, relid);
	}
	else
	{
		foreach(cell, find_all_inheritors(relid, NoLock, NULL))
		{
			Oid			partition = lfirst_oid(cell);

			if (partition == relid || get_rel_name(partition) == NULL)
				continue;
			look_at_triggers(&findings, partition, has_sequence, config->number);
			if (get_rel_relkind(partition) != RELKIND_PARTITIONED_TABLE)
				look_at_rows(&findings, partition, unique);
		}
	}
	list_sort(findings, compare_findings);
	return findings;
}
