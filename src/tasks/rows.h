/*
 * rows.h
 *	  All rows of an attached table, for TRUNCATE and backfill.
 */
#ifndef TE_TASKS_ROWS_H
#define TE_TASKS_ROWS_H

#include "storage/lockdefs.h"
#include "tasks/change.h"

typedef void (*TeRowCallback) (const TeAttachment *att, const TeRowImage *row);

/*
 * Call back for each row of a table (not a partitioned one), stopping after
 * limit + 1; returns how many there were.  callback NULL: just count.
 */
extern int64 te_rows_scan(Relation rel, const TeAttachment *att, int64 limit, TeRowCallback callback);

/* the table itself, or the partitions of a partitioned one that hold rows; all locked so */
extern List *te_rows_tables(Oid relid, LOCKMODE lockmode);

#endif
