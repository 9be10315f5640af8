/*-------------------------------------------------------------------------
 *
 * idempotency.c
 *	  todo_events.idempotency_key: one transaction a key and attachment.
 *
 * A client that did not hear the answer to its commit runs the transaction
 * again with the same key.  If the first one committed, the second is refused
 * (SQLSTATE TE409), whatever task it touches: a retried INSERT draws a new
 * key for its task.  Two at the same time wait for each other on an advisory
 * lock of the key.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/cryptohash.h"
#include "common/sha1.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "log/event.h"
#include "log/idempotency.h"
#include "log/identity.h"
#include "log/ring.h"
#include "runtime/clock.h"
#include "runtime/errors.h"
#include "runtime/settings.h"

#define SEGMENTS			3
#define TURN_PAGES_LEAST	8		/* a segment with less is not worth turning for */

/* columns of todo_events_internal.idempotency */
enum
{
	COL_HASH = 1, COL_ATTACHMENT, COL_AT, COL_KEY, COL_SEGMENT
};

/* the key claimed last in this transaction: rows of one statement share it */
static struct
{
	char	   *key;			/* NULL = none; in TopTransactionContext */
	int32		attachment;
	SubTransactionId subxact;	/* where it was claimed: a rollback of it takes the claim back */
	int64		ordinal;		/* events of this transaction with a key, so far */
}			claim;

static void
claim_xact_callback(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE || event == XACT_EVENT_ABORT)
		memset(&claim, 0, sizeof(claim));
}

static void
claim_subxact_callback(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (claim.key == NULL || claim.subxact != mine)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		claim.key = NULL;
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		claim.subxact = parent;
}

static int64
key_hash(const char *key, int32 attachment)
{
	uint64		h = UINT64CONST(0xcbf29ce484222325) ^ (uint32) attachment;

	for (const unsigned char *p = (const unsigned char *) key; *p; p++)
		h = (h ^ *p) * UINT64CONST(0x100000001b3);
	return (int64) h;
}

/* was the key used by another transaction that committed, not longer ago than the log is kept? */
static void
refuse_if_used(const char *key, int32 attachment, int64 hash)
{
	TimestampTz since = te_clock_now() - (int64) te_setting_int(TE_SET_LOG_RETENTION) * 1000;
	TeRingScan *scan = te_ring_scan_begin(TE_RING_IDEMPOTENCY, hash, hash);
	Snapshot	snapshot = GetLatestSnapshot();
	TupleTableSlot *slot;

	while ((slot = te_ring_scan_next(scan)) != NULL)
	{
		bool		isnull;
		TimestampTz at;

		if (te_ring_classify(te_ring_slot_xmin(slot), snapshot) != TE_ROW_VISIBLE ||
			DatumGetInt32(slot_getattr(slot, COL_ATTACHMENT, &isnull)) != attachment)
			continue;
		at = DatumGetTimestampTz(slot_getattr(slot, COL_AT, &isnull));
		if (at >= since &&
			strcmp(TextDatumGetCString(slot_getattr(slot, COL_KEY, &isnull)), key) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_TE_IDEMPOTENCY),
					 errmsg("idempotency key \"%s\" was used by an earlier transaction", key),
					 errdetail("That transaction committed its events around %s.", timestamptz_to_str(at)),
					 errhint("The work of this key is done: read its result instead of repeating it, or use a new key.")));
	}
	te_ring_scan_end(scan);
}

static void
claim_key(const char *key, int32 attachment)
{
	int64		hash = key_hash(key, attachment);
	LOCKTAG		tag;
	Datum		values[COL_SEGMENT];
	bool		nulls[COL_SEGMENT] = {0};

	/* as pg_advisory_xact_lock(int8), in a class of its own */
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) ((uint64) hash >> 32), (uint32) hash, 0x7e);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	refuse_if_used(key, attachment, hash);

	values[COL_HASH - 1] = Int64GetDatum(hash);
	values[COL_ATTACHMENT - 1] = Int32GetDatum(attachment);
	values[COL_AT - 1] = TimestampTzGetDatum(te_clock_now());
	values[COL_KEY - 1] = CStringGetTextDatum(key);
	te_ring_append(TE_RING_IDEMPOTENCY, values, nulls);

	claim.key = MemoryContextStrdup(TopTransactionContext, key);
	claim.attachment = attachment;
	claim.subxact = GetCurrentSubTransactionId();
}

/* RFC 9562 version 5 in the database's namespace */
static void
derive_v5(const char *name, int len, pg_uuid_t *id)
{
	pg_cryptohash_ctx *sha1 = pg_cryptohash_create(PG_SHA1);
	uint8		digest[SHA1_DIGEST_LENGTH];

	if (pg_cryptohash_init(sha1) < 0 ||
		pg_cryptohash_update(sha1, te_identity()->data, UUID_LEN) < 0 ||
		pg_cryptohash_update(sha1, (const uint8 *) name, len) < 0 ||
		pg_cryptohash_final(sha1, digest, sizeof(digest)) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not derive an event id: %s", pg_cryptohash_error(sha1))));
	pg_cryptohash_free(sha1);
	memcpy(id->data, digest, UUID_LEN);
	id->data[6] = (id->data[6] & 0x0f) | 0x50;
	id->data[8] = (id->data[8] & 0x3f) | 0x80;
}

void
te_idempotency_claim(const char *key, const TeEventInput *event, pg_uuid_t *id)
{
	StringInfoData name;

	if (claim.key == NULL || claim.attachment != event->attachment || strcmp(claim.key, key) != 0)
		claim_key(key, event->attachment);

	initStringInfo(&name);
	appendStringInfo(&name, "%s|%d|", key, event->attachment);
	te_name_text(&name, &event->key);
	appendStringInfo(&name, "|%lld", (long long) ++claim.ordinal);
	derive_v5(name.data, name.len, id);
	pfree(name.data);
}

bool
te_idempotency_maintain(void)
{
	int			current = (int) (te_ring_current(TE_RING_IDEMPOTENCY) % SEGMENTS);
	int			next = (current + 1) % SEGMENTS;
	TimestampTz expired = te_clock_now() - (int64) te_setting_int(TE_SET_LOG_RETENTION) * 1000;

	if (te_ring_segment_pages(TE_RING_IDEMPOTENCY, next) > 0)
		return te_ring_segment_time(TE_RING_IDEMPOTENCY, next, COL_AT, true) < expired &&
			te_ring_truncate(TE_RING_IDEMPOTENCY, next, NULL, NULL);
	if (te_ring_segment_pages(TE_RING_IDEMPOTENCY, current) >= TURN_PAGES_LEAST)
		te_ring_advance(TE_RING_IDEMPOTENCY);
	return false;
}

void
te_idempotency_init(void)
{
	RegisterXactCallback(claim_xact_callback, NULL);
	RegisterSubXactCallback(claim_subxact_callback, NULL);
}
