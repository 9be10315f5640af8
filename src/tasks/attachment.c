/*-------------------------------------------------------------------------
 *
 * attachment.c
 *	  What a backend knows about an attached table.
 *
 * An entry is made from the relation's own triggers plus one look at
 * todo_events.attachment_config.  DDL on the table invalidates it.  It may be
 * in use further up the stack at that moment (a trigger within a trigger), or
 * needed for rows that are held back (held.c), so it is unlinked and freed
 * when the transaction has ended.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "runtime/compat.h"
#include "runtime/errors.h"
#include "runtime/inval.h"
#include "runtime/own.h"
#include "runtime/version.h"
#include "tasks/attachment.h"

typedef struct Slot
{
	Oid			relid;			/* hash key */
	TeAttachment *att;			/* NULL = none at present */
} Slot;

static HTAB *slots = NULL;
static List *dead = NIL;		/* contexts of entries that were invalidated */
static uint64 invalidations = 0;	/* of all entries at once, so far */

/* ---- names of ours ---------------------------------------------------- */

Oid
te_attachment_config_oid(void)
{
	return te_own_relation("todo_events", "attachment_config");
}

Oid
te_attachment_parent(Oid relid)
{
	Relation	rel;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			parent = InvalidOid;

	if (!get_rel_relispartition(relid))
		return InvalidOid;
	rel = table_open(InheritsRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(rel, InheritsRelidSeqnoIndexId, true, NULL, 1, &key);
	if (HeapTupleIsValid(tuple = systable_getnext(scan)))
		parent = ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return parent;
}

Trigger *
te_attachment_trigger(Relation rel, const char *name)
{
	/* before the loop: a look into a catalog may build the relation's triggers anew */
	Oid			function = te_trigger_function_oid();

	if (rel->trigdesc == NULL)
		return NULL;
	for (int i = 0; i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];

		if (trigger->tgfoid == function && strcmp(trigger->tgname, name) == 0)
			return trigger;
	}
	return NULL;
}

int32
te_attachment_number(Relation rel)
{
	Trigger    *trigger = te_attachment_trigger(rel, TE_TRIGGER_CAPTURE);

	return trigger != NULL && trigger->tgnargs > 0 ? Max(0, te_trigger_parse_number(trigger->tgargs[0])) : 0;
}

/* ---- making an entry --------------------------------------------------- */

pg_noreturn static void
not_attached(Relation rel)
{
	ereport(ERROR,
			(errcode(ERRCODE_TE_NOT_ATTACHABLE),
			 errmsg("table \"%s\" is not attached", RelationGetRelationName(rel)),
			 errdetail("The trigger function todo_events.capture() was called by a trigger that todo_events.attach() did not make, or that was restored without its row of todo_events.attachment_config."),
			 errhint("Drop the trigger, or call todo_events.detach() and then todo_events.attach() for the table.")));
}

static bool
is_self_or_ancestor(Oid root, Oid relid)
{
	while (OidIsValid(relid) && relid != root)
		relid = te_attachment_parent(relid);
	return OidIsValid(relid);
}

/* number's row says that this table, or one that it is a partition of, is attached under it */
static bool
read_config(TeAttachment *att)
{
	Relation	config = te_own_table_open("todo_events", "attachment_config", AccessShareLock);
	Oid			index = te_compat_primary_key(config);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;
	Datum	   *values = palloc(RelationGetNumberOfAttributes(config) * sizeof(Datum));
	bool	   *nulls = palloc(RelationGetNumberOfAttributes(config) * sizeof(bool));

	ScanKeyInit(&key, TE_ATTACHMENT_NUMBER, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(att->number));
	scan = systable_beginscan(config, index, OidIsValid(index), NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		heap_deform_tuple(tuple, RelationGetDescr(config), values, nulls);
		att->root = DatumGetObjectId(values[TE_ATTACHMENT_RELATION - 1]);
		if (!nulls[TE_ATTACHMENT_DETACHED_AT - 1] || !is_self_or_ancestor(att->root, att->relid))
			continue;
		found = true;
		att->start_sequence = DatumGetInt64(values[TE_ATTACHMENT_START_SEQUENCE - 1]);
		if (!DatumGetBool(values[TE_ATTACHMENT_BARE - 1]))
		{
			att->key_prefix = MemoryContextStrdup(att->context, psprintf("%s/",
																		 TextDatumGetCString(values[TE_ATTACHMENT_NAME - 1])));
			att->key_prefix_len = (int) strlen(att->key_prefix);
		}
	}
	systable_endscan(scan);
	table_close(config, AccessShareLock);
	pfree(values);
	pfree(nulls);
	return found;
}

