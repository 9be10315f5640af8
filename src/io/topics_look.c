/*-------------------------------------------------------------------------
 *
 * topics_look.c
 *	  Looking at topics: is it there, create it, what are its limits.
 *
 *-------------------------------------------------------------------------
 */
#include "topics_look.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "broker.h"
#include "memory.h"

#define MS				INT64_C(1000)
#define FIRST_BACKOFF	(100 * MS)
#define MAX_BACKOFF		(5000 * MS)
#define VISIBLE_WITHIN	(10000 * MS)	/* a created topic, on every broker */
#define AGAIN_EVERY		(10000 * MS)	/* while something is wrong with it */
#define PER_REQUEST		256

void
te_topic_look(TeTopics *topics, TeTopic *topic, int64_t due)
{
	(void) topics;
	if (!topic->looking)
	{
		topic->looking = true;
		topic->asked = false;
		topic->next = TE_ADMIN_DESCRIBE;
		topic->due = due;
	}
	else if (!topic->asked && due < topic->due)
		topic->due = due;
}

static void
look_later(TeTopics *topics, TeTopic *topic)
{
	topic->asked = false;
	topic->backoff = topic->backoff ? topic->backoff * 2 : FIRST_BACKOFF;
	if (topic->backoff > MAX_BACKOFF)
		topic->backoff = MAX_BACKOFF;
	topic->due = topics->now + topic->backoff;
}

static void
ask(TeTopics *topics, TeTopic *topic, TeAdminOp op, int64_t due)
{
	(void) topics;
	topic->asked = false;
	topic->next = op;
	topic->due = due;
}

static void
end_look(TeTopics *topics, TeTopic *topic)
{
	topic->looking = false;
	topic->looked_at = topics->now;
	topics->state(topics->arg, topic);
	/* nobody tells us that it has been mended, and no message need come that would find out */
	if (topic->state != TE_TOPIC_OK && topic->state != TE_TOPIC_CREATED)
		te_topic_look(topics, topic, topics->now + AGAIN_EVERY);
}

static void
found_open(TeTopics *topics, TeTopic *topic)
{
	te_topic_compare(topic->want_partitions, topic->partitions, topic->want_retention,
					 topic->retention, topic->difference, sizeof(topic->difference));
	topic->state = *topic->difference ? TE_TOPIC_DIFFERS
		: topic->created ? TE_TOPIC_CREATED : TE_TOPIC_OK;
	end_look(topics, topic);
	te_topic_open(topics, topic);
}

static void
found_closed(TeTopics *topics, TeTopic *topic, TeWireTopicState state, int code, const char *what,
			 const char *reason)
{
	topic->state = state;
	snprintf(topic->difference, sizeof(topic->difference), "%s%s%s", what, reason ? ": " : "",
			 reason ? reason : "");
	end_look(topics, topic);
	te_topic_refuse(topics, topic, code);
}

void
te_topic_denied(TeTopics *topics, TeTopic *topic, int code, const char *reason)
{
	found_closed(topics, topic, TE_TOPIC_DENIED, code, "the broker does not allow writing to it",
				 reason);
}

static void
described(TeTopics *topics, TeTopic *topic, const TeTopicFacts *facts)
{
	switch (facts->verdict)
	{
		case TE_ADMIN_OK:
			topic->partitions = facts->partitions;
			ask(topics, topic, TE_ADMIN_CONFIGS, topics->now);
			break;
		case TE_ADMIN_ABSENT:
			if (!topic->create)
				found_closed(topics, topic, TE_TOPIC_MISSING, facts->code,
							 "the topic does not exist, and is not to be created", NULL);
			else if (topics->now < topic->visible_by)
				look_later(topics, topic);
			else
				ask(topics, topic, TE_ADMIN_CREATE, topics->now);
			break;
		case TE_ADMIN_DENIED:
			found_closed(topics, topic, TE_TOPIC_DENIED, facts->code,
						 "the broker does not allow looking at it", facts->reason);
			break;
		case TE_ADMIN_REFUSED:
			found_closed(topics, topic, TE_TOPIC_MISSING, facts->code, "there is no such topic",
						 facts->reason);
			break;
		default:
			look_later(topics, topic);
			break;
	}
}

