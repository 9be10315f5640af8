/*-------------------------------------------------------------------------
 *
 * progress.h
 *	  How far the publisher's events are acknowledged: the mark that counts,
 *	  the persisted cursor, those who wait in wait_for_delivery().
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_PUBLISHER_PROGRESS_H
#define TE_PUBLISHER_PROGRESS_H

#include "publisher/window.h"

/* name of the reader and of its cursor */
#define TE_PUBLISHER_READER		"publisher"

/*
 * Take up at a mark: the persisted one at the engine's start, or the same as
 * before if "mark" is NULL and something is known (a restart of the role).
 * Returns the mark to read on from; valid until the next call of this file.
 */
extern const char *te_progress_start(const char *persisted);

/* the mark up to which everything is acknowledged */
extern const char *te_progress_mark(void);

/* take over the marks that have come to count; true if there were any */
extern bool te_progress_advance(TeWindow *window);

/* persist the mark if it is due; returns when to call again, TE_NEVER = nothing to persist */
extern int64 te_progress_save_if_due(void);

/* persist it now, if it changed; in no transaction */
extern void te_progress_save(void);

/* forget it: the role ends, the persisted cursor is all that is known */
extern void te_progress_end(void);

#endif
