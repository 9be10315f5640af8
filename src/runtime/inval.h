/*-------------------------------------------------------------------------
 *
 * inval.h
 *	  What is told when a relation has changed.
 *
 * A process has room for ten callbacks of the relation cache, the server's
 * own and those of all its extensions together; the eleventh is a FATAL error
 * of every session.  All of ours go by one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_RUNTIME_INVAL_H
#define TE_RUNTIME_INVAL_H

/* relid is InvalidOid when it may be any; called whenever invalidations are read, so without a transaction too */
typedef void (*TeInvalCallback) (Oid relid);

/* never taken back; a second call for the same is none */
extern void te_inval_register(TeInvalCallback callback);

#endif
