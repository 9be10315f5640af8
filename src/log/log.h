/*-------------------------------------------------------------------------
 *
 * log.h
 *	  The event log: what other rooms append and how.
 *
 * Append-only.  A row is written straight into the current segment of a ring
 * of partitions (ring.h); nothing is ever updated or deleted.  Who reads it
 * follows the rule in reader.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_LOG_LOG_H
#define TE_LOG_LOG_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

/* event types; the number is stored, the name is rendered (event.c) */
typedef enum TeEventType
{
	TE_EVENT_CUSTOM = 0,		/* publish(): the type's name is in extra.type */
	TE_EVENT_TASK_CREATED = 1,
	TE_EVENT_TASK_UPDATED = 2,
	TE_EVENT_TASK_COMPLETED = 3,
	TE_EVENT_TASK_REOPENED = 4,
	TE_EVENT_TASK_DELETED = 5,
	TE_EVENT_TASK_UNASSIGNED = 6,
	/* 10..: reminders, 20..: notifications, later */
	TE_EVENT_REDRIVE = 100		/* payload is a whole CloudEvent of before; goes to extra.topic only */
} TeEventType;

/* a task's key or a user: a uuid, any other text, or absent */
typedef struct TeName
{
	enum
	{
		TE_NAME_NONE, TE_NAME_UUID, TE_NAME_TEXT
	}			kind;
	pg_uuid_t	uuid;
	const char *text;			/* not necessarily terminated */
	int			len;
} TeName;

/* bytes of a payload: with its envelope it has to fit into a frame (wire.h) */
#define TE_LOG_MAX_PAYLOAD	(60 * 1024 * 1024)

typedef struct TeEventInput
{
	TeEventType type;
	int32		attachment;		/* number of the attachment; 0 = published */
	int64		sequence;		/* 0 = none */
	TeName		key;			/* as rendered: with "name/" where the attachment wants it */
	TeName		user;
	const char *extra;			/* JSON object text or NULL: rarely present members, see below */
	const char *payload;		/* JSON text: data.payload of a task event, the whole data of a custom one */
	int			payload_len;
} TeEventInput;

/*
 * members of extra:
 *	type, topic			custom events and redrives
 *	content_type		redrives, if not the usual
 *	idempotency_key, id	set with todo_events.idempotency_key: the key, and the uuid derived at append
 *	traceparent			set with todo_events.traceparent
 *	dead_letter			redrives: number of the dead letter
 */

/* _PG_init: the whole room (room.c), and its part in log.c */
extern void te_log_init(void);
extern void te_log_append_init(void);

/*
 * Append one event to the log in the current transaction; returns its id.
 * Takes the xid before the id (the read rule rests on it), adds idempotency
 * key and traceparent of the session to extra, and notes the append for the
 * wake-up at commit.  ERRCODE_TE_LOG_FULL under log_full = refuse_writes,
 * ERRCODE_PROGRAM_LIMIT_EXCEEDED above TE_LOG_MAX_PAYLOAD.
 * Costs are bounded: no lock that waits, no network.
 */
extern int64 te_log_append(const TeEventInput *event);

/* this database's 32-bit origin (who wrote a row): differs between a database and its physical copy */
extern int32 te_log_origin(void);

/* bytes of heap, index and TOAST: of one segment of the log, and of all */
extern int64 te_log_segment_bytes(int segment);
extern int64 te_log_size(void);

#endif
