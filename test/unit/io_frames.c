/*
 * io_frames.c - the frame parser and writer, PUBLISH decoding, latency buckets
 */
#include <sys/socket.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "batch.h"
#include "frames.h"
#include "io_tap.h"
#include "stats.h"

static TeReader reader;

/* gives the reader bytes in pieces of at most this size, and counts the frames that come out */
static int
feed(const char *data, size_t len, size_t piece, TeReadResult *last, size_t *bytes)
{
	int			frames = 0;

	*bytes = 0;
	*last = TE_READ_MORE;
	while (len > 0)
	{
		struct iovec iov[2];
		int			n = te_reader_space(&reader, iov);
		size_t		take = 0;

		for (int i = 0; i < n; i++)
		{
			size_t		part = iov[i].iov_len;

			if (part > len - take)
				part = len - take;
			if (part > piece - take)
				part = piece - take;
			memcpy(iov[i].iov_base, data + take, part);
			take += part;
		}
		te_reader_filled(&reader, take);
		data += take;
		len -= take;

		TeFrame		frame;

		while ((*last = te_reader_next(&reader, &frame)) == TE_READ_FRAME)
		{
			frames++;
			*bytes += frame.len;
			for (uint32_t i = 0; i < frame.len; i++)
				if (frame.body[i] != (char) (frame.type + i))
				{
					printf("# frame %d differs at %u\n", frames, i);
					return -1;
				}
			free(frame.owned);
		}
		if (*last == TE_READ_BAD)
			break;
	}
	return frames;
}

static size_t
put_frame(char *out, uint16_t type, uint32_t len)
{
	char	   *p = te_wire_put_header(out, len, type);

	for (uint32_t i = 0; i < len; i++)
		*p++ = (char) (type + i);
	return (size_t) (p - out);
}

static void
test_reader(void)
{
	static const uint32_t lens[] = {0, 1, 7, 4000, TE_READER_STAGE - TE_WIRE_HEADER - 1,
		TE_READER_STAGE - TE_WIRE_HEADER, TE_READER_STAGE - TE_WIRE_HEADER + 1, TE_READER_STAGE,
	300000, 3, 0, 100000};
	static const size_t pieces[] = {1, 3, 8, 9, 1000, TE_READER_STAGE, 1 << 20};
	const int	count = sizeof(lens) / sizeof(lens[0]);
	char	   *stream = malloc(1 << 20);
	size_t		len = 0;
	size_t		total = 0;
	size_t		bytes;
	TeReadResult last;
	char		header[TE_WIRE_HEADER];

	for (int i = 0; i < count; i++)
	{
		len += put_frame(stream + len, (uint16_t) (i + 1), lens[i]);
		total += lens[i];
	}
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
	{
		te_reader_init(&reader);
		ok(feed(stream, len, pieces[i], &last, &bytes) == count && bytes == total &&
		   last == TE_READ_MORE, "all frames, in pieces of %zu", pieces[i]);
		te_reader_free(&reader);
	}

	te_reader_init(&reader);
	te_wire_put_header(header, TE_WIRE_MAX_BODY + 1, 1);
	feed(header, sizeof(header), 100, &last, &bytes);
	is_int(last, TE_READ_BAD, "a body over the limit is bad");

	te_reader_init(&reader);
	te_wire_put_header(header, 0, 1);
	header[6] = 1;
	feed(header, sizeof(header), 100, &last, &bytes);
	is_int(last, TE_READ_BAD, "reserved bits are bad");

	te_reader_init(&reader);
	is_int(feed(stream, 5, 5, &last, &bytes), 0, "half a header is no frame");
	is_int(last, TE_READ_MORE, "and not bad");
	free(stream);
}

static void
test_writer(void)
{
	int			pair[2];
	TeWriter	writer;
	size_t		written = 0;
	size_t		got = 0;
	size_t		bytes;
	int			frames = 0;
	TeReadResult last;
	char	   *chunk = malloc(1 << 16);

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
		return;
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	fcntl(pair[1], F_SETFL, O_NONBLOCK);
	te_writer_init(&writer);
	te_reader_init(&reader);
	for (int i = 0; i < 2000; i++)
	{
		uint32_t	len = (uint32_t) (i * 37 % 3000);
		char	   *p = te_writer_begin(&writer, 3000);

		for (uint32_t k = 0; k < len; k++)
			p[k] = (char) (i % 100 + 1 + k);
		te_writer_end(&writer, (uint16_t) (i % 100 + 1), p + len);
		written += len;
		if (i % 3 == 0)
			te_writer_flush(&writer, pair[0]);
	}
	while (frames < 2000)
	{
		ssize_t		n;

		te_writer_flush(&writer, pair[0]);
		n = read(pair[1], chunk, 1 << 16);
		if (n <= 0)
			break;
		frames += feed(chunk, (size_t) n, 5000, &last, &bytes);
		got += bytes;
	}
	is_int(frames, 2000, "what the writer wrote, the reader reads");
	is_int((long long) got, (long long) written, "to the last byte");
	is_int((long long) te_writer_pending(&writer), 0, "nothing is left");
	close(pair[1]);
	te_writer_end(&writer, 1, te_writer_begin(&writer, 0));
	ok(!te_writer_flush(&writer, pair[0]), "a peer that is gone is noticed");
	close(pair[0]);
	te_writer_free(&writer);
	te_reader_free(&reader);
	free(chunk);
}

static char body[4096];

