/*-------------------------------------------------------------------------
 *
 * producer.c
 *	  Role "producer": PUBLISH frames in, messages to Kafka, ACK frames out.
 *
 * One loop, one thread: it waits for the pair, for the library's events, and
 * for the next thing due, and does nothing in between.  Memory is bounded by
 * what is read: while more than WINDOW_BYTES of batches are unsettled, the
 * pair is not read, and the worker's writes stop by themselves.
 *
 *-------------------------------------------------------------------------
 */
#include "producer.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "broker.h"
#include "config.h"
#include "memory.h"
#include "report.h"
#include "stats.h"
#include "topics.h"

#define MS				INT64_C(1000)
#define WINDOW_BYTES	((size_t) 24 * 1024 * 1024)
#define OUTPUT_LIMIT	((size_t) 1024 * 1024)	/* a worker that does not read is not read from */
#define READS_A_TURN	16
#define EVENTS_A_TURN	256
#define STATS_EVERY		(1000 * MS)
#define LOG_LINES		20		/* of the library's own, in LOG_PERIOD */
#define LOG_PERIOD		(60000 * MS)

typedef struct TeProducer
{
	int			fd;
	TeReader	reader;
	TeWriter	out;
	bool		greeted;
	TeConfig	config;
	TeKafka    *kafka;			/* NULL before CONFIG */
	TeBroker	broker;
	TeTopics	topics;

	uint64_t	last_batch;
	size_t		held;			/* bytes of unsettled batches */
	uint64_t	open;			/* unsettled targets */

	TeStats		stats;
	uint64_t	stats_told;		/* settled, as of the last STATS */
	int64_t		stats_due;

	int			log_lines;
	char		last_log[512];
	int64_t		log_period_end;
} TeProducer;

static int64_t
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000) + ts.tv_nsec / 1000;
}

static _Noreturn void
give_up(TeProducer *producer, const char *component, const char *message, const char *hint,
		int status)
{
	te_report_status(&producer->out, TE_LEVEL_ERROR, component, message, hint);
	te_report_exit(&producer->out, producer->fd, status);
}

static _Noreturn void
bad_frame(TeProducer *producer, const char *what, uint16_t type)
{
	te_report_log(&producer->out, TE_LEVEL_ERROR, "bad frame from the worker: %s (type %u)", what,
				  type);
	te_report_exit(&producer->out, producer->fd, TE_IO_EXIT_WIRE);
}

/* ---- what topics.c tells -------------------------------------------- */

static void
acknowledge(TeProducer *producer, TeBatch *batch)
{
	char	   *p = te_writer_begin(&producer->out, 8);

	p = te_wire_put_u64(p, batch->number);
	te_writer_end(&producer->out, TE_FRAME_ACK, p);
	producer->held -= batch->bytes;
	te_batch_free(batch);
}

static void
on_done(void *arg, TeTarget *target, int code, const char *reason)
{
	TeProducer *producer = arg;
	TeBatch    *batch = target->batch;

	if (code == 0)
	{
		producer->stats.acked++;
		producer->stats.bytes += target->message->value.len + target->key.len;
	}
	else
	{
		char	   *p = te_writer_begin(&producer->out, 8 + 8 + 2 + 4 + 4 +
										2 * (4 + TE_REPORT_MAX_TEXT));

		p = te_wire_put_u64(p, batch->number);
		p = te_wire_put_u64(p, target->message->event);
		p = te_wire_put_u16(p, target->topic);
		p = te_wire_put(p, &(int32_t) {code}, sizeof(int32_t));
		p = te_report_put_text(p, te_kafka_code_name(code));
		p = te_report_put_text(p, reason);
		p = te_wire_put_u32(p, target->attempts ? target->attempts : 1);
		te_writer_end(&producer->out, TE_FRAME_REFUSED, p);
		producer->stats.refused++;
	}
	producer->open--;
	if (--batch->open == 0)
		acknowledge(producer, batch);
}

static void
on_topic_state(void *arg, const TeTopic *topic)
{
	TeProducer *producer = arg;
	char	   *p = te_writer_begin(&producer->out, 2 + 1 + 4 + 8 + 8 + 4 + TE_REPORT_MAX_TEXT);

	p = te_wire_put_u16(p, topic->number);
	p = te_wire_put_u8(p, (uint8_t) topic->state);
	p = te_wire_put(p, &topic->partitions, sizeof(int32_t));
	p = te_wire_put(p, &topic->retention, sizeof(int64_t));
	p = te_wire_put(p, &topic->max_message_bytes, sizeof(int64_t));
	p = te_report_put_text(p, topic->difference);
	te_writer_end(&producer->out, TE_FRAME_TOPIC_STATE, p);
}

