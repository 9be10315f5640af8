/*-------------------------------------------------------------------------
 *
 * durable.c
 *	  May what is visible leave?  Only when its commit is as durable as
 *	  synchronous_commit = on makes it: flushed, and acknowledged by the
 *	  synchronous standbys (or Neon's quorum, which is one).
 *
 * A committed row can be visible before that: with synchronous_commit = off
 * it is not flushed, and with synchronous standbys set it may be flushed
 * here and known to nobody else.  The engine asks; it never waits, because
 * other roles share its loop.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/lwlock.h"

#include "log/reader.h"
#include "runtime/compat.h"

/*
 * Our own setting may be older than a writer's: it is read between two steps
 * only.  What commits go by is the flag in shared memory, which the
 * checkpointer sets some time after the reload; it counts too, and whichever
 * of the two is late in saying that no standbys are asked for only delays.
 */
static bool
standbys_set(void)
{
	if (max_wal_senders <= 0)
		return false;
	return (SyncRepStandbyNames != NULL && SyncRepStandbyNames[0] != '\0') ||
		te_compat_sync_standbys_defined();
}

/*
 * Where the next record will begin, as an LSN that can be flushed: at the
 * start of a page the insert position lies behind the page's header, where
 * nothing has been written yet.
 */
static XLogRecPtr
written_so_far(void)
{
	XLogRecPtr	lsn = GetXLogInsertRecPtr();

	if (XLogSegmentOffset(lsn, wal_segment_size) == SizeOfXLogLongPHD)
		return lsn - SizeOfXLogLongPHD;
	if (lsn % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		return lsn - SizeOfXLogShortPHD;
	return lsn;
}

/*
 * With standbys nothing says which commit each has acknowledged, so wait for
 * all that was written when the snapshot's transactions were visible.
 */
XLogRecPtr
te_log_durable_target(XLogRecPtr asynchronous)
{
	return standbys_set() ? written_so_far() : asynchronous;
}

static bool
acknowledged(XLogRecPtr lsn)
{
	bool		done;

	LWLockAcquire(SyncRepLock, LW_SHARED);
	done = WalSndCtl->lsn[SYNC_REP_WAIT_FLUSH] >= lsn;
	LWLockRelease(SyncRepLock);
	return done;
}

bool
te_log_durable(XLogRecPtr lsn, int *retry_ms)
{
	static int	waited = 0;

	if (XLogRecPtrIsInvalid(lsn))
		return true;
	if (XLogNeedsFlush(lsn))
		XLogFlush(lsn);
	if (!standbys_set() || acknowledged(lsn))
	{
		waited = 0;
		return true;
	}
	/* nothing wakes us when a standby answers: look often at first, then seldom */
	*retry_ms = waited < 50 ? 1 : waited < 1000 ? 10 : 100;
	waited += *retry_ms;
	return false;
}
