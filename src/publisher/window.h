/*-------------------------------------------------------------------------
 *
 * window.h
 *	  What the publisher has handed to its I/O process and not yet seen
 *	  through: batches by number, and the reader's marks behind them.
 *	  Pure bookkeeping: no I/O, bounded memory.
 *
 * A batch is settled when it is acknowledged and each of its refused messages
 * is a dead letter.  A mark counts when every batch before it is settled, in
 * order: that is what may be persisted as the cursor.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_PUBLISHER_WINDOW_H
#define TE_PUBLISHER_WINDOW_H

#include "datatype/timestamp.h"

#define TE_WINDOW_BATCHES	1024
#define TE_WINDOW_BYTES		((size_t) 8 * 1024 * 1024)

/* what a cycle of the reader leaves, valid once the batches up to last_batch are settled */
typedef struct TeWindowMark
{
	uint64		last_batch;
	char	   *mark;			/* palloc'd */
	uint64		ticket;			/* of wait_for_delivery(), 0 = none: nothing older is left behind this mark */
	int64		last_id;		/* highest id looked at */
	TimestampTz last_time;		/* of the newest event, 0 = no event */
} TeWindowMark;

typedef struct TeWindow TeWindow;

extern TeWindow *te_window_create(MemoryContext context);

/* a new I/O process: nothing is in flight, batches count from 1 */
extern void te_window_reset(TeWindow *window);

/* room for "batches" more? */
extern bool te_window_has_room(const TeWindow *window, int batches);
extern bool te_window_is_empty(const TeWindow *window);

/* takes a batch in and returns its number */
extern uint64 te_window_add(TeWindow *window, uint32 messages, size_t bytes);

/* what the reader's state is after all batches added so far; the window takes mark->mark over */
extern void te_window_mark(TeWindow *window, const TeWindowMark *mark);

/*
 * Reports of the I/O process; false if no such batch is in flight, or more
 * was reported than it holds.  *acked: messages delivered with it.
 */
extern bool te_window_ack(TeWindow *window, uint64 batch, uint32 *acked);
extern bool te_window_refuse(TeWindow *window, uint64 batch);

/* a refused message of that batch has become a dead letter */
extern void te_window_dead_letter(TeWindow *window, uint64 batch);

/* the next mark that counts; the caller takes ->mark over.  false: none */
extern bool te_window_next_mark(TeWindow *window, TeWindowMark *mark);

#endif
