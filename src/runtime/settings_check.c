/*-------------------------------------------------------------------------
 *
 * settings_check.c
 *	  What a setting's text may be.  Pure functions of the text, used by the
 *	  GUCs' check hooks and for rows of setting_config alike.
 *
 * A row is written by the extension's owner, who need not be a superuser:
 * kafka_options therefore passes an allow-list there.  In a GUC, which only a
 * superuser or the configuration file sets, a deny-list is enough: what the
 * product sets itself, and what would run code inside or beside the server.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <arpa/inet.h>

#include "lib/stringinfo.h"
#include "runtime/settings_registry.h"
#include "utils/builtins.h"
#include "utils/varlena.h"

#define MAX_LINE	255

/* an element of a list separated by commas, trimmed; false at the end */
static bool
next_item(const char **p, char **item)
{
	const char *start;
	const char *end;

	if (**p == '\0')
		return false;
	start = *p;
	end = start + strcspn(start, ",");
	*p = *end ? end + 1 : end;
	while (start < end && isspace((unsigned char) *start))
		start++;
	while (end > start && isspace((unsigned char) end[-1]))
		end--;
	*item = pnstrdup(start, end - start);
	return true;
}

bool
te_check_databases(const char *value, bool row, char **why)
{
	List	   *names;

	(void) row;
	if (strcmp(value, "*") == 0 || SplitIdentifierString(pstrdup(value), ',', &names))
		return true;
	*why = pstrdup("It takes * or database names separated by commas.");
	return false;
}

bool
te_check_path(const char *value, bool row, char **why)
{
	(void) row;
	if (value[0] == '\0' || is_absolute_path(value))
		return true;
	*why = pstrdup("It takes an absolute path.");
	return false;
}

bool
te_check_networks(const char *value, bool row, char **why)
{
	const char *p = value;
	char	   *item;

	(void) row;
	while (next_item(&p, &item))
	{
		char	   *slash = strchr(item, '/');
		unsigned char address[16];
		int			bits = 0;
		int			max;

		if (slash)
			*slash = '\0';
		if (inet_pton(AF_INET, item, address) == 1)
			max = 32;
		else if (inet_pton(AF_INET6, item, address) == 1)
			max = 128;
		else
			max = -1;
		if (slash)
		{
			char	   *end;

			bits = (int) strtol(slash + 1, &end, 10);
			if (!isdigit((unsigned char) slash[1]) || *end != '\0' || end - slash > 4)
				bits = -1;
		}
		if (max < 0 || bits < 0 || bits > max)
		{
			*why = psprintf("\"%s\" is no network such as 10.0.0.0/8 or fd00::/8.", item);
			return false;
		}
	}
	return true;
}

/* host, host:port or [IPv6]:port */
static bool
is_broker(const char *item)
{
	const char *port;
	char	   *end;
	long		number;

	if (item[0] == '[')
	{
		const char *close = strchr(item, ']');
		char		text[INET6_ADDRSTRLEN];
		unsigned char address[16];

		if (close == NULL || close - item - 1 >= (ptrdiff_t) sizeof(text))
			return false;
		strlcpy(text, item + 1, close - item);
		if (inet_pton(AF_INET6, text, address) != 1)
			return false;
		port = close + 1;
	}
	else
	{
		size_t		host = strspn(item, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");

		if (host == 0 || host > 253 || item[0] == '-')
			return false;
		port = item + host;
	}
	if (*port == '\0')
		return true;
	if (*port != ':' || !isdigit((unsigned char) port[1]))
		return false;
	number = strtol(port + 1, &end, 10);
	return *end == '\0' && number >= 1 && number <= 65535;
}

bool
te_check_brokers(const char *value, bool row, char **why)
{
	const char *p = value;
	char	   *item;

	(void) row;
	if (strcmp(value, "embedded") == 0)
		return true;
	while (next_item(&p, &item))
	{
		if (strcmp(item, "embedded") == 0)
		{
			*why = pstrdup("\"embedded\" stands alone.");
			return false;
		}
		if (!is_broker(item))
		{
			*why = psprintf("\"%s\" is no host:port.", item);
			return false;
		}
	}
	return true;
}

/* RFC 3986 characters only, so that the CloudEvent is a valid one */
bool
te_check_source(const char *value, bool row, char **why)
{
	(void) row;
	if (value[0] != '\0' && strlen(value) <= MAX_LINE &&
		strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
			   "-._~:/?#[]@!$&'()*+,;=%") == strlen(value))
		return true;
	*why = psprintf("It takes a URI reference of 1 to %d characters.", MAX_LINE);
	return false;
}

