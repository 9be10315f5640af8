/*
 * tasks.c
 *	  The room's start.
 */
#include "postgres.h"

#include "log/maintain.h"
#include "tasks/attach.h"
#include "tasks/attachment.h"
#include "tasks/change.h"
#include "tasks/config.h"
#include "tasks/counter.h"
#include "tasks/ddl.h"
#include "tasks/health.h"
#include "tasks/held.h"
#include "tasks/tasks.h"

void
te_tasks_init(void)
{
	te_attachment_init();
	te_config_init();
	te_change_init();
	te_held_init();
	te_alter_init();
	te_drop_init();
	te_tasks_health_init();
	te_maintain_register(te_counter_maintain);
}
