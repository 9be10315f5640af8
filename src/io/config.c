/*-------------------------------------------------------------------------
 *
 * config.c
 *	  The CONFIG frame, checked and typed.
 *
 *-------------------------------------------------------------------------
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>

#include "memory.h"

#define OPTION_PREFIX		"kafka."
#define MAX_SECRET			4096

static const struct
{
	const char *name;
	size_t		offset;
}			fields[] = {
	{"brokers", offsetof(TeConfig, brokers)},
	{"client_id", offsetof(TeConfig, client_id)},
	{"sasl_mechanism", offsetof(TeConfig, sasl_mechanism)},
	{"sasl_username", offsetof(TeConfig, sasl_username)},
	{"sasl_password", offsetof(TeConfig, sasl_password)},
	{"sasl_password_file", offsetof(TeConfig, sasl_password_file)},
	{"tls", offsetof(TeConfig, tls)},
	{"ca_file", offsetof(TeConfig, ca_file)},
	{"cert_file", offsetof(TeConfig, cert_file)},
	{"key_file", offsetof(TeConfig, key_file)},
	{"key_password", offsetof(TeConfig, key_password)},
	{"restrict_addresses", offsetof(TeConfig, restrict_addresses)},
	{"allowed_networks", offsetof(TeConfig, allowed_networks)},
};
#define FIELD_COUNT ((int) (sizeof(fields) / sizeof(fields[0])))

/*
 * Options on which promises rest, and those that another setting sets.  The
 * worker has its own lists of what a role may set; these hold for everybody.
 */
static const struct
{
	const char *option;
	const char *owner;
}			owned_options[] = {
	{"bootstrap.servers", "todo_events.brokers"},
	{"metadata.broker.list", "todo_events.brokers"},
	{"test.mock.num.brokers", "todo_events.brokers"},
	{"security.protocol", "todo_events.tls"},
	{"sasl.mechanism", "todo_events.sasl_mechanism"},
	{"sasl.mechanisms", "todo_events.sasl_mechanism"},
	{"sasl.username", "todo_events.sasl_username"},
	{"sasl.password", "todo_events.sasl_password_file"},
	{"ssl.ca.location", "todo_events.ca_file"},
	{"ssl.certificate.location", "todo_events.cert_file"},
	{"ssl.key.location", "todo_events.key_file"},
	{"ssl.key.password", "todo_events.key_file"},
	/* order, completeness, acknowledgement, and the partition a key goes to: not negotiable */
	{"enable.idempotence", ""},
	{"enable.gapless.guarantee", ""},
	{"max.in.flight", ""},
	{"max.in.flight.requests.per.connection", ""},
	{"acks", ""},
	{"request.required.acks", ""},
	{"message.timeout.ms", ""},
	{"delivery.timeout.ms", ""},
	{"message.send.max.retries", ""},
	{"retries", ""},
	{"transactional.id", ""},
	{"allow.auto.create.topics", ""},
	{"delivery.report.only.error", ""},
	{"partitioner", ""},
	{"partitioner_cb", ""},
	{"queuing.strategy", ""},
	{"dr_cb", ""},
	{"dr_msg_cb", ""},
	{"enabled_events", ""},
	{"log.queue", ""},
	{"opaque", ""},
};

const char *
te_config_option_owner(const char *option)
{
	for (size_t i = 0; i < sizeof(owned_options) / sizeof(owned_options[0]); i++)
		if (strcmp(owned_options[i].option, option) == 0)
			return owned_options[i].owner;
	return NULL;
}

static char **
field(TeConfig *config, int i)
{
	return (char **) ((char *) config + fields[i].offset);
}

static bool
fail(TeConfigError *error, const char *hint, const char *format, const char *argument)
{
	snprintf(error->message, sizeof(error->message), format, argument);
	snprintf(error->hint, sizeof(error->hint), "%s", hint);
	return false;
}

static void
forget(char **secret)
{
	if (*secret)
	{
		explicit_bzero(*secret, strlen(*secret));
		free(*secret);
		*secret = NULL;
	}
}

