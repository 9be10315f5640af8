/*-------------------------------------------------------------------------
 *
 * instance.c
 *	  todo_events.instance, and the Neon branch: by them a physical copy of a
 *	  cluster is told from the cluster.
 *
 * The instance counts only from a configuration file outside the data
 * directory: one inside is copied along with the data, and a clone would bear
 * its original's name.  Both values are the server's own, whatever a session,
 * a role or a database has set.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>
#include <stdlib.h>

#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/memutils.h"

#include "runtime/compat.h"
#include "runtime/instance.h"
#include "runtime/settings.h"

static char *instance = "";
static char *ignored = NULL;
static char *branch = "";

/* is the file in the data directory, or below it? */
static bool
copied_with_data(const char *file)
{
	char		real_file[PATH_MAX];
	char		real_data[PATH_MAX];
	size_t		len;

	/* a file that cannot be looked at is taken for one that is */
	if (DataDir == NULL || realpath(file, real_file) == NULL || realpath(DataDir, real_data) == NULL)
		return true;
	len = strlen(real_data);
	return strncmp(real_file, real_data, len) == 0 && (real_file[len] == '/' || len == 1);
}

const char *
te_instance(void)
{
	return instance;
}

const char *
te_instance_ignored(void)
{
	return ignored;
}

const char *
te_neon_branch(void)
{
	return branch;
}

void
te_instance_init(void)
{
	MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);
	struct config_generic *guc = te_compat_find_guc("todo_events.instance");
	const char *set = te_setting_guc_string(TE_SET_INSTANCE);

	if (set[0] != '\0')
	{
		if (guc == NULL || guc->source != PGC_S_FILE || guc->sourcefile == NULL)
			ignored = "the command line";
		else if (copied_with_data(guc->sourcefile))
			ignored = "a file inside the data directory";
		else
			instance = pstrdup(set);
	}

	guc = te_compat_find_guc("neon.timeline_id");
	if (guc != NULL && guc->vartype == PGC_STRING &&
		(guc->reset_source == PGC_S_FILE || guc->reset_source == PGC_S_ARGV))
	{
		const char *value = ((struct config_string *) guc)->reset_val;

		if (value != NULL)
			branch = pstrdup(value);
	}
	MemoryContextSwitchTo(caller);
}
