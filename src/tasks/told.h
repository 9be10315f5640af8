/*
 * told.h
 *	  Which row versions of this transaction have had their events.
 */
#ifndef TE_TASKS_TOLD_H
#define TE_TASKS_TOLD_H

#include "commands/trigger.h"
#include "tasks/change.h"

/* an AFTER ROW event comes, at this depth of triggers; true: it is the first of an outermost statement */
extern bool te_told_begin(TriggerData *trigdata, int depth);

/* the event was appended that wrote new and replaced old; either may be NULL */
extern void te_told_add(Oid old_relid, HeapTuple old, Oid new_relid, HeapTuple new);

/* has the event come that wrote this version?  Not asked for one that is held */
extern bool te_told_written(Oid relid, HeapTuple version);

/* the same for the event that replaced or deleted it, in this transaction */
extern bool te_told_replaced(Oid relid, HeapTuple version);

/*
 * Calls back for every version of a key that this transaction replaced or
 * deleted, in all partitions, until that returns true; then so does it.
 */
typedef bool (*TeDeadCallback) (Relation rel, TupleTableSlot *slot, void *arg);
extern bool te_told_each_dead(const TeAttachment *att, Relation rel, Datum key,
							  TeDeadCallback callback, void *arg);

#endif
