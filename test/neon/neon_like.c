/*-------------------------------------------------------------------------
 *
 * neon_like.c
 *	  Stands in, on an ordinary PostgreSQL, for what an extension meets of
 *	  Neon's own library: parameters of the server that it defines, and a
 *	  utility hook in the chain.  Tests build and preload it.
 *
 *	  neon.privileged_role_name		the role that stands for a superuser
 *	  neon_like.commands			how many utility commands went through the hook
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "tcop/utility.h"
#include "utils/guc.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

static char *privileged_role_name;
static int	commands;
static ProcessUtility_hook_type next_utility;

static void
count_command(PlannedStmt *stmt, const char *query, bool read_only_tree, ProcessUtilityContext context,
			  ParamListInfo params, QueryEnvironment *env, DestReceiver *dest, QueryCompletion *qc)
{
	commands++;
	(next_utility ? next_utility : standard_ProcessUtility) (stmt, query, read_only_tree, context,
															 params, env, dest, qc);
}

void
_PG_init(void)
{
	DefineCustomStringVariable("neon.privileged_role_name", "Role that users are members of.", NULL,
							   &privileged_role_name, "neon_superuser", PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("neon_like.commands", "Utility commands seen.", NULL,
							&commands, 0, 0, PG_INT32_MAX, PGC_INTERNAL, 0, NULL, NULL, NULL);
	next_utility = ProcessUtility_hook;
	ProcessUtility_hook = count_command;
}
