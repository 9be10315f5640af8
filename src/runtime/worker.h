/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  The engine: one background worker a database, hosting roles on one
 *	  wait set.
 *
 * A role is a struct of callbacks.  It never blocks, never holds a
 * transaction across anything outside the database, and does a bounded
 * amount of work a step.
 *
 *	   standard signal handlers, interrupts -> reload -> invalidations ->
 *	   is the extension still here, is this a primary ->
 *	   each role's step -> the earliest next wait -> wait
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_RUNTIME_WORKER_H
#define TE_RUNTIME_WORKER_H

#include "datatype/timestamp.h"

/* "only when woken": no timed wake-up wanted */
#define TE_NEVER	PG_INT64_MAX

typedef struct TeRole
{
	const char *name;			/* shown in todo_events.workers */

	/* acts on nothing outside the database: runs in a copy that nobody has adopted, too */
	bool		local;

	/* should it run, by the settings?  Called in a transaction. */
	bool		(*enabled) (void);

	/* take up work / put it down; start is called outside a transaction */
	void		(*start) (void);
	void		(*stop) (void);

	/* settings changed (a transaction is open): return true to be stopped and started again */
	bool		(*reload) (void);

	/*
	 * Do a bounded piece of work.  "woken": a commit with events, a frame or
	 * a request came since the last step.  Returns the te_clock_monotonic()
	 * time in microseconds at which it wants to be called again without
	 * being woken; 0 = at once; TE_NEVER.  No transaction is open on entry
	 * nor at exit.  An ERROR is caught by the loop: transaction aborted,
	 * recorded in todo_events.workers, stop() called, and start() again after
	 * a backoff; other roles go on.
	 */
	int64		(*step) (bool woken);

	/*
	 * Would a commit be no news just now, since the time asked for by step()
	 * comes soon enough?  While that is so of every running role, writers are
	 * spared the signal.  NULL: every commit is news.
	 */
	bool		(*deaf) (void);
} TeRole;

/* called from _PG_init by each room that has a role; order = order of steps */
extern void te_worker_register_role(const TeRole *role);

/*
 * May roles that are not local run in this database?  Asked in a transaction
 * when the engine starts and whenever settings have changed.
 */
extern void te_worker_may_act_if(bool (*callback) (void));

/*
 * Sockets on the engine's wait set.  events: WL_SOCKET_READABLE and/or
 * WL_SOCKET_WRITEABLE.  The callback runs outside a transaction, before the
 * roles' steps of that round (which then see woken = true); it must not
 * block.  te_worker_watch on a watched fd changes it.
 */
typedef void (*TeWatchCallback) (void *arg, int fd, uint32 events);
extern void te_worker_watch(int fd, uint32 events, TeWatchCallback callback, void *arg);
extern void te_worker_unwatch(int fd);

/*
 * A pause of at most ms milliseconds that commits do not end (sockets,
 * shutdown and postmaster death do): lets a burst of commits gather, and
 * spares the writers the signal.
 */
extern void te_worker_coalesce(int ms);

/* transactions of a worker: no xid unless something is written */
extern void te_worker_begin(const char *activity);	/* start transaction, push a fresh snapshot, report activity */
extern void te_worker_commit(void); /* pop, commit, report idle */

/*
 * Health of a component of this database ("broker", "topic:task-events",
 * "log" ...), shown by todo_events.health().  A new message replaces the
 * component's old one; level 0 takes it away.  Also writes one log line
 * when level or message changed (level >= 2), never repeated.
 */
extern void te_worker_health(int level, const char *component, const char *message, const char *hint);

/* is this process an engine? */
extern bool te_worker_is_engine(void);

/*
 * For io_process.c: the role in whose callbacks we are (-1: none), and what
 * todo_events.workers shows about a role's I/O process.
 */
extern int	te_worker_current_role(void);
extern void te_worker_note_io(int role, int pid, bool restarted, const char *versions, int len);

/* test hook: PANIC-free fault injection.  See todo_events.inject. */
extern void te_worker_injection_point(const char *name);

#endif
