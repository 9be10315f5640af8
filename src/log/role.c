/*-------------------------------------------------------------------------
 *
 * role.c
 *	  The engine's "log" role.
 *
 * Follows the log as a reader that hands nothing out, at most once a second
 * and only after something was appended, and persists its mark: this is the
 * place from which todo_events.cursor() counts, so that it need not read what
 * was settled long ago.  Rotates when something is due by time or size.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "log/adopt.h"
#include "log/cursor.h"
#include "log/maintain.h"
#include "log/reader.h"
#include "log/ring.h"
#include "log/role.h"
#include "runtime/clock.h"
#include "runtime/worker.h"

#define MARK_EVERY_US		1000000
#define UNSETTLED_EVERY_US	(10 * 1000000)

static TeReader *reader = NULL;
static Oid	log_oid;				/* the log that it reads */
static char saved[TE_MARK_MAX + 1];
static int64 mark_due;			/* monotonic; TE_NEVER = nothing new */
static int64 maintain_due;		/* monotonic */
static bool behind;				/* the last cycle ended by a limit */

static bool
log_enabled(void)
{
	return true;
}

/* its cursor holds nothing back: it is enabled for nobody's sake */
static bool
log_reader_enabled(void)
{
	return false;
}

static void
log_start(void)
{
	char	   *mark;

	te_worker_begin("opening the event log");
	reader = te_reader_open(TE_LOG_READER, TopMemoryContext);
	log_oid = te_ring_parent_oid(TE_RING_LOG);
	mark = te_reader_mark(reader);
	strlcpy(saved, mark, sizeof(saved));
	te_worker_commit();
	mark_due = 0;
	maintain_due = 0;
}

static void
log_stop(void)
{
	if (reader != NULL)
		te_reader_close(reader);
	reader = NULL;
}

static bool
emit_nothing(void *arg, TeReader *unused, const TeLogRow *row)
{
	return true;
}

/* advance the mark; when to do so again */
static int64
follow(int64 now)
{
	TeReadLimit limit = {20000, PG_INT64_MAX};
	TeReadResult result;
	char	   *mark;

	te_worker_begin("following the event log");
	if (te_adopt_to_be_noted())
		te_adopt_note();
	result = te_reader_cycle(reader, GetActiveSnapshot(), limit, emit_nothing, NULL);
	behind = result.more;
	mark = te_reader_mark(reader);
	if (!behind && strcmp(mark, saved) != 0)
	{
		te_cursor_save(TE_LOG_READER, mark);
		/* the lock that the save took keeps it from being dropped from here on */
		if (te_ring_parent_oid(TE_RING_LOG) != log_oid)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the event log is not the one that this engine has read")));
		strlcpy(saved, mark, sizeof(saved));
	}
	te_worker_commit();
	if (behind)
		return 0;
	return result.unsettled ? now + UNSETTLED_EVERY_US : TE_NEVER;
}

static int64
maintain(int64 now)
{
	TimestampTz due;
	int			emptied;

	te_worker_begin("rotating the event log");
	emptied = te_log_maintain(&due);
	te_log_check_size();
	te_log_check_held();
	te_worker_commit();
	if (emptied > 0)
		return now + MARK_EVERY_US;
	return due == DT_NOEND ? TE_NEVER : now + Max(due - te_clock_now(), MARK_EVERY_US);
}

static int64
log_step(bool woken)
{
	int64		now = te_clock_monotonic();

	if (woken)
	{
		mark_due = Min(mark_due, now + MARK_EVERY_US);
		maintain_due = Min(maintain_due, now + MARK_EVERY_US);
	}
	if (now >= mark_due)
		mark_due = follow(now);
	if (now >= maintain_due)
		maintain_due = maintain(now);
	return Min(mark_due, maintain_due);
}

/* a second's wait has begun for the one thing and the other: further commits do not shorten it */
static bool
log_deaf(void)
{
	int64		soon = te_clock_monotonic() + MARK_EVERY_US;

	return mark_due <= soon && maintain_due <= soon;
}

static const TeRole log_role = {
	.name = "log",
	.local = true,
	.enabled = log_enabled,
	.start = log_start,
	.stop = log_stop,
	.reload = NULL,
	.step = log_step,
	.deaf = log_deaf,
};

void
te_log_role_init(void)
{
	te_reader_register(TE_LOG_READER, log_reader_enabled);
	te_worker_register_role(&log_role);
}
