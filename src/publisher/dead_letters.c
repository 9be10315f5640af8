/*-------------------------------------------------------------------------
 *
 * dead_letters.c
 *	  Dead letters once they are written: health, redrive, purge.
 *
 * A redrive appends the event's text to the log, as an event of its own that
 * goes to the one topic that had refused it; so it takes the same way, with
 * the same promises, as everything else.  Its CloudEvents id is the old one.
 * If it is refused again, that is a new dead letter.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "log/event.h"
#include "log/log.h"
#include "log/maintain.h"
#include "publisher/dead_letters.h"
#include "publisher/letter_store.h"
#include "publisher/topics.h"
#include "runtime/clock.h"
#include "runtime/compat.h"
#include "runtime/errors.h"
#include "runtime/primary.h"
#include "runtime/shmem.h"
#include "runtime/wake.h"
#include "runtime/worker.h"

/* how often purge looks whether others have left the dead letters */
#define LOCK_RETRY_MS	50

/* a dead letter as read from its table; strings are palloc'd, NULL if absent */
typedef struct Letter
{
	int64		id;
	TimestampTz at;
	char	   *event_id;
	char	   *topic;
	char	   *key;
	char	   *type;
	char	   *content_type;
	char	   *event;
} Letter;

static char *
letter_text(Relation letters, HeapTuple tuple, TeLetterColumn column)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, column, RelationGetDescr(letters), &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

static int64
letter_int64(Relation letters, HeapTuple tuple, TeLetterColumn column)
{
	bool		isnull;

	return DatumGetInt64(heap_getattr(tuple, column, RelationGetDescr(letters), &isnull));
}

/* a letter with no event cannot be redriven: nothing waits for anybody */
static bool
letter_has_event(Relation letters, HeapTuple tuple)
{
	return !heap_attisnull(tuple, TE_LETTER_EVENT, RelationGetDescr(letters));
}

/* ---- health ------------------------------------------------------------- */

void
te_dead_letters_locked(void)
{
	te_worker_health(2, "dead_letters",
					 "the dead letters are locked by another transaction",
					 "Commit or roll back the transaction that called todo_events.purge_dead_letters(). What is refused meanwhile waits, and so may what comes after it.");
}

