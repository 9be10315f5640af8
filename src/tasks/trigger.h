/*-------------------------------------------------------------------------
 *
 * trigger.h
 *	  Triggers of a table as pg_trigger has them.
 *
 * Nothing here locks the table: health() has to say what is wrong with a
 * table while somebody holds it with ALTER TABLE.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_TASKS_TRIGGER_H
#define TE_TASKS_TRIGGER_H

#include "access/attnum.h"
#include "nodes/pg_list.h"

/*
 * Triggers fire in the order of their names.  Capture is first after a row:
 * another trigger that changes the same row then makes the later event.  The
 * sequence is set last before a row, when all others have had their say.
 */
#define TE_TRIGGER_CAPTURE	"!todo_events_capture"
#define TE_TRIGGER_COLUMNS	"todo_events_columns"
#define TE_TRIGGER_TRUNCATE "todo_events_truncate"
#define TE_TRIGGER_SEQUENCE "zzzz_todo_events_sequence"

typedef struct TeTrigger
{
	char	   *name;
	bool		ours;			/* calls todo_events.capture() */
	bool		clone;			/* came from the parent of a partition */
	char		enabled;		/* pg_trigger.tgenabled */
	int16		type;			/* TRIGGER_TYPE_... */
	char	   *when;			/* its condition as nodeToString wrote it, or NULL */
	int			nargs;
	char	  **args;
	int			nattrs;
	AttrNumber *attrs;			/* UPDATE OF ... */
} TeTrigger;

/* those of a relation that are not constraints', in order of name; palloc'd */
extern List *te_triggers_of(Oid relid);

/* the one of that name if it is ours, or NULL */
extern const TeTrigger *te_trigger_find(const List *triggers, const char *name);

/* a number among a trigger's arguments; -1 if somebody wrote something else there */
extern int32 te_trigger_parse_number(const char *text);

/* the number of the attachment that a trigger of ours names, 0 = none */
extern int32 te_trigger_number(const TeTrigger *trigger);

/* oid of todo_events.capture(), InvalidOid if the extension is not here */
extern Oid	te_trigger_function_oid(void);

#endif
