/*
 * checks.h
 *	  May this table be attached, and its columns have these roles?  Each
 *	  answer that is no is an error with its reason.
 */
#ifndef TE_TASKS_CHECKS_H
#define TE_TASKS_CHECKS_H

#include "nodes/pg_list.h"
#include "tasks/attachment.h"
#include "utils/rel.h"

/* before the table is locked: kind, schema, owner */
extern void te_check_relation(Oid relid);

/* under the lock: every partition */
extern void te_check_partitions(Oid relid);

/* what attach() was given, in the end with attribute numbers */
typedef struct TeAttachRequest
{
	char	   *names[TE_COLUMN_ROLES]; /* NULL = none; completed without "=value" */
	List	   *exclude;		/* of char * */
	AttrNumber	columns[TE_COLUMN_ROLES];
	char	   *done;			/* "bool", "not_null", "value:..." or NULL */
	bool		standard;
	bool		altered;		/* it is attached, and its columns' types may have changed: look at nothing else */
} TeAttachRequest;

/* under the lock: fills in columns, done and the default key */
extern void te_check_columns(Relation rel, TeAttachRequest *request, const char *completed);

extern void te_check_type_prefix(const char *prefix);
extern void te_check_name(const char *name);

#endif
