/*-------------------------------------------------------------------------
 *
 * primary.c
 *	  What a function needs of the server that it is called on.
 *
 * Asked before anything else is looked at: on a standby the first lock or
 * transaction id that is wanted would raise an error of the server's own,
 * which says nothing of what the caller did, or none at all, and a wait for
 * what only the primary does would last as long as it may.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "runtime/primary.h"

void
te_require_primary(const char *function)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("%s does not run on a standby", function),
				 errhint("Call it on the primary server.")));
}

void
te_require_writable(const char *function)
{
	te_require_primary(function);
	PreventCommandIfReadOnly(function);
}
