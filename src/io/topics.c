/*-------------------------------------------------------------------------
 *
 * topics.c
 *	  Messages on their way through a topic's phases.
 *
 * The order of a topic's messages is kept by three rules: messages wait in
 * one list behind each other; nothing passes while something older has come
 * back; and what has come back is sorted and goes first.  What came back may
 * have overtaken nothing, because a message comes back only when
 *
 *	- its topic is gone: then the library's others come back as well;
 *	- its record batch was refused: the broker takes nothing after it of this
 *	  producer's partition before a new epoch, and we take everything back
 *	  meanwhile (what was on the wire may arrive twice);
 *	- we took it back.
 *
 *-------------------------------------------------------------------------
 */
#include "topics.h"

#include <inttypes.h>
#include <stdio.h>

#include "broker.h"
#include "memory.h"
#include "topics_look.h"

#define MS				INT64_C(1000)
#define STALE			(5000 * MS) /* refuse on facts no older than this */

static void
append(TeTargetList *list, TeTarget *target)
{
	target->next = NULL;
	if (list->head)
		list->last->next = target;
	else
		list->head = target;
	list->last = target;
}

static void
push(TeTargetList *list, TeTarget *target)
{
	target->next = list->head;
	if (list->head == NULL)
		list->last = target;
	list->head = target;
}

static TeTarget *
pop(TeTargetList *list)
{
	TeTarget   *target = list->head;

	list->head = target->next;
	return target;
}

static int
compare(const void *a, const void *b)
{
	return te_target_compare(*(TeTarget *const *) a, *(TeTarget *const *) b);
}

static void
finish(TeTopics *topics, TeTopic *topic, TeTarget *target, int code, const char *reason)
{
	if (target->suspect)
		topic->suspects--;
	topics->done(topics->arg, target, code, reason);
}

static void
suspect(TeTopic *topic, TeTarget *target)
{
	if (!target->suspect)
		topic->suspects++;
	target->suspect = true;
}

/* puts what came back, in order, before what waits */
static void
return_in_order(TeTopic *topic)
{
	TeTarget  **all;
	size_t		n = 0;

	for (TeTarget *t = topic->returned.head; t; t = t->next)
		n++;
	if (n == 0)
		return;
	all = te_alloc(n * sizeof(*all));
	n = 0;
	for (TeTarget *t = topic->returned.head; t; t = t->next)
		all[n++] = t;
	qsort(all, n, sizeof(*all), compare);
	while (n > 0)
		push(&topic->waiting, all[--n]);
	topic->returned.head = NULL;
	free(all);
}

static void
drain(TeTopics *topics, TeTopic *topic)
{
	topic->phase = TE_PHASE_DRAINING;
	if (topic->under_way > 0)
		return;
	return_in_order(topic);
	topic->phase = TE_PHASE_HELD;
	te_topic_look(topics, topic, topics->now + topic->backoff);
}

static void
come_back(TeTopics *topics, TeTopic *topic, TeTarget *target)
{
	append(&topic->returned, target);
	if (topic->phase == TE_PHASE_OPEN)
		topic->backoff = topic->backoff ? topic->backoff * 2 : 20 * MS;
	if (topic->backoff > 5000 * MS)
		topic->backoff = 5000 * MS;
	drain(topics, topic);
}

/* false: it has to wait after all; the phase says for what */
static bool
pass(TeTopics *topics, TeTopic *topic, TeTarget *target)
{
	char		reason[128];
	int			code;

	if (topic->max_message_bytes > 0 && !te_kafka_compresses(topics->kafka))
	{
		size_t		bytes = te_target_batch_bytes(target);

		if (bytes > (uint64_t) topic->max_message_bytes)
		{
			if (topics->now - topic->looked_at > STALE)
			{
				/* the limit may have been raised */
				topic->phase = TE_PHASE_HELD;
				te_topic_look(topics, topic, topics->now);
				return false;
			}
			snprintf(reason, sizeof(reason),
					 "%zu bytes are more than the topic's max.message.bytes, %" PRId64, bytes,
					 topic->max_message_bytes);
			finish(topics, topic, target, te_kafka_code_too_large(), reason);
			return true;
		}
	}

	code = te_kafka_produce(topics->kafka, topic->handle, topic->lane, target);
	if (code == 0)
	{
		topic->under_way++;
		topics->under_way++;
		topics->sent++;
		return true;
	}
	switch (te_kafka_verdict(code))
	{
		case TE_VERDICT_REFUSED:
		case TE_VERDICT_BATCH:
			/* refused by the library, so before it became part of a batch */
			finish(topics, topic, target, code, te_kafka_code_text(code));
			return true;
		default:
			topic->phase = TE_PHASE_DRAINING;
			return false;
	}
}

