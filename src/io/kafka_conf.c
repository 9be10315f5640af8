/*-------------------------------------------------------------------------
 *
 * kafka_conf.c
 *	  From our configuration to librdkafka's.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <string.h>

#include "kafka_private.h"
#include "memory.h"

/* Ours, before todo_events.kafka_options: those may change them. */
static const TeKafkaOption defaults[] = {
	/*
	 * No wait for company: the worker's frames already are batches, and
	 * whatever comes while a request is on its way travels together.
	 */
	{"linger.ms", "0"},
	{"batch.size", "1000000"},
	{"batch.num.messages", "10000"},
	{"compression.codec", "none"},
	{"socket.nagle.disable", "true"},
	/* the window on the pair bounds us; these need not be the first to say no */
	{"queue.buffering.max.messages", "10000000"},
	{"queue.buffering.max.kbytes", "2097151"},
	/* the broker's limit is known by topic; the library's would come first */
	{"message.max.bytes", "100000000"},
	/* a broker that comes back is in use again within about a second */
	{"reconnect.backoff.ms", "50"},
	{"reconnect.backoff.max.ms", "1000"},
	{"retry.backoff.ms", "50"},
	{"retry.backoff.max.ms", "1000"},
	{"socket.connection.setup.timeout.ms", "10000"},
	/* how long a deleted topic is waited for before we look and create it again */
	{"topic.metadata.propagation.max.ms", "2000"},
	/* not for the log: it may be the only sign of a listener that expects TLS */
	{"log.connection.close", "true"},
};

/* Ours, after them: promises rest on these.  te_config_option_owner names them, too. */
static const TeKafkaOption required[] = {
	{"enable.idempotence", "true"},
	/*
	 * One request at a time.  A broker takes any sequence from a producer that
	 * it does not know on a partition: its first there, and after a day without
	 * any.  If the first request comes too early for the partition's leader and
	 * the second, under way already, does not, then the library takes the first
	 * for persisted by the success of the second, and reports it delivered.
	 * What waits meanwhile travels together, in larger batches.
	 */
	{"max.in.flight.requests.per.connection", "1"},
	{"acks", "all"},
	{"message.timeout.ms", "0"},
	{"retries", "2147483647"},
	{"allow.auto.create.topics", "false"},
	{"partitioner", "murmur2_random"},
	{"log.queue", "true"},
};

static int
on_certificate(rd_kafka_t *rk, const char *broker_name, int32_t broker_id, int *x509_error,
			   int depth, const char *buf, size_t size, char *errstr, size_t errstr_size,
			   void *opaque)
{
	TeKafka    *kafka = opaque;

	(void) rk, (void) broker_name, (void) broker_id, (void) depth, (void) buf, (void) size;
	if (*x509_error == 0)
		return 1;

	/* only to know why; the refusal is OpenSSL's */
	atomic_store(&kafka->x509_error, *x509_error);
	snprintf(errstr, errstr_size, "certificate verify failed: X.509 error %d", *x509_error);
	return 0;
}

/* in place of connect(2), after resolution: for every broker, advertised ones included */
static int
on_connect(int sockfd, const struct sockaddr *addr, int addrlen, const char *id, void *opaque)
{
	TeKafka    *kafka = opaque;

	(void) id;
	if (!te_address_allowed(addr, &kafka->config->networks))
	{
		pthread_mutex_lock(&kafka->refused_lock);
		te_address_text(addr, kafka->refused, sizeof(kafka->refused));
		pthread_mutex_unlock(&kafka->refused_lock);
		return TE_REFUSED_ERRNO;
	}
	return connect(sockfd, addr, (socklen_t) addrlen) == 0 || errno == EINPROGRESS ? 0 : errno;
}

static bool
set(rd_kafka_conf_t *conf, const char *name, const char *value, bool optional,
	TeConfigError *error)
{
	char		reason[256];
	rd_kafka_conf_res_t result = rd_kafka_conf_set(conf, name, value, reason, sizeof(reason));

	if (result == RD_KAFKA_CONF_OK || (result == RD_KAFKA_CONF_UNKNOWN && optional))
		return true;
	/* a reason may quote the value, and a value may be a secret */
	if (strstr(name, "password") || strstr(name, "secret") || strstr(name, "pem") ||
		strstr(name, "jaas"))
		snprintf(reason, sizeof(reason), "the value is refused");
	snprintf(error->message, sizeof(error->message), "could not set option \"%s\": %s", name,
			 reason);
	snprintf(error->hint, sizeof(error->hint), "This is a defect of todo_events, or of a "
			 "librdkafka that is too old or built without a feature: %s.", te_kafka_library());
	return false;
}

static bool
set_option(rd_kafka_conf_t *conf, const TeKafkaOption *option, TeConfigError *error)
{
	TeConfigError inner;

	if (set(conf, option->name, option->value, false, &inner))
		return true;
	snprintf(error->message, sizeof(error->message),
			 "invalid todo_events.kafka_options: %s", inner.message);
	snprintf(error->hint, sizeof(error->hint), "Options and their values are those of %s.",
			 te_kafka_library());
	return false;
}

static bool
has_feature(const char *feature)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char		features[512] = "";
	size_t		size = sizeof(features);
	size_t		len = strlen(feature);
	bool		found = false;

	rd_kafka_conf_get(conf, "builtin.features", features, &size);
	rd_kafka_conf_destroy(conf);
	for (const char *p = features; (p = strstr(p, feature)) != NULL; p += len)
		found |= (p == features || p[-1] == ',') && (p[len] == '\0' || p[len] == ',');
	return found;
}

