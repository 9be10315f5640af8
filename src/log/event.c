/*-------------------------------------------------------------------------
 *
 * event.c
 *	  An event's names and its CloudEvent (CloudEvents 1.0, JSON format).
 *
 * Rendering happens when a row is read, tens of thousands of times a second
 * while a backlog drains: no format strings, no catalog, no allocation
 * beyond the caller's buffer.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "log/event.h"
#include "log/identity.h"
#include "runtime/settings.h"

static TePrefixLookup prefix_lookup = NULL;

void
te_event_set_prefix_lookup(TePrefixLookup lookup)
{
	prefix_lookup = lookup;
}

/* ---- names -------------------------------------------------------------- */

const char *
te_event_suffix(TeEventType type)
{
	switch (type)
	{
		case TE_EVENT_TASK_CREATED:
			return "created";
		case TE_EVENT_TASK_UPDATED:
			return "updated";
		case TE_EVENT_TASK_COMPLETED:
			return "completed";
		case TE_EVENT_TASK_REOPENED:
			return "reopened";
		case TE_EVENT_TASK_DELETED:
			return "deleted";
		case TE_EVENT_TASK_UNASSIGNED:
			return "unassigned";
		case TE_EVENT_CUSTOM:
		case TE_EVENT_REDRIVE:
			break;
	}
	return NULL;
}

static const char *
type_prefix(int32 attachment)
{
	const char *prefix = prefix_lookup ? prefix_lookup(attachment) : NULL;

	return prefix ? prefix : "com.todo.task";
}

char *
te_event_type_name(const TeLogRow *row)
{
	const char *suffix = te_event_suffix(row->type);

	if (suffix == NULL)
		return te_extra_get(row, "type");
	return psprintf("%s.%s", type_prefix(row->attachment), suffix);
}

static void
append_uuid(StringInfo buf, const pg_uuid_t *uuid)
{
	static const char hex[] = "0123456789abcdef";
	char		text[36];
	char	   *p = text;

	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = hex[uuid->data[i] >> 4];
		*p++ = hex[uuid->data[i] & 15];
	}
	appendBinaryStringInfo(buf, text, sizeof(text));
}

void
te_name_text(StringInfo buf, const TeName *name)
{
	if (name->kind == TE_NAME_UUID)
		append_uuid(buf, &name->uuid);
	else if (name->kind == TE_NAME_TEXT)
		appendBinaryStringInfo(buf, name->text, name->len);
}

static void
append_name_json(StringInfo buf, const TeName *name)
{
	switch (name->kind)
	{
		case TE_NAME_UUID:
			appendStringInfoCharMacro(buf, '"');
			append_uuid(buf, &name->uuid);
			appendStringInfoCharMacro(buf, '"');
			break;
		case TE_NAME_TEXT:
			te_json_string(buf, name->text, name->len);
			break;
		case TE_NAME_NONE:
			appendBinaryStringInfo(buf, "null", 4);
			break;
	}
}

/* ---- id ----------------------------------------------------------------- */

/* the finalizer of splitmix64: a bijection of 64 bits */
static uint64
mix(uint64 x)
{
	x ^= x >> 30;
	x *= UINT64CONST(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64CONST(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

/* FNV-1a: fixed for ever, unlike the server's own hash functions */
static uint64
hash_bytes64(uint64 h, const void *data, int len)
{
	const unsigned char *p = data;

	for (int i = 0; i < len; i++)
		h = (h ^ p[i]) * UINT64CONST(0x100000001b3);
	return h;
}

/*
 * RFC 9562 version 8: 60 bits that name the database, 62 that name the event
 * in it.  The number goes through an odd multiplication and an addition
 * modulo 2^62, which is a bijection: two events of one database never share
 * an id.
 */
void
te_event_derive_id(const pg_uuid_t *namespace, int32 origin, int64 number, pg_uuid_t *id)
{
	unsigned char origin_bytes[4] = {
		(unsigned char) ((uint32) origin >> 24), (unsigned char) ((uint32) origin >> 16),
		(unsigned char) ((uint32) origin >> 8), (unsigned char) origin
	};
	uint64		h = hash_bytes64(UINT64CONST(0xcbf29ce484222325), namespace->data, UUID_LEN);
	uint64		hi;
	uint64		lo;

	h = hash_bytes64(h, origin_bytes, sizeof(origin_bytes));
	hi = mix(h);
	lo = ((uint64) number * UINT64CONST(0x9e3779b97f4a7c15) + mix(h + 1)) & (~UINT64CONST(0) >> 2);
	hi = (hi & ~UINT64CONST(0xf000)) | UINT64CONST(0x8000);
	lo |= UINT64CONST(0x8000000000000000);
	for (int i = 0; i < 8; i++)
	{
		id->data[i] = (unsigned char) (hi >> (56 - 8 * i));
		id->data[8 + i] = (unsigned char) (lo >> (56 - 8 * i));
	}
}

void
te_event_id(const TeLogRow *row, pg_uuid_t *id)
{
	char	   *given = row->extra ? te_extra_get(row, "id") : NULL;

	if (given != NULL)
		*id = *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(given)));
	else
		te_event_derive_id(te_identity(), row->origin, row->id, id);
}

/* ---- CloudEvent --------------------------------------------------------- */

#define append_literal(buf, s) appendBinaryStringInfo(buf, s, sizeof(s) - 1)

static char *
put_digits(char *p, int value, int digits)
{
	for (int i = digits - 1; i >= 0; i--)
	{
		p[i] = (char) ('0' + value % 10);
		value /= 10;
	}
	return p + digits;
}

/* RFC 3339 in UTC with microseconds */
static void
append_time(StringInfo buf, TimestampTz time)
{
	char		text[32];
	char	   *p = text;
	int64		us = time % USECS_PER_DAY;
	int64		day = time / USECS_PER_DAY;
	int			year,
				month,
				mday,
				seconds;

	if (us < 0)
	{
		us += USECS_PER_DAY;
		day--;
	}
	j2date((int) day + POSTGRES_EPOCH_JDATE, &year, &month, &mday);
	seconds = (int) (us / USECS_PER_SEC);
	p = put_digits(p, year, 4);
	*p++ = '-';
	p = put_digits(p, month, 2);
	*p++ = '-';
	p = put_digits(p, mday, 2);
	*p++ = 'T';
	p = put_digits(p, seconds / 3600, 2);
	*p++ = ':';
	p = put_digits(p, seconds / 60 % 60, 2);
	*p++ = ':';
	p = put_digits(p, seconds % 60, 2);
	*p++ = '.';
	p = put_digits(p, (int) (us % USECS_PER_SEC), 6);
	*p++ = 'Z';
	appendBinaryStringInfo(buf, text, (int) (p - text));
}

static void
append_int64(StringInfo buf, int64 value)
{
	char		text[MAXINT8LEN + 1];

	appendBinaryStringInfo(buf, text, pg_lltoa(value, text));
}

/* the setting as a literal; made anew only when it changes */
static const StringInfoData *
source_literal(void)
{
	static StringInfoData literal;
	static uint64 generation = 0;

	if (literal.data == NULL || generation != te_settings_generation())
	{
		const char *source = te_setting_string(TE_SET_SOURCE);
		MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);

		if (literal.data == NULL)
			initStringInfo(&literal);
		resetStringInfo(&literal);
		te_json_string(&literal, source, (int) strlen(source));
		generation = te_settings_generation();
		MemoryContextSwitchTo(caller);
	}
	return &literal;
}

