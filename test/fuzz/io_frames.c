/*
 * io_frames.c - libFuzzer target: bytes from the pair
 *
 * The first byte says in what pieces the rest arrives.  Whatever comes out of
 * the parser as CONFIG or PUBLISH is decoded, and every byte that a decoded
 * message points to is read, so that the sanitizers see a wrong pointer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "config.h"
#include "frames.h"

extern int	LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static volatile unsigned sum;

static void
touch(TeWireStr s)
{
	for (uint32_t i = 0; s.data && i < s.len; i++)
		sum += (unsigned char) s.data[i];
}

static void
publish(TeFrame *frame)
{
	TeBatch    *batch = te_batch_decode(frame->body, frame->len, frame->owned);

	if (batch == NULL)
		return;
	frame->owned = NULL;
	for (uint32_t i = 0; i < batch->message_count; i++)
	{
		TeMessage  *message = &batch->messages[i];
		TeWireIn	in = te_wire_in(message->headers, message->header_bytes);

		touch(message->value);
		touch(message->content_type);
		for (int h = 0; h < 2 * message->header_count; h++)
			touch(te_wire_get_str(&in));
		if (!te_wire_done(&in))
			abort();
	}
	for (uint32_t i = 0; i < batch->target_count; i++)
	{
		touch(batch->targets[i].key);
		if (te_target_batch_bytes(&batch->targets[i]) < batch->targets[i].message->value.len)
			abort();
		if (i > 0 && te_target_compare(&batch->targets[i - 1], &batch->targets[i]) >= 0)
			abort();
	}
	te_batch_free(batch);
}

static void
configure(const TeFrame *frame)
{
	TeConfig	config;
	TeConfigError error;
	bool		malformed;

	/* te_config_check looks at files, so it is not for made-up names */
	te_config_decode(&config, frame->body, frame->len, &error, &malformed);
	te_config_free(&config);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	static TeReader reader;
	size_t		piece;

	if (size < 1)
		return 0;
	piece = (size_t) 1 << (data[0] % 17);
	data++;
	size--;

	te_reader_init(&reader);
	while (size > 0)
	{
		struct iovec iov[2];
		int			n = te_reader_space(&reader, iov);
		size_t		take = 0;
		TeReadResult result;
		TeFrame		frame;

		for (int i = 0; i < n; i++)
		{
			size_t		part = iov[i].iov_len;

			if (part > size - take)
				part = size - take;
			if (part > piece - take)
				part = piece - take;
			memcpy(iov[i].iov_base, data + take, part);
			take += part;
		}
		if (take == 0)
			abort();			/* the parser must always have room */
		te_reader_filled(&reader, take);
		data += take;
		size -= take;
		while ((result = te_reader_next(&reader, &frame)) == TE_READ_FRAME)
		{
			if (frame.type == TE_FRAME_PUBLISH)
				publish(&frame);
			else if (frame.type == TE_FRAME_CONFIG)
				configure(&frame);
			free(frame.owned);
		}
		if (result == TE_READ_BAD)
			break;
	}
	te_reader_free(&reader);
	return 0;
}