static bool
set(TeConfig *config, const char *name, char *value, TeConfigError *error)
{
	if (strncmp(name, OPTION_PREFIX, strlen(OPTION_PREFIX)) == 0)
	{
		config->options = te_realloc(config->options,
									 (size_t) (config->option_count + 1) * sizeof(TeKafkaOption));
		config->options[config->option_count++] = (TeKafkaOption)
		{
			.name = te_strdup(name + strlen(OPTION_PREFIX)), .value = value
		};
		return true;
	}
	for (int i = 0; i < FIELD_COUNT; i++)
		if (strcmp(fields[i].name, name) == 0)
		{
			forget(field(config, i));
			*field(config, i) = value;
			return true;
		}
	forget(&value);
	return fail(error, "The worker and its I/O process are of different builds.",
				"unknown configuration name \"%s\"", name);
}

/* a text without zero bytes, which would silently end it early */
static bool
is_text(TeWireStr s)
{
	return s.data != NULL && memchr(s.data, '\0', s.len) == NULL;
}

/* *malformed tells a frame that is not a CONFIG at all from one that asks for the impossible */
bool
te_config_decode(TeConfig *config, const char *body, uint32_t len, TeConfigError *error,
				 bool *malformed)
{
	TeWireIn	in = te_wire_in(body, len);
	uint32_t	n = te_wire_get_u32(&in);
	bool		ok = true;

	memset(config, 0, sizeof(*config));
	*malformed = false;
	for (uint32_t i = 0; i < n && !in.bad && ok; i++)
	{
		TeWireStr	name = te_wire_get_str(&in);
		TeWireStr	value = te_wire_get_str(&in);
		char	   *name_copy;

		if (in.bad)
			break;
		if (!is_text(name) || (value.data && !is_text(value)))
		{
			in.bad = true;
			break;
		}
		if (value.data == NULL)
			continue;
		name_copy = te_strndup(name.data, name.len);
		ok = set(config, name_copy, te_strndup(value.data, value.len), error);
		free(name_copy);
	}
	if (ok && !te_wire_done(&in))
	{
		*malformed = true;
		return fail(error, "", "%s", "malformed CONFIG frame");
	}
	for (int i = 0; i < FIELD_COUNT; i++)
		if (*field(config, i) == NULL && fields[i].offset != offsetof(TeConfig, sasl_password))
			*field(config, i) = te_strdup("");
	return ok;
}

static bool
check_readable(const char *setting, const char *path, TeConfigError *error)
{
	char		format[256];

	if (*path == '\0' || access(path, R_OK) == 0)
		return true;
	snprintf(format, sizeof(format), "could not read file \"%%s\" named by %s: %s",
			 setting, strerror(errno));
	return fail(error, "The file must be readable by the operating-system user of the server.",
				format, path);
}

