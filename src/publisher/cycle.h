/*-------------------------------------------------------------------------
 *
 * cycle.h
 *	  One cycle of the publisher's reader, rendered into PUBLISH frames.
 *
 * The frames stay in the cycle's own buffer until they may leave: an event
 * that is visible is not necessarily durable yet, and nothing may reach the
 * broker that a crash would take back.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_PUBLISHER_CYCLE_H
#define TE_PUBLISHER_CYCLE_H

#include "lib/stringinfo.h"
#include "log/reader.h"
#include "publisher/dead_letters.h"
#include "publisher/window.h"
#include "runtime/io_process.h"

#define TE_CYCLE_FRAMES			4
#define TE_FRAME_MESSAGES		256
#define TE_FRAME_BYTES			(256 * 1024)
#define TE_CYCLE_EVENTS			(TE_CYCLE_FRAMES * TE_FRAME_MESSAGES)
#define TE_CYCLE_BYTES			(TE_CYCLE_FRAMES * TE_FRAME_BYTES)

/* what one frame carries at most; larger events become dead letters */
#define TE_MAX_MESSAGE			(TE_WIRE_MAX_BODY - 1024 * 1024)

/* the content type of an event, unless it is a redrive of something else */
#define TE_CONTENT_TYPE			"application/cloudevents+json; charset=UTF-8"

typedef struct TeCycleFrame
{
	int			offset;
	int			length;
	uint32		events;
	uint32		messages;		/* events x targets: what the broker acknowledges */
} TeCycleFrame;

typedef struct TeCycle
{
	MemoryContext context;
	MemoryContext row_context;	/* what rendering one row leaves behind */
	TeRefusals *refusals;		/* events that cannot be sent at all */

	bool		pending;		/* read, and not yet queued */
	StringInfoData buf;
	int			nframes;
	TeCycleFrame frames[TE_CYCLE_FRAMES];
	uint32		messages;		/* in all frames */
	TeReadResult result;
	TeWindowMark mark;
	int64		silent_since;	/* the synchronous standbys have not acknowledged; 0: they have */
} TeCycle;

extern void te_cycle_init(TeCycle *cycle, MemoryContext context, TeRefusals *refusals);

/* read what became visible, in a transaction of its own; ticket: see TeWindowMark */
extern void te_cycle_read(TeCycle *cycle, TeReader *reader, uint64 ticket);

/*
 * May it leave?  If not, ask again after *retry_ms.  Where that takes long, it
 * is a line of health(), which te_cycle_forget_health() takes away.
 */
extern bool te_cycle_durable(TeCycle *cycle, int *retry_ms);
extern void te_cycle_forget_health(TeCycle *cycle);

/* hand the frames to the I/O process's buffer and the window; they leave with te_io_flush() */
extern void te_cycle_queue(TeCycle *cycle, TeIoProcess *io, TeWindow *window);

extern void te_cycle_discard(TeCycle *cycle);

#endif
