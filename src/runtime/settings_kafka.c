/*-------------------------------------------------------------------------
 *
 * settings_kafka.c
 *	  The setting kafka_options: librdkafka's own options.
 *
 * librdkafka can load libraries, run commands and read files, all by
 * configuration.  A row is written by a database's owner, who may do none of
 * this: it passes an allow-list.  In a GUC, which only a superuser or the
 * configuration file sets, a deny-list is enough: what the product sets
 * itself, and what would run code inside or beside the server.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "runtime/settings_registry.h"

typedef enum OptionKind
{
	OPTION_NUMBER,
	OPTION_DECIMAL,
	OPTION_BOOL,
	OPTION_CHOICE,
	OPTION_TEXT
} OptionKind;

/*
 * What a row may say, with the values that librdkafka takes (its
 * CONFIGURATION.md), so that a wrong one is refused when it is set and not
 * when the producer starts.
 */
static const struct
{
	const char *name;
	OptionKind	kind;
	int			min;
	int			max;
	const char *choices;
}			row_options[] = {
	{"batch.num.messages", OPTION_NUMBER, 1, 1000000},
	{"batch.size", OPTION_NUMBER, 1, PG_INT32_MAX},
	{"broker.address.family", OPTION_CHOICE, .choices = "any, v4, v6"},
	{"broker.address.ttl", OPTION_NUMBER, 0, 86400000},
	{"client.id", OPTION_TEXT},
	{"client.rack", OPTION_TEXT},
	{"compression.codec", OPTION_CHOICE, .choices = "none, gzip, snappy, lz4, zstd"},
	{"compression.level", OPTION_NUMBER, -1, 12},
	{"compression.type", OPTION_CHOICE, .choices = "none, gzip, snappy, lz4, zstd"},
	{"connections.max.idle.ms", OPTION_NUMBER, 0, PG_INT32_MAX},
	{"linger.ms", OPTION_DECIMAL, 0, 900000},
	{"message.copy.max.bytes", OPTION_NUMBER, 0, 1000000000},
	{"message.max.bytes", OPTION_NUMBER, 1000, 1000000000},
	{"metadata.max.age.ms", OPTION_NUMBER, 1, 86400000},
	{"queue.buffering.max.kbytes", OPTION_NUMBER, 1, PG_INT32_MAX},
	{"queue.buffering.max.messages", OPTION_NUMBER, 0, PG_INT32_MAX},
	{"queue.buffering.max.ms", OPTION_DECIMAL, 0, 900000},
	{"receive.message.max.bytes", OPTION_NUMBER, 1000, PG_INT32_MAX},
	{"reconnect.backoff.max.ms", OPTION_NUMBER, 0, 3600000},
	{"reconnect.backoff.ms", OPTION_NUMBER, 0, 3600000},
	{"request.timeout.ms", OPTION_NUMBER, 1, 900000},
	{"retry.backoff.max.ms", OPTION_NUMBER, 1, 300000},
	{"retry.backoff.ms", OPTION_NUMBER, 1, 300000},
	{"socket.connection.setup.timeout.ms", OPTION_NUMBER, 1000, PG_INT32_MAX},
	{"socket.keepalive.enable", OPTION_BOOL},
	{"socket.max.fails", OPTION_NUMBER, 0, 1000000},
	{"socket.nagle.disable", OPTION_BOOL},
	{"socket.receive.buffer.bytes", OPTION_NUMBER, 0, 100000000},
	{"socket.send.buffer.bytes", OPTION_NUMBER, 0, 100000000},
	{"socket.timeout.ms", OPTION_NUMBER, 10, 300000},
	{"sticky.partitioning.linger.ms", OPTION_NUMBER, 0, 900000},
	{"topic.metadata.refresh.fast.interval.ms", OPTION_NUMBER, 1, 60000},
	{"topic.metadata.refresh.interval.ms", OPTION_NUMBER, -1, 3600000},
	{"topic.metadata.refresh.sparse", OPTION_BOOL},
};

/* loads code, runs a command, fetches credentials from elsewhere, or plants a callback */
static const char *const dangerous_options[] = {
	"plugin.library.paths", "sasl.kerberos.kinit.cmd", "sasl.oauthbearer.*",
	"enable.sasl.oauthbearer.*", "sasl.aws.*", "ssl.engine.*", "ssl_engine_*", "ssl.providers",
	"test.mock.*", "opaque", "interceptors", "*_cb", "default_topic_conf", NULL
};

