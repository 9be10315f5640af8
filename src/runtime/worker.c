/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  The engine's loop: roles, watched sockets, interrupts, and what is
 *	  shown of them.  Start and end of the process are in engine.c.
 *
 * States of a role:
 *
 *	   unwanted --enabled()--> starting --start()--> running
 *	   running --error--> failed (backoff) --start()--> running
 *	   running --reload() says so--> stop(), start()
 *	   running --not enabled() any more--> stop() --> unwanted
 *
 * An error in any callback of a role ends that role's turn only: the
 * transaction is aborted, the role stopped, and started again after a
 * backoff that doubles up to a minute.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "runtime/clock.h"
#include "runtime/compat.h"
#include "runtime/engine.h"
#include "runtime/settings.h"
#include "runtime/shmem.h"
#include "runtime/worker.h"
#include "storage/bufmgr.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/sinval.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"

#define BACKOFF_BASE_MS		100
#define BACKOFF_CAP_MS		60000
#define STABLE_US			(10 * INT64CONST(1000000))	/* so long without an error: backoff starts anew */
#define MAX_WATCHES			64

typedef enum RoleCall
{
	CALL_ENABLED,
	CALL_RELOAD,
	CALL_START,
	CALL_STEP,
	CALL_STOP,
	CALL_WATCH
} RoleCall;

typedef struct RoleState
{
	const TeRole *role;
	char		point[48];		/* injection point before each step: step_<role> */
	bool		wanted;
	bool		running;
	bool		fresh;			/* started, and has not yet finished a step */
	bool		complained;		/* has a health line about its last error */
	int64		next;			/* when it wants its next step */
	int64		restart_at;
	int64		started_at;
	int			failures;
} RoleState;

typedef struct Watch
{
	int			fd;
	uint32		events;
	int			position;		/* in the wait set, -1: not yet there */
	int			role;
	TeWatchCallback callback;
	void	   *arg;
} Watch;

static RoleState roles[TE_MAX_ROLES];
static int	nroles = 0;
static int	current_role = -1;

static Watch watches[MAX_WATCHES];
static int	nwatches = 0;
static bool watches_changed = true;
static WaitEventSet *wait_set = NULL;	/* latch, postmaster, sockets */
static WaitEventSet *quiet_set = NULL;	/* the same without the latch */

static MemoryContext step_context = NULL;
static TeDatabase *db = NULL;	/* NULL: this process is no engine */

void
te_worker_register_role(const TeRole *role)
{
	if (nroles == TE_MAX_ROLES)
		elog(ERROR, "too many todo_events roles");
	snprintf(roles[nroles].point, sizeof(roles[nroles].point), "step_%s", role->name);
	roles[nroles++].role = role;
}

bool
te_worker_is_engine(void)
{
	return db != NULL;
}

TeDatabase *
te_worker_database(void)
{
	return db;
}

int
te_worker_current_role(void)
{
	return current_role;
}

static void
show_role(int i, const char *error)
{
	te_status_role(db, i, nroles, roles[i].role->name, roles[i].running, error);
}

/* ---- transactions ----------------------------------------------------- */

void
te_worker_begin(const char *activity)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, activity);
}

void
te_worker_commit(void)
{
	if (ActiveSnapshotSet())
		PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	if (step_context)
		MemoryContextSwitchTo(step_context);
}

/* ---- sockets ---------------------------------------------------------- */

static Watch *
find_watch(int fd)
{
	for (int i = 0; i < nwatches; i++)
		if (watches[i].fd == fd)
			return &watches[i];
	return NULL;
}

void
te_worker_watch(int fd, uint32 events, TeWatchCallback callback, void *arg)
{
	Watch	   *w = find_watch(fd);

	if (w == NULL)
	{
		if (nwatches == MAX_WATCHES)
			ereport(ERROR,
					errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					errmsg("too many sockets in one todo_events engine"));
		w = &watches[nwatches++];
		w->fd = fd;
		w->position = -1;
		w->events = events;
		watches_changed = true;
	}
	else if (w->events != events)
	{
		w->events = events;
		/* the common case, waiting for room and no longer: no new wait set */
		if (w->position >= 0 && !watches_changed)
		{
			ModifyWaitEvent(wait_set, w->position + 1, events, NULL);
			ModifyWaitEvent(quiet_set, w->position, events, NULL);
		}
	}
	w->callback = callback;
	w->arg = arg;
	w->role = current_role;
}

void
te_worker_unwatch(int fd)
{
	Watch	   *w = find_watch(fd);

	if (w == NULL)
		return;
	*w = watches[--nwatches];
	watches_changed = true;
}

/*
 * Positions: the latch is the first event of wait_set, the sockets follow in
 * both sets, the postmaster's death comes last.
 */
