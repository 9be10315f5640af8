/*
 * raw_produce.c
 *		Produces messages as fast as librdkafka can, or at a rate, with the
 *		guarantees that the product gives: idempotent, acknowledged by all.
 *
 * The last line of the output is one of name=value pairs:
 *
 *	msgs=500000 failed=0 seconds=2.113 rate=236630 cpu_us=4.41 rss_mb=118.2
 *
 * seconds run from the first message to the last acknowledgement, cpu_us is the
 * CPU time a message of the whole process, librdkafka's threads included. Every
 * message is different (its number, from 0, is in it), though the rest of the
 * text comes from a prepared block: making text is not what is measured.
 */
#include "raw.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREPARED 1024			/* different messages in full-speed mode */

static uint64_t acknowledged;
static uint64_t failed;
static rd_kafka_resp_err_t first_error;

static void
delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	(void) rk;
	(void) opaque;
	acknowledged++;
	if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR && failed++ == 0)
		first_error = message->err;
}

int
main(int argc, char **argv)
{
	const char *topic = NULL;
	const char *codec = "none";
	double		count = 100000;
	double		size = 700;
	double		rate = 0;
	double		linger = 0;
	double		batch = 0;
	double		keys = 1000;
	double		timeout = 60;
	const RawOption options[] = {
		{"--topic", &topic, NULL, NULL},
		{"--codec", &codec, NULL, NULL},
		{"--count", NULL, &count, NULL},
		{"--size", NULL, &size, NULL},
		{"--rate", NULL, &rate, NULL},
		{"--linger", NULL, &linger, NULL},
		{"--batch", NULL, &batch, NULL},
		{"--keys", NULL, &keys, NULL},
		{"--timeout", NULL, &timeout, NULL},
		{0}
	};
	rd_kafka_conf_t *conf;
	rd_kafka_t *rk;
	rd_kafka_topic_t *rkt;
	char	   *block;
	int64_t		begin;
	int64_t		cpu;
	double		seconds;

	if (raw_options(argc, argv, options,
					"raw_produce --topic TOPIC [option ...]\n"
					"  --count N               messages (100000)\n"
					"  --size BYTES            of a message's value (700)\n"
					"  --rate N                a second; 0: as fast as possible (0)\n"
					"  --keys N                different keys, in turn; 0: no key (1000)\n"
					"  --linger MS             linger.ms (0)\n"
					"  --batch BYTES           batch.size; 0: librdkafka's default\n"
					"  --codec NAME            none, lz4, snappy, gzip (none)\n"
					"  --timeout SECONDS       for the topic, and for the last ones (60)") != 0 ||
		topic == NULL || size < 1)
		raw_die("--topic is missing, or something is too much (see --help)");

	conf = raw_conf();
	raw_set(conf, "enable.idempotence", "true");
	raw_set(conf, "acks", "all");
	raw_set_number(conf, "linger.ms", linger);
	raw_set(conf, "compression.codec", codec);
	raw_set(conf, "partitioner", "murmur2_random");
	if (batch > 0)
		raw_set_number(conf, "batch.size", batch);
	rd_kafka_conf_set_dr_msg_cb(conf, delivered);
	rk = raw_client(RD_KAFKA_PRODUCER, conf);
	raw_partitions(rk, topic, timeout);
	rkt = rd_kafka_topic_new(rk, topic, NULL);

	block = malloc((size_t) size * PREPARED);
	if (block == NULL)
		raw_die("out of memory");
	for (uint64_t i = 0; i < PREPARED; i++)
		raw_fill(block + i * (size_t) size, (size_t) size, i);

	begin = raw_now();
	cpu = raw_cpu();
	for (uint64_t i = 0; i < (uint64_t) count; i++)
	{
		char		key[32];
		int			key_length = 0;
		char	   *value = block + i % PREPARED * (size_t) size;

		if (keys > 0)
			key_length = snprintf(key, sizeof(key), "key-%llu",
								  (unsigned long long) (i % (uint64_t) keys));
		raw_number(value, (size_t) size, i);
		if (rate > 0)
		{
			while (rd_kafka_poll(rk, 0) > 0)
				;
			raw_sleep_until(begin + (int64_t) ((double) i * 1e6 / rate));
		}
		while (rd_kafka_produce(rkt, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY,
								value, (size_t) size, key_length > 0 ? key : NULL,
								(size_t) key_length, NULL) != 0)
		{
			if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
				raw_die("cannot produce: %s", rd_kafka_err2str(rd_kafka_last_error()));
			rd_kafka_poll(rk, 10);
		}
		if (i % 64 == 0)
			rd_kafka_poll(rk, 0);
	}
	if (rd_kafka_flush(rk, (int) (timeout * 1000)) != RD_KAFKA_RESP_ERR_NO_ERROR)
		raw_die("%d messages were not acknowledged within %g s", rd_kafka_outq_len(rk), timeout);
	seconds = (double) (raw_now() - begin) / 1e6;
	cpu = raw_cpu() - cpu;

	printf("msgs=%llu failed=%llu seconds=%.3f rate=%.0f cpu_us=%.2f rss_mb=%.1f\n",
		   (unsigned long long) acknowledged, (unsigned long long) failed, seconds,
		   (double) (acknowledged - failed) / seconds,
		   (double) cpu / (double) (acknowledged > 0 ? acknowledged : 1), raw_peak_rss());
	if (failed > 0)
		raw_die("%llu messages failed, the first with: %s", (unsigned long long) failed,
				rd_kafka_err2str(first_error));
	fflush(stdout);
	rd_kafka_topic_destroy(rkt);
	rd_kafka_destroy(rk);
	free(block);
	return 0;
}
