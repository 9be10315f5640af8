/*-------------------------------------------------------------------------
 *
 * settings.c
 *	  The registry of settings, the GUCs made from it, and the values in
 *	  force.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "runtime/settings_registry.h"
#include "utils/builtins.h"

static const struct config_enum_entry log_full_options[] = {
	{"grow", TE_LOG_FULL_GROW, false},
	{"refuse_writes", TE_LOG_FULL_REFUSE_WRITES, false},
	{"drop_oldest", TE_LOG_FULL_DROP_OLDEST, false},
	{NULL, 0, false}
};

static const struct config_enum_entry tls_options[] = {
	{"auto", 0, false},
	{"on", 1, false},
	{"off", 2, false},
	{NULL, 0, false}
};

static const struct config_enum_entry sasl_mechanism_options[] = {
	{"", 0, false},
	{"PLAIN", 1, false},
	{"SCRAM-SHA-256", 2, false},
	{"SCRAM-SHA-512", 3, false},
	{NULL, 0, false}
};

const char *const te_secret_names[] = {"sasl_password", "key_password", NULL};

#define CHECKED(name)	te_check_##name, te_hook_##name
#define UNCHECKED		NULL, NULL

const TeSettingDef te_setting_defs[TE_SET_COUNT] = {
	/* ---- server class ---- */
	[TE_SET_DATABASES] = {"databases", TE_CLASS_SERVER, TE_KIND_STRING, "*", 0, 0, NULL,
		CHECKED(databases), false,
	"Databases that may have workers: names separated by commas, * for all."},
	[TE_SET_MAX_DATABASES] = {"max_databases", TE_CLASS_SERVER, TE_KIND_INT, "64", 1, 10000, NULL,
		UNCHECKED, true,
	"Databases with the extension that shared memory has room for."},
	[TE_SET_INSTANCE] = {"instance", TE_CLASS_SERVER, TE_KIND_STRING, "", 0, 0, NULL,
		CHECKED(line), true,
	"Name of the high-availability group: primary and standbys share it, a clone has another."},
	[TE_SET_LOG_RETENTION] = {"log_retention", TE_CLASS_SERVER, TE_KIND_MS, "86400000", 1000, INT_MAX, NULL,
		UNCHECKED, false,
	"How long the event log keeps an event that every reader has passed."},
	[TE_SET_LOG_MAX_SIZE] = {"log_max_size", TE_CLASS_SERVER, TE_KIND_MB, "10240", 1, INT_MAX, NULL,
		UNCHECKED, false,
	"Size of the event log from which log_full applies."},
	[TE_SET_LOG_FULL] = {"log_full", TE_CLASS_SERVER, TE_KIND_ENUM, "grow", 0, 0, log_full_options,
		UNCHECKED, false,
	"What happens at log_max_size: grow, refuse_writes or drop_oldest."},
	[TE_SET_SASL_PASSWORD_FILE] = {"sasl_password_file", TE_CLASS_SERVER, TE_KIND_STRING, "", 0, 0, NULL,
		CHECKED(path), false,
	"File with the password of sasl_username; used only with brokers from the server's configuration."},
	[TE_SET_CA_FILE] = {"ca_file", TE_CLASS_SERVER, TE_KIND_STRING, "", 0, 0, NULL,
		CHECKED(path), false,
	"File with the certificates that brokers' certificates are checked against; empty: the system's."},
	[TE_SET_CERT_FILE] = {"cert_file", TE_CLASS_SERVER, TE_KIND_STRING, "", 0, 0, NULL,
		CHECKED(path), false,
	"Client certificate for mutual TLS; used only with brokers from the server's configuration."},
	[TE_SET_KEY_FILE] = {"key_file", TE_CLASS_SERVER, TE_KIND_STRING, "", 0, 0, NULL,
		CHECKED(path), false,
	"Private key of cert_file; used only with brokers from the server's configuration."},
	[TE_SET_TLS] = {"tls", TE_CLASS_SERVER, TE_KIND_ENUM, "auto", 0, 0, tls_options,
		UNCHECKED, false,
	"TLS to the brokers: auto (where credentials are used), on or off."},
	[TE_SET_ALLOWED_NETWORKS] = {"allowed_networks", TE_CLASS_SERVER, TE_KIND_STRING, "", 0, 0, NULL,
		CHECKED(networks), false,
	"Networks (CIDR, separated by commas) that addresses given by SQL may lie in, besides public ones."},
	[TE_SET_IO_PROGRAM] = {"io_program", TE_CLASS_SERVER, TE_KIND_STRING, "", 0, 0, NULL,
		CHECKED(path), false,
	"Path of the I/O program; empty: todo_events_io-VERSION beside the library."},
	[TE_SET_CLOCK_OFFSET] = {"clock_offset", TE_CLASS_SERVER, TE_KIND_MS, "0", INT_MIN, INT_MAX, NULL,
		UNCHECKED, false,
	"Moves the workers' clock, for tests."},
	[TE_SET_INJECT] = {"inject", TE_CLASS_SERVER, TE_KIND_STRING, "", 0, 0, NULL,
		CHECKED(inject), false,
	"Faults to inject, for tests: point=kill|kill_io|exit|error|sleep:ms, each with @n for the n-th pass."},

	/* ---- database class ---- */
	[TE_SET_BROKERS] = {"brokers", TE_CLASS_DATABASE, TE_KIND_STRING, "", 0, 0, NULL,
		CHECKED(brokers), false,
	"Kafka brokers, host:port separated by commas; empty: no Kafka; embedded: the demo broker in memory."},
	[TE_SET_SASL_MECHANISM] = {"sasl_mechanism", TE_CLASS_DATABASE, TE_KIND_ENUM, "", 0, 0, sasl_mechanism_options,
		UNCHECKED, false,
	"How to log in at the brokers: empty, PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."},
	[TE_SET_SASL_USERNAME] = {"sasl_username", TE_CLASS_DATABASE, TE_KIND_STRING, "", 0, 0, NULL,
		CHECKED(line), false,
	"User name at the brokers."},
	[TE_SET_KAFKA_OPTIONS] = {"kafka_options", TE_CLASS_DATABASE, TE_KIND_STRING, "", 0, 0, NULL,
		CHECKED(kafka_options), false,
	"Further options of librdkafka: name=value separated by commas; a row adds to the configuration's."},
	[TE_SET_SOURCE] = {"source", TE_CLASS_DATABASE, TE_KIND_STRING, "backend-api", 0, 0, NULL,
		CHECKED(source), false,
	"The CloudEvents attribute source."},
	[TE_SET_TRUNCATE_LIMIT] = {"truncate_limit", TE_CLASS_DATABASE, TE_KIND_INT, "10000", 0, INT_MAX, NULL,
		UNCHECKED, false,
	"Rows up to which TRUNCATE of an attached table is allowed; each gives one deleted event."},
	[TE_SET_COALESCE] = {"coalesce", TE_CLASS_DATABASE, TE_KIND_MS, "10", 0, 100, NULL,
		UNCHECKED, false,
	"Longest wait for further events under load; 0: never wait."},

	/* ---- session class ---- */
	[TE_SET_IDEMPOTENCY_KEY] = {"idempotency_key", TE_CLASS_SESSION, TE_KIND_STRING, "", 0, 0, NULL,
		CHECKED(idempotency_key), false,
	"Makes the transaction's events idempotent: a later transaction with the same key is refused."},
	[TE_SET_TRACEPARENT] = {"traceparent", TE_CLASS_SESSION, TE_KIND_STRING, "", 0, 0, NULL,
		CHECKED(traceparent), false,
	"W3C trace context that the transaction's events carry."},
};