static void
release(TeTopics *topics, TeTopic *topic)
{
	while (topic->phase == TE_PHASE_OPEN && topic->waiting.head)
	{
		TeTarget   *target = pop(&topic->waiting);

		if (!pass(topics, topic, target))
			push(&topic->waiting, target);
	}
	if (topic->phase == TE_PHASE_DRAINING)
	{
		topic->backoff = topic->backoff ? topic->backoff : 20 * MS;
		drain(topics, topic);
	}
	while (topic->phase == TE_PHASE_REFUSING && topic->waiting.head)
		finish(topics, topic, pop(&topic->waiting), topic->refuse_code, topic->difference);
}

void
te_topics_send(TeTopics *topics, TeTarget *target)
{
	TeTopic    *topic = te_topics_get(topics, target->topic);

	if (topic->phase == TE_PHASE_REFUSING && topics->now - topic->looked_at > STALE)
	{
		topic->phase = TE_PHASE_HELD;
		te_topic_look(topics, topic, topics->now);
	}
	append(&topic->waiting, target);
	release(topics, topic);
}

void
te_topics_settled(TeTopics *topics, TeTarget *target, int code, const char *reason)
{
	TeTopic    *topic = te_topics_get(topics, target->topic);
	TeVerdict	verdict = te_kafka_verdict(code);

	topic->under_way--;
	topics->under_way--;
	if (topic->lane == TE_LANE_SINGLE && verdict == TE_VERDICT_BATCH)
		verdict = TE_VERDICT_REFUSED;	/* there was nobody else in it */

	switch (verdict)
	{
		case TE_VERDICT_DELIVERED:
			topic->backoff = 0;
			finish(topics, topic, target, 0, NULL);
			break;
		case TE_VERDICT_REFUSED:
			if (te_kafka_code_denies(code) && topic->phase == TE_PHASE_OPEN)
				te_topic_denied(topics, topic, code, reason);
			finish(topics, topic, target, code, reason);
			break;
		case TE_VERDICT_BATCH:
			suspect(topic, target);
			come_back(topics, topic, target);
			te_kafka_take_back(topics->kafka, topic->lane);
			return;
		default:
			if (te_kafka_code_neighbour(code))
			{
				suspect(topic, target);
				te_kafka_take_back(topics->kafka, topic->lane);
			}
			come_back(topics, topic, target);
			return;
	}

	/* with the last suspect gone, batches may grow again */
	if (topic->one_by_one && topic->suspects == 0 && topic->phase == TE_PHASE_OPEN)
		topic->phase = TE_PHASE_DRAINING;
	if (topic->phase == TE_PHASE_DRAINING)
		drain(topics, topic);
}

void
te_topic_open(TeTopics *topics, TeTopic *topic)
{
	TeLane		lane = topic->suspects > 0 ? TE_LANE_SINGLE
		: te_kafka_lane_for(topics->kafka, topic->max_message_bytes);

	if (topic->phase == TE_PHASE_DRAINING)
		return;					/* a fresh look follows */
	if (lane != topic->lane && topic->under_way > 0)
	{
		topic->phase = TE_PHASE_DRAINING;
		return;
	}
	topic->lane = lane;
	topic->one_by_one = topic->suspects > 0;
	topic->phase = TE_PHASE_OPEN;
	release(topics, topic);
}

void
te_topic_refuse(TeTopics *topics, TeTopic *topic, int code)
{
	topic->refuse_code = code;
	if (topic->phase == TE_PHASE_DRAINING)
		return;
	topic->phase = TE_PHASE_REFUSING;
	release(topics, topic);
}

bool
te_topics_declare(TeTopics *topics, uint16_t number, TeWireStr name, int32_t partitions,
				  int64_t retention, bool create)
{
	TeTopic    *topic = te_topics_get(topics, number);

	if (topic == NULL)
	{
		if (number >= topics->size)
		{
			uint32_t	size = number + 1u;

			topics->by_number = te_realloc(topics->by_number, size * sizeof(TeTopic *));
			memset(topics->by_number + topics->size, 0,
				   (size - topics->size) * sizeof(TeTopic *));
			topics->size = size;
		}
		topic = topics->by_number[number] = te_alloc0(sizeof(TeTopic));
		topic->number = number;
		topic->name = te_strndup(name.data, name.len);
		topic->handle = te_kafka_topic_create(topics->kafka, topic->name);
		topic->partitions = -1;
		topic->retention = TE_RETENTION_UNKNOWN;
		topic->max_message_bytes = -1;
	}
	else if (strlen(topic->name) != name.len || memcmp(topic->name, name.data, name.len) != 0)
		return false;

	topic->want_partitions = partitions;
	topic->want_retention = retention;
	topic->create = create;
	te_topic_look(topics, topic, topics->now);
	return true;
}
