/*-------------------------------------------------------------------------
 *
 * inject.c
 *	  Fault injection for tests: todo_events.inject names points that a
 *	  worker passes and what is to happen there.
 *
 *	  todo_events.inject = 'publisher_sent=kill@3, cursor_saved=error'
 *
 * With @n the n-th pass of this process triggers, without it every pass.
 * The setting is superuser's and empty in production, where a point costs
 * one branch.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>
#include <unistd.h>

#include "miscadmin.h"
#include "runtime/compat.h"
#include "runtime/settings.h"
#include "runtime/shmem.h"
#include "runtime/worker.h"
#include "storage/ipc.h"

#define MAX_POINTS	32

/* passes of each point so far, counted from when the setting first names it */
static struct
{
	char		name[64];
	int			passes;
}			points[MAX_POINTS];

static int
count_pass(const char *name)
{
	for (int i = 0; i < MAX_POINTS; i++)
	{
		if (points[i].name[0] == '\0')
			strlcpy(points[i].name, name, sizeof(points[i].name));
		if (strcmp(points[i].name, name) == 0)
			return ++points[i].passes;
	}
	return 0;
}

static void
act(const char *name, const char *action, size_t len)
{
	if (strncmp(action, "sleep:", 6) == 0)
	{
		(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, atol(action + 6),
						 te_compat_wait_event("TodoEventsInjected"));
		CHECK_FOR_INTERRUPTS();
	}
	else if (strncmp(action, "kill", len) == 0)
		kill(getpid(), SIGKILL);
	else if (strncmp(action, "kill_io", len) == 0)
	{
		/* the I/O process of the role that passes the point */
		TeDatabase *db = te_shmem_my_database(false);
		int			role = te_worker_current_role();
		int			pid = db && role >= 0 ? db->roles[role].io_pid : 0;

		if (pid > 0)
			kill(pid, SIGKILL);
	}
	else if (strncmp(action, "exit", len) == 0)
		proc_exit(1);
	else if (strncmp(action, "error", len) == 0)
		ereport(ERROR,
				errcode(ERRCODE_INTERNAL_ERROR),
				errmsg("injected error at \"%s\"", name));
}

void
te_worker_injection_point(const char *name)
{
	const char *p = te_setting_guc_string(TE_SET_INJECT);
	size_t		len = strlen(name);

	if (likely(*p == '\0'))
		return;
	while (*p)
	{
		size_t		item;

		p += strspn(p, ", \t\n");
		item = strcspn(p, ",");
		if (item > len && strncmp(p, name, len) == 0 && p[len] == '=')
		{
			const char *action = p + len + 1;
			size_t		length = strcspn(action, "@, \t\n");

			if (action[length] != '@' || count_pass(name) == atoi(action + length + 1))
			{
				act(name, action, length);
				return;
			}
		}
		p += item;
	}
}