static Oid
role_type(const TeAttachment *att, TupleDesc desc, TeColumnRole role)
{
	AttrNumber	attno = att->columns[role];

	return attno == InvalidAttrNumber ? InvalidOid : getBaseType(TupleDescAttr(desc, attno - 1)->atttypid);
}

/*
 * attach() saw to the types, but a table's owner can make triggers of these
 * names by hand: what is read or written as a number must be one.
 */
static void
check_types(const TeAttachment *att, TupleDesc desc)
{
	Oid			sequence = role_type(att, desc, TE_COLUMN_SEQUENCE);
	Oid			updated = role_type(att, desc, TE_COLUMN_UPDATED_AT);
	Oid			completed = role_type(att, desc, TE_COLUMN_COMPLETED_AT);

	if ((OidIsValid(sequence) && sequence != INT8OID && sequence != INT4OID) ||
		(att->standard && OidIsValid(updated) && updated != TIMESTAMPTZOID) ||
		(OidIsValid(completed) && completed != TIMESTAMPTZOID) ||
		(att->done == TE_DONE_BOOL && role_type(att, desc, TE_COLUMN_COMPLETED) != BOOLOID) ||
		(att->standard && !OidIsValid(sequence)))
		ereport(ERROR,
				(errcode(ERRCODE_TE_NOT_ATTACHABLE),
				 errmsg("the attachment of table \"%s\" is broken", get_rel_name(att->relid)),
				 errdetail("Its trigger \"%s\" gives columns a meaning that their types do not allow.",
						   TE_TRIGGER_COLUMNS),
				 errhint("Drop the trigger if it was made by hand, then call todo_events.detach() and todo_events.attach() for the table.")));
}

static void
read_columns(TeAttachment *att, const TeColumns *columns)
{
	TupleDesc	desc = att->desc;
	Bitmapset  *exclude = NULL;
	ListCell   *cell;

	memcpy(att->columns, columns->columns, sizeof(att->columns));
	att->standard = columns->standard;
	att->done = columns->done;
	foreach(cell, columns->exclude)
		exclude = bms_add_member(exclude, lfirst_int(cell));

	att->natts = desc->natts;
	att->watched = palloc(desc->natts * sizeof(bool));
	att->compared = palloc(desc->natts * sizeof(bool));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);
		AttrNumber	attno = column->attnum;
		bool		role = attno == att->columns[TE_COLUMN_KEY] ||
			attno == att->columns[TE_COLUMN_USER] || attno == att->columns[TE_COLUMN_COMPLETED];

		att->compared[i] = !column->attisdropped && column->attgenerated != 'v';
		/* a generated column follows from others */
		att->watched[i] = role ||
			(att->compared[i] && column->attgenerated == '\0' &&
			 attno != att->columns[TE_COLUMN_SEQUENCE] &&
			 attno != att->columns[TE_COLUMN_UPDATED_AT] &&
			 !bms_is_member(attno, exclude));
	}

	att->json = te_row_json_create(desc, exclude);
	for (int role = TE_COLUMN_KEY; role <= TE_COLUMN_USER; role++)
	{
		if (att->columns[role] != InvalidAttrNumber)
			te_json_value_init(&att->names[role],
							   TupleDescAttr(desc, att->columns[role] - 1)->atttypid);
	}
	if (att->columns[TE_COLUMN_SEQUENCE] != InvalidAttrNumber)
		att->sequence_type = role_type(att, desc, TE_COLUMN_SEQUENCE);
	if (att->done == TE_DONE_VALUE)
	{
		Form_pg_attribute column = TupleDescAttr(desc, att->columns[TE_COLUMN_COMPLETED] - 1);

		att->done_value = te_columns_done_value(columns, column->atttypid, column->atttypmod);
		att->done_typlen = column->attlen;
		att->done_typbyval = column->attbyval;
	}
	check_types(att, desc);
}

/* AFTER ROW triggers of others that may write; foreign keys' checks only look */
static bool
writes_follow(Relation rel, Oid ours)
{
	for (int i = 0; i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];

		if (TRIGGER_FOR_ROW(trigger->tgtype) && TRIGGER_FOR_AFTER(trigger->tgtype) &&
			trigger->tgfoid != ours && RI_FKey_trigger_type(trigger->tgfoid) != RI_TRIGGER_FK)
			return true;
	}
	return false;
}

