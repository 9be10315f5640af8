/*-------------------------------------------------------------------------
 *
 * kafka_embedded.c
 *	  brokers = 'embedded': librdkafka's mock cluster inside this process.
 *
 * It is for demonstrations: it keeps the last 5 MB of each partition, in
 * memory, and knows no administrative requests.  Those are answered here,
 * from what was created.
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "kafka_private.h"
#include "memory.h"

const char *
te_kafka_embedded_address(const TeKafka *kafka)
{
	return kafka->mock ? rd_kafka_mock_cluster_bootstraps(kafka->mock) : NULL;
}

static const TeTopicSpec *
find(const TeKafka *kafka, const char *name)
{
	for (int i = 0; i < kafka->mock_topic_count; i++)
		if (strcmp(kafka->mock_topics[i].name, name) == 0)
			return &kafka->mock_topics[i];
	return NULL;
}

void
te_kafka_embedded_describe(TeKafka *kafka, const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
	{
		const TeTopicSpec *spec = find(kafka, names[i]);
		TeTopicFacts facts = {
			.name = names[i],
			.code = spec ? RD_KAFKA_RESP_ERR_NO_ERROR : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
			.partitions = spec ? spec->partitions : -1,
		};

		te_kafka_report_topic(kafka, TE_ADMIN_DESCRIBE, facts, NULL);
	}
	kafka->events->admin_done(kafka->arg, TE_ADMIN_DESCRIBE, 0, NULL);
}

void
te_kafka_embedded_create(TeKafka *kafka, const TeTopicSpec *specs, int n)
{
	for (int i = 0; i < n; i++)
	{
		int			partitions = specs[i].partitions > 0 ? specs[i].partitions : 1;
		TeTopicFacts facts = {.name = specs[i].name};

		/* another client of the broker may have been first */
		facts.code = rd_kafka_mock_topic_create(kafka->mock, specs[i].name, partitions, 1);
		if (find(kafka, specs[i].name) == NULL)
		{
			kafka->mock_topics = te_realloc(kafka->mock_topics,
											(size_t) (kafka->mock_topic_count + 1) *
											sizeof(TeTopicSpec));
			kafka->mock_topics[kafka->mock_topic_count++] =
				(TeTopicSpec) {te_strdup(specs[i].name), partitions, specs[i].retention_ms};
		}
		te_kafka_report_topic(kafka, TE_ADMIN_CREATE, facts, NULL);
	}
	kafka->events->admin_done(kafka->arg, TE_ADMIN_CREATE, 0, NULL);
}

void
te_kafka_embedded_read_configs(TeKafka *kafka, const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
	{
		TeTopicFacts facts = {
			.name = names[i],
			.retention_ms = TE_RETENTION_UNKNOWN,
			.max_message_bytes = -1,
		};

		te_kafka_report_topic(kafka, TE_ADMIN_CONFIGS, facts, NULL);
	}
	kafka->events->admin_done(kafka->arg, TE_ADMIN_CONFIGS, 0, NULL);
}
