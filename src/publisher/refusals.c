/*-------------------------------------------------------------------------
 *
 * refusals.c
 *	  What the broker has refused for good, on its way to being dead letters.
 *
 * A refusal names the event by its id in the log; the text is read from
 * there when the dead letter is written, so that the publisher need not keep
 * what it has sent.  The log still has it: its cursor does not pass an event
 * before its dead letter is written.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "log/event.h"
#include "log/ring.h"
#include "log/row.h"
#include "publisher/cycle.h"
#include "publisher/dead_letters.h"
#include "publisher/letter_store.h"
#include "publisher/routes.h"
#include "runtime/clock.h"
#include "runtime/worker.h"

/* one transaction writes so many, or so many bytes of events */
#define WRITE_LETTERS	256
#define WRITE_BYTES		(4 * 1024 * 1024)

/* a reason longer than this is cut */
#define MAX_REASON		500

struct TeRefusals
{
	MemoryContext context;
	int			first;
	int			end;
	int			max;
	TeRefusal  *items;
};

TeRefusals *
te_refusals_create(MemoryContext context)
{
	TeRefusals *refusals = MemoryContextAllocZero(context, sizeof(TeRefusals));

	refusals->context = AllocSetContextCreate(context, "todo_events refusals", ALLOCSET_SMALL_SIZES);
	return refusals;
}

int
te_refusals_count(const TeRefusals *refusals)
{
	return refusals->end - refusals->first;
}

void
te_refusals_clear(TeRefusals *refusals)
{
	if (refusals->items == NULL)
		return;
	MemoryContextReset(refusals->context);
	refusals->first = refusals->end = refusals->max = 0;
	refusals->items = NULL;
}

/* thousands of refusals in a row tend to say the same */
static const char *
copy_text(const char *text, const char *previous)
{
	int			len = strlen(text);

	if (previous != NULL && strncmp(text, previous, MAX_REASON) == 0)
		return previous;
	return pnstrdup(text, pg_mbcliplen(text, len, MAX_REASON));
}

void
te_refusals_add(TeRefusals *refusals, const TeRefusal *refusal)
{
	MemoryContext caller = MemoryContextSwitchTo(refusals->context);
	TeRefusal  *last;
	TeRefusal  *item;

	if (refusals->end == refusals->max)
	{
		refusals->max = Max(64, refusals->max * 2);
		refusals->items = refusals->items == NULL
			? palloc(refusals->max * sizeof(TeRefusal))
			: repalloc(refusals->items, refusals->max * sizeof(TeRefusal));
	}
	last = refusals->end > 0 ? &refusals->items[refusals->end - 1] : NULL;
	item = &refusals->items[refusals->end];
	*item = *refusal;
	item->topic = copy_text(refusal->topic, last ? last->topic : NULL);
	item->code_name = copy_text(refusal->code_name, last ? last->code_name : NULL);
	item->reason = copy_text(refusal->reason, last ? last->reason : NULL);
	refusals->end++;
	MemoryContextSwitchTo(caller);
}

/* ---- writing ----------------------------------------------------------- */

/* sent again after a restart, and refused again: one dead letter is enough */
static bool
is_known(Relation letters, const TeRefusal *refusal)
{
	Relation	index;
	SysScanDesc scan = te_letter_scan(letters, TE_LETTER_LOG_ID, &refusal->event,
									  GetActiveSnapshot(), &index);
	HeapTuple	tuple;
	bool		known = false;

	while (!known && (tuple = systable_getnext_ordered(scan, ForwardScanDirection)) != NULL)
	{
		bool		isnull;
		Datum		topic = heap_getattr(tuple, TE_LETTER_TOPIC, RelationGetDescr(letters), &isnull);

		known = !isnull && strcmp(TextDatumGetCString(topic), refusal->topic) == 0;
	}
	te_letter_scan_end(scan, index);
	return known;
}

static void
set_text(Datum *values, bool *nulls, TeLetterColumn column, const char *text)
{
	nulls[column - 1] = text == NULL;
	if (text != NULL)
		values[column - 1] = CStringGetTextDatum(text);
}

static const TeTopic *
topic_named(const char *name)
{
	const TeTopic *topic;

	for (int i = 0; (topic = te_routes_topic(i)) != NULL; i++)
	{
		if (strcmp(topic->name, name) == 0)
			return topic;
	}
	return NULL;
}

