/*-------------------------------------------------------------------------
 *
 * publish.c
 *	  SQL: publish(), wait_for_delivery(), lag.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/condition_variable.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "log/adopt.h"
#include "log/cursor.h"
#include "log/event.h"
#include "log/ring.h"
#include "log/row.h"
#include "publisher/publisher.h"
#include "publisher/topics.h"
#include "runtime/clock.h"
#include "runtime/compat.h"
#include "runtime/errors.h"
#include "runtime/primary.h"
#include "runtime/settings.h"
#include "runtime/shmem.h"
#include "runtime/wake.h"

#define MAX_TYPE	255
#define MAX_KEY		1024

/* events counted one by one for the view lag; beyond that, it estimates */
#define LAG_EXACT	10000

/* ---- publish --------------------------------------------------------------- */

static char *
text_argument(FunctionCallInfo fcinfo, int n, const char *name, bool required, int max)
{
	char	   *value;

	if (PG_ARGISNULL(n))
	{
		if (required)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not be null", name)));
		return NULL;
	}
	value = text_to_cstring(PG_GETARG_TEXT_PP(n));
	if (required && value[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be empty", name)));
	if (strlen(value) > (size_t) max)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is longer than %d bytes", name, max)));
	return value;
}

static void
check_type(const char *type)
{
	static const char *const reserved[] = {
		"com.todo.task.", "com.todo.reminder.", "com.todo.notification.", "com.todo.sync."
	};

	for (size_t i = 0; i < lengthof(reserved); i++)
	{
		if (strncmp(type, reserved[i], strlen(reserved[i])) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_RESERVED_NAME),
					 errmsg("event type \"%s\" is reserved", type),
					 errdetail("Types that begin with \"%s\" are made by todo_events alone.", reserved[i]),
					 errhint("Use a prefix of your own, for example a domain name reversed.")));
	}
	for (const char *p = type; *p; p++)
	{
		if ((unsigned char) *p < 0x20 || *p == 0x7f)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("event type contains a control character")));
	}
}

/*
 * A uuid in its usual form is kept as one, as a task's key of type uuid is:
 * 16 bytes, and the same text again when rendered.
 */
static TeName
make_name(const char *text)
{
	TeName		name = {.kind = TE_NAME_NONE};
	int			len;

	if (text == NULL)
		return name;
	len = strlen(text);
	if (len == 36 && strspn(text, "0123456789abcdef-") == 36)
	{
		int			hyphens = 0;

		for (int i = 0; i < len; i++)
			hyphens += text[i] == '-';
		if (hyphens == 4 && text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-')
		{
			name.kind = TE_NAME_UUID;
			name.uuid = *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(text)));
			return name;
		}
	}
	name.kind = TE_NAME_TEXT;
	name.text = text;
	name.len = len;
	return name;
}

/* the CloudEvents id of an event that this transaction has appended */
static pg_uuid_t *
appended_id(int64 log_id)
{
	TeRingScan *scan = te_ring_scan_begin(TE_RING_LOG, log_id, log_id);
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));
	TupleTableSlot *slot = te_ring_scan_next(scan);
	TeLogRow	row;

	if (slot == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("event %lld is not in the log", (long long) log_id)));
	te_row_from_slot(&row, slot);
	te_event_id(&row, id);
	te_row_release(&row);
	te_ring_scan_end(scan);
	return id;
}

/* data is JSON text, or NULL */
static Datum
publish(FunctionCallInfo fcinfo, const char *data, int len)
{
	char	   *topic;
	char	   *type;
	TeEventInput event = {.type = TE_EVENT_CUSTOM};
	StringInfoData extra;

	te_require_writable("todo_events.publish()");
	topic = text_argument(fcinfo, 0, "topic", true, 249);
	type = text_argument(fcinfo, 1, "event type", true, MAX_TYPE);
	event.key = make_name(text_argument(fcinfo, 3, "key", false, MAX_KEY));
	event.user = make_name(text_argument(fcinfo, 4, "user_id", false, MAX_KEY));
	check_type(type);
	te_topic_check(topic);

	initStringInfo(&extra);
	appendStringInfoString(&extra, "{\"type\":");
	te_json_string(&extra, type, strlen(type));
	appendStringInfoString(&extra, ",\"topic\":");
	te_json_string(&extra, topic, strlen(topic));
	appendStringInfoChar(&extra, '}');

	event.extra = extra.data;
	event.payload = data ? data : "null";
	event.payload_len = data ? len : 4;
	PG_RETURN_UUID_P(appended_id(te_log_append(&event)));
}

PG_FUNCTION_INFO_V1(te_publish_text);

Datum
te_publish_text(PG_FUNCTION_ARGS)
{
	char	   *data = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));

	/* raises the error that the type json itself would */
	if (data != NULL)
		(void) DirectFunctionCall1(json_in, CStringGetDatum(data));
	return publish(fcinfo, data, data ? strlen(data) : 0);
}

PG_FUNCTION_INFO_V1(te_publish_json);

Datum
te_publish_json(PG_FUNCTION_ARGS)
{
	text	   *data = PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2);

	return publish(fcinfo, data ? VARDATA_ANY(data) : NULL, data ? VARSIZE_ANY_EXHDR(data) : 0);
}

PG_FUNCTION_INFO_V1(te_publish_jsonb);

Datum
te_publish_jsonb(PG_FUNCTION_ARGS)
{
	StringInfoData text;

	if (PG_ARGISNULL(2))
		return publish(fcinfo, NULL, 0);
	initStringInfo(&text);
	(void) JsonbToCString(&text, &PG_GETARG_JSONB_P(2)->root, VARSIZE(PG_GETARG_JSONB_P(2)));
	return publish(fcinfo, text.data, text.len);
}

