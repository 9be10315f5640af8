/*-------------------------------------------------------------------------
 *
 * change.c
 *	  What a change of a row means: which events, with which numbers.
 *
 *	  INSERT					created		tombstone + 1, or 1
 *	  UPDATE of nothing			-
 *	  UPDATE					updated | completed | reopened	OLD + 1
 *	  UPDATE of the user		unassigned to the old one OLD + 1, then as above OLD + 2
 *	  UPDATE of the key			deleted OLD + 1, then created tombstone + 1, or 1
 *	  DELETE					deleted		OLD + 1, which is its tombstone
 *
 * The numbers stand in the table's sequence column, written by the BEFORE
 * trigger (sequence.c) and checked here, or else in the counter ring.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "replication/logicalworker.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "log/log.h"
#include "runtime/errors.h"
#include "tasks/change.h"
#include "tasks/counter.h"
#include "tasks/sequence.h"

/* a payload's buffer larger than this is not kept for the next row */
#define PAYLOAD_KEEP	(1024 * 1024)

#define append_literal(buf, s) appendBinaryStringInfo(buf, s, sizeof(s) - 1)

/* ---- the payload's buffer ----------------------------------------------- */

/*
 * One buffer serves row after row.  It is taken while in use, since a type's
 * output function may run SQL and come back here.  What an error leaves
 * taken is freed with the transaction.
 */
static MemoryContext payload_context = NULL;
static StringInfo payload_spare = NULL;
static int	payload_taken = 0;