/* one line of text, without control characters */
bool
te_check_line(const char *value, bool row, char **why)
{
	(void) row;
	for (const char *p = value; *p; p++)
	{
		if ((unsigned char) *p < 0x20 || *p == 0x7f)
		{
			*why = pstrdup("It takes no control characters.");
			return false;
		}
	}
	if (strlen(value) > MAX_LINE)
	{
		*why = psprintf("It takes at most %d bytes.", MAX_LINE);
		return false;
	}
	return true;
}

bool
te_check_idempotency_key(const char *value, bool row, char **why)
{
	return te_check_line(value, row, why);
}

/* version 00 of the W3C trace context, or a later one in the same shape */
bool
te_check_traceparent(const char *value, bool row, char **why)
{
	static const char shape[] = "hh-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";
	size_t		i = 0;

	(void) row;
	if (value[0] == '\0')
		return true;
	for (; shape[i] && value[i]; i++)
	{
		if (shape[i] == '-' ? value[i] != '-' : strchr("0123456789abcdef", value[i]) == NULL)
			break;
	}
	if (shape[i] == '\0' && value[i] == '\0' && strncmp(value, "ff", 2) != 0 &&
		strspn(value + 3, "0") < 32 && strspn(value + 36, "0") < 16)
		return true;
	*why = pstrdup("It takes a W3C traceparent: version-traceid-parentid-flags in lower-case hexadecimal.");
	return false;
}

bool
te_check_inject(const char *value, bool row, char **why)
{
	const char *p = value;
	char	   *item;

	(void) row;
	while (next_item(&p, &item))
	{
		char	   *equals = strchr(item, '=');
		char	   *at = strchr(item, '@');
		const char *action = equals ? equals + 1 : "";

		if (at)
			*at = '\0';
		if (equals == NULL || equals == item || (at && atoi(at + 1) < 1) ||
			(strcmp(action, "kill") != 0 && strcmp(action, "kill_io") != 0 &&
			 strcmp(action, "exit") != 0 && strcmp(action, "error") != 0 &&
			 (strncmp(action, "sleep:", 6) != 0 || !isdigit((unsigned char) action[6]))))
		{
			*why = pstrdup("It takes point=kill|kill_io|exit|error|sleep:ms, each with @n, separated by commas.");
			return false;
		}
	}
	return true;
}

/* ---- kafka_options --------------------------------------------------- */

/* what a row may say; a name that ends in * is a prefix */
static const char *const row_options[] = {
	"batch.*", "broker.address.family", "broker.address.ttl", "client.id", "client.rack",
	"compression.*", "connections.max.idle.ms", "linger.ms", "message.copy.max.bytes",
	"message.max.bytes", "metadata.max.age.ms", "queue.buffering.*",
	"receive.message.max.bytes", "reconnect.backoff.*", "request.timeout.ms",
	"retry.backoff.*", "socket.connection.setup.timeout.ms", "socket.keepalive.enable",
	"socket.max.fails", "socket.nagle.disable", "socket.receive.buffer.bytes",
	"socket.send.buffer.bytes", "socket.timeout.ms", "sticky.partitioning.linger.ms",
	"topic.metadata.refresh.*", NULL
};

/* loads code, runs a command, fetches credentials from elsewhere, or plants a callback */
static const char *const dangerous_options[] = {
	"plugin.library.paths", "sasl.kerberos.kinit.cmd", "sasl.oauthbearer.*",
	"enable.sasl.oauthbearer.*", "sasl.aws.*", "ssl.engine.*", "ssl_engine_*", "ssl.providers",
	"test.mock.*", "opaque", "interceptors", "*_cb", "default_topic_conf", NULL
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
	if (row && !listed(row_options, name))
	{
		*why = psprintf("\"%s\" can be set only in the server's configuration.", name);
		return false;
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
		if (!option_allowed(option.name, row, why))
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
			if (!option_allowed(option.name, i == 1, &why))
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

/* ---- the GUCs' hooks -------------------------------------------------- */

static bool
guc_check(TeSettingCheck check, const char *value)
{
	char	   *why = NULL;

	if (check(value, false, &why))
		return true;
	if (why)
		GUC_check_errdetail("%s", why);
	return false;
}

#define X(name) \
bool \
te_hook_##name(char **newval, void **extra, GucSource source) \
{ \
	(void) extra; \
	(void) source; \
	return guc_check(te_check_##name, *newval); \
}
TE_CHECKS(X)
#undef X
