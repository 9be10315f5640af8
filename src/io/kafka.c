/*-------------------------------------------------------------------------
 *
 * kafka.c
 *	  Producing to Kafka: producers, their events, and sending.
 *
 * librdkafka runs threads of its own.  No callback of it runs in them here
 * (but for two, which note what they refused, in a word): delivery reports, errors, log lines and
 * administrative answers are events on a queue per producer, and all queues
 * ring the same eventfd.
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <syslog.h>
#include <unistd.h>

#include "kafka_private.h"
#include "memory.h"

/* what a batch's frame and the library's own estimate may add to batch.size */
#define BATCH_SLACK			128

static bool
open_lane(TeKafka *kafka, TeLane lane, int64_t batch_bytes, int batch_messages,
		  TeConfigError *error)
{
	const uint64_t one = 1;
	TeKafkaLane *l = &kafka->lanes[lane];
	const char *brokers = kafka->config->brokers;
	rd_kafka_conf_t *conf;
	char		text[512];
	size_t		size = sizeof(text);

	if (kafka->config->embedded)
		brokers = te_kafka_embedded_address(kafka);
	conf = te_kafka_conf_make(kafka, brokers, batch_bytes, batch_messages, error);
	if (conf == NULL)
		return false;
	if (rd_kafka_conf_get(conf, "batch.size", text, &size) == RD_KAFKA_CONF_OK)
		l->batch_bytes = strtoll(text, NULL, 10);
	size = sizeof(text);
	if (rd_kafka_conf_get(conf, "compression.codec", text, &size) == RD_KAFKA_CONF_OK)
		kafka->compresses = strcmp(text, "none") != 0;

	/* the library blocks all signals in its threads itself; main.c has them ignored anyway */
	l->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
	if (l->rk == NULL)
	{
		rd_kafka_conf_destroy(conf);
		te_kafka_conf_explain(kafka->config, text, error);
		return false;
	}
	rd_kafka_set_log_queue(l->rk, NULL);
	l->queue = rd_kafka_queue_get_main(l->rk);
	rd_kafka_queue_io_event_enable(l->queue, kafka->wakeup_fd, &one, sizeof(one));
	/* it rings when it stops being empty, and it may have stopped already */
	return write(kafka->wakeup_fd, &one, sizeof(one)) == sizeof(one);
}

TeKafka *
te_kafka_create(TeConfig *config, const TeKafkaEvents *events, void *arg, TeConfigError *error)
{
	TeKafka    *kafka = te_alloc0(sizeof(*kafka));

	kafka->config = config;
	kafka->events = events;
	kafka->arg = arg;
	pthread_mutex_init(&kafka->refused_lock, NULL);
	kafka->wakeup_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (kafka->wakeup_fd < 0)
	{
		snprintf(error->message, sizeof(error->message), "could not create an eventfd: %s",
				 strerror(errno));
		error->hint[0] = '\0';
	}
	else if (open_lane(kafka, TE_LANE_MAIN, 0, 0, error))
	{
		if (config->embedded)
			kafka->mock = rd_kafka_handle_mock_cluster(kafka->lanes[TE_LANE_MAIN].rk);
		return kafka;
	}
	if (kafka->wakeup_fd >= 0)
		close(kafka->wakeup_fd);
	free(kafka);
	return NULL;
}

int
te_kafka_wakeup_fd(const TeKafka *kafka)
{
	return kafka->wakeup_fd;
}

bool
te_kafka_compresses(const TeKafka *kafka)
{
	return kafka->compresses;
}

/* ---- events --------------------------------------------------------- */

static void
delivery_event(TeKafka *kafka, rd_kafka_event_t *event)
{
	const rd_kafka_message_t *message;

	while ((message = rd_kafka_event_message_next(event)) != NULL)
		kafka->events->settled(kafka->arg, message->_private, message->err,
							   message->err ? rd_kafka_err2str(message->err) : NULL,
							   rd_kafka_message_latency(message));
}

