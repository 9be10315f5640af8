/*-------------------------------------------------------------------------
 *
 * letter_store.h
 *	  The two tables behind todo_events.dead_letters.
 *
 * Local to this node, as the log is: rows are appended in a way that logical
 * decoding does not see, never updated, and never deleted one by one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_PUBLISHER_LETTER_STORE_H
#define TE_PUBLISHER_LETTER_STORE_H

#include "access/genam.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

/* columns of todo_events_internal.dead_letter, from 1 */
typedef enum TeLetterColumn
{
	TE_LETTER_ID = 1,
	TE_LETTER_AT,
	TE_LETTER_READER,
	TE_LETTER_LOG_ID,
	TE_LETTER_LAST_LOG_ID,
	TE_LETTER_EVENT_ID,
	TE_LETTER_TOPIC,
	TE_LETTER_KEY,
	TE_LETTER_TYPE,
	TE_LETTER_REASON,
	TE_LETTER_CODE,
	TE_LETTER_CODE_NAME,
	TE_LETTER_ATTEMPTS,
	TE_LETTER_CONTENT_TYPE,
	TE_LETTER_REDRIVE_OF,
	TE_LETTER_EVENT
} TeLetterColumn;

#define TE_LETTER_COLUMNS	TE_LETTER_EVENT

/* columns of todo_events_internal.dead_letter_redrive, from 1 */
typedef enum TeRedriveColumn
{
	TE_REDRIVE_LETTER = 1,
	TE_REDRIVE_AT,
	TE_REDRIVE_LOG_ID
} TeRedriveColumn;

#define TE_REDRIVE_COLUMNS	TE_REDRIVE_LOG_ID

extern Relation te_letters_open(LOCKMODE lock);

/*
 * For the engine, which delivers everybody's events and waits for nobody's
 * transaction: NULL while a purge is not committed, or waits for its lock.
 */
extern Relation te_letters_try_open(LOCKMODE lock);
extern Relation te_redrives_open(LOCKMODE lock);
extern Relation te_redrives_try_open(LOCKMODE lock);

/* append one row to either; its first index is on the first column */
extern void te_letter_append(Relation rel, Datum *values, bool *nulls);

/* number for the next dead letter */
extern int64 te_letter_next_id(void);

/* rows in the order of an index of one bigint column, all or those with that value */
extern SysScanDesc te_letter_scan(Relation rel, AttrNumber column, const int64 *value,
								  Snapshot snapshot, Relation *index);
extern void te_letter_scan_end(SysScanDesc scan, Relation index);

/* when a letter was last redriven, 0 = never */
extern TimestampTz te_letter_redriven(Relation redrives, int64 letter, Snapshot snapshot);

/*
 * Empty the table but for the rows that keep() wants; returns how many went.
 * The caller holds AccessExclusiveLock.
 */
typedef bool (*TeLetterKeep) (void *arg, Relation rel, HeapTuple tuple);
extern int64 te_letter_rewrite(Relation rel, TeLetterKeep keep, void *arg);

#endif
