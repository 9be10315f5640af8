/*
 * launcher.h
 *	  The launcher: which databases have the extension, and whose engine is
 *	  to be started when.
 */
#ifndef TE_RUNTIME_LAUNCHER_H
#define TE_RUNTIME_LAUNCHER_H

extern void te_launcher_init(void); /* _PG_init: registers the background worker */

#endif