static void
created(TeTopics *topics, TeTopic *topic, const TeTopicFacts *facts)
{
	switch (facts->verdict)
	{
		case TE_ADMIN_OK:
			topic->created = true;
			/* fall through */
		case TE_ADMIN_EXISTS:
			topic->visible_by = topics->now + VISIBLE_WITHIN;
			ask(topics, topic, TE_ADMIN_DESCRIBE, topics->now);
			break;
		case TE_ADMIN_DENIED:
			found_closed(topics, topic, TE_TOPIC_DENIED, facts->code,
						 "the broker does not allow creating it", facts->reason);
			break;
		case TE_ADMIN_REFUSED:
			found_closed(topics, topic, TE_TOPIC_MISSING, facts->code,
						 "the broker refuses to create it", facts->reason);
			break;
		default:
			/* its messages wait, so somebody has to be told for what */
			topic->state = TE_TOPIC_UNKNOWN;
			snprintf(topic->difference, sizeof(topic->difference),
					 "it could not be created yet: %s", facts->reason);
			topics->state(topics->arg, topic);
			ask(topics, topic, TE_ADMIN_DESCRIBE, topics->now);
			look_later(topics, topic);
			break;
	}
}

static void
configured(TeTopics *topics, TeTopic *topic, const TeTopicFacts *facts)
{
	switch (facts->verdict)
	{
		case TE_ADMIN_OK:
			topic->retention = facts->retention_ms;
			topic->max_message_bytes = facts->max_message_bytes;
			found_open(topics, topic);
			break;
		case TE_ADMIN_ABSENT:
			ask(topics, topic, TE_ADMIN_DESCRIBE, topics->now);
			look_later(topics, topic);
			break;
		case TE_ADMIN_AGAIN:
			look_later(topics, topic);
			break;
		default:
			/* writing may be allowed where reading the configuration is not */
			topic->retention = TE_RETENTION_UNKNOWN;
			topic->max_message_bytes = -1;
			found_open(topics, topic);
			break;
	}
}

void
te_topics_facts(TeTopics *topics, TeAdminOp op, const TeTopicFacts *facts)
{
	static void (*const handlers[TE_ADMIN_OPS]) (TeTopics *, TeTopic *, const TeTopicFacts *) = {
		[TE_ADMIN_DESCRIBE] = described,
		[TE_ADMIN_CREATE] = created,
		[TE_ADMIN_CONFIGS] = configured,
	};

	for (uint32_t i = 0; i < topics->size; i++)
	{
		TeTopic    *topic = topics->by_number[i];

		if (topic && topic->looking && topic->asked && topic->next == op &&
			strcmp(topic->name, facts->name) == 0)
			handlers[op] (topics, topic, facts);
	}
}

void
te_topics_admin_done(TeTopics *topics, TeAdminOp op, int code, const char *reason)
{
	TeAdminVerdict verdict = te_kafka_admin_verdict(code);

	topics->busy[op] = false;
	for (uint32_t i = 0; i < topics->size; i++)
	{
		TeTopic    *topic = topics->by_number[i];
		TeTopicFacts facts;

		if (topic == NULL || !topic->looking || !topic->asked || topic->next != op)
			continue;
		if (verdict == TE_ADMIN_OK || verdict == TE_ADMIN_AGAIN)
		{
			look_later(topics, topic);
			continue;
		}
		/* the whole question was refused: that holds for each topic of it */
		facts = (TeTopicFacts)
		{
			.name = topic->name, .verdict = verdict, .code = code, .reason = reason,
				.partitions = -1, .retention_ms = TE_RETENTION_UNKNOWN, .max_message_bytes = -1
		};
		if (op == TE_ADMIN_DESCRIBE)
			found_open(topics, topic);	/* a broker that cannot be asked may still accept */
		else
			te_topics_facts(topics, op, &facts);
	}
}

