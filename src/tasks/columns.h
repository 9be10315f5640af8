/*-------------------------------------------------------------------------
 *
 * columns.h
 *	  What the columns of an attached table mean.
 *
 * The roles are nowhere stored as names.  The trigger TE_TRIGGER_COLUMNS is
 * declared "AFTER UPDATE OF key, user, ... WHEN (false)" and never fires;
 * PostgreSQL keeps its column list up to date through renames and copies it
 * to partitions with other column orders.  Its arguments say which place in
 * that list has which role.  A value of an enum that means "completed" stands
 * in the condition as well, where PostgreSQL follows its renames.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_TASKS_COLUMNS_H
#define TE_TASKS_COLUMNS_H

#include "access/attnum.h"
#include "nodes/pg_list.h"
#include "tasks/trigger.h"

typedef enum TeColumnRole
{
	TE_COLUMN_KEY,
	TE_COLUMN_USER,
	TE_COLUMN_COMPLETED,
	TE_COLUMN_TITLE,
	TE_COLUMN_DUE_AT,
	TE_COLUMN_REMIND_AT,
	TE_COLUMN_SEQUENCE,
	TE_COLUMN_UPDATED_AT,		/* a difference in nothing else is none */
	TE_COLUMN_COMPLETED_AT,		/* kept by us: standard tables only */
	TE_COLUMN_ROLES,
	TE_COLUMN_EXCLUDE = TE_COLUMN_ROLES /* any number of them */
} TeColumnRole;

/* as written in the trigger's arguments: "key=0" means the first column of its list */
extern const char *const te_column_role_names[TE_COLUMN_ROLES + 1];

typedef enum TeDoneKind
{
	TE_DONE_NEVER,
	TE_DONE_BOOL,				/* the column is true */
	TE_DONE_NOT_NULL,			/* the column has a value */
	TE_DONE_VALUE				/* the column has this value */
} TeDoneKind;

typedef struct TeColumns
{
	AttrNumber	columns[TE_COLUMN_ROLES];	/* InvalidAttrNumber = no such column */
	List	   *exclude;		/* of attribute numbers */
	bool		standard;		/* made by create_tasks: we keep updated_at and completed_at */
	TeDoneKind	done;
	const char *done_text;		/* the value's text as attach() was given it */
	const char *when;			/* the trigger's condition */
} TeColumns;

/* false if the trigger is NULL or names no key; what it points to is the trigger's */
extern bool te_columns_read(const TeTrigger *trigger, TeColumns *result);

/* TE_DONE_VALUE: the value, of that type; palloc'd */
extern Datum te_columns_done_value(const TeColumns *columns, Oid type, int32 typmod);

/* "done" or "status=completed", as attach() takes it, by present names; NULL if there is none */
extern const char *te_columns_completed(const TeColumns *columns, Oid relid);

#endif
