/*
 * inspect.h
 *	  What is wrong with an attached table, by the catalogs alone: no lock is
 *	  taken that somebody could keep us waiting for.
 */
#ifndef TE_TASKS_INSPECT_H
#define TE_TASKS_INSPECT_H

#include "nodes/pg_list.h"
#include "tasks/config.h"

typedef struct TeFinding
{
	int			level;			/* as health()'s */
	const char *subject;		/* 'trigger "x"', or NULL for the table itself */
	const char *predicate;		/* "is disabled" */
	const char *effect;			/* "changes make no events" */
	const char *hint;
	Oid			partition;		/* the first that it was found in, or the table itself */
	int			n;				/* in how many */
} TeFinding;

/* worst first; NIL if all is well.  The table exists */
extern List *te_inspect(const TeConfigRow *config);

/* is the relation attached, as itself or as a partition? */
extern bool te_inspect_is_attached(Oid relid);

#endif
