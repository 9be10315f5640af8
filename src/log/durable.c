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

static bool
standbys_set(void)
{
	return max_wal_senders > 0 && SyncRepStandbyNames != NULL && SyncRepStandbyNames[0] != '\0';
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

bool
te_log_durable(XLogRecPtr lsn, int *retry_ms)
{
	static int	waited = 0;
	XLogRecPtr	acknowledged;

	if (XLogRecPtrIsInvalid(lsn))
		return true;
	if (XLogNeedsFlush(lsn))
		XLogFlush(lsn);
	if (!standbys_set())
		return true;

	LWLockAcquire(SyncRepLock, LW_SHARED);
	acknowledged = WalSndCtl->lsn[SYNC_REP_WAIT_FLUSH];
	LWLockRelease(SyncRepLock);
	if (acknowledged >= lsn)
	{
		waited = 0;
		return true;
	}
	/* nothing wakes us when a standby answers: look often at first, then seldom */
	*retry_ms = waited < 50 ? 1 : waited < 1000 ? 10 : 100;
	waited += *retry_ms;
	return false;
}
