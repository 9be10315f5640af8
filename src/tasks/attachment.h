/*-------------------------------------------------------------------------
 *
 * attachment.h
 *	  What a backend knows about an attached table: the roles of its columns
 *	  and how its rows are rendered, cached per relation.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_TASKS_ATTACHMENT_H
#define TE_TASKS_ATTACHMENT_H

#include "access/attnum.h"
#include "log/log.h"
#include "tasks/columns.h"
#include "tasks/row_json.h"
#include "utils/rel.h"

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
	Oid			root;			/* the table that was attached: itself, or above this partition */
	bool		is_partition;
	bool		writes_follow;	/* others have AFTER ROW triggers here, which may write */
	bool		standard;		/* made by create_tasks: we keep updated_at and completed_at */
	char	   *key_prefix;		/* "name/", or NULL */
	int			key_prefix_len;
	int64		start_sequence; /* what a row counts as having had that has no number yet */

	TupleDesc	desc;			/* of the rows that all this is about: the table may be altered later */
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

/* a key (with the attachment's prefix) or user as an event carries it */
extern TeName te_attachment_name(const TeAttachment *att, TeColumnRole role,
								 const Datum *values, const bool *nulls, bool prefixed);

extern bool te_attachment_is_done(const TeAttachment *att, const Datum *values, const bool *nulls);

/* do two values of a column differ?  Unchanged TOASTed values are not fetched */
extern bool te_attachment_differs(TupleDesc desc, int column, Datum old, bool old_null,
								  Datum new, bool new_null);

/* oid of todo_events.attachment_config, InvalidOid if the extension is not here */
extern Oid	te_attachment_config_oid(void);

/* the relation that this one is a partition of, also while it is being detached, or InvalidOid */
extern Oid	te_attachment_parent(Oid relid);

/* has the relation a trigger of ours of that name? */
struct Trigger;
extern struct Trigger *te_attachment_trigger(Relation rel, const char *name);

#endif
