/*-------------------------------------------------------------------------
 *
 * report.h
 *	  Frames to the worker that any role sends: STATUS, LOG, HELLO.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_IO_REPORT_H
#define TE_IO_REPORT_H

#include "frames.h"

/* longest text in one of these frames */
#define TE_REPORT_MAX_TEXT	2048

extern char *te_report_put_text(char *p, const char *text);	/* NULL: absent; cut at the limit */
extern void te_report_hello(TeWriter *out, const char *libraries);
extern void te_report_status(TeWriter *out, TeWireLevel level, const char *component,
							 const char *message, const char *hint);
extern void te_report_log(TeWriter *out, TeWireLevel level, const char *format, ...)
			__attribute__((format(printf, 3, 4)));

/*
 * Leaves with this status, after giving the peer a second to take what is
 * queued.  No exit handler runs: a library's could wait for a network.
 */
extern _Noreturn void te_report_exit(TeWriter *out, int fd, int status);

#endif							/* TE_IO_REPORT_H */
