/*-------------------------------------------------------------------------
 *
 * settings_registry.h
 *	  Private to the files settings*.c: one line a setting, its check, and
 *	  the rows' cache.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_RUNTIME_SETTINGS_REGISTRY_H
#define TE_RUNTIME_SETTINGS_REGISTRY_H

#include "runtime/settings.h"
#include "utils/guc.h"

/*
 * Is this text a possible value?  "row": it would be a row, written by a
 * database's owner, who may less than the server's configuration.  On false,
 * *why is a sentence for the error's detail.
 */
typedef bool (*TeSettingCheck) (const char *value, bool row, char **why);

typedef struct TeSettingDef
{
	const char *name;			/* without the prefix "todo_events." */
	TeSettingClass class;
	TeSettingKind kind;
	const char *boot;			/* default, as text; for numbers in the base unit */
	int			min,
				max;
	const struct config_enum_entry *options;
	TeSettingCheck check;
	bool		(*hook) (char **newval, void **extra, GucSource source);
	bool		restart;		/* takes effect at server start only */
	const char *description;
} TeSettingDef;

extern const TeSettingDef te_setting_defs[TE_SET_COUNT];

/* names that secret_input accepts, NULL at the end */
extern const char *const te_secret_names[];

extern int	te_setting_find(const char *name);	/* -1: no such setting */
extern void te_settings_changed(void);	/* raises the generation */

/* a value given as text, brought into the setting's kind; false with *why otherwise */
extern bool te_setting_parse(TeSettingId id, const char *value, bool row, int *number, char **why);

/* the row in force, if there is one */
extern bool te_setting_row(TeSettingId id, const char **text, int *number);

/* an element of a list separated by commas, trimmed; false at the end */
extern bool te_setting_next_item(const char **p, char **item);

/* settings_check.c, settings_kafka.c */
#define TE_CHECKS(X) \
	X(databases) X(path) X(networks) X(inject) X(brokers) X(kafka_options) X(source) \
	X(idempotency_key) X(traceparent) X(line)
#define X(name) \
	extern bool te_check_##name(const char *value, bool row, char **why); \
	extern bool te_hook_##name(char **newval, void **extra, GucSource source);
TE_CHECKS(X)
#undef X

#endif
