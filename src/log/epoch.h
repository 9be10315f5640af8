/*-------------------------------------------------------------------------
 *
 * epoch.h
 *	  The epochs of the log: one row each time that the database became
 *	  another, or began a new history.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_LOG_EPOCH_H
#define TE_LOG_EPOCH_H

#include "log/identity.h"

typedef struct TeEpoch
{
	int32		number;			/* 1, 2, 3 ... */
	int64		first_id;		/* ids from here on belong to it */
	pg_uuid_t	database_id;
	int32		origin;
	TeFacts		facts;
} TeEpoch;

/* all of them, in ascending order; valid until the next call.  In a transaction the first time. */
extern const TeEpoch *te_epochs(int *count);
extern const TeEpoch *te_epoch_newest(void);

/* append one with the facts of now; the caller holds te_epoch_lock() */
extern int32 te_epoch_begin(const pg_uuid_t *database_id, const char *reason);

/* one writer at a time, until the transaction ends; false: another is at it and "wait" is not set */
extern bool te_epoch_lock(bool wait);
extern void te_epoch_unlock(void);	/* nothing was written */

extern void te_epoch_init(void);

#endif
