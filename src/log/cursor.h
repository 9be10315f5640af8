/*
 * cursor.h
 *	  Persisted cursors of readers, and tokens of clients.
 */
#ifndef TE_LOG_CURSOR_H
#define TE_LOG_CURSOR_H

#include "access/xlogdefs.h"
#include "utils/snapshot.h"

#include "log/mark.h"

/*
 * The latest persisted mark of a reader: the latest committed one, or with a
 * snapshot the latest that it sees.  NULL if there is none.  palloc'd.
 */
extern char *te_cursor_load(const char *name, Snapshot snapshot);

/* highest id that rotation has removed; 0 if none */
extern int64 te_log_floor(void);
extern void te_log_floor_raise(int64 id);

/* last id drawn; 0 if none */
extern int64 te_log_last_id(void);

/* last id that was ever in the log; after a crash less than the last one drawn, which is logged ahead */
extern int64 te_log_end(void);

/*
 * What must be flushed before a cursor that names ids of transactions which
 * have not ended leaves the database: else a crash forgets that they were
 * drawn, and draws them again for other events.
 */
extern XLogRecPtr te_log_last_id_lsn(void);

/* names of all registered readers */
extern List *te_reader_names(void);

/* names of registered readers that are enabled now; list of char pointers */
extern List *te_reader_enabled_names(void);

/* bounded upkeep of the cursor ring itself; true if a segment was emptied */
extern bool te_cursor_maintain(void);

/* a mark as a token for clients (TE_TOKEN_MAX bytes), and back; errors are the client's */
extern char *te_token_format(const TeMark *mark, uint64 next);
extern void te_token_parse(TeMark *mark, const char *token);

#endif
