/*-------------------------------------------------------------------------
 *
 * attachment.h
 *	  What a backend knows about an attached table: the roles of its columns
 *	  and how its rows are rendered, cached per relation.
 *
 * The roles are nowhere stored as names.  The trigger TE_TRIGGER_COLUMNS is
 * declared "AFTER UPDATE OF key, user, ... WHEN (false)" and never fires;
 * PostgreSQL keeps its column list up to date through renames and copies it
 * to partitions with other column orders.  Its arguments say which place in
 * that list has which role.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_TASKS_ATTACHMENT_H
#define TE_TASKS_ATTACHMENT_H

#include "access/attnum.h"
#include "log/log.h"
#include "tasks/row_json.h"
#include "utils/rel.h"

/*
 * Triggers fire in the order of their names.  Capture is first after a row:
 * another trigger that changes the same row then makes the later event.  The
 * sequence is set last before a row, when all others have had their say.
 */
#define TE_TRIGGER_CAPTURE	"!todo_events_capture"
#define TE_TRIGGER_COLUMNS	"todo_events_columns"
#define TE_TRIGGER_TRUNCATE "todo_events_truncate"
#define TE_TRIGGER_SEQUENCE "zzzz_todo_events_sequence"

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

/* columns of todo_events.attachment_config; a later version of the extension may have more */
enum
{
	TE_ATTACHMENT_NUMBER = 1, TE_ATTACHMENT_RELATION, TE_ATTACHMENT_NAME, TE_ATTACHMENT_TYPE_PREFIX,
	TE_ATTACHMENT_BARE, TE_ATTACHMENT_START_SEQUENCE, TE_ATTACHMENT_ATTACHED_AT,
	TE_ATTACHMENT_DETACHED_AT
};

typedef struct TeAttachment
{
	Oid			relid;			/* hash key: the table or the partition */
	bool		valid;
	MemoryContext context;		/* of all that hangs below */

	int32		number;
	bool		is_partition;
	bool		writes_follow;	/* others have AFTER ROW triggers here, which may write */
	bool		standard;		/* made by create_tasks: we keep updated_at and completed_at */
	char	   *key_prefix;		/* "name/", or NULL */
	int			key_prefix_len;
	int64		start_sequence; /* what a row counts as having had that has no number yet */

	int			natts;
	AttrNumber	columns[TE_COLUMN_ROLES];	/* InvalidAttrNumber = no such column */
	TeJsonValue names[2];		/* TE_COLUMN_KEY and TE_COLUMN_USER as text */
	Oid			sequence_type;
	TeDoneKind	done;
	Datum		done_value;
	int16		done_typlen;
	bool		done_typbyval;
	bool	   *watched;		/* a difference in this column is a change */
	bool	   *compared;		/* this column can be in "before" */
	TeRowJson  *json;
} TeAttachment;

extern void te_attachment_init(void);

/* of the relation of a trigger of ours; an error if nobody attached it */
extern const TeAttachment *te_attachment_get(Relation rel);

/* is the relation attached (or does it at least have our trigger)?  Its root's number, or 0 */
extern int32 te_attachment_number(Relation rel);

/* the arguments of TE_TRIGGER_COLUMNS by role; names palloc'd or NULL, exclude a list of char * */
typedef struct TeColumnNames
{
	char	   *names[TE_COLUMN_ROLES];
	List	   *exclude;
	char	   *completed;		/* as given to attach: "done" or "status=completed" */
	bool		standard;
} TeColumnNames;
extern bool te_attachment_column_names(Relation rel, TeColumnNames *result);

/* a key (with the attachment's prefix) or user as an event carries it */
extern TeName te_attachment_name(const TeAttachment *att, TeColumnRole role,
								 const Datum *values, const bool *nulls, bool prefixed);

extern bool te_attachment_is_done(const TeAttachment *att, const Datum *values, const bool *nulls);

/* do two values of a column differ?  Unchanged TOASTed values are not fetched */
extern bool te_attachment_differs(TupleDesc desc, int column, Datum old, bool old_null,
								  Datum new, bool new_null);

/* oid of todo_events.attachment_config, InvalidOid if the extension is not here */
extern Oid	te_attachment_config_oid(void);

/* oid of todo_events.capture() */
extern Oid	te_attachment_function_oid(void);

/* the topmost table of a partition, else the relation itself */
extern Oid	te_attachment_root(Relation rel);

/* has the relation a trigger of ours of that name? */
struct Trigger;
extern struct Trigger *te_attachment_trigger(Relation rel, const char *name);

#endif