/* ---- what the library tells ----------------------------------------- */

static _Noreturn void
on_fatal(void *arg, const char *reason)
{
	char		message[700];

	snprintf(message, sizeof(message), "the Kafka producer has to start afresh: %s", reason);
	give_up(arg, "broker", message, "This happens by itself; nothing is lost.",
			TE_IO_EXIT_RESTART);
}

static void
on_settled(void *arg, TeTarget *target, int code, const char *reason, int64_t latency_us)
{
	TeProducer *producer = arg;

	if (te_kafka_verdict(code) == TE_VERDICT_RESTART)
		on_fatal(producer, reason);
	if (code == 0)
		te_stats_latency(&producer->stats, latency_us);
	/* an answer, even a refusal, is a sign of life; what the library gave up itself is not */
	if (code >= 0)
		te_broker_alive(&producer->broker, producer->topics.now);
	te_topics_settled(&producer->topics, target, code, reason);
}

static void
on_topic_facts(void *arg, TeAdminOp op, const TeTopicFacts *facts)
{
	TeProducer *producer = arg;

	te_topics_facts(&producer->topics, op, facts);
}

static void
on_admin_done(void *arg, TeAdminOp op, int code, const char *reason)
{
	TeProducer *producer = arg;

	if (code >= 0)
		te_broker_alive(&producer->broker, producer->topics.now);
	te_topics_admin_done(&producer->topics, op, code, reason);
}

static void
on_trouble(void *arg, const TeTrouble *trouble)
{
	TeProducer *producer = arg;

	te_broker_trouble(&producer->broker, trouble, producer->topics.now);
	/* the answer to a question tells "all gone" from "only idle", and when they are back */
	if (trouble->all_down)
		te_topics_look_again(&producer->topics);
}

static void
on_log(void *arg, TeWireLevel level, const char *text)
{
	TeProducer *producer = arg;
	int64_t		now = producer->topics.now;

	if (now >= producer->log_period_end)
	{
		producer->log_period_end = now + LOG_PERIOD;
		producer->log_lines = 0;
	}
	if (level == TE_LEVEL_INFO)
	{
		/* asked for, so no fewer than the worker takes */
		if (te_writer_pending(&producer->out) >= OUTPUT_LIMIT)
			return;
	}
	else
	{
		/* the library repeats itself at every try */
		if (strcmp(text, producer->last_log) == 0 || ++producer->log_lines > LOG_LINES)
			return;
		snprintf(producer->last_log, sizeof(producer->last_log), "%s", text);
	}
	te_report_log(&producer->out, level, "librdkafka: %s", text);
}

static const TeKafkaEvents kafka_events = {
	.settled = on_settled,
	.topic = on_topic_facts,
	.admin_done = on_admin_done,
	.trouble = on_trouble,
	.log = on_log,
	.fatal = on_fatal,
};

/* ---- frames --------------------------------------------------------- */

static void
hello_frame(TeProducer *producer, const TeFrame *frame)
{
	TeWireIn	in = te_wire_in(frame->body, frame->len);
	uint32_t	version = te_wire_get_u32(&in);
	TeWireStr	build = te_wire_get_str(&in);
	char		message[300];

	te_wire_get_str(&in);		/* the role we were started as */
	if (!te_wire_done(&in) || build.data == NULL)
		bad_frame(producer, "malformed HELLO", frame->type);
	if (version != TE_WIRE_VERSION || build.len != strlen(TE_VERSION) ||
		memcmp(build.data, TE_VERSION, build.len) != 0)
	{
		snprintf(message, sizeof(message), "the worker (build %.*s, frames %u) and todo_events_io "
				 "(build %s, frames %d) do not match", build.len > 64 ? 64 : (int) build.len,
				 build.data, version, TE_VERSION, TE_WIRE_VERSION);
		give_up(producer, "configuration", message,
				"Install both from one build of todo_events, then restart the server.",
				TE_IO_EXIT_WIRE);
	}
	producer->greeted = true;
}