/* the GUC's variables; which array is used follows from the kind */
static char *te_guc_string[TE_SET_COUNT];
static int	te_guc_int[TE_SET_COUNT];
static bool te_guc_bool[TE_SET_COUNT];

static uint64 generation = 1;

uint64
te_settings_generation(void)
{
	return generation;
}

void
te_settings_changed(void)
{
	generation++;
}

static void
assign_string(const char *newval, void *extra)
{
	(void) newval;
	(void) extra;
	generation++;
}

static void
assign_int(int newval, void *extra)
{
	(void) newval;
	(void) extra;
	generation++;
}

static void
assign_bool(bool newval, void *extra)
{
	(void) newval;
	(void) extra;
	generation++;
}

static int
enum_value(const struct config_enum_entry *options, const char *name)
{
	for (; options->name; options++)
		if (pg_strcasecmp(options->name, name) == 0)
			return options->val;
	return -1;
}

static const char *
enum_name(const struct config_enum_entry *options, int value)
{
	for (; options->name; options++)
		if (options->val == value)
			return options->name;
	return "";
}

int
te_setting_find(const char *name)
{
	for (int i = 0; i < TE_SET_COUNT; i++)
		if (pg_strcasecmp(te_setting_defs[i].name, name) == 0)
			return i;
	return -1;
}

