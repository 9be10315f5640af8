/*
 * wake.h
 *	  Waking the engine at commit: one transaction callback registered at
 *	  load, which does nothing in a transaction that noted nothing.
 */
#ifndef TE_RUNTIME_WAKE_H
#define TE_RUNTIME_WAKE_H

extern void te_wake_init(void);		/* _PG_init: xact callback, and COMMIT PREPARED by utility hook */

/* this transaction appended events: wake the engine when it has committed */
extern void te_wake_note_append(void);

/* has it?  (Also if the savepoint that appended was rolled back.) */
extern bool te_wake_appended(void);

/* this transaction changed settings, topics or routes: have the engine reload when it has committed */
extern void te_wake_note_reload(void);

/* this transaction has installed the extension: have its engine started when it has committed */
extern void te_wake_note_register(void);

/* COMMIT PREPARED has just committed another session's transaction, which may have changed pg_database */
extern void te_wake_commit_prepared(bool databases_changed);

/* now; e.g. after drawing a wait_for_delivery() ticket.  NULL = this backend's database */
struct TeDatabase;
extern void te_wake_engine(struct TeDatabase *db);

#endif
