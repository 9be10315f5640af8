/*
 * maintain.h
 *	  Upkeep of the rings: rotation, retention, the limits.  Run by the
 *	  engine's log role when something is due, and by todo_events.maintain().
 */
#ifndef TE_LOG_MAINTAIN_H
#define TE_LOG_MAINTAIN_H

#include "postgres.h"

/*
 * Another room's upkeep, run after the log's own, each in a transaction of
 * its own that the caller has opened; returns how many segments it emptied.
 * Must be cheap when there is nothing to do, and take no lock that waits.
 */
typedef int (*TeMaintainCallback) (void);
extern void te_maintain_register(TeMaintainCallback callback);

/*
 * Under log_full = drop_oldest: called once per reader and rotation with the
 * range of ids that the reader had not yet accounted for.
 */
typedef void (*TeDroppedCallback) (const char *reader, int64 lo, int64 hi);
extern void te_maintain_on_dropped(TeDroppedCallback callback);

#endif
