/*-------------------------------------------------------------------------
 *
 * log.c
 *	  Appending to the event log.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "commands/sequence.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "log/event.h"
#include "log/idempotency.h"
#include "log/identity.h"
#include "log/log.h"
#include "log/ring.h"
#include "log/row.h"
#include "runtime/clock.h"
#include "runtime/errors.h"
#include "runtime/inval.h"
#include "runtime/settings.h"
#include "runtime/wake.h"

/* how long a backend believes its measure of the log's size, microseconds */
#define SIZE_AGE	1000000

static Oid	id_sequence = InvalidOid;
static MemoryContext append_context = NULL;

static void
log_relcache_callback(Oid relid)
{
	if (!OidIsValid(relid) || relid == id_sequence)
		id_sequence = InvalidOid;
}

int64
te_log_segment_bytes(int segment)
{
	Relation	rel = table_open(te_ring_segment_oid(TE_RING_LOG, segment), AccessShareLock);
	int64		pages = RelationGetNumberOfBlocks(rel);

	if (pages > 0)
	{
		List	   *indexes = RelationGetIndexList(rel);
		ListCell   *cell;

		foreach(cell, indexes)
		{
			Relation	index = relation_open(lfirst_oid(cell), AccessShareLock);

			pages += RelationGetNumberOfBlocks(index);
			relation_close(index, AccessShareLock);
		}
		if (OidIsValid(rel->rd_rel->reltoastrelid))
		{
			Relation	toast = table_open(rel->rd_rel->reltoastrelid, AccessShareLock);

			pages += RelationGetNumberOfBlocks(toast);
			table_close(toast, AccessShareLock);
		}
		list_free(indexes);
	}
	table_close(rel, AccessShareLock);
	return pages * BLCKSZ;
}

int64
te_log_size(void)
{
	int64		bytes = 0;

	for (int i = 0; i < te_ring_segments(TE_RING_LOG); i++)
		bytes += te_log_segment_bytes(i);
	return bytes;
}

/* log_full = refuse_writes: the writer itself looks, so that it holds with no engine too */
static void
check_room(void)
{
	static int64 measured_at = 0;
	static int64 measured = 0;
	int64		now = te_clock_monotonic();
	int64		limit = (int64) te_setting_int(TE_SET_LOG_MAX_SIZE) * 1024 * 1024;

	if (measured_at == 0 || now - measured_at > SIZE_AGE || measured >= limit)
	{
		measured = te_log_size();
		measured_at = now;
	}
	if (measured >= limit)
		ereport(ERROR,
				(errcode(ERRCODE_TE_LOG_FULL),
				 errmsg("event log is full"),
				 errdetail("It holds %lld MB of todo_events.log_max_size = %d MB, and todo_events.log_full is \"refuse_writes\".",
						   (long long) (measured / (1024 * 1024)), te_setting_int(TE_SET_LOG_MAX_SIZE)),
				 errhint("See todo_events.health() for the reader that is behind, raise todo_events.log_max_size, or set todo_events.log_full to \"grow\".")));
}

static void
put_name(const TeName *name, Datum *values, bool *nulls, int uuid, int text)
{
	nulls[uuid - 1] = name->kind != TE_NAME_UUID;
	nulls[text - 1] = name->kind != TE_NAME_TEXT;
	if (name->kind == TE_NAME_UUID)
		values[uuid - 1] = UUIDPGetDatum(unconstify(pg_uuid_t *, &name->uuid));
	else if (name->kind == TE_NAME_TEXT)
		values[text - 1] = PointerGetDatum(cstring_to_text_with_len(name->text, name->len));
}

