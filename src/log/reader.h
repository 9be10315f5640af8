/*-------------------------------------------------------------------------
 *
 * reader.h
 *	  Readers of the event log.  The rule, and why it loses nothing, is in
 *	  reader.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_LOG_READER_H
#define TE_LOG_READER_H

#include "access/transam.h"
#include "access/xlogdefs.h"
#include "lib/stringinfo.h"
#include "log/log.h"
#include "utils/snapshot.h"

/* a row of the log as a reader hands it out; pointers die with the callback */
typedef struct TeLogRow
{
	int64		id;
	TimestampTz time;
	int64		sequence;		/* 0 = none */
	int32		origin;
	int32		attachment;
	TeEventType type;
	TeName		key;
	TeName		user;
	const char *extra;			/* NULL or JSON text, extra_len bytes */
	int			extra_len;
	const char *payload;
	int			payload_len;
	bool		detoasted;		/* payload is a copy (row.c) */
} TeLogRow;

typedef struct TeReader TeReader;

/* from the persisted cursor of that name, or the log's beginning if it has none or "" is the name; in a transaction */
extern TeReader *te_reader_open(const char *name, MemoryContext context);
extern void te_reader_close(TeReader *reader);

typedef struct TeReadLimit
{
	int			events;			/* stop after so many emitted ... */
	int64		bytes;			/* ... or so many payload bytes */
} TeReadLimit;

typedef struct TeReadResult
{
	int			events;			/* emitted */
	int			scanned;		/* rows looked at */
	bool		more;			/* a limit ended the cycle: call again at once */
	XLogRecPtr	durable_at;		/* wait for this LSN before anything of the cycle leaves (durable.h); 0 = nothing to wait for */
	int64		last_id;		/* highest id looked at so far */
	bool		unsettled;		/* holes or pending remain: look again even if nobody wakes us */
} TeReadResult;

/*
 * One cycle of the rule in the given snapshot.  emit is called in id order
 * for each row that became visible; false from it stops the cycle after that
 * row.  The reader's state then accounts for exactly the rows emitted.
 */
typedef bool (*TeEmit) (void *arg, TeReader *reader, const TeLogRow *row);
extern TeReadResult te_reader_cycle(TeReader *reader, Snapshot snapshot, TeReadLimit limit,
									TeEmit emit, void *arg);

/*
 * The reader's state, to be kept until everything up to it is acknowledged.
 * A mark is palloc'd text, opaque and bounded (1 kB): pending and holes are
 * merged into wider ranges, which may repeat and never skips.
 */
extern char *te_reader_mark(const TeReader *reader);

/* the same as a token for clients: <= 200 bytes, with epoch and origin */
extern char *te_reader_token(const TeReader *reader);

/* position a reader at a mark (own state) or token (of a client: errors are ERRCODE_TE_CURSOR_GONE, invalid parameter) */
extern void te_reader_seek_mark(TeReader *reader, const char *mark);
extern void te_reader_seek_token(TeReader *reader, const char *token);

/*
 * Rows are emitted in a memory context that lasts for the cycle: a callback
 * that allocates per row uses a context of its own.
 */

/* write the mark as the persisted cursor of that reader: one appended row; in a transaction */
extern void te_cursor_save(const char *name, const char *mark);

/* lowest id that a mark has not accounted for: rotation may not go there */
extern int64 te_cursor_low(const char *mark);

/*
 * durable.h's job, kept here: may what was committed up to lsn leave?
 * Flushes locally if needed; with synchronous standbys true only when they
 * acknowledged; false = ask again after *retry_ms.
 */
extern bool te_log_durable(XLogRecPtr lsn, int *retry_ms);

/* the LSN to wait for, given the latest that asynchronous commits of a cycle left (0 = none) */
extern XLogRecPtr te_log_durable_target(XLogRecPtr asynchronous);

/*
 * Readers of which rotation must know: a name and "is it enabled?", from
 * each room's init.
 */
extern void te_reader_register(const char *name, bool (*enabled) (void));

#endif