void
te_dead_letters_look(Relation letters)
{
	Relation	redrives = te_redrives_open(AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Relation	index;
	SysScanDesc scan = te_letter_scan(letters, TE_LETTER_ID, NULL, snapshot, &index);
	HeapTuple	tuple;
	bool		waiting = false;

	/* the newest that waits: it is usually the newest of all */
	while (!waiting && (tuple = systable_getnext_ordered(scan, BackwardScanDirection)) != NULL)
	{
		int64		id = letter_int64(letters, tuple, TE_LETTER_ID);

		CHECK_FOR_INTERRUPTS();
		if (te_letter_redriven(redrives, id, snapshot) != 0)
			continue;
		waiting = true;
		if (letter_has_event(letters, tuple))
			te_worker_health(2, "dead_letters",
							 psprintf("events were refused for good; the latest by topic \"%s\": %s",
									  letter_text(letters, tuple, TE_LETTER_TOPIC),
									  letter_text(letters, tuple, TE_LETTER_REASON)),
							 "See todo_events.dead_letters. todo_events.redrive() sends them again, todo_events.purge_dead_letters() forgets them.");
		else
			te_worker_health(3, "dead_letters",
							 psprintf("events are lost; the latest: %s",
									  letter_text(letters, tuple, TE_LETTER_REASON)),
							 "See todo_events.dead_letters for their range of ids; todo_events.purge_dead_letters() forgets them.");
	}
	if (!waiting)
		te_worker_health(0, "dead_letters", "", NULL);

	te_letter_scan_end(scan, index);
	UnregisterSnapshot(snapshot);
	table_close(redrives, AccessShareLock);
}

bool
te_dead_letters_health(void)
{
	Relation	letters = te_letters_try_open(AccessShareLock);

	if (letters == NULL)
		return false;
	te_dead_letters_look(letters);
	table_close(letters, AccessShareLock);
	return true;
}

/* ---- events that the log gave up ---------------------------------------- */

/* TeDroppedCallback, in the transaction of the rotation */
static void
note_dropped(const char *reader, int64 lo, int64 hi)
{
	Relation	letters = te_letters_open(RowExclusiveLock);
	TeDatabase *db = te_shmem_available() ? te_shmem_my_database(false) : NULL;
	Datum		values[TE_LETTER_COLUMNS] = {0};
	bool		nulls[TE_LETTER_COLUMNS];

	/* by ids: nobody has looked which of them were events */
	if (db != NULL)
		pg_atomic_fetch_add_u64(&db->counters.dropped, hi - lo + 1);
	memset(nulls, true, sizeof(nulls));
	values[TE_LETTER_ID - 1] = Int64GetDatum(te_letter_next_id());
	values[TE_LETTER_AT - 1] = TimestampTzGetDatum(te_clock_now());
	values[TE_LETTER_READER - 1] = CStringGetTextDatum(reader);
	values[TE_LETTER_LOG_ID - 1] = Int64GetDatum(lo);
	values[TE_LETTER_LAST_LOG_ID - 1] = Int64GetDatum(hi);
	values[TE_LETTER_REASON - 1] =
		CStringGetTextDatum(psprintf("the log was full, and ids %lld to %lld were dropped undelivered (log_full = drop_oldest)",
									 (long long) lo, (long long) hi));
	values[TE_LETTER_CODE - 1] = Int32GetDatum(0);
	values[TE_LETTER_CODE_NAME - 1] = CStringGetTextDatum("todo_events.dropped");
	values[TE_LETTER_ATTEMPTS - 1] = Int32GetDatum(0);
	for (TeLetterColumn c = TE_LETTER_ID; c <= TE_LETTER_LAST_LOG_ID; c++)
		nulls[c - 1] = false;
	for (TeLetterColumn c = TE_LETTER_REASON; c <= TE_LETTER_ATTEMPTS; c++)
		nulls[c - 1] = false;
	te_letter_append(letters, values, nulls);
	table_close(letters, NoLock);
	te_wake_note_reload();
}

/* ---- redrive -------------------------------------------------------------- */

static void
add_member(StringInfo json, const char *name, const char *value)
{
	if (value == NULL)
		return;
	appendStringInfo(json, "%s\"%s\":", json->len > 1 ? "," : "", name);
	te_json_string(json, value, strlen(value));
}

static void
redrive_letter(Relation letters, Relation redrives, HeapTuple tuple)
{
	Letter		letter = {
		.id = letter_int64(letters, tuple, TE_LETTER_ID),
		.event_id = letter_text(letters, tuple, TE_LETTER_EVENT_ID),
		.topic = letter_text(letters, tuple, TE_LETTER_TOPIC),
		.key = letter_text(letters, tuple, TE_LETTER_KEY),
		.type = letter_text(letters, tuple, TE_LETTER_TYPE),
		.content_type = letter_text(letters, tuple, TE_LETTER_CONTENT_TYPE),
		.event = letter_text(letters, tuple, TE_LETTER_EVENT),
	};
	TeEventInput event = {.type = TE_EVENT_REDRIVE};
	StringInfoData extra;
	Datum		values[TE_REDRIVE_COLUMNS];
	bool		nulls[TE_REDRIVE_COLUMNS] = {0};

	initStringInfo(&extra);
	appendStringInfoChar(&extra, '{');
	add_member(&extra, "type", letter.type);
	add_member(&extra, "topic", letter.topic);
	add_member(&extra, "event_id", letter.event_id);
	add_member(&extra, "content_type", letter.content_type);
	add_member(&extra, "dead_letter", psprintf("%lld", (long long) letter.id));
	appendStringInfoChar(&extra, '}');

	event.extra = extra.data;
	event.payload = letter.event;
	event.payload_len = strlen(letter.event);
	if (letter.key != NULL)
		event.key = (TeName)
	{
		.kind = TE_NAME_TEXT, .text = letter.key, .len = strlen(letter.key)
	};

	values[TE_REDRIVE_LETTER - 1] = Int64GetDatum(letter.id);
	values[TE_REDRIVE_AT - 1] = TimestampTzGetDatum(te_clock_now());
	values[TE_REDRIVE_LOG_ID - 1] = Int64GetDatum(te_log_append(&event));
	te_letter_append(redrives, values, nulls);
}

/* redrives noted during the last second, for the rate */
static int64
redriven_lately(Relation redrives, Snapshot snapshot)
{
	TimestampTz since = te_clock_now() - USECS_PER_SEC;
	TableScanDesc scan = table_beginscan(redrives, snapshot, 0, NULL);
	HeapTuple	tuple;
	int64		n = 0;

	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		bool		isnull;
		Datum		at = heap_getattr(tuple, TE_REDRIVE_AT, RelationGetDescr(redrives), &isnull);

		if (DatumGetTimestampTz(at) >= since)
			n++;
	}
	table_endscan(scan);
	return n;
}