static char *
put_message(char *p, uint64_t event, const char *value, int headers, int targets)
{
	p = te_wire_put_u64(p, event);
	p = te_wire_put_str(p, value, value ? strlen(value) : 0);
	p = te_wire_put_str(p, "text/plain", 10);
	p = te_wire_put_u8(p, (uint8_t) headers);
	for (int i = 0; i < headers; i++)
	{
		p = te_wire_put_str(p, "name", 4);
		p = te_wire_put_str(p, i ? NULL : "value", 5);
	}
	p = te_wire_put_u8(p, (uint8_t) targets);
	for (int i = 0; i < targets; i++)
	{
		p = te_wire_put_u16(p, (uint16_t) i);
		p = te_wire_put_str(p, i ? NULL : "key", 3);
	}
	return p;
}

static void
test_batch(void)
{
	char	   *p = body;
	uint32_t	len;
	TeBatch    *batch;
	int			accepted = 0;

	p = te_wire_put_u64(p, 42);
	p = te_wire_put_u32(p, 3);
	p = put_message(p, 7, "seven", 2, 2);
	p = put_message(p, 8, NULL, 0, 1);
	p = put_message(p, 9, "", 1, 0);
	len = (uint32_t) (p - body);

	batch = te_batch_decode(body, len, NULL);
	if (!ok(batch != NULL, "a PUBLISH decodes"))
		return;
	is_int((long long) batch->number, 42, "its number");
	is_int(batch->message_count, 3, "its messages");
	is_int(batch->open, 3, "its targets are open");
	is_int((long long) batch->targets[2].message->event, 8, "the third target is the second message's");
	ok(batch->targets[0].key.len == 3 && memcmp(batch->targets[0].key.data, "key", 3) == 0,
	   "a key");
	ok(batch->targets[1].key.data == NULL, "an absent key");
	ok(batch->messages[1].value.data == NULL, "an absent value");
	ok(batch->messages[2].value.data != NULL && batch->messages[2].value.len == 0,
	   "an empty value is not absent");
	ok(te_target_compare(&batch->targets[0], &batch->targets[2]) < 0, "targets have an order");
	ok(batch->messages[0].value.data > batch->frame &&
	   batch->messages[0].value.data < batch->frame + len, "values point into the frame");
	te_batch_free(batch);

	for (uint32_t cut = 0; cut < len; cut++)
	{
		batch = te_batch_decode(body, cut, NULL);
		if (batch)
		{
			accepted++;
			te_batch_free(batch);
		}
	}
	is_int(accepted, 0, "cut anywhere, it is refused");
	body[len] = 'x';
	ok(te_batch_decode(body, len + 1, NULL) == NULL, "with a byte left over, it is refused");

	te_wire_put_u32(body + 8, UINT32_MAX);
	ok(te_batch_decode(body, len, NULL) == NULL, "a count beyond its bytes is refused");

	p = te_wire_put_u64(body, 1);
	p = te_wire_put_u32(p, 0);
	batch = te_batch_decode(body, (uint32_t) (p - body), NULL);
	ok(batch && batch->target_count == 0, "no messages are allowed");
	if (batch)
		te_batch_free(batch);
}

static void
test_size(void)
{
	char	   *p = te_wire_put_u64(body, 1);
	TeBatch    *batch;

	/*
	 * What Kafka stores for key "key", value "seven" and header content-type
	 * alone, counted by the format: batch header 61; record 1 length + 1
	 * attributes + 1 time + 1 offset + 1+3 key + 1+5 value + 1 count +
	 * 1+12 name + 1+10 text.
	 */
	p = te_wire_put_u32(p, 1);
	p = put_message(p, 7, "seven", 0, 1);
	batch = te_batch_decode(body, (uint32_t) (p - body), NULL);
	is_int((long long) te_target_batch_bytes(&batch->targets[0]), 61 + 1 + 3 + 4 + 6 + 1 + 13 + 11,
		   "the size of a message in a record batch");
	te_batch_free(batch);
}

static void
test_stats(void)
{
	TeStats		stats = {0};

	is_int(te_stats_quantile(&stats, 0.5), 0, "no latency yet");
	for (int i = 1; i <= 1000; i++)
		te_stats_latency(&stats, i);
	ok(te_stats_quantile(&stats, 0.5) >= 500 && te_stats_quantile(&stats, 0.5) <= 640,
	   "the median of 1..1000 is about 500");
	ok(te_stats_quantile(&stats, 0.99) >= 990 && te_stats_quantile(&stats, 0.99) <= 1200,
	   "the 99th percentile is about 990");
	te_stats_new_window(&stats);
	is_int(te_stats_quantile(&stats, 0.99), 0, "a new window is empty");
	te_stats_latency(&stats, -1);
	is_int(te_stats_quantile(&stats, 0.5), 0, "an unknown latency does not count");
	te_stats_latency(&stats, INT64_MAX);
	ok(te_stats_quantile(&stats, 0.5) > 1000000, "the longest has a bucket");
	te_stats_new_window(&stats);
	for (int64_t us = 0; us < 100000; us = us * 5 / 4 + 1)
	{
		te_stats_latency(&stats, us);
		uint32_t	edge = te_stats_quantile(&stats, 1.0);

		if (edge < us || edge > us + us / 4)
		{
			ok(false, "%lld falls into the bucket up to %u", (long long) us, edge);
			return;
		}
		te_stats_new_window(&stats);
	}
	ok(true, "every latency falls into a bucket at most a quarter too high");
}

int
main(void)
{
	test_reader();
	test_writer();
	test_batch();
	test_size();
	test_stats();
	return done();
}
