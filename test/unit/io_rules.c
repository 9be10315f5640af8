/*
 * io_rules.c - decisions of todo_events_io that need no broker: what an error
 * means, how trouble is worded, when a status is told, how topics compare,
 * what a configuration may hold, which addresses may be connected to
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "address.h"
#include "broker.h"
#include "config.h"
#include "io_tap.h"
#include "kafka_private.h"
#include "topics.h"

static void
test_verdicts(void)
{
	static const struct
	{
		int			code;
		TeVerdict	verdict;
	}			cases[] = {
		{RD_KAFKA_RESP_ERR_NO_ERROR, TE_VERDICT_DELIVERED},
		{RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, TE_VERDICT_REFUSED},
		{RD_KAFKA_RESP_ERR_POLICY_VIOLATION, TE_VERDICT_REFUSED},
		{RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, TE_VERDICT_REFUSED},
		{RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, TE_VERDICT_BATCH},
		{RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, TE_VERDICT_BATCH},
		{RD_KAFKA_RESP_ERR_INVALID_RECORD, TE_VERDICT_BATCH},
		{RD_KAFKA_RESP_ERR_INVALID_MSG, TE_VERDICT_BATCH},
		{RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, TE_VERDICT_BATCH},
		{RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, TE_VERDICT_TOPIC},
		{RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, TE_VERDICT_TOPIC},
		{RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, TE_VERDICT_TOPIC},
		{RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, TE_VERDICT_AGAIN},
		{RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, TE_VERDICT_AGAIN},
		{RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, TE_VERDICT_AGAIN},
		{RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED, TE_VERDICT_AGAIN},
		{RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, TE_VERDICT_AGAIN},
		{RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE, TE_VERDICT_AGAIN},
		{RD_KAFKA_RESP_ERR_UNKNOWN, TE_VERDICT_AGAIN},
		{RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, TE_VERDICT_AGAIN},
		{RD_KAFKA_RESP_ERR__PURGE_QUEUE, TE_VERDICT_AGAIN},
		{RD_KAFKA_RESP_ERR__PURGE_INFLIGHT, TE_VERDICT_AGAIN},
		{RD_KAFKA_RESP_ERR__QUEUE_FULL, TE_VERDICT_AGAIN},
		{RD_KAFKA_RESP_ERR__TRANSPORT, TE_VERDICT_AGAIN},
		{RD_KAFKA_RESP_ERR__FATAL, TE_VERDICT_RESTART},
		{RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, TE_VERDICT_RESTART},
		{RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, TE_VERDICT_RESTART},
		{30000, TE_VERDICT_AGAIN},	/* a code of a later Kafka */
	};
	static const struct
	{
		int			code;
		TeAdminVerdict verdict;
	}			admin[] = {
		{RD_KAFKA_RESP_ERR_NO_ERROR, TE_ADMIN_OK},
		{RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, TE_ADMIN_ABSENT},
		{RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS, TE_ADMIN_EXISTS},
		{RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, TE_ADMIN_DENIED},
		{RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, TE_ADMIN_DENIED},
		{RD_KAFKA_RESP_ERR_POLICY_VIOLATION, TE_ADMIN_REFUSED},
		{RD_KAFKA_RESP_ERR_INVALID_PARTITIONS, TE_ADMIN_REFUSED},
		{RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, TE_ADMIN_REFUSED},
		{RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR, TE_ADMIN_AGAIN},
		{RD_KAFKA_RESP_ERR_NOT_CONTROLLER, TE_ADMIN_AGAIN},
		{RD_KAFKA_RESP_ERR__TIMED_OUT, TE_ADMIN_AGAIN},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ok(te_kafka_verdict(cases[i].code) == cases[i].verdict, "verdict on %s",
		   te_kafka_code_name(cases[i].code));
	for (size_t i = 0; i < sizeof(admin) / sizeof(admin[0]); i++)
		ok(te_kafka_admin_verdict(admin[i].code) == admin[i].verdict, "verdict on a topic's %s",
		   te_kafka_code_name(admin[i].code));
}

