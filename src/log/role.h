/*
 * role.h
 *	  The engine's "log" role: upkeep when it is due, and the mark from which
 *	  todo_events.cursor() counts.
 */
#ifndef TE_LOG_ROLE_H
#define TE_LOG_ROLE_H

/* name of the reader whose cursor says how far the log has been settled */
#define TE_LOG_READER	"log"

extern void te_log_role_init(void);

#endif