PG_FUNCTION_INFO_V1(te_redrive);

/* redrive(id bigint) -> bigint */
Datum
te_redrive(PG_FUNCTION_ARGS)
{
	int64		id;
	Relation	letters;
	Relation	redrives;
	Relation	index;
	SysScanDesc scan;
	HeapTuple	tuple;

	te_require_writable("todo_events.redrive()");
	letters = te_letters_open(AccessShareLock);
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("id must not be null")));
	id = PG_GETARG_INT64(0);

	/* one redrive at a time, or two would both find the same letters waiting */
	redrives = te_redrives_open(ShareRowExclusiveLock);
	scan = te_letter_scan(letters, TE_LETTER_ID, &id, GetActiveSnapshot(), &index);
	tuple = systable_getnext_ordered(scan, ForwardScanDirection);
	if (tuple == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_TE_NOT_FOUND),
				 errmsg("there is no dead letter %lld", (long long) id),
				 errhint("See todo_events.dead_letters.")));
	if (!letter_has_event(letters, tuple))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("dead letter %lld holds no event", (long long) id),
				 errdetail("%s", letter_text(letters, tuple, TE_LETTER_REASON))));
	te_topic_check(letter_text(letters, tuple, TE_LETTER_TOPIC));
	redrive_letter(letters, redrives, tuple);
	te_letter_scan_end(scan, index);
	table_close(redrives, NoLock);
	table_close(letters, NoLock);
	te_wake_note_reload();
	PG_RETURN_INT64(1);
}

PG_FUNCTION_INFO_V1(te_redrive_range);

/* redrive(topic text, from timestamptz, to timestamptz, rate integer) -> bigint; null: any */
Datum
te_redrive_range(PG_FUNCTION_ARGS)
{
	char	   *topic = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));
	TimestampTz from = PG_ARGISNULL(1) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(1);
	TimestampTz to = PG_ARGISNULL(2) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(2);
	int64		room = PG_INT64_MAX;
	Snapshot	snapshot = GetActiveSnapshot();
	Relation	letters;
	Relation	redrives;
	Relation	index;
	SysScanDesc scan;
	HeapTuple	tuple;
	int64		n = 0;

	te_require_writable("todo_events.redrive()");
	letters = te_letters_open(AccessShareLock);
	redrives = te_redrives_open(ShareRowExclusiveLock);
	if (topic != NULL)
		te_topic_check(topic);
	if (!PG_ARGISNULL(3))
	{
		if (PG_GETARG_INT32(3) <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("rate must be positive"),
					 errhint("It is the number of events a second; null sends all at once.")));
		room = PG_GETARG_INT32(3) - redriven_lately(redrives, snapshot);
	}

	scan = te_letter_scan(letters, TE_LETTER_ID, NULL, snapshot, &index);
	while (n < room && (tuple = systable_getnext_ordered(scan, ForwardScanDirection)) != NULL)
	{
		TimestampTz at = letter_int64(letters, tuple, TE_LETTER_AT);
		char	   *name = letter_text(letters, tuple, TE_LETTER_TOPIC);

		CHECK_FOR_INTERRUPTS();
		if (at < from || at >= to || !letter_has_event(letters, tuple) ||
			(topic != NULL && strcmp(topic, name) != 0) ||
			te_letter_redriven(redrives, letter_int64(letters, tuple, TE_LETTER_ID), snapshot) != 0)
			continue;
		/* would be refused again at once */
		if (topic == NULL && !te_topic_exists(name))
			continue;
		redrive_letter(letters, redrives, tuple);
		n++;
	}
	te_letter_scan_end(scan, index);
	table_close(redrives, NoLock);
	table_close(letters, NoLock);
	if (n > 0)
		te_wake_note_reload();
	PG_RETURN_INT64(n);
}

