/*-------------------------------------------------------------------------
 *
 * version.h
 *	  Which version this library is, and which one the database's objects are.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_RUNTIME_VERSION_H
#define TE_RUNTIME_VERSION_H

#include "runtime/health.h"

/* of this library, as todo_events.control has it */
extern const char te_version[];

/*
 * The version of the extension in this database, palloc'd; NULL if it is not
 * there.  Needs a transaction.
 */
extern char *te_version_installed(void);

/* as strcmp() does it, but a run of digits counts as a number */
extern int	te_version_compare(const char *a, const char *b);

/*
 * An error if the objects of this database are of a version that this library
 * does not know.  Before anything reads or writes a row of ours by position;
 * cheap when it has been called before.  Needs a transaction.
 */
extern void te_version_check(void);

/* the same as a question */
extern bool te_version_served(void);

/* adds the line of health() where the two differ */
extern void te_version_health(TeHealthSink *sink);

extern void te_version_init(void);

#endif