static void
append_type(StringInfo buf, const TeLogRow *row)
{
	const char *suffix = te_event_suffix(row->type);

	if (suffix != NULL)
	{
		const char *prefix = type_prefix(row->attachment);

		te_json_string(buf, prefix, (int) strlen(prefix));
		buf->data[buf->len - 1] = '.';	/* in place of the closing quote */
		appendBinaryStringInfo(buf, suffix, (int) strlen(suffix));
		appendStringInfoCharMacro(buf, '"');
	}
	else
	{
		int			len;
		const char *raw = te_extra_raw(row, "type", &len);

		if (raw != NULL)
			appendBinaryStringInfo(buf, raw, len);
		else
			append_literal(buf, "\"\"");
	}
}

static void
append_task_data(StringInfo buf, const TeLogRow *row, const pg_uuid_t *id)
{
	int			len;
	const char *raw = row->extra ? te_extra_raw(row, "idempotency_key", &len) : NULL;

	append_literal(buf, "{\"task_id\":");
	append_name_json(buf, &row->key);
	append_literal(buf, ",\"user_id\":");
	append_name_json(buf, &row->user);
	append_literal(buf, ",\"sequence\":");
	if (row->sequence > 0)
		append_int64(buf, row->sequence);
	else
		append_literal(buf, "null");
	append_literal(buf, ",\"idempotency_key\":");
	if (raw != NULL)
		appendBinaryStringInfo(buf, raw, len);
	else
	{
		appendStringInfoCharMacro(buf, '"');
		append_uuid(buf, id);
		appendStringInfoCharMacro(buf, '"');
	}
	append_literal(buf, ",\"payload\":");
	appendBinaryStringInfo(buf, row->payload, row->payload_len);
	appendStringInfoCharMacro(buf, '}');
}

void
te_event_render(StringInfo buf, const TeLogRow *row, const char *cursor)
{
	const StringInfoData *source;
	pg_uuid_t	id;
	int			len;
	const char *raw;

	if (row->type == TE_EVENT_REDRIVE)
	{
		appendBinaryStringInfo(buf, row->payload, row->payload_len);
		return;
	}

	source = source_literal();
	te_event_id(row, &id);
	append_literal(buf, "{\"specversion\":\"1.0\",\"type\":");
	append_type(buf, row);
	append_literal(buf, ",\"source\":");
	appendBinaryStringInfo(buf, source->data, source->len);
	append_literal(buf, ",\"id\":\"");
	append_uuid(buf, &id);
	append_literal(buf, "\",\"time\":\"");
	append_time(buf, row->time);
	append_literal(buf, "\",\"datacontenttype\":\"application/json\"");
	if (row->key.kind != TE_NAME_NONE)
	{
		append_literal(buf, ",\"partitionkey\":");
		append_name_json(buf, &row->key);
	}
	if (row->extra && (raw = te_extra_raw(row, "traceparent", &len)) != NULL)
	{
		append_literal(buf, ",\"traceparent\":");
		appendBinaryStringInfo(buf, raw, len);
	}
	if (cursor != NULL)
	{
		append_literal(buf, ",\"cursor\":");
		te_json_string(buf, cursor, (int) strlen(cursor));
	}
	append_literal(buf, ",\"data\":");
	if (row->type == TE_EVENT_CUSTOM)
		appendBinaryStringInfo(buf, row->payload, row->payload_len);
	else
		append_task_data(buf, row, &id);
	appendStringInfoCharMacro(buf, '}');
}
