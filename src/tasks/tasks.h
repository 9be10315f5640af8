/*
 * tasks.h
 *	  The standard tasks table, attachments and capture.
 */
#ifndef TE_TASKS_TASKS_H
#define TE_TASKS_TASKS_H

extern void te_tasks_init(void);

#endif