static StringInfo
payload_take(void)
{
	StringInfo	buf = payload_spare;
	MemoryContext caller;

	payload_taken++;
	if (buf != NULL)
	{
		payload_spare = NULL;
		resetStringInfo(buf);
		return buf;
	}
	if (payload_context == NULL)
		payload_context = AllocSetContextCreate(TopMemoryContext, "todo_events payload",
												ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(payload_context);
	buf = makeStringInfo();
	MemoryContextSwitchTo(caller);
	return buf;
}

static void
payload_give(StringInfo buf)
{
	payload_taken--;
	if (payload_spare == NULL && buf->maxlen <= PAYLOAD_KEEP)
		payload_spare = buf;
	else
	{
		pfree(buf->data);
		pfree(buf);
	}
}

static void
payload_xact_callback(XactEvent event, void *arg)
{
	if (payload_taken > 0 && (event == XACT_EVENT_ABORT || event == XACT_EVENT_COMMIT))
	{
		MemoryContextReset(payload_context);
		payload_spare = NULL;
		payload_taken = 0;
	}
}

/* {"after": new, "before": what differs of old}; either row may be absent, then so is its member */
static void
render(const TeAttachment *att, StringInfo buf, const TeRowImage *new,
	   const TeRowImage *old, const bool *differs)
{
	int			nest_level = te_row_json_begin(att->json);

	appendStringInfoCharMacro(buf, '{');
	if (new != NULL)
	{
		append_literal(buf, "\"after\":");
		te_row_json_append(att->json, buf, new->values, new->nulls, NULL);
	}
	if (old != NULL)
	{
		if (new != NULL)
			appendStringInfoCharMacro(buf, ',');
		append_literal(buf, "\"before\":");
		te_row_json_append(att->json, buf, old->values, old->nulls, differs);
	}
	appendStringInfoCharMacro(buf, '}');
	te_row_json_end(nest_level);
}

static void
append(const TeAttachment *att, TeEventType type, int64 sequence,
	   const TeRowImage *row, const char *payload, int payload_len)
{
	TeEventInput event = {
		.type = type,
		.attachment = att->number,
		.sequence = sequence,
		.key = te_attachment_name(att, TE_COLUMN_KEY, row->values, row->nulls, true),
		.user = te_attachment_name(att, TE_COLUMN_USER, row->values, row->nulls, false),
		.payload = payload,
		.payload_len = payload_len
	};

	(void) te_log_append(&event);
}

/* ---- what changed -------------------------------------------------------- */

TeRowImage
te_row_image(TupleTableSlot *slot)
{
	slot_getallattrs(slot);
	return (TeRowImage)
	{
		.values = slot->tts_values,.nulls = slot->tts_isnull,.tid = slot->tts_tid
	};
}

static bool
column_differs(TupleDesc desc, AttrNumber attno, const TeRowImage *old, const TeRowImage *new)
{
	int			i = attno - 1;

	return te_attachment_differs(desc, i, old->values[i], old->nulls[i], new->values[i], new->nulls[i]);
}

TeChange
te_change_of(const TeAttachment *att,
			 const TeRowImage *old, const TeRowImage *new, bool *differs)
{
	AttrNumber	user = att->columns[TE_COLUMN_USER];
	bool		changed = false;

	for (int i = 0; i < att->natts; i++)
	{
		bool		d;

		if (differs == NULL && (changed || !att->watched[i]))
			continue;
		d = att->compared[i] && column_differs(att->desc, i + 1, old, new);
		changed |= d && att->watched[i];
		if (differs != NULL)
			differs[i] = d;
	}
	if (!changed)
		return TE_CHANGE_NONE;
	if (column_differs(att->desc, att->columns[TE_COLUMN_KEY], old, new))
		return TE_CHANGE_KEY;
	if (user != InvalidAttrNumber && !old->nulls[user - 1] && column_differs(att->desc, user, old, new))
		return TE_CHANGE_OWNER;
	return TE_CHANGE_ROW;
}

/* the number that a task of a table without a sequence column has now */
static int64
counted(const TeAttachment *att, const TeName *key)
{
	int64		last = te_counter_last(att->number, key, true);

	return last > 0 ? last : att->start_sequence;
}

/* ---- the events ---------------------------------------------------------- */

/* false: the row's number had to be corrected, and the correction made the event */
static bool
append_created(const TeAttachment *att, Relation rel, const TeRowImage *new)
{
	TeName		key = te_attachment_name(att, TE_COLUMN_KEY, new->values, new->nulls, false);
	int64		sequence = te_counter_last(att->number, &key, true) + 1;
	StringInfo	buf;

	if (att->columns[TE_COLUMN_SEQUENCE] == InvalidAttrNumber)
		te_counter_append(att->number, &key, sequence, false);
	else if (IsLogicalWorker())
		sequence = te_sequence_get(att, new);	/* the publisher's */
	else if (!te_sequence_check_created(att, rel, new, sequence))
		return false;

	buf = payload_take();
	render(att, buf, new, NULL, NULL);
	append(att, TE_EVENT_TASK_CREATED, sequence, new, buf->data, buf->len);
	payload_give(buf);
	return true;
}

void
te_change_inserted(const TeAttachment *att, Relation rel, const TeRowImage *new)
{
	(void) append_created(att, rel, new);
}

void
te_change_deleted(const TeAttachment *att, const TeRowImage *old)
{
	TeName		key = te_attachment_name(att, TE_COLUMN_KEY, old->values, old->nulls, false);
	int64		sequence;
	StringInfo	buf;

	if (key.kind == TE_NAME_NONE)
		return;
	if (att->columns[TE_COLUMN_SEQUENCE] == InvalidAttrNumber)
		sequence = counted(att, &key) + 1;
	else
		sequence = te_sequence_get(att, old) + 1;
	te_counter_append(att->number, &key, sequence, true);

	buf = payload_take();
	render(att, buf, NULL, old, NULL);
	append(att, TE_EVENT_TASK_DELETED, sequence, old, buf->data, buf->len);
	payload_give(buf);
}

static TeEventType
updated_type(const TeAttachment *att, const TeRowImage *old, const TeRowImage *new)
{
	bool		was = te_attachment_is_done(att, old->values, old->nulls);
	bool		is = te_attachment_is_done(att, new->values, new->nulls);

	if (was == is)
		return TE_EVENT_TASK_UPDATED;
	return is ? TE_EVENT_TASK_COMPLETED : TE_EVENT_TASK_REOPENED;
}

void
te_change_updated(const TeAttachment *att, Relation rel, const TeRowImage *old, const TeRowImage *new)
{
	bool	   *differs = palloc(att->natts * sizeof(bool));
	TeChange	change = te_change_of(att, old, new, differs);
	bool		column = att->columns[TE_COLUMN_SEQUENCE] != InvalidAttrNumber;
	int64		sequence;
	StringInfo	buf;

	if (change == TE_CHANGE_KEY)
	{
		te_change_deleted(att, old);
		(void) append_created(att, rel, new);
		return;
	}
	if (column)
		sequence = te_sequence_check_updated(att, old, new, change);
	if (change == TE_CHANGE_NONE)
		return;
	if (!column)
	{
		TeName		key = te_attachment_name(att, TE_COLUMN_KEY, new->values, new->nulls, false);

		sequence = counted(att, &key) + (change == TE_CHANGE_OWNER ? 2 : 1);
		te_counter_append(att->number, &key, sequence, false);
	}

	if (change == TE_CHANGE_OWNER)
		append(att, TE_EVENT_TASK_UNASSIGNED, sequence - 1, old, "{}", 2);
	buf = payload_take();
	render(att, buf, new, old, differs);
	append(att, updated_type(att, old, new), sequence, new, buf->data, buf->len);
	payload_give(buf);
}

void
te_change_snapshot(const TeAttachment *att, const TeRowImage *row)
{
	TeName		key = te_attachment_name(att, TE_COLUMN_KEY, row->values, row->nulls, false);
	StringInfo	buf = payload_take();
	int64		sequence = att->columns[TE_COLUMN_SEQUENCE] == InvalidAttrNumber ?
		counted(att, &key) : te_sequence_get(att, row);

	render(att, buf, row, NULL, NULL);
	append(att, TE_EVENT_TASK_CREATED, sequence, row, buf->data, buf->len);
	payload_give(buf);
}

void
te_change_init(void)
{
	RegisterXactCallback(payload_xact_callback, NULL);
}
