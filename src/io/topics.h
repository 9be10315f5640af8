/*-------------------------------------------------------------------------
 *
 * topics.h
 *	  The declared topics: what Kafka has of them, and which messages may go.
 *
 * A message passes only when its topic has been looked at, because by then we
 * know that it exists (created by us, if so declared), what it accepts, and
 * that nothing older for it has come back.
 *
 * A look asks up to three things: is it there (and if not, create it and ask
 * again), and what are its limits.  It runs beside the flow of messages; what
 * it finds decides whether they flow.  A topic that is not as it should be is
 * looked at again every few seconds.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_IO_TOPICS_H
#define TE_IO_TOPICS_H

#include "kafka.h"

typedef enum TeTopicPhase
{
	TE_PHASE_HELD,				/* messages wait for the end of a look */
	TE_PHASE_OPEN,				/* messages go to the library */
	TE_PHASE_DRAINING,			/* messages wait until none is in the library, then for a look */
	TE_PHASE_REFUSING			/* messages are refused, but after a while first another look */
} TeTopicPhase;

typedef struct TeTargetList
{
	TeTarget   *head;
	TeTarget   *last;
} TeTargetList;

typedef struct TeTopic
{
	/* declared */
	uint16_t	number;
	char	   *name;
	int32_t		want_partitions;
	int64_t		want_retention;
	bool		create;

	/* the look */
	bool		looking;
	bool		asked;			/* its next question is on its way */
	TeAdminOp	next;
	int64_t		due;			/* ask not before */
	int64_t		backoff;
	int64_t		looked_at;
	int64_t		visible_by;		/* created: the brokers will know of it by then */
	bool		created;		/* by us, in this life */

	/* what it found */
	TeWireTopicState state;
	int32_t		partitions;
	int64_t		retention;
	int64_t		max_message_bytes;
	int			refuse_code;	/* in TE_PHASE_REFUSING */
	char		difference[512];

	/* messages */
	TeTopicPhase phase;
	TeKafkaTopic *handle;
	TeLane		lane;
	uint32_t	suspects;		/* of its messages; while there are any, all go one by one */
	bool		one_by_one;
	uint32_t	under_way;		/* in the library */
	TeTargetList waiting;		/* in order */
	TeTargetList returned;		/* older than those waiting, in no order */
} TeTopic;

typedef struct TeTopics
{
	TeKafka    *kafka;
	TeTopic   **by_number;
	uint32_t	size;			/* of by_number */
	bool		busy[TE_ADMIN_OPS];
	uint64_t	under_way;		/* of all topics */
	uint64_t	sent;			/* messages ever handed to the library */
	int64_t		now;			/* microseconds, as of the last te_topics_step */

	/* a message is done: code 0 delivered, else refused for good */
	void		(*done) (void *arg, TeTarget *target, int code, const char *reason);
	/* there is something to tell about a topic */
	void		(*state) (void *arg, const TeTopic *topic);
	void	   *arg;
} TeTopics;

/* a TOPIC frame; false if it contradicts an earlier one */
extern bool te_topics_declare(TeTopics *topics, uint16_t number, TeWireStr name,
							  int32_t partitions, int64_t retention, bool create);

static inline TeTopic *
te_topics_get(const TeTopics *topics, uint16_t number)
{
	return number < topics->size ? topics->by_number[number] : NULL;
}

/* a message for a declared topic */
extern void te_topics_send(TeTopics *topics, TeTarget *target);

/* from TeKafkaEvents; verdict RESTART is the caller's */
extern void te_topics_settled(TeTopics *topics, TeTarget *target, int code, const char *reason);
extern void te_topics_facts(TeTopics *topics, TeAdminOp op, const TeTopicFacts *facts);
extern void te_topics_admin_done(TeTopics *topics, TeAdminOp op, int code, const char *reason);

/* look at all of them now; messages keep flowing to those that are open */
extern void te_topics_look_again(TeTopics *topics);

/* starts what is due; returns when to call again */
extern int64_t te_topics_step(TeTopics *topics, int64_t now);

/* pure: how a topic differs from its declaration, in words; "" if it does not */
extern void te_topic_compare(int32_t want_partitions, int32_t partitions, int64_t want_retention,
							 int64_t retention, char *out, size_t size);

#endif							/* TE_IO_TOPICS_H */
