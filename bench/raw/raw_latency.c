/*
 * raw_latency.c
 *		How long a message takes from the call that produces it to the
 *		acknowledgement and to a consumer: the floor that the product is
 *		measured against.
 *
 * Producer and consumer are two librdkafka clients of one process, so that both
 * ends read the same clock. The last line of the output is
 *
 *	msgs=2000 rate=200 ack_p50_ms=0.31 ack_p99_ms=2.4 ack_max_ms=4.0
 *	p50_ms=0.42 p99_ms=3.1 max_ms=5.2 lost=0
 *
 * on one line, where the unprefixed figures are produce -> consumer.
 */
#include "raw.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t *sent;			/* by number: produced, acknowledged, consumed */
static int64_t *acked;
static int64_t *seen;
static size_t total;
static atomic_size_t consumed;
static atomic_bool finished;

static rd_kafka_t *consumer;
static rd_kafka_queue_t *queue;

static void
delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	int64_t		now = raw_now();
	size_t		number = (size_t) (uintptr_t) message->_private;

	(void) rk;
	(void) opaque;
	if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
		raw_die("message %zu failed: %s", number, rd_kafka_err2str(message->err));
	acked[number] = now;
}

static void *
consume(void *arg)
{
	(void) arg;
	while (!atomic_load(&finished))
	{
		rd_kafka_message_t *message = rd_kafka_consume_queue(queue, 100);
		int64_t		now = raw_now();

		if (message == NULL)
			continue;
		if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
		{
			uint64_t	number = raw_read_number(message->payload, message->len);

			if (number < total && seen[number] == 0)
			{
				seen[number] = now;
				atomic_fetch_add(&consumed, 1);
			}
		}
		else
			raw_die("cannot consume: %s", rd_kafka_message_errstr(message));
		rd_kafka_message_destroy(message);
	}
	return NULL;
}

/* Fixes the consumer's position at the end of every partition. */
static rd_kafka_topic_t *
start_consumer(const char *topic, int partitions)
{
	rd_kafka_conf_t *conf = raw_conf();
	rd_kafka_topic_t *rkt;

	raw_set(conf, "fetch.wait.max.ms", "500");
	raw_set(conf, "fetch.min.bytes", "1");
	raw_set(conf, "enable.auto.commit", "false");
	consumer = raw_client(RD_KAFKA_CONSUMER, conf);
	queue = rd_kafka_queue_new(consumer);
	rkt = rd_kafka_topic_new(consumer, topic, NULL);
	for (int i = 0; i < partitions; i++)
	{
		int64_t		low;
		int64_t		high;

		raw_offsets(consumer, topic, i, 10, &low, &high);
		if (rd_kafka_consume_start_queue(rkt, i, high, queue) != 0)
			raw_die("%s [%d]: %s", topic, i, rd_kafka_err2str(rd_kafka_last_error()));
	}
	return rkt;
}

/* Serves acknowledgements until the clock shows this. */
static void
poll_until(rd_kafka_t *producer, int64_t when)
{
	int64_t		left;

	while ((left = when - raw_now()) >= 1000)
		rd_kafka_poll(producer, (int) (left / 1000));
	raw_sleep_until(when);
	rd_kafka_poll(producer, 0);
}