/* texts as librdkafka 2.15.1 gives them */
static void
test_trouble(void)
{
	TeConfig	plain = {.brokers = "kafka:9092", .sasl_mechanism = "", .sasl_username = "",
	.ca_file = ""};
	TeConfig	scram = {.brokers = "kafka:9093", .sasl_mechanism = "SCRAM-SHA-512",
		.sasl_username = "todo", .ca_file = "/ca.crt", .use_tls = true};
	const struct
	{
		const TeConfig *config;
		int			code;
		int			x509;
		int			version;
		const char *text;
		const char *message;
		const char *hint;
	}			cases[] = {
		{&plain, RD_KAFKA_RESP_ERR__RESOLVE, 0, 0x020f01ff,
			"nowhere:9092/bootstrap: Failed to resolve 'nowhere:9092': Name or service not known (after 2ms in state CONNECT)",
			"unknown host in todo_events.brokers: Failed to resolve 'nowhere:9092': Name or service not known",
		"todo_events.brokers"},
		{&plain, RD_KAFKA_RESP_ERR__TRANSPORT, 0, 0x020f01ff,
			"127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT, 3 identical error(s) suppressed)",
			"could not reach Kafka at 127.0.0.1:1: Connect to ipv4#127.0.0.1:1 failed: Connection refused",
		"todo_events.brokers"},
		{&scram, RD_KAFKA_RESP_ERR__AUTHENTICATION, 0, 0x020f01ff,
			"sasl_ssl://k:9093/bootstrap: SASL authentication error: invalid credentials (after 9ms in state AUTH_REQ)",
			"Kafka at k:9093 refused the login of user \"todo\": SASL authentication error: invalid credentials",
		"todo_events.sasl_password_file"},
		{&scram, RD_KAFKA_RESP_ERR__AUTHENTICATION, 0, 0x020002ff,
			"sasl_ssl://k:9093/bootstrap: SASL authentication error: invalid credentials (after 9ms in state AUTH_REQ)",
			"refused the login of user \"todo\"",
		"cannot do SCRAM with Kafka 4"},
		{&scram, RD_KAFKA_RESP_ERR__AUTHENTICATION, 0, 0x020f01ff,
			"sasl_ssl://k:9093/bootstrap: SASL SCRAM-SHA-512 mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported mechanisms: PLAIN (after 9ms in state AUTH_HANDSHAKE)",
			"does not offer SASL mechanism SCRAM-SHA-512",
		"todo_events.sasl_mechanism"},
		{&scram, RD_KAFKA_RESP_ERR__SSL, 10, 0x020f01ff,
			"sasl_ssl://k:9093/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed (after 3ms in state SSL_HANDSHAKE)",
			"has expired", "todo_events.ca_file"},
		{&scram, RD_KAFKA_RESP_ERR__SSL, 20, 0x020f01ff,
			"sasl_ssl://k:9093/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed",
			"signed by an unknown CA", "/ca.crt"},
		{&scram, RD_KAFKA_RESP_ERR__SSL, 62, 0x020f01ff,
			"sasl_ssl://k:9093/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed",
			"is for another host", "todo_events.brokers"},
		{&scram, RD_KAFKA_RESP_ERR__TRANSPORT, 0, 0x020f01ff,
			"sasl_ssl://k:9093/bootstrap: SSL handshake failed: Disconnected: SSL connection closed by peer: connecting to a PLAINTEXT broker listener?",
			"Kafka at k:9093 does not speak TLS on this port", "todo_events.tls"},
		{&scram, RD_KAFKA_RESP_ERR__TRANSPORT, 0, 0x020f01ff,
			"ssl://k:9093/bootstrap: Receive failed: error:0A000412:SSL routines::sslv3 alert bad certificate: SSL alert number 42 (after 0ms in state APIVERSION_QUERY)",
			"refused our TLS certificate", "todo_events.cert_file"},
		{&plain, RD_KAFKA_RESP_ERR__TRANSPORT, 0, 0x020f01ff,
			"k:9092/bootstrap: k:9092/bootstrap: Disconnected: connection closed by peer: receive 0 after POLLIN (after 1ms in state APIVERSION_QUERY)",
			"Kafka at k:9092 closed the connection at once", "todo_events.tls"},
		{&plain, RD_KAFKA_RESP_ERR__TRANSPORT, 0, 0x020f01ff,
			"k:9092/1: Disconnected: connection closed by peer: receive 0 after POLLIN (after 90000ms in state UP)",
			"could not reach Kafka at k:9092: Disconnected", "todo_events.brokers"},
		{&plain, 9999, 0, 0x020f01ff, "something: quite new", "something: quite new", ""},
		{&plain, 9999, 0, 0x020f01ff, NULL, "kafka:9092", ""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		TeTroubleFacts facts = {.code = cases[i].code, .text = cases[i].text,
			.x509_error = cases[i].x509, .config = cases[i].config,
		.library_version = cases[i].version};
		TeTrouble	trouble;

		te_kafka_explain(&facts, &trouble);
		has_part(trouble.message, cases[i].message, "the cause is named");
		has_part(trouble.hint, cases[i].hint, "and what to look at");
		ok(!trouble.all_down, "one connection is not all");
	}
	{
		TeTroubleFacts facts = {.code = RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, .text = "3/3 brokers are down",
		.config = &plain};
		TeTrouble	trouble;

		te_kafka_explain(&facts, &trouble);
		ok(trouble.all_down && *trouble.message == '\0', "all down is no cause by itself");
	}
}

#define SECOND INT64_C(1000000)

/* the STATUS frames queued since the last call; the last one's level and message */
static int
told(TeWriter *out, int *level, char *message, size_t size)
{
	int			n = 0;

	while (te_writer_pending(out) > 0)
	{
		const char *p = out->data + out->start;
		TeWireIn	header = te_wire_in(p, TE_WIRE_HEADER);
		uint32_t	len = te_wire_get_u32(&header);
		TeWireIn	in = te_wire_in(p + TE_WIRE_HEADER, len);
		TeWireStr	text;

		*level = te_wire_get_u8(&in);
		te_wire_get_str(&in);
		text = te_wire_get_str(&in);
		snprintf(message, size, "%.*s", (int) text.len, text.data);
		out->start += TE_WIRE_HEADER + len;
		n++;
	}
	return n;
}

static void
test_broker(void)
{
	TeWriter	out;
	TeBroker	broker;
	TeTrouble	refused = {.message = "refused", .hint = "h"};
	TeTrouble	unknown = {.message = "unknown host", .hint = "h"};
	TeTrouble	third = {.message = "third", .hint = "h"};
	TeTrouble	all = {.all_down = true};
	TeTrouble	here4 = {.message = "address 127.0.0.1", .hint = "h", .refused = true};
	TeTrouble	here6 = {.message = "address ::1", .hint = "h", .refused = true};
	int64_t		t = 100 * SECOND;
	char		message[512] = "";
	int			level = -1;

#define TOLD() told(&out, &level, message, sizeof(message))
	te_writer_init(&out);
	te_broker_init(&broker, &out, "kafka:9092", false, t);
	is_int(TOLD(), 1, "it says that it connects");
	is_int(level, TE_LEVEL_INFO, "which is no trouble");
	is_int(te_broker_step(&broker, 0, t), t + 5 * SECOND, "and waits for the first answer");
	te_broker_step(&broker, 0, t + 5 * SECOND);
	is_int(TOLD(), 1, "silence at the start is told");
	has_part(message, "no broker of todo_events.brokers (kafka:9092) can be reached", "as such");

	te_broker_init(&broker, &out, "kafka:9092", false, t);
	TOLD();
	te_broker_trouble(&broker, &refused, t);
	te_broker_trouble(&broker, &all, t);
	te_broker_step(&broker, 0, t);
	is_int(TOLD(), 1, "a cause at the start is told at once");
	is_str(message, "refused", "by its name");
	is_int(level, TE_LEVEL_ERROR, "as an error");
	for (int i = 1; i < 100; i++)
	{
		te_broker_trouble(&broker, &refused, t + i * SECOND);
		te_broker_trouble(&broker, &all, t + i * SECOND);
		te_broker_step(&broker, 7, t + i * SECOND);
	}
	is_int(TOLD(), 0, "and never again");
	t += 100 * SECOND;
	te_broker_trouble(&broker, &unknown, t);
	te_broker_step(&broker, 7, t);
	is_int(TOLD(), 1, "another cause is told");
	te_broker_trouble(&broker, &third, t + SECOND);
	is_int(te_broker_step(&broker, 7, t + SECOND), t + 5 * SECOND, "the next one a while later");
	te_broker_trouble(&broker, &unknown, t + 2 * SECOND);
	te_broker_step(&broker, 7, t + 6 * SECOND);
	is_int(TOLD(), 1, "even if the one before comes again");
	is_str(message, "third", "by its name");
	for (int i = 7; i < 300; i++)
	{
		te_broker_trouble(&broker, i % 3 == 0 ? &refused : i % 3 == 1 ? &unknown : &third,
						  t + i * SECOND);
		te_broker_step(&broker, 7, t + i * SECOND);
	}
	is_int(TOLD(), 0, "three brokers that fail by turns are told once each");
	for (int i = 300; i < 420; i++)
	{
		te_broker_trouble(&broker, i % 2 ? &refused : &unknown, t + i * SECOND);
		te_broker_step(&broker, 7, t + i * SECOND);
	}
	is_int(TOLD(), 1, "when the one told last is over, another is");
	t += 420 * SECOND;

	te_broker_alive(&broker, t);
	is_int(TOLD(), 1, "an answer is told");
	is_int(level, TE_LEVEL_OK, "as OK");
	te_broker_alive(&broker, t);
	is_int(TOLD(), 0, "once");

	te_broker_trouble(&broker, &refused, t);
	te_broker_step(&broker, 0, t + 10 * SECOND);
	is_int(TOLD(), 0, "trouble with one broker is none while another works");
	te_broker_trouble(&broker, &all, t);
	is_int(te_broker_step(&broker, 0, t), t + 300000, "when all are gone, a probe gets a moment");
	te_broker_alive(&broker, t + 100000);
	te_broker_step(&broker, 0, t + SECOND);
	is_int(TOLD(), 0, "an idle connection that was closed is no trouble");
	te_broker_trouble(&broker, &all, t);
	te_broker_step(&broker, 0, t + SECOND);
	is_int(TOLD(), 1, "no answer within that moment is");
	has_part(message, "no broker", "without a cause of its own");

	te_broker_alive(&broker, t);
	TOLD();
	is_int(te_broker_step(&broker, 0, t), TE_NEVER, "idle, there is nothing to wake for");
	te_broker_step(&broker, 3, t);
	te_broker_step(&broker, 3, t + 5 * SECOND);
	is_int(TOLD(), 1, "no acknowledgement for five seconds is told");
	is_int(level, TE_LEVEL_WARNING, "as a warning");
	has_part(message, "3 messages wait", "with what waits");
	is_int(te_broker_step(&broker, 3, t + 60 * SECOND), TE_NEVER, "once");
	te_broker_alive(&broker, t + 60 * SECOND);
	is_int(TOLD(), 1, "and taken back");
	is_int(level, TE_LEVEL_OK, "with an OK");

	te_broker_init(&broker, &out, "localhost:1", false, t);
	TOLD();
	for (int i = 0; i < 100; i++)
	{
		te_broker_trouble(&broker, i % 2 ? &here6 : &here4, t + i * SECOND);
		te_broker_step(&broker, 0, t + i * SECOND);
	}
	is_int(TOLD(), 1, "two refused addresses of a host are one cause");
	is_str(message, "address 127.0.0.1", "the first");
	te_broker_trouble(&broker, &here6, t + 200 * SECOND);
	te_broker_step(&broker, 0, t + 200 * SECOND);
	is_int(TOLD(), 1, "one that is refused when the first no longer is, is another");

	te_broker_init(&broker, &out, "kafka:9092", false, t);
	te_broker_alive(&broker, t);
	TOLD();
	te_broker_step(&broker, 1, t);
	te_broker_trouble(&broker, &here4, t + SECOND);
	te_broker_step(&broker, 1, t + 5 * SECOND);
	is_int(TOLD(), 1, "a refused broker among others is told when something waits for it");
	is_str(message, "address 127.0.0.1", "as the cause");
	te_broker_alive(&broker, t + 6 * SECOND);
	TOLD();
	is_int(level, TE_LEVEL_OK, "and taken back by an acknowledgement");

	te_broker_init(&broker, &out, "127.0.0.1:1", true, t);
	te_broker_alive(&broker, t);
	TOLD();
	is_str(message, "degraded: demo broker, memory only", "the embedded broker says what it is");
	is_int(level, TE_LEVEL_WARNING, "as a warning");
	te_writer_free(&out);
}

static void
test_compare(void)
{
	static const struct
	{
		int			want_partitions,
					partitions;
		int64_t		want_retention,
					retention;
		const char *text;
	}			cases[] = {
		{3, 3, 86400000, 86400000, ""},
		{-1, 7, -1, 5, ""},
		{3, -1, 86400000, TE_RETENTION_UNKNOWN, ""},
		{3, 1, 1, 1, "1 partition instead of 3"},
		{1, 3, 1, 1, "3 partitions instead of 1"},
		{1, 1, 604800000, 86400000, "retention 1 d instead of 7 d"},
		{1, 1, 86400000, -1, "retention unlimited instead of 1 d"},
		{1, 1, 5400000, 1001, "retention 1001 ms instead of 90 min"},
		{2, 1, 3600000, 30000, "1 partition instead of 2; retention 30 s instead of 1 h"},
		{1, 1, 0, 0, ""},
	};
	char		text[200];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		te_topic_compare(cases[i].want_partitions, cases[i].partitions, cases[i].want_retention,
						 cases[i].retention, text, sizeof(text));
		is_str(text, cases[i].text, *cases[i].text ? cases[i].text : "no difference");
	}
	te_topic_compare(2, 1, 3600000, 30000, text, 10);
	is_int((long long) strlen(text), 9, "a short buffer is not overrun");
}

