/*-------------------------------------------------------------------------
 *
 * progress.c
 *	  How far the publisher's events are acknowledged.
 *
 * The acknowledged mark is persisted at most once a second and only if it
 * changed, so that an idle system writes nothing and a busy one little; what
 * was acknowledged since is sent again after a crash, with the same ids.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/extension.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

#include "log/reader.h"
#include "publisher/progress.h"
#include "runtime/clock.h"
#include "runtime/shmem.h"
#include "runtime/worker.h"

#define SAVE_EVERY_US	1000000

static char *acked = NULL;		/* NULL: the role does not run */
static char *saved = NULL;		/* what the persisted cursor says */
static int64 save_due = 0;		/* monotonic: not before */
static Oid	extension = InvalidOid; /* whose log it is */
static bool saving = false;

static char *
keep(const char *mark)
{
	return MemoryContextStrdup(TopMemoryContext, mark);
}

/* for the view lag */
static void
show(void)
{
	TeDatabase *db = te_shmem_my_database(false);

	if (db == NULL)
		return;
	LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
	if (acked != NULL && strlen(acked) < sizeof(db->publisher_mark))
		strcpy(db->publisher_mark, acked);
	else
		db->publisher_mark[0] = '\0';
	LWLockRelease(te_shmem_lock());
}

/*
 * Write the mark, in a transaction.  The extension may have been dropped and
 * created again since the mark was made: another log, of which the mark would
 * skip the beginning.  Looked at last, when our lock on the table of cursors
 * has shown us which extension it belongs to.
 */
static void
write_mark(void)
{
	te_cursor_save(TE_PUBLISHER_READER, acked);
	if (get_extension_oid("todo_events", true) != extension)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension todo_events is not the one that this engine has worked for")));
}

/*
 * An orderly end between two steps, which a shutdown is too: what is
 * acknowledged need not be sent again.  Transactions still work here, as they
 * do for the server's own clean-up of temporary tables.
 */
static void
save_at_exit(int code, Datum arg)
{
	if (acked == NULL)
		return;
	if (!saving && !IsTransactionState() && strcmp(acked, saved) != 0)
	{
		StartTransactionCommand();
		/* an error would be fatal now, and noisy */
		if (get_extension_oid("todo_events", true) == extension)
			write_mark();
		CommitTransactionCommand();
	}
	/* from now on the persisted cursor says it, of whatever log the next engine finds */
	acked = NULL;
	show();
}

const char *
te_progress_start(const char *persisted)
{
	static bool registered = false;

	if (!registered)
	{
		before_shmem_exit(save_at_exit, (Datum) 0);
		registered = true;
	}
	extension = get_extension_oid("todo_events", true);
	saving = false;				/* an error may have left it set */
	if (saved != NULL)
		pfree(saved);
	saved = keep(persisted);
	if (acked == NULL)
		acked = keep(persisted);
	show();
	return acked;
}

const char *
te_progress_mark(void)
{
	return acked;
}

bool
te_progress_advance(TeWindow *window)
{
	TeDatabase *db = te_shmem_my_database(false);
	TeWindowMark mark;
	uint64		ticket = 0;
	bool		any = false;

	while (te_window_next_mark(window, &mark))
	{
		pfree(acked);
		acked = mark.mark;
		ticket = Max(ticket, mark.ticket);
		any = true;
		if (db == NULL)
			continue;
		pg_atomic_write_u64(&db->counters.publisher_high, mark.last_id);
		if (mark.last_time != 0)
			pg_atomic_write_u64(&db->counters.publisher_at, mark.last_time);
	}
	if (any)
		show();
	if (db != NULL && ticket > pg_atomic_read_u64(&db->wait_done))
	{
		pg_atomic_write_u64(&db->wait_done, ticket);
		ConditionVariableBroadcast(&db->wait_cv);
	}
	return any;
}

void
te_progress_save(void)
{
	if (acked == NULL || strcmp(acked, saved) == 0)
		return;
	te_worker_injection_point("publisher_before_save");
	saving = true;
	te_worker_begin("saving the publisher's cursor");
	write_mark();
	te_worker_commit();
	saving = false;
	pfree(saved);
	saved = keep(acked);
	te_worker_injection_point("publisher_after_save");
}

int64
te_progress_save_if_due(void)
{
	int64		now;

	if (acked == NULL || strcmp(acked, saved) == 0)
		return TE_NEVER;
	now = te_clock_monotonic();
	if (now < save_due)
		return save_due;
	save_due = now + SAVE_EVERY_US;
	te_progress_save();
	return TE_NEVER;
}

void
te_progress_end(void)
{
	saving = false;
	if (acked != NULL)
		pfree(acked);
	acked = NULL;
	show();
}