bool
te_config_check(TeConfig *config, TeConfigError *error)
{
	const char *mechanism = config->sasl_mechanism;
	TeTlsMode	mode;
	char		bad[100];

	if (*config->brokers == '\0')
		return fail(error, "Set it to host:port, several separated by commas.",
					"%s is not set", "todo_events.brokers");
	config->embedded = strcmp(config->brokers, "embedded") == 0;
	config->restricted = *config->restrict_addresses != '\0' && !config->embedded;
	te_networks_free(&config->networks);
	if (!te_networks_parse(&config->networks, config->allowed_networks, bad, sizeof(bad)))
		return fail(error, "Use networks such as 10.0.0.0/8 or fd00::/8, separated by commas.",
					"invalid network \"%s\" in todo_events.allowed_networks", bad);

	if (*config->tls == '\0' || strcmp(config->tls, "auto") == 0)
		mode = TE_TLS_AUTO;
	else if (strcmp(config->tls, "on") == 0)
		mode = TE_TLS_ON;
	else if (strcmp(config->tls, "off") == 0)
		mode = TE_TLS_OFF;
	else
		return fail(error, "Use auto, on or off.",
					"invalid value \"%s\" for todo_events.tls", config->tls);

	if (*mechanism && strcmp(mechanism, "PLAIN") != 0 && strcmp(mechanism, "SCRAM-SHA-256") != 0 &&
		strcmp(mechanism, "SCRAM-SHA-512") != 0)
		return fail(error, "Use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.",
					"invalid value \"%s\" for todo_events.sasl_mechanism", mechanism);
	if (*mechanism && *config->sasl_username == '\0')
		return fail(error, "Set it, or empty todo_events.sasl_mechanism.",
					"%s is not set, although todo_events.sasl_mechanism is",
					"todo_events.sasl_username");
	if (*mechanism && config->sasl_password == NULL && *config->sasl_password_file == '\0')
		return fail(error, "Set todo_events.sasl_password_file, or give sasl_password through "
					"todo_events.secret_input.",
					"there is no password for the user of %s", "todo_events.sasl_username");
	if (*config->cert_file && *config->key_file == '\0')
		return fail(error, "A client certificate needs its private key.",
					"%s is not set, although todo_events.cert_file is", "todo_events.key_file");
	if (*config->key_file && *config->cert_file == '\0')
		return fail(error, "A private key needs its certificate.",
					"%s is not set, although todo_events.key_file is", "todo_events.cert_file");

	config->use_tls = mode == TE_TLS_ON ||
		(mode == TE_TLS_AUTO && (*mechanism || *config->ca_file || *config->cert_file));
	if (config->use_tls &&
		(!check_readable("todo_events.ca_file", config->ca_file, error) ||
		 !check_readable("todo_events.cert_file", config->cert_file, error) ||
		 !check_readable("todo_events.key_file", config->key_file, error)))
		return false;

	for (int i = 0; i < config->option_count; i++)
	{
		const char *owner = te_config_option_owner(config->options[i].name);

		if (owner == NULL)
			continue;
		if (*owner)
		{
			char		format[256];

			snprintf(format, sizeof(format), "option \"%%s\" of todo_events.kafka_options "
					 "is set by %s", owner);
			return fail(error, "Remove it from todo_events.kafka_options.",
						format, config->options[i].name);
		}
		return fail(error, "Remove it from todo_events.kafka_options.",
					"option \"%s\" of todo_events.kafka_options cannot be changed",
					config->options[i].name);
	}
	return true;
}

bool
te_config_read_secrets(TeConfig *config, TeConfigError *error)
{
	const char *path = config->sasl_password_file;
	const char *why = NULL;
	char		secret[MAX_SECRET];
	ssize_t		n = -1;
	int			fd;

	if (*config->sasl_mechanism == '\0' || *path == '\0' || config->sasl_password != NULL)
		return true;

	/* O_NONBLOCK: a FIFO put there by mistake must not hang us */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || (n = read(fd, secret, sizeof(secret))) < 0)
		why = strerror(errno);
	else
	{
		while (n > 0 && (secret[n - 1] == '\n' || secret[n - 1] == '\r'))
			n--;
		if (n == 0)
			why = "it is empty";
		else if (n == MAX_SECRET)
			why = "it is longer than a password can be";
		else if (memchr(secret, '\0', (size_t) n))
			why = "it holds a zero byte";
		else
			config->sasl_password = te_strndup(secret, (size_t) n);
	}
	explicit_bzero(secret, sizeof(secret));
	if (fd >= 0)
		close(fd);
	if (why)
	{
		char		format[256];

		snprintf(format, sizeof(format),
				 "could not read file \"%%s\" named by todo_events.sasl_password_file: %s", why);
		return fail(error, "The file must hold the password alone, and be readable by the "
					"operating-system user of the server.", format, path);
	}
	return true;
}

void
te_config_free(TeConfig *config)
{
	for (int i = 0; i < FIELD_COUNT; i++)
		forget(field(config, i));
	for (int i = 0; i < config->option_count; i++)
	{
		free(config->options[i].name);
		forget(&config->options[i].value);
	}
	free(config->options);
	te_networks_free(&config->networks);
	memset(config, 0, sizeof(*config));
}