static char body[4096];

static uint32_t
config_body(const char *const *pairs)
{
	char	   *p = body + 4;
	uint32_t	n = 0;

	for (; pairs[2 * n]; n++)
	{
		p = te_wire_put_str(p, pairs[2 * n], strlen(pairs[2 * n]));
		p = te_wire_put_str(p, pairs[2 * n + 1], pairs[2 * n + 1] ? strlen(pairs[2 * n + 1]) : 0);
	}
	te_wire_put_u32(body, n);
	return (uint32_t) (p - body);
}

/* is TLS used with this configuration? -1: refused */
static int
tls_with(const char *const *pairs)
{
	TeConfig	config;
	TeConfigError error;
	bool		malformed;
	int			result = -1;

	if (te_config_decode(&config, body, config_body(pairs), &error, &malformed) &&
		te_config_check(&config, &error))
		result = config.use_tls;
	te_config_free(&config);
	return result;
}

static void
test_config(void)
{
	TeConfig	config;
	TeConfigError error;
	bool		malformed;
	uint32_t	len;
	int			accepted = 0;

	is_int(tls_with((const char *[]) {"brokers", "a:1", NULL}), 0, "no TLS by itself");
	is_int(tls_with((const char *[]) {"brokers", "a:1", "tls", "on", NULL}), 1, "TLS when asked");
	is_int(tls_with((const char *[]) {"brokers", "a:1", "sasl_mechanism", "PLAIN", "sasl_username",
						"u", "sasl_password", "p", NULL}), 1, "TLS with a login");
	is_int(tls_with((const char *[]) {"brokers", "a:1", "sasl_mechanism", "PLAIN", "sasl_username",
						"u", "sasl_password", "p", "tls", "off", NULL}), 0, "unless switched off");
	is_int(tls_with((const char *[]) {"brokers", "a:1", "ca_file", "/dev/null", NULL}), 1,
		   "TLS with a CA");
	is_int(tls_with((const char *[]) {"brokers", "a:1", "ca_file", "", "sasl_username", NULL, NULL}),
		   0, "empty and absent are not given");
	is_int(tls_with((const char *[]) {"brokers", "a:1", "tls", "ON", NULL}), -1, "a bad tls");
	is_int(tls_with((const char *[]) {"brokers", "", NULL}), -1, "no brokers");

	is_int(tls_with((const char *[]) {"brokers", "a:1", "restrict_addresses", "on",
						"allowed_networks", "10.0.0.0/8, ::1/128", NULL}), 0, "networks");
	is_int(tls_with((const char *[]) {"brokers", "a:1", "restrict_addresses", "on",
						"allowed_networks", "10.0.0.0/33", NULL}), -1, "a bad network");

	len = config_body((const char *[]) {"brokers", "embedded", "kafka.linger.ms", "5", "client_id",
						  "me", "client_id", "you", NULL});
	ok(te_config_decode(&config, body, len, &error, &malformed) &&
	   te_config_check(&config, &error), "a configuration with an option");
	ok(config.embedded, "the embedded broker");
	is_int(config.option_count, 1, "one option");
	is_str(config.options[0].name, "linger.ms", "its name");
	is_str(config.options[0].value, "5", "its value");
	is_str(config.client_id, "you", "the last of a name counts");
	te_config_free(&config);

	for (uint32_t cut = 0; cut < len; cut++)
	{
		accepted += te_config_decode(&config, body, cut, &error, &malformed) || !malformed;
		te_config_free(&config);
	}
	is_int(accepted, 0, "cut anywhere, it is malformed");

	is_str(te_config_option_owner("sasl.password"), "todo_events.sasl_password_file",
		   "an option with a setting of its own");
	is_str(te_config_option_owner("enable.idempotence"), "", "an option that is not negotiable");
	ok(te_config_option_owner("linger.ms") == NULL, "an option that may be set");
}

