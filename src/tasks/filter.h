/*
 * filter.h
 *	  Which keys are surely not in the counter ring: for statements of many
 *	  rows, which would look up each of them.
 */
#ifndef TE_TASKS_FILTER_H
#define TE_TASKS_FILTER_H

#include "c.h"

/*
 * May the ring hold a key with that hash?  settled as for te_counter_last();
 * the answers of a statement's rows may be from one look.  as_of: if the
 * answer is no, te_counter_tombstones() before that look; else unchanged.
 */
extern bool te_filter_may_hold(uint32 hash, bool settled, uint64 *as_of);

/* this transaction appended a row with that hash */
extern void te_filter_add(uint32 hash);

#endif
