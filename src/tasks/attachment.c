/*-------------------------------------------------------------------------
 *
 * attachment.c
 *	  What a backend knows about an attached table.
 *
 * An entry is made from the relation's own triggers, which the relcache has
 * at hand, plus one look at todo_events.attachment_config.  DDL on the table
 * invalidates it.  It may be in use further up the stack at that moment (a
 * trigger within a trigger), so it is unlinked and freed when the transaction
 * has ended.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_proc.h"
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
#include "runtime/own.h"
#include "tasks/attachment.h"

const char *const te_column_role_names[TE_COLUMN_ROLES + 1] = {
	[TE_COLUMN_KEY] = "key",
	[TE_COLUMN_USER] = "user_key",
	[TE_COLUMN_COMPLETED] = "completed",
	[TE_COLUMN_TITLE] = "title",
	[TE_COLUMN_DUE_AT] = "due_at",
	[TE_COLUMN_REMIND_AT] = "remind_at",
	[TE_COLUMN_SEQUENCE] = "sequence",
	[TE_COLUMN_UPDATED_AT] = "updated_at",
	[TE_COLUMN_COMPLETED_AT] = "completed_at",
	[TE_COLUMN_EXCLUDE] = "exclude",
};

typedef struct Slot
{
	Oid			relid;			/* hash key */
	TeAttachment *att;			/* NULL = none at present */
} Slot;

static HTAB *slots = NULL;
static List *dead = NIL;		/* contexts of entries that were invalidated */

/* ---- names of ours ---------------------------------------------------- */

Oid
te_attachment_config_oid(void)
{
	return te_own_relation("todo_events", "attachment_config");
}

/* looked up without a check of rights: a writer has none, and needs none */
Oid
te_attachment_function_oid(void)
{
	return te_own_function("todo_events", "capture");
}

Oid
te_attachment_root(Relation rel)
{
	if (!rel->rd_rel->relispartition)
		return RelationGetRelid(rel);
	return llast_oid(get_partition_ancestors(RelationGetRelid(rel)));
}

Trigger *
te_attachment_trigger(Relation rel, const char *name)
{
	Oid			function = InvalidOid;

	if (rel->trigdesc == NULL)
		return NULL;
	for (int i = 0; i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];

		if (strcmp(trigger->tgname, name) != 0)
			continue;
		if (!OidIsValid(function))
			function = te_attachment_function_oid();
		if (trigger->tgfoid == function)
			return trigger;
	}
	return NULL;
}

int32
te_attachment_number(Relation rel)
{
	Trigger    *trigger = te_attachment_trigger(rel, TE_TRIGGER_CAPTURE);

	return trigger != NULL && trigger->tgnargs > 0 ? pg_strtoint32(trigger->tgargs[0]) : 0;
}

/* ---- the columns trigger ---------------------------------------------- */

/* "role=place" of an argument; place as the attribute number it stands for */
static bool
parse_column(const Trigger *trigger, const char *arg, TeColumnRole *role, AttrNumber *attno)
{
	const char *equals = strchr(arg, '=');

	for (int i = 0; equals != NULL && i <= TE_COLUMN_ROLES; i++)
	{
		int			place;

		if (strlen(te_column_role_names[i]) != (size_t) (equals - arg) ||
			strncmp(te_column_role_names[i], arg, equals - arg) != 0)
			continue;
		place = pg_strtoint32(equals + 1);
		if (place < 0 || place >= trigger->tgnattr)
			break;
		*role = (TeColumnRole) i;
		*attno = trigger->tgattr[place];
		return true;
	}
	return false;
}

static const char *
done_argument(const Trigger *trigger)
{
	for (int i = 1; i < trigger->tgnargs; i++)
	{
		if (strncmp(trigger->tgargs[i], "done=", 5) == 0)
			return trigger->tgargs[i] + 5;
	}
	return NULL;
}

