/*-------------------------------------------------------------------------
 *
 * counter.c
 *	  The numbers of tasks, in a ring (log/ring.h): appended, never updated.
 *
 * The latest number of a key is the highest one of its rows.  The ring's
 * index is on "place": 32 bits of the key's hash, then the number upside
 * down, so that a scan upwards meets the highest number first and a task with
 * a thousand events costs no more than one with two.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "log/ring.h"
#include "runtime/compat.h"
#include "runtime/settings.h"
#include "runtime/shmem.h"
#include "tasks/counter.h"
#include "tasks/filter.h"

#define LOW_BITS	UINT64CONST(0xffffffff)

#define UUID_TEXT_LEN	36

/*
 * A key that reads as a uuid counts as that uuid, so that numbers go on when
 * the column's type changes from text to uuid, or back.
 */
static TeName
canonical(const TeName *key)
{
	static const char digits[] = "0123456789abcdef";
	TeName		result = {.kind = TE_NAME_UUID};
	int			n = 0;

	if (key->kind != TE_NAME_TEXT || key->len != UUID_TEXT_LEN)
		return *key;
	for (int i = 0; i < UUID_TEXT_LEN; i++)
	{
		const char *digit = key->text[i] != '\0' ? strchr(digits, key->text[i]) : NULL;

		if (i == 8 || i == 13 || i == 18 || i == 23)
		{
			if (key->text[i] != '-')
				return *key;
			continue;
		}
		if (digit == NULL)
			return *key;
		result.uuid.data[n / 2] = (unsigned char) (result.uuid.data[n / 2] << 4 | (digit - digits));
		n++;
	}
	return result;
}

static uint64
place_hash(int32 attachment, const TeName *key)
{
	uint32		hash = key->kind == TE_NAME_UUID ?
		hash_bytes(key->uuid.data, UUID_LEN) :
		hash_bytes((const unsigned char *) key->text, key->len);

	return (uint64) hash_combine(hash, murmurhash32((uint32) attachment)) << 32;
}

static uint64
place_low(int64 sequence)
{
	return LOW_BITS - Min((uint64) sequence, LOW_BITS);
}