static TeAttachment *
make_entry(Relation rel)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "todo_events attachment",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	TeAttachment *att = palloc0(sizeof(TeAttachment));
	/* copies: what the relcache holds may be built anew while we look further */
	List	   *triggers = te_triggers_of(RelationGetRelid(rel));
	TeColumns	columns;

	te_version_check();
	att->context = context;
	att->relid = RelationGetRelid(rel);
	att->desc = CreateTupleDescCopyConstr(RelationGetDescr(rel));
	att->is_partition = rel->rd_rel->relispartition;
	att->number = te_trigger_number(te_trigger_find(triggers, TE_TRIGGER_CAPTURE));
	att->valid = true;
	if (rel->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		ereport(ERROR,
				(errcode(ERRCODE_TE_NOT_ATTACHABLE),
				 errmsg("attached table \"%s\" has become unlogged", RelationGetRelationName(rel)),
				 errhint("Use ALTER TABLE ... SET LOGGED, or call todo_events.detach().")));
	if (rel->rd_rel->relkind != RELKIND_RELATION)
		ereport(ERROR,
				(errcode(ERRCODE_TE_NOT_ATTACHABLE),
				 errmsg("foreign table \"%s\" cannot be a partition of an attached table", RelationGetRelationName(rel)),
				 errhint("Detach the partition, or call todo_events.detach() for the partitioned table.")));
	if (att->number == 0 || !read_config(att))
		not_attached(rel);
	att->writes_follow = writes_follow(rel, te_trigger_function_oid());
	if (!te_columns_read(te_trigger_find(triggers, TE_TRIGGER_COLUMNS), &columns))
		ereport(ERROR,
				(errcode(ERRCODE_TE_NOT_ATTACHABLE),
				 errmsg("the attachment of table \"%s\" is broken", RelationGetRelationName(rel)),
				 errdetail("Its trigger \"%s\", which says what its columns mean, is gone: it was dropped or renamed, or a column was dropped together with its type.",
						   TE_TRIGGER_COLUMNS),
				 errhint("Call todo_events.detach() and then todo_events.attach() for the table.")));
	read_columns(att, &columns);

	/* only now is it worth keeping; an error above leaves it to the caller's context */
	MemoryContextSetParent(context, CacheMemoryContext);
	MemoryContextSwitchTo(caller);
	return att;
}

static void
unlink_entry(Slot *slot)
{
	MemoryContext caller;

	if (slot->att == NULL)
		return;
	caller = MemoryContextSwitchTo(TopMemoryContext);
	dead = lappend(dead, slot->att->context);
	MemoryContextSwitchTo(caller);
	slot->att->valid = false;
	slot->att = NULL;
}

const TeAttachment *
te_attachment_get(Relation rel)
{
	Oid			relid = RelationGetRelid(rel);
	uint64		before = invalidations;
	TeAttachment *att;
	Slot	   *slot;
	bool		found;

	if (slots == NULL)
	{
		HASHCTL		info = {.keysize = sizeof(Oid), .entrysize = sizeof(Slot)};

		slots = hash_create("todo_events attachments", 16, &info, HASH_ELEM | HASH_BLOBS);
	}
	slot = hash_search(slots, &relid, HASH_FIND, NULL);
	if (slot != NULL && slot->att != NULL)
		return slot->att;

	/*
	 * Our caller's lock on the table keeps DDL on it away meanwhile, but not
	 * DDL on casts and functions, nor the reset of all caches: then the entry
	 * serves this once.
	 */
	att = make_entry(rel);
	slot = hash_search(slots, &relid, HASH_ENTER, &found);
	slot->att = att;
	if (invalidations != before)
		unlink_entry(slot);
	return att;
}

static void
unlink_entries(bool with_functions_only)
{
	HASH_SEQ_STATUS status;
	Slot	   *slot;

	invalidations++;
	if (slots == NULL)
		return;
	hash_seq_init(&status, slots);
	while ((slot = hash_seq_search(&status)) != NULL)
	{
		if (!with_functions_only || (slot->att != NULL && te_row_json_has_functions(slot->att->json)))
			unlink_entry(slot);
	}
}

static void
attachment_relcache_callback(Oid relid)
{
	Slot	   *slot;

	if (!OidIsValid(relid))
		unlink_entries(false);
	else if (slots != NULL)
	{
		slot = hash_search(slots, &relid, HASH_FIND, NULL);
		if (slot != NULL)
			unlink_entry(slot);
	}
}

/* a cast to json was made or dropped, or a function that a type is written by was */
static void
attachment_syscache_callback(Datum arg, int cacheid, uint32 hashvalue)
{
	unlink_entries(cacheid == PROCOID);
}

static void
attachment_xact_callback(XactEvent event, void *arg)
{
	ListCell   *cell;

	if (dead == NIL ||
		(event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE))
		return;
	foreach(cell, dead)
		MemoryContextDelete(lfirst(cell));
	list_free(dead);
	dead = NIL;
}

void
te_attachment_init(void)
{
	te_inval_register(attachment_relcache_callback);
	CacheRegisterSyscacheCallback(CASTSOURCETARGET, attachment_syscache_callback, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, attachment_syscache_callback, (Datum) 0);
	RegisterXactCallback(attachment_xact_callback, NULL);
}
