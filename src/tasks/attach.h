/*
 * attach.h
 *	  Attaching a table, as a C function for create_tasks too.
 */
#ifndef TE_TASKS_ATTACH_H
#define TE_TASKS_ATTACH_H

#include "tasks/checks.h"

typedef struct TeAttachOptions
{
	const char *type_prefix;
	const char *name;			/* NULL = the table's */
	bool		snapshot;		/* one created event a present row */
	int64		start_sequence;
} TeAttachOptions;

/* completed: as attach() takes it, or NULL.  Returns the attachment's number */
extern int32 te_attach(Oid relid, TeAttachRequest *request, const char *completed,
					   const TeAttachOptions *options);

/* run a statement through SPI with search_path pinned; how many rows */
extern uint64 te_attach_execute(const char *format,...) pg_attribute_printf(1, 2);

/*
 * A statement on todo_events.attachment_config with the rights of its owner.
 * Everybody's caches of it become invalid at commit.  Returns the first
 * column of the first row, 0 if there is none.
 */
extern int32 te_attach_config(const char *query, int nargs, Oid *types, Datum *values,
							  const char *nulls);

/* rows of tables that are dropped are no longer in force; skipped if anybody is in the way */
extern void te_attach_forget_dropped(void);

/* the trigger that says what the columns mean, see columns.h */
extern void te_attach_columns_trigger(Relation rel, const TeAttachRequest *request, int32 number);

/* the TRUNCATE trigger of a table or partition */
extern void te_attach_truncate_trigger(Oid relid, int32 number);

/*
 * Code of the table's owner (a domain's check, a cast, an output function)
 * runs with the owner's rights, whoever attaches or alters the table.  An
 * error in between needs no end: the abort puts the user back.
 */
typedef struct TeAsOwner
{
	Oid			save_user;
	int			save_context;
} TeAsOwner;

extern TeAsOwner te_as_owner_begin(Relation rel);
extern void te_as_owner_end(TeAsOwner saved);

/* schema and name of a table, quoted */
extern char *te_attach_quoted(Oid relid);

/* detach.c: every table with a trigger of ours that is not its parent's; and a list of tables with their partitions */
extern List *te_attach_tables(void);
extern List *te_attach_with_partitions(List *relids);

/* lock relations exclusively, without a deadlock with those who write to them */
extern void te_attach_lock(List *relids);

/* drop.c */
extern void te_drop_init(void);

#endif
