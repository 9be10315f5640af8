/*-------------------------------------------------------------------------
 *
 * shortage.c
 *	  What is scarce, and the saying so.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "runtime/compat.h"
#include "runtime/shmem.h"
#include "runtime/shortage.h"
#include "utils/timestamp.h"

#define SPARE_WORKERS		2	/* worker slots that engines leave free */
#define TELL_AGAIN_MS		600000	/* a cause that comes and goes is in the log once in so long */

/* what is told once, until its cause is gone */
typedef struct Complaint
{
	bool		made;
	TimestampTz at;
} Complaint;

static Complaint out_of_workers;
static Complaint out_of_slots;
static Complaint out_of_seats;

/* cause: is there one now?  True if it is to be told */
static bool
is_news(Complaint *complaint, bool cause, TimestampTz now)
{
	bool		news = cause && !complaint->made &&
		(complaint->at == 0 || TimestampDifferenceExceeds(complaint->at, now, TELL_AGAIN_MS));

	if (news)
		complaint->at = now;
	complaint->made = cause && (complaint->made || news);
	return news;
}

/*
 * How many databases may have an engine.  Parallel workers come and go, and
 * find the spare slots; everybody else's worker is there to stay.
 */
int
te_shortage_seats(void)
{
	int			others = 0;
	int			n = pgstat_fetch_stat_numbackends();

	for (int i = 1; i <= n; i++)
	{
		PgBackendStatus *status = te_compat_backend_status(i);
		const char *type;

		if (status == NULL || status->st_backendType != B_BG_WORKER)
			continue;
		type = GetBackgroundWorkerTypeByPid(status->st_procpid);
		if (type && strcmp(type, "parallel worker") != 0 && strncmp(type, "todo_events ", 12) != 0)
			others++;
	}
	pgstat_clear_backend_activity_snapshot();
	/* one is ours */
	return Max(max_worker_processes - 1 - others - SPARE_WORKERS, 1);
}

void
te_shortage_tell(bool no_worker, bool settled, TimestampTz now)
{
	int			seats;
	int			waiting;
	bool		left_out;

	LWLockAcquire(te_shmem_lock(), LW_SHARED);
	te_shmem_count_seats(NULL, &waiting);
	seats = te_shared->seats;
	left_out = te_shared->left_out;
	LWLockRelease(te_shmem_lock());

	if (is_news(&out_of_workers, no_worker, now))
		ereport(LOG,
				errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				errmsg("todo_events: no free background worker slot for an engine; tried again every %d s",
					   TE_NO_WORKER_RETRY_MS / 1000),
				errhint("Raise max_worker_processes; a database with todo_events needs one, and the launcher one."));
	if (is_news(&out_of_slots, left_out, now))
		ereport(LOG,
				errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				errmsg("todo_events: shared memory has room for %d databases, and there are more",
					   te_shmem_slots()),
				errhint("Raise todo_events.max_databases, or name the databases in todo_events.databases."));
	/* how many there are is known when all have been looked into */
	if (settled && is_news(&out_of_seats, waiting > 0, now))
		ereport(LOG,
				errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				errmsg("todo_events: max_worker_processes is too small for all databases: at most %d served, %d waiting",
					   seats, waiting),
				errhint("Raise max_worker_processes by %d, or name the databases in todo_events.databases.",
						waiting));
}