/* what the log says of the event; returns the bytes of its text */
static int
fill_from_log(const TeRefusal *refusal, Datum *values, bool *nulls)
{
	TeRingScan *scan = te_ring_scan_begin(TE_RING_LOG, refusal->event, refusal->event);
	const TeTopic *topic = topic_named(refusal->topic);
	TupleTableSlot *slot;
	int			bytes = 0;

	while ((slot = te_ring_scan_next(scan)) != NULL)
	{
		TeLogRow	row;
		StringInfoData text;
		pg_uuid_t	id;

		if (te_ring_classify(te_ring_slot_xmin(slot), GetActiveSnapshot()) != TE_ROW_VISIBLE)
			continue;
		te_row_from_slot(&row, slot);
		set_text(values, nulls, TE_LETTER_TYPE, te_event_type_name(&row));

		initStringInfo(&text);
		if (topic != NULL ? te_routes_key(&text, topic, &row) : row.key.kind != TE_NAME_NONE)
		{
			if (topic == NULL)
				te_name_text(&text, &row.key);
			set_text(values, nulls, TE_LETTER_KEY, text.data);
		}

		if (row.type == TE_EVENT_REDRIVE)
		{
			char	   *original = te_extra_get(&row, "dead_letter");

			set_text(values, nulls, TE_LETTER_EVENT_ID, te_extra_get(&row, "event_id"));
			set_text(values, nulls, TE_LETTER_CONTENT_TYPE, te_extra_get(&row, "content_type"));
			if (original != NULL)
			{
				nulls[TE_LETTER_REDRIVE_OF - 1] = false;
				values[TE_LETTER_REDRIVE_OF - 1] = Int64GetDatum(strtoi64(original, NULL, 10));
			}
		}
		else
		{
			te_event_id(&row, &id);
			set_text(values, nulls, TE_LETTER_EVENT_ID,
					 DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&id))));
		}

		/* an event that no frame can carry would not fit into a row with its envelope either */
		if (row.payload_len <= TE_MAX_MESSAGE * 4)
		{
			resetStringInfo(&text);
			te_event_render(&text, &row, NULL);
			nulls[TE_LETTER_EVENT - 1] = false;
			values[TE_LETTER_EVENT - 1] =
				PointerGetDatum(cstring_to_text_with_len(text.data, text.len));
			bytes = text.len;
		}
		te_row_release(&row);
		pfree(text.data);
	}
	te_ring_scan_end(scan);
	return bytes;
}

/* returns the bytes of the event */
static int
write_letter(Relation letters, const TeRefusal *refusal)
{
	Datum		values[TE_LETTER_COLUMNS] = {0};
	bool		nulls[TE_LETTER_COLUMNS];
	int			bytes;

	memset(nulls, true, sizeof(nulls));
	bytes = fill_from_log(refusal, values, nulls);

	values[TE_LETTER_ID - 1] = Int64GetDatum(te_letter_next_id());
	values[TE_LETTER_AT - 1] = TimestampTzGetDatum(te_clock_now());
	values[TE_LETTER_LOG_ID - 1] = Int64GetDatum(refusal->event);
	values[TE_LETTER_LAST_LOG_ID - 1] = Int64GetDatum(refusal->event);
	values[TE_LETTER_CODE - 1] = Int32GetDatum(refusal->code);
	values[TE_LETTER_ATTEMPTS - 1] = Int32GetDatum((int32) refusal->attempts);
	nulls[TE_LETTER_ID - 1] = nulls[TE_LETTER_AT - 1] = nulls[TE_LETTER_LOG_ID - 1] =
		nulls[TE_LETTER_LAST_LOG_ID - 1] = nulls[TE_LETTER_CODE - 1] =
		nulls[TE_LETTER_ATTEMPTS - 1] = false;
	set_text(values, nulls, TE_LETTER_READER, "publisher");
	set_text(values, nulls, TE_LETTER_TOPIC, refusal->topic);
	set_text(values, nulls, TE_LETTER_REASON, refusal->reason);
	set_text(values, nulls, TE_LETTER_CODE_NAME, refusal->code_name);
	te_letter_append(letters, values, nulls);
	return bytes;
}

int
te_refusals_write(TeRefusals *refusals, TeDeadLetterWritten written, void *arg)
{
	MemoryContext letter_context;
	MemoryContext caller;
	Relation	letters;
	int64		bytes = 0;
	int			n = 0;

	if (te_refusals_count(refusals) == 0)
		return 0;
	te_worker_injection_point("publisher_dead_letter");

	te_worker_begin("writing dead letters");
	/* flushed here is enough: a standby that has the later cursor has this as well */
	(void) set_config_option("synchronous_commit", "local", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
	letters = te_letters_try_open(RowExclusiveLock);
	if (letters == NULL)
	{
		te_worker_commit();
		return 0;
	}
	letter_context = AllocSetContextCreate(CurrentMemoryContext, "todo_events dead letter",
										   ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(letter_context);
	while (n < Min(te_refusals_count(refusals), WRITE_LETTERS) && bytes < WRITE_BYTES)
	{
		const TeRefusal *refusal = &refusals->items[refusals->first + n];

		CHECK_FOR_INTERRUPTS();
		if (!is_known(letters, refusal))
			bytes += write_letter(letters, refusal);
		MemoryContextReset(letter_context);
		n++;
	}
	MemoryContextSwitchTo(caller);
	CommandCounterIncrement();
	te_dead_letters_look(letters);
	table_close(letters, NoLock);
	te_worker_commit();

	for (int i = 0; i < n; i++)
		written(arg, &refusals->items[refusals->first + i]);
	refusals->first += n;
	if (te_refusals_count(refusals) == 0)
		te_refusals_clear(refusals);
	return n;
}
