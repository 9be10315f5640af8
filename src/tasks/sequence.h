/*-------------------------------------------------------------------------
 *
 * sequence.h
 *	  The sequence column of an attached table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_TASKS_SEQUENCE_H
#define TE_TASKS_SEQUENCE_H

#include "commands/trigger.h"
#include "tasks/change.h"

/* the BEFORE trigger: the row with its number set (and what a standard table has kept for it) */
extern HeapTuple te_sequence_before(const TeAttachment *att, TriggerData *trigdata);

/* a row's number; what a row without one counts as */
extern int64 te_sequence_get(const TeAttachment *att, const TeRowImage *row);

/*
 * AFTER: is the number the one that the BEFORE trigger gave?  An error if
 * somebody else changed it.  _updated returns it.  _created returns false if
 * it was too low since a DELETE of the key committed in between: then the
 * row was corrected, and its event is made.  rel NULL: it cannot be corrected.
 */
extern int64 te_sequence_check_updated(const TeAttachment *att, const TeRowImage *old,
									   const TeRowImage *new, TeChange change);
extern bool te_sequence_check_created(const TeAttachment *att, Relation rel, const TeRowImage *new,
									  int64 expected);

/* is this AFTER UPDATE the correction's? */
extern bool te_sequence_is_correction(Relation rel, const TeRowImage *old);

/* pg_trigger_depth() */
extern int	te_trigger_depth(void);

/* an AFTER trigger of a partition came: the BEFORE UPDATE noted at this depth is no move under way */
extern void te_sequence_forget_move(int depth);

#endif
