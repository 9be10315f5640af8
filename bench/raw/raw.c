/*
 * raw.c
 *		What the raw librdkafka programs share: options, clocks, figures.
 */
#include "raw.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define MAX_PROPERTIES 64

const char *raw_program = "raw";

static const char *brokers;
static const char *properties[MAX_PROPERTIES];
static int	property_count;

void
raw_die(const char *fmt, ...)
{
	va_list		args;

	fflush(stdout);
	fprintf(stderr, "%s: ", raw_program);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static void
fail_usage(const char *usage, const char *what, const char *which)
{
	if (what != NULL)
		fprintf(stderr, "%s: %s %s\n", raw_program, what, which);
	fprintf(stderr, "usage: %s\n"
			"  -b BROKERS              default: $KAFKA_BOOTSTRAP\n"
			"  -X property=value       a property of librdkafka (repeatable)\n", usage);
	exit(what != NULL ? 2 : 0);
}

int
raw_options(int argc, char **argv, const RawOption *options, const char *usage)
{
	int			plain = 0;

	raw_program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
	brokers = getenv("KAFKA_BOOTSTRAP");

	for (int i = 1; i < argc; i++)
	{
		const char *arg = argv[i];
		const char *value = argv[i + 1];
		const RawOption *option = options;
		char	   *end;

		if (strcmp(arg, "--help") == 0)
			fail_usage(usage, NULL, NULL);
		if (arg[0] != '-')
		{
			argv[plain++] = argv[i];
			continue;
		}
		if (strcmp(arg, "-b") == 0 || strcmp(arg, "-X") == 0)
		{
			if (value == NULL)
				fail_usage(usage, "no value for", arg);
			if (arg[1] == 'b')
				brokers = value;
			else if (property_count == MAX_PROPERTIES || strchr(value, '=') == NULL)
				fail_usage(usage, "bad or too many", arg);
			else
				properties[property_count++] = value;
			i++;
			continue;
		}
		while (option->name != NULL && strcmp(option->name, arg) != 0)
			option++;
		if (option->name == NULL)
			fail_usage(usage, "unknown option", arg);
		if (option->flag != NULL)
		{
			*option->flag = 1;
			continue;
		}
		if (value == NULL)
			fail_usage(usage, "no value for", arg);
		if (option->text != NULL)
			*option->text = value;
		else
		{
			*option->number = strtod(value, &end);
			if (end == value || *end != '\0' || !(*option->number >= 0))
				fail_usage(usage, "not a number for", arg);
		}
		i++;
	}
	if (brokers == NULL || *brokers == '\0')
		fail_usage(usage, "no brokers:", "give -b or set KAFKA_BOOTSTRAP");
	return plain;
}

/*
 * A broker that is away is reported anew at every try, dozens of times a second:
 * what it says is shown at most once a second, and that it was said, never.
 */
static void
log_line(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
	static _Atomic int64_t latest;
	int64_t		now = raw_now();

	(void) rk;
	if (level > 4 || strcmp(facility, "ERROR") == 0 || (latest != 0 && now - latest < 1000000))
		return;
	latest = now;
	fprintf(stderr, "%s: %s: %s\n", raw_program, facility, text);
}

rd_kafka_conf_t *
raw_conf(void)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();

	raw_set(conf, "bootstrap.servers", brokers);
	/* The default waits 10 s between tries at a broker that is coming back. */
	raw_set(conf, "reconnect.backoff.max.ms", "500");
	/* Small messages one by one must not wait for an acknowledgement of TCP's. */
	raw_set(conf, "socket.nagle.disable", "true");
	raw_set(conf, "client.id", raw_program);
	rd_kafka_conf_set_log_cb(conf, log_line);
	return conf;
}

void
raw_set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char		errstr[512];

	if (rd_kafka_conf_set(conf, name, value, errstr, sizeof(errstr)) != RD_KAFKA_CONF_OK)
		raw_die("%s", errstr);
}

void
raw_set_number(rd_kafka_conf_t *conf, const char *name, double value)
{
	char		text[32];

	snprintf(text, sizeof(text), "%.15g", value);
	raw_set(conf, name, text);
}

rd_kafka_t *
raw_client(rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
	char		errstr[512];
	rd_kafka_t *rk;

	for (int i = 0; i < property_count; i++)
	{
		char		name[256];
		const char *equals = strchr(properties[i], '=');

		snprintf(name, sizeof(name), "%.*s", (int) (equals - properties[i]), properties[i]);
		raw_set(conf, name, equals + 1);
	}
	rk = rd_kafka_new(type, conf, errstr, sizeof(errstr));
	if (rk == NULL)
		raw_die("%s", errstr);
	return rk;
}

