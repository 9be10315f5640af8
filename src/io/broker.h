/*-------------------------------------------------------------------------
 *
 * broker.h
 *	  The status of component "broker": one line when it changes.
 *
 * The library tells of trouble by connection and by try; the worker wants to
 * know whether Kafka can be reached, and if not, the one cause to look at.
 * Pure but for the frames that it queues: time is given.  All times are
 * microseconds of the monotonic clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_IO_BROKER_H
#define TE_IO_BROKER_H

#include "frames.h"
#include "kafka.h"

#define TE_NEVER	INT64_MAX

typedef enum TeBrokerState
{
	TE_BROKER_CONNECTING,		/* nothing known yet */
	TE_BROKER_OK,
	TE_BROKER_SUSPECT,			/* connections are gone; perhaps only idle ones */
	TE_BROKER_DOWN
} TeBrokerState;

/* a cause that was told */
typedef struct TeToldCause
{
	char		message[512];	/* "": none */
	int64_t		seen;			/* last */
} TeToldCause;

#define TE_TOLD_CAUSES	16

typedef struct TeBroker
{
	TeWriter   *out;
	char		brokers[256];
	bool		embedded;
	TeBrokerState state;
	bool		stalled;		/* connected, but nothing is acknowledged */
	int64_t		since;			/* when the state began */
	int64_t		progress;		/* last sign of life, or last time nothing was awaited */
	int64_t		quiet_until;	/* no further announcement before */
	TeTrouble	cause;			/* latest with a cause of its own */
	int64_t		refused_at;		/* when the address in cause was last refused */
	char		announced[512];	/* message last sent, "" after OK */
	TeToldCause told[TE_TOLD_CAUSES];	/* since the last OK */
} TeBroker;

extern void te_broker_init(TeBroker *broker, TeWriter *out, const char *brokers, bool embedded,
						   int64_t now);

/* a broker answered */
extern void te_broker_alive(TeBroker *broker, int64_t now);
extern void te_broker_trouble(TeBroker *broker, const TeTrouble *trouble, int64_t now);

/* announces what is due; returns when to call again.  awaited: messages not settled */
extern int64_t te_broker_step(TeBroker *broker, uint64_t awaited, int64_t now);

#endif							/* TE_IO_BROKER_H */
