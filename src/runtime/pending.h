/*
 * pending.h
 *	  What the end of a transaction, or of a savepoint, has to do about
 *	  databases: private to parking.c and wake.c.
 */
#ifndef TE_RUNTIME_PENDING_H
#define TE_RUNTIME_PENDING_H

typedef enum TePending
{
	TE_PENDING_UNPARK,
	TE_PENDING_UNPARK_DROPPED,	/* the database is gone, if the transaction commits */
	TE_PENDING_RESTART,			/* its engine has to read ALTER DATABASE's settings anew */
	TE_PENDING_RELOAD,			/* its engine has to look whether anything has changed; InvalidOid: every engine */
	TE_PENDING_PROBE			/* created, renamed or opened: the extension may be there */
} TePending;

extern void te_pending_init(void);	/* _PG_init: savepoints */
extern void te_pending_add(Oid dboid, TePending kind);

/*
 * Stop a database's engine, and keep it from coming back until this
 * transaction or savepoint has ended; dropped: the database will be gone.
 */
extern void te_pending_park(Oid dboid, bool dropped);

/* has this transaction's end to do something here?  And the doing, after its locks are released */
extern bool te_pending_any(void);
extern void te_pending_at_end(bool committed, bool prepared);

#endif
