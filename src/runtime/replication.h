/*
 * replication.h
 *	  Logical replication and the extension's own tables.
 */
#ifndef TE_RUNTIME_REPLICATION_H
#define TE_RUNTIME_REPLICATION_H

#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "utils/relcache.h"

/*
 * Empty a table of ours by a new relfilenumber, which is not published as a
 * TRUNCATE.  The caller holds an AccessExclusiveLock.
 */
extern void te_replication_truncate(Relation rel);

/*
 * A COPY TO of a table of ours by a walsender, as the initial synchronization
 * of a subscription runs it: the same, but with no rows.  Other statements
 * are returned as they are.
 */
extern PlannedStmt *te_replication_copy(PlannedStmt *statement);

#endif
