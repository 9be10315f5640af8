/*
 * raw_consume.c
 *		Reads topics and writes one line a message, or only counts.
 *
 * A line has six fields, separated by tabs (seven with --headers):
 *
 *	topic  partition  offset  key  received  [headers]  value
 *
 * received is in microseconds since the epoch, taken when librdkafka handed the
 * message over. A missing key is empty, a missing value (a tombstone) is \N.
 * Tabs and newlines in a key or a header are written as \t and \n. A newline in
 * a value is written as a space, which means the same in JSON; everything else
 * of a value is as it was sent. headers are name=value, separated by commas.
 *
 * Nothing is held back: all lines are written before the program waits for the
 * next message. No consumer group is used, so nothing is left in the broker and
 * two readers never share. Offsets out of range are an error, not a jump, so
 * what was not read is not overlooked.
 *
 * "ready" on standard error says that the positions are fixed: with --from end,
 * every message produced after that is shown, and none produced before.
 *
 * The last line on standard error (with --quiet-count: on standard output) is
 *
 *	count=500000 bytes=350000000 seconds=1.873 rate=266951
 *
 * where seconds run from the first message to the last.
 *
 * It ends with exit code 0 after --count messages, at the end of all partitions
 * (--until-end), after --idle-exit seconds without a message, or at SIGTERM or
 * SIGINT; with 1 on an error, and when --timeout seconds did not bring --count
 * messages.
 */
#include "raw.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TOPICS 32
#define BATCH 1000

static volatile sig_atomic_t stopped;

static uint64_t count;
static uint64_t bytes;
static int64_t first;
static int64_t last;

static void
stop(int signo)
{
	(void) signo;
	stopped = 1;
}

static void
ready_to_stop(void)
{
	struct sigaction action = {.sa_handler = stop};

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
}

/* The log shows what goes wrong on the way; only a fatal error ends us. */
static void
client_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
	(void) rk;
	(void) opaque;
	if (err == RD_KAFKA_RESP_ERR__FATAL)
		raw_die("%s", reason);
}

static void
put_escaped(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
	{
		if (text[i] == '\t')
			fputs("\\t", stdout);
		else if (text[i] == '\n')
			fputs("\\n", stdout);
		else
			putc_unlocked(text[i], stdout);
	}
}

static void
put_headers(const rd_kafka_message_t *message)
{
	rd_kafka_headers_t *headers;
	const char *name;
	const void *value;
	size_t		size;

	if (rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		for (size_t i = 0;
			 !rd_kafka_header_get_all(headers, i, &name, &value, &size); i++)
		{
			if (i > 0)
				putc_unlocked(',', stdout);
			put_escaped(name, strlen(name));
			putc_unlocked('=', stdout);
			put_escaped(value ? value : "", value ? size : 0);
		}
	}
	putc_unlocked('\t', stdout);
}

static void
put_message(const rd_kafka_message_t *message, int64_t received, bool headers)
{
	const char *value = message->payload;
	const char *end = value + message->len;

	printf("%s\t%d\t%lld\t", rd_kafka_topic_name(message->rkt), (int) message->partition,
		   (long long) message->offset);
	put_escaped(message->key, message->key_len);
	printf("\t%lld\t", (long long) received);
	if (headers)
		put_headers(message);
	if (value == NULL)
		fputs("\\N", stdout);
	while (value != NULL && value < end)
	{
		const char *newline = memchr(value, '\n', (size_t) (end - value));
		const char *stop_at = newline ? newline : end;

		fwrite(value, 1, (size_t) (stop_at - value), stdout);
		if (newline != NULL)
			putc_unlocked(' ', stdout);
		value = newline ? newline + 1 : end;
	}
	putc_unlocked('\n', stdout);
}

/*
 * What is no message: the end of a partition, or an error. True at an end seen
 * for the first time: a partition that is written to meanwhile has many.
 */
