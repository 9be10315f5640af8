/*
 * raw.h
 *		What the raw librdkafka programs share: options, clocks, figures.
 */
#ifndef RAW_H
#define RAW_H

#include <stddef.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

/* The program's name, for messages; set by raw_options(). */
extern const char *raw_program;

/* Prints "program: message" and exits with 1. */
extern void raw_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/*
 * An option of a program: "--name VALUE" stores the text in *text or the number
 * in *number, "--name" without a value sets *flag. Exactly one of the three is
 * given.
 */
typedef struct RawOption
{
	const char *name;
	const char **text;
	double	   *number;
	int		   *flag;
} RawOption;

/*
 * Parses argv with the program's options, and for all programs -b BROKERS
 * (default: $KAFKA_BOOTSTRAP) and -X property=value for librdkafka. Returns the
 * number of plain arguments, moved to the front of argv. On a mistake, and for
 * --help, prints usage and exits.
 */
extern int	raw_options(int argc, char **argv, const RawOption *options, const char *usage);

/* A configuration with the brokers in it; raw_set() dies on a bad value. */
extern rd_kafka_conf_t *raw_conf(void);
extern void raw_set(rd_kafka_conf_t *conf, const char *name, const char *value);
extern void raw_set_number(rd_kafka_conf_t *conf, const char *name, double value);

/*
 * Makes the client. The user's -X are applied here, so that they win over what
 * the program has set.
 */
extern rd_kafka_t *raw_client(rd_kafka_type_t type, rd_kafka_conf_t *conf);

/*
 * The topic's number of partitions; waits up to `timeout` seconds for it to
 * exist and have leaders, and dies, with the reason, if it does not.
 */
extern int	raw_partitions(rd_kafka_t *rk, const char *topic, double timeout);

/*
 * The first and the next offset of a partition. Waits up to `timeout` seconds for
 * a broker that serves it: one that has just created a topic, or started, says
 * for a moment that it does not. Dies, with the reason, if none does.
 */
extern void raw_offsets(rd_kafka_t *rk, const char *topic, int partition, double timeout,
						int64_t *low, int64_t *high);

/* Microseconds: of the monotonic clock, since the epoch, and of CPU used so far. */
extern int64_t raw_now(void);
extern int64_t raw_epoch(void);
extern int64_t raw_cpu(void);

/* Sleeps until the monotonic clock shows this. */
extern void raw_sleep_until(int64_t when);

/* The largest resident set so far, in MB. */
extern double raw_peak_rss(void);

/* Sorts the values and gives the one that `percent` of them do not exceed. */
extern void raw_sort(int64_t *values, size_t count);
extern int64_t raw_percentile(const int64_t *sorted, size_t count, double percent);

/*
 * Fills a message of `size` bytes that reads and compresses like a task's event
 * and begins with {"n":<twelve digits>. raw_number() changes those digits, so that
 * no two messages made from one text are the same.
 */
extern void raw_fill(char *buffer, size_t size, uint64_t seed);
extern void raw_number(char *buffer, size_t size, uint64_t number);
extern uint64_t raw_read_number(const char *buffer, size_t size);

#endif