static void
config_frame(TeProducer *producer, const TeFrame *frame)
{
	TeConfig   *config = &producer->config;
	TeConfigError error;
	const char *lacks = te_kafka_library_lacks();
	const char *embedded;
	bool		malformed;
	bool		ok;

	if (producer->kafka)
		bad_frame(producer, "a second CONFIG", frame->type);
	ok = te_config_decode(config, frame->body, frame->len, &error, &malformed);
	if (malformed)
		bad_frame(producer, error.message, frame->type);
	ok = ok && te_config_check(config, &error) && te_config_read_secrets(config, &error);
	if (ok)
		producer->kafka = te_kafka_create(config, &kafka_events, producer, &error);
	if (!ok || producer->kafka == NULL)
		give_up(producer, "configuration", error.message, error.hint, TE_IO_EXIT_ERROR);

	te_report_log(&producer->out, TE_LEVEL_INFO, "todo_events_io producer %s with %s%s%s",
				  TE_VERSION, te_kafka_library(), *lacks ? "; it cannot do: " : "", lacks);
	embedded = te_kafka_embedded_address(producer->kafka);
	if (embedded)
		te_report_log(&producer->out, TE_LEVEL_WARNING,
					  "demo broker listens on %s and keeps messages in memory only", embedded);
	te_broker_init(&producer->broker, &producer->out, embedded ? embedded : config->brokers,
				   config->embedded, producer->topics.now);
	producer->topics.kafka = producer->kafka;
	te_writer_end(&producer->out, TE_FRAME_READY, te_writer_begin(&producer->out, 0));
}

static void
topic_frame(TeProducer *producer, const TeFrame *frame)
{
	TeWireIn	in = te_wire_in(frame->body, frame->len);
	uint16_t	number = te_wire_get_u16(&in);
	TeWireStr	name = te_wire_get_str(&in);
	int32_t		partitions;
	int64_t		retention;
	uint8_t		create;

	te_wire_get(&in, &partitions, sizeof(partitions));
	te_wire_get(&in, &retention, sizeof(retention));
	create = te_wire_get_u8(&in);
	if (!te_wire_done(&in) || name.data == NULL || name.len == 0 || name.len > 249 ||
		memchr(name.data, '\0', name.len))
		bad_frame(producer, "malformed TOPIC", frame->type);
	if (!te_topics_declare(&producer->topics, number, name, partitions, retention, create != 0))
		bad_frame(producer, "a topic's number was given to another name", frame->type);
}

static void
publish_frame(TeProducer *producer, TeFrame *frame)
{
	TeBatch    *batch = te_batch_decode(frame->body, frame->len, frame->owned);

	if (batch == NULL || batch->number != producer->last_batch + 1)
		bad_frame(producer, "malformed PUBLISH", frame->type);
	frame->owned = NULL;
	for (uint32_t i = 0; i < batch->target_count; i++)
		if (te_topics_get(&producer->topics, batch->targets[i].topic) == NULL)
			bad_frame(producer, "PUBLISH to an undeclared topic", frame->type);

	producer->last_batch = batch->number;
	producer->held += batch->bytes;
	if (batch->target_count == 0)
	{
		acknowledge(producer, batch);
		return;
	}
	producer->open += batch->target_count;

	/* each may settle at once, and the last of them frees the batch */
	for (uint32_t i = 0, n = batch->target_count; i < n; i++)
		te_topics_send(&producer->topics, &batch->targets[i]);
}

static void
handle_frame(TeProducer *producer, TeFrame *frame)
{
	if (!producer->greeted && frame->type != TE_FRAME_HELLO)
		bad_frame(producer, "the first must be HELLO", frame->type);
	if (producer->greeted && producer->kafka == NULL && frame->type != TE_FRAME_CONFIG)
		bad_frame(producer, "the second must be CONFIG", frame->type);

	switch (frame->type)
	{
		case TE_FRAME_HELLO:
			if (producer->greeted)
				bad_frame(producer, "a second HELLO", frame->type);
			hello_frame(producer, frame);
			break;
		case TE_FRAME_CONFIG:
			config_frame(producer, frame);
			break;
		case TE_FRAME_TOPIC:
			topic_frame(producer, frame);
			break;
		case TE_FRAME_PUBLISH:
			publish_frame(producer, frame);
			break;
		case TE_FRAME_RETRY_TOPICS:
			if (frame->len != 0)
				bad_frame(producer, "malformed RETRY_TOPICS", frame->type);
			te_topics_look_again(&producer->topics);
			break;
		default:
			bad_frame(producer, "unknown type", frame->type);
	}
	free(frame->owned);
}