bool
te_attachment_column_names(Relation rel, TeColumnNames *result)
{
	const Trigger *trigger = te_attachment_trigger(rel, TE_TRIGGER_COLUMNS);
	const char *done;

	memset(result, 0, sizeof(*result));
	if (trigger == NULL)
		return false;
	for (int i = 1; i < trigger->tgnargs; i++)
	{
		TeColumnRole role;
		AttrNumber	attno;
		char	   *name;

		if (strcmp(trigger->tgargs[i], "standard") == 0)
			result->standard = true;
		if (!parse_column(trigger, trigger->tgargs[i], &role, &attno))
			continue;
		name = pstrdup(NameStr(TupleDescAttr(RelationGetDescr(rel), attno - 1)->attname));
		if (role == TE_COLUMN_EXCLUDE)
			result->exclude = lappend(result->exclude, name);
		else
			result->names[role] = name;
	}
	done = done_argument(trigger);
	result->completed = result->names[TE_COLUMN_COMPLETED];
	if (result->completed != NULL && done != NULL && strncmp(done, "value:", 6) == 0)
		result->completed = psprintf("%s=%s", result->completed, done + 6);
	return true;
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

/* number's row says that this table is attached under it */
static bool
read_config(TeAttachment *att, Oid root)
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
		if (!nulls[TE_ATTACHMENT_DETACHED_AT - 1] ||
			DatumGetObjectId(values[TE_ATTACHMENT_RELATION - 1]) != root)
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

static void
read_done(TeAttachment *att, const Trigger *trigger, TupleDesc desc)
{
	const char *done = done_argument(trigger);
	Form_pg_attribute column;

	if (done == NULL || att->columns[TE_COLUMN_COMPLETED] == InvalidAttrNumber)
		return;
	column = TupleDescAttr(desc, att->columns[TE_COLUMN_COMPLETED] - 1);
	if (strcmp(done, "bool") == 0)
		att->done = TE_DONE_BOOL;
	else if (strcmp(done, "not_null") == 0)
		att->done = TE_DONE_NOT_NULL;
	else if (strncmp(done, "value:", 6) == 0)
	{
		Oid			input;
		Oid			param;

		getTypeInputInfo(column->atttypid, &input, &param);
		att->done_value = OidInputFunctionCall(input, unconstify(char *, done + 6), param,
											   column->atttypmod);
		att->done_typlen = column->attlen;
		att->done_typbyval = column->attbyval;
		att->done = TE_DONE_VALUE;
	}
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
		(att->standard && (!OidIsValid(updated) || !OidIsValid(sequence))))
		ereport(ERROR,
				(errcode(ERRCODE_TE_NOT_ATTACHABLE),
				 errmsg("the attachment of table \"%s\" is broken", get_rel_name(att->relid)),
				 errdetail("Its trigger \"%s\" gives columns a meaning that their types do not allow.",
						   TE_TRIGGER_COLUMNS),
				 errhint("Drop the trigger if it was made by hand, then call todo_events.detach() and todo_events.attach() for the table.")));
}

static void
read_columns(TeAttachment *att, const Trigger *trigger, TupleDesc desc)
{
	Bitmapset  *exclude = NULL;

	for (int i = 1; i < trigger->tgnargs; i++)
	{
		TeColumnRole role;
		AttrNumber	attno;

		if (strcmp(trigger->tgargs[i], "standard") == 0)
			att->standard = true;
		else if (!parse_column(trigger, trigger->tgargs[i], &role, &attno))
			continue;
		else if (role == TE_COLUMN_EXCLUDE)
			exclude = bms_add_member(exclude, attno);
		else
			att->columns[role] = attno;
	}

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
	read_done(att, trigger, desc);
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
	const Trigger *columns = te_attachment_trigger(rel, TE_TRIGGER_COLUMNS);
	TeAttachment *att = palloc0(sizeof(TeAttachment));

	att->context = context;
	att->relid = RelationGetRelid(rel);
	att->is_partition = rel->rd_rel->relispartition;
	att->number = te_attachment_number(rel);
	att->valid = true;
	if (rel->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		ereport(ERROR,
				(errcode(ERRCODE_TE_NOT_ATTACHABLE),
				 errmsg("attached table \"%s\" has become unlogged", RelationGetRelationName(rel)),
				 errhint("Use ALTER TABLE ... SET LOGGED, or call todo_events.detach().")));
	if (att->number == 0 || !read_config(att, te_attachment_root(rel)))
		not_attached(rel);
	att->writes_follow = writes_follow(rel, te_attachment_function_oid());
	if (columns != NULL)
		read_columns(att, columns, RelationGetDescr(rel));
	if (att->columns[TE_COLUMN_KEY] == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_TE_NOT_ATTACHABLE),
				 errmsg("the attachment of table \"%s\" is broken", RelationGetRelationName(rel)),
				 errdetail("Its trigger \"%s\", which says what its columns mean, is gone: a column was dropped with CASCADE.",
						   TE_TRIGGER_COLUMNS),
				 errhint("Call todo_events.detach() and then todo_events.attach() for the table.")));

	/* only now is it worth keeping; an error above leaves it to the caller's context */
	MemoryContextSetParent(context, CacheMemoryContext);
	MemoryContextSwitchTo(caller);
	return att;
}

const TeAttachment *
te_attachment_get(Relation rel)
{
	Oid			relid = RelationGetRelid(rel);
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

	/* our caller's lock on the table keeps DDL, and so invalidations, away meanwhile */
	att = make_entry(rel);
	slot = hash_search(slots, &relid, HASH_ENTER, &found);
	slot->att = att;
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

static void
attachment_relcache_callback(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	Slot	   *slot;

	if (slots == NULL)
		return;
	if (OidIsValid(relid))
	{
		slot = hash_search(slots, &relid, HASH_FIND, NULL);
		if (slot != NULL)
			unlink_entry(slot);
		return;
	}
	hash_seq_init(&status, slots);
	while ((slot = hash_seq_search(&status)) != NULL)
		unlink_entry(slot);
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
	CacheRegisterRelcacheCallback(attachment_relcache_callback, (Datum) 0);
	RegisterXactCallback(attachment_xact_callback, NULL);
}
