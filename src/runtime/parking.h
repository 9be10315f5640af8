/*
 * parking.h
 *	  Getting out of the way of commands that need a database alone.
 */
#ifndef TE_RUNTIME_PARKING_H
#define TE_RUNTIME_PARKING_H

extern void te_parking_init(void);	/* _PG_init: utility hook */

/* has this transaction's end to do something here?  And the doing, after its locks are released */
extern bool te_parking_concerned(void);
extern void te_parking_at_end(bool committed);

#endif