/* what the caller gave, plus idempotency key and traceparent of the session; NULL if nothing */
static const char *
make_extra(const TeEventInput *event)
{
	const char *key = te_setting_string(TE_SET_IDEMPOTENCY_KEY);
	const char *traceparent = te_setting_string(TE_SET_TRACEPARENT);
	StringInfoData buf;

	if (key[0] == '\0' && traceparent[0] == '\0')
		return event->extra;

	initStringInfo(&buf);
	if (event->extra != NULL)
	{
		/* an object: take its closing brace away */
		appendStringInfoString(&buf, event->extra);
		while (buf.len > 0 && buf.data[buf.len - 1] != '}')
			buf.len--;
		buf.len--;
	}
	else
		appendStringInfoChar(&buf, '{');
	if (traceparent[0] != '\0')
	{
		appendStringInfoString(&buf, buf.len > 1 ? ",\"traceparent\":" : "\"traceparent\":");
		te_json_string(&buf, traceparent, (int) strlen(traceparent));
	}
	if (key[0] != '\0' && event->type != TE_EVENT_REDRIVE)
	{
		pg_uuid_t	id;

		te_idempotency_claim(key, event, &id);
		appendStringInfoString(&buf, buf.len > 1 ? ",\"idempotency_key\":" : "\"idempotency_key\":");
		te_json_string(&buf, key, (int) strlen(key));
		appendStringInfoString(&buf, ",\"id\":\"");
		te_name_text(&buf, &(TeName) {.kind = TE_NAME_UUID, .uuid = id});
		appendStringInfoChar(&buf, '"');
	}
	appendStringInfoChar(&buf, '}');
	return buf.data;
}

int64
te_log_append(const TeEventInput *event)
{
	Datum		values[TE_LOG_COLUMNS];
	bool		nulls[TE_LOG_COLUMNS] = {0};
	MemoryContext caller;
	const char *extra;
	int64		size;
	int64		id;

	/* what could never be sent must not be promised: the names of task and user are part of it */
	size = (int64) event->payload_len + event->key.len + event->user.len;
	if (unlikely(size > TE_LOG_MAX_PAYLOAD))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("event of %d MB is larger than the event log takes (%d MB)",
						(int) (size / (1024 * 1024)), TE_LOG_MAX_PAYLOAD / (1024 * 1024)),
				 event->attachment == 0 ?
				 errhint("Publish a reference to large data, not the data.") :
				 errhint("Leave large columns out with the option \"exclude\" of todo_events.attach().")));

	if (unlikely(te_setting_int(TE_SET_LOG_FULL) == TE_LOG_FULL_REFUSE_WRITES))
		check_room();

	if (unlikely(append_context == NULL))
		append_context = AllocSetContextCreate(TopMemoryContext, "todo_events append",
											   ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(append_context);

	/* the transaction's id before the event's: reader.c rests on it */
	(void) GetTopTransactionId();
	extra = make_extra(event);
	if (unlikely(!OidIsValid(id_sequence)))
		id_sequence = te_internal_relation("log_id");
	id = nextval_internal(id_sequence, false);

	values[TE_LOG_ID - 1] = Int64GetDatum(id);
	values[TE_LOG_TIME - 1] = TimestampTzGetDatum(te_clock_now());
	values[TE_LOG_SEQUENCE - 1] = Int64GetDatum(event->sequence);
	nulls[TE_LOG_SEQUENCE - 1] = event->sequence == 0;
	values[TE_LOG_ORIGIN - 1] = Int32GetDatum(te_log_origin());
	values[TE_LOG_ATTACHMENT - 1] = Int32GetDatum(event->attachment);
	values[TE_LOG_TYPE - 1] = Int16GetDatum((int16) event->type);
	put_name(&event->key, values, nulls, TE_LOG_KEY_UUID, TE_LOG_KEY_TEXT);
	put_name(&event->user, values, nulls, TE_LOG_USER_UUID, TE_LOG_USER_TEXT);
	nulls[TE_LOG_EXTRA - 1] = extra == NULL;
	if (extra != NULL)
		values[TE_LOG_EXTRA - 1] = CStringGetTextDatum(extra);
	nulls[TE_LOG_PAYLOAD - 1] = event->payload == NULL;
	if (event->payload != NULL)
		values[TE_LOG_PAYLOAD - 1] =
			PointerGetDatum(cstring_to_text_with_len(event->payload, event->payload_len));

	te_ring_append(TE_RING_LOG, values, nulls);
	te_wake_note_append();

	MemoryContextSwitchTo(caller);
	MemoryContextReset(append_context);
	return id;
}

void
te_log_append_init(void)
{
	te_inval_register(log_relcache_callback);
}