static bool
look_at_event(const rd_kafka_message_t *message, rd_kafka_topic_t *const *rkts, bool *const *ended)
{
	if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
	{
		bool	   *mine;
		int			topic = 0;
		bool		first;

		while (rkts[topic] != message->rkt)
			topic++;
		mine = &ended[topic][message->partition];
		first = !*mine;
		*mine = true;
		return first;
	}
	if (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
		message->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
		message->err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ||
		message->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
		raw_die("%s [%d]: %s", message->rkt ? rd_kafka_topic_name(message->rkt) : "",
				(int) message->partition, rd_kafka_message_errstr(message));
	fprintf(stderr, "%s: %s\n", raw_program, rd_kafka_message_errstr(message));
	return false;
}

/* Starts reading all partitions of a topic into the queue; returns how many. */
static int
start_topic(rd_kafka_t *rk, rd_kafka_topic_t *rkt, bool from_end, double timeout,
			rd_kafka_queue_t *queue)
{
	const char *topic = rd_kafka_topic_name(rkt);
	int			partitions = raw_partitions(rk, topic, timeout);

	for (int i = 0; i < partitions; i++)
	{
		int64_t		low;
		int64_t		high;

		/*
		 * A number, not "end": the broker looks "end" up when the first fetch
		 * reaches it, which would be after we have said that we are ready.
		 */
		raw_offsets(rk, topic, i, timeout, &low, &high);
		if (rd_kafka_consume_start_queue(rkt, i, from_end ? high : low, queue) != 0)
			raw_die("%s [%d]: %s", topic, i, rd_kafka_err2str(rd_kafka_last_error()));
	}
	return partitions;
}

int
main(int argc, char **argv)
{
	const char *from = "beginning";
	double		wanted = 0;
	double		idle_exit = 0;
	double		timeout = 0;
	double		topic_timeout = 10;
	int			until_end = 0;
	int			quiet = 0;
	int			headers = 0;
	const RawOption options[] = {
		{"--from", &from, NULL, NULL},
		{"--count", NULL, &wanted, NULL},
		{"--idle-exit", NULL, &idle_exit, NULL},
		{"--timeout", NULL, &timeout, NULL},
		{"--topic-timeout", NULL, &topic_timeout, NULL},
		{"--until-end", NULL, NULL, &until_end},
		{"--quiet-count", NULL, NULL, &quiet},
		{"--headers", NULL, NULL, &headers},
		{0}
	};
	const char *usage =
		"raw_consume TOPIC ... [option ...]\n"
		"  --from beginning|end    (beginning)\n"
		"  --count N               end after N messages\n"
		"  --until-end             end when all partitions are read\n"
		"  --idle-exit SECONDS     end after so long without a message\n"
		"  --timeout SECONDS       end after so long; an error with --count\n"
		"  --topic-timeout SECONDS for a topic to exist (10)\n"
		"  --headers               show headers\n"
		"  --quiet-count           write no messages, only count them";
	int			topics = raw_options(argc, argv, options, usage);
	rd_kafka_topic_t *rkts[MAX_TOPICS];
	int			partitions[MAX_TOPICS];
	bool	   *ended[MAX_TOPICS];
	int			all_partitions = 0;
	int			ends = 0;
	rd_kafka_message_t *batch[BATCH];
	rd_kafka_conf_t *conf;
	rd_kafka_t *rk;
	rd_kafka_queue_t *queue;
	int64_t		begin;
	int64_t		latest;
	double		seconds;
	bool		done = false;
	bool		timed_out = false;
	FILE	   *report = quiet ? stdout : stderr;

	if (topics == 0 || topics > MAX_TOPICS)
		raw_die("between 1 and %d topics are wanted (see --help)", MAX_TOPICS);
	if (strcmp(from, "beginning") != 0 && strcmp(from, "end") != 0)
		raw_die("--from is beginning or end, not %s", from);

	conf = raw_conf();
	raw_set(conf, "enable.partition.eof", until_end ? "true" : "false");
	raw_set(conf, "auto.offset.reset", "error");
	raw_set(conf, "enable.auto.commit", "false");
	raw_set(conf, "fetch.wait.max.ms", "100");
	/* the default pause when the local queue is full, 1 s, costs half the speed */
	raw_set(conf, "fetch.queue.backoff.ms", "1");
	rd_kafka_conf_set_error_cb(conf, client_error);
	rk = raw_client(RD_KAFKA_CONSUMER, conf);
	queue = rd_kafka_queue_new(rk);
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);

	for (int i = 0; i < topics; i++)
	{
		rkts[i] = rd_kafka_topic_new(rk, argv[i], NULL);
		partitions[i] = start_topic(rk, rkts[i], strcmp(from, "end") == 0, topic_timeout, queue);
		ended[i] = calloc((size_t) partitions[i], sizeof(bool));
		all_partitions += partitions[i];
	}
	ready_to_stop();
	fputs("ready\n", stderr);

	begin = latest = raw_now();
	while (!stopped && !done)
	{
		/* The first with a wait, the rest with none: a batch call waits to be full. */
		rd_kafka_message_t *one = rd_kafka_consume_queue(queue, 50);
		ssize_t		got = 0;
		int64_t		received;

		rd_kafka_poll(rk, 0);
		if (one != NULL)
		{
			batch[0] = one;
			got = rd_kafka_consume_batch_queue(queue, 0, batch + 1, BATCH - 1);
			got = got < 0 ? 1 : got + 1;
		}
		received = raw_epoch();
		for (ssize_t i = 0; i < got; i++)
		{
			rd_kafka_message_t *message = batch[i];

			if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
			{
				ends += look_at_event(message, rkts, ended);
				done = done || (until_end && ends >= all_partitions);
			}
			else if (!(wanted > 0 && count >= (uint64_t) wanted))
			{
				if (!quiet)
					put_message(message, received, headers != 0);
				count++;
				bytes += message->len;
				last = latest = raw_now();
				if (count == 1)
					first = last;
				done = done || (wanted > 0 && count >= (uint64_t) wanted);
			}
			rd_kafka_message_destroy(message);
		}
		if (got > 0 && !quiet && fflush(stdout) != 0)
			break;				/* whoever read our lines has gone */
		if (idle_exit > 0 && (double) (raw_now() - latest) > idle_exit * 1e6)
			done = true;
		if (!done && timeout > 0 && (double) (raw_now() - begin) > timeout * 1e6)
			done = timed_out = true;
	}

	seconds = (double) (last - first) / 1e6;
	fprintf(report, "count=%llu bytes=%llu seconds=%.3f rate=%.0f\n",
			(unsigned long long) count, (unsigned long long) bytes, seconds,
			seconds > 0 ? (double) count / seconds : 0);
	fflush(report);
	if (timed_out && wanted > 0)
		raw_die("%llu messages of %.0f within %g s", (unsigned long long) count, wanted, timeout);
	if (ferror(stdout))
		raw_die("cannot write");

	for (int i = 0; i < topics; i++)
	{
		for (int j = 0; j < partitions[i]; j++)
			rd_kafka_consume_stop(rkts[i], j);
		rd_kafka_topic_destroy(rkts[i]);
		free(ended[i]);
	}
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy(rk);
	return 0;
}