static bool
set_security(rd_kafka_conf_t *conf, const TeConfig *config, TeConfigError *error)
{
	bool		sasl = *config->sasl_mechanism != '\0';
	const char *missing = NULL;

	if (config->use_tls && !has_feature("ssl"))
		missing = "TLS";
	else if (sasl && !has_feature(*config->sasl_mechanism == 'P' ? "sasl_plain" : "sasl_scram"))
		missing = config->sasl_mechanism;
	if (missing)
	{
		snprintf(error->message, sizeof(error->message), "%s is built without %s",
				 te_kafka_library(), missing);
		snprintf(error->hint, sizeof(error->hint), "Build todo_events with another librdkafka, "
				 "or change todo_events.%s.", config->use_tls ? "tls" : "sasl_mechanism");
		return false;
	}

	if (!set(conf, "security.protocol",
			 config->use_tls ? (sasl ? "sasl_ssl" : "ssl") : (sasl ? "sasl_plaintext" : "plaintext"),
			 false, error))
		return false;
	if (config->use_tls &&
		((*config->ca_file && !set(conf, "ssl.ca.location", config->ca_file, false, error)) ||
		 (*config->cert_file &&
		  !set(conf, "ssl.certificate.location", config->cert_file, false, error)) ||
		 (*config->key_file && !set(conf, "ssl.key.location", config->key_file, false, error)) ||
		 (*config->key_password &&
		  !set(conf, "ssl.key.password", config->key_password, false, error))))
		return false;
	if (config->use_tls)
		rd_kafka_conf_set_ssl_cert_verify_cb(conf, on_certificate);
	return !sasl ||
		(set(conf, "sasl.mechanism", config->sasl_mechanism, false, error) &&
		 set(conf, "sasl.username", config->sasl_username, false, error) &&
		 set(conf, "sasl.password", config->sasl_password, false, error));
}

rd_kafka_conf_t *
te_kafka_conf_make(TeKafka *kafka, const char *brokers, int64_t batch_bytes, int batch_messages,
				   TeConfigError *error)
{
	const TeConfig *config = kafka->config;
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char		number[32];
	bool		ok = true;

	rd_kafka_conf_set_opaque(conf, kafka);
	if (config->restricted)
		rd_kafka_conf_set_connect_cb(conf, on_connect);
	rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG);

	for (size_t i = 0; ok && i < sizeof(defaults) / sizeof(defaults[0]); i++)
		ok = set(conf, defaults[i].name, defaults[i].value, true, error);
	ok = ok && set(conf, "client.id", *config->client_id ? config->client_id : "todo_events",
				   false, error);
	for (int i = 0; ok && i < config->option_count; i++)
		ok = set_option(conf, &config->options[i], error);
	for (size_t i = 0; ok && i < sizeof(required) / sizeof(required[0]); i++)
		ok = set(conf, required[i].name, required[i].value, false, error);
	if (ok && batch_bytes > 0)
	{
		snprintf(number, sizeof(number), "%lld", (long long) batch_bytes);
		ok = set(conf, "batch.size", number, false, error);
	}
	if (ok && batch_messages > 0)
	{
		snprintf(number, sizeof(number), "%d", batch_messages);
		ok = set(conf, "batch.num.messages", number, false, error);
	}
	if (ok && brokers)
		ok = set(conf, "bootstrap.servers", brokers, false, error);
	else if (ok)
		ok = set(conf, "test.mock.num.brokers", "1", false, error);
	if (ok && !config->embedded)
		ok = set_security(conf, config, error);

	if (ok)
		return conf;
	rd_kafka_conf_destroy(conf);
	return NULL;
}

/* words what rd_kafka_new() said: it checks values only together, and reads files */
void
te_kafka_conf_explain(const TeConfig *config, const char *reason, TeConfigError *error)
{
	static const struct
	{
		const char *in_reason;
		const char *setting;
	}			causes[] = {
		{"ssl.ca.location", "ca_file"},
		{"ssl.certificate.location", "cert_file"},
		{"ssl.key.location", "key_file"},
		{"ssl.key", "key_file"},
		{"bootstrap", "brokers"},
		{"brokers", "brokers"},
	};
	const char *setting = NULL;

	for (int i = 0; i < config->option_count; i++)
		if (strstr(reason, config->options[i].name))
			setting = "kafka_options";
	for (size_t i = 0; setting == NULL && i < sizeof(causes) / sizeof(causes[0]); i++)
		if (strstr(reason, causes[i].in_reason))
			setting = causes[i].setting;
	if (setting == NULL && config->option_count > 0)
		setting = "kafka_options";
	snprintf(error->message, sizeof(error->message), "could not create the Kafka producer: %s",
			 reason);
	if (setting)
		snprintf(error->hint, sizeof(error->hint), "Check todo_events.%s.", setting);
	else
		error->hint[0] = '\0';
}

const char *
te_kafka_library(void)
{
	static char text[64];

	snprintf(text, sizeof(text), "librdkafka %s", rd_kafka_version_str());
	return text;
}

const char *
te_kafka_library_lacks(void)
{
	static const struct
	{
		const char *feature;
		const char *what;
	}			wanted[] = {
		{"ssl", "TLS"},
		{"sasl_plain", "SASL PLAIN"},
		{"sasl_scram", "SASL SCRAM"},
		{"gzip", "gzip"},
		{"snappy", "snappy"},
		{"lz4", "lz4"},
		{"zstd", "zstd"},
	};
	static char text[256];
	char	   *p = text;
	char	   *end = text + sizeof(text);

	text[0] = '\0';
	if (rd_kafka_version() < TE_RDKAFKA_SCRAM_OK)
		p += snprintf(p, (size_t) (end - p), "SCRAM with Kafka 4 (needs 2.6.1)");
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (!has_feature(wanted[i].feature))
			p += snprintf(p, (size_t) (end - p), "%s%s", p > text ? ", " : "", wanted[i].what);
	return text;
}
