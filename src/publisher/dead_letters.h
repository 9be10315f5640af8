/*-------------------------------------------------------------------------
 *
 * dead_letters.h
 *	  Events that a destination refuses for good.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_PUBLISHER_DEAD_LETTERS_H
#define TE_PUBLISHER_DEAD_LETTERS_H

#include "utils/relcache.h"

/* one message that was refused; the strings are copied when it is added */
typedef struct TeRefusal
{
	uint64		batch;			/* 0: not one that was sent */
	int64		event;			/* id in the log */
	const char *topic;
	int32		code;
	const char *code_name;
	const char *reason;
	uint32		attempts;
} TeRefusal;

/* refusals that are not yet dead letters, in the order in which they came */
typedef struct TeRefusals TeRefusals;

extern TeRefusals *te_refusals_create(MemoryContext context);
extern void te_refusals_add(TeRefusals *refusals, const TeRefusal *refusal);
extern int	te_refusals_count(const TeRefusals *refusals);
extern void te_refusals_clear(TeRefusals *refusals);

/*
 * Write the first of them as dead letters, in one transaction, durable when
 * this returns, and take them off the list.  "written" is called for each.
 * Returns how many; 0 while another transaction locks the dead letters.
 */
typedef void (*TeDeadLetterWritten) (void *arg, const TeRefusal *refusal);
extern int	te_refusals_write(TeRefusals *refusals, TeDeadLetterWritten written, void *arg);

/*
 * Health of the component "dead_letters", by what waits in the table; in a
 * transaction.  Called at start, and when a redrive or purge was committed;
 * false if another transaction locks the table, which is to be tried again.
 */
extern bool te_dead_letters_health(void);

/* the same with the table open */
extern void te_dead_letters_look(Relation letters);

/* health, when that has lasted */
extern void te_dead_letters_locked(void);

/* _PG_init */
extern void te_dead_letters_init(void);

#endif
