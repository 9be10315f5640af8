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

/*
 * The buffer is made large enough once (te_event_render): from then on bytes
 * are put there with no further question.
 */
static inline void
put(StringInfo buf, const char *s, int len)
{
	Assert(buf->len + len < buf->maxlen);
	memcpy(buf->data + buf->len, s, len);
	buf->len += len;
}

#define put_literal(buf, s) put(buf, s, sizeof(s) - 1)

#define UUID_TEXT_LEN	36

/* the two hexadecimal digits of each byte */
#define HEX1(h)		#h "0" #h "1" #h "2" #h "3" #h "4" #h "5" #h "6" #h "7" \
					#h "8" #h "9" #h "a" #h "b" #h "c" #h "d" #h "e" #h "f"
static const char hex_pairs[] =
HEX1(0) HEX1(1) HEX1(2) HEX1(3) HEX1(4) HEX1(5) HEX1(6) HEX1(7)
HEX1(8) HEX1(9) HEX1(a) HEX1(b) HEX1(c) HEX1(d) HEX1(e) HEX1(f);

static void
put_uuid(StringInfo buf, const pg_uuid_t *uuid)
{
	char	   *p = buf->data + buf->len;

	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		memcpy(p, hex_pairs + 2 * uuid->data[i], 2);
		p += 2;
	}
	buf->len += UUID_TEXT_LEN;
}

void
te_name_text(StringInfo buf, const TeName *name)
{
	if (name->kind == TE_NAME_UUID)
	{
		enlargeStringInfo(buf, UUID_TEXT_LEN);
		put_uuid(buf, &name->uuid);
		buf->data[buf->len] = '\0';
	}
	else if (name->kind == TE_NAME_TEXT)
		appendBinaryStringInfo(buf, name->text, name->len);
}

static void
put_name_json(StringInfo buf, const TeName *name)
{
	switch (name->kind)
	{
		case TE_NAME_UUID:
			put_literal(buf, "\"");
			put_uuid(buf, &name->uuid);
			put_literal(buf, "\"");
			break;
		case TE_NAME_TEXT:
			te_json_string(buf, name->text, name->len);
			break;
		case TE_NAME_NONE:
			put_literal(buf, "null");
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

/* as put_uuid() writes it; no error, which would stop the engine at a row that is not of our making */
static bool
parse_uuid(const char *text, pg_uuid_t *id)
{
	int			n = 0;

	for (const char *p = text; *p; p++)
	{
		int			digit = *p >= '0' && *p <= '9' ? *p - '0' : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10 : -1;

		if (*p == '-')
			continue;
		if (digit < 0 || n == 2 * UUID_LEN)
			return false;
		id->data[n / 2] = (unsigned char) (n % 2 == 0 ? digit << 4 : id->data[n / 2] | digit);
		n++;
	}
	return n == 2 * UUID_LEN;
}

void
te_event_id(const TeLogRow *row, pg_uuid_t *id)
{
	char	   *given = row->extra ? te_extra_get(row, "id") : NULL;

	if (given == NULL || !parse_uuid(given, id))
		te_event_derive_id(te_identity_of(row->origin, row->id), row->origin, row->id, id);
}

/* ---- CloudEvent --------------------------------------------------------- */

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
put_time(StringInfo buf, TimestampTz time)
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
	put(buf, text, (int) (p - text));
}

static void
put_int64(StringInfo buf, int64 value)
{
	buf->len += pg_lltoa(value, buf->data + buf->len);
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
put_type(StringInfo buf, const TeLogRow *row)
{
	const char *suffix = te_event_suffix(row->type);

	if (suffix != NULL)
	{
		const char *prefix = type_prefix(row->attachment);

		te_json_string(buf, prefix, (int) strlen(prefix));
		buf->data[buf->len - 1] = '.';	/* in place of the closing quote */
		put(buf, suffix, (int) strlen(suffix));
		put_literal(buf, "\"");
	}
	else
	{
		int			len;
		const char *raw = te_extra_raw(row, "type", &len);

		if (raw != NULL)
			put(buf, raw, len);
		else
			put_literal(buf, "\"\"");
	}
}

static void
put_payload(StringInfo buf, const TeLogRow *row)
{
	if (row->payload_len > 0)
		put(buf, row->payload, row->payload_len);
	else
		put_literal(buf, "null");
}

static void
put_task_data(StringInfo buf, const TeLogRow *row, const pg_uuid_t *id)
{
	int			len;
	const char *raw = row->extra ? te_extra_raw(row, "idempotency_key", &len) : NULL;

	put_literal(buf, "{\"task_id\":");
	put_name_json(buf, &row->key);
	put_literal(buf, ",\"user_id\":");
	put_name_json(buf, &row->user);
	put_literal(buf, ",\"sequence\":");
	if (row->sequence > 0)
		put_int64(buf, row->sequence);
	else
		put_literal(buf, "null");
	put_literal(buf, ",\"idempotency_key\":");
	if (raw != NULL)
		put(buf, raw, len);
	else
	{
		put_literal(buf, "\"");
		put_uuid(buf, id);
		put_literal(buf, "\"");
	}
	put_literal(buf, ",\"payload\":");
	put_payload(buf, row);
	put_literal(buf, "}");
}

/* more than an event takes: a byte of a name is six in JSON at most */
static int
render_room(const TeLogRow *row, const StringInfoData *source, const char *cursor)
{
	return 1024 + row->payload_len + 2 * row->extra_len + source->len +
		6 * (2 * row->key.len + row->user.len + (int) strlen(type_prefix(row->attachment)) +
			 (cursor ? (int) strlen(cursor) : 0));
}

void
te_event_render(StringInfo buf, const TeLogRow *row, const char *cursor)
{
	const StringInfoData *source;
	pg_uuid_t	id;
	int			len;
	const char *raw;

	source = source_literal();
	enlargeStringInfo(buf, render_room(row, source, cursor));
	if (row->type == TE_EVENT_REDRIVE)
	{
		put(buf, row->payload, row->payload_len);
		buf->data[buf->len] = '\0';
		return;
	}

	te_event_id(row, &id);
	put_literal(buf, "{\"specversion\":\"1.0\",\"type\":");
	put_type(buf, row);
	put_literal(buf, ",\"source\":");
	put(buf, source->data, source->len);
	put_literal(buf, ",\"id\":\"");
	put_uuid(buf, &id);
	put_literal(buf, "\",\"time\":\"");
	put_time(buf, row->time);
	put_literal(buf, "\",\"datacontenttype\":\"application/json\"");
	if (row->key.kind != TE_NAME_NONE)
	{
		put_literal(buf, ",\"partitionkey\":");
		put_name_json(buf, &row->key);
	}
	if (row->extra && (raw = te_extra_raw(row, "traceparent", &len)) != NULL)
	{
		put_literal(buf, ",\"traceparent\":");
		put(buf, raw, len);
	}
	if (cursor != NULL)
	{
		put_literal(buf, ",\"cursor\":");
		te_json_string(buf, cursor, (int) strlen(cursor));
	}
	put_literal(buf, ",\"data\":");
	if (row->type == TE_EVENT_CUSTOM)
		put_payload(buf, row);
	else
		put_task_data(buf, row, &id);
	put_literal(buf, "}");
	buf->data[buf->len] = '\0';
}
