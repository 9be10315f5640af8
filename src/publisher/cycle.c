/*-------------------------------------------------------------------------
 *
 * cycle.c
 *	  One cycle of the publisher's reader, rendered into PUBLISH frames.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "log/event.h"
#include "publisher/cycle.h"
#include "publisher/routes.h"
#include "publisher/utf8.h"
#include "runtime/clock.h"
#include "runtime/worker.h"

/* a buffer that one large event has grown is not kept */
#define KEEP_BUFFER		(4 * TE_CYCLE_BYTES)

/* no word from the synchronous standbys: when to complain */
#define SILENT_US		1000000

void
te_cycle_init(TeCycle *cycle, MemoryContext context, TeRefusals *refusals)
{
	MemoryContext caller;

	memset(cycle, 0, sizeof(*cycle));
	cycle->context = context;
	cycle->refusals = refusals;
	cycle->row_context = AllocSetContextCreate(context, "todo_events row", ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(context);
	initStringInfo(&cycle->buf);
	MemoryContextSwitchTo(caller);
}

void
te_cycle_discard(TeCycle *cycle)
{
	if (cycle->mark.mark != NULL)
		pfree(cycle->mark.mark);
	memset(&cycle->mark, 0, sizeof(cycle->mark));
	te_refusals_clear(cycle->refusals);
	cycle->pending = false;
	cycle->nframes = 0;
	cycle->messages = 0;
	resetStringInfo(&cycle->buf);
	if (cycle->buf.maxlen > KEEP_BUFFER)
	{
		MemoryContext caller = MemoryContextSwitchTo(cycle->context);

		pfree(cycle->buf.data);
		initStringInfo(&cycle->buf);
		MemoryContextSwitchTo(caller);
	}
}

/* ---- the body of a frame --------------------------------------------- */

/* StringInfo's own functions keep a terminator, which a frame has no use for */
static inline void
put(StringInfo buf, const void *data, int n)
{
	enlargeStringInfo(buf, n);
	memcpy(buf->data + buf->len, data, n);
	buf->len += n;
}

static inline void
put_str(StringInfo buf, const char *data, uint32 n)
{
	put(buf, &n, sizeof(n));
	put(buf, data, n);
}

/* a str whose length is known when its bytes are there */
static inline int
open_str(StringInfo buf)
{
	uint32		absent = TE_WIRE_NULL;

	put(buf, &absent, sizeof(absent));
	return buf->len;
}

static inline void
close_str(StringInfo buf, int start)
{
	uint32		n = buf->len - start;

	memcpy(buf->data + start - sizeof(n), &n, sizeof(n));
}

static TeCycleFrame *
frame_open(TeCycle *cycle)
{
	TeCycleFrame *frame = &cycle->frames[cycle->nframes++];
	uint64		batch = 0;
	uint32		n = 0;

	frame->offset = cycle->buf.len;
	frame->events = 0;
	frame->messages = 0;
	/* both are filled in when it is queued */
	put(&cycle->buf, &batch, sizeof(batch));
	put(&cycle->buf, &n, sizeof(n));
	frame->length = cycle->buf.len - frame->offset;
	return frame;
}

static bool
frame_is_full(const TeCycleFrame *frame)
{
	return frame->events >= TE_FRAME_MESSAGES || frame->length >= TE_FRAME_BYTES;
}

/* the message of wire.h; false, and nothing appended, if it is larger than a frame may be */
static bool
put_message(StringInfo buf, const TeLogRow *row, const TeTargets *targets)
{
	int			before = buf->len;
	int			start;
	char	   *content_type = NULL;
	uint8		headers = 0;
	uint8		n = targets->n;

	if (row->payload_len > TE_MAX_MESSAGE)
		return false;

	put(buf, &row->id, sizeof(row->id));
	start = open_str(buf);
	te_event_render(buf, row, NULL);
	te_utf8_convert_from(buf, start);
	close_str(buf, start);

	if (row->type == TE_EVENT_REDRIVE)
		content_type = te_extra_get(row, "content_type");
	if (content_type != NULL)
		put_str(buf, content_type, strlen(content_type));
	else
		put_str(buf, TE_CONTENT_TYPE, sizeof(TE_CONTENT_TYPE) - 1);
	put(buf, &headers, sizeof(headers));

	put(buf, &n, sizeof(n));
	for (int i = 0; i < n; i++)
	{
		put(buf, &targets->topics[i]->number, sizeof(uint16));
		start = open_str(buf);
		if (te_routes_key(buf, targets->topics[i], row))
		{
			te_utf8_convert_from(buf, start);
			close_str(buf, start);
		}
	}

	if (buf->len - before > TE_MAX_MESSAGE)
	{
		buf->len = before;
		return false;
	}
	return true;
}

static void
refuse(TeCycle *cycle, const TeLogRow *row, const char *topic, const char *name, const char *reason)
{
	TeRefusal	refusal = {
		.event = row->id,
		.topic = topic,
		.code_name = name,
		.reason = reason,
	};

	te_refusals_add(cycle->refusals, &refusal);
}

/* TeEmit */
static bool
cycle_emit(void *arg, TeReader *reader, const TeLogRow *row)
{
	TeCycle    *cycle = arg;
	TeCycleFrame *frame = cycle->nframes > 0 ? &cycle->frames[cycle->nframes - 1] : NULL;
	MemoryContext caller = MemoryContextSwitchTo(cycle->row_context);
	const TeTargets *targets = te_routes_targets(row);

	cycle->mark.last_time = Max(cycle->mark.last_time, row->time);
	if (targets->unknown != NULL)
		refuse(cycle, row, targets->unknown, "todo_events.unknown_topic",
			   "the topic is not in todo_events.topic_config");
	if (targets->n > 0)
	{
		if (frame == NULL || frame_is_full(frame))
			frame = frame_open(cycle);
		if (put_message(&cycle->buf, row, targets))
		{
			frame->events++;
			frame->messages += targets->n;
			cycle->messages += targets->n;
		}
		else
		{
			for (int i = 0; i < targets->n; i++)
				refuse(cycle, row, targets->topics[i]->name, "todo_events.too_large",
					   psprintf("the event is larger than %d bytes", TE_MAX_MESSAGE));
		}
		frame->length = cycle->buf.len - frame->offset;
	}

	MemoryContextSwitchTo(caller);
	MemoryContextReset(cycle->row_context);
	return cycle->nframes < TE_CYCLE_FRAMES || !frame_is_full(frame);
}

/* ---- the cycle --------------------------------------------------------- */

void
te_cycle_read(TeCycle *cycle, TeReader *reader, uint64 ticket)
{
	TeReadLimit limit = {.events = TE_CYCLE_EVENTS, .bytes = TE_CYCLE_BYTES};
	MemoryContext caller;

	Assert(!cycle->pending);
	te_cycle_discard(cycle);

	te_worker_begin("publishing");
	cycle->result = te_reader_cycle(reader, GetActiveSnapshot(), limit, cycle_emit, cycle);
	caller = MemoryContextSwitchTo(cycle->context);
	cycle->mark.mark = te_reader_mark(reader);
	MemoryContextSwitchTo(caller);
	te_worker_commit();

	cycle->mark.last_id = cycle->result.last_id;
	/* all that was committed when the ticket was drawn has been read only if nothing is left over */
	cycle->mark.ticket = cycle->result.more ? 0 : ticket;
	/* a message that proved too large may have left its frame empty */
	if (cycle->nframes > 0 && cycle->frames[cycle->nframes - 1].events == 0)
		cycle->nframes--;
	cycle->pending = true;
}

void
te_cycle_forget_health(TeCycle *cycle)
{
	if (cycle->silent_since != 0)
		te_worker_health(0, "durability", "", NULL);
	cycle->silent_since = 0;
}

bool
te_cycle_durable(TeCycle *cycle, int *retry_ms)
{
	if (te_log_durable(cycle->result.durable_at, retry_ms))
	{
		te_cycle_forget_health(cycle);
		return true;
	}
	if (cycle->silent_since == 0)
		cycle->silent_since = te_clock_monotonic();
	else if (te_clock_monotonic() - cycle->silent_since > SILENT_US)
		te_worker_health(2, "durability", "events wait until the synchronous standbys have acknowledged them",
						 "See pg_stat_replication for the standbys that synchronous_standby_names asks for.");
	return false;
}

void
te_cycle_queue(TeCycle *cycle, TeIoProcess *io, TeWindow *window)
{
	for (int i = 0; i < cycle->nframes; i++)
	{
		TeCycleFrame *frame = &cycle->frames[i];
		char	   *body = cycle->buf.data + frame->offset;
		uint64		batch = te_window_add(window, frame->messages, frame->length);
		char	   *p = te_wire_put_u64(body, batch);

		te_wire_put_u32(p, frame->events);
		memcpy(te_io_frame_begin(io, TE_FRAME_PUBLISH, frame->length), body, frame->length);
		te_io_frame_end(io, frame->length);
	}
	te_window_mark(window, &cycle->mark);
	cycle->mark.mark = NULL;	/* the window's now */
	te_cycle_discard(cycle);
}
