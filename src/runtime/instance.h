/*
 * instance.h
 *	  What the server's configuration says of which server this is.
 */
#ifndef TE_RUNTIME_INSTANCE_H
#define TE_RUNTIME_INSTANCE_H

/* todo_events.instance as read at the server's start; "" if it is not set where it counts */
extern const char *te_instance(void);

/* it is set, and has no effect: where (a file inside the data directory, the command line); NULL = no */
extern const char *te_instance_ignored(void);

/* the Neon branch (neon.timeline_id) that the server serves; "" elsewhere */
extern const char *te_neon_branch(void);

/* _PG_init, after the settings */
extern void te_instance_init(void);

#endif
