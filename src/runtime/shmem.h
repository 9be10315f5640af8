/*-------------------------------------------------------------------------
 *
 * shmem.h
 *	  What backends, launcher and engines share: one slot a database.
 *
 * Exists only when the library is preloaded; te_shmem_available() says so.
 * Without it everything that stores still works, and nothing is delivered.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_RUNTIME_SHMEM_H
#define TE_RUNTIME_SHMEM_H

#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "datatype/timestamp.h"

#define TE_HEALTH_LINES		32
#define TE_HEALTH_COMPONENT	80
#define TE_HEALTH_TEXT		320
#define TE_MAX_ROLES		8
#define TE_TOPIC_STATES		32	/* topics beyond these are shown without their state */
#define TE_PUBLISHER_MARK	1100	/* a reader's mark is at most 1 kB */

typedef enum TeDatabaseState
{
	TE_DB_FREE = 0,				/* slot unused */
	TE_DB_PROBE,				/* to be looked at: has it the extension? */
	TE_DB_STARTING,				/* engine asked for */
	TE_DB_RUNNING,
	TE_DB_BACKOFF,				/* engine ended; restart at restart_at */
	TE_DB_PARKED,				/* a CREATE/ALTER/DROP DATABASE needs it alone */
	TE_DB_ABSENT,				/* looked at: no extension, or not to be served */
	TE_DB_WAITING				/* has the extension, and no seat is free: see seated */
} TeDatabaseState;

typedef struct TeHealthLine
{
	int			level;			/* 0 = unused */
	TimestampTz since;
	char		component[TE_HEALTH_COMPONENT];
	char		message[TE_HEALTH_TEXT];
	char		hint[TE_HEALTH_TEXT];
} TeHealthLine;

typedef struct TeRoleStatus
{
	char		name[32];
	bool		running;
	int			io_pid;
	int64		restarts;		/* of its I/O process */
	int64		errors;
	TimestampTz since;
	TimestampTz last_error_at;
	char		last_error[TE_HEALTH_TEXT];
} TeRoleStatus;

/* what the publisher knows of a topic on the broker; the fields are those of the TOPIC_STATE frame */
typedef struct TeTopicStatus
{
	char		name[250];		/* Kafka's limit is 249 */
	uint8		state;			/* TeWireTopicState */
	int32		partitions;
	int64		retention_ms;
	int64		max_message_bytes;
	TimestampTz at;
	char		difference[TE_HEALTH_TEXT];
} TeTopicStatus;

/* counters for metrics() and lag; single writer (the engine), read without lock */
typedef struct TeCounters
{
	pg_atomic_uint64 events_read;	/* emitted by the publisher's reader */
	pg_atomic_uint64 messages_sent; /* handed to the I/O process (events x targets) */
	pg_atomic_uint64 messages_acked;
	pg_atomic_uint64 messages_refused;
	pg_atomic_uint64 bytes_sent;
	pg_atomic_uint64 cycles;
	pg_atomic_uint64 publisher_high;	/* highest id acknowledged, for lag */
	pg_atomic_uint64 publisher_at;	/* TimestampTz of the newest acknowledged event */
	pg_atomic_uint64 io_restarts;
	pg_atomic_uint64 engine_starts;
	pg_atomic_uint64 ack_p50_us;
	pg_atomic_uint64 ack_p99_us;
	pg_atomic_uint64 dropped;	/* events dropped by log_full = drop_oldest */
} TeCounters;