static const struct sockaddr *
address(const char *text)
{
	static struct sockaddr_storage storage;
	struct sockaddr_in *v4 = (struct sockaddr_in *) &storage;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *) &storage;

	memset(&storage, 0, sizeof(storage));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1)
		storage.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1)
		storage.ss_family = AF_INET6;
	return (const struct sockaddr *) &storage;
}

static void
test_addresses(void)
{
	static const char *const public_ones[] = {
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
		"126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255",
		"172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0",
		"223.255.255.255", "2606:4700::1111", "2a00:1450::1", "2001:200::1", "2001:db7::1",
		"2001:db9::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8",
	};
	static const char *const others[] = {
		"0.0.0.0", "0.1.2.3", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255",
		"127.0.0.1", "127.255.255.255", "169.254.0.1", "169.254.169.254", "172.16.0.0",
		"172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.0.0",
		"192.168.255.255", "198.18.0.0", "198.19.255.255", "198.51.100.1", "203.0.113.1",
		"224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::127.0.0.1", "::8.8.8.8", "100::1", "fc00::1", "fdff::1", "fe80::1",
		"febf::1", "fec0::1", "ff02::1", "ff0e::1", "2001::1", "2001:1ff::1", "2001:db8::1",
		"2002:7f00:1::", "2002:808:808::", "3fff::1", "4000::1", "5f00::1", "::ffff:127.0.0.1",
		"::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1",
		"64:ff9b::192.168.1.1", "64:ff9b:1::8.8.8.8", "64:ff9b:0:0:0:1:808:808",
	};
	static const struct
	{
		const char *networks;
		const char *address;
		bool		allowed;
	}			lists[] = {
		{"", "127.0.0.1", false},
		{"", "8.8.8.8", true},
		{"127.0.0.0/8", "127.0.0.1", true},
		{"127.0.0.0/8", "::ffff:127.0.0.1", true},
		{"127.0.0.0/8", "64:ff9b::127.0.0.1", true},
		{"127.0.0.0/8", "::1", false},
		{"127.0.0.0/8", "10.0.0.1", false},
		{" 10.0.0.0/8 ,\t::1/128", "::1", true},
		{"10.0.0.0/8, ::1/128", "10.255.0.1", true},
		{"10.0.0.0/8, ::1/128", "11.0.0.1", true},
		{"10.0.0.0/8, ::1/128", "127.0.0.1", false},
		{"10.1.2.3/8", "10.9.9.9", true},	/* the rest of the address does not count */
		{"10.1.2.3", "10.1.2.3", true},
		{"10.1.2.3", "10.1.2.4", false},
		{"172.16.0.0/13", "172.23.255.255", true},
		{"172.16.0.0/13", "172.24.0.0", false},
		{"0.0.0.0/0", "192.168.1.1", true},
		{"0.0.0.0/0", "fd00::1", false},
		{"::/0", "fd00::1", true},
		{"::/0", "10.0.0.1", false},
		{"::/0", "::ffff:10.0.0.1", false},
		{"::ffff:10.0.0.0/104", "10.0.0.1", true},
		{"fd00::/8", "fd12::1", true},
		{"fd00::/8", "fc12::1", false},
		{"64:ff9b::/96", "64:ff9b::10.0.0.1", true},
		{"10.0.0.0/8,", "10.0.0.1", true},
	};
	static const char *const bad_lists[] = {
		"10.0.0.0/33", "::1/129", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/8x", "10.0.0/8",
		"10.0.0.0/4294967304", "localhost", "10.0.0.0/8,,::1", ",10.0.0.0/8", "10.0.0.0/8 ::1", "/8",
		"10.0.0.0/8/8", "1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111",
	};
	TeNetworks	networks;
	char		text[64];
	char		bad[32];
	struct sockaddr_un local = {.sun_family = AF_UNIX};

	for (size_t i = 0; i < sizeof(public_ones) / sizeof(public_ones[0]); i++)
		ok(te_address_is_public(address(public_ones[i])), "%s is public", public_ones[i]);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		ok(address(others[i])->sa_family != AF_UNSPEC && !te_address_is_public(address(others[i])),
		   "%s is not", others[i]);
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
	{
		ok(te_networks_parse(&networks, lists[i].networks, bad, sizeof(bad)) &&
		   te_address_allowed(address(lists[i].address), &networks) == lists[i].allowed,
		   "%s with networks \"%s\"", lists[i].address, lists[i].networks);
		te_networks_free(&networks);
	}
	for (size_t i = 0; i < sizeof(bad_lists) / sizeof(bad_lists[0]); i++)
	{
		ok(!te_networks_parse(&networks, bad_lists[i], bad, sizeof(bad)), "no networks: \"%s\"",
		   bad_lists[i]);
		te_networks_free(&networks);
	}
	te_networks_parse(&networks, "10.0.0.0/8, bad one ,::1", bad, sizeof(bad));
	is_str(bad, "bad one", "the bad element is named");
	te_networks_free(&networks);

	te_networks_parse(&networks, "0.0.0.0/0, ::/0", bad, sizeof(bad));
	ok(!te_address_allowed((struct sockaddr *) &local, &networks), "no other family");
	te_networks_free(&networks);
	te_address_text(address("192.0.2.7"), text, sizeof(text));
	is_str(text, "192.0.2.7", "an address as text");
	te_address_text(address("fd00::1"), text, sizeof(text));
	is_str(text, "fd00::1", "of IPv6, too");
}

int
main(void)
{
	test_verdicts();
	test_trouble();
	test_broker();
	test_compare();
	test_config();
	test_addresses();
	return done();
}
