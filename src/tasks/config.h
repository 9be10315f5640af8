/*
 * config.h
 *	  The rows of todo_events.attachment_config as the log's readers, the
 *	  upkeep and health() need them: by number, detached ones too.
 */
#ifndef TE_TASKS_CONFIG_H
#define TE_TASKS_CONFIG_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

typedef struct TeConfigRow
{
	int32		number;			/* hash key */
	Oid			relid;			/* the table, whether it still exists or not */
	char	   *name;
	char	   *type_prefix;
	bool		bare;
	TimestampTz detached_at;	/* DT_NOEND = in force */
} TeConfigRow;

/* good until the caches are looked into again; NULL if there is no such attachment */
extern const TeConfigRow *te_config_find(int32 attachment);

/* copies of all, by number */
extern List *te_config_rows(void);

/* te_event_set_prefix_lookup's: NULL if there is no such attachment */
extern const char *te_config_type_prefix(int32 attachment);

/* is the attachment in force, or was it detached not before "since"? */
extern bool te_config_remembered(int32 attachment, TimestampTz since);

extern void te_config_init(void);

#endif
