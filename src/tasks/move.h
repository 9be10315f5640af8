/*
 * move.h
 *	  An UPDATE that moves a row to another partition fires DELETE on the one
 *	  and INSERT on the other.  Here the two become one again.
 */
#ifndef TE_TASKS_MOVE_H
#define TE_TASKS_MOVE_H

#include "commands/trigger.h"
#include "tasks/change.h"

/*
 * Called first of all in every AFTER ROW trigger.  True: the event is dealt
 * with (held back, or made one with the DELETE that was held back).
 */
extern bool te_move_intercept(const TeAttachment *att, TriggerData *trigdata);

extern void te_move_init(void);

#endif