/* ---- wait_for_delivery ------------------------------------------------------ */

/* milliseconds; months and days count as PostgreSQL counts them in an epoch */
static int64
interval_ms(const Interval *interval)
{
	float8		ms = interval->time / 1000.0 +
		(interval->day + interval->month * (float8) DAYS_PER_MONTH) * SECS_PER_DAY * 1000.0;

	if (ms >= (float8) (PG_INT64_MAX / 2000))
		return PG_INT64_MAX / 2000;
	return ms <= 0 ? 0 : (int64) ms;
}

PG_FUNCTION_INFO_V1(te_wait_for_delivery);

/* wait_for_delivery(timeout interval) -> boolean */
Datum
te_wait_for_delivery(PG_FUNCTION_ARGS)
{
	static uint32 wait_event = 0;
	TeDatabase *db;
	uint64		ticket;
	int64		deadline;
	bool		done;

	te_require_primary("todo_events.wait_for_delivery()");
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("timeout must not be null")));
	deadline = te_clock_monotonic() + interval_ms(PG_GETARG_INTERVAL_P(0)) * 1000;

	if (te_wake_appended())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("wait_for_delivery() cannot wait for events of its own transaction"),
				 errhint("Commit first, and call it in a transaction of its own.")));
	if (te_setting_string(TE_SET_BROKERS)[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_TE_NO_DESTINATION),
				 errmsg("there is nothing to deliver to"),
				 errhint("Set todo_events.brokers.")));
	te_adopt_require();
	db = te_shmem_available() ? te_shmem_my_database(true) : NULL;
	if (db == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_TE_NO_WORKER),
				 errmsg("no worker delivers the events of this database"),
				 errdetail("%s", te_shmem_available()
						   ? "All slots of todo_events.max_databases are taken."
						   : "The library is not loaded by shared_preload_libraries."),
				 errhint("See todo_events.health().")));

	/*
	 * The publisher notes the last ticket drawn before it takes a snapshot;
	 * whatever was committed before this point is in that snapshot.
	 */
	if (wait_event == 0)
		wait_event = te_compat_wait_event("TodoEventsDelivery");
	ticket = pg_atomic_add_fetch_u64(&db->wait_requested, 1);
	te_wake_engine(db);

	ConditionVariablePrepareToSleep(&db->wait_cv);
	for (;;)
	{
		int64		left;

		done = pg_atomic_read_u64(&db->wait_done) >= ticket;
		left = deadline - te_clock_monotonic();
		if (done || left <= 0)
			break;
		/* capped: a lost engine is no reason to sleep past the interrupts' check */
		(void) ConditionVariableTimedSleep(&db->wait_cv, (long) Min((left + 999) / 1000, 60000),
										   wait_event);
	}
	ConditionVariableCancelSleep();
	PG_RETURN_BOOL(done);
}

/* ---- lag ---------------------------------------------------------------------- */

typedef struct Lag
{
	int64		events;
	TimestampTz oldest;
} Lag;

static bool
lag_emit(void *arg, TeReader *reader, const TeLogRow *row)
{
	Lag		   *lag = arg;

	if (lag->events == 0 || row->time < lag->oldest)
		lag->oldest = row->time;
	lag->events++;
	return true;
}

PG_FUNCTION_INFO_V1(te_reader_lag);

/*
 * reader_lag() -> (reader, events_behind, exact, oldest_undelivered_at, high, log_end): one row for the
 * publisher, if it has a destination or has had one.
 */
Datum
te_reader_lag(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	TeDatabase *db = te_shmem_available() ? te_shmem_my_database(false) : NULL;
	TeReadLimit limit = {.events = LAG_EXACT, .bytes = PG_INT64_MAX};
	Lag			lag = {0};
	char		mark[TE_PUBLISHER_MARK] = "";
	TeReader   *reader;
	TeReadResult result;
	int64		log_end;
	Datum		values[6];
	bool		nulls[6] = {0};
	int64		settled;

	InitMaterializedSRF(fcinfo, 0);
	if (!te_publisher_enabled())
		return (Datum) 0;

	/* what the engine knows is acknowledged is ahead of its persisted cursor by up to a second */
	reader = te_reader_open("publisher", CurrentMemoryContext);
	if (db != NULL)
	{
		LWLockAcquire(te_shmem_lock(), LW_SHARED);
		strlcpy(mark, db->publisher_mark, sizeof(mark));
		LWLockRelease(te_shmem_lock());
		if (mark[0] != '\0')
			te_reader_seek_mark(reader, mark);
	}
	log_end = te_log_end();
	settled = te_cursor_low(te_reader_mark(reader)) - 1;

	PushActiveSnapshot(GetLatestSnapshot());
	do
	{
		result = te_reader_cycle(reader, GetActiveSnapshot(), limit, lag_emit, &lag);
	} while (result.more && lag.events < LAG_EXACT);
	PopActiveSnapshot();

	values[0] = CStringGetTextDatum("publisher");
	values[1] = Int64GetDatum(lag.events + (result.more ? Max(log_end - result.last_id, 0) : 0));
	values[2] = BoolGetDatum(!result.more);
	values[3] = TimestampTzGetDatum(lag.oldest);
	nulls[3] = lag.events == 0;
	values[4] = Int64GetDatum(settled);
	values[5] = Int64GetDatum(log_end);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	te_reader_close(reader);
	return (Datum) 0;
}
