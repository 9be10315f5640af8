/*-------------------------------------------------------------------------
 *
 * primary.h
 *	  What a function needs of the server that it is called on.
 *
 * Both raise SQLSTATE 25006, by which drivers and poolers know that they are
 * connected to a server or transaction that does not write.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_RUNTIME_PRIMARY_H
#define TE_RUNTIME_PRIMARY_H

/* raises an error on a standby; "function" as it is called, "todo_events.read()" */
extern void te_require_primary(const char *function);

/* the same, and in a read-only transaction */
extern void te_require_writable(const char *function);

#endif
