/*-------------------------------------------------------------------------
 *
 * status.c
 *	  What an engine shows of itself in shared memory: its roles, their I/O
 *	  processes, and what it has noticed about its components' health.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "runtime/engine.h"
#include "runtime/worker.h"
#include "utils/timestamp.h"

void
te_status_copy(char *to, const char *from, size_t size)
{
	int			len = from ? strlen(from) : 0;

	if (len >= (int) size)
		len = pg_mbcliplen(from, len, size - 1);
	memcpy(to, from ? from : "", len);
	to[len] = '\0';
}

void
te_status_role(TeDatabase *db, int i, int nroles, const char *name, bool running, const char *error)
{
	TeRoleStatus *status = &db->roles[i];

	LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
	db->nroles = nroles;
	strlcpy(status->name, name, sizeof(status->name));
	if (status->running != running || status->since == 0)
		status->since = GetCurrentTimestamp();
	status->running = running;
	if (!status->running)
		status->io_pid = 0;
	if (error)
	{
		status->errors++;
		status->last_error_at = GetCurrentTimestamp();
		te_status_copy(status->last_error, error, sizeof(status->last_error));
	}
	LWLockRelease(te_shmem_lock());
}

void
te_worker_note_io(int role, int pid, bool restarted, const char *versions, int len)
{
	TeDatabase *db = te_worker_database();

	if (db == NULL || role < 0)
		return;
	LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
	db->roles[role].io_pid = pid;
	if (restarted)
		db->roles[role].restarts++;
	if (versions)
	{
		len = Min(len, (int) sizeof(db->io_versions) - 1);
		memcpy(db->io_versions, versions, len);
		db->io_versions[len] = '\0';
	}
	LWLockRelease(te_shmem_lock());
	if (restarted)
		pg_atomic_fetch_add_u64(&db->counters.io_restarts, 1);
}

void
te_worker_health(int level, const char *component, const char *message, const char *hint)
{
	TeDatabase *db = te_worker_database();
	TeHealthLine *line = NULL;
	bool		news;
	char		name[TE_HEALTH_COMPONENT];
	char		text[TE_HEALTH_TEXT];

	if (db == NULL)
		return;
	/* compare what is stored, which may be cut */
	te_status_copy(name, component, sizeof(name));
	te_status_copy(text, message, sizeof(text));

	LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
	for (int i = 0; i < TE_HEALTH_LINES; i++)
	{
		TeHealthLine *l = &db->health[i];

		if (l->level != 0 && strcmp(l->component, name) == 0)
		{
			line = l;
			break;
		}
		if (l->level == 0 && line == NULL)
			line = l;
	}
	if (line == NULL)
	{
		LWLockRelease(te_shmem_lock());
		return;
	}
	news = level != line->level || strcmp(line->message, text) != 0;
	if (level == 0)
		line->level = 0;
	else if (news)
	{
		line->level = level;
		line->since = GetCurrentTimestamp();
		strcpy(line->component, name);
		strcpy(line->message, text);
	}
	if (level != 0)
		te_status_copy(line->hint, hint, sizeof(line->hint));
	LWLockRelease(te_shmem_lock());

	if (news && level >= 2)
		ereport(LOG,
				errmsg("todo_events: %s: %s", name, text),
				hint && hint[0] ? errhint("%s", hint) : 0);
}