bool
te_counter_same_key(const TeName *a, const TeName *b)
{
	if (a->kind != b->kind)
		return false;
	if (a->kind == TE_NAME_UUID)
		return memcmp(a->uuid.data, b->uuid.data, UUID_LEN) == 0;
	return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

/*
 * Is there anything to look up?  Mostly not: nothing was deleted within the
 * retention, and every attached table has a sequence column.  So the answer
 * is kept in shared memory.  Whoever appends writes RING_FILLED after the row
 * and before its commit; the upkeep forgets the answer while it keeps all
 * appenders out.
 */
enum
{
	RING_UNKNOWN, RING_EMPTY, RING_FILLED
};

/* without shared memory: one look a statement and phase of it */
static bool
look_at_ring(bool settled)
{
	static struct
	{
		LocalTransactionId lxid;
		CommandId	cid;
		bool		empty;
	}			memo[2];
	LocalTransactionId lxid = te_compat_lxid();
	CommandId	cid = GetCurrentCommandId(false);

	if (memo[settled].lxid != lxid || memo[settled].cid != cid)
	{
		memo[settled].lxid = lxid;
		memo[settled].cid = cid;
		memo[settled].empty = te_ring_is_empty(TE_RING_COUNTER);
	}
	return memo[settled].empty;
}

static bool
ring_is_empty(bool settled)
{
	TeDatabase *db = te_shmem_my_database(false);
	uint32		unknown = RING_UNKNOWN;
	bool		empty;

	if (db == NULL)
		return look_at_ring(settled);
	switch (pg_atomic_read_u32(&db->counter_state))
	{
		case RING_EMPTY:
			return true;
		case RING_FILLED:
			return false;
		default:
			empty = te_ring_is_empty(TE_RING_COUNTER);
			/* not if somebody has written RING_FILLED meanwhile */
			(void) pg_atomic_compare_exchange_u32(&db->counter_state, &unknown,
												  empty ? RING_EMPTY : RING_FILLED);
			return empty;
	}
}

static void
tell_ring_state(uint32 state)
{
	TeDatabase *db = te_shmem_my_database(false);

	if (db != NULL && pg_atomic_read_u32(&db->counter_state) != state)
		(void) pg_atomic_exchange_u32(&db->counter_state, state);
}

/* after the row, before the commit */
static void
tell_tombstone(void)
{
	TeDatabase *db = te_shmem_my_database(false);

	if (db != NULL)
		(void) pg_atomic_fetch_add_u64(&db->counter_tombstones, 1);
}

void
te_counter_emptied(void)
{
	tell_ring_state(RING_UNKNOWN);
}

static bool
is_key(TupleTableSlot *slot, int32 attachment, const TeName *key)
{
	bool		isnull;
	TeName		other;
	Datum		value;

	if (DatumGetInt32(slot_getattr(slot, TE_COUNTER_ATTACHMENT, &isnull)) != attachment)
		return false;
	value = slot_getattr(slot, key->kind == TE_NAME_UUID ? TE_COUNTER_KEY_UUID : TE_COUNTER_KEY_TEXT,
						 &isnull);
	if (isnull)
		return false;
	other.kind = key->kind;
	if (key->kind == TE_NAME_UUID)
		other.uuid = *DatumGetUUIDP(value);
	else
	{
		struct varlena *text = PG_DETOAST_DATUM_PACKED(value);

		other.text = VARDATA_ANY(text);
		other.len = (int) VARSIZE_ANY_EXHDR(text);
	}
	return te_counter_same_key(&other, key);
}

typedef enum RowState
{
	ROW_COUNTS,					/* committed by now, or our own */
	ROW_ABORTED,
	ROW_IN_PROGRESS				/* another transaction's */
} RowState;

static RowState
state_of(TransactionId xmin)
{
	if (!TransactionIdIsNormal(xmin))
		return xmin == FrozenTransactionId ? ROW_COUNTS : ROW_ABORTED;
	if (TransactionIdIsCurrentTransactionId(xmin))
		return ROW_COUNTS;
	if (TransactionIdIsInProgress(xmin))
		return ROW_IN_PROGRESS;
	return TransactionIdDidCommit(xmin) ? ROW_COUNTS : ROW_ABORTED;
}

/* by the clock that tests move, see runtime/clock.h */
static TimestampTz
moved(TimestampTz time)
{
	return time + (int64) te_setting_int(TE_SET_CLOCK_OFFSET) * 1000;
}

/* the highest row of a key that counts; returns an xid if a higher one is being written by another transaction */
static TransactionId
find_last(int32 attachment, const TeName *key, int64 *best, bool *deleted, TimestampTz *at)
{
	uint64		hash = place_hash(attachment, key);
	TeRingScan *scan = te_ring_scan_begin(TE_RING_COUNTER, (int64) hash, (int64) (hash | LOW_BITS));
	TransactionId writer = InvalidTransactionId;
	TupleTableSlot *slot;

	*best = 0;
	*deleted = false;
	while ((slot = te_ring_scan_next(scan)) != NULL)
	{
		TransactionId xmin = te_ring_slot_xmin(slot);
		bool		isnull;
		uint64		low = (uint64) DatumGetInt64(slot_getattr(slot, TE_COUNTER_PLACE, &isnull)) & LOW_BITS;
		RowState	state;
		int64		sequence;

		if (*best > 0 && low > place_low(*best))
			break;
		if (!is_key(slot, attachment, key))
			continue;
		state = state_of(xmin);
		if (state == ROW_IN_PROGRESS)
			writer = xmin;
		if (state != ROW_COUNTS)
			continue;
		sequence = DatumGetInt64(slot_getattr(slot, TE_COUNTER_SEQUENCE, &isnull));
		if (sequence <= *best)
			continue;
		*best = sequence;
		*deleted = DatumGetBool(slot_getattr(slot, TE_COUNTER_DELETED, &isnull));
		*at = DatumGetTimestampTz(slot_getattr(slot, TE_COUNTER_AT, &isnull));
	}
	te_ring_scan_end(scan);
	return writer;
}

/*
 * What was found before a row was written is still true when it has been,
 * unless somebody wrote a tombstone meanwhile: those of before were seen, and
 * waited for.  The answers of the last rows are remembered, with the number
 * of tombstones that there had been before the look.
 */
#define ANSWERS		64

typedef struct Answer
{
	LocalTransactionId lxid;
	uint64		key;			/* 64 bits of hash */
	uint64		tombstones;
	int64		last;
} Answer;

static Answer answers[ANSWERS];

static uint64
answer_key(int32 attachment, const TeName *key)
{
	return key->kind == TE_NAME_UUID ?
		hash_bytes_extended(key->uuid.data, UUID_LEN, (uint64) attachment) :
		hash_bytes_extended((const unsigned char *) key->text, key->len, (uint64) attachment);
}

uint64
te_counter_tombstones(void)
{
	TeDatabase *db = te_shmem_my_database(false);

	return db != NULL ? pg_atomic_read_u64(&db->counter_tombstones) : 0;
}

static int64
look_up(int32 attachment, const TeName *key, bool settled, uint64 *as_of)
{
	TransactionId writer;
	int64		best;
	bool		deleted;
	TimestampTz at;

	if (!te_filter_may_hold((uint32) (place_hash(attachment, key) >> 32), settled, as_of))
		return 0;

	/*
	 * Somebody is deleting the row under the key that we want to insert: the
	 * unique index will have us wait for him in a moment.  Wait now, and know.
	 */
	while (TransactionIdIsValid(writer = find_last(attachment, key, &best, &deleted, &at)) && !settled)
		XactLockTableWait(writer, NULL, NULL, XLTW_None);

	/*
	 * A tombstone is remembered for the log's retention.  Measured from the
	 * transaction's start, so that a statement's two looks agree.
	 */
	if (deleted &&
		at < moved(GetCurrentTransactionStartTimestamp()) - (int64) te_setting_int(TE_SET_LOG_RETENTION) * 1000)
		return 0;
	return best;
}

int64
te_counter_last(int32 attachment, const TeName *given, bool settled)
{
	TeName		name;
	const TeName *key = &name;
	uint64		hash;
	uint64		tombstones;
	Answer	   *answer;

	if (ring_is_empty(settled))
		return 0;
	name = canonical(given);
	if (te_shmem_my_database(false) == NULL)
		return look_up(attachment, key, settled, &tombstones);

	hash = answer_key(attachment, key);
	answer = &answers[hash % ANSWERS];
	tombstones = te_counter_tombstones();
	if (settled && answer->lxid == te_compat_lxid() && answer->key == hash &&
		answer->tombstones == tombstones)
		return answer->last;
	if (settled)
		return look_up(attachment, key, true, &tombstones);

	answer->lxid = InvalidLocalTransactionId;
	answer->last = look_up(attachment, key, false, &tombstones);
	answer->lxid = te_compat_lxid();
	answer->key = hash;
	answer->tombstones = tombstones;
	return answer->last;
}

void
te_counter_append(int32 attachment, const TeName *key, int64 sequence, bool deleted)
{
	te_counter_append_at(attachment, key, sequence, deleted, moved(GetCurrentStatementStartTimestamp()));
}

void
te_counter_append_at(int32 attachment, const TeName *given, int64 sequence, bool deleted, TimestampTz at)
{
	TeName		name = canonical(given);
	const TeName *key = &name;
	Datum		values[TE_COUNTER_COLUMNS];
	bool		nulls[TE_COUNTER_COLUMNS] = {0};

	values[TE_COUNTER_PLACE - 1] = Int64GetDatum((int64) (place_hash(attachment, key) | place_low(sequence)));
	values[TE_COUNTER_SEQUENCE - 1] = Int64GetDatum(sequence);
	values[TE_COUNTER_AT - 1] = TimestampTzGetDatum(at);
	values[TE_COUNTER_ATTACHMENT - 1] = Int32GetDatum(attachment);
	values[TE_COUNTER_DELETED - 1] = BoolGetDatum(deleted);
	nulls[TE_COUNTER_KEY_UUID - 1] = key->kind != TE_NAME_UUID;
	nulls[TE_COUNTER_KEY_TEXT - 1] = key->kind != TE_NAME_TEXT;
	if (key->kind == TE_NAME_UUID)
		values[TE_COUNTER_KEY_UUID - 1] = UUIDPGetDatum(&key->uuid);
	else
		values[TE_COUNTER_KEY_TEXT - 1] = PointerGetDatum(cstring_to_text_with_len(key->text, key->len));
	te_ring_append(TE_RING_COUNTER, values, nulls);
	tell_ring_state(RING_FILLED);
	if (deleted)
		tell_tombstone();
	te_filter_add((uint32) (place_hash(attachment, key) >> 32));
}
