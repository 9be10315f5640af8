/*
 * shortage.h
 *	  What is scarce, and the saying so: private to the launcher.
 */
#ifndef TE_RUNTIME_SHORTAGE_H
#define TE_RUNTIME_SHORTAGE_H

#include "datatype/timestamp.h"

#define TE_NO_WORKER_RETRY_MS	5000	/* after this, one engine is tried again */

/* how many databases may have an engine now */
extern int	te_shortage_seats(void);

/*
 * Log lines about what is short, each once until its cause is gone, and not
 * again too soon.  no_worker: an engine found no worker slot; settled: all
 * databases have been looked into.
 */
extern void te_shortage_tell(bool no_worker, bool settled, TimestampTz now);

#endif
