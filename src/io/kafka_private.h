/*-------------------------------------------------------------------------
 *
 * kafka_private.h
 *	  Shared by kafka*.c, and the only place that includes librdkafka.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_IO_KAFKA_PRIVATE_H
#define TE_IO_KAFKA_PRIVATE_H

#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <pthread.h>
#include <stdatomic.h>

#include "kafka.h"

/* the first version whose SCRAM login Kafka 4 accepts (librdkafka #4895) */
#define TE_RDKAFKA_SCRAM_OK		0x020601ff

/* codes that old headers do not have */
enum
{
	TE_ERR_UNKNOWN_TOPIC_ID = 100,
	TE_ERR_INCONSISTENT_TOPIC_ID = 103,
	TE_ERR_INVALID_DIFFERENT_RECORD = -138
};

/* what connecting to an address that is not allowed fails with */
#define TE_REFUSED_ERRNO		EACCES

typedef struct TeKafkaLane
{
	rd_kafka_t *rk;				/* NULL until a topic needs it */
	rd_kafka_queue_t *queue;
	int64_t		batch_bytes;
} TeKafkaLane;

struct TeKafka
{
	TeConfig   *config;
	const TeKafkaEvents *events;
	void	   *arg;
	int			wakeup_fd;
	TeKafkaLane lanes[TE_LANES];
	bool		compresses;

	/* OpenSSL's verdict on the last certificate, written by a library thread */
	atomic_int	x509_error;

	/* the last address that we would not connect to, "" if none; by library threads, too */
	pthread_mutex_t refused_lock;
	char		refused[64];

	/* the embedded broker, and what we created in it; NULL without */
	rd_kafka_mock_cluster_t *mock;
	TeTopicSpec *mock_topics;
	int			mock_topic_count;
};

struct TeKafkaTopic
{
	char	   *name;
	rd_kafka_topic_t *rkt[TE_LANES];	/* made when first used */
};

/* kafka_conf.c: NULL with *error filled in; batch_bytes and batch_messages 0 = as configured */
extern rd_kafka_conf_t *te_kafka_conf_make(TeKafka *kafka, const char *brokers, int64_t batch_bytes,
										   int batch_messages, TeConfigError *error);
extern void te_kafka_conf_explain(const TeConfig *config, const char *reason, TeConfigError *error);

/* kafka_admin.c: true if it was an administrative answer */
extern bool te_kafka_admin_event(TeKafka *kafka, rd_kafka_event_t *event);

/* completes verdict and reason ("" or NULL: the code's own text), and passes it on */
extern void te_kafka_report_topic(TeKafka *kafka, TeAdminOp op, TeTopicFacts facts,
								  const char *reason);

/* kafka_embedded.c: the same three requests, answered at once */
extern void te_kafka_embedded_describe(TeKafka *kafka, const char *const *names, int n);
extern void te_kafka_embedded_create(TeKafka *kafka, const TeTopicSpec *specs, int n);
extern void te_kafka_embedded_read_configs(TeKafka *kafka, const char *const *names, int n);

/* kafka_trouble.c: pure */
typedef struct TeTroubleFacts
{
	int			code;
	const char *text;			/* librdkafka's */
	int			x509_error;		/* 0: none */
	const char *refused;		/* address that config does not allow; NULL: none */
	const TeConfig *config;
	int			library_version;
} TeTroubleFacts;
extern void te_kafka_explain(const TeTroubleFacts *facts, TeTrouble *trouble);

#endif							/* TE_IO_KAFKA_PRIVATE_H */
