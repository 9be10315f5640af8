/*-------------------------------------------------------------------------
 *
 * kafka.h
 *	  Producing to Kafka, as the rest of the program sees it.
 *
 * Only kafka_*.c (through kafka_private.h) include librdkafka's headers.
 * Everything that happens reaches the caller through TeKafkaEvents, from
 * te_kafka_dispatch, in the caller's only thread; the descriptor of
 * te_kafka_wakeup_fd is readable when there is something to dispatch.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_IO_KAFKA_H
#define TE_IO_KAFKA_H

#include "batch.h"
#include "config.h"

typedef struct TeKafka TeKafka;
typedef struct TeKafkaTopic TeKafkaTopic;

/* what an error means for the message that has it */
typedef enum TeVerdict
{
	TE_VERDICT_DELIVERED,
	TE_VERDICT_REFUSED,			/* this message will never be accepted */
	TE_VERDICT_BATCH,			/* its record batch was refused: its fault only if it was alone */
	TE_VERDICT_TOPIC,			/* the topic is not what we think: look at it, then produce again */
	TE_VERDICT_AGAIN,			/* not its fault: produce again */
	TE_VERDICT_RESTART			/* the producer itself is broken */
} TeVerdict;

/* what an error means for looking at, or creating, a topic */
typedef enum TeAdminVerdict
{
	TE_ADMIN_OK,
	TE_ADMIN_ABSENT,
	TE_ADMIN_EXISTS,			/* somebody created it meanwhile */
	TE_ADMIN_DENIED,
	TE_ADMIN_REFUSED,			/* will not work however often it is tried */
	TE_ADMIN_AGAIN
} TeAdminVerdict;

/* pure; code is librdkafka's (Kafka's own above zero) */
extern TeVerdict te_kafka_verdict(int code);
extern TeAdminVerdict te_kafka_admin_verdict(int code);
extern const char *te_kafka_code_name(int code);
extern const char *te_kafka_code_text(int code);


extern int	te_kafka_code_too_large(void);
extern bool te_kafka_code_denies(int code); /* writing to the topic is forbidden */
extern bool te_kafka_code_neighbour(int code);	/* its record batch was refused for another message */

#define TE_RETENTION_UNKNOWN	(-2)

typedef enum TeAdminOp
{
	TE_ADMIN_DESCRIBE,			/* is it there, and with how many partitions */
	TE_ADMIN_CREATE,
	TE_ADMIN_CONFIGS			/* its retention and largest message */
} TeAdminOp;
#define TE_ADMIN_OPS 3

/* one topic's part of an administrative answer */
typedef struct TeTopicFacts
{
	const char *name;
	TeAdminVerdict verdict;
	int			code;
	const char *reason;
	int32_t		partitions;		/* of TE_ADMIN_DESCRIBE */
	int64_t		retention_ms;	/* of TE_ADMIN_CONFIGS; -1: unlimited */
	int64_t		max_message_bytes;	/* of TE_ADMIN_CONFIGS; -1: unknown */
} TeTopicFacts;

typedef struct TeTopicSpec
{
	const char *name;
	int32_t		partitions;		/* -1: the broker's default */
	int64_t		retention_ms;	/* -1: the broker's default */
} TeTopicSpec;

/* trouble with brokers, worded */
typedef struct TeTrouble
{
	bool		all_down;		/* no broker is reachable any more */
	bool		refused;		/* by us: the address is not allowed */
	char		message[512];	/* "" with all_down: no cause of its own */
	char		hint[512];
} TeTrouble;

typedef struct TeKafkaEvents
{
	void		(*settled) (void *arg, TeTarget *target, int code, const char *reason,
							int64_t latency_us);
	void		(*topic) (void *arg, TeAdminOp op, const TeTopicFacts *facts);
	/* after the last topic of an answer; or, code != 0, instead of any */
	void		(*admin_done) (void *arg, TeAdminOp op, int code, const char *reason);
	void		(*trouble) (void *arg, const TeTrouble *trouble);
	void		(*log) (void *arg, TeWireLevel level, const char *text);
	void		(*fatal) (void *arg, const char *reason);
} TeKafkaEvents;

/* "librdkafka 2.15.1", and what this build of it cannot do ("" if nothing is missing) */
extern const char *te_kafka_library(void);
extern const char *te_kafka_library_lacks(void);

/* NULL with *error filled in if the configuration is refused; config must outlive the result */
extern TeKafka *te_kafka_create(TeConfig *config, const TeKafkaEvents *events, void *arg,
								TeConfigError *error);
extern int	te_kafka_wakeup_fd(const TeKafka *kafka);

/* handles at most max events; true if there may be more */
extern bool te_kafka_dispatch(TeKafka *kafka, int max);

/* address of the embedded broker, or NULL */
extern const char *te_kafka_embedded_address(const TeKafka *kafka);

/* does the broker see larger or smaller batches than we count? */
extern bool te_kafka_compresses(const TeKafka *kafka);

/*
 * The library can bound its batches only for all topics at once.  So topics
 * are spread over up to three producers ("lanes"): batches of the usual size,
 * batches small enough for the strictest topic, and batches of one message.
 * A topic may change its lane only while none of its messages is under way,
 * or order would suffer.
 */
typedef enum TeLane
{
	TE_LANE_MAIN,
	TE_LANE_SMALL,
	TE_LANE_SINGLE
} TeLane;
#define TE_LANES 3

extern TeKafkaTopic *te_kafka_topic_create(TeKafka *kafka, const char *name);

/* the lane for a topic with this limit (-1: unknown) */
extern TeLane te_kafka_lane_for(TeKafka *kafka, int64_t max_message_bytes);

/* 0, or why the library would not take it; the target then stays the caller's */
extern int	te_kafka_produce(TeKafka *kafka, TeKafkaTopic *topic, TeLane lane, TeTarget *target);

/*
 * Takes back everything not acknowledged in a lane: each message is settled
 * with a code that te_kafka_verdict calls AGAIN.
 */
extern void te_kafka_take_back(TeKafka *kafka, TeLane lane);

/* start one administrative request; the answer comes as events */
extern void te_kafka_describe(TeKafka *kafka, const char *const *names, int n);
extern void te_kafka_create_topics(TeKafka *kafka, const TeTopicSpec *specs, int n);
extern void te_kafka_read_configs(TeKafka *kafka, const char *const *names, int n);

#endif							/* TE_IO_KAFKA_H */