static void
define_one(TeSettingId id)
{
	const TeSettingDef *def = &te_setting_defs[id];
	char	   *name = psprintf("todo_events.%s", def->name);
	GucContext	context = def->class == TE_CLASS_SESSION ? PGC_USERSET : PGC_SUSET;
	/* a change of per-transaction settings is nothing to rebuild caches for */
	bool		watch = def->class != TE_CLASS_SESSION;

	/*
	 * A PGC_POSTMASTER variable can be defined only while the server starts.
	 * A session that loads the library later has neither shared memory nor
	 * workers; there the configuration file's value is shown and changes
	 * nothing.
	 */
	if (def->restart)
		context = process_shared_preload_libraries_in_progress ? PGC_POSTMASTER : PGC_SIGHUP;

	switch (def->kind)
	{
		case TE_KIND_STRING:
			DefineCustomStringVariable(name, def->description, NULL, &te_guc_string[id], def->boot,
									   context, 0, def->hook, watch ? assign_string : NULL, NULL);
			break;
		case TE_KIND_BOOL:
			DefineCustomBoolVariable(name, def->description, NULL, &te_guc_bool[id],
									 strcmp(def->boot, "on") == 0,
									 context, 0, NULL, watch ? assign_bool : NULL, NULL);
			break;
		case TE_KIND_INT:
		case TE_KIND_MS:
		case TE_KIND_MB:
			DefineCustomIntVariable(name, def->description, NULL, &te_guc_int[id],
									atoi(def->boot), def->min, def->max, context,
									def->kind == TE_KIND_MS ? GUC_UNIT_MS :
									def->kind == TE_KIND_MB ? GUC_UNIT_MB : 0,
									NULL, watch ? assign_int : NULL, NULL);
			break;
		case TE_KIND_ENUM:
			DefineCustomEnumVariable(name, def->description, NULL, &te_guc_int[id],
									 enum_value(def->options, def->boot), def->options, context, 0,
									 NULL, watch ? assign_int : NULL, NULL);
			break;
	}
}

void
te_settings_init(void)
{
	for (int i = 0; i < TE_SET_COUNT; i++)
		define_one(i);
	MarkGUCPrefixReserved("todo_events");
}

bool
te_setting_parse(TeSettingId id, const char *value, bool row, int *number, char **why)
{
	const TeSettingDef *def = &te_setting_defs[id];
	const char *hint = NULL;
	bool		flag;

	*number = 0;
	*why = NULL;
	switch (def->kind)
	{
		case TE_KIND_STRING:
			return def->check == NULL || def->check(value, row, why);
		case TE_KIND_BOOL:
			if (!parse_bool(value, &flag))
			{
				*why = pstrdup("It takes on or off.");
				return false;
			}
			*number = flag;
			return true;
		case TE_KIND_INT:
		case TE_KIND_MS:
		case TE_KIND_MB:
			if (!parse_int(value, number, def->kind == TE_KIND_MS ? GUC_UNIT_MS :
						   def->kind == TE_KIND_MB ? GUC_UNIT_MB : 0, &hint))
			{
				*why = pstrdup(hint ? hint : "It takes a whole number.");
				return false;
			}
			if (*number < def->min || *number > def->max)
			{
				*why = psprintf("It takes values from %d to %d%s.", def->min, def->max,
								def->kind == TE_KIND_MS ? " ms" : def->kind == TE_KIND_MB ? " MB" : "");
				return false;
			}
			return true;
		case TE_KIND_ENUM:
			*number = enum_value(def->options, value);
			if (*number < 0)
			{
				StringInfoData names;

				initStringInfo(&names);
				for (int i = 0; def->options[i].name; i++)
					appendStringInfo(&names, "%s\"%s\"", i ? ", " : "", def->options[i].name);
				*why = psprintf("It takes one of %s.", names.data);
				return false;
			}
			return true;
	}
	return false;
}

/*
 * Credentials that only the server's configuration can name are not sent to
 * brokers that a database's owner has chosen: it would show him what a file
 * of the server holds.
 */
static bool
withheld(TeSettingId id)
{
	return (id == TE_SET_SASL_PASSWORD_FILE || id == TE_SET_CERT_FILE || id == TE_SET_KEY_FILE) &&
		te_setting_row(TE_SET_BROKERS, NULL, NULL);
}

const char *
te_setting_string(TeSettingId id)
{
	const TeSettingDef *def = &te_setting_defs[id];
	const char *text;

	if (def->kind == TE_KIND_ENUM)
		return enum_name(def->options, te_setting_int(id));
	Assert(def->kind == TE_KIND_STRING);
	if (def->class == TE_CLASS_DATABASE && te_setting_row(id, &text, NULL))
		return text;
	if (def->class == TE_CLASS_SERVER && withheld(id))
		return "";
	return te_guc_string[id] ? te_guc_string[id] : "";
}

bool
te_setting_bool(TeSettingId id)
{
	int			number;

	if (te_setting_defs[id].class == TE_CLASS_DATABASE && te_setting_row(id, NULL, &number))
		return number != 0;
	return te_guc_bool[id];
}

int
te_setting_int(TeSettingId id)
{
	int			number;

	if (te_setting_defs[id].class == TE_CLASS_DATABASE && te_setting_row(id, NULL, &number))
		return number;
	return te_guc_int[id];
}

const char *
te_setting_guc_string(TeSettingId id)
{
	return te_guc_string[id] ? te_guc_string[id] : "";
}
