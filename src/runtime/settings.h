/*-------------------------------------------------------------------------
 *
 * settings.h
 *	  The registry of todo_events.* settings: the single list from which the
 *	  GUCs, the view todo_events.settings, the checks of configure() and
 *	  docs/settings.md are made.
 *
 * Two classes.  SERVER: a GUC that only a superuser sets (configuration file,
 * ALTER DATABASE SET); never a row.  DATABASE: a GUC as well, and a row of
 * todo_events.setting_config set by the extension's owner; the row wins.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_RUNTIME_SETTINGS_H
#define TE_RUNTIME_SETTINGS_H

typedef enum TeSettingClass
{
	TE_CLASS_SERVER,
	TE_CLASS_DATABASE,
	TE_CLASS_SESSION			/* a plain USERSET GUC for SET LOCAL: idempotency_key, traceparent */
} TeSettingClass;

typedef enum TeSettingKind
{
	TE_KIND_STRING,
	TE_KIND_BOOL,
	TE_KIND_INT,
	TE_KIND_MS,					/* duration, GUC_UNIT_MS */
	TE_KIND_MB,					/* size, GUC_UNIT_MB */
	TE_KIND_ENUM
} TeSettingKind;

/* one line a setting; the table itself is in settings.c */
typedef enum TeSettingId
{
	/* server class */
	TE_SET_DATABASES,			/* string "*": which databases may have workers (comma list, * = all) */
	TE_SET_MAX_DATABASES,		/* int 64, postmaster: shared memory slots */
	TE_SET_INSTANCE,			/* string "": the high-availability group */
	TE_SET_LOG_RETENTION,		/* ms, 1 d */
	TE_SET_LOG_MAX_SIZE,		/* MB, 10 GB */
	TE_SET_LOG_FULL,			/* enum grow | refuse_writes | drop_oldest */
	TE_SET_SASL_PASSWORD_FILE,	/* path */
	TE_SET_CA_FILE,				/* path */
	TE_SET_CERT_FILE,			/* path: client certificate for mTLS */
	TE_SET_KEY_FILE,			/* path: its key */
	TE_SET_TLS,					/* enum auto | on | off: off is server class */
	TE_SET_ALLOWED_NETWORKS,	/* string "": CIDR list */
	TE_SET_IO_PROGRAM,			/* path "": default: beside the library */
	TE_SET_CLOCK_OFFSET,		/* ms 0: tests */
	TE_SET_INJECT,				/* string "": fault injection points, tests */
	/* database class */
	TE_SET_BROKERS,				/* string "": empty = no Kafka; "embedded" */
	TE_SET_SASL_MECHANISM,		/* enum "" | PLAIN | SCRAM-SHA-256 | SCRAM-SHA-512 */
	TE_SET_SASL_USERNAME,		/* string */
	TE_SET_KAFKA_OPTIONS,		/* string "name=value, ..." checked against allow-list (row) / deny-list (GUC) */
	TE_SET_SOURCE,				/* string "backend-api": CloudEvents source */
	TE_SET_TRUNCATE_LIMIT,		/* int 10000 */
	TE_SET_COALESCE,			/* ms 10: longest wait for company under load; 0 = never */
	/* session class */
	TE_SET_IDEMPOTENCY_KEY,		/* string "" */
	TE_SET_TRACEPARENT,			/* string "" */
	TE_SET_COUNT
} TeSettingId;

typedef enum TeLogFull
{
	TE_LOG_FULL_GROW,
	TE_LOG_FULL_REFUSE_WRITES,
	TE_LOG_FULL_DROP_OLDEST
} TeLogFull;

/* _PG_init: defines every GUC */
extern void te_settings_init(void);

/*
 * The value in force in this backend: row (database class) before GUC.  Rows
 * are read once and again after setting_config changed (relcache
 * invalidation); a read of the rows needs a transaction, so workers call
 * te_settings_refresh() inside one, and everything else runs inside one.
 * Strings are never NULL and stay valid until the next refresh.
 */
extern void te_settings_refresh(void);
extern const char *te_setting_string(TeSettingId id);
extern bool te_setting_bool(TeSettingId id);
extern int	te_setting_int(TeSettingId id); /* also MS, MB and ENUM kinds */

/* increases whenever a value that this backend sees may have changed */
extern uint64 te_settings_generation(void);

/*
 * A secret by name ("sasl_password", "key_password"), from
 * todo_events_internal.secret; NULL if there is none.  For workers only;
 * palloc'd, the caller wipes it with explicit_bzero().
 */
extern char *te_setting_secret(const char *name);

/*
 * The options of todo_events.kafka_options in force, palloc'd: first those of
 * the server's configuration, then those of the row, each name once (the
 * row's value wins).  Neither holds what the product sets itself, nor
 * anything that loads code, runs a command or names a file.
 */
typedef struct TeKafkaOption
{
	char	   *name;
	char	   *value;
} TeKafkaOption;
extern int	te_settings_kafka_options(TeKafkaOption **options);

/* the GUC alone, whatever a row says */
extern const char *te_setting_guc_string(TeSettingId id);

/* is there a row for it?  (brokers given by SQL have to pass the address check) */
extern bool te_setting_is_row(TeSettingId id);

#endif
