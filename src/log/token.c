/*-------------------------------------------------------------------------
 *
 * token.c
 *	  A reader's state as the token that clients hold.
 *
 *	token = "te1." epoch "." origin "." mark
 *
 * Opaque to clients, at most 200 bytes.  A token of an earlier epoch and
 * another origin is good up to the id at which the next epoch began; one that
 * has not accounted for ids which rotation has removed is gone.
 *
 * The origin (identity.c) is that of the server which gave the token.  After
 * a promotion or a recovery to a point in time ids are drawn again which the
 * former server had given out: a token of another origin is good only where
 * the row that it reaches to is still that origin's, and else gone.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "utils/rel.h"

#include "log/cursor.h"
#include "log/epoch.h"
#include "log/log.h"
#include "log/ring.h"
#include "log/row.h"
#include "runtime/errors.h"

/* the id at which the epoch after this one began; 0: it is the newest, or none is known */
static int64
next_began(int32 epoch)
{
	int			count;
	const TeEpoch *all = te_epochs(&count);

	for (int i = 0; i < count; i++)
		if (all[i].number > epoch)
			return all[i].first_id;
	return 0;
}

char *
te_token_format(const TeMark *mark, uint64 next)
{
	char		prefix[48];
	char	   *text;
	char	   *token;

	snprintf(prefix, sizeof(prefix), "te1.%x.%x.", (unsigned) te_epoch_newest()->number, (unsigned) te_log_origin());
	text = te_mark_format(mark, next, TE_TOKEN_MAX - (int) strlen(prefix));
	token = psprintf("%s%s", prefix, text);
	pfree(text);
	return token;
}

/* does the row with this id stem from that origin?  false also where there is no such row */
static bool
row_has_origin(int64 id, int32 origin)
{
	TeRingScan *scan = te_ring_scan_begin(TE_RING_LOG, id, id);
	TupleTableSlot *slot = te_ring_scan_next(scan);
	bool		isnull;
	bool		found = slot != NULL &&
		DatumGetInt32(slot_getattr(slot, TE_LOG_ORIGIN, &isnull)) == origin;

	te_ring_scan_end(scan);
	return found;
}

void
te_token_parse(TeMark *mark, const char *token)
{
	unsigned	epoch;
	unsigned	origin;
	int			used = 0;
	bool		own;
	int64		next;
	int64		low;

	if (strlen(token) > TE_TOKEN_MAX ||
		sscanf(token, "te1.%7x.%8x.%n", &epoch, &origin, &used) != 2 || used == 0 || epoch == 0 ||
		!te_mark_parse(mark, token + used))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid cursor"),
				 errhint("A cursor is what todo_events.cursor(), todo_events.read() or a WebSocket frame gave.")));

	/* transaction ids that a crash took back have ended, whoever gets them next */
	te_mark_limit_xids(mark, U64FromFullTransactionId(ReadNextFullTransactionId()));

	own = (int32) origin == te_log_origin();
	next = own ? 0 : next_began((int32) epoch);
	low = te_mark_low(mark);
	if (mark->high > te_log_last_id() || low <= te_log_floor() ||
		(!own && (int32) epoch > te_epoch_newest()->number) ||
		(next > 0 && mark->high >= next))
		ereport(ERROR,
				(errcode(ERRCODE_TE_CURSOR_GONE),
				 errmsg("cursor is not in the event log any more"),
				 errdetail("The log begins after id %lld, and the cursor needs id %lld.",
						   (long long) te_log_floor(), (long long) low),
				 errhint("Load the present state anew, together with todo_events.cursor(), and read on from there.")));

	if (!own && !row_has_origin(mark->high, (int32) origin))
		ereport(ERROR,
				(errcode(ERRCODE_TE_CURSOR_GONE),
				 errmsg("cursor is not in the event log any more"),
				 errdetail("It was given before a promotion, recovery or copy of the database, after which its ids were drawn again."),
				 errhint("Load the present state anew, together with todo_events.cursor(), and read on from there.")));
}
