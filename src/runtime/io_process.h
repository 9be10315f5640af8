/*-------------------------------------------------------------------------
 *
 * io_process.h
 *	  Supervision of one todo_events_io process by its engine.
 *
 * Starts the program with one role, over a socketpair; exchanges HELLO;
 * hands frames in and out without ever blocking; notices death by EOF,
 * reaps, and starts it again (at once the first time, then with backoff
 * from 50 ms to 30 s, reset after 10 s of life).  An exit of the process
 * never harms the engine.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_RUNTIME_IO_PROCESS_H
#define TE_RUNTIME_IO_PROCESS_H

#include "wire.h"

typedef struct TeIoProcess TeIoProcess;

typedef struct TeIoCallbacks
{
	/* HELLO exchanged: queue CONFIG etc. now.  Outside a transaction. */
	void		(*up) (void *arg, TeWireStr versions);
	/* a whole frame came; in is positioned on its body.  Outside a transaction. */
	void		(*frame) (void *arg, uint16 type, TeWireIn *in);
	/* it is gone: everything not acknowledged has to be sent again */
	void		(*down) (void *arg);
} TeIoCallbacks;

/* allocated in TopMemoryContext; role e.g. "producer" */
extern TeIoProcess *te_io_create(const char *role, const TeIoCallbacks *callbacks, void *arg);
extern void te_io_start(TeIoProcess *io);
extern void te_io_stop(TeIoProcess *io);	/* close, wait briefly, kill -9 if needed, reap */

/* at the engine's end: every process is told to leave, and is gone when this returns */
extern void te_io_stop_all(void);

/* due (re)start, as te_clock_monotonic() time; TE_NEVER if running or stopped.  Call from step(). */
extern int64 te_io_step(TeIoProcess *io);
extern bool te_io_is_up(const TeIoProcess *io);
extern int	te_io_pid(const TeIoProcess *io);

/*
 * Queue one frame.  te_io_frame_begin returns room for max_body bytes inside
 * the output buffer; te_io_frame_end says how many were used.  Nothing is
 * sent before te_io_flush, which writes what the socket takes and watches
 * for writability for the rest.
 */
extern char *te_io_frame_begin(TeIoProcess *io, uint16 type, size_t max_body);
extern void te_io_frame_end(TeIoProcess *io, size_t body);
extern void te_io_flush(TeIoProcess *io);
extern size_t te_io_unsent(const TeIoProcess *io);	/* bytes waiting in the output buffer */

#endif
