/*
 * raw_topic.c
 *		Creates, deletes and looks at topics.
 *
 *	raw_topic create NAME [--partitions N] [--config K=V]
 *	raw_topic delete NAME
 *	raw_topic list              one line a topic: name, tab, partitions
 *	raw_topic offsets NAME      one line a partition: number, first and next offset
 *	raw_topic config NAME       one line a value that is not the broker's default
 */
#include "raw.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS 10000

static rd_kafka_t *rk;
static rd_kafka_queue_t *queue;
static rd_kafka_AdminOptions_t *admin;

/* Waits for the answer to the admin request just sent; dies if that failed. */
static rd_kafka_event_t *
answer(void)
{
	rd_kafka_event_t *event = rd_kafka_queue_poll(queue, TIMEOUT_MS + 5000);

	if (event == NULL)
		raw_die("no answer");
	if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR)
		raw_die("%s", rd_kafka_event_error_string(event));
	return event;
}

static void
check_topics(const rd_kafka_topic_result_t **results, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (rd_kafka_topic_result_error(results[i]) != RD_KAFKA_RESP_ERR_NO_ERROR)
			raw_die("topic %s: %s", rd_kafka_topic_result_name(results[i]),
					rd_kafka_topic_result_error_string(results[i]) ?
					rd_kafka_topic_result_error_string(results[i]) :
					rd_kafka_err2str(rd_kafka_topic_result_error(results[i])));
}

static void
create(const char *name, int partitions, const char *config)
{
	char		errstr[256];
	rd_kafka_NewTopic_t *topic;
	rd_kafka_event_t *event;
	size_t		count;
	const rd_kafka_topic_result_t **results;
	char	   *pairs = config ? strdup(config) : NULL;

	topic = rd_kafka_NewTopic_new(name, partitions, -1, errstr, sizeof(errstr));
	if (topic == NULL)
		raw_die("%s", errstr);
	for (char *pair = pairs ? strtok(pairs, " ") : NULL; pair != NULL; pair = strtok(NULL, " "))
	{
		char	   *equals = strchr(pair, '=');

		if (equals == NULL)
			raw_die("not a name=value: %s", pair);
		*equals = '\0';
		rd_kafka_NewTopic_set_config(topic, pair, equals + 1);
	}
	free(pairs);
	rd_kafka_CreateTopics(rk, &topic, 1, admin, queue);
	event = answer();
	results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event),
												  &count);
	check_topics(results, count);
	rd_kafka_event_destroy(event);
	rd_kafka_NewTopic_destroy(topic);

	/* Returns when it can be used, not when it has been promised. */
	raw_partitions(rk, name, TIMEOUT_MS / 1000.0);
	for (int i = 0; i < partitions; i++)
	{
		int64_t		low;
		int64_t		high;

		raw_offsets(rk, name, i, TIMEOUT_MS / 1000.0, &low, &high);
	}
}

static void
delete(const char *name)
{
	rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(name);
	rd_kafka_event_t *event;
	size_t		count;
	const rd_kafka_topic_result_t **results;

	rd_kafka_DeleteTopics(rk, &topic, 1, admin, queue);
	event = answer();
	results = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event),
												  &count);
	check_topics(results, count);
	rd_kafka_event_destroy(event);
	rd_kafka_DeleteTopic_destroy(topic);
}

static void
list(void)
{
	const struct rd_kafka_metadata *metadata;
	rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 1, NULL, &metadata, TIMEOUT_MS);

	if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
		raw_die("%s", rd_kafka_err2str(err));
	for (int i = 0; i < metadata->topic_cnt; i++)
		printf("%s\t%d\n", metadata->topics[i].topic, metadata->topics[i].partition_cnt);
	rd_kafka_metadata_destroy(metadata);
}

static void
offsets(const char *name)
{
	int			partitions = raw_partitions(rk, name, 1);

	for (int i = 0; i < partitions; i++)
	{
		int64_t		low;
		int64_t		high;

		raw_offsets(rk, name, i, TIMEOUT_MS / 1000.0, &low, &high);
		printf("%d\t%lld\t%lld\n", i, (long long) low, (long long) high);
	}
}

static void
config(const char *name)
{
	rd_kafka_ConfigResource_t *resource;
	rd_kafka_event_t *event;
	size_t		count;
	const rd_kafka_ConfigResource_t **results;
	const rd_kafka_DescribeConfigs_result_t *described;

	resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name);
	rd_kafka_DescribeConfigs(rk, &resource, 1, admin, queue);
	event = answer();
	described = rd_kafka_event_DescribeConfigs_result(event);
	results = rd_kafka_DescribeConfigs_result_resources(described, &count);
	for (size_t i = 0; i < count; i++)
	{
		size_t		entries;
		const rd_kafka_ConfigEntry_t **entry;

		if (rd_kafka_ConfigResource_error(results[i]) != RD_KAFKA_RESP_ERR_NO_ERROR)
			raw_die("topic %s: %s", name, rd_kafka_ConfigResource_error_string(results[i]));
		entry = rd_kafka_ConfigResource_configs(results[i], &entries);
		for (size_t j = 0; j < entries; j++)
		{
			const char *value = rd_kafka_ConfigEntry_value(entry[j]);

			if (!rd_kafka_ConfigEntry_is_default(entry[j]))
				printf("%s=%s\n", rd_kafka_ConfigEntry_name(entry[j]), value ? value : "");
		}
	}
	rd_kafka_event_destroy(event);
	rd_kafka_ConfigResource_destroy(resource);
}

int
main(int argc, char **argv)
{
	double		partitions = 3;
	const char *pairs = NULL;
	const RawOption options[] = {
		{"--partitions", NULL, &partitions, NULL},
		{"--config", &pairs, NULL, NULL},
		{0}
	};
	const char *usage =
		"raw_topic create|delete|offsets|config NAME | list\n"
		"  --partitions N          of a new topic (3)\n"
		"  --config 'K=V K=V'      of a new topic";
	int			plain = raw_options(argc, argv, options, usage);
	char		errstr[256];

	if (plain != (plain > 0 && strcmp(argv[0], "list") == 0 ? 1 : 2))
		raw_die("a command and a topic's name are wanted (see --help)");

	rk = raw_client(RD_KAFKA_PRODUCER, raw_conf());
	queue = rd_kafka_queue_new(rk);
	admin = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_ANY);
	rd_kafka_AdminOptions_set_request_timeout(admin, TIMEOUT_MS, errstr, sizeof(errstr));

	if (strcmp(argv[0], "create") == 0)
		create(argv[1], (int) partitions, pairs);
	else if (strcmp(argv[0], "delete") == 0)
		delete(argv[1]);
	else if (strcmp(argv[0], "list") == 0)
		list();
	else if (strcmp(argv[0], "offsets") == 0)
		offsets(argv[1]);
	else if (strcmp(argv[0], "config") == 0)
		config(argv[1]);
	else
		raw_die("unknown command %s (see --help)", argv[0]);

	rd_kafka_AdminOptions_destroy(admin);
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy(rk);
	return 0;
}