static void
trouble(TeKafka *kafka, int code, const char *text)
{
	TeTroubleFacts facts = {
		.code = code,
		.text = text,
		.config = kafka->config,
		.library_version = rd_kafka_version(),
	};
	TeTrouble	trouble;
	char		refused[sizeof(kafka->refused)];

	/* a verdict on a certificate belongs to the TLS error that follows it */
	if (strstr(text, "certificate verify failed"))
		facts.x509_error = atomic_load(&kafka->x509_error);
	/* and that on an address to the connection that it ended */
	if (strstr(text, strerror(TE_REFUSED_ERRNO)))
	{
		pthread_mutex_lock(&kafka->refused_lock);
		snprintf(refused, sizeof(refused), "%s", kafka->refused);
		pthread_mutex_unlock(&kafka->refused_lock);
		if (*refused)
			facts.refused = refused;
	}
	te_kafka_explain(&facts, &trouble);
	kafka->events->trouble(kafka->arg, &trouble);
}

static void
error_event(TeKafka *kafka, rd_kafka_t *rk, rd_kafka_event_t *event)
{
	char		reason[512];

	if (rd_kafka_fatal_error(rk, reason, sizeof(reason)) != RD_KAFKA_RESP_ERR_NO_ERROR)
		kafka->events->fatal(kafka->arg, reason);
	trouble(kafka, rd_kafka_event_error(event), rd_kafka_event_error_string(event));
}

static void
log_event(TeKafka *kafka, rd_kafka_event_t *event)
{
	static const char *const told[] = {"FAIL", "ERROR", "FATAL", "GETPID", "SSLCERTVRFY"};
	const char *facility;
	const char *text;
	const char *end;
	int			level;

	if (rd_kafka_event_log(event, &facility, &text, &level) != 0)
		return;
	/* "[thrd:main]: " says nothing to a reader */
	if (strncmp(text, "[thrd:", 6) == 0 && (end = strstr(text, "]: ")) != NULL)
		text = end + 3;
	/*
	 * A connection closed by the broker is no ERROR event, and yet, while we
	 * connect, the only sign of a listener that expects TLS or a login.
	 */
	if (strcmp(facility, "FAIL") == 0 && level > LOG_ERR && level < LOG_DEBUG)
		trouble(kafka, RD_KAFKA_RESP_ERR__TRANSPORT, text);
	/* the rest of what ERROR events say, and the status repeats in better words */
	for (size_t i = 0; i < sizeof(told) / sizeof(told[0]) && level < LOG_DEBUG; i++)
		if (strcmp(facility, told[i]) == 0)
			return;
	/* debug lines come only when somebody set the option "debug" */
	if (level <= LOG_WARNING || level == LOG_DEBUG)
		kafka->events->log(kafka->arg, level <= LOG_ERR ? TE_LEVEL_ERROR
						   : level <= LOG_WARNING ? TE_LEVEL_WARNING : TE_LEVEL_INFO, text);
}

bool
te_kafka_dispatch(TeKafka *kafka, int max)
{
	uint64_t	count;
	bool		more = false;

	if (read(kafka->wakeup_fd, &count, sizeof(count)) < 0 && errno != EAGAIN && errno != EINTR)
		return false;
	for (int i = 0; i < TE_LANES; i++)
	{
		TeKafkaLane *lane = &kafka->lanes[i];
		rd_kafka_event_t *event;
		int			left = max;

		if (lane->rk == NULL)
			continue;
		/* to the end: the queue rings only when it stops being empty */
		while (left-- > 0 && (event = rd_kafka_queue_poll(lane->queue, 0)) != NULL)
		{
			switch (rd_kafka_event_type(event))
			{
				case RD_KAFKA_EVENT_DR:
					delivery_event(kafka, event);
					break;
				case RD_KAFKA_EVENT_ERROR:
					error_event(kafka, lane->rk, event);
					break;
				case RD_KAFKA_EVENT_LOG:
					log_event(kafka, event);
					break;
				default:
					te_kafka_admin_event(kafka, event);
					break;
			}
			rd_kafka_event_destroy(event);
		}
		more |= left < 0;
	}
	return more;
}

