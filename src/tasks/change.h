/*-------------------------------------------------------------------------
 *
 * change.h
 *	  What a change of a row means: which events, with which numbers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_TASKS_CHANGE_H
#define TE_TASKS_CHANGE_H

#include "executor/tuptable.h"
#include "storage/itemptr.h"
#include "tasks/attachment.h"

/* a row, all its columns fetched; tid is invalid for a row that is no more */
typedef struct TeRowImage
{
	const Datum *values;
	const bool *nulls;
	ItemPointerData tid;
} TeRowImage;

extern TeRowImage te_row_image(TupleTableSlot *slot);

typedef enum TeChange
{
	TE_CHANGE_NONE,				/* nothing that anybody is told of */
	TE_CHANGE_ROW,				/* one event: updated, completed or reopened */
	TE_CHANGE_OWNER,			/* two: unassigned to the old user, and the one to the new */
	TE_CHANGE_KEY				/* two: deleted, and created under the new key */
} TeChange;

/* differs: one flag a column, filled in; NULL if not wanted */
extern TeChange te_change_of(const TeAttachment *att,
							 const TeRowImage *old, const TeRowImage *new, bool *differs);

/*
 * Append the events of a change that has been made: the row is locked by us,
 * or new and unique.  A row without a key is no task: it makes no event.
 * rel: where a new row lies, to be corrected if need be; NULL if it cannot be.
 */
extern void te_change_inserted(const TeAttachment *att, Relation rel, const TeRowImage *new);
extern void te_change_updated(const TeAttachment *att, Relation rel,
							  const TeRowImage *old, const TeRowImage *new);
extern void te_change_deleted(const TeAttachment *att, const TeRowImage *old);

/* a row as it stands, as a created event under the number that it has (backfill) */
extern void te_change_snapshot(const TeAttachment *att, const TeRowImage *row);

extern void te_change_init(void);

#endif
