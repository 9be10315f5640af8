/*
 * parking.h
 *	  Getting out of the way of commands that need a database alone.
 */
#ifndef TE_RUNTIME_PARKING_H
#define TE_RUNTIME_PARKING_H

extern void te_parking_init(void);	/* _PG_init: utility hook */

/*
 * What is called before a command that removes the extension, by a user who
 * may.  refuse: it is a DROP EXTENSION without CASCADE, and may be refused.
 */
typedef void (*TeRemovalCallback) (Oid extension, bool refuse);
extern void te_parking_on_removal(TeRemovalCallback callback);

#endif
