/*-------------------------------------------------------------------------
 *
 * counter.h
 *	  The numbers of tasks, where the table itself does not hold them: the
 *	  tombstones of deleted tasks, and all tasks of tables that have no
 *	  sequence column.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_TASKS_COUNTER_H
#define TE_TASKS_COUNTER_H

#include "log/log.h"

/* columns of todo_events_internal.counter */
enum
{
	TE_COUNTER_PLACE = 1, TE_COUNTER_SEQUENCE, TE_COUNTER_AT, TE_COUNTER_ATTACHMENT,
	TE_COUNTER_DELETED, TE_COUNTER_KEY_UUID, TE_COUNTER_KEY_TEXT, TE_COUNTER_SEGMENT,
	TE_COUNTER_COLUMNS = TE_COUNTER_SEGMENT
};

/*
 * The highest number that a key has had, by the latest state: what has
 * committed by now, whatever the transaction's snapshot says, and what this
 * transaction wrote.  0 = none, or its tombstone is older than log_retention.
 * The caller must hold what gives the order: the task's row lock, or its
 * place in the unique index.
 *
 * settled: every row of the statement has passed its unique checks, as in an
 * AFTER trigger.  Otherwise a transaction that is deleting the key is waited
 * for.
 */
extern int64 te_counter_last(int32 attachment, const TeName *key, bool settled);

extern void te_counter_append(int32 attachment, const TeName *key, int64 sequence, bool deleted);

/* the same with a time of its own, for upkeep.c */
extern void te_counter_append_at(int32 attachment, const TeName *key, int64 sequence, bool deleted,
								 TimestampTz at);

/* the upkeep has emptied every segment, and holds them locked */
extern void te_counter_emptied(void);

/* upkeep.c: carry live numbers forward and empty the oldest segment; te_maintain_register's callback */
extern int	te_counter_maintain(void);

/* tombstones written in this database since the server's start; 0 without shared memory */
extern uint64 te_counter_tombstones(void);

/* shared with upkeep.c */
extern bool te_counter_same_key(const TeName *a, const TeName *b);

#endif