/* ---- sending -------------------------------------------------------- */

TeKafkaTopic *
te_kafka_topic_create(TeKafka *kafka, const char *name)
{
	TeKafkaTopic *topic = te_alloc0(sizeof(*topic));

	(void) kafka;
	topic->name = te_strdup(name);
	return topic;
}

TeLane
te_kafka_lane_for(TeKafka *kafka, int64_t max_message_bytes)
{
	int64_t		batch_bytes = max_message_bytes - BATCH_SLACK;
	TeKafkaLane *small = &kafka->lanes[TE_LANE_SMALL];

	if (max_message_bytes < 0 || kafka->lanes[TE_LANE_MAIN].batch_bytes + 61 <= max_message_bytes)
		return TE_LANE_MAIN;
	/* the first strict topic sets the size; a yet stricter one is sent message by message */
	if (batch_bytes < 1024 || (small->rk && small->batch_bytes > batch_bytes))
		return TE_LANE_SINGLE;
	if (small->rk == NULL)
	{
		TeConfigError error;

		if (!open_lane(kafka, TE_LANE_SMALL, batch_bytes, 0, &error))
		{
			kafka->events->fatal(kafka->arg, error.message);
			return TE_LANE_MAIN;
		}
	}
	return TE_LANE_SMALL;
}

static rd_kafka_headers_t *
make_headers(const TeMessage *message)
{
	TeWireIn	in = te_wire_in(message->headers, message->header_bytes);
	rd_kafka_headers_t *headers;

	if (message->content_type.data == NULL && message->header_count == 0)
		return NULL;
	headers = rd_kafka_headers_new((size_t) message->header_count + 1);
	if (message->content_type.data)
		rd_kafka_header_add(headers, "content-type", 12, message->content_type.data,
							(ssize_t) message->content_type.len);
	for (int i = 0; i < message->header_count; i++)
	{
		TeWireStr	name = te_wire_get_str(&in);
		TeWireStr	value = te_wire_get_str(&in);

		rd_kafka_header_add(headers, name.data, (ssize_t) name.len, value.data,
							(ssize_t) value.len);
	}
	return headers;
}

int
te_kafka_produce(TeKafka *kafka, TeKafkaTopic *topic, TeLane lane, TeTarget *target)
{
	TeKafkaLane *l = &kafka->lanes[lane];
	const TeMessage *message = target->message;
	rd_kafka_headers_t *headers;
	rd_kafka_resp_err_t err;

	if (l->rk == NULL)
	{
		TeConfigError error;

		if (!open_lane(kafka, lane, 0, 1, &error))
		{
			kafka->events->fatal(kafka->arg, error.message);
			return RD_KAFKA_RESP_ERR__FATAL;
		}
	}
	if (topic->rkt[lane] == NULL)
	{
		topic->rkt[lane] = rd_kafka_topic_new(l->rk, topic->name, NULL);
		if (topic->rkt[lane] == NULL)
			return rd_kafka_last_error();
	}

	headers = make_headers(message);
	target->attempts++;
	/* no F_COPY: the value stays in the frame until the delivery report */
	err = rd_kafka_producev(l->rk,
							RD_KAFKA_V_RKT(topic->rkt[lane]),
							RD_KAFKA_V_VALUE((void *) message->value.data,
											 (size_t) message->value.len),
							RD_KAFKA_V_KEY(target->key.data, (size_t) target->key.len),
							RD_KAFKA_V_HEADERS(headers),
							RD_KAFKA_V_OPAQUE(target),
							RD_KAFKA_V_END);
	if (err && headers)
		rd_kafka_headers_destroy(headers);
	return err;
}

void
te_kafka_take_back(TeKafka *kafka, TeLane lane)
{
	if (kafka->lanes[lane].rk)
		rd_kafka_purge(kafka->lanes[lane].rk,
					   RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
					   RD_KAFKA_PURGE_F_NON_BLOCKING);
}
