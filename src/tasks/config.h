/*
 * config.h
 *	  The rows of todo_events.attachment_config as the log's readers and the
 *	  upkeep need them: by number, detached ones too.
 */
#ifndef TE_TASKS_CONFIG_H
#define TE_TASKS_CONFIG_H

#include "datatype/timestamp.h"

/* te_event_set_prefix_lookup's: NULL if there is no such attachment */
extern const char *te_config_type_prefix(int32 attachment);

/* is the attachment in force, or was it detached not before "since"? */
extern bool te_config_remembered(int32 attachment, TimestampTz since);

/* every attached table, whether it still exists or not */
extern void te_config_each_table(void (*callback) (void *arg, Oid relid), void *arg);

extern void te_config_init(void);

#endif