int
raw_partitions(rd_kafka_t *rk, const char *topic, double timeout)
{
	int64_t		deadline = raw_now() + (int64_t) (timeout * 1e6);
	rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
	const char *why = "";
	int			partitions = 0;

	if (rkt == NULL)
		raw_die("topic %s: %s", topic, rd_kafka_err2str(rd_kafka_last_error()));
	while (partitions == 0)
	{
		const struct rd_kafka_metadata *metadata;
		int64_t		left = (deadline - raw_now()) / 1000;
		rd_kafka_resp_err_t err;

		/* Not more than a second at a time: a lost request costs no more. */
		err = rd_kafka_metadata(rk, 0, rkt, &metadata,
								left < 100 ? 100 : left > 1000 ? 1000 : (int) left);
		if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
		{
			const struct rd_kafka_metadata_topic *t = &metadata->topics[0];

			err = t->err;
			for (int i = 0; i < t->partition_cnt; i++)
				if (t->partitions[i].err == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE)
					err = t->partitions[i].err;
			if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
				partitions = t->partition_cnt;
			rd_kafka_metadata_destroy(metadata);
		}
		why = rd_kafka_err2str(err);
		if (partitions == 0)
		{
			if (raw_now() >= deadline)
				raw_die("topic %s: %s", topic, why);
			raw_sleep_until(raw_now() + 20000);
		}
	}
	rd_kafka_topic_destroy(rkt);
	return partitions;
}

void
raw_offsets(rd_kafka_t *rk, const char *topic, int partition, double timeout,
			int64_t *low, int64_t *high)
{
	int64_t		deadline = raw_now() + (int64_t) (timeout * 1e6);
	rd_kafka_resp_err_t err;

	while ((err = rd_kafka_query_watermark_offsets(rk, topic, partition, low, high, 1000)) !=
		   RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		if (raw_now() >= deadline)
			raw_die("%s [%d]: %s", topic, partition, rd_kafka_err2str(err));
		raw_sleep_until(raw_now() + 20000);
	}
}

static int64_t
clock_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t
raw_now(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

int64_t
raw_epoch(void)
{
	return clock_us(CLOCK_REALTIME);
}

int64_t
raw_cpu(void)
{
	return clock_us(CLOCK_PROCESS_CPUTIME_ID);
}

void
raw_sleep_until(int64_t when)
{
	struct timespec ts = {.tv_sec = when / 1000000, .tv_nsec = when % 1000000 * 1000};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

double
raw_peak_rss(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss / 1024.0;
}

static int
compare(const void *a, const void *b)
{
	int64_t		x = *(const int64_t *) a;
	int64_t		y = *(const int64_t *) b;

	return (x > y) - (x < y);
}

void
raw_sort(int64_t *values, size_t count)
{
	qsort(values, count, sizeof(*values), compare);
}

int64_t
raw_percentile(const int64_t *sorted, size_t count, double percent)
{
	size_t		rank;

	if (count == 0)
		return 0;
	rank = (size_t) (percent / 100 * (double) count);
	return sorted[rank < count ? rank : count - 1];
}

#define NUMBER_AT 5				/* after {"n": */
#define NUMBER_DIGITS 12

void
raw_fill(char *buffer, size_t size, uint64_t seed)
{
	static const char *const words[] = {
		"\"title\":\"buy milk\",", "\"status\":\"pending\",", "\"description\":null,",
		"\"user_id\":\"", "\",\"tags\":[\"home\",\"shop\"],",
		"\"due_at\":\"2031-05-06T07:08:09Z\",",
		"\"priority\":\"normal\",", "\"sequence\":"
	};
	uint64_t	state = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
	size_t		used = 0;

	while (used < size)
	{
		char		piece[96];
		size_t		length;

		/* xorshift: the hexadecimal of ids is what does not compress in an event */
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		if (used == 0)
			length = (size_t) snprintf(piece, sizeof(piece), "{\"n\":%0*d,", NUMBER_DIGITS, 0);
		else
			length = (size_t) snprintf(piece, sizeof(piece), "%s%016llx", words[state % 8],
									   (unsigned long long) state);
		if (length > size - used)
			length = size - used;
		memcpy(buffer + used, piece, length);
		used += length;
	}
}

void
raw_number(char *buffer, size_t size, uint64_t number)
{
	if (size < NUMBER_AT + NUMBER_DIGITS)
		return;
	for (int i = NUMBER_DIGITS - 1; i >= 0; i--, number /= 10)
		buffer[NUMBER_AT + i] = (char) ('0' + number % 10);
}

uint64_t
raw_read_number(const char *buffer, size_t size)
{
	uint64_t	number = 0;

	if (size < NUMBER_AT + NUMBER_DIGITS)
		return UINT64_MAX;
	for (int i = 0; i < NUMBER_DIGITS; i++)
		number = number * 10 + (uint64_t) (buffer[NUMBER_AT + i] - '0');
	return number;
}
