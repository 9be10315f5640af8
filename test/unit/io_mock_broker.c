/*
 * io_mock_broker.c - a Kafka that misbehaves on command
 *
 * librdkafka's mock cluster in a process of its own.  Prints its address, then
 * obeys lines on standard input and answers "ok" to each:
 *
 *	create TOPIC PARTITIONS
 *	topic TOPIC CODE          every request for the topic fails with it; 0 ends that
 *	produce CODE [CODE ...]   the next Produce requests fail with these, one after another
 *	request KEY CODE          the next request of this API key fails with it
 *	delay MS                  every answer takes so long
 *	down | up
 */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rd_kafka_mock_cluster_t *cluster;

static void
obey(char *line)
{
	const char *verb = strtok(line, " \n");
	const char *argument;

	if (verb == NULL)
		return;
	if (strcmp(verb, "create") == 0)
	{
		const char *topic = strtok(NULL, " \n");

		rd_kafka_mock_topic_create(cluster, topic, atoi(strtok(NULL, " \n")), 1);
	}
	else if (strcmp(verb, "topic") == 0)
	{
		const char *topic = strtok(NULL, " \n");

		rd_kafka_mock_topic_set_error(cluster, topic,
									  (rd_kafka_resp_err_t) atoi(strtok(NULL, " \n")));
	}
	else if (strcmp(verb, "produce") == 0)
		while ((argument = strtok(NULL, " \n")) != NULL)
			rd_kafka_mock_push_request_errors(cluster, 0, 1, (rd_kafka_resp_err_t) atoi(argument));
	else if (strcmp(verb, "request") == 0)
	{
		int			key = atoi(strtok(NULL, " \n"));

		rd_kafka_mock_push_request_errors(cluster, (int16_t) key, 1,
										  (rd_kafka_resp_err_t) atoi(strtok(NULL, " \n")));
	}
	else if (strcmp(verb, "delay") == 0)
		rd_kafka_mock_broker_set_rtt(cluster, -1, atoi(strtok(NULL, " \n")));
	else if (strcmp(verb, "down") == 0)
		rd_kafka_mock_broker_set_down(cluster, -1);
	else if (strcmp(verb, "up") == 0)
		rd_kafka_mock_broker_set_up(cluster, -1);
	else
	{
		fprintf(stderr, "io_mock_broker: unknown command \"%s\"\n", verb);
		exit(1);
	}
	puts("ok");
	fflush(stdout);
}

int
main(void)
{
	char		text[512];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_t *rk;

	/* its own log says only that connections end */
	rd_kafka_conf_set(conf, "log_level", "0", text, sizeof(text));
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
	cluster = rk ? rd_kafka_mock_cluster_new(rk, 1) : NULL;
	if (cluster == NULL)
	{
		fprintf(stderr, "io_mock_broker: %s\n", text);
		return 1;
	}
	/* clients look for the controller before they ask anything administrative */
	rd_kafka_mock_set_controller_id(cluster, 1);
	puts(rd_kafka_mock_cluster_bootstraps(cluster));
	fflush(stdout);
	while (fgets(text, sizeof(text), stdin))
		obey(text);
	rd_kafka_mock_cluster_destroy(cluster);
	rd_kafka_destroy(rk);
	return 0;
}