int
main(int argc, char **argv)
{
	const char *topic = NULL;
	double		count = 2000;
	double		warmup = 200;
	double		size = 700;
	double		rate = 200;
	double		linger = 0;
	double		keys = 1000;
	const RawOption options[] = {
		{"--topic", &topic, NULL, NULL},
		{"--count", NULL, &count, NULL},
		{"--warm-up", NULL, &warmup, NULL},
		{"--size", NULL, &size, NULL},
		{"--rate", NULL, &rate, NULL},
		{"--linger", NULL, &linger, NULL},
		{"--keys", NULL, &keys, NULL},
		{0}
	};
	rd_kafka_conf_t *conf;
	rd_kafka_t *producer;
	rd_kafka_topic_t *rkt;
	rd_kafka_topic_t *consumer_rkt;
	int			partitions;
	pthread_t	thread;
	char	   *value;
	int64_t    *acks;
	int64_t    *ends;
	int64_t		begin;
	int64_t		deadline;
	size_t		arrived = 0;
	size_t		skip;

	if (raw_options(argc, argv, options,
					"raw_latency --topic TOPIC [option ...]\n"
					"  --count N               messages that are measured (2000)\n"
					"  --warm-up N             messages before those (200)\n"
					"  --rate N                a second (200)\n"
					"  --size BYTES            of a message's value (700)\n"
					"  --keys N                different keys, in turn; 0: no key (1000)\n"
					"  --linger MS             linger.ms (0)") != 0 ||
		topic == NULL || size < 32 || rate <= 0 || count < 1)
		raw_die("--topic is missing, or a number is too small (see --help)");

	skip = (size_t) warmup;
	total = (size_t) count + skip;
	sent = calloc(total, sizeof(*sent));
	acked = calloc(total, sizeof(*acked));
	seen = calloc(total, sizeof(*seen));
	acks = calloc(total, sizeof(*acks));
	ends = calloc(total, sizeof(*ends));
	value = malloc((size_t) size);
	if (!sent || !acked || !seen || !acks || !ends || !value)
		raw_die("out of memory");

	conf = raw_conf();
	raw_set(conf, "enable.idempotence", "true");
	raw_set(conf, "acks", "all");
	raw_set_number(conf, "linger.ms", linger);
	raw_set(conf, "partitioner", "murmur2_random");
	rd_kafka_conf_set_dr_msg_cb(conf, delivered);
	producer = raw_client(RD_KAFKA_PRODUCER, conf);
	partitions = raw_partitions(producer, topic, 10);
	rkt = rd_kafka_topic_new(producer, topic, NULL);
	consumer_rkt = start_consumer(topic, partitions);
	if (pthread_create(&thread, NULL, consume, NULL) != 0)
		raw_die("cannot start a thread");

	begin = raw_now();
	for (size_t i = 0; i < total; i++)
	{
		char		key[32];
		int			key_length = 0;

		if (keys > 0)
			key_length = snprintf(key, sizeof(key), "key-%llu",
								  (unsigned long long) (i % (uint64_t) keys));
		raw_fill(value, (size_t) size, i);
		raw_number(value, (size_t) size, i);
		poll_until(producer, begin + (int64_t) ((double) i * 1e6 / rate));
		sent[i] = raw_now();
		if (rd_kafka_produce(rkt, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, value,
							 (size_t) size, key_length > 0 ? key : NULL, (size_t) key_length,
							 (void *) (uintptr_t) i) != 0)
			raw_die("cannot produce: %s", rd_kafka_err2str(rd_kafka_last_error()));
	}
	rd_kafka_flush(producer, 10000);
	deadline = raw_now() + 10000000;
	while (atomic_load(&consumed) < total && raw_now() < deadline)
		raw_sleep_until(raw_now() + 5000);
	atomic_store(&finished, true);
	pthread_join(thread, NULL);

	for (size_t i = skip; i < total; i++)
	{
		if (acked[i] == 0 || seen[i] == 0)
			continue;
		acks[arrived] = acked[i] - sent[i];
		ends[arrived++] = seen[i] - sent[i];
	}
	raw_sort(acks, arrived);
	raw_sort(ends, arrived);
	printf("msgs=%zu rate=%g ack_p50_ms=%.3f ack_p99_ms=%.3f ack_max_ms=%.3f "
		   "p50_ms=%.3f p99_ms=%.3f max_ms=%.3f lost=%zu\n", arrived, rate,
		   (double) raw_percentile(acks, arrived, 50) / 1e3,
		   (double) raw_percentile(acks, arrived, 99) / 1e3,
		   (double) raw_percentile(acks, arrived, 100) / 1e3,
		   (double) raw_percentile(ends, arrived, 50) / 1e3,
		   (double) raw_percentile(ends, arrived, 99) / 1e3,
		   (double) raw_percentile(ends, arrived, 100) / 1e3,
		   total - skip - arrived);
	fflush(stdout);

	for (int i = 0; i < partitions; i++)
		rd_kafka_consume_stop(consumer_rkt, i);
	rd_kafka_topic_destroy(consumer_rkt);
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy(consumer);
	rd_kafka_topic_destroy(rkt);
	rd_kafka_destroy(producer);
	return total - skip == arrived ? 0 : 1;
}
