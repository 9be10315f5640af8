/*-------------------------------------------------------------------------
 *
 * batch.c
 *	  A PUBLISH frame, decoded.
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"

#include <stdlib.h>

#include "memory.h"

/* the smallest message on the wire: event, value, content type, two counts */
#define MESSAGE_MIN_BYTES	(8 + 4 + 4 + 1 + 1)

/*
 * One walk over the body, twice: first to count and check, then to fill in.
 * A count in the body is believed only as far as bytes follow for it, so that
 * a lie cannot make us allocate.
 */
static bool
walk(TeWireIn in, TeBatch *batch)
{
	uint32_t	n;
	uint32_t	targets = 0;

	batch->number = te_wire_get_u64(&in);
	n = te_wire_get_u32(&in);
	if (in.bad || n > (size_t) (in.end - in.p) / MESSAGE_MIN_BYTES)
		return false;

	for (uint32_t i = 0; i < n; i++)
	{
		TeMessage	message;
		uint8_t		target_count;

		message.event = te_wire_get_u64(&in);
		message.value = te_wire_get_str(&in);
		message.content_type = te_wire_get_str(&in);
		message.header_count = te_wire_get_u8(&in);
		message.headers = in.p;
		for (int h = 0; h < message.header_count; h++)
		{
			TeWireStr	name = te_wire_get_str(&in);

			te_wire_get_str(&in);
			if (!in.bad && name.data == NULL)
				return false;
		}
		message.header_bytes = (uint32_t) (in.p - message.headers);
		target_count = te_wire_get_u8(&in);
		if (batch->messages)
			batch->messages[i] = message;

		for (int t = 0; t < target_count; t++)
		{
			uint16_t	topic = te_wire_get_u16(&in);
			TeWireStr	key = te_wire_get_str(&in);

			if (batch->targets)
				batch->targets[targets] = (TeTarget)
			{
				.batch = batch,
					.message = &batch->messages[i],
					.key = key,
					.topic = topic,
			};
			targets++;
		}
		if (in.bad)
			return false;
	}
	batch->message_count = n;
	batch->target_count = batch->open = targets;
	return te_wire_done(&in);
}

TeBatch *
te_batch_decode(const char *body, uint32_t len, char *owned)
{
	TeBatch		probe = {0};
	TeBatch    *batch;
	size_t		arrays;

	if (!walk(te_wire_in(body, len), &probe))
		return NULL;

	arrays = sizeof(TeBatch) + probe.message_count * sizeof(TeMessage)
		+ probe.target_count * sizeof(TeTarget);
	batch = te_alloc(arrays);
	batch->messages = (TeMessage *) (batch + 1);
	batch->targets = (TeTarget *) (batch->messages + probe.message_count);
	batch->bytes = arrays + len;
	batch->frame = owned;
	if (batch->frame == NULL)
	{
		batch->frame = te_alloc(len);
		memcpy(batch->frame, body, len);
	}
	walk(te_wire_in(batch->frame, len), batch);
	return batch;
}

void
te_batch_free(TeBatch *batch)
{
	free(batch->frame);
	free(batch);
}

int
te_target_compare(const TeTarget *a, const TeTarget *b)
{
	if (a->batch != b->batch)
		return a->batch->number < b->batch->number ? -1 : 1;
	return a < b ? -1 : a > b;
}

/* length of a zig-zag varint of a length; -1 (absent) takes one byte */
static size_t
varint_bytes(size_t n)
{
	size_t		bytes = 1;

	for (n <<= 1; n >= 0x80; n >>= 7)
		bytes++;
	return bytes;
}

static size_t
field_bytes(TeWireStr s)
{
	return s.data ? varint_bytes(s.len) + s.len : 1;
}

size_t
te_target_batch_bytes(const TeTarget *target)
{
	const TeMessage *message = target->message;
	TeWireIn	in = te_wire_in(message->headers, message->header_bytes);
	size_t		headers = message->header_count;
	size_t		record = 1 + 1 + 1;	/* attributes, timestamp delta, offset delta */

	record += field_bytes(target->key) + field_bytes(message->value);
	if (message->content_type.data)
	{
		headers++;
		record += field_bytes((TeWireStr) {"content-type", 12}) + field_bytes(message->content_type);
	}
	for (int h = 0; h < message->header_count; h++)
	{
		record += field_bytes(te_wire_get_str(&in));
		record += field_bytes(te_wire_get_str(&in));
	}
	record += varint_bytes(headers);
	return 61 + varint_bytes(record) + record;
}