void
te_topics_look_again(TeTopics *topics)
{
	for (uint32_t i = 0; i < topics->size; i++)
		if (topics->by_number[i])
			te_topic_look(topics, topics->by_number[i], topics->now);
}

static bool
start(TeTopics *topics, TeAdminOp op)
{
	const char *names[PER_REQUEST];
	TeTopicSpec specs[PER_REQUEST];
	int			n = 0;

	if (topics->busy[op])
		return false;
	for (uint32_t i = 0; i < topics->size && n < PER_REQUEST; i++)
	{
		TeTopic    *topic = topics->by_number[i];
		bool		twice = false;

		if (topic == NULL || !topic->looking || topic->asked || topic->next != op ||
			topic->due > topics->now)
			continue;
		topic->asked = true;
		/* two numbers may have one name; an answer serves both */
		for (int k = 0; k < n && !twice; k++)
			twice = strcmp(names[k], topic->name) == 0;
		if (twice)
			continue;
		names[n] = topic->name;
		specs[n++] = (TeTopicSpec) {topic->name, topic->want_partitions, topic->want_retention};
	}
	if (n == 0)
		return false;

	topics->busy[op] = true;
	if (op == TE_ADMIN_DESCRIBE)
		te_kafka_describe(topics->kafka, names, n);
	else if (op == TE_ADMIN_CREATE)
		te_kafka_create_topics(topics->kafka, specs, n);
	else
		te_kafka_read_configs(topics->kafka, names, n);
	return true;
}

int64_t
te_topics_step(TeTopics *topics, int64_t now)
{
	int64_t		due = TE_NEVER;
	bool		again;

	topics->now = now;
	do
	{
		again = false;
		for (int op = 0; op < TE_ADMIN_OPS; op++)
			again |= start(topics, (TeAdminOp) op);
	} while (again);

	for (uint32_t i = 0; i < topics->size; i++)
	{
		TeTopic    *topic = topics->by_number[i];

		/* while a question of its kind is under way, its answer wakes us */
		if (topic && topic->looking && !topic->asked && !topics->busy[topic->next] &&
			topic->due < due)
			due = topic->due;
	}
	return due;
}

/* ---- comparing ------------------------------------------------------ */

static void
put_duration(char *out, size_t size, int64_t ms)
{
	static const struct
	{
		int64_t		ms;
		const char *unit;
	}			units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "min"}, {1000, "s"}};

	if (ms < 0)
	{
		snprintf(out, size, "unlimited");
		return;
	}
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (ms > 0 && ms % units[i].ms == 0)
		{
			snprintf(out, size, "%" PRId64 " %s", ms / units[i].ms, units[i].unit);
			return;
		}
	snprintf(out, size, "%" PRId64 " ms", ms);
}

void
te_topic_compare(int32_t want_partitions, int32_t partitions, int64_t want_retention,
				 int64_t retention, char *out, size_t size)
{
	char		have[32];
	char		want[32];
	int			n = 0;

	out[0] = '\0';
	if (want_partitions > 0 && partitions > 0 && partitions != want_partitions)
		n = snprintf(out, size, "%d partition%s instead of %d", partitions,
					 partitions == 1 ? "" : "s", want_partitions);
	if (want_retention >= 0 && retention != TE_RETENTION_UNKNOWN && retention != want_retention &&
		n >= 0 && (size_t) n < size)
	{
		put_duration(have, sizeof(have), retention);
		put_duration(want, sizeof(want), want_retention);
		snprintf(out + n, size - (size_t) n, "%sretention %s instead of %s", n ? "; " : "", have,
				 want);
	}
}
