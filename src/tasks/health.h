/*
 * health.h
 *	  Attached tables whose triggers are disabled or gone, in todo_events.health().
 */
#ifndef TE_TASKS_HEALTH_H
#define TE_TASKS_HEALTH_H

extern void te_tasks_health_init(void);

#endif
