/*-------------------------------------------------------------------------
 *
 * kafka_admin.c
 *	  Looking at topics, and creating them.
 *
 * Requests wait inside the library until a broker is there, or for
 * REQUEST_TIMEOUT_MS; so an answer is also the first sign that a broker is
 * back.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <string.h>

#include "kafka_private.h"
#include "memory.h"

#define REQUEST_TIMEOUT_MS	10000
#define ERRSTR_SIZE			512

static rd_kafka_AdminOptions_t *
make_options(rd_kafka_t *rk, rd_kafka_admin_op_t op)
{
	rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(rk, op);
	char		errstr[ERRSTR_SIZE];

	rd_kafka_AdminOptions_set_request_timeout(options, REQUEST_TIMEOUT_MS, errstr, sizeof(errstr));
	return options;
}

void
te_kafka_report_topic(TeKafka *kafka, TeAdminOp op, TeTopicFacts facts, const char *reason)
{
	facts.verdict = te_kafka_admin_verdict(facts.code);
	facts.reason = reason && *reason ? reason : rd_kafka_err2str((rd_kafka_resp_err_t) facts.code);
	kafka->events->topic(kafka->arg, op, &facts);
}

/* ---- describe ------------------------------------------------------- */

#if RD_KAFKA_VERSION >= 0x020300ff

void
te_kafka_describe(TeKafka *kafka, const char *const *names, int n)
{
	TeKafkaLane *lane = &kafka->lanes[TE_LANE_MAIN];
	rd_kafka_AdminOptions_t *options;
	rd_kafka_TopicCollection_t *topics;

	if (kafka->mock)
	{
		te_kafka_embedded_describe(kafka, names, n);
		return;
	}
	options = make_options(lane->rk, RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
	topics = rd_kafka_TopicCollection_of_topic_names((const char **) names, (size_t) n);
	rd_kafka_DescribeTopics(lane->rk, topics, options, lane->queue);
	rd_kafka_TopicCollection_destroy(topics);
	rd_kafka_AdminOptions_destroy(options);
}

static void
describe_event(TeKafka *kafka, rd_kafka_event_t *event)
{
	const rd_kafka_DescribeTopics_result_t *result = rd_kafka_event_DescribeTopics_result(event);
	const rd_kafka_TopicDescription_t **topics;
	size_t		n;

	topics = rd_kafka_DescribeTopics_result_topics(result, &n);
	for (size_t i = 0; i < n; i++)
	{
		const rd_kafka_error_t *error = rd_kafka_TopicDescription_error(topics[i]);
		size_t		partitions = 0;

		rd_kafka_TopicDescription_partitions(topics[i], &partitions);
		te_kafka_report_topic(kafka, TE_ADMIN_DESCRIBE, (TeTopicFacts)
			   {
				   .name = rd_kafka_TopicDescription_name(topics[i]),
				   .code = error ? rd_kafka_error_code(error) : 0,
				   .partitions = (int32_t) partitions,
			   }, error ? rd_kafka_error_string(error) : NULL);
	}
}

#else

/*
 * Before 2.3 there is no such request that does not block.  One that does,
 * for at most two seconds, at the start and when a topic went missing, is
 * what an old library costs.
 */
void
te_kafka_describe(TeKafka *kafka, const char *const *names, int n)
{
	rd_kafka_t *rk = kafka->lanes[TE_LANE_MAIN].rk;
	rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;

	if (kafka->mock)
	{
		te_kafka_embedded_describe(kafka, names, n);
		return;
	}
	for (int i = 0; i < n && !err; i++)
	{
		const struct rd_kafka_metadata *metadata;
		rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, names[i], NULL);

		err = rd_kafka_metadata(rk, 0, rkt, &metadata, 2000);
		if (!err)
		{
			if (metadata->topic_cnt == 1)
				te_kafka_report_topic(kafka, TE_ADMIN_DESCRIBE, (TeTopicFacts)
					   {
						   .name = names[i],
						   .code = metadata->topics[0].err,
						   .partitions = metadata->topics[0].partition_cnt,
					   }, NULL);
			rd_kafka_metadata_destroy(metadata);
		}
		rd_kafka_topic_destroy(rkt);
	}
	kafka->events->admin_done(kafka->arg, TE_ADMIN_DESCRIBE, err, rd_kafka_err2str(err));
}

#endif

/* ---- create --------------------------------------------------------- */