/* ---- purge ---------------------------------------------------------------- */

typedef struct Purge
{
	TimestampTz before;
	HTAB	   *kept;			/* ids */
} Purge;

static bool
keep_letter(void *arg, Relation letters, HeapTuple tuple)
{
	Purge	   *purge = arg;
	int64		id = letter_int64(letters, tuple, TE_LETTER_ID);

	if (letter_int64(letters, tuple, TE_LETTER_AT) < purge->before)
		return false;
	hash_search(purge->kept, &id, HASH_ENTER, NULL);
	return true;
}

static bool
keep_redrive(void *arg, Relation redrives, HeapTuple tuple)
{
	Purge	   *purge = arg;
	bool		isnull;
	int64		id = DatumGetInt64(heap_getattr(tuple, TE_REDRIVE_LETTER,
												RelationGetDescr(redrives), &isnull));

	return hash_search(purge->kept, &id, HASH_FIND, NULL) != NULL;
}

/*
 * Nobody else in both tables.  Waits, but not in the queue for the locks:
 * behind us, if pg_dump or a long transaction is in front, the publisher would
 * wait as well.
 */
static void
lock_letters(Relation *letters, Relation *redrives)
{
	TimestampTz begun = GetCurrentTimestamp();

	/* in the order in which everybody else takes them */
	while ((*letters = te_letters_try_open(AccessExclusiveLock)) == NULL ||
		   (*redrives = te_redrives_try_open(AccessExclusiveLock)) == NULL)
	{
		if (*letters != NULL)
			table_close(*letters, AccessExclusiveLock);
		if (LockTimeout > 0 && TimestampDifferenceExceeds(begun, GetCurrentTimestamp(), LockTimeout))
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("canceling statement due to lock timeout"),
					 errdetail("The dead letters are in use.")));
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOCK_RETRY_MS,
						 te_compat_wait_event("TodoEventsDeadLettersLock"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

PG_FUNCTION_INFO_V1(te_purge_dead_letters);

/* purge_dead_letters(before timestamptz) -> bigint */
Datum
te_purge_dead_letters(PG_FUNCTION_ARGS)
{
	HASHCTL		control = {0};
	Purge		purge;
	Relation	letters;
	Relation	redrives;
	int64		gone;

	te_require_writable("todo_events.purge_dead_letters()");
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"before\" must not be null"),
				 errhint("Use now() to purge all.")));
	purge.before = PG_GETARG_TIMESTAMPTZ(0);
	control.keysize = control.entrysize = sizeof(int64);
	purge.kept = hash_create("dead letters kept", 256, &control, HASH_ELEM | HASH_BLOBS);

	lock_letters(&letters, &redrives);
	/* rows committed while we waited for the locks belong to what is kept or goes */
	PushActiveSnapshot(GetLatestSnapshot());
	gone = te_letter_rewrite(letters, keep_letter, &purge);
	if (gone > 0)
		(void) te_letter_rewrite(redrives, keep_redrive, &purge);
	PopActiveSnapshot();
	table_close(redrives, NoLock);
	table_close(letters, NoLock);
	hash_destroy(purge.kept);
	if (gone > 0)
		te_wake_note_reload();
	PG_RETURN_INT64(gone);
}

void
te_dead_letters_init(void)
{
	te_maintain_on_dropped(note_dropped);
}
