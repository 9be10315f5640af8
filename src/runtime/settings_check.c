/*-------------------------------------------------------------------------
 *
 * settings_check.c
 *	  What a setting's text may be.  Pure functions of the text, used by the
 *	  GUCs' check hooks and for rows of setting_config alike.  kafka_options,
 *	  a language of its own, is in settings_kafka.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <arpa/inet.h>

#include "runtime/settings_registry.h"
#include "utils/builtins.h"
#include "utils/varlena.h"

#define MAX_LINE	255

bool
te_setting_next_item(const char **p, char **item)
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
	while (te_setting_next_item(&p, &item))
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
	while (te_setting_next_item(&p, &item))
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
	while (te_setting_next_item(&p, &item))
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

/* ---- the GUCs' hooks -------------------------------------------------- */

static bool
guc_check(TeSettingCheck check, const char *name, const char *value)
{
	char	   *why = NULL;

	if (check(value, false, &why))
		return true;
	if (why)
		GUC_check_errdetail("%s", why);
	/* what is refused here may be a password in the wrong place: it is not quoted, as it would be otherwise */
	if (check == te_check_kafka_options)
		GUC_check_errmsg("invalid value for parameter \"todo_events.%s\"", name);
	return false;
}

#define X(name) \
bool \
te_hook_##name(char **newval, void **extra, GucSource source) \
{ \
	(void) extra; \
	(void) source; \
	return guc_check(te_check_##name, #name, *newval); \
}
TE_CHECKS(X)
#undef X