/* credentials of the server, which brokers that a database's owner has chosen do not get to see */
static const char *const credential_options[] = {
	"ssl.keystore.*", "ssl.certificate.*", "ssl_certificate", "ssl.key.*", "sasl.kerberos.*", NULL
};

/* a setting of ours says it, or a promise rests on it */
static const struct
{
	const char *name;
	const char *instead;
}			own_options[] = {
	{"bootstrap.servers", "todo_events.brokers"},
	{"metadata.broker.list", "todo_events.brokers"},
	{"security.protocol", "todo_events.tls and todo_events.sasl_mechanism"},
	{"sasl.mechanism", "todo_events.sasl_mechanism"},
	{"sasl.mechanisms", "todo_events.sasl_mechanism"},
	{"sasl.username", "todo_events.sasl_username"},
	{"sasl.password", "todo_events.sasl_password_file, or todo_events.secret_input"},
	{"ssl.ca.location", "todo_events.ca_file"},
	{"ssl.certificate.location", "todo_events.cert_file"},
	{"ssl.key.location", "todo_events.key_file"},
	{"ssl.key.password", "todo_events.secret_input"},
	{"ssl.keystore.password", "todo_events.cert_file and todo_events.key_file"},
	{"ssl.key.pem", "todo_events.key_file"},
	{"ssl_key", "todo_events.key_file"},
	{"acks", NULL},
	{"request.required.acks", NULL},
	{"enable.idempotence", NULL},
	{"max.in.flight", NULL},
	{"max.in.flight.requests.per.connection", NULL},
	{"enable.gapless.guarantee", NULL},
	{"message.timeout.ms", NULL},
	{"delivery.timeout.ms", NULL},
	{"message.send.max.retries", NULL},
	{"retries", NULL},
	{"partitioner", NULL},
	{"queuing.strategy", NULL},
	{"produce.offset.report", NULL},
	{"transactional.id", NULL},
	{"transaction.timeout.ms", NULL},
	{"log.queue", NULL},
	{"log_cb", NULL},
	{"allow.auto.create.topics", NULL},
};

static bool
matches(const char *pattern, const char *name)
{
	size_t		n = strlen(pattern);
	size_t		length = strlen(name);

	if (pattern[n - 1] == '*')
		return strncmp(pattern, name, n - 1) == 0;
	if (pattern[0] == '*')
		return length >= n - 1 && strcmp(name + length - (n - 1), pattern + 1) == 0;
	return strcmp(pattern, name) == 0;
}

static bool
listed(const char *const *patterns, const char *name)
{
	for (; *patterns; patterns++)
		if (matches(*patterns, name))
			return true;
	return false;
}

static int
find_row_option(const char *name)
{
	for (size_t i = 0; i < lengthof(row_options); i++)
	{
		if (strcmp(row_options[i].name, name) == 0)
			return (int) i;
	}
	return -1;
}

/*
 * One "name=value" of the text; the value may stand in double quotes, inside
 * which \ makes the next character a plain one.  1: found, 0: end, -1: *why.
 */
static int
next_option(const char **p, TeKafkaOption *option, char **why)
{
	const char *s = *p;
	const char *start;
	StringInfoData value;

	while (isspace((unsigned char) *s) || *s == ',')
		s++;
	if (*s == '\0')
		return 0;
	start = s;
	s += strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789._-");
	option->name = pnstrdup(start, s - start);
	while (isspace((unsigned char) *s))
		s++;
	if (option->name[0] == '\0' || *s != '=')
	{
		*why = pstrdup("It takes name=value, separated by commas.");
		return -1;
	}
	s++;
	while (isspace((unsigned char) *s))
		s++;

	initStringInfo(&value);
	if (*s == '"')
	{
		for (s++; *s && *s != '"'; s++)
		{
			if (*s == '\\' && s[1])
				s++;
			appendStringInfoChar(&value, *s);
		}
		if (*s++ != '"')
		{
			*why = psprintf("The value of \"%s\" lacks its closing quote.", option->name);
			return -1;
		}
		while (isspace((unsigned char) *s))
			s++;
		if (*s != ',' && *s != '\0')
		{
			*why = psprintf("A comma is missing after the value of \"%s\".", option->name);
			return -1;
		}
	}
	else
	{
		start = s;
		s += strcspn(s, ",");
		appendBinaryStringInfo(&value, start, s - start);
		while (value.len > 0 && isspace((unsigned char) value.data[value.len - 1]))
			value.data[--value.len] = '\0';
	}
	option->value = value.data;
	*p = s;
	return 1;
}

