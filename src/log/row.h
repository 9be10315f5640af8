/*
 * row.h
 *	  A stored row of the log as a TeLogRow, and back.
 */
#ifndef TE_LOG_ROW_H
#define TE_LOG_ROW_H

#include "executor/tuptable.h"

#include "log/reader.h"

/* columns of todo_events_internal.log, from 1 */
typedef enum TeLogColumn
{
	TE_LOG_ID = 1,
	TE_LOG_TIME,
	TE_LOG_SEQUENCE,
	TE_LOG_ORIGIN,
	TE_LOG_ATTACHMENT,
	TE_LOG_TYPE,
	TE_LOG_KEY_UUID,
	TE_LOG_USER_UUID,
	TE_LOG_KEY_TEXT,
	TE_LOG_USER_TEXT,
	TE_LOG_EXTRA,
	TE_LOG_PAYLOAD,
	TE_LOG_SEGMENT
} TeLogColumn;

#define TE_LOG_COLUMNS	TE_LOG_SEGMENT

/* the row points into the slot, or at copies that te_row_release frees */
extern void te_row_from_slot(TeLogRow *row, TupleTableSlot *slot);
extern void te_row_from_values(TeLogRow *row, const Datum *values, const bool *nulls);
extern void te_row_release(TeLogRow *row);

#endif