void
te_kafka_create_topics(TeKafka *kafka, const TeTopicSpec *specs, int n)
{
	TeKafkaLane *lane = &kafka->lanes[TE_LANE_MAIN];
	rd_kafka_AdminOptions_t *options;
	rd_kafka_NewTopic_t **topics;
	char		errstr[ERRSTR_SIZE];
	int			made = 0;

	if (kafka->mock)
	{
		te_kafka_embedded_create(kafka, specs, n);
		return;
	}

	options = make_options(lane->rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
	/* until the brokers know of it, not only the controller */
	rd_kafka_AdminOptions_set_operation_timeout(options, REQUEST_TIMEOUT_MS / 2, errstr,
												sizeof(errstr));
	topics = te_alloc((size_t) n * sizeof(*topics));
	for (int i = 0; i < n; i++)
	{
		/* -1: as many replicas, and partitions, as the broker gives by default */
		rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(specs[i].name, specs[i].partitions, -1,
														   errstr, sizeof(errstr));
		char		number[32];

		if (topic == NULL)
		{
			te_kafka_report_topic(kafka, TE_ADMIN_CREATE, (TeTopicFacts)
				   {
					   .name = specs[i].name,.code = RD_KAFKA_RESP_ERR__INVALID_ARG
				   }, errstr);
			continue;
		}
		if (specs[i].retention_ms >= 0)
		{
			snprintf(number, sizeof(number), "%lld", (long long) specs[i].retention_ms);
			rd_kafka_NewTopic_set_config(topic, "retention.ms", number);
		}
		topics[made++] = topic;
	}
	if (made > 0)
		rd_kafka_CreateTopics(lane->rk, topics, (size_t) made, options, lane->queue);
	else
		kafka->events->admin_done(kafka->arg, TE_ADMIN_CREATE, 0, NULL);
	rd_kafka_NewTopic_destroy_array(topics, (size_t) made);
	free(topics);
	rd_kafka_AdminOptions_destroy(options);
}

static void
create_event(TeKafka *kafka, rd_kafka_event_t *event)
{
	const rd_kafka_topic_result_t **results;
	size_t		n;

	results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
	for (size_t i = 0; i < n; i++)
		te_kafka_report_topic(kafka, TE_ADMIN_CREATE, (TeTopicFacts)
			   {
				   .name = rd_kafka_topic_result_name(results[i]),
				   .code = rd_kafka_topic_result_error(results[i]),
			   }, rd_kafka_topic_result_error_string(results[i]));
}

/* ---- configs -------------------------------------------------------- */

void
te_kafka_read_configs(TeKafka *kafka, const char *const *names, int n)
{
	TeKafkaLane *lane = &kafka->lanes[TE_LANE_MAIN];
	rd_kafka_AdminOptions_t *options;
	rd_kafka_ConfigResource_t **resources;

	if (kafka->mock)
	{
		te_kafka_embedded_read_configs(kafka, names, n);
		return;
	}

	options = make_options(lane->rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
	resources = te_alloc((size_t) n * sizeof(*resources));
	for (int i = 0; i < n; i++)
		resources[i] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, names[i]);
	rd_kafka_DescribeConfigs(lane->rk, resources, (size_t) n, options, lane->queue);
	rd_kafka_ConfigResource_destroy_array(resources, (size_t) n);
	free(resources);
	rd_kafka_AdminOptions_destroy(options);
}

static int64_t
config_number(const rd_kafka_ConfigResource_t *resource, const char *name, int64_t missing)
{
	const rd_kafka_ConfigEntry_t **entries;
	size_t		n;

	entries = rd_kafka_ConfigResource_configs(resource, &n);
	for (size_t i = 0; i < n; i++)
	{
		const char *value = rd_kafka_ConfigEntry_value(entries[i]);

		if (value && strcmp(rd_kafka_ConfigEntry_name(entries[i]), name) == 0)
			return strtoll(value, NULL, 10);
	}
	return missing;
}

static void
configs_event(TeKafka *kafka, rd_kafka_event_t *event)
{
	const rd_kafka_ConfigResource_t **resources;
	size_t		n;

	resources = rd_kafka_DescribeConfigs_result_resources(
		rd_kafka_event_DescribeConfigs_result(event), &n);
	for (size_t i = 0; i < n; i++)
		te_kafka_report_topic(kafka, TE_ADMIN_CONFIGS, (TeTopicFacts)
			   {
				   .name = rd_kafka_ConfigResource_name(resources[i]),
				   .code = rd_kafka_ConfigResource_error(resources[i]),
				   .retention_ms = config_number(resources[i], "retention.ms",
												 TE_RETENTION_UNKNOWN),
				   .max_message_bytes = config_number(resources[i], "max.message.bytes", -1),
			   }, rd_kafka_ConfigResource_error_string(resources[i]));
}

bool
te_kafka_admin_event(TeKafka *kafka, rd_kafka_event_t *event)
{
	static void (*const parts[TE_ADMIN_OPS]) (TeKafka *, rd_kafka_event_t *) = {
#if RD_KAFKA_VERSION >= 0x020300ff
		[TE_ADMIN_DESCRIBE] = describe_event,
#endif
		[TE_ADMIN_CREATE] = create_event,
		[TE_ADMIN_CONFIGS] = configs_event,
	};
	rd_kafka_resp_err_t err = rd_kafka_event_error(event);
	TeAdminOp	op;

	switch (rd_kafka_event_type(event))
	{
#if RD_KAFKA_VERSION >= 0x020300ff
		case RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT:
			op = TE_ADMIN_DESCRIBE;
			break;
#endif
		case RD_KAFKA_EVENT_CREATETOPICS_RESULT:
			op = TE_ADMIN_CREATE;
			break;
		case RD_KAFKA_EVENT_DESCRIBECONFIGS_RESULT:
			op = TE_ADMIN_CONFIGS;
			break;
		default:
			return false;
	}
	if (!err)
		parts[op] (kafka, event);
	kafka->events->admin_done(kafka->arg, op, err, err ? rd_kafka_event_error_string(event) : NULL);
	return true;
}
