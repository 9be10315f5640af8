/*-------------------------------------------------------------------------
 *
 * inval.c
 *	  One callback of the relation cache for all that want to be told.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "runtime/inval.h"
#include "utils/inval.h"

#define MAX_CALLBACKS	16

static TeInvalCallback callbacks[MAX_CALLBACKS];
static int	ncallbacks = 0;

static void
relcache_changed(Datum arg, Oid relid)
{
	(void) arg;
	for (int i = 0; i < ncallbacks; i++)
		callbacks[i] (relid);
}

void
te_inval_register(TeInvalCallback callback)
{
	for (int i = 0; i < ncallbacks; i++)
		if (callbacks[i] == callback)
			return;
	if (ncallbacks == MAX_CALLBACKS)
		elog(ERROR, "too many callbacks of todo_events for changed relations");
	if (ncallbacks == 0)
		CacheRegisterRelcacheCallback(relcache_changed, (Datum) 0);
	callbacks[ncallbacks++] = callback;
}
