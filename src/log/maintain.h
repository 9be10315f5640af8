/*
 * maintain.h
 *	  Upkeep of the rings: rotation, retention, the limits.  Run by the
 *	  engine's log role when something is due, and by todo_events.maintain().
 */
#ifndef TE_LOG_MAINTAIN_H
#define TE_LOG_MAINTAIN_H

#include "postgres.h"

#include "datatype/timestamp.h"

/*
 * Another room's upkeep, run after the log's own, in the transaction that the
 * caller has opened; returns how many segments it emptied.  Must be cheap
 * when there is nothing to do, and take no lock that waits.
 */
typedef int (*TeMaintainCallback) (void);
extern void te_maintain_register(TeMaintainCallback callback);

/*
 * Under log_full = drop_oldest: called once per reader and rotation with the
 * range of ids that the reader had not yet accounted for.
 */
typedef void (*TeDroppedCallback) (const char *reader, int64 lo, int64 hi);
extern void te_maintain_on_dropped(TeDroppedCallback callback);

/*
 * One round of upkeep in the current transaction; returns the segments
 * emptied.  *next_due: when something will be due if nothing is appended
 * meanwhile (DT_NOEND: nothing).  Does nothing when another session is at it.
 */
extern int	te_log_maintain(TimestampTz *next_due);

/* health lines about the log's size; in a transaction */
extern void te_log_check_size(void);

/* and about a rotation that somebody's lock holds up for long */
extern void te_log_check_held(void);

/* _PG_init */
extern void te_maintain_init(void);

#endif