static bool
option_allowed(const char *name, bool row, char **why)
{
	for (size_t i = 0; i < lengthof(own_options); i++)
	{
		if (strcmp(own_options[i].name, name) == 0)
		{
			if (own_options[i].instead)
				*why = psprintf("\"%s\" is set by %s.", name, own_options[i].instead);
			else
				*why = psprintf("\"%s\" is fixed: what todo_events promises rests on it.", name);
			return false;
		}
	}
	if (listed(dangerous_options, name))
	{
		*why = psprintf("\"%s\" would run code of its own, and is never allowed.", name);
		return false;
	}
	if (row && find_row_option(name) < 0)
	{
		*why = psprintf("\"%s\" is not among the options that SQL may set; the server's configuration may set any of librdkafka's.", name);
		return false;
	}
	return true;
}

/* a whole number, or with "decimal" one with a fraction, from min to max */
static bool
is_number(const char *value, bool decimal, double min, double max)
{
	size_t		digits = strspn(value + (value[0] == '-'), decimal ? "0123456789." : "0123456789");
	char	   *end;
	double		number = strtod(value, &end);

	return digits > 0 && value[digits + (value[0] == '-')] == '\0' && *end == '\0' &&
		number >= min && number <= max;
}

/* names a row may not set have any value: only librdkafka knows */
static bool
value_allowed(const TeKafkaOption *option, char **why)
{
	int			i = find_row_option(option->name);
	const char *p;
	char	   *choice;

	if (i < 0)
		return true;
	switch (row_options[i].kind)
	{
		case OPTION_NUMBER:
		case OPTION_DECIMAL:
			if (is_number(option->value, row_options[i].kind == OPTION_DECIMAL,
						  row_options[i].min, row_options[i].max))
				return true;
			*why = psprintf("\"%s\" takes a number from %d to %d.",
							option->name, row_options[i].min, row_options[i].max);
			return false;
		case OPTION_BOOL:
			if (strcmp(option->value, "true") == 0 || strcmp(option->value, "false") == 0)
				return true;
			*why = psprintf("\"%s\" takes true or false.", option->name);
			return false;
		case OPTION_CHOICE:
			p = row_options[i].choices;
			while (te_setting_next_item(&p, &choice))
			{
				if (strcmp(option->value, choice) == 0)
					return true;
			}
			*why = psprintf("\"%s\" takes one of %s.", option->name, row_options[i].choices);
			return false;
		case OPTION_TEXT:
			break;
	}
	return true;
}

bool
te_check_kafka_options(const char *value, bool row, char **why)
{
	TeKafkaOption option;
	int			found;

	while ((found = next_option(&value, &option, why)) > 0)
	{
		if (!option_allowed(option.name, row, why) || !value_allowed(&option, why))
			return false;
		for (const char *p = option.value; *p; p++)
		{
			if ((unsigned char) *p < 0x20 || *p == 0x7f)
			{
				*why = psprintf("The value of \"%s\" has a control character.", option.name);
				return false;
			}
		}
	}
	return found == 0;
}

int
te_settings_kafka_options(TeKafkaOption **options)
{
	const char *sources[2] = {te_setting_guc_string(TE_SET_KAFKA_OPTIONS), ""};
	int			n = 0;
	int			room = 16;
	char	   *why;

	if (!te_setting_row(TE_SET_KAFKA_OPTIONS, &sources[1], NULL))
		sources[1] = "";
	*options = palloc(room * sizeof(TeKafkaOption));
	for (int i = 0; i < 2; i++)
	{
		const char *p = sources[i];
		TeKafkaOption option;

		while (next_option(&p, &option, &why) > 0)
		{
			int			at = 0;

			/* a row that was valid under an older allow-list is not obeyed */
			if (!option_allowed(option.name, i == 1, &why) ||
				(listed(credential_options, option.name) && te_setting_is_row(TE_SET_BROKERS)))
				continue;
			while (at < n && strcmp((*options)[at].name, option.name) != 0)
				at++;
			if (at == room)
				*options = repalloc(*options, (room *= 2) * sizeof(TeKafkaOption));
			(*options)[at] = option;
			n = Max(n, at + 1);
		}
	}
	return n;
}