typedef struct TeDatabase
{
	/* under TeShared.lock */
	Oid			dboid;
	TeDatabaseState state;
	int			parked;			/* how many commands hold it parked */
	TeDatabaseState parked_from;	/* the state before the first of them */
	int			pid;			/* engine, 0 if none */
	bool		seated;			/* one of the databases that the server's worker slots are enough for */
	TimestampTz waiting_since;	/* for a seat; 0: not */
	TimestampTz started_at;
	TimestampTz restart_at;
	int			failures;		/* in a row, for backoff */
	int			nroles;
	TeRoleStatus roles[TE_MAX_ROLES];
	TeHealthLine health[TE_HEALTH_LINES];
	char		io_versions[128];
	int			ntopics;
	TeTopicStatus topics[TE_TOPIC_STATES];
	char		publisher_mark[TE_PUBLISHER_MARK];	/* acknowledged so far, for lag; "" = none */
	bool		looking;		/* STARTING: nobody knows yet whether the extension is there */
	TimestampTz looking_since;
	bool		requested;		/* registered since the engine last looked */
	bool		restart_now;	/* the next end of the engine is no failure: start it again at once */
	bool		barred;			/* ABSENT although the extension may be there: left out, a template, or of a later version */
	bool		settings_prepared;	/* a prepared transaction has changed what ALTER DATABASE SET says */
	char		dbname[NAMEDATALEN];

	/* without lock */
	Latch	   *latch;			/* the engine's, NULL if none; set under lock, read without */
	pg_atomic_uint64 wakeups;	/* raised by every commit with events, before the latch is set */
	pg_atomic_uint32 deaf;		/* 1: the engine is not to be woken by commits, see worker.h */
	pg_atomic_uint64 wait_requested;	/* wait_for_delivery(): last ticket drawn */
	pg_atomic_uint64 wait_done; /* every event committed before this ticket is acknowledged */
	ConditionVariable wait_cv;
	pg_atomic_uint32 reload;	/* settings or routes changed by a commit */
	pg_atomic_uint64 counter_tombstones;	/* how many were written, for the same */
	pg_atomic_uint32 counter_state; /* of tasks/counter.c: is there anything in its ring?  0 = unknown */
	TeCounters	counters;
} TeDatabase;

/* of the cluster; private to src/runtime */
typedef struct TeShared
{
	LWLock	   *lock;
	Latch	   *launcher_latch; /* NULL: no launcher, e.g. on a standby */
	int			launcher_pid;
	bool		out_of_workers; /* the last try to start an engine found no free slot */
	bool		left_out;		/* there was no slot of ours for some database */
	bool		look_again;		/* the launcher shall look into every database that it knows nothing of */
	int			seats;			/* how many databases may have an engine, by max_worker_processes */
	int			nslots;
	TeDatabase	slots[FLEXIBLE_ARRAY_MEMBER];
} TeShared;

extern TeShared *te_shared;		/* NULL: not preloaded */

extern void te_shmem_init(void);	/* _PG_init: request and startup hooks */
extern bool te_shmem_available(void);

/* this backend's database: its slot, or NULL (not preloaded, or no slot yet and create = false / none free) */
extern TeDatabase *te_shmem_my_database(bool create);
extern LWLock *te_shmem_lock(void);
extern int	te_shmem_slots(void);
extern TeDatabase *te_shmem_slot(int i);

/* under the lock, exclusively: the slot of a database, made if it has none; NULL if all are taken */
extern TeDatabase *te_shmem_find(Oid dboid, bool create);

/* under the lock, exclusively: a seat for this database, if it has none and one is free.  Has it one now? */
extern bool te_shmem_take_seat(TeDatabase *db);

/* under the lock: how many databases have a seat, and how many wait for one (either may be NULL) */
extern void te_shmem_count_seats(int *taken, int *waiting);

/* under the lock: is there a slot for a database that has none? */
extern bool te_shmem_has_spare(void);

/*
 * Have the launcher start, or look at, this database's engine.  For a
 * database that is known to have the extension, "known".
 */
extern void te_shmem_request(Oid dboid, bool known);

/* has to happen when names or flags of databases may have changed in ways that no hook told of */
extern void te_shmem_look_again(void);

/* have the running engine of a database (InvalidOid: every engine) read its settings again */
extern void te_shmem_reload(Oid dboid);
extern void te_shmem_wake_launcher(void);

#endif
