/*-------------------------------------------------------------------------
 *
 * todo_events.c
 *	  Module entry: the order of the subsystems, and nothing else.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"

#include "log/log.h"
#include "publisher/publisher.h"
#include "runtime/launcher.h"
#include "runtime/parking.h"
#include "runtime/secret_copy.h"
#include "runtime/settings.h"
#include "runtime/shmem.h"
#include "runtime/version.h"
#include "runtime/wake.h"
#include "tasks/tasks.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	te_settings_init();
	te_shmem_init();
	te_version_init();
	te_wake_init();
	te_secret_copy_init();
	te_parking_init();
	te_log_init();
	te_tasks_init();
	te_publisher_init();
	te_launcher_init();
}
