/*
 * held.h
 *	  Events that come before their time, and the halves of a move between
 *	  partitions.
 */
#ifndef TE_TASKS_HELD_H
#define TE_TASKS_HELD_H

#include "commands/trigger.h"
#include "tasks/change.h"

/*
 * Called first of all in every AFTER ROW trigger.  True: the event is dealt
 * with, now or later.
 */
extern bool te_held_intercept(const TeAttachment *att, TriggerData *trigdata);

/* called when an event was appended in the ordinary way */
extern void te_held_done(const TeAttachment *att, TriggerData *trigdata);

/* the number of a key's tombstone whose event may be yet to come; 0 = there is none */
extern int64 te_held_tombstone(const TeAttachment *att, Relation rel, Datum key);

/* appends what is held of an attachment: TRUNCATE makes its events by itself */
extern void te_held_before_truncate(int32 number);

extern void te_held_init(void);

#endif
