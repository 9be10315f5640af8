/*
 * functions.c
 *	  The log's SQL functions.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/typcache.h"

#include "log/cursor.h"
#include "log/event.h"
#include "log/maintain.h"
#include "log/reader.h"
#include "log/role.h"
#include "log/row.h"
#include "runtime/compat.h"
#include "runtime/errors.h"
#include "runtime/primary.h"

PG_FUNCTION_INFO_V1(te_render);
PG_FUNCTION_INFO_V1(te_event_type_sql);
PG_FUNCTION_INFO_V1(te_cursor);
PG_FUNCTION_INFO_V1(te_read);
PG_FUNCTION_INFO_V1(te_maintain);

/* most events that one call of read() returns */
#define READ_MAX	100000

static void
row_from_record(TeLogRow *row, HeapTupleHeader record)
{
	TupleDesc	desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(record),
											  HeapTupleHeaderGetTypMod(record));
	HeapTupleData tuple;
	Datum	   *values = palloc(desc->natts * sizeof(Datum));
	bool	   *nulls = palloc(desc->natts * sizeof(bool));

	tuple.t_len = HeapTupleHeaderGetDatumLength(record);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = record;
	heap_deform_tuple(&tuple, desc, values, nulls);
	te_row_from_values(row, values, nulls);
	ReleaseTupleDesc(desc);
}

Datum
te_render(PG_FUNCTION_ARGS)
{
	TeLogRow	row;
	StringInfoData buf;

	row_from_record(&row, PG_GETARG_HEAPTUPLEHEADER(0));
	initStringInfo(&buf);
	te_event_render(&buf, &row, NULL);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(buf.data, buf.len));
}

Datum
te_event_type_sql(PG_FUNCTION_ARGS)
{
	TeLogRow	row;
	char	   *name;

	row_from_record(&row, PG_GETARG_HEAPTUPLEHEADER(0));
	name = te_event_type_name(&row);
	if (name == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(name));
}

static bool
emit_nothing(void *arg, TeReader *reader, const TeLogRow *row)
{
	return true;
}

Datum
te_cursor(PG_FUNCTION_ARGS)
{
	Snapshot	snapshot = GetActiveSnapshot();
	TeReader   *reader;
	TeReadLimit limit = {PG_INT32_MAX, PG_INT64_MAX};
	XLogRecPtr	lsn;
	char	   *mark;

	/* a standby does not know which transaction ids have been given out: there is no U (reader.c) */
	te_require_primary("todo_events.cursor()");
	reader = te_reader_open("", CurrentMemoryContext);

	/*
	 * Count from the newest mark that our snapshot sees: it was taken before
	 * our snapshot was, so whatever it has settled is settled for us too.
	 */
	mark = te_cursor_load(TE_LOG_READER, snapshot);
	if (mark != NULL)
		te_reader_seek_mark(reader, mark);
	while (te_reader_cycle(reader, snapshot, limit, emit_nothing, NULL).more)
		CHECK_FOR_INTERRUPTS();

	/* the token counts ids of transactions that still run: a crash must not give them out again */
	lsn = te_log_last_id_lsn();
	if (XLogNeedsFlush(lsn))
		XLogFlush(lsn);
	PG_RETURN_TEXT_P(cstring_to_text(te_reader_token(reader)));
}

/* ---- read() -------------------------------------------------------------- */

typedef struct ReadState
{
	Tuplestorestate *store;
	TupleDesc	desc;
	MemoryContext row_context;	/* reset for each row */
	StringInfoData event;
	int64		returned;
	int64		max;
} ReadState;

static bool
emit_row(void *arg, TeReader *reader, const TeLogRow *row)
{
	ReadState  *state = arg;
	MemoryContext caller;
	char	   *token;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	/* a redriven event is one destination's affair */
	if (row->type == TE_EVENT_REDRIVE)
		return true;

	caller = MemoryContextSwitchTo(state->row_context);
	token = te_reader_token(reader);
	resetStringInfo(&state->event);
	te_event_render(&state->event, row, token);
	values[0] = CStringGetTextDatum(token);
	values[1] = PointerGetDatum(cstring_to_text_with_len(state->event.data, state->event.len));
	tuplestore_putvalues(state->store, state->desc, values, nulls);
	MemoryContextSwitchTo(caller);
	MemoryContextReset(state->row_context);
	return ++state->returned < state->max;
}

/* what a client of read() sees leaves the database: it must be durable first */
static void
wait_until_durable(XLogRecPtr lsn)
{
	int			retry_ms;

	while (!te_log_durable(lsn, &retry_ms))
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 retry_ms, te_compat_wait_event("TodoEventsReadDurable"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

Datum
te_read(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ReadState	state = {0};
	TeReader   *reader;
	TeReadResult result;
	XLogRecPtr	durable_at = InvalidXLogRecPtr;
	int64		low;
	int			cycles = 0;
	int32		max = PG_ARGISNULL(1) ? 1000 : PG_GETARG_INT32(1);

	te_require_primary("todo_events.read()");
	if (max < 1 || max > READ_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max must be between 1 and %d", READ_MAX)));

	InitMaterializedSRF(fcinfo, 0);
	state.store = rsinfo->setResult;
	state.desc = rsinfo->setDesc;
	state.max = max;
	state.row_context = AllocSetContextCreate(CurrentMemoryContext, "todo_events read row",
											  ALLOCSET_DEFAULT_SIZES);
	initStringInfo(&state.event);

	reader = te_reader_open("", CurrentMemoryContext);
	if (!PG_ARGISNULL(0))
		te_reader_seek_token(reader, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	low = te_cursor_low(te_reader_mark(reader));
	do
	{
		result = te_reader_cycle(reader, GetActiveSnapshot(),
								 (TeReadLimit) {PG_INT32_MAX, PG_INT64_MAX}, emit_row, &state);
		durable_at = Max(durable_at, result.durable_at);
		cycles++;
		CHECK_FOR_INTERRUPTS();
	} while (result.more && state.returned < state.max);

	/* rotation may have taken a segment away after the cursor was checked and before we opened it */
	if (low <= te_log_floor())
		ereport(ERROR,
				(errcode(ERRCODE_TE_CURSOR_GONE),
				 errmsg("cursor is not in the event log any more"),
				 errdetail("The oldest events were removed while they were being read."),
				 errhint("Load the present state anew, together with todo_events.cursor(), and read on from there.")));

	/*
	 * A token reaches no further than the row it comes with, which is durable
	 * and every id drawn before it too; except that after a first cycle it
	 * may count what that one looked at (see te_log_last_id_lsn).
	 */
	if (cycles > 1)
	{
		XLogRecPtr	last = te_log_last_id_lsn();

		durable_at = Max(durable_at, last);
	}
	wait_until_durable(durable_at);
	return (Datum) 0;
}

Datum
te_maintain(PG_FUNCTION_ARGS)
{
	TimestampTz next_due;

	te_require_writable("todo_events.maintain()");
	/* what it empties stays locked until the transaction ends, and readers and writers would wait */
	PreventInTransactionBlock(true, "todo_events.maintain()");
	PG_RETURN_INT32(te_log_maintain(&next_due));
}