static void
build_wait_sets(void)
{
	if (wait_set)
		FreeWaitEventSet(wait_set);
	if (quiet_set)
		FreeWaitEventSet(quiet_set);
	wait_set = te_compat_wait_set(nwatches + 2);
	quiet_set = te_compat_wait_set(nwatches + 1);
	AddWaitEventToSet(wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	for (int i = 0; i < nwatches; i++)
	{
		watches[i].position = i;
		AddWaitEventToSet(wait_set, watches[i].events, watches[i].fd, NULL, NULL);
		AddWaitEventToSet(quiet_set, watches[i].events, watches[i].fd, NULL, NULL);
	}
	AddWaitEventToSet(wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(quiet_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	watches_changed = false;
}

void
te_worker_coalesce(int ms)
{
	static uint32 wait_event = 0;
	WaitEvent	event;

	if (ms <= 0)
		return;
	if (wait_event == 0)
		wait_event = te_compat_wait_event("TodoEventsCoalesce");
	if (watches_changed)
		build_wait_sets();
	/* what is ready on a socket stays so, and is dealt with in the next round */
	(void) WaitEventSetWait(quiet_set, ms, &event, 1, wait_event);
}

/* ---- calling a role --------------------------------------------------- */

/* the state that an error may leave behind, put away as PostgresMain does it */
static void
clean_up(void)
{
	LWLockReleaseAll();
	ConditionVariableCancelSleep();
	pgstat_report_wait_end();
	UnlockBuffers();
	AbortOutOfAnyTransaction();
	pgstat_report_activity(STATE_IDLE, NULL);
}

static void role_failed(int i, const char *message);

/*
 * One callback.  False if it raised an error, which is then in the log and in
 * the role's status.
 */
static bool
call_role(int i, RoleCall call, bool woken, Watch *watch, uint32 events, int64 *answer)
{
	const TeRole *role = roles[i].role;
	int			outer = current_role;
	char		message[TE_HEALTH_TEXT];
	volatile bool ok = true;

	current_role = i;
	MemoryContextReset(step_context);
	MemoryContextSwitchTo(step_context);
	PG_TRY();
	{
		switch (call)
		{
			case CALL_ENABLED:
				te_worker_begin("reading settings");
				*answer = role->enabled == NULL || role->enabled();
				te_worker_commit();
				break;
			case CALL_RELOAD:
				te_worker_begin("reading settings");
				*answer = role->reload != NULL && role->reload();
				te_worker_commit();
				break;
			case CALL_START:
				if (role->start)
					role->start();
				break;
			case CALL_STEP:
				te_worker_injection_point(roles[i].point);
				*answer = role->step(woken);
				break;
			case CALL_STOP:
				if (role->stop)
					role->stop();
				break;
			case CALL_WATCH:
				watch->callback(watch->arg, watch->fd, events);
				break;
		}
		if (IsTransactionState())
			elog(ERROR, "role \"%s\" left a transaction open", role->name);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(step_context);
		error = CopyErrorData();
		te_status_copy(message, error->message, sizeof(message));
		EmitErrorReport();
		FlushErrorState();
		clean_up();
		RESUME_INTERRUPTS();
		ok = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(step_context);
	current_role = outer;
	if (!ok)
	{
		if (call == CALL_STOP)
			show_role(i, message);
		else
			role_failed(i, message);
	}
	return ok;
}

static void
stop_role(int i)
{
	int64		ignored;

	if (!roles[i].running)
		return;
	roles[i].running = false;
	call_role(i, CALL_STOP, false, NULL, 0, &ignored);
	/* whatever it did not unwatch itself must not call into a stopped role */
	for (int w = nwatches - 1; w >= 0; w--)
		if (watches[w].role == i)
			te_worker_unwatch(watches[w].fd);
	show_role(i, NULL);
}

static void
role_failed(int i, const char *message)
{
	RoleState  *r = &roles[i];
	int64		now = te_clock_monotonic();
	char		component[TE_HEALTH_COMPONENT];

	if (r->running && now - r->started_at > STABLE_US)
		r->failures = 0;
	r->restart_at = now + (int64) te_clock_backoff_ms(r->failures++, BACKOFF_BASE_MS, BACKOFF_CAP_MS) * 1000;
	stop_role(i);
	show_role(i, message);
	snprintf(component, sizeof(component), "worker:%s", r->role->name);
	te_worker_health(3, component, message,
					 "The role is started again by itself; the server log has the error's context.");
	r->complained = true;
}

static void
start_role(int i)
{
	RoleState  *r = &roles[i];
	int64		ignored;

	r->running = true;
	r->fresh = true;
	r->next = 0;
	r->started_at = te_clock_monotonic();
	if (call_role(i, CALL_START, false, NULL, 0, &ignored))
		show_role(i, NULL);
}

static void
step_role(int i, bool woken)
{
	RoleState  *r = &roles[i];
	int64		next = TE_NEVER;

	if (!call_role(i, CALL_STEP, woken || r->fresh, NULL, 0, &next))
		return;
	r->next = next;
	r->fresh = false;
	if (r->complained)
	{
		char		component[TE_HEALTH_COMPONENT];

		snprintf(component, sizeof(component), "worker:%s", r->role->name);
		te_worker_health(0, component, "", NULL);
		r->complained = false;
	}
}

/* settings have changed: which roles are wanted, and which have to begin anew */
static void
reconsider_roles(void)
{
	for (int i = 0; i < nroles; i++)
	{
		RoleState  *r = &roles[i];
		int64		answer = 0;

		if (!call_role(i, CALL_ENABLED, false, NULL, 0, &answer))
		{
			r->wanted = true;	/* to be asked again after the backoff */
			continue;
		}
		r->wanted = answer != 0 && (r->role->local || te_engine_may_act());
		if (!r->running)
		{
			/* a new value may be the cure: try at once */
			r->restart_at = 0;
			continue;
		}
		if (!r->wanted)
			stop_role(i);
		else if (call_role(i, CALL_RELOAD, false, NULL, 0, &answer) && answer)
		{
			stop_role(i);
			r->restart_at = 0;
		}
	}
}

/* ---- the loop --------------------------------------------------------- */

static void
handle_interrupts(void)
{
	/* between transactions an end is no error, and one of our own asking needs no line in the log either */
	if (ProcDiePending)
		proc_exit(db->restart_now ? 0 : 1);
	CHECK_FOR_INTERRUPTS();
	AcceptInvalidationMessages();
}

/* wait for what comes first; true if a socket was ready */
static bool
wait_and_dispatch(int64 until)
{
	static uint32 wait_event = 0;
	WaitEvent	events[MAX_WATCHES + 2];
	long		timeout = -1;
	int			n;
	bool		ready = false;

	if (wait_event == 0)
		wait_event = te_compat_wait_event("TodoEventsMain");
	if (watches_changed)
		build_wait_sets();
	if (until != TE_NEVER)
	{
		int64		left = until - te_clock_monotonic();

		/* rounded up, so that nothing is due before it is */
		timeout = left <= 0 ? 0 : (long) Min((left + 999) / 1000, INT_MAX);
	}
	n = WaitEventSetWait(wait_set, timeout, events, lengthof(events), wait_event);
	for (int e = 0; e < n; e++)
	{
		Watch	   *w;
		int64		ignored;

		if (events[e].events & WL_LATCH_SET)
			ResetLatch(MyLatch);
		if (!(events[e].events & WL_SOCKET_MASK))
			continue;
		/* an earlier callback of this round may have closed it */
		w = find_watch(events[e].fd);
		if (w == NULL)
			continue;
		ready = true;
		if (w->role >= 0)
			call_role(w->role, CALL_WATCH, false, w, events[e].events, &ignored);
	}
	return ready;
}

/* may writers save themselves the signal until the next timed step? */
static bool
all_deaf(void)
{
	for (int i = 0; i < nroles; i++)
	{
		const TeRole *role = roles[i].role;

		if (roles[i].running && (role->deaf == NULL || !role->deaf()))
			return false;
	}
	return true;
}

void
te_worker_loop(TeDatabase *slot)
{
	uint64		seen = 0;
	uint64		generation = 0;
	bool		woken = true;

	db = slot;
	step_context = AllocSetContextCreate(TopMemoryContext, "todo_events step", ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < nroles; i++)
		show_role(i, NULL);

	for (;;)
	{
		int64		until = TE_NEVER;
		uint64		wakeups;
		bool		deaf;

		handle_interrupts();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			pg_atomic_write_u32(&db->reload, 1);
		}
		if (pg_atomic_exchange_u32(&db->reload, 0) != 0 || generation != te_settings_generation())
		{
			te_engine_check();
			generation = te_settings_generation();
			reconsider_roles();
			woken = true;
		}

		/* the latch was reset before this counter is read, so no commit is missed */
		wakeups = pg_atomic_read_u64(&db->wakeups);
		if (wakeups != seen)
		{
			seen = wakeups;
			woken = true;
		}
		for (int i = 0; i < nroles; i++)
		{
			RoleState  *r = &roles[i];
			int64		now = te_clock_monotonic();

			if (!r->running && r->wanted && r->restart_at <= now)
				start_role(i);
			if (r->running && (woken || r->fresh || r->next <= now))
				step_role(i, woken);
			if (r->running)
				until = Min(until, r->next);
			else if (r->wanted)
				until = Min(until, r->restart_at);
			handle_interrupts();
		}
		/* a full barrier, as wake_by_commit() has: a commit that came just now is not slept through */
		deaf = all_deaf();
		(void) pg_atomic_exchange_u32(&db->deaf, deaf ? 1 : 0);
		if (!deaf && pg_atomic_read_u64(&db->wakeups) != seen)
			until = 0;
		woken = wait_and_dispatch(until);
	}
}