/* ---- the loop ------------------------------------------------------- */

static bool
may_read(const TeProducer *producer)
{
	return producer->held < WINDOW_BYTES && te_writer_pending(&producer->out) < OUTPUT_LIMIT;
}

/* reads and handles what is there, for a bounded time; false at the end of the pair */
static bool
read_pair(TeProducer *producer)
{
	for (int i = 0; i < READS_A_TURN && may_read(producer); i++)
	{
		TeReadResult result = te_reader_fill(&producer->reader, producer->fd);
		TeFrame		frame;

		if (result == TE_READ_EOF)
			return false;
		if (result == TE_READ_MORE)
			return true;
		while ((result = te_reader_next(&producer->reader, &frame)) == TE_READ_FRAME)
			handle_frame(producer, &frame);
		if (result == TE_READ_BAD)
			bad_frame(producer, "malformed header", 0);
	}
	return true;
}

static void
tell_stats(TeProducer *producer)
{
	TeStats    *stats = &producer->stats;
	char	   *p = te_writer_begin(&producer->out, 4 * 8 + 3 * 4);

	p = te_wire_put_u64(p, producer->topics.sent);
	p = te_wire_put_u64(p, stats->acked);
	p = te_wire_put_u64(p, stats->refused);
	p = te_wire_put_u64(p, stats->bytes);
	p = te_wire_put_u32(p, producer->open > UINT32_MAX ? UINT32_MAX : (uint32_t) producer->open);
	p = te_wire_put_u32(p, te_stats_quantile(stats, 0.50));
	p = te_wire_put_u32(p, te_stats_quantile(stats, 0.99));
	te_writer_end(&producer->out, TE_FRAME_STATS, p);
	te_stats_new_window(stats);
	producer->stats_told = stats->acked + stats->refused;
}

/* what time brings; returns when the next is due */
static int64_t
step(TeProducer *producer, int64_t now)
{
	uint64_t	settled = producer->stats.acked + producer->stats.refused;
	int64_t		due = te_topics_step(&producer->topics, now);
	int64_t		next;

	if (producer->kafka == NULL)
		return TE_NEVER;
	next = te_broker_step(&producer->broker, producer->open, now);
	if (next < due)
		due = next;
	if (settled != producer->stats_told)
	{
		if (now >= producer->stats_due)
		{
			tell_stats(producer);
			producer->stats_due = now + STATS_EVERY;
		}
		else if (producer->stats_due < due)
			due = producer->stats_due;
	}
	return due;
}

static int
timeout_ms(int64_t due, int64_t now)
{
	if (due == TE_NEVER)
		return -1;
	if (due <= now)
		return 0;
	return due - now > 3600000 * MS ? 3600000 : (int) ((due - now + MS - 1) / MS);
}

int
te_producer_run(int fd)
{
	static TeProducer producer;
	bool		busy = false;

	producer.fd = fd;
	te_reader_init(&producer.reader);
	te_writer_init(&producer.out);
	producer.topics.done = on_done;
	producer.topics.state = on_topic_state;
	producer.topics.arg = &producer;
	te_report_hello(&producer.out, te_kafka_library());

	for (;;)
	{
		struct pollfd fds[2];
		int64_t		now = now_us();
		int64_t		due = step(&producer, now);

		if (!te_writer_flush(&producer.out, fd))
			return TE_IO_EXIT_EOF;

		/* POLLHUP comes unasked, so a worker that is gone is noticed even while not read */
		fds[0].fd = fd;
		fds[0].events = (short) ((may_read(&producer) ? POLLIN : 0) |
								 (te_writer_pending(&producer.out) > 0 ? POLLOUT : 0));
		fds[1].fd = producer.kafka ? te_kafka_wakeup_fd(producer.kafka) : -1;
		fds[1].events = POLLIN;
		fds[0].revents = fds[1].revents = 0;
		if (poll(fds, 2, busy ? 0 : timeout_ms(due, now)) < 0 && errno != EINTR)
			return TE_IO_EXIT_ERROR;

		producer.topics.now = now_us();
		if (busy || fds[1].revents)
			busy = te_kafka_dispatch(producer.kafka, EVENTS_A_TURN);
		if ((fds[0].revents & (POLLHUP | POLLERR)) && !(fds[0].revents & POLLIN))
			return TE_IO_EXIT_EOF;
		if ((fds[0].revents & POLLIN) && !read_pair(&producer))
			return TE_IO_EXIT_EOF;
	}
}
